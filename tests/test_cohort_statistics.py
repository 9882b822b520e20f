"""Intervals, curves and medians: what others printed, and what can be worked out another way."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom, poisson

from tocsin.cohort.statistics import (
    STEPS,
    cumulative_incidence,
    exact,
    exact_rate,
    observed_median,
    survival,
    survival_median,
)  # fmt: skip

#: Days to relapse (1), death (2) or the end of follow-up (0) of the 54 low-risk AML patients of the bone
#: marrow transplant data (Klein and Moeschberger; Guo and So 2018).
TRANSPLANTS = np.array([
    (2569, 0), (2506, 0), (2409, 0), (2218, 0), (1857, 0), (1829, 0), (1562, 0), (1470, 0), (1363, 0),
    (1030, 0), (860, 0), (1258, 0), (2246, 0), (1870, 0), (1799, 0), (1709, 0), (1674, 0), (1568, 0),
    (1527, 0), (1324, 0), (957, 0), (932, 0), (847, 0), (848, 0), (1850, 0), (1843, 0), (1535, 0), (1447, 0),
    (1384, 0), (414, 2), (2204, 2), (1063, 2), (481, 2), (105, 2), (641, 2), (390, 2), (288, 2), (421, 1),
    (79, 2), (748, 1), (486, 1), (48, 2), (272, 1), (1074, 2), (381, 1), (10, 2), (53, 2), (80, 2), (35, 2),
    (248, 1), (704, 2), (211, 1), (219, 1), (606, 1),
])  # fmt: skip
#: Weeks to relapse in acute myelogenous leukaemia, maintained and not (Miller 1981; `aml` of R's survival).
MAINTAINED = ([9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161], [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0])
NOT_MAINTAINED = ([5, 5, 8, 8, 12, 16, 23, 27, 30, 33, 43, 45], [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1])


def at(steps, hours):
    """The row of a step function that holds at an hour."""
    k = int(np.searchsorted(steps.hours, hours, side="right")) - 1
    return steps.estimate[k], steps.low[k], steps.high[k]


# --- what others printed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("years", "printed", "low", "high"),
    [(0.5, 0.0000, None, None), (1, 0.0741, 0.0234, 0.1646), (1.5, 0.1296, 0.0563, 0.2344),
     (2, 0.1481, 0.0685, 0.2565), (3, 0.1667, 0.0813, 0.2783)],
)  # fmt: skip
def test_incidence_is_what_r_prints(years, printed, low, high):
    """R's tidycmprsk::cuminc on those data, printed by CAMIS (psiaims.github.io/CAMIS/R/survival_cif).

    The estimate agrees to all four digits printed. The interval does not: it has the same transformation,
    log(-log), but another variance (R: Aalen 1978; lifelines: the delta method). Here the two differ by up to
    0.0015; the delta method itself is held to its own formula below.
    """
    days, why = TRANSPLANTS.T
    estimate, ours_low, ours_high = at(cumulative_incidence(days.astype(float), why, 1), years * 365.25)
    assert round(estimate, 4) == printed
    if low is None:
        assert math.isnan(ours_low)
        assert math.isnan(ours_high)
    else:
        assert ours_low == pytest.approx(low, abs=0.002)
        assert ours_high == pytest.approx(high, abs=0.002)


@pytest.mark.parametrize(
    ("data", "printed"),
    [
        (MAINTAINED, {9: 0.909, 13: 0.818, 18: 0.716, 23: 0.614, 31: 0.491, 34: 0.368, 48: 0.184}),
        (
            NOT_MAINTAINED,
            {
                5: 0.8333,
                8: 0.6667,
                12: 0.5833,
                23: 0.4861,
                27: 0.3889,
                30: 0.2917,
                33: 0.1944,
                43: 0.0972,
                45: 0.0,
            },
        ),
    ],
)
def test_survival_is_what_r_prints(data, printed):
    """summary(survfit(Surv(time, status) ~ x, aml)): tests/doaml.Rout.save of R's package survival."""
    weeks, happened = (np.array(each, float) for each in data)
    steps = survival(weeks, happened > 0)
    for week, share in printed.items():
        digits = len(f"{share}".partition(".")[2])
        assert round(at(steps, week)[0], digits) == share


@pytest.mark.parametrize(
    ("data", "n", "events", "median"), [(MAINTAINED, 11, 7, 31), (NOT_MAINTAINED, 12, 11, 23)]
)
def test_medians_are_what_r_prints(data, n, events, median):
    """print(survfit(Surv(time, status) ~ x, aml)): n, events and median of the same file."""
    weeks, happened = (np.array(each, float) for each in data)
    found = survival_median(weeks, happened > 0)
    assert (found.n, found.events, found.median) == (n, events, median)


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(520, 1000, 0.4885149, 0.5513671), (63, 228, 0.2193322, 0.3392187)],
)
def test_exact_intervals_are_what_r_prints(count, n, low, high):
    """R's binom.test, printed by CAMIS (psiaims.github.io/CAMIS/R/binomial_test)."""
    assert [round(end, 7) for end in exact(count, n)] == [low, high]


# --- worked out another way -----------------------------------------------------------------------------


@given(n=st.integers(1, 60), share=st.floats(0, 1))
def test_an_exact_interval_is_where_each_tail_is_two_and_a_half_percent(n, share):
    """Clopper and Pearson by their own definition: the roots of the two binomial tails."""
    count = round(share * n)
    low, high = exact(count, n)
    if count:
        assert low == pytest.approx(brentq(lambda p: binom.sf(count - 1, n, p) - 0.025, 1e-12, 1), abs=1e-8)
    else:
        assert low == 0
    if count < n:
        assert high == pytest.approx(brentq(lambda p: binom.cdf(count, n, p) - 0.025, 0, 1 - 1e-12), abs=1e-8)
    else:
        assert high == 1


@given(count=st.integers(0, 40), days=st.floats(0.5, 200))
def test_an_exact_rate_is_where_each_tail_is_two_and_a_half_percent(count, days):
    """Garwood by his definition: the roots of the two Poisson tails."""
    low, high = exact_rate(count, days)
    assert poisson.cdf(count, high * days) == pytest.approx(0.025, rel=1e-6)
    assert poisson.sf(count - 1, low * days) == pytest.approx(0.025, rel=1e-6) if count else low == 0


def product_integral(hours, events, interest):
    """Aalen and Johansen's estimate as a product of matrices, state by state, one instant after another."""
    kinds = sorted({*events} - {0})
    state = np.zeros(1 + len(kinds))
    state[0] = 1.0
    found = {0.0: 0.0}
    for now in sorted({*hours}):
        at_risk = sum(hour >= now for hour in hours)
        step = np.eye(1 + len(kinds))
        for k, kind in enumerate(kinds, 1):
            some = sum(hour == now and event == kind for hour, event in zip(hours, events, strict=True))
            step[0, k] = some / at_risk
            step[0, 0] -= some / at_risk
        state = state @ step
        found[now] = state[1 + kinds.index(interest)] if interest in kinds else 0.0
    return found


COURSES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=25)


@settings(deadline=None)
@given(COURSES)
def test_incidence_is_the_product_of_its_steps_ties_and_all(courses):
    """On a coarse grid nearly everything is tied, hour 0 too; the estimate is the product integral's."""
    hours, events = (np.array(each) for each in zip(*courses, strict=True))
    for interest in (1, 2, 3):
        if interest not in events:
            continue
        steps = cumulative_incidence(hours.astype(float), events, interest)
        expected = product_integral(hours.tolist(), events.tolist(), interest)
        for hour, share in zip(steps.hours.tolist(), steps.estimate.tolist(), strict=True):
            assert share == pytest.approx(expected.get(hour, 0.0), abs=1e-12)


@settings(deadline=None)
@given(COURSES, st.randoms())
def test_the_answer_does_not_depend_on_the_order_of_patients_or_on_chance(courses, chance):
    """Tied or not, shuffled or not: the same numbers to the last bit."""
    shuffled = courses[:]
    chance.shuffle(shuffled)
    random.seed()
    np.random.seed(None)
    answers = []
    for each in (courses, shuffled):
        hours, events = (np.array(column) for column in zip(*each, strict=True))
        answers.append(cumulative_incidence(hours.astype(float), events, 1))
    for one, other in zip(*((a.hours, a.estimate, a.low, a.high, a.at_risk) for a in answers), strict=True):
        np.testing.assert_array_equal(one, other)


@given(COURSES)
@settings(deadline=None)
def test_where_everything_competes_incidence_is_a_share_of_all(courses):
    """With nobody censored, the incidence at an hour is simply the share who had the event by then."""
    hours = np.array([hour for hour, _ in courses], float)
    events = np.array([max(event, 1) for _, event in courses])
    steps = cumulative_incidence(hours, events, 1)
    for hour, share in zip(steps.hours, steps.estimate, strict=True):
        assert share == pytest.approx(((hours <= hour) & (events == 1)).mean())
    assert steps.at_risk[0] == len(courses)


def test_incidences_of_all_rivals_and_who_is_left_add_to_one():
    days, why = TRANSPLANTS.T
    total = sum(cumulative_incidence(days.astype(float), why, kind).estimate for kind in (1, 2))
    left = survival(days.astype(float), why > 0).estimate
    np.testing.assert_allclose(total + left, 1.0, atol=1e-12)


@given(st.lists(st.integers(1, 12), min_size=2, max_size=40), st.data())
@settings(deadline=None)
def test_without_censoring_the_interval_is_that_of_a_share(hours, data):
    """Then the variance is F (1 - F) / n, and the interval that of log(-log F): worked out here by hand."""
    events = np.array([data.draw(st.integers(1, 2)) for _ in hours])
    steps = cumulative_incidence(np.array(hours, float), events, 1)
    last = max(hours)
    for hour, share, low, high in zip(steps.hours, steps.estimate, steps.low, steps.high, strict=True):
        if not 0 < share < 1 or hour >= last:
            continue
        error = math.sqrt(share * (1 - share) / len(hours)) / abs(share * math.log(share))
        middle = math.log(-math.log(share))
        assert low == pytest.approx(math.exp(-math.exp(middle + 1.959964 * error)), abs=1e-6)
        assert high == pytest.approx(math.exp(-math.exp(middle - 1.959964 * error)), abs=1e-6)


def test_an_end_without_interval_keeps_the_one_before():
    """When the last at risk leave, the library divides by 0; an estimate that stays keeps its interval."""
    steps = cumulative_incidence(np.array([1.0, 2, 3, 4]), np.array([1, 3, 1, 3]), 1)
    assert np.isfinite(steps.low[1:]).all()
    assert (steps.low[-1], steps.high[-1]) == (steps.low[-2], steps.high[-2])


@pytest.mark.parametrize("hours", [[-1.0], [float("nan")], [float("inf")]])
def test_a_time_before_the_start_is_refused(hours):
    with pytest.raises(ValueError, match="hours count from the start"):
        survival(np.array(hours), np.array([True]))


def test_nobody_has_no_estimate():
    """Of nobody there is no share: not 0."""
    for steps in (
        survival(np.array([]), np.array([], bool)),
        cumulative_incidence(np.array([]), np.array([], int), 1),
    ):
        assert math.isnan(steps.estimate[0])
        assert steps.at_risk[0] == 0
    assert math.isnan(exact(0, 0)[0])
    assert observed_median(np.array([])).n == 0
    assert math.isnan(exact_rate(0, 0.0)[1])


def test_a_large_cohort_is_drawn_in_few_steps_that_lie_on_the_true_curve():
    """A hundred thousand distinct hours become at most 2,000 steps, each where the whole curve is too."""
    hours = np.random.default_rng(5).exponential(60.0, 100_000)
    steps = cumulative_incidence(hours, np.ones(len(hours), int), 1)
    assert len(steps.hours) <= STEPS + 1
    for hour, share in zip(steps.hours, steps.estimate, strict=True):
        assert share == pytest.approx((hours <= hour).mean(), abs=1e-9)


def test_a_median_nobody_reached_is_not_a_number():
    """Half have to have it."""
    found = survival_median(np.array([1.0, 5, 5]), np.array([True, False, False]))
    assert math.isnan(found.median)
    assert (found.n, found.events, found.least) == (3, 1, 1.0)


@pytest.mark.parametrize("hours", [[52.0], [52.0, 70.0]])
def test_one_or_two_say_nothing_of_how_far_a_median_may_be_off(hours):
    """When the last of them has it the curve is 0 without an interval; that is no end of the median's."""
    found = survival_median(np.array(hours), np.ones(len(hours), bool))
    assert found.median == 52.0
    assert math.isnan(found.high)
