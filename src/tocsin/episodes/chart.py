"""The facts beside the grades: what was charted, given and dosed, looked up for many patients at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from tocsin.definitions.load import Library
from tocsin.episodes.columns import Bools, Ints, encoded, instants, numbers, texts
from tocsin.episodes.spans import counted, fresh, in_order
from tocsin.grading.compile import FATAL
from tocsin.grading.opcodes import HOUR, INF, NONE


class Marks:
    """Instants of some facts, by patient and time; looked up for many patients at once."""

    def __init__(self, rows: Ints, chart: Chart) -> None:
        self.rows = rows
        self.time = chart.time[rows]
        self.bounds = np.searchsorted(chart.patient[rows], np.arange(chart.count + 1))

    def place(self, patient: Ints, at: Ints) -> Ints:
        """Where the first of each patient's marks at or after `at` stands (or would)."""
        low, high = self.bounds[patient].copy(), self.bounds[patient + 1].copy()
        while True:
            open_ = low < high
            if not open_.any():
                return low
            middle = (low + high) // 2
            before = open_ & (self.time[np.minimum(middle, len(self.time) - 1)] < at)
            low = np.where(before, middle + 1, low)
            high = np.where(open_ & ~before, middle, high)

    def next(self, patient: Ints, at: Ints) -> Ints:
        """The first instant at or after `at`; INF if there is none."""
        place = self.place(patient, at)
        return np.where(place < self.bounds[patient + 1], np.append(self.time, INF)[place], INF)

    def latest(self, patient: Ints, before: Ints) -> Ints:
        """The last instant before `before`; NONE if there is none."""
        place = self.place(patient, before) - 1
        return np.where(place >= self.bounds[patient], np.append(self.time, NONE)[place], NONE)


class Chart:
    """The facts of the patients who fell ill, before `horizon` and before death, by patient and time."""

    def __init__(
        self, table: pa.Table, patients: list[str], wanted: Ints, horizon: int, lib: Library
    ) -> None:
        self.table, self.lib, self.count = table, lib, len(patients)
        code, ids = encoded(table["patient_id"])
        index = {patients[i]: i for i in wanted.tolist()}
        patient = np.array([*(index.get(name, -1) for name in ids), -1], np.int64)[code]
        time = instants(table, "time")
        row = np.flatnonzero(patient >= 0)
        if not in_order(patient[row], time[row]):
            row = row[np.lexsort((time[row], patient[row]))]
        self.row, self.patient, self.time = row, patient[row], time[row]
        measure, self.measures = encoded(table["measure"])
        text, self.words = texts(table, "text")
        self.measure, self.text, self.value = measure[row], text[row], numbers(table, "value")[row]
        self.kinds = [lib.measure(name).kind if name in lib.measures else "" for name in self.measures]
        bounds = np.searchsorted(self.patient, np.arange(self.count + 1))
        self.stop = np.full(self.count, horizon)
        self.death: dict[int, tuple[int, str]] = {}
        for i in self.rows(("death",)).tolist():
            who, at = int(self.patient[i]), int(self.time[i])
            word = self.word(i) if self.word(i) in FATAL else "unknown"
            first, known = self.death.get(who, (at, word))
            if first == at:
                self.death[who] = (at, max(known, word, key=FATAL.__getitem__))
                self.stop[who] = at
        #: each patient's last fact: the end of the record
        self.last = np.where(bounds[1:] > bounds[:-1], np.append(self.time, NONE)[bounds[1:] - 1], NONE)
        self.last = np.minimum(self.last, self.stop)

    def rows(self, names: Iterable[str]) -> Ints:
        """The rows of some measures, in order of patient and time."""
        named = set(names)
        wanted = np.array([name in named for name in self.measures], np.bool_)
        if not wanted.any():
            return np.zeros(0, np.int64)
        rows = np.flatnonzero(wanted[self.measure])
        return rows[self.time[rows] < self.stop[self.patient[rows]]]

    def word(self, row: int) -> str:
        """The text of a row, "" if it has none."""
        return str(self.words[self.text[row]]) if self.text[row] >= 0 else ""

    def says(self, rows: Ints, *texts: str) -> Bools:
        """Which rows have one of these texts."""
        return np.array([*(word in texts for word in self.words), False], np.bool_)[self.text[rows]]

    def of_kind(self, rows: Ints, kind: str) -> Bools:
        """Which rows are of measures of this kind."""
        return np.array([*(each == kind for each in self.kinds), False], np.bool_)[self.measure[rows]]

    def charted(self, names: Iterable[str]) -> Marks:
        """Usable readings."""
        rows = self.rows(names)
        blank = np.isnan(self.value[rows]) & self.of_kind(rows, "number")
        return Marks(rows[~(blank | self.says(rows, "unusable"))], self)

    def given(self, names: Iterable[str]) -> Marks:
        """Instants at which a drug was given, as grading reads it."""
        rows = self.rows(names)
        stopped = self.of_kind(rows, "infusion") & (self.value[rows] <= 0) & ~self.says(rows, "push", ">")
        return Marks(rows[~(stopped | self.says(rows, "unusable", "absent"))], self)

    def causes(self) -> dict[int, list[tuple[int, int, str, bool]]]:
        """Each patient's conditions that cause CRS: (time, until, name, whether it is there)."""
        out: dict[int, list[tuple[int, int, str, bool]]] = {}
        rows = self.rows(self.lib.classes.get("cause", ()))
        rows = rows[~self.says(rows, "unusable")]
        if not len(rows):
            return out
        ends = instants(self.table.select(["end"]).take(pa.array(self.row[rows])), "end")
        for i, end in zip(rows.tolist(), ends.tolist(), strict=True):
            name = self.measures[self.measure[i]]
            hold, at = self.lib.measure(name).hold_hours, int(self.time[i])
            until = end if end < INF or hold is None else at + round(hold * HOUR)
            out.setdefault(int(self.patient[i]), []).append((at, until, name, self.word(i) != "absent"))
        return out


class Doses:
    """Doses of therapies: distinct instants, numbered for each therapy, by patient, time and name."""

    def __init__(self, chart: Chart) -> None:
        rows = chart.rows(chart.lib.classes.get("therapy", ()))
        rank = np.argsort(np.argsort(np.array(chart.measures, dtype=object))) if len(rows) else rows
        name = rank[chart.measure[rows]]
        order = np.lexsort((chart.time[rows], name, chart.patient[rows]))
        rows, name = rows[order], name[order]
        once = fresh(chart.patient[rows], name, chart.time[rows])
        rows, name = rows[once], name[once]
        number = counted(fresh(chart.patient[rows], name))
        order = np.lexsort((name, chart.time[rows], chart.patient[rows]))
        self.marks = Marks(rows[order], chart)
        self.number = number[order].tolist()
        self.name = [chart.measures[i] for i in chart.measure[rows[order]].tolist()]
