"""Canonical facts as the machine's rows: numbers in flat arrays, one line a fact."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.schema import CATEGORIES, Measure
from tocsin.grading import opcodes as op
from tocsin.grading.compile import Compiled

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Measured(Protocol):
    """What knows measures by their id: a library, or the few that a program reads."""

    def measure(self, name: str) -> Measure:
        """The measure of this id."""
        ...


class Rows(NamedTuple):
    """Facts in flat arrays (numba) or lists (plain Python), ordered by patient and time.

    Few rows have an end, limits of their own or a weight: `more` says where theirs stand in the last four
    columns, whose first entry is "none of these".
    """

    time: Any
    measure: Any
    low: Any
    high: Any
    text: Any
    method: Any
    more: Any
    end: Any
    ref_low: Any
    ref_high: Any
    weight: Any


#: What they are of: other kinds would be other types to numba, and a compilation of their own.
KINDS = (np.int64, np.int32, float, float, np.int32, np.int32, np.int32, np.int64, float, float, float)
#: The columns of `Rows` with one entry a row.
EACH = 7
#: The columns of the facts table the machine reads.
READ = ["patient_id", "time", "measure", "value", "text", "method", "end", "ref_low", "ref_high", "weight"]
MORE = ("end", "ref_low", "ref_high", "weight")


def encoded(column: pa.ChunkedArray | pa.Array) -> tuple[npt.NDArray[np.int32], list[Any]]:
    """A text column as codes (-1 for null) and the words they stand for."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    codes = column.indices
    if codes.null_count:
        codes = pc.fill_null(codes, -1)
    return codes.to_numpy(zero_copy_only=False).astype(np.int32, copy=False), column.dictionary.to_pylist()


def charted(table: pa.Table, name: str) -> bool:
    """Whether any row of this column holds anything."""
    return name in table.column_names and table[name].null_count < len(table)


def prepare(
    table: pa.Table, compiled: Compiled, lib: Measured, methods: dict[str, int] | None = None
) -> tuple[Rows, Ints, pa.Array]:
    """The rows of whole patients, where each patient starts, and their ids in that order.

    Rows no scale reads are left out, but for each patient's first, which says when the record begins.
    `methods` are the numbers that methods have had so far, and gets those that are new.
    """
    patient, ids = encoded(table["patient_id"])
    time = np.asarray(table["time"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy())
    code, measures = encoded(table["measure"])
    order = sorting(patient, ids, time)
    index = {name: m for m, name in enumerate(compiled.measures)}
    lookup = np.array([index.get(name, -1) for name in measures] or [-1], np.int32)
    if order is not None:
        patient, time, code = patient[order], time[order], code[order]
    measure = lookup[code]
    first = np.concatenate([[True], patient[1:] != patient[:-1]]) if len(patient) else np.zeros(0, bool)
    keep = measure >= 0
    kinds = np.array([*compiled.kinds, op.IRRELEVANT])
    if charted(table, "text"):
        text, words = encoded(table["text"])
        text = text if order is None else text[order]
        keep = keep & known_attribution(measure, text, words, kinds)
        measure = np.where(keep, measure, -1).astype(np.int32)
    keep |= first
    chosen = np.flatnonzero(keep) if not keep.all() else None
    if chosen is not None:
        patient, time, measure = patient[chosen], time[chosen], measure[chosen]
    places = chosen if order is None else (order if chosen is None else order[chosen])

    def taken(column: Any) -> Any:
        return column if places is None else column[places]

    length = len(patient)
    words_of: list[Any] = []
    text_of = np.full(length, -1, np.int32)
    if charted(table, "text"):
        codes, words_of = encoded(table["text"])
        text_of = taken(codes)
    value = (
        taken(np.asarray(table["value"].to_numpy(), np.float64))
        if charted(table, "value")
        else (np.full(length, np.nan))
    )
    low, high, text_code = values(value, measure, kinds[measure], text_of, words_of, compiled, lib)
    method = np.zeros(length, np.int32)
    if charted(table, "method"):
        codes, spelled = encoded(table["method"])
        known = {name: i for i, name in enumerate(compiled.methods)} if methods is None else methods
        for name in sorted(set(spelled) - set(known)):
            known[name] = len(known)
        method = np.array([*(known[name] for name in spelled), 0], np.int32)[taken(codes)]
    more, extra = extras(table, taken, length)
    rows = Rows(time, measure, low, high, text_code, method, more, *extra)
    starts = np.concatenate([np.flatnonzero(np.concatenate([[True], patient[1:] != patient[:-1]])), [length]])
    who = pa.array(ids, pa.string()).take(pa.array(patient[starts[:-1]]))
    return rows, starts.astype(np.int64), who


def sorting(patient: Any, ids: list[Any], time: Ints) -> Ints | None:
    """The order by patient id and time, None where the rows already stand in it."""
    rank = np.empty(len(ids), np.int32)
    rank[np.argsort(np.array(ids, dtype=object))] = np.arange(len(ids), dtype=np.int32)
    place = rank[patient]
    step = np.diff(place)
    if bool(np.all((step > 0) | ((step == 0) & (time[1:] >= time[:-1])))):
        return None
    return np.lexsort((time, place))


def known_attribution(measure: Any, text: Any, words: list[Any], kinds: Any) -> Any:
    """False for attributions that name no category (they change nothing)."""
    bad = [i for i, word in enumerate(words) if str(word).partition("=")[0] not in CATEGORIES]
    return ~((kinds[measure] == op.ATTRIBUTION) & (np.isin(text, bad) | (text < 0)))


def extras(table: pa.Table, taken: Any, length: int) -> tuple[Any, list[Any]]:
    """The few ends, limits and weights, and where each row's stand (0: it has none)."""
    given = [name for name in MORE if charted(table, name)]
    columns: list[Any] = [np.array([op.INF]), *(np.array([np.nan]) for _ in MORE[1:])]
    if not given:
        return np.zeros(length, np.int32), columns
    has = np.zeros(length, bool)
    for name in given:
        has |= taken(pc.is_valid(table[name]).to_numpy())
    where = np.flatnonzero(has)
    more = np.zeros(length, np.int32)
    more[where] = np.arange(1, len(where) + 1, dtype=np.int32)
    for i, name in enumerate(MORE):
        empty = op.INF if name == "end" else np.nan
        column = np.full(len(where), empty)
        if name == "end" and name in given:
            ends = table[name].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
            column = taken(np.asarray(pc.fill_null(ends, op.INF).to_numpy()))[where]
        elif name in given:
            column = taken(np.asarray(table[name].to_numpy(), np.float64))[where]
        columns[i] = np.concatenate([columns[i], column])
    return more, columns


def values(
    value: Floats, measure: Any, kind: Any, text: Any, words: list[Any], compiled: Compiled, lib: Measured
) -> tuple[Floats, Floats, Any]:
    """Each row's interval of possible values and the code of its text."""
    text_code = np.array([*(compiled.texts.get(word, op.NO_TEXT) for word in words), op.NO_TEXT], np.int32)[
        text
    ]
    low, high = value.copy(), value.copy()
    for sign, is_low in (("<", False), (">", True)):
        if sign in words:
            chosen = text == words.index(sign)
            # just outside the tolerance with which equal numbers are compared
            nudge = np.maximum(1e-8 * np.abs(value[chosen]), 1e-12)
            low[chosen] = value[chosen] + nudge if is_low else -np.inf
            high[chosen] = np.inf if is_low else value[chosen] - nudge
    odd = np.flatnonzero(np.isnan(value) | (text_code > op.NO_TEXT))
    if not len(odd):
        return low, high, text_code
    # rows that are not plain numbers: words, doses unknown, rows that could be anything, the clinician's word
    m, k, said = measure[odd], kind[odd], text[odd]
    spelled, last = np.full(len(odd), np.nan), np.full(len(odd), -1.0)
    for one in np.unique(m[m >= 0]):
        info = lib.measure(compiled.measures[one])
        if info.kind == "category":
            place = {word: float(i) for i, word in enumerate(info.words)}
            mine = m == one
            spelled[mine] = np.array([*(place.get(word, np.nan) for word in words), np.nan])[said[mine]]
            last[mine] = len(info.words) - 1.0
    code = text_code[odd]
    number = np.where(last >= 0, spelled, low[odd])
    push = (k == op.INFUSION) & (code == op.PUSH)
    running = (k == op.INFUSION) & np.isnan(value[odd]) & (code != op.UNUSABLE) & ~push
    unusable = (code == op.UNUSABLE) | ((k == op.READING) & np.isnan(number) & np.isnan(high[odd]))
    low[odd] = np.select([unusable, push, running], [np.where(last >= 0, 0.0, -np.inf), 1.0, op.TINY], number)
    high[odd] = np.select(
        [unusable, push, running],
        [np.where(last >= 0, last, np.inf), 1.0, np.inf],
        np.where(last >= 0, spelled, high[odd]),
    )
    code[unusable & ((k == op.READING) | (k == op.INFUSION))] = op.UNUSABLE
    death, attribution = k == op.DEATH, k == op.ATTRIBUTION
    if death.any():
        code[death] = np.array([*(compiled.fatal.get(word, 0) for word in words), 0], np.int32)[said[death]]
    if attribution.any():
        coded = np.array([*(attribution_code(word) for word in words), 0], np.int32)
        code[attribution] = coded[said[attribution]]
    text_code[odd] = code
    return low, high, text_code


def attribution_code(word: Any) -> int:
    """`hypotension=sepsis` as twice the category's place, plus one for `=crs`."""
    category, _, cause = str(word).partition("=")
    return CATEGORIES.index(category) * 2 + int(cause.strip() == "crs") if category in CATEGORIES else 0
