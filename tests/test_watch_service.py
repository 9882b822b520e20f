"""The live service: what is sent is stored once, graded at once, told, and stays true after a restart."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import sqlalchemy as sa

from tocsin.facts.columns import FactsError
from tocsin.watch import keeping, ledger
from tocsin.watch.audit import verify
from tocsin.watch.clock import Clock
from tocsin.watch.events import KEPT, WAITING, Hub
from tocsin.watch.people import PatientError
from tocsin.watch.roles import SYSTEM, Actor
from tocsin.watch.schema import audit, facts
from tocsin.watch.store import Store, StoreError
from watched import DEVICE, HOUR, NOON, NURSE, HandClock, fact, fever, running


def grade(service, patient="p1", scale="astct-2019"):
    """Grade and what is not ruled out, now."""
    each = service.standing(patient)[scale]
    return each.grade, each.up_to


def test_a_fact_is_graded_when_the_sender_is_answered(store_url):
    with running(store_url) as service:
        receipt = service.ingest([fever("p1", -1)], DEVICE)
        assert (receipt.stored, receipt.duplicates, receipt.rejected) == (1, 0, ())
        assert service.standing("p1")["astct-2019"].grade == 1


def test_what_is_sent_twice_is_stored_once(store_url):
    with running(store_url) as service:
        first = service.ingest([fever("p1", -1), fever("p1", -1)], DEVICE)
        second = service.ingest([fever("p1", -1)], DEVICE)
        assert (first.stored, first.duplicates) == (1, 1)
        assert (second.stored, second.duplicates) == (0, 1)
        assert service.facts_of("p1").num_rows == 1


def test_senders_stored_together_are_told_and_logged_each_for_itself(store_url):
    """Two wait for a third, and are stored in one transaction; the same fact is whoever's came first."""
    with running(store_url) as service:
        told, threads = {}, []
        with service.store.writing():
            for n, name in enumerate("abc"):
                rows = [fever("p1", -1), fever(f"p{n}", -2 - n)]
                threads.append(
                    threading.Thread(
                        target=lambda name=name, rows=rows: told.update(
                            {name: service.ingest(rows, Actor(name, "device"))}
                        )
                    )
                )
                threads[-1].start()
                while service.writer.waiting + service.writer.jobs.qsize() <= n:
                    time.sleep(0.01)
        [thread.join() for thread in threads]
        assert [(told[name].stored, told[name].duplicates) for name in "abc"] == [(2, 0), (1, 1), (1, 1)]
        with service.store.reading() as con:
            log = con.execute(
                sa.select(audit.c.actor, audit.c.patient).where(audit.c.action == "facts:add")
            ).all()
            assert verify(con).whole
        ref = service.store.ref_of
        assert [tuple(row) for row in log] == [("a", None), ("b", ref("p1")), ("c", ref("p2"))]


def test_one_bad_row_never_costs_the_others_and_is_told_with_its_fix(store_url):
    with running(store_url) as service:
        bad = {**fever("p1", -1), "unit": "furlong"}
        receipt = service.ingest([fever("p1", -2), bad, {"patient_id": "p1"}], DEVICE)
        assert receipt.stored == 1
        assert [each["row"] for each in receipt.rejected] == [2, 3]
        assert all(each["why"] and each["fix"] for each in receipt.rejected)


def test_what_could_not_be_read_is_unknown_until_it_is_sent_again_readably(store_url):
    """A pressure in an unknown unit is not no pressure; the same row, mended, lifts the doubt."""
    with running(store_url) as service:
        service.ingest([fever("p1", -1), fact("p1", -1, "spo2", 97, "%")], DEVICE)
        pressure = fact("p1", -0.5, "systolic-bp", 120, "mm[Hg]", source="monitor:7")
        service.ingest([{**pressure, "unit": "furlong"}], DEVICE)
        assert "systolic-bp" in service.standing("p1")["astct-2019"].waiting_for
        service.ingest([pressure], DEVICE)
        assert grade(service) == (1, 1)


def test_the_mended_row_may_come_first(store_url):
    with running(store_url) as service:
        pressure = fact("p1", -0.5, "systolic-bp", 120, "mm[Hg]", source="monitor:7")
        service.ingest([fever("p1", -1), fact("p1", -1, "spo2", 97, "%"), pressure], DEVICE)
        service.ingest([{**pressure, "unit": "furlong"}], DEVICE)
        assert grade(service) == (1, 1)


def test_a_correction_is_a_new_row_and_the_old_one_stays(store_url):
    with running(store_url) as service:
        service.ingest([fever("p1", -1, source="a")], DEVICE)
        service.ingest([fever("p1", -1, 37.0, source="b", replaces="a")], DEVICE)
        assert service.standing("p1")["astct-2019"].grade == 0
        with service.store.reading() as con:
            assert con.execute(sa.select(sa.func.count()).select_from(facts)).scalar_one() == 2


def test_withdrawing_everything_leaves_nobody_graded(store_url):
    with running(store_url) as service:
        service.ingest([fever("p1", -1, source="a")], DEVICE)
        gone = {"patient_id": "p1", "time": fever("p1", -1)["time"], "measure": "temperature"}
        service.ingest([{**gone, "text": "retracted", "replaces": "a"}], DEVICE)
        assert service.standing("p1") == {}


def test_facts_are_never_changed_in_place(store_url):
    with running(store_url) as service:
        service.ingest([fever("p1", -1)], DEVICE)
        with pytest.raises(sa.exc.DBAPIError, match="only ever added"), service.store.writing() as con:
            con.execute(facts.update().values(value=36.0))


def test_a_late_fact_replays_its_patient_alone(store_url):
    with running(store_url) as service:
        service.ingest([fever("p1", -1, 37.0), fever("p2", -1, 37.0)], DEVICE)
        anew: list[str] = []
        recall = service.memory.recall
        service.memory.recall = lambda persons: anew.extend(persons) or recall(persons)
        service.ingest([fever("p1", -3)], DEVICE)
        assert service.standing("p1")["astct-2019"].grade == 1
        assert anew == ["p1"]


def test_a_row_from_the_future_is_refused(store_url):
    with running(store_url) as service:
        receipt = service.ingest([fever("p1", 1)], DEVICE)
        assert receipt.stored == 0
        assert "future" in receipt.rejected[0]["why"]


def test_a_grade_falls_with_time_alone_and_is_shown_as_a_lapse(store_url):
    """Nobody measured: the grade that was proven is remembered, never called recovery."""
    clock = HandClock()
    with running(store_url, clock) as service:
        rows = [fever("p1", -0.5), fact("p1", -0.4, "norepinephrine", 0.05, "ug/kg/min", weight=70)]
        service.ingest([*rows, fact("p1", -0.6, "weight", 70, "kg")], DEVICE)
        assert service.standing("p1")["astct-2019"].grade == 3
        clock.set(NOON + 30 * HOUR)
        service.step()
        each = service.standing("p1")["astct-2019"]
        assert each.grade == 0
        assert each.up_to >= 3
        assert each.proven == 3
        row = service.board("astct-2019").rows[0]
        assert (row.state, row.proven, row.needs) == ("lapsed", 3, True)


def test_a_restart_knows_what_was_known(store_url):
    with running(store_url) as service:
        service.ingest([fever("p1", -1), fact("p1", -1, "systolic-bp", 120, "mm[Hg]")], DEVICE)
        said = service.standing("p1")["astct-2019"].said()
    with running(store_url) as service:
        settled(service)
        assert service.standing("p1")["astct-2019"].said() == said


def test_as_of_answers_with_what_was_known_then(store_url):
    """What came later changes no earlier answer."""
    clock = HandClock()
    with running(store_url, clock) as service:
        service.ingest([fever("p1", -2, 37.0)], DEVICE)
        clock.set(NOON + HOUR)
        service.ingest([fever("p1", -1, 39.0)], DEVICE)
        then = service.grades_of("p1", ["astct-2019"], as_of=NOON).to_pylist()
        now = service.grades_of("p1", ["astct-2019"]).to_pylist()
        assert max(row["grade"] for row in then) == 0
        assert max(row["grade"] for row in now) == 1


def test_two_records_of_one_person_are_read_together_and_apart_again(store_url):
    with running(store_url) as service:
        service.ingest([fever("a", -1), fact("b", -1, "systolic-bp", 120, "mm[Hg]")], DEVICE)
        assert grade(service, "a") == (1, 4)
        service.merge(SYSTEM, "b", "a")
        assert service.facts_of("a").num_rows == 2
        assert "systolic-bp" not in service.standing("a")["astct-2019"].waiting_for
        assert [row.patient_id for row in service.board("astct-2019").rows] == ["a"]
        service.ingest([fact("b", -0.5, "spo2", 97, "%")], DEVICE)
        assert grade(service, "a") == (1, 1)
        service.unmerge(SYSTEM, "b")
        assert grade(service, "a") == (1, 4)
        assert {row.patient_id for row in service.board("astct-2019").rows} == {"a", "b"}
        with service.store.reading() as con:
            actions = list(con.execute(sa.select(audit.c.action)).scalars())
        assert {"patient:merge", "patient:unmerge"} <= set(actions)


@pytest.mark.parametrize(("source", "into"), [("a", "a"), ("a", "nobody"), ("c", "b")])
def test_a_merge_that_cannot_be_is_refused(store_url, source, into):
    with running(store_url) as service:
        service.ingest([fever("a", -1), fever("b", -1), fever("c", -1)], DEVICE)
        service.merge(SYSTEM, "b", "a")
        with pytest.raises(PatientError):
            service.merge(SYSTEM, source, into)


def test_discharge_ends_watching_and_keeps_the_facts(store_url):
    with running(store_url) as service:
        service.ingest([fever("p1", -1)], DEVICE)
        service.discharge(NURSE, "p1")
        assert service.standing("p1") == {}
        assert service.board("astct-2019").rows == ()
        service.ingest([fever("p1", -0.5)], DEVICE)
        assert service.facts_of("p1").num_rows == 2
        service.set_patient(NURSE, "p1", bed="4")
        assert service.standing("p1")["astct-2019"].grade == 1


@pytest.mark.parametrize(
    "details",
    [
        {"birth_date": "1.6.1969"}, {"birth_date": "20260101"}, {"time_zone": "Mars/Olympus"}, {"sex": "x"},
        {"name": "a" * 121}, {"name": "a\x00b"}, {"colour": "red"}, {"bed": 4},
    ],
)  # fmt: skip
def test_a_detail_that_cannot_be_is_refused(tmp_path, details):
    with running(f"sqlite:///{tmp_path}/w.db") as service, pytest.raises(PatientError):
        service.set_patient(NURSE, "p1", **details)


def test_an_erased_person_is_dropped_by_a_service_that_runs(store_url):
    with running(store_url) as service:
        service.ingest([fever("p1", -1), fever("p2", -1)], DEVICE)
        keeping.erase(service.store, Actor("a", "admin"), "p1")
        service.step()
        assert "p1" not in service.memory.held
        assert service.standing("p2")["astct-2019"].grade == 1


def test_two_services_on_one_store_say_the_same(store_url):
    """What one takes the other grades, whoever was asked."""
    with running(store_url) as one, running(store_url) as other:
        settled(one), settled(other)
        for hour in range(12):
            service = (one, other)[hour % 2]
            service.ingest([fever(f"p{hour % 3}", hour / 2 - 6, 38.0 + hour / 10)], DEVICE)
        one.step(), other.step()
        for patient in ("p0", "p1", "p2"):
            assert {k: v.said() for k, v in one.standing(patient).items()} == {
                k: v.said() for k, v in other.standing(patient).items()
            }
        with one.store.reading() as con:
            assert ledger.newest(con) == one.seq == other.seq


def test_a_token_for_one_patient_sends_facts_of_that_one(tmp_path):
    with running(f"sqlite:///{tmp_path}/w.db") as service:
        actor = Actor("t", "device", "p1", "token")
        receipt = service.ingest([fever("p1", -1), fever("p2", -1)], actor)
        assert receipt.stored == 1
        assert "another" in receipt.rejected[0]["why"]


def test_attribution_is_a_clinicians_word(tmp_path):
    with running(f"sqlite:///{tmp_path}/w.db") as service:
        word = fact("p1", -1, "attribution", "fever=infection")
        assert service.ingest([word], NURSE).stored == 0
        assert service.ingest([word], Actor("d", "physician")).stored == 1


@pytest.mark.parametrize("body", [3, "x", None, [1, 2], [[]]])
def test_what_is_no_fact_at_all_is_refused_whole(tmp_path, body):
    from tocsin.watch import intake

    try:
        batches, refused = intake.batches_of(body)
    except FactsError:
        return
    assert batches == []
    assert refused


def test_a_grade_is_told_to_whoever_listens(tmp_path):
    with running(f"sqlite:///{tmp_path}/w.db") as service:
        service.ingest([fever("p1", -1)], DEVICE)
        kinds = [event.kind for _, event in service.hub.kept]
        assert {"grade", "fact"} <= set(kinds)
        assert all("p1" not in str(event.data) for _, event in service.hub.kept)


def test_a_listener_resumes_where_it_left_off():
    hub = Hub()
    ids = [hub.publish("fact", {"n": n}) for n in range(5)]
    assert [event.data["n"] for event in hub.since(ids[2])] == [3, 4]
    assert hub.since(ids[-1]) == []


@pytest.mark.parametrize("last", ["other-3", "x", "-", "9" * 50, "a-9999999"])
def test_a_listener_from_elsewhere_is_told_to_begin_anew(last):
    hub = Hub()
    hub.publish("fact", {})
    assert [event.kind for event in hub.since(last)] == ["reset"]


def test_what_is_too_long_ago_is_not_half_told():
    hub = Hub()
    first = hub.publish("fact", {})
    for _ in range(KEPT + 1):
        hub.publish("fact", {})
    assert [event.kind for event in hub.since(first)] == ["reset"]


def test_a_slow_listener_costs_no_memory_and_is_told_to_begin_anew():
    async def story() -> str:
        hub = Hub()
        stream = hub.listen()
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        for _ in range(4 * WAITING):
            hub.publish("fact", {})
        await asyncio.sleep(0.05)
        assert max(listener.queue.qsize() for listener in hub.listeners) <= WAITING
        (event,) = await first
        return event.kind

    assert asyncio.run(story()) == "reset"


def test_a_clock_set_back_stands_still():
    told = [100.0]
    clock = Clock(source=lambda: told[0])
    before = clock.now()
    told[0] = 40.0
    assert clock.now() == before
    told[0] = 101.0
    assert clock.now() == before + 1_000_000


@pytest.mark.parametrize(
    "url", ["mysql://a/b", "sqlite://", "sqlite:////no/such/folder/x.db", "postgresql://x@127.0.0.1:1/x"]
)
def test_a_store_that_cannot_be_used_is_refused_with_the_fix(url):
    with pytest.raises(StoreError, match="fix"):
        Store.open(url)


def test_a_file_of_patients_is_for_its_owner_alone(tmp_path):
    with running(f"sqlite:///{tmp_path}/w.db") as service:
        service.ingest([fever("p1", -1)], DEVICE)
        modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    assert "w.db-wal" in modes
    assert set(modes.values()) == {0}


def test_the_tables_are_as_the_program_means_them(store_url):
    """Migrations and schema say the same."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from tocsin.watch.schema import metadata

    store = Store.open(store_url)
    with store.engine.connect() as con:
        assert compare_metadata(MigrationContext.configure(con), metadata) == []
    store.close()


def settled(service, seconds=10.0):
    """Wait until everybody is taken up."""
    end = time.monotonic() + seconds
    while service.health.loading and time.monotonic() < end:
        time.sleep(0.02)
    assert not service.health.loading
