"""The simulated ward: full at once, never quiet for long, and never taken for a real one."""

from __future__ import annotations

import http.cookiejar
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from doors_watch import house
from tocsin.grading.batch import grade_table
from tocsin.watch import audit, demo
from tocsin.watch.clock import Clock
from tocsin.watch.intake import batches_of, read, table_of
from tocsin.watch.schema import facts
from tocsin.watch.service import Service, Settings
from tocsin.watch.store import Store
from watched import HOUR, LIB, NOON

TOCSIN = Path(sys.executable).with_name("tocsin")
BEDS = sum(len(hours) for _, _, hours in demo.PATIENTS)
AFTER = partial(demo.next_simulated, lib=LIB)


@contextmanager
def fed(folder: Path, beds: list[demo.Bed], clock: Clock, after=None) -> Iterator[demo.Feeder]:
    """A service with a demonstration in it, when its board is full."""
    store = Store.open(f"sqlite:///{folder}/d.db", clock)
    service = Service(store, lib=LIB, settings=Settings(demo=True))
    service.start()
    feeder = demo.Feeder(service, beds, after)
    feeder.start()
    try:
        assert feeder.full.wait(240)
        yield feeder
    finally:
        service.stop()
        feeder.thread.join(10)
        store.close()


def until(true, seconds: float = 30.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def beds() -> list[demo.Bed]:
    return list(demo.simulated(LIB))


def test_the_demonstration_lives(tmp_path, beds):
    """A full ward at once, somebody ill, somebody nobody measures, and more happens as its clock goes."""
    with fed(tmp_path, beds, Clock(speed=600.0)) as feeder:
        service = feeder.service
        first = service.board("astct-2019")
        assert first.watched == BEDS
        assert first.rows[0].grade >= 2
        assert any(row.state in ("lapsed", "unmeasured", "not-ruled-out") for row in first.rows)
        assert all(row.name and row.bed for row in first.rows)
        assert len({row.therapy for row in first.rows}) > 1
        seq = service.seq
        until(lambda: service.seq > seq)


def test_without_a_model_the_examples_are_replayed_again_and_again(tmp_path, examples):
    beds = list(demo.examples(examples, LIB))
    assert len(beds) == len(list(examples.glob("*.csv")))
    with fed(tmp_path, beds, Clock(speed=36_000.0), demo.next_example) as feeder:
        people = feeder.service.people
        assert {bed.patient_id for bed in beds} <= {*people.of}
        until(lambda: any(who.endswith("-2") for who in people.of if who.startswith("P01")))
        again = demo.next_example(demo.next_example(beds[0]))
        assert again.patient_id == f"{beds[0].patient_id}-2"


def test_somebody_is_always_getting_worse(beds):
    """On every day of two weeks somebody's grade rises."""
    rows = []
    for bed in beds:
        lying = bed
        while lying.since_dose > -14 * 24:
            rows += [row for _, row in demo.facts_of(lying, NOON)]
            lying = AFTER(lying)
    taken = read(batches_of(rows)[0], lib=LIB, now=NOON + 40 * 24 * HOUR)
    assert not taken.refused
    spans = grade_table(table_of(taken.rows), ["astct-2019"], lib=LIB).to_pylist()
    rises = [
        (later["start"].timestamp() * 1e6 - NOON) / HOUR
        for earlier, later in pairwise(spans)
        if earlier["patient_id"] == later["patient_id"] and later["grade"] > earlier["grade"]
    ]
    for day in range(14):
        assert any(day * 24 <= hour < day * 24 + 24 for hour in rises), day


def test_an_empty_bed_is_filled_with_the_same_person_whenever_asked(tmp_path, beds):
    """Who has been there long enough goes home, and somebody of another name comes."""
    old = [bed for bed in beds if bed.since_dose == max(each.since_dose for each in beds)]
    assert AFTER(old[0]) == AFTER(old[0])
    with fed(tmp_path, old, Clock(speed=36_000.0), AFTER) as feeder:
        names = {feeder.service.people.of[old[0].patient_id].name}
        until(lambda: feeder.service.people.of[old[0].patient_id].discharged)
        until(lambda: len(feeder.service.people.watched()) == 1)
        until(lambda: feeder.service.people.watched()[0].name)
        names.add(feeder.service.people.watched()[0].name)
        assert len(names) == 2
        assert feeder.service.people.watched()[0].bed == str(old[0].number + 1)


def counted(store: Store) -> tuple[int, int]:
    """Facts, and different facts."""
    with store.reading() as con:
        told = sa.select(facts.c.patient_id, facts.c.time, facts.c.measure, facts.c.value, facts.c.text)
        every = con.execute(sa.select(sa.func.count()).select_from(facts)).scalar_one()
        assert audit.verify(con).whole
        return every, len({*map(tuple, con.execute(told.distinct()))})


def test_a_demonstration_that_is_opened_again_goes_on(tmp_path, beds):
    """Nobody twice, no fact twice, and who was sent home stays there."""
    few = [beds[0], beds[9]]
    with fed(tmp_path, few, Clock(speed=6_000.0)) as feeder:
        began, seq = feeder.began, feeder.service.seq
        until(lambda: feeder.service.seq > seq + 20)
        feeder.service.discharge(demo.SYSTEM, few[1].patient_id)
    store = Store.open(f"sqlite:///{tmp_path}/d.db")
    left, before = demo.left_at(store), counted(store)
    store.close()
    assert left > began
    with fed(tmp_path, few, Clock(start=left, speed=0.0)) as feeder:
        assert feeder.began == began
        assert [each.patient_id for each in feeder.service.people.watched()] == [few[0].patient_id]
        every, different = counted(feeder.service.store)
        assert different - before[1] == every - before[0]
        assert every >= before[0]


def test_a_visitor_of_the_demonstration_comes_in_by_the_link(tmp_path):
    with house(f"sqlite:///{tmp_path}/w.db", demo_code="open-sesame") as built:
        assert built.browser().get("/demo?code=wrong").status_code == 404
        browser = built.browser()
        assert browser.get("/demo?code=open-sesame").status_code == 303
        page = browser.get("/")
        assert page.status_code == 200
        assert "DEMO" in page.text
        assert "Sign out" in page.text


@pytest.fixture
def program(tmp_path) -> Iterator[subprocess.Popen[str]]:
    """`tocsin watch --demo` as it is started, an hour a second, with a folder for what it keeps."""
    (tmp_path / "kept").mkdir()
    child = subprocess.Popen(
        [TOCSIN, "watch", "--demo", "--port", "0", "--speed", "3600"], text=True, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path / "kept")},
    )  # fmt: skip
    yield child
    child.kill()
    child.communicate()


def test_the_link_it_prints_opens_a_ward_that_lives_and_ctrl_c_leaves_nothing(tmp_path, program):
    began = time.monotonic()
    link = re.search(r"http://\S+", program.stdout.readline())[0]
    assert time.monotonic() - began < 20
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    opener.addheaders = [("Accept", "text/html")]

    def page(path: str) -> str:
        with opener.open(link.split("/demo")[0] + path, timeout=20) as answer:
            return str(answer.read().decode())

    with opener.open(link, timeout=20) as answer:
        assert "DEMO" in answer.read().decode()
    until(lambda: f"{BEDS} watched" in page("/") or page("/").count("/patient/") >= BEDS, 240)
    before = page("/rows")
    until(lambda: page("/rows") != before)
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=20)
    assert program.returncode == 130
    assert "Traceback" not in said
    assert list((tmp_path / "kept").iterdir()) == []


def test_ctrl_c_while_the_ward_is_still_being_made(tmp_path, program):
    """Whoever stops it at once is not kept waiting, and sees no traceback."""
    program.stdout.readline()
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=20)
    assert program.returncode == 130
    assert "Traceback" not in said
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_demonstration_takes_a_free_port_where_the_usual_one_is_taken():
    """Two people may look at one on the same computer; a real ward stays where it is looked for."""
    from tocsin.watch.serve import free_port

    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert free_port("127.0.0.1", taken) == 0
    assert free_port("127.0.0.1", taken) == taken
