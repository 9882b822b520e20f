"""The machines of everybody watched: a new fact in, a new grade out, by the functions that grade files.

Most facts go straight to their patient's machine. What may change how earlier facts are read (a correction, a
late fact, a weight after a rate, a dose) lets that patient alone begin anew from the store. Facts are held in
the store, not here: a patient held costs some 70 KB, and one not heard of for long only what the board shows.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tocsin.definitions.load import Library
from tocsin.facts import settle
from tocsin.grading.live import Live
from tocsin.grading.opcodes import INF
from tocsin.watch.births import SAID
from tocsin.watch.held import Held, by_weight, canonical, grouped, notable, take_up
from tocsin.watch.intake import plain, table_of
from tocsin.watch.newest import Newest
from tocsin.watch.standing import Reader, Standing

#: Machines kept in memory; the longest not heard of gives way. Some 70 KB each, with what is held beside.
MACHINES = 25_000

Facts = Sequence[Mapping[str, Any]]
#: Every stored row of some persons, each under its person (`facts.columns.READ`).
Recall = Callable[[Sequence[str]], pa.Table]


@dataclass(frozen=True, slots=True)
class Change:
    """One person's answer as it was and as it is; `before` is empty for somebody new."""

    patient_id: str
    before: Mapping[str, Standing]
    after: Mapping[str, Standing]


class Memory:
    """Everybody watched. One thread uses it at a time; reading `held` is safe beside it."""

    def __init__(
        self, scales: Sequence[str], lib: Library, recall: Recall, *, machines: int = MACHINES
    ) -> None:
        self.lib, self.recall, self.most = lib, recall, machines
        self.live = Live(scales, lib=lib, keeps_rows=False)
        self.reader = Reader(self.live.compiled)
        self.held: dict[str, Held] = {}
        self.order: OrderedDict[str, None] = OrderedDict()
        self.due: list[tuple[int, str]] = []

    def load(self, rows: pa.Table, now: int, *, fast: bool = False) -> dict[str, Held]:
        """Stored rows of whole persons as what is held of them; a machine is made when it is needed. Beside
        other threads: nothing is changed before `hold`."""
        return take_up(rows, self.live.compiled, self.reader, self.lib, now, fast=fast)

    def hold(self, found: Mapping[str, Held]) -> None:
        """Hold who is not held yet."""
        for who, held in found.items():
            if who not in self.held:
                self.held[who] = held
                if held.next < INF:
                    heapq.heappush(self.due, (held.next, who))

    def take(self, rows: Facts, now: int) -> list[Change]:
        """Take newly stored facts (rows of the ledger, under their persons); returns whose answer changed."""
        of: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            of.setdefault(row["patient_id"], []).append(row)
        anew = [who for who, mine in of.items() if self._anew(who, mine)]
        straight = [row for who, mine in of.items() if who not in anew for row in mine]
        anew += self._push(straight)
        self.restore(anew)
        return self.update(of, now)

    def restore(self, people: Iterable[str]) -> None:
        """Let persons begin anew from the store."""
        wanted = list(dict.fromkeys(people))
        if not wanted:
            return
        rows = self.recall(wanted)
        for who in wanted:
            self.live.patients.pop(who, None)
        for who, facts in grouped(plain(canonical(rows, self.lib))).items():
            self.live.restore(who, [self.live.coder.code(fact) for fact in facts])
            held = self.held.setdefault(who, Held())
            held.ages.clear()
            held.newest = Newest.of(facts, self.lib)
            self._warm(who)
        self._note(notable(rows, self.lib))

    def update(self, people: Iterable[str], now: int) -> list[Change]:
        """Bring the answers of persons to `now`; returns those that changed."""
        changes: list[Change] = []
        for who in people:
            if who not in self.live.patients:
                self.restore([who])
            if who not in self.live.patients:
                changes += self._emptied(who)
                continue
            held = self.held[who]
            rows, held.next = self.live.carried(who, now)
            before = held.standing
            held.standing, held.spans = self.reader.read(rows, now)
            if held.next < INF:
                heapq.heappush(self.due, (held.next, who))
            if different(before, held.standing):
                changes.append(Change(who, before, held.standing))
        return changes

    def _emptied(self, who: str) -> list[Change]:
        """Nothing stands of a person any more: all that was charted has been withdrawn."""
        held = self.held.get(who)
        if held is None or not held.standing:
            return []
        before, held.standing, held.spans, held.next = held.standing, {}, {}, INF
        held.newest = Newest()
        return [Change(who, before, {})]

    def lapse(self, now: int) -> list[Change]:
        """Let happen what time alone changes up to `now`."""
        people: dict[str, None] = {}
        while self.due and self.due[0][0] <= now:
            at, who = heapq.heappop(self.due)
            if who in self.held and self.held[who].next == at:
                people[who] = None
        return self.update(people, now)

    def forget(self, who: str) -> None:
        """Drop a person (discharged, erased or merged)."""
        self.held.pop(who, None)
        self.live.patients.pop(who, None)
        self.order.pop(who, None)

    def _anew(self, who: str, rows: Facts) -> bool:
        """Whether new facts may change what older ones mean, or there is no machine to take them."""
        held = self.held.get(who)
        if held is None or who not in self.live.patients or held.looks_back:
            return True
        weighs = any(row["measure"] == "weight" for row in rows)
        rates = held.infusions or any(by_weight(row, self.lib) for row in rows)
        return (weighs and rates) or any(
            row["replaces"]
            or row["text"] == "retracted"
            or row["measure"] in SAID
            or held.ages_with(row)
            for row in rows
        )

    def _push(self, rows: Facts) -> list[str]:
        """Hand facts to their machines; returns the persons that have to begin anew instead."""
        if not rows:
            return []
        people = {row["patient_id"] for row in rows if by_weight(row, self.lib)}
        beside = [row for who in people for row in self.held[who].weights]
        table = settle(table_of([*beside, *rows]), lib=self.lib).table
        refused: dict[str, None] = {}
        for who, facts in grouped(plain(table)).items():
            fresh = [fact for fact in facts if not (who in people and fact["measure"] == "weight")]
            for fact in fresh:
                if not self.live.push(who, self.live.coder.code(fact)):
                    refused[who] = None
                    break
            else:
                self.held[who].newest.take(fresh, self.lib)
                self._warm(who)
        self._note([row for row in rows if row["patient_id"] not in refused])
        return list(refused)

    def _note(self, rows: Facts) -> None:
        for row in rows:
            held = self.held.get(row["patient_id"])
            if held is not None:
                held.note(row, self.lib)

    def _warm(self, who: str) -> None:
        """Keep a machine; let the one longest not heard of go."""
        self.order[who] = None
        self.order.move_to_end(who)
        while len(self.order) > self.most:
            oldest, _ = self.order.popitem(last=False)
            self.live.patients.pop(oldest, None)


def different(before: Mapping[str, Standing], after: Mapping[str, Standing]) -> bool:
    """Whether two answers differ in more than when they were given.

    >>> different({}, {})
    False
    """
    return before.keys() != after.keys() or any(
        before[scale].said() != answer.said() for scale, answer in after.items()
    )
