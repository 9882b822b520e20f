"""What stands before every door: headers, limits on size, speed and number, forms only from our own pages."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request

from tocsin.definitions.schema import TocsinError
from tocsin.watch import auth, cds_hooks
from tocsin.watch.cds_trust import UntrustedError
from tocsin.watch.home import visit
from tocsin.watch.journal import failed

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: The largest body, and the largest form, in bytes.
LARGEST, LARGEST_FORM = 20_000_000, 200_000
#: Seconds within which a body has to begin, and the least bytes a second after.
SLOW, LEAST = 10.0, 1_000
#: Tries at a password in a quarter of an hour, by name and by address.
TRIES, WINDOW = 10, 900.0
#: Requests of one sender in ten seconds.
REQUESTS, EVERY = 2_000, 10.0
#: Senders that are counted.
SENDERS = 20_000

#: The doors of record systems.
CARDS = f"{cds_hooks.BASE}/"

SAID = {
    400: ("the address holds a character that no address here has", "check the address"),
    403: ("this form did not come from a page of this service", "reload the page and send it again"),
    408: ("the body came too slowly", "send it again"),
    413: ("the body is too large", "send it in parts"),
    421: ("this service does not go by that name", "use the address that it printed when it started"),
    429: ("too many requests", "wait a moment, then send it again"),
    500: ("something failed here; it was logged", "report it, with the time"),
    503: ("the store does not answer", "send it again in a moment"),
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Counts:
    """How often each sender came lately; bounded, so that counting costs no memory."""

    def __init__(self, most: int, window: float) -> None:
        self.most, self.window = most, window
        self.seen: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def over(self, *names: str) -> bool:
        """Count once for each name; whether one came too often."""
        now, over = time.monotonic(), False
        with self._lock:
            for name in names:
                began, count = self.seen.pop(name, (now, 0))
                if now - began >= self.window:
                    began, count = now, 0
                self.seen[name] = (began, count + 1)
                over = over or count + 1 > self.most
            while len(self.seen) > SENDERS:
                self.seen.popitem(last=False)
        return over

    def back(self, name: str) -> None:
        """Take one count back: it was no attempt at anything."""
        with self._lock:
            if name in self.seen:
                began, count = self.seen[name]
                self.seen[name] = (began, max(0, count - 1))

    def forget(self, *names: str) -> None:
        """Begin anew for names."""
        with self._lock:
            for name in names:
                self.seen.pop(name, None)


class RefusedError(Exception):
    """A body that is too large or too slow."""

    def __init__(self, status: int) -> None:
        self.status = status


def install(app: FastAPI) -> None:
    """Put the guard before every door of an application."""
    app.state.tries = Counts(TRIES, WINDOW)
    app.state.requests = Counts(REQUESTS, EVERY)
    app.add_middleware(Guard, app=app)


class Guard:
    """The guard itself, around the application."""

    def __init__(self, inner: Any, app: FastAPI) -> None:
        self.inner, self.app = inner, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        request = Request(scope, receive)
        begun = False

        async def dressed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", ()), *self._headers(scope["path"])]
            await send(message)

        if "\x00" in scope["path"] or b"%00" in scope.get("query_string", b""):
            await self._refuse(dressed, 400)  # nothing is called so, and some databases fail when asked
            return
        if not self._named(request):
            await self._refuse(dressed, 421)
            return
        if self.app.state.requests.over(sender(request)):
            await self._refuse(dressed, 429, [(b"retry-after", b"10")])
            return
        try:
            body = await self._body(request, receive)
            if not await self._ours(request, body):
                await self._refuse(dressed, 403)
                return
            await self.inner(scope, replay(body, receive), dressed)
        except RefusedError as refused:
            if not begun:
                await self._refuse(dressed, refused.status, [(b"connection", b"close")])
        except Exception as error:
            if begun:
                # further out the server would log it whole, with a message that may quote a patient
                failed("an answer under way", error)
                return
            await self._broken(request, error, dressed)

    async def _broken(self, request: Request, error: Exception, send: Send) -> None:
        """What nobody foresaw, said as the application says it, with the headers of every answer."""
        told: Any = self.app.exception_handlers.get(Exception)
        if told is None:
            failed("a request", error)
            await self._refuse(send, 500)
            return
        answer = await told(request, error)
        await answer(request.scope, request.receive, send)

    def _named(self, request: Request) -> bool:
        """Whether the address asked for is one of ours: a page elsewhere may point its name at this one."""
        hosts = self.app.state.hosts
        if hosts is None:
            return True
        try:
            return urlsplit(f"//{request.headers.get('host', '')}").hostname in hosts
        except ValueError:
            return False

    def _headers(self, path: str) -> list[tuple[bytes, bytes]]:
        found = dict(HEADERS)
        found["cache-control"] = "public, max-age=300" if path.startswith("/static/") else "no-store"
        if self.app.state.secure:
            found["strict-transport-security"] = "max-age=31536000"
        return [(name.encode(), value.encode()) for name, value in found.items()]

    async def _refuse(self, send: Send, status: int, more: list[tuple[bytes, bytes]] | None = None) -> None:
        why, fix = SAID[status]
        body = orjson.dumps({"why": why, "fix": fix})
        headers = [(b"content-type", b"application/json"), *(more or ())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _body(self, request: Request, receive: Receive) -> bytes | None:
        """The whole body, within its limits; None where the method has none."""
        if request.method in auth.SAFE:
            return None
        form = "form" in request.headers.get("content-type", "")
        large = not form and await self._large(request)
        most = LARGEST if large else LARGEST_FORM
        told = request.headers.get("content-length", "")
        if told.isascii() and told.isdigit() and (len(told) > 12 or int(told) > most):
            raise RefusedError(413)
        body, began = bytearray(), time.monotonic()
        while True:
            left = SLOW + len(body) / LEAST - (time.monotonic() - began)
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.01))
            except TimeoutError:
                raise RefusedError(408) from None
            if message["type"] != "http.request":
                raise RefusedError(408)
            body += message.get("body", b"")
            if len(body) > most:
                raise RefusedError(413)
            if not message.get("more_body"):
                return bytes(body)

    async def _large(self, request: Request) -> bool:
        """Whether the body may be large: of somebody we know, at a door that takes much."""
        if request.url.path.startswith(CARDS):
            return await self._known(request, cds_hooks.admitted)
        path = request.url.path
        return (path == "/facts" or path.startswith("/fhir")) and await self._known(request)

    async def _known(self, request: Request, ask: Callable[[Request], Any] = auth.actor) -> bool:
        """Whether somebody we know asks: a large body of anybody else is not even read."""
        try:
            await ask(request)
        except (HTTPException, UntrustedError):
            return False  # the door itself says so
        except (sa.exc.SQLAlchemyError, TocsinError) as error:
            failed("asking the store", error)
            raise RefusedError(503) from None
        return True

    async def _ours(self, request: Request, body: bytes | None) -> bool:
        """Whether a request that changes something with a browser's session comes from our own page."""
        if body is None or request.headers.get("authorization", "").strip():
            return True
        if request.url.path.startswith(CARDS):
            return True  # no browser's session counts there
        if not same_origin(request, self.app.state.secure):
            return False
        if visit.below(request.url.path):
            return await self._written_at_home(request, body)
        name = auth.SECURE_COOKIE if self.app.state.secure else auth.COOKIE
        if name not in request.cookies or request.url.path in ("/sign-in", "/first-run"):
            return True
        if not await self._known(request):
            return True  # whoever it is has no session
        sent = request.headers.get("x-csrf-token") or field_of(request, body, "csrf")
        return auth.same(sent, getattr(request.state, "csrf", None))

    async def _written_at_home(self, request: Request, body: bytes) -> bool:
        """The same for the page at home, whose session is another one: neither opens what the other opens."""
        sent = request.headers.get("x-csrf-token") or field_of(request, body, "csrf")
        try:
            return await visit.ours(request, sent)
        except (sa.exc.SQLAlchemyError, TocsinError) as error:
            failed("asking the store", error)
            raise RefusedError(503) from None


def same_origin(request: Request, secure: bool) -> bool:
    """Whether a browser says that the request comes from this service; programs say nothing."""
    site = request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True
    try:
        told = urlsplit(origin)
        # behind a proxy we are asked by http; the browser still says how it asked the proxy
        return told.netloc == request.headers.get("host") and (not secure or told.scheme == "https")
    except ValueError:
        return False


def field_of(request: Request, body: bytes, name: str) -> str | None:
    """One field of a plain form."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return None
    try:
        return parse_qs(body.decode(), max_num_fields=500).get(name, [None])[0]
    except ValueError:
        return None


def replay(body: bytes | None, receive: Receive) -> Receive:
    """The body once more, for whoever reads it next."""
    sent = body is None

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def sender(request: Request) -> str:
    """By what a sender is counted: its token or session, else its address; never kept in the clear."""
    told = request.headers.get("authorization") or request.headers.get("cookie")
    return auth.digest(told) if told else (request.client.host if request.client else "?")
