"""A record system as a SMART launch sees one: its page, its authorization server, its keys; it runs."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

import httpx
import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from doors_watch import House, house
from tocsin.watch import launch_trust
from wards import patiently

RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
CURVE = ECKey.generate_key("P-384", {"kid": "curve", "use": "sig"})
#: Our own key, where we are a client that signs.
OURS = ECKey.generate_key("P-384", {"kid": "ours"})
SECRET = "s&cret with a colon: + ü"
CLIENT, US = "tocsin-at-ward", "https://tocsin.example"
PAGE = {"accept": "text/html"}


@dataclass
class Granted:
    """A code that was given, and what it is bound to."""

    asked: dict[str, str]
    patient: str | None
    used: bool = False


@dataclass
class Asked:
    """What came to the token address."""

    form: dict[str, str]
    headers: dict[str, str]


@dataclass
class Ehr:
    """The record system. A test changes `claims`, `head`, `key`, `answer` or `wrong` to make it misbehave."""

    folder: Path
    client: str = "public"
    user: str = "Practitioner/7"
    subject: str = "u-7"
    claims: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    sends: dict[str, str] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: RSA)
    algorithm: str = "RS256"
    wrong: Callable[[Any], None] | None = None
    sign: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
    base: str = ""
    handles: dict[str, str | None] = field(default_factory=dict)
    codes: dict[str, Granted] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def table(self, **more: Any) -> str:
        """Its entry on our trust list."""
        (self.folder / "keys.json").write_text(json.dumps(KeySet([RSA, CURVE]).as_dict(private=False)))
        (self.folder / "secret").write_text(f"{SECRET}\n")
        (self.folder / "ours.json").write_text(json.dumps(OURS.as_dict(private=True)))
        told = {
            "name": "Ward EHR", "iss": f"{self.base}/fhir", "client_id": CLIENT, "issuer": self.issuer,
            "authorize": f"{self.base}/authorize", "token": f"{self.base}/token", "keys": "keys.json",
            "address": US, "role": "nurse",
            **{"public": {}, "secret": {"secret_file": "secret"}, "key": {"private_key": "ours.json"}}[
                self.client
            ],
            **more,
        }  # fmt: skip
        lines = (f"{name} = {json.dumps(value)}" for name, value in told.items() if value is not None)
        return "\n".join(["[[launch]]", *lines])

    @property
    def issuer(self) -> str:
        """Who its id tokens are of: not its FHIR address."""
        return f"{self.base}/sign-in"

    def opens(self, patient: str | None) -> str:
        """A handle for somebody's chart."""
        handle = secrets.token_urlsafe(8)
        self.handles[handle] = patient
        return handle

    # --- what it answers ---------------------------------------------------------------------------------

    def authorize(self, asked: dict[str, str]) -> tuple[int, str]:
        """Whoever is at the browser is signed in there already; the code goes back with the browser."""
        good = (
            asked.get("response_type") == "code"
            and asked.get("client_id") == CLIENT
            and asked.get("aud") == f"{self.base}/fhir"
            and set(asked.get("scope", "").split()) == {"launch", "openid", "fhirUser"}
            and asked.get("code_challenge_method") == "S256"
            and len(asked.get("code_challenge", "")) == 43
            and asked.get("launch") in self.handles
        )
        if not good:
            return 400, ""
        code = secrets.token_urlsafe(12)
        self.codes[code] = Granted(asked, self.handles.pop(asked["launch"]))
        told = {"code": code, "state": asked["state"], **self.sends}
        return 302, f"{asked['redirect_uri']}?{urlencode(told)}"

    def token(self, form: dict[str, str], headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The answer for a code: once, to who asked for it, by who shows that it is the client."""
        granted = self.codes.get(form.get("code", ""))
        if not self.knows(form, headers):
            return 401, {"error": "invalid_client"}
        if granted is None or granted.used or form.get("grant_type") != "authorization_code":
            return 400, {"error": "invalid_grant"}
        granted.used = True
        seen = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            seen.rstrip(b"=").decode() != granted.asked["code_challenge"]
            or form.get("redirect_uri") != granted.asked["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        said = {
            "access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "patient": granted.patient,
            "scope": "launch openid fhirUser", "id_token": self.id_token(granted), **self.answer,
        }  # fmt: skip
        return 200, {name: value for name, value in said.items() if value is not None}

    def id_token(self, granted: Granted) -> str:
        """Who is at the browser."""
        now = int(time.time())
        told = {
            "iss": self.issuer, "sub": self.subject, "aud": CLIENT, "iat": now, "exp": now + 3600,
            "nonce": granted.asked["nonce"], "fhirUser": f"{self.base}/fhir/{self.user}", **self.claims,
        }  # fmt: skip
        claims = {name: value for name, value in told.items() if value is not None}
        head = {"alg": self.algorithm, "kid": self.key.kid, "typ": "JWT", **self.head}
        if self.sign is not None:
            return self.sign(head, claims)
        return jwt.encode(head, claims, self.key, algorithms=[self.algorithm])

    def knows(self, form: dict[str, str], headers: dict[str, str]) -> bool:
        """Whether the client shows who it is, as it was registered."""
        if self.client == "public":
            return form.get("client_id") == CLIENT
        if self.client == "secret":
            scheme, _, told = headers.get("authorization", "").partition(" ")
            name, _, secret = base64.b64decode(told).decode().partition(":")
            return scheme == "Basic" and (unquote_plus(name), unquote_plus(secret)) == (CLIENT, SECRET)
        public = ECKey.import_key(OURS.as_dict(private=False))
        token = jwt.decode(form.get("client_assertion", ""), public, algorithms=["ES384"])
        told = token.claims
        return (
            form.get("client_assertion_type") == launch_trust.ASSERTION
            and token.header["kid"] == "ours"
            and (told["iss"], told["sub"], told["aud"]) == (CLIENT, CLIENT, f"{self.base}/token")
            and 0 < told["exp"] - time.time() <= 300
            and bool(told["jti"])
        )


def _handler(ehr: Ehr) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            ehr.paths.append(f"GET {parts.path}")
            if parts.path == "/authorize":
                status, to = ehr.authorize(dict(parse_qsl(parts.query)))
                self.told(status, b"", Location=to)
            elif parts.path == "/chart":
                to = dict(parse_qsl(parts.query))["to"].replace("&", "&amp;")
                head = '<!doctype html><title>Chart</title><link rel="icon" href="data:,">'
                page = f'{head}<a href="{to}">Tocsin</a>'
                self.told(200, page.encode(), Content_Type="text/html")
            else:
                self.told(404, b"")

        def do_POST(self) -> None:
            ehr.paths.append(f"POST {self.path}")
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            form = dict(parse_qsl(body))
            headers = {name.lower(): value for name, value in self.headers.items()}
            ehr.asked.append(Asked(form, headers))
            if ehr.wrong is not None:
                ehr.wrong(self)
                return
            status, said = ehr.token(form, headers)
            self.told(status, json.dumps(said).encode(), Content_Type="application/json;charset=UTF-8")

        def told(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def running(folder: Path, **more: Any) -> Iterator[Ehr]:
    """A record system that listens on this machine."""
    folder.mkdir(exist_ok=True)
    ehr = Ehr(folder, **more)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(ehr))
    server.daemon_threads = True
    ehr.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield ehr
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Desk:
    """Our service with record systems on its list; the browsers that come."""

    built: House
    ehr: Ehr

    def browser(self) -> Any:
        """A browser that nobody is signed in with."""
        return self.built.client(headers=PAGE)

    def begins(self, web: Any, patient: str | None = "p1", iss: str | None = None, **more: str) -> Any:
        """The record system opens our page."""
        told = {"iss": iss or f"{self.ehr.base}/fhir", "launch": self.ehr.opens(patient), **more}
        return web.get("/launch", params=told)

    def sent_back(self, web: Any, patient: str | None = "p1") -> str:
        """As far as the record system's sending the browser back: the address that it is sent to."""
        begun = self.begins(web, patient)
        assert begun.status_code == 303, begun.text
        answered = httpx.get(begun.headers["location"])
        assert answered.status_code == 302, begun.headers["location"]
        return answered.headers["location"].removeprefix(US)

    def launch(self, web: Any, patient: str | None = "p1") -> Any:
        """The whole launch, up to our answer to the browser that came back."""
        return web.get(self.sent_back(web, patient))

    def noted(self) -> list[dict[str, Any]]:
        """The audit log."""
        from tocsin.watch.schema import audit

        with self.built.service.store.reading() as con:
            return [dict(row) for row in con.execute(audit.select().order_by(audit.c.seq)).mappings()]

    def refusal(self) -> dict[str, Any]:
        """The last launch that was refused, as the log has it; others write there meanwhile."""
        found = [each for each in self.noted() if each["action"] == "launch:refused"]
        return {**found[-1], **json.loads(found[-1]["detail"]), "count": len(found)}


@contextmanager
def listening(app: Any, door: socket.socket) -> Iterator[str]:
    """An application that was begun elsewhere, on a socket: the address of this machine's number."""
    config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[door]), daemon=True)
    thread.start()
    patiently(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(15)


@contextmanager
def desk(
    url: str, folder: Path, *, client: str = "public", table: dict[str, Any] | None = None
) -> Iterator[Desk]:
    """A record system and our service, which knows it."""
    with running(folder / "ehr", client=client) as ehr:
        path = ehr.folder / "clients.toml"
        path.write_text(ehr.table(**(table or {})))
        with house(url, launches=launch_trust.read(path)) as built:
            yield Desk(built, ehr)
