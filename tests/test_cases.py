"""Published patients and read-off rows: what the sources say a patient's grade is, the engine must say.

`cases/*.toml` hold them. `given` is the plainest charting of the row, every list in `also` another way
a hospital may chart the same patient; all must reach the same highest grade. A grade written `[3, 4]` is
one the source leaves open: either will do, if the answer says `ambiguous`. `up_to` is stated where the
row says everything. A row told without numbers stays text (`narrated`), never invented facts.
"""

from __future__ import annotations

import csv
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tocsin.definitions.load import library
from tocsin.grading.batch import grade_table
from tocsin.testing import patient

CASES = Path(__file__).parent / "cases"
KEYS = {"id", "note", "source", "given", "also", "grade", "up_to", "ambiguous", "narrated", "narrated_grade"}
#: The CSV's names of the scales graded here.
SCALES = {
    "ASTCT2019": "astct-2019", "LEE2014": "lee-2014", "PENN": "penn-2018", "MSKCC": "mskcc-2018",
    "CARTOX": "cartox-2018", "CARTOX_peds": "cartox-2018-paediatric", "CTCAE4.03": "ctcae-4.03",
    "CTCAE5": "ctcae-5.0", "CTCAE6": "ctcae-6.0", "ICANS_ASTCT": "icans-astct-2019",
    "ICANS_ASTCT_peds": "icans-astct-2019",
}


def cases() -> list[tuple[str, dict[str, Any]]]:
    """Every case with the family (file) it stands in."""
    return [
        (path.stem, case)
        for path in sorted(CASES.glob("*.toml"))
        for case in tomllib.loads(path.read_text("utf-8"))["case"]
    ]


ALL = cases()
CHARTED = [
    pytest.param(case, scale, lines, id=f"{family}:{case['id']}-{scale}-{i}")
    for family, case in ALL
    for scale in case.get("grade", {})
    for i, lines in enumerate([case["given"], *case.get("also", [])])
]


@pytest.mark.parametrize(("case", "scale", "lines"), CHARTED)
def test_the_patient_has_the_published_grade(case, scale, lines):
    """However the same patient is charted, the highest grade is the one the source gives."""
    rows = grade_table(patient(*lines), scale).to_pylist()
    expected = case["grade"][scale]
    peak = max(row["grade"] for row in rows)
    if isinstance(expected, list):
        reach = max(row["up_to"] for row in rows if row["ambiguous"])
        assert peak in expected
        assert reach in expected
        assert any(row["ambiguous"] for row in rows if row["grade"] == peak or row["up_to"] == reach)
    else:
        assert peak == expected, [(row["grade"], row["up_to"], row["because"]) for row in rows]
    best = [row for row in rows if row["grade"] == peak]
    if scale in case.get("up_to", {}):
        assert min(row["up_to"] for row in best) == case["up_to"][scale], [row["waiting_for"] for row in best]
    if case.get("ambiguous"):
        assert any(row["ambiguous"] for row in best)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for _, case in ALL])
def test_a_case_says_where_it_comes_from_and_nothing_else(case):
    """A misspelt key would silently check nothing."""
    assert set(case) <= KEYS
    assert case["source"]
    assert ("given" in case) == ("grade" in case)
    assert "given" in case or "narrated" in case
    assert set(case.get("grade", {})) <= set(library().scales)


def test_ids_are_unique():
    ids = [case["id"] for _, case in ALL]
    assert sorted(ids) == sorted(set(ids))


def test_every_row_of_the_list_of_cases_is_here(shared):
    """The list of published cases is the sources' word: none may be left out, and no grade may differ."""
    here = {case["id"]: case for _, case in ALL}
    with (shared / "clinical" / "grading_cases.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    seen = 0
    for row in rows:
        name, scale = row["id"], SCALES.get(row["scale"])
        if row["scale"] == "narrated_scale_unstated":
            assert here[name]["narrated_grade"] == int(row["expected_grade"])
        elif scale:
            case = here[name] if name in here else here[re.sub(r"-[A-Z]\w+[\d.]*$", "", name)]
            said = [int(part) for part in row["expected_grade"].split("|")]
            assert case["grade"][scale] == (said if len(said) > 1 else said[0]), name
        seen += bool(scale)
    assert seen > 80
