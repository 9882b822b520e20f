"""Advice as the page shows it: guidelines side by side, amounts only where somebody approved them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tocsin.definitions.guideline import guideline
from tocsin.definitions.load import Library
from tocsin.definitions.schema import TocsinError
from tocsin.plots.look import unit_text
from tocsin.plots.sheet_parts import DRUG_KINDS
from tocsin.watch.pages_words import clock, micros_of, worded

#: Times inside the texts of an answer.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:\.\d+)?Z")
#: An amount of a drug or fluid inside a text.
_AMOUNT = re.compile(r"\d[\d.,]*(?:\s*(?:to|-|–)\s*[\d.,]+)?\s?(?:mg|g|µg|ug|mL|L|IU|units?)\b(?:/\w+)*")
HIDDEN = "(amount hidden)"


def side_by_side(
    service: Any, answer: Mapping[str, Any], *, doses: bool, now: int, tz: Any
) -> dict[str, Any]:
    """One answer of `tocsin.advise` as the page shows it: side by side, chosen for nobody."""

    def timed(text: Any) -> str:
        return _TIME.sub(lambda found: clock(micros_of(found[0]), now, tz), str(text or ""))

    def told(text: Any) -> str:
        """A text that rests on no definition by name: without its amounts, outside a demonstration."""
        return timed(text) if doses else bare(timed(text))

    approved = service.approved()
    shown = [acted(each, answer, service, approved, timed, doses) for each in answer.get("actions") or ()]
    guides: dict[str, dict[str, Any]] = {}
    for each in shown:
        title = name_of(each["guideline"], service.lib)
        guides.setdefault(each["guideline"], {"title": title, "items": []})["items"].append(each)
    for guide in guides.values():
        guide["items"].sort(key=lambda each: (not each["drug"], each["strength"] != "give"))
    weight = answer.get("weight")
    return {
        "guides": guides,
        "drugs": drugs(shown),
        "hidden": sum(each["hidden"] for each in shown),
        "weight": {**weight, "at": micros_of(weight["time"])} if weight else None,
        "product": [told(each.get("text")) for each in answer.get("product") or ()],
        "product_note": told(answer.get("product_note")),
        "clocks": [clocked(each, told, service.lib) for each in answer.get("clocks") or ()],
        "tests": [due_test(each) for each in answer.get("tests_due") or ()],
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
    # the text of a drug may hold an amount too
    drugs = bool(each.get("drug")) or each.get("action") in DRUG_KINDS
    cleared = doses or approvals(each, answer, approved)
    text = timed(each.get("text"))
    if not cleared:
        text = worded(each.get("drug") or each["action"]) if drugs else bare(text)
    show = each.get("dose") is not None and cleared
    return {
        "guideline": each.get("guideline", ""), "strength": each.get("strength", ""),
        "drug": each.get("drug"), "locator": each.get("locator", ""),
        "text": text,
        "dose": amount(each, each.get("dose_rounded")) if show else "",
        "how": how(each) if show else "",
        "exact": amount(each, each["dose"]) if show else "",
        "hidden": drugs and not cleared,
        "allowed": each.get("allowed"), "limit": timed(each.get("limit")) if cleared else "",
        "not_before": micros_of(each.get("not_before")),
        "refused": timed(each.get("refused")) if cleared else "",
        "if_known": [worded(name) for name in each.get("if_known") or ()],
        "notes": [timed(note) for note in each.get("notes") or ()] if cleared else [],
        "status": each.get("status", "draft"), "source": each.get("source") or (),
    }  # fmt: skip


def approvals(each: Mapping[str, Any], answer: Mapping[str, Any], approved: Any) -> bool:
    """Whether every definition behind an action is approved; an action that names none never is."""
    hashes = answer.get("definitions") or {}
    therapy = (answer.get("therapy") or {}).get("id")
    names = (f"guidelines/{each.get('guideline')}", f"doses/{each.get('drug')}", f"therapies/{therapy}")
    behind = [hashes[name] for name in names if name in hashes]
    return bool(behind) and all(approved(name) for name in behind)


def bare(text: str) -> str:
    """A text without the amounts in it.

    >>> bare("dexamethasone 10 to 20 mg, then 1 mg/kg; ejection fraction below 40 %")
    'dexamethasone (amount hidden), then (amount hidden); ejection fraction below 40 %'
    """
    return _AMOUNT.sub(HIDDEN, text)


def amount(each: Mapping[str, Any], low: float | None) -> str:
    """A dose, or a range of it, to the last digit.

    >>> amount({"dose": 1234.5, "dose_high": 2000.0, "unit": "mg"}, None)
    '1234.5 to 2000 mg'
    """
    low = each["dose"] if low is None else low
    high = each.get("dose_high")
    numbers = f"{low:.10g}" + ("" if high is None else f" to {high:.10g}")
    return f"{numbers} {unit_text(each.get('unit'))}".strip()


def how(each: Mapping[str, Any]) -> str:
    """Route, duration and interval of a dose."""
    words = [str(each["route"])] if each.get("route") else []
    if each.get("over_hours"):
        words.append(f"over {each['over_hours']:g} h")
    if each.get("every_hours"):
        words.append("every " + " to ".join(f"{hours:g}" for hours in each["every_hours"]) + " h")
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


def due_test(each: Mapping[str, Any]) -> dict[str, Any]:
    """One test that is due, and how late it is."""
    late = each.get("overdue_hours") or 0
    return {
        "test": each["test"], "at_once": each.get("at_once"), "late": round(late * 3600e6),
        "last": micros_of(each.get("last")), "because": each.get("because") or (),
        "note": each.get("note", ""), "status": each.get("status", "draft"),
        "strength": each.get("strength", ""),
    }  # fmt: skip


def differing(each: Mapping[str, Any], lib: Library, doses: bool) -> dict[str, Any]:
    """One thing that guidelines say differently; amounts in it are hidden with the others."""
    positions = [
        {
            "who": name_of(one["guideline"], lib),
            "says": one["says"] if doses else bare(one["says"]),
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
        drugs = each.get("drug") or each.get("action") in DRUG_KINDS
        if drugs and not approvals(each, answer, approved):
            each = {
                **each, "dose": None, "dose_rounded": None, "dose_high": None, "limit": "", "course": [],
                "text": worded(each.get("drug") or each["action"]), "notes": [],
                "refused": "hidden until approved (tocsin approve)",
            }  # fmt: skip
        elif each.get("text") and not approvals(each, answer, approved):
            each = {**each, "text": bare(str(each["text"]))}
        actions.append(each)
    clocks = [
        {**each, "then": bare(str(each.get("then", ""))), "text": bare(str(each.get("text", "")))}
        for each in answer.get("clocks") or ()
    ]
    hidden: dict[str, Any] = {"disagreements": [], "product": [], "product_note": "", "refused": []}
    return {**answer, "actions": actions, "clocks": clocks, **hidden}
