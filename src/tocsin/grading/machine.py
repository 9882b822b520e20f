"""The state machine: one patient's rows in, run-length grades out.

These functions run as they stand (one patient, live, small files) and, unchanged, under numba
(`compiled.py`); they therefore keep to loops, numbers and flat tables. What they mean is written in
docs/grading.md; a step is always the same: what lapses, what arrives, what follows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

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
    for c in range(len(p.c_measure)):
        s.c_time[c] = NONE
        s.p_time[c] = NONE
        s.word[c] = -1
        s.c_held[c] = 0
        s.c_before[c] = 0
        s.c_ended[c] = 0
        s.c_due[c] = INF
        s.c_default[c] = 0
        s.c_base[c] = math.nan
        s.c_touched[c] = 0
        s.c_low[c] = 0.0 if p.c_infusion[c] else -math.inf
        s.c_high[c] = 0.0 if p.c_infusion[c] else math.inf
    for n in range(len(p.n_op)):
        s.value[n] = 0
        s.dirty[n] = 1
        s.n_due[n] = INF
        s.pulse[n] = NONE
    for i in range(len(p.n_op) * REGISTERS):
        s.register[i] = NONE
    for i in range(len(p.n_op) * RING):
        s.ring[i] = NONE
    for a in range(5):
        s.a_before[a] = NONE
        s.a_now[a] = NONE
        s.a_time[a] = NONE
    for k in range(len(p.s_fatal)):
        s.k_start[k] = start
        s.k_grade[k] = -1
        s.k_change[k] = start
        s.k_dirty[k] = 1
    s.g[NEXT] = INF
    s.g[FIRST_DOSE] = NONE
    s.g[WINDOW] = NONE
    s.g[TOUCHED] = 0
    s.g[DOSE_NOW] = 0
    s.g[DIRTY] = 1
    s.g[STARTED] = start


def lapse(p: Any, s: Any, t: int) -> None:
    """Let everything end that ends at or before `t`."""
    for c in range(len(p.c_measure)):
        if s.c_due[c] <= t:
            s.c_due[c] = INF
            if p.c_infusion[c]:
                stopped = s.c_ended[c] or s.c_high[c] == 0.0
                s.c_low[c] = 0.0
                s.c_high[c] = 0.0 if stopped else math.inf
            s.c_held[c] = 0
            touch(s, c)
    for n in range(len(p.n_op)):
        if s.n_due[n] <= t:
            s.n_due[n] = INF
            soil(s, n)
    for a in range(5):
        if max(s.a_before[a], s.a_now[a]) == t:
            for i in range(p.category_leaf_from[a], p.category_leaf_from[a + 1]):
                soil(s, p.category_leaf[i])


def next_due(p: Any, s: Any, t: int) -> int:
    """The next instant after `t` at which something lapses."""
    due = INF
    for c in range(len(p.c_measure)):
        if s.c_due[c] < due:
            due = s.c_due[c]
    for n in range(len(p.n_op)):
        if s.n_due[n] < due:
            due = s.n_due[n]
    for a in range(5):
        until = max(s.a_before[a], s.a_now[a])
        if t < until < due:
            due = until
    return due


def scaled(p: Any, c: int, x: float, ref_low: float, ref_high: float, weight: float, upper: bool) -> float:
    """A value in the terms of channel `c`: plain, in multiples of a limit, or per patient."""
    mode = p.c_mode[c]
    if mode == PLAIN:
        step = p.c_round[c]
        if step > 0.0 and not math.isinf(x):
            return math.floor(x / step + 0.5 + 1e-9) * step
        return x
    if math.isinf(x):
        return x
    if mode == TIMES_ULN or mode == TIMES_LLN:
        limit = ref_high if mode == TIMES_ULN else ref_low
        if limit != limit:
            limit = p.c_reference[c]
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
    for j in range(p.m_channel_from[m], p.m_channel_from[m + 1]):
        c = p.m_channel[j]
        if p.c_method[c] >= 0 and p.c_method[c] != method:
            continue
        a = scaled(p, c, low, ref_low, ref_high, weight, False)
        b = scaled(p, c, high, ref_low, ref_high, weight, True)
        default = 0
        if p.c_mode[c] == TIMES_ULN and ref_high != ref_high:
            default = 1
        if p.c_mode[c] == TIMES_LLN and ref_low != ref_low:
            default = 1
        if p.c_infusion[c]:
            a = max(a, 0.0)
            due = end if end < INF else t + p.c_hold[c]
            if end <= t:
                a = 0.0
                b = 0.0
                due = t + p.c_hold[c]
        else:
            due = INF if p.c_hold[c] == INF else t + p.c_hold[c]
        ended = 1 if end < INF and end > t else 0
        if s.c_time[c] == t:
            merge(p, s, c, a, b, method, due, ended, default)
        else:
            s.p_time[c] = s.c_time[c]
            s.p_low[c] = s.c_low[c]
            s.p_high[c] = s.c_high[c]
            s.p_method[c] = s.c_method[c]
            s.c_time[c] = t
            s.c_low[c] = a
            s.c_high[c] = b
            s.c_method[c] = method
            s.c_due[c] = due
            s.c_ended[c] = ended
            s.c_default[c] = default
            s.c_held[c] = 1
            s.c_before[c] = 0
            touch(s, c)
        if s.c_due[c] < s.g[NEXT]:
            s.g[NEXT] = s.c_due[c]


def merge(p: Any, s: Any, c: int, a: float, b: float, method: int, due: int, ended: int, default: int) -> None:
    """A second reading at the same instant: keep the worst of the two."""
    if p.c_worse[c] > 0:
        better = a > s.c_low[c] or (a == s.c_low[c] and b > s.c_high[c])
        same = a == s.c_low[c] and b == s.c_high[c]
        s.c_low[c] = max(s.c_low[c], a)
        s.c_high[c] = max(s.c_high[c], b)
    else:
        better = b < s.c_high[c] or (b == s.c_high[c] and a < s.c_low[c])
        same = a == s.c_low[c] and b == s.c_high[c]
        s.c_low[c] = min(s.c_low[c], a)
        s.c_high[c] = min(s.c_high[c], b)
    if better:
        s.c_method[c] = method
        s.c_due[c] = due
        s.c_ended[c] = ended
        s.c_default[c] = default
    elif same:
        s.c_method[c] = min(s.c_method[c], method)
        if due > s.c_due[c] or (due == s.c_due[c] and ended > s.c_ended[c]):
            s.c_due[c] = due
            s.c_ended[c] = ended
        s.c_default[c] = max(s.c_default[c], default)


def give(p: Any, s: Any, m: int, t: int, text: int, end: int, given: bool) -> None:
    """Something was charted at `t`, and perhaps `given`: tell the findings that remember it."""
    for j in range(p.m_event_from[m], p.m_event_from[m + 1]):
        n = p.m_event[j]
        if not given and not p.n_new[n]:
            continue
        if p.n_text[n] != 0 and p.n_text[n] & (1 << text) == 0:
            continue
        soil(s, n)
        if p.n_span[n] == NONE:
            hold_until(s, n, t, text, end, p.n_bridge[n])
            continue
        if text == ABSENT:
            continue
        s.pulse[n] = t
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
    if s.a_time[a] != t:
        s.a_before[a] = max(s.a_before[a], s.a_now[a])
        s.a_now[a] = NONE
        s.a_time[a] = t
    if crs:
        s.a_before[a] = NONE
    else:
        s.a_now[a] = max(s.a_now[a], end if end < INF else t + 24 * HOUR)
    until = max(s.a_before[a], s.a_now[a])
    if t < until < s.g[NEXT]:
        s.g[NEXT] = until
    for i in range(p.category_leaf_from[a], p.category_leaf_from[a + 1]):
        soil(s, p.category_leaf[i])


def dose(p: Any, s: Any, m: int, t: int) -> None:
    """A therapy was given: the first dose starts the record, every dose opens its risk window."""
    if s.g[FIRST_DOSE] == NONE:
        s.g[FIRST_DOSE] = t
        s.g[DOSE_NOW] = 1
    window = p.m_window[m]
    s.g[WINDOW] = INF if window == INF else max(s.g[WINDOW], t + window)
    for i in range(len(p.dose_leaf)):
        soil(s, p.dose_leaf[i])


def median_baselines(p: Any, s: Any, t: int, rows: Any, first: int, now: int) -> None:
    """Fix baselines that are a median over the window before the first dose at `t`.

    `rows` are the patient's rows in order of time, `first` its first, `now` the first at `t`.
    """
    for c in range(len(p.c_measure)):
        if not p.c_base_median[c] or p.c_base_window[c] == 0:
            continue
        values = np.empty(now - first, np.float64)
        count = 0
        last = NONE
        for i in range(now - 1, first - 1, -1):
            at = rows.time[i]
            if at < t - p.c_base_window[c]:
                break
            if rows.kind[i] != READING or rows.measure[i] != p.c_measure[c]:
                continue
            if p.c_method[c] >= 0 and p.c_method[c] != rows.method[i]:
                continue
            x = scaled(p, c, rows.low[i], math.nan, math.nan, math.nan, False)
            if rows.low[i] != rows.high[i]:
                continue
            if at == last:
                worst = max(x, values[count - 1]) if p.c_worse[c] > 0 else min(x, values[count - 1])
                values[count - 1] = worst
            else:
                values[count] = x
                count += 1
                last = at
        if count > 0:
            s.c_base[c] = np.median(values[:count])


def last_baselines(p: Any, s: Any, t: int) -> None:
    """Fix the other baselines: the last reading within the window before the first dose at `t`."""
    for c in range(len(p.c_measure)):
        if p.c_base_median[c] or p.c_base_window[c] == 0:
            continue
        at = s.p_time[c] if s.c_time[c] == t else s.c_time[c]
        low = s.p_low[c] if s.c_time[c] == t else s.c_low[c]
        high = s.p_high[c] if s.c_time[c] == t else s.c_high[c]
        if at != NONE and at >= t - p.c_base_window[c] and low == high:
            s.c_base[c] = low


def take(p: Any, s: Any, rows: Any, i: int) -> bool:
    """Take row `i`; true if it is a death."""
    m = rows.measure[i]
    if m < 0:
        return False
    t = rows.time[i]
    kind = rows.kind[i]
    if kind == DEATH:
        return True
    if kind == ATTRIBUTION:
        attribute(p, s, rows.text[i] // 2, t, rows.text[i] % 2, rows.end[i])
        return False
    if p.m_window[m] != NONE:
        dose(p, s, m, t)
    if kind == READING or (kind == INFUSION and rows.text[i] != PUSH):
        read(
            p, s, m, t, rows.low[i], rows.high[i], rows.method[i], rows.end[i],
            rows.ref_low[i], rows.ref_high[i], rows.weight[i],
        )
    if rows.text[i] != UNUSABLE:
        given = kind == EVENT or (kind == INFUSION and rows.high[i] > 0.0)
        give(p, s, m, t, rows.text[i], rows.end[i], given)
    return False


def settle(p: Any, s: Any, t: int, patient: int, out: Any, emitted: int) -> tuple[Any, int]:
    """All of instant `t` has been taken: bring findings and grades up to date."""
    if s.g[DOSE_NOW]:
        s.g[DOSE_NOW] = 0
        forget(p, s, t)
    update_leaves(p, s, t)
    update_nodes(p, s, t)
    out, emitted = update_grades(p, s, t, patient, out, emitted)
    if s.g[NEXT] <= t:
        s.g[NEXT] = next_due(p, s, t)
    return out, emitted


def grade_patient(
    p: Any, s: Any, rows: Any, first: int, stop: int, patient: int, until: int, extend: bool, out: Any, emitted: int
) -> tuple[Any, int]:
    """Grade the rows [first, stop) of one patient, sorted by time; returns the table and its new length."""
    start = rows.time[first]
    if start >= until:
        return out, emitted
    begin(p, s, start)
    s.g[CUT] = until
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
            median_baselines(p, s, t, rows, first, now)
            last_baselines(p, s, t)
        out, emitted = settle(p, s, t, patient, out, emitted)
    return close(p, s, until if extend else NONE, patient, -1, out, emitted)


def grade_all(
    p: Any, s: Any, rows: Any, starts: Any, until: int, extend: bool, out: Any
) -> tuple[Any, int]:
    """Grade every patient; patient `k` has the rows [starts[k], starts[k + 1])."""
    emitted = 0
    for k in range(len(starts) - 1):
        out, emitted = grade_patient(p, s, rows, starts[k], starts[k + 1], k, until, extend, out, emitted)
    return out, emitted
