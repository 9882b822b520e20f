"""A record system as CDS Hooks sees one: its keys and signed tokens, its FHIR server, its requests."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from doors_watch import House, house
from tocsin.watch.cds_trust import Trust
from watched import HOUR, NOON

CURVE = ECKey.generate_key("P-384", {"kid": "curve", "use": "sig"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
ISSUER, BASE = "https://ehr.example/", "https://tocsin.example"
PATH = "/cds-services/crs"
LOINC = {"temperature": "8310-5", "systolic-bp": "8480-6", "spo2": "59408-5", "heart-rate": "8867-4"}
UNITS = {"temperature": "Cel", "systolic-bp": "mm[Hg]", "spo2": "%", "heart-rate": "/min"}


def written(hours: float) -> str:
    """The moment `hours` after noon."""
    return datetime.fromtimestamp((NOON + hours * HOUR) / 1e6, UTC).isoformat()


def observation(
    measure: str, hours: float, value: float, patient: str = "ehr1", **more: Any
) -> dict[str, Any]:
    """A vital sign."""
    quantity = {"value": value, "code": UNITS[measure], "system": "http://unitsofmeasure.org"}
    return {
        "resourceType": "Observation", "id": f"{measure}-{hours:g}", "status": "final",
        "category": [{"coding": [{"code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": LOINC[measure]}]},
        "subject": {"reference": f"Patient/{patient}"}, "effectiveDateTime": written(hours),
        "valueQuantity": quantity, **more,
    }  # fmt: skip


def given(drug: str, hours: float, patient: str = "ehr1", **more: Any) -> dict[str, Any]:
    """A drug given; `drug` as our shelves name it, by its RxNorm code."""
    return {
        "resourceType": "MedicationAdministration", "id": f"{drug}-{hours:g}", "status": "completed",
        "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": CODES[drug]}]},
        "subject": {"reference": f"Patient/{patient}"}, "effectiveDateTime": written(hours), **more,
    }  # fmt: skip


RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
CODES: dict[str, str] = {}


def _fill() -> None:
    from watched import LIB

    for (system, code), (measure, _) in LIB.codes().items():
        if system == "RxNorm":
            CODES.setdefault(measure, code)


_fill()


def bundle(*resources: dict[str, Any], following: str | None = None) -> dict[str, Any]:
    """A page of a search."""
    found: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    if resources:
        found["entry"] = [{"resource": each} for each in resources]
    if following:
        found["link"] = [{"relation": "next", "url": following}]
    return found


def ill(patient: str = "ehr1") -> dict[str, Any]:
    """A full prefetch of somebody with a fever after a CAR-T infusion: CRS grade 1."""
    vitals = [
        *(observation("temperature", hours, value, patient) for hours, value in ((-20, 36.9), (-2, 39.1))),
        *(observation("systolic-bp", hours, 118, patient) for hours in (-20, -2)),
        *(observation("spo2", hours, 97, patient) for hours in (-20, -2)),
    ]
    return {
        "patient": {"resourceType": "Patient", "id": patient, "birthDate": "1971-02-03", "gender": "female"},
        "vital-signs": bundle(*vitals),
        "bedside": None,
        "laboratory": None,
        "medications": bundle(given("axicabtagene-ciloleucel", -48, patient)),
        "procedures": None,
        "conditions": bundle(),
        "devices": None,
    }


class Ehr:
    """A record system on the trust list."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder = folder
        (folder / "keys.json").write_text(json.dumps(KeySet([CURVE, RSA]).as_dict(private=False)))
        self.told = {"name": "Ward EHR", "issuer": ISSUER, "audience": BASE, "keys": "keys.json", **more}

    def trust(self, docs: str = "https://docs.example/cds") -> Trust:
        """The trust list, as a site writes it."""
        lines = [f'docs = "{docs}"'] if docs else []
        lines += ["[[client]]", *(f"{name} = {json.dumps(value)}" for name, value in self.told.items())]
        path = self.folder / "clients.toml"
        path.write_text("\n".join(lines))
        return Trust.read(path)

    @staticmethod
    def token(
        path: str = PATH,
        key: Any = CURVE,
        alg: str = "ES384",
        header: dict[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """A signed token for one request."""
        now = int(time.time())
        told = {
            "iss": ISSUER, "aud": f"{BASE}{path}", "iat": now, "exp": now + 120, "jti": str(uuid.uuid4()),
            **more,
        }  # fmt: skip
        claims = {name: value for name, value in told.items() if value is not None}
        head = {"alg": alg, "kid": key.kid, "typ": "JWT", **(header or {})}
        return jwt.encode({n: v for n, v in head.items() if v is not None}, claims, key, algorithms=[alg])


def hook(name: str = "patient-view", patient: str = "ehr1", **more: Any) -> dict[str, Any]:
    """A request for cards."""
    context = {"userId": "Practitioner/7", "patientId": patient}
    if name == "encounter-start":
        context["encounterId"] = "e1"
    told = {"hook": name, "hookInstance": str(uuid.uuid4()), "context": context, **more}
    return {name: value for name, value in told.items() if value is not None}


def granted(server: str) -> dict[str, Any]:
    """Leave to fetch."""
    return {
        "fhirServer": server,
        "fhirAuthorization": {
            "access_token": "opaque-token", "token_type": "Bearer", "expires_in": 300,
            "scope": "user/*.read", "subject": "tocsin",
        },
    }  # fmt: skip


class Desk:
    """Our service with one record system on its list."""

    def __init__(self, built: House, ehr: Ehr) -> None:
        self.built, self.ehr, self.web = built, ehr, built.client()

    def post(self, body: Any, path: str = PATH, token: str | None = None, **more: Any) -> Any:
        """Send as the record system does."""
        headers = {"authorization": f"Bearer {self.ehr.token(path) if token is None else token}"}
        if isinstance(body, bytes):
            return self.web.post(path, content=body, headers={**headers, **more.pop("headers", {})}, **more)
        return self.web.post(path, json=body, headers={**headers, **more.pop("headers", {})}, **more)

    def cards(self, body: Any) -> list[dict[str, Any]]:
        """The cards of a request that is answered."""
        answer = self.post(body)
        assert answer.status_code == 200, answer.text
        return answer.json()["cards"]


@contextmanager
def desk(url: str, folder: Path, *, demo: bool = True, **more: Any) -> Iterator[Desk]:
    """The running service, asked by a record system."""
    ehr = Ehr(folder, **more)
    with house(url, demo=demo, cds=ehr.trust()) as built:
        yield Desk(built, ehr)


class Fhir:
    """A tiny FHIR server on this machine: answers reads and searches from what it was given, by key."""

    def __init__(self, held: dict[str, Any]) -> None:
        self.held, self.asked, self.tokens = held, list[str](), list[str | None]()
        self.wrong: dict[str, Any] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.asked.append(self.path)
                server.tokens.append(self.headers.get("authorization"))
                server.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}/fhir"

    def key_of(self, path: str) -> str:
        """Which prefetch key a search is for."""
        parts = urlsplit(path)
        kind, query = parts.path.removeprefix("/fhir/").split("/")[0], parse_qs(parts.query)
        if kind == "Observation":
            return query.get("category", ["bedside"])[0] if "page" not in query else "page"
        names = {"Patient": "patient", "MedicationAdministration": "medications", "Procedure": "procedures"}
        return {**names, "Condition": "conditions", "DeviceUseStatement": "devices"}[kind]

    def answer(self, handler: Any) -> None:
        """One answer, or what a test wants to go wrong."""
        key = self.key_of(handler.path)
        if key in self.wrong:
            self.wrong[key](handler)
            return
        found = self.held.get(key) or bundle()
        self.send(handler, 200, json.dumps(found).encode())

    @staticmethod
    def send(handler: Any, status: int, body: bytes, **headers: str) -> None:
        """An answer."""
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def fhir(held: dict[str, Any]) -> Iterator[Fhir]:
    """A FHIR server that runs."""
    server = Fhir(held)
    thread = threading.Thread(target=server.http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
