"""The doors for programs: every way in, every answer, what is said when it cannot be."""

from __future__ import annotations

import json
import threading

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from doors_watch import house
from tocsin.watch import auth
from wards import opened
from watched import HOUR, NOON, fact, fever


@pytest.fixture
def open_house(tmp_path):
    with house(f"sqlite:///{tmp_path}/w.db") as built:
        yield built


def lines(rows):
    """JSON lines."""
    return "\n".join(json.dumps(row) for row in rows)


CSV = (
    "patient_id,time,measure,value,unit\np3,2026-03-10T11:00Z,temperature,38.4,Cel\np3,x,temperature,1,Cel\n"
)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", json.dumps(fever("p3", -1))),
        ("application/json; charset=utf-8", json.dumps([fever("p3", -1)])),
        ("application/x-ndjson", lines([fever("p3", -1)])),
        ("text/csv", CSV.splitlines()[0] + "\n" + CSV.splitlines()[1] + "\n"),
    ],
)
def test_facts_come_in_by_every_form(open_house, kind, body):
    answer = open_house.as_("device").post("/facts", content=body, headers={"content-type": kind})
    assert answer.status_code == 200
    assert answer.json() == {"stored": 1, "duplicates": 0, "rejected": [], "kept": []}


def test_some_rejected_is_an_answer_and_all_rejected_is_not(open_house):
    device = open_house.as_("device")
    some = device.post("/facts", content=CSV, headers={"content-type": "text/csv"})
    assert some.status_code == 200
    assert some.json()["stored"] == 1
    assert [each["row"] for each in some.json()["rejected"]] == [2]
    none = device.post("/facts", json=[{**fever("p3", -1), "unit": "furlong"}])
    assert none.status_code == 422
    assert none.json()["rejected"][0]["fix"]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", "{", 422), ("application/json", "", 422), ("application/json", "3", 422),
        ("application/json", "[" * 5000, 422), ("application/json", "\xff", 422), ("text/csv", "", 422),
        ("text/csv", "a,b\n1,2\n", 422), ("text/csv", "a" * 150_000, 422),
        ("application/x-ndjson", "nonsense", 422), ("text/html", "x", 415),
        ("application/json", "[]", 200), ("text/csv", "\x00\x01", 422),
        ("application/json", json.dumps([{"patient_id": {"a": 1}, "time": [], "measure": 3}]), 422),
        ("application/json", json.dumps(fact("p1", -1, "temperature", 1e308, "Cel")), 422),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_the_fix(open_house, kind, body, status):
    answer = open_house.as_("device").post(
        "/facts", content=body.encode("latin-1"), headers={"content-type": kind}
    )
    assert answer.status_code == status
    if status != 200:
        told = answer.json()
        assert told.get("fix") or told["rejected"][0]["fix"]


@pytest.mark.parametrize("part", ["", "/grades", "/facts", "/episodes", "/advice", "/alerts"])
def test_a_patient_is_answered_by_ref(open_house, part):
    nurse = open_house.as_("nurse")
    assert nurse.get(f"/patients/{open_house.ref()}{part}").status_code == 200
    assert nurse.get(f"/patients/{'x' * 22}{part}").status_code == 404
    assert nurse.get(f"/patients/p1{part}").status_code == 404


def test_an_answer_says_which_definition_gave_it_and_what_was_known_when(open_house):
    told = open_house.as_("nurse").get(f"/patients/{open_house.ref()}/grades?scale=astct-2019").json()
    assert {row["definition"] for row in told["intervals"]} == {told["definitions"]["astct-2019"]}
    assert told["as_of"] == "2026-03-10T12:00:00Z"
    assert told["approved"]["astct-2019"] is True


def test_as_of_is_on_every_read(open_house):
    open_house.clock.set(NOON + 2 * HOUR)
    late = fever("p1", 1, 39.5)
    open_house.as_("device").post("/facts", json=late)
    nurse, ref = open_house.as_("nurse"), open_house.ref()
    then = nurse.get(f"/patients/{ref}/facts?as_of=2026-03-10T12:30Z").json()["facts"]
    now = nurse.get(f"/patients/{ref}/facts").json()["facts"]
    assert (len(then), len(now)) == (1, 2)
    for part in ("grades", "facts", "episodes", "advice"):
        assert nurse.get(f"/patients/{ref}/{part}?as_of=yesterday").status_code == 422
        assert nurse.get(f"/patients/{ref}/{part}?as_of=2026-03-10T12:30").status_code == 422


def test_an_unknown_scale_is_refused_by_name(open_house):
    answer = open_house.as_("nurse").get(f"/patients/{open_house.ref()}/grades?scale=astct-2018")
    assert answer.status_code == 422
    assert "astct-2019" in answer.json()["why"]


def test_details_merge_discharge(open_house):
    nurse, physician = open_house.as_("nurse"), open_house.as_("physician")
    put = nurse.put("/patients", json={"patient_id": "p1", "name": "Ada B", "bed": "12", "ward": "5 West"})
    assert put.json()["ref"] == open_house.ref()
    listed = nurse.get("/patients?ward=5 West").json()["patients"]
    assert [each["bed"] for each in listed] == ["12"]
    merged = physician.post(f"/patients/{open_house.ref('p2')}/merge", json={"into": open_house.ref()})
    assert merged.status_code == 200
    assert len(nurse.get("/patients").json()["patients"]) == 1
    assert physician.post(f"/patients/{open_house.ref('p2')}/unmerge").status_code == 200
    assert physician.post(f"/patients/{open_house.ref('p2')}/unmerge").status_code == 409
    assert nurse.post(f"/patients/{open_house.ref('p2')}/discharge").status_code == 200
    assert len(nurse.get("/patients").json()["patients"]) == 1
    assert nurse.put("/patients", json={"patient_id": "p1", "birth_date": "yesterday"}).status_code == 422
    assert nurse.put("/patients", json={"patient_id": "p1", "colour": "red"}).status_code == 422


def test_patients_come_in_pages(open_house):
    device, nurse = open_house.as_("device"), open_house.as_("nurse")
    device.post("/facts", json=[fever(f"q{n}", -1) for n in range(5)])
    seen, after = [], ""
    while True:
        told = nurse.get(f"/patients?limit=2&after={after}").json()
        seen += [each["patient_id"] for each in told["patients"]]
        if not told["more"]:
            break
        after = told["patients"][-1]["ref"]
    assert sorted(seen) == ["p1", "p2", "q0", "q1", "q2", "q3", "q4"]


def test_health_needs_no_token_and_says_nothing_about_anybody(open_house):
    answer = open_house.client().get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "loading": 0, "demo": True}


def test_openapi_describes_the_doors(open_house):
    told = open_house.client().get("/openapi.json").json()
    assert {"/facts", "/patients", "/patients/{ref}/grades", "/events", "/health"} <= set(told["paths"])
    assert set(told["paths"]["/facts"]["post"]["requestBody"]["content"]) == {
        "application/json", "application/x-ndjson", "text/csv",
    }  # fmt: skip


def test_many_senders_at_once_lose_and_double_nothing(open_house):
    def send(sender: int) -> None:
        client = open_house.as_("device")
        for n in range(10):
            rows = [fever(f"m{n}", -1 - sender / 100 - k / 1000) for k in range(5)]
            assert client.post("/facts", json=rows).status_code == 200

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sum(open_house.service.facts_of(f"m{n}").num_rows for n in range(10)) == 300


def test_anything_at_all_is_answered_and_never_by_a_failure(tmp_path):
    """Schemathesis tries every door of the OpenAPI with every kind of nonsense, as those who may do most."""
    with opened(tmp_path) as ward:
        schema = schemathesis.openapi.from_url(f"{ward.url}/openapi.json")
        tried = set()
        for role in ("physician", "admin"):
            with ward.service.store.writing() as con:
                _, secret = auth.create_token(con, ward.service.clock, role)
            for found in schema.get_all_operations():
                operation = found.ok()
                if operation.path != "/events":  # it never ends
                    attempt(operation, secret)
                    tried.add(operation.path)
        assert len(tried) >= 12


def attempt(operation, secret):
    """One door, with requests that schemathesis makes up."""

    @given(case=operation.as_strategy())
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def check(case):
        answer = case.call(headers={"authorization": f"Bearer {secret}"}, timeout=20)
        assert answer.status_code < 500, (operation.method, operation.path, answer.status_code)

    check()
