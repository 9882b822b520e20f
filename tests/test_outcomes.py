"""What became of a patient is read off grades, episodes and chart; a trial is judged at its real size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tocsin.definitions.load import library
from tocsin.definitions.trial import Target, Trial, trial_of
from tocsin.definitions.ward import ward_of
from tocsin.episodes import episodes
from tocsin.grading.batch import grade_table
from tocsin.simulation.care import Chart
from tocsin.simulation.equations import Parameter, State
from tocsin.simulation.outcomes import asked, compare, outcomes, spread_sets
from tocsin.simulation.solve import Courses
from tocsin.testing import START, patient

LIB = library()
WARD = ward_of("usual", LIB)
HOURS = 14 * 24


def course(**given):
    """A quiet course of one patient; `given`: a channel of the chart to {hour: value}."""
    chart = np.zeros((1, HOURS + 1, len(Chart)))
    for name, hours in given.items():
        for hour, value in hours.items():
            chart[0, hour, Chart[name]] = value
    return Courses(
        np.zeros((1, HOURS + 1, len(State))), chart, np.ones((1, len(Parameter))), np.array([70.0]),
        np.array([50.0]), np.zeros((1, 0, 4)),
    )  # fmt: skip


def read(*lines, scale="astct-2019", courses=None):
    """The outcomes of a patient in words: each column's only number."""
    facts = patient(*lines, patient="p1")
    intervals = grade_table(facts, scale)
    found = episodes(intervals, facts)
    columns = outcomes(courses or course(), facts, intervals, found, WARD, ids=["p1"], zero=START)
    return {name: float(column[0]) for name, column in columns.items()}


ILL = (
    "0 h teclistamab", "0 h weight 70 kg", "0 h mean-bp 90 mm[Hg]", "0 h temperature 36.8 Cel",
    "30 h temperature 38.6 Cel", "40 h temperature 38.1 Cel", "44 h temperature 37.2 Cel",
    "60 h temperature 36.9 Cel", "60 h mean-bp 88 mm[Hg]", "80 h temperature 36.8 Cel",
    "80 h mean-bp 88 mm[Hg]", "110 h temperature 36.8 Cel", "110 h mean-bp 88 mm[Hg]",
)  # fmt: skip


# --- one patient ----------------------------------------------------------------------------------------


def test_a_fever_is_read_from_onset_to_end():
    """The illness lasts until the last fever stops counting, 24 h after it; the fever to its last reading."""
    got = read(*ILL)
    assert (got["grade"], got["onset"], got["ended"], got["events"]) == (1, 30, 64, 1)
    assert (got["duration"], got["fever_lasted"], got["after_dose"]) == (34, 10, 30)


def test_who_never_falls_ill_has_no_onset_and_counts_as_grade_0():
    got = read("0 h teclistamab", "5 h temperature 36.9 Cel", "100 h temperature 37.0 Cel")
    assert (got["grade"], got["events"], got["fever"]) == (0, 0, 0)
    assert np.isnan([got[name] for name in ("onset", "ended", "duration", "grade_3", "fever_lasted")]).all()


def test_an_illness_cut_by_the_end_of_the_record_lasts_to_that_end():
    """To leave it out would leave out the longest."""
    got = read("0 h teclistamab", "300 h temperature 39.0 Cel", "330 h temperature 39.0 Cel")
    assert np.isnan(got["ended"])
    assert got["duration"] == HOURS - 300


def test_who_leaps_over_grade_3_has_reached_it():
    got = read(
        "0 h teclistamab", "20 h temperature 39.0 Cel", "25 h temperature 39.2 Cel",
        "26 h oxygen-device ventilator", "26 h spo2 85 %",
    )  # fmt: skip
    assert got["grade"] == 4
    assert got["grade_3"] == got["grade_4"] == 26


def test_support_and_drugs_are_those_the_ward_charted():
    given = course(
        device={40: 1, 41: 4}, norepinephrine={42: 0.1}, tocilizumab={45: 560, 60: 560},
        dexamethasone={50: 10},
    )  # fmt: skip
    got = read(*ILL, courses=given)
    assert [got[name] for name in ("oxygen", "ventilator", "supported", "steroid")] == [1, 1, 1, 1]
    assert (got["tocilizumab"], got["tocilizumab_first"], got["tocilizumab_in_first"]) == (2, 45, 1)
    assert got["response_hours"] == 64 - 45


def test_tocilizumab_after_the_first_illness_was_not_given_in_it():
    assert read(*ILL, courses=course(tocilizumab={200: 560}))["tocilizumab_in_first"] == 0


def test_a_high_dose_is_what_the_scale_calls_one():
    """The finding of the trial's own scale, not a number kept here."""
    lines = (
        "0 h age 50 a", "0 h weight 70 kg", "0 h tisagenlecleucel", "10 h temperature 39.0 Cel",
        "12 h norepinephrine {} ug/min until 20 h",
    )  # fmt: skip
    low, high = (
        read(*(line.format(rate) for line in lines), scale="penn-2018")["high_dose"] for rate in ("5", "25")
    )
    assert (low, high) == (0, 1)


def test_a_peak_is_the_highest_sample():
    got = read(*ILL, "24 h il-6 40 pg/mL", "48 h il-6 300 pg/mL", "72 h il-6 90 pg/mL")
    assert got["peak il-6"] == 300
    assert np.isnan(got["peak ferritin"])


# --- many patients --------------------------------------------------------------------------------------


def trial(n=68, **target):
    """A trial of n patients that asks one thing."""
    said = {
        "id": "t", "says": "any CRS", "quantity": "share-at-least", "value": 80.0, "unit": "%", "role": "fit",
        "numbers": {"grade": 1},
    }  # fmt: skip
    return Trial("x", "X", "teclistamab", "astct-2019", n, 28, ("s",), {}, (), (Target(**(said | target)),))


def some(count, share=0.8, seed=0, **columns):
    """Columns of patients of whom a share have grade 1, with a log-normal onset (days, median 3)."""
    rng = np.random.default_rng(seed)
    ill = rng.random(count) < share
    onset = np.where(ill, 72 * np.exp(0.5 * rng.standard_normal(count)), np.nan)
    return {"grade": ill.astype(float), "onset": onset, "duration": onset * 2, **columns}


def one(trial, columns, sets=None, **options):
    sets = np.zeros(len(columns["grade"]), np.int64) if sets is None else sets
    (row,) = compare(trial, columns, sets, seed=1, **options).to_pylist()
    return row


def test_the_interval_is_that_of_trials_of_the_real_size():
    """A share of 80 % in 68: twice its binomial standard error to each side."""
    row = one(trial(68), some(4000), draws=4000)
    error = 100 * np.sqrt(0.8 * 0.2 / 68)
    assert row["simulated"] == pytest.approx(80, abs=2)
    assert (row["high"] - row["low"]) / (2 * 1.96 * error) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("each", [68, 136, 272])
def test_few_patients_a_set_do_not_widen_the_interval(each):
    """Twenty sets that are alike: the chance of who was simulated must not pass for a difference."""
    count = 20 * each
    row = one(trial(68), some(count), np.repeat(np.arange(20), each), draws=4000)
    error = 100 * np.sqrt(0.8 * 0.2 / 68)
    assert (row["high"] - row["low"]) / (2 * 1.96 * error) == pytest.approx(1, abs=0.25)


def test_sets_that_differ_widen_the_interval():
    """What the calibration leaves open is part of the answer."""
    apart = {"grade": np.repeat([0.0, 1.0], 2000)}
    grade = np.concatenate([some(2000, 0.6)["grade"], some(2000, 0.95)["grade"]])
    same = one(trial(68), some(4000, 0.775), draws=2000)
    row = one(trial(68), apart | {"grade": grade}, np.repeat([0, 1], 2000), draws=2000)
    assert row["high"] - row["low"] > 1.5 * (same["high"] - same["low"])


def test_a_trial_drawn_from_the_model_is_hit_as_often_as_it_says():
    """95 of 100 true trials lie inside; nothing is gained by a wide interval."""
    columns = some(20_000, seed=3)
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(200):
        share = 100 * float((columns["grade"][rng.integers(0, 20_000, 68)] >= 1).mean())
        inside += one(trial(68, value=share), columns, draws=400)["hit"]
    assert 0.91 <= inside / 200 <= 1


def test_a_published_share_is_equal_within_half_a_patient():
    """1 of 165 is printed as 0.6 %, which no trial of 165 can have."""
    columns = {"grade": (np.arange(1650) < 10).astype(float)}
    row = one(trial(165, value=0.6), columns)
    assert row["hit"]
    assert row["p"] > 0.9
    assert one(trial(6, value=100.0), {"grade": np.ones(600)})["p"] == 1


def test_far_off_is_missed_and_p_says_so():
    row = one(trial(68, value=49.0), some(4000))
    assert not row["hit"]
    assert row["p"] < 0.01


def test_a_subgroup_of_its_own_size_is_drawn_in_that_size():
    """A median of 11 patients is as unsure as 11 are, however large the trial."""
    said = {"quantity": "onset-days", "unit": "d", "value": 3.0, "of": "crs"}
    asking = trial(300, **said)
    small = replace(asking, targets=(replace(asking.targets[0], n=11),))
    few, many = one(small, some(4000)), one(asking, some(4000))
    assert (few["n"], many["n"]) == (11, 300)
    assert few["high"] - few["low"] > 3 * (many["high"] - many["low"])


@pytest.mark.parametrize(
    ("bound", "value", "hit"),
    [("at-most", 1.0, False), ("at-most", 9.0, True), ("at-least", 1.0, True), ("at-least", 9.0, False)],
)
def test_a_bound_is_kept_on_one_side_only(bound, value, hit):
    row = one(trial(68, quantity="onset-days", unit="d", value=value, bound=bound), some(4000))
    assert row["hit"] is hit
    assert (row["p"] > 0.5) is hit


def test_where_nobody_is_eligible_the_target_is_missed():
    row = one(trial(68, quantity="onset-days", unit="d", value=3.0), some(400, share=0.0))
    assert row["simulated"] is None
    assert row["p"] is None
    assert row["hit"] is False


def test_the_same_seed_gives_the_same_table():
    assert one(trial(), some(500)) == one(trial(), some(500))


def test_of_those_with_crs_is_not_of_all():
    """40 of 80 treated is half of those with CRS and 40 % of everybody."""
    columns = {"grade": np.repeat([1.0, 0.0], [80, 20]), "tocilizumab": np.repeat([1.0, 0.0], [40, 60])}
    target = trial(quantity="tocilizumab-share", of="crs").targets[0]
    for of, share in (("crs", 50), ("all", 40)):
        found = asked(replace(target, of=of), columns)
        assert found.value[found.eligible].mean() == share


def test_a_response_is_over_in_time_and_with_few_doses():
    """Asked only of those given tocilizumab at the grade; an illness whose end was not seen is none."""
    columns = {
        "grade": np.array([3.0, 4, 3, 3, 3, 2]), "tocilizumab": np.array([1.0, 2, 3, 1, 0, 1]),
        "response_hours": np.array([24.0, 336, 24, np.nan, np.nan, 24]),
    }  # fmt: skip
    numbers = {"grade": 3, "within_days": 14, "most_doses": 2}
    found = asked(trial(quantity="tocilizumab-response", numbers=numbers).targets[0], columns)
    assert found.eligible.tolist() == [True, True, True, True, False, False]
    assert found.value[found.eligible].tolist() == [100, 100, 0, 0]


def test_recurrence_is_asked_of_those_whose_first_illness_was_treated_so():
    columns = {
        "grade": np.ones(6), "events": np.array([1.0, 2, 1, 2, 2, 2]),
        "tocilizumab_in_first": np.array([1.0, 1, 0, 0, 0, 0]),
    }  # fmt: skip
    target = trial(quantity="recurrence-share").targets[0]
    for given, share in (("tocilizumab", 50), ("none", 75)):
        found = asked(replace(target, given=given), columns)
        assert found.value[found.eligible].mean() == share


def test_an_early_marker_that_foretells_worse_is_below():
    """Both markers are read at the same hour: a peak would know what is still to come."""
    rng = np.random.default_rng(0)
    sick = np.arange(2000) < 400
    columns = {
        "grade": np.where(sick, 4.0, 1.0), "early ifn-gamma": sick + 0.3 * rng.random(2000),
        "early crp": rng.random(2000),
    }  # fmt: skip
    asking = trial(51, quantity="auroc-below", unit="1", value=0.0, measure="crp", bound="at-least")
    row = one(asking, columns, draws=200)
    assert row["hit"]
    assert row["simulated"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("count", "patients", "n", "used"),
    [(50, 1000, 68, 3), (50, 100, 68, 1), (50, 10**6, 68, 50), (1, 5000, 68, 1)],
)
def test_as_many_sets_as_there_are_patients_for(count, patients, n, used):
    found = spread_sets(count, patients, n).tolist()
    assert len(set(found)) == used
    assert found[0] == 0
    assert max(found) < count


# --- the whole way --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_published_trial_runs_from_its_name_to_its_table():
    from tocsin.simulation.trials import run_trial

    asking = trial_of("cd22", LIB)
    arm, table = run_trial(asking, 60, 3, LIB, draws=50)
    assert table["target"].to_pylist() == [target.id for target in asking.targets]
    assert len(arm.columns["grade"]) == 60
    assert pa.compute.sum(table["hit"]).as_py() > 0
