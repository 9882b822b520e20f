"""`tocsin advise`: everything said of one patient at one moment, in one answer.

Each part is asked for itself: what cannot be calculated is refused by name under `refused`, and never costs
the rest of the answer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa

from tocsin.definitions.dose import dose_rules
from tocsin.definitions.guideline import guideline
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import DefinitionError, Finding, TocsinError
from tocsin.grading.live import micros
from tocsin.grading.moments import Findings
from tocsin.grading.opcodes import HOUR
from tocsin.guidance import actions, causes, clocks, disagreements, outlook, products, tests_due, windows
from tocsin.guidance.bedside import Bedside, Course, courses, written
from tocsin.guidance.known import episode, given, grade, missing, therapy, weight
from tocsin.guidance.whom import fits

Answer = dict[str, Any]
#: Scales every answer shows; guidelines and labels add those they are written in.
ALWAYS = ("astct-2019", "icans-astct-2019")
#: What is asked for, or shown to decide by; empty after a death.
ASKED = (
    "actions", "product", "clocks", "tests_due", "markers", "causes", "windows", "disagreements", "outlook",
    "not_for_this_patient", "missing", "refused",
)  # fmt: skip


def advise(
    facts: Any,
    at: datetime | None = None,
    *,
    guidelines: Sequence[str] = (),
    every_hours: float | None = None,
    country: str | None = None,
    label_date: str | None = None,
    lib: Library | None = None,
) -> Iterator[Answer]:
    """What guidelines, label and record say of each patient at a moment.

    Parameters
    ----------
    facts       : canonical facts of any number of patients.
    at          : the moment; none = each patient's last fact. Patients not known by then are left out.
    guidelines  : ids; none = every one that fits the patient.
    every_hours : answer every so many hours from the first fact to `at`, instead of once; not in spans in
        which nothing was charted for a day (the years between two stays).
    country     : whose label limits doses and whose monitoring windows are shown; none = all.
    label_date  : the date of the site's label, as `2025-07`; none = rules of every date.

    Yields one dict a patient and moment, keys as in docs/advise.md; times are ISO 8601 with Z.

    >>> from tocsin.testing import patient
    >>> (answer,) = advise(patient("0 h weight 70 kg", "0 h teclistamab", "20 h temperature 39.0 Cel"))
    >>> answer["grades"]["astct-2019"]["grade"], answer["therapy"]["id"]
    (1, 'teclistamab')
    """
    lib = lib or library()
    table = facts if isinstance(facts, pa.Table) else pa.table(facts)
    if not len(table):
        return
    asked = tuple(guidelines) or actions.guidelines(lib)
    for course in courses(table, scales_for(asked, lib), lib, conditions(lib)):
        for bed in course.beds(moments_of(course, at, every_hours)):
            if not bed.rows:
                continue  # what had happened by then was not yet known
            yield answer(bed, asked, country=country, label_date=label_date)


def moments_of(course: Course, at: datetime | None, every_hours: float | None) -> list[int]:
    """When one patient is asked about; empty where nothing was charted by then."""
    last = course.last if at is None else micros(at)
    if last < course.first:
        return []
    if every_hours is None:
        return [last]
    times = course.chart.times
    steps = range(course.first, last, round(every_hours * HOUR))
    charted = [t for t in steps if t - times[bisect_right(times, t) - 1] < 24 * HOUR]
    return [*charted, last]


@lru_cache(maxsize=32)
def scales_for(names: tuple[str, ...], lib: Library) -> tuple[str, ...]:
    """The scales an answer needs: its own, those of the guidelines, those of the labels."""
    needed = dict.fromkeys(ALWAYS)
    needed.update(dict.fromkeys(guideline(name, lib).scale for name in names))
    needed.update(dict.fromkeys(products.scales(lib)))
    return tuple(name for name in needed if name in lib.scales)


@lru_cache(maxsize=8)
def conditions(lib: Library) -> Findings:
    """Every condition of guidelines, labels, work-up and causes, compiled once."""
    found: dict[str, Finding] = {}
    for part in (actions, products, tests_due, causes):
        for name, finding in part.conditions(lib).items():
            if found.get(name, finding) != finding:
                raise DefinitionError(
                    f"the finding `{name}` of {part.__name__} means something else in another part\n"
                    "  fix: give one of the two another name"
                )
            found[name] = finding
    return Findings(found, lib)


def answer(
    bed: Bedside, guidelines: Iterable[str], *, country: str | None = None, label_date: str | None = None
) -> Answer:
    """Everything said of one patient at one moment."""
    bed = bed if country is None else replace(bed, country=country.upper())
    refused: list[str] = []

    def part(name: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except TocsinError as error:
            refused.append(f"{name}: {error}")
            return []

    names = tuple(guidelines)
    said: Answer = {
        "patient_id": bed.patient,
        "at": written(bed.now),
        "died": written(bed.died),
        "therapy": therapy(bed),
        "weight": weight(bed),
        "grades": {scale: grade(bed, scale) for scale in bed.grades},
        "episode": episode(bed),
        "given": given(bed),
    }
    if bed.died is not None:
        # nothing is asked for any more; what stood before is still told
        return {
            **said,
            **{key: [] for key in ASKED},
            "product_note": "",
            "definitions": _definitions(bed, said),
        }
    limits = actions.limits_for(bed, names)
    own = part("actions", lambda: actions.actions(bed, names))
    label = part("product", lambda: products.steps(bed, limits))
    said["actions"] = [_written(each) for each in [*label, *own]]
    said["product"] = [each for each in said["actions"] if each.get("product")]
    said["product_note"] = products.note(bed)
    said["clocks"] = part(
        "clocks",
        lambda: [*products.clocks(bed), *clocks.clocks(bed, names), *clocks.again([*label, *own])],
    )
    said["tests_due"] = part("tests due", lambda: tests_due.tests_due(bed))
    said["markers"] = part("markers", lambda: tests_due.markers(bed))
    said["causes"] = part("causes", lambda: causes.causes(bed))
    said["windows"] = part("monitoring windows", lambda: windows.windows(bed, country, label_date))
    said["disagreements"] = part("disagreements", lambda: disagreements.disagreements(bed, own, names))
    said["outlook"] = part("outlook", lambda: outlook.outlook(bed.therapy, bed.lib))
    said["not_for_this_patient"] = _not_for(bed, names)
    said["missing"] = missing(bed, said)
    for each in [*label, *own]:
        if each["refused"]:
            refused.append(f"{each['drug']}: {each['refused']}")
        refused += [f"{each['drug']}: {text}" for text in each["notes"]]
    said["refused"] = list(dict.fromkeys(refused))
    said["definitions"] = _definitions(bed, said)
    return said


def _written(action: Answer) -> Answer:
    """An action with its time as text."""
    return {**action, "not_before": written(action["not_before"])}


def _not_for(bed: Bedside, names: Iterable[str]) -> list[Answer]:
    """The guidelines that were asked for and are not for this patient, with the reason."""
    out = []
    for name in names:
        fit, why = fits(bed, guideline(name, bed.lib))
        if not fit:
            out.append({"guideline": name, "because": why})
    return out


def _definitions(bed: Bedside, said: Answer) -> dict[str, str]:
    """Id to hash of every scale, guideline and dose file that the answer rests on."""
    found = {scale: str(row["definition"]) for scale, row in said["grades"].items()}
    rules = {rule.drug: rule.hash for rule in dose_rules(bed.lib).values()}
    for action in said.get("actions", ()):
        if action["guideline"] in actions.guidelines(bed.lib):
            found[f"guidelines/{action['guideline']}"] = guideline(action["guideline"], bed.lib).hash
        if action["drug"]:
            found[f"doses/{action['drug']}"] = rules[action["drug"]]
    return found
