"""Grade bands: one run-length row per scale, hatched where not ruled out, named where it changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tocsin.plots.canvas import LEFT, Lane, Paper, Row, fit
from tocsin.plots.course import Course, Interval, finding_title, scale_name
from tocsin.plots.labels import Rows, width
from tocsin.plots.look import SHAPES

STRIPE, PERIOD = 4.0, 9.0  # px of colour, px from stripe to stripe
LABEL = 14.0  # px per row of names
BAND_TOOLTIP = ("scale", "grade", "from", "because", "waiting for", "judgement", "flags", "definition")


def band_height(scales: int) -> tuple[float, float]:
    """Height of one band and the gap under it, in px: many scales share the page."""
    return (28.0, 4.0) if scales <= 4 else (22.0, 3.0) if scales <= 6 else (18.0, 3.0)


@dataclass(frozen=True, slots=True)
class Change:
    """A grade that changed: what to call it, and how much it matters."""

    hours: float
    name: str
    weight: tuple[float, ...]


def changes(course: Course) -> list[Change]:
    """Every change of grade inside the window, most important first.

    The onset under the first scale asked for comes before all. A rise outweighs a fall, a higher grade
    a lower one, the first scale asked for the others, and a name said for the first time one said
    before. A fall because nobody measures is called so: it is never shown as recovery.
    """
    found: list[Change] = []
    said: set[str] = set()
    for rank, scale in enumerate(course.scales):
        before: Interval | None = None
        for now in (i for i in course.intervals if i.scale == scale):
            old = before.grade if before else 0
            if now.grade != old and course.start <= now.start < course.end:
                name = _name(course, before, now)
                onset = not rank and not any(change.weight[0] for change in found)
                weight = (onset, now.grade > old, name not in said, max(now.grade, old), -rank, -now.start)
                found.append(Change(now.start, name, tuple(float(w) for w in weight)))
                said.add(name)
            before = now
    return sorted(found, key=lambda change: change.weight, reverse=True)


def _name(course: Course, before: Interval | None, now: Interval) -> str:
    """What came, for a rise; what went, for a fall."""
    old = before.because if before else ()
    if before is not None and now.grade < before.grade:
        if now.unmeasured:
            return "not measured"
        gone = _telling(course, now.scale, old, now.because)
        return f"{finding_title(course.lib, now.scale, gone)} ended" if gone else f"grade {now.grade}"
    new = _telling(course, now.scale, now.because, old)
    return finding_title(course.lib, now.scale, new) if new else f"grade {now.grade}"


def _telling(course: Course, scale: str, some: tuple[str, ...], others: tuple[str, ...]) -> str | None:
    """The finding of `some` that best says how it differs from `others`.

    One that only sums up a finding of `others` (fever, as fever or treated after it) says nothing new.
    A row lists what lets a sign count before the sign itself, so the last one is the sign.
    """
    known = course.lib.scale(scale).findings if scale in course.lib.scales else {}
    differ = [name for name in some if name not in others]
    news = [name for name in differ if name not in known or not set(known[name].names) & set(others)]
    telling = news or differ or list(some)
    return telling[-1] if telling else None


def place(paper: Paper, found: list[Change], rows: int = 2, size: float = 11) -> list[dict[str, Any]]:
    """Put the names under the bands: staggered, never touching; the least important are left out."""
    room = Rows(rows, paper.across)
    placed: list[dict[str, Any]] = []
    for change in found:
        at, name = paper.px(change.hours), fit(change.name, 210, size)
        if any(p["text"] == name and abs(paper.px(p["x"]) - at) < 48 for p in placed):
            continue
        wide = width(name, size)
        ticks = [paper.px(p["x"]) for p in placed if p["x"] != change.hours]
        best = None
        for align, left in (("left", at + 4), ("right", at - 4 - wide)):
            for row in range(rows):
                if not room.free(row, left, left + wide):
                    continue
                # A name that a tick runs through is harder to read than one on the unusual side.
                crossed = sum(left - 2 < tick < left + wide + 2 for tick in ticks)
                cost = (crossed + _crosses(placed, at, row, size), align == "right", row)
                if best is None or cost < best[0]:
                    best = (cost, row, align, left)
        if best is not None:
            _, row, align, left = best
            room.take(row, left, left + wide)
            px = left if align == "left" else left + wide
            placed.append({"x": change.hours, "px": px, "row": row, "align": align, "text": name})
    return placed


def _crosses(placed: list[dict[str, Any]], at: float, row: int, size: float) -> int:
    """How many names in the rows above a tick down to `row` would run through."""
    found = 0
    for name in placed:
        wide = width(name["text"], size)
        left = name["px"] if name["align"] == "left" else name["px"] - wide
        found += name["row"] < row and left - 2 < at < left + wide + 2
    return found


def stripes(
    left: float, right: float, top: float, bottom: float
) -> Iterator[list[tuple[float, float, float]]]:
    """Diagonal stripes that fill a box, each as (x, upper y, lower y) in px, cut exactly at its edges."""
    tall = bottom - top
    at = (left - tall) // PERIOD * PERIOD  # on one grid, so that neighbours join
    while at < right:
        corners = {at, at + STRIPE, at + tall, at + tall + STRIPE, left, right}
        points = []
        for x in sorted(c for c in corners if max(at, left) <= c <= min(at + tall + STRIPE, right)):
            points.append((x, top + max(0.0, tall - (x - at)), top + min(tall, tall - (x - at - STRIPE))))
        if len(points) > 1:
            yield points
        at += PERIOD


def bands_lane(paper: Paper, names: list[dict[str, Any]], rows: int) -> Lane:
    """All bands in one view, the names of the changes under them."""
    course, look = paper.course, paper.look
    tall, gap = band_height(len(course.scales))
    under = len(course.scales) * (tall + gap)
    lane = Lane(paper, "grades", under + rows * LABEL, panel=False)
    solid: list[Row] = []
    blank: list[Row] = []
    edges: list[Row] = []
    hatch: list[Row] = []
    text: list[Row] = []
    pill: list[Row] = []
    hover: list[Row] = []
    known = course.known_until
    for i, scale in enumerate(course.scales):
        top, bottom = i * (tall + gap), i * (tall + gap) + tall
        hover += [
            {
                "x": max(run.start, course.start),
                "x2": min(_until(run, known), known),
                "y": top,
                "y2": bottom,
                **_hover(course, run),
            }
            for run in course.intervals
            if run.scale == scale and run.start < known and _until(run, known) > course.start
        ]
        for run in _runs(course, scale):
            left, right = max(run.start, course.start), min(_until(run, known), known)
            if right <= left:
                continue
            box = {"x": left, "x2": right, "y": top, "y2": bottom}
            middle = {"x": (left + right) / 2, "y": (top + bottom) / 2 + 0.5}
            wide = paper.px(right) - paper.px(left)
            if run.unmeasured:
                inset = {"y": top + 0.5, "y2": bottom - 0.5}
                blank.append({**box, **inset, "fill": look.unmeasured})
                word = f"?  up to {run.up_to}"
                word = word if wide > width(word, 12) + 10 else "?"
                if wide > 14:
                    text.append({**middle, "text": word, "colour": look.muted})
                continue
            fill = look.grades[run.grade]
            # A hairline of page between runs: 0 and 1 are nearly one grey in black and white.
            end = paper.hours(paper.px(right) - 1) if wide > 4 else right
            solid.append({**box, "x2": end, "fill": fill})
            if run.grade == len(look.grades) - 1:  # death is near black: an edge keeps it off a dark page
                edges.append({**box, "y": top + 0.5, "y2": bottom - 0.5})
            word, wider = str(run.grade), f"{run.grade}–{run.up_to}"
            if run.up_to > run.grade:
                px = (paper.px(left), paper.px(right))
                for n, stripe in enumerate(stripes(*px, top, bottom)):
                    group = f"{i} {left:.3f} {n}"
                    hatch += [
                        {
                            "x": paper.hours(x),
                            "y": y,
                            "y2": y2,
                            "group": group,
                            "fill": look.grades[run.up_to],
                        }
                        for x, y, y2 in stripe
                    ]
                edges.append({**box, "y": top + 0.5, "y2": bottom - 0.5})
                word = wider if wide > max(24, width(wider, 13, True) + 6) else word
                if wide > 24:
                    half = width(word, 13, True) / 2 + 3
                    at = (px[0] + px[1]) / 2
                    pill.append(
                        {"px": at - half, "px2": at + half, "y": top + 4, "y2": bottom - 4, "fill": fill}
                    )
            if wide > 24:
                text.append({**middle, "text": word, "colour": look.on_grade[run.grade]})
    lane.add("rect", solid, colour="fill")
    lane.add("area", hatch, colour="fill", clip=True, interpolate="linear", opacity=0.95)
    lane.add("rect", edges, color="transparent", stroke=look.ink, strokeDash=[4, 3], strokeWidth=1)
    lane.add("rect", blank, colour="fill", stroke=look.unmeasured_edge, strokeDash=[4, 3], strokeWidth=1)
    small = tall < 20
    style: dict[str, Any] = {"fontSize": 12 if small else 14, "fontWeight": 700, "align": "center"}
    lane.add("rect", pill, colour="fill", cornerRadius=4)
    lane.add("text", text, colour="colour", **style)
    lane.add("rect", hover, color="transparent", tooltip=BAND_TOOLTIP)
    _names(lane, names, under)
    _margins(lane, tall, gap)
    return lane


def _until(run: Interval, known: float) -> float:
    """When a run ends; an open one where the record does. 0.0, the dose itself, is an end too."""
    return known if run.end is None else run.end


def _runs(course: Course, scale: str) -> Iterator[Interval]:
    """Neighbours that look alike, joined, so that a number is written once; `because` is the first one's."""
    joined: Interval | None = None
    for run in (run for run in course.intervals if run.scale == scale):
        if (
            joined is not None
            and joined.end == run.start
            and joined.unmeasured == run.unmeasured
            and (joined.grade, joined.up_to) == (run.grade, run.up_to)
        ):
            joined = replace(joined, end=run.end)
            continue
        if joined is not None:
            yield joined
        joined = run
    if joined is not None:
        yield joined


def _hover(course: Course, run: Interval) -> dict[str, str]:
    titles = [finding_title(course.lib, run.scale, finding) for finding in run.because]
    shown = f"{run.grade}" if run.up_to == run.grade else f"{run.grade}, not ruled out up to {run.up_to}"
    return {
        "scale": run.scale,
        "grade": shown + (" (ambiguous)" if run.ambiguous else ""),
        "from": course.when(run.start),
        "because": ", ".join(titles) or "-",
        "waiting for": ", ".join(run.waiting_for) or "-",
        "judgement": ", ".join(run.judgement) or "-",
        "flags": ", ".join(run.flags) or "-",
        "definition": run.definition[:12],
    }


def _names(lane: Lane, names: list[dict[str, Any]], under: float) -> None:
    look = lane.paper.look
    lane.add(
        "rule",
        [{"x": n["x"], "y": 0, "y2": lane.height + 4} for n in names],
        color=look.muted,
        strokeDash=[1.5, 3],
        opacity=0.75,
    )
    lane.add(
        "rule",
        [{"x": n["x"], "y": under - 3, "y2": under + n["row"] * LABEL + 12} for n in names],
        color=look.ink,
    )
    for align in ("left", "right"):
        rows = [
            {"x": n["x"], "px": n["px"], "y": under + n["row"] * LABEL + 7, "text": n["text"]}
            for n in names
            if n["align"] == align
        ]
        lane.add(
            "text",
            rows,
            align=align,
            fontSize=11,
            color=look.page,
            stroke=look.page,
            strokeWidth=4,
            strokeJoin="round",
        )
        lane.add("text", rows, align=align, fontSize=11, color=look.ink)


def _margins(lane: Lane, tall: float, gap: float) -> None:
    """Names of the scales on the left; the peak, with its shape, on the right."""
    paper, course = lane.paper, lane.paper.course
    look = paper.look
    for i, scale in enumerate(course.scales):
        y = i * (tall + gap) + tall / 2
        size = 12.0 if tall > 20 else 11.0
        name = scale_name(course.lib, scale)
        bold = width(name, size, True) <= LEFT - 22
        size = size if bold else 10.5
        lane.write(fit(name, LEFT - 22, size, bold), -LEFT + 16, y, size=size, bold=bold)
        grades = [run.grade for run in course.intervals if run.scale == scale]
        peak = max(grades, default=0)
        if not peak:
            lane.write("never above 0", paper.across + 8, y, size=10.5, colour=look.muted)
            continue
        side = min(tall - 4, 18)
        lane.add(
            "point",
            [{"px": paper.across + 17, "y": y, "shape": SHAPES[peak]}],
            shapes=True,
            filled=True,
            opacity=1,
            color=look.grades[peak],
            size=(side * side) * (1.4 if peak == 2 else 0.9),
            stroke=look.edge,
            strokeWidth=1,
        )
        digit = 11 if tall > 20 else 10
        lane.write(
            str(peak),
            paper.across + 17,
            y + 0.5,
            size=digit,
            bold=True,
            align="center",
            colour=look.on_grade[peak],
        )
        at = next(run.start for run in course.intervals if run.scale == scale and run.grade == peak)
        lane.write(f"peak, {at:+.0f} h", paper.across + 31, y, size=10.5, colour=look.muted)
