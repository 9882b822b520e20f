"""Machines kept between facts say, at every moment and in whatever lots facts come, what batch says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import tables
from tocsin.definitions.load import library
from tocsin.facts import resolve
from tocsin.grading import ward as wards
from tocsin.grading.batch import run
from tocsin.grading.compile import compiled
from tocsin.grading.live import Coder, Live, micros
from tocsin.grading.opcodes import INF
from tocsin.grading.rows import prepare
from tocsin.grading.ward import PlainWard, Ward

LIB = library()
HOUR = 3_600_000_000


def machines(kind: str, scales: tuple[str, ...]) -> PlainWard | Ward:
    """An empty ward of one kind."""
    if kind == "plain":
        return PlainWard(Live(scales, lib=LIB, keeps_rows=False))
    program = compiled(scales, LIB)
    return Ward(program, LIB, Coder(program, LIB))


def by_batch(facts: pa.Table, scales: tuple[str, ...], now: int) -> dict[str, list[list[int]]]:
    """What batch says of every patient at a moment, as numbers."""
    program = compiled(scales, LIB)
    rows, starts, names = prepare(facts, program, LIB)
    found: dict[str, list[list[int]]] = {who: [] for who in names.to_pylist()}
    for line in run(program, rows, starts, now + 1, True, False).tolist():
        found[names[line[0]].as_py()].append(line[1:])
    return {who: sorted(lines) for who, lines in found.items()}


def drawn(seed: int, scales: tuple[str, ...], patients: int = 4, facts: int = 40) -> pa.Table:
    """Random facts with corrections done, in order of time."""
    rng, palette = np.random.default_rng(seed), tables.palette(scales)
    rows = [fact for k in range(patients) for fact in tables.random_facts(rng, palette, f"p{k}", facts)]
    return resolve(tables.table(rows)).sort_by("time")


class Followed:
    """A ward, and all that it has said for good."""

    def __init__(self, kind: str, scales: tuple[str, ...]) -> None:
        self.ward, self.scales = machines(kind, scales), scales
        self.settled: dict[str, list[list[int]]] = {}
        self.anew = 0

    def take(self, new: pa.Table, known: pa.Table, now: int) -> dict[str, list[list[int]]]:
        """Hand over new facts; what is said of their patients at `now`."""
        of: dict[str, list[Any]] = {}
        for fact in new.sort_by("time").to_pylist():
            of.setdefault(fact["patient_id"], []).append(self.ward.coder.code(fact))
        said = self.ward.go_on(of, now)
        lost = sorted(set(of) - set(said))
        self.anew += len(lost)
        theirs = known.filter(pc.is_in(known["patient_id"], pa.array(lost, pa.string())))
        said |= self.ward.begin(theirs.sort_by([("patient_id", "ascending"), ("time", "ascending")]), now)
        assert set(said) == set(of)
        told = {}
        for who, each in said.items():
            mine = self.settled[who] = [] if each.anew else self.settled[who]
            mine += each.settled
            told[who] = sorted(
                [*line[1:3], min(line[3], now + 1), *line[4:]]
                for line in [*mine, *each.beside]
                if line[2] <= now
            )
            assert each.next > now
        return told


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "compiled"])
@pytest.mark.parametrize("scale", LIB.scales)
def test_facts_in_any_lots_are_graded_as_a_file_is(kind, scale):
    """In order of time, some late, carried to the last fact, a day further, and so on."""
    rng = np.random.default_rng(7)
    for seed in range(6):
        facts = drawn(seed, (scale,))
        order = np.arange(facts.num_rows)
        late = rng.random(facts.num_rows) < 0.1
        order = order[np.argsort(order + np.where(late, 30, 0), kind="stable")]
        facts, followed, first = facts.take(pa.array(order)), Followed(kind, (scale,)), 0
        while first < facts.num_rows:
            size = int(rng.integers(1, 30))
            known = facts.slice(0, first + size)
            new = known.slice(first)
            now = micros(pc.max(known["time"]).as_py()) + int(rng.choice([0, 1, 24])) * HOUR
            told = followed.take(new, known, now)
            whole = by_batch(known, (scale,), now)
            assert told == {who: whole[who] for who in told}
            first += size
        assert followed.anew > 0


@pytest.mark.parametrize("kind", ["plain", "compiled"])
def test_time_alone_changes_an_answer_no_earlier_than_was_said(kind):
    """Asked at every `next` it changes as batch says; between two of them it never does."""
    scales = ("astct-2019", "icans-astct-2019")
    facts = drawn(11, scales).sort_by([("patient_id", "ascending"), ("time", "ascending")])
    ward, now = machines(kind, scales), micros(pc.max(facts["time"]).as_py())
    said = ward.begin(facts, now)
    assert len(said) == 4
    for who in said:
        mine = facts.filter(pc.equal(facts["patient_id"], who))
        each, looks = said[who], 0
        while each.next < INF and looks < 40:
            before = by_batch(mine, scales, each.next - 1)[who]
            stood = by_batch(mine, scales, now)[who]
            assert [line[3:] for line in before] == [line[3:] for line in stood]
            now, looks = each.next, looks + 1
            each = ward.go_on({who: ()}, now)[who]
            assert each.next > now
        now = micros(pc.max(facts["time"]).as_py())


def test_who_is_let_go_must_begin_anew_and_leaves_the_place_to_another():
    scales = ("astct-2019",)
    ward, facts = machines("compiled", scales), drawn(3, scales, patients=3)
    now = micros(pc.max(facts["time"]).as_py())
    whole = ward.begin(facts, now)
    ward.forget("p1")
    ward.forget("p1")
    assert "p1" not in ward
    assert "p2" in ward
    assert set(ward.go_on({"p0": (), "p1": (), "p2": ()}, now)) == {"p0", "p2"}
    again = ward.begin(facts, now)
    assert again == whole
    assert len(ward.places) == wards.FIRST


def test_a_ward_grows_and_keeps_what_it_holds(monkeypatch):
    monkeypatch.setattr(wards, "FIRST", 2)
    scales = ("astct-2019",)
    facts = drawn(5, scales, patients=9, facts=12)
    now = micros(pc.max(facts["time"]).as_py())
    at_once = machines("compiled", scales).begin(facts, now)
    ward = machines("compiled", scales)
    for k in range(9):
        ward.begin(facts.filter(pc.equal(facts["patient_id"], f"p{k}")), now)
    for who, each in ward.go_on(dict.fromkeys(at_once, ()), now).items():
        assert each.settled == []
        assert [line[1:] for line in each.beside] == [line[1:] for line in at_once[who].beside]


def test_more_answers_than_there_is_room_for_cost_a_beginning_and_no_answer(monkeypatch):
    scales = ("astct-2019", "icans-astct-2019")
    facts = drawn(9, scales, patients=2, facts=60)
    now = micros(pc.max(facts["time"]).as_py())
    whole = machines("compiled", scales).begin(facts, now)
    ward = machines("compiled", scales)
    walk, rooms = ward._walk, []

    def narrow(names: Any, rows: Any, starts: Any, at: int, room: int, *, anew: bool) -> Any:
        rooms.append(room)
        return walk(names, rows, starts, at, room if len(rooms) > 2 else 1, anew=anew)

    monkeypatch.setattr(ward, "_walk", narrow)
    assert ward.begin(facts, now) == whole
    assert len(rooms) == 3
    rooms.clear()
    assert ward.go_on({"p0": (), "p1": ()}, now + 24 * HOUR) == {}
    assert "p0" not in ward
    assert ward.begin(facts, now) == whole


def test_a_method_that_no_scale_names_is_the_same_one_whichever_way_it_came():
    """Numbers of methods are given once: by whole records, and by facts one by one."""
    program = compiled(("astct-2019",), LIB)
    coder = Coder(program, LIB)
    rows = [
        {"patient_id": "a", "at": at, "measure": "temperature", "value": 38.0, "method": method}
        for at, method in enumerate(("zone", "ear-probe", "zone"))
    ]
    prepared, _, _ = prepare(tables.table(rows), program, LIB, coder.methods)
    facts = tables.table(rows)
    assert [coder.code(row).method for row in facts.to_pylist()] == prepared.method.tolist()
    assert len(set(prepared.method.tolist())) == 2
