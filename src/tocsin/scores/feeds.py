"""One input over time, asked at ascending moments: what is known of it then, and when that changes.

Each feed walks its readings once, so a whole record costs time in proportion to its rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from tocsin.definitions.score_item import Reads
from tocsin.grading.opcodes import HOUR
from tocsin.scores.record import Fact, Reading, Record


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of an input: an interval, the word, the row; `state` is `missing` where there is none."""

    low: float = -inf
    high: float = inf
    reading: Reading | None = None
    state: str = "missing"

    @property
    def known(self) -> bool:
        """Whether there is anything that bounds it."""
        return self.state == "used"


NOTHING = Seen()


class Feed(Protocol):
    """What all feeds can do."""

    def at(self, now: int) -> Seen: ...
    def points(self) -> Iterator[float]: ...


@dataclass(frozen=True, slots=True)
class Cut:
    """Only rows of [start, end), and none of them too old: a window at which scores were derived."""

    start: float
    end: float


def feed(reads: Reads, record: Record, course: Callable[[int], int | None], cut: Cut | None) -> Feed:
    """The feed that fits what is read."""
    readings = record.readings(reads)
    if cut is not None and reads.within_hours is not None:
        readings = [
            Reading(each.time, each.low, each.high, inf, each.row, each.state, each.word, each.flags)
            for each in readings
            if cut.start <= each.time < cut.end
        ]
    hold = record.lib.measure(reads.measures[0]).hold_hours
    if reads.since_dose is not None:
        return SinceDose(readings, reads, course, hold)
    if reads.statistic in ("highest", "lowest"):
        return Extreme(readings, reads)
    if reads.statistic == "sum":
        return Sum(readings, reads, hold)
    return Last(readings)


class Last:
    """The latest reading, until it is too old."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self.readings = readings
        self.n = 0

    def at(self, now: int) -> Seen:
        """What the latest reading says."""
        while self.n < len(self.readings) and self.readings[self.n].time <= now:
            self.n += 1
        if not self.n:
            return NOTHING
        each = self.readings[self.n - 1]
        if now >= each.expires:
            return Seen(reading=each, state="too-old")
        return Seen(each.low, each.high, each, each.state)

    def points(self) -> Iterator[float]:
        """When the answer may change."""
        for each in self.readings:
            yield each.time
            yield each.expires


class Extreme:
    """The highest or lowest reading of the last hours."""

    def __init__(self, readings: Sequence[Reading], reads: Reads) -> None:
        self.readings = readings
        self.span = (reads.within_hours or inf) * HOUR
        self.sign = 1.0 if reads.statistic == "highest" else -1.0
        self.n = 0
        # the best end and the other end of each interval, each falling from the front
        self.near: deque[Reading] = deque()
        self.far: deque[Reading] = deque()

    def at(self, now: int) -> Seen:
        """The most extreme reading of the span that ends now."""
        while self.n < len(self.readings) and self.readings[self.n].time <= now:
            each = self.readings[self.n]
            for held, end in ((self.near, self._near), (self.far, self._far)):
                while held and end(held[-1]) <= end(each):
                    held.pop()
                held.append(each)
            self.n += 1
        for held in (self.near, self.far):
            while held and held[0].time <= now - self.span:
                held.popleft()
        if not self.near:
            return Seen(reading=self.readings[self.n - 1], state="too-old") if self.n else NOTHING
        near, far = self._near(self.near[0]) * self.sign, self._far(self.far[0]) * self.sign
        readable = self.near[0].state == "used"
        low, high = (near, far) if self.sign > 0 else (far, near)
        return Seen(low, high, self.near[0], "used" if readable else self.near[0].state)

    def _near(self, each: Reading) -> float:
        """The end that is proven: the low one of the highest."""
        return self.sign * (each.low if self.sign > 0 else each.high)

    def _far(self, each: Reading) -> float:
        return self.sign * (each.high if self.sign > 0 else each.low)

    def points(self) -> Iterator[float]:
        """When the answer may change."""
        for each in self.readings:
            yield each.time
            yield each.time + self.span


class Sum:
    """What was charted in the last hours, added up; at least that much where charting has gaps."""

    def __init__(self, readings: Sequence[Reading], reads: Reads, hold: float | None) -> None:
        self.readings = readings
        self.span = (reads.within_hours or inf) * HOUR
        self.hold = (hold or inf) * HOUR
        self.n = self.out = 0
        self.total = 0.0
        self.since = 0

    def at(self, now: int) -> Seen:
        """The sum of the span that ends now."""
        while self.n < len(self.readings) and self.readings[self.n].time <= now:
            each = self.readings[self.n]
            if not self.n or each.time - self.readings[self.n - 1].time > self.hold or each.state != "used":
                self.since = each.time
            self.total += each.low if each.state == "used" else 0.0
            self.n += 1
        while self.out < self.n and self.readings[self.out].time <= now - self.span:
            each = self.readings[self.out]
            self.total -= each.low if each.state == "used" else 0.0
            self.out += 1
        if not self.n:
            return Seen(0.0, inf, None, "missing")
        last = self.readings[self.n - 1]
        covered = self.since <= now - self.span and now - last.time <= self.hold
        total = max(0.0, round(self.total, 6))
        return Seen(total, total if covered else inf, last, "used" if covered else "too-old")

    def points(self) -> Iterator[float]:
        """When the answer may change."""
        for each in self.readings:
            yield each.time
            yield each.time + self.span
            yield each.time + self.hold + 1


class SinceDose:
    """The highest or lowest reading of a span of hours after the dose.

    It can still be beaten while the span runs, and where nobody looked for longer than a reading stands.
    """

    def __init__(
        self,
        readings: Sequence[Reading],
        reads: Reads,
        course: Callable[[int], int | None],
        hold: float | None,
    ) -> None:
        assert reads.since_dose is not None
        self.readings = readings
        self.sign = 1.0 if reads.statistic == "highest" else -1.0
        self.start, self.end = (hours * HOUR for hours in reads.since_dose)
        self.hold = (hold or inf) * HOUR
        self.course = course
        self.dose: int | None = None
        self._begin()

    def _begin(self) -> None:
        self.n = 0
        self.best: Reading | None = None
        self.gap = False
        self.seen: float = (self.dose or 0) + self.start

    def at(self, now: int) -> Seen:
        """The most extreme reading of the span, as far as it has run."""
        dose = self.course(now)
        if dose is None:
            return NOTHING
        if dose != self.dose:
            self.dose = dose
            self._begin()
        start, end = dose + self.start, dose + self.end
        while self.n < len(self.readings) and self.readings[self.n].time <= min(now, end):
            each = self.readings[self.n]
            self.n += 1
            if each.time < start:
                continue
            self.gap = self.gap or each.time - self.seen > self.hold or each.state != "used"
            self.seen = each.time
            better = self.best is None or self.sign * each.low > self.sign * self.best.low
            if each.state == "used" and better:
                self.best = each
        complete = now >= end and not self.gap and end - self.seen <= self.hold
        if self.best is None:
            return NOTHING
        open_end = self.sign * inf
        if self.sign > 0:
            return Seen(self.best.low, self.best.high if complete else open_end, self.best, "used")
        return Seen(self.best.low if complete else open_end, self.best.high, self.best, "used")

    def points(self) -> Iterator[float]:
        """When the answer may change (the ends of the span come with the doses)."""
        for each in self.readings:
            yield each.time


class Charted:
    """Whether something was given, felt or is so: yes, no or not known at ascending moments."""

    def __init__(self, names: Sequence[str], record: Record, hours: float | None, if_missing: str) -> None:
        self.ids = [each for name in names for each in record.lib.classes.get(name, (name,))]
        self.rows = sorted((row for name in self.ids for row in record.of(name)), key=lambda row: row["time"])
        self.hours, self.if_missing = hours, if_missing
        self.n = 0
        self.until: dict[str, tuple[float, Fact]] = {}
        self.absent: dict[str, float] = {}

    def at(self, now: int) -> tuple[int, Fact | None]:
        """2 yes, 1 not known, 0 no; and the row that says so."""
        while self.n < len(self.rows) and self.rows[self.n]["time"] <= now:
            row = self.rows[self.n]
            name, self.n = str(row["measure"]), self.n + 1
            if row.get("text") in ("absent", "no") or row.get("value") == 0:
                self.until.pop(name, None)
                self.absent[name] = self._expires(row)
            elif row.get("text") != "unusable" and self._expires(row) >= self.until.get(name, (0.0, row))[0]:
                self.absent.pop(name, None)
                self.until[name] = (self._expires(row), row)
        for until, row in self.until.values():
            if now < until:
                return 2, row
        if self.ids and all(now < self.absent.get(name, -inf) for name in self.ids):
            return 0, None
        return (0 if self.if_missing == "no" else 1), None

    def _expires(self, row: Fact) -> float:
        if row["end"] is not None:
            return float(row["end"])
        return inf if self.hours is None else row["time"] + self.hours * HOUR

    def points(self) -> Iterator[float]:
        """When the answer may change."""
        for row in self.rows:
            yield row["time"]
            yield self._expires(row)
