"""Flows of patients: between scales, from day to day, and out of the cohort."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pyarrow as pa

from tocsin.plots.canvas import fit
from tocsin.plots.cohort_page import (
    PAD,
    WIDTH,
    Names,
    asked,
    badge,
    begun,
    called,
    counts,
    ended,
    graded,
    key,
    nothing,
    percent,
    wrapped,
)  # fmt: skip
from tocsin.plots.course import PlotError
from tocsin.plots.surface import Surface, apart

CONFUSION = ("group", "rows", "columns", "row", "column", "patients")
DAYS = ("group", "scale", "day", "grade", "next", "patients")
UNMEASURED, OVER, DEAD = -1, -2, -3
WORDS = {UNMEASURED: "nobody measuring", OVER: "record over", DEAD: "dead"}
#: From the top: who is gone, who was not measured, then grades; the highest stand on a flat line at the foot.
ORDER = (OVER, UNMEASURED, 0, 1, 2, 3, 4, 5, DEAD)
TALL, NODE, GAP, POINTS = 400.0, 16.0, 7.0, 24  # px; points of a ribbon
BOX, LOST, BETWEEN = 520.0, 520.0, 46.0  # px of the flow of patients
Links = Mapping[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class Node:
    """Patients in one state of one column: where the block stands."""

    state: int
    count: int
    top: float
    bottom: float


def scale_flow(
    confusion: pa.Table,
    *,
    scales: Sequence[str] | None = None,
    group: str | None = None,
    names: Names = None,
    note: str = "",
    title: str = "",
    theme: str = "light",
) -> alt.LayerChart:
    """How the same patients stand under two scales or more: ribbons between their highest grades.

    Parameters
    ----------
    confusion : `group, rows, columns, row, column, patients`: how many stand at grade `row` of scale `rows`
        and `column` of scale `columns`; a pair may stand in either order.
    scales : from left to right; else the first pair of the table.  group : one; else all together.

    Raises
    ------
    PlotError : a column is missing, a pair of neighbours that is not in the table, a grade that is none.
    """
    rows = _of(asked(confusion, CONFUSION, "the flow between scales"), group)
    counts(rows, "patients")
    graded(rows, "row", "column")
    if not rows:
        raise nothing("pair of scales", "a cohort graded under two scales")
    wanted = list(scales) if scales is not None else [rows[0]["rows"], rows[0]["columns"]]
    if len(wanted) < 2:
        raise PlotError(
            f"{len(wanted)} scale\n  why: a flow goes from one to another\n  fix: two scales or more"
        )
    links = [_between(rows, a, b) for a, b in itertools.pairwise(wanted)]
    page, y = begun("scale-flow", title, theme)
    y = key(page, y + 6, highest=max(max(pair) for of in links for pair in of)) + 6
    heads = [called(scale, names) for scale in wanted]
    bottom = _columns(page, links, heads, y + 20, said=True)
    moved = [sum(n for (a, b), n in of.items() if a != b) for of in links]
    total = sum(links[0].values())
    told = "; ".join(
        f"{n:,} of {total:,} patients ({percent(n / total)} %) have another highest grade under "
        f"{b} than under {a}"
        for n, a, b in zip(moved, heads, heads[1:], strict=False)
    )
    return ended(page, bottom + 8, f"{told}. Ribbons have the colour of the left grade.", note)


def _of(rows: Sequence[dict[str, Any]], group: str | None) -> list[dict[str, Any]]:
    found = [row for row in rows if group is None or row["group"] == group]
    if group is not None and not found:
        known = ", ".join(dict.fromkeys(str(row["group"]) for row in rows)) or "none"
        raise nothing(f"row of group {group}", f"one of: {known}")
    return found


def _between(rows: Iterable[Mapping[str, Any]], left: str, right: str) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    for row in rows:
        if (row["rows"], row["columns"]) == (left, right):
            pair = (row["row"], row["column"])
        elif (row["rows"], row["columns"]) == (right, left):
            pair = (row["column"], row["row"])
        else:
            continue
        found[pair] = found.get(pair, 0) + row["patients"]
    found = {pair: n for pair, n in found.items() if n}
    if not found:
        raise nothing(f"patient graded under {left} and {right}", "a pair of scales of the table")
    return found


def daily_flow(
    days: pa.Table,
    *,
    scale: str | None = None,
    group: str | None = None,
    last: int = 14,
    names: Names = None,
    note: str = "",
    title: str = "",
    theme: str = "light",
) -> alt.LayerChart:
    """How patients go from one day's highest grade to the next: a column a day, ribbons between.

    Parameters
    ----------
    days : `group, scale, day, grade, next, patients`: how many stood at `grade` on `day` and at `next` on the
        day after; -1 nobody measuring, -2 record over, -3 dead.
    scale : which, where the table has several.  group : one; else all together.  last : the last day drawn.

    Raises
    ------
    PlotError : a column is missing, no such day, several scales and none named, a state that is none.
    """
    rows = _of(asked(days, DAYS, "the flow from day to day"), group)
    scales = list(dict.fromkeys(row["scale"] for row in rows))
    if scale is None and len(scales) > 1:
        raise PlotError(
            f"{len(scales)} scales: {', '.join(scales)}\n  why: they cannot be added\n  fix: name one"
        )
    rows = [row for row in rows if row["scale"] == (scale or row["scale"]) and 0 <= row["day"] < last]
    counts(rows, "patients")
    for row in rows:
        for name in ("grade", "next"):
            if row[name] not in ORDER:
                raise PlotError(
                    f"{name} is {row[name]}\n  why: a day ends in a grade or -1, -2, -3\n  fix: 5 or less"
                )
    rows = [row for row in rows if row["patients"]]
    if not rows:
        raise nothing("patient on two days in a row", "a cohort followed for two days or more")
    first, final = min(r["day"] for r in rows), max(r["day"] for r in rows)
    links: list[dict[tuple[int, int], int]] = [{} for _ in range(final - first + 1)]
    for row in rows:
        of, pair = links[row["day"] - first], (row["grade"], row["next"])
        of[pair] = of.get(pair, 0) + row["patients"]
    page, y = begun("daily-flow", title, theme)
    seen = {state for of in links for pair in of for state in pair}
    named = called(scale or scales[0], names)
    y = key(page, y + 6, scale=named, highest=max(max(seen), 1), blank=UNMEASURED in seen) + 6
    heads = [f"day {first}", *(str(first + k) for k in range(1, len(links) + 1))]
    bottom = _columns(page, links, heads, y + 20, said=False)
    return ended(
        page,
        bottom + 8,
        "Each column holds every patient once, at the highest grade of that day since the "
        "first dose. Ribbons have the colour of the day they leave.",
        note,
    )


def _columns(page: Surface, links: Sequence[Links], heads: Sequence[str], top: float, *, said: bool) -> float:
    """Blocks and ribbons from left to right; returns where the lowest block ends."""
    look = page.look
    counted = [_counts(links, k) for k in range(len(links) + 1)]
    most = max(sum(of.values()) for of in counted)
    states = [s for s in ORDER if any(s in of for of in counted)]
    scale = (TALL - GAP * (len(states) - 1)) / most
    side = 190.0 if said else 132.0
    step = (WIDTH - 2 * PAD - 2 * side - NODE) / len(links)
    xs = [PAD + side + k * step for k in range(len(counted))]
    columns = [_stacked(of, states, scale, top) for of in counted]
    for k, of in enumerate(links):
        _ribbons(page, of, columns[k], columns[k + 1], xs[k] + NODE, xs[k + 1], scale)
    for k, (x, nodes) in enumerate(zip(xs, columns, strict=True)):
        total = sum(counted[k].values())
        head = fit(heads[k], step - 6 if 0 < k < len(xs) - 1 else side, 13 if said else 12, said)
        page.write(head, x + NODE / 2, top - 12, size=13 if said else 12, bold=said, align="center")
        for node in nodes.values():
            _block(page, node, x, heads[k], total)
        if k == 0 or k == len(xs) - 1 or said:
            _told(page, nodes, x, total, left=k == 0, detail=said, inner=0 < k < len(xs) - 1, top=top)
    page.add("rule", [{"x": xs[0], "x2": xs[-1] + NODE, "y": top + TALL + 5}], color=look.edge)
    return top + TALL


def _counts(links: Sequence[Links], column: int) -> dict[int, int]:
    """How many stand in each state of a column: as they come or as they go, whichever is more."""
    come: dict[int, int] = {}
    go: dict[int, int] = {}
    if column:
        for (_, state), n in links[column - 1].items():
            come[state] = come.get(state, 0) + n
    if column < len(links):
        for (state, _), n in links[column].items():
            go[state] = go.get(state, 0) + n
    return {
        state: max(come.get(state, 0), go.get(state, 0)) for state in ORDER if state in come or state in go
    }


def _stacked(of: Mapping[int, int], states: Sequence[int], scale: float, top: float) -> dict[int, Node]:
    """The blocks of a column, from the foot up."""
    nodes: dict[int, Node] = {}
    at = top + TALL
    for state in reversed(states):
        if of.get(state):
            nodes[state] = Node(state, of[state], at - of[state] * scale, at)
            at = nodes[state].top - GAP
    return nodes


def _ribbons(
    page: Surface,
    of: Links,
    left: Mapping[int, Node],
    right: Mapping[int, Node],
    x: float,
    x2: float,
    scale: float,
) -> None:
    """Smooth bands of equal height at both ends, in the order of the blocks so that few cross."""
    out = {state: node.top for state, node in left.items()}
    into = {state: node.top for state, node in right.items()}
    rank = {state: k for k, state in enumerate(ORDER)}
    pairs = sorted(of, key=lambda pair: (rank[pair[0]], rank[pair[1]]))
    starts = {}
    for pair in pairs:
        starts[pair] = out[pair[0]]
        out[pair[0]] += of[pair] * scale
    for pair in sorted(of, key=lambda pair: (rank[pair[1]], rank[pair[0]])):
        tall, a, b = of[pair] * scale, starts[pair], into[pair[1]]
        into[pair[1]] += tall
        tip = {"from": _word(pair[0]), "to": _word(pair[1]), "patients": of[pair]}
        rows = []
        for n in range(POINTS + 1):
            t = n / POINTS
            y = a + (b - a) * (1 - math.cos(math.pi * t)) / 2
            rows.append({"x": x + (x2 - x) * t, "y": y, "y2": y + tall, **tip})
        page.add("area", rows, color=_colour(page, pair[0]), opacity=0.5, tooltip=("from", "to", "patients"),
                 stroke=page.look.page, strokeWidth=0.4)  # fmt: skip


def _colour(page: Surface, state: int) -> str:
    look = page.look
    if state >= 0:
        return look.grades[state]
    return {UNMEASURED: look.unmeasured, OVER: look.line, DEAD: look.ink}[state]


def _word(state: int) -> str:
    return f"grade {state}" if state >= 0 else WORDS[state]


def _block(page: Surface, node: Node, x: float, column: str, total: int) -> None:
    look = page.look
    box = {
        "x": x, "x2": x + NODE, "y": node.top, "y2": max(node.bottom, node.top + 1), "column": column,
        "state": _word(node.state), "patients": node.count, "share": f"{percent(node.count / total)} %",
    }  # fmt: skip
    edge: dict[str, Any] = {"strokeDash": [4, 3]} if node.state == UNMEASURED else {}
    page.add("rect", [box], color=_colour(page, node.state), stroke=look.unmeasured_edge, strokeWidth=0.8,
             tooltip=("column", "state", "patients", "share"), **edge)  # fmt: skip
    if node.state >= 0 and node.bottom - node.top > 14:
        page.write(str(node.state), x + NODE / 2, (node.top + node.bottom) / 2 + 0.5, size=12, bold=True,
                   align="center", colour=look.on_grade[node.state])  # fmt: skip


def _told(
    page: Surface, nodes: Mapping[int, Node], x: float, total: int, *, left: bool, detail: bool, inner: bool,
    top: float,
) -> None:  # fmt: skip
    """Each block in words, beside the column."""
    look = page.look
    many = [*nodes.values()]
    places = apart([(node.top + node.bottom) / 2 for node in many], 17, top + 4, top + TALL - 4)
    side = -1 if left else 1
    start = x - 12 if left else x + NODE + 12
    for place, node in zip(places, many, strict=True):
        middle = (node.top + node.bottom) / 2
        page.add("line", [{"x": x if left else x + NODE, "y": middle}, {"x": start - 2 * side, "y": place}],
                 color=look.line)  # fmt: skip
        text = f"{node.count:,} ({percent(node.count / total)} %)"
        halo = look.page if inner else None
        if node.state >= 0:
            badge(page, start + 7 * side, place, node.state, size=140)
            page.write(text, start + 19 * side, place, size=12, align="right" if left else "left", halo=halo)
        else:
            said = f"{_word(node.state)} {node.count:,}"
            page.write(said, start, place, align="right" if left else "left", colour=look.muted, halo=halo)


def patient_flow(
    rows: Sequence[tuple[str, int, str]], *, note: str = "", title: str = "", theme: str = "light"
) -> alt.LayerChart:
    """Boxes from who was there to who was analysed, with why the others left.

    Parameters
    ----------
    rows : `(label, n, why_left)` from first to last. `why_left` says why those left who are not in the next
        box; several reasons may be lines of it.

    Raises
    ------
    PlotError : no row, a number below 0, more patients further down, or some who left without a reason.
    """
    if not rows:
        raise nothing("step", "at least one `(label, n, why_left)`")
    counts([{"n": n} for _, n, _ in rows], "n")
    for (label, n, why), (after, m, _) in itertools.pairwise(rows):
        if m > n:
            raise PlotError(
                f"{m:,} {after} of {n:,} {label}\n  why: nobody joins on the way\n  fix: check the steps"
            )
        if m < n and not why:
            raise PlotError(
                f"{n - m:,} left after `{label}`\n  why: nobody is dropped silently\n  fix: say why"
            )
    page, y = begun("patient-flow", title, theme)
    look, middle = page.look, PAD + BOX / 2 + 70
    left, right = middle - BOX / 2, middle + BOX / 2
    for k, (label, n, why) in enumerate(rows):
        lines = wrapped(label, BOX - 150, 14)
        tall = max(50.0, 20.0 * len(lines) + 20)
        page.add("rect", [{"x": left, "x2": right, "y": y, "y2": y + tall, "label": label, "patients": n}],
                 color=look.panel, stroke=look.ink if k == len(rows) - 1 else look.line, cornerRadius=4,
                 strokeWidth=1.8 if k == len(rows) - 1 else 1.2, tooltip=("label", "patients"))  # fmt: skip
        for m, line in enumerate(lines):
            page.write(line, left + 108, y + tall / 2 + (m - (len(lines) - 1) / 2) * 20, size=14)
        page.write(f"{n:,}", left + 92, y + tall / 2, size=19, bold=True, align="right")
        y += tall
        if k == len(rows) - 1:
            break
        lost = n - rows[k + 1][1]
        reasons = (
            [part for line in why.split("\n") for part in wrapped(line, LOST - 130, 12.5)] if lost else []
        )
        deep = max(BETWEEN, 17.0 * len(reasons) + 34 if lost else 0)
        page.add("rule", [{"x": middle, "y": y, "y2": y + deep - 4}], color=look.ink, strokeWidth=1.4)
        page.add("point", [{"x": middle, "y": y + deep - 6}], shape="triangle-down", filled=True, size=70,
                 color=look.ink)  # fmt: skip
        if lost:
            at, high = y + deep / 2, 17.0 * len(reasons) + 16
            box = {"x": WIDTH - PAD - LOST, "x2": WIDTH - PAD, "y": at - high / 2, "y2": at + high / 2}
            page.add("rule", [{"x": middle, "x2": box["x"], "y": at}], color=look.ink, strokeWidth=1.4)
            page.add(
                "rect",
                [{**box, "left": lost, "why": why}],
                color=look.page,
                stroke=look.line,
                cornerRadius=4,
                strokeDash=[4, 3],
                tooltip=("left", "why"),
            )
            page.write(f"{lost:,}", box["x"] + 66, at, size=14, bold=True, align="right")
            for m, line in enumerate(reasons):
                page.write(line, box["x"] + 80, at + (m - (len(reasons) - 1) / 2) * 17, size=12.5)
        y += deep
    return ended(page, y, note)
