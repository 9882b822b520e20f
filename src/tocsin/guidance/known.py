"""The head of an answer: therapy, grades, episode, weight, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.grading.opcodes import HOUR
from tocsin.guidance.bedside import Bedside, written

Said = dict[str, Any]


def therapy(bed: Bedside) -> Said | None:
    """The therapy of the latest dose, and the hours since it; none where none is charted."""
    if not bed.therapy:
        return None
    last = bed.doses[-1]
    own = [row for row in bed.doses if row["measure"] == bed.therapy]
    measure = bed.lib.measure(bed.therapy)
    return {
        "id": bed.therapy,
        "title": measure.title,
        "classes": [name for name in measure.classes if name != "therapy"],
        "dose_time": written(last["time"]),
        "dose_number": len(own),
        "hours_since": round(bed.hours_since(last["time"]), 2),
        "first_dose_time": written(own[0]["time"]),
        "others": sorted({str(row["measure"]) for row in bed.doses} - {bed.therapy}),
    }


def grade(bed: Bedside, scale: str) -> Said:
    """The standing grade of one scale, its reasons, and the peak of the running episode."""
    row = bed.grades[scale]
    begun = bed.episode["start"] if bed.episode else None
    since = [
        each for each in bed.history[scale] if begun is None or each["end"] is None or each["end"] > begun
    ]
    peak = max(since, key=lambda each: int(each["grade"]), default=row)
    return {
        "grade": row["grade"],
        "up_to": row["up_to"],
        "ambiguous": row["ambiguous"],
        "because": list(row["because"]),
        "waiting_for": list(row["waiting_for"]),
        "judgement": list(row["judgement"]),
        "flags": list(row["flags"]),
        "start": written(row["start"]),
        "peak": peak["grade"],
        "peak_at": written(peak["start"]),
        "definition": row["definition"],
    }


def episode(bed: Bedside) -> Said | None:
    """The running or latest episode under the answer's scale."""
    row = bed.episode
    if row is None:
        return None
    return {
        "scale": bed.scale,
        "start": written(row["start"]),
        "running": row["running"],
        "end": written(row["end"]),
        "hours": round(((row["end"] or bed.now) - row["start"]) / HOUR, 2),
        "hours_from_dose": row["hours_from_dose"],
        "peak": row["peak"],
        "trigger": row["trigger"],
        "recurrence": row["recurrence"],
    }


def weight(bed: Bedside) -> Said | None:
    """The weight doses are calculated from."""
    row = bed.weight
    if row is None:
        return None
    return {"value": row["value"], "unit": "kg", "time": written(row["time"]), "method": row.get("method")}


def given(bed: Bedside, within_hours: float = 7 * 24) -> list[Said]:
    """Treatments of the last week: drugs against CRS, oxygen support aside; latest last."""
    names = ("antipyretic", "steroid", "anti-cytokine", "vasopressor", "vasopressor-not-counted")
    known = [name for name in names if name in bed.lib.classes]
    return [
        {
            "drug": row["measure"], "time": written(row["time"]), "value": row.get("value"),
            "unit": row.get("unit"), "end": written(row.get("end")),
        }
        for row in bed.given(known, within_hours)
    ]  # fmt: skip


def missing(bed: Bedside, said: Mapping[str, Any]) -> list[str]:
    """What is not known and would change the answer, most pressing first, each with what it would settle."""
    out: list[str] = []
    if bed.therapy is None:
        out.append("therapy: none is charted, so no product rules, window or outlook can be shown")
    for scale, row in said["grades"].items():
        if row["up_to"] > row["grade"] and row["waiting_for"]:
            waits = ", ".join(row["waiting_for"])
            out.append(f"{waits}: {scale} is {row['grade']}, and {row['up_to']} is not ruled out without")
    if bed.weight_problem:
        out.append(f"weight: {bed.weight_problem}")
    if bed.weight is None:
        out.append("weight: doses by body weight cannot be calculated without it")
    if bed.age_years is None:
        out.append("age: adult limits and doses are assumed")
    unknown: dict[str, None] = {}
    for action in said["actions"] or ():
        for name in action.get("if_known", ()):
            unknown.setdefault(name)
    for name in unknown:
        out.append(f"{name}: an action depends on it")
    return out
