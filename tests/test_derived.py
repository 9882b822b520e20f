"""Derived facts: what they may be made of, and when nothing can be said."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tocsin.complications import complications
from tocsin.definitions.load import library
from tocsin.facts.derived import with_derived
from tocsin.testing import patient

LIB = library()


def made(measure: str, *lines: str, strict: bool = True) -> list[tuple[float | None, str | None]]:
    """Value and text of every derived row of a measure."""
    rows = with_derived(patient(*lines, strict=strict), LIB).to_pylist()
    return [(row["value"], row["text"]) for row in rows if row["measure"] == measure]


def spans(name: str, *lines: str) -> list[tuple[int, int]]:
    return [(row["stage"], row["up_to"]) for row in complications(patient(*lines), [name]).to_pylist()]


def test_one_creatinine_alone_proves_no_rise_and_rules_none_out():
    assert made("creatinine-rise-48h", "0 h creatinine 5.0 mg/dL") == []
    assert spans("aki-kdigo", "0 h creatinine 5.0 mg/dL")[0] == (0, 3)


def test_an_unreadable_creatinine_makes_the_rise_unknown():
    rows = made("creatinine-rise-48h", "0 h creatinine 1 mg/dL", "9 h creatinine >25 mg/dL")
    assert rows[-1] == (None, "unusable")


def test_a_gap_in_urine_longer_than_a_volume_stands_begins_anew():
    hourly = [f"{h} h urine-output 100 mL" for h in range(25)]
    late = ["0 h weight 70 kg", *hourly, "240 h urine-output 10 mL"]
    assert max(stage for stage, _ in spans("aki-kdigo", *late)) == 0


def test_an_old_blood_gas_says_nothing_of_a_new_fio2():
    lines = ("0 h pao2 90 mm[Hg]", "0 h fio2 21 %", "30 h fio2 60 %")
    assert made("pf-ratio", *lines) == [(pytest.approx(428.57, abs=0.01), None)]


def test_a_change_of_device_voids_the_fio2_and_room_air_is_21_percent():
    lines = (
        "0 h oxygen-device ventilator",
        "0 h fio2 80 %",
        "1 h spo2 90 %",
        "2 h oxygen-device room-air",
        "3 h spo2 96 %",
    )
    first, second = made("sf-ratio", *lines)
    assert first[0] == pytest.approx(112.5)
    assert second[0] == pytest.approx(96 / 0.21)
    moved = (
        "0 h oxygen-device ventilator",
        "0 h fio2 80 %",
        "2 h oxygen-device nasal-cannula",
        "3 h spo2 96 %",
    )
    assert made("sf-ratio", *moved) == [(None, "unusable")]


def test_a_saturation_above_97_is_only_more_than_the_ratio_at_97():
    lines = ("0 h fio2 50 %", "0 h spo2 90 %", "1 h spo2 99 %")
    assert made("sf-ratio", *lines)[1] == (pytest.approx(194), ">")
    assert spans("hypoxaemia-sf", *lines)[1] == (0, 2)


def test_of_two_gases_at_one_instant_the_worse_counts():
    lines = ("0 h fio2 50 %", "0 h pao2 100 mm[Hg] source a", "0 h pao2 60 mm[Hg] source b")
    assert made("pf-ratio", *lines) == [(pytest.approx(120), None)]


def test_a_charted_ratio_of_one_patient_changes_nothing_for_another():
    one = patient("0 h pao2 60 mm[Hg]", "0 h fio2 80 %", patient="a")
    two = patient("0 h pf-ratio 400 mm[Hg]", patient="b")
    alone = complications(one, ["hypoxaemia"]).to_pylist()
    both = complications(pa.concat_tables([one, two]), ["hypoxaemia"]).to_pylist()
    assert [row for row in both if row["patient_id"] == "a"] == alone


def test_what_is_waited_for_is_what_people_chart():
    row = complications(patient("0 h creatinine 5.0 mg/dL"), ["aki-kdigo"]).to_pylist()[0]
    assert "creatinine" in row["waiting_for"]
    assert not any(name.startswith("creatinine-") for name in row["waiting_for"])


def test_a_stage_from_a_score_ends_with_death():
    lines = ("0 h platelets 45 10*3/uL", "0 h fibrinogen 0.9 g/L", "5 h death other")
    rows = complications(patient(*lines), ["dic-isth"]).to_pylist()
    assert (rows[-1]["end"] - rows[0]["start"]).total_seconds() == 5 * 3600
    assert rows[0]["judgement"] == ["underlying-disorder"]
