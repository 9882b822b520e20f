"""What the ward board shows, as plain values: one row a patient, in the order in which people look."""

from __future__ import annotations

from dataclasses import dataclass

#: What a row is about: a proven grade, one not ruled out, one that lapsed unmeasured, nobody measuring.
STATES = ("graded", "not-ruled-out", "lapsed", "unmeasured")


@dataclass(frozen=True, slots=True)
class Vital:
    """The newest reading of one measure; `stale` past its hold, `bad` where a finding of the grade rests on
    it. `at` in microseconds; None where it was never charted."""

    measure: str
    label: str
    text: str
    at: int | None
    stale: bool
    bad: bool


@dataclass(frozen=True, slots=True)
class Due:
    """A test that is due; `late_minutes` None while it is not late."""

    text: str
    late_minutes: int | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What may be done, or follows, from `at` (microseconds) on."""

    text: str
    at: int


@dataclass(frozen=True, slots=True)
class AlertLine:
    """An open alert as a line of text."""

    id: int
    kind: str
    text: str
    raised: int
    acknowledged: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One patient on the board.

    `proven` is the highest grade proven earlier and never ruled out since; it stands above `grade` while
    nobody measures (`state` "lapsed"), and `proven_at` is when it lapsed. `strip` holds the last 24 hours,
    oldest first, each the highest (grade, up_to) of its hour, None before the record.
    """

    patient_id: str
    ref: str
    bed: str
    ward: str
    name: str
    age: str
    sex: str
    therapy: str
    hours_since_dose: float | None
    dose_number: int | None
    scale: str
    grade: int
    up_to: int
    proven: int
    proven_at: int | None
    ambiguous: bool
    because: tuple[str, ...]
    waiting_for: tuple[str, ...]
    changed_from: int | None
    changed_at: int | None
    state: str
    line: str
    vitals: tuple[Vital, ...]
    due: tuple[Due, ...]
    clocks: tuple[Waiting, ...]
    strip: tuple[tuple[int, int] | None, ...]
    alerts: tuple[AlertLine, ...]
    needs: bool
    calm: bool


@dataclass(frozen=True, slots=True)
class Board:
    """The ward at one moment. `as_of` is when the newest fact was received; `hidden` counts calm patients
    left out because there are too many to show."""

    scale: str
    now: int
    as_of: int | None
    rows: tuple[Row, ...]
    watched: int
    needing: int
    unmeasured: int
    wards: tuple[str, ...]
    hidden: int = 0
