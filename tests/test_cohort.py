"""`tocsin cohort` from files to a page: whole or not at all, the same numbers everywhere, nobody named."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohorts import SCALE, cohort, person, ten
from tocsin.cohort import figures, folders, store
from tocsin.cohort.gather import gather
from tocsin.cohort.persons import Persons
from tocsin.cohort.report import rendered, report, save
from tocsin.cohort.tables import tables
from tocsin.definitions.load import library
from tocsin.definitions.schema import TocsinError
from tocsin.definitions.trial import trial_of
from tocsin.simulation.plan import plan_of_trial
from tocsin.simulation.trials import levels, simulated

LIB = library()
TOCSIN = Path(sys.executable).with_name("tocsin")


def run(*words):
    return subprocess.run([TOCSIN, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """Forty simulated patients as a file."""
    path = tmp_path_factory.mktemp("simulated") / "facts.parquet"
    done = run("simulate", "--therapy", "teclistamab", "--patients", 40, "--seed", 11, "--out", path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def page(facts):
    """The page of those forty under two scales, in a folder of its own."""
    out = facts.parent / "out" / "report.html"
    out.parent.mkdir()
    done = run(
        "cohort",
        facts,
        "--scale",
        SCALE,
        "--scale",
        "lee-2014",
        "--by",
        "sex",
        "--no-complications",
        "--out",
        out,
    )
    assert done.returncode == 0, done.stderr
    return out


# --- the page -------------------------------------------------------------------------------------------


class Asks(HTMLParser):
    """What a page would ask for, and what it would run."""

    def __init__(self):
        super().__init__()
        self.asked, self.scripts, self.ids = [], 0, []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.scripts += tag in {"script", "iframe", "object", "embed", "link"} or any(
            name.startswith("on") for name in given
        )
        self.asked += [
            v
            for name, v in attrs
            if name in {"src", "href", "xlink:href", "action"} and not v.startswith("#")
        ]
        self.ids += [given["id"]] if "id" in given else []


def test_the_page_needs_nothing_else_and_runs_nothing(page):
    text = page.read_text("utf-8")
    found = Asks()
    found.feed(text)
    assert (found.asked, found.scripts) == ([], 0)
    assert "url(http" not in text
    assert "@import" not in text


def test_every_id_in_the_page_is_one_things(page):
    """Figures are drawn apart: two that share an id would cut each other's pictures off."""
    found = Asks()
    found.feed(page.read_text("utf-8"))
    assert len(found.ids) == len({*found.ids})
    for target in re.findall(r'(?:url\(#|href="#)([\w.-]+)', page.read_text("utf-8")):
        assert target in found.ids


def test_each_figure_says_its_n_its_data_cut_and_where_its_numbers_are(page):
    text = page.read_text("utf-8")
    captions = re.findall(r"<figcaption><b>(.*?)</figcaption>", text, re.S)
    assert len(captions) >= 14
    for caption in captions:
        assert "n = 40." in caption
        assert "Data cut" in caption
        for name in re.findall(r"<code>([\w-]+)\.csv</code>", caption):
            assert (page.parent / "report-tables" / f"{name}.csv").is_file()
            assert (page.parent / "report-tables" / f"{name}.parquet").is_file()
    assert sum("Scale: " in caption for caption in captions) >= 10


def test_the_folder_beside_it_says_what_everything_is(page):
    """Every column of every file is in the dictionary; every definition has its hash."""
    folder = page.parent / "report-tables"
    with open(folder / "data-dictionary.csv", newline="", encoding="utf-8") as file:
        told = {(row["table"], row["column"]) for row in csv.DictReader(file)}
    found = {(path.stem, name) for path in folder.glob("*.parquet") for name in pq.read_schema(path).names}
    assert told == found
    made = json.loads((folder / "definitions.json").read_text("utf-8"))
    assert made["definitions"][SCALE] == LIB.definition_hash(SCALE)
    assert made["scales"] == [SCALE, "lee-2014"]
    assert all(re.fullmatch(r"[0-9a-f]{64}", each) for each in made["definitions"].values())


def test_nobody_is_named_unless_asked_for(page, facts, tmp_path):
    """Ids of patients are nowhere in the page or its tables, but with --patient-ids."""
    ids = pq.read_table(facts)["patient_id"].unique().to_pylist()
    written = [
        page.read_text("utf-8"),
        *(p.read_text("utf-8") for p in (page.parent / "report-tables").glob("*.csv")),
    ]
    assert not [name for name in ids for text in written if re.search(rf"{re.escape(name)}\b", text)]
    out = tmp_path / "named.html"
    done = run("cohort", facts, "--patient-ids", "--no-complications", "--out", out)
    assert done.returncode == 0, done.stderr
    assert ids[0] in (tmp_path / "named-tables" / "lanes.csv").read_text("utf-8")


def test_a_report_to_share_has_no_patients_one_by_one():
    made = report(ten(), LIB, patients=False)
    assert not {"lanes", "lane-spans", "lane-given", "disagreements"} & {*made.tables}
    assert not [name for name in made.figures if name.startswith(("lanes", "heat"))]
    assert "Patients one by one" not in rendered(made)


def test_a_title_is_text():
    """Markup in a title, a group or a source is shown, not run."""
    evil = '<script>alert("x")</script>'
    made = report(cohort(person("p", group=evil), by="sex"), LIB, title=evil, draw=False)
    html = rendered(made)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


# --- whole or not at all --------------------------------------------------------------------------------


def test_a_spreadsheet_runs_nothing(tmp_path):
    """A text that starts as a formula gets an apostrophe in the CSV; Parquet and numbers are as they are."""
    texts = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "fine", None]
    table = pa.table({"what": pa.array(texts, pa.string()), "n": [-1.5] * 8})
    folders.write_both([table], table.schema, tmp_path, "t")
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    assert [row["what"] for row in rows] == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "fine", ""]
    assert {row["n"] for row in rows} == {"-1.5"}


def test_a_second_report_takes_the_place_of_the_first(tmp_path):
    page = tmp_path / "report.html"
    for people in (ten(), cohort(person("p"))):
        save(report(people, LIB, draw=False), page)
    assert "in 1 patients" in page.read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report-tables", "report.html"]


def test_a_folder_that_is_no_reports_is_left_alone(tmp_path):
    """The tables take the place of a whole folder: never of somebody's own."""
    mine = tmp_path / "report-tables" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    with pytest.raises(TocsinError, match="no report's tables"):
        save(report(ten(), LIB, draw=False), tmp_path / "report.html")
    assert mine.read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report-tables"]


def test_what_fails_while_it_is_written_leaves_the_old_report(tmp_path, monkeypatch):
    page = tmp_path / "report.html"
    made = report(ten(), LIB, draw=False)
    save(made, page)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "dictionary", stopped)
    with pytest.raises(KeyboardInterrupt):
        save(made, page)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_ctrl_c_leaves_nothing_half_written(facts, tmp_path):
    """Stopped while it works: exit 130 and an empty folder."""
    work = subprocess.Popen(
        [TOCSIN, "cohort", facts, "--out", tmp_path / "report.html"], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    time.sleep(4)
    assert work.poll() is None
    work.send_signal(signal.SIGINT)
    _, said = work.communicate(timeout=60)
    assert work.returncode == 130, said
    assert [*tmp_path.iterdir()] == []


# --- the command ----------------------------------------------------------------------------------------


def test_a_pipe_gets_lines_that_name_their_table_and_their_scale(examples):
    done = run("cohort", examples / "axi-cel-course.csv", "--no-complications")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    any_grade = [line for line in lines if line.get("what") == "crs-any"]
    assert [(line["n"], line["of"], line["scale"]) for line in any_grade] == [(1, 1, SCALE)]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["cohort", "EXAMPLE", "--out", "report.pdf"], 2, "report.pdf"),
        (["cohort", "EXAMPLE", "--by", "therapie"], 2, "did you mean `therapy`"),
        (["cohort", "EXAMPLE", "--scale", "astct"], 2, "no scale `astct`"),
        (["cohort", "EXAMPLE", "--export", "sdtm"], 2, "add --out"),
        (["cohort", "EXAMPLE", "--no-patients", "--patient-ids"], 2, "one of the two"),
        (["cohort", "EXAMPLE", "--patient", "nobody"], 1, "no facts of patient nobody"),
        (["cohort", "no-such-file.csv"], 1, "no-such-file.csv"),
    ],
)
def test_what_cannot_be_meant_is_said(words, code, said, examples):
    done = run(*(str(examples / "axi-cel-course.csv") if word == "EXAMPLE" else word for word in words))
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cohort_of_nobody_is_a_clear_error(tmp_path):
    """A file with a heading alone."""
    (tmp_path / "none.csv").write_text("patient_id,time,measure,value,text,unit\n")
    done = run("cohort", tmp_path / "none.csv", "--out", tmp_path / "report.html")
    assert done.returncode == 1
    assert "no row" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none.csv"]


def test_a_cohort_of_one_has_a_page(examples, tmp_path):
    done = run("cohort", examples / "axi-cel-course.csv", "--out", tmp_path / "one.html", "--title", "One")
    assert done.returncode == 0, done.stderr
    assert "<h1>One</h1>" in (tmp_path / "one.html").read_text("utf-8")


@pytest.mark.slow
def test_real_records_have_a_page(shared, tmp_path):
    """The MIMIC-IV demo: a hundred people without a therapy."""
    done = run(
        "cohort",
        shared / "data" / "mimic-iv-demo-meds",
        "--no-complications",
        "--out",
        tmp_path / "mimic.html",
    )
    assert done.returncode == 0, done.stderr
    flow = pq.read_table(tmp_path / "mimic-tables" / "patient-flow.parquet").to_pylist()
    assert {row["label"]: row["n"] for row in flow}["Without a charted dose"] == flow[0]["n"]


# --- the same numbers everywhere ------------------------------------------------------------------------


def data_of(chart):
    """Every row of data in a chart."""
    spec = chart.to_dict(validate=False)
    found = [row for rows in spec.get("datasets", {}).values() for row in rows]

    def inside(node):
        if isinstance(node, dict):
            if isinstance(node.get("values"), list):
                found.extend(row for row in node["values"] if isinstance(row, dict))
            for each in node.values():
                inside(each)
        elif isinstance(node, list):
            for each in node:
                inside(each)

    inside(spec)
    return found


def asked(people):
    found = tables(people, LIB)
    return found, {one.name: one for one in figures.asked(people, found, LIB)}


def test_the_bars_hold_the_shares_of_the_table():
    found, drawn = asked(ten())
    bars = {
        int(r["grade"]): (r["patients"], r["of"])
        for r in data_of(drawn[f"grades-{SCALE}"].chart())
        if "patients" in r
    }
    told = {
        int(r["what"][-1]): (r["n"], r["of"]) for r in found["proportions"].to_pylist()
        if r["what"].startswith("crs-grade-") and r["n"]
    }  # fmt: skip
    assert bars == told


def test_the_words_at_the_end_of_each_curve_are_the_tables_shares():
    """Six tenths had an onset, three a grade of 2 or more, two of 3 or more, one died before."""
    _, drawn = asked(ten())
    words = {str(row.get("text")) for row in data_of(drawn[f"incidence-{SCALE}"].chart())}
    assert {"60 %", "30 %", "20 %"} <= words


def test_a_square_holds_every_patient_of_the_table():
    people = cohort(
        *(person(name, reached={1: 5.0}) for name in "abc"),
        person("d"),
        *(person(name, scale="lee-2014", reached={1: 5.0, 2: 6.0}) for name in "abc"),
        person("d", scale="lee-2014"),
        scales=(SCALE, "lee-2014"),
    )
    _, drawn = asked(people)
    words = [str(row.get("text")) for row in data_of(drawn[f"confusion-{SCALE}-lee-2014"].chart())]
    assert "3" in words
    assert "1" in words


@pytest.mark.slow
@pytest.mark.parametrize("name", ["axi-cel-mdacc", "cartitude-1", "bispecific-prophylaxis"])
def test_the_report_on_a_simulated_trial_is_what_simulate_says(name):
    """The patients of `tocsin simulate --trial`: shares, onsets and durations are the simulation's own.

    Prophylaxis is given from hour 0 on, but treats nobody: the ward's own doses are those from onset on.
    """
    trial = trial_of(name, LIB)
    plan = plan_of_trial(trial, LIB)
    arm = simulated(replace(plan, sets=plan.sets[:1]), 120, 5, LIB, trial.scale, keep=True)
    people = gather(arm.facts, [trial.scale], lib=LIB, organs=False)
    found, columns = tables(people, LIB), arm.columns
    shares = {row["what"]: row for row in found["proportions"].to_pylist()}
    for row in levels(arm):
        what = "crs-any" if row["grade"] == 1 else f"crs-at-least-{row['grade']}"
        if what in shares:
            assert 100 * shares[what]["share"] == pytest.approx(row["share"])
    for what, column in (
        ("crs-given-tocilizumab", "tocilizumab"),
        ("steroid", "steroid"),
        ("oxygen", "oxygen"),
        ("oxygen-ventilator", "ventilator"),
        ("fever", "fever"),
    ):
        assert shares[what]["n"] == (columns[column] > 0).sum(), what
    assert shares["crs-recurred"]["n"] == (columns["events"] >= 2).sum()
    times = {row["what"]: row for row in found["times"].to_pylist()}
    assert times["onset"]["median"] == pytest.approx(np.nanmedian(columns["onset"]))
    assert times["onset-from-dose"]["median"] == pytest.approx(np.nanmedian(columns["after_dose"]))
    lasted = np.sort(columns["duration"][np.isfinite(columns["onset"])])
    episodes = Persons(people, LIB).episodes(trial.scale)
    np.testing.assert_allclose(np.sort(episodes.lasted[episodes.first]), lasted)
    # Kaplan and Meier's median is the first time at which half have it: of an even number the lower of two
    assert lasted[(len(lasted) - 1) // 2] <= times["duration"]["median"] <= lasted[len(lasted) // 2]


# --- groups of one's own --------------------------------------------------------------------------------


def test_groups_of_ones_own_tell_patients_apart(facts, tmp_path):
    arms = tmp_path / "arms.csv"
    lines = ("\ufeffpatient_id,group", "sim-11-0,arm A", "sim-11-1,arm B", "nobody,arm B", "")
    arms.write_text("\n".join(lines), encoding="utf-8")
    done = run("cohort", facts, "--groups", arms, "--no-complications", "--json")
    assert done.returncode == 0, done.stderr
    assert "1 patient of it not in the cohort" in done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    counts = {row["group"]: row["patients"] for row in rows if row["table"] == "groups"}
    assert counts == {"arm A": 1, "arm B": 1, "unknown": 38, "all": 40}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patient,group\na,b\n", "no column `patient_id`"),
        ("patient_id,group\na,\n", "line 2: a patient or a group is empty"),
        ("patient_id,group\na,x\na,y\n", "line 3: a is in `x` and in `y`"),
    ],
)
def test_groups_that_cannot_be_meant_are_refused(facts, tmp_path, text, said):
    arms = tmp_path / "arms.csv"
    arms.write_text(text, encoding="utf-8")
    done = run("cohort", facts, "--groups", arms)
    assert done.returncode == 1
    assert said in done.stderr


# --- exports beside the page ----------------------------------------------------------------------------


def test_every_export_is_written_beside_the_page_under_pseudonyms(facts, tmp_path):
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef0123456789abcdef")
    out = tmp_path / "report.html"
    asked = [word for name in ("cibmtr-4100", "ebmt", "sdtm", "adam", "fhir") for word in ("--export", name)]
    scales = ("--scale", SCALE, "--scale", "icans-astct-2019")
    words = ("--no-complications", "--no-patients", "--study", "T1", "--subject-key", key, "--out", out)
    done = run("cohort", facts, *scales, *asked, *words)
    assert done.returncode == 0, done.stderr
    for name in ("cibmtr-4100", "ebmt", "sdtm", "adam", "fhir"):
        folder = tmp_path / f"report-{name}"
        assert (folder / "dictionary.csv").exists()
        assert not any(b"sim-11-" in path.read_bytes() for path in folder.iterdir()), name
    with (tmp_path / "report-ebmt" / "crs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    shares = pq.read_table(tmp_path / "report-tables" / "proportions.parquet").to_pylist()
    (told,) = [row for row in shares if row["what"] == "crs-any" and row["scale"] == SCALE]
    assert sum(row["OCCURRED"] == "Yes" for row in rows) == told["n"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--export", "ebmd", "--out", "x.html"), "no export `ebmd`"),
        (("--export", "ebmt"), "--export writes beside a page"),
        (("--study", "T1"), "are for exports"),
    ],
)
def test_an_export_that_cannot_be_meant_is_bad_usage(facts, words, said):
    done = run("cohort", facts, *words)
    assert done.returncode == 2
    assert said in done.stderr


# --- files as they come ---------------------------------------------------------------------------------


def test_half_a_patient_in_each_of_two_files_is_one_patient(examples, tmp_path):
    """Odd rows in one file and even rows in another: the cohort of the whole file."""
    head, *rows = (examples / "axi-cel-course.csv").read_text(encoding="utf-8").splitlines()
    for name, part in (("b.csv", rows[::2]), ("a.csv", rows[1::2])):
        (tmp_path / name).write_text("\n".join([head, *part, ""]), encoding="utf-8")
    whole, halves = (
        run("cohort", source, "--json") for source in (examples / "axi-cel-course.csv", tmp_path)
    )
    assert whole.returncode == halves.returncode == 0, halves.stderr
    assert halves.stdout == whole.stdout


def test_a_folder_with_a_corrupt_file_is_refused_by_its_name(facts, tmp_path):
    (tmp_path / "a.parquet").write_bytes(facts.read_bytes())
    (tmp_path / "b.parquet").write_bytes(facts.read_bytes()[:5000])
    done = run("cohort", tmp_path, "--out", tmp_path.parent / "never.html")
    assert done.returncode == 1
    assert "b.parquet" in done.stderr
    assert not (tmp_path.parent / "never.html").exists()
