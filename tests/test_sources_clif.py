"""The CLIF door: CLIF's tables become facts of the patient, nothing guessed, nothing silent."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from doors import of, parquet, raw, said
from tocsin.definitions.schema import DefinitionError, TocsinError
from tocsin.sources.clif import LABS


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2030, 3, 1, hour, minute, tzinfo=UTC)


def stay(folder: Path, discharge: str = "Home") -> Path:
    """One patient, two stays."""
    parquet(
        folder,
        "clif_hospitalization",
        patient_id=["p1", "p1"],
        hospitalization_id=["h2", "h1"],
        admission_dttm=[at(1), at(0)],
        discharge_dttm=[at(23), at(22)],
        age_at_admission=[60, 60],
        discharge_category=["Home", discharge],
    )
    return folder


def test_the_patient_is_the_patient_and_never_the_stay(tmp_path: Path) -> None:
    folder = stay(tmp_path)
    parquet(
        folder,
        "clif_vitals",
        hospitalization_id=["h1", "h2", "h9"],
        recorded_dttm=[at(2), at(1), at(3)],
        vital_category=["temp_c"] * 3,
        vital_value=[38.5, 36.9, 40.0],
    )
    rows, tally = raw("clif", folder)
    found = of(rows, "temperature")
    assert [row["patient_id"] for row in found] == ["p1", "p1"]
    assert [said(row, "value", "unit", "source") for row in found] == [
        (36.9, "Cel", "clif_vitals.parquet:2"),
        (38.5, "Cel", "clif_vitals.parquet:1"),
    ]
    assert tally.unused[("clif_vitals", "(hospitalization_id unknown)")] == 1


@pytest.mark.parametrize(
    ("written", "numeric", "expected"),
    [
        ("<0.1.", 0.1, (0.1, "<")),
        (">1000", None, (1000.0, ">")),
        ("1.4", None, (1.4, None)),
        ("___", 1.4, (1.4, None)),
        ("CLOTTED", None, (None, "CLOTTED")),
        ("12 (hemolysed)", None, (None, "12 (hemolysed)")),
    ],
)
def test_a_comparator_stays_and_a_sentence_is_no_number(
    tmp_path: Path, written: str, numeric: float | None, expected: tuple[Any, ...]
) -> None:
    """What is no number stays in `text`: validation then refuses it by name and its measure is unknown."""
    folder = stay(tmp_path)
    parquet(
        folder,
        "clif_labs",
        hospitalization_id=["h1", "h1"],
        lab_collect_dttm=[at(4), at(4)],
        lab_result_dttm=[at(6), at(6)],
        lab_category=["creatinine", "glucose_serum"],
        lab_value=[written, "100"],
        lab_value_numeric=[numeric, 100.0],
        reference_unit=["mg/dL\t", "mg/dL"],
    )
    rows, tally = raw("clif", folder)
    (row,) = of(rows, "creatinine")
    assert said(row, "value", "text") == expected
    assert said(row, "unit", "time", "recorded") == ("mg/dL", "2030-03-01 04:00", "2030-03-01 06:00")
    assert tally.unused[("clif_labs", "glucose_serum")] == 1


def test_ten_thousand_sentences_are_read_as_a_few_are(tmp_path: Path) -> None:
    """Columns of few texts travel as codes; one with more texts than that travels as it is."""
    folder, count = stay(tmp_path), 10_001
    parquet(
        folder,
        "clif_labs",
        hospitalization_id=["h1"] * count,
        lab_collect_dttm=[at(4)] * count,
        lab_result_dttm=[at(6)] * count,
        lab_category=["creatinine"] * count,
        lab_value=[f"see note {i}" for i in range(count)],
        lab_value_numeric=[None] * count,
        reference_unit=["mg/dL"] * count,
    )
    rows, _ = raw("clif", folder)
    assert {row["text"] for row in of(rows, "creatinine")} == {f"see note {i}" for i in range(count)}


def test_an_infusion_starts_changes_and_stops_and_a_stop_is_zero(tmp_path: Path) -> None:
    folder = stay(tmp_path)
    actions = ["start", "dose_change", "stop", "bolus", "other"]
    parquet(
        folder,
        "clif_medication_admin_continuous",
        hospitalization_id=["h1"] * 7,
        admin_dttm=[at(hour) for hour in (1, 2, 3, 4, 5, 6, 7)],
        med_category=["norepinephrine"] * 5 + ["propofol", "acetaminophen"],
        mar_action_category=[*actions, "start", "start"],
        med_dose=[0.05, 0.1, 0.1, 20.0, 0.2, 30.0, 66.0],
        med_dose_unit=["mcg/kg/min"] * 3 + ["mcg", "mcg/kg/min", "mcg/kg/min", "mg/min"],
    )
    rows, tally = raw("clif", folder)
    assert [said(row, "value", "unit", "text") for row in of(rows, "norepinephrine")] == [
        (0.05, "mcg/kg/min", None),
        (0.1, "mcg/kg/min", None),
        (0.0, "mcg/kg/min", None),
        (20.0, "mcg", "push"),
    ]
    assert [said(row, "value", "unit") for row in of(rows, "acetaminophen")] == [(None, None)]
    table = "clif_medication_admin_continuous"
    assert tally.unused[(table, "propofol")] == 1
    assert tally.unused[(table, "norepinephrine (other)")] == 1


@pytest.mark.parametrize(
    ("bags", "rates"), [(["a", "a", "b", "a"], [0.1, 0.2, 0.3]), (["a", "a", "a", "a"], [0.1, 0.2, 0.3, 0.0])]
)
def test_the_late_stop_of_an_old_bag_does_not_stop_the_drug(
    tmp_path: Path, bags: list[str], rates: list[float]
) -> None:
    folder = stay(tmp_path)
    parquet(
        folder,
        "clif_medication_admin_continuous",
        hospitalization_id=["h1"] * 4,
        med_order_id=bags,
        admin_dttm=[at(1), at(2), at(3), at(3, 10)],
        med_category=["norepinephrine"] * 4,
        mar_action_category=["start", "dose_change", "start", "stop"],
        med_dose=[0.1, 0.2, 0.3, 0.3],
        med_dose_unit=["mcg/kg/min"] * 4,
    )
    assert [row["value"] for row in of(raw("clif", folder)[0], "norepinephrine")] == rates


def test_a_dose_counts_when_given_and_a_bolus_only_when_called_so(tmp_path: Path) -> None:
    folder = stay(tmp_path)
    parquet(
        folder,
        "clif_medication_admin_intermittent",
        hospitalization_id=["h1"] * 5,
        admin_dttm=[at(hour) for hour in (1, 2, 3, 4, 5)],
        med_category=["tocilizumab", "dexamethasone", "dexamethasone", "sodium chloride", "sodium chloride"],
        mar_action_category=["given", "given", "not_given", "given", "given"],
        mar_action_name=["Given", "Given", "Refused", "Bolus", "Drug push"],
        med_dose=[560.0, 1.0, 10.0, 500.0, 100.0],
        med_dose_unit=["mg", "dose", "mg", "mL", "mL"],
    )
    rows, tally = raw("clif", folder)
    assert [said(row, "value", "unit") for row in of(rows, "tocilizumab")] == [(560.0, "mg")]
    assert [said(row, "value", "unit") for row in of(rows, "dexamethasone")] == [(None, None)]
    assert [row["value"] for row in of(rows, "fluid-bolus")] == [500.0]
    assert tally.unused[("clif_medication_admin_intermittent", "dexamethasone (not_given)")] == 1
    assert tally.unused[("clif_medication_admin_intermittent", "sodium chloride (not a bolus)")] == 1


def test_flow_and_fio2_stand_without_a_device(tmp_path: Path) -> None:
    folder = stay(tmp_path)
    parquet(
        folder,
        "clif_respiratory_support",
        hospitalization_id=["h1"] * 4,
        recorded_dttm=[at(h) for h in (1, 2, 3, 4)],
        device_name=["Non-rebreather", None, "Face tent", None],
        device_category=["Face Mask", None, "Face Mask", None],
        fio2_set=[None, 0.4, 0.5, None],
        lpm_set=[15.0, None, 8.0, None],
    )
    rows, tally = raw("clif", folder)
    assert [row["text"] for row in of(rows, "oxygen-device")] == ["Non-rebreather", "Face tent"]
    assert [said(row, "value", "unit") for row in of(rows, "fio2")] == [(0.4, "1"), (0.5, "1")]
    assert [said(row, "value", "unit") for row in of(rows, "oxygen-flow")] == [
        (15.0, "L/min"),
        (8.0, "L/min"),
    ]
    assert tally.unused[("clif_respiratory_support", "(no device, flow or FiO2)")] == 1


def test_a_32_bit_rate_is_the_decimal_that_was_written(tmp_path: Path) -> None:
    """Widened as it is, 0.1 would be above 0.1, and a high dose."""
    folder = stay(tmp_path)
    parquet(
        folder,
        "clif_medication_admin_continuous",
        hospitalization_id=["h1"] * 3,
        admin_dttm=[at(1), at(2), at(3)],
        med_category=["norepinephrine"] * 3,
        mar_action_category=["start"] * 3,
        med_dose=pa.array([0.1, 0.07, 0.0], pa.float32()),
        med_dose_unit=["mcg/kg/min"] * 3,
    )
    assert [row["value"] for row in of(raw("clif", folder)[0], "norepinephrine")] == [0.1, 0.07, 0.0]


def test_a_death_is_known_and_its_cause_is_not(tmp_path: Path) -> None:
    rows, _ = raw("clif", stay(tmp_path, discharge="Expired"))
    assert [said(row, "time", "text") for row in of(rows, "death")] == [("2030-03-01 22:00", "unknown")]
    assert [said(row, "time", "value", "unit") for row in of(rows, "age")] == [
        ("2030-03-01 00:00", 60.0, "a"),
        ("2030-03-01 01:00", 60.0, "a"),
    ]


def test_a_rate_stands_to_the_next_row_of_its_bag_also_two_days_later(tmp_path: Path) -> None:
    """A row without an end counts for a day; the stop of the same bag shows that the drug ran on."""
    folder = stay(tmp_path)
    day = [datetime(2030, 3, 1, 2, tzinfo=UTC), datetime(2030, 3, 3, 4, tzinfo=UTC)]
    parquet(
        folder,
        "clif_medication_admin_continuous",
        hospitalization_id=["h1"] * 4,
        med_order_id=["a", "a", "b", "b"],
        admin_dttm=[*day, day[1], day[1]],
        med_category=["norepinephrine"] * 4,
        mar_action_category=["start", "stop", "start", "dose_change"],
        med_dose=[0.1, 0.1, 0.2, 0.3],
        med_dose_unit=["mcg/kg/min"] * 4,
    )
    rows = of(raw("clif", folder)[0], "norepinephrine")
    assert [said(row, "time", "value", "end") for row in rows] == [
        ("2030-03-01 02:00", 0.1, "2030-03-03 04:00"),
        ("2030-03-03 04:00", 0.0, "None"),
        ("2030-03-03 04:00", 0.2, "None"),
        ("2030-03-03 04:00", 0.3, "None"),
    ]


@pytest.mark.parametrize(
    ("discharged", "died", "expected"),
    [
        (at(0), at(23, 50), "2030-03-01 23:50"),
        (at(22), None, "2030-03-01 22:00"),
        (at(22), at(0), "2030-03-01 22:00"),
        (at(21), at(23), "2030-03-01 23:00"),
        (at(0), at(0), "2030-03-02 00:00"),
    ],
    ids=["the stay ends on a date", "no time of death", "died on a date", "two hours", "both on a date"],
)
def test_of_two_times_of_death_the_one_that_knows_the_hour_counts(
    tmp_path: Path, discharged: datetime, died: datetime | None, expected: str
) -> None:
    """Four patients of the demo have a stay that ends at midnight and charting for 21 to 23 h after it."""
    parquet(
        tmp_path,
        "clif_hospitalization",
        patient_id=["p1"],
        hospitalization_id=["h1"],
        admission_dttm=[datetime(2030, 2, 1, tzinfo=UTC)],
        discharge_dttm=[discharged],
        age_at_admission=[60],
        discharge_category=["Expired"],
    )
    parquet(
        tmp_path,
        "clif_patient",
        patient_id=["p1"],
        death_dttm=pa.array([died], pa.timestamp("us", "UTC")),
    )
    rows, _ = raw("clif", tmp_path)
    assert [said(row, "time", "text") for row in of(rows, "death")] == [(expected, "unknown")]


def test_a_naive_time_is_wall_clock_time_and_the_summary_says_so(tmp_path: Path) -> None:
    folder = stay(tmp_path)
    parquet(
        folder,
        "clif_vitals",
        hospitalization_id=["h1"],
        recorded_dttm=[datetime(2030, 7, 1, 12)],
        vital_category=["spo2"],
        vital_value=[91.0],
    )
    rows, tally = raw("clif", folder, timezone="America/New_York")
    assert said(of(rows, "spo2")[0], "time") == ("2030-07-01 16:00",)
    assert any("America/New_York" in note for note in tally.notes)


def test_a_csv_folder_reads_the_same(tmp_path: Path) -> None:
    (tmp_path / "clif_hospitalization.csv").write_text(
        "patient_id,hospitalization_id,admission_dttm,discharge_dttm,age_at_admission,discharge_category\n"
        "007,h1,2030-03-01T00:00:00Z,2030-03-02T00:00:00Z,60,Home\n"
    )
    (tmp_path / "clif_vitals.csv").write_text(
        "hospitalization_id,recorded_dttm,vital_category,vital_value\nh1,2030-03-01T02:00:00+01:00,temp_c,38.5\n"
    )
    (row,) = of(raw("clif", tmp_path)[0], "temperature")
    assert said(row, "patient_id", "time", "value", "source") == (
        "007",
        "2030-03-01 01:00",
        38.5,
        "clif_vitals.csv",
    )


def test_the_site_may_name_a_category_itself(tmp_path: Path) -> None:
    folder = stay(tmp_path)
    parquet(
        folder,
        "clif_patient_assessments",
        hospitalization_id=["h1", "h1"],
        recorded_dttm=[at(3), at(4)],
        assessment_category=["ice_total", "RASS"],
        numerical_value=[7.0, -2.0],
    )
    codes = tmp_path / "our.toml"
    codes.write_text(
        '[codes]\n"clif_patient_assessments|ice_total" = { measure = "ice-score", unit = "{score}" }\n'
    )
    rows, tally = raw("clif", folder, codes=codes)
    assert [row["value"] for row in of(rows, "ice-score")] == [7.0]
    assert tally.unused[("clif_patient_assessments", "RASS")] == 1
    codes.write_text('[codes]\n"clif_patient_assessments|ice_total" = "ice-scor"\n')
    with pytest.raises(DefinitionError, match="did you mean `ice-score`"):
        raw("clif", folder, codes=codes)
    codes.write_text('[codes]\nice_total = "ice-score"\n')
    with pytest.raises(DefinitionError, match="has no system"):
        raw("clif", folder, codes=codes)


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = stay(tmp_path)
    (folder / "clif_labs.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(TocsinError, match=r"clif_labs\.parquet.*cannot be read"):
        raw("clif", folder)


def test_the_demo_is_read_whole(clif_demo: Path) -> None:
    """Counts of data/README: what goes in comes out as facts or in the tally."""
    rows, tally = raw("clif", clif_demo)
    counts = Counter(row["measure"] for row in rows)
    assert len({row["patient_id"] for row in rows}) == 100
    vitals = (
        "mean-bp",
        "systolic-bp",
        "diastolic-bp",
        "heart-rate",
        "respiratory-rate",
        "spo2",
        "temperature",
        "weight",
    )
    assert sum(counts[name] for name in vitals) + counts["height"] == 94_261
    support = pq.read_table(clif_demo / "clif_respiratory_support.parquet").to_pylist()
    assert counts["oxygen-device"] == sum(row["device_category"] is not None for row in support) == 3325 - 783
    assert counts["fio2"] == sum(row["fio2_set"] is not None for row in support)
    results = pq.read_table(clif_demo / "clif_labs.parquet").to_pylist()
    below = [
        row for row in results if (row["lab_value"] or "").startswith("<") and row["lab_category"] in LABS
    ]
    assert sum(row["text"] == "<" for row in rows) == len(below) == 17
    unread = sum(count for (table, _), count in tally.unused.items() if table == "clif_labs")
    ours = sum(row["source"].startswith("clif_labs.") for row in rows)
    assert ours + unread == len(results) == 51_433
    assert counts["norepinephrine"] == 1155 - 2  # two late stops of an old bag
    assert tally.unused[("clif_position", "(whole table)")] == 5094


def test_fever_in_the_demo_is_what_the_data_note_says(clif_demo: Path) -> None:
    """304 readings of 38 C or more in 34 stays, implausible ones aside."""
    rows, _ = raw("clif", clif_demo, only=["temperature"])
    assert sum(38 <= row["value"] <= 43 for row in of(rows, "temperature")) == 304
