"""The application: every door and page in one place, and what stands before them all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import sqlalchemy as sa
from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from tocsin.watch import (
    api,
    api_changes,
    board_pages,
    cds_hooks,
    fhir_api,
    fhir_out,
    fhir_says,
    launch,
    patient_pages,
    protect,
    sign_in,
    smart,
)
from tocsin.watch.api import problem
from tocsin.watch.cds_trust import Trust
from tocsin.watch.fhir_in import FhirError
from tocsin.watch.hl7 import Listener
from tocsin.watch.home import pages as home_pages
from tocsin.watch.home import staff, visit
from tocsin.watch.journal import failed
from tocsin.watch.launch_trust import RecordSystem
from tocsin.watch.oidc import Provider
from tocsin.watch.pages_look import STATIC, templates
from tocsin.watch.pages_reads import error_page, wants_page
from tocsin.watch.service import Service
from tocsin.watch.store import StoreError
from tocsin.watch.writer import BusyError

ABOUT = (
    "Facts in, grades out. For research and decision support by trained staff; not a diagnosis. "
    "Times are ISO 8601 with an offset; answers are in UTC."
)
FIXES = {
    401: "send a token: Authorization: Bearer tocsin_...",
    403: "ask whoever manages the accounts",
    404: "check the address",
    405: "see /openapi.json",
    413: "send it in parts",
    422: "see /openapi.json",
    429: "wait a minute",
}


#: Every room with doors or pages.
DOORS = (
    sign_in, launch, board_pages, patient_pages, api, api_changes, smart, fhir_api, cds_hooks, staff,
    home_pages,
)  # fmt: skip
#: FHIR's names for what went wrong.
ISSUES = {
    401: "login", 403: "forbidden", 404: "not-found", 405: "not-supported", 413: "too-long", 422: "invalid",
    429: "throttled", 503: "transient",
}  # fmt: skip


def create_app(
    service: Service,
    *,
    secure: bool = False,
    demo_code: str | None = None,
    oidc: Provider | None = None,
    hosts: frozenset[str] | None = None,
    cds: Trust | None = None,
    hl7: Listener | None = None,
    launches: tuple[RecordSystem, ...] = (),
) -> FastAPI:
    """The application around a service, which it starts and stops.

    Parameters
    ----------
    secure    : whether browsers reach it by TLS, so that cookies may insist on it.
    demo_code : the code of the link that signs a visitor of a demonstration in.
    oidc      : whose signed tokens are taken besides our own.
    cds       : which record systems may ask for cards; none = no one.
    hosts     : the names by which it may be asked for; none = any (behind a proxy that checks).
    hl7       : listens for HL7 v2 while the service runs; already open.
    launches  : the record systems from which people may open a patient's page.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        if hl7 is not None:
            hl7.start()
        yield
        if hl7 is not None:
            hl7.stop()
        service.stop()

    app = FastAPI(
        title="Tocsin",
        version=version("tocsin"),
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=life,
    )
    app.state.service = service
    app.state.templates = templates()
    app.state.secure, app.state.demo_code, app.state.oidc = secure, demo_code, oidc
    app.state.hosts, app.state.cds, app.state.launches = hosts, cds, launches
    app.state.launching = CapacityLimiter(launch.AT_ONCE)
    for part in DOORS:
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _say_what_failed(app)
    protect.install(app)
    return app


def _say_what_failed(app: FastAPI) -> None:
    """Errors as a page for people and as JSON for programs; nothing in them about anybody."""

    @app.exception_handler(HTTPException)
    async def said(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 303:
            return Response(status_code=303, headers=headers)
        return _told(request, error.status_code, str(error.detail), headers)

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> Response:
        places = sorted({".".join(str(part) for part in each["loc"][:2]) for each in error.errors()})
        return _told(request, 422, f"not as it should be: {', '.join(places)}"[:300], {})

    @app.exception_handler(FhirError)
    async def no_resource(request: Request, error: FhirError) -> Response:
        return fhir_says.failed(error)

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> Response:
        return _told(request, 503, str(error).splitlines()[0], {"Retry-After": "2"})

    @app.exception_handler(sa.exc.DBAPIError)
    @app.exception_handler(sa.exc.TimeoutError)
    @app.exception_handler(StoreError)
    async def gone(request: Request, error: Exception) -> Response:
        failed("asking the store", error)
        return _told(request, 503, "the store does not answer", {"Retry-After": "5"})

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        failed(request.scope.get("path", "/").split("/")[1] or "the ward", error)
        return _told(request, 500, "something failed here; it was logged", {})


def _told(request: Request, status: int, why: str, headers: dict[str, Any]) -> Response:
    if request.url.path.startswith("/fhir"):
        said = fhir_out.outcome(
            {"why": why, "fix": FIXES.get(status, ""), "code": ISSUES.get(status, "exception")}
        )
        return fhir_says.told(said, status, **headers)
    if visit.below(request.scope.get("path", "")) and wants_page(request):
        page = visit.failed_page(request, status)
        page.headers.update(headers)
        return page
    if wants_page(request):
        page = error_page(request, status)
        page.headers.update(headers)
        return page
    fix = FIXES.get(status, "send it again in a moment" if status == 503 else "report it, with the time")
    return problem(status, why, fix, **headers)
