"""Reads the shelf `reports`: what the table of a trial or registry counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, STATUSES, DefinitionError, near

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

#: The kinds of what is given that a row may ask for.
KINDS = (
    "anti-cytokine", "steroid", "antipyretic", "vasopressor", "inotrope", "oxygen", "blood-product",
    "procedure", "other",
)  # fmt: skip
GIVEN = ("id", "says", "kind", "named", "not", "counts", "different", "words", "days", "reading")
LABORATORY = ("id", "says", "measure", "below", "at_least", "unit", "reading")


@dataclass(frozen=True, slots=True)
class GivenRow:
    """Something given. `kind` or `named` says what; `without` measures or words that do not count;
    `counts` doses, `different` drugs, `words` devices that get a row each; `days` of which how long."""

    id: str
    says: str
    kind: str | None
    named: str | None
    without: tuple[str, ...]
    counts: tuple[int, ...]
    different: tuple[int, ...]
    words: tuple[str, ...]
    days: tuple[str, ...]
    reading: str


@dataclass(frozen=True, slots=True)
class LaboratoryRow:
    """A measure once `below` or `at_least` a bound in `unit`."""

    id: str
    says: str
    measure: str
    below: float | None
    at_least: float | None
    unit: str
    reading: str


@dataclass(frozen=True, slots=True)
class Report:
    """One file: rows, grades, where age groups begin (years), what the facts cannot say, its SHA-256."""

    id: str
    title: str
    at_least: tuple[int, ...]
    high: int
    ages: tuple[int, ...]
    given: tuple[GivenRow, ...]
    laboratory: tuple[LaboratoryRow, ...]
    missing: Mapping[str, str]
    reading: str
    hash: str


def report_of(name: str, lib: Library) -> Report:
    """The report of this id; raises `DefinitionError`.

    >>> from tocsin.definitions.load import library
    >>> found = report_of("crs-table", library())
    >>> found.high, found.ages, found.given[1].counts, found.laboratory[0].below
    (3, (18, 65), (1, 2, 3), 1.0)
    """
    files = lib.files("reports")
    if name not in files:
        raise DefinitionError(
            f"no report `{name}`{near(name, files)}\n  fix: one of: {', '.join(sorted(files))}"
        )
    return _report(files[name], frozenset(lib.measures))


@lru_cache(maxsize=8)
def _report(path: Path, measures: frozenset[str]) -> Report:
    table = parse(path)
    head = Reader(table, str(path), (*COMMON, "grades", "groups", "given", "laboratory", "missing"))
    head.choice("status", STATUSES)
    where = f"{path}, grades"
    grades = Reader(table.get("grades", {}), where, ("at_least", "high", "reading"))
    at_least = _whole(grades, "at_least")
    high = grades.number("high")
    if not at_least or high not in (1, 2, 3, 4, 5) or not set(at_least) <= {1, 2, 3, 4, 5}:
        raise grades.fail("high", "or `at_least` is no grade", "at_least = [1, 2, 3] and high = 3")
    groups = Reader(table.get("groups", {}), f"{path}, groups", ("ages", "reading"))
    ages = _whole(groups, "ages")
    if not ages or list(ages) != sorted({*ages}):
        raise groups.fail("ages", f"is {list(ages)}, not ages in order", "ages = [18, 65]")
    given = tuple(_given(row, f"{path}, given {k}", measures) for k, row in _rows(table, "given"))
    laboratory = tuple(
        _laboratory(row, f"{path}, laboratory {k}", measures) for k, row in _rows(table, "laboratory")
    )
    missing = {name: str(says) for name, says in table.get("missing", {}).items()}
    ids = [*(row.id for row in given), *(row.id for row in laboratory)]
    if len({*ids}) < len(ids):
        raise head.fail("given", "has one id twice", "an id of its own for every row")
    return Report(
        head.text("id"), head.text("title"), at_least, int(high or 0), ages, given, laboratory, missing,
        head.prose(), hashlib.sha256(path.read_bytes()).hexdigest(),
    )  # fmt: skip


def _rows(table: Mapping[str, Any], key: str) -> list[tuple[int, Mapping[str, Any]]]:
    return [*enumerate(table.get(key, []), 1)]


def _whole(reader: Reader, key: str) -> tuple[int, ...]:
    value = reader.table.get(key, [])
    if not isinstance(value, list) or not all(type(item) is int and item > 0 for item in value):
        raise reader.fail(key, f"is {value!r}, not a list of whole numbers above 0", f"{key} = [1, 2]")
    return tuple(value)


def _given(table: Mapping[str, Any], where: str, measures: frozenset[str]) -> GivenRow:
    reader = Reader(table, where, GIVEN)
    kind, named = reader.maybe_text("kind"), reader.maybe_text("named")
    if (kind is None) == (named is None):
        raise reader.fail("kind", "and `named`: one of the two says what is counted", 'kind = "steroid"')
    if kind is not None:
        reader.choice("kind", KINDS)
    if named is not None:
        _known(reader, "named", named, measures)
    return GivenRow(
        reader.text("id"), reader.text("says"), kind, named, reader.names("not"), _whole(reader, "counts"),
        _whole(reader, "different"), reader.names("words"), reader.names("days"), reader.prose(),
    )  # fmt: skip


def _laboratory(table: Mapping[str, Any], where: str, measures: frozenset[str]) -> LaboratoryRow:
    reader = Reader(table, where, LABORATORY)
    measure = reader.text("measure")
    _known(reader, "measure", measure, measures)
    below, at_least = reader.number("below"), reader.number("at_least")
    if (below is None) == (at_least is None):
        raise reader.fail("below", "and `at_least`: one of the two is the bound", "below = 1.0")
    return LaboratoryRow(
        reader.text("id"), reader.text("says"), measure, below, at_least, reader.text("unit"), reader.prose()
    )


def _known(reader: Reader, key: str, name: str, measures: frozenset[str]) -> None:
    if name not in measures:
        raise reader.fail(key, f"is `{name}`{near(name, measures)}", "an id of `tocsin list measures`")
