"""Every patient and every hour: the highest grade of each hour as one narrow row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

import altair as alt
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tocsin.plots.cohort_lanes import Person, persons, until
from tocsin.plots.cohort_page import PAD, WIDTH, Names, badge, begun, called, ended, hatch, key
from tocsin.plots.look import number
from tocsin.plots.surface import Axis, Surface, apart, day_step

LEFT, TALL, TALLEST, LEAST = 130.0, 560.0, 16.0, 1.0  # px: rows, at most and at least so high
BY_HOUR = 14 * 24  # a longer course is cut into pieces of 4 h
BLANK, AFTER, OPEN = -1, -2, 10  # nobody measured; the record is over; a higher grade not ruled out (+ grade)


def patient_hours(
    people: pa.Table, spans: pa.Table, scale: str, *, most: int = 400, days: float | None = None,
    names: Names = None, note: str = "", title: str = "", theme: str = "light",
) -> alt.LayerChart:  # fmt: skip
    """Draw a row a patient and a cell an hour (4 h where it is long), coloured by the cell's highest grade.

    Parameters
    ----------
    people : `patient_id, group, zero, doses, ended, death`.
    spans : `patient_id, scale, start, end, grade, up_to, unmeasured`.
    scale : the one drawn.  most : patients; of more, every k-th is drawn and the figure says so.

    A cell in which nobody measured at all is white, one after the record's end empty.

    Raises
    ------
    PlotError : as `swimlane`.
    """
    drawn, said = persons(people, spans, [scale], most)
    end = until(drawn, days)
    step = 1 if end <= BY_HOUR else 4
    page, y = begun("patient-hours", title, theme)
    look = page.look
    highest = max(one.up_to(scale) for one in drawn)
    y = key(page, y + 6, scale=called(scale, names), highest=max(highest, 1), hatched=True, blank=True)
    axis = Axis(0, end, PAD + LEFT, WIDTH - PAD - 8)
    tall = min(max(TALL / len(drawn), LEAST), TALLEST)
    top = y + 24
    worst = [one.highest(scale) for one in drawn]
    gaps = sum(a != b for a, b in pairwise(worst))
    bottom = top + tall * len(drawn) + 6.0 * gaps
    page.add("rect", [{"x": axis.start, "x2": axis.end, "y": top, "y2": bottom}], color=look.page)
    rows: list[dict[str, object]] = []
    blank: list[dict[str, object]] = []
    open_: list[dict[str, float]] = []
    over: list[dict[str, float]] = []
    sections: list[tuple[int, int, float, float]] = []
    at = top
    for grade, some in groupby(drawn, key=lambda one: one.highest(scale)):
        many = list(some)
        for one in many:
            for value, left, right in _runs(cells(one, scale, end, step)):
                box = {"x": axis(left * step), "x2": axis(min(right * step, end)), "y": at, "y2": at + tall}
                tip = {"patient": one.id, "hours": f"{left * step} to {right * step}"}
                if value == BLANK:
                    blank.append({**box, **tip, "grade": "nobody measuring"})
                elif value != AFTER:
                    mine = value % OPEN
                    rows.append({**box, **tip, "grade": str(mine), "fill": look.grades[mine]})
                    if value >= OPEN:
                        open_.append({**box, "grade": mine})
            stop = axis(min(one.ended, end))
            over.append(
                {"x": stop, "x2": stop + (6 if one.death is not None else 2), "y": at, "y2": at + tall}
            )
            at += tall
        sections.append((grade, len(many), at - tall * len(many), at))
        at += 6
    _sections(page, sections, top, bottom)
    tips = ("patient", "hours", "grade")
    page.add("rect", rows, colour="fill", tooltip=tips)
    page.add(
        "rect",
        blank,
        color=look.unmeasured,
        tooltip=tips,
        stroke=look.unmeasured_edge if tall >= 5 else look.unmeasured,
        strokeDash=[3, 2],
        strokeWidth=0.6 if tall >= 5 else 0,
    )
    page.add(
        "area",
        hatch(open_, lambda n: look.grades[min(int(open_[n]["grade"]) + 1, 5)]),
        colour="fill",
        opacity=0.8,
    )
    page.add("rect", over, color=look.ink)
    step_days = day_step(end / 24, axis.end - axis.start)
    ticks = [k * step_days for k in range(int(end / 24 / step_days + 1e-9) + 1)]
    for tick in ticks:
        page.write(number(tick), axis(24 * tick), top - 10, size=11.5, align="center")
        page.write(number(tick), axis(24 * tick), bottom + 13, size=11.5, align="center")
    page.add(
        "rule", [{"x": axis(24 * t), "y": top, "y2": bottom} for t in ticks], color=look.ink, opacity=0.12
    )
    page.write("days since the first dose", axis.end, bottom + 30, align="right", colour=look.muted)
    said += f" Each cell is {step} h, coloured by its highest grade."
    said += " A dark tick ends the record, a wide one is death."
    return ended(page, bottom + 32, said, note)


def cells(one: Person, scale: str, end: float, step: int) -> NDArray[np.int64]:
    """The value of each cell: the highest grade in it, `OPEN` more where a higher one was not ruled out.

    A cell is `BLANK` where all of it that was graded is unmeasured, `AFTER` where none of it was graded.
    """
    count = int(-(-end // step))
    found = np.full(count, AFTER, np.int64)
    for run in one.runs.get(scale, ()):
        first, last = max(0, int(run.start // step)), min(count, int(-(-run.end // step)))
        if run.end <= run.start:
            continue
        value = BLANK if run.unmeasured else run.grade + (OPEN if run.up_to > run.grade else 0)
        piece = found[first:last]
        grade = np.where(piece >= 0, piece % OPEN, piece)
        mine = value % OPEN if value >= 0 else value
        np.copyto(piece, value, where=(grade < mine) | ((grade == mine) & (piece < value)))
    return found


def _runs(values: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(value, first cell, cell after the last) of neighbours that are equal."""
    if not len(values):
        return []
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [(int(values[a]), a, b) for a, b in pairwise(edges)]


def _sections(
    page: Surface, sections: Sequence[tuple[int, int, float, float]], low: float, high: float
) -> None:  # fmt: skip
    """How many patients had each highest grade, beside their rows."""
    look, x = page.look, PAD + LEFT - 10
    places = apart([(top + bottom) / 2 for *_, top, bottom in sections], 22, low + 6, max(high - 6, low + 6))
    for place, (grade, count, top, bottom) in zip(places, sections, strict=True):
        page.add("rule", [{"x": x, "y": top, "y2": max(bottom, top + 1)}], color=look.muted, strokeWidth=2)
        page.add("line", [{"x": x - 26, "y": place}, {"x": x - 2, "y": (top + bottom) / 2}], color=look.line)
        badge(page, PAD + 8, place, grade)
        page.write(f"{count:,}", PAD + 24, place, size=13, bold=True)
