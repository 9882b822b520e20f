"""What a record does to a grade: the first dose, attribution, death, unusable and late facts."""

from __future__ import annotations

from itertools import pairwise

import pytest

from moments import CALM, FEVER, at, course, peak
from tocsin.definitions.load import library

NE = "norepinephrine 0.05 ug/kg/min"
WARM = tuple(f"{h} h {fact}" for h in (8, 16, 24, 32, 40) for fact in (
    "temperature 38.6 Cel", "spo2 97 %", "systolic-bp 120 mm[Hg]", "oxygen-device room-air"))


# The first dose ---------------------------------------------------------------------------------------------


def test_nothing_before_the_first_dose_counts():
    """A fever the patient brought along is not caused by the therapy; it must be measured again."""
    lines = ("-3 h temperature 39.0 Cel", "0 h axicabtagene-ciloleucel", "2 h temperature 36.8 Cel", *CALM,
             f"2 h {NE}")
    assert at(2, *lines).pair == (0, 0)
    assert at(1, *lines).grade == 0


def test_a_fever_before_the_dose_is_open_until_it_is_measured_again():
    """It can prove nothing and rule nothing out."""
    lines = ("-1 h temperature 39.0 Cel", "0 h axicabtagene-ciloleucel", "0 h spo2 97 %",
             "0 h systolic-bp 120 mmHg")
    assert at(0.5, *lines).grade == 0
    assert at(0.5, *lines).up_to >= 1


def test_a_fever_at_the_instant_of_the_dose_counts():
    assert at(0, "0 h axicabtagene-ciloleucel", *FEVER).pair == (1, 1)


def test_what_was_said_before_the_dose_stays():
    """The answer about an instant before the dose was given then, and is not rewritten."""
    assert at(0, *FEVER, "2 h axicabtagene-ciloleucel", "4 h temperature 36.8 Cel").pair == (1, 1)


def test_an_antipyretic_before_the_dose_sets_no_latch():
    lines = ("-4 h temperature 39.0 Cel", "-3 h acetaminophen", "0 h axicabtagene-ciloleucel",
             "4 h temperature 36.8 Cel",
             f"4 h {NE}")
    assert at(4, *lines).pair == (0, 0)


def test_a_vasopressor_running_since_before_the_dose_proves_nothing():
    """Until it is charted again after the dose."""
    lines = ("-2 h norepinephrine 0.1 ug/kg/min", "0 h teclistamab", "2 h temperature 39.0 Cel",
             "2 h spo2 97 %",
             "2 h systolic-bp 110 mmHg", "4 h norepinephrine 0.1 ug/kg/min")
    assert at(2, *lines).pair == (1, 3)
    assert at(4, *lines).pair == (3, 3)


def test_without_a_therapy_all_counts_and_is_flagged():
    assert "no-trigger" in at(0, *FEVER).flags
    assert "no-trigger" not in at(0, "-2 d axicabtagene-ciloleucel", *FEVER).flags
    assert "no-trigger" in at(0, "2 h axicabtagene-ciloleucel", *FEVER).flags


@pytest.mark.parametrize(
    ("therapy", "day", "outside"),
    [
        ("axicabtagene-ciloleucel", -19.9, False), ("axicabtagene-ciloleucel", -20.1, True),
        ("teclistamab", -13.9, False), ("teclistamab", -14.1, True),
    ],
)
def test_later_than_the_risk_window_is_graded_and_flagged(therapy, day, outside):
    """A20: a late fever is still graded; it calls for a search for another cause."""
    answer = at(0, f"{day} d {therapy}", *FEVER)
    assert answer.grade == 1
    assert ("outside-window" in answer.flags) == outside


def test_another_dose_opens_its_own_window():
    assert "outside-window" not in at(0, "-40 d teclistamab", "-2 d teclistamab", *FEVER).flags


# The clinician's word ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("category", "charted"),
    [
        ("hypotension", NE), ("hypotension", "fluid-bolus hypotension"),
        ("hypotension", "vasopressin 0.03 U/min"),
        ("hypotension", "angiotensin-2 running"), ("hypoxia", "oxygen-device bipap"),
        ("hypoxia", "oxygen-device simple-mask"),
        ("hypoxia", "oxygen-flow 8 L/min"),
    ],
)
def test_a_sign_of_another_cause_does_not_count(category, charted):
    calm = [line for line in FEVER if category == "hypotension" or "oxygen-device" not in line]
    assert peak(*calm, f"0 h {charted}") > 1
    assert at(1, *calm, f"0 h {charted}", f"0 h attribution {category}=something else").pair == (1, 1)


@pytest.mark.parametrize(("category", "charted", "grade"),
                         [("hypoxia", NE, 3), ("hypotension", "oxygen-device bipap", 4), ("organ", NE, 3),
                          ("neurotoxicity", NE, 3)])
def test_attribution_reaches_only_its_own_signs(category, charted, grade):
    assert at(0, "0 h temperature 39 Cel", f"0 h {charted}", f"0 h attribution {category}=x").grade == grade


def test_attribution_holds_24_hours_or_to_its_end():
    lines = (*FEVER, *WARM, "0 h norepinephrine running until 40 h", "0 h attribution hypotension=sepsis")
    assert at(23.9, *lines).grade == 1
    assert at(24, *lines).grade == 3
    short = (*lines[:-1], "0 h attribution hypotension=sepsis until 6 h")
    assert at(5.9, *short).grade == 1
    assert at(6, *short).grade == 3
    long = (*lines[:-1], "0 h attribution hypotension=sepsis until 36 h")
    assert at(35.9, *long).grade == 1
    assert at(36, *long).grade == 3


def test_crs_takes_an_attribution_back():
    lines = (*FEVER, "0 h norepinephrine running until 20 h", "0 h attribution hypotension=sepsis",
             "4 h attribution hypotension=crs")
    assert at(3.9, *lines).grade == 1
    assert at(4, *lines).grade == 3


def test_at_one_instant_another_cause_wins_over_crs():
    lines = (*FEVER, f"0 h {NE}", "0 h attribution hypotension=crs", "0 h attribution hypotension=sepsis")
    assert at(0, *lines).grade == 1


def test_attribution_charted_before_the_sign_covers_it():
    assert at(2, *FEVER, "0 h attribution hypotension=bleeding", f"2 h {NE}").pair == (1, 1)


# Death ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", library().scales)
def test_death_of_crs_is_grade_5_of_crs_scales(scale):
    fatal = library().scale(scale).outcome
    for word in ("crs", "icans"):
        last = course(*FEVER, f"6 h death {word}", scale=scale)[-1]
        assert (last.grade, last.end) == ((5, None) if word == fatal else (last.grade, 6.0))
        assert last.grade == 5 or word != fatal


def test_nothing_after_death_counts():
    lines = (*FEVER, "6 h death crs", f"8 h {NE}", "9 h temperature 40 Cel")
    assert course(*lines)[-1].start == 6
    assert course(*FEVER, "6 h death unknown", "8 h temperature 40 Cel")[-1].end == 6


# Rows that cannot be used -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "open_to"),
    [
        ("4 h temperature 39", 1), ("4 h temperature 99 Cel", 1), ("4 h temperature unusable", 1),
        ("4 h temperature 39 mm[Hg]", 1),
    ],
)
def test_a_row_that_cannot_be_used_makes_its_measure_unknown(row, open_to):
    """A temperature without a unit may have been a fever: not fine, not a fever."""
    lines = ("0 h temperature 36.8 Cel", *CALM, row)
    assert at(0, *lines, strict=False).pair == (0, 0)
    assert at(4, *lines, strict=False).grade == 0
    assert at(4, *lines, strict=False).up_to >= open_to


def test_an_unusable_row_does_not_unsay_a_fever():
    lines = (*FEVER, "4 h temperature unusable")
    assert at(5, *lines).pair == (1, 1)


@pytest.mark.parametrize("row", ["oxygen-device unusable", "oxygen-device Airvo 2", "oxygen-flow 2",
                                 "fio2 300 %"])
def test_an_unreadable_row_of_oxygen_is_not_room_air(row):
    """A saturation with no oxygen charted is read as air; with a row nobody could read it is not."""
    lines = ("0 h temperature 39.0 Cel", "0 h systolic-bp 120 mmHg", "0 h spo2 97 %")
    assert at(0, *lines).pair == (1, 1)
    assert at(1, *lines, f"1 h {row}", strict=False).pair == (1, 4)


# Late and corrected facts -----------------------------------------------------------------------------------


def test_a_live_answer_never_uses_what_was_recorded_later():
    lines = ("0 h temperature 36.8 Cel", *CALM, "2 h temperature 39.0 Cel recorded 5 h")
    assert at(2.5, *lines, as_of=4).grade == 0
    assert at(2.5, *lines, as_of=5).grade == 1
    assert at(2.5, *lines).grade == 1
    assert course(*lines, as_of=4)[-1].end == 4


def test_as_of_cuts_and_extends():
    assert course(*FEVER, as_of=10)[-1].end == 10
    assert course(*FEVER, as_of=400)[-1].end == 400
    assert at(399, *FEVER, as_of=400).pair == (0, 4)
    assert course(*FEVER, until=10)[-1].end == 10


def test_a_correction_replaces_a_row():
    lines = ("0 h temperature 39.9 Cel source a", *CALM,
             "0 h temperature 36.9 Cel source b replaces a recorded 2 h")
    assert at(0, *lines).pair == (0, 0)
    assert at(0, *lines, as_of=1).grade == 1
    assert at(0, *lines, as_of=2).grade == 0


def test_a_retraction_takes_a_row_away():
    lines = ("0 h temperature 39.9 Cel source a", *CALM, "1 h temperature retracted replaces a")
    assert peak(*lines) == 0


@pytest.mark.parametrize("scale", library().scales)
def test_the_future_never_rewrites_a_grade(scale):
    """What a run with everything says about an instant, a run of that instant said too."""
    lines = ("-2 d axicabtagene-ciloleucel", *FEVER, "1 h tocilizumab", "2 h norepinephrine 0.3 ug/kg/min",
             "3 h epinephrine 0.1 ug/kg/min",
             "5 h epinephrine 0 ug/kg/min", "6 h oxygen-device bipap", "9 h norepinephrine 0 ug/kg/min",
             "0 h weight 70 kg",
             "12 h systolic-bp 82 mmHg", "12.4 h systolic-bp 84 mmHg", "20 h alt 300 U/L ref ..40",
             "24 h ice-score 5")
    for hour in (0.5, 2.5, 4.5, 7, 12.2, 13, 21, 25):
        told = at(hour - 0.01, *lines, scale=scale)
        then = at(hour - 0.01, *lines, scale=scale, as_of=hour)
        assert told[:7] == then[:7]


def test_identical_rows_count_once_and_order_never_matters():
    lines = (*FEVER, f"1 h {NE}", "2 h tocilizumab", "3 h norepinephrine 0 ug/kg/min",
             "9 h temperature 37 Cel")
    for scale in library().scales:
        assert course(*lines, *lines, scale=scale) == course(*lines, scale=scale)
        assert course(*reversed(lines), scale=scale) == course(*lines, scale=scale)


def test_rows_tile_without_gap_or_overlap():
    lines = ("-1 d teclistamab", *FEVER, f"1 h {NE}", "2 h tocilizumab", "3 h norepinephrine 0 ug/kg/min",
             "9 h temperature 37 Cel")
    for scale in library().scales:
        answers = course(*lines, scale=scale)
        assert answers[0].start == -24
        assert all(one.end == two.start for one, two in pairwise(answers))
        assert all(0 <= answer.grade <= answer.up_to <= 5 for answer in answers)


def test_a_reading_at_one_instant_goes_to_the_worse():
    assert at(0, "0 h temperature 37.0 Cel", "0 h temperature 38.0 Cel", *CALM).grade == 1
    low = ("0 h systolic-bp 84 mmHg", "0 h systolic-bp 120 mmHg", "20 min systolic-bp 84 mmHg")
    assert at(0.4, "0 h temperature 39 Cel", "0 h spo2 97 %", *low).grade == 2


def test_reasons_name_the_findings():
    answer = at(1, *FEVER, f"1 h {NE}")
    assert answer.because == ("fever-counts", "one-vasopressor")
    assert at(0, *FEVER).because == ("fever",)
    assert at(0, "0 h temperature 36 Cel", *CALM).because == ()


def test_rows_reach_to_the_last_reading_the_scale_looks_at():
    """Whoever asks about the hour of the last reading gets an answer, also where it changed nothing."""
    lines = ("-2 d lvef 45 %", "0 h axicabtagene-ciloleucel", "3 d lvef 44 %")
    assert at(72, *lines, scale="lee-2014").grade == 0


@pytest.mark.parametrize("scale", ["lee-2014", "cartox-2018", "mskcc-2018"])
def test_an_open_reading_is_said_even_when_much_else_is_uncharted(scale):
    """BiPAP and nothing else: 3 is proven, and that 4 rests on how the source is read is not drowned."""
    answer = at(0, "0 h temperature 38.8 Cel", "0 h oxygen-device bipap", "0 h fio2 50 %", scale=scale)
    assert answer.pair == (3, 4)
    assert answer.ambiguous


def test_missing_is_not_ambiguous():
    """Nobody measured the saturation: grade 2 is open, and only because of that."""
    lines = ("0 h temperature 38.3 Cel", "0 h oxygen-device room-air", "0 h systolic-bp 118 mmHg")
    answer = at(0, *lines)
    assert answer.pair == (1, 2)
    assert not answer.ambiguous
    assert answer.waiting_for == ("spo2",)
