"""What a patient's page says: who it is, the grade and why, what would change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow.compute as pc
import sqlalchemy as sa

from tocsin.definitions.load import Library
from tocsin.definitions.schema import Scale
from tocsin.grading.batch import grade_table
from tocsin.grading.why import why
from tocsin.plots.look import unit_text
from tocsin.watch.clock import moment_of
from tocsin.watch.pages_words import worded
from tocsin.watch.schema import patients
from tocsin.watch.standing import Standing

#: Measures of which one answers for the others.
GROUPS = {
    "systolic-bp": "blood pressure", "mean-bp": "blood pressure", "diastolic-bp": "blood pressure",
    "oxygen-device": "oxygen given", "oxygen-flow": "oxygen given", "fio2": "oxygen given",
    "spo2": "oxygen saturation",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Person:
    """Who it is, from the table of patients."""

    patient_id: str
    ref: str
    name: str
    record_number: str
    age: str
    sex: str
    ward: str
    bed: str
    allergies: str | None
    team_phone: str
    time_zone: str | None
    discharged: int | None


@dataclass(frozen=True, slots=True)
class GradeCard:
    """Where the patient stands under one scale; `state` as on the board."""

    scale: str
    title: str
    grade: int
    up_to: int
    proven: int
    proven_at: int | None
    state: str
    start: int
    ambiguous: bool
    because: tuple[str, ...]
    waiting_for: tuple[str, ...]
    definition: str


def person_of(con: sa.Connection, patient_id: str, now: int) -> Person:
    """The details of a patient who has a row."""
    row = con.execute(sa.select(patients).where(patients.c.patient_id == patient_id)).one()
    return Person(
        patient_id, row.ref, row.name or "", row.record_number or "", age_of(row.birth_date, now),
        row.sex or "", row.ward or "", row.bed or "", row.allergies, row.team_phone or "", row.time_zone,
        row.discharged,
    )  # fmt: skip


def age_of(born: str | None, now: int) -> str:
    """Completed years; empty where the birth date is not known, or lies ahead.

    >>> age_of("1969-06-01", 0), age_of("1960-01-01", 0), age_of(None, 0)
    ('0', '10', '')
    """
    try:
        birth = date.fromisoformat(born or "")
    except ValueError:
        return ""
    today = moment_of(now).date()
    years = today.year - birth.year - ((today.month, today.day) < (birth.month, birth.day))
    return "" if birth > today else str(years)


def cards(standing: Mapping[str, Standing], lib: Library) -> list[GradeCard]:
    """The grade under every scale watched."""
    return [card(each, lib) for each in standing.values()]


def card(each: Standing, lib: Library) -> GradeCard:
    """One answer of grading with its words."""
    scale = lib.scale(each.scale)
    return GradeCard(
        each.scale, scale.title, each.grade, each.up_to, each.proven, each.proven_at, state_of(each),
        each.start, each.ambiguous, tuple(titled(scale, name) for name in each.because),
        tuple(measured(lib, name) for name in each.waiting_for), each.definition,
    )  # fmt: skip


def state_of(each: Standing) -> str:
    """As on the board: a lapse is no recovery, and nobody measuring is no zero."""
    if each.proven > each.grade:
        return "lapsed"
    if each.up_to > each.grade:
        return "not-ruled-out" if each.grade or each.because or not each.waiting_for else "unmeasured"
    return "graded"


def titled(scale: Scale, name: str) -> str:
    """A finding in words."""
    if name == "death":
        return "death attributed to it"
    found = scale.findings.get(name)
    return (found.title if found else "") or worded(name)


def measured(lib: Library, name: str) -> str:
    """A measure in words, as inside a sentence."""
    title = lib.measure(name).title if name in lib.measures else worded(name)
    return title if title[1:2].isupper() or title[1:2] == "-" else title[:1].lower() + title[1:]


def asked(lib: Library, name: str) -> str:
    """What to measure, where one of several measures would do."""
    return GROUPS.get(name) or measured(lib, name)


def why_of(service: Any, patient_id: str, scale_id: str) -> dict[str, Any]:
    """From findings to rows of the scale: what was charted, what it proves, what would change it."""
    lib, now = service.lib, service.clock.now()
    scale = lib.scale(scale_id)
    each = service.standing(patient_id)[scale_id]
    facts = service.facts_of(patient_id)
    facts = facts.filter(pc.less_equal(facts["time"], moment_of(now)))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in each.because}
    if facts.num_rows:
        person = facts["patient_id"][0].as_py()
        for name, fact in why(facts, scale_id, person, moment_of(now), lib):
            found.setdefault(name, []).append(charted(fact, lib))
    return {
        "card": card(each, lib),
        "scale": scale,
        "findings": [(titled(scale, name), rows) for name, rows in found.items()],
        "rungs": met(scale, each),
        "higher": higher(scale, each),
        "ahead": ahead(facts, scale_id, each, lib),
        "asks": [each_.asks for each_ in scale.judgements if each_.id in each.judgement],
        "flags": [worded(flag) for flag in each.flags],
        "reading": scale.reading,
    }  # fmt: skip


def charted(fact: Mapping[str, Any], lib: Library) -> dict[str, Any]:
    """One fact as a line: what, when, from where, when it became known."""
    number = fact.get("value")
    value = "" if number is None else f"{number:.10g} {unit_text(fact.get('unit'))}".strip()
    if fact.get("text") in ("<", ">"):
        value = f"{fact['text']} {value}"
    elif fact.get("text"):
        value = f"{worded(str(fact['text']))} {value}".strip()
    return {
        "title": lib.measure(fact["measure"]).title if fact["measure"] in lib.measures else fact["measure"],
        "measure": fact["measure"],
        "value": value,
        "at": at(fact["time"]),
        "recorded": at(fact.get("recorded")),
        "source": fact.get("source") or "",
        "end": at(fact.get("end")),
    }


def at(moment: Any) -> int | None:
    """A time of a table as microseconds."""
    return None if moment is None else round(moment.timestamp() * 1_000_000)


def met(scale: Scale, each: Standing) -> list[str]:
    """The rows of the scale that set the grade."""
    holds = set(each.because)
    rows = [row for row in scale.rows if row.grade == each.grade and not row.possible]
    return [
        row.title or f"grade {row.grade}"
        for row in rows
        if set(row.all) <= holds and (not row.any or holds & set(row.any))
    ]


def higher(scale: Scale, each: Standing) -> list[dict[str, Any]]:
    """Each higher grade: what it takes, and whether it is ruled out now."""
    steps: list[dict[str, Any]] = []
    for grade in sorted({row.grade for row in scale.rows if row.grade > each.grade}):
        rows = [row for row in scale.rows if row.grade == grade and not row.possible]
        steps.append(
            {"grade": grade, "takes": [row.title for row in rows if row.title], "open": grade <= each.up_to}
        )
    return steps


def ahead(facts: Any, scale: str, each: Standing, lib: Library) -> list[dict[str, Any]]:
    """What happens with time alone if nothing more is charted: a lapse, never called recovery."""
    if not facts.num_rows:
        return []
    rows = grade_table(facts, [scale], lib=lib).to_pylist()
    changes: list[dict[str, Any]] = []
    before = (each.grade, each.up_to)
    for row in rows:
        start = at(row["start"])
        if start is None or start <= each.now or (row["grade"], row["up_to"]) == before:
            continue
        before = (row["grade"], row["up_to"])
        changes.append(
            {
                "at": start,
                "grade": row["grade"],
                "up_to": row["up_to"],
                "lapse": row["up_to"] > row["grade"],
                "waiting": [measured(lib, name) for name in row["waiting_for"]],
            }
        )
    return changes[:4]
