"""Columns as they come in: texts with codes, instants with a zone, numbers with a comparator.

Each reader is whole-column first; only the distinct texts that fail there are looked at one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.facts.columns import INSTANT

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

GOOD, ABSENT, NAIVE, BAD = 0, 1, 2, 3
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
COMPARED = re.compile(rf"^(<=|>=|<|>|≤|≥)\s*({NUMBER})$")
#: At most and at least are read as the strict signs: laboratories use either for the end of their range.
SIGNS = {"<": "<", "<=": "<", "≤": "<", ">": ">", ">=": ">", "≥": ">"}
DATED = re.compile(r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?)?$")


def flat(column: Any) -> pa.Array:
    """One array of a column, whatever its chunks."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def iso(array: pa.Array) -> pa.Array:
    """Times as ISO 8601, with Z where they are instants, with a fraction only where there is one."""
    zone = array.type.tz
    # a cast writes times five times as fast as strftime
    clock = array.cast(pa.timestamp("us", "UTC"), safe=False) if zone else array
    text = pc.replace_substring(clock.cast(pa.timestamp("us"), safe=False).cast(pa.string()), " ", "T")
    text = pc.replace_substring(text, ".000000", "")
    return pc.binary_join_element_wise(text, "Z", "") if zone else text


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds texts, in whichever of Arrow's layouts."""
    return any((pa.types.is_string(kind), pa.types.is_large_string(kind), pa.types.is_string_view(kind)))


@dataclass(frozen=True, slots=True)
class Coded:
    """A text column as small integers: `codes[i]` is -1 (nothing) or the place in `words`."""

    codes: Ints
    words: list[str]

    def array(self) -> pa.Array:
        """The texts again."""
        if not self.words:
            return pa.nulls(len(self.codes), pa.string())
        return pc.take(pa.array(self.words, pa.string()), self.places(), boundscheck=False)

    def encoded(self) -> pa.DictionaryArray:
        """The texts as an Arrow dictionary."""
        return pa.DictionaryArray.from_arrays(self.places(), pa.array(self.words, pa.string()))

    def places(self) -> pa.Array:
        absent = self.codes < 0
        return pa.array(self.codes.astype(np.int32), mask=absent if np.any(absent) else None)

    def take(self, places: Any) -> Coded:
        """Rows by place."""
        return Coded(self.codes[places], self.words)


def coded(column: Any, length: int) -> Coded:
    """Code a text column; blanks at the ends are dropped and an empty text is nothing."""
    if column is None or pa.types.is_null(column.type):
        return Coded(np.full(length, -1, np.int64), [])
    array = flat(column)
    if not pa.types.is_dictionary(array.type):
        if not pa.types.is_string(array.type):
            array = array.cast(pa.string())
        array = array.dictionary_encode()
    # An unused or repeated dictionary entry is harmless: equal texts are given one code below.
    places = _numbers(array.indices, -1)
    words: dict[str, int] = {}
    mapped = [
        -1 if not (word := "" if raw is None else str(raw).strip()) else words.setdefault(word, len(words))
        for raw in array.dictionary.to_pylist()
    ]
    if mapped != list(range(len(mapped))):
        places = np.append(np.array(mapped, np.int64), -1)[places]
    return Coded(places, list(words))


def _numbers(array: pa.Array, absent: int) -> Ints:
    if array.null_count:
        array = pc.fill_null(array, absent)
    whole: Ints = array.to_numpy(zero_copy_only=False).astype(np.int64)
    return whole


def instants(column: Any, length: int, timezone: str | None) -> tuple[Ints, Ints]:
    """Microseconds since 1970 UTC and, row for row, whether that is GOOD, ABSENT, NAIVE or BAD.

    `timezone` is where times without a zone were written; None refuses them. A clock time that happened twice
    (the hour put back) is its first, one that never happened the instant at which clocks jumped.
    """
    if column is None or pa.types.is_null(column.type):
        return np.zeros(length, np.int64), np.full(length, ABSENT)
    array = flat(column)
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.cast(kind.value_type)
        kind = array.type
    if pa.types.is_timestamp(kind) and kind.tz:
        return _micros(array), _status(array, GOOD)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if timezone is None:
            return np.zeros(length, np.int64), _status(array, NAIVE)
        return _micros(local(array, timezone)), _status(array, GOOD)
    if is_text(kind):
        return _written(array.cast(pa.string()), timezone)
    return np.zeros(length, np.int64), _status(array, BAD)


def local(array: pa.Array, timezone: str) -> pa.Array:
    """Clock times of one zone as instants."""
    wall = array.cast(pa.timestamp("us"), safe=False)
    return pc.assume_timezone(wall, timezone, ambiguous="earliest", nonexistent="latest")


def _status(array: pa.Array, otherwise: int) -> Ints:
    if array.null_count == 0:
        return np.full(len(array), otherwise)
    return np.where(array.is_null().to_numpy(zero_copy_only=False), ABSENT, otherwise)


def _micros(array: pa.Array) -> Ints:
    return _numbers(array.cast(INSTANT, safe=False).cast(pa.int64()), 0)


def _written(array: pa.Array, timezone: str | None) -> tuple[Ints, Ints]:
    try:
        return _micros(array.cast(INSTANT)), _status(array, GOOD)
    except pa.ArrowInvalid:
        pass

    def one(text: str) -> tuple[int, int]:
        try:
            moment = datetime.fromisoformat(text.replace(",", ".").replace("z", "Z"))
        except ValueError:
            return 0, BAD
        if len(text) < 10 or not DATED.match(text[:10]):
            return 0, BAD
        if moment.tzinfo is None:
            if timezone is None or not DATED.match(text):
                return 0, NAIVE
            return int(_micros(local(pa.array([moment]), timezone))[0]), GOOD
        past = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return (past.days * 86400 + past.seconds) * 1_000_000 + past.microseconds, GOOD

    found = one_by_one(array, one, (0, ABSENT))
    return found[0].astype(np.int64), found[1].astype(np.int64)


def one_by_one(array: pa.Array, read: Callable[[str], tuple[Any, ...]], absent: tuple[Any, ...]) -> list[Any]:
    """Columns of what `read` says of each distinct text."""
    texts = coded(array, len(array))
    answers = [*(read(word) for word in texts.words), absent]
    return [np.array(answer)[texts.codes] for answer in zip(*answers, strict=True)]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A number column: NaN where there is none, `sign` its comparator, `wrong` what is no number."""

    values: Floats
    wrong: Flags
    sign: Any = None


def numbers(column: Any, length: int) -> Numbers:
    """Read a number column; NaN is nothing, `<5` is 5 with the sign `<`, a decimal comma is no number."""
    fine = np.zeros(length, bool)
    if column is None or pa.types.is_null(column.type):
        return Numbers(np.full(length, np.nan), fine)
    array = flat(column)
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if is_text(array.type):
        try:
            array = array.cast(pa.string()).cast(pa.float64())
        except pa.ArrowInvalid:
            return _compared(array.cast(pa.string()))
    elif pa.types.is_boolean(array.type) or pa.types.is_temporal(array.type):
        return Numbers(np.full(length, np.nan), ~array.is_null().to_numpy(zero_copy_only=False))
    values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return Numbers(values.astype(np.float64, copy=False), fine)


def _compared(array: pa.Array) -> Numbers:
    plain = re.compile(rf"^(?:{NUMBER}|[+-]?(?:nan|inf(?:inity)?))$", re.IGNORECASE)

    def one(text: str) -> tuple[float, bool, str]:
        if plain.match(text):
            return float(text), False, ""
        if found := COMPARED.match(text):
            return float(found[2]), False, SIGNS[found[1]]
        return float("nan"), True, ""

    values, wrong, sign = one_by_one(array, one, (float("nan"), False, ""))
    return Numbers(values.astype(np.float64), wrong.astype(bool), sign)
