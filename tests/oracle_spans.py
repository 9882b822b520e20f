"""Intervals of possible values for the oracle: what `<`, `>`, unknown and half-up rounding mean."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from tocsin.definitions.schema import Measure

YES, UNKNOWN, NO = 2, 1, 0


class Span(NamedTuple):
    """The values a reading may have: from `low` to `high`, an open end not among them."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    @property
    def low_key(self) -> tuple[float, bool]:
        return (self.low, self.low_open)

    @property
    def high_key(self) -> tuple[float, bool]:
        return (self.high, not self.high_open)


ANYTHING = Span(-math.inf, math.inf, True, True)
RUNNING = Span(0.0, math.inf, True, True)
STOPPED = Span(0.0, 0.0)
ZERO_OR_MORE = Span(0.0, math.inf, False, True)


def quarters(hours: float) -> int:
    """Hours as quarter hours; refuses what is off the grid."""
    count = round(hours * 4)
    if abs(count - hours * 4) > 1e-9:
        raise ValueError(f"{hours} h is not a whole number of quarter hours")
    return count


def rank(span: Span, measure: Measure) -> tuple[tuple[float, bool], tuple[float, bool]]:
    """The worst row of a tie has the highest rank: its method and its end stand for all."""
    if measure.worse == "low" and measure.kind == "number":
        return (-span.high, span.high_open), (-span.low, not span.low_open)
    return span.low_key, span.high_key


def equal(value: float, bound: float) -> bool:
    return value == bound or (not math.isinf(bound) and abs(value - bound) <= 1e-9 * abs(bound))


def compare(span: Span, op: str, bound: float) -> int:
    """2 if every value of the span satisfies the bound, 0 if none does, else 1."""
    if op in ("at_most", "below"):
        turned = {"at_most": "above", "below": "at_least"}[op]
        return 2 - compare(span, turned, bound)
    low_is, high_is = equal(span.low, bound), equal(span.high, bound)
    if op == "at_least":
        if span.low > bound or low_is:
            return YES
        return NO if (span.high < bound and not high_is) or (high_is and span.high_open) else UNKNOWN
    if (span.low > bound and not low_is) or (low_is and span.low_open):
        return YES
    return NO if span.high < bound or high_is else UNKNOWN


def worse(span: Span, base: Span, op: str) -> int:
    """Whether a span lies beyond its baseline for every pair of values."""
    answers = {compare(span, op, end) for end in (base.low, base.high)}
    return answers.pop() if len(answers) == 1 else UNKNOWN


def ratio(span: Span, base: Span) -> Span:
    if base.low <= 0:
        return ANYTHING
    return Span(
        span.low / (base.high if span.low >= 0 else base.low), span.high / base.low,
        span.low_open or base.high_open, span.high_open or base.low_open,
    )


def fall(span: Span, base: Span) -> Span:
    return Span(
        base.low - span.high, base.high - span.low,
        base.low_open or span.high_open, base.high_open or span.low_open,
    )


def percent(span: Span, base: Span) -> Span:
    share = ratio(span, base)
    return Span(100 * (1 - share.high), 100 * (1 - share.low), share.high_open, share.low_open)


def rounded(span: Span, to: float | None) -> Span:
    """Half-up to `to`: the values that remain possible, so `<` 38.0 may still be 38.0 (37.96)."""
    if to is None:
        return span

    def half_up(value: float) -> float:
        return value if math.isinf(value) else math.floor(value / to + 0.5 + 1e-9) * to

    high = span.high
    if span.high_open and not math.isinf(high):
        high = math.ceil(high / to - 0.5 - 1e-9) * to
        return Span(half_up(span.low), high, math.isinf(span.low), False)
    return Span(half_up(span.low), half_up(high), math.isinf(span.low), math.isinf(high))


def times_weight(span: Span, measure: Measure, unit: str | None, weight: float | None) -> Span:
    """A rate in the bound's unit, where that unit carries the body weight in another power."""
    if unit is None or measure.unit is None or unit == measure.unit:
        return span
    powers = []
    for text in (measure.unit, unit):
        found = re.search(r"/kg(\d*)", text)
        powers.append(0 if found is None else int(found.group(1) or 1))
    if re.sub(r"/kg\d*", "", measure.unit) != re.sub(r"/kg\d*", "", unit):
        raise ValueError(f"the oracle cannot turn {measure.unit} into {unit}")
    power = powers[0] - powers[1]
    if span == STOPPED:
        return span
    if weight is None or math.isnan(weight):
        return RUNNING if span.low_key > (0.0, False) else ZERO_OR_MORE
    factor = float(weight) ** power
    return Span(span.low * factor, span.high * factor, span.low_open, span.high_open)


def within(yes: list[bool], span: int) -> list[bool]:
    """From the start of every yes to `span` after its end."""
    return [True in yes[max(0, i - span) : i + 1] for i in range(len(yes))]


def lasted(yes: list[bool], least: int, bridge: int) -> list[bool]:
    """Yes now, in a run (gaps of at most `bridge` bridged) that began at least `least` ago."""
    out, began, gap = [], None, 0
    for i, now in enumerate(yes):
        if now:
            if began is None or gap > bridge:
                began = i
            gap = 0
        else:
            gap += 1
        out.append(now and began is not None and i - began >= least)
    return out
