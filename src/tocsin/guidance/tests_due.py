"""Tests due: the last result plus the interval, at once when the picture changes; and what cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from tocsin.definitions.load import Library
from tocsin.definitions.schema import Finding
from tocsin.definitions.workup import Interval, Workup, workups
from tocsin.definitions.workup import markers as known_markers
from tocsin.grading.opcodes import HOUR
from tocsin.guidance.bedside import SILENT, Bedside, written

Said = dict[str, Any]
DAY = 24 * HOUR
SAYS = {
    "fever": "new fever", "vasopressor": "new vasopressor", "oxygen": "new oxygen", "grade": "grade changed",
    "dose": "before the next dose",
}  # fmt: skip


@lru_cache(maxsize=8)
def conditions(lib: Library) -> Mapping[str, Finding]:
    """Tests due rest on events and times, not on findings of their own."""
    return {}


def tests_due(bed: Bedside) -> list[Said]:
    """Every test asked for now or later, the most urgent first.

    `due` is none where no interval is known; `at_once` where something new asks for it since the last result.
    A test never done since the latest dose of the therapy is due now.
    """
    events = changes(bed)
    grade = int(bed.grades[bed.scale]["grade"]) if bed.scale in bed.grades else 0
    out = []
    for test in workups(bed.lib):
        if test.therapies and bed.therapy not in test.therapies:
            continue
        found = _due(bed, test, events, grade)
        if found is not None:
            out.append(found)
    return sorted(out, key=lambda each: (not each["at_once"], -(each["overdue_hours"] or 0.0), each["test"]))


def _due(bed: Bedside, test: Workup, events: Mapping[str, int], grade: int) -> Said | None:
    last = _last(bed, test)
    interval = next((each for each in test.intervals if _fits(bed, each, grade)), None)
    new = [name for name in test.at_once if name in events and (last is None or events[name] > last)]
    if interval is None and not new:
        return None
    due, because = None, [SAYS[name] for name in new]
    if new:
        due = min(events[name] for name in new)
    elif interval is not None and interval.every_hours is not None:
        due = _start(bed) if last is None else last + round(interval.every_hours * HOUR)
    elif interval is not None and interval.once:
        if last is not None and last >= _start(bed):
            return None
        due = bed.graded_since(min(interval.grades)) or bed.now
    if interval is not None:
        because.append(interval.says)
    if last is None and test.parts:
        because.append("no result yet" if not _some(bed, test) else "part of it has no result yet")
    source = test.at_once_source if new or interval is None else interval.source
    return {
        "test": test.title, "id": test.id, "measures": [name for part in test.parts for name in part],
        "last": written(last), "due": written(due), "at_once": bool(new),
        "overdue_hours": None if due is None else round(max(0.0, (bed.now - due) / HOUR), 2),
        "because": [text for text in because if text],
        "strength": interval.strength if interval is not None else "give", "note": test.note,
        "source": list(source), "status": test.status if interval is None or new else interval.status,
    }  # fmt: skip


def _start(bed: Bedside) -> int:
    """From when a test that was never done has been due: the latest dose, else the first fact."""
    return int(bed.doses[-1]["time"]) if bed.doses else int(bed.rows[0]["time"]) if bed.rows else bed.now


def _last(bed: Bedside, test: Workup) -> int | None:
    """When the panel was last complete: the oldest of its parts' latest results; none if one is missing."""
    if not test.parts:
        return None
    times = []
    for part in test.parts:
        found = [row["time"] for name in part if (row := bed.last(name)) is not None]
        if not found:
            return None
        times.append(int(max(found)))
    return min(times)


def _some(bed: Bedside, test: Workup) -> bool:
    return any(bed.last(name) is not None for part in test.parts for name in part)


def _fits(bed: Bedside, interval: Interval, grade: int) -> bool:
    if grade not in interval.grades:
        return False
    if interval.classes and not set(interval.classes) & set(bed.therapy_classes):
        return False
    day = bed.hours_since(_start(bed)) / 24
    return interval.days_from <= day < interval.days_to


def changes(bed: Bedside) -> dict[str, int]:
    """When the picture last changed: a new fever, vasopressor, oxygen device, grade; and the latest dose.

    New is what was not there in the 24 h before.
    """
    found: dict[str, int] = {}
    rows = bed.history.get(bed.scale, ())
    for before, after in pairwise(rows):
        if before["grade"] != after["grade"]:
            found["grade"] = int(after["start"])
    if rows and rows[0]["grade"] > 0:
        found.setdefault("grade", int(rows[0]["start"]))
    hot = _fevers(bed)
    if hot:
        found["fever"] = hot[-1]
    pressors = [int(row["time"]) for row in bed.given(["vasopressor"])]
    fresh = _fresh(pressors)
    if fresh:
        found["vasopressor"] = fresh[-1]
    device = bed.lib.measure("oxygen-device")
    worst = -1
    for row in bed.chart.until("oxygen-device", bed.now):
        if row.get("text") in device.words:
            rank = device.words.index(row["text"])
            if rank > max(worst, 0):
                found["oxygen"] = int(row["time"])
            worst = rank
    if bed.doses:
        found["dose"] = int(bed.doses[-1]["time"])
    return found


def _fevers(bed: Bedside) -> list[int]:
    """When each fever began: a reading of fever with none in the 24 h before it."""
    fever = bed.lib.scale(bed.scale).findings["fever"]
    bound, step = float(fever.bound or 0.0), bed.lib.measure("temperature").round_to or 0.1
    hot = [
        int(row["time"])
        for row in bed.chart.until("temperature", bed.now)
        if row.get("text") not in SILENT
        and row.get("value") is not None
        and round(row["value"] / step + 1e-9) * step >= bound - 1e-9
    ]
    return _fresh(hot)


def _fresh(times: Sequence[int]) -> list[int]:
    """The times with none in the 24 h before them."""
    ordered = sorted(times)
    return [t for i, t in enumerate(ordered) if i == 0 or t - ordered[i - 1] > DAY]


def markers(bed: Bedside) -> list[Said]:
    """What cannot be read now because of what was given, until when, and what its last value was."""
    out: list[Said] = []
    for marker in known_markers(bed.lib):
        if marker.therapies and bed.therapy not in marker.therapies:
            continue
        given = bed.given(marker.given, marker.hours)
        if not given:
            continue
        last = given[-1]
        until = None if marker.hours is None else int(last["time"]) + round(marker.hours * HOUR)
        out.append({
            "marker": marker.title, "measures": list(marker.measures), "text": marker.says,
            "because": f"{last['measure']} at {written(last['time'])}", "until": written(until),
            "source": list(marker.source), "status": marker.status,
        })  # fmt: skip
    return out
