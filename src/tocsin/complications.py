"""Complications over time: each a stage with its reasons, and what is not ruled out.

Most are findings, graded by the same machine as the scales; some rest on a points score, whose lower end
proves a stage and whose upper end does not rule one out. Derived facts (ratios, rises) are added first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from tocsin.definitions.complication import Complication, complication
from tocsin.definitions.derive import derivations
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import DefinitionError
from tocsin.facts import resolve
from tocsin.facts.derived import with_derived
from tocsin.grading.batch import grade_table
from tocsin.grading.compile import compiled
from tocsin.grading.intervals import SCHEMA as INTERVALS
from tocsin.grading.intervals import WORDS
from tocsin.grading.live import micros
from tocsin.scores import over_time

NAMES = {"scale": "complication", "grade": "stage"}
VALUES = [pa.field("value_low", pa.float64()), pa.field("value_high", pa.float64())]
#: Rows like grading's, half-open spans; `value_low` and `value_high` are the score's, where one is behind.
SCHEMA = pa.schema(
    [field.with_name(NAMES.get(field.name, field.name)) for field in INTERVALS][:6]
    + VALUES
    + [*INTERVALS][6:]
)


def names(lib: Library) -> tuple[str, ...]:
    """The ids of all complications."""
    return tuple(sorted(lib.files("complications")))


def complications(
    facts: Any,
    asked: Sequence[str] | None = None,
    *,
    lib: Library | None = None,
    until: datetime | None = None,
    as_of: datetime | None = None,
) -> pa.Table:
    """The complications of every patient over time, a table of `SCHEMA`.

    Parameters
    ----------
    facts : canonical facts.
    asked : ids; none = all.
    until, as_of : as for `grade`.

    >>> from tocsin.testing import patient
    >>> ill = patient("0 h creatinine 0.8 mg/dL", "36 h creatinine 1.1 mg/dL")
    >>> [row["stage"] for row in complications(ill, ["aki-kdigo"]).to_pylist()][1]
    1
    """
    lib = lib or library()
    wanted = [complication(name, lib) for name in (asked or names(lib))]
    table = facts if isinstance(facts, pa.Table) else pa.table(facts)
    if not len(table):
        return SCHEMA.empty_table()
    table = with_derived(resolve(table, as_of), lib)
    parts = [
        _graded(table, part, lib, until, as_of)
        for part in _lots([each.id for each in wanted if each.score is None], lib)
    ]
    points = [each for each in wanted if each.score is not None]
    if points:
        parts.append(pa.Table.from_pylist([*_scored(table, points, lib, until, as_of)], SCHEMA))
    order = [("patient_id", "ascending"), ("complication", "ascending"), ("start", "ascending")]
    return pa.concat_tables(parts).sort_by(order) if parts else SCHEMA.empty_table()


def _lots(ids: Sequence[str], lib: Library) -> Iterator[tuple[str, ...]]:
    """The complications in lots that one program can read: a program has a bit for each measure."""
    if not ids:
        return
    try:
        compiled(tuple(ids), lib)
    except DefinitionError:
        if len(ids) == 1:
            raise
        middle = len(ids) // 2
        yield from _lots(ids[:middle], lib)
        yield from _lots(ids[middle:], lib)
    else:
        yield tuple(ids)


def _graded(
    table: pa.Table, asked: tuple[str, ...], lib: Library, until: datetime | None, as_of: datetime | None
) -> pa.Table:
    rows = grade_table(table, asked, lib=lib, until=until, as_of=as_of)
    none = pa.nulls(len(rows), pa.float64())
    made_of = {rule.measure: rule.of for rule in derivations(lib)}
    waiting = [
        sorted({part for name in names_ for part in made_of.get(name, (name,))})
        for names_ in rows["waiting_for"].to_pylist()
    ]
    columns = {
        **{name: rows[name] for name in rows.column_names},
        "waiting_for": pa.array(waiting, WORDS),
        "complication": rows["scale"],
        "stage": rows["grade"],
        "value_low": none,
        "value_high": none,
    }
    return pa.table({field.name: columns[field.name] for field in SCHEMA}).cast(SCHEMA)


def _scored(
    table: pa.Table,
    asked: Iterable[Complication],
    lib: Library,
    until: datetime | None,
    as_of: datetime | None,
) -> Iterator[dict[str, Any]]:
    """The spans of a points score as stages."""
    horizon = min((micros(each) for each in (until, as_of) if each is not None), default=None)
    patients: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        patients.setdefault(row["patient_id"], []).append(row)
    for patient, rows in patients.items():
        dead = min((micros(row["time"]) for row in rows if row["measure"] == "death"), default=None)
        last = min((each for each in (horizon, dead) if each is not None), default=None)
        for each in asked:
            for start, end, value in over_time(rows, str(each.score), lib):
                if last is not None and start >= last:
                    continue
                stop = last if end is None or (last is not None and end > last) else end
                low = _stage(each, value.low)
                high = 4 if value.high is None and value.low is None else _stage(each, value.high)
                top = max(stage for stage, _ in each.bands)
                yield {
                    "patient_id": patient,
                    "complication": each.id,
                    "start": start,
                    "end": stop,
                    "stage": low,
                    "up_to": max(low, min(high, top)),
                    "value_low": value.low,
                    "value_high": value.high,
                    "ambiguous": False,
                    "because": [f"{item.id} {item.low:g}" for item in value.items if item.low],
                    "waiting_for": list(value.missing),
                    "judgement": list(each.asks) if max(low, high) else [],
                    "flags": list(value.flags),
                    "definition": each.hash,
                }


def _stage(each: Complication, value: float | None) -> int:
    """The highest stage whose bound a value reaches."""
    return max((stage for stage, least in each.bands if value is not None and value >= least), default=0)
