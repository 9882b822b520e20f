"""What is known of one patient at one moment: the ground every action, clock and test due stands on.

A course is a patient's whole record, graded once; a bedside is that record cut at a moment. Nothing later
than the moment, and nothing recorded later, is ever looked at.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

import pyarrow as pa

from tocsin.definitions.load import Library, library
from tocsin.episodes import episodes
from tocsin.facts import resolve
from tocsin.facts.instants import moment, written
from tocsin.grading.batch import grade_table, worth_compiling
from tocsin.grading.compile import compiled
from tocsin.grading.live import micros
from tocsin.grading.moments import Findings
from tocsin.grading.opcodes import HOUR
from tocsin.guidance.chart import SILENT, Chart, Fact
from tocsin.guidance.pending import Pending, joined

__all__ = [
    "NO", "SILENT", "UNKNOWN", "YES", "Bedside", "Chart", "Course", "Fact", "bedside", "courses", "moment",
    "written",
]  # fmt: skip
Found = Mapping[str, Any]
YES, UNKNOWN, NO = 2, 1, 0
NEVER = 2**63


@dataclass(frozen=True, eq=False)
class Bedside:
    """One patient at one moment.

    `history` holds, for each scale, the rows of the interval table up to `now` (times in microseconds, the
    last one standing); `states` what each finding says: 2 yes, 1 unknown, 0 no. `found` are the episodes.
    """

    patient: str
    now: int
    lib: Library
    chart: Chart
    history: Mapping[str, Sequence[Found]]
    states: Mapping[str, int]
    found: Mapping[str, Sequence[Found]]
    scale: str = "astct-2019"
    country: str | None = None

    @cached_property
    def rows(self) -> Sequence[Fact]:
        """The facts up to now, in order of time."""
        return self.chart.rows[: bisect_right(self.chart.times, self.now)]

    @cached_property
    def grades(self) -> Mapping[str, Found]:
        """Scale to the row that stands now."""
        return {scale: rows[-1] for scale, rows in self.history.items() if rows}

    def last(self, measure: str, within_hours: float | None = None) -> Fact | None:
        """The latest usable row of a measure; none older than `within_hours`."""
        for row in reversed(self.chart.until(measure, self.now)):
            if within_hours is not None and row["time"] <= self.now - within_hours * HOUR:
                return None
            if row.get("text") not in SILENT:
                return row
        return None

    def given(self, names: Sequence[str], within_hours: float | None = None) -> list[Fact]:
        """When these drugs (ids or classes) were given: one row for each instant and drug, in order of time.

        Rows that stop an infusion, or say that something is absent, are left out.
        """
        ids = dict.fromkeys(each for name in names for each in self.lib.classes.get(name, (name,)))
        since = None if within_hours is None else self.now - round(within_hours * HOUR)
        out: list[tuple[int, str, Fact]] = []
        for name in ids:
            if name not in self.chart.by_measure:
                continue
            times, rows = self.chart.gifts(name, self.lib)
            first = 0 if since is None else bisect_right(times, since)
            last = bisect_right(times, self.now)
            out += [(times[k], name, rows[k]) for k in range(first, last)]
        return [row for *_, row in sorted(out, key=lambda each: each[:2])]

    def hours_since(self, t: int) -> float:
        """Hours from `t` to now."""
        return (self.now - t) / HOUR

    @cached_property
    def doses(self) -> Sequence[Fact]:
        """Doses of the therapy, in order of time."""
        return self.given(["therapy"])

    @cached_property
    def therapy(self) -> str | None:
        """The therapy of the latest dose; none where none is charted."""
        return str(self.doses[-1]["measure"]) if self.doses else None

    @cached_property
    def therapy_classes(self) -> tuple[str, ...]:
        """The classes of that therapy, such as `car-t`."""
        return self.lib.measure(self.therapy).classes if self.therapy else ()

    @cached_property
    def weight(self) -> Fact | None:
        """The weight (kg) a dose is calculated from.

        The latest charted as a dosing weight; else the latest at or before the latest dose of the therapy;
        else the first charted: a patient who leaks and is given fluid grows heavier, and must not be given
        more of a drug for it. Nothing older than the weight's hold.
        """
        hold = self.lib.measure("weight").hold_hours
        rows = [
            row
            for row in self.chart.until("weight", self.now)
            if row.get("text") not in SILENT
            and row.get("value") is not None
            and (hold is None or row["time"] > self.now - hold * HOUR)
        ]
        dosing = [row for row in rows if row.get("method") == "dosing"]
        before = [row for row in rows if self.doses and row["time"] <= self.doses[-1]["time"]]
        chosen = dosing or before or rows[:1]
        return chosen[-1] if chosen else None

    @cached_property
    def weight_problem(self) -> str:
        """Why the latest weight charted could not be used; empty where it could, or none is charted."""
        rows = self.chart.until("weight", self.now)
        if rows and rows[-1].get("text") in SILENT:
            return f"the weight charted at {written(rows[-1]['time'])} is impossible or cannot be read"
        return ""

    @cached_property
    def age_years(self) -> float | None:
        """The age charted last."""
        row = self.last("age")
        return None if row is None or row.get("value") is None else float(row["value"])

    @cached_property
    def died(self) -> int | None:
        """When the patient died; none if alive as far as is known."""
        rows = self.chart.until("death", self.now)
        return int(rows[0]["time"]) if rows else None

    @cached_property
    def episode(self) -> Found | None:
        """The running or latest CRS episode under `scale`: its row, with `running` and `peak` as of now.

        An episode is running until the gap that will have closed it begins.
        """
        rows = [row for row in self.found.get(self.scale, ()) if row["start"] <= self.now]
        if not rows:
            return None
        row = rows[-1]
        since = [each for each in self.history.get(self.scale, ()) if each["start"] >= row["start"]]
        peak = max((each["grade"] for each in since), default=0)
        running = row["end"] is None or self.now < row["end"]
        return {**row, "running": running, "end": None if running else row["end"], "peak": peak}

    def graded_since(self, grade: int, scale: str | None = None) -> int | None:
        """Since when the standing grade has been at least `grade` without a break."""
        since: int | None = None
        for row in reversed(self.history.get(scale or self.scale, ())):
            if row["grade"] < grade:
                break
            since = int(row["start"])
        return since

    def grade_at(self, t: int, scale: str | None = None) -> int:
        """The grade that stood at an instant up to now; 0 before the record."""
        for row in reversed(self.history.get(scale or self.scale, ())):
            if row["start"] <= t:
                return int(row["grade"])
        return 0


class Course:
    """One patient's record, graded once; `at` cuts it at any moment.

    At a moment when something that had happened was not yet recorded, the patient is graded anew from what
    was known then: what was said at 10:00 must not be changed by what was written down at noon.
    """

    def __init__(
        self,
        facts: pa.Table,
        scales: Sequence[str],
        lib: Library,
        findings: Findings | None = None,
        *,
        history: Mapping[str, Sequence[Found]] | None = None,
        found: Mapping[str, Sequence[Found]] | None = None,
    ) -> None:
        self.facts, self.scales, self.lib, self.findings = facts, tuple(scales), lib, findings
        self.patient = str(facts["patient_id"][0].as_py())
        rows = charted(facts)
        self.corrected = any(row.get("replaces") or row.get("text") == "retracted" for row in rows)
        self.chart = Chart(rows)
        self.unknown = joined(
            (row["time"], row["recorded"])
            for row in self.chart.rows
            if row.get("recorded") is not None and row["recorded"] > row["time"]
        )
        if history is None:
            history, found = _graded(facts, self.scales, lib)
        self.history = {scale: list(each) for scale, each in history.items()}
        self.starts = {scale: [row["start"] for row in each] for scale, each in self.history.items()}
        self.found = found or {}
        self.carried: dict[str, list[Found]] = {}
        self.pending: Pending | None = None

    @property
    def first(self) -> int:
        """When the record begins."""
        return int(self.chart.times[0])

    @property
    def last(self) -> int:
        """When the last fact was charted."""
        return int(self.chart.times[-1])

    def at(self, now: int) -> Bedside:
        """The patient at `now` (microseconds)."""
        return next(self.beds([now]))

    def beds(self, moments: Sequence[int]) -> Iterator[Bedside]:
        """The patient at each of these moments, ascending."""
        known = [now for now in moments if not self._waits(now)]
        states: list[dict[str, int]] = [{} for _ in known]
        if self.findings is not None:
            if len(known) == 1 and worth_compiling(len(self.facts)):
                states = [self.findings.state(self.facts, known[0])]
            else:
                states = self.findings.states(self.chart.rows, known)
        told = dict(zip(known, states, strict=True))
        for now in moments:
            if now not in told:
                yield self._waiting(now) if not self.corrected else self._known(now)
                continue
            history = {scale: self._until(scale, now) for scale in self.scales}
            yield Bedside(self.patient, now, self.lib, self.chart, history, told[now], self.found)

    def _waits(self, now: int) -> bool:
        """Whether something that had happened by `now` was recorded, or corrected, later."""
        if self.corrected:
            return True
        place = bisect_right(self.unknown, (now, NEVER)) - 1
        return place >= 0 and now < self.unknown[place][1]

    def _until(self, scale: str, now: int) -> list[Found]:
        """The rows up to now; after the last of them nothing changes, and it is carried on."""
        rows = self.history.get(scale, [])[: bisect_right(self.starts.get(scale, []), now)]
        if not rows or rows[-1]["end"] is None or rows[-1]["end"] > now:
            return rows
        if not self.carried:
            after = max(int(each[-1]["end"] or 0) for each in self.history.values() if each)
            self.carried = _graded(self.facts, self.scales, self.lib, after)[0]
        beyond = self.carried.get(scale, rows)
        return [*beyond[:-1], {**beyond[-1], "end": None if beyond[-1]["end"] is None else now + 1}]

    def _waiting(self, now: int) -> Bedside:
        """The patient at a moment at which something that had happened was not yet recorded."""
        if self.pending is None:
            self.pending = Pending(self.chart.rows, self.scales, self.lib, self.findings)
        waiting = self.pending.waiting(now)
        late = {self.chart.rows[i]["measure"] for i in waiting}
        if late & _read_by(self.lib) or any(name in self.chart.by_measure for name in _therapies(self.lib)):
            return self._known(now)
        first, tail, states = self.pending.at(now, waiting)
        newer = _split(tail, ("start", "end")).get("twin", {})
        history = {
            scale: [
                *(
                    row
                    for row in self.history.get(scale, ())
                    if row["end"] is not None and row["end"] < first
                ),
                *newer.get(scale, ()),
            ]
            for scale in self.scales
        }
        missing = set(waiting)
        place = bisect_right(self.chart.times, now)
        chart = Chart(row for i, row in enumerate(self.chart.rows[:place]) if i not in missing)
        return Bedside(self.patient, now, self.lib, chart, history, states, self.found)

    def _known(self, now: int) -> Bedside:
        """The patient at `now` from what was recorded by then."""
        facts = resolve(self.facts, moment(now))
        if not len(facts):
            state = self.findings.states([], [now])[0] if self.findings else {}
            return Bedside(self.patient, now, self.lib, Chart([]), {}, state, {})
        history, found = _graded(facts, self.scales, self.lib, now)
        chart = Chart(facts.to_pylist())
        state = self.findings.states(chart.rows, [now])[0] if self.findings else {}
        return Bedside(self.patient, now, self.lib, chart, history, state, found)


def courses(facts: pa.Table, scales: Sequence[str], lib: Library, findings: Findings) -> Iterator[Course]:
    """Every patient of a table, all graded in one pass."""
    facts = facts.sort_by("patient_id")
    history, found = _by_patient(facts, scales, lib, None)
    for patient, table in _tables(facts):
        yield Course(
            table, scales, lib, findings, history=history.get(patient, {}), found=found.get(patient, {})
        )


def bedside(
    facts: pa.Table,
    now: int | datetime,
    *,
    scales: Sequence[str] = ("astct-2019", "icans-astct-2019"),
    findings: Findings | None = None,
    lib: Library | None = None,
) -> Bedside:
    """One patient's bedside at a moment.

    >>> from datetime import timedelta
    >>> from tocsin.testing import START, patient
    >>> ill = bedside(patient("0 h teclistamab", "20 h temperature 39.0 Cel"), START + timedelta(hours=21))
    >>> ill.therapy, ill.grades["astct-2019"]["grade"], ill.hours_since(ill.doses[-1]["time"])
    ('teclistamab', 1, 21.0)
    """
    return Course(facts, scales, lib or library(), findings).at(micros(now))


def charted(facts: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table, times in microseconds: column by column, which is three times as fast as rows."""
    columns = {
        name: (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for name, column in zip(facts.column_names, facts.columns, strict=True)
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _tables(facts: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """A table sorted by patient, patient by patient."""
    names = facts["patient_id"].to_pylist()
    first = 0
    while first < len(names):
        last = bisect_right(names, names[first], lo=first)
        yield names[first], facts.slice(first, last - first)
        first = last


def _graded(
    facts: pa.Table, scales: Sequence[str], lib: Library, now: int | None = None
) -> tuple[dict[str, list[Found]], dict[str, list[Found]]]:
    """One patient's intervals and episodes by scale; with `now`, as known then and carried to then."""
    history, found = _by_patient(facts, scales, lib, now)
    patient = str(facts["patient_id"][0].as_py())
    return history.get(patient, {}), found.get(patient, {})


def _by_patient(
    facts: pa.Table, scales: Sequence[str], lib: Library, now: int | None
) -> tuple[dict[str, dict[str, list[Found]]], dict[str, dict[str, list[Found]]]]:
    # what is charted at `now` itself counts; an answer as of t knows what lies before t
    as_of = None if now is None else moment(now + 1)
    intervals = grade_table(facts, tuple(scales), lib=lib, as_of=as_of)
    crs = [scale for scale in scales if lib.scale(scale).outcome == "crs"]
    spans = episodes(intervals, facts, lib=lib, as_of=as_of)
    return _split(intervals, ("start", "end")), {
        patient: {scale: rows for scale, rows in each.items() if scale in crs}
        for patient, each in _split(spans, ("start", "end", *(f"first_{n}" for n in range(1, 6)))).items()
    }


def _split(table: pa.Table, times: Sequence[str]) -> dict[str, dict[str, list[Found]]]:
    """Rows by patient and scale, in order of time, times in microseconds."""
    for name in times:
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].cast(pa.int64()))
    out: dict[str, dict[str, list[Found]]] = {}
    for row in table.to_pylist():
        out.setdefault(row["patient_id"], {}).setdefault(row["scale"], []).append(row)
    for scales in out.values():
        for rows in scales.values():
            rows.sort(key=lambda row: int(row["start"]))
    return out


@lru_cache(maxsize=8)
def _read_by(lib: Library, scale: str = "astct-2019") -> frozenset[str]:
    """The measures on which episodes of the answer's scale rest."""
    return frozenset(compiled((scale,), lib).measures) | {"weight", "age"}


@lru_cache(maxsize=8)
def _therapies(lib: Library) -> tuple[str, ...]:
    return tuple(lib.classes.get("therapy", ()))
