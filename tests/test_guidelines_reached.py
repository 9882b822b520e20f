"""Every cell of every guideline, and every step of every label, is told to some patient, with its source."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import pytest

from tocsin.definitions.guideline import guideline
from tocsin.definitions.load import library
from tocsin.definitions.product import product
from tocsin.grading.live import micros
from tocsin.grading.moments import Findings
from tocsin.guidance import actions, products
from tocsin.guidance.answer import scales_for
from tocsin.guidance.bedside import Course
from tocsin.testing import START, patient

LIB = library()
NAMES = actions.guidelines(LIB)
ASKED = Findings({**actions.conditions(LIB), **products.conditions(LIB)}, LIB)
SCALES = scales_for(NAMES, LIB)


def hot(*hours: float, degrees: float = 39.0) -> list[str]:
    """Fever at these hours."""
    return [f"{h} h temperature {degrees} Cel" for h in hours]


def low(*hours: float) -> list[str]:
    """Low pressure, confirmed, at these hours."""
    return [f"{h + d} h systolic-bp {80 + d:g} mm[Hg]" for h in hours for d in (0, 0.25)]


def course(
    therapy: str, grade: int, *more: str, age: float = 50, onset: float = 40, kg: float = 70
) -> list[str]:
    """A patient who stands at `grade` (ASTCT) from `onset` on, for some days."""
    lines = [
        f"0 h age {age} a",
        f"0 h weight {kg} kg",
        f"1 h {therapy}",
        "1 h creatinine 0.8 mg/dL ref 0.6..1.2",
    ]
    lines += hot(*[onset + 20 * k for k in range(9)])
    every = [onset + 7 * k for k in range(24)]
    lines += [f"{h} h spo2 95 %" for h in every]
    if grade == 2:
        lines += low(*every)
    if grade >= 3:
        lines += low(*every)
        lines += [f"{h} h norepinephrine 0.1 ug/kg/min until {h + 7} h" for h in every]
    if grade == 3:
        lines += [line for h in every for line in (f"{h} h oxygen-device venturi-mask", f"{h} h fio2 50 %")]
    if grade == 4:
        lines += [f"{h} h epinephrine 0.1 ug/kg/min until {h + 7} h" for h in every]
        lines += [line for h in every for line in (f"{h} h oxygen-device ventilator", f"{h} h fio2 60 %")]
    return [*lines, *more]


BUSY = (
    "44 h tocilizumab 560 mg", "45 h dexamethasone 10 mg", "44 h fluid-bolus 500 mL",
    "45 h fluid-bolus 500 mL", "46 h anc 0.3 10*3/uL", "46 h heart-rate 140 /min",
    "50 h heart-rate 140 /min", "46 h ice-score 8",
    "46 h lvef 35 %", "46 h creatinine 3.0 mg/dL ref 0.6..1.2", "46 h aptt 90 s ref 25..35",
    "46 h ck 2000 U/L ref 30..200", "80 h ck 2000 U/L ref 30..200", "100 h ck 2000 U/L ref 30..200",
    "46 h fio2 60 %", "46 h oxygen-device high-flow-nasal-cannula", "50 h fio2 60 %",
    "60 h oxygen-device high-flow-nasal-cannula", "60 h fio2 60 %",
)  # fmt: skip
CARE = (
    "44 h tocilizumab 560 mg",
    "45 h dexamethasone 10 mg",
    "44 h fluid-bolus 500 mL",
    "45 h fluid-bolus 500 mL",
    "46 h anc 0.3 10*3/uL",
    "44 h heart-rate 140 /min",
    "46 h heart-rate 140 /min",
    "46 h ice-score 8",
    "46 h hospitalized-for-crs",
)
WHO = {
    "axicabtagene-ciloleucel": (50, 8), "teclistamab": (50,), "glofitamab": (50,),
}  # fmt: skip


@cache
def reached() -> dict[tuple[str, str], tuple[str, ...]]:
    """(guideline, text) to the source named, over all patients and moments."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for therapy, ages in WHO.items():
        for age in ages:
            for grade in (1, 2, 3, 4):
                for more in (
                    (),
                    BUSY,
                    ("44 h tocilizumab 560 mg",),
                    CARE,
                    ("47 h acetaminophen 650 mg", *hot(50.5)),
                ):
                    lines = course(therapy, grade, *more, age=age)
                    walked = Course(patient(*lines), SCALES, LIB, ASKED)
                    moments = [
                        micros(START + timedelta(hours=h)) for h in (41, 46.5, 51, 64.5, 72, 115, 120, 215)
                    ]
                    for bed in walked.beds(moments):
                        for said in actions.actions(bed, NAMES):
                            found[said["guideline"], said["text"]] = tuple(said["source"])
    return found


CELLS = [(name, action) for name in NAMES for action in guideline(name, LIB).actions]


@pytest.mark.parametrize(
    ("name", "action"), CELLS, ids=[f"{name}-{a.grades[0]}-{a.kind}-{i}" for i, (name, a) in enumerate(CELLS)]
)
def test_every_action_of_every_guideline_is_told_to_some_patient_with_its_source(name, action):  # type: ignore[no-untyped-def]
    assert reached().get((name, action.text)) == action.source


THERAPIES = [name for name in LIB.classes["therapy"] if product(name, LIB).steps]


@pytest.mark.parametrize("therapy", THERAPIES)
def test_every_step_of_a_label_is_told_to_some_patient_with_its_source(therapy: str) -> None:
    own = product(therapy, LIB)
    again = [f"{300 + h} h temperature 39 Cel" for h in (0, 20, 40)]
    quiet = [
        line
        for h in range(215, 300, 6)
        for line in (
            f"{h} h temperature 36.8 Cel",
            f"{h} h systolic-bp 120 mm[Hg]",
            f"{h} h spo2 98 %",
            f"{h} h oxygen-device room-air",
        )
    ]
    found: set[tuple[str, tuple[str, ...]]] = set()
    for grade in (1, 2, 3, 4):
        for onset, more in ((40.0, CARE), (90.0, ())):
            lines = course(therapy, grade, *more, onset=onset)
            second = [*again, *low(300, 307, 314, 321)] if grade > 1 else again
            if grade >= 3:
                second += [f"{300 + h} h norepinephrine 0.1 ug/kg/min until {307 + h} h" for h in (0, 7, 14)]
                second += [f"{300 + h} h oxygen-device venturi-mask" for h in (0, 7, 14)]
            walked = Course(patient(*lines, *quiet, *second), SCALES, LIB, ASKED)
            hours = (onset + 0.5, onset + 1, onset + 10, 64, 100, 115, 150, 190, 302, 310)
            for bed in walked.beds([micros(START + timedelta(hours=h)) for h in sorted(hours)]):
                for said in products.steps(bed, {}):
                    found.add((said["text"], tuple(said["source"])))
    missing = [step.text for step in own.steps if (step.text, step.source) not in found]
    assert missing == []
