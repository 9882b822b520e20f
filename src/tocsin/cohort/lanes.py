"""Patients one by one, as numbers: what swimlanes and heat maps are drawn from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cohort.persons import Persons
from tocsin.cohort.records import Cohort

#: One row a patient that is drawn: hours since hour 0.
LANES = pa.schema([
    ("patient_id", pa.string()), ("group", pa.string()), ("scale", pa.string()), ("max_grade", pa.int8()),
    ("max_up_to", pa.int8()), ("onset", pa.float64()), ("ended", pa.float64()), ("death", pa.float64()),
])  # fmt: skip
SPANS = pa.schema([
    ("patient_id", pa.string()), ("scale", pa.string()), ("start", pa.float64()), ("end", pa.float64()),
    ("grade", pa.int8()), ("up_to", pa.int8()), ("unmeasured", pa.bool_()),
])  # fmt: skip
GIVEN = pa.schema([
    ("patient_id", pa.string()), ("measure", pa.string()), ("kind", pa.string()), ("time", pa.float64()),
    ("end", pa.float64()), ("value", pa.float64()), ("unit", pa.string()), ("text", pa.string()),
    ("rows", pa.int64()),
])  # fmt: skip


def numbers(cohort: Cohort) -> Mapping[str, str]:
    """A number for every patient, by highest grade under the first scale, then onset, then id."""
    persons = Persons(cohort)
    course = persons.course(cohort.scales[0])
    onset = np.nan_to_num(course.first[1], nan=np.inf)
    ids = persons.ids.to_pylist()
    order = np.lexsort((np.argsort(np.argsort(ids)), onset, -course.grade))
    return {ids[place]: str(number) for number, place in enumerate(order.tolist(), 1)}


def renamed(table: pa.Table, names: Mapping[str, str], patient_ids: bool) -> pa.Table:
    """The table with patients called by number, unless they go by their ids."""
    if patient_ids or not table.num_rows:
        return table
    place = table.schema.get_field_index("patient_id")
    ids = pa.array([names[each] for each in table["patient_id"].to_pylist()], pa.string())
    return table.set_column(place, table.schema.field(place), ids)


def tables(cohort: Cohort, names: Mapping[str, str], patient_ids: bool) -> dict[str, pa.Table]:
    """Who is drawn, their spans and what they were given, in hours since hour 0: no date names a day."""
    persons = Persons(cohort)
    drawn = pc.unique(cohort.spans["patient_id"])
    found = {"lanes": [], "lane-spans": [], "lane-given": []}  # type: dict[str, list[pa.Table]]
    who = np.flatnonzero(pc.is_in(persons.ids, value_set=drawn).to_numpy(zero_copy_only=False))
    for scale in cohort.scales:
        course = persons.course(scale)
        mine = who[course.graded[who]]
        people = cohort.people.take(pa.array(mine))
        found["lanes"].append(pa.Table.from_arrays(
            [
                people["patient_id"], people["group"], pa.array([scale] * len(mine), pa.string()),
                pa.array(course.grade[mine], pa.int8()), pa.array(course.up_to[mine], pa.int8()),
                *(pa.array(each[mine], mask=~np.isfinite(each[mine]))
                  for each in (course.first[1], persons.ended, persons.death)),
            ],
            schema=LANES,
        ))  # fmt: skip
    for name, table, schema, times in (
        ("lane-spans", cohort.spans, SPANS, ("start", "end")),
        (
            "lane-given",
            cohort.given.filter(pc.is_in(cohort.given["patient_id"], value_set=drawn)),
            GIVEN,
            ("time", "end"),
        ),
    ):
        place = persons.place(table)
        for column in times:
            hours = persons.hours(table, column, place)
            at = table.schema.get_field_index(column)
            table = table.set_column(at, column, pa.array(hours, mask=~np.isfinite(hours)))
        found[name].append(table.cast(schema))
    return {name: renamed(pa.concat_tables(parts), names, patient_ids) for name, parts in found.items()}
