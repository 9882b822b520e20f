"""Bad input at the command line: what a person is told, and that nobody else's rows are lost.

Every message says where, what, why it matters and how to mend it; 1 is an input that cannot be used, 2 a
command that cannot be meant, 130 Ctrl-C, and none of them is a traceback.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from tocsin.cli.front import cli

TOCSIN = Path(sys.executable).with_name("tocsin")
HEAD = "patient_id,time,measure,value,text,unit\n"
FEVER = "p1,2026-01-05T08:00Z,temperature,38.4,,Cel\n"
OTHER = "p2,2026-01-05T08:00Z,temperature,38.4,,Cel\n"
SCALE = """\
id = "our-scale"
title = "A scale of our own"
source = "lee2019"
locator = "page 1"
status = "draft"
outcome = "crs"

[finding.hot]
measure = "temperature"
at_least = 38.0
unit = "Cel"

[[row]]
grade = 1
all = ["hot"]
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str

    def grades(self) -> dict[str, int]:
        """Highest grade proven, by patient."""
        best: dict[str, int] = {}
        for line in map(json.loads, self.out.splitlines()):
            best[line["patient_id"]] = max(best.get(line["patient_id"], 0), line["grade"])
        return best


@pytest.fixture
def tocsin(tmp_path, monkeypatch, capsys):
    """Calls the command line in this process, in an empty folder; output is a pipe, not a terminal."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main([*words], prog_name="tocsin")
        done = Done(int(stopped.value.code or 0), *capsys.readouterr())
        assert "Traceback" not in done.err
        return done

    return call


def put(name: str, data: str | bytes) -> str:
    """A file in the current folder."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return name


def observation(patient: str) -> str:
    """A temperature of 38.4 Cel as a FHIR resource on one line."""
    return json.dumps(
        {
            "resourceType": "Observation", "id": f"o-{patient}", "status": "final",
            "subject": {"reference": f"Patient/{patient}"}, "effectiveDateTime": "2026-01-05T08:00:00Z",
            "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
            "valueQuantity": {"value": 38.4, "system": "http://unitsofmeasure.org", "code": "Cel"},
        }
    )  # fmt: skip


# --- one bad row never costs the others -----------------------------------------------------------------

ROWS = {
    "missing unit": (
        "temperature,101.2,,",
        "temperature 101.2 has no unit",
        "101.2 is possible in [degF] and impossible in Cel; a guess would set the grade",
        "add a `unit` column, or pass --unit temperature=[degF]",
    ),
    "unknown unit": (
        "temperature,101.2,,degrees",
        "temperature 101.2 degrees has a unit that is not known",
        "a number whose unit is not known has no size",
        "write the unit in UCUM (accepted: Cel, [degF]",
    ),
    "a unit of another kind": (
        "temperature,38.4,,kg",
        "temperature 38.4 kg cannot be read in Cel: they measure different things",
        "would be graded as if it were this one",
        "accepted: Cel, [degF]",
    ),
    "unknown measure": (
        "temprature,38.4,,Cel",
        "temprature 38.4 Cel is no measure; did you mean `temperature`?",
        "would silently be missing from the grade",
        "use an id of `tocsin list measures`",
    ),
    "impossible value": (
        "temperature,384,,Cel",
        "temperature 384 Cel is impossible: outside 30 to 43 Cel",
        "would be graded as illness, or hide it",
        "correct it at the source",
    ),
    "text where a number is due": (
        "temperature,hot,,Cel",
        "temperature hot Cel has no number where one is due",
        "a text has no size",
        "write the number with a decimal point",
    ),
    "a decimal comma": (
        'temperature,"38,4",,Cel',
        "temperature 38,4 Cel has no number where one is due",
        "a text has no size",
        "with a decimal point",
    ),
    "unknown word": (
        "oxygen-device,,nasl-cannula,",
        "`nasl-cannula`, which is not known; did you mean `nasal-cannula`?",
        "would be read as nothing charted",
        "one of room-air, blow-by, nasal-cannula",
    ),
    "too few columns": (
        "temperature",
        "has another number of columns than the header (6)",
        "which value belongs to which column is not known",
        "quote texts that contain the delimiter",
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_bad_row_is_explained_and_costs_itself_alone(tocsin, case):
    """Where, what, why, fix; the good rows before and after it are graded; `--strict` makes it an error."""
    bad, what, why, fix = ROWS[case]
    chart = put("vitals.csv", f"{HEAD}{FEVER}p1,2026-01-05T09:00Z,{bad}\n{OTHER}")
    done = tocsin("grade", chart)
    assert done.code == 0
    assert done.grades() == {"p1": 1, "p2": 1}
    message = re.search(r"(vitals\.csv, row 2: .*)\n  why: (.*)\n  fix: (.*)", done.err)
    where, said_why, said_fix = message.groups()
    assert what in where
    assert why in said_why
    assert fix in said_fix
    assert "rows not taken as written: 1 rejected" in done.err
    strict = tocsin("grade", chart, "--strict", "--out", "grades.csv")
    assert strict.code == 1
    assert "1 row not taken as written, and --strict was given" in strict.err
    assert not Path("grades.csv").exists()


@pytest.mark.parametrize(
    ("moment", "what", "fix"),
    [
        ("2026-01-05T09:00", "has a `time` without a time zone", "2024-03-01T14:30+01:00"),
        ("yesterday", "has a `time` that is no time", "ISO 8601"),
        ("", "has no time", "fill `time`"),
    ],
)
def test_a_time_nobody_can_place_costs_itself_alone(tocsin, moment, what, fix):
    """The same clock time is a different instant in every zone, so a naive one is not guessed."""
    chart = put("vitals.csv", f"{HEAD}{FEVER}p1,{moment},temperature,41,,Cel\n{OTHER}")
    done = tocsin("grade", chart)
    assert done.code == 0
    assert done.grades() == {"p1": 1, "p2": 1}
    assert f"vitals.csv, row 2: temperature 41 Cel {what}" in done.err
    assert fix in done.err


@pytest.mark.parametrize(
    ("rate", "said", "fix"),
    [
        ("5,,mL/h", "5 mL/h is a rate that cannot become ug/kg/min", "chart the rate as ug/kg/min"),
        ("5,,ug/min", "no weight was charted by then", "add a `weight` row in kg"),
    ],
)
def test_a_pressor_of_unknown_dose_runs_all_the_same(tocsin, rate, said, fix):
    """It proves grade 3 of ASTCT, where dose does not matter; under Penn the high dose is not ruled out."""
    rows = f"p1,2026-01-05T09:00Z,systolic-bp,80,,mmHg\np1,2026-01-05T09:00Z,norepinephrine,{rate}\n"
    chart = put("vitals.csv", HEAD + FEVER + rows + OTHER)
    done = tocsin("grade", chart, "--scale", "astct-2019", "--scale", "penn-2018")
    assert done.code == 0
    assert done.grades() == {"p1": 3, "p2": 1}
    assert said in done.err
    assert fix in done.err
    assert "rows not taken as written: 1 kept as running" in done.err
    spans = [json.loads(line) for line in done.out.splitlines()]
    penn = [span for span in spans if span["patient_id"] == "p1" and span["scale"] == "penn-2018"]
    assert max(span["up_to"] for span in penn) == 4


def test_a_fhir_line_that_is_not_json_costs_itself_alone(tocsin):
    """The line is named; the resources before and after it are graded."""
    lines = [observation("p1"), observation("p2")]
    done = tocsin("grade", put("Observation.ndjson", f"{lines[0]}\n{{resourceType: oops\n{lines[1]}\n"))
    assert done.code == 0
    assert done.grades() == {"p1": 1, "p2": 1}
    assert "Observation.ndjson, row 2: {resourceType: oops is not JSON" in done.err
    assert "missing, not absent" in done.err
    assert "write one resource a line" in done.err


LIMITED = """\
import resource, sys
memory = 1536 << 20
resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
from tocsin.cli.front import main
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("form", ["csv", "jsonl", "fhir"])
def test_a_line_of_two_gigabytes_costs_itself_alone(tmp_path, form):
    """Graded within less memory than the line has; on disk the line is mostly a hole."""
    fact = {"time": "2026-01-05T08:00Z", "measure": "temperature", "value": 38.4, "unit": "Cel"}
    line = {
        "csv": {"p1": HEAD + FEVER, "p2": OTHER},
        "jsonl": {name: json.dumps({"patient_id": name, **fact}) + "\n" for name in ("p1", "p2")},
        "fhir": {name: observation(name) + "\n" for name in ("p1", "p2")},
    }[form]
    path = tmp_path / {"csv": "chart.csv", "jsonl": "chart.jsonl", "fhir": "chart.ndjson"}[form]
    with path.open("wb") as file:
        file.write(line["p1"].encode() + b"x" * 100_000)
        file.seek(2 << 30, os.SEEK_CUR)
        file.write(b"\n" + line["p2"].encode())
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "grade", str(path)], capture_output=True, text=True, check=False
    )
    path.unlink()
    assert done.returncode == 0, done.stderr
    assert Done(done.returncode, done.stdout, done.stderr).grades() == {"p1": 1, "p2": 1}
    assert re.search(r", row 2: is (a line )?longer than \d+ M", done.stderr), done.stderr


def test_rejects_go_where_they_are_told(tocsin):
    """A spreadsheet of what to mend: file, row, what, why, fix."""
    chart = put("vitals.csv", HEAD + FEVER + "p1,2026-01-05T09:00Z,temperature,101.2,,\n")
    done = tocsin("grade", chart, "--rejects", "mend.csv")
    assert done.code == 0
    assert "see mend.csv" in done.err
    head, row = Path("mend.csv").read_text().splitlines()
    assert head.replace('"', "").startswith("file,row,patient_id,time,measure,value")
    assert "has no unit" in row


# --- a whole input that cannot be used ------------------------------------------------------------------


def parquet() -> bytes:
    """A facts file as `tocsin facts` writes it."""
    import pyarrow.csv

    from tocsin.definitions.load import library
    from tocsin.facts import canonical, write_facts

    table = pyarrow.csv.read_csv(io.BytesIO((HEAD + FEVER + OTHER).encode()))
    write_facts(canonical(table, lib=library()).table.to_batches(), "whole.parquet")
    return Path("whole.parquet").read_bytes()


JUNK = bytes(range(256)) * 40
CUT = gzip.compress((HEAD + FEVER * 20_000).encode())[:-100]
NAMELESS = HEAD.replace("patient_id", "patient").encode()
REFUSED = f"{HEAD}p1,2026-01-05T09:00Z,temperature,101.2,,\n".encode()
WHOLE = {
    "empty": ("f.csv", b"", "f.csv: is empty", "check the export"),
    "blank": ("f.csv", b"\r\n\r\n", "f.csv: is empty", "check the export"),
    "header only": ("f.csv", HEAD.encode(), "f.csv: there is no row to read", ""),
    "truncated gzip": ("f.csv.gz", CUT, "f.csv.gz: the gzip ends before its end", "copy it again"),
    "binary named CSV": ("f.csv", JUNK, "f.csv: is not UTF-8 text", "save it again as UTF-8"),
    "binary named Parquet": ("f.parquet", JUNK, "f.parquet: is no Parquet", "copy it again"),
    "no columns of ours": ("f.csv", b"a,b\n1,2\n", "f.csv: has no column `patient_id`", "name the columns"),
    "near columns": ("f.csv", NAMELESS, "did you mean `patient`?", "name the columns"),
    "only bad rows": ("f.csv", REFUSED, "f.csv: no row was usable", "[degF]"),
}


@pytest.mark.parametrize("case", WHOLE)
def test_an_input_that_cannot_be_used_is_refused(tocsin, case):
    """Exit 1, no answer at all: half an answer, or an empty one, would look like a patient without CRS."""
    name, data, said, fix = WHOLE[case]
    put(name, data)
    done = tocsin("grade", name, "--out", "grades.csv")
    assert done.code == 1
    assert said in done.err
    assert "why: " in done.err
    assert fix in done.err
    assert not Path("grades.csv").exists()


@pytest.mark.parametrize("kept", [3, 100, -1])
def test_a_truncated_parquet_is_refused(tocsin, kept):
    """Its end says where the rows are; without it nothing can be read."""
    put("f.parquet", parquet()[:kept])
    done = tocsin("grade", "f.parquet")
    assert done.code == 1
    assert "f.parquet: " in done.err
    assert "copy it again" in done.err


def test_what_is_not_there_is_told_apart_from_what_says_nothing(tocsin):
    """A path that does not exist, a folder with nothing in it, a folder of something else."""
    assert "nowhere.csv: no such file or folder" in tocsin("grade", "nowhere.csv").err
    Path("nothing").mkdir()
    put("letters/readme.md", "hello")
    for folder in ("nothing", "letters"):
        done = tocsin("grade", folder)
        assert done.code == 1
        assert f"{folder}: holds nothing that is recognised" in done.err
        assert "a folder of CLIF, MEDS, OMOP or FHIR" in done.err


def test_one_missing_file_of_two_is_an_error(tocsin):
    """A chart without its second half would be graded as if that half had not happened."""
    done = tocsin("grade", put("a.csv", HEAD + FEVER), "b.csv")
    assert done.code == 1
    assert done.out == ""
    assert "b.csv: no such file or folder" in done.err


# --- input that is only dressed differently -------------------------------------------------------------


@pytest.mark.parametrize(
    "dressed",
    [
        (HEAD + FEVER).encode("utf-8-sig"),
        (HEAD + FEVER).replace("\n", "\r\n").encode(),
        (HEAD + FEVER).replace(",", ";").encode(),
        (HEAD + FEVER).replace(",", "\t").encode(),
        (HEAD + FEVER).replace(",", ";").replace("\n", "\r\n").encode("utf-8-sig"),
        (HEAD.upper() + FEVER).encode(),
        (HEAD + FEVER).replace("08:00Z", "09:00+01:00").encode(),
        (HEAD + FEVER).replace("T08:00Z", " 08:00:00+00:00").encode(),
        (HEAD + FEVER.rstrip()).encode(),
        gzip.compress((HEAD + FEVER).encode()),
    ],
    ids=["BOM", "CRLF", "semicolons", "tabs", "Excel", "capitals", "offset", "space", "no last end", "gzip"],
)
@pytest.mark.parametrize("way", ["file", "-"])
def test_a_spreadsheets_habits_change_nothing(tocsin, dressed, way):
    """Byte order mark, line ends, delimiters, offsets, compression: the same facts, so the same answer."""
    plain = tocsin("grade", put("plain.csv", HEAD + FEVER))
    done = tocsin("grade", "-", stdin=dressed) if way == "-" else tocsin("grade", put("x.csv", dressed))
    assert done.code == 0
    assert done.out == plain.out


def test_empty_standard_input_is_named(tocsin):
    """A pipe whose first command failed hands on nothing."""
    done = tocsin("grade", "-")
    assert done.code == 1
    assert "standard input: is empty" in done.err


# --- definitions of a site ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"scales/our-scale.toml": SCALE.replace("at_least", "at_lest")},
            ["our-scale.toml, finding `hot`", "unknown key `at_lest`; did you mean `at_least`?", "fix: "],
        ),
        (
            {"scales/our-scale.toml": SCALE + '\n[finding.a]\nall = ["b"]\n[finding.b]\nall = ["a"]\n'
             '[[row]]\ngrade = 2\nall = ["a"]\n'},
            ["our-scale.toml", "finding `a` rests on itself (a -> b -> a)", "break the circle"],
        ),
        (
            {
                f"{shelf}/mesna.toml": 'id = "mesna"\ntitle = "Mesna"\nstatus = "draft"\nkind = "event"\n'
                for shelf in ("drugs", "symptoms")
            },
            ["`mesna` is already defined in", "ids are unique over all shelves", "rename or remove one"],
        ),
        ({"scales/our-scale.toml": "id = our-scale"}, ["our-scale.toml", "not TOML", "line 1"]),
    ],
    ids=["misspelt key", "cyclic finding", "duplicate", "not TOML"],
)
def test_a_definition_that_cannot_be_trusted_grades_nothing(tocsin, files, said):
    """File, key, near miss and fix: whoever wrote it can mend it from the message."""
    for name, text in files.items():
        put(f"ours/{name}", text)
    chart = put("f.csv", HEAD + FEVER)
    scale = ["--scale", "our-scale"] if any("scales" in name for name in files) else []
    done = tocsin("grade", chart, "--definitions", str(Path("ours").resolve()), *scale)
    assert done.code == 1
    assert done.out == ""
    assert [part for part in said if part not in done.err] == [], done.err


def test_a_sound_definition_of_a_site_grades(tocsin):
    """The same scale without a slip is used like a built-in one."""
    put("ours/scales/our-scale.toml", SCALE)
    ours = str(Path("ours").resolve())
    done = tocsin("grade", put("f.csv", HEAD + FEVER), "--definitions", ours, "--scale", "our-scale")
    assert done.grades() == {"p1": 1}


# --- a command that cannot be meant ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--scale", "astct"], 2, "no scale `astct`; did you mean `astct-2019`?"),
        (["--scale", "xyz"], 2, "one of: astct-2019, "),
        (["--unit", "temperature=celcius"], 2, "--unit temperature=celcius: has a unit that is not known"),
        (["--unit", "temperature=kg"], 2, "cannot be read in Cel"),
        (["--unit", "temprature=Cel"], 2, "no measure `temprature`; did you mean `temperature`?"),
        (["--unit", "temperature"], 2, "is not measure=unit"),
        (["--timezone", "Europe/Berln"], 2, "no time zone `Europe/Berln`; did you mean `Europe/Berlin`?"),
        (["--codes", "ours.toml"], 2, "'ours.toml' does not exist"),
        (["--definitions", "ours"], 2, "'ours' does not exist"),
        (["--out", "nowhere/grades.csv"], 2, "the folder nowhere does not exist"),
        (["--out", "grades.xls"], 2, "cannot write `.xls`; one of .csv, .parquet, .jsonl"),
        (["--out", "f.csv"], 2, "f.csv is also what is read"),
        (["--rejects", "f.csv"], 2, "f.csv is also what is read"),
        (["--rejects", "nowhere/rejects.csv"], 2, "the folder nowhere does not exist"),
        (["--plot", "f.pdf"], 2, "cannot write `.pdf`; one of .html, .png, .svg"),
        (["--patient", "p9"], 1, "no facts of patient p9"),
        (["--why", "p9", "2026-01-05T09:00Z"], 1, "no facts of patient p9"),
        (["--why", "p1", "2026-01-05T09:00"], 2, "does not say its zone"),
        (["--why", "p1", "noon"], 2, "`noon` is not a time"),
        (["--until", "noon"], 2, "`noon` is not a time"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_before_any_work(tocsin, words, code, said):
    """And the file that was read is still what it was."""
    chart = put("f.csv", HEAD + FEVER)
    done = tocsin("grade", chart, *words)
    assert done.code == code
    assert done.out == ""
    assert said in done.err
    assert Path("f.csv").read_text() == HEAD + FEVER
    assert os.listdir() == ["f.csv"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["cite", "lee2018"], 1, "no source `lee2018`; did you mean `lee2019`"),
        (["explain", "temprature"], 1, "no definition `temprature`; did you mean `temperature`?"),
        (["list", "drug"], 2, "drugs"),
        (["grate"], 2, "no command `grate`; did you mean `grade`?"),
        (["grade"], 2, "Missing argument"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_near_one(tocsin, words, code, said):
    """Never a traceback."""
    done = tocsin(*words)
    assert done.code == code
    assert said in done.err


# --- a disk that is full, a person who has waited enough --------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["grade"], ["facts"], ["episodes"]])
def test_a_full_disk_is_an_error_and_not_an_answer(tmp_path, words):
    """Whoever reads a file that was cut off would read it as the whole answer."""
    chart = tmp_path / "f.csv"
    chart.write_text(HEAD + FEVER)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [TOCSIN, *words, chart], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "standard output: cannot be written to its end: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_file_that_does_not_fit_is_not_there(tmp_path, suffix):
    """A limit on the size of files stands for a disk that fills up halfway."""
    chart, out = tmp_path / "f.csv", tmp_path / "out"
    out.mkdir()
    rows = (f"p{n},2026-01-05T08:00Z,temperature,38.4,,Cel\n" for n in range(3000))
    chart.write_text(HEAD + "".join(rows))
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from tocsin.cli.front import main\nmain()\n"
    )
    words = ["grade", str(chart), "--out", str(out / f"g.{suffix}")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert f"g.{suffix}: cannot be written to its end: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(out) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_in_a_long_run_leaves_nothing_behind(tmp_path):
    """No half answer, no hidden piece of one, no folder of scratch: exit 130."""
    chart, out, scratch = tmp_path / "f.csv", tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    with chart.open("w") as file:
        file.write(HEAD)
        for n in range(100_000):
            day, hour, warm = n % 28 + 1, n % 24, 36 + n % 40 / 10
            file.write(f"p{n // 50},2026-01-{day:02d}T{hour:02d}:00Z,temperature,{warm},,Cel\n")
    with subprocess.Popen(
        [TOCSIN, "grade", chart, "--scale", "all", "--out", out / "grades.csv"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(scratch)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        time.sleep(3)  # in the middle of reading or grading: the whole takes far longer
        running.send_signal(signal.SIGINT)
        try:
            _, said = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == 130, said
    assert "stopped" in said
    assert "Traceback" not in said
    assert os.listdir(out) == []
    assert os.listdir(scratch) == []


def test_a_finished_answer_survives_the_next_failure(tocsin):
    """A run that fails does not take the last good file with it."""
    chart = put("f.csv", HEAD + FEVER)
    assert tocsin("grade", chart, "--out", "grades.parquet").code == 0
    put("f.csv", "")
    assert tocsin("grade", chart, "--out", "grades.parquet").code == 1
    assert pq.read_table("grades.parquet").num_rows > 0
