"""Alerts that were answered, and what comes after: a second role, the same news once more, another worker."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tocsin.watch import alert_log
from tocsin.watch.alerts import judge
from tocsin.watch.roles import Actor
from tocsin.watch.schema import alerts
from tocsin.watch.store import Store
from told import HOUR, LIB, NOON, RULES, SCALE, Told, spans_of, standing_of
from watched import HandClock

NURSE = Actor("n", "nurse")
WELL = (0, 0, 0)


@pytest.fixture
def ward(store_url):
    store = Store.open(store_url, HandClock(NOON))
    yield Told(store)
    store.close()


def act(ward, hours, what, row, *more):
    ward.store.clock.set(NOON + round(hours * HOUR))
    with ward.store.writing() as con:
        getattr(alert_log, what)(con, ward.store.clock, row["id"], NURSE, *more)


@pytest.mark.parametrize(("what", "more"), [("acknowledge", ()), ("dismiss", ("known",))])
def test_the_second_role_is_left_alone_once_the_first_has_answered(ward, what, more):
    """What it says, that nobody acknowledged, is true no longer."""
    (first,) = ward.look(1, WELL, (1, 3, 3))
    (second,) = ward.look(2, WELL, (1, 3, 3))
    assert alert_log.text_of(second, LIB).startswith("nobody acknowledged: ")
    act(ward, 2.1, what, first, *more)
    assert ward.look(2.2, WELL, (1, 3, 3)) == []
    assert second["id"] not in {row["id"] for row in ward.open(2.2)}
    assert ward.look(9, WELL, (1, 3, 3)) == []


def test_making_it_quiet_is_no_answer(ward):
    (row,) = ward.look(1, WELL, (1, 3, 3))
    act(ward, 1.01, "snooze", row, NOON + 9 * HOUR)
    assert [row["role"] for row in ward.look(2, WELL, (1, 3, 3))] == [RULES.escalate_to]


@pytest.mark.parametrize("shadow", [False, True])
@pytest.mark.parametrize("times", [(1, 2, 3), (1, 50, 99, 148), (1, 2, 50, 51, 99)])
def test_the_same_rows_given_and_taken_back_again_and_again_are_said_each_time(ward, times, shadow):
    """Soon or days later, also a third time: a key that was used hides nothing."""
    for hours in times:
        raised = ward.look(hours, WELL, (1, 3, 3), shadow=shadow)
        assert [row["grade"] for row in raised] == [3]
        assert ward.look(hours, WELL, (1, 3, 3), shadow=shadow) == []
        ward.look(hours + 0.1, WELL, shadow=shadow)
    with ward.store.reading() as con:
        assert con.execute(sa.select(sa.func.count()).select_from(alerts)).scalar_one() == len(times)


def test_another_worker_with_fewer_facts_does_not_say_it_a_second_time(ward):
    """A late fact moved the beginning, so the keys differ: still one is open."""
    for since in (1.0, 0.5):
        now, spans = NOON + 2 * HOUR, spans_of([WELL, (since, 2, 2)])
        verdict = judge("p1", {SCALE: standing_of(spans, now)}, {SCALE: spans}, None, [], now, RULES)
        with ward.store.writing() as con:
            alert_log.raise_all(con, verdict.new, now, shadow=False)
    assert len(ward.open(2)) == 1


def test_a_higher_grade_is_said_beside_what_another_worker_said(ward):
    for grade in (2, 3):
        now, spans = NOON + 2 * HOUR, spans_of([WELL, (1, grade, grade)])
        verdict = judge("p1", {SCALE: standing_of(spans, now)}, {SCALE: spans}, None, [], now, RULES)
        with ward.store.writing() as con:
            assert len(alert_log.raise_all(con, verdict.new, now, shadow=False)) == 1
