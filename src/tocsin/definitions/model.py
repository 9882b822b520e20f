"""Reads the shelf `models`: the parameters of the simulation, what every trigger shares and each one's own.

`cytokine-release.toml` holds the shared values; a file named after its therapy (or its cause) overrides
some, adds its classes of patients and its usual doses. `ensemble.csv` beside them holds the calibrated
sets: its columns are `file.parameter`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.measure import parse
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

        A shared value or share of a class does not reach a model whose own file restates it. A shared spread
        does, on purpose: a trigger that restates a value repeats the shared spread beside it, and one
        calibrated spread is meant for all of them; a spread of one trigger is calibrated under its own name.

        Raises
        ------
        DefinitionError : a name of this model or the shared file that is no parameter or class.
        """
        values = dict(self.values)
        classes = {one.id: one for one in self.classes}
        for shared in (True, False):  # the model's own numbers last, so that they win
            for name, number in numbers.items():
                home, *path = name.split(".")
                if home != (SHARED if shared else self.id):
                    continue
                _numbered(name, self.values, classes, "the calibrated numbers")
                if path[0] == "class":
                    if shared and len(path) == 2 and ".".join(path) in self.own:
                        continue
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

    #: What the trigger's own file says: parameters by name, shares of classes as `class.name`.
    own: frozenset[str] = frozenset()


def _numbered(name: str, values: Iterable[str], classes: Iterable[str], where: str) -> None:
    """Refuse a calibrated number, `file.` and so on, that would change nothing."""
    _, *path = name.split(".")
    parameter, group = path[0] if path else "", ""
    if parameter == "class":
        group, parameter = path[1] if len(path) > 1 else "", path[2] if len(path) == 3 else ""
        if group not in classes:
            raise DefinitionError(
                f"{where}: `{name}`: no class `{group}`{near(group, classes)}\n"
                f"  fix: one of the classes of {SHARED}.toml: {', '.join(classes)}"
            )
    formed = len(path) == 1 or (len(path) == 2 and path[1] == "sd") or (bool(group) and len(path) in (2, 3))
    if not formed:
        raise DefinitionError(
            f"{where}: `{name}` is not the name of a calibrated number\n"
            "  fix: file.parameter, file.parameter.sd, file.class.name or file.class.name.parameter"
        )
    if (parameter or not group) and parameter not in values:
        raise DefinitionError(
            f"{where}: `{name}`: no parameter `{parameter}`{near(parameter, values)}\n"
            f"  why: the equations would not read it\n  fix: one of those in {SHARED}.toml"
        )


def read_parameters(
    path: Path, shared: Mapping[str, Value] | None = None
) -> tuple[dict[str, Any], dict[str, Value]]:
    """The raw table of one model file and its parameters; raises `DefinitionError`.

    `shared` are the shared values where the file is a trigger's: it changes values of theirs and no more.
    """
    where = str(path)
    table = parse(path)
    reader = Reader(table, where, (*COMMON, "kind", "parameter", "class", "body", "dose"))
    reader.choice("kind", KINDS)
    reader.choice("status", STATUSES)
    found: dict[str, Value] = {}
    for name, inner in table.get("parameter", {}).items():
        words = ("value", "unit", "meaning", "origin", "sd", "law", "with", "source", "locator")
        one = Reader(inner, f"{where}, parameter `{name}`", words)
        if shared is not None:
            if name not in shared:
                raise DefinitionError(
                    f"{path}: no parameter `{name}`{near(name, shared)}\n"
                    f"  why: the equations would not read it\n  fix: one of those in {SHARED}.toml"
                )
            for key in ("law", "with"):
                if key in inner:
                    raise one.fail(
                        key, f"is set in {SHARED}.toml alone, for every trigger", f"leave `{key}` out"
                    )
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
        law = one.choice("law", LAWS, "log-normal") if shared is None else shared[name].law
        if value < 0 and law != "normal":
            raise one.fail("value", f"is {value:g}, below 0", "value of 0 or more")
        effect = one.text("with", "") if shared is None else shared[name].shared
        found[name] = Value(
            name, value, one.text("unit"), one.text("meaning"), origin, sd, law, effect, source
        )
    for name, known in found.items():
        if shared is None and known.shared and known.shared not in found:
            raise DefinitionError(
                f"{where}, parameter `{name}`: `with` is `{known.shared}`, not a parameter"
                f"{near(known.shared, found)}\n  fix: the parameter whose random effect this one follows"
            )
    return table, found


def read_model(path: Path, shared_path: Path) -> Model:
    """One trigger's model on top of the shared values; raises `DefinitionError`."""
    shared_table, shared = read_parameters(shared_path)
    table, own = read_parameters(path, shared)
    bases, mine = _tables(shared_table, "class", shared_path), _tables(table, "class", path)
    for name in mine:
        if name not in bases:
            raise DefinitionError(
                f"{path}: no class `{name}`{near(name, bases)}\n"
                f"  why: a class is declared in {shared_path.name}; alone here it would not be drawn\n"
                f"  fix: one of: {', '.join(bases)}; or declare it there, with share = 0"
            )
    classes = []
    for name, base in bases.items():
        _class(name, base, shared_path, shared)  # so that an error names the file it is in
        classes.append(_class(name, {**base, **mine.get(name, {})}, path, shared))
    body = {**_tables(shared_table, "body", shared_path), **_tables(table, "body", path)}
    return Model(
        id=str(table["id"]),
        title=str(table["title"]),
        kind=str(table["kind"]),
        values={**shared, **own},
        classes=tuple(classes),
        doses=tuple(read_dose(row, f"{path}, dose {n}") for n, row in enumerate(table.get("dose", []), 1)),
        weight=_body(body, "weight_kg", path),
        age=_body(body, "age", path),
        reading=str(table.get("reading", "")),
        source=Reader(table, str(path), table).names("source"),
        own=frozenset({*own, *(f"class.{name}" for name, inner in mine.items() if "share" in inner)}),
    )


def _tables(table: Mapping[str, Any], key: str, path: Path) -> dict[str, Mapping[str, Any]]:
    """The tables under `key` of a model's file, by name."""
    outer = table.get(key, {})
    if not isinstance(outer, Mapping) or not all(isinstance(inner, Mapping) for inner in outer.values()):
        raise DefinitionError(f"{path}: `{key}` is not made of tables\n  fix: [{key}.name] with its keys")
    return dict(outer)


def _class(name: str, table: Mapping[str, Any], path: Path, known: Iterable[str]) -> PatientClass:
    where = f"{path}, class `{name}`"
    reader = Reader(table, where, ("meaning", "share", "origin", "source", "locator", "factor"))
    share = reader.number("share")
    if share is None or not 0 <= share <= 1:
        raise reader.fail("share", "is missing" if share is None else f"is {share:g}", "from 0 to 1")
    inner = Reader(table.get("factor", {}), f"{where}, factor", table.get("factor", {}))
    factor = {}
    for key in inner.table:
        number = inner.number(key)
        if key not in known:  # the list of all parameters would be too long to read
            raise inner.fail(key, f"is no parameter{near(key, known)}", f"one of those in {SHARED}.toml")
        if number is None or number < 0:
            raise inner.fail(key, f"is {number}, below 0", f"{key} = 2.0")
        factor[key] = number
    return PatientClass(name, share, reader.text("meaning"), factor)


def _body(body: Mapping[str, Any], key: str, path: Path) -> tuple[float, float]:
    """Typical value above 0 and spread of the logarithm, of the weight or the age."""
    reader = Reader(body.get(key, {}), f"{path}, body.{key}", ("value", "sd", "origin", "source", "meaning"))
    value, sd = reader.number("value"), reader.number("sd")
    if value is None or value <= 0:
        raise reader.fail("value", "is missing" if value is None else f"is {value:g}", "above 0")
    if sd is None or sd < 0:
        raise reader.fail("sd", "is missing" if sd is None else f"is {sd:g}", "0 or more")
    return value, sd


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


@lru_cache(maxsize=16)
def _shared(path: Path) -> tuple[Mapping[str, Value], tuple[str, ...]]:
    table, values = read_parameters(path)
    return values, tuple(_tables(table, "class", path))


def ensemble_of(lib: Library) -> tuple[dict[str, float], ...]:
    """The calibrated parameter sets, best first; empty where there are none.

    Raises
    ------
    DefinitionError : a column that names nothing, a cell that is no number or not a possible one.
    """
    found: tuple[dict[str, float], ...] = ()
    for folder in lib.folders:
        path = folder / "models" / "ensemble.csv"
        if path.is_file():
            found = read_ensemble(path, lib)
    return found


def read_ensemble(path: Path, lib: Library) -> tuple[dict[str, float], ...]:
    """The parameter sets of one file, a row each; raises `DefinitionError` naming column and set."""
    files = lib.files("models")
    values, classes = _shared(files[SHARED])
    with path.open(encoding="utf-8", newline="") as text:
        head, *rows = [*filter(None, csv.reader(line for line in text if not line.startswith("#")))] or [[]]
    for n, name in enumerate(head):
        home = name.partition(".")[0]
        if home not in files:
            raise DefinitionError(
                f"{path}: `{name}`: no model `{home}`{near(home, files)}\n"
                f"  why: nothing would read it\n  fix: one of: {', '.join(sorted(files))}"
            )
        _numbered(name, values, classes, str(path))
        if name in head[:n]:
            raise DefinitionError(f"{path}: column `{name}` is there twice\n  fix: keep one of them")
    sets = []
    for n, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise DefinitionError(
                f"{path}: set {n} has {len(row)} numbers for {len(head)} columns\n  fix: one a column"
            )
        where = f"{path}: set {n}"
        cells = zip(head, row, strict=True)
        sets.append({name: _cell(cell, name, values, where) for name, cell in cells})
    return tuple(sets)


def _cell(text: str, name: str, values: Mapping[str, Value], where: str) -> float:
    """One number of an ensemble, within what its kind may be."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise DefinitionError(f"{where}: `{name}` is `{text}`, not a number\n  fix: a number like 0.35")
    path = name.split(".")[1:]
    share = path[0] == "class" and len(path) == 2
    normal = len(path) == 1 and values[path[0]].law == "normal"
    if (number < 0 and not normal) or (share and number > 1):
        raise DefinitionError(
            f"{where}: `{name}` is {number:g}\n  fix: " + ("from 0 to 1" if share else "0 or more")
        )
    return number
