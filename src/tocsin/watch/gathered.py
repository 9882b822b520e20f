"""Facts of many senders read at once: reading five rows costs nearly what reading five hundred does.

Whoever comes while others are being read waits, and is read with all who wait then. Each gets what it would
have got alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tocsin.definitions.load import Library
from tocsin.watch import intake

#: Rows at which a group is full.
ROWS = 5_000
Row = Mapping[str, Any]


@dataclass(slots=True)
class Waiting:
    """Rows of one sender, and what they were read as."""

    rows: Sequence[Row]
    taken: intake.Intake | None = None
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Gathered:
    """Reads facts for any number of threads; `now` is the service's clock."""

    def __init__(self, lib: Library, now: Callable[[], int]) -> None:
        self.lib, self.now = lib, now
        self._waiting: deque[Waiting] = deque()
        self._reading = threading.Lock()

    def read(self, rows: Sequence[Row]) -> intake.Intake:
        """JSON-like facts as rows to store, each numbered by its place; raises what `intake.read` raises."""
        mine = Waiting(rows)
        self._waiting.append(mine)
        with self._reading:
            while not mine.done.is_set():
                self._read(self._group())
        if mine.taken is None:
            raise mine.error or RuntimeError("not read")
        return mine.taken

    def _group(self) -> list[Waiting]:
        """Those who wait, in the order they came; only the thread that reads takes from them."""
        group: list[Waiting] = []
        size = 0
        while self._waiting and (size < ROWS or not group):
            group.append(self._waiting.popleft())
            size += len(group[-1].rows)
        return group

    def _read(self, group: Sequence[Waiting]) -> None:
        try:
            facts = [dict(row) for each in group for row in each.rows]
            whole = intake.read(intake.batches_of(facts)[0], lib=self.lib, now=self.now())
            for each, taken in zip(group, parts(whole, [len(one.rows) for one in group]), strict=True):
                each.taken = taken
        except Exception as error:
            if len(group) > 1:  # nobody fails for a neighbour
                for each in group:
                    self._read([each])
                return
            group[0].error = error
        for each in group:
            each.done.set()


def parts(whole: intake.Intake, sizes: Sequence[int]) -> list[intake.Intake]:
    """What was read at once, by sender: so many rows of each, numbered from 1 again."""
    found = [intake.Intake([]) for _ in sizes]
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    whose = [place for place, size in enumerate(sizes) for _ in range(size)]
    for place, row in enumerate(whole.rows):
        mine = whose[row["row"] - 1]
        if place in whole.marks:
            found[mine].marks.add(len(found[mine].rows))
        row["row"] -= starts[mine]
        found[mine].rows.append(row)
    for name in ("refused", "kept"):
        for told in getattr(whole, name):
            mine = whose[told["row"] - 1]
            getattr(found[mine], name).append({**told, "row": told["row"] - starts[mine]})
    return found
