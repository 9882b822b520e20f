"""What a set of scales compiles to: plain tables of numbers that the machine walks.

The machine is the same compiled code for every definition; a changed definition changes these tables
and nothing else, so code cached on disk can never belong to an older definition.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tocsin.grading.opcodes import REGISTERS, RING


class Program(NamedTuple):
    """The compiled scales; every field is a flat array (numba) or list (plain Python)."""

    m_kind: Any
    m_window: Any
    m_channel_from: Any
    m_channel: Any
    m_event_from: Any
    m_event: Any
    c_measure: Any
    c_method: Any
    c_mode: Any
    c_worse: Any
    c_hold: Any
    c_infusion: Any
    c_stale: Any
    c_reference: Any
    c_round: Any
    c_spike: Any
    c_base_window: Any
    c_base_median: Any
    c_category: Any
    c_fall_percent: Any
    c_fall: Any
    c_limit_from: Any
    limit: Any
    c_leaf_from: Any
    c_leaf: Any
    c_void_from: Any
    c_void: Any
    c_confirm_from: Any
    c_confirm: Any
    n_op: Any
    n_channel: Any
    n_compare: Any
    n_cut: Any
    n_mask: Any
    n_reference: Any
    n_new: Any
    n_span: Any
    n_bridge: Any
    n_missing: Any
    n_category: Any
    n_count: Any
    n_text: Any
    n_possible: Any
    n_all: Any
    n_any: Any
    n_kid_from: Any
    n_kid: Any
    n_weight: Any
    n_parent_from: Any
    n_parent: Any
    n_pulse_from: Any
    n_pulse: Any
    n_scales: Any
    n_named: Any
    age_channel: Any
    age_leaf: Any
    dose_leaf: Any
    category_leaf_from: Any
    category_leaf: Any
    s_row_from: Any
    r_node: Any
    r_grade: Any
    r_ambiguous: Any
    r_kid_from: Any
    r_kid: Any
    r_kid_bit: Any
    r_leaf_from: Any
    r_leaf: Any
    r_leaf_bits: Any
    s_judge_from: Any
    j_node: Any
    j_grade: Any
    s_flag_from: Any
    f_node: Any
    s_fatal: Any
    s_constant: Any


class State(NamedTuple):
    """One patient's memory while the machine walks; same shapes for every patient."""

    g: Any  # scalars, see machine.py
    c_time: Any
    c_low: Any
    c_high: Any
    c_held: Any
    c_before: Any
    c_method: Any
    c_ended: Any
    c_due: Any
    c_default: Any
    c_base: Any
    c_touched: Any
    p_time: Any
    p_low: Any
    p_high: Any
    p_method: Any
    word: Any
    stack: Any
    value: Any
    dirty: Any
    n_due: Any
    register: Any
    ring: Any
    pulse: Any
    a_before: Any
    a_now: Any
    a_time: Any
    k_start: Any
    k_grade: Any
    k_up_to: Any
    k_ambiguous: Any
    k_because: Any
    k_waiting: Any
    k_judgement: Any
    k_flags: Any
    k_change: Any
    k_dirty: Any


def new_state(p: Program, *, plain: bool) -> State:
    """Room for one patient: lists for plain Python, arrays for compiled code."""
    channels, nodes, scales = len(p.c_measure), len(p.n_op), len(p.s_fatal)
    shapes: dict[str, tuple[int, type]] = {name: (channels, np.int64) for name in State._fields if name[:2] == "c_"}
    shapes |= {name: (channels, np.int64) for name in ("p_time", "p_method", "word", "stack")}
    shapes |= {name: (channels, np.float64) for name in ("c_low", "c_high", "c_base", "p_low", "p_high")}
    shapes |= {name: (nodes, np.int64) for name in ("value", "dirty", "n_due", "pulse")}
    shapes |= {"register": (nodes * REGISTERS, np.int64), "ring": (nodes * RING, np.int64), "g": (16, np.int64)}
    shapes |= {name: (5, np.int64) for name in ("a_before", "a_now", "a_time")}
    shapes |= {name: (scales, np.int64) for name in State._fields if name[:2] == "k_"}
    arrays = {name: np.zeros(size, kind) for name, (size, kind) in shapes.items()}
    if plain:
        return State(**{name: array.tolist() for name, array in arrays.items()})
    return State(**arrays)


def as_lists(p: Program) -> Program:
    """The same program as plain lists: indexing a list is several times faster than an array in Python."""
    return Program(*(field.tolist() for field in p))
