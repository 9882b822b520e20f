"""What findings say at moments: the oracle's answer, at every moment, for every finding of every scale."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

import oracle
import tables
from tocsin.definitions.load import library
from tocsin.definitions.schema import DefinitionError
from tocsin.facts import resolve
from tocsin.grading.live import micros
from tocsin.grading.moments import Findings, findings_of
from tocsin.guidance.answer import conditions
from tocsin.testing import START, patient

LIB = library()
HOUR = 3_600_000_000
SCALES = ("astct-2019", "lee-2014", "icans-astct-2019")


@pytest.mark.parametrize("name", SCALES)
def test_states_are_the_oracles_at_every_moment(name: str) -> None:
    scale = LIB.scale(name)
    used = {finding.id: finding for finding in tables.used_findings(scale)}
    asked = Findings(used, LIB)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        facts = tables.random_facts(rng, tables.palette((name,)), f"p{seed}", 20)
        rows = oracle.resolve(tables.table(facts).to_pylist(), None)
        course = oracle.Course("p", rows, scale, LIB, None)
        quarters = range(0, min(course.size, 400), 3)
        moments = [micros(course.instant(i)) for i in quarters]
        states = asked.states(rows, moments)
        for i, state in zip(quarters, states, strict=True):
            if course.death_time is None or course.instant(i) < course.death_time:
                expected = {finding: course.value(finding)[i] for finding in used}
                assert state == expected, (seed, i)


@pytest.mark.parametrize("seed", range(12))
def test_the_compiled_machine_says_the_same_at_a_moment(seed: int) -> None:
    """Every condition of every guideline, label and work-up: at exact instants, between them, after a death,
    and before and after the record."""
    asked = conditions(LIB)
    rng = np.random.default_rng(seed)
    facts = tables.random_facts(rng, tables.palette(SCALES), f"p{seed}", 40)
    charted = resolve(tables.table(facts)).sort_by("time")
    times = charted["time"].cast(pa.int64()).to_pylist()
    moments = sorted({times[0] - 1, *times, *(t + HOUR // 2 for t in times), times[-1] + 100 * HOUR})
    by_row = asked.states(charted.to_pylist(), moments)
    for now, state in zip(moments, by_row, strict=True):
        assert asked.state(charted, now) == state, now


def test_a_moment_knows_nothing_of_later_facts() -> None:
    asked = Findings(findings_of(["fever"], LIB), LIB)
    ill = patient("2 h temperature 38.4 Cel").to_pylist()
    start = micros(START)
    before, at, after = asked.states(ill, [start + HOUR, start + 2 * HOUR, start + 27 * HOUR])
    assert (before["fever"], at["fever"], after["fever"]) == (1, 2, 1)


def test_many_measures_are_asked_in_several_programs_with_the_same_answers() -> None:
    files = [name for name in LIB.files("findings") if name in (
        "fever", "symptoms", "pressure", "vasopressors", "oxygen", "ctcae-4.03-organs")]
    together = Findings(findings_of(files, LIB), LIB)
    alone = Findings(findings_of(["fever"], LIB), LIB)
    ill = patient(
        "0 h temperature 38.4 Cel", "1 h alt 300 U/L ref 0..40", "1 h systolic-bp 80 mm[Hg]"
    ).to_pylist()
    moments = [micros(START + timedelta(hours=h)) for h in (0, 1, 5)]
    for one, all_ in zip(alone.states(ill, moments), together.states(ill, moments), strict=True):
        assert one.items() <= all_.items()


def test_a_finding_whose_parts_are_missing_is_refused_by_name() -> None:
    with pytest.raises(DefinitionError, match="any-vasopressor"):
        Findings(findings_of(["pressure"], LIB), LIB)
