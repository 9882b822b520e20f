"""One meaning, four writings: the oracle, the machine (plain and compiled), the live machine, and SQL.

Random tables on a grid of quarter hours, complete rows compared. `TOCSIN_RANDOM_TABLES` says how many tables
of three patients each scale gets; a failure names its seed and prints the patient's facts. SQL plans take
seconds a scale, so by default a few scales that use every shared finding stand for all; from 12 tables on SQL
runs under every scale.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import oracle
import tables
from tocsin.definitions.load import library
from tocsin.facts import resolve
from tocsin.grading.batch import grade

LIB = library()
COUNT = int(os.environ.get("TOCSIN_RANDOM_TABLES", "8"))
FEW = ("astct-2019", "ctcae-6.0", "icans-astct-2019", "lee-2014", "penn-2018")
SQL_SCALES = LIB.scales if COUNT >= 12 else FEW
SHOWN = ("patient_id", "start", "end", "grade", "up_to", "ambiguous")
SAID = ("because", "waiting_for", "judgement")
Answer = tuple[Any, ...]


def patients_of(seed: int, scale: str) -> list[list[tables.Fact]]:
    """Three random patients, named by their seed."""
    rng = np.random.default_rng(seed)
    pal = tables.palette((scale,))
    return [tables.random_facts(rng, pal, f"{seed:06}-{k}", 22) for k in range(3)]


def drawn(scale: str, count: int, first: int = 0) -> pa.Table:
    """`count` random tables as one."""
    seeds = range(first, first + count)
    return tables.table([fact for seed in seeds for facts in patients_of(seed, scale) for fact in facts])


def answers(graded: Iterable[pa.Table]) -> list[Answer]:
    """Interval tables as sorted tuples, in the oracle's form."""
    rows = [row for part in graded for row in part.to_pylist()]
    found = [
        (*(row[name] for name in SHOWN), *(tuple(row[name]) for name in SAID), tuple(sorted(row["flags"])))
        for row in rows
    ]
    return sorted(found, key=lambda row: (row[0], row[1]))


def by_batch(engine: str) -> Callable[..., list[Answer]]:
    def graded(facts: pa.Table, scale: str, **options: Any) -> list[Answer]:
        return answers(grade(facts, [scale], lib=LIB, engine=engine, **options))

    return graded


def by_live(facts: pa.Table, scale: str) -> list[Answer]:
    """Fact by fact, as they would have come in; corrections are done before."""
    from tocsin.grading.live import Live

    live = Live([scale], lib=LIB)
    rows = resolve(facts).to_pylist()
    for row in sorted(rows, key=lambda row: row["time"]):
        live.add(row)
    return answers(live.intervals(who) for who in sorted({row["patient_id"] for row in rows}))


def by_oracle(facts: pa.Table, scale: str, **options: Any) -> list[Answer]:
    return oracle.grade(facts, LIB.scale(scale), LIB, **options)


def by_sql(facts: pa.Table, scale: str) -> list[Answer]:
    """(patient, start, end, grade, up_to, ambiguous), executed by DuckDB; skipped where SQL cannot say it."""
    ibis = pytest.importorskip("ibis")
    from tocsin.grading import sql

    con = ibis.duckdb.connect()
    try:
        con.con.register("arrow_facts", resolve(facts))  # Ibis's own `create_table` breaks on DuckDB 2
        con.raw_sql("create table facts as select * from arrow_facts")
        graded = sql.grade(con, con.table("facts"), LIB.scale(scale), LIB)
    except sql.SqlCannotSay as refusal:
        pytest.skip(str(refusal))
    finally:
        con.disconnect()
    return [tuple(row[name] for name in SHOWN) for row in graded.to_pylist()]


def shown(rows: Iterable[Answer]) -> list[Answer]:
    """Rows with their reasons left out and equal neighbours joined."""
    out: list[Answer] = []
    for row in rows:
        who, start, end, *state = row[: len(SHOWN)]
        if out and out[-1][0] == who and out[-1][2] == start and list(out[-1][3:]) == state:
            start = out.pop()[1]
        out.append((who, start, end, *state))
    return out


def same(facts: pa.Table, one: list[Answer], other: list[Answer], names: tuple[str, str]) -> None:
    """Fail with the first patient whose rows differ: the facts and what each side says about them."""
    if one == other:
        return
    different = sorted({row[0] for row in set(one) ^ set(other)})
    who = different[0]

    def lines(rows: Iterable[Answer], but: Iterable[Answer]) -> str:
        left = set(but)
        return "\n".join(f"  {hours(row)}" for row in rows if row[0] == who and row not in left)

    charted = "\n".join(f"  {fact}" for fact in tables.facts_of(facts) if fact["patient_id"] == who)
    pytest.fail(
        f"{len(different)} patients differ; {who}, times in hours:\n{charted}\n"
        f"{names[0]}:\n{lines(one, other)}\n{names[1]}:\n{lines(other, one)}",
        pytrace=False,
    )


def hours(row: Answer) -> Answer:
    """A row without its patient, times as hours from the tables' origin."""
    return tuple(
        (value - tables.ORIGIN) / timedelta(hours=1) if isinstance(value, datetime) else value
        for value in row[1:]
    )


@pytest.fixture(scope="module", params=LIB.scales)
def judged(request: pytest.FixtureRequest) -> tuple[str, pa.Table, list[Answer]]:
    """A scale, its random table and what the oracle says."""
    facts = drawn(request.param, COUNT)
    return request.param, facts, by_oracle(facts, request.param)


@pytest.mark.slow
class TestAgreement:
    """Each writing against the oracle, scale by scale."""

    def test_the_machine_says_what_the_oracle_says(self, judged):
        scale, facts, expected = judged
        same(facts, by_batch("python")(facts, scale), expected, ("machine", "oracle"))

    def test_the_compiled_machine_says_what_the_oracle_says(self, judged):
        scale, facts, expected = judged
        same(facts, by_batch("numba")(facts, scale), expected, ("numba", "oracle"))

    def test_the_live_machine_says_what_the_oracle_says(self, judged):
        scale, facts, expected = judged
        same(facts, by_live(facts, scale), expected, ("live", "oracle"))

    def test_cut_and_known_by_answers_agree(self, judged):
        """`until` and `as_of`, at an instant where something happens."""
        scale = judged[0]
        for seed in range(min(COUNT, 3)):
            some = tables.table([fact for one in patients_of(seed, scale) for fact in one])
            times = some["time"].to_pylist()
            for moment in (times[len(times) // 2], times[-1] + timedelta(hours=30)):
                for option in ({"until": moment}, {"as_of": moment}):
                    told = by_batch("python")(some, scale, **option)
                    same(some, told, by_oracle(some, scale, **option), (f"machine, {option}", "oracle"))


@pytest.mark.slow
@pytest.mark.parametrize("scale", SQL_SCALES)
def test_sql_says_what_the_oracle_says(scale):
    """Equal in start, end, grade, up_to and ambiguous; other patients than above."""
    facts = drawn(scale, COUNT, first=100_000)
    same(facts, shown(by_sql(facts, scale)), shown(by_oracle(facts, scale)), ("sql", "oracle"))


@pytest.mark.slow
def test_random_tables_reach_every_grade():
    """Agreement on nothing but grade 0 would show nothing."""
    reached = {row[3:5] for row in by_oracle(drawn("astct-2019", 25), "astct-2019")}
    assert {pair[0] for pair in reached} == {0, 1, 2, 3, 4, 5}
    assert {pair[1] for pair in reached} >= {1, 2, 3, 4, 5}
