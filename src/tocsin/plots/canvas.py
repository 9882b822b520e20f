"""The drawing surface: hours across, pixels down, one Vega-Lite layer for each kind of mark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt

from tocsin.plots.course import Course
from tocsin.plots.labels import width
from tocsin.plots.look import FONT, Look

LEFT = 172.0  # lane names and their scales
RIGHT = 116.0  # last values
TOOLTIP = ("fact", "at", "source", "recorded")
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Paper:
    """What every lane shares: the course, the colours, the width in px and the hours it spans."""

    course: Course
    look: Look
    across: float
    marks: tuple[float, ...] = ()  # hours at which the grade changed and a name is written

    def px(self, hours: float) -> float:
        """Hours to px from the left edge of the lanes."""
        return (hours - self.course.start) / (self.course.end - self.course.start) * self.across

    def hours(self, px: float) -> float:
        return self.course.start + px / self.across * (self.course.end - self.course.start)


@dataclass(slots=True)
class Lane:
    """One view of the timeline. Layers are drawn in the order they are added."""

    paper: Paper
    name: str
    height: float
    panel: bool = True
    layers: list[alt.Chart] = field(default_factory=list)
    #: Rows of every layer by data name: they go to the top of the page, so no chart copies them around.
    datasets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    words: dict[tuple[Any, ...], list[dict[str, Any]]] = field(default_factory=dict)

    def add(
        self,
        kind: str,
        rows: Iterable[Row],
        *,
        tooltip: Sequence[str] = (),
        order: bool = False,
        colour: str | None = None,
        clip: bool = False,
        shapes: bool = False,
        **mark: Any,
    ) -> None:
        """Add one layer. Fields: `x`, `x2` hours; `px`, `px2` pixels; `y`, `y2` pixels down; `group`.

        `colour` names a field with literal colours; `shapes` reads literal symbols from `shape`.
        Nothing is added for no rows.
        """
        values = [dict(row) for row in rows]
        if not values:
            return
        first = values[0]
        hours = alt.Scale(domain=[self.paper.course.start, self.paper.course.end], nice=False, zero=False)
        encode: dict[str, Any] = {}
        if "x" in first:
            encode["x"] = alt.X("x:Q", scale=hours, axis=None)
        if "px" in first:
            encode["x"] = alt.X("px:Q", scale=None, axis=None)
        if "x2" in first or "px2" in first:
            encode["x2"] = alt.X2("x2" if "x2" in first else "px2")
        encode["y"] = alt.Y("y:Q", scale=None, axis=None)
        if "y2" in first:
            encode["y2"] = alt.Y2("y2")
        if kind == "text":
            encode["text"] = alt.Text("text:N")
            mark.setdefault("baseline", "middle")
            mark.setdefault("font", FONT)
        if "group" in first:
            encode["detail"] = alt.Detail("group:N")
        if order:
            encode["order"] = alt.Order("x:Q")
        if colour:
            channel = "fill" if kind in ("rect", "area") else "color"
            value = {"fill": alt.Fill, "color": alt.Color}[channel](f"{colour}:N", scale=None, legend=None)
            encode[channel] = value
        if shapes:
            encode["shape"] = alt.Shape("shape:N", scale=None, legend=None)
        if tooltip:
            encode["tooltip"] = [alt.Tooltip(f"{name}:N") for name in tooltip]
        kind_of_mark = {"type": kind, "clip": clip, **mark}
        name = f"{self.name}-{len(self.datasets)}"
        self.datasets[name] = values
        # Built from pieces, not by `.encode()`, which infers, copies and checks at every step.
        self.layers.append(
            alt.Chart(
                alt.NamedData(name=name),
                mark=alt.MarkDef(**kind_of_mark),
                encoding=alt.FacetedEncoding(**encode),
            )
        )

    def write(
        self,
        text: str,
        px: float,
        y: float,
        *,
        size: float = 11,
        colour: str | None = None,
        align: str = "left",
        bold: bool = False,
        halo: str | None = None,
    ) -> None:
        """Words at a place that time does not move, above all marks; `halo` keeps lines off them."""
        style = (align, size, 600 if bold else 400, colour or self.paper.look.ink, halo)
        self.words.setdefault(style, []).append({"px": px, "y": y, "text": text})

    def _write_all(self) -> None:
        """One layer for each style of words."""
        for (align, size, weight, colour, halo), many in self.words.items():
            style: dict[str, Any] = {"align": align, "fontSize": size, "fontWeight": weight}
            if halo:
                self.add("text", many, stroke=halo, strokeWidth=4, strokeJoin="round", color=halo, **style)
            self.add("text", many, color=colour, **style)

    def title(self, title: str, unit: str = "", y: float | None = None) -> None:
        """The lane's name in the left margin, its unit under it."""
        look, middle = self.paper.look, self.height / 2 if y is None else y
        self.write(title, -LEFT + 16, middle - (7 if unit else 0), size=12, bold=True)
        if unit:
            self.write(unit, -LEFT + 16, middle + 8, size=10.5, colour=look.muted)

    def last(
        self, text: str, age: str, stale: bool = False, y: float | None = None, colour: str | None = None
    ) -> None:
        """The last value and its age, in the right margin; a stale one goes grey and its age bold."""
        look, middle = self.paper.look, self.height / 2 if y is None else y
        at = self.paper.across + 8
        self.write(text, at, middle - 6, size=11.5, bold=not stale, colour=look.muted if stale else colour)
        self.write(age, at, middle + 7, size=10, bold=stale, colour=look.ink if stale else look.muted)

    def chart(self) -> alt.LayerChart:
        """The lane as a layered view: panel, day lines and grade changes below, now above."""
        look, paper = self.paper.look, self.paper
        above, self.layers = self.layers, []
        # An invisible sheet as wide as the page makes the page exactly that wide.
        self.add("rect", [{"px": -LEFT, "px2": paper.across + RIGHT, "y": 0, "y2": self.height}], opacity=0)
        if self.panel:
            self.add(
                "rect",
                [{"px": 0.5, "px2": paper.across - 0.5, "y": 0.5, "y2": self.height - 0.5}],
                color=look.panel,
                stroke=look.edge,
                strokeWidth=1,
            )
            days = range(int(paper.course.start // 24) + 1, int(paper.course.end // 24) + 1)
            every = max(1, math.ceil(40 / (paper.px(24) - paper.px(0))))
            self.add(
                "rule",
                [{"x": day * 24.0, "y": 1, "y2": self.height - 1} for day in days if day % every == 0],
                color=look.grid,
            )
            self.add(
                "rule",
                [{"x": x, "y": 0, "y2": self.height} for x in paper.marks],
                color=look.muted,
                strokeDash=[1.5, 3],
                opacity=0.75,
            )
        self.layers.extend(above)
        self._write_all()
        if paper.course.now is not None and self.name not in ("header", "footer"):
            self.add(
                "rule",
                [{"x": paper.course.now, "y": -2, "y2": self.height + 2}],
                color=look.ink,
                strokeWidth=1.5,
            )
        return alt.LayerChart(
            layer=self.layers,
            width=paper.across,
            height=self.height,
            name=self.name,
            view=alt.ViewConfig(fill=None, stroke=None),
        )


def fit(text: str, room: float, size: float, bold: bool = False) -> str:
    """`text`, cut with an ellipsis where it is wider than `room` px."""
    if width(text, size, bold) <= room:
        return text
    while text and width(text + "…", size, bold) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def ruler(low: float, high: float, top: float, bottom: float) -> Any:
    """Values to px down: `high` at `top`, `low` at `bottom`; outside values stay at the edge."""
    span = (high - low) or 1.0
    return lambda value: bottom - (min(max(value, low), high) - low) / span * (bottom - top)
