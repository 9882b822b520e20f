"""Findings over time: leaves read channels, combinations join them, memory nodes look back.

Values are 2 yes, 1 unknown, 0 no. Runs plain and under numba; docs/grading.md is the meaning.
"""

from __future__ import annotations

import math
from typing import Any

from tocsin.grading.opcodes import (
    ABOVE,
    ADULT,
    ADULT_AGE,
    AGE_LIMIT,
    AT_LEAST,
    AT_MOST,
    BELOW,
    CONFIRM,
    COUNT,
    DEFAULTED,
    DIRTY,
    DROP,
    EVER,
    FIRST,
    FIRST_DOSE,
    FOR,
    GIVEN,
    INF,
    NEXT,
    NO_REF,
    NO_TRIGGER,
    NONE,
    ONE_OF,
    OUTSIDE,
    PERCENT_DROP,
    READ,
    REGISTERS,
    RING,
    RULE,
    STALE,
    SUM,
    TIMES_BASELINE,
    TOUCHED,
    WINDOW,
    WITHIN,
    WORSE,
)


def touch(s: Any, c: int) -> None:
    """Channel `c` must be looked at when this instant is settled."""
    if not s.c_touched[c]:
        s.c_touched[c] = 1
        s.stack[s.g[TOUCHED]] = c
        s.g[TOUCHED] += 1


def soil(s: Any, n: int) -> None:
    """Node `n` must be evaluated when this instant is settled."""
    s.dirty[n] = 1
    s.g[DIRTY] = 1


def forget(p: Any, s: Any, t: int) -> None:
    """The first dose: what was charted before it can no longer prove, and memory begins anew."""
    for c in range(len(p.c_measure)):
        if p.c_category[c] >= 0 and s.c_time[c] != t:
            s.c_before[c] = 1
        touch(s, c)
    for n in range(len(p.n_op)):
        op = p.n_op[n]
        r = n * REGISTERS
        soil(s, n)
        if op == GIVEN and p.n_category[n] >= 0:
            for i in range(1, RING):
                s.ring[n * RING + i] = NONE
            if s.ring[n * RING] != t:
                s.ring[n * RING] = NONE
            s.register[r] = NONE
            if s.register[r + 2] != t:
                s.register[r + 1] = NONE
        elif (op == READ and p.n_category[n] >= 0) or op in (FOR, WITHIN, CONFIRM, EVER):
            for i in range(REGISTERS):
                s.register[r + i] = NONE


def compare(op: int, low: float, high: float, cut: float, mask: int) -> int:
    """Whether every (2), some (1) or no (0) value of [low, high] satisfies the bound.

    >>> compare(AT_LEAST, 38.0, 38.0, 38.0, 0), compare(ABOVE, 6.0, 6.0, 6.0, 0)
    (2, 0)
    """
    slack = 1e-9 * abs(cut)
    if op == AT_LEAST:
        return 2 if low >= cut - slack else (1 if high >= cut - slack else 0)
    if op == ABOVE:
        return 2 if low > cut + slack else (1 if high > cut + slack else 0)
    if op == AT_MOST:
        return 2 if high <= cut + slack else (1 if low <= cut + slack else 0)
    if op == BELOW:
        return 2 if high < cut - slack else (1 if low < cut - slack else 0)
    if low != high:
        return 1
    return 2 if mask & (1 << int(low)) else 0


def age_of(p: Any, s: Any) -> float:
    """The patient's age in years, NaN if unknown."""
    c = p.age_channel[0]
    if c < 0 or not s.c_held[c]:
        return math.nan
    if not math.isinf(s.c_low[c]):
        return float(s.c_low[c])
    return math.nan if math.isinf(s.c_high[c]) else float(s.c_high[c])


def age_limit(p: Any, s: Any, c: int) -> float:
    """The limit below which channel `c` is low at this patient's age, NaN if no band fits."""
    age = age_of(p, s)
    if age != age:
        age = ADULT_AGE
    for i in range(p.c_limit_from[c], p.c_limit_from[c + 1]):
        if p.limit[4 * i] <= age < p.limit[4 * i + 1]:
            return float(p.limit[4 * i + 2] + p.limit[4 * i + 3] * age)
    return math.nan


def plain(p: Any, s: Any, n: int) -> int:
    """A reading finding at this moment, before memory and masks."""
    c = p.n_channel[n]
    if not s.c_held[c] and not p.c_infusion[c]:
        return int(p.n_missing[n])
    low, high, op, cut = s.c_low[c], s.c_high[c], p.n_compare[n], p.n_cut[n]
    reference, base = p.n_reference[n], s.c_base[c]
    if reference == NO_REF:
        code = compare(op, low, high, cut, p.n_mask[n])
        if p.n_new[n] and code == 2 and base == base and compare(op, base, base, cut, p.n_mask[n]) == 2:
            return 0
        return code
    if reference == AGE_LIMIT:
        cut = age_limit(p, s, c)
        if cut != cut:
            return 1
        if base == base and base < cut and p.c_fall_percent[c] >= 0.0:
            cut = max(base * (1.0 - p.c_fall_percent[c] / 100.0), base - p.c_fall[c])
            op = AT_MOST
        return compare(op, low, high, cut, 0)
    if base != base:
        return int(p.n_missing[n])
    if reference == WORSE:
        return compare(ABOVE if p.c_worse[c] > 0 else BELOW, low, high, base, 0)
    if reference == DROP:
        return compare(op, base - high, base - low, cut, 0)
    if base <= 0.0:
        return 1
    if reference == TIMES_BASELINE:
        return compare(op, low / base, high / base, cut, 0)
    return compare(op, 100.0 * (base - high) / base, 100.0 * (base - low) / base, cut, 0)


def remember(p: Any, s: Any, n: int, c: int, t: int) -> None:
    """A new reading for a `within_hours` finding.

    Registers: 0 until when older readings serve, 1 the latest yes reading, 2 its method, 3 whether it
    stands alone and a contradiction would take it back.
    """
    r = n * REGISTERS
    code = plain(p, s, n)
    spike = p.c_spike[c]
    if code == 2:
        follows = s.register[r + 1] != NONE and s.register[r + 1] == s.p_time[c] and t - s.p_time[c] <= spike
        if s.register[r + 1] != NONE:
            s.register[r] = max(s.register[r], s.register[r + 1] + p.n_span[n])
        s.register[r + 1] = t
        s.register[r + 2] = s.c_method[c]
        s.register[r + 3] = 0 if follows else 1
    elif code == 0 and spike > 0 and s.register[r + 1] != NONE:
        at = s.register[r + 1]
        if at == s.p_time[c] and t - at <= spike and s.register[r + 2] == s.c_method[c] and s.register[r + 3]:
            s.register[r + 1] = NONE


def leaf(p: Any, s: Any, n: int, t: int) -> int:
    """The value of leaf `n` at `t`, masks included; sets when it lapses."""
    op = p.n_op[n]
    if op == READ:
        code = plain(p, s, n)
        c = p.n_channel[n]
        if code == 2 and s.c_before[c] and p.n_category[n] >= 0:
            code = 1
        if p.n_span[n] != NONE:
            r = n * REGISTERS
            until = s.register[r]
            if s.register[r + 1] != NONE:
                until = max(until, s.register[r + 1] + p.n_span[n])
            code = until_when(s, n, t, until, min(code, 1))
    elif op == SUM:
        code = total(p, s, n)
    elif op == GIVEN:
        if p.n_span[n] == NONE:
            until = max(s.register[n * REGISTERS], s.register[n * REGISTERS + 1])
        else:
            at = s.ring[n * RING + p.n_count[n] - 1]
            until = NONE if at == NONE else at + p.n_span[n]
        code = until_when(s, n, t, until, 0)
    elif op == NO_TRIGGER:
        return 2 if s.g[FIRST_DOSE] == NONE else 0
    elif op == OUTSIDE:
        if s.g[FIRST_DOSE] == NONE:
            return 0
        return 2 - until_when(s, n, t, s.g[WINDOW], 0)
    elif op == STALE:
        c = p.n_channel[n]
        if not s.c_held[c] or s.c_ended[c] or s.c_low[c] <= 0.0:
            return 0
        return 2 - until_when(s, n, t, s.c_time[c] + p.c_stale[c], 0)
    elif op == DEFAULTED:
        c = p.n_channel[n]
        return 2 if s.c_held[c] and s.c_default[c] else 0
    else:
        age = age_of(p, s)
        return 2 if age != age else 0
    category = p.n_category[n]
    if category >= 0 and t < max(s.a_before[category], s.a_now[category]):
        return 0
    return code


def until_when(s: Any, n: int, t: int, until: int, after: int) -> int:
    """Yes before `until`, `after` from then on; wakes the node at `until`."""
    if t >= until:
        return after
    wake(s, n, until)
    return 2


def wake(s: Any, n: int, due: int) -> None:
    """Evaluate node `n` again at `due`."""
    s.n_due[n] = due
    if due < s.g[NEXT]:
        s.g[NEXT] = due


def total(p: Any, s: Any, n: int) -> int:
    """A weighted sum of rates against its bound."""
    low = 0.0
    high = 0.0
    before = False
    for i in range(p.n_kid_from[n], p.n_kid_from[n + 1]):
        c = p.n_kid[i]
        low += p.n_weight[i] * s.c_low[c]
        high += p.n_weight[i] * s.c_high[c]
        if s.c_before[c] and s.c_high[c] > 0.0:
            before = True
    code = compare(p.n_compare[n], low, high, p.n_cut[n], 0)
    return 1 if before and code == 2 and p.n_category[n] >= 0 else code


def update_leaves(p: Any, s: Any, t: int) -> None:
    """Follow every channel touched at `t` down to its leaves."""
    i = 0
    while i < s.g[TOUCHED]:
        c = s.stack[i]
        if s.c_time[c] == t and p.c_void_from[c] < p.c_void_from[c + 1] and s.c_low[c] == s.c_high[c]:
            word = int(s.c_low[c])
            if s.word[c] >= 0 and s.word[c] != word:
                for j in range(p.c_void_from[c], p.c_void_from[c + 1]):
                    other = p.c_void[j]
                    if s.c_held[other] and s.c_time[other] < t:
                        s.c_held[other] = 0
                        s.c_due[other] = INF
                        touch(s, other)
            s.word[c] = word
        if c == p.age_channel[0]:
            for j in range(len(p.age_leaf)):
                soil(s, p.age_leaf[j])
        i += 1
    for i in range(s.g[TOUCHED]):
        c = s.stack[i]
        s.c_touched[c] = 0
        fresh = s.c_time[c] == t
        low = False
        for j in range(p.c_leaf_from[c], p.c_leaf_from[c + 1]):
            n = p.c_leaf[j]
            if fresh and p.n_span[n] != NONE and p.n_op[n] == READ:
                remember(p, s, n, c, t)
            value = leaf(p, s, n, t)
            if value != s.value[n]:
                soil(s, n)
            low = low or value == 2
        if fresh and low:
            for j in range(p.c_confirm_from[c], p.c_confirm_from[c + 1]):
                soil(s, p.c_confirm[j])
    s.g[TOUCHED] = 0


def update_nodes(p: Any, s: Any, t: int) -> None:
    """Evaluate every dirty node once, children before parents."""
    if not s.g[DIRTY]:
        return
    s.g[DIRTY] = 0
    for n in range(len(p.n_op)):
        if not s.dirty[n]:
            continue
        s.dirty[n] = 0
        op = p.n_op[n]
        if op < RULE:
            value = leaf(p, s, n, t)
        elif op < FOR:
            value = combine(p, s, n)
        elif op == EVER:
            value = ever(p, s, n, t)
        elif op == CONFIRM:
            value = confirm(p, s, n, t)
        else:
            value = lasting(p, s, n, t)
        if p.n_possible[n]:
            value = min(value, 1)
        if value == s.value[n]:
            continue
        s.value[n] = value
        for i in range(p.n_parent_from[n], p.n_parent_from[n + 1]):
            s.dirty[p.n_parent[i]] = 1
        for k in range(len(p.s_fatal)):
            if p.n_scales[n] & (1 << k):
                s.k_dirty[k] = 1
            if p.n_named[n] & (1 << k):
                s.k_change[k] = t


def combine(p: Any, s: Any, n: int) -> int:
    """All, any, none, counts and first-known of other findings."""
    first, stop = p.n_kid_from[n], p.n_kid_from[n + 1]
    op = p.n_op[n]
    if op == FIRST:
        for i in range(first, stop):
            if s.value[p.n_kid[i]] != 1:
                return int(s.value[p.n_kid[i]])
        return 1
    if op == COUNT:
        certain = 0
        possible = 0
        for i in range(first, stop):
            value = s.value[p.n_kid[i]]
            certain += value == 2
            possible += value >= 1
        return compare(p.n_compare[n], certain, possible, p.n_cut[n], 0)
    result = 2
    middle = first + p.n_all[n]
    last = middle + p.n_any[n]
    for i in range(first, middle):
        result = min(result, s.value[p.n_kid[i]])
    if last > middle:
        best = 0
        for i in range(middle, last):
            best = max(best, s.value[p.n_kid[i]])
        result = min(result, best)
    for i in range(last, stop):
        result = min(result, 2 - s.value[p.n_kid[i]])
    return int(result)


def lasting(p: Any, s: Any, n: int, t: int) -> int:
    """`for_hours` and `within_hours` on a combination: lower and upper each for itself.

    Registers, twice (lower 0-2, upper 3-5): since when yes (NONE if not now), start of the run, end of the last span.
    """
    inner = s.value[p.n_kid[p.n_kid_from[n]]]
    result = 0
    s.n_due[n] = INF
    for half in range(2):
        r = n * REGISTERS + 3 * half
        now = inner == 2 if half == 0 else inner >= 1
        if now and s.register[r] == NONE:
            s.register[r] = t
            bridged = s.register[r + 2] != NONE and t - s.register[r + 2] <= p.n_bridge[n]
            if not (bridged and s.register[r + 1] != NONE):
                s.register[r + 1] = t
        if not now and s.register[r] != NONE:
            s.register[r] = NONE
            s.register[r + 2] = t
        if p.n_op[n] == FOR:
            due = s.register[r + 1] + p.n_span[n]
            yes = now and t >= due
            if now and not yes and due < s.n_due[n]:
                wake(s, n, due)
            if half == 1 and now and p.n_count[n]:
                yes = True
        else:
            due = s.register[r + 2] + p.n_span[n]
            yes = now or (s.register[r + 2] != NONE and t < due)
            if yes and not now and due < s.n_due[n]:
                wake(s, n, due)
        if yes:
            result = 2 if half == 0 else max(result, 1)
    return result


def confirm(p: Any, s: Any, n: int, t: int) -> int:
    """`confirmed_within_hours`: registers 0 the last low instant, 1 whether confirmed."""
    first = p.n_kid_from[n]
    inner = s.value[p.n_kid[first]]
    r = n * REGISTERS
    if inner != 2:
        s.register[r + 1] = NONE
        return int(inner)
    for i in range(p.n_pulse_from[n], p.n_pulse_from[n + 1]):
        reader = p.n_pulse[i]
        if s.value[reader] == 2 and s.c_time[p.n_channel[reader]] == t:
            last = s.register[r]
            if last != NONE and last < t and t - last <= p.n_span[n]:
                s.register[r + 1] = 1
            s.register[r] = t
            break
    for i in range(first + 1, p.n_kid_from[n + 1]):
        if s.value[p.n_kid[i]] == 2:
            s.register[r + 1] = 1
    return 2 if s.register[r + 1] != NONE else 1


def ever(p: Any, s: Any, n: int, t: int) -> int:
    """`ever ... after`: registers 0 quiet since (NONE if not), 1 and 2 when lower and upper were set."""
    first = p.n_kid_from[n]
    after = s.value[p.n_kid[first]]
    active = s.value[p.n_kid[first + 1]] == 2
    r = n * REGISTERS
    s.n_due[n] = INF
    quiet = s.register[r]
    if quiet != NONE:
        for i in range(1, 3):
            if s.register[r + i] != NONE and t >= clearing(quiet, s.register[r + i], p.n_span[n]):
                s.register[r + i] = NONE
    s.register[r] = NONE if active else (t if quiet == NONE else quiet)
    if s.pulse[n] == t and after >= 1:
        s.register[r + 2] = t
        if after == 2:
            s.register[r + 1] = t
    if s.register[r] != NONE:
        for i in range(1, 3):
            if s.register[r + i] != NONE:
                due = clearing(s.register[r], s.register[r + i], p.n_span[n])
                if due < s.n_due[n]:
                    wake(s, n, due)
    if s.register[r + 1] != NONE:
        return 2
    return 1 if s.register[r + 2] != NONE else 0


def clearing(quiet: int, set_at: int, span: int) -> int:
    """When a setting is forgotten, given since when it has been quiet."""
    return quiet + span if set_at < quiet + span else set_at + span
