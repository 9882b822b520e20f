"""Plain Python remembers what it has said before; no answer may depend on what it remembers."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tables
from tocsin.definitions.load import library
from tocsin.definitions.schema import Finding
from tocsin.grading import opcodes as op
from tocsin.grading import program
from tocsin.grading.batch import grade_table
from tocsin.grading.leaves import compare
from tocsin.grading.live import Live, micros
from tocsin.grading.moments import Findings, findings_of
from tocsin.testing import START, patient

LIB = library()
HOUR = 3_600_000_000
SCALES = ("astct-2019", "lee-2014")
FACTS = tables.tables(SCALES, patients=3, most=24)


@given(FACTS)
@settings(max_examples=15)
def test_a_memory_that_forgets_all_the_time_gives_the_same_answers(facts: pa.Table) -> None:
    expected = grade_table(facts, SCALES, engine="python")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "MEMORY", 1)
        assert grade_table(facts, SCALES, engine="python").equals(expected)


@given(FACTS, st.data())
@settings(max_examples=15)
def test_asking_in_between_changes_nothing(facts: pa.Table, data: st.DataObject) -> None:
    """The answer is worked out on a copy: lapses shown ahead of their time have not happened yet."""
    quiet, asked = Live(SCALES, lib=LIB), Live(SCALES, lib=LIB)
    for row in sorted(facts.to_pylist(), key=lambda row: row["time"]):
        quiet.add(row)
        asked.add(row)
        if data.draw(st.booleans()):
            asked.intervals(row["patient_id"])
            asked.answer(row["patient_id"], row["time"])
    for who in quiet.patients:
        assert asked.intervals(who).equals(quiet.intervals(who))


@pytest.mark.parametrize("way", [op.AT_LEAST, op.ABOVE, op.AT_MOST, op.BELOW])
@pytest.mark.parametrize("cut", [38.0, 90.0, 0.1, 0.0, -2.5])
def test_a_comparison_turns_at_one_number(way: int, cut: float) -> None:
    """To the last bit: what `turn` says of a number is what the comparison itself says of it."""
    node = SimpleNamespace(op=op.READ, reference=op.NO_REF, compare=way, cut=cut, new=0, quick=1)
    edge, above = program.turn(node)
    assert edge is not None
    near = [math.nextafter(edge, -math.inf), edge, math.nextafter(edge, math.inf)]
    for x in (-math.inf, cut - 1.0, *near, cut, cut + 1.0, math.inf):
        assert compare(way, x, x, cut, 0) == (above if x >= edge else 2 - above)


def test_a_pressure_is_low_beside_the_usual_of_a_patient_whose_usual_is_low() -> None:
    """From the first dose the usual decides, if it lies below the limit; else the limit goes on doing so."""
    for usual, pressures in ((80, (84, 79, 60, 85, 61, 120)), (110, (84, 91, 60, 90, 61, 120))):
        live = Live(["astct-2019"], lib=LIB)
        lines = [f"0 h systolic-bp {usual} mm[Hg]", "1 h tisagenlecleucel"]
        lines += [f"{2 + h} h systolic-bp {x} mm[Hg]" for h, x in enumerate(pressures)]
        facts = patient(*lines)
        for row in facts.to_pylist():
            live.add(row)
        assert live.intervals("p1").equals(grade_table(facts, ["astct-2019"], engine="numba"))


def test_a_device_that_nothing_reads_still_voids_the_flow() -> None:
    """Each other device ends what was known of the flow, also between two that came before."""
    flow: dict[str, Finding] = {"flow-above-6": findings_of(["oxygen"], LIB)["flow-above-6"]}
    devices = ("nasal-cannula", "ventilator", "face-mask", "nasal-cannula")
    lines = [f"{2 * h} h oxygen-device {device}" for h, device in enumerate(devices)]
    lines += [f"{2 * h + 1} h oxygen-flow 8 L/min" for h in range(len(devices))]
    moments = [micros(START) + h * HOUR for h in range(1, 2 * len(devices))]
    found = Findings(flow, LIB).states(patient(*lines).to_pylist(), moments)
    assert [state["flow-above-6"] for state in found] == [2, 1, 2, 1, 2, 1, 2]


def test_numbers_mean_something_else_at_another_age() -> None:
    """A pressure that was low for an adult is not for an infant, and low again when the age is corrected."""
    live = Live(["astct-2019"], lib=LIB)
    low = []
    node = live.compiled.named[0]["systolic-low"]
    lines = [
        f"{h} h systolic-bp {value} mm[Hg]" for h, value in ((0, 85), (1, 86), (3, 85), (5, 85), (6, 86))
    ]
    lines += ["2 h age 0.5 a", "4 h age 40 a"]
    for row in patient(*lines).to_pylist():
        live.add(row)
        # as it stands once its instant is decided; the machine itself waits, since a fact may still come in
        decided = live._copy(live.patients[row["patient_id"]])
        low.append(decided.state.node[node].value)
    assert low == [2, 2, 0, 0, 2, 2, 2]
