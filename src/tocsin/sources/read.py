"""The front door: recognise what a path holds and hand on canonical facts, patient by patient.

A door (`clif`, `meds`, `omop`, `fhir`) knows its own codes and times; a file of rows goes through `table`.
Memory does not grow with the input: what is not in order is sorted on disk by DuckDB.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library, library
from tocsin.facts import (
    FactsError,
    canonical,
    check_units,
    message,
    read_lot,
    read_rows,
    settle,
    settle_lot,
    together,
)
from tocsin.facts.columns import READ, REJECTS, SCHEMA, Canonical
from tocsin.sources.sites import Met
from tocsin.sources.table import ENDINGS, File, files, in_order, sniff
from tocsin.sources.tally import Tally

DOORS = ("clif", "meds", "omop", "fhir")
#: Rows taken at once in memory; a file with more streams, or is sorted on disk.
AT_ONCE = 1_000_000
#: Fewest rows of a batch handed on, unless there are no more.
BATCH = 250_000
#: Columns handed on as dictionaries when asked for.
ENCODED = ["patient_id", "measure", "text", "unit", "method"]


@dataclass
class Source:
    """Something being read. `rejects, unused, rows_read, notes` are complete when the last batch is out.

    `sites` names, where several folders were given, the one that each path is from.
    """

    kind: str
    lib: Library
    timezone: str = "UTC"
    units: Mapping[str, str] = field(default_factory=dict)
    codes: Path | None = None
    work: Path | None = None
    rejects: list[pa.Table] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    paths: Sequence[tuple[str, Any]] = ()
    sites: Sequence[str] = ()
    rows: int = 0

    @property
    def unused(self) -> Counter[tuple[str, str]]:
        """Rows by (table or system, code) that nothing here understands."""
        return self.tally.unused

    @property
    def rows_read(self) -> int:
        """Rows looked at, whatever became of them."""
        return self.rows + self.tally.rows_read

    @property
    def notes(self) -> list[str]:
        """What the summary should say, such as the time zone assumed."""
        return self.tally.notes

    def batches(
        self, columns: Sequence[str] | None = None, encoded: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """Canonical facts: whole patients a batch, patients in ascending order.

        `columns` narrows them (patient_id first, if you need to tell patients apart); `encoded` hands texts
        of few words on as Arrow dictionaries where that spares work (facts Parquet).
        """
        self.rejects.clear()
        self.tally, self.rows = Tally(), 0
        ours = [file for kind, file in self.paths if kind == "facts-parquet"]
        if len(self.paths) == 1 and ours:
            yield from self._as_written(ours[0], columns, encoded)
            return
        for batch in self._checked():
            yield batch if columns is None else batch.select(list(columns))

    @property
    def may_correct(self) -> bool:
        """Whether a row may replace another; False only where a facts file's own statistics rule it out."""
        if len(self.paths) != 1 or self.paths[0][0] != "facts-parquet":
            return True
        import pyarrow.parquet as pq

        file = self.paths[0][1]
        with file.guarded(), pq.ParquetFile(file.path) as reader:
            place = reader.schema_arrow.get_field_index("replaces")
            groups = (reader.metadata.row_group(g) for g in range(reader.num_row_groups))
            told = ((group.num_rows, group.column(place).statistics) for group in groups)
            return place >= 0 and any(
                known is None or not known.has_null_count or known.null_count < rows for rows, known in told
            )

    def table(self) -> pa.Table:
        """All facts at once."""
        batches = list(self.batches())
        return pa.Table.from_batches(batches, batches[0].schema if batches else SCHEMA)

    def _as_written(
        self, file: File, columns: Sequence[str] | None, encoded: bool
    ) -> Iterator[pa.RecordBatch]:
        """Facts we wrote ourselves: row group by row group, without a second look."""
        import pyarrow.parquet as pq

        last: str | None = None
        with (
            file.guarded(),
            pq.ParquetFile(file.path, read_dictionary=ENCODED if encoded else None) as reader,
        ):
            for group in range(reader.num_row_groups):
                part = reader.read_row_group(group, columns=list(columns) if columns else None)
                for batch in part.combine_chunks().to_batches():
                    self.rows += batch.num_rows
                    if "patient_id" in batch.schema.names:
                        last = _ascending(batch, last, file.name)
                    yield batch

    def _checked(self) -> Iterator[pa.RecordBatch]:
        if len(self.paths) == 1 and self.paths[0][0] in DOORS:
            last: str | None = None
            for lot, kept in self._door(*self.paths[0], read_lot):
                for settled in self._done(settle_lot(lot, kept, lib=self.lib)):
                    last = _ascending(settled, last, str(self.paths[0][1]))
                    yield settled
            return
        parts = self._read()
        held: list[pa.Table] = []
        for part in parts:
            held.append(part)
            if sum(each.num_rows for each in held) > AT_ONCE:
                break
        else:
            yield from self._settled(held)
            return
        rest = _chain(held, parts)
        yield from self._streamed(rest) if self._in_order() else self._sorted(rest)

    def _in_order(self) -> bool:
        if len(self.paths) > 1 or self.paths[0][0] in DOORS:
            return False
        return in_order(self.paths[0][1])

    def _read(self) -> Iterator[pa.Table]:
        """Every row of every path, read but not settled."""
        met = Met()
        for place, (kind, file) in enumerate(self.paths):
            site = self.sites[place] if self.sites else None
            if kind in DOORS:
                for (rows,) in self._door(kind, file, read_rows):
                    met.add(site, rows)
                    yield rows
                continue
            before = self.rows
            for batch in file.batches():
                self.rows = before + file.rows_read
                rows, refused = read_rows(batch, lib=self.lib, source=file.name, units=self.units)
                self._refuse(refused)
                met.add(site, rows)
                yield rows
            self.rows = before + file.rows_read
            self.rejects += file.rejects
            if file.ignored:
                self.notes.append(f"{file.name}: columns not used: {', '.join(sorted(file.ignored))}")
        self.tally.notes += met.notes()

    def _door(self, kind: str, path: Path, read: Callable[..., Any]) -> Iterator[list[Any]]:
        """What `read` (`read_rows` or `read_lot`) makes of each batch, but for the rejects."""
        door = import_module(f"tocsin.sources.{kind}")
        raw = door.raw_batches(
            path, lib=self.lib, tally=self.tally, timezone=self.timezone, codes=self.codes, work=self.work
        )
        for batch in raw:
            *rows, refused = read(
                batch,
                lib=self.lib,
                source=path.name,
                timezone=self.timezone,
                units=self.units,
                first_row=None,
            )
            self._refuse(refused)
            yield rows
        if self.tally.rejects:
            self._refuse(
                pa.Table.from_pylist(
                    [
                        {"kind": "rejected", "what": "cannot be read", **reject}
                        for reject in self.tally.rejects
                    ],
                    REJECTS,
                )
            )

    def _refuse(self, rejects: pa.Table) -> None:
        if rejects.num_rows:
            self.rejects.append(rejects)

    def _settled(self, parts: list[pa.Table]) -> Iterator[pa.RecordBatch]:
        yield from self._done(settle(together(parts) if len(parts) != 1 else parts[0], lib=self.lib))

    def _done(self, done: Canonical) -> Iterator[pa.RecordBatch]:
        self._refuse(done.rejects)
        if done.table.num_rows:
            yield from done.table.combine_chunks().to_batches()

    def _streamed(self, parts: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        """Rows already grouped by patient: settle them as patients become complete."""
        held: list[pa.Table] = []
        for part in parts:
            if not part.num_rows:
                continue
            patients = part.column("patient_id").cast(pa.string())
            first = pc.index(patients, patients[-1]).as_py()
            ready = sum(each.num_rows for each in held) + first
            whole = [*held, part.slice(0, first)] if first else held
            if first == 0 and held and held[-1].column("patient_id")[-1].as_py() == patients[0].as_py():
                held.append(part)
                continue
            if ready < BATCH and first:
                held.append(part)
                continue
            if whole:
                yield from self._settled(whole)
            held = [part.slice(first)]
        if held:
            yield from self._settled(held)

    def _sorted(self, parts: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        """Rows in any order: put on disk, sorted by patient and time, and streamed from there."""
        from tocsin.sources.ordering import database, ranked, stream

        with database(self.work) as con:
            con.register("incoming", READ.empty_table())
            con.execute("create table facts as select * from incoming")
            for part in parts:
                con.register("incoming", together([part]))
                con.execute("insert into facts select * from incoming")
            con.unregister("incoming")
            ranked(con, "select patient_id from facts")
            names = ", ".join(f'facts."{name}"' for name in READ.names)
            query = f"select {names} from facts join person using (patient_id) order by p, time"
            yield from self._streamed(pa.table(batch).cast(READ) for batch in stream(con, query))


def _chain(held: list[pa.Table], rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    while held:
        yield held.pop(0)
    yield from rest


def _ascending(batch: pa.RecordBatch, last: str | None, name: str) -> str | None:
    """The last patient of a batch; refuses a stream that comes back to an earlier one."""
    if not batch.num_rows:
        return last
    first = batch.column("patient_id")[0].as_py()
    if last is not None and first.encode() <= last.encode():
        raise FactsError(
            f"{name}: patient {first} comes after {last}: rows of one patient are not in one place\n"
            "  why: a patient cut in two would be graded twice, each time on half the facts\n"
            "  fix: write the file again with `tocsin facts`"
        )
    result: str = batch.column("patient_id")[-1].as_py()
    return result


def open_source(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    lib: Library | None = None,
    timezone: str = "UTC",
    units: Mapping[str, str] | None = None,
    codes: Path | None = None,
    work: Path | None = None,
) -> Source:
    """Recognise a file, a folder, `-` (standard input) or several of them, which are then read as one.

    Parameters
    ----------
    timezone : where OMOP and MEDS clock times were written; other formats carry a zone, and a row without
    is refused. units    : measure to the unit of its rows that have none. codes    : a site's own codes
    (TOML), for the doors. work     : where to put what does not fit in memory; a temporary folder where
    None.

    Raises `FactsError` on what is not there, empty, broken or not recognised.
    """
    lib = lib or library()
    check_units(units or {}, lib)
    many = [path] if isinstance(path, str | os.PathLike) else list(path)
    found = [(os.fspath(each), one) for each in many for one in _recognised(each, work)]
    paths = [one for _, one in found]
    kinds = list(dict.fromkeys(kind for kind, _ in paths))
    # files beside each other are parts of one record; folders may be hospitals that number alone
    sites = [name for name, _ in found] if sum(Path(each).is_dir() for each in many) > 1 else []
    return Source("+".join(kinds), lib, timezone, units or {}, codes, work, paths=paths, sites=sites)


def read(
    source: Any,
    *,
    lib: Library | None = None,
    timezone: str = "UTC",
    units: Mapping[str, str] | None = None,
    codes: Path | None = None,
    rejects: list[pa.Table] | None = None,
) -> pa.Table:
    """Canonical facts of a path, or of a table in memory (pyarrow, Polars, pandas, a DuckDB relation).

    Rows that cannot be used are appended to `rejects`; without such a list a warning says how many and
    names the first.
    """
    lib = lib or library()
    if isinstance(source, str | os.PathLike) or (
        isinstance(source, Sequence) and not isinstance(source, Mapping)
    ):
        opened = open_source(source, lib=lib, timezone=timezone, units=units, codes=codes)
        facts, refused = opened.table(), opened.rejects
    else:
        done = canonical(source, lib=lib, source="table", units=units)
        facts, refused = done.table, [done.rejects]
    if rejects is not None:
        rejects += [part for part in refused if part.num_rows]
    elif count := sum(part.num_rows for part in refused):
        first = next(part for part in refused if part.num_rows).slice(0, 1).to_pylist()[0]
        warnings.warn(f"{count:,} rows were not taken as written; the first: {message(first)}", stacklevel=2)
    return facts


def _recognised(path: str | os.PathLike[str], work: Path | None) -> list[tuple[str, Any]]:
    """(kind, what to read) of one path."""
    name = os.fspath(path)
    if name == "-":
        return [_sniffed(_spooled(work), "standard input")]
    place = Path(name)
    if not place.exists():
        raise FactsError(f"{name}: no such file or folder\n  fix: check the path; `-` is standard input")
    for kind in DOORS:
        if import_module(f"tocsin.sources.{kind}").recognises(place):
            return [(kind, place)]
    found = files(place)
    if not found:
        raise FactsError(
            f"{name}: holds nothing that is recognised\n"
            "  why: an empty answer would look like healthy patients\n"
            f"  fix: a folder of CLIF, MEDS, OMOP or FHIR, or of facts ({', '.join(ENDINGS)})"
        )
    return [_sniffed(file, file.name) for file in found]


def _sniffed(path: Path, name: str) -> tuple[str, Any]:
    for kind in DOORS if name == "standard input" else ():
        if import_module(f"tocsin.sources.{kind}").recognises(path):
            return kind, path
    file = sniff(path, name)
    return ("facts-parquet" if file.form.ours else file.form.kind), file


def _spooled(work: Path | None) -> Path:
    """Standard input as a file that goes when we do: Parquet is read from its end."""
    folder = tempfile.mkdtemp(dir=work, prefix="tocsin-")
    import atexit

    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path
