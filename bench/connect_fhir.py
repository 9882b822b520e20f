"""FHIR Observations taken a second, durable and graded, beside `fhir.resources` reading the same.

The peer reads the same JSON into its classes, in this process: once alone, and once writing what it read to a
SQLite file, one row each and one durable transaction a Bundle, as a server built on it would have to at the
least (it checks no versions, keeps no log and grades nothing). CPU seconds are printed, because machines are
shared.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sqlite3
import tempfile
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from watch import LOINC, ROUND, Served, percentiles, token


def observations(number: int, patients: int = 100) -> list[dict[str, Any]]:
    """Vital signs of a ward, a round every 15 minutes, in order of time."""
    start = datetime.now(UTC) - timedelta(days=3)
    found = []
    for k in range(number):
        measure, value, unit = ROUND[k % 5]
        who, turn = k // 5 % patients, k // 5 // patients
        at = start + timedelta(minutes=15 * turn, seconds=who)
        found.append({
            "resourceType": "Observation", "id": f"o{k}", "status": "final",
            "category": [{"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs",
            }]}],
            "code": {"coding": [{"system": "http://loinc.org", "code": LOINC[measure]}]},
            "subject": {"reference": f"Patient/p{who}"},
            "effectiveDateTime": at.isoformat(),
            "valueQuantity": {
                "value": round(value + k * 7 % 13 / 10, 1), "unit": unit, "code": unit,
                "system": "http://unitsofmeasure.org",
            },
        })  # fmt: skip
    return found


def fhir(db: str, number: int, size: int) -> None:
    """Post Bundles one after the other, then let the peer read the same Observations."""
    from fhir.resources.R4B.observation import Observation

    found = observations(number)
    bundles = [
        json.dumps({
            "resourceType": "Bundle", "type": "batch",
            "entry": [
                {"resource": each, "request": {"method": "PUT", "url": f"Observation/{each['id']}"}}
                for each in found[start : start + size]
            ],
        })
        for start in range(0, number, size)
    ]  # fmt: skip
    secret = token(db, "device")
    served = Served(db)
    served.settle()
    con = http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/fhir+json"}
    took = []
    cpu, began = served.cpu(), time.monotonic()
    for body in bundles:
        sent = time.monotonic()
        con.request("POST", "/fhir", body, headers)
        answer = con.getresponse()
        told = json.loads(answer.read())
        assert answer.status == 200, told
        assert {each["response"]["status"] for each in told["entry"]} == {"201 Created"}
        took.append(time.monotonic() - sent)
    wall, used = time.monotonic() - began, served.cpu() - cpu
    served.end()
    texts = [json.dumps(each) for each in found[:5000]]
    began = time.process_time()
    for text in texts:
        Observation.model_validate_json(text)
    peer = len(texts) / (time.process_time() - began)
    keeping, keeping_wall = kept_by_peer(texts, size)
    print(f"{number} Observations in Bundles of {size}, load {os.getloadavg()[0]:.1f}")
    print(f"  durable and graded  {number / wall:8.0f} /s   {number / used:8.0f} a CPU second")
    print(f"  a Bundle            {percentiles(took)}")
    print(f"  fhir.resources      {'':8}     {peer:8.0f} a CPU second, reading alone")
    print(f"  ... and storing     {keeping_wall:8.0f} /s   {keeping:8.0f} a CPU second, durable, not graded")
    print(f"  ratio by CPU time   {number / used / peer:8.2f} to reading alone")
    print(f"                      {number / used / keeping:8.2f} to reading and storing")


def kept_by_peer(texts: list[str], size: int) -> tuple[float, float]:
    """Observations that the peer reads and stores: a CPU second, and a second."""
    from fhir.resources.R4B.observation import Observation

    with tempfile.TemporaryDirectory() as folder:
        con = sqlite3.connect(f"{folder}/peer.db")
        for said in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL",
                     "CREATE TABLE kept (id TEXT PRIMARY KEY, body TEXT NOT NULL)"):  # fmt: skip
            con.execute(said)
        cpu, began = time.process_time(), time.monotonic()
        for start in range(0, len(texts), size):
            read = [Observation.model_validate_json(text) for text in texts[start : start + size]]
            with con:
                rows = [(each.id, each.model_dump_json()) for each in read]
                con.executemany("INSERT INTO kept VALUES (?, ?)", rows)
        cpu, wall = time.process_time() - cpu, time.monotonic() - began
        con.close()
    return len(texts) / cpu, len(texts) / wall


def main(words: list[str]) -> None:
    """The bench."""
    parser = argparse.ArgumentParser(prog="connect.py fhir", description=__doc__)
    parser.add_argument("--db", help="an empty database to write to")
    parser.add_argument("--number", type=int, default=20_000)
    parser.add_argument("--bundle", type=int, default=500)
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        fhir(asked.db or f"{folder}/ward.db", asked.number, asked.bundle)
