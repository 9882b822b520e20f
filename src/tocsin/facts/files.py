"""Writing the facts table: whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from tocsin.facts.columns import METADATA, SCHEMA, FactsError
from tocsin.facts.parse import iso

#: Rows of a row group, more where a patient has more.
GROUP = 1_000_000
#: Columns of few distinct texts, worth a dictionary in the file.
FEW = ["patient_id", "measure", "text", "unit", "method"]


def write_facts(batches: Iterable[pa.RecordBatch], out: str | os.PathLike[str]) -> int:
    """Write canonical facts (whole patients a batch) to .parquet, .csv or .jsonl; returns the number of rows.

    The file appears when it is complete: written beside itself and renamed. Parquet is zstd with whole
    patients in each row group and says so in its metadata, so that it is read again without a second look.
    Raises `FactsError` on another suffix.
    """
    path = Path(out)
    writers: dict[str, Callable[[Iterator[pa.RecordBatch], Any], int]] = {
        ".parquet": _parquet,
        ".csv": csv_lines,
        ".jsonl": _jsonl,
    }
    if path.suffix not in writers:
        raise FactsError(
            f"{path}: facts are written as {', '.join(writers)}\n  fix: give it one of these endings"
        )
    with replaced(path) as file:
        return writers[path.suffix](iter(batches), file)


#: What an operating system says when a disk, a quota or a limit on file sizes is full.
FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Name what could not be written when the disk fills up; raises `FactsError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise FactsError(
            f"{name}: cannot be written to its end: {error.strerror}\n"
            "  why: half an answer would look like a whole one\n"
            "  fix: free some space, or write elsewhere"
        ) from error


@contextmanager
def replaced(path: Path) -> Iterator[Any]:
    """A binary file that takes the place of `path` when all went well, and is gone when not."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise FactsError(
            f"{path}: cannot be written: {error.strerror}\n  fix: an existing, writable folder"
        ) from error
    try:
        with writing(str(path)), os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _parquet(batches: Iterator[pa.RecordBatch], file: Any) -> int:
    import pyarrow.parquet as pq

    rows = 0
    schema = SCHEMA.with_metadata(METADATA)
    with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=FEW) as writer:
        for table in _groups(batches):
            writer.write_table(table.cast(schema), row_group_size=max(table.num_rows, 1))
            rows += table.num_rows
    return rows


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if held and sum(part.num_rows for part in held) + batch.num_rows > GROUP:
            yield pa.Table.from_batches(held)
            held = []
        held.append(batch)
    if held:
        yield pa.Table.from_batches(held)


def _written(batch: pa.RecordBatch) -> pa.Table:
    columns = [batch.column(name) for name in SCHEMA.names]
    return pa.table(
        [iso(each) if pa.types.is_timestamp(each.type) else each for each in columns], names=SCHEMA.names
    )


def csv_lines(
    batches: Iterator[pa.RecordBatch], file: Any, columns: Sequence[str] = tuple(SCHEMA.names)
) -> int:
    """Write canonical facts as CSV to an open binary file, as they come; returns the number of rows."""
    import pyarrow.csv as csv

    rows = 0
    first = True
    for batch in batches:
        options = csv.WriteOptions(include_header=first, quoting_style="needed")
        csv.write_csv(_written(batch).select(columns), file, options)
        first = False
        rows += batch.num_rows
    if first:
        file.write(",".join(columns).encode() + b"\n")
    return rows


def _jsonl(batches: Iterator[pa.RecordBatch], file: Any) -> int:
    import orjson

    rows = 0
    for batch in batches:
        for fact in _written(batch).to_pylist():
            said = {name: value for name, value in fact.items() if value is not None}
            file.write(orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE))
        rows += batch.num_rows
    return rows
