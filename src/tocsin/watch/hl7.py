"""HL7 v2 over MLLP: where the service listens for it, to whom, and how connections are kept and let go.

The listener has a thread and a loop of its own, so that neither it nor the web pages wait for the other.
Messages of one connection are taken in their order; those of many are stored together. Nothing that a
connection sends ends the listener, and a message is answered only once it is durable and graded.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from tocsin.watch.hl7_answers import Trouble, answer
from tocsin.watch.hl7_door import Door
from tocsin.watch.hl7_messages import head_of
from tocsin.watch.journal import failed, log
from tocsin.watch.serve import ListenError, is_local

START, END = b"\x0b", b"\x1c\x0d"
#: The largest message, and what all connections together may hold of messages not yet taken, in bytes.
LARGEST, HELD = 8_000_000, 128_000_000
#: Bytes outside of any frame after which a connection is no MLLP.
JUNK = 1_000
#: Seconds within which a message has to be there once it began, and the least bytes a second after.
SLOW, LEAST = 10.0, 10_000
#: Seconds that a sender may take to read its answer.
READING = 10.0
#: Connections held; one more makes the one that was silent the longest go.
CONNECTIONS = 256
#: Messages taken at once; they are stored together.
AT_ONCE = 64
#: Seconds that messages under way may still take when the service ends.
GRACE = 2.0
PIECE = 65_536
TOO_LARGE = f"a message of more than {LARGEST // 1_000_000} MB"
#: Seconds in which an address that may not connect is named once in the log.
QUIET = 60.0

Network = IPv4Network | IPv6Network
HERE: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@dataclass(frozen=True, slots=True)
class Address:
    """Where HL7 v2 is listened for, and who may connect: this machine alone, or those listed alone."""

    host: str = "127.0.0.1"
    port: int = 2575
    allow: tuple[Network, ...] = HERE

    @classmethod
    def read(cls, text: str, allow: Sequence[str] = ()) -> Address:
        """`[HOST:]PORT` and addresses or networks; raises `ListenError` with why and the fix.

        >>> Address.read("2575").host, Address.read("[::1]:2575").host
        ('127.0.0.1', '::1')
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
        if not port.isascii() or not port.isdecimal() or int(port) > 65_535:
            raise ListenError(f"--hl7 {text}: no port\n  fix: --hl7 2575, or --hl7 192.0.2.7:2575")
        networks: list[Network] = []
        for each in allow:
            try:
                networks.append(ip_network(each, strict=False))
            except ValueError:
                raise ListenError(
                    f"--hl7-allow {each}: neither an address nor a network\n"
                    "  fix: as 192.0.2.7, or 192.0.2.0/24"
                ) from None
        if not networks and not is_local(host):
            raise ListenError(
                f"--hl7 {text} is reached over a network, and nobody is listed who may connect\n"
                "  why: HL7 v2 asks nobody for a password, so whoever connects could chart for patients\n"
                "  fix: --hl7-allow ADDRESS for each sender, or --hl7 PORT for this machine alone"
            )
        return cls(host, int(port), tuple(networks) or HERE)

    def admits(self, peer: str) -> bool:
        """Whether somebody at an address may connect."""
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        inner = getattr(address, "ipv4_mapped", None) or address
        return any(inner in network for network in self.allow)


class FrameError(Exception):
    """A connection that has to end: `answer` says whether the sender is told, `why` what the log says."""

    def __init__(self, why: str, data: bytes = b"") -> None:
        super().__init__(why)
        self.why, self.data = why, data


class Line:
    """One connection: frames out of bytes, in their order."""

    def __init__(self, listener: Listener, reader: asyncio.StreamReader, peer: str) -> None:
        self.listener, self.reader, self.peer = listener, reader, peer
        self.task = asyncio.current_task()
        self.buffer = bytearray()
        self.silent: float | None = time.monotonic()  # since when it waits for a message; None: at work

    async def frame(self) -> bytes | None:
        """The next message; None where the sender hung up. Raises `FrameError`."""
        if not await self._begun():
            return None
        self.silent = None
        began, seen = time.monotonic(), 0
        while (end := self.buffer.find(END, max(seen - 1, 0))) < 0:
            if len(self.buffer) > LARGEST:
                raise FrameError(TOO_LARGE, bytes(self.buffer[:4_000]))
            if self.listener.held + len(self.buffer) > HELD:
                raise FrameError("too much sent at once by all")
            seen = len(self.buffer)
            left = began + SLOW + seen / LEAST - time.monotonic()
            try:
                piece = await asyncio.wait_for(self._more(), max(left, 0.001))
            except TimeoutError:
                raise FrameError("a message that came too slowly, or without its end") from None
            if not piece:
                raise FrameError("a message that was cut off")
        if end > LARGEST:
            raise FrameError(TOO_LARGE, bytes(self.buffer[:4_000]))
        whole = bytes(self.buffer[:end])
        self._drop(end + len(END))
        # a sender that gave up begins again: what stands before never came to its end
        return whole.rpartition(START)[2]

    async def _begun(self) -> bool:
        junk = 0
        while (start := self.buffer.find(START)) < 0:
            junk += len(self.buffer.strip())
            self._drop(len(self.buffer))
            if junk > JUNK:
                raise FrameError("bytes that are no MLLP")
            self.silent = self.silent or time.monotonic()
            if not await self._more():
                return False
        self._drop(start + 1)
        return True

    async def _more(self) -> bytes:
        piece = await self.reader.read(PIECE)
        self.buffer += piece
        self.listener.held += len(piece)
        return piece

    def _drop(self, size: int) -> None:
        del self.buffer[:size]
        self.listener.held -= size


class Listener:
    """Listens for HL7 v2. `open` binds the port, `start` takes messages, `stop` ends."""

    def __init__(self, door: Door, address: Address) -> None:
        self.door, self.address = door, address
        self.lines: set[Line] = set()
        self.held = 0
        self.ending = False
        self.pool = ThreadPoolExecutor(AT_ONCE, "tocsin-hl7")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._refused: dict[str, float] = {}

    def open(self) -> Listener:
        """Take the port; raises `ListenError` where it is taken."""
        host, port = self.address.host, self.address.port
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._socket = socket.create_server((host, port), family=family, backlog=128)
        except OSError:
            raise ListenError(
                f"cannot listen for HL7 v2 on {host}:{port}\n"
                "  why: another program listens there, or the address is not this machine's\n"
                "  fix: --hl7 0 takes a free port"
            ) from None
        return self

    @property
    def bound(self) -> str:
        """Where it listens, once open."""
        assert self._socket is not None
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Begin to take messages."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="tocsin-hl7", daemon=True)
        self._thread.start()
        ready.wait(10)

    def stop(self) -> None:
        """End: messages under way are taken and answered, for two seconds at most; the others are sent again
        to whoever listens next, and stored once."""
        self.ending = True
        if self._loop is not None and self._thread is not None:
            with suppress(RuntimeError):  # it ended by itself
                self._loop.call_soon_threadsafe(self._close_silent)
            self._thread.join(GRACE + 1)
        elif self._socket is not None:
            self._socket.close()
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, ready: threading.Event) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.set_exception_handler(_unexpected)
            runner.run(self._listen(ready))

    async def _listen(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._connected, sock=self._socket, limit=PIECE)
        ready.set()
        while not self.ending:
            await asyncio.sleep(0.1)
        server.close()
        self._close_silent()
        end = time.monotonic() + GRACE
        while self.lines and time.monotonic() < end:
            await asyncio.sleep(0.01)
        for line in self.lines:
            if line.task is not None:
                line.task.cancel()

    def _close_silent(self) -> None:
        for line in [each for each in self.lines if each.silent is not None]:
            if line.task is not None:
                line.task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = str((writer.get_extra_info("peername") or ("?",))[0])
        line = Line(self, reader, peer)
        try:
            if not self.address.admits(peer):
                self._refuse(peer)
                return
            self._make_room()
            self.lines.add(line)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await self._serve(line, writer)
        except FrameError as error:
            self._said(f"hl7 {peer}: {error.why}; the connection is closed")
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # gone, or told to go: what was not answered is sent again
        except Exception as error:
            # not stored, or not known to be: no answer, so that it is sent again
            failed("taking an HL7 message", error)
        finally:
            self.lines.discard(line)
            self.held -= len(line.buffer)
            writer.close()

    async def _serve(self, line: Line, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while not self.ending:
            try:
                data = await line.frame()
            except FrameError as error:
                if error.data:
                    await self._send(writer, too_large(self.door, error.data))
                raise
            if data is None:
                return
            reply = await loop.run_in_executor(self.pool, self.door.take, data, line.peer)
            if reply is not None:
                await self._send(writer, reply)
            line.silent = time.monotonic()

    async def _send(self, writer: asyncio.StreamWriter, reply: bytes) -> None:
        writer.write(START + reply + END)
        await asyncio.wait_for(writer.drain(), READING)

    def _make_room(self) -> None:
        """Let the connection go that was silent the longest, where there are too many."""
        if len(self.lines) < CONNECTIONS:
            return
        silent = [each for each in self.lines if each.silent is not None]
        if not silent:
            raise FrameError("too many connections at once")
        oldest = min(silent, key=lambda each: each.silent or 0.0)
        if oldest.task is not None:
            oldest.task.cancel()
        self.lines.discard(oldest)

    def _refuse(self, peer: str) -> None:
        self._said(f"hl7 {peer}: may not connect; fix: --hl7-allow {peer}, if it is a sender of yours")

    def _said(self, text: str) -> None:
        """Log a sentence, the same one once a minute."""
        now = time.monotonic()
        if now - self._refused.get(text, now - QUIET) < QUIET:
            return
        if len(self._refused) > 1_000:
            self._refused.clear()
        self._refused[text] = now
        log.warning("%s", text)


def too_large(door: Door, data: bytes) -> bytes:
    """The answer to a message that is too large to be read."""
    trouble = Trouble("MSH", 1, 0, 104, TOO_LARGE, "send it in parts")
    return answer(head_of(data), "AR", [trouble], door.service.clock.moment())


def _unexpected(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    if isinstance(error, BaseException):
        failed("listening for HL7", error)
    else:
        logging.getLogger("tocsin.watch").warning("listening for HL7: %s", context.get("message"))
