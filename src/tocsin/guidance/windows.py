"""How long a patient is watched: by product, country and label date; every dose opens its window anew."""

from __future__ import annotations

from datetime import date
from typing import Any

from tocsin.definitions.monitoring import COUNTRIES, Window
from tocsin.definitions.monitoring import windows as known_windows
from tocsin.grading.opcodes import HOUR
from tocsin.guidance.bedside import Bedside, moment, written
from tocsin.guidance.happenings import course, window_end

Said = dict[str, Any]
#: Other spellings of the countries that rules are written for.
SPELLINGS = {"GB": "UK", "USA": "US"}


def windows(bed: Bedside, country: str | None = None, label_date: date | str | None = None) -> list[Said]:
    """What labels and leaflets ask for while a window stands, each with the dose that opened it.

    Parameters
    ----------
    country    : only rules of that country, and those that name none. None, or a country no rule is written
        for: all are shown, and `note` says so.
    label_date : the site's label, as a date or as `2024-01`; none = the rules of every date. `in_force` says
        whether a rule's label was in force when the dose was given; a date too rough to tell keeps both.

    `ends` is none where no length is printed. The risk window of each product, in which CRS may begin, is
    always there, whatever the label asks for.
    """
    asked = None if country is None else SPELLINGS.get(country.upper(), country.upper())
    note = ""
    if asked is not None and asked not in COUNTRIES:
        asked, note = None, f"no rule is written for {country}: those of all countries are shown"
    label = label_date.isoformat() if isinstance(label_date, date) else label_date
    out: list[Said] = []
    for therapy in dict.fromkeys(str(row["measure"]) for row in reversed(bed.doses)):
        out += _of(bed, therapy, asked, label, note)
    return out


def _of(bed: Bedside, therapy: str, country: str | None, label: str | None, note: str) -> list[Said]:
    """The windows of one therapy that stand now."""
    rules = [rule for rule in known_windows(bed.lib) if set(rule.therapies) & _names(bed, therapy)]
    here = [rule for rule in rules if country is None or rule.country in ("", country)]
    title = bed.lib.measure(therapy).title
    if not rules:
        note = f"no monitoring rule of {title} was found: ask its label"
    elif not here:
        here, note = rules, f"no rule of {title} was found for {country}: those of other countries are shown"
    here = [rule for rule in here if label is None or _in_force(rule, label) is not False]
    out = [said for rule in here if (said := _window(bed, therapy, rule, note)) is not None]
    risk = _risk(bed, therapy, "" if out else note)
    return [*out, *([risk] if risk else [])]


def _names(bed: Bedside, therapy: str) -> set[str]:
    return {therapy, *bed.lib.measure(therapy).classes}


def _window(bed: Bedside, therapy: str, rule: Window, note: str) -> Said | None:
    """One rule with the latest dose that opens it; None where none does, or it is over."""
    doses = [row for row in bed.doses if row["measure"] == therapy]
    first = len(doses) - len(course(bed, therapy)) + 1
    numbers = [first] if rule.from_first else range(len(doses), 0, -1)
    opened = next((n for n in numbers if rule.opened_by(n)), None)
    if opened is None:
        return None
    dose = doses[opened - 1]
    t = int(dose["time"])
    ends = None if rule.hours is None else t + round(rule.hours * HOUR)
    closes = window_end(bed, dose) if ends is None else ends
    if closes is not None and bed.now >= closes:
        return None
    return {
        "therapy": therapy, "topic": rule.topic, "asks": rule.asks, "country": rule.country or None,
        "since": rule.since or None, "until_label": rule.until or None,
        "in_force": _in_force(rule, moment(t).date().isoformat()), "dose_number": opened,
        "opened": written(t), "ends": written(ends), "note": note, "reading": rule.reading,
        "source": list(rule.source), "status": rule.status,
    }  # fmt: skip


def _risk(bed: Bedside, therapy: str, note: str) -> Said | None:
    """The time in which CRS of this product may begin, from its latest dose."""
    doses = [row for row in bed.doses if row["measure"] == therapy]
    ends = window_end(bed, doses[-1])
    if ends is None or bed.now >= ends:
        return None
    measure = bed.lib.measure(therapy)
    return {
        "therapy": therapy, "topic": "risk", "asks": "CRS may begin: fever is CRS until shown otherwise",
        "country": None, "since": None, "until_label": None, "in_force": None, "dose_number": len(doses),
        "opened": written(doses[-1]["time"]), "ends": written(ends), "note": note,
        "reading": measure.reading, "source": list(measure.sources), "status": measure.status,
    }  # fmt: skip


def _in_force(rule: Window, day: str) -> bool | None:
    """Whether a label of this date carries the rule; None where the date is too rough to tell."""
    verdicts = [True]
    if rule.since:
        short = min(len(day), len(rule.since))
        if len(day) < len(rule.since) and day[:short] == rule.since[:short]:
            return None
        verdicts.append(day >= rule.since)
    if rule.until:
        short = min(len(day), len(rule.until))
        if len(day) < len(rule.until) and day[:short] == rule.until[:short]:
            return None
        verdicts.append(day < rule.until)
    return all(verdicts)
