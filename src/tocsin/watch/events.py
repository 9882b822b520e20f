"""What happened, told at once to whoever listens: the stream behind every page that stays live.

An event carries whose it is (`ref`) and what kind, never a value or a name: pages ask again for what they
show.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

#: Events kept for clients that come back.
KEPT = 2_000
#: Events waiting for one client; one that is slower than this is told to ask for everything again.
WAITING = 500
#: Seconds of silence after which a client is shown that the stream still lives.
BEAT = 10.0


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: `grade`, `fact`, `alert`, `patient`, or `reset`: ask for everything again.

    `shadow` ones are for those who may see shadows."""

    id: str
    kind: str
    data: Mapping[str, Any]
    shadow: bool = False

    def text(self) -> str:
        """As the stream spells it.

        >>> Event("b-1", "grade", {"ref": "x"}).text()
        'id: b-1\\nevent: grade\\ndata: {"ref":"x"}\\n\\n'
        """
        return f"id: {self.id}\nevent: {self.kind}\ndata: {orjson.dumps(self.data).decode()}\n\n"


class Listener:
    """One client's queue, filled from any thread and emptied in its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue(WAITING)
        self.lost = False

    def hand(self, event: Event | None) -> None:
        """Called in the loop."""
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.lost = True


class Hub:
    """Events of this process, numbered; publish from any thread."""

    def __init__(self) -> None:
        self.boot = secrets.token_hex(4)
        self.number = 0
        self.kept: deque[tuple[int, Event]] = deque(maxlen=KEPT)
        self.listeners: set[Listener] = set()
        self.closed = False
        self._lock = threading.Lock()

    def publish(self, kind: str, data: Mapping[str, Any], *, shadow: bool = False) -> str:
        """Tell everybody; returns the event's id."""
        with self._lock:
            self.number += 1
            event = Event(f"{self.boot}-{self.number}", kind, dict(data), shadow)
            self.kept.append((self.number, event))
            listeners = list(self.listeners)
        for listener in listeners:
            self._hand(listener, event)
        return event.id

    def close(self) -> None:
        """End every stream."""
        with self._lock:
            self.closed = True
            listeners = list(self.listeners)
        for listener in listeners:
            self._hand(listener, None)

    def since(self, last: str | None) -> list[Event]:
        """What a client that heard `last` has missed; one `reset` where that is no longer known."""
        with self._lock:
            return self._missed(last)

    def _missed(self, last: str | None) -> list[Event]:
        if not last:
            return []
        boot, _, number = last.partition("-")
        heard = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else -1
        oldest = self.kept[0][0] if self.kept else self.number + 1
        if boot != self.boot or heard < oldest - 1 or heard > self.number:
            return [self._reset()]
        return [event for n, event in self.kept if n > heard]

    def _reset(self) -> Event:
        return Event(f"{self.boot}-{self.number}", "reset", {})

    async def listen(self, last: str | None = None, *, shadow: bool = False) -> AsyncIterator[list[Event]]:
        """Events as they happen, those of one moment together, after what was missed since `last`; none is a
        sign of life."""
        listener = Listener(asyncio.get_running_loop())
        with self._lock:
            missed = self._missed(last)
            self.listeners.add(listener)
        try:
            events: list[Event | None] = [*missed]
            while True:
                told = [event for event in events if event and (shadow or not event.shadow)]
                if told:
                    yield told
                if None in events or self.closed:
                    return
                events = await self._next(listener)
                if not events:
                    yield []
        finally:
            with self._lock:
                self.listeners.discard(listener)

    async def _next(self, listener: Listener) -> list[Event | None]:
        """What waits for a listener, or comes within a while; None is the end."""
        try:
            events: list[Event | None] = [await asyncio.wait_for(listener.queue.get(), BEAT)]
        except TimeoutError:
            return []
        while not listener.queue.empty():
            events.append(listener.queue.get_nowait())
        if listener.lost:
            listener.lost = False
            with self._lock:
                return [self._reset()]
        return events

    def _hand(self, listener: Listener, event: Event | None) -> None:
        try:
            listener.loop.call_soon_threadsafe(listener.hand, event)
        except RuntimeError:  # its loop has ended
            with self._lock:
                self.listeners.discard(listener)
