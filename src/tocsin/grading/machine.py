"""The state machine: one patient's rows in, run-length grades out.

These functions run as they stand (one patient, live, small files) and, unchanged, under numba
(`compiled.py`); they therefore keep to loops, numbers and flat tables. What they mean is written in
docs/grading.md; a step is always the same: what lapses, what arrives, what follows.
"""

from __future__ import annotations

import math
from typing import Any

from tocsin.grading.nodes import forget, soil, touch, update_leaves, update_nodes
from tocsin.grading.opcodes import (
    ABSENT,
    ATTRIBUTION,
    CUT,
    DEATH,
    DIRTY,
    DOSE_NOW,
    EVENT,
    FIRST_DOSE,
    FIRST_OUT,
    HOUR,
    INF,
    INFUSION,
    NEXT,
    NONE,
    PER_WEIGHT,
    PLAIN,
    PUSH,
    READING,
    REGISTERS,
    RING,
    STARTED,
    TIMES_LLN,
    TIMES_ULN,
    TIMES_WEIGHT,
    TINY,
    TOUCHED,
    UNUSABLE,
    WINDOW,
)
from tocsin.grading.rungs import close, update_grades


def begin(p: Any, s: Any, start: int) -> None:
    """Empty the state for a new patient whose first fact lies at `start`."""
    for c in range(len(p.channel)):
        s.channel[c].time = NONE
        s.channel[c].last_time = NONE
        s.channel[c].word = -1
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
        s.node[n].dirty = 1
        s.node[n].due = INF
        s.node[n].pulse = NONE
    for i in range(len(p.node) * REGISTERS):
        s.register[i] = NONE
    for i in range(len(p.node) * RING):
        s.ring[i] = NONE
    for a in range(5):
        s.category[a].before = NONE
        s.category[a].now = NONE
        s.category[a].time = NONE
    for k in range(len(p.scale)):
        s.scale[k].start = start
        s.scale[k].grade = -1
        s.scale[k].change = start
        s.scale[k].dirty = 1
    s.g[NEXT] = INF
    s.g[FIRST_DOSE] = NONE
    s.g[WINDOW] = NONE
    s.g[TOUCHED] = 0
    s.g[DOSE_NOW] = 0
    s.g[DIRTY] = 1
    s.g[STARTED] = start


def lapse(p: Any, s: Any, t: int) -> None:
    """Let everything end that ends at or before `t`."""
    for c in range(len(p.channel)):
        if s.channel[c].due <= t:
            s.channel[c].due = INF
            if p.channel[c].infusion:
                stopped = s.channel[c].ended or s.channel[c].high == 0.0
                s.channel[c].low = 0.0
                s.channel[c].high = 0.0 if stopped else math.inf
            s.channel[c].held = 0
            touch(s, c)
    for n in range(len(p.node)):
        if s.node[n].due <= t:
            s.node[n].due = INF
            soil(s, n)
    for a in range(5):
        if max(s.category[a].before, s.category[a].now) == t:
            for i in range(p.category[a].leaves_from, p.category[a].leaves_to):
                soil(s, p.index[i])


def next_due(p: Any, s: Any, t: int) -> int:
    """The next instant after `t` at which something lapses."""
    due = INF
    for c in range(len(p.channel)):
        if s.channel[c].due < due:
            due = s.channel[c].due
    for n in range(len(p.node)):
        if s.node[n].due < due:
            due = s.node[n].due
    for a in range(5):
        until = max(s.category[a].before, s.category[a].now)
        if t < until < due:
            due = until
    return due


def scaled(p: Any, c: int, x: float, ref_low: float, ref_high: float, weight: float, upper: bool) -> float:
    """A value in the terms of channel `c`: plain, in multiples of a limit, or per patient."""
    mode = p.channel[c].mode
    if mode == PLAIN:
        step = p.channel[c].round
        if step > 0.0 and not math.isinf(x):
            return math.floor(x / step + 0.5 + 1e-9) * step
        return x
    if math.isinf(x):
        return x
    if mode == TIMES_ULN or mode == TIMES_LLN:
        limit = ref_high if mode == TIMES_ULN else ref_low
        if limit != limit:
            limit = p.channel[c].reference
        if limit != limit or limit <= 0.0:
            return math.inf if upper else -math.inf
        return x / limit
    if weight != weight or weight <= 0.0:
        if x == 0.0:
            return 0.0
        return math.inf if upper else TINY
    return x * weight if mode == TIMES_WEIGHT else x / weight


def read(
    p: Any, s: Any, m: int, t: int, low: float, high: float, method: int, end: int,
    ref_low: float, ref_high: float, weight: float,
) -> None:
    """Feed one reading to every channel of measure `m`; ties go to the worst."""
    for j in range(p.measure[m].channels_from, p.measure[m].channels_to):
        c = p.index[j]
        if p.channel[c].method >= 0 and p.channel[c].method != method:
            continue
        a = scaled(p, c, low, ref_low, ref_high, weight, False)
        b = scaled(p, c, high, ref_low, ref_high, weight, True)
        default = 0
        if p.channel[c].mode == TIMES_ULN and ref_high != ref_high:
            default = 1
        if p.channel[c].mode == TIMES_LLN and ref_low != ref_low:
            default = 1
        if p.channel[c].infusion:
            a = max(a, 0.0)
            due = end if end < INF else t + p.channel[c].hold
            if end <= t:
                a = 0.0
                b = 0.0
                due = t + p.channel[c].hold
        else:
            due = INF if p.channel[c].hold == INF else t + p.channel[c].hold
        ended = 1 if end < INF and end > t else 0
        if s.channel[c].time == t:
            merge(p, s, c, a, b, method, due, ended, default)
        else:
            s.channel[c].last_time = s.channel[c].time
            s.channel[c].last_low = s.channel[c].low
            s.channel[c].last_high = s.channel[c].high
            s.channel[c].last_method = s.channel[c].method
            s.channel[c].time = t
            s.channel[c].low = a
            s.channel[c].high = b
            s.channel[c].method = method
            s.channel[c].due = due
            s.channel[c].ended = ended
            s.channel[c].default = default
            s.channel[c].held = 1
            s.channel[c].before = 0
            touch(s, c)
        if s.channel[c].due < s.g[NEXT]:
            s.g[NEXT] = s.channel[c].due


def merge(p: Any, s: Any, c: int, a: float, b: float, method: int, due: int, ended: int, default: int) -> None:
    """A second reading at the same instant: keep the worst of the two."""
    if p.channel[c].worse > 0:
        better = a > s.channel[c].low or (a == s.channel[c].low and b > s.channel[c].high)
        same = a == s.channel[c].low and b == s.channel[c].high
        s.channel[c].low = max(s.channel[c].low, a)
        s.channel[c].high = max(s.channel[c].high, b)
    else:
        better = b < s.channel[c].high or (b == s.channel[c].high and a < s.channel[c].low)
        same = a == s.channel[c].low and b == s.channel[c].high
        s.channel[c].low = min(s.channel[c].low, a)
        s.channel[c].high = min(s.channel[c].high, b)
    if better:
        s.channel[c].method = method
        s.channel[c].due = due
        s.channel[c].ended = ended
        s.channel[c].default = default
    elif same:
        s.channel[c].method = min(s.channel[c].method, method)
        if due > s.channel[c].due or (due == s.channel[c].due and ended > s.channel[c].ended):
            s.channel[c].due = due
            s.channel[c].ended = ended
        s.channel[c].default = max(s.channel[c].default, default)


def give(p: Any, s: Any, m: int, t: int, text: int, end: int, given: bool) -> None:
    """Something was charted at `t`, and perhaps `given`: tell the findings that remember it."""
    for j in range(p.measure[m].events_from, p.measure[m].events_to):
        n = p.index[j]
        if not given and not p.node[n].new:
            continue
        if p.node[n].text != 0 and p.node[n].text & (1 << text) == 0:
            continue
        soil(s, n)
        if p.node[n].span == NONE:
            hold_until(s, n, t, text, end, p.node[n].bridge)
            continue
        if text == ABSENT:
            continue
        s.node[n].pulse = t
        k = n * RING
        if s.ring[k] != t:
            for i in range(RING - 1, 0, -1):
                s.ring[k + i] = s.ring[k + i - 1]
            s.ring[k] = t


def hold_until(s: Any, n: int, t: int, text: int, end: int, hold: int) -> None:
    """A state that lasts (a symptom, a condition): registers 0 before, 1 now, 2 the instant of now."""
    r = n * REGISTERS
    if s.register[r + 2] != t:
        s.register[r] = max(s.register[r], s.register[r + 1])
        s.register[r + 1] = NONE
        s.register[r + 2] = t
    if text == ABSENT:
        s.register[r] = NONE
        return
    until = end if end < INF else (INF if hold == INF else t + hold)
    s.register[r + 1] = max(s.register[r + 1], until)


def attribute(p: Any, s: Any, a: int, t: int, crs: int, end: int) -> None:
    """A clinician's word: category `a` has another cause until `end` (else 24 h), or is CRS again."""
    if s.category[a].time != t:
        s.category[a].before = max(s.category[a].before, s.category[a].now)
        s.category[a].now = NONE
        s.category[a].time = t
    if crs:
        s.category[a].before = NONE
    else:
        s.category[a].now = max(s.category[a].now, end if end < INF else t + 24 * HOUR)
    until = max(s.category[a].before, s.category[a].now)
    if t < until < s.g[NEXT]:
        s.g[NEXT] = until
    for i in range(p.category[a].leaves_from, p.category[a].leaves_to):
        soil(s, p.index[i])


def dose(p: Any, s: Any, m: int, t: int) -> None:
    """A therapy was given: the first dose starts the record, every dose opens its risk window."""
    if s.g[FIRST_DOSE] == NONE:
        s.g[FIRST_DOSE] = t
        s.g[DOSE_NOW] = 1
    window = p.measure[m].window
    s.g[WINDOW] = INF if window == INF else max(s.g[WINDOW], t + window)
    for i in range(p.watch[0].dose_leaves_from, p.watch[0].dose_leaves_to):
        soil(s, p.index[i])


def median_baselines(p: Any, s: Any, t: int, rows: Any, first: int, now: int, scratch: Any) -> None:
    """Fix baselines that are a median over the window before the first dose at `t`.

    `rows` are the patient's rows in order of time, `first` its first, `now` the first at `t`; `scratch`
    has room for one number a row.
    """
    for c in range(len(p.channel)):
        channel = p.channel[c]
        if not channel.base_median or channel.base_window == 0:
            continue
        count = 0
        last = NONE
        for i in range(now - 1, first - 1, -1):
            at = rows.time[i]
            if at < t - channel.base_window:
                break
            if rows.measure[i] != channel.measure or rows.low[i] != rows.high[i]:
                continue
            if channel.method >= 0 and channel.method != rows.method[i]:
                continue
            x = scaled(p, c, rows.low[i], math.nan, math.nan, math.nan, False)
            if at == last:
                worst = max(x, scratch[count - 1]) if channel.worse > 0 else min(x, scratch[count - 1])
                scratch[count - 1] = worst
            else:
                scratch[count] = x
                count += 1
                last = at
        if count > 0:
            s.channel[c].base_low = median(scratch, count)
            s.channel[c].base_high = s.channel[c].base_low


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


def take(p: Any, s: Any, rows: Any, i: int) -> bool:
    """Take row `i`; true if it is a death."""
    m = rows.measure[i]
    if m < 0:
        return False
    t = rows.time[i]
    kind = p.measure[m].kind
    text = rows.text[i]
    if kind == DEATH:
        return True
    more = rows.more[i]
    if kind == ATTRIBUTION:
        attribute(p, s, text // 2, t, text % 2, rows.end[more])
        return False
    if p.measure[m].window != NONE:
        dose(p, s, m, t)
    if kind == READING or (kind == INFUSION and text != PUSH):
        read(
            p, s, m, t, rows.low[i], rows.high[i], rows.method[i], rows.end[more],
            rows.ref_low[more], rows.ref_high[more], rows.weight[more],
        )
    if text != UNUSABLE:
        given = kind == EVENT or (kind == INFUSION and rows.high[i] > 0.0)
        give(p, s, m, t, text, rows.end[more], given)
    return False


def settle(p: Any, s: Any, t: int, patient: int, out: Any, emitted: int) -> int:
    """All of instant `t` has been taken: bring findings and grades up to date."""
    if not (s.g[TOUCHED] or s.g[DIRTY] or s.g[DOSE_NOW]) and s.g[NEXT] > t:
        return emitted
    if s.g[DOSE_NOW]:
        s.g[DOSE_NOW] = 0
        forget(p, s, t)
    update_leaves(p, s, t)
    update_nodes(p, s, t)
    emitted = update_grades(p, s, t, patient, out, emitted)
    if s.g[NEXT] <= t:
        s.g[NEXT] = next_due(p, s, t)
    return emitted


def grade_patient(
    p: Any, s: Any, rows: Any, first: int, stop: int, patient: int, until: int, extend: bool,
    scratch: Any, out: Any, emitted: int
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
        dead = -1
        while i < stop and rows.time[i] == t:
            if take(p, s, rows, i):
                dead = max(dead, rows.text[i])
            i += 1
        if dead >= 0:
            return close(p, s, t, patient, dead, out, emitted)
        if s.g[DOSE_NOW]:
            median_baselines(p, s, t, rows, first, now, scratch)
            last_baselines(p, s, t)
        emitted = settle(p, s, t, patient, out, emitted)
    return close(p, s, until if extend else NONE, patient, -1, out, emitted)


def grade_all(
    p: Any, s: Any, rows: Any, starts: Any, until: int, extend: bool, scratch: Any, out: Any
) -> int:
    """Grade every patient; patient `k` has the rows [starts[k], starts[k + 1])."""
    emitted = 0
    for k in range(len(starts) - 1):
        emitted = grade_patient(p, s, rows, starts[k], starts[k + 1], k, until, extend, scratch, out, emitted)
    return emitted
