"""What the therapy's own label asks for: now, for the next dose, and by when. The strictest stands first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tocsin.definitions.dose import Limit
from tocsin.definitions.guideline import Guideline
from tocsin.definitions.load import Library
from tocsin.definitions.product import PRODUCT_ACTIONS, Product, Step, product
from tocsin.definitions.schema import DefinitionError, Finding, near
from tocsin.grading.moments import findings_of
from tocsin.grading.opcodes import HOUR
from tocsin.guidance.actions import with_dose
from tocsin.guidance.bedside import NO, UNKNOWN, Bedside
from tocsin.guidance.clocks import clocks_of, escalated
from tocsin.guidance.doses import Dose

Said = dict[str, Any]
#: Where the conditions of steps are defined.
FILES = ("fever", "symptoms", "pressure", "vasopressors", "oxygen", "guideline-conditions")
#: From the mildest to the strictest: of two rules for one matter the later stands first.
STRICTNESS = {name: rank for rank, name in enumerate(PRODUCT_ACTIONS)}


@lru_cache(maxsize=8)
def scales(lib: Library) -> tuple[str, ...]:
    """The scales in which labels grade."""
    found = (product(name, lib).scale for name in lib.classes.get("therapy", ()))
    return tuple(dict.fromkeys(name for name in found if name))


@lru_cache(maxsize=8)
def conditions(lib: Library) -> Mapping[str, Finding]:
    """The findings that steps name."""
    found = findings_of(FILES, lib)
    for therapy in lib.classes.get("therapy", ()):
        for step in product(therapy, lib).steps:
            for name in step.when:
                if name not in found:
                    raise DefinitionError(f"{therapy} names the finding `{name}`{near(name, found)}")
    return found


def steps(bed: Bedside, limits: Mapping[str, list[Limit]]) -> list[Said]:
    """What label and guideline ask for about this therapy at its own grade: actions with `next` and hours.

    What concerns the therapy itself comes first, the strictest on top. Empty where no therapy is charted, at
    grade 0, and where no step was found (`note` says so).
    """
    if bed.therapy is None:
        return []
    own = product(bed.therapy, bed.lib)
    scale = own.scale or bed.scale
    grade = int(bed.grades[scale]["grade"]) if scale in bed.grades else 0
    late = escalated(bed, _as_guideline(own, scale))
    doses: dict[str, Dose] = {}
    out: list[Said] = []
    for step in own.steps:
        after = late if grade not in step.grades else None
        if grade not in step.grades and (after is None or after.escalate not in step.grades):
            continue
        open_ = _applies(bed, step, scale)
        if open_ is None:
            continue
        if own.scale is None:
            open_ = [*open_, f"the label's own grade ({own.note.split(',')[0].removeprefix('The ')})"]
        said: Said = {
            "guideline": step.guideline,
            "action": step.action,
            "strength": step.strength,
            "text": step.text,
            "scale": scale,
            "grade": after.escalate if after else grade,
            "because": f"{after.id}: {after.then}" if after else "",
            "if_known": open_,
            "evidence": "",
            "source": list(step.source),
            "locator": step.locator,
            "status": step.status,
            "product": step.action in PRODUCT_ACTIONS,
            "next": step.next,
            "observe_hours": step.observe_hours,
            "clear_hours": step.clear_hours,
        }
        out.append(with_dose(said, bed, step.rule, limits, doses))
    return sorted(
        out, key=lambda each: (not each["product"], each["next"], -STRICTNESS.get(each["action"], 0))
    )


def note(bed: Bedside) -> str:
    """What is not known of the label's steps; "" where they are there."""
    if bed.therapy is None:
        return ""
    own = product(bed.therapy, bed.lib)
    return own.note or ("" if own.steps else f"no label steps were found for {bed.therapy}")


def clocks(bed: Bedside) -> list[Said]:
    """The clocks of the therapy's label."""
    if bed.therapy is None:
        return []
    own = product(bed.therapy, bed.lib)
    return clocks_of(bed, _as_guideline(own, own.scale or bed.scale))


def _as_guideline(own: Product, scale: str) -> Guideline:
    """The label in the form whose clocks are known how to run."""
    return Guideline(
        id="label",
        title=own.therapy,
        source=(),
        locator="",
        status="draft",
        reading="",
        scale=scale,
        classes=(),
        targets=(),
        age_from=0.0,
        age_below=float("inf"),
        use=(),
        seen=(),
        actions=(),
        clocks=own.clocks,
        limits=(),
        hash="",
    )


def _applies(bed: Bedside, step: Step, scale: str) -> list[str] | None:
    """The conditions that are not known; None where one is ruled out."""
    open_ = []
    for name in step.when:
        state = bed.states.get(name, UNKNOWN)
        if state == NO:
            return None
        if state == UNKNOWN:
            open_.append(name)
    since = bed.graded_since(min(step.grades), scale)
    lasted = 0.0 if since is None else (bed.now - since) / HOUR
    if step.lasted_at_least_hours is not None and lasted < step.lasted_at_least_hours:
        return None
    if step.lasted_below_hours is not None and lasted >= step.lasted_below_hours:
        return None
    if step.recurrent is not None and step.recurrent != _recurrent(bed, scale, min(step.grades)):
        return None
    own = [row for row in bed.doses if row["measure"] == bed.therapy]
    if step.dose_number is not None and len(own) != step.dose_number:
        return None
    onset = bed.episode["hours_from_dose"] if bed.episode else None
    if step.onset_before_hours is not None or step.onset_from_hours is not None:
        if onset is None:
            open_.append("hours from dose to onset")
        elif onset >= (step.onset_before_hours or float("inf")) or onset < (step.onset_from_hours or 0.0):
            return None
    return open_


def _recurrent(bed: Bedside, scale: str, grade: int) -> bool:
    """Whether an earlier episode, before the running one, had reached this grade."""
    episodes = [row for row in bed.found.get(scale, ()) if row["start"] <= bed.now]
    return any(row["peak"] >= grade for row in episodes[:-1])
