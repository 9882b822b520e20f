"""From one machine to a cluster: one data set graded in every way, and folders as they come.

Five ways: the machine in plain Python and compiled, SQL in DuckDB and in PostgreSQL, the machine in Spark's
workers. Equal means every interval of every scale the way supports. Spark and SQL start once for the module.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import tables
import tocsin
from conftest import ROOT
from test_agreement import SHOWN, shown
from tocsin.cli.front import cli
from tocsin.definitions.load import library
from tocsin.definitions.schema import TocsinError
from tocsin.facts import write_facts
from tocsin.grading.batch import grade_table
from watched import fresh_postgres

TOCSIN = Path(sys.executable).with_name("tocsin")
LIB = library()
ORDER = [("patient_id", "ascending"), ("scale", "ascending"), ("start", "ascending")]
pytestmark = pytest.mark.slow


def renamed(table: pa.Table, prefix: str) -> pa.Table:
    """The same facts of patients under other ids."""
    place = table.schema.get_field_index("patient_id")
    names = pc.binary_join_element_wise(prefix, table["patient_id"].cast(pa.string()), "-")
    return table.set_column(place, tables.SCHEMA.field(place), names)


@pytest.fixture(scope="module")
def facts(shared: Path) -> pa.Table:
    """Random tables for every scale, simulated patients, and real records."""
    parts = [
        renamed(tables.random_table(900 + k, (scale,), 5), scale) for k, scale in enumerate(LIB.scales)
    ]
    simulated = tocsin.simulate("teclistamab", 4, seed=3, days=5)
    parts.append(tocsin.read(simulated))
    real = tocsin.read(shared / "data" / "mimic-iv-demo-meds", rejects=[])
    some = real["patient_id"].unique().slice(0, 6)
    parts.append(real.filter(pc.is_in(real["patient_id"], value_set=some)))
    whole = pa.concat_tables([part.cast(tables.SCHEMA) for part in parts])
    # whom the machine and the oracle judge differently: the test at the end of five ways says how
    whole = whole.filter(pc.not_equal(whole["patient_id"], "penn-2018-weight-based-p0"))
    return whole.sort_by([("patient_id", "ascending"), ("time", "ascending")])


def put(facts: pa.Table, path: Path) -> Path:
    """Facts as `tocsin facts` writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_facts(facts.combine_chunks().to_batches(), path)
    return path


def dealt(facts: pa.Table, folder: Path, files: int) -> Path:
    """Facts in several files of whole patients, whose names do not follow the patients."""
    who = facts["patient_id"].unique()
    step = -(-len(who) // files)
    for k in range(files):
        mine = facts.filter(pc.is_in(facts["patient_id"], value_set=who.slice(k * step, step)))
        put(mine, folder / f"{(k * 7 + 3) % 10}.parquet")
    return folder


@pytest.fixture(scope="module")
def plain(facts: pa.Table) -> pa.Table:
    return grade_table(facts, LIB.scales, engine="python")


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    """One Spark for all tests, in another time zone."""
    pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'tocsin[spark]'")
    if not shutil.which("java"):
        pytest.skip("there is no Java, in which Spark runs")
    from tocsin.grading import spark

    found = spark.session("local[2]")
    found.conf.set("spark.sql.shuffle.partitions", "3")
    found.conf.set("spark.sql.session.timeZone", "America/St_Johns")
    # small batches, so that patients span several
    found.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "500")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def databases(
    facts: pa.Table, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """A DuckDB and a PostgreSQL that hold the facts, graded there by two commands side by side."""
    pytest.importorskip("ibis", reason="ibis is not installed: pip install 'tocsin[sql]'")
    psycopg = pytest.importorskip("psycopg")
    duck = tmp_path_factory.mktemp("duck") / "ward.duckdb"
    with duckdb.connect(str(duck)) as con:
        con.register("given", facts)
        con.execute("create table facts as select * from given")
    with fresh_postgres(postgres_url) as fresh:
        url = fresh.replace("postgresql+psycopg:", "postgresql:")
        with psycopg.connect(url, autocommit=True) as con:
            con.execute("alter role current_user set timezone to default")
            fill(con, facts)
        urls = {"duckdb": f"duckdb:///{duck}", "postgres": url}
        running = [
            subprocess.Popen(
                [TOCSIN, *sql(each, "--scale", "all", "--into", "grades")],
                stderr=subprocess.PIPE, text=True, env=dict(os.environ, PGTZ="America/St_Johns"),
            )
            for each in urls.values()
        ]  # fmt: skip
        yield urls | {f"{name}-said": each for name, each in zip(urls, running, strict=True)}  # type: ignore[dict-item]
        for each in running:
            each.kill()
            each.wait()


def fill(con: Any, facts: pa.Table) -> None:
    """Make the table of facts in PostgreSQL, as a site would: COPY from CSV."""
    kinds = {"double": "double precision", "string": "text"}
    columns = ", ".join(
        f'"{field.name}" {kinds.get(str(field.type), "timestamptz")}' for field in facts.schema
    )
    con.execute(f"create table facts ({columns})")
    with con.cursor().copy("copy facts from stdin") as copy:
        for row in zip(*(facts[name].to_pylist() for name in facts.column_names), strict=True):
            copy.write_row(row)


# --- five ways ------------------------------------------------------------------------------------------


def test_every_grade_is_among_them(databases, plain):
    """Agreement on nothing but grade 0 would show nothing. (The databases begin to work meanwhile.)"""
    assert set(plain["grade"].to_pylist()) == {0, 1, 2, 3, 4, 5}
    assert set(plain["scale"].to_pylist()) == set(LIB.scales)


def test_compiled_says_what_plain_says(facts, plain):
    assert grade_table(facts, LIB.scales, engine="numba").equals(plain)


@pytest.mark.parametrize("engine", ["python", "numba"])
def test_spark_says_what_plain_says(engine, facts, plain, session, tmp_path):
    """Every column of every interval, from files of whole patients under names in another order."""
    from tocsin.grading import spark

    folder = dealt(facts, tmp_path / "facts", 4)
    told = spark.grade(str(folder), LIB.scales, engine=engine).toArrow()
    assert told.cast(plain.schema).sort_by(ORDER).equals(plain.sort_by(ORDER))


def test_spark_knows_what_was_recorded_by_then_and_where_to_cut(facts, session, tmp_path):
    from tocsin.grading import spark

    when = facts["time"][len(facts) // 2].as_py()
    frame = session.read.parquet(str(put(facts, tmp_path / "facts.parquet")))
    for option in ({"until": when}, {"as_of": when}):
        told = spark.grade(frame, ["astct-2019", "ctcae-6.0"], **option).toArrow()
        wanted = grade_table(facts, ["astct-2019", "ctcae-6.0"], engine="python", **option)
        assert told.cast(wanted.schema).sort_by(ORDER).equals(wanted.sort_by(ORDER))


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_sql_says_what_plain_says_and_leaves_it_in_a_table(kind, databases, plain):
    """Start, end, grade, up_to, ambiguous under every scale; the hash is that of the definition."""
    process = databases[f"{kind}-said"]
    _, said = process.communicate(timeout=900)
    assert process.returncode == 0, said
    left_out = set(re.findall(r"left out: scale `([^`]+)`", said))
    assert left_out == set(), "a scale SQL cannot say any more"
    rows = read_back(databases[kind])
    own = sorted(rows, key=lambda row: (row["scale"], row["patient_id"], row["start"]))
    for scale in LIB.scales:
        told = [tuple(row[name] for name in SHOWN) for row in own if row["scale"] == scale]
        mine = plain.filter(pc.equal(plain["scale"], scale)).sort_by(ORDER).to_pylist()
        assert shown(told) == shown(tuple(row[name] for name in SHOWN) for row in mine), scale
        assert {row["definition"] for row in own if row["scale"] == scale} == {LIB.scale(scale).hash}


def test_an_age_that_has_an_end_and_gives_way_before_it():
    """67, then 5 with an end, then 0.08 years: the row of the second runs to the third."""
    import oracle

    ages = [(0, 67.0, None), (8, 5.0, 72), (11, 0.08, None)]
    course = tables.table([
        {"patient_id": "p", "measure": "age", "value": value, "at": at, "until": until}
        for at, value, until in ages
    ])
    rows = grade_table(course, "icans-astct-2019", engine="python").to_pylist()
    wanted = oracle.grade(course, LIB.scale("icans-astct-2019"), LIB)
    assert [(row["start"], row["end"]) for row in rows] == [row[1:3] for row in wanted]


def read_back(url: str) -> list[dict[str, Any]]:
    """The table of grades as a client of the database reads it."""
    from tocsin.grading import sql_tables

    with sql_tables.opened(url) as con:
        found: list[dict[str, Any]] = con.to_pyarrow(con.table("grades")).to_pylist()
    return found


# --- answers in a database ------------------------------------------------------------------------------


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """The command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def called(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main([*map(str, words)], prog_name="tocsin")
        return (int(stopped.value.code or 0), *capsys.readouterr())

    return called


@pytest.fixture
def ward(tmp_path, examples) -> str:
    """A small DuckDB with one patient's facts, under a name that needs quoting too."""
    path = tmp_path / "ward.duckdb"
    with duckdb.connect(str(path)) as con:
        con.register("given", tocsin.read(examples / "a19-one-pressor-low-flow.csv"))
        con.execute("create table facts as select * from given")
        con.execute('create schema "my ward"; create table "my ward"."all ""facts""" as select * from given')
        con.execute("create table notes as select 1 as page")
    return f"duckdb:///{path}"


def sql(url: str, *more: str) -> list[str]:
    return ["grade", "--engine", "sql", "--connection", url, *more]


def test_a_table_is_written_only_where_none_is_or_an_answer_is_told_to_go(ward, call):
    assert call(*sql(ward, "--into", "grades"))[0] == 0
    before = read_back(ward)
    code, _, said = call(*sql(ward, "--into", "grades"))
    assert (code, "is there already" in said) == (1, True)
    assert call(*sql(ward, "--into", "grades", "--replace"))[0] == 0
    assert read_back(ward) == before
    for other, why in (("notes", "holds no grades"), ("facts", "is also what is read")):
        code, _, said = call(*sql(ward, "--into", other, "--replace"))
        assert (code, why in said) == (1, True), said


def test_names_are_quoted_whatever_they_hold(ward, call):
    odd = '"my ward"."all ""facts"""'
    code, _, said = call(*sql(ward, "--facts", odd, "--into", '"my ward"."x; drop table facts"'))
    assert code == 0, said
    with duckdb.connect(ward.removeprefix("duckdb:///")) as con:
        assert con.execute('select count(*) from "my ward"."x; drop table facts"').fetchone()[0] > 0
        assert con.execute("select count(*) from facts").fetchone()[0] > 0


def test_out_writes_the_answer_of_sql_to_a_file(ward, call, tmp_path):
    assert call(*sql(ward, "--out", str(tmp_path / "g.parquet")))[0] == 0
    from tocsin.grading.sql_tables import SCHEMA

    assert pq.read_table(tmp_path / "g.parquet").schema.equals(SCHEMA)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("alter table facts alter time type timestamp", "not a time with its zone"),
        ("alter table facts drop unit", "no column `unit`"),
        ("update facts set unit = '[degF]' where measure = 'temperature'", "temperature in [degF], not Cel"),
        ("update facts set measure = 'temprature'", "`temprature` is no measure"),
        ("update facts set patient_id = null", "no patient_id, time or measure"),
        ("delete from facts", "no row to read"),
    ],
)
def test_a_table_that_is_not_canonical_is_refused(change, said, ward, call):
    """Numbers in another unit would be graded as they stand."""
    with duckdb.connect(ward.removeprefix("duckdb:///")) as con:
        con.execute(change)
    code, out, err = call(*sql(ward))
    assert (code, out) == (1, "")
    assert said in err


def test_a_scale_sql_cannot_say_is_refused_by_name_and_left_out_of_all(ward, call, tmp_path):
    """One more scale of the site's; under `all` the rest is graded."""
    from test_grading_sql import LOW, NE, written

    written(tmp_path / "site", "counts-above", f'{LOW}\n{NE}\nx = {{ count_of = ["low", "ne"], above = 1 }}')
    own = ("--definitions", str(tmp_path / "site"))
    code, _, said = call(*sql(ward, *own, "--scale", "counts-above", "--into", "grades"))
    assert (code, "scale `counts-above`" in said) == (1, True)
    with duckdb.connect(ward.removeprefix("duckdb:///")) as con:
        assert not con.execute("from duckdb_tables() where table_name = 'grades'").fetchall()


def test_stopped_half_way_the_database_is_as_it_was(ward, tmp_path):
    """Ctrl-C while scales are graded: no table, exit code 130."""
    process = subprocess.Popen(
        [TOCSIN, *sql(ward, "--scale", "all", "--into", "grades")], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: __import__("signal").signal(2, __import__("signal").default_int_handler),
    )  # fmt: skip
    time.sleep(8)
    process.send_signal(2)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    with duckdb.connect(ward.removeprefix("duckdb:///")) as con:
        names = {name for (name,) in con.execute("select table_name from duckdb_tables()").fetchall()}
    assert names == {"facts", "notes", 'all "facts"'}


def test_no_password_is_shown(call):
    code, out, err = call(*sql("postgresql://grader:sesame@127.0.0.1:1/ward"))
    assert (code, "sesame" in out + err) == (1, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "sql"], "needs --connection"),
        (["--engine", "sql", "--connection", "duckdb:///x", "facts.csv"], "not facts.csv"),
        (["facts.csv", "--connection", "duckdb:///x"], "goes with --engine"),
        (["facts.csv", "--into", "grades"], "goes with --engine"),
        (["facts.csv", "--engine", "spark", "--replace"], "goes with --into"),
        (["facts.csv", "--engine", "spark", "--plot", "x.png"], "leave out --engine"),
        (["--engine", "sql", "--connection", "duckdb:///x", "--strict"], "--strict is for reading files"),
        ([], "Missing argument"),
    ],
)
def test_options_that_cannot_be_meant_together_are_bad_usage(words, said, call):
    code, _, err = call("grade", *words)
    assert (code, said in err) == (2, True), err


# --- folders as they come -------------------------------------------------------------------------------


def both(call: Any, *words: str) -> tuple[pa.Table, pa.Table, str]:
    """The answer of this process and of Spark to the same command, and what Spark's said."""
    code, _, said = call("grade", *words, "--out", "here.parquet")
    assert code == 0, said
    code, _, said = call("grade", *words, "--engine", "spark", "--out", "there.parquet")
    assert code == 0, said
    return pq.read_table("here.parquet"), pq.read_table("there.parquet"), said


def test_the_command_gives_one_answer_on_every_engine(facts, plain, session, call, tmp_path):
    """In one order, whatever the order of files."""
    dealt(facts, tmp_path / "facts", 5)
    _, there, said = both(call, "facts", "--scale", "all")
    assert there.equals(plain), said
    assert "Spark reads 5 files" in said


def test_half_a_patient_in_each_of_two_files_is_one_patient(session, call, tmp_path, examples):
    """Fever in one file, the pressor in the other."""
    course = tocsin.read(examples / "axi-cel-course.csv")
    odd = pa.array(np.arange(len(course)) % 2 == 1)
    put(course.filter(odd), tmp_path / "facts" / "b.parquet")
    put(course.filter(pc.invert(odd)), tmp_path / "facts" / "a.parquet")
    here, there, said = both(call, "facts", "--scale", "astct-2019", "--scale", "lee-2014")
    assert here.equals(there)
    assert here.equals(grade_table(course, ["astct-2019", "lee-2014"]))
    assert "1 patient in more than one file" in said


def test_what_is_no_facts_file_is_read_here_first(session, call, examples):
    here, there, said = both(call, str(examples / "axi-cel-course.csv"))
    assert here.equals(there)
    assert "reading here first" in said


def broken(whole: Path, path: Path, where: str) -> None:
    """A copy of a file with its end cut off, or with damage in the middle of its data."""
    data = bytearray(whole.read_bytes())
    if where == "end":
        path.write_bytes(data[: len(data) // 2])
        return
    start = pq.ParquetFile(whole).metadata.row_group(0).column(3).data_page_offset
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)


@pytest.mark.parametrize("where", ["end", "middle"])
@pytest.mark.parametrize("engine", [None, "spark"])
def test_one_broken_file_of_a_folder_is_named_and_nothing_is_answered(
    engine, where, facts, session, call, tmp_path
):
    """The others alone would look like a whole answer."""
    dealt(facts, tmp_path / "facts", 2)
    broken(next((tmp_path / "facts").iterdir()), tmp_path / "facts" / "zz.parquet", where)
    chosen = ("--engine", engine) if engine else ()
    code, _, said = call("grade", "facts", *chosen, "--out", "grades.parquet")
    assert code == 1
    assert "zz.parquet" in said
    assert "Traceback" not in said
    assert not (tmp_path / "grades.parquet").exists()


@pytest.mark.parametrize("engine", ["python", "spark"])
def test_one_id_in_two_folders_is_one_person_and_that_is_said(engine, session, call, tmp_path, examples):
    """Parts of a record, or two hospitals that number alone: only the reader can tell."""
    course = tocsin.read(examples / "axi-cel-course.csv")
    put(course.slice(0, 200), tmp_path / "north" / "facts.parquet")
    put(course.slice(200), tmp_path / "south" / "facts.parquet")
    code, _, said = call("grade", "north", "south", "--engine", engine, "--out", "grades.parquet")
    assert code == 0
    assert "1 patient id is in more than one of the folders (demo-07) and read as one person" in said
    assert pq.read_table("grades.parquet").equals(grade_table(course))
    code, _, said = call("grade", "north", "--engine", engine, "--out", "grades.parquet")
    assert "more than one of the folders" not in said


def test_a_patient_with_a_million_facts(session, call, tmp_path):
    """One patient fills many of Spark's batches, and a neighbour follows."""
    rng = np.random.default_rng(5)
    rows, start = 1_000_000, np.datetime64("2026-01-01T00:00:00", "us").astype(np.int64)
    names = np.array(["temperature", "spo2", "mean-bp", "heart-rate"])[rng.integers(0, 4, rows)]
    value = np.select(
        [names == "temperature", names == "spo2", names == "mean-bp"],
        [rng.normal(37.6, 0.7, rows).round(1), rng.integers(84, 100, rows), rng.normal(75, 12, rows).round()],
        80.0,
    )
    units = {"temperature": "Cel", "spo2": "%", "mean-bp": "mm[Hg]", "heart-rate": "/min"}
    whole = pa.table({
        "patient_id": pa.array(["a"] * (rows - 3) + ["b"] * 3),
        "time": pa.array(start + np.arange(rows) * 20_000_000).cast(pa.timestamp("us", tz="UTC")),
        "measure": names, "value": value, "unit": [units[name] for name in names.tolist()],
    })
    put(tocsin.read(whole), tmp_path / "facts.parquet")
    here, there, _ = both(call, "facts.parquet")
    assert here.equals(there)
    assert len(here) > 1000


# --- Spark's own ----------------------------------------------------------------------------------------


def test_workers_use_the_definitions_of_the_driver(session, call, tmp_path, examples):
    """A site's own scale is nowhere on the workers; the answer carries its hash."""
    from test_grading_sql import HOT, written

    written(tmp_path / "site", "only-hot", HOT.replace("hot", "x"))
    own = ("--definitions", str(tmp_path / "site"), "--scale", "only-hot")
    here, there, _ = both(call, str(examples / "axi-cel-course.csv"), *own)
    assert here.equals(there)
    assert set(there["definition"].to_pylist()) == {library((tmp_path / "site",)).scale("only-hot").hash}


def test_the_compiled_machine_is_taken_up_elsewhere_without_compiling(tmp_path):
    """Another computer: the sources lie elsewhere, with other times, and its cache is empty."""
    from tocsin.grading.shipped import packed
    from tocsin.testing import patient

    grade_table(patient("0 h temperature 39.0 Cel"), engine="numba")
    (tmp_path / "parcel").write_bytes(packed() or b"")
    shutil.copytree(ROOT / "src" / "tocsin", tmp_path / "there" / "tocsin", copy_function=shutil.copyfile)
    code = (
        "import sys; from pathlib import Path\n"
        "from tocsin.grading.compiled import grade_all, is_cached\n"
        "from tocsin.grading.shipped import take_up\n"
        "from tocsin.grading.batch import grade_table\n"
        "from tocsin.testing import patient\n"
        "assert not is_cached()\n"
        "assert take_up(Path(sys.argv[1]).read_bytes())\n"
        "grade_table(patient('0 h temperature 39.0 Cel'), engine='numba')\n"
        "stats = grade_all().stats\n"
        "assert sum(stats.cache_hits.values()) == 1 and not stats.cache_misses, stats\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "parcel")], capture_output=True, text=True, check=False,
        env=dict(os.environ, PYTHONPATH=str(tmp_path / "there"), TOCSIN_CACHE=str(tmp_path / "cache")),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_parcel_of_another_version_is_left_alone(tmp_path, monkeypatch):
    import pickle
    import zlib

    from tocsin.grading.shipped import take_up

    monkeypatch.setenv("TOCSIN_CACHE", str(tmp_path))
    assert not take_up(zlib.compress(pickle.dumps(("another", {"x.nbi": b""}))))
    assert not list(tmp_path.rglob("*.nbi"))


def test_a_frame_that_is_not_facts_is_refused(session):
    from tocsin.grading import spark

    frame = session.createDataFrame([("p", "temperature")], "patient_id string, measure string")
    with pytest.raises(TocsinError, match="no column `time`"):
        spark.grade(frame)
    naive = session.sql("select 'p' patient_id, 'temperature' measure, timestamp_ntz'2026-01-01 00:00' time")
    with pytest.raises(TocsinError, match="no time zone"):
        spark.grade(naive)
    lost = session.sql("select 'p' patient_id, string(null) measure, timestamp'2026-01-01 00:00:00Z' time")
    with pytest.raises(TocsinError, match="no patient_id, time or measure"):
        spark.grade(lost)


def test_into_is_a_folder_that_appears_whole(session, call, tmp_path, examples):
    course = str(examples / "axi-cel-course.csv")
    assert call("grade", course, "--engine", "spark", "--into", "grades")[0] == 0
    told = pq.read_table(tmp_path / "grades")
    assert told.cast(grade_table(tocsin.read(course)).schema).sort_by(ORDER).equals(
        grade_table(tocsin.read(course)).sort_by(ORDER)
    )
    code, _, said = call("grade", course, "--engine", "spark", "--into", "grades")
    assert (code, "is there already" in said) == (1, True)
    assert call("grade", course, "--engine", "spark", "--into", "grades", "--replace")[0] == 0
    (tmp_path / "notes").mkdir()
    code, _, said = call("grade", course, "--engine", "spark", "--into", "notes", "--replace")
    assert (code, "not written by Spark" in said) == (1, True)
    assert not list(tmp_path.glob(".grades*"))


@pytest.mark.parametrize("missing", ["pyspark", "java"])
def test_what_spark_needs_and_is_not_there_is_said_with_the_command(missing, tmp_path, examples):
    code = "from tocsin.cli.front import main; main()"
    if missing == "pyspark":
        code = f"import sys; sys.modules['pyspark.sql'] = None; {code}"
    done = subprocess.run(
        [sys.executable, "-c", code, "grade", str(examples / "axi-cel-course.csv"), "--engine", "spark"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PATH": str(tmp_path), "JAVA_HOME": ""},
    )  # fmt: skip
    assert done.returncode == 1
    fix = {"pyspark": "pip install 'tocsin[spark]'", "java": "openjdk-17-jre-headless"}
    assert fix[missing] in done.stderr
    assert "Traceback" not in done.stderr


# --- the page -------------------------------------------------------------------------------------------


def page(start: str) -> list[str]:
    """The words of the command on docs/scale.md that begins so."""
    import shlex

    text = (ROOT / "docs" / "scale.md").read_text("utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return shlex.split(line)[1:]


def test_the_command_shown_for_spark_runs(session, call, tmp_path, examples):
    put(tocsin.read(examples / "axi-cel-course.csv"), tmp_path / "facts" / "a.parquet")
    words = page("tocsin grade facts/ --engine spark")
    assert call(*words)[0] == 0
    assert pq.read_table(tmp_path / words[-1]).num_rows


def test_the_command_shown_for_postgresql_runs(databases, call):
    """But for the address: ours is another."""
    words = page("tocsin grade --engine sql --connection postgresql://")
    words = [databases["postgres"] if word.startswith("postgresql://") else word for word in words]
    words[-1] = "shown"
    code, _, said = call(*words)
    assert code == 0, said
