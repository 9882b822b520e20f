"""What the label of each therapy asks for: now, for the next dose, and once the grade has fallen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tocsin.definitions.load import library
from tocsin.definitions.product import LASTING, PRODUCT_ACTIONS, product
from tocsin.grading.live import micros
from tocsin.grading.moments import Findings
from tocsin.guidance import products
from tocsin.guidance.bedside import Bedside, bedside
from tocsin.testing import START, patient

LIB = library()
THERAPIES = [name for name in LIB.classes["therapy"] if product(name, LIB).steps]
ASKED = Findings(products.conditions(LIB), LIB)
SCALES = ("astct-2019", *(name for name in products.scales(LIB) if name != "astct-2019"))
GRADES = {"label_g1": 1, "label_g2": 2, "label_g3": 3, "label_g4": 4}


def stays(hours: range, *charted: str) -> list[str]:
    """The same charted every 4 h."""
    return [f"{h} h {line}" for h in hours if not h % 4 for line in charted]


FEVER = "temperature 39 Cel"
LOW = "systolic-bp 80 mm[Hg]"
WELL = (
    "temperature 36.8 Cel",
    "systolic-bp 120 mm[Hg]",
    "mean-bp 85 mm[Hg]",
    "spo2 98 %",
    "oxygen-device room-air",
)
#: What is charted every 4 h at each grade; the drugs run on between.
ILL = {
    1: (FEVER, "systolic-bp 120 mm[Hg]", "spo2 98 %", "oxygen-device room-air"),
    2: (FEVER, LOW, "spo2 93 %", "oxygen-device nasal-cannula", "oxygen-flow 2 L/min"),
    3: (FEVER, LOW, "norepinephrine 0.05 ug/kg/min", "spo2 93 %", "oxygen-device venturi-mask", "fio2 50 %"),
    4: (
        FEVER,
        LOW,
        "norepinephrine 0.3 ug/kg/min",
        "epinephrine 0.2 ug/kg/min",
        "oxygen-device ventilator",
        "fio2 70 %",
        "spo2 92 %",
    ),
}  # fmt: skip
OFF = ("norepinephrine 0 ug/kg/min", "epinephrine 0 ug/kg/min")


def ill(grade: int, hours: range) -> list[str]:
    """The record of a grade over these hours, whatever ran before stopped."""
    return [*stays(hours, *ILL[grade]), *(f"{hours[0]} h {line}" for line in OFF if grade < 3)]


def well(hours: range) -> list[str]:
    """The record of someone who has nothing, over these hours."""
    return [*stays(hours, *WELL), *(f"{hours[0]} h {line}" for line in OFF)]


def at(hours: float, therapy: str, *lines: str, doses: tuple[float, ...] = (1,)) -> Bedside:
    """The patient so many hours after the start."""
    facts = patient(
        "0 h age 50 a", "0 h weight 70 kg", *(f"{dose} h {therapy}" for dose in doses), *lines
    )  # fmt: skip
    return bedside(facts, micros(START + timedelta(hours=hours)), scales=SCALES, findings=ASKED, lib=LIB)


def said(bed: Bedside, **what: Any) -> list[dict[str, Any]]:
    """The steps for which all of this is so."""
    return [
        each
        for each in products.steps(bed, {})
        if all(each[key] == value for key, value in what.items())
    ]  # fmt: skip


def actions(bed: Bedside, **what: Any) -> set[str]:
    """Their actions."""
    return {each["action"] for each in said(bed, **what)}


CELLS = [
    (therapy, grade)
    for therapy in THERAPIES
    for field, grade in GRADES.items()
    if any(item.get(field) for item in LIB.measure(therapy).raw.get("indication", ()))
]


@pytest.mark.parametrize(("therapy", "grade"), CELLS)
def test_every_label_cell_is_told_at_its_grade_with_its_source(therapy: str, grade: int) -> None:
    scale = product(therapy, LIB).scale or "astct-2019"
    lines = ill(grade, range(8, 50))
    if (scale, grade) == ("penn-2018", 2):
        # under Penn any oxygen is grade 3; grade 2 is fever that brings a patient into hospital
        lines = [*ill(1, range(8, 50)), "8 h hospitalized-for-crs"]
    bed = at(50, therapy, *lines)
    assert bed.grades[scale]["grade"] == grade
    told = said(bed, guideline="label", grade=grade)
    assert told
    assert all(each["source"] for each in told)
    assert all(each["scale"] == scale for each in told)


@pytest.mark.parametrize("therapy", THERAPIES)
def test_a_label_cell_from_memory_is_told_as_from_memory(therapy: str) -> None:
    """Where every indication names the cell in `memory_fields`, and not only a part of it (`memory_note`)."""
    items = [item for item in LIB.measure(therapy).raw["indication"] if item.get("label_g1")]
    part = {note.split(":")[0] for item in items for note in [item.get("memory_note", "")]}
    fields = set.intersection(*(set(item.get("memory_fields", ())) for item in items)) - part
    for step in product(therapy, LIB).steps:
        if step.guideline == "label" and step.source != ("tecvayli-eu",):
            from_memory = {GRADES[field] for field in fields & set(GRADES)} & set(step.grades)
            assert step.status == "memory" or not from_memory, step.text
        assert (step.status == "memory") is ("memory" in step.source), step.text


@pytest.mark.parametrize("therapy", [t for t in THERAPIES if "engager" in LIB.measure(t).classes])
def test_grade_4_under_an_engager_is_the_end_of_it(therapy: str) -> None:
    own = product(therapy, LIB)
    stop = [step for step in own.steps if 4 in step.grades and step.action == "discontinue_permanently"]
    if therapy in ("catumaxomab", "dinutuximab"):
        assert stop == []
    else:
        assert stop
        bed = at(20, therapy, *ill(4, range(8, 20)))
        assert products.steps(bed, {})[0]["action"] == "discontinue_permanently"


def test_every_action_of_the_closed_list_is_asked_for_by_some_label() -> None:
    used = {step.action for therapy in THERAPIES for step in product(therapy, LIB).steps}
    assert set(PRODUCT_ACTIONS) <= used
    assert set(LASTING) <= set(PRODUCT_ACTIONS)


# The label's own words, one by one


def test_blinatumomab_grade_3_starts_again_at_9_ug_a_day_and_goes_up_after_7_d() -> None:
    bed = at(20, "blinatumomab", *ill(3, range(8, 20)))
    (restart,) = said(bed, action="restart_lower_dose", guideline="label")
    assert "9 ug a day" in restart["text"]
    assert "after 7 d" in restart["text"]
    assert (restart["next"], restart["status"]) == (True, "draft")
    (stop,) = said(bed, action="interrupt", guideline="label")
    assert (stop["drug"], stop["dose"], stop["every_hours"]) == ("dexamethasone", 8, [8])


def test_blinatumomab_grade_3_resumes_at_a_lower_dose_by_label_and_by_nccn() -> None:
    told = said(at(20, "blinatumomab", *ill(3, range(8, 20))), action="restart_lower_dose")
    assert {each["guideline"] for each in told} == {"label", "nccn-engage7"}


def test_glofitamab_grade_1_waits_72_h_after_crs_and_that_is_stricter_than_a_pause() -> None:
    bed = at(20, "glofitamab", *ill(1, range(8, 20)))
    (first, *rest) = [each for each in products.steps(bed, {}) if each["product"] and not each["next"]]
    assert (first["action"], first["clear_hours"]) == ("withhold_until_resolved_plus_72h", 72)
    assert (first["strictest"], first["guideline"]) == (True, "label")
    assert [(each["action"], each["strictest"]) for each in rest] == [("slow_infusion", False)]


@pytest.mark.parametrize(
    ("therapy", "hours"),
    [
        ("tarlatamab", 22),
        ("elranatamab", 48),
        ("teclistamab", 48),
        ("talquetamab", 48),
        ("linvoseltamab", 24),
    ],
)
def test_after_grade_2_the_next_dose_is_watched(therapy: str, hours: float) -> None:
    told = said(at(20, therapy, *ill(2, range(8, 20))), action="observe_next_dose", guideline="label")
    assert {each["observe_hours"] for each in told} == {hours}
    assert all(each["next"] for each in told)


def test_the_longer_of_two_watches_is_the_strictest() -> None:
    told = said(at(20, "elranatamab", *ill(3, range(8, 20))), action="observe_next_dose")
    assert {(each["guideline"], each["observe_hours"], each["strictest"]) for each in told} == {
        ("label", 48, True),
        ("nccn-engage7", 48, True),
    }


@pytest.mark.parametrize(("hours", "severe"), [(1.9, False), (2, True), (2.1, True)])
def test_tebentafusp_grade_2_is_cared_for_as_severe_after_2_h(hours: float, severe: bool) -> None:
    bed = at(12 + hours, "tebentafusp", *[f"{h} h {line}" for h in (12, 13, 13.5) for line in ILL[2]])
    assert bed.grades["astct-2019"]["grade"] == 2
    drugs = {each["drug"] for each in said(bed, guideline="label", next=False)}
    assert ({"methylprednisolone", "tocilizumab"} <= drugs) is severe
    (clock,) = [each for each in products.clocks(bed) if each["clock"] == "as-severe-2-h"]
    assert clock["state"] == ("passed" if severe else "running")


def test_care_as_severe_now_does_not_change_the_next_dose() -> None:
    bed = at(15, "tebentafusp", *[f"{h} h {line}" for h in (12, 13, 14) for line in ILL[2]])
    assert actions(bed, next=True) == {"premedicate_next"}


def test_tebentafusp_grade_3_goes_on_at_the_same_dose() -> None:
    bed = at(20, "tebentafusp", *ill(3, range(8, 20)))
    told = said(bed, action="resume_same_dose_no_escalation")
    assert {each["guideline"] for each in told} == {"label", "nccn-engage7"}
    (label,) = [each for each in told if each["guideline"] == "label"]
    assert (label["drug"], label["dose"]) == ("dexamethasone", 4)


@pytest.mark.parametrize(
    ("grade", "doses", "action"),
    [
        (2, (1,), "postpone_second_split_dose"),
        (3, (1,), "cancel_second_split_dose"),
        (4, (1,), "cancel_second_split_dose"),
        (2, (1, 4), None),
        (3, (1, 4), None),
        (1, (1,), None),
    ],
)
def test_obecabtagene_the_second_dose_waits_or_is_off(
    grade: int, doses: tuple[float, ...], action: str | None
) -> None:
    bed = at(20, "obecabtagene-autoleucel", *ill(grade, range(8, 20)), doses=doses)
    assert actions(bed, product=True) == ({action} if action else set())


def test_obecabtagene_the_second_dose_stays_off_when_the_grade_has_fallen() -> None:
    bed = at(60, "obecabtagene-autoleucel", *ill(3, range(8, 30)), *well(range(32, 60)))
    assert bed.grades["astct-2019"]["grade"] == 0
    assert actions(bed) == {"cancel_second_split_dose"}


# First, again, short, long


def test_grade_3_for_48_h_ends_teclistamab_and_for_less_does_not() -> None:
    short = at(55.9, "teclistamab", *ill(3, range(8, 56)))
    long = at(56.1, "teclistamab", *ill(3, range(8, 57)))
    assert "discontinue_permanently" not in actions(short)
    assert "discontinue_permanently" in actions(long)


def test_grade_3_a_second_time_ends_teclistamab_and_grade_1_after_grade_3_does_not() -> None:
    first = (*ill(3, range(8, 24)), *well(range(24, 120)))
    again = at(130, "teclistamab", *first, *ill(3, range(120, 132)), doses=(1, 110))
    assert "discontinue_permanently" in actions(again)
    milder = at(130, "teclistamab", *first, *ill(1, range(120, 132)), doses=(1, 110))
    assert "discontinue_permanently" not in actions(milder)


def test_grade_4_is_the_end_also_when_the_grade_falls_and_when_one_more_dose_was_given() -> None:
    first = (*ill(4, range(8, 24)), *ill(1, range(24, 48)), *well(range(48, 120)))
    for hours, doses in ((40, (1.0,)), (90, (1.0,)), (118, (1.0, 110.0))):
        assert "discontinue_permanently" in actions(at(hours, "teclistamab", *first, doses=doses))


def test_lisocabtagene_before_72_h_is_treated_earlier() -> None:
    early = at(60, "lisocabtagene-maraleucel", *ill(1, range(8, 60)))
    late = at(100, "lisocabtagene-maraleucel", *well(range(76)), *ill(1, range(76, 100)))
    assert {each["drug"] for each in said(early)} == {"tocilizumab", "dexamethasone"}
    assert actions(late) == {"supportive"}


@pytest.mark.parametrize(("hours", "given"), [(23.9, False), (26, True)])
def test_axicabtagene_grade_1_for_a_day_may_have_tocilizumab(hours: float, given: bool) -> None:
    bed = at(8 + hours, "axicabtagene-ciloleucel", *ill(1, range(8, 40)))
    assert bool(said(bed, drug="tocilizumab")) is given


def test_tisagenlecleucel_goes_by_the_penn_grade_and_says_where_it_was_another() -> None:
    bed = at(20, "tisagenlecleucel", *ill(3, range(8, 20)))
    assert {each["scale"] for each in said(bed)} == {"penn-2018"}
    assert "Lee 2014" in products.note(bed)


def test_tisagenlecleucel_has_its_own_clock_after_tocilizumab() -> None:
    bed = at(20, "tisagenlecleucel", *ill(3, range(8, 36)), "12 h tocilizumab 560 mg")
    (clock,) = products.clocks(bed)
    assert (clock["clock"], clock["due"], clock["state"]) == (
        "steroid-12-h",
        "2026-01-06T00:00:00Z",
        "running",
    )


# The next dose, after the grade has fallen


def test_after_crs_the_rules_for_the_next_dose_stand_by_the_highest_grade() -> None:
    bed = at(60, "teclistamab", *ill(2, range(8, 24)), *ill(1, range(24, 36)), *well(range(36, 60)))
    assert bed.grades["astct-2019"]["grade"] == 0
    assert {"premedicate_next", "observe_next_dose"} <= actions(bed, next=True)
    assert {each["grade"] for each in said(bed)} == {2}


def test_the_next_dose_is_told_with_its_time_once_crs_has_gone() -> None:
    lines = (*ill(1, range(8, 24)), *well(range(24, 120)))
    waiting = said(at(60, "glofitamab", *lines), action="withhold_until_resolved_plus_72h")
    gone = {each["clear_from"] for each in waiting}
    assert len(gone) == 1
    assert None not in gone
    assert {each["next"] for each in waiting} == {True, False}
    over = said(at(119, "glofitamab", *lines), action="withhold_until_resolved_plus_72h")
    assert {each["next"] for each in over} == {True}


def test_that_crs_has_gone_is_not_taken_from_silence() -> None:
    silent = at(60, "glofitamab", *ill(1, range(8, 24)))
    assert silent.grades["astct-2019"]["grade"] == 0
    told = [each for each in said(silent) if each["clear_hours"]]
    assert told
    assert all("that CRS has gone" in each["if_known"] for each in told)


def test_a_dose_given_after_crs_has_gone_ends_its_rules() -> None:
    lines = (*ill(2, range(8, 24)), *well(range(24, 130)))
    assert actions(at(110, "teclistamab", *lines, doses=(1,)))
    assert actions(at(120, "teclistamab", *lines, doses=(1, 115))) == set()


def test_crs_under_an_earlier_therapy_says_nothing_of_this_one() -> None:
    bed = at(
        120, "teclistamab", "1 h axicabtagene-ciloleucel", *ill(4, range(8, 24)), *well(range(24, 120)),
        doses=(110,),
    )  # fmt: skip
    assert bed.therapy == "teclistamab"
    assert actions(bed) == set()


@pytest.mark.parametrize(("days", "late"), [(6.9, False), (7.1, True)])
def test_a_late_second_dose_of_teclistamab_starts_again(days: float, late: bool) -> None:
    told = said(at(1 + days * 24, "teclistamab", "0 h temperature 36.8 Cel"), action="restart_lower_dose")
    assert bool(told) is late
    assert all(each["source"] == ["tecvayli-medscape"] for each in told)


@pytest.mark.parametrize(("doses", "late"), [((1,), True), ((1, 2), True), ((1, 2, 3), False)])
def test_epcoritamab_starts_again_only_in_its_first_steps(doses: tuple[float, ...], late: bool) -> None:
    bed = at(220, "epcoritamab", "0 h temperature 36.8 Cel", doses=doses)
    assert bool(said(bed, action="restart_lower_dose")) is late


# What is not known


@pytest.mark.parametrize("therapy", [t for t in LIB.classes["therapy"] if t not in THERAPIES])
def test_a_therapy_without_steps_says_that_none_were_found(therapy: str) -> None:
    bed = at(20, therapy, *ill(2, range(8, 20)))
    assert products.steps(bed, {}) == []
    assert "no label steps were found" in products.note(bed)


def test_a_label_in_a_scale_that_is_not_derived_says_so() -> None:
    bed = at(20, "catumaxomab", *ill(1, range(8, 20)))
    told = products.steps(bed, {})
    assert told
    assert all("the label's own grade" in each["if_known"][-1] for each in told)
    assert "CTCAE 3.0" in products.note(bed)


def test_nothing_is_asked_before_any_crs_and_without_a_therapy() -> None:
    assert products.steps(at(20, "teclistamab", *well(range(20))), {}) == []
    nobody = bedside(patient("0 h temperature 39 Cel"), micros(START + timedelta(hours=1)))
    assert (products.steps(nobody, {}), products.note(nobody), products.clocks(nobody)) == ([], "", [])
