"""The newest reading of what the board shows, and the doses of therapies; one per person, small."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library

#: Vital signs and what goes with them, as the board lines them up.
VITALS = (
    "temperature", "systolic-bp", "diastolic-bp", "mean-bp", "heart-rate", "respiratory-rate", "spo2",
    "oxygen-device", "oxygen-flow", "fio2", "ice-score",
)  # fmt: skip


class Reading(NamedTuple):
    """A value and when it was true; `end` where it says when it ended (microseconds)."""

    time: int
    value: float | None
    text: str | None
    end: int | None


class Doses(NamedTuple):
    """How often a therapy was given, and when first and last."""

    given: int
    first: int
    last: int


@dataclass(slots=True)
class Newest:
    """What is newest of one person. `seen` is the time of the newest fact of any kind."""

    readings: dict[str, Reading] = field(default_factory=dict)
    doses: dict[str, Doses] = field(default_factory=dict)
    seen: int = 0

    @classmethod
    def of(cls, facts: Iterable[Mapping[str, Any]], lib: Library) -> Newest:
        """From all facts of a person."""
        newest = cls()
        newest.take(facts, lib)
        return newest

    def take(self, facts: Iterable[Mapping[str, Any]], lib: Library) -> None:
        """Take more facts (canonical, times in microseconds), in any order."""
        shown, therapies = measures(lib)
        for fact in facts:
            time, measure = fact["time"], fact["measure"]
            self.seen = max(self.seen, time)
            if measure in shown:
                old = self.readings.get(measure)
                if old is None or time >= old.time:
                    self.readings[measure] = Reading(time, fact["value"], fact["text"], fact["end"])
            elif measure in therapies and fact["text"] != "absent":
                given, first, last = self.doses.get(measure, Doses(0, time, time))
                self.doses[measure] = Doses(given + 1, min(first, time), max(last, time))


def telling(facts: pa.Table, lib: Library) -> pa.Table:
    """The few facts by which `Newest.of` says the same as by all of them; `facts` are in order of patient and
    time."""
    shown, therapies = measures(lib)
    who = pc.dictionary_encode(facts["patient_id"].combine_chunks()).indices.to_numpy()
    named = pc.dictionary_encode(facts["measure"].combine_chunks())
    what, names = named.indices.to_numpy(), named.dictionary.to_pylist()
    # where an entry is written more than once the last one stays: the newest of each measure, and of all
    last = np.full((int(who.max(initial=-1)) + 1, len(names) + 1), -1)
    last[who, what] = last[who, -1] = np.arange(len(who))
    wanted = last[:, [*(name in shown for name in names), True]]
    doses = np.flatnonzero(np.isin(what, [k for k, name in enumerate(names) if name in therapies]))
    return facts.take(pa.array(np.union1d(wanted[wanted >= 0], doses)))


@lru_cache(maxsize=4)
def measures(lib: Library) -> tuple[frozenset[str], frozenset[str]]:
    """The measures whose newest reading is kept, and those that are therapies."""
    infusions = {name for name, measure in lib.measures.items() if measure.kind == "infusion"}
    return frozenset({*VITALS, *infusions}), frozenset(lib.files("therapies"))
