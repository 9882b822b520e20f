"""One patient's facts and intervals, cut out of the tables and set on a clock of hours since the dose."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library
from tocsin.definitions.schema import Measure, TocsinError, near
from tocsin.plots.look import number, unit_text

HOUR = timedelta(hours=1)
RUN_IN_HOURS = 12.0  # what is shown before the first dose, where anything was charted
MARGIN = 0.03  # of the span, left empty after the last fact


class PlotError(TocsinError):
    """A picture that cannot be drawn from what was given."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One charted value; `hours` and `end` count from the dose (or the first fact)."""

    hours: float
    measure: str
    value: float | None
    text: str | None
    unit: str | None
    end: float | None
    ref_high: float | None
    hover: dict[str, str]


@dataclass(frozen=True, slots=True)
class Interval:
    """One run of one grade; `end` None means open."""

    scale: str
    start: float
    end: float | None
    grade: int
    up_to: int
    ambiguous: bool
    because: tuple[str, ...]
    waiting_for: tuple[str, ...]
    judgement: tuple[str, ...]
    flags: tuple[str, ...]
    definition: str

    @property
    def unmeasured(self) -> bool:
        """Nobody measuring: nothing is proven, something is not ruled out, and a measure is missing."""
        return self.grade == 0 and self.up_to > 0 and bool(self.waiting_for)


@dataclass(frozen=True, slots=True)
class Course:
    """Everything one timeline is drawn from. Hours count from `zero`."""

    patient: str
    zero: datetime
    zone: tzinfo
    zone_name: str
    therapies: tuple[str, ...]
    scales: tuple[str, ...]
    facts: dict[str, list[Fact]]
    intervals: list[Interval]
    start: float
    end: float
    now: float | None
    known_until: float
    lib: Library

    def of(self, *measures: str) -> list[Fact]:
        """The facts of these measures inside the window, in time order."""
        found = [f for m in measures for f in self.facts.get(m, ()) if self.start <= f.hours <= self.end]
        return sorted(found, key=lambda fact: fact.hours)

    def local(self, hours: float) -> datetime:
        return (self.zero + hours * HOUR).astimezone(self.zone)

    def when(self, hours: float) -> str:
        """`Tue 3 Mar 14:05 (+61.2 h)`, for tooltips."""
        at = self.local(hours)
        return f"{at:%a} {at.day} {at:%b %H:%M} ({hours:+.1f} h)"


def read_course(
    facts: pa.Table,
    intervals: pa.Table,
    *,
    lib: Library,
    patient: str | None,
    scales: Sequence[str] | None,
    now: datetime | None,
    timezone: str,
    hours: tuple[float, float] | None,
) -> Course:
    """Cut one patient out of both tables. Raises `PlotError` naming what is missing and the fix."""
    patient = _one_patient(facts, patient)
    if now is not None and now.tzinfo is None:
        raise PlotError(f"now = {now} has no time zone\n  fix: datetime(..., tzinfo=UTC)")
    rows = facts.filter(pc.equal(facts["patient_id"], patient)).to_pylist()
    withdrawn = {row["replaces"] for row in rows if row.get("replaces")}
    rows = [
        row
        for row in rows
        if row["text"] != "retracted"
        and (row["source"] is None or row["source"] not in withdrawn)
        and (now is None or (row["recorded"] or row["time"]) <= now)
        and (now is None or row["time"] <= now)
    ]
    if not rows:
        raise PlotError(
            f"patient `{patient}` has no facts to draw\n"
            "  why: all of them were withdrawn, or became known after `now`\n"
            "  fix: a later `now`, or a table that holds the patient's facts"
        )
    given = set(lib.classes.get("therapy", ()))
    doses = sorted((row for row in rows if row["measure"] in given), key=lambda row: row["time"])
    zero = _aware(min(row["time"] for row in doses or rows))
    zone = UTC if timezone == "UTC" else _zone(timezone)
    found: list[Fact] = []
    by_measure: dict[str, list[Fact]] = {}
    for row in rows:
        fact = _fact(row, zero, zone, lib)
        found.append(fact)
        by_measure.setdefault(fact.measure, []).append(fact)
    for sequence in by_measure.values():
        sequence.sort(key=lambda fact: fact.hours)
    spans, names = _intervals(intervals, patient, scales, zero)
    present = None if now is None else (now - zero) / HOUR
    start, end, known = _window(found, spans, bool(doses), present, hours)
    return Course(
        patient=patient,
        zero=zero,
        zone=zone,
        zone_name=timezone,
        therapies=tuple(dict.fromkeys(row["measure"] for row in doses)),
        scales=names,
        facts=by_measure,
        # What was not yet so at `now`, or lies outside the window, is neither drawn nor counted as a peak.
        intervals=[i for i in spans if i.start < known and (i.end is None or i.end > start)],
        start=start,
        end=end,
        now=present,
        known_until=known,
        lib=lib,
    )


def _one_patient(facts: pa.Table, patient: str | None) -> str:
    known = sorted(pc.unique(facts["patient_id"]).to_pylist())
    if not known:
        raise PlotError("the facts table is empty\n  fix: read a file that holds a patient's facts")
    if patient is None:
        if len(known) > 1:
            among = ", ".join(known[:5]) + (" ..." if len(known) > 5 else "")
            raise PlotError(
                f"the facts hold {len(known)} patients and a timeline shows one\n"
                f"  fix: patient={known[0]!r}   (among: {among})"
            )
        return str(known[0])
    if patient not in known:
        among = ", ".join(known[:5])
        raise PlotError(f"no patient `{patient}` in the facts{near(patient, known)}\n  fix: one of: {among}")
    return patient


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise PlotError(f"no time zone `{name}`\n  fix: an IANA name such as Europe/Berlin, or UTC") from None


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _fact(row: dict[str, Any], zero: datetime, zone: tzinfo, lib: Library) -> Fact:
    hours = (_aware(row["time"]) - zero) / HOUR
    measure = row["measure"]
    title = lib.measures[measure].title if measure in lib.measures else measure
    said = [row["text"] or "", "" if row["value"] is None else f"{row['value']:.6g}", unit_text(row["unit"])]
    recorded = row["recorded"]
    at = _aware(row["time"]).astimezone(zone)
    hover = {
        "fact": f"{title} {' '.join(filter(None, said))}".strip(),
        "at": f"{at:%a} {at.day} {at:%b %H:%M} ({hours:+.1f} h)",
        "source": row["source"] or "not said",
        "recorded": f"{_aware(recorded).astimezone(zone):%Y-%m-%d %H:%M}" if recorded else "when true",
    }
    if row["method"]:
        hover["fact"] += f" ({row['method']})"
    end = None if row["end"] is None else (_aware(row["end"]) - zero) / HOUR
    return Fact(hours, measure, row["value"], row["text"], row["unit"], end, row["ref_high"], hover)


def _intervals(
    table: pa.Table, patient: str, scales: Sequence[str] | None, zero: datetime
) -> tuple[list[Interval], tuple[str, ...]]:
    rows = table.filter(pc.equal(table["patient_id"], patient)).to_pylist()
    present = tuple(dict.fromkeys(row["scale"] for row in rows))
    wanted = present if scales is None else tuple(scales)
    for scale in wanted:
        if scale not in present:
            raise PlotError(
                f"patient `{patient}` was not graded under `{scale}`{near(scale, present)}\n"
                f"  fix: grade it first; the intervals hold: {', '.join(present) or 'none'}"
            )
    found = [
        Interval(
            row["scale"],
            (_aware(row["start"]) - zero) / HOUR,
            None if row["end"] is None else (_aware(row["end"]) - zero) / HOUR,
            row["grade"],
            row["up_to"],
            bool(row["ambiguous"]),
            tuple(row["because"] or ()),
            tuple(row["waiting_for"] or ()),
            tuple(row["judgement"] or ()),
            tuple(row["flags"] or ()),
            row["definition"] or "",
        )
        for row in rows
        if row["scale"] in wanted
    ]
    return sorted(found, key=lambda i: (wanted.index(i.scale), i.start)), wanted


def _window(
    facts: list[Fact],
    spans: list[Interval],
    dosed: bool,
    now: float | None,
    hours: tuple[float, float] | None,
) -> tuple[float, float, float]:
    """First and last hour shown, and the hour up to which something is known."""
    first = min(fact.hours for fact in facts)
    last = max(max(fact.hours for fact in facts), max(f.hours if f.end is None else f.end for f in facts))
    known = last if now is None else now
    if hours is not None:
        start, end = hours
        if not start < end:
            raise PlotError(
                f"hours = {hours} is not a window\n  fix: hours=(first, last), in hours since the dose"
            )
        return start, end, min(known, end)
    # A weight from last month must not squeeze the days that matter.
    start = max(first, -RUN_IN_HOURS) if dosed else first
    if now is None:
        # After the last fact the grade lapses as its findings do: show that, but not for ever.
        lapse = max((i.end for i in spans if i.end is not None), default=last)
        known = min(max(lapse, last), last + 0.06 * max(last - start, 1.0))
    span = max(known - start, 1.0)
    return start, known + (MARGIN * span if now is not None else 0.0), known


def runs(facts: Iterable[Fact], hold: float | None) -> list[list[Fact]]:
    """Split readings where nobody measured for longer than `hold` hours, or a reading was unusable."""
    found: list[list[Fact]] = []
    unbroken = False
    for fact in facts:
        if fact.value is None:
            unbroken = False
            continue
        if not unbroken or (hold is not None and fact.hours - found[-1][-1].hours > hold):
            found.append([])
        found[-1].append(fact)
        unbroken = True
    return found


def thin(facts: list[Fact], bin_hours: float) -> list[Fact]:
    """At most the lowest and the highest reading of every `bin_hours`: nothing seen on screen is lost."""
    kept: dict[int, list[Fact]] = {}
    unusable = [fact for fact in facts if fact.value is None]
    for fact in facts:
        if fact.value is not None:
            kept.setdefault(int(fact.hours // bin_hours), []).append(fact)
    found = list(unusable)
    for group in kept.values():
        low = min(group, key=lambda fact: fact.value or 0.0)
        high = max(group, key=lambda fact: fact.value or 0.0)
        found.extend([low] if low is high else [low, high])
    return sorted(found, key=lambda fact: fact.hours)


def held(facts: list[Fact], hold: float | None, until: float) -> list[tuple[float, float, Fact]]:
    """Step function of readings: each holds to its `end`, else to the next, at most `hold` hours."""
    found = []
    for i, fact in enumerate(facts):
        end = until if hold is None else fact.hours + hold
        if fact.end is not None:
            end = fact.end
        if i + 1 < len(facts):
            end = min(end, facts[i + 1].hours)
        end = min(end, until)
        if end > fact.hours:
            found.append((fact.hours, end, fact))
    return found


def fever_limit(course: Course) -> float | None:
    """The temperature at which the scales asked for (else any scale) begin to count fever, in Cel."""
    for scale in (*course.scales, *course.lib.scales):
        found = course.lib.scale(scale).findings if scale in course.lib.scales else {}
        # `fever` by name first: a scale may also ask for a higher temperature somewhere.
        for finding in sorted(found.values(), key=lambda finding: finding.id != "fever"):
            plain = isinstance(finding.bound, float) and finding.reference is None
            if finding.measure == "temperature" and finding.op in ("at_least", "above") and plain:
                return float(finding.bound or 0)
    return None


def finding_title(lib: Library, scale: str, finding: str) -> str:
    """What the finding is called where a grade changes."""
    if scale in lib.scales:
        known = lib.scale(scale).findings.get(finding)
        if known is not None and known.title:
            return known.title
    return finding.replace("-", " ").replace("_", " ")


def scale_name(lib: Library, scale: str) -> str:
    """The id of a scale spelt as its title spells it: `astct-2019` as `ASTCT 2019`."""
    if scale not in lib.scales:
        return scale
    spelt = {word.strip("(),").lower(): word.strip("(),") for word in lib.scale(scale).title.split()}
    words = re.sub(r"-(?!based)", " ", scale).split()
    return " ".join(spelt.get(word, word) for word in words)


def pressure_limit(course: Course, measure: Measure) -> tuple[float, str] | None:
    """The patient's own hypotension limit in mmHg and how to name it, from the definition's age bands.

    A usual pressure (median before the dose) already under the age limit moves the limit down, by
    the fall the definition calls hypotension then.
    """
    if not measure.limits:
        return None
    ages = [f.value for f in course.facts.get("age", ()) if f.value is not None]
    oldest = max(measure.limits, key=lambda limit: limit.age_from)
    age = ages[0] if ages else oldest.age_from
    band = next((b for b in measure.limits if b.age_from <= age < b.age_below), None)
    if band is None:
        return None
    limit = band.below + band.plus_per_year * age
    name = f"limit {number(limit)}" + ("" if ages else " (age not charted)")
    window = measure.baseline_hours or 0.0
    usual = [
        f.value
        for f in course.facts.get(measure.id, ())
        if f.value is not None and course.therapies and -window <= f.hours < 0
    ]
    if usual and median(usual) < limit and (measure.chronic_fall_percent or measure.chronic_fall):
        base = median(usual)
        falls = [
            base * (1 - (measure.chronic_fall_percent or 100) / 100),
            base - (measure.chronic_fall or base),
        ]
        limit = min(limit, max(falls))
        name = f"limit {number(limit)} (usual {number(base)})"
    return limit, name
