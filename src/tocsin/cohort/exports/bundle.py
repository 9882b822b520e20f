"""Episodes as FHIR R4: one collection Bundle a patient, a line each, so that a cohort of any size streams.

Names of resources are made from what is written (never from a record's id that was replaced), so that the
same cohort gives the same bytes. Codes of our own stand under `urn:tocsin:...`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import duckdb
import orjson

from tocsin.definitions.export import Export
from tocsin.facts.files import writing
from tocsin.facts.instants import written

Json = dict[str, Any]
SCALE, PART, PATIENT, EPISODE = (f"urn:tocsin:{name}" for name in ("scale", "part", "patient", "episode"))
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
OUTCOME = "http://terminology.hl7.org/CodeSystem/adverse-event-outcome"
SERIOUS = "http://terminology.hl7.org/CodeSystem/adverse-event-seriousness"
#: The space that names of resources are made in.
SPACE = uuid5(UUID(int=0), "urn:tocsin:export")
PATIENTS = 5_000
#: Asked once: finding out takes longer than writing a patient.
VERSION = version("tocsin")

_QUERY = """
    with e as (
        select patient_id, list(struct_pack(scale := scale, title := "scale-title", event := event,
            episode := episode, definition := definition, onset := onset, closed := "closed-at",
            open := "still-open", outcome := outcome, peak := "episode-peak", up_to := "episode-up-to",
            ambiguous := "episode-ambiguous", flags := "episode-flags", trigger := trigger,
            code := "term-code", place := place) order by place, episode) episodes
        from ill group by patient_id
    )
    select subject, sex, death, died, episodes from who left join e using (patient_id) order by subject
"""


def write_bundles(con: duckdb.DuckDBPyConnection, path: Path, found: Export) -> int:
    """Write one Bundle a patient and line; returns how many."""
    count = 0
    with writing(path.name), path.open("wb") as file:
        for batch in con.sql(_QUERY).to_arrow_reader(PATIENTS):
            for row in batch.to_pylist():
                file.write(orjson.dumps(bundle(row, found), option=orjson.OPT_APPEND_NEWLINE))
                count += 1
    return count


def bundle(row: Mapping[str, Any], found: Export) -> Json:
    """A patient, this program, and of each episode its highest grade and the adverse event."""
    who = f"urn:uuid:{_name(row['subject'], 'Patient')}"
    resources = [_patient(row), _device()]
    first: dict[str, str] = {}
    for each in row["episodes"] or ():
        resources.append(_grade(each, row["subject"], who))
        # the same illness under several scales is one adverse event: that of the scale graded first
        if first.setdefault(each["event"], each["scale"]) == each["scale"]:
            resources.append(_event(each, row["subject"], who, found))
    entries = [{"fullUrl": f"urn:uuid:{each['id']}", "resource": each} for each in resources]
    return {
        "resourceType": "Bundle", "id": _name(row["subject"], "Bundle"), "type": "collection",
        "entry": entries,
    }  # fmt: skip


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Every path of a resource that holds a value, as the dictionary names it."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from paths(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, path)
    else:
        yield path


def _name(subject: str, *parts: Any) -> str:
    return str(uuid5(SPACE, "\n".join((subject, *(str(part) for part in parts)))))


def _patient(row: Mapping[str, Any]) -> Json:
    said: Json = {
        "resourceType": "Patient", "id": _name(row["subject"], "Patient"),
        "identifier": [{"system": PATIENT, "value": row["subject"]}],
        "gender": row["sex"] if row["sex"] in ("female", "male", "other") else "unknown",
    }  # fmt: skip
    if row["death"] is not None:
        said["deceasedDateTime"] = written(row["death"])
    return said


def _device() -> Json:
    return {
        "resourceType": "Device", "id": _name("Tocsin", VERSION), "status": "active",
        "deviceName": [{"name": "Tocsin", "type": "model-name"}],
        "version": [{"value": VERSION}],
    }  # fmt: skip


def _concept(system: str, code: str, text: str, **more: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": text, **more}], "text": text}


def _grade(each: Mapping[str, Any], subject: str, who: str) -> Json:
    """The highest grade of an episode; its period is open where its end is not known."""
    parts = [
        {"code": _concept(PART, "up-to", "not ruled out"), "valueInteger": each["up_to"]},
        {"code": _concept(PART, "outcome", "how the episode ended"), "valueString": each["outcome"]},
        {"code": _concept(PART, "ambiguous", "the scale can be read in two ways here"),
         "valueBoolean": each["ambiguous"] == "yes"},
    ]  # fmt: skip
    if each["flags"]:
        parts.append({"code": _concept(PART, "flags", "flags of the grades"), "valueString": each["flags"]})
    return {
        "resourceType": "Observation", "id": _name(subject, "grade", each["scale"], each["episode"]),
        "identifier": [{"system": EPISODE, "value": f"{each['scale']}-{each['episode']}"}],
        "status": "preliminary" if each["open"] == "ongoing" else "final",
        "category": [{"coding": [{"system": CATEGORY, "code": "survey", "display": "Survey"}]}],
        "code": _concept(SCALE, each["scale"], each["title"], version=each["definition"]),
        "subject": {"reference": who},
        "effectivePeriod": _period(each),
        "valueInteger": each["peak"],
        "device": {"reference": f"urn:uuid:{_name('Tocsin', VERSION)}"},
        "component": parts,
    }  # fmt: skip


def _period(each: Mapping[str, Any]) -> Json:
    return {"start": written(each["onset"])} | ({"end": written(each["closed"])} if each["closed"] else {})


def _event(each: Mapping[str, Any], subject: str, who: str, found: Export) -> Json:
    term, codes = found.codelists["event-term"][each["event"]], found.codelists["event-outcome"]
    event: Json = {"text": term}
    if each["code"]:
        event["coding"] = [{"system": found.codelists["event-system"]["system"], "code": each["code"]}]
    said: Json = {
        "resourceType": "AdverseEvent", "id": _name(subject, "event", each["scale"], each["episode"]),
        "identifier": {"system": EPISODE, "value": f"{each['event']}-{each['episode']}"},
        "actuality": "actual",
        "event": event,
        "subject": {"reference": who},
        "date": written(each["onset"]),
        "outcome": _concept(OUTCOME, codes[each["outcome"]], codes[each["outcome"]].capitalize()),
    }  # fmt: skip
    if each["outcome"] == "fatal":
        # seriousness is a person's judgement; a death needs none, and everything else is left out
        said["seriousness"] = _concept(SERIOUS, "Serious", "Serious")
    return said
