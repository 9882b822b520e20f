"""The table of episodes: what is said of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.closing import Closing
from tocsin.episodes.chart import Chart, Doses
from tocsin.episodes.columns import Ints, encoded, whole
from tocsin.episodes.spans import Graded, Spans, counted, fresh
from tocsin.grading.opcodes import HOUR, INF, NONE

INSTANT = pa.timestamp("us", tz="UTC")
WORDS = pa.list_(pa.string())
GRADES = (1, 2, 3, 4, 5)
OUTCOMES = ("resolved", "not-observed", "censored", "death")
RESOLVED, NOT_OBSERVED, CENSORED, DEATH = range(4)

#: One row a patient, scale and episode; docs/episodes.md says what each column means.
SCHEMA = pa.schema([
    ("patient_id", pa.string()), ("scale", pa.string()), ("episode", pa.int32()), ("start", INSTANT),
    ("end", INSTANT), ("outcome", pa.string()), ("cause_of_death", pa.string()), ("peak", pa.int8()),
    ("peak_up_to", pa.int8()), ("time_to_peak_hours", pa.float64()),
    *((f"first_{grade}", INSTANT) for grade in GRADES),
    ("hours_from_dose", pa.float64()), ("dose_number", pa.int32()), ("doses", WORDS),
    ("trigger", pa.string()), ("treatments", WORDS), ("recurrence", pa.bool_()), ("ambiguous", pa.bool_()),
    ("flags", WORDS), ("definition", pa.string()), ("closing", pa.string()),
])


class Found(NamedTuple):
    """Episodes: their spans [first, last], outcome, end (INF while open), cause of death."""

    first: Ints
    last: Ints
    outcome: Ints
    end: Ints
    cause: list[str | None]


def answer(
    found: Found, graded: Graded, spans: Spans, rules: Sequence[Closing], chart: Chart, doses: Doses
) -> pa.Table:
    """What is said of each episode."""
    size = len(found.first)
    patient, scale, onset = (column[found.first] for column in (spans.patient, spans.scale, spans.start))
    first, last = spans.first[found.first], spans.last[found.last]
    length = last - first + 1
    offset = np.cumsum(length) - length
    episode = np.repeat(np.arange(size), length)
    rows = np.arange(len(episode)) - offset[episode] + first[episode]
    grade_, begun = graded.grade[rows], graded.start[rows]
    peak = np.maximum.reduceat(grade_, offset)
    up_to = np.asarray(graded.table["up_to"].to_numpy(), np.int64)[rows]
    ambiguous = np.asarray(graded.table["ambiguous"].to_numpy(zero_copy_only=False), bool)[rows]
    reached = np.full((size, len(GRADES) + 1), INF)
    for k in GRADES:
        which, at = np.unique(episode[grade_ == k], return_index=True)
        reached[which, k] = begun[grade_ == k][at]
    number = counted(fresh(patient, scale))
    dosed, listed, trigger, dose_number = _given_before(patient, onset, found.end, chart, doses)
    columns = {
        "patient_id": pa.array(graded.patients).take(pa.array(patient)),
        "scale": pa.array(graded.scales).take(pa.array(scale)),
        "episode": number,
        "start": _moments(onset),
        "end": _moments(found.end),
        "outcome": pa.array(OUTCOMES).take(pa.array(found.outcome)),
        "cause_of_death": found.cause,
        "peak": peak,
        "peak_up_to": np.maximum.reduceat(up_to, offset),
        "time_to_peak_hours": (reached[np.arange(size), peak] - onset) / HOUR,
        **{f"first_{k}": _moments(reached[:, k]) for k in GRADES},
        "hours_from_dose": pa.array((onset - dosed) / HOUR, mask=dosed == NONE),
        "dose_number": pa.array(dose_number, mask=dosed == NONE),
        "doses": listed,
        "trigger": trigger,
        "treatments": _treatments(patient, scale, onset, found.end, rules, chart),
        "recurrence": number > 1,
        "ambiguous": np.logical_or.reduceat(ambiguous, offset),
        "flags": _flags(graded.table["flags"], first, last, rows, episode),
        "definition": graded.table["definition"].take(pa.array(first)),
        "closing": pa.array([rule.hash for rule in rules]).take(pa.array(scale)),
    }
    return pa.table({field.name: _cast(columns[field.name], field.type) for field in SCHEMA}, schema=SCHEMA)


def _given_before(
    patient: Ints, onset: Ints, end: Ints, chart: Chart, doses: Doses
) -> tuple[Ints, list[list[str]], list[str], Ints]:
    """The latest dose up to each onset (NONE: none), the doses to list, the trigger, the dose's number."""
    marks = doses.marks
    after = marks.place(patient, onset + 1)
    dosed = marks.latest(patient, onset + 1)
    low = np.where(dosed == NONE, after, marks.place(patient, dosed))
    high = np.maximum(after, marks.place(patient, end))
    listed: list[list[str]] = []
    trigger: list[str] = []
    number = np.zeros(len(onset), np.int64)
    causes = chart.causes()
    ranges = zip(low.tolist(), high.tolist(), dosed.tolist(), onset.tolist(), strict=True)
    for i, (a, b, at, when) in enumerate(ranges):
        listed.append([f"{doses.name[j]} #{doses.number[j]}" for j in range(a, b)])
        if at != NONE:
            trigger.append(doses.name[a])
            number[i] = doses.number[a]
        else:
            trigger.append(_standing(causes.get(int(patient[i]), ()), when) or "none-charted")
    return dosed, listed, trigger, number


def _standing(causes: Iterable[tuple[int, int, str, bool]], at: int) -> str | None:
    """The latest charted of the conditions present at `at`; of several at one instant the first by name."""
    there: list[tuple[int, int, str]] = []
    for time, until, name, present in causes:
        if time > at:
            break
        if present:
            there.append((-time, until, name))
        else:
            there = [each for each in there if each[2] != name or -each[0] == time]
    names = [(time, name) for time, until, name in there if until > at]
    return min(names)[1] if names else None


def _treatments(
    patient: Ints, scale: Ints, onset: Ints, end: Ints, rules: Sequence[Closing], chart: Chart
) -> list[list[str]]:
    """What was given from onset to end, each with the number of instants at which it was."""
    out: list[list[str]] = [[] for _ in range(len(onset))]
    for rule in dict.fromkeys(rules):
        mine = np.flatnonzero(np.array([each is rule for each in rules])[scale])
        marks = chart.given(rule.treated_with)
        name, time = chart.measure[marks.rows], marks.time
        low, high = marks.place(patient[mine], onset[mine]), marks.place(patient[mine], end[mine])
        some = high > low
        for i, a, b in zip(mine[some].tolist(), low[some].tolist(), high[some].tolist(), strict=True):
            instants_ = set(zip(name[a:b].tolist(), time[a:b].tolist(), strict=True))
            count = Counter(chart.measures[code] for code, _ in instants_)
            out[i] = [f"{drug} x{count[drug]}" for drug in sorted(count)]
    return out


def _flags(column: pa.ChunkedArray, first: Ints, last: Ints, rows: Ints, episode: Ints) -> list[list[str]]:
    """Every flag of an episode's rows, sorted."""
    column = whole(column)
    code, names = encoded(column.flatten())
    if not names:
        return [[] for _ in first]
    owner = np.full(len(column), -1)
    owner[rows] = episode
    parent = owner[np.asarray(pc.list_parent_indices(column).to_numpy(), np.int64)]
    seen = np.zeros((len(first), len(names)), bool)
    seen[parent[parent >= 0], code[parent >= 0]] = True
    order = sorted(range(len(names)), key=lambda i: str(names[i]))
    return [[str(names[i]) for i in order if row[i]] for row in seen.tolist()]


def _moments(at: Ints) -> pa.Array:
    return pa.array(at, pa.int64(), mask=at == INF).cast(INSTANT)


def _cast(column: Any, to: pa.DataType) -> Any:
    return pa.array(column, to) if isinstance(column, list | np.ndarray) else column.cast(to)
