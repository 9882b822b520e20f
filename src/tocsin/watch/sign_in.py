"""Signing in and out, the first account, and the link of a demonstration."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from tocsin.watch import audit, auth
from tocsin.watch.pages_look import page
from tocsin.watch.roles import Actor

router = APIRouter(include_in_schema=False)
WRONG = "Name or password is wrong."
TIRED = "Too many tries. Wait a quarter of an hour."
DEMO_ACCOUNT = "demo physician"


@router.get("/sign-in", response_class=HTMLResponse)
def sign_in_page(request: Request, to: Annotated[str, Query(alias="next")] = "/") -> HTMLResponse:
    """The page to sign in."""
    return page(request, "sign-in.html", error="", next=local(to))


@router.post("/sign-in", response_class=HTMLResponse)
def sign_in(
    request: Request,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    to: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    """Check name and password; as long and as silent for a name that is not known."""
    service, name = request.app.state.service, name.strip()[:200]
    counted = (f"name {auth.digest(name)}", f"from {request.client.host if request.client else '?'}")
    # counted before it is known: guesses sent at once must not all pass before the first one is counted
    if request.app.state.tries.over(*counted):
        return page(request, "sign-in.html", status=429, error=TIRED, next=local(to))
    with service.store.reading() as con:
        role = auth.check_password(con, name, password)
    if role is None:
        with service.store.writing() as con:
            auth.refused(con, service.clock, name)
        return page(request, "sign-in.html", status=401, error=WRONG, next=local(to))
    request.app.state.tries.forget(counted[0])
    request.app.state.tries.back(counted[1])  # only wrong passwords count: many may share an address
    before = request.cookies.get(auth.cookie_of(request.app.state.secure)["key"])
    with service.store.writing() as con:
        auth.renew_hash(con, name, password)
        if before:
            auth.end_session(con, service.clock, before)
        session = auth.begin_session(con, service.clock, name)
        audit.note(con, service.clock, Actor(name, role), "session:begin")
    return entered(request, session, local(to))


@router.post("/sign-out")
def sign_out(request: Request) -> Response:
    """End the session."""
    kind = auth.cookie_of(request.app.state.secure)
    if secret := request.cookies.get(kind["key"]):
        with request.app.state.service.store.writing() as con:
            auth.end_session(con, request.app.state.service.clock, secret)
    answer = RedirectResponse("/sign-in", status_code=303)
    answer.delete_cookie(**kind)
    return answer


@router.get("/first-run", response_class=HTMLResponse)
def first_run_page(request: Request) -> HTMLResponse:
    """The page that makes the first account."""
    return page(request, "first-run.html", error="")


@router.post("/first-run", response_class=HTMLResponse)
def first_run(
    request: Request,
    code: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
) -> Response:
    """Make the account that the code is for, and sign in."""
    service = request.app.state.service
    if request.app.state.tries.over(f"code from {request.client.host if request.client else '?'}"):
        return page(request, "first-run.html", status=429, error=TIRED)
    try:
        with service.store.writing() as con:
            role = auth.accept(con, service.clock, code[:100], name, password)
            session = auth.begin_session(con, service.clock, name.strip())
            audit.note(con, service.clock, Actor(name.strip(), role), "session:begin")
    except auth.AccountError as error:
        return page(request, "first-run.html", status=422, error=str(error))
    return entered(request, session, "/")


@router.get("/demo")
def demo(request: Request, code: str = "") -> Response:
    """Sign a visitor of a demonstration in, by the link that the terminal printed."""
    service = request.app.state.service
    if not service.settings.demo or not auth.same(code, request.app.state.demo_code):
        raise HTTPException(404)
    with service.store.writing() as con:
        session = auth.begin_session(con, service.clock, auth.demo_account(con, service.clock, DEMO_ACCOUNT))
    return entered(request, session, "/")


def entered(request: Request, session: auth.Session, to: str) -> Response:
    """Into the service, with the session's cookie."""
    answer = RedirectResponse(to, status_code=303)
    answer.set_cookie(value=session.secret, **auth.cookie_of(request.app.state.secure))
    return answer


def local(address: str) -> str:
    """An address of this service, else the ward."""
    return address if address.startswith("/") and not address.startswith(("//", "/\\")) else "/"
