"""Reads `alerts/ehr-cards`: who gets a card in the record system, and how urgent it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, DefinitionError

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

FILE = "ehr-cards"
WORDS = (
    "grade_at_least", "warning_at_least", "critical_at_least", "gap_scales", "gap_at_least",
    "gap_unless_flags", "reading",
)  # fmt: skip
INFO, WARNING, CRITICAL = "info", "warning", "critical"


@dataclass(frozen=True, slots=True)
class CardRules:
    """The numbers of the file: grades, 1 to 5; `gap_at_least` is how far `up_to` lies above `grade`."""

    grade_at_least: int
    warning_at_least: int
    critical_at_least: int
    gap_scales: tuple[str, ...]
    gap_at_least: int
    gap_unless_flags: tuple[str, ...]

    def indicator(self, scale: str, grade: int, up_to: int, flags: Sequence[str]) -> str | None:
        """How urgent a card is (`info`, `warning`, `critical`); None where none is shown.

        >>> from tocsin.definitions.load import library
        >>> rules = card_rules(library())
        >>> [rules.indicator("astct-2019", *each, ()) for each in ((0, 1), (1, 1), (1, 3), (3, 3))]
        [None, 'info', 'warning', 'critical']
        """
        told = scale in self.gap_scales and not set(flags) & set(self.gap_unless_flags)
        open_ = told and up_to - grade >= self.gap_at_least
        if grade >= self.critical_at_least:
            return CRITICAL
        if grade >= self.warning_at_least or open_:
            return WARNING
        return INFO if grade >= self.grade_at_least else None


def card_rules(lib: Library) -> CardRules:
    """The rules of cards; raises `DefinitionError` with the key that is wrong."""
    files = lib.files("alerts")
    if FILE not in files:
        raise DefinitionError(f"no alerts `{FILE}`\n  fix: put {FILE}.toml on the shelf `alerts`")
    return _rules(files[FILE], lib.scales)


@lru_cache(maxsize=8)
def _rules(path: Path, known: tuple[str, ...]) -> CardRules:
    table = parse(path)
    Reader(table, str(path), (*COMMON, "card")).prose()
    part = table.get("card", {})
    if not isinstance(part, Mapping):
        raise DefinitionError(f"{path}: `card` is no table\n  fix: [card]")
    reader = Reader(part, f"{path}, card", WORDS)
    reader.prose()

    def grade(key: str) -> int:
        found = reader.number(key)
        if found is None or found != int(found) or not 1 <= found <= 5:
            raise reader.fail(key, "is missing or no grade", "a grade: 1 to 5")
        return int(found)

    scales = reader.names("gap_scales")
    if unknown := [name for name in scales if name not in known]:
        raise reader.fail("gap_scales", f"names `{unknown[0]}`", f"of {', '.join(known)}")
    return CardRules(
        grade("grade_at_least"), grade("warning_at_least"), grade("critical_at_least"),
        scales, grade("gap_at_least"), reader.names("gap_unless_flags"),
    )  # fmt: skip
