"""What was told at home, as its page shows it again, and as the ward is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi.responses import Response

from tocsin.advice.words import plain
from tocsin.definitions.advice import URGENCIES
from tocsin.definitions.home import HomeTexts, home_page
from tocsin.definitions.load import Library
from tocsin.definitions.texts import texts
from tocsin.units import convert
from tocsin.watch import alert_log, alerts, audit, ledger
from tocsin.watch.home.access import Visitor
from tocsin.watch.home.answer import Answer
from tocsin.watch.roles import SYSTEM

Row = Mapping[str, Any]


def small(content: Any) -> Response:
    """A small answer for the page's own script."""
    return Response(orjson.dumps(content), media_type="application/json")


def degrees(celsius: float, unit: str | None) -> str:
    """A temperature in the unit of somebody's thermometer, and in the other.

    >>> degrees(38.5, "[degF]")
    '101.3 °F (38.5 °C)'
    """
    both = [f"{celsius:.1f} °C", f"{convert('Cel', '[degF]').apply(celsius):.1f} °F"]
    if unit == "[degF]":
        both.reverse()
    return f"{both[0]} ({both[1]})"


def readings(rows: Sequence[Row], words: HomeTexts, unit: str | None) -> list[tuple[str, str]]:
    """What was measured, each as a label and a value; both numbers of a pressure as one."""
    found = {row["measure"]: row for row in rows if row.get("value") is not None}
    out = []
    for name, label in words["measured"].items():
        if name not in found or name == "diastolic-bp":
            continue
        value = f"{found[name]['value']:g}"
        if name == "temperature":
            value = degrees(float(found[name]["value"]), unit)
        elif name == "systolic-bp":
            label = words["ask"]["cuff"]
            value += f" / {found['diastolic-bp']['value']:g}" if "diastolic-bp" in found else ""
        elif name == "spo2":
            label, value = words["ask"]["oxygen"], f"{value} %"
        out.append((label, value))
    return out


def entry_said(rows: Sequence[Row], words: HomeTexts, unit: str | None, lib: Library) -> dict[str, Any]:
    """One entry in plain words: readings, signs, medicines, own words."""
    page, say = home_page(lib), texts(words.language, lib)
    names = {row["measure"] for row in rows}
    signs: list[str] = []
    for tile, gives in page.gives.items():
        if {measure for measure, _ in gives} <= names and all(_same(rows, *each) for each in gives):
            signs.append(words["tile"][tile])
    if page.worried in names:
        signs.append(plain(page.worried, say, lib))
    took = [words["medicine"][name] for name in page.medicines if name in names]
    own = [str(row["text"]) for row in rows if row["measure"] == page.words and row.get("text")]
    return {"readings": readings(rows, words, unit), "signs": signs, "took": took, "words": own}


def _same(rows: Sequence[Row], measure: str, word: str | None) -> bool:
    return any(row["measure"] == measure and (word is None or row.get("text") == word) for row in rows)


def tell_ward(service: Any, who: Visitor, entry: str, answer: Answer) -> None:
    """An alert where the page sends somebody to hospital: most signs that do so change no grade."""
    if answer.told is None or URGENCIES.index(answer.urgency) < URGENCIES.index(
        home_page(service.lib).alert_from
    ):
        return
    person, shadow = service.people.person(who.patient_id), service.settings.shadow
    new = alerts.Proposed(
        f"{person} home {entry}", person, alerts.HOME, service.sweep.rules.grade_role, what=answer.urgency,
        definition=answer.told["definition"],
    )  # fmt: skip
    with service.store.writing() as con:
        raised = alert_log.raise_all(con, [new], service.clock.now(), shadow=shadow)
        ref = ledger.refs_of(con, [person]).get(person)
        for row in raised:
            detail = {"kind": row["kind"], "scale": None, "grade": None}
            audit.note(con, service.clock, SYSTEM, "alert:raise", patient=ref, detail=detail)
    for row in raised:
        service.hub.publish("alert", {"ref": ref, "id": row["id"]}, shadow=shadow)
