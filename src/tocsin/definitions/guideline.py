"""Reads the shelf `guidelines`: what one guideline asks for at each grade, on which conditions, for whom."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.dose import STATUS_WORDS, Limit, dose_rule, read_limit
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, DefinitionError, near

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

#: What an action is about; disagreements compare actions of one kind.
KINDS = (
    "antipyretic",
    "supportive",
    "infection",
    "growth-factor",
    "fluids",
    "oxygen",
    "vasopressor",
    "ventilation",
    "anti-il6",
    "steroid",
    "other-agent",
    "place",
    "monitoring",
    "tests",
    "review",
    "plasmapheresis",
)
STRENGTHS = ("give", "consider", "may", "avoid")
STARTS = ("episode-onset", "grade", "given")
ACTION_WORDS = (
    "grades",
    "kind",
    "strength",
    "text",
    "when",
    "unless",
    "rule",
    "onset_before_hours",
    "onset_from_hours",
    "source",
    "locator",
    "status",
    "evidence",
    "classes",
)
CLOCK_WORDS = (
    "id",
    "grades",
    "from",
    "given",
    "grade",
    "hours",
    "then",
    "escalate",
    "when",
    "source",
    "locator",
    "status",
    "classes",
)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a guideline asks for while a grade in `grades` stands and nothing rules it out."""

    grades: tuple[int, ...]
    kind: str
    strength: str
    text: str
    when: tuple[str, ...]
    unless: tuple[str, ...]
    rule: str | None
    onset_before_hours: float | None
    onset_from_hours: float | None
    classes: tuple[str, ...]
    evidence: str
    source: tuple[str, ...]
    locator: str
    status: str


@dataclass(frozen=True, slots=True)
class Clock:
    """What follows if nothing is better so many hours after a start; `escalate` names the next grade."""

    id: str
    grades: tuple[int, ...]
    start: str
    given: tuple[str, ...]
    grade: int
    hours: float
    then: str
    escalate: int | None
    when: tuple[str, ...]
    classes: tuple[str, ...]
    source: tuple[str, ...]
    locator: str
    status: str


@dataclass(frozen=True, slots=True)
class Guideline:
    """One guideline: for whom, in which scale, what it asks; `seen` are the grades whose text was read."""

    id: str
    title: str
    source: tuple[str, ...]
    locator: str
    status: str
    reading: str
    scale: str
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    age_from: float
    age_below: float
    use: tuple[str, ...]
    seen: tuple[int, ...]
    actions: tuple[Action, ...]
    clocks: tuple[Clock, ...]
    limits: tuple[tuple[str, Limit], ...]
    hash: str

    @property
    def named(self) -> tuple[str, ...]:
        """The findings its conditions name."""
        names = [name for action in self.actions for name in (*action.when, *action.unless)]
        return tuple(dict.fromkeys([*names, *(name for clock in self.clocks for name in clock.when)]))


@lru_cache(maxsize=64)
def guideline(name: str, lib: Library) -> Guideline:
    """One guideline, checked whole; raises `DefinitionError` with the near miss.

    >>> from tocsin.definitions.load import library
    >>> guideline("asco-2021", library()).scale
    'astct-2019'
    """
    files = lib.files("guidelines")
    if name not in files:
        raise DefinitionError(
            f"no guideline `{name}`{near(name, files)}\n  fix: one of {', '.join(sorted(files))}"
        )
    return read_guideline(files[name], lib)


def read_guideline(path: Path, lib: Library) -> Guideline:
    """Read one file of the shelf."""
    table = parse(path)
    words = (
        *COMMON,
        "scale",
        "classes",
        "targets",
        "age_at_least",
        "age_below",
        "use",
        "seen",
        "action",
        "clock",
        "limit",
    )
    reader = Reader(table, str(path), words)
    scale = reader.text("scale")
    if scale not in lib.scales:
        raise reader.fail(
            "scale", f"is `{scale}`{near(scale, lib.scales)}", f"one of {', '.join(lib.scales)}"
        )
    limits = []
    for i, item in enumerate(table.get("limit", ())):
        limit = read_limit(item, f"{path}, limit {i + 1}", "guideline")
        limits.append((str(item.get("drug", "")), limit))
        lib.measure(limits[-1][0])
    below = reader.number("age_below")
    found = Guideline(
        id=path.stem,
        title=reader.text("title"),
        source=reader.names("source"),
        locator=reader.text("locator"),
        status=reader.choice("status", STATUS_WORDS),
        reading=reader.prose(),
        scale=scale,
        classes=reader.names("classes"),
        targets=reader.names("targets"),
        age_from=reader.number("age_at_least") or 0.0,
        age_below=float("inf") if below is None else below,
        use=reader.names("use"),
        seen=tuple(table.get("seen", (1, 2, 3, 4))),
        actions=tuple(
            read_action(item, f"{path}, action {i + 1}", reader, lib)
            for i, item in enumerate(table.get("action", ()))
        ),
        clocks=tuple(
            read_clock(item, f"{path}, clock {i + 1}", reader, lib)
            for i, item in enumerate(table.get("clock", ()))
        ),
        limits=tuple(limits),
        hash=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    if not found.actions and not found.clocks:
        raise reader.fail("action", "is missing", "a guideline asks for something: [[action]]")
    return found


def read_action(item: Mapping[str, Any], where: str, head: Reader, lib: Library) -> Action:
    """Read one `[[action]]`; source, locator and status fall back on the file's."""
    reader = Reader(item, where, ACTION_WORDS)
    rule = reader.maybe_text("rule")
    if rule is not None:
        dose_rule(rule, lib)
    return Action(
        _grades(reader),
        reader.choice("kind", KINDS),
        reader.choice("strength", STRENGTHS),
        reader.text("text"),
        reader.names("when"),
        reader.names("unless"),
        rule,
        reader.hours("onset_before_hours"),
        reader.hours("onset_from_hours"),
        reader.names("classes"),
        reader.text("evidence", ""),
        *_cited(reader, head),
    )


def read_clock(item: Mapping[str, Any], where: str, head: Reader, lib: Library) -> Clock:
    """Read one `[[clock]]`."""
    reader = Reader(item, where, CLOCK_WORDS)
    hours = reader.hours("hours")
    if hours is None:
        raise reader.fail("hours", "is missing", "hours = 24")
    escalate, grade = reader.number("escalate"), reader.number("grade")
    start = reader.choice("from", STARTS)
    if start == "given" and not reader.names("given"):
        raise reader.fail("given", "is missing", 'given = ["tocilizumab"]')
    for name in reader.names("given"):
        if name not in lib.measures and name not in lib.classes:
            raise reader.fail("given", f"names `{name}`{near(name, (*lib.measures, *lib.classes))}", "a drug")
    return Clock(
        reader.text("id"),
        _grades(reader),
        start,
        reader.names("given"),
        int(grade or 1),
        hours,
        reader.text("then"),
        None if escalate is None else int(escalate),
        reader.names("when"),
        reader.names("classes"),
        *_cited(reader, head),
    )


def _grades(reader: Reader) -> tuple[int, ...]:
    value = reader.table.get("grades")
    if not isinstance(value, list) or not value or not all(grade in (1, 2, 3, 4) for grade in value):
        raise reader.fail("grades", f"is {value!r}", "the grades it stands for: grades = [2, 3]")
    return tuple(value)


def _cited(reader: Reader, head: Reader) -> tuple[tuple[str, ...], str, str]:
    source = reader.names("source") or head.names("source")
    status = reader.choice("status", STATUS_WORDS, head.choice("status", STATUS_WORDS))
    locator = head.text("locator")
    if source == ("memory",):
        status = "memory"
        if reader.names("source"):  # the file's page is not where this was read
            locator = "from memory"
    return source, reader.text("locator", locator), status
