"""Taking one row: readings to their channels, events to the findings that remember them.

Nothing is decided here: all rows of an instant are taken first. Runs plain and under numba.
"""

from __future__ import annotations

import math
from typing import Any

from tocsin.grading.leaves import expect, masked_until, soil, touch
from tocsin.grading.opcodes import (
    ABSENT,
    ATTRIBUTED,
    ATTRIBUTION,
    DEATH,
    DOSE_NOW,
    EVENT,
    FIRST_DOSE,
    GIVEN,
    HOUR,
    INF,
    INFUSION,
    NEXT,
    NONE,
    PLAIN,
    PUSH,
    READING,
    REGISTERS,
    RING,
    TIMES_LLN,
    TIMES_ULN,
    TIMES_WEIGHT,
    TINY,
    UNUSABLE,
    WINDOW,
)


def take(p: Any, s: Any, rows: Any, i: int) -> bool:
    """Take row `i`; true if it is a death."""
    m = rows.measure[i]
    if m < 0:
        return False
    more = rows.more[i]
    return take_row(
        p,
        s,
        rows.time[i],
        m,
        rows.low[i],
        rows.high[i],
        rows.text[i],
        rows.method[i],
        rows.end[more],
        rows.ref_low[more],
        rows.ref_high[more],
        rows.weight[more],
    )


def take_row(
    p: Any,
    s: Any,
    t: int,
    m: int,
    low: float,
    high: float,
    text: int,
    method: int,
    end: int,
    ref_low: float,
    ref_high: float,
    weight: float,
) -> bool:
    """Take one row of measure `m` charted at `t`; true if it is a death."""
    measure = p.measure[m]
    kind = measure.kind
    if kind == DEATH:
        return True
    if kind == ATTRIBUTION:
        attribute(p, s, text // 2, t, text % 2, end)
        return False
    if measure.window != NONE:
        dose(p, s, m, t)
    if kind == READING or (kind == INFUSION and text != PUSH):
        read(p, s, m, t, low, high, method, end, ref_low, ref_high, weight)
    if text != UNUSABLE and measure.events_from < measure.events_to:
        given = kind == EVENT or (kind == INFUSION and high > 0.0)
        give(p, s, m, t, text, end, given)
    return False


def read(
    p: Any,
    s: Any,
    m: int,
    t: int,
    low: float,
    high: float,
    method: int,
    end: int,
    ref_low: float,
    ref_high: float,
    weight: float,
) -> None:
    """Feed one reading to every channel of measure `m`; ties go to the worst."""
    index, channels = p.index, p.channel
    for j in range(p.measure[m].channels_from, p.measure[m].channels_to):
        c = index[j]
        channel, charted = channels[c], s.channel[c]
        if channel.method >= 0 and channel.method != method:
            continue
        a = low
        b = high
        default = 0
        if channel.mode != PLAIN or channel.round > 0.0:
            a = scaled(p, c, low, ref_low, ref_high, weight, False)
            b = scaled(p, c, high, ref_low, ref_high, weight, True)
            if channel.mode == TIMES_ULN and ref_high != ref_high:
                default = 1
            if channel.mode == TIMES_LLN and ref_low != ref_low:
                default = 1
        hold = channel.hold
        if channel.infusion:
            a = max(a, 0.0)
            due = end if end < INF else t + hold
            if end <= t:
                a = 0.0
                b = 0.0
                due = t + hold
        else:
            due = INF if hold == INF else t + hold
            if t < end < INF:
                due = end
        ended = 1 if end < INF and end > t else 0
        if charted.time == t:
            merge(p, s, c, a, b, method, due, ended, default)
        else:
            if charted.due < INF:  # what gives way before its end changes something, whatever follows
                charted.seen = t
            charted.last_time = charted.time
            charted.last_low = charted.low
            charted.last_high = charted.high
            charted.last_method = charted.method
            charted.time = t
            charted.low = a
            charted.high = b
            charted.top_low = a
            charted.top_high = b
            charted.method = method
            charted.due = due
            charted.ended = ended
            charted.default = default
            charted.held = 1
            charted.before = 0
            touch(s, c)
        expect(s, c)


def merge(
    p: Any, s: Any, c: int, a: float, b: float, method: int, due: int, ended: int, default: int
) -> None:
    """A second reading at the same instant: keep the worst of the two."""
    top_low, top_high = s.channel[c].top_low, s.channel[c].top_high
    same = a == top_low and b == top_high
    if p.channel[c].worse > 0:
        better = a > top_low or (a == top_low and b > top_high)
        s.channel[c].low = max(s.channel[c].low, a)
        s.channel[c].high = max(s.channel[c].high, b)
    else:
        better = b < top_high or (b == top_high and a < top_low)
        s.channel[c].low = min(s.channel[c].low, a)
        s.channel[c].high = min(s.channel[c].high, b)
    if better:
        s.channel[c].top_low = a
        s.channel[c].top_high = b
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


def scaled(p: Any, c: int, x: float, ref_low: float, ref_high: float, weight: float, upper: bool) -> float:
    """A value in the terms of channel `c`: plain, in multiples of a limit, or per patient."""
    mode = p.channel[c].mode
    if mode == PLAIN:
        step = p.channel[c].round
        if step > 0.0 and not math.isinf(x):
            return float(math.floor(x / step + 0.5 + 1e-9) * step)
        return x
    if math.isinf(x):
        return x
    if mode in (TIMES_ULN, TIMES_LLN):
        limit = ref_high if mode == TIMES_ULN else ref_low
        if limit != limit:
            limit = float(p.channel[c].reference)
        if limit != limit or limit <= 0.0:
            return math.inf if upper else -math.inf
        return x / limit
    if weight != weight or weight <= 0.0:
        if x == 0.0:
            return 0.0
        return math.inf if upper else TINY
    return float(x * weight if mode == TIMES_WEIGHT else x / weight)


def give(p: Any, s: Any, m: int, t: int, text: int, end: int, given: bool) -> None:
    """Something was charted at `t`, and perhaps `given`: tell the findings that remember it."""
    nodes, state, index, ring = p.node, s.node, p.index, s.ring
    for j in range(p.measure[m].events_from, p.measure[m].events_to):
        n = index[j]
        if not given and not nodes[n].new:
            continue
        if nodes[n].text != 0 and nodes[n].text & (1 << text) == 0:
            continue
        if nodes[n].op != GIVEN or nodes[n].span == NONE or state[n].value != 2:
            soil(s, n)  # what is yes stays so: it is asked again when it would have ended
        if nodes[n].span == NONE:
            hold_until(s, n, t, text, end, nodes[n].bridge)
            continue
        if text == ABSENT:
            continue
        state[n].pulse = t
        k = n * RING
        if ring[k] != t:
            for i in range(RING - 1, 0, -1):
                ring[k + i] = ring[k + i - 1]
            ring[k] = t


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
        s.category[a].before = masked_until(s, a)
        s.category[a].now = NONE
        s.category[a].crs = 0
        s.category[a].time = t
    if crs:
        s.category[a].crs = 1
    else:
        s.category[a].now = max(s.category[a].now, end if end < INF else t + 24 * HOUR)
    s.g[ATTRIBUTED] = 1
    until = masked_until(s, a)
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
