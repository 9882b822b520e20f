"""A table as JSON lines, column by column: each distinct value is written out once, then looked up."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.facts.parse import iso

#: Rows made text at once.
AT_ONCE = 50_000


def json_lines(table: pa.Table) -> Iterator[bytes]:
    """JSON lines, many at a time; times ISO 8601 with Z, lists as lists, null as null.

    >>> b"".join(json_lines(pa.table({"a": [1, None], "b": [["x"], []]})))
    b'{"a":1,"b":["x"]}\\n{"a":null,"b":[]}\\n'
    """
    for batch in table.to_batches(max_chunksize=AT_ONCE):
        parts: list[pa.Array | str] = []
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            key = orjson.dumps(name).decode()
            parts += [f"{',' if parts else '{'}{key}:", _written(column)]
        if batch.num_rows and parts:
            lines = pc.binary_join_element_wise(*parts, "}\n", "")
            yield "".join(lines.to_pylist()).encode()


def _written(column: pa.Array) -> pa.Array:
    """Every value of a column as JSON text."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        text = pc.binary_join_element_wise('"', iso(column), '"', "")
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        text = column.cast(pa.string())
    elif pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        # the unit separator stands in no id; an empty list and a list of one empty text would look alike
        joined = pc.binary_join(column, "\x1f")
        full = pc.if_else(pc.equal(pc.list_value_length(column), 0), None, joined).dictionary_encode()
        text = _looked_up(full, [word.split("\x1f") for word in full.dictionary.to_pylist()])
        text = pc.if_else(pc.equal(pc.list_value_length(column), 0), "[]", text)
    elif pa.types.is_string(kind):
        coded = column.dictionary_encode()
        text = _looked_up(coded, coded.dictionary.to_pylist())
    else:
        text = pa.array([_json(value) for value in column.to_pylist()], pa.string())
    return pc.fill_null(text, "null")


def _looked_up(coded: pa.DictionaryArray, values: list[object]) -> pa.Array:
    return pa.array([_json(value) for value in values], pa.string()).take(coded.indices)


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z).decode()
