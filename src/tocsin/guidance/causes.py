"""What else it can be: causes to tell apart, the tests that do, what each changes. Never a probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from tocsin.definitions.cause import STANDINGS, Cause, Change, Separation
from tocsin.definitions.cause import causes as known_causes
from tocsin.definitions.dose import dose_rule
from tocsin.definitions.load import Library
from tocsin.definitions.schema import DefinitionError, Finding, near
from tocsin.definitions.shared import resting_on
from tocsin.definitions.workup import events
from tocsin.grading.moments import findings_of
from tocsin.guidance import actions
from tocsin.guidance.bedside import NO, SILENT, UNKNOWN, YES, Bedside, Fact, written
from tocsin.guidance.doses import Dose, dose_at
from tocsin.guidance.happenings import latest, window_end

Said = dict[str, Any]
FILES = (
    "fever", "symptoms", "pressure", "vasopressors", "oxygen", "guideline-conditions", "cause-conditions",
)  # fmt: skip


@lru_cache(maxsize=8)
def conditions(lib: Library) -> Mapping[str, Finding]:
    """The findings that causes name, with all they are made of."""
    found = findings_of(FILES, lib)
    named: list[str] = []
    for cause in known_causes(lib):
        for name in cause.findings:
            if name not in found:
                raise DefinitionError(
                    f"cause `{cause.id}` names the finding `{name}`, which is not there{near(name, found)}\n"
                    f"  fix: define it in a file of: {', '.join(FILES)}"
                )
            named.append(name)
    return {each.id: each for each in resting_on(found, named)}


def causes(bed: Bedside) -> list[Said]:
    """The causes and risk factors, each stated, likely, possible, not known for want of a test, or against.

    What nothing speaks for is left out; what is not known is not. `because` are findings, in their words.
    """
    out = []
    for cause in known_causes(bed.lib):
        standing, because, unknown, stated = _standing(bed, cause)
        if standing is None:
            continue
        changes = [
            said for each in cause.changes
            if standing in each.standings and (said := _change(bed, each, stated)) is not None
        ]  # fmt: skip
        out.append({
            "cause": cause.title, "id": cause.id, "kind": cause.kind, "standing": standing,
            "because": because, "if_known": unknown, "timing": cause.timing,
            "separate_by": [_separation(bed, each) for each in cause.separate_by], "changes": changes,
            "source": list(cause.source), "status": cause.status,
        })  # fmt: skip
    return sorted(out, key=lambda each: STANDINGS.index(each["standing"]))


def _standing(bed: Bedside, cause: Cause) -> tuple[str | None, list[str], list[str], list[Fact]]:
    """How a cause stands, why, what is not known, and the rows that state it; None: nothing speaks for it."""
    stated = [row for name in cause.stated_by if (row := present(bed, name)) is not None]
    if stated:
        return "stated", [f"{row['measure']} charted {written(row['time'])}" for row in stated], [], stated
    likely, possible, against = (
        _found(bed, names) for names in (cause.likely_when, cause.possible_when, cause.against_when)
    )
    said: list[str] = []
    if cause.therapies:
        rows = bed.given(cause.therapies)
        standing = [row for row in rows if (end := window_end(bed, row)) is None or bed.now < end]
        if not standing:
            if not rows or not likely[YES]:
                return None, [], [], []
            return "against", [f"the window of {rows[-1]['measure']} has closed"], [], []
        said = [f"{standing[-1]['measure']} at {written(standing[-1]['time'])}"]
    unknown = [*likely[UNKNOWN], *possible[UNKNOWN]]
    words = _words(bed.lib)
    if likely[YES]:
        return "likely", [*said, *(words[name] for name in likely[YES])], unknown, []
    if against[YES]:
        return "against", [words[name] for name in against[YES]], [], []
    after = {name: t for name in cause.possible_after if (t := latest(bed, name)) is not None}
    if possible[YES] or after:
        happened = [f"{events(bed.lib)[name].title} at {written(t)}" for name, t in after.items()]
        because = [*said, *happened, *(words[name] for name in possible[YES])]
        return "possible", list(dict.fromkeys(because)), unknown, []
    if unknown:
        return "not known", [f"not known: {words[name]}" for name in unknown], unknown, []
    return None, [], [], []


def _found(bed: Bedside, names: Sequence[str]) -> dict[int, list[str]]:
    """Findings by what they say now."""
    out: dict[int, list[str]] = {YES: [], UNKNOWN: [], NO: []}
    for name in names:
        out[bed.states.get(name, UNKNOWN)].append(name)
    return out


@lru_cache(maxsize=8)
def _words(lib: Library) -> Mapping[str, str]:
    """Finding to its title."""
    return {name: finding.title or name for name, finding in conditions(lib).items()}


def present(bed: Bedside, name: str) -> Fact | None:
    """The row that says a condition is there now, or a therapy whose window stands; None where it is not.

    `absent`, an `end` that has passed, and for categories the first word (`none`) take it back.
    """
    measure = bed.lib.measures.get(name)
    rows = [
        row for each in bed.lib.classes.get(name, (name,)) for row in bed.chart.until(each, bed.now)
        if row.get("text") not in SILENT
    ]  # fmt: skip
    if not rows:
        return None
    newest = max(rows, key=lambda row: (row["time"], row.get("text") == "absent"))
    if measure is not None and measure.shelf == "therapies":
        end = window_end(bed, newest)
        return None if end is not None and bed.now >= end else newest
    if newest.get("text") == "absent" or (measure is not None and newest.get("text") in measure.words[:1]):
        return None
    return None if newest.get("end") is not None and newest["end"] <= bed.now else newest


def _separation(bed: Bedside, each: Separation) -> Said:
    """One separating test, with what is known of it at this moment."""
    rows = {name: bed.last(name) for name in each.measures}
    known = [
        {"measure": name, "value": row.get("value"), "text": row.get("text"), "unit": row.get("unit"),
         "time": written(row["time"])}
        for name, row in rows.items() if row is not None
    ]  # fmt: skip
    return {
        "test": each.says, "known": known, "not_known": [name for name, row in rows.items() if row is None],
        "source": list(each.source), "status": each.status,
    }  # fmt: skip


def _dose(bed: Bedside, rule: str) -> Dose:
    """The dose of a rule; the limits of every guideline rule it, as they rule every action."""
    limits = actions.limits_for(bed, actions.guidelines(bed.lib))
    return dose_at(bed, rule, limits.get(dose_rule(rule, bed.lib).drug, ()))


def _change(bed: Bedside, each: Change, stated: Sequence[Fact]) -> Said | None:
    """What a cause changes, with its dose; None where a condition is ruled out."""
    states = {name: bed.states.get(name, UNKNOWN) for name in each.when}
    if NO in states.values():
        return None
    if each.not_since and stated:
        since = max(row["time"] for row in stated)
        if any(row["time"] > since for row in bed.given(each.not_since)):
            return None
    dose = None if each.rule is None else _dose(bed, each.rule)
    return {
        "text": each.text, "if_known": [name for name, state in states.items() if state == UNKNOWN],
        "drug": dose.drug if dose else None, "dose": dose.dose if dose else None,
        "dose_rounded": dose.dose_rounded if dose else None, "unit": dose.unit if dose else None,
        "route": dose.route if dose else None, "allowed": dose.allowed if dose else None,
        "limit": dose.limit if dose else "", "refused": dose.refused if dose else "",
        "source": list(each.source), "status": each.status,
    }  # fmt: skip
