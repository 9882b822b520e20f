"""Canonical facts as the machine's rows: numbers in flat arrays, one line a fact."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library
from tocsin.definitions.schema import CATEGORIES
from tocsin.grading import opcodes as op
from tocsin.grading.compile import Compiled

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Rows(NamedTuple):
    """Facts in flat arrays (numba) or lists (plain Python), ordered by patient and time."""

    time: Any
    measure: Any
    kind: Any
    low: Any
    high: Any
    text: Any
    method: Any
    end: Any
    ref_low: Any
    ref_high: Any
    weight: Any


def encoded(column: pa.ChunkedArray | pa.Array) -> tuple[Ints, list[Any]]:
    """A text column as codes (-1 for null) and the words they stand for."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    codes = column.indices
    if codes.null_count:
        codes = pc.fill_null(codes, -1)
    return codes.to_numpy(zero_copy_only=False).astype(np.int64), column.dictionary.to_pylist()


def numbers(table: pa.Table, name: str) -> Floats:
    """A float column, NaN for null or absent."""
    if name not in table.column_names or table[name].null_count == len(table):
        return np.full(len(table), np.nan)
    return np.asarray(table[name].to_numpy(), np.float64)


def instants(table: pa.Table, name: str) -> Ints:
    """A time column as microseconds, INF for null or absent."""
    if name not in table.column_names or table[name].null_count == len(table):
        return np.full(len(table), op.INF)
    column = table[name].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.asarray((pc.fill_null(column, op.INF) if column.null_count else column).to_numpy(), np.int64)


def codes_of(table: pa.Table, name: str) -> tuple[Ints, list[Any]]:
    """A text column as codes, all -1 where it is absent or null throughout."""
    if name not in table.column_names or table[name].null_count == len(table):
        return np.full(len(table), -1), []
    return encoded(table[name])


def prepare(table: pa.Table, compiled: Compiled, lib: Library) -> tuple[Rows, Ints, pa.Array]:
    """The rows of whole patients, where each patient starts, and their ids in that order."""
    patient, ids = encoded(table["patient_id"])
    time = instants(table, "time")
    code, measures = encoded(table["measure"])
    index = {name: m for m, name in enumerate(compiled.measures)}
    lookup = np.array([index.get(name, -1) for name in measures] or [-1], np.int64)
    measure = lookup[code]
    kind = np.array([*compiled.kinds, op.IRRELEVANT], np.int64)[measure]
    text, words = codes_of(table, "text")
    low, high, text = values(table, measure, kind, text, words, compiled, lib)
    method, methods = codes_of(table, "method")
    known = {name: i for i, name in enumerate(compiled.methods)}
    spelled = sorted(set(methods) - set(known) - {None})
    known |= {name: len(compiled.methods) + i for i, name in enumerate(spelled)}
    method = np.array([*(known.get(name, 0) for name in methods), 0], np.int64)[method]
    rows = Rows(
        time, measure, kind, low, high, text, method, instants(table, "end"),
        numbers(table, "ref_low"), numbers(table, "ref_high"), numbers(table, "weight"),
    )
    rows, patient = ordered(rows, patient, ids)
    changes = np.flatnonzero(np.diff(patient)) + 1
    starts = np.concatenate([[0], changes, [len(patient)]]).astype(np.int64) if len(patient) else np.zeros(1, np.int64)
    who = pa.array(ids, pa.string()).take(pa.array(patient[starts[:-1]]))
    return rows, starts, who


def values(
    table: pa.Table, measure: Ints, kind: Ints, text: Ints, words: list[Any], compiled: Compiled, lib: Library
) -> tuple[Floats, Floats, Ints]:
    """Each row's interval of possible values and the code of its text."""
    value = numbers(table, "value")
    known = {**compiled.texts}
    text_code = np.array([*(known.get(word, op.NO_TEXT) for word in words), op.NO_TEXT], np.int64)[text]
    low, high = value.copy(), value.copy()
    for sign, is_low in (("<", False), (">", True)):
        if sign in words:
            chosen = text == words.index(sign)
            # just outside the tolerance with which equal numbers are compared
            nudge = np.maximum(1e-8 * np.abs(value[chosen]), 1e-12)
            low[chosen] = value[chosen] + nudge if is_low else -np.inf
            high[chosen] = np.inf if is_low else value[chosen] - nudge
    for m in np.flatnonzero(np.bincount(measure[measure >= 0], minlength=len(compiled.measures))):
        info = lib.measure(compiled.measures[m])
        if info.kind == "category":
            place = {word: float(i) for i, word in enumerate(info.words)}
            chosen = measure == m
            spelled = np.array([*(place.get(word, np.nan) for word in words), np.nan])[text[chosen]]
            low[chosen] = high[chosen] = spelled
    reading, infusion = kind == op.READING, kind == op.INFUSION
    unusable = (text_code == op.UNUSABLE) | (reading & np.isnan(value) & np.isnan(low))
    running = infusion & np.isnan(value) & (text_code != op.PUSH)
    low[running], high[running] = op.TINY, np.inf
    push = infusion & (text_code == op.PUSH)
    low[push] = high[push] = 1.0
    last = np.array([len(lib.measure(name).words) - 1.0 for name in compiled.measures] + [-1.0])[measure]
    low[unusable] = np.where(last[unusable] >= 0, 0.0, -np.inf)
    high[unusable] = np.where(last[unusable] >= 0, last[unusable], np.inf)
    text_code[unusable & (reading | infusion)] = op.UNUSABLE
    for word, code in [(word, i) for i, word in enumerate(words)]:
        chosen = (text == code) & ((kind == op.ATTRIBUTION) | (kind == op.DEATH))
        if not chosen.any():
            continue
        text_code[chosen & (kind == op.DEATH)] = compiled.fatal.get(word, 0)
        category, _, cause = str(word).partition("=")
        if category in CATEGORIES:
            said = CATEGORIES.index(category) * 2 + int(cause.strip() == "crs")
            text_code[chosen & (kind == op.ATTRIBUTION)] = said
        else:
            measure[chosen & (kind == op.ATTRIBUTION)] = -1
    return low, high, text_code


def ordered(rows: Rows, patient: Ints, ids: list[Any]) -> tuple[Rows, Ints]:
    """Rows by patient (in order of id) and time; untouched where they already are."""
    rank = np.argsort(np.argsort(np.array(ids, dtype=object))) if ids else np.zeros(0, np.int64)
    place = rank[patient]
    step = np.diff(place)
    sorted_already = bool(np.all((step > 0) | ((step == 0) & (np.diff(rows.time) >= 0))))
    if sorted_already:
        return rows, patient
    order = np.lexsort((rows.time, place))
    return Rows(*(column[order] for column in rows)), patient[order]
