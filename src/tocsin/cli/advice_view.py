"""An answer of `tocsin advise` as a person at a terminal reads it: the urgent first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import click

from tocsin.cli.grade import grade_text
from tocsin.cli.options import say
from tocsin.cli.output import show

Said = Mapping[str, Any]


def view(answer: Said) -> None:
    """Show one answer."""
    click.echo(heading(answer))
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


def clock(text: str | None) -> str:
    """An ISO time as people read it.

    >>> clock("2026-03-01T12:00:00Z")
    '2026-03-01 12:00'
    """
    return "" if text is None else text[:16].replace("T", " ")


def _grades(answer: Said) -> None:
    rows = [
        (
            scale,
            grade_text(row["grade"], row["up_to"], row["ambiguous"], bool(row["waiting_for"])),
            clock(row["start"]),
            ", ".join(row["because"]),
            ", ".join(row["waiting_for"]),
        )
        for scale, row in answer["grades"].items()
    ]
    show(("scale", "grade", "since (UTC)", "because", "waiting for"), rows)


def _actions(answer: Said) -> None:
    for guideline, actions in groupby(answer["actions"], lambda each: each["guideline"]):
        rows = [(_strength(each), _what(each), _note(each)) for each in actions]
        show(("", "action", ""), rows, title=guideline)


def _strength(action: Said) -> str:
    return str(action.get("strength") or "")


def _what(action: Said) -> str:
    text = str(action["text"])
    if action.get("dose") is not None:
        dose = f"[bold]{action['dose_rounded']:g} {action['unit']}[/]"
        if action["dose_rounded"] != action["dose"]:
            dose += f" (calculated {action['dose']:.4g})"
        text += f"\n{dose} {action.get('route') or ''}".rstrip()
    if action.get("allowed") is False:
        text += f"\n[bold red]not now: {action['limit']}[/]"
    elif action.get("limit"):
        text += f"\n[dim]{action['limit']}[/]"
    return text


def _note(action: Said) -> str:
    parts = [*(f"if {name}" for name in action.get("if_known") or ()), ", ".join(action["source"])]
    if action["status"] != "checked":
        parts.append(str(action["status"]))
    return "\n".join(part for part in parts if part)


def _product(answer: Said) -> None:
    rows = [
        (each.get("action") or "", each.get("text") or "", _sources(each))
        for each in answer.get("product") or ()
    ]
    if rows:
        show(("product action", "", ""), rows, title="Label and next dose")


def _clocks(answer: Said) -> None:
    rows = [
        (clock(each["due"]), each["state"], each["guideline"], each["text"], _sources(each))
        for each in answer.get("clocks") or ()
    ]
    if rows:
        show(("due (UTC)", "", "guideline", "", ""), rows, title="Clocks")


def _tests(answer: Said) -> None:
    due = [each for each in answer.get("tests_due") or () if each.get("at_once") or _overdue(each)]
    rows = [
        (
            "now" if each.get("at_once") else f"{each['overdue_hours']:.3g} h late",
            each["test"], _words(each["because"]), _sources(each),
        )
        for each in due
    ]
    if rows:
        show(("due", "test", "because", ""), rows, title="Tests due")


def _overdue(each: Said) -> bool:
    return (each.get("overdue_hours") or 0) > 0


def _causes(answer: Said) -> None:
    rows = [
        (each["cause"], each["standing"], _words(each["because"]), _words(each.get("changes") or ()))
        for each in answer.get("causes") or ()
    ]
    if rows:
        show(("cause", "", "because", "what it changes"), rows, title="Causes to tell apart")


def _disagreements(answer: Said) -> None:
    rows = [
        (each["topic"], "\n".join(f"{one['guideline']}: {one['says']}" for one in each["positions"]))
        for each in answer.get("disagreements") or ()
    ]
    if rows:
        show(("guidelines differ on", ""), rows)


def _sources(each: Said) -> str:
    return _note({"source": each.get("source") or (), "status": each.get("status", "draft")})


def _words(texts: Sequence[str] | str | Iterable[str]) -> str:
    return texts if isinstance(texts, str) else ", ".join(texts)
