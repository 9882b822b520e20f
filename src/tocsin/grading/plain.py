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
    EVER,
    FIRST_DOSE,
    INF,
    NEXT,
    NONE,
    READ,
    REGISTERS,
    RULE,
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
    s.g[DIRTY] = (1 << len(p.node)) - 1
    s.stale = (1 << len(p.scale)) - 1
    s.said = 0
    s.named = 0
    s.heap.clear()
    s.queue[:] = [INF] * len(s.queue)
    unlearn(s)
    s.last[:] = [None] * len(s.last)


def soil(s: Any, n: int) -> None:
    """Node `n` must be evaluated when this instant is settled."""
    s.g[DIRTY] |= 1 << n


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
        item = heap[0] & ITEM
        i = item >> 1
        if queued[item] != heap[0] >> SHIFT:  # an earlier look was due since
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
                soil(s, i)
            else:
                end_of(p, s, i, t)
    due = unmask(p, s, t) if s.g[ATTRIBUTED] else INF
    if heap and heap[0] >> SHIFT < due:
        due = heap[0] >> SHIFT
    s.g[NEXT] = due


def change(p: Any, s: Any, n: int, value: int) -> None:
    """Node `n` has another value: so may have what rests on it."""
    node = s.node[n]
    _, _, _, parents, scales, names = p.steps[n]
    s.said += (value - node.value) << 2 * n
    node.value = value
    s.g[DIRTY] |= parents
    s.stale |= scales
    s.named |= names


def update_leaves(p: Any, s: Any, t: int) -> None:
    """Follow every channel touched at `t` down to its leaves."""
    g, channels, bottom, top = s.g, s.channel, s.bottom, s.top
    if g[FIRST_DOSE] == t:
        unlearn(s)
    age = p.watch[0].age_channel
    for c in p.leading:
        charted = channels[c]
        if charted.touched and (c == age or not bottom[c] <= charted.low <= top[c]):
            follow(p, s, t)
            if age >= 0 and channels[age].touched:
                unlearn(s)
            break
    for c in s.stack[: g[TOUCHED]]:
        charted = channels[c]
        charted.touched = 0
        if charted.time != t:
            look(p, s, c, t, False)
            continue
        if charted.due < INF:  # what stands for ever does not lengthen the record
            charted.seen = t
        if bottom[c] <= charted.low <= top[c] and charted.low == charted.high:
            if s.calm[c]:
                g[DIRTY] |= s.calm[c]
        elif look(p, s, c, t, True):
            g[DIRTY] |= p.plans[c].confirms
    g[TOUCHED] = 0


def look(p: Any, s: Any, c: int, t: int, fresh: bool) -> bool:
    """Evaluate the leaves of channel `c`; whether one of them is yes.

    Comparisons turn once as a number rises: what two numbers say alike is said by all between them. So from
    `bottom` to `top` the next number need not be looked at; it makes the nodes of `calm` dirty.
    """
    plan, charted, state, nodes = p.plans[c], s.channel[c], s.node, p.node
    low, high = charted.low, charted.high
    clear = charted.held and not charted.before and not s.g[ATTRIBUTED]
    some = False
    codes = 0
    for n in plan.leaves:
        node = nodes[n]
        if clear and node.quick == 1:
            code = value = compare(node.compare, low, high, node.cut, node.mask)
        elif clear and node.quick == 2 and charted.base_low != charted.base_low:
            limit = charted.limit
            code = value = 1 if limit != limit else compare(node.compare, low, high, limit, 0)
        elif node.op == READ:
            code = plain(p, s, n)
            if node.span == NONE:
                value = recalled(p, s, n, c, t, code)
            else:
                value = memory(p, s, n, c, t, fresh, code)
                clear = clear and not code  # after two readings that say no, the second changes nothing
        else:
            code = 0
            value = leaf(p, s, n, t)
        codes = 3 * codes + code
        if value != state[n].value:
            change(p, s, n, value)
        if value == 2:
            some = True
    s.bottom[c] = INF
    if clear and low == high and plan.steady:
        s.bottom[c], s.top[c] = span(s.spans[c], codes, low, plan.rises)
        s.calm[c] = plan.confirms if some else 0
    return some


def span(spans: Any, codes: int, x: float, rises: bool) -> tuple[float, float]:
    """Between which numbers `codes` is said, as far as is known with `x`."""
    known = spans.get(codes)
    if known is None or not rises:
        known = spans[codes] = (x, x)
    elif x < known[0]:
        known = spans[codes] = (x, known[1])
    elif x > known[1]:
        known = spans[codes] = (known[0], x)
    return known  # type: ignore[no-any-return]


def unlearn(s: Any) -> None:
    """Numbers may say other things from now on."""
    s.bottom[:] = [INF] * len(s.bottom)
    for spans in s.spans:
        spans.clear()


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
    state, steps, dirty, said = s.node, p.steps, s.g[DIRTY], s.said
    while dirty:
        bit = dirty & -dirty
        dirty ^= bit
        n = bit.bit_length() - 1
        op, known, kids, parents, scales, names = steps[n]
        if known is not None:
            value = known.get(said & kids)
            if value is None:
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
            dirty |= parents
            s.stale |= scales
            s.named |= names
    s.g[DIRTY] = 0
    s.said = said
    named = s.named
    s.named = 0
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
        grade, up_to, ambiguous, because, judgement, flags, unknown = found
        waiting = 0
        for n in unknown:
            key = s.said & p.below[n]
            waits = p.waits[n].get(key)
            if waits is None:
                s.g[WALKS] += 1
                waits = remembering(p.waits[n], key, waits_for(p, s, n))
            waiting |= waits
        if s.last[k] is found and waiting == s.scale[k].waiting:
            continue
        s.last[k] = found
        emitted = say(
            s, k, t, grade, up_to, ambiguous, because, waiting, judgement, flags, patient, out, emitted
        )
    return emitted


def answer(p: Any, s: Any, k: int) -> tuple[Any, ...]:
    """What scale `k` says, but for what it waits for: that is asked of its open rows, named last."""
    grade, up_to, ambiguous = rungs(p, s, k)
    judgement, flags = remarks(p, s, k, grade)
    rows = p.row[p.scale[k].rows_from : p.scale[k].rows_to]
    unknown = {row.node: 0 for row in rows if row.grade > grade and s.node[row.node].value == 1}
    return grade, up_to, ambiguous, proofs(p, s, k, grade), judgement, flags, tuple(unknown)


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
