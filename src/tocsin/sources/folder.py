"""A folder (or a DuckDB file) of tables, as SQL can read them: CLIF and OMOP both come as one.

Column names are met whatever their capitals; a column or table that is not there reads as null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.schema import TocsinError
from tocsin.sources.codes import Codes, Meaning
from tocsin.sources.ordering import instant, named, number, quoted

if TYPE_CHECKING:
    import duckdb

    from tocsin.sources.tally import Tally

ENDINGS = (".parquet", ".csv", ".csv.gz", ".tsv")
Say = Callable[[str], Meaning | None]


@dataclass
class Folder:
    """The tables of one source; `prefix` is what their file names begin with and ours do not."""

    con: duckdb.DuckDBPyConnection
    path: Path
    codes: Codes
    tally: Tally
    timezone: str
    prefix: str = ""
    scans: dict[str, str] = field(default_factory=dict)
    columns: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    words: dict[str, set[str]] = field(
        default_factory=lambda: {"unit": set(), "method": set(), "text": set()}
    )

    def open(self) -> None:
        """Find the tables and their columns; prepare the type that names measures."""
        for file in files(self.path):
            stem = file.name.lower().removesuffix(".gz").rsplit(".", 1)[0]
            if stem.startswith(self.prefix):
                self.add(stem.removeprefix(self.prefix), file)
        names = ", ".join(quoted(name) for name in self.codes.lib.measures)
        self.con.execute(f"create type measure as enum ({names})")

    def add(self, table: str, file: Path) -> None:
        """Take one file as a table."""
        if file.suffix == ".parquet":
            reading = f"read_parquet({quoted(file)}, file_row_number = true)"
            scan = f"(select *, file_row_number + 1 as row from {reading})"
        else:
            # Numbers are read as text: a column of codes that looks numeric must keep its zeros.
            scan = f"(select *, null::bigint as row from read_csv({quoted(file)}, all_varchar = true))"
        self.take(table, scan, file.name)

    def take(self, table: str, scan: str, label: str) -> None:
        """Take what a piece of SQL reads as a table; `label` is how its rows name their source."""
        self.labels[table] = label
        described = self.run(table, f"describe select * from {scan}")
        self.columns[table] = {row[0].lower(): (row[0], row[1]) for row in described}
        self.scans[table] = scan

    def run(self, table: str, sql: str) -> list[tuple[Any, ...]]:
        """Run a small query; a file that cannot be read is said by name."""
        import duckdb

        try:
            rows: list[tuple[Any, ...]] = self.con.execute(sql).fetchall()
        except duckdb.Error as error:
            raise TocsinError(
                f"{self.path} ({self.labels.get(table, table)}): cannot be read: "
                f"{str(error).splitlines()[0]}\n"
                "  why: grading without this table would take its facts for absent\n"
                "  fix: copy the file again; if it does not belong here, move it out of the folder"
            ) from error
        return rows

    def note(self, name: str, table: str, sql: str) -> None:
        """Note the texts that `sql` makes of this table as words of the column `name`."""
        found = self.run(table, f"select distinct {sql} from {self.scans[table]}")
        self.words[name].update(word for (word,) in found if word is not None)

    def has(self, table: str, *columns: str) -> bool:
        """Whether the table and these columns of it are there."""
        return table in self.scans and all(column in self.columns[table] for column in columns)

    def column(self, table: str, column: str) -> tuple[str, str] | None:
        """The column as SQL and its type, or None."""
        found = self.columns.get(table, {}).get(column)
        return None if found is None else (named(found[0]), found[1])

    def text(self, table: str, column: str) -> str:
        """SQL for a column as text; an empty one is null."""
        found = self.column(table, column)
        if found is None:
            return "null::varchar"
        return f"nullif({found[0]}, '')" if found[1] == "VARCHAR" else f"{found[0]}::varchar"

    def value(self, table: str, column: str) -> str:
        """SQL for a number."""
        found = self.column(table, column)
        return "null::double" if found is None else number(*found)

    def at(self, table: str, *columns: str) -> str:
        """SQL for an instant: the first of these columns that is there and not null."""
        found = [
            instant(*each, self.timezone)
            for name in columns
            if (each := self.column(table, name)) is not None
        ]
        return f"coalesce({', '.join(found)})" if found else "null::timestamptz"

    def naive(self, table: str, *columns: str) -> bool:
        """Whether one of these columns is a time without a zone."""
        kinds = [self.columns[table][name][1] for name in columns if self.has(table, name)]
        return any(
            kind in ("TIMESTAMP", "DATE", "TIMESTAMP_NS", "TIMESTAMP_S", "TIMESTAMP_MS") for kind in kinds
        )

    def source(self, table: str) -> str:
        """SQL for where a row came from, such as clif_vitals.parquet and 14."""
        return f"{quoted(self.labels[table])} as file, row"

    def meanings(self, table: str, column: str, say: Say, where: str = "true") -> str:
        """SQL that joins each row to what the code in `column` means; the rows of all others are counted."""
        return self.coded(table, self.text(table, column), say, where=where)

    def coded(
        self, table: str, code: str, say: Say, shown: Callable[[str], str] = str, where: str = "true"
    ) -> str:
        """The same for a code that is a piece of SQL; `shown` is how an unknown one is counted.

        The join offers `m`: code, measure, kind, usual (unit), amount_unit, word, way (method).
        """
        rows = self.run(table, f"select {code}, count(*) from {self.scans[table]} where {where} group by 1")
        values = []
        for said, count in rows:
            self.tally.rows_read += int(count)
            meaning = say(said) if said is not None else None
            if meaning is None:
                self.tally.skip(self.prefix + table, said if said is None else shown(said), int(count))
                continue
            kind = self.codes.lib.measure(meaning.measure).kind
            for name, word in (("unit", meaning.unit), ("method", meaning.method), ("text", meaning.word)):
                if word is not None:
                    self.words[name].add(word)
            row = (
                said,
                meaning.measure,
                kind,
                meaning.unit,
                meaning.amount_unit,
                meaning.word,
                meaning.method,
            )
            values.append("(" + ", ".join("null" if item is None else quoted(item) for item in row) + ")")
        name = named(f"of_{table}")
        texts = ("kind", "usual", "amount_unit", "word", "way")
        self.con.execute(
            f"create or replace temp table {name} as select code::varchar as code, measure::measure as "
            "measure, "
            + ", ".join(f"{each}::varchar as {each}" for each in texts)
            + f" from (values {', '.join(values) or '(' + ', '.join(['null'] * 7) + ')'}) "
            + f"v(code, measure, {', '.join(texts)}) where code is not null"
        )
        return f"join {name} m on m.code = {code}"


def files(path: Path) -> list[Path]:
    """The table files of a folder, by name."""
    return (
        sorted(file for file in path.iterdir() if file.name.lower().endswith(ENDINGS))
        if path.is_dir()
        else []
    )
