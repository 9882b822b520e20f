"""Reads the shelf `advice`: how urgently to seek care, as rules, and what is said about it, by language."""

from __future__ import annotations

import hashlib
import re
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
#: What may stand in braces in a text, and what follows its colon.
PLACEHOLDERS = ("told", "therapy", "when", "days", "value", "fahrenheit", "bound", "fall", "within")
BRACES = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
OF_RULES = ("within_hours_of_dose", "silent_with")
CITED = ("source", "locator", "status", "reading")
SAID = (
    "therapy", "no-therapy", "today", "yesterday", "days", "unknown", "symptoms",
)  # fmt: skip
WORDS = (
    "and", "why", "meanwhile", "tell", "unknown", "nothing", "not-enough", "limits", "kind", "draft", "sources", "unchecked",
)  # fmt: skip
NOT_TOLD = ("therapy", "days", "usual", "medicines", "symptoms")


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
    """What to do meanwhile, at these urgencies, if one of `any` is there or each of `unknown` is not known."""

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


@dataclass(frozen=True, slots=True)
class Texts:
    """What is said in one language; tables of texts by id."""

    language: str
    name: str
    status: str
    urgency: Mapping[str, Mapping[str, str]]
    tables: Mapping[str, Mapping[str, str]]

    def say(self, table: str, name: str) -> str:
        return self.tables[table][name]


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
                key, f"names `{name}`{near(name, known)}", "a symptom, or a finding of the files under `findings`"
            )


def _source(reader: Reader) -> tuple[str, ...]:
    """Nothing stands without a source or our reading."""
    source = reader.names("source")
    if not source and not reader.prose():
        raise reader.fail("source", "is missing", 'source = "key" or reading = "Ours: ..."')
    return source


def _status(reader: Reader) -> str:
    return "memory" if reader.names("source") == ("memory",) else reader.choice("status", STATUS_WORDS, "draft")


def _unique(names: list[str], where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DefinitionError(f"{where}: `{name}` is there twice\n  fix: give one of them another id")


def _digest(paths: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def languages(lib: Library) -> tuple[str, ...]:
    """The languages there are texts for, English first.

    >>> from tocsin.definitions.load import library
    >>> languages(library())[0]
    'en'
    """
    found = [name.removeprefix("texts-") for name in lib.files("advice") if name.startswith("texts-")]
    return tuple(sorted(found, key=lambda name: (name != "en", name)))


@lru_cache(maxsize=16)
def texts(language: str, lib: Library) -> Texts:
    """All that triage says in a language; raises `DefinitionError` where a text is missing.

    >>> from tocsin.definitions.load import library
    >>> texts("en", library()).urgency["ambulance"]["verb"]
    'Call an ambulance now'
    """
    files = lib.files("advice")
    if language not in languages(lib):
        known = languages(lib)
        raise DefinitionError(
            f"no texts in `{language}`{near(language, known)}\n  fix: one of {', '.join(known)}"
        )
    path = files[f"texts-{language}"]
    rules = triage_rules(lib)
    asked = {
        "rule": tuple(rule.id for rule in rules.rules),
        "step": tuple(step.id for step in rules.steps),
        "unknown": (*rules.asks, *NOT_TOLD),
        "measure": rules.asks,
        "say": (*SAID, *rules.asks),
        "word": WORDS,
        "sign": tuple(rule.id for rule in rules.rules if not said_by_symptoms(rule, rules)),
        "sign-of": tuple(name for name in rules.findings if rules.findings[name].measure in rules.assessments),
    }
    table = parse(path)
    reader = Reader(table, str(path), (*COMMON, "language", "name", "urgency", *asked))
    urgency = {
        name: _texts(table.get("urgency", {}).get(name, {}), ("verb", "sign"), f"{path}, urgency `{name}`", rules)
        for name in RULE_URGENCIES
    }
    spare = {"sign": tuple(rule.id for rule in rules.rules), "sign-of": tuple(rules.findings)}
    return Texts(
        language=reader.choice("language", (language,)),
        name=reader.text("name"),
        status=reader.choice("status", STATUS_WORDS),
        urgency=urgency,
        tables={
            name: _texts(table.get(name, {}), keys, f"{path}, {name}", rules, spare.get(name, ()))
            for name, keys in asked.items()
        },
    )


def said_by_symptoms(rule: Rule, rules: Triage) -> bool:
    """Whether the leaflet can say a rule by the plain words of its symptoms alone."""
    alone = not (rule.also or rule.all or rule.possible or rule.unknown or rule.within_hours_of_dose)
    return alone and any(name in rules.symptoms for name in rule.any)


def _texts(
    table: Mapping[str, Any], keys: tuple[str, ...], where: str, rules: Triage, spare: tuple[str, ...] = ()
) -> dict[str, str]:
    """One table of texts: every key is there, no other is, and what stands in braces is understood."""
    reader = Reader(table, where, tuple(dict.fromkeys((*keys, *spare))))
    found = {key: reader.text(key) for key in (*keys, *(key for key in spare if key in table and key not in keys))}
    for key, text in found.items():
        check_braces(text, key, reader, rules)
    return found


def check_braces(text: str, key: str, reader: Reader, rules: Triage) -> None:
    """Refuse a text with something in braces that nothing fills."""
    homes = {
        "bound": rules.findings, "fall": rules.falls, "value": dict.fromkeys(rules.asks),
        "within": {rule.id: rule for rule in rules.rules if rule.within_hours_of_dose},
    }  # fmt: skip
    for name, of in BRACES.findall(text):
        if name not in PLACEHOLDERS:
            raise reader.fail(key, f"has {{{name}}}{near(name, PLACEHOLDERS)}", f"of {', '.join(PLACEHOLDERS)}")
        if of and of not in homes.get(name, {}):
            raise reader.fail(key, f"has {{{name}:{of}}}{near(of, homes.get(name, {}))}", "a name that is there")
