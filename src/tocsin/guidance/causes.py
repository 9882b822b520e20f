"""What else it can be: causes to tell apart, the tests that do, what each changes. Never a probability."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tocsin.definitions.load import Library
from tocsin.definitions.schema import DefinitionError, Finding, near
from tocsin.definitions.workup import Cause
from tocsin.definitions.workup import causes as known_causes
from tocsin.grading.moments import findings_of
from tocsin.guidance.bedside import NO, UNKNOWN, YES, Bedside, written
from tocsin.guidance.doses import Dose, dose_at

Said = dict[str, Any]
FILES = ("fever", "symptoms", "pressure", "vasopressors", "oxygen", "cause-conditions")
ORDER = ("stated", "likely", "possible", "not known")


@lru_cache(maxsize=8)
def conditions(lib: Library) -> Mapping[str, Finding]:
    """The findings that causes name."""
    found = findings_of(FILES, lib)
    for cause in known_causes(lib):
        named = [
            *cause.likely_when,
            *cause.possible_when,
            *(name for each in cause.changes for name in each[2]),
        ]
        for name in named:
            if name not in found:
                raise DefinitionError(f"cause {cause.id} names the finding `{name}`{near(name, found)}")
    return found


def causes(bed: Bedside) -> list[Said]:
    """The causes that are stated, likely or possible, or not known for want of a test; nothing is ruled out
    by being left out of the chart."""
    out = []
    for cause in known_causes(bed.lib):
        standing, because = _standing(bed, cause)
        if standing is None:
            continue
        out.append({
            "cause": cause.title, "id": cause.id, "standing": standing, "because": because,
            "timing": cause.timing,
            "separate_by": [{"test": says, "known": _known(bed, names)} for says, names in cause.separate_by],
            "changes": [said for each in cause.changes if (said := _change(bed, *each)) is not None],
            "source": list(cause.source), "status": cause.status,
        })  # fmt: skip
    return sorted(out, key=lambda each: ORDER.index(each["standing"]))


def _standing(bed: Bedside, cause: Cause) -> tuple[str | None, list[str]]:
    """Whether a cause is stated, likely, possible or not known, and why; None where nothing speaks for it."""
    stated = [row for name in cause.stated_by for row in _present(bed, name)]
    names = [f"{row['measure']} charted {written(row['time'])}" for row in stated]
    likely = [name for name in cause.likely_when if bed.states.get(name, UNKNOWN) == YES]
    possible = [name for name in cause.possible_when if bed.states.get(name, UNKNOWN) == YES]
    if stated and cause.id != "therapy":
        return "stated", names
    if likely:
        return "likely", [*likely, *(names[-1:] if cause.id == "therapy" else [])]
    if possible:
        return "possible", possible
    open_ = [n for n in (*cause.likely_when, *cause.possible_when) if bed.states.get(n, UNKNOWN) == UNKNOWN]
    if open_ and bed.grades and int(bed.grades[bed.scale]["grade"]) > 0:
        return "not known", [f"not known: {name}" for name in open_]
    return None, []


def _present(bed: Bedside, name: str) -> list[Mapping[str, Any]]:
    """The row that says a condition is there now, or a therapy was given; none where it was ended."""
    rows = bed.given([name])
    if name in bed.lib.classes or (name in bed.lib.measures and bed.lib.measure(name).shelf == "therapies"):
        return rows[-1:]
    ended = [row["time"] for row in bed.chart.until(name, bed.now) if row.get("text") == "absent"]
    latest = rows[-1] if rows else None
    if latest is None or any(t >= latest["time"] for t in ended):
        return []
    return [] if latest.get("end") is not None and latest["end"] <= bed.now else [latest]


def _known(bed: Bedside, names: tuple[str, ...]) -> list[Said]:
    """The latest results of the measures that separate a cause."""
    out = []
    for name in names:
        row = bed.last(name)
        if row is not None:
            out.append({
                "measure": name, "value": row.get("value"), "text": row.get("text"), "unit": row.get("unit"),
                "time": written(row["time"]),
            })  # fmt: skip
    return out


def _change(
    bed: Bedside, text: str, rule: str | None, when: tuple[str, ...], source: tuple[str, ...], status: str
) -> Said | None:
    """What a cause changes, with its dose; None where a condition is ruled out."""
    states = {name: bed.states.get(name, UNKNOWN) for name in when}
    if NO in states.values():
        return None
    dose: Dose | None = None if rule is None else dose_at(bed, rule)
    return {
        "text": text, "if_known": [name for name, state in states.items() if state == UNKNOWN],
        "drug": dose.drug if dose else None, "dose": dose.dose if dose else None,
        "dose_rounded": dose.dose_rounded if dose else None, "unit": dose.unit if dose else None,
        "allowed": dose.allowed if dose else None, "limit": dose.limit if dose else "",
        "refused": dose.refused if dose else "", "source": list(source), "status": status,
    }  # fmt: skip
