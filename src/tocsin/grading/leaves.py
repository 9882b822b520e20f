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
    ATTRIBUTED,
    BELOW,
    CLEAN,
    DEFAULTED,
    DIRTY,
    DROP,
    ENDLESS,
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
    SLACK,
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
    """Node `n` must be evaluated when this instant is settled: into the worklist, children before parents."""
    if s.node[n].dirty:
        return
    s.node[n].dirty = 1
    work, i = s.work, s.g[DIRTY]
    while i > s.g[CLEAN] and work[i - 1] > n:
        work[i] = work[i - 1]
        i -= 1
    work[i] = n
    s.g[DIRTY] += 1


def wake(s: Any, n: int, due: int) -> None:
    """Evaluate node `n` again at `due`."""
    s.node[n].due = due
    if due < s.g[NEXT]:
        s.g[NEXT] = due


def expect(s: Any, c: int) -> None:
    """What channel `c` holds ends when it is due."""
    if s.channel[c].due < s.g[NEXT]:
        s.g[NEXT] = s.channel[c].due


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
    slack = SLACK * cut if cut >= 0.0 else -SLACK * cut
    if slack == ENDLESS:
        slack = 0.0
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


def set_limits(p: Any, s: Any) -> None:
    """Keep the limit for this patient's age beside every channel that has one."""
    for c in range(len(p.channel)):
        if p.channel[c].limits_from < p.channel[c].limits_to:
            s.channel[c].limit = age_limit(p, s, c)


def fallen(channel: Any, usual: float) -> float:
    """The limit of a patient whose `usual` value is itself below the limit for age."""
    return float(max(usual * (1.0 - channel.fall_percent / 100.0), usual - channel.fall))


def plain(p: Any, s: Any, n: int) -> int:
    """A reading finding at this moment, before memory and masks."""
    nodes, channels, charted = p.node, p.channel, s.channel
    c = nodes[n].channel
    if not charted[c].held and not channels[c].infusion:
        return int(nodes[n].missing)
    low, high, op, cut = charted[c].low, charted[c].high, nodes[n].compare, nodes[n].cut
    reference, mask = nodes[n].reference, nodes[n].mask
    base_low, base_high = charted[c].base_low, charted[c].base_high
    based = base_low == base_low
    if reference == NO_REF:
        code = compare(op, low, high, cut, mask)
        if nodes[n].new and code == 2 and based and compare(op, base_low, base_high, cut, mask) == 2:
            return 0
        return code
    if reference == AGE_LIMIT:
        cut = age_limit(p, s, c)
        if cut != cut:
            return 1
        if based and base_high < cut and channels[c].fall_percent >= 0.0:
            sure = compare(AT_MOST, low, high, fallen(channels[c], base_low), 0)
            likely = compare(AT_MOST, low, high, fallen(channels[c], base_high), 0)
            return 2 if sure == 2 else (1 if likely > 0 else 0)
        return compare(op, low, high, cut, 0)
    if not based:
        return int(nodes[n].missing)
    if reference == WORSE:
        if channels[c].worse > 0:
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


def remember(p: Any, s: Any, n: int, c: int, t: int, code: int) -> None:
    """A new reading for a `within_hours` finding, which of itself says `code`.

    Registers: 0 until when older readings serve, 1 the latest yes reading, 2 its method, 3 whether it
    stands alone and a contradiction would take it back.
    """
    charted, register, spike = s.channel[c], s.register, p.channel[c].spike
    r = n * REGISTERS
    at = register[r + 1]
    if code == 2:
        register[r + 1] = t
        register[r + 2] = charted.method
        register[r + 3] = 1
        if at != NONE:
            register[r] = max(register[r], at + p.node[n].span)
            if at == charted.last_time and t - at <= spike:
                register[r + 3] = 0
    elif code == 0 and spike > 0 and at != NONE:
        alone = register[r + 3] and register[r + 2] == charted.method
        if alone and at == charted.last_time and t - at <= spike:
            register[r + 1] = NONE


def recalled(p: Any, s: Any, n: int, c: int, t: int, code: int) -> int:
    """What reading finding `n` on channel `c` says, whose reading of itself says `code`: with its memory
    and its mask."""
    node = p.node[n]
    if code == 2 and node.category >= 0 and s.channel[c].before and s.channel[c].held:
        code = 1
    if node.span != NONE:
        r = n * REGISTERS
        until, at = s.register[r], s.register[r + 1]
        if at != NONE and at + node.span > until:
            until = at + node.span
        code = until_when(s, n, t, until, min(code, 1))
    if node.category >= 0 and s.g[ATTRIBUTED] and t < masked_until(s, node.category):
        return 0
    return code


def leaf(p: Any, s: Any, n: int, t: int) -> int:
    """The value of leaf `n` at `t`, masks included; sets when it lapses."""
    nodes, channels, charted, register, ring, g = p.node, p.channel, s.channel, s.register, s.ring, s.g
    op = nodes[n].op
    if op == READ:
        return recalled(p, s, n, nodes[n].channel, t, plain(p, s, n))
    if op == SUM:
        code = total(p, s, n)
    elif op == GIVEN:
        if nodes[n].span == NONE:
            until = max(register[n * REGISTERS], register[n * REGISTERS + 1])
        else:
            at = ring[n * RING + nodes[n].count - 1]
            until = NONE if at == NONE else at + nodes[n].span
        code = until_when(s, n, t, until, 0)
    elif op == NO_TRIGGER:
        return 2 if g[FIRST_DOSE] == NONE else 0
    elif op == OUTSIDE:
        if g[FIRST_DOSE] == NONE:
            return 0
        return 2 - until_when(s, n, t, g[WINDOW], 0)
    elif op == STALE:
        c = nodes[n].channel
        if not charted[c].held or charted[c].ended or charted[c].low <= 0.0:
            return 0
        return 2 - until_when(s, n, t, charted[c].time + channels[c].stale, 0)
    elif op == DEFAULTED:
        c = nodes[n].channel
        return 2 if charted[c].held and charted[c].default else 0
    else:
        age = age_of(p, s)
        return 2 if age != age else 0
    category = nodes[n].category
    if category >= 0 and g[ATTRIBUTED] and t < masked_until(s, category):
        return 0
    return code


def total(p: Any, s: Any, n: int) -> int:
    """A weighted sum of rates against its bound."""
    nodes, index, charted = p.node, p.index, s.channel
    low = 0.0
    high = 0.0
    for i in range(nodes[n].kids_from, nodes[n].kids_to):
        c = index[i]
        if not charted[c].before:  # a rate from before the first dose may be anything up to itself
            low += p.weight[i] * charted[c].low
        high += p.weight[i] * charted[c].high
    return compare(nodes[n].compare, low, high, nodes[n].cut, 0)


def follow(p: Any, s: Any, t: int) -> None:
    """What the channels touched at `t` mean for other channels: void flows, and limits for age."""
    index, channels, charted, g, stack = p.index, p.channel, s.channel, s.g, s.stack
    i = 0
    while i < g[TOUCHED]:
        c = stack[i]
        if (
            charted[c].time == t
            and channels[c].voids_from < channels[c].voids_to
            and charted[c].low == charted[c].high
        ):
            word = int(charted[c].low)
            if charted[c].word >= 0 and charted[c].word != word:
                for j in range(channels[c].voids_from, channels[c].voids_to):
                    other = index[j]
                    if charted[other].held and charted[other].time < t:
                        charted[other].held = 0
                        charted[other].due = INF
                        touch(s, other)
            charted[c].word = word
        if c == p.watch[0].age_channel:
            set_limits(p, s)
            for j in range(p.watch[0].age_leaves_from, p.watch[0].age_leaves_to):
                soil(s, index[j])
        i += 1


def update_leaves(p: Any, s: Any, t: int) -> None:
    """Follow every channel touched at `t` down to its leaves."""
    nodes, state, index, channels, charted, g, stack = (
        p.node,
        s.node,
        p.index,
        p.channel,
        s.channel,
        s.g,
        s.stack,
    )
    follow(p, s, t)
    for i in range(g[TOUCHED]):
        c = stack[i]
        charted[c].touched = 0
        fresh = charted[c].time == t
        if fresh and charted[c].due < INF:  # what stands for ever does not lengthen the record
            charted[c].seen = t
        low = False
        # a standing reading, no mask, no first dose in between: most leaves are one comparison
        quick = charted[c].held and not charted[c].before and not g[ATTRIBUTED]
        for j in range(channels[c].leaves_from, channels[c].leaves_to):
            n = index[j]
            node = nodes[n]
            if quick and node.quick == 1:
                value = compare(node.compare, charted[c].low, charted[c].high, node.cut, node.mask)
            elif quick and node.quick == 2 and charted[c].base_low != charted[c].base_low:
                limit = charted[c].limit
                value = (
                    1 if limit != limit else compare(node.compare, charted[c].low, charted[c].high, limit, 0)
                )
            elif node.op == READ:
                code = plain(p, s, n)
                if fresh and node.span != NONE:
                    remember(p, s, n, c, t, code)
                value = recalled(p, s, n, c, t, code)
            else:
                value = leaf(p, s, n, t)
            if value != state[n].value:
                soil(s, n)
            low = low or value == 2
        if fresh and low:
            for j in range(channels[c].confirms_from, channels[c].confirms_to):
                soil(s, index[j])
    g[TOUCHED] = 0
