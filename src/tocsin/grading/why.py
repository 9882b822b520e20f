"""From a grade to the facts that caused it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa

from tocsin.definitions.load import Library, library
from tocsin.grading import opcodes as op
from tocsin.grading.live import Live, Patient, micros


def why(
    facts: pa.Table, scale: str, patient: str, time: datetime, lib: Library | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """The findings behind a patient's grade at `time`, each with the fact that made it true.

    Returns (finding id, fact row) pairs in the order the scale lists them; only facts at or before
    `time` are looked at. Empty when the grade is 0.
    """
    lib = lib or library()
    live = Live([scale], lib=lib)
    upto = micros(time)
    rows = [row for row in facts.to_pylist() if row["patient_id"] == patient and micros(row["time"]) <= upto]
    for row in sorted(rows, key=lambda row: micros(row["time"])):
        live.add(row)
    found = live.answer(patient, time) if rows else []
    if not found or not found[-1]["because"]:
        return []
    state = live.patients[patient]
    live._settle(state)
    live._lapses(state, upto + 1)
    out: list[tuple[str, dict[str, Any]]] = []
    for name in found[-1]["because"]:
        for measures, instant in causes(live, state, live.compiled.named[0][name], upto):
            for row in rows:
                pair = (name, row)
                if row["measure"] in measures and micros(row["time"]) == instant and pair not in out:
                    out.append(pair)
    return out


def causes(live: Live, patient: Patient, node: int, now: int) -> list[tuple[tuple[str, ...], int]]:
    """The (measures, instant) pairs on which a true node rests."""
    p, s = live.program, patient.state
    this, register = p.node[node], node * op.REGISTERS
    measures = live.compiled.measures
    if this.op == op.READ:
        channel = p.channel[this.channel]
        instant = s.channel[this.channel].time
        if this.span != op.NONE:
            latest = s.register[register + 1]
            instant = latest if latest != op.NONE else s.register[register] - this.span
        return [((measures[channel.measure],), instant)]
    if this.op == op.GIVEN:
        return (
            [(live.compiled.given[node], s.ring[node * op.RING + i]) for i in range(this.count)]
            if this.span != op.NONE
            else [(live.compiled.given[node], s.register[register + 2])]
        )
    if this.op == op.EVER:
        fever = p.index[this.kids_from]
        given = [(live.compiled.given[node], s.register[register + 1])]
        return given + (causes(live, patient, fever, now) if s.node[fever].value == 2 else [])
    kids = [p.index[i] for i in range(this.kids_from, this.kids_to)]
    if this.op == op.SUM:
        running = [c for c in kids if s.channel[c].low > 0]
        return [((measures[p.channel[c].measure],), s.channel[c].time) for c in running]
    if this.op == op.RULE:
        kids = kids[: this.all + this.any]
    if this.op == op.FIRST:
        kids = [kid for kid in kids if s.node[kid].value != 1][:1]
    found: list[tuple[tuple[str, ...], int]] = []
    for kid in kids:
        if s.node[kid].value == 2:
            found += causes(live, patient, kid, now)
    return found
