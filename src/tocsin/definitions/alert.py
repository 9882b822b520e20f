"""Reads the shelf `alerts`: what a ward is alerted to, who is, and when it stays quiet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, DefinitionError, near

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

ROLES = ("nurse", "physician")
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "grade": (
        "role", "scales", "at_least", "quiet_minutes", "quiet_below", "escalate_at_least",
        "escalate_after_minutes", "escalate_to", "past_at_least", "past_within_hours", "reading",
    ),
    "not_ruled_out": ("role", "scales", "gap_at_least", "after_minutes", "unless_flags", "reading"),
    "clock": ("role", "within_hours", "reading"),
    "test": ("role", "late_minutes", "strengths", "while_grade", "reading"),
}  # fmt: skip
ALL = "all"
#: How long a closed alert is remembered when the next is judged; what is told longer would be told again.
REMEMBERED_HOURS = 24


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of one file. Minutes and hours as written; `scales` may be ("all",)."""

    id: str
    title: str
    grade_role: str
    grade_scales: tuple[str, ...]
    grade_at_least: int
    quiet_minutes: float
    quiet_below: int
    escalate_at_least: int
    escalate_after_minutes: float
    escalate_to: str
    past_at_least: int
    past_within_hours: float
    gap_role: str
    gap_scales: tuple[str, ...]
    gap_at_least: int
    gap_after_minutes: float
    gap_unless_flags: tuple[str, ...]
    clock_role: str
    clock_within_hours: float
    test_role: str
    test_late_minutes: float
    test_strengths: tuple[str, ...]
    test_while_grade: int


def alert_rules(name: str, lib: Library) -> Rules:
    """The rules of this id; raises `DefinitionError`.

    >>> from tocsin.definitions.load import library
    >>> alert_rules("ward-alerts", library()).gap_at_least
    2
    """
    files = lib.files("alerts")
    if name not in files:
        raise DefinitionError(
            f"no alerts `{name}`{near(name, files)}\n  fix: one of: {', '.join(sorted(files))}"
        )
    return _rules(files[name], lib.scales)


@lru_cache(maxsize=8)
def _rules(path: Path, scales: tuple[str, ...]) -> Rules:
    table = parse(path)
    head = Reader(table, str(path), (*COMMON, *SECTIONS))
    head.prose()
    parts = {name: _Part(table.get(name, {}), f"{path}, {name}", words) for name, words in SECTIONS.items()}
    grade, gap, clock, test = (parts[name] for name in SECTIONS)
    for part in (grade, gap):
        for scale in part.texts("scales"):
            if scale not in (ALL, *scales):
                raise part.reader.fail("scales", f"names `{scale}`", f"`all`, or of {', '.join(scales)}")
    return Rules(
        head.text("id"), head.text("title"),
        grade.role("role"), grade.texts("scales"), grade.whole("at_least"), grade.number("quiet_minutes"),
        grade.whole("quiet_below"), grade.whole("escalate_at_least"), grade.number("escalate_after_minutes"),
        grade.role("escalate_to"), grade.whole("past_at_least"), grade.hours("past_within_hours"),
        gap.role("role"), gap.texts("scales"), gap.whole("gap_at_least"), gap.number("after_minutes"),
        gap.texts("unless_flags"),
        clock.role("role"), clock.hours("within_hours"),
        test.role("role"), test.number("late_minutes"), test.texts("strengths"), test.whole("while_grade"),
    )  # fmt: skip


class _Part:
    """One section, every number of which must be there."""

    def __init__(self, table: Mapping[str, Any], where: str, words: tuple[str, ...]) -> None:
        self.reader, self.table = Reader(table, where, words), table
        self.reader.prose()

    def number(self, key: str) -> float:
        found = self.reader.number(key)
        if found is None or found < 0:
            raise self.reader.fail(key, "is missing or below 0", "a number, 0 or more")
        return found

    def hours(self, key: str) -> float:
        """Hours for which something over is still told: no longer than a closed alert is remembered."""
        found = self.number(key)
        if found > REMEMBERED_HOURS:
            raise self.reader.fail(key, f"is {found:g}", f"hours, at most {REMEMBERED_HOURS}")
        return found

    def whole(self, key: str) -> int:
        found = self.number(key)
        if found != int(found) or not 1 <= found <= 5:
            raise self.reader.fail(key, f"is {found:g}", "a grade: 1 to 5")
        return int(found)

    def role(self, key: str) -> str:
        return self.reader.choice(key, ROLES)

    def texts(self, key: str) -> tuple[str, ...]:
        return self.reader.names(key)
