"""Triage: the least urgency a story may get, and what can never make it milder."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stories import LIB, RULES, SIGNS, WELL, rank, stories, urgency
from tocsin.advice import tell, triage
from tocsin.definitions.advice import URGENCIES

ROOT = Path(__file__).resolve().parents[1]
CASES = [
    pytest.param(row, id=f"{number}: {row['symptoms'] or 'no symptom'}: {row['why']}")
    for number, row in enumerate(
        csv.DictReader((Path(__file__).parent / "cases" / "triage.csv").read_text("utf-8").splitlines()), 2
    )
]
ISSUE = """chills,high fever,confusion,dizziness,diarrhoea,difficulty swallowing,headache,
joint and muscle pain,nausea and vomiting,rash,tiredness"""
READINGS = {
    "temperature": "temperature",
    "spo2": "spo2",
    "systolic": "systolic-bp",
    "heart-rate": "heart-rate",
    "respiratory-rate": "respiratory-rate",
    "age": "age",
}


def number(text: str) -> float | None:
    return float(text) if text else None


# --- the table ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", CASES)
def test_no_story_gets_a_milder_answer_than_the_least_allowed(row):
    # names of several words are written out; single words stand side by side
    names = (
        [row["symptoms"]]
        if " and " in row["symptoms"] or row["symptoms"] == "high fever"
        else row["symptoms"].split()
    )
    answer = triage(
        tell(
            therapy=row["therapy"] or None,
            days=number(row["days"]),
            symptoms=names,
            readings={name: float(row[key]) for key, name in READINGS.items() if row.get(key)},
            usual={"systolic-bp": float(row["usual"])} if row["usual"] else {},
            medicines={"acetaminophen": float(row["fever-medicine-h"])} if row["fever-medicine-h"] else {},
        )
    )
    assert URGENCIES.index(answer["urgency"]) >= URGENCIES.index(row["least"])
    # this is also what it gets: nobody is sent further than the rules say
    assert answer["urgency"] == row["least"]


def test_the_table_is_long_enough_and_names_every_symptom():
    rows = [case.values[0] for case in CASES]
    said = {row["symptoms"] for row in rows} | {name for row in rows for name in row["symptoms"].split()}
    assert len(rows) >= 60
    assert set(RULES.symptoms) - said == set()
    assert {name.strip() for name in ISSUE.split(",")} - said - {
        "diarrhoea",
        "difficulty swallowing",
    } == set()


@pytest.mark.parametrize("name", [name.strip() for name in ISSUE.split(",")])
def test_the_diarys_words_are_understood(name):
    assert rank(symptoms=[name], readings=WELL) >= URGENCIES.index("call-now")


# --- what can never lower an answer -------------------------------------------------------------------------

WORSE = {"temperature": 0.4, "spo2": -4.0, "systolic-bp": -15.0, "heart-rate": 30.0, "respiratory-rate": 8.0}


@given(stories, st.sampled_from(SIGNS))
def test_one_more_symptom_never_lowers_it(story, more):
    assert rank(**{**story, "symptoms": [*story["symptoms"], more]}) >= rank(**story)


@given(stories, st.sampled_from([*WORSE]))
def test_a_worse_reading_never_lowers_it(story, measure):
    if measure in story["readings"]:
        worse = {**story["readings"], measure: story["readings"][measure] + WORSE[measure]}
        assert rank(**{**story, "readings": worse}) >= rank(**story)


@given(stories, st.sampled_from(["therapy", "days"]))
def test_a_therapy_or_a_day_nobody_knows_never_lowers_it(story, key):
    assert rank(**{**story, key: None}) >= rank(**story)


@given(stories)
def test_an_unknown_usual_pressure_or_age_never_lowers_it(story):
    assert rank(**{**story, "usual": {}}) >= rank(**story)
    grown = {key: value for key, value in story["readings"].items() if key != "age"}
    assert rank(**{**story, "readings": grown}) >= rank(**story)


@given(stories, st.sampled_from([*WELL]))
def test_a_good_reading_left_out_never_lowers_it(story, measure):
    """No number is never better than a good one."""
    told = {**story["readings"], measure: WELL[measure]}
    without = {key: value for key, value in told.items() if key != measure}
    assert rank(**{**story, "readings": without}) >= rank(**{**story, "readings": told})


@given(stories)
def test_a_fever_left_out_still_asks_for_a_call_within_the_window(story):
    """Nobody measured: a fever is not ruled out."""
    if story["days"] in (None, 0, 1, 2, 7) or story["therapy"] is None:
        without = {key: value for key, value in story["readings"].items() if key != "temperature"}
        assert rank(**{**story, "readings": without}) >= URGENCIES.index("call-now")


@given(stories)
def test_what_is_not_ruled_out_is_never_below_the_answer(story):
    answer = triage(tell(**story))
    assert URGENCIES.index(answer["not_ruled_out"]) >= URGENCIES.index(answer["urgency"])
    for measure in WELL:
        assert (measure in answer["missing"]) == (measure not in story["readings"])
    assert len(answer["missing"]) == len(answer["unknown"])


@given(stories, st.permutations(SIGNS))
def test_the_order_and_repetition_of_symptoms_do_not_matter(story, order):
    twice = sorted([*story["symptoms"], *story["symptoms"]], key=order.index)
    assert triage(tell(**{**story, "symptoms": twice})) == triage(tell(**story))


# --- boundaries ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ({"temperature": 37.94}, "note"),
        ({"temperature": 37.95}, "call-now"),
        ({"temperature": 38.0}, "call-now"),
        ({"spo2": 93}, "note"),
        ({"spo2": 92}, "emergency"),
        ({"systolic-bp": 90}, "note"),
        ({"systolic-bp": 89}, "emergency"),
        ({"heart-rate": 120}, "note"),
        ({"heart-rate": 121}, "emergency"),
        ({"respiratory-rate": 24}, "note"),
        ({"respiratory-rate": 25}, "emergency"),
    ],
)
def test_limits_below_at_and_above(readings, expected):
    """Temperatures are compared after rounding half-up to 0.1."""
    assert urgency(therapy="teclistamab", days=2, readings={**WELL, **readings}) == expected


@pytest.mark.parametrize(
    ("usual", "expected"), [(98.0, "call-now"), (99.0, "call-now"), (99.5, "emergency"), (None, "emergency")]
)
def test_a_low_pressure_is_an_emergency_where_it_fell_by_more_than_ten(usual, expected):
    """89 against 99 is a fall of exactly 10."""
    told = {} if usual is None else {"systolic-bp": usual}
    assert (
        urgency(therapy="teclistamab", days=2, readings={**WELL, "systolic-bp": 89}, usual=told) == expected
    )


@pytest.mark.parametrize(
    ("hours", "expected"), [(24.0, "ambulance"), (24.5, "emergency"), (None, "ambulance")]
)
def test_anaphylaxis_is_thought_of_for_24_hours_after_a_dose(hours, expected):
    told = {"symptoms": ["rash", "difficulty-swallowing"], "readings": WELL}
    assert urgency(therapy="rituximab", hours=hours, **told) == expected


def test_of_days_and_hours_the_more_recent_is_believed():
    told = {"symptoms": ["rash", "difficulty-swallowing"], "readings": WELL, "therapy": "rituximab"}
    assert urgency(days=3, hours=5, **told) == urgency(days=0, hours=90, **told) == "ambulance"


@pytest.mark.parametrize("therapy", LIB.classes["therapy"])
def test_a_leaflets_call_is_now_within_the_therapys_own_window(therapy):
    window = LIB.measure(therapy).risk_window_days
    told = {"symptoms": ["headache"], "readings": WELL, "therapy": therapy}
    assert urgency(days=window, **told) == "call-now"
    assert urgency(days=window + 1, **told) == "call-today"


@pytest.mark.parametrize("drug", ["acetaminophen", "ibuprofen", "dexamethasone", "prednisone", "tocilizumab"])
def test_no_fever_is_not_reassuring_while_a_drug_may_hide_it(drug):
    answer = triage(tell(therapy="teclistamab", days=3, readings=WELL, medicines={drug: 47}))
    assert answer["urgency"] == "call-now"
    assert "hide a fever" in " ".join(answer["because"])
    assert urgency(therapy="teclistamab", days=3, readings=WELL, medicines={drug: 60}) == "note"
