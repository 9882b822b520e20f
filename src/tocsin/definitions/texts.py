"""Reads what triage says, one file of the shelf `advice` a language; the rules hold the numbers in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tocsin.definitions.advice import RULE_URGENCIES, Rule, Triage, triage_rules
from tocsin.definitions.dose import STATUS_WORDS
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, DefinitionError, near

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

#: What may stand in braces in a text, and what follows its colon.
PLACEHOLDERS = (
    "told",
    "therapy",
    "when",
    "days",
    "value",
    "fahrenheit",
    "bound",
    "fall",
    "within",
    "n",
    "unit",
)
BRACES = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
SAID = (
    "therapy",
    "no-therapy",
    "today",
    "yesterday",
    "days",
    "unknown",
    "symptoms",
)
WORDS = (
    "and",
    "why",
    "meanwhile",
    "tell",
    "unknown",
    "nothing",
    "not-enough",
    "limits",
    "kind",
    "draft",
    "sources",
    "unchecked",
)
NOT_TOLD = ("therapy", "days", "usual", "medicines", "symptoms")


@dataclass(frozen=True, slots=True)
class Texts:
    """What is said in one language; tables of texts by id."""

    language: str
    name: str
    status: str
    urgency: Mapping[str, Mapping[str, str]]
    tables: Mapping[str, Mapping[str, str]]
    hash: str = ""

    def say(self, table: str, name: str) -> str:
        return self.tables[table][name]


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
        "sign-of": tuple(
            name for name, finding in rules.findings.items() if finding.measure in rules.assessments
        ),
    }
    table = parse(path)
    reader = Reader(table, str(path), (*COMMON, "language", "name", "urgency", *asked))
    said = table.get("urgency", {})
    urgency = {
        name: _texts(said.get(name, {}), ("verb", "sign"), f"{path}, urgency `{name}`", rules)
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
        hash=hashlib.sha256(path.read_bytes()).hexdigest(),
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
    found = {key: reader.text(key) for key in (*keys, *(key for key in spare if key in table))}
    for key, text in found.items():
        check_braces(text, key, reader, rules)
    return found


def check_braces(text: str, key: str, reader: Reader, rules: Triage) -> None:
    """Refuse a text with something in braces that nothing fills."""
    homes = {
        "bound": rules.findings,
        "fall": rules.falls,
        "value": dict.fromkeys(rules.asks),
        "within": {rule.id: rule for rule in rules.rules if rule.within_hours_of_dose},
    }
    for name, of in BRACES.findall(text):
        if name not in PLACEHOLDERS:
            raise reader.fail(key, f"has {{{name}}}{near(name, PLACEHOLDERS)}", ", ".join(PLACEHOLDERS))
        if (of or name in homes) and of not in homes.get(name, ()) and not (name == "value" and not of):
            raise reader.fail(
                key,
                f"has {{{name}:{of}}}{near(of, homes.get(name, ()))}",
                "name what there is, as {bound:fever-to-call}",
            )
