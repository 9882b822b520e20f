"""Going on from where a patient stands: more rows in, and the answer carried to an instant out.

What `machine.grade_patient` does in one walk, in two parts, with the state kept in between. Runs under numba
(ward.py); for one fact at a time in plain Python there is live.py, and the two say the same.
"""

from __future__ import annotations

from typing import Any

from tocsin.grading.intake import take
from tocsin.grading.machine import begin, lapse, last_baselines, median_baselines, settle
from tocsin.grading.opcodes import CUT, DEATH, DOSE_NOW, INF, NEXT, NONE
from tocsin.grading.program import State
from tocsin.grading.rungs import close


def onward_all(
    p: Any,
    held: Any,
    places: Any,
    spare: Any,
    which: Any,
    rows: Any,
    starts: Any,
    anew: bool,
    now: int,
    scratch: Any,
    out: Any,
    ends: Any,
    nexts: Any,
) -> int:
    """Hand rows [starts[k], starts[k + 1]) to machine `which[k]` of `held`, then carry its answer to `now`.

    `anew` lets each begin with these rows, which are then all of its patient. In `out`, what is settled for
    good ends at `ends[k, 0]`, and what is said beside it up to and at `now` at `ends[k, 1]`; at `nexts[k]`
    the answer may change with time alone (NONE: this patient's earlier rows are needed, nothing was done).
    Where more comes back than `out` has room for, the states are spoilt: all of these must begin anew.
    """
    emitted = 0
    for k in range(len(which)):
        i = which[k]
        s = State(
            held.g[i], held.channel[i], held.node[i], held.category[i], held.scale[i], held.register[i],
            held.ring[i], held.stack[i], held.walk[i], held.work[i],
        )  # fmt: skip
        place = places[i]
        if anew:
            place.clock = NONE
            place.pending = NONE
            place.dead = 0
        elif looks_back(p, place, rows, starts[k], starts[k + 1]):
            ends[k, 0] = emitted
            ends[k, 1] = emitted
            nexts[k] = NONE
            continue
        emitted = onward(p, s, place, rows, starts[k], starts[k + 1], k, scratch, out, emitted)
        ends[k, 0] = emitted
        duplicate(s, spare)
        emitted = carry(p, spare, place, now, k, out, emitted)
        ends[k, 1] = emitted
        nexts[k] = INF if place.dead else max(spare.g[NEXT], now + 1)
    return emitted


def looks_back(p: Any, place: Any, rows: Any, first: int, stop: int) -> bool:
    """Whether rows make the machine read earlier ones: one that comes late, a dose (what was usual before
    it), a death (what else was said at its instant)."""
    if first < stop and place.clock != NONE:
        t = rows.time[first]
        if t < place.clock or (t == place.clock and (place.pending != t or place.dead)):
            return True
    for i in range(first, stop):
        m = rows.measure[i]
        if m >= 0 and (p.measure[m].kind == DEATH or p.measure[m].window != NONE):
            return True
    return False


def onward(
    p: Any,
    s: Any,
    place: Any,
    rows: Any,
    first: int,
    stop: int,
    patient: int,
    scratch: Any,
    out: Any,
    emitted: int,
) -> int:
    """Take the rows [first, stop), of which none lies before `place.clock`; the last instant stays pending,
    because more of it may come. A dose comes with all rows of its patient."""
    i = first
    while i < stop and not place.dead:
        t = rows.time[i]
        if t != place.pending:
            if place.clock == NONE:
                begin(p, s, t)
                s.g[CUT] = INF
            elif place.pending != NONE:
                emitted = settle(p, s, place.pending, patient, out, emitted)
            while s.g[NEXT] < t:
                due = s.g[NEXT]
                lapse(p, s, due)
                emitted = settle(p, s, due, patient, out, emitted)
            if s.g[NEXT] == t:
                lapse(p, s, t)
            place.clock = t
            place.pending = t
        now = i
        dead = 0
        while i < stop and rows.time[i] == t:
            if take(p, s, rows, i):
                dead |= 1 << rows.text[i]
            i += 1
        if dead:
            place.dead = dead
            emitted = close(p, s, t, patient, dead, out, emitted)
        elif s.g[DOSE_NOW]:
            median_baselines(p, s, t, rows, first, now, scratch)
            last_baselines(p, s, t)
            emitted = settle(p, s, t, patient, out, emitted)
            place.pending = NONE
    return emitted


def carry(p: Any, s: Any, place: Any, now: int, patient: int, out: Any, emitted: int) -> int:
    """What is said up to and at `now`, if nothing more comes; `s` is used up."""
    if place.dead or place.clock == NONE:
        return emitted
    if place.pending != NONE:
        emitted = settle(p, s, place.pending, patient, out, emitted)
    while s.g[NEXT] <= now:
        due = s.g[NEXT]
        lapse(p, s, due)
        emitted = settle(p, s, due, patient, out, emitted)
    return close(p, s, now + 1, patient, 0, out, emitted)


def duplicate(s: Any, twin: Any) -> None:
    """Make a state another's twin."""
    for i in range(len(s.g)):
        twin.g[i] = s.g[i]
    for i in range(len(s.channel)):
        twin.channel[i] = s.channel[i]
        twin.stack[i] = s.stack[i]
    for i in range(len(s.node)):
        twin.node[i] = s.node[i]
        twin.work[i] = s.work[i]
    for i in range(len(s.category)):
        twin.category[i] = s.category[i]
    for i in range(len(s.scale)):
        twin.scale[i] = s.scale[i]
    for i in range(len(s.register)):
        twin.register[i] = s.register[i]
    for i in range(len(s.ring)):
        twin.ring[i] = s.ring[i]
