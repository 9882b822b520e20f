"""What goes wrong, again and again, with the real program under load: no fact that was answered for is lost,
none is doubled, the audit log stays whole.

    python bench/faults.py kill [--times 50] [--db URL]    kill -9 while four senders send
    python bench/faults.py hl7 [--times 50] [--db URL]     the same while four send HL7 v2
    python bench/faults.py full [--times 50]               no room on the disk, then room again
    python bench/faults.py gone [--times 50] --db URL      the database (PostgreSQL) cut off, and back
    python bench/faults.py workers [--times 50] --db URL   two workers on one PostgreSQL, one killed in turn
    python bench/faults.py clock [--times 200]             a clock that jumps back and forth: live is batch
    python bench/faults.py slow [--times 50]               clients that dribble, bodies of 100 MB

`--db` names an empty PostgreSQL database to write to. Short forms of these are in tests/test_watch_faults.py.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import connect_hl7
from tocsin.watch.schema import facts
from tocsin.watch.store import Store, url_of
from watch import ROUND, TOCSIN, Client, Served, batch, percentiles, token

START = datetime.now(UTC) - timedelta(days=20)
SENDERS = 4


class Senders:
    """Senders that go on until `stop`; whoever gets no answer sends the same again, as the manual says."""

    def __init__(self, ports: Callable[[int], int], secret: str, *, same: bool = False) -> None:
        self.ports, self.secret, self.same = ports, secret, same
        self.answered: set[tuple[str, str, str]] = set()
        self.refused = 0
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self.threads = [threading.Thread(target=self._send, args=(each,)) for each in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def _send(self, sender: int) -> None:
        client: Client | None = None
        number = 0
        while not self.stopped.is_set():
            rows = batch(0 if self.same else sender, number, 40, START)
            try:
                client = client or Client(self.ports(sender), self.secret)
                client.post(rows)
            except (OSError, http.client.HTTPException, ValueError, RuntimeError):
                client = None
                with self._lock:
                    self.refused += 1
                time.sleep(0.02)
                continue
            with self._lock:
                self.answered.update((row["patient_id"], row["time"], row["measure"]) for row in rows)
            number += 1

    def stop(self) -> None:
        """End sending, each with an answer or without."""
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def check(db: str, answered: set[tuple[str, str, str]]) -> int:
    """Everything answered for is there, once; returns how many facts there are."""
    store = Store.open(db)
    with store.reading() as con:
        rows = con.execute(sa.select(facts.c.patient_id, facts.c.time, facts.c.measure)).all()
    store.close()
    found = {(who, at, what) for who, at, what in rows}
    assert len(found) == len(rows), f"{len(rows) - len(found)} doubled"
    wanted = {(who, micros(at), what) for who, at, what in answered}
    assert wanted <= found, f"{len(wanted - found)} of {len(wanted)} lost"
    subprocess.run([TOCSIN, "audit", "verify", "--db", db], check=True, capture_output=True)
    return len(rows)


def micros(text: str) -> int:
    """A moment as it is stored."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


@contextmanager
def database(asked: str | None) -> Iterator[str]:
    """The database asked for, or a SQLite file of its own."""
    with tempfile.TemporaryDirectory() as folder:
        yield asked or f"{folder}/ward.db"


def kill(db: str, times: int) -> str:
    """kill -9 under load, started again each time."""
    secret = token(db, "device")
    served = [Served(db)]
    senders = Senders(lambda _: served[0].port, secret)
    for turn in range(times):
        time.sleep(0.4 + turn % 7 / 10)
        served[0].end(signal.SIGKILL)
        served[0] = Served(db)
    senders.stop()
    served[0].end()
    return f"kill -9, {times} times, {senders.refused} sends cut off: {check(db, senders.answered)} facts"


class Hl7:
    """The real program that takes HL7 v2, and four senders that send a message again until it is
    acknowledged, as interface engines do."""

    def __init__(self, db: str) -> None:
        self.db, self.answered, self.again = db, set[tuple[str, str, str]](), 0
        self.wrong: list[bytes] = []
        self.stopped, self._lock = threading.Event(), threading.Lock()
        self.begin()
        self.threads = [threading.Thread(target=self._send, args=(each,)) for each in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def begin(self) -> None:
        """Start the program."""
        words = [TOCSIN, "watch", "--db", self.db, "--port", "0", "--hl7", "0"]
        self.program = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.program.stdout
        told = (re.search(r"HL7 v2 is taken at \S*?:(\d+)", line) for line in self.program.stdout)
        self.port = int(next(found for found in told if found)[1])

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal."""
        self.program.send_signal(number)
        self.program.wait(20)

    def flow(self, messages: int = 40) -> None:
        """Wait until so many more messages are acknowledged."""
        before, end = len(self.answered), time.monotonic() + 60
        while len(self.answered) < before + messages * len(ROUND):
            assert not self.wrong, self.wrong
            assert time.monotonic() < end, "nothing is acknowledged any more"
            time.sleep(0.02)

    def _send(self, sender: int) -> None:
        line: socket.socket | None = None
        number = 0
        while not self.stopped.is_set():
            body, answer = connect_hl7.message(sender, number, START), b""
            try:
                line = line or socket.create_connection(("127.0.0.1", self.port), timeout=20)
                line.sendall(body)
                while not answer.endswith(b"\x1c\r"):
                    part = line.recv(65_536)
                    if not part:
                        raise OSError("cut off")
                    answer += part
            except OSError:
                with self._lock:
                    self.again += line is not None
                line = None
                time.sleep(0.02)
                continue
            if f"MSA|AA|{sender}-{number}".encode() not in answer:
                self.wrong.append(answer)
                return
            who, at = connect_hl7.whose(sender, number, START)
            with self._lock:
                self.answered.update((who, at.isoformat(), measure) for measure, *_ in ROUND)
            number += 1

    def stop(self) -> None:
        """End sending, each with an answer or without."""
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def hl7(db: str, times: int) -> str:
    """kill -9 while HL7 v2 is sent, started again each time: what was acknowledged is there, once."""
    loaded = Hl7(db)
    for turn in range(times):
        loaded.flow()
        time.sleep(0.2 + turn % 7 / 10)
        loaded.end(signal.SIGKILL)
        loaded.begin()
    loaded.flow()
    loaded.stop()
    loaded.end()
    assert not loaded.wrong, loaded.wrong
    many = len(loaded.answered) // len(ROUND)
    return (
        f"HL7 v2, kill -9, {times} times, {many} messages acknowledged, {loaded.again} sends cut off: "
        f"{check(db, loaded.answered)} facts"
    )


def full(db: str, times: int) -> str:
    """The disk full under load: the size of files is held where it is, then let go."""
    secret = token(db, "device")
    served = Served(db)
    senders, said = Senders(lambda _: served.port, secret), 0
    asker = Client(served.port, secret)
    for turn in range(times):
        time.sleep(0.3 + turn % 5 / 10)
        size = max(path.stat().st_size for path in Path(db).parent.iterdir())
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        before, end = senders.refused, time.monotonic() + 10
        while senders.refused == before and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(2.1)  # health looks every two seconds
        said += asker.get("/health")[0] == 503
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    senders.stop()
    time.sleep(2.1)
    assert asker.get("/health")[0] == 200, "it goes on when there is room"
    served.end()
    return (
        f"disk full, {times} times, {senders.refused} sends refused, health said so {said} times: "
        f"{check(db, senders.answered)} facts"
    )


def gone(db: str, times: int) -> str:
    """The database cut off under load, and back."""
    secret = token(db, "device")
    served = Served(db)
    senders = Senders(lambda _: served.port, secret)
    name = url_of(db).database
    admin = sa.create_engine(url_of(db).set(database="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as con:
        for turn in range(times):
            time.sleep(0.3 + turn % 5 / 10)
            con.execute(sa.text(f'alter database "{name}" allow_connections false'))
            con.execute(
                sa.text("select pg_terminate_backend(pid) from pg_stat_activity where datname = :name"),
                {"name": name},
            )
            time.sleep(0.2 + turn % 3 / 5)
            con.execute(sa.text(f'alter database "{name}" allow_connections true'))
    admin.dispose()
    time.sleep(1)
    senders.stop()
    served.end()
    return f"database gone, {times} times, {senders.refused} refused: {check(db, senders.answered)} facts"


def workers(db: str, times: int) -> str:
    """Two workers on one database take the same facts at once, and are killed in turn."""
    secret, nurse = token(db, "device"), token(db, "nurse")
    served = [Served(db), Served(db)]
    senders = Senders(lambda sender: served[sender % 2].port, secret, same=True)
    for turn in range(times):
        time.sleep(0.4 + turn % 5 / 10)
        served[turn % 2].end(signal.SIGKILL)
        served[turn % 2] = Served(db)
    senders.stop()
    time.sleep(3)
    said = []
    for worker in served:
        asker = Client(worker.port, nurse)
        while json.loads(asker.get("/health")[1])["loading"]:
            time.sleep(0.1)
        told = json.loads(asker.get("/patients?limit=1000")[1])["patients"]
        said.append({
            one["ref"]: [(scale, each["grade"], each["up_to"]) for scale, each in one["grades"].items()]
            for one in told
        })  # fmt: skip
        worker.end()
    assert said[0] == said[1], "the workers do not agree"
    count = check(db, senders.answered)
    return (
        f"two workers, one killed {times} times, {senders.refused} sends cut off: {count} facts, "
        f"both say the same of {len(said[0])} patients"
    )


def clock(db: str, times: int) -> str:
    """A clock that jumps up to three days either way between facts: the end is what batch says."""
    from tocsin.definitions.load import library
    from tocsin.watch.clock import Clock
    from tocsin.watch.roles import Actor
    from tocsin.watch.service import Service

    chance = random.Random(7)
    now = [time.time()]
    service = Service(Store.open(db, Clock(source=lambda: now[0])), lib=library())
    service.start()
    sent: list[dict[str, Any]] = []
    for turn in range(times):
        now[0] += chance.choice((-72, -5, -0.1, 0.1, 1, 5, 72)) * 3600
        latest = service.clock.now() / 1e6
        rows = [
            {
                "patient_id": f"p{k}", "measure": "temperature", "unit": "Cel",
                "value": round(36.5 + chance.random() * 3, 1),
                "time": datetime.fromtimestamp(latest - chance.random() * 7200, UTC).isoformat(),
            }
            for k in range(5)
        ]  # fmt: skip
        assert service.ingest(rows, Actor("monitor", "device")).stored == 5, turn
        sent += rows
        service.step()
    service.step()
    for who in (f"p{k}" for k in range(5)):
        for scale, each in service.standing(who).items():
            last = service.grades_of(who, [scale], as_of=each.now).to_pylist()[-1]
            assert (last["grade"], last["up_to"]) == (each.grade, each.up_to), (who, scale)
    service.stop()
    service.store.close()
    keys = {(row["patient_id"], row["time"], row["measure"]) for row in sent}
    return f"clock jumped {times} times: {check(db, keys)} facts, live says what files say"


def slow(db: str, times: int) -> str:
    """Clients that dribble and bodies of 100 MB, while others send: these hardly notice."""
    secret = token(db, "device")
    served = Served(db)
    before = served.memory()
    head = b"POST /facts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    stop = threading.Event()

    def dribble() -> None:
        while not stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", served.port), timeout=5) as door:
                    door.sendall(head + b"Content-Length: 50000\r\n\r\n")
                    while not stop.is_set():
                        door.sendall(b" ")
                        time.sleep(0.1)
            except OSError:
                continue

    def flood() -> None:
        chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        while not stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", served.port), timeout=20) as door:
                    door.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
                    for _ in range(1_600):
                        door.sendall(chunk)
            except OSError:
                time.sleep(0.2)

    for what in (*[dribble] * 30, flood):
        threading.Thread(target=what, daemon=True).start()
    time.sleep(1)
    client, took, keys = Client(served.port, secret), [], set()
    for number in range(times * 5):
        rows = batch(0, number, 40, START)
        began = time.monotonic()
        client.post(rows)
        took.append(time.monotonic() - began)
        keys.update((row["patient_id"], row["time"], row["measure"]) for row in rows)
    grown = served.memory() - before
    stop.set()
    ended = served.end()
    return (
        f"30 dribblers and 100 MB bodies beside {len(took)} posts: {percentiles(took)}, "
        f"{grown:.0f} MB more, ended in {ended:.1f} s: {check(db, keys)} facts"
    )


def main() -> None:
    """One of the loops."""
    loops = {each.__name__: each for each in (kill, hl7, full, gone, workers, clock, slow)}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=loops)
    parser.add_argument("--db")
    parser.add_argument("--times", type=int, default=50)
    asked = parser.parse_args()
    with database(asked.db) as db:
        told = loops[asked.what](db, asked.times)
    print(f"{told}; none lost, none doubled, audit log whole (load {os.getloadavg()[0]:.1f})")


if __name__ == "__main__":
    main()
