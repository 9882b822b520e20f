"""What every page does first: whose page it is, who may see it, and the note of it in the audit log."""

from __future__ import annotations

import threading
from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from tocsin.watch import audit
from tocsin.watch.auth import only_own
from tocsin.watch.pages_look import page
from tocsin.watch.roles import Actor

#: A page that keeps itself fresh is one reading, not one every few seconds.
ONE_READING = 5 * 60 * 1_000_000
MOST = 10_000
_lock = threading.Lock()
_read: dict[tuple[str, str, str], int] = {}

PROBLEMS = {
    400: ("This could not be read", "The form came incomplete. Go back, reload the page and send it again."),
    401: ("Please sign in", "Your sign-in has ended."),
    403: ("Not yours to see", "Your role does not include this page. Ask whoever manages the accounts."),
    404: ("Nothing here", "The address is wrong, or what was here is no longer watched."),
    405: ("Nothing here", "This address is not opened this way."),
    413: ("Too large", "What was sent is larger than this service takes. Send it in parts."),
    422: ("This could not be read", "A field has a value that makes no sense. Go back and check."),
    429: ("Too many tries", "Wait a minute, then try again."),
    500: ("Something failed here", "The service logged it. What was stored before is safe."),
    503: ("The store does not answer", "Nothing can be saved now. Chart on paper; tell whoever runs this."),
}  # fmt: skip


def person(request: Request, ref: str, actor: Actor, part: str = "page") -> str:
    """The patient an address means, noted as read. 404 for nobody, and for one not this reader's to see."""
    store = request.app.state.service.store
    patient_id = store.patient_of(ref)
    if patient_id is None:
        raise HTTPException(404)
    only_own(actor, patient_id)
    noted(request, actor, "patient:read", ref, part)
    return str(patient_id)


def noted(request: Request, actor: Actor, action: str, ref: str | None, part: str) -> None:
    """Write a reading to the audit log, unless the same reader read the same just now."""
    store = request.app.state.service.store
    now, key = store.clock.now(), (f"{id(store)} {actor.name}", ref or "", f"{action} {part}")
    with _lock:
        if now - _read.get(key, -ONE_READING) < ONE_READING:
            return
        if len(_read) >= MOST:
            _read.clear()
        _read[key] = now
    with store.writing() as con:
        audit.note(con, store.clock, actor, action, patient=ref, detail={"part": part})


def part_or_page(request: Request, name: str, title: str, **context: Any) -> HTMLResponse:
    """A part of a page for the script that asked for it; a page of its own for a reader without script."""
    if request.headers.get("x-part"):
        return page(request, name, **context)
    return page(request, "part.html", part=name, title=title, **context)


def back(request: Request, to: str) -> Response:
    """After a form: the script stays where it is, a reader goes on to `to`, an address of this service."""
    if request.headers.get("x-part"):
        return Response(status_code=204)
    safe = to.startswith("/") and not to.startswith(("//", "/\\")) and "\n" not in to and "\r" not in to
    return RedirectResponse(to if safe else "/", status_code=303)


def wants_page(request: Request) -> bool:
    """Whether a person looks, not a program."""
    return "text/html" in request.headers.get("accept", "") and not request.headers.get("authorization")


def error_page(request: Request, status: int) -> HTMLResponse:
    """A page that says what to do and nothing about anybody."""
    title, text = PROBLEMS.get(status, PROBLEMS[500] if status >= 500 else PROBLEMS[400])
    return page(request, "error.html", status=status, title=title, text=text)
