"""One thread that writes facts: whatever has arrived is stored in one transaction, and answered after it.

A write to the disk costs the same for one fact as for a thousand, so those who wait together are stored
together. A group that cannot be stored is tried again one by one: nobody fails for a neighbour.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tocsin.definitions.schema import TocsinError
from tocsin.watch import audit, ledger
from tocsin.watch.intake import Intake
from tocsin.watch.journal import failed
from tocsin.watch.marks import lifted
from tocsin.watch.roles import Actor
from tocsin.watch.store import Store

#: Senders whose facts are stored together, and the rows at which a group is full.
SENDERS, ROWS = 64, 5_000
#: Senders that may wait; one more is told to come again.
WAITING = 1_000
#: Seconds after which a sender that was not answered is told so.
PATIENCE = 30.0
NEVER = float("-inf")
#: Rows from which a group is much, and the seconds for which its senders then count as waiting.
MUCH, LATELY = 200, 0.5


Row = dict[str, Any]
#: What else is stored in the transaction of a sender's facts, at a moment.
Beside = Callable[[sa.Connection, int], None]


class BusyError(TocsinError):
    """More is sent than can be stored, or the service is ending."""


@dataclass(slots=True)
class Job:
    """Rows of one sender, what is stored beside them, and what became of them."""

    intake: Intake
    actor: Actor
    beside: Beside | None = None
    stored: int = 0
    duplicates: int = 0
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Writer:
    """Stores what is handed in; `after` is called once it is durable and before the sender is answered."""

    def __init__(self, store: Store, after: Callable[[ledger.Appended], None]) -> None:
        self.store, self.after = store, after
        self.jobs: queue.Queue[Job | None] = queue.Queue(WAITING)
        self.thread: threading.Thread | None = None
        self.closing = False
        self.waiting = 0
        self.flooded = NEVER  # when somebody who had sent much was last answered
        self.refused = NEVER  # when the store last refused facts; never, once it took some again
        self._door = threading.Lock()  # nobody is let in behind the last one

    def start(self) -> None:
        """Begin to write."""
        self.thread = threading.Thread(target=self._run, name="tocsin-writer", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        with self._door:
            self.closing = True
        if self.thread is not None:
            self.jobs.put(None)
            self.thread.join()
            self.thread = None

    def write(self, intake: Intake, actor: Actor, beside: Beside | None = None) -> Job:
        """Store rows; returns when they are on the disk.

        Raises what the store raised, or `BusyError`; nothing of the rows is known to be stored then, and
        sending them again stores none twice.
        """
        job = Job(intake, actor, beside)
        with self._door:
            if self.closing or self.thread is None:
                raise BusyError("the service is ending\n  fix: send the facts again in a moment")
            try:
                self.jobs.put_nowait(job)
            except queue.Full:
                raise BusyError(
                    "more facts are sent than can be stored\n  fix: send them again in a moment"
                ) from None
        if not job.done.wait(PATIENCE):
            raise BusyError(f"not stored within {PATIENCE:.0f} s\n  fix: send them again; none is kept twice")
        if job.error is not None:
            raise job.error
        return job

    @property
    def busy(self) -> bool:
        """Whether senders wait for their answers, or will in a moment: who sends much sends again at once."""
        return self.waiting > 0 or not self.jobs.empty() or time.monotonic() - self.flooded < LATELY

    def _run(self) -> None:
        ending = False
        while not (ending and self.jobs.empty()):
            first = self.jobs.get()
            group: list[Job] = [] if first is None else [first]
            ending = ending or first is None
            rows = sum(len(job.intake.rows) for job in group)
            while len(group) < SENDERS and rows < ROWS:
                try:
                    job = self.jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    ending = True
                    continue
                group.append(job)
                rows += len(job.intake.rows)
            self.waiting = len(group)
            if group:
                self._group(group)
            self.waiting = 0

    def _group(self, group: Sequence[Job]) -> None:
        try:
            new = self._store(group)
        except Exception as error:
            if isinstance(error, sa.exc.OperationalError):
                self.refused = time.monotonic()
            elif len(group) > 1:
                for job in group:
                    self._group([job])
                return
            for job in group:
                job.error = error
        else:
            self.refused = NEVER
            try:
                self.after(new)
            except Exception as error:
                # stored, but not graded yet: whoever looks after the machines tries again
                failed("grading new facts", error)
        if sum(len(job.intake.rows) for job in group) >= MUCH:
            self.flooded = time.monotonic()
        for job in group:
            job.done.set()

    def _store(self, group: Sequence[Job]) -> ledger.Appended:
        """Store what is new of a group: each statement once for all of it."""
        with self.store.writing() as con:
            now, before = self.store.clock.now(), ledger.newest(con)
            seen = ledger.known_hashes(con, [row["hash"] for job in group for row in job.intake.rows])
            fresh = [self._fresh(job, seen, now) for job in group]
            rows = [row for mine in fresh for row in mine]
            refs = ledger.admit(con, (row["patient_id"] for row in rows), now)
            ledger.append(con, rows)
            if gone := lifted(con, refs):
                sent = {row["patient_id"]: row["sender"] for row in rows}
                for row in gone:
                    row |= {"sender": sent[row["patient_id"]], "received": now}
                ledger.append(con, gone)
                rows += gone
            for job in group:
                if job.beside is not None:
                    job.beside(con, now)
            last = ledger.newest(con)
            audit.note_all(con, self.store.clock, [
                _entry(job, mine, refs, last)
                for job, mine in zip(group, fresh, strict=True)
                if mine or job.intake.refused
            ])  # fmt: skip
        return ledger.Appended(before, last, now, rows)

    def _fresh(self, job: Job, seen: set[str], now: int) -> list[Row]:
        """The facts that are not stored yet, then the marks of refused rows; with their sender, and when."""
        facts: list[Row] = []
        marks: list[Row] = []
        job.duplicates = 0  # a group that failed is tried again
        for place, row in enumerate(job.intake.rows):
            mark = place in job.intake.marks
            if row["hash"] in seen:
                job.duplicates += not mark
                continue
            seen.add(row["hash"])
            row["sender"], row["received"] = job.actor.name, now
            (marks if mark else facts).append(row)
        job.stored = len(facts)
        return [*facts, *marks]


def _entry(job: Job, rows: Sequence[Row], refs: Mapping[str, str], last: int) -> audit.Entry:
    """What the log says of a sender's rows; of whom, where they are one patient's."""
    people = {row["patient_id"] for row in rows}
    return audit.Entry(
        job.actor,
        "facts:add",
        refs[people.pop()] if len(people) == 1 else None,
        {
            "stored": job.stored, "duplicates": job.duplicates, "rejected": len(job.intake.refused),
            "last": last,
        },
    )  # fmt: skip
