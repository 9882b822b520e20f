"""Reads the shelves `workup`, `events`, `markers`: which tests are asked for, and what cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.dose import STATUS_WORDS
from tocsin.definitions.guideline import STRENGTHS
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, Finding, near
from tocsin.definitions.shared import shared_findings

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

#: How the moment of an event is found in the record.
EVENT_FORMS = ("reading", "started", "worse-word", "grade", "rise-after-peak")
GRADES = (0, 1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Interval:
    """How often, at which grades, in which days after the latest dose.

    Neither `every_hours` nor `once` = asked for, without an interval that a source gives. `in_window` = only
    while the product's risk window stands; `before_dose` = due with the next dose, whenever that is.
    """

    grades: tuple[int, ...]
    every_hours: float | None
    days_from: float
    days_to: float
    in_window: bool
    once: bool
    before_dose: bool
    when: tuple[str, ...]
    strength: str
    says: str
    classes: tuple[str, ...]
    source: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Workup:
    """One test or panel; it is done when each part, a measure or one of its alternatives, has a result."""

    id: str
    title: str
    parts: tuple[tuple[str, ...], ...]
    at_once: tuple[str, ...]
    at_once_source: tuple[str, ...]
    therapies: tuple[str, ...]
    intervals: tuple[Interval, ...]
    note: str
    reading: str
    source: tuple[str, ...]
    status: str

    @property
    def measures(self) -> tuple[str, ...]:
        """Every measure of the panel."""
        return tuple(name for part in self.parts for name in part)


@dataclass(frozen=True, slots=True)
class Event:
    """Something new in the record that makes tests due at once, for `stands_hours`.

    `reading`: a reading that meets `finding`, none in the `quiet_hours` before. `started`: a drug of `given`
    that was not running. `worse-word`: a later word of `measure` than the one before. `grade`: the grade of
    `scale` changed for certain. `rise-after-peak`: `measure` rose again once the grade was below its peak.
    """

    id: str
    title: str
    form: str
    finding: Finding | None
    measure: str
    given: tuple[str, ...]
    scale: str
    quiet_hours: float
    stands_hours: float
    source: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Marker:
    """What cannot be read for `hours`, perhaps for `hours_to`, after something was given."""

    id: str
    title: str
    measures: tuple[str, ...]
    given: tuple[str, ...]
    hours: float
    hours_to: float
    says: str
    therapies: tuple[str, ...]
    reading: str
    source: tuple[str, ...]
    status: str


@lru_cache(maxsize=8)
def workups(lib: Library) -> tuple[Workup, ...]:
    """Every test and panel.

    >>> from tocsin.definitions.load import library
    >>> next(each for each in workups(library()) if each.id == "crp").measures
    ('crp', 'crp-high-sensitivity')
    """
    return tuple(_workup(path, lib) for _, path in sorted(lib.files("workup").items()))


@lru_cache(maxsize=8)
def events(lib: Library) -> Mapping[str, Event]:
    """Every event that can make a test due at once."""
    return {name: _event(path, lib) for name, path in sorted(lib.files("events").items())}


@lru_cache(maxsize=8)
def markers(lib: Library) -> tuple[Marker, ...]:
    """What cannot be read after what."""
    return tuple(_marker(path, lib) for _, path in sorted(lib.files("markers").items()))


def measures_or_classes(reader: Reader, key: str, lib: Library) -> tuple[str, ...]:
    """Names of measures or of classes of drugs and therapies; refused with the near miss."""
    names = reader.names(key)
    known = (*lib.measures, *lib.classes)
    for name in names:
        if name not in known:
            raise reader.fail(key, f"names `{name}`{near(name, known)}", "a measure, or a class of drugs")
    return names


def status_of(reader: Reader, source: tuple[str, ...], default: str) -> str:
    """The status of one item: `memory` where memory is its only source."""
    return "memory" if source == ("memory",) else reader.choice("status", STATUS_WORDS, default)


def _parts(reader: Reader, lib: Library) -> tuple[tuple[str, ...], ...]:
    parts = [[part] if isinstance(part, str) else part for part in reader.table.get("measures", ())]
    for name in (name for part in parts for name in part):
        if name not in lib.measures:
            raise reader.fail("measures", f"names `{name}`{near(str(name), lib.measures)}", "a measure")
    return tuple(tuple(part) for part in parts)


def _grades(reader: Reader) -> tuple[int, ...]:
    grades = reader.table.get("grades", list(GRADES))
    if not isinstance(grades, list) or not grades or not set(grades) <= set(GRADES):
        raise reader.fail("grades", f"is {grades!r}", "a list of grades from 0 to 4: grades = [2, 3, 4]")
    return tuple(grades)


def _workup(path: Path, lib: Library) -> Workup:
    table = parse(path)
    words = (*COMMON, "measures", "at_once", "at_once_source", "therapies", "interval", "note")
    reader = Reader(table, str(path), words)
    known, status = lib.files("events"), reader.choice("status", STATUS_WORDS)
    for event in reader.names("at_once"):
        if event not in known:
            fix = f"one of {', '.join(sorted(known))}"
            raise reader.fail("at_once", f"names `{event}`{near(event, known)}", fix)
    return Workup(
        id=path.stem,
        title=reader.text("title"),
        parts=_parts(reader, lib),
        at_once=reader.names("at_once"),
        at_once_source=reader.names("at_once_source") or reader.names("source"),
        therapies=measures_or_classes(reader, "therapies", lib),
        intervals=tuple(_interval(item, reader, status, lib) for item in table.get("interval", ())),
        note=reader.text("note", ""),
        reading=reader.prose(),
        source=reader.names("source"),
        status=status,
    )


def _interval(item: Mapping[str, Any], head: Reader, status: str, lib: Library) -> Interval:
    words = (
        "grades", "every_hours", "days_from", "days_to", "in_window", "once", "before_dose", "when",
        "strength", "says", "classes", "source", "status",
    )  # fmt: skip
    reader = Reader(item, f"{head.where}, interval", words)
    said = [key for key in ("every_hours", "once", "before_dose") if key in item]
    if len(said) > 1:
        raise reader.fail(said[1], f"stands beside `{said[0]}`", "two intervals, one a table")
    to, source = reader.number("days_to"), reader.names("source") or head.names("source")
    return Interval(
        grades=_grades(reader),
        every_hours=reader.hours("every_hours"),
        days_from=reader.number("days_from") or 0.0,
        days_to=float("inf") if to is None else to,
        in_window=reader.flag("in_window"),
        once=reader.flag("once"),
        before_dose=reader.flag("before_dose"),
        when=reader.names("when"),
        strength=reader.choice("strength", STRENGTHS, "give"),
        says=reader.text("says"),
        classes=measures_or_classes(reader, "classes", lib),
        source=source,
        status=status_of(reader, source, status),
    )


def _event(path: Path, lib: Library) -> Event:
    table = parse(path)
    own = ("form", "finding", "file", "measure", "given", "scale", "quiet_hours", "stands_hours")
    reader = Reader(table, str(path), (*COMMON, *own))
    stands, source = reader.hours("stands_hours"), reader.names("source")
    if stands is None:
        raise reader.fail("stands_hours", "is missing", "how long it asks for tests: stands_hours = 48")
    measure = reader.text("measure", "")
    if measure:
        lib.measure(measure)
    return Event(
        id=path.stem,
        title=reader.text("title"),
        form=reader.choice("form", EVENT_FORMS),
        finding=_threshold(reader, lib),
        measure=measure,
        given=measures_or_classes(reader, "given", lib),
        scale=reader.choice("scale", lib.scales) if "scale" in table else "",
        quiet_hours=reader.number("quiet_hours") or 0.0,
        stands_hours=stands,
        source=source,
        status=status_of(reader, source, "draft"),
    )


def _threshold(reader: Reader, lib: Library) -> Finding | None:
    """The finding whose bound an event shares, so that the number has one home."""
    if reader.table.get("form") != "reading":
        return None
    found = {each.id: each for each in shared_findings(reader.text("file"), lib).findings}
    name = reader.choice("finding", found)
    if found[name].op not in ("at_least", "above") or not isinstance(found[name].bound, float):
        raise reader.fail("finding", f"`{name}` has no lower bound", "a finding with `at_least` or `above`")
    return found[name]


def _marker(path: Path, lib: Library) -> Marker:
    table = parse(path)
    words = (*COMMON, "measures", "given", "hours", "hours_to", "says", "therapies")
    reader = Reader(table, str(path), words)
    hours, source = reader.hours("hours"), reader.names("source")
    if hours is None:
        raise reader.fail("hours", "is missing", "how long it cannot be read: hours = 24")
    return Marker(
        id=path.stem,
        title=reader.text("title"),
        measures=measures_or_classes(reader, "measures", lib),
        given=measures_or_classes(reader, "given", lib),
        hours=hours,
        hours_to=reader.hours("hours_to") or hours,
        says=reader.text("says"),
        therapies=measures_or_classes(reader, "therapies", lib),
        reading=reader.prose(),
        source=source,
        status=status_of(reader, source, "draft"),
    )
