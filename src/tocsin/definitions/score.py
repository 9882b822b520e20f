"""Reads the shelf `scores`: published scores as data, and those that cannot be had, with the reason.

A score is `points` (bands of measures), a `product`, a `weighted_sum` or a `rule` of steps. Its words are
closed, nothing in it is executed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, DefinitionError, near
from tocsin.definitions.score_item import ScoreItem, Span, check_tiles, read_item, read_span
from tocsin.definitions.workup import measures_or_classes

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

FORMS = ("points", "product", "weighted_sum", "rule")
STATUS_WORDS = ("draft", "checked", "memory")
SCORE_WORDS = (
    *COMMON, "implemented", "reason", "missing", "form", "formula", "unit", "log2", "trend_hours", "outcome",
    "use", "of", "without", "beside", "item", "band", "open", "probability", "windows", "population",
    "evidence", "evidence_line", "performance", "caution", "licence", "attribution", "item_alarm",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Label:
    """What a span of the score is called; `windows`: only at these times."""

    span: Span
    label: str
    windows: tuple[str, ...]
    source: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One study: whom, how many, when, what was found."""

    study: str
    source: tuple[str, ...]
    kind: str
    population: str
    n: int | None
    timing: str
    result: str
    status: str


@dataclass(frozen=True, slots=True)
class Performance:
    """How well the score separated, as published; `prevalences` are those a PPV is worked out for."""

    sensitivity: float
    specificity: float
    counts: tuple[int, int, int, int] | None
    prevalences: tuple[tuple[float, str], ...]
    source: tuple[str, ...]
    locator: str


@dataclass(frozen=True, slots=True)
class Population:
    """In whom the score was derived; `classes` are therapies or their classes (none: no such therapy)."""

    text: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """One score of the shelf."""

    id: str
    title: str
    status: str
    source: tuple[str, ...]
    locator: str
    reading: str
    implemented: bool = True
    reason: str = ""
    missing: tuple[str, ...] = ()
    form: str = "points"
    formula: str = ""
    unit: str = "{score}"
    log2: bool = False
    trend_hours: float | None = None
    outcome: str = ""
    use: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    items: tuple[ScoreItem, ...] = ()
    labels: tuple[Label, ...] = ()
    open_labels: Mapping[tuple[int, int], str] = field(default_factory=dict)
    probability: tuple[tuple[float, float], ...] = ()
    windows: tuple[str, ...] = ()
    population: Population = Population("", ())
    evidence: tuple[Evidence, ...] = ()
    evidence_line: str = ""
    performance: Performance | None = None
    cautions: tuple[str, ...] = ()
    licence: str = ""
    attribution: str = ""
    item_alarm: tuple[float, str] | None = None
    hash: str = ""

    @property
    def measures(self) -> tuple[str, ...]:
        """Everything the score reads by itself (findings aside)."""
        return tuple(dict.fromkeys(name for item in self.items for name in item.measures))

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings the score asks."""
        return tuple(dict.fromkeys(name for item in self.items for name in item.findings))


def score_names(lib: Library, implemented: bool | None = True) -> tuple[str, ...]:
    """Ids on the shelf: those that can be calculated, those that cannot (False), or all (None).

    >>> from tocsin.definitions.load import library
    >>> "easix" in score_names(library()), "teachey-2016" in score_names(library())
    (True, False)
    """
    scores = (score_definition(name, lib) for name in sorted(lib.files("scores")))
    return tuple(each.id for each in scores if implemented is None or each.implemented is implemented)


def score_definition(name: str, lib: Library) -> Score:
    """One score, checked whole; raises `DefinitionError` with the near miss.

    >>> from tocsin.definitions.load import library
    >>> score_definition("hscore", library()).form
    'points'
    """
    files = lib.files("scores")
    if name not in files:
        raise DefinitionError(f"no score `{name}`{near(name, files)}\n  fix: `tocsin list scores` names them")
    return _read(files[name], lib)


@lru_cache(maxsize=256)
def _read(path: Path, lib: Library) -> Score:
    table = parse(path)
    reader = Reader(table, str(path), SCORE_WORDS)
    if "of" in table:
        return _variant(reader, path, lib)
    score = _score(reader, path, lib, ())
    if not score.implemented:
        if not score.reason:
            raise reader.fail("reason", "is missing", "say why the score is not calculated")
        return score
    if not score.items:
        raise reader.fail("item", "is missing", "a score needs at least one [[item]]")
    return score


def _variant(reader: Reader, path: Path, lib: Library) -> Score:
    """A score that is another without some items, with items of its own."""
    base = score_definition(reader.text("of"), lib)
    dropped, known = reader.names("without"), [item.id for item in base.items]
    for name in dropped:
        if name not in known:
            raise reader.fail("without", f"names `{name}`{near(name, known)}", f"one of {', '.join(known)}")
    kept = tuple(item for item in base.items if item.id not in dropped)
    own = _score(reader, path, lib, kept, base.form)
    inherit = {
        name: getattr(base, name)
        for name in (
            "formula", "unit", "log2", "trend_hours", "outcome", "labels", "windows", "evidence",
            "evidence_line", "licence", "attribution", "item_alarm", "cautions",
        )
        if not getattr(own, name) or (name == "unit" and "unit" not in reader.table)
    }  # fmt: skip
    population = own.population if own.population.text else base.population
    digest = hashlib.sha256((own.hash + base.hash).encode()).hexdigest()
    return replace(
        own, **inherit, population=population, source=own.source or base.source, hash=digest,
        use=tuple(dict.fromkeys((*base.use, *own.use))),
    )  # fmt: skip


def _score(
    reader: Reader, path: Path, lib: Library, kept: tuple[ScoreItem, ...], base_form: str = ""
) -> Score:
    table = reader.table
    form = reader.choice("form", FORMS, base_form or FORMS[0])
    status = reader.choice("status", STATUS_WORDS)
    source = reader.names("source")
    value = form in ("product", "weighted_sum")
    items = kept + tuple(
        read_item(item, f"{path}, item `{item.get('id', i + 1)}`", lib, status, value)
        for i, item in enumerate(table.get("item", ()))
    )
    ids = [item.id for item in items]
    if len(set(ids)) < len(ids):
        raise reader.fail("item", f"has an id twice: {', '.join(ids)}", "one id an item")
    labels = tuple(_label(item, reader, source, status) for item in table.get("band", ()))
    for windows in {each.windows for each in labels}:
        spans = [each.span for each in labels if each.windows == windows]
        check_tiles(spans, reader, 1.0 if form in ("points", "rule") else None)
    alarm = table.get("item_alarm")
    return Score(
        id=path.stem,
        title=reader.text("title"),
        status=status,
        source=source,
        locator=reader.text("locator", ""),
        reading=reader.prose(),
        implemented="implemented" not in table or reader.flag("implemented"),
        reason=reader.text("reason", ""),
        missing=reader.names("missing"),
        form=form,
        formula=reader.text("formula", ""),
        unit=reader.text("unit", "{score}"),
        log2=reader.flag("log2"),
        trend_hours=reader.hours("trend_hours"),
        outcome=reader.text("outcome", ""),
        use=reader.names("use"),
        beside=reader.names("beside"),
        items=items,
        labels=labels,
        open_labels=dict(_open(item, path) for item in table.get("open", ())),
        probability=_probability(reader),
        windows=reader.names("windows"),
        population=_population(table.get("population", {}), path, lib),
        evidence=tuple(_evidence(item, path, status) for item in table.get("evidence", ())),
        evidence_line=reader.text("evidence_line", ""),
        performance=_performance(table["performance"], path) if "performance" in table else None,
        cautions=reader.names("caution"),
        licence=reader.text("licence", ""),
        attribution=reader.text("attribution", ""),
        item_alarm=None if alarm is None else _alarm(alarm, path),
        hash=_digest(path, items, reader.names("use"), lib),
    )


def _digest(path: Path, items: tuple[ScoreItem, ...], use: tuple[str, ...], lib: Library) -> str:
    """SHA-256 of every file that can change the answer: the score's, its findings', its measures'."""
    digest = hashlib.sha256(path.read_bytes())
    for name in use:
        digest.update(lib.files("findings")[name].read_bytes())
    named = dict.fromkeys(name for item in items for name in item.measures)
    for name in sorted({each for one in named for each in lib.classes.get(one, (one,))}):
        digest.update(lib.files(lib.measure(name).shelf)[name].read_bytes())
    return digest.hexdigest()


def _label(item: Mapping[str, Any], head: Reader, source: tuple[str, ...], status: str) -> Label:
    words = ("at_least", "above", "at_most", "below", "label", "windows", "source", "status", "reading")
    reader = Reader(item, f"{head.where}, band", words)
    return Label(
        read_span(reader),
        reader.text("label"),
        reader.names("windows"),
        reader.names("source") or source,
        reader.choice("status", STATUS_WORDS, status),
    )


def _open(item: Mapping[str, Any], path: Path) -> tuple[tuple[int, int], str]:
    """What a range of a rule's steps is called while it is not settled."""
    reader = Reader(item, f"{path}, open", ("low", "high", "label"))
    return (int(reader.number("low") or 0), int(reader.number("high") or 0)), reader.text("label")


def _probability(head: Reader) -> tuple[tuple[float, float], ...]:
    """Rows of (score, percent), ascending; the first and last are the ends beyond which nothing is said."""
    rows = []
    for item in head.table.get("probability", ()):
        reader = Reader(item, f"{head.where}, probability", ("score", "percent"))
        score, percent = reader.number("score"), reader.number("percent")
        if score is None or percent is None or not 0 < percent < 100:
            raise reader.fail("percent", "is missing, or not between 0 and 100", "score = 170, percent = 54")
        rows.append((score, percent))
    if rows != sorted(rows):
        raise head.fail("probability", "is not in the order of the score", "rows from low to high")
    return tuple(rows)


def _population(table: Mapping[str, Any], path: Path, lib: Library) -> Population:
    reader = Reader(table, f"{path}, population", ("text", "classes"))
    return Population(reader.text("text", ""), measures_or_classes(reader, "classes", lib))


def _evidence(item: Mapping[str, Any], path: Path, status: str) -> Evidence:
    words = ("study", "source", "kind", "population", "n", "timing", "result", "status")
    reader = Reader(item, f"{path}, evidence", words)
    n = reader.number("n")
    return Evidence(
        reader.text("study"),
        reader.names("source"),
        reader.choice("kind", ("derivation", "validation", "external", "context")),
        reader.text("population", ""),
        None if n is None else int(n),
        reader.text("timing", ""),
        reader.text("result"),
        reader.choice("status", STATUS_WORDS, status),
    )


def _performance(table: Mapping[str, Any], path: Path) -> Performance:
    words = ("sensitivity", "specificity", "counts", "prevalence", "source", "locator", "reading")
    reader = Reader(table, f"{path}, performance", words)
    counts = table.get("counts")
    if counts is not None:
        inner = Reader(counts, f"{path}, counts", ("true_positive", "positive", "true_negative", "negative"))
        hit, positive, clear, negative = (int(inner.number(name) or 0) for name in inner.allowed)
        return Performance(
            hit / positive, clear / negative, (hit, positive, clear, negative), (), reader.names("source"),
            reader.text("locator", ""),
        )  # fmt: skip
    sensitivity, specificity = reader.number("sensitivity"), reader.number("specificity")
    if sensitivity is None or specificity is None:
        raise reader.fail("sensitivity", "or `specificity` is missing", "sensitivity = 1, specificity = 0.95")
    rows = [Reader(item, f"{path}, prevalence", ("value", "text")) for item in table.get("prevalence", ())]
    prevalences = tuple((row.number("value") or 0.0, row.text("text")) for row in rows)
    return Performance(
        sensitivity, specificity, None, prevalences, reader.names("source"), reader.text("locator", "")
    )


def _alarm(table: Mapping[str, Any], path: Path) -> tuple[float, str]:
    reader = Reader(table, f"{path}, item_alarm", ("at_least", "label"))
    return reader.number("at_least") or 0.0, reader.text("label")
