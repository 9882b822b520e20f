"""The machines of everybody watched: a new fact in, a new grade out, by the functions that grade files.

Most facts go straight to their patient's machine. What may change how earlier facts are read (a correction, a
late fact, a weight after a rate, a dose) lets that patient alone begin anew from the store. Facts are held in
the store, not here: a patient held costs some 50 KB, and one not heard of for long only what the board shows.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import pyarrow as pa

from tocsin.definitions.load import Library
from tocsin.facts import settle
from tocsin.grading.compiled import is_warm
from tocsin.grading.live import Live
from tocsin.grading.opcodes import INF
from tocsin.grading.ward import Machines, PlainWard, Said, Ward
from tocsin.watch.births import SAID
from tocsin.watch.held import Held, by_weight, canonical, grouped, newest_of, notable, take_up
from tocsin.watch.intake import plain, table_of
from tocsin.watch.newest import Newest
from tocsin.watch.standing import Reader, Standing, Told

#: Machines kept in memory; the longest not heard of gives way. Some 50 KB each, with what is held beside.
MACHINES = 25_000

TIME = itemgetter("time")
Row = Mapping[str, Any]
Facts = Sequence[Row]
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
        live = Live(scales, lib=lib, keeps_rows=False)
        self.program, self.coder = live.compiled, live.coder
        self.machines: Machines = PlainWard(live)
        self.reader = Reader(self.program)
        self.held: dict[str, Held] = {}
        self.told: dict[str, Told] = {}
        self.order: OrderedDict[str, None] = OrderedDict()
        self.due: list[tuple[int, str]] = []

    def load(self, rows: pa.Table, now: int, *, fast: bool = False) -> dict[str, Held]:
        """Stored rows of whole persons as what is held of them; a machine is made when it is needed. Beside
        other threads: nothing is changed before `hold`."""
        return take_up(rows, self.program, self.reader, self.lib, now, fast=fast)

    def hold(self, found: Mapping[str, Held]) -> None:
        """Hold who is not held yet."""
        for who, held in found.items():
            if who not in self.held:
                self.held[who] = held
                if held.next < INF:
                    heapq.heappush(self.due, (held.next, who))

    def take(self, rows: Facts, now: int) -> list[Change]:
        """Take newly stored facts (rows of the ledger, under their persons); returns whose answer changed."""
        self._hasten()
        of: dict[str, list[Row]] = {}
        for row in rows:
            of.setdefault(row["patient_id"], []).append(row)
        with self._whole(of):
            said = self._go_on({who: mine for who, mine in of.items() if not self._anew(who, mine)}, now)
            said |= self._begin([who for who in of if who not in said], now)
            return self._changes(of, said, now)

    def update(self, people: Iterable[str], now: int) -> list[Change]:
        """Bring the answers of persons to `now`; returns those that changed."""
        self._hasten()
        asked = dict.fromkeys(people)
        with self._whole(asked):
            said = self.machines.go_on(dict.fromkeys(asked, ()), now)
            said |= self._begin([who for who in asked if who not in said], now)
            return self._changes(asked, said, now)

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
        self._cool(who)

    def _hasten(self) -> None:
        """Go over to the compiled machine once it is there: everybody begins anew when next heard of."""
        if isinstance(self.machines, PlainWard) and is_warm("onward_all"):
            self.machines = Ward(self.program, self.lib, self.coder)
            self.told.clear()
            self.order.clear()

    @contextmanager
    def _whole(self, people: Iterable[str]) -> Iterator[None]:
        """Where something fails half-way (the store is gone), let the machines go that may have moved on
        without what they said being held."""
        try:
            yield
        except BaseException:
            for who in people:
                self._cool(who)
            raise

    def _anew(self, who: str, rows: Facts) -> bool:
        """Whether new facts may change what older ones mean, or there is no machine to take them."""
        held = self.held.get(who)
        if held is None or who not in self.machines or held.looks_back:
            return True
        weighs = any(row["measure"] == "weight" for row in rows)
        rates = held.infusions or any(by_weight(row, self.lib) for row in rows)
        return (weighs and rates) or any(
            row["replaces"] or row["text"] == "retracted" or row["measure"] in SAID or held.ages_with(row)
            for row in rows
        )

    def _go_on(self, of: Mapping[str, Facts], now: int) -> dict[str, Said]:
        """Hand facts to their machines; who is not in the answer has to begin anew instead."""
        weighed = {who for who, mine in of.items() if any(by_weight(row, self.lib) for row in mine)}
        facts: dict[str, Facts] = {
            who: sorted(mine, key=TIME) for who, mine in of.items() if who not in weighed
        }
        if weighed:
            beside = [row for who in weighed for row in self.held[who].weights]
            rows = [row for who in weighed for row in of[who]]
            settled = plain(settle(table_of([*beside, *rows]), lib=self.lib).table)
            facts |= grouped(fact for fact in settled if fact["measure"] != "weight")
        code = self.coder.code
        said = self.machines.go_on({who: [code(fact) for fact in mine] for who, mine in facts.items()}, now)
        for who in said:
            self.held[who].newest.take(facts[who], self.lib)
            self._warm(who)
            for row in of[who]:
                self.held[who].note(row, self.lib)
        return said

    def _begin(self, people: Sequence[str], now: int) -> dict[str, Said]:
        """Let persons begin anew from the store; without those of whom nothing stands."""
        if not people:
            return {}
        rows = self.recall(people)
        for who in people:
            self._cool(who)
        facts = canonical(rows, self.lib)
        said = self.machines.begin(facts, now)
        for who, newest in newest_of(facts, self.lib).items():
            held = self.held.setdefault(who, Held())
            held.ages.clear()
            held.newest = newest
            self._warm(who)
        for row in notable(rows, self.lib):
            if row["patient_id"] in said:
                self.held[row["patient_id"]].note(row, self.lib)
        return said

    def _changes(self, people: Iterable[str], said: Mapping[str, Said], now: int) -> list[Change]:
        """Hold what the machines said; returns whose answer changed."""
        changes: list[Change] = []
        for who in people:
            if who not in said:
                changes += self._emptied(who)
                continue
            held, each = self.held[who], said[who]
            told = Told() if each.anew else self.told[who]
            before, held.next = held.standing, each.next
            held.standing, held.spans = self.reader.read(each.settled, each.beside, now, told)
            self.told[who] = told
            if held.next < INF:
                heapq.heappush(self.due, (held.next, who))
            if different(before, held.standing):
                changes.append(Change(who, before, held.standing))
        while len(self.order) > self.most:  # those longest not heard of
            self._cool(next(iter(self.order)))
        return changes

    def _emptied(self, who: str) -> list[Change]:
        """Nothing stands of a person any more: all that was charted has been withdrawn."""
        held = self.held.get(who)
        if held is None or not held.standing:
            return []
        before, held.standing, held.spans, held.next = held.standing, {}, {}, INF
        held.newest = Newest()
        return [Change(who, before, {})]

    def _warm(self, who: str) -> None:
        """Heard of just now."""
        self.order[who] = None
        self.order.move_to_end(who)

    def _cool(self, who: str) -> None:
        """Let a machine go, if there is one."""
        self.order.pop(who, None)
        self.told.pop(who, None)
        self.machines.forget(who)


def different(before: Mapping[str, Standing], after: Mapping[str, Standing]) -> bool:
    """Whether two answers differ in more than when they were given.

    >>> different({}, {})
    False
    """
    return before.keys() != after.keys() or any(
        before[scale].said() != answer.said() for scale, answer in after.items()
    )
