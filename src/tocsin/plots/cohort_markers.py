"""Biomarkers by highest grade: the course over days, and each patient's peak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tocsin.plots.canvas import fit
from tocsin.plots.cohort_page import (
    PAD,
    WIDTH,
    Names,
    asked,
    badge,
    begun,
    called,
    ended,
    graded,
    key,
    nothing,
)  # fmt: skip
from tocsin.plots.labels import width as wide
from tocsin.plots.look import number, unit_text
from tocsin.plots.surface import Axis, Surface, apart, day_step

COLUMNS = ("patient_id", "max_grade", "measure", "day", "low", "high", "unit")
FIRST = ("crp", "ferritin", "il-6")
SIDE, PEAKS, TALL, BETWEEN, END = 130.0, 330.0, 150.0, 32.0, 28.0  # px
ENOUGH = 5  # patients from whom a band of half of them can be said; fewer: each of them a dot of the peaks
LOGS = 20.0  # highest over lowest from which an axis is by logarithm
STRIP = 60  # patients of a grade who are drawn as dots of the peaks
Vector = NDArray[np.float64]


def markers_by_grade(
    markers: pa.Table, *, measures: Sequence[str] | None = None, days: int | None = None, names: Names = None,
    note: str = "", title: str = "", theme: str = "light",
) -> alt.LayerChart:  # fmt: skip
    """A row a biomarker: median and middle half over days by highest grade, and each patient's peak.

    Parameters
    ----------
    markers : `patient_id, max_grade, measure, day, low, high, unit`: the lowest and highest value of a day
        since the first dose; a day's `high` is drawn, a patient's highest is the peak.
    measures : which, in what order; else C-reactive protein, ferritin and IL-6 where there, or the first six.
    days : the last day drawn; else the last one with enough patients.
    names : what to call a measure.

    An axis runs by logarithm where the values span more than a factor of 20. A line goes where at least one
    patient of that grade has a value that day, a band where at least 5 have.

    Raises
    ------
    PlotError : a column is missing, no value of a measure, several units of one, a grade that is none.
    """
    asked(markers.slice(0, 0), COLUMNS, "the figure of biomarkers")
    markers = markers.filter(pc.is_valid(markers["high"]))
    there = pc.unique(markers["measure"]).to_pylist()
    wanted = list(measures) if measures is not None else [m for m in FIRST if m in there] or sorted(there)[:6]
    if not wanted:
        raise nothing("biomarker", "a cohort in which one was charted")
    graded([{"max_grade": g} for g in pc.unique(markers["max_grade"]).to_pylist()], "max_grade")
    page, y = begun("markers-by-grade", title, theme)
    y = key(page, y + 6, highest=pc.max(markers["max_grade"]).as_py() or 0) + 4
    for measure in wanted:
        some = markers.filter(pc.equal(markers["measure"], measure))
        if not len(some):
            raise nothing(f"value of {measure}", f"one of: {', '.join(sorted(there)) or 'none was charted'}")
        units = [u for u in pc.unique(some["unit"]).to_pylist() if u]
        if len(units) > 1:
            raise nothing(f"one unit of {measure}, but {', '.join(sorted(units))}", "values in one unit")
        _measure(page, some, called(measure, names), unit_text(units[0]) if units else "", days, y)
        y += TALL + BETWEEN + 22
    said = (
        f"Line: median of the day's highest values. Band: the middle half, where at least {ENOUGH} patients "
        "have a value. Right: each patient's highest value, with median and middle half; of many, "
        f"{STRIP} evenly chosen are dots."
    )
    return ended(page, y - 2, said, note)


def quartiles(values: Vector) -> tuple[float, float, float]:
    """25, 50 and 75 % of the values, interpolated."""
    q = np.percentile(values, [25, 50, 75])
    return float(q[0]), float(q[1]), float(q[2])


def by_day(table: pa.Table) -> dict[int, dict[int, Vector]]:
    """The day's highest values of each highest grade and day, in ascending order of both."""
    grade = table["max_grade"].to_numpy().astype(np.int64)
    day = table["day"].to_numpy().astype(np.int64)
    value = table["high"].to_numpy().astype(np.float64)
    order = np.lexsort((day, grade))
    grade, day, value = grade[order], day[order], value[order]
    edges = np.flatnonzero(np.diff(grade, prepend=-1) | np.diff(day, prepend=day[0] - 1 if len(day) else 0))
    found: dict[int, dict[int, Vector]] = {}
    for first, last in zip(edges, [*edges[1:], len(value)], strict=True):
        found.setdefault(int(grade[first]), {})[int(day[first])] = value[first:last]
    return found


def peaks(table: pa.Table) -> dict[int, Vector]:
    """The highest value of each patient, by highest grade, sorted."""
    top = table.group_by(["patient_id", "max_grade"]).aggregate([("high", "max")])
    grade, value = top["max_grade"].to_numpy(), top["high_max"].to_numpy().astype(np.float64)
    return {int(g): np.sort(value[grade == g]) for g in np.unique(grade)}


def _measure(page: Surface, table: pa.Table, name: str, unit: str, days: int | None, top: float) -> None:
    look, top = page.look, top + 20
    course, highest = by_day(table), peaks(table)
    seen = [d for of in course.values() for d, values in of.items() if len(values) >= ENOUGH and d >= 0]
    every = [d for of in course.values() for d in of if d >= 0]
    last = days if days is not None else max(seen or every or [1])
    course = {g: {d: v for d, v in of.items() if 0 <= d <= last} for g, of in course.items()}
    drawn = [v for of in course.values() for values in of.values() for v in quartiles(values)]
    low, high = (
        min([*drawn, *(v[0] for v in highest.values())]),
        max([*drawn, *(v[-1] for v in highest.values())]),
    )
    log = low > 0 and high / low > LOGS
    margin = (high / low) ** 0.06 if log else 0.06 * (high - low or abs(high) or 1.0)
    down = Axis(low / margin if log else low - margin, high * margin if log else high + margin,
                top + TALL - 3, top + 3, log)  # fmt: skip
    left = Axis(0, max(last, 1), PAD + SIDE + 6, WIDTH - PAD - PEAKS - END - 24)
    page.write(fit(name, SIDE - 44, 13, True), PAD, top + TALL / 2 - 8, size=13, bold=True)
    page.write(f"{unit}{', log' if log else ''}".strip(", "), PAD, top + TALL / 2 + 9, colour=look.muted)
    ticks = down.ticks(20)
    for axis in (left, Axis(0, 1, WIDTH - PAD - PEAKS, WIDTH - PAD)):
        wider = 6.0 if axis is left else 0.0
        page.panel(axis.start - wider, axis.end + (END if axis is left else 0), top, top + TALL)
        page.rules_down(down, axis.start - wider + 1, axis.end + (END if axis is left else 0) - 1, ticks)
    for tick in ticks:
        page.write(
            number(tick),
            left.start - 12,
            min(max(down(tick), top + 6), top + TALL - 6),
            align="right",
            colour=look.muted,
        )
    step = max(1.0, day_step(max(last, 1), left.end - left.start))
    for tick in np.arange(0, last + 1e-9, step):
        page.write(number(float(tick)), left(tick), top + TALL + 12, size=11.5, align="center")
    page.write("days since the first dose", left.end + END, top + TALL + 28, align="right", colour=look.muted)
    ends: list[tuple[float, float, int]] = []
    for grade, of in course.items():
        if of:
            ends.append(_course(page, of, grade, left, down))
    for place, (x, y, grade) in zip(
        apart([y for _, y, _ in ends], 17, top + 9, top + TALL - 9), ends, strict=True
    ):
        page.add("line", [{"x": x, "y": y}, {"x": left.end, "y": y}, {"x": left.end + 12, "y": place}],
                 color=look.line, strokeDash=[2, 2])  # fmt: skip
        badge(page, left.end + 15, place, grade, size=150)
    _peaks(page, highest, down, top)


def _course(
    page: Surface, of: Mapping[int, Vector], grade: int, across: Axis, down: Axis
) -> tuple[float, float, int]:
    """Band and line of one grade; gives the place where its line ends."""
    look = page.look
    band: list[dict[str, Any]] = []
    line: list[dict[str, Any]] = []
    for day, values in of.items():
        q1, middle, q3 = quartiles(values)
        x = across(day)
        line.append(
            {
                "x": x,
                "y": down(middle),
                "day": str(day),
                "grade": str(grade),
                "median": number(middle),
                "half": f"{number(q1)} to {number(q3)}",
                "patients": f"{len(values):,}",
            }
        )
        if len(values) >= ENOUGH:
            band.append({"x": x, "y": down(q3), "y2": down(q1)})
    page.add("area", band, color=look.grades[grade], opacity=0.3)
    page.add("line", line, color=look.ink, strokeWidth=3.4)
    page.add("line", line, color=look.grades[grade], strokeWidth=2.2,
             tooltip=("grade", "day", "median", "half", "patients"))  # fmt: skip
    if len(line) == 1:
        page.add("point", line, color=look.grades[grade], filled=True, size=40, stroke=look.ink)
    return line[-1]["x"], line[-1]["y"], grade


def _peaks(page: Surface, highest: Mapping[int, Vector], down: Axis, top: float) -> None:
    """Boxes and dots of the patients' highest values, one column a grade."""
    look, left = page.look, WIDTH - PAD - PEAKS
    room = PEAKS / len(highest)
    page.write("each patient's highest", left, top - 10, colour=look.muted)
    for k, (grade, values) in enumerate(highest.items()):
        middle = left + room * (k + 0.5)
        q1, q2, q3 = quartiles(values)
        chosen = (
            values if len(values) <= STRIP else values[np.linspace(0, len(values) - 1, STRIP).astype(int)]
        )
        dots = [
            {"x": middle + ((n * 0.618034) % 1 - 0.5) * min(room * 0.6, 30), "y": down(float(v))}
            for n, v in enumerate(chosen)
        ]
        half = min(room * 0.34, 18)
        if len(values) >= ENOUGH:
            tip = {"grade": str(grade), "median": number(q2), "half": f"{number(q1)} to {number(q3)}",
                   "patients": f"{len(values):,}"}  # fmt: skip
            page.add(
                "rect",
                [{"x": middle - half, "x2": middle + half, "y": down(q3), "y2": down(q1), **tip}],
                color=look.grades[grade],
                stroke=look.unmeasured_edge,
                tooltip=(*tip,),
            )
        page.add("point", dots, color=look.ink, filled=True, size=7, opacity=0.55)
        if len(values) >= ENOUGH:
            bar = [{"x": middle - half, "x2": middle + half, "y": down(q2)}]
            page.add("rule", bar, color=look.panel, strokeWidth=4.5)
            page.add("rule", bar, color=look.ink, strokeWidth=2.2)
        said = f"n = {len(values):,}"
        if wide(said) + 26 > room:
            said = f"{len(values):,}"
        start = middle - (wide(said) + 20) / 2
        badge(page, start + 8, top + TALL + 12, grade, size=130)
        page.write(said, start + 20, top + TALL + 12, colour=look.muted)
