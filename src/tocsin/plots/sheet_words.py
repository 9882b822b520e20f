"""Words of the hand-over sheet: times, amounts, and who says a thing; what is missing is said to be so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tocsin.definitions.load import Library
from tocsin.plots.look import lowered, quantity, unit_text

Said = Mapping[str, Any]
UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Badge:
    """One scale's grade as it is drawn: `grade` in its shape, `up_to` above it where not ruled out."""

    scale: str
    grade: int | None
    up_to: int | None
    unmeasured: bool
    lines: tuple[str, ...]

    @property
    def word(self) -> str:
        """What stands in the shape.

        >>> Badge("ASTCT 2019", 1, 2, False, ()).word, Badge("ASTCT 2019", 0, 4, True, ()).word
        ('1–2?', '?')
        """
        if self.grade is None or self.unmeasured:
            return "?"
        return f"{self.grade}–{self.up_to}?" if self.open else str(self.grade)

    @property
    def open(self) -> bool:
        """Whether a higher grade is not ruled out."""
        return self.grade is not None and self.up_to is not None and self.up_to > self.grade


@dataclass(frozen=True, slots=True)
class Part:
    """One section: badges, a table, a checklist, lines; `**` marks what is strong.

    `shares` are the widths of the columns in hundredths.
    """

    title: str
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()
    small: bool = False
    shares: tuple[int, ...] = ()
    checks: tuple[str, ...] = ()
    badges: tuple[Badge, ...] = ()


def clock(text: Any, at: Any = None) -> str:
    """An ISO time as people read it; the year is left out where it is that of `at`.

    >>> clock("2026-03-05T01:00:00Z"), clock("2026-03-05T01:00:00Z", "2026-03-06T00:00:00Z"), clock(None)
    ('5 Mar 2026 01:00', '5 Mar 01:00', 'not known')
    """
    if not text:
        return UNKNOWN
    time = datetime.fromisoformat(str(text))
    year = "" if at and datetime.fromisoformat(str(at)).year == time.year else f" {time.year}"
    return f"{time.day} {time:%b}{year} {time:%H:%M}"


def times(texts: Iterable[str], at: Any) -> str:
    """Several times on a line, each date said once.

    >>> times(["2026-03-04T03:30:00Z", "2026-03-04T12:00:00Z", "2026-03-05T01:00:00Z"], "2026-03-05T01:00:00Z")
    '4 Mar 03:30, 12:00, 5 Mar 01:00'
    """
    out, date = [], ""
    for text in texts:
        day, _, hour = clock(text, at).rpartition(" ")
        out.append(hour if day == date else f"{day} {hour}")
        date = day
    return ", ".join(out)


def who(item: Said) -> str:
    """Who asks for it, and whether that rests on memory."""
    name = str(item.get("guideline") or UNKNOWN)
    return f"{name} (memory)" if item.get("status") == "memory" else name


def marked(text: str, item: Said) -> str:
    """Text with its memory mark."""
    return f"{text} (memory)" if item.get("status") == "memory" else text


def named(measure: Any, lib: Library) -> str:
    """What a measure is called inside a sentence; its id where the library does not hold it."""
    name = str(measure)
    return lowered(lib.measures[name].title) if name in lib.measures else name


def amount(item: Said) -> str:
    """A value with its unit, or nothing."""
    value = item.get("value")
    return quantity(value, item.get("unit")) if isinstance(value, int | float) else ""


def asked(action: Said, at: Any) -> str:
    """The dose of an action with its limit; empty where it has none.

    >>> asked({"dose": 560.0, "dose_rounded": 560.0, "unit": "mg", "route": "IV", "allowed": False,
    ...        "not_before": "2026-03-05T03:00:00Z", "every_hours": []}, "2026-03-05T01:00:00Z")
    '**560 mg** IV **not before 5 Mar 03:00**'
    """
    if action.get("dose") is None:
        return f"**no dose: {action['refused']}**" if action.get("refused") else ""
    low = action["dose_rounded"] if action.get("dose_rounded") is not None else action["dose"]
    high = f" to {action['dose_high']:g}" if action.get("dose_high") is not None else ""
    text = f"**{low:g}{high} {unit_text(action.get('unit'))}**"
    every = " to ".join(f"{hours:g}" for hours in action.get("every_hours") or ())
    text += f" {action['route']}" if action.get("route") else ""
    text += f" every {every} h" if every else ""
    if action.get("allowed") is False:
        before = action.get("not_before")
        text += f" **not before {clock(before, at)}**" if before else " **not allowed**"
    return text


def listed(rows: Mapping[str, list[str]], between: str = "; ") -> str:
    """Each text with everyone who says it.

    >>> listed({"rest": ["a", "b", "a"], "fluids": ["c"]})
    'rest [a, b]; fluids [c]'
    """
    return between.join(f"{text} [{', '.join(dict.fromkeys(names))}]" for text, names in rows.items())
