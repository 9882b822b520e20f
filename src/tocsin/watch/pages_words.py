"""Times, ages and grades as people read them on a page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tocsin.watch.clock import DAY, HOUR, MINUTE, moment_of


def zone(name: str | None) -> tzinfo:
    """The time zone of this IANA name; UTC where there is none or it is not known.

    >>> str(zone(None)), str(zone("No/Where"))
    ('UTC', 'UTC')
    """
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def micros_of(text: str | None) -> int | None:
    """An ISO time with an offset as microseconds; None for nothing."""
    if not text:
        return None
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def clock(micros: int | None, now: int, tz: tzinfo = UTC) -> str:
    """Clock time; with the day where it is another one.

    >>> clock(14 * HOUR + 28 * MINUTE, 15 * HOUR), clock(-HOUR, 15 * HOUR)
    ('14:28', 'Wed 23:00')
    """
    if micros is None:
        return ""
    moment, present = moment_of(micros).astimezone(tz), moment_of(now).astimezone(tz)
    if moment.date() == present.date():
        return f"{moment:%H:%M}"
    if abs(micros - now) < 6 * DAY:
        return f"{moment:%a %H:%M}"
    return f"{moment.day} {moment:%b %H:%M}"


def stamp(micros: int | None, tz: tzinfo = UTC) -> str:
    """Date, time and zone in full.

    >>> stamp(0)
    '1970-01-01 00:00 UTC'
    """
    return "" if micros is None else f"{moment_of(micros).astimezone(tz):%Y-%m-%d %H:%M %Z}"


def span(micros: int) -> str:
    """How long, in the unit that matters.

    >>> span(30_000_000), span(22 * MINUTE), span(5 * HOUR + MINUTE), span(75 * HOUR)
    ('1 min', '22 min', '5 h', '3 d')
    """
    micros = abs(micros)
    if micros < HOUR:
        return f"{max(1, micros // MINUTE)} min"
    return f"{micros // HOUR} h" if micros < 2 * DAY else f"{micros // DAY} d"


def ago(micros: int | None, now: int) -> str:
    """How long ago, or how far ahead.

    >>> ago(0, 22 * MINUTE), ago(2 * HOUR, 0), ago(0, 1)
    ('22 min ago', 'in 2 h', 'now')
    """
    if micros is None:
        return ""
    if abs(now - micros) < MINUTE:
        return "now"
    return f"{span(now - micros)} ago" if micros < now else f"in {span(now - micros)}"


def since_dose(hours: float | None) -> str:
    """Hours since the dose, days once hours say nothing.

    >>> since_dose(61.4), since_dose(400), since_dose(None)
    ('+61 h', 'day 16', '')
    """
    if hours is None:
        return ""
    return f"{hours:+.0f} h" if hours < 200 else f"day {hours // 24:.0f}"


def worded(name: str) -> str:
    """An id as words.

    >>> worded("low-flow-oxygen")
    'low flow oxygen'
    """
    return name.replace("-", " ")


def sourced(text: str) -> str:
    """A source as far as people need it: ours are long numbers.

    >>> sourced("fact:ae3c8472c2ddb3dbace3262de196f327"), sourced("vitals.csv:14")
    ('charted here, ae3c84', 'vitals.csv:14')
    """
    if text.startswith("home:"):
        return f"told at home, {text[5:11]}"
    return f"charted here, {text[5:11]}" if text.startswith("fact:") else text


def glued(text: str) -> str:
    """A text in which no line begins with the unit of a number.

    >>> glued("It is 38.2 °C")
    'It is 38.2\\xa0°C'
    """
    return re.sub(r"(?<=[0-9]) (?=[°%])", "\u00a0", text)


def grade_said(grade: int, up_to: int, proven: int, state: str) -> str:
    """A grade in words, for those who hear the page and for the titles of marks.

    >>> grade_said(2, 4, 2, "not-ruled-out")
    'grade 2 proven, up to 4 not ruled out'
    >>> grade_said(0, 4, 3, "lapsed")
    'was grade 3, not measured since; up to 4 not ruled out'
    """
    if state == "lapsed":
        return f"was grade {proven}, not measured since; up to {max(up_to, proven)} not ruled out"
    if state == "unmeasured":
        return f"nobody measured; up to grade {up_to} not ruled out"
    if up_to > grade:
        return f"grade {grade} proven, up to {up_to} not ruled out"
    return f"grade {grade}"
