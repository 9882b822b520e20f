"""One item over time: its points, or its number, at least and at most."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from tocsin.definitions.score_item import Condition, Reads, ScoreItem
from tocsin.grading.opcodes import HOUR
from tocsin.scores.feeds import Charted, Cut, Feed, Seen, feed
from tocsin.scores.record import Fact, Reading, Record
from tocsin.scores.value import Input, Item

YES, UNKNOWN, NO = 2, 1, 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What an item is asked with: the moment, and what each finding says then."""

    now: int
    states: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ground:
    """What items stand on: the record, the dose it counts from, the window, what each finding reads."""

    record: Record
    course: Callable[[int], int | None]
    cut: Cut | None
    waits: Mapping[str, tuple[str, ...]]


def item_feed(item: ScoreItem, ground: Ground) -> ItemFeed:
    """The item over one patient's record."""
    kinds: dict[str, Callable[[ScoreItem, Ground], ItemFeed]]
    kinds = {"value": Number, "bands": Banded, "count_of": Counted, "first_of": Ladder, "worst_of": Worst}
    return kinds[item.form](item, ground)


class ItemFeed(ABC):
    """An item over time; asked at ascending moments."""

    def __init__(self, item: ScoreItem, ground: Ground) -> None:
        self.item, self.ground = item, ground
        self.feed = feed(item.reads, ground.record, ground.course, ground.cut) if item.reads else None
        self.conditions = [Test(each, ground) for each in item.conditions]
        self.parts = [item_feed(part, ground) for part in item.parts]

    @abstractmethod
    def at(self, asked: Asked) -> Item:
        """What the item is worth at a moment."""

    def points(self) -> Iterator[float]:
        """When the answer may change, findings aside."""
        for each in (*((self.feed,) if self.feed else ()), *self.conditions, *self.parts):
            yield from each.points()

    def _item(
        self, low: float | None, high: float | None, inputs: tuple[Input, ...], missing: tuple[str, ...]
    ) -> Item:
        missing = () if low is not None and low == high else tuple(dict.fromkeys(missing))
        return Item(self.item.id, self.item.title, low, high, inputs, missing, self.item.status)


class Number(ItemFeed):
    """The number itself, as a product or a sum takes it."""

    def at(self, asked: Asked) -> Item:
        """The number, or none."""
        assert self.feed is not None
        assert self.item.reads is not None
        seen = self.feed.at(asked.now)
        inputs = inputs_of(seen, self.item.reads, asked.now)
        if not seen.known or inf in (seen.high, -seen.low):
            return self._item(None, None, inputs, self.item.reads.every)
        return self._item(seen.low, seen.high, inputs, self.item.reads.every)


class Banded(ItemFeed):
    """Points by the band a value, or a word, falls into."""

    def at(self, asked: Asked) -> Item:
        """The fewest and the most points of the bands that are not ruled out."""
        assert self.feed is not None
        assert self.item.reads is not None
        seen = self.feed.at(asked.now)
        inputs = inputs_of(seen, self.item.reads, asked.now)
        never = seen.reading is None and self.item.if_missing == "no"
        if never:
            return self._item(0.0, 0.0, inputs, ())
        state = asked.states[self.item.depends_on] if self.item.depends_on else UNKNOWN
        rows = [
            band for band in self.item.bands
            if not band.when or state == UNKNOWN or (band.when == "yes") == (state == YES)
        ]  # fmt: skip
        word = seen.reading.word if seen.reading and seen.known else None
        if word is not None:
            rows = [band for band in rows if word in band.words]
        else:
            rows = [band for band in rows if band.words or band.span.meets(seen.low, seen.high)]
        points = [band.points for band in rows]
        missing = self.item.reads.every if not seen.known or seen.low != seen.high else ()
        if self.item.depends_on and state == UNKNOWN:
            missing += self.ground.waits[self.item.depends_on]
        return self._item(min(points), max(points), inputs, missing)


class Counted(ItemFeed):
    """Points by how many conditions hold."""

    def at(self, asked: Asked) -> Item:
        """From those that hold to those that are not ruled out."""
        told = [each.at(asked) for each in self.conditions]
        low = sum(state == YES for state, _, _ in told)
        high = sum(state != NO for state, _, _ in told)
        inputs = tuple(each for _, inputs, _ in told for each in inputs)
        missing = tuple(name for state, _, names in told if state == UNKNOWN for name in names)
        if not self.item.bands:
            return self._item(float(low > 0), float(high > 0), inputs, missing)
        points = [
            band.points for n in range(low, high + 1) for band in self.item.bands if band.span.holds(n)
        ]
        return self._item(min(points), max(points), inputs, missing)


class Ladder(ItemFeed):
    """The points of the best condition that holds."""

    def at(self, asked: Asked) -> Item:
        """The most points proven, and the most not ruled out."""
        told = [(each.condition.points, *each.at(asked)) for each in self.conditions]
        low = max((points for points, state, _, _ in told if state == YES), default=0.0)
        high = max((points for points, state, _, _ in told if state != NO), default=0.0)
        inputs = tuple(each for _, _, inputs, _ in told for each in inputs)
        missing = tuple(
            name for points, state, _, names in told if state == UNKNOWN and points > low for name in names
        )
        return self._item(low, high, inputs, missing)


class Worst(ItemFeed):
    """The most points any part gives."""

    def at(self, asked: Asked) -> Item:
        """Proven by one part, ruled out only by all."""
        told = [part.at(asked) for part in self.parts]
        low = max(each.low or 0.0 for each in told)
        high = max(each.high or 0.0 for each in told)
        inputs = tuple(one for each in told for one in each.inputs)
        missing = tuple(name for each in told if (each.high or 0.0) > low for name in each.missing)
        return self._item(low, high, inputs, missing)


class Test:
    """One condition over time."""

    def __init__(self, condition: Condition, ground: Ground) -> None:
        self.condition, self.ground = condition, ground
        self.feed: Feed | None = None
        self.charted: Charted | None = None
        if condition.reads:
            self.feed = feed(condition.reads, ground.record, ground.course, ground.cut)
        if condition.charted:
            self.charted = Charted(
                condition.charted, ground.record, condition.within_hours, condition.if_missing
            )

    def at(self, asked: Asked) -> tuple[int, tuple[Input, ...], tuple[str, ...]]:
        """Yes, not known or no; the rows that say so; what would settle it."""
        if self.condition.finding:
            waits = self.ground.waits[self.condition.finding]
            return asked.states[self.condition.finding], self._latest(waits, asked.now), waits
        if self.charted is not None:
            state, row = self.charted.at(asked.now)
            return state, () if row is None else (plain_input(row, asked.now),), self.condition.charted
        assert self.feed is not None
        assert self.condition.reads is not None
        seen = self.feed.at(asked.now)
        inputs = inputs_of(seen, self.condition.reads, asked.now)
        return self._state(seen), inputs, self.condition.reads.every

    def _latest(self, measures: Sequence[str], now: int) -> tuple[Input, ...]:
        """The latest row of each measure a finding reads, as far as one still stands."""
        record = self.ground.record
        found = []
        for name in measures:
            hold = record.lib.measure(name).hold_hours
            row = record.latest(name, now)
            if row is not None and (hold is None or now - row["time"] < hold * HOUR):
                found.append(plain_input(row, now))
        return tuple(found)

    def _state(self, seen: Seen) -> int:
        if seen.reading is None and self.condition.if_missing == "no":
            return NO
        if not seen.known:
            return UNKNOWN
        if self.condition.words:
            return YES if seen.reading and seen.reading.word in self.condition.words else NO
        if self.condition.span.covers(seen.low, seen.high):
            return YES
        return UNKNOWN if self.condition.span.meets(seen.low, seen.high) else NO

    def points(self) -> Iterator[float]:
        """When the answer may change, findings aside."""
        for each in (self.feed, self.charted):
            if each is not None:
                yield from each.points()


def inputs_of(seen: Seen, reads: Reads, now: int) -> tuple[Input, ...]:
    """The row behind what was seen, as the answer shows it."""
    return () if seen.reading is None else (_input(seen.reading, seen.state, reads, now),)


def _input(each: Reading, state: str, reads: Reads, now: int) -> Input:
    row = each.row
    number: float | None = None
    if each.word is None and each.state == "used":
        number = each.high if row.get("text") == "<" else each.low
    unit = reads.unit or row.get("unit")
    if reads.reference:
        unit = "x ULN" if reads.reference == "times_uln" else f"{unit} above ULN"
    text = each.word or (row.get("text") if row.get("text") in ("<", ">") else None)
    return Input(
        row["measure"], number, text, unit, row["time"], (now - row["time"]) / HOUR, row.get("source"), state,
        each.flags,
    )  # fmt: skip


def plain_input(row: Fact, now: int) -> Input:
    """A row of something given, felt or so."""
    return Input(
        row["measure"], row.get("value"), row.get("text"), row.get("unit"), row["time"],
        (now - row["time"]) / HOUR, row.get("source"), "used",
    )  # fmt: skip
