"""Reads the shelf `monitoring`: what labels and leaflets ask for after a dose, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.dose import STATUS_WORDS
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON
from tocsin.definitions.workup import measures_or_classes, status_of

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

#: What a window is about, so that a page can sort and a program can ask.
TOPICS = ("hospital", "near", "checks", "driving", "other")
COUNTRIES = ("US", "EU", "UK", "CH")


@dataclass(frozen=True, slots=True)
class Window:
    """What one label or leaflet asks for after a dose.

    `doses` are the numbers of the doses that open it (empty = every dose), `doses_from` all from that number
    on; doses are counted over the whole record. `from_first`: it counts from the first dose of the course,
    and later doses do not open it anew.
    `since`, `until`: dates of the label, as ISO text. No `hours` = no length is printed.
    """

    id: str
    therapies: tuple[str, ...]
    topic: str
    country: str
    since: str
    until: str
    hours: float | None
    doses: tuple[int, ...]
    doses_from: int
    from_first: bool
    asks: str
    reading: str
    source: tuple[str, ...]
    status: str

    def opened_by(self, number: int) -> bool:
        """Whether the dose of this number (1 = first of the record) opens the window."""
        return number >= self.doses_from and (not self.doses or number in self.doses)


@lru_cache(maxsize=8)
def windows(lib: Library) -> tuple[Window, ...]:
    """Every monitoring rule.

    >>> from tocsin.definitions.load import library
    >>> sorted({each.country for each in windows(library()) if each.country})
    ['CH', 'EU', 'UK', 'US']
    """
    return tuple(each for _, path in sorted(lib.files("monitoring").items()) for each in _file(path, lib))


def _file(path: Path, lib: Library) -> list[Window]:
    table = parse(path)
    head = Reader(table, str(path), (*COMMON, "therapies", "window"))
    therapies = measures_or_classes(head, "therapies", lib)
    if not therapies:
        raise head.fail("therapies", "is empty", 'name the therapies: therapies = ["teclistamab"]')
    return [_window(item, path, head, therapies) for item in table.get("window", ())]


def _window(item: Mapping[str, Any], path: Path, head: Reader, therapies: tuple[str, ...]) -> Window:
    words = (
        "topic", "country", "since", "until", "hours", "doses", "doses_from", "from_first", "asks", "source",
        "status", "reading",
    )  # fmt: skip
    reader = Reader(item, f"{path}, window", words)
    doses, source = item.get("doses", []), reader.names("source") or head.names("source")
    if not isinstance(doses, list) or not all(isinstance(dose, int) and dose > 0 for dose in doses):
        raise reader.fail("doses", f"is {doses!r}", "numbers of doses, the first is 1: doses = [1, 2]")
    return Window(
        id=path.stem,
        therapies=therapies,
        topic=reader.choice("topic", TOPICS),
        country=reader.choice("country", COUNTRIES) if "country" in item else "",
        since=reader.text("since", ""),
        until=reader.text("until", ""),
        hours=reader.hours("hours"),
        doses=tuple(doses),
        doses_from=int(reader.number("doses_from") or 1),
        from_first=reader.flag("from_first"),
        asks=reader.text("asks"),
        reading=" ".join(text for text in (head.prose(), reader.prose()) if text),
        source=source,
        status=status_of(reader, source, head.choice("status", STATUS_WORDS)),
    )
