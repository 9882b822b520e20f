"""Alerts: each kind at its number, nothing said twice, answered by people, counted."""

from __future__ import annotations

import shutil

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.definitions.alert import alert_rules
from tocsin.definitions.load import Library
from tocsin.definitions.schema import DefinitionError
from tocsin.grading.live import Live
from tocsin.simulation.answer import simulate
from tocsin.watch import alert_log
from tocsin.watch import standing as answers
from tocsin.watch.alert_log import AlertError
from tocsin.watch.alerts import judge
from tocsin.watch.clock import moment_of
from tocsin.watch.intake import plain
from tocsin.watch.roles import Actor
from tocsin.watch.schema import alerts
from tocsin.watch.store import Store
from told import HOUR, LIB, MINUTE, NOON, RULES, SCALE, Told, spans_of, standing_of
from watched import HandClock

NURSE = Actor("n", "nurse")
WELL = (0, 0, 0)


@pytest.fixture
def ward(store_url):
    store = Store.open(store_url, HandClock(NOON))
    yield Told(store)
    store.close()


@pytest.fixture
def told(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'ward.db'}", HandClock(NOON))
    yield Told(store)
    store.close()


def kinds(rows):
    return [row["kind"] for row in rows]


def iso(hours):
    return moment_of(NOON + round(hours * HOUR)).isoformat()


def clock(due, then="repeat"):
    return {"clocks": [{"due": iso(due), "then": then}]}


def ferritin(due, strength="give"):
    return {"tests_due": [{"due": iso(due), "test": "ferritin", "strength": strength}]}


# --- kinds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grade", "said"), [(0, []), (1, ["new-grade"]), (4, ["new-grade"])])
def test_a_first_grade_is_new(told, grade, said):
    assert kinds(told.look(1, WELL, (1, grade, grade))) == said


@pytest.mark.parametrize(("after", "said"), [(1, []), (2, []), (3, ["rise"]), (4, ["rise"])])
def test_only_more_than_before_is_a_rise(told, after, said):
    told.look(1, (0, 2, 2))
    assert kinds(told.look(2, (0, 2, 2), (2, after, after))) == said


def test_a_rise_closes_what_was_open_for_less(told):
    told.look(1, (0, 1, 1))
    told.look(2, (0, 1, 1), (2, 3, 3))
    assert [(row["grade"], row["before"]) for row in told.open(2)] == [(3, 1)]


def test_a_lapse_closes_nothing_and_is_no_news_when_it_ends(told):
    """Nobody measured: the grade was not ruled out, so its alert stays, and is not raised twice."""
    told.look(1, WELL, (1, 2, 2))
    assert told.look(9, WELL, (1, 2, 2), (9, 0, 4)) == []
    assert [row["grade"] for row in told.open(9)] == [2]
    assert told.look(9.2, WELL, (1, 2, 2), (9, 0, 4), (9.2, 2, 2)) == []


def test_a_grade_that_was_ruled_out_closes_its_alert(told):
    told.look(1, WELL, (1, 3, 3))
    told.look(4, WELL, (1, 3, 3), (4, 0, 0))
    assert told.open(4) == []


@pytest.mark.parametrize(
    ("width", "minutes", "said"),
    [
        (RULES.gap_at_least - 1, 600, []), (RULES.gap_at_least, RULES.gap_after_minutes - 1, []),
        (RULES.gap_at_least, RULES.gap_after_minutes, ["not-ruled-out"]),
        (RULES.gap_at_least + 1, RULES.gap_after_minutes + 1, ["not-ruled-out"]),
    ],
)  # fmt: skip
def test_a_gap_is_told_once_it_is_wide_and_old_enough(told, width, minutes, said):
    """A chart that is merely late stays quiet."""
    assert kinds(told.look(1 + minutes / 60, WELL, (1, 0, width))) == said


def test_a_gap_asks_for_what_is_waited_for_once_a_stretch(told):
    first = told.look(2, WELL, (1, 0, 4))
    assert first[0]["what"] == "systolic-bp spo2"
    assert told.look(3, WELL, (1, 0, 4)) == []
    told.look(4, WELL, (1, 0, 4), (4, 0, 0))
    assert told.open(4) == []
    assert kinds(told.look(9, WELL, (1, 0, 4), (4, 0, 0), (8, 0, 4))) == ["not-ruled-out"]


@pytest.mark.parametrize("flag", RULES.gap_unless_flags)
def test_nobody_is_asked_to_measure_where_nobody_is_expected_to(told, flag):
    assert told.look(9, WELL, (1, 0, 4), flags=(flag,)) == []


@pytest.mark.parametrize(
    ("hours", "said"),
    [(-0.01, []), (0, ["clock-run-out"]), (23.9, ["clock-run-out"]), (RULES.clock_within_hours, [])],
)
def test_a_clock_that_ran_out_is_told_for_as_long_as_it_matters(told, hours, said):
    rows = told.look(5 + hours, (0, 1, 1), answer=clock(5))
    assert [kind for kind in kinds(rows) if kind == "clock-run-out"] == said


def test_what_several_guidelines_say_of_one_moment_is_one_alert(told):
    told.look(1, (0, 1, 1))
    both = {"clocks": [*clock(5, "a")["clocks"], *clock(5, "b")["clocks"], *clock(5, "a")["clocks"]]}
    assert [row["what"] for row in told.look(5, (0, 1, 1), answer=both)] == ["a; b"]


@pytest.mark.parametrize(
    ("minutes", "grade", "strength", "said"),
    [
        (RULES.test_late_minutes - 1, 1, "give", []), (RULES.test_late_minutes, 1, "give", ["test-overdue"]),
        (RULES.test_late_minutes + 1, 1, "give", ["test-overdue"]),
        (RULES.test_late_minutes, 0, "give", []), (RULES.test_late_minutes, 1, "consider", []),
    ],
)  # fmt: skip
def test_a_test_is_pressed_for_when_late_while_somebody_is_ill(told, minutes, grade, strength, said):
    rows = told.look(5 + minutes / 60, (0, grade, grade), answer=ferritin(5, strength=strength))
    assert [kind for kind in kinds(rows) if kind == "test-overdue"] == said


def test_a_test_that_was_done_is_no_longer_late(told):
    told.look(7, (0, 1, 1), answer=ferritin(5))
    told.look(8, (0, 1, 1), answer={"tests_due": []})
    assert kinds(told.open(8)) == ["new-grade"]


def test_death_ends_every_alert(told):
    told.look(7, (0, 3, 3), answer=ferritin(5))
    assert len(told.open(7)) == 2
    told.look(8, (0, 3, 3), (8, 5, 5), because=("death",))
    assert told.open(8) == []


# --- once -------------------------------------------------------------------------------------------------


def test_a_second_look_a_restart_and_a_second_worker_raise_nothing_again(ward):
    course = (WELL, (1, 1, 4))
    first = ward.look(2, *course, answer=clock(1))
    assert sorted(kinds(first)) == ["clock-run-out", "new-grade", "not-ruled-out"]
    again = Told(ward.store)
    assert again.look(2, *course, answer=clock(1)) == []
    assert again.look(3, *course, answer=clock(1)) == []


def test_a_key_is_raised_once_even_by_two_who_looked_at_the_same_moment(ward):
    """Both judged before either wrote: the store keeps one."""
    now, spans = NOON + 2 * HOUR, spans_of([WELL, (1, 2, 2)])
    verdict = judge("p1", {SCALE: standing_of(spans, now)}, {SCALE: spans}, None, [], now, RULES)
    raised = []
    for _ in range(2):
        with ward.store.writing() as con:
            raised.append(alert_log.raise_all(con, verdict.new, now, shadow=False))
    assert [len(rows) for rows in raised] == [1, 0]


levels = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=8)


@given(levels, st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_looks_in_any_number_leave_the_same_alerts_open(tmp_path_factory, course, data):
    """Looking more often (a replay, a restart, a second worker) opens nothing more and nothing else."""
    runs, hours = [], 0
    for step, grade, wider in course:
        runs.append((float(hours), grade, min(4, grade + wider)))
        hours += step
    times = [run[0] + 0.75 for run in runs]
    repeats = data.draw(st.lists(st.integers(1, 3), min_size=len(times), max_size=len(times)))
    folder = tmp_path_factory.mktemp("looks")
    found = []
    for name, counts in (("once", [1] * len(times)), ("often", repeats)):
        store = Store.open(f"sqlite:///{folder / name}.db", HandClock(NOON))
        told = Told(store)
        for at, count in zip(times, counts, strict=True):
            upto = [run for run in runs if run[0] <= at]
            for _ in range(count):
                told.look(at, *upto)
        with store.reading() as con:
            rows = con.execute(sa.select(alerts.c.key, alerts.c.raised, alerts.c.closed)).all()
        found.append(sorted(tuple(row) for row in rows))
        store.close()
    shutil.rmtree(folder)
    assert found[0] == found[1]


# --- what people do ---------------------------------------------------------------------------------------


def act(ward, hours, what, row, *more, actor=NURSE):
    ward.store.clock.set(NOON + round(hours * HOUR))
    with ward.store.writing() as con:
        getattr(alert_log, what)(con, ward.store.clock, row["id"], actor, *more)


def stored(ward, row):
    with ward.store.reading() as con:
        return con.execute(sa.select(alerts).where(alerts.c.id == row["id"])).one()


def test_who_acknowledged_first_is_kept(ward):
    (row,) = ward.look(1, WELL, (1, 2, 2))
    act(ward, 1.5, "acknowledge", row)
    act(ward, 2, "acknowledge", row, actor=Actor("other", "nurse"))
    kept = stored(ward, row)
    assert (kept.acknowledged_by, kept.acknowledged) == ("n", NOON + 1.5 * HOUR)
    assert len(ward.open(2)) == 1


@pytest.mark.parametrize("reason", ["", "  \n ", "x" * 501])
def test_dismissing_needs_a_reason_that_can_be_read(ward, reason):
    (row,) = ward.look(1, WELL, (1, 2, 2))
    with pytest.raises(AlertError, match="reason"):
        act(ward, 2, "dismiss", row, reason)
    assert len(ward.open(2)) == 1


def test_what_was_dismissed_does_not_come_back_while_it_lasts(ward):
    (row,) = ward.look(1, WELL, (1, 2, 2))
    act(ward, 2, "dismiss", row, " sepsis,\n known ")
    assert stored(ward, row).reason == "sepsis, known"
    assert ward.open(2) == []
    assert ward.look(9, WELL, (1, 2, 2)) == []


def test_what_was_made_quiet_is_there_again_at_its_time(ward):
    (row,) = ward.look(1, WELL, (1, 2, 2))
    act(ward, 2, "snooze", row, NOON + 3 * HOUR)
    assert [len(ward.open(hours)) for hours in (2, 2.99, 3)] == [0, 0, 1]


@pytest.mark.parametrize("minutes", [-1, 0, 24 * 60 + 1])
def test_nothing_is_made_quiet_for_more_than_a_day_or_into_the_past(ward, minutes):
    (row,) = ward.look(1, WELL, (1, 2, 2))
    with pytest.raises(AlertError):
        act(ward, 2, "snooze", row, NOON + 2 * HOUR + minutes * MINUTE)


def test_an_alert_that_is_not_there_cannot_be_answered(ward):
    with pytest.raises(AlertError, match="no such alert"):
        act(ward, 1, "acknowledge", {"id": 99})


LATE = RULES.escalate_after_minutes / 60


@pytest.mark.parametrize(
    ("grade", "after", "said"),
    [
        (RULES.escalate_at_least - 1, 9, []), (RULES.escalate_at_least, LATE - 0.01, []),
        (RULES.escalate_at_least, LATE, [RULES.escalate_to]), (4, 9, [RULES.escalate_to]),
    ],
)  # fmt: skip
def test_a_high_grade_nobody_answers_goes_to_a_second_role_once(ward, grade, after, said):
    ward.look(1, WELL, (1, grade, grade))
    assert [row["role"] for row in ward.look(1 + after, WELL, (1, grade, grade))] == said
    assert ward.look(1.1 + after + LATE, WELL, (1, grade, grade)) == [] or not said


@pytest.mark.parametrize(("what", "more"), [("acknowledge", ()), ("dismiss", ("known",))])
def test_what_was_answered_goes_to_nobody_else(ward, what, more):
    (row,) = ward.look(1, WELL, (1, 3, 3))
    act(ward, 1.05, what, row, *more)
    assert ward.look(5, WELL, (1, 3, 3)) == []


def test_the_shadow_is_apart_and_shown_to_nobody_who_does_not_ask(ward):
    assert kinds(ward.look(1, WELL, (1, 2, 2), shadow=True)) == ["new-grade"]
    assert ward.open(1) == []
    assert len(ward.open(1, shadow=True)) == 1
    assert kinds(ward.look(2, WELL, (1, 2, 2))) == ["new-grade"]


def test_a_role_is_shown_what_is_routed_to_it(ward):
    ward.look(1, WELL, (1, 3, 3))
    ward.look(2, WELL, (1, 3, 3))
    assert [len(ward.open(2, role=role)) for role in ("nurse", "physician")] == [1, 1]
    assert ward.open(2, patient_id="p2") == []


def test_the_report_counts_by_kind_and_how_long_people_took(ward):
    (first,) = ward.look(1, WELL, (1, 1, 1))
    act(ward, 1.5, "acknowledge", first)
    (second,) = ward.look(2, WELL, (1, 1, 1), (2, 2, 2))
    act(ward, 3.5, "acknowledge", second)
    act(ward, 4, "dismiss", second, "known")
    ward.look(3, WELL, (1, 1, 1), shadow=True)
    with ward.store.reading() as con:
        told = alert_log.report(con, NOON, NOON + 24 * HOUR, 2.0)
        nothing = alert_log.report(con, 0, 1, 0.0)
    assert (told["alerts"], told["per_patient_day"], told["shadow"]["alerts"]) == (2, 1.0, 1)
    assert told["kinds"] == {f"new-grade {SCALE}": 1, f"rise {SCALE}": 1}
    assert told["acknowledged"] == {"count": 2, "median_minutes": 60, "p90_minutes": 84}
    assert (told["dismissed"], told["reasons"]) == (1, {"known": 1})
    assert nothing["per_patient_day"] is None
    assert nothing["acknowledged"]["median_minutes"] is None


def test_an_alert_says_what_it_is_in_plain_words_without_a_name(told):
    rows = told.look(2, WELL, (1, 1, 4), answer=clock(1, "repeat"))
    rows += told.look(3, WELL, (1, 1, 4), (3, 3, 4), answer=ferritin(2))
    said = {row["kind"]: alert_log.text_of(row, LIB) for row in rows}
    assert said["new-grade"] == "ASTCT 2019 grade 1, new"
    assert said["rise"] == "ASTCT 2019 grade 3, from 1"
    gap = "ASTCT 2019 up to grade 4 not ruled out for 1 h: nobody measured "
    assert said["not-ruled-out"].startswith(gap)
    assert said["clock-run-out"] == "time is up: repeat"
    assert said["test-overdue"] == "ferritin: 1 h late"
    assert not any("p1" in text for text in said.values())


# --- the rules --------------------------------------------------------------------------------------------


def test_a_site_sets_its_own_numbers(tmp_path):
    own = tmp_path / "alerts"
    own.mkdir()
    text = LIB.files("alerts")["ward-alerts"].read_text()
    (own / "ward-alerts.toml").write_text(text.replace("after_minutes = 30", "after_minutes = 5"))
    assert alert_rules("ward-alerts", Library([tmp_path])).gap_after_minutes == 5
    assert RULES.gap_after_minutes == 30


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("at_least                = 1", "at_least = 6"), ('"nurse"', '"porter"'), ("late_minutes  = 60", ""),
        ('["astct-2019"]', '["astct-2091"]'), ("quiet_minutes           = 60", "quiet_minutes = -1"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_are_refused_with_the_fix(tmp_path, old, new):
    own = tmp_path / "alerts"
    own.mkdir()
    text = LIB.files("alerts")["ward-alerts"].read_text()
    assert old in text
    (own / "ward-alerts.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(DefinitionError, match="fix"):
        alert_rules("ward-alerts", Library([tmp_path]))


def test_rules_nobody_wrote_are_refused_by_name():
    with pytest.raises(DefinitionError, match="ward-alerts"):
        alert_rules("ward-alert", LIB)


# --- how much is rung -------------------------------------------------------------------------------------

PATIENTS, DAYS = 20, 14


def test_the_alarm_load_of_a_simulated_ward_is_bearable_and_no_rise_to_3_is_missed(tmp_path):
    """Hour by hour through the live machine; every alert is acknowledged before the next look."""
    facts = simulate("tisagenlecleucel", PATIENTS, 4, days=DAYS)
    live = Live([SCALE], lib=LIB)
    reader = answers.Reader(live.compiled)
    rows = sorted(plain(facts), key=lambda row: max(row["time"], row["recorded"] or 0))
    people = sorted({row["patient_id"] for row in rows})
    begin, hours = min(row["time"] for row in rows), 0
    store = Store.open(f"sqlite:///{tmp_path / 'ward.db'}", HandClock(begin))
    rung, place = [], 0
    crossed = {who: [] for who in people}
    level = dict.fromkeys(people, 0)
    while place < len(rows):
        hours += 1
        now = begin + hours * HOUR
        while place < len(rows) and max(rows[place]["time"], rows[place]["recorded"] or 0) <= now:
            live.add(rows[place])
            place += 1
        with store.writing() as con:
            known = alert_log.known_of(con, people, now, shadow=False)
            for who in [who for who in people if who in live.patients]:
                standing, spans = reader.read((), live.carried(who, now)[0], now, answers.Told())
                verdict = judge(who, standing, spans, None, known[who], now, RULES)
                rung += alert_log.raise_all(con, verdict.new, now, shadow=False)
                alert_log.close(con, verdict.gone, now)
                was, each = level[who], standing[SCALE]
                level[who] = max(each.grade, min(was, each.up_to))
                if each.grade >= 3 and each.grade > was:
                    crossed[who].append((now, each.grade))
            con.execute(alerts.update().where(alerts.c.acknowledged.is_(None)).values(acknowledged=now))
    store.close()
    days = PATIENTS * hours / 24
    by_kind = {kind: sum(row["kind"] == kind for row in rung) / days for kind in {*kinds(rung)}}
    print(f"alerts per patient-day: {len(rung) / days:.2f}", by_kind)
    assert len({row["key"] for row in rung}) == len(rung)
    high = {
        who: [
            (row["raised"], row["grade"])
            for row in rung
            if row["patient_id"] == who and row["kind"] in ("rise", "new-grade") and row["grade"] >= 3
        ]
        for who in people
    }
    assert sum(len(each) for each in crossed.values()) >= 3
    assert high == crossed
    assert len(rung) / days < 1.0
