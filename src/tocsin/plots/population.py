"""Many virtual patients at once: how many stand at each grade, bands of what was measured and modelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import altair as alt
import numpy as np

from tocsin.plots.course import PlotError
from tocsin.plots.labels import width as wide
from tocsin.plots.look import SHAPES, number
from tocsin.plots.look import look as theme_look
from tocsin.plots.shares import SHARE, Grades, share_key, shares_area
from tocsin.plots.surface import Axis, Surface, day_step
from tocsin.simulation.care import Chart
from tocsin.simulation.equations import State, Vector
from tocsin.simulation.solve import Courses

WIDTH = 1280
LEFT, RIGHT, GAP = 148.0, 20.0, 14.0  # px
TOP, HEADS, ROW, BETWEEN, FOOT = 54.0, 30.0, 88.0, 8.0, 58.0
BIN = 6  # hours of readings that make one point of a band
FEW = 8  # with fewer patients each one is drawn: a band of nine tenths would be a fiction
MOST = 140  # points of a curve
KEY = "line: median · inner band: half of the patients · outer band: nine tenths"
NOTE = "Simulated: for learning, planning and testing; decides on nobody's care."


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of panels: a channel of the chart or a state of the model."""

    name: str
    unit: str
    chart: Chart | None = None
    state: State | None = None


ROWS = (
    Measured("Temperature", "°C, charted", chart=Chart.temperature),
    Measured("Mean pressure", "mmHg, charted", chart=Chart.mean_bp),
    Measured("IL-6", "pg/mL", state=State.il_6),
    Measured("IFN-γ", "pg/mL", state=State.ifn_gamma),
    Measured("Ferritin", "µg/L", state=State.ferritin),
    Measured("CRP", "mg/L", state=State.crp),
)


def bands(
    courses: Sequence[Courses],
    grades: Grades | None = None,
    *,
    arms: Sequence[str] | None = None,
    title: str = "",
    scale: str = "",
    theme: str = "light",
    width: int = WIDTH,
) -> alt.LayerChart:
    """Median, half and nine tenths of the patients, hour by hour, in columns by highest grade or by arm.

    Parameters
    ----------
    courses : of equal length; their patients are counted on from one to the next.
    grades : (patients, hours + 1), as `hourly_grades` gives them. They make the columns, unless `arms` do,
        and the picture of how many stand at each grade; without them there is one column and no such picture.
    arms : the arm of each patient: columns in the order of first mention.
    title : above the picture; else the number of patients.  scale : under which it was graded.
    theme : "light" or "dark".  width : px.

    Temperature and pressure are what the ward charted, with its antipyretics and support; the rest is the
    model's own. In a column of fewer than `FEW` patients each one is drawn.

    Raises
    ------
    PlotError : no course, courses of different length, or as many grades or arms as there are not patients.
    """
    look = theme_look(theme)
    patients, hours = _checked(courses, grades, arms)
    groups = _groups(patients, grades, arms)
    shares = grades is not None
    page = Surface(look, width, name="bands")
    page.height = TOP + (SHARE + BETWEEN + 22 if shares else 0) + HEADS + len(ROWS) * (ROW + BETWEEN) + FOOT
    across = (width - LEFT - RIGHT - GAP * (len(groups) - 1)) / len(groups)
    axes = [
        Axis(0, hours / 24, LEFT + k * (across + GAP), LEFT + k * (across + GAP) + across)
        for k in range(len(groups))
    ]
    page.write(
        title or f"{patients:,} virtual patients",
        16,
        21,
        size=16,
        bold=True,
    )
    page.write(KEY, width - RIGHT, 21, align="right",
               colour=look.muted)  # fmt: skip
    top = TOP
    if grades is not None:
        share_key(page, LEFT, 42.0, scale, int(grades.max()))
        wholes = axes if arms else [Axis(0, hours / 24, LEFT, width - RIGHT)]
        for axis, members in zip(
            wholes, [g.members for g in groups] if arms else [np.arange(patients)], strict=True
        ):
            shares_area(page, grades[members], axis, top)
        _row_name(page, "Patients", "% at each grade", top, SHARE)
        for value in (0, 50, 100):
            page.write(
                str(value),
                LEFT - 8,
                Axis(0, 100, top + SHARE - 5, top + 5)(value),
                align="right",
                colour=look.muted,
            )
        _days(page, wholes, top + SHARE)
        top += SHARE + BETWEEN + 22
    _heads(page, groups, axes, top, patients, by_grade=arms is None and shares)
    top += HEADS
    for measured in ROWS:
        _panels(page, courses, measured, groups, axes, top)
        top += ROW + BETWEEN
    _days(page, axes, top - BETWEEN)
    page.write("days since first dose", LEFT - 14, top - BETWEEN + 13, align="right", colour=look.muted)
    page.write(NOTE, width - RIGHT, page.height - 14,
               align="right", colour=look.muted)  # fmt: skip
    return page.chart()


@dataclass(frozen=True, slots=True)
class Group:
    """One column."""

    name: str
    members: Grades
    grade: int | None = None


def _checked(
    courses: Sequence[Courses], grades: Grades | None, arms: Sequence[str] | None
) -> tuple[int, int]:
    if not courses or not sum(len(one.states) for one in courses):
        raise PlotError("no courses to draw\n  fix: simulate at least one patient")
    lengths = sorted({one.states.shape[1] for one in courses})
    if len(lengths) > 1:
        raise PlotError(
            f"courses of {', '.join(map(str, lengths))} hours\n  fix: draw those of one length together"
        )
    patients, points = sum(len(one.states) for one in courses), lengths[0]
    if grades is not None and grades.shape != (patients, points):
        raise PlotError(
            f"grades are {grades.shape}, the courses {(patients, points)}\n"
            "  fix: one grade for each patient and hour"
        )
    if arms is not None and len(arms) != patients:
        raise PlotError(f"{len(arms)} arms for {patients} patients\n  fix: name the arm of every patient")
    return patients, points - 1


def _groups(patients: int, grades: Grades | None, arms: Sequence[str] | None) -> list[Group]:
    if arms is not None:
        named = np.array(arms)
        return [Group(name, np.flatnonzero(named == name)) for name in dict.fromkeys(arms)]
    if grades is None:
        return [Group("All patients", np.arange(patients))]
    worst = grades.max(1)
    return [
        Group(f"Highest grade {level}", np.flatnonzero(worst == level), level)
        for level in sorted({*worst.tolist()})
    ]


def _heads(
    page: Surface, groups: Sequence[Group], axes: Sequence[Axis], top: float, patients: int, *, by_grade: bool
) -> None:
    look = page.look
    for group, axis in zip(groups, axes, strict=True):
        count = len(group.members)
        told = f"{count:,} ({100 * count / patients:.0f} %)" if by_grade else f"{count:,} patients"
        if count < FEW:
            told += ", each drawn"
        x = axis.start
        if group.grade is not None:
            page.add(
                "point",
                [{"x": x + 10, "y": top + 13, "shape": SHAPES[group.grade]}],
                shapes=True,
                filled=True,
                size=290 if group.grade == 2 else 240,
                color=look.grades[group.grade],
                stroke=look.unmeasured_edge,
                strokeWidth=0.75,
            )
            page.write(
                str(group.grade),
                x + 10,
                top + 13.5,
                size=12,
                bold=True,
                align="center",
                colour=look.on_grade[group.grade],
            )
            x += 26
        name = (
            ("Highest grade" if x + wide("Highest grade", 13, True) + wide(told, 12) + 8 < axis.end else "")
            if by_grade
            else group.name
        )
        page.write(name, x, top + 13, size=13, bold=True)
        page.write(
            told, x + (wide(name, 13, True) * 0.93 + 8 if name else 0), top + 13, size=12, colour=look.muted
        )


def _row_name(page: Surface, name: str, unit: str, top: float, height: float) -> None:
    page.write(name, 16, top + height / 2 - 7, size=12.5, bold=True)
    page.write(unit, 16, top + height / 2 + 9, colour=page.look.muted)


def _values(courses: Sequence[Courses], measured: Measured) -> Vector:
    """(patients, points): the model each hour, or the mean of what was charted in each `BIN` hours."""
    if measured.state is not None:
        return np.concatenate([one.states[:, :, measured.state] for one in courses])
    channel = np.concatenate([one.chart[:, :, measured.chart] for one in courses])
    count = math.ceil(channel.shape[1] / BIN)
    padded = np.full((len(channel), count * BIN), np.nan)
    padded[:, : channel.shape[1]] = channel
    cut = padded.reshape(len(channel), count, BIN)
    seen = np.isfinite(cut).sum(2)
    return np.where(seen > 0, np.nansum(cut, axis=2) / np.maximum(seen, 1), np.nan)


def _panels(
    page: Surface,
    courses: Sequence[Courses],
    measured: Measured,
    groups: Sequence[Group],
    axes: Sequence[Axis],
    top: float,
) -> None:
    """One quantity in every column, on one scale."""
    look, log = page.look, measured.state is not None
    values = _values(courses, measured)
    if log:
        values = np.maximum(values[:, :: max(1, values.shape[1] // MOST)], 1e-2)
    days = (
        np.linspace(0.0, axes[0].high, values.shape[1])
        if log
        else (np.arange(values.shape[1]) + 0.5) * BIN / 24
    )
    found = [_quantiles(values[group.members]) for group in groups]
    limits = [
        v[np.isfinite(v)]
        for group, quantiles in zip(groups, found, strict=True)
        for v in ((quantiles,) if len(group.members) >= FEW else (values[group.members],))
    ]
    spread = np.concatenate([v for v in limits if len(v)] or [np.array([0.0, 1.0])])
    low, high = float(spread.min()), float(spread.max())
    margin = (high / low) ** 0.08 if log else 0.08 * (high - low or 1.0)
    down = Axis(low / margin if log else low - margin, high * margin if log else high + margin,
                top + ROW - 4, top + 4, log)  # fmt: skip
    ticks = down.ticks(19)
    _row_name(page, measured.name, f"{measured.unit}, log" if log else measured.unit, top, ROW)
    for tick in ticks:
        page.write(
            number(tick),
            LEFT - 8,
            min(max(down(tick), top + 6), top + ROW - 6),
            align="right",
            colour=look.muted,
        )
    for group, quantiles, axis in zip(groups, found, axes, strict=True):
        page.panel(axis.start, axis.end, top, top + ROW)
        page.rules_down(down, axis.start + 1, axis.end - 1, ticks)
        page.rules_across(axis, top + 1, top + ROW - 1, _ticks(axis)[1:-1])
        if len(group.members) < FEW:
            for k, one in enumerate(values[group.members]):
                page.add(
                    "line",
                    _line(days, one, axis, down, str(k)),
                    color=look.pressor,
                    strokeWidth=1,
                    opacity=0.55,
                )
        else:
            for low_row, high_row, opacity in ((0, 4, 0.17), (1, 3, 0.34)):
                rows = [
                    {"x": axis(d), "y": down(float(a)), "y2": down(float(b))}
                    for d, a, b in zip(days, quantiles[low_row], quantiles[high_row], strict=True)
                    if np.isfinite(a)
                ]
                page.add("area", rows, color=look.pressor, opacity=opacity)
        middle = quantiles[2]
        page.add("line", _line(days, middle, axis, down, "median"), color=look.ink, strokeWidth=2)
        _extreme(page, measured, days, middle, axis, down, top)


def _quantiles(values: Vector) -> Vector:
    """5, 25, 50, 75 and 95 % of the patients at each point; not-a-number where nobody was measured."""
    seen = np.isfinite(values).any(0)
    found = np.full((5, values.shape[1]), np.nan)
    if seen.any():
        found[:, seen] = np.nanpercentile(values[:, seen], [5, 25, 50, 75, 95], axis=0)
    return found


def _line(days: Vector, values: Vector, axis: Axis, down: Axis, group: str) -> list[dict[str, object]]:
    return [
        {"x": axis(d), "y": down(float(v)), "group": group}
        for d, v in zip(days, values, strict=True)
        if np.isfinite(v)
    ]


def _extreme(
    page: Surface, measured: Measured, days: Vector, middle: Vector, axis: Axis, down: Axis, top: float
) -> None:
    """The highest median (of pressure the lowest), as a dot and a number."""
    if not np.isfinite(middle).any():
        return
    lowest = measured.chart == Chart.mean_bp
    k = int(np.nanargmin(middle) if lowest else np.nanargmax(middle))
    value, x = float(middle[k]), axis(float(days[k]))
    y = down(value)
    page.add(
        "point",
        [{"x": x, "y": y}],
        filled=True,
        size=36,
        color=page.look.ink,
        stroke=page.look.panel,
        strokeWidth=1,
    )
    text = (
        f"{value:.1f}"
        if measured.chart == Chart.temperature
        else number(float(f"{value:.2g}") if value >= 100 else value)
    )
    half = wide(text, 12, True) / 2
    below = y - 13 < top + 6 if not lowest else y + 13 < top + ROW - 6
    page.write(
        text,
        min(max(x, axis.start + half + 3), axis.end - half - 3),
        y + (12 if below else -11),
        size=12,
        bold=True,
        align="center",
        halo=page.look.panel,
    )


def _ticks(axis: Axis) -> list[float]:
    step = day_step(axis.high, axis.end - axis.start)
    return [float(day) for day in np.arange(0, axis.high + 1e-9, step)]


def _days(page: Surface, axes: Sequence[Axis], y: float) -> None:
    """Numbers of days under the columns; where two columns' numbers would touch, the first gives way."""
    for axis in axes:
        page.add("rule", [{"x": axis(d), "y": y, "y2": y + 4} for d in _ticks(axis)], color=page.look.muted)
    places = [(axis(d), number(d)) for axis in axes for d in _ticks(axis)]
    for (x, text), following in pairwise([*places, (math.inf, "")]):
        if following[0] - x > (wide(text) + wide(following[1])) / 2 + 8:
            page.write(text, x, y + 13, size=11.5, align="center")
