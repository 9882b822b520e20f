"""A patient's page, opened from the record system: SMART App Launch 2, EHR launch, with PKCE.

The record system opens `/launch` with its `iss` and a handle; the browser is sent there to say who looks, and
comes back with a code, which is exchanged beside the browser. All that a launch has to remember lies in one
secret in a cookie: `state`, `nonce` and the PKCE verifier are made of it, of the record system and of the
moment. So nothing is stored for somebody who is not known yet; a state fits only the browser, the record
system and the ten minutes that it was made for; and who reads it in an address learns nothing of the others.
That a state is good once is in the store.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from tocsin.definitions.schema import TocsinError
from tocsin.watch import audit, auth, cds_feedback
from tocsin.watch.cds_fetch import FetchError
from tocsin.watch.cds_trust import UntrustedError
from tocsin.watch.launch_accounts import ClosedError, account_of
from tocsin.watch.launch_tokens import AnswerError, LayError, Looker, NobodyError, redeemed
from tocsin.watch.launch_trust import CALLBACK, RecordSystem
from tocsin.watch.pages_look import page
from tocsin.watch.roles import SYSTEM

router = APIRouter(include_in_schema=False)
#: Seconds from the launch to the browser's coming back: somebody may have to sign in there.
LIFE = 600
SCOPES = "launch openid fhirUser"
#: The most characters of a handle, or a code; RFC 6749 sets none.
LONGEST = 4_000
#: Codes that are exchanged at once; more wait.
AT_ONCE = 8
STATE = re.compile(r"[A-Za-z0-9_-]{43}")
KEPT = re.compile(r"(\d{10})\.([A-Za-z0-9_-]{43})")

#: What went wrong: status, title, what to do.
SAID = {
    "incomplete": (
        400, "Open this from the record system",
        "This page does not open by itself. Open the patient in the record system, then choose Tocsin there.",
    ),
    "unlisted": (
        400, "This record system is not known here",
        "It is not on this service's list, so nothing was asked of it. Whoever runs this service can add it: "
        "its iss has to stand there letter for letter.",
    ),
    "stranger": (
        400, "This launch did not begin here",
        "It began in another browser, more than ten minutes ago, or was used already. Open the patient in "
        "the record system once more.",
    ),
    "declined": (
        403, "The record system did not sign you in",
        "Open the patient there once more. If it stays like this, tell whoever runs the record system.",
    ),
    "tired": (429, "Too many tries", "Too many launches failed from here. Wait a quarter of an hour."),
    "silent": (
        502, "The record system does not answer",
        "It could not be asked who you are. Try again in a minute, and go by the chart until then. If it "
        "stays like this, tell whoever runs this service.",
    ),
    "untrue": (
        403, "The record system could not be believed",
        "What it said of you did not hold, so nobody was signed in. Tell whoever runs this service, with the "
        "time; the audit log says which check failed.",
    ),
    "lay": (
        403, "This page is for those who treat",
        "The record system did not name you as somebody who treats patients. Patients and relatives have a "
        "page of their own: the ward gives them the link.",
    ),
    "nobody": (
        400, "No patient was open",
        "The record system named no patient. Open a patient there first, then choose Tocsin.",
    ),
    "closed": (403, "Your account is closed here", "Ask whoever manages the accounts of this service."),
    "unknown": (
        404, "This patient is not watched here",
        "Nothing was ever sent here for the patient who is open in the record system. So there is no grade, "
        "and that is no reassurance: go by the chart. To have the patient watched, tell whoever connects the "
        "record system to this service.",
    ),
}  # fmt: skip


class RefusedError(TocsinError):
    """A launch that ends here; `what` is one of `SAID`, `why` is for the audit log."""

    def __init__(self, what: str, why: str = "") -> None:
        super().__init__(what)
        self.what, self.why = what, why


@dataclass(frozen=True, slots=True)
class Begun:
    """A launch under way: from which record system, since when (seconds since 1970), by whose secret."""

    system: RecordSystem
    since: int
    secret: str

    def derived(self, use: str) -> str:
        """43 characters for one use, of which the others cannot be learned."""
        told = "|".join((use, str(self.since), self.system.name, self.system.iss))
        return _text(hmac.digest(self.secret.encode(), told.encode(), "sha256"))

    @property
    def state(self) -> str:
        """What the record system hands back, by which the browser is known again."""
        return self.derived("state")

    @property
    def verifier(self) -> str:
        """What shows that whoever exchanges the code is who asked for it (RFC 7636)."""
        return self.derived("verifier")

    @property
    def nonce(self) -> str:
        """What ties an id token to this launch (OpenID Connect)."""
        return self.derived("nonce")

    def asks(self, handle: str) -> str:
        """Where the browser is sent: the record system, with what it has to know."""
        return f"{self.system.authorize}?" + urlencode({
            "response_type": "code", "client_id": self.system.client_id, "redirect_uri": self.system.redirect,
            "launch": handle, "scope": SCOPES, "state": self.state, "aud": self.system.iss,
            "nonce": self.nonce, "code_challenge_method": "S256",
            "code_challenge": _text(hashlib.sha256(self.verifier.encode()).digest()),
        })  # fmt: skip


@router.get("/launch", response_class=HTMLResponse)
def launch(request: Request) -> Response:
    """A launch begins: the browser is sent to the record system's own address on the list."""
    told = once(request)
    handle = told.get("launch", "")
    if not told.get("iss") or not handle or len(handle) > LONGEST or not handle.isprintable():
        return refused(request, "incomplete")
    system = next((each for each in request.app.state.launches if each.iss == told["iss"]), None)
    if system is None:
        return refused(request, "unlisted")
    begun = Begun(system, int(time.time()), secrets.token_urlsafe(32))
    answer = RedirectResponse(begun.asks(handle), status_code=303)
    kept = f"{begun.since}.{begun.secret}"
    answer.set_cookie(value=kept, max_age=LIFE, **cookie_of(request, begun.state))
    return answer


@router.get(CALLBACK, response_class=HTMLResponse)
async def callback(request: Request) -> Response:
    """The browser comes back: who looks is asked beside it, then the patient's page opens.

    Record systems that hang hold a few threads of their own, never those by which the ward is served.
    """
    return await to_thread.run_sync(_callback, request, limiter=request.app.state.launching)


def _callback(request: Request) -> Response:
    told = once(request)
    begun = begun_by(request, told.get("state", ""))
    if begun is None:
        return refused(request, "stranger")
    try:
        answer = _entered(request, begun, told)
    except RefusedError as error:
        answer = refused(request, error.what)
        if error.why:
            service = request.app.state.service
            detail: audit.Detail = {"launch": begun.system.name, "why": error.why}
            with service.store.writing() as con:
                audit.note(con, service.clock, SYSTEM, "launch:refused", detail=detail)
    answer.delete_cookie(**cookie_of(request, begun.state))
    return answer


def _entered(request: Request, begun: Begun, told: Mapping[str, str]) -> Response:
    system, service = begun.system, request.app.state.service
    # RFC 9207: an answer of another record system than the one that was asked (mix-up)
    if told.get("iss", system.issuer if not system.says_issuer else None) != system.issuer:
        raise RefusedError("untrue")
    code = told.get("code", "")
    if not code or "error" in told or len(code) > LONGEST or not code.isprintable():
        raise RefusedError("declined")
    # counted before it is known, as passwords are: each try asks the record system something
    counted = f"launch from {request.client.host if request.client else '?'}"
    if request.app.state.tries.over(counted):
        raise RefusedError("tired")
    used = auth.digest(f"launch {begun.state}")
    if not cds_feedback.fresh(service.store, used, begun.since + LIFE, time.time()):
        raise RefusedError("stranger", "the state was used before")
    try:
        looker = _looker(begun, code)
    except RefusedError as error:
        if error.what == "silent":  # that it is down is nobody's failed try
            request.app.state.tries.back(counted)
        raise
    request.app.state.tries.back(counted)
    return _opened(request, system, looker)


def _looker(begun: Begun, code: str) -> Looker:
    """Who looks, as the record system says; raises `RefusedError`."""
    try:
        return redeemed(begun.system, code, begun.verifier, begun.nonce)
    except FetchError as error:
        what = "declined" if error.status is not None and 400 <= error.status < 500 else "silent"
        raise RefusedError(what, str(error).splitlines()[0]) from None
    except LayError as error:
        raise RefusedError("lay", str(error)) from None
    except NobodyError as error:
        raise RefusedError("nobody", str(error)) from None
    except (AnswerError, UntrustedError) as error:
        raise RefusedError("untrue", str(error)) from None


def _opened(request: Request, system: RecordSystem, looker: Looker) -> Response:
    """Sign in and go on to the page; nobody is signed in where there is no page."""
    service = request.app.state.service
    ref = service.store.ref_of(system.patient_prefix + looker.patient)
    before = request.cookies.get(auth.cookie_of(request.app.state.secure)["key"])
    try:
        with service.store.writing() as con:
            actor = account_of(con, service.clock, system, looker.subject, looker.name)
            if ref is None:
                raise RefusedError("unknown", "the patient is not known here")
            if before:
                auth.end_session(con, service.clock, before)
            session = auth.begin_session(con, service.clock, actor.name)
            detail: audit.Detail = {"launch": system.name}
            audit.note(con, service.clock, actor, "session:begin", patient=ref, detail=detail)
    except ClosedError as error:
        raise RefusedError("closed", str(error)) from None
    # a redirect would still be the other site's request, with which browsers send no strict cookie
    to = f"/patient/{ref}"
    answer = page(request, "launched.html", to=to)
    answer.headers["refresh"] = f"0;url={to}"
    answer.set_cookie(value=session.secret, **auth.cookie_of(request.app.state.secure))
    return answer


def begun_by(request: Request, state: str) -> Begun | None:
    """The launch that a state belongs to, in the browser that began it; None in any other, or later."""
    if not STATE.fullmatch(state):
        return None
    kept = KEPT.fullmatch(request.cookies.get(cookie_of(request, state)["key"], ""))
    if kept is None or not 0 <= time.time() - int(kept[1]) < LIFE:
        return None
    begun = (Begun(each, int(kept[1]), kept[2]) for each in request.app.state.launches)
    return next((each for each in begun if auth.same(each.state, state)), None)


def once(request: Request) -> dict[str, str]:
    """Parameters of the address; one that comes twice has no value, because either might be meant."""
    told = request.query_params.multi_items()
    names = [name for name, _ in told]
    return {name: value for name, value in told if names.count(name) == 1}


def refused(request: Request, what: str) -> Response:
    """A page that says what to do, and nothing of what came in the address."""
    status, title, text = SAID[what]
    return page(request, "launch-refused.html", status=status, title=title, text=text)


def cookie_of(request: Request, state: str) -> Mapping[str, Any]:
    """How a launch's cookie is set: its own for each launch, so that two patients can be opened at once; lax,
    because the record system sends the browser back."""
    secure = request.app.state.secure
    return {
        "key": f"{'__Host-' if secure else ''}tocsin-launch-{state[:8]}", "httponly": True, "samesite": "lax",
        "secure": secure, "path": "/",
    }  # fmt: skip


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
