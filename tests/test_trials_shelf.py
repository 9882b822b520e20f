"""The shelf `trials`: published numbers read whole, hold-outs as they were frozen, nothing half-known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tocsin.citations import references
from tocsin.definitions.load import library
from tocsin.definitions.model import model_of
from tocsin.definitions.schema import DefinitionError
from tocsin.definitions.trial import QUANTITIES, read_trial, trial_of
from tocsin.simulation.outcomes import asked
from tocsin.simulation.schedule import schedule

ROOT = Path(__file__).resolve().parents[1]
LIB = library()
TRIALS = sorted(LIB.files("trials"))
TARGETS = [(name, target) for name in TRIALS for target in trial_of(name, LIB).targets]
#: What was kept away from every calibration, as frozen on 2026-11-26: nothing may join the fit from here.
HELD_OUT = {
    "cartitude-1": "onset from-day-4 any grade-3-up duration",
    "endotoxin-2ng": "fever-rise fever-hour pressure-fall",
    "li-2026-three-step": "grade-2-up",
    "li-2026-three-step-prophylaxis": "grade-2-up",
    "li-2026-two-step": "grade-2-up",
    "li-2026-two-step-prophylaxis": "grade-2-up",
    "majestec-1": "recurrence-tocilizumab recurrence-none more-than-one",
    "mosunetuzumab-chop": "any grade-1 grade-2",
    "teachey-2016": "crp ferritin",
    "tgn1412": "onset-hours critical grade-3-up",
    "transcend-cll": "any grade-1 grade-2 grade-3 grade-4 onset duration tocilizumab",
    "zuma-1-cohort-6": "any grade-3-up free-72h",
}


@pytest.fixture
def changed(tmp_path):
    """A trial's file with one text replaced."""

    def write(name, old, new):
        text = LIB.files("trials")[name].read_text("utf-8")
        assert old in text
        path = tmp_path / f"{name}.toml"
        path.write_text(text.replace(old, new, 1), "utf-8")
        return path

    return write


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_names_a_model_a_scale_and_sources_that_exist(name):
    trial = trial_of(name, LIB)
    assert LIB.scale(trial.scale).outcome == "crs"
    assert model_of(trial.model, LIB).id == trial.model
    cited = {*trial.source, *(target.source for target in trial.targets if target.source)}
    assert cited <= set(references())


@pytest.mark.parametrize("name", TRIALS)
def test_what_a_trial_gave_can_be_given(name):
    """Its own doses, else the model's, fit into its days."""
    trial = trial_of(name, LIB)
    doses = trial.doses or model_of(trial.model, LIB).doses
    assert doses
    within = [dose for dose in doses if dose.day < trial.days]
    assert schedule(within, np.array([70.0]), trial.days).shape[0] == 1


def test_the_hold_outs_are_those_that_were_frozen():
    """A hold-out that joins the fit after looking is no hold-out."""
    held = {
        name: {target.id for target in trial_of(name, LIB).targets if target.role == "hold-out"}
        for name in TRIALS
    }
    assert {name: ids for name, ids in held.items() if ids} == {
        name: set(ids.split()) for name, ids in HELD_OUT.items()
    }


def test_the_page_of_hold_outs_names_them_all():
    page = (ROOT / "docs" / "holdouts.md").read_text("utf-8")
    named = {word for word in re.findall(r"`([\w-]+)`", page) if word in TRIALS}
    assert named == set(HELD_OUT)


def test_nothing_from_memory_is_fitted():
    assert [name for name, target in TARGETS if target.status == "memory" and target.role == "fit"] == []


def test_the_model_of_another_disease_judges_nothing():
    """There is no model of tisa-cel in lymphoma: what the leukaemia model says of it is only shown."""
    for name in ("juliet", "elara", "hay-2017"):
        assert {target.role for target in trial_of(name, LIB).targets} == {"guide"}


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_quantity_is_asked_by_a_trial(quantity):
    """A word of the vocabulary that nobody uses is not tested by anybody."""
    assert any(target.quantity == quantity for _, target in TARGETS)


def test_an_unknown_trial_is_refused_with_its_near_miss():
    with pytest.raises(DefinitionError, match="eliana"):
        trial_of("elianna", LIB)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("n       = 68", "n       = 68.5", "whole number of patients"),
        ("n       = 68", "n       = 0", "whole number of patients"),
        ("value    = 79.0", "value    = 179.0", "share of 0 to 100 %"),
        ("value    = 79.0", 'value    = "79"', "not a number"),
        ('role     = "fit"', 'role     = "fitted"', "one of: fit, hold-out, guide"),
        ('role     = "fit"', 'role     = "fit"\nstatus   = "memory"', "from memory"),
        ('quantity = "share-at-least"', 'quantity = "share-at-lest"', "share-at-least"),
        ("grade    = 1\n", "", "`grade` is missing"),
        ("grade    = 1\n", "grade    = 1\nlow = 90\nhigh = 60\n", "above `high`"),
        ('id       = "grade-3-up"', 'id       = "any"', "stands twice"),
        ("treatment_tocilizumab_from", "treatment_tocilizumab_form", "treatment_tocilizumab_from"),
        ('source  = "kymriah-label-2018"', "source  = []", "`source` is missing"),
        ('id      = "eliana"', 'id      = "elyana"', "the id is the file's stem"),
        ("days    = 28", "days    = -1", "`days`"),
        ("[policy]", "[policy", "not TOML"),
    ],
)
def test_a_slip_in_a_trial_is_named(changed, old, new, why):
    with pytest.raises(DefinitionError, match=re.escape(why)):
        read_trial(changed("eliana", old, new))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('scale   = "penn-2018"', 'scale   = "pen-2018"', "penn-2018"),
        ('model   = "tisagenlecleucel"', 'model   = "tisagenlecleucell"', "tisagenlecleucel"),
    ],
)
def test_a_site_s_own_trial_is_held_to_what_the_library_knows(changed, tmp_path, old, new, why):
    """A site's folder adds trials like the built-in ones."""
    path = changed("eliana", old, new)
    (tmp_path / "trials").mkdir()
    path.rename(tmp_path / "trials" / path.name)
    with pytest.raises(DefinitionError, match=why):
        trial_of("eliana", library((tmp_path,)))


def test_a_site_s_own_trial_wins(changed, tmp_path):
    path = changed("eliana", "n       = 68", "n       = 12")
    (tmp_path / "trials").mkdir()
    path.rename(tmp_path / "trials" / path.name)
    assert trial_of("eliana", library((tmp_path,))).n == 12


def test_every_target_can_be_read_off_a_simulation(columns):
    for _, target in TARGETS:
        read = asked(target, columns)
        assert read.eligible.shape == read.value.shape == columns["grade"].shape


@pytest.fixture(scope="module")
def columns():
    """What became of a few simulated patients."""
    from tocsin.simulation.plan import plan_of
    from tocsin.simulation.trials import simulated

    return simulated(plan_of("tisagenlecleucel", LIB), 6, 1, LIB, "penn-2018").columns
