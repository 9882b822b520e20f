"""Temperature and blood pressure: readings as points, gaps in measuring left as gaps, limits as lines."""

from __future__ import annotations

import math
from typing import Any

from tocsin.plots.canvas import LEFT, TOOLTIP, Lane, Paper, Row, fit, ruler
from tocsin.plots.course import Course, Fact, fever_limit, held, pressure_limit, runs, thin
from tocsin.plots.labels import width
from tocsin.plots.look import number, quantity, unit_text

BAR = 14.0  # px per vasopressor
REACH = 7  # px around a small point that answers the pointer


def direction(facts: list[Fact]) -> str:
    """Arrow from the last reading but one to the last; empty with fewer than two.

    A change under 2 % of the value is drawn as level.
    """
    values = [fact.value for fact in facts if fact.value is not None]
    if len(values) < 2:
        return ""
    step, size = values[-1] - values[-2], abs(values[-2]) or 1.0
    return "→" if abs(step) / size < 0.02 else "↑" if step > 0 else "↓"


def age(course: Course, fact: Fact) -> tuple[str, bool]:
    """How old a value is where what is known ends, and whether that is longer than it is held for."""
    hours = max(0.0, course.known_until - fact.hours)
    hold = course.lib.measure(fact.measure).hold_hours
    text = (
        f"{hours * 60:.0f} min old"
        if hours < 1
        else f"{hours:.0f} h old"
        if hours < 72
        else f"{hours / 24:.0f} d old"
    )
    return text, hold is not None and hours >= hold


def gaps(lane: Lane, groups: list[list[Fact]], hold: float | None, y: float) -> None:
    """Say in words that nobody measured, where there is room: what is missing must be seen."""
    paper, look = lane.paper, lane.paper.look
    ends = [(group[0].hours, group[-1].hours) for group in groups]
    starts = [*(start for start, _ in ends[1:]), paper.course.known_until]
    for (_, left), right in zip(ends, starts, strict=True):
        if hold is None or right - left <= hold:
            continue
        hours = right - left
        text = f"not measured for {hours:.0f} h" if hours < 72 else f"not measured for {hours / 24:.0f} d"
        if paper.px(right) - paper.px(left) > width(text, 10.5) + 24:
            at = (paper.px(left) + paper.px(right)) / 2
            lane.write(text, at, y, size=10.5, align="center", colour=look.muted)


def readings(paper: Paper, measure: str) -> list[Fact]:
    """The readings of one measure, at most two a pixel."""
    return thin(paper.course.of(measure), paper.hours(1) - paper.hours(0))


def line(lane: Lane, groups: list[list[Fact]], to_px: Any, **mark: Any) -> None:
    """Join the readings of each unbroken run."""
    rows = [
        {"x": fact.hours, "y": to_px(fact.value), "group": str(n)}
        for n, group in enumerate(groups)
        if len(group) > 1
        for fact in group
    ]
    lane.add("line", rows, order=True, clip=True, **mark)


def points(
    lane: Lane, facts: list[Fact], to_px: Any, colours: list[str], *, size: float = 26, shape: str = "circle"
) -> None:
    """One point per reading, filled with its own colour, answering the pointer a little beyond its edge."""
    rows = [
        {"x": fact.hours, "y": to_px(fact.value), "value": fact.value, "colour": colour, **fact.hover}
        for fact, colour in zip(facts, colours, strict=True)
    ]
    lane.add(
        "point",
        rows,
        colour="colour",
        tooltip=TOOLTIP,
        filled=True,
        size=size,
        shape=shape,
        opacity=1,
        stroke="transparent",
        strokeWidth=REACH,
    )


def scale_marks(
    lane: Lane, low: float, high: float, to_px: Any, step: float, skip: float | None = None
) -> None:
    """Numbers of the lane's own scale, beside it; `skip` keeps clear of a limit already written."""
    value = math.ceil(low / step) * step
    while value <= high:
        if skip is None or abs(to_px(value) - to_px(skip)) > 9:
            lane.write(number(value), -6, to_px(value), size=10, align="right", colour=lane.paper.look.muted)
        value += step


def limit_line(lane: Lane, value: float, to_px: Any, name: str, around: list[Fact]) -> None:
    """A limit from the definitions; its name inside, at the end where fewer readings are in the way."""
    look, paper = lane.paper.look, lane.paper
    y, wide = to_px(value), width(name, 10.5) + 10
    lane.add(
        "rule", [{"px": 1, "px2": paper.across - 1, "y": y, "value": value}], color=look.alarm, strokeWidth=1
    )
    near = [paper.px(f.hours) for f in around if f.value is not None and -18 < to_px(f.value) - y < 4]
    left = sum(px < wide for px in near) < sum(px > paper.across - wide for px in near)
    lane.write(
        name,
        5 if left else paper.across - 5,
        y - 7,
        size=10.5,
        colour=look.alarm,
        align="left" if left else "right",
        halo=look.panel,
    )


def temperature_lane(paper: Paper, height: float) -> Lane:
    """Temperature with the fever limit of the scale."""
    course, look = paper.course, paper.look
    measure = course.lib.measure("temperature")
    lane = Lane(paper, "temperature", height)
    lane.title("Temperature", unit_text(measure.unit))
    facts = readings(paper, "temperature")
    limit = fever_limit(course)
    values = [fact.value for fact in facts if fact.value is not None]
    around = [*values, *([limit - 1.5, limit + 1.5] if limit is not None else [])]
    if not values:
        return _nothing(lane)
    low, high = min(around) - 0.2, max(around) + 0.3
    to_px = ruler(low, high, 12, height - 6)
    scale_marks(lane, low, high, to_px, 1.0 if high - low < 6 else 2.0, None)
    line(lane, runs(facts, measure.hold_hours), to_px, color=look.line, strokeWidth=1)
    if limit is not None:
        limit_line(lane, limit, to_px, f"fever from {limit:.1f}", facts)
    good = [fact for fact in facts if fact.value is not None]

    def fever(fact: Fact) -> bool:
        return limit is not None and _rounded(fact.value or 0.0, measure.round_to) >= limit

    points(lane, good, to_px, [look.alarm if fever(f) else look.point for f in good], size=_size(paper, good))
    top = max(good, key=lambda fact: fact.value or 0.0)
    if fever(top):
        _callout(lane, top, to_px(top.value), f"{top.value:.1f}", look.alarm, above=True)
    colour = look.alarm if fever(good[-1]) else None
    lane.last(f"{good[-1].value:.1f} {direction(good)}", *age(course, good[-1]), colour=colour)
    gaps(lane, runs(facts, measure.hold_hours), measure.hold_hours, height - 11)
    return lane


def _rounded(value: float, to: float | None) -> float:
    # Half-up, as design says fever is compared; the tiny addend undoes binary noise such as 37.949999.
    return value if not to else math.floor(value / to + 0.5 + 1e-9) * to + 1e-9


def _size(paper: Paper, facts: list[Fact]) -> float:
    """Points shrink where there are many, so that they stay points."""
    return 30 if len(facts) < paper.across / 6 else 16 if len(facts) < paper.across / 3 else 8


def _nothing(lane: Lane) -> Lane:
    lane.write("not charted", 8, lane.height / 2, size=10.5, colour=lane.paper.look.muted)
    return lane


def _callout(lane: Lane, fact: Fact, y: float, text: str, colour: str, *, above: bool) -> None:
    """The extreme value, written at its point and kept inside the lane."""
    paper, half = lane.paper, width(text, 10.5, True) / 2
    px = min(max(paper.px(fact.hours), half + 4), paper.across - half - 4)
    lane.write(
        text,
        px,
        y - 9 if above else y + 10,
        size=10.5,
        colour=colour,
        align="center",
        bold=True,
        halo=paper.look.panel,
    )


def _pressors(course: Course) -> list[str]:
    """The vasopressors and inotropes of this patient, those that every scale counts first."""
    classes = ("vasopressor", "vasopressor-not-counted", "inotrope")
    return [drug for kind in classes for drug in course.lib.classes.get(kind, ()) if course.of(drug)]


def bars_height(paper: Paper) -> float:
    """Px under the pressures: a bar for every vasopressor and one row for boluses."""
    bars = len(_pressors(paper.course)) + bool(paper.course.of("fluid-bolus"))
    return bars * BAR + (3 if bars else 0)


def pressure_lane(paper: Paper, height: float) -> Lane:
    """Systolic points, mean line, the patient's own limit, and a bar for every vasopressor under them."""
    course, look = paper.course, paper.look
    systolic, mean = readings(paper, "systolic-bp"), readings(paper, "mean-bp")
    drugs, boluses = _pressors(course), course.of("fluid-bolus")
    lane = Lane(paper, "blood-pressure", height + bars_height(paper))
    main = course.lib.measure("systolic-bp" if systolic or not mean else "mean-bp")
    key = " ".join(["● systolic"] * bool(systolic) + ["— mean"] * bool(mean))
    lane.title("Blood pressure", f"{unit_text(main.unit)} {key}".strip(), y=height / 2)
    values = [fact.value for fact in (*systolic, *mean) if fact.value is not None]
    if values:
        limit = pressure_limit(course, main)
        around = [*values, *([limit[0]] if limit else [])]
        low, high = min(around) - 4, max(around) + 6
        to_px = ruler(low, high, 6, height - 5)
        step = next(s for s in (20, 25, 50, 100) if (high - low) / s * 15 < height or s == 100)
        scale_marks(lane, low, high, to_px, step)
        mean_measure = course.lib.measure("mean-bp")
        groups = runs(mean, mean_measure.hold_hours)
        line(lane, groups, to_px, color=look.line, strokeWidth=1.5)
        good = [fact for fact in mean if fact.value is not None]
        points(lane, good, to_px, [look.line] * len(good), size=6)
        if limit:
            limit_line(lane, limit[0], to_px, limit[1], [*systolic, *mean])
        good = [fact for fact in systolic if fact.value is not None]
        floor = limit[0] if limit else -math.inf
        points(
            lane,
            good,
            to_px,
            [look.alarm if (f.value or 0) < floor else look.point for f in good],
            size=_size(paper, good),
        )
        shown = runs(systolic or mean, main.hold_hours)
        gaps(lane, shown, main.hold_hours, height / 2 - 4)
        _last_pressure(lane, systolic, mean, height, floor)
    else:
        lane.write("not charted", 8, height / 2, size=10.5, colour=look.muted)
    if drugs or boluses:
        lane.add("rule", [{"px": 1, "px2": paper.across - 1, "y": height + 1}], color=look.edge)
    for n, drug in enumerate(drugs):
        _bar(lane, drug, height + 3 + n * BAR)
    if boluses:
        _boluses(lane, boluses, height + 3 + len(drugs) * BAR)
    return lane


def _last_pressure(lane: Lane, systolic: list[Fact], mean: list[Fact], height: float, floor: float) -> None:
    course, look = lane.paper.course, lane.paper.look
    top = next((f for f in reversed(systolic) if f.value is not None), None)
    map_ = next((f for f in reversed(mean) if f.value is not None), None)
    low = next((f for f in reversed(course.of("diastolic-bp")) if f.value is not None), None)
    if top is not None:
        text = number(top.value or 0)
        if low is not None and low.hours == top.hours:
            text += f"/{number(low.value or 0)}"
        if map_ is not None and map_.hours == top.hours:
            text += f" ({number(map_.value or 0)})"
        alarm = look.alarm if (top.value or 0) < floor else None
        lane.last(text, *age(course, top), y=height / 2, colour=alarm)
    elif map_ is not None:
        lane.last(f"MAP {number(map_.value or 0)}", *age(course, map_), y=height / 2)


def _bar(lane: Lane, drug: str, top: float) -> None:
    """One vasopressor: rate as height over its own peak; dose unknown as an open dashed bar."""
    paper = lane.paper
    course, look = paper.course, paper.look
    measure = course.lib.measure(drug)
    running = [f for f in course.of(drug) if f.text != "push"]
    steps = held(running, measure.hold_hours, course.known_until)
    peak = max((f.value for _, _, f in steps if f.value), default=0.0)
    bottom = top + BAR - 3
    solid: list[Row] = []
    unknown: list[Row] = []
    for left, right, fact in steps:
        if fact.value == 0 or fact.text in ("unusable",):
            continue
        box = {"x": left, "x2": right, "y2": bottom, **fact.hover}
        if fact.value is None:
            unknown.append({**box, "y": top + 1.5})
        else:
            tall = max(2.0, (BAR - 4) * fact.value / peak)
            solid.append({**box, "y": bottom - tall, "value": fact.value})
    lane.add("rect", solid, tooltip=TOOLTIP, color=look.pressor, clip=True)
    lane.add(
        "rect",
        unknown,
        tooltip=TOOLTIP,
        color=look.panel,
        stroke=look.pressor,
        strokeDash=[3, 2],
        strokeWidth=1,
        clip=True,
    )
    pushes = [f for f in course.of(drug) if f.text == "push"]
    lane.add(
        "point",
        [{"x": f.hours, "y": bottom - 4, **f.hover} for f in pushes],
        tooltip=TOOLTIP,
        shape="triangle-up",
        filled=True,
        size=36,
        color=look.pressor,
        opacity=1,
    )
    lane.write(
        fit(measure.title.lower(), LEFT - 22, 10.5),
        -6,
        bottom - 5,
        size=10.5,
        align="right",
        colour=look.pressor,
    )
    lasts = [*solid, *unknown]
    if not lasts:
        return
    word = f"peak {quantity(peak, measure.unit)}" if peak else "rate unknown"
    wide, end = width(word, 10.5), max(float(box["x2"]) for box in lasts)
    begin = min(float(box["x"]) for box in lasts)
    if paper.px(end) + 6 + wide < paper.across:
        lane.write(word, paper.px(end) + 6, bottom - 5, size=10.5, colour=look.pressor, halo=look.panel)
    elif paper.px(begin) - 6 - wide > 0:
        lane.write(
            word,
            paper.px(begin) - 6,
            bottom - 5,
            size=10.5,
            colour=look.pressor,
            align="right",
            halo=look.panel,
        )


def _boluses(lane: Lane, boluses: list[Fact], top: float) -> None:
    look, paper = lane.paper.look, lane.paper
    y = top + BAR / 2 - 1
    rows = [{"x": f.hours, "y": y, **f.hover} for f in boluses]
    lane.add(
        "point", rows, tooltip=TOOLTIP, shape="square", filled=True, size=40, color=look.bolus, opacity=1
    )
    lane.write("fluid bolus", -6, y, size=10.5, align="right", colour=look.bolus)
    free = -math.inf
    for i, fact in enumerate(boluses):
        word, px = quantity(fact.value, fact.unit), paper.px(fact.hours) + 7
        following = paper.px(boluses[i + 1].hours) - 5 if i + 1 < len(boluses) else paper.across
        if word and px > free and px + width(word, 10) < following:
            lane.write(word, px, y, size=10, colour=look.bolus)
            free = px + width(word, 10)
