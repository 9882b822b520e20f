"""Columns of Arrow tables as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.grading.opcodes import INF

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def as_table(data: Any) -> pa.Table:
    """Anything Arrow can take as a table; text as plain strings, because views cannot be taken by place."""
    table = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else pa.table(data)
    fields = []
    for field in table.schema:
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            field = field.with_type(pa.list_(pa.string()))
        elif pa.types.is_string_view(field.type):
            field = field.with_type(pa.string())
        fields.append(field)
    schema = pa.schema(fields)
    return table if schema.equals(table.schema) else table.cast(schema)


def whole(column: Any) -> pa.Array:
    """One array of a column, whatever its chunks."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.unify_dictionaries().combine_chunks()


def empty(table: pa.Table, name: str) -> bool:
    """Whether a column is absent or null throughout."""
    return name not in table.column_names or table[name].null_count == len(table)


def encoded(column: Any) -> tuple[Ints, list[str]]:
    """A text column as codes (-1 for null) and the words they stand for."""
    column = whole(column)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    codes = pc.fill_null(column.indices, -1) if column.null_count else column.indices
    return codes.to_numpy(zero_copy_only=False).astype(np.int64), column.dictionary.to_pylist()


def texts(table: pa.Table, name: str) -> tuple[Ints, list[str]]:
    """A text column as codes, all -1 where it is empty."""
    return (np.full(len(table), -1), []) if empty(table, name) else encoded(table[name])


def instants(table: pa.Table, name: str) -> Ints:
    """A time column as microseconds, INF for null."""
    if empty(table, name):
        return np.full(len(table), INF)
    column = table[name].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.asarray((pc.fill_null(column, INF) if column.null_count else column).to_numpy(), np.int64)


def numbers(table: pa.Table, name: str) -> Floats:
    """A number column, NaN for null."""
    if empty(table, name):
        return np.full(len(table), np.nan)
    return np.asarray(table[name].to_numpy(), np.float64)
