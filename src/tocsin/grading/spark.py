"""Grading on Spark: whole patients go to each Python worker as Arrow, and the same machine answers there.

Patients are repartitioned and sorted by Spark; what a worker gets it cuts into batches of whole patients. The
program of the scales, its definitions' hashes and the compiled machine travel with the task: a worker needs
Tocsin installed and nothing else: no definitions of the site's, no compilation.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import Measure, TocsinError
from tocsin.grading.batch import Choice, graded, run
from tocsin.grading.compile import Compiled, compiled
from tocsin.grading.compiled import is_cached
from tocsin.grading.intervals import SCHEMA
from tocsin.grading.rows import READ, prepare
from tocsin.grading.shipped import one_at_a_time, packed, take_up

#: Fewest rows of a batch that a worker grades at once, unless there are no more.
BATCH = 250_000
#: Columns that say which row corrects which, and when a row became known.
CORRECTS, KNOWN = ("source", "replaces"), "recorded"
#: What Spark calls the kinds of the columns that grading reads.
KINDS = {
    "patient_id": "string", "time": "timestamp", "measure": "string", "value": "double", "text": "string",
    "method": "string", "end": "timestamp", "ref_low": "double", "ref_high": "double", "weight": "double",
    "recorded": "timestamp", "source": "string", "replaces": "string",
}  # fmt: skip
REQUIRED = ("patient_id", "time", "measure")


@dataclass(frozen=True)
class Carried:
    """What a task carries: the program, the measures whose words it reads, the cuts."""

    program: Compiled
    measures: dict[str, Measure]
    until: datetime | None
    as_of: datetime | None
    engine: str | None

    def measure(self, name: str) -> Measure:
        """The measure of this id."""
        return self.measures[name]


def session(master: str | None = None) -> Any:
    """The Spark session that runs, else one on `master` (None: as `spark-submit` says, else this computer).

    Raises
    ------
    TocsinError : pyspark or Java is missing, or the master does not answer.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise TocsinError(
            "Spark is not installed\n  why: --engine spark hands the work to it\n"
            "  fix: pip install 'tocsin[spark]', and Java 17 or newer (Debian: apt install "
            "openjdk-17-jre-headless)"
        ) from None
    running = SparkSession.getActiveSession()
    if running is not None:
        return running
    java = os.environ.get("JAVA_HOME")
    if not (java and os.path.exists(os.path.join(java, "bin", "java"))) and not shutil.which("java"):
        raise TocsinError(
            "Spark needs Java and there is none\n  why: Spark runs in a Java machine\n"
            "  fix: install Java 17 or newer (Debian: apt install openjdk-17-jre-headless) or set JAVA_HOME"
        )
    builder = SparkSession.builder.appName("tocsin grade")
    chosen = master or (None if _submitted() else "local[*]")
    if chosen:
        builder = builder.master(chosen)
    if chosen and chosen.startswith("local"):
        builder = builder.config(map=_local())
    try:
        made = builder.getOrCreate()
        if chosen and chosen.startswith("local"):
            made.sparkContext.setLogLevel("ERROR")
        return made
    except Exception as error:
        raise TocsinError(
            f"Spark does not start on {chosen or 'the master of spark-submit'}: {_first_line(error)}\n"
            "  fix: --connection local[2], spark://HOST:7077, yarn, or start it with spark-submit"
        ) from error


def _submitted() -> bool:
    """Whether `spark-submit` started us: then it has said where to run."""
    return "PYSPARK_GATEWAY_PORT" in os.environ or "SPARK_CONNECT_MODE_ENABLED" in os.environ


def _local() -> dict[str, Any]:
    """Settings of a session on this computer alone: nothing listens outside, workers run this Python."""
    cores = os.cpu_count() or 1
    settings: dict[str, Any] = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": str(max(4 * cores, 8)),
        "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
        # Spark's own default is a kind of time that Parquet has given up
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    }
    # Spark's own default is whatever `python3` is; no setting of a session reaches what starts the workers
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return settings


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def grade(
    facts: Any,
    scales: str | Sequence[str] = "astct-2019",
    *,
    lib: Library | None = None,
    until: datetime | None = None,
    as_of: datetime | None = None,
    engine: str | None = None,
    partitions: int | None = None,
) -> Any:
    """Grade canonical facts on Spark.

    Parameters
    ----------
    facts      : a Spark DataFrame of canonical facts, or paths of Parquet files or folders of them. Rows may
                 lie in any order and a patient in any number of files. Every value in its measure's unit, as
                 `tocsin facts` writes it: units are not looked at again.
    scales     : ids of scales; all are graded in one pass.
    lib        : the library the scales come from; it stays here, workers get what they need of it.
    until      : cut the answer (aware).
    as_of      : use only facts recorded by then, and answer as of then (aware).
    engine     : None, "python" or "numba", as for `batch.grade`.
    partitions : into how many parts patients are dealt out; None leaves it to Spark.

    Returns
    -------
    A Spark DataFrame with the columns of `intervals.SCHEMA`; nothing runs before its rows are asked for. The
    rows of a patient are in the order `batch.grade` gives them; patients are in no order.

    Raises
    ------
    TocsinError : a column is missing or of another kind; a time has no zone.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    lib = lib or library()
    names = (scales,) if isinstance(scales, str) else tuple(scales)
    program = compiled(names, lib)
    measures = {name: lib.measure(name) for name in program.measures}
    carried = pickle.dumps(Carried(program, measures, until, as_of, engine))
    frame = facts if hasattr(facts, "mapInArrow") else session().read.parquet(*_paths(facts))
    chosen = _read(_columns(frame, as_of is not None), program)
    dealt = chosen.repartition(partitions, "patient_id") if partitions else chosen.repartition("patient_id")
    ordered = dealt.sortWithinPartitions("patient_id", "time")
    return ordered.mapInArrow(_work(carried, packed()), from_arrow_schema(SCHEMA))


def _paths(facts: Any) -> list[str]:
    return [os.fspath(facts)] if isinstance(facts, str | os.PathLike) else [os.fspath(each) for each in facts]


def _columns(frame: Any, dated: bool) -> Any:
    """The columns that grading reads, checked; a table in which nothing is corrected spares its sources."""
    found = {field.name: field.dataType.simpleString() for field in frame.schema.fields}
    wanted = [name for name in (*READ, KNOWN, *CORRECTS) if name in found]
    for name in REQUIRED:
        if name not in found:
            raise TocsinError(
                f"the facts have no column `{name}`\n"
                "  why: a fact is somebody's, at some time, of something\n"
                "  fix: write them with `tocsin facts`"
            )
    for name in wanted:
        kind = found[name]
        if kind == "timestamp_ntz":
            raise TocsinError(
                f"the facts' column `{name}` has no time zone\n"
                "  why: the same clock time is a different instant in every zone\n"
                "  fix: write them with `tocsin facts`, or cast the column to TIMESTAMP"
            )
        if kind not in (KINDS[name], "void"):
            raise TocsinError(
                f"the facts' column `{name}` is {kind}, not {KINDS[name]}\n"
                "  why: these are not facts as `tocsin facts` writes them\n"
                "  fix: write them with `tocsin facts`"
            )
    unplaced = frame.where(" or ".join(f"{name} is null" for name in REQUIRED))
    if not unplaced.isEmpty():
        raise TocsinError(
            "a row of the facts has no patient_id, time or measure\n"
            "  why: it belongs to nobody, and leaving it out would be silent\n"
            "  fix: write them with `tocsin facts`"
        )
    if "replaces" in wanted and frame.where("replaces is not null").isEmpty():
        wanted = [name for name in wanted if name not in CORRECTS]
    return frame.select(*[name for name in wanted if dated or name != KNOWN])


def _read(chosen: Any, program: Compiled) -> Any:
    """The rows that the scales read, and where each patient's record begins, so that the rest is dealt out to
    nobody. With corrections or `as_of` every row is dealt: which row is the first is not known before."""
    from pyspark.sql import functions as f

    if not {KNOWN, *CORRECTS}.isdisjoint(chosen.columns):
        return chosen
    begins = chosen.groupBy("patient_id").agg(f.min("time").alias("time")).withColumn("measure", f.lit(""))
    read = chosen.where(f.col("measure").isin(*program.measures))
    return read.unionByName(begins, allowMissingColumns=True)


Work = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def _work(carried: bytes, machine: bytes | None) -> Work:
    """What each task does with its patients."""

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from tocsin.grading.spark import answers

        return answers(batches, carried, machine)

    return work


def answers(
    batches: Iterable[pa.RecordBatch], carried: bytes, machine: bytes | None
) -> Iterator[pa.RecordBatch]:
    """The intervals of one task's patients (runs in a worker)."""
    job = unpacked(carried)
    chosen = _choice(carried)

    def fast(batch: pa.Table) -> bool:
        if chosen(batch):
            _load(machine, batch, job)
        return chosen.fast

    if chosen.free and machine is not None and not is_cached():
        # what was sent counts as compiled when it is asked whether compiling pays
        with one_at_a_time():
            take_up(machine)
    found = graded(whole(batches), job.program, job, fast, until=job.until, as_of=job.as_of)
    for table in found:
        yield from table.to_batches()


@lru_cache(maxsize=4)
def unpacked(carried: bytes) -> Carried:
    """A task's load; the tasks of one worker share it."""
    job = pickle.loads(carried)
    assert isinstance(job, Carried)
    return job


@lru_cache(maxsize=4)
def _choice(carried: bytes) -> Choice:
    """The choice of machine; rows that earlier tasks of this worker took count too."""
    return Choice(unpacked(carried).engine)


_loaded: list[bool] = []


def _load(machine: bytes | None, batch: pa.Table, job: Carried) -> None:
    """Have the compiled machine in this process: from what was sent, else compiled once on this computer."""
    if _loaded:
        return
    with one_at_a_time():
        take_up(machine)
        rows, starts, _ = prepare(batch.slice(0, 1), job.program, job)
        run(job.program, rows, starts, 0, False, True)
    _loaded.append(True)


def whole(batches: Iterable[pa.RecordBatch], least: int = BATCH) -> Iterator[pa.Table]:
    """Rows grouped by patient, cut between patients into tables of at least `least` rows.

    >>> ids = [["a", "a"], ["a", "b"], ["b"], ["c"]]
    >>> parts = [pa.RecordBatch.from_pydict({"patient_id": part}) for part in ids]
    >>> [table["patient_id"].to_pylist() for table in whole(parts, least=2)]
    [['a', 'a', 'a'], ['b', 'b'], ['c']]
    """
    held: list[pa.RecordBatch] = []
    rows, last = 0, None
    for batch in batches:
        if not batch.num_rows:
            continue
        ids = batch.column("patient_id")
        before, last = last, ids[-1].as_py()
        first = pc.index(ids, ids[-1]).as_py()
        goes_on = first == 0 and before == last
        if rows + first >= least and not goes_on:
            yield pa.Table.from_batches([*held, batch.slice(0, first)] if first else held)
            held, rows, batch = [], 0, batch.slice(first)
        held.append(batch)
        rows += batch.num_rows
    if held:
        yield pa.Table.from_batches(held)
