"""What is seen of a simulated patient besides the model's own states: signs, blood, scores, complaints.

Worked out after the course and without feedback on it, from the ward's file (definitions/readout.py says the
one form they all have). Nothing here is measured yet: `charting.py` adds the error of measuring.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from tocsin.definitions.readout import Complaint, Dip, Readout
from tocsin.definitions.ward import Ward
from tocsin.simulation.compiled import compiled
from tocsin.simulation.draws import normal
from tocsin.simulation.equations import Parameter, State, Vector
from tocsin.simulation.solve import Courses

#: States that are signals under their own name.
STATES = (
    State.fever, State.leak, State.lung, State.crp, State.ferritin, State.ifn_gamma, State.tnf_alpha,
    State.il_1_beta, State.il_6, State.il_10, State.macrophage, State.slow_macrophage,
)  # fmt: skip
#: Random numbers of a readout are kept apart by a hash of its name, above every purpose used elsewhere.
NOISE, SPREAD = 1 << 33, 1 << 34


def purpose(name: str, kind: int) -> int:
    """The purpose of random numbers of this kind for a measure, the same in every run and ward."""
    return kind + crc32(name.encode())


@compiled
def normals(seed, first, patients, purpose, steps):  # type: ignore[no-untyped-def]
    """Standard normal numbers, (patients, len(steps))."""
    out = np.empty((patients, len(steps)))
    for n in range(patients):
        for k in range(len(steps)):
            out[n, k] = normal(seed, first + n, purpose, steps[k])
    return out


@compiled
def _lagged(x, share):  # type: ignore[no-untyped-def]
    """Follows hourly `x` at first order, taking `share` of the difference each hour."""
    out = np.empty_like(x)
    for n in range(x.shape[0]):
        level = x[n, 0]
        for k in range(x.shape[1]):
            level += share * (x[n, k] - level)
            out[n, k] = level
    return out


class Body:
    """The signals of some courses, and the readouts that follow them; arrays are (patients, hours).

    Parameters
    ----------
    courses : patients `first`, `first` + 1, ... of `seed`.  ward : whose file says what is seen.
    """

    def __init__(self, courses: Courses, ward: Ward, *, seed: int, first: int = 0) -> None:
        self.courses, self.seed, self.first = courses, seed, first
        self.numbers, self.readouts = ward.readouts.numbers, ward.readouts.readouts
        self.complaints, self.alertness = ward.readouts.complaints, ward.readouts.alertness
        self.temperature_usual = ward.numbers["observe_temperature_usual"]
        self.patients, self.hours = courses.states.shape[0], courses.states.shape[1]
        self.car = courses.parameters[:, Parameter.car] > 0.5
        self._lagged: dict[tuple[str, float], Vector] = {}

    def signal(self, name: str, lag_hours: float = 0.0) -> Vector:
        """One signal of `definitions.readout.SIGNALS`, hourly, following `lag_hours` behind."""
        key = (name, lag_hours)
        if key not in self._lagged:
            now = self._signal(name) if lag_hours == 0 else self.signal(name)
            share = 1.0 - np.exp(-1.0 / lag_hours) if lag_hours else 1.0
            self._lagged[key] = _lagged(now, share) if lag_hours else now
        return self._lagged[key]

    def _signal(self, name: str) -> Vector:
        states, p, number = self.courses.states, self.courses.parameters, self.numbers
        column: dict[str, int] = {state.name: state for state in STATES}
        if name in column:
            return np.ascontiguousarray(states[:, :, column[name]])
        if name == "shock":
            return self.signal("leak") ** 2
        if name == "acute":
            return self.signal("crp") / (self.signal("crp") + number["acute_half"])
        if name == "steroid":
            still = states[:, :, State.steroid]
            return np.asarray(still / (still + p[:, Parameter.steroid_half, None]))
        if name == "cells":
            now = states[:, :, State.resting] + states[:, :, State.effector] + states[:, :, State.persisting]
            # A patient's own T cells are among the usual lymphocytes: only what they grow by is more.
            start = np.where(self.car, 0.0, p[:, Parameter.resting_start])
            return np.asarray(np.maximum(0.0, now - start[:, None]))
        if name == "mean_bp":
            return np.asarray(
                p[:, Parameter.map_start, None] - p[:, Parameter.map_fall, None] * self.signal("leak")
            )
        if name == "neuro":
            return self._neuro()
        raise KeyError(name)

    def _neuro(self) -> Vector:
        """What reaches the brain: leak and interferon, late, more in some patients than in others."""
        number = self.numbers
        ifn = self.signal("ifn_gamma")
        reaching = number["neuro_leak"] * self.signal("leak") + number["neuro_ifn"] * ifn / (
            ifn + number["neuro_ifn_half"]
        )
        late = _lagged(reaching, 1.0 - np.exp(-1.0 / number["neuro_lag_hours"]))
        own = self.own("neuro", number["neuro_sd"]) * np.where(self.car, 1.0, number["neuro_engager"])
        return np.asarray((own[:, None] * late / number["neuro_half"]) ** number["neuro_hill"])

    def own(self, name: str, spread: float) -> Vector:
        """How far each patient's usual value lies from the typical one, as a factor."""
        z = normals(self.seed, self.first, self.patients, purpose(name, SPREAD), np.zeros(1, dtype=np.int64))
        return np.asarray(np.exp(spread * z[:, 0]))

    def value(self, readout: Readout, got: Mapping[str, Vector], at: Any = slice(None)) -> Vector:
        """A readout at the hours `at`; parts found in `got` are taken from there (already at those hours)."""
        lag = readout.lag_hours
        value = np.full_like(self.signal("leak")[:, at], readout.usual)
        for name, weight in readout.parts.items():
            value += weight * (got[name] if name in got else self.signal(name, lag)[:, at])
        for name, weight in readout.rise.items():
            value *= 1.0 + weight * self.signal(name, lag)[:, at]
        for name, weight in readout.fall.items():
            value /= 1.0 + weight * self.signal(name, lag)[:, at]
        if readout.dip is not None:
            value *= np.where(self.car[:, None], _dip(readout.dip, np.arange(self.hours)[at] / 24.0), 1.0)
        if readout.child:
            years = np.maximum(0.0, self.numbers["child_below_years"] - self.courses.age)
            value *= (1.0 + readout.child * years)[:, None]
        if readout.spread:
            value *= self.own(readout.measure, readout.spread)[:, None]
        return value

    def told(self, complaint: Complaint, at: Any = slice(None)) -> Vector:
        """The chance, 0 to 1, that a patient who is asked tells of this complaint."""
        size = (self.signal(complaint.of)[:, at] / complaint.half) ** self.numbers["complaint_hill"]
        return np.asarray(complaint.most * size / (size + 1.0))

    def alert(self, at: Any = slice(None)) -> NDArray[np.int64]:
        """How awake, as places in the ward's list of words, the first the most awake."""
        levels = np.array([level for level, _ in self.alertness])
        return np.searchsorted(levels, self.signal("neuro")[:, at], side="right") - 1


def _dip(dip: Dip, day: Vector) -> Vector:
    """What is left of a blood count on these days since the cells, as a factor."""
    x = np.maximum(0.0, (day - dip.from_day) / (dip.lowest_day - dip.from_day))
    return np.asarray(1.0 - dip.depth * (x * np.exp(1.0 - x)) ** dip.shape)


def readouts(courses: Courses, ward: Ward, *, seed: int, first: int = 0) -> dict[str, Vector]:
    """Everything that could be measured, without error and before any support, hourly, by measure.

    Each array is (patients, hours + 1) in the measure's own unit. A count of engineered cells is
    not-a-number where none were given; scores are not rounded.
    """
    body = Body(courses, ward, seed=seed, first=first)
    p = courses.parameters
    got = {
        "temperature": body.temperature_usual + body.signal("fever"),
        "mean-bp": body.signal("mean_bp"),
        "spo2": p[:, Parameter.spo2_start, None] - p[:, Parameter.spo2_fall, None] * body.signal("lung"),
    }
    for readout in body.readouts:
        got[readout.measure] = body.value(readout, got)
        if readout.car_only:
            got[readout.measure][~body.car] = np.nan
    return got
