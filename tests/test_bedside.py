"""What is known of a patient at one moment."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from tocsin.definitions.load import library
from tocsin.grading.batch import grade_table
from tocsin.grading.live import micros
from tocsin.grading.moments import Findings, findings_of
from tocsin.guidance.bedside import Course, bedside, courses
from tocsin.testing import START, patient

LIB = library()
HOUR = 3_600_000_000
ASKED = Findings(findings_of(["fever", "symptoms", "pressure", "vasopressors", "oxygen"], LIB), LIB)
COURSE = (
    "0 h weight 80 kg", "0 h teclistamab", "20 h temperature 38.6 Cel", "21 h systolic-bp 84 mm[Hg]",
    "21.25 h systolic-bp 82 mm[Hg]", "22 h tocilizumab", "22 h norepinephrine 0.05 ug/kg/min until 26 h",
    "30 h temperature 37.0 Cel", "30 h systolic-bp 118 mm[Hg]",
)


def at(hours: float) -> int:
    return micros(START + timedelta(hours=hours))


def test_what_is_charted_at_the_moment_itself_counts_and_what_comes_later_does_not() -> None:
    grades = [bedside(patient(*COURSE), at(h)).grades["astct-2019"]["grade"] for h in (19.9, 20, 21.25, 22)]
    assert grades == [0, 1, 2, 3]


def test_a_moment_after_the_last_fact_is_carried_on_as_batch_grading_does() -> None:
    facts = patient(*COURSE)
    late = bedside(facts, at(90)).grades["astct-2019"]
    (row,) = (
        row for row in grade_table(facts, as_of=START + timedelta(hours=90)).to_pylist()
        if row["end"] == START + timedelta(hours=90)
    )
    assert (late["grade"], late["up_to"], late["waiting_for"]) == (
        row["grade"], row["up_to"], row["waiting_for"])


def test_many_moments_in_one_walk_are_each_moment_alone() -> None:
    facts = patient(*COURSE)
    moments = [at(h / 2) for h in range(70)]
    course = Course(facts, ("astct-2019",), LIB, ASKED)
    for bed in course.beds(moments):
        alone = Course(facts, ("astct-2019",), LIB, ASKED).at(bed.now)
        assert bed.states == alone.states
        assert bed.grades["astct-2019"]["grade"] == alone.grades["astct-2019"]["grade"]
        assert [row["measure"] for row in bed.rows] == [row["measure"] for row in alone.rows]


def test_a_fact_written_down_later_is_not_known_before() -> None:
    facts = patient("0 h teclistamab", "20 h temperature 39.0 Cel recorded 25 h", "20 h heart-rate 120 /min")
    grades = [bedside(facts, at(h)).grades["astct-2019"]["grade"] for h in (21, 24.9, 25)]
    assert grades == [0, 0, 1]
    assert bedside(facts, at(21)).last("temperature") is None


def test_a_corrected_fact_counts_until_the_correction_is_known() -> None:
    facts = patient(
        "0 h teclistamab", "20 h temperature 39.9 Cel source a",
        "20 h temperature 36.9 Cel source b replaces a recorded 22 h",
    )
    assert [bedside(facts, at(h)).last("temperature")["value"] for h in (21, 22)] == [39.9, 36.9]


@pytest.mark.parametrize(("lines", "kg"), [
    (("0 h weight 80 kg", "1 h teclistamab", "30 h weight 88 kg"), 80),
    (("0 h weight 80 kg", "1 h teclistamab", "30 h weight 79 kg method dosing"), 79),
    (("1 h teclistamab", "2 h weight 81 kg", "30 h weight 88 kg"), 81),
    (("1 h teclistamab",), None),
])
def test_doses_are_calculated_from_the_weight_before_the_patient_swells(lines, kg) -> None:  # type: ignore[no-untyped-def]
    row = bedside(patient(*lines), at(40)).weight
    assert (row and row["value"]) == kg


def test_a_weight_older_than_its_hold_is_no_weight() -> None:
    facts = patient("0 h weight 80 kg", "1 d teclistamab")
    assert bedside(facts, at(24 * 30)).weight is None
    assert bedside(facts, at(24 * 30 - 1)).weight["value"] == 80  # type: ignore[index]


def test_an_impossible_weight_is_named_and_not_used() -> None:
    facts = patient("0 h weight 80 kg", "1 h teclistamab", "2 h weight 8000 kg", strict=False)
    bed = bedside(facts, at(3))
    assert bed.weight["value"] == 80  # type: ignore[index]
    assert "impossible" in bed.weight_problem


def test_doses_given_count_once_an_instant_and_stops_are_none() -> None:
    facts = patient(
        "0 h teclistamab", "10 h tocilizumab 640 mg", "10 h tocilizumab 640 mg source other",
        "20 h norepinephrine 0.1 ug/kg/min", "22 h norepinephrine 0 ug/kg/min", "0 h weight 80 kg",
    )
    bed = bedside(facts, at(30))
    assert len(bed.given(["tocilizumab"])) == 1
    assert len(bed.given(["norepinephrine"])) == 1
    assert [row["measure"] for row in bed.given(["anti-cytokine"], within_hours=20)] == []


def test_the_episode_is_told_as_of_the_moment() -> None:
    facts = patient(*COURSE, "60 h temperature 36.8 Cel", "60 h systolic-bp 120 mm[Hg]",
                    "100 h temperature 36.8 Cel", "100 h systolic-bp 120 mm[Hg]")
    assert bedside(facts, at(10)).episode is None
    first, peak = bedside(facts, at(20.5)).episode, bedside(facts, at(23)).episode
    assert first
    assert peak
    assert (first["running"], first["peak"], peak["peak"]) == (True, 1, 3)
    over = bedside(facts, at(99)).episode
    assert over
    assert not over["running"]


def test_patients_of_one_table_are_graded_together_as_alone() -> None:
    one, two = patient(*COURSE, patient="b"), patient("0 h temperature 39 Cel", patient="a")
    table = pa.concat_tables([one, two])
    both = {course.patient: course for course in courses(table, ("astct-2019",), LIB, ASKED)}
    assert [*both] == ["a", "b"]
    assert both["b"].at(at(23)).states == Course(one, ("astct-2019",), LIB, ASKED).at(at(23)).states
    assert both["b"].at(at(23)).grades["astct-2019"]["grade"] == 3


def test_while_a_result_is_not_yet_known_the_answer_is_that_of_the_record_without_it() -> None:
    """The quick way for such moments says what grading anew from the known facts says."""
    lines = [f"{h} h temperature {36.5 + (h % 5) * 0.6:.1f} Cel" for h in range(0, 60, 3)]
    lines += [f"{h} h systolic-bp {80 + (h * 7) % 50} mm[Hg]" for h in range(0, 60, 2)]
    lines += [f"{h} h alt {40 * (1 + h % 9)} U/L ref 0..40 recorded {h + 2.5} h" for h in range(0, 60, 4)]
    lines += [f"{h} h creatinine {h % 5} mg/dL ref 0.6..1.2 recorded {h + 7} h" for h in (6, 9, 31)]
    lines += ["50 h aptt 80 s ref 25..35 recorded 90 h", "0 h weight 70 kg"]
    facts = patient(*lines)
    files = ["fever", "pressure", "vasopressors", "oxygen", "symptoms", "ctcae-4.03-organs"]
    asked = Findings(findings_of(files, LIB), LIB)
    scales = ("astct-2019", "lee-2014", "cartox-2018")
    course = Course(facts, scales, LIB, asked)
    seen = 0
    for bed in course.beds([at(h / 2) for h in range(180)]):
        anew = course._known(bed.now)
        seen += course._waits(bed.now)
        assert bed.states == anew.states
        assert [row["measure"] for row in bed.rows] == [row["measure"] for row in anew.rows]
        for scale in scales:
            for name in ("start", "grade", "up_to", "because", "waiting_for", "flags"):
                told = [row[name] for row in bed.history[scale]]
                assert told == [row[name] for row in anew.history[scale]], (scale, name)
    assert seen > 60
