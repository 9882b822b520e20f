"""What a patient's page says: the grade and why, what would change it, the advice side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow.compute as pc
import sqlalchemy as sa

from tocsin.definitions.guideline import guideline
from tocsin.definitions.load import Library
from tocsin.definitions.schema import Scale, TocsinError
from tocsin.grading.batch import grade_table
from tocsin.grading.why import why
from tocsin.plots.look import quantity
from tocsin.watch.clock import moment_of
from tocsin.watch.pages_words import clock, micros_of, worded
from tocsin.watch.schema import patients
from tocsin.watch.standing import Standing

#: Times inside the texts of an answer.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:\.\d+)?Z")


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
        patient_id, row.ref, row.name or "", row.record_number or "", age_of(row.birth_date, now), row.sex or "",
        row.ward or "", row.bed or "", row.allergies, row.team_phone or "", row.time_zone, row.discharged,
    )  # fmt: skip


def age_of(born: str | None, now: int) -> str:
    """Completed years.

    >>> age_of("1969-06-01", 0), age_of("1960-01-01", 0), age_of(None, 0)
    ('', '10', '')
    """
    try:
        birth = date.fromisoformat(born or "")
    except ValueError:
        return ""
    today = moment_of(now).date()
    years = today.year - birth.year - ((today.month, today.day) < (birth.month, birth.day))
    return str(years) if years > 0 else ("" if years < 0 or not born or birth > today else "0")


def cards(standing: Mapping[str, Standing], lib: Library) -> list[GradeCard]:
    """The grade under every scale watched."""
    return [card(each, lib) for each in standing.values()]


def card(each: Standing, lib: Library) -> GradeCard:
    """One answer of grading with its words."""
    scale = lib.scale(each.scale)
    return GradeCard(
        each.scale, scale.title, each.grade, each.up_to, each.proven, each.proven_at, state_of(each), each.start,
        each.ambiguous, tuple(titled(scale, name) for name in each.because),
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


def why_of(service: Any, patient_id: str, scale_id: str) -> dict[str, Any]:
    """Findings to rows: what was charted, what it proves, which row of the scale it meets, what would change it."""
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
    value = quantity(fact.get("value"), fact.get("unit"))
    if fact.get("text"):
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


def advice_view(
    service: Any, answer: Mapping[str, Any], *, doses: bool, now: int, tz: Any
) -> dict[str, Any]:
    """One answer of `tocsin.advise` as the page shows it: side by side, chosen for nobody."""

    def timed(text: Any) -> str:
        return _TIME.sub(lambda found: clock(micros_of(found[0]), now, tz), str(text or ""))

    approved = service.approved()
    shown = [acted(each, answer, service, approved, timed, doses) for each in answer.get("actions") or ()]
    guides: dict[str, dict[str, Any]] = {}
    for each in shown:
        guide = guides.setdefault(each["guideline"], {"title": name_of(each["guideline"], service.lib), "items": []})
        guide["items"].append(each)
    for guide in guides.values():
        guide["items"].sort(key=lambda each: (not each["drug"], each["strength"] != "give"))
    weight = answer.get("weight")
    return {
        "guides": guides,
        "drugs": drugs(shown),
        "hidden": sum(each["hidden"] for each in shown),
        "weight": {**weight, "at": micros_of(weight["time"])} if weight else None,
        "product": [timed(each.get("text", each)) if isinstance(each, dict) else timed(each) for each in answer["product"]],
        "product_note": answer.get("product_note") or "",
        "clocks": [clocked(each, timed, service.lib) for each in answer.get("clocks") or ()],
        "tests": [tested(each) for each in answer.get("tests_due") or ()],
        "markers": [{**each, "because": timed(each.get("because"))} for each in answer.get("markers") or ()],
        "causes": answer.get("causes") or (),
        "windows": [{**each, "ends_at": micros_of(each.get("ends"))} for each in answer.get("windows") or ()],
        "disagreements": [differing(each, service.lib, doses) for each in answer.get("disagreements") or ()],
        "missing": [worded(text) for text in answer.get("missing") or ()],
        "refused": [timed(text) for text in answer.get("refused") or ()] if doses else [],
        "outlook": answer.get("outlook") or (),
        "died": micros_of(answer.get("died")),
    }  # fmt: skip


def acted(
    each: Mapping[str, Any], answer: Mapping[str, Any], service: Any, approved: Any, timed: Any, doses: bool
) -> dict[str, Any]:
    """One action; its amount only where a named clinician has approved everything it rests on."""
    dosed = each.get("dose") is not None
    cleared = doses or approvals(each, answer, approved)
    show = dosed and cleared
    # a drug's text from a guideline may hold the amount too
    text = timed(each.get("text"))
    return {
        "guideline": each.get("guideline", ""), "strength": each.get("strength", ""), "drug": each.get("drug"),
        "text": text if cleared or not each.get("drug") else worded(each["drug"]),
        "dose": quantity(each.get("dose_rounded") or each["dose"], each.get("unit")) if show else "",
        "how": how(each) if show else "",
        "exact": quantity(each["dose"], each.get("unit")) if show else "",
        "hidden": bool(each.get("drug")) and not cleared,
        "allowed": each.get("allowed"), "limit": timed(each.get("limit")) if cleared else "",
        "not_before": micros_of(each.get("not_before")), "refused": timed(each.get("refused")) if cleared else "",
        "if_known": [worded(name) for name in each.get("if_known") or ()],
        "notes": [timed(note) for note in each.get("notes") or ()] if cleared else [],
        "status": each.get("status", "draft"), "source": each.get("source") or (), "locator": each.get("locator", ""),
    }  # fmt: skip


def approvals(each: Mapping[str, Any], answer: Mapping[str, Any], approved: Any) -> bool:
    """Whether every definition behind an action is approved; an action that names none never is."""
    hashes = answer.get("definitions") or {}
    therapy = (answer.get("therapy") or {}).get("id")
    names = (f"guidelines/{each.get('guideline')}", f"doses/{each.get('drug')}", f"therapies/{therapy}")
    behind = [hashes[name] for name in names if name in hashes]
    return bool(behind) and all(approved.approval_of(name) for name in behind)


def how(each: Mapping[str, Any]) -> str:
    """Route, duration and interval of a dose."""
    words = [str(each["route"])] if each.get("route") else []
    if each.get("over_hours"):
        words.append(f"over {each['over_hours']:g} h")
    if each.get("every_hours"):
        words.append("every " + " or ".join(f"{hours:g}" for hours in each["every_hours"]) + " h")
    return ", ".join(words)


def drugs(shown: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line a drug and dose, with everyone who asks for it."""
    lines: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each in shown:
        if not each["drug"]:
            continue
        key = (each["drug"], each["dose"], each["how"])
        line = lines.setdefault(key, {**each, "asked": []})
        asked = f"{each['guideline']}{'' if each['strength'] == 'give' else ' (' + each['strength'] + ')'}"
        if asked not in line["asked"]:
            line["asked"].append(asked)
    return list(lines.values())


def clocked(each: Mapping[str, Any], timed: Any, lib: Library) -> dict[str, Any]:
    """One clock: from when, then what, by whom."""
    return {
        "at": micros_of(each.get("due")), "state": each.get("state"), "then": timed(each.get("then")),
        "by": name_of(each.get("guideline", ""), lib), "status": each.get("status", "draft"),
    }  # fmt: skip


def tested(each: Mapping[str, Any]) -> dict[str, Any]:
    """One test that is due, and how late it is."""
    late = each.get("overdue_hours") or 0
    return {
        "test": each["test"], "at_once": each.get("at_once"), "late": round(late * 3600e6),
        "last": micros_of(each.get("last")), "because": each.get("because") or (), "note": each.get("note", ""),
        "status": each.get("status", "draft"), "strength": each.get("strength", ""),
    }  # fmt: skip


def differing(each: Mapping[str, Any], lib: Library, doses: bool) -> dict[str, Any]:
    """One thing that guidelines say differently; amounts in it are hidden with the others."""
    positions = [
        {
            "who": name_of(one["guideline"], lib),
            "says": one["says"] if doses else re.sub(r"\s*\([^)]*\d[^)]*\)", "", one["says"]),
            "now": one.get("now"),
            "status": one.get("status", "draft"),
        }
        for one in each["positions"]
    ]
    return {"topic": each["topic"], "positions": positions}


def name_of(guide: str, lib: Library) -> str:
    """A guideline's title."""
    if guide in ("label", "limits"):
        return {"label": "Product label", "limits": "Limits of the drug"}[guide]
    try:
        return guideline(guide, lib).title
    except TocsinError:
        return worded(guide)


def concealed(answer: Mapping[str, Any], approved: Any) -> dict[str, Any]:
    """An answer without the amounts that nobody has approved here."""
    actions = []
    for each in answer.get("actions") or ():
        if each.get("drug") and not approvals(each, answer, approved):
            each = {
                **each, "dose": None, "dose_rounded": None, "dose_high": None, "limit": "", "course": [],
                "text": worded(each["drug"]), "refused": "hidden until approved (tocsin approve)", "notes": [],
            }  # fmt: skip
        actions.append(each)
    return {**answer, "actions": actions, "disagreements": [], "product": []}
