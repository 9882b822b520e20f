"""Admissions, transfers, discharges and merges (ADT) of HL7 v2, as changes to the table of patients.

A message may come twice, and later than the one that followed it: everything here can be done again without
harm, and what changes after a discharge (A08) takes nobody up again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from tocsin.watch import people
from tocsin.watch.hl7_answers import Trouble
from tocsin.watch.hl7_messages import Message, MessageError, Segment
from tocsin.watch.roles import Actor, may

if TYPE_CHECKING:
    from tocsin.watch.service import Service

#: The events that are taken.
EVENTS = ("A01", "A02", "A03", "A08", "A11", "A40")
#: Table 0001 as our words; what is not here is not said.
SEX = {"F": "female", "M": "male", "O": "other", "A": "other", "U": "unknown"}
#: Kinds of identifiers (table 0203) that may name a patient, the best first; an old message says none.
KINDS = ("MR", "PI", "")
NOBODY = "nobody is known under this number, so nothing was changed"


def identify(segment: Segment, number: int, authority: str | None) -> str:
    """The patient id in a list of identifiers (PID-3, MRG-1).

    With an `authority`, identifiers of another one are not looked at. Raises `MessageError` where there is
    none, or where two authorities each call the patient by a number and nobody said whose holds.
    """
    place = (segment.name, 1, number)
    found: list[tuple[int, str, str]] = []
    for repetition in segment.repetitions(number):
        # the authority has parts of its own; the first is its name
        parts = [*segment.of(repetition, main=True), "", "", "", "", ""]
        whose, kind = parts[3], parts[4].upper()
        if parts[0] and kind in KINDS and (authority is None or whose in ("", authority)):
            found.append((KINDS.index(kind), parts[0], whose))
    if not found:
        raise MessageError(
            101, "no identifier of the patient is there" + (" from the authority named" if authority else ""),
            "send the record number, of type MR or PI", place,
        )  # fmt: skip
    best = min(found)[0]
    mine = {(who, whose) for rank, who, whose in found if rank == best}
    if len({whose for _, whose in mine}) > 1:
        raise MessageError(
            204,
            "two authorities each name the patient",
            "say whose numbers hold: --hl7-authority NAME",
            place,
        )
    return next(who for rank, who, _ in found if rank == best)


def details(message: Message, patient_id: str) -> dict[str, str | None]:
    """What a message says of who the patient is and where; what it leaves out stays as it was."""
    found: dict[str, str | None] = {"record_number": patient_id}
    for segment in message.segments():
        if segment.name == "PID":
            found |= {
                "name": name_of(segment), "birth_date": day(segment.text(7)), "sex": SEX.get(segment.text(8)),
            }  # fmt: skip
        elif segment.name == "PV1":
            point, room, bed = (*segment.parts(3), "", "", "")[:3]
            found |= {"ward": point, "bed": "-".join(part for part in (room, bed) if part)}
    return {name: value for name, value in found.items() if value}


def name_of(segment: Segment) -> str | None:
    """PID-5 as people say it: given name, then family name; the legal name where there are several."""
    names = [segment.of(each, main=True) for each in segment.repetitions(5)]
    legal = [each for each in names if len(each) > 6 and each[6] == "L"] or names
    if not legal:
        return None
    family, given, middle = (*legal[0], "", "", "")[:3]
    return " ".join(part for part in (given, middle, family) if part) or None


def day(text: str) -> str | None:
    """A date of birth; None where it is not known to the day.

    >>> day("19690601"), day("1969"), day("19690231")
    ('1969-06-01', None, None)
    """
    if not re.fullmatch(r"\d{8}\d*(?:\.\d+)?(?:[+-]\d{4})?", text, re.ASCII):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])).isoformat()
    except ValueError:
        return None


class Patients:
    """Does what ADT messages say, through the service."""

    def __init__(self, service: Service, zone: str, authority: str | None) -> None:
        self.service, self.zone, self.authority = service, zone, authority
        self.events: dict[str, Callable[[Actor, Message], list[Trouble]]] = {
            "A01": self.admit, "A02": self.admit, "A08": self.update,
            "A03": self.leave, "A11": self.leave, "A40": self.merge,
        }  # fmt: skip

    def take(self, actor: Actor, message: Message) -> list[Trouble]:
        """Do it; returns what is worth saying.

        Raises `MessageError` where the message lacks what it needs, `PatientError` where it cannot be done.
        """
        needed = "patients:merge" if message.kind[1] == "A40" else "patients:write"
        if not may(actor, needed):
            raise MessageError(207, "this sender may not change patients", "see roles.py", ("MSH", 1, 9))
        return self.events[message.kind[1]](actor, message)

    def about(self, message: Message) -> set[str]:
        """Everybody whose record a message may change."""
        found = set()
        for segment in message.segments():
            if segment.name in ("PID", "MRG"):
                found.add(identify(segment, 3 if segment.name == "PID" else 1, self.authority))
        return found

    def who(self, message: Message) -> str:
        """The patient a message is about."""
        for segment in message.segments():
            if segment.name == "PID":
                return identify(segment, 3, self.authority)
        raise MessageError(101, "it has no PID segment", "send PID with the record number", ("PID", 1, 0))

    def known(self, patient_id: str) -> people.Patient | None:
        """The row of a patient, as any worker left it."""
        self.service.people.refresh()
        return self.service.people.of.get(patient_id)

    def admit(self, actor: Actor, message: Message) -> list[Trouble]:
        """A01, A02: who it is and where; whoever had gone home is watched again."""
        who = self.who(message)
        said = details(message, who)
        self.service.set_patient(actor, who, **said)
        return []

    def update(self, actor: Actor, message: Message) -> list[Trouble]:
        """A08: who it is and where. Offices mend records after a discharge, which takes nobody up again."""
        who = self.who(message)
        said = details(message, who)
        self.service.mend_patient(actor, who, said)
        return []

    def leave(self, actor: Actor, message: Message) -> list[Trouble]:
        """A03, A11: gone home, or never admitted; facts stay."""
        who = self.who(message)
        known = self.known(who)
        if known is None:
            return [Trouble("PID", 1, 3, 204, NOBODY, "", "I")]
        if self.service.people.of[known.person].discharged is None:
            self.service.discharge(actor, known.person)
        return []

    def merge(self, actor: Actor, message: Message) -> list[Trouble]:
        """A40: the record of MRG-1 is read as that of the PID before it; as often as they stand there."""
        done, into, place = 0, "", 0
        for segment in message.segments():
            if segment.name == "PID":
                into = identify(segment, 3, self.authority)
            elif segment.name == "MRG":
                place += 1
                if not into:
                    raise MessageError(100, "an MRG has no PID before it", "PID, then MRG", ("MRG", place, 0))
                self._merge(actor, identify(segment, 1, self.authority), into)
                done += 1
        if not done:
            raise MessageError(101, "it has no MRG segment", "send MRG with the old number", ("MRG", 1, 1))
        return []

    def _merge(self, actor: Actor, old: str, new: str) -> None:
        if old == new:
            raise MessageError(204, "MRG-1 and PID-3 are the same number", "check the merge", ("MRG", 1, 1))
        for who in (old, new):
            if self.known(who) is None:
                # facts may still come under either number
                self.service.set_patient(actor, who, record_number=who)
        service = self.service
        if service.people.person(new) == old:
            service.unmerge(actor, new)  # it was merged the other way round
        into = service.people.person(new)
        if service.people.person(old) == into:
            return
        if service.people.person(old) != old:
            service.unmerge(actor, old)
        for who in service.people.names(old):
            if who != old:  # merged into the old record before: it goes along
                service.unmerge(actor, who)
                service.merge(actor, who, into)
        service.merge(actor, old, into)
