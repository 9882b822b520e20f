"""What the service knows, as FHIR resources: grades, alerts, flags, and what it is itself.

A grade is an Observation: its code is the scale with its version, its value the grade, a component for each
finding that proves it, for what is not ruled out (`up-to`) and for each measure that is waited for; it names
what it is derived from, and this program as its device. Codes of our own stand under `urn:tocsin:...`: no
terminology we know of has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from tocsin.definitions.load import Library
from tocsin.facts.instants import written
from tocsin.grading.live import micros
from tocsin.watch import alert_log
from tocsin.watch.patient_view import titled
from tocsin.watch.standing import Standing

Json = dict[str, Any]
SCALE, FINDING, MEASURE, PART, ALERT, SOURCE = (
    f"urn:tocsin:{name}" for name in ("scale", "finding", "measure", "part", "alert", "source")
)
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
FLAGS = "http://terminology.hl7.org/CodeSystem/flag-category"
#: The id of this program as a Device.
DEVICE = "tocsin"
#: What an Observation may say it is derived from.
DERIVED = ("Observation", "QuestionnaireResponse")


def concept(system: str, code: str, text: str, **more: str | None) -> Json:
    """A CodeableConcept of one coding."""
    coding = {"system": system, "code": code, "display": text, **more}
    return {"coding": [{key: value for key, value in coding.items() if value is not None}], "text": text}


def grade_id(ref: str, scale: str, start: int) -> str:
    """The id of a grade: whose it is, since when, under which scale. FHIR knows no `_` in ids.

    >>> grade_id("abc_def-ghijklmnopqrst", "astct-2019", 1_700_000_000_000_000)
    'abc.def-ghijklmnopqrst-60a24181e4000-astct-2019'
    """
    return f"{fhir_ref(ref)}-{start:x}-{scale}"


def fhir_ref(ref: str) -> str:
    """A `ref` as part of a FHIR id."""
    return ref.replace("_", ".")


def grade_of(id: str) -> tuple[str, int, str] | None:
    """Whose, since when and under which scale a grade with this id is; None where it is no such id.

    >>> grade_of("abc.def-ghijklmnopqrst-60a24181e4000-astct-2019")
    ('abc_def-ghijklmnopqrst', 1700000000000000, 'astct-2019')
    """
    ref, rest = id[:22].replace(".", "_"), id[22:].split("-", 2)
    if len(rest) != 3 or rest[0]:
        return None
    try:
        return ref, int(rest[1], 16), rest[2]
    except ValueError:
        return None


def grade(
    row: Mapping[str, Any],
    ref: str,
    lib: Library,
    known: int,
) -> Json:
    """A row of the interval table as an Observation. `known` is when this was known (microseconds): an
    interval that ends there still stands."""
    scale = lib.scale(row["scale"])
    start, end = micros(row["start"]), None if row["end"] is None else micros(row["end"])
    stands = end is None or end >= known
    parts = [_part("up-to", "not ruled out", {"valueInteger": row["up_to"]})]
    if row["ambiguous"]:
        parts.append(_part("ambiguous", "the scale can be read in two ways here", {"valueBoolean": True}))
    for name in row["because"]:
        parts.append({"code": concept(FINDING, name, titled(scale, name)), "valueBoolean": True})
    for name in row["waiting_for"]:
        absent = {"coding": [{"system": ABSENT, "code": "not-performed", "display": "Not Performed"}]}
        measure = lib.measures[name].title if name in lib.measures else name
        parts.append({"code": concept(MEASURE, name, measure), "dataAbsentReason": absent})
    for name in row["judgement"]:
        parts.append(_part("judgement", "left to a clinician", {"valueString": name}))
    for name in row["flags"]:
        parts.append(_part("flag", "flag", {"valueString": name}))
    said: Json = {
        "resourceType": "Observation", "id": grade_id(ref, row["scale"], start),
        "meta": {"lastUpdated": written(known)},
        "status": "preliminary" if stands else "final",
        "category": [{"coding": [{"system": CATEGORY, "code": "survey", "display": "Survey"}]}],
        "code": concept(SCALE, row["scale"], scale.title, version=row["definition"]),
        "subject": {"reference": f"Patient/{row['patient_id']}"},
        "effectivePeriod": {"start": written(start)} | ({} if stands else {"end": written(end)}),
        "valueInteger": row["grade"],
        "device": {"reference": f"Device/{DEVICE}", "display": f"Tocsin {version('tocsin')}"},
        "component": parts,
    }  # fmt: skip
    return said


def derived(said: Json, behind: Sequence[tuple[str, Mapping[str, Any]]], lib: Library) -> Json:
    """A grade with what it is derived from: the facts that made its findings true (`grading.why`)."""
    facts = {fact["source"]: fact for _, fact in behind}
    if not facts:
        return said
    return said | {"derivedFrom": [_derived(fact, lib) for fact in facts.values()]}


def issue(alert: Mapping[str, Any], lib: Library, high: int) -> Json:
    """An alert as a DetectedIssue; `high` is the grade from which its severity is high."""
    told = alert_log.text_of(alert, lib)
    said: Json = {
        "resourceType": "DetectedIssue", "id": f"alert-{alert['id']}",
        "status": "preliminary" if alert["closed"] is None and alert["dismissed"] is None else "final",
        "code": concept(ALERT, alert["kind"], str(alert["kind"])),
        "patient": {"reference": f"Patient/{alert['patient_id']}"},
        "identifiedDateTime": written(alert["raised"]),
        "author": {"reference": f"Device/{DEVICE}"},
        "detail": told,
    }  # fmt: skip
    if alert["grade"] is not None:
        said["severity"] = "high" if alert["grade"] >= high else "moderate"
    for what, who in (("acknowledged", "acknowledged_by"), ("dismissed", "dismissed_by")):
        if alert[what] is not None:
            reason = f": {alert['reason']}" if what == "dismissed" and alert["reason"] else ""
            said.setdefault("mitigation", []).append({
                "action": {"text": f"{what} by {alert[who]}{reason}"}, "date": written(alert[what]),
            })  # fmt: skip
    return said


def flag(who: str, ref: str, each: Standing, lib: Library) -> Json | None:
    """A standing answer as a Flag, where somebody has to know of it; None where nothing is proven or open."""
    if not each.grade and not each.proven:
        return None
    scale = lib.scale(each.scale)
    text = f"{scale.title}: grade {each.grade}"
    if each.proven > each.grade:
        text = f"{scale.title}: was {each.proven}, not measured since"
    kind = {
        "system": "http://terminology.hl7.org/CodeSystem/flag-category",
        "code": "clinical",
        "display": "Clinical",
    }
    return {
        "resourceType": "Flag", "id": f"{fhir_ref(ref)}-{each.scale}", "status": "active",
        "category": [{"coding": [kind]}],
        "code": concept(SCALE, each.scale, text, version=each.definition),
        "subject": {"reference": f"Patient/{who}"},
        "period": {"start": written(each.start)},
        "author": {"reference": f"Device/{DEVICE}"},
    }  # fmt: skip


def device(scales: Mapping[str, str]) -> Json:
    """This program as a Device: its version, and the definitions it grades by."""
    return {
        "resourceType": "Device", "id": DEVICE, "status": "active",
        "deviceName": [{"name": "Tocsin", "type": "model-name"}],
        "version": [
            {"type": {"text": "program"}, "value": version("tocsin")},
            *({"type": {"text": name}, "value": found} for name, found in scales.items()),
        ],
    }  # fmt: skip


def outcome(*issues: Mapping[str, Any]) -> Json:
    """An OperationOutcome; each issue is `{why, fix, code, severity}`."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": each.get("severity", "error"),
                "code": each.get("code", "processing"),
                "diagnostics": each["why"] + (f"; fix: {each['fix']}" if each.get("fix") else ""),
            }
            for each in issues
        ],
    }  # fmt: skip


def _part(code: str, text: str, value: Json) -> Json:
    return {"code": concept(PART, code, text), **value}


def _derived(fact: Mapping[str, Any], lib: Library) -> Json:
    """What a grade rests on: a resource that was sent, or where the fact came from, in words."""
    source = str(fact["source"])
    value = "" if fact.get("value") is None else f" {fact['value']:g} {fact.get('unit') or ''}".rstrip()
    word = f" {fact['text']}" if fact.get("text") else ""
    measure = lib.measures[fact["measure"]].title if fact["measure"] in lib.measures else fact["measure"]
    told = f"{measure}{value}{word}, {fact['time']:%Y-%m-%dT%H:%MZ}"
    kind = source.split("/", 1)[0]
    if "/" in source and kind in DERIVED:
        return {"reference": source, "display": told}
    return {"identifier": {"system": SOURCE, "value": source}, "display": told}
