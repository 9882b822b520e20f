"""A slow oracle: the wording of docs/grading.md, asked again at every quarter of an hour.

Nothing here is clever. Time is a list of quarter hours from the patient's first fact; every finding is a list
with one answer (2 yes, 1 unknown, 0 no) per quarter hour; memory words look at the whole list before them.
It shares no line and no idea with `tocsin.grading`, so that a mistake has to be made twice to stay unseen.
Facts must lie on quarter hours; so must every duration of the definitions.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa

from oracle_spans import (
    ANYTHING,
    NO,
    RUNNING,
    STOPPED,
    UNKNOWN,
    YES,
    ZERO_OR_MORE,
    Span,
    compare,
    fall,
    lasted,
    percent,
    quarters,
    rank,
    ratio,
    rounded,
    times_weight,
    within,
    worse,
)
from tocsin.definitions.load import Library
from tocsin.definitions.scale import measures_of
from tocsin.definitions.schema import Finding, Measure, Row, Scale

QUARTER = timedelta(minutes=15)
#: What a channel holds where no reading stands.
MISSING, NOT_RUNNING, LAPSED = -1, -2, -3
ANSWER = {"yes": YES, "unknown": UNKNOWN, "no": NO}
AGAINST = {"times_baseline": ratio, "drop_from_baseline": fall, "percent_drop_from_baseline": percent}

#: patient_id, start, end, grade, up_to, ambiguous, because, waiting_for, judgement, flags
Interval = tuple[str, datetime, datetime | None, int, int, bool, tuple[str, ...], tuple[str, ...],
                 tuple[str, ...], tuple[str, ...]]


class Reading(NamedTuple):
    """What one channel says from one instant on, ties settled."""

    at: int
    span: Span
    ends: tuple[int | None, ...]
    method: str
    on_default_limit: bool
    unusable: bool


def grade(
    facts: Iterable[Mapping[str, Any]] | pa.Table,
    scale: Scale,
    lib: Library,
    until: datetime | None = None,
    as_of: datetime | None = None,
) -> list[Interval]:
    """The rows of design.md section 5 for every patient, in order of patient and time."""
    rows = facts.to_pylist() if isinstance(facts, pa.Table) else [dict(fact) for fact in facts]
    patients: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        patients.setdefault(row["patient_id"], []).append(row)
    answer: list[Interval] = []
    for patient in sorted(patients):
        known = resolve(patients[patient], as_of)
        if known:
            answer += Course(patient, known, scale, lib, as_of).intervals(until)
    return answer


def resolve(rows: list[dict[str, Any]], as_of: datetime | None) -> list[dict[str, Any]]:
    """Facts known by `as_of`, without those corrected or withdrawn."""
    if as_of is not None:
        rows = [row for row in rows if (row.get("recorded") or row["time"]) <= as_of]
    replaced = {row["replaces"] for row in rows if row.get("replaces") not in (None, row.get("source"))}
    return [row for row in rows if row.get("source") not in replaced and row.get("text") != "retracted"]


def started_and_stopped(row: dict[str, Any], lib: Library) -> dict[str, Any]:
    """An infusion that ends where it begins is a row of value 0."""
    infusion = lib.measure(row["measure"]).kind == "infusion" and row.get("text") != "push"
    if infusion and row.get("end") == row["time"]:
        return {**row, "value": 0.0, "text": None, "end": None}
    return row


def lapse(reading: Reading, hours: float | None) -> tuple[float, bool]:
    """When a reading stops standing by itself, and whether the chart said so (the later of tied rows)."""
    hold = math.inf if hours is None else reading.at + quarters(hours)
    return max((hold, False) if end is None else (float(end), True) for end in reading.ends)


class Course:
    """One patient under one scale."""

    def __init__(
        self, patient: str, rows: list[dict[str, Any]], scale: Scale, lib: Library, as_of: datetime | None,
        at_least: int = 0,
    ) -> None:
        self.patient, self.scale, self.lib, self.at_least = patient, scale, lib, at_least
        self.known_at = as_of
        deaths = [row["time"] for row in rows if row["measure"] == "death"]
        self.death_time = min(deaths, default=None)
        if self.death_time is not None:
            rows = [row for row in rows if row["time"] <= self.death_time]
        self.origin: datetime = min(row["time"] for row in rows)
        self.rows = [started_and_stopped(row, lib) for row in rows]
        self.as_of = None if as_of is None else self.place(as_of)
        doses = [self.place(row["time"]) for row in rows if "therapy" in lib.measure(row["measure"]).classes]
        self.dose = min(doses, default=None)
        self._below: dict[tuple[str, bool], set[str]] = {}
        self.size = self._size()
        self._channels: dict[tuple[Any, ...], list[Reading]] = {}
        self._standing: dict[tuple[Any, ...], list[int]] = {}
        self._baselines: dict[tuple[Any, ...], Span | None] = {}
        self._masks: dict[str | None, list[bool]] = {}
        self._values: dict[str, list[int]] = {}
        self._inner: dict[str, list[int]] = {}
        self._states: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    # Time

    def place(self, time: datetime) -> int:
        """Quarter hours from the first fact."""
        quarters = (time - self.origin) / QUARTER
        if quarters != int(quarters):
            raise ValueError(f"{time} is not on the grid of quarter hours from {self.origin}")
        return int(quarters)

    def instant(self, quarter: int) -> datetime:
        return self.origin + quarter * QUARTER

    def _size(self) -> int:
        """As many quarter hours as anything can still change in."""
        charted = {row["measure"] for row in self.rows}

        @cache
        def reach(name: str) -> int:
            finding = self.scale.findings[name]
            own = finding.within_hours, finding.for_hours, finding.quiet_hours, finding.confirmed_within_hours
            memory = sum(quarters(hours) for hours in own if hours is not None)
            inner = max((reach(other) for other in finding.names), default=0)
            for measure in measures_of(finding, self.lib):
                if measure in charted:
                    hold = self.lib.measure(measure).hold_hours
                    hold = finding.hold_hours if finding.hold_hours is not None else hold
                    inner = max(inner, quarters(hold or 0.0))
            return inner + memory

        last = max(self.place(time) for row in self.rows for time in (row["time"], row.get("end")) if time)
        end = last + max([quarters(24), *(reach(name) for name in self.roots)]) + 2
        return max(end, (self.as_of or 0) + 1, self.at_least)

    @cached_property
    def roots(self) -> list[str]:
        named = [name for row in self.scale.rows for name in (*row.all, *row.any, *row.none)]
        return [*named, *(item.when for item in self.scale.judgements), *self.scale.flags.values()]

    @cached_property
    def reachable(self) -> list[str]:
        """Every finding an answer of the scale rests on."""
        return sorted(set().union(*(self.below(name) for name in self.roots)))

    def below(self, name: str, helpers: bool = True) -> set[str]:
        """A finding and all it rests on; without `helpers` what stands in `or_with` is left out."""
        key = (name, helpers)
        if key not in self._below:
            finding = self.scale.findings[name]
            others = [other for other in finding.names if helpers or other not in finding.or_with]
            self._below[key] = {name}.union(*(self.below(other, helpers) for other in others))
        return self._below[key]

    # Readings

    def span_of(
        self, row: Mapping[str, Any], measure: Measure, reference: str | None, unit: str | None
    ) -> tuple[Span, bool] | None:
        """Possible values of a row, and whether the definition's own limit was used; None: no reading."""
        value, text = row.get("value"), row.get("text")
        value = None if value is None or math.isnan(value) else float(value)
        if measure.kind == "category":
            if text == "unusable" or text is None:
                return Span(0.0, len(measure.words) - 1.0), False
            place = float(measure.words.index(text))
            return Span(place, place), False
        if measure.kind == "infusion":
            if text == "push":
                return None
            if text == "unusable":
                span = ZERO_OR_MORE
            else:
                span = RUNNING if value is None or text == "running" else Span(value, value)
        elif text == "unusable" or value is None:
            span = ANYTHING
        elif text == "<":
            span = Span(-math.inf, value, True, True)
        elif text == ">":
            span = Span(value, math.inf, True, True)
        else:
            span = Span(value, value)
        span = rounded(span, measure.round_to)
        span = times_weight(span, measure, unit, row.get("weight"))
        if reference in ("times_uln", "times_lln"):
            own, given = (
                (row.get("ref_high"), measure.ref_high) if reference == "times_uln"
                else (row.get("ref_low"), measure.ref_low)
            )
            own = None if own is None or math.isnan(own) else own
            limit = given if own is None else own
            if limit is None:
                return ANYTHING, False
            return Span(span.low / limit, span.high / limit, span.low_open, span.high_open), own is None
        return span, False

    def channel(
        self, name: str, method: str | None = None, reference: str | None = None, unit: str | None = None
    ) -> list[Reading]:
        """The readings of one channel, one an instant, the worst of each tie."""
        key = (name, method, reference, unit)
        if key in self._channels:
            return self._channels[key]
        measure = self.lib.measure(name)
        at: dict[int, list[tuple[Span, bool, Mapping[str, Any]]]] = {}
        for row in self.rows:
            if row["measure"] == name and (method is None or row.get("method") == method):
                read = self.span_of(row, measure, reference, unit)
                if read is not None:
                    at.setdefault(self.place(row["time"]), []).append((*read, row))
        self._channels[key] = [self._tie(i, at[i], measure) for i in sorted(at)]
        return self._channels[key]

    def _tie(self, at: int, tied: list[tuple[Span, bool, Mapping[str, Any]]], measure: Measure) -> Reading:
        spans = [span for span, _, _ in tied]
        pick: Callable[..., Any] = min if measure.worse == "low" and measure.kind == "number" else max
        low = pick(spans, key=lambda span: span.low_key)
        high = pick(spans, key=lambda span: span.high_key)
        worst = max(rank(span, measure) for span in spans)
        ruling = [item for item in tied if rank(item[0], measure) == worst]
        said = [None if row.get("end") is None else self.place(row["end"]) for _, _, row in ruling]
        return Reading(
            at,
            Span(low.low, high.high, low.low_open, high.high_open),
            tuple(None if end is not None and end <= at else end for end in said),
            min(row.get("method") or "" for _, _, row in ruling),
            any(default for _, default, _ in ruling),
            any(row.get("text") == "unusable" for _, _, row in ruling),
        )

    def standing(
        self, name: str, method: str | None = None, reference: str | None = None, unit: str | None = None,
        hold: float | None = None,
    ) -> list[int]:
        """Per quarter hour: which reading of the channel stands, or why none does."""
        key = (name, method, reference, unit, hold)
        if key not in self._standing:
            measure = self.lib.measure(name)
            readings = self.channel(name, method, reference, unit)
            hours = measure.hold_hours if hold is None else hold
            if not readings:
                return [NOT_RUNNING if measure.kind == "infusion" else MISSING] * self.size
            latest = -1
            stands = []
            for i in range(self.size):
                while latest + 1 < len(readings) and readings[latest + 1].at <= i:
                    latest += 1
                stands.append(self._stands(readings, latest, i, measure, hours))
            self._standing[key] = stands
        return self._standing[key]

    def _stands(
        self, readings: Sequence[Reading], latest: int, i: int, measure: Measure, hours: float | None
    ) -> int:
        infusion = measure.kind == "infusion"
        if latest < 0:
            return NOT_RUNNING if infusion else MISSING
        reading = readings[latest]
        end, said = lapse(reading, hours)
        if i >= end:
            if infusion:
                return NOT_RUNNING if said or reading.span == STOPPED else LAPSED
            return MISSING
        if measure.held_with and any(reading.at < change <= i for change in self._changes(measure.held_with)):
            return MISSING
        return latest

    def _changes(self, device: str) -> list[int]:
        """Instants at which the device is another than before; what is not one certain word is skipped."""
        certain = [reading for reading in self.channel(device) if reading.span.low == reading.span.high]
        return [later.at for former, later in pairwise(certain) if former.span != later.span]

    def baseline(self, name: str, method: str | None, reference: str | None) -> Span | None:
        """What the channel was before the first dose; None where nothing in the window says so."""
        key = (name, method, reference)
        if key not in self._baselines:
            self._baselines[key] = self._baseline(*key)
        return self._baselines[key]

    def _baseline(self, name: str, method: str | None, reference: str | None) -> Span | None:
        measure = self.lib.measure(name)
        if self.dose is None or measure.baseline_hours is None:
            return None
        start = self.dose - quarters(measure.baseline_hours)
        readings = self.channel(name, method, reference)
        before = [reading.span for reading in readings if start <= reading.at < self.dose]
        if not before:
            return None
        if measure.baseline_statistic == "last":
            return before[-1]
        low = statistics.median(span.low for span in before)
        high = statistics.median(span.high for span in before)
        return Span(low, high, low != high, low != high)

    # Findings

    def value(self, name: str) -> list[int]:
        """The finding at every quarter hour."""
        if name not in self._values:
            finding = self.scale.findings[name]
            form = {
                "measure": self._measure, "given": self._given, "charted": self._charted,
                "weighted_sum": self._weighted_sum, "count_of": self._count_of, "ever": self._ever,
                "first_known": self._first_known, "rule": self._rule,
            }[finding.form]
            values = self._inner[name] = form(finding)
            if finding.within_hours is not None and finding.form not in ("measure", "given", "charted"):
                values = self._two(values, lambda yes: within(yes, quarters(finding.within_hours or 0)))
            if finding.for_hours is not None:
                values = self._for_hours(finding, values)
            if finding.confirmed_within_hours is not None:
                values = self._confirmed(finding, values)
            self._values[name] = values
        return self._values[name]

    @cached_property
    def lives(self) -> list[range]:
        """The record before the first dose and the record from it on: memory does not cross."""
        if self.dose is None or not 0 < self.dose < self.size:
            return [range(self.size)]
        return [range(self.dose), range(self.dose, self.size)]

    def _two(self, values: list[int], memory: Callable[[list[bool]], list[bool]]) -> list[int]:
        """Apply a memory to certain yes and to not certain no, each life of the record by itself."""
        out: list[int] = []
        for life in self.lives:
            lower = memory([values[i] == YES for i in life])
            upper = memory([values[i] != NO for i in life])
            out += [YES if low else UNKNOWN if high else NO for low, high in zip(lower, upper, strict=True)]
        return out

    def before_dose(self, at: int, i: int, measure: Measure) -> bool:
        """Whether something of instant `at` is, at `i`, from before the first dose and so proves nothing."""
        return self.dose is not None and at < self.dose <= i and measure.attribution is not None

    def masked(self, category: str | None) -> list[bool]:
        """Where a clinician has given this category another cause."""
        if category not in self._masks:
            self._masks[category] = self._mask(category)
        return self._masks[category]

    def _mask(self, category: str | None) -> list[bool]:
        mask = [False] * self.size
        if category is None:
            return mask
        causes: dict[int, list[Mapping[str, Any]]] = {}
        backs: set[int] = set()
        for row in self.rows:
            if row["measure"] == "attribution" and "=" in (row.get("text") or ""):
                named, cause = row["text"].split("=", 1)
                if named.strip() != category:
                    continue
                at = self.place(row["time"])
                if cause.strip() == "crs":
                    backs.add(at)
                else:
                    causes.setdefault(at, []).append(row)
        for at, rows in causes.items():
            for row in rows:
                end = at + quarters(24) if row.get("end") is None else self.place(row["end"])
                end = min([end, *(back for back in backs if back > at and back not in causes)])
                for i in range(at, min(end, self.size)):
                    mask[i] = True
        return mask

    def judge(self, finding: Finding, reading: Reading, i: int) -> int:
        """Whether a reading satisfies the bound at `i`, before dose, mask and memory have a say."""
        measure = self.lib.measure(finding.measure or "")
        span = reading.span
        dosed = self.dose is not None and i >= self.dose
        base = self.baseline(measure.id, finding.method, finding.reference) if dosed else None
        against = finding.reference
        if finding.bound == "age-limit":
            return self._below_age_limit(measure, span, base, i)
        if against in (*AGAINST, "worse_than_baseline"):
            if base is None:
                return ANSWER[finding.if_missing]
            if against == "worse_than_baseline":
                return worse(span, base, "below" if measure.worse == "low" else "above")
            span = AGAINST[against](span, base)
        answer = self._satisfies(finding, measure, span)
        if finding.new_since_baseline and base is not None and answer == YES:
            return NO if self._satisfies(finding, measure, base) == YES else answer
        return answer

    def _satisfies(self, finding: Finding, measure: Measure, span: Span) -> int:
        if finding.one_of:
            words = [measure.words[k] in finding.one_of for k in range(int(span.low), int(span.high) + 1)]
            return YES if all(words) else UNKNOWN if any(words) else NO
        return compare(span, str(finding.op), float(finding.bound or 0.0))

    def _age(self, i: int) -> float | None:
        k = self.standing("age")[i]
        if k < 0:
            return None
        span = self.channel("age")[k].span
        return span.low if span.low == span.high else None

    def _below_age_limit(self, measure: Measure, span: Span, base: Span | None, i: int) -> int:
        age = self._age(i)
        years = 18.0 if age is None else age
        band = next((band for band in measure.limits if band.age_from <= years < band.age_below), None)
        if band is None:
            return UNKNOWN
        limit = band.below + band.plus_per_year * years
        if base is None or compare(base, "below", limit) != YES:
            return compare(span, "below", limit)
        share, step = measure.chronic_fall_percent or 0.0, measure.chronic_fall or 0.0
        least, most = (max(end * (1 - share / 100), end - step) for end in (base.low, base.high))
        if compare(span, "at_most", least) == YES:
            return YES
        return NO if compare(span, "at_most", most) == NO else UNKNOWN

    def _plain(self, finding: Finding) -> list[int]:
        """`measure` with its bound: what stands is compared, what is missing is `if_missing`."""
        measure = self.lib.measure(finding.measure or "")
        channel = (measure.id, finding.method, finding.reference, finding.unit)
        readings, standing = self.channel(*channel), self.standing(*channel, finding.hold_hours)
        mask = self.masked(measure.attribution)
        out: list[int] = []
        for i, k in enumerate(standing):
            if mask[i]:
                answer = NO
            elif k == MISSING or (k == LAPSED and finding.if_missing != "unknown"):
                answer = ANSWER[finding.if_missing]
            elif k in (NOT_RUNNING, LAPSED):
                answer = self._satisfies(finding, measure, STOPPED if k == NOT_RUNNING else ZERO_OR_MORE)
            else:
                answer = self.judge(finding, readings[k], i)
                if answer == YES and self.before_dose(readings[k].at, i, measure):
                    answer = UNKNOWN
            out.append(answer)
        return out

    def _measure(self, finding: Finding) -> list[int]:
        plain = self._plain(finding)
        if finding.within_hours is None:
            return plain
        measure = self.lib.measure(finding.measure or "")
        readings = self.channel(measure.id, finding.method, finding.reference, finding.unit)
        mask = self.masked(measure.attribution)
        own = [self.judge(finding, reading, reading.at) for reading in readings]
        spike = None if measure.spike_minutes is None else quarters(measure.spike_minutes / 60)
        counts: list[tuple[int, int]] = []
        for k, reading in enumerate(readings):
            if own[k] != YES:
                continue
            stop = reading.at + quarters(finding.within_hours)
            if spike is not None and k + 1 < len(readings):
                after = readings[k + 1]
                soon = after.at - reading.at <= spike
                contradicted = own[k + 1] == NO and soon and after.method == reading.method
                backed = k > 0 and own[k - 1] == YES and reading.at - readings[k - 1].at <= spike
                if contradicted and not backed:
                    stop = min(stop, after.at)
            counts.append((reading.at, stop))
        out = []
        for i in range(self.size):
            remembered = any(at <= i < stop and not self.before_dose(at, i, measure) for at, stop in counts)
            out.append(NO if mask[i] else YES if remembered else min(plain[i], UNKNOWN))
        return out

    def gifts(
        self, items: Sequence[str], one_of: Sequence[str] = ()
    ) -> list[tuple[int, Mapping[str, Any], Measure]]:
        """Every time one of these was given."""
        found = []
        for row in self.rows:
            measure = self.lib.measure(row["measure"])
            if not (measure.id in items or any(kind in items for kind in measure.classes)):
                continue
            value, text = row.get("value"), row.get("text")
            empty = value is None or math.isnan(value)
            event = measure.kind == "event" and text != "absent"
            running = measure.kind == "infusion" and (text == "push" or empty or value > 0)
            if (event or running) and (not one_of or text in one_of):
                found.append((self.place(row["time"]), row, measure))
        return found

    def _given(self, finding: Finding) -> list[int]:
        least = int(finding.bound) if isinstance(finding.bound, float) else 1
        spans: list[tuple[int, int, Measure]] = []
        for at, row, measure in self.gifts(finding.items, finding.one_of):
            if finding.within_hours is not None:
                spans.append((at, at + quarters(finding.within_hours), measure))
                continue
            if row.get("end") is not None:
                stop = self.place(row["end"])
            else:
                stop = self.size if measure.hold_hours is None else at + quarters(measure.hold_hours)
            ends = [
                self.place(other["time"]) for other in self.rows
                if other["measure"] == measure.id and other.get("text") == "absent"
            ]
            spans.append((at, min([stop, *(end for end in ends if end > at)]), measure))
        masks = {measure.attribution: self.masked(measure.attribution) for _, _, measure in spans}
        out = []
        for i in range(self.size):
            standing = [(at, measure) for at, stop, measure in spans if at <= i < stop]
            instants = {
                at for at, measure in standing
                if not self.before_dose(at, i, measure) and not masks[measure.attribution][i]
            }
            out.append(YES if len(instants) >= least else NO)
        return out

    def _charted(self, finding: Finding) -> list[int]:
        wanted = set(measures_of(finding, self.lib))
        rows = [
            (self.place(row["time"]), self.lib.measure(row["measure"])) for row in self.rows
            if row["measure"] in wanted and row.get("text") != "unusable"
        ]
        span = quarters(finding.within_hours or 0)
        return [YES if any(at <= i < at + span for at, _ in rows) else NO for i in range(self.size)]

    def _weighted_sum(self, finding: Finding) -> list[int]:
        out = []
        measures = [self.lib.measure(term.measure) for term in finding.terms]
        masks = [self.masked(measure.attribution) for measure in measures]
        for i in range(self.size):
            low = high = 0.0
            low_open = high_open = False
            for term, measure in zip(finding.terms, measures, strict=True):
                k = self.standing(term.measure, None, None, term.unit)[i]
                if k == NOT_RUNNING:
                    span = STOPPED
                elif k in (LAPSED, MISSING):
                    span = ZERO_OR_MORE
                else:
                    reading = self.channel(term.measure, None, None, term.unit)[k]
                    span = reading.span
                    if self.before_dose(reading.at, i, measure) and span.low >= 0:
                        span = Span(0.0, span.high, False, span.high_open)
                low += term.weight * span.low
                high += term.weight * span.high
                low_open, high_open = low_open or span.low_open, high_open or span.high_open
            total = Span(low, high, low_open, high_open)
            answer = compare(total, str(finding.op), float(finding.bound or 0.0))
            out.append(NO if any(mask[i] for mask in masks) else answer)
        return out

    def _count_of(self, finding: Finding) -> list[int]:
        inner = [self.value(name) for name in finding.items]
        least = int(finding.bound or 1)
        out = []
        for i in range(self.size):
            sure, possible = (sum(values[i] >= level for values in inner) for level in (YES, UNKNOWN))
            out.append(YES if sure >= least else NO if possible < least else UNKNOWN)
        return out

    def _first_known(self, finding: Finding) -> list[int]:
        inner = [self.value(name) for name in finding.items]
        return [next((v[i] for v in inner if v[i] != UNKNOWN), UNKNOWN) for i in range(self.size)]

    def _rule(self, finding: Finding | Row) -> list[int]:
        parts: list[list[int]] = []
        for names, join in ((finding.all, min), (finding.any, max), (finding.none, max)):
            if names:
                inner = [self.value(name) for name in names]
                joined = [join(at) for at in zip(*inner, strict=True)]
                parts.append([2 - v for v in joined] if names is finding.none else joined)
        return [min(at) for at in zip(*parts, strict=True)]

    # Memory

    def _for_hours(self, finding: Finding, values: list[int]) -> list[int]:
        least, bridge = quarters(finding.for_hours or 0), quarters(finding.bridge_hours)
        out = self._two(values, lambda yes: lasted(yes, least, bridge))
        if finding.until_then == "possible":
            out = [YES if now == YES else min(inner, UNKNOWN) for now, inner in zip(out, values, strict=True)]
        return out

    def _confirmed(self, finding: Finding, values: list[int]) -> list[int]:
        low_instants: set[int] = set()
        names = {other for name in (*finding.items, *finding.all, *finding.any, *finding.none)
                 for other in self.below(name, helpers=False)}
        read = [self.scale.findings[name] for name in names if self.scale.findings[name].form == "measure"]
        own = {other.id: self.value(other.id) for other in read}
        if finding.form == "measure":
            read.append(finding)
            own[finding.id] = values
        for other in read:
            for reading in self.channel(other.measure or "", other.method, other.reference, other.unit):
                if own[other.id][reading.at] == YES and values[reading.at] == YES:
                    low_instants.add(reading.at)
        helpers = [self.value(name) for name in finding.or_with]
        near = quarters(finding.confirmed_within_hours or 0)
        out: list[int] = []
        for life in self.lives:
            confirmed = False
            for i in life:
                if values[i] != YES:
                    confirmed = False
                else:
                    pair = i in low_instants and any(
                        other in low_instants and other in life for other in range(i - near, i)
                    )
                    confirmed = confirmed or pair or any(helper[i] == YES for helper in helpers)
                out.append(YES if confirmed else min(values[i], UNKNOWN))
        return out

    def _ever(self, finding: Finding) -> list[int]:
        instants = {at for at, _, _ in self.gifts(finding.items)}
        after, quiet = self.value(finding.after or ""), self.value(finding.until_quiet or "")
        hours = quarters(finding.quiet_hours or 0)
        out: list[int] = []
        for life in self.lives:
            lower = self._latch(life, instants, [value == YES for value in after], quiet, hours)
            upper = self._latch(life, instants, [value != NO for value in after], quiet, hours)
            out += [YES if low else UNKNOWN if high else NO for low, high in zip(lower, upper, strict=True)]
        return out

    @staticmethod
    def _latch(
        life: range, instants: set[int], after: Sequence[bool], quiet: Sequence[int], hours: int
    ) -> list[bool]:
        """Set where something was given while `after`; cleared by `hours` of quiet."""
        out: list[bool] = []
        latched, silent, late = False, 0, -hours
        for i in life:
            if hours in (silent, i - late):
                latched = False
            if i in instants and after[i]:
                latched = True
                # Set when it has been quiet for long already: the hours are counted from this setting.
                late = i if silent >= hours else late
            silent, late = (0, -hours) if quiet[i] == YES else (silent + 1, late)
            out.append(latched)
        return out

    # Answers

    def intervals(self, until: datetime | None) -> list[Interval]:
        lasting = [name for name in self.reachable if self.scale.findings[name].form != "charted"]
        values = list(zip(*(self.value(name) for name in lasting), strict=True))
        changes = [i for i in range(1, self.size) if values[i] != values[i - 1]]
        changes += [i for i in self.turns if i > 0]
        stop = max(changes, default=None)
        windows = [end + 2 for _, end in self.doses if end is not None]
        if stop is None and max(windows, default=0) > self.size:
            longer = Course(self.patient, self.rows, self.scale, self.lib, self.known_at, max(windows))
            return longer.intervals(until)
        death = None if self.death_time is None else self.place(self.death_time)
        fatal = death is not None and any(
            row["measure"] == "death" and row.get("text") == self.scale.fatal
            and self.place(row["time"]) == death for row in self.rows
        )
        if self.as_of is not None:
            stop = self.as_of
        if death is not None:
            stop = death
        runs: list[list[Any]] = []
        upper = self.size if stop is None else stop
        for i in range(upper):
            state = self.state(i)
            if runs and runs[-1][2] == state:
                runs[-1][1] = i + 1
            else:
                runs.append([i, i + 1, state])
        if stop is None:
            runs[-1][1] = None
        if fatal and death is not None:
            runs.append([death, None, (5, 5, False, ("death",), (), (), tuple(sorted(self.standing_flags)))])
            if self.as_of is not None:
                runs[-1][1] = self.as_of
        out: list[Interval] = []
        for first, end, state in runs:
            start, finish = self.instant(first), None if end is None else self.instant(end)
            if until is not None:
                finish = until if finish is None else min(finish, until)
            if finish is None or start < finish:
                out.append((self.patient, start, finish, *state))
        return out

    @cached_property
    def looked_at(self) -> list[tuple[tuple[str, str | None, str | None, str | None], float | None]]:
        """Every channel a reachable finding reads, with its hold."""
        found = []
        for finding in (self.scale.findings[name] for name in self.reachable):
            channels = [(term.measure, None, None, term.unit) for term in finding.terms]
            if finding.form == "measure":
                channels = [(finding.measure or "", finding.method, finding.reference, finding.unit)]
            for channel in channels:
                hold = self.lib.measure(channel[0]).hold_hours
                found.append((channel, hold if finding.hold_hours is None else finding.hold_hours))
        return list(dict.fromkeys(found))

    @cached_property
    def turns(self) -> set[int]:
        """Where a reading that a finding looks at, and that does not stand for ever, is charted or lapses."""
        found: set[int] = set()
        for channel, hours in self.looked_at:
            limited = {k for k, read in enumerate(self.channel(*channel)) if lapse(read, hours)[0] < math.inf}
            for i, (former, now) in enumerate(pairwise(self.standing(*channel, hours)), start=1):
                if former != now and limited & {former, now}:
                    found.add(i)
        return found

    @cached_property
    def limited_by_age(self) -> bool:
        return any(self.scale.findings[name].bound == "age-limit" for name in self.reachable)

    @cached_property
    def patterns(self) -> list[tuple[int, ...]]:
        """The value of every reachable finding at every quarter hour."""
        return list(zip(*(self.value(name) for name in self.reachable), strict=True))

    @cached_property
    def row_values(self) -> list[list[int]]:
        """Every row as its findings say, `possible` or not."""
        return [self._rule(row) for row in self.scale.rows]

    def state(self, i: int) -> tuple[Any, ...]:
        """Grade and reasons at one quarter hour."""
        pattern = (self.patterns[i], self.flags(i))
        if pattern not in self._states:
            self._states[pattern] = self._state(i)
        return self._states[pattern]

    def _state(self, i: int) -> tuple[Any, ...]:
        rows = [
            (row, min(values[i], UNKNOWN) if row.possible else values[i])
            for row, values in zip(self.scale.rows, self.row_values, strict=True)
        ]
        grade = max((row.grade for row, value in rows if value == YES), default=0)
        up_to = max([grade, *(row.grade for row, value in rows if value != NO)])
        proving = [row for row, value in rows if value == YES and row.grade == grade]
        ambiguous = bool(proving) and all(row.ambiguous for row in proving)
        ambiguous = ambiguous or any(
            row.possible and row.ambiguous and row.grade > grade and values[i] == YES
            for row, values in zip(self.scale.rows, self.row_values, strict=True)
        )
        proofs = {name for row in proving for name in (*row.all, *row.any) if self.value(name)[i] == YES}
        listed = dict.fromkeys(name for row in self.scale.rows for name in (*row.all, *row.any))
        because = [name for name in listed if name in proofs]
        unproven = [row for row, value in rows if value == UNKNOWN and row.grade > grade]
        tops = {name for row in unproven for name in (*row.all, *row.any, *row.none)}
        waiting: set[str] = set()
        for name in self.unknown_under(tops, i):
            reads = self.scale.findings[name].form in ("measure", "weighted_sum")
            if reads and self._inner[name][i] == UNKNOWN:
                waiting.update(measures_of(self.scale.findings[name], self.lib))
        asked = tuple(
            item.id for item in self.scale.judgements if item.grade > grade and self.value(item.when)[i] != NO
        )
        return grade, up_to, ambiguous, tuple(because), tuple(sorted(waiting)), asked, self.flags(i)

    def unknown_under(self, names: set[str], i: int) -> set[str]:
        """The unknown among these findings, and the unknown under those that say why.

        A memory is followed only where the value before it is unknown: else nothing is missing now.
        """
        found: set[str] = set()
        for name in names:
            if self.value(name)[i] == UNKNOWN:
                finding = self.scale.findings[name]
                parts = {*finding.items, *finding.all, *finding.any, *finding.none} & {*finding.names}
                others = {*finding.names} - parts - {finding.until_quiet}
                inner = parts if self._inner[name][i] == UNKNOWN else set()
                found |= {name} | self.unknown_under(inner | others, i)
        return found

    @cached_property
    def doses(self) -> list[tuple[int, int | None]]:
        """Instant of every dose of a therapy and the instant its risk window ends."""
        found = []
        for row in self.rows:
            measure = self.lib.measure(row["measure"])
            if "therapy" in measure.classes:
                at, days = self.place(row["time"]), measure.risk_window_days
                found.append((at, None if days is None else at + quarters(24 * days)))
        return found

    @cached_property
    def watched(self) -> list[tuple[str, list[int], dict[int, int]]]:
        """(flag, which reading stands, reading to the instant from which it raises the flag)."""
        found: list[tuple[str, list[int], dict[int, int]]] = []
        for channel, hours in self.looked_at:
            measure, readings = self.lib.measure(channel[0]), self.channel(*channel)
            standing = self.standing(*channel, hours)
            since = {k: read.at for k, read in enumerate(readings) if read.on_default_limit}
            found.append(("default-limits", standing, since))
            if measure.kind == "infusion" and measure.stale_hours is not None:
                since = {
                    k: read.at + quarters(measure.stale_hours) for k, read in enumerate(readings)
                    if compare(read.span, "above", 0.0) == YES and not lapse(read, hours)[1]
                }
                found.append(("stale", standing, since))
        return [item for item in found if item[2]]

    @property
    def standing_flags(self) -> set[str]:
        """Flags of the definition, the patient whoever."""
        return {"draft"} if self.scale.status == "draft" else set()

    def flags(self, i: int) -> tuple[str, ...]:
        flags = self.standing_flags
        windows = [end for at, end in self.doses if at <= i]
        if not windows:
            flags.add("no-trigger")
        elif all(end is not None and i >= end for end in windows):
            flags.add("outside-window")
        for flag, standing, since in self.watched:
            if i >= since.get(standing[i], self.size):
                flags.add(flag)
        if self.limited_by_age and self._age(i) is None:
            flags.add("adult-assumed")
        flags.update(flag for flag, name in self.scale.flags.items() if self.value(name)[i] == YES)
        return tuple(sorted(flags))
