"""What record systems are asked for: key sets, FHIR resources, what a code of theirs stands for.

The only module of CDS Hooks and of SMART launches that opens a connection; every address is fixed in
configuration. It goes nowhere else than it was sent: no redirect is followed, no proxy of the environment
used, and a name that turns out to mean this machine, or an address that is no host's, is not asked. What
comes is bounded in size and in time.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from tocsin.definitions.schema import TocsinError

#: Bytes of one answer.
LARGEST = 8_000_000
PIECE = 65_536


class FetchError(TocsinError):
    """Something elsewhere that could not be had; says nothing of what was asked for. `status` is the
    answer's, where there was one."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


def address_of(text: str, *, secure: bool) -> SplitResult:
    """An address that may be configured: an absolute one, without credentials, query or fragment.

    With `secure`, by https alone; else http is taken where the host is this machine, named literally.
    Raises `FetchError` with what is wrong and the fix.

    >>> address_of("https://ehr.example/fhir/R4/", secure=True).path
    '/fhir/R4/'
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise FetchError(f"`{text}` is no address\n  fix: https://host/path") from None
    if not host or parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise FetchError(f"`{text}` is more or less than an address\n  fix: https://host/path, nothing else")
    if not text.isascii() or not text.isprintable() or set(text) & set(" \\\"'<>{}|^`") or ".." in text:
        raise FetchError(f"`{text}` holds characters that no address needs\n  fix: https://host/path")
    if parts.scheme == "https" or (parts.scheme == "http" and not secure and is_here(host)):
        return parts
    raise FetchError(f"`{text}` is not asked by https\n  why: patients' data would cross the network openly")


def is_here(host: str) -> bool:
    """Whether a host is this machine, by its literal name or number.

    >>> is_here("127.0.0.1"), is_here("localhost"), is_here("10.0.0.1")
    (True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def get(url: str, *, deadline: float, headers: dict[str, str] | None = None, largest: int = LARGEST) -> bytes:
    """The body of a plain 200 answer; `deadline` is on `time.monotonic`.

    Raises `FetchError` for anything else: another status, a redirect, more bytes, more time, no connection.
    """
    return _asked("GET", url, None, headers or {}, deadline, largest)


def post(url: str, form: dict[str, str], *, deadline: float, headers: dict[str, str], largest: int) -> bytes:
    """The JSON that answers a form, as bytes; the same is refused, and an answer that is not called JSON."""
    told = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **headers}
    return _asked("POST", url, urlencode(form).encode(), told, deadline, largest, kind="application/json")


def _asked(
    method: str, url: str, body: bytes | None, headers: dict[str, str], deadline: float, largest: int,
    kind: str = "",
) -> bytes:  # fmt: skip
    parts = urlsplit(url)
    secure: Any = _Secure if parts.scheme == "https" else _Plain
    connection = secure(parts.hostname or "", parts.port, timeout=_left(deadline))
    # what drips, a header too, begins each wait anew: only this ends it
    last = threading.Timer(_left(deadline), connection.cut)
    last.daemon = True
    last.start()
    try:
        path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        told = {"Accept-Encoding": "identity", "User-Agent": "tocsin", **headers}
        connection.request(method, path, body=body, headers=told)
        answer = connection.getresponse()
        if answer.status != 200:
            raise FetchError(f"the other side answered {answer.status}", answer.status)
        if answer.getheader("Content-Encoding", "identity") != "identity":
            raise FetchError("the answer is packed, which was not asked for")
        said = answer.getheader("Content-Type", "").partition(";")[0].strip().lower()
        if kind and said != kind:
            raise FetchError(f"the answer is not called {kind}")
        found = bytearray()
        while piece := answer.read1(PIECE):
            found += piece
            if len(found) > largest:
                raise FetchError(f"the answer is larger than {largest >> 10} KB")
            _left(deadline)
        _left(deadline)  # what was cut may look like an end
        if answer.length:
            raise FetchError("the answer breaks off")
        return bytes(found)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, FetchError):
            raise
        raise FetchError(f"the other side could not be asked: {type(error).__name__}") from None
    finally:
        last.cancel()
        connection.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise FetchError("the other side took too long")
    return left


def _connected(address: tuple[str, int], timeout: Any = None, source_address: Any = None) -> socket.socket:
    """A connection to a host; a name is never taken where it means this machine or no host at all."""
    host, port = address
    problem: OSError = OSError("no address")
    for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if not _may(host, str(place[0])):
            raise FetchError("the host's name means an address that is not asked")
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(timeout)
            connection.connect(place)
            return connection
        except OSError as error:
            connection.close()
            problem = error
    raise problem


def _may(host: str, place: str) -> bool:
    """Whether a host of this name may be asked at this number: what is listed literally may."""
    number = ip_address(place.partition("%")[0])
    if host == "localhost":
        return number.is_loopback
    try:
        return ip_address(host) == number
    except ValueError:
        bad = number.is_loopback or number.is_link_local or number.is_multicast or number.is_unspecified
        mapped = getattr(number, "ipv4_mapped", None)
        return not bad and (mapped is None or _may(host, str(mapped)))


class _Plain(http.client.HTTPConnection):
    line: socket.socket | None = None

    def connect(self) -> None:
        """Connect where `_connected` allows it."""
        self.sock = self.line = _connected((self.host, self.port), self.timeout)

    def cut(self) -> None:
        """End it now, whoever waits on it; also after an answer took the connection over."""
        if self.line is not None:
            with suppress(OSError):
                socket.socket.shutdown(self.line, socket.SHUT_RDWR)


class _Secure(_Plain):
    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        """The same, by TLS, the certificate checked against the host's name."""
        super().connect()
        context = ssl.create_default_context()
        wrapped = context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = self.line = wrapped
        wrapped.do_handshake()
