"""The FHIR R4 door: resources in, grades, alerts and flags out. All but `metadata` asks for a token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from tocsin.grading.live import micros
from tocsin.grading.why import why
from tocsin.watch import auth as doors
from tocsin.watch import fhir_kept, fhir_out, fhir_patients, fhir_says, fhir_send
from tocsin.watch.board_pages import seen_by
from tocsin.watch.clock import moment_of
from tocsin.watch.fhir_in import ID, KINDS, FhirError
from tocsin.watch.fhir_says import FHIR, base_of, told
from tocsin.watch.fhir_search import Asked, asked, bundle, matching
from tocsin.watch.pages_reads import noted
from tocsin.watch.roles import Actor, may

Json = dict[str, Any]
router = APIRouter(prefix="/fhir", include_in_schema=False)
Reader = Annotated[Actor, Depends(doors.permitted("patients:read"))]
Sender = Annotated[Actor, Depends(doors.permitted("facts:write"))]
TYPES = (FHIR, "application/json", "application/json+fhir", "text/json")
SEARCHED = ("Observation", "DetectedIssue", "Flag", "Patient")


@router.get("/metadata")
def metadata(request: Request) -> Response:
    """What this door can do."""
    return told(fhir_says.capability(base_of(request), smart=request.app.state.cds is not None))


@router.post("")
@router.post("/")
async def send(request: Request, actor: Sender) -> Response:
    """A Bundle (transaction: all of it or nothing; batch: each entry for itself), or one resource."""
    return await run_in_threadpool(fhir_send.send, request, actor, await _body(request))


@router.post("/{kind}")
async def create(request: Request, kind: str, actor: Sender) -> Response:
    """One resource; its id is given here."""
    return await run_in_threadpool(fhir_send.one, request, actor, await _body(request), kind, "")


@router.post("/{kind}/_search")
async def search_by_form(request: Request, kind: str, actor: Reader) -> Response:
    """A search whose parameters stand in the body and not in the address."""
    body = (await request.body()).decode("utf-8", "replace")
    pairs = [*request.query_params.multi_items(), *parse_qsl(body, keep_blank_values=True)]
    return await run_in_threadpool(_search, request, actor, kind, pairs)


@router.put("/{kind}/{id}")
async def update(request: Request, kind: str, id: str, actor: Sender) -> Response:
    """One resource under the sender's id; another content is its next version."""
    return await run_in_threadpool(fhir_send.one, request, actor, await _body(request), kind, id)


@router.get("/{kind}")
def search(request: Request, kind: str, actor: Reader) -> Response:
    """Resources by parameters, page by page."""
    return _search(request, actor, kind, request.query_params.multi_items())


@router.get("/{kind}/{id}")
def read(request: Request, kind: str, id: str, actor: Reader) -> Response:
    """One resource."""
    return _read(request, actor, kind, id, None)


@router.get("/{kind}/{id}/_history/{number}")
def vread(request: Request, kind: str, id: str, number: str, actor: Reader) -> Response:
    """One version of a resource."""
    if not re.fullmatch(r"[1-9]\d{0,8}", number):
        raise HTTPException(404)
    return _read(request, actor, kind, id, int(number))


async def _body(request: Request) -> Any:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in TYPES:
        raise FhirError(f"the body is not read as `{kind[:60]}`\n  fix: send {FHIR}", "not-supported", 415)
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise FhirError(f"the body is no JSON: {error.msg} at character {error.pos}", "structure") from None


# --- out --------------------------------------------------------------------------------------------------


def _person(request: Request, actor: Actor, id: str) -> str | None:
    """The patient of an id (the sender's, or made of a `ref`), noted as read; None for nobody, and for whom
    this reader may not see."""
    people = request.app.state.service.people
    people.admit([id]) if id not in people.by_ref else None
    found = people.of.get(id) or people.by_ref.get(id.replace(".", "_"))
    if found is None or (actor.patient_id is not None and found.patient_id != actor.patient_id):
        return None
    noted(request, actor, "patient:read", found.ref, "fhir")
    return str(found.patient_id)


def _read(request: Request, actor: Actor, kind: str, id: str, number: int | None) -> Response:
    service = request.app.state.service
    if not ID.fullmatch(id):
        raise HTTPException(404)
    if kind == "Device" and id == fhir_out.DEVICE and number in (None, 1):
        return told(fhir_out.device({name: service.lib.scale(name).hash for name in service.scales}))
    found: Json | None = None
    if kind == "Patient" and number in (None, 1) and (who := _person(request, actor, id)) is not None:
        found = fhir_patients.patient(service.people.of[who])
    elif kind == "Observation" and (named := fhir_out.grade_of(id)) is not None and number in (None, 1):
        found = _grade(request, actor, *named)
    elif kind in ("DetectedIssue", "Flag") and number in (None, 1):
        found = next((each for each in _open(request, actor, kind) if each["id"] == id), None)
    elif kind in KINDS:
        found = _as_sent(request, actor, kind, id, number)
    if found is None:
        raise HTTPException(404)
    version_ = found.get("meta", {}).get("versionId", "1")
    return told(found, 200, ETag=f'W/"{version_}"')


def _as_sent(request: Request, actor: Actor, kind: str, id: str, number: int | None) -> Json | None:
    with request.app.state.service.store.reading() as con:
        row = fhir_kept.version(con, kind, id, number)
    if row is None or (row.patient_id is not None and _person(request, actor, row.patient_id) is None):
        return None
    return fhir_says.as_sent(row)


def _grade(request: Request, actor: Actor, ref: str, start: int, scale: str) -> Json | None:
    """One grade by its id."""
    service = request.app.state.service
    patient_id = service.store.patient_of(ref)
    if patient_id is None or scale not in service.lib.scales or _person(request, actor, patient_id) is None:
        return None
    person = service.people.person(patient_id)
    now = service.clock.now()
    for row in service.grades_of(person, [scale], now).to_pylist():
        if micros(row["start"]) == start:
            return _whole(service, fhir_out.grade(row, ref, service.lib, now), now)
    return None


def _whole(service: Any, said: Json, known: int) -> Json:
    """A grade with what it is derived from; other resources as they are."""
    named = fhir_out.grade_of(said["id"]) if said["resourceType"] == "Observation" else None
    if named is None or not said.get("valueInteger"):
        return said
    ref, start, scale = named
    person = service.people.person(service.store.patient_of(ref))
    behind = why(service.facts_of(person, known), scale, person, moment_of(start), service.lib)
    return fhir_out.derived(said, behind, service.lib)


def _search(request: Request, actor: Actor, kind: str, pairs: Sequence[tuple[str, str]]) -> Response:
    service = request.app.state.service
    if kind not in SEARCHED:
        known = ", ".join(SEARCHED)
        raise FhirError(f"{kind[:60]} cannot be searched\n  fix: one of {known}", "not-supported", 404)
    search_ = asked(kind, pairs)
    now = min(service.clock.now(), search_.as_of or 2**62)
    if kind == "Observation":
        found = _observations(request, actor, search_, now)
    elif kind == "Patient":
        found = _patients(request, actor)
    else:
        found = _open(request, actor, kind)
    listed = matching(found, search_)
    return told(bundle(listed, search_, base_of(request), now, lambda each: _whole(service, each, now)))


def _observations(request: Request, actor: Actor, search_: Asked, now: int) -> list[Json]:
    """Grades and the observations that were sent, of the patients asked for."""
    service, wanted = request.app.state.service, search_.patients()
    if wanted is None:
        ids = [each for value in search_.get("_id") for each in value.split(",")]
        if not ids:
            raise FhirError("say of which patient\n  fix: patient=ID", "required")
        read_ = [_by_id(request, actor, id) for id in ids[:100] if ID.fullmatch(id)]
        return [each for each in read_ if each is not None]
    found: list[Json] = []
    for id in dict.fromkeys(wanted[:100]):
        patient_id = _person(request, actor, id)
        if patient_id is None:
            continue
        person = service.people.person(patient_id)
        ref = service.people.of[person].ref
        rows = service.grades_of(person, None, now).to_pylist()
        found += [fhir_out.grade(row, ref, service.lib, now) for row in rows]
        with service.store.reading() as con:
            kept = fhir_kept.of_patients(con, service.people.names(person), "Observation", now)
        found += [fhir_says.as_sent(row) for row in kept]
    return found


def _by_id(request: Request, actor: Actor, id: str) -> Json | None:
    named = fhir_out.grade_of(id)
    return _grade(request, actor, *named) if named else _as_sent(request, actor, "Observation", id, None)


def _patients(request: Request, actor: Actor) -> list[Json]:
    noted(request, actor, "patients:read", None, "fhir")
    service = request.app.state.service
    everybody = service.people.of.values()
    return [
        fhir_patients.patient(each)
        for each in everybody
        if actor.patient_id is None or each.patient_id == actor.patient_id
    ]


def _open(request: Request, actor: Actor, kind: str) -> list[Json]:
    """Alerts or flags this reader may see."""
    service = request.app.state.service
    noted(request, actor, "alerts:read", None, "fhir")
    if kind == "Flag":
        if service.settings.shadow and not may(actor, "shadow:read"):
            return []
        watched = [each for each in service.people.watched() if actor.patient_id in (None, each.patient_id)]
        flags = [
            fhir_out.flag(each.patient_id, each.ref, answer, service.lib)
            for each in watched
            for answer in service.standing(each.patient_id).values()
        ]
        return [each for each in flags if each is not None]
    with service.store.reading() as con:
        rows = seen_by(con, service, actor)
    high = service.sweep.rules.escalate_at_least
    return [fhir_out.issue(row, service.lib, high) for row in rows]
