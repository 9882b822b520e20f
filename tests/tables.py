"""Random facts tables on a grid of quarter hours: ties, duplicates, exact expiries, late facts, odd values.

Two makers draw from one palette. `random_table` is seeded and quick, and lays a plausible course (fever,
drugs, low pressure, vasopressors, devices) under the noise so that grades 1 to 4 occur; `tables` is a
hypothesis strategy for the properties, and shrinks.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from tocsin.definitions.load import Library, library
from tocsin.definitions.scale import measures_of
from tocsin.definitions.schema import Finding, Measure, Scale
from tocsin.facts import SCHEMA

ORIGIN = datetime(2026, 3, 27, 6, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
DAY = 96
#: Quarter hours between facts: at, just under and just over spikes, confirmations, overlaps, holds, memories.
GAPS = (0, 1, 1, 2, 2, 3, 4, 5, 8, 12, 13, 16, 17, 24, 31, 32, 33, 48, 49, 64, 95, 96, 97, 192, 193)
#: A week without oxygen charting, a risk window, a month's hold: rare, because the oracle then walks far.
LONG_GAPS = (671, 672, 673, 14 * DAY, 30 * DAY - 1, 30 * DAY)
WEIGHTS = (None, 70.0, 70.0, 70.0, 50.0)
THERAPIES = ("axicabtagene-ciloleucel", "teclistamab", "checkpoint-inhibitor")
MASKING = ("acetaminophen", "dexamethasone", "tocilizumab", "anakinra")
ATTRIBUTIONS = (
    "fever=infection", "hypotension=dehydration", "hypoxia=oedema", "organ=drug", "neurotoxicity=sedation",
    "fever=crs", "hypotension=crs", "hypoxia=crs", "organ=crs", "neurotoxicity=crs",
)
AGES = (0.05, 0.08, 0.5, 1.0, 4.0, 5.0, 9.5, 10.0, 11.5, 12.0, 17.0, 18.0, 40.0, 67.0)
Fact = dict[str, Any]


def used_findings(scale: Scale) -> list[Finding]:
    """The findings an answer of the scale rests on."""
    names = [name for row in scale.rows for name in (*row.all, *row.any, *row.none)]
    names += [item.when for item in scale.judgements] + list(scale.flags.values())
    found: dict[str, Finding] = {}
    while names:
        name = names.pop()
        if name not in found:
            found[name] = scale.findings[name]
            names += found[name].names
    return [found[name] for name in sorted(found)]


class Palette:
    """Every kind of row worth charting for some scales, without its time."""

    def __init__(self, scales: Sequence[Scale], lib: Library) -> None:
        self.lib = lib
        self.facts: dict[str, list[Fact]] = {}
        self.scales = scales
        findings = [finding for scale in scales for finding in used_findings(scale)]
        for finding in findings:
            for name in measures_of(finding, lib):
                self._add(lib.measure(name), finding)
        for name in (*THERAPIES, *MASKING, "heart-rate", "potassium"):
            self.facts.setdefault(name, [{}] if lib.measure(name).kind == "event" else [{"value": 5.0}])
        self.facts["attribution"] = [{"text": text} for text in ATTRIBUTIONS]
        self.facts["death"] = [{"text": text} for text in ("crs", "icans", "other", "unknown")]
        self.facts["age"] = [{"value": age} for age in AGES]
        for name, facts in self.facts.items():
            unique = {repr(sorted(fact.items())): fact for fact in facts}
            self.facts[name] = [unique[key] for key in sorted(unique)]
        self.names = sorted(self.facts)

    def _add(self, measure: Measure, finding: Finding) -> None:
        facts = self.facts.setdefault(measure.id, [])
        if measure.kind == "category":
            facts += [{"text": word} for word in finding.one_of or measure.words]
            facts += [{"text": measure.words[0]}, {"text": measure.words[-1]}, {"text": "unusable"}]
        elif measure.kind == "infusion":
            facts += [{"value": 0.0}, {"text": "running"}, {}, {"text": "unusable"}]
            facts += [{"value": 5.0, "text": "push"}]
            facts += [{"value": value} for value in (0.05, *self._rates(measure, finding))]
        elif measure.kind == "event":
            facts += [{}, {}, *({"text": text} for text in finding.one_of)]
            if finding.within_hours is None and finding.form == "given":
                facts.append({"text": "absent"})
        elif measure.kind == "number":
            facts += self._numbers(measure, finding)

    def _rates(self, measure: Measure, finding: Finding) -> list[float]:
        bounds: list[tuple[float, str | None]] = []
        if isinstance(finding.bound, float):
            bounds.append((finding.bound, finding.unit))
            terms = [term for term in finding.terms if term.measure == measure.id]
            bounds += [(finding.bound / term.weight, term.unit) for term in terms]
        out = []
        for bound, unit in bounds:
            kilos = 1.0 if unit is None or "kg" in unit else 70.0
            if unit is not None and "kg2" in unit:
                kilos = 1 / 70.0
            for share in (0.5, 0.999, 1.0, 1.001):
                out.append(bound / kilos * share)
        return [value for value in out if value > 0]

    def _numbers(self, measure: Measure, finding: Finding) -> list[Fact]:
        facts: list[Fact] = [{"text": "unusable"}, {"value": float("nan"), "text": "unusable"}]
        values: list[float] = []
        if finding.bound == "age-limit":
            values = [edge + step for edge in (60, 70, 80, 90, 64, 72) for step in (-1.0, 0.0, 1.0)]
            values += [120.0, 56.0, 95.0]
        elif isinstance(finding.bound, float):
            bound = finding.bound
            step = measure.round_to or max(abs(bound) * 0.01, 0.01)
            if finding.reference in ("times_uln", "times_lln"):
                limit = measure.ref_high if finding.reference == "times_uln" else measure.ref_low
                for own in (limit or 10.0, (limit or 10.0) * 1.5):
                    for near in (bound - 0.01, bound, bound + 0.01):
                        key = "ref_high" if finding.reference == "times_uln" else "ref_low"
                        facts += [{"value": near * own, key: own}, {"value": near * own}]
                facts += [{"value": bound * (limit or 10.0), "text": text} for text in "<>"]
            elif finding.reference:
                usual = measure.ref_high or measure.ref_low or 60.0
                start = [usual * share for share in (0.5, 1.0, 1.2)]
                values += start
                if finding.reference == "times_baseline":
                    values += [first * (bound + step) for first in start for step in (-0.01, 0.0, 0.01)]
                elif finding.reference == "drop_from_baseline":
                    values += [first - bound + step for first in start for step in (-1.0, 0.0, 1.0)]
                else:
                    left = 1 - bound / 100
                    values += [first * (left + step) for first in start for step in (-0.01, 0.0, 0.01)]
            else:
                values = [bound - step, bound, bound + step, bound + 3 * step, bound - 3 * step]
                if measure.round_to:
                    values += [bound - step * 0.6, bound - step * 0.5, bound - step * 0.4, bound + step * 0.4]
                if measure.attribution != "hypotension":
                    facts += [{"value": bound, "text": text} for text in "<>"]
        elif finding.reference == "worse_than_baseline":
            values = [2.0, 4.0, 21.0, 40.0]
        facts += [{"value": round(value, 6)} for value in values if value >= 0]
        return facts

    def fact(self, rng: np.random.Generator, name: str) -> Fact:
        facts = self.facts[name]
        return {"measure": name, **facts[int(rng.integers(len(facts)))]}


@functools.cache
def palette(scales: tuple[str, ...], lib: Library | None = None) -> Palette:
    lib = lib or library()
    return Palette([lib.scale(scale) for scale in scales], lib)


def dressed(rng: np.random.Generator, fact: Fact, at: int, lib: Library) -> Fact:
    """The fact at its quarter hour, with the columns that real charts bring now and then."""
    kind = lib.measure(fact["measure"]).kind
    fact = dict(fact, at=at)
    if fact["measure"] == "temperature" and rng.random() < 0.5:
        fact["method"] = str(rng.choice(["oral", "axillary"]))
    if fact["measure"] in ("systolic-bp", "mean-bp") and rng.random() < 0.5:
        fact["method"] = str(rng.choice(["arterial", "cuff"]))
    longest = {"infusion": 0.45, "event": 0.15, "word": 0.3}.get(kind, 0.04)
    if fact["measure"] != "death" and fact.get("text") not in ("push", "absent") and rng.random() < longest:
        fact["until"] = at + int(rng.choice(GAPS[2:]))
    if rng.random() < 0.06:
        fact["known"] = at + int(rng.choice(GAPS))
    return fact


def course(rng: np.random.Generator, pal: Palette) -> list[Fact]:
    """A patient who develops CRS the way patients do."""
    def some(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    at = int(rng.integers(0, DAY))
    facts: list[Fact] = [{"measure": "temperature", "value": some(38.0, 38.3, 39.4), "at": at}]
    if rng.random() < 0.6:
        facts.append({"measure": some(*MASKING), "at": at + some(0, 4, 8, 96, 192)})
    if rng.random() < 0.6:
        low = at + some(0, 2, 4, 16)
        facts.append({"measure": "systolic-bp", "value": some(78.0, 85.0), "at": low})
        facts.append({"measure": "systolic-bp", "value": some(82.0, 120.0), "at": low + some(1, 2, 3)})
        if rng.random() < 0.5:
            for k in range(some(1, 2, 3)):
                text = some(None, "hypotension")
                facts.append(
                    {"measure": "fluid-bolus", "value": 500.0, "at": low + 1 + k * some(1, 8), "text": text}
                )
    if rng.random() < 0.55:
        start = at + some(0, 8, 40)
        first = some("norepinephrine", "dopamine")
        second = some("epinephrine", "phenylephrine", "vasopressin")
        rate = {"norepinephrine": 20 / 70, "dopamine": 10.0}[first]
        facts.append({"measure": first, "value": some(0.05, rate), "at": start})
        if rng.random() < 0.7:
            until = start + some(4, 11, 12, 13, 96, 97)
            facts.append({"measure": first, "value": some(0.0, None), "at": until})
        if rng.random() < 0.5:
            facts.append({
                "measure": second, "value": 0.04, "at": start + some(0, 3, 8),
                "until": start + some(8, 12, 13, 14, 30),
            })
    if rng.random() < 0.6:
        start = at + some(0, 2, 20)
        for _ in range(some(1, 2, 3)):
            device = some(*pal.lib.measure("oxygen-device").words)
            facts.append({"measure": "oxygen-device", "text": device, "at": start})
            if rng.random() < 0.7:
                facts.append({"measure": "oxygen-flow", "value": some(0.0, 2.0, 6.0, 6.1, 15.0), "at": start})
            if rng.random() < 0.4:
                facts.append({"measure": "fio2", "value": some(21.0, 30.0, 40.0, 60.0), "at": start})
            facts.append({"measure": "spo2", "value": some(88.0, 90.0, 96.0), "at": start})
            start += some(4, 24, 47, 48, 49)
    if rng.random() < 0.35:
        dose = at - some(-8, 0, 4, 24, 96, 13 * 96)
        facts.append({"measure": some(*THERAPIES), "at": dose})
    return facts


def random_facts(rng: np.random.Generator, pal: Palette, patient: str, size: int) -> list[Fact]:
    """One patient's rows."""
    planned = course(rng, pal) if rng.random() < 0.7 else []
    facts = [dressed(rng, fact, fact["at"], pal.lib) for fact in planned]
    facts = [fact for fact in facts if rng.random() > 0.1]
    times = [int(rng.integers(0, 2 * DAY))]
    times += [fact["at"] for fact in facts]
    names = [str(name) for name in rng.choice(pal.names, size=int(rng.integers(1, 9)))]
    if rng.random() < 0.5:
        names = [*names[:3], str(rng.choice(["attribution", *THERAPIES, *MASKING, "age", names[0]]))]
    for _ in range(int(rng.integers(1, size))):
        if rng.random() < 0.45:
            gaps = GAPS if rng.random() < 0.97 else LONG_GAPS
            times.append(int(rng.choice(times)) + int(rng.choice(gaps)))
        name = names[int(rng.integers(len(names)))]
        if name == "death":
            continue
        facts.append(dressed(rng, pal.fact(rng, name), int(rng.choice(times)), pal.lib))
    if rng.random() < 0.4:
        facts.append({"measure": "age", "value": float(rng.choice(AGES)), "at": min(times)})
    if not facts:
        facts.append({"measure": "heart-rate", "value": 80.0, "at": times[0]})
    if rng.random() < 0.08:
        at = int(rng.choice(times)) + int(rng.choice(GAPS))
        for text in rng.choice(["crs", "crs", "icans", "other", "unknown"], size=int(rng.integers(1, 3))):
            facts.append({"measure": "death", "text": str(text), "at": at})
    weight = WEIGHTS[int(rng.integers(len(WEIGHTS)))]
    lost = {at for at in times if rng.random() < 0.1}
    for k, fact in enumerate(facts):
        fact.update(patient_id=patient, source=f"chart:{k}")
        if pal.lib.measure(fact["measure"]).kind == "infusion":
            fact["weight"] = None if fact["at"] in lost else weight
    extra: list[Fact] = []
    for fact in facts:
        chance = rng.random()
        if chance < 0.06:
            extra.append(dict(fact))
        elif chance < 0.09 and fact["measure"] != "death":
            changed = {"measure": fact["measure"], "text": "retracted"}
            if fact["measure"] in pal.facts and rng.random() < 0.7:
                changed = pal.fact(rng, fact["measure"])
            at = fact["at"] + (0 if rng.random() < 0.7 else 2)
            extra.append(dict(
                changed, at=at, weight=fact.get("weight"), known=at + int(rng.choice(GAPS)),
                patient_id=patient, source=f"{fact['source']}:v2", replaces=fact["source"],
            ))
    return facts + extra


def table(facts: Sequence[Fact]) -> pa.Table:
    """Rows with `at`, `until`, `known` in quarter hours as canonical facts, sorted by patient and time."""
    lib = library()
    rows = []
    for fact in facts:
        row = {name: fact.get(name) for name in SCHEMA.names}
        row["time"] = ORIGIN + fact["at"] * QUARTER
        for key, column in (("until", "end"), ("known", "recorded")):
            if fact.get(key) is not None:
                row[column] = ORIGIN + fact[key] * QUARTER
        row["unit"] = lib.measure(fact["measure"]).unit
        rows.append(row)
    rows.sort(key=lambda row: (row["patient_id"], row["time"]))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def random_table(
    seed: int, scales: Sequence[str] = ("astct-2019",), patients: int = 3, size: int = 22,
    lib: Library | None = None,
) -> pa.Table:
    """A canonical table of a few patients drawn for these scales; the same seed gives the same table."""
    rng = np.random.default_rng(seed)
    pal = palette(tuple(scales), lib)
    facts: list[Fact] = []
    for k in range(patients):
        facts += random_facts(rng, pal, f"p{k}", size)
    return table(facts)


def tables(
    scales: Sequence[str] = ("astct-2019",), patients: int = 2, most: int = 14
) -> st.SearchStrategy[pa.Table]:
    """Hypothesis tables for these scales: few rows on few instants."""
    pal = palette(tuple(scales))
    kinds = [(name, fact) for name in pal.names if name != "death" for fact in pal.facts[name]]
    row = st.builds(
        lambda kind, at, until, known, who, method: {
            "measure": kind[0], **kind[1], "at": at, "patient_id": f"p{who}", "weight": 70.0,
            "until": at + until if until else None,
            "known": None if known is None else at + known,
            "method": method if kind[0] in ("temperature", "systolic-bp") else None,
        },
        kind=st.sampled_from(kinds) | st.sampled_from(FAVOURITES),
        at=st.integers(0, 12) | st.integers(0, 3 * DAY),
        until=st.none() | st.sampled_from(GAPS),
        known=st.none() | st.sampled_from(GAPS),
        who=st.integers(0, patients - 1),
        method=st.sampled_from([None, "oral", "arterial", "cuff"]),
    )
    return st.lists(row, min_size=1, max_size=most).map(table)


#: Rows that make something happen under most scales.
FAVOURITES: list[tuple[str, Mapping[str, Any]]] = [
    ("temperature", {"value": 38.5}), ("temperature", {"value": 37.0}), ("systolic-bp", {"value": 80.0}),
    ("systolic-bp", {"value": 120.0}), ("norepinephrine", {"value": 0.1}), ("norepinephrine", {"value": 0.0}),
    ("epinephrine", {"value": 0.1}), ("oxygen-device", {"text": "nasal-cannula"}),
    ("oxygen-flow", {"value": 8.0}), ("oxygen-device", {"text": "bipap"}), ("tocilizumab", {}),
    ("axicabtagene-ciloleucel", {}),
    ("fluid-bolus", {"value": 500.0}), ("spo2", {"value": 88.0}),
]


def facts_of(table: pa.Table) -> list[Fact]:
    """A table's rows with only what is said, times as hours from `ORIGIN`: for reports."""
    out = []
    for row in table.to_pylist():
        fact = {key: value for key, value in row.items() if value is not None and key != "unit"}
        for key in ("time", "end", "recorded"):
            if key in fact:
                fact[key] = (fact[key] - ORIGIN) / timedelta(hours=1)
        out.append(fact)
    return out
