"""What is kept of a cohort: tables at the level of patient, course, episode and dose, never single readings.

`gather` makes them in one pass over the facts, whole patients at a time, so that a cohort needs memory by its
patients and not by its rows. Everything a report prints, draws or exports is made from these tables alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from tocsin.episodes import SCHEMA as EPISODES

INSTANT = pa.timestamp("us", tz="UTC")
WORDS = pa.list_(pa.string())
GRADES = (1, 2, 3, 4, 5)

#: One row a patient. `zero` is hour 0 of everything counted in hours: the first dose of a therapy where one
#: is charted (`zero_is` "first-dose"), else the first fact ("first-fact"). `first` and `last` are the first
#: and the last charted fact; `ended` is where follow-up ends: death, else the last charted fact, so that
#: readings that merely still stand count as no observation. `doses` are the instants of all therapy doses in
#: order, `dose_names` which therapy each was. `group` is what the cohort is told apart by ("all" where by
#: nothing).
PEOPLE = pa.schema([
    ("patient_id", pa.string()), ("group", pa.string()), ("therapy", pa.string()), ("zero", INSTANT),
    ("zero_is", pa.string()), ("doses", pa.list_(INSTANT)), ("dose_names", WORDS), ("first", INSTANT),
    ("last", INSTANT), ("ended", INSTANT), ("death", INSTANT), ("cause_of_death", pa.string()),
    ("age", pa.float64()), ("sex", pa.string()), ("facts", pa.int64()),
])  # fmt: skip

#: One row a patient and scale, from `zero` on. `first_k` is the first instant at grade k or above; `hours`
#: what was graded, `hours_open` where `up_to` is above `grade`, `hours_unmeasured` where grade 0 stands only
#: because nobody measured (grade 0, something ruled neither in nor out, and waited for); `open_grade_hours`
#: is `up_to` minus `grade` summed over time.
COURSES = pa.schema([
    ("patient_id", pa.string()), ("scale", pa.string()), ("max_grade", pa.int8()),
    ("max_up_to", pa.int8()), ("ambiguous", pa.bool_()), *((f"first_{k}", INSTANT) for k in GRADES),
    ("hours", pa.float64()), ("hours_open", pa.float64()), ("hours_unmeasured", pa.float64()),
    ("open_grade_hours", pa.float64()), ("flags", WORDS), ("definition", pa.string()),
])  # fmt: skip

#: Everything given up to `ended`, by patient and time. A dose is a row; infusions and oxygen are one row a
#: run: neighbours of the same drug or device that touch, the last standing as long as grading lets it.
#: `kind`: therapy, anti-cytokine, steroid, antipyretic, vasopressor, inotrope, blood-product, procedure,
#: oxygen, other. `value` is a dose, or the highest rate of a run, in `unit`; `text` the device; `rows` how
#: many charted rows are behind it.
GIVEN = pa.schema([
    ("patient_id", pa.string()), ("measure", pa.string()), ("kind", pa.string()), ("time", INSTANT),
    ("end", INSTANT), ("value", pa.float64()), ("unit", pa.string()), ("text", pa.string()),
    ("rows", pa.int64()),
])  # fmt: skip

#: Biomarkers: one row a patient, measure and day since `zero` (day 0: the first 24 h), the lowest and
#: highest value charted that day in the measure's own unit.
MARKERS = pa.schema([
    ("patient_id", pa.string()), ("measure", pa.string()), ("day", pa.int32()), ("low", pa.float64()),
    ("high", pa.float64()), ("unit", pa.string()), ("rows", pa.int64()),
])  # fmt: skip

#: Complications: one row a patient and complication that reached a stage or may have: the highest `stage`
#: proven, the highest `up_to`, when a stage was first proven.
STAGES = pa.schema([
    ("patient_id", pa.string()), ("complication", pa.string()), ("stage", pa.int8()),
    ("up_to", pa.int8()), ("first", INSTANT), ("definition", pa.string()),
])  # fmt: skip

#: Published scores at `zero`: one row a patient and score of which something is known by then. `low` and
#: `high` are equal where every input is known, apart where one is missing, null where no number can be given.
SCORES = pa.schema([
    ("patient_id", pa.string()), ("score", pa.string()), ("low", pa.float64()), ("high", pa.float64()),
    ("missing", WORDS), ("definition", pa.string()),
])  # fmt: skip

#: Graded spans from `zero` to `ended`, of the patients that are drawn one by one: all, up to `DRAWN`;
#: beyond, those whose ids have the smallest SHA-256, so that who is drawn depends on no order of files. An
#: open end is a death from CRS. `unmeasured` as in `COURSES`. `MARKERS` are kept for the same patients.
SPANS = pa.schema([
    ("patient_id", pa.string()), ("scale", pa.string()), ("start", INSTANT), ("end", INSTANT),
    ("grade", pa.int8()), ("up_to", pa.int8()), ("unmeasured", pa.bool_()),
])  # fmt: skip
DRAWN = 2_000

#: How patients go from day to day: how many stood at `grade` (their highest of that day since zero, -1:
#: nobody measured all day, -2: record over, -3: dead) on `day` and at `next` on the day after.
DAYS = pa.schema([
    ("group", pa.string()), ("scale", pa.string()), ("day", pa.int32()), ("grade", pa.int8()),
    ("next", pa.int8()), ("patients", pa.int64()),
])  # fmt: skip
UNMEASURED, OVER, DEAD = -1, -2, -3

#: Grades that people charted, beside ours at that instant. `scale` is the one the chart names, else null;
#: `ours` says under which scale `grade` and `up_to` were derived.
CHARTED = pa.schema([
    ("patient_id", pa.string()), ("time", INSTANT), ("scale", pa.string()), ("charted", pa.int8()),
    ("ours", pa.string()), ("grade", pa.int8()), ("up_to", pa.int8()),
])  # fmt: skip

#: What a live ward would have been alerted to by grades: one row an alert.
ALERTS = pa.schema([
    ("patient_id", pa.string()), ("kind", pa.string()), ("scale", pa.string()), ("grade", pa.int8()),
    ("time", INSTANT),
])  # fmt: skip

SCHEMAS: Mapping[str, pa.Schema] = {
    "people": PEOPLE, "courses": COURSES, "episodes": EPISODES, "given": GIVEN, "markers": MARKERS,
    "stages": STAGES, "scores": SCORES, "spans": SPANS, "days": DAYS, "charted": CHARTED, "alerts": ALERTS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """How a cohort came to be: what a reader needs in order to make it again."""

    version: str
    sources: tuple[str, ...] = ()
    until: datetime | None = None
    as_of: datetime | None = None
    #: Patients none of whose rows could be used, and rows refused, as the source counted them.
    unusable: int = 0
    rejected: int = 0
    facts: int = 0


@dataclass(frozen=True, slots=True)
class Cohort:
    """A graded cohort; each table has the schema of its name in `SCHEMAS`, by patient and time."""

    scales: tuple[str, ...]
    people: pa.Table
    courses: pa.Table
    episodes: pa.Table
    given: pa.Table
    markers: pa.Table
    stages: pa.Table
    spans: pa.Table
    days: pa.Table
    charted: pa.Table
    alerts: pa.Table
    made: Made
    scores: pa.Table = field(default_factory=SCORES.empty_table)
    #: What the groups are groups of: "therapy", "sex", ...; None: one group, "all".
    by: str | None = None
    #: Id and SHA-256 of every definition that gave an answer here.
    definitions: Mapping[str, str] = field(default_factory=dict)
