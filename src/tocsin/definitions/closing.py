"""When an episode is over: reads `episodes/closing.toml`, the clinical numbers of `tocsin.episodes`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tocsin.definitions.load import Library
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, STATUSES, DefinitionError, near

OUTCOMES = ("crs", "icans")
WORDS = ("quiet_hours", "masked_hours", "masked_by", "charted", "treated_with")
#: Classes of the shelves that start an episode rather than end it.
CAUSES = ("therapy", "cause")


@dataclass(frozen=True, slots=True)
class Closing:
    """How episodes of one outcome (`crs`, `icans`) end; classes are spelled out as ids of measures.

    `quiet_hours` at grade 0 close an episode, `masked_hours` once one of `masked_by` was given in it. Each
    tuple of `charted` needs one reading in that time. `treated_with` are the drugs an episode lists.
    """

    id: str
    title: str
    outcome: str
    quiet_hours: float
    masked_hours: float
    masked_by: tuple[str, ...]
    charted: tuple[tuple[str, ...], ...]
    treated_with: tuple[str, ...]
    status: str
    sources: tuple[str, ...]
    reading: str
    hash: str


@lru_cache(maxsize=16)
def closing(outcome: str, lib: Library) -> Closing:
    """The rule for one outcome; a site's own `episodes/closing.toml` wins. Raises `DefinitionError`.

    >>> from tocsin.definitions.load import library
    >>> closing("crs", library()).charted
    (('temperature',), ('systolic-bp', 'mean-bp'))
    """
    path = lib.files("episodes")["closing"]
    table = parse(path)
    head = Reader(table, str(path), (*COMMON, *OUTCOMES))
    if outcome not in table:
        raise DefinitionError(f"{path}: says nothing of `{outcome}`\n  fix: add a table [{outcome}]")
    where = f"{path}, {outcome}"
    reader = Reader(table[outcome], where, WORDS)
    quiet = _hours(reader, "quiet_hours")
    masked_by = _spelled(reader.names("masked_by"), lib, where)
    charted = _lines(reader, lib)
    treated_with = _spelled(reader.names("treated_with"), lib, where)
    named = {*masked_by, *treated_with, *(name for line in charted for name in line)}
    named.update(name for kind in CAUSES for name in lib.classes.get(kind, ()))
    return Closing(
        id=path.stem,
        title=head.text("title", path.stem),
        outcome=outcome,
        quiet_hours=quiet,
        masked_hours=_hours(reader, "masked_hours", quiet),
        masked_by=masked_by,
        charted=charted,
        treated_with=treated_with,
        status=head.choice("status", STATUSES),
        sources=head.names("source"),
        reading=head.prose(),
        hash=_digest(path, named, lib),
    )


def _hours(reader: Reader, key: str, at_least: float = 0.0) -> float:
    value = reader.number(key)
    if value is None or value <= 0 or value < at_least:
        wrong = "is missing" if value is None else f"is {value:g}"
        raise reader.fail(key, wrong, f"hours above 0, `masked_hours` at least `quiet_hours`: {key} = 48")
    return value


def _lines(reader: Reader, lib: Library) -> tuple[tuple[str, ...], ...]:
    """What has to be charted, one list a line; an empty rule would let silence count as recovery."""
    lines: Any = reader.table.get("charted")
    good = isinstance(lines, list) and lines and all(isinstance(line, list) and line for line in lines)
    if not good:
        raise reader.fail("charted", f"is {lines!r}, not a list of lists", 'charted = [["temperature"]]')
    for line in lines:
        for name in line:
            lib.measure(name)
    return tuple(tuple(line) for line in lines)


def _spelled(names: Iterable[str], lib: Library, where: str) -> tuple[str, ...]:
    """Ids of measures, classes spelled out, in the order named."""
    out: dict[str, None] = {}
    for name in names:
        if name in lib.classes:
            out.update(dict.fromkeys(lib.classes[name]))
        elif name in lib.measures:
            out[name] = None
        else:
            words = (*lib.measures, *lib.classes)
            raise DefinitionError(f"{where}: `{name}` is no measure and no class of drug{near(name, words)}")
    return tuple(out)


def _digest(path: Path, named: Iterable[str], lib: Library) -> str:
    """SHA-256 of every file that can change an episode beyond its grades."""
    digest = hashlib.sha256(path.read_bytes())
    shelves: dict[str, dict[str, Path]] = {}
    for name in sorted(named):
        shelf = lib.measure(name).shelf
        if shelf not in shelves:
            shelves[shelf] = lib.files(shelf)
        digest.update(name.encode() + shelves[shelf][name].read_bytes())
    return digest.hexdigest()
