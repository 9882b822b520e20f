"""Grade while facts arrive: the same machine, one event at a time, in plain Python.

An event costs a few microseconds whatever the length of the record. A fact that comes late (its time
lies before the last instant already decided) replays that one patient, so live and batch never differ.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import CATEGORIES
from tocsin.grading import machine
from tocsin.grading import opcodes as op
from tocsin.grading.compile import Compiled, compiled
from tocsin.grading.intake import take
from tocsin.grading.intervals import empty, table
from tocsin.grading.program import State, as_lists, new_state
from tocsin.grading.rows import EACH, Rows
from tocsin.grading.rungs import COLUMNS, close

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_MORE = (op.INF, math.nan, math.nan, math.nan)


class Row(NamedTuple):
    """One fact as the machine reads it."""

    time: int
    measure: int
    low: float
    high: float
    text: int
    method: int
    end: int
    ref_low: float
    ref_high: float
    weight: float


@dataclass(slots=True)
class Patient:
    """One patient's machine and the rows it has taken (kept for replays)."""

    state: State
    rows: Rows = field(
        default_factory=lambda: Rows(*([] for _ in Rows._fields[:EACH]), *([x] for x in NO_MORE))
    )
    out: Any = None
    emitted: int = 0
    clock: int = op.NONE
    pending: int = op.NONE
    dead: int = 0

    def append(self, row: Row, place: int | None = None) -> None:
        """Keep a row, in front of place `place` or last."""
        more = 0
        if row[6:] != NO_MORE:
            more = len(self.rows.end)
            for column, value in zip(self.rows[EACH:], row[6:], strict=True):
                column.append(value)
        for column, value in zip(self.rows, (*row[:6], more), strict=False):
            column.insert(len(column) if place is None else place, value)


def no_rows() -> Rows:
    """Room for rows, as lists."""
    return Rows(*([] for _ in Rows._fields[:EACH]), *([none] for none in NO_MORE))


class Live:
    """Grades of many patients, kept up to date.

    >>> noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    >>> ward = Live(["astct-2019"])
    >>> ward.add({"patient_id": "p1", "time": noon, "measure": "temperature", "value": 38.4})
    >>> ward.answer("p1", noon.replace(hour=13))[0]["grade"]
    1
    """

    def __init__(self, scales: Sequence[str] = ("astct-2019",), *, lib: Library | None = None) -> None:
        self.lib = lib or library()
        self.compiled: Compiled = compiled(tuple(scales), self.lib)
        self.program = as_lists(self.compiled.program)
        self.coder = Coder(self.compiled, self.lib)
        self.patients: dict[str, Patient] = {}

    def add(self, fact: Mapping[str, Any]) -> None:
        """Take one canonical fact (values in canonical units, times aware or in microseconds)."""
        self.push(str(fact["patient_id"]), self.coder.code(fact))

    def push(self, who: str, row: Row) -> None:
        """Take one coded row."""
        patient = self.patients.get(who)
        if patient is None:
            patient = self.patients[who] = self._new()
        t = row.time
        settled = patient.pending != t or patient.dead
        if t < patient.clock or (t == patient.clock and settled):
            patient.append(row, bisect_right(patient.rows.time, t))
            self._replay(patient)
            return
        patient.append(row)
        self._take(patient, len(patient.rows.time) - 1)

    def answer(self, who: str, now: datetime) -> list[dict[str, Any]]:
        """The standing answer of every scale at `now`, as rows of the interval table."""
        rows = self.intervals(who, now).to_pylist()
        return [row for row in rows if row["end"] is None or row["end"] == now]

    def intervals(self, who: str, now: datetime | None = None) -> pa.Table:
        """Everything said about a patient so far; with `now`, carried to that instant."""
        patient = self.patients.get(who)
        if patient is None:
            return empty()
        horizon = op.INF if now is None else micros(now)
        self._settle(patient)
        state, out, emitted = patient.state, patient.out.copy(), patient.emitted
        if now is None or state.g[op.NEXT] < horizon:
            # what lapses from here on is run on a copy: a fact may still come in between
            patient = self._copy(patient)
            self._lapses(patient, horizon)
            state, out, emitted = patient.state, patient.out, patient.emitted
        if not patient.dead:
            state.g[op.CUT] = horizon
            emitted = close(self.program, state, op.NONE if now is None else horizon, 0, 0, out, emitted)
            state.g[op.CUT] = op.INF
        kept = out[:emitted]
        kept = kept[kept[:, 2] < horizon]
        kept[:, 3] = np.minimum(kept[:, 3], horizon)
        return table(kept, pa.array([who], pa.string()), self.compiled)

    def _make_room(self, patient: Patient) -> None:
        """Keep room for one answer a scale twice over: an instant and a death may each end all of them."""
        if patient.emitted + 4 * len(self.program.scale) > len(patient.out):
            patient.out = np.concatenate([patient.out, np.empty_like(patient.out)])

    def _new(self) -> Patient:
        out = np.empty((8 * len(self.program.scale), len(COLUMNS)), np.int64)
        return Patient(new_state(self.compiled.program, plain=True), out=out)

    def _copy(self, patient: Patient) -> Patient:
        twin = self._new()
        twin.rows = patient.rows
        self._run(twin)
        self._settle(twin)
        return twin

    def _replay(self, patient: Patient) -> None:
        patient.clock, patient.pending, patient.emitted, patient.dead = op.NONE, op.NONE, 0, 0
        self._run(patient)

    def _run(self, patient: Patient) -> None:
        for i in range(len(patient.rows.time)):
            self._take(patient, i)

    def _take(self, patient: Patient, i: int) -> None:
        t = patient.rows.time[i]
        if patient.clock == op.NONE:
            machine.begin(self.program, patient.state, t)
            patient.state.g[op.CUT] = op.INF
        elif t > patient.pending:
            self._settle(patient)
            self._lapses(patient, t)
        if patient.dead:
            return
        if patient.pending != t and patient.state.g[op.NEXT] <= t:
            machine.lapse(self.program, patient.state, t)
        patient.clock = patient.pending = t
        if take(self.program, patient.state, patient.rows, i):
            self._die(patient, t)

    def _die(self, patient: Patient, t: int) -> None:
        """A death ends the record; several words at one instant count together."""
        rows = patient.rows
        for j, at in enumerate(rows.time):
            if at == t and self._kind(rows.measure[j]) == op.DEATH:
                patient.dead |= 1 << rows.text[j]
        patient.emitted = close(self.program, patient.state, t, 0, patient.dead, patient.out, patient.emitted)

    def _kind(self, measure: int) -> int:
        return op.IRRELEVANT if measure < 0 else self.compiled.kinds[measure]

    def _settle(self, patient: Patient) -> None:
        """Decide the pending instant."""
        t = patient.pending
        if t == op.NONE or patient.dead:
            return
        state, rows = patient.state, patient.rows
        if state.g[op.DOSE_NOW]:
            now = next(i for i, time in enumerate(rows.time) if time == t)
            machine.median_baselines(self.program, state, t, rows, 0, now, [0.0] * len(rows.time))
            machine.last_baselines(self.program, state, t)
        patient.emitted = machine.settle(self.program, state, t, 0, patient.out, patient.emitted)
        self._make_room(patient)
        patient.pending = op.NONE

    def _lapses(self, patient: Patient, before: int) -> None:
        """Let happen what lapses before `before`."""
        state = patient.state
        while not patient.dead and state.g[op.NEXT] < before:
            t = state.g[op.NEXT]
            machine.lapse(self.program, state, t)
            patient.emitted = machine.settle(self.program, state, t, 0, patient.out, patient.emitted)
            self._make_room(patient)
            patient.clock = t


class Coder:
    """Canonical facts, one by one, as the machine's rows: what `rows.prepare` does for tables."""

    def __init__(self, program: Compiled, lib: Library) -> None:
        self.program = program
        self.index = {name: m for m, name in enumerate(program.measures)}
        self.infos = [lib.measure(name) for name in program.measures]
        self.words = [{word: float(i) for i, word in enumerate(info.words)} for info in self.infos]
        self.methods = {name: i for i, name in enumerate(program.methods)}

    def code(self, fact: Mapping[str, Any]) -> Row:
        """One fact as a row; a measure no scale reads keeps only its time."""
        m = self.index.get(str(fact["measure"]), -1)
        time, end = micros(fact["time"]), fact.get("end")
        if m < 0:
            return Row(time, -1, 0.0, 0.0, 0, 0, *NO_MORE)
        kind, text = self.program.kinds[m], fact.get("text")
        code = self.program.texts.get(str(text), op.NO_TEXT) if text is not None else op.NO_TEXT
        low = high = math.nan
        if kind in (op.READING, op.INFUSION):
            low, high, code = self.value(m, kind, _number(fact.get("value")), text, code)
        elif kind == op.DEATH:
            code = self.program.fatal.get(str(text), 0)
        elif kind == op.ATTRIBUTION:
            category, _, cause = str(text).partition("=")
            if category not in CATEGORIES:
                return Row(time, -1, 0.0, 0.0, 0, 0, *NO_MORE)
            code = CATEGORIES.index(category) * 2 + int(cause.strip() == "crs")
        method = fact.get("method")
        return Row(
            time,
            m,
            low,
            high,
            code,
            0 if method is None else self.methods.setdefault(str(method), len(self.methods)),
            op.INF if end is None else micros(end),
            _number(fact.get("ref_low")),
            _number(fact.get("ref_high")),
            _number(fact.get("weight")),
        )

    def value(self, m: int, kind: int, value: float, text: Any, code: int) -> tuple[float, float, int]:
        """The interval of possible values, and the text code."""
        words = len(self.words[m])
        if code == op.UNUSABLE:
            return (0.0, words - 1.0, code) if words else (-math.inf, math.inf, code)
        if kind == op.INFUSION:
            if code == op.PUSH:
                return 1.0, 1.0, code
            if value != value:
                return op.TINY, math.inf, code
        elif self.infos[m].kind == "category":
            value = self.words[m].get(str(text), math.nan)
        if value != value:
            return (0.0, words - 1.0, op.UNUSABLE) if words else (-math.inf, math.inf, op.UNUSABLE)
        if text in ("<", ">"):
            nudge = max(1e-8 * abs(value), 1e-12)
            return (-math.inf, value - nudge, code) if text == "<" else (value + nudge, math.inf, code)
        return value, value, code


def micros(moment: Any) -> int:
    """A moment as microseconds since 1970; whole numbers pass through."""
    if isinstance(moment, int):
        return moment
    delta = moment - EPOCH
    return int((delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds)


def _number(value: Any) -> float:
    # the one NaN object of `NO_MORE`, which tuples compare by identity
    return math.nan if value is None else float(value)
