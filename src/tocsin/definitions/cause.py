"""Reads the shelf `causes`: what the picture can come from, what separates it, and what it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.dose import STATUS_WORDS, dose_rule
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, near
from tocsin.definitions.workup import measures_or_classes, status_of

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

#: How a cause stands, firmest first. Never a probability.
STANDINGS = ("stated", "likely", "possible", "not known", "against")
KINDS = ("cause", "risk factor")


@dataclass(frozen=True, slots=True)
class Separation:
    """A test that tells a cause from the others, with the measures that hold its result."""

    says: str
    measures: tuple[str, ...]
    source: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a cause changes in treatment, while it has one of `standings` and no finding of `when` is no.

    `not_since`: left out once one of these was given after what states the cause.
    """

    text: str
    rule: str | None
    when: tuple[str, ...]
    standings: tuple[str, ...]
    not_since: tuple[str, ...]
    source: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause or risk factor.

    `stated_by` are conditions and therapies a person charts; the doses of `therapies` speak for it while
    their product's window stands, and against it once all have closed. `possible_after` names events.
    """

    id: str
    title: str
    kind: str
    timing: str
    stated_by: tuple[str, ...]
    therapies: tuple[str, ...]
    likely_when: tuple[str, ...]
    possible_when: tuple[str, ...]
    possible_after: tuple[str, ...]
    against_when: tuple[str, ...]
    separate_by: tuple[Separation, ...]
    changes: tuple[Change, ...]
    source: tuple[str, ...]
    status: str

    @property
    def findings(self) -> tuple[str, ...]:
        """Every finding the cause names."""
        named = (*self.likely_when, *self.possible_when, *self.against_when)
        return tuple(dict.fromkeys([*named, *(name for each in self.changes for name in each.when)]))


@lru_cache(maxsize=8)
def causes(lib: Library) -> tuple[Cause, ...]:
    """Every cause and risk factor.

    >>> from tocsin.definitions.load import library
    >>> next(each for each in causes(library()) if each.id == "influenza").status
    'memory'
    """
    return tuple(_cause(path, lib) for _, path in sorted(lib.files("causes").items()))


def _cause(path: Path, lib: Library) -> Cause:
    table = parse(path)
    words = (
        *COMMON, "kind", "timing", "stated_by", "therapies", "likely_when", "possible_when",
        "possible_after", "against_when", "test", "change",
    )  # fmt: skip
    reader = Reader(table, str(path), words)
    for event in reader.names("possible_after"):
        if event not in lib.files("events"):
            near_miss = near(event, lib.files("events"))
            raise reader.fail("possible_after", f"names `{event}`{near_miss}", "a file of the shelf events")
    if "change" not in table:
        raise reader.fail("change", "is missing", "say what the cause changes: [[change]]")
    return Cause(
        id=path.stem,
        title=reader.text("title"),
        kind=reader.choice("kind", KINDS, "cause"),
        timing=reader.text("timing"),
        stated_by=measures_or_classes(reader, "stated_by", lib),
        therapies=measures_or_classes(reader, "therapies", lib),
        likely_when=reader.names("likely_when"),
        possible_when=reader.names("possible_when"),
        possible_after=reader.names("possible_after"),
        against_when=reader.names("against_when"),
        separate_by=tuple(_separation(item, reader, lib) for item in table.get("test", ())),
        changes=tuple(_change(item, reader, lib) for item in table["change"]),
        source=reader.names("source"),
        status=reader.choice("status", STATUS_WORDS),
    )


def _separation(item: Mapping[str, Any], head: Reader, lib: Library) -> Separation:
    reader = Reader(item, f"{head.where}, test", ("says", "measures", "source", "status"))
    source = reader.names("source") or head.names("source")
    measures = measures_or_classes(reader, "measures", lib)
    return Separation(reader.text("says"), measures, source, status_of(reader, source, "draft"))


def _change(item: Mapping[str, Any], head: Reader, lib: Library) -> Change:
    words = ("text", "rule", "when", "standings", "not_since", "source", "status")
    reader = Reader(item, f"{head.where}, change", words)
    rule = reader.maybe_text("rule")
    if rule is not None:
        dose_rule(rule, lib)
    standings = reader.names("standings")
    for name in standings:
        if name not in STANDINGS:
            raise reader.fail("standings", f"names `{name}`{near(name, STANDINGS)}", ", ".join(STANDINGS))
    source = reader.names("source") or head.names("source")
    return Change(
        text=reader.text("text"),
        rule=rule,
        when=reader.names("when"),
        standings=standings or STANDINGS[:-1],
        not_since=measures_or_classes(reader, "not_since", lib),
        source=source,
        status=status_of(reader, source, "draft"),
    )
