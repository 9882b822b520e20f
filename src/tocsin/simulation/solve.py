"""Solves the model for many patients: Dormand and Prince's 5(4) pair, hourly output, hourly care.

The solver steps as far as accuracy allows; the hours inside a step are read from its interpolant of
fourth order. It starts anew only where an input changes: at a scheduled dose, or in the hour in which the
ward gives a drug. So a ward that looks every hour costs little more than one that never looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tocsin.definitions.schema import TocsinError
from tocsin.definitions.ward import Policy, Ward
from tocsin.simulation import equations
from tocsin.simulation.care import MEMORY, Chart, attend
from tocsin.simulation.compiled import compiled
from tocsin.simulation.equations import Input, Parameter, State, Vector
from tocsin.simulation.patients import Patients
from tocsin.simulation.summary import Summary, summarise

RTOL = 1e-6
#: The longest course, in days: beyond it the model says nothing, and a table of hours would not fit.
LONGEST_DAYS = 366

rates = compiled(equations.rates)

#: The first step after an input has changed, and the longest, in hours: past it the hours inside a step,
#: which the error estimate does not see, are read less well than its ends.
FIRST, LONGEST_STEP = 0.02, 2.3
N = len(State)
INPUTS = len(Input)
CHANNELS = len(Chart)
#: Absolute tolerance of each state: 1e-8 where 1 is the scale, 1e-4 for pg/mL, mg/L, ug/L and
#: mg of antibody.
ATOL = np.full(N, 1e-8)
for _state in (
    State.ifn_gamma, State.tnf_alpha, State.il_1_beta, State.il_6, State.il_10, State.crp, State.ferritin,
    State.tocilizumab, State.tocilizumab_peripheral, State.siltuximab, State.siltuximab_peripheral,
):  # fmt: skip
    ATOL[_state] = 1e-4
for _state in (State.anakinra_depot, State.anakinra, State.dexamethasone, State.methylprednisolone):
    ATOL[_state] = 1e-5  # mg, of doses of 10 mg and more
ATOL[State.steroid] = 1e-4  # mg still at work, half its effect at 3
ATOL[State.il_1_beta] = 1e-6  # its floor is 0.28 pg/mL


@dataclass(frozen=True, slots=True)
class Courses:
    """Hourly courses of n patients; see the fields' shapes.

    Attributes
    ----------
    states : (n, hours + 1, states), in the units of `State`.
    chart : (n, hours + 1, channels of `Chart`), what the ward measured and gave; empty without care.
    parameters : (n, parameters).  weight, age : (n,), kg and years.
    doses : (n, rows, 4), the schedule: first hour, last hour, input, amount a day.
    """

    states: Vector
    chart: Vector
    parameters: Vector
    weight: Vector
    age: Vector
    doses: Vector


@compiled
def at_rest(p, y):  # type: ignore[no-untyped-def]
    """The state before the first dose: at rest."""
    y[:] = 0.0
    y[State.antigen] = p[Parameter.antigen_start]
    y[State.resting] = p[Parameter.resting_start]
    y[State.tolerance] = 1.0
    y[State.ifn_gamma] = p[Parameter.b_ifn] / p[Parameter.k_ifn]
    y[State.tnf_alpha] = p[Parameter.b_tnf] / p[Parameter.k_tnf]
    y[State.il_1_beta] = p[Parameter.b_il1] / p[Parameter.k_il1]
    y[State.il_6] = p[Parameter.b_il6] / p[Parameter.k_il6]
    y[State.il_10] = p[Parameter.b_il10] / p[Parameter.k_il10]
    y[State.crp] = p[Parameter.crp_start] * (
        1.0 + p[Parameter.crp_gain] * y[State.il_6] / (y[State.il_6] + p[Parameter.crp_half])
    )
    y[State.ferritin] = p[Parameter.ferritin_start]


@compiled
def _given(doses, hour, extra, u):  # type: ignore[no-untyped-def]
    """Fill `u` with what runs from `hour` on; return the next hour at which the schedule changes."""
    u[:] = extra
    change = 1e18
    for row in range(doses.shape[0]):
        first, last = doses[row, 0], doses[row, 1]
        if first <= hour < last:
            u[int(doses[row, 2])] += doses[row, 3]
        if hour < first < change:
            change = first
        if hour < last < change:
            change = last
    return change


@compiled
def _course(p, doses, hours, rtol, atol, ward, ladder, cared, seed, number, weight, states, chart):  # type: ignore[no-untyped-def]
    """One patient's course into `states` and `chart`; returns the number of right-hand sides, -1 if stuck."""
    y, end, stage = np.empty(N), np.empty(N), np.empty(N)
    k1, k2, k3, k4, k5, k6, k7 = (
        np.empty(N), np.empty(N), np.empty(N), np.empty(N), np.empty(N), np.empty(N), np.empty(N),
    )  # fmt: skip
    u, extra, before = np.zeros(INPUTS), np.zeros(INPUTS), np.zeros(INPUTS)
    memory = np.zeros(MEMORY)
    day = 1.0 / 24.0
    at_rest(p, y)
    states[0] = y
    if cared:
        attend(0, y, p, doses, ward, ladder, memory, chart[0], extra, seed, number, weight)
    hour = 0
    t = 0.0
    change = min(_given(doses, 0, extra, u), float(hours))
    rates(y, p, u, k1)
    asked = 1
    h = FIRST
    while hour < hours:
        h = min(h, LONGEST_STEP, change - t)
        d = h * day
        for i in range(N):
            stage[i] = y[i] + d * (0.2 * k1[i])
        rates(stage, p, u, k2)
        for i in range(N):
            stage[i] = y[i] + d * (3.0 / 40.0 * k1[i] + 9.0 / 40.0 * k2[i])
        rates(stage, p, u, k3)
        for i in range(N):
            stage[i] = y[i] + d * (44.0 / 45.0 * k1[i] - 56.0 / 15.0 * k2[i] + 32.0 / 9.0 * k3[i])
        rates(stage, p, u, k4)
        for i in range(N):
            stage[i] = y[i] + d * (
                19372.0 / 6561.0 * k1[i]
                - 25360.0 / 2187.0 * k2[i]
                + 64448.0 / 6561.0 * k3[i]
                - 212.0 / 729.0 * k4[i]
            )
        rates(stage, p, u, k5)
        for i in range(N):
            stage[i] = y[i] + d * (
                9017.0 / 3168.0 * k1[i]
                - 355.0 / 33.0 * k2[i]
                + 46732.0 / 5247.0 * k3[i]
                + 49.0 / 176.0 * k4[i]
                - 5103.0 / 18656.0 * k5[i]
            )
        rates(stage, p, u, k6)
        for i in range(N):
            end[i] = y[i] + d * (
                35.0 / 384.0 * k1[i]
                + 500.0 / 1113.0 * k3[i]
                + 125.0 / 192.0 * k4[i]
                - 2187.0 / 6784.0 * k5[i]
                + 11.0 / 84.0 * k6[i]
            )
        rates(end, p, u, k7)
        asked += 6
        error = 0.0
        for i in range(N):
            local = d * (
                71.0 / 57600.0 * k1[i]
                - 71.0 / 16695.0 * k3[i]
                + 71.0 / 1920.0 * k4[i]
                - 17253.0 / 339200.0 * k5[i]
                + 22.0 / 525.0 * k6[i]
                - 1.0 / 40.0 * k7[i]
            )
            local /= atol[i] + rtol * max(abs(y[i]), abs(end[i]))
            error = max(error, abs(local)) if local == local else local
        if not error <= 1.0:  # too large, or not a number
            h *= max(0.2, 0.9 * error**-0.2) if error == error else 0.1
            if h < 1e-9:
                return -1
            continue

        reached = t + h
        if change - reached < 1e-9:
            reached = change
        broken = False
        while hour + 1 <= reached:
            hour += 1
            theta = (hour - t) / h
            if hour == reached:
                states[hour] = end
            else:
                rest = 1.0 - theta
                for i in range(N):
                    difference = end[i] - y[i]
                    bend = d * k1[i] - difference
                    last = d * (
                        -12715105075.0 / 11282082432.0 * k1[i]
                        + 87487479700.0 / 32700410799.0 * k3[i]
                        - 10690763975.0 / 1880347072.0 * k4[i]
                        + 701980252875.0 / 199316789632.0 * k5[i]
                        - 1453857185.0 / 822651844.0 * k6[i]
                        + 69997945.0 / 29380423.0 * k7[i]
                    )
                    states[hour, i] = y[i] + theta * (
                        difference
                        + rest * (bend + theta * (difference - d * k7[i] - bend + rest * last))
                    )
            if cared:
                before[:] = extra
                attend(
                    hour, states[hour], p, doses, ward, ladder, memory, chart[hour], extra, seed, number,
                    weight,
                )  # fmt: skip
                for i in range(INPUTS):
                    if extra[i] != before[i]:
                        broken = True
            if broken or hour == change:
                broken = True
                break
        grown = h * min(5.0, 0.9 * max(error, 1e-10) ** -0.2)
        if broken:
            t = float(hour)
            y[:] = states[hour]
            before[:] = u
            change = min(_given(doses, hour, extra, u), float(hours))
            rates(y, p, u, k1)
            asked += 1
            # A drug may block its target within minutes. The pair hardly weighs what it saw at the very start
            # of a step, so a long first step would miss the fall and not notice.
            for i in range(INPUTS):
                if u[i] > before[i]:
                    grown = min(grown, FIRST)
        else:
            t = reached
            y[:] = end
            k1[:] = k7
        h = grown
    return asked


@compiled(parallel=True)
def _courses(parameters, doses, hours, rtol, atol, ward, ladder, cared, seed, first, weight, states, chart, asked):  # type: ignore[no-untyped-def]  # noqa: E501
    for n in nb.prange(parameters.shape[0]):
        asked[n] = _course(
            parameters[n], doses[n], hours, rtol, atol, ward, ladder, cared, seed, first + n, weight[n],
            states[n], chart[n],
        )  # fmt: skip


@compiled(parallel=True)
def _summaries(parameters, doses, hours, rtol, atol, ward, ladder, cared, seed, first, weight, out, asked):  # type: ignore[no-untyped-def]
    for n in nb.prange(parameters.shape[0]):
        states = np.empty((hours + 1, N))
        chart = np.zeros((hours + 1 if cared else 1, CHANNELS))
        asked[n] = _course(
            parameters[n], doses[n], hours, rtol, atol, ward, ladder, cared, seed, first + n, weight[n],
            states, chart,
        )  # fmt: skip
        summarise(states, chart, ward[Policy.fever_from], float(ladder.shape[0] - 1), out[n])


def _checked(patients: Patients, days: float, asked: NDArray[np.int64]) -> None:
    """Refuse a course that the solver could not finish; name the patient."""
    stuck = np.flatnonzero(asked < 0)
    if len(stuck):
        raise TocsinError(
            f"patient {patients.first + int(stuck[0])} of seed {patients.seed} could not be solved over "
            f"{days:g} days\n  why: a parameter lies far outside what the equations can follow\n"
            "  fix: look at that patient's parameters; a site's own models/ may hold a slip"
        )


def hours_of(days: float) -> int:
    """Whole hours of so many days; raises `TocsinError` for a horizon the model says nothing about."""
    if not 0 < days <= LONGEST_DAYS:
        raise TocsinError(
            f"{days:g} days cannot be simulated\n"
            "  why: the model follows the first weeks after a dose; "
            f"beyond {LONGEST_DAYS} days it says nothing\n"
            f"  fix: more than 0 and at most {LONGEST_DAYS}"
        )
    return round(days * 24)


def _plan(patients: Patients, doses: Vector, ward: Ward | None) -> tuple[Any, ...]:
    """What both kernels are given: contiguous arrays, an empty ward where none looks."""
    policy = np.zeros(len(Policy)) if ward is None else ward.array
    rungs = np.zeros((1, 4)) if ward is None else ward.rungs
    return np.ascontiguousarray(patients.parameters), doses, policy, rungs, ward is not None


def courses(
    patients: Patients, doses: Vector, days: float, ward: Ward | None = None, *, rtol: float = RTOL
) -> Courses:
    """Solve every patient over `days`, every hour; under `ward`'s care, or with nobody looking.

    Parameters
    ----------
    patients : from `population`.  doses : from `schedule`.  rtol : relative tolerance of the solver.

    Raises
    ------
    TocsinError : an impossible horizon, or a patient the solver cannot follow.
    """
    hours = hours_of(days)
    parameters, doses, policy, rungs, cared = _plan(patients, doses, ward)
    n = len(parameters)
    states = np.empty((n, hours + 1, N))
    chart = np.zeros((n, hours + 1 if cared else 1, CHANNELS))
    asked = np.zeros(n, dtype=np.int64)
    _courses(parameters, doses, hours, rtol, ATOL * (rtol / RTOL), policy, rungs, cared, patients.seed,
             patients.first, patients.weight, states, chart, asked)  # fmt: skip
    _checked(patients, days, asked)
    return Courses(states, chart, parameters, patients.weight, patients.age, doses)


def summaries(patients: Patients, doses: Vector, days: float, ward: Ward) -> Vector:
    """The `Summary` of every patient, (n, places), without keeping the courses; raises as `courses`."""
    hours = hours_of(days)
    parameters, doses, policy, rungs, cared = _plan(patients, doses, ward)
    out = np.empty((len(parameters), len(Summary)))
    asked = np.zeros(len(parameters), dtype=np.int64)
    _summaries(parameters, doses, hours, RTOL, ATOL, policy, rungs, cared, patients.seed, patients.first,
               patients.weight, out, asked)  # fmt: skip
    _checked(patients, days, asked)
    return out
