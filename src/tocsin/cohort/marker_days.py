"""Biomarkers day by day, by the highest grade reached: what their figure is drawn from, and its numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cohort.persons import Persons

#: One row a patient, measure and day since hour 0.
VALUES = pa.schema([
    ("patient_id", pa.string()), ("max_grade", pa.int8()), ("measure", pa.string()), ("day", pa.int32()),
    ("low", pa.float64()), ("high", pa.float64()), ("unit", pa.string()),
])  # fmt: skip
#: Of each patient's highest value of the day: how many have one, median and quartiles.
BY_DAY = pa.schema(
    [
        ("scale", pa.string()),
        ("measure", pa.string()),
        ("unit", pa.string()),
        ("max_grade", pa.int8()),
        ("day", pa.int32()),
        ("n", pa.int64()),
        ("median", pa.float64()),
        ("q1", pa.float64()),
        ("q3", pa.float64()),
    ]
)


def values(persons: Persons, scale: str) -> pa.Table:
    """The values charted from hour 0 on, each with its patient's highest grade under `scale`."""
    markers = persons.cohort.markers
    place, course = persons.place(markers), persons.course(scale)
    day = np.asarray(markers["day"].to_numpy(zero_copy_only=False), np.int64)
    kept = np.flatnonzero((day >= 0) & course.graded[place])
    table = markers.take(pa.array(kept, pa.int64()))
    grade = pa.array(course.grade[place[kept]], pa.int8())
    columns = [grade if name == "max_grade" else table[name] for name in VALUES.names]
    return pa.Table.from_arrays(columns, schema=VALUES)


def by_day(persons: Persons, scale: str) -> pa.Table:
    """Medians and quartiles of `values`, in the columns of `BY_DAY`."""
    table = values(persons, scale).filter(pc.field("high").is_valid())
    keys = ("measure", "unit", "max_grade", "day")
    table = table.sort_by([(name, "ascending") for name in (*keys, "high")])
    rows = []
    for group in table.group_by([*keys], use_threads=False).aggregate([("high", "list")]).to_pylist():
        q1, middle, q3 = np.percentile(group["high_list"], [25, 50, 75])
        rows.append({
            "scale": scale, **{name: group[name] for name in keys}, "n": len(group["high_list"]),
            "median": float(middle), "q1": float(q1), "q3": float(q3),
        })  # fmt: skip
    return pa.Table.from_pylist(rows, BY_DAY)
