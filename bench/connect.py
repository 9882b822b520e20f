"""What other systems send, under load: HL7 v2 messages a second that are durable and graded.

    python bench/connect.py hl7 [--db URL] [--connections 8] [--seconds 20] [--rows 5]

It starts the real program in its own process. Latencies are taken at the client, which runs on the same
cores; CPU time of the service is printed beside, because machines are shared.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta

from watch import TOCSIN, Served, percentiles

START, END = b"\x0b", b"\x1c\x0d"
#: One round of vital signs: LOINC code, value, unit.
SIGNS = (
    ("8310-5", 37.0, "Cel"), ("8480-6", 118.0, "mm[Hg]"), ("8867-4", 88.0, "/min"), ("2708-6", 96.0, "%"),
    ("9279-1", 16.0, "/min"),
)  # fmt: skip


class ServedHl7(Served):
    """The program listening for HL7 v2 in a process of its own."""

    def __init__(self, db: str) -> None:
        words = [TOCSIN, "watch", "--db", db, "--port", "0", "--hl7", "0"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.port = 0
        for line in self.process.stdout:
            if found := re.search(r"HL7 v2 is taken at \S+:(\d+)", line):
                self.port = int(found[1])
                break
        threading.Thread(target=self.process.stdout.read, daemon=True).start()


def oru(sender: int, number: int, patients: int, rows: int, start: datetime) -> bytes:
    """A message of one patient: `rows` observations, a minute after the patient's last ones."""
    who = number % patients
    when = start + timedelta(minutes=number // patients)
    lines = [
        f"MSH|^~\\&|MON|HOSP|TOCSIN|WARD|{when:%Y%m%d%H%M%S}+0000||ORU^R01^ORU_R01|{sender}-{number}|P|2.5.1",
        f"PID|1||b{sender}-{who}^^^HOSP^MR",
        f"OBR|1||{sender}-{number}|vitals|||{when:%Y%m%d%H%M%S}+0000",
    ]
    for row in range(rows):
        code, value, unit = SIGNS[row % len(SIGNS)]
        said = value + (number * 7 + row) % 13 / 10 + (1.4 if row == 0 and who % 5 == 0 else 0)
        lines.append(f"OBX|{row + 1}|NM|{code}^^LN|{row // len(SIGNS)}|{said:.1f}|{unit}|||||F")
    return "\r".join([*lines, ""]).encode()


class Line:
    """A connection that sends a message and waits for its answer."""

    def __init__(self, port: int) -> None:
        self.door = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message: bytes) -> None:
        """Raises where it is not taken whole."""
        self.door.sendall(START + message + END)
        answer = b""
        while not answer.endswith(END):
            piece = self.door.recv(65_536)
            if not piece:
                raise RuntimeError("hung up")
            answer += piece
        if b"\rMSA|AA|" not in answer:
            raise RuntimeError(answer.decode("latin-1"))


def hl7(db: str, connections: int, seconds: float, rows: int, patients: int) -> None:
    """ORU messages a second over so many connections, each waiting for its acknowledgement."""
    served = ServedHl7(db)
    start = datetime.now(UTC) - timedelta(days=2)
    took: list[float] = []
    stop, lock = threading.Event(), threading.Lock()

    def send(sender: int, first: int, until: int | None) -> None:
        line, number = Line(served.port), first
        while number != until and not stop.is_set():
            message = oru(sender, number, patients, rows, start)
            began = time.monotonic()
            line.send(message)
            with lock:
                took.append(time.monotonic() - began)
            number += 1

    def all_of(first: int, until: int | None) -> list[threading.Thread]:
        found = [
            threading.Thread(target=send, args=(sender, first, until), daemon=True)
            for sender in range(connections)
        ]
        for thread in found:
            thread.start()
        return found

    for thread in all_of(0, patients):  # everybody is known and held, before anything is timed
        thread.join()
    took.clear()
    cpu, began = served.cpu(), time.monotonic()
    threads = all_of(patients, None)
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    lasted, used = time.monotonic() - began, served.cpu() - cpu
    kind = "PostgreSQL" if db.startswith("postgres") else "SQLite"
    print(
        f"{kind}, {connections:3d} connections, {rows:3d} observations a message, "
        f"{connections * patients} patients: {len(took) / lasted:6.0f} messages/s, "
        f"{len(took) * rows / lasted:6.0f} observations/s durable and graded; "
        f"answer {percentiles(took)}; service {used / lasted:.2f} cores, {served.memory():.0f} MB; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    served.end()


def main() -> None:
    """One of the loads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("hl7",))
    parser.add_argument("--db")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rows", type=int, default=5)
    parser.add_argument("--patients", type=int, default=10, help="of each connection")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        db = asked.db or f"{folder}/ward.db"
        hl7(db, asked.connections, asked.seconds, asked.rows, asked.patients)


if __name__ == "__main__":
    main()
