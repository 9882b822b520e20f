"""A score as a page a person can check against the paper: Markdown, made from the definition alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

from tocsin.definitions.score import Score
from tocsin.definitions.score_item import Condition, Reads, ScoreItem, Span

Cite = Callable[[str], str]


def score_page(score: Score, cite: Cite = str) -> Iterator[str]:
    """Lines of a score's page: formula, items, labels, evidence, what it must not be used for.

    >>> from tocsin.definitions.load import library
    >>> from tocsin.definitions.score import score_definition
    >>> next(score_page(score_definition("easix", library())))
    '# EASIX (`easix`)'
    """
    yield f"# {score.title} (`{score.id}`)"
    yield from ("", f"Status: {score.status}.", "")
    yield from (f"- Source: {cite(key) if key != 'memory' else 'memory only'}" for key in score.source)
    if score.locator:
        yield f"- Where: {score.locator}"
    if not score.implemented:
        yield from ("", f"**Not calculated**: {score.reason}.", "", f"- Missing: {', '.join(score.missing)}")
        yield from ("", score.reading)
        return
    yield from ("", f"- Formula: {score.formula}", f"- Of what: {score.outcome}")
    yield f"- In whom: {score.population.text}"
    yield f"- Evidence: {score.evidence_line}"
    if score.windows:
        yield f"- Derived at: {', '.join(score.windows)}"
    yield from (f"- Mind: {caution}" for caution in score.cautions)
    if score.licence:
        yield f"- Licence: {score.licence}"
    if score.reading:
        yield from ("", f"Our reading: {score.reading}")
    yield from ("", "## Items", "")
    for item in score.items:
        yield from _item(item)
    if score.labels:
        yield from ("", "## Labels", "")
        for label in score.labels:
            when = f" ({', '.join(label.windows)} only)" if label.windows else ""
            yield f"- {span_text(label.span)}: {label.label}{when}"
    if score.probability:
        yield from ("", "## Published probability", "", "| points | % |", "|---|---|")
        last = len(score.probability) - 1
        for i, (points, percent) in enumerate(score.probability):
            yield f"| {points:g} | {'<' if not i else '>' if i == last else ''}{percent:g} |"
    if score.evidence:
        yield from ("", "## Evidence", "")
        for each in score.evidence:
            n = "" if each.n is None else f", n = {each.n}"
            where = "; ".join(part for part in (each.population, each.timing) if part)
            yield f"- **{each.study}** ({each.kind}{n}{'; ' + where if where else ''}): {each.result}"


def span_text(span: Span, unit: str = "") -> str:
    """An interval in words.

    >>> span_text(Span(2000, 6000)), span_text(Span(high=2.5, open_high=True), "g/L")
    ('2000 to 6000', 'below 2.5 g/L')
    """
    if span.low == span.high:
        said = f"{span.low:g}"
    elif span.low == -inf:
        said = f"{'below' if span.open_high else 'at most'} {span.high:g}"
    elif span.high == inf:
        said = f"{'above' if span.open_low else 'at least'} {span.low:g}"
    else:
        above, below = "above " if span.open_low else "", "below " if span.open_high else ""
        said = f"{above}{span.low:g} to {below}{span.high:g}"
    return f"{said} {unit}".rstrip()


def _item(item: ScoreItem) -> Iterator[str]:
    weight = "" if item.weight == 1 else f" x {item.weight:g}"
    under = " (divides)" if item.role == "denominator" else ""
    reads = f": {_reads(item.reads)}" if item.reads else ""
    yield f"- **{item.title}**{weight}{under}{reads}"
    for condition in item.conditions:
        worth = f", {condition.points:g} points" if condition.points else ""
        yield f"    - {_condition(condition)}{worth}"
    for part in item.parts:
        yield from (f"    {line}" for line in _item(part))
    unit = "" if item.reads is None or item.reads.reference else item.reads.unit or ""
    for band in item.bands:
        what = ", ".join(band.words) or span_text(band.span, unit)
        only = {"yes": f", if `{item.depends_on}`", "no": f", if not `{item.depends_on}`", "": ""}[band.when]
        yield f"    - {what}{only}: {band.points:g}"
    if item.if_missing == "no":
        yield f"    - our reading: {item.reading}"


def _reads(reads: Reads) -> str:
    names = " or ".join(f"`{name}`" for name in reads.measures)
    over = f" over {_reads(reads.per)}" if reads.per else ""
    against = {"times_uln": ", in multiples of its upper limit", "above_uln": ", above its upper limit"}
    if reads.since_dose:
        when = f"{reads.statistic} of hours {reads.since_dose[0]:g} to {reads.since_dose[1]:g} after the dose"
    elif reads.within_hours is None:
        when = f"{reads.statistic}, without limit of age"
    else:
        when = f"{reads.statistic} of {reads.within_hours:g} h"
    return f"{names}{over}{against.get(reads.reference or '', '')} ({when})"


def _condition(condition: Condition) -> str:
    if condition.finding:
        return f"finding `{condition.finding}`"
    if condition.charted:
        return f"charted: {', '.join(f'`{name}`' for name in condition.charted)}"
    assert condition.reads is not None
    what = ", ".join(condition.words) or span_text(condition.span, condition.reads.unit or "")
    return f"{_reads(condition.reads)} {what}"
