"""One lane a patient: grade bands in days since the first dose, with what was given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.plots.canvas import fit
from tocsin.plots.cohort_page import (
    PAD,
    WIDTH,
    Names,
    asked,
    badge,
    begun,
    called,
    ended,
    graded,
    hatch,
    key,
    nothing,
)  # fmt: skip
from tocsin.plots.course import HOUR, PlotError
from tocsin.plots.labels import width as wide
from tocsin.plots.look import CROSS, number
from tocsin.plots.surface import Axis, Surface, day_step

PEOPLE = ("patient_id", "group", "zero", "doses", "ended", "death")
SPANS = ("patient_id", "scale", "start", "end", "grade", "up_to", "unmeasured")
GIVEN = ("patient_id", "measure", "kind", "time", "end", "text")
LEFT, BAND, SECOND, GIVEN_ROW, GAP = 214.0, 14.0, 7.0, 14.0, 4.0  # px
NEAR = 7.0  # px between two marks of a kind; nearer ones are one mark
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A span of one look, in hours since the patient's zero."""

    start: float
    end: float
    grade: int
    up_to: int
    unmeasured: bool


@dataclass(frozen=True, slots=True)
class Person:
    """One patient of a figure of lanes, with the runs of each scale drawn."""

    id: str
    group: str
    zero: datetime
    ended: float
    death: float | None
    doses: tuple[float, ...]
    runs: Mapping[str, tuple[Run, ...]]

    def highest(self, scale: str) -> int:
        return max((run.grade for run in self.runs.get(scale, ())), default=0)

    def up_to(self, scale: str) -> int:
        """The highest grade not ruled out while somebody measured."""
        return max((r.grade if r.unmeasured else r.up_to for r in self.runs.get(scale, ())), default=0)

    def onset(self, scale: str) -> float:
        return min((run.start for run in self.runs.get(scale, ()) if run.grade), default=float("inf"))


def persons(people: pa.Table, spans: pa.Table, scales: Sequence[str], most: int) -> tuple[list[Person], str]:
    """Patients by highest grade, then onset, with their runs; and in words who was left out.

    Only patients with a span of the first scale can be drawn. Of more than `most`, every k-th of that order
    is kept, so that each grade keeps about its share.

    Raises
    ------
    PlotError : a column is missing, fewer than one lane, nobody of this scale, time that goes back.
    """
    if most < 1:
        raise PlotError(f"{most} patients\n  why: a figure of nobody shows nothing\n  fix: 1 or more")
    asked(people.slice(0, 0), PEOPLE, "a figure of patients")
    asked(spans.slice(0, 0), SPANS, "a figure of patients")
    mine = spans.filter(pc.is_in(spans["scale"], pa.array(scales, pa.string())))
    # Of a million patients only those whose spans are kept become Python objects.
    kept = pc.unique(mine["patient_id"])
    who = asked(people.filter(pc.is_in(people["patient_id"], kept)), PEOPLE, "a figure of patients")
    zero = {row["patient_id"]: row["zero"] for row in who}
    last = {row["patient_id"]: row["ended"] for row in who}
    runs: dict[str, dict[str, list[Run]]] = {}
    rows = mine.select(list(SPANS)).sort_by([("patient_id", "ascending"), ("start", "ascending")]).to_pylist()
    graded(rows, "grade", "up_to")
    for row in rows:
        if row["patient_id"] in zero:
            _joined(runs.setdefault(row["patient_id"], {}).setdefault(row["scale"], []), row, zero, last)
    found = [
        Person(
            row["patient_id"], row["group"], row["zero"], _hours(row["ended"], row["zero"]),
            None if row["death"] is None else _hours(row["death"], row["zero"]),
            tuple(_hours(dose, row["zero"]) for dose in row["doses"] or ()),
            {scale: tuple(many) for scale, many in runs[row["patient_id"]].items()},
        )
        for row in who
        if runs.get(row["patient_id"], {}).get(scales[0])
    ]  # fmt: skip
    if not found:
        raise nothing(f"span of {scales[0]}", f"spans graded under {scales[0]}, or another scale")
    found.sort(key=lambda one: (-one.highest(scales[0]), one.onset(scales[0]), one.id))
    every = -(-len(found) // most)
    drawn = found[::every]
    said = f"{len(drawn):,} of {len(people):,} patients drawn"
    if every > 1:
        said += f": every {_nth(every)} by highest grade and onset"
    if len(found) < len(people):
        said += f"{',' if every > 1 else ':'} of the {len(found):,} whose spans are kept"
    return drawn, f"{said}; by highest grade, then onset." if every == 1 else f"{said}."


def _nth(k: int) -> str:
    """An ordinal.

    >>> [_nth(k) for k in (2, 3, 11, 21, 34)]
    ['2nd', '3rd', '11th', '21st', '34th']
    """
    ending = "th" if 10 <= k % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(k % 10, "th")
    return f"{k}{ending}"


def _hours(time: datetime, zero: datetime) -> float:
    return (time - zero) / HOUR


def _joined(runs: list[Run], row: Row, zero: Mapping[str, datetime], last: Mapping[str, datetime]) -> None:
    """Add a span; one that looks like its neighbour makes that longer. Open ones end with the record."""
    origin, stop = zero[row["patient_id"]], row["end"] or max(last[row["patient_id"]], row["start"])
    start, end = _hours(row["start"], origin), _hours(stop, origin)
    if end < start:
        raise PlotError(
            f"{row['patient_id']}: a span ends at {end:.1f} h and starts at {start:.1f} h\n"
            "  why: time goes one way\n  fix: spans as grading gives them"
        )
    look = (row["grade"], row["up_to"], bool(row["unmeasured"]))
    if runs and runs[-1].end == start and (runs[-1].grade, runs[-1].up_to, runs[-1].unmeasured) == look:
        start = runs.pop().start
    runs.append(Run(start, end, *look))


def until(found: Iterable[Person], days: float | None) -> float:
    """Hours at which the axis ends: as asked, else when the last patient's record does, in whole days."""
    if days is not None:
        if not days > 0:
            raise PlotError(f"{days} days\n  why: an axis has a length\n  fix: more than 0")
        return days * 24.0
    last = max(one.ended for one in found)
    return max(1.0, float(-(-last // 24))) * 24.0


def swimlane(
    people: pa.Table,
    spans: pa.Table,
    given: pa.Table,
    scale: str,
    *,
    second: str | None = None,
    most: int = 60,
    days: float | None = None,
    names: Names = None,
    note: str = "",
    title: str = "",
    theme: str = "light",
) -> alt.LayerChart:
    """Draw one lane a patient, coloured by grade, with doses and treatments, highest grades first.

    Parameters
    ----------
    people : `patient_id, group, zero, doses, ended, death`; instants.
    spans : `patient_id, scale, start, end, grade, up_to, unmeasured`; other scales are ignored.
    given : `patient_id, measure, kind, time, end, text`: kinds anti-cytokine and steroid are marks,
        vasopressor runs and the oxygen device `ventilator` bars under the lane.
    scale : of the lane.  second : of a thinner lane beneath it, as ICANS.
    most : patients; of more, every k-th is drawn and the figure says so.  days : where to end.

    Raises
    ------
    PlotError : a column is missing, nobody graded under `scale`, a grade that is none, time that goes back.
    """
    scales = [scale, *([second] if second else [])]
    drawn, said = persons(people, spans, scales, most)
    asked(given.slice(0, 0), GIVEN, "a figure of lanes")
    ids = {one.id for one in drawn}
    some = given.filter(pc.is_in(given["patient_id"], pa.array(sorted(ids), pa.string())))
    treated: dict[str, list[Row]] = {}
    for row in some.select(list(GIVEN)).to_pylist():
        treated.setdefault(row["patient_id"], []).append(row)
    end = until(drawn, days)
    page, y = begun("swimlane", title, theme)
    highest = max(one.up_to(s) for one in drawn for s in scales)
    y = key(page, y + 6, scale=called(scale, names), highest=max(highest, 1), hatched=True, blank=True)
    y = _symbols(page, y, second and called(second, names))
    axis = Axis(0, end, PAD + LEFT, WIDTH - PAD - 8)
    tall = BAND + (SECOND + 1 if second else 0) + GIVEN_ROW + GAP
    top, bottom = y + 22, y + 22 + tall * len(drawn) + 4
    page.panel(axis.start - 2, axis.end + 8, top, bottom)
    _days(page, axis, top, bottom)
    groups = len({one.group for one in drawn}) > 1
    layers = _Layers([], [], [], [])
    before = -1
    for k, one in enumerate(drawn):
        at = top + 4 + k * tall
        grade = one.highest(scale)
        if grade != before and before >= 0:
            page.add("rule", [{"x": PAD, "x2": axis.end + 8, "y": at - GAP / 2}], color=page.look.edge)
        before = grade
        _name(page, one, grade, at, groups, names)
        _bands(page, one, scale, axis, at, at + BAND, layers)
        if second:
            _bands(page, one, second, axis, at + BAND + 1, at + BAND + 1 + SECOND, layers)
    _flush(page, layers)
    for k, one in enumerate(drawn):
        at = top + 4 + k * tall
        _treatments(page, one, treated.get(one.id, ()), axis, at, tall)
    page.write("days since the first dose", axis.end + 8, bottom + 30, align="right", colour=page.look.muted)
    beyond = sum(1 for one in drawn if one.ended > end + 1e-9)
    if beyond:
        said += f" {beyond:,} of them go on after day {number(end / 24)}."
    said += (
        " Doses of one kind within a few hours of each other are one mark; an upright line ends the record."
    )
    return ended(page, bottom + 28, said, note)


@dataclass(slots=True)
class _Layers:
    """Boxes of all lanes, collected so that each kind of mark is one layer."""

    solid: list[dict[str, Any]]
    blank: list[dict[str, Any]]
    open: list[dict[str, Any]]
    words: list[tuple[str, float, float, str]]


def _bands(
    page: Surface, one: Person, scale: str, axis: Axis, top: float, bottom: float, to: _Layers
) -> None:  # fmt: skip
    look = page.look
    for run in one.runs.get(scale, ()):
        left, right = axis(max(run.start, 0.0)), axis(min(run.end, axis.high))
        if run.start >= axis.high or right <= left:
            continue
        shown = f"{run.grade}" if run.up_to == run.grade else f"{run.grade}, not ruled out up to {run.up_to}"
        tip = {"patient": one.id, "scale": scale, "grade": "nobody measuring" if run.unmeasured else shown,
               "hours": f"{run.start:.0f} to {run.end:.0f}"}  # fmt: skip
        box: dict[str, Any] = {"x": left, "x2": right, "y": top, "y2": bottom, **tip}
        if run.unmeasured:
            to.blank.append({**box, "y": top + 0.5, "y2": bottom - 0.5})
            continue
        to.solid.append({**box, "fill": look.grades[run.grade]})
        if run.up_to > run.grade:
            to.open.append({**box, "fill": look.grades[run.up_to]})
        if run.grade and right - left > 12 and bottom - top >= 12:
            to.words.append(
                (str(run.grade), (left + right) / 2, (top + bottom) / 2, look.on_grade[run.grade])
            )


def _flush(page: Surface, layers: _Layers) -> None:
    look, tips = page.look, ("patient", "scale", "grade", "hours")
    page.add("rect", layers.solid, colour="fill", tooltip=tips)
    page.add("area", hatch(layers.open, lambda n: str(layers.open[n]["fill"])), colour="fill")
    page.add("rect", layers.open, color="transparent", stroke=look.ink, strokeDash=[3, 2], strokeWidth=0.7)
    page.add("rect", layers.blank, color=look.unmeasured, stroke=look.unmeasured_edge, strokeDash=[3, 2],
             strokeWidth=0.8, tooltip=tips)  # fmt: skip
    for text, x, y, colour in layers.words:
        page.write(text, x, y + 0.5, bold=True, align="center", colour=colour)


def _name(page: Surface, one: Person, grade: int, y: float, groups: bool, names: Names) -> None:
    badge(page, PAD + 8, y + BAND / 2, grade, size=140)
    room = LEFT - 32
    name = fit(one.id, room * (0.55 if groups else 1.0), 11.5)
    page.write(name, PAD + 24, y + BAND / 2, size=11.5)
    if groups:
        start = PAD + 24 + wide(name, 11.5) + 8
        page.write(fit(called(one.group, names), PAD + LEFT - 8 - start, 11), start, y + BAND / 2,
                   colour=page.look.muted)  # fmt: skip


def _days(page: Surface, axis: Axis, top: float, bottom: float) -> None:
    days = axis.high / 24
    step = day_step(days, axis.end - axis.start)
    ticks = [k * step for k in range(int(days / step + 1e-9) + 1)]
    page.rules_across(axis, top + 1, bottom - 1, [24 * t for t in ticks[1:]])
    for tick in ticks:
        for y in (top - 10, bottom + 13):
            page.write(number(tick), axis(24 * tick), y, size=11.5, align="center")


SYMBOLS = (
    ("circle", "therapy", "therapy dose"),
    ("diamond", "anti-cytokine", "tocilizumab or another anti-cytokine drug"),
    ("triangle-up", "steroid", "steroid"),
    (CROSS, "death", "death"),
)


def _symbols(page: Surface, y: float, second: str | None) -> float:
    look, x = page.look, PAD
    for shape, kind, text in SYMBOLS:
        _mark(page, [(x + 8, y)], shape, kind)
        page.write(text, x + 20, y, size=12)
        x += 20 + wide(text, 12) + 18
    for text, colour, thin in (("vasopressor", look.pressor, False), ("ventilator", look.oxygen, True)):
        _run(page, [{"x": x, "x2": x + 30, "y": y}], colour, thin)
        page.write(text, x + 38, y, size=12)
        x += 38 + wide(text, 12) + 18
    if second:
        text = f"thin band: {second}"
        page.write(text, min(x, WIDTH - PAD - wide(text)), y, colour=look.muted)
    return y + 22


def _mark(page: Surface, at: Sequence[tuple[float, float]], shape: str, kind: str) -> None:
    look = page.look
    rows = [{"x": x, "y": y} for x, y in at]
    if shape == CROSS:
        page.add("point", rows, shape=shape, size=70, color=look.page, filled=False, strokeWidth=5)
        page.add("point", rows, shape=shape, size=70, color=look.ink, filled=False, strokeWidth=2.2)
        return
    hollow = kind == "steroid"
    page.add(
        "point",
        rows,
        shape=shape,
        size=58 if shape != "circle" else 44,
        filled=True,
        color=look.panel if hollow else look.given[kind],
        stroke=look.given[kind] if hollow else look.panel,
        strokeWidth=1.4 if hollow else 0.8,
    )


def _run(page: Surface, rows: Sequence[Mapping[str, float]], colour: str, double: bool) -> None:
    """A run of a drug as one thick bar, of a device as two thin lines: told apart without colour."""
    if double:
        page.add(
            "rule",
            [{**row, "y": row["y"] + d} for row in rows for d in (-2, 2)],
            color=colour,
            strokeWidth=1.4,
        )
    else:
        page.add("rule", rows, color=colour, strokeWidth=4)


def _treatments(
    page: Surface, one: Person, given: Iterable[Row], axis: Axis, top: float, tall: float
) -> None:
    look, foot = page.look, top + tall - GAP
    high, low = foot - GIVEN_ROW + 3.5, foot - 4.5
    page.add("rule", [{"x": axis(min(one.ended, axis.high)), "y": top, "y2": foot}], color=look.line)
    runs: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    marks: dict[str, list[tuple[float, float]]] = {}
    for row in given:
        start = _hours(row["time"], one.zero)
        end = _hours(row["end"], one.zero) if row["end"] else start
        if end < 0 or start > axis.high:
            continue
        device = row["kind"] == "oxygen" and row["text"] == "ventilator"
        if device or row["kind"] == "vasopressor":
            left = axis(max(start, 0.0))
            runs[device].append({"x": left, "x2": max(axis(min(end, axis.high)), left + 2), "y": high})
        elif row["kind"] in ("anti-cytokine", "steroid"):
            marks.setdefault(row["kind"], []).append((axis(max(start, 0.0)), low))
    for double, colour in ((False, look.pressor), (True, look.oxygen)):
        _run(page, runs[double], colour, double)
    marks["therapy"] = [(axis(d), low) for d in one.doses if 0 <= d <= axis.high]
    for shape, kind, _ in reversed(SYMBOLS[:3]):
        _mark(page, _apart(marks.get(kind, ())), shape, kind)
    if one.death is not None and 0 <= one.death <= axis.high:
        _mark(page, [(axis(one.death), top + BAND / 2)], CROSS, "death")


def _apart(marks: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Marks of one kind without those that would cover the one before."""
    kept: list[tuple[float, float]] = []
    for x, y in sorted(marks):
        if not kept or x - kept[-1][0] >= NEAR:
            kept.append((x, y))
    return kept
