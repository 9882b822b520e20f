"""Published numbers beside simulated trials: one row a target, inside or outside at a glance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import altair as alt
import pyarrow as pa

from tocsin.plots.canvas import fit
from tocsin.plots.course import PlotError
from tocsin.plots.labels import width as wide
from tocsin.plots.look import Look, number, unit_text
from tocsin.plots.look import look as theme_look
from tocsin.plots.surface import Axis, Surface

WIDTH = 1280
SAYS, NUMBERS, PAD, GAP = 356.0, 332.0, 16.0, 14.0  # px
HEAD, KEY, SECTION, TRIAL, ROW, FOOT = 40.0, 30.0, 60.0, 26.0, 21.0, 34.0
SECTIONS = (
    ("fit", "Fitted"),
    ("hold-out", "Held out: no parameter was moved for these"),
    ("guide", "Guides: shown, not judged"),
)
TIMES = {"d": 1.0, "h": 1.0 / 24.0}
#: How far, as a factor, a simulated level may lie from the published one before it is drawn at the edge.
FARTHEST = 16.0
COLUMNS = (
    "trial",
    "target",
    "says",
    "unit",
    "published",
    "published_low",
    "published_high",
    "simulated",
    "low",
    "high",
    "p",
    "role",
    "hit",
)


@dataclass(frozen=True, slots=True)
class Scale:
    """One column of panels: which targets it holds, its axis in words, and where it runs."""

    name: str
    axis: Axis
    said: Callable[[float], str]
    share: Callable[[dict[str, Any]], float | None]  # what a row's numbers are multiplied by; None: not here


def forest(
    compared: pa.Table, *, title: str = "", titles: Mapping[str, str] | None = None, theme: str = "light",
    width: int = WIDTH,
) -> alt.LayerChart:  # fmt: skip
    """Draw a comparison of simulated with published trials.

    Parameters
    ----------
    compared : `trial, target, says, unit, published, published_low, published_high, simulated, low, high, p,
        role, hit`, as `simulation.outcomes.COMPARED`; `low` and `high` hold 95 % of simulated trials of the
        published size. `status` may be there: what rests on memory is shown and not judged.
    title : above the picture.  titles : what to call a trial; else its id.
    theme : "light" or "dark".  width : px; the height follows from the number of targets.

    Shares, times and levels each have an axis of their own: percent, days, and for everything else the
    ratio to the published number. Trials stand together; fitted, held-out and guiding targets apart.

    Raises
    ------
    PlotError : a column is missing, or there is no target.
    """
    missing = [name for name in COLUMNS if name not in compared.column_names]
    if missing:
        raise PlotError(f"no column {', '.join(missing)}\n  fix: the table that comparing a trial gives")
    rows = compared.to_pylist()
    if not rows:
        raise PlotError("no target to draw\n  fix: a trial that published something the model can be asked")
    look = theme_look(theme)
    page = Surface(look, width, name="forest")
    scales = _scales(rows, SAYS + PAD, width - NUMBERS - PAD)
    head = HEAD if title else 10.0
    if title:
        page.write(title, PAD, 22, size=16, bold=True)
    _key(page, head + 8)
    y = head + KEY
    several = len({row["trial"] for row in rows}) > 1
    for role, words in SECTIONS:
        some = [row for row in rows if row["role"] == role]
        if some:
            y = _section(page, words, some, scales, y, titles or {}, several)
    page.height = y + FOOT
    _foot(page, rows)
    return page.chart()


def _judged(row: Mapping[str, Any]) -> bool:
    return row["role"] != "guide" and row.get("status") != "memory"


def _percent(row: Mapping[str, Any]) -> float | None:
    return 1.0 if row["unit"] == "%" else None


def _days(row: Mapping[str, Any]) -> float | None:
    return TIMES.get(row["unit"])


def _hours(row: Mapping[str, Any]) -> float | None:
    return 1.0 if row["unit"] == "h" else None


def _ratio(row: Mapping[str, Any]) -> float | None:
    return (
        1.0 / row["published"]
        if row["unit"] != "%" and row["unit"] not in TIMES and row["published"] > 0
        else None
    )


def _all(rows: Iterable[dict[str, Any]], share: Callable[[dict[str, Any]], float | None]) -> list[float]:
    """Every number that a column must hold."""
    names = ("published", "published_low", "published_high", "simulated", "low", "high")
    return [
        row[name] * factor
        for row in rows
        if (factor := share(row)) is not None
        for name in names
        if row[name] is not None
    ]


def _scales(rows: Sequence[dict[str, Any]], left: float, right: float) -> list[Scale]:
    """The columns that these targets need, side by side."""
    times = {row["unit"] for row in rows} & {*TIMES}
    clock = _hours if times == {"h"} else _days
    kinds = [(share, weight, values) for share, weight in ((_percent, 1.3), (clock, 1.0), (_ratio, 1.0))
             if (values := _all(rows, share))]  # fmt: skip
    total, room = sum(weight for _, weight, _ in kinds), right - left - GAP * len(kinds)
    found, start = [], left
    for share, weight, values in kinds:
        end = start + room * weight / max(total, 1.3)
        found.append(_scale(share, values, start, end))
        start = end + GAP
    return found


def _scale(
    share: Callable[[dict[str, Any]], float | None], values: Sequence[float], start: float, end: float
) -> Scale:
    inner = (start + 8, end - 8)
    if share is _percent:
        return Scale("patients, %", Axis(0, 100, *inner), number, share)
    if share is _ratio:
        most = max(max(values), 1 / max(min(values), 1e-9), 2.0)
        reach = min(next((f for f in (2.0, 4.0, 8.0, 16.0) if f >= most), FARTHEST), FARTHEST)
        return Scale("levels, × published", Axis(1 / reach, reach, *inner, log=True), _times, share)
    low, high, unit = min(values), max(values), "hours" if share is _hours else "days"
    if low > 0 and high / low > 15:
        return Scale(f"{unit}, log", Axis(max(low * 0.9, 0.02), high * 1.1, *inner, log=True), number, share)
    return Scale(unit, Axis(min(0.0, low), high * 1.05, *inner), lambda v: number(v).replace("-", "−"), share)


def _times(value: float) -> str:
    """A ratio as people say it.

    >>> _times(0.25), _times(4.0)
    ('¼', '4')
    """
    return {0.5: "½", 0.25: "¼", 0.125: "⅛", 0.0625: "1/16"}.get(value, number(value))


def _ticks(scale: Scale) -> list[float]:
    """Round values far enough apart for their numbers."""
    axis = scale.axis
    if not axis.log:
        return axis.ticks(44)
    if scale.share is _ratio:
        most = round(math.log2(axis.high))
        powers = [2.0**k for k in range(-most, most + 1)]
        return powers if axis(2.0) - axis(1.0) >= 24 else powers[most % 2 :: 2]
    steps = [m * 10.0**k for k in range(-2, 3) for m in (1, 2, 5)]
    inside = [v for v in steps if axis.low <= v <= axis.high]
    near = any(axis(b) - axis(a) < 26 for a, b in pairwise(inside))
    return [v for v in inside if math.log10(v) % 1 == 0] if near else inside


def _section(
    page: Surface, words: str, rows: Sequence[dict[str, Any]], scales: Sequence[Scale], y: float,
    titles: Mapping[str, str], several: bool,
) -> float:  # fmt: skip
    """One role's targets under their own axes; returns where it ends."""
    look = page.look
    judged = [row for row in rows if _judged(row)]
    hits = sum(bool(row["hit"]) for row in judged)
    page.write(words, PAD, y + 14, size=14, bold=True)
    if judged:
        count = f"{hits} of {len(judged)} inside the 95 % of simulated trials"
        page.write(count, PAD + wide(words, 14, True) + 6, y + 14, size=12, colour=look.muted)
    edge = page.width - PAD
    ends = (edge - NUMBERS + 76, edge - 108, edge - 58)
    for text, x in zip(("published", "simulated (95 %)", "p"), ends, strict=True):
        page.write(text, x, y + SECTION - 14, align="right", size=11.5, colour=look.muted)
    top, body = y + SECTION, y + SECTION
    groups = [(trial, list(some)) for trial, some in groupby(rows, key=lambda row: str(row["trial"]))]
    bottom = top + sum((TRIAL if several else 2) + ROW * len(some) for _, some in groups) + 4
    for scale in scales:
        page.panel(scale.axis.start - 8, scale.axis.end + 8, top, bottom)
        ticks = _ticks(scale)
        page.rules_across(scale.axis, top + 1, bottom - 1, ticks)
        page.numbers(scale.axis, top - 9, ticks, scale.said)
        page.write(scale.name, scale.axis.start - 8, top - 25, size=11.5, bold=True, colour=look.muted)
        if scale.share is _ratio:
            page.add(
                "rule", [{"x": scale.axis(1.0), "y": top, "y2": bottom}], color=look.ink, strokeDash=[2, 2]
            )
    for trial, some in groups:
        if several:
            page.add("rule", [{"x": PAD, "x2": page.width - PAD, "y": body}], color=look.edge)
            strip = {"x": PAD, "x2": page.width - PAD, "y": body + 0.5, "y2": body + TRIAL}
            page.add("rect", [strip], color=look.page)
            name = fit(titles.get(trial, trial), page.width - NUMBERS - PAD, 12.5, True)
            page.write(name, PAD, body + TRIAL / 2 + 2, size=12.5, bold=True)
        body += TRIAL if several else 2
        for row in some:
            _row(page, row, scales, body + ROW / 2, ends, several)
            body += ROW
    return bottom + 14


def _row(
    page: Surface,
    row: dict[str, Any],
    scales: Sequence[Scale],
    y: float,
    ends: tuple[float, float, float],
    several: bool,
) -> None:
    look, judged, hit = page.look, _judged(row), bool(row["hit"])
    indent = PAD + (10 if several else 0)
    drawn = any(scale.share(row) is not None for scale in scales)
    room = SAYS - indent if drawn else page.width - NUMBERS - PAD - indent
    size = 12 if wide(row["says"], 12) <= room else 11
    page.write(fit(row["says"], room, size), indent, y, size=size, halo=None if drawn else look.panel)
    unit = "" if row["unit"] == "1" else "%" if row["unit"] == "%" else f" {unit_text(row['unit'])}"
    page.write(f"{number(row['published'])}{unit}", ends[0], y, size=12, align="right", bold=True)
    if row["simulated"] is None:
        page.write("nobody", ends[1], y, size=12, align="right", colour=look.muted)
    else:
        told = f"{_short(row['simulated'])} ({_short(row['low'])} to {_short(row['high'])})"
        page.write(told, ends[1], y, size=12, align="right")
    if row["p"] is not None:
        page.write(_p(row["p"]), ends[2], y, size=12, align="right", colour=look.muted)
    colour = _colour(look, judged, hit)
    mark = {"x": ends[2] + 16, "y": y}
    if not judged:
        page.write("guide" if row["role"] == "guide" else "memory", ends[2] + 8, y, colour=look.muted)
    elif hit:
        page.add("point", [mark], shape="circle", filled=True, size=90, color=colour)
    else:
        page.add(
            "point",
            [mark],
            shape="M-1,-1L1,1M-1,1L1,-1",
            filled=False,
            size=70,
            color=colour,
            strokeWidth=2.6,
        )
    for scale in scales:
        factor = scale.share(row)
        if factor is not None:
            _drawn(page, row, factor, scale.axis, y, colour, judged and not hit)


def _drawn(
    page: Surface, row: dict[str, Any], factor: float, axis: Axis, y: float, colour: str, missed: bool
) -> None:  # fmt: skip
    """The simulated interval as a bar (hollow where missed), its median a tick, the published a diamond."""
    look = page.look
    tip = {
        "target": row["says"], "published": number(row["published"]),
        "simulated": "nobody" if row["simulated"] is None else f"{number(row['simulated'])} "
        f"({number(row['low'])} to {number(row['high'])})", "p": "" if row["p"] is None else _p(row["p"]),
    }  # fmt: skip
    if row["simulated"] is not None:
        left, right = axis(row["low"] * factor), axis(row["high"] * factor)
        box = {"x": left - 1.5, "x2": right + 1.5, "y": y - 4.5, "y2": y + 4.5, **tip}
        fill: dict[str, Any] = {"color": look.panel} if missed else {"color": colour, "opacity": 0.42}
        page.add("rect", [box], tooltip=(*tip,), cornerRadius=3, **fill)
        page.add(
            "rect",
            [box],
            color="transparent",
            stroke=colour,
            strokeWidth=1.6 if missed else 1,
            cornerRadius=3,
        )
        at = axis(row["simulated"] * factor)
        page.add("rule", [{"x": at, "y": y - 7.5, "y2": y + 7.5}], color=colour, strokeWidth=2.6)
        for name, edge, tilt in (("low", axis.start, -1), ("high", axis.end, 1)):
            value = row[name] * factor
            if (value < axis.low - 1e-9 and tilt < 0) or (value > axis.high + 1e-9 and tilt > 0):
                page.add(
                    "point",
                    [{"x": edge + 4 * tilt, "y": y}],
                    shape="triangle-right" if tilt > 0 else "triangle-left",
                    filled=True,
                    size=40,
                    color=colour,
                )
    if row["published_low"] is not None and row["published_high"] is not None:
        a, b = axis(row["published_low"] * factor), axis(row["published_high"] * factor)
        page.add("rule", [{"x": a, "x2": b, "y": y}], color=look.ink, strokeWidth=1.4)
        page.add("rule", [{"x": x, "y": y - 3, "y2": y + 3} for x in (a, b)], color=look.ink, strokeWidth=1.4)
    at = axis(row["published"] * factor)
    page.add(
        "point",
        [{"x": at, "y": y, **tip}],
        tooltip=(*tip,),
        shape="diamond",
        filled=True,
        size=78,
        color=look.ink,
        stroke=look.panel,
        strokeWidth=1.4,
    )


def _colour(look: Look, judged: bool, hit: bool) -> str:
    return look.muted if not judged else look.oxygen if hit else look.alarm


def _short(value: float) -> str:
    """A simulated number with as many digits as it deserves.

    >>> _short(83.333), _short(4213.0), _short(0.4567), _short(-1.26)
    ('83.3', '4,210', '0.46', '−1.3')
    """
    size = abs(value)
    text = number(round(value, 2) if size < 1 else round(value, 1) if size < 100 else value)
    return text.replace("-", "−")


def _p(value: float) -> str:
    """A two-sided p-value as it is printed."""
    return "< 0.01" if value < 0.01 else f"{value:.2f}"


def _key(page: Surface, y: float) -> None:
    look, x = page.look, PAD + 8
    diamond: dict[str, Any] = {"shape": "diamond", "filled": True, "size": 78, "color": look.ink}
    page.add("rule", [{"x": x - 9, "x2": x + 9, "y": y}], color=look.ink, strokeWidth=1.4)
    page.add("point", [{"x": x, "y": y}], stroke=look.page, strokeWidth=1.4, **diamond)
    page.write("published, with its interval if given", x + 16, y, size=12)
    x += 16 + wide("published, with its interval if given", 12) + 26
    texts = (
        ("published inside the 95 % of simulated trials of its size", True, True), ("outside", True, False),
        ("not judged", False, True),
    )  # fmt: skip
    for text, judged, hit in texts:
        colour, missed = _colour(look, judged, hit), judged and not hit
        box = {"x": x, "x2": x + 34, "y": y - 4.5, "y2": y + 4.5}
        fill: dict[str, Any] = {"color": look.panel} if missed else {"color": colour, "opacity": 0.42}
        page.add("rect", [box], cornerRadius=3, **fill)
        page.add(
            "rect",
            [box],
            color="transparent",
            stroke=colour,
            strokeWidth=1.6 if missed else 1,
            cornerRadius=3,
        )
        page.add("rule", [{"x": x + 15, "y": y - 7.5, "y2": y + 7.5}], color=colour, strokeWidth=2.6)
        page.write(text, x + 42, y, size=12)
        x += 42 + wide(text, 12) + 24
    if x + wide("tick: median", 12) < page.width - PAD:
        page.write("tick: median", x, y, size=12, colour=look.muted)


def _foot(page: Surface, rows: Sequence[dict[str, Any]]) -> None:
    text = (
        "p: how often a simulated trial of the real size lies as far out as the published number, both sides"
    )
    page.write(text, PAD, page.height - 16, colour=page.look.muted)
    if any(row["role"] != "guide" and row.get("status") == "memory" for row in rows):
        page.write("memory: not read from a source here", page.width - PAD, page.height - 16, align="right",
                   colour=page.look.muted)  # fmt: skip
