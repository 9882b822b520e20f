"""What is new in a record: fever, a vasopressor, more oxygen, another grade, ferritin that rises again.

Each moment rests only on what was charted by then, so an answer about an hour never changes afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from math import floor

from tocsin.definitions.load import Library
from tocsin.definitions.workup import Event, events
from tocsin.grading.opcodes import HOUR
from tocsin.guidance.bedside import SILENT, Bedside, Chart, Fact

#: Two numbers closer than this are one, as in grading.
CLOSE = 1e-9


def happenings(bed: Bedside) -> dict[str, int]:
    """Event to the moment (microseconds) it last happened, of those that still ask for tests.

    With a therapy charted, what happened before its course is the baseline and is left out.
    """
    since = course(bed)[0]["time"] if bed.therapy else None
    found: dict[str, int] = {}
    for name in events(bed.lib):
        t = latest(bed, name)
        if t is not None and (since is None or t >= since):
            found[name] = t
    return found


def latest(bed: Bedside, name: str) -> int | None:
    """When an event last happened, before a dose or after; None where it no longer stands."""
    event = events(bed.lib)[name]
    for t in reversed(FORMS[event.form](bed, event)):
        if t <= bed.now:
            return t if t > bed.now - round(event.stands_hours * HOUR) else None
    return None


def course(bed: Bedside, therapy: str | None = None) -> Sequence[Fact]:
    """The doses of the running course of a therapy: those not parted by more than its risk window.

    A second infusion a year later is a new course; weekly doses are one.
    """
    own = [row for row in bed.doses if row["measure"] == (therapy or bed.therapy)]
    if not own:
        return own
    days = bed.lib.measure(own[0]["measure"]).risk_window_days
    first = len(own) - 1
    while first and (days is None or own[first]["time"] - own[first - 1]["time"] <= days * 24 * HOUR):
        first -= 1
    return own[first:]


def window_end(bed: Bedside, dose: Fact) -> int | None:
    """When the risk window that a dose opened ends; none where the product has none."""
    days = bed.lib.measure(dose["measure"]).risk_window_days
    return None if days is None else int(dose["time"]) + round(days * 24 * HOUR)


def _reading(bed: Bedside, event: Event) -> Sequence[int]:
    return bed.chart.happened(event.id, lambda: _readings(bed.chart, event, bed.lib))


def _readings(chart: Chart, event: Event, lib: Library) -> tuple[int, ...]:
    """The readings that meet the bound of the event's finding, with none in the quiet hours before."""
    finding = event.finding
    assert finding is not None
    measure, bound = lib.measure(str(finding.measure)), finding.bound
    assert isinstance(bound, float)
    out: list[int] = []
    last: int | None = None
    for row in chart.by_measure.get(measure.id, ()):
        value = row.get("value")
        if value is None or row.get("text") in (*SILENT, "<", "<="):
            continue
        if measure.round_to:
            value = floor(value / measure.round_to + 0.5 + CLOSE) * measure.round_to
        near = abs(value - bound) <= CLOSE * max(1.0, abs(bound))
        if (value > bound and not near) or (near and finding.op == "at_least"):
            if last is None or row["time"] - last >= event.quiet_hours * HOUR:
                out.append(row["time"])
            last = row["time"]
    return tuple(dict.fromkeys(out))


def _started(bed: Bedside, event: Event) -> Sequence[int]:
    return bed.chart.happened(event.id, lambda: _starts(bed.chart, event, bed.lib))


def _starts(chart: Chart, event: Event, lib: Library) -> tuple[int, ...]:
    """When a drug began that was not running: stopped, ended, or not charted for its hold before."""
    out: list[int] = []
    for name in dict.fromkeys(each for kind in event.given for each in lib.classes.get(kind, (kind,))):
        hold = lib.measure(name).hold_hours
        runs_to: float | None = None
        for t, rows in _instants(chart.by_measure.get(name, ())):
            usable = [row for row in rows if row.get("text") not in (*SILENT, "absent")]
            given = [row for row in usable if row.get("value") != 0 and row.get("end") != t]
            if given:
                if runs_to is None or t >= runs_to:
                    out.append(t)
                last = float("inf") if hold is None else t + hold * HOUR
                runs_to = max(last if row.get("end") is None else row["end"] for row in given)
            elif usable:
                runs_to = t
    return tuple(sorted(out))


def _worse_word(bed: Bedside, event: Event) -> Sequence[int]:
    return bed.chart.happened(event.id, lambda: _worse_words(bed.chart, event, bed.lib))


def _worse_words(chart: Chart, event: Event, lib: Library) -> tuple[int, ...]:
    """When a word was charted that stands later in its measure's list than the one before."""
    words = lib.measure(event.measure).words
    out: list[int] = []
    before = 0
    for t, rows in _instants(chart.by_measure.get(event.measure, ())):
        ranks = [words.index(str(row["text"])) for row in rows if row.get("text") in words]
        if ranks:
            if max(ranks) > before:
                out.append(t)
            before = max(ranks)
    return tuple(out)


def _instants(rows: Iterable[Fact]) -> Iterable[tuple[int, list[Fact]]]:
    """The rows of each instant: of several values at one the worst counts, in whatever order they came."""
    for t, same in groupby(rows, key=lambda row: int(row["time"])):
        yield t, list(same)


def _grade(bed: Bedside, event: Event) -> Sequence[int]:
    """When the grade rose, or fell for certain; a fall that nobody measured is none."""
    out: list[int] = []
    before = 0
    for row in bed.history.get(event.scale, ()):
        if row["grade"] > before or row["up_to"] < before:
            out.append(int(row["start"]))
            before = row["grade"]
    return out


def _rise_after_peak(bed: Bedside, event: Event) -> Sequence[int]:
    """Results above the one before them, drawn once the grade of the episode had left its peak."""
    left = _left_peak(bed.history.get(event.scale, ()), bed)
    if left is None:
        return ()
    usable = [
        row for row in bed.chart.until(event.measure, bed.now)
        if row.get("value") is not None and row.get("text") not in SILENT
    ]  # fmt: skip
    worst = [(t, max(row["value"] for row in rows)) for t, rows in _instants(usable)]
    return [t for (_, before), (t, value) in pairwise(worst) if t >= left and value > before]


def _left_peak(rows: Iterable[Mapping[str, int]], bed: Bedside) -> int | None:
    """When the grade of the latest episode fell below its peak for the last time; none where it has not."""
    if bed.episode is None:
        return None
    begun, peak, left = int(bed.episode["start"]), 0, None
    for row in rows:
        if row["start"] < begun:
            continue
        if row["grade"] >= max(peak, 1):
            peak, left = row["grade"], None
        elif left is None:
            left = int(row["start"])
    return left


FORMS: dict[str, Callable[[Bedside, Event], Sequence[int]]] = {
    "reading": _reading, "started": _started, "worse-word": _worse_word, "grade": _grade,
    "rise-after-peak": _rise_after_peak,
}  # fmt: skip
