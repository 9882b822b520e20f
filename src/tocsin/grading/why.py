"""From a grade to the facts that caused it.

What a finding rests on now stands in the machine's memory. What it rests on from before (the fever that a
later treatment answered, the first of two low pressures) is found by walking the record to that instant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library, library
from tocsin.facts import resolve
from tocsin.grading import opcodes as op
from tocsin.grading.live import Live, Patient, Row, micros

Fact = dict[str, Any]
MOMENT = timedelta(microseconds=1)


class Cause(NamedTuple):
    """Facts of `measures` charted at `instant`, of one method or with certain words where these count."""

    measures: tuple[str, ...]
    instant: int
    method: str | None = None
    words: tuple[str, ...] = ()


def why(
    facts: pa.Table, scale: str, patient: str, time: datetime, lib: Library | None = None
) -> list[tuple[str, Fact]]:
    """The findings behind a patient's grade at `time`, each with the facts that made it true.

    Returns (finding id, fact row) pairs in the order the scale lists the findings, the facts of each in
    order of time; only facts at or before `time` are looked at. Empty when the grade is 0, and outside the
    patient's record.
    """
    lib = lib or library()
    own = resolve(facts.filter(pc.equal(facts["patient_id"], patient)))
    rows = sorted(own.to_pylist(), key=lambda row: micros(row["time"]))
    record = Record(rows, scale, micros(time), lib)
    out: list[tuple[str, Fact]] = []
    for name in record.because(patient, time):
        found = record.death() if name == "death" else record.named(name)
        out += [(name, row) for row in found]
    return out


class Walk(Live):
    """One patient's machine, which notes since when each confirmed finding has been true."""

    def __init__(self, scale: str, lib: Library) -> None:
        super().__init__([scale], lib=lib)
        self.since: dict[int, int] = {}
        self.confirmed = [n for n, node in enumerate(self.program.node) if node.op == op.CONFIRM]

    def note(self, patient: Patient, t: int) -> None:
        """Instant `t` has been decided."""
        for n in self.confirmed:
            if patient.state.node[n].value == 2:
                self.since.setdefault(n, t)
            else:
                self.since.pop(n, None)

    def _settle(self, patient: Patient) -> None:
        t = patient.pending
        super()._settle(patient)
        if t != op.NONE:
            self.note(patient, t)

    def _lapses(self, patient: Patient, before: int) -> None:
        while not patient.dead and (t := patient.state.g[op.NEXT]) < before:
            super()._lapses(patient, t + 1)
            self.note(patient, t)


class Record:
    """One patient's facts up to an instant, and the machine as it stood at any instant before."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], scale: str, now: int, lib: Library) -> None:
        self.now, self.scale, self.lib = now, scale, lib
        self.live = Walk(scale, lib)
        self.facts: dict[int, list[Fact]] = defaultdict(list)
        self.coded: list[Row] = []
        for row in rows:
            if micros(row["time"]) <= now:
                self.facts[micros(row["time"])].append(dict(row))
                self.coded.append(self.live.coder.code(row))
        self.walks: dict[int, tuple[Walk, Patient]] = {}

    def at(self, t: int) -> tuple[Walk, Patient]:
        """The machine after everything that happened at or before `t`."""
        if t not in self.walks:
            walk = Walk(self.scale, self.lib)
            for row in self.coded:
                if row.time > t:
                    break
                walk.push("", row)
            patient = walk.patients[""]
            walk._settle(patient)
            walk._lapses(patient, t + 1)
            self.walks[t] = walk, patient
        return self.walks[t]

    def because(self, patient: str, time: datetime) -> list[str]:
        """The findings named by the row of the answer that holds at `time`."""
        if not self.coded:
            return []
        walk, _ = self.at(self.now)
        found = walk.answer("", time + MOMENT)
        return list(found[-1]["because"]) if found else []

    def death(self) -> list[Fact]:
        """The first facts of death: they end the record."""
        dead = [[row for row in self.facts[t] if row["measure"] == "death"] for t in sorted(self.facts)]
        return next((rows for rows in dead if rows), [])

    def named(self, name: str) -> list[Fact]:
        """The facts behind a finding that is true now."""
        causes = dict.fromkeys(self.causes(self.live.compiled.named[0][name], self.now))
        rows: list[Fact] = []
        for cause in sorted(causes, key=lambda cause: (cause.instant, cause.measures)):
            rows += [row for row in self.behind(cause) if row not in rows]
        return rows

    def behind(self, cause: Cause) -> Iterator[Fact]:
        """The facts that a cause means; the stop of one bag as the next begins is none."""
        for row in self.facts.get(cause.instant, ()):
            if (
                row["measure"] in cause.measures
                and cause.method in (None, row.get("method"))
                and (not cause.words or row.get("text") in cause.words)
                and not (row.get("value") == 0 and self.lib.measure(row["measure"]).kind == "infusion")
            ):
                yield row

    def causes(self, node: int, t: int) -> Iterator[Cause]:
        """What a node that is true at `t` rests on."""
        walk, patient = self.at(t)
        p, s = walk.program, patient.state
        this, r = p.node[node], node * op.REGISTERS
        kids = [p.index[i] for i in range(this.kids_from, this.kids_to)]
        if this.op == op.READ:
            yield from self.read(node, walk, patient)
        elif this.op == op.GIVEN:
            given, words = walk.compiled.given[node], self.words(walk, this.text)
            if this.span == op.NONE:
                yield Cause(given, s.register[r + 2], words=words)
            else:
                for i in range(this.count):
                    yield Cause(given, s.ring[node * op.RING + i], words=words)
        elif this.op == op.SUM:
            for c in kids:
                if s.channel[c].low > 0:
                    yield Cause((walk.compiled.measures[p.channel[c].measure],), s.channel[c].time)
        elif this.op == op.EVER:
            treated = s.register[r + 1]
            yield Cause(walk.compiled.given[node], treated)
            yield from self.causes(kids[0], treated)
        elif this.op == op.WITHIN:
            yield from self.causes(kids[0], t if s.node[kids[0]].value == 2 else s.register[r + 2] - 1)
        elif this.op == op.FOR:
            yield from self.causes(kids[0], s.register[r + 1])
            yield from self.causes(kids[0], t)
        elif this.op == op.CONFIRM:
            yield from self.confirmation(node, kids, walk, t)
        else:
            yield from self.combined(this, kids, walk, patient, t)

    def combined(self, this: Any, kids: list[int], walk: Walk, patient: Patient, t: int) -> Iterator[Cause]:
        """Of a combination the parts that are true; what is said by an absence has no fact."""
        value = [patient.state.node[kid].value for kid in kids]
        if this.op == op.RULE:
            kids = kids[: this.all + this.any]
        if this.op == op.FIRST:
            kids = [kid for kid, known in zip(kids, value, strict=True) if known != 1][:1]
        for kid in kids:
            if patient.state.node[kid].value == 2:
                yield from self.causes(kid, t)

    def read(self, node: int, walk: Walk, patient: Patient) -> Iterator[Cause]:
        """The reading, the age where the limit depends on it, and the baseline it is compared with."""
        p, s = walk.program, patient.state
        this, r = p.node[node], node * op.REGISTERS
        c, watch = p.channel[this.channel], p.watch[0].age_channel
        instant = s.channel[this.channel].time
        if this.span != op.NONE:
            latest = s.register[r + 1]
            instant = latest if latest != op.NONE else s.register[r] - this.span
        measure = (walk.compiled.measures[c.measure],)
        method = walk.compiled.methods[c.method] if c.method >= 0 else None
        yield Cause(measure, instant, method)
        if this.reference == op.AGE_LIMIT and watch >= 0 and s.channel[watch].held:
            yield Cause(("age",), s.channel[watch].time)
        base = s.channel[this.channel].base_low
        if (this.reference != op.NO_REF or this.new) and base == base and not c.base_median:
            dose = s.g[op.FIRST_DOSE]
            before = [t for t in self.facts if t < dose and list(self.behind(Cause(measure, t, method)))]
            yield from (Cause(measure, t, method) for t in sorted(before)[-1:])

    def confirmation(self, node: int, kids: list[int], walk: Walk, t: int) -> Iterator[Cause]:
        """The low reading now, and the two, or the one and its support, by which it was confirmed."""
        began = walk.since[node]
        _, patient = self.at(began)
        yield from self.causes(kids[0], t)
        yield from self.causes(kids[0], began)
        supported = [kid for kid in kids[1:] if patient.state.node[kid].value == 2]
        for kid in supported:
            yield from self.causes(kid, began)
        if not supported:
            # the low reading before the one that confirmed it
            _, before = self.at(began - 1)
            yield from self.causes(kids[0], before.state.register[node * op.REGISTERS])

    def words(self, walk: Walk, mask: int) -> tuple[str, ...]:
        """The words a `given` finding counts, none for all."""
        return tuple(word for word, code in walk.compiled.texts.items() if mask & (1 << code))
