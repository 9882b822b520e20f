"""One patient's facts in order of time, and how times are written."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

from tocsin.definitions.load import Library
from tocsin.grading.live import micros

Fact = Mapping[str, Any]
#: Rows that were charted and say nothing that could be used.
SILENT = ("unusable", "retracted")


class Chart:
    """One patient's facts in order of time, and by measure."""

    def __init__(self, rows: Iterable[Fact]) -> None:
        self.rows = sorted(map(_in_micros, rows), key=itemgetter("time"))
        self.times = [row["time"] for row in self.rows]
        self.by_measure: dict[str, list[Fact]] = {}
        for row in self.rows:
            self.by_measure.setdefault(row["measure"], []).append(row)
        self.times_of = {name: [row["time"] for row in rows] for name, rows in self.by_measure.items()}
        self._gifts: dict[str, tuple[list[int], list[Fact]]] = {}
        self._events: dict[str, tuple[int, ...]] = {}

    def happened(self, event: str, look: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
        """When an event happened: `look` is asked once, and what it said goes when the chart goes."""
        if event not in self._events:
            self._events[event] = look()
        return self._events[event]

    def gifts(self, name: str, lib: Library) -> tuple[list[int], list[Fact]]:
        """When a drug was given, and the rows: one an instant, without stops and absences."""
        if name not in self._gifts:
            infusion = name in lib.measures and lib.measure(name).kind == "infusion"
            found: dict[int, Fact] = {}
            for row in self.by_measure.get(name, ()):
                if row.get("text") != "absent" and not (infusion and row.get("value") == 0):
                    found.setdefault(int(row["time"]), row)
            self._gifts[name] = list(found), list(found.values())
        return self._gifts[name]

    def until(self, measure: str, now: int) -> list[Fact]:
        """The rows of one measure at or before `now`."""
        rows = self.by_measure.get(measure, [])
        return rows[: bisect_right(self.times_of[measure], now)] if rows else rows


def _in_micros(row: Fact) -> Fact:
    """A row with its times in microseconds; itself where they are so already."""
    get = row.get
    time, end, recorded = get("time"), get("end"), get("recorded")
    if (
        isinstance(time, int)
        and (end is None or isinstance(end, int))
        and (recorded is None or isinstance(recorded, int))
    ):
        return row
    times = {"time": time, "end": end, "recorded": recorded}
    return {**row, **{name: None if each is None else micros(each) for name, each in times.items()}}
