"""Reads the shelf `topics`: what guidelines are known to differ on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tocsin.definitions.dose import STATUS_WORDS
from tocsin.definitions.guideline import KINDS
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON

if TYPE_CHECKING:
    from tocsin.definitions.load import Library


@dataclass(frozen=True, slots=True)
class Position:
    """What one source says on a topic."""

    who: str
    says: str
    source: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Topic:
    """A matter on which guidelines differ: the kinds of action compared, and positions told as such.

    `silence_counts`: whether a guideline in which nothing of the kind was found is shown among the positions.
    """

    id: str
    title: str
    kinds: tuple[str, ...]
    grades: tuple[int, ...]
    classes: tuple[str, ...]
    positions: tuple[Position, ...]
    silence_counts: bool
    source: tuple[str, ...]
    locator: str
    status: str


@lru_cache(maxsize=8)
def topics(lib: Library) -> tuple[Topic, ...]:
    """Every topic, by id."""
    return tuple(_read(path, lib) for _, path in sorted(lib.files("topics").items()))


def _read(path: Any, lib: Library) -> Topic:
    table = parse(path)
    reader = Reader(table, str(path), (*COMMON, "kinds", "grades", "classes", "silent_left_out", "position"))
    status = reader.choice("status", STATUS_WORDS)
    kinds = reader.names("kinds")
    for kind in kinds:
        if kind not in KINDS:
            raise reader.fail("kinds", f"names `{kind}`", f"one of {', '.join(KINDS)}")
    grades = reader.table.get("grades")
    if not isinstance(grades, list) or not grades or not all(grade in (1, 2, 3, 4) for grade in grades):
        raise reader.fail("grades", f"is {grades!r}", "grades = [1, 2]")
    return Topic(
        path.stem,
        reader.text("title"),
        kinds,
        tuple(grades),
        reader.names("classes"),
        tuple(_position(item, str(path), status) for item in table.get("position", ())),
        not reader.flag("silent_left_out"),
        reader.names("source"),
        reader.text("locator"),
        status,
    )


def _position(item: Mapping[str, Any], where: str, status: str) -> Position:
    reader = Reader(item, f"{where}, position", ("who", "says", "source", "status"))
    return Position(
        reader.text("who"),
        reader.text("says"),
        reader.names("source"),
        reader.choice("status", STATUS_WORDS, status),
    )
