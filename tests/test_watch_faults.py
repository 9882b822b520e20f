"""What goes wrong in a cellar: killed, disk full, database gone, clocks that jump, slow and huge senders.

The long loops are in bench/watch.py; here each is shown once, short.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from tocsin.watch import audit, protect
from tocsin.watch.schema import facts
from tocsin.watch.store import Store
from tocsin.watch.writer import BusyError
from wards import opened
from watched import DEVICE, HOUR, NOON, HandClock, fever, running

TOCSIN = Path(sys.executable).with_name("tocsin")


class Process:
    """The real program in a process of its own."""

    def __init__(self, db: str, *more: str) -> None:
        self.child = subprocess.Popen(
            [TOCSIN, "watch", "--db", db, "--port", "0", *more], stdout=subprocess.PIPE, text=True
        )
        assert self.child.stdout
        self.said = []
        for line in self.child.stdout:
            self.said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break
        else:
            raise AssertionError("".join(self.said))
        threading.Thread(target=self.child.stdout.read, daemon=True).start()

    def end(self, number: int) -> int:
        """Send a signal; returns how the program ended."""
        self.child.send_signal(number)
        return self.child.wait(20)


def token(db: str, role: str = "device") -> str:
    """A token by the command line; alone on the last line."""
    done = subprocess.run(
        [TOCSIN, "token", "--db", db, "--role", role], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def hammer(port: int, secret: str, tag: str, answered: list[int], ended: threading.Event) -> None:
    """Send batches until the service is gone; counts what was answered for."""
    import json

    con = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    moment = time.time() - 9 * 3600
    try:
        for number in range(100_000):
            rows = [
                {
                    "patient_id": f"{tag}-{k}", "measure": "temperature", "value": 37.5, "unit": "Cel",
                    "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment + number)),
                }
                for k in range(20)
            ]  # fmt: skip
            con.request("POST", "/facts", json.dumps(rows), headers)
            told = con.getresponse()
            body = json.loads(told.read())
            if told.status == 200:
                answered[0] += body["stored"]
    except (OSError, http.client.HTTPException, ValueError):
        pass
    ended.set()


def stored(db: str) -> tuple[int, int]:
    """How many facts there are, and how many different ones."""
    store = Store.open(db)
    with store.reading() as con:
        count = con.execute(sa.select(sa.func.count()).select_from(facts)).scalar_one()
        same = sa.select(facts.c.patient_id, facts.c.time, facts.c.measure).distinct().subquery()
        different = con.execute(sa.select(sa.func.count()).select_from(same)).scalar_one()
        assert audit.verify(con).whole
    store.close()
    return count, different


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_answered_for_is_there_after_an_end_under_load(tmp_path, number):
    """Killed or ended, nothing that was answered for is lost, and nothing is doubled."""
    db = str(tmp_path / "ward.db")
    secret, answered = token(db), [0]
    for turn in range(3):
        process, ended = Process(db), threading.Event()
        sender = threading.Thread(target=hammer, args=(process.port, secret, f"t{turn}", answered, ended))
        sender.start()
        time.sleep(0.6 + turn / 4)
        began = time.monotonic()
        code = process.end(number)
        assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
        assert time.monotonic() - began < 10
        assert ended.wait(20)
        count, different = stored(db)
        assert count == different
        assert count >= answered[0]
        answered[0] = count
    assert count > 0


def test_ctrl_c_ends_with_130(tmp_path):
    process = Process(str(tmp_path / "ward.db"))
    assert process.end(signal.SIGINT) == 130


def test_a_full_disk_is_said_and_costs_nothing_that_was_stored(tmp_path):
    """A store that cannot grow says so; what was there is there, and it goes on when there is room."""
    with running(f"sqlite:///{tmp_path}/w.db") as service:
        assert service.ingest([fever("p1", -1)], DEVICE).stored == 1
        with service.store.engine.connect() as con:
            pages = con.exec_driver_sql("pragma page_count").scalar_one()
        limit = _limited(service.store, pages)
        many = [fever(f"q{n}", -k / 100) for n in range(40) for k in range(1, 40)]
        with pytest.raises(sa.exc.OperationalError, match="full"):
            service.ingest(many, DEVICE)
        assert service.facts_of("q1").num_rows == 0
        assert not service.probe().well  # although there may be room for so little
        limit(None)
        assert service.ingest(many, DEVICE).stored == len(many)
        service.health.probed = -1e9
        assert service.probe().well
        assert service.facts_of("p1").num_rows == 1
        with service.store.reading() as con:
            assert audit.verify(con).whole


def _limited(store, pages):
    """Let no connection of a SQLite store grow it past `pages`, as a full disk would."""
    state = {"pages": pages}

    @sa.event.listens_for(store.engine, "checkout")
    def checkout(connection, _record, _proxy):
        connection.execute(f"pragma max_page_count = {state['pages'] or 1_000_000_000}")

    def limit(found):
        state["pages"] = found

    return limit


def test_a_database_that_goes_and_comes_back(postgres_url, tmp_path):
    """Cut off in the middle: senders are told, nothing is doubled, and it goes on by itself."""
    from watched import fresh_postgres

    with fresh_postgres(postgres_url) as url, running(url) as service:
        assert service.ingest([fever("p1", -1)], DEVICE).stored == 1
        name = service.store.engine.url.database
        admin = sa.create_engine(
            service.store.engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT"
        )
        with admin.connect() as con:
            con.execute(sa.text(f"alter database {name} allow_connections false"))
            _cut(con, name)
            with pytest.raises((sa.exc.DBAPIError, BusyError)):
                service.ingest([fever("p1", -0.5)], DEVICE)
            assert not service.probe().well
            con.execute(sa.text(f"alter database {name} allow_connections true"))
        admin.dispose()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                receipt = service.ingest([fever("p1", -0.5)], DEVICE)
                break
            except (sa.exc.DBAPIError, BusyError):
                time.sleep(0.2)
        assert receipt.stored + receipt.duplicates == 1
        service.step()
        assert service.facts_of("p1").num_rows == 2
        assert service.standing("p1")["astct-2019"].grade == 1


def _cut(con, name):
    con.execute(
        sa.text("select pg_terminate_backend(pid) from pg_stat_activity where datname = :name"),
        {"name": name},
    )


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_clock_that_jumps_loses_nothing(tmp_path, hours):
    """Set back, time stands; set ahead, everything lapses at once, as if it had passed."""
    clock = HandClock()
    with running(f"sqlite:///{tmp_path}/w.db", clock) as service:
        service.ingest([fever("p1", -1)], DEVICE)
        clock.set(NOON + hours * HOUR)
        service.step()
        each = service.standing("p1")["astct-2019"]
        assert each.grade == (1 if hours < 0 else 0)
        assert each.proven == 1
        assert service.ingest([fever("p1", -0.5)], DEVICE).stored == 1


def raw(address: str, *parts: bytes, pause: float = 0.0, wait: float = 20.0) -> bytes:
    """Bytes over a socket, with pauses; the answer, or nothing."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait) as door:
        try:
            for part in parts:
                door.sendall(part)
                time.sleep(pause)
            return door.recv(65_536)
        except OSError:
            return b""


HEAD = b"POST /facts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def test_a_client_that_dribbles_is_let_go_and_nobody_waits_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(protect, "SLOW", 0.5)
    with opened(tmp_path) as ward:
        slow = [b" " for _ in range(40)]
        answers = []
        dribble = threading.Thread(
            target=lambda: answers.append(
                raw(ward.url, HEAD + b"Content-Length: 50000\r\n\r\n", *slow, pause=0.1)
            )
        )
        dribble.start()
        began = time.monotonic()
        assert b"200" in raw(ward.url, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").splitlines()[0]
        assert time.monotonic() - began < 2
        dribble.join()
        assert not answers[0] or b"408" in answers[0].splitlines()[0]


def test_a_body_of_100_mb_is_refused_before_it_is_read(tmp_path):
    with opened(tmp_path) as ward:
        before = _memory()
        told = raw(ward.url, HEAD + b"Content-Length: 100000000\r\n\r\n", b"[" * 1000)
        assert b"413" in told.splitlines()[0]
        chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        told = raw(ward.url, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 1_600)
        assert not told or b"413" in told.splitlines()[0]
        assert _memory() - before < 150


def _memory() -> float:
    with open(f"/proc/{os.getpid()}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\r\n" * 50,
    ],
)
def test_what_is_no_request_costs_nothing(tmp_path, junk):
    with opened(tmp_path) as ward:
        raw(ward.url, junk, wait=3)
        assert b"200" in raw(ward.url, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").splitlines()[0]


def test_two_workers_under_load_lose_and_double_nothing_and_agree(store_url):
    """Both take facts of the same patients at once, some of them the same facts."""
    with running(store_url) as one, running(store_url) as other:

        def send(service, shift):
            for n in range(25):
                rows = [
                    fever(f"p{k}", -5 + n / 10 + shift * k / 100, 37.0 + (n + k) % 20 / 10) for k in range(4)
                ]
                service.ingest(rows, DEVICE)

        threads = [
            threading.Thread(target=send, args=(service, shift))
            for service, shift in ((one, 0), (other, 0), (one, 1), (other, 2))
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        one.step(), other.step()
        # the row of patient 0 is the same from all four, and the unshifted ones from the first two
        expected = 25 + 3 * 25 * 3
        with one.store.reading() as con:
            assert con.execute(sa.select(sa.func.count()).select_from(facts)).scalar_one() == expected
            assert audit.verify(con).whole
        for patient in ("p0", "p1", "p2", "p3"):
            said = {scale: each.said() for scale, each in one.standing(patient).items()}
            assert said == {scale: each.said() for scale, each in other.standing(patient).items()}
            assert one.grades_of(patient).equals(other.grades_of(patient))
