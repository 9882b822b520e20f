"""What is seen of a virtual patient follows what goes on inside, in the right direction and in time."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.definitions.readout import SIGNALS
from tocsin.simulation.equations import Parameter
from tocsin.simulation.patients import typical
from tocsin.simulation.readouts import Body, readouts
from virtual import CAR, ENGAGER, LIB, WARD, course


def seen(courses, seed=1, **more):
    return readouts(courses, WARD, seed=seed, **more)


def test_every_signal_of_the_vocabulary_can_be_followed():
    body = Body(course(states={"fever": 1.0, "crp": 10.0}), WARD, seed=1)
    for name in SIGNALS:
        assert np.all(np.isfinite(body.signal(name))), name


@pytest.mark.parametrize("model", [CAR, ENGAGER], ids=lambda model: model.kind)
@pytest.mark.parametrize("age", [0.5, 8.0, 40.0])
def test_a_patient_at_rest_has_possible_values(model, age):
    """Whatever a readout says must be a value a laboratory could report."""
    for name, values in seen(course(24 * 28, model=model, age=age)).items():
        known = LIB.measure(name)
        if name == "car-t-copies" and model.kind != "car-t":
            assert np.all(np.isnan(values))
            continue
        assert np.all(values >= (known.plausible_low or 0.0)), name
        assert known.plausible_high is None or np.all(values <= known.plausible_high), name


@pytest.mark.parametrize(
    ("state", "level", "higher", "lower"),
    [
        ("fever", 2.0, ["heart-rate", "respiratory-rate", "temperature"], []),
        ("leak", 0.5, ["heart-rate", "lactate", "creatinine", "d-dimer-feu"],
         ["mean-bp", "systolic-bp", "diastolic-bp", "albumin", "platelets", "hemoglobin"]),
        ("lung", 0.3, ["respiratory-rate"], ["spo2"]),
        ("slow_macrophage", 0.2, ["alt", "ast", "bilirubin", "ldh", "inr", "triglycerides"],
         ["anc", "platelets", "hemoglobin", "fibrinogen"]),
        ("macrophage", 0.4, ["alt", "ast"], ["lymphocytes", "wbc"]),
        ("crp", 150.0, ["crp", "fibrinogen"], ["albumin"]),
        ("il_6", 500.0, ["il-6"], []),
        ("effector", 1.0, ["car-t-copies", "lymphocytes"], []),
    ],
)  # fmt: skip
def test_illness_moves_what_is_seen(state, level, higher, lower):
    """After five days of it each readout stands where a clinician expects it; nothing else moves that way."""
    rest, ill = seen(course(120)), seen(course(120, states={state: level}))
    for name in higher:
        assert ill[name][0, -1] > 1.05 * rest[name][0, -1], name
    for name in lower:
        assert ill[name][0, -1] < 0.97 * rest[name][0, -1], name


def test_laboratory_values_follow_behind():
    """Creatinine is not up in the hour in which the pressure falls."""
    leak = np.where(np.arange(121) >= 24, 0.6, 0.0)
    creatinine = seen(course(120, states={"leak": leak}))["creatinine"][0]
    assert creatinine[24] < 1.1 * creatinine[0]
    assert creatinine[120] > 1.8 * creatinine[0]
    assert np.all(np.diff(creatinine) >= 0)


def test_systolic_and_mean_pressure_pass_their_limits_together():
    """A scale that reads the one and a ward that reads the other see the same low pressure."""
    leak = np.linspace(0, 1, 200)
    found = seen(course(199, states={"leak": leak}))
    low_mean, low_systolic = found["mean-bp"][0] < 65, found["systolic-bp"][0] < 90
    assert np.sum(low_mean != low_systolic) <= 1


def test_blood_falls_after_chemotherapy_before_cells_and_not_before_an_engager():
    days = 24 * 28
    cells, engager = seen(course(days)), seen(course(days, model=ENGAGER))
    for name in ("anc", "lymphocytes", "platelets", "wbc"):
        assert cells[name][0].min() < 0.5 * engager[name][0, 0], name
        assert np.ptp(engager[name][0]) == pytest.approx(0.0), name
    lowest = int(cells["anc"][0].argmin()) / 24
    assert 7 <= lowest <= 11
    assert cells["anc"][0, -1] > 5 * cells["anc"][0].min()


def test_an_engager_finds_the_lymphocytes_at_their_usual_number():
    """The patient's own T cells are part of the usual count; only what they grow by adds to it."""
    usual = next(one.usual for one in WARD.readouts.readouts if one.measure == "lymphocytes")
    at_rest = float(typical(ENGAGER)[Parameter.resting_start])
    start = seen(course(patients=200, model=ENGAGER, states={"resting": at_rest}))["lymphocytes"]
    assert np.median(start[:, 0]) == pytest.approx(usual, rel=0.1)
    grown = seen(course(patients=200, model=ENGAGER, states={"resting": at_rest, "effector": 0.5}))[
        "lymphocytes"
    ]
    assert np.all(grown > 1.5 * start)
    fewer = seen(course(patients=200, model=ENGAGER, states={"resting": 0.3 * at_rest}))["lymphocytes"]
    np.testing.assert_array_equal(fewer, start)


def test_white_cells_are_more_than_neutrophils_and_lymphocytes():
    found = seen(course(24 * 21, states={"effector": 2.0}))
    assert np.all(found["wbc"] > found["anc"] + found["lymphocytes"])


def test_the_brain_is_hit_late_and_after_cells_most():
    """Days of leak and interferon lower the ICE score; a patient who is well has 10."""
    ill = {"leak": 0.6, "ifn_gamma": 4000.0}
    assert seen(course(96))["ice-score"][0, -1] == pytest.approx(10.0)
    begun = {name: np.where(np.arange(97) >= 1, level, 0.0) for name, level in ill.items()}
    cells = seen(course(96, states=begun))["ice-score"][0]
    assert cells[2] > 9.9
    assert cells[-1] < 6
    assert seen(course(96, model=ENGAGER, states=begun))["ice-score"][0, -1] > cells[-1] + 2


def test_children_have_faster_hearts_and_less_creatinine():
    child, adult = seen(course(age=3.0)), seen(course(age=40.0))
    assert child["heart-rate"][0, 0] > 1.2 * adult["heart-rate"][0, 0]
    assert child["creatinine"][0, 0] < 0.6 * adult["creatinine"][0, 0]


def test_patients_differ_from_each_other_and_never_from_themselves():
    """Patient 7 is the same person whoever lies beside him."""
    many = seen(course(patients=12))
    alone = seen(course(), first=7)
    for name, values in many.items():
        np.testing.assert_array_equal(values[7], alone[name][0], name)
    assert len(np.unique(many["platelets"][:, 0])) == 12
    assert not np.array_equal(seen(course(), seed=2)["platelets"], seen(course())["platelets"])


def test_a_complaint_needs_its_illness():
    """Asked twice a day for three weeks, a patient without fever must not be graded for tiredness."""
    body = Body(course(states={"fever": 0.5}), WARD, seed=1)
    for complaint in WARD.readouts.complaints:
        assert np.all(body.told(complaint) < 1e-3), complaint.symptom
    ill = Body(course(states={"fever": 3.0}), WARD, seed=1)
    chills = next(one for one in WARD.readouts.complaints if one.symptom == "chills")
    assert 0.3 < ill.told(chills)[0, 0] <= chills.most
