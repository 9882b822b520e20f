"""How items become one number: the sum of points, a product, a weighted sum, the steps of a rule."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.definitions.score import Score
from tocsin.definitions.score_item import ScoreItem
from tocsin.scores.record import tidy
from tocsin.scores.value import Item

Range = tuple[float | None, float | None]
NONE: Range = (None, None)


def total(score: Score, items: Sequence[Item]) -> Range:
    """The least and the most the score may be; none where no number can be given."""
    if score.form == "product":
        return _product(score.items, items)
    if score.form == "weighted_sum":
        return _weighted(score.items, items)
    if score.form == "rule":
        return _steps(items)
    ends = [(each.low, each.high) for each in items]
    low = sum(one for one, _ in ends if one is not None)
    high = sum(other for _, other in ends if other is not None)
    return tidy(low), tidy(high)


def _product(rules: Sequence[ScoreItem], items: Sequence[Item]) -> Range:
    low = high = 1.0
    for rule, item in zip(rules, items, strict=True):
        if item.low is None or item.high is None:
            return NONE
        if rule.role == "numerator":
            low, high = low * item.low, high * item.high
        elif item.low <= 0:
            return NONE
        else:
            low, high = low / item.high, high / item.low
    return tidy(low), tidy(high)


def _weighted(rules: Sequence[ScoreItem], items: Sequence[Item]) -> Range:
    low = high = 0.0
    for rule, item in zip(rules, items, strict=True):
        if item.low is None or item.high is None:
            return NONE
        ends = sorted((rule.weight * item.low, rule.weight * item.high))
        low, high = low + ends[0], high + ends[1]
    return tidy(low), tidy(high)


def _steps(items: Sequence[Item]) -> Range:
    """How many steps hold in a row from the first on: for certain, and perhaps."""
    found = []
    for ends in ([each.low for each in items], [each.high for each in items]):
        n = 0
        for end in ends:
            if not end:
                break
            n += 1
        found.append(float(n))
    return found[0], found[1]
