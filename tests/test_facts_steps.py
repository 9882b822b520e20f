"""Facts are read row by row and settled patient by patient: how the two steps are joined changes nothing."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.definitions.load import library
from tocsin.facts import canonical, messages, read_rows, settle

LIB = library()
#: Rows that are kept, refused, doubled, finished by a weight or lacking one, corrected and withdrawn.
ROWS = [
    ("temperature", "38.4", "Cel", None, None),
    ("temperature", "101.2", "F", None, None),
    ("temperature", "38.4", None, None, None),
    ("temperature", "400", "Cel", None, None),
    ("temperture", "38.4", "Cel", None, None),
    ("weight", "70", "kg", None, "w1"),
    ("weight", "80", "kg", None, None),
    ("weight", "-3", "kg", None, None),
    ("norepinephrine", "5", "ug/min", None, None),
    ("norepinephrine", "0.1", "ug/kg/min", None, None),
    ("norepinephrine", "3", "mL/h", None, None),
    ("norepinephrine", None, None, "running", None),
    ("fluid-bolus", "0", "mL", None, None),
    ("oxygen-device", None, None, "ventilator", None),
    ("oxygen-device", None, None, "a paper bag", None),
    ("alt", "40", "U/L", "<", None),
]
CHARTED = st.lists(
    st.tuples(
        st.sampled_from(["b", "a", "ab", " ", "c"]),
        st.sampled_from([None, "2026-01-05T08:00Z", "2026-01-05T09:30Z", "2026-01-05T09:30:20.5Z", "8 am"]),
        st.sampled_from(ROWS),
        st.sampled_from([None, None, None, "w1"]),
    ),
    min_size=1,
    max_size=40,
)


def table(rows: list[tuple[str, str | None, tuple[str | None, ...], str | None]]) -> pa.Table:
    names = ("patient_id", "time", "measure", "value", "unit", "text", "source", "replaces")
    whole = [(who, when, *row, replaces) for who, when, row, replaces in rows]
    return pa.table([pa.array(column, pa.string()) for column in zip(*whole, strict=True)], names=names)


@given(CHARTED)
@settings(max_examples=60)
def test_settling_at_once_and_settling_read_rows_are_the_same(rows) -> None:
    """A door hands columns of codes on; a file is read as a table first. Facts and messages are equal."""
    raw = table(rows)
    at_once = canonical(raw, lib=LIB, source="ward.csv")
    read, refused = read_rows(raw, lib=LIB, source="ward.csv")
    settled = settle(read, lib=LIB)
    assert at_once.table.equals(settled.table)
    assert [*messages(at_once.rejects)] == [*messages(refused), *messages(settled.rejects)]


@given(CHARTED, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_rows_of_no_use_change_nothing_for_the_others(rows, random) -> None:
    """A row that is dropped serves nobody as a weight or a twin, and the order of rows does not matter."""
    raw = table(rows)
    facts = canonical(raw, lib=LIB).table.drop_columns("source")
    shuffled = rows + [("a", None, row, None) for row in ROWS if row[4] is None]
    random.shuffle(shuffled)
    assert canonical(table(shuffled), lib=LIB).table.drop_columns("source").equals(facts)
