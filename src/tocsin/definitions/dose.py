"""Reads the shelf `doses`: how much of a drug, how often, what limits it. One file a drug, several rules.

A site's own file of a drug adds to the built-in one: its limits hold beside those of the label, never in
their place, and its rules need ids of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, STATUSES, DefinitionError, near

if TYPE_CHECKING:
    from pathlib import Path

    from tocsin.definitions.load import Library

ORIGINS = ("label", "guideline", "site")
STATUS_WORDS = (*STATUSES, "memory")


@dataclass(frozen=True, slots=True)
class Limit:
    """What a dose may not exceed: a gap in hours, a number of doses in a window, or an amount in the unit.

    With a `country` it is of that country's label only: where it alone binds, and the country is not known,
    whether a dose is allowed is not known.
    """

    origin: str
    says: str
    min_gap_hours: float | None = None
    max_doses: int | None = None
    within_hours: float | None = None
    max_dose: float | None = None
    source: tuple[str, ...] = ()
    status: str = "draft"
    country: str = ""


@dataclass(frozen=True, slots=True)
class Band:
    """One band of weight and age, [from, below): a fixed amount or one for each kg, with its cap."""

    weight_from: float = 0.0
    weight_below: float = float("inf")
    age_from: float = 0.0
    age_below: float = float("inf")
    fixed: float | None = None
    fixed_high: float | None = None
    per_kg: float | None = None
    per_kg_high: float | None = None
    cap: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a course: an amount, how often, for how many days (none = until told otherwise)."""

    dose: float
    every_hours: float
    days: float | None
    until: str = ""


@dataclass(frozen=True, slots=True)
class DoseRule:
    """How much of a drug: bands, interval, course and limits, with its sources."""

    id: str
    drug: str
    title: str
    unit: str
    route: str
    bands: tuple[Band, ...]
    every_hours: tuple[float, ...]
    over_hours: float | None
    once: bool
    course: tuple[Step, ...]
    limits: tuple[Limit, ...]
    round_to: float | None
    vials: tuple[float, ...]
    vial_percent: float
    source: tuple[str, ...]
    locator: str
    status: str
    reading: str
    hash: str

    @property
    def by_weight(self) -> bool:
        """Whether the amount, or the band it falls into, depends on the weight."""
        return any(
            band.per_kg is not None or band.weight_from > 0 or band.weight_below < float("inf")
            for band in self.bands
        )


@dataclass(frozen=True, slots=True)
class WeightRule:
    """When two charted weights contradict each other."""

    percent: float
    within_hours: float
    source: tuple[str, ...]
    reading: str


RULE_WORDS = (
    "id",
    "title",
    "unit",
    "route",
    "band",
    "every_hours",
    "over_hours",
    "once",
    "course",
    "round_to",
    "vials",
    "vial_percent",
    "source",
    "locator",
    "status",
    "reading",
)
BAND_WORDS = (
    "weight_at_least",
    "weight_below",
    "age_at_least",
    "age_below",
    "fixed",
    "fixed_high",
    "per_kg",
    "per_kg_high",
    "cap",
)
LIMIT_WORDS = (
    "origin",
    "says",
    "min_gap_hours",
    "max_doses",
    "within_hours",
    "max_dose",
    "source",
    "status",
    "reading",
    "country",
    "drug",
)


def read_limit(table: Mapping[str, Any], where: str, origin: str = "label") -> Limit:
    """Read one `[[limit]]`; raises `DefinitionError` where it limits nothing."""
    reader = Reader(table, where, LIMIT_WORDS)
    most = reader.number("max_doses")
    limit = Limit(
        reader.choice("origin", ORIGINS, origin),
        reader.text("says"),
        reader.hours("min_gap_hours"),
        None if most is None else int(most),
        reader.hours("within_hours"),
        reader.number("max_dose"),
        reader.names("source"),
        reader.choice("status", STATUS_WORDS, "draft"),
        reader.text("country", ""),
    )
    if (limit.max_doses is None) != (limit.within_hours is None):
        raise reader.fail(
            "max_doses", "and `within_hours` belong together", "max_doses = 3, within_hours = 24"
        )
    if limit.min_gap_hours is None and limit.max_doses is None and limit.max_dose is None:
        raise reader.fail("min_gap_hours", "is missing, and nothing else is limited", "min_gap_hours = 8")
    return limit


@lru_cache(maxsize=8)
def dose_rules(lib: Library) -> Mapping[str, DoseRule]:
    """Every dose rule by id; raises `DefinitionError`.

    >>> from tocsin.definitions.load import library
    >>> dose_rules(library())["tocilizumab"].bands[0].per_kg
    12.0
    """
    found: dict[str, DoseRule] = {}
    limits: dict[str, tuple[Limit, ...]] = {}
    hashes: dict[str, str] = {}
    for folder in lib.folders:
        origin = "label" if folder == lib.folders[0] else "site"
        for path in sorted((folder / "doses").glob("*.toml")):
            if path.stem == "weight":
                continue
            drug, own, rules = _read(path, lib, origin)
            limits[drug] = (*limits.get(drug, ()), *own)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            hashes[drug] = hashlib.sha256((hashes.get(drug, "") + digest).encode()).hexdigest()
            for rule in rules:
                if rule.id in found:
                    raise DefinitionError(
                        f"{path}: dose rule `{rule.id}` is already defined\n"
                        "  why: whoever names it would get one of two doses\n"
                        "  fix: give it another id; a `[[limit]]` alone needs no rule"
                    )
                found[rule.id] = rule
    return {
        name: replace(rule, limits=limits[rule.drug], hash=hashes[rule.drug]) for name, rule in found.items()
    }


def dose_rule(name: str, lib: Library) -> DoseRule:
    """One rule; raises `DefinitionError` with the near miss."""
    rules = dose_rules(lib)
    if name not in rules:
        raise DefinitionError(f"no dose rule `{name}`{near(name, rules)}\n  fix: one of {', '.join(rules)}")
    return rules[name]


@lru_cache(maxsize=8)
def weight_rule(lib: Library) -> WeightRule:
    """When weights contradict each other, from `doses/weight.toml`."""
    path = lib.files("doses")["weight"]
    reader = Reader(parse(path), str(path), (*COMMON, "conflict_percent", "conflict_hours"))
    percent, hours = reader.hours("conflict_percent"), reader.hours("conflict_hours")
    if percent is None or hours is None:
        raise reader.fail("conflict_percent", "or `conflict_hours` is missing", "conflict_percent = 20")
    return WeightRule(percent, hours, reader.names("source"), reader.prose())


def _read(path: Path, lib: Library, origin: str) -> tuple[str, tuple[Limit, ...], list[DoseRule]]:
    """The drug of a file, its limits and its rules (whose limits and hash are still to be filled in)."""
    table = parse(path)
    head = Reader(table, str(path), (*COMMON, "drug", "limit", "rule"))
    drug = head.text("drug", path.stem)
    lib.measure(drug)
    limits = tuple(
        read_limit(item, f"{path}, limit {i + 1}", origin) for i, item in enumerate(table.get("limit", ()))
    )
    rules = [_rule(item, path, drug, head) for item in table.get("rule", ())]
    if not rules and (origin == "label" or not limits):
        raise head.fail("rule", "is missing", "a file of doses needs a [[rule]], or a site's a [[limit]]")
    return drug, limits, rules


def _rule(item: Mapping[str, Any], path: Path, drug: str, head: Reader) -> DoseRule:
    reader = Reader(item, f"{path}, rule `{item.get('id', '?')}`", RULE_WORDS)
    where = reader.where
    every = item.get("every_hours", [])
    bands = tuple(_band(band, f"{where}, band {i + 1}") for i, band in enumerate(item.get("band", ())))
    if not bands:
        raise reader.fail("band", "is missing", "band = [{ fixed = 10 }]")
    vials = tuple(sorted(float(each) for each in item.get("vials", ())))
    percent = reader.number("vial_percent")
    if bool(vials) != (percent is not None) or any(vial <= 0 for vial in vials):
        raise reader.fail("vials", "and `vial_percent` belong together", "vials = [80], vial_percent = 10")
    return DoseRule(
        id=reader.text("id"),
        drug=drug,
        title=reader.text("title"),
        unit=reader.text("unit", "mg"),
        route=reader.text("route", ""),
        bands=bands,
        every_hours=tuple(float(each) for each in (every if isinstance(every, list) else [every])),
        over_hours=reader.hours("over_hours"),
        once=reader.flag("once"),
        course=tuple(_step(step, where) for step in item.get("course", ())),
        limits=(),
        round_to=reader.number("round_to"),
        vials=vials,
        vial_percent=percent or 0.0,
        source=reader.names("source") or head.names("source"),
        locator=reader.text("locator", head.text("locator", "")),
        status=reader.choice("status", STATUS_WORDS, head.choice("status", STATUSES)),
        reading=" ".join(text for text in (head.prose(), reader.prose()) if text),
        hash="",
    )


def _band(table: Mapping[str, Any], where: str) -> Band:
    reader = Reader(table, where, BAND_WORDS)
    none = float("inf")
    band = Band(
        reader.number("weight_at_least") or 0.0,
        _or(reader.number("weight_below"), none),
        reader.number("age_at_least") or 0.0,
        _or(reader.number("age_below"), none),
        reader.number("fixed"),
        reader.number("fixed_high"),
        reader.number("per_kg"),
        reader.number("per_kg_high"),
        reader.number("cap"),
    )
    if (band.fixed is None) == (band.per_kg is None):
        raise reader.fail("fixed", "and `per_kg`: one of the two", "per_kg = 8")
    return band


def _step(table: Mapping[str, Any], where: str) -> Step:
    reader = Reader(table, f"{where}, course", ("dose", "every_hours", "days", "until"))
    dose, every = reader.hours("dose"), reader.hours("every_hours")
    if dose is None or every is None:
        raise reader.fail("dose", "or `every_hours` is missing", "dose = 500, every_hours = 12, days = 3")
    return Step(dose, every, reader.number("days"), reader.text("until", ""))


def _or(value: float | None, missing: float) -> float:
    return missing if value is None else value
