"""A report's tables as people read them: shares with intervals, times in one unit a row, groups abreast."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tocsin.plots.look import number

Row = Mapping[str, Any]
DAY = 24.0
#: From which longest time (hours) on a row is told in days.
IN_DAYS_FROM = 96.0
#: Groups that fit side by side on a page.
ABREAST = 4


@dataclass(frozen=True, slots=True)
class Shown:
    """A table for a page or a terminal. Rows are texts; `level` 1 is set in under the row before.

    `file` names the table of the same numbers beside the page.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    levels: tuple[int, ...]
    file: str
    note: str = ""


def percent(share: float | None) -> str:
    """A share in percent, one digit after the point; none and all are exact.

    >>> percent(0.0833), percent(0.5), percent(0.0), percent(1.0), percent(0.0001), percent(None)
    ('8.3 %', '50.0 %', '0 %', '100 %', '<0.1 %', '')
    """
    if share is None:
        return ""
    if share in (0.0, 1.0):
        return f"{100 * share:.0f} %"
    value = f"{100 * share:.1f}"
    return "<0.1 %" if value == "0.0" else ">99.9 %" if value == "100.0" else f"{value} %"


def share_text(row: Row) -> str:
    """`6 of 10: 60.0 % (26.2-87.8)`; a share of nobody says so.

    >>> share_text({"n": 6, "of": 10, "share": 0.6, "low": 0.2624, "high": 0.8784})
    '6 of 10: 60.0 % (26.2–87.8)'
    """
    if not row["of"]:
        return "nobody had one"
    return f"{row['n']:,} of {row['of']:,}: {percent(row['share'])} ({ends(row)})"


def ends(row: Row) -> str:
    """The interval of a share, in percent."""
    return "–".join(percent(row[end]).removesuffix(" %") for end in ("low", "high"))


def longest(row: Row) -> float:
    """The longest time in a row of `times`, in hours; 0 where there is none."""
    return max((row[name] or 0.0 for name in ("median", "high", "q3", "most")), default=0.0)


def in_one_unit(rows: Iterable[Row]) -> Callable[[Row], str]:
    """`time_text`, with hours or days chosen for all groups of a `what` alike."""
    most: dict[str, float] = {}
    for row in rows:
        most[row["what"]] = max(most.get(row["what"], 0.0), longest(row))
    return lambda row: time_text(row, most[row["what"]])


def time_text(row: Row, most: float | None = None) -> str:
    """`21.5 h (10–48); IQR 20.3–28; range 10–48; n 6`, in days where the longest is long; `most` says how
    long that is among the groups beside it.

    >>> time_text({"what": "onset", "n": 2, "events": 2, "median": 50.0, "low": None, "high": None,
    ...            "q1": 45.0, "q3": 55.0, "least": 40.0, "most": 60.0, "method": "observed"})
    '50 h (–); IQR 45–55; range 40–60; n 2'
    """
    if not row["n"]:
        return "none"
    days = row["what"].startswith("days-")
    far = longest(row) if most is None else most
    scale, unit = (1.0, "d") if days else (DAY, "d") if far >= IN_DAYS_FROM else (1.0, "h")

    def told(value: float | None, missing: str = "") -> str:
        return missing if value is None else number(value / scale)

    median = told(row["median"], "not reached")
    middle = f"{median} {unit}" if row["median"] is not None else median
    middle_ends = f"{told(row['low'])}–{told(row['high'])}"
    quarters = f"{told(row['q1'], 'n.r.')}–{told(row['q3'], 'n.r.')}"
    spread = f"{told(row['least'])}–{told(row['most'])}" if row["least"] is not None else "–"
    seen = f"{row['events']} of {row['n']}" if row["method"] == "kaplan-meier" else f"{row['n']:,}"
    word = "seen in" if row["method"] == "kaplan-meier" else "n"
    return f"{middle} ({middle_ends}); IQR {quarters}; range {spread}; {word} {seen}"


def side_by_side(
    table: pa.Table,
    key: str,
    told: Callable[[Row], str],
    *,
    title: str,
    file: str,
    note: str = "",
    keep: Callable[[Row], bool] = lambda row: True,
    level: Callable[[Row], int] = lambda row: 0,
) -> list[Shown]:
    """Rows of one `key` under their groups, as many groups abreast as fit; more tables for more groups."""
    rows = [row for row in table.to_pylist() if keep(row)]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    found = []
    for start in range(0, len(groups), ABREAST):
        part = groups[start : start + ABREAST]
        cells: dict[str, dict[str, str]] = {}
        says: dict[str, tuple[str, int]] = {}
        for row in rows:
            if row["group"] in part:
                cells.setdefault(row[key], {})[row["group"]] = told(row)
                says.setdefault(row[key], (row["says"], level(row)))
        alone = len(groups) == 1
        headings = ("", *(("everybody",) if alone and part == ["all"] else part))
        more = (
            f" ({start + 1} to {start + len(part)} of {len(groups)} groups)" if len(groups) > ABREAST else ""
        )
        found.append(Shown(
            title + more, headings,
            tuple((says[name][0], *(own.get(group, "") for group in part)) for name, own in cells.items()),
            tuple(says[name][1] for name in cells), file, note,
        ))  # fmt: skip
    return [each for each in found if each.rows]


def plain(
    table: pa.Table, columns: Mapping[str, str], *, title: str, file: str, note: str = "", most: int = 200,
    told: Mapping[str, Callable[[Any], str]] | None = None,
) -> list[Shown]:  # fmt: skip
    """Rows as they are: column to heading; `told` where `text` is not how a column is said.

    Past `most` rows it says that the file has the rest.
    """
    rows = table.slice(0, most).to_pylist()
    if not rows:
        return []
    if table.num_rows > most:
        note = f"{note} The first {most:,} of {table.num_rows:,} rows; the file has all.".strip()
    says = {name: (told or {}).get(name, text) for name in columns}
    cells = tuple(tuple(say(row[name]) for name, say in says.items()) for row in rows)
    return [Shown(title, tuple(columns.values()), cells, (0,) * len(rows), file, note)]


def hundredths(value: float | None) -> str:
    """A kappa.

    >>> hundredths(0.897), hundredths(None)
    ('0.90', '')
    """
    return "" if value is None else f"{value:.2f}"


def text(value: Any) -> str:
    """Any value as a cell.

    >>> text(None), text(1234), text(0.5), text("crs")
    ('', '1,234', '0.5', 'crs')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return number(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
