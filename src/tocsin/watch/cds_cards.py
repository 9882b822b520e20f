"""Cards: where a patient stands and why, as CDS Hooks 2.0 ("Card Attributes") shapes them.

What stood in a record is never markup: every text is escaped for GitHub Flavored Markdown, which the
specification asks for, and for readers that take it for HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tocsin.definitions.card import CardRules
from tocsin.definitions.load import Library
from tocsin.watch.cds_facts import Chart
from tocsin.watch.pages_advice import name_of
from tocsin.watch.pages_words import micros_of, worded
from tocsin.watch.patient_view import asked, titled

Card = dict[str, Any]
#: "One-sentence, <140-character summary message".
SUMMARY = 139
#: Lines of one list, and characters of one text.
MOST, LONGEST = 6, 300
ABOUT = "For decision support by trained staff; not a diagnosis."
KEYS = {
    "patient": "who the patient is", "vital-signs": "vital signs", "bedside": "oxygen and consciousness",
    "laboratory": "laboratory results", "medications": "drugs given", "procedures": "procedures",
    "conditions": "conditions", "devices": "devices",
}  # fmt: skip
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:@/=\"'^$])")
_MEANT = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


@dataclass(frozen=True, slots=True)
class Ground:
    """What cards rest on and point to: `stored` and `sent` count facts; addresses are empty where none."""

    chart: Chart
    stored: int
    known: bool
    page: str = ""
    launch: str = ""
    docs: str = ""


def cards(
    answer: Mapping[str, Any], scales: Iterable[str], ground: Ground, rules: CardRules, lib: Library,
    *, watched: bool,
) -> list[tuple[str, Card]]:  # fmt: skip
    """Scale and card of one answer of `advise` (its amounts concealed before), the most urgent first.

    Who is neither `watched` nor has a therapy charted gets none: a fever alone is common.
    """
    if not answer or answer.get("died") or not (watched or answer.get("therapy")):
        return []
    found: list[tuple[str, Card]] = []
    for scale in scales:
        row = answer["grades"].get(scale)
        indicator = None if row is None else rules.indicator(scale, row["grade"], row["up_to"], row["flags"])
        if indicator is not None:
            found.append((scale, _card(answer, scale, row, indicator, ground, lib, first=not found)))
    order = ("critical", "warning", "info")
    return sorted(found, key=lambda each: order.index(each[1]["indicator"]))


def _card(
    answer: Mapping[str, Any], scale: str, row: Mapping[str, Any], indicator: str, ground: Ground,
    lib: Library, *, first: bool,
) -> Card:  # fmt: skip
    definition = lib.scale(scale)
    because = [titled(definition, name) for name in row["because"]]
    waiting = list(dict.fromkeys(asked(lib, name) for name in row["waiting_for"]))
    source = {"label": f"{definition.title}, definition {row['definition'][:12]}"}
    if ground.docs:
        source["url"] = ground.docs
    links = []
    if ground.page:
        links.append({"label": "Open in Tocsin", "url": ground.page, "type": "absolute"})
    if ground.launch:
        links.append({"label": "Open Tocsin here", "url": ground.launch, "type": "smart"})
    card: Card = {
        "uuid": str(uuid4()),
        "summary": summary(definition.title, row, because, waiting),
        "detail": "\n\n".join(_detail(answer, scale, row, because, waiting, ground, lib, whole=first)),
        "indicator": indicator,
        "source": source,
    }
    return {**card, "links": links} if links else card


def summary(title: str, row: Mapping[str, Any], because: Sequence[str], waiting: Sequence[str]) -> str:
    """One plain sentence, shorter than 140 characters: what is proven, and what is not ruled out.

    >>> summary("ASTCT CRS", {"grade": 1, "up_to": 3}, ["fever"], ["oxygen saturation"])
    'ASTCT CRS: grade 1, up to 3 not ruled out; fever; not measured: oxygen saturation'
    """
    head = f"{title}: grade {row['grade']}"
    if row["up_to"] > row["grade"]:
        head += f", up to {row['up_to']} not ruled out"
    parts = [head[:SUMMARY]]
    if because:
        parts.append(", ".join(because))
    if row["up_to"] > row["grade"] and waiting:
        parts.append(f"not measured: {', '.join(waiting)}")
    text = parts[0]
    for part in parts[1:]:
        text += f"; {part}"
    text = " ".join(text.split())
    return text if len(text) <= SUMMARY else f"{text[: SUMMARY - 1].rstrip()}…"


def _detail(
    answer: Mapping[str, Any], scale: str, row: Mapping[str, Any], because: Sequence[str],
    waiting: Sequence[str], ground: Ground, lib: Library, *, whole: bool,
) -> list[str]:  # fmt: skip
    """The parts of a card's text; what is asked for stands on the first card alone."""
    definition = lib.scale(scale)
    up_to = f", up to {row['up_to']} not ruled out" if row["up_to"] > row["grade"] else ""
    parts = [f"**{escaped(definition.title)}: grade {row['grade']}{up_to}**, since {when(row['start'])}"]
    if row["peak"] > row["grade"]:
        parts.append(f"It was grade {row['peak']} at {when(row['peak_at'])}.")
    if because:
        parts.append(listed("Because of", because))
    if waiting and up_to:
        parts.append(listed("Not ruled out without", waiting))
    if row["ambiguous"]:
        parts.append("The published scale can be read in two ways here.")
    if judged := [each.asks for each in definition.judgements if each.id in row["judgement"]]:
        parts.append(listed("Only a person can say", judged))
    if row["flags"]:
        parts.append(listed("Note", [worded(flag) for flag in row["flags"]]))
    if whole:
        if therapy := answer.get("therapy"):
            hours = f"{therapy['hours_since']:.0f} h after dose {therapy['dose_number']}"
            parts.append(f"{escaped(therapy['title'])}, {hours}")
        parts += _asked(answer, lib)
    parts.append(_rests(ground))
    parts.append(f"Definition {escaped(scale)}, {row['definition']}. {ABOUT}")
    return parts


def _asked(answer: Mapping[str, Any], lib: Library) -> list[str]:
    """What is due, and what guidelines ask for."""
    parts, now = [], micros_of(answer["at"]) or 0
    due = [
        f"{worded(each['test'])}{' (overdue)' if each.get('overdue_hours') else ''}"
        for each in answer.get("tests_due") or ()
        if (at := micros_of(each["due"])) is not None and at <= now
    ]
    if due:
        parts.append(listed("Tests due", due))
    told = [
        f"{each['text']} ({name_of(each['guideline'], lib)})"
        for each in answer.get("actions") or ()
        if each.get("text") and each["strength"] == "give" and not each.get("if_known")
    ]
    if told:
        parts.append(listed("Guidelines, side by side", list(dict.fromkeys(told))))
    return parts


def _rests(ground: Ground) -> str:
    """What the answer rests on, and what of the chart is not in it."""
    chart = ground.chart
    told = [f"Rests on {chart.rows.num_rows} facts of this chart"]
    told[0] += f" and {ground.stored} charted in Tocsin." if ground.known else "."
    if chart.lacking:
        told.append(f"Not sent: {', '.join(KEYS[key] for key in chart.lacking)}.")
    if chart.cut:
        told.append(f"Only the newest came of: {', '.join(KEYS[key] for key in chart.cut)}.")
    if chart.unread:
        told.append(f"Could not be read: {chart.unread}.")
    if chart.others:
        told.append(f"About somebody else, and left out: {chart.others}.")
    return " ".join(told)


def differing(docs: str) -> Card:
    """The card where chart and store say different days of birth: nothing is graded of two persons."""
    source = {"label": "Tocsin"} | ({"url": docs} if docs else {})
    return {
        "uuid": str(uuid4()),
        "summary": "Not graded: the day of birth in this chart is not the one in Tocsin",
        "detail": "Two persons may share this number. Check who it is; then correct the wrong record.",
        "indicator": "warning",
        "source": source,
    }


def listed(head: str, items: Sequence[str]) -> str:
    """A list in Markdown, every item escaped; what is over is counted."""
    lines = [f"- {escaped(item)}" for item in items[:MOST]]
    if len(items) > MOST:
        lines.append(f"- and {len(items) - MOST} more")
    return "\n".join([f"{head}:", "", *lines])


def escaped(text: str) -> str:
    """A text that Markdown and HTML show as it is: on one line, without what could be a tag or a link.

    >>> escaped('<b onclick="x">[a](https://evil.example)\\n# b')
    '&lt;b onclick\\\\=\\\\"x\\\\"&gt;\\\\[a\\\\]\\\\(https\\\\:\\\\/\\\\/evil\\\\.example\\\\) \\\\# b'
    """
    plain = "".join(each if each.isprintable() else " " for each in str(text))
    plain = " ".join(plain.split())
    plain = plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"
    return re.sub(r"[&<>]", lambda found: _MEANT[found[0]], _MARKUP.sub(r"\\\1", plain))


def when(text: str | None) -> str:
    """A time of an answer, in UTC.

    >>> when("2026-03-01T14:30:00Z")
    '2026-03-01 14:30 UTC'
    """
    return f"{text[:10]} {text[11:16]} UTC" if text else "an unknown time"
