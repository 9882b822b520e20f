"""The state machine: one patient's rows in, run-length grades out.

These functions, and those of leaves.py, nodes.py, intake.py and rungs.py, run as they stand (one
patient, live, small files) and, unchanged, under numba (compiled.py); they therefore keep to loops,
numbers and flat tables, and allocate nothing. What they mean is written in docs/grading.md; a step is
always the same: what lapses, what arrives, what follows.
"""

from __future__ import annotations

import math
from typing import Any

from tocsin.grading.intake import scaled, take
from tocsin.grading.leaves import masked_until, set_limits, soil, touch, update_leaves
from tocsin.grading.nodes import forget, update_nodes
from tocsin.grading.opcodes import (
    ATTRIBUTED,
    CLEAN,
    CUT,
    DIRTY,
    DOSE_NOW,
    FIRST_DOSE,
    FIRST_OUT,
    INF,
    NEXT,
    NONE,
    REGISTERS,
    RING,
    STARTED,
    TOUCHED,
    WINDOW,
)
from tocsin.grading.rungs import close, update_grades


def begin(p: Any, s: Any, start: int) -> None:
    """Empty the state for a new patient whose first fact lies at `start`."""
    for c in range(len(p.channel)):
        s.channel[c].time = NONE
        s.channel[c].last_time = NONE
        s.channel[c].word = -1
        s.channel[c].seen = start
        s.channel[c].held = 0
        s.channel[c].before = 0
        s.channel[c].ended = 0
        s.channel[c].due = INF
        s.channel[c].default = 0
        s.channel[c].base_low = math.nan
        s.channel[c].base_high = math.nan
        s.channel[c].touched = 0
        s.channel[c].low = 0.0 if p.channel[c].infusion else -math.inf
        s.channel[c].high = 0.0 if p.channel[c].infusion else math.inf
    for n in range(len(p.node)):
        s.node[n].value = 0
        s.node[n].due = INF
        s.node[n].pulse = NONE
    for i in range(len(p.node) * REGISTERS):
        s.register[i] = NONE
    for i in range(len(p.node) * RING):
        s.ring[i] = NONE
    for a in range(5):
        s.category[a].before = NONE
        s.category[a].now = NONE
        s.category[a].crs = 0
        s.category[a].time = NONE
    for k in range(len(p.scale)):
        s.scale[k].start = start
        s.scale[k].grade = -1
        s.scale[k].change = start
    s.g[NEXT] = INF
    s.g[FIRST_DOSE] = NONE
    s.g[WINDOW] = NONE
    s.g[TOUCHED] = 0
    s.g[ATTRIBUTED] = 0
    set_limits(p, s)
    s.g[DOSE_NOW] = 0
    s.g[STARTED] = start
    soil_all(p, s)


def soil_all(p: Any, s: Any) -> None:
    """Every node must be evaluated, and every scale read."""
    for n in range(len(p.node)):
        s.node[n].dirty = 1
        s.work[n] = n
    for k in range(len(p.scale)):
        s.scale[k].dirty = 1
    s.g[CLEAN] = 0
    s.g[DIRTY] = len(p.node)


def lapse(p: Any, s: Any, t: int) -> None:
    """Let everything end that ends at or before `t`, and note when the next thing ends."""
    due = unmask(p, s, t)
    for c in range(len(p.channel)):
        if s.channel[c].due <= t:
            end_of(p, s, c, t)
        elif s.channel[c].due < due:
            due = s.channel[c].due
    for i in range(p.watch[0].timed_from, p.watch[0].timed_to):
        node = s.node[p.index[i]]
        if node.due <= t:
            node.due = INF
            soil(s, p.index[i])
        elif node.due < due:
            due = node.due
    s.g[NEXT] = due


def end_of(p: Any, s: Any, c: int, t: int) -> None:
    """The reading of channel `c` stands no longer."""
    channel = s.channel[c]
    channel.due = INF
    if p.channel[c].infusion:
        stopped = channel.ended or channel.high == 0.0
        channel.low = 0.0
        channel.high = 0.0 if stopped else math.inf
    channel.held = 0
    channel.seen = t
    touch(s, c)


def unmask(p: Any, s: Any, t: int) -> int:
    """Let end what clinicians said of other causes until `t`; when the next of it ends."""
    due = INF
    if not s.g[ATTRIBUTED]:
        return due
    for a in range(5):
        until = masked_until(s, a)
        if until == t:
            for i in range(p.category[a].leaves_from, p.category[a].leaves_to):
                soil(s, p.index[i])
        elif t < until < due:
            due = until
    return due


def median_baselines(p: Any, s: Any, t: int, rows: Any, first: int, now: int, scratch: Any) -> None:
    """Fix baselines that are a median over the window before the first dose at `t`.

    `rows` are the patient's rows in order of time, `first` its first, `now` the first at `t`; `scratch`
    has room for one number a row. The lower and the upper ends each have their median.
    """
    for c in range(len(p.channel)):
        if p.channel[c].base_median and p.channel[c].base_window > 0:
            count = gather(p, c, t, rows, first, now, scratch, False)
            if count > 0:
                s.channel[c].base_low = median(scratch, count)
                count = gather(p, c, t, rows, first, now, scratch, True)
                s.channel[c].base_high = median(scratch, count)


def gather(p: Any, c: int, t: int, rows: Any, first: int, now: int, scratch: Any, upper: bool) -> int:
    """Put one end of every reading of channel `c` in the window into `scratch`, ties at their worst."""
    channel = p.channel[c]
    ends = rows.high if upper else rows.low
    count = 0
    last = NONE
    for i in range(now - 1, first - 1, -1):
        at = rows.time[i]
        if at < t - channel.base_window:
            break
        if rows.measure[i] != channel.measure:
            continue
        if channel.method >= 0 and channel.method != rows.method[i]:
            continue
        x = scaled(p, c, ends[i], math.nan, math.nan, math.nan, upper)
        if at != last:
            scratch[count] = x
            count += 1
            last = at
        elif channel.worse > 0:
            scratch[count - 1] = max(x, scratch[count - 1])
        else:
            scratch[count - 1] = min(x, scratch[count - 1])
    return count


def median(values: Any, count: int) -> float:
    """The median of the first `count` values, which are left sorted (nothing is allocated here)."""
    gap = count // 2
    while gap > 0:
        for i in range(gap, count):
            x = values[i]
            j = i
            while j >= gap and values[j - gap] > x:
                values[j] = values[j - gap]
                j -= gap
            values[j] = x
        gap //= 2
    middle = count // 2
    return float(values[middle]) if count % 2 else float(0.5 * (values[middle - 1] + values[middle]))


def last_baselines(p: Any, s: Any, t: int) -> None:
    """Fix the other baselines: the last reading within the window before the first dose at `t`."""
    for c in range(len(p.channel)):
        if p.channel[c].base_median or p.channel[c].base_window == 0:
            continue
        at = s.channel[c].last_time if s.channel[c].time == t else s.channel[c].time
        low = s.channel[c].last_low if s.channel[c].time == t else s.channel[c].low
        high = s.channel[c].last_high if s.channel[c].time == t else s.channel[c].high
        if at != NONE and at >= t - p.channel[c].base_window:
            s.channel[c].base_low = low
            s.channel[c].base_high = high


def settle(p: Any, s: Any, t: int, patient: int, out: Any, emitted: int) -> int:
    """All of instant `t` has been taken: bring findings and grades up to date."""
    if not (s.g[TOUCHED] or s.g[DIRTY] or s.g[DOSE_NOW]):
        return emitted
    if s.g[DOSE_NOW]:
        s.g[DOSE_NOW] = 0
        forget(p, s, t)
    update_leaves(p, s, t)
    update_nodes(p, s, t)
    return update_grades(p, s, t, patient, out, emitted)


def grade_patient(
    p: Any,
    s: Any,
    rows: Any,
    first: int,
    stop: int,
    patient: int,
    until: int,
    extend: bool,
    scratch: Any,
    out: Any,
    emitted: int,
) -> int:
    """Grade the rows [first, stop) of one patient, sorted by time; returns the table and its new length."""
    start = rows.time[first]
    if start >= until:
        return emitted
    begin(p, s, start)
    s.g[CUT] = until
    s.g[FIRST_OUT] = emitted
    i = first
    while True:
        t = rows.time[i] if i < stop else INF
        if s.g[NEXT] < t:
            t = s.g[NEXT]
        if t == INF or (extend and t >= until):
            break
        if s.g[NEXT] <= t:
            lapse(p, s, t)
        now = i
        dead = 0
        while i < stop and rows.time[i] == t:
            if take(p, s, rows, i):
                dead |= 1 << rows.text[i]
            i += 1
        if dead:
            return close(p, s, t, patient, dead, out, emitted)
        if s.g[DOSE_NOW]:
            median_baselines(p, s, t, rows, first, now, scratch)
            last_baselines(p, s, t)
        emitted = settle(p, s, t, patient, out, emitted)
    return close(p, s, until if extend else NONE, patient, 0, out, emitted)


def grade_all(
    p: Any, s: Any, rows: Any, starts: Any, until: int, extend: bool, scratch: Any, out: Any
) -> int:
    """Grade every patient; patient `k` has the rows [starts[k], starts[k + 1])."""
    emitted = 0
    for k in range(len(starts) - 1):
        emitted = grade_patient(p, s, rows, starts[k], starts[k + 1], k, until, extend, scratch, out, emitted)
    return emitted
