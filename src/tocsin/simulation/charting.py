"""From simulated courses to a table of facts: what a ward would have written down, when, and how late.

A simulated patient enters by the same hall as a real one: the table holds charted rows (`RAW`) that
`tocsin.facts` reads without a reject. Every random number depends on the seed, the patient's number, the
measure and the hour, so a patient's rows are the same bytes in any batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tocsin.definitions.load import Library, library
from tocsin.definitions.model import Model
from tocsin.definitions.readout import Readout
from tocsin.definitions.schema import TocsinError
from tocsin.definitions.ward import Ward
from tocsin.facts.columns import INSTANT, RAW
from tocsin.simulation.care import Chart
from tocsin.simulation.compiled import compiled
from tocsin.simulation.draws import uniform
from tocsin.simulation.equations import Input, Vector
from tocsin.simulation.readouts import NOISE, Body, normals, purpose
from tocsin.simulation.solve import Courses

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

HOUR, MINUTE = 3_600_000_000, 60_000_000
#: Purposes of random numbers besides those of each measure.
CHANCE, SEX, DRAWN, LATE = 1 << 35, (1 << 36) + 1, (1 << 36) + 2, (1 << 36) + 3
#: What is charted together is charted at one moment.
BODY, VITALS, GIVEN, LABS, SCORES = range(5)
#: Devices whose FiO2 is set; on a cannula it is a guess that nobody charts here.
SET_FIO2 = ("venturi-mask", "high-flow-nasal-cannula", "cpap", "bipap", "ventilator")
#: Why the ward gives fluid.
BOLUS_FOR = "hypotension"
#: On it nobody answers questions.
SILENT = "ventilator"
#: What the ward itself measured, and the steps in which it reads.
MEASURED = (
    (Chart.temperature, "temperature", 0.1),
    (Chart.mean_bp, "mean-bp", 1.0),
    (Chart.spo2, "spo2", 1.0),
)
PRESSORS = {Chart.norepinephrine: "norepinephrine", Chart.epinephrine: "epinephrine"}
GIVEN_BY_THE_WARD = {
    Chart.bolus: "fluid-bolus",
    Chart.acetaminophen: "acetaminophen",
    Chart.tocilizumab: "tocilizumab",
    Chart.dexamethasone: "dexamethasone",
    Chart.methylprednisolone: "methylprednisolone",
}
#: What a scheduled input is called; the trigger itself goes by the model's name.
SCHEDULED = {
    Input.tocilizumab: "tocilizumab",
    Input.siltuximab: "siltuximab",
    Input.anakinra_depot: "anakinra",
    Input.anakinra: "anakinra",
    Input.dexamethasone: "dexamethasone",
    Input.methylprednisolone: "methylprednisolone",
}

#: The kind of model of which an input is the trigger.
TRIGGERS = {Input.engager_depot: "engager", Input.engager: "engager", Input.pathogen: "pathogen"}


def facts_of(
    courses: Courses,
    ward: Ward,
    *,
    model: Model,
    seed: int,
    start: datetime,
    first: int = 0,
    lib: Library | None = None,
) -> pa.Table:
    """The chart of every patient as facts, in the columns of `RAW`, ordered by patient, time and measure.

    Parameters
    ----------
    courses : under a ward's care.  model : the trigger; its id is charted as the therapy or the condition
    where the library has such a measure.  seed, first : as the patients were drawn.  start : the moment of
    the first dose.  lib : units and plausible ranges; the built-in library by default.

    Raises
    ------
    TocsinError : courses that nobody watched, or a start without a time zone.
    """
    if courses.chart.shape[1] != courses.states.shape[1]:
        raise TocsinError(
            "these courses have no chart\n  why: nobody measured or gave anything\n"
            "  fix: simulate them under a ward: courses(patients, doses, days, ward)"
        )
    if start.tzinfo is None:
        raise TocsinError(
            f"the start {start.isoformat()} has no time zone\n"
            "  why: the same clock time is a different instant in every zone\n"
            "  fix: write the zone: 2026-01-01T00:00Z"
        )
    book = _Book(courses, ward, seed, first, lib or library())
    book.persons()
    book.triggers(model)
    book.vitals()
    book.support()
    book.labs()
    book.scores()
    return book.table(round(start.timestamp() * 1e6))


@compiled
def _chances(seed, first, who, purposes, steps):  # type: ignore[no-untyped-def]
    """One uniform number a row."""
    out = np.empty(len(who))
    for row in range(len(who)):
        out[row] = uniform(seed, first + who[row], purposes[row], steps[row])
    return out


def rounded(value: Vector, step: float) -> Vector:
    """To whole steps, or to three digits where the step is 0, as a laboratory reports."""
    if step >= 1:
        return np.asarray(np.rint(value / step) * step)
    if step > 0:  # dividing by a whole number gives the nearest number to what is written
        return np.asarray(np.rint(value / step) / np.rint(1 / step))
    digits = 2 - np.floor(np.log10(np.maximum(np.abs(value), 1e-9)))
    fine, coarse = 10.0 ** np.maximum(digits, 0), 10.0 ** np.maximum(-digits, 0)
    return np.asarray(np.rint(value * fine / coarse) / fine * coarse)


class _Book:
    """Rows on their way: patient, hour, measure, value, text, end, group; every method adds some."""

    def __init__(self, courses: Courses, ward: Ward, seed: int, first: int, lib: Library) -> None:
        self.courses, self.ward, self.seed, self.first, self.lib = courses, ward, seed, first, lib
        self.body = Body(courses, ward, seed=seed, first=first)
        self.patients, self.hours = courses.chart.shape[:2]
        self.device = courses.chart[:, :, Chart.device].astype(np.int64)
        self.names: list[str] = []
        self.texts: list[str] = []
        self.parts: dict[str, list[NDArray[np.generic]]] = {
            name: [] for name in ("who", "hour", "measure", "value", "text", "end", "group")
        }

    def add(
        self, measure: str, who: Ints, hour: Ints, group: int, value: Vector | None = None,
        text: Ints | None = None, end: Ints | None = None,
    ) -> None:  # fmt: skip
        """Rows of one measure; `text` are places in `self.texts`, -1 none; `end` hours, -1 none."""
        if not len(who):
            return
        if measure not in self.names:
            self.names.append(measure)
        if value is not None:
            known = self.lib.measure(measure)
            # A monitor or an assay shows nothing beyond what it can measure.
            low = -np.inf if known.plausible_low is None else known.plausible_low
            high = np.inf if known.plausible_high is None else known.plausible_high
            value = np.clip(value, low, high)
        none = np.full(len(who), -1, dtype=np.int64)
        columns: dict[str, NDArray[np.generic]] = {
            "who": who,
            "hour": hour,
            "measure": np.full(len(who), self.names.index(measure), dtype=np.int64),
            "value": np.full(len(who), np.nan) if value is None else value,
            "text": none if text is None else text,
            "end": none if end is None else end,
            "group": np.full(len(who), group, dtype=np.int64),
        }
        for name, column in columns.items():
            self.parts[name].append(column)

    def word(self, text: str) -> int:
        """The place of a text among those used."""
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)

    def chances(self, who: Ints, kind: int, steps: Ints) -> Vector:
        """One uniform number for each row."""
        made = _chances(self.seed, self.first, who, np.full(len(who), kind, dtype=np.int64), steps)
        return np.asarray(made)

    # --- who they are and what started it ----------------------------------------------------------------

    def persons(self) -> None:
        """Age, weight and sex, once, before all else."""
        who = np.arange(self.patients, dtype=np.int64)
        hour = np.zeros_like(who)
        self.add("age", who, hour, BODY, np.floor(self.courses.age * 10.0) / 10.0)
        self.add("weight", who, hour, BODY, np.rint(self.courses.weight * 10.0) / 10.0)
        female = self.chances(who, SEX, hour) < 0.5
        sex = np.where(female, self.word("female"), self.word("male")).astype(np.int64)
        self.add("sex", who, hour, BODY, text=sex)

    def triggers(self, model: Model) -> None:
        """Cells, doses of the schedule and the condition, whatever of it the library has a measure for."""
        everyone = np.arange(self.patients, dtype=np.int64)
        known = model.id in self.lib.measures
        if known and model.kind == "car-t":
            self.add(model.id, everyone, np.zeros_like(everyone), GIVEN)
        for row in range(self.courses.doses.shape[1]):
            begins, ends, place, rate = self.courses.doses[:, row].T
            for which in np.unique(place).astype(int).tolist():
                who = np.flatnonzero((place == which) & (rate > 0) & (begins < self.hours))
                push = ends[who] - begins[who] <= 1
                # An infusion is charted as far as the record goes; one that starts as it ends is not seen.
                until = np.where(push, ends[who], np.minimum(ends[who], self.hours - 1.0))
                seen = until > begins[who]
                who, push, until = who[seen], push[seen], until[seen]
                hour = np.rint(begins[who]).astype(np.int64)
                amount = rate[who] * (until - begins[who]) / 24.0
                # What ran longer than a push says until when.
                stop = np.where(push, -1, np.rint(until))
                # A trigger that is not this model's kind has no name here, and the model's is not its.
                mine = known and TRIGGERS.get(Input(which)) == model.kind
                name = SCHEDULED.get(Input(which), model.id if mine else "")
                if which == Input.pathogen:
                    if name:
                        self.add(name, who, hour, GIVEN)
                elif name:
                    self.add(name, who, hour, GIVEN, rounded(amount, 0.0), end=stop.astype(np.int64))

    # --- the bedside -------------------------------------------------------------------------------------

    def vitals(self) -> None:
        """What was measured, and what else is read off in the same round."""
        chart = self.courses.chart
        for channel, name, step in MEASURED:
            who, hour = np.nonzero(~np.isnan(chart[:, :, channel]))
            self.add(name, who, hour, VITALS, rounded(chart[who, hour, channel], step))
        who, hour = np.nonzero(~np.isnan(chart[:, :, Chart.mean_bp]))
        got = {"mean_bp": chart[:, :, Chart.mean_bp]}
        for readout in self.body.readouts:
            if readout.when == "vitals":
                got[readout.measure] = self.measured(readout, got, np.arange(self.hours))
                self.add(readout.measure, who, hour, VITALS, got[readout.measure][who, hour])

    def support(self) -> None:
        """Oxygen at changes and with each round, vasopressors at changes and as often as a row stands."""
        chart, ladder = self.courses.chart, self.ward.ladder
        moved = np.diff(self.device, axis=1, prepend=self.device[:, :1]) != 0
        who, hour = np.nonzero(moved | ~np.isnan(chart[:, :, Chart.spo2]))
        rung = self.device[who, hour]
        words = np.array([self.word(one.device) for one in ladder], dtype=np.int64)
        self.add("oxygen-device", who, hour, VITALS, text=words[rung])
        flows = np.array([one.flow for one in ladder])[rung]
        self.add("oxygen-flow", who[flows > 0], hour[flows > 0], VITALS, flows[flows > 0])
        set_here = np.array([one.device in SET_FIO2 for one in ladder])[rung]
        fio2 = np.array([one.fio2 for one in ladder])[rung]
        self.add("fio2", who[set_here], hour[set_here], VITALS, fio2[set_here])
        for channel, name in PRESSORS.items():
            rate = np.round(chart[:, :, channel], 3)
            changed = np.diff(rate, axis=1, prepend=0.0) != 0
            every = max(1, int(self.lib.measure(name).stale_hours or 1))
            hours = np.arange(self.hours)
            since = hours - np.maximum.accumulate(np.where(changed, hours, 0), axis=1)
            who, hour = np.nonzero(changed | ((rate > 0) & (since % every == 0)))
            self.add(name, who, hour, GIVEN, rate[who, hour])
        for channel, name in GIVEN_BY_THE_WARD.items():
            who, hour = np.nonzero(chart[:, :, channel] > 0)
            # A bolus says why, or it would not be known to be for the pressure.
            why = np.full(len(who), self.word(BOLUS_FOR) if channel == Chart.bolus else -1, dtype=np.int64)
            self.add(name, who, hour, GIVEN, rounded(chart[who, hour, channel], 1.0), text=why)

    # --- the laboratory, and what is asked ---------------------------------------------------------------

    def measured(self, readout: Readout, got: Mapping[str, Vector], at: Ints) -> Vector:
        """A readout at the hours `at` as measured: with its error, rounded."""
        value = self.body.value(readout, got, at)
        noise = self.ward.numbers["observe_lab_sd"] if readout.noise is None else readout.noise
        if noise:
            value *= np.exp(
                noise * normals(self.seed, self.first, self.patients, purpose(readout.measure, NOISE), at)
            )
        return rounded(value, readout.step)

    def labs(self) -> None:
        """Blood at its hours, the whole draw missed now and then, never the first."""
        at = np.arange(0, self.hours, max(1, round(self.ward.numbers["observe_labs_hours"])))
        who, place = (axis.ravel() for axis in np.indices((self.patients, len(at))))
        taken = (at[place] == 0) | (
            self.chances(who, DRAWN, at[place]) >= self.ward.numbers["observe_missing"]
        )
        who, place = who[taken], place[taken]
        got: dict[str, Vector] = {}
        below = self.word("<")
        for readout in self.body.readouts:
            if readout.when != "labs":
                continue
            got[readout.measure] = self.measured(readout, got, at)
            mine = self.body.car[who] if readout.car_only else np.ones(len(who), dtype=np.bool_)
            value = got[readout.measure][who[mine], place[mine]]
            low = value < readout.floor
            self.add(
                readout.measure, who[mine], at[place[mine]], LABS, np.where(low, readout.floor, value),
                text=np.where(low, below, -1).astype(np.int64),
            )  # fmt: skip

    def scores(self) -> None:
        """Neurological scores and complaints, of who can answer."""
        at = np.arange(0, self.hours, max(1, round(self.ward.readouts.numbers["score_hours"])))
        silent = np.array([one.device == SILENT for one in self.ward.ladder])
        able = ~silent[self.device[:, at]]
        got: dict[str, Vector] = {}
        for readout in self.body.readouts:
            if readout.when != "scores":
                continue
            got[readout.measure] = self.measured(readout, got, at)
            age = self.courses.age
            mine = able & ((age >= readout.age_from) & (age < readout.age_below))[:, None]
            who, place = np.nonzero(mine)
            self.add(readout.measure, who, at[place], SCORES, got[readout.measure][who, place])
        who, place = np.nonzero(able)
        if self.body.alertness:
            words = np.array([self.word(text) for _, text in self.body.alertness], dtype=np.int64)
            awake = words[self.body.alert(at)[who, place]]
            self.add("consciousness", who, at[place], SCORES, text=awake)
        for complaint in self.body.complaints:
            chance = self.chances(who, purpose(complaint.symptom, CHANCE), at[place])
            says = chance < self.body.told(complaint, at)[who, place]
            self.add(complaint.symptom, who[says], at[place[says]], SCORES)

    # --- the table ---------------------------------------------------------------------------------------

    def table(self, start: int) -> pa.Table:
        """All rows in order; `start` in microseconds since 1970."""
        column = {name: np.concatenate(parts) for name, parts in self.parts.items()}
        # Measures in the order of their names, so that the order does not depend on who came first.
        rank = np.argsort(np.argsort(np.array(self.names)))
        key = (column["who"] * self.hours + column["hour"]) * len(self.names) + rank[column["measure"]]
        order = np.argsort(key, kind="stable")
        column = {name: values[order] for name, values in column.items()}
        who, hour, group = column["who"], column["hour"], column["group"]
        time = start + hour * HOUR
        chance = _chances(self.seed, self.first, who, LATE + group, hour)
        numbers = self.ward.numbers
        # A result comes from the laboratory; what is seen at the bedside only waits to be written down.
        late = np.where(group == LABS, numbers["signal_labs_late_minutes"], numbers["observe_late_minutes"])
        minutes = np.rint(-np.log2(chance) * late).astype(np.int64)
        measure = column["measure"]
        drugs = {*GIVEN_BY_THE_WARD.values(), *SCHEDULED.values()}
        units = [self._unit(name, drugs) for name in self.names]
        known = sorted({unit for unit in units if unit is not None})
        unit = np.array([-1 if one is None else known.index(one) for one in units])[measure]
        unit[np.isnan(column["value"])] = -1
        rows = len(who)
        everyone = range(self.first, self.first + self.patients)
        made = {
            "patient_id": _words(who, [f"sim-{self.seed}-{number}" for number in everyone]),
            "time": pa.array(time).cast(INSTANT),
            "measure": _words(measure, self.names),
            "value": pa.array(column["value"], from_pandas=True),
            "text": _words(column["text"], self.texts),
            "unit": _words(unit, known),
            "end": pa.array(start + column["end"] * HOUR, mask=column["end"] < 0).cast(INSTANT),
            "recorded": pa.array(time + minutes * MINUTE, mask=group == BODY).cast(INSTANT),
            "source": _words(np.zeros(rows, dtype=np.int64), ["simulated"]),
        }
        columns = [made.get(field.name, pa.nulls(rows, field.type)) for field in RAW]
        return pa.table(columns, schema=RAW)

    def _unit(self, name: str, drugs: set[str]) -> str | None:
        known = self.lib.measure(name)
        therapy = known.kind == "event" and known.unit is None and name not in drugs
        return "mg" if therapy else known.unit


def _words(codes: Ints, words: list[str]) -> pa.Array:
    """Codes as texts, null where below 0."""
    places = pa.array(codes.astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(places, pa.array(words, pa.string())).cast(pa.string())
