"""What CDS Hooks asks elsewhere for: key sets and FHIR resources, of addresses fixed in configuration alone.

The only module of CDS Hooks that opens a connection. It goes nowhere else than it was sent: no redirect is
followed, no proxy of the environment used, and a name that turns out to mean this machine, or an address
that is no host's, is not asked. What comes is bounded in size and in time.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from tocsin.definitions.schema import TocsinError

#: Bytes of one answer.
LARGEST = 8_000_000
PIECE = 65_536


class FetchError(TocsinError):
    """Something elsewhere that could not be had; says nothing of what was asked for."""


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
    parts = urlsplit(url)
    kind: Any = _Secure if parts.scheme == "https" else _Plain
    connection = kind(parts.hostname or "", parts.port, timeout=_left(deadline))
    try:
        path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        told = {"Accept-Encoding": "identity", "User-Agent": "tocsin", **(headers or {})}
        connection.request("GET", path, headers=told)
        answer = connection.getresponse()
        if answer.status != 200:
            raise FetchError(f"the other side answered {answer.status}")
        if answer.getheader("Content-Encoding", "identity") != "identity":
            raise FetchError("the answer is packed, which was not asked for")
        body = bytearray()
        while piece := answer.read1(PIECE):
            body += piece
            if len(body) > largest:
                raise FetchError(f"the answer is larger than {largest >> 10} KB")
            if connection.sock is not None:
                connection.sock.settimeout(_left(deadline))
        if answer.length:
            raise FetchError("the answer breaks off")
        return bytes(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, FetchError):
            raise
        raise FetchError(f"the other side could not be asked: {type(error).__name__}") from None
    finally:
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
    def connect(self) -> None:
        """Connect where `_connected` allows it."""
        self.sock = _connected((self.host, self.port), self.timeout)


class _Secure(_Plain):
    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        """The same, by TLS, the certificate checked against the host's name."""
        super().connect()
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
