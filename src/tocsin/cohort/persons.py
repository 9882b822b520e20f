"""A cohort's tables as numbers: patients by their place in `people`, instants as hours since hour 0."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cohort.records import GRADES, Cohort
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import TocsinError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
EVERYBODY = "all"
UNKNOWN = "unknown"


class Persons:
    """Who a cohort consists of. Raises `TocsinError` for a cohort of nobody."""

    def __init__(self, cohort: Cohort, lib: Library | None = None) -> None:
        if not cohort.people.num_rows:
            raise TocsinError(
                "there is nobody in this cohort\n"
                "  why: shares and times of nobody would look like an answer\n"
                "  fix: look at what was read: `tocsin facts SOURCE` says what could not be used"
            )
        self.cohort, self.lib = cohort, lib or library()
        people = cohort.people
        self.ids = people["patient_id"].combine_chunks()
        self.zero = _micros(people["zero"])
        self.ended = self._hours(_micros(people["ended"]), self.zero)
        self.death = self._hours(_micros(people["death"]), self.zero)
        self.dosed = np.array(pc.equal(people["zero_is"], "first-dose").to_numpy(zero_copy_only=False), bool)

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, table: pa.Table) -> Ints:
        """Which patient each row is of; raises `TocsinError` for a row of somebody else."""
        found = pc.index_in(table["patient_id"], value_set=self.ids)
        if found.null_count:
            stray = table.filter(pc.is_null(found))["patient_id"][0].as_py()
            raise TocsinError(
                f"patient {stray} has rows and is not among the people of this cohort\n"
                "  why: rows of somebody who is not counted would make shares above 1\n"
                "  fix: tables that `gather` made together"
            )
        return np.asarray(found.to_numpy(zero_copy_only=False), np.int64)

    def hours(self, table: pa.Table, column: str, place: Ints | None = None) -> Floats:
        """Hours since the patient's hour 0; NaN for null."""
        place = self.place(table) if place is None else place
        return self._hours(_micros(table[column]), self.zero[place])

    @staticmethod
    def _hours(micros: Floats, zero: Floats) -> Floats:
        return (micros - zero) / 3.6e9

    @cached_property
    def drawn(self) -> Bools:
        """Of whom single spans and markers are kept: everybody, but in a large cohort."""
        spans = self.cohort.spans
        if not spans.num_rows:
            return np.ones(len(self), bool)
        return np.array(
            pc.is_in(self.ids, value_set=pc.unique(spans["patient_id"])).to_numpy(zero_copy_only=False)
        )

    @cached_property
    def groups(self) -> tuple[tuple[str, Bools], ...]:
        """Each group and who is in it, by name, who has no value last; then all, where there are several."""
        everybody = np.ones(len(self), bool)
        if self.cohort.by is None:
            return ((EVERYBODY, everybody),)
        column = pc.fill_null(self.cohort.people["group"], UNKNOWN).combine_chunks().dictionary_encode()
        codes, names = column.indices.to_numpy(), column.dictionary.to_pylist()
        order = sorted(range(len(names)), key=lambda k: (names[k] == UNKNOWN, names[k]))
        found = [(names[k], codes == k) for k in order]
        return (*found, (EVERYBODY, everybody)) if len(found) > 1 else tuple(found)

    def outcome(self, scale: str) -> str:
        """What a scale grades: `crs` or `icans`."""
        return self.lib.scale(scale).outcome

    def course(self, scale: str) -> Course:
        """What each patient reached under one scale."""
        table = self.cohort.courses.filter(pc.equal(self.cohort.courses["scale"], scale))
        place = self.place(table)

        def spread(name: str, missing: float) -> Floats:
            out = np.full(len(self), missing)
            out[place] = np.asarray(table[name].to_numpy(zero_copy_only=False), np.float64)
            return out

        first = np.full((len(GRADES) + 1, len(self)), np.nan)
        for k in GRADES:
            first[k][place] = self.hours(table, f"first_{k}", place)
        numbers = {
            name: spread(name, 0.0)
            for name in ("hours", "hours_open", "hours_unmeasured", "open_grade_hours")
        }
        graded = np.zeros(len(self), bool)
        graded[place] = True
        return Course(
            scale, graded, spread("max_grade", -1).astype(np.int64), spread("max_up_to", -1).astype(np.int64),
            first, numbers["hours"], numbers["hours_open"], numbers["hours_unmeasured"],
            numbers["open_grade_hours"],
        )  # fmt: skip

    def episodes(self, scale: str) -> Episodes:
        """The episodes under one scale, those that began before hour 0 left out."""
        table = self.cohort.episodes.filter(pc.equal(self.cohort.episodes["scale"], scale))
        place = self.place(table)
        start = self.hours(table, "start", place)
        kept = np.flatnonzero(start >= 0)
        table, place, start = table.take(pa.array(kept)), place[kept], start[kept]
        order = np.lexsort((start, place))
        first = np.zeros(len(place), bool)
        first[order] = np.concatenate([[True], place[order][1:] != place[order][:-1]])[: len(place)]
        return Episodes(
            scale, place, start, self.hours(table, "end", place), self.ended[place],
            np.array(table["outcome"].to_pylist(), dtype=object),
            np.asarray(table["peak"].to_numpy(zero_copy_only=False), np.int64),
            np.asarray(table["time_to_peak_hours"].to_numpy(zero_copy_only=False), np.float64),
            np.asarray(table["hours_from_dose"].to_numpy(zero_copy_only=False), np.float64),
            np.asarray(pc.fill_null(table["dose_number"], -1).to_numpy(zero_copy_only=False), np.int64),
            first,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Course:
    """One scale, a number a patient. `first[k]`: hour of the first grade k or above, NaN: never.

    Who was not `graded` has grade -1 and counts nowhere.
    """

    scale: str
    graded: Bools
    grade: Ints
    up_to: Ints
    first: Floats
    hours: Floats
    hours_open: Floats
    hours_unmeasured: Floats
    open_grade_hours: Floats

    @property
    def unmeasured(self) -> Bools:
        """Of whom nobody ever measured anything that grades: not reported, which is not grade 0."""
        bare: Bools = (
            self.graded & (self.grade == 0) & (self.hours > 0) & (self.hours_unmeasured >= self.hours)
        )
        return bare


@dataclass(frozen=True, slots=True)
class Episodes:
    """One scale, a number an episode. `end` NaN: not seen; `followed`: when its patient's record ends."""

    scale: str
    person: Ints
    start: Floats
    end: Floats
    followed: Floats
    outcome: npt.NDArray[Any]
    peak: Ints
    to_peak: Floats
    from_dose: Floats
    dose: Ints
    first: Bools

    @property
    def lasted(self) -> Floats:
        """Hours from onset to the end, or as long as it was followed."""
        return np.maximum(np.where(np.isnan(self.end), self.followed, self.end) - self.start, 0.0)

    @property
    def resolved(self) -> Bools:
        """Seen to resolve: everything else is as long as it was seen, at least."""
        return np.asarray(self.outcome == "resolved", bool)


def _micros(column: pa.ChunkedArray) -> Floats:
    """Microseconds since 1970 as numbers; NaN for null."""
    whole = column.cast(pa.int64())
    return np.asarray(whole.to_numpy(zero_copy_only=False), np.float64)
