"""The machines of many patients, kept between facts: compiled (`Ward`), or plain Python (`PlainWard`).

Neither keeps rows: whoever has them elsewhere hands all of a patient's in again where that is needed. The two
say the same; compiled, a fact with its answer and a record that begins anew cost less than a tenth, but the
compiled machine has to be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from tocsin.definitions.load import Library, library
from tocsin.facts.columns import INSTANT
from tocsin.grading import opcodes as op
from tocsin.grading.batch import run
from tocsin.grading.compile import Compiled, compiled
from tocsin.grading.compiled import is_cached, is_warm, now_warm, onward_all
from tocsin.grading.live import Coder, Live, Row
from tocsin.grading.program import S_PLACE, State, new_state, room_for
from tocsin.grading.rows import KINDS, READ, Rows, prepare
from tocsin.grading.rungs import COLUMNS

#: Patients for whom room is made at first; it doubles.
FIRST = 64
Lines = list[list[int]]


@dataclass(frozen=True, slots=True)
class Said:
    """What a machine says of a patient at an instant, as numbers (`rungs.COLUMNS`).

    `settled` is what became final since it was asked last (since it began, where `anew`), `beside` what it
    says further up to and at that instant; at `next` this may change with time alone (`opcodes.INF`: never).
    """

    settled: Lines
    beside: Lines
    next: int
    anew: bool


class Machines(Protocol):
    """What both kinds can do."""

    coder: Coder

    def __contains__(self, who: object) -> bool:
        """Whether there is a machine of this patient."""

    def go_on(self, of: Mapping[str, Sequence[Row]], now: int) -> dict[str, Said]:
        """Take new rows, of each patient in order of time (none: time passes), and carry to `now`. Who is not
        in the answer must begin anew."""

    def begin(self, facts: pa.Table, now: int) -> dict[str, Said]:
        """Begin anew with all canonical facts of some patients."""

    def forget(self, who: str) -> None:
        """Let a machine go."""


class PlainWard:
    """In plain Python."""

    def __init__(self, live: Live) -> None:
        self.live, self.coder = live, live.coder

    def __contains__(self, who: object) -> bool:
        return who in self.live.patients

    def go_on(self, of: Mapping[str, Sequence[Row]], now: int) -> dict[str, Said]:
        mine = {who: rows for who, rows in of.items() if who in self}
        taken = [who for who, rows in mine.items() if all(self.live.push(who, row) for row in rows)]
        return {who: self._said(who, now) for who in taken}

    def begin(self, facts: pa.Table, now: int) -> dict[str, Said]:
        found: dict[str, list[Row]] = {}
        read = [name for name in READ if name in facts.column_names]
        times = {name: facts.schema.get_field_index(name) for name in ("time", "end") if name in read}
        for name, place in times.items():  # whole numbers are made faster than moments
            facts = facts.set_column(place, name, facts[name].cast(INSTANT).cast(pa.int64()))
        for fact in facts.select(read).to_pylist():
            found.setdefault(fact["patient_id"], []).append(self.coder.code(fact))
        for who, rows in found.items():
            self.live.restore(who, rows)
        return {who: self._said(who, now) for who in found}

    def forget(self, who: str) -> None:
        self.live.patients.pop(who, None)

    def _said(self, who: str, now: int) -> Said:
        rows, next_ = self.live.carried(who, now)
        return Said([], rows, next_, True)


class Ward:
    """Compiled: some 25 KB a patient, and one call for all who have something new."""

    def __init__(self, program: Compiled, lib: Library, coder: Coder) -> None:
        self.program, self.lib, self.coder = program, lib, coder
        self.place: dict[str, int] = {}
        self.free: list[int] = []
        self.held: State = room_for(program.program, 0)
        self.places = np.zeros(0, S_PLACE)
        self.spare = new_state(program.program, plain=False)

    def __contains__(self, who: object) -> bool:
        return who in self.place

    def go_on(self, of: Mapping[str, Sequence[Row]], now: int) -> dict[str, Said]:
        names = [who for who in of if who in self.place]
        if not names:
            return {}
        rows = [row for who in names for row in of[who]]
        starts = np.cumsum([0, *(len(of[who]) for who in names)])
        room = 4 * len(self.program.scales) * (len(rows) + 4 * len(names) + 16)
        found = self._walk(names, columns(rows), starts, now, room, anew=False)
        if found is None:  # more came than there was room for
            for who in names:
                self.forget(who)
            return {}
        return found

    def begin(self, facts: pa.Table, now: int) -> dict[str, Said]:
        if not facts.num_rows:
            return {}
        rows, starts, patients = prepare(facts, self.program, self.lib, self.coder.methods)
        # Arrow hands some columns on read-only, which to numba is another type: a compilation of its own.
        rows = Rows(*(np.require(column, requirements=("C", "W")) for column in rows))
        names = patients.to_pylist()
        self._make_room(names)
        room = 4 * len(self.program.scales) * (len(rows.time) // 16 + 4 * len(names) + 16)
        while True:
            found = self._walk(names, rows, starts, now, room, anew=True)
            if found is not None:
                return found
            room *= 8

    def forget(self, who: str) -> None:
        place = self.place.pop(who, None)
        if place is not None:
            self.free.append(place)

    def load(self) -> None:
        """Have the compiled code in this process."""
        self._walk((), columns(()), np.zeros(1, np.int64), 0, 1, anew=False)

    def _walk(
        self, names: Sequence[str], rows: Rows, starts: Any, now: int, room: int, *, anew: bool
    ) -> dict[str, Said] | None:
        """Through the machine; None where `room` lines are too few, and the states are spoilt."""
        which = np.array([self.place[who] for who in names], np.int64)
        out = np.empty((room, len(COLUMNS)), np.int64)
        ends, nexts = np.empty((len(names), 2), np.int64), np.empty(len(names), np.int64)
        scratch = np.empty(int(np.diff(starts).max(initial=0)) + 1)
        emitted = onward_all()(
            self.program.program, self.held, self.places, self.spare, which, rows, starts, anew, now, scratch,
            out, ends, nexts,
        )  # fmt: skip
        if emitted > room:
            return None
        lines, first, found = out[:emitted].tolist(), 0, {}
        for who, (settled, last), next_ in zip(names, ends.tolist(), nexts.tolist(), strict=True):
            if next_ != op.NONE:
                found[who] = Said(lines[first:settled], lines[settled:last], next_, anew)
            first = last
        return found

    def _make_room(self, names: Iterable[str]) -> None:
        """A place for each."""
        new = [who for who in names if who not in self.place]
        if len(new) > len(self.free):
            before = len(self.places)
            after = max(FIRST, 2 * before, before + len(new))
            more = room_for(self.program.program, after - before)
            self.held = State(*(np.concatenate(pair) for pair in zip(self.held, more, strict=True)))
            self.places = np.concatenate([self.places, np.zeros(after - before, S_PLACE)])
            self.free += range(after - 1, before - 1, -1)
        for who in new:
            self.place[who] = self.free.pop()


def columns(rows: Sequence[Row]) -> Rows:
    """Coded rows as the machine reads files; each has a line of its own for an end, limits and a weight."""
    fields = zip(*rows, strict=True) if rows else ((),) * len(Row._fields)
    time, measure, low, high, text, method, *more = fields
    each = (time, measure, low, high, text, method, range(len(rows)), *more)
    return Rows(*(np.array(column, kind) for column, kind in zip(each, KINDS, strict=True)))


def warm(*, anew: bool = False) -> None:
    """Load the compiled machine into this process, where it has been compiled before on this computer (a
    second or two): from then on it is used for small tables and single facts, too. `anew` compiles it where
    it has not been (about 40 CPU seconds)."""
    program = compiled(("astct-2019",), library())
    if not is_warm("grade_all") and (anew or is_cached("grade_all")):
        run(program, columns(()), np.zeros(1, np.int64), op.INF, False, True)
        now_warm("grade_all")
    if not is_warm("onward_all") and (anew or is_cached("onward_all")):
        Ward(program, library(), Coder(program, library())).load()
        now_warm("onward_all")
