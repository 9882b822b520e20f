"""An answer of `tocsin advise` as a person at a terminal reads it: the urgent first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from tocsin.cli.grade import grade_text
from tocsin.cli.options import say
from tocsin.cli.output import show
from tocsin.plots.sheet_parts import clock

Said = Mapping[str, Any]


def view(answer: Said) -> None:
    """Show one answer."""
    click.echo(heading(answer))
    if answer.get("died"):
        click.echo(f"died {clock(answer['died'])} UTC; nothing is asked for")
    _grades(answer)
    _actions(answer)
    _product(answer)
    _clocks(answer)
    _tests(answer)
    _causes(answer)
    _disagreements(answer)
    for title, name in (("Not known", "missing"), ("Refused", "refused")):
        if answer.get(name):
            click.echo(f"{title}:")
            for text in answer[name]:
                click.echo(f"  - {text}")
    say("draft: rests on memory or on one reader; guidelines stand side by side, none is chosen for you")


def heading(answer: Said) -> str:
    """Who, when, and how long after which dose.

    >>> heading({"patient_id": "p1", "at": "2026-03-01T12:00:00Z", "therapy": None})
    'p1 at 2026-03-01 12:00 UTC · no therapy charted'
    """
    since = "no therapy charted"
    if answer["therapy"]:
        told = answer["therapy"]
        since = f"{told['title']} dose {told['dose_number']}, +{told['hours_since']:.4g} h"
    return f"{answer['patient_id']} at {clock(answer['at'])} UTC · {since}"


def _grades(answer: Said) -> None:
    rows = [
        (
            scale,
            grade_text(row["grade"], row["up_to"], row["ambiguous"], bool(row["waiting_for"])),
            clock(row["start"], ""),
            ", ".join(row["because"]),
            ", ".join(row["waiting_for"]),
        )
        for scale, row in answer["grades"].items()
    ]
    show(("scale", "grade", "since (UTC)", "because", "waiting for"), rows)


#: The order in which kinds of action are read, with what they are called.
KINDS = {
    "place": "place", "anti-il6": "anti-IL-6", "steroid": "steroid", "fluids": "fluids",
    "vasopressor": "vasopressor", "oxygen": "oxygen", "ventilation": "ventilation", "infection": "infection",
    "antipyretic": "antipyretic", "supportive": "supportive", "monitoring": "monitoring", "tests": "tests",
    "growth-factor": "growth factor", "review": "think of", "other-agent": "other agents",
    "plasmapheresis": "plasmapheresis",
}  # fmt: skip
MARKS = {"give": "", "consider": "consider: ", "may": "may: ", "avoid": "[bold]avoid[/]: "}


def _actions(answer: Said) -> None:
    """All guidelines in one table by kind of action: what is asked, and by whom."""
    rows = []
    for kind, title in KINDS.items():
        asked: dict[str, list[str]] = {}
        for action in answer["actions"]:
            if action["action"] == kind:
                asked.setdefault(_what(action), []).append(_who(action))
        for i, (what, who) in enumerate(asked.items()):
            rows.append((title if not i else "", what, ", ".join(dict.fromkeys(who))))
    if rows:
        show(("", "what is asked for now", "by"), rows)
    for note in dict.fromkeys(_dose_notes(answer)):
        click.echo(note)


def _what(action: Said) -> str:
    text = MARKS[action["strength"]] + str(action["text"])
    if action["dose"] is not None:
        high = f" to {action['dose_high']:g}" if action["dose_high"] is not None else ""
        every = " to ".join(f"{hours:g}" for hours in action["every_hours"])
        text += f" · [bold]{action['dose_rounded']:g}{high} {action['unit']}[/]"
        text += f" {action['route']}" if action["route"] else ""
        text += f" every {every} h" if every else ""
    if action["refused"]:
        text += f" · [red]no dose: {action['refused']}[/]"
    if action["allowed"] is None and action["limit"]:
        text += " · [bold]perhaps not now, by country[/]"
    if action["allowed"] is False:
        text += f" · [bold red]not before {clock(action['not_before'])}[/]"
    if action["if_known"]:
        text += f" · [dim]not known: {', '.join(action['if_known'])}[/]"
    return text


def _who(action: Said) -> str:
    return f"{action['guideline']} (memory)" if action["status"] == "memory" else str(action["guideline"])


def _dose_notes(answer: Said) -> Iterable[str]:
    """How each dose was worked out and what limits it, once a drug."""
    for action in answer["actions"]:
        if action["dose"] is None:
            continue
        told = []
        if action["dose_rounded"] != action["dose"]:
            told.append(f"calculated {action['dose']:.5g} {action['unit']}")
        if action["limit"]:
            told.append(action["limit"])
        if told:
            yield f"{action['drug']}: {'; '.join(told)}"


def _product(answer: Said) -> None:
    rows = [
        (
            "next dose" if each["next"] else "now", each["text"], str(each["action"]).replace("_", " "),
            f"{each['guideline']}: {_sources(each)}",
        )
        for each in answer["product"]
    ]  # fmt: skip
    if rows:
        show(("the therapy", "", "action", "source"), rows)
    if answer["product_note"]:
        click.echo(answer["product_note"])


def _clocks(answer: Said) -> None:
    rows = [(clock(each["due"]), each["guideline"], each["then"], each["state"]) for each in answer["clocks"]]
    if rows:
        show(("clock (UTC)", "", "then", ""), rows)


def _tests(answer: Said) -> None:
    due = [each for each in answer["tests_due"] if each["at_once"] or _overdue(each)]
    rows = [
        (
            each["test"],
            "now" if each["at_once"] else f"{each['overdue_hours']:.3g} h late",
            clock(each["last"], "never"),
            _words(each["because"]),
        )
        for each in due
    ]
    if rows:
        show(("test due", "", "last (UTC)", "because"), rows)
    for each in answer["markers"]:
        until = f" until {clock(each['until'])}" if each["until"] else ""
        click.echo(f"{each['marker']}{until}: {each['text']}")


def _overdue(each: Said) -> bool:
    return (each.get("overdue_hours") or 0) > 0


def _causes(answer: Said) -> None:
    rows = [
        (
            each["cause"], each["standing"], _words(each["because"]),
            "; ".join(change["text"] for change in each["changes"]),
        )
        for each in answer["causes"]
        if each["standing"] != "not known"
    ]  # fmt: skip
    if rows:
        show(("cause", "", "because", "what it changes"), rows)


def _disagreements(answer: Said) -> None:
    for each in answer["disagreements"]:
        said: dict[str, list[str]] = {}
        for one in each["positions"]:
            said.setdefault(one["says"], []).append(one["guideline"])
        show((f"they differ: {each['topic']}", ""), [(", ".join(who), says) for says, who in said.items()])


def _sources(each: Said) -> str:
    keys = ", ".join(key for key in each.get("source") or () if key != "memory")
    return f"{keys} (memory)".strip() if each.get("status") == "memory" else keys


def _words(texts: Sequence[str] | str | Iterable[str]) -> str:
    return texts if isinstance(texts, str) else ", ".join(texts)
