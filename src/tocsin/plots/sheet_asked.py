"""What is asked for on the hand-over sheet: drugs with their doses, everything else by kind, and by whom."""

from __future__ import annotations

from typing import Any

from tocsin.definitions.load import Library
from tocsin.plots.sheet_words import UNKNOWN, Said, asked, listed, named, who

DRUG_KINDS = ("anti-il6", "steroid", "other-agent", "antipyretic")
#: The order in which the other kinds are read; kinds not named follow.
KINDS = (
    "place", "fluids", "vasopressor", "oxygen", "ventilation", "infection", "monitoring", "tests",
    "growth-factor", "supportive", "review", "plasmapheresis",
)  # fmt: skip
TITLES = {
    "anti-il6": "anti-IL-6", "growth-factor": "growth factor", "other-agent": "other agent",
    "review": "think of", "tests": "further tests",
}  # fmt: skip
#: What a guideline only allows stands apart, so that what is asked for stays in sight.
OPTIONS = "options, not ranked"
STRENGTHS = {"give": "", "consider": "consider: ", "may": "", "avoid": "**avoid:** "}


def drugs(answer: Said, lib: Library) -> tuple[tuple[str, str], ...]:
    """A row a drug: every dose asked for, each with everyone who asks for it; options come last."""
    rows: dict[str, dict[str, list[str]]] = {}
    options: dict[str, list[str]] = {}
    for action in answer.get("actions") or ():
        if not _is_drug(action):
            continue
        drug = str(action.get("drug") or "")
        text = _text(action, drug, answer.get("at"))
        if action.get("strength") == "may":
            options.setdefault(f"{drug} {text}".strip(), []).append(who(action))
            continue
        name = named(drug, lib) if drug else TITLES.get(str(action.get("action")), str(action.get("action")))
        rows.setdefault(name, {}).setdefault(text or "as needed", []).append(who(action))
    if options:
        rows[OPTIONS] = options
    return tuple((name, listed(each)) for name, each in rows.items())


def _is_drug(action: Said) -> bool:
    return bool(action.get("drug")) or action.get("action") in DRUG_KINDS


def _text(action: Said, drug: str, at: Any) -> str:
    """Dose, wording where it says more than the drug's name, and what it depends on."""
    words = str(action.get("text") or "").strip()
    bare = words.casefold() == drug.casefold()
    dose = asked(action, at)
    text = " · ".join(part for part in (dose, "" if bare else words) if part)
    return _open(STRENGTHS.get(str(action.get("strength")), "") + text, action)


def _open(text: str, action: Said) -> str:
    names = ", ".join(action.get("if_known") or ())
    return f"{text} (only if, not known: {names})" if names else text


def limits(answer: Said) -> tuple[str, ...]:
    """What limits a dose now, what was not calculated and why; each once."""
    said: dict[str, None] = {}
    for action in answer.get("actions") or ():
        if action.get("limit"):
            said.setdefault(f"{action.get('drug') or UNKNOWN}: {action['limit']}")
    for text in answer.get("refused") or ():
        said.setdefault(f"**refused:** {text}")
    return tuple(said)


def others(answer: Said) -> tuple[tuple[str, str], ...]:
    """A row a kind of action that is no drug."""
    rows: dict[str, dict[str, list[str]]] = {}
    for action in answer.get("actions") or ():
        if _is_drug(action) or action.get("product"):
            continue
        prefix = "may: " if action.get("strength") == "may" else ""
        text = prefix + _text(action, "", answer.get("at"))
        kind = str(action.get("action") or UNKNOWN)
        rows.setdefault(kind, {}).setdefault(text, []).append(who(action))
    order = {kind: i for i, kind in enumerate(KINDS)}
    return tuple(
        (TITLES.get(kind, kind), listed(rows[kind]))
        for kind in sorted(rows, key=lambda kind: order.get(kind, len(order)))
    )


def product(answer: Said) -> tuple[tuple[str, str], ...]:
    """What the label asks for with the therapy itself: now, and for the next dose."""
    rows: dict[str, dict[str, list[str]]] = {}
    for each in answer.get("product") or ():
        text = _open(str(each.get("text") or each.get("action") or UNKNOWN), each)
        rows.setdefault("next dose" if each.get("next") else "now", {}).setdefault(text, []).append(who(each))
    return tuple((when, listed(each)) for when, each in rows.items())
