"""Real records, graded whole: the CLIF demo under every scale, and the same patients through three doors.

The patients of the demo had intensive care, not immunotherapy: this tests reading and machinery on real
dirt, not how often anything happens.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import tocsin
from conftest import ROOT
from tocsin.definitions.load import library
from tocsin.grading.batch import grade_table
from tocsin.sources.read import open_source

SCALES = tuple(library().scales)
ANSWER = ("patient_id", "scale", "start", "end", "grade", "up_to", "ambiguous", "because", "waiting_for")


@pytest.fixture(scope="module")
def demo(clif_demo: Path) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Facts and rejects of the CLIF demo."""
    source = open_source(clif_demo)
    facts = source.table()
    return facts, [row for part in source.rejects for row in part.to_pylist()]


@pytest.fixture(scope="module")
def graded(demo: tuple[pa.Table, Any]) -> pa.Table:
    return grade_table(demo[0], SCALES, engine="python")


# --- the CLIF demo --------------------------------------------------------------------------------------


def test_reading_through_the_front_door_is_the_same(clif_demo: Path, demo: tuple[pa.Table, Any]) -> None:
    rejects: list[pa.Table] = []
    assert tocsin.read(clif_demo, rejects=rejects) == demo[0]
    assert sum(part.num_rows for part in rejects) == len(demo[1])


#: Every impossible value of the demo's vital signs, oxygen, weight and doses.
IMPOSSIBLE = {
    "temperature": ("97.2", "98.9", "99"),
    "mean-bp": (
        *("-27", "-23", "-22", "-19", "-16", "-8", "-7", "-3", "0", "0", "0", "0", "7", "8", "262", "272"),
        *("284", "289", "302", "317", "324", "329", "330", "331", "354", "801"),
    ),
    "spo2": ("29",),
    "heart-rate": ("0",) * 4,
    "respiratory-rate": ("0",) * 48,
    "weight": ("0",),
    "oxygen-flow": ("100",),
    "pao2": ("14",),
    "fluid-bolus": ("0.5000001",),
}  # fmt: skip


def test_impossible_values_are_refused_by_name(demo: tuple[pa.Table, list[dict[str, Any]]]) -> None:
    facts, rejects = demo
    refused = defaultdict(list)
    for row in rejects:
        assert row["what"], row
        assert row["why"], row
        assert row["fix"], row
        assert row["file"].startswith("clif_"), row
        if row["what"].startswith("is impossible"):
            refused[row["measure"]].append(row["value"])
    for values in refused.values():
        values.sort(key=float)
    assert dict(refused) == {name: list(values) for name, values in IMPOSSIBLE.items()}
    # a refused reading is not absent: it stands there as unusable, so its measure is unknown
    unusable = facts.filter(pc.equal(facts["text"], "unusable"))
    assert pc.sum(pc.equal(unusable["measure"], "temperature")).as_py() == 3
    assert pc.sum(pc.equal(unusable["measure"], "spo2")).as_py() == 1


def test_fio2_of_nothing_is_refused_in_meds(shared: Path) -> None:
    """CLIF has left these out; MEDS carries 0 and 4 percent."""
    source = open_source(shared / "data" / "mimic-iv-demo-meds")
    for _ in source.batches():
        pass
    rows = [row for part in source.rejects for row in part.to_pylist() if row["measure"] == "fio2"]
    assert sorted(row["value"] for row in rows) == ["0", "4", "4"]
    assert {row["what"] for row in rows} == {"is impossible: outside 20 to 100 %"}


def by_patient(graded: pa.Table) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in graded.to_pylist():
        rows[row["patient_id"], row["scale"]].append(row)
    yield from ((*key, spans) for key, spans in rows.items())


def test_every_patient_is_answered_without_gap_under_every_scale(
    demo: tuple[pa.Table, Any], graded: pa.Table
) -> None:
    first = demo[0].group_by("patient_id").aggregate([("time", "min")]).to_pylist()
    begins = {row["patient_id"]: row["time_min"] for row in first}
    deaths = demo[0].filter(pc.equal(demo[0]["measure"], "death"))
    died = dict(zip(deaths["patient_id"].to_pylist(), deaths["time"].to_pylist(), strict=True))
    assert len(begins) == 100
    assert len(died) == 36
    seen = set()
    for patient, scale, spans in by_patient(graded):
        seen.add((patient, scale))
        assert spans[0]["start"] == begins[patient]
        assert all(before["end"] == after["start"] for before, after in pairwise(spans))
        assert all(span["end"] is None or span["start"] < span["end"] for span in spans)
        assert all(0 <= span["grade"] <= span["up_to"] <= 4 for span in spans)
        assert all(bool(span["because"]) == (span["grade"] > 0) for span in spans)
        assert all("no-trigger" in span["flags"] for span in spans)
        if patient in died:
            assert spans[-1]["end"] == died[patient]
    assert seen == {(patient, scale) for patient in begins for scale in SCALES}


@pytest.mark.parametrize("scale", [scale for scale in SCALES if not scale.startswith("icans")])
def test_every_grade_occurs(graded: pa.Table, scale: str) -> None:
    """CTCAE 4.03 never proves a 3: its only row of that grade (oxygen given) is one reading of its text."""
    own = graded.filter(pc.equal(graded["scale"], scale))
    missing = {3} if scale == "ctcae-4.03" else set()
    assert set(own["grade"].to_pylist()) == {0, 1, 2, 3, 4} - missing


def test_without_a_score_of_neurotoxicity_nothing_is_said_of_it(graded: pa.Table) -> None:
    own = graded.filter(pc.equal(graded["scale"], "icans-astct-2019"))
    assert {(row["grade"], row["up_to"]) for row in own.to_pylist()} == {(0, 4)}


@pytest.mark.slow
def test_the_compiled_machine_says_the_same(demo: tuple[pa.Table, Any], graded: pa.Table) -> None:
    """Every column, row for row; compiling takes half a minute where it has not been done before."""
    assert grade_table(demo[0], SCALES, engine="numba") == graded


@pytest.mark.slow
def test_sql_says_the_same(demo: tuple[pa.Table, Any], graded: pa.Table) -> None:
    """ASTCT over the whole demo, computed by DuckDB from the definition's own SQL."""
    ibis = pytest.importorskip("ibis")
    from tocsin.grading import sql

    lib = library()
    con = ibis.duckdb.connect()
    try:
        con.con.register("arrow_facts", demo[0])  # Ibis's own `create_table` breaks on DuckDB 2
        con.raw_sql("create table facts as select * from arrow_facts")
        said = sql.grade(con, con.table("facts"), lib.scale("astct-2019"), lib).to_pylist()
    finally:
        con.disconnect()
    own = graded.filter(pc.equal(graded["scale"], "astct-2019")).to_pylist()
    assert joined(said) == joined(own)


def joined(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Rows with equal neighbours made one: SQL has no reasons and flags to cut at."""
    out: list[tuple[Any, ...]] = []
    for row in sorted(rows, key=lambda row: (row["patient_id"], row["start"])):
        who, start, end = row["patient_id"], row["start"], row["end"]
        state = (row["grade"], row["up_to"], row["ambiguous"])
        if out and out[-1][0] == who and out[-1][2] == start and out[-1][3:] == state:
            start = out.pop()[1]
        out.append((who, start, end, *state))
    return out


# --- three doors ----------------------------------------------------------------------------------------


def script(name: str) -> ModuleType:
    """A file of `scripts/` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_grades_agree_between_doors_but_for_the_causes_listed(shared: Path, clif_demo: Path) -> None:
    """With the known causes removed nothing differs; how much each explains is what the page says."""
    agreement = script("agreement")
    made = agreement.section(agreement.Records(clif_demo, shared))
    rows = [line.strip("|").split(" | ") for line in made.splitlines() if line.startswith("| ")]
    cells = [row for row in rows if row[0].strip() in SCALES]
    assert len(cells) == 3 * len(SCALES)
    assert {row[-1].strip() for row in cells} == {"0"}, made
    page = (ROOT / "docs" / "agreement.md").read_text("utf-8")
    assert f"{agreement.BEGIN}\n{made}\n{agreement.END}" in page, (
        "docs/agreement.md is out of date: python scripts/agreement.py --write says the new counts"
    )
