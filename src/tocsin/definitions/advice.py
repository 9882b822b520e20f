"""Reads the rules of the shelf `advice`: what asks for care, how urgently, and what to do meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tocsin.definitions.dose import STATUS_WORDS
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, DefinitionError, Finding, near
from tocsin.definitions.shared import shared_findings

if TYPE_CHECKING:
    from pathlib import Path

    from tocsin.definitions.load import Library

#: From the least to the most urgent.
URGENCIES = ("note", "call-today", "call-now", "emergency", "ambulance")
#: `call` is a leaflet's word: `call-now` within the therapy's window, else `call-today`.
RULE_URGENCIES = (*URGENCIES, "call")
CONDITIONS = ("any", "with", "all", "possible", "unknown", "fell")
OF_RULES = ("within_hours_of_dose", "silent_with")
CITED = ("source", "locator", "status", "reading")


@dataclass(frozen=True, slots=True)
class Rule:
    """What asks for care of one urgency. Every list that is there has to hold; there is no `none`.

    `any`, `with`: one of these is there; `all`: each is; `possible`: none is ruled out; `unknown`: each is
    neither known nor ruled out; `fell`: each reading may have fallen that far; `within_hours_of_dose`: the
    latest dose may be that recent. So one more symptom or one worse reading can never lower an answer.
    Beside a rule of `silent_with` it counts, and is not said.
    """

    id: str
    urgency: str
    any: tuple[str, ...]
    also: tuple[str, ...]
    all: tuple[str, ...]
    possible: tuple[str, ...]
    unknown: tuple[str, ...]
    fell: tuple[str, ...]
    within_hours_of_dose: float | None
    silent_with: tuple[str, ...]
    source: tuple[str, ...]
    status: str
    reading: str

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.any, *self.also, *self.all, *self.possible, *self.unknown)


@dataclass(frozen=True, slots=True)
class Fall:
    """How far a reading lies below what is usual for this person."""

    id: str
    measure: str
    above: float
    unit: str


@dataclass(frozen=True, slots=True)
class Step:
    """What to do meanwhile, at these urgencies, if one of `any` is there and each of `unknown` not known."""

    id: str
    urgencies: tuple[str, ...]
    any: tuple[str, ...]
    unknown: tuple[str, ...]
    source: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Triage:
    """All rules, the findings they name, and what is asked for."""

    title: str
    source: tuple[str, ...]
    status: str
    reading: str
    findings: Mapping[str, Finding]
    symptoms: tuple[str, ...]
    assessments: tuple[str, ...]
    asks: tuple[str, ...]
    fever: str
    hides_fever: str
    falls: Mapping[str, Fall]
    rules: tuple[Rule, ...]
    steps: tuple[Step, ...]
    hash: str


@lru_cache(maxsize=8)
def triage_rules(lib: Library) -> Triage:
    """The rules of `advice/triage.toml`, checked whole; raises `DefinitionError`.

    >>> from tocsin.definitions.load import library
    >>> triage_rules(library()).rules[0].urgency
    'ambulance'
    """
    path = lib.files("advice")["triage"]
    table = parse(path)
    words = (*COMMON, "findings", "asks", "assessments", "fever", "hides_fever", "fall", "rule", "step")
    reader = Reader(table, str(path), words)
    findings, files = _findings(reader, lib)
    symptoms = tuple(sorted(lib.files("symptoms")))
    for key in ("asks", "assessments"):
        for name in reader.names(key):
            lib.measure(name)
    known = (*findings, *symptoms)
    for key in ("fever", "hides_fever"):
        reader.choice(key, findings)
    falls = {name: _fall(name, item, str(path), lib) for name, item in table.get("fall", {}).items()}
    read = Triage(
        title=reader.text("title"),
        source=reader.names("source"),
        status=reader.choice("status", STATUS_WORDS),
        reading=reader.prose(),
        findings=findings,
        symptoms=symptoms,
        assessments=reader.names("assessments"),
        asks=reader.names("asks"),
        fever=reader.text("fever"),
        hides_fever=reader.text("hides_fever"),
        falls=falls,
        rules=tuple(_rule(item, str(path), known, falls) for item in table.get("rule", ())),
        steps=tuple(_step(item, str(path), known) for item in table.get("step", ())),
        hash=_digest([path, *files, *(lib.files("symptoms")[name] for name in symptoms)]),
    )
    if not read.rules:
        raise reader.fail("rule", "is missing", 'one [[rule]] each: id, urgency, any = ["..."]')
    for kind in (read.rules, read.steps):
        _unique([each.id for each in kind], str(path))
    ids = [rule.id for rule in read.rules]
    for rule in read.rules:
        for name in rule.silent_with:
            if name not in ids:
                raise reader.fail("silent_with", f"names `{name}`{near(name, ids)}", "the id of another rule")
    return read


def _findings(reader: Reader, lib: Library) -> tuple[dict[str, Finding], list[Path]]:
    """The findings of the files named, with one of its own for every symptom."""
    found: dict[str, Finding] = {}
    for name in reader.names("findings"):
        for finding in shared_findings(name, lib).findings:
            if finding.id in found:
                raise reader.fail("findings", f"defines `{finding.id}` twice", "give one another name")
            found[finding.id] = finding
    for name in lib.files("symptoms"):
        if name in found:
            raise reader.fail("findings", f"names a finding `{name}`, which is a symptom", "rename it")
    return found, [lib.files("findings")[name] for name in reader.names("findings")]


def _rule(item: Mapping[str, Any], where: str, known: tuple[str, ...], falls: Mapping[str, Fall]) -> Rule:
    reader = Reader(
        item, f"{where}, rule `{item.get('id')}`", ("id", "urgency", *CONDITIONS, *OF_RULES, *CITED)
    )
    for key in CONDITIONS:
        _known(reader, key, tuple(falls) if key == "fell" else known)
    if not any(reader.names(key) for key in ("any", "all", "unknown")):
        raise reader.fail("any", "is missing", 'a rule says what it asks for: any = ["chills"]')
    return Rule(
        id=reader.text("id"),
        urgency=reader.choice("urgency", RULE_URGENCIES),
        any=reader.names("any"),
        also=reader.names("with"),
        all=reader.names("all"),
        possible=reader.names("possible"),
        unknown=reader.names("unknown"),
        fell=reader.names("fell"),
        within_hours_of_dose=reader.hours("within_hours_of_dose"),
        silent_with=reader.names("silent_with"),
        source=_source(reader),
        status=_status(reader),
        reading=reader.prose(),
    )


def _step(item: Mapping[str, Any], where: str, known: tuple[str, ...]) -> Step:
    reader = Reader(item, f"{where}, step `{item.get('id')}`", ("id", "urgencies", "any", "unknown", *CITED))
    for urgency in reader.names("urgencies"):
        if urgency not in URGENCIES:
            raise reader.fail(
                "urgencies", f"names `{urgency}`{near(urgency, URGENCIES)}", f"of {', '.join(URGENCIES)}"
            )
    _known(reader, "any", known)
    _known(reader, "unknown", known)
    return Step(
        reader.text("id"),
        reader.names("urgencies"),
        reader.names("any"),
        reader.names("unknown"),
        _source(reader),
        _status(reader),
    )


def _fall(name: str, item: Mapping[str, Any], where: str, lib: Library) -> Fall:
    reader = Reader(item, f"{where}, fall `{name}`", ("measure", "above", "unit", *CITED))
    above = reader.number("above")
    if above is None:
        raise reader.fail("above", "is missing", "above = 10")
    unit = reader.text("unit")
    if lib.measure(reader.text("measure")).unit != unit:
        raise reader.fail("unit", f"is {unit}", "the unit of the measure")
    return Fall(name, reader.text("measure"), above, unit)


def _known(reader: Reader, key: str, known: Iterable[str]) -> None:
    known = tuple(known)
    for name in reader.names(key):
        if name not in known:
            raise reader.fail(
                key, f"names `{name}`{near(name, known)}", "a symptom, or a finding of a file of `findings`"
            )


def _source(reader: Reader) -> tuple[str, ...]:
    """Nothing stands without a source or our reading."""
    source = reader.names("source")
    if not source and not reader.prose():
        raise reader.fail("source", "is missing", 'source = "key" or reading = "Ours: ..."')
    return source


def _status(reader: Reader) -> str:
    if reader.names("source") == ("memory",):
        return "memory"
    return reader.choice("status", STATUS_WORDS, "draft")


def _unique(names: list[str], where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DefinitionError(f"{where}: `{name}` is there twice\n  fix: give one of them another id")


def _digest(paths: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
