"""HL7 v2 results taken a second, durable and graded, over connections that each wait for an answer."""

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

from watch import LOINC, ROUND, TOCSIN, cpu_of, percentiles


def whose(sender: int, number: int, start: datetime) -> tuple[str, datetime]:
    """The patient of a message, and when its round was."""
    who, turn = number % 40, number // 40
    return f"S{sender}-{who}", (start + timedelta(minutes=15 * turn, seconds=who)).replace(microsecond=0)


def message(sender: int, number: int, start: datetime) -> bytes:
    """One round of vital signs of one patient, framed."""
    who, moment = whose(sender, number, start)
    at = f"{moment:%Y%m%d%H%M%S}+0000"
    rows = [
        f"MSH|^~\\&|MONITOR|WARD|TOCSIN|WARD|{at}||ORU^R01^ORU_R01|{sender}-{number}|P|2.5.1",
        f"PID|1||{who}^^^SITE^MR",
        f"OBR|1||{sender}-{number}|VITALS^Vital signs^L|||{at}",
        *(
            f"OBX|{k}|NM|{LOINC[measure]}^{measure}^LN||{value + number % 13 / 10:.1f}|{unit}|||||F|||{at}"
            for k, (measure, value, unit) in enumerate(ROUND, 1)
        ),
    ]
    return b"\x0b" + "\r".join(rows).encode() + b"\x1c\r"


def main(words: list[str]) -> None:
    """The bench."""
    parser = argparse.ArgumentParser(prog="connect.py hl7", description=__doc__)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15)
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        listen = [TOCSIN, "watch", "--db", f"{folder}/ward.db", "--port", "0", "--hl7", "0"]
        served = subprocess.Popen(listen, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert served.stdout
        told = (re.search(r"HL7 v2 is taken at \S*?:(\d+)", line) for line in served.stdout)
        port = int(next(found for found in told if found)[1])
        start, took, stop = datetime.now(UTC) - timedelta(days=9), list[float](), threading.Event()

        def send(sender: int) -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
                for number in range(10**6):
                    if stop.is_set():
                        return
                    began = time.monotonic()
                    line.sendall(message(sender, number, start))
                    answer = b""
                    while not answer.endswith(b"\x1c\r"):
                        answer += line.recv(65_536)
                    assert b"MSA|AA|" in answer, answer
                    took.append(time.monotonic() - began)

        threads = [threading.Thread(target=send, args=(each,)) for each in range(asked.connections)]
        for thread in threads:
            thread.start()
        time.sleep(3)  # everybody is known then
        before, cpu, began = len(took), cpu_of(served.pid), time.monotonic()
        time.sleep(asked.seconds)
        messages, wall, spent = len(took) - before, time.monotonic() - began, cpu_of(served.pid) - cpu
        stop.set()
        for thread in threads:
            thread.join()
        served.terminate()
        served.wait()
    print(f"{asked.connections} connections, messages of 5 results, load {os.getloadavg()[0]:.1f}")
    print(f"  messages acknowledged    {messages / wall:8.0f} /s   ({messages / spent:.0f} a CPU second)")
    print(f"  results stored, graded   {5 * messages / wall:8.0f} /s")
    print(f"  message to answer        {percentiles(took[before:])}")
