"""Where a patient stands under one scale, now, read from the machine's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tocsin.grading.compile import Compiled


class Span(NamedTuple):
    """From `start` (microseconds) on, until the next span: what was proven and what not ruled out."""

    start: int
    grade: int
    up_to: int


@dataclass(frozen=True, slots=True)
class Standing:
    """The answer of one scale at `now`; times in microseconds since 1970.

    `proven` is the highest grade that was proven and has not been ruled out since: above `grade` while a
    grade has lapsed because nobody measured, and `proven_at` is then when it lapsed.
    """

    scale: str
    start: int
    now: int
    grade: int
    up_to: int
    ambiguous: bool
    because: tuple[str, ...]
    waiting_for: tuple[str, ...]
    judgement: tuple[str, ...]
    flags: tuple[str, ...]
    definition: str
    proven: int
    proven_at: int | None

    def said(self) -> tuple[object, ...]:
        """All of it but for the moment it was asked."""
        return (
            self.start, self.grade, self.up_to, self.ambiguous, self.because, self.waiting_for,
            self.judgement, self.flags, self.proven, self.proven_at,
        )  # fmt: skip


class Reader:
    """Turns rows of numbers (`rungs.COLUMNS`) into answers; each set of words is spelled out once."""

    def __init__(self, compiled: Compiled) -> None:
        self.scales = [(item.id, item.hash) for item in compiled.scales]
        self.names = {
            7: [(*names, *[""] * (62 - len(names)), "death") for names in compiled.because],
            8: [tuple(compiled.waiting)] * len(compiled.scales),
            9: [tuple(each.id for each in item.judgements) for item in compiled.scales],
            10: [tuple(names) for names in compiled.flags],
        }
        self.known: dict[tuple[int, int, int], tuple[str, ...]] = {}

    def read(
        self, rows: Sequence[Sequence[int]], now: int
    ) -> tuple[dict[str, Standing], dict[str, list[Span]]]:
        """The standing answer and the run of grades of every scale; rows of one patient, in order of time."""
        of: dict[int, list[Sequence[int]]] = {}
        for row in rows:
            of.setdefault(row[1], []).append(row)
        standing: dict[str, Standing] = {}
        spans: dict[str, list[Span]] = {}
        for k, mine in sorted(of.items()):
            scale, definition = self.scales[k]
            runs = joined(mine)
            proven, since = proven_in(runs)
            last = mine[-1]
            because, waiting, judgement, flags = (self.words(k, last, column) for column in self.names)
            standing[scale] = Standing(
                scale, last[2], now, last[4], last[5], bool(last[6]), because, waiting, judgement, flags,
                definition, proven, since,
            )  # fmt: skip
            spans[scale] = runs
        return standing, spans

    def words(self, k: int, row: Sequence[int], column: int) -> tuple[str, ...]:
        """The names behind a set of bits; measures waited for in alphabetical order, as in the table."""
        key = (k, column, row[column])
        found = self.known.get(key)
        if found is None:
            names = [name for i, name in enumerate(self.names[column][k]) if row[column] >> i & 1]
            found = self.known[key] = tuple(sorted(names) if column == 8 else names)
        return found


def joined(rows: Sequence[Sequence[int]]) -> list[Span]:
    """Rows as runs of one grade and one `up_to`, whatever the reasons."""
    runs: list[Span] = []
    for row in rows:
        if not runs or (runs[-1].grade, runs[-1].up_to) != (row[4], row[5]):
            runs.append(Span(row[2], row[4], row[5]))
    return runs


def proven_in(runs: Sequence[Span]) -> tuple[int, int | None]:
    """The highest grade proven and never ruled out since, and when it lapsed (None: it stands).

    >>> proven_in([Span(0, 0, 0), Span(5, 3, 3), Span(9, 0, 4)])
    (3, 9)
    >>> proven_in([Span(0, 3, 3), Span(5, 0, 1), Span(9, 0, 4)])
    (1, 5)
    """
    proven, since = 0, None
    for run in runs:
        left = min(proven, run.up_to)
        if run.grade >= left:
            proven, since = run.grade, None
        else:
            since = run.start if since is None or left < proven else since
            proven = left
    return proven, since
