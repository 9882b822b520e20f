"""FHIR resources that are sent, as facts and details of patients.

A resource is kept as it was sent where something of it is used here, so that whoever sent it can read it
again and a grade can name what it rests on. Sent again it changes nothing; changed, it is its next version,
and the facts of the one before are replaced. What one request says is stored in one transaction.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import itemgetter
from types import NoneType
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pyarrow as pa
import sqlalchemy as sa

from tocsin.definitions.schema import TocsinError
from tocsin.sources.resources import COLUMNS, HOLDS, Resources, end_of_day
from tocsin.sources.tally import Tally
from tocsin.watch import fhir_kept, intake, people
from tocsin.watch.clock import moment_of
from tocsin.watch.fhir_patients import bed_of, details_of, ended
from tocsin.watch.roles import Actor, may
from tocsin.watch.service import Service

Json = dict[str, Any]
#: What is read as facts, what others name, and what says who and where somebody is.
CLINICAL = (*HOLDS, "Condition")
NAMED = ("Medication", "Device")
ABOUT = ("Patient", "Encounter")
#: What gives no facts of its own.
UNCHARTED = (*NAMED, "Encounter")
KINDS = (*ABOUT, *CLINICAL, *NAMED)
#: The longest id of a patient.
LONGEST = 200
#: What an Encounter's status is while somebody is in it.
HERE = ("arrived", "triaged", "in-progress", "onleave")
ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
#: Where resources name others.
REFERENCES = ("subject", "patient", "medicationReference", "device", "encounter", "context")
#: The columns that are texts.
TEXTS_OF = itemgetter(*(place for place, kind in enumerate(COLUMNS.types) if pa.types.is_string(kind)))
TEXT, SOURCE = COLUMNS.get_field_index("text"), COLUMNS.get_field_index("source")
RAW = pa.schema([*COLUMNS, ("row", pa.int64())])


class FhirError(TocsinError):
    """A request that cannot be taken; `code` is one of FHIR's issue types."""

    def __init__(self, text: str, code: str = "invalid", status: int = 400) -> None:
        super().__init__(text)
        self.code, self.status = code, status


@dataclass(slots=True)
class Entry:
    """One resource of a request and what became of it. `problems` are
    `{why, fix}`, `notes` what was not used."""

    place: int
    kind: str
    resource: Json
    id: str = ""
    full_url: str = ""
    if_match: int | None = None
    version: int = 1
    status: int = 201
    person: str | None = None
    rows: int = 0
    problems: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, why: str, fix: str, code: str) -> None:
        """Something is wrong with it; `code` is one of FHIR's issue types."""
        self.problems.append({"why": why, "fix": fix, "code": code})

    @property
    def name(self) -> str:
        """`Kind/id`."""
        return f"{self.kind}/{self.id}"

    @property
    def source(self) -> str:
        """What facts of this version are called."""
        return self.name if self.version == 1 else f"{self.name}/_history/{self.version}"


def entry(place: int, resource: Any, *, kind: str = "", id: str = "", full_url: str = "") -> Entry:
    """A resource as an entry. `id` is the one the sender wants (PUT); without it we give one (POST).

    Raises `FhirError` where it is no resource that is taken here.
    """
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        raise FhirError("this is no FHIR resource: it says no `resourceType`", "structure")
    said = resource["resourceType"]
    if kind and said != kind:
        raise FhirError(f"a {said} was sent where a {kind} belongs", "invalid")
    if said not in KINDS:
        raise FhirError(f"no {said} is taken here\n  fix: one of {', '.join(KINDS)}", "not-supported", 422)
    if id and resource.get("id", id) != id:
        raise FhirError("the id of the resource is not the one of its address", "invalid")
    if id and not ID.fullmatch(id):
        raise FhirError("an id has 1 to 64 letters, digits, `-` or `.`", "value")
    return Entry(place, said, resource, id, full_url)


class Reading:
    """Takes the entries of one request, for one service."""

    def __init__(self, service: Service, actor: Actor) -> None:
        self.service, self.actor = service, actor

    def take(self, entries: Sequence[Entry], *, whole: bool = False) -> None:
        """Store what is good and say of each entry what became of it; `whole`: all of them or none.

        Raises what the store raised, and `FhirError` where `whole` and something is wrong.
        """
        for _ in range(3):
            try:
                self._take(entries, whole)
                return
            except sa.exc.IntegrityError:  # the same resource was sent by two at once: read it anew
                for each in entries:
                    each.version, each.status, each.rows = 1, 201, 0
                    each.problems.clear()
                    each.notes.clear()
        raise FhirError("the same resource is being changed by somebody else", "conflict", 409)

    def _take(self, entries: Sequence[Entry], whole: bool) -> None:
        for each in entries:
            _identify(each)
        places = {each.full_url: each.name for each in entries if each.full_url}
        for each in entries:
            each.resource = _placed(each.resource, places) if places else each.resource
            if each.resource.get("id") != each.id:
                each.resource = each.resource | {"id": each.id}
            each.person = _person(each)
            self._allow(each)
        good = [each for each in entries if not each.problems]
        with self.service.store.reading() as con:
            known = fhir_kept.newest(con, [(each.kind, each.id) for each in good])
            names = fhir_kept.bodies(con, _named_by(good))
            fresh, before = [], {}
            for each in good:
                kept = known.get((each.kind, each.id))
                if each.if_match is not None and each.if_match != (kept.version if kept else 0):
                    each.refuse("it was changed meanwhile", "read it again first", "conflict")
                elif kept is None or kept.digest != digest(each):
                    fresh.append(each)
                    if kept is not None and each.person is not None:
                        before[each.name] = fhir_kept.facts_of(con, each.person, kept)
                if kept is not None:
                    each.version, each.status = kept.version + (kept.digest != digest(each)), 200
        taken = self._read(fresh, names, before)
        if whole and any(each.problems for each in entries):
            return
        kept_now = [each for each in fresh if not each.problems or each.rows]
        if kept_now or taken.rows or taken.refused:
            self.service.writer.write(taken, self.actor, lambda con, now: self._beside(con, now, kept_now))
        if any(each.kind in ABOUT for each in kept_now):
            self.service.step()

    def _allow(self, each: Entry) -> None:
        """Whether this sender may send this; else a problem."""
        needs = "patients:write" if each.kind in ABOUT else "facts:write"
        if not may(self.actor, needs):
            each.refuse(
                f"a {self.actor.role} may send no {each.kind}",
                "use a nurse's or a physician's token", "forbidden",
            )  # fmt: skip
        elif self.actor.patient_id is not None and each.person != self.actor.patient_id:
            each.refuse(
                "this token is for one patient, and the resource is of another",
                "use that patient's token", "forbidden",
            )  # fmt: skip
        elif each.person is None and each.kind not in NAMED:
            each.refuse("it says of no patient", "give `subject` a reference: Patient/ID", "required")
        elif each.person is not None and not (each.person.isprintable() and len(each.person) <= LONGEST):
            each.refuse("the patient's id is too long, or not printable", "give the Patient's id", "value")
        elif each.kind in ABOUT:
            try:
                people.checked(said_of(each))
            except people.PatientError as error:
                why, _, fix = str(error).partition("\n  fix: ")
                each.refuse(why, fix, "value")
            except (AttributeError, TypeError, KeyError, IndexError, ValueError):
                each.refuse(
                    f"it does not have the form of a {each.kind}", "check it against FHIR R4", "structure"
                )

    def _read(
        self,
        entries: Sequence[Entry],
        names: Mapping[str, Json],
        before: Mapping[str, Sequence[tuple[str, int]]],
    ) -> intake.Intake:
        """The facts of resources as rows to store; problems and notes go to their entries."""
        tally = Tally()
        reading = Resources(self.service.codes, tally)
        for resource in [*names.values(), *(each.resource for each in entries if each.kind in NAMED)]:
            reading.take(resource, "", 0)
        rows: list[tuple[Any, ...]] = []
        for each in entries:
            if each.kind in UNCHARTED:
                continue
            reading.rows, tally.rejects, tally.unused = [], [], Counter()
            reading.take(each.resource, "", each.place)
            for said in tally.rejects:
                each.refuse(f"{said['what']}: {said['why']}", str(said["fix"]), "structure")
            each.notes += [f"{table} {code}" for table, code in tally.unused]
            if all(map(_is_row, reading.rows)):
                rows += self._versioned(each, reading.rows, before.get(each.name, ()))
            else:
                each.refuse(
                    f"a part of it has not the form of a {each.kind}", "check it against FHIR R4", "structure"
                )
        taken = intake.Intake([])
        if rows:
            columns = zip(zip(*rows, strict=True), RAW.types, strict=True)
            arrays = [pa.array(column, kind) for column, kind in columns]
            batch = pa.RecordBatch.from_arrays(arrays, schema=RAW)
            taken = intake.read([batch], lib=self.service.lib, now=self.service.clock.now())
        self.service.hold_to(taken, self.actor)
        of = {each.place: each for each in entries}
        for refused in taken.refused:
            of[refused["row"]].refuse(refused["why"], refused["fix"], "value")
        for row in taken.rows:
            of[row["row"]].rows += 1
        return taken

    def _versioned(
        self, each: Entry, rows: Sequence[tuple[Any, ...]], before: Sequence[tuple[str, int]]
    ) -> list[tuple[Any, ...]]:
        """Rows under the source of this version, in place of those of the version before."""
        if not before and each.kind != "Patient" and not any(row[TEXT] == "retracted" for row in rows):
            return [(*row[:SOURCE], each.source, None, each.place) for row in rows]  # nearly always
        said = [dict(zip(COLUMNS.names, row, strict=True)) for row in rows]
        if each.kind == "Patient":  # sex and birth date are details; what is left is a death
            said = [row for row in said if row["measure"] == "death"]
            zone = ZoneInfo(self.service.settings.time_zone or "UTC")
            for row in said:
                row["time"] = end_of_day(row["time"], zone)
        earlier = Entry(0, each.kind, {}, each.id, version=each.version - 1).source if before else None
        withdrawn = [row for row in said if row["text"] == "retracted"]
        for row in said:
            row["source"], row["replaces"] = each.source, earlier
        if before and (withdrawn or not said):
            said = [self._withdrawn(each, measure, at, earlier) for measure, at in before]
        elif withdrawn:
            said = []  # nothing of it was ever stored
        return [(*(row[name] for name in COLUMNS.names), each.place) for row in said]

    def _withdrawn(self, each: Entry, measure: str, at: int, earlier: str | None) -> dict[str, Any]:
        return {
            **dict.fromkeys(COLUMNS.names), "patient_id": each.person, "measure": measure,
            "text": "retracted", "time": moment_of(at).isoformat(), "source": each.source,
            "replaces": earlier,
        }  # fmt: skip

    def _beside(self, con: sa.Connection, now: int, kept: Sequence[Entry]) -> None:
        """In the transaction of the facts: resources as they were sent, who patients are, and where."""
        resources = [
            (
                each.kind,
                each.id,
                each.version,
                each.person,
                digest(each),
                orjson.dumps(each.resource).decode(),
            )
            for each in kept
            if each.kind != "Patient" and (each.rows or each.kind in UNCHARTED)
        ]
        fhir_kept.keep(con, now, resources)
        clock, about = self.service.clock, [each for each in kept if each.kind in ABOUT]
        for each in about:
            assert each.person is not None
            if each.kind == "Patient" or each.resource.get("status") in HERE:
                people.put_in(con, clock, self.actor, each.person, said_of(each))
            elif ended(con, each.resource, each.person):
                people.discharge_in(con, clock, self.actor, each.person)
        if about:
            people.changed(con)


def _is_row(row: tuple[Any, ...]) -> bool:
    """Whether texts are texts: what was sent may have anything anywhere."""
    return set(map(type, TEXTS_OF(row))) <= {str, NoneType}


def said_of(each: Entry) -> dict[str, str | None]:
    """Details that a Patient or an Encounter says."""
    return details_of(each.resource) if each.kind == "Patient" else bed_of(each.resource)


def digest(each: Entry) -> str:
    """What makes a resource the same one: all it says but for what a server adds."""
    said = each.resource
    if "meta" in said or "text" in said:
        said = {key: value for key, value in said.items() if key not in ("meta", "text")}
    return blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def written(resource: Json) -> str:
    """A resource as text."""
    return orjson.dumps(resource).decode()


def _identify(each: Entry) -> None:
    """Give an id where the sender gave none: of what is said, so that the same is stored once; a patient
    gets a new one, because two may be said alike."""
    if not each.id:
        said = {key: value for key, value in each.resource.items() if key != "id"}
        new = each.kind == "Patient"
        each.id = secrets.token_hex(16) if new else digest(Entry(0, each.kind, said))


def _person(each: Entry) -> str | None:
    """Whose the resource is: the id that facts come under."""
    if each.kind == "Patient":
        return each.id
    name = _reference(each.resource, "subject") or _reference(each.resource, "patient")
    return name.replace("urn:uuid:", "").rsplit("/", 1)[-1] or None


def _reference(resource: Json, key: str) -> str:
    """What a resource names under a key; empty where it names nothing."""
    told = resource.get(key)
    name = told.get("reference") if isinstance(told, dict) else None
    return name if isinstance(name, str) else ""


def _placed(resource: Json, places: Mapping[str, str]) -> Json:
    """A resource whose names for others of the same request are `Kind/id`."""
    changed = {
        key: {**resource[key], "reference": places[name]}
        for key in REFERENCES
        if (name := _reference(resource, key)) in places
    }
    return {**resource, **changed}


def _named_by(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Medications and devices that resources name."""
    found: dict[tuple[str, str], None] = {}
    for each in entries:
        for key in ("medicationReference", "device"):
            if key not in each.resource:
                continue
            parts = _reference(each.resource, key).split("/")[-2:]
            if len(parts) == 2 and parts[0] in NAMED:
                found[parts[0], parts[1]] = None
    return list(found)
