"""A surface of pixels: rectangles, lines, areas, symbols and words at places worked out beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt
from altair.utils.schemapi import debug_mode

from tocsin.plots.look import FONT, Look, number

Row = Mapping[str, Any]
DAY_STEPS = (0.25, 0.5, 1, 2, 7, 14, 28, 91)  # days between ticks
TICK = 34.0  # px a tick needs
SMALL = 11.0  # px of the smallest words


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near to `wanted` as may be, each at least `gap` from the next, within `low`..`high`.

    Where not all fit, they are spread evenly.

    >>> apart([10, 11, 40], 10, 0, 100)
    [5.5, 15.5, 40.0]
    """
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    if len(wanted) > 1 and (len(wanted) - 1) * gap > high - low:
        step = (high - low) / (len(wanted) - 1)
        return [low + order.index(k) * step for k in range(len(wanted))]
    # Neighbours that would touch become one block, centred on what its members want.
    blocks: list[list[int]] = []
    for k in order:
        blocks.append([k])
        while len(blocks) > 1 and _top(blocks[-1], wanted, gap, low, high) < (
            _top(blocks[-2], wanted, gap, low, high) + gap * len(blocks[-2])
        ):
            last = blocks.pop()
            blocks[-1] += last
    found = [0.0] * len(wanted)
    for block in blocks:
        top = _top(block, wanted, gap, low, high)
        for n, k in enumerate(block):
            found[k] = top + n * gap
    return found


def _top(block: Sequence[int], wanted: Sequence[float], gap: float, low: float, high: float) -> float:
    middle = sum(wanted[k] - n * gap for n, k in enumerate(block)) / len(block)
    return min(max(middle, low), high - gap * (len(block) - 1))


def day_step(days: float, across: float) -> float:
    """Days between ticks on an axis `across` px wide, so that none touch."""
    return next((step for step in DAY_STEPS if across / days * step >= TICK), DAY_STEPS[-1])


@dataclass(frozen=True, slots=True)
class Axis:
    """Values to px: `low` at `start`, `high` at `end`, evenly or by logarithm; others stay at the edge."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        a, b = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        v = math.log10(max(value, self.low)) if self.log else value
        share = (min(max(v, a), b) - a) / ((b - a) or 1.0)
        return self.start + share * (self.end - self.start)

    def ticks(self, room: float) -> list[float]:
        """Round values at least `room` px apart."""
        long = abs(self.end - self.start)
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, math.ceil(room / (long / max(math.log10(self.high / self.low), 1e-9))))
            return [10.0**k for k in range(first, last + 1) if k % every == 0]
        steps = (m * 10.0**k for k in range(-3, 7) for m in (1, 2, 5))
        step = next(s for s in steps if long * s / ((self.high - self.low) or 1.0) >= room)
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass(slots=True)
class Surface:
    """A page `width` by `height` px. Layers are drawn in the order they are added, words last."""

    look: Look
    width: float
    height: float = 0.0
    name: str = "surface"
    layers: list[alt.Chart] = field(default_factory=list)
    datasets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    words: dict[tuple[Any, ...], list[dict[str, Any]]] = field(default_factory=dict)

    def add(
        self, kind: str, rows: Iterable[Row], *, tooltip: Sequence[str] = (), colour: str | None = None,
        shapes: bool = False, **mark: Any,
    ) -> None:  # fmt: skip
        """Add one layer. Fields: `x`, `x2`, `y`, `y2` in px; `group` parts lines and areas.

        `colour` names a field with literal colours; `shapes` reads literal symbols from `shape`. Nothing is
        added for no rows.
        """
        values = [dict(row) for row in rows]
        if not values:
            return
        first = values[0]
        encode: dict[str, Any] = {
            "x": alt.X("x:Q", scale=None, axis=None),
            "y": alt.Y("y:Q", scale=None, axis=None),
        }
        if "x2" in first:
            encode["x2"] = alt.X2("x2")
        if "y2" in first:
            encode["y2"] = alt.Y2("y2")
        if kind == "text":
            encode["text"] = alt.Text("text:N")
            mark = {"baseline": "middle", "font": FONT, **mark}
        if kind == "line":  # an area takes an order for a wish to be stacked
            encode["order"] = alt.Order("n:Q")
            for n, row in enumerate(values):
                row["n"] = n
        if "group" in first:
            encode["detail"] = alt.Detail("group:N")
        if colour:
            channel, value = ("fill", alt.Fill) if kind in ("rect", "area") else ("color", alt.Color)
            encode[channel] = value(f"{colour}:N", scale=None, legend=None)
        if shapes:
            encode["shape"] = alt.Shape("shape:N", scale=None, legend=None)
        if tooltip:
            encode["tooltip"] = [alt.Tooltip(f"{name}:N") for name in tooltip]
        name = f"{self.name}-{len(self.datasets)}"
        self.datasets[name] = values
        self.layers.append(
            alt.Chart(
                alt.NamedData(name=name),
                mark=alt.MarkDef(**{"type": kind, "opacity": 1, **mark}),
                encoding=alt.FacetedEncoding(**encode),
            )
        )

    def write(
        self,
        text: str,
        x: float,
        y: float,
        *,
        size: float = SMALL,
        colour: str | None = None,
        align: str = "left",
        bold: bool = False,
        halo: str | None = None,
    ) -> None:
        """Words centred on height `y`, above all marks; `halo` keeps lines off them."""
        style = (align, size, 600 if bold else 400, colour or self.look.ink, halo)
        self.words.setdefault(style, []).append({"x": x, "y": y, "text": text})

    def panel(self, left: float, right: float, top: float, bottom: float) -> None:
        """An empty panel."""
        box = {"x": left + 0.5, "x2": right - 0.5, "y": top + 0.5, "y2": bottom - 0.5}
        self.add("rect", [box], color=self.look.panel, stroke=self.look.edge, strokeWidth=1)

    def rules_across(self, axis: Axis, top: float, bottom: float, values: Iterable[float]) -> None:
        """Grid lines of an axis that runs across."""
        self.add("rule", [{"x": axis(v), "y": top, "y2": bottom} for v in values], color=self.look.grid)

    def rules_down(self, axis: Axis, left: float, right: float, values: Iterable[float]) -> None:
        """Grid lines of an axis that runs down."""
        self.add("rule", [{"x": left, "x2": right, "y": axis(v)} for v in values], color=self.look.grid)

    def numbers(
        self,
        axis: Axis,
        y: float,
        values: Iterable[float],
        said: Callable[[float], str] = number,
        suffix: str = "",
    ) -> None:
        """The numbers of an axis that runs across, centred under their ticks at height `y`."""
        for value in values:
            self.write(f"{said(value)}{suffix}", axis(value), y, align="center", colour=self.look.muted)

    def chart(self) -> alt.LayerChart:
        """The page as a chart of its own exact size."""
        for (align, size, weight, colour, halo), many in self.words.items():
            style: dict[str, Any] = {"align": align, "fontSize": size, "fontWeight": weight}
            if halo:
                self.add("text", many, stroke=halo, strokeWidth=4, strokeJoin="round", color=halo, **style)
            self.add("text", many, color=colour, **style)
        with debug_mode(False):  # built from checked pieces; checking again is most of the time it takes
            chart = alt.LayerChart(
                layer=self.layers, width=self.width, height=self.height, padding=0, background=self.look.page,
                datasets=self.datasets,
            )  # fmt: skip
            page: alt.LayerChart = chart.configure_view(stroke=None, fill=None)
            return page
