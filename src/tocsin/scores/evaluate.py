"""One score of one patient at ascending moments."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import inf, log2

from tocsin.definitions.load import Library
from tocsin.definitions.scale import measures_of
from tocsin.definitions.score import Score, score_definition
from tocsin.definitions.score_window import ScoreWindow, Timing, timing
from tocsin.definitions.shared import resting_on
from tocsin.definitions.workup import Marker, markers
from tocsin.grading.moments import Findings, findings_of
from tocsin.grading.opcodes import HOUR
from tocsin.scores.feeds import Cut
from tocsin.scores.items import Asked, Ground, item_feed
from tocsin.scores.performance import positive_predictive_value, probability
from tocsin.scores.record import Record
from tocsin.scores.total import total
from tocsin.scores.value import Input, Item, Value

#: What a patient without any therapy or lymphodepletion charted is before, as far as the record says.
BEFORE = "pre-ld"


@lru_cache(maxsize=64)
def asked_findings(name: str, lib: Library) -> Findings | None:
    """The findings a score asks, compiled once; none where it asks none."""
    score = score_definition(name, lib)
    if not score.findings:
        return None
    known = findings_of(score.use, lib)
    return Findings({each.id: each for each in resting_on(known, list(score.findings))}, lib)


class Course:
    """One score over one patient's record.

    `cut` narrows it to the rows of a window; the values are then not limited by their age.
    """

    def __init__(
        self, score: Score, record: Record, cut: Cut | None = None, window: str | None = None
    ) -> None:
        self.score, self.record, self.cut, self.window = score, record, cut, window
        lib = record.lib
        self.timing = timing(lib)
        self.findings = asked_findings(score.id, lib)
        waits = {} if self.findings is None else {
            name: self.findings.waiting(name) for name in score.findings
        }
        ground = Ground(record, self.course, cut, waits)
        self.feeds = [item_feed(item, ground) for item in score.items]
        self.markers = [Masked(marker, record) for marker in _markers(score, lib)]
        self.lymphodepletion = record.given(self.timing.lymphodepletion)

    def course(self, now: int) -> int | None:
        """The first dose of the course that runs."""
        return self.record.course(now, self.timing.course_gap_hours)

    def values(self, moments: Sequence[int]) -> Iterator[Value]:
        """The score at each of these moments, ascending."""
        states: Iterable[Mapping[str, int]] = ({} for _ in moments)
        if self.findings is not None:
            reads = {name for each in self.score.findings for name in self.read_by(each)}
            rows = [row for name in reads for row in self.record.of(name)]
            states = self.findings.states(rows, moments)
        for now, state in zip(moments, states, strict=True):
            yield self._value(now, [feed.at(Asked(now, state)) for feed in self.feeds])

    def read_by(self, finding: str) -> tuple[str, ...]:
        """Every measure, drug and condition a finding reads."""
        assert self.findings is not None
        made = resting_on(self.findings.findings, [finding])
        return tuple(sorted({name for each in made for name in measures_of(each, self.record.lib)}))

    def points(self) -> list[int]:
        """Every instant at which the answer may change, ascending."""
        found = {point for feed in self.feeds for point in feed.points()}
        found |= set(self._of_findings())
        edges = [window.from_hours for window in self._windows()] + [
            window.to_hours for window in self._windows()
        ]
        edges += [edge for item in self.score.items if item.reads for edge in item.reads.since_dose or ()]
        for dose in self.record.dose_times:
            found |= {dose, *(dose + edge * HOUR for edge in edges)}
        found |= set(self.lymphodepletion)
        first = self.record.first
        if first is not None:
            found.add(first)
        return sorted({round(point) for point in found if first is not None and first <= point < inf})

    def _of_findings(self) -> Iterator[float]:
        """When a finding may change: at each row it reads, and when one lapses or has lasted long enough."""
        if self.findings is None:
            return
        lib = self.record.lib
        for name in self.score.findings:
            made = resting_on(self.findings.findings, [name])
            waits = {0.0}
            for each in made:
                own = (each.hold_hours, each.within_hours, each.for_hours, each.confirmed_within_hours)
                waits |= {hours for hours in own if hours}
            # a row may lapse, and a lapse may itself be what has to last
            read = self.read_by(name)
            measures = [lib.measure(one) for one in read]
            lapses = {0.0} | {
                hours for one in measures for hours in (one.hold_hours, one.stale_hours) if hours
            }
            steps = sorted({lapse + wait for lapse in lapses for wait in waits})
            for one in read:
                for row in self.record.of(one):
                    for start in (row["time"], row["end"]):
                        if start is not None:
                            yield from (start + step * HOUR for step in steps)

    def _windows(self) -> list[ScoreWindow]:
        """The windows, around the dose, that the score was derived in."""
        known = [self.timing.windows[name] for name in self.score.windows]
        return [each for each in known if each.anchor == "dose"]

    def _value(self, now: int, items: list[Item]) -> Value:
        score = self.score
        low, high = total(score, items)
        inputs = [each for item in items for each in item.inputs]
        window, flags = self._when(now)
        flags += [flag for each in inputs if each.state == "used" for flag in each.flags]
        told = self._masked(inputs)
        flags += list(told)
        population, differs = self._population(now)
        flags += differs
        notes = list(told.values())
        for item in score.items:
            if item.if_missing == "no" and not _inputs(items, item.id):
                notes.append(f"{item.title}: {item.reading}")
        if score.item_alarm and any((item.low or 0.0) >= score.item_alarm[0] for item in items):
            flags.append("one-item-alarm")
            notes.append(score.item_alarm[1])
        if score.status != "checked":
            flags.append(score.status)
        p_low, p_high = self._probability(low, high)
        notes += self._predictive(low)
        notes += score.cautions
        notes += [score.attribution] if score.attribution else []
        settled = low is not None and low == high  # a rule may be, whatever its later steps would say
        missing = () if settled else tuple(dict.fromkeys(name for item in items for name in item.missing))
        if low is None and not missing:
            missing = tuple(
                item.id for item, rule in zip(items, score.items, strict=True)
                if rule.role == "denominator" and item.low is not None and item.low <= 0
            )  # fmt: skip
            notes.append(f"{', '.join(missing)}: 0, or not told apart from 0: nothing can be divided by it")
        memory = any(item.status == "memory" for item in items if item.low != 0 or item.high != 0)
        return Value(
            patient=self.record.patient, score=score.id, at=now, low=low, high=high, unit=score.unit,
            band=self._band(low, high, window), probability_low=p_low, probability_high=p_high,
            items=tuple(items), missing=missing, flags=tuple(dict.fromkeys(flags)),
            notes=tuple(dict.fromkeys(notes)), status="memory" if memory else score.status,
            definition=score.hash, title=score.title, window=window, population=population, log2=score.log2,
            evidence=score.evidence_line, source=score.source,
        )  # fmt: skip

    def _when(self, now: int) -> tuple[str | None, list[str]]:
        """The window a moment lies in, as far as was known by then, and what to flag."""
        if self.window is not None:
            return self.window, []
        if not self.score.windows:
            return None, []
        dose = self.course(now)
        if dose is None:
            begun = bisect_right(self.lymphodepletion, now)
            if BEFORE in self.score.windows and not begun:
                return BEFORE, ["window-presumed"]
            return None, ["outside-window"]
        for window in self._windows():
            if window.from_hours * HOUR <= now - dose < window.to_hours * HOUR:
                return window.id, []
        return None, ["outside-window"]

    def _masked(self, inputs: Iterable[Input]) -> dict[str, str]:
        """Flags and their words for inputs that cannot be read after a drug or a transfusion."""
        told: dict[str, str] = {}
        for each in inputs:
            for marker in self.markers:
                if each.state == "used" and each.measure in marker.marker.measures:
                    told.update(marker.at(each.time))
        return told

    def _population(self, now: int) -> tuple[str, list[str]]:
        """Whether the patient's therapy is one the score was derived in."""
        therapy, lib = self.record.therapy(now), self.record.lib
        if not self.score.population.classes:
            return "differs", ["not-derived-in-cell-therapy"]
        if therapy is None:
            return "unknown", ["population-unknown"]
        kinds = (therapy, *lib.measure(therapy).classes)
        if any(name in self.score.population.classes for name in kinds):
            return "matches", []
        return "differs", ["outside-population"]

    def _band(self, low: float | None, high: float | None, window: str | None) -> str | None:
        if low is None or high is None:
            return None
        if self.score.open_labels and (int(low), int(high)) in self.score.open_labels:
            return self.score.open_labels[int(low), int(high)]
        for label in self.score.labels:
            timely = not label.windows or window in label.windows
            if timely and label.span.covers(low, high):
                return label.label
        return None

    def _probability(self, low: float | None, high: float | None) -> tuple[float | None, float | None]:
        if not self.score.probability or low is None or high is None:
            return None, None
        return probability(self.score.probability, low)[0], probability(self.score.probability, high)[1]

    def _predictive(self, low: float | None) -> list[str]:
        """What a positive rule means where few have it."""
        told = self.score.performance
        if not low or told is None or not told.prevalences:
            return []
        parts = [
            f"{100 * positive_predictive_value(told.sensitivity, told.specificity, share):.0f} % at {text}"
            for share, text in told.prevalences
        ]
        return [f"of positives, right: {'; '.join(parts)}"]


class Masked:
    """One marker rule over one patient's record."""

    def __init__(self, marker: Marker, record: Record) -> None:
        self.marker = marker
        self.given = record.given(marker.given)

    def at(self, time: int) -> dict[str, str]:
        """The flag and its words for a value drawn at `time`."""
        n = bisect_right(self.given, time)
        if not n:
            return {}
        hours = (time - self.given[n - 1]) / HOUR
        said = self.marker.says if self.marker.status != "memory" else f"{self.marker.says} (memory)"
        if hours < self.marker.hours:
            return {self.marker.id: said}
        if hours < self.marker.hours_to:
            return {f"{self.marker.id}-perhaps": f"perhaps still: {said}"}
        return {}


def _markers(score: Score, lib: Library) -> list[Marker]:
    return [each for each in markers(lib) if set(each.measures) & set(score.measures)]


def _inputs(items: Iterable[Item], name: str) -> tuple[Input, ...]:
    return next((item.inputs for item in items if item.id == name), ())


def change(now: Value, before: Value) -> float | None:
    """By how much the base-2 logarithm has changed; none where either is not one number."""
    if not (now.known and before.known and now.low and before.low and now.low > 0 and before.low > 0):
        return None
    return round(log2(now.low) - log2(before.low), 6)


def window_cut(record: Record, window: ScoreWindow, times: Timing, until: int) -> Cut | None:
    """The span of a window for the patient's latest course; none where it cannot be placed."""
    dose = record.course(until, times.course_gap_hours)
    anchor: int | None = dose
    if window.anchor == "lymphodepletion":
        begun = record.given(times.lymphodepletion)
        if dose is not None:
            begun = [t for t in begun if dose - times.lymphodepletion_hours * HOUR <= t <= dose]
        anchor = begun[0] if begun else None
    if anchor is None:
        return None
    return Cut(anchor + window.from_hours * HOUR, anchor + window.to_hours * HOUR)

