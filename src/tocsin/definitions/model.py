"""Reads the shelf `models`: the parameters of the simulation, what every trigger shares and each one's own.

`cytokine-release.toml` holds the shared values; a file named after its therapy (or its cause) overrides
some, adds its classes of patients and its usual doses. `ensemble.csv` beside them holds the calibrated
sets: its columns are `file.parameter`.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, STATUSES, DefinitionError, near

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

SHARED = "cytokine-release"
KINDS = ("shared", "car-t", "engager", "pathogen")
ORIGINS = ("published", "fitted", "assumed", "memory")
LAWS = ("log-normal", "normal")
#: What a dose may be of: an input of the model, or the infused cells themselves.
INPUTS = (
    "cells", "engager_depot", "engager", "pathogen", "tocilizumab", "siltuximab", "anakinra_depot",
    "anakinra", "dexamethasone", "methylprednisolone",
)  # fmt: skip
DOSE_UNITS = ("mg", "mg/kg", "mg/d", "1", "1/d")


@dataclass(frozen=True, slots=True)
class Value:
    """One parameter: its value for a typical patient and its spread between patients.

    `sd` is the standard deviation of the logarithm (`law` log-normal) or of the value (normal). `shared`
    names the parameter whose random effect this one follows.
    """

    id: str
    value: float
    unit: str
    meaning: str
    origin: str
    sd: float = 0.0
    law: str = "log-normal"
    shared: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class PatientClass:
    """A share of patients in whom some parameters are multiplied."""

    id: str
    share: float
    meaning: str
    factor: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class PlannedDose:
    """One planned dose: from `day` for `days` (0: within one hour), `amount` in `unit`.

    A unit a day (`mg/d`, `1/d`) is a rate that runs for `days`; the rest is an amount.
    """

    input: str
    day: float
    amount: float
    unit: str
    days: float = 0.0


@dataclass(frozen=True, slots=True)
class Model:
    """The parameters of one trigger, whole: shared values with the trigger's own on top."""

    id: str
    title: str
    kind: str
    values: Mapping[str, Value]
    classes: tuple[PatientClass, ...]
    doses: tuple[PlannedDose, ...]
    weight: tuple[float, float]
    age: tuple[float, float]
    reading: str = ""
    source: tuple[str, ...] = ()

    def changed(self, numbers: Mapping[str, float]) -> Model:
        """This model under one set of calibrated numbers, named as `ensemble.csv` names them.

        `file.parameter` sets a value, `file.parameter.sd` its spread, `file.class.name` a share and
        `file.class.name.parameter` a factor; a file that is neither this one nor the shared one is skipped.
        """
        values = dict(self.values)
        classes = {one.id: one for one in self.classes}
        for shared in (True, False):  # the model's own numbers last, so that they win
            for name, number in numbers.items():
                home, *path = name.split(".")
                if home != (SHARED if shared else self.id):
                    continue
                if path[0] == "class":
                    one = classes[path[1]]
                    classes[path[1]] = (
                        replace(one, share=number)
                        if len(path) == 2
                        else replace(one, factor={**one.factor, path[2]: number})
                    )
                elif len(path) == 2:
                    values[path[0]] = replace(values[path[0]], sd=number)
                elif not (shared and path[0] in self.own):
                    values[path[0]] = replace(values[path[0]], value=number)
        return replace(self, values=values, classes=tuple(classes.values()))

    own: frozenset[str] = frozenset()


def read_parameters(path: Path) -> tuple[dict[str, Any], dict[str, Value]]:
    """The raw table of one model file and its parameters; raises `DefinitionError`."""
    where = str(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise DefinitionError(f"{where}: is not TOML: {error}\n  fix: mend the line it names") from None
    reader = Reader(table, where, (*COMMON, "kind", "parameter", "class", "body", "dose"))
    if reader.text("id") != path.stem:
        raise reader.fail("id", f"is `{reader.text('id')}`", f'id = "{path.stem}", as the file is called')
    reader.choice("kind", KINDS)
    reader.choice("status", STATUSES)
    found: dict[str, Value] = {}
    for name, inner in table.get("parameter", {}).items():
        words = ("value", "unit", "meaning", "origin", "sd", "law", "with", "source", "locator")
        one = Reader(inner, f"{where}, parameter `{name}`", words)
        value = one.number("value")
        if value is None:
            raise one.fail("value", "is missing", "value = 1.0")
        origin = one.choice("origin", ORIGINS)
        source = one.text("source", "")
        if origin == "published" and not source:
            raise one.fail("source", "is missing of a published value", 'source = "a key of references.bib"')
        sd = one.number("sd") or 0.0
        if sd < 0:
            raise one.fail("sd", f"is {sd}", "sd = 0.3")
        found[name] = Value(
            name, value, one.text("unit"), one.text("meaning"), origin, sd,
            one.choice("law", LAWS, "log-normal"), one.text("with", ""), source,
        )  # fmt: skip
    return table, found


def read_model(path: Path, shared_path: Path) -> Model:
    """One trigger's model on top of the shared values; raises `DefinitionError`."""
    shared_table, shared = read_parameters(shared_path)
    table, own = read_parameters(path)
    for name in own:
        if name not in shared:
            raise DefinitionError(
                f"{path}: no parameter `{name}`{near(name, shared)}\n"
                f"  why: the equations would not read it\n  fix: one of those in {shared_path.name}"
            )
    merged = {**shared, **{name: _inherit(value, shared[name]) for name, value in own.items()}}
    classes = []
    for name, base in shared_table.get("class", {}).items():
        inner = {**base, **table.get("class", {}).get(name, {})}
        share = float(inner["share"])
        if not 0 <= share <= 1:
            raise DefinitionError(f"{path}, class `{name}`: share is {share}\n  fix: from 0 to 1")
        classes.append(PatientClass(name, share, str(inner["meaning"]), dict(inner["factor"])))
    body = {**shared_table["body"], **table.get("body", {})}
    return Model(
        id=str(table["id"]),
        title=str(table["title"]),
        kind=str(table["kind"]),
        values=merged,
        classes=tuple(classes),
        doses=tuple(read_dose(row, f"{path}, dose {n}") for n, row in enumerate(table.get("dose", []), 1)),
        weight=(float(body["weight_kg"]["value"]), float(body["weight_kg"]["sd"])),
        age=(float(body["age"]["value"]), float(body["age"]["sd"])),
        reading=str(table.get("reading", "")),
        source=Reader(table, str(path), table).names("source"),
        own=frozenset(own),
    )


def _inherit(value: Value, shared: Value) -> Value:
    """A trigger's own value keeps the law and the shared random effect of the parameter."""
    return replace(value, law=shared.law, shared=shared.shared)


def read_dose(row: Mapping[str, Any], where: str) -> PlannedDose:
    """One planned dose of a model, a trial or a schedule; raises `DefinitionError`."""
    reader = Reader(row, where, ("input", "day", "days", "amount", "unit"))
    numbers = {name: reader.number(name) for name in ("day", "days", "amount")}
    if numbers["amount"] is None:
        raise reader.fail("amount", "is missing", "amount = 1.5")
    for name, number in numbers.items():
        if number is not None and number < 0:
            raise reader.fail(name, f"is {number:g}, below 0", f"{name} of 0 or more")
    unit = reader.choice("unit", DOSE_UNITS)
    if unit.endswith("/d") and not numbers["days"]:
        raise reader.fail("days", f"is missing of a rate in {unit}", "days = 7")
    return PlannedDose(
        reader.choice("input", INPUTS), numbers["day"] or 0.0, numbers["amount"], unit, numbers["days"] or 0.0
    )


@lru_cache(maxsize=64)
def _model(path: Path, shared: Path) -> Model:
    return read_model(path, shared)


def model_of(name: str, lib: Library) -> Model:
    """The model of a therapy or cause; raises `DefinitionError` naming those there are.

    >>> from tocsin.definitions.load import library
    >>> model_of("teclistamab", library()).kind
    'engager'
    """
    files = lib.files("models")
    known = sorted(set(files) - {SHARED})
    if name not in known:
        therapy = name in lib.measures
        raise DefinitionError(
            f"no model of `{name}`"
            + ("" if therapy else near(name, [*known, *lib.measures]))
            + "\n"
            + (
                "  why: it is on the shelf, but nothing published was enough to simulate it\n"
                if therapy
                else ""
            )
            + f"  fix: one of: {', '.join(known)}"
        )
    return _model(files[name], files[SHARED])


def ensemble_of(lib: Library) -> tuple[dict[str, float], ...]:
    """The calibrated parameter sets, best first; empty where there are none."""
    found: tuple[dict[str, float], ...] = ()
    for folder in lib.folders:
        path = folder / "models" / "ensemble.csv"
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as lines:
                rows = csv.DictReader(line for line in lines if not line.startswith("#"))
                found = tuple({key: float(text) for key, text in row.items()} for row in rows)
    return found
