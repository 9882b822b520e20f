"""Tests due: the last result plus the interval, at once when the picture changes; and what cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tocsin.definitions.load import Library
from tocsin.definitions.schema import DefinitionError, Finding, near
from tocsin.definitions.shared import resting_on
from tocsin.definitions.workup import Event, Interval, Marker, Workup, events, workups
from tocsin.definitions.workup import markers as known_markers
from tocsin.grading.moments import findings_of
from tocsin.grading.opcodes import HOUR
from tocsin.guidance.bedside import NO, UNKNOWN, YES, Bedside, Fact, written
from tocsin.guidance.happenings import course, happenings, window_end

Said = dict[str, Any]
DAY = 24 * HOUR
FILES = (
    "symptoms", "fever", "pressure", "vasopressors", "oxygen", "guideline-conditions", "workup-conditions",
)  # fmt: skip


@lru_cache(maxsize=8)
def conditions(lib: Library) -> Mapping[str, Finding]:
    """The findings that intervals of tests name, with all they are made of."""
    found = findings_of(FILES, lib)
    named = [name for test in workups(lib) for each in test.intervals for name in each.when]
    for name in named:
        if name not in found:
            raise DefinitionError(
                f"a test names the finding `{name}`, which is not there{near(name, found)}\n"
                f"  fix: define it in a file of: {', '.join(FILES)}"
            )
    return {each.id: each for each in resting_on(found, named)}


@dataclass(frozen=True, slots=True)
class Asked:
    """One reason for a test that holds now: when it is due, and who says so."""

    due: int | None
    at_once: bool
    because: str
    strength: str
    source: tuple[str, ...]
    status: str


def tests_due(bed: Bedside) -> list[Said]:
    """Every test asked for now or later, the most urgent first.

    `due` is none where no source gives an interval, and where the next dose is the moment. `at_once`:
    something new asks for it since the last result. A test never done since the course of the therapy began
    is due now. `if_known` names what is not known and would ask for the test, or ask for it sooner.
    """
    new, standing = happenings(bed), _standing(bed)
    out = []
    for test in workups(bed.lib):
        if test.therapies and not _is_of(bed, test.therapies):
            continue
        found = _due(bed, test, new, standing)
        if found is not None:
            out.append(found)
    return sorted(out, key=_urgency)


def _urgency(said: Said) -> tuple[bool, bool, float, str]:
    late = -(said["overdue_hours"] or 0.0)
    return not said["at_once"], said["due"] is None, late, said["due"] or said["test"]


def _due(
    bed: Bedside, test: Workup, new: Mapping[str, int], standing: Sequence[tuple[Marker, Fact]]
) -> Said | None:
    last, lacking = _last(bed, test)
    asked = [each for name in test.at_once if (each := _new(bed, test, name, new, last)) is not None]
    unknown: list[str] = []
    for interval in test.intervals:
        open_ = _open(bed, interval)
        if open_ is None or (interval.once and last is not None):
            continue
        if open_:
            unknown.append(f"{interval.says}: depends on {', '.join(open_)}")
        else:
            asked.append(_regular(bed, interval, last))
    if not asked and not unknown:
        return None
    asked.sort(key=lambda each: (each.due is None, each.due or 0))
    first = asked[0] if asked else Asked(None, False, "", "consider", test.source, test.status)
    told = next((each for each in asked if each.at_once), first)
    because = [
        each.because for each in asked
        if each.at_once or (not told.at_once and (each is first or (each.due or bed.now + 1) <= bed.now))
    ]  # fmt: skip
    if lacking and test.parts:
        whole = len(lacking) == len(test.parts)
        because.append("not done in this course" if whole else f"without {', '.join(lacking)}")
    return {
        "test": test.title, "id": test.id, "measures": list(test.measures), "last": written(last),
        "due": written(first.due), "at_once": any(each.at_once for each in asked),
        "overdue_hours": None if first.due is None else round(max(0.0, bed.hours_since(first.due)), 2),
        "because": [text for text in because if text], "if_known": unknown,
        "new": [{"event": each.because, "at": written(each.due)} for each in asked if each.at_once],
        "strength": told.strength,
        "note": " ".join(text for text in (test.note, _unread(test, standing)) if text),
        "source": list(told.source), "status": told.status,
    }  # fmt: skip


def _new(
    bed: Bedside, test: Workup, name: str, new: Mapping[str, int], last: int | None
) -> Asked | None:
    """What an event asks for, unless the test was done since."""
    if name not in new or (last is not None and last >= new[name]):
        return None
    event: Event = events(bed.lib)[name]
    status = "memory" if "memory" in (test.status, event.status) else test.status
    source = tuple(dict.fromkeys((*test.at_once_source, *event.source)))
    return Asked(new[name], True, event.title, "give", source, status)


def _regular(bed: Bedside, interval: Interval, last: int | None) -> Asked:
    """What an interval asks for."""
    due: int | None = None
    if interval.once:
        since = bed.graded_since(min(interval.grades))
        due = bed.now if interval.when or since is None else max(since, _start(bed))
    elif interval.every_hours is not None:
        due = _start(bed) if last is None else last + round(interval.every_hours * HOUR)
        if min(interval.grades) and (since := bed.graded_since(min(interval.grades))) is not None:
            due = max(due, since)
    return Asked(due, False, interval.says, interval.strength, interval.source, interval.status)


def _open(bed: Bedside, interval: Interval) -> list[str] | None:
    """What is not known of the conditions of an interval: [] = all hold, None = one of them does not."""
    open_: list[str] = []
    row = bed.grades.get(bed.scale)
    low, high = (0, max(interval.grades)) if row is None else (int(row["grade"]), int(row["up_to"]))
    if low not in interval.grades or row is None:
        if not set(range(low, high + 1)) & set(interval.grades):
            return None
        open_.append(f"{bed.scale} up to {high}")
    if interval.classes and bed.therapy and not _is_of(bed, interval.classes):
        return None
    phased = interval.days_from > 0 or interval.days_to < float("inf") or interval.in_window
    if bed.therapy is None:
        open_ += ["the therapy"] if phased or interval.classes else []
    elif phased:
        latest = bed.doses[-1]
        end = window_end(bed, latest)
        day = (bed.now - latest["time"]) / DAY
        if not interval.days_from <= day < interval.days_to or (
            interval.in_window and end is not None and bed.now >= end
        ):
            return None
    for name in interval.when:
        state = bed.states.get(name, UNKNOWN)
        if state == NO:
            return None
        open_ += [name] if state != YES else []
    return open_


def _is_of(bed: Bedside, names: Sequence[str]) -> bool:
    """Whether the therapy is one of these, or of one of these classes."""
    return bool({bed.therapy, *bed.therapy_classes} & set(names))


def _start(bed: Bedside) -> int:
    """Since when a test that was never done has been due: the course's first dose, else the first fact."""
    if bed.therapy:
        return int(course(bed)[0]["time"])
    return int(bed.rows[0]["time"]) if bed.rows else bed.now


def _last(bed: Bedside, test: Workup) -> tuple[int | None, list[str]]:
    """When the panel was last complete in this course (the oldest of its parts), and the parts that lack.

    Results from before the first dose are the baseline: they do not count.
    """
    since = _start(bed) if bed.therapy else None
    times: list[int] = []
    lacking: list[str] = []
    for part in test.parts:
        found = [
            int(row["time"]) for name in part
            if (row := bed.last(name)) is not None and (since is None or row["time"] >= since)
        ]  # fmt: skip
        if found:
            times.append(max(found))
        else:
            lacking.append(" or ".join(part))
    return (None if lacking or not times else min(times)), lacking


def _unread(test: Workup, standing: Sequence[tuple[Marker, Fact]]) -> str:
    """Which results of this test cannot be read when they come."""
    said = [marker.title for marker, _ in standing if set(marker.measures) & set(test.measures)]
    return f"cannot be read as usual: {', '.join(said)}" if said else ""


def _standing(bed: Bedside) -> list[tuple[Marker, Fact]]:
    """The markers that cannot be read now, each with the row that is to blame."""
    out = []
    for marker in known_markers(bed.lib):
        if marker.therapies and not _is_of(bed, marker.therapies):
            continue
        given = bed.given(marker.given, marker.hours_to)
        if given:
            out.append((marker, given[-1]))
    return out


def markers(bed: Bedside) -> list[Said]:
    """What cannot be read now because of what was given, until when, and what was charted of it since.

    `until` is the longest time a source gives, `at_least_until` the shortest. A fall of CRP alone is never
    called an improvement anywhere.
    """
    out: list[Said] = []
    for marker, given in _standing(bed):
        t = int(given["time"])
        rows = [row for name in marker.measures if (row := bed.last(name)) and row["time"] >= t]
        out.append({
            "marker": marker.title, "id": marker.id, "measures": list(marker.measures), "text": marker.says,
            "because": f"{given['measure']} at {written(t)}",
            "at_least_until": written(t + round(marker.hours * HOUR)),
            "until": written(t + round(marker.hours_to * HOUR)),
            "since_then": [
                {"measure": row["measure"], "value": row.get("value"), "unit": row.get("unit"),
                 "time": written(row["time"])}
                for row in rows
            ],
            "source": list(marker.source), "status": marker.status,
        })  # fmt: skip
    return out
