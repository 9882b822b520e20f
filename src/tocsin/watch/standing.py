"""Where a patient stands under one scale, now."""

from __future__ import annotations

from dataclasses import dataclass


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
