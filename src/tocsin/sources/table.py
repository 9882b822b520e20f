"""Facts in a file of rows: CSV, TSV, JSON lines, Parquet, Arrow; plain or gzip; told apart by content.

Each row keeps its number (data rows from 1), and a row that cannot even be split costs no other row.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.facts import FactsError
from tocsin.facts.columns import METADATA, REJECTS, named_columns
from tocsin.facts.parse import is_text
from tocsin.sources.lines import ShortLines

#: Bytes of a line past which it is no row (and memory would follow the file).
LONGEST_LINE = 8 << 20
#: What stands in its place in a CSV: with one column it is refused, and told apart by its text.
LONG_LINE = "(a line too long to be a row)"
#: Rows of a batch.
ROWS = 262_144
HEAD = 1 << 16
DELIMITERS = (",", "\t", ";", "|")
#: What other programs write for nothing. `None` is not among them: of an oxygen device it says room air.
NOTHING = ["", "NA", "NULL", "null"]
ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather")
CODED = ("patient_id", "measure", "text", "unit", "method")


@dataclass(slots=True)
class Form:
    """What a file is: csv, jsonl, parquet, arrow or stream; `packed` by gzip; `ours` if canonical facts."""

    kind: str
    packed: bool = False
    ours: bool = False
    delimiter: str = ","


@dataclass(slots=True)
class File:
    """One file being read; `name` is how messages call it, `rejects` are rows that could not be split."""

    path: Path
    name: str
    form: Form
    rejects: list[pa.Table] = field(default_factory=list)
    rows_read: int = 0
    ignored: set[str] = field(default_factory=set)

    def batches(self, only: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Raw rows in the file's order, with their number in the column `row`; `only` narrows the columns."""
        self.rejects, self.rows_read = [], 0
        readers = {"csv": self._csv, "jsonl": self._jsonl, "parquet": self._parquet}
        with self.guarded():
            for batch in readers.get(self.form.kind, self._arrow)(only):
                self.rows_read += batch.num_rows
                yield batch

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what libraries say of a broken file into what to do about it."""
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self.broken("the gzip ends before its end", "it was cut off; copy it again") from error
        except UnicodeDecodeError as error:
            raise self.broken("is not UTF-8", "save it again as UTF-8") from error
        except pa.ArrowInvalid as error:
            said = str(error)
            if "straddling" in said or "out of sync" in said:
                raise self.too_long() from error
            if "UTF8" in said or "UTF-8" in said:
                raise self.broken("is not UTF-8", "save it again as UTF-8") from error
            raise self.broken(
                f"cannot be read: {said.splitlines()[0]}", "copy it again, or export it again"
            ) from error
        except (pa.ArrowException, OSError) as error:
            raise self.broken(f"cannot be read: {str(error).splitlines()[0]}", "copy it again") from error

    def broken(self, what: str, fix: str) -> FactsError:
        """The error of a file that cannot be read to its end."""
        return FactsError(
            f"{self.name}: {what}\n  why: rows that cannot be read would count as not charted\n  fix: {fix}"
        )

    def too_long(self) -> FactsError:
        size = f"{LONGEST_LINE >> 20} MiB"
        return self.broken(
            f"has a line longer than {size}, near row {self.rows_read + 1}",
            "a row of facts is one short line; check line ends and quotes",
        )

    def open(self) -> BinaryIO:
        """The bytes, unpacked."""
        return gzip.open(self.path, "rb") if self.form.packed else self.path.open("rb")  # type: ignore[return-value]

    def reject(self, rows: Sequence[tuple[int, str]], what: str, why: str, fix: str) -> None:
        """Refuse lines by number; their text is cut to what a person can read."""
        self.rejects.append(
            pa.Table.from_pylist(
                [
                    {
                        "file": self.name,
                        "row": row,
                        "text": text[:200] or None,
                        "kind": "rejected",
                        "what": what,
                        "why": why,
                        "fix": fix,
                    }
                    for row, text in rows
                ],
                schema=REJECTS,
            )
        )

    def _csv(self, only: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        import pyarrow.csv as arrow_csv

        with self.open() as lines:
            header = _header(lines, self)
        found = named_columns(header, self.name)
        self.ignored.update(name for place, name in enumerate(header) if place not in found.values())
        names = {place: name for name, place in found.items()}
        columns = [names.get(place, f"{place}: {name}") for place, name in enumerate(header)]
        wanted = [name for name in columns if name in (only or found)]
        bad: list[tuple[int, str]] = []

        def skip(row: Any) -> str:
            # A row's physical number counts the header.
            bad.append(((row.number or 2) - 1, row.text))
            return "skip"

        with self.open() as lines:
            reader = arrow_csv.open_csv(
                ShortLines(lines, LONGEST_LINE, LONG_LINE.encode()),
                arrow_csv.ReadOptions(
                    use_threads=False, block_size=LONGEST_LINE, column_names=columns, skip_rows=1
                ),
                arrow_csv.ParseOptions(delimiter=self.form.delimiter, invalid_row_handler=skip),
                arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(columns, pa.string()),
                    include_columns=wanted,
                    strings_can_be_null=True,
                    null_values=NOTHING,
                ),
            )
            row, told = 1, 0
            for batch in reader:
                numbers, told = _numbered(row, batch.num_rows, bad, told)
                row = int(numbers[-1]) + 1 if len(numbers) else row
                yield from self._closed(batch.append_column("row", pa.array(numbers)))
        self.rows_read += len(bad)
        self._refuse_long([row for row, text in bad if text == LONG_LINE])
        if bad := [(row, text) for row, text in bad if text != LONG_LINE]:
            self.reject(
                bad,
                f"has another number of columns than the header ({len(header)})",
                "which value belongs to which column is not known",
                "quote texts that contain the delimiter, and close every quote",
            )

    def _refuse_long(self, rows: list[int]) -> None:
        if rows:
            self.reject(
                [(row, "") for row in rows],
                f"is a line longer than {LONGEST_LINE >> 20} MiB",
                "a row of facts is one short line; holding this one would take the memory of all others",
                "check line ends and quotes",
            )

    def _closed(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Refuse rows with a line break inside: a quote that is not closed swallows the rows after it."""
        broken = np.zeros(batch.num_rows, bool)
        for name in batch.schema.names:
            column = batch.column(name)
            if pa.types.is_string(column.type) and column.null_count < len(column):
                found = pc.match_substring(column, "\n")
                if pc.any(found).as_py():
                    broken |= pc.coalesce(found, False).to_numpy(zero_copy_only=False)
        if not np.any(broken):
            yield batch
            return
        for fact in batch.filter(pa.array(broken)).to_pylist():
            text = next(value for value in fact.values() if isinstance(value, str) and "\n" in value)
            lines = text.count("\n")
            self.reject(
                [(fact["row"], text)],
                f"has a quote that is not closed and swallows {lines} line{'s'[: lines - 1]} after it",
                "the lines up to the next quote cannot be told apart",
                "close the quote",
            )
        self.rows_read += int(broken.sum())
        yield batch.filter(pa.array(~broken))

    def _jsonl(self, only: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        import orjson

        seen: set[str] = set()
        facts: list[dict[str, Any]] = []
        bad: list[tuple[int, str]] = []
        long: list[int] = []
        row = 0
        with self.open() as lines:
            while line := lines.readline(LONGEST_LINE + 1):
                if len(line) > LONGEST_LINE:
                    row += 1
                    long.append(row)
                    while line and not line.endswith(b"\n"):
                        line = lines.readline(LONGEST_LINE)
                    continue
                if not line.strip():
                    continue
                row += 1
                try:
                    fact = orjson.loads(line)
                except orjson.JSONDecodeError:
                    fact = None
                if not isinstance(fact, dict):
                    bad.append((row, line.decode("utf-8", "replace").strip()))
                    continue
                seen.update(fact)
                facts.append({**fact, "row": row})
                if len(facts) >= ROWS:
                    yield self.columns(facts, seen, only)
                    facts = []
        self.rows_read += len(bad) + len(long)
        self._refuse_long(long)
        if bad:
            self.reject(
                bad,
                "is no JSON object",
                "what it says cannot be known",
                'one object a line: {"patient_id": "a", "time": "2024-03-01T14:30Z", ...}',
            )
        if facts:
            yield self.columns(facts, seen, only)

    def columns(
        self, facts: list[dict[str, Any]], seen: set[str], only: Sequence[str] | None
    ) -> pa.RecordBatch:
        """Rows as objects, with their numbers under `row`, as columns; `seen` is every key among them."""
        found = named_columns(["row", *sorted(seen - {"row"})], self.name)
        keys = {name: (["row", *sorted(seen - {"row"})])[place] for name, place in found.items()}
        self.ignored.update(seen - set(keys.values()))
        wanted = {name: key for name, key in keys.items() if only is None or name in (*only, "row")}
        return pa.RecordBatch.from_pydict(
            {name: _mixed([fact.get(key) for fact in facts]) for name, key in wanted.items()}
        )

    def _parquet(self, only: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        schema = pq.read_schema(self.path)
        names = self._wanted(schema.names, only)
        coded = [old for old, name in names.items() if name in CODED and is_text(schema.field(old).type)]
        with pq.ParquetFile(self.path, read_dictionary=coded) as file:
            yield from self._named(file.iter_batches(ROWS, columns=list(names)), names)

    def _arrow(self, only: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        with self.open() as lines:
            if self.form.kind == "stream":
                reader = pa.ipc.open_stream(lines)
                names = self._wanted(reader.schema.names, only)
                yield from self._named((batch.select(list(names)) for batch in reader), names)
                return
            file = pa.ipc.open_file(lines)
            names = self._wanted(file.schema.names, only)
            batches = (file.get_batch(place) for place in range(file.num_record_batches))
            yield from self._named((batch.select(list(names)) for batch in batches), names)

    def _wanted(self, names: Sequence[str], only: Sequence[str] | None) -> dict[str, str]:
        found = named_columns(names, self.name)
        self.ignored.update(name for place, name in enumerate(names) if place not in found.values())
        return {
            names[place]: name
            for name, place in found.items()
            if name not in ("row", "file") and (only is None or name in only)
        }

    def _named(self, batches: Iterator[pa.RecordBatch], names: dict[str, str]) -> Iterator[pa.RecordBatch]:
        row = 1
        for batch in batches:
            columns = [batch.column(name) for name in names]
            numbers = pa.array(np.arange(row, row + batch.num_rows))
            row += batch.num_rows
            yield pa.RecordBatch.from_arrays([*columns, numbers], names=[*names.values(), "row"])


def _numbered(row: int, length: int, bad: list[tuple[int, str]], told: int) -> tuple[Any, int]:
    """Numbers of the next `length` good rows from `row` on, stepping over bad ones after the first `told`."""
    numbers = np.arange(row, row + length)
    while told < len(bad) and length and bad[told][0] <= numbers[-1]:
        numbers[numbers >= bad[told][0]] += 1
        told += 1
    return numbers, told


def _mixed(values: list[Any]) -> pa.Array:
    """A column of JSON values: numbers if all are, else as texts."""
    try:
        if not any(isinstance(value, bool | list | dict) for value in values):
            return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        pass
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _header(lines: BinaryIO, file: File) -> list[str]:
    line = lines.readline(LONGEST_LINE + 1)
    if len(line) > LONGEST_LINE:
        raise file.too_long()
    text = line.decode("utf-8-sig").rstrip("\r\n")
    file.form.delimiter = max(DELIMITERS, key=text.count)
    try:
        return [name.strip() for name in next(csv.reader([text], delimiter=file.form.delimiter))]
    except csv.Error:
        raise file.broken(
            "has a first line with a name longer than 131,072 characters",
            "the first line names the columns; check line ends and quotes",
        ) from None


def sniff(path: Path, name: str) -> File:
    """Look at the first bytes and say what the file is; raises `FactsError` on an empty or unreadable one."""
    file = File(path, name, Form("csv"))
    with file.guarded():
        with path.open("rb") as plain:
            head = plain.read(HEAD)
        if head.startswith(b"\x1f\x8b"):
            file.form.packed = True
            with gzip.open(path) as unpacked:
                head = unpacked.read(HEAD)
    if not head.strip():
        raise FactsError(
            f"{name}: is empty\n  why: that nothing is there does not say that nothing happened\n"
            "  fix: check the export"
        )
    if head.startswith(b"PAR1"):
        file.form.kind = "parquet"
        with file.guarded():
            file.form.ours = _ours(path)
    elif head.startswith(b"ARROW1"):
        file.form.kind = "arrow"
    elif head.startswith(b"\xff\xff\xff\xff"):
        file.form.kind = "stream"
    elif path.suffix == ".parquet" or name.endswith(".parquet"):
        raise file.broken("is no Parquet, though its name says so", "copy it again, or export it again")
    elif b"\x00" in head or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise file.broken("is not UTF-8 text", "save it again as UTF-8")
    elif head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        file.form.kind = "jsonl"
    elif head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        raise file.broken("is one JSON list", "write one object a line (JSON lines)")
    return file


def _ours(path: Path) -> bool:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path).metadata or {}
    return all(metadata.get(key) == value for key, value in METADATA.items())


def files(path: Path) -> list[Path]:
    """The fact files of a path: itself, or those of a folder by name."""
    if not path.is_dir():
        return [path]
    return sorted(each for each in path.iterdir() if each.name.lower().removesuffix(".gz").endswith(ENDINGS))


def in_order(file: File) -> bool:
    """Whether patients stand in ascending order, each in one place: then the file streams as it is."""
    last = ""
    probe = File(file.path, file.name, file.form)
    for batch in probe.batches(only=("patient_id",)):
        column = batch.column("patient_id")
        runs = pc.run_end_encode(column.cast(pa.string())).values if len(column) else column
        names = [name.strip() for name in runs.to_pylist() if name and name.strip()]
        for name in names:
            if name.encode() < last.encode():
                return False
            last = name
    return True
