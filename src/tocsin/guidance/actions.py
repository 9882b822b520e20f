"""What guidelines ask for now: their actions at the standing grade, with conditions, doses and sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf
from typing import Any

from tocsin.definitions.dose import Limit, dose_rule
from tocsin.definitions.guideline import Action, guideline
from tocsin.definitions.load import Library
from tocsin.definitions.schema import DefinitionError, Finding, near
from tocsin.grading.moments import findings_of
from tocsin.guidance.bedside import NO, UNKNOWN, YES, Bedside
from tocsin.guidance.clocks import escalated
from tocsin.guidance.doses import Dose, dose_at
from tocsin.guidance.whom import fitting

Said = dict[str, Any]
#: What a dose adds to an action; an action without a drug has them empty.
NO_DOSE: Said = {
    "drug": None,
    "dose": None,
    "dose_high": None,
    "dose_rounded": None,
    "unit": None,
    "route": None,
    "over_hours": None,
    "every_hours": [],
    "course": [],
    "allowed": None,
    "limit": "",
    "not_before": None,
    "refused": "",
    "notes": [],
}


@lru_cache(maxsize=8)
def guidelines(lib: Library) -> tuple[str, ...]:
    """The ids of all guidelines."""
    return tuple(sorted(lib.files("guidelines")))


@lru_cache(maxsize=8)
def conditions(lib: Library) -> Mapping[str, Finding]:
    """The findings that the guidelines' conditions rest on."""
    files = dict.fromkeys(name for each in guidelines(lib) for name in guideline(each, lib).use)
    found = findings_of(files, lib)
    for name in guidelines(lib):
        for finding in guideline(name, lib).named:
            if finding not in found:
                raise DefinitionError(f"guideline {name} names the finding `{finding}`{near(finding, found)}")
    return found


def limits_for(bed: Bedside, names: Iterable[str]) -> Mapping[str, list[Limit]]:
    """Drug to the limits of all guidelines in force: the strictest rules every row."""
    out: dict[str, list[Limit]] = {}
    for item, *_ in fitting(bed, names):
        for drug, limit in item.limits:
            out.setdefault(drug, []).append(limit)
    return out


def actions(bed: Bedside, names: Sequence[str]) -> list[Said]:
    """What the named guidelines ask for at this moment, in their order.

    An action whose condition is ruled out is not there; one whose condition is not known is there, and
    `if_known` names what it depends on. A clock that ran out brings the next grade's actions too.
    """
    found = fitting(bed, names)
    limits = limits_for(bed, names)
    doses: dict[str, Dose] = {}
    out: list[Said] = []
    for item, fit, why in found:
        grade = int(bed.grades[item.scale]["grade"]) if item.scale in bed.grades else 0
        after = escalated(bed, item)
        for action in item.actions:
            late = grade not in action.grades
            if late and (after is None or after.escalate not in action.grades):
                continue
            told = _applies(bed, action)
            if told is None:
                continue
            said: Said = {
                "guideline": item.id,
                "action": action.kind,
                "strength": action.strength,
                "text": action.text,
                "scale": item.scale,
                "grade": after.escalate if late and after else grade,
                "because": f"{after.id}: {after.then}" if late and after else "",
                "if_known": [*told, *([why] if fit == UNKNOWN else [])],
                "evidence": action.evidence,
                "source": list(action.source),
                "locator": action.locator,
                "status": action.status,
            }
            out.append(with_dose(said, bed, action.rule, limits, doses))
    return out


def with_dose(
    said: Said, bed: Bedside, rule: str | None, limits: Mapping[str, list[Limit]], doses: dict[str, Dose]
) -> Said:
    """An action with its calculated dose."""
    if rule is None:
        return {**said, **NO_DOSE}
    if rule not in doses:
        doses[rule] = dose_at(bed, rule, limits.get(dose_rule(rule, bed.lib).drug, ()))
    given = doses[rule]
    weaker = "memory" in (said["status"], given.status)
    return {
        **said,
        "drug": given.drug,
        "dose": given.dose,
        "dose_high": given.high,
        "dose_rounded": given.dose_rounded,
        "unit": given.unit,
        "route": given.route or None,
        "over_hours": given.over_hours,
        "every_hours": list(given.every_hours),
        "course": list(given.course),
        "allowed": given.allowed,
        "limit": given.limit,
        "not_before": given.not_before,
        "refused": given.refused,
        "notes": list(given.notes),
        "status": "memory" if weaker else said["status"],
    }


def _applies(bed: Bedside, action: Action) -> list[str] | None:
    """The conditions that are not known; None where one of them is ruled out."""
    if action.classes and bed.therapy is not None and not set(action.classes) & set(bed.therapy_classes):
        return None
    open_: list[str] = []
    for name in action.when:
        state = bed.states.get(name, UNKNOWN)
        if state == NO:
            return None
        if state == UNKNOWN:
            open_.append(name)
    for name in action.unless:
        state = bed.states.get(name, UNKNOWN)
        if state == YES:
            return None
        if state == UNKNOWN:
            open_.append(f"not {name}")
    if action.onset_before_hours is not None or action.onset_from_hours is not None:
        onset = bed.episode["hours_from_dose"] if bed.episode else None
        before, since = action.onset_before_hours or inf, action.onset_from_hours or -inf
        if onset is None:
            open_.append("hours from dose to onset")
        elif not since <= onset < before:
            return None
    return open_
