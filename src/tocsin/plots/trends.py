"""Oxygen ladder, mental-state scores, and laboratory sparklines."""

from __future__ import annotations

import math
from itertools import pairwise

from tocsin.plots.canvas import LEFT, TOOLTIP, Lane, Paper, Row, fit, ruler
from tocsin.plots.course import Fact, held, runs
from tocsin.plots.labels import Rows, width
from tocsin.plots.look import number, quantity, unit_text
from tocsin.plots.vitals import age, direction, line, points, readings

SATURATION = 24.0  # px of the oxygen lane for SpO2
AXIS_FLOOR = 88.0  # lowest % on the SpO2 axis unless a reading is lower: a drawing choice, no threshold
SHORT = {"high-flow-nasal-cannula": "high flow", "cpap": "CPAP", "bipap": "BiPAP"}
UNKNOWN = "device not charted"


def rungs(paper: Paper) -> list[str]:
    """This patient's devices, mild to worst, over room air; oxygen without a device has its own rung."""
    course = paper.course
    seen = {fact.text for fact in course.of("oxygen-device")}
    ladder = [w for w in course.lib.measure("oxygen-device").words if w in seen or w == "room-air"]
    ladder += sorted(w for w in seen if w and w not in ladder and w != "unusable")
    if _bare_flow(paper):
        ladder.insert(1, UNKNOWN)
    return ladder


def _bare_flow(paper: Paper) -> list[Fact]:
    """Flow above 0 charted while no device is."""
    course = paper.course
    steps = held(
        course.of("oxygen-device"), course.lib.measure("oxygen-device").hold_hours, course.known_until
    )
    return [
        f
        for f in course.of("oxygen-flow")
        if (f.value or 0) > 0 and not any(a <= f.hours < b for a, b, _ in steps)
    ]


def least_oxygen_height(paper: Paper) -> float:
    """Px under which the names of the rungs would touch."""
    return max(64.0, SATURATION + 21 + 9.5 * (len(rungs(paper)) - 1))


def oxygen_height(paper: Paper) -> float:
    """Nominal px of the oxygen lane: 70, more where many devices were used."""
    return max(70.0, SATURATION + 13 + 12.0 * len(rungs(paper)))


def oxygen_lane(paper: Paper, height: float) -> Lane:
    """SpO2 as points above, the ladder of devices as steps below, flow or FiO2 written where it changes."""
    course, look = paper.course, paper.look
    lane = Lane(paper, "oxygen", height)
    lane.title("Oxygen", "device, SpO2")
    saturation = [f for f in readings(paper, "spo2") if f.value is not None]
    if saturation:
        low = min(AXIS_FLOOR, min(f.value or 0.0 for f in saturation))
        to_px = ruler(low, 100.0, 5, SATURATION - 1)
        points(lane, saturation, to_px, [look.point] * len(saturation), size=12)
        lane.write("SpO2 100", -6, 6, size=9.5, align="right", colour=look.muted)
        lane.write(number(low), -6, SATURATION - 2, size=9.5, align="right", colour=look.muted)
        worst = min(saturation, key=lambda f: f.value or 0.0)
        text = f"{number(worst.value or 0)}%"
        px = paper.px(worst.hours)
        varied = worst.value != max(f.value or 0.0 for f in saturation)
        if varied and px + 6 + width(text, 10, True) < paper.across:
            lane.write(
                text, px + 6, to_px(worst.value) - 1, size=10, bold=True, colour=look.ink, halo=look.panel
            )
        lane.last(f"SpO2 {number(saturation[-1].value or 0)}%", *age(course, saturation[-1]))
    ladder = rungs(paper)
    bare = _bare_flow(paper)
    if not course.of("oxygen-device") and not bare:
        lane.write("no device charted", 8, (SATURATION + height) / 2, size=10.5, colour=look.muted)
        return lane
    bottom, top = height - 7, SATURATION + 14
    step = (bottom - top) / max(1, len(ladder) - 1)
    level = {word: bottom - i * step for i, word in enumerate(ladder)}
    for word, y in level.items():
        lane.write(SHORT.get(word, word.replace("-", " ")), -6, y, size=9.5, align="right", colour=look.muted)
    lane.add("rule", [{"px": 1, "px2": paper.across - 1, "y": y} for y in level.values()], color=look.grid)
    _steps(lane, level, bare)
    _settings(lane, level)
    return lane


def _steps(lane: Lane, level: dict[str, float], bare: list[Fact]) -> None:
    course, look = lane.paper.course, lane.paper.look
    devices = [f for f in course.of("oxygen-device") if f.text]
    spans = [
        (a, b, level[f.text], f)
        for a, b, f in held(devices, course.lib.measure("oxygen-device").hold_hours, course.known_until)
        if f.text in level
    ]
    spans += [
        (a, b, level[UNKNOWN], f)
        for a, b, f in held(bare, course.lib.measure("oxygen-flow").hold_hours, course.known_until)
    ]
    spans.sort(key=lambda span: span[0])
    rows: list[Row] = [
        {"x": a, "x2": b, "y": y, "device": f.text or UNKNOWN, **f.hover} for a, b, y, f in spans
    ]
    joins: list[Row] = [
        {"x": b, "y": y, "y2": following[2]}
        for (_, b, y, _), following in pairwise(spans)
        if abs(following[0] - b) < 1e-6 and following[2] != y
    ]
    lane.add("rule", joins, color=look.oxygen, strokeWidth=2.5, strokeCap="square")
    lane.add("rule", rows, color=look.oxygen, strokeWidth=2.5, tooltip=TOOLTIP, strokeCap="butt")


def _settings(lane: Lane, level: dict[str, float]) -> None:
    """Flow or FiO2, where it changes, over the step it belongs to; what would touch is left out."""
    paper = lane.paper
    course, look = paper.course, paper.look
    devices = held(
        course.of("oxygen-device"), course.lib.measure("oxygen-device").hold_hours, course.known_until
    )
    room = Rows(len(level), paper.across, gap=5)
    order = list(level)
    said: dict[str, float | None] = {}
    text: list[Row] = []
    together: dict[float, list[str]] = {}
    for fact in course.of("oxygen-flow", "fio2"):
        if fact.value is not None and said.get(fact.measure) != fact.value:
            said[fact.measure] = fact.value
            shown = (
                f"{number(fact.value)} L" if fact.measure == "oxygen-flow" else f"FiO2 {number(fact.value)}%"
            )
            together.setdefault(fact.hours, []).append(shown)
    for hours, parts in together.items():
        word, until = UNKNOWN, course.known_until
        for a, b, device in devices:
            if a <= hours < b:
                word, until = device.text or UNKNOWN, b
            elif word == device.text and a == until:  # the same device, charted again
                until = b
        if word not in level or word == "room-air":
            continue
        left = paper.px(hours) + 4
        for shown in (", ".join(parts), parts[0]):
            right = left + width(shown, 9.5)
            if right <= paper.px(until) + 4 and room.free(order.index(word), left, right):
                room.take(order.index(word), left, right)
                text.append({"px": left, "y": level[word] - 6.5, "text": shown})
                break
    lane.add(
        "text",
        text,
        align="left",
        fontSize=9.5,
        color=look.panel,
        stroke=look.panel,
        strokeWidth=3,
        strokeJoin="round",
    )
    lane.add("text", text, align="left", fontSize=9.5, color=look.oxygen)


def mind_lane(paper: Paper, measure_id: str, height: float) -> Lane:
    """A mental-state score as steps, the number written where it changes."""
    course, look = paper.course, paper.look
    measure = course.lib.measure(measure_id)
    facts = [f for f in course.of(measure_id) if f.value is not None]
    lane = Lane(paper, measure_id, height)
    lane.title({"ice-score": "ICE", "capd-score": "CAPD"}.get(measure_id, measure.title))
    top = measure.plausible_high or max(f.value or 0.0 for f in facts)
    to_px = ruler(0, top, 5, height - 5)
    lane.write(number(top), -6, 6, size=9.5, align="right", colour=look.muted)
    lane.write("0", -6, height - 6, size=9.5, align="right", colour=look.muted)
    spans = held(facts, measure.hold_hours, course.known_until)
    lane.add(
        "rule",
        [
            {"x": b, "y": to_px(f.value), "y2": to_px(g.value)}
            for (_, b, f), (c, _, g) in pairwise(spans)
            if abs(b - c) < 1e-6
        ],
        color=look.line,
    )
    lane.add(
        "rule",
        [{"x": a, "x2": b, "y": to_px(f.value), "value": f.value, **f.hover} for a, b, f in spans],
        color=look.point,
        strokeWidth=2,
        tooltip=TOOLTIP,
    )
    free, said = -math.inf, None
    for fact in facts:
        word, px = number(fact.value or 0), paper.px(fact.hours) + 3
        if fact.value != said and px > free and px + width(word, 10, True) < paper.across:
            y = to_px(fact.value)
            lane.write(word, px, y + 8 if y < height / 2 else y - 7, size=10, bold=True, halo=look.panel)
            free, said = px + width(word, 10, True) + 4, fact.value
    lane.last(f"{number(facts[-1].value or 0)} {direction(facts)}", *age(course, facts[-1]))
    return lane


def lab_lane(paper: Paper, measure_id: str, height: float) -> Lane:
    """One laboratory value as a sparkline on a log scale, its peak, and its last value with direction."""
    course, look = paper.course, paper.look
    measure = course.lib.measure(measure_id)
    unit = unit_text(measure.unit)
    lane = Lane(paper, measure_id, height)
    name = measure.title if width(measure.title, 12, True) < LEFT - 26 else measure.id
    lane.title(fit(name, LEFT - 22, 12, True))
    facts = [f for f in readings(paper, measure_id) if f.value is not None]
    if not facts:
        lane.write("not charted", 8, height / 2, size=10.5, colour=look.muted)
        return lane
    least = min((f.value for f in facts if f.value and f.value > 0), default=1.0)

    def log(value: float | None) -> float:
        return math.log10(max(value or 0.0, least))

    low, high = log(least), max(log(f.value) for f in facts)
    middle = (low + high) / 2
    half = max((high - low) / 2, 0.15)  # a flat course is drawn flat, not as noise
    scale = ruler(middle - half, middle + half, 7, height - 6)

    def to_px(value: float | None) -> float:
        return float(scale(log(value)))

    upper = next((f.ref_high for f in reversed(facts) if f.ref_high), measure.ref_high)
    if upper and middle - half < math.log10(upper) < middle + half:
        lane.add(
            "rule",
            [{"px": 1, "px2": paper.across - 1, "y": to_px(upper), "value": upper}],
            color=look.line,
            strokeDash=[2, 3],
        )
    line(lane, runs(facts, measure.hold_hours), to_px, color=look.point, strokeWidth=1.5)
    points(lane, facts, to_px, [look.point] * len(facts), size=14)
    peak = max(facts, key=lambda f: f.value or 0.0)
    comparator = {"<": "<", ">": ">"}
    if peak is not facts[-1] or len(facts) == 1:
        word = f"{comparator.get(peak.text or '', '')}{quantity(peak.value, measure.unit)}"
        px, half = paper.px(peak.hours), width(word, 10) / 2
        px = min(max(px, half + 4), paper.across - half - 4)
        # Under its point: the line falls away from a peak on both sides.
        lane.write(
            word, px, min(to_px(peak.value) + 11, height - 7), size=10, align="center", halo=look.panel
        )
    last = facts[-1]
    shown = f"{comparator.get(last.text or '', '')}{number(last.value or 0)} {direction(facts)}"
    old, stale = age(course, last)
    lane.last(shown.strip(), f"{unit}, {old}", stale)
    return lane
