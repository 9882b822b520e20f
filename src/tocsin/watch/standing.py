"""Where a patient stands under one scale, now, read from the machine's numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Course:
    """What one scale said so far: runs of one grade and one `up_to`, and what was proven in them."""

    last: Sequence[int]
    runs: list[Span]
    proven: int = 0
    since: int | None = None

    def copy(self) -> Course:
        """The same, to go on from without changing this one."""
        return Course(self.last, self.runs.copy(), self.proven, self.since)

    def take(self, row: Sequence[int]) -> None:
        """One row more, whatever its reasons."""
        self.last = row
        if not self.runs or (self.runs[-1].grade, self.runs[-1].up_to) != (row[4], row[5]):
            run = Span(row[2], row[4], row[5])
            self.runs.append(run)
            self.proven, self.since = proven_after(self.proven, self.since, run)


@dataclass(slots=True)
class Told:
    """What was said of one person and is settled, by scale; `ahead` begins later than the last answer."""

    courses: dict[int, Course] = field(default_factory=dict)
    ahead: list[Sequence[int]] = field(default_factory=list)


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
        self, settled: Sequence[Sequence[int]], beside: Sequence[Sequence[int]], now: int, told: Told
    ) -> tuple[dict[str, Standing], dict[str, list[Span]]]:
        """The standing answer and the run of grades of every scale of one person, from what was told of it
        before, what is settled since (told from now on) and what is said beside it; in order of time."""
        rows, told.ahead = [*told.ahead, *settled], []
        for row in rows:
            if row[2] <= now:
                known = told.courses.get(row[1])
                if known is None:
                    known = told.courses[row[1]] = Course(row, [])
                known.take(row)
            else:
                told.ahead.append(row)
        courses = {k: course.copy() for k, course in told.courses.items()}
        for row in beside:
            if row[2] <= now:
                known = courses.get(row[1])
                if known is None:
                    known = courses[row[1]] = Course(row, [])
                known.take(row)
        standing: dict[str, Standing] = {}
        spans: dict[str, list[Span]] = {}
        for k, course in sorted(courses.items()):
            scale, definition = self.scales[k]
            last = course.last
            because, waiting, judgement, flags = (self.words(k, last, column) for column in self.names)
            standing[scale] = Standing(
                scale, last[2], now, last[4], last[5], bool(last[6]), because, waiting, judgement, flags,
                definition, course.proven, course.since,
            )  # fmt: skip
            spans[scale] = course.runs
        return standing, spans

    def words(self, k: int, row: Sequence[int], column: int) -> tuple[str, ...]:
        """The names behind a set of bits; measures waited for in alphabetical order, as in the table."""
        key = (k, column, row[column])
        found = self.known.get(key)
        if found is None:
            names = [name for i, name in enumerate(self.names[column][k]) if row[column] >> i & 1]
            found = self.known[key] = tuple(sorted(names) if column == 8 else names)
        return found


def proven_after(proven: int, since: int | None, run: Span) -> tuple[int, int | None]:
    """The highest grade proven and never ruled out since, and when it lapsed (None: it stands), after one run
    more.

    >>> proven_after(3, None, Span(9, 0, 4))
    (3, 9)
    >>> proven_after(3, None, Span(5, 0, 1)), proven_after(1, 5, Span(9, 0, 4))
    ((1, 5), (1, 5))
    """
    left = min(proven, run.up_to)
    if run.grade >= left:
        return run.grade, None
    return left, run.start if since is None or left < proven else since


def proven_in(runs: Iterable[Span]) -> tuple[int, int | None]:
    """The same of a whole record.

    >>> proven_in([Span(0, 0, 0), Span(5, 3, 3), Span(9, 0, 4)])
    (3, 9)
    """
    proven, since = 0, None
    for run in runs:
        proven, since = proven_after(proven, since, run)
    return proven, since
