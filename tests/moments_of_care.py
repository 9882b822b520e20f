"""Patients at a bedside, with every condition of tests due and causes asked; facts as in `tocsin.testing`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tocsin.definitions.load import library
from tocsin.grading.live import micros
from tocsin.grading.moments import Findings
from tocsin.guidance import causes, tests_due
from tocsin.guidance.bedside import Bedside, bedside
from tocsin.testing import START, patient

LIB = library()
ASKED = Findings({**tests_due.conditions(LIB), **causes.conditions(LIB)}, LIB)
#: Vital signs of a patient in whom nothing is left open.
CALM = ("spo2 97 %", "systolic-bp 120 mm[Hg]", "oxygen-device room-air", "temperature 36.8 Cel")


def at(hours: float) -> int:
    """The moment so many hours after the patient's hour 0."""
    return micros(START + timedelta(hours=hours))


def z(hours: float) -> str:
    """That moment as the answers write it."""
    return (START + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def bed(hours: float, *lines: str) -> Bedside:
    """The bedside of one patient at `hours`."""
    return bedside(patient(*lines), at(hours), findings=ASKED, lib=LIB)


def calm(hours: float) -> tuple[str, ...]:
    """Vital signs of a well patient at one hour."""
    return tuple(f"{hours:g} h {line}" for line in CALM)


def one(said: list[dict[str, Any]], name: str, key: str = "id") -> dict[str, Any] | None:
    """The only entry with this name; none where it is not there."""
    found = [each for each in said if each[key] == name]
    assert len(found) <= 1, found
    return found[0] if found else None
