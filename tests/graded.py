"""Patients who stand at a grade for as long as a test needs, and what is asked for them."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

from tocsin.definitions.load import library
from tocsin.grading.live import micros
from tocsin.grading.moments import Findings
from tocsin.guidance import actions
from tocsin.guidance.answer import scales_for
from tocsin.guidance.bedside import Bedside, Course
from tocsin.testing import START, patient

LIB = library()
NAMES = actions.guidelines(LIB)
ASKED = Findings(actions.conditions(LIB), LIB)
CAR_T, CD20, BCMA = "axicabtagene-ciloleucel", "glofitamab", "teclistamab"


def ill(
    grade: int,
    *more: str,
    therapy: str = CAR_T,
    age: float = 50,
    kg: float = 70,
    onset: float = 40,
    until: float = 41,
) -> tuple[str, ...]:
    """A patient well until `onset`, then at `grade` (the same in ASTCT and CARTOX) until `until`."""
    lines = [f"0 h age {age} a", f"0 h weight {kg} kg", f"0 h {therapy}"]
    lines += [f"{h} h temperature 36.8 Cel" for h in range(0, round(onset), 12)]
    h = onset
    while h < until:
        lines.append(f"{h} h temperature 39.0 Cel")
        pressures = (120,) if grade == 1 else (66, 66)
        lines += [f"{h + place / 4} h systolic-bp {mmhg} mm[Hg]" for place, mmhg in enumerate(pressures)]
        if grade <= 2:
            lines += [f"{h} h spo2 97 %", f"{h} h oxygen-device room-air"]
        if grade >= 3:
            device = "high-flow-nasal-cannula" if grade == 3 else "ventilator"
            lines += [f"{h} h norepinephrine 0.1 ug/kg/min until {h + 4} h", f"{h} h oxygen-device {device}"]
            lines += [f"{h} h spo2 90 %", f"{h} h fio2 60 %"]
        h += 4
    return (*lines, *more)


@cache
def bed(lines: tuple[str, ...], at: float = 41.0) -> Bedside:
    """The patient of these lines at an hour."""
    return Course(patient(*lines), scales_for(NAMES, LIB), LIB, ASKED).at(micros(START + timedelta(hours=at)))


def asked(lines: tuple[str, ...], at: float, name: str) -> list[dict]:
    """What one guideline asks for."""
    return [said for said in actions.actions(bed(lines, at), NAMES) if said["guideline"] == name]


def one(lines: tuple[str, ...], at: float, name: str, text: str) -> dict:
    """The one action of a guideline whose text begins so."""
    found = [said for said in asked(lines, at, name) if said["text"].startswith(text)]
    assert len(found) == 1, [said["text"] for said in asked(lines, at, name)]
    return found[0]
