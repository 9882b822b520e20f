"""The ward board and the alerts as pages: who is getting worse, why, and what is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, Response

from tocsin.watch import alert_log, audit, remembered
from tocsin.watch import auth as doors
from tocsin.watch.board import Board
from tocsin.watch.clock import DAY, HOUR, MINUTE, moment_of
from tocsin.watch.pages_look import ROLES, known, page
from tocsin.watch.pages_reads import back, noted, part_or_page, person
from tocsin.watch.roles import Actor, may
from tocsin.watch.schema import alerts as alert_rows
from tocsin.watch.schema import patients, settings

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(doors.permitted("patients:read"))]
Doer = Annotated[Actor, Depends(doors.permitted("alerts:act"))]
Anybody = Annotated[Actor, Depends(doors.actor)]
Reporter = Annotated[Actor, Depends(doors.permitted("report:read"))]

ASKED = "asked:"
#: How long "Ask for vitals" stays said on the board.
ASKED_FOR = 2 * HOUR
SNOOZES = {"15": "15 min", "30": "30 min", "60": "1 h", "120": "2 h", "240": "4 h"}
REASONS = (
    "not CRS",
    "measured, not yet charted",
    "wrong value charted",
    "already being treated",
    "test not needed",
)


def charting(actor: Annotated[Actor, Depends(doors.permitted("facts:write"))]) -> Actor:
    """Somebody who charts by hand: a device only sends, and is shown no page."""
    if not may(actor, "patients:read"):
        raise HTTPException(403)
    return actor


Writer = Annotated[Actor, Depends(charting)]


@router.get("/", response_class=HTMLResponse)
def ward(
    request: Request, actor: Anybody, scale: str = "", ward: str = "", role: str = "", q: str = ""
) -> HTMLResponse:
    """The ward; for who may see no patient, what there is instead."""
    if not may(actor, "patients:read"):
        return page(request, "no-patients.html")
    context = shown(request, actor, scale, ward, role, q)
    return page(request, "ward.html", **context)


@router.get("/rows", response_class=HTMLResponse)
def rows(
    request: Request, actor: Reader, scale: str = "", ward: str = "", role: str = "", q: str = ""
) -> HTMLResponse:
    """The rows alone, for a page that keeps itself fresh."""
    return page(request, "rows.html", **shown(request, actor, scale, ward, role, q))


def shown(request: Request, actor: Actor, scale: str, ward: str, role: str, q: str) -> dict[str, Any]:
    """Everything the board's template needs."""
    service = request.app.state.service
    scale = scale if scale in service.scales else service.scales[0]
    role = role if role in ROLES else ""
    board: Board = own(service.board(scale, ward=ward or None, q=q), service, actor)
    noted(request, actor, "ward:read", None, ward or "all")
    with service.store.reading() as con:
        mine = frozenset(each["id"] for each in seen_by(con, service, actor, role))
        asked = asked_of(con, board.now)
    tz = known(request)["tz"]
    query = "&".join(f"{name}={value}" for name, value in request.query_params.items() if value)
    return {
        "board": board, "mine": mine, "asked": asked, "q": q, "ward": ward,
        "role": role, "roles": ROLES, "scales": titles(service),
        "may_act": may(actor, "alerts:act"), "may_ask": may(actor, "facts:write"),
        "clock_text": f"{moment_of(board.now).astimezone(tz):%H:%M:%S}",
        "as_of_text": f"{moment_of(board.as_of).astimezone(tz):%H:%M:%S}" if board.as_of else "never",
        "back": f"/?{query}" if query else "/",
    }  # fmt: skip


def own(board: Board, service: Any, actor: Actor) -> Board:
    """The board as a reader may see it: whoever is held to one patient sees that one, and counts no other."""
    if actor.patient_id is None:
        return board
    person = service.people.person(actor.patient_id)
    rows = tuple(row for row in board.rows if row.patient_id == person)
    unmeasured = sum(row.state in ("unmeasured", "lapsed") for row in rows)
    return replace(
        board, rows=rows, watched=len(rows), needing=sum(row.needs for row in rows), unmeasured=unmeasured,
        wards=(), hidden=0,
    )  # fmt: skip


def titles(service: Any) -> list[tuple[str, str]]:
    """The scales that are watched, and how each is called in a menu."""
    return [(name, short(service.lib.scale(name).title)) for name in service.scales]


def short(title: str) -> str:
    """A scale's title without what every scale's says.

    >>> short("ASTCT 2019 consensus grading of CRS")
    'ASTCT 2019, CRS'
    """
    for words in (" consensus grading of ", " grading of ", " grading for "):
        title = title.replace(words, ", ")
    return title


def seen_by(con: sa.Connection, service: Any, actor: Actor, role: str = "") -> list[dict[str, Any]]:
    """Open alerts that this reader is shown; with `role`, those routed to it."""
    found: list[dict[str, Any]] = alert_log.open_alerts(
        con,
        service.clock.now(),
        role=role or None,
        shadow=may(actor, "shadow:read"),
        patient_id=actor.patient_id,
    )
    return found


def asked_of(con: sa.Connection, now: int) -> dict[str, int]:
    """Patients (by ref) whose vital signs were asked for lately, and when."""
    query = sa.select(settings.c.name, settings.c.value).where(settings.c.name.startswith(ASKED))
    times = {name.removeprefix(ASKED): int(value) for name, value in con.execute(query)}
    return {ref: at for ref, at in times.items() if now - at < ASKED_FOR}


@router.post("/patient/{ref}/ask")
def ask(
    request: Request,
    ref: str,
    actor: Writer,
    back_to: Annotated[str, Form(alias="back")] = "/",
) -> Response:
    """Ask for vital signs: said on every board until they come, or for two hours."""
    service = request.app.state.service
    person(request, ref, actor, "ask")
    now = service.clock.now()
    with service.store.writing() as con:
        remembered.say(con, ASKED + ref, str(now))
        audit.note(con, service.clock, actor, "vitals:ask", patient=ref)
    service.hub.publish("alert", {"ref": ref})
    return back(request, back_to)


@router.post("/patient/{ref}/acknowledge")
def acknowledge_shown(
    request: Request,
    ref: str,
    actor: Doer,
    alert: Annotated[list[int] | None, Form()] = None,
    back_to: Annotated[str, Form(alias="back")] = "/",
) -> Response:
    """Acknowledge the alerts that were on the screen; one that came meanwhile stays."""
    service = request.app.state.service
    patient_id = service.people.person(person(request, ref, actor, "acknowledge"))
    with service.store.writing() as con:
        for number in alert or []:
            if owner(con, number, actor) == patient_id:
                alert_log.acknowledge(con, service.clock, number, actor)
    service.hub.publish("alert", {"ref": ref})
    return back(request, back_to)


def owner(con: sa.Connection, number: int, actor: Actor) -> str:
    """Whose alert this is; 404 where there is none that this reader is shown."""
    if not 0 < number < 2**63:
        raise HTTPException(404)
    query = sa.select(alert_rows.c.patient_id, alert_rows.c.shadow).where(alert_rows.c.id == number)
    found = con.execute(query).first()
    if found is None or (found.shadow and not may(actor, "shadow:read")):
        raise HTTPException(404)
    return str(found.patient_id)


@router.get("/alerts-page", response_class=HTMLResponse)
def alerts_page(request: Request, actor: Anybody, role: str = "") -> HTMLResponse:
    """Open alerts and the report of the last week."""
    if not (may(actor, "patients:read") or may(actor, "report:read")):
        raise HTTPException(403)
    return page(request, "alerts.html", **listed(request, actor, role))


@router.get("/alerts-list", response_class=HTMLResponse)
def alerts_list(request: Request, actor: Reader, role: str = "") -> HTMLResponse:
    """The open alerts alone."""
    return part_or_page(request, "alert-list.html", "Alerts", **listed(request, actor, role))


def listed(request: Request, actor: Actor, role: str, errors: dict[str, str] | None = None) -> dict[str, Any]:
    """What the alerts page shows, with what was wrong in a form just sent."""
    service = request.app.state.service
    now = service.clock.now()
    role = role if role in ROLES else ""
    reading = may(actor, "patients:read")
    with service.store.reading() as con:
        rows = seen_by(con, service, actor, role) if reading else []
        people = {
            row.patient_id: row
            for row in con.execute(
                sa.select(patients).where(patients.c.patient_id.in_({row["patient_id"] for row in rows}))
            )
        }
        report = None
        if may(actor, "report:read"):
            report = alert_log.report(con, now - 7 * DAY, now, patient_days(con, service, now))
    if reading:
        noted(request, actor, "alerts:read", None, role or "all")
    rows.sort(key=weight)
    return {
        "alerts": [line(row, people, service) for row in rows], "report": report, "role": role,
        "roles": ROLES, "may_act": may(actor, "alerts:act"), "actor_reads": reading, "reasons": REASONS,
        "snoozes": SNOOZES, "errors": errors or {},
        "stamp_now": f"{moment_of(now).astimezone(known(request)['tz']):%H:%M:%S}",
    }  # fmt: skip


def weight(row: dict[str, Any]) -> tuple[bool, int, int, int]:
    """What nobody acknowledged first, then the highest grade, then the widest gap, then the oldest."""
    grade, up_to = row["grade"] or 0, row["up_to"] or 0
    return row["acknowledged"] is not None, -grade, grade - up_to, row["raised"]


def line(row: dict[str, Any], people: dict[str, Any], service: Any) -> dict[str, Any]:
    """One open alert as the page shows it."""
    who = people.get(row["patient_id"])
    return {
        **row,
        "text": row.get("text") or alert_log.text_of(row, service.lib),
        "ref": who.ref if who else "",
        "bed": (who.bed if who else "") or "?",
    }


def patient_days(con: sa.Connection, service: Any, now: int, days: int = 7) -> float:
    """How many days patients were watched in the last `days`, all together."""
    since, total = now - days * DAY, 0
    query = sa.select(patients.c.created, patients.c.discharged).where(patients.c.merged_into.is_(None))
    for created, discharged in con.execute(query):
        total += max(0, min(discharged or now, now) - max(created, since))
    return total / DAY


@router.post("/alert/{number}/acknowledge")
def acknowledge(request: Request, number: int, actor: Doer) -> Response:
    """Seen: somebody takes care of it."""
    act(request, number, actor, "acknowledge")
    return back(request, "/alerts-page")


@router.post("/alert/{number}/dismiss")
def dismiss(
    request: Request,
    number: int,
    actor: Doer,
    reason: Annotated[str, Form()] = "",
    other: Annotated[str, Form()] = "",
) -> Response:
    """Dismissed, with the reason: what is dismissed often is an alert to mend."""
    said = " ".join((other.strip() or reason.strip()).split())
    if not said or len(said) > 500:
        wrong = "choose a reason, or write one" if not said else "at most 500 characters"
        problem = {f"dismiss-{number}": f"Not dismissed: {wrong}."}
        return page(request, "alerts.html", status=422, **listed(request, actor, "", problem))
    act(request, number, actor, "dismiss", said)
    return back(request, "/alerts-page")


@router.post("/alert/{number}/snooze")
def snooze(request: Request, number: int, actor: Doer, minutes: Annotated[str, Form()] = "") -> Response:
    """Quiet until a time; then it is there again."""
    if minutes not in SNOOZES:
        problem = {f"snooze-{number}": f"Not snoozed: choose one of {', '.join(SNOOZES.values())}."}
        return page(request, "alerts.html", status=422, **listed(request, actor, "", problem))
    until = request.app.state.service.clock.now() + int(minutes) * MINUTE
    act(request, number, actor, "snooze", until)
    return back(request, "/alerts-page")


def act(request: Request, number: int, actor: Actor, what: str, *more: Any) -> None:
    """Do one thing to an alert that this reader may see."""
    service = request.app.state.service
    with service.store.writing() as con:
        patient_id = owner(con, number, actor)
        doors.only_own(actor, patient_id)
        getattr(alert_log, what)(con, service.clock, number, actor, *more)
    service.hub.publish("alert", {"ref": service.store.ref_of(patient_id)})


@router.get("/report.csv")
def report(request: Request, actor: Reporter, days: Annotated[int, Query(ge=1, le=366)] = 7) -> Response:
    """The report of alerts as a table; a cell never begins a formula."""
    service = request.app.state.service
    now = service.clock.now()
    with service.store.reading() as con:
        told = alert_log.report(con, now - days * DAY, now, patient_days(con, service, now, days))
    lines = ["what,value", *(f"{cell(name)},{cell(value)}" for name, value in flat(told))]
    return Response("\r\n".join(lines) + "\r\n", media_type="text/csv; charset=utf-8")


def flat(told: Any, before: str = "") -> list[tuple[str, Any]]:
    """A report's numbers with the path to each."""
    if isinstance(told, dict):
        return [pair for name, value in told.items() for pair in flat(value, f"{before} {name}".strip())]
    if isinstance(told, (list, tuple)):
        return [pair for i, value in enumerate(told, 1) for pair in flat(value, f"{before} {i}")]
    return [(before, told)]


def cell(value: Any) -> str:
    """A value as a cell of CSV that no spreadsheet runs.

    >>> print(cell("=1+1"), cell(-2.5), cell(None))
    "'=1+1" -2.5
    """
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    text = str(value)
    if text[:1] in ("=", "+", "-", "@", "\t", "\r"):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"'
