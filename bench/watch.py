"""The live service under load: facts stored and graded a second, from POST to the event, memory.

    python bench/watch.py load [--db URL] [--seconds 20]     sustained load, batches of 50
    python bench/watch.py hold [--patients 2000] [--days 14]  memory and pages with many patients held
    python bench/watch.py soak [--hours 24] [--speed 720]    a simulated ward for a day, memory every hour

Each starts the real program in its own process; what goes wrong is tried in bench/faults.py. Latencies are
taken at the client, which runs on the same cores; CPU time of the service is printed beside, because machines
are shared.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from typing import Any

from tocsin.grading.ward import warm

TOCSIN = Path(sys.executable).with_name("tocsin")
TICKS = os.sysconf("SC_CLK_TCK")
ROUND = (
    ("temperature", 37.0, "Cel"), ("systolic-bp", 118.0, "mm[Hg]"), ("heart-rate", 88.0, "/min"),
    ("spo2", 96.0, "%"), ("respiratory-rate", 16.0, "/min"),
)  # fmt: skip
#: Their codes, for the doors that are sent codes.
LOINC = {
    "temperature": "8310-5", "systolic-bp": "8480-6", "heart-rate": "8867-4", "spo2": "2708-6",
    "respiratory-rate": "9279-1",
}  # fmt: skip


class Served:
    """The program in a process of its own."""

    def __init__(self, db: str, *more: str) -> None:
        warm(anew=True)  # compiled before, as on any computer on which a service has run for a minute
        self.process = subprocess.Popen(
            [TOCSIN, "watch", "--db", db, "--port", "0", *more], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.port, self.code = 0, ""
        for line in self.process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)(?:/demo\?code=(\S+))?", line):
                self.port, self.code = int(found[1]), found[2] or ""
                break
        self.drain = threading.Thread(target=self.process.stdout.read, daemon=True)
        self.drain.start()

    def memory(self) -> float:
        """Resident memory, MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found
        return int(found[1]) / 1024

    def cpu(self) -> float:
        """CPU seconds used."""
        return cpu_of(self.process.pid)

    def settle(self) -> None:
        """Wait until it has loaded what it loads beside its first answers."""
        before, used = -1.0, self.cpu()
        while used - before > 0.02:
            time.sleep(0.5)
            before, used = used, self.cpu()

    def end(self, number: int = signal.SIGTERM) -> float:
        """End it; returns the seconds that took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(30)
        return time.monotonic() - began


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used."""
    parts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / TICKS


def token(db: str, role: str) -> str:
    """A token of a role."""
    done = subprocess.run(
        [TOCSIN, "token", "--db", db, "--role", role], capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-1]


class Client:
    """One connection that posts facts."""

    def __init__(self, port: int, secret: str) -> None:
        self.port, self.secret = port, secret
        self.con = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Ask."""
        self.con.request("GET", path, headers={"Authorization": f"Bearer {self.secret}", **(headers or {})})
        answer = self.con.getresponse()
        return answer.status, answer.read()

    def post(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Send facts."""
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        self.con.request("POST", "/facts", json.dumps(rows), headers)
        answer = self.con.getresponse()
        told: dict[str, Any] = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {told}")
        return told


def batch(sender: int, number: int, patients: int, start: datetime) -> list[dict[str, Any]]:
    """Fifty facts of ten patients: one round of vital signs each, in order of time."""
    rows = []
    for k in range(10):
        who = (number * 10 + k) % patients
        at = (start + timedelta(seconds=number * 10 // patients * 60 + k)).isoformat()
        for measure, value, unit in ROUND:
            said = (
                value + (number * 7 + k) % 13 / 10 + (1.4 if measure == "temperature" and who % 5 == 0 else 0)
            )
            rows.append(
                {
                    "patient_id": f"s{sender}-{who}",
                    "time": at,
                    "measure": measure,
                    "value": round(said, 1),
                    "unit": unit,
                }
            )
    return rows


def percentiles(values: list[float]) -> str:
    """The median and the 99th, in ms."""
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    return f"p50 {cuts[49] * 1e3:6.1f} ms  p99 {cuts[98] * 1e3:6.1f} ms"


def load(db: str, seconds: float, senders: int, patients: int) -> None:
    """Sustained load by several senders, each waiting for its answer; a listener takes the events."""
    device, nurse = token(db, "device"), token(db, "nurse")
    served = Served(db)
    start = datetime.now(UTC) - timedelta(days=2)
    warm = Client(served.port, device)
    for sender in range(senders):
        for number in range(max(1, patients // 10)):
            warm.post(batch(sender, number, patients, start))
    refs: dict[str, str] = {}
    asker, after = Client(served.port, nurse), ""
    while True:
        told = json.loads(asker.get(f"/patients?limit=1000&after={after}")[1])
        refs.update({each["patient_id"]: each["ref"] for each in told["patients"]})
        if not told["more"]:
            break
        after = told["patients"][-1]["ref"]
    sent: dict[str, float] = {}
    posts: list[float] = []
    events: list[float] = []
    stored, stop = [0], threading.Event()
    lock = threading.Lock()

    def listen() -> None:
        con = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        con.request("GET", "/events", headers={"Authorization": f"Bearer {nurse}"})
        answer = con.getresponse()
        kind = ""
        while not stop.is_set():
            line = answer.readline().decode()
            if line.startswith("event:"):
                kind = line[6:].strip()
            elif line.startswith("data:") and kind == "fact":
                now, ref = time.monotonic(), json.loads(line[5:]).get("ref")
                with lock:
                    if ref in sent:
                        events.append(now - sent.pop(ref))

    def send(sender: int) -> None:
        client, number = Client(served.port, device), max(1, patients // 10)
        while not stop.is_set():
            rows = batch(sender, number, patients, start)
            began = time.monotonic()
            with lock:
                sent[refs[rows[0]["patient_id"]]] = began
            told = client.post(rows)
            with lock:
                posts.append(time.monotonic() - began)
                stored[0] += told["stored"]
            number += 1

    threading.Thread(target=listen, daemon=True).start()
    time.sleep(0.5)
    cpu, began = served.cpu(), time.monotonic()
    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(senders)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    took, used = time.monotonic() - began, served.cpu() - cpu
    kind = "PostgreSQL" if db.startswith("postgres") else "SQLite"
    print(
        f"{kind}, {senders} senders, batches of 50, {len(refs)} patients, {took:.0f} s, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    print(
        f"  facts stored and graded  {stored[0] / took:8.0f} /s   "
        f"({stored[0] / used:.0f} a CPU second of the service)"
    )
    print(f"  POST to answer           {percentiles(posts)}")
    print(f"  POST to event            {percentiles(events)}   ({len(events)} events)")
    print(f"  memory                   {served.memory():8.0f} MB, ends in {served.end():.1f} s")


def hold(db: str, patients: int, days: int) -> None:
    """Memory with many patients held, the time to take them up, and how quick pages are then."""
    from tocsin.definitions.load import library
    from tocsin.watch import intake, ledger, people
    from tocsin.watch.store import Store

    store, lib = Store.open(db), library()
    end = datetime.now(UTC) - timedelta(hours=1)
    began = time.monotonic()
    with store.reading() as con:
        count = ledger.newest(con)
    for first in range(0, 0 if count else patients, 20):  # a store that is there already is taken as it is
        rows = [
            {
                "patient_id": f"p{who}", "time": (end - timedelta(hours=4 * k, minutes=who % 60)).isoformat(),
                "measure": measure, "value": round(value + (k * 7 + who) % 13 / 10, 1), "unit": unit,
            }
            for who in range(first, min(first + 20, patients))
            for k in range(days * 6)
            for measure, value, unit in ROUND
        ]  # fmt: skip
        taken = intake.read(intake.batches_of(rows)[0], lib=lib, now=store.clock.now()).rows
        with store.writing() as con:
            ledger.admit(con, [row["patient_id"] for row in taken], store.clock.now())
            received = store.clock.now()
            ledger.append(con, [{**row, "sender": "bench", "received": received} for row in taken])
            people.changed(con)
        count += len(taken)
    store.close()
    print(f"{patients} patients x {days} days: {count} facts stored in {time.monotonic() - began:.0f} s")
    secret, device = token(db, "nurse"), token(db, "device")
    began = time.monotonic()
    served = Served(db)
    empty = served.memory()
    client = Client(served.port, secret)
    sender, number, posts = Client(served.port, device), 0, []
    while json.loads(client.get("/health")[1])["loading"]:
        sent_at = time.monotonic()
        sender.post(batch(9, number, 100, end - timedelta(days=1)))
        posts.append(time.monotonic() - sent_at)
        number += 1
        time.sleep(0.1)
    print(
        f"  taken up in {time.monotonic() - began:.0f} s, "
        f"{empty:.0f} MB at first, {served.memory():.0f} MB then"
    )
    print(f"  meanwhile, POST to answer {percentiles(posts)}")
    for who in range(0, patients, 10):  # every machine is needed once: the most it ever holds
        at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
        sender.post([
            {"patient_id": f"p{k}", "time": at, "measure": "temperature", "value": 37.1, "unit": "Cel"}
            for k in range(who, min(who + 10, patients))
        ])  # fmt: skip
    most = served.memory()
    print(
        f"  {most:.0f} MB with every machine in memory: {(most - empty) / patients * 1024:.0f} KB a patient"
    )
    client = Client(served.port, secret)  # the service lets go of who is silent for long
    ref = json.loads(client.get("/patients?limit=1")[1])["patients"][0]["ref"]
    for path in (f"/patient/{ref}", "/rows", f"/patients/{ref}/grades"):
        times = []
        for _ in range(30):
            began = time.monotonic()
            status, _body = client.get(path, {"Accept": "text/html"})
            times.append(time.monotonic() - began)
            assert status == 200, (path, status)
        print(f"  {path.replace(ref, 'REF'):24} {percentiles(times)}")
    served.end()


def soak(hours: float, speed: float) -> None:
    """A simulated ward for `hours` of its own clock; memory every hour."""
    served = Served.__new__(Served)
    with tempfile.TemporaryDirectory() as folder:
        Served.__init__(served, f"{folder}/demo.db", "--demo", "--speed", str(speed))
        began, seen = time.monotonic(), []
        while time.monotonic() - began < hours * 3600 / speed:
            time.sleep(3600 / speed)
            seen.append(served.memory())
            print(f"  {(time.monotonic() - began) * speed / 3600:5.1f} h  {seen[-1]:.0f} MB", flush=True)
        half = len(seen) // 2
        print(
            f"soak of {hours:g} h at {speed:g} times: {seen[half]:.0f} MB at half, "
            f"{seen[-1]:.0f} MB at the end"
        )
        served.end()


def main() -> None:
    """One of the benches."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("load", "hold", "soak"))
    parser.add_argument("--db")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--patients", type=int, default=0)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--speed", type=float, default=720)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        db = asked.db or f"{folder}/ward.db"
        if asked.what == "load":
            load(db, asked.seconds, asked.senders, asked.patients or 100)
        elif asked.what == "hold":
            hold(db, asked.patients or 2_000, asked.days)
        else:
            soak(asked.hours, asked.speed)


if __name__ == "__main__":
    main()
