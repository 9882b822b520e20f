"""Every table of a report, each made from the cohort alone: what the page prints and the files hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cohort import agreement, marker_days, shares, times
from tocsin.cohort.charts import REPORT
from tocsin.cohort.persons import Persons
from tocsin.cohort.records import DAYS, Cohort
from tocsin.cohort.statistics import observed_median
from tocsin.definitions.load import Library
from tocsin.definitions.report import Report, report_of
from tocsin.definitions.score import score_definition

#: Who was read, who left and why.
FLOW = pa.schema([
    ("step", pa.int32()), ("label", pa.string()), ("n", pa.int64()), ("why_left", pa.string()),
])  # fmt: skip
#: Who is in each group.
GROUPS = pa.schema([
    ("group", pa.string()), ("patients", pa.int64()), ("with_dose", pa.int64()), ("deaths", pa.int64()),
    ("age_median", pa.float64()), ("age_least", pa.float64()), ("age_most", pa.float64()),
    ("age_unknown", pa.int64()), ("female", pa.int64()), ("male", pa.int64()), ("sex_unknown", pa.int64()),
    ("followed_days_median", pa.float64()),
])  # fmt: skip
#: Highest stage of each complication; of all in the group. `stage` null: a stage not ruled out, none proven.
COMPLICATIONS = pa.schema([
    ("group", pa.string()), ("complication", pa.string()), ("says", pa.string()), ("stage", pa.int8()),
    ("n", pa.int64()), ("of", pa.int64()), ("share", pa.float64()), ("low", pa.float64()),
    ("high", pa.float64()),
])  # fmt: skip
#: Scores at hour 0: of those with every input known, median and spread; how many lack an input, or a number.
SCORES = pa.schema([
    ("group", pa.string()), ("score", pa.string()), ("says", pa.string()), ("patients", pa.int64()),
    ("n", pa.int64()), ("median", pa.float64()), ("q1", pa.float64()), ("q3", pa.float64()),
    ("least", pa.float64()), ("most", pa.float64()), ("incomplete", pa.int64()), ("none", pa.int64()),
])  # fmt: skip
#: Worst value of each biomarker after hour 0 (the lowest where low is bad), by highest grade.
MARKERS = pa.schema([
    ("group", pa.string()), ("scale", pa.string()), ("measure", pa.string()), ("says", pa.string()),
    ("unit", pa.string()), ("worst", pa.string()), ("max_grade", pa.int8()), ("n", pa.int64()),
    ("median", pa.float64()), ("q1", pa.float64()), ("q3", pa.float64()), ("least", pa.float64()),
    ("most", pa.float64()),
])  # fmt: skip
#: Hours graded in three parts: `measured`, the grade is certain; `open`, something was measured and a higher
#: grade is not ruled out; `unmeasured`, nobody measured. `open_grades`: mean of `up_to` minus `grade`.
MISSING = pa.schema(
    [
        ("group", pa.string()),
        ("scale", pa.string()),
        ("patients", pa.int64()),
        ("hours", pa.float64()),
        ("measured", pa.float64()),
        ("open", pa.float64()),
        ("unmeasured", pa.float64()),
        ("share_open", pa.float64()),
        ("share_unmeasured", pa.float64()),
        ("open_grades", pa.float64()),
    ]
)
#: What the published tables have and these facts cannot say: not reported, which is not none.
NOT_REPORTED = pa.schema([("what", pa.string()), ("says", pa.string())])


def tables(cohort: Cohort, lib: Library) -> dict[str, pa.Table]:
    """All tables by name. Raises `TocsinError` for a cohort of nobody."""
    persons = Persons(cohort, lib)
    report = report_of(REPORT, lib)
    confusion, kappas = agreement.between_scales(persons)
    charted, charted_kappas, disagreements = agreement.with_charted(persons)
    return {
        "patient-flow": flow(persons),
        "groups": groups(persons),
        "proportions": pa.concat_tables([
            shares.graded(persons, report), shares.outcomes(persons),
            shares.given_after_onset(persons, report), shares.given(persons, report),
            shares.measured(persons, report),
        ]),
        "times": times.times(persons, report),
        "curves": times.curves(persons, report),
        "complications": complications(persons),
        "scores": scores(persons),
        "markers": markers(persons),
        "marker-days": marker_days.by_day(persons, cohort.scales[0]),
        "missing": missing(persons),
        "confusion": pa.concat_tables([confusion, charted]),
        "kappas": pa.concat_tables([kappas, charted_kappas]),
        "disagreements": disagreements,
        "alerts": agreement.alert_rates(persons),
        "days": cohort.days.cast(DAYS),
        "onsets": onsets(persons),
        "not-reported": not_reported(report, agreement.unbeside(cohort.charted)),
    }  # fmt: skip


def flow(persons: Persons) -> pa.Table:
    """Flow of patients: read, unusable, without a dose, analysed under each scale."""
    cohort, kept = persons.cohort, len(persons)
    unusable = cohort.made.unusable
    rows: list[tuple[str, int, str | None]] = [("Patients read", kept + unusable, None)]
    if unusable:
        rows.append(("Not usable", unusable, "none of their rows could be used"))
    rows.append(("In the cohort", kept, None))
    bare = int((~persons.dosed).sum())
    if bare:
        rows.append(("Without a charted dose", bare, "kept: hour 0 is their first fact"))
    for scale in cohort.scales:
        graded = int(persons.course(scale).graded.sum())
        if graded < kept:
            rows.append((f"Not graded under {scale}", kept - graded, "no row that this scale can grade"))
        rows.append((f"Analysed under {scale}", graded, None))
    found = [{"step": k, "label": a, "n": n, "why_left": why} for k, (a, n, why) in enumerate(rows, 1)]
    return pa.Table.from_pylist(found, FLOW)


def groups(persons: Persons) -> pa.Table:
    """Who is in each group."""
    people = persons.cohort.people
    age = np.asarray(people["age"].to_numpy(zero_copy_only=False), np.float64)
    sex = np.array(people["sex"].to_pylist(), dtype=object)
    rows = []
    for name, who in persons.groups:
        known = age[who & np.isfinite(age)]
        numbers = (np.median(known), known.min(), known.max()) if len(known) else (None,) * 3
        women, men = (int((who & (sex == word)).sum()) for word in ("female", "male"))
        rows.append({
            "group": name, "patients": int(who.sum()), "with_dose": int((who & persons.dosed).sum()),
            "deaths": int((who & np.isfinite(persons.death)).sum()), "age_median": numbers[0],
            "age_least": numbers[1], "age_most": numbers[2], "age_unknown": int(who.sum()) - len(known),
            "female": women, "male": men, "sex_unknown": int(who.sum()) - women - men,
            "followed_days_median": float(np.nanmedian(np.maximum(persons.ended[who], 0)) / 24),
        })  # fmt: skip
    return pa.Table.from_pylist(rows, GROUPS)


def complications(persons: Persons) -> pa.Table:
    """Highest stage of each complication, stage by stage, and who has one not ruled out and none proven."""
    table = persons.cohort.stages
    person = persons.place(table)
    stage = np.asarray(table["stage"].to_numpy(zero_copy_only=False), np.int64)
    names = np.array(table["complication"].to_pylist(), dtype=object)
    rows = []
    for name in sorted({*names}):
        title = _title(persons.lib, name)
        own = names == name
        for level in sorted({*stage[own].tolist()}):
            for group, who in persons.groups:
                n = len(np.unique(person[own & (stage == level) & who[person]]))
                of = int(who.sum())
                row = shares.proportion(group, None, name, title, n, of)
                rows.append({
                    "group": group, "complication": name, "says": title, "stage": level or None, "n": n,
                    "of": of, **{key: row[key] for key in ("share", "low", "high")},
                })  # fmt: skip
    return pa.Table.from_pylist(rows, COMPLICATIONS)


def scores(persons: Persons) -> pa.Table:
    """Published scores as of hour 0. A score that lacks an input is a range: counted, never averaged."""
    table = persons.cohort.scores
    person = persons.place(table)
    names = np.array(table["score"].to_pylist(), dtype=object)
    low, high = (
        np.asarray(table[name].to_numpy(zero_copy_only=False), np.float64) for name in ("low", "high")
    )
    rows = []
    for name in sorted({*names}):
        for group, who in persons.groups:
            own = (names == name) & who[person]
            known = own & (low == high)
            middle = observed_median(low[known])
            number: dict[str, Any] = {
                key: value if np.isfinite(value := getattr(middle, key)) else None
                for key in ("median", "q1", "q3", "least", "most")
            }
            ranged = int((own & np.isfinite(low) & (low != high)).sum())
            rows.append({
                "group": group, "score": name, "says": score_definition(name, persons.lib).title,
                "patients": int(who.sum()), "n": int(known.sum()), **number, "incomplete": ranged,
                "none": int(who.sum()) - int(known.sum()) - ranged,
            })  # fmt: skip
    return pa.Table.from_pylist(rows, SCORES)


def _title(lib: Library, name: str) -> str:
    from tocsin.definitions.complication import complication

    return complication(name, lib).title


def markers(persons: Persons) -> pa.Table:
    """The worst value of each biomarker, by the highest grade reached."""
    table = persons.cohort.markers
    table = table.filter(pc.greater_equal(table["day"], 0))
    person = persons.place(table)
    measures = np.array(table["measure"].to_pylist(), dtype=object)
    units = np.array(table["unit"].to_pylist(), dtype=object)
    low, high = (
        np.asarray(table[name].to_numpy(zero_copy_only=False), np.float64) for name in ("low", "high")
    )
    rows: list[dict[str, Any]] = []
    for measure in sorted({*measures}):
        own = measures == measure
        down = persons.lib.measure(measure).worse == "low"
        worst = np.full(len(persons), np.inf if down else -np.inf)
        (np.fmin if down else np.fmax).at(worst, person[own], (low if down else high)[own])
        unit = next((each for each in units[own] if each), None)
        for scale in persons.cohort.scales:
            course = persons.course(scale)
            for group, who in persons.groups:
                for grade in range(6):
                    values = worst[who & (course.grade == grade) & np.isfinite(worst)]
                    if not len(values):
                        continue
                    middle = observed_median(values)
                    rows.append({
                        "group": group, "scale": scale, "measure": measure,
                        "says": persons.lib.measure(measure).title, "unit": unit,
                        "worst": "lowest" if down else "highest", "max_grade": grade, "n": middle.n,
                        **{key: getattr(middle, key) for key in ("median", "q1", "q3", "least", "most")},
                    })  # fmt: skip
    return pa.Table.from_pylist(rows, MARKERS)


def missing(persons: Persons) -> pa.Table:
    """Hours graded, hours in which more was not ruled out, hours in which nobody measured."""
    rows = []
    for scale in persons.cohort.scales:
        course = persons.course(scale)
        for group, who in persons.groups:
            of = who & course.graded
            hours, open_, bare, wide = (
                float(each[of].sum())
                for each in (
                    course.hours,
                    course.hours_open,
                    course.hours_unmeasured,
                    course.open_grade_hours,
                )
            )
            parts = (max(open_ - bare, 0.0), bare, wide)
            share_open, share_bare, mean_open = (part / hours if hours else None for part in parts)
            rows.append({
                "group": group, "scale": scale, "patients": int(of.sum()), "hours": hours,
                "measured": max(hours - open_, 0.0), "open": max(open_ - bare, 0.0), "unmeasured": bare,
                "share_open": share_open,
                "share_unmeasured": share_bare, "open_grades": mean_open,
            })  # fmt: skip
    return pa.Table.from_pylist(rows, MISSING)


#: One row a first episode: what a histogram of onsets is made of. No patient is named.
ONSETS = pa.schema([
    ("group", pa.string()), ("scale", pa.string()), ("dose_number", pa.int32()),
    ("hours_from_dose", pa.float64()), ("hours", pa.float64()), ("peak", pa.int8()),
])  # fmt: skip


def onsets(persons: Persons) -> pa.Table:
    """When each episode began, after which dose, and how high it went; by group, scale and hour."""
    parts = []
    names = agreement.group_names(persons)
    for scale in persons.cohort.scales:
        episodes = persons.episodes(scale)
        dosed = np.isfinite(episodes.from_dose)
        parts.append(
            pa.Table.from_arrays(
                [
                    pa.array(names[episodes.person], pa.string()),
                    pa.array([scale] * len(episodes.person), pa.string()),
                    pa.array(episodes.dose, pa.int32(), mask=episodes.dose < 0),
                    pa.array(episodes.from_dose, mask=~dosed),
                    pa.array(episodes.start),
                    pa.array(episodes.peak, pa.int8()),
                ],
                schema=ONSETS,
            )
        )
    whole = pa.concat_tables(parts)
    return whole.sort_by([(name, "ascending") for name in ("scale", "group", "hours", "peak")])


def not_reported(report: Report, unbeside: int) -> pa.Table:
    """What published tables have and these facts cannot say; charted grades beside which nothing stands."""
    rows = [{"what": what, "says": says} for what, says in report.missing.items()]
    if unbeside:
        says = (
            f"Charted grades that are not compared: {unbeside:,}; nothing measured stood at their instant, "
            "or their scale was not graded"
        )
        rows.append({"what": "charted-unbeside", "says": says})
    return pa.Table.from_pylist(rows, NOT_REPORTED)


def definitions(cohort: Cohort, lib: Library) -> Mapping[str, str]:
    """Id and SHA-256 of every definition behind the answers, this report's own with them."""
    return dict(sorted({**cohort.definitions, REPORT: report_of(REPORT, lib).hash}.items()))
