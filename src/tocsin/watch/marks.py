"""Marks of refused rows, and what lifts them.

A row that could not be read leaves a mark where its patient, measure and time are known: that measure is
unknown then, not absent. The mark is lifted by a row that replaces the refused one (by its `source`), or by
the same row sent again so that it can be read: same patient, measure, time and source. Which came first does
not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from tocsin.facts.columns import READ
from tocsin.watch.intake import MARK, OWN
from tocsin.watch.ledger import chunks, known_hashes
from tocsin.watch.schema import facts

Row = dict[str, Any]
#: Spelled out, because only so is the index of marks used.
UNUSABLE: sa.ColumnElement[str] = sa.literal_column("'unusable'")


def lifted(con: sa.Connection, people: Iterable[str]) -> list[Row]:
    """Rows that withdraw those marks of `people` which something stored lifts, and nothing withdrew yet."""
    found: dict[str, Row] = {}
    for part in chunks(sorted(set(people))):
        marks = _marks(con, part)
        if marks:
            for mark in _answered(con, marks):
                gone = withdrawal(mark)
                found[gone["hash"]] = gone
    known = known_hashes(con, list(found))
    return [row for key, row in found.items() if key not in known]


def origin(source: str) -> str | None:
    """The source that a refused row had; None where it had none.

    >>> origin("refused:0f:vitals.csv:14"), origin("refused:0f")
    ('vitals.csv:14', None)
    """
    return source.removeprefix(MARK).partition(":")[2] or None


def withdrawal(mark: Any) -> Row:
    """The row that withdraws a mark."""
    key = f"{mark.source.removeprefix(MARK)[:31]}w"
    blank: Row = dict.fromkeys(READ.names)
    return {
        **blank, "patient_id": mark.patient_id, "time": mark.time, "measure": mark.measure,
        "text": "retracted",
        "pending": 0, "replaces": mark.source, "source": OWN + key, "hash": key,
    }  # fmt: skip


def _marks(con: sa.Connection, people: Sequence[str]) -> Sequence[Any]:
    query = sa.select(facts.c.patient_id, facts.c.measure, facts.c.time, facts.c.source).where(
        facts.c.patient_id.in_(people), facts.c.text == UNUSABLE, facts.c.source.startswith(MARK)
    )
    return con.execute(query).all()


def _answered(con: sa.Connection, marks: Sequence[Any]) -> list[Any]:
    """Marks whose row was replaced, or sent again and read."""
    replaced: set[tuple[str, str]] = set()
    again: set[tuple[str, str, int, str | None]] = set()
    for part in chunks(marks, 200):
        here = facts.c.patient_id.in_({mark.patient_id for mark in part})
        origins = [name for mark in part if (name := origin(mark.source))]
        query = sa.select(facts.c.patient_id, facts.c.replaces).where(here, facts.c.replaces.in_(origins))
        replaced.update((who, name) for who, name in con.execute(query))
        placed = sa.select(facts.c.patient_id, facts.c.measure, facts.c.time, facts.c.source).where(
            here, facts.c.time.in_({mark.time for mark in part}), ~facts.c.source.startswith(MARK)
        )
        for who, measure, time, source in con.execute(placed):
            again.add((who, measure, time, None if source.startswith(OWN) else source))
    return [
        mark
        for mark in marks
        if (mark.patient_id, origin(mark.source)) in replaced
        or (mark.patient_id, mark.measure, mark.time, origin(mark.source)) in again
    ]
