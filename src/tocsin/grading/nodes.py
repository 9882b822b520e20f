"""Combinations of findings, and the memory words: what nodes above the leaves say at this moment.

Values are 2 yes, 1 unknown, 0 no. Runs plain and under numba; docs/grading.md is the meaning.
"""

from __future__ import annotations

from typing import Any

from tocsin.grading.leaves import compare, leaf, soil, touch, wake
from tocsin.grading.opcodes import (
    CONFIRM,
    COUNT,
    DIRTY,
    EVER,
    FIRST,
    FOR,
    GIVEN,
    INF,
    NONE,
    READ,
    REGISTERS,
    RING,
    RULE,
    WITHIN,
)


def forget(p: Any, s: Any, t: int) -> None:
    """The first dose: what was charted before it can no longer prove, and memory begins anew."""
    for c in range(len(p.channel)):
        if p.channel[c].category >= 0 and s.channel[c].time != t and s.channel[c].held:
            s.channel[c].before = 1
        touch(s, c)
    for n in range(len(p.node)):
        op = p.node[n].op
        r = n * REGISTERS
        soil(s, n)
        if op == GIVEN and p.node[n].category >= 0:
            for i in range(1, RING):
                s.ring[n * RING + i] = NONE
            if s.ring[n * RING] != t:
                s.ring[n * RING] = NONE
            s.register[r] = NONE
            if s.register[r + 2] != t:
                s.register[r + 1] = NONE
        elif (op == READ and p.node[n].category >= 0) or op in (FOR, WITHIN, CONFIRM, EVER):
            for i in range(REGISTERS):
                s.register[r + i] = NONE


def update_nodes(p: Any, s: Any, t: int) -> None:
    """Evaluate every dirty node once, children before parents."""
    if not s.g[DIRTY]:
        return
    s.g[DIRTY] = 0
    for n in range(len(p.node)):
        if not s.node[n].dirty:
            continue
        s.node[n].dirty = 0
        op = p.node[n].op
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
        if value == s.node[n].value:
            continue
        s.node[n].value = value
        for i in range(p.node[n].parents_from, p.node[n].parents_to):
            s.node[p.index[i]].dirty = 1
        for k in range(len(p.scale)):
            if p.node[n].scales & (1 << k):
                s.scale[k].dirty = 1
            if p.node[n].named & (1 << k):
                s.scale[k].change = t


def combine(p: Any, s: Any, n: int) -> int:
    """All, any, none, counts and first-known of other findings."""
    first, stop = p.node[n].kids_from, p.node[n].kids_to
    op = p.node[n].op
    if op == FIRST:
        for i in range(first, stop):
            if s.node[p.index[i]].value != 1:
                return int(s.node[p.index[i]].value)
        return 1
    if op == COUNT:
        certain = 0
        possible = 0
        for i in range(first, stop):
            value = s.node[p.index[i]].value
            certain += value == 2
            possible += value >= 1
        return compare(p.node[n].compare, certain, possible, p.node[n].cut, 0)
    result = 2
    middle = first + p.node[n].all
    last = middle + p.node[n].any
    for i in range(first, middle):
        result = min(result, s.node[p.index[i]].value)
    if last > middle:
        best = 0
        for i in range(middle, last):
            best = max(best, s.node[p.index[i]].value)
        result = min(result, best)
    for i in range(last, stop):
        result = min(result, 2 - s.node[p.index[i]].value)
    return int(result)


def lasting(p: Any, s: Any, n: int, t: int) -> int:
    """`for_hours` and `within_hours` on a combination: lower and upper each for itself.

    Registers, twice (lower 0-2, upper 3-5): since when yes (NONE if not now), start of the run, end of
    the last span.
    """
    inner = s.node[p.index[p.node[n].kids_from]].value
    result = 0
    s.node[n].due = INF
    for half in range(2):
        r = n * REGISTERS + 3 * half
        now = inner == 2 if half == 0 else inner >= 1
        if now and s.register[r] == NONE:
            s.register[r] = t
            bridged = s.register[r + 2] != NONE and t - s.register[r + 2] <= p.node[n].bridge
            if not (bridged and s.register[r + 1] != NONE):
                s.register[r + 1] = t
        if not now and s.register[r] != NONE:
            s.register[r] = NONE
            s.register[r + 2] = t
        if p.node[n].op == FOR:
            due = s.register[r + 1] + p.node[n].span
            yes = now and t >= due
            if now and not yes and due < s.node[n].due:
                wake(s, n, due)
            if half == 1 and now and p.node[n].count:
                yes = True
        else:
            due = s.register[r + 2] + p.node[n].span
            yes = now or (s.register[r + 2] != NONE and t < due)
            if yes and not now and due < s.node[n].due:
                wake(s, n, due)
        if yes:
            result = 2 if half == 0 else max(result, 1)
    return result


def confirm(p: Any, s: Any, n: int, t: int) -> int:
    """`confirmed_within_hours`: registers 0 the last low instant, 1 whether confirmed."""
    first = p.node[n].kids_from
    inner = s.node[p.index[first]].value
    r = n * REGISTERS
    if inner != 2:
        s.register[r + 1] = NONE
        return int(inner)
    for i in range(p.node[n].pulses_from, p.node[n].pulses_to):
        reader = p.index[i]
        if s.node[reader].value == 2 and s.channel[p.node[reader].channel].time == t:
            last = s.register[r]
            if last != NONE and last < t and t - last <= p.node[n].span:
                s.register[r + 1] = 1
            s.register[r] = t
            break
    for i in range(first + 1, p.node[n].kids_to):
        if s.node[p.index[i]].value == 2:
            s.register[r + 1] = 1
    return 2 if s.register[r + 1] != NONE else 1


def ever(p: Any, s: Any, n: int, t: int) -> int:
    """`ever ... after`: registers 0 quiet since (NONE if not), 1 and 2 when lower and upper were set."""
    first = p.node[n].kids_from
    after = s.node[p.index[first]].value
    active = s.node[p.index[first + 1]].value == 2
    r = n * REGISTERS
    s.node[n].due = INF
    quiet = s.register[r]
    if quiet != NONE:
        for i in range(1, 3):
            if s.register[r + i] != NONE and t >= clearing(quiet, s.register[r + i], p.node[n].span):
                s.register[r + i] = NONE
    s.register[r] = NONE if active else (t if quiet == NONE else quiet)
    if s.node[n].pulse == t and after >= 1:
        s.register[r + 2] = t
        if after == 2:
            s.register[r + 1] = t
    if s.register[r] != NONE:
        for i in range(1, 3):
            if s.register[r + i] != NONE:
                due = clearing(s.register[r], s.register[r + i], p.node[n].span)
                if due < s.node[n].due:
                    wake(s, n, due)
    if s.register[r + 1] != NONE:
        return 2
    return 1 if s.register[r + 2] != NONE else 0


def clearing(quiet: int, set_at: int, span: int) -> int:
    """When a setting is forgotten, given since when it has been quiet."""
    return quiet + span if set_at < quiet + span else set_at + span
