"""The same machine in plain Python, where looking things up costs more than computing.

The functions of `compiled.PARTS`, with those of this file in the place of their namesakes. What a
definition means stays in the shared functions; here is only in which order things are looked at and what
need not be looked at again: findings to be evaluated are bits of one number, what lapses waits in a heap,
and what `combine`, `plain`, `rungs`, `waits_for` have once said of the same values is remembered.

The values of all nodes stand in one number as well (`State.said`, two bits a node), so the values a node
rests on are `said` with a mask, and that is the key under which its value is remembered.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from math import nextafter
from types import FunctionType, SimpleNamespace
from typing import Any

from tocsin.grading.compiled import PARTS
from tocsin.grading.leaves import compare, follow, leaf, plain, recalled, remember
from tocsin.grading.machine import end_of, unmask
from tocsin.grading.nodes import combine, confirm, ever, lasting
from tocsin.grading.opcodes import (
    ATTRIBUTED,
    CONFIRM,
    DIRTY,
    ENDLESS,
    EVER,
    FIRST_DOSE,
    INF,
    NEXT,
    NONE,
    READ,
    REGISTERS,
    RULE,
    SLACK,
    TOUCHED,
    WALKS,
)
from tocsin.grading.program import remembering
from tocsin.grading.rungs import proofs, remarks, rungs, say, waits_for

#: An entry of the heap: when, and 2 c for channel c or 2 n + 1 for node n in the lowest bits.
SHIFT = 16
ITEM = (1 << SHIFT) - 1


def soil_all(p: Any, s: Any) -> None:
    """Every node must be evaluated, and nothing is remembered of the patient before."""
    s.g[DIRTY] = sum(s.bit) | s.ask
    s.said = 0
    s.heap.clear()
    s.queue[:] = [INF] * len(s.queue)
    unlearn(s)
    s.last[:] = [None] * len(s.last)


def soil(s: Any, n: int) -> None:
    """Node `n` must be evaluated when this instant is settled."""
    s.g[DIRTY] |= s.bit[n]


def wake(s: Any, n: int, due: int) -> None:
    """Evaluate node `n` again at `due`."""
    s.node[n].due = due
    queue(s, 2 * n + 1, due)


def expect(s: Any, c: int) -> None:
    """What channel `c` holds ends when it is due."""
    due = s.channel[c].due
    if due < s.queue[2 * c]:
        queue(s, 2 * c, due)


def queue(s: Any, item: int, due: int) -> None:
    """Look at `item` at `due`, if it is not looked at before; then it says when to look again."""
    if due < s.queue[item]:
        s.queue[item] = due
        heappush(s.heap, due << SHIFT | item)
        if due < s.g[NEXT]:
            s.g[NEXT] = due


def lapse(p: Any, s: Any, t: int) -> None:
    """Let everything end that ends at or before `t`, and note when to look again."""
    heap, queued = s.heap, s.queue
    until = (t + 1) << SHIFT
    while heap and heap[0] < until:
        first = heap[0]
        item = first & ITEM
        i = item >> 1
        if queued[item] != first >> SHIFT:  # an earlier look was due since
            heappop(heap)
            continue
        holder = s.node[i] if item & 1 else s.channel[i]
        due = holder.due
        if t < due < INF:
            queued[item] = due
            heapreplace(heap, due << SHIFT | item)
            continue
        queued[item] = INF
        heappop(heap)
        if due <= t:
            holder.due = INF
            if item & 1:
                s.g[DIRTY] |= s.bit[i]
            else:
                end_of(p, s, i, t)
    due = unmask(p, s, t) if s.g[ATTRIBUTED] else INF
    s.g[NEXT] = min(due, heap[0] >> SHIFT) if heap else due


def update_leaves(p: Any, s: Any, t: int) -> None:
    """Follow every channel touched at `t` down to its leaves."""
    g, channels, bottom, top, calm = s.g, s.channel, s.bottom, s.top, s.calm
    if g[FIRST_DOSE] == t:
        unlearn(s)
    touched = s.stack[: g[TOUCHED]]
    if not p.leading.isdisjoint(touched):
        touched = lead(p, s, t, touched)
    g[TOUCHED] = 0
    for c in touched:
        charted = channels[c]
        charted.touched = 0
        if charted.time != t:
            look(p, s, c, t, False)
            continue
        if charted.due < INF:  # what stands for ever does not lengthen the record
            charted.seen = t
        low = charted.low
        if bottom[c] <= low < top[c] and low == charted.high:
            if calm[c]:
                g[DIRTY] |= calm[c]
        elif look(p, s, c, t, True):
            g[DIRTY] |= p.plans[c].confirms


def lead(p: Any, s: Any, t: int, touched: list[int]) -> list[int]:
    """Some of the channels `touched` lead others; with these, what is touched then."""
    age = p.watch[0].age_channel
    for c in p.leading.intersection(touched):
        if c == age or not s.bottom[c] <= s.channel[c].low < s.top[c]:
            follow(p, s, t)
            if age in touched:
                unlearn(s)
            return s.stack[: s.g[TOUCHED]]  # type: ignore[no-any-return]
    return touched


def look(p: Any, s: Any, c: int, t: int, fresh: bool) -> bool:
    """Evaluate the leaves of channel `c`; whether one of them is yes.

    Most comparisons turn once as a number rises, so from `bottom` to `top` the next number need not be
    looked at; it makes the nodes of `calm` dirty.
    """
    plan, charted, state, g = p.plans[c], s.channel[c], s.node, s.g
    low = charted.low
    clear = charted.held and not charted.before and not g[ATTRIBUTED]
    exact = clear and low == charted.high
    gone = not charted.held and not g[ATTRIBUTED]
    alone = not plan.rises
    some = False
    bottom, top = -ENDLESS, ENDLESS
    for n, node, edge, above, missing, usual, lasts, bears in plan.leaves:
        if edge != edge:
            limit = charted.limit
            known = limit == limit and not charted.base_high < limit  # else the patient's usual decides
            edge = limit - SLACK * abs(limit) if known else None
        if exact and edge is not None:
            if low < edge:
                value = 2 - above
                if edge < top:
                    top = edge
            else:
                value = above
                if edge > bottom:
                    bottom = edge
            if lasts:
                clear = clear and not value  # after two readings that say no, the second changes nothing
                value = memory(p, s, n, c, t, fresh, value)
        elif missing is not None and (gone or (clear and usual and charted.base_low != charted.base_low)):
            value = missing
        elif clear and node.quick == 1:
            value = compare(node.compare, low, charted.high, node.cut, node.mask)
        else:
            alone = True
            value = plain(p, s, n) if node.op == READ else leaf(p, s, n, t)
            if lasts:
                clear = clear and not value
                value = memory(p, s, n, c, t, fresh, value)
            elif node.op == READ:
                value = recalled(p, s, n, c, t, value)
        if value == 2:
            some = True
        was = state[n]
        if value != was.value:
            s.said += (value - was.value) << 2 * n
            was.value = value
            g[DIRTY] |= bears
    if clear and exact and plan.steady:
        s.bottom[c], s.top[c] = (low, nextafter(low, ENDLESS)) if alone else (bottom, top)
        s.calm[c] = plan.confirms if some else 0
    else:
        s.bottom[c] = ENDLESS
    return some


def unlearn(s: Any) -> None:
    """Numbers may say other things from now on."""
    s.bottom[:] = [ENDLESS] * len(s.bottom)


def memory(p: Any, s: Any, n: int, c: int, t: int, fresh: bool, code: int) -> int:
    """What a `within_hours` finding says whose reading of itself says `code`."""
    r = n * REGISTERS
    if code == 0 and s.register[r + 1] == NONE and s.register[r] == NONE:
        return 0
    if fresh:
        remember(p, s, n, c, t, code)
    return recalled(p, s, n, c, t, code)


def update_nodes(p: Any, s: Any, t: int) -> None:
    """Evaluate every dirty node once, children before parents."""
    state, steps, dirty, said, ask = s.node, p.steps, s.g[DIRTY], s.said, s.ask
    while dirty > ask:
        n, bit, op, known, kids, bears = steps[dirty.bit_length()]
        dirty ^= bit
        if known is not None:
            try:
                value = known[said & kids]
            except KeyError:
                value = remembering(known, said & kids, combine(p, s, n))
        elif op < RULE:
            value = leaf(p, s, n, t)
        elif op == CONFIRM:
            value = confirm(p, s, n, t)
        elif op == EVER:
            value = ever(p, s, n, t)
        else:
            value = lasting(p, s, n, t)
        node = state[n]
        if value != node.value:
            said += (value - node.value) << 2 * n
            node.value = value
            dirty |= bears
    s.g[DIRTY] = 0
    s.said = said
    s.stale = dirty >> len(p.scale)
    named = dirty & ask >> len(p.scale)
    while named:
        bit = named & -named
        named ^= bit
        s.scale[bit.bit_length() - 1].change = t


def update_grades(p: Any, s: Any, t: int, patient: int, out: Any, emitted: int) -> int:
    """Read the rungs of every scale whose findings changed; write the old answer where a new one begins."""
    stale = s.stale
    s.stale = 0
    while stale:
        bit = stale & -stale
        stale ^= bit
        k = bit.bit_length() - 1
        key = s.said & p.shown[k]
        found = p.answers[k].get(key)
        if found is None:
            found = remembering(p.answers[k], key, answer(p, s, k))
        shown, unknown = found
        waiting = 0
        for n in unknown:
            key = s.said & p.below[n]
            waits = p.waits[n].get(key)
            if waits is None:
                s.g[WALKS] += 1
                waits = remembering(p.waits[n], key, waits_for(p, s, n))
            waiting |= waits
        if shown != s.last[k] or waiting != s.scale[k].waiting:
            s.last[k] = shown
            grade, up_to, ambiguous, because, judgement, flags = shown
            emitted = say(
                s, k, t, grade, up_to, ambiguous, because, waiting, judgement, flags, patient, out, emitted
            )
    return emitted


def answer(p: Any, s: Any, k: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What scale `k` says, but for what it waits for: that is asked of its open rows, which come second."""
    grade, up_to, ambiguous = rungs(p, s, k)
    judgement, flags = remarks(p, s, k, grade)
    rows = p.row[p.scale[k].rows_from : p.scale[k].rows_to]
    unknown = {row.node: 0 for row in rows if row.grade > grade and s.node[row.node].value == 1}
    return (grade, up_to, ambiguous, proofs(p, s, k, grade), judgement, flags), tuple(unknown)


def functions() -> SimpleNamespace:
    """The shared functions and those of this file, which call one another."""
    names: dict[str, Any] = {}
    for part in PARTS:
        names |= vars(part)
    names |= globals()
    for home in (*map(vars, PARTS), globals()):
        for name, function in home.items():
            if isinstance(function, FunctionType) and function.__module__ == home["__name__"]:
                names[name] = FunctionType(function.__code__, names, name, function.__defaults__)
    return SimpleNamespace(**names)


#: What callers use, as they would use the modules: `MACHINE.settle(p, s, ...)`.
MACHINE = functions()
