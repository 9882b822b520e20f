"""CDS Hooks: how long a record system waits for cards of a patient of 14 days, as its client measures it.

Charted every 4 h and every 15 min; once from the store alone, once from the prefetch alone, and once from the
store with the last day sent along. Every request is signed and says something new, so that no answer can be
one that was given before. CPU time of the service for a request is printed beside: machines are shared.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from watch import TOCSIN, Served, token

KEY = ECKey.generate_key("P-384", {"kid": "k"})
ISSUER, PATH = "https://ehr.example/", "/cds-services/crs"
BASE = "https://tocsin.example"
ROUND = (
    ("temperature", "8310-5", "Cel", 37.0, 2.0), ("systolic-bp", "8480-6", "mm[Hg]", 105.0, 20.0),
    ("heart-rate", "8867-4", "/min", 80.0, 20.0), ("spo2", "59408-5", "%", 95.0, 4.0),
    ("respiratory-rate", "9279-1", "/min", 14.0, 6.0),
)  # fmt: skip
DAYS = 14
#: What our template asks for at most.
PAGE = 1000


def rounds(step: timedelta, days: float = DAYS) -> list[tuple[datetime, str, str, str, float]]:
    """What is charted: five vital signs a round, up to now."""
    chance, now = random.Random(7), datetime.now(UTC).replace(microsecond=0)
    found = []
    at = now - timedelta(days=days)
    while at < now:
        found += [
            (at, measure, code, unit, round(low + chance.random() * more, 1))
            for measure, code, unit, low, more in ROUND
        ]
        at += step
    return found


def observation(who: str, number: int, row: tuple[datetime, str, str, str, float]) -> dict[str, Any]:
    """A reading as FHIR."""
    at, _, code, unit, value = row
    return {
        "resource": {
            "resourceType": "Observation", "id": f"o{number}", "status": "final",
            "category": [{"coding": [{"code": "vital-signs"}]}],
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "subject": {"reference": f"Patient/{who}"}, "effectiveDateTime": at.isoformat(),
            "valueQuantity": {"value": value, "code": unit, "system": "http://unitsofmeasure.org"},
        }
    }  # fmt: skip


def prefetch(who: str, rows: list[tuple[datetime, str, str, str, float]]) -> dict[str, Any]:
    """A whole prefetch."""
    dose = datetime.now(UTC) - timedelta(days=DAYS - 1)
    infusion = {
        "resourceType": "MedicationAdministration", "id": "m1", "status": "completed",
        "medicationCodeableConcept": {"coding": [therapy()]},
        "subject": {"reference": f"Patient/{who}"}, "effectiveDateTime": dose.isoformat(),
    }  # fmt: skip
    return {
        "patient": {"resourceType": "Patient", "id": who, "birthDate": "1970-05-01", "gender": "male"},
        "vital-signs": {"resourceType": "Bundle", "type": "searchset",
                        "entry": [observation(who, k, row) for k, row in enumerate(rows)]},
        "bedside": None, "laboratory": None, "procedures": None, "conditions": None, "devices": None,
        "medications": {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": infusion}]},
    }  # fmt: skip


def therapy() -> dict[str, str]:
    """The coding of a therapy, from the shelves."""
    from tocsin.definitions.load import library

    for (system, code), (measure, _) in library().codes().items():
        if system == "RxNorm" and measure == "axicabtagene-ciloleucel":
            return {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": code}
    raise SystemExit("the therapy has no code on the shelves")


def signed() -> str:
    """A token for one request."""
    now = int(time.time())
    told = {"iss": ISSUER, "aud": BASE + PATH, "iat": now, "exp": now + 120, "jti": str(uuid.uuid4())}
    return jwt.encode({"alg": "ES384", "kid": "k", "typ": "JWT"}, told, KEY, algorithms=["ES384"])


def ask(port: int, body: bytes) -> tuple[float, dict[str, Any]]:
    """One request: seconds at the client, and the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {signed()}", "Content-Type": "application/json"}
    began = time.perf_counter()
    connection.request("POST", PATH, body, headers)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    took = time.perf_counter() - began
    connection.close()
    assert answer.status == 200, told
    return took, told


def measured(served: Served, calls: int, make: Callable[[int], bytes]) -> str:
    """Calls one after the other."""
    bodies = [make(number) for number in range(calls)]
    for body in bodies[:3]:
        ask(served.port, body)
    before = served.cpu()
    found = [ask(served.port, body) for body in bodies]
    cpu = (served.cpu() - before) / calls * 1000
    assert all(told["cards"] for _, told in found)
    times = sorted(took * 1000 for took, _ in found)
    last = quantiles(times, n=100)[98]
    return f"{len(bodies[-1]) / 1e6:8.2f} {median(times):10.0f} {last:10.0f} {times[-1]:10.0f} {cpu:10.0f}"


def main(words: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="connect.py cds", description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    calls = parser.parse_args(words).calls
    with tempfile.TemporaryDirectory() as folder:
        db, place = f"{folder}/ward.db", Path(folder)
        (place / "keys.json").write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
        (place / "clients.toml").write_text(
            f'[[client]]\nname = "bench"\nissuer = "{ISSUER}"\naudience = "{BASE}"\nkeys = "keys.json"\n'
        )
        device = token(db, "device")
        scales = ("astct-2019", "icans-astct-2019")
        subprocess.run([TOCSIN, "approve", *scales, "--db", db, "--by", "bench", "--yes"], check=True,
                       capture_output=True)  # fmt: skip
        served = Served(db, "--clients", str(place / "clients.toml"))
        heads = "".join(f" {each:>10}" for each in ("p50 ms", "p99 ms", "most ms", "CPU ms"))
        print(f"{'charted':10} {'from':22} {'MB sent':>8}{heads}")
        try:
            for said, step in (("4 h", timedelta(hours=4)), ("15 min", timedelta(minutes=15))):
                each(served, device, said, step, calls)
        finally:
            served.end()


def each(served: Served, device: str, said: str, step: timedelta, calls: int) -> None:
    """The three ways for one pace of charting."""
    rows, who = rounds(step), f"p{step.seconds}"
    facts = [
        {"patient_id": who, "time": at.isoformat(), "measure": measure, "value": value, "unit": unit}
        for at, measure, _, unit, value in rows
    ]
    dose = (datetime.now(UTC) - timedelta(days=DAYS - 1)).isoformat()
    facts.append({"patient_id": who, "time": dose, "measure": "axicabtagene-ciloleucel"})
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    headers = {"Authorization": f"Bearer {device}", "Content-Type": "application/json"}
    connection.request("POST", "/facts", json.dumps(facts), headers)
    assert connection.getresponse().status == 200
    day = [row for row in rows if row[0] > datetime.now(UTC) - timedelta(days=1)]

    def asked(patient: str, sent: dict[str, Any] | None) -> bytes:
        context = {"userId": "Practitioner/1", "patientId": patient}
        told = {"hook": "patient-view", "hookInstance": str(uuid.uuid4()), "context": context}
        return json.dumps(told | ({"prefetch": sent} if sent else {})).encode()

    def new(patient: str, some: list[tuple[datetime, str, str, str, float]], number: int) -> bytes:
        at, measure, code, unit, value = some[-5]
        last = (at, measure, code, unit, value + number / 1000)
        return asked(patient, prefetch(patient, [*some[:-5], last, *some[-4:]]))

    ways: dict[str, Callable[[int], bytes]] = {
        "the store": lambda _: asked(who, None),
        "the prefetch": lambda number: new(f"x{step.seconds}", rows[-PAGE:], number),
        "all 14 days sent": lambda number: new(f"x{step.seconds}", rows, number),
        "the store and a day": lambda number: new(who, day, number),
    }
    for name, make in ways.items():
        print(f"{said:10} {name:22} {measured(served, calls, make)}", flush=True)
