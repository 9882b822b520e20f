"""Run the service as one process: where it listens, how it ends."""

from __future__ import annotations

import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from tocsin.definitions.schema import TocsinError
from tocsin.watch.service import Service

#: Seconds that requests under way may still take when the service ends.
GRACE = 5


class ListenError(TocsinError):
    """An address that the service will not or cannot listen on."""


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
        self.service, self.interrupted = service, False
        self.ready: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        if self.started:
            self.ready()

    def end(self, interrupted: bool = False) -> None:
        """Begin to end; from any thread."""
        self.interrupted = self.interrupted or interrupted
        self.service.hub.close()
        self.should_exit = True

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
    """Serve until a signal, or for some seconds; raises `KeyboardInterrupt` after Ctrl-C, `ListenError`
    where the port is taken."""
    timer = None
    if seconds is not None:
        timer = threading.Timer(seconds, server.end)
        timer.daemon = True
        timer.start()
    try:
        server.run()
    except SystemExit:
        raise ListenError(
            f"cannot listen on {server.config.host}:{server.config.port}\n"
            "  why: another program listens there, or the address is not this machine's\n"
            "  fix: --port 0 takes a free one"
        ) from None
    finally:
        if timer is not None:
            timer.cancel()
    if server.interrupted:
        raise KeyboardInterrupt
