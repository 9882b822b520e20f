"""`tocsin grade` elsewhere than in this process: on Spark, or as SQL in the database that has the facts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from tocsin.cli.options import Reading, counted, say
from tocsin.definitions.load import Library
from tocsin.definitions.schema import TocsinError
from tocsin.sources.table import File

ENGINES = ("python", "numba", "spark", "sql")
#: Facts from which the machine is compiled here before it is sent to Spark's workers.
COMPILE_HERE_FROM = 2_000_000


@dataclass(frozen=True)
class Place:
    """Where to grade: the engine, its connection, the table of facts there and what to write."""

    engine: str | None = None
    connection: str | None = None
    facts: str = "facts"
    into: str | None = None
    replace: bool = False

    def check(self, files: Sequence[str], reading: dict[str, Any], out: Path | None, shown: bool) -> None:
        """Refuse options that do not go together, before any work."""
        elsewhere = self.engine in ("spark", "sql")
        if self.connection and not elsewhere:
            raise click.UsageError("--connection goes with --engine sql or --engine spark")
        if self.into and not elsewhere:
            raise click.UsageError("--into goes with --engine sql or spark; --out FILE writes a file")
        if self.replace and not self.into:
            raise click.UsageError("--replace goes with --into")
        if self.into and out:
            raise click.UsageError("--into writes where the facts lie and --out here: one at a time")
        if elsewhere and shown:
            raise click.UsageError(f"--plot and --why look at one patient: leave out --engine {self.engine}")
        if self.engine != "sql":
            if not files:
                raise click.UsageError("Missing argument 'FILE...'.")
            return
        if not self.connection:
            raise click.UsageError("--engine sql needs --connection duckdb:///FILE or postgresql://...")
        if files:
            raise click.UsageError(f"--engine sql grades the table --facts names, not {files[0]}")
        given = [name for name in ("codes", "units", "rejects", "strict") if reading.get(name)]
        if given:
            raise click.UsageError(
                f"--{given[0].removesuffix('s')} is for reading files; a table holds canonical facts already"
            )


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where `grade` works: here, on Spark, or in a database."""
    for option in reversed(
        (
            click.option(
                "--engine", type=click.Choice(ENGINES), default=None,
                help="What grades: this process (chosen by size), Spark, or the database itself.",
            ),
            click.option(
                "--connection", metavar="URL",
                help="sql: duckdb:///FILE or postgresql://USER@HOST/DB; spark: local[2], spark://HOST:7077.",
            ),
            click.option(
                "--facts", "facts_table", default="facts", show_default=True, metavar="TABLE",
                help="sql: the table of canonical facts.",
            ),
            click.option(
                "--into", metavar="WHERE", help="Write there: sql a new table, spark a folder of Parquet."
            ),
            click.option("--replace", is_flag=True, help="Write an answer that is there already anew."),
        )
    ):
        command = option(command)
    return command


# --- SQL ------------------------------------------------------------------------------------------------


def sql_answer(
    place: Place, lib: Library, scales: Sequence[str], every: bool, patients: Sequence[str],
    until: datetime | None, as_of: datetime | None,
) -> Iterator[pa.Table]:  # fmt: skip
    """The answers of the scales SQL can say, one by one; with `into` they stay there and none is handed on.

    Under `all` (`every`) a scale it cannot say is left out by name; one asked for by name is refused.
    """
    try:
        from tocsin.grading.sql import SqlCannotSay
        from tocsin.grading.sql_tables import Written, answered, facts_of, opened
    except ImportError:
        raise TocsinError(
            "SQL needs Ibis, which is not installed\n  fix: pip install 'tocsin[sql,postgres]'"
        ) from None
    cuts = {"until": until, "as_of": as_of}
    done = 0
    with opened(place.connection or "", write=place.into is not None) as con:
        facts = facts_of(con, place.facts, lib, patients)
        into = Written(con, place.into, place.replace, place.facts) if place.into else None
        for name in scales:
            scale = lib.scale(name)
            try:
                if into:
                    into.add(facts, scale, lib, **cuts)
                else:
                    yield answered(con, facts, scale, lib, **cuts)
                done += 1
            except SqlCannotSay as refusal:
                if not every:
                    raise
                say(f"left out: {refusal}")
        if not done:
            raise TocsinError("SQL can say none of these scales\n  fix: grade without --engine sql")
        if into:
            say(f"wrote {counted(into.finish(), 'row')} to table {place.into}")
    say("by SQL: start, end, grade, up_to and ambiguous; reasons and flags need another engine")


# --- Spark ----------------------------------------------------------------------------------------------


def spark_answer(
    place: Place, source: Reading, scales: Sequence[str], until: datetime | None, as_of: datetime | None
) -> Iterator[pa.Table]:
    """The answer of Spark in the order every engine gives it; with `into` it is written there instead."""
    from tocsin.grading import spark

    session = spark.session(place.connection)
    session.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    with tempfile.TemporaryDirectory(prefix="tocsin-") as scratch:
        paths, rows = _on_disk(source, Path(scratch))
        if rows >= COMPILE_HERE_FROM:
            _compiled_here()
        frame = session.read.parquet(*paths)
        if source.patients:
            frame = frame.where(frame.patient_id.isin(list(source.patients)))
        found = spark.grade(frame, scales, lib=source.lib, until=until, as_of=as_of)
        if place.into:
            _write(found, place.into, place.replace)
            say(f"wrote the folder {place.into}")
            return
        parts = Path(scratch) / "answer"
        _run(lambda: found.write.parquet(parts.as_uri()))
        if not (parts / "_SUCCESS").exists():
            raise TocsinError(
                "the workers' answer did not come back to this computer\n"
                "  why: they have another disk\n  fix: --into a folder that they and you can reach"
            )
        yield from _in_order(parts, scales, Path(scratch))


def _on_disk(source: Reading, scratch: Path) -> tuple[list[str], int]:
    """Parquet that Spark can read, and how many facts: the files as they lie, or what was read here first."""
    from tocsin.facts import write_facts

    opened = source.source
    why = f"only Parquet of `tocsin facts` goes to Spark as it lies, and this is {opened.kind}"
    if all(kind == "facts-parquet" for kind, _ in opened.paths):
        files = [file for _, file in opened.paths]
        rows, split = _looked_at(files, scratch)
        if not split:
            source.facts, source.usable = rows, True
            say(f"Spark reads {counted(len(files), 'file')} of facts: {counted(rows, 'fact')}")
            return [file.path.resolve().as_uri() for file in files], rows
        why = f"{counted(split, 'patient')} in more than one file, whose weights and sources belong together"
    say(f"reading here first: {why}")
    spooled = scratch / "facts.parquet"
    rows = write_facts(source.batches(), spooled)
    source.close()
    return [spooled.as_uri()], rows


def _looked_at(files: Sequence[File], scratch: Path) -> tuple[int, int]:
    """Facts in these files, and patients who are in more than one; only overlapping files are read for it."""
    import pyarrow.parquet as pq

    from tocsin.sources.ordering import database, quoted

    rows, spans = 0, []
    for file in files:
        with file.guarded(), pq.ParquetFile(file.path) as reader:
            rows += reader.metadata.num_rows
            spans.append(_ids_between(reader))
    if not rows:
        return 0, 1
    if all(before[1] < after[0] for before, after in pairwise(sorted(spans))):
        return rows, 0
    names = ", ".join(quoted(file.path) for file in files)
    with database(scratch) as con:
        found = con.execute(
            f"select count(*) from (select patient_id from read_parquet([{names}], filename = true) "
            "group by 1 having count(distinct filename) > 1)"
        ).fetchone()
    return rows, int(found[0]) if found else 0


def _ids_between(reader: Any) -> tuple[bytes, bytes]:
    """The first and the last patient of a Parquet file, as far as its own statistics say."""
    place = reader.schema_arrow.get_field_index("patient_id")
    groups = [reader.metadata.row_group(g).column(place).statistics for g in range(reader.num_row_groups)]
    if not groups or not all(known is not None and known.has_min_max for known in groups):
        return b"", b"\xff"
    return min(known.min.encode() for known in groups), max(known.max.encode() for known in groups)


def _compiled_here() -> None:
    """Have the compiled machine, to send along."""
    from tocsin.grading.batch import grade_table
    from tocsin.grading.compiled import is_cached
    from tocsin.testing import patient

    if not is_cached():
        say("compiling the machine, once for this computer (about half a minute)")
        grade_table(patient("0 h temperature 39.0 Cel"), engine="numba")


def _write(found: Any, into: str, replace: bool) -> None:
    """A folder of Parquet by the workers; on this computer it appears when it is whole."""
    if "://" in into:
        _run(lambda: found.write.mode("overwrite" if replace else "errorifexists").parquet(into))
        return
    path = Path(into).resolve()
    if path.exists():
        if not replace:
            raise TocsinError(f"{into} is there already\n  fix: name another folder, or --replace")
        if not (path / "_SUCCESS").exists():
            raise TocsinError(
                f"{into} is there already and was not written by Spark\n"
                "  why: --replace writes an answer anew and takes nothing else away\n"
                "  fix: name another folder"
            )
    beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        _run(lambda: found.write.parquet((beside / "new").as_uri()))
        if path.exists():
            path.rename(beside / "old")
        (beside / "new").rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _run(work: Callable[[], Any]) -> Any:
    """Run a job; what a worker or the Java machine says of a failure becomes one line."""
    from pyspark.errors import PySparkException

    try:
        return work()
    except PySparkException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        file = next((line for line in lines if "FAILED_READ_FILE" in line or ".parquet" in line), lines[0])
        raise TocsinError(
            f"Spark could not finish: {file[:400]}\n"
            "  why: an answer without these rows would look whole\n"
            "  fix: if a file is named, copy it again; else see Spark's own log"
        ) from error


def _in_order(parts: Path, scales: Sequence[str], scratch: Path) -> Iterator[pa.Table]:
    """The workers' files as one answer: by patient, scale as asked for, time."""
    from tocsin.grading.intervals import SCHEMA
    from tocsin.sources.ordering import database, quoted, stream

    place = ", ".join(f"({quoted(name)}, {rank})" for rank, name in enumerate(scales))
    columns = ", ".join(f'answer."{name}"' for name in SCHEMA.names)
    with database(scratch) as con:
        query = (
            f"select {columns} from read_parquet({quoted(parts / '*.parquet')}) answer "
            f"join (values {place}) asked(scale, rank) on asked.scale = answer.scale "
            "order by patient_id, rank, start"
        )
        for batch in stream(con, query):
            yield pa.table(batch).cast(SCHEMA)
