"""How much, and whether now: a dose is its rule, the weight, the age, the clock and what was given before.

Pure functions of their arguments. Every limit is looked at and the strictest rules; the answer names the one
that binds. A number that cannot be given is refused with its reason, and whether a dose is due now is still
answered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tocsin.definitions.dose import Band, DoseRule, Limit, dose_rule, weight_rule
from tocsin.definitions.load import Library
from tocsin.grading.opcodes import HOUR
from tocsin.guidance.bedside import SILENT, Bedside, written

#: One earlier dose: when (microseconds) and how much, None where the amount was not charted.
Earlier = tuple[int, float | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One limit looked at: whether it allows a dose now, from when, and in words."""

    limit: Limit
    allowed: bool
    not_before: int | None
    says: str


@dataclass(frozen=True, slots=True)
class Dose:
    """A calculated dose.

    `dose` is the unrounded amount, also when `allowed` is false; `high` the upper end where the source gives
    a range; None with a `refused` text where no number can be given. `limit` names what binds, in numbers.
    """

    rule: str
    drug: str
    title: str
    dose: float | None
    high: float | None
    dose_rounded: float | None
    unit: str
    route: str
    over_hours: float | None
    every_hours: tuple[float, ...]
    course: tuple[str, ...]
    allowed: bool
    limit: str
    not_before: int | None
    limits: tuple[Verdict, ...]
    refused: str
    needs: tuple[str, ...]
    notes: tuple[str, ...]
    source: tuple[str, ...]
    status: str
    definition: str = field(default="", repr=False)


def dose(
    rule_id: str,
    *,
    weight_kg: float | None,
    age_years: float | None,
    now: int,
    earlier: Sequence[Earlier] = (),
    limits: Iterable[Limit] = (),
    lib: Library,
    problem: str = "",
) -> Dose:
    """The dose of one rule at `now` (microseconds).

    Parameters
    ----------
    rule_id   : a rule of the shelf `doses`.
    weight_kg, age_years : None where not known; without an age the adult band is used, and that is said.
    earlier   : every dose of the drug given so far, whatever for and wherever.
    limits    : limits besides those of the drug's own file (guidelines in force, label, site).
    problem   : why the weight must not be used (contradicting or impossible weights), "" if it may.

    Raises `DefinitionError` for an unknown rule.

    >>> from tocsin.definitions.load import library
    >>> given = dose("tocilizumab", weight_kg=101, age_years=60, now=0, lib=library())
    >>> given.dose, given.dose_rounded, given.limit
    (800.0, 800.0, 'capped at 800 mg (101 kg would be 808 mg)')
    """
    rule = dose_rule(rule_id, lib)
    kilograms, refused, needs = _usable(rule, weight_kg, age_years, problem, lib)
    notes: list[str] = []
    if age_years is None and any(_by_age(band) for band in rule.bands):
        notes.append("no age charted: an adult is assumed")
    band = _band(rule, kilograms, age_years) if not refused else None
    if band is None and not refused:
        refused = f"no source at hand gives {rule.drug} at this age or weight"
    amount, high, capped = _amount(band, kilograms, rule) if band is not None else (None, None, "")
    verdicts = tuple(
        _judged(limit, earlier, now)
        for limit in dict.fromkeys((*rule.limits, *limits))
        if limit.max_dose is None or limit.min_gap_hours or limit.max_doses
    )
    amount, high, capped = _at_most(amount, high, capped, limits, rule)
    late = [verdict for verdict in verdicts if not verdict.allowed]
    binding = max(late, key=lambda verdict: verdict.not_before or 0, default=None)
    notes += _above(earlier, band, rule)
    return Dose(
        rule=rule.id,
        drug=rule.drug,
        title=rule.title,
        dose=amount,
        high=high,
        dose_rounded=_rounded(amount, rule, band),
        unit=rule.unit,
        route=rule.route,
        over_hours=rule.over_hours,
        every_hours=rule.every_hours,
        course=_course(rule),
        allowed=binding is None,
        limit="; ".join(text for text in (binding.says if binding else "", capped) if text),
        not_before=binding.not_before if binding else None,
        limits=verdicts,
        refused=refused,
        needs=needs,
        notes=tuple(notes),
        source=rule.source,
        status=rule.status,
        definition=rule.hash,
    )


def dose_at(bed: Bedside, rule_id: str, limits: Iterable[Limit] = ()) -> Dose:
    """The dose of one rule for a patient at a bedside; every charted dose of the drug counts."""
    rule = dose_rule(rule_id, bed.lib)
    earlier = [(int(row["time"]), row.get("value")) for row in bed.given([rule.drug])]
    weight = bed.weight
    return dose(
        rule_id,
        weight_kg=None if weight is None else float(weight["value"]),
        age_years=bed.age_years,
        now=bed.now,
        earlier=earlier,
        limits=limits,
        lib=bed.lib,
        problem=weight_conflict(bed),
    )


def weight_conflict(bed: Bedside) -> str:
    """Why the weights charted around the one in use contradict it; "" if they do not.

    An impossible weight was refused when it was read; while it is the latest, none is trusted.
    """
    weight = bed.weight
    if weight is None:
        return bed.weight_problem
    rule = weight_rule(bed.lib)
    for row in bed.chart.until("weight", bed.now):
        if row.get("text") in SILENT or row.get("value") is None:
            continue
        near = abs(row["time"] - weight["time"]) <= rule.within_hours * HOUR
        low, high = sorted((float(row["value"]), float(weight["value"])))
        if near and high > low * (1 + rule.percent / 100):
            return (
                f"the weights {low:g} and {high:g} kg, {written(weight['time'])} and {written(row['time'])}, "
                "contradict each other: correct one"
            )
    return bed.weight_problem


def _usable(
    rule: DoseRule, weight_kg: float | None, age_years: float | None, problem: str, lib: Library
) -> tuple[float, str, tuple[str, ...]]:
    """The weight to calculate with, or why there is none, and what is needed."""
    bands = [band for band in rule.bands if _fits_age(band, age_years)]
    if not any(
        band.per_kg is not None or band.weight_from or math.isfinite(band.weight_below) for band in bands
    ):
        return math.nan, "", ()
    measure = lib.measure("weight")
    if problem:
        return math.nan, problem, ("weight",)
    if weight_kg is None:
        return math.nan, "no weight is charted", ("weight",)
    low, high = measure.plausible_low or 0.0, measure.plausible_high or math.inf
    if not (math.isfinite(weight_kg) and weight_kg > 0 and low <= weight_kg <= high):
        return math.nan, f"a weight of {weight_kg:g} kg is impossible ({low:g} to {high:g} kg)", ("weight",)
    return weight_kg, "", ()


def _by_age(band: Band) -> bool:
    return band.age_from > 0 or math.isfinite(band.age_below)


def _fits_age(band: Band, age: float | None) -> bool:
    # an unknown age is read as an adult's: the band without an upper border
    return math.isinf(band.age_below) if age is None else band.age_from <= age < band.age_below


def _band(rule: DoseRule, weight: float, age: float | None) -> Band | None:
    for band in rule.bands:
        known = math.isnan(weight) or band.weight_from <= weight < band.weight_below
        if known and _fits_age(band, age):
            return band
    return None


def _amount(band: Band, weight: float, rule: DoseRule) -> tuple[float, float | None, str]:
    """The amount, its upper end where a range is given, and what was capped."""
    if band.fixed is not None:
        return band.fixed, band.fixed_high, ""
    assert band.per_kg is not None
    raw = band.per_kg * weight
    raw_high = None if band.per_kg_high is None else band.per_kg_high * weight
    cap = math.inf if band.cap is None else band.cap
    top = raw if raw_high is None else raw_high
    said = (
        f"capped at {cap:g} {rule.unit} ({weight:g} kg would be {top:.5g} {rule.unit})" if top > cap else ""
    )
    return min(raw, cap), None if raw_high is None else min(raw_high, cap), said


def _at_most(
    amount: float | None, high: float | None, said: str, limits: Iterable[Limit], rule: DoseRule
) -> tuple[float | None, float | None, str]:
    """The amount under the limits of label, guideline and site that name one."""
    for limit in limits:
        if limit.max_dose is None or amount is None:
            continue
        if max(amount, high or amount) > limit.max_dose:
            said = f"capped at {limit.max_dose:g} {rule.unit} ({limit.origin}: {limit.says})"
        amount = min(amount, limit.max_dose)
        high = None if high is None else min(high, limit.max_dose)
    return amount, high, said


def _rounded(amount: float | None, rule: DoseRule, band: Band | None) -> float | None:
    """The amount to the rule's step, half up, never above the cap."""
    if amount is None or rule.round_to is None:
        return amount
    rounded = math.floor(amount / rule.round_to + 0.5) * rule.round_to
    cap = math.inf if band is None or band.cap is None else band.cap
    return rounded if rounded <= cap else math.floor(cap / rule.round_to) * rule.round_to


def _judged(limit: Limit, earlier: Sequence[Earlier], now: int) -> Verdict:
    """Whether one limit allows a dose now. A gap or window that is over to the microsecond is over."""
    times = sorted({t for t, _ in earlier if t <= now})
    origin = f" ({limit.origin})"
    if limit.min_gap_hours is not None and times:
        free = times[-1] + round(limit.min_gap_hours * HOUR)
        if now < free:
            says = f"{limit.says}{origin}: last dose {written(times[-1])}, next from {written(free)}"
            return Verdict(limit, False, free, says)
    if limit.max_doses is not None and limit.within_hours is not None:
        span = round(limit.within_hours * HOUR)
        inside = [t for t in times if t > now - span]
        if len(inside) >= limit.max_doses:
            free = inside[len(inside) - limit.max_doses] + span
            says = f"{limit.says}{origin}: {len(inside)} given, next from {written(free)}"
            return Verdict(limit, False, free, says)
    return Verdict(limit, True, None, "")


def _above(earlier: Sequence[Earlier], band: Band | None, rule: DoseRule) -> list[str]:
    """Earlier doses charted above the cap."""
    if band is None or band.cap is None:
        return []
    return [
        f"{mg:g} {rule.unit} was charted at {written(t)}, above the cap of {band.cap:g} {rule.unit}"
        for t, mg in earlier
        if mg is not None and mg > band.cap
    ]


def _course(rule: DoseRule) -> tuple[str, ...]:
    """The steps of a course in words."""
    return tuple(
        f"{step.dose:g} {rule.unit} every {step.every_hours:g} h "
        + (f"for {step.days:g} d" if step.days else f"until {step.until}")
        for step in rule.course
    )
