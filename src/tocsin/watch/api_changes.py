"""The doors for programs that change something: who a patient is, merges, discharge, and alerts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from tocsin.definitions.schema import TocsinError
from tocsin.watch import alert_log
from tocsin.watch import auth as doors
from tocsin.watch.api import Reader, Ref, answered, known_person, moment, refused
from tocsin.watch.board_pages import act, seen_by
from tocsin.watch.clock import moment_of
from tocsin.watch.pages_reads import noted
from tocsin.watch.roles import Actor

router = APIRouter()
Editor = Annotated[Actor, Depends(doors.permitted("patients:write"))]
Merger = Annotated[Actor, Depends(doors.permitted("patients:merge"))]
Doer = Annotated[Actor, Depends(doors.permitted("alerts:act"))]


class Details(BaseModel):
    """Who a patient is. Only what is sent changes; null takes a detail away."""

    model_config = ConfigDict(extra="forbid")
    patient_id: str = Field(min_length=1, max_length=200)
    name: str | None = None
    record_number: str | None = None
    birth_date: str | None = None
    sex: str | None = None
    ward: str | None = None
    bed: str | None = None
    language: str | None = None
    time_zone: str | None = None
    team_phone: str | None = None
    allergies: str | None = None


class Into(BaseModel):
    """The record to read another one as."""

    into: str = Field(description="its `ref`")


class Reason(BaseModel):
    """Why an alert is dismissed."""

    reason: str = Field(min_length=1, max_length=500)


class Until(BaseModel):
    """Until when an alert is quiet."""

    until: str = Field(description="ISO 8601 with an offset", max_length=40)


@router.put("/patients")
def put(request: Request, actor: Editor, details: Details) -> Response:
    """Say who a patient is; somebody discharged is taken up again."""
    service = request.app.state.service
    given = details.model_dump(exclude_unset=True)
    doors.only_own(actor, given["patient_id"])
    try:
        ref = service.set_patient(actor, given.pop("patient_id"), **given)
    except TocsinError as error:
        return refused(error)
    return answered({"ref": ref})


@router.get("/patients/{ref}/alerts")
def alerts_of(request: Request, ref: Ref, actor: Reader) -> Response:
    """Open alerts of one patient."""
    patient_id = known_person(request, ref, actor, "alerts")
    return answered({"alerts": [row for row in _alerts(request, actor) if row["patient_id"] == patient_id]})


@router.get("/alerts")
def alerts_now(request: Request, actor: Reader) -> Response:
    """Open alerts."""
    noted(request, actor, "alerts:read", None, "list")
    return answered({"alerts": _alerts(request, actor)})


def _alerts(request: Request, actor: Actor) -> list[dict[str, Any]]:
    service = request.app.state.service
    with service.store.reading() as con:
        rows = seen_by(con, service, actor)
    shown = ("id", "kind", "scale", "grade", "up_to", "before", "role", "shadow", "definition", "reason")
    times = ("raised", "acknowledged", "dismissed", "snoozed_until", "closed")
    return [
        {
            "patient_id": row["patient_id"],
            **{name: row[name] for name in shown},
            **{name: None if row[name] is None else moment_of(row[name]) for name in times},
            "ref": service.store.ref_of(row["patient_id"]),
            "text": alert_log.text_of(row, service.lib),
        }
        for row in rows
    ]


@router.post("/alerts/{number}/acknowledge")
def acknowledge(request: Request, number: int, actor: Doer) -> Response:
    """Seen: somebody takes care of it."""
    return _done(request, number, actor, "acknowledge")


@router.post("/alerts/{number}/dismiss")
def dismiss(request: Request, number: int, actor: Doer, why: Reason) -> Response:
    """Dismissed, with the reason."""
    return _done(request, number, actor, "dismiss", why.reason)


@router.post("/alerts/{number}/snooze")
def snooze(request: Request, number: int, actor: Doer, until: Until) -> Response:
    """Quiet until a time."""
    return _done(request, number, actor, "snooze", moment(until.until))


def _done(request: Request, number: int, actor: Actor, what: str, *more: Any) -> Response:
    if not 0 < number < 2**63:
        raise HTTPException(404)
    try:
        act(request, number, actor, what, *more)
    except TocsinError as error:
        return refused(error)
    return answered({"done": what})


@router.post("/patients/{ref}/merge")
def merge(request: Request, ref: Ref, actor: Merger, into: Into) -> Response:
    """Two records are one person's: this one is read as the other."""
    source, target = (
        known_person(request, ref, actor, "merge"),
        known_person(request, into.into, actor, "merge"),
    )
    return _changed(lambda: request.app.state.service.merge(actor, source, target))


@router.post("/patients/{ref}/unmerge")
def unmerge(request: Request, ref: Ref, actor: Merger) -> Response:
    """Take a merge back."""
    source = known_person(request, ref, actor, "unmerge")
    return _changed(lambda: request.app.state.service.unmerge(actor, source))


@router.post("/patients/{ref}/discharge")
def discharge(request: Request, ref: Ref, actor: Editor) -> Response:
    """End watching a person. Facts stay until retention takes them."""
    who = known_person(request, ref, actor, "discharge")
    return _changed(lambda: request.app.state.service.discharge(actor, who))


def _changed(what: Any) -> Response:
    try:
        what()
    except TocsinError as error:
        return refused(error, 409)
    return answered({"done": True})
