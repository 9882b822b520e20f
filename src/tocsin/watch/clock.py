"""What time it is, for the whole service: the computer's clock, a demonstration's faster one, or a test's."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

#: Spans in microseconds.
MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """Microseconds since 1970. `start` and `speed` make a demonstration's clock: `speed` seconds a second.

    The service never goes back in time with the computer's clock: a clock set back stands until it is
    overtaken, so that a grade once given is not un-given.

    >>> Clock(start=1_000_000, speed=0.0).now()
    1000000
    """

    def __init__(
        self, *, start: int | None = None, speed: float = 1.0, source: Callable[[], float] = time.time
    ) -> None:
        self.source, self.speed = source, speed
        self.origin = source()
        self.start = round(self.origin * 1_000_000) if start is None else start
        self.latest = self.start

    def now(self) -> int:
        """The present, in microseconds."""
        told = self.start + round((self.source() - self.origin) * self.speed * 1_000_000)
        self.latest = max(self.latest, told)
        return self.latest

    def moment(self) -> datetime:
        """The present, as an aware datetime."""
        return moment_of(self.now())


def moment_of(micros: int) -> datetime:
    """Microseconds since 1970 as an aware datetime.

    >>> moment_of(0).isoformat()
    '1970-01-01T00:00:00+00:00'
    """
    return EPOCH + timedelta(microseconds=micros)
