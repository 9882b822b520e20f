"""How far answers agree, how often a ward would be alerted: held to other libraries and to slow readings."""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from cohorts import SCALE, cohort, person
from tocsin.cli.cohort_alerts import NOBODY, RULES, alerted
from tocsin.cohort.agreement import (
    alert_rates,
    between_scales,
    counted,
    kappa_interval,
    quadratic_kappa,
    with_charted,
)
from tocsin.cohort.persons import Persons
from tocsin.definitions.alert import alert_rules
from tocsin.definitions.load import library
from tocsin.grading.batch import grade
from tocsin.testing import patient
from tocsin.watch.alerts import judge
from tocsin.watch.clock import MINUTE
from tocsin.watch.standing import Span, Standing, proven_in

LIB = library()
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=60)


@given(PAIRS)
def test_kappa_is_scikit_learns(pairs):
    """Cohen's kappa with quadratic weights, grade by grade."""
    one, other = (np.array(each) for each in zip(*pairs, strict=True))
    ours = quadratic_kappa(counted(one, other))
    if len({*one, *other}) == 1:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(cohen_kappa_score(one, other, labels=range(6), weights="quadratic"))


def test_an_interval_holds_its_kappa_and_is_the_same_each_time():
    table = counted(np.array([0, 1, 1, 2, 2, 3, 3, 4] * 5), np.array([0, 1, 2, 2, 2, 3, 2, 4] * 5))
    low, high = kappa_interval(table)
    assert low < quadratic_kappa(table) < high
    assert kappa_interval(table) == (low, high)


def test_notes_of_one_patient_count_as_one_patient():
    """Ten patients of four equal notes each are no better known than ten of one note."""
    one = np.array([counted(np.array([k % 4]), np.array([(k + (k % 3 == 0)) % 5])) for k in range(10)])
    single, repeated = kappa_interval(one), kappa_interval(one * 4)
    assert single == pytest.approx(repeated)
    naive = kappa_interval((one * 4).sum(0))
    assert naive[1] - naive[0] < repeated[1] - repeated[0]


def two_scales():
    """Three patients under two scales and one under one alone."""
    rows = [("a", {1: 5.0}, {1: 5.0, 2: 6.0}), ("b", {}, {}), ("c", {1: 5.0, 3: 6.0}, {1: 5.0, 3: 6.0})]
    return cohort(
        *(person(name, reached=one) for name, one, _ in rows), person("d", reached={1: 3.0}),
        *(person(name, scale="lee-2014", reached=other) for name, _, other in rows),
        person("d", scale="lee-2014", graded=False), scales=(SCALE, "lee-2014"),
    )  # fmt: skip


def test_scales_are_compared_on_patients_that_both_graded():
    confusion, kappas = between_scales(Persons(two_scales()))
    assert {(r["row"], r["column"]): r["patients"] for r in confusion.to_pylist()} == {
        (0, 0): 1,
        (1, 2): 1,
        (3, 3): 1,
    }
    (row,) = kappas.to_pylist()
    assert (row["n"], row["within_one"]) == (3, 1.0)
    assert row["exactly"] == pytest.approx(2 / 3)
    assert row["kappa"] == pytest.approx(
        cohen_kappa_score([1, 0, 3], [2, 0, 3], labels=range(6), weights="quadratic")
    )


def test_crs_is_not_compared_with_icans():
    """They grade two illnesses."""
    both = cohort(
        person("p", reached={1: 5.0}),
        person("p", scale="icans-astct-2019"),
        scales=(SCALE, "icans-astct-2019"),
    )
    assert between_scales(Persons(both))[0].num_rows == 0


@pytest.mark.parametrize(("charted", "fine"), [(0, False), (1, True), (3, True), (4, False)])
def test_a_charted_grade_from_proven_to_not_ruled_out_is_not_contradicted(charted, fine):
    """Ours is 1, up to 3."""
    _, kappas, apart = with_charted(Persons(cohort(person("p", charted=[(10.0, None, charted, 1, 3)]))))
    assert kappas["not_contradicted"].to_pylist() == [float(fine)]
    assert apart.num_rows == int(not fine)


def test_a_chart_that_names_its_scale_is_compared_under_that_scale_alone():
    named = person("p", charted=[(10.0, "lee-2014", 4, 1, 1), (11.0, SCALE, 1, 1, 1)])
    confusion, _, apart = with_charted(Persons(cohort(named)))
    assert [(r["row"], r["column"], r["patients"]) for r in confusion.to_pylist()] == [(1, 1, 1)]
    assert apart.num_rows == 0


def test_alerts_are_counted_by_patient_day():
    """Three alerts in two patients watched 14 days each: 3 in 28."""
    people = (
        person("a", alerts=[(5.0, "new-grade", 1), (9.0, "rise", 3)]),
        person("b", alerts=[(5.0, "new-grade", 1)]),
    )
    rows = {row["kind"]: row for row in alert_rates(Persons(cohort(*people))).to_pylist()}
    assert (rows["any"]["alerts"], rows["any"]["patients"], rows["any"]["patient_days"]) == (3, 2, 28.0)
    assert rows["any"]["rate"] == pytest.approx(3 / 28)
    assert (rows["rise"]["alerts"], rows["new-grade"]["alerts"]) == (1, 2)


def test_no_alert_is_a_rate_of_none_with_an_interval():
    """The rule of three: none in 14 days may be up to one in four days."""
    (row,) = alert_rates(Persons(cohort(person("a")))).to_pylist()
    assert (row["rate"], row["low"]) == (0.0, 0.0)
    assert row["high"] == pytest.approx(3.689 / 14, abs=1e-3)


# --- a ward replayed ------------------------------------------------------------------------------------


def every_minute(intervals):
    """The alerts of a service that asks the rules every minute, from the rows of one patient."""
    from dataclasses import replace

    rules = replace(alert_rules(RULES, LIB), escalate_at_least=NOBODY)
    rows = sorted(intervals.to_pylist(), key=lambda row: row["start"])
    micros = lambda at: round(at.timestamp() * 1e6)  # noqa: E731
    first, last = micros(rows[0]["start"]), micros(rows[-1]["start"]) + 60 * MINUTE
    died = min((micros(row["start"]) for row in rows if "death" in row["because"]), default=None)
    known, found = {}, []
    for now in range(first, last + 1, MINUTE):
        if died is not None and now >= died:
            break
        for scale, own in groupby(sorted(rows, key=lambda row: row["scale"]), key=lambda row: row["scale"]):
            seen = [row for row in own if micros(row["start"]) <= now]
            if not seen:
                continue
            spans = []
            for row in seen:
                if not spans or (spans[-1].grade, spans[-1].up_to) != (row["grade"], row["up_to"]):
                    spans.append(Span(micros(row["start"]), row["grade"], row["up_to"]))
            here, mine = seen[-1], known.setdefault(scale, [])
            each = Standing(
                scale, micros(here["start"]), now, here["grade"], here["up_to"], False, (),
                tuple(here["waiting_for"]), (), tuple(here["flags"]), "", *proven_in(spans),
            )  # fmt: skip
            said = judge("p", {scale: each}, {scale: spans}, None, mine, now, rules)
            for alert in mine:
                if alert["id"] in said.gone:
                    alert["closed"] = now
            for new in said.new:
                mine.append({
                    "id": len(mine), "key": new.key, "scale": scale, "kind": new.kind, "role": new.role,
                    "grade": new.grade, "what": new.what, "raised": now, "closed": None, "acknowledged": None,
                    "dismissed": None,
                })  # fmt: skip
                found.append((scale, new.kind, new.grade, now))
    return sorted(found)


READINGS = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([
        "temperature 39.0 Cel", "temperature 36.8 Cel", "systolic-bp 80 mm[Hg]", "systolic-bp 120 mm[Hg]",
        "spo2 96 %", "oxygen-device nasal-cannula", "oxygen-device ventilator", "oxygen-device room-air",
        "norepinephrine 0.1 ug/kg/min", "norepinephrine 0 ug/kg/min", "ice-score 5 {score}",
    ])), min_size=1, max_size=10,
)  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(READINGS)
def test_a_replayed_ward_alerts_as_one_that_looks_every_minute(readings):
    """Asking at changes alone misses nothing and adds nothing; a gap is told within the minute."""
    ill = patient("0 h teclistamab", *(f"{hour} h {what}" for hour, what in readings))
    rows = pa.concat_tables(grade(ill, [SCALE, "icans-astct-2019"], lib=LIB))
    ours = alerted(rows, LIB)
    found = sorted(
        (row["scale"], row["kind"], row["grade"], round(row["time"].timestamp() * 1e6))
        for row in ours.to_pylist()
    )
    assert found == every_minute(rows)


def test_one_illness_is_alerted_once_and_a_rise_again():
    """A fever, then a pressor: two alerts, not one an hour."""
    ill = patient(
        "0 h teclistamab",
        "20 h temperature 39.0 Cel",
        "20 h systolic-bp 120 mm[Hg]",
        "21 h temperature 39.1 Cel",
        "22 h temperature 39.0 Cel",
        "23 h systolic-bp 75 mm[Hg]",
        "23 h norepinephrine 0.1 ug/kg/min",
    )
    found = alerted(pa.concat_tables(grade(ill, [SCALE], lib=LIB)), LIB)
    raised = found.filter(pc.is_in(found["kind"], value_set=pa.array(["new-grade", "rise"])))
    assert raised["grade"].to_pylist() == [1, 3]


def test_nobody_ill_is_nobody_alerted():
    well = patient(
        "0 h teclistamab",
        *(f"{h} h temperature 36.8 Cel" for h in range(0, 9, 4)),
        *(f"{h} h systolic-bp 120 mm[Hg]" for h in range(0, 9, 4)),
        *(f"{h} h spo2 97 %" for h in range(0, 9, 4)),
    )
    found = alerted(pa.concat_tables(grade(well, [SCALE], lib=LIB)), LIB)
    assert "new-grade" not in found["kind"].to_pylist()
