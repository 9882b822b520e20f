"""The doors for programs: facts in, answers out, and the stream of what happens; described by OpenAPI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as AnyHTTPException

from tocsin.definitions.schema import TocsinError
from tocsin.episodes import episodes
from tocsin.facts.columns import FactsError
from tocsin.watch import auth as doors
from tocsin.watch import intake
from tocsin.watch.clock import moment_of
from tocsin.watch.pages_advice import concealed
from tocsin.watch.pages_reads import noted, person
from tocsin.watch.people import DETAILS
from tocsin.watch.roles import Actor, may

router = APIRouter()
Reader = Annotated[Actor, Depends(doors.permitted("patients:read"))]
Sender = Annotated[Actor, Depends(doors.permitted("facts:write"))]
Moment = Annotated[
    str | None, Query(description="what was known then: ISO 8601 with an offset", max_length=40)
]
Ref = str

KINDS = {"application/json": "json", "application/x-ndjson": "jsonl", "text/csv": "csv"}
EXAMPLE = (
    '[{"patient_id": "p1", "time": "2026-03-01T14:30Z", "measure": "temperature", '
    '"value": 38.6, "unit": "Cel"}]'
)
#: Seconds between looks at whether a listener may still listen.
RECHECK = 30.0


class Rejected(BaseModel):
    """A row that was not taken."""

    row: int | None = Field(description="its number, from 1; in CSV the line")
    why: str
    fix: str


class Kept(Rejected):
    """A row that was taken, but not as written."""

    kind: str


class Stored(BaseModel):
    """What became of the facts sent."""

    stored: int
    duplicates: int = Field(description="stored before, word for word")
    rejected: list[Rejected]
    kept: list[Kept] = Field(description="taken, but not as written: a rate whose dose cannot be known")


class Problem(BaseModel):
    """Why a request was not answered, and the fix."""

    why: str
    fix: str


def answered(content: Any, status: int = 200, **headers: str) -> Response:
    """JSON with times in UTC."""
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    return Response(body, status_code=status, media_type="application/json", headers=headers)


def problem(status: int, why: str, fix: str, **headers: str) -> Response:
    """A refusal with the fix."""
    return answered({"why": why, "fix": fix}, status, **headers)


def refused(error: TocsinError, status: int = 422) -> Response:
    """A refusal from what an error says."""
    first, *rest = str(error).splitlines()
    fix = next((line.split("fix:", 1)[1].strip() for line in rest if "fix:" in line), "see /docs")
    return problem(status, first, fix)


def moment(text: str | None) -> int | None:
    """An `as_of` in microseconds; 422 where it is no moment."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))
        if found.tzinfo is not None and 1900 < found.year < 2200:
            return round(found.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        pass
    raise HTTPException(422, "a moment is written in ISO 8601 with an offset, as 2026-03-01T14:30Z")


@router.post(
    "/facts",
    response_model=Stored,
    responses={422: {"model": Stored, "description": "no row could be taken"}, 503: {"model": Problem}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [{"type": "object"}, {"type": "array"}]},
                    "example": EXAMPLE,
                },
                "application/x-ndjson": {"schema": {"type": "string"}},
                "text/csv": {"schema": {"type": "string"}},
            },
        }
    },
)
async def send(request: Request, actor: Sender) -> Response:
    """Facts: one JSON object, an array of them, JSON lines or CSV. Answered once durable and graded."""
    kind = KINDS.get(request.headers.get("content-type", "").split(";")[0].strip().lower())
    if kind is None:
        return problem(415, "the type of the body is not one that is read", f"send one of {', '.join(KINDS)}")
    body = await request.body()
    return await run_in_threadpool(_take, request.app.state.service, body, kind, actor)


def _take(service: Any, body: bytes, kind: str, actor: Actor) -> Response:
    try:
        if kind == "json":
            batches, bad = intake.batches_of(orjson.loads(body))
        else:
            batches, bad = intake.batches_of_text(body, kind)
        receipt = service.take(batches, bad, actor)
    except orjson.JSONDecodeError as error:
        return problem(422, f"the body is no JSON: {error.msg} at character {error.pos}", f"as {EXAMPLE}")
    except FactsError as error:
        return refused(error)
    told = {
        "stored": receipt.stored, "duplicates": receipt.duplicates, "rejected": list(receipt.rejected),
        "kept": list(receipt.kept),
    }  # fmt: skip
    none = receipt.rejected and not receipt.stored and not receipt.duplicates
    return answered(told, 422 if none else 200)


@router.get("/patients")
def listed(
    request: Request,
    actor: Reader,
    ward: Annotated[str, Query(max_length=60)] = "",
    after: Annotated[str, Query(max_length=22, description="the last `ref` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Response:
    """Everybody watched and where each stands, in order of `ref`."""
    service = request.app.state.service
    noted(request, actor, "patients:read", None, "list")
    everybody = sorted(service.people.watched(), key=lambda each: each.ref)
    if actor.patient_id is not None:
        own = service.people.person(actor.patient_id)
        everybody = [each for each in everybody if each.patient_id == own]
    mine = [each for each in everybody if each.ref > after and (not ward or each.ward == ward)]
    return answered({"patients": [whole(service, each) for each in mine[:limit]], "more": len(mine) > limit})


def whole(service: Any, who: Any) -> dict[str, Any]:
    """One patient with details and standing."""
    return {
        "ref": who.ref, "patient_id": who.patient_id, **{name: getattr(who, name) for name in DETAILS},
        "discharged": None if who.discharged is None else moment_of(who.discharged),
        "grades": {scale: said(each) for scale, each in service.standing(who.patient_id).items()},
    }  # fmt: skip


def said(each: Any) -> dict[str, Any]:
    """A standing answer as JSON."""
    return {
        "grade": each.grade, "up_to": each.up_to, "ambiguous": each.ambiguous, "since": moment_of(each.start),
        "at": moment_of(each.now), "because": each.because, "waiting_for": each.waiting_for,
        "judgement": each.judgement, "flags": each.flags, "proven": each.proven,
        "lapsed_at": None if each.proven_at is None else moment_of(each.proven_at),
        "definition": each.definition,
    }  # fmt: skip


@router.get("/patients/{ref}")
def patient(request: Request, ref: Ref, actor: Reader) -> Response:
    """One patient: details, and where the person stands."""
    service = request.app.state.service
    return answered(whole(service, service.people.of[known_person(request, ref, actor, "details")]))


def known_person(request: Request, ref: str, actor: Actor, part: str) -> str:
    """The patient an address means, noted as read; 404 for one that is not this reader's to see."""
    patient_id = person(request, ref, actor, part)
    request.app.state.service.people.admit([patient_id])
    return patient_id


def _about(request: Request, as_of: int | None) -> dict[str, Any]:
    """What every answer says: known when, and by which definitions, approved or not."""
    service = request.app.state.service
    approved = service.approved()
    hashes = {name: service.lib.scale(name).hash for name in service.scales}
    return {
        "as_of": moment_of(service.clock.now() if as_of is None else as_of),
        "definitions": hashes,
        "approved": {name: approved(found) for name, found in hashes.items()},
    }


@router.get("/patients/{ref}/grades")
def grades(
    request: Request, ref: Ref, actor: Reader,
    scale: Annotated[list[str] | None, Query(max_length=10)] = None, as_of: Moment = None,
) -> Response:  # fmt: skip
    """Grades over time, as `tocsin grade` gives them, from what was known at `as_of` (none: now)."""
    service, when = request.app.state.service, moment(as_of)
    unknown = [name for name in scale or () if name not in service.lib.scales]
    if unknown:
        raise HTTPException(422, f"no scale is called so; there are {', '.join(service.lib.scales)}")
    table = service.grades_of(known_person(request, ref, actor, "grades"), scale or None, when)
    return answered({**_about(request, when), "intervals": table.to_pylist()})


@router.get("/patients/{ref}/facts")
def facts(request: Request, ref: Ref, actor: Reader, as_of: Moment = None) -> Response:
    """The canonical facts known at `as_of` (none: now), corrections done."""
    when = moment(as_of)
    table = request.app.state.service.facts_of(known_person(request, ref, actor, "facts"), when)
    return answered({**_about(request, when), "facts": table.to_pylist()})


@router.get("/patients/{ref}/episodes")
def spells(request: Request, ref: Ref, actor: Reader, as_of: Moment = None) -> Response:
    """Episodes under every scale watched."""
    service, when = request.app.state.service, moment(as_of)
    patient_id = known_person(request, ref, actor, "episodes")
    known = moment_of(service.clock.now() if when is None else when)
    table = service.grades_of(patient_id, None, when)
    told = []
    if table.num_rows:
        told = episodes(table, service.facts_of(patient_id, when), lib=service.lib, as_of=known).to_pylist()
    return answered({**_about(request, when), "episodes": told})


@router.get("/patients/{ref}/advice")
def advice(request: Request, ref: Ref, actor: Reader, as_of: Moment = None) -> Response:
    """What guidelines, label and record ask for; amounts only where a named clinician approved the rule."""
    service, when = request.app.state.service, moment(as_of)
    answer = service.advice_of(known_person(request, ref, actor, "advice"), when)
    if answer and not service.settings.demo:
        answer = concealed(answer, service.approved())
    return answered({**_about(request, when), "advice": answer or None})


@router.get(
    "/events", responses={200: {"content": {"text/event-stream": {}}}}, response_class=StreamingResponse
)
async def events(
    request: Request, actor: Reader, last_event_id: Annotated[str | None, Header(max_length=60)] = None
) -> Response:
    """What happens, as it happens. An event says whose page changed (`ref`) and never a value; after a break
    the browser names the last one it heard and gets what it missed, or `reset`: ask for everything again."""
    return StreamingResponse(_stream(request, actor, last_event_id), media_type="text/event-stream")


async def _stream(request: Request, actor: Actor, last: str | None) -> AsyncIterator[str]:
    service = request.app.state.service
    own = service.store.ref_of(service.people.person(actor.patient_id)) if actor.patient_id else None
    clock = orjson.dumps({"now": service.clock.now(), "speed": service.clock.speed}).decode()
    yield f"retry: 2000\nevent: clock\ndata: {clock}\n\n"
    loop = asyncio.get_running_loop()
    looked = loop.time()
    async for events in service.hub.listen(last, shadow=may(actor, "shadow:read")):
        if loop.time() - looked > RECHECK:
            looked = loop.time()
            try:
                await doors.actor(request)
            except AnyHTTPException:  # revoked, expired or signed out meanwhile
                return
        if not events:
            yield ": beat\n\n"
            continue
        mine = [
            event.text()
            for event in events
            if actor.patient_id is None or event.kind == "reset" or event.data.get("ref") == own
        ]
        if mine:
            yield "".join(mine)


@router.get("/health", responses={503: {"description": "it cannot store, or cannot read"}})
def health(request: Request) -> JSONResponse:
    """Whether facts can be stored: 503 where they cannot."""
    service = request.app.state.service
    found = service.probe()
    told = "ok" if found.well else "cannot store" if not found.storing else "cannot read"
    return JSONResponse(
        {"status": told, "loading": found.loading, "demo": service.settings.demo},
        status_code=200 if found.well else 503,
    )
