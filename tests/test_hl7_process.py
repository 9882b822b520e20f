"""The real program with HL7 v2: how it is started, killed under load, and that it grades as files do."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

import tocsin
from hl7s import Sender, listening, obx, oru
from tocsin.watch import audit
from tocsin.watch.schema import facts
from tocsin.watch.store import Store
from watched import LIB, HandClock, running

TOCSIN = Path(sys.executable).with_name("tocsin")


class Process:
    """The real program in a process of its own."""

    def __init__(self, db: str, *more: str) -> None:
        words = ["watch", "--db", db, "--port", "0", "--hl7", "0", *more]
        self.child = subprocess.Popen([TOCSIN, *words], stdout=subprocess.PIPE, text=True)
        assert self.child.stdout
        for line in self.child.stdout:
            if found := re.search(r"HL7 v2 is taken at (\S+)", line):
                self.where = found[1]
                break
        else:
            raise AssertionError("it did not begin")

    def end(self, number: int) -> int:
        """Send a signal; returns how the program ended."""
        self.child.send_signal(number)
        return self.child.wait(20)


def hammer(where: str, tag: str, sure: set[tuple[str, int]], unsure: list[tuple[str, str]]) -> None:
    """Send until the service is gone; keep what was acknowledged, and the one message that was not."""
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=9)
    message = ""
    try:
        with Sender(where) as sender:
            for number in range(100_000):
                when = moment + timedelta(seconds=number)
                row = obx(1, "8310-5", "37.5", "Cel", time=when.strftime("%Y%m%d%H%M%S+0000"))
                message = oru(row, patient=tag, number=f"{tag}-{number}")
                if sender.send(message).code == "AA":
                    sure.add((tag, round(when.timestamp() * 1e6)))
                message = ""
    except OSError:
        if message:
            unsure.append((tag, message))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_acknowledged_message_is_lost_and_one_sent_again_is_stored_once(tmp_path, number):
    """Killed or ended under load, and started again: what was answered for is there, what was not is sent
    again, and everything is there once."""
    db = str(tmp_path / "ward.db")
    sure: set[tuple[str, int]] = set()
    for turn in range(3):
        process = Process(db)
        unsure: list[tuple[str, str]] = []
        senders = [
            threading.Thread(target=hammer, args=(process.where, f"t{turn}-{k}", sure, unsure))
            for k in range(4)
        ]
        [sender.start() for sender in senders]
        time.sleep(0.6 + turn / 4)
        began = time.monotonic()
        assert process.end(number) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
        assert time.monotonic() - began < 10
        [sender.join(20) for sender in senders]
        again = Process(db)
        with Sender(again.where) as sender:
            for _, message in unsure:
                for _ in range(2):
                    assert sender.send(message).code == "AA"
        assert again.end(signal.SIGTERM) == 0
        store = Store.open(db)
        with store.reading() as con:
            rows = con.execute(sa.select(facts.c.patient_id, facts.c.time)).all()
            assert audit.verify(con).whole
        store.close()
        found = {(who, when) for who, when in rows}
        assert len(found) == len(rows)
        assert sure <= found
        assert len(found) <= len(sure) + len(unsure) * (turn + 1) + 4
    assert sure


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--hl7", "0.0.0.0:0"], "nobody is listed who may connect"),
        (["--hl7", "0", "--hl7-allow", "ward"], "neither an address nor a network"),
        (["--hl7", "x"], "no port"),
        (["--hl7-allow", "192.0.2.7"], "needs --hl7"),
        (["--hl7", "0", "--hl7-time-zone", "Europe/Berlinn"], "no time zone"),
        (["--hl7", "0", "--demo"], "real patients would lie among simulated ones"),
    ],
)
def test_what_cannot_be_is_refused_before_it_listens(tmp_path, words, why):
    done = subprocess.run(
        [TOCSIN, "watch", "--port", "0", "--for", "1s", *words],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert why in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said(tmp_path):
    process = Process(str(tmp_path / "a.db"))
    done = subprocess.run(
        [TOCSIN, "watch", "--db", "b.db", "--port", "0", "--for", "1s", "--hl7", process.where],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert process.end(signal.SIGINT) == 130
    assert done.returncode == 1
    assert "cannot listen for HL7 v2" in done.stderr


# --- HL7 v2 is files ------------------------------------------------------------------------------------


def told_by_hl7(service, rows, codes):
    """Send facts as observations, forty a message, told apart by their sub id."""
    measures = sorted({row["measure"] for row in rows})
    codes.write_text("[codes]\n" + "".join(f'"99T|{name}" = "{name}"\n' for name in measures))
    with listening(service, codes=codes) as listener, Sender(listener.bound) as sender:
        for start in range(0, len(rows), 40):
            part = [observed(number, row) for number, row in enumerate(rows[start : start + 40], start)]
            told = sender.send(oru(*part, patient="stay", number=str(start)))
            assert (told.code, told.errors) == ("AA", [])


def observed(number, row):
    """A fact as an OBX."""
    low, high = row["ref_low"], row["ref_high"]
    kind, value = "ST", row["text"]
    if row["value"] is not None:
        kind, value = "NM", repr(row["value"])
        if row["text"]:
            kind, value = "SN", f"{row['text']}^{row['value']!r}"
    return obx(
        number + 1, f"{row['measure']}^^99T", value, row["unit"] or "", kind=kind, sub=str(number),
        limits="" if low is None else f"{low!r}-{high!r}", time=row["time"].strftime("%Y%m%d%H%M%S.%f+0000"),
    )  # fmt: skip


def carried(row):
    """Whether an observation can say all of a fact."""
    return (
        all(row[name] is None for name in ("end", "replaces", "recorded", "method"))
        and row["text"] not in ("unusable", "running", "push")
        and (row["value"] is not None or row["text"] is not None)
        and LIB.measures[row["measure"]].kind in ("number", "category", "infusion")
    )


def a_stay(table, most=4_000):
    """Of the patient with most of them, facts that an observation can say all of."""
    rows = [row for row in table.to_pylist() if carried(row)]
    for row in rows:
        if row["ref_low"] is None or row["ref_high"] is None:
            row["ref_low"] = row["ref_high"] = None
    ((who, _),) = Counter(row["patient_id"] for row in rows).most_common(1)
    return [{**row, "patient_id": "stay"} for row in rows if row["patient_id"] == who][:most]


@pytest.mark.parametrize("source", ["examples/axi-cel-course.csv", "clif"])
def test_a_stay_by_hl7_gets_the_grades_of_the_same_facts_as_a_file(request, tmp_path, source):
    path = request.getfixturevalue("clif_demo") if source == "clif" else Path(__file__).parents[1] / source
    rows = a_stay(tocsin.read(path))
    assert len(rows) > 300
    last = max(row["time"] for row in rows)
    names = ("patient_id", "time", "measure", "value", "text", "unit", "ref_low", "ref_high")
    text = ",".join(names) + "\n"
    for row in rows:
        cells = {**row, "time": row["time"].isoformat()}
        text += ",".join("" if cells[name] is None else str(cells[name]) for name in names) + "\n"
    (tmp_path / "stay.csv").write_text(text)
    scales = ["--scale", "astct-2019", "--scale", "icans-astct-2019", "--scale", "lee-2014"]
    until = (last + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = [TOCSIN, "grade", "stay.csv", *scales, "--as-of", until, "--out", "grades.parquet"]
    subprocess.run(words, check=True, capture_output=True, timeout=120, cwd=tmp_path)
    as_file = pq.read_table(tmp_path / "grades.parquet").to_pylist()
    clock = HandClock(round((last + timedelta(hours=1)).replace(microsecond=0).timestamp() * 1e6))
    with running(f"sqlite:///{tmp_path}/w.db", clock) as service:
        told_by_hl7(service, rows, tmp_path / "codes.toml")
        live = service.grades_of("stay", [name for name in scales if name != "--scale"]).to_pylist()
    compared = ("scale", "start", "end", "grade", "up_to", "ambiguous", "because", "waiting_for", "flags")
    assert [[row[name] for name in compared] for row in live] == [
        [row[name] for name in compared] for row in as_file
    ]
    assert {row["grade"] for row in live} > {0}
