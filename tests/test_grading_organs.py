"""Organ toxicity by CTCAE 4.03 for Lee, CARTOX and Penn; what was abnormal before; symptoms."""

from __future__ import annotations

import pytest

from moments import CALM, at, peak

COOL = ("0 h temperature 36.8 Cel", *CALM)
DOSE = ("0 h axicabtagene-ciloleucel",)
NORMAL = ("creatinine 0.8 mg/dL ref ..1.2", "alt 20 U/L ref ..40", "ast 20 U/L ref ..40",
          "bilirubin 0.5 mg/dL ref ..1.2",
          "inr 1.0 ref ..1.2", "aptt 28 s ref ..35", "fibrinogen 300 mg/dL ref 200..400")


def others(lab: str) -> tuple[str, ...]:
    """The other laboratory values, normal, so that nothing is left open."""
    return tuple(f"0 h {line}" for line in NORMAL if not line.startswith(f"{lab} "))


@pytest.mark.parametrize(
    ("lab", "lee", "cartox"),
    [
        ("creatinine 1.2 mg/dL ref ..1.2", 0, 0), ("creatinine 1.21 mg/dL ref ..1.2", 0, 1),
        ("creatinine 1.8 mg/dL ref ..1.2", 0, 1), ("creatinine 1.81 mg/dL ref ..1.2", 2, 2),
        ("creatinine 3.6 mg/dL ref ..1.2", 2, 2), ("creatinine 3.61 mg/dL ref ..1.2", 3, 3),
        ("creatinine 7.2 mg/dL ref ..1.2", 3, 3), ("creatinine 7.21 mg/dL ref ..1.2", 4, 4),
        ("alt 40 U/L ref ..40", 0, 0), ("alt 41 U/L ref ..40", 0, 1), ("alt 120 U/L ref ..40", 0, 1),
        ("alt 121 U/L ref ..40", 2, 2), ("alt 200 U/L ref ..40", 2, 2), ("alt 201 U/L ref ..40", 3, 3),
        ("alt 800 U/L ref ..40", 3, 3), ("alt 801 U/L ref ..40", 3, 3), ("alt 9000 U/L ref ..40", 3, 3),
        ("ast 121 U/L ref ..40", 2, 2), ("ast 201 U/L ref ..40", 3, 3), ("ast 900 U/L ref ..40", 3, 3),
        ("bilirubin 1.8 mg/dL ref ..1.2", 0, 1), ("bilirubin 1.9 mg/dL ref ..1.2", 2, 2),
        ("bilirubin 3.6 mg/dL ref ..1.2", 2, 2), ("bilirubin 3.7 mg/dL ref ..1.2", 3, 3),
        ("bilirubin 12 mg/dL ref ..1.2", 3, 3), ("bilirubin 12.1 mg/dL ref ..1.2", 4, 4),
        ("inr 1.2 ref ..1.2", 0, 0), ("inr 1.8 ref ..1.2", 0, 1), ("inr 1.9 ref ..1.2", 2, 2),
        ("inr 3.0 ref ..1.2", 2, 2), ("inr 3.1 ref ..1.2", 3, 3),
        ("aptt 52.5 s ref ..35", 0, 1), ("aptt 53 s ref ..35", 2, 2), ("aptt 88 s ref ..35", 3, 3),
        ("fibrinogen 200 mg/dL ref 200..", 0, 0), ("fibrinogen 199 mg/dL ref 200..", 0, 1),
        ("fibrinogen 150 mg/dL ref 200..", 0, 1), ("fibrinogen 149 mg/dL ref 200..", 2, 2),
        ("fibrinogen 100 mg/dL ref 200..", 2, 2), ("fibrinogen 99 mg/dL ref 200..", 3, 3),
        ("fibrinogen 50 mg/dL ref 200..", 3, 3), ("fibrinogen 49 mg/dL ref 200..", 4, 4),
        ("fibrinogen 0.99 g/L ref 2..4", 3, 3), ("creatinine 251 umol/L ref ..100", 2, 2),
        ("lvef 51 %", 0, 0), ("lvef 50 %", 2, 2), ("lvef 40 %", 2, 2), ("lvef 39 %", 3, 3),
        ("lvef 20 %", 3, 3),
        ("lvef 19 %", 4, 4), ("lvef 0.45 1", 2, 2),
    ],
)
def test_organ_grades(lab, lee, cartox):
    """Each limit itself belongs to the grade below; grade 4 transaminitis is 3; no fever is needed."""
    lines = (*COOL, *others(lab.split()[0]), f"0 h {lab}")
    assert at(0, *lines, scale="lee-2014").pair == (lee, lee)
    assert at(0, *lines, scale="cartox-2018").pair == (cartox, cartox)


@pytest.mark.parametrize(
    ("lab", "penn"),
    [
        ("creatinine 1.8 mg/dL ref ..1.2", 0), ("creatinine 1.9 mg/dL ref ..1.2", 2),
        ("creatinine 3.7 mg/dL ref ..1.2", 3),
        ("creatinine 9 mg/dL ref ..1.2", 3), ("alt 200 U/L ref ..40", 0), ("alt 201 U/L ref ..40", 2),
        ("alt 801 U/L ref ..40", 3), ("bilirubin 3.7 mg/dL ref ..1.2", 2),
        ("bilirubin 13 mg/dL ref ..1.2", 3),
        ("inr 9 ref ..1.2", 0), ("fibrinogen 40 mg/dL", 0), ("lvef 15 %", 0), ("platelets 4 10*9/L", 0),
    ],
)
def test_penn_takes_creatinine_and_liver_tests(lab, penn):
    assert at(0, *COOL, *others(lab.split()[0]), f"0 h {lab}", scale="penn-2018").pair == (penn, penn)


@pytest.mark.parametrize("product", ["transfusion-plasma", "cryoprecipitate", "fibrinogen-concentrate"])
def test_penn_takes_coagulopathy_by_the_product_given(product):
    lines = (*COOL, *others(""), f"2 h {product}")
    assert at(1.9, *lines, scale="penn-2018").grade == 0
    assert at(2, *lines, scale="penn-2018").pair == (3, 3)
    assert at(2, *lines[:-1], "2 h transfusion-platelets", scale="penn-2018").pair == (0, 0)


@pytest.mark.parametrize(
    ("fact", "grade"), [("hospitalized-for-crs", 2), ("parenteral-nutrition", 2), ("dialysis", 1)],
)
def test_penn_2_without_laboratory(fact, grade):
    """A stay only for monitoring does not count: it must be said that it is for CRS."""
    assert at(0, "0 h temperature 38.4 Cel", *CALM, *others(""), f"0 h {fact}",
              scale="penn-2018").grade == grade


@pytest.mark.parametrize("lab", ["anc 0.05 10*9/L", "platelets 3 10*9/L", "hemoglobin 5 g/dL",
                                 "ferritin 90000 ug/L",
                                 "spo2 70 %", "crp 400 mg/L", "lactate 9 mmol/L", "troponin-t 900 ng/L"])
def test_what_is_never_organ_toxicity(lab):
    """Blood counts come from lymphodepletion; hypoxia, hypotension and fever have rows of their own."""
    for scale in ("lee-2014", "cartox-2018", "penn-2018"):
        assert peak(*COOL, *others(""), f"0 h {lab}", scale=scale) == 0


@pytest.mark.parametrize(
    ("before", "now", "grade"),
    [
        ("creatinine 0.7 mg/dL ref ..1.2", "creatinine 1.05 mg/dL ref ..1.2", 0),
        ("creatinine 0.7 mg/dL ref ..1.2", "creatinine 1.06 mg/dL ref ..1.2", 2),
        ("creatinine 0.7 mg/dL ref 0.6..1.2", "creatinine 1.45 mg/dL ref 0.6..1.2", 2),
        ("creatinine 0.7 mg/dL ref ..1.2", "creatinine 2.1 mg/dL ref ..1.2", 2),
        ("creatinine 0.7 mg/dL ref ..1.2", "creatinine 2.11 mg/dL ref ..1.2", 3),
        ("creatinine 2.5 mg/dL ref ..1.2", "creatinine 2.6 mg/dL ref ..1.2", 0),
        ("creatinine 2.5 mg/dL ref ..1.2", "creatinine 3.7 mg/dL ref ..1.2", 3),
        ("creatinine 2.5 mg/dL ref ..1.2", "creatinine 3.6 mg/dL ref ..1.2", 0),
        ("alt 150 U/L ref ..40", "alt 190 U/L ref ..40", 0),
        ("alt 150 U/L ref ..40", "alt 210 U/L ref ..40", 3),
        ("alt 30 U/L ref ..40", "alt 450 U/L ref ..40", 3),
        ("alt 900 U/L ref ..40", "alt 2000 U/L ref ..40", 0),
        ("fibrinogen 600 mg/dL ref 200..", "fibrinogen 290 mg/dL ref 200..", 0),
        ("fibrinogen 400 mg/dL ref 200..", "fibrinogen 190 mg/dL ref 200..", 3),
        ("fibrinogen 250 mg/dL ref 200..", "fibrinogen 190 mg/dL ref 200..", 0),
        ("fibrinogen 260 mg/dL ref 200..", "fibrinogen 190 mg/dL ref 200..", 2),
        ("lvef 70 %", "lvef 61 %", 0), ("lvef 70 %", "lvef 60 %", 2), ("lvef 75 %", "lvef 55 %", 2),
        ("lvef 76 %", "lvef 55 %", 3), ("lvef 45 %", "lvef 44 %", 0), ("lvef 45 %", "lvef 38 %", 3),
    ],
)
def test_a_grade_counts_only_if_it_was_not_there_before(before, now, grade):
    """With a therapy charted, the last value before the first dose is what the patient had anyway."""
    lines = (f"-2 d {before}", *DOSE, f"3 d {now}", "3 d ast 20 U/L ref ..40")
    assert at(72, *lines, scale="lee-2014").grade == grade


@pytest.mark.parametrize(("day", "grade"), [(-29, 2), (-31, 0)])
def test_a_baseline_is_at_most_30_days_old(day, grade):
    """1.1 mg/dL is within limits: only a baseline of 0.7 makes it grade 2."""
    lines = (f"{day} d creatinine 0.7 mg/dL ref ..1.2", *DOSE, "3 d creatinine 1.1 mg/dL ref ..1.2")
    assert at(72, *lines, scale="lee-2014").grade == grade


def test_without_a_therapy_there_is_no_baseline():
    lines = ("-2 d creatinine 0.7 mg/dL ref ..1.2", "3 d creatinine 1.1 mg/dL ref ..1.2")
    assert at(72, *lines, scale="lee-2014").grade == 0


def test_the_baseline_is_the_last_value_before_the_first_dose():
    lines = ("-9 d creatinine 0.5 mg/dL ref ..1.2", "-1 d creatinine 1.0 mg/dL ref ..1.2", *DOSE,
             "3 d creatinine 1.1 mg/dL ref ..1.2")
    assert at(72, *lines, scale="lee-2014").grade == 0
    second = (*lines[:-1], "10 d axicabtagene-ciloleucel", "11 d creatinine 1.6 mg/dL ref ..1.2")
    assert at(264, *second, scale="lee-2014").grade == 2


def test_default_limits_are_flagged():
    """The laboratory's own limits are used where the row brings them."""
    assert "default-limits" in at(0, *COOL, "0 h alt 130 U/L", scale="lee-2014").flags
    assert "default-limits" not in at(0, *COOL, *others("x"), scale="lee-2014").flags
    assert at(0, *COOL, "0 h alt 130 U/L", scale="lee-2014").grade == 2
    assert at(0, *COOL, "0 h alt 130 U/L ref ..55", scale="lee-2014").grade == 0


@pytest.mark.parametrize(("hour", "pair"), [(47.9, (2, 2)), (48, (0, 4))])
def test_a_laboratory_value_stands_48_hours(hour, pair):
    signs = ("temperature 36.8 Cel", "spo2 97 %", "systolic-bp 120 mmHg", "oxygen-device room-air")
    calm = [f"{h} h {sign}" for h in (40, 47) for sign in signs]
    assert at(hour, *COOL, *calm, *others("alt"), "0 h alt 130 U/L ref ..40", scale="lee-2014").pair == pair


@pytest.mark.parametrize(
    ("charted", "pair"),
    [(">120 U/L", (2, 3)), (">800 U/L", (3, 3)), ("<120 U/L", (0, 0)), ("<41 U/L", (0, 0)),
     ("unusable", (0, 3))],
)
def test_a_laboratorys_comparator(charted, pair):
    """> 800 is above 20 x 40 whatever it is; an unusable result could be anything."""
    lines = (*COOL, *others("alt"), f"0 h alt {charted} ref ..40")
    assert at(0, *lines, scale="lee-2014").pair == pair


def test_an_organ_of_another_cause_does_not_count():
    lines = (*COOL, *others("creatinine"), "0 h creatinine 5 mg/dL ref ..1.2",
             "0 h attribution organ=tumour lysis")
    assert at(0, *lines, scale="lee-2014").pair == (0, 0)


@pytest.mark.parametrize("scale", ["lee-2014", "penn-2018", "mskcc-2018", "ctcae-4.03"])
@pytest.mark.parametrize("symptom", ["chills", "fever-felt", "nausea", "tiredness", "headache",
                                     "muscle-pain"])
def test_symptoms_are_grade_1_where_no_fever_is_asked_for(scale, symptom):
    lines = (*COOL, f"1 h {symptom}")
    assert at(0.5, *lines, scale=scale).grade == 0
    assert at(1, *lines, scale=scale).grade == 1
    assert at(1, *COOL, f"1 h {symptom} absent", scale=scale).grade == 0


@pytest.mark.parametrize("scale", ["ctcae-5.0", "ctcae-6.0", "cartox-2018"])
def test_where_fever_is_asked_for_symptoms_are_nothing(scale):
    assert at(1, *COOL, *others(""), "1 h chills", scale=scale).pair == (0, 0)


@pytest.mark.parametrize(
    ("treatment", "grade"),
    [("acetaminophen", 2), ("diphenhydramine", 2), ("infusion-interrupted", 2), ("levetiracetam", 1)],
)
def test_ctcae_403_asks_for_intervention(treatment, grade):
    assert at(1, "0 h temperature 38.4 Cel", *CALM, f"1 h {treatment}", scale="ctcae-4.03").grade == grade
