"""What the FHIR door says of itself, and resources as they were sent."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response

from tocsin.facts.instants import written
from tocsin.watch.fhir_in import ABOUT, CLINICAL, NAMED, FhirError
from tocsin.watch.fhir_out import outcome
from tocsin.watch.fhir_search import PARAMETERS

Json = dict[str, Any]
FHIR = "application/fhir+json"
#: FHIR's type of each search parameter.
TYPES = {
    "_id": "token", "patient": "reference", "subject": "reference", "code": "token", "category": "token",
    "status": "token", "date": "date", "identified": "date", "_lastUpdated": "date", "identifier": "token",
    "name": "string", "birthdate": "date", "gender": "token", "active": "token",
}  # fmt: skip
#: When this program's abilities last changed.
DATE = "2026-11-26"


def told(content: Json, status: int = 200, **headers: str) -> Response:
    """A resource as an answer."""
    return Response(orjson.dumps(content), status, headers, FHIR)


def unsaid(error: FhirError) -> Json:
    """A refusal as an issue."""
    why, _, fix = str(error).partition("\n  fix: ")
    return {"why": why, "fix": fix, "code": error.code}


def failed(error: FhirError) -> Response:
    """A refusal as an answer."""
    return told(outcome(unsaid(error)), error.status)


def base_of(request: Request) -> str:
    """The address of this door as the sender knows it."""
    return f"{str(request.base_url).rstrip('/')}/fhir"


def capability(base: str, *, smart: bool) -> Json:
    """The CapabilityStatement."""
    security: Json = {"description": "A bearer token for everything but this statement."}
    if smart:
        system = "http://terminology.hl7.org/CodeSystem/restful-security-service"
        security["service"] = [{"coding": [{"system": system, "code": "SMART-on-FHIR"}]}]
    kinds = dict.fromkeys((*ABOUT, *CLINICAL, *NAMED, *PARAMETERS))
    return {
        "resourceType": "CapabilityStatement", "status": "active", "date": DATE, "kind": "instance",
        "software": {"name": "Tocsin", "version": version("tocsin")},
        "implementation": {"description": "Grades of cytokine release syndrome", "url": base},
        "fhirVersion": "4.0.1", "format": ["json"],
        "rest": [{
            "mode": "server", "security": security,
            "resource": [_resource(kind) for kind in kinds],
            "interaction": [{"code": "transaction"}, {"code": "batch"}],
        }],
    }  # fmt: skip


def _resource(kind: str) -> Json:
    taken = kind in (*ABOUT, *CLINICAL, *NAMED)
    codes = [*(("create", "update") if taken else ()), "read"]
    codes += ["vread"] if taken and kind != "Patient" else []
    codes += ["search-type"] if kind in PARAMETERS else []
    said: Json = {
        "type": kind, "interaction": [{"code": code} for code in codes],
        "versioning": "versioned" if taken else "no-version", "updateCreate": taken,
    }  # fmt: skip
    if kind in PARAMETERS:
        said["searchParam"] = [{"name": name, "type": TYPES[name]} for name in PARAMETERS[kind]]
    return said


def as_sent(row: Any) -> Json:
    """A kept resource with its version and when it came in."""
    body: Json = orjson.loads(row.body)
    meta = {**(body.get("meta") or {}), "versionId": str(row.version), "lastUpdated": written(row.received)}
    return body | {"meta": meta}
