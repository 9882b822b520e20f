"""Acknowledgements of HL7 v2 messages: taken, taken in part, or not; why, and what to do about it.

An answer names rows by number and code. It never holds a value, a name or a number of a patient: answers are
written to the logs of whatever stands between.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tocsin.watch.hl7_messages import VERSIONS, Head

#: What codes of table 0357 say.
ERRORS = {
    0: "Message accepted", 100: "Segment sequence error", 101: "Required field missing",
    102: "Data type error", 103: "Table value not found", 104: "Value too long",
    200: "Unsupported message type", 201: "Unsupported event code", 202: "Unsupported processing id",
    203: "Unsupported version id", 204: "Unknown key identifier", 207: "Application internal error",
}  # fmt: skip
#: The most troubles one answer tells; the rest are counted.
TOLD = 50
#: How an answer is called where the sender asked for the receipt alone (MSH-15 without MSH-16).
COMMIT = {"AA": "CA", "AE": "CE", "AR": "CR"}


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a segment (`sequence` counts those of its name, from 1) or worth saying of it:
    `severity` is E (not taken), W (taken, but look) or I (for information)."""

    segment: str
    sequence: int
    field: int
    code: int
    what: str
    fix: str
    severity: str = "E"
    about: str = ""

    @property
    def said(self) -> str:
        """As a sentence."""
        return f"{self.segment} {self.sequence}: {self.told}"

    @property
    def told(self) -> str:
        """What is wrong, of what, and the fix."""
        about = f" ({self.about})" if self.about else ""
        return f"{self.what}{about}" + (f"; fix: {self.fix}" if self.fix else "")


def wanted(head: Head, kind: str) -> str | None:
    """The code of the answer that the sender asks for (MSH-15, MSH-16); None where it wants none."""
    accept, application = head.first(15).upper(), head.first(16).upper()
    if not accept and not application:
        return kind

    def asks(when: str) -> bool:
        return when == "AL" or when == ("SU" if kind == "AA" else "ER")

    if asks(application):
        return kind
    return COMMIT[kind] if asks(accept) else None


def answer(head: Head, kind: str, troubles: Sequence[Trouble], now: datetime, said: str = "") -> bytes:
    """An acknowledgement as bytes, in the version, separators and characters of the message it answers."""
    marks = head.marks
    version = head.version if head.version in VERSIONS else "2.5.1"
    place = VERSIONS.index(version)
    event = head.first(9, 2)
    message = ["ACK"]
    if event and place >= VERSIONS.index("2.2"):
        message.append(event)
    if event and place >= VERSIONS.index("2.3.1"):
        message.append("ACK")
    moment = f"{now:%Y%m%d%H%M%S}" + ("+0000" if place >= VERSIONS.index("2.3") else "")
    ours = [
        "MSH", marks.said, head.raw(5), head.raw(6), head.raw(3), head.raw(4), moment, "",
        marks.component.join(message), secrets.token_hex(10), head.first(11) or "P", version,
    ]  # fmt: skip
    if head.raw(18):
        ours += ["", "", "", "", "", head.raw(18)]
    told = troubles[:TOLD]
    if len(troubles) > len(told):
        said = f"{said}; {len(troubles) - len(told)} more are not listed".lstrip("; ")
    msa = ["MSA", kind, head.control]
    new = place >= VERSIONS.index("2.5")
    if not new:
        # before 2.5 an ERR holds codes and places alone, so that the first sentence stands here
        said = "; ".join([text for text in (said, *(each.said for each in told[:1])) if text])
    if said and place < VERSIONS.index("2.7"):
        msa.append(marks.escaped(said))
    lines = [ours, msa]
    if new:
        lines += [_err(head, each) for each in told]
        if said and place >= VERSIONS.index("2.7"):
            lines.append(_err(head, Trouble("", 0, 0, 0, said, "", "I")))
    elif told:
        lines.append(["ERR", marks.repetition.join(_place(head, each) for each in told)])
    text = "".join(marks.field.join(line).rstrip(marks.field) + "\r" for line in lines)
    # a sender's own characters are echoed as they came; ours are all plain
    return text.encode(marks.codec, "replace")


def _error(head: Head, code: int, join: str) -> str:
    return join.join((str(code), ERRORS.get(code, ERRORS[207]), "HL70357"))


def _place(head: Head, each: Trouble) -> str:
    """ERR-1 of versions before 2.5."""
    marks = head.marks
    where = [each.segment, str(each.sequence), str(each.field or ""), _error(head, each.code, marks.sub)]
    return marks.component.join(where)


def _err(head: Head, each: Trouble) -> list[str]:
    """An ERR segment of versions from 2.5 on."""
    marks = head.marks
    where = [each.segment, str(each.sequence or ""), str(each.field or "")]
    place = marks.component.join(where).rstrip(marks.component)
    error = _error(head, each.code, marks.component)
    return ["ERR", "", place, error, each.severity, "", "", "", marks.escaped(each.told)]
