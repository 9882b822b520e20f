"""What a set of scales compiles to: plain tables of numbers that the machine walks.

The machine is the same compiled code for every definition; a changed definition changes these tables
and nothing else, so code cached on disk can never belong to an older definition.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import make_dataclass
from functools import lru_cache
from itertools import starmap
from math import isinf, nan, nextafter
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from tocsin.grading.opcodes import (
    ABOVE,
    AGE_LIMIT,
    AT_LEAST,
    BELOW,
    ENDLESS,
    EVER,
    FIRST,
    NO_REF,
    NONE,
    ONE_OF,
    READ,
    REGISTERS,
    RING,
    RULE,
    SLACK,
    SUM,
)

#: What of a state is records.
RECORDS = ("channel", "node", "category", "scale")
#: How many answers plain Python remembers of one node or scale.
MEMORY = 4096


def record(ints: str, floats: str = "") -> np.dtype[Any]:
    """A record of int64 fields, then float64 fields. `xs*` is the span `xs_from`, `xs_to` in `index`."""
    names = [
        part
        for name in ints.split()
        for part in ([f"{name[:-1]}_from", f"{name[:-1]}_to"] if name[-1] == "*" else [name])
    ]
    return np.dtype([(name, np.int64) for name in names] + [(name, np.float64) for name in floats.split()])


MEASURE = record("kind window channels* events*")
CHANNEL = record(
    "measure method mode worse hold infusion stale spike base_window base_median category scales "
    "leaves* voids* confirms* limits*",
    "reference round fall_percent fall",
)
NODE = record(
    "op channel compare mask reference new span bridge missing category count text all any scales named "
    "waiting quick kids* parents* pulses*",
    "cut",
)
ROW = record("node grade possible ambiguous kids*")
SCALE = record("fatal constant rows* judgements* flags*")
CATEGORY = record("leaves*")
WATCH = record("age_channel age_leaves* dose_leaves* timed*")

S_CHANNEL = record(
    "time held before method ended due default touched word seen last_time last_method",
    "low high top_low top_high base_low base_high last_low last_high limit",
)
S_NODE = record("value dirty due pulse mark")
S_CATEGORY = record("before now crs time")
S_SCALE = record("start grade up_to ambiguous because waiting judgement flags change dirty")
#: Where a patient stands: the last instant decided or being decided, the one being decided, how it ended.
S_PLACE = record("clock pending dead")


class Program(NamedTuple):
    """The compiled scales. `index`, `bits`, `weight` are parallel: what a span lists, and its numbers."""

    measure: Any
    channel: Any
    node: Any
    row: Any
    scale: Any
    category: Any
    watch: Any
    limit: Any
    index: Any
    bits: Any
    weight: Any


class State(NamedTuple):
    """One patient's memory while the machine walks; same shapes for every patient."""

    g: Any
    channel: Any
    node: Any
    category: Any
    scale: Any
    register: Any
    ring: Any
    stack: Any
    walk: Any
    work: Any


def new_state(p: Program, *, plain: bool) -> Any:
    """Room for one patient: arrays for compiled code, lists of records for plain Python."""
    state = room_for(p)
    return PlainState(state) if plain else state


def room_for(p: Program, patients: int | None = None) -> State:
    """A state in arrays; of many patients, each is one line of every array."""
    channels, nodes = len(p.channel), len(p.node)
    shapes = (
        (12, np.int64), (channels, S_CHANNEL), (nodes, S_NODE), (len(p.category), S_CATEGORY),
        (len(p.scale), S_SCALE), (nodes * REGISTERS, np.int64), (nodes * RING, np.int64),
        (channels, np.int64), (nodes, np.int64), (nodes, np.int64),
    )  # fmt: skip
    return State(
        *(np.zeros(length if patients is None else (patients, length), kind) for length, kind in shapes)
    )


class PlainState:
    """A state as lists, with what plain.py keeps beside it.

    `said` is the values of all nodes, two bits each; `bit` and `ask` are `bits_of` nodes and scales, `stale`
    the scales that must be read; `heap` and `queue` what lapses and when each item is looked at. From
    `bottom` to below `top` the next number of a channel changes no leaf and makes the nodes of `calm` dirty.
    `last` is the answer of each scale.
    """

    __slots__ = (
        *State._fields, "said", "stale", "ask", "heap", "queue", "bottom", "top", "calm",
        "last", "bit",
    )  # fmt: skip

    def __init__(self, state: State) -> None:
        for name, field in zip(State._fields, state, strict=True):
            setattr(self, name, as_list(field))
        self.bit, self.ask = bits_of(len(state.node), len(state.scale))
        self.said = self.stale = 0
        self.heap: list[int] = []
        self.queue = [0] * (2 * max(len(state.channel), len(state.node)))
        self.bottom: list[float] = [ENDLESS] * len(state.channel)
        self.top: list[float] = [ENDLESS] * len(state.channel)
        self.calm: list[int] = [0] * len(state.channel)
        self.last: list[Any] = [None] * len(state.scale)

    def copy(self) -> PlainState:
        """The same state, to go on from without changing this one."""
        twin = object.__new__(PlainState)
        for name in PlainState.__slots__:
            value = getattr(self, name)
            if isinstance(value, list):
                value = twins_of(value) if name in RECORDS else value.copy()
            setattr(twin, name, value)
        return twin


class Plan:
    """How plain Python looks at one channel's leaves.

    A leaf is its node's number and record, where and into what it turns (`turn`), what it says without a
    reading (None where that is not all), whether it compares with the patient's usual, whether it has a
    memory, and what its value bears on. `confirms` are bits of nodes; `steady` says that a number alone
    decides all leaves, and `rises` that they turn but once as it rises (and that no other channel depends on
    the very number).
    """

    __slots__ = ("confirms", "leaves", "rises", "steady")

    def __init__(self, p: Program, c: int, bears: list[int]) -> None:
        channel, index = p.channel[c], p.index
        leaves = index[channel.leaves_from : channel.leaves_to]
        read = [p.node[n] for n in leaves]
        self.leaves = tuple(
            (
                n,
                x,
                *turn(x),
                None if x.op != READ or x.span != NONE or channel.infusion else x.missing,
                x.reference not in (NO_REF, AGE_LIMIT),
                x.op == READ and x.span != NONE,
                bears[n],
            )
            for n, x in zip(leaves, read, strict=True)
        )
        bit, _ = bits_of(len(p.node), len(p.scale))
        self.confirms = sum(bit[n] for n in index[channel.confirms_from : channel.confirms_to])
        self.rises = channel.voids_from == channel.voids_to and all(x.compare != ONE_OF for x in read)
        self.steady = all(node.op == READ for node in read) and not (
            self.confirms and any(node.span != NONE for node in read)
        )


def turn(node: Any) -> tuple[float | None, int]:
    """The number from which on `leaves.compare` says another thing of a reading, and what it says from there.

    NaN where it is the limit for the patient's age, None where there is no such number.
    """
    above = 2 if node.compare in (AT_LEAST, ABOVE) else 0
    if node.quick == 2 and node.compare in (AT_LEAST, BELOW):
        return nan, above
    if node.op != READ or node.reference != NO_REF or node.new or node.compare == ONE_OF or isinf(node.cut):
        return None, above
    slack = SLACK * abs(node.cut)
    if node.compare in (AT_LEAST, BELOW):
        return node.cut - slack, above
    return nextafter(node.cut + slack, ENDLESS), above


class PlainProgram:
    """A program as lists, with what plain.py keeps beside it.

    `steps` has for every node, at the length of its bit, its number, bit and operation, what was said of the
    values of its kids and the mask of these (both for combinations only), and what its value bears on: the
    bits (`bits_of`) of its parents, of the scales that rest on it and of those that name it. `waits` is what
    was said of the values `below` a row, `answers` of those `shown` by a scale. On the channels `leading`
    others depend.
    """

    __slots__ = (*Program._fields, "steps", "below", "waits", "shown", "answers", "plans", "leading")

    def __init__(self, program: Program) -> None:
        for name, field in zip(Program._fields, program, strict=True):
            setattr(self, name, as_list(field))
        p: Any = self
        index = p.index
        bit, ask = bits_of(len(p.node), len(p.scale))
        bears = [
            sum(bit[i] for i in index[x.parents_from : x.parents_to]) | x.scales << len(p.scale) | x.named
            for x in p.node
        ]
        self.steps: list[tuple[Any, ...]] = [()] * (ask.bit_length() + 1)
        for n, x in reversed(list(enumerate(p.node))):
            combined = RULE <= x.op <= FIRST
            kids = mask(index[x.kids_from : x.kids_to]) if combined else 0
            self.steps.append((n, bit[n], x.op, {} if combined else None, kids, bears[n]))
        self.below: list[int] = []
        for n, x in enumerate(p.node):
            under = mask([n])
            for kid in index[x.kids_from : x.kids_to - (x.op == EVER)] if x.op > SUM else ():
                under |= self.below[kid]
            self.below.append(under)
        self.waits: list[dict[int, int]] = [{} for _ in p.node]
        self.shown = []
        for scale in p.scale:
            rows = p.row[scale.rows_from : scale.rows_to]
            read = [row.node for row in rows]
            read += [n for row in rows for n in index[row.kids_from : row.kids_to]]
            read += index[scale.judgements_from : scale.judgements_to]
            read += index[scale.flags_from : scale.flags_to]
            self.shown.append(mask(read))
        self.answers: list[dict[int, tuple[Any, ...]]] = [{} for _ in p.scale]
        self.leading = {
            c for c, x in enumerate(p.channel) if x.voids_from < x.voids_to or c == p.watch[0].age_channel
        }
        self.plans = [Plan(p, c, bears) for c in range(len(p.channel))]


@lru_cache(maxsize=64)
def bits_of(nodes: int, scales: int) -> tuple[tuple[int, ...], int]:
    """The bit of each node among those to be evaluated, and all bits below them.

    The first node has the highest bit, which is found fastest. Below the nodes stand a bit for each scale
    that must be read, and, lowest, a bit for each that names what changed. One tuple serves all patients.
    """
    below = 2 * scales
    return tuple(1 << (below + nodes - 1 - n) for n in range(nodes)), (1 << below) - 1


def mask(listed: Iterable[int]) -> int:
    """The bits of these nodes among the values of all."""
    return sum(3 << 2 * n for n in set(listed))


def remembering(memory: dict[Any, Any], key: Any, value: Any) -> Any:
    """Keep `value` under `key` and return it; a memory that has grown large begins anew."""
    if len(memory) >= MEMORY:
        memory.clear()
    memory[key] = value
    return value


def as_lists(p: Program) -> Any:
    """The same program for plain Python: lists are several times faster to look into than arrays."""
    return PlainProgram(p)


@lru_cache(maxsize=64)
def record_type(names: tuple[str, ...]) -> type[Any]:
    """The class of records with these fields: one for all patients, since Python remembers for each class
    where a field lies."""
    return make_dataclass("Record", names, slots=True)


def as_list(array: np.ndarray[Any, Any]) -> list[Any]:
    """An array as a list; records become small objects with the same field names."""
    names = array.dtype.names
    if names is None:
        return list(array.tolist())
    kind = record_type(names)
    return [kind(*values) for values in array.tolist()]


def twins_of(items: list[Any]) -> list[Any]:
    """Records like these."""
    if not items:
        return []
    kind = type(items[0])
    return list(starmap(kind, map(attrgetter(*kind.__slots__), items)))
