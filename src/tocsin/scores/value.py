"""What a score answers: a value or a range, every input with its age, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import log2
from typing import Any

from tocsin.facts.instants import written


@dataclass(frozen=True, slots=True)
class Input:
    """One row behind an item.

    `value` is in `unit`, the score's; `text` a word, or the comparator `<` or `>`; `time` microseconds;
    `hours` its age; `source` the row it came from. `state`: `used`, `too-old`, `unreadable`, `no-limit` (the
    laboratory's limit is not known).
    """

    measure: str
    value: float | None
    text: str | None
    unit: str | None
    time: int
    hours: float
    source: str | None
    state: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One item: what it is worth at least and at most (none: not known), its inputs, what would settle it."""

    id: str
    title: str
    low: float | None
    high: float | None
    inputs: tuple[Input, ...]
    missing: tuple[str, ...]
    status: str = "draft"


@dataclass(frozen=True, slots=True)
class Value:
    """One score of one patient at one moment.

    `low` and `high` are equal where everything is known, apart where something is not, and none where no
    number can be given. `band` is a published label that holds for the whole range. `window` is the time, of
    those at which scores were derived, that the moment lies in. `population`: `matches`, `differs` or
    `unknown`.
    `log2_change` is that of the last `log2_change_hours`. `beside` are scores to be read together with this
    one.
    """

    patient: str
    score: str
    at: int
    low: float | None
    high: float | None
    unit: str
    band: str | None
    probability_low: float | None
    probability_high: float | None
    items: tuple[Item, ...]
    missing: tuple[str, ...]
    flags: tuple[str, ...]
    notes: tuple[str, ...]
    status: str
    definition: str
    title: str = ""
    window: str | None = None
    population: str = "unknown"
    log2: bool = False
    log2_change: float | None = None
    log2_change_hours: float | None = None
    evidence: str = ""
    source: tuple[str, ...] = ()
    beside: tuple[Value, ...] = ()

    @property
    def known(self) -> bool:
        """Whether there is one value."""
        return self.low is not None and self.low == self.high

    @property
    def log2_low(self) -> float | None:
        """The base-2 logarithm of `low`, for scores whose effect is told per doubling."""
        return log2(self.low) if self.log2 and self.low is not None and self.low > 0 else None

    @property
    def log2_high(self) -> float | None:
        """The base-2 logarithm of `high`."""
        return log2(self.high) if self.log2 and self.high is not None and self.high > 0 else None

    def as_dict(self) -> dict[str, Any]:
        """The value as JSON can hold it; times are ISO 8601 with Z."""
        said: dict[str, Any] = {"patient_id": self.patient, "score": self.score, "at": written(self.at)}
        said["value"] = self.low if self.known else None
        for each in fields(self):
            if each.name not in ("patient", "score", "at", "items", "beside", "log2"):
                held = getattr(self, each.name)
                said[each.name] = list(held) if isinstance(held, tuple) else held
        said["log2_low"], said["log2_high"] = self.log2_low, self.log2_high
        said["items"] = [_item(item) for item in self.items]
        said["beside"] = [each.as_dict() for each in self.beside]
        return said


def _item(item: Item) -> dict[str, Any]:
    return {
        "id": item.id, "title": item.title, "low": item.low, "high": item.high, "status": item.status,
        "missing": list(item.missing),
        "inputs": [
            {
                "measure": each.measure, "value": each.value, "text": each.text, "unit": each.unit,
                "time": written(each.time), "hours": round(each.hours, 2), "source": each.source,
                "state": each.state, "flags": list(each.flags),
            }
            for each in item.inputs
        ],
    }  # fmt: skip
