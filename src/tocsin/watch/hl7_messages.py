"""An HL7 v2 message taken apart: separators, segments, fields, repetitions, components, escapes.

A plain splitter. It keeps fields as they came and reads them when they are asked for, so that a message of
megabytes costs little; it judges nothing but whether the bytes can be a message at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tocsin.definitions.schema import TocsinError

#: The most segments of one message.
SEGMENTS = 50_000
#: The most fields of a segment; what stands behind them is nothing that is read here.
FIELDS = 200
#: Names of character sets (table 0211) and how they are read; no name: UTF-8, else Latin-1, which is said.
CHARACTERS = {
    "ASCII": "", "": "", "UNICODE UTF-8": "utf-8", "UNICODE UTF8": "utf-8", "UTF-8": "utf-8", "UTF8": "utf-8",
    **{f"8859/{part}": f"iso8859_{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
}  # fmt: skip
VERSIONS = (
    "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2",
    "2.9",
)  # fmt: skip
#: How a sender says "nothing" on purpose.
NOTHING = '""'


class MessageError(TocsinError):
    """Bytes that cannot be taken as a message; `code` is of HL7 table 0357. Holds nothing of a patient."""

    def __init__(self, code: int, what: str, fix: str, place: tuple[str, int, int] = ("MSH", 1, 0)) -> None:
        super().__init__(f"{what}\n  fix: {fix}")
        self.code, self.what, self.fix, self.place = code, what, fix, place


@dataclass(frozen=True, slots=True)
class Marks:
    """The separators of a message, and the pattern of its escapes."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    sub: str = "&"
    codec: str = "utf-8"

    @property
    def said(self) -> str:
        """MSH-2."""
        return f"{self.component}{self.repetition}{self.escape}{self.sub}"

    def plain(self, text: str) -> str:
        """A text with its escapes read, once: what an escape yields is not read again.

        >>> Marks().plain(r"5\\S\\6 \\E\\F\\E\\ \\X4142\\ \\.br\\C:\\dir")
        '5^6 \\\\F\\\\ AB  C:\\\\dir'
        """
        if self.escape not in text:
            return text
        mark = re.escape(self.escape)
        known = rf"{mark}(?:([FSTRE])|([HN])|\.[A-Za-z]{{2}}[+-]?\d*|X((?:[0-9A-Fa-f]{{2}})+)){mark}"
        return re.sub(known, self._one, text)

    def _one(self, found: re.Match[str]) -> str:
        letter, shown, digits = found.groups()
        if letter:
            signs = {
                "F": self.field, "S": self.component, "T": self.sub, "R": self.repetition, "E": self.escape,
            }  # fmt: skip
            return signs[letter]
        if digits:
            try:
                return bytes.fromhex(digits).decode(self.codec)
            except UnicodeDecodeError:
                return found[0]
        return "" if shown else " "  # highlighting says nothing; a formatted break is a blank

    def escaped(self, text: str) -> str:
        """A text as it may stand in a field.

        >>> Marks().escaped("a|b^c")
        'a\\\\F\\\\b\\\\S\\\\c'
        """
        signs = {
            self.escape: "E", self.field: "F", self.component: "S", self.sub: "T", self.repetition: "R",
        }  # fmt: skip
        return "".join(f"{self.escape}{signs[sign]}{self.escape}" if sign in signs else sign for sign in text)


@dataclass(frozen=True, slots=True)
class Segment:
    """One line of a message. Fields are numbered as HL7 does, from 1; what is not there is empty."""

    name: str
    fields: list[str]
    marks: Marks

    def raw(self, number: int) -> str:
        """A field as it came."""
        return self.fields[number] if 0 < number < len(self.fields) else ""

    def repetitions(self, number: int) -> list[str]:
        """The repetitions of a field, as they came; none of an empty field."""
        held = self.raw(number)
        return held.split(self.marks.repetition, FIELDS) if held else []

    def parts(self, number: int) -> list[str]:
        """The components of the first repetition of a field, escapes read."""
        held = self.repetitions(number)
        return self.of(held[0]) if held else []

    def of(self, repetition: str, *, main: bool = False) -> list[str]:
        """The components of one repetition, escapes read and blanks around them gone; with `main`, of each
        component the first of its own parts alone."""
        parts = repetition.split(self.marks.component, FIELDS)
        if main:
            parts = [part.partition(self.marks.sub)[0] for part in parts]
        return ["" if part == NOTHING else self.marks.plain(part).strip() for part in parts]

    def text(self, number: int, component: int = 1) -> str:
        """One component of the first repetition of a field."""
        parts = self.parts(number)
        return parts[component - 1] if component <= len(parts) else ""


@dataclass(frozen=True, slots=True)
class Head:
    """What an answer needs of a message, as it came; readable even where the rest is not."""

    marks: Marks = Marks()
    fields: list[str] = field(default_factory=list)

    def raw(self, number: int) -> str:
        """A field of MSH, numbered as HL7 does."""
        return self.fields[number] if 0 < number < len(self.fields) else ""

    def first(self, number: int, component: int = 1) -> str:
        """A component of a field of MSH, as it came."""
        parts = self.raw(number).partition(self.marks.repetition)[0].split(self.marks.component)
        return parts[component - 1].strip() if component <= len(parts) else ""

    @property
    def control(self) -> str:
        """MSH-10, by which the sender knows its message again."""
        return self.raw(10).strip()

    @property
    def version(self) -> str:
        """MSH-12, the version."""
        return self.first(12)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that can be read: its head, and every segment in its order."""

    head: Head
    text: str
    assumed: bool  #: whether Latin-1 was taken because no set was named and the bytes are no UTF-8

    @property
    def kind(self) -> tuple[str, str]:
        """The type and the event, as (`ORU`, `R01`)."""
        return self.head.first(9), self.head.first(9, 2)

    def segments(self) -> Iterator[Segment]:
        """Every segment, in order; lines that are empty are none."""
        marks = self.head.marks
        for line in re.split(r"[\r\n]+", self.text):
            fields = line.split(marks.field, FIELDS)
            if name := fields[0].strip():
                if name == "MSH":
                    fields.insert(1, marks.field)
                yield Segment(name, fields, marks)


def head_of(data: bytes) -> Head:
    """What can be read of the first line, whatever the bytes are."""
    line = re.split(rb"[\r\n]", data.lstrip(b"\r\n \xef\xbb\xbf")[:4_000], maxsplit=1)[0]
    if not line.startswith(b"MSH") or len(line) < 4:
        return Head()
    text = line.decode("latin-1")
    signs = text[4:].partition(text[3])[0]
    names = ("component", "repetition", "escape", "sub")
    given = dict(zip(names, signs, strict=False))
    marks = Marks(text[3], **given)
    if not separators(marks, signs):
        return Head()
    fields = text.split(marks.field, FIELDS)
    fields.insert(1, marks.field)
    head = Head(marks, fields)
    codec = CHARACTERS.get(head.first(18).upper())
    if not codec:
        try:
            data.decode("utf-8")
            codec = "utf-8"
        except UnicodeDecodeError:
            codec = "latin-1"
    marks = Marks(text[3], codec=codec, **given)
    try:
        fields = line.decode(codec).split(marks.field, FIELDS)
    except UnicodeDecodeError:
        return Head(marks, head.fields)
    fields.insert(1, marks.field)
    return Head(marks, fields)


def separators(marks: Marks, signs: str) -> bool:
    """Whether separators can be told from each other and from what is said."""
    all_of = [marks.field, marks.component, marks.repetition, marks.escape, marks.sub]
    plain = all("!" <= sign <= "~" and not sign.isalnum() and sign != '"' for sign in all_of)
    return plain and len(set(all_of)) == len(all_of) and 1 <= len(signs) <= 5


def read(data: bytes, head: Head | None = None) -> Message:
    """Bytes as a message; raises `MessageError` where they are none that can be taken, with why and the fix.
    `head` is that of the bytes, where it was read before."""
    head = head or head_of(data)
    if not head.fields:
        raise MessageError(
            100, "it does not begin with an MSH segment and five different separators",
            "begin with MSH|^~\\&|",
        )  # fmt: skip
    if not head.control:
        raise MessageError(101, "it has no control id", "number messages in MSH-10", ("MSH", 1, 10))
    if head.version not in VERSIONS:
        raise MessageError(
            203, "its version is not read here", f"MSH-12: one of {', '.join(VERSIONS)}", ("MSH", 1, 12)
        )
    if head.first(11) not in ("P", ""):
        raise MessageError(
            202, "it is for training or debugging; only production messages are taken for patients",
            "P in MSH-11", ("MSH", 1, 11),
        )  # fmt: skip
    codec = CHARACTERS.get(head.first(18).upper())
    if codec is None:
        raise MessageError(
            103, "its character set is not one that is read", "UNICODE UTF-8 in MSH-18", ("MSH", 1, 18)
        )
    try:
        text = data.decode(codec or head.marks.codec).lstrip("\ufeff \r\n")
    except UnicodeDecodeError:
        raise MessageError(
            102, "its bytes are not in the character set that it names", "name the set in MSH-18",
            ("MSH", 1, 18),
        ) from None  # fmt: skip
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text):
        raise MessageError(102, "it holds control characters", "send plain text between segments' ends")
    lines = text.count("\r") + text.count("\n")
    if lines > SEGMENTS:
        raise MessageError(104, f"it has more than {SEGMENTS} segments", "send it in parts")
    if re.search(rf"[\r\n][ ]*MSH{re.escape(head.marks.field)}", text):
        raise MessageError(100, "two messages stand in one frame", "frame each message by itself")
    return Message(head, text, not codec and head.marks.codec == "latin-1")
