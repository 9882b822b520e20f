"""What takes longer than a fact may wait: advice for everybody, in turn, and the alerts that follow.

A change is looked at within a second, those who are worst first; everybody else comes round every quarter of
an hour of the service's clock. It takes at most a share of one core, so that facts never wait for it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.alert import alert_rules
from tocsin.guidance.answer import advise
from tocsin.watch import alert_log, alerts, audit, ledger
from tocsin.watch.board import Due, Waiting
from tocsin.watch.clock import MINUTE, moment_of
from tocsin.watch.journal import failed
from tocsin.watch.live import Change
from tocsin.watch.pages_advice import bare
from tocsin.watch.pages_words import micros_of
from tocsin.watch.roles import SYSTEM

if TYPE_CHECKING:
    from tocsin.watch.service import Service

#: How often everybody is looked at, on the service's clock.
ROUND = 15 * MINUTE
#: How long an answer stands while nothing new is known: its clocks tick by the minute.
STANDS = MINUTE
#: The share of one core that looking around may take, and while senders wait.
SHARE, RUSH = 0.25, 0.1
#: Answers kept for pages.
KEPT = 256
#: Whole charts kept for record systems that ask again.
CHARTS = 32


@dataclass(frozen=True, slots=True)
class Digest:
    """What the board shows of an answer, and when it was given."""

    at: int
    due: tuple[Due, ...] = ()
    clocks: tuple[Waiting, ...] = ()


class Sweep:
    """The thread that goes round; `note` tells it what changed, from any thread."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.rules = alert_rules("ward-alerts", service.lib)
        self.digests: dict[str, Digest] = {}
        self.versions: dict[str, int] = {}
        self.wake = threading.Event()
        self._changed: dict[str, None] = {}
        self._dirty: OrderedDict[str, None] = OrderedDict()
        self._kept: OrderedDict[str, tuple[int, int, dict[str, Any]]] = OrderedDict()
        self._rows: OrderedDict[str, tuple[tuple[int, int], pa.Table]] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, persons: Iterable[str], changes: Sequence[Change]) -> None:
        """Somebody has new facts, or a new answer."""
        with self._lock:
            for who in persons:
                self.versions[who] = self.versions.get(who, 0) + 1
                self._dirty[who] = None
            self._changed.update(dict.fromkeys(change.patient_id for change in changes))
        self.wake.set()

    def forget(self, who: str) -> None:
        """Drop a person."""
        with self._lock:
            for held in (self.digests, self.versions, self._dirty, self._kept, self._changed, self._rows):
                held.pop(who, None)

    def run(self) -> None:
        """Go round until the service ends."""
        while not self.service.ending:
            self.wake.wait(1.0)
            self.wake.clear()
            try:
                self.once()
            except Exception as error:
                failed("looking around the ward", error)
                self.service.wait(2.0)

    def once(self, most: int = 20) -> None:
        """Alerts of every change, then some persons' advice; the rest waits its turn."""
        self.changed()
        for who in self._next(most):
            if self.service.ending:
                return
            began = time.thread_time()
            self.look(who)
            self.changed()
            share = RUSH if self.service.writer.busy else SHARE
            self.service.wait((time.thread_time() - began) * (1 / share - 1))
        if self._dirty:
            self.wake.set()

    def changed(self) -> None:
        """Judge everybody whose grade changed."""
        with self._lock:
            people = list(self._changed)
            self._changed.clear()
        try:
            self._judge(dict.fromkeys(people))
        except BaseException:
            with self._lock:  # the store is gone: nothing is forgotten
                self._changed.update(dict.fromkeys(people))
            raise

    def look(self, who: str) -> None:
        """One person: advice, what the board shows of it, and its alerts."""
        answer = self.advice(who)
        with self._lock:
            self._dirty.pop(who, None)
        self.digests[who] = digest(answer, self.service.clock.now())
        self._judge({who: answer})

    def advice(self, who: str, as_of: int | None = None) -> dict[str, Any]:
        """One answer of `advise`; the last one while nothing is new and its minute has not passed."""
        now = self.service.clock.now()
        version = self.versions.get(who, 0)
        kept = self._kept.get(who)
        if as_of is None and kept and kept[0] == version and 0 <= now - kept[1] < STANDS:
            return kept[2]
        moment = moment_of(now if as_of is None else as_of)
        facts = self.service.facts_of(who, as_of)
        facts = facts.filter(pc.less_equal(facts["time"], moment))
        answer = next(iter(advise(facts, moment, lib=self.service.lib)), {}) if facts.num_rows else {}
        if as_of is None:
            with self._lock:
                self._kept[who] = (version, now, answer)
                self._kept.move_to_end(who)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return answer

    def stored(self, who: str) -> pa.Table:
        """Every stored row of a person, under every id; those read last time while no other is stored."""
        names = self.service.people.names(who)
        with self.service.store.reading() as con:
            mark = ledger.mark_of(con, names)
            kept = self._rows.get(who)
            if kept and kept[0] == mark:
                return kept[1]
            rows = ledger.of_patients(con, names, ledger.newest(con))
        with self._lock:
            self._rows[who] = (mark, rows)
            self._rows.move_to_end(who)
            while len(self._rows) > CHARTS:
                self._rows.popitem(last=False)
        return rows

    def _next(self, most: int) -> list[str]:
        """Who is looked at next: changed ones, the worst first; then who was not looked at for longest."""
        now, held = self.service.clock.now(), self.service.memory.held
        with self._lock:
            dirty = [who for who in self._dirty if who in held]
            for who in [who for who in self._dirty if who not in held]:
                self._dirty.pop(who)
        dirty.sort(key=lambda who: -max((each.up_to for each in held[who].standing.values()), default=0))
        if len(dirty) >= most:
            return dirty[:most]
        seen = self.digests
        late = [who for who in list(held) if who not in seen or now - seen[who].at >= self._every(who)]
        late.sort(key=lambda who: seen[who].at if who in seen else 0)
        return list(dict.fromkeys([*dirty, *late]))[:most]

    def _every(self, who: str) -> int:
        """How often somebody is looked at: the very ill every minute, so that nobody answering is noticed."""
        grades = [max(each.grade, each.proven) for each in self.service.standing(who).values()]
        return MINUTE if max(grades, default=0) >= self.rules.escalate_at_least else ROUND

    def _judge(self, answers: Mapping[str, dict[str, Any] | None]) -> None:
        """Raise what persons call for, close what no longer holds, and tell."""
        service, now, shadow = self.service, self.service.clock.now(), self.service.settings.shadow
        if not answers:
            return
        with service.store.reading() as con:
            known = alert_log.known_of(con, list(answers), now, shadow=shadow)
        new: list[alerts.Proposed] = []
        gone: list[int] = []
        whose: dict[str, None] = {}
        for who, answer in answers.items():
            held = service.memory.held.get(who)
            if held is None:  # gone home, or not taken up yet: neither says that a grade is over
                continue
            verdict = alerts.judge(who, held.standing, held.spans, answer, known[who], now, self.rules)
            new += verdict.new
            gone += verdict.gone
            if verdict.gone:
                whose[who] = None
        if not new and not gone:
            return
        with service.store.writing() as con:
            refs = ledger.refs_of(con, list(answers))  # who was erased meanwhile gets no alert
            standing_by = [each for each in new if each.patient_id in refs]
            raised = alert_log.raise_all(con, standing_by, now, shadow=shadow)
            alert_log.close(con, gone, now)
            for row in raised:
                detail = {"kind": row["kind"], "scale": row["scale"], "grade": row["grade"]}
                ref = refs[row["patient_id"]]
                audit.note(con, service.clock, SYSTEM, "alert:raise", patient=ref, detail=detail)
        for row in raised:
            service.hub.publish("alert", {"ref": refs[row["patient_id"]], "id": row["id"]}, shadow=shadow)
        for who in whose:
            if who in refs:
                service.hub.publish("alert", {"ref": refs[who]}, shadow=shadow)


def digest(answer: Mapping[str, Any], now: int) -> Digest:
    """Tests due and running clocks of an answer, the most pressing first."""
    due = []
    for test in answer.get("tests_due", ()):
        at = micros_of(test["due"])
        if at is not None and at <= now:
            late = (now - at) // MINUTE
            due.append((-late, Due(test["test"], int(late) if test["strength"] == "give" and late else None)))
    ill = any(each["grade"] for each in answer.get("grades", {}).values())
    clocks = [
        Waiting(bare(clock["then"]), at)
        for clock in answer.get("clocks", ())
        if (at := micros_of(clock["due"])) is not None and (ill or at > now)
    ]
    ordered = tuple(each for _, each in sorted(due, key=lambda pair: pair[0]))
    return Digest(now, ordered, tuple(sorted(clocks, key=lambda each: each.at)))
