"""The machines of everybody watched: a new fact in, a new grade out, by the functions that grade files.

Most facts go straight to their patient's machine. What may change how earlier facts are read (a correction, a
late fact, a weight after a rate, a dose) lets that patient alone begin anew from the store. Facts are held in
the store, not here: a patient held costs some 50 KB, and one not heard of for long only what the board shows.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tocsin.definitions.load import Library
from tocsin.facts import resolve, settle
from tocsin.grading.batch import run, worth_compiling
from tocsin.grading.live import Live
from tocsin.grading.opcodes import INF
from tocsin.grading.rows import prepare
from tocsin.watch.intake import plain, table_of
from tocsin.watch.newest import Newest
from tocsin.watch.standing import Reader, Span, Standing

#: Machines kept in memory; the longest not heard of gives way. Some 50 KB each.
MACHINES = 25_000
#: Patients read and graded at once when the service starts.
AT_ONCE = 200

Facts = Sequence[Mapping[str, Any]]
#: Every stored fact of some persons, each row under its person.
Recall = Callable[[Sequence[str]], list[dict[str, Any]]]


@dataclass(slots=True)
class Held:
    """What is held of one person, besides the machine. `weights` are rows that rates may be taken with;
    `looks_back` says that new facts may change what older ones mean; `next` is when the answer may change
    with time alone."""

    standing: dict[str, Standing] = field(default_factory=dict)
    spans: dict[str, list[Span]] = field(default_factory=dict)
    next: int = INF
    newest: Newest = field(default_factory=Newest)
    weights: list[Mapping[str, Any]] = field(default_factory=list)
    infusions: bool = False
    looks_back: bool = False


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
        self.infusions = {name for name, measure in lib.measures.items() if measure.kind == "infusion"}

    def load(self, people: Sequence[str], now: int) -> None:
        """Take up persons whose facts are stored: their answers at once, a machine when it is needed."""
        for start in range(0, len(people), AT_ONCE):
            rows = self.recall(people[start : start + AT_ONCE])
            if rows:
                self._load(rows, now)

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
        for who, facts in self._canonical(rows).items():
            self.live.restore(who, [self.live.coder.code(fact) for fact in facts])
            held = self._hold(who)
            held.newest = Newest.of(facts, self.lib)
            self._warm(who)
        self._note(rows)

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

    def _load(self, rows: Facts, now: int) -> None:
        table = _resolved(rows, self.lib)
        if not table.num_rows:
            return
        program = self.live.compiled
        prepared, starts, patients = prepare(table, program, self.lib)
        fast = worth_compiling(table.num_rows)
        names = patients.to_pylist()
        standing = run(program, prepared, starts, now + 1, True, fast).tolist()
        ahead = run(program, prepared, starts, INF, False, fast)
        ends = ahead[(ahead[:, 3] > now) & (ahead[:, 3] < INF)]
        soonest: dict[int, int] = {}
        for place, end in ends[:, [0, 3]].tolist():
            soonest[place] = min(end, soonest.get(place, INF))
        of: dict[int, list[list[int]]] = {}
        for row in standing:
            of.setdefault(row[0], []).append(row)
        facts = grouped(plain(table))
        for place, who in enumerate(names):
            held = self._hold(who)
            held.standing, held.spans = self.reader.read(of.get(place, []), now)
            held.next = soonest.get(place, INF)
            held.newest = Newest.of(facts[who], self.lib)
            if held.next < INF:
                heapq.heappush(self.due, (held.next, who))
        self._note(rows)

    def _canonical(self, rows: Facts) -> dict[str, list[dict[str, Any]]]:
        """Facts as grading reads them, by person and in order of time."""
        return grouped(plain(_resolved(rows, self.lib)))

    def _anew(self, who: str, rows: Facts) -> bool:
        """Whether new facts may change what older ones mean, or there is no machine to take them."""
        held = self.held.get(who)
        if held is None or who not in self.live.patients or held.looks_back:
            return True
        weighs = any(row["measure"] == "weight" for row in rows)
        rates = held.infusions or any(self._by_weight(row) for row in rows)
        return (weighs and rates) or any(row["replaces"] or row["text"] == "retracted" for row in rows)

    def _by_weight(self, row: Mapping[str, Any]) -> bool:
        return bool(row["pending"]) or row["measure"] in self.infusions

    def _push(self, rows: Facts) -> list[str]:
        """Hand facts to their machines; returns the persons that have to begin anew instead."""
        if not rows:
            return []
        people = {row["patient_id"] for row in rows if self._by_weight(row)}
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
        """Remember what decides how later facts are taken."""
        for row in rows:
            held = self.held.get(row["patient_id"])
            if held is None:
                continue
            held.infusions = held.infusions or self._by_weight(row)
            held.looks_back = held.looks_back or bool(row["replaces"])
            if row["measure"] == "weight" and row not in held.weights:
                held.weights.append(row)

    def _hold(self, who: str) -> Held:
        held = self.held.get(who)
        if held is None:
            held = self.held[who] = Held()
        return held

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


def grouped(facts: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Facts by person, in the order they come."""
    found: dict[str, list[dict[str, Any]]] = {}
    for fact in facts:
        found.setdefault(fact["patient_id"], []).append(fact)
    return found


def _resolved(rows: Facts, lib: Library) -> pa.Table:
    """Stored rows of whole persons as canonical facts, corrections done."""
    table: pa.Table = resolve(settle(table_of(rows), lib=lib).table)
    return table
