"""Simulated arms side by side: how many reach each grade, how many are treated, how high cytokines rise."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np

from tocsin.plots.canvas import fit
from tocsin.plots.course import PlotError
from tocsin.plots.labels import width as wide
from tocsin.plots.look import SHAPES, number
from tocsin.plots.look import look as theme_look
from tocsin.plots.surface import Axis, Surface
from tocsin.simulation.equations import Vector
from tocsin.simulation.trials import Arm, Share, levels

WIDTH = 1280
NAME, PAD, GAP = 190.0, 16.0, 12.0  # px
HEAD, TITLES, ROW, FOOT = 44.0, 46.0, 46.0, 62.0
LEVELS = ((1, "any grade"), (2, "2 or higher"), (3, "3 or higher"), (4, "4"))
PEAKS = (
    ("peak il-6", "highest IL-6 drawn", "pg/mL, log"),
    ("peak ifn-gamma", "highest IFN-γ drawn", "pg/mL, log"),
)


def arms(
    compared: Sequence[Arm], *, title: str = "", scale: str = "", theme: str = "light", width: int = WIDTH
) -> alt.LayerChart:
    """Draw arms as rows and what became of their patients as columns.

    Parameters
    ----------
    compared : simulated arms; the first is the one that dotted lines compare with.
    title, scale : what was simulated; under which scale it was graded.
    theme : "light" or "dark".  width : px; the height follows from the number of arms.

    Shares are drawn with Wilson's 95 % interval of the number simulated: how precise the simulation is, not
    how sure the model. Peaks are drawn with median, half and nine tenths of the patients who had blood drawn.

    Raises
    ------
    PlotError : no arm, or an arm without patients.
    """
    if not compared or any(not len(arm.columns["grade"]) for arm in compared):
        raise PlotError("no patients to compare\n  fix: at least one arm of at least one patient")
    look = theme_look(theme)
    page = Surface(look, width, HEAD + TITLES + ROW * len(compared) + FOOT, name="arms")
    page.write(title or "Arms side by side", PAD, 22, size=16, bold=True)
    if scale:
        page.write(f"graded under {scale}", width - PAD, 22, size=12, align="right", colour=look.muted)
    shares = {arm.name: {row["grade"]: row for row in levels(arm)} for arm in compared}
    treated = {arm.name: 100.0 * float((arm.columns["tocilizumab"] > 0).mean()) for arm in compared}
    room = width - NAME - PAD
    weights = [1.0] * len(LEVELS) + [0.8] + [1.25] * len(PEAKS)
    each = (room - GAP * (len(weights) - 1)) / sum(weights)
    lefts = [NAME + sum(weights[:k]) * each + GAP * k for k in range(len(weights))]
    top = HEAD + TITLES
    for k, arm in enumerate(compared):
        y = top + ROW * (k + 0.5)
        lines = _wrapped(arm.name, NAME - PAD - 10)
        at = y - 6 if len(lines) == 1 else y - 14
        for n, line in enumerate(lines):
            page.write(line, PAD, at + 15 * n, size=13, bold=True)
        page.write(f"{len(arm.columns['grade']):,} patients", PAD, at + 15 * len(lines), colour=look.muted)
    for k, (grade, words) in enumerate(LEVELS):
        top_share = max(shares[arm.name][grade]["high"] for arm in compared)
        most = next(m for m in (10, 25, 50, 100) if top_share <= m)
        axis = Axis(0, most, lefts[k] + 8, lefts[k] + each - 8)
        _column(page, axis, words, "% of patients", top, len(compared), grade)
        for row, arm in enumerate(compared):
            _share(page, axis, shares[arm.name][grade], top + ROW * (row + 0.5), grade)
        first = shares[compared[0].name][grade]
        _reference(page, axis, first["share"], top, len(compared))
    axis = Axis(0, 100, lefts[len(LEVELS)] + 8, lefts[len(LEVELS)] + each * 0.8 - 8)
    _column(page, axis, "tocilizumab", "% given it", top, len(compared))
    for row, arm in enumerate(compared):
        _bar(page, axis, treated[arm.name], top + ROW * (row + 0.5))
    for k, (column, words, unit) in enumerate(PEAKS, len(LEVELS) + 1):
        found = [_finite(arm.columns[column]) for arm in compared]
        _peaks(page, found, lefts[k], lefts[k] + each * 1.25, words, unit, top)
    _foot(page)
    return page.chart()


def _wrapped(name: str, room: float) -> list[str]:
    """A name in at most two lines, broken between words.

    >>> _wrapped("tocilizumab at grade 3", 150)
    ['tocilizumab at', 'grade 3']
    """
    if wide(name, 13, True) <= room:
        return [name]
    words = name.split()
    kept = max((k for k in range(1, len(words)) if wide(" ".join(words[:k]), 13, True) <= room), default=0)
    first, rest = (" ".join(words[:kept]), " ".join(words[kept:])) if kept else (name, "")
    return [fit(line, room, 13, True) for line in (first, rest) if line]


def _finite(values: Vector) -> Vector:
    return np.maximum(values[np.isfinite(values)], 1e-2)


def _column(
    page: Surface, axis: Axis, words: str, unit: str, top: float, count: int, grade: int | None = None
) -> None:
    """A panel with its heading, grid and numbers."""
    look, bottom, x = page.look, top + ROW * count, axis.start - 8
    page.panel(axis.start - 8, axis.end + 8, top, bottom)
    ticks = axis.ticks(34)
    page.rules_across(axis, top + 1, bottom - 1, ticks)
    page.add(
        "rule",
        [{"x": axis.start - 7, "x2": axis.end + 7, "y": top + ROW * k} for k in range(1, count)],
        color=look.grid,
    )
    page.numbers(axis, bottom + 13, ticks, _brief)
    if grade is not None:
        page.add(
            "point",
            [{"x": x + 8, "y": top - 31, "shape": SHAPES[grade]}],
            shapes=True,
            filled=True,
            size=210 if grade == 2 else 170,
            color=look.grades[grade],
            stroke=look.unmeasured_edge,
            strokeWidth=0.75,
        )
        x += 22
    page.write(words, x, top - 31, size=13, bold=True)
    page.write(unit, axis.start - 8, top - 13, size=11.5, colour=look.muted)


def _brief(value: float) -> str:
    """A tick's number; thousands as k, so that neighbouring panels keep apart.

    >>> _brief(10000.0), _brief(50.0)
    ('10k', '50')
    """
    return f"{value / 1000:g}k" if value >= 1000 else number(value)


def _share(page: Surface, axis: Axis, row: Share, y: float, grade: int) -> None:
    """The interval as a line with ends, the share as the grade's own symbol, both as numbers."""
    look = page.look
    low, high, at = axis(row["low"]), axis(row["high"]), axis(row["share"])
    tip = {
        "arm": row["arm"],
        "share": f"{row['share']:.1f} %",
        "interval": f"{row['low']:.1f} to {row['high']:.1f} %",
    }
    page.add("rule", [{"x": low, "x2": high, "y": y + 8}], color=look.ink, strokeWidth=1.6)
    page.add(
        "rule", [{"x": x, "y": y + 4, "y2": y + 12} for x in (low, high)], color=look.ink, strokeWidth=1.6
    )
    page.add(
        "point",
        [{"x": at, "y": y + 8, "shape": SHAPES[grade], **tip}],
        shapes=True,
        tooltip=(*tip,),
        filled=True,
        size=130 if grade == 2 else 105,
        color=look.grades[grade],
        stroke=look.ink,
        strokeWidth=1.2,
    )
    told = f"{row['share']:.0f}" if row["share"] >= 10 or row["share"] == 0 else f"{row['share']:.1f}"
    span = f"({row['low']:.0f}–{row['high']:.0f})"
    total = wide(told, 13, True) + 5 + wide(span)
    left = min(max(at - total / 2, axis.start - 4), axis.end + 4 - total)
    page.write(told, left, y - 9, size=13, bold=True, halo=look.panel)
    page.write(span, left + wide(told, 13, True) + 5, y - 9, colour=look.muted, halo=look.panel)


def _reference(page: Surface, axis: Axis, share: float, top: float, count: int) -> None:
    """The first arm's share, down through the others."""
    if count > 1:
        page.add("rule", [{"x": axis(share), "y": top + ROW * 0.5 + 16, "y2": top + ROW * count}],
                 color=page.look.muted, strokeDash=[2, 3])  # fmt: skip


def _bar(page: Surface, axis: Axis, share: float, y: float) -> None:
    look = page.look
    box = {"x": axis.start, "x2": axis(share), "y": y + 2, "y2": y + 13, "share": f"{share:.1f} %"}
    page.add("rect", [box], tooltip=("share",), color=look.given["anti-cytokine"], opacity=0.75)
    page.write(f"{share:.0f}", axis.start, y - 9, size=13, bold=True, halo=look.panel)


def _peaks(
    page: Surface, found: Sequence[Vector], left: float, right: float, words: str, unit: str, top: float
) -> None:
    """Median, half and nine tenths of each arm on one log scale."""
    look = page.look
    seen = [np.percentile(values, [5, 25, 50, 75, 95]) for values in found if len(values)]
    low, high = (min(q[0] for q in seen), max(q[4] for q in seen)) if seen else (1.0, 100.0)
    axis = Axis(
        10.0 ** np.floor(np.log10(low)), 10.0 ** np.ceil(np.log10(high) + 1e-9), left + 8, right - 8, log=True
    )
    _column(page, axis, words, unit, top, len(found))
    for row, values in enumerate(found):
        y = top + ROW * (row + 0.5)
        if not len(values):
            page.write("no blood drawn", axis.start, y, colour=look.muted)
            continue
        q = [axis(float(v)) for v in np.percentile(values, [5, 25, 50, 75, 95])]
        middle = float(np.median(values))
        tip = {"median": number(middle), "patients": str(len(values))}
        page.add("rule", [{"x": q[0], "x2": q[4], "y": y + 8}], color=look.pressor, strokeWidth=1.6)
        page.add(
            "rect",
            [{"x": q[1], "x2": q[3], "y": y + 2, "y2": y + 14, **tip}],
            tooltip=(*tip,),
            color=look.pressor,
            opacity=0.55,
            cornerRadius=2,
        )
        page.add("rule", [{"x": q[2], "y": y - 0.5, "y2": y + 16.5}], color=look.ink, strokeWidth=2.4)
        text, half = number(middle), wide(number(middle), 13, True) / 2
        page.write(
            text,
            min(max(q[2], axis.start + half), axis.end - half),
            y - 9,
            size=13,
            bold=True,
            align="center",
            halo=look.panel,
        )


def _foot(page: Surface) -> None:
    look, y = page.look, page.height - 16
    page.write("shares: 95 % interval of the number simulated, not of the model · peaks: median, half, "
               "nine tenths of those sampled · dotted: the first arm", PAD, y, colour=look.muted)  # fmt: skip
    page.write("Simulated: decides on nobody's care.", page.width - PAD, y, align="right", colour=look.muted)
