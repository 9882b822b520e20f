"""What every figure of a cohort has: title, caption, key of grades, panels side by side, checked tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import pyarrow as pa

from tocsin.plots.bands import stripes
from tocsin.plots.canvas import fit
from tocsin.plots.course import PlotError
from tocsin.plots.labels import width as wide
from tocsin.plots.look import SHAPES
from tocsin.plots.look import look as theme_look
from tocsin.plots.surface import Surface

WIDTH, PAD, LINE = 1280.0, 16.0, 15.0  # px
MOST_GROUPS = 6
HIGHEST = 5
Names = Mapping[str, str] | None


def begun(name: str, title: str, theme: str) -> tuple[Surface, float]:
    """An empty page with its title, and the height at which the figure begins."""
    page = Surface(theme_look(theme), WIDTH, name=name)
    if not title:
        return page, 14.0
    page.write(fit(title, WIDTH - 2 * PAD, 16, True), PAD, 22, size=16, bold=True)
    return page, 44.0


def ended(page: Surface, y: float, *notes: str) -> alt.LayerChart:
    """The captions under the figure, in lines of the page's width, and the page as a chart."""
    y += 16
    for note in notes:
        for line in wrapped(note, page.width - 2 * PAD):
            page.write(line, PAD, y, colour=page.look.muted)
            y += LINE
    page.height = y + 4
    return page.chart()


def wrapped(text: str, room: float, size: float = 11) -> list[str]:
    """`text` in lines no wider than `room` px, cut between words.

    >>> wrapped("three short words", 70)
    ['three short', 'words']
    """
    lines: list[str] = []
    for word in text.split():
        if lines and wide(f"{lines[-1]} {word}", size) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(fit(word, room, size))
    return lines


def asked(table: pa.Table, names: Sequence[str], what: str) -> list[dict[str, Any]]:
    """The rows of these columns; raises `PlotError` where a column is missing."""
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise PlotError(
            f"no column {', '.join(missing)}\n  why: {what} is drawn from {', '.join(names)}\n"
            "  fix: the table that `tocsin cohort` writes under this name"
        )
    rows: list[dict[str, Any]] = table.select(list(names)).to_pylist()
    return rows


def nothing(what: str, fix: str) -> PlotError:
    """The error of a figure for which there is no row."""
    return PlotError(
        f"nothing to draw: no {what}\n  why: an empty picture would look like a finding\n  fix: {fix}"
    )


def few(groups: Iterable[str], *, most: int = MOST_GROUPS) -> list[str]:
    """The groups in order of first mention; raises `PlotError` for more than can be told apart."""
    found = list(dict.fromkeys(groups))
    if len(found) > most:
        raise PlotError(
            f"{len(found)} groups\n  why: more than {most} side by side cannot be read\n"
            "  fix: filter the table, or draw several figures"
        )
    return found


def counts(rows: Iterable[Mapping[str, Any]], name: str) -> None:
    """Raises `PlotError` for a number of patients or hours that cannot be."""
    for row in rows:
        value = row[name]
        if value is None or not 0 <= value < float("inf"):
            raise PlotError(
                f"{name} is {value}\n  why: it counts patients or hours\n  fix: a number of 0 or more"
            )


def graded(rows: Iterable[Mapping[str, Any]], *names: str) -> None:
    """Raises `PlotError` for a grade that no scale has."""
    for row in rows:
        for name in names:
            value = row[name]
            if value is None or not 0 <= value <= HIGHEST:
                raise PlotError(
                    f"{name} is {value}\n  why: grades are 0 to 5\n  fix: the grade of the scale drawn"
                )


def called(name: str | None, names: Names) -> str:
    """What to call a group or scale: its title where one is given, else its id."""
    return (names or {}).get(name or "", name or "")


def heading(
    group: str, scale: str | None, groups: Sequence[str], scales: Sequence[str | None], names: Names
) -> str:
    """What tells a panel from its neighbours: the group, the scale, or both."""
    parts = [called(group, names)] if len(groups) > 1 or group != "all" else []
    if len(scales) > 1 and scale:
        parts.append(called(scale, names))
    return " · ".join(parts) or "all patients"


def grid(
    count: int, left: float, gap: float, *, right: float = PAD, most: int = 3
) -> list[tuple[int, float, float]]:
    """(row, left, right) of `count` panels, as few beside one another as keep them wide."""
    across = 1 if count == 1 else 2 if count in (2, 4) else min(most, count)
    room = (WIDTH - left - right - gap * (across - 1)) / across
    return [
        (k // across, left + (k % across) * (room + gap), left + (k % across) * (room + gap) + room)
        for k in range(count)
    ]


def key(
    page: Surface,
    y: float,
    *,
    scale: str = "",
    lowest: int = 0,
    highest: int = HIGHEST,
    hatched: bool = False,
    blank: bool = False,
) -> float:
    """Colours and shapes of the grades in words; returns the height under it.

    `hatched` and `blank` add what is not ruled out and what nobody measured, for figures of spans.
    """
    look, x = page.look, PAD
    for grade in range(lowest, highest + 1):
        badge(page, x + 8, y, grade, size=150)
        page.write(f"grade {grade}", x + 20, y, size=12)
        x += 20 + wide(f"grade {grade}", 12) + 18
    for shown, fill, text in ((hatched, look.grades[max(highest - 1, 0)], "a higher one not ruled out"),
                              (blank, look.unmeasured, "nobody measuring")):  # fmt: skip
        if shown:
            box = {"x": x, "x2": x + 30, "y": y - 7, "y2": y + 7}
            page.add("rect", [box], color=fill)
            if fill != look.unmeasured:
                page.add("area", hatch([box], lambda _: look.grades[highest]), colour="fill")
            page.add("rect", [box], color="transparent", stroke=look.unmeasured_edge, strokeDash=[4, 3])
            page.write(text, x + 38, y, size=12)
            x += 38 + wide(text, 12) + 18
    if scale:
        page.write(f"graded under {scale}", x, y, colour=look.muted)
    return y + 24


def beside(
    spots: Sequence[float], wides: Sequence[float], low: float, high: float, gap: float = 8.0
) -> list[float]:
    """Middles of words as near as may be to `spots` (in order), none touching, within `low`..`high`.

    >>> beside([10, 15, 95], [20, 20, 20], 0, 100)
    [10.0, 38.0, 90.0]
    """
    found: list[float] = []
    edge = low
    for spot, room in zip(spots, wides, strict=True):
        found.append(max(spot, edge + room / 2))
        edge = found[-1] + room / 2 + gap
    edge = high
    for k in range(len(found) - 1, -1, -1):
        found[k] = float(min(found[k], edge - wides[k] / 2))
        edge = found[k] - wides[k] / 2 - gap
    return found


def badge(page: Surface, x: float, y: float, grade: int, *, size: float = 190.0) -> None:
    """A grade as its own symbol with its number on it."""
    look = page.look
    page.add(
        "point", [{"x": x, "y": y, "shape": SHAPES[grade]}], shapes=True, filled=True,
        size=size * 1.25 if grade == 2 else size, color=look.grades[grade], stroke=look.unmeasured_edge,
        strokeWidth=0.75,
    )  # fmt: skip
    page.write(str(grade), x, y + 0.5, size=11, bold=True, align="center", colour=look.on_grade[grade])


def hatch(boxes: Iterable[Mapping[str, float]], fill: Callable[[int], str]) -> list[dict[str, Any]]:
    """Stripes over boxes of `x, x2, y, y2`, as rows of one area layer; `fill` says the colour of the n-th."""
    return [
        {"x": x, "y": upper, "y2": lower, "group": f"{n} {k}", "fill": fill(n)}
        for n, box in enumerate(boxes)
        for k, stripe in enumerate(stripes(box["x"], box["x2"], box["y"], box["y2"]))
        for x, upper, lower in stripe
    ]


def percent(share: float) -> str:
    """A share of 1 in percent, with as many digits as it deserves.

    >>> percent(0.123), percent(0.004), percent(0.0), percent(1.0), percent(0.9996)
    ('12', '0.4', '0', '100', '99.96')
    """
    value = 100 * share
    if value in (0, 100):
        return f"{value:.0f}"
    if value < 10:
        return f"{value:.1f}" if value >= 0.05 else "<0.1"
    return f"{value:.0f}" if value < 99.5 else f"{value:.2f}"


def mixed(low: str, high: str, share: float) -> str:
    """A colour `share` of the way from `low` to `high`, both `#RRGGBB`.

    >>> mixed("#000000", "#FFFFFF", 0.5)
    '#808080'
    """
    pairs = ((int(low[i : i + 2], 16), int(high[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * min(max(share, 0.0), 1.0)):02X}" for a, b in pairs)
