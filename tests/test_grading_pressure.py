"""Hypotension: limits by age, confirmation, boluses, line and cuff, a pressure that was always low."""

from __future__ import annotations

import pytest

from moments import at, peak

HOT = ("0 h temperature 39.0 Cel", "0 h spo2 97 %", "0 h oxygen-device room-air")
BEFORE = ("-2 h temperature 36.8 Cel",)


def low(*values: str, every: int = 20) -> tuple[str, ...]:
    """Pressures `every` some minutes from hour 0."""
    return tuple(f"{every * i} min systolic-bp {value}" for i, value in enumerate(values))


@pytest.mark.parametrize(
    ("age", "limit"),
    [
        ("1 d", 60), ("20 d", 60), ("28 d", 60), ("30 d", 70), ("2 mo", 70), ("6 mo", 70), ("11 mo", 70),
        ("12 mo", 72), ("1 a", 72), ("2 a", 74), ("5 a", 80), ("60 mo", 80), ("9 a", 88), ("10 a", 90),
        ("12 a", 90),
        ("15 a", 90), ("17.9 a", 90), ("18 a", 90), ("70 a", 90), ("26 wk", 70),
    ],
)
def test_the_limit_follows_age(age, limit):
    """A16, A17: below the limit is low, the limit itself is not."""
    assert at(0.4, *HOT, f"0 h age {age}", *low(f"{limit - 1} mmHg", f"{limit - 1} mmHg")).pair == (2, 2)
    assert at(0.4, *HOT, f"0 h age {age}", *low(f"{limit} mmHg", f"{limit} mmHg")).pair == (1, 1)


def test_a_fractional_age_moves_the_limit():
    """At 9 years 9 months the limit is 89.5, so 89 is low and 90 is not."""
    assert at(0.4, *HOT, "0 h age 117 mo", *low("89 mmHg", "89 mmHg")).grade == 2
    assert at(0.4, *HOT, "0 h age 117 mo", *low("90 mmHg", "90 mmHg")).grade == 1


def test_without_an_age_the_adult_limit_is_used_and_said():
    assert at(0.4, *HOT, *low("89 mmHg", "89 mmHg")).grade == 2
    assert "adult-assumed" in at(0.4, *HOT, *low("89 mmHg", "89 mmHg")).flags
    assert "adult-assumed" not in at(0.4, *HOT, "0 h age 40 a", *low("89 mmHg", "89 mmHg")).flags


@pytest.mark.parametrize(
    ("minutes", "pair"), [(1, (2, 2)), (29, (2, 2)), (30, (2, 2)), (31, (1, 2)), (60, (1, 2))],
)
def test_a_low_pressure_counts_once_confirmed_within_30_minutes(minutes, pair):
    """A single low reading may be noise: until the second, grade 2 is only not ruled out."""
    lines = (*HOT, "0 h systolic-bp 84 mmHg", f"{minutes} min systolic-bp 84 mmHg")
    assert at(0, *lines).pair == (1, 2)
    assert at(minutes / 60, *lines).pair == pair


def test_a_normal_reading_between_two_low_ones_does_not_unsay_them():
    """Low, normal, low within half an hour: the second low one confirms."""
    lines = (*HOT, *low("84 mmHg", "100 mmHg", "84 mmHg", every=10))
    assert at(0.2, *lines).pair == (1, 1)
    assert at(0.4, *lines).pair == (2, 2)


def test_a_normal_reading_ends_hypotension_at_once():
    lines = (*HOT, *low("84 mmHg", "84 mmHg", "90 mmHg"))
    assert at(0.4, *lines).grade == 2
    assert at(0.7, *lines).pair == (1, 1)


def test_a_pressure_nobody_repeats_is_unknown_after_8_hours():
    lines = (*HOT, *low("84 mmHg", "84 mmHg"), "9 h spo2 97 %", "9 h oxygen-device room-air")
    assert at(8.3, *lines).grade == 2
    assert at(9, *lines).pair == (1, 2)
    assert "systolic-bp" in at(9, *lines).waiting_for


@pytest.mark.parametrize(
    ("bolus", "hour", "grade"),
    [("1 h", 0.9, 1), ("1 h", 1, 2), ("-7.9 h", 0, 2), ("-8 h", 0, 1), ("7.9 h", 7.9, 2), ("0 h", 0, 2)],
)
def test_a_bolus_confirms_one_low_reading(bolus, hour, grade):
    """One low reading with a bolus in the 8 h before, or while the reading stands."""
    assert at(hour, *HOT, "0 h systolic-bp 84 mmHg", f"{bolus} fluid-bolus 500 mL").grade == grade


@pytest.mark.parametrize("pressor", ["norepinephrine 0.02 ug/kg/min", "vasopressin 0.03 U/min"])
def test_a_vasopressor_confirms_one_low_reading(pressor):
    """Seen once the vasopressor is off again: MSKCC grade 1 is hypotension without one."""
    lines = ("0 h temperature 36.8 Cel", "0 h systolic-bp 84 mmHg", f"0 h {pressor} until 1 h",
             "0 h oxygen-device room-air")
    assert "hypotension" in at(2, *lines, scale="mskcc-2018").because
    assert at(2, *lines, scale="mskcc-2018").grade == 1


def test_a_bolus_given_for_the_pressure_is_hypotension_by_itself():
    """A16: even without a low value, for 8 h."""
    lines = (*HOT, "0 h systolic-bp 112 mmHg", "1 h fluid-bolus hypotension")
    assert at(0.9, *lines).pair == (1, 1)
    assert at(1, *lines).grade == 2
    assert at(7.9, *lines).grade == 2


def test_another_bolus_is_not_hypotension_and_is_flagged():
    lines = (*HOT, "0 h systolic-bp 112 mmHg", "1 h fluid-bolus 1000 mL", "2 h fluid-bolus 1000 mL")
    assert at(2, *lines).pair == (1, 1)
    assert "bolus-without-low-pressure" in at(2, *lines).flags
    assert "bolus-without-low-pressure" not in at(0.5, *lines).flags
    assert at(2, *lines, scale="penn-2018").grade == 1


def test_multiple_boluses_for_pressure_are_penn_3():
    """Two in 24 h in a patient who was hypotensive; one is not multiple."""
    pressure = low("84 mmHg", "84 mmHg")
    assert at(1, *HOT, *pressure, "40 min fluid-bolus 500 mL", scale="penn-2018").grade == 1
    assert at(1, *HOT, *pressure, "40 min fluid-bolus 500 mL", "50 min fluid-bolus 500 mL",
              scale="penn-2018").grade == 3
    assert at(1, *HOT, *pressure, "40 min fluid-bolus 500 mL", "40 min fluid-bolus 500 mL",
              scale="penn-2018").grade == 1
    assert at(1, *HOT, "30 min fluid-bolus hypotension", "1 h fluid-bolus hypotension",
              scale="penn-2018").grade == 3


@pytest.mark.parametrize(
    ("cuff", "arterial", "grade"), [(84, 100, 1), (100, 84, 2), (84, 84, 2), (100, 100, 1)],
)
def test_the_arterial_line_outranks_the_cuff(cuff, arterial, grade):
    lines = [f"{m} min systolic-bp {cuff} mmHg method cuff" for m in (0, 15, 30)]
    lines += [f"{m} min systolic-bp {arterial} mmHg method arterial" for m in (0, 15, 30)]
    assert at(0.6, *HOT, *lines).grade == grade


def test_an_old_arterial_reading_no_longer_outranks_the_cuff():
    """After 1 h without another arterial reading the cuff decides, confirmed anew."""
    lines = ("0 h systolic-bp 110 mmHg method arterial", "50 min systolic-bp 84 mmHg",
             "65 min systolic-bp 84 mmHg",
             "75 min systolic-bp 84 mmHg")
    assert at(0.9, *HOT, *lines).grade == 1
    assert at(1.3, *HOT, *lines).grade == 2


@pytest.mark.parametrize(("mean", "grade"), [(64, 2), (65, 1), (80, 1)])
def test_a_mean_pressure_stands_in_for_a_missing_systolic(mean, grade):
    lines = (*HOT, f"0 h mean-bp {mean} mmHg", f"20 min mean-bp {mean} mmHg")
    assert at(0.4, *lines).pair == (grade, grade)
    assert at(0.4, *lines, "0 h systolic-bp 110 mmHg").pair == (1, 1)


def test_a_childs_mean_pressure_says_nothing():
    """The mean limit is for adults: with only a mean pressure a child's hypotension stays open."""
    lines = (*HOT, "0 h age 5 a", "0 h mean-bp 40 mmHg", "20 min mean-bp 40 mmHg")
    assert at(0.4, *lines).pair == (1, 2)


USUAL = tuple(f"{h} h systolic-bp 85 mmHg" for h in (-20, -15, -10, -5))
DOSE = ("0 h axicabtagene-ciloleucel",)
HOT_LATER = ("24 h temperature 39.0 Cel", "24 h spo2 97 %", "24 h oxygen-device room-air")


@pytest.mark.parametrize(("now", "grade"), [(85, 1), (69, 1), (68, 2), (60, 2)])
def test_a_pressure_that_was_always_low_counts_only_after_a_fall(now, grade):
    """A19: median 85 in the 24 h before the dose; 20 % below it (68) is hypotension."""
    lines = (*USUAL, *DOSE, *HOT_LATER, f"24 h systolic-bp {now} mmHg", f"24.3 h systolic-bp {now} mmHg")
    assert at(24.4, *lines).grade == grade


def test_the_usual_pressure_is_a_median():
    """One low value among normal ones makes no chronic hypotension."""
    usual = ("-20 h systolic-bp 110 mmHg", "-10 h systolic-bp 80 mmHg", "-5 h systolic-bp 112 mmHg")
    lines = (*usual, *DOSE, *HOT_LATER, "24 h systolic-bp 85 mmHg", "24.3 h systolic-bp 85 mmHg")
    assert at(24.4, *lines).grade == 2


def test_readings_older_than_a_day_are_no_baseline():
    usual = tuple(f"{h} h systolic-bp 85 mmHg" for h in (-40, -30, -25))
    lines = (*usual, *DOSE, *HOT_LATER, "24 h systolic-bp 85 mmHg", "24.3 h systolic-bp 85 mmHg")
    assert at(24.4, *lines).grade == 2


def test_a_childs_usual_pressure_is_judged_by_the_childs_limit():
    """Age 5: 82 before the dose is not low (limit 80), so 79 is; 78 before it is, so 79 is not."""
    def now(before: int) -> int:
        usual = tuple(f"{h} h systolic-bp {before} mmHg" for h in (-20, -10))
        return at(24.4, *usual, "-20 h age 5 a", *DOSE, *HOT_LATER, "24 h systolic-bp 79 mmHg",
                  "24.3 h systolic-bp 79 mmHg").grade
    assert now(82) == 2
    assert now(78) == 1


@pytest.mark.parametrize(
    ("charted", "grade"), [("<90 mmHg", 2), ("<91 mmHg", 1), (">89 mmHg", 1), (">90 mmHg", 1)],
)
def test_a_comparator_proves_only_what_it_says(charted, grade):
    """Below 90 is low for certain; below 91 may be 90."""
    lines = (*HOT, f"0 h systolic-bp {charted}", f"20 min systolic-bp {charted}")
    assert at(0.4, *lines).grade == grade
    assert at(0.4, *lines).up_to == (1 if charted == ">90 mmHg" else 2)


@pytest.mark.parametrize("scale", ["astct-2019", "lee-2014", "cartox-2018", "ctcae-5.0", "ctcae-6.0",
                                   "ctcae-4.03"])
def test_hypotension_with_fluids_only_is_2_and_mskcc_1(scale):
    lines = (*HOT, *low("84 mmHg", "84 mmHg"))
    assert peak(*lines, scale=scale) == 2
    assert peak(*lines, scale="mskcc-2018") == 1
