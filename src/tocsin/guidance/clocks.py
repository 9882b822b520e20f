"""Clocks: what follows if nothing is better by a certain time, and what may be repeated from when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tocsin.definitions.guideline import Clock, Guideline
from tocsin.grading.opcodes import HOUR
from tocsin.guidance.bedside import NO, Bedside, written
from tocsin.guidance.whom import fitting

Said = dict[str, Any]


def started(bed: Bedside, clock: Clock, scale: str) -> int | None:
    """When a clock of a guideline began; None where it does not run."""
    grade = int(bed.grades[scale]["grade"]) if scale in bed.grades else 0
    if grade not in clock.grades or any(bed.states.get(name) == NO for name in clock.when):
        return None
    if clock.classes and not set(clock.classes) & set(bed.therapy_classes):
        return None
    if clock.start == "grade":
        return bed.graded_since(clock.grade, scale)
    onset = bed.graded_since(1, scale)
    if clock.start == "episode-onset" or onset is None:
        return onset
    since = bed.graded_since(min(clock.grades), scale)
    given = [int(row["time"]) for row in bed.given(clock.given) if row["time"] >= onset]
    later = [t for t in given if since is not None and t >= since]
    # the first dose at this grade starts the clock; without one, the last dose before it was reached
    return later[0] if later else (given[-1] if given else None)


def improved(bed: Bedside, start: int, scale: str) -> bool:
    """Whether the grade is lower than when the clock began."""
    return int(bed.grades[scale]["grade"]) < bed.grade_at(start, scale)


def escalated(bed: Bedside, item: Guideline) -> Clock | None:
    """The clock of a guideline that ran out without improvement and asks for the next grade's care."""
    for clock in item.clocks:
        if clock.escalate is None:
            continue
        start = started(bed, clock, item.scale)
        over = start is not None and bed.now >= start + round(clock.hours * HOUR)
        if start is not None and over and not improved(bed, start, item.scale):
            return clock
    return None


def clocks(bed: Bedside, names: Sequence[str]) -> list[Said]:
    """The clocks of the named guidelines that run or ran out."""
    return [each for item, *_ in fitting(bed, names) for each in clocks_of(bed, item)]


def clocks_of(bed: Bedside, item: Guideline) -> list[Said]:
    """The clocks of one guideline that run or ran out."""
    out: list[Said] = []
    for clock in item.clocks:
        start = started(bed, clock, item.scale)
        if start is None or improved(bed, start, item.scale):
            continue
        due = start + round(clock.hours * HOUR)
        passed = bed.now >= due
        out.append(
            {
                "guideline": item.id,
                "clock": clock.id,
                "started": written(start),
                "due": written(due),
                "state": "passed" if passed else "running",
                "then": clock.then,
                "text": _text(clock, due, passed),
                "source": list(clock.source),
                "status": clock.status,
            }
        )
    return out


def _text(clock: Clock, due: int, passed: bool) -> str:
    if clock.escalate is None:
        return f"{'since' if passed else 'from'} {written(due)}: {clock.then}"
    return f"no improvement {'up to' if passed else 'by'} {written(due)}: {clock.then}"


def again(actions: Iterable[Said]) -> list[Said]:
    """When each drug that may not be given now may be given again, once a drug."""
    out: dict[str, Said] = {}
    for action in actions:
        if action["drug"] and action["not_before"] is not None and action["drug"] not in out:
            due = written(action["not_before"])
            out[action["drug"]] = {
                "guideline": "limits",
                "clock": f"{action['drug']}-again",
                "started": None,
                "due": due,
                "state": "running",
                "then": f"{action['drug']} may be given again",
                "text": f"{action['drug']} again from {due}: {action['limit']}",
                "source": action["source"],
                "status": action["status"],
            }
    return [*out.values()]
