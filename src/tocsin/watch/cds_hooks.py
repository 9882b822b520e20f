"""CDS Hooks 2.0: the doors by which a record system asks for cards when a chart is opened.

After the specification "CDS Hooks 2.0" of HL7 (sections Discovery, Calling a CDS Service, CDS Service
Response, Feedback, Security and Safety) and its hooks `patient-view` 1.1 and `encounter-start` 1.0. Discovery
is open; everything else needs a signed token of a record system on the trust list.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from tocsin.definitions.schema import TocsinError
from tocsin.watch import auth as doors
from tocsin.watch import cds_answers, cds_feedback, cds_requests
from tocsin.watch.api import Problem, answered, problem
from tocsin.watch.cds_facts import LackingError, TooMuchError
from tocsin.watch.cds_requests import RequestError
from tocsin.watch.cds_trust import Client, Trust, UntrustedError
from tocsin.watch.clock import moment_of
from tocsin.watch.pages_reads import noted
from tocsin.watch.roles import Actor

router = APIRouter()
Judge = Annotated[Actor, Depends(doors.permitted("shadow:read"))]

BASE = "/cds-services"
#: One service for both hooks: guidance given at the one replaces guidance given at the other ("Update stale
#: guidance").
SERVICE = "crs"
HOOKS = ("patient-view", "encounter-start")
TITLE = "Cytokine release syndrome: grade and what is due"
ABOUT = (
    "Grades cytokine release syndrome and neurotoxicity after immunotherapy from the chart, says what is not "
    "ruled out, and what is due. For decision support by trained staff; not a diagnosis."
)
#: How long a browser may go by one preflight, in seconds.
PREFLIGHT = "600"
REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "the body is not as CDS Hooks shapes it"},
    401: {"model": Problem, "description": "no signed token of a record system on the trust list"},
    404: {"model": Problem, "description": "no service is called so"},
    412: {"model": Problem, "description": "needed data was neither sent nor to be fetched"},
    413: {"model": Problem, "description": "more than one request may hold"},
}
BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


def described(service: Any) -> dict[str, Any]:
    """The answer of discovery (CDS Hooks 2.0, Discovery)."""
    prefetch = dict(cds_answers.templates_of(service.lib, service.scales))
    return {
        "services": [
            {
                "hook": hook, "title": TITLE, "description": ABOUT, "id": SERVICE, "prefetch": prefetch,
                "usageRequirements": "Needs at least vital signs and drugs given, sent or to be fetched.",
            }
            for hook in HOOKS
        ]
    }  # fmt: skip


@router.get(BASE)
def discovery(request: Request) -> Response:
    """The services there are; open to everybody, also from a browser."""
    told: bytes | None = getattr(request.app.state, "cds_described", None)
    if told is None:
        told = orjson.dumps(described(request.app.state.service))
        request.app.state.cds_described = told
    headers = {"Access-Control-Allow-Origin": "*"}
    return Response(told, media_type="application/json", headers=headers)


@router.options(BASE, include_in_schema=False)
@router.options(f"{BASE}/{{name}}", include_in_schema=False)
@router.options(f"{BASE}/{{name}}/feedback", include_in_schema=False)
def preflight(request: Request) -> Response:
    """What a browser may send, from the pages on the trust list (Cross-Origin Resource Sharing)."""
    headers = {"Access-Control-Allow-Origin": "*"} if request.url.path == BASE else _shared(request)
    if headers:
        headers |= {
            "Access-Control-Allow-Methods": "GET" if request.url.path == BASE else "POST",
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": PREFLIGHT,
        }
    return Response(status_code=204, headers=headers)


@router.post(f"{BASE}/{{name}}", responses=REFUSED, openapi_extra=BODY)
async def call(request: Request, name: str) -> Response:
    """Cards for a patient whose chart is opened; with `fhirServer` what was not sent is fetched."""
    return await _answered(request, name, _cards)


@router.post(f"{BASE}/{{name}}/feedback", responses=REFUSED, openapi_extra=BODY)
async def feedback(request: Request, name: str) -> Response:
    """What became of cards: accepted or overridden, with reason and comment."""
    return await _answered(request, name, _feedback)


async def _answered(request: Request, name: str, how: Any) -> Response:
    shared = _shared(request)
    try:
        client = await admitted(request)
    except UntrustedError as error:
        why = str(error).splitlines()[0]
        # RFC 6750, section 3
        shared["WWW-Authenticate"] = f'Bearer error="invalid_token", error_description="{_quotable(why)}"'
        fix = "see the trust list (--clients)"
        return problem(401, f"this request is not trusted: {why}", fix, **shared)
    if name != SERVICE:
        return problem(404, "no service is called so", f"see {BASE}", **shared)
    body = await request.body()
    try:
        told = await run_in_threadpool(how, request, client, body)
    except RequestError as error:
        return _refusal(400, error, shared)
    except LackingError as error:
        return _refusal(412, error, shared)
    except TooMuchError as error:
        return _refusal(413, error, shared)
    return answered(told[1], told[0], **shared)


def _cards(request: Request, client: Client, body: bytes) -> tuple[int, dict[str, Any]]:
    hook = cds_requests.hook_of(cds_requests.document(body), HOOKS)
    trust: Trust = request.app.state.cds
    found = cds_answers.answer(request.app.state.service, client, trust.docs, hook, SERVICE)
    return 200, {"cards": found}


def _feedback(request: Request, client: Client, body: bytes) -> tuple[int, dict[str, Any]]:
    good, bad = cds_requests.feedback_of(cds_requests.document(body))
    store = request.app.state.service.store
    actor = Actor(client.name, "cds", None, "cds")
    new, known, strange = cds_feedback.take(store, actor, client.name, SERVICE, good)
    told: dict[str, Any] = {"stored": new, "duplicates": known}
    why = "this card was not given to this client, or too long ago"
    bad += [{"card": card, "why": why, "fix": "send the uuid of the card"} for card in strange]
    if bad:
        told["rejected"] = bad
    return (200 if new or known else 400), told


def _refusal(status: int, error: TocsinError, shared: Mapping[str, str]) -> Response:
    why, _, fix = str(error).partition("\n  fix: ")
    return problem(status, why, fix or "see CDS Hooks 2.0", **shared)


def _quotable(text: str) -> str:
    """A text as it may stand between quotes in a header."""
    return "".join(each for each in text if each.isascii() and each.isprintable() and each not in '"\\')


def _shared(request: Request) -> dict[str, str]:
    """What lets a page on the trust list read the answer; no cookie ever counts here, so none is let in."""
    trust: Trust | None = request.app.state.cds
    origin = request.headers.get("origin", "")
    if trust is None or not trust.origin(origin):
        return {"Vary": "Origin"}
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


async def admitted(request: Request) -> Client:
    """Whose request this is, looked at once: a token counts for one request. Raises `UntrustedError`."""
    found: Client | UntrustedError | None = getattr(request.state, "cds", None)
    if found is None:
        found = await run_in_threadpool(_admitted, request)
        request.state.cds = found
    if isinstance(found, UntrustedError):
        raise found
    return found


def _admitted(request: Request) -> Client | UntrustedError:
    trust: Trust | None = request.app.state.cds
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if trust is None:
        return UntrustedError("this service has no trust list")
    if scheme.lower() != "bearer":
        return UntrustedError("it has no signed token")
    store, path = request.app.state.service.store, request.url.path
    asked = (path, path.removesuffix("/feedback"))

    def fresh(number: str, until: float) -> bool:
        return cds_feedback.fresh(store, number, until, time.time())

    try:
        return trust.admit(token.strip(), asked, fresh)
    except UntrustedError as error:
        return error


@router.get("/cds-feedback", responses={401: {"model": Problem}, 403: {"model": Problem}})
def listed(
    request: Request,
    actor: Judge,
    after: Annotated[int, Query(ge=0, lt=2**63, description="the last `id` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Response:
    """What became of cards, in the order it came: for whoever judges whether they help."""
    service = request.app.state.service
    own = None
    if actor.patient_id is not None:
        own = service.people.person(actor.patient_id)
        if own not in service.people.of:
            raise HTTPException(404)
    noted(request, actor, "cds-feedback:read", None, "list")
    rows = cds_feedback.listed(service.store, after, limit + 1, own)
    told = [
        {
            **row, "accepted": orjson.loads(row["accepted"]),
            **{name: moment_of(row[name]) for name in ("at", "received", "given")},
        }
        for row in rows[:limit]
    ]  # fmt: skip
    return answered({"feedback": told, "more": len(rows) > limit})
