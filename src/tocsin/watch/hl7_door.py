"""What becomes of one HL7 v2 message: read, stored and graded or done, and answered."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from tocsin.definitions.schema import Measure
from tocsin.facts import meaning
from tocsin.sources.codes import Codes
from tocsin.watch import hl7_versions, intake, ledger
from tocsin.watch.gathered import Gathered
from tocsin.watch.hl7_answers import Trouble, answer, wanted
from tocsin.watch.hl7_messages import Head, MessageError, head_of, read
from tocsin.watch.hl7_patients import EVENTS, Patients
from tocsin.watch.hl7_results import Reader, Results
from tocsin.watch.people import PatientError
from tocsin.watch.roles import Actor

if TYPE_CHECKING:
    from tocsin.watch.service import Service

#: Messages about the same person wait for each other, so that a correction sees what it corrects.
LOCKS = 64
#: What a refusal of the reading of facts is called in an answer: a part of its words, a code of table 0357,
#: the field, and what to do. Its own words may quote a value, so they never leave.
REFUSALS = (
    ("has no unit", 101, 6, "it has no unit", "send the unit in OBX-6"),
    ("has a unit that is not known", 103, 6, "its unit is not known", "send the unit in UCUM in OBX-6"),
    ("cannot be read in", 103, 6, "its unit is of another kind of quantity", "check the code and the unit"),
    ("is impossible", 102, 5, "its value is impossible for the measure", "correct it at the source"),
    ("no number where one is due", 102, 5, "it has no number where one is due", "send a number in OBX-5"),
    ("where a number is due", 102, 5, "it has a text where a number is due", "send a number in OBX-5"),
    ("neither value nor text", 101, 5, "it has no value", "send OBX-5, or leave the row out"),
    ("has no text", 101, 5, "it has no value", "send OBX-5, or leave the row out"),
    ("has the word", 103, 5, "its word is not known", "map it in the site's code file"),
    ("lies in the future", 102, 14, "its time lies in the future", "check the clock and the time zone"),
    ("has a dose of 0", 102, 5, "it is a dose of 0", "leave the row out"),
    ("clinician's word", 207, 3, "only a clinician may say this", "say it on the patient's page"),
    ("longer than", 104, 5, "a text is too long, or holds a NUL", "shorten it"),
)  # fmt: skip
OTHER = ("", 102, 5, "it cannot be taken as charted", "check it against the manual of the service")


class Door:
    """Takes messages of any number of connections, from any thread; `take` answers each."""

    def __init__(
        self, service: Service, *, codes: Codes | None = None, zone: str = "UTC", authority: str | None = None
    ) -> None:
        self.service = service
        self.results = Reader(codes or Codes(service.lib), zone, authority)
        self.patients = Patients(service, zone, authority)
        self.gathered = Gathered(service.lib, service.clock.now)
        self._locks = [threading.Lock() for _ in range(LOCKS)]

    def take(self, data: bytes, peer: str) -> bytes | None:
        """Take a message; returns the acknowledgement, or None where the sender asked for none.

        Raises what the store raises: then nothing is known to be stored, and nothing may be answered.
        """
        head = head_of(data)
        kind, troubles, said = self.judged(data, head, Actor(f"hl7 {peer}", "device", None, "hl7"))
        asked = wanted(head, kind)
        if asked is None:
            return None
        return answer(head, asked, troubles, self.service.clock.moment(), said)

    def judged(self, data: bytes, head: Head, actor: Actor) -> tuple[str, list[Trouble], str]:
        """What became of a message: AA, AE or AR, what is wrong, and a word on what was stored."""
        try:
            message = read(data, head)
            sort, event = message.kind
            if (sort, event) != ("ORU", "R01") and not (sort == "ADT" and event in EVENTS):
                known = sort in ("ORU", "ADT")
                raise MessageError(
                    201 if known else 200, f"it is of {'an event' if known else 'a type'} that is not taken",
                    f"ORU^R01, or ADT of {', '.join(EVENTS)}", ("MSH", 1, 9),
                )  # fmt: skip
        except MessageError as wrong:
            return "AR", [whole(wrong)], ""
        assumed = [ASSUMED] if message.assumed else []
        try:
            if sort == "ADT":
                with self.alone(self.patients.about(message)):
                    return "AA", [*assumed, *self.patients.take(actor, message)], ""
            found = self.results.read(message)
        except MessageError as wrong:
            return "AE", [whole(wrong), *assumed], ""
        except PatientError as wrong:
            what, _, fix = str(wrong).partition("\n  fix: ")
            return "AE", [Trouble("PID", 1, 0, 102, what, fix), *assumed], ""
        troubles, said = self.observed(found, actor)
        bad = any(each.severity == "E" for each in troubles)
        return "AE" if bad else "AA", [*troubles, *assumed], said

    def observed(self, found: Results, actor: Actor) -> tuple[list[Trouble], str]:
        """Store rows; returns what is wrong, in the order of the rows, and a word on what was stored."""
        sent: list[dict[str, Any]] = []
        places: list[int] = []
        with self.alone({row["patient_id"] for row in found.rows}):
            with self.service.store.reading() as con:
                for row, place, known in self._known(con, found):
                    rows = hl7_versions.linked(row, known, lambda each: self._repeated(con, each))
                    if not rows:
                        found.left["older than what is stored"] += 1
                    sent += rows
                    places += [place] * len(rows)
            receipt = self.service.keep(self.gathered.read(sent), actor) if sent else None
        told = {each.sequence for each in found.troubles}
        troubles = list(found.troubles)
        for refused, severity in ((receipt.rejected, "E"), (receipt.kept, "W")) if receipt else ():
            for each in refused:
                place = places[each["row"] - 1]
                if severity == "W" or place not in told:
                    about = found.codes[place]
                    measure = self._measure(sent[each["row"] - 1])
                    troubles.append(refusal(each["why"], place, about, measure, severity))
                    told.add(place)
        troubles.sort(key=lambda each: each.sequence)
        rejected = len({each.sequence for each in troubles if each.severity == "E"})
        return troubles, summary(receipt, rejected, found.left)

    def _known(self, con: Any, found: Results) -> Iterator[tuple[dict[str, Any], int, hl7_versions.Known]]:
        """Each row with what is stored of its patient at the times of the message."""
        times: dict[str, set[int]] = {}
        for row in found.rows:
            times.setdefault(row["patient_id"], set()).add(hl7_versions.micros(row))
        people = self.service.people
        known = {
            who: hl7_versions.stored(con, people.names(people.person(who)), at) for who, at in times.items()
        }
        for row, place in zip(found.rows, found.places, strict=True):
            yield row, place, known[row["patient_id"]]

    def _repeated(self, con: Any, row: Mapping[str, Any]) -> bool:
        """Whether a row is stored word for word."""
        batches, _ = intake.batches_of([dict(row)])
        taken = intake.read(batches, lib=self.service.lib, now=self.service.clock.now())
        return bool(ledger.known_hashes(con, [each["hash"] for each in taken.rows]))

    def _measure(self, row: Mapping[str, Any]) -> Measure | None:
        return self.service.lib.measures.get(row["measure"])

    @contextmanager
    def alone(self, people: set[str]) -> Iterator[None]:
        """Keep other messages about the same persons waiting."""
        with ExitStack() as held:
            for place in sorted({hash(self.service.people.person(who)) % LOCKS for who in people}):
                held.enter_context(self._locks[place])
            yield


ASSUMED = Trouble(
    "MSH", 1, 18, 102, "no character set is named and the bytes are no UTF-8: read as Latin-1",
    "name the set in MSH-18", "W",
)  # fmt: skip


def whole(wrong: MessageError) -> Trouble:
    """What is wrong with a message as a whole."""
    segment, sequence, place = wrong.place
    return Trouble(segment, sequence, place, wrong.code, wrong.what, wrong.fix)


def refusal(why: str, place: int, about: str, measure: Measure | None, severity: str) -> Trouble:
    """A refusal of the reading of facts in words that quote nothing of the row."""
    _, code, field, what, fix = next((each for each in REFUSALS if each[0] in why), OTHER)
    if field == 6 and measure is not None:
        fix += f" (accepted: {', '.join(meaning.accepted(measure))})"
    elif code == 103 and measure is not None and measure.words:
        fix = f"one of {', '.join(measure.words)}; or {fix}"
    return Trouble("OBX", place, field, code, what, fix, severity, about)


def summary(receipt: Any, rejected: int, left: Counter[str]) -> str:
    """How many rows went which way."""
    stored, duplicates = (receipt.stored, receipt.duplicates) if receipt else (0, 0)
    parts = [f"{stored} stored"]
    parts += [f"{duplicates} known already"] if duplicates else []
    parts += [f"{rejected} rejected"] if rejected else []
    parts += [f"{count} left, {why}" for why, count in sorted(left.items())]
    return "; ".join(parts)
