"""What the engine says about one patient at one moment; facts are written as in `tocsin.testing.patient`."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from tocsin.grading.batch import grade_table
from tocsin.testing import START, patient

#: A patient on air with a normal pressure and saturation at hour 0: nothing is left open but fever.
CALM = ("0 h spo2 97 %", "0 h systolic-bp 120 mm[Hg]", "0 h oxygen-device room-air")
FEVER = ("0 h temperature 39.0 Cel", *CALM)


class Answer(NamedTuple):
    """One interval of an answer; `pair` is (grade, up_to)."""

    grade: int
    up_to: int
    ambiguous: bool
    because: tuple[str, ...]
    waiting_for: tuple[str, ...]
    judgement: tuple[str, ...]
    flags: tuple[str, ...]
    start: float
    end: float | None

    @property
    def pair(self) -> tuple[int, int]:
        return self.grade, self.up_to


def hours(moment: Any) -> float | None:
    """A time of the answer in hours from the patient's hour 0."""
    return None if moment is None else (moment - START) / timedelta(hours=1)


@lru_cache(maxsize=4096)
def course(
    *lines: str, scale: str = "astct-2019", strict: bool = True, as_of: float | None = None,
    until: float | None = None,
) -> tuple[Answer, ...]:
    """Every interval of the answer, in order."""
    cuts = {
        name: START + timedelta(hours=value) for name, value in (("as_of", as_of), ("until", until))
        if value is not None
    }
    return tuple(
        Answer(
            row["grade"], row["up_to"], row["ambiguous"],
            *(tuple(row[name]) for name in ("because", "waiting_for", "judgement", "flags")),
            hours(row["start"]) or 0.0, hours(row["end"]),
        )
        for row in grade_table(patient(*lines, strict=strict), scale, **cuts).to_pylist()
    )


def at(hour: float, *lines: str, scale: str = "astct-2019", **options: Any) -> Answer:
    """The answer in force at `hour`; past the last row it is an error, for nothing is said there."""
    for answer in course(*lines, scale=scale, **options):
        if answer.start <= hour + 1e-9 and (answer.end is None or hour + 1e-9 < answer.end):
            return answer
    raise AssertionError(f"nothing is said about {hour} h: {course(*lines, scale=scale, **options)}")


def peak(*lines: str, scale: str = "astct-2019", **options: Any) -> int:
    """The highest grade the facts ever prove."""
    return max(answer.grade for answer in course(*lines, scale=scale, **options))
