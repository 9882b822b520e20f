"""Who a patient is and where, between FHIR and the table of patients."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tocsin.watch.people import Patient
from tocsin.watch.schema import facts

Json = dict[str, Any]
#: What names an identifier as the record number (HL7 table 0203).
RECORD = ("http://terminology.hl7.org/CodeSystem/v2-0203", "MR")
SEXES = ("female", "male", "other", "unknown")


def details_of(resource: Json) -> dict[str, str | None]:
    """Details that a Patient says; what it does not say stays as it is."""
    found: dict[str, str | None] = {}
    if name := _name(resource.get("name")):
        found["name"] = name
    born = str(resource.get("birthDate") or "")
    if len(born) == 10:
        found["birth_date"] = born
    if resource.get("gender") in SEXES:
        found["sex"] = resource["gender"]
    if number := _record_number(resource.get("identifier")):
        found["record_number"] = number
    for each in resource.get("communication") or ():
        codes = [coding.get("code") for coding in (each.get("language") or {}).get("coding") or ()]
        if codes and codes[0] and (each.get("preferred") or "language" not in found):
            found["language"] = str(codes[0])
    return found


def bed_of(resource: Json) -> dict[str, str | None]:
    """Ward and bed that an Encounter says by the names of its last locations."""
    places = [each for each in resource.get("location") or () if each.get("status") in (None, "active")]
    names = [str((each.get("location") or {}).get("display") or "") for each in places]
    kinds = [_code(each.get("physicalType")) for each in places]
    found: dict[str, str | None] = {}
    for name, kind in zip(names, kinds, strict=True):
        if name and kind in ("bd", "bed"):
            found["bed"] = name
        elif name:
            found["ward"] = name
    return found


def ended(con: sa.Connection, resource: Json, patient_id: str) -> bool:
    """Whether an Encounter says that a person has gone home: it is over, and nothing was charted after it."""
    period = resource.get("period")
    end = str(period.get("end") or "") if isinstance(period, dict) else ""
    if resource.get("status") != "finished" or len(end) <= 10:
        return False
    try:
        moment = round(datetime.fromisoformat(end).timestamp() * 1_000_000)
    except ValueError:
        return False
    later = sa.select(facts.c.seq).where(facts.c.patient_id == patient_id, facts.c.time > moment).limit(1)
    return con.execute(later).first() is None


def patient(who: Patient) -> Json:
    """A patient of ours as a FHIR Patient; what is not known is left out."""
    said: Json = {
        "resourceType": "Patient", "id": who.patient_id,
        "meta": {"versionId": "1"},
        "active": who.discharged is None and who.merged_into is None,
        "gender": who.sex, "birthDate": who.birth_date,
    }  # fmt: skip
    if who.name:
        said["name"] = [{"text": who.name}]
    if who.record_number:
        system, code = RECORD
        kind = {"coding": [{"system": system, "code": code}]}
        said["identifier"] = [{"type": kind, "value": who.record_number}]
    if who.language:
        tongue = {"coding": [{"system": "urn:ietf:bcp:47", "code": who.language}]}
        said["communication"] = [{"language": tongue}]
    if who.merged_into:
        said["link"] = [{"other": {"reference": f"Patient/{who.merged_into}"}, "type": "replaced-by"}]
    return {key: value for key, value in said.items() if value is not None}


def _name(names: Any) -> str:
    """The name in use: as written, or given and family name."""
    found = [each for each in names or () if isinstance(each, dict)]
    uses = ("usual", "official", None)
    found.sort(key=lambda each: uses.index(use) if (use := each.get("use")) in uses else len(uses))
    for each in found:
        text = each.get("text") or " ".join([*(each.get("given") or ()), each.get("family") or ""]).strip()
        if text:
            return str(text)
    return ""


def _record_number(identifiers: Any) -> str:
    """The identifier that is a record number; else the only one there is."""
    found = [each for each in identifiers or () if isinstance(each, dict) and each.get("value")]
    for each in found:
        if any(coding.get("code") == "MR" for coding in (each.get("type") or {}).get("coding") or ()):
            return str(each["value"])
    return str(found[0]["value"]) if len(found) == 1 else ""


def _code(concept: Any) -> str:
    codings = (concept or {}).get("coding") or [{}]
    return str(codings[0].get("code") or "").lower()
