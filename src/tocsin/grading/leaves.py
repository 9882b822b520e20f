"""Leaves: what one stream of readings, or one kind of event, says at this moment.

Values are 2 yes, 1 unknown, 0 no. Runs plain and under numba; docs/grading.md is the meaning.
"""

from __future__ import annotations

import math
from typing import Any

from tocsin.grading.opcodes import (
    ABOVE,
    ADULT_AGE,
    AGE_LIMIT,
    AT_LEAST,
    AT_MOST,
    BELOW,
    DEFAULTED,
    DIRTY,
    DROP,
    FIRST_DOSE,
    GIVEN,
    INF,
    NEXT,
    NO_REF,
    NO_TRIGGER,
    NONE,
    OUTSIDE,
    READ,
    REGISTERS,
    RING,
    STALE,
    SUM,
    TIMES_BASELINE,
    TOUCHED,
    WINDOW,
    WORSE,
)


def touch(s: Any, c: int) -> None:
    """Channel `c` must be looked at when this instant is settled."""
    if not s.channel[c].touched:
        s.channel[c].touched = 1
        s.stack[s.g[TOUCHED]] = c
        s.g[TOUCHED] += 1


def soil(s: Any, n: int) -> None:
    """Node `n` must be evaluated when this instant is settled."""
    s.node[n].dirty = 1
    s.g[DIRTY] = 1


def wake(s: Any, n: int, due: int) -> None:
    """Evaluate node `n` again at `due`."""
    s.node[n].due = due
    if due < s.g[NEXT]:
        s.g[NEXT] = due


def masked_until(s: Any, a: int) -> int:
    """Until when category `a` is said to have another cause; `=crs` alone at its instant ends that."""
    if s.category[a].crs and s.category[a].now == NONE:
        return NONE
    return int(max(s.category[a].before, s.category[a].now))


def until_when(s: Any, n: int, t: int, until: int, after: int) -> int:
    """Yes before `until`, `after` from then on; wakes the node at `until`."""
    if t >= until:
        return after
    wake(s, n, until)
    return 2


def compare(op: int, low: float, high: float, cut: float, mask: int) -> int:
    """Whether every (2), some (1) or no (0) value of [low, high] satisfies the bound.

    >>> compare(AT_LEAST, 38.0, 38.0, 38.0, 0), compare(ABOVE, 6.0, 6.0, 6.0, 0)
    (2, 0)
    """
    slack = 0.0 if math.isinf(cut) else 1e-9 * abs(cut)
    if op == AT_LEAST:
        return 2 if low >= cut - slack else (1 if high >= cut - slack else 0)
    if op == ABOVE:
        return 2 if low > cut + slack else (1 if high > cut + slack else 0)
    if op == AT_MOST:
        return 2 if high <= cut + slack else (1 if low <= cut + slack else 0)
    if op == BELOW:
        return 2 if high < cut - slack else (1 if low < cut - slack else 0)
    if math.isinf(low) or math.isinf(high):
        return 1
    possible = ((1 << (int(high) - int(low) + 1)) - 1) << int(low)
    return 2 if mask & possible == possible else (1 if mask & possible else 0)


def age_of(p: Any, s: Any) -> float:
    """The patient's age in years, NaN if unknown."""
    c = p.watch[0].age_channel
    if c < 0 or not s.channel[c].held:
        return math.nan
    if not math.isinf(s.channel[c].low):
        return float(s.channel[c].low)
    return math.nan if math.isinf(s.channel[c].high) else float(s.channel[c].high)


def age_limit(p: Any, s: Any, c: int) -> float:
    """The limit below which channel `c` is low at this patient's age, NaN if no band fits."""
    age = age_of(p, s)
    if age != age:
        age = ADULT_AGE
    for i in range(p.channel[c].limits_from, p.channel[c].limits_to):
        if p.limit[4 * i] <= age < p.limit[4 * i + 1]:
            return float(p.limit[4 * i + 2] + p.limit[4 * i + 3] * age)
    return math.nan


def plain(p: Any, s: Any, n: int) -> int:
    """A reading finding at this moment, before memory and masks."""
    c = p.node[n].channel
    if not s.channel[c].held and not p.channel[c].infusion:
        return int(p.node[n].missing)
    low, high, op, cut = s.channel[c].low, s.channel[c].high, p.node[n].compare, p.node[n].cut
    reference, mask = p.node[n].reference, p.node[n].mask
    base_low, base_high = s.channel[c].base_low, s.channel[c].base_high
    based = base_low == base_low
    if reference == NO_REF:
        code = compare(op, low, high, cut, mask)
        if p.node[n].new and code == 2 and based and compare(op, base_low, base_high, cut, mask) == 2:
            return 0
        return code
    if reference == AGE_LIMIT:
        cut = age_limit(p, s, c)
        if cut != cut:
            return 1
        if based and base_low < cut and p.channel[c].fall_percent >= 0.0:
            cut = max(base_low * (1.0 - p.channel[c].fall_percent / 100.0), base_low - p.channel[c].fall)
            op = AT_MOST
        return compare(op, low, high, cut, 0)
    if not based:
        return int(p.node[n].missing)
    if reference == WORSE:
        if p.channel[c].worse > 0:
            certain, possible = (
                compare(ABOVE, low, high, base_high, 0),
                compare(ABOVE, low, high, base_low, 0),
            )
        else:
            certain, possible = (
                compare(BELOW, low, high, base_low, 0),
                compare(BELOW, low, high, base_high, 0),
            )
        return 2 if certain == 2 else (1 if possible > 0 else 0)
    if reference == DROP:
        return compare(op, base_low - high, base_high - low, cut, 0)
    if base_low <= 0.0:
        return 1
    if reference == TIMES_BASELINE:
        return compare(op, low / base_high, high / base_low, cut, 0)
    return compare(op, 100.0 * (1.0 - high / base_low), 100.0 * (1.0 - low / base_high), cut, 0)


def remember(p: Any, s: Any, n: int, c: int, t: int) -> None:
    """A new reading for a `within_hours` finding.

    Registers: 0 until when older readings serve, 1 the latest yes reading, 2 its method, 3 whether it
    stands alone and a contradiction would take it back.
    """
    r = n * REGISTERS
    code = plain(p, s, n)
    spike = p.channel[c].spike
    if code == 2:
        follows = (
            s.register[r + 1] != NONE
            and s.register[r + 1] == s.channel[c].last_time
            and t - s.channel[c].last_time <= spike
        )
        if s.register[r + 1] != NONE:
            s.register[r] = max(s.register[r], s.register[r + 1] + p.node[n].span)
        s.register[r + 1] = t
        s.register[r + 2] = s.channel[c].method
        s.register[r + 3] = 0 if follows else 1
    elif code == 0 and spike > 0 and s.register[r + 1] != NONE:
        at = s.register[r + 1]
        if (
            at == s.channel[c].last_time
            and t - at <= spike
            and s.register[r + 2] == s.channel[c].method
            and s.register[r + 3]
        ):
            s.register[r + 1] = NONE


def leaf(p: Any, s: Any, n: int, t: int) -> int:
    """The value of leaf `n` at `t`, masks included; sets when it lapses."""
    op = p.node[n].op
    if op == READ:
        code = plain(p, s, n)
        c = p.node[n].channel
        if code == 2 and s.channel[c].before and s.channel[c].held and p.node[n].category >= 0:
            code = 1
        if p.node[n].span != NONE:
            r = n * REGISTERS
            until = s.register[r]
            if s.register[r + 1] != NONE:
                until = max(until, s.register[r + 1] + p.node[n].span)
            code = until_when(s, n, t, until, min(code, 1))
    elif op == SUM:
        code = total(p, s, n)
    elif op == GIVEN:
        if p.node[n].span == NONE:
            until = max(s.register[n * REGISTERS], s.register[n * REGISTERS + 1])
        else:
            at = s.ring[n * RING + p.node[n].count - 1]
            until = NONE if at == NONE else at + p.node[n].span
        code = until_when(s, n, t, until, 0)
    elif op == NO_TRIGGER:
        return 2 if s.g[FIRST_DOSE] == NONE else 0
    elif op == OUTSIDE:
        if s.g[FIRST_DOSE] == NONE:
            return 0
        return 2 - until_when(s, n, t, s.g[WINDOW], 0)
    elif op == STALE:
        c = p.node[n].channel
        if not s.channel[c].held or s.channel[c].ended or s.channel[c].low <= 0.0:
            return 0
        return 2 - until_when(s, n, t, s.channel[c].time + p.channel[c].stale, 0)
    elif op == DEFAULTED:
        c = p.node[n].channel
        return 2 if s.channel[c].held and s.channel[c].default else 0
    else:
        age = age_of(p, s)
        return 2 if age != age else 0
    category = p.node[n].category
    if category >= 0 and t < masked_until(s, category):
        return 0
    return code


def total(p: Any, s: Any, n: int) -> int:
    """A weighted sum of rates against its bound."""
    low = 0.0
    high = 0.0
    for i in range(p.node[n].kids_from, p.node[n].kids_to):
        c = p.index[i]
        if not s.channel[c].before:  # a rate from before the first dose may be anything up to itself
            low += p.weight[i] * s.channel[c].low
        high += p.weight[i] * s.channel[c].high
    return compare(p.node[n].compare, low, high, p.node[n].cut, 0)


def update_leaves(p: Any, s: Any, t: int) -> None:
    """Follow every channel touched at `t` down to its leaves."""
    i = 0
    while i < s.g[TOUCHED]:
        c = s.stack[i]
        if (
            s.channel[c].time == t
            and p.channel[c].voids_from < p.channel[c].voids_to
            and s.channel[c].low == s.channel[c].high
        ):
            word = int(s.channel[c].low)
            if s.channel[c].word >= 0 and s.channel[c].word != word:
                for j in range(p.channel[c].voids_from, p.channel[c].voids_to):
                    other = p.index[j]
                    if s.channel[other].held and s.channel[other].time < t:
                        s.channel[other].held = 0
                        s.channel[other].due = INF
                        touch(s, other)
            s.channel[c].word = word
        if c == p.watch[0].age_channel:
            for j in range(p.watch[0].age_leaves_from, p.watch[0].age_leaves_to):
                soil(s, p.index[j])
        i += 1
    for i in range(s.g[TOUCHED]):
        c = s.stack[i]
        s.channel[c].touched = 0
        fresh = s.channel[c].time == t
        low = False
        for j in range(p.channel[c].leaves_from, p.channel[c].leaves_to):
            n = p.index[j]
            if fresh and p.node[n].span != NONE and p.node[n].op == READ:
                remember(p, s, n, c, t)
            value = leaf(p, s, n, t)
            if value != s.node[n].value:
                soil(s, n)
            low = low or value == 2
        if fresh and low:
            for j in range(p.channel[c].confirms_from, p.channel[c].confirms_to):
                soil(s, p.index[j])
    s.g[TOUCHED] = 0
