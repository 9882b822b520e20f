"""Intervals, curves and medians: what lifelines and SciPy say, in plain numbers and without chance.

Times are hours, estimates shares from 0 to 1, intervals 95 % unless `level` says otherwise. Nothing here
knows of patients or grades: `incidence` and `times` do.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LEVEL = 0.95
#: Steps a curve may have; with more, times go up to the next point of the finest grid (hours) that has fewer.
STEPS = 2_000
GRIDS = (1 / 60, 1 / 6, 0.5, 1.0, 6.0, 24.0)
CENSORED = 0


@dataclass(frozen=True, slots=True)
class Steps:
    """A step function: `estimate` holds from `hours` on, with its interval (NaN where there is none).

    `at_risk` is counted just before `hours`; there, `events` had the event of interest, `censored` left
    without any, and whoever else left had a competing event. The first row is hour 0.
    """

    hours: Floats
    estimate: Floats
    low: Floats
    high: Floats
    at_risk: Ints
    events: Ints
    censored: Ints


@dataclass(frozen=True, slots=True)
class Middle:
    """A median (NaN: not reached) with its interval, quartiles, least and most, of `n` with `events`."""

    n: int
    events: int
    median: float
    low: float
    high: float
    q1: float
    q3: float
    least: float
    most: float


@lru_cache(maxsize=65_536)
def exact(count: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share: SciPy's `binomtest`. NaN of nobody.

    >>> [round(end, 7) for end in exact(63, 228)]
    [0.2193322, 0.3392187]
    """
    if n == 0:
        return float("nan"), float("nan")
    from scipy.stats import binomtest

    found = binomtest(count, n).proportion_ci(level, "exact")
    return float(found.low), float(found.high)


def exact_rate(count: int, exposure: float, level: float = LEVEL) -> tuple[float, float]:
    """Garwood's exact Poisson interval of `count` in `exposure` (as patient-days), a unit of it.

    >>> [round(end, 3) for end in exact_rate(0, 1.0)]
    [0.0, 3.689]
    """
    if not exposure > 0:
        return float("nan"), float("nan")
    from scipy.stats import chi2

    low = chi2.ppf((1 - level) / 2, 2 * count) / 2 if count else 0.0
    return float(low / exposure), float(chi2.ppf((1 + level) / 2, 2 * (count + 1)) / 2 / exposure)


def cumulative_incidence(
    hours: Floats, events: Ints, interest: int, *, last: float | None = None, level: float = LEVEL
) -> Steps:
    """Aalen and Johansen's estimate of the share who had event `interest` by each hour.

    Parameters
    ----------
    hours, events : when each left and why: 0 censored, any other number an event; all but `interest` compete.
    last          : where the curve is to end, if later than the last departure.

    lifelines breaks ties between different events by chance. The estimator needs no breaking (a tie is one
    step in which all those at risk are the same), so that is switched off; at one instant censored patients
    leave last. Variance by the delta method, interval by log(-log), as lifelines has them. Where everybody
    has the event, or nobody has yet, there is no interval.

    >>> found = cumulative_incidence(np.array([1.0, 2, 2, 3]), np.array([1, 1, 2, 2]), 1)
    >>> found.hours.tolist(), found.estimate.tolist(), found.at_risk.tolist()
    ([0.0, 1.0, 2.0, 3.0], [0.0, 0.25, 0.5, 0.5], [4, 4, 3, 1])
    """
    hours, events = _checked(hours, events)
    if not len(hours):
        return _nobody()
    times, kinds, weights = _grouped(_on_grid(hours), events)
    fitted = _fitter()(alpha=1 - level)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of the logarithm of 0, where there is no interval
        # an event at hour 0 is lost in lifelines: all hours are one later there
        fitted.fit(times + 1.0, kinds, event_of_interest=interest, weights=weights)
    table = fitted.event_table
    at = table.index.to_numpy(dtype=np.float64) - 1.0
    estimate = fitted.cumulative_density_.to_numpy(dtype=np.float64)[:, 0]
    bounds = fitted.confidence_interval_.to_numpy(dtype=np.float64)
    low, high = bounds.min(axis=1), bounds.max(axis=1)
    of = table[fitted.label_cmprisk].to_numpy()
    return _steps(
        at, estimate, low, high, table["at_risk"].to_numpy(), of, table["censored"].to_numpy(), last
    )


def survival(
    hours: Floats, happened: npt.NDArray[np.bool_], *, last: float | None = None, level: float = LEVEL
) -> Steps:
    """Kaplan and Meier's estimate of the share to whom it has not happened by each hour.

    Whoever leaves at an hour is still at risk in it. Interval by log(-log) of Greenwood's variance.

    >>> found = survival(np.array([6.0, 6, 6, 6, 7]), np.array([True, True, True, False, True]))
    >>> found.hours.tolist(), [round(each, 3) for each in found.estimate.tolist()]
    ([0.0, 6.0, 7.0], [1.0, 0.4, 0.0])
    """
    hours, events = _checked(hours, np.asarray(happened, np.int64))
    if not len(hours):
        return _nobody()
    times, kinds, weights = _grouped(_on_grid(hours), events)
    fitted = _kaplan_meier(times, kinds, weights, level)
    table = fitted.event_table
    bounds = fitted.confidence_interval_.to_numpy(dtype=np.float64)
    return _steps(
        table.index.to_numpy(dtype=np.float64) - 1.0,
        fitted.survival_function_.to_numpy(dtype=np.float64)[:, 0], bounds.min(axis=1), bounds.max(axis=1),
        table["at_risk"].to_numpy(), table["observed"].to_numpy(), table["censored"].to_numpy(), last,
    )  # fmt: skip


def survival_median(hours: Floats, happened: npt.NDArray[np.bool_], *, level: float = LEVEL) -> Middle:
    """Median and quartiles of Kaplan and Meier's estimate; NaN where it does not come down so far.

    The interval of the median is where the curve's own log(-log) interval crosses a half (Brookmeyer and
    Crowley). `least` and `most` are of those to whom it happened.
    """
    hours, events = _checked(hours, np.asarray(happened, np.int64))
    n, count = len(hours), int(events.sum())
    if not n:
        return Middle(0, 0, *([float("nan")] * 7))
    from lifelines.utils import qth_survival_times

    fitted = _kaplan_meier(*_grouped(hours, events), level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        q1, median, q3 = (fitted.percentile(share) - 1.0 for share in (0.75, 0.5, 0.25))
        # where nobody is left the library's interval is 0 to 0, which would end the median's interval there
        left = fitted.survival_function_.to_numpy().ravel() > 0
        bounds = fitted.confidence_interval_[left]
        ends = np.sort(qth_survival_times(0.5, bounds).to_numpy().ravel()) - 1.0
    seen = hours[events > 0]
    least, most = (float(seen.min()), float(seen.max())) if count else (float("nan"),) * 2

    def known(value: float) -> float:
        return float(value) if np.isfinite(value) else float("nan")

    low, high = ends
    return Middle(n, count, known(median), known(low), known(high), known(q1), known(q3), least, most)


def observed_median(values: Floats, *, level: float = LEVEL) -> Middle:
    """Median, its exact interval by order statistics (SciPy's `quantile_test`), quartiles, least and most.

    Of few values the interval has no end; then it is NaN.

    >>> found = observed_median(np.arange(1.0, 12.0))
    >>> found.median, found.low, found.high, found.q1, found.q3, found.least, found.most
    (6.0, 2.0, 10.0, 3.5, 8.5, 1.0, 11.0)
    """
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return Middle(0, 0, *([float("nan")] * 7))
    from scipy.stats import quantile_test

    found = quantile_test(values, p=0.5).confidence_interval(confidence_level=level)
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    numbers = (median, found.low, found.high, q1, q3, values[0], values[-1])
    return Middle(len(values), len(values), *(float(each) for each in numbers))


def _checked(hours: Floats, events: Ints) -> tuple[Floats, Ints]:
    hours, events = np.asarray(hours, np.float64), np.asarray(events, np.int64)
    if len(hours) != len(events):
        raise ValueError(f"{len(hours)} times and {len(events)} events: one of each a patient")
    if len(hours) and not (np.isfinite(hours).all() and (hours >= 0).all()):
        raise ValueError("a time is below 0 or no number: hours count from the start of follow-up")
    return hours, events


def _on_grid(hours: Floats) -> Floats:
    """The hours themselves, or up to the next point of a grid where there are too many to draw."""
    if len(np.unique(hours)) <= STEPS:
        return hours
    for grid in GRIDS:
        coarse: Floats = np.ceil(np.round(hours / grid, 6)) * grid
        if len(np.unique(coarse)) <= STEPS:
            return coarse
    return coarse


def _grouped(hours: Floats, events: Ints) -> tuple[Floats, Ints, Ints]:
    """Each distinct (hour, event) once, and how many there are of it."""
    pairs, counts = np.unique(np.column_stack([hours, events.astype(np.float64)]), axis=0, return_counts=True)
    return pairs[:, 0], pairs[:, 1].astype(np.int64), counts.astype(np.int64)


@lru_cache(maxsize=1)
def _fitter() -> Any:
    from lifelines import AalenJohansenFitter

    class Untied(AalenJohansenFitter):  # type: ignore[misc]
        """Leaves ties as they are: the estimate does not depend on their order."""

        @staticmethod
        def _check_for_duplicates(durations: Any, events: Any) -> bool:
            return False

    return Untied


def _kaplan_meier(times: Floats, events: Ints, weights: Ints, level: float) -> Any:
    from lifelines import KaplanMeierFitter

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return KaplanMeierFitter(alpha=1 - level).fit(times + 1.0, events, weights=weights)


def _steps(
    at: Floats,
    estimate: Floats,
    low: Floats,
    high: Floats,
    at_risk: Any,
    events: Any,
    censored: Any,
    last: float | None,
) -> Steps:
    """Rows from hour 0 on; where the library has no interval and the estimate stays, the one before."""
    if len(at) > 1 and at[1] <= 0:  # somebody left at hour 0: that is the first row
        at, estimate, low, high, at_risk, events, censored = (
            column[1:] for column in (at, estimate, low, high, at_risk, events, censored)
        )
    else:
        at = np.concatenate([[0.0], at[1:]])
        low, high = low.copy(), high.copy()
        low[0] = high[0] = np.nan
    low, high = low.copy(), high.copy()
    # sums of steps are shares but for the last bits: 0.205, not 0.20500000000000007, which rounds otherwise
    estimate = np.round(estimate, 12)
    none = np.isin(estimate, (0.0, 1.0))
    low[none] = high[none] = np.nan
    for k in range(1, len(at)):
        if estimate[k] == estimate[k - 1] and not np.isfinite(low[k]):
            low[k], high[k] = low[k - 1], high[k - 1]
    risk, had, gone = (np.asarray(np.round(each), np.int64) for each in (at_risk, events, censored))
    if last is not None and last > at[-1]:
        at = np.append(at, last)
        estimate, low, high = (np.append(each, each[-1]) for each in (estimate, low, high))
        risk, had, gone = (np.append(each, 0) for each in (risk, had, gone))
    return Steps(at, estimate, low, high, risk, had, gone)


def _nobody() -> Steps:
    none = np.array([np.nan])
    zero = np.zeros(1, np.int64)
    return Steps(np.zeros(1), none, none, none, zero, zero, zero)
