"""What was not taken as written: where, what, why it matters, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.facts.columns import REJECTS
from tocsin.facts.parse import Coded, Ints, flat, iso


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a row; `keeps` is what becomes of it."""

    what: str
    why: str
    fix: str
    kind: str = "rejected"


NO_PATIENT = Problem("has no patient_id", "a fact of nobody can be graded for nobody", "fill `patient_id`")
NO_TIME = Problem("has no time", "without a time it cannot be put in order", "fill `time`")
NO_MEASURE = Problem("has no measure", "a number of nothing means nothing", "fill `measure` with an id")
NO_VALUE = Problem(
    "has neither value nor text",
    "that it was charted says that it was not measured; unknown, not normal",
    "fill `value`, or leave the row out",
)
NO_WORD = Problem("has no text", "its meaning is a word", "fill `text` with one of the measure's words")
NONE_GIVEN = Problem(
    "has a dose of 0",
    "nothing was given, and a row of a drug says that it was",
    "leave the row out; a symptom or condition that is over has the text `absent`",
)
NOT_FINITE = Problem("is not a finite number", "it has no size", "correct it at the source")
RETRACTS_NOTHING = Problem(
    "is retracted but does not say which row",
    "a row to be withdrawn would still count",
    "put the `source` of the row it withdraws in `replaces`",
)
NO_NUMBER = Problem(
    "has no number where one is due",
    "a text has no size",
    "write the number with a decimal point and its unit in `unit`",
)


@dataclass(slots=True)
class Problems:
    """Row for row the first problem met (0 = none), as a place in a list, so that many rows cost little."""

    first: Ints
    known: dict[Problem, int] = field(default_factory=dict)

    def number(self, problem: Problem) -> int:
        """The place of a problem, from 1."""
        return self.known.setdefault(problem, len(self.known) + 1)

    def mark(self, where: Any, problem: Problem) -> None:
        """Note a problem for rows (a mask) that have none yet."""
        if np.any(where):
            self.first[where & (self.first == 0)] = self.number(problem)

    def put(self, places: Any, numbers: Any) -> None:
        """Note problems by number (0 = none) for rows given by place."""
        self.first[places] = np.where(self.first[places] == 0, numbers, self.first[places])

    def of_kind(self, kind: str) -> Any:
        """Which rows have a problem of this kind."""
        mine = np.array([False, *(problem.kind == kind for problem in self.known)])
        return mine[self.first] if np.any(mine) else np.zeros(len(self.first), bool)

    def table(self, columns: Mapping[str, Any], order: Ints | None = None) -> pa.Table:
        """The rejects, in the order of their rows or in that of `order` (places of rows).

        `columns` holds the rows as written, whole, under the names of `REJECTS`.
        """
        places = np.flatnonzero(self.first) if order is None else order[self.first[order] > 0]
        if not len(places):
            return REJECTS.empty_table()
        which = pa.array(self.first[places] - 1)
        taken = {name: written(column, places) for name, column in columns.items()}
        for part in ("kind", "what", "why", "fix"):
            taken[part] = pc.take(
                pa.array([getattr(problem, part) for problem in self.known], pa.string()), which
            )
        absent = pa.nulls(len(places), pa.string())
        return pa.table([taken.get(name, absent) for name in REJECTS.names], schema=REJECTS)


def written(column: Any, places: Ints) -> pa.Array:
    """Some rows of a column as a person would have written them."""
    if isinstance(column, Coded):
        return column.take(places).array()
    array = pc.take(flat(column), pa.array(places))
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_timestamp(array.type):
        return iso(array)
    if pa.types.is_floating(array.type):
        return pa.array(
            [None if x is None or x != x else f"{x:.12g}" for x in array.to_pylist()], pa.string()
        )
    return array if pa.types.is_int64(array.type) else array.cast(pa.string())


def message(reject: Mapping[str, Any]) -> str:
    """One reject as three lines.

    >>> print(message({"file": "a.csv", "row": 14, "measure": "temperature", "value": "101.2",
    ...                "what": "has no unit", "why": "a guess would set the grade", "fix": "add a `unit`"}))
    a.csv, row 14: temperature 101.2 has no unit
      why: a guess would set the grade
      fix: add a `unit`
    """
    place = ", ".join(
        part for part in (reject.get("file"), f"row {reject['row']}" if reject.get("row") else "") if part
    )
    said = " ".join(
        str(reject[name])
        for name in ("measure", "value", "text", "unit")
        if reject.get(name) not in (None, "")
    )
    said = f"{said} {reject['what']}".lstrip()
    return f"{place}: {said}\n  why: {reject['why']}\n  fix: {reject['fix']}"


def messages(rejects: pa.Table, most: int | None = None) -> Iterator[str]:
    """The messages of the first `most` rejects."""
    for row in rejects.slice(0, most).to_pylist():
        yield message(row)
