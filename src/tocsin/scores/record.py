"""One patient's facts as scores read them: by measure, in order of time, as intervals of possible values."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, inf, isnan
from typing import Any

from tocsin.definitions.load import Library
from tocsin.definitions.schema import Measure
from tocsin.definitions.score_item import Reads
from tocsin.grading.live import micros
from tocsin.grading.opcodes import HOUR
from tocsin.units import convert

Fact = Mapping[str, Any]
#: Digits kept before a comparison: converting there and back must not move a value over a bound.
DIGITS = 9


@dataclass(frozen=True, slots=True)
class Reading:
    """One row as an interval of what it may be; it counts until `expires` (microseconds)."""

    time: int
    low: float
    high: float
    expires: float
    row: Fact
    state: str = "used"
    word: str | None = None
    flags: tuple[str, ...] = ()


class Record:
    """One patient's rows, sorted, times in microseconds."""

    def __init__(self, rows: Iterable[Fact], lib: Library, patient: str = "") -> None:
        self.lib = lib
        self.rows = sorted((_in_micros(row) for row in rows), key=lambda row: row["time"])
        self.patient = patient or (str(self.rows[0].get("patient_id", "")) if self.rows else "")
        self.by_measure: dict[str, list[Fact]] = {}
        for row in self.rows:
            self.by_measure.setdefault(row["measure"], []).append(row)
        doses = [row for name in lib.classes.get("therapy", ()) for row in self.of(name) if _given(row)]
        self.doses = sorted(doses, key=lambda row: row["time"])
        self.dose_times: list[int] = [row["time"] for row in self.doses]

    @property
    def first(self) -> int | None:
        """When the record begins; none where it is empty."""
        return self.rows[0]["time"] if self.rows else None

    @property
    def last(self) -> int | None:
        """When the last fact was charted."""
        return self.rows[-1]["time"] if self.rows else None

    def of(self, measure: str) -> Sequence[Fact]:
        """The rows of one measure."""
        return self.by_measure.get(measure, ())

    def latest(self, measure: str, now: int) -> Fact | None:
        """The last row of a measure by then."""
        rows = self.of(measure)
        n = bisect_right(rows, now, key=lambda row: row["time"])
        return rows[n - 1] if n else None

    def given(self, names: Iterable[str]) -> list[int]:
        """When these drugs or therapies (ids or classes) were given, in order."""
        ids = dict.fromkeys(each for name in names for each in self.lib.classes.get(name, (name,)))
        return sorted(row["time"] for name in ids for row in self.of(name) if _given(row))

    def therapy(self, now: int) -> str | None:
        """The therapy of the latest dose by then."""
        n = bisect_right(self.dose_times, now)
        return str(self.doses[n - 1]["measure"]) if n else None

    def course(self, now: int, gap_hours: float) -> int | None:
        """The first dose of the course that runs by then: doses less than `gap_hours` apart are one."""
        n = bisect_right(self.dose_times, now)
        if not n:
            return None
        n -= 1
        while n and self.dose_times[n] - self.dose_times[n - 1] < gap_hours * HOUR:
            n -= 1
        return self.dose_times[n]

    def readings(self, reads: Reads) -> list[Reading]:
        """What one input has to say over time: one reading an instant, the worst where there are several."""
        found: list[Reading] = []
        for name in reads.measures:
            measure = self.lib.measure(name)
            found += [_reading(row, measure, reads) for row in self.of(name)]
        found.sort(key=lambda each: each.time)
        if reads.per is not None:
            found = self._divided(found, reads.per)
        return _one_each(found, self.lib.measure(reads.measures[0]))

    def _divided(self, found: Sequence[Reading], per: Reads) -> list[Reading]:
        """Each reading over the latest of `per` at its time; left out where there is none."""
        under = self.readings(per)
        times = [each.time for each in under]
        out = []
        for each in found:
            n = bisect_right(times, each.time)
            if not n or each.time >= under[n - 1].expires:
                continue
            other = under[n - 1]
            if "unreadable" in (each.state, other.state) or other.low <= 0:
                out.append(Reading(each.time, -inf, inf, each.expires, each.row, "unreadable"))
                continue
            low, high = tidy(each.low / other.high), tidy(each.high / other.low)
            flags = tuple(dict.fromkeys((*each.flags, *other.flags)))
            out.append(Reading(each.time, low, high, each.expires, each.row, "used", None, flags))
        return out


def _in_micros(row: Fact) -> dict[str, Any]:
    end = row.get("end")
    return {**row, "time": micros(row["time"]), "end": None if end is None else micros(end)}


def _given(row: Fact) -> bool:
    """Whether a row of a drug or therapy says that it was given."""
    return row.get("text") not in ("absent", "retracted") and row.get("value") != 0


def _reading(row: Fact, measure: Measure, reads: Reads) -> Reading:
    end, text, value = row.get("end"), row.get("text"), row.get("value")
    hours = reads.within_hours
    expires: float = inf if hours is None else row["time"] + hours * HOUR
    if end is not None and end > row["time"]:
        expires = end
    if measure.kind == "category":
        state = "used" if text in measure.words else "unreadable"
        return Reading(row["time"], -inf, inf, expires, row, state, text)
    if value is None or isnan(value) or text == "unusable":
        return Reading(row["time"], -inf, inf, expires, row, "unreadable")
    floor_, ceiling = measure.plausible_low, measure.plausible_high
    low = high = float(value)
    flags: tuple[str, ...] = ()
    if text == "<":
        low, flags = -inf if floor_ is None else min(floor_, high), ("below-the-assay",)
    elif text == ">":
        high, flags = inf if ceiling is None else max(ceiling, low), ("above-the-assay",)
    if reads.reference is not None:
        limit = row.get("ref_high")
        if limit is None or isnan(limit):
            limit, flags = measure.ref_high, (*flags, "default-limit")
        if not limit:
            return Reading(row["time"], -inf, inf, expires, row, "no-limit", None, ("no-limit",))
        if reads.reference == "times_uln":
            low, high = low / limit, high / limit
        else:
            low, high = low - limit, high - limit
    else:
        factor = _factor(measure, reads.unit)
        low, high = low * factor, high * factor
    step = reads.round_to or (measure.round_to if reads.reference is None else None)
    return Reading(row["time"], tidy(low, step), tidy(high, step), expires, row, "used", None, flags)


def _factor(measure: Measure, unit: str | None) -> float:
    """What a value in the measure's own unit is multiplied with to be in `unit`."""
    if unit is None or unit == measure.unit:
        return 1.0
    # asked for the way facts are converted, so that the ready table of pairs serves
    found = convert(unit, measure.unit or "1")
    if found.becomes != "value" or found.shift or found.weight:
        raise ValueError(f"{measure.id} in {measure.unit} cannot be read in {unit}")
    return found.den / (found.num * (measure.molar_mass or 1.0) ** found.molar)


def tidy(x: float, step: float | None = None) -> float:
    """A number without the dust of conversions; in whole steps, half up, where there is a step."""
    if x in (inf, -inf):
        return x
    if step:
        x = floor(float(f"{x / step:.{DIGITS}g}") + 0.5) * step
    return float(f"{x:.{DIGITS}g}")


def _one_each(found: Sequence[Reading], measure: Measure) -> list[Reading]:
    """One reading an instant: of several the one that can be read, and of those the worst."""
    out: list[Reading] = []
    for each in found:
        if out and out[-1].time == each.time:
            out[-1] = max(out[-1], each, key=lambda one: _badness(one, measure))
        else:
            out.append(each)
    return out


def _badness(each: Reading, measure: Measure) -> tuple[bool, float, float, str]:
    if each.word is not None and each.state == "used":
        return True, float(measure.words.index(each.word)), 0.0, each.word
    sign = 1.0 if measure.worse == "high" else -1.0
    # the last entries only make the choice between equals the same in any order of rows
    return each.state == "used", sign * each.high, sign * each.low, str(each.row.get("source"))
