"""Pictures of simulated patients; here one patient: what the model knows beside what the ward charted.

From the top: grade band, what was given, cytokines on a log scale, levels of cells and drugs, temperature,
blood pressure, oxygen, CRP and ferritin; days since the first dose below. Lines of cytokines and levels are
the model's own, points are what was measured. Many patients, trials and arms are drawn in `population`,
`forest` and `arms`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pyarrow as pa
from altair.utils.schemapi import debug_mode

from tocsin.definitions.load import Library
from tocsin.plots.bands import bands_lane, changes, place
from tocsin.plots.canvas import LEFT, RIGHT, TOOLTIP, Lane, Paper, Row, ruler
from tocsin.plots.course import PlotError, read_course
from tocsin.plots.given import given_lane
from tocsin.plots.labels import Rows, width
from tocsin.plots.look import look as theme_look
from tocsin.plots.look import number, unit_text
from tocsin.plots.surface import apart, day_step
from tocsin.plots.trends import lab_lane, oxygen_height, oxygen_lane
from tocsin.plots.vitals import pressure_lane, temperature_lane
from tocsin.simulation.equations import Parameter, State, Vector
from tocsin.simulation.solve import Courses

WIDTH = 1280
GAP = 4  # px between lanes
HEADER, FOOTER = 48.0, 50.0
CYTOKINES, CURVE, LAB, LEVEL = 190.0, 104.0, 34.0, 24.0  # px
SMALLEST = 11.0  # px of any word
SAMPLES = 360  # points of a curve: more than the eye tells apart at this width
#: A level under this share of 1 unit of its scale is nothing given.
NOTHING = 1e-9
Box = tuple[float, float, float, float]  # left, right, top, bottom
NOTE = "Simulated: for learning, planning and testing; decides on nobody's care."


@dataclass(frozen=True, slots=True)
class Curve:
    """One cytokine: its state, the measure that samples it, and how it is told apart without colour."""

    name: str
    state: State
    measure: str
    light: str
    dark: str
    dash: tuple[int, ...]
    thick: float


CURVES = (
    Curve("IL-6", State.il_6, "il-6", "#2257A8", "#7DB2FF", (), 2.8),
    Curve("IFN-γ", State.ifn_gamma, "ifn-gamma", "#B4541A", "#F2A65E", (), 1.6),
    Curve("IL-10", State.il_10, "il-10", "#167A66", "#4FC7AB", (7, 3), 1.8),
    Curve("TNF", State.tnf_alpha, "tnf-alpha", "#7A3F96", "#CF98EA", (2, 2), 1.8),
    Curve("IL-1β", State.il_1_beta, "il-1-beta", "#5C6873", "#A9B7C6", (9, 3, 2, 3), 1.6),
)


def virtual_patient(
    courses: Courses,
    facts: pa.Table,
    intervals: pa.Table,
    *,
    lib: Library,
    scale: str = "astct-2019",
    patient: str | None = None,
    place_in_courses: int = 0,
    title: str = "",
    labs: Sequence[str] = ("crp", "ferritin"),
    theme: str = "light",
    width: int = WIDTH,
) -> alt.VConcatChart:
    """Draw one simulated patient.

    Parameters
    ----------
    courses : solved courses; the one at `place_in_courses` is drawn.
    facts, intervals : canonical facts of the same patient, and its grades (`grading.intervals.SCHEMA`).
    lib : the definitions; fever and pressure limits come from it.
    scale : the scale of the grade band; it must be among `intervals`.
    patient : its id; may be left out where the facts hold one patient.
    title : what was given, as `Teclistamab`.
    labs : measures drawn as sparklines at the foot.
    theme : "light" or "dark".  width : px; the height follows from what there is to show.

    Raises
    ------
    PlotError : no such place or patient, several patients and none named, a scale not graded under.
    DefinitionError : a lab that is no measure.
    """
    if not 0 <= place_in_courses < len(courses.states):
        raise PlotError(
            f"place_in_courses = {place_in_courses}: the courses hold {len(courses.states)} patients\n"
            f"  fix: 0 to {len(courses.states) - 1}"
        )
    look, hours = theme_look(theme), float(courses.states.shape[1] - 1)
    course = read_course(
        facts,
        intervals,
        lib=lib,
        patient=patient,
        scales=[scale],
        now=None,
        timezone="UTC",
        hours=(0.0, hours),
    )
    across = max(width - LEFT - RIGHT, 240.0)
    plain = Paper(course, look, across)
    names = place(plain, changes(course))
    paper = Paper(course, look, across, tuple(sorted({name["x"] for name in names})))
    states, parameters = courses.states[place_in_courses], courses.parameters[place_in_courses]
    rows = max((name["row"] for name in names), default=0) + 1
    lanes = [
        bands_lane(plain, names, rows),
        given_lane(paper),
        cytokine_lane(paper, states, theme == "dark"),
        levels_lane(paper, states, parameters),
        temperature_lane(paper, CURVE),
        pressure_lane(paper, CURVE),
        oxygen_lane(paper, oxygen_height(paper) + 8),
        *(lab_lane(paper, lab, LAB) for lab in labs),
    ]
    pages = [_header(paper, title), *(_readable(lane) for lane in lanes), _footer(paper)]
    with debug_mode(False):  # Altair checking every piece again and again is most of the time it takes
        chart = alt.VConcatChart(
            vconcat=[lane.chart() for lane in pages],
            spacing=GAP,
            bounds="flush",
            padding=0,
            background=look.page,
            datasets={name: rows for lane in pages for name, rows in lane.datasets.items()},
        )
        page: alt.VConcatChart = chart.configure_view(stroke=None)
        return page


def _readable(lane: Lane) -> Lane:
    """A picture for a wall: no word smaller than `SMALLEST`."""
    words = lane.words
    lane.words = {}
    for (align, size, *rest), rows in words.items():
        lane.words.setdefault((align, max(size, SMALLEST), *rest), []).extend(rows)
    for layer in lane.layers:
        if layer.mark.type == "text" and layer.mark.fontSize < SMALLEST:
            layer.mark.fontSize = SMALLEST
    return lane


def cytokine_lane(paper: Paper, states: Vector, dark: bool = False) -> Lane:
    """The five cytokines: lines of the model, points sampled, names at the line's end, peaks as numbers."""
    look = paper.look
    lane = Lane(paper, "cytokines", CYTOKINES)
    lane.title("Cytokines", "pg/mL, log scale", y=CYTOKINES / 2 - 8)
    lane.write("— model", -LEFT + 16, CYTOKINES / 2 + 18, size=SMALLEST, colour=look.muted)
    lane.write("● sampled", -LEFT + 16, CYTOKINES / 2 + 33, size=SMALLEST, colour=look.muted)
    shown = np.maximum(states[:, [curve.state for curve in CURVES]], 1e-3)
    low, high = math.floor(np.log10(shown.min())), math.log10(shown.max())
    to_px = ruler(low, high + 0.4, 6, CYTOKINES - 6)
    for power in range(low, math.ceil(high + 0.35)):
        y = to_px(power)
        if power > low:
            lane.add("rule", [{"px": 1, "px2": paper.across - 1, "y": y}], color=look.grid)
        lane.write(number(10.0**power), -6, y, size=SMALLEST, align="right", colour=look.muted)
    hours = _hours(len(states))
    lines = {c.name: [to_px(v) for v in np.log10(shown[hours, n])] for n, c in enumerate(CURVES)}
    across = [paper.px(float(h)) for h in hours]
    for curve in reversed(CURVES):
        colour = curve.dark if dark else curve.light
        lane.add(
            "line", [{"px": px, "y": y, "x": px} for px, y in zip(across, lines[curve.name], strict=True)],
            order=True, color=colour, strokeWidth=curve.thick, strokeDash=list(curve.dash),
        )  # fmt: skip
        samples = [f for f in paper.course.of(curve.measure) if f.value is not None and f.value > 0]
        lane.add(
            "point",
            [{"x": f.hours, "y": to_px(math.log10(f.value or 1.0)), **f.hover} for f in samples],
            tooltip=TOOLTIP,
            filled=True,
            size=16,
            opacity=0.9,
            color=colour,
            stroke="transparent",
            strokeWidth=7,
        )
    _ends(lane, shown[-1], to_px, dark)
    _peaks(lane, states, across, lines, dark)
    return lane


def _ends(lane: Lane, last: Vector, to_px: Any, dark: bool) -> None:
    """A name and the last value where each line ends, moved apart, each with a thin lead to its line."""
    at = [to_px(math.log10(value)) for value in last]
    spread = apart(at, 15.0, 8.0, lane.height - 8.0)
    edge = lane.paper.across
    for n, (curve, y, moved) in enumerate(zip(CURVES, at, spread, strict=True)):
        colour = curve.dark if dark else curve.light
        lane.add("line", [{"px": edge, "y": y}, {"px": edge + 12, "y": moved}], color=colour, strokeWidth=1)
        text = f"{curve.name} {number(float(last[n]))}"
        lane.write(text, edge + 15, moved, size=11.5, bold=True, colour=colour)


def _peaks(
    lane: Lane, states: Vector, across: Sequence[float], lines: Mapping[str, Sequence[float]], dark: bool
) -> None:
    """The peak of each line: a dot, and its name and value where they cover least."""
    taken: list[Box] = []
    look, edge = lane.paper.look, lane.paper.across
    for curve in CURVES:
        colour = curve.dark if dark else curve.light
        top = int(states[:, curve.state].argmax())
        px = lane.paper.px(float(top))
        y = lines[curve.name][min(range(len(across)), key=lambda k: abs(across[k] - px))]
        lane.add(
            "point", [{"px": px, "y": y}], filled=True, size=44, opacity=1, color=colour, stroke=look.panel,
            strokeWidth=1.5,
        )  # fmt: skip
        text = f"peak {curve.name} {number(float(states[top, curve.state]))}"
        wide = width(text, 11.5, True)
        best: tuple[float, float, float, Box] | None = None
        for dx in range(-150, 151, 10):
            for dy in (-12, -20, 13, 20, -30, 30):
                left, middle = px + dx - wide / 2, y + dy
                box = (left - 4, left + wide + 4, middle - 8, middle + 8)
                if box[0] < 2 or box[1] > edge - 2 or box[2] < 0 or box[3] > lane.height:
                    continue
                cost = abs(dx) / 8 + abs(dy) / 6 + 60 * sum(_touch(box, other) for other in taken)
                cost += 0.5 * sum(
                    box[0] < at < box[1] and box[2] < line < box[3]
                    for ys in lines.values()
                    for at, line in zip(across, ys, strict=True)
                )
                if best is None or cost < best[0]:
                    best = (cost, left, middle, box)
        if best is not None and best[0] < 60:
            _lead(lane, px, y, best[3], colour)
            lane.write(text, best[1], best[2], size=11.5, bold=True, colour=colour, halo=look.panel)
            taken.append(best[3])


def _lead(lane: Lane, px: float, y: float, box: Box, colour: str) -> None:
    """A thin line from a peak to its words, where they had to move away."""
    # Words are measured on the widest font; in most they end a seventh earlier.
    end = min(max(px, box[0] + 2), box[0] + 0.86 * (box[1] - box[0]))
    if abs(end - px) > 6:
        middle = (box[2] + box[3]) / 2
        rows = [{"px": px, "y": y, "x": 0}, {"px": end, "y": middle, "x": 1}]
        lane.add("line", rows, order=True, color=colour, strokeWidth=1)


def _touch(a: Box, b: Box) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]


def _hours(count: int) -> Any:
    """At most about `SAMPLES` hours of `count`, evenly, always with the last."""
    step = max(1, count // SAMPLES)
    return np.unique(np.append(np.arange(0, count, step), count - 1))


@dataclass(frozen=True, slots=True)
class Level:
    """How much of something is there, hourly."""

    name: str
    values: Vector
    unit: str
    kind: str  # whose colour, of `Look.given`


def levels(states: Vector, parameters: Vector) -> list[Level]:
    """What drives the course and what answers it; what was never there is left out."""
    p = parameters
    if p[Parameter.car] > 0.5:
        cells = states[:, State.resting] + states[:, State.effector] + states[:, State.persisting]
        found = [Level("CAR T cells", cells, "× usual", "therapy")]
    else:
        found = [
            Level("Engager in plasma", states[:, State.engager] / p[Parameter.v_central], "mg/L", "therapy"),
            Level("Pathogen", states[:, State.pathogen], "× strong", "therapy"),
        ]
    found += [
        Level("Target cells", states[:, State.antigen], "× usual", "procedure"),
        Level("Tocilizumab", states[:, State.tocilizumab] / p[Parameter.toci_v1], "mg/L", "anti-cytokine"),
        Level("Siltuximab", states[:, State.siltuximab] / p[Parameter.silt_v1], "mg/L", "anti-cytokine"),
        Level("Anakinra", states[:, State.anakinra] / p[Parameter.anakinra_v], "mg/L", "anti-cytokine"),
        Level("Steroid at work", states[:, State.steroid], "mg dexa.", "steroid"),
    ]
    return [level for level in found if float(level.values.max()) > NOTHING]


def levels_lane(paper: Paper, states: Vector, parameters: Vector) -> Lane:
    """One small filled curve for each level, on its own scale from 0, its peak written beside it."""
    look, shown = paper.look, levels(states, parameters)
    lane = Lane(paper, "levels", max(1, len(shown)) * LEVEL + 4)
    hours = _hours(len(states))
    for row, level in enumerate(shown):
        bottom, colour = row * LEVEL + LEVEL, look.given[level.kind]
        peak, (factor, unit) = float(level.values.max()), _unit(float(level.values.max()), level.unit)
        heights = level.values[hours] / peak * (LEVEL - 6)
        curve: list[Row] = [
            {"x": float(h), "y": bottom, "y2": bottom - float(up)}
            for h, up in zip(hours, heights, strict=True)
        ]
        lane.add("area", curve, color=colour, opacity=0.3, clip=True)
        outline = [{"x": row["x"], "y": row["y2"]} for row in curve]
        lane.add("line", outline, order=True, clip=True, color=colour, strokeWidth=1.2)
        lane.write(level.name, -LEFT + 16, bottom - LEVEL / 2 + 2, size=12, bold=True)
        text = f"peak {number(peak * factor)} {unit}"
        lane.write(text, paper.across + 8, bottom - LEVEL / 2 + 2, size=SMALLEST, colour=look.muted)
    if not shown:
        lane.write("nothing given", 8, lane.height / 2, size=SMALLEST, colour=look.muted)
    return lane


def _unit(peak: float, unit: str) -> tuple[float, str]:
    """A unit in which the peak is a readable number.

    >>> _unit(2e-3, "mg/L")[1], _unit(5e-7, "mg/L")[1], _unit(80.0, "mg/L")[1]
    ('µg/L', 'ng/L', 'mg/L')
    """
    if unit != "mg/L" or peak >= 1:
        return 1.0, unit
    return (1e3, unit_text("ug/L")) if peak >= 1e-3 else (1e6, "ng/L")


def _header(paper: Paper, title: str) -> Lane:
    lane = Lane(paper, "header", HEADER, panel=False)
    course, look = paper.course, paper.look
    what = f"Virtual patient {course.patient}"
    lane.write(f"{title}: {what[0].lower()}{what[1:]}" if title else what, -LEFT + 16, 20, size=16, bold=True)
    told = []
    for measure, word in (("age", "years"), ("weight", "kg")):
        facts = [f for f in course.facts.get(measure, ()) if f.value is not None]
        told += [f"{number(round(facts[0].value or 0))} {word}"] if facts else []
    lane.write(", ".join(told), -LEFT + 16, 39, size=12, colour=look.muted)
    lane.write(
        "Lines of cytokines and levels: the model. Points: what the ward measured. Grades: from the chart.",
        paper.across + RIGHT - 16, 39, size=SMALLEST, align="right", colour=look.muted,
    )  # fmt: skip
    return lane


def _footer(paper: Paper) -> Lane:
    course, look = paper.course, paper.look
    lane = Lane(paper, "footer", FOOTER, panel=False)
    lane.write("days since first dose", -14, 11, size=SMALLEST, align="right", colour=look.muted)
    step = day_step((course.end - course.start) / 24, paper.across)
    room = Rows(1, paper.across + 40, gap=6)
    for day in np.arange(0, course.end / 24 + 1e-9, step):
        px = paper.px(float(day) * 24)
        lane.add("rule", [{"px": px, "y": -3, "y2": 3}], color=look.muted)
        half = width(number(float(day)), 12) / 2
        if room.free(0, px + 20 - half, px + 20 + half):
            room.take(0, px + 20 - half, px + 20 + half)
            lane.write(number(float(day)), px, 12, size=12, align="center")
    _key(lane)
    lane.write(NOTE, paper.across + RIGHT - 16, FOOTER - 12, size=SMALLEST, align="right", colour=look.muted)
    return lane


def _key(lane: Lane) -> None:
    """What a hatched and a dashed band mean, where there is one."""
    intervals = lane.paper.course.intervals
    key = []
    if any(i.up_to > i.grade and not i.unmeasured for i in intervals):
        key.append("hatched, 1–2: grade 1 proven, 2 not ruled out")
    if any(i.unmeasured for i in intervals):
        key.append("dashed: nobody measured enough to know")
    lane.write(" · ".join(key), -LEFT + 16, FOOTER - 12, size=SMALLEST, colour=lane.paper.look.muted)
