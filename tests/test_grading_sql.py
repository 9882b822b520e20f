"""Grading through SQL: every word of the vocabulary, one small scale each, held to the oracle.

The published scales are compared in test_agreement.py. Here each word is alone, so that a failure names it,
and words stand in uses that no published scale needs yet. PostgreSQL is asked where `TOCSIN_TEST_POSTGRES`
names one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import oracle
import tables
from tocsin.definitions.load import Library, library

ibis = pytest.importorskip("ibis", reason="ibis is not installed: pip install 'tocsin[sql]'")

from tocsin.grading import sql  # noqa: E402 - needs ibis

#: One finding `x` each, with what it rests on: the words that read values.
READING = {
    "bound": 'x = { measure = "temperature", at_least = 38.0, unit = "Cel" }',
    "at_most": 'x = { measure = "spo2", at_most = 90, unit = "%" }',
    "one_of": 'x = { measure = "oxygen-device", one_of = ["nasal-cannula", "cpap", "ventilator"] }',
    "held_with": """x = { measure = "oxygen-flow", above = 6, unit = "L/min",
        if_missing = "yes", reading = "r" }""",
    "method and hold": """x = { measure = "systolic-bp", method = "arterial", below = 90, unit = "mm[Hg]",
        hold_hours = 1 }""",
    "infusion": 'x = { measure = "norepinephrine", above = 0 }',
    "infusion below": """x = { measure = "dopamine", below = 10, unit = "ug/kg/min",
        if_missing = "no", reading = "r" }""",
    "unit by weight": 'x = { measure = "norepinephrine", at_least = 20, unit = "ug/min" }',
    "weighted_sum": """x = { at_least = 20, weighted_sum = [
        { measure = "norepinephrine", unit = "ug/min", weight = 1 },
        { measure = "dopamine", unit = "ug/kg2/min", weight = 0.5 }] }""",
    "within_hours and spike": """x = { measure = "temperature", at_least = 38.0, unit = "Cel",
        within_hours = 24 }""",
    "within_hours, low": 'x = { measure = "systolic-bp", below = 90, unit = "mm[Hg]", within_hours = 4 }',
    "age-limit": 'x = { measure = "systolic-bp", below = "age-limit" }',
    "age-limit within": 'x = { measure = "mean-bp", below = "age-limit", within_hours = 2 }',
    "times_uln": 'x = { measure = "alt", times_uln = { above = 3 }, new_since_baseline = true }',
    "times_lln": 'x = { measure = "fibrinogen", times_lln = { below = 0.75 } }',
    "times_baseline": 'x = { measure = "creatinine", times_baseline = { above = 1.5 } }',
    "drop_from_baseline": """x = { measure = "lvef", drop_from_baseline = { at_least = 10 },
        if_missing = "no", reading = "r" }""",
    "percent_drop": 'x = { measure = "fibrinogen", percent_drop_from_baseline = { at_least = 25 } }',
    "worse, a number": 'x = { measure = "oxygen-flow", worse_than_baseline = true }',
    "worse, low": 'x = { measure = "systolic-bp", worse_than_baseline = true }',
    "worse, a word": """x = { measure = "oxygen-device", worse_than_baseline = true,
        if_missing = "yes", reading = "r" }""",
    "new word": 'x = { measure = "oxygen-device", one_of = ["cpap", "bipap"], new_since_baseline = true }',
}
LOW = 'low = { measure = "mean-bp", below = 65, unit = "mm[Hg]" }'
BOLUS = 'bolus = { given = ["fluid-bolus"], within_hours = 8 }'
HOT = 'hot = { measure = "temperature", at_least = 38.0, unit = "Cel", within_hours = 24 }'
NE = 'ne = { measure = "norepinephrine", above = 0 }'
EPI = 'epi = { measure = "epinephrine", above = 0 }'
#: The words that read events, combine, or remember.
REST = {
    "given": 'x = { given = ["fluid-bolus"] }',
    "given within": 'x = { given = ["fluid-bolus"], within_hours = 24, at_least = 3 }',
    "given, one_of": 'x = { given = ["fluid-bolus"], one_of = ["hypotension"], within_hours = 8 }',
    "given without limit": 'x = { given = ["sleep-apnea"] }',
    "given push": 'x = { given = ["vasopressor"], one_of = ["push"], within_hours = 8 }',
    "given, two kinds": 'x = { given = ["fluid-bolus", "tocilizumab", "norepinephrine"], within_hours = 8 }',
    "charted": 'c = { charted = ["spo2", "oxygen-device"], within_hours = 8 }\nx = { all = ["c"] }',
    "all any none": f"""{LOW}\n{NE}\n{HOT}\n{BOLUS}
        x = {{ all = ["hot"], any = ["low", "bolus"], none = ["ne"] }}""",
    "count_of": f'{LOW}\n{NE}\n{EPI}\nx = {{ count_of = ["low", "ne", "epi"], at_least = 2 }}',
    "first_known": f"""{LOW}
        art = {{ measure = "systolic-bp", method = "arterial", below = 90, unit = "mm[Hg]", hold_hours = 1 }}
        sys = {{ measure = "systolic-bp", below = 90, unit = "mm[Hg]" }}
        x = {{ first_known = ["art", "sys", "low"] }}""",
    "for_hours": f'{NE}\n{EPI}\nx = {{ any = ["ne", "epi"], for_hours = 3, bridge_hours = 0.25 }}',
    "until_then": f'{NE}\n{EPI}\nx = {{ all = ["ne", "epi"], for_hours = 1, until_then = "possible" }}',
    "within_hours on a combination": f'{NE}\n{LOW}\nx = {{ any = ["low"], none = ["ne"], within_hours = 4 }}',
    "confirmed": f"""{BOLUS}
        x = {{ measure = "mean-bp", below = 65, unit = "mm[Hg]", confirmed_within_hours = 0.5,
        or_with = ["bolus"] }}""",
    "confirmed combination": f"""{LOW}\n{NE}
        sys = {{ measure = "systolic-bp", below = 90, unit = "mm[Hg]" }}
        x = {{ any = ["low", "sys"], confirmed_within_hours = 1, or_with = ["ne"] }}""",
    "ever": f"""{HOT}\n{LOW}\n{NE}
        signs = {{ any = ["hot", "low", "ne"] }}
        x = {{ ever = ["antipyretic"], after = "hot", until_quiet = "signs", quiet_hours = 24 }}""",
    "memory of memory": """slow = { measure = "heart-rate", below = 60, unit = "/min" }
        firm = { all = ["slow"], confirmed_within_hours = 0.5 }
        long = { all = ["firm"], for_hours = 1, bridge_hours = 1 }
        x = { all = ["long"], within_hours = 6 }""",
}
WORDS = {**READING, **REST}
HEAD = """id = "{id}"
title = "One word"
source = "lee2019"
locator = "none"
status = "checked"
outcome = "crs"
fatal = "crs"
"""


def written(folder: Path, name: str, findings: str, rows: str = '[[row]]\ngrade = 2\nany = ["x"]\n') -> None:
    """Write a scale of one word into a site's folder."""
    shelf = folder / "scales"
    shelf.mkdir(parents=True, exist_ok=True)
    text = f"{HEAD.format(id=name)}\n[finding]\n{findings}\n\n{rows}"
    # A TOML inline table stays on one line.
    lines = [line.strip() for line in text.splitlines()]
    joined: list[str] = []
    for line in lines:
        if joined and joined[-1].count("{") > joined[-1].count("}"):
            joined[-1] += " " + line
        else:
            joined.append(line)
    (shelf / f"{name}.toml").write_text("\n".join(joined), encoding="utf-8")


def slug(word: str) -> str:
    return "only-" + "".join(letter if letter.isalnum() else "-" for letter in word)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The library with one scale for each word."""
    folder = tmp_path_factory.mktemp("site")
    for word, findings in WORDS.items():
        written(folder, slug(word), findings)
    written(
        folder, "open-rows", f'{LOW}\n{NE}\n{HOT}\nseen = {{ charted = ["spo2"], within_hours = 48 }}',
        '[[row]]\ngrade = 1\nany = ["hot", "seen"]\n[[row]]\ngrade = 2\nany = ["low"]\nambiguous = "w"\n'
        '[[row]]\ngrade = 2\nall = ["hot"]\nany = ["ne"]\n[[row]]\ngrade = 4\nany = ["ne"]\npossible = true\n'
        'ambiguous = "w"\n[[row]]\ngrade = 3\nany = ["low"]\nnone = ["hot"]\n',
    )
    written(folder, "counts-above", f'{LOW}\n{NE}\nx = {{ count_of = ["low", "ne"], above = 1 }}')
    mixed = 'x = { given = ["fluid-bolus", "tocilizumab"], within_hours = 8, at_least = 2 }'
    written(folder, "two-kinds", mixed)
    return library((folder,))


@pytest.fixture(scope="module")
def duck() -> Iterator[Any]:
    con = ibis.duckdb.connect()
    # A session in another time zone must change nothing.
    con.raw_sql("SET TimeZone = 'America/St_Johns'")
    yield con
    con.disconnect()


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Any]:
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'tocsin[postgres]'")
    con = ibis.connect(postgres_url)
    yield con
    con.disconnect()


def drawn(scale: str, lib: Library, seeds: range, patients: int = 20) -> pa.Table:
    """Random patients of several seeds as one table."""
    # The maker adds devices to every patient; a scale of one word need not know them.
    tables.palette((scale,), lib).facts.setdefault("oxygen-device", [{"text": "cpap"}])
    parts = []
    for seed in seeds:
        part = tables.random_table(seed, (scale,), patients, 22, lib)
        names = pa.array([f"{seed}-{name}" for name in part["patient_id"].to_pylist()])
        parts.append(part.set_column(part.schema.get_field_index("patient_id"), "patient_id", names))
    return pa.concat_tables(parts)


_tables = iter(range(10**6))


def asked(con: Any, facts: pa.Table, scale: str, lib: Library, **options: Any) -> list[tuple[Any, ...]]:
    """What SQL says, as (patient, start, end, grade, up_to, ambiguous)."""
    name = f"facts_{next(_tables)}"
    # As a memtable: handing the Arrow table over directly breaks on DuckDB 2.
    table = con.create_table(name, ibis.memtable(facts), temp=True)
    rows = sql.grade(con, table, lib.scale(scale), lib, **options).to_pylist()
    return [tuple(row[key] for key in row if key != "scale") for row in rows]


def expected(facts: pa.Table, scale: str, lib: Library, **options: Any) -> list[tuple[Any, ...]]:
    """What the oracle says, equal neighbours joined."""
    out: list[tuple[Any, ...]] = []
    for row in oracle.grade(facts, lib.scale(scale), lib, **options):
        who, start, end, *shown = row[:6]
        if out and out[-1][0] == who and out[-1][2] == start and list(out[-1][3:]) == shown:
            start = out.pop()[1]
        out.append((who, start, end, *shown))
    return out


def agree(facts: pa.Table, told: list[tuple[Any, ...]], wanted: list[tuple[Any, ...]]) -> None:
    """Fail with the first patient who differs, his facts and both answers."""
    different = sorted({row[0] for row in {*told} ^ {*wanted}})
    if not different:
        return
    who = different[0]
    charted = "\n".join(f"  {fact}" for fact in tables.facts_of(facts) if fact["patient_id"] == who)

    def lines(rows: list[tuple[Any, ...]]) -> str:
        hours = timedelta(hours=1)
        return "\n".join(
            "  " + str([(v - tables.ORIGIN) / hours if isinstance(v, datetime) else v for v in row[1:]])
            for row in rows if row[0] == who
        )

    pytest.fail(
        f"{len(different)} patients differ; {who}:\n{charted}\nsql:\n{lines(told)}\noracle:\n{lines(wanted)}",
        pytrace=False,
    )


@pytest.mark.parametrize("word", WORDS)
def test_sql_says_the_word_as_the_oracle_does(word, site, duck):
    facts = drawn(slug(word), site, range(3))
    wanted = expected(facts, slug(word), site)
    assert len({row[3:5] for row in wanted}) > 1, "the random table never touches the word"
    agree(facts, asked(duck, facts, slug(word), site), wanted)


def test_possible_and_ambiguous_rows(site, duck):
    facts = drawn("open-rows", site, range(4))
    wanted = expected(facts, "open-rows", site)
    assert {row[5] for row in wanted} == {False, True}
    agree(facts, asked(duck, facts, "open-rows", site), wanted)


@pytest.mark.parametrize("hours", [0, 20, 60])
@pytest.mark.parametrize("option", ["until", "as_of"])
def test_cuts_agree_with_the_oracle(option, hours, site, duck):
    """A cut in the middle of things, and what was known by then."""
    scale = slug("confirmed combination")
    facts = drawn(scale, site, range(5, 7))
    moment = {option: tables.ORIGIN + timedelta(hours=hours)}
    agree(facts, asked(duck, facts, scale, site, **moment), expected(facts, scale, site, **moment))


def test_a_patient_is_graded_as_the_table_says(duck):
    """Fever, a pressor from hour 2, its end at hour 5: grade 1, 3 and, while fever counts, 1 again."""
    lib = library()
    facts = tables.table([
        {"patient_id": "p", "measure": "temperature", "value": 39.0, "at": 0},
        {"patient_id": "p", "measure": "norepinephrine", "value": 0.1, "at": 8, "until": 20},
    ])
    rows = asked(duck, facts, "astct-2019", lib)
    hours = [((start - tables.ORIGIN) / timedelta(hours=1), grade) for _, start, _, grade, _, _ in rows]
    assert hours == [(0, 1), (2, 3), (5, 1), (24, 0)]
    assert rows[-1][2] is not None


def test_instants_are_exact_to_the_microsecond(site, duck):
    """A time with microseconds comes back as it went in, whatever zone the session is in."""
    instant = datetime(2026, 7, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    facts = tables.table([{"patient_id": "p", "measure": "temperature", "value": 39.0, "at": 0}])
    place = facts.schema.get_field_index("time")
    field = facts.schema.field(place)
    facts = facts.set_column(place, field, pa.array([instant], field.type))
    rows = asked(duck, facts, slug("bound"), site)
    assert rows[0][1] == instant


def test_nothing_is_left_behind(site, duck):
    """The tables of a run are dropped, also when the scale is refused half-way."""
    facts = drawn("counts-above", site, range(1), 3)
    with pytest.raises(sql.SqlCannotSay):
        asked(duck, facts, "counts-above", site)
    assert asked(duck, facts, slug("given"), site)
    left = duck.raw_sql("SELECT table_name FROM information_schema.tables").fetchall()
    assert not [name for (name,) in left if name.startswith("tocsin_")]


@pytest.mark.parametrize(
    ("scale", "word"), [("counts-above", "count_of above"), ("two-kinds", "given")]
)
def test_a_word_sql_cannot_say_is_refused_by_name(scale, word, site, duck):
    facts = drawn(scale, site, range(1), 3)
    with pytest.raises(sql.SqlCannotSay, match=rf"`{scale}`, finding `x`: SQL cannot say `{word}"):
        asked(duck, facts, scale, site)


def test_an_engine_nobody_tried_is_refused(site):
    """Compiling for an engine is not running in it."""
    con = ibis.sqlite.connect()
    floats = dict.fromkeys(("value", "ref_low", "ref_high", "weight"), "float64")
    kinds = {"time": "timestamp", "end": "timestamp", **floats}
    facts = ibis.table(dict.fromkeys(tables.SCHEMA.names, "string") | kinds)
    with pytest.raises(sql.SqlCannotSay, match="the SQL engine `sqlite` has not been tried"):
        sql.grade(con, facts, site.scale(slug("bound")), site)


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["astct-2019", "lee-2014", "icans-astct-2019"])
def test_postgres_says_what_the_oracle_says(scale, postgres):
    lib = library()
    facts = drawn(scale, lib, range(40, 43))
    agree(facts, asked(postgres, facts, scale, lib), expected(facts, scale, lib))


@pytest.mark.slow
@pytest.mark.parametrize("word", WORDS)
def test_postgres_says_the_word_too(word, site, postgres):
    facts = drawn(slug(word), site, range(3))
    agree(facts, asked(postgres, facts, slug(word), site), expected(facts, slug(word), site))
