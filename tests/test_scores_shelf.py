"""The shelf of scores: what a definition may say, what is left out and why, and the command."""

from __future__ import annotations

import json
import re

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tocsin.citations import references
from tocsin.cli.front import cli
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import DefinitionError
from tocsin.definitions.score import score_definition, score_names
from tocsin.definitions.score_item import Span
from tocsin.scores import over_time, score
from tocsin.testing import patient

LIB = library()
REFUSED = {
    "teachey-2016", "gust-2017", "eipm-pre", "eipm-post", "inflamix", "glofitamab-crs-score", "easix-f",
    "easix-fc", "mass", "impact", "ang2-ratio", "mews",
}  # fmt: skip
HEAD = 'id = "ours"\ntitle = "Ours"\nsource = ["lee2019"]\nstatus = "draft"\n'
ITEM = '[[item]]\nid = "crp"\ntitle = "CRP"\nmeasure = "crp"\nunit = "mg/L"\n'


def run(*words):
    return CliRunner().invoke(cli, [*words])


@pytest.fixture
def shelf(tmp_path):
    """A site's folder with one score of its own."""

    def write(text, name="ours"):
        (tmp_path / "scores").mkdir(exist_ok=True)
        (tmp_path / "scores" / f"{name}.toml").write_text(text, "utf-8")
        return Library((tmp_path,))

    return write


# --- what is on it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", score_names(LIB, None))
def test_every_score_says_where_it_is_from_and_how_far_it_is_checked(name):
    """A file without a source that exists, or called checked by nobody, would be believed."""
    definition = score_definition(name, LIB)
    assert definition.source
    assert all(key == "memory" or key in references() for key in definition.source)
    assert definition.status in ("draft", "memory")
    if definition.implemented:
        assert definition.formula
        assert definition.outcome
        assert definition.evidence_line
        assert definition.population.text
    else:
        assert definition.reason
        assert definition.missing


def test_what_memory_alone_supports_is_not_calculated():
    for name in score_names(LIB):
        assert score_definition(name, LIB).source != ("memory",)


def test_the_scores_left_out_are_listed_with_the_reason():
    assert set(score_names(LIB, implemented=False)) >= REFUSED
    assert not REFUSED & set(score_names(LIB))


def test_the_licences_that_bind_are_said():
    assert "Royal College of Physicians" in score_definition("news2", LIB).licence
    assert "Royal College of Physicians" in score_definition("news2-scale-2", LIB).attribution
    assert "2019/0361026" in score_definition("hay-2017", LIB).licence


def test_scores_that_only_help_to_tell_apart_say_so():
    for name in ("qsofa", "sirs"):
        assert "differential aid only" in score_definition(name, LIB).evidence_line


def test_a_score_without_some_items_has_the_rest_of_the_other():
    whole, part = (score_definition(name, LIB) for name in ("isth-dic", "isth-dic-without-platelets"))
    assert [item.id for item in part.items] == [item.id for item in whole.items if item.id != "platelets"]
    assert part.labels == whole.labels
    assert part.hash != whole.hash


# --- what a definition may say -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (ITEM + "band = [{ below = 3, points = 0 }, { above = 3, points = 1 }]", "between 3 and 3"),
        (ITEM + "band = [{ at_most = 3, points = 0 }, { at_least = 3, points = 1 }]", "gap or overlaps"),
        (ITEM + "band = [{ below = 3, points = 0 }, { at_least = 4, points = 1 }]", "between 3 and 4"),
        (ITEM + "band = [{ below = 3, at_most = 4, points = 0 }]", "same end twice"),
        (ITEM, "`band` is missing"),
        (ITEM.replace("crp\"\nunit", "cpr\"\nunit"), "did you mean `crp`"),
        (ITEM.replace('unit = "mg/L"', ""), "`unit` is missing"),
        (ITEM + "band = [{ belov = 3, points = 0 }]", "unknown key `belov`; did you mean `below`"),
        (ITEM + "statistik = \"last\"", "did you mean `statistic`"),
        (ITEM + "if_missing = \"no\"\nband = [{ points = 0 }]", "needs a `reading`"),
        ('[[item]]\nid = "o"\ntitle = "O"\nmeasure = "organomegaly"\n'
         'band = [{ one_of = ["one"], points = 1 }]', "each word once"),
        ('[[item]]\nid = "d"\ntitle = "D"\ncount_of = [{ measure = "oxygen-device", one_of = ["mask"] }]\n'
         "band = [{ points = 0 }]", "no word of `oxygen-device`"),
        ('[[item]]\nid = "c"\ntitle = "C"\ncount_of = [{ charted = ["confusoin"] }]\nband = [{ points = 0 }]',
         "did you mean `confusion`"),
        ("", "`item` is missing"),
        ("implemented = false", "`reason` is missing"),
        ('of = "isth-dic"\nwithout = ["platelet"]', "did you mean `platelets`"),
        ('of = "isth-dicc"', "did you mean `isth-dic`"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_the_near_miss(shelf, body, message):
    with pytest.raises(DefinitionError, match=re.escape(message)):
        score_definition("ours", shelf(HEAD + body))


def test_a_site_adds_a_score_and_changes_one(shelf):
    lib = shelf(HEAD + ITEM + "band = [{ below = 30, points = 0 }, { at_least = 30, points = 2 }]")
    (value,) = score(patient("0 h crp 40 mg/L"), "ours", lib=lib)
    assert (value.low, value.high) == (2, 2)
    product = HEAD.replace("ours", "easix") + 'form = "product"\n'
    lib = shelf(product + ITEM.replace("crp", "ldh").replace("mg", "U"), "easix")
    (value,) = score(patient("0 h ldh 300 U/L"), "easix", lib=lib)
    assert value.low == 300
    assert value.definition != score_definition("easix", LIB).hash


def test_spans_know_their_ends():
    inside = Span(2, 4, open_high=True)
    assert [inside.holds(x) for x in (1.9, 2, 3.9, 4)] == [False, True, True, False]
    assert inside.meets(0, 2)
    assert not inside.meets(4, 9)
    assert inside.covers(2, 3)
    assert not inside.covers(2, 4)


# --- the command ---------------------------------------------------------------------------------------

COURSE = "examples/axi-cel-course.csv"


def test_the_command_answers_a_line_a_score():
    done = run("score", COURSE, "--score", "hscore", "--score", "isth-dic", "--at", "2026-03-04T08:00Z")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["score"] for row in rows] == ["hscore", "isth-dic"]
    assert rows[0]["at"] == "2026-03-04T08:00:00Z"
    assert rows[0]["low"] < rows[0]["high"]
    assert "marrow-hemophagocytosis" in rows[0]["missing"]
    assert rows[1]["beside"][0]["score"] == "isth-dic-without-platelets"
    assert rows[0]["items"][1]["inputs"][0]["unit"] == "Cel"


def test_all_scores_and_windows_go_into_a_table(tmp_path):
    out = tmp_path / "scores.parquet"
    done = run("score", COURSE, "--window", "day+1", "--window", "pre-ld", "--out", str(out))
    assert done.exit_code == 0, done.output
    table = pq.read_table(out)
    assert table.num_rows == 2 * len(score_names(LIB))
    assert set(table["window"].to_pylist()) == {"day+1", "pre-ld"}
    lines = tmp_path / "scores.jsonl"
    assert run("score", COURSE, "--out", str(lines)).exit_code == 0
    assert len(lines.read_text("utf-8").splitlines()) == len(score_names(LIB))


def test_a_person_sees_value_inputs_gaps_and_evidence(monkeypatch):
    monkeypatch.setattr("tocsin.cli.score.is_terminal", lambda: True)
    done = run("score", COURSE, "--score", "hscore", "--at", "2026-03-04T08:00Z")
    for part in ("hscore", "33 to", "not known:", "evidence:", "fever-masked", "never validated", "draft"):
        assert part in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--score", "eassix"), "did you mean `easix`"),
        (("--score", "teachey-2016"), "is not calculated"),
        (("--window", "day+2"), "no window `day+2`"),
        (("--out", "x.txt"), "cannot write"),
    ],
)
def test_bad_usage_is_told_with_the_fix(words, message):
    done = run("score", COURSE, *words)
    assert done.exit_code == 2
    assert message in done.output


def test_scores_are_listed_and_those_left_out_with_the_reason():
    shown = [json.loads(line) for line in run("list", "scores").stdout.splitlines()]
    assert [row["id"] for row in shown] == list(score_names(LIB))
    left = [json.loads(line) for line in run("list", "scores", "--not-implemented").stdout.splitlines()]
    assert {row["id"] for row in left} >= REFUSED
    assert all(row["reason"] for row in left)
    assert run("list", "scales", "--not-implemented").exit_code == 2


def test_a_score_is_explained_as_a_page():
    page = run("explain", "hscore").stdout
    for part in ("2000 to 6000 ng/mL: 35", "| 170 | 54 |", "| 250 | >99 |", "93 % is its sensitivity"):
        assert part in page
    assert "**Not calculated**" in run("explain", "teachey-2016").stdout
    for name in score_names(LIB, None):
        assert run("explain", name).exit_code == 0


def test_an_empty_record_has_no_spans():
    assert over_time([], "easix", LIB) == []
