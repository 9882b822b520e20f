"""One patient's timeline: the picture of the product.

From the top: grade bands, what was given, temperature, blood pressure with vasopressors, oxygen,
mental state, laboratory values; hours since the dose below, local time above, now as a line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import altair as alt
import pyarrow as pa
from altair.utils.schemapi import debug_mode

from tocsin.definitions.load import Library
from tocsin.plots.bands import bands_lane, changes, place
from tocsin.plots.canvas import LEFT, RIGHT, Lane, Paper, fit
from tocsin.plots.course import HOUR, Course, read_course
from tocsin.plots.given import given_lane
from tocsin.plots.labels import Rows, width
from tocsin.plots.look import look as theme_look
from tocsin.plots.look import lowered
from tocsin.plots.trends import lab_lane, least_oxygen_height, mind_lane, oxygen_height, oxygen_lane
from tocsin.plots.vitals import bars_height, pressure_lane, temperature_lane

GAP = 3  # px between lanes
HEADER, FOOTER = 57.0, 47.0
CURVE, MIND, LAB = 110.0, 28.0, 34.0  # px, before they share what the page has
LEAST, MOST = 0.68, 1.6  # of these; past that the page grows, or shrinks, instead
WIDTH, HEIGHT = 1280, 640
STEPS = (1, 2, 3, 6, 12, 24, 48, 72, 96, 120, 168, 240, 336, 720, 1440, 4320, 8760)  # hours
DATE = 92.0  # px from date to date
NOTE = "For research and decision support by trained staff; not a diagnosis."


def timeline(
    facts: pa.Table,
    intervals: pa.Table,
    *,
    lib: Library,
    patient: str | None = None,
    scales: Sequence[str] | None = None,
    labs: Sequence[str] = ("crp", "ferritin", "il-6"),
    now: datetime | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
    theme: str = "light",
    timezone: str = "UTC",
    hours: tuple[float, float] | None = None,
) -> alt.VConcatChart:
    """Draw one patient's course.

    Parameters
    ----------
    facts     : canonical facts; other patients in the table are ignored.
    intervals : grade intervals of the same patient (`grading.intervals.SCHEMA`); an `end` of null is open.
    lib       : the definitions; the fever and pressure limits come from it.
    patient   : may be left out where the facts hold one patient.
    scales    : bands from the top; default every scale in `intervals`, in its order.
    labs      : measures to draw as sparklines; one never charted says so in the lane.
    now       : the present (with a zone): later facts are not drawn, the future is left empty.
    width, height : px; lanes shrink to fit `height`, and the page grows where they cannot.
    theme     : "light" or "dark".
    timezone  : IANA zone of the clock times above the lanes.
    hours     : (first, last) hour since the dose; default from 12 h before it to the last fact.

    Returns
    -------
    An Altair chart exactly `width` px wide; `save` writes it.

    Raises
    ------
    PlotError : no or several patients, an unknown patient or scale, a time without a zone.
    DefinitionError : a lab that is no measure.
    """
    colours = theme_look(theme)
    course = read_course(
        facts, intervals, lib=lib, patient=patient, scales=scales, now=now, timezone=timezone, hours=hours
    )
    paper = Paper(course, colours, max(width - LEFT - RIGHT, 200.0))
    rows = 2 if len(course.scales) <= 4 else 3
    names = place(paper, changes(course), rows)
    rows = max((name["row"] for name in names), default=0) + 1
    marked = Paper(course, colours, paper.across, tuple(sorted({name["x"] for name in names})))
    lanes = [bands_lane(Paper(course, colours, paper.across), names, rows), given_lane(marked)]
    lanes += _measured(
        marked, labs, height - HEADER - FOOTER - sum(lane.height + GAP for lane in lanes) - GAP
    )
    with debug_mode(False):  # Altair checking every piece again and again is most of the time it takes
        return _page([_header(paper), *lanes, _footer(paper)], paper)


def _measured(paper: Paper, labs: Sequence[str], room: float) -> list[Lane]:
    """The lanes of measured things, shrunk together to `room` px where that leaves them readable."""
    minds = [m for m in ("ice-score", "capd-score") if any(f.value is not None for f in paper.course.of(m))]
    bars = bars_height(paper)
    oxygen = oxygen_height(paper)
    fixed = bars + GAP * (3 + len(minds) + len(labs))
    wanted = 2 * CURVE + oxygen + MIND * len(minds) + LAB * len(labs)
    share = min(MOST, max(LEAST, (room - fixed) / wanted))
    minded = math.floor(MIND * max(share, 0.82)) * len(minds)
    breathing = max(oxygen * min(share, 1.0), min(oxygen, least_oxygen_height(paper)))
    lab = math.floor(LAB * max(share, 0.8))
    # The two curves that are read most closely share what the rest leaves.
    rest = (room - fixed - minded - math.floor(breathing) - lab * len(labs)) / 2
    curve = min(CURVE * MOST, max(CURVE * LEAST, rest))
    return [
        temperature_lane(paper, math.ceil(curve)),
        pressure_lane(paper, math.floor(curve)),
        oxygen_lane(paper, math.floor(breathing)),
        *(mind_lane(paper, measure, minded // len(minds)) for measure in minds),
        *(lab_lane(paper, measure, lab) for measure in labs),
    ]


def _page(lanes: list[Lane], paper: Paper) -> alt.VConcatChart:
    look = paper.look
    chart = alt.VConcatChart(
        vconcat=[lane.chart() for lane in lanes],
        spacing=GAP,
        bounds="flush",
        padding=0,
        background=look.page,
        datasets={name: rows for lane in lanes for name, rows in lane.datasets.items()},
    )
    page: alt.VConcatChart = chart.configure_view(stroke=None)
    return page


def _title(course: Course) -> str:
    outcomes = dict.fromkeys(course.lib.scale(s).outcome for s in course.scales if s in course.lib.scales)
    what = " and ".join(name.upper() if name in ("crs", "icans") else name for name in outcomes) or "Course"
    after = " and ".join(lowered(course.lib.measure(t).title) for t in course.therapies)
    return f"{what} grade{' after ' + after if after else ', no therapy charted'} · patient {course.patient}"


def _header(paper: Paper) -> Lane:
    """Title, as-of, and the clock: local dates and times above the lanes."""
    course, look = paper.course, paper.look
    lane = Lane(paper, "header", HEADER, panel=False)
    until = course.local(course.known_until)
    known = f"{'as of' if course.now is not None else 'shown to'} {until:%a} {until.day} {until:%b %Y %H:%M}"
    size = 16 if paper.across > 700 else 13
    title = fit(_title(course), paper.across + LEFT + RIGHT - width(known, 11) - 40, size, True)
    lane.write(title, -LEFT + 16, 19, size=size, bold=True)
    lane.write(known, paper.across + RIGHT - 16, 20, size=11, align="right", colour=look.muted)
    zone = f"{course.zone_name} time"
    zone = fit(zone if width(zone, 10.5) <= LEFT - 46 else course.zone_name, LEFT - 42, 10.5)
    lane.write(zone, -26, HEADER - 14, size=10.5, align="right", colour=look.muted)
    _clock(lane)
    return lane


def _clock(lane: Lane) -> None:
    """Local midnights by date, on an even step; clock times between them where there is room."""
    paper, look = lane.paper, lane.paper.look
    course = paper.course
    room = Rows(1, paper.across + 40, gap=8)
    step = _clock_step(paper)
    every = math.ceil(DATE / (paper.px(24) - paper.px(0)))
    first = course.local(course.start).replace(hour=0, minute=0, second=0, microsecond=0)
    marks: list[tuple[bool, float, str]] = []
    for day in range(0, int((course.end - course.start) / 24) + 3, every):
        for hour in range(0, 24, min(step, 24)):
            wall = (first + timedelta(days=day)).replace(hour=hour)
            at = (wall - course.zero) / HOUR
            if course.start <= at <= course.end:
                date = f"{wall:%a} {wall.day} {wall:%b}" if every < 60 else f"{wall.day} {wall:%b %Y}"
                marks.append((hour != 0, at, f"{wall:%H:%M}" if hour else date))
    for clock, at, text in sorted(marks):
        size, px = (10.5 if clock else 11), paper.px(at)
        half = width(text, size, not clock) / 2
        if room.free(0, px - half + 20, px + half + 20):
            room.take(0, px - half + 20, px + half + 20)
            colour = look.muted if clock else look.ink
            lane.write(text, px, HEADER - 14, size=size, bold=not clock, align="center", colour=colour)
            lane.add("rule", [{"x": at, "y": HEADER - 6, "y2": HEADER - 1}], color=look.muted)


def _clock_step(paper: Paper) -> int:
    """Hours between clock labels that leaves each 58 px."""
    per_hour = paper.across / (paper.course.end - paper.course.start)
    return next((step for step in STEPS if step * per_hour >= 58), STEPS[-1])


def _footer(paper: Paper) -> Lane:
    """Hours and days since the dose, the key, and what the picture is for."""
    course, look = paper.course, paper.look
    lane = Lane(paper, "footer", FOOTER, panel=False)
    lane.write(
        "since dose" if course.therapies else "since first fact",
        -26,
        11,
        size=10.5,
        align="right",
        colour=look.muted,
    )
    step = _clock_step(paper)
    at = math.ceil(course.start / step) * step
    while at <= course.end:
        px = paper.px(at)
        lane.add("rule", [{"x": at, "y": -2, "y2": 3}], color=look.muted)
        lane.write(f"{at} h".replace("-", "−"), px, 11, size=11, align="center")
        if at % 24 == 0:
            lane.write(
                f"day {at // 24}".replace("-", "−"), px, 23, size=10.5, align="center", colour=look.muted
            )
        at += step
    if course.now is not None:
        lane.write("now", paper.px(course.now), 23, size=10.5, align="center", bold=True, halo=look.page)
    _key(lane)
    lane.write(NOTE, paper.across + RIGHT - 16, FOOTER - 9, size=10, align="right", colour=look.muted)
    return lane


def _key(lane: Lane) -> None:
    """What hatch and dashes mean, where they occur in this picture."""
    course, look = lane.paper.course, lane.paper.look
    y, px = FOOTER - 9, 0.0
    key = []
    if any(i.up_to > i.grade and not i.unmeasured for i in course.intervals):
        key.append(("hatch", "1–2: proven 1, up to 2 not ruled out"))
    if any(i.unmeasured for i in course.intervals):
        key.append(("blank", "?: nobody measuring enough to know"))
    key.append(("dots", "grade changed"))
    end = lane.paper.across + RIGHT - 16 - width(NOTE, 10)
    for kind, text in key:
        if px + 26 + width(text, 10) > end:
            break
        box = [{"px": px, "px2": px + 20, "y": y - 6, "y2": y + 6}]
        if kind == "hatch":
            lane.add("rect", box, color=look.grades[1])
            rows: list[dict[str, Any]] = [
                {"px": px + x0 + dx, "y": y + dy, "y2": y + dy2, "group": str(x0)}
                for x0 in (-2, 7)
                for dx, dy, dy2 in ((2, 6, 6), (6, 2, 6), (11, -3, 1), (14, -6, -2))
            ]
            lane.add(
                "area",
                [row for row in rows if px <= float(row["px"]) <= px + 20],
                color=look.grades[2],
                opacity=1,
            )
            lane.add("rect", box, color="transparent", stroke=look.ink, strokeDash=[4, 3], strokeWidth=1)
        elif kind == "blank":
            lane.add(
                "rect",
                box,
                color=look.unmeasured,
                stroke=look.unmeasured_edge,
                strokeDash=[4, 3],
                strokeWidth=1,
            )
            lane.write("?", px + 10, y + 0.5, size=10, align="center", colour=look.muted)
        else:
            lane.add(
                "rule", [{"px": px + 10, "y": y - 6, "y2": y + 6}], color=look.muted, strokeDash=[1.5, 3]
            )
        lane.write(text, px + 26, y, size=10, colour=look.muted)
        px += 26 + width(text, 10) + 18
