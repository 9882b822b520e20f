"""What a ward would have been alerted to: the live service's rules replayed over graded records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cohort.records import ALERTS
from tocsin.definitions.alert import Rules, alert_rules
from tocsin.definitions.load import Library
from tocsin.watch.alerts import judge
from tocsin.watch.clock import MINUTE
from tocsin.watch.standing import Span, Standing, proven_in

RULES = "ward-alerts"
#: A grade that no scale has: nothing is passed on to a second role, because nobody is there to answer.
NOBODY = 9
DEATH = "death"


def alerted(intervals: pa.Table, lib: Library) -> pa.Table:
    """The alerts of graded patients, in the columns of `cohort.records.ALERTS`.

    Parameters
    ----------
    intervals : rows of `grade`, all of those patients'.

    The rules of `ward-alerts` are asked at every change of grade, `up_to` or what they read, and again when a
    gap has stood for its time: as a service that looks all the time and knows each fact at its `time`. Nobody
    answers an alert, and none goes to a second role. Alerts of clocks, tests and patients at home are not
    replayed: they need more than grades.
    """
    rules = replace(alert_rules(RULES, lib), escalate_at_least=NOBODY)
    columns = {name: _numbers(intervals[name]) for name in ("start", "grade", "up_to")} | {
        "waits": _some(intervals["waiting_for"]),
        "quiet": _any_of(intervals["flags"], rules.gap_unless_flags),
        "dead": _any_of(intervals["because"], (DEATH,)),
    }
    rows = zip(
        intervals["patient_id"].to_pylist(), intervals["scale"].to_pylist(),
        *(columns[name].tolist() for name in ("start", "grade", "up_to", "waits", "quiet", "dead")),
        strict=True,
    )  # fmt: skip
    found: list[tuple[str, str, str, int | None, int]] = []
    for who, mine in groupby(rows, lambda row: row[0]):
        of: dict[str, list[Row]] = {}
        for _, scale, *numbers in mine:
            of.setdefault(scale, []).append(Row(*numbers))
        died = min((row.start for own in of.values() for row in own if row.dead), default=None)
        for scale, own in of.items():
            found += (
                (who, kind, scale, grade, at) for kind, grade, at in _replayed(who, scale, own, died, rules)
            )
    found.sort(key=lambda each: (each[0], each[4]))
    names, kinds, scales, grades, times = (
        ([*column] for column in zip(*found, strict=True)) if found else ([],) * 5
    )
    return pa.Table.from_arrays(
        [pa.array(names, pa.string()), pa.array(kinds, pa.string()), pa.array(scales, pa.string()),
         pa.array(grades, pa.int8()), pa.array(times, pa.int64()).cast(pa.timestamp("us", tz="UTC"))],
        schema=ALERTS,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an answer, as the rules read it: `waits` for something, `quiet` by its flags."""

    start: int
    grade: int
    up_to: int
    waits: bool
    quiet: bool
    dead: bool

    def said(self) -> tuple[int, int, bool, bool]:
        """What the rules can tell apart."""
        return self.grade, self.up_to, self.waits, self.quiet


def _replayed(
    who: str, scale: str, rows: Sequence[Row], died: int | None, rules: Rules
) -> Iterator[tuple[str, int | None, int]]:
    """The alerts of one patient and scale: kind, grade, when."""
    changes = [
        row
        for before, row in zip([None, *rows], rows, strict=False)
        if before is None or before.said() != row.said()
    ]
    changes = [row for row in changes if died is None or row.start < died]
    wait = round(rules.gap_after_minutes * MINUTE)
    times = sorted({*(row.start for row in changes), *(row.start + wait for row in changes if row.waits)})
    known: list[dict[str, Any]] = []
    spans: list[Span] = []
    standing: Row | None = None
    k = 0
    for now in times:
        while k < len(changes) and changes[k].start <= now:
            standing = changes[k]
            if not spans or (spans[-1].grade, spans[-1].up_to) != (standing.grade, standing.up_to):
                spans.append(Span(standing.start, standing.grade, standing.up_to))
            k += 1
        if standing is None or (died is not None and now >= died):
            continue
        each = _standing(scale, standing, spans, now, rules)
        verdict = judge(who, {scale: each}, {scale: spans}, None, known, now, rules)
        for alert in known:
            if alert["id"] in verdict.gone:
                alert["closed"] = now
        for new in verdict.new:
            known.append(_kept(new, len(known), now))
            yield new.kind, new.grade, now


def _standing(scale: str, row: Row, spans: Sequence[Span], now: int, rules: Rules) -> Standing:
    proven, since = proven_in(spans)
    waiting = ("measure",) if row.waits else ()
    flags = rules.gap_unless_flags[:1] if row.quiet else ()
    return Standing(
        scale, row.start, now, row.grade, row.up_to, False, (), waiting, (), flags, "", proven, since
    )


def _kept(new: Any, number: int, now: int) -> dict[str, Any]:
    """An alert as the service keeps it: open, answered by nobody."""
    return {
        "id": number, "key": new.key, "scale": new.scale, "kind": new.kind, "role": new.role,
        "grade": new.grade, "what": new.what, "raised": now, "closed": None, "acknowledged": None,
        "dismissed": None,
    }  # fmt: skip


def _numbers(column: pa.ChunkedArray) -> Any:
    return np.asarray(column.cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)


def _some(column: pa.ChunkedArray) -> Any:
    return np.asarray(pc.greater(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False), bool)


def _any_of(column: pa.ChunkedArray, words: Sequence[str]) -> Any:
    """Whether a row's list holds any of these words."""
    out = np.zeros(len(column), bool)
    whole = column.combine_chunks()
    place = pc.list_parent_indices(whole)
    hits = pc.is_in(pc.list_flatten(whole), value_set=pa.array(words, pa.string()))
    out[place.filter(hits).to_numpy(zero_copy_only=False)] = True
    return out
