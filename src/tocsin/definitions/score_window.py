"""Reads `timing/score-windows.toml`: the times at which scores were derived, around the dose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON

if TYPE_CHECKING:
    from tocsin.definitions.load import Library


@dataclass(frozen=True, slots=True)
class ScoreWindow:
    """Hours [from, to) around the dose, or around the start of lymphodepletion."""

    id: str
    title: str
    anchor: str
    from_hours: float
    to_hours: float


@dataclass(frozen=True, slots=True)
class Timing:
    """The windows; the drugs that begin them; how far they may lie before the dose; what one course is."""

    windows: Mapping[str, ScoreWindow]
    lymphodepletion: tuple[str, ...]
    lymphodepletion_hours: float
    course_gap_hours: float


@lru_cache(maxsize=8)
def timing(lib: Library) -> Timing:
    """The windows of scores.

    >>> from tocsin.definitions.load import library
    >>> timing(library()).windows["day+1"].from_hours
    12.0
    """
    path = lib.files("timing")["score-windows"]
    reader = Reader(
        parse(path), str(path),
        (*COMMON, "window", "lymphodepletion", "lymphodepletion_hours", "course_gap_hours"),
    )  # fmt: skip
    before, gap = reader.hours("lymphodepletion_hours"), reader.hours("course_gap_hours")
    if before is None or gap is None:
        raise reader.fail("course_gap_hours", "or `lymphodepletion_hours` missing", "course_gap_hours = 720")
    windows = {}
    for item in reader.table.get("window", ()):
        own = Reader(item, f"{path}, window", ("id", "title", "anchor", "from_hours", "to_hours"))
        start, end = own.number("from_hours"), own.number("to_hours")
        if start is None or end is None or start >= end:
            raise own.fail("from_hours", "or `to_hours` is missing, or not before it", "from_hours = -12")
        anchor = own.choice("anchor", ("dose", "lymphodepletion"))
        windows[own.text("id")] = ScoreWindow(own.text("id"), own.text("title"), anchor, start, end)
    return Timing(windows, reader.names("lymphodepletion"), before, gap)
