"""The command line keeps its word: formats, exit codes, messages, and a way back to the rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tocsin.cli.output import write_file

TOCSIN = Path(sys.executable).with_name("tocsin")


def run(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TOCSIN, *words], capture_output=True, text=True, input=stdin, check=False)


FEVER = "patient_id,time,measure,value,text,unit\np1,2026-01-05T08:00Z,temperature,38.4,,Cel\n"


def test_help_costs_little():
    """`tocsin --help` answers within 0.3 s of CPU, because it imports nothing heavy."""
    code = (
        "import sys; from tocsin.cli.front import cli\n"
        "cli(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for heavy in ("'numpy'", "'pyarrow'", "'numba'", "'altair'", "'duckdb'", "'pint'", "'rich'"):
        assert heavy not in done.stdout


def test_one_patient_imports_nothing_heavy(examples):
    """Grading one small file waits for no compiler and no chart library."""
    code = (
        "import sys; from tocsin.cli.front import cli\n"
        f"cli(['grade', {str(examples / 'axi-cel-course.csv')!r}], standalone_mode=False)\n"
        "print({'numba', 'altair', 'pint', 'polars', 'ibis'} & {*sys.modules} or 'light')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "light"


def test_grade_reads_standard_input_and_answers_json_lines_on_a_pipe():
    """A pipe in, a pipe out: each line is one span of time that names its scale and its definition."""
    done = run("grade", "-", stdin=FEVER)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["grade"] for line in lines if line["start"] == "2026-01-05T08:00:00Z"] == [1]
    assert {line["scale"] for line in lines} == {"astct-2019"}
    assert all(len(line["definition"]) == 64 for line in lines)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_grade_writes_a_whole_file(suffix, tmp_path, examples):
    """`--out` writes the format its name says, and leaves nothing else beside it."""
    out = tmp_path / f"grades.{suffix}"
    done = run("grade", str(examples / "axi-cel-course.csv"), "--scale", "all", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert os.listdir(tmp_path) == [out.name]


def test_rejected_rows_are_counted_and_written(tmp_path):
    """A row without a unit costs itself alone: exit 0, and a file that says why and how to mend it."""
    facts = tmp_path / "vitals.csv"
    facts.write_text(FEVER + "p1,2026-01-05T09:00Z,temperature,101.2,,\n")
    done = run("grade", str(facts), "--out", str(tmp_path / "grades.csv"))
    assert done.returncode == 0, done.stderr
    assert "rows not taken as written: 1 rejected" in done.stderr
    rejects = (tmp_path / "grades.csv.rejects.csv").read_text()
    assert "no unit" in rejects
    assert "vitals.csv" in rejects


def test_strict_refuses_rejects(tmp_path):
    """With `--strict` one rejected row is an error."""
    done = run("grade", "-", "--strict", stdin=FEVER + "p1,2026-01-05T09:00Z,temperature,101.2,,\n")
    assert done.returncode == 1
    assert "--strict" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["grade", "no-such-file.csv"], 1, "no-such-file.csv"),
        (["grade"], 2, "Missing argument"),
        (["grad"], 2, "did you mean `grade`?"),
        (["grade", "-", "--scale", "astct-2018"], 2, "did you mean `astct-2019`?"),
        (["grade", "-", "--out", "grades.xlsx"], 2, ".xlsx"),
        (["grade", "-", "--plot", "picture.gif"], 2, ".gif"),
        (["grade", "-", "--until", "2026-01-05T08:00"], 2, "zone"),
        (["explain", "astct-2018"], 1, "did you mean `astct-2019`?"),
        (["cite", "lee2018"], 1, "did you mean"),
        (["list", "shelves"], 2, "shelves"),
    ],
)
def test_bad_usage_is_told_apart_from_bad_input(words, code, said):
    """2 is a command that cannot be meant, 1 an input that cannot be used; both say what to change."""
    done = run(*words, stdin=FEVER)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_no_usable_row_is_an_error():
    """Answering nothing to rows that were all rejected would look like a patient without CRS."""
    rows = "patient_id,time,measure,value,unit\np1,2026-01-05T08:00Z,temperature,101.2,\n"
    done = run("grade", "-", stdin=rows)
    assert done.returncode == 1
    assert "no row was usable" in done.stderr


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_file_stopped_halfway_is_not_there(suffix, tmp_path):
    """Stopped in the middle of writing: no file, rather than half a file."""

    def some():
        yield pa.table({"patient_id": ["p1"]})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(some(), tmp_path / f"grades.{suffix}")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_exits_130(tmp_path):
    """Ctrl-C is told apart from an answer and from an error."""
    with subprocess.Popen(
        [TOCSIN, "grade", "-", "--out", tmp_path / "grades.csv"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as waiting:
        time.sleep(1.5)  # long enough to be waiting for its input
        waiting.send_signal(signal.SIGINT)
        said = waiting.stderr.read()
    assert waiting.returncode == 130, said
    assert "Traceback" not in said
    assert os.listdir(tmp_path) == []


def test_why_prints_the_rows_behind_a_grade(examples):
    """From a grade back to the rows of the file that caused it."""
    done = run("grade", str(examples / "a19-one-pressor-low-flow.csv"), "--why", "A19", "2026-01-05T13:00Z")
    assert done.returncode == 0, done.stderr
    assert "norepinephrine" in done.stdout
    assert "a19-one-pressor-low-flow.csv:" in done.stdout



def test_why_answers_nothing_for_an_unknown_patient(examples):
    """A misspelt patient must not look like a patient without findings."""
    done = run("grade", str(examples / "a19-one-pressor-low-flow.csv"), "--why", "A91", "2026-01-05T13:00Z")
    assert done.returncode == 1
    assert "no facts of patient A91" in done.stderr


@pytest.mark.parametrize("suffix", ["png", "svg", "html"])
def test_plot_draws_one_patient(suffix, tmp_path, examples):
    """One patient, one picture, in the format its name says."""
    picture = tmp_path / f"timeline.{suffix}"
    done = run("grade", str(examples / "a19-one-pressor-low-flow.csv"), "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == [picture.name]
    start = {"png": b"\x89PNG", "svg": b"<svg", "html": b"<"}[suffix]
    assert picture.read_bytes().lstrip().startswith(start)


def test_plot_asks_which_patient(tmp_path, examples):
    """Two patients in one picture would be read as one; the message says how to choose."""
    names = ("a19-one-pressor-low-flow.csv", "p01-child-pressure-limit.csv")
    files = [str(examples / name) for name in names]
    done = run("grade", *files, "--plot", str(tmp_path / "x.png"))
    assert done.returncode == 2
    assert "--patient A19" in done.stderr


def test_several_files_are_one_record(tmp_path):
    """A weight in one file serves the infusion in another."""
    (tmp_path / "weights.csv").write_text(
        "patient_id,time,measure,value,unit\np1,2026-01-05T07:00Z,weight,70,kg\n"
    )
    (tmp_path / "pumps.csv").write_text(
        "patient_id,time,measure,value,unit\np1,2026-01-05T08:00Z,norepinephrine,7,mcg/min\n"
    )
    out = tmp_path / "facts.parquet"
    done = run("facts", str(tmp_path / "weights.csv"), str(tmp_path / "pumps.csv"), "--out", str(out))
    assert done.returncode == 0, done.stderr
    rates = {row["measure"]: row["value"] for row in pq.read_table(out).to_pylist()}
    assert rates["norepinephrine"] == pytest.approx(0.1)


def test_facts_written_are_read_back_the_same(tmp_path, examples):
    """A facts file graded again gives the same answer as the source it came from."""
    source, facts = str(examples / "axi-cel-course.csv"), str(tmp_path / "facts.parquet")
    assert run("facts", source, "--out", facts).returncode == 0
    assert run("grade", source, "--scale", "all").stdout == run("grade", facts, "--scale", "all").stdout


def test_until_cuts_the_answer(examples):
    """Nothing is said about the time after `--until`."""
    done = run("grade", str(examples / "axi-cel-course.csv"), "--until", "2026-03-05T00:00Z")
    assert max(json.loads(line)["end"] for line in done.stdout.splitlines()) == "2026-03-05T00:00:00Z"


def test_explain_names_every_rung_and_its_source():
    """The page of a scale can be laid beside the paper: every grade, every reading, the citation."""
    page = run("explain", "astct-2019").stdout
    for grade in range(1, 6):
        assert f"Grade {grade}" in page
    assert "Lee" in page
    assert "38" in page


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fever-counts", ["# The finding `fever-counts`", "## In astct-2019", "38 Cel"]),
        ("oxygen", ["# Oxygen: devices, flow, FiO2", "`flow-above-6`"]),
        ("vasopressin", ["# Vasopressin (`vasopressin`)", "# The finding `vasopressin`"]),
        ("closing", ["24 h at grade 0", "48 h once one of these was given", "`ice-score` or `capd-score`"]),
        ("axicabtagene-ciloleucel", ["Risk window: 20 d", "trial: ZUMA-1", "crs any pct: 94"]),
    ],
)
def test_whatever_an_answer_names_can_be_explained(name, said):
    """`because` names findings, an episode ends by a rule, a trigger is a therapy: each has a page."""
    page = run("explain", name).stdout
    assert [part for part in said if part not in page] == []


@pytest.mark.parametrize(
    ("shelf", "name"),
    [("scales", "lee-2014"), ("findings", "fever"), ("episodes", "closing"), ("drugs", "ecmo")],
)
def test_every_shelf_is_listed(shelf, name):
    """What is listed can be explained."""
    listed = [json.loads(line)["id"] for line in run("list", shelf).stdout.splitlines()]
    assert name in listed
    assert run("explain", listed[0]).returncode == 0
