"""What sensitivity and specificity mean for a patient; the published probability of a number of points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log

from tocsin.definitions.score import Performance


def positive_predictive_value(sensitivity: float, specificity: float, prevalence: float) -> float:
    """The share of positives that are right, where so many have it (all from 0 to 1).

    >>> round(positive_predictive_value(1.0, 0.95, 0.01), 2)
    0.17
    """
    hits = sensitivity * prevalence
    false_alarms = (1 - specificity) * (1 - prevalence)
    return hits / (hits + false_alarms)


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """What a table of four counts says."""

    sensitivity: float
    specificity: float
    positive_predictive_value: float
    negative_predictive_value: float
    positive_likelihood_ratio: float


def likelihoods(performance: Performance) -> Likelihoods | None:
    """The five usual numbers from published counts; none where no counts were published.

    >>> from tocsin.definitions.load import library
    >>> from tocsin.definitions.score import score_definition
    >>> told = likelihoods(score_definition("car-hematotox", library()).performance)
    >>> round(told.sensitivity, 3), round(told.specificity, 3)
    (0.889, 0.681)
    """
    if performance.counts is None:
        return None
    hit, positive, clear, negative = performance.counts
    missed, alarms = positive - hit, negative - clear
    return Likelihoods(
        hit / positive,
        clear / negative,
        hit / (hit + alarms),
        clear / (clear + missed),
        (hit / positive) / (alarms / negative),
    )


def probability(rows: Sequence[tuple[float, float]], score: float) -> tuple[float, float]:
    """The published probability of a score, from 0 to 1, as its lowest and highest.

    Between two rows it is interpolated in the logit. The first and the last row are printed as `<` and `>`:
    before the second and after the last but one only a bound is known.

    >>> rows = [(90, 1), (100, 1), (170, 54), (180, 70), (240, 99), (250, 99)]
    >>> probability(rows, 170), probability(rows, 0), probability(rows, 337)
    ((0.54, 0.54), (0.0, 0.01), (0.99, 1.0))
    """
    inner = rows[1:-1]
    if score < inner[0][0]:
        return 0.0, inner[0][1] / 100
    if score > inner[-1][0]:
        return inner[-1][1] / 100, 1.0
    for (low, p), (high, q) in pairwise(inner):
        if low <= score <= high:
            if score in (low, high):
                found = (p if score == low else q) / 100
            else:
                start, end = log(p / (100 - p)), log(q / (100 - q))
                found = 1 / (1 + exp(-(start + (end - start) * (score - low) / (high - low))))
            return found, found
    return 0.0, 1.0
