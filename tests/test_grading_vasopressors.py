"""Vasopressors: counted, overlapping, in turn, high dose and its 3 h, MSKCC's 24 h, doses nobody knows."""

from __future__ import annotations

import pytest

from moments import at, course, peak

HOT = ("0 h temperature 39.0 Cel", "0 h spo2 97 %", "0 h oxygen-device room-air")
LABS = ("0 h creatinine 0.8 mg/dL", "0 h alt 20 U/L", "0 h ast 20 U/L", "0 h bilirubin 0.5 mg/dL",
        "0 h inr 1.0",
        "0 h aptt 28 s", "0 h fibrinogen 300 mg/dL")
SEVENTY = (*HOT, *LABS, "0 h weight 70 kg")
#: Scales whose grade depends on the dose, and their grades for a low and for a high one.
BY_DOSE = [("lee-2014", 2, 3), ("cartox-2018", 2, 3), ("penn-2018", 3, 4)]


@pytest.mark.parametrize(
    ("drugs", "pair"),
    [
        ("norepinephrine", (3, 3)), ("epinephrine", (3, 3)), ("phenylephrine", (3, 3)), ("dopamine", (3, 3)),
        ("angiotensin-2", (3, 3)), ("vasopressin", (3, 3)), ("terlipressin", (3, 3)),
        ("vasopressin terlipressin", (3, 3)), ("norepinephrine vasopressin", (3, 3)),
        ("norepinephrine terlipressin", (3, 3)), ("norepinephrine epinephrine", (4, 4)),
        ("norepinephrine phenylephrine vasopressin", (4, 4)), ("dopamine angiotensin-2", (4, 4)),
        ("norepinephrine epinephrine phenylephrine dopamine", (4, 4)),
        ("dobutamine", (1, 3)), ("milrinone", (1, 3)), ("norepinephrine dobutamine", (3, 4)),
        ("norepinephrine epinephrine milrinone", (4, 4)), ("vasopressin dobutamine", (3, 3)),
    ],
)
def test_which_drugs_count(drugs, pair):
    """A6, A7: vasopressin is never a second one; inotropes are not counted, and that is said to be open."""
    answer = at(2, *HOT, *(f"0 h {drug} running until 6 h" for drug in drugs.split()))
    assert answer.pair == pair
    alone = drugs.split()[0] in ("vasopressin", "terlipressin")
    assert answer.ambiguous == (pair in ((1, 3), (3, 4)) or alone)


@pytest.mark.parametrize("dose", ["0.001", "0.01", "0.05", "0.5", "3"])
def test_any_dose_of_one_vasopressor_is_astct_3(dose):
    """A8."""
    assert at(4, *HOT, f"0 h norepinephrine {dose} ug/kg/min until 6 h").pair == (3, 3)


def test_low_dose_dopamine_has_no_exemption():
    assert at(0, *HOT, "0 h dopamine 2 ug/kg/min").pair == (3, 3)


@pytest.mark.parametrize(("minutes", "pair"), [(0, (3, 4)), (59, (3, 4)), (60, (4, 4)), (90, (4, 4))])
def test_two_at_once_count_after_an_hour_of_overlap(minutes, pair):
    """Until then a switch is possible, and only up_to says 4."""
    lines = (*HOT, "0 h norepinephrine 0.1 ug/kg/min until 9 h", "2 h phenylephrine 0.5 ug/kg/min until 9 h")
    assert at(1.9, *lines).pair == (3, 3)
    assert at(2 + minutes / 60, *lines).pair == pair


@pytest.mark.parametrize(("overlap", "grade"), [(0, 3), (30, 3), (59, 3), (60, 3), (61, 4)])
def test_a_switch_is_no_second_vasopressor(overlap, grade):
    """An overlap of up to 1 h is a change of drug; ever having used two is not grade 4."""
    lines = (*HOT, f"0 h norepinephrine 0.1 ug/kg/min until {120 + overlap} min",
             "2 h phenylephrine 0.5 ug/kg/min until 9 h")
    assert peak(*lines) == grade


def test_two_one_after_the_other_leave_4_open_for_24_hours():
    """The table says multiple and is silent on sequential use: ambiguous, not proven."""
    signs = ("temperature 38.5 Cel", "spo2 97 %", "oxygen-device room-air")
    warm = tuple(f"{h} h {sign}" for h in (12, 20, 28) for sign in signs)
    lines = (*HOT, *warm, "0 h norepinephrine 0.1 ug/kg/min until 2 h",
             "6 h phenylephrine 0.5 ug/kg/min until 34 h")
    assert at(3, *lines).grade == 1
    assert at(6, *lines).pair == (3, 4)
    assert at(6, *lines).ambiguous
    assert at(25.9, *lines).pair == (3, 4)
    assert at(26, *lines).pair == (3, 3)


def test_a_dose_changed_is_the_same_drug():
    lines = (*HOT, *(f"{h} h norepinephrine {0.05 * (h + 1)} ug/kg/min" for h in range(6)))
    assert peak(*lines) == 3
    assert at(5, *lines).pair == (3, 3)


@pytest.mark.parametrize(
    ("scale", "low", "high"), [*BY_DOSE, ("penn-2018-weight-based", 3, 4)],
)
@pytest.mark.parametrize(("hour", "is_high"), [(0, False), (2.99, False), (3, True), (5, True)])
def test_high_dose_counts_after_3_hours(scale, low, high, hour, is_high):
    answer = at(hour, *SEVENTY, "0 h norepinephrine 25 ug/min until 6 h", scale=scale)
    assert answer.grade == (high if is_high else low)


@pytest.mark.parametrize(("scale", "low", "high"), BY_DOSE)
@pytest.mark.parametrize(
    ("drug", "is_high"),
    [
        ("norepinephrine 19.9 ug/min", False), ("norepinephrine 20 ug/min", True),
        ("norepinephrine 1.2 mg/h", True),
        ("norepinephrine 0.2856 ug/kg/min", False), ("norepinephrine 0.2858 ug/kg/min", True),
        ("dopamine 9.9 ug/kg/min", False), ("dopamine 10 ug/kg/min", True), ("dopamine 700 ug/min", True),
        ("phenylephrine 199 ug/min", False), ("phenylephrine 200 ug/min", True),
        ("epinephrine 9.9 ug/min", False), ("epinephrine 10 ug/min", True),
        ("norepinephrine >20 ug/min", True),
        ("vasopressin 0.1 U/min", False), ("angiotensin-2 80 ng/kg/min", False),
    ],
)
def test_the_lee_limits_of_one_drug(scale, low, high, drug, is_high):
    """70 kg; the limit itself is high dose."""
    assert at(3, *SEVENTY, f"0 h {drug} until 6 h",
              scale=scale).pair == ((high,) * 2 if is_high else (low,) * 2)


@pytest.mark.parametrize(
    ("drugs", "grade"),
    [
        ("norepinephrine 15 ug/min|epinephrine 5 ug/min", 4),
        ("norepinephrine 14.9 ug/min|epinephrine 5 ug/min", 3),
        ("norepinephrine 10 ug/min|phenylephrine 100 ug/min", 4),
        ("norepinephrine 10 ug/min|phenylephrine 99 ug/min", 3),
        ("norepinephrine 15 ug/min|dopamine 10 ug/kg/min", 4),
        ("norepinephrine 14 ug/min|dopamine 10 ug/kg/min", 3),
        ("norepinephrine 10 ug/min|vasopressin 0.03 U/min", 4),
        ("norepinephrine 9.9 ug/min|vasopressin 0.03 U/min", 3),
        ("norepinephrine 5 ug/min|epinephrine 5 ug/min|vasopressin 1.8 U/h", 4),
        ("dopamine 12 ug/kg/min|norepinephrine 1 ug/min", 3),
    ],
)
def test_the_equivalent_of_a_combination(drugs, grade):
    """20 ug/min without vasopressin, 10 with it; dopamine counts half its ug/kg/min, verbatim."""
    assert at(3, *SEVENTY, *(f"0 h {drug} until 6 h" for drug in drugs.split("|")),
              scale="penn-2018").grade == grade


@pytest.mark.parametrize(
    ("drug", "grade"),
    [
        ("norepinephrine 0.199 ug/kg/min", 3), ("norepinephrine 0.2 ug/kg/min", 4),
        ("norepinephrine 14 ug/min", 4),
        ("norepinephrine 13.9 ug/min", 3), ("epinephrine 0.1 ug/kg/min", 4),
        ("epinephrine 0.099 ug/kg/min", 3),
        ("dopamine 10 ug/kg/min", 4), ("phenylephrine 200 ug/min", 4), ("phenylephrine 190 ug/min", 3),
    ],
)
def test_the_weight_based_limits(drug, grade):
    assert at(3, *SEVENTY, f"0 h {drug} until 6 h", scale="penn-2018-weight-based").grade == grade


@pytest.mark.parametrize(("age", "grade"), [("10 a", 4), ("17.9 a", 4), ("18 a", 3), ("60 a", 3)])
def test_penn_weighs_children(age, grade):
    """14 ug/min at 70 kg is 0.2 ug/kg/min: high for a child, low by the adult table."""
    lines = (*SEVENTY, f"0 h age {age}", "0 h norepinephrine 0.2 ug/kg/min until 6 h")
    assert at(3, *lines, scale="penn-2018").grade == grade


@pytest.mark.parametrize(("gap", "grade"), [(5, 4), (15, 4), (16, 3), (60, 3)])
def test_a_pause_of_15_minutes_does_not_begin_the_3_hours_anew(gap, grade):
    lines = (*SEVENTY, "0 h norepinephrine 25 ug/min until 60 min",
             f"{60 + gap} min norepinephrine 25 ug/min until 6 h")
    assert at(3, *lines, scale="penn-2018").grade == grade
    assert at(1.01, *lines, scale="penn-2018").grade < 4


def test_a_dose_that_falls_below_the_limit_is_no_longer_high():
    lines = (*SEVENTY, "0 h norepinephrine 25 ug/min", "4 h norepinephrine 10 ug/min")
    assert at(3.5, *lines, scale="lee-2014").grade == 3
    assert at(4, *lines, scale="lee-2014").grade == 2


@pytest.mark.parametrize(("scale", "low", "high"), BY_DOSE)
def test_a_rate_without_a_weight_is_running_at_an_unknown_dose(scale, low, high):
    """It counts where the dose does not matter, and leaves the higher grade open where it does."""
    lines = (*HOT, *LABS, "0 h norepinephrine 5 ug/min until 6 h")
    assert at(2, *lines, scale="astct-2019", strict=False).pair == (3, 3)
    assert at(2.9, *lines, scale=scale, strict=False).pair == (low, low)
    assert at(3, *lines, scale=scale, strict=False).pair == (low, high)
    assert "norepinephrine" in at(3, *lines, scale=scale, strict=False).waiting_for


@pytest.mark.parametrize(("scale", "low", "high"), BY_DOSE)
def test_a_rate_per_kilogram_without_a_weight_decides_dopamine_but_not_norepinephrine(scale, low, high):
    """The adult table divides norepinephrine by nothing: without a weight its ug/min are not known."""
    assert at(3, *HOT, *LABS, "0 h dopamine 10 ug/kg/min until 6 h", scale=scale).pair == (high, high)
    assert at(3, *HOT, *LABS, "0 h dopamine 9 ug/kg/min until 6 h", scale=scale).pair == (low, low)
    assert at(3, *HOT, *LABS, "0 h norepinephrine 0.5 ug/kg/min until 6 h", scale=scale).pair == (low, high)


@pytest.mark.parametrize(("hour", "grade"), [(0, 2), (23.99, 2), (24, 3), (29, 3)])
def test_mskcc_counts_24_hours(hour, grade):
    assert at(hour, *HOT, "0 h norepinephrine running until 30 h", scale="mskcc-2018").grade == grade


@pytest.mark.parametrize(("gap", "grade"), [(1, 3), (6, 3), (6.1, 2)])
def test_mskcc_bridges_gaps_of_6_hours(gap, grade):
    lines = (*HOT, "0 h norepinephrine running until 12 h", f"{12 + gap} h norepinephrine running until 30 h")
    assert at(24.5, *lines, scale="mskcc-2018").grade == grade


def test_mskcc_counts_any_vasopressor_through_a_switch():
    lines = (*HOT, "0 h norepinephrine running until 10 h", "10 h vasopressin running until 20 h",
             "20 h dopamine running until 30 h")
    assert at(24, *lines, scale="mskcc-2018").grade == 3


@pytest.mark.parametrize("scale", ["lee-2014", "cartox-2018"])
def test_scales_without_an_exemption_count_vasopressin(scale):
    """Plain reading of "multiple"; at a low dose the second hour of the two makes grade 3."""
    lines = (*SEVENTY, "0 h norepinephrine 2 ug/min until 2.5 h", "0 h vasopressin 0.03 U/min until 2.5 h")
    assert at(0.9, *lines, scale=scale).pair == (2, 3)
    assert at(1, *lines, scale=scale).grade == 3


@pytest.mark.parametrize(
    ("scale", "grade"),
    [("ctcae-4.03", 4), ("ctcae-5.0", 3), ("ctcae-6.0", 3), ("astct-2019", 3), ("penn-2018", 3),
     ("lee-2014", 2), ("cartox-2018", 2), ("mskcc-2018", 2)],
)
def test_one_low_dose_vasopressor_under_every_scale(scale, grade):
    assert at(0, *SEVENTY, "0 h norepinephrine 5 ug/min", scale=scale).grade == grade


@pytest.mark.parametrize("push", ["phenylephrine 100 ug", "norepinephrine 8 ug", "epinephrine 0.01 mg",
                                  "phenylephrine push"])
def test_a_push_dose_is_a_dose_not_a_rate(push):
    lines = (*HOT, "0 h systolic-bp 120 mm[Hg]", f"1 h {push}")
    assert peak(*lines) == 1
    assert "push-dose-not-counted" in at(1, *lines).flags


@pytest.mark.parametrize(
    ("lines", "hour", "pair"),
    [
        (("0 h norepinephrine 0.1 ug/kg/min until 2 h",), 2, (1, 1)),
        (("0 h norepinephrine 0.1 ug/kg/min", "2 h norepinephrine 0 ug/kg/min"), 2, (1, 1)),
        (("0 h norepinephrine 0.1 ug/kg/min", "2 h norepinephrine 0.1 ug/kg/min until 2 h"), 2, (1, 1)),
        (("0 h norepinephrine 0.1 ug/kg/min",), 2, (3, 3)),
        (("0 h norepinephrine",), 2, (3, 3)),
        (("0 h norepinephrine unusable",), 2, (1, 3)),
        (("0 h norepinephrine 0 ug/kg/min",), 2, (1, 1)),
    ],
)
def test_when_an_infusion_runs(lines, hour, pair):
    assert at(hour, *HOT, "0 h systolic-bp 120 mm[Hg]", *lines).pair == pair


def test_an_infusion_nobody_charts_again_goes_stale_then_unknown():
    """4 h without a row: flagged; 24 h: neither running nor stopped."""
    signs = ("temperature 38.5 Cel", "spo2 97 %", "systolic-bp 120 mmHg", "oxygen-device room-air")
    warm = tuple(f"{h} h {sign}" for h in (8, 16, 24) for sign in signs)
    lines = (*HOT, *warm, "0 h norepinephrine 0.1 ug/kg/min")
    assert "stale" not in at(3.9, *lines).flags
    assert "stale" in at(4, *lines).flags
    assert at(23.9, *lines).grade == 3
    assert at(24, *lines).pair == (1, 3)
    assert "stale" not in at(5, *HOT, "0 h norepinephrine 0.1 ug/kg/min until 20 h").flags


def test_ctcae_calls_two_vasopressors_life_threatening_and_says_it_is_a_reading():
    for scale in ("ctcae-5.0", "ctcae-6.0"):
        answer = at(2, *HOT, "0 h norepinephrine running until 6 h", "0 h epinephrine running until 6 h",
                    scale=scale)
        assert answer.pair == (4, 4)
        assert answer.ambiguous


def test_the_order_of_the_chart_changes_nothing():
    lines = (*SEVENTY, "0 h norepinephrine 25 ug/min", "1 h epinephrine 3 ug/min", "3 h epinephrine 0 ug/min",
             "5 h norepinephrine 0 ug/min")
    for scale in ("astct-2019", "lee-2014", "penn-2018", "mskcc-2018"):
        assert course(*lines, scale=scale) == course(*reversed(lines), scale=scale)
        assert course(*lines, scale=scale) == course(*lines, *lines, scale=scale)
