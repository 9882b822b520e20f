"""Every shelf loads, every example holds; what cannot be trusted says where, what and how to mend it."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

import tocsin.definitions
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import (
    BOUNDS,
    FINDING_WORDS,
    FORMS,
    REFERENCES,
    SHELVES,
    DefinitionError,
    near,
)
from tocsin.grading.batch import grade_table
from tocsin.testing import START, patient

HERE = Path(tocsin.definitions.__file__).parent
ROOT = Path(__file__).resolve().parents[1]
LIB = library()
EXAMPLES = [(scale, example) for scale in LIB.scales for example in LIB.scale(scale).examples]
SCALE = '''
id = "site-scale"
title = "A scale of our own"
source = "lee2019"
locator = "page 1"
status = "draft"
outcome = "crs"

[finding.hot]
measure = "temperature"
at_least = 38.0
unit = "Cel"

[[row]]
grade = 1
all = ["hot"]
'''


def site(folder: Path, text: str = SCALE, path: str = "scales/site-scale.toml") -> Library:
    """The built-in shelves with one file of a site's own on top."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return Library((folder,))


# What is on the shelves -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", LIB.scales)
def test_every_scale_loads_and_shows_an_example(scale):
    """A reader should see at least one patient the scale was made for."""
    loaded = LIB.scale(scale)
    assert loaded.rows
    assert loaded.examples
    assert re.fullmatch(r"[0-9a-f]{64}", LIB.definition_hash(scale))


@pytest.mark.parametrize(("scale", "example"), EXAMPLES,
                         ids=[f"{scale}: {one['name']}" for scale, one in EXAMPLES])
def test_every_example_holds(scale, example):
    """`grade` is the highest the example reaches."""
    assert set(example) == {"name", "given", "grade"}
    rows = grade_table(patient(*example["given"]), scale).to_pylist()
    assert max(row["grade"] for row in rows) == example["grade"]


@pytest.mark.parametrize("shelf", [*SHELVES, "scales", "findings"])
def test_every_file_of_a_shelf_is_its_stem(shelf):
    assert LIB.files(shelf)
    for path in LIB.files(shelf).values():
        assert tomllib.loads(path.read_text("utf-8"))["id"] == path.stem


def test_every_file_of_findings_is_used():
    """By a scale, a complication, guidance, advice or a score; one nobody uses would never be checked."""
    used = {name for scale in LIB.scales for name in LIB.scale(scale).uses}
    assert used <= set(LIB.files("findings"))
    texts = [path.read_text(encoding="utf-8") for shelf in HERE.iterdir() if shelf.name != "findings"
             for path in shelf.glob("*.toml")]
    texts += [path.read_text(encoding="utf-8") for path in HERE.parent.rglob("*.py")]
    said = "\n".join(texts)
    assert [name for name in LIB.files("findings") if name not in used and f'"{name}"' not in said] == []


@pytest.mark.parametrize("scale", LIB.scales)
def test_what_shows_in_an_answer_has_a_title(scale):
    """Findings named by rows are shown as reasons: each is said in words, by itself or by its row."""
    loaded = LIB.scale(scale)
    for row in loaded.rows:
        assert row.title
        for name in (*row.all, *row.any):
            assert loaded.findings[name].title, name


@pytest.mark.parametrize("scale", LIB.scales)
def test_a_row_that_only_keeps_a_grade_open_says_why(scale):
    assert [row.title for row in LIB.scale(scale).rows if row.possible and not row.ambiguous] == []


@pytest.mark.parametrize("scale", LIB.scales)
def test_a_draft_says_what_it_rests_on(scale):
    loaded = LIB.scale(scale)
    assert loaded.status == "checked" or loaded.reading


def test_the_vocabulary_is_closed_small_and_explained():
    """Past about forty words the form would be wrong; each has its meaning in docs/grading.md."""
    text = (ROOT / "docs" / "grading.md").read_text("utf-8")
    plain = {"title", "reading", "source", "locator", "unit", "method"}
    words = {*FORMS, *BOUNDS, *REFERENCES, *FINDING_WORDS} - plain
    assert len(words) <= 40
    assert {word for word in words if not re.search(rf"\b{word}\b", text)} == set()


# A site's own folder ----------------------------------------------------------------------------------------


def test_a_site_adds_a_scale(tmp_path):
    lib = site(tmp_path)
    assert set(lib.scales) == {*LIB.scales, "site-scale"}
    answer = grade_table(patient("0 h temperature 38.0 Cel"), "site-scale", lib=lib).to_pylist()
    assert answer[0]["grade"] == 1
    assert answer[0]["definition"] == lib.definition_hash("site-scale")


def test_a_site_overrides_a_measure_and_the_hash_says_so(tmp_path):
    """A ward that charts every 4 h lets a temperature stand 4 h: other answers, another hash."""
    text = (HERE / "measures" / "temperature.toml").read_text("utf-8")
    text = text.replace("hold_hours    = 8.0", "hold_hours = 4.0")
    lib = site(tmp_path, text, "measures/temperature.toml")
    assert lib.measure("temperature").hold_hours == 4.0
    assert lib.definition_hash("astct-2019") != LIB.definition_hash("astct-2019")
    assert lib.definition_hash("icans-astct-2019") == LIB.definition_hash("icans-astct-2019")
    rows = grade_table(patient("0 h temperature 36.8 Cel", "0 h spo2 97 %"), "astct-2019",
                       lib=lib).to_pylist()
    assert rows[0]["end"] == START + timedelta(hours=4)


@pytest.mark.parametrize(
    ("shelf", "name", "changed", "same"),
    [
        ("findings", "fever", "astct-2019", "icans-astct-2019"),
        ("findings", "vasopressor-doses-lee", "lee-2014", "mskcc-2018"),
        ("measures", "creatinine", "cartox-2018", "astct-2019"),
        ("drugs", "tocilizumab", "astct-2019", "lee-2014"),
        ("scales", "astct-2019", "astct-2019", "lee-2014"),
    ],
)
def test_the_hash_changes_with_every_file_that_matters_and_no_other(tmp_path, shelf, name, changed, same):
    text = (HERE / shelf / f"{name}.toml").read_text("utf-8") + "\n# changed\n"
    lib = site(tmp_path, text, f"{shelf}/{name}.toml")
    assert lib.definition_hash(changed) != LIB.definition_hash(changed)
    assert lib.definition_hash(same) == LIB.definition_hash(same)


def test_a_site_overrides_a_threshold(tmp_path):
    text = (HERE / "findings" / "fever.toml").read_text("utf-8")
    text = text.replace("at_least     = 38.0", "at_least     = 38.3")
    lib = site(tmp_path, text, "findings/fever.toml")
    charted = patient("0 h temperature 38.2 Cel")
    assert grade_table(charted, "astct-2019", lib=lib)["grade"][0].as_py() == 0
    assert grade_table(charted, "astct-2019")["grade"][0].as_py() == 1


def test_a_new_drug_of_a_class_counts_without_another_change(tmp_path):
    """One TOML file adds an antipyretic, and the latch knows it."""
    text = (
        'id = "naproxen"\ntitle = "Naproxen"\nstatus = "draft"\nkind = "event"\n'
        'class = ["antipyretic"]\nhold_hours = 24\nreading = "Ours."\n'
    )
    lib = site(tmp_path, text, "drugs/naproxen.toml")
    lines = ("0 h temperature 39 Cel", "2 h naproxen", "26 h temperature 36.8 Cel",
             "26 h norepinephrine 0.1 ug/kg/min")
    assert max(grade_table(patient(*lines, lib=lib), "astct-2019", lib=lib)["grade"].to_pylist()) == 3


# Errors: where, what, the near miss, the fix ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('at_least = 38.0', 'at_lest = 38.0',
         ["finding `hot`", "unknown key `at_lest`", "did you mean `at_least`?", "fix:"]),
        ('measure = "temperature"', 'measure = "temperatur"',
         ["`temperatur`", "did you mean `temperature`?"]),
        ('all = ["hot"]', 'all = ["hit"]', ["names `hit`", "did you mean `hot`?"]),
        ('grade = 1\n', 'grade = 7\n', ["row 1", "`grade`", "from 1 to 4"]),
        ('grade = 1\n', 'grad = 1\n', ["row 1", "`grad`", "did you mean `grade`?"]),
        ('grade = 1\n', 'grade = 1.5\n', ["row 1", "`grade`"]),
        ('grade = 1\n', 'grade = true\n', ["row 1", "`grade`"]),
        ('all = ["hot"]', 'none = ["hot"]', ["row 1", "both empty"]),
        ('all = ["hot"]', 'all = [1]', ["row 1", "not a list of names"]),
        ('at_least = 38.0', 'at_least = 38.0\nbelow = 43', ["finding `hot`", "second bound"]),
        ('at_least = 38.0', 'at_least = "hot"', ["finding `hot`", "not a number"]),
        ('at_least = 38.0\n', '', ["finding `hot`", "no bound"]),
        ('at_least = 38.0', 'at_least = 38.0\nif_missing = "no"',
         ["finding `hot`", "`if_missing`", "needs a `reading`"]),
        ('at_least = 38.0', 'at_least = 38.0\nif_missing = "nope"',
         ["`if_missing`", "`nope`", "one of: unknown, no, yes"]),
        ('at_least = 38.0', 'at_least = 38.0\nwithin_hours = 4\nfor_hours = 2', ["second memory"]),
        ('at_least = 38.0', 'at_least = 38.0\nor_with = ["hot"]', ["`or_with`", "confirmed_within_hours"]),
        ('at_least = 38.0', 'times_uln = 3', ["`times_uln`", "not a bound"]),
        ('at_least = 38.0', 'times_uln = { abov = 3 }', ["unknown key `abov`", "did you mean `above`?"]),
        ('measure = "temperature"\nat_least = 38.0\nunit = "Cel"', 'title = "nothing"', ["says nothing"]),
        ('measure = "temperature"\nat_least = 38.0\nunit = "Cel"', 'given = ["antipyretik"]',
         ["no class of drug", "did you mean `antipyretic`?"]),
        ('measure = "temperature"\nat_least = 38.0\nunit = "Cel"', 'ever = ["tocilizumab"]',
         ["needs `after`"]),
        ('measure = "temperature"\nat_least = 38.0\nunit = "Cel"', 'charted = ["spo2"]',
         ["needs `within_hours`"]),
        ('measure = "temperature"\nat_least = 38.0\nunit = "Cel"',
         'measure = "oxygen-device"\none_of = ["bi-pap"]',
         ["no word of `oxygen-device`", "did you mean `bipap`?"]),
        ('outcome = "crs"', 'outcome = "csr"', ["`outcome`", "did you mean `crs`?"]),
        ('outcome = "crs"\n', '', ["`outcome` is missing"]),
        ('status = "draft"', 'status = "drafty"', ["`status`", "did you mean `draft`?"]),
        ('locator = "page 1"', 'locater = "page 1"', ["unknown key `locater`", "did you mean `locator`?"]),
        ('outcome = "crs"', 'outcome = "crs"\nuse = ["fevr"]', ["`use`", "did you mean `fever`?"]),
        ('id = "site-scale"', 'id = "scale-site"', ["`id` is 'scale-site'", "the file's stem"]),
        ('title = "A scale', 'title = A scale', ["not TOML", "line 3"]),
        ('[[row]]\ngrade = 1\nall = ["hot"]', '', ["no [[row]]"]),
        ('[[row]]', '[flag]\nwarm = "hott"\n\n[[row]]', ["names `hott`", "did you mean `hot`?"]),
        ('[[row]]', '[[judgement]]\nid = "a"\ngrade = 2\nasks = "b"\nwhen = "hott"\n\n[[row]]',
         ["names `hott`", "did you mean `hot`?"]),
    ],
)
def test_a_definition_that_cannot_be_trusted_is_refused(tmp_path, old, new, said):
    """Nothing is graded with it, and whoever wrote it can mend it from the message."""
    assert old in SCALE
    lib = site(tmp_path, SCALE.replace(old, new))
    with pytest.raises(DefinitionError) as error:
        lib.scale("site-scale")
    text = str(error.value)
    assert "site-scale.toml" in text
    assert [part for part in said if part not in text] == [], text


@pytest.mark.parametrize("circle", [["hot"], ["warm", "hot"]])
def test_a_finding_may_not_rest_on_itself(tmp_path, circle):
    names = ["hot", *circle]
    findings = "\n".join(
        f'[finding.{name}]\nall = ["{other}"]\n' for name, other in pairwise(names)
    )
    text = SCALE.replace(SCALE[SCALE.index("[finding.hot]"):SCALE.index("[[row]]")], findings)
    with pytest.raises(DefinitionError, match=r"rests on itself \(hot -> .*hot\)"):
        site(tmp_path, text).scale("site-scale")


def test_two_findings_of_one_name_are_refused(tmp_path):
    """One from a file it uses, one of its own: which is meant would be chance."""
    text = SCALE.replace('outcome = "crs"', 'outcome = "crs"\nuse = ["fever"]')
    text = text.replace("finding.hot", "finding.fever").replace('"hot"', '"fever"')
    with pytest.raises(DefinitionError, match=r"already defined in .*fever\.toml"):
        site(tmp_path, text).scale("site-scale")


def test_one_id_twice_in_a_sites_folder_is_refused(tmp_path):
    text = 'id = "mesna"\ntitle = "Mesna"\nstatus = "draft"\nkind = "event"\n'
    site(tmp_path, text, "drugs/mesna.toml")
    with pytest.raises(DefinitionError, match=r"`mesna` is already defined in .*drugs/mesna\.toml"):
        site(tmp_path, text, "symptoms/mesna.toml")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DefinitionError, match="no such folder"):
        Library((tmp_path / "nowhere",))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "number"', 'kind = "numbr"', "did you mean `number`?"),
        ('hold_hours', 'hold_hour', "did you mean `hold_hours`?"),
        ('worse = "high"', 'worse = "hi"', "did you mean `high`?"),
        ('attribution = "organ"', 'attribution = "organs"', "did you mean `organ`?"),
        ('at_least = 0', 'at_lest = 0', "did you mean `at_least`?"),
        ('hold_hours = 24', 'hold_hours = "24"', "not a number"),
        ('title = "Cystatin C"\n', '', "`title` is missing"),
        ('id = "cystatin-c"', 'id = "cystatin"', "the id is the file's stem"),
    ],
)
def test_a_measure_that_cannot_be_trusted_is_refused(tmp_path, old, new, said):
    text = '''id = "cystatin-c"
title = "Cystatin C"
status = "draft"
kind = "number"
unit = "mg/L"
worse = "high"
attribution = "organ"
hold_hours = 24
plausible = { at_least = 0, at_most = 20 }
'''
    assert old in text
    assert site(tmp_path, text, "measures/cystatin-c.toml").measure("cystatin-c").unit == "mg/L"
    with pytest.raises(DefinitionError) as error:
        site(tmp_path, text.replace(old, new), "measures/cystatin-c.toml").measure("cystatin-c")
    assert said in str(error.value)
    assert "cystatin-c.toml" in str(error.value)


@pytest.mark.parametrize(
    ("ask", "wanted"),
    [(lambda: LIB.measure("temprature"), "did you mean `temperature`?"),
     (lambda: LIB.scale("astct"), "did you mean `astct-2019`?"),
     (lambda: LIB.scale("lee2014"), "did you mean `lee-2014`?"),
     (lambda: LIB.measure("levophed"), "no measure `levophed`")],
)
def test_an_unknown_name_is_answered_with_the_near_one(ask, wanted):
    with pytest.raises(DefinitionError) as error:
        ask()
    assert wanted in str(error.value)


def test_nothing_near_is_nothing_said():
    assert near("xyz", ["temperature"]) == ""


HOT = 'measure = "temperature"\nat_least = 38.0\nunit = "Cel"'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (HOT, f'{HOT}\ngiven = ["tocilizumab"]', "`given` means nothing beside `measure`"),
        (HOT, f'{HOT}\nall = ["hot"]', "`all` means nothing beside `measure`"),
        (HOT, 'all = ["a"]\nat_least = 2', "`at_least` means nothing beside `all`"),
        (HOT, 'charted = ["spo2"]\nwithin_hours = 2\nat_least = 2', "`at_least` means nothing"),
        (HOT, f"{HOT}\nbridge_hours = 2", "`bridge_hours` needs `for_hours`"),
        (HOT, f'{HOT}\nuntil_then = "possible"', "`until_then` needs `for_hours`"),
        (HOT, 'given = ["tocilizumab"]\nat_least = 2', "`at_least` needs `within_hours`"),
        (HOT, 'measure = "alt"\ntimes_uln = { above = 2 }\ntimes_lln = { below = 1 }', "second comparison"),
        (HOT, 'measure = "oxygen-device"\nat_least = 3', "holds words, not numbers"),
        (HOT, 'measure = "chills"\nat_least = 1', "no value to compare"),
        (HOT, 'measure = "temperature"\none_of = ["hot"]', "`temperature` has none"),
        (HOT, 'measure = "temperature"\nbelow = "age-limit"', "no [[limit]] by age"),
        ("38.0", "nan", "not a number"),
        ('\nunit = "Cel"', "", "has no `unit`"),
        ('unit = "Cel"', 'unit = "Cel"\nwithin_hours = 0', "`within_hours` is 0.0"),
        ('unit = "Cel"', 'unit = "Cel"\nhold_hours = -4', "`hold_hours` is -4.0"),
        ('unit = "Cel"', 'unit = "Cel"\nmethod = "corre"', "did you mean `core`?"),
        ('outcome = "crs"', 'outcome = "crs"\nfatal = "csr"', "did you mean `crs`?"),
        ("[[row]]", '[finding.cold]\nmeasure = "temprature"\nbelow = 36\n\n[[row]]',
         "did you mean `temperature`?"),
        ("[[row]]", '[flag]\nwarm = ["hot"]\n\n[[row]]', "not the name of a finding"),
        ("[[row]]", '[[judgement]]\nid = "a"\nasks = "b"\nwhen = "hot"\n\n[[row]]', "1 to 4"),
        ("[[row]]", '[[example]]\nname = "a"\ngivn = []\ngrade = 1\n\n[[row]]', "did you mean `given`?"),
        (f"[finding.hot]\n{HOT}", "[finding]\nhot = 3", "not a table"),
    ],
)
def test_a_word_that_would_mean_nothing_is_refused(tmp_path, old, new, said):
    """Silently dropped, it would leave a rule weaker than its author believes."""
    assert old in SCALE
    with pytest.raises(DefinitionError) as error:
        site(tmp_path, SCALE.replace(old, new)).scale("site-scale")
    assert said in str(error.value)
    assert "site-scale.toml" in str(error.value)


@pytest.mark.parametrize("unit", ["Cle", "mm[Hg]", "[degF]"])
def test_a_bound_is_stated_in_the_unit_the_measure_is_kept_in(tmp_path, unit):
    """100.4 [degF] would otherwise be compared with degrees Celsius."""
    lib = site(tmp_path, SCALE.replace('unit = "Cel"', f'unit = "{unit}"'))
    with pytest.raises(DefinitionError, match="state the bound in `Cel`"):
        grade_table(patient("0 h temperature 38 Cel"), "site-scale", lib=lib)


@pytest.mark.parametrize("text", ["\ufeff" + SCALE, SCALE.replace("\n", "\r\n")])
def test_a_file_saved_by_a_windows_editor_is_read(tmp_path, text):
    assert site(tmp_path, text).scale("site-scale").rows
