"""From a grade back to the rows that caused it, for every kind of finding."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner

from tocsin.cli.front import cli
from tocsin.grading.batch import grade_table
from tocsin.grading.why import why
from tocsin.sources.read import read
from tocsin.testing import START, patient

FEVER = "0 h temperature 38.6 Cel"


def behind(hour: float, *lines: str, scale: str = "astct-2019") -> dict[str, list[str]]:
    """Finding to the lines behind it at `hour`; every line is its own source."""
    facts = patient(*lines)
    names = {(line.split()[2], START + timedelta(hours=float(line.split()[0]))): line for line in lines}
    found: dict[str, list[str]] = {}
    for finding, row in why(facts, scale, "p1", START + timedelta(hours=hour)):
        found.setdefault(finding, []).append(names[row["measure"], row["time"]])
    return found


@pytest.mark.parametrize("hour", [0, 2, 23.99])
def test_a_fever_is_the_reading_that_was_high_from_its_own_instant_on(hour: float) -> None:
    assert behind(hour, FEVER, "1 h temperature 36.8 Cel") == {"fever": [FEVER]}


def test_before_and_after_the_grade_and_without_a_record_there_is_nothing() -> None:
    assert behind(24, FEVER) == {}
    assert behind(-1, FEVER) == {}
    assert behind(0, "0 h temperature 36.8 Cel") == {}
    assert why(patient(FEVER), "astct-2019", "nobody", START) == []


def test_a_treatment_is_shown_with_the_fever_it_answered() -> None:
    """The fever has lapsed by then; without it nobody understands why an antipyretic makes a grade."""
    lines = (
        FEVER, "2 h acetaminophen 1000 mg", "3 h temperature 38.9 Cel", "40 h acetaminophen 1000 mg",
        "22 h oxygen-device nasal-cannula", "33 h oxygen-device nasal-cannula",
        "44 h oxygen-device nasal-cannula", "51 h acetaminophen 1000 mg",
    )  # fmt: skip
    found = behind(54, *lines)
    assert found["low-flow-oxygen"] == ["44 h oxygen-device nasal-cannula"]
    assert found["fever-counts"] == ["3 h temperature 38.9 Cel", "40 h acetaminophen 1000 mg"]


def test_two_vasopressors_are_those_running_and_those_they_began_with() -> None:
    lines = (
        FEVER, "1 h norepinephrine 0.1 ug/kg/min", "2 h phenylephrine 1 ug/kg/min",
        "2.5 h norepinephrine 0.2 ug/kg/min", "2.75 h dobutamine 2 ug/kg/min",
    )  # fmt: skip
    found = behind(3.5, *lines)
    assert found["two-vasopressors"] == [lines[1], lines[2], lines[3]]


def test_a_low_pressure_is_shown_with_the_one_that_confirmed_it_and_the_age() -> None:
    lines = (
        "0 h age 61 a", FEVER, "1 h systolic-bp 84 mm[Hg]", "1.25 h systolic-bp 82 mm[Hg]",
        "2 h systolic-bp 80 mm[Hg]",
    )  # fmt: skip
    found = behind(2.5, *lines)
    assert found["hypotension"] == [lines[0], *lines[2:]]


def test_a_single_low_pressure_is_shown_with_the_bolus_that_supports_it() -> None:
    lines = (FEVER, "1 h fluid-bolus 500 mL", "2 h systolic-bp 84 mm[Hg]")
    assert behind(2.5, *lines)["hypotension"] == list(lines[1:])


def test_an_arterial_pressure_is_not_shown_as_the_cuff_at_the_same_instant() -> None:
    facts = patient(
        FEVER, "1 h systolic-bp 84 mm[Hg] method arterial source a1",
        "1.25 h systolic-bp 82 mm[Hg] method arterial source a2",
        "1.25 h systolic-bp 121 mm[Hg] method cuff source c2",
    )  # fmt: skip
    found = why(facts, "astct-2019", "p1", START + timedelta(hours=1.5))
    assert [row["source"] for finding, row in found if finding == "hypotension"] == ["a1", "a2"]


def test_boluses_are_as_many_as_the_finding_counts_and_the_low_pressure_of_before() -> None:
    lines = (
        "0 h systolic-bp 84 mm[Hg]", "0.25 h systolic-bp 82 mm[Hg]", "0.5 h fluid-bolus 500 mL",
        "1 h fluid-bolus 500 mL", "1.5 h fluid-bolus 500 mL", "2 h systolic-bp 121 mm[Hg]",
    )  # fmt: skip
    found = behind(4, *lines, scale="penn-2018")
    assert found["multiple-boluses-for-pressure"] == [*lines[:2], *lines[3:5]]


def test_a_high_dose_is_the_rates_of_its_sum_from_the_beginning_of_its_hours() -> None:
    lines = (
        FEVER, "0 h weight 70 kg", "1 h norepinephrine 0.2 ug/kg/min", "1 h vasopressin 0.04 [IU]/min",
        "4 h norepinephrine 0.25 ug/kg/min",
    )  # fmt: skip
    found = behind(5, *lines, scale="lee-2014")
    assert found["high-dose-vasopressor"] == list(lines[2:])
    assert found["multiple-vasopressors"] == list(lines[2:])


def test_oxygen_is_the_device_and_what_was_set_on_it() -> None:
    lines = (FEVER, "1 h oxygen-device simple-mask", "1 h oxygen-flow 6 L/min")
    assert behind(2, *lines, scale="lee-2014")["oxygen-40"] == list(lines[1:])


def test_an_organ_is_shown_with_the_baseline_it_is_compared_with() -> None:
    lines = ("0 h creatinine 0.8 mg/dL", "24 h teclistamab", "48 h creatinine 3.1 mg/dL")
    found = behind(50, *lines, scale="lee-2014")
    assert found["organ-3"] == [lines[0], lines[2]]


def test_a_fatal_crs_is_the_death() -> None:
    lines = (FEVER, "2 h death crs")
    assert behind(2, *lines) == behind(30, *lines) == {"death": ["2 h death crs"]}


def test_what_was_corrected_is_not_shown() -> None:
    facts = patient("0 h temperature 39.9 Cel source v1", "0 h temperature 38.2 Cel source v2 replaces v1")
    found = why(facts, "astct-2019", "p1", START)
    assert [row["source"] for _, row in found] == ["v2"]


def test_the_command_prints_the_facts_with_their_source(tmp_path: Path) -> None:
    file = tmp_path / "ward.csv"
    file.write_text(
        "patient_id,time,measure,value,text,unit\n"
        "p1,2026-01-05T00:00Z,temperature,38.6,,Cel\np1,2026-01-05T02:00Z,norepinephrine,0.1,,ug/kg/min\n"
    )
    done = CliRunner().invoke(cli, ["grade", str(file), "--why", "p1", "2026-01-05T02:00Z"])
    assert done.exit_code == 0, done.output
    lines = [orjson.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [(line["finding"], line["fact"]["source"]) for line in lines] == [
        ("fever-counts", "ward.csv:1"),
        ("one-vasopressor", "ward.csv:2"),
    ]


#: Memory that a chain of facts has kept alive: the first and the last of them are shown, not all.
CHAINS = {"fever-counts", "vasopressor-24-h"}


def test_on_real_patients_the_facts_shown_are_enough(clif_demo: Path) -> None:
    """They are as `because` says, not later than asked, and graded alone they give the same grade."""
    facts = read(clif_demo, rejects=[])
    scales = ["astct-2019", "lee-2014", "mskcc-2018", "penn-2018", "ctcae-5.0"]
    graded = [row for row in grade_table(facts, scales).to_pylist() if row["grade"] >= 1 and row["end"]]
    draw = random.Random(11)
    own: dict[str, pa.Table] = {}
    for scale in scales:
        for row in draw.sample([each for each in graded if each["scale"] == scale], 15):
            who = row["patient_id"]
            if who not in own:
                own[who] = facts.filter(pc.equal(facts["patient_id"], who))
            at = row["start"] + (row["end"] - row["start"]) * draw.choice((0, 0.5, 0.999))
            found = why(own[who], scale, who, at)
            assert list(dict.fromkeys(finding for finding, _ in found)) == row["because"], (who, at)
            assert all(fact["time"] <= at and fact["source"] for _, fact in found)
            if CHAINS & {*row["because"]}:
                continue
            alone = pa.Table.from_pylist([fact for _, fact in found], facts.schema).sort_by("time")
            said = [
                each["grade"] for each in grade_table(alone, scale).to_pylist()
                if each["start"] <= at and (each["end"] is None or at < each["end"])
            ]  # fmt: skip
            assert said == [row["grade"]], (scale, who, at, found)
