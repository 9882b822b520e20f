"""Curves of a cohort with how many are at risk under them: incidence of onset, time to resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pyarrow as pa

from tocsin.plots.canvas import fit
from tocsin.plots.cohort_page import (
    PAD,
    Names,
    asked,
    badge,
    begun,
    ended,
    few,
    grid,
    heading,
    nothing,
    percent,
)  # fmt: skip
from tocsin.plots.course import PlotError
from tocsin.plots.labels import width as wide
from tocsin.plots.look import Look, number
from tocsin.plots.surface import Axis, Surface, apart

CURVES = ("group", "scale", "curve", "hours", "estimate", "low", "high", "at_risk", "events", "censored")
STEPS = (1, 2, 4, 6, 12, 24, 48, 72, 96, 120, 168, 240, 336, 672, 1344, 2688)  # hours between ticks
TICK, ENDS = 52.0, 84.0  # px between ticks; px for what stands at a line's end
TALL = {1: 330.0, 2: 270.0, 3: 220.0}  # px, by panels side by side
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Curve:
    """How one curve is drawn: a grade's own colour and symbol, or a thin dashed line for a rival event."""

    ids: tuple[str, ...]
    says: str
    grade: int | None = None
    dash: tuple[float, float] | None = None

    def colour(self, look: Look) -> str:
        return look.ink if self.grade is None else look.grades[self.grade]


ONSETS = (
    Curve(("onset-any",), "any grade", grade=1),
    Curve(("onset-at-least-2",), "grade 2 or above", grade=2),
    Curve(("onset-at-least-3",), "grade 3 or above", grade=3),
    Curve(("death",), "death before onset", dash=(6, 3)),
    Curve(("record-over", "end-of-record"), "record over before onset", dash=(1.5, 3)),
)
RESOLUTIONS = (
    Curve(("resolution-any",), "any grade", grade=1),
    Curve(("resolution-at-least-3",), "peak of grade 3 or above", grade=3),
)


def cumulative_incidence(
    curves: pa.Table, *, days: float | None = None, names: Names = None, note: str = "", title: str = "",
    theme: str = "light",
) -> alt.LayerChart:  # fmt: skip
    """Share of patients with onset by each hour, death and the end of the record as rivals.

    Parameters
    ----------
    curves : `group, scale, curve, hours, estimate, low, high, at_risk, events, censored`; an estimate
        (0 to 1) holds from `hours` on. Drawn where there: `onset-any`, `onset-at-least-2`,
        `onset-at-least-3` with
        their 95 % bands, `death` and `record-over` as thin lines.
    days : where to end; else after the last event, with a little room.

    Raises
    ------
    PlotError : a column is missing, no such curve, an estimate outside 0 to 1 or hours that go back.
    """
    return _figure(
        "cumulative-incidence",
        curves,
        ONSETS,
        "hours since the first dose",
        "with onset, %",
        False,
        days,
        names,
        note,
        title,
        theme,
    )


def duration(
    curves: pa.Table, *, days: float | None = None, names: Names = None, note: str = "", title: str = "",
    theme: str = "light",
) -> alt.LayerChart:  # fmt: skip
    """Kaplan-Meier from onset to resolution: the share not yet resolved, with a tick for each censoring.

    Parameters
    ----------
    curves : as for `cumulative_incidence`; `resolution-any` and `resolution-at-least-3` are drawn.

    Raises
    ------
    PlotError : as `cumulative_incidence`.
    """
    return _figure(
        "duration",
        curves,
        RESOLUTIONS,
        "hours since onset",
        "not yet resolved, %",
        True,
        days,
        names,
        note,
        title,
        theme,
    )


def _figure(
    name: str, table: pa.Table, known: Sequence[Curve], across: str, down: str, survival: bool,
    days: float | None, names: Names, note: str, title: str, theme: str,
) -> alt.LayerChart:  # fmt: skip
    ids = {one: curve for curve in known for one in curve.ids}
    rows = [r for r in asked(table, CURVES, "a curve") if r["curve"] in ids]
    if not rows:
        raise nothing(
            f"curve {', '.join(c.ids[0] for c in known)}", "pass the curves of a cohort with episodes"
        )
    panels: dict[tuple[Any, Any], dict[Curve, list[Row]]] = {}
    for row in rows:
        panels.setdefault((row["group"], row["scale"]), {}).setdefault(ids[row["curve"]], []).append(row)
    for (group, _), mine in panels.items():
        for curve, some in mine.items():
            some.sort(key=lambda r: r["hours"])
            _checked(group, curve, some)
    groups, scales = few(g for g, _ in panels), list(dict.fromkeys(s for _, s in panels))
    few((f"{g} {s}" for g, s in panels), most=12)
    used = [curve for curve in known if any(curve in found for found in panels.values())]
    end = _end(rows, days)
    page, y = begun(name, title, theme)
    y = _key(page, used, y + 6, survival)
    places = grid(len(panels), PAD + 44, 30.0 + 44)
    tall = TALL[1 if len(panels) == 1 else 2 if len(panels) in (2, 4) else 3]
    risks = [curve for curve in used if curve.grade is not None]
    deep = tall + 54 + 17 * len(risks) + 44
    for (group, scale), (level, left, right) in zip(panels, places, strict=True):
        said = heading(group, scale, groups, scales, names)
        said = fit(said, right - left - wide(down, 11.5) - 12, 13, True)
        _panel(page, panels[group, scale], risks, said, left, right,
               y + level * deep, tall, end, across, down, survival)  # fmt: skip
    y += deep * (places[-1][0] + 1) - 30
    return ended(page, y, note)


def _checked(group: str, curve: Curve, rows: Sequence[Row]) -> None:
    where = f"{group}, {curve.ids[0]}"
    if len({r["hours"] for r in rows}) < len(rows):
        raise PlotError(
            f"{where}: two values at one hour\n  why: a curve has one\n  fix: one row for each hour"
        )
    for row in rows:
        for name in ("estimate", "low", "high"):
            value = row[name]
            if (value is None and name == "estimate") or (
                value is not None and not -1e-9 <= value <= 1 + 1e-9
            ):
                raise PlotError(
                    f"{where}: {name} is {value} at {row['hours']} h\n"
                    "  why: it is a share of patients\n  fix: 0 to 1"
                )


def _end(rows: Sequence[Row], days: float | None) -> float:
    """Where the axis ends: a little after the last event of what is drawn in colour, on a round number."""
    if days is not None:
        if not days > 0:
            raise PlotError(f"{days} days\n  why: an axis has a length\n  fix: more than 0")
        return days * 24.0
    telling = [r["hours"] for r in rows if r["events"] and r["curve"] not in (*ONSETS[3].ids, *ONSETS[4].ids)]
    last = max(telling or [r["hours"] for r in rows])
    most = max(r["hours"] for r in rows)
    step = next((s for s in STEPS if last / s <= 14), STEPS[-1])
    return max(float(min(np.ceil(last * 1.02 / step), np.ceil(most / step)) * step), float(step))


def _key(page: Surface, used: Sequence[Curve], y: float, survival: bool) -> float:
    x = PAD
    for curve in used:
        page.add("line", [{"x": x, "y": y}, {"x": x + 30, "y": y}], color=page.look.ink,
                 strokeWidth=3.8 if curve.grade is not None else 1.3,
                 strokeDash=list(curve.dash or (1, 0)))  # fmt: skip
        if curve.grade is not None:
            page.add("line", [{"x": x + 0.6, "y": y}, {"x": x + 29.4, "y": y}], color=curve.colour(page.look),
                     strokeWidth=2.4)  # fmt: skip
            badge(page, x + 15, y, curve.grade, size=150)
        page.write(curve.says, x + 38, y, size=12)
        x += 38 + wide(curve.says, 12) + 22
    told = "band: 95 % interval" + (" · upright tick: censored" if survival else "")
    page.write(told, x, y, colour=page.look.muted)
    return y + 24


def _panel(
    page: Surface,
    found: Mapping[Curve, list[Row]],
    risks: Sequence[Curve],
    said: str,
    left: float,
    right: float,
    top: float,
    tall: float,
    end: float,
    across: str,
    down: str,
    survival: bool,
) -> None:
    look, top = page.look, top + 22
    page.write(said, left, top - 11, size=13, bold=True)
    page.write(down, right, top - 11, size=11.5, align="right", colour=look.muted)
    page.panel(left, right, top, top + tall)
    x, y = Axis(0, end, left + 2, right - ENDS), Axis(0, 1, top + tall - 6, top + 10)
    page.rules_down(y, left + 1, right - 1, (0.25, 0.5, 0.75))
    for share in (0, 0.25, 0.5, 0.75, 1.0):
        page.write(f"{100 * share:.0f}", left - 8, y(share), align="right", colour=look.muted)
    step = next((s for s in STEPS if x(s) - x(0) >= TICK), STEPS[-1])
    days = end > 96
    if days:
        step = next((s for s in STEPS if s % 24 == 0 and x(s) - x(0) >= TICK), STEPS[-1])
    ticks = [float(t) for t in range(0, int(end) + 1, step)]
    page.add("rule", [{"x": x(t), "y": top + tall, "y2": top + tall + 4} for t in ticks], color=look.muted)
    for tick in ticks:
        page.write(number(tick / 24 if days else tick), x(tick), top + tall + 13, size=11.5, align="center")
    page.write(across.replace("hours", "days") if days else across, right, top + tall + 34, align="right",
               colour=look.muted)  # fmt: skip
    labels: list[tuple[float, float, str, Curve]] = []
    for curve, rows in sorted(found.items(), key=lambda item: item[0].grade or 0):
        _line(page, curve, rows, x, y, end, survival)
        seen = [r for r in rows if r["hours"] <= end]
        if seen:
            over = end if rows[-1]["hours"] > end else seen[-1]["hours"]
            labels.append((x(over), y(seen[-1]["estimate"]), percent(seen[-1]["estimate"]), curve))
    places = apart([at for _, at, *_ in labels], 18, top + 11, top + tall - 9)
    for place, (over, at, text, curve) in zip(places, labels, strict=True):
        start = x.end + 20
        page.add("line", [{"x": over + 1, "y": at}, {"x": x.end, "y": at}, {"x": start - 8, "y": place}],
                 color=look.line, strokeWidth=1)  # fmt: skip
        if curve.grade is not None:
            badge(page, start, place, curve.grade, size=150)
            page.write(f"{text} %", start + 12, place, size=12, bold=True)
        else:
            page.write(f"{'death' if curve.ids[0] == 'death' else 'over'} {text} %", start - 6, place,
                       colour=look.muted)  # fmt: skip
    low = top + tall + 34
    page.write("at risk", left, low, colour=look.muted)
    for _k, curve in enumerate(risks):
        if curve.grade is None:
            continue
        low += 17
        page.write(
            f"≥{curve.grade}" if curve.grade > 1 else "any",
            left - 8,
            low,
            align="right",
            size=11.5,
            bold=True,
        )
        room = -1.0
        for tick in ticks:
            text = f"{at_risk(found[curve], tick):,}" if curve in found else "–"
            half = wide(text, 11.5) / 2
            if max(x(tick) - half, left) > room:
                start = max(x(tick) - half, left)
                page.write(text, start, low, size=11.5)
                room = start + 2 * half + 6


def at_risk(rows: Sequence[Row], hours: float) -> int:
    """How many had neither the event nor left just before `hours`; `rows` by hours, of one curve.

    >>> rows = [{"hours": 0.0, "at_risk": 9, "events": 0, "censored": 0},
    ...         {"hours": 5.0, "at_risk": 9, "events": 3, "censored": 1}]
    >>> at_risk(rows, 5.0), at_risk(rows, 5.5)
    (9, 5)
    """
    for row in rows:
        if row["hours"] >= hours:
            return int(row["at_risk"])
    last = rows[-1]
    return max(0, int(last["at_risk"] - last["events"] - last["censored"]))


def steps(rows: Sequence[Row], end: float) -> list[tuple[float, Row]]:
    """Where a step function changes, with what holds from there, up to `end`, never past its own last row."""
    found = [(float(r["hours"]), r) for r in rows if r["hours"] <= end]
    return [*found, (end, found[-1][1])] if found and rows[-1]["hours"] > end else found


def _line(
    page: Surface, curve: Curve, rows: Sequence[Row], x: Axis, y: Axis, end: float, survival: bool
) -> None:  # fmt: skip
    look = page.look
    corners = steps(rows, end)
    points, band = [], []
    before: Row | None = None
    for hours, row in corners:
        if before is not None:
            points.append({"x": x(hours), "y": y(before["estimate"]), **_tip(before)})
            if before["low"] is not None and before["high"] is not None:
                band.append({"x": x(hours), "y": y(before["high"]), "y2": y(before["low"])})
        points.append({"x": x(hours), "y": y(row["estimate"]), **_tip(row)})
        if row["low"] is not None and row["high"] is not None:
            band.append({"x": x(hours) + 1e-3, "y": y(row["high"]), "y2": y(row["low"])})
        before = row
    tips = ("hours", "share", "interval", "at risk")
    if curve.grade is None:
        page.add(
            "line", points, color=look.ink, strokeWidth=1.3, strokeDash=list(curve.dash or ()), tooltip=tips
        )
        return
    page.add("area", band, color=curve.colour(look), opacity=0.3)
    page.add("line", points, color=look.ink, strokeWidth=3.8)
    page.add("line", points, color=curve.colour(look), strokeWidth=2.4, tooltip=tips)
    if survival:
        page.add("rule", [{"x": x(r["hours"]), "y": y(r["estimate"]) - 5, "y2": y(r["estimate"]) + 5}
                          for r in rows if r["censored"] and r["hours"] <= end], color=look.ink,
                 strokeWidth=1.3)  # fmt: skip


def _tip(row: Row) -> dict[str, str]:
    span = (
        ""
        if row["low"] is None or row["high"] is None
        else f"{percent(row['low'])} to {percent(row['high'])} %"
    )
    return {"hours": number(row["hours"]), "share": f"{percent(row['estimate'])} %", "interval": span,
            "at risk": f"{row['at_risk']:,}"}  # fmt: skip
