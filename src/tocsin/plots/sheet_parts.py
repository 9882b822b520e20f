"""What stands on the hand-over sheet, in its order, whatever it is printed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Said = Mapping[str, Any]
NOTE = (
    "For research and decision support by trained staff; not a diagnosis, no order. Guidelines stand side "
    "by side. All of it is draft, resting on one reader; (memory) rests on no source at hand."
)
UNKNOWN = "not known"
FIRST = ("astct-2019", "icans-astct-2019")
#: A grade's shape, as on every picture.
SHAPES = {0: "○", 1: "●", 2: "◆", 3: "■", 4: "⬢", 5: "✚"}
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
        hours = float(therapy.get("hours_since") or 0.0)
        dose = f"dose {therapy.get('dose_number', UNKNOWN)} at {clock(therapy.get('dose_time'))}"
        since = f"{therapy.get('title', UNKNOWN)}, {dose}, +{hours:.4g} h (day {int(hours // 24)})"
    if answer.get("died"):
        since += f" · died {clock(answer['died'])}"
    return f"Hand-over: {answer.get('patient_id', UNKNOWN)}", f"{clock(answer.get('at'))} UTC · {since}"


def clock(text: Any, missing: str = UNKNOWN) -> str:
    """An ISO time as people read it.

    >>> clock("2026-03-01T12:00:00Z"), clock(None)
    ('2026-03-01 12:00', 'not known')
    """
    return str(text)[:16].replace("T", " ") if text else missing


def parts(answer: Said, printed: datetime) -> list[Part]:
    """Every section of the sheet; what is not there is said to be not known."""
    weight = answer.get("weight")
    kg = f"{weight['value']:g} kg, charted {clock(weight['time'])}" if weight else UNKNOWN
    return [
        _grades(answer),
        Part("Given", lines=_given(answer)),
        Part(
            "Drugs asked for now",
            ("drug and dose", "asked for by"),
            _drugs(answer),
            (f"weight for doses: **{kg}** · allergies: not in the record, ask", *_limits(answer)),
        ),
        Part("Clocks", ("due (UTC)", "then", "by"), _clocks(answer), _none(answer, "clocks")),
        Part("Tests due", lines=_tests(answer)),
        Part("The therapy itself", ("when", "what", "by"), _product(answer), _note(answer)),
        Part("Also asked for now", ("", "what"), _others(answer)),
        Part("Causes to tell apart", ("cause", "what it changes"), _causes(answer)),
        Part("Monitoring windows", lines=_windows(answer)),
        Part("Guidelines differ on", ("topic", "now"), _differ(answer)),
        Part("Not known", lines=tuple(answer.get("missing") or ("nothing that is asked for",))),
        Part("Sources and definitions", lines=(*_sources(answer), *_hashes(answer, printed)), small=True),
    ]


def _none(answer: Said, key: str) -> tuple[str, ...]:
    if key not in answer:
        return (UNKNOWN,)
    return () if answer[key] else ("none",)


def _grades(answer: Said) -> Part:
    """The answer's own scales in full, the others in a line; those of guidelines for others left out."""
    rows, more = [], []
    elsewhere = {each["guideline"] for each in answer.get("not_for_this_patient") or ()}
    for scale, row in (answer.get("grades") or {}).items():
        grade, top = row.get("grade", UNKNOWN), row.get("up_to")
        told = f"{SHAPES.get(grade, '?')} {grade}" + (f" (up to {top})" if top not in (None, grade) else "")
        if scale in FIRST:
            because = ", ".join(row.get("because") or ()).replace("-", " ") or "-"
            peak = f"{row.get('peak', UNKNOWN)} at {clock(row.get('peak_at'))}"
            rows.append((scale, f"**{told}**", clock(row.get("start")), peak, because))
        elif scale not in elsewhere:
            more.append(f"{scale} **{told}**")
    headings = ("scale", "grade now", "since (UTC)", "peak", "because")
    lines = (f"other scales: {', '.join(more)}",) if more else ()
    return Part("Grade", headings, tuple(rows), lines if rows else (UNKNOWN,))


def _given(answer: Said) -> tuple[str, ...]:
    """One line a drug: every time with its amount; an infusion as its first and last rate."""
    if "given" not in answer:
        return (UNKNOWN,)
    drugs: dict[str, list[Said]] = {}
    for each in answer["given"]:
        drugs.setdefault(each["drug"], []).append(each)
    lines = []
    for drug, rows in drugs.items():
        told = [
            f"{clock(row['time'])[5:]}" + ("" if row.get("value") is None else f" {row['value']:g}")
            for row in rows
        ]
        if len(told) > 4:
            told = [told[0], f"... ({len(told)} times)", told[-1]]
        unit = next((row["unit"] for row in rows if row.get("unit")), "")
        lines.append(f"{drug}: {', '.join(told)} {unit}".rstrip())
    return tuple(lines) or ("nothing in the last week",)


def _who(item: Said) -> str:
    mark = " (memory)" if item.get("status") == "memory" else ""
    return f"{item.get('guideline', UNKNOWN)}{mark}"


def _drugs(answer: Said) -> tuple[tuple[str, ...], ...]:
    """One line a drug and dose, with everyone who asks for it, and on which condition."""
    rows: dict[str, list[str]] = {}
    for action in answer.get("actions") or ():
        if action.get("drug"):
            rows.setdefault(_dose(action), []).append(_asked(action))
        elif action.get("action") in DRUG_KINDS:
            rows.setdefault(str(action.get("text")), []).append(_asked(action))
    return tuple((dose, "; ".join(dict.fromkeys(who))) for dose, who in rows.items())


def _asked(action: Said) -> str:
    """Who asks, how firmly, and on what it depends that is not known."""
    strength = action.get("strength", "give")
    firm = "" if strength == "give" else f"{strength}: "
    open_ = f" (if {', '.join(action['if_known'])})" if action.get("if_known") else ""
    return f"{firm}{_who(action)}{open_}"


def _dose(action: Said) -> str:
    if action.get("dose") is None:
        return f"{action['drug']}: {action.get('refused') or 'no dose'}"
    high = f" to {action['dose_high']:g}" if action.get("dose_high") is not None else ""
    every = " to ".join(f"{hours:g}" for hours in action.get("every_hours") or ())
    text = f"{action['drug']} **{action['dose_rounded']:g}{high} {action['unit']}**"
    text += f" every {every} h" if every else ""
    if action.get("allowed") is False:
        text += f"; **not before {clock(action.get('not_before'))}**"
    elif action.get("allowed") is None and action.get("limit"):
        text += "; **perhaps not now, by country**"
    return text


def _limits(answer: Said) -> tuple[str, ...]:
    """What limits each drug, and what was refused, once."""
    limits = [f"{a['drug']}: {a['limit']}" for a in answer.get("actions") or () if a.get("limit")]
    return (*dict.fromkeys(limits), *(f"refused: {text}" for text in answer.get("refused") or ()))


def _others(answer: Said) -> tuple[tuple[str, ...], ...]:
    """What is asked besides drugs, one line a kind, each text once with who asks for it."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for action in answer.get("actions") or ():
        if not (action.get("drug") or action.get("product") or action.get("action") in DRUG_KINDS):
            texts = kinds.setdefault(str(action.get("action", "")), {})
            texts.setdefault(str(action.get("text")), []).append(_asked(action))
    return tuple(
        (kind, "; ".join(f"{text} [{', '.join(dict.fromkeys(who))}]" for text, who in texts.items()))
        for kind, texts in kinds.items()
    )


def _product(answer: Said) -> tuple[tuple[str, ...], ...]:
    return tuple(
        ("next dose" if each.get("next") else "now", str(each.get("text")), _asked(each))
        for each in answer.get("product") or ()
    )


def _note(answer: Said) -> tuple[str, ...]:
    note = answer.get("product_note")
    return (str(note),) if note else _none(answer, "product")


def _clocks(answer: Said) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            f"**{clock(each.get('due'))}**" + (" (passed)" if each.get("state") == "passed" else ""),
            str(each.get("then")),
            _who(each),
        )
        for each in answer.get("clocks") or ()
    )


def _tests(answer: Said) -> tuple[str, ...]:
    """What is due now, what is late, and what its results cannot be read for."""
    if "tests_due" not in answer:
        return (UNKNOWN,)
    now = [_marked(each) for each in answer["tests_due"] if each.get("at_once")]
    late = [
        f"{_marked(each)} ({each['overdue_hours']:.3g} h late)"
        for each in answer["tests_due"]
        if not each.get("at_once") and (each.get("overdue_hours") or 0) > 0
    ]
    lines = [f"**now**: {', '.join(now)}"] if now else []
    lines += [f"**late**: {', '.join(late)}"] if late else []
    lines += [f"{each['marker']}: {each['text']}" for each in answer.get("markers") or ()]
    return tuple(lines) or ("none",)


def _marked(each: Said) -> str:
    return f"{each.get('test', UNKNOWN)}" + (" (memory)" if each.get("status") == "memory" else "")


def _causes(answer: Said) -> tuple[tuple[str, ...], ...]:
    """Each cause that stands, with what it changes where it is stated or likely."""
    rows = []
    for each in answer.get("causes") or ():
        standing = each.get("standing")
        if standing in ("not known", "against"):
            continue
        changes = (
            each.get("changes") or () if standing in ("stated", "likely") else (each.get("changes") or ())[:1]
        )
        told = "; ".join(str(change.get("text")) for change in changes)
        rows.append((f"{each.get('cause')}: {standing}", told))
    return tuple(rows)


def _windows(answer: Said) -> tuple[str, ...]:
    if "windows" not in answer:
        return (UNKNOWN,)
    return tuple(
        f"until {clock(each['ends']) if each.get('ends') else 'told otherwise'}"
        f" ({each.get('country') or 'any country'}): {each.get('asks')}"
        for each in answer["windows"]
    ) or ("none",)


def _differ(answer: Said) -> tuple[tuple[str, ...], ...]:
    """The positions of the guidelines in force; what others are known to say is in `tocsin advise`."""
    rows = []
    for each in answer.get("disagreements") or ():
        said: dict[str, list[str]] = {}
        for one in each.get("positions") or ():
            if one.get("now", True):
                said.setdefault(str(one.get("says")), []).append(_who(one))
        if said:
            rows.append(
                (each.get("topic"), "; ".join(f"{', '.join(who)}: {says}" for says, who in said.items()))
            )
    return tuple(rows)


def _sources(answer: Said) -> tuple[str, ...]:
    """The keys of every source the rows rest on; `tocsin cite` writes them out."""
    keys: dict[str, None] = {}
    for name in ("actions", "clocks", "tests_due", "markers", "causes", "windows"):
        for each in answer.get(name) or ():
            keys.update(dict.fromkeys(each.get("source") or ()))
    keys.pop("memory", None)
    return (f"sources (tocsin cite KEY writes one out): {', '.join(sorted(keys)) or UNKNOWN}",)


def _hashes(answer: Said, printed: datetime) -> tuple[str, ...]:
    found = answer.get("definitions") or {}
    line = ", ".join(f"{name} {str(value)[:8]}" for name, value in sorted(found.items()))
    return (f"definitions: {line or UNKNOWN}", f"printed {printed.strftime('%Y-%m-%d %H:%M')} UTC")
