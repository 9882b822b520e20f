"""Moments at which something that had happened was not yet recorded: graded from what was known then.

A laboratory value is drawn at eight and known at ten. Grading a whole stay anew for every moment in between
would be slow, so one machine walks the record up to the first fact that was not yet known, and a twin of it
goes on from there with what was.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.definitions.load import Library
from tocsin.grading import opcodes as op
from tocsin.grading.intervals import table
from tocsin.grading.live import Live, Patient, Row
from tocsin.grading.moments import Bench, Findings
from tocsin.grading.plain import MACHINE
from tocsin.grading.rungs import COLUMNS

BASE, TWIN = "base", "twin"


class Pending:
    """One patient's machines, walked in order of time; `at` must be asked for ascending moments."""

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        scales: Sequence[str],
        lib: Library,
        findings: Findings | None,
    ) -> None:
        self.rows = rows
        self.times = [int(row["time"]) for row in rows]
        self.known = [max(int(row.get("recorded") or row["time"]), int(row["time"])) for row in rows]
        self.grading = Live(scales, lib=lib)
        self.machines: list[Live] = [self.grading]
        if findings is not None:
            coders = zip(findings.programs, findings.coder, strict=True)
            self.machines += [Bench(program, lib, coder) for program, coder in coders]
        self.coded: list[list[Row]] = [[machine.coder.code(row) for row in rows] for machine in self.machines]
        self.taken = 0

    def waiting(self, now: int) -> list[int]:
        """The places of the rows that had happened by `now` and were not yet known."""
        return [i for i in range(bisect_right(self.times, now)) if self.known[i] > now]

    def at(self, now: int, waiting: Sequence[int]) -> tuple[int, pa.Table, dict[str, int]]:
        """What was known at `now` but for the rows at the places `waiting`.

        Returns the time of the first of them, the intervals that stood or began from then on, and what every
        finding said.
        """
        first = self.times[waiting[0]]
        stop = bisect_left(self.times, first)
        missing = set(waiting)
        later = [i for i in range(stop, bisect_right(self.times, now)) if i not in missing]
        states: dict[str, int] = {}
        answer = None
        for machine, coded in zip(self.machines, self.coded, strict=True):
            for i in range(self.taken, stop):
                machine.push(BASE, coded[i])
            machine.patients[TWIN] = twin_of(machine, machine.patients.get(BASE))
            for i in later:
                machine.push(TWIN, coded[i])
            twin = machine.patients[TWIN]
            if twin.rows:
                machine._settle(twin)
                machine._lapses(twin, now + 1)
            if machine is self.grading:
                answer = intervals(machine, twin, first, now)
            else:
                node = twin.state.node
                states.update({name: node[n].value for name, n in machine.compiled.named[0].items()})
        self.taken = max(self.taken, stop)
        assert answer is not None
        return first, answer, states


def twin_of(machine: Live, patient: Patient | None) -> Patient:
    """A copy of a patient's machine that can go its own way."""
    if patient is None:
        return machine._new()
    out = [row.copy() for row in patient.out]
    return replace(patient, state=patient.state.copy(), rows=list(patient.rows), out=out)


def intervals(machine: Live, patient: Patient, first: int, now: int) -> pa.Table:
    """The intervals of a walked patient that ended at or after `first`, carried to `now`."""
    emitted = patient.emitted
    if not patient.dead and patient.rows:
        patient.state.g[op.CUT] = now + 1
        machine._make_room(patient)
        emitted = MACHINE.close(machine.program, patient.state, now + 1, 0, 0, patient.out, emitted)
    kept = [row for row in patient.out[:emitted] if row[2] <= now and row[3] >= first]
    numbers = np.array(kept, np.int64).reshape(-1, len(COLUMNS))
    numbers[:, 3] = np.minimum(numbers[:, 3], now + 1)
    return table(numbers, pa.array([TWIN], pa.string()), machine.compiled)


def joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Half-open spans, those that touch joined, in order.

    >>> joined([(5, 7), (0, 2), (1, 3)])
    [(0, 3), (5, 7)]
    """
    out: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(stop, out[-1][1]))
        else:
            out.append((start, stop))
    return out
