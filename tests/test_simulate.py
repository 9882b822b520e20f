"""`tocsin simulate`: pipes, seeds, schedules, guidelines, arms; and loud errors for what cannot be."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pyarrow.csv as csv
import pytest
from click.testing import CliRunner

from tocsin.cli.front import cli
from tocsin.definitions.load import library
from tocsin.definitions.model import PlannedDose
from tocsin.definitions.schema import TocsinError
from tocsin.definitions.trial import trial_of
from tocsin.definitions.ward import ward_of
from tocsin.simulation.plan import (
    START,
    following,
    plan_of,
    plan_of_trial,
    solved,
    with_prophylaxis,
    with_schedule,
)
from tocsin.simulation.schedule import schedule
from tocsin.simulation.trials import levels, run_trial, simulated

LIB = library()
ROOT = Path(__file__).parent.parent
COMMAND = "from tocsin.cli.front import main; main()"


def run(*words: str, given: str | None = None) -> tuple[int, str, str]:
    """A command in a process of its own, as a user runs it: exit code, standard output, standard error."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        input=given,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def simulated_csv() -> str:
    code, out, _ = run(
        "simulate", "--therapy", "teclistamab", "--patients", "6", "--seed", "7", "--days", "10"
    )
    assert code == 0
    return out


def test_simulated_facts_go_through_grade_and_episodes_as_pipes(simulated_csv):
    code, out, err = run("grade", "-", given=simulated_csv)
    grades = [orjson.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len({row["patient_id"] for row in grades}) == 6
    assert max(row["grade"] for row in grades) >= 1
    assert "reject" not in err
    code, out, _ = run("episodes", "-", given=simulated_csv)
    assert code == 0
    assert {orjson.loads(line)["trigger"] for line in out.splitlines()} == {"teclistamab"}


def test_a_seed_gives_the_same_bytes_and_another_one_others(simulated_csv):
    words = ("simulate", "--therapy", "teclistamab", "--patients", "6", "--days", "10", "--seed")
    assert run(*words, "7")[1] == simulated_csv
    assert run(*words, "8")[1] != simulated_csv


def test_a_patient_is_the_same_whatever_their_number():
    plan = plan_of("axicabtagene-ciloleucel", LIB, days=6)
    few = next(iter(solved(plan, 2, 5, LIB)))[1]
    many = next(iter(solved(plan, 9, 5, LIB)))[1]
    ids = {"sim-5-0", "sim-5-1"}
    kept = [row for row in many.to_pylist() if row["patient_id"] in ids]
    assert few.to_pylist() == kept


@pytest.mark.parametrize("therapy", sorted(set(LIB.files("models")) - {"cytokine-release"}))
def test_every_model_makes_facts_that_the_hall_takes(therapy):
    """`solved` refuses a simulated row that the facts table would reject."""
    for _, facts, _ in solved(plan_of(therapy, LIB, days=9), 12, 2, LIB):
        assert set(facts["patient_id"].to_pylist()) == {f"sim-2-{k}" for k in range(12)}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--therapy", "teclistimab"), "did you mean `teclistamab`"),
        (("--therapy", "glofitamab"), "nothing published was enough"),
        (("--therapy", "teclistamab", "--days", "3650"), "at most 366"),
        (("--therapy", "teclistamab", "--days", "0"), "0 days cannot be simulated"),
        (("--therapy", "teclistamab", "--prophylaxis", "aspirin@0"), "no drug `aspirin`"),
        (("--therapy", "teclistamab", "--prophylaxis", "tocilizumab@40"), "the day must be from 0"),
        (("--therapy", "teclistamab", "--prophylaxis", "tocilizumab"), "is not DRUG@DAY"),
        (("--therapy", "teclistamab", "--guideline", "asco-2012"), "did you mean `asco-2021`"),
        (("--therapy", "teclistamab", "--guideline", "level-of-care"), "gives no drug by grade"),
        (("--trial", "elianna"), "did you mean `eliana`"),
    ],
)
def test_what_cannot_be_simulated_is_said_with_its_fix(words, told):
    found = CliRunner().invoke(cli, ["simulate", *words, "--patients", "2"])
    assert found.exit_code == 1
    assert told in found.output
    assert "Traceback" not in found.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "say one of --therapy ID and --trial ID"),
        (("--therapy", "teclistamab", "--trial", "eliana"), "say one of"),
        (("--therapy", "teclistamab", "--patients", "0"), "1 or more"),
        (("--therapy", "teclistamab", "--scale", "astct"), "astct-2019"),
        (("--therapy", "teclistamab", "--out", "facts.xlsx"), "cannot write `.xlsx`"),
        (("--therapy", "teclistamab", "--arm", "early: toci=1"), "is not KEY=VALUE"),
        (("--therapy", "teclistamab", "--arm", "early: tocilizumab-at=7"), "is one of onset"),
        (("--trial", "eliana", "--guideline", "asco-2021"), "a trial brings its own"),
    ],
)
def test_bad_usage_exits_2(words, told):
    found = CliRunner().invoke(cli, ["simulate", *words])
    assert found.exit_code == 2
    assert told in found.output


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("therapy,0,-1,mg", "negative amount"),
        ("therapy,-2,1,mg", "before the start"),
        ("therapy,30,1,mg", "after the 28 simulated days"),
        ("therapy,one,1,mg", "`one`, not a number"),
        ("therapy,0,1,ug", "the unit of therapy is `ug`"),
        ("therapy,0,1,mg/d", "`days` belongs to a rate"),
        ("therapi,0,1,mg", "did you mean `therapy`"),
        ("cells,0,1,1", "`cells` cannot be given"),
        ("pathogen,0,1,1", "`pathogen` cannot be given"),
        ("therapy,0,1,mg,2", "`days` belongs to a rate"),
        ("therapy,0,1,1", "the unit of therapy is `1`"),
        ("therapy,0,nan,mg", "of 0 or more"),
    ],
)
def test_an_impossible_schedule_names_file_row_and_fix(tmp_path, row, told):
    path = tmp_path / "doses.csv"
    path.write_text(f"what,day,amount,unit,days\ntherapy,0,0.06,mg/kg,\n{row},\n")
    with pytest.raises(TocsinError) as error:
        with_schedule(plan_of("teclistamab", LIB), path)
    assert told in str(error.value)
    assert f"{path}, row 2" in str(error.value)
    assert "fix:" in str(error.value)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("dexamethasone,0,10,mg", "is given once"),
        ("cells,0,1,1\ncells,0,1,1", "is given once"),
        ("cells,2,1,1", "on day 0"),
        ("cells,0,0,1", "an amount above 0"),
        ("cells,0,5,mg", "the unit of cells is `mg`"),
    ],
)
def test_engineered_cells_are_given_once_on_day_0(tmp_path, rows, told):
    path = tmp_path / "doses.csv"
    path.write_text(f"what,day,amount,unit\n{rows}\n")
    with pytest.raises(TocsinError, match=re.escape(told)):
        with_schedule(plan_of("tisagenlecleucel", LIB), path)


def test_a_schedule_in_another_encoding_or_with_another_column_is_refused(tmp_path):
    path = tmp_path / "doses.csv"
    path.write_bytes("what,day,amount,unit\n# für\ntherapy,0,1,mg\n".encode("latin-1"))
    with pytest.raises(TocsinError, match="UTF-8"):
        with_schedule(plan_of("teclistamab", LIB), path)
    path.write_text("what, day, amount, unit, dose\ntherapy,0,1,mg,2\n")
    with pytest.raises(TocsinError, match="unknown column dose"):
        with_schedule(plan_of("teclistamab", LIB), path)


def drug_hours(facts, drug):
    """Hours of each patient's doses of a drug."""
    found: dict[str, list[float]] = {}
    for row in facts.to_pylist():
        if row["measure"] == drug:
            found.setdefault(row["patient_id"], []).append((row["time"] - START).total_seconds() / 3600)
    return found


@pytest.mark.parametrize("guideline", ["", "asco-2021"])
def test_no_drug_is_given_before_its_interval_has_passed(guideline):
    """Also where a course begins anew, and after a dose given by schedule."""
    plan = with_prophylaxis(plan_of("tisagenlecleucel", LIB, days=16), ["tocilizumab@2"])
    if guideline:
        plan = replace(plan, ward=following(plan.ward, guideline, LIB))
    facts = next(iter(solved(plan, 150, 1, LIB)))[1]
    for drug, key in (("tocilizumab", "tocilizumab_repeat"), ("dexamethasone", "dexamethasone_every"),
                      ("methylprednisolone", "methylprednisolone_every")):  # fmt: skip
        gaps = [late - early for hours in drug_hours(facts, drug).values() for early, late in pairwise(hours)]
        assert not gaps or min(gaps) >= plan.ward.numbers[f"treatment_{key}_hours"]
    assert len(drug_hours(facts, "tocilizumab")) == 150
    doses = [len(hours) for hours in drug_hours(facts, "tocilizumab").values()]
    assert 1 < max(doses) <= plan.ward.numbers["treatment_tocilizumab_doses"]


def test_a_dose_by_weight_is_more_for_the_light_and_never_above_its_most():
    doses = [PlannedDose("tocilizumab", 0, 8.0, "mg/kg"), PlannedDose("dexamethasone", 0, 10.0, "mg")]
    weight = np.array([29.9, 30.0, 75.0, 100.0, 100.1, 145.0])
    rows = schedule(doses, weight, 5, ward_of("usual", LIB))
    assert (rows[:, 0, 3] / 24).tolist() == pytest.approx([358.8, 240.0, 600.0, 800.0, 800.0, 800.0])
    assert (rows[:, 1, 3] / 24).tolist() == [10.0] * 6


def test_a_rate_gives_what_it_says_also_for_part_of_an_hour():
    (row,) = schedule([PlannedDose("engager", 0, 24.0, "mg/d", 0.01)], np.array([70.0]), 5)[0]
    assert (row[1] - row[0]) / 24 * row[3] == pytest.approx(0.24)


def test_a_schedule_replaces_the_usual_doses(tmp_path):
    path = tmp_path / "flat.csv"
    path.write_text("what,day,amount,unit\ntherapy,0,1.5,mg/kg\ndexamethasone,0,16,mg\n")
    plan = with_schedule(plan_of("teclistamab", LIB, days=5), path)
    facts = next(iter(solved(plan, 3, 1, LIB)))[1].to_pylist()
    assert sum(row["measure"] == "teclistamab" for row in facts) == 3
    assert [row["value"] for row in facts if row["measure"] == "dexamethasone"][:3] == [16.0, 16.0, 16.0]


def test_more_drug_at_once_releases_more_and_tocilizumab_beforehand_spares_fever(tmp_path):
    path = tmp_path / "flat.csv"
    path.write_text("what,day,amount,unit\ntherapy,0,1.5,mg/kg\n")
    plan = plan_of("teclistamab", LIB, days=12)
    stepped = simulated(plan, 150, 3, LIB, "astct-2019")
    flat = simulated(with_schedule(plan, path), 150, 3, LIB, "astct-2019")
    spared = simulated(with_prophylaxis(plan, ["tocilizumab@0"]), 150, 3, LIB, "astct-2019")
    any_grade = {arm: (each.columns["grade"] >= 1).mean() for arm, each in
                 {"stepped": stepped, "flat": flat, "spared": spared}.items()}  # fmt: skip
    assert any_grade["flat"] > any_grade["stepped"] > any_grade["spared"]


def test_a_ward_follows_a_guideline_from_its_shelf():
    ward = ward_of("usual", LIB)
    asco = following(ward, "asco-2021", LIB).numbers
    assert (asco["treatment_tocilizumab_from"], asco["treatment_steroid_from"]) == (2.0, 3.0)
    assert asco["treatment_methylprednisolone_from"] == 4.0
    cartox = following(ward, "cartox-2018", LIB).numbers
    assert (cartox["treatment_steroid_from"], cartox["treatment_methylprednisolone_mg"]) == (2.0, 1000.0)


def test_never_giving_tocilizumab_gives_none():
    plan = plan_of("tisagenlecleucel", LIB, days=12)
    ward = plan.ward.changed(treatment_tocilizumab_from=9.0, treatment_steroid_from=9.0)
    arm = simulated(replace(plan, ward=ward), 80, 2, LIB, "astct-2019")
    assert arm.columns["tocilizumab"].sum() == 0
    assert arm.columns["steroid"].sum() == 0
    assert arm.columns["grade"].max() >= 3


def test_shares_fall_with_the_grade_and_stand_inside_their_interval():
    rows = levels(simulated(plan_of("tisagenlecleucel", LIB, days=14), 60, 4, LIB, "astct-2019"))
    shares = [row["share"] for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert all(row["low"] <= row["share"] <= row["high"] for row in rows)


def test_a_trial_shows_every_target_with_its_role_and_p():
    trial = trial_of("majestec-1", LIB)
    _, compared = run_trial(trial, 100, 1, LIB, draws=200)
    assert compared["target"].to_pylist() == [target.id for target in trial.targets]
    for row in compared.to_pylist():
        assert row["role"] in ("fit", "hold-out", "guide")
        if row["simulated"] is not None:
            assert row["low"] <= row["simulated"] <= row["high"]
            assert 0 < row["p"] <= 1


def test_a_trial_brings_its_own_doses_and_policy():
    plan = plan_of_trial(trial_of("zuma-1-cohort-6", LIB), LIB)
    assert sum(dose.input == "dexamethasone" for dose in plan.doses) == 3
    assert plan.ward.numbers["treatment_steroid_from"] == 1.0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_leaves_no_half_written_file(tmp_path):
    out = tmp_path / "facts.csv"
    words = ["simulate", "--therapy", "tisagenlecleucel", "--patients", "20000", "--out", str(out)]
    child = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    for _ in range(600):  # until it has begun to write
        if any(tmp_path.iterdir()):
            break
        time.sleep(0.1)
    time.sleep(1.0)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "nothing half-written" in err
    assert list(tmp_path.iterdir()) == []


def test_facts_written_to_a_file_are_those_of_the_pipe(tmp_path, simulated_csv):
    out = tmp_path / "facts.csv"
    words = [
        "simulate",
        "--therapy",
        "teclistamab",
        "--patients",
        "6",
        "--seed",
        "7",
        "--days",
        "10",
        "--out",
        str(out),
    ]
    assert CliRunner().invoke(cli, words).exit_code == 0
    written, piped = csv.read_csv(out), csv.read_csv(io.BytesIO(simulated_csv.encode()))
    assert written.select(piped.column_names).equals(piped)


def test_a_trial_and_arms_answer_on_a_pipe_as_json_lines():
    _, out, _ = run("simulate", "--trial", "tgn1412", "--patients", "60")
    rows = [orjson.loads(line) for line in out.splitlines()]
    assert {row["target"] for row in rows} == {t.id for t in trial_of("tgn1412", LIB).targets}
    words = ("--therapy", "teclistamab", "--patients", "20", "--days", "9", "--arm", "usual:")
    _, out, _ = run("simulate", *words, "--arm", "before: prophylaxis=tocilizumab@0")
    rows = [orjson.loads(line) for line in out.splitlines()]
    assert {row["arm"] for row in rows} == {"usual", "before"}
