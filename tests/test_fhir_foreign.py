"""Programs that others wrote meet the FHIR door over a network, and validators that others wrote judge it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from wards import opened

FOREIGN = Path(__file__).parent / "foreign"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def node() -> str:
    """Node.js with the packages of tests/foreign (`make foreign` installs them)."""
    found = shutil.which("node")
    if found is None or not (FOREIGN / "node_modules" / "fhir").is_dir():
        pytest.skip("Node.js or the packages of tests/foreign are not there: make foreign")
    return found


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with opened(tmp_path_factory.mktemp("ward")) as built:
        built.service.sweep.once()
        yield built


def ask(ward: Any, path: str) -> Json:
    headers = {"Authorization": f"Bearer {ward.token('evaluator')}"}
    answer = httpx.get(f"{ward.url}/fhir/{path}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def everything(ward: Any) -> list[Json]:
    """One of everything the door gives: every patient, grade, alert and flag, and what it says of itself."""
    patients = [each["resource"] for each in ask(ward, "Patient?_count=500")["entry"]]
    found = [ask(ward, "metadata"), ask(ward, "Device/tocsin"), *patients]
    for kind in ("DetectedIssue", "Flag"):
        page = ask(ward, f"{kind}?_count=500")
        found += [page, *(each["resource"] for each in page["entry"])]
    for each in patients:
        page = ask(ward, f"Observation?patient={each['id']}&_count=500")
        found += [page, *(entry["resource"] for entry in page.get("entry", ()))]
    return found


def test_every_resource_passes_two_validators(ward, node):
    """`fhir` and Medplum's; grades 0 to 4, lapsed ones, alerts, flags, Bundles, refusals."""
    found = everything(ward)
    kinds = {each["resourceType"] for each in found}
    assert {"Observation", "DetectedIssue", "Flag", "Patient", "Device", "Bundle"} <= kinds
    assert {each["valueInteger"] for each in found if each["resourceType"] == "Observation"} >= {0, 1, 2, 3}
    headers = {"Authorization": f"Bearer {ward.token('nurse')}", "Content-Type": "application/fhir+json"}
    for body in ("{", "[]", '{"resourceType": "Bundle", "type": "batch", "entry": [{}]}'):
        found.append(httpx.post(f"{ward.url}/fhir", content=body, headers=headers).json())
    found.append(httpx.get(f"{ward.url}/fhir/Patient/nobody").json())
    assert {each["resourceType"] for each in found[-4:]} == {"OperationOutcome", "Bundle"}
    done = subprocess.run(
        [node, "validate.mjs"], cwd=FOREIGN, input=json.dumps(found), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[:3000] + done.stderr[:2000]
    assert len(found) > 100


def test_the_validators_do_complain(node):
    wrong = [{"resourceType": "Observation", "id": "x", "status": "nonsense", "code": {}, "foo": 1}]
    done = subprocess.run(
        [node, "validate.mjs"], cwd=FOREIGN, input=json.dumps(wrong), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert {line.split(":")[0] for line in done.stdout.splitlines()} == {"fhir", "medplum"}


def test_fhir_kit_client_reads_searches_pages_and_writes(ward, node):
    done = subprocess.run(
        [node, "client.mjs", f"{ward.url}/fhir", ward.token("nurse"), "kit"],
        cwd=FOREIGN, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:2000]
    told = json.loads(done.stdout)
    assert (told["version"], told["created"], told["updated"], told["read"], told["old"]) == (
        "4.0.1", 38.9, "2", 39.1, 38.9,
    )  # fmt: skip
    assert told["batch"] == ["201 Created"] * 3
    assert told["pages"] > 1
    assert told["seen"] == told["total"] > 4
    assert told["refused"] == 400


def test_fhirpy_reads_searches_pages_and_writes(ward):
    from fhirpy import SyncFHIRClient

    client = SyncFHIRClient(f"{ward.url}/fhir", authorization=f"Bearer {ward.token('nurse')}")
    patient = client.resource("Patient", id="py", name=[{"text": "Pia Yen"}], gender="female")
    patient.save()
    made = [client.resource("Observation", **reading(38.0 + hour / 10, hour, "py")) for hour in range(1, 6)]
    for each in made:
        each.save()
        assert each.id
    assert client.reference("Patient", "py").to_resource()["name"][0]["text"] == "Pia Yen"
    found = client.resources("Observation").search(patient="py", code="8310-5").limit(2).fetch_all()
    assert {each.id for each in found} == {each.id for each in made}
    grades = client.resources("Observation").search(patient="py", category="survey").fetch_all()
    assert max(each["valueInteger"] for each in grades) == 1
    made[0]["valueQuantity"]["value"] = 36.6
    made[0].save()
    again = client.resources("Observation").search(_id=made[0].id).get(made[0].id)
    assert again["valueQuantity"]["value"] == 36.6


def test_fhirclient_reads_searches_pages_and_writes(ward):
    """It knows the types of R4 and refuses what has another form."""
    from fhirclient import client as smart
    from fhirclient.models.bundle import Bundle
    from fhirclient.models.observation import Observation
    from fhirclient.models.patient import Patient

    met = smart.FHIRClient(settings={"app_id": "test", "api_base": f"{ward.url}/fhir"})
    met.server.session.headers["Authorization"] = f"Bearer {ward.token('nurse')}"
    named = {"resourceType": "Patient", "id": "fc", "gender": "male", "name": [{"text": "Fritz Claes"}]}
    who = Patient(named)
    who.update(met.server)
    for hour in range(1, 6):
        sent = Observation({"resourceType": "Observation", **reading(38.0 + hour / 10, hour, "fc")})
        assert sent.create(met.server)
    assert Patient.read("fc", met.server).name[0].text == "Fritz Claes"
    page: Any = Observation.where({"patient": "fc", "_count": "3"}).perform(met.server)
    seen: list[str] = []
    while page is not None:
        seen += [entry.resource.id for entry in page.entry or ()]
        following = [link.url for link in page.link if link.relation == "next"]
        page = Bundle.read_from(following[0], met.server) if following else None
    assert len(seen) == len(set(seen)) > 5
    grade = next(each for each in seen if each.endswith("-astct-2019"))
    assert Observation.read(grade, met.server).code.coding[0].code == "astct-2019"


def reading(value: float, hour: int, who: str) -> Json:
    return {
        "status": "final", "subject": {"reference": f"Patient/{who}"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
        "effectiveDateTime": f"2026-03-10T0{hour}:00:00Z",
        "valueQuantity": {"value": value, "unit": "Cel", "code": "Cel", "system": "http://unitsofmeasure.org"},
    }  # fmt: skip
