"""A facts table where it lies: found in its database, checked, graded there, the answer written beside it.

The answer is collected in a temporary table and becomes a table of its own in one transaction at the end, so
that who stops or fails half-way leaves the database as it was.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ibis
import ibis.expr.datatypes as dt
import pyarrow as pa

from tocsin.definitions.load import Library
from tocsin.definitions.schema import Scale, TocsinError
from tocsin.facts.columns import SCHEMA as FACTS
from tocsin.grading import sql
from tocsin.grading.sql_spans import FOREVER, Table

#: The answer of SQL: as `intervals.SCHEMA`, without the reasons.
SCHEMA = pa.schema(
    [
        *sql.SCHEMA.set(4, pa.field("grade", pa.int8())).set(5, pa.field("up_to", pa.int8())),
        ("definition", pa.string()),
    ]
)
REQUIRED = ("patient_id", "time", "measure", "value", "text", "unit")
#: A part of a table's name: quoted as SQL quotes it, or plain.
PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')
#: How each engine makes an instant of microseconds since 1970, exactly (PostgreSQL: until the year 2255).
INSTANT = {
    "duckdb": "make_timestamptz({})",
    "postgres": "(timestamptz 'epoch' + ({0} / 1000000) * interval '1 second'"
    " + ({0} % 1000000) * interval '1 microsecond')",
}


def named(table: str) -> tuple[str, ...]:
    """The parts of a table's name, as written: `facts`, `ward.facts`, `"My Ward"."facts"`.

    >>> named('ward.facts'), named('"a.b""c".facts')
    (('ward', 'facts'), ('a.b"c', 'facts'))
    """
    parts, place = [], 0
    while match := PART.match(table, place):
        parts.append(match[1].replace('""', '"') if match[1] else match[2].strip())
        place = match.end()
        if place == len(table) and len(parts) <= 2 and all(parts):
            return tuple(parts)
        if not table.startswith(".", place):
            break
        place += 1
    raise TocsinError(
        f"`{table}` is no name of a table\n  fix: TABLE or SCHEMA.TABLE; a name with a dot in double quotes"
    )


def quoted(parts: Sequence[str]) -> str:
    """A name as SQL, whatever it holds."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def opened(connection: str, write: bool = False) -> Iterator[Any]:
    """The Ibis backend of `duckdb:///FILE` or `postgresql://...`, closed at the end.

    Raises
    ------
    TocsinError : another kind of URL, a file that is not there, a server that refuses; no password is shown.
    """
    url = urlsplit(connection)
    if url.scheme == "duckdb":
        path = Path(connection.removeprefix("duckdb://").removeprefix("/"))
        if not path.is_file():
            raise TocsinError(
                f"{path}: no such DuckDB file\n"
                "  fix: duckdb:///relative/file.duckdb or duckdb:////absolute/file.duckdb"
            )
        con = _connected(f"{path}", lambda: ibis.duckdb.connect(str(path), read_only=not write))
    elif url.scheme in ("postgresql", "postgres"):
        place = f"{url.scheme}://{url.hostname or ''}{url.path}"
        con = _connected(place, lambda: ibis.connect(connection))
    else:
        raise TocsinError(
            f"--connection `{url.scheme or connection}`: no engine of this name has been tried\n"
            "  why: an engine counts as supported only once its answers have been compared\n"
            "  fix: duckdb:///FILE or postgresql://USER@HOST/DATABASE; Spark is --engine spark"
        )
    try:
        yield con
    except RuntimeError as error:
        # what DuckDB makes of Ctrl-C
        if "interrupted" in str(error).lower():
            raise KeyboardInterrupt from error
        raise
    finally:
        with suppress(Exception):
            con.disconnect()


def _connected(place: str, connect: Any) -> Any:
    try:
        return connect()
    except ImportError as error:
        raise TocsinError(
            f"{place}: {error}\n  fix: pip install 'tocsin[sql,postgres]'"
        ) from None
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TocsinError(
            f"{place}: cannot be opened: {said}\n  fix: check the URL, and who may read it"
        ) from None


def facts_of(con: Any, table: str, lib: Library, patients: Sequence[str] = ()) -> Table:
    """The facts of this name, checked to be canonical; columns that may be left out come as null.

    Raises
    ------
    TocsinError : there is no such table, a column is missing, a time has no zone, a measure is not known or a
    value is not in its measure's unit.
    """
    *schema, name = named(table)
    try:
        facts = con.table(name, database=schema[0] if schema else None)
    except Exception as error:
        raise TocsinError(
            f"there is no table `{table}`\n  fix: --facts names the table of canonical facts"
        ) from error
    missing = [column for column in REQUIRED if column not in facts.columns]
    if missing:
        raise TocsinError(
            f"table `{table}` has no column `{missing[0]}`\n"
            "  why: grading reads canonical facts\n  fix: fill it with what `tocsin facts` writes"
        )
    columns = {}
    for field in FACTS:
        kind = dt.dtype(field.type)
        if field.name not in facts.columns:
            columns[field.name] = ibis.null(kind)
        elif pa.types.is_timestamp(field.type):
            columns[field.name] = _zoned(facts, table, field.name)
        else:
            columns[field.name] = facts[field.name].cast(kind)
    facts = facts.select(**columns)
    if patients:
        facts = facts.filter(facts.patient_id.isin(list(patients)))
    _check(con, facts, table, lib)
    return facts


def _zoned(facts: Table, table: str, name: str) -> Any:
    kind = facts.schema()[name]
    if not kind.is_timestamp() or kind.timezone is None:
        raise TocsinError(
            f"table `{table}`: `{name}` is {kind}, not a time with its zone\n"
            "  why: the same clock time is a different instant in every zone\n"
            "  fix: make the column timestamptz (timestamp with time zone)"
        )
    return facts[name]


def _check(con: Any, facts: Table, table: str, lib: Library) -> None:
    """Refuse rows that are not canonical: SQL would leave them out, or take 101 for degrees Celsius."""
    lost = facts.patient_id.isnull() | facts.time.isnull() | facts.measure.isnull()
    counted = facts.aggregate(rows=facts.count(), lost=facts.count(where=lost))
    found = con.to_pyarrow(counted).to_pylist()[0]
    if not found["rows"]:
        raise TocsinError(
            f"table `{table}`: there is no row to read\n"
            "  why: an empty answer would look like a patient without CRS"
        )
    if found["lost"]:
        raise TocsinError(
            f"table `{table}`: {found['lost']:,} rows have no patient_id, time or measure\n"
            "  why: they belong to nobody, and leaving them out would be silent\n"
            "  fix: fill it with what `tocsin facts` writes"
        )
    said = facts.filter(facts.value.notnull()).select("measure", "unit").distinct()
    known = con.to_pyarrow(facts.select("measure").distinct())["measure"].to_pylist()
    for measure in sorted(known):
        if measure not in lib.measures:
            raise TocsinError(
                f"table `{table}`: `{measure}` is no measure\n"
                "  why: a fact that is not understood would silently be missing from the grade\n"
                "  fix: use an id of `tocsin list measures`, or add a definition of your own"
            )
    for row in sorted(con.to_pyarrow(said).to_pylist(), key=str):
        wanted = lib.measure(row["measure"]).unit
        if wanted is not None and lib.measure(row["measure"]).kind == "number" and row["unit"] != wanted:
            raise TocsinError(
                f"table `{table}`: {row['measure']} in {row['unit'] or 'no unit'}, not {wanted}\n"
                "  why: SQL compares the numbers as they stand\n"
                "  fix: fill the table with what `tocsin facts` writes"
            )


def answered(con: Any, facts: Table, scale: Scale, lib: Library, **cuts: datetime | None) -> pa.Table:
    """The intervals of one scale as a table of `SCHEMA`."""
    found = sql.grade(con, facts, scale, lib, **cuts)
    return found.append_column("definition", pa.array([scale.hash] * len(found), pa.string())).cast(SCHEMA)


class Written:
    """The answer on its way into a table of the database the facts lie in."""

    def __init__(self, con: Any, into: str, replace: bool = False, facts: str | None = None) -> None:
        self.con, self.name, self.replace = con, into, replace
        self.parts = named(into)
        self.staged = f"tocsin_{secrets.token_hex(4)}_answer"
        if facts is not None and named(facts)[-1] == self.parts[-1]:
            raise TocsinError(f"`{into}` is also what is read\n  fix: name another table with --into")
        self._refuse()
        columns = "patient_id {0}, scale {0}, start timestamptz, \"end\" timestamptz, grade smallint, " \
            "up_to smallint, ambiguous boolean, definition {0}"  # fmt: skip
        self._run([f"CREATE TEMPORARY TABLE {quoted([self.staged])} ({columns.format('text')})"])

    def _refuse(self) -> None:
        """Refuse to write over a table without being told, and over one that is no answer at all."""
        held = self._columns()
        if not held:
            return
        if not self.replace:
            raise TocsinError(
                f"table `{self.name}` is there already\n"
                "  why: it may be an answer that somebody relies on\n"
                "  fix: name another table, or --replace to have it written anew"
            )
        if set(held) != set(SCHEMA.names):
            raise TocsinError(
                f"table `{self.name}` is there already and holds no grades\n"
                "  why: --replace writes an answer anew and takes nothing else away\n"
                "  fix: name another table"
            )

    def _columns(self) -> list[str]:
        """The columns of the table named, none where there is no such table."""
        *schema, name = self.parts
        where = literal(schema[0]) if schema else "current_schema()"
        found = self.con.con.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_catalog = current_database() "
            f"AND table_schema = {where} AND table_name = {literal(name)}"
        )
        return [column for (column,) in found.fetchall()]

    def add(self, facts: Table, scale: Scale, lib: Library, **cuts: datetime | None) -> None:
        """Grade one scale into the staged answer."""
        at = INSTANT[self.con.name]
        with sql.graded(self.con, facts, scale, lib, **cuts) as rows:
            self._run(
                [
                    f"INSERT INTO {quoted([self.staged])} SELECT patient_id, {literal(scale.id)}, "
                    f"{at.format('s')}, CASE WHEN e < {FOREVER} THEN {at.format('e')} END, "
                    f"CAST(grade AS smallint), CAST(up_to AS smallint), ambiguous = 1, {literal(scale.hash)} "
                    f"FROM ({self.con.compile(rows)}) AS answer"
                ]
            )

    def finish(self) -> int:
        """Make the table, all of it or none; returns its rows."""
        into, staged = quoted(self.parts), quoted([self.staged])
        steps = [f"DROP TABLE IF EXISTS {into}"] if self.replace else []
        self._run(
            [*steps, f"CREATE TABLE {into} AS SELECT * FROM {staged} ORDER BY patient_id, scale, start"]
        )
        (count,) = self.con.con.execute(f"SELECT count(*) FROM {into}").fetchone()
        self._run([f"DROP TABLE {staged}"])
        return int(count)

    def _run(self, statements: Sequence[str]) -> None:
        """Run statements as one transaction."""
        raw = self.con.con
        if self.con.name == "postgres":
            # what reading began ends here: it only ever read, or made temporary tables
            raw.commit()
            with raw.transaction():
                for statement in statements:
                    raw.execute(statement)
            raw.commit()
            return
        raw.execute("BEGIN")
        try:
            for statement in statements:
                raw.execute(statement)
            raw.execute("COMMIT")
        except BaseException:
            with suppress(Exception):
                raw.execute("ROLLBACK")
            raise
