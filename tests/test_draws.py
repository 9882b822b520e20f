"""Random numbers of the simulation: spread evenly, unrelated between uses, the same on every run."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tocsin.simulation.draws import normal, uniform

#: uniform and normal of seed 1, patient 2, purpose 3, hour 4.
FIXED = (0.15393714063898006, 0.11128070484392281)


def drawn(function, *, seed=1, purpose=5, step=0, count=20_000):
    return np.array([function(seed, number, purpose, step) for number in range(count)])


@pytest.mark.parametrize("use", [{"seed": 1}, {"seed": 2}, {"purpose": 6}, {"step": 700}])
def test_numbers_follow_their_law_over_patients(use):
    assert stats.kstest(drawn(uniform, **use), "uniform").pvalue > 1e-4
    assert stats.kstest(drawn(normal, **use), "norm").pvalue > 1e-4


def test_numbers_follow_their_law_over_hours_of_one_patient():
    hours = np.array([uniform(1, 3, 800, hour) for hour in range(20_000)])
    assert stats.kstest(hours, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(hours[:-1], hours[1:])[0, 1]) < 0.03


@pytest.mark.parametrize("other", [{"seed": 2}, {"purpose": 6}, {"step": 1}])
def test_another_seed_purpose_or_hour_is_unrelated(other):
    assert abs(np.corrcoef(drawn(normal), drawn(normal, **other))[0, 1]) < 0.03


def test_a_number_is_the_same_on_every_run():
    """Written down: a change here changes every simulated patient there is."""
    assert uniform(1, 2, 3, 4) == pytest.approx(FIXED[0], abs=1e-15)
    assert normal(1, 2, 3, 4) == pytest.approx(FIXED[1], abs=1e-12)
