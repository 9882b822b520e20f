"""Facts read at once are what each sender's would have been alone."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.watch import gathered, intake
from tocsin.watch.gathered import Gathered
from watched import LIB, NOON, fact, fever

HOURS = st.sampled_from([-3, -1, 5])
#: Facts of every fate: taken, taken otherwise than written, refused with a mark and without.
ROW = st.one_of(
    st.builds(fever, st.sampled_from("ab"), HOURS, st.sampled_from([38.6, 0.1 + 0.2, 390.0])),
    *(
        st.builds(lambda hours, told=told: fact("a", hours, *told[:3], **told[3]), HOURS)
        for told in (
            ("crp", 12, "mg/L", {}), ("crp", 12.5, "mg/L", {}), ("crp", "?", "mg/L", {}),
            ("oxygen-device", "HFNC", None, {}), ("oxygen-device", "tin can", None, {}),
            ("warmth", 1.0, None, {"source": "hl7|x"}), ("norepinephrine", 5.0, "mL/h", {}),
        )
    ),
)  # fmt: skip


def alone(rows):
    return intake.read(intake.batches_of([dict(row) for row in rows])[0], lib=LIB, now=NOON)


def same(one, other):
    assert [row["hash"] for row in one.rows] == [row["hash"] for row in other.rows]
    assert [row["source"] for row in one.rows] == [row["source"] for row in other.rows]
    assert (one.marks, one.refused, one.kept) == (other.marks, other.refused, other.kept)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(ROW, min_size=1, max_size=5), min_size=1, max_size=6))
def test_a_group_is_taken_apart_as_if_each_had_come_alone(senders):
    together = Gathered(LIB, lambda: NOON)
    group = [gathered.Waiting(rows) for rows in senders]
    together._read(group)
    for each, rows in zip(group, senders, strict=True):
        same(each.taken, alone(rows))


def test_many_threads_get_their_own(monkeypatch):
    monkeypatch.setattr(gathered, "ROWS", 4)  # so that groups are full before all are read
    together, found = Gathered(LIB, lambda: NOON), {}

    def read(who):
        found[who] = together.read([fever(f"p{who}", -k / 10) for k in range(1, 4)])

    threads = [threading.Thread(target=read, args=(who,)) for who in range(30)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert {who: {row["patient_id"] for row in taken.rows} for who, taken in found.items()} == {
        who: {f"p{who}"} for who in range(30)
    }


def test_one_that_cannot_be_read_costs_the_others_nothing(monkeypatch):
    read = intake.read

    def failing(batches, **more):
        if any("bad" in batch.column("patient_id").to_pylist() for batch in batches):
            raise ValueError("bad")
        return read(batches, **more)

    monkeypatch.setattr(intake, "read", failing)
    group = [gathered.Waiting([fever(who, -1)]) for who in ("a", "bad", "b")]
    Gathered(LIB, lambda: NOON)._read(group)
    assert [each.error is None for each in group] == [True, False, True]
