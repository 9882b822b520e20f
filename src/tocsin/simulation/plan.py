"""What is to be simulated: a therapy's model, its doses, a ward that follows a guideline, prophylaxis."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from tocsin.definitions.dose import DoseRule, dose_rule
from tocsin.definitions.guideline import Action, guideline
from tocsin.definitions.load import Library
from tocsin.definitions.model import INPUTS, Model, PlannedDose, ensemble_of, model_of
from tocsin.definitions.schema import TocsinError, near
from tocsin.definitions.trial import Trial
from tocsin.definitions.ward import Ward, ward_of
from tocsin.facts import canonical
from tocsin.simulation.care import NEVER
from tocsin.simulation.charting import facts_of
from tocsin.simulation.equations import Parameter
from tocsin.simulation.patients import population
from tocsin.simulation.schedule import cells, schedule
from tocsin.simulation.solve import Courses, courses, hours_of

#: The time of the first dose in every simulated record.
START = datetime(2026, 1, 1, tzinfo=UTC)
#: Courses held at once; a hundred patients over four weeks are some 20 MB.
BATCH = 250
#: What a schedule may call what is given.
COLUMNS = ("what", "day", "amount", "unit", "days")
#: The units of what is given; every drug has those of `drug`.
UNITS = {"cells": ("1",), "pathogen": ("1", "1/d"), "drug": ("mg", "mg/kg", "mg/d")}
CALLED = {"therapy": "", "cells": "cells", "anakinra": "anakinra_depot"}
#: Drugs that may be given beforehand: the ward's number for one dose, and its unit.
PROPHYLAXIS = {
    "tocilizumab": ("treatment_tocilizumab_mg_per_kg", "mg/kg"),
    "dexamethasone": ("treatment_dexamethasone_mg", "mg"),
}
#: The most patients of one simulation; a trial of a million is `bench/simulate.py`.
MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """One arm: whom, what is given and when, and how the ward acts.

    `sets` are calibrated parameter sets; patients are shared among them in equal blocks.
    """

    name: str
    model: Model
    doses: tuple[PlannedDose, ...]
    days: float
    ward: Ward
    sets: tuple[Mapping[str, float], ...] = ({},)


def plan_of(
    therapy: str,
    lib: Library,
    *,
    days: float = 28.0,
    ward: str = "usual",
    ensemble: bool = False,
    name: str = "",
) -> Plan:
    """The usual plan of a therapy: its usual doses in a usual ward, by the best or all calibrated sets.

    Raises
    ------
    DefinitionError : no such therapy, or none that can be simulated.  TocsinError : an impossible horizon.
    """
    model = model_of(therapy, lib)
    hours_of(days)  # refuses what cannot be, before anything is drawn
    doses = tuple(dose for dose in model.doses if dose.day < days)
    return Plan(name or therapy, model, doses, days, ward_of(ward, lib), sets_of(lib, ensemble))


def sets_of(lib: Library, ensemble: bool) -> tuple[Mapping[str, float], ...]:
    """The calibrated sets: all, or the best one; the shelf's own values where there are none."""
    found = ensemble_of(lib)
    return (found if ensemble else found[:1]) or ({},)


def plan_of_trial(trial: Trial, lib: Library, *, ensemble: bool = True) -> Plan:
    """A published trial as a plan: its doses, its policy."""
    plan = plan_of(trial.model, lib, days=trial.days, ensemble=ensemble, name=trial.id)
    ward = plan.ward.changed(**trial.policy)
    return replace(plan, doses=trial.doses or plan.doses, ward=ward)


def with_schedule(plan: Plan, path: Path) -> Plan:
    """The plan with the doses of a CSV file: `what, day, amount, unit` and, for a rate, `days`.

    `what` is `therapy`, `cells` or a drug; `unit` one of mg, mg/kg, mg/d, 1 (cells: a multiple of the usual
    dose). What the file does not name is not given.

    Raises
    ------
    TocsinError : a row that cannot be, with file, row and fix.
    """
    own = next(
        (dose.input for dose in plan.model.doses if dose.input in ("engager", "engager_depot", "pathogen")),
        "cells",
    )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise TocsinError(f"{path}: is not UTF-8 text\n  fix: save it as CSV in UTF-8") from None
    rows = csv.DictReader(line for line in lines if line.strip() and not line.startswith("#"))
    rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
    missing = [name for name in COLUMNS[:4] if name not in rows.fieldnames]
    unknown = [name for name in rows.fieldnames if name not in COLUMNS]
    if missing or unknown:
        problem = f"no column {', '.join(missing)}" if missing else f"unknown column {', '.join(unknown)}"
        raise TocsinError(f"{path}: {problem}\n  fix: what,day,amount,unit[,days]")
    doses = [_dose(row, own, plan, f"{path}, row {number}") for number, row in enumerate(rows, 1)]
    if not doses:
        raise TocsinError(f"{path}: no dose\n  fix: one row for each dose")
    if own == "cells" and sum(dose.input == "cells" for dose in doses) != 1:
        raise TocsinError(
            f"{path}: {plan.model.title} is given once, and the file does not say so once\n"
            "  fix: one row `cells,0,1,1`; the amount is a multiple of the usual dose"
        )
    return replace(plan, doses=tuple(doses))


def _dose(row: Mapping[str, str], own: str, plan: Plan, where: str) -> PlannedDose:
    what = (row["what"] or "").strip()
    drugs = [name for name in INPUTS if "_" not in name and name not in ("engager", "pathogen", "cells")]
    known = ["therapy", *([own] if own in ("cells", "pathogen") else []), *drugs]
    if what not in known and what != plan.model.id:
        raise TocsinError(
            f"{where}: `{what}` cannot be given{near(what, known)}\n  fix: one of {', '.join(known)}"
        )
    given = own if what in ("therapy", plan.model.id) else CALLED.get(what, what)
    numbers = {}
    for name in ("day", "amount", "days"):
        text = (row.get(name) or "").strip() or ("0" if name == "days" else "")
        try:
            numbers[name] = float(text)
        except ValueError:
            raise TocsinError(f"{where}: {name} is `{text}`, not a number\n  fix: {name} = 1.5") from None
        if not 0 <= numbers[name] < np.inf:
            raise TocsinError(
                f"{where}: {name} is {text}\n"
                "  why: nothing can be given before the start or in a negative amount\n"
                f"  fix: {name} of 0 or more"
            )
    unit = (row["unit"] or "").strip()
    units = UNITS.get(given, UNITS["drug"])
    if unit not in units:
        raise TocsinError(
            f"{where}: the unit of {what} is `{unit}`{near(unit, units)}\n  fix: one of {', '.join(units)}"
        )
    if unit.endswith("/d") != bool(numbers["days"]):
        raise TocsinError(
            f"{where}: `days` belongs to a rate, and only to one; unit is `{unit}`\n"
            "  fix: mg/d with days = how long it runs, or an amount in mg without days"
        )
    if given == "cells" and (numbers["day"] or not numbers["amount"]):
        raise TocsinError(
            f"{where}: the cells are given on day 0, in an amount above 0\n"
            "  why: every day is counted from them\n  fix: cells,0,1,1"
        )
    if numbers["day"] >= plan.days:
        raise TocsinError(
            f"{where}: day {numbers['day']:g} is after the {plan.days:g} simulated days\n"
            "  fix: --days, or another day"
        )
    return PlannedDose(given, numbers["day"], numbers["amount"], unit, numbers["days"])


def with_prophylaxis(plan: Plan, asked: Sequence[str]) -> Plan:
    """The plan with drugs given beforehand, each `DRUG@DAY` or `DRUG@DAY:MG`; else the ward's own dose.

    Raises
    ------
    TocsinError : another drug, or a day or amount that cannot be.
    """
    doses = list(plan.doses)
    for text in asked:
        drug, _, when = text.partition("@")
        day, _, amount = when.partition(":")
        if drug not in PROPHYLAXIS:
            raise TocsinError(
                f"prophylaxis `{text}`: no drug `{drug}`{near(drug, PROPHYLAXIS)}\n  fix: like tocilizumab@0"
            )
        try:
            numbers = float(day), float(amount or plan.ward.numbers[PROPHYLAXIS[drug][0]])
        except ValueError:
            raise TocsinError(f"prophylaxis `{text}` is not DRUG@DAY\n  fix: like tocilizumab@0") from None
        if not (0 <= numbers[0] < plan.days and 0 < numbers[1] < np.inf):
            raise TocsinError(
                f"prophylaxis `{text}`: the day must be from 0 to below {plan.days:g}, the amount above 0\n"
                "  fix: like tocilizumab@0 or dexamethasone@1:20"
            )
        doses.append(PlannedDose(drug, numbers[0], numbers[1], "mg" if amount else PROPHYLAXIS[drug][1]))
    return replace(plan, doses=tuple(doses))


def following(ward: Ward, name: str, lib: Library) -> Ward:
    """The ward with the grades, drugs and doses of a guideline of the shelf: what it gives without an "if".

    A steroid that the guideline gives only if tocilizumab failed comes after its delay here too. What it
    says of children, refractory courses or judgement is not followed: the ward knows only support.

    Raises
    ------
    DefinitionError : no such guideline.  TocsinError : it gives no drug by grade.
    """
    actions = [one for one in guideline(name, lib).actions if one.strength == "give"]
    anti = _first(actions, "anti-il6")
    steroids = [one for one in actions if one.kind == "steroid"]
    steroid = _first(steroids, "steroid")
    if anti is None and steroid is None:
        raise TocsinError(f"{name} gives no drug by grade that a ward could follow\n  fix: another guideline")
    numbers = {
        "treatment_tocilizumab_from": NEVER if anti is None else float(min(anti.grades)),
        "treatment_steroid_from": NEVER if steroid is None else float(min(steroid.grades)),
        "treatment_methylprednisolone_from": NEVER,
    }
    if steroid is not None:
        numbers["treatment_steroid_delay_hours"] = 0.0 if not steroid.when else 24.0
    for action in steroids:
        rule = dose_rule(action.rule, lib) if action.rule else None
        if rule is None or rule.drug not in ("dexamethasone", "methylprednisolone"):
            continue
        if rule.drug == "methylprednisolone" and not action.when:
            numbers["treatment_methylprednisolone_from"] = float(min(action.grades))
        elif action is not steroid:
            continue
        numbers.update(_amounts(rule))
    return ward.changed(**numbers)


def _first(actions: Sequence[Action], kind: str) -> Action | None:
    """The action of a kind at the lowest grade: of those without an "if", where there are any."""
    found = [one for one in actions if one.kind == kind]
    plain = [one for one in found if not one.when]
    # Tocilizumab only where there is no "if": a ward cannot judge one. A steroid's "if" is that it failed.
    return min(plain or (found if kind == "steroid" else []), key=lambda one: min(one.grades), default=None)


def _amounts(rule: DoseRule) -> dict[str, float]:
    """A rule's amount and interval as a ward's numbers; what it leaves open stays the ward's own."""
    numbers: dict[str, float] = {}
    band = rule.bands[0] if rule.bands else None
    amount = band.fixed if band is not None and band.fixed is not None else None
    every = rule.every_hours[0] if rule.every_hours else None
    if amount is None and rule.course:
        amount, every = rule.course[0].dose, rule.course[0].every_hours
    if amount is not None:
        numbers[f"treatment_{rule.drug}_mg"] = amount
    if every:
        numbers[f"treatment_{rule.drug}_every_hours"] = every
    return numbers


def solved(plan: Plan, patients: int, seed: int, lib: Library) -> Iterator[tuple[Courses, pa.Table, int]]:
    """Courses and facts of a plan's patients, batch by batch, each with its first patient's number.

    Patients are shared among the calibrated sets in blocks; the block of a patient depends on how many there
    are, so a plan of one set gives patient k the same course in every trial.
    """
    if not 1 <= patients <= MOST:
        raise TocsinError(f"{patients:,} patients cannot be simulated\n  fix: from 1 to {MOST:,}")
    blocks = np.array_split(np.arange(patients), len(plan.sets))
    for numbers, block in zip(plan.sets, blocks, strict=True):
        model = plan.model.changed(numbers)
        for k in range(0, len(block), BATCH):
            part = block[k : k + BATCH]
            first = int(part[0])
            drawn = population(model, len(part), seed, first=first)
            if any(dose.input == "cells" for dose in plan.doses):
                drawn.parameters[:, Parameter.resting_start] *= cells(plan.doses)
            planned = schedule(plan.doses, drawn.weight, plan.days, plan.ward)
            course = courses(drawn, planned, plan.days, plan.ward)
            facts = facts_of(course, plan.ward, model=model, seed=seed, start=START, first=first, lib=lib)
            yield course, through_the_hall(facts, lib), first


def through_the_hall(facts: pa.Table, lib: Library) -> pa.Table:
    """Simulated rows as canonical facts, by the same checks as everybody's.

    Raises
    ------
    TocsinError : a row was refused: the model made what no bedside could chart.
    """
    found = canonical(facts, lib=lib, source="simulated")
    if found.rejects.num_rows:
        row = found.rejects.slice(0, 1).to_pylist()[0]
        told = f"simulated {row['measure']} of {row['value'] or row['text']}"
        raise TocsinError(
            f"{row['patient_id']}: {told} was refused: {row['what']}\n"
            "  why: no bedside would chart it; a parameter or a readout is off\n"
            "  fix: look at models/ and wards/; with the built-in ones, please report it"
        )
    return found.table
