"""A simulated course is charted as a ward charts: read without a reject, graded by the support given."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

import tocsin
from tocsin.definitions.model import SHARED, model_of
from tocsin.definitions.schema import TocsinError
from tocsin.facts import canonical, messages
from tocsin.facts.columns import RAW
from tocsin.simulation.care import Chart
from tocsin.simulation.charting import facts_of, rounded
from tocsin.simulation.equations import Input
from tocsin.simulation.patients import population
from tocsin.simulation.schedule import schedule
from tocsin.simulation.solve import Courses, courses
from virtual import CAR, ENGAGER, LIB, WARD, course

START = datetime(2026, 1, 1, tzinfo=UTC)
MODELS = sorted(set(LIB.files("models")) - {SHARED})


def facts(made, model=CAR, seed=1, **more):
    return facts_of(made, WARD, model=model, seed=seed, start=START, lib=LIB, **more)


def rows(table, measure):
    """The rows of one measure, with the hour since the start."""
    return [
        {**row, "hour": (row["time"] - START) / timedelta(hours=1)}
        for row in table.to_pylist()
        if row["measure"] == measure
    ]


def solved(name, patients=12, days=14, seed=3):
    model = model_of(name, LIB)
    drawn = population(model, patients, seed)
    planned = schedule([dose for dose in model.doses if dose.day < days], drawn.weight, days)
    return model, courses(drawn, planned, days, WARD)


def part(whole, where):
    return Courses(**{field.name: getattr(whole, field.name)[where] for field in fields(Courses)})


@pytest.mark.parametrize("name", MODELS)
def test_simulated_facts_pass_the_hall_without_a_reject(name):
    """The same checks as for everybody's records; a reject would mean that we chart nonsense."""
    model, made = solved(name)
    table = facts(made, model, seed=3)
    assert table.schema.equals(RAW)
    found = canonical(table, lib=LIB, source="simulated")
    assert list(messages(found.rejects)) == []
    assert found.table.num_rows == table.num_rows
    assert set(table["patient_id"].to_pylist()) == {f"sim-3-{number}" for number in range(12)}


def test_even_an_impossible_illness_is_charted_within_what_can_be_measured():
    """The solver is tested far out; a monitor still shows only what a monitor can show."""
    states = {"leak": 1.0, "lung": 1.0, "fever": 9.0, "slow_macrophage": 1.0, "macrophage": 1.0, "il_6": 1e8}
    chart = {"temperature": 48.0, "mean_bp": -20.0, "spo2": 12.0}
    found = canonical(facts(course(states=states, chart=chart)), lib=LIB, source="simulated")
    assert list(messages(found.rejects)) == []


def test_a_seed_gives_the_same_rows_in_any_batches():
    model, whole = solved("tisagenlecleucel", days=7)
    at_once = facts(whole, model, seed=3)
    halves = [
        facts(part(whole, slice(0, 5)), model, seed=3),
        facts(part(whole, slice(5, 12)), model, seed=3, first=5),
    ]
    assert pa.concat_tables(halves).combine_chunks().equals(at_once)
    assert facts(whole, model, seed=3).equals(at_once)


def test_another_seed_gives_other_errors_of_measuring():
    assert not facts(course(), seed=1)["value"].equals(facts(course(), seed=2)["value"])


def test_every_patient_is_somebody():
    table = facts(course(patients=40, age=7.25))
    assert [row["value"] for row in rows(table, "age")] == [7.2] * 40
    assert [row["value"] for row in rows(table, "weight")] == [70.0] * 40
    assert set(Counter(row["text"] for row in rows(table, "sex"))) == {"female", "male"}


# --- what started it ------------------------------------------------------------------------------------


def test_engineered_cells_are_given_at_the_start():
    assert [row["hour"] for row in rows(facts(course()), "tisagenlecleucel")] == [0]


def test_doses_are_charted_as_planned():
    """1.5 mg within an hour is a dose; a rate over a week says until when, as far as it was seen."""
    doses = [
        (0, 1, Input.engager_depot, 1.5 * 24),
        (24, 48, Input.engager, 0.009),
        (96, 900, Input.engager, 0.028),
        (0, 1, Input.tocilizumab, 560 * 24),
    ]
    table = facts(course(100, model=ENGAGER, doses=doses), ENGAGER)
    given = [(row["hour"], row["value"], row["unit"], row["end"]) for row in rows(table, "teclistamab")]
    assert given == [
        (0, 1.5, "mg", None),
        (24, 0.009, "mg", START + timedelta(hours=48)),
        (96, 0.00467, "mg", START + timedelta(hours=100)),
    ]
    assert [(row["hour"], row["value"]) for row in rows(table, "tocilizumab")] == [(0, 560.0)]


def test_an_infusion_that_starts_as_the_record_ends_is_not_charted_and_a_push_is():
    doses = [(100, 148, Input.engager, 0.028), (100, 101, Input.engager_depot, 1.5 * 24)]
    table = facts(course(100, model=ENGAGER, doses=doses), ENGAGER)
    assert [(row["hour"], row["value"], row["end"]) for row in rows(table, "teclistamab")] == [
        (100, 1.5, None)
    ]


def test_a_week_of_a_month_s_infusion_is_charted_as_a_week():
    """Eight days of blinatumomab hold seven at 9 ug a day and one at 28, not the whole month."""
    model, made = solved("blinatumomab", patients=1, days=8)
    given = [(row["hour"], row["value"], row["end"]) for row in rows(facts(made, model), "blinatumomab")]
    assert given == [
        (0, 0.063, START + timedelta(days=7)),
        (168, 0.028, START + timedelta(days=8)),
    ]


@pytest.mark.parametrize("model", [CAR, ENGAGER], ids=lambda model: model.kind)
def test_an_infection_beside_a_therapy_is_not_charted_as_the_therapy(model):
    doses = [(6, 30, Input.pathogen, 1.0)]
    given = [row["hour"] for row in rows(facts(course(doses=doses, model=model), model), model.id)]
    assert given == ([0] if model.kind == "car-t" else [])


def test_an_infection_is_charted_as_a_condition_and_an_unlisted_trigger_not_at_all():
    doses = [(6, 30, Input.pathogen, 1.0)]
    covid, endotoxin = model_of("covid-19", LIB), model_of("endotoxin", LIB)
    assert [row["hour"] for row in rows(facts(course(doses=doses, model=covid), covid), "covid-19")] == [6]
    assert "endotoxin" not in facts(course(doses=doses, model=endotoxin), endotoxin)["measure"].to_pylist()


# --- the bedside ----------------------------------------------------------------------------------------


def test_signs_are_charted_when_they_were_measured_and_then_only():
    table = facts(course(24))
    for name in ("temperature", "mean-bp", "systolic-bp", "heart-rate", "spo2", "oxygen-device"):
        assert [row["hour"] for row in rows(table, name)] == [0, 4, 8, 12, 16, 20, 24], name


def test_the_systolic_pressure_goes_with_the_mean_one_of_its_round():
    """Two pressures of one reading that contradict each other would be two readings."""
    made = course(200, chart={"mean_bp": np.linspace(40, 110, 201)})
    table = facts(made)
    low, middle, high = (
        np.array([row["value"] for row in rows(table, name)])
        for name in ("diastolic-bp", "mean-bp", "systolic-bp")
    )
    assert np.all((low < middle) & (middle < high))
    assert np.all(np.abs(high - 1.387 * middle) < 12)


def test_oxygen_is_charted_with_its_device():
    """Flow of a cannula, FiO2 of a device that sets it, neither on air."""
    device = np.repeat([0, 1, 3, 4, 0], 10)
    table = facts(course(49, chart={"device": device}))
    words = {row["hour"]: row["text"] for row in rows(table, "oxygen-device")}
    changed = {hour: words[hour] for hour in (0, 10, 20, 30, 40)}
    assert changed == {
        0: "room-air", 10: "nasal-cannula", 20: "high-flow-nasal-cannula", 30: "ventilator", 40: "room-air",
    }  # fmt: skip
    assert {row["hour"]: row["value"] for row in rows(table, "oxygen-flow")} == {
        10: 2, 12: 2, 16: 2, 20: 40, 24: 40, 28: 40,
    }  # fmt: skip
    assert {row["hour"] for row in rows(table, "fio2")} == {20, 24, 28, 30, 32, 36}


def test_a_vasopressor_is_charted_at_changes_and_before_a_row_grows_stale():
    """After 4 h without a row nobody knows whether it still runs."""
    rate = np.zeros(31)
    rate[3:14], rate[14:20] = 0.1, 0.3
    found = rows(facts(course(30, chart={"norepinephrine": rate})), "norepinephrine")
    assert [(row["hour"], row["value"]) for row in found] == [
        (3, 0.1), (7, 0.1), (11, 0.1), (14, 0.3), (18, 0.3), (20, 0.0),
    ]  # fmt: skip
    assert {row["unit"] for row in found} == {"ug/kg/min"}


def test_what_the_ward_gives_is_charted_once_and_fluid_says_why():
    chart = {name: np.where(np.arange(49) == 5, 500.0, 0.0) for name in ("bolus", "acetaminophen")}
    table = facts(course(chart=chart))
    (bolus,), (drug,) = rows(table, "fluid-bolus"), rows(table, "acetaminophen")
    assert (bolus["hour"], bolus["value"], bolus["unit"], bolus["text"]) == (5, 500, "mL", "hypotension")
    assert (drug["hour"], drug["value"], drug["unit"], drug["text"]) == (5, 500, "mg", None)


# --- laboratory and scores ------------------------------------------------------------------------------


def test_blood_is_drawn_once_a_day_and_now_and_then_missed():
    table = facts(course(24 * 20, patients=50))
    hours = Counter(row["hour"] for row in rows(table, "creatinine"))
    assert set(hours) <= {24.0 * day for day in range(21)}
    assert hours[0] == 50
    missed = 1 - sum(hours[24.0 * day] for day in range(1, 21)) / 1000
    assert 0.02 < missed < 0.09


def test_a_value_below_the_floor_of_its_assay_is_charted_as_such():
    resting = rows(facts(course(states={"il_1_beta": 0.1})), "il-1-beta")
    assert [(row["text"], row["value"]) for row in resting] == [("<", 0.28)] * 3
    risen = rows(facts(course(states={"il_1_beta": 5.0})), "il-1-beta")
    assert all(row["text"] is None and 3 < row["value"] < 8 for row in risen)


def test_copies_of_cells_are_counted_only_where_cells_were_given():
    assert rows(facts(course()), "car-t-copies")
    assert not rows(facts(course(model=ENGAGER), ENGAGER), "car-t-copies")


def test_white_cells_are_never_fewer_than_their_parts():
    """Errors of measuring must not make a chart that no counter could print."""
    model, made = solved("tisagenlecleucel")
    by_draw: dict[tuple[str, datetime], dict[str, float]] = {}
    for row in facts(made, model, seed=3).to_pylist():
        if row["measure"] in ("wbc", "anc", "lymphocytes"):
            by_draw.setdefault((row["patient_id"], row["time"]), {})[row["measure"]] = row["value"]
    assert all(draw["wbc"] > draw["anc"] + draw["lymphocytes"] for draw in by_draw.values())


@pytest.mark.parametrize(("age", "score"), [(11.9, "capd-score"), (12.0, "ice-score")])
def test_the_neurological_score_is_the_one_for_the_age(age, score):
    table = facts(course(24, age=age))
    scores = [row["measure"] for row in table.to_pylist() if row["measure"] in ("ice-score", "capd-score")]
    assert scores == [score] * 3


def test_nobody_on_a_ventilator_answers_questions():
    table = facts(course(24, states={"fever": 4.0}, chart={"device": 4}))
    assert not {"ice-score", "consciousness", "chills", "tiredness"} & set(table["measure"].to_pylist())


# --- the time it was known ------------------------------------------------------------------------------


def test_charting_is_late_by_the_ward_s_usual_delay():
    """Half of what was done is in the record within the typical delay, nothing before it was done."""
    table = facts(course(24 * 20, patients=20))
    late = [(row["recorded"] - row["time"]) / timedelta(minutes=1) for row in rows(table, "temperature")]
    assert min(late) >= 0
    assert 9 <= np.median(late) <= 15


def test_a_laboratory_result_is_known_later_than_a_sign():
    table = facts(course(24 * 20, patients=20))
    late = [(row["recorded"] - row["time"]) / timedelta(minutes=1) for row in rows(table, "creatinine")]
    assert min(late) >= 0
    assert 48 <= np.median(late) <= 75


def test_a_course_that_nobody_watched_cannot_be_charted():
    made = course(3)
    unseen = Courses(made.states, made.chart[:, :1], made.parameters, made.weight, made.age, made.doses)
    with pytest.raises(TocsinError, match=r"these courses have no chart[\s\S]*under a ward"):
        facts(unseen)


def test_a_start_without_a_zone_is_refused():
    with pytest.raises(TocsinError, match=r"2026-01-01T00:00:00 has no time zone"):
        facts_of(course(3), WARD, model=CAR, seed=1, start=datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("value", "step", "says"),
    [(38.349, 0.1, 38.3), (64.5001, 1, 65.0), (1234.0, 0, 1230.0), (0.012345, 0, 0.0123), (0.0, 0, 0.0),
     (48000.0, 0, 48000.0), (99.96, 0, 100.0)],
)  # fmt: skip
def test_values_are_written_as_a_laboratory_writes_them(value, step, says):
    assert rounded(np.array([value]), step)[0] == says


# --- and the grade that comes of it ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tisagenlecleucel", "teclistamab"])
def test_the_grade_follows_the_support_the_ward_gave(name):
    """By the real engine: two vasopressors or a ventilator are grade 4, and nobody is graded beyond the ward.

    The ward's own view and the grade may differ by the hour of overlap that a second vasopressor needs and
    by the rounding of a temperature; not by more.
    """
    model, made = solved(name, patients=60, days=21)
    table = canonical(facts(made, model, seed=3), lib=LIB).table
    top: dict[str, int] = {}
    for row in tocsin.grade(table, "astct-2019").to_pylist():
        top[row["patient_id"]] = max(top.get(row["patient_id"], 0), row["grade"])
    graded = np.array([top[f"sim-3-{number}"] for number in range(60)])
    view = made.chart[:, :, Chart.severity].max(axis=1).astype(int)
    assert np.mean(graded == view) >= 0.9
    assert np.all(np.abs(graded - view) <= 1)
    assert len(set(graded)) >= 3
