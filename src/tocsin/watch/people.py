"""Who is watched: details of each patient, two records found to be one person, and who has gone home."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import available_timezones

import sqlalchemy as sa

from tocsin.definitions.schema import TocsinError
from tocsin.watch import audit, ledger, remembered
from tocsin.watch.clock import Clock
from tocsin.watch.roles import Actor
from tocsin.watch.schema import alerts, patients
from tocsin.watch.store import Store

#: What may be said of a patient, each at most so many characters.
DETAILS = {
    "name": 120, "record_number": 60, "birth_date": 10, "sex": 20, "ward": 60, "bed": 20, "language": 35,
    "time_zone": 60, "team_phone": 40, "allergies": 500,
}  # fmt: skip
#: The row of `settings` that counts changes to the table of patients, so that every worker sees them.
GENERATION = "patients-generation"
#: The row that counts erasures: whatever is held in memory has to go.
FORGET = "forget"


class PatientError(TocsinError):
    """A detail, or a merge, that cannot be."""


@dataclass(frozen=True, slots=True)
class Patient:
    """One row of the table of patients; times in microseconds."""

    patient_id: str
    ref: str
    name: str | None
    record_number: str | None
    birth_date: str | None
    sex: str | None
    ward: str | None
    bed: str | None
    language: str | None
    time_zone: str | None
    team_phone: str | None
    allergies: str | None
    created: int
    discharged: int | None
    merged_into: str | None

    @property
    def person(self) -> str:
        """The patient id under which this person's facts are joined."""
        return self.merged_into or self.patient_id


def decisive(patient: Patient | None) -> tuple[object, ...] | None:
    """What of a patient's details decides an answer, and whether there is one."""
    if patient is None:
        return None
    return patient.person, patient.discharged, patient.birth_date, patient.sex


class People:
    """The table of patients, held in memory and read anew when any worker changed it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.of: dict[str, Patient] = {}
        self.ids: dict[str, tuple[str, ...]] = {}
        self.by_ref: dict[str, Patient] = {}
        self.generation = self.forgotten = -1
        self._lock = threading.Lock()

    def refresh(self, *, force: bool = False) -> bool:
        """Read the table if it changed; returns whether somebody was erased since the last time."""
        with self._lock, self.store.reading() as con:
            generation, forgotten = generations(con)
            erased = forgotten != self.forgotten and self.forgotten >= 0
            if force or generation != self.generation or forgotten != self.forgotten:
                self._read(con)
            self.generation, self.forgotten = generation, forgotten
            return erased

    def _read(self, con: sa.Connection) -> None:
        of = {row.patient_id: Patient(*row) for row in con.execute(sa.select(patients))}
        ids: dict[str, list[str]] = {}
        for patient in of.values():
            ids.setdefault(patient.person, []).append(patient.patient_id)
        self.by_ref = {patient.ref: patient for patient in of.values()}
        self.ids = {who: tuple(sorted(names)) for who, names in ids.items()}
        self.of = of

    def admit(self, names: Iterable[str]) -> None:
        """Read the table anew where one of `names` is not known yet."""
        if any(name not in self.of for name in names):
            self.refresh(force=True)

    def person(self, patient_id: str) -> str:
        """Whom an id stands for."""
        known = self.of.get(patient_id)
        return known.person if known else patient_id

    def names(self, person: str) -> tuple[str, ...]:
        """Every id under which facts of a person came."""
        return self.ids.get(person, (person,))

    def watched(self) -> list[Patient]:
        """Everybody on the board: persons not discharged."""
        return [each for each in self.of.values() if each.merged_into is None and each.discharged is None]

    def watches(self, person: str) -> bool:
        """Whether an id is that of somebody on the board."""
        known = self.of.get(person)
        return known is not None and known.merged_into is None and known.discharged is None


def generations(con: sa.Connection) -> tuple[int, int]:
    """How often the table of patients was changed, and how often somebody was erased."""
    return int(remembered.told(con, GENERATION) or 0), int(remembered.told(con, FORGET) or 0)


def changed(con: sa.Connection) -> None:
    """Say that the table of patients is no longer what it was."""
    remembered.count(con, GENERATION)


def checked(details: Mapping[str, Any]) -> dict[str, str | None]:
    """Details as they are stored; raises `PatientError` with what is wrong and the fix."""
    found: dict[str, str | None] = {}
    for name, value in details.items():
        if name not in DETAILS:
            raise PatientError(f"`{name}` is no detail of a patient\n  fix: one of {', '.join(DETAILS)}")
        if value is not None and not isinstance(value, str):
            raise PatientError(f"`{name}` is not text\n  fix: send it in quotes")
        text = None if value is None else " ".join(value.split())
        if text and (len(text) > DETAILS[name] or not text.isprintable()):
            raise PatientError(f"`{name}` is longer than {DETAILS[name]} characters, or not printable")
        found[name] = text or None
    _fits(found)
    return found


def _fits(found: Mapping[str, str | None]) -> None:
    if born := found.get("birth_date"):
        try:
            date.fromisoformat(born)
        except ValueError:
            raise PatientError("`birth_date` is no date\n  fix: as 1969-06-01") from None
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", born):
            raise PatientError("`birth_date` is no date\n  fix: as 1969-06-01")
    if (zone := found.get("time_zone")) and zone not in available_timezones():
        raise PatientError("`time_zone` names no zone\n  fix: a name such as Europe/Rome")
    if (sex := found.get("sex")) and sex not in ("female", "male", "other", "unknown"):
        raise PatientError("`sex` is none of female, male, other, unknown")


def put(
    store: Store, actor: Actor, patient_id: str, details: Mapping[str, Any], *, take_up: bool = True
) -> str:
    """Say who a patient is; only the details given change. Returns the `ref`.

    Naming somebody who had been discharged takes them up again, unless `take_up` is False.
    """
    with store.writing() as con:
        ref = put_in(con, store.clock, actor, patient_id, details, take_up=take_up)
        changed(con)
    return ref


def put_in(
    con: sa.Connection,
    clock: Clock,
    actor: Actor,
    patient_id: str,
    details: Mapping[str, Any],
    *,
    take_up: bool = True,
) -> str:
    """The same within the caller's transaction, who says that the table has `changed`."""
    said = checked(details)
    if not patient_id or len(patient_id) > 200 or not patient_id.isprintable():
        raise PatientError("`patient_id` is empty, longer than 200 characters, or not printable")
    ledger.admit(con, [patient_id], clock.now())
    change: dict[str, Any] = {**said, "discharged": None} if take_up else dict(said)
    if change:
        con.execute(patients.update().where(patients.c.patient_id == patient_id).values(**change))
    ref = _row(con, patient_id).ref
    # which details, never what they say
    audit.note(con, clock, actor, "patient:put", patient=ref, detail={"set": " ".join(sorted(said))})
    return str(ref)


def merge(store: Store, actor: Actor, source: str, into: str) -> None:
    """Two records are one person: facts of `source` are read as those of `into`."""
    with store.writing() as con:
        one, other = _row(con, source), _row(con, into)
        if source == into:
            raise PatientError("a patient cannot be merged into itself")
        if other.merged_into:
            raise PatientError("the record to merge into is itself merged\n  fix: merge into that one")
        if one.merged_into:
            raise PatientError("this record is merged already\n  fix: un-merge it first")
        under = sa.select(patients.c.patient_id).where(patients.c.merged_into == source).limit(1)
        if con.execute(under).first():
            raise PatientError("others are merged into this record\n  fix: merge those first, one by one")
        mine = patients.c.patient_id == source
        con.execute(patients.update().where(mine).values(merged_into=into))
        _quiet(con, source, store.clock.now())
        audit.note(con, store.clock, actor, "patient:merge", patient=one.ref, detail={"into": other.ref})
        changed(con)


def unmerge(store: Store, actor: Actor, source: str) -> str:
    """Take a merge back; returns whom it had been merged into."""
    with store.writing() as con:
        row = _row(con, source)
        if not row.merged_into:
            raise PatientError("this record is not merged")
        other = _row(con, row.merged_into)
        con.execute(patients.update().where(patients.c.patient_id == source).values(merged_into=None))
        audit.note(con, store.clock, actor, "patient:unmerge", patient=row.ref, detail={"from": other.ref})
        changed(con)
        return str(row.merged_into)


def discharge(store: Store, actor: Actor, patient_id: str) -> None:
    """End watching a person; facts stay, and new ones are stored, until retention takes them."""
    with store.writing() as con:
        discharge_in(con, store.clock, actor, patient_id)
        changed(con)


def discharge_in(con: sa.Connection, clock: Clock, actor: Actor, patient_id: str) -> None:
    """The same within the caller's transaction, who says that the table has `changed`."""
    row, now = _row(con, patient_id), clock.now()
    con.execute(
        patients.update()
        .where(patients.c.patient_id == patient_id, patients.c.discharged.is_(None))
        .values(discharged=now)
    )
    _quiet(con, patient_id, now)
    audit.note(con, clock, actor, "patient:discharge", patient=row.ref)


def _quiet(con: sa.Connection, patient_id: str, now: int) -> None:
    """Alerts end with the watching: an open one would silence the same grade when the person is back."""
    mine = (alerts.c.patient_id == patient_id, alerts.c.closed.is_(None))
    con.execute(alerts.update().where(*mine).values(closed=now))


def _row(con: sa.Connection, patient_id: str) -> Any:
    row = con.execute(sa.select(patients).where(patients.c.patient_id == patient_id)).one_or_none()
    if row is None:
        raise PatientError("nobody is known under this id\n  fix: send facts or details of the patient first")
    return row
