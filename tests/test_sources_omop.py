"""The OMOP door: a folder or a DuckDB file, whatever the capitals, with and without the vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from doors import of, raw, said
from tocsin.definitions.schema import TocsinError
from tocsin.sources import omop

#: Concepts of the shelves.
TEMPERATURE, CREATININE, NOREPINEPHRINE, CANNULA, DIALYSIS = 3020891, 3016723, 1321341, 4224038, 4120120

Cdm = dict[str, list[dict[str, Any]]]
Write = Callable[[Path, Cdm], Path]


def person(**more: Any) -> dict[str, Any]:
    return {
        "person_id": 1,
        "gender_concept_id": 8532,
        "year_of_birth": 2020,
        "month_of_birth": 7,
        "day_of_birth": 1,
        "birth_datetime": None,
    } | more


def measured(concept: int, value: float | None, unit: str | None, **more: Any) -> dict[str, Any]:
    return {
        "measurement_id": 10,
        "person_id": 1,
        "measurement_concept_id": concept,
        "measurement_date": "2030-07-01",
        "measurement_datetime": "2030-07-01 12:00:00",
        "operator_concept_id": 0,
        "value_as_number": value,
        "value_as_concept_id": 0,
        "unit_concept_id": 0,
        "unit_source_value": unit,
        "range_low": None,
        "range_high": None,
        "value_source_value": None,
        "measurement_source_value": "x",
        "measurement_source_concept_id": 0,
    } | more


def drug(concept: int, start: str, end: str | None, **more: Any) -> dict[str, Any]:
    return {
        "drug_exposure_id": 20,
        "person_id": 1,
        "drug_concept_id": concept,
        "drug_exposure_start_datetime": start,
        "drug_exposure_end_datetime": end,
        "drug_type_concept_id": 32818,
        "quantity": None,
        "sig": None,
        "dose_unit_source_value": None,
        "drug_source_value": "y",
        "drug_source_concept_id": 0,
    } | more


def table(con: duckdb.DuckDBPyConnection, name: str, rows: list[dict[str, Any]]) -> None:
    def kind(column: str) -> str:
        if column.endswith(("_concept_id", "person_id", "_of_birth")) or column == "concept_id":
            return "bigint"
        if column.endswith("_datetime"):
            return "timestamp"
        numbers = ("value_as_number", "range_low", "range_high", "quantity", "min_levels_of_separation")
        return "double" if column in numbers else "date" if column.endswith("_date") else "varchar"

    con.execute(f"create table {name} ({', '.join(f'{column} {kind(column)}' for column in rows[0])})")
    marks = ", ".join("?" for _ in rows[0])
    con.executemany(f"insert into {name} values ({marks})", [list(row.values()) for row in rows])


def as_parquet(folder: Path, cdm: Cdm) -> Path:
    return exported(folder, cdm, "PARQUET", str.lower)


def as_csv(folder: Path, cdm: Cdm) -> Path:
    return exported(folder, cdm, "CSV", str.upper)


def exported(folder: Path, cdm: Cdm, form: str, case: Callable[[str], str]) -> Path:
    con = duckdb.connect()
    for name, rows in cdm.items():
        table(con, name, rows)
        columns = ", ".join(f'{column} as "{case(column)}"' for column in rows[0])
        con.execute(
            f"copy (select {columns} from {name}) to '{folder / f'{case(name)}.{form.lower()}'}' (format "
            f"{form})"
        )
    return folder


def as_duckdb(folder: Path, cdm: Cdm) -> Path:
    path = folder / "cdm.duckdb"
    con = duckdb.connect(str(path))
    con.execute("create schema cdm54")
    con.execute("set schema = 'cdm54'")
    for name, rows in cdm.items():
        table(con, name, rows)
    con.close()
    return path


FORMS = pytest.mark.parametrize("write", [as_parquet, as_csv, as_duckdb])


@FORMS
def test_every_form_of_a_cdm_reads_the_same(tmp_path: Path, write: Write) -> None:
    cdm: Cdm = {
        "person": [person()],
        "measurement": [
            measured(TEMPERATURE, 38.5, "C"),
            measured(
                CREATININE,
                0.2,
                "mg/dL",
                measurement_id=11,
                operator_concept_id=4171756,
                range_low=0.5,
                range_high=1.2,
            ),
            measured(999, 1.0, None, measurement_id=12),
        ],
        "drug_exposure": [
            drug(NOREPINEPHRINE, "2030-07-01 12:00:00", "2030-07-01 14:00:00", sig="0.1 mcg/kg/min")
        ],
        "device_exposure": [
            {
                "device_exposure_id": 30,
                "person_id": 1,
                "device_concept_id": CANNULA,
                "device_source_value": "NC",
                "device_exposure_start_datetime": "2030-07-01 12:00:00",
                "device_exposure_end_datetime": None,
            }
        ],
        "procedure_occurrence": [
            {
                "procedure_occurrence_id": 40,
                "person_id": 1,
                "procedure_concept_id": DIALYSIS,
                "procedure_datetime": "2030-07-01 12:00:00",
                "procedure_end_datetime": "2030-07-01 16:00:00",
            }
        ],
        "death": [{"person_id": 1, "death_date": "2030-07-02", "death_datetime": "2030-07-02 03:00:00"}],
    }
    rows, tally = raw("omop", write(tmp_path, cdm), timezone="America/New_York")
    assert {row["patient_id"] for row in rows} == {"1"}
    assert [said(row, "value", "unit", "time", "source") for row in of(rows, "temperature")] == [
        (38.5, "C", "2030-07-01 16:00", "measurement/10")
    ]
    assert [said(row, "value", "text", "ref_low", "ref_high") for row in of(rows, "creatinine")] == [
        (0.2, "<", 0.5, 1.2)
    ]
    assert [said(row, "value", "unit", "text", "end") for row in of(rows, "norepinephrine")] == [
        (0.1, "mcg/kg/min", None, "2030-07-01 18:00")
    ]
    assert [row["text"] for row in of(rows, "oxygen-device")] == ["nasal-cannula"]
    assert [said(row, "end") for row in of(rows, "dialysis")] == [("2030-07-01 20:00",)]
    assert [said(row, "time", "text") for row in of(rows, "death")] == [("2030-07-02 07:00", "unknown")]
    assert [row["text"] for row in of(rows, "sex")] == ["female"]
    assert [row["value"] for row in of(rows, "age")] == [10.0]
    assert tally.unused == Counter({("measurement", "999"): 1})
    assert tally.notes == ["OMOP times carry no zone and were read as America/New_York"]


def test_a_date_alone_is_no_time_of_a_reading(tmp_path: Path) -> None:
    cdm: Cdm = {
        "person": [person()],
        "measurement": [measured(TEMPERATURE, 38.5, "C", measurement_datetime=None)],
    }
    rows, tally = raw("omop", as_parquet(tmp_path, cdm))
    assert not rows
    why = "no time of day: measurement_datetime is empty"
    assert tally.unused == Counter({("measurement", f"temperature ({why})"): 1})


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"quantity": 4.0, "dose_unit_source_value": "mcg/min"}, (4.0, "mcg/min", None)),
        ({"quantity": 4.0, "dose_unit_source_value": "mg"}, (None, None, "running")),
        ({}, (None, None, "running")),
        ({"sig": "titrate to MAP 65"}, (None, None, "running")),
        (
            {
                "drug_exposure_end_datetime": "2030-07-01 12:00:00",
                "quantity": 100.0,
                "dose_unit_source_value": "mcg",
            },
            (100.0, "mcg", "push"),
        ),
    ],
)
def test_a_pressor_runs_even_where_its_dose_is_not_said(
    tmp_path: Path, more: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    exposure = drug(NOREPINEPHRINE, "2030-07-01 12:00:00", "2030-07-01 14:00:00", **more)
    rows, _ = raw("omop", as_parquet(tmp_path, {"person": [person()], "drug_exposure": [exposure]}))
    assert [said(row, "value", "unit", "text") for row in of(rows, "norepinephrine")] == [expected]


def test_what_was_prescribed_was_not_given(tmp_path: Path) -> None:
    exposure = drug(NOREPINEPHRINE, "2030-07-01 12:00:00", None, drug_type_concept_id=38000177)
    rows, tally = raw("omop", as_parquet(tmp_path, {"person": [person()], "drug_exposure": [exposure]}))
    assert not of(rows, "norepinephrine")
    assert list(tally.unused) == [
        ("drug_exposure", "norepinephrine (written, dispensed or reported, not given)")
    ]


def test_the_vocabulary_finds_ingredients_codes_and_units(tmp_path: Path) -> None:
    """A product by its ingredient, a local concept by its LOINC code, a unit by its UCUM code."""
    cdm: Cdm = {
        "person": [person()],
        "measurement": [measured(5001, 38.5, None, unit_concept_id=6001)],
        "drug_exposure": [drug(5002, "2030-07-01 12:00:00", None)],
        "concept": [
            {"concept_id": 5001, "vocabulary_id": "LOINC", "concept_code": "8310-5", "concept_name": "Temp"},
            {
                "concept_id": 6001,
                "vocabulary_id": "UCUM",
                "concept_code": "Cel",
                "concept_name": "degree Celsius",
            },
        ],
        "concept_ancestor": [
            {
                "ancestor_concept_id": NOREPINEPHRINE,
                "descendant_concept_id": 5002,
                "min_levels_of_separation": 3,
            }
        ],
    }
    rows, tally = raw("omop", as_parquet(tmp_path, cdm))
    assert [said(row, "value", "unit") for row in of(rows, "temperature")] == [(38.5, "Cel")]
    assert len(of(rows, "norepinephrine")) == 1
    assert not tally.unused


def test_the_sites_own_words_come_by_code_file(tmp_path: Path) -> None:
    codes = tmp_path / "our.toml"
    codes.write_text('[codes]\n"OMOP measurement|TEMP-F" = { measure = "temperature", unit = "[degF]" }\n')
    folder = tmp_path / "cdm"
    folder.mkdir()
    cdm: Cdm = {
        "person": [person()],
        "measurement": [
            measured(0, 101.0, None, measurement_source_value="TEMP-F"),
            measured(0, 5.0, None, measurement_source_value="ZZ"),
        ],
    }
    rows, tally = raw("omop", as_csv(folder, cdm), codes=codes)
    assert [said(row, "value", "unit") for row in of(rows, "temperature")] == [(101.0, "[degF]")]
    assert tally.unused == Counter({("measurement", "ZZ"): 1})


def test_an_answer_may_be_a_concept(tmp_path: Path) -> None:
    """Oxygen device, nasal cannula: the question by the site's file, the answer by the shelves."""
    codes = tmp_path / "our.toml"
    codes.write_text('[codes]\n"OMOP|7001" = "oxygen-device"\n')
    folder = tmp_path / "cdm"
    folder.mkdir()
    observation = {
        "observation_id": 50,
        "person_id": 1,
        "observation_concept_id": 7001,
        "value_as_concept_id": CANNULA,
        "observation_datetime": "2030-07-01 12:00:00",
        "value_as_string": None,
        "observation_source_value": "d",
    }
    rows, _ = raw(
        "omop", as_parquet(folder, {"person": [person()], "observation": [observation]}), codes=codes
    )
    assert [row["text"] for row in of(rows, "oxygen-device")] == ["nasal-cannula"]


def test_a_cdm_without_person_and_a_broken_file_say_so(tmp_path: Path) -> None:
    broken = tmp_path / "cdm.duckdb"
    broken.write_bytes(b"12345678DUCK and then nothing")
    assert omop.recognises(broken)
    with pytest.raises(TocsinError, match="cannot be opened"):
        raw("omop", broken)
    whole = tmp_path / "whole"
    whole.mkdir()
    with pytest.raises(TocsinError, match="no table `person`"):
        raw("omop", as_duckdb(whole, {"measurement": [measured(TEMPERATURE, 38.5, "C")]}))
