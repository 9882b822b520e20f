"""The FHIR door: resources in once, corrected by their next version, refused with why; grades out."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doors_watch import House, house
from tocsin.facts.instants import moment, written
from tocsin.grading.batch import grade_table
from tocsin.sources.read import open_source
from tocsin.watch import audit, keeping
from tocsin.watch.fhir_in import Reading, entry
from tocsin.watch.roles import Actor
from tocsin.watch.schema import facts, fhir_resources
from tocsin.watch.service import Settings
from watched import HOUR, LIB, NOON, NURSE, HandClock, running

Json = dict[str, Any]
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


def at(hours: float) -> str:
    """A moment, `hours` after noon, as FHIR writes it."""
    return written(NOON + round(hours * HOUR)) or ""


def observation(code: str, value: float, unit: str, hours: float = -1, who: str = "p9", **more: Any) -> Json:
    return {
        "resourceType": "Observation",
        "status": "final",
        "subject": {"reference": f"Patient/{who}"},
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "effectiveDateTime": at(hours),
        "valueQuantity": {"value": value, "unit": unit, "code": unit, "system": UCUM},
        **more,
    }


def temperature(value: float = 38.6, hours: float = -1, **more: Any) -> Json:
    return observation("8310-5", value, "Cel", hours, **more)


def put(resource: Json, id: str) -> Json:
    """An entry that gives a resource the sender's id."""
    kind = resource["resourceType"]
    return {"resource": {**resource, "id": id}, "request": {"method": "PUT", "url": f"{kind}/{id}"}}


def bundle(*entries: Json, kind: str = "transaction") -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[House]:
    with house(f"sqlite:///{tmp_path}/w.db") as built:
        yield built


@pytest.fixture
def nurse(ward: House) -> TestClient:
    return ward.as_("nurse")


def standing(ward: House, who: str = "p9") -> int:
    return ward.service.standing(who)["astct-2019"].grade


def counted(ward: House, table: sa.Table = facts) -> int:
    with ward.service.store.reading() as con:
        return int(con.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


# --- in ---------------------------------------------------------------------------------------------------


def test_an_observation_is_graded_when_the_sender_is_answered(ward, nurse):
    told = nurse.post("/fhir/Observation", json=temperature())
    assert told.status_code == 201
    assert told.headers["content-type"] == "application/fhir+json"
    assert told.json()["valueQuantity"]["value"] == 38.6
    assert standing(ward) == 1
    again = nurse.get(told.headers["location"].removeprefix("http://testserver"))
    assert {**again.json(), "meta": 0} == {**told.json(), "meta": 0}


def test_the_same_sent_again_changes_nothing(ward, nurse):
    first = nurse.post("/fhir/Observation", json=temperature())
    before = counted(ward)
    again = nurse.post("/fhir/Observation", json=temperature())
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["location"] == again.headers["location"]
    assert counted(ward) == before


def test_another_content_under_the_same_id_is_a_correction(ward, nurse):
    nurse.put("/fhir/Observation/t1", json=temperature(39.5, id="t1"))
    assert standing(ward) == 1
    told = nurse.put("/fhir/Observation/t1", json=temperature(36.9, id="t1", status="corrected"))
    assert (told.status_code, told.headers["etag"]) == (200, 'W/"2"')
    assert standing(ward) == 0
    assert [row["value"] for row in ward.service.facts_of("p9").to_pylist()] == [36.9]
    assert nurse.get("/fhir/Observation/t1/_history/1").json()["valueQuantity"]["value"] == 39.5
    assert nurse.get("/fhir/Observation/t1").json()["valueQuantity"]["value"] == 36.9
    third = nurse.put("/fhir/Observation/t1", json=temperature(38.2, id="t1", status="corrected"))
    assert third.headers["etag"] == 'W/"3"'
    assert [row["value"] for row in ward.service.facts_of("p9").to_pylist()] == [38.2]


@pytest.mark.parametrize("change", [{"status": "entered-in-error"}, {"code": {"coding": [{"code": "x"}]}}])
def test_what_was_entered_in_error_is_withdrawn(ward, nurse, change):
    nurse.put("/fhir/Observation/t1", json=temperature(39.5, id="t1"))
    told = nurse.put("/fhir/Observation/t1", json=temperature(39.5, id="t1") | change)
    assert told.status_code == 200
    assert ward.service.standing("p9") == {}
    assert ward.service.facts_of("p9").num_rows == 0


def test_what_never_was_cannot_be_withdrawn(ward, nurse):
    told = nurse.put("/fhir/Observation/t1", json=temperature(39.5, id="t1", status="entered-in-error"))
    assert told.status_code in (200, 201)
    assert ward.service.facts_of("p9").num_rows == 0


def test_a_change_that_somebody_else_made_first_is_not_overwritten(ward, nurse):
    nurse.put("/fhir/Observation/t1", json=temperature(39.5, id="t1"))
    stale = nurse.put("/fhir/Observation/t1", json=temperature(37.0, id="t1"), headers={"if-match": 'W/"7"'})
    assert stale.status_code == 412
    good = nurse.put("/fhir/Observation/t1", json=temperature(37.0, id="t1"), headers={"if-match": 'W/"1"'})
    assert good.status_code == 200


def test_all_of_a_transaction_or_nothing(ward, nurse):
    bad = put(observation("8310-5", 38.6, "furlong"), "bad")
    told = nurse.post("/fhir", json=bundle(put(temperature(), "good"), bad))
    assert told.status_code == 422
    assert "entry 2" in told.json()["issue"][0]["diagnostics"]
    assert "p9" not in ward.service.memory.held
    assert nurse.get("/fhir/Observation/good").status_code == 404


def test_each_entry_of_a_batch_for_itself(ward, nurse):
    bad = put(observation("8310-5", 38.6, "furlong"), "bad")
    strange = {"resource": {"resourceType": "Spaceship"}, "request": {"method": "POST", "url": "Spaceship"}}
    unused = put(observation("1-8", 3, "mg"), "unused")
    told = nurse.post(
        "/fhir", json=bundle(bad, put(temperature(), "good"), strange, unused, kind="batch")
    ).json()
    assert told["type"] == "batch-response"
    assert [each["response"]["status"][:3] for each in told["entry"]] == ["422", "201", "422", "201"]
    assert "not used here" in told["entry"][3]["response"]["outcome"]["issue"][0]["diagnostics"]
    assert standing(ward) == 1


def test_names_within_a_bundle_are_those_it_gives(ward, nurse):
    person = {
        "resourceType": "Patient",
        "name": [{"family": "Klein", "given": ["Rosa"]}],
        "gender": "female",
        "birthDate": "1958-07-21",
        "identifier": [{"system": "urn:x", "value": "MRN7"}],
    }
    device = {
        "resourceType": "Device",
        "id": "d",
        "type": {"coding": [{"system": "http://snomed.info/sct", "code": "336623009"}]},
    }
    use = {
        "resourceType": "DeviceUseStatement",
        "id": "u",
        "status": "active",
        "subject": {"reference": "urn:uuid:1"},
        "device": {"reference": "urn:uuid:2"},
        "timingDateTime": at(-1),
    }
    told = nurse.post(
        "/fhir",
        json=bundle(
            {"fullUrl": "urn:uuid:1", "resource": person, "request": {"method": "POST", "url": "Patient"}},
            {"fullUrl": "urn:uuid:2", **put(device, "d")},
            {
                "resource": temperature() | {"subject": {"reference": "urn:uuid:1"}},
                "request": {"method": "POST", "url": "Observation"},
            },
            put(use, "u"),
        ),
    )
    assert told.status_code == 200, told.text
    who = told.json()["entry"][0]["response"]["location"].split("/")[-3]
    read = nurse.get(f"/fhir/Patient/{who}").json()
    assert (read["name"][0]["text"], read["gender"], read["birthDate"]) == (
        "Rosa Klein",
        "female",
        "1958-07-21",
    )
    assert read["identifier"][0]["value"] == "MRN7"
    measures = {row["measure"] for row in ward.service.facts_of(who).to_pylist()}
    assert {"temperature", "oxygen-device", "age", "sex"} <= measures


def test_a_medication_named_in_another_request_is_known(ward, nurse):
    drug = {
        "resourceType": "Medication",
        "id": "m",
        "code": {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "612865"}]},
    }
    given_ = {
        "resourceType": "MedicationAdministration",
        "id": "a",
        "status": "completed",
        "subject": {"reference": "Patient/p9"},
        "medicationReference": {"reference": "Medication/m"},
        "effectiveDateTime": at(-1),
        "dosage": {"dose": {"value": 560, "unit": "mg", "code": "mg", "system": UCUM}},
    }
    assert nurse.put("/fhir/Medication/m", json=drug).status_code == 201
    assert nurse.put("/fhir/MedicationAdministration/a", json=given_).status_code == 201
    assert [row["measure"] for row in ward.service.facts_of("p9").to_pylist()] == ["tocilizumab"]


def test_where_somebody_lies_and_when_they_go_home(ward, nurse):
    stay = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "in-progress",
        "class": {"code": "IMP"},
        "subject": {"reference": "Patient/p9"},
        "period": {"start": at(-5)},
        "location": [
            {"location": {"display": "5 West"}},
            {"location": {"display": "12"}, "physicalType": {"coding": [{"code": "bd"}]}},
        ],
    }
    assert nurse.put("/fhir/Encounter/e", json=stay).status_code == 201
    nurse.post("/fhir/Observation", json=temperature())
    who = ward.service.people.of["p9"]
    assert (who.ward, who.bed, who.discharged) == ("5 West", "12", None)
    early = stay | {"status": "finished", "period": {"start": at(-5), "end": at(-2)}}
    nurse.put("/fhir/Encounter/e", json=early)
    assert ward.service.people.of["p9"].discharged is None, "something was charted after that"
    nurse.put("/fhir/Encounter/e", json=early | {"period": {"start": at(-5), "end": at(-0.1)}})
    assert ward.service.people.of["p9"].discharged is not None


def test_answers_of_a_questionnaire_are_facts(ward, nurse):
    said = {
        "resourceType": "QuestionnaireResponse",
        "id": "q",
        "status": "completed",
        "subject": {"reference": "Patient/p9"},
        "authored": at(-1),
        "item": [
            {
                "linkId": "g",
                "item": [
                    {
                        "linkId": "/8310-5",
                        "answer": [{"valueQuantity": {"value": 101.3, "code": "[degF]", "system": UCUM}}],
                    }
                ],
            }
        ],
    }
    assert nurse.put("/fhir/QuestionnaireResponse/q", json=said).status_code == 201
    assert standing(ward) == 1


@pytest.mark.parametrize("when", ["2026", "2026-01", "yesterday!", "2026-02-31", "9999-12-31", ""])
def test_a_death_of_no_certain_day_is_refused_or_left(ward, nurse, when):
    """A year alone would end the record on its first day."""
    told = nurse.put(
        "/fhir/Patient/p9", json={"resourceType": "Patient", "id": "p9", "deceasedDateTime": when}
    )
    assert told.status_code in (200, 201, 422)
    assert told.status_code == 422 or not when
    facts_ = ward.service.facts_of("p9").to_pylist()
    assert not [row for row in facts_ if row["measure"] == "death" and row["text"] != "unusable"]


def test_a_death_by_its_date_is_the_end_of_that_day(ward, nurse):
    day = at(-30)[:10]
    nurse.put("/fhir/Patient/p9", json={"resourceType": "Patient", "id": "p9", "deceasedDateTime": day})
    (row,) = [row for row in ward.service.facts_of("p9").to_pylist() if row["measure"] == "death"]
    assert row["time"] == datetime.fromisoformat(day).replace(tzinfo=UTC) + (
        datetime(2026, 1, 2) - datetime(2026, 1, 1)
    )


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/fhir+json", 400),
        (b"[1]", "application/fhir+json", 400),
        (b"<Observation/>", "application/fhir+xml", 415),
        (b"[" * 100_000, "application/json", 400),
        (b'{"resourceType":"Bundle","type":"collection"}', "application/json", 400),
        (b'{"resourceType":"Bundle","type":"batch","entry":{"a":1}}', "application/json", 413),
        (
            b'{"resourceType":"Bundle","type":"batch","entry":[' + b"{}," * 1_000_000 + b"{}]}",
            "application/json",
            413,
        ),
        (b'{"resourceType":"Spaceship"}', "application/json", 422),
    ],
)
def test_what_cannot_be_read_is_refused_in_fhirs_words(ward, nurse, body, kind, status):
    """XML, deep nesting, a million entries: a clear word, and the service goes on."""
    told = nurse.post("/fhir", content=body, headers={"content-type": kind})
    assert told.status_code == status, told.text
    assert told.json()["resourceType"] == "OperationOutcome"
    assert told.json()["issue"][0]["diagnostics"]
    assert nurse.post("/fhir/Observation", json=temperature()).status_code == 201


VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["Patient/p9", "final", LOINC, "8310-5", "2026-03-10T11:00:00Z", "Observation"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "coding",
                    "code",
                    "system",
                    "value",
                    "reference",
                    "item",
                    "answer",
                    "linkId",
                    "period",
                    "start",
                    "end",
                    "unit",
                    "url",
                    "method",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [
        "id",
        "status",
        "subject",
        "code",
        "effectiveDateTime",
        "valueQuantity",
        "component",
        "item",
        "device",
        "dosage",
        "medicationCodeableConcept",
        "birthDate",
        "name",
        "location",
        "period",
        "deceasedDateTime",
        "authored",
        "verificationStatus",
        "identifier",
        "contained",
        "gender",
        "communication",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(
        [
            "Observation",
            "Patient",
            "Encounter",
            "MedicationAdministration",
            "Procedure",
            "Condition",
            "DeviceUseStatement",
            "QuestionnaireResponse",
            "Medication",
            "Device",
        ]
    ),
    said=st.dictionaries(KEYS, VALUE, max_size=6),
    in_bundle=st.booleans(),
)
def test_nothing_that_is_sent_breaks_the_door(ward, kind, said, in_bundle):
    resource = {**said, "resourceType": kind}
    good = {"resource": temperature(who="p7"), "request": {"method": "POST", "url": "Observation"}}
    bad = {"resource": resource, "request": {"method": "POST", "url": kind}}
    body = bundle(bad, good, kind="batch") if in_bundle else resource
    told = ward.as_("physician").post("/fhir", json=body)
    assert told.status_code < 500, told.text
    if in_bundle:
        assert told.json()["entry"][1]["response"]["status"][:3] in ("200", "201")


# --- who may ------------------------------------------------------------------------------------------------


def test_what_a_role_may_not_is_refused(ward):
    person = {"resourceType": "Patient", "id": "p9", "gender": "female"}
    assert ward.as_("device").put("/fhir/Patient/p9", json=person).status_code == 403
    assert ward.as_("device").post("/fhir/Observation", json=temperature()).status_code == 201
    assert ward.as_("device").get("/fhir/Observation?patient=p9").status_code == 403
    assert ward.as_("evaluator").post("/fhir/Observation", json=temperature()).status_code == 403
    assert ward.client().get("/fhir/metadata").status_code == 200
    nobody = ward.client().get("/fhir/Patient/p1")
    assert nobody.status_code == 401
    assert nobody.json()["issue"][0]["code"] == "login"


def test_a_token_for_one_patient_knows_no_other(ward):
    bound, nurse = ward.as_("bound"), ward.as_("nurse")
    assert bound.post("/fhir/Observation", json=temperature(who="p2")).status_code == 403
    nurse.put("/fhir/Observation/other", json=temperature(who="p2", id="other"))
    grade = nurse.get("/fhir/Observation?patient=p2").json()["entry"][0]["resource"]["id"]
    for path in ("Patient/p2", "Observation/other", f"Observation/{grade}"):
        assert bound.get(f"/fhir/{path}").status_code == 404, path
    assert bound.get("/fhir/Observation?patient=p2").json()["total"] == 0
    assert {each["resource"]["id"] for each in bound.get("/fhir/Patient").json()["entry"]} == {"p1"}
    assert bound.get("/fhir/Flag").json()["total"] == 1


def test_reading_and_sending_are_in_the_log(ward, nurse):
    nurse.post("/fhir/Observation", json=temperature())
    nurse.get("/fhir/Patient/p9")
    with ward.service.store.reading() as con:
        log = con.execute(sa.select(audit.audit.c.action, audit.audit.c.patient)).all()
        assert audit.verify(con).whole
    ref = ward.ref("p9")
    assert ("facts:add", ref) in log
    assert ("patient:read", ref) in log


def test_an_erased_person_leaves_no_resource(ward, nurse):
    nurse.put("/fhir/Observation/t1", json=temperature(id="t1"))
    keeping.erase(ward.service.store, Actor("a", "admin"), "p9")
    assert counted(ward, fhir_resources) == 0


# --- out ----------------------------------------------------------------------------------------------------


def grades(nurse: TestClient, who: str = "p9", **more: Any) -> list[Json]:
    told = nurse.get("/fhir/Observation", params={"patient": who, "category": "survey", **more}).json()
    return [each["resource"] for each in told.get("entry", ())]


def test_a_grade_says_what_it_rests_on_and_what_is_not_ruled_out(ward, nurse):
    nurse.put("/fhir/Observation/t1", json=temperature(id="t1"))
    (found, *_) = [each for each in grades(nurse) if each["valueInteger"] == 1]
    assert found["code"]["coding"][0]["code"] == "astct-2019"
    assert found["code"]["coding"][0]["version"] == LIB.scale("astct-2019").hash
    assert found["derivedFrom"][0]["reference"] == "Observation/t1"
    parts = {each["code"]["coding"][0]["code"]: each for each in found["component"]}
    assert parts["fever"]["valueBoolean"] is True
    assert parts["up-to"]["valueInteger"] == 4
    assert parts["spo2"]["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
    assert found["status"] == "preliminary"
    assert nurse.get(f"/fhir/Observation/{found['id']}").json() | {"meta": 0} == found | {"meta": 0}
    assert nurse.get(f"/fhir/{found['device']['reference']}").json()["version"]


def test_a_grade_from_another_door_says_so_in_words(ward, nurse):
    (found, *_) = [each for each in grades(nurse, "p1") if each["valueInteger"] == 1]
    (told,) = found["derivedFrom"]
    assert "reference" not in told
    assert "38.6 Cel" in told["display"]


def test_pages_fit_together_whatever_comes_in_meanwhile(ward, nurse):
    nurse.post("/fhir", json=bundle(*(put(temperature(36 + n % 4, -n / 2), f"t{n}") for n in range(1, 40))))
    told = nurse.get("/fhir/Observation?patient=p9&_count=7").json()
    seen, total = [], told["total"]
    ward.clock.set(NOON + HOUR)
    while True:
        seen += [each["resource"]["id"] for each in told["entry"]]
        following = [link["url"] for link in told["link"] if link["relation"] == "next"]
        if not following:
            break
        nurse.post("/fhir/Observation", json=temperature(39.9, len(seen) / 100))
        told = nurse.get(following[0]).json()
        assert told["total"] == total
    assert len(seen) == len(set(seen)) == total


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("code=8310-5", {"t1", "t2"}),
        (f"code={LOINC}|8310-5", {"t1", "t2"}),
        ("code=2708-6", {"s1"}),
        ("code=8310-5,2708-6", {"t1", "t2", "s1"}),
        ("_id=t1", {"t1"}),
        ("code=8310-5&date=ge2026-03-10T11:00Z", {"t2"}),
        ("code=8310-5&date=lt2026-03-10T11:00Z", {"t1"}),
        ("code=8310-5&date=2026-03-10", {"t1", "t2"}),
        ("code=8310-5&date=2025", set()),
        ("status=amended", set()),
        ("code=|astct-2019", set()),
    ],
)
def test_a_search_finds_what_it_asks_for(ward, nurse, search, found):
    nurse.post(
        "/fhir",
        json=bundle(
            put(temperature(37, -3), "t1"),
            put(temperature(38.5, -1), "t2"),
            put(observation("2708-6", 97, "%"), "s1"),
        ),
    )
    told = nurse.get(f"/fhir/Observation?patient=p9&{search}")
    assert told.status_code == 200, told.text
    ids = {each["resource"]["id"] for each in told.json()["entry"]}
    assert {id for id in ids if len(id) < 10} == found
    form = nurse.post(
        "/fhir/Observation/_search",
        content=f"patient=Patient/p9&{search}",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert {each["resource"]["id"] for each in form.json()["entry"]} == ids


@pytest.mark.parametrize(
    "path",
    [
        "Observation",
        "Observation?patient=p9&colour=blue",
        "Observation?patient=p9&date=tomorrow",
        "Spaceship",
        "Observation?patient=p9&_count=-1",
        "Observation?patient=p9&_sort=value",
        "Observation?patient=p9&_asof=x",
    ],
)
def test_a_search_that_is_not_understood_is_refused(nurse, path):
    """Leaving a parameter out would answer another question."""
    told = nurse.get(f"/fhir/{path}")
    assert told.status_code in (400, 404)
    assert told.json()["resourceType"] == "OperationOutcome"


def test_alerts_and_flags_are_for_those_who_may_see_them(tmp_path):
    with house(f"sqlite:///{tmp_path}/w.db", demo=False) as ward:  # nothing is approved: in shadow
        ward.service.sweep.once()
        for role, seen in (("nurse", False), ("evaluator", True)):
            for kind in ("DetectedIssue", "Flag"):
                told = ward.as_(role).get(f"/fhir/{kind}?patient=p1").json()
                assert bool(told["total"]) is seen, (role, kind)
    with house(f"sqlite:///{tmp_path}/demo.db") as ward:
        ward.service.sweep.once()
        (issue, *_) = ward.as_("nurse").get("/fhir/DetectedIssue?patient=p1").json()["entry"]
        assert issue["resource"]["status"] == "preliminary"
        ward.as_("nurse").post(f"/alerts/{issue['resource']['id'].removeprefix('alert-')}/acknowledge")
        read = ward.as_("nurse").get(f"/fhir/DetectedIssue/{issue['resource']['id']}").json()
        assert "acknowledged" in read["mitigation"][0]["action"]["text"]


def test_a_merged_record_is_found_under_both_names(ward, nurse):
    nurse.put("/fhir/Observation/t1", json=temperature(who="p9", id="t1"))
    ward.service.merge(Actor("d", "physician"), "p9", "p1")
    ids = {each["resource"]["id"] for each in nurse.get("/fhir/Observation?patient=p1").json()["entry"]}
    assert "t1" in ids
    assert nurse.get("/fhir/Patient/p9").json()["link"][0]["other"]["reference"] == "Patient/p1"


# --- live is batch ------------------------------------------------------------------------------------------


def test_the_real_mimic_demo_sent_as_bundles_gives_the_grades_of_its_files(shared, store_url):
    """Patients, drugs, stays and readings of 100 people, in Bundles in a random order."""
    folder = shared / "data" / "mimic-iv-demo-fhir"
    clock = HandClock(round(datetime(2230, 1, 1, tzinfo=UTC).timestamp() * 1e6))
    resources: list[Json] = []
    for file in sorted(folder.glob("*.ndjson.gz")):
        with gzip.open(file) as lines:
            resources += [json.loads(line) for line in lines]
    named = [each for each in resources if each["resourceType"] in ("Medication", "Patient")]
    others = [
        each for each in resources if each["resourceType"] not in ("Medication", "Patient", "Encounter")
    ]
    random.Random(11).shuffle(others)
    with running(store_url, clock) as service:
        for start in range(0, len(named), 2000):
            _sent(service, named[start : start + 2000])
        for start in range(0, len(others), 2000):
            _sent(service, others[start : start + 2000])
        files = open_source(folder, lib=LIB).table()
        people = sorted(set(files["patient_id"].to_pylist()))
        filed = grade_table(files, ["astct-2019", "ctcae-5.0"], lib=LIB, as_of=moment(clock.now()))
        of: dict[str, list[Json]] = {}
        for row in filed.to_pylist():
            of.setdefault(row["patient_id"], []).append(row)
        assert len(people) == 100
        for who in people:
            live = service.grades_of(who, ["astct-2019", "ctcae-5.0"], clock.now()).to_pylist()
            assert live == of.get(who, []), who


def _sent(service, resources: list[Json]) -> None:
    entries = [
        entry(place, each, kind=each["resourceType"], id=each["id"])
        for place, each in enumerate(resources, 1)
    ]
    Reading(service, NURSE).take(entries)


def test_the_sites_own_codes_are_understood(tmp_path):
    file = tmp_path / "codes.toml"
    system = "[systems]\n'http://hospital.example/vitals' = 'ours'\n"
    file.write_text(f"{system}[codes]\n'ours|TMP' = 'temperature'\n")
    own = temperature() | {"code": {"coding": [{"system": "http://hospital.example/vitals", "code": "TMP"}]}}
    with running(f"sqlite:///{tmp_path}/w.db", settings=Settings(demo=True, codes=file)) as service:
        Reading(service, NURSE).take([entry(1, own)])
        assert service.standing("p9")["astct-2019"].grade == 1
