"""For whom a guideline is: therapy, target and age."""

from __future__ import annotations

from collections.abc import Iterable

from tocsin.definitions.guideline import Guideline, guideline
from tocsin.guidance.bedside import NO, UNKNOWN, YES, Bedside


def fits(bed: Bedside, item: Guideline) -> tuple[int, str]:
    """Whether a guideline is for this patient (2 yes, 1 unknown, 0 no), and why not."""
    if item.classes:
        if bed.therapy is None:
            return UNKNOWN, "no therapy is charted"
        if not set(item.classes) & set(bed.therapy_classes):
            return NO, f"it is for {', '.join(item.classes)}, and {bed.therapy} is none"
    if item.targets and bed.therapy is not None:
        target = str(bed.lib.measure(bed.therapy).raw.get("target", ""))
        if not any(target.startswith(name) for name in item.targets):
            return NO, f"it is for therapies against {', '.join(item.targets)}"
    if item.age_from > 0 or item.age_below < float("inf"):
        if bed.age_years is None:
            return UNKNOWN, "no age is charted"
        if not item.age_from <= bed.age_years < item.age_below:
            return NO, "it is for another age"
    return YES, ""


def fitting(bed: Bedside, names: Iterable[str]) -> list[tuple[Guideline, int, str]]:
    """The guidelines that are, or may be, for this patient."""
    found = [(guideline(name, bed.lib), *fits(bed, guideline(name, bed.lib))) for name in names]
    return [each for each in found if each[1] != NO]
