"""Two gradings of the same patients as a square of counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import pyarrow as pa

from tocsin.plots.canvas import fit
from tocsin.plots.cohort_page import (
    PAD,
    WIDTH,
    Names,
    asked,
    badge,
    begun,
    called,
    counts,
    ended,
    few,
    graded,
    grid,
    mixed,
    nothing,
    percent,
)  # fmt: skip
from tocsin.plots.course import PlotError
from tocsin.plots.look import lightness
from tocsin.plots.surface import Surface

COLUMNS = ("group", "rows", "columns", "row", "column", "patients")
LEVELS = 6
EDGE, CELL = 96.0, 64.0  # px: left of the square; the largest cell


def confusion(
    table: pa.Table, *, rows: str | None = None, columns: str | None = None, group: str | None = None,
    kappa: float | Mapping[str, float] | None = None, names: Names = None, note: str = "", title: str = "",
    theme: str = "light",
) -> alt.LayerChart:  # fmt: skip
    """A square a group: how many patients stand at each pair of grades, equal grades on the marked diagonal.

    Parameters
    ----------
    table : `group, rows, columns, row, column, patients`.
    rows, columns : the pair drawn, where the table has several.  group : one; else a square for each.
    kappa : with quadratic weights, one number or one a group; written beside the square.

    Raises
    ------
    PlotError : a column is missing, several pairs and none named, no row of the pair, a grade that is none.
    """
    every = asked(table, COLUMNS, "the square of two gradings")
    found = [
        row for row in every
        if row["rows"] == (rows or row["rows"]) and row["columns"] == (columns or row["columns"])
        and row["group"] == (group or row["group"])
    ]  # fmt: skip
    if not found:
        raise nothing("row of this pair of gradings", "a pair and a group of the table")
    pairs = list(dict.fromkeys((row["rows"], row["columns"]) for row in found))
    if len(pairs) > 1:
        told = ", ".join(f"{a} with {b}" for a, b in pairs)
        raise PlotError(
            f"{len(pairs)} pairs: {told}\n  why: they cannot be added\n  fix: name rows and columns"
        )
    counts(found, "patients")
    graded(found, "row", "column")
    groups = few(row["group"] for row in found)
    if isinstance(kappa, int | float) and len(groups) > 1:
        raise PlotError(
            f"one kappa for {len(groups)} groups\n  why: each has its own\n"
            "  fix: one for each, by name, or one group"
        )
    page, y = begun("confusion", title, theme)
    sides = (called(pairs[0][0], names), called(pairs[0][1], names))
    places = grid(len(groups), PAD, 24.0)
    deep = 0.0
    for name, (row, left, right) in zip(groups, places, strict=True):
        counted = [[0] * LEVELS for _ in range(LEVELS)]
        for one in found:
            if one["group"] == name:
                counted[one["row"]][one["column"]] += one["patients"]
        value = kappa.get(name) if isinstance(kappa, Mapping) else kappa
        head = "" if name == "all" and len(groups) == 1 else called(name, names)
        deep = _square(
            page, counted, head, sides, left, right, y + row * deep, value, single=len(groups) == 1
        )
    bottom = y + deep * (places[-1][0] + 1)
    said = "Heavy edges: both say the same grade. Darker: a larger share of its row."
    return ended(page, bottom - 14, said, note)


def _square(
    page: Surface, counted: list[list[int]], head: str, sides: tuple[str, str], left: float, right: float,
    top: float, kappa: float | None, *, single: bool,
) -> float:  # fmt: skip
    """One square; returns the height it takes."""
    look = page.look
    room = right - left
    cell = min(CELL, (room - EDGE - 60) / LEVELS)
    start, first = left + EDGE, top + 64
    total = sum(map(sum, counted))
    if head:
        page.write(fit(f"{head}, n = {total:,}", room, 13, True), left, top + 6, size=13, bold=True)
    page.write(fit(f"{sides[1]} →", cell * LEVELS, 12, True), start, top + 27, size=12, bold=True)
    page.write(fit(f"{sides[0]} ↓", EDGE + cell, 12, True), left, top + 46, size=12, bold=True)
    boxes, diagonal = [], []
    for i in range(LEVELS):
        badge(page, start - 16, first + cell * (i + 0.5), i)
        badge(page, start + cell * (i + 0.5), first - 16, i)
        whole = sum(counted[i])
        for j in range(LEVELS):
            n = counted[i][j]
            fill = mixed(look.panel, look.pressor, n / whole * 0.85 if whole else 0.0)
            box: dict[str, Any] = {
                "x": start + cell * j, "x2": start + cell * (j + 1), "y": first + cell * i,
                "y2": first + cell * (i + 1), "fill": fill, "row": i, "column": j, "patients": n,
                "share": f"{percent(n / whole)} % of the row" if whole else "",
            }  # fmt: skip
            boxes.append(box)
            if i == j:
                diagonal.append(
                    {k: box[k] + (1.5 if k in ("x", "y") else -1.5) for k in ("x", "x2", "y", "y2")}
                )
            dark = lightness(fill) < 0.35
            ink = ("#FFFFFF" if dark else "#1D252D") if n else look.muted
            size = 15 if cell > 50 and n < 10_000 else 12 if n < 100_000 else 11
            page.write(f"{n:,}", start + cell * (j + 0.5), first + cell * (i + 0.5), size=size,
                       bold=bool(n), align="center", colour=ink)  # fmt: skip
        page.write(
            f"{whole:,}", start + cell * LEVELS + 8, first + cell * (i + 0.5), size=12, colour=look.muted
        )
    page.add("rect", boxes, colour="fill", stroke=look.edge, strokeWidth=1,
             tooltip=("row", "column", "patients", "share"))  # fmt: skip
    page.add("rect", diagonal, fill=None, stroke=look.ink, strokeWidth=2.2)
    low = first + cell * LEVELS
    for j in range(LEVELS):
        below = sum(counted[i][j] for i in range(LEVELS))
        page.write(
            f"{below:,}", start + cell * (j + 0.5), low + 13, size=12, align="center", colour=look.muted
        )
    page.write(f"{total:,}", start + cell * LEVELS + 8, low + 13, size=12, bold=True)
    _agreement(page, counted, total, kappa, sides, left, low, start + cell * LEVELS + 90, first, single)
    return low + 66 - top


def _agreement(
    page: Surface, counted: list[list[int]], total: int, kappa: float | None, sides: tuple[str, str],
    left: float, low: float, beside: float, first: float, single: bool,
) -> None:  # fmt: skip
    """Agreement in numbers: beside a single square, under one of several."""
    look = page.look
    if not total:
        page.write("nobody graded under both", left, low + 36, size=12, colour=look.muted)
        return
    cells = [(i, j, counted[i][j]) for i in range(LEVELS) for j in range(LEVELS)]
    same, near = (sum(n for i, j, n in cells if abs(i - j) <= d) for d in (0, 1))
    higher = sum(n for i, j, n in cells if i > j)
    lower = total - same - higher
    shown = "" if kappa is None or kappa != kappa else f"{kappa:.2f}"
    if not single:
        told = f"same grade {percent(same / total)} %, within one {percent(near / total)} %"
        page.write(told + (f", weighted κ {shown}" if shown else ""), left, low + 36, size=12)
        return
    lines = [
        (f"{percent(same / total)} %", f"the same grade ({same:,} of {total:,})"),
        (f"{percent(near / total)} %", f"within one grade ({near:,})"),
        (f"{percent(higher / total)} %", f"higher under {sides[0]} ({higher:,})"),
        (f"{percent(lower / total)} %", f"higher under {sides[1]} ({lower:,})"),
        *([(shown, "κ with quadratic weights")] if shown else []),
    ]
    for k, (value, words) in enumerate(lines):
        y = first + 24 + 48 * k
        page.write(value, beside + 120, y, size=22, bold=True, align="right")
        page.write(fit(words, WIDTH - PAD - beside - 136, 14), beside + 136, y + 1, size=14, colour=look.ink)
