"""Turns rows in any order into batches of whole patients, in ascending order, within bounded memory.

Doors describe their rows to DuckDB; it sorts by a patient's rank (an integer: text sorts ten times
slower) and spills to disk what does not fit. Names are put back after the sort.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.facts.columns import RAW

if TYPE_CHECKING:
    import duckdb

#: Rows asked of DuckDB at a time.
ROWS = 262_144
#: Texts that repeat; signed, as every reader of dictionaries expects.
WORDS = pa.dictionary(pa.int32(), pa.string())


@contextmanager
def database(work: Path | None, memory: str = "1000MB") -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of our own: UTC, little memory, spilling into `work` or a folder that is removed after."""
    import duckdb

    with tempfile.TemporaryDirectory(dir=work, prefix="tocsin-") as scratch:
        con = duckdb.connect()
        try:
            con.execute("set timezone = 'UTC'; set preserve_insertion_order = false")
            con.execute(f"set memory_limit = '{memory}'; set temp_directory = {quoted(scratch)}")
            con.execute("set enable_progress_bar = false")
            yield con
        finally:
            con.close()


def quoted(text: object) -> str:
    """A SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"


def named(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def exact(column: str) -> str:
    """SQL for a 32-bit float as the decimal that was written: seven significant digits.

    Widened as it is, 0.1 becomes 0.10000000149, which is above a limit of 0.1.
    """
    wide = f"{column}::double"
    digits = f"6 - floor(log10(abs(nullif({wide}, 0))))::int"
    return f"coalesce(round({wide}, {digits}), {wide})"


def number(column: str, kind: str) -> str:
    """SQL for a numeric column of DuckDB type `kind` as a double; what is not finite is null."""
    if kind == "FLOAT":
        said = exact(column)
    elif kind in ("VARCHAR", '"NULL"'):
        said = f"try_cast({column} as double)"
    else:
        said = f"{column}::double"
    return f"case when isfinite({said}) then {said} end" if kind in ("FLOAT", "DOUBLE", "VARCHAR") else said


def sign(column: str) -> str:
    """SQL for the comparator a written result begins with: `<`, `>` or null."""
    first = f"left(ltrim({column}), 1)"
    return f"case when {first} in ('<', '>') then {first} end"


def written(column: str) -> str:
    """SQL for the number in a written result such as `<0.1` or `1.4`; null where it is a sentence."""
    return f"try_cast(regexp_extract({column}, '^\\s*[<>]?=?\\s*(-?[0-9]+\\.?[0-9]*)\\.?\\s*$', 1) as double)"


def instant(column: str, kind: str, timezone: str) -> str:
    """SQL for a time of DuckDB type `kind`; one without a zone is wall-clock time in `timezone`."""
    if kind == "TIMESTAMP WITH TIME ZONE":
        return column
    if kind in ("VARCHAR", '"NULL"'):
        zoned = f"regexp_matches({column}, '(Z|[+-][0-9]{{2}}:?[0-9]{{2}})$')"
        naive = f"timezone({quoted(timezone)}, try_cast({column} as timestamp))"
        return f"case when {zoned} then try_cast({column} as timestamptz) else {naive} end"
    return f"timezone({quoted(timezone)}, {column}::timestamp)"


def died(at: str, timezone: str) -> str:
    """SQL for the instant of a death that may be known by its date alone.

    Midnight is how a date is written. Taken as it stands it would end the record before the last day, often
    the sickest; so the death is put at the end of that day in `timezone`.
    """
    midnight = f"timezone({quoted(timezone)}, {at})::time = time '00:00:00'"
    return f"case when {midnight} then {at} + interval 24 hour else {at} end"


def stream(con: duckdb.DuckDBPyConnection, sql: str, rows: int = ROWS) -> pa.RecordBatchReader:
    """Run a query and hand its result on batch by batch (the method's name changed with DuckDB 2)."""
    relation = con.sql(sql)
    if hasattr(relation, "to_arrow_reader"):
        return relation.to_arrow_reader(rows)
    return relation.fetch_arrow_reader(rows)


def ranked(con: duckdb.DuckDBPyConnection, ids: str) -> pa.Array:
    """Make the table `person(p, patient_id)` of all ids that `ids` selects; returns them by rank.

    Ranks follow the order of the text, byte by byte, as batches must.
    """
    con.execute(
        "create or replace temp table person as select (row_number() over (order by patient_id) - 1)::int "
        "as p, "
        f"patient_id from (select distinct patient_id::varchar as patient_id from ({ids})) where "
        "patient_id is not null"
    )
    reader = stream(con, "select patient_id from person order by p")
    return pa.chunked_array([batch.column(0) for batch in reader], pa.string()).combine_chunks()


def whole_patients(
    con: duckdb.DuckDBPyConnection,
    parts: Sequence[str],
    patients: pa.Array,
    words: Mapping[str, Iterable[str]] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Batches of raw facts from queries with the rank `p` in place of `patient_id`, sorted by it.

    Of the raw columns a query names those it has; instead of `source` it may give `file` and `row`,
    which are joined after the sort (a text of its own for every row would double the cost of it).
    `words` are all texts that can stand in a column, where the door knows them without another look.
    """
    if not parts:
        return
    union = " union all by name ".join(parts)
    names = {row[0] for row in con.execute(f"describe {union}").fetchall()}
    texts = [name for name in ("unit", "method", "file") if name in names]
    texts += [name for name in ("text",) if name in names and words and name in words]
    kinds = _words(con, union, texts, words or {})
    columns = ["p"]
    for name in (*RAW.names, "file", "row"):
        if name in names:
            columns.append(f"{named(name)}::{kinds[name]} as {named(name)}" if name in kinds else named(name))
    yield from _cut(stream(con, f"select {', '.join(columns)} from ({union}) order by p"), patients)


def _words(
    con: duckdb.DuckDBPyConnection, union: str, texts: Sequence[str], known: Mapping[str, Iterable[str]]
) -> dict[str, str]:
    """Types for columns of few texts: their rows then sort and travel as small integers."""
    words = {name: set(known[name]) for name in texts if name in known}
    asked = [name for name in texts if name not in known]
    if asked:
        listed = ", ".join(f"{name}::varchar" for name in asked)
        found = con.execute(f"select distinct {listed} from ({union})").fetchall()
        words |= {name: {row[place] for row in found} - {None} for place, name in enumerate(asked)}
    kinds = {}
    for name, each in words.items():
        if each and len(each) <= 10_000:
            con.execute(f"create type {name}_word as enum ({', '.join(map(quoted, sorted(each)))})")
            kinds[name] = f"{name}_word"
        else:
            kinds[name] = "varchar"
    return kinds


def _cut(reader: pa.RecordBatchReader, patients: pa.Array) -> Iterator[pa.RecordBatch]:
    """Cut sorted batches where the patient changes; nobody is in two of them."""
    held: list[pa.RecordBatch] = []
    for batch in reader:
        if batch.num_rows == 0:
            continue
        ranks = batch.column("p")
        first_of_last = pc.index(ranks, ranks[-1]).as_py()
        if first_of_last > 0:
            held.append(batch.slice(0, first_of_last))
        if held and (first_of_last > 0 or held[-1].column("p")[-1] != ranks[-1]):
            yield _raw(held, patients)
            held = []
        held.append(batch.slice(first_of_last))
    if held:
        yield _raw(held, patients)


def _raw(held: list[pa.RecordBatch], patients: pa.Array) -> pa.RecordBatch:
    """The columns of raw facts, patients named again; texts stay dictionaries where DuckDB made them so."""
    table = pa.Table.from_batches(held)
    columns: list[pa.Array] = []
    for field in RAW:
        if field.name == "patient_id":
            columns.append(_patients(table.column("p").combine_chunks(), patients))
        elif field.name == "source" and "row" in table.column_names:
            columns.append(_sources(table.column("file"), table.column("row")))
        elif field.name in table.column_names:
            column = table.column(field.name)
            column = column.cast(WORDS if pa.types.is_dictionary(column.type) else field.type)
            columns.append(column.combine_chunks())
        else:
            columns.append(pa.nulls(len(table), field.type))
    columns = [each.combine_chunks() if isinstance(each, pa.ChunkedArray) else each for each in columns]
    return pa.RecordBatch.from_arrays(columns, names=RAW.names)


def _patients(ranks: pa.Array, patients: pa.Array) -> pa.DictionaryArray:
    """Names for ranks; these are consecutive within a batch, so a slice of the names is the dictionary."""
    names = patients.slice(ranks[0].as_py(), ranks[-1].as_py() - ranks[0].as_py() + 1)
    return pa.DictionaryArray.from_arrays(pc.subtract(ranks, ranks[0]), names)


def _sources(files: pa.ChunkedArray, rows: pa.ChunkedArray) -> pa.ChunkedArray:
    """`clif_vitals.parquet:14`; without a row number (a CSV read in parallel) the file alone."""
    names = files.cast(pa.string())
    joined = pc.binary_join_element_wise(names, rows.cast(pa.string()), ":")
    return pc.coalesce(joined, names) if rows.null_count else joined


#: SQL for an age in years, whole by the calendar: `born` and `seen` are timestamps.
AGE = (
    "datesub('year', {born}, {seen}) + "
    "date_diff('day', {born} + to_years(datesub('year', {born}, {seen})::int), {seen}) / 365.25"
)


def age(born: str, seen: str) -> str:
    """SQL for the age in years at `seen`; whole on a birthday, so that age limits fall where they should."""
    return AGE.format(born=f"({born})::timestamp", seen=f"({seen})::timestamp")
