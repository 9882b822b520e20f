"""Live = batch: facts in any order, sent twice, corrected, with restarts in between, give the same grades."""

from __future__ import annotations

import os
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import tables
from tocsin.facts import read_rows, resolve, settle
from tocsin.grading.batch import grade_table
from tocsin.sources.table import File, Form
from tocsin.watch.clock import moment_of
from tocsin.watch.roles import SYSTEM
from tocsin.watch.service import Service, Settings
from tocsin.watch.standing import Span
from tocsin.watch.store import Store
from watched import HOUR, LIB, HandClock, fresh_postgres

SCALES = ("astct-2019", "icans-astct-2019")
FACTS = tables.tables(SCALES)
START = round(tables.ORIGIN.timestamp() * 1_000_000)
BEYOND = 400 * 24 * HOUR
UNITS = {name: LIB.measure(name).unit for name in LIB.measures}


def sent(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as a sender writes them."""
    rows = []
    for i, row in enumerate(table.to_pylist()):
        fact = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in row.items()
            if value is not None and name not in ("weight", "pending")
        }
        if UNITS.get(row["measure"]) and row["value"] is not None and "unit" not in fact:
            fact["unit"] = UNITS[row["measure"]]
        fact["source"] = f"row:{i}"
        rows.append(fact)
    return rows


def batch(rows: list[dict[str, Any]], now: int) -> pa.Table:
    """What `tocsin grade` says of the same rows, all at once, in the order of the file."""
    if not rows:
        return grade_table(settle(pa.table({}), lib=LIB).table if False else _empty(), SCALES, lib=LIB)
    seen = {key for row in rows for key in row}
    numbered = [{**row, "row": i} for i, row in enumerate(rows, 1)]
    file = File(Path(), "the body", Form("jsonl"))
    read, _ = read_rows(file.columns(numbered, {*seen, "row"}, None), lib=LIB, source="")
    facts = resolve(settle(read, lib=LIB).table)
    return grade_table(facts, SCALES, lib=LIB, as_of=moment_of(now))


def _empty() -> pa.Table:
    from tocsin.facts import SCHEMA

    return SCHEMA.empty_table()


def rows_of(table: pa.Table, patient: str) -> list[tuple[Any, ...]]:
    """A patient's intervals, comparable."""
    return sorted(
        (
            row["scale"], row["start"], row["end"], row["grade"], row["up_to"], row["ambiguous"],
            tuple(row["because"]), tuple(row["waiting_for"]), tuple(row["flags"]),
        )
        for row in table.to_pylist()
        if row["patient_id"] == patient
    )  # fmt: skip


def spans_of(table: pa.Table, patient: str, scale: str) -> list[Span]:
    """The run of grades of a patient, whatever the reasons."""
    runs: list[Span] = []
    for row in sorted(table.to_pylist(), key=lambda each: each["start"]):
        if (row["patient_id"], row["scale"]) != (patient, scale):
            continue
        if not runs or (runs[-1].grade, runs[-1].up_to) != (row["grade"], row["up_to"]):
            runs.append(Span(round(row["start"].timestamp() * 1e6), row["grade"], row["up_to"]))
    return runs


class Ward(RuleBasedStateMachine):
    """Whatever happens to a service, it says what batch says of what it was sent."""

    url = ""

    @initialize(table=FACTS, random=st.randoms(use_true_random=False))
    def begin(self, table: pa.Table, random: Any) -> None:
        """A service on an empty store, and facts to send in any order."""
        self.folder = tempfile.TemporaryDirectory()
        self.database = None
        if self.url:
            self.database = fresh_postgres(self.url)
            self.address = self.database.__enter__()
        else:
            self.address = f"sqlite:///{self.folder.name}/ward.db"
        self.clock = HandClock(START + BEYOND)
        self.waiting = sent(table)
        random.shuffle(self.waiting)
        self.stored: list[dict[str, Any]] = []
        self.open()

    def open(self) -> None:
        """Start a service on the store."""
        self.service = Service(
            Store.open(self.address, self.clock), lib=LIB, scales=SCALES, settings=Settings(demo=True)
        )
        self.service.start()
        while self.service.health.loading:  # until then it says of nobody where they stand
            time.sleep(0.001)

    @precondition(lambda self: self.waiting)
    @rule(count=st.integers(1, 12))
    def send(self, count: int) -> None:
        """Some facts arrive."""
        part, self.waiting = self.waiting[:count], self.waiting[count:]
        receipt = self.service.ingest(part, SYSTEM)
        assert receipt.stored + receipt.duplicates + len(receipt.rejected) == len(part)
        self.stored += part

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        """Facts sent before arrive once more: none is stored twice."""
        part = data.draw(st.lists(st.sampled_from(self.stored), min_size=1, max_size=4))
        assert self.service.ingest(part, SYSTEM).stored == 0

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), retracted=st.booleans())
    def correct(self, data: st.DataObject, retracted: bool) -> None:
        """A fact is withdrawn, or replaced by the same an hour later."""
        old = data.draw(st.sampled_from(self.stored))
        new = {**old, "replaces": old["source"], "source": f"{old['source']}+{len(self.stored)}"}
        if retracted:
            new["text"] = "retracted"
            new.pop("value", None)
        else:
            new["time"] = (datetime.fromisoformat(old["time"]) + tables.QUARTER * 4).isoformat()
            new.pop("end", None)
        self.service.ingest([new], SYSTEM)
        self.stored.append(new)

    @rule()
    def restart(self) -> None:
        """The service ends and begins anew."""
        self.close()
        self.open()

    @rule(hours=st.sampled_from((1, 8, 24, 24 * 7)))
    def wait(self, hours: int) -> None:
        """Time passes, and with it what was measured."""
        self.clock.set(self.clock.now() + hours * HOUR)
        self.service.step()

    @invariant()
    def agrees(self) -> None:
        """The store's answer and the machines' are batch's."""
        if not hasattr(self, "service"):
            return
        now = self.clock.now()
        whole = batch(self.stored, now)
        for patient in sorted({row["patient_id"] for row in self.stored}):
            assert rows_of(self.service.grades_of(patient), patient) == rows_of(whole, patient)
            held = self.service.memory.held.get(patient)
            for scale in SCALES:
                expected = spans_of(whole, patient, scale)
                assert (held.spans.get(scale, []) if held else []) == expected

    def close(self) -> None:
        """End the service."""
        self.service.stop()
        self.service.store.close()

    def teardown(self) -> None:
        """Leave nothing behind."""
        if hasattr(self, "service"):
            self.close()
            if self.database is not None:
                self.database.__exit__(None, None, None)
            self.folder.cleanup()


QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(params=["plain", "compiled"])
def machines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the compiled machine counts as loaded."""
    monkeypatch.setattr("tocsin.watch.live.is_warm", lambda entry: request.param == "compiled")


def test_live_is_batch_on_sqlite(machines):
    class OnSqlite(Ward):
        pass

    run_state_machine_as_test(
        OnSqlite,
        settings=settings(
            max_examples=int(os.environ.get("TOCSIN_STATEFUL", "25")), stateful_step_count=12, **QUIET
        ),
    )


def test_live_is_batch_on_postgresql(postgres_url, machines):
    class OnPostgres(Ward):
        url = postgres_url

    run_state_machine_as_test(OnPostgres, settings=settings(max_examples=8, stateful_step_count=10, **QUIET))


def test_what_fails_half_way_costs_no_part_of_the_record(tmp_path, machines, monkeypatch):
    """The machine has moved on when the store goes away; afterwards the record is whole."""
    clock = HandClock(START + 40 * HOUR)
    service = Service(
        Store.open(f"sqlite:///{tmp_path}/w.db", clock), lib=LIB, scales=SCALES, settings=Settings(demo=True)
    )
    service.start()
    facts: list[dict[str, Any]] = []

    def send(hours: float, value: float) -> None:
        moment = moment_of(round(START + hours * HOUR)).isoformat()
        fact = {"patient_id": "p", "time": moment, "measure": "temperature", "value": value, "unit": "Cel"}
        facts.append({**fact, "source": f"row:{hours}"})
        service.ingest(facts[-1:], SYSTEM)

    send(0, 37.0)
    send(2, 38.6)
    send(6, 37.0)
    read = service.memory.reader.read

    def broken(*_: Any) -> Any:
        monkeypatch.setattr(service.memory.reader, "read", read)
        raise OSError("the store is gone")

    monkeypatch.setattr(service.memory.reader, "read", broken)
    send(9, 38.9)  # stored, and not graded yet
    service.step()
    send(9, 38.2)
    send(30, 37.1)
    whole = batch(facts, clock.now())
    for scale in SCALES:
        assert service.memory.held["p"].spans[scale] == spans_of(whole, "p", scale)
    assert len(service.memory.held["p"].spans["astct-2019"]) >= 4
    service.stop()
    service.store.close()
