"""Reads the shelves `workup`, `markers`, `monitoring`, `causes`: what is looked for, and what it can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.dose import STATUS_WORDS, dose_rule
from tocsin.definitions.guideline import STRENGTHS
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, near

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

#: What makes a test due at once.
EVENTS = ("fever", "vasopressor", "oxygen", "grade", "dose")
STANDINGS = ("stated", "likely", "possible", "open")


@dataclass(frozen=True, slots=True)
class Interval:
    """How often, at which grades, in which days after the dose; no hours = asked for, without an interval."""

    grades: tuple[int, ...]
    every_hours: float | None
    days_from: float
    days_to: float
    once: bool
    strength: str
    says: str
    classes: tuple[str, ...]
    source: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Workup:
    """One test or panel: each part is a measure or its alternatives."""

    id: str
    title: str
    parts: tuple[tuple[str, ...], ...]
    at_once: tuple[str, ...]
    at_once_source: tuple[str, ...]
    therapies: tuple[str, ...]
    intervals: tuple[Interval, ...]
    note: str
    source: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Marker:
    """What cannot be read for some hours after something was given; no hours = the time is not known."""

    id: str
    title: str
    measures: tuple[str, ...]
    given: tuple[str, ...]
    hours: float | None
    says: str
    therapies: tuple[str, ...]
    source: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Window:
    """What a label or leaflet asks for, for how long after a dose, in one country since one date."""

    id: str
    therapies: tuple[str, ...]
    country: str
    since: str
    until: str
    hours: float | None
    doses: tuple[int, ...]
    asks: str
    source: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of the picture: how it is known, the tests that separate it, what it changes."""

    id: str
    title: str
    timing: str
    stated_by: tuple[str, ...]
    likely_when: tuple[str, ...]
    possible_when: tuple[str, ...]
    separate_by: tuple[tuple[str, tuple[str, ...]], ...]
    changes: tuple[tuple[str, str | None, tuple[str, ...], tuple[str, ...], str], ...]
    source: tuple[str, ...]
    status: str


@lru_cache(maxsize=8)
def workups(lib: Library) -> tuple[Workup, ...]:
    """Every test and panel."""
    return tuple(_workup(path, lib) for _, path in sorted(lib.files("workup").items()))


@lru_cache(maxsize=8)
def markers(lib: Library) -> tuple[Marker, ...]:
    """What cannot be read after what."""
    return tuple(_marker(path, lib) for _, path in sorted(lib.files("markers").items()))


@lru_cache(maxsize=8)
def windows(lib: Library) -> tuple[Window, ...]:
    """Every monitoring rule."""
    return tuple(each for _, path in sorted(lib.files("monitoring").items()) for each in _windows(path, lib))


@lru_cache(maxsize=8)
def causes(lib: Library) -> tuple[Cause, ...]:
    """Every cause."""
    return tuple(_cause(path, lib) for _, path in sorted(lib.files("causes").items()))


def _known(reader: Reader, key: str, lib: Library) -> tuple[str, ...]:
    """Names of measures or classes."""
    names = reader.names(key)
    for name in names:
        if name not in lib.measures and name not in lib.classes:
            raise reader.fail(key, f"names `{name}`{near(name, (*lib.measures, *lib.classes))}", "a measure")
    return names


def _parts(table: Mapping[str, Any], where: str, lib: Library) -> tuple[tuple[str, ...], ...]:
    parts = [[part] if isinstance(part, str) else part for part in table.get("measures", ())]
    for part in parts:
        for name in part:
            if name not in lib.measures:
                reader = Reader({"measures": []}, where, ("measures",))
                raise reader.fail("measures", f"names `{name}`{near(name, lib.measures)}", "a measure")
    return tuple(tuple(part) for part in parts)


def _grades(table: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(grade) for grade in table.get("grades", (0, 1, 2, 3, 4)))


def _workup(path: Path, lib: Library) -> Workup:
    table = parse(path)
    words = (*COMMON, "measures", "at_once", "at_once_source", "therapies", "interval", "note")
    reader = Reader(table, str(path), words)
    at_once = reader.names("at_once")
    for event in at_once:
        if event not in EVENTS:
            raise reader.fail("at_once", f"names `{event}`{near(event, EVENTS)}", f"one of {EVENTS}")
    status = reader.choice("status", STATUS_WORDS)
    return Workup(
        path.stem,
        reader.text("title"),
        _parts(table, str(path), lib),
        at_once,
        reader.names("at_once_source") or reader.names("source"),
        _known(reader, "therapies", lib),
        tuple(_interval(item, reader, status) for item in table.get("interval", ())),
        reader.text("note", ""),
        reader.names("source"),
        status,
    )


def _interval(item: Mapping[str, Any], head: Reader, status: str) -> Interval:
    words = (
        "grades", "every_hours", "days_from", "days_to", "once", "strength", "says", "classes", "source",
        "status",
    )  # fmt: skip
    reader = Reader(item, f"{head.where}, interval", words)
    to = reader.number("days_to")
    source = reader.names("source") or head.names("source")
    return Interval(
        _grades(item),
        reader.hours("every_hours"),
        reader.number("days_from") or 0.0,
        float("inf") if to is None else to,
        reader.flag("once"),
        reader.choice("strength", STRENGTHS, "give"),
        reader.text("says", ""),
        reader.names("classes"),
        source,
        "memory" if source == ("memory",) else reader.choice("status", STATUS_WORDS, status),
    )


def _marker(path: Path, lib: Library) -> Marker:
    table = parse(path)
    reader = Reader(table, str(path), (*COMMON, "measures", "given", "hours", "says", "therapies"))
    return Marker(
        path.stem,
        reader.text("title"),
        _known(reader, "measures", lib),
        _known(reader, "given", lib),
        reader.hours("hours"),
        reader.text("says"),
        _known(reader, "therapies", lib),
        reader.names("source"),
        reader.choice("status", STATUS_WORDS),
    )


def _windows(path: Path, lib: Library) -> list[Window]:
    table = parse(path)
    head = Reader(table, str(path), (*COMMON, "therapies", "window"))
    therapies = _known(head, "therapies", lib)
    out = []
    for item in table.get("window", ()):
        words = ("country", "since", "until", "hours", "doses", "asks", "source", "status", "reading")
        reader = Reader(item, f"{path}, window", words)
        out.append(
            Window(
                path.stem,
                therapies,
                reader.text("country", ""),
                reader.text("since", ""),
                reader.text("until", ""),
                reader.hours("hours"),
                tuple(item.get("doses", ())),
                reader.text("asks"),
                reader.names("source") or head.names("source"),
                reader.choice("status", STATUS_WORDS, head.choice("status", STATUS_WORDS)),
            )
        )
    return out


def _cause(path: Path, lib: Library) -> Cause:
    table = parse(path)
    words = (*COMMON, "timing", "stated_by", "likely_when", "possible_when", "test", "change", "use")
    reader = Reader(table, str(path), words)
    tests = []
    for item in table.get("test", ()):
        inner = Reader(item, f"{path}, test", ("says", "measures"))
        tests.append((inner.text("says"), _known(inner, "measures", lib)))
    changes = []
    for item in table.get("change", ()):
        inner = Reader(item, f"{path}, change", ("text", "rule", "when", "source", "status"))
        rule = inner.maybe_text("rule")
        if rule is not None:
            dose_rule(rule, lib)
        source = inner.names("source") or reader.names("source")
        status = "memory" if source == ("memory",) else inner.choice("status", STATUS_WORDS, "draft")
        changes.append((inner.text("text"), rule, inner.names("when"), source, status))
    return Cause(
        path.stem,
        reader.text("title"),
        reader.text("timing", ""),
        _known(reader, "stated_by", lib),
        reader.names("likely_when"),
        reader.names("possible_when"),
        tuple(tests),
        tuple(changes),
        reader.names("source"),
        reader.choice("status", STATUS_WORDS),
    )
