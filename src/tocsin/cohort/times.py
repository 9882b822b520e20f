"""When: cumulative incidence of onset, Kaplan-Meier to resolution, and medians with their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.cohort.persons import Bools, Course, Episodes, Floats, Ints, Persons
from tocsin.cohort.shares import days_given
from tocsin.cohort.statistics import (
    CENSORED,
    Middle,
    Steps,
    cumulative_incidence,
    observed_median,
    survival,
    survival_median,
)  # fmt: skip
from tocsin.definitions.report import Report

#: A step function: `estimate` holds from `hours` on. `curve` says of what: `onset-any`, `onset-at-least-K`,
#: their rivals `death` and `record-over`; `onset-...-censored` where the end of the record only censors;
#: `resolution-any`, `resolution-at-least-K`: the share not yet resolved.
CURVES = pa.schema([
    ("group", pa.string()), ("scale", pa.string()), ("curve", pa.string()), ("hours", pa.float64()),
    ("estimate", pa.float64()), ("low", pa.float64()), ("high", pa.float64()), ("at_risk", pa.int64()),
    ("events", pa.int64()), ("censored", pa.int64()),
])  # fmt: skip
#: Hours, but for `days-...`, which are days. `method`: `observed` of those in whom it was seen, with the
#: exact interval of the median; `kaplan-meier` of all, who did not end censored.
TIMES = pa.schema([
    ("group", pa.string()), ("scale", pa.string()), ("what", pa.string()), ("says", pa.string()),
    ("n", pa.int64()), ("events", pa.int64()), ("median", pa.float64()), ("low", pa.float64()),
    ("high", pa.float64()), ("q1", pa.float64()), ("q3", pa.float64()), ("least", pa.float64()),
    ("most", pa.float64()), ("method", pa.string()),
])  # fmt: skip
OBSERVED, KAPLAN_MEIER = "observed", "kaplan-meier"
ONSET, DIED, OVER = 1, 2, 3


def level_name(k: int) -> str:
    """How ids name a grade and those above it.

    >>> level_name(1), level_name(3)
    ('any', 'at-least-3')
    """
    return "any" if k == 1 else f"at-least-{k}"


def curves(persons: Persons, report: Report) -> pa.Table:
    """Every curve of every scale and group, in the columns of `CURVES`."""
    parts: list[pa.Table] = []
    for scale in persons.cohort.scales:
        course, episodes = persons.course(scale), persons.episodes(scale)
        for group, who in persons.groups:
            parts += [
                _table(group, scale, name, steps)
                for name, steps in (
                    *_onsets(persons, course, who & course.graded, report),
                    *_resolutions(episodes, who[episodes.person] & episodes.first, report),
                )
            ]
    return pa.concat_tables(parts) if parts else CURVES.empty_table()


def left(persons: Persons, onset: Floats, *, over: int = OVER) -> tuple[Floats, Ints]:
    """When each patient left those in whom an onset is awaited, and why: onset, death, end of the record.

    What happened at one instant counts in that order: an onset with death is an onset. `over` is what the
    end of the record is: an event of its own, or `CENSORED`.
    """
    ended = np.maximum(np.nan_to_num(persons.ended, nan=0.0), 0.0)
    died = np.isfinite(persons.death) & (persons.death <= ended)
    hours = np.where(died, np.maximum(persons.death, 0.0), ended)
    why = np.where(died, DIED, over).astype(np.int64)
    had = np.isfinite(onset)
    return np.where(had, onset, hours), np.where(had, ONSET, why)


def _onsets(persons: Persons, course: Course, of: Bools, report: Report) -> Iterator[tuple[str, Steps]]:
    if not of.any():
        return
    last = float(np.max(np.nan_to_num(persons.ended[of]), initial=0.0))
    for k in report.at_least:
        onset = course.first[k]
        times, reasons = left(persons, onset)
        hours, why = times[of], reasons[of]
        name = f"onset-{level_name(k)}"
        yield name, cumulative_incidence(hours, why, ONSET, last=last)
        if k == 1:
            yield "death", cumulative_incidence(hours, why, DIED, last=last)
            yield "record-over", cumulative_incidence(hours, why, OVER, last=last)
        times, reasons = left(persons, onset, over=CENSORED)
        hours, why = times[of], reasons[of]
        yield f"{name}-censored", cumulative_incidence(hours, why, ONSET, last=last)


def _resolutions(episodes: Episodes, first: Bools, report: Report) -> Iterator[tuple[str, Steps]]:
    for k in (1, report.high):
        mine = first & (episodes.peak >= k)
        if mine.any():
            yield f"resolution-{level_name(k)}", survival(episodes.lasted[mine], episodes.resolved[mine])


def _table(group: str, scale: str, curve: str, steps: Steps) -> pa.Table:
    size = len(steps.hours)
    columns = [
        pa.array([group] * size), pa.array([scale] * size), pa.array([curve] * size), steps.hours,
        *(_known(column) for column in (steps.estimate, steps.low, steps.high)),
        steps.at_risk, steps.events, steps.censored,
    ]  # fmt: skip
    return pa.Table.from_arrays([pa.array(each) for each in columns], schema=CURVES)


def _known(column: Floats) -> pa.Array:
    return pa.array(column, mask=~np.isfinite(column))


def times(persons: Persons, report: Report) -> pa.Table:
    """Every time the table of a trial has, by group and scale, in the columns of `TIMES`."""
    found: list[dict[str, Any]] = []
    for scale in persons.cohort.scales:
        course, episodes = persons.course(scale), persons.episodes(scale)
        for group, who in persons.groups:
            found += [
                _row(group, scale, what, says, middle, method)
                for what, says, middle, method in _of_scale(course, episodes, who, report)
            ]
    for what, says, persons_given, days in days_given(persons, report):
        for group, who in persons.groups:
            middle = observed_median(days[who[persons_given]])
            found.append(_row(group, None, what, says, middle, OBSERVED))
    return pa.Table.from_pylist(found, schema=TIMES)


def _of_scale(
    course: Course, episodes: Episodes, who: Bools, report: Report
) -> Iterator[tuple[str, str, Middle, str]]:
    of = who & course.graded
    mine = who[episodes.person]
    first = mine & episodes.first
    for k in (1, report.high):
        says = "onset" if k == 1 else f"first grade {k} or higher"
        name = "onset" if k == 1 else f"onset-{level_name(k)}"
        yield name, f"Hour 0 to {says}", observed_median(course.first[k][of]), OBSERVED
    dosed = first & np.isfinite(episodes.from_dose)
    yield "onset-from-dose", "Latest dose to onset", observed_median(episodes.from_dose[dosed]), OBSERVED
    yield "peak", "Onset to highest grade", observed_median(episodes.to_peak[first]), OBSERVED
    for k in (1, report.high):
        some = first & (episodes.peak >= k)
        reached = "" if k == 1 else f", episodes that reached grade {k}"
        name = "duration" if k == 1 else f"duration-{level_name(k)}"
        found = survival_median(episodes.lasted[some], episodes.resolved[some])
        yield name, f"Onset to resolution{reached}", found, KAPLAN_MEIER
    found = survival_median(episodes.lasted[mine], episodes.resolved[mine])
    yield "duration-every-episode", "Onset to resolution, every episode", found, KAPLAN_MEIER


def _row(group: str, scale: str | None, what: str, says: str, middle: Middle, method: str) -> dict[str, Any]:
    numbers = {
        name: value if np.isfinite(value := getattr(middle, name)) else None
        for name in ("median", "low", "high", "q1", "q3", "least", "most")
    }
    return {
        "group": group, "scale": scale, "what": what, "says": says, "n": middle.n, "events": middle.events,
        **numbers, "method": method,
    }  # fmt: skip
