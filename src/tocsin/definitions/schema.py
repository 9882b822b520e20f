"""What a definition may say: the closed vocabulary and the shapes it is read into.

A definition is data. Nothing in it is executed; a word that is not listed here fails at load with
the file, the key, the nearest word and the fix. If a published rule cannot be said, this file grows
by one word, with a test.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

BOUNDS = ("at_least", "above", "at_most", "below")
REFERENCES = ("times_uln", "times_lln", "times_baseline", "drop_from_baseline", "percent_drop_from_baseline")
CATEGORIES = ("fever", "hypotension", "hypoxia", "organ", "neurotoxicity")
STATUSES = ("checked", "draft")
SHELVES = ("measures", "drugs", "therapies", "symptoms", "conditions")
KINDS = ("number", "category", "infusion", "event", "word")
COMMON = ("id", "title", "source", "locator", "status", "reading")
#: The words a finding may use. Its form is decided by which of the first group it holds.
FORMS = (
    "measure",
    "given",
    "ever",
    "charted",
    "weighted_sum",
    "count_of",
    "first_known",
    "all",
    "any",
    "none",
)
FINDING_WORDS = (
    *FORMS,
    *BOUNDS,
    *REFERENCES,
    "one_of",
    "worse_than_baseline",
    "new_since_baseline",
    "unit",
    "method",
    "hold_hours",
    "within_hours",
    "for_hours",
    "bridge_hours",
    "until_then",
    "confirmed_within_hours",
    "or_with",
    "if_missing",
    "after",
    "until_quiet",
    "quiet_hours",
    "title",
    "reading",
    "source",
    "locator",
)
#: The words each form understands, besides those of every finding; any other would be silently ignored.
MEMORY = ("within_hours", "for_hours", "bridge_hours", "until_then")
WORDS_OF = {
    "measure": (
        *BOUNDS,
        *REFERENCES,
        *MEMORY,
        "measure",
        "one_of",
        "worse_than_baseline",
        "new_since_baseline",
        "unit",
        "method",
        "hold_hours",
        "confirmed_within_hours",
        "or_with",
        "if_missing",
    ),
    "given": ("given", "within_hours", "at_least", "one_of"),
    "charted": ("charted", "within_hours"),
    "ever": ("ever", "after", "until_quiet", "quiet_hours"),
    "weighted_sum": (*BOUNDS, *MEMORY, "weighted_sum"),
    "count_of": (*BOUNDS, *MEMORY, "count_of"),
    "first_known": (*MEMORY, "first_known", "confirmed_within_hours", "or_with"),
    "rule": (*MEMORY, "all", "any", "none", "confirmed_within_hours", "or_with"),
}
OF_EVERY = ("title", "reading", "source", "locator")
METHODS = ("arterial", "cuff", "core", "oral", "axillary", "tympanic", "temporal", "skin", "dosing")
FATAL_WORDS = ("crs", "icans", "other", "unknown")
ROW_WORDS = ("grade", "all", "any", "none", "possible", "ambiguous", "title", "reading")


class TocsinError(ValueError):
    """Any error a user can cause and mend; its text says where, what, why and the fix."""


class DefinitionError(TocsinError):
    """A definition that cannot be trusted: nothing is graded with it."""


def near(word: str, words: Iterable[str]) -> str:
    """The near miss, ready to append to an error ("" when nothing is close).

    >>> near("temperatur", ["temperature", "height"])
    '; did you mean `temperature`?'
    """
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else ""


@dataclass(frozen=True, slots=True)
class Code:
    """One code of a public system that means this measure (and, for devices, this word)."""

    system: str
    code: str
    unit: str | None = None
    word: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """One age band of a limit: below `below + plus_per_year * age` is low; ages in years."""

    age_from: float
    age_below: float
    below: float
    plus_per_year: float = 0.0


@dataclass(frozen=True, slots=True)
class Measure:
    """Anything a row of the facts table can be about."""

    id: str
    shelf: str
    title: str
    kind: str
    unit: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    plausible_low: float | None = None
    plausible_high: float | None = None
    hold_hours: float | None = None
    worse: str = "high"
    attribution: str | None = None
    round_to: float | None = None
    spike_minutes: float | None = None
    held_with: str | None = None
    molar_mass: float | None = None
    words: tuple[str, ...] = ()
    word_aliases: Mapping[str, str] = field(default_factory=dict)
    ref_low: float | None = None
    ref_high: float | None = None
    baseline_hours: float | None = None
    baseline_statistic: str = "last"
    chronic_fall_percent: float | None = None
    chronic_fall: float | None = None
    limits: tuple[Limit, ...] = ()
    classes: tuple[str, ...] = ()
    stale_hours: float | None = None
    risk_window_days: float | None = None
    status: str = "draft"
    sources: tuple[str, ...] = ()
    locator: str | None = None
    codes: tuple[Code, ...] = ()
    reading: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a weighted sum: `weight` times the rate of `measure` in `unit`."""

    measure: str
    unit: str
    weight: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One named step function over time, three-valued: yes, no, unknown."""

    id: str
    form: str
    title: str = ""
    measure: str | None = None
    items: tuple[str, ...] = ()
    op: str | None = None
    bound: float | str | None = None
    reference: str | None = None
    one_of: tuple[str, ...] = ()
    new_since_baseline: bool = False
    unit: str | None = None
    method: str | None = None
    terms: tuple[Term, ...] = ()
    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    hold_hours: float | None = None
    within_hours: float | None = None
    for_hours: float | None = None
    bridge_hours: float = 0.0
    until_then: str = "no"
    confirmed_within_hours: float | None = None
    or_with: tuple[str, ...] = ()
    if_missing: str = "unknown"
    after: str | None = None
    until_quiet: str | None = None
    quiet_hours: float | None = None
    reading: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every other finding this one refers to."""
        extra = tuple(name for name in (self.after, self.until_quiet) if name)
        own = self.items if self.form in ("count_of", "first_known") else ()
        return (*own, *self.all, *self.any, *self.none, *self.or_with, *extra)


@dataclass(frozen=True, slots=True)
class Row:
    """One rung of a scale. `possible` rows raise `up_to` only; `ambiguous` says why it is open."""

    grade: int
    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    possible: bool = False
    ambiguous: str | None = None
    title: str = ""
    reading: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A criterion only a person can state; it defaults to no and is asked for while `when` may hold."""

    id: str
    grade: int
    asks: str
    when: str


@dataclass(frozen=True, slots=True)
class Scale:
    """One published grading scale, complete and checked."""

    id: str
    title: str
    outcome: str
    source: tuple[str, ...]
    locator: str
    status: str
    findings: Mapping[str, Finding]
    rows: tuple[Row, ...]
    judgements: tuple[Judgement, ...]
    flags: Mapping[str, str]
    fatal: str | None
    examples: tuple[Mapping[str, Any], ...]
    uses: tuple[str, ...]
    reading: str
    version: str
    hash: str = ""

    @property
    def top(self) -> int:
        """The highest grade findings alone can reach."""
        return max(row.grade for row in self.rows)
