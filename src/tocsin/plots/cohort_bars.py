"""Bars of a cohort: highest grades, hours from dose to onset, hours measured and not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pyarrow as pa

from tocsin.plots.canvas import fit
from tocsin.plots.cohort_page import (
    PAD,
    WIDTH,
    Names,
    asked,
    begun,
    beside,
    called,
    counts,
    ended,
    few,
    graded,
    grid,
    hatch,
    heading,
    key,
    nothing,
    percent,
)  # fmt: skip
from tocsin.plots.course import PlotError
from tocsin.plots.labels import width as wide
from tocsin.plots.look import number
from tocsin.plots.surface import Axis, Surface

BAR, ROW, SIDE, TOLD = 34.0, 82.0, 210.0, 316.0  # px
GRADE = "crs-grade-"
EXTRA = {"crs-any": "any grade", "crs-at-least-3": "grade 3 or above"}
NOT_RULED_OUT = "crs-not-ruled-out"
PROPORTIONS = ("group", "scale", "what", "n", "of", "share", "low", "high")
BINS = (1, 2, 3, 4, 6, 12, 24, 48, 96, 168)  # hours
DOSES = 4  # the last row of panels: this dose and later ones


def maximum_grades(
    proportions: pa.Table, *, names: Names = None, note: str = "", title: str = "", theme: str = "light"
) -> alt.LayerChart:
    """One bar of 100 % a group and scale: how many had which highest grade.

    Parameters
    ----------
    proportions : `group, scale, what, n, of, share, low, high`; the rows whose `what` is `crs-grade-0` to
        `crs-grade-5` make the bar, `crs-any` and `crs-at-least-3` are written beside it with their interval,
        `crs-not-ruled-out` (patients whose highest grade may have been higher) is hatched under it.
    names : what to call groups and scales.  note : n, scale, data cut and censor rule, under the figure.

    Raises
    ------
    PlotError : a column is missing, no row of a grade, or parts that are more than the whole.
    """
    rows = [row for row in asked(proportions, PROPORTIONS, "the figure of highest grades") if row["what"]]
    rows = [r for r in rows if r["what"].startswith(GRADE) or r["what"] in (*EXTRA, NOT_RULED_OUT)]
    parts = [row for row in rows if row["what"].startswith(GRADE)]
    if not parts:
        raise nothing("row `crs-grade-0` to `crs-grade-5`", "pass the proportions of a graded cohort")
    counts(rows, "n")
    counts(rows, "of")
    for row in parts:
        row["grade"] = int(row["what"].removeprefix(GRADE)) if row["what"][len(GRADE) :].isdigit() else -1
    graded(parts, "grade")
    groups, scales = few(r["group"] for r in parts), list(dict.fromkeys(r["scale"] for r in parts))
    page, y = begun("maximum-grades", title, theme)
    y = key(page, y + 6, scale=called(scales[0], names) if len(scales) == 1 else "") + 4
    axis = Axis(0, 1, PAD + SIDE, WIDTH - PAD - TOLD)
    for text, x in zip(EXTRA.values(), (axis.end + 16, axis.end + 16 + TOLD / 2), strict=True):
        page.write(f"{text}, % (95 %)", x, y, colour=page.look.muted)
    y += 12
    for scale in scales:
        for group in groups:
            mine = {r["what"]: r for r in rows if r["group"] == group and r["scale"] == scale}
            if any(what.startswith(GRADE) for what in mine):
                _whole(mine, group)
                _bar(page, mine, axis, y, heading(group, scale, groups, scales, names))
                y += ROW
    hatched = " Hatched: may have stood higher; not ruled out." if any(
        r["what"] == NOT_RULED_OUT and r["n"] for r in rows) else ""  # fmt: skip
    return ended(page, y - 10, f"Each patient once, at the highest grade reached.{hatched}", note)


def _whole(mine: Mapping[str, Mapping[str, Any]], group: str) -> None:
    of = max(row["of"] for row in mine.values())
    total = sum(row["n"] for what, row in mine.items() if what.startswith(GRADE))
    if total > of:
        raise PlotError(
            f"{group}: the grades of {total} patients, of {of}\n  why: each patient has one highest grade\n"
            "  fix: rows of one scale and one group"
        )


def _bar(page: Surface, mine: Mapping[str, dict[str, Any]], axis: Axis, y: float, name: str) -> None:
    look, of = page.look, max(row["of"] for row in mine.values())
    page.write(fit(name, SIDE - 12, 13, True), PAD, y + BAR / 2 - 7, size=13, bold=True)
    page.write(f"n = {of:,}", PAD, y + BAR / 2 + 9, size=12, colour=look.muted)
    page.add("rect", [{"x": axis.start, "x2": axis.end, "y": y, "y2": y + BAR}], color=look.panel,
             stroke=look.edge)  # fmt: skip
    if not of:
        page.write("nobody to grade", axis.start + 10, y + BAR / 2, size=12, colour=look.muted)
        return
    boxes, spots, said, at = [], [], [], 0.0
    for grade in range(6):
        row = mine.get(f"{GRADE}{grade}")
        if row is None or not row["n"]:
            continue
        share = row["n"] / of
        left, right = axis(at), axis(at + share)
        boxes.append({
            "x": left, "x2": right, "y": y, "y2": y + BAR, "fill": look.grades[grade],
            "grade": str(grade), "patients": row["n"], "of": of, "share": f"{percent(share)} %",
        })  # fmt: skip
        inside = right - left > 18
        if inside:
            page.write(str(grade), (left + right) / 2, y + BAR / 2 + 0.5, size=15, bold=True, align="center",
                       colour=look.on_grade[grade])  # fmt: skip
        spots.append((left + right) / 2)
        said.append(f"{'' if inside else f'grade {grade}: '}{row['n']:,} ({percent(share)} %)")
        at += share
    page.add("rect", boxes, colour="fill", stroke=look.panel, strokeWidth=1,
             tooltip=("grade", "patients", "of", "share"))  # fmt: skip
    places = beside(spots, [wide(text, 11.5) for text in said], axis.start, axis.end)
    low = y + BAR + 14
    page.add(
        "rule",
        [
            {"x": a, "x2": b, "y": y + BAR + 1, "y2": low - 7}
            for a, b in zip(spots, places, strict=True)
            if abs(a - b) > 3
        ],
        color=look.line,
    )
    for text, x in zip(said, places, strict=True):
        page.write(text, x, low, size=11.5, align="center")
    missed = mine.get(NOT_RULED_OUT)
    if missed is not None and missed["n"]:
        box = {"x": axis.start, "x2": axis(missed["n"] / of), "y": low + 11, "y2": low + 18}
        page.add("area", hatch([box], lambda _: look.muted), colour="fill")
        page.add("rect", [box], color="transparent", stroke=look.muted, strokeDash=[4, 3])
        text = f"{missed['n']:,} ({percent(missed['n'] / of)} %) may have stood higher"
        x = min(box["x2"] + 8, axis.end - wide(text))
        page.write(text, x, low + 15, colour=look.muted, halo=look.page)
    for what, x in zip(EXTRA, (axis.end + 16, axis.end + 16 + TOLD / 2), strict=True):
        if what in mine:
            row = mine[what]
            told = percent(row["n"] / row["of"]) if row["of"] else "–"
            page.write(told, x, y + BAR / 2, size=17, bold=True)
            if row["low"] is not None and row["high"] is not None:
                span = f"({percent(row['low'])}–{percent(row['high'])})"
                page.write(span, x + wide(told, 17, True) + 5, y + BAR / 2 + 1, size=12, colour=look.muted)


def hours_measured(
    hours: pa.Table, *, names: Names = None, note: str = "", title: str = "", theme: str = "light"
) -> alt.LayerChart:
    """How much of the time graded was really measured, one bar a group.

    Parameters
    ----------
    hours : `group, measured, open, unmeasured` in hours, which add up to the time graded: the grade certain;
        a higher one not ruled out though something was measured; nobody measuring. `scale` may be there.

    Raises
    ------
    PlotError : a column is missing, no row, or hours below 0.
    """
    kinds = ("measured", "open", "unmeasured")
    has_scale = "scale" in hours.column_names
    rows = asked(hours, ("group", *kinds, *(["scale"] if has_scale else [])), "the figure of hours measured")
    if not rows:
        raise nothing("group", "a cohort of at least one patient")
    for kind in kinds:
        counts(rows, kind)
    groups, scales = few(r["group"] for r in rows), list(dict.fromkeys(r.get("scale") for r in rows))
    page, y = begun("hours-measured", title, theme)
    look, axis = page.look, Axis(0, 1, PAD + SIDE, WIDTH - PAD)
    said = {"measured": "measured, the grade certain", "open": "a higher grade not ruled out",
            "unmeasured": "nobody measuring"}  # fmt: skip
    x = PAD
    for kind, text in said.items():
        _kind(page, kind, {"x": x, "x2": x + 34, "y": y, "y2": y + 14})
        page.write(text, x + 42, y + 7, size=12)
        x += 42 + wide(text, 12) + 26
    y += 34
    for row in rows:
        total = sum(row[kind] for kind in kinds)
        name = heading(row["group"], row.get("scale"), groups, scales, names)
        page.write(fit(name, SIDE - 12, 13, True), PAD, y + 10, size=13, bold=True)
        page.write(f"{number(total / 24)} patient-days", PAD, y + 26, size=12, colour=look.muted)
        at, spots, words = 0.0, [], []
        for kind in kinds:
            if not row[kind]:
                continue
            share = row[kind] / total
            box = {"x": axis(at), "x2": axis(at + share), "y": y, "y2": y + BAR}
            tip = {"what": said[kind], "hours": row[kind], "share": f"{percent(share)} %"}
            _kind(page, kind, box, tip)
            spots.append((box["x"] + box["x2"]) / 2)
            words.append(f"{percent(share)} % · {number(row[kind])} h")
            at += share
        if not total:
            page.write("no hour graded", axis.start + 10, y + BAR / 2, size=12, colour=look.muted)
        else:
            places = beside(spots, [wide(text, 11.5) for text in words], axis.start, axis.end)
            for text, x in zip(words, places, strict=True):
                page.write(text, x, y + BAR + 13, size=11.5, align="center")
        y += ROW - 14
    return ended(page, y - 8, note)


def _kind(page: Surface, kind: str, box: Mapping[str, float], tip: Mapping[str, Any] | None = None) -> None:
    look, rows = page.look, [{**box, **(tip or {})}]
    told = tuple(tip or ())
    if kind == "measured":
        page.add("rect", rows, color=look.oxygen, tooltip=told)
    elif kind == "open":
        page.add("rect", rows, color=look.grades[1], tooltip=told)
        page.add("area", hatch([box], lambda _: look.grades[3]), colour="fill", opacity=0.85)
        page.add("rect", [box], color="transparent", stroke=look.ink, strokeDash=[4, 3])
    else:
        page.add(
            "rect", rows, color=look.unmeasured, stroke=look.unmeasured_edge, strokeDash=[4, 3], tooltip=told
        )


def onset_histogram(
    onsets: pa.Table, *, bin_hours: int | None = None, names: Names = None, note: str = "", title: str = "",
    theme: str = "light",
) -> alt.LayerChart:  # fmt: skip
    """How long after its dose an episode began: a row of panels a dose, a column a group.

    Parameters
    ----------
    onsets : one row an episode: `group, dose_number, hours_from_dose, peak`. Episodes without a dose before
        them are counted under the figure and not drawn.
    bin_hours : hours a bar; else as many as keep the bars apart.

    Raises
    ------
    PlotError : a column is missing, no row, a peak that is no grade, or bars of no width.
    """
    rows = asked(onsets, ("group", "dose_number", "hours_from_dose", "peak"), "the histogram of onsets")
    if not rows:
        raise nothing("episode", "a cohort in which somebody had an episode")
    graded(rows, "peak")
    if bin_hours is not None and bin_hours < 1:
        raise PlotError(f"bars of {bin_hours} h\n  why: a bar has a width\n  fix: 1 or more")
    dosed = [r for r in rows if r["dose_number"] is not None and r["hours_from_dose"] is not None]
    groups = few(r["group"] for r in rows)
    doses = sorted({min(r["dose_number"], DOSES) for r in dosed}) or [1]
    most = max((r["hours_from_dose"] for r in dosed), default=24.0)
    across = grid(len(groups), 54.0, 40.0, most=len(groups))
    room = across[0][2] - across[0][1]
    step = bin_hours or next((b for b in BINS if most / b <= room / 11), BINS[-1])
    end = step * (int(most // step) + 1)
    page, y = begun("onset-histogram", title, theme)
    y = key(page, y + 6, lowest=1, highest=max(r["peak"] for r in rows)) + 8
    tall = 150.0 if len(doses) == 1 else 118.0
    tallest = 1
    for group in groups:
        for dose in doses:
            some = [r for r in dosed if r["group"] == group and min(r["dose_number"], DOSES) == dose]
            tallest = max(tallest, *_heights(some, step, end).sum(0).tolist())
    for _row, dose in enumerate(doses):
        for group, (_, left, right) in zip(groups, across, strict=True):
            some = [r for r in dosed if r["group"] == group and min(r["dose_number"], DOSES) == dose]
            said = f"dose {dose}{' and later' if dose == DOSES else ''}"
            name = said if groups == ["all"] else f"{called(group, names)}, {said}"
            _onsets(page, some, fit(name, (right - left) * 0.6, 13, True), step, tallest,
                    Axis(0, end, left + 6, right - 6), y + 22, tall)  # fmt: skip
        y += tall + 64
    lost = len(rows) - len(dosed)
    left_out = (
        f" {lost:,} of {len(rows):,} episodes had no dose charted before them and are not drawn."
        if lost
        else ""
    )
    return ended(
        page,
        y - 8,
        f"Bars of {step} h, from onset; coloured by the highest grade of the episode.{left_out}",
        note,
    )


def _heights(rows: Sequence[Mapping[str, Any]], step: int, end: float) -> np.ndarray[Any, Any]:
    """(grade, bar): how many episodes; an onset on a border counts to the bar that it begins."""
    table = np.zeros((6, int(end // step)), np.int64)
    for row in rows:
        table[row["peak"], max(0, int(row["hours_from_dose"] // step))] += 1
    return table


def _onsets(
    page: Surface,
    rows: Sequence[Mapping[str, Any]],
    name: str,
    step: int,
    tallest: int,
    axis: Axis,
    top: float,
    tall: float,
) -> None:
    look, down = page.look, Axis(0, tallest, top + tall - 1, top + 22)
    page.panel(axis.start - 6, axis.end + 6, top, top + tall)
    page.write(name, axis.start - 6, top - 11, size=13, bold=True)
    ticks = [t for t in down.ticks(22) if t == int(t)]
    page.rules_down(down, axis.start - 5, axis.end + 5, ticks[1:])
    for tick in ticks:
        page.write(number(tick), axis.start - 12, down(tick), align="right", colour=look.muted)
    every = next(
        h for h in (1, 2, 4, 6, 12, 24, 48, 96, 168, 336, 672, 1344, 10**6) if axis(h) - axis(0) >= 46
    )
    days = axis.high > 72
    if days:
        every = max(24, every)
    marks = list(range(0, int(axis.high) + 1, every))
    page.add("rule", [{"x": axis(t), "y": top + tall, "y2": top + tall + 4} for t in marks], color=look.muted)
    for tick in marks:
        page.write(
            number(tick / 24 if days else tick), axis(tick), top + tall + 13, size=11.5, align="center"
        )
    page.write(f"{'days' if days else 'hours'} from the dose", (axis.start + axis.end) / 2, top + tall + 28,
               align="center", colour=look.muted)  # fmt: skip
    heights = _heights(rows, step, axis.high)
    boxes = []
    for bar in range(heights.shape[1]):
        below = 0
        for grade in range(5, -1, -1):
            many = int(heights[grade, bar])
            if many:
                boxes.append({
                    "x": axis(bar * step) + 0.6, "x2": axis((bar + 1) * step) - 0.6, "y": down(below + many),
                    "y2": down(below), "fill": look.grades[grade], "grade": str(grade), "episodes": many,
                    "hours": f"{bar * step} to {(bar + 1) * step}",
                })  # fmt: skip
                if down(below) - down(below + many) > 13 and axis(step) - axis(0) > 11:
                    page.write(str(grade), axis((bar + 0.5) * step), (down(below) + down(below + many)) / 2,
                               align="center", bold=True, colour=look.on_grade[grade])  # fmt: skip
                below += many
    page.add(
        "rect",
        boxes,
        colour="fill",
        stroke=look.panel,
        strokeWidth=0.8,
        tooltip=("grade", "hours", "episodes"),
    )
    if not rows:
        page.write("no episode", (axis.start + axis.end) / 2, top + tall / 2, size=12, align="center",
                   colour=look.muted, halo=look.panel)  # fmt: skip
        return
    middle = float(np.median([row["hours_from_dose"] for row in rows]))
    told = f"{number(middle / 24)} d" if days else f"{number(middle)} h"
    page.write(
        f"n = {len(rows):,}, median {told}", axis.end + 6, top - 11, size=12, align="right", colour=look.muted
    )
    page.add("rule", [{"x": axis(middle), "y": top + 1, "y2": top + tall}], color=look.ink, strokeDash=[4, 3])
