"""The service: facts are stored, graded and told; whoever asks gets an answer and what it rests on.

The store is the truth. Machines in memory follow it by the numbers of its facts, so several services may work
on one store, and one that starts anew knows what the one before knew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library, library
from tocsin.facts import resolve, settle
from tocsin.grading.batch import grade_table
from tocsin.grading.intervals import empty
from tocsin.sources.codes import MIMIC, Codes
from tocsin.watch import approvals, intake, ledger, people, remembered
from tocsin.watch.births import with_details
from tocsin.watch.board import Board
from tocsin.watch.clock import Clock, moment_of
from tocsin.watch.events import Hub
from tocsin.watch.journal import failed
from tocsin.watch.live import MACHINES, Change, Memory
from tocsin.watch.roles import Actor, may
from tocsin.watch.rows import board_of
from tocsin.watch.standing import Standing
from tocsin.watch.store import Store
from tocsin.watch.sweep import Sweep
from tocsin.watch.taking_up import TakingUp
from tocsin.watch.writer import Writer

SCALES = ("astct-2019", "icans-astct-2019")
#: Seconds between looks at the clock, at the table of patients and at what other workers stored.
TICK = 0.5
#: Facts read at once while following the store.
STEP = 5_000
#: Seconds for which a store that refused facts counts as one that cannot store, unless it takes some again.
REFUSED = 10.0
#: Seconds for which one look at whether the store can be written stands.
PROBE = 2.0


@dataclass(slots=True)
class Settings:
    """What may be set. `shadow` is found by the service: some definition in use is not approved. `codes` is
    a file of the site's own codes, for the doors that are sent codes.
    `emergency_number` is whom patients at home call for an ambulance; none: they are told to call their
    local one."""

    demo: bool = False
    time_zone: str | None = None
    machines: int = MACHINES
    shadow: bool = True
    emergency_number: str | None = None
    codes: Path | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of facts that were sent: each rejected row with why and the fix; `kept` were taken, but
    not as written."""

    stored: int
    duplicates: int
    rejected: tuple[Mapping[str, Any], ...] = ()
    kept: tuple[Mapping[str, Any], ...] = ()


@dataclass(slots=True)
class Health:
    """How the service is: `loading` counts persons still to be taken up."""

    storing: bool = True
    reading: bool = True
    loading: int = 0
    probed: float = -1e9

    @property
    def well(self) -> bool:
        """Whether facts can be stored and read."""
        return self.storing and self.reading


class Service:
    """Everything doors and pages ask. `start` before use, `stop` after."""

    def __init__(
        self,
        store: Store,
        *,
        lib: Library | None = None,
        scales: Sequence[str] = SCALES,
        settings: Settings | None = None,
    ) -> None:
        self.store = store
        self.clock: Clock = store.clock
        self.lib = lib or library()
        self.scales = tuple(scales)
        self.settings = settings or Settings()
        self.codes = Codes(self.lib, self.settings.codes, MIMIC)
        self.hub = Hub()
        self.people = people.People(store)
        self.memory = Memory(self.scales, self.lib, self.recall, machines=self.settings.machines)
        self.writer = Writer(store, self.catch_up)
        self.sweep = Sweep(self)
        self.taking_up = TakingUp(self)
        self.health = Health()
        self.seq = 0
        self.received: int | None = None
        self._approved: frozenset[str] = frozenset()
        self.machines = threading.RLock()
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []

    # --- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin: what is stored is taken up in the background, and counts from the first moment."""
        with self.store.reading() as con:
            self.seq = ledger.newest(con)
        self.people.refresh()
        self._approvals()
        self.health.loading = len(self.people.watched())
        self.writer.start()
        for name, run in (("loader", self.taking_up.run), ("clock", self._tick), ("sweep", self.sweep.run)):
            thread = threading.Thread(target=run, name=f"tocsin-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End: what waits is written, streams are closed."""
        self.writer.stop()
        self._ending.set()
        self.sweep.wake.set()
        self.hub.close()
        for thread in self._threads:
            thread.join(8)
        self._threads.clear()

    @property
    def ending(self) -> bool:
        """Whether the service is about to end."""
        return self._ending.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, unless the service ends; returns whether it does."""
        return self._ending.wait(seconds)

    # --- facts in -----------------------------------------------------------------------------------------

    def ingest(self, rows: Sequence[Mapping[str, Any]], actor: Actor) -> Receipt:
        """Take facts as JSON objects; returns once they are durable and graded.

        Raises `FactsError` where they are no facts at all, and what `Writer.write` raises.
        """
        return self.take(*intake.batches_of([dict(row) for row in rows]), actor)

    def take(
        self, batches: Sequence[pa.RecordBatch], refused: Sequence[Mapping[str, Any]], actor: Actor
    ) -> Receipt:
        """Take facts as `intake` reads bodies."""
        taken = intake.read(batches, lib=self.lib, now=self.clock.now())
        taken.refused = sorted([*map(dict, refused), *taken.refused], key=lambda each: each["row"] or 0)
        return self.keep(taken, actor)

    def keep(self, taken: intake.Intake, actor: Actor) -> Receipt:
        """Store what was read, but for what its sender may not say."""
        self.hold_to(taken, actor)
        if not taken.rows and not taken.refused:
            return Receipt(0, 0)
        job = self.writer.write(taken, actor)
        return Receipt(job.stored, job.duplicates, tuple(taken.refused), tuple(taken.kept))

    def hold_to(self, taken: intake.Intake, actor: Actor) -> None:
        """What a sender may not say is refused, row by row: a clinician's word, facts of another patient."""
        if not may(actor, "attribution:write"):
            taken.refuse(
                lambda row: row["measure"] == "attribution",
                "attribution is a clinician's word, and the sender's role does not include it",
                "send it with a physician's token",
            )
        if actor.patient_id is not None:
            taken.refuse(
                lambda row: row["patient_id"] != actor.patient_id,
                "this token is for one patient, and the row is about another",
                "use that patient's token",
            )

    def catch_up(self, new: ledger.Appended | None = None) -> None:
        """Bring the machines up to the last fact stored, by whichever worker; `new` was stored just now."""
        with self.machines:
            if new is not None and new.before == self.seq:  # what lies between need not be read back
                self._follow(new)
                return
            while True:
                with self.store.reading() as con:
                    rows = ledger.after(con, self.seq, STEP)
                if not rows:
                    return
                last = rows[-1]
                self._follow(ledger.Appended(self.seq, last["seq"], last["received"], rows))

    def _follow(self, new: ledger.Appended) -> None:
        """Grade what comes after what is graded already, and tell."""
        if not new.rows:
            return
        self.people.admit({row["patient_id"] for row in new.rows})
        mine = self._of_persons(new.rows)
        self.seq = new.last  # a person's facts are read back up to this number, so it moves first
        try:
            changes = self.memory.take(mine, self.clock.now())
        except BaseException:
            self.seq = new.before
            raise
        self.received = new.received
        self._tell(changes)
        people = dict.fromkeys(row["patient_id"] for row in mine)
        for who in people:
            self._publish("fact", who)
        self.sweep.note(people, changes)

    def _of_persons(self, rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Rows under the persons they are about; without those who are no longer watched."""
        found: list[Mapping[str, Any]] = []
        for row in rows:
            person = self.people.of.get(self.people.person(row["patient_id"]))
            if person is not None and person.discharged is None:
                mine = row["patient_id"] == person.patient_id
                found.append(row if mine else {**row, "patient_id": person.patient_id})
        return found

    def recall(self, persons: Sequence[str]) -> pa.Table:
        """Every stored row of persons, under them, and what their details say."""
        names = [name for who in persons for name in self.people.names(who)]
        with self.store.reading() as con:
            rows = ledger.of_patients(con, names, self.seq)
        rows = rows if names == list(persons) else self._joined(rows)
        return with_details(rows, self.people.of, self.lib)

    def _joined(self, rows: pa.Table) -> pa.Table:
        """Rows of several records under the persons whose they are."""
        whose = pa.array([self.people.person(name) for name in rows["patient_id"].to_pylist()], pa.string())
        return rows.set_column(rows.schema.get_field_index("patient_id"), "patient_id", whose)

    def _tell(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._publish("grade", change.patient_id)

    def _publish(self, kind: str, patient_id: str) -> None:
        known = self.people.of.get(patient_id)
        if known is not None:
            self.hub.publish(kind, {"ref": known.ref})

    # --- time passing -------------------------------------------------------------------------------------

    def _tick(self) -> None:
        while not self.wait(TICK):
            try:
                self.step()
                self.health.reading = True
            except Exception as error:
                if self.health.reading:
                    failed("following the store", error)
                self.health.reading = False

    def step(self) -> None:
        """What time and other workers changed: once a tick, and by tests."""
        with self.machines:
            self._renew()
            self.catch_up()
            changes = self.memory.lapse(self.clock.now())
            self._tell(changes)
            self.sweep.note(dict.fromkeys(change.patient_id for change in changes), changes)
        self._approvals()

    def _renew(self) -> None:
        """Follow the table of patients: merges, discharges, erasures."""
        of, generation = self.people.of, self.people.generation
        erased = self.people.refresh()
        if not erased and self.people.generation == generation:
            return
        changed = {
            who
            for who in {*of, *self.people.of}
            if people.decisive(of.get(who)) != people.decisive(self.people.of.get(who))
        }
        affected = {each.person for who in changed for each in (of.get(who), self.people.of.get(who)) if each}
        affected |= changed
        if erased:
            affected |= set(self.memory.held) - set(self.people.of)
        for who in affected:
            self.memory.forget(who)
            self.sweep.forget(who)
        watched = {each.patient_id for each in self.people.watched()}
        self.taking_up.take_up(sorted(affected & watched))
        self.hub.publish("patient", {})

    def _approvals(self) -> None:
        with self.store.reading() as con:
            self._approved = approvals.approved_hashes(con)
        used = {self.lib.scale(name).hash for name in self.scales}
        self.settings.shadow = not self.settings.demo and not used <= self._approved

    def probe(self) -> Health:
        """How the service is, after a small write: what cannot store must say so. A store that just refused
        facts may still have room for so little."""
        if time.monotonic() - self.health.probed >= PROBE:
            self.health.probed = time.monotonic()
            try:
                with self.store.writing() as con:
                    remembered.say(con, "probe", str(self.clock.now()))
                self.health.storing = True
            except Exception as error:
                failed("writing to the store", error)
                self.health.storing = False
        self.health.storing &= time.monotonic() - self.writer.refused > REFUSED
        return self.health

    # --- answers ------------------------------------------------------------------------------------------

    def approved(self) -> Callable[[str], bool]:
        """Which definitions a named clinician approved, by hash; in a demonstration all."""
        known = self._approved
        return (lambda _: True) if self.settings.demo else known.__contains__

    def facts_of(self, patient_id: str, as_of: int | None = None) -> pa.Table:
        """Canonical facts of the person, corrections done; with `as_of`, those known here by then."""
        person = self.people.person(patient_id)
        names = self.people.names(person)
        with self.store.reading() as con:
            rows = ledger.of_patients(con, names, ledger.newest(con), received=as_of)
        rows = with_details(rows if names == (person,) else self._joined(rows), self.people.of, self.lib)
        return resolve(settle(rows, lib=self.lib).table, None if as_of is None else moment_of(as_of))

    def grades_of(
        self, patient_id: str, scales: Sequence[str] | None = None, as_of: int | None = None
    ) -> pa.Table:
        """Intervals of the person, as `tocsin grade` gives them, known at `as_of` (none: now)."""
        facts = self.facts_of(patient_id, as_of)
        moment = moment_of(self.clock.now() if as_of is None else as_of)
        facts = facts.filter(pc.less_equal(facts["time"], moment))
        if not facts.num_rows:
            return empty()
        return grade_table(facts, list(scales or self.scales), lib=self.lib, as_of=moment)

    def advice_of(self, patient_id: str, as_of: int | None = None) -> dict[str, Any]:
        """One answer of `tocsin.advise` for the person now (or known at `as_of`); empty before any fact."""
        return self.sweep.advice(self.people.person(patient_id), as_of)

    def standing(self, patient_id: str) -> Mapping[str, Standing]:
        """Where the person stands now, by scale; empty where nothing is charted or nobody watches."""
        held = self.memory.held.get(self.people.person(patient_id))
        return held.standing if held else {}

    def board(self, scale: str, *, ward: str | None = None, q: str = "") -> Board:
        """The ward under one scale; with `q`, whoever these words find."""
        return board_of(self, scale, ward, q)

    # --- patients -----------------------------------------------------------------------------------------

    def set_patient(self, actor: Actor, patient_id: str, **details: str | None) -> str:
        """Say who a patient is; returns the `ref`. Raises `PatientError`."""
        ref = people.put(self.store, actor, patient_id, details)
        self.step()
        return ref

    def mend_patient(self, actor: Actor, patient_id: str, details: Mapping[str, str | None]) -> None:
        """The same, but somebody who has gone home stays so."""
        people.put(self.store, actor, patient_id, details, take_up=False)
        self.step()

    def merge(self, actor: Actor, source: str, into: str) -> None:
        """Read two records as one person's."""
        people.merge(self.store, actor, source, into)
        self.step()

    def unmerge(self, actor: Actor, source: str) -> None:
        """Take a merge back."""
        people.unmerge(self.store, actor, source)
        self.step()

    def discharge(self, actor: Actor, patient_id: str) -> None:
        """End watching a person."""
        people.discharge(self.store, actor, patient_id)
        self.step()
