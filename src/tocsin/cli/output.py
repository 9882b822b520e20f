"""Shows and writes tables: a readable table on a terminal, JSON lines on a pipe, a whole file or none."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import IO, Any

import click
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cli.lines import json_lines
from tocsin.definitions.schema import TocsinError
from tocsin.facts.files import replaced, writing
from tocsin.facts.parse import iso

SUFFIXES = (".csv", ".parquet", ".jsonl")


def check_suffix(path: Path, allowed: Sequence[str] = SUFFIXES) -> None:
    """Refuse an output format we do not write, before any work is done."""
    if path.suffix not in allowed:
        raise click.UsageError(f"{path}: cannot write `{path.suffix}`; one of {', '.join(allowed)}")
    if not path.parent.is_dir():
        raise click.UsageError(f"{path}: the folder {path.parent} does not exist")


def write_file(tables: Iterable[pa.Table], path: Path) -> int:
    """Write the tables, all of one schema, to `path`, format by suffix; returns the rows written."""
    with replaced(path) as sink:
        if path.suffix == ".parquet":
            return _write_parquet(tables, sink)
        return _write_csv(tables, sink) if path.suffix == ".csv" else _write_jsonl(tables, sink)


def _write_parquet(tables: Iterable[pa.Table], sink: IO[bytes]) -> int:
    import pyarrow.parquet as pq

    tables = iter(tables)
    first = next(tables, None)
    if first is None:
        raise TocsinError("there is nothing to write")
    rows = 0
    with pq.ParquetWriter(sink, first.schema, compression="zstd") as writer:
        for table in chain([first], tables):
            writer.write_table(table)
            rows += table.num_rows
    return rows


def _write_csv(tables: Iterable[pa.Table], sink: IO[bytes]) -> int:
    import pyarrow.csv as pa_csv

    rows = 0
    for table in tables:
        options = pa_csv.WriteOptions(include_header=rows == 0, quoting_style="needed")
        pa_csv.write_csv(_flat(table), sink, options)
        rows += table.num_rows
    return rows


def _write_jsonl(tables: Iterable[pa.Table], sink: IO[bytes]) -> int:
    rows = 0
    for table in tables:
        sink.writelines(json_lines(table))
        rows += table.num_rows
    return rows


def _flat(table: pa.Table) -> pa.Table:
    """The table as CSV can hold it: lists joined by `;`, times ISO 8601 with Z."""
    columns = []
    for column, kind in zip(table.columns, table.schema.types, strict=True):
        if pa.types.is_list(kind):
            column = pc.binary_join(column, ";")
        elif pa.types.is_timestamp(kind):
            column = iso(column)
        columns.append(column)
    return pa.table(columns, names=table.schema.names)


def to_pipe(tables: Iterable[pa.Table]) -> int:
    """Write JSON lines to standard output as they come."""
    with writing("standard output"):
        rows = _write_jsonl(tables, sys.stdout.buffer)
        sys.stdout.flush()
    return rows


def is_terminal() -> bool:
    """Whether a person is reading standard output."""
    return sys.stdout.isatty()


def clock(moment: datetime | None, missing: str = "") -> str:
    """A time as people read it, UTC.

    >>> clock(datetime(2026, 1, 2, 3, 4))
    '2026-01-02 03:04'
    """
    return missing if moment is None else moment.strftime("%Y-%m-%d %H:%M")


def show(headings: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", note: str = "") -> None:
    """Print a table for a person."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, caption=note or None, box=SIMPLE)
    table.title_justify = table.caption_justify = "left"
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if is_terminal() else 140).print(table)
