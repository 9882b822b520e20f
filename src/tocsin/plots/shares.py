"""How many of many patients stand at each grade, hour by hour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tocsin.plots.course import HOUR, PlotError
from tocsin.plots.labels import width as wide
from tocsin.plots.look import SHAPES
from tocsin.plots.surface import Axis, Surface

SHARE = 104.0  # px
Grades = NDArray[np.int64]


def hourly_grades(intervals: pa.Table, ids: Sequence[str], zero: datetime, hours: int) -> Grades:
    """The grade of each patient at each hour, (patients, hours + 1), from grade intervals of one scale.

    Parameters
    ----------
    intervals : `patient_id, start, end, grade` of these patients; an `end` of null is open.
    ids : the patients in the order wanted.  zero : hour 0.

    Raises
    ------
    PlotError : intervals of several scales.
    """
    scales = set(intervals["scale"].to_pylist())
    if len(scales) > 1:
        raise PlotError(f"grades of {len(scales)} scales: {', '.join(sorted(scales))}\n  fix: filter one")
    row = {name: k for k, name in enumerate(ids)}
    found = np.zeros((len(ids), hours + 1), dtype=np.int64)
    for one in intervals.select(["patient_id", "start", "end", "grade"]).to_pylist():
        if one["patient_id"] in row and one["grade"]:
            first = max(0, math.ceil((one["start"] - zero) / HOUR))
            last = hours + 1 if one["end"] is None else math.ceil((one["end"] - zero) / HOUR)
            found[row[one["patient_id"]], first : max(last, 0)] = one["grade"]
    return found


def share_key(page: Surface, left: float, y: float, scale: str, highest: int) -> None:
    """The grades' colours and shapes in words, above the picture of shares."""
    look, x = page.look, left
    for grade in range(highest + 1):
        text = f"grade {grade}"
        page.add(
            "point", [{"x": x + 6, "y": y, "shape": SHAPES[grade]}], shapes=True, filled=True, size=110,
            color=look.grades[grade], stroke=look.unmeasured_edge, strokeWidth=0.75,
        )  # fmt: skip
        page.write(text, x + 17, y, size=12)
        x += 17 + wide(text, 12) + 20
    if scale:
        page.write(f"graded under {scale}", x, y, colour=look.muted)


def shares_area(page: Surface, grades: Grades, axis: Axis, top: float) -> None:
    """Shares of patients at each grade, stacked: the highest at the foot, on a flat line."""
    look, step = page.look, max(1, grades.shape[1] // 260)
    page.panel(axis.start, axis.end, top, top + SHARE)
    hours = np.unique(np.append(np.arange(0, grades.shape[1], step), grades.shape[1] - 1))
    down = Axis(0, 100, top + SHARE - 5, top + 5)
    below = np.zeros(len(hours))
    for grade in range(int(grades.max()), -1, -1):
        share = 100.0 * (grades[:, hours] == grade).mean(0)
        edge = below + share
        rows = [
            {"x": axis(h / 24), "y": down(float(a)), "y2": down(float(b))}
            for h, a, b in zip(hours, edge, below, strict=True)
        ]
        page.add("area", rows, color=look.grades[grade])
        # A hairline between grades: two of them may be one grey in black and white.
        page.add("line", [{"x": row["x"], "y": row["y"]} for row in rows], color=look.panel, strokeWidth=0.8)
        k = int(share.argmax())
        if grade and share[k] * (SHARE - 10) / 100 > 15:
            at = min(max(axis(hours[k] / 24), axis.start + 12), axis.end - 12)
            page.write(
                str(grade),
                at,
                down(float((edge[k] + below[k]) / 2)),
                size=13,
                bold=True,
                align="center",
                colour=look.on_grade[grade],
            )
        below = edge
