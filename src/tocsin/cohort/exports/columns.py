"""Words into columns: instants as dates, ISO 8601 or study days, our words as those of the receiver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.export import Export, Field
from tocsin.definitions.export_words import ROWS, Word

INSTANT = pa.timestamp("us", tz="UTC")
ARROW = {
    "text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "date": pa.date32(),
    "datetime": INSTANT, "day": pa.int64(), "duration": pa.string(),
}  # fmt: skip
Codelists = Mapping[str, Mapping[str, str]]
#: Hours in a unit that a field may be written in.
HOURS_IN = {"h": 1.0, "d": 24.0}


def written(rows: pa.Table, fields: tuple[Field, ...], kind: str, export: Export, zone: str) -> pa.Table:
    """The columns of `fields` from rows whose columns are named by words; dates are those of `zone`."""
    words = ROWS[kind]
    columns = [_column(rows, field, words, export.codelists, zone) for field in fields]
    schema = pa.schema([(field.name, ARROW[field.type]) for field in fields])
    return pa.Table.from_arrays(columns, schema=schema)


def _column(
    rows: pa.Table, field: Field, words: Mapping[str, Word], codelists: Codelists, zone: str
) -> Any:
    arrow = ARROW[field.type]
    if field.word is None:
        return pa.array([field.value or None] * len(rows), arrow)
    column = rows[field.key]
    instant = "date" in words[field.word].types
    if instant:
        column = column.cast(pa.int64()).cast(INSTANT)
    if field.type == "day":
        return study_day(column, rows["zero"].cast(pa.int64()).cast(INSTANT), zone)
    if field.type == "date":
        return local_date(column, zone)
    if field.type == "duration":
        return pa.array([iso_duration(value) for value in column.to_pylist()], arrow)
    if instant and field.type == "text":
        return iso_local(column, zone)
    if field.codelist is not None:
        return translated(column, codelists[field.codelist])
    if field.type == "number" and field.unit in HOURS_IN and field.word != "age":
        return pc.divide(column.cast(pa.float64()), HOURS_IN[field.unit])
    return column.cast(arrow)


def local_date(column: Any, zone: str) -> Any:
    """The calendar date of instants in a time zone.

    >>> from datetime import datetime, UTC
    >>> late = pa.chunked_array([[datetime(2026, 1, 6, 2, tzinfo=UTC)]], INSTANT)
    >>> local_date(late, "UTC")[0], local_date(late, "America/Chicago")[0]
    (<pyarrow.Date32Scalar: datetime.date(2026, 1, 6)>, <pyarrow.Date32Scalar: datetime.date(2026, 1, 5)>)
    """
    return pc.local_timestamp(column.cast(pa.timestamp("us", tz=zone))).cast(pa.date32(), safe=False)


def iso_local(column: Any, zone: str) -> Any:
    """Instants as ISO 8601 to the second, with their offset (Z for UTC)."""
    local = column.cast(pa.timestamp("us", tz=zone))
    local = pc.floor_temporal(local, unit="second").cast(pa.timestamp("s", tz=zone))
    text = pc.strftime(local, format="%Y-%m-%dT%H:%M:%S%z")
    text = pc.replace_substring_regex(text, pattern=r"([+-]\d\d)(\d\d)$", replacement=r"\1:\2")
    return pc.replace_substring_regex(text, pattern=r"\+00:00$", replacement="Z")


def study_day(column: Any, zero: Any, zone: str) -> Any:
    """Days from the day of hour 0, which is day 1; the day before is day -1. There is no day 0."""
    apart = pc.subtract(
        local_date(column, zone).cast(pa.int32()).cast(pa.int64()),
        local_date(zero, zone).cast(pa.int32()).cast(pa.int64()),
    )
    return pc.if_else(pc.greater_equal(apart, 0), pc.add(apart, 1), apart)


def iso_duration(hours: float | None) -> str | None:
    """Hours as an ISO 8601 duration, to the second.

    >>> iso_duration(26.5), iso_duration(0.0), iso_duration(None)
    ('P1DT2H30M', 'PT0S', None)
    """
    if hours is None:
        return None
    left = round(hours * 3600)
    days, left = divmod(left, 86_400)
    clock = [(left // 3600, "H"), (left // 60 % 60, "M"), (left % 60, "S")]
    told = "".join(f"{number}{unit}" for number, unit in clock if number)
    if not days and not told:
        return "PT0S"
    return "P" + (f"{days}D" if days else "") + (f"T{told}" if told else "")


def translated(column: Any, codes: Mapping[str, str]) -> Any:
    """Our words as those of a code list; an empty text in the list leaves the cell empty."""
    column = column.cast(pa.string())
    place = pc.index_in(column, pa.array([*codes], pa.string()))
    known = pa.array([said or None for said in codes.values()], pa.string())
    lost = pc.and_(pc.is_valid(column), pc.is_null(place))
    if pc.any(lost).as_py():
        word = column.filter(lost)[0].as_py()
        raise ValueError(f"`{word}` is missing in a code list that was checked")  # export_words.py is wrong
    return pc.take(known, place)
