"""The oracle itself, held to sentences a reader can check by hand (rules A1 to A23 of the ASTCT table)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import oracle
import tables
from tocsin.definitions.load import library

LIB = library()


def chart(*facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(fact, patient_id="p", at=round(fact.pop("h") * 4)) for fact in facts]


def pair(facts: list[dict[str, Any]], hours: float, scale: str = "astct-2019") -> tuple[int, int]:
    """(grade, up_to) at one moment, hours from the origin of the tables."""
    when = tables.ORIGIN + timedelta(hours=hours)
    for row in oracle.grade(tables.table(facts), LIB.scale(scale), LIB):
        if row[1] <= when and (row[2] is None or when < row[2]):
            return row[3], row[4]
    raise AssertionError(f"no row at {hours} h")


def at(hours: float, measure: str, value: float | None = None, text: str | None = None) -> dict[str, Any]:
    return {"h": hours, "measure": measure, "value": value, "text": text}


CALM = (
    at(0, "spo2", 97.0), at(0, "systolic-bp", 120.0), at(0, "mean-bp", 80.0), at(0, "oxygen-flow", 0.0),
    at(0, "oxygen-device", None, "room-air"),
)


@pytest.mark.parametrize(
    ("hours", "facts", "expected"),
    [
        (0, [at(0, "temperature", 37.9)], (0, 0)),
        (0, [at(0, "temperature", 37.94)], (0, 0)),
        (0, [at(0, "temperature", 37.96)], (1, 1)),
        (0, [at(0, "temperature", 38.0)], (1, 1)),
        (23.75, [at(0, "temperature", 38.0), at(8, "temperature", 37.0)], (1, 4)),
        (7.75, [at(0, "temperature", 38.0), at(1, "temperature", 37.0)], (1, 1)),
        (0.25, [at(0, "temperature", 38.0), at(0.25, "temperature", 37.0)], (0, 0)),
        (0, [at(0, "norepinephrine", 0.05), at(0, "temperature", 37.0)], (0, 0)),
        (25, [at(0, "temperature", 39.0), at(2, "tocilizumab"), at(24, "temperature", 37.0),
              at(24, "norepinephrine", 0.05)], (3, 4)),
        (25, [at(0, "temperature", 39.0), at(24, "temperature", 37.0),
              at(24, "norepinephrine", 0.05)], (0, 0)),
        (1, [at(0, "temperature", 37.0), at(0, "tocilizumab"), at(0.25, "norepinephrine", 0.05)], (0, 0)),
        (1, [at(0, "temperature", 39.0), at(0, "norepinephrine", 0.05), at(0, "vasopressin", 0.03)], (3, 3)),
        (0.75, [at(0, "temperature", 39.0), at(0, "norepinephrine", 0.05),
                at(0, "epinephrine", 0.03)], (3, 4)),
        (1, [at(0, "temperature", 39.0), at(0, "norepinephrine", 0.05), at(0, "epinephrine", 0.03)], (4, 4)),
        (1, [at(0, "temperature", 39.0), at(0, "vasopressin", 0.03)], (3, 3)),
        (0, [at(0, "temperature", 39.0), at(0, "oxygen-device", None, "venturi-mask")], (3, 3)),
        (0, [at(0, "temperature", 39.0), at(0, "oxygen-device", None, "bipap")], (4, 4)),
        (0, [at(0, "temperature", 39.0), at(0, "oxygen-device", None, "nasal-cannula"),
             at(0, "oxygen-flow", 6.0)], (2, 2)),
        (0, [at(0, "temperature", 39.0), at(0, "oxygen-device", None, "nasal-cannula"),
             at(0, "oxygen-flow", 6.1)], (3, 3)),
        (0, [at(0, "temperature", 39.0), at(0, "systolic-bp", 85.0)], (1, 2)),
        (0.5, [at(0, "temperature", 39.0), at(0, "systolic-bp", 85.0), at(0.5, "systolic-bp", 89.0)], (2, 2)),
        (0.75, [at(0, "temperature", 39.0), at(0, "systolic-bp", 85.0),
                at(0.75, "systolic-bp", 89.0)], (1, 2)),
        (0.5, [at(0, "temperature", 39.0), at(0, "age", 5.0), at(0, "systolic-bp", 79.0),
               at(0.5, "systolic-bp", 79.0)], (2, 2)),
        (0.5, [at(0, "temperature", 39.0), at(0, "age", 5.0), at(0, "systolic-bp", 80.0),
               at(0.5, "systolic-bp", 80.0)], (1, 1)),
        (0, [at(0, "temperature", 39.0), at(0, "attribution", None, "fever=bacteraemia")], (0, 0)),
        (0, [at(0, "temperature", 39.0), at(0, "death", None, "crs")], (5, 5)),
    ],
)
def test_the_oracle_reads_the_astct_table(hours, facts, expected):
    said = {fact["measure"] for fact in facts if fact["h"] == 0}
    calm = [fact for fact in CALM if fact["measure"] not in said]
    assert pair(chart(*[dict(fact) for fact in (*calm, *facts)]), hours) == expected


@pytest.mark.parametrize("scale", LIB.scales)
def test_nobody_measuring_is_not_fine(scale):
    """Grade 0, everything still possible, and what is waited for is said."""
    (row,) = oracle.grade(tables.table(chart(at(0, "potassium", 4.0))), LIB.scale(scale), LIB)
    assert row[3] == 0
    assert row[4] == 4
    assert row[7]
