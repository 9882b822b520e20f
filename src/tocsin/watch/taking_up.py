"""Taking up whoever is stored: when the service starts, and whom a change of the table of patients concerns.

Reading and grading go on beside the facts that come in; these wait only while the answers are put in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tocsin.grading.batch import worth_compiling
from tocsin.watch import ledger
from tocsin.watch.journal import failed

if TYPE_CHECKING:
    from tocsin.watch.service import Service

#: Persons taken up together at most, and stored rows from which no more are.
PERSONS, ROWS = 200, 50_000


class TakingUp:
    """The thread that takes up everybody when the service starts, and ends then."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def run(self) -> None:
        """Take up everybody watched."""
        waiting = [each.patient_id for each in self.service.people.watched()]
        self._patiently(lambda: self._all(waiting))
        self._patiently(self._date)

    def take_up(self, persons: Sequence[str], *, fast: bool = False) -> None:
        """Read and grade persons, then hold them: but not who got a fact meanwhile, who is held already, nor
        whose records were joined or left meanwhile, which whoever follows the table of patients saw to."""
        if not persons:
            return
        service, people = self.service, self.service.people
        names = {who: people.names(who) for who in persons}
        found = service.memory.load(service.recall(persons), service.clock.now(), fast=fast)
        with service.machines:
            mine = [who for who in persons if people.watches(who) and people.names(who) == names[who]]
            service.memory.hold({who: found[who] for who in mine if who in found})
            service.sweep.note(dict.fromkeys(mine), ())

    def _all(self, waiting: list[str]) -> None:
        """Take up who waits, some at a time; who is done no longer waits."""
        service, held = self.service, self.service.memory.held
        with service.store.reading() as con:
            counts = ledger.counts(con)
        fast = worth_compiling(sum(counts.values()))
        while waiting and not service.ending:
            part = self._some(waiting, counts)
            self.take_up([who for who in part if who not in held], fast=fast)
            del waiting[: len(part)]
            service.health.loading = len(waiting)

    def _some(self, waiting: Sequence[str], counts: dict[str, int]) -> list[str]:
        """The next persons, not too many rows of them."""
        part: list[str] = []
        rows = 0
        for who in waiting[:PERSONS]:
            part.append(who)
            rows += sum(counts.get(name, 0) for name in self.service.people.names(who))
            if rows >= ROWS:
                break
        return part

    def _date(self) -> None:
        """When the newest fact came in that was there before."""
        with self.service.store.reading() as con:
            self.service.received = self.service.received or ledger.last_received(con)

    def _patiently(self, what: Callable[[], None]) -> None:
        """Do it, again and again while the store is gone."""
        service = self.service
        while not service.ending:
            try:
                what()
            except Exception as error:
                failed("reading the store", error)
                service.health.reading = False
                service.wait(2.0)
            else:
                return
