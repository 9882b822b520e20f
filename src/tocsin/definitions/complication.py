"""Reads the shelf `complications`: a scale of findings, or bands of a points score."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tocsin.definitions.dose import STATUS_WORDS
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, DefinitionError, near

if TYPE_CHECKING:
    from tocsin.definitions.load import Library


@dataclass(frozen=True, slots=True)
class Complication:
    """One complication: `score` and `bands` (stage, at least) where it rests on points, else a scale."""

    id: str
    title: str
    status: str
    source: tuple[str, ...]
    evidence: str
    score: str | None
    bands: tuple[tuple[int, float], ...]
    asks: tuple[str, ...]
    hash: str


@lru_cache(maxsize=128)
def complication(name: str, lib: Library) -> Complication:
    """One complication; raises `DefinitionError` with the near miss.

    >>> from tocsin.definitions.load import library
    >>> complication("dic-isth", library()).bands
    ((1, 5.0),)
    """
    files = lib.files("complications")
    if name not in files:
        known = ", ".join(sorted(files))
        raise DefinitionError(f"no complication `{name}`{near(name, files)}\n  fix: one of {known}")
    table = parse(files[name])
    if "score" not in table:
        scale = lib.scale(name)
        return Complication(
            name,
            scale.title,
            scale.status,
            scale.source,
            str(table.get("evidence", "")),
            None,
            (),
            (),
            scale.hash,
        )
    reader = Reader(table, str(files[name]), (*COMMON, "evidence", "score", "band", "asks", "note"))
    bands = []
    for i, item in enumerate(table.get("band", ())):
        inner = Reader(item, f"{files[name]}, band {i + 1}", ("stage", "at_least"))
        stage, least = inner.number("stage"), inner.number("at_least")
        if stage not in (1, 2, 3, 4) or least is None:
            raise inner.fail("stage", f"is {stage}", "stage = 1, at_least = 5")
        bands.append((int(stage), least))
    if not bands:
        raise reader.fail("band", "is missing", "band = [{ stage = 1, at_least = 5 }]")
    return Complication(
        name,
        reader.text("title"),
        reader.choice("status", STATUS_WORDS),
        reader.names("source"),
        reader.text("evidence", ""),
        reader.text("score"),
        tuple(bands),
        reader.names("asks"),
        hashlib.sha256(files[name].read_bytes()).hexdigest(),
    )
