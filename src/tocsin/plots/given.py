"""What was given: therapy, anti-cytokine drugs, steroids, procedures, antipyretics, with their doses."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from tocsin.plots.canvas import TOOLTIP, Lane, Paper, Row
from tocsin.plots.course import Fact
from tocsin.plots.labels import Rows, width
from tocsin.plots.look import CROSS, lowered, quantity

#: Class of drug to (symbol, filled); the order is the order of importance.
SYMBOLS = {
    "therapy": ("circle", True),
    "anti-cytokine": ("diamond", True),
    "steroid": ("diamond", False),
    "procedure": (CROSS, False),
    "antipyretic": ("triangle-down", False),
}
ROW = 16.0  # px
HALF = 6.0  # px, half a symbol


@dataclass(frozen=True, slots=True)
class Doses:
    """Doses of one drug close enough together to be one course, named once."""

    kind: str
    doses: tuple[Fact, ...]


def courses(paper: Paper) -> list[Doses]:
    """Group the doses of every drug: a pause over 36 h, or another dose, starts a new group."""
    course, found = paper.course, []
    for kind in SYMBOLS:
        for drug in course.lib.classes.get(kind, ()):
            group: list[Fact] = []
            for fact in course.of(drug):
                if fact.text == "retracted" or fact.value == 0:
                    continue
                if group and (fact.hours - group[-1].hours > 36 or fact.value != group[0].value):
                    found.append(Doses(kind, tuple(group)))
                    group = []
                group.append(fact)
            if group:
                found.append(Doses(kind, tuple(group)))
    return found


def words(paper: Paper, group: Doses) -> tuple[str, str]:
    """(long, short) name of a course: `dexamethasone 10 mg q6h ×8`, `dexamethasone`."""
    first = group.doses[0]
    name = lowered(paper.course.lib.measure(first.measure).title)
    long = f"{name} {quantity(first.value, first.unit)}".strip()
    if len(group.doses) > 1:
        steps = [b.hours - a.hours for a, b in pairwise(group.doses)]
        usual = median(steps)
        if len(steps) > 1 and usual >= 1 and all(abs(step - usual) <= 0.25 * usual for step in steps):
            long += f" q{usual:.0f}h"
        long += f" ×{len(group.doses)}"
    return long, name


def given_lane(paper: Paper) -> Lane:
    """The lane: every dose a symbol, every course named once, in two to four rows."""
    groups, look = courses(paper), paper.look
    order = list(SYMBOLS)
    groups.sort(key=lambda group: (order.index(group.kind), group.doses[0].hours))
    count = 2
    while count < 4 and _unnamed(_lay(paper, groups, count)):
        count += 1
    placed = _lay(paper, groups, count)
    used = max((row for _, row, _ in placed), default=0) + 1
    lane = Lane(paper, "given", max(2, used) * ROW + 2)
    lane.title("Given")
    if not groups:
        lane.write("no treatment charted", 8, lane.height / 2, size=10.5, colour=look.muted)
    for kind, (shape, filled) in SYMBOLS.items():
        rows: list[Row] = []
        text: list[Row] = []
        for group, row, spot in placed:
            if group.kind != kind:
                continue
            y = row * ROW + ROW / 2 + 1
            rows += [{"x": dose.hours, "y": y, "shape": shape, **dose.hover} for dose in group.doses]
            if spot is not None:
                text.append({"px": spot[0], "y": y + 0.5, "text": spot[1]})
        colour = look.given[kind]
        lane.add(
            "point",
            rows,
            shapes=True,
            tooltip=TOOLTIP,
            filled=filled,
            stroke=colour,
            opacity=1,
            strokeWidth=1.5,
            fill=colour if filled else look.panel,
            size=80 if "diamond" in shape else 62,
        )
        lane.add(
            "text",
            text,
            align="left",
            fontSize=11,
            color=look.panel,
            stroke=look.panel,
            strokeWidth=4,
            strokeJoin="round",
        )
        lane.add("text", text, align="left", fontSize=11, color=colour)
    return lane


Placed = list[tuple[Doses, int, tuple[float, str] | None]]


def _unnamed(placed: Placed) -> bool:
    return any(spot is None for _, _, spot in placed)


def _lay(paper: Paper, groups: list[Doses], count: int) -> Placed:
    """A row for every group, most important first: one where all its symbols and its name fit, else the best.

    Symbols are never left out; a name is shortened, then left out, where nothing is free.
    """
    room = Rows(count, paper.across, gap=3)
    placed: Placed = []
    for group in groups:
        spans = [(paper.px(d.hours) - HALF, paper.px(d.hours) + HALF) for d in group.doses]
        clear = [row for row in range(count) if not _hits(room, row, spans)]
        row = clear[0] if clear else min(range(count), key=lambda r: _hits(room, r, spans))
        named = next(
            (
                (r, spot)
                for text in words(paper, group)
                for r in clear
                if (spot := _spot(room, r, spans, text))
            ),
            None,
        )
        row, spot = named or (row, None)
        for span in spans:
            room.take(row, *span)
        if spot:
            room.take(row, spot[0], spot[0] + width(spot[1]))
        placed.append((group, row, spot))
    symbols = [(row, paper.px(dose.hours)) for group, row, _ in placed for dose in group.doses]
    # A symbol that found no clear row may stand on a name: then the name goes.
    return [
        (group, row, None if spot and _covered(symbols, row, spot) else spot) for group, row, spot in placed
    ]


def _covered(symbols: list[tuple[int, float]], row: int, spot: tuple[float, str]) -> bool:
    left, right = spot[0] - HALF, spot[0] + width(spot[1]) + HALF
    return any(row == other and left < px < right for other, px in symbols)


def _spot(room: Rows, row: int, spans: list[tuple[float, float]], text: str) -> tuple[float, str] | None:
    """Room for a name after the first symbol if the next ones leave it, else after the last, else before."""
    wide = width(text)
    for left in (spans[0][1] + 4, spans[-1][1] + 4, spans[0][0] - 4 - wide):
        own = any(left < b + 2 and left + wide > a - 2 for a, b in spans)
        if not own and room.free(row, left, left + wide):
            return left, text
    return None


def _hits(room: Rows, row: int, spans: list[tuple[float, float]]) -> int:
    return sum(left < b and right > a for left, right in spans for a, b in room.taken[row])
