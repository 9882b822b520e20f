"""`tocsin advise` whole: keys other programs rely on, refusals that cost nothing else, the whole demo."""

from __future__ import annotations

import gc
import json
from datetime import timedelta

import pyarrow as pa
import pytest
from click.testing import CliRunner

from tocsin.cli.front import cli
from tocsin.definitions.load import library
from tocsin.facts import SCHEMA
from tocsin.guidance.answer import advise
from tocsin.guidance.chart import Chart
from tocsin.sources.read import open_source
from tocsin.testing import START, patient

LIB = library()
KEYS = {
    "patient_id", "at", "therapy", "weight", "grades", "episode", "given", "actions", "product",
    "product_note",
    "clocks", "tests_due", "markers", "causes", "windows", "disagreements", "outlook", "not_for_this_patient",
    "missing", "refused", "definitions",
}  # fmt: skip
ACTION = {
    "guideline",
    "action",
    "strength",
    "text",
    "drug",
    "dose",
    "dose_rounded",
    "unit",
    "allowed",
    "limit",
    "if_known",
    "source",
    "status",
}
ILL = (
    "0 h weight 70 kg",
    "1 h axicabtagene-ciloleucel",
    "40 h temperature 39 Cel",
    "41 h systolic-bp 82 mm[Hg]",
    "41.25 h systolic-bp 80 mm[Hg]",
    "41.5 h spo2 96 %",
)


def told(*lines: str, hours: float | None = None, strict: bool = True, **how):
    """One patient's answer."""
    at = None if hours is None else START + timedelta(hours=hours)
    (answer,) = advise(patient(*lines, strict=strict), at, **how)
    return answer


def tocilizumab(answer):
    """Every row that asks for tocilizumab by weight."""
    return [
        row for row in answer["actions"] if row["drug"] == "tocilizumab" and row["guideline"] != "nci-2016"
    ]


def test_the_keys_other_programs_rely_on_are_there():
    answer = told(*ILL, hours=42)
    assert set(answer) >= KEYS
    assert all(set(row) >= ACTION for row in answer["actions"])
    json.dumps(answer)


def test_the_dose_and_the_strictest_limit_are_the_same_in_every_row():
    answer = told(*ILL, "41.6 h tocilizumab 560 mg", hours=48)
    rows = tocilizumab(answer)
    assert len(rows) > 4
    assert {row["dose"] for row in rows} == {560}
    assert {row["allowed"] for row in rows} == {False}
    assert len({row["limit"] for row in rows}) == 1
    assert {row["allowed"] for row in tocilizumab(told(*ILL, "41.6 h tocilizumab 560 mg", hours=49.6))} == {
        True
    }


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ((20, 30), True),
        ((42, 51, 60), False),
        ((20, 30, 40), True),
        ((10, 20, 30, 40), False),
    ],
)
def test_the_third_in_24_h_and_the_fifth_in_total_are_refused(given, allowed):
    doses = [f"{hour} h tocilizumab 560 mg" for hour in given]
    lines = [line.replace("40 h", "60 h").replace("41", "61", 1) if line[0] == "4" else line for line in ILL]
    answer = told(*lines, *doses, "61.5 h systolic-bp 80 mm[Hg]", hours=65.5)
    assert {row["allowed"] for row in tocilizumab(answer)} == {allowed}


def test_a_patient_with_nothing_charted_is_asked_about_and_told_nothing_is_fine():
    answer = told("0 h heart-rate 80 /min")
    asked = " ".join(answer["missing"])
    assert answer["grades"]["astct-2019"]["up_to"] == 4
    for name in ("therapy", "temperature", "weight", "age"):
        assert name in asked
    assert answer["actions"] == []


def test_an_impossible_weight_refuses_the_dose_and_nothing_else():
    answer = told("0 h weight 7000 kg", *ILL[1:], hours=42, strict=False)
    rows = tocilizumab(answer)
    assert rows
    assert {row["dose"] for row in rows} == {None}
    assert {row["allowed"] for row in rows} == {True}
    assert any("weight" in text for text in answer["refused"])
    assert answer["clocks"] is not None
    assert any(row["drug"] == "dexamethasone" and row["dose"] == 10 for row in answer["actions"])


def test_weights_that_contradict_each_other_are_refused_by_their_numbers():
    answer = told("0.5 h weight 130 kg", *ILL, hours=42)
    assert any("70" in text and "130" in text for text in answer["refused"])


def test_a_dose_above_the_label_is_shown():
    answer = told(*ILL, "41.6 h tocilizumab 1200 mg", hours=48)
    assert any("1200 mg" in text for text in answer["refused"])


def test_the_answer_at_a_moment_knows_nothing_of_later():
    early = told(*ILL, hours=42)
    assert told(*ILL, "43 h norepinephrine 0.3 ug/kg/min", "50 h death crs", hours=42) == early


def test_every_answers_of_a_course_are_those_of_its_moments():
    facts = patient(*ILL)
    many = {answer["at"]: answer for answer in advise(facts, every_hours=6)}
    for at, answer in many.items():
        (alone,) = advise(facts, START.fromisoformat(at))
        assert alone == answer


def test_a_patient_not_known_by_then_is_left_out():
    assert list(advise(patient(*ILL), START - timedelta(hours=1))) == []


def test_all_patients_of_the_clif_demo_are_answered_every_day_without_error(clif_demo):
    facts = pa.Table.from_batches(list(open_source([str(clif_demo)], lib=LIB).batches()), SCHEMA)
    patients = set()
    for answer in advise(facts, every_hours=24):
        patients.add(answer["patient_id"])
        assert set(answer) >= KEYS
        assert all(row["strength"] for row in answer["actions"])
    assert len(patients) == 100


@pytest.fixture
def course(tmp_path):
    """A file of the patient above."""
    path = tmp_path / "facts.csv"
    path.write_text(
        "patient_id,time,measure,value,text,unit\n"
        "p1,2026-03-01T00:00Z,weight,70,,kg\n"
        "p1,2026-03-01T01:00Z,axicabtagene-ciloleucel,,,\n"
        "p1,2026-03-02T16:00Z,temperature,39,,Cel\n",
        encoding="utf-8",
    )
    return path


def run(*words: str):
    return CliRunner().invoke(cli, ["advise", *map(str, words)])


def test_the_command_prints_one_object_a_patient(course):
    done = run(course, "--at", "2026-03-02T17:00Z", "--json")
    assert done.exit_code == 0
    (answer,) = map(json.loads, done.stdout.splitlines())
    assert answer["grades"]["astct-2019"]["grade"] == 1


def test_one_guideline_alone_can_be_asked(course):
    done = run(course, "--guideline", "asco-2021", "--json")
    names = {row["guideline"] for row in json.loads(done.stdout)["actions"]}
    assert names <= {"asco-2021", "label", "nccn-engage7"}
    wrong = run(course, "--guideline", "asco-2020")
    assert wrong.exit_code == 2
    assert "asco-2021" in wrong.output


@pytest.mark.parametrize("step", ["6", "6x", "0h", "-6h"])
def test_a_step_that_is_none_is_bad_usage(course, step):
    done = run(course, "--every", step)
    assert done.exit_code == 2
    assert "6h" in done.output


def test_a_naive_time_is_bad_usage(course):
    done = run(course, "--at", "2026-03-02T17:00")
    assert done.exit_code == 2
    assert "2026-03-02T17:00Z" in done.output


def test_a_sheet_is_of_one_patient(course, tmp_path):
    two = course.read_text("utf-8") + "p2,2026-03-02T16:00Z,temperature,39,,Cel\n"
    course.write_text(two, "utf-8")
    done = run(course, "--sheet", tmp_path / "s.html")
    assert done.exit_code == 2
    assert "--patient" in done.output
    assert run(course, "--sheet", tmp_path / "s.html", "--patient", "p1").exit_code == 0
    assert (tmp_path / "s.html").exists()


@pytest.mark.parametrize(("country", "allowed"), [("US", True), ("EU", False), (None, None)])
def test_a_limit_of_one_countrys_label_binds_there_and_is_open_elsewhere_untold(country, allowed):
    doses = [f"{hour} h tocilizumab 560 mg" for hour in (50, 60, 70)]
    lines = ("0 h weight 70 kg", "1 h glofitamab", "40 h temperature 39 Cel", "85 h temperature 39 Cel",
             "86 h systolic-bp 80 mm[Hg]", "86.25 h systolic-bp 80 mm[Hg]", "86 h dexamethasone 10 mg")
    answer = told(*lines, *doses, hours=100, country=country)
    rows = tocilizumab(answer)
    assert rows
    assert {row["allowed"] for row in rows} == {allowed}


@pytest.mark.parametrize("word", ["crs", "other"])
def test_after_a_death_nothing_is_asked_for(word):
    answer = told(*ILL, f"50 h death {word}", hours=60)
    assert answer["died"] == "2026-01-07T02:00:00Z"
    assert [key for key in ("actions", "clocks", "tests_due", "missing", "causes") if answer[key]] == []
    assert set(answer) >= KEYS


def test_what_had_happened_and_was_not_yet_recorded_is_no_answer():
    facts = patient("0 h weight 70 kg recorded 9 h", "1 h teclistamab recorded 9 h")
    assert list(advise(facts, START + timedelta(hours=5))) == []
    assert len(list(advise(facts, START + timedelta(hours=9)))) == 1


def test_no_chart_outlives_its_answer():
    """Whoever is erased, or has gone home, leaves nothing behind in a service that goes on for weeks."""
    answer = told(*ILL, "42 h ferritin 20000 ng/mL", hours=43)
    gc.collect()
    assert answer["grades"]
    assert not [each for each in gc.get_objects() if isinstance(each, Chart) and len(each.rows) == 7]
