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
FORMS = ("measure", "given", "ever", "charted", "weighted_sum", "count_of", "first_known", "all", "any", "none")
FINDING_WORDS = (
    *FORMS, *BOUNDS, *REFERENCES, "one_of", "worse_than_baseline", "new_since_baseline", "unit", "method",
    "hold_hours", "within_hours", "for_hours", "bridge_hours", "until_then", "confirmed_within_hours",
    "or_with", "if_missing", "after", "until_quiet", "quiet_hours", "title", "reading", "source", "locator",
)
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


class Reader:
    """Takes the keys of one TOML table, one by one, and refuses what is left over."""

    def __init__(self, table: Mapping[str, Any], where: str, allowed: Iterable[str]) -> None:
        self.table = table
        self.where = where
        self.allowed = tuple(allowed)
        for key in table:
            if key not in self.allowed:
                raise DefinitionError(
                    f"{where}: unknown key `{key}`{near(key, self.allowed)}\n"
                    "  why: a rule that is not understood would silently not be applied\n"
                    f"  fix: use one of: {', '.join(sorted(self.allowed))}"
                )

    def fail(self, key: str, problem: str, fix: str) -> DefinitionError:
        """An error about `key` in this table."""
        return DefinitionError(f"{self.where}: `{key}` {problem}\n  fix: {fix}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self.table.get(key, default)
        if not isinstance(value, str):
            raise self.fail(key, "is missing" if value is None else f"is {value!r}, not text", f'{key} = "..."')
        return value

    def maybe_text(self, key: str) -> str | None:
        return self.text(key) if key in self.table else None

    def number(self, key: str) -> float | None:
        value = self.table.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail(key, f"is {value!r}, not a number", f"{key} = 1.5")
        return float(value)

    def names(self, key: str) -> tuple[str, ...]:
        value = self.table.get(key, [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(key, f"is {value!r}, not a list of names", f'{key} = ["a", "b"]')
        return tuple(value)

    def flag(self, key: str) -> bool:
        value = self.table.get(key, False)
        if not isinstance(value, bool):
            raise self.fail(key, f"is {value!r}, not true or false", f"{key} = true")
        return value

    def choice(self, key: str, options: Iterable[str], default: str | None = None) -> str:
        value = self.text(key, default)
        options = tuple(options)
        if value not in options:
            raise self.fail(key, f"is `{value}`{near(value, options)}", f"one of: {', '.join(options)}")
        return value

    def prose(self, key: str = "reading") -> str:
        """Free text: a string, or a table of strings joined in order."""
        value = self.table.get(key, "")
        if isinstance(value, Mapping):
            return " ".join(f"{name}: {text}" for name, text in value.items())
        return self.text(key, "")


def read_finding(name: str, table: Mapping[str, Any], where: str) -> Finding:
    """Read one finding; raises `DefinitionError` naming the key that is wrong."""
    reader = Reader(table, f"{where}, finding `{name}`", FINDING_WORDS)
    form = next((key for key in FORMS if key in table), None)
    if form is None:
        raise DefinitionError(f"{where}, finding `{name}`: says nothing\n  fix: one of {', '.join(FORMS)}")
    if form in ("all", "any", "none"):
        form = "rule"
    op, bound, reference = _bound(reader, table)
    terms = tuple(
        Term(term.text("measure"), term.text("unit"), term.number("weight") or 1.0)
        for term in (
            Reader(item, f"{reader.where}, weighted_sum", ("measure", "unit", "weight"))
            for item in table.get("weighted_sum", ())
        )
    )
    items = () if form in ("rule", "measure", "weighted_sum") else reader.names(form)
    finding = Finding(
        id=name, form=form, title=reader.text("title", ""), measure=reader.maybe_text("measure"), items=items,
        op=op, bound=bound, reference=reference, one_of=reader.names("one_of"),
        new_since_baseline=reader.flag("new_since_baseline"), unit=reader.maybe_text("unit"),
        method=reader.maybe_text("method"), terms=terms, all=reader.names("all"), any=reader.names("any"),
        none=reader.names("none"), hold_hours=reader.number("hold_hours"),
        within_hours=reader.number("within_hours"), for_hours=reader.number("for_hours"),
        bridge_hours=reader.number("bridge_hours") or 0.0,
        until_then=reader.choice("until_then", ("no", "possible"), "no"),
        confirmed_within_hours=reader.number("confirmed_within_hours"), or_with=reader.names("or_with"),
        if_missing=reader.choice("if_missing", ("unknown", "no", "yes"), "unknown"),
        after=reader.maybe_text("after"), until_quiet=reader.maybe_text("until_quiet"),
        quiet_hours=reader.number("quiet_hours"), reading=reader.prose(),
    )
    _require(finding, reader)
    return finding


def _bound(reader: Reader, table: Mapping[str, Any]) -> tuple[str | None, float | str | None, str | None]:
    """The one comparison of a finding: (word, number or "age-limit", reference)."""
    if reader.flag("worse_than_baseline"):
        return "above", None, "worse_than_baseline"
    reference = next((key for key in REFERENCES if key in table), None)
    if reference is not None:
        inner = table[reference]
        if not isinstance(inner, Mapping):
            raise reader.fail(reference, f"is {inner!r}, not a bound", f"{reference} = {{ above = 3 }}")
        reader = Reader(inner, f"{reader.where}, {reference}", BOUNDS)
        table = inner
    said = [key for key in BOUNDS if key in table]
    if len(said) > 1:
        raise reader.fail(said[1], "is a second bound", "one bound a finding; join two with `all`")
    if not said:
        return None, None, reference
    if table[said[0]] == "age-limit":
        return said[0], "age-limit", reference
    return said[0], reader.number(said[0]), reference


def _require(finding: Finding, reader: Reader) -> None:
    """Refuse combinations of words that would not mean anything."""
    form = finding.form
    if form == "measure" and finding.op is None and not finding.one_of:
        raise reader.fail("measure", "has no bound", f"one of {', '.join((*BOUNDS, 'one_of', *REFERENCES))}")
    if form in ("weighted_sum", "count_of") and finding.op is None:
        raise reader.fail(form, "has no bound", "at_least = 2")
    if form == "ever" and not (finding.after and finding.until_quiet and finding.quiet_hours):
        raise reader.fail("ever", "needs `after`, `until_quiet` and `quiet_hours`", "say what sets and clears it")
    if form == "charted" and finding.within_hours is None:
        raise reader.fail("charted", "needs `within_hours`", "within_hours = 8")
    memories = [key for key in ("within_hours", "for_hours", "confirmed_within_hours") if key in reader.table]
    if len(memories) > 1:
        raise reader.fail(memories[1], "is a second memory", "one memory a finding; give the inner one a name")
    if finding.or_with and finding.confirmed_within_hours is None:
        raise reader.fail("or_with", "needs `confirmed_within_hours`", "confirmed_within_hours = 0.5")
    if finding.if_missing != "unknown" and not finding.reading:
        raise reader.fail("if_missing", f'= "{finding.if_missing}" needs a `reading`', "say why silence means that")


def read_row(table: Mapping[str, Any], where: str) -> Row:
    """Read one `[[row]]` of a scale."""
    reader = Reader(table, where, ROW_WORDS)
    grade = reader.number("grade")
    if grade is None or grade not in (1, 2, 3, 4):
        raise reader.fail("grade", f"is {grade}", "a whole number from 1 to 4 (death is `fatal`)")
    row = Row(
        int(grade), reader.names("all"), reader.names("any"), reader.names("none"), reader.flag("possible"),
        reader.maybe_text("ambiguous"), reader.text("title", ""), reader.prose(),
    )
    if not row.all and not row.any:
        raise reader.fail("all", "and `any` are both empty", "a row needs findings that raise it")
    return row
