"""Taking up who is stored: many at once, beside what comes in, and the same as fact by fact."""

from __future__ import annotations

import gc
import logging
import random
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.grading.opcodes import INF
from tocsin.watch import journal, tidy
from tocsin.watch.intake import plain, table_of
from tocsin.watch.newest import Newest, measures, telling
from tocsin.watch.taking_up import PERSONS, ROWS
from watched import DEVICE, HOUR, LIB, NOON, NURSE, HandClock, fact, fever, running


def stay(who: str, chance: random.Random) -> list[dict]:
    """A stay with what makes taking up hard: a rate by weight, a correction, an unreadable row, a dose."""
    rows = [fact(who, -30, "weight", 60 + chance.random() * 30, "kg")]
    rows += [fact(who, -29, "tisagenlecleucel", text="given")] if chance.random() < 0.5 else []
    for hour in range(-28, 0, 2):
        rows.append(fever(who, hour + chance.random(), 36.5 + chance.random() * 3))
        rows.append(fact(who, hour + chance.random(), "systolic-bp", 80 + chance.random() * 50, "mm[Hg]"))
        rows.append(fact(who, hour + chance.random(), "spo2", 86 + round(chance.random() * 13), "%"))
    if chance.random() < 0.5:
        rows.append(fact(who, -9, "norepinephrine", 0.1, "ug/kg/min"))
        rows.append(fact(who, -3, "norepinephrine", 0.0, "ug/kg/min"))
    if chance.random() < 0.5:
        rows.append(fever(who, -5, 40.4, source=f"{who}:monitor"))
        rows.append(fever(who, -5, 37.4, source=f"{who}:hand", replaces=f"{who}:monitor"))
    if chance.random() < 0.3:
        rows.append({**fact(who, -1, "mean-bp", 61, "mm[Hg]"), "unit": "furlong"})
    return rows


def said(held) -> tuple:
    """What is held of a person, for comparing."""
    return (
        {scale: each.said() for scale, each in held.standing.items()},
        held.spans, held.newest, held.infusions, held.looks_back,
        sorted(row["time"] for row in held.weights),
    )  # fmt: skip


@pytest.mark.parametrize("fast", [False, True])
def test_taken_up_at_once_is_as_taken_fact_by_fact(store_url, fast, monkeypatch):
    """By the plain and by the compiled machine."""
    monkeypatch.setattr("tocsin.watch.live.is_warm", lambda entry: fast)
    chance = random.Random(3)
    with running(store_url) as live:
        for k in range(12):
            rows = stay(f"p{k}", chance)
            for row in rows:
                live.ingest([row], DEVICE)
        people = sorted(live.memory.held)
        found = live.memory.load(live.recall(people), live.clock.now(), fast=fast)
        assert sorted(found) == people
        for who in people:
            live.memory.update([who], live.clock.now())
            assert said(found[who]) == said(live.memory.held[who]), who
        # an instant that changes nothing may be looked at in vain, one that does may not be missed
        assert all(held.next >= live.clock.now() for held in found.values() if held.next < INF)


def test_an_answer_taken_up_lapses_when_it_should(tmp_path):
    clock = HandClock()
    url = f"sqlite:///{tmp_path}/w.db"
    with running(url, clock) as service:
        service.ingest([fever("p1", -0.1)], DEVICE)
    with running(url, clock) as service:
        service.taking_up.take_up(["p1"])
        assert service.standing("p1")["astct-2019"].grade == 1
        clock.set(NOON + 48 * HOUR)
        service.step()
        each = service.standing("p1")["astct-2019"]
        assert (each.grade, each.proven) == (0, 1)


class Stored:
    """A service that was ended with somebody stored, started without taking up by itself."""

    def __init__(self, path, monkeypatch):
        self.url = f"sqlite:///{path}/w.db"
        with running(self.url) as service:
            service.ingest([fever("p1", -2), fever("p2", -2, 37.0)], DEVICE)
        monkeypatch.setattr("tocsin.watch.taking_up.TakingUp.run", lambda self: None)

    def meanwhile(self, service, what):
        """Let `what` happen while the rows of a chunk have been read and are not held yet."""
        recall = service.recall

        def slow(persons):
            rows = recall(persons)
            service.recall = recall
            what()
            return rows

        service.recall = slow


def test_a_fact_that_comes_while_its_patient_is_taken_up_counts(tmp_path, monkeypatch):
    stored = Stored(tmp_path, monkeypatch)
    with running(stored.url) as service:
        new = [fact("p1", -1, "oxygen-device", "nasal-cannula"), fact("p1", -1, "oxygen-flow", 2, "L/min")]
        stored.meanwhile(service, lambda: service.ingest(new, DEVICE))
        service.taking_up.take_up(["p1", "p2"])
        assert service.standing("p1")["astct-2019"].grade == 2
        assert service.standing("p2")["astct-2019"].grade == 0


def test_records_joined_while_they_are_taken_up_are_one_person(tmp_path, monkeypatch):
    stored = Stored(tmp_path, monkeypatch)
    with running(stored.url) as service:
        stored.meanwhile(service, lambda: service.merge(NURSE, "p1", "p2"))
        service.taking_up.take_up(["p1", "p2"])
        assert set(service.memory.held) == {"p2"}
        assert service.standing("p1") == service.standing("p2")
        assert service.standing("p2")["astct-2019"].grade == 1


def test_who_goes_home_while_taken_up_is_not_watched(tmp_path, monkeypatch):
    stored = Stored(tmp_path, monkeypatch)
    with running(stored.url) as service:
        stored.meanwhile(service, lambda: service.discharge(NURSE, "p1"))
        service.taking_up.take_up(["p1", "p2"])
        assert set(service.memory.held) == {"p2"}


def test_few_are_taken_up_together_where_each_has_many_rows(tmp_path):
    with running(f"sqlite:///{tmp_path}/w.db") as service:
        some = service.taking_up._some
        people = [f"p{k}" for k in range(3 * PERSONS)]
        assert some(people, {}) == people[:PERSONS]
        assert some(people, {"p0": 10 * ROWS}) == ["p0"]
        assert some(people, dict.fromkeys(people, ROWS // 4)) == people[:4]
        assert some([], {}) == []


NAMES = sorted({*measures(LIB)[0], *measures(LIB)[1], "ferritin", "weight"})


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.integers(0, 9), st.sampled_from(NAMES), st.integers(0, 5),
            st.sampled_from([None, "absent", "<"]),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_the_newest_readings_are_those_of_all_facts(rows):
    """Whatever was charted, also twice at one instant: the few facts picked out say what all of them say."""
    rows = sorted(rows, key=lambda row: row[:2])
    table = table_of([
        dict(zip(("patient_id", "time", "measure", "value", "text"), row, strict=True)) for row in rows
    ])  # fmt: skip
    if not rows:
        return
    picked = plain(telling(table, LIB))
    for who in {row[0] for row in rows}:
        everything = [row for row in plain(table) if row["patient_id"] == who]
        few = [row for row in picked if row["patient_id"] == who]
        assert Newest.of(few, LIB) == Newest.of(everything, LIB)


class Ring:
    """Garbage that only a search finds: it holds itself."""

    def __init__(self):
        self.me = self


def test_garbage_is_found_and_what_is_in_use_is_set_aside_until_the_end():
    left = [3]
    kept, seen = Ring(), []
    lost = weakref.ref(kept)

    def wait(_seconds):
        nonlocal kept
        seen.append(gc.get_freeze_count())
        kept = None  # in use when it was set aside, garbage from now on
        left[0] -= 1
        return left[0] == 0

    tidy.tidy(wait, seldom=1e9)
    assert all(count > 1_000 for count in seen)
    assert lost() is not None
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert lost() is None


def test_what_was_set_aside_is_searched_once_a_day():
    kept = Ring()
    lost, left = weakref.ref(kept), [2]

    def wait(_seconds):
        nonlocal kept
        kept = None
        left[0] -= 1
        return left[0] == 0

    tidy.tidy(wait, seldom=0.0)
    assert lost() is None


def test_the_same_failure_is_not_said_a_thousand_times(caplog, monkeypatch):
    monkeypatch.setattr(journal, "_said", type(journal._said)())
    moment = [100.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: moment[0])
    with caplog.at_level(logging.ERROR):
        for _ in range(500):
            journal.failed("storing", ValueError("a patient's name"))
        journal.failed("storing", KeyError("x"))
        moment[0] += journal.QUIET
        journal.failed("storing", ValueError("y"))
    assert [record.getMessage() for record in caplog.records] == [
        "storing failed: ValueError at ?",
        "storing failed: KeyError at ?",
        "storing failed: ValueError at ? (and 499 times since it was last said)",
    ]
