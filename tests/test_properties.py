"""What must hold for any facts, on the real engine: sets, shifts, splits, and no rewriting of the past."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tables
from test_agreement import LIB, Answer, answers
from tocsin.grading.batch import grade

SCALES = ("astct-2019", "lee-2014", "ctcae-6.0", "icans-astct-2019", "penn-2018")
EXAMPLES = int(os.environ.get("TOCSIN_EXAMPLES", "60"))
QUIET = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FACTS = tables.tables(SCALES)


def graded(facts: Any, **options: Any) -> list[Answer]:
    """Every scale's rows, the scale's name first."""
    parts = [part for part in grade(facts, SCALES, lib=LIB, engine="python", **options) if len(part)]
    found = []
    for scale in SCALES:
        own = [part.filter(pa.compute.equal(part["scale"], scale)) for part in parts]
        found += [(scale, *row) for row in answers(own)]
    return found


def in_order(facts: pa.Table) -> pa.Table:
    """Sorted by patient and time alone, as canonical facts are; ties stay as they lie."""
    order = pa.compute.sort_indices(facts, sort_keys=[("patient_id", "ascending"), ("time", "ascending")])
    return facts.take(order)


def said_about(rows: list[Answer], moment: datetime) -> list[Answer]:
    """What the rows say about instants before `moment`."""
    return [
        (*row[:3], min(row[3] or moment, moment), *row[4:]) for row in rows if row[2] < moment
    ]


@given(FACTS, st.randoms(use_true_random=False))
@QUIET
def test_the_order_of_rows_does_not_matter(facts, random):
    order = list(range(len(facts)))
    random.shuffle(order)
    assert graded(in_order(facts.take(order))) == graded(facts)


@given(FACTS, st.data())
@QUIET
def test_a_fact_charted_twice_counts_once(facts, data):
    again = data.draw(st.lists(st.integers(0, len(facts) - 1), max_size=6))
    twice = pa.concat_tables([facts, facts.take(pa.array(again, pa.int64()))])
    assert graded(in_order(twice)) == graded(facts)


@given(tables.tables(SCALES, patients=4, most=20), st.data())
@QUIET
def test_patients_may_come_in_any_batches(facts, data):
    names = sorted(set(facts["patient_id"].to_pylist()))
    cuts = data.draw(st.sets(st.integers(0, len(names))))
    edges = [0, *sorted(cuts - {0, len(names)}), len(names)]
    batches = []
    for first, last in pairwise(edges):
        own = facts.filter(pa.compute.is_in(facts["patient_id"], pa.array(names[first:last])))
        batches += own.combine_chunks().to_batches()
    assert graded(iter(batches)) == graded(facts)


@given(FACTS, st.integers(-40_000_000, 40_000_000))
@QUIET
def test_shifting_all_times_shifts_the_answer(facts, seconds):
    """Not a whole number of quarter hours, days or summers: the answer knows only differences of time."""
    shift = timedelta(seconds=seconds, microseconds=7)
    moved = facts
    for name in ("time", "end", "recorded"):
        place = moved.schema.get_field_index(name)
        values = [None if value is None else value + shift for value in moved[name].to_pylist()]
        field = moved.schema.field(name)
        moved = moved.set_column(place, field, pa.array(values, field.type))
    expected = [
        (*row[:2], row[2] + shift, None if row[3] is None else row[3] + shift, *row[4:])
        for row in graded(facts)
    ]
    assert graded(moved) == expected


@given(FACTS, st.integers(-14, 14))
@QUIET
def test_the_clock_a_time_is_written_in_does_not_matter(facts, hours):
    """`until` and `as_of` with another UTC offset are the same instants."""
    moment = facts["time"].to_pylist()[-1] + timedelta(hours=3)
    elsewhere = moment.astimezone(timezone(timedelta(hours=hours)))
    assert graded(facts, until=elsewhere) == graded(facts, until=moment.astimezone(UTC))
    assert graded(facts, as_of=elsewhere) == graded(facts, as_of=moment.astimezone(UTC))


@given(FACTS, st.integers(0, 3 * tables.DAY))
@QUIET
def test_the_future_never_rewrites_the_past(facts, quarter):
    """What was said about earlier instants is what a record that ends now says about them."""
    moment = tables.ORIGIN + quarter * tables.QUARTER
    known = facts.filter(pa.compute.less(facts["time"], pa.scalar(moment, facts["time"].type)))
    before, after = graded(known), graded(facts)
    tiled: dict[Any, datetime] = {}
    for row in before:
        tiled[row[:2]] = moment if row[3] is None else min(moment, row[3])
    cut = [row for who, end in tiled.items() for row in said_about([r for r in after if r[:2] == who], end)]
    assert sorted(cut, key=repr) == sorted(said_about(before, moment), key=repr)


@given(FACTS, st.integers(0, 3 * tables.DAY))
@QUIET
def test_what_becomes_known_later_does_not_change_what_was_answered(facts, quarter):
    """`as_of` an instant gives the same with and without the facts recorded after it."""
    moment = tables.ORIGIN + quarter * tables.QUARTER
    recorded = pa.compute.coalesce(facts["recorded"], facts["time"])
    known = facts.filter(pa.compute.less_equal(recorded, pa.scalar(moment, recorded.type)))
    assert graded(facts, as_of=moment) == (graded(known, as_of=moment) if len(known) else [])


@given(FACTS)
@QUIET
def test_rows_tile_and_up_to_is_never_below_grade(facts):
    """Half-open rows from the first fact on, without gap or overlap, neighbours different."""
    first: dict[str, datetime] = {}
    for who, time in zip(facts["patient_id"].to_pylist(), facts["time"].to_pylist(), strict=True):
        first[who] = min(first.get(who, time), time)
    rows = graded(facts)
    assert {row[:2] for row in rows} == {(scale, who) for scale in SCALES for who in first}
    for scale in SCALES:
        for who, start in first.items():
            own = [row for row in rows if row[:2] == (scale, who)]
            assert own[0][2] == start
            for one, other in pairwise(own):
                assert one[3] == other[2]
                assert one[4:] != other[4:]
            for row in own:
                assert row[3] is None or row[2] < row[3]
                assert 0 <= row[4] <= row[5] <= 5


def test_the_same_seed_gives_the_same_table():
    """A failing seed can be looked at again."""
    assert tables.random_table(7).equals(tables.random_table(7))
    assert not tables.random_table(7).equals(tables.random_table(8))
