"""Patients in words: what a line may say, and what is said of one that says nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tocsin.facts import SCHEMA
from tocsin.testing import PatientError, patient


def test_a_patient_in_five_lines():
    """Lines come in any order; the table is canonical."""
    table = patient(
        "6 h oxygen-flow 2 L/min",
        "0 h temperature 38.4 Cel",
        "0 h tocilizumab",
        "3 h oxygen-device nasal-cannula",
        "8 h norepinephrine 0.05 ug/kg/min until 12 h",
        patient="p7",
        start=datetime(2026, 3, 1, tzinfo=UTC),
    )
    assert table.schema.equals(SCHEMA)
    assert set(table["patient_id"].to_pylist()) == {"p7"}
    assert table["measure"].to_pylist() == [
        "temperature",
        "tocilizumab",
        "oxygen-device",
        "oxygen-flow",
        "norepinephrine",
    ]
    last = table.to_pylist()[-1]
    assert (last["time"].hour, last["end"].hour, last["value"]) == (8, 12, 0.05)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("90 min crp <5 mg/L", {"value": 5.0, "text": "<"}),
        ("-2 d creatinine 1 mg/dL ref 0.5..1.2", {"ref_low": 0.5, "ref_high": 1.2}),
        ("0 h crp 9 mg/L ref ..5", {"ref_low": None, "ref_high": 5.0}),
        ("0 h temperature 38 Cel method core source obs/1", {"method": "core", "source": "obs/1"}),
        ("0 h temperature retracted replaces obs/1", {"text": "retracted", "replaces": "obs/1"}),
        ("0 h norepinephrine running", {"value": None, "text": "running"}),
        ("0 h norepinephrine 100 ug", {"text": "push"}),
        ("0 h creatinine unusable", {"value": None, "text": "unusable"}),
        ("0 h attribution hypotension=sepsis", {"text": "hypotension=sepsis"}),
        ("0 h ice-score 7", {"value": 7.0}),
        ("0 h chills", {"value": None, "text": None}),
    ],
)
def test_what_a_line_may_say(line, expected):
    """Everything a row of facts can."""
    (fact,) = patient(line).to_pylist()
    assert {name: fact[name] for name in expected} == expected


def test_a_line_may_say_when_it_became_known():
    """A late fact."""
    (fact,) = patient("0 h crp 9 mg/L recorded 5 h").to_pylist()
    assert (fact["recorded"] - fact["time"]).total_seconds() == 5 * 3600


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("temperature 38 Cel", "is no fact"),
        ("0 h temprature 38 Cel", "did you mean `temperature`"),
        ("x h temperature 38 Cel", "`x h` is no time"),
        ("0 h temperature 38 Cel please", "`please` is not understood"),
        ("0 h temperature 38 Cel until 2 h until 3 h", "says `until` twice"),
        ("0 h temperature 38", "has no unit"),
        ("0 h temperature 99 Cel", "is impossible"),
    ],
)
def test_an_example_that_says_nothing_is_refused(line, said):
    """An example with a slip would test nothing."""
    with pytest.raises(PatientError, match=said):
        patient(line)


def test_a_chart_with_dirt_can_be_said_too():
    """Not strict: what a chart would make of it."""
    (fact,) = patient("0 h norepinephrine 3 mL/h", strict=False).to_pylist()
    assert fact["text"] == "running"
