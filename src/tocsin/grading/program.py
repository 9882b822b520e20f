"""What a set of scales compiles to: plain tables of numbers that the machine walks.

The machine is the same compiled code for every definition; a changed definition changes these tables
and nothing else, so code cached on disk can never belong to an older definition.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tocsin.grading.opcodes import REGISTERS, RING


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


def new_state(p: Program, *, plain: bool) -> State:
    """Room for one patient: lists of records for plain Python, arrays for compiled code."""
    channels, nodes = len(p.channel), len(p.node)
    state = State(
        np.zeros(12, np.int64),
        np.zeros(channels, S_CHANNEL),
        np.zeros(nodes, S_NODE),
        np.zeros(len(p.category), S_CATEGORY),
        np.zeros(len(p.scale), S_SCALE),
        np.zeros(nodes * REGISTERS, np.int64),
        np.zeros(nodes * RING, np.int64),
        np.zeros(channels, np.int64),
        np.zeros(nodes, np.int64),
        np.zeros(nodes, np.int64),
    )
    return State(*(as_list(field) for field in state)) if plain else state


def as_lists(p: Program) -> Program:
    """The same program as lists: in plain Python, several times faster to look into than arrays."""
    return Program(*(as_list(field) for field in p))


def as_list(array: np.ndarray[Any, Any]) -> list[Any]:
    """An array as a list; records become small objects with the same field names."""
    names = array.dtype.names
    if names is None:
        return list(array.tolist())
    kind = type("Record", (), {"__slots__": names})
    items = []
    for values in array.tolist():
        item = kind()
        for name, value in zip(names, values, strict=True):
            setattr(item, name, value)
        items.append(item)
    return items
