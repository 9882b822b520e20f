"""Intervals as numbers, and the spans of illness in them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tocsin.episodes.columns import Bools, Ints, as_table, encoded, instants
from tocsin.grading.opcodes import INF


class Graded(NamedTuple):
    """Intervals as numbers, by patient, scale and time; `patient` and `scale` count into the names."""

    table: pa.Table
    patient: Ints
    scale: Ints
    start: Ints
    end: Ints
    grade: Ints
    patients: list[str]
    scales: list[str]


def graded_rows(intervals: Any) -> Graded:
    """Intervals put in order; patients by id, scales as they come."""
    table = as_table(intervals)
    patient, ids = encoded(table["patient_id"])
    scale, scales = encoded(table["scale"])
    order = np.argsort(np.array(ids, dtype=object), kind="stable") if ids else np.zeros(0, np.int64)
    place = np.empty(len(ids), np.int64)
    place[order] = np.arange(len(ids))
    patient = place[patient]
    start = instants(table, "start")
    if not in_order(patient, scale, start):
        rows = np.lexsort((start, scale, patient))
        table, patient, scale, start = table.take(pa.array(rows)), patient[rows], scale[rows], start[rows]
    return Graded(
        table, patient, scale, start, instants(table, "end"), np.asarray(table["grade"].to_numpy(), np.int64),
        [ids[i] for i in order], scales,
    )


def in_order(*columns: Ints) -> bool:
    """Whether the rows are sorted by these columns, the first weighing most."""
    tied = np.ones(max(len(columns[0]) - 1, 0), np.bool_)
    for column in columns:
        step = np.diff(column)
        if np.any(tied & (step < 0)):
            return False
        tied &= step == 0
    return True


class Spans(NamedTuple):
    """Runs of grade 1 or more: rows [first, last], time [start, stop), and `rise`, when the next begins.

    `stop` is INF where the last row is open, `rise` where nothing follows under that scale.
    """

    first: Ints
    last: Ints
    patient: Ints
    scale: Ints
    start: Ints
    stop: Ints
    rise: Ints


def spans_of(graded: Graded) -> Spans:
    """The spans of illness, in the order of the rows; before, between and after them the grade is 0."""
    patient, scale = graded.patient, graded.scale
    ill = graded.grade >= 1
    begins = fresh(patient, scale)
    goes_on = ill & ~begins
    goes_on[1:] &= ill[:-1] & (graded.end[:-1] == graded.start[1:])
    first = np.flatnonzero(ill & ~goes_on)
    last = np.flatnonzero(ill & ~np.append(goes_on[1:], False)[: len(ill)])
    alone = np.append(fresh(patient[first], scale[first])[1:], True)[: len(first)]
    start = graded.start[first]
    rise = np.where(alone, INF, np.append(start[1:], INF)[: len(first)])
    return Spans(first, last, patient[first], scale[first], start, graded.end[last], rise)


def fresh(*columns: Ints) -> Bools:
    """Where a row differs from the one before it in any of these columns; true for the first."""
    out = np.ones(len(columns[0]), np.bool_)
    if len(out):
        out[1:] = np.any([np.diff(column) != 0 for column in columns], axis=0)
    return out


def counted(begins: Bools) -> Ints:
    """Each row's number within its group, from 1."""
    rows = np.arange(len(begins))
    return np.asarray(rows - np.maximum.accumulate(np.where(begins, rows, 0)) + 1, np.int64)
