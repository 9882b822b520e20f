"""Combinations of findings, and the memory words: what nodes above the leaves say at this moment.

Values are 2 yes, 1 unknown, 0 no. Runs plain and under numba; docs/grading.md is the meaning.
"""

from __future__ import annotations

from typing import Any

from tocsin.grading.leaves import compare, leaf, soil, touch, wake
from tocsin.grading.opcodes import (
    CLEAN,
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
    nodes, state, index, answers, g = p.node, s.node, p.index, s.scale, s.g
    work = s.work
    while g[CLEAN] < g[DIRTY]:
        n = work[g[CLEAN]]
        g[CLEAN] += 1
        state[n].dirty = 0
        op = nodes[n].op
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
        if value == state[n].value:
            continue
        state[n].value = value
        for i in range(nodes[n].parents_from, nodes[n].parents_to):
            soil(s, index[i])
        for k in range(len(p.scale)):
            if nodes[n].scales & (1 << k):
                answers[k].dirty = 1
            if nodes[n].named & (1 << k):
                answers[k].change = t
    g[CLEAN] = 0
    g[DIRTY] = 0


def combine(p: Any, s: Any, n: int) -> int:
    """All, any, none, counts and first-known of other findings."""
    nodes, state, index = p.node, s.node, p.index
    first, stop = nodes[n].kids_from, nodes[n].kids_to
    op = nodes[n].op
    if op == FIRST:
        for i in range(first, stop):
            if state[index[i]].value != 1:
                return int(state[index[i]].value)
        return 1
    if op == COUNT:
        certain = 0
        possible = 0
        for i in range(first, stop):
            value = state[index[i]].value
            certain += value == 2
            possible += value >= 1
        return compare(nodes[n].compare, certain, possible, nodes[n].cut, 0)
    # comparisons and early ends instead of min and max: this is where plain Python spends its time
    result = 2
    middle = first + nodes[n].all
    last = middle + nodes[n].any
    for i in range(first, middle):
        value = state[index[i]].value
        if value < result:
            if value == 0:
                return 0
            result = value
    if last > middle:
        best = 0
        for i in range(middle, last):
            value = state[index[i]].value
            if value > best:
                best = value
                if best == 2:
                    break
        if best == 0:
            return 0
        if best < result:
            result = best
    for i in range(last, stop):
        value = 2 - state[index[i]].value
        if value < result:
            if value == 0:
                return 0
            result = value
    return int(result)


def lasting(p: Any, s: Any, n: int, t: int) -> int:
    """`for_hours` and `within_hours` on a combination: lower and upper each for itself.

    Registers, twice (lower 0-2, upper 3-5): since when yes (NONE if not now), start of the run, end of
    the last span.
    """
    node, own, register = p.node[n], s.node[n], s.register
    inner = s.node[p.index[node.kids_from]].value
    result = 0
    own.due = INF
    for half in range(2):
        r = n * REGISTERS + 3 * half
        stopped = register[r + 2]
        if inner + half >= 2:
            if register[r] == NONE:
                register[r] = t
                if stopped == NONE or t - stopped > node.bridge or register[r + 1] == NONE:
                    register[r + 1] = t
            if node.op == FOR:
                due = register[r + 1] + node.span
                if t < due:
                    if due < own.due:
                        wake(s, n, due)
                    if half == 0 or node.count == 0:
                        continue
        else:
            if register[r] != NONE:
                register[r] = NONE
                register[r + 2] = t
                stopped = t
            if node.op == FOR or stopped == NONE or t >= stopped + node.span:
                continue
            if stopped + node.span < own.due:
                wake(s, n, stopped + node.span)
        if result == 0:
            result = 2 - half
    return result


def confirm(p: Any, s: Any, n: int, t: int) -> int:
    """`confirmed_within_hours`: registers 0 the last low instant, 1 whether confirmed."""
    node, state, index, register = p.node[n], s.node, p.index, s.register
    first = node.kids_from
    inner = state[index[first]].value
    r = n * REGISTERS
    if inner != 2:
        register[r + 1] = NONE
        return int(inner)
    for i in range(node.pulses_from, node.pulses_to):
        reader = index[i]
        if state[reader].value == 2 and s.channel[p.node[reader].channel].time == t:
            last = register[r]
            if last != NONE and last < t and t - last <= node.span:
                register[r + 1] = 1
            register[r] = t
            break
    if register[r + 1] != NONE:
        return 2
    for i in range(first + 1, node.kids_to):
        if state[index[i]].value == 2:
            register[r + 1] = 1
            return 2
    return 1


def ever(p: Any, s: Any, n: int, t: int) -> int:
    """`ever ... after`: registers 0 quiet since (NONE if not), 1 and 2 when lower and upper were set."""
    node, own, register = p.node[n], s.node[n], s.register
    after = s.node[p.index[node.kids_from]].value
    active = s.node[p.index[node.kids_from + 1]].value == 2
    r = n * REGISTERS
    own.due = INF
    quiet = register[r]
    now = NONE if active else (t if quiet == NONE else quiet)
    register[r] = now
    if register[r + 2] == NONE and (own.pulse != t or after == 0):
        return 0  # nothing is set: the upper is whenever the lower is
    if quiet != NONE:
        for i in range(1, 3):
            if register[r + i] != NONE and t >= clearing(quiet, register[r + i], node.span):
                register[r + i] = NONE
    if own.pulse == t and after >= 1:
        register[r + 2] = t
        if after == 2:
            register[r + 1] = t
    if now != NONE:
        for i in range(1, 3):
            if register[r + i] != NONE:
                due = clearing(now, register[r + i], node.span)
                if due < own.due:
                    wake(s, n, due)
    if register[r + 1] != NONE:
        return 2
    return 1 if register[r + 2] != NONE else 0


def clearing(quiet: int, set_at: int, span: int) -> int:
    """When a setting is forgotten, given since when it has been quiet."""
    return quiet + span if set_at < quiet + span else set_at + span
