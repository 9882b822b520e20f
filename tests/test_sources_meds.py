"""The MEDS door: both forms of the format, codes taken apart, starts and ends paired."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from doors import of, parquet, raw, said
from tocsin.definitions.load import library
from tocsin.definitions.schema import TocsinError
from tocsin.sources import meds
from tocsin.sources.codes import MIMIC, Codes

Event = tuple[int, datetime | None, str, float | None, str | None]


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2030, 7, 1, hour, minute)


def new_form(folder: Path, *events: Event) -> Path:
    """MEDS 0.4: data/*.parquet with numeric_value and text_value."""
    subject, time, code, value, text = zip(*events, strict=True)
    parquet(
        folder / "data",
        "0",
        subject_id=pa.array(subject, pa.int64()),
        time=pa.array(time, pa.timestamp("us")),
        code=pa.array(code, pa.string()),
        numeric_value=pa.array(value, pa.float32()),
        text_value=pa.array(text, pa.string()),
    )
    return folder


def test_codes_of_a_vocabulary_and_of_the_converter(tmp_path: Path) -> None:
    folder = new_form(
        tmp_path,
        (1, at(1), "LOINC//8310-5//Cel", 38.2, None),
        (1, at(2), "LAB//223761//°F", 100.4, None),
        (1, at(3), "LAB//50912//mg/dL", None, "<0.2"),
        (1, at(4), "LAB//226732//UNK", None, "Nasal cannula"),
        (1, at(5), "LAB//227969//UNK", 1.0, None),
        (1, at(6), "SUBJECT_WEIGHT_AT_INFUSION//KG", 80.0, None),
    )
    rows, tally = raw("meds", folder)
    assert [said(row, "value", "unit") for row in of(rows, "temperature")] == [(38.2, "Cel"), (100.4, "°F")]
    assert [said(row, "value", "text", "unit") for row in of(rows, "creatinine")] == [(0.2, "<", "mg/dL")]
    assert [row["text"] for row in of(rows, "oxygen-device")] == ["Nasal cannula"]
    assert [said(row, "value", "unit", "method") for row in of(rows, "weight")] == [(80.0, "KG", "dosing")]
    assert tally.unused == Counter({("MEDS", "LAB//227969//UNK"): 1})
    assert tally.rows_read == 6
    assert {row["source"] for row in rows} == {f"0.parquet:{n}" for n in (1, 2, 3, 4, 6)}


def test_the_older_form_reads_the_same(tmp_path: Path) -> None:
    parquet(
        tmp_path,
        "events",
        subject_id=[1],
        time=[at(2)],
        code=["LAB//220277//%"],
        table=["chart"],
        value=pa.array([91.0], pa.float32()),
    )
    rows, _ = raw("meds", tmp_path / "events.parquet")
    assert [said(row, "measure", "value", "unit") for row in rows] == [("spo2", 91.0, "%")]


def test_infusions_are_paired_in_turn_and_one_without_a_rate_is_a_push(tmp_path: Path) -> None:
    folder = new_form(
        tmp_path,
        (1, at(1), "INFUSION_START//221906", 0.1, None),
        (1, at(3), "INFUSION_END//221906", 2.0, None),
        (1, at(3), "INFUSION_START//221906", 0.2, None),
        (1, at(4), "INFUSION_END//221906", 1.0, None),
        (1, at(5), "INFUSION_START//221749", None, None),
        (1, at(5, 1), "INFUSION_END//221749", 0.1, None),
        (1, at(6), "INFUSION_START//228315", None, None),
        (1, at(6, 1), "INFUSION_END//228315", 1000.0, None),
        (2, at(1), "INFUSION_START//221906", 0.3, None),
    )
    rows, _ = raw("meds", folder)
    assert [
        said(row, "patient_id", "value", "unit", "time", "end") for row in of(rows, "norepinephrine")
    ] == [
        ("1", 0.1, "mcg/kg/min", "2030-07-01 01:00", "2030-07-01 03:00"),
        ("1", 0.2, "mcg/kg/min", "2030-07-01 03:00", "2030-07-01 04:00"),
        ("2", 0.3, "mcg/kg/min", "2030-07-01 01:00", "None"),
    ]
    assert [said(row, "value", "unit", "text", "end") for row in of(rows, "phenylephrine")] == [
        (0.1, "mg", "push", "None")
    ]
    assert [said(row, "value", "unit") for row in of(rows, "acetaminophen")] == [(1000.0, "mg")]


def test_only_what_was_administered_was_given(tmp_path: Path) -> None:
    folder = new_form(
        tmp_path,
        (1, at(1), "MEDICATION//Dexamethasone//Administered", None, None),
        (1, at(2), "MEDICATION//Dexamethasone//Not Given", None, None),
        (1, at(3), "MEDICATION//START//Dexamethasone", None, None),
        (1, at(4), "MEDICATION//Dexamethasone Ophthalmic Soln 0.1%//Administered", None, None),
    )
    rows, tally = raw("meds", folder)
    assert [said(row, "time") for row in of(rows, "dexamethasone")] == [("2030-07-01 01:00",)]
    assert sum(tally.unused.values()) == 3


def test_age_counts_from_birth_and_is_whole_on_the_birthday(tmp_path: Path) -> None:
    folder = new_form(
        tmp_path,
        (1, datetime(2020, 7, 1), "MEDS_BIRTH", None, None),
        (1, None, "GENDER//F", None, None),
        (1, at(1), "LAB//220277//%", 91.0, None),
        (1, datetime(2031, 1, 1), "LAB//220277//%", 92.0, None),
        (1, datetime(2031, 1, 2), "MEDS_DEATH", None, None),
    )
    rows, _ = raw("meds", folder)
    ages = of(rows, "age")
    assert [said(row, "time") for row in ages] == [("2030-07-01 01:00",), ("2031-01-01 00:00",)]
    assert ages[0]["value"] == 10.0
    assert ages[1]["value"] == pytest.approx(10.5, abs=0.01)
    assert [said(row, "text", "time") for row in of(rows, "sex")] == [("F", "2030-07-01 01:00")]
    assert [row["text"] for row in of(rows, "death")] == ["unknown"]


def test_times_are_wall_clock_times_of_the_zone_given(tmp_path: Path) -> None:
    folder = new_form(tmp_path, (1, at(12), "LAB//220277//%", 91.0, None))
    rows, tally = raw("meds", folder, timezone="America/New_York")
    assert said(rows[0], "time") == ("2030-07-01 16:00",)
    assert tally.notes == ["MEDS times carry no zone and were read as America/New_York"]


def test_a_death_known_by_its_date_alone_is_at_the_end_of_that_day(tmp_path: Path) -> None:
    """Midnight as it stands would cut off the day of death, often the sickest."""
    folder = new_form(
        tmp_path,
        (1, at(12), "LAB//220277//%", 91.0, None),
        (1, at(0), "MEDS_DEATH", None, None),
        (2, at(13, 5), "MEDS_DEATH", None, None),
    )
    rows, _ = raw("meds", folder, timezone="America/New_York")
    assert [said(row, "time") for row in of(rows, "death")] == [("2030-07-02 04:00",), ("2030-07-01 17:05",)]


def test_patients_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = new_form(tmp_path, *[(n, at(1), "LAB//220277//%", 91.0, None) for n in (9, 10, 100, 1)])
    assert [row["patient_id"] for row in raw("meds", folder)[0]] == ["1", "10", "100", "9"]


def test_a_broken_shard_is_named(tmp_path: Path) -> None:
    folder = new_form(tmp_path, (1, at(1), "LAB//220277//%", 91.0, None))
    (folder / "data" / "1.parquet").write_bytes(b"PAR1")
    with pytest.raises(TocsinError, match="cannot be read"):
        raw("meds", folder)


def test_every_item_of_the_shipped_file_is_a_measure_once() -> None:
    codes = Codes(library(), MIMIC)
    assert codes.find("MEDS LAB", "223761") == codes.find(
        "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-d-items", "223761"
    )
    assert codes.find("MEDS LAB", "999999") is None


def test_the_demo_is_read_whole(shared: Path) -> None:
    folder = shared / "data" / "mimic-iv-demo-meds"
    rows, tally = raw("meds", folder, timezone="America/New_York")
    counts = Counter(row["measure"] for row in rows)
    assert tally.rows_read == 916_166
    assert counts["norepinephrine"] == 947
    assert all(row["end"] is not None and row["end"] > row["time"] for row in of(rows, "norepinephrine"))
    assert len({row["patient_id"] for row in rows}) == 100
    assert {row["unit"] for row in of(rows, "temperature")} == {"°F", "°C"}
    # Texts were dropped from this copy: the device is charted and its word is not, which is not "no device".
    assert sum(row["text"] is None for row in of(rows, "oxygen-device")) == 3145


def test_mimics_items_say_what_clif_says(shared: Path, clif_demo: Path) -> None:
    """The shipped item ids, checked value by value against the same patients' CLIF record."""
    measures = ("systolic-bp", "mean-bp", "spo2", "creatinine", "alt", "inr", "platelets", "oxygen-flow")
    meds_rows, _ = raw("meds", shared / "data" / "mimic-iv-demo-meds", only=measures, timezone="Etc/GMT+5")
    clif_rows, _ = raw("clif", clif_demo, only=measures)
    charted: dict[tuple[Any, ...], set[float]] = {}
    for row in clif_rows:
        charted.setdefault((row["patient_id"], row["time"], row["measure"]), set()).add(row["value"])
    ours: dict[tuple[Any, ...], set[float]] = {}
    for row in meds_rows:
        ours.setdefault((row["patient_id"], row["time"], row["measure"]), set()).add(row["value"])
    for measure in measures:
        compared = agreed = 0
        for key, values in ours.items():
            # Of two cannulas at one minute CLIF keeps one.
            others = {value for value in charted.get(key, ()) if value is not None}
            if key[2] == measure and others and None not in values:
                compared += 1
                agreed += any(abs(other - value) < 1e-6 for other in others for value in values)
        assert compared > 500, measure
        assert agreed / compared > 0.99, (measure, agreed, compared)


def test_recognises_nothing_else(tmp_path: Path) -> None:
    parquet(tmp_path, "facts", patient_id=["a"], time=[at(1)], measure=["age"])
    assert not meds.recognises(tmp_path / "facts.parquet")
    assert not meds.recognises(tmp_path / "absent")
