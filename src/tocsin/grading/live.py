"""Grade while facts arrive: the same machine, one event at a time, in plain Python.

An event costs a few microseconds whatever the length of the record. A fact that comes late (its time
lies before the last instant already decided) replays that one patient, so live and batch never differ.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import CATEGORIES
from tocsin.facts.instants import EPOCH
from tocsin.grading import opcodes as op
from tocsin.grading.compile import Compiled, compiled
from tocsin.grading.intervals import empty, table
from tocsin.grading.plain import MACHINE
from tocsin.grading.program import as_lists, new_state
from tocsin.grading.rows import EACH, Rows
from tocsin.grading.rungs import COLUMNS

TIME = itemgetter(0)
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
    """One patient's machine and the rows it has taken, in order of time (kept for replays)."""

    state: Any
    rows: list[Row] = field(default_factory=list)
    out: list[list[int]] = field(default_factory=list)
    emitted: int = 0
    clock: int = op.NONE
    pending: int = op.NONE
    dead: int = 0


class Live:
    """Grades of many patients, kept up to date.

    With `keeps_rows` false only the machines are held (some 40 KB a patient): whoever has the rows elsewhere
    hands them in again with `restore` when `push` says that it needs them.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    >>> ward = Live(["astct-2019"])
    >>> ward.add({"patient_id": "p1", "time": noon, "measure": "temperature", "value": 38.4})
    >>> ward.answer("p1", noon.replace(hour=13))[0]["grade"]
    1
    """

    keeps_rows = True

    def __init__(
        self, scales: Sequence[str] = ("astct-2019",), *, lib: Library | None = None, keeps_rows: bool = True
    ) -> None:
        self.keeps_rows = keeps_rows
        self.lib = lib or library()
        self.compiled: Compiled = compiled(tuple(scales), self.lib)
        self.program = as_lists(self.compiled.program)
        self.coder = Coder(self.compiled, self.lib)
        self.patients: dict[str, Patient] = {}

    def add(self, fact: Mapping[str, Any]) -> None:
        """Take one canonical fact (values in canonical units, times aware or in microseconds)."""
        self.push(str(fact["patient_id"]), self.coder.code(fact))

    def push(self, who: str, row: Row) -> bool:
        """Take one coded row; False where that needs the patient's earlier rows and they are not kept."""
        patient = self.patients.get(who)
        if patient is None:
            patient = self.patients[who] = self._new()
        t = row[0]
        late = t < patient.clock or (t == patient.clock and (patient.pending != t or patient.dead))
        if not self.keeps_rows:
            if late or self._looks_back(row.measure):
                return False
            self._take(patient, row)
            return True
        if late:
            patient.rows.insert(bisect_right(patient.rows, t, key=TIME), row)
            self._replay(patient)
            return True
        patient.rows.append(row)
        self._take(patient, row)
        return True

    def restore(self, who: str, rows: Sequence[Row]) -> None:
        """Begin a patient anew from all rows, in order of time."""
        patient = self.patients[who] = self._new()
        patient.rows = list(rows)
        self._replay(patient)
        if not self.keeps_rows:
            if patient.pending != op.NONE and patient.state.g[op.DOSE_NOW]:
                self._settle(patient)  # what was usual before a dose is worked out while the rows are at hand
            patient.rows = []

    def carried(self, who: str, now: int) -> tuple[list[list[int]], int]:
        """Everything said of a patient up to and at `now`, as the machine's numbers (`rungs.COLUMNS`), and
        when the answer may change next with time alone (`opcodes.INF`: never)."""
        patient = self._copy(self.patients[who])
        self._lapses(patient, now + 1)
        if not patient.dead:
            patient.state.g[op.CUT] = op.INF
            patient.emitted = MACHINE.close(
                self.program, patient.state, now + 1, 0, 0, patient.out, patient.emitted
            )
        rows = [row for row in patient.out[: patient.emitted] if row[2] <= now]
        return rows, op.INF if patient.dead else max(int(patient.state.g[op.NEXT]), now + 1)

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
        patient = self._copy(patient)
        self._lapses(patient, horizon)
        if not patient.dead:
            patient.state.g[op.CUT] = horizon
            end = op.NONE if now is None else horizon
            patient.emitted = MACHINE.close(
                self.program, patient.state, end, 0, 0, patient.out, patient.emitted
            )
        kept = np.array(patient.out[: patient.emitted], np.int64).reshape(-1, len(COLUMNS))
        kept = kept[kept[:, 2] < horizon]
        kept[:, 3] = np.minimum(kept[:, 3], horizon)
        return table(kept, pa.array([who], pa.string()), self.compiled)

    def _copy(self, patient: Patient) -> Patient:
        """A settled copy: to it happens what lapses from here on, and the end of the answer, because a fact
        may still come in, also at the instant that is pending."""
        patient = replace(
            patient, state=patient.state.copy(), out=[row.copy() for row in patient.out[: patient.emitted]]
        )
        self._make_room(patient)
        self._settle(patient)
        return patient

    def _make_room(self, patient: Patient) -> None:
        """Keep room for one answer a scale twice over: an instant and a death may each end all of them."""
        while len(patient.out) < patient.emitted + 4 * len(self.program.scale):
            patient.out.append([0] * len(COLUMNS))

    def _new(self) -> Patient:
        patient = Patient(new_state(self.compiled.program, plain=True))
        self._make_room(patient)
        return patient

    def _replay(self, patient: Patient) -> None:
        patient.clock, patient.pending, patient.emitted, patient.dead = op.NONE, op.NONE, 0, 0
        for row in patient.rows:
            self._take(patient, row)

    def _take(self, patient: Patient, row: Row) -> None:
        t, state = row[0], patient.state
        g = state.g
        if t != patient.pending:
            if patient.clock == op.NONE:
                MACHINE.begin(self.program, state, t)
                g[op.CUT] = op.INF
            else:
                if patient.pending != op.NONE:
                    self._settle(patient)
                if g[op.NEXT] < t:
                    self._lapses(patient, t)
            if patient.dead:
                return
            if g[op.NEXT] == t:
                MACHINE.lapse(self.program, state, t)
            patient.clock = patient.pending = t
        if row[1] >= 0 and not patient.dead and MACHINE.take_row(self.program, state, *row):
            self._die(patient, t)

    def _die(self, patient: Patient, t: int) -> None:
        """A death ends the record; several words at one instant count together."""
        for row in patient.rows[bisect_left(patient.rows, t, key=TIME) :]:
            if row.time == t and self._kind(row.measure) == op.DEATH:
                patient.dead |= 1 << row.text
        patient.emitted = MACHINE.close(
            self.program, patient.state, t, 0, patient.dead, patient.out, patient.emitted
        )

    def _kind(self, measure: int) -> int:
        return op.IRRELEVANT if measure < 0 else self.compiled.kinds[measure]

    def _looks_back(self, measure: int) -> bool:
        """Whether a row makes the machine read earlier rows: a dose its usual values, a death its instant."""
        if measure < 0:
            return False
        return self.compiled.kinds[measure] == op.DEATH or self.program.measure[measure].window != op.NONE

    def _settle(self, patient: Patient) -> None:
        """Decide the pending instant: bring findings and grades up to date."""
        t, state = patient.pending, patient.state
        if t == op.NONE or patient.dead:
            return
        if state.g[op.DOSE_NOW]:
            rows = columns(patient.rows)
            now = bisect_left(rows.time, t)
            MACHINE.median_baselines(self.program, state, t, rows, 0, now, [0.0] * len(rows.time))
            MACHINE.last_baselines(self.program, state, t)
        patient.pending = op.NONE
        before = patient.emitted
        after = MACHINE.settle(self.program, state, t, 0, patient.out, before)
        if after != before:
            patient.emitted = after
            self._make_room(patient)

    def _lapses(self, patient: Patient, before: int) -> None:
        """Let happen what lapses before `before`."""
        g = patient.state.g
        while not patient.dead and g[op.NEXT] < before:
            t = g[op.NEXT]
            MACHINE.lapse(self.program, patient.state, t)
            patient.clock = patient.pending = t
            self._settle(patient)


def columns(rows: Sequence[Row]) -> Rows:
    """Rows as columns, as the machine reads files."""
    each = list(zip(*rows, strict=True))
    return Rows._make([*each[: EACH - 1], range(len(rows)), *each[EACH - 1 :]])


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
