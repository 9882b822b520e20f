"""What every column of a report's tables means, in words and units."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

DICTIONARY = pa.schema([
    ("table", pa.string()), ("about", pa.string()), ("column", pa.string()), ("type", pa.string()),
    ("unit", pa.string()), ("label", pa.string()),
])  # fmt: skip

#: What one row of each table is.
ABOUT: Mapping[str, str] = {
    "patient-flow": "a step of the flow of patients",
    "groups": "a group: who is in it",
    "proportions": "a share of patients, or of first episodes, with its exact interval",
    "times": "a time: median, interval, quartiles, range",
    "curves": "a step of a curve; the estimate holds from `hours` on",
    "complications": "a highest stage of a complication",
    "scores": "a published score as of hour 0",
    "markers": "a biomarker among patients of one highest grade: each patient's worst value",
    "marker-days": "a biomarker on a day by highest grade: each patient's highest of that day",
    "missing": "a scale: hours graded, open and unmeasured, summed over patients",
    "confusion": "a cell of two gradings: how many stand at `row` of one and `column` of the other",
    "kappas": "a pair of gradings: how far they agree",
    "disagreements": "a charted grade below what was proven or above what was not ruled out",
    "alerts": "a kind of alert of a ward, replayed",
    "days": "how many patients went from one grade to another from a day to the next",
    "onsets": "an episode: when it began",
    "not-reported": "something published tables have that these facts cannot say",
    "lanes": "a patient of the per-patient pictures",
    "lane-spans": "a span of one answer of a patient of the per-patient pictures",
    "lane-given": "something given to a patient of the per-patient pictures",
}

_MEDIAN = "median"
#: Label and unit of a column, whatever its table; `table.column` where it means something else there.
LABELS: Mapping[str, tuple[str, str]] = {
    "age": ("age", "a"),
    "age_least": ("youngest", "a"),
    "age_median": ("median age", "a"),
    "age_most": ("oldest", "a"),
    "age_unknown": ("patients of unknown age", ""),
    "alerts": ("alerts", ""),
    "at_risk": ("patients at risk just before `hours`", ""),
    "censored": ("patients who left without any event at `hours`", ""),
    "charted": ("grade charted by a person", ""),
    "column": ("grade under `columns`", ""),
    "columns": ("second grading: a scale, or `charted`", ""),
    "complication": ("id of the complication", ""),
    "curve": ("which curve: tocsin.cohort.times.CURVES names them", ""),
    "day": ("day since hour 0", "d"),
    "days.grade": ("highest grade of the day; -1 nobody measured, -2 record over, -3 dead", ""),
    "days.next": ("the same on the day after", ""),
    "deaths": ("patients who died", ""),
    "dose_number": ("which dose of the therapy was the latest before onset", ""),
    "end": ("hour of the end since hour 0; empty: open", "h"),
    "estimate": ("share (incidence: who had it; resolution: who has it still)", "1"),
    "events": ("patients who had the event at `hours`", ""),
    "exactly": ("share graded alike", "1"),
    "female": ("women", ""),
    "followed_days_median": ("median follow-up from hour 0", "d"),
    "grade": ("grade proven", ""),
    "group": ("group of patients; all: everybody", ""),
    "high": ("upper end of the 95 % interval", "as the estimate"),
    "hours": ("hours since hour 0", "h"),
    "hours_from_dose": ("hours from the latest dose of a therapy to onset", "h"),
    "incomplete": ("patients who lack an input: the score is a range", ""),
    "kappa": ("Cohen's kappa, quadratic weights", "1"),
    "kind": ("kind of alert; any: all kinds", ""),
    "label": ("what the step is", ""),
    "least": ("least", "as the median"),
    "low": ("lower end of the 95 % interval", "as the estimate"),
    "male": ("men", ""),
    "max_grade": ("highest grade proven", ""),
    "max_up_to": ("highest grade not ruled out", ""),
    "measure": ("id of the measure", ""),
    "measured": ("hours in which the grade is certain", "h"),
    "median": (_MEDIAN, "h"),
    "method": ("observed, or kaplan-meier", ""),
    "most": ("most", "as the median"),
    "n": ("how many", ""),
    "of": ("of how many", ""),
    "number": ("patient's number in this report", ""),
    "open": ("hours measured in which a higher grade was not ruled out", "h"),
    "open_grades": ("`up_to` minus `grade`, mean over time", "1"),
    "ours": ("scale of `grade` and `up_to`", ""),
    "patient_days": ("days from hour 0 to end of record", "d"),
    "patient_id": ("patient's number in this report, or id where asked for", ""),
    "patients": ("patients", ""),
    "peak": ("highest grade of the episode", ""),
    "q1": ("first quartile", "as the median"),
    "q3": ("third quartile", "as the median"),
    "rate": ("alerts a patient-day", "1/d"),
    "row": ("grade under `rows`", ""),
    "rows": ("first grading: a scale", ""),
    "lane-given.rows": ("charted rows behind it", ""),
    "says": ("in words", ""),
    "scale": ("scale", ""),
    "disagreements.scale": ("scale the chart names; empty: none", ""),
    "sex_unknown": ("sex unknown", ""),
    "share": ("`n` of `of`", "1"),
    "share_open": ("`open` of `hours`", "1"),
    "share_unmeasured": ("`unmeasured` of `hours`", "1"),
    "missing.hours": ("hours graded", "h"),
    "stage": ("highest stage proven; empty: none proven, one not ruled out", ""),
    "start": ("hour of the start since hour 0", "h"),
    "step": ("order", ""),
    "text": ("device", ""),
    "none": ("patients of whom no number can be given", ""),
    "score": ("id of the score", ""),
    "scores.median": ("median of those with every input", "as the score"),
    "scores.n": ("patients with every input known", ""),
    "not_contradicted": ("share of charted grades from `grade` to `up_to`", "1"),
    "unit": ("unit (UCUM)", ""),
    "unmeasured": ("hours at grade 0 only because nobody measured", "h"),
    "lane-spans.unmeasured": ("grade 0 only because nobody measured", ""),
    "up_to": ("grade not ruled out", ""),
    "value": ("dose, or highest rate or flow", "in `unit`"),
    "what": ("stable id of the row", ""),
    "why_left": ("why these left or stand apart", ""),
    "with_dose": ("patients with a charted dose", ""),
    "within_one": ("share graded alike or one apart", "1"),
    "worst": ("which end counts as worst", ""),
    "markers.median": (_MEDIAN, "in `unit`"),
    "marker-days.median": (_MEDIAN, "in `unit`"),
    "times.median": (_MEDIAN, "h; `days-...`: d"),
    "times.events": ("in how many it was seen", ""),
    "kappas.n": ("patients, or charted grades", ""),
    "death": ("hour of death since hour 0", "h"),
    "ended": ("hour of the end of follow-up", "h"),
    "onset": ("hour of the first grade 1 or higher since hour 0", "h"),
    "time": ("hour since hour 0", "h"),
}


def dictionary(tables: Mapping[str, pa.Table]) -> pa.Table:
    """One row for every column of every table.

    >>> found = dictionary({"not-reported": pa.table({"what": ["icu"], "says": ["-"]})})
    >>> found["column"].to_pylist()
    ['what', 'says']
    """
    rows = []
    for name, table in tables.items():
        for field in table.schema:
            label, unit = LABELS.get(f"{name}.{field.name}") or LABELS[field.name]
            rows.append(
                {
                    "table": name,
                    "about": ABOUT[name],
                    "column": field.name,
                    "type": _type(field.type),
                    "unit": unit,
                    "label": label,
                }
            )
    return pa.Table.from_pylist(rows, DICTIONARY)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_floating(kind):
        return "number"
    if pa.types.is_integer(kind):
        return "whole number"
    return "yes or no" if pa.types.is_boolean(kind) else "text"
