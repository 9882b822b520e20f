"""Reads the leaflets of the shelf `advice`: what CRS is, in plain words, every fact with its source."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tocsin.definitions.advice import triage_rules
from tocsin.definitions.dose import STATUS_WORDS
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, DefinitionError, near
from tocsin.definitions.texts import check_braces, languages

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

#: What a topic may add that other shelves hold: symptoms, when to seek care, the figures of a therapy.
ADDS = ("symptoms", "signs", "figures", "lasted")
STUDY = ("rate", "severe", "few-severe", "none-severe", "onset", "lasted", "nothing")
UNITS = ("d", "h", "weeks")


@dataclass(frozen=True, slots=True)
class Item:
    """One paragraph or point."""

    text: str
    point: bool
    source: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class About:
    """One topic of the leaflet."""

    id: str
    title: str
    adds: tuple[str, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Leaflet:
    """The leaflet in one language. `study` and `unit` say a therapy's own figures."""

    language: str
    title: str
    status: str
    topics: tuple[About, ...]
    study: Mapping[str, str]
    units: Mapping[str, str]
    hash: str


@lru_cache(maxsize=16)
def leaflet_of(language: str, lib: Library) -> Leaflet:
    """The leaflet in a language; raises `DefinitionError` with the near miss.

    >>> from tocsin.definitions.load import library
    >>> leaflet_of("en", library()).topics[0].id
    'what-crs-is'
    """
    files, known = lib.files("advice"), languages(lib)
    if f"leaflet-{language}" not in files:
        raise DefinitionError(
            f"no leaflet in `{language}`{near(language, known)}\n  fix: one of {', '.join(known)}"
        )
    path = files[f"leaflet-{language}"]
    table = parse(path)
    reader = Reader(table, str(path), (*COMMON, "language", "topic", "study", "unit"))
    topics = tuple(_topic(item, str(path), lib) for item in table.get("topic", ()))
    ids = [topic.id for topic in topics]
    for name in ids:
        if ids.count(name) > 1:
            raise reader.fail("topic", f"`{name}` is there twice", "give one of them another id")
    return Leaflet(
        language=reader.choice("language", (language,)),
        title=reader.text("title"),
        status=reader.choice("status", STATUS_WORDS),
        topics=topics,
        study=_texts(table.get("study", {}), STUDY, f"{path}, study"),
        units=_texts(table.get("unit", {}), UNITS, f"{path}, unit"),
        hash=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def _topic(table: Mapping[str, Any], where: str, lib: Library) -> About:
    reader = Reader(table, f"{where}, topic `{table.get('id')}`", ("id", "title", "adds", "items"))
    adds = reader.names("adds")
    for name in adds:
        if name not in ADDS:
            raise reader.fail("adds", f"names `{name}`{near(name, ADDS)}", f"one of {', '.join(ADDS)}")
    items = tuple(_item(item, reader, lib) for item in table.get("items", ()))
    if not items:
        raise reader.fail("items", "is missing", 'items = [{ text = "...", source = ["key"] }]')
    return About(reader.text("id"), reader.text("title"), adds, items)


def _item(table: Mapping[str, Any], topic: Reader, lib: Library) -> Item:
    reader = Reader(table, topic.where, ("text", "point", "source", "status"))
    key = "point" if "point" in table else "text"
    text, source = reader.text(key), reader.names("source")
    check_braces(text, key, reader, triage_rules(lib))
    status = "memory" if source == ("memory",) else reader.choice("status", STATUS_WORDS, "draft")
    return Item(text, key == "point", source, status)


def _texts(table: Mapping[str, Any], keys: tuple[str, ...], where: str) -> dict[str, str]:
    reader = Reader(table, where, keys)
    return {key: reader.text(key) for key in keys}
