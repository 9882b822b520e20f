"""ICANS: the worst domain wins; ICE for adults, CAPD for children; what is never counted."""

from __future__ import annotations

import pytest

from moments import at, course

ICANS = "icans-astct-2019"
ADULT = ("0 h age 50 a", "0 h consciousness awakens-spontaneously")
CHILD = ("0 h age 6 a", "0 h consciousness awakens-spontaneously")


@pytest.mark.parametrize(
    ("score", "grade"),
    [(10, 0), (9, 1), (8, 1), (7, 1), (6, 2), (4, 2), (3, 2), (2, 3), (1, 3), (0, 3)],
)
def test_the_ice_bands(score, grade):
    """Awake with ICE 0 (global aphasia) is 3; only unarousable is 4."""
    assert at(0, *ADULT, f"0 h ice-score {score}", scale=ICANS).pair == (grade, grade)


@pytest.mark.parametrize(("score", "grade"), [(0, 0), (1, 1), (8, 1), (9, 3), (20, 3), (32, 3)])
def test_the_capd_bands(score, grade):
    """9 is the cut-off; 0 with normal wakefulness is no ICANS (ours)."""
    assert at(0, *CHILD, f"0 h capd-score {score}", scale=ICANS).pair == (grade, grade)


@pytest.mark.parametrize(("age", "grade"), [("11.9 a", 3), ("12 a", 1), ("40 a", 1)])
def test_capd_is_for_children_under_12(age, grade):
    """Both scores charted: ICE 8 is 1, CAPD 9 is 3."""
    lines = ("0 h consciousness alert", f"0 h age {age}", "0 h ice-score 8", "0 h capd-score 9")
    assert at(0, *lines, scale=ICANS).grade == grade
    assert at(0, *lines, "-9 d developmental-delay", scale=ICANS).grade == 3


@pytest.mark.parametrize(
    ("word", "grade"), [("awakens-spontaneously", 0), ("awakens-to-voice", 2), ("awakens-to-touch", 3),
                        ("unarousable", 4)],
)
def test_consciousness(word, grade):
    answer = at(0, "0 h age 50 a", "0 h ice-score 10", f"0 h consciousness {word}", scale=ICANS)
    assert answer.pair == (grade, grade)


@pytest.mark.parametrize(
    ("sign", "grade"),
    [
        ("seizure resolved", 3), ("seizure nonconvulsive", 3), ("seizure prolonged", 4),
        ("seizure repeated", 4),
        ("seizure NCSE", 3), ("seizure status", 4), ("motor-weakness focal", 4), ("motor-weakness none", 0),
        ("cerebral-edema focal", 3), ("cerebral-edema diffuse", 4), ("cerebral-edema posturing", 4),
        ("cerebral-edema cn6-palsy", 4), ("cerebral-edema papilledema", 4), ("cerebral-edema cushing", 4),
        ("tremor", 0), ("headache", 0), ("confusion", 0), ("sleepiness", 0),
    ],
)
def test_each_sign_alone(sign, grade):
    """Tremor never changes the grade; a complaint is no examination."""
    assert at(0, *ADULT, "0 h ice-score 10", f"0 h {sign}", scale=ICANS).pair == (grade, grade)


def test_the_worst_domain_wins():
    lines = (*ADULT, "0 h ice-score 3", "0 h seizure resolved")
    assert at(0, *lines, scale=ICANS).pair == (3, 3)
    assert at(0, *lines, "0 h cerebral-edema diffuse", scale=ICANS).pair == (4, 4)


@pytest.mark.parametrize("oedema", ["focal", "diffuse"])
def test_intracranial_haemorrhage_is_excluded(oedema):
    lines = (*ADULT, "0 h ice-score 10", f"0 h cerebral-edema {oedema}", "-1 h intracranial-hemorrhage")
    assert at(0, *lines, scale=ICANS).pair == (0, 0)


def test_sedation_explains_reduced_consciousness():
    lines = ("0 h age 50 a", "0 h consciousness unarousable", "0 h ice-score 0")
    assert at(0, *lines, scale=ICANS).grade == 4
    assert at(0, *lines, "0 h attribution neurotoxicity=sedation", scale=ICANS).pair == (0, 0)


@pytest.mark.parametrize(("hour", "pair"), [(11.9, (2, 2)), (12, (0, 4))])
def test_a_score_stands_12_hours(hour, pair):
    assert at(hour, *ADULT, "0 h ice-score 5", "11 h motor-weakness none", "20 h ice-score 10",
              scale=ICANS).pair == pair


def test_a_score_without_the_rest_leaves_consciousness_open():
    answer = at(0, "0 h age 50 a", "0 h ice-score 8", scale=ICANS)
    assert answer.pair == (1, 4)
    assert answer.waiting_for == ("consciousness",)


def test_a_silent_chart_is_not_fine():
    assert at(0, "0 h temperature 39 Cel", scale=ICANS).pair == (0, 4)


@pytest.mark.parametrize(("text", "grade"), [("icans", 5), ("crs", 1), ("unknown", 1)])
def test_death_from_icans_is_grade_5(text, grade):
    assert course(*ADULT, "0 h ice-score 8", f"2 h death {text}", scale=ICANS)[-1].grade == grade


def test_fever_has_no_say_in_icans():
    assert at(0, *ADULT, "0 h ice-score 5", "0 h temperature 36.5 Cel", scale=ICANS).pair == (2, 2)


def test_before_the_first_dose_nothing_counts():
    lines = (*ADULT, "0 h ice-score 5", "6 h axicabtagene-ciloleucel", "8 h ice-score 5",
             "8 h consciousness alert")
    assert at(6, *lines, scale=ICANS).grade == 0
    assert at(8, *lines, scale=ICANS).pair == (2, 2)
