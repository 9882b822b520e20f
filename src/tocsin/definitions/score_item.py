"""The items of a score: what is read, within which time, and what each band of it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isclose
from typing import TYPE_CHECKING, Any

from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import BOUNDS, Measure, near
from tocsin.definitions.workup import measures_or_classes

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

STATISTICS = ("last", "highest", "lowest", "sum")
REFERENCES = ("times_uln", "above_uln")
MISSING = ("unknown", "no")
ROLES = ("numerator", "denominator")
READS = (
    "measure", "unit", "within_hours", "since_dose_hours", "statistic", "reference", "round_to", "per",
)  # fmt: skip
ITEM_WORDS = (
    *READS, "id", "title", "band", "count_of", "first_of", "worst_of", "depends_on", "role", "weight",
    "if_missing", "source", "locator", "status", "reading",
)  # fmt: skip
CONDITION_WORDS = (
    *READS, *BOUNDS, "one_of", "charted", "finding", "if_missing", "points", "title", "reading",
)  # fmt: skip
BAND_WORDS = (*BOUNDS, "one_of", "when", "points", "label", "source", "status", "title", "reading")


@dataclass(frozen=True, slots=True)
class Span:
    """An interval of numbers that says of each end whether it belongs to it.

    >>> band = Span(2000, 6000)
    >>> band.holds(2000), band.holds(6000.1), band.meets(0, 2000), Span(6000, open_low=True).meets(0, 6000)
    (True, False, True, False)
    """

    low: float = -inf
    high: float = inf
    open_low: bool = False
    open_high: bool = False

    def holds(self, x: float) -> bool:
        """Whether a number lies in it."""
        above = x > self.low if self.open_low else x >= self.low
        return above and (x < self.high if self.open_high else x <= self.high)

    def meets(self, low: float, high: float) -> bool:
        """Whether any number from `low` to `high` lies in it."""
        above = high > self.low if self.open_low else high >= self.low
        return above and (low < self.high if self.open_high else low <= self.high)

    def covers(self, low: float, high: float) -> bool:
        """Whether every number from `low` to `high` lies in it."""
        return self.holds(low) and self.holds(high)


@dataclass(frozen=True, slots=True)
class Band:
    """A span of numbers, or words, and what it is worth. `when`: only where `depends_on` is yes, or no."""

    span: Span
    words: tuple[str, ...]
    points: float
    when: str
    title: str


@dataclass(frozen=True, slots=True)
class Reads:
    """One input: the latest of these measures, or the highest, lowest or sum of a span of time.

    `within_hours` is how old it may be (none: without limit); `since_dose` a span in hours after the dose
    instead. `per` makes it a ratio: each value is divided by the latest of `per` at its time.
    """

    measures: tuple[str, ...]
    unit: str | None
    statistic: str
    within_hours: float | None
    since_dose: tuple[float, float] | None
    reference: str | None
    round_to: float | None
    per: Reads | None

    @property
    def every(self) -> tuple[str, ...]:
        """All measures that are read, those of `per` too."""
        return (*self.measures, *(self.per.every if self.per else ()))


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is so, is not so, or is not known; `points` is what it is worth in `first_of`."""

    title: str
    reads: Reads | None
    span: Span
    words: tuple[str, ...]
    charted: tuple[str, ...]
    within_hours: float | None
    finding: str
    if_missing: str
    points: float


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """One item of a score.

    `form` is `value` (a number that is multiplied or added), `bands`, `count_of` (bands of how many
    conditions hold), `first_of` (the first condition that holds) or `worst_of` (the most points of `parts`).
    """

    id: str
    title: str
    form: str
    reads: Reads | None
    bands: tuple[Band, ...]
    conditions: tuple[Condition, ...]
    parts: tuple[ScoreItem, ...]
    depends_on: str
    role: str
    weight: float
    if_missing: str
    source: tuple[str, ...]
    status: str
    reading: str

    @property
    def measures(self) -> tuple[str, ...]:
        """Every measure, drug or condition the item reads by itself (findings aside)."""
        own = self.reads.every if self.reads else ()
        inner = [name for each in self.conditions for name in (each.reads.every if each.reads else ())]
        given = [name for each in self.conditions for name in each.charted]
        parts = [name for part in self.parts for name in part.measures]
        return tuple(dict.fromkeys((*own, *inner, *given, *parts)))

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings the item asks."""
        own = [each.finding for each in self.conditions if each.finding]
        own += [self.depends_on] if self.depends_on else []
        return tuple(dict.fromkeys((*own, *(name for part in self.parts for name in part.findings))))

    @property
    def worth(self) -> tuple[float, float]:
        """The least and the most points the item can give."""
        if self.form == "first_of":
            points = [0.0, *(each.points for each in self.conditions)]
        elif self.form == "worst_of":
            return max(part.worth[0] for part in self.parts), max(part.worth[1] for part in self.parts)
        else:
            points = [band.points for band in self.bands]
        return min(points), max(points)


def read_span(reader: Reader) -> Span:
    """The bounds of a table; without any it is every number."""
    low, above = reader.number("at_least"), reader.number("above")
    high, below = reader.number("at_most"), reader.number("below")
    if (low is not None and above is not None) or (high is not None and below is not None):
        raise reader.fail("at_least", "or `at_most` says the same end twice", "at_least = 2000, below = 6000")
    start = low if low is not None else above
    end = high if high is not None else below
    return Span(
        -inf if start is None else start, inf if end is None else end, above is not None, below is not None
    )


def read_item(table: Mapping[str, Any], where: str, lib: Library, status: str, value: bool) -> ScoreItem:
    """One `[[item]]`; `value`: a form in which the number itself enters, so that it needs no bands."""
    reader = Reader(table, where, ITEM_WORDS)
    form = next((word for word in ("count_of", "first_of", "worst_of") if word in table), "bands")
    counted = [
        _condition(item, f"{where}, {form} {i + 1}", lib)
        for i, item in enumerate(table.get(form, ()) if form in ("count_of", "first_of") else ())
    ]
    reads = read_reads(reader, lib) if "measure" in table else None
    bands = tuple(_band(item, f"{where}, band {i + 1}") for i, item in enumerate(table.get("band", ())))
    if form == "bands" and reads is None:
        raise reader.fail("measure", "is missing", 'measure = "ferritin", or count_of, first_of, worst_of')
    if value and form == "bands" and not bands:
        form = "value"
    elif form in ("bands", "count_of") and not bands and not value:
        raise reader.fail("band", "is missing", "band = [{ below = 2, points = 0 }, ...]")
    weight = reader.number("weight")
    item = ScoreItem(
        id=reader.text("id"),
        title=reader.text("title"),
        form=form,
        reads=reads,
        bands=bands,
        conditions=tuple(counted),
        parts=tuple(
            read_item({"title": reader.text("title"), **part}, where, lib, status, value)
            for part in table.get("worst_of", ())
        ),
        depends_on=reader.text("depends_on", ""),
        role=reader.choice("role", ROLES, ROLES[0]),
        weight=1.0 if weight is None else weight,
        if_missing=reader.choice("if_missing", MISSING, MISSING[0]),
        source=reader.names("source"),
        status=reader.choice("status", ("draft", "checked", "memory"), status),
        reading=reader.prose(),
    )
    if item.if_missing == "no" and not item.reading:
        raise reader.fail("if_missing", '= "no" needs a `reading`', "say why silence means that")
    _tile(item, reader, lib)
    return item


def read_reads(reader: Reader, lib: Library) -> Reads:
    """What a table reads; raises `DefinitionError` on an unknown measure or a bound without a unit."""
    measures = reader.names("measure")
    for name in measures:
        if name not in lib.measures:
            raise reader.fail("measure", f"names `{name}`{near(name, lib.measures)}", "a measure")
    first = lib.measure(measures[0])
    unit, per = reader.maybe_text("unit"), reader.table.get("per")
    if unit is None and first.kind == "number" and first.unit not in (None, "1", "{score}"):
        raise reader.fail("unit", f"is missing (`{first.id}` is in `{first.unit}`)", f'unit = "{first.unit}"')
    since = reader.table.get("since_dose_hours")
    if since is not None and (not isinstance(since, list) or len(since) != 2 or since[0] >= since[1]):
        raise reader.fail("since_dose_hours", f"is {since!r}", "hours from and to: [0, 36]")
    return Reads(
        measures=measures,
        unit=unit,
        statistic=reader.choice("statistic", STATISTICS, "last"),
        within_hours=_limit(reader, first),
        since_dose=None if since is None else (float(since[0]), float(since[1])),
        reference=reader.choice("reference", REFERENCES) if "reference" in reader.table else None,
        round_to=reader.hours("round_to"),
        per=None if per is None else read_reads(Reader(per, f"{reader.where}, per", READS), lib),
    )


def _limit(reader: Reader, measure: Measure) -> float | None:
    """How old a value may be: what the score says, else what a reading of the measure stands for."""
    own = reader.hours("within_hours")
    return measure.hold_hours if own is None else own


def _condition(table: Mapping[str, Any], where: str, lib: Library) -> Condition:
    reader = Reader(table, where, CONDITION_WORDS)
    said = [key for key in ("measure", "charted", "finding") if key in table]
    if len(said) != 1:
        raise reader.fail("measure", "or `charted` or `finding`: exactly one", 'charted = ["confusion"]')
    charted = measures_or_classes(reader, "charted", lib)
    names = [name for each in charted for name in lib.classes.get(each, (each,))]
    holds = [lib.measure(name).hold_hours for name in names]
    own = reader.hours("within_hours")
    none = own is None and any(hold is None for hold in holds)
    condition = Condition(
        title=reader.text("title", ""),
        reads=read_reads(reader, lib) if "measure" in table else None,
        span=read_span(reader),
        words=_words(reader, lib),
        charted=charted,
        within_hours=None if none or not charted else own or max(hold for hold in holds if hold is not None),
        finding=reader.text("finding", ""),
        if_missing=reader.choice("if_missing", MISSING, MISSING[0]),
        points=reader.number("points") or 0.0,
    )
    if condition.if_missing == "no" and not reader.prose():
        raise reader.fail("if_missing", '= "no" needs a `reading`', "say why silence means that")
    return condition


def _words(reader: Reader, lib: Library) -> tuple[str, ...]:
    """The words of `one_of`, each one the measure has."""
    words = reader.names("one_of")
    for measure in (lib.measure(name) for name in reader.names("measure")):
        for word in words:
            if word not in measure.words:
                problem = f"`{word}` is no word of `{measure.id}`{near(word, measure.words)}"
                raise reader.fail("one_of", problem, f"one of {', '.join(measure.words)}")
    return words


def _band(table: Mapping[str, Any], where: str) -> Band:
    reader = Reader(table, where, BAND_WORDS)
    points = reader.number("points")
    if points is None:
        raise reader.fail("points", "is missing", "points = 1")
    when = reader.choice("when", ("yes", "no", ""), "")
    return Band(read_span(reader), reader.names("one_of"), points, when, reader.text("title", ""))


def _tile(item: ScoreItem, reader: Reader, lib: Library) -> None:
    """Refuse bands with a gap or an overlap: a value there would have no points, or two."""
    if any(band.words for band in item.bands):
        measure = lib.measure(item.reads.measures[0]) if item.reads else None
        said = [word for band in item.bands for word in band.words]
        if measure is None or sorted(said) != sorted(measure.words):
            known = measure.words if measure else ()
            raise reader.fail("band", f"holds the words {said}", f"each word once: {', '.join(known)}")
        return
    step = 1.0 if item.form == "count_of" else None
    if item.reads:
        own = [lib.measure(name).round_to for name in item.reads.measures if item.reads.reference is None]
        step = item.reads.round_to or (own[0] if own else None)
    for when in ("yes", "no") if item.depends_on else ("",):
        check_tiles([band.span for band in item.bands if band.when in ("", when)], reader, step)


def check_tiles(spans: Sequence[Span], reader: Reader, step: float | None) -> None:
    """Refuse spans that leave a gap or overlap; `step` is the distance of neighbouring numbers, if any."""
    rows = sorted(spans, key=lambda span: (span.low, span.open_low))
    for lower, upper in pairwise(rows):
        touching = lower.high == upper.low and lower.open_high != upper.open_low
        counted = step is not None and not lower.open_high and not upper.open_low
        if not touching and not (counted and isclose(upper.low - lower.high, step or 0.0, abs_tol=1e-9)):
            raise reader.fail(
                "band",
                f"leaves a gap or overlaps between {lower.high:g} and {upper.low:g}",
                "let one band end where the next begins: below = 100 and at_least = 100",
            )
