"""Reads one file of the shelves that may stand in the `measure` column."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import CATEGORIES, KINDS, STATUSES, Code, DefinitionError, Limit, Measure

SYSTEMS = ("LOINC", "RxNorm", "SNOMED", "OMOP", "ICD-10-CM", "MedDRA", "PRO-CTCAE")
MEASURE_WORDS = [
    "id",
    "title",
    "source",
    "locator",
    "status",
    "reading",
    "kind",
    "unit",
    "aliases",
    "plausible",
    "hold_hours",
    "worse",
    "attribution",
    "round_to",
    "spike_minutes",
    "held_with",
    "molar_mass",
    "words",
    "word_aliases",
    "reference",
    "baseline",
    "limit",
    "class",
    "stale_hours",
    "code",
    "brand",
    "antibody",
    "cell",
    "target",
    "product",
    "indication",
    "risk_window_days",
    "plain",
    "also",
    "memory",
    "label_scale",
    "label_note",
    "step",
    "clock",
    "missed",
    "dose_limit",
    "derive",
    "plain",
    "example",
    "item",
    "note",
]


def parse(path: Path) -> dict[str, Any]:
    """Read one TOML file; what is wrong with it is said with file and line."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path}: not TOML: {error}\n  fix: mend the line named") from error
    if table.get("id") != path.stem:
        raise DefinitionError(
            f"{path}: `id` is {table.get('id')!r}\n  fix: the id is the file's stem, {path.stem!r}"
        )
    return table


def read_measure(shelf: str, path: Path) -> Measure:
    """Read one file of the shelves that may stand in the `measure` column."""
    table = parse(path)
    reader = Reader(table, str(path), MEASURE_WORDS)
    plausible = Reader(table.get("plausible", {}), f"{path}, plausible", ("at_least", "at_most", "reading"))
    reference = Reader(
        table.get("reference", {}), f"{path}, reference", ("low", "high", "reading", "status", "source")
    )
    baseline = Reader(
        table.get("baseline", {}),
        f"{path}, baseline",
        ("within_hours", "statistic", "chronic_fall_percent", "chronic_fall", "reading"),
    )
    attribution = reader.maybe_text("attribution")
    if attribution is not None:
        reader.choice("attribution", CATEGORIES)
    _sensible(reader, plausible)
    return Measure(
        id=path.stem,
        shelf=shelf,
        title=reader.text("title"),
        kind=reader.choice("kind", KINDS),
        unit=reader.maybe_text("unit"),
        aliases=dict(table.get("aliases", {})),
        plausible_low=plausible.number("at_least"),
        plausible_high=plausible.number("at_most"),
        hold_hours=reader.number("hold_hours"),
        worse=reader.choice("worse", ("high", "low"), "high"),
        attribution=attribution,
        round_to=reader.number("round_to"),
        spike_minutes=reader.number("spike_minutes"),
        held_with=reader.maybe_text("held_with"),
        molar_mass=reader.number("molar_mass"),
        words=reader.names("words"),
        word_aliases=dict(table.get("word_aliases", {})),
        ref_low=reference.number("low"),
        ref_high=reference.number("high"),
        baseline_hours=baseline.number("within_hours"),
        baseline_statistic=baseline.choice("statistic", ("last", "median"), "last"),
        chronic_fall_percent=baseline.number("chronic_fall_percent"),
        chronic_fall=baseline.number("chronic_fall"),
        limits=tuple(_limit(item, path) for item in table.get("limit", ())),
        classes=reader.names("class"),
        stale_hours=reader.number("stale_hours"),
        risk_window_days=reader.number("risk_window_days"),
        status=reader.choice("status", STATUSES),
        sources=reader.names("source"),
        locator=reader.maybe_text("locator"),
        codes=tuple(_code(item, path) for item in table.get("code", ())),
        reading=reader.prose(),
        raw=table,
    )


def _sensible(reader: Reader, plausible: Reader) -> None:
    """Refuse a measure that no row could be read by."""
    words = reader.names("words")
    if reader.table.get("kind") == "category" and not words:
        raise reader.fail(
            "words", "is missing", 'a category lists its words, mild to worst: words = ["none", "focal"]'
        )
    for charted, word in reader.table.get("word_aliases", {}).items():
        if word not in words:
            raise reader.fail(
                "word_aliases", f"`{charted}` means `{word}`, which is no word of it", f"one of {words}"
            )
    low, high = plausible.number("at_least"), plausible.number("at_most")
    if low is not None and high is not None and low > high:
        raise plausible.fail("at_least", f"{low} is above at_most {high}", "swap them")


def _limit(item: Mapping[str, Any], path: Path) -> Limit:
    reader = Reader(
        item,
        f"{path}, limit",
        ("age_from", "age_below", "below", "plus_per_year", "source", "reading", "locator"),
    )
    below = reader.number("below")
    if below is None:
        raise reader.fail("below", "is missing", "below = 90")
    high = reader.number("age_below")
    return Limit(
        reader.number("age_from") or 0.0,
        float("inf") if high is None else high,
        below,
        reader.number("plus_per_year") or 0.0,
    )


def _code(item: Mapping[str, Any], path: Path) -> Code:
    reader = Reader(
        item, f"{path}, code", ("system", "code", "unit", "word", "status", "reading", "note", "title")
    )
    return Code(
        reader.choice("system", SYSTEMS),
        reader.text("code"),
        reader.maybe_text("unit"),
        reader.maybe_text("word"),
        reader.maybe_text("status"),
    )
