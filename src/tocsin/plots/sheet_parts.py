"""What stands on the hand-over sheet, in its order, whatever it is printed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tocsin.citations import cite, references

Said = Mapping[str, Any]
NOTE = (
    "For research and decision support by trained staff; not a diagnosis, no order. Guidelines stand side "
    "by side. All of it is draft, resting on one reader; (memory) rests on no source at hand."
)
UNKNOWN = "not known"
DRUG_KINDS = ("anti-il6", "steroid", "other-agent", "antipyretic")


@dataclass(frozen=True, slots=True)
class Part:
    """One section: a table, lines below it, or both; `**` marks what is strong."""

    title: str
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()
    small: bool = False


def head_of(answer: Said) -> tuple[str, str]:
    """Who, and which product, dose, day."""
    therapy = answer.get("therapy")
    since = "no therapy charted"
    if therapy:
        day = int(therapy["hours_since"] // 24)
        since = (
            f"{therapy['title']}, dose {therapy['dose_number']} at {clock(therapy['dose_time'])}, "
            f"+{therapy['hours_since']:.4g} h (day {day})"
        )
    return f"Hand-over: {answer.get('patient_id', UNKNOWN)}", f"{clock(answer.get('at'))} UTC · {since}"


def clock(text: Any) -> str:
    """An ISO time as people read it."""
    return str(text)[:16].replace("T", " ") if text else UNKNOWN


def parts(answer: Said, printed: datetime) -> list[Part]:
    """Every section of the sheet; what is not there is said to be not known."""
    weight = answer.get("weight")
    kg = f"{weight['value']:g} kg, charted {clock(weight['time'])}" if weight else UNKNOWN
    return [
        _grades(answer),
        Part("Given", ("when (UTC)", "what", "how much"), _given(answer), _none(answer, "given")),
        Part("Drugs asked for now", ("what", "dose", "by"), _drugs(answer), _refused(answer)),
        Part("Also asked for now", ("what", "by"), _others(answer)),
        Part("The therapy itself", ("when", "what", "by"), _product(answer), _note(answer)),
        Part("Clocks", ("due (UTC)", "then", "by"), _clocks(answer), _none(answer, "clocks")),
        Part("Tests due", ("test", "due", "last (UTC)"), _tests(answer), _markers(answer)),
        Part("Causes to tell apart", ("cause", "standing", "what it changes"), _causes(answer)),
        Part("Monitoring windows", ("until (UTC)", "what is asked", "where"), _windows(answer)),
        Part("Weight and allergies", lines=(f"weight for doses: **{kg}**", "allergies: not in the record")),
        Part("Guidelines differ on", ("topic", "positions"), _differ(answer)),
        Part("Not known", (), (), tuple(answer.get("missing") or ("nothing that is asked for",))),
        Part("Sources", (), (), _sources(answer), True),
        Part("Definitions", (), (), _hashes(answer, printed), True),
    ]  # fmt: skip


def _none(answer: Said, key: str) -> tuple[str, ...]:
    if key not in answer:
        return (UNKNOWN,)
    return () if answer[key] else ("none",)


def _grades(answer: Said) -> Part:
    rows = []
    for scale, row in (answer.get("grades") or {}).items():
        grade = f"**{row['grade']}**" + (f" (up to {row['up_to']})" if row["up_to"] > row["grade"] else "")
        peak = f"{row['peak']} at {clock(row['peak_at'])}"
        rows.append((scale, grade, clock(row["start"]), peak, ", ".join(row["because"]) or "-"))
    headings = ("scale", "grade now", "since (UTC)", "peak", "because")
    return Part("Grade", headings, tuple(rows), () if rows else (UNKNOWN,))


def _given(answer: Said) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            clock(each["time"]), each["drug"],
            "" if each.get("value") is None else f"{each['value']:g} {each.get('unit') or ''}",
        )
        for each in (answer.get("given") or ())[-14:]
    )  # fmt: skip


def _who(action: Said) -> str:
    mark = " (memory)" if action["status"] == "memory" else ""
    return f"{action['guideline']}{mark}"


def _drugs(answer: Said) -> tuple[tuple[str, ...], ...]:
    """One line a drug and dose, with everyone who asks for it."""
    rows: dict[tuple[str, str], list[str]] = {}
    for action in answer.get("actions") or ():
        if (action["action"] not in DRUG_KINDS and not action.get("drug")) or _left(action):
            continue
        what = action["text"] if action["strength"] == "give" else f"{action['strength']}: {action['text']}"
        rows.setdefault((_open(what, action), _dose(action)), []).append(_who(action))
    return tuple((what, dose, ", ".join(dict.fromkeys(who))) for (what, dose), who in rows.items())


def _left(action: Said) -> bool:
    """Whether an action is too open for paper: only to be considered, and its condition is not known."""
    return action["strength"] != "give" and bool(action.get("if_known"))


def _open(text: str, action: Said) -> str:
    return f"{text} (if: {', '.join(action['if_known'])})" if action.get("if_known") else text


def _dose(action: Said) -> str:
    if action.get("dose") is None:
        return str(action.get("refused") or "")
    high = f" to {action['dose_high']:g}" if action.get("dose_high") is not None else ""
    every = " to ".join(f"{hours:g}" for hours in action.get("every_hours") or ())
    text = f"**{action['dose_rounded']:g}{high} {action['unit']}**" + (f" every {every} h" if every else "")
    if action.get("allowed") is False:
        text += f"; **not before {clock(action.get('not_before'))}**"
    elif action.get("limit"):
        text += f"; {action['limit']}"
    return text


def _others(answer: Said) -> tuple[tuple[str, ...], ...]:
    rows: dict[str, list[str]] = {}
    for action in answer.get("actions") or ():
        drug = action["action"] in DRUG_KINDS or action.get("drug")
        if drug or action.get("product") or _left(action):
            continue
        what = action["text"] if action["strength"] == "give" else f"{action['strength']}: {action['text']}"
        rows.setdefault(_open(what, action), []).append(_who(action))
    return tuple((what, ", ".join(dict.fromkeys(who))) for what, who in rows.items())


def _product(answer: Said) -> tuple[tuple[str, ...], ...]:
    return tuple(
        ("next dose" if each["next"] else "now", _open(each["text"], each), _who(each))
        for each in answer.get("product") or ()
    )


def _note(answer: Said) -> tuple[str, ...]:
    note = answer.get("product_note")
    return (str(note),) if note else _none(answer, "product")


def _refused(answer: Said) -> tuple[str, ...]:
    limits = [f"{a['drug']}: {a['limit']}" for a in answer.get("actions") or () if a.get("limit")]
    left = sum(_left(action) for action in answer.get("actions") or ())
    more = [f"{left} more to consider depend on what is not known: tocsin advise lists them"] if left else []
    refused = [f"refused: {text}" for text in answer.get("refused") or ()]
    return (*dict.fromkeys(limits), *refused, *more)


def _clocks(answer: Said) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            f"**{clock(each['due'])}** {'(passed)' if each['state'] == 'passed' else ''}",
            each["then"],
            _who(each),
        )
        for each in answer.get("clocks") or ()
    )


def _tests(answer: Said) -> tuple[tuple[str, ...], ...]:
    rows = []
    for each in answer.get("tests_due") or ():
        late = each.get("overdue_hours") or 0
        if each.get("at_once") or late > 0:
            due = "**now**" if each.get("at_once") else f"**{late:.3g} h late**"
            rows.append((each["test"], due, clock(each["last"]) if each.get("last") else "never"))
    return tuple(rows)


def _markers(answer: Said) -> tuple[str, ...]:
    return tuple(f"{each['marker']}: {each['text']}" for each in answer.get("markers") or ())


def _causes(answer: Said) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (each["cause"], each["standing"], "; ".join(change["text"] for change in each["changes"]))
        for each in answer.get("causes") or ()
        if each["standing"] not in ("not known", "against")
    )


def _windows(answer: Said) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (clock(each["ends"]) if each.get("ends") else "open", each["asks"], each.get("country") or "any")
        for each in answer.get("windows") or ()
    )


def _differ(answer: Said) -> tuple[tuple[str, ...], ...]:
    rows = []
    for each in answer.get("disagreements") or ():
        said: dict[str, list[str]] = {}
        for one in each["positions"]:
            said.setdefault(one["says"], []).append(one["guideline"])
        rows.append((each["topic"], "; ".join(f"{', '.join(who)}: {says}" for says, who in said.items())))
    return tuple(rows)


def _sources(answer: Said) -> tuple[str, ...]:
    """Every source the shown rows rest on, written out."""
    known = references()
    keys: dict[str, None] = {}
    for name in ("actions", "clocks", "tests_due", "markers", "causes", "windows"):
        for each in answer.get(name) or ():
            keys.update(dict.fromkeys(each.get("source") or ()))
    return tuple(f"{key}: {cite(key).text()}" for key in sorted(keys) if key in known)


def _hashes(answer: Said, printed: datetime) -> tuple[str, ...]:
    found = answer.get("definitions") or {}
    line = ", ".join(f"{name} {str(value)[:10]}" for name, value in sorted(found.items()))
    return (line or UNKNOWN, f"printed {printed.strftime('%Y-%m-%d %H:%M')} UTC")
