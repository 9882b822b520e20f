"""Tables for others: CSV and Parquet side by side, in a folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tocsin.definitions.schema import TocsinError
from tocsin.facts.files import writing
from tocsin.facts.parse import iso

#: What makes a spreadsheet read a text as a formula, where a cell begins with it.
FORMULA = "=+-@\t\r\n"


def escaped(column: Any) -> Any:
    """Texts that a spreadsheet would run get a leading apostrophe.

    >>> escaped(pa.array(["=1+1", "plain", None])).to_pylist()
    ["'=1+1", 'plain', None]
    """
    return pc.replace_substring_regex(column, pattern=r"\A([=+\-@\t\r\n])", replacement=r"'\1")


def for_csv(table: pa.Table) -> pa.Table:
    """A table as CSV holds it: instants in ISO 8601 with Z, texts escaped, numbers as they are."""
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            column = iso(column)
        elif pa.types.is_string(column.type):
            column = escaped(column)
        columns.append(column)
    return pa.table(columns, names=table.column_names)


def write_csv(table: pa.Table, path: Path) -> None:
    """One table as CSV, as `for_csv` makes it."""
    pa_csv.write_csv(for_csv(table), path, pa_csv.WriteOptions(quoting_style="needed"))


def write_both(batches: Iterable[pa.Table], schema: pa.Schema, folder: Path, name: str) -> int:
    """Write `name.csv` and `name.parquet`; returns the rows. An empty table is its header."""
    rows = 0
    options = pa_csv.WriteOptions(include_header=True, quoting_style="needed")
    head = for_csv(schema.empty_table()).schema
    with (
        writing(name),
        pa_csv.CSVWriter(folder / f"{name}.csv", head, write_options=options) as lines,
        pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd") as columns,
    ):
        for table in batches:
            if table.num_rows:
                lines.write_table(for_csv(table))
                columns.write_table(table)
            rows += table.num_rows
    return rows


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write into, which takes its place when all went well.

    What lies there is replaced; whether it may be is for the caller to say before.
    """
    folder = Path(folder)
    if not folder.parent.is_dir():
        raise TocsinError(f"{folder}: no folder {folder.parent}\n  fix: mkdir -p {folder.parent}")
    try:
        draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise TocsinError(
            f"{folder}: cannot be written: {error.strerror}\n  fix: an existing, writable folder"
        ) from error
    old = draft.with_name(f"{draft.name}.old")
    try:
        yield draft
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(draft, 0o777 & ~umask)
        if folder.exists():
            os.rename(folder, old)
        try:
            os.rename(draft, folder)
        except BaseException:
            if old.exists():
                os.rename(old, folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    found = sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()
