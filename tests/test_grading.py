"""ASTCT rule by rule (A1 to A23 of the grading notes): one clinical sentence a test, both sides."""

from __future__ import annotations

import pytest

from moments import CALM, FEVER, at, course, peak
from tocsin.definitions.load import library

NE = "norepinephrine 0.05 ug/kg/min"


@pytest.mark.parametrize(
    ("charted", "grade"),
    [
        ("37.9 Cel", 0), ("37.94 Cel", 0), ("37.95 Cel", 1), ("38.0 Cel", 1), ("38 C", 1), ("42.9 Cel", 1),
        ("100.3 [degF]", 0), ("100.31 F", 1), ("100.4 [degF]", 1), ("100.4 °F", 1), ("101 F", 1),
        ("311.0 K", 0), ("311.1 K", 1), ("311.15 K", 1), ("<38 Cel", 0), (">37.9 Cel", 0), (">38 Cel", 1),
    ],
)
def test_fever_begins_at_38_exactly(charted, grade):
    """A1: 38.0 or above, compared after rounding to 0.1; 100.4 F is 38.0, 100.3 F is 37.9."""
    assert at(0, f"0 h temperature {charted}", *CALM).grade == grade


@pytest.mark.parametrize("site", ["core", "oral", "axillary", "tympanic", "temporal", "skin", "rectal"])
def test_the_site_of_a_thermometer_changes_nothing(site):
    """No correction by site: the sources give none."""
    assert at(0, f"0 h temperature 38.0 Cel method {site}", *CALM).grade == 1
    assert at(0, f"0 h temperature 37.9 Cel method {site}", *CALM).grade == 0


@pytest.mark.parametrize(
    ("hour", "grade"), [(0, 1), (7.99, 1), (8, 1), (23.99, 1), (24, 0), (24.01, 0)],
)
def test_a_fever_counts_for_24_hours(hour, grade):
    """One reading is enough, and later normal ones do not clear it before 24 h."""
    later = [f"{n} h temperature 36.9 Cel" for n in (6, 12, 18, 24)]
    assert at(hour, *FEVER, *later).grade == grade


def test_febrile_now_is_shown_beside_it():
    """The grade outlasts the fever; the flag does not."""
    lines = (*FEVER, "4 h temperature 37.2 Cel")
    assert "febrile-now" in at(3, *lines).flags
    assert at(5, *lines).grade == 1
    assert "febrile-now" not in at(5, *lines).flags


@pytest.mark.parametrize(
    ("second", "hour", "grade"),
    [
        ("15 min temperature 37.0 Cel", 0.2, 1), ("15 min temperature 37.0 Cel", 0.25, 0),
        ("16 min temperature 37.0 Cel", 0.3, 1), ("15 min temperature 38.0 Cel", 0.3, 1),
        ("15 min temperature 37.0 Cel method oral", 0.3, 1), ("15 min temperature <37 Cel", 0.3, 0),
        ("15 min temperature >37 Cel", 0.3, 1), ("5 min temperature 37.9 Cel", 0.1, 0),
    ],
)
def test_a_spike_contradicted_within_15_minutes_stops_counting(second, hour, grade):
    """By the same site only, and not before it is contradicted."""
    assert at(hour, "0 h temperature 38.6 Cel", *CALM, second).grade == grade


def test_a_spike_after_a_fever_is_no_spike():
    """Two febrile readings within 15 min stand, whatever comes next."""
    lines = ("0 h temperature 38.6 Cel", "10 min temperature 38.6 Cel", "20 min temperature 37.0 Cel", *CALM)
    assert at(1, *lines).grade == 1


@pytest.mark.parametrize("support", [NE, "fluid-bolus hypotension", "oxygen-device bipap",
                                     "oxygen-device venturi-mask"])
def test_nothing_counts_without_fever(support):
    """A2: hypotension or hypoxia without any fever is not CRS."""
    assert at(0, "0 h temperature 36.9 Cel", f"0 h {support}").pair == (0, 0)


@pytest.mark.parametrize("drug", ["tocilizumab", "siltuximab", "anakinra", "dexamethasone",
                                  "methylprednisolone",
                                  "acetaminophen", "ibuprofen", "hydrocortisone", "ruxolitinib",
                                  "emapalumab"])
def test_after_treatment_fever_is_no_longer_needed(drug):
    """A3: an antipyretic, steroid or anti-cytokine drug after the fever hides it; the rest still counts."""
    lines = (*FEVER, f"2 h {drug}", "26 h temperature 36.8 Cel", f"26 h {NE}", "26 h spo2 97 %")
    assert at(26, *lines).grade == 3
    assert at(25.9, *lines).grade == 0
    assert at(26, *(line for line in lines if drug not in line)).grade == 0


@pytest.mark.parametrize("drug", ["levetiracetam", "filgrastim", "diphenhydramine",
                                  "norepinephrine 0 ug/kg/min"])
def test_other_drugs_hide_no_fever(drug):
    """Only drugs that lower a temperature or the reaction itself set the latch."""
    assert at(26, *FEVER, f"2 h {drug}", "26 h temperature 36.8 Cel", f"26 h {NE}").grade == 0


@pytest.mark.parametrize(
    ("given", "grade"), [("-1 min", 0), ("0 h", 3), ("47.9 h", 3), ("48 h", 0), ("49 h", 0)],
)
def test_treatment_counts_only_after_a_fever_of_the_last_48_hours(given, grade):
    """A4: a dose before any fever does not count; a dose long after it does not either."""
    normal = [f"{n} h temperature 36.8 Cel" for n in (8, 16, 24, 32, 40, 47, 49)]
    lines = ("-1 h temperature 36.8 Cel", *FEVER, *normal, f"{given} dexamethasone", f"50 h {NE}")
    if given in ("-1 min", "0 h"):  # then the pressor while the latch would still stand
        lines = (*lines[:-1], f"30 h {NE}")
        assert at(30, *lines).grade == grade
    else:
        assert at(50, *lines).grade == grade


@pytest.mark.parametrize(
    ("drug", "hour", "grade"),
    [
        ("acetaminophen", 47.9, 3), ("acetaminophen", 48, 0), ("acetaminophen", 49, 0),
        ("dexamethasone", 48, 3), ("dexamethasone", 71.9, 3), ("dexamethasone", 72, 0),
        ("tocilizumab", 71.9, 3), ("tocilizumab", 72, 0),
    ],
)
def test_the_latch_is_forgotten_when_the_episode_closes(drug, hour, grade):
    """24 h without a sign after an antipyretic, 48 h after the others; the fever ends at 24 h."""
    normal = [f"{n} h temperature 36.8 Cel" for n in range(6, 80, 6)]
    assert at(hour, *FEVER, f"1 h {drug}", *normal, f"{hour} h {NE}").grade == grade


def test_a_sign_in_between_keeps_the_latch():
    """Any sign of CRS within the closing gap keeps the episode, and the latch, open."""
    normal = [f"{n} h temperature 36.8 Cel" for n in range(6, 80, 6)]
    lines = (*FEVER, "1 h acetaminophen", *normal, f"40 h {NE} until 42 h", f"60 h {NE}")
    assert at(60, *lines).grade == 3
    assert at(60, *(line for line in lines if not line.startswith("40 h"))).grade == 0


def test_treatment_alone_is_never_grade_1():
    """After A3, without fever and support, the grade is 0: grade 1 needs a new fever."""
    lines = (*FEVER, "1 h tocilizumab", "8 h temperature 36.8 Cel", "24 h temperature 36.8 Cel",
             "24 h spo2 97 %",
             "24 h systolic-bp 120 mm[Hg]", "24 h oxygen-device room-air")
    assert at(24, *lines).pair == (0, 0)


@pytest.mark.parametrize("cause", ["bacteraemia", "transfusion reaction", "tumour fever", "CRS is unlikely"])
def test_fever_of_another_cause_is_no_crs(cause):
    """A1, A5: a clinician's word about the cause wins."""
    assert at(0, *FEVER, f"0 h {NE}", f"0 h attribution fever={cause}").pair == (0, 0)


@pytest.mark.parametrize(
    ("oxygen", "pressor", "grade"),
    [("nasal-cannula", NE, 3), ("venturi-mask", "fluid-bolus hypotension", 3), ("bipap", NE, 4),
     ("room-air", NE, 3)],
)
def test_the_worse_of_hypotension_and_hypoxia_counts(oxygen, pressor, grade):
    """A5 and the worked example: fever, one vasopressor and a low-flow cannula are grade 3."""
    lines = ("0 h temperature 39.0 Cel", "0 h spo2 97 %", f"0 h oxygen-device {oxygen}", f"0 h {pressor}")
    assert at(0, *lines).grade == grade


@pytest.mark.parametrize("organ", [
    "creatinine 9 mg/dL ref ..1.2", "alt 2000 U/L ref ..40", "bilirubin 20 mg/dL ref ..1.2", "inr 4",
    "fibrinogen 40 mg/dL", "lvef 15 %", "platelets 5 10*9/L", "ferritin 90000 ug/L", "crp 300 mg/L",
])
def test_organ_toxicity_never_changes_astct(organ):
    """A12."""
    assert at(0, *FEVER, f"0 h {organ}").pair == (1, 1)


def test_intubation_only_for_the_airway_is_no_hypoxia():
    """A13; without the note the ventilator is grade 4."""
    lines = ("0 h temperature 39.0 Cel", "0 h oxygen-device ventilator", "0 h systolic-bp 120 mm[Hg]")
    assert at(0, *lines).grade == 4
    assert at(0, *lines, "0 h intubation-for-airway").pair == (1, 1)


@pytest.mark.parametrize(("text", "grade"), [("crs", 5), ("other", 0), ("unknown", 0), ("icans", 0)])
def test_only_death_from_crs_is_grade_5(text, grade):
    """A14: never inferred from death alone."""
    answers = course(*FEVER, f"10 h death {text}")
    assert (answers[-1].grade == 5) == (grade == 5)
    if grade == 5:
        assert answers[-1].pair == (5, 5)
        assert answers[-1].start == 10
        assert answers[-1].end is None
    else:
        assert answers[-1].end == 10


@pytest.mark.parametrize("symptom", ["chills", "fever-felt", "headache", "muscle-pain", "nausea", "tiredness",
                                     "rash"])
def test_symptoms_neither_make_nor_raise_a_grade(symptom):
    """A15; a fever felt is no fever measured (A21)."""
    assert at(0, "0 h temperature 37.4 Cel", *CALM, f"0 h {symptom}").pair == (0, 0)
    assert at(0, *FEVER, f"0 h {symptom}").pair == (1, 1)


def test_low_saturation_on_air_leaves_grade_2_open():
    """A18: the table grades the oxygen needed; nobody gave any, so 2 is possible and the answer says why."""
    low = ("0 h temperature 39.0 Cel", "0 h systolic-bp 120 mm[Hg]", "0 h oxygen-device room-air",
           "0 h spo2 89 %")
    assert at(0, *low).pair == (1, 2)
    assert at(0, *low).ambiguous
    assert at(0, *low[:3], "0 h spo2 90 %").pair == (1, 1)
    assert at(0, *low[:2], "0 h spo2 89 %").pair == (1, 2)


def test_nobody_measuring_is_not_fine():
    """Nothing charted but a drug: everything is still possible, and what is missing is named."""
    answer = at(0, "0 h levetiracetam")
    assert answer.pair == (0, 4)
    assert {"temperature", "systolic-bp", "oxygen-device"} <= set(answer.waiting_for)


def test_what_nobody_measures_any_more_is_open_again():
    """A grade that lapses is not recovery: after the last reading has lapsed, up_to is 4."""
    answers = course(*FEVER)
    assert [answer.pair for answer in answers][-1] == (0, 4)
    assert answers[-1].start == 24


@pytest.mark.parametrize("scale",
                         [name for name in library().scales if library().scale(name).outcome == "crs"])
def test_one_vasopressor_asks_what_only_a_person_can_say(scale):
    """Life-threatening, refractory: never derived, asked for where the scale has a higher row for it."""
    asked = at(0, "0 h temperature 39.0 Cel", "0 h norepinephrine 0.05 ug/kg/min", scale=scale).judgement
    expected = {"astct-2019": (), "ctcae-4.03": ()}
    assert (asked == ()) == (scale in expected), asked


def test_peak_and_course_agree():
    """A23: the grade over time and its maximum come from one answer."""
    assert peak(*FEVER, f"3 h {NE} until 5 h") == 3
    assert [answer.grade for answer in course(*FEVER, f"3 h {NE} until 5 h")][:3] == [1, 3, 1]
