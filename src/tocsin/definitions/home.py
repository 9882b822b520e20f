"""Reads what the patient's own page asks and says: `advice/home.toml`, and one file of texts a language."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tocsin.definitions.advice import URGENCIES, triage_rules
from tocsin.definitions.dose import STATUS_WORDS
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, DefinitionError, near

if TYPE_CHECKING:
    from pathlib import Path

    from tocsin.definitions.load import Library

#: Tiles by what they are for: what cannot wait, what is often new, what is asked for below that.
GROUPS = ("danger", "new", "more")
#: Tables of texts whose keys are those of what is asked; all others are as English has them.
OF_QUESTIONS = ("tile", "medicine", "device")
_BRACES = re.compile(r"\{(\w+)\}")

#: What a tile stores: measures, each with its word where it has words.
Gives = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class HomePage:
    """What is asked. `tiles` by group and id; `hours` ago a medicine may have been taken; `words` and
    `worried` the measures that own words and somebody's worry are stored as; the ward has an alert from the
    urgency `alert_from` on; `check_again_hours` after a calm answer."""

    tiles: Mapping[str, Mapping[str, Gives]]
    medicines: tuple[str, ...]
    hours: tuple[float, ...]
    devices: Mapping[str, tuple[str, ...]]
    words: str
    worried: str
    alert_from: str
    check_again_hours: float
    status: str
    hash: str

    @property
    def gives(self) -> dict[str, Gives]:
        """Every tile and what it stores."""
        return {name: gives for group in self.tiles.values() for name, gives in group.items()}


@dataclass(frozen=True, slots=True)
class HomeTexts:
    """What is said in one language: tables of texts."""

    language: str
    name: str
    status: str
    tables: Mapping[str, Mapping[str, str]]
    hash: str

    def __getitem__(self, table: str) -> Mapping[str, str]:
        return self.tables[table]

    def say(self, table: str, key: str, **fill: object) -> str:
        """One text, with what stands in braces filled.

        >>> from tocsin.definitions.load import library
        >>> home_texts("en", library()).say("ask", "step", n=2, of=5)
        'Question 2 of 5'
        """
        return _BRACES.sub(lambda found: str(fill.get(found[1], found[0])), self.tables[table][key])


@lru_cache(maxsize=8)
def home_page(lib: Library) -> HomePage:
    """What the page asks, checked whole; raises `DefinitionError`.

    >>> from tocsin.definitions.load import library
    >>> home_page(library()).gives["sore"]
    (('muscle-pain', None), ('joint-pain', None))
    """
    path = lib.files("advice")["home"]
    table = parse(path)
    keys = ("words", "worried", "alert_from", "hours", "check_again_hours", "medicines", "device")
    reader = Reader(table, str(path), (*COMMON, *keys, *GROUPS))
    tiles = {
        group: {name: _gives(each, reader, group, lib) for name, each in table.get(group, {}).items()}
        for group in GROUPS
    }
    told = {measure for group in tiles.values() for gives in group.values() for measure, _ in gives}
    words, worried = reader.text("words"), reader.text("worried")
    missing = sorted(set(triage_rules(lib).symptoms) - told - {words, worried})
    if missing:
        raise reader.fail(
            "new", f"has no tile that gives {', '.join(missing)}", "give each symptom a tile, under `more`"
        )
    hidden = triage_rules(lib).findings[triage_rules(lib).hides_fever]
    medicines = reader.names("medicines")
    for name in medicines:
        known = [drug for group in hidden.items for drug in lib.classes.get(group, (group,))]
        if name not in known:
            raise reader.fail("medicines", f"names `{name}`{near(name, known)}", "a drug that can hide fever")
    hours = tuple(float(each) for each in table.get("hours", ()))
    again = reader.hours("check_again_hours")
    if not hours or again is None:
        raise reader.fail("hours", "or `check_again_hours` is missing", "hours = [1, 2, 4]")
    return HomePage(
        tiles=tiles,
        medicines=medicines,
        hours=hours,
        devices={name: tuple(each) for name, each in table.get("device", {}).items()},
        words=words,
        worried=worried,
        alert_from=reader.choice("alert_from", URGENCIES),
        check_again_hours=again,
        status=reader.choice("status", STATUS_WORDS),
        hash=_digest(path),
    )


def _gives(said: Any, reader: Reader, group: str, lib: Library) -> Gives:
    """The measures of a tile; a measure that triage does not know would be told for nothing."""
    rules, found = triage_rules(lib), []
    for each in said if isinstance(said, list) else [said]:
        name, _, word = str(each).partition("=")
        if name not in (*rules.symptoms, *rules.assessments):
            known = (*rules.symptoms, *rules.assessments)
            raise reader.fail(group, f"gives `{name}`{near(name, known)}", "a symptom, or an assessment")
        if (name in rules.assessments) != bool(word) or (word and word not in lib.measure(name).words):
            raise reader.fail(group, f"gives `{each}`", f"`{name}=WORD`, one of its words")
        found.append((name, word or None))
    return tuple(found)


@lru_cache(maxsize=16)
def home_texts(language: str, lib: Library) -> HomeTexts:
    """The texts of the page in a language: English ones are the pattern, and none may be missing.

    >>> from tocsin.definitions.load import library
    >>> home_texts("es", library())["page"]["worse"]
    'Me siento peor'
    """
    files = lib.files("advice")
    if f"home-{language}" not in files:
        known = home_languages(lib)
        raise DefinitionError(
            f"no texts of the home page in `{language}`{near(language, known)}\n"
            f"  fix: one of {', '.join(known)}"
        )
    path = files[f"home-{language}"]
    table, pattern = parse(path), parse(files["home-en"])
    page = home_page(lib)
    asked = {"tile": tuple(page.gives), "medicine": page.medicines, "device": tuple(page.devices)}
    names = [name for name, each in pattern.items() if isinstance(each, dict)]
    reader = Reader(table, str(path), (*COMMON, "language", "name", *names))
    tables = {}
    for name in names:
        keys = asked.get(name, tuple(pattern[name]))
        inner = Reader(table.get(name, {}), f"{path}, {name}", keys)
        tables[name] = {key: inner.text(key) for key in keys}
        for key, text in tables[name].items():
            if set(_BRACES.findall(text)) != set(_BRACES.findall(pattern[name].get(key, text))):
                raise inner.fail(key, "fills other braces than English does", f"{pattern[name][key]}")
    return HomeTexts(
        language=reader.choice("language", (language,)),
        name=reader.text("name"),
        status=reader.choice("status", STATUS_WORDS),
        tables=tables,
        hash=_digest(path),
    )


def home_languages(lib: Library) -> tuple[str, ...]:
    """The languages that the page speaks, English first.

    >>> from tocsin.definitions.load import library
    >>> home_languages(library())
    ('en', 'es')
    """
    found = [name.removeprefix("home-") for name in lib.files("advice") if name.startswith("home-")]
    return tuple(sorted(found, key=lambda name: (name != "en", name)))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
