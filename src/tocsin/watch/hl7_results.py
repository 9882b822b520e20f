"""Observations (ORU^R01) of HL7 v2 as rows of facts. Nothing is guessed: what has no meaning is counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from hashlib import blake2b
from typing import Any

import orjson

from tocsin.sources.codes import Codes, Meaning
from tocsin.watch.hl7_answers import Trouble
from tocsin.watch.hl7_messages import NOTHING, Message, MessageError, Segment
from tocsin.watch.hl7_patients import identify
from tocsin.watch.hl7_times import instant
from tocsin.watch.hl7_versions import WITHDRAWS

Row = dict[str, Any]
#: Statuses (table 0085): that are taken: final, preliminary, corrected, withdrawn. Others are left.
TAKEN = ("F", "P", "C", *WITHDRAWS)
#: The types of values (OBX-2) that are read.
TYPES = ("NM", "SN", "ST", "TX", "CE", "CWE")
#: Where a code has no system: table 0396 calls a sender's own codes L.
LOCAL = "L"
SIGNS = {"": None, "=": None, "<": "<", ">": ">", "<=": "<", ">=": ">"}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)
_WRITTEN = re.compile(r"(<=|>=|[<>=]?)\s*([+-]?(?:\d+\.?\d*|\.\d+))", re.ASCII)
_BETWEEN = re.compile(r"([+-]?\d+\.?\d*)\s*-\s*([+-]?\d+\.?\d*)", re.ASCII)
#: Answers (table 0136) to whether something is there.
NO, YES = ("N", "NO"), ("Y", "YES")


@dataclass(slots=True)
class Results:
    """Rows to be stored, what each came from (the number of its OBX), what is wrong, and what was left.

    Each row also says, under names that begin with `_`, what it is (`_status`), of what observation it is a
    version (`_name`), what it says (`_digest`) and by which message; `hl7_versions` takes these away.
    """

    rows: list[Row] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    codes: dict[int, str] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)


class UnreadableError(Exception):
    """A row that is refused: `code` of table 0357, the field, why and the fix."""

    def __init__(self, code: int, place: int, what: str, fix: str) -> None:
        super().__init__(what)
        self.code, self.place, self.what, self.fix = code, place, what, fix


class Reader:
    """Reads messages by a table of codes; `zone` is that of times without an offset."""

    def __init__(self, codes: Codes, zone: str, authority: str | None) -> None:
        self.codes, self.zone, self.authority = codes, zone, authority

    def read(self, message: Message) -> Results:
        """Every OBX of a message. One that cannot be read costs the others nothing.

        Raises `MessageError` where a patient cannot be told.
        """
        found = Results()
        facility = message.head.first(4)
        sent = digest({"by": facility, "control": message.head.control})
        patient, order, number = "", None, 0
        for segment in message.segments():
            if segment.name == "PID":
                patient, order = identify(segment, 3, self.authority), None
            elif segment.name == "OBR":
                order = segment
            elif segment.name == "OBX":
                number += 1
                if not patient:
                    raise MessageError(101, "an OBX has no PID before it", "PID first", ("OBX", number, 0))
                self._take(found, segment, order, patient, number, facility, sent)
        if not patient:
            raise MessageError(101, "it has no PID segment", "send PID with the record number", ("PID", 1, 0))
        return found

    def _take(
        self, found: Results, obx: Segment, order: Segment | None, patient: str, number: int, facility: str,
        message: str,
    ) -> None:  # fmt: skip
        asked = list(codings(obx, 3))
        found.codes[number] = asked[0][1][:40] if asked else ""
        status = obx.text(11).upper()
        if status and status not in TAKEN:
            found.left[f"of status {status[:2]}"] += 1
            return
        meaning = self._meaning(asked)
        answer = self._meaning(list(codings(obx, 5))) if obx.text(2) in ("CE", "CWE") else None
        if meaning is None and answer is not None and answer.word is not None:
            # the question may be unknown and the answer not: "oxygen therapy: nasal cannula"
            meaning = answer
        if meaning is None:
            found.left["with a code that nothing here names"] += 1
            return
        row: Row = {"patient_id": patient, "measure": meaning.measure}
        try:
            if not status:
                raise UnreadableError(101, 11, "its status is not said", "send F, P, C, D or W in OBX-11")
            row["time"] = self._time(obx, order)
            filler = order.text(3) if order is not None else ""
            system, code = asked[0] if asked else ("", "")
            row["_status"] = status
            row["_name"] = "|".join(("hl7", facility, filler, f"{code}^{system}", obx.text(4), row["time"]))
            if status not in WITHDRAWS:
                row |= self._value(obx, meaning, answer)
                if row.pop("_absent", False):
                    found.left["said to be absent"] += 1
                    return
        except UnreadableError as wrong:
            found.troubles.append(
                Trouble("OBX", number, wrong.place, wrong.code, wrong.what, wrong.fix,
                        about=found.codes[number])
            )  # fmt: skip
            if "_name" not in row:
                return
            kind = self.codes.lib.measure(meaning.measure).kind
            if kind not in ("number", "infusion", "category"):
                return  # without a value it would say that something was given, or is there
            # it goes on, to be refused there as well: what could not be read is unknown, not absent
            row["value"] = None if kind == "category" else "?"
        row["_digest"] = digest({**row, "at": obx.text(19)})
        row["_message"] = message
        found.rows.append(row)
        found.places.append(number)

    def _meaning(self, asked: list[tuple[str, str]]) -> Meaning | None:
        for system, code in asked:
            if (found := self.codes.find(system, code)) is not None:
                return found
        return None

    def _time(self, obx: Segment, order: Segment | None) -> str:
        """OBX-14, else OBR-7. One that is there and cannot be read is not passed over for the other."""
        for segment, place in ((obx, 14), (order, 7)):
            if segment is not None and (said := segment.text(place)):
                if (moment := instant(said, self.zone)) is None:
                    raise UnreadableError(
                        102, 14, f"{segment.name}-{place} is no time of day that exists",
                        "YYYYMMDDHHMM[SS], with an offset as +0100",
                    )  # fmt: skip
                return moment.astimezone(UTC).isoformat()
        raise UnreadableError(101, 14, "it has no time", "send OBX-14, or OBR-7 for all of an order")

    def _value(self, obx: Segment, meaning: Meaning, answer: Meaning | None) -> Row:
        """What was observed, by the type of its value."""
        kind = self.codes.lib.measure(meaning.measure).kind
        if (sort := obx.text(2).upper()) not in TYPES:
            raise UnreadableError(
                102, 2, "its type of value is not one that is read", f"OBX-2: one of {', '.join(TYPES)}"
            )
        if len(obx.repetitions(5)) > 1:
            raise UnreadableError(102, 5, "it has several values", "one OBX for each, told apart by OBX-4")
        row: Row = {"method": (obx.text(17, 2) or obx.text(17) or meaning.method or "").lower() or None}
        if kind in ("category", "word"):
            row["text"] = meaning.word or (answer.word if answer else None) or said(obx, sort) or None
            return row
        if said(obx, sort) is None:
            # of a drug or a symptom, no value would say that it was given, or is there
            raise UnreadableError(101, 5, "it has no value", "send OBX-5, or leave the row out")
        if kind == "event" and (said(obx, sort) or "").upper() in NO:
            return {"_absent": True}
        unit = unit_of(obx) or meaning.unit
        if sort == "SN":
            row |= structured(obx)
        elif sort in ("CE", "CWE"):
            row["text"] = said(obx, sort)
        elif (whole := _WRITTEN.fullmatch(said(obx, sort) or "")) is not None:
            row |= {"value": float(whole[2]), "text": SIGNS[whole[1]]}
        elif kind == "event":
            row["text"] = said(obx, sort)
        else:
            row["value"] = said(obx, sort)  # refused as no number, where numbers are read
        if kind == "event" and (row.get("text") or "").upper() in YES:
            row["text"] = None
        if row.get("value") is not None:
            row["unit"] = unit
            row["ref_low"], row["ref_high"] = limits(obx.text(7))
        return row


def codings(segment: Segment, number: int) -> Iterator[tuple[str, str]]:
    """A coded field as (system, code): its own code, then the one beside it."""
    parts = [*segment.parts(number), "", "", "", "", "", ""]
    for at in (0, 3):
        if parts[at]:
            yield parts[at + 2] or LOCAL, parts[at]


def said(obx: Segment, sort: str) -> str | None:
    """The value as text; of a coded one what it is called."""
    if sort in ("CE", "CWE"):
        parts = [*obx.parts(5), "", ""]
        return parts[1] or (parts[8] if len(parts) > 8 else "") or parts[0] or None
    held = obx.raw(5)
    # a text may hold separators that its sender did not escape
    return None if held == NOTHING else obx.marks.plain(held).strip() or None


def structured(obx: Segment) -> Row:
    """A structured number: a comparator and one number; a range or a ratio has no one size."""
    sign, first, between, second = ([*obx.parts(5), "", "", "", ""])[:4]
    if sign not in SIGNS or between or second:
        raise UnreadableError(102, 5, "it is a range or a ratio, not one number", "send it as NM, or two OBX")
    if first and not _NUMBER.fullmatch(first):
        raise UnreadableError(
            102, 5, "it has no number where one is due", "send a number in the second component"
        )
    return {"value": float(first) if first else None, "text": SIGNS[sign] if first else None}


def unit_of(obx: Segment) -> str | None:
    """The unit: its code, else what it is called. `10^9/L` is often sent without the escape of its sign."""
    parts = [*obx.parts(6), "", ""]
    if parts[0] in ("10", "x10") and re.match(r"\d", parts[1]):
        return f"{parts[0]}^{parts[1]}"
    return parts[0] or parts[1] or None


def limits(text: str) -> tuple[float | None, float | None]:
    """The laboratory's limits; none where they are not plain numbers.

    >>> limits("3.5 - 5.1"), limits("<= 5"), limits(">60"), limits("neg")
    ((3.5, 5.1), (None, 5.0), (60.0, None), (None, None))
    """
    if (both := _BETWEEN.fullmatch(text)) is not None:
        low, high = float(both[1]), float(both[2])
        return (low, high) if low <= high else (None, None)
    one = _WRITTEN.fullmatch(text)
    if one is None or one[1] in ("", "="):
        return None, None
    return (None, float(one[2])) if one[1][0] == "<" else (float(one[2]), None)


def digest(row: Mapping[str, Any]) -> str:
    """What tells versions of one observation apart: whatever was said."""
    told = {name: value for name, value in row.items() if not name.startswith("_")}
    return blake2b(orjson.dumps(told, option=orjson.OPT_SORT_KEYS), digest_size=6).hexdigest()
