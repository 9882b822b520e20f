"""Alerts of what comes back, comes late or was missed: no high grade is left unsaid, no old one new."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.watch import alert_log, ledger
from tocsin.watch.roles import Actor
from tocsin.watch.schema import alerts, patients
from tocsin.watch.standing import proven_in
from tocsin.watch.store import Store
from told import LIB, NOON, RULES, Told, spans_of
from watched import HandClock

WELL = (0, 0, 0)
GRADES = ("new-grade", "rise")
DAY = 24


@pytest.fixture
def told(store_url):
    store = Store.open(store_url, HandClock(NOON))
    yield Told(store)
    store.close()


def said(rows):
    return [(row["kind"], row["before"], row["grade"]) for row in rows]


# --- what comes back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("high", [RULES.quiet_below - 1, RULES.quiet_below, RULES.quiet_below + 1])
def test_a_high_grade_that_comes_back_at_once_is_said_at_once(told, high):
    """The quiet time is for low grades: somebody may have stood down."""
    course = [WELL, (1, high, high), (2, 1, 1), (2.25, high, high)]
    for hours in (1, 2):
        told.look(hours, *[run for run in course if run[0] <= hours])
    raised = said(told.look(2.25, *course))
    assert raised == ([] if high < RULES.quiet_below else [("rise", 1, high)])


def test_a_low_grade_that_stands_after_the_quiet_time_is_said(told):
    course = [WELL, (1, 2, 2), (2, 1, 1), (2.25, 2, 2)]
    for hours in (1, 2, 2.25):
        told.look(hours, *[run for run in course if run[0] <= hours])
    assert said(told.look(2 + RULES.quiet_minutes / 60, *course)) == [("rise", 1, 2)]


@pytest.mark.parametrize("later", [3, 2 * DAY])
def test_a_row_taken_back_and_given_again_is_said_again_once(told, later):
    """The same grade from the same moment: its key was used, and must not hide it."""
    told.look(1, WELL, (1, 3, 3))
    told.look(2, WELL)
    assert told.open(2) == []
    raised = told.look(later, WELL, (1, 3, 3))
    assert said(raised) == [("new-grade", 0, 3)]
    assert told.look(later, WELL, (1, 3, 3)) == []
    assert len(told.open(later)) == 1


def test_a_gap_that_was_closed_by_mistake_is_told_again(told):
    told.look(2, WELL, (1, 0, 4))
    told.look(3, WELL)
    (row,) = told.look(4, WELL, (1, 0, 4))
    assert "not ruled out for 3 h" in alert_log.text_of(row, LIB)


def test_rows_charted_late_in_turn_leave_a_standing_grade_open(told):
    """Told at 5: 3 from 1 on. Then: ruled out at 2. Then: 3 again since 3."""
    told.look(5, WELL, (1, 3, 3))
    told.look(5.1, WELL, (1, 3, 3), (2, 0, 0))
    assert said(told.look(5.2, WELL, (1, 3, 3), (2, 0, 0), (3, 3, 3))) == [("new-grade", 0, 3)]


# --- lapses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [9, 9.5, 12, 40])
def test_less_than_before_a_lapse_is_no_news(told, hours):
    """3, then nobody measured, then 1: better, not new, also hours later."""
    course = [WELL, (1, 3, 3), (5, 0, 4), (9, 1, 1)]
    for at in (1, 5, 9):
        told.look(at, *[run for run in course if run[0] <= at])
    assert [row for row in told.look(hours, *course) if row["kind"] in GRADES] == []


def test_more_than_before_a_lapse_is_a_rise_from_what_was_proven(told):
    told.look(1, WELL, (1, 2, 2))
    told.look(5, WELL, (1, 2, 2), (5, 0, 4))
    assert said(told.look(6, WELL, (1, 2, 2), (5, 0, 4), (6, 3, 3))) == [("rise", 2, 3)]


def test_a_rise_missed_while_down_is_said_even_when_it_has_lapsed(told):
    """Nobody was alerted, nobody measured: nothing says that it is over."""
    raised = told.look(9, WELL, (1, 3, 3), (8.9, 0, 4))
    assert said(raised) == [("new-grade", 0, 3)]


def test_a_lapse_does_not_end_what_runs_out(told):
    """Nobody measured is not being well: the clock and the late test stay."""
    due = {
        "clocks": [{"due": "2027-01-15T09:00:00+00:00", "then": "repeat"}],
        "tests_due": [{"due": "2027-01-15T08:00:00+00:00", "test": "ferritin", "strength": "give"}],
    }
    start = told.look(1, WELL, (0.5, 2, 2), answer=due)
    assert {row["kind"] for row in start} == {"new-grade", "clock-run-out", "test-overdue"}
    told.look(9, WELL, (0.5, 2, 2), (9, 0, 4), answer=due)
    assert {row["kind"] for row in told.open(9)} == {"new-grade", "clock-run-out", "test-overdue"}
    told.look(10, WELL, (0.5, 2, 2), (9, 0, 4), (10, 0, 0), answer=due)
    assert told.open(10) == []


# --- what is over ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grade", "hours", "expected"),
    [
        (RULES.past_at_least - 1, 5, []), (RULES.past_at_least, 5, [("late-grade", None, 3)]),
        (RULES.past_at_least, 3 + RULES.past_within_hours, []), (4, 5, [("late-grade", None, 4)]),
    ],
)  # fmt: skip
def test_a_high_grade_that_is_over_when_it_is_charted_is_listed_as_late(told, grade, hours, expected):
    """It does not ring as new; it is there to be seen, once."""
    told.look(1, WELL)
    course = (WELL, (1, grade, grade), (3, 0, 0))
    raised = told.look(hours, *course)
    assert said(raised) == expected
    assert told.look(hours + 0.1, *course) == []
    for row in raised:
        text = alert_log.text_of(row, LIB)
        assert text == f"late: ASTCT 2019 was grade {grade} for 2 h, until 2 h ago"


def test_a_high_grade_that_was_alerted_is_not_listed_as_late(told):
    told.look(1, WELL, (1, 3, 3))
    told.look(2, WELL, (1, 3, 3), (2, 4, 4))
    assert told.look(3, WELL, (1, 3, 3), (2, 4, 4), (3, 0, 0)) == []
    assert told.open(3) == []


def test_what_was_late_is_gone_when_somebody_has_seen_it_and_after_its_time(told):
    course = (WELL, (1, 3, 3), (3, 0, 0))
    (row,) = told.look(4, *course)
    with told.store.writing() as con:
        alert_log.acknowledge(con, told.store.clock, row["id"], Actor("n", "nurse"))
    told.look(5, *course)
    assert told.open(5) == []
    assert told.look(6, *course) == []


def test_a_fall_nobody_was_told_the_height_of_is_said(told):
    """3, then 2, both missed while down: 2 stands and is new to everybody; 3 is listed as late."""
    raised = told.look(5, WELL, (1, 3, 3), (3, 2, 2))
    assert sorted(said(raised), key=str) == [("late-grade", None, 3), ("new-grade", 0, 2)]
    assert told.look(6, WELL, (1, 3, 3), (3, 2, 2)) == []


# --- answers -----------------------------------------------------------------------------------------------


def test_who_dismissed_first_and_why_is_kept(told):
    (row,) = told.look(1, WELL, (1, 2, 2))
    with told.store.writing() as con:
        for name, reason in (("first", "not CRS"), ("second", "other")):
            alert_log.dismiss(con, told.store.clock, row["id"], Actor(name, "nurse"), reason)
        kept = con.execute(sa.select(alerts.c.dismissed_by, alerts.c.reason)).one()
    assert tuple(kept) == ("first", "not CRS")


def test_how_late_a_test_is_grows_while_it_is_shown(told):
    late = {"tests_due": [{"due": "2027-01-15T08:00:00+00:00", "test": "ferritin", "strength": "give"}]}
    told.look(2, WELL, (1, 1, 1), answer=late)
    texts = [
        alert_log.text_of(row, LIB)
        for hours in (2, 5)
        for row in told.open(hours)
        if row["kind"] == "test-overdue"
    ]
    assert texts == ["ferritin: 2 h late", "ferritin: 5 h late"]


@pytest.mark.parametrize("ending", [{"discharged": NOON}, {"merged_into": "p2"}])
def test_nobody_is_asked_about_a_record_that_is_no_longer_watched(told, ending):
    """Discharged, or read under another name: its alerts leave every list, and are there again if it is."""
    told.look(1, WELL, (1, 3, 3))
    who = patients.update().where(patients.c.patient_id == "p1")
    with told.store.writing() as con:
        ledger.admit(con, ["p2"], NOON)
        con.execute(who.values(**ending))
    assert told.open(1) == []
    with told.store.writing() as con:
        con.execute(who.values(dict.fromkeys(ending)))
    assert len(told.open(1)) == 1


# --- always ------------------------------------------------------------------------------------------------

courses = st.lists(
    st.tuples(st.sampled_from([0.25, 1, 3, 30]), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9
)


@given(courses)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_rise_to_a_high_grade_is_said_exactly_once(tmp_path_factory, course):
    """Looked at after every change: one alert where what is proven rises to 3 or more, else none."""
    runs, hours, level = [WELL], 1.0, 0
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('rises') / 'ward.db'}", HandClock(NOON))
    told = Told(store)
    for step, grade, wider in course:
        runs.append((hours, grade, min(4, grade + wider)))
        raised = [row for row in told.look(hours, *runs) if row["kind"] in GRADES and row["what"] == ""]
        proven, _ = proven_in(spans_of(runs))
        if proven >= 3 and proven > level:
            assert [row["grade"] for row in raised] == [proven]
            with store.reading() as con:
                left = con.execute(sa.select(alerts.c.grade).where(alerts.c.closed.is_(None))).scalars()
                assert proven in left.all()
        if proven <= level:
            assert [row for row in raised if row["grade"] >= 3] == []
        level, hours = proven, hours + step
    store.close()
