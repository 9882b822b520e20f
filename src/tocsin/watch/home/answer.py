"""One answer for somebody at home: what to do, whom to call, why; from the rules of triage, if approved.

It is asked twice: of the whole record as it stands, and of what was told just now as if it were all that is
known of today. The more urgent one is given. So a good reading of this morning never covers what is missing
now, and something told of two hours ago is not covered by a better reading since.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tocsin.advice.told import told_in
from tocsin.advice.urgency import triage
from tocsin.definitions.advice import URGENCIES, triage_rules
from tocsin.definitions.home import home_page
from tocsin.definitions.load import Library
from tocsin.watch.approvals import of_home
from tocsin.watch.clock import HOUR, moment_of
from tocsin.watch.home.diary import entry_of

CALM = URGENCIES[0]
#: What is said where the rules are not approved: nothing milder than a call now.
UNAPPROVED = "call-now"
_NUMBER = re.compile(r"\+?\d(?:(?:[\s().-]{1,2}|/)?\d)*")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the page says. `told` is triage's answer, none where its rules are not approved here; `again`
    when to check again after a calm one, in microseconds."""

    urgency: str
    told: Mapping[str, Any] | None
    again: int | None = None

    @property
    def calm(self) -> bool:
        """Whether nothing asks for a call."""
        return self.urgency == CALM


def answer_of(service: Any, facts: Sequence[Mapping[str, Any]], entry: str, language: str) -> Answer:
    """The answer to one entry, now; `facts` is the canonical record of the person it is about."""
    lib, now = service.lib, service.clock.now()
    if not approved(service, language):
        return Answer(UNAPPROVED, None)
    told = max(_asked(facts, entry, now, lib, language), key=lambda each: URGENCIES.index(each["urgency"]))
    again = None
    if told["urgency"] == CALM:
        again = now + round(home_page(lib).check_again_hours * HOUR)
    return Answer(told["urgency"], told, again)


def approved(service: Any, language: str) -> bool:
    """Whether everything that an answer rests on is approved here."""
    known = service.approved()
    return all(known(found) for found in of_home(language, service.lib).values())


def _asked(
    facts: Sequence[Mapping[str, Any]], entry: str, now: int, lib: Library, language: str
) -> Iterable[dict[str, Any]]:
    """Triage of what was told just now, and of the whole record; if both are as urgent, the first counts."""
    moment, rules = moment_of(now), triage_rules(lib)
    whole = told_in(facts, moment, lib)
    asked = {*rules.asks, *rules.symptoms, *rules.assessments}
    just_now = [
        {**row, "time": moment, "recorded": None} if row["measure"] in asked else row
        for row in facts
        if row["measure"] not in asked or entry_of(row.get("source")) == entry
    ]
    yield triage(replace(told_in(just_now, moment, lib), usual=whole.usual), lib, language)
    yield triage(whole, lib, language)


def numbers(text: str | None, least: int = 5) -> list[tuple[str, str]]:
    """Every telephone number in a text, as it is written and as it is dialled; shorter ones than `least`
    digits are hours or days.

    >>> numbers("8-18 h: 555 0140 / at night +1 (555) 0141")
    [('555 0140', '5550140'), ('+1 (555) 0141', '+15550141')]
    >>> numbers("ask at the desk"), numbers(None)
    ([], [])
    """
    found = ((each[0], re.sub(r"[^\d+]", "", each[0])) for each in _NUMBER.finditer(text or ""))
    return [(shown, dialled) for shown, dialled in found if least <= len(dialled.lstrip("+")) < 16]
