"""The FHIR door: resources become facts with their ids; what is broken costs itself and nothing else."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from doors import of, raw, said
from tocsin.definitions.schema import TocsinError
from tocsin.sources import fhir, lines
from tocsin.sources.tally import Tally

Json = dict[str, Any]
WHO = {"reference": "Patient/p1"}
NOON = "2030-07-01T12:00:00-04:00"


def concept(code: str, system: str = "http://loinc.org") -> Json:
    return {"coding": [{"system": system, "code": code}]}


def quantity(value: float, unit: str, **more: Any) -> Json:
    return {"value": value, "unit": unit, "code": unit, "system": "http://unitsofmeasure.org", **more}


def observation(code: str, id: str = "o1", **more: Any) -> Json:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "subject": WHO,
        "code": concept(code),
        "effectiveDateTime": NOON,
        **more,
    }


def ndjson(path: Path, *resources: Json | bytes) -> Path:
    path.write_bytes(
        b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in resources)
    )
    return path


def test_an_observation_keeps_its_id_zone_comparator_and_limits(tmp_path: Path) -> None:
    path = ndjson(
        tmp_path / "o.ndjson",
        observation(
            "2160-0",
            valueQuantity=quantity(0.2, "mg/dL", comparator="<="),
            issued="2030-07-01T14:00:00-04:00",
            referenceRange=[{"low": quantity(0.5, "mg/dL"), "high": quantity(1.2, "mg/dL")}],
        ),
    )
    rows, _ = raw("fhir", path)
    assert said(
        rows[0], "patient_id", "measure", "value", "text", "unit", "ref_low", "ref_high", "source"
    ) == (
        "p1",
        "creatinine",
        0.2,
        "<",
        "mg/dL",
        0.5,
        1.2,
        "Observation/o1",
    )
    assert said(rows[0], "time", "recorded") == ("2030-07-01 16:00", "2030-07-01 18:00")


def test_components_are_facts_of_their_own_and_the_panel_is_none(tmp_path: Path) -> None:
    path = ndjson(
        tmp_path / "o.ndjson",
        observation(
            "85354-9",
            component=[
                {"code": concept("8480-6"), "valueQuantity": quantity(88, "mm[Hg]")},
                {"code": concept("8462-4"), "valueQuantity": quantity(50, "mm[Hg]")},
                {"code": concept("0000-0"), "valueQuantity": quantity(1, "1")},
            ],
        ),
    )
    rows, tally = raw("fhir", path)
    assert [said(row, "measure", "value") for row in rows] == [("systolic-bp", 88.0), ("diastolic-bp", 50.0)]
    assert tally.unused == Counter({("LOINC", "0000-0"): 1})


@pytest.mark.parametrize(("reason", "kept"), [("unknown", 0), ("not-performed", 0), ("error", 1)])
def test_a_value_not_taken_is_nothing_and_one_that_failed_is_unknown(
    tmp_path: Path, reason: str, kept: int
) -> None:
    path = ndjson(tmp_path / "o.ndjson", observation("8310-5", dataAbsentReason=concept(reason, "")))
    rows, tally = raw("fhir", path)
    assert len(rows) == kept
    assert sum(tally.unused.values()) == 1 - kept


def test_entered_in_error_withdraws_what_was_said_before(tmp_path: Path) -> None:
    path = ndjson(
        tmp_path / "o.ndjson",
        observation("8310-5", status="entered-in-error", valueQuantity=quantity(40, "Cel")),
        observation("8310-5", id="o2", status="cancelled", valueQuantity=quantity(41, "Cel")),
    )
    rows, tally = raw("fhir", path)
    assert [said(row, "measure", "value", "text", "replaces") for row in rows] == [
        ("temperature", None, "retracted", "Observation/o1")
    ]
    assert tally.unused[("FHIR Observation", "(status cancelled)")] == 1


def administration(**more: Any) -> Json:
    return {
        "resourceType": "MedicationAdministration",
        "id": "m1",
        "status": "completed",
        "subject": WHO,
        "medicationCodeableConcept": concept("7512", "http://www.nlm.nih.gov/research/umls/rxnorm"),
        **more,
    }


PERIOD = {"start": "2030-07-01T12:00:00Z", "end": "2030-07-01T14:00:00Z"}


@pytest.mark.parametrize(
    ("dosage", "when", "expected"),
    [
        ({"rateQuantity": quantity(0.1, "ug/kg/min")}, {"effectivePeriod": PERIOD}, (0.1, "ug/kg/min", None)),
        (
            {"rateRatio": {"numerator": quantity(5, "mg"), "denominator": quantity(2, "h")}},
            {"effectivePeriod": PERIOD},
            (2.5, "mg/h", None),
        ),
        ({"dose": quantity(4, "mg")}, {"effectivePeriod": PERIOD}, (None, None, "running")),
        ({"dose": quantity(10, "ug")}, {"effectiveDateTime": NOON}, (10.0, "ug", "push")),
        ({"rateQuantity": quantity(0, "ug/kg/min")}, {"effectiveDateTime": NOON}, (0.0, "ug/kg/min", None)),
    ],
)
def test_a_rate_runs_and_a_dose_at_once_is_a_push(
    tmp_path: Path, dosage: Json, when: Json, expected: tuple[Any, ...]
) -> None:
    rows, _ = raw("fhir", ndjson(tmp_path / "m.ndjson", administration(dosage=dosage, **when)))
    assert [said(row, "value", "unit", "text") for row in rows] == [expected]
    assert (rows[0]["end"] is not None) == ("effectivePeriod" in when)


def test_what_was_not_done_was_not_given(tmp_path: Path) -> None:
    rows, tally = raw(
        "fhir",
        ndjson(
            tmp_path / "m.ndjson",
            administration(status="not-done", effectiveDateTime=NOON),
            administration(effectiveDateTime=NOON),
        ),
    )
    assert len(rows) == 1
    assert tally.unused == Counter({("FHIR MedicationAdministration", "(status not-done)"): 1})


def test_a_date_of_death_is_the_end_of_that_day(tmp_path: Path) -> None:
    """Read as midnight it would end the record up to a day before the patient died."""
    path = ndjson(
        tmp_path / "patients.ndjson",
        {"resourceType": "Patient", "id": "p1", "deceasedDateTime": "2030-07-01"},
        {"resourceType": "Patient", "id": "p2", "deceasedDateTime": "2030-07-01T00:00:00-04:00"},
    )
    rows, tally = raw("fhir", path, timezone="America/New_York")
    assert [said(row, "time") for row in of(rows, "death")] == [("2030-07-02 04:00",), ("2030-07-01 04:00",)]
    assert tally.notes == [
        "1 deaths have a date and no hour: taken as the end of that day in America/New_York"
    ]


def test_a_bundle_resolves_its_own_names(tmp_path: Path) -> None:
    drug = {
        "resourceType": "Medication",
        "id": "d1",
        "code": concept("7512", "http://www.nlm.nih.gov/research/umls/rxnorm"),
    }
    given = administration(effectivePeriod=PERIOD, dosage={"rateQuantity": quantity(0.1, "ug/kg/min")})
    del given["medicationCodeableConcept"]
    given |= {"medicationReference": {"reference": "urn:uuid:2"}, "subject": {"reference": "urn:uuid:1"}}
    patient = {"resourceType": "Patient", "id": "p1", "birthDate": "2020-07-01", "gender": "male"}
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": "urn:uuid:3", "resource": given},
            {"fullUrl": "urn:uuid:1", "resource": patient},
            {"fullUrl": "urn:uuid:2", "resource": drug},
        ],
    }
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(bundle, indent=2))
    rows, _ = raw("fhir", path)
    assert [said(row, "patient_id", "measure", "value") for row in rows if row["measure"] != "sex"] in (
        [("p1", "norepinephrine", 0.1), ("p1", "age", 10.0)],
        [("p1", "age", 10.0), ("p1", "norepinephrine", 0.1)],
    )
    assert [said(row, "text", "time") for row in of(rows, "sex")] == [("male", "2030-07-01 12:00")]


def test_devices_procedures_conditions_and_death(tmp_path: Path) -> None:
    snomed = "http://snomed.info/sct"
    path = ndjson(
        tmp_path / "all.ndjson",
        {"resourceType": "Device", "id": "v1", "type": concept("336623009", snomed)},
        {
            "resourceType": "DeviceUseStatement",
            "id": "u1",
            "status": "active",
            "subject": WHO,
            "device": {"reference": "Device/v1"},
            "timingPeriod": PERIOD,
        },
        {
            "resourceType": "Procedure",
            "id": "r1",
            "status": "completed",
            "subject": WHO,
            "code": concept("302497006", snomed),
            "performedPeriod": PERIOD,
        },
        {
            "resourceType": "Condition",
            "id": "c1",
            "subject": WHO,
            "onsetDateTime": "2030-06-01",
            "code": concept("U07.1", "http://hl7.org/fhir/sid/icd-10-cm"),
            "recordedDate": "2030-06-02",
        },
        {
            "resourceType": "Condition",
            "id": "c2",
            "subject": WHO,
            "onsetDateTime": "2030-06-01",
            "code": concept("U07.1", "http://hl7.org/fhir/sid/icd-10-cm"),
            "verificationStatus": concept("refuted", ""),
        },
        {"resourceType": "Patient", "id": "p1", "deceasedDateTime": NOON},
        {"resourceType": "Encounter", "id": "e1"},
    )
    rows, tally = raw("fhir", path)
    assert [said(row, "text", "time", "end", "source") for row in of(rows, "oxygen-device")] == [
        ("nasal-cannula", "2030-07-01 12:00", "2030-07-01 14:00", "DeviceUseStatement/u1")
    ]
    assert [said(row, "end") for row in of(rows, "dialysis")] == [("2030-07-01 14:00",)]
    assert [said(row, "time", "source") for row in of(rows, "covid-19")] == [
        ("2030-06-01 00:00", "Condition/c1")
    ]
    assert [row["text"] for row in of(rows, "death")] == ["unknown"]
    assert tally.unused == Counter({("FHIR Condition", "covid-19 (refuted)"): 1, ("FHIR", "Encounter"): 1})


def test_a_date_without_an_hour_is_no_time_of_a_reading(tmp_path: Path) -> None:
    """At midnight it would stand at the wrong end of a fever; without a time it is refused by name."""
    path = ndjson(
        tmp_path / "o.ndjson",
        observation("8310-5", effectiveDateTime="2030-07-01", valueQuantity=quantity(39, "Cel")),
    )
    assert raw("fhir", path)[0][0]["time"] is None


def test_a_line_that_is_not_json_is_one_reject(tmp_path: Path) -> None:
    good = observation("8310-5", valueQuantity=quantity(39, "Cel"))
    path = ndjson(
        tmp_path / "o.ndjson",
        good,
        b"{not json",
        good,
        b"[1, 2]",
        {"resourceType": "Observation", "id": "x", "status": "final", "code": concept("8310-5")},
        observation("8310-5", component="wrong"),
    )
    rows, tally = raw("fhir", path)
    assert len(rows) == 2
    assert [(reject["row"], str(reject["what"]).split(":")[0]) for reject in tally.rejects] == [
        (2, "is not JSON"),
        (4, "is not a FHIR resource"),
        (5, "is a Observation without a subject"),
        (6, "is a Observation that does not have FHIR's form ('str' object has no attribute 'get')"),
    ]
    assert all(reject["why"] and reject["fix"] for reject in tally.rejects)


def test_a_truncated_gzip_keeps_what_was_read_and_says_so(tmp_path: Path) -> None:
    body = b"".join(
        json.dumps(observation("8310-5", id=f"o{n}", valueQuantity=quantity(38 + n % 3, "Cel"))).encode()
        + b"\n"
        for n in range(5000)
    )
    path = tmp_path / "o.ndjson.gz"
    path.write_bytes(gzip.compress(body)[:-2000])
    rows, tally = raw("fhir", path)
    assert 0 < len(rows) < 5000
    assert len(tally.notes) == 1
    assert "o.ndjson.gz is cut off" in tally.notes[0]
    assert [reject["what"] for reject in tally.rejects] == ["is cut off: the gzip stream does not end"]


def test_a_line_too_long_is_one_reject_and_never_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK", 1 << 10)
    path = tmp_path / "o.ndjson"
    path.write_bytes(b"short\n" + b"x" * 20_000 + b"\nlast\n\n" + b"y" * 9_000)
    tally = Tally()
    assert list(lines.lines(path, tally, longest=4_000)) == [(1, b"short"), (3, b"last")]
    assert [reject["row"] for reject in tally.rejects] == [2, 5]


@pytest.mark.slow
def test_a_2_gb_line_does_not_exhaust_memory(tmp_path: Path) -> None:
    """Zeros pack well: two thousand megabytes of one line, of which no more than one block is ever kept."""
    import tracemalloc

    path = tmp_path / "o.ndjson.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(json.dumps(observation("8310-5", valueQuantity=quantity(39, "Cel"))).encode() + b"\n")
        for _ in range(2048):
            file.write(b" " * (1 << 20))
        file.write(
            b"\n" + json.dumps(observation("8310-5", id="o2", valueQuantity=quantity(39, "Cel"))).encode()
        )
    tracemalloc.start()
    rows, tally = raw("fhir", path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [row["source"] for row in rows] == ["Observation/o1", "Observation/o2"]
    assert [reject["row"] for reject in tally.rejects] == [2]
    assert peak < 200 << 20


def test_a_folder_without_json_says_what_to_give(tmp_path: Path) -> None:
    assert not fhir.recognises(tmp_path)
    with pytest.raises(TocsinError, match="no JSON file"):
        next(fhir.raw_batches(tmp_path, lib=None, tally=Tally()))  # type: ignore[arg-type]


def test_the_demo_is_read_whole(shared: Path) -> None:
    rows, tally = raw("fhir", shared / "data" / "mimic-iv-demo-fhir")
    counts = Counter(row["measure"] for row in rows)
    assert counts["norepinephrine"] == 947
    assert counts["fluid-bolus"] == 190 + 123
    assert counts["sex"] == 100
    assert not tally.rejects
    assert tally.unused[("item", "222168")] == 794  # propofol
