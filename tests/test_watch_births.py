"""A birth date in somebody's details is an age to the scales: a child is judged by a child's limits."""

from __future__ import annotations

import json
from datetime import date, timedelta

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.facts.instants import moment, written
from tocsin.grading.batch import grade_table
from tocsin.sources.ordering import age as age_in_files
from tocsin.sources.read import open_source
from tocsin.watch.births import DETAILS, age
from watched import DEVICE, HOUR, LIB, NOON, NURSE, HandClock, fact, fever, running

YEAR = 365 * 24
ILL = [fever("p1", -2), fact("p1", -1, "systolic-bp", 84, "mm[Hg]"), fact("p1", -1, "spo2", 97, "%")]


def answer(service):
    each = service.standing("p1")["astct-2019"]
    return each.grade, each.up_to, each.because


def test_a_pressure_that_is_low_for_a_grown_up_is_not_for_a_child(store_url):
    """The same facts; the birth date may come before them or after, and may be corrected."""
    with running(store_url) as service:
        service.ingest(ILL, DEVICE)
        unknown = answer(service)
        service.set_patient(NURSE, "p1", birth_date="2023-03-01")
        child = answer(service)
        service.set_patient(NURSE, "p1", birth_date="1970-03-01")
        grown = answer(service)
        assert child != grown
        assert child[0] == 1
        assert grown[2] != ("fever",) or grown[1] > child[1]
        assert unknown[1] >= child[1]
    with running(store_url) as again:
        again.set_patient(NURSE, "p1", birth_date="2023-03-01")
        assert answer(again) == child


def test_a_child_that_was_named_first_is_a_child_from_the_first_fact(tmp_path):
    with running(f"sqlite:///{tmp_path}/w.db") as service:
        service.set_patient(NURSE, "p1", birth_date="2023-03-01", sex="female")
        for row in ILL:
            service.ingest([row], DEVICE)
        facts = service.facts_of("p1").to_pylist()
        ages = [row for row in facts if row["measure"] == "age"]
        assert [(row["value"], row["unit"], row["time"]) for row in ages] == [
            (pytest.approx(3 + 9 / 365.25), "a", min(row["time"] for row in facts))
        ]
        assert [row["text"] for row in facts if row["measure"] == "sex"] == ["female"]
        assert answer(service)[0] == 1


def test_an_age_that_is_charted_stands_instead(tmp_path):
    with running(f"sqlite:///{tmp_path}/w.db") as service:
        service.set_patient(NURSE, "p1", birth_date="2023-03-01")
        service.ingest(ILL, DEVICE)
        child = answer(service)
        service.ingest([fact("p1", -3, "age", 56, "a")], DEVICE)
        assert answer(service) != child
        assert [row["value"] for row in service.facts_of("p1").to_pylist() if row["measure"] == "age"] == [56]


@pytest.mark.parametrize("born", ["2030-01-01", "1850-01-01"])
def test_nobody_is_unborn_or_as_old_as_that(tmp_path, born):
    with running(f"sqlite:///{tmp_path}/w.db") as service:
        service.set_patient(NURSE, "p1", birth_date=born) if born < "2026" else None
        service.ingest(ILL, DEVICE)
        assert [row for row in service.facts_of("p1").to_pylist() if row["source"] == DETAILS] == []


def test_ages_are_those_that_the_fhir_door_reads_from_the_same_record(tmp_path):
    """Three calendar years, the first fact of each late or early: live, restarted and from files alike."""
    temperatures = [(-2 * YEAR, 38.1), (-2 * YEAR + 30, 37.0), (-YEAR, 39.0), (-2, 38.4), (-1, 36.9)]
    url, clock = f"sqlite:///{tmp_path}/w.db", HandClock()
    with running(url, clock) as service:
        service.set_patient(NURSE, "p1", birth_date="2012-02-29", sex="male")
        for hours, value in [temperatures[k] for k in (3, 0, 4, 2, 1)]:
            service.ingest([fever("p1", hours, value)], DEVICE)
        live = service.grades_of("p1", ["astct-2019", "lee-2014"])
        standing = {scale: each.said() for scale, each in service.standing("p1").items()}
        found = [
            (row["time"], row["measure"], row["value"], row["text"])
            for row in service.facts_of("p1").to_pylist()
        ]
    with running(url, clock) as again:
        again.taking_up.take_up(["p1"])
        assert {scale: each.said() for scale, each in again.standing("p1").items()} == standing
    patient = {"resourceType": "Patient", "id": "p1", "gender": "male", "birthDate": "2012-02-29"}
    charted = [
        {
            "resourceType": "Observation", "id": f"o{k}", "status": "final",
            "subject": {"reference": "Patient/p1"},
            "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
            "effectiveDateTime": written(NOON + round(hours * HOUR)),
            "valueQuantity": {"value": value, "code": "Cel", "system": "http://unitsofmeasure.org"},
        }
        for k, (hours, value) in enumerate(temperatures)
    ]  # fmt: skip
    file = tmp_path / "record.ndjson"
    file.write_text("\n".join(json.dumps(each) for each in (patient, *charted)))
    table = open_source(file, lib=LIB).table()
    assert found == [(row["time"], row["measure"], row["value"], row["text"]) for row in table.to_pylist()]
    filed = grade_table(table, ["astct-2019", "lee-2014"], lib=LIB, as_of=moment(NOON))
    assert live.to_pylist() == filed.to_pylist()


@settings(max_examples=300, deadline=None)
@given(
    born=st.dates(date(1920, 1, 1), date(2025, 12, 31)) | st.just(date(2016, 2, 29)),
    days=st.integers(0, 36_000),
)
def test_an_age_is_counted_as_in_files(born, days):
    seen = born + timedelta(days=days)
    asked = age_in_files(f"date '{born}'", f"date '{seen}'")
    ((told,),) = duckdb.connect().execute(f"select {asked}").fetchall()
    assert age(born, seen) == pytest.approx(told, abs=1e-12)
    assert age(born, born - timedelta(days=1)) is None
