"""Run the service as one process: where it listens, how it ends."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import ssl
import sys
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from tocsin.definitions.schema import TocsinError
from tocsin.watch.journal import failed, log
from tocsin.watch.service import Service
from tocsin.watch.tidy import tidy
from tocsin.watch.warming import warmed

#: Seconds that requests under way may still take when the service ends.
GRACE = 5
#: Seconds after which it ends in any case: a store that hangs must not keep it from ending.
LAST = 8.0
UNANSWERED = (
    "ended without waiting any longer for the store, which does not answer\n"
    "  everything that was answered for is stored; whoever got no answer sends again"
)
NOT_BEGUN = "the service could not begin\n  fix: see the line before; is the store in order?"


class ListenError(TocsinError):
    """An address that the service will not or cannot listen on."""


class BeginError(TocsinError):
    """A service that could not begin."""


def without_messages(record: logging.LogRecord) -> bool:
    """Let the web server's own failures through by kind and place alone: a message may quote a patient."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        if not isinstance(error, CancelledError):  # the end of a request that the end did not wait for
            failed("the web server", error)
        return False
    if (text := record.getMessage()).startswith("Traceback"):
        last = text.rpartition("Traceback (most recent call last):")[2]
        kind = re.search(r"^[A-Za-z_][\w.]*", last, re.MULTILINE)
        log.error("beginning failed: %s", kind[0] if kind else "?")
        return False
    return True


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the service listens, and what protects it there."""

    host: str = "127.0.0.1"
    port: int = 8464
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by TLS."""
        return self.certificate is not None or self.behind_proxy

    @property
    def hosts(self) -> frozenset[str] | None:
        """The names it may be asked for by; none where a certificate or a proxy sees to that."""
        return None if self.secure else frozenset(("localhost", "127.0.0.1", "::1"))

    def checked(self) -> Listen:
        """Itself; raises `ListenError` where patients' data would cross a network in the clear."""
        if bool(self.certificate) != bool(self.key):
            raise ListenError("a certificate goes with its key\n  fix: give both --tls-cert and --tls-key")
        if not self.secure and not is_local(self.host):
            raise ListenError(
                f"{self.host} is reached over a network, and there is no TLS\n"
                "  why: names, values and passwords would cross it in the clear\n"
                "  fix: --tls-cert FILE --tls-key FILE, or --behind-proxy where a proxy here has TLS"
            )
        if self.certificate is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
            except (OSError, ssl.SSLError) as error:
                raise ListenError(f"the certificate or its key cannot be used: {error}") from None
        return self

    def address(self, port: int | None = None) -> str:
        """The address to open.

        >>> Listen().address(), Listen("::1", 80).address()
        ('http://127.0.0.1:8464', 'http://[::1]:80')
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.certificate else ''}://{host}:{port or self.port}"


def is_local(host: str) -> bool:
    """Whether an address is reached from this machine alone.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0")
    (True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def free_port(host: str, port: int) -> int:
    """The port, or 0 (any free one) where it is taken: a demonstration may be anywhere, a ward may not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return 0
    return port


class Server(uvicorn.Server):
    """Ends by SIGTERM or Ctrl-C: streams are closed, what was taken is answered, nothing is lost."""

    def __init__(self, app: FastAPI, service: Service, listen: Listen) -> None:
        config = uvicorn.Config(
            app, host=listen.host, port=listen.port, access_log=False, log_level="warning",
            server_header=False, timeout_graceful_shutdown=GRACE, timeout_keep_alive=30,
            h11_max_incomplete_event_size=32_768,
            proxy_headers=listen.behind_proxy, forwarded_allow_ips="127.0.0.1" if listen.behind_proxy else "",
            ssl_certfile=listen.certificate, ssl_keyfile=str(listen.key) if listen.key else None,
        )  # fmt: skip
        super().__init__(config)
        logging.getLogger("uvicorn.error").addFilter(without_messages)
        self.service, self.interrupted = service, False
        self.before = set(threading.enumerate())
        self.last = threading.Timer(LAST, self._at_once)
        self.last.daemon = True
        self.ready: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        if self.started:
            threading.Thread(target=tidy, args=(self.service.wait,), name="tocsin-tidy", daemon=True).start()
            self.ready()

    def end(self, interrupted: bool = False) -> None:
        """Begin to end; from any thread."""
        self.interrupted = self.interrupted or interrupted
        first, self.should_exit = not self.should_exit, True
        if first:
            self.last.start()
        self.service.hub.close()

    def _at_once(self) -> None:
        """End although something still waits: none of it was answered for."""
        print(UNANSWERED, file=sys.stderr, flush=True)
        os._exit(130 if self.interrupted else 1)

    @property
    def waiting(self) -> bool:
        """Whether a thread of ours still works: the process would wait for it, however long."""
        known = {*self.before, threading.current_thread()}
        return any(not each.daemon for each in threading.enumerate() if each not in known)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end the service in order, and not the process."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, _frame: Any) -> None:
        self.end(number == signal.SIGINT)

    @property
    def bound(self) -> int:
        """The port it listens on, once started."""
        return int(self.servers[0].sockets[0].getsockname()[1])


def run(server: Server, *, seconds: float | None = None) -> None:
    """Serve until a signal, or for some seconds.

    Raises
    ------
    KeyboardInterrupt : after Ctrl-C.
    ListenError       : the port is taken.
    BeginError        : the service could not begin; why was logged.
    """
    timer = None
    if seconds is not None:
        timer = threading.Timer(seconds, server.end)
        timer.daemon = True
        timer.start()
    try:
        with warmed():
            server.run()
    except SystemExit:
        if server.lifespan.should_exit:
            raise BeginError(NOT_BEGUN) from None
        raise ListenError(
            f"cannot listen on {server.config.host}:{server.config.port}\n"
            "  why: another program listens there, or the address is not this machine's\n"
            "  fix: --port 0 takes a free one"
        ) from None
    finally:
        if timer is not None:
            timer.cancel()
        if not server.waiting:
            server.last.cancel()
    if server.interrupted:
        raise KeyboardInterrupt
