"""Cohorts made by hand: a patient is written as what a reader would say of them, in hours since hour 0."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from tocsin.cohort.records import SCHEMAS, Cohort, Made
from tocsin.definitions.load import library

ZERO = datetime(2026, 1, 5, 8, tzinfo=UTC)
SCALE = "astct-2019"
HASH = "0" * 64


def at(hours):
    """The instant so many hours after hour 0; None stays None."""
    return None if hours is None else ZERO + timedelta(hours=hours)


def person(
    name,
    *,
    group="all",
    scale=SCALE,
    reached=None,
    ended=336.0,
    death=None,
    episodes=(),
    given=(),
    markers=(),
    stages=(),
    charted=(),
    alerts=(),
    age=60.0,
    sex="female",
    doses=(0.0,),
    up_to=None,
    unmeasured=0.0,
    open_hours=0.0,
    graded=True,
    spans=(),
):
    """One patient under one scale, as rows of each table.

    `reached`: grade to the hour it was first reached. `episodes`: (start, end, outcome, peak[, dose number]).
    `given`: (measure, kind, hour[, end[, value[, text]]]). `markers`: (measure, day, low, high, unit).
    """
    reached = dict(reached or {})
    top = max(reached, default=0)
    first = {
        k: min((hour for grade, hour in reached.items() if grade >= k), default=None) for k in range(1, 6)
    }
    rows = {table: [] for table in SCHEMAS}
    rows["people"].append({
        "patient_id": name, "group": group, "therapy": "teclistamab", "zero": ZERO, "zero_is":
        "first-dose" if doses else "first-fact", "doses": [at(each) for each in doses],
        "dose_names": [f"teclistamab #{k}" for k in range(1, len(doses) + 1)], "first": ZERO,
        "last": at(ended), "ended": at(ended if death is None else death), "death": at(death),
        "cause_of_death": None if death is None else "other", "age": age, "sex": sex, "facts": 100,
    })  # fmt: skip
    if graded:
        rows["courses"].append({
            "patient_id": name, "scale": scale, "max_grade": top, "max_up_to": max(top, up_to or 0),
            "ambiguous": False, **{f"first_{k}": at(first[k]) for k in first}, "hours": ended,
            "hours_open": open_hours, "hours_unmeasured": unmeasured, "open_grade_hours": 2 * open_hours,
            "flags": [], "definition": HASH,
        })  # fmt: skip
    for number, (start, end, outcome, peak, *dose) in enumerate(episodes, 1):
        rows["episodes"].append(
            {
                "patient_id": name,
                "scale": scale,
                "episode": number,
                "start": at(start),
                "end": at(end),
                "outcome": outcome,
                "cause_of_death": None,
                "peak": peak,
                "peak_up_to": peak,
                "time_to_peak_hours": max(0.0, reached.get(peak, start) - start),
                **{f"first_{k}": at(reached.get(k)) for k in range(1, 6)},
                "hours_from_dose": start if doses else None,
                "dose_number": dose[0] if dose else 1 if doses else None,
                "doses": [],
                "trigger": "teclistamab",
                "treatments": [],
                "recurrence": number > 1,
                "ambiguous": False,
                "flags": [],
                "definition": HASH,
                "closing": HASH,
            }
        )
    for measure, kind, hour, *more in given:
        end, value, text = [*more, None, None, None][:3]
        rows["given"].append({
            "patient_id": name, "measure": measure, "kind": kind, "time": at(hour), "end": at(end),
            "value": value, "unit": None, "text": text, "rows": 1,
        })  # fmt: skip
    for measure, day, low, high, unit in markers:
        rows["markers"].append(
            {
                "patient_id": name,
                "measure": measure,
                "day": day,
                "low": low,
                "high": high,
                "unit": unit,
                "rows": 1,
            }
        )
    for what, stage, stage_up_to in stages:
        rows["stages"].append({
            "patient_id": name, "complication": what, "stage": stage, "up_to": stage_up_to, "first": at(10.0),
            "definition": HASH,
        })  # fmt: skip
    for start, end, grade, top_grade, nobody in spans:
        rows["spans"].append({
            "patient_id": name, "scale": scale, "start": at(start), "end": at(end), "grade": grade,
            "up_to": top_grade, "unmeasured": nobody,
        })  # fmt: skip
    for hour, named, told, grade, top_grade in charted:
        rows["charted"].append({
            "patient_id": name, "time": at(hour), "scale": named, "charted": told, "ours": scale,
            "grade": grade, "up_to": top_grade,
        })  # fmt: skip
    for hour, kind, grade in alerts:
        rows["alerts"].append({
            "patient_id": name, "kind": kind, "scale": scale, "grade": grade, "time": at(hour),
        })  # fmt: skip
    return rows


def cohort(*people, scales=(SCALE,), by=None, unusable=0, **tables):
    """These patients as a `Cohort`; the same person may be given once a scale."""
    lib = library()
    rows = {name: [row for one in people for row in one[name]] for name in SCHEMAS}
    seen = {row["patient_id"]: row for row in reversed(rows["people"])}
    rows["people"] = [row for row in rows["people"] if seen[row["patient_id"]] is row]
    made = {name: pa.Table.from_pylist(rows[name], schema=SCHEMAS[name]) for name in SCHEMAS} | tables
    hashes = {scale: lib.definition_hash(scale) for scale in scales}
    return Cohort(
        tuple(scales), **made, made=Made("0.1.0", ("made by hand",), unusable=unusable), by=by,
        definitions=hashes,
    )  # fmt: skip


def ten(**more):
    """Ten patients: four of grade 0, three of 1, one each of 2, 3 and 4; one of grade 0 died."""
    return cohort(
        *(person(f"a{k}") for k in range(3)),
        person("dead", death=100.0),
        *(person(f"b{k}", reached={1: 20.0 + k}, episodes=[(20.0 + k, 44.0 + k, "resolved", 1)])
          for k in range(3)),
        person("c", reached={1: 10.0, 2: 12.0}, episodes=[(10.0, 60.0, "resolved", 2)],
               given=[("tocilizumab", "anti-cytokine", 13.0), ("tocilizumab", "anti-cytokine", 21.0),
                      ("oxygen-flow", "oxygen", 12.0, 36.0, 2.0, "nasal-cannula")]),
        person("d", reached={1: 30.0, 3: 40.0}, episodes=[(30.0, 130.0, "not-observed", 3)],
               given=[("tocilizumab", "anti-cytokine", 41.0), ("dexamethasone", "steroid", 42.0),
                      ("norepinephrine", "vasopressor", 40.0, 52.0, 0.1)]),
        person("e", reached={1: 48.0, 4: 60.0}, episodes=[(48.0, None, "censored", 4)],
               given=[("norepinephrine", "vasopressor", 60.0, 90.0, 0.2),
                      ("epinephrine", "vasopressor", 61.0, 70.0, 0.1),
                      ("oxygen-device", "oxygen", 60.0, 108.0, None, "ventilator"),
                      ("dexamethasone", "steroid", -2.0)],
               markers=[("fibrinogen", 3, 90.0, 300.0, "mg/dL")]),
        **more,
    )  # fmt: skip
