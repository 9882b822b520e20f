"""How fast patients are simulated, and how exactly, beside libRoadRunner on our own SBML and scipy's LSODA.

    python bench/simulate.py [--patients 2000] [--million]

One run, one core: 21 days, hourly states, 26 segments of constant input (three steps of an engager under the
skin, two doses of tocilizumab, eight of dexamethasone). Speed is patients a second of CPU time; the error is
the largest of |y - reference| / (|reference| + floor) over patients, hours and states. The floor is 100 times
the absolute tolerance, and 0.1 mg of a drug that is gone within a day; the reference is our solver at a
relative tolerance of 1e-11, with which scipy's DOP853 agrees (tests/test_simulation_solver.py). All get the
same absolute tolerance of each state. What a tolerance means differs between engines, so the last column
compares at equal error: with the fastest of our rows that is at least as exact.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise

import numba
import numpy as np
import roadrunner
from scipy.integrate import odeint

from tocsin.definitions.load import library
from tocsin.definitions.model import PlannedDose, model_of
from tocsin.definitions.ward import ward_of
from tocsin.simulation import solve
from tocsin.simulation.equations import Input, Parameter, State, Vector
from tocsin.simulation.patients import Patients, population
from tocsin.simulation.sbml import to_sbml
from tocsin.simulation.schedule import schedule
from tocsin.simulation.solve import ATOL, courses, rates, summaries

DAYS = 21.0
HOURS = 504
#: Steps of the engager, tocilizumab, dexamethasone every six hours: 13 infusions of an hour, 26 segments.
DOSES = (
    PlannedDose("engager_depot", 0, 0.06, "mg/kg"),
    PlannedDose("engager_depot", 3, 0.3, "mg/kg"),
    PlannedDose("engager_depot", 6, 1.5, "mg/kg"),
    PlannedDose("tocilizumab", 2.5, 8, "mg/kg"),
    PlannedDose("tocilizumab", 4.1, 8, "mg/kg"),
    *(PlannedDose("dexamethasone", 4.6 + 0.25 * n, 10, "mg") for n in range(8)),
)
FLOOR = 100 * ATOL
for _quick in (State.anakinra_depot, State.anakinra, State.dexamethasone, State.methylprednisolone):
    FLOOR[_quick] = 0.1


@dataclass
class Row:
    """One contender: patients a second, largest error, its 99.9 % quantile."""

    title: str
    speed: float
    error: float
    usual: float


def patients(number: int, seed: int = 1) -> tuple[Patients, Vector]:
    """Patients of the teclistamab model and their schedule."""
    drawn = population(model_of("teclistamab", library()), number, seed)
    return drawn, schedule(DOSES, drawn.weight, DAYS)


def some(drawn: Patients, number: int) -> Patients:
    """The first of them."""
    return Patients(drawn.parameters[:number], drawn.weight[:number], drawn.age[:number], drawn.seed)


def best(work: Callable[[], object], times: int = 3) -> float:
    """The least CPU seconds of a few runs; the first, not counted, compiles or warms up."""
    work()
    spent = []
    for _ in range(times):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def judged(title: str, number: int, spent: float, states: Vector, reference: Vector) -> Row:
    """A row of the table."""
    error = np.abs(states - reference[: len(states)])
    error /= np.abs(reference[: len(states)]) + FLOOR
    return Row(title, number / spent, float(error.max()), float(np.quantile(error, 0.999)))


def segments(doses: Vector) -> list[tuple[int, int, Vector]]:
    """Hours and inputs of each segment of constant input."""
    edges = sorted({0, HOURS, *(int(hour) for hour in doses[:, :2].ravel() if hour < HOURS)})
    found = []
    for first, last in pairwise(edges):
        inputs = np.zeros(len(Input))
        for start, stop, place, rate in doses:
            if start <= first < stop:
                inputs[int(place)] += rate
        found.append((first, last, inputs))
    return found


def ours(drawn: Patients, doses: Vector, reference: Vector, rtol: float) -> Row:
    """Our solver, nobody looking."""
    spent = best(lambda: courses(drawn, doses, DAYS, rtol=rtol))
    states = courses(some(drawn, len(reference)), doses[: len(reference)], DAYS, rtol=rtol).states
    return judged(f"tocsin, rtol {rtol:g}", len(drawn.weight), spent, states, reference)


def under_care(drawn: Patients, doses: Vector) -> float:
    """Patients a second when the ward looks every hour and treats."""
    ward = ward_of("usual", library())
    return len(drawn.weight) / best(lambda: courses(drawn, doses, DAYS, ward))


def road_runner(
    drawn: Patients, doses: Vector, reference: Vector, rtol: float, *, stiff: bool, events: bool
) -> Row:
    """libRoadRunner (CVODE) on our SBML; doses as events of the document, or segment by segment from Python.

    One document serves every patient segment by segment: parameters are set, nothing is compiled again. With
    events each patient has a document of its own; loading it is not counted.
    """
    names = [state.name for state in State]
    inputs = [f"given_{each.name}" for each in Input]
    plans = [segments(plan) for plan in doses]
    states = np.empty((len(drawn.weight), HOURS + 1, len(State)))

    def order(engine: roadrunner.RoadRunner) -> list[State]:
        return [State[engine.model.getStateVectorId(place)] for place in range(len(State))]

    def prepared(n: int) -> roadrunner.RoadRunner:
        engine = roadrunner.RoadRunner(to_sbml(drawn.parameters[n], doses[n] if events else None))
        engine.timeCourseSelections = names
        for setting, value in (
            ("relative_tolerance", rtol), ("maximum_num_steps", 100_000), ("stiff", stiff),
            ("absolute_tolerance", [float(ATOL[place] * rtol / solve.RTOL) for place in order(engine)]),
        ):  # fmt: skip
            engine.integrator.setValue(setting, value)
        return engine

    spent = 0.0
    shared = prepared(0)
    for n in range(len(drawn.weight)):
        engine = prepared(n) if events else shared
        began = time.process_time()
        if events:
            states[n] = engine.simulate(0, DAYS, HOURS + 1)
        else:
            for parameter in Parameter:
                engine.setValue(parameter.name, drawn.parameters[n, parameter])
            engine.reset()
            before = np.full(len(Input), np.nan)
            for first, last, given in plans[n]:
                for place in np.flatnonzero(given != before):
                    engine.setValue(inputs[place], given[place])
                before = given
                states[n, first : last + 1] = engine.simulate(first / 24, last / 24, last - first + 1)
        spent += time.process_time() - began
    how = "events" if events else "per segment"
    title = f"libroadrunner {'BDF' if stiff else 'Adams'}, {how}, rtol {rtol:g}"
    return judged(title, len(drawn.weight), spent, states, reference)


def lsoda(drawn: Patients, doses: Vector, reference: Vector, rtol: float) -> Row:
    """scipy's LSODA through `odeint`, our compiled right-hand side, segment by segment."""
    plans = [segments(plan) for plan in doses]
    states = np.empty((len(drawn.weight), HOURS + 1, len(State)))
    states[:, 0] = reference[: len(states), 0]
    dy = np.empty(len(State))

    def slope(y: Vector, _: float, p: Vector, u: Vector) -> Vector:
        rates(y, p, u, dy)
        return dy

    began = time.process_time()
    for n in range(len(drawn.weight)):
        for first, last, given in plans[n]:
            states[n, first : last + 1] = odeint(
                slope, states[n, first], np.arange(first, last + 1) / 24, (drawn.parameters[n], given),
                rtol=rtol, atol=ATOL * rtol / solve.RTOL, mxstep=100_000,
            )  # fmt: skip
    spent = time.process_time() - began
    return judged(f"scipy LSODA, rtol {rtol:g}", len(drawn.weight), spent, states, reference)


def million(number: int = 1_000_000, batch: int = 50_000) -> None:
    """Reduce a million patients under care to trial summaries, on every core; print time and memory."""
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    ward = ward_of("usual", library())
    model = model_of("teclistamab", library())
    summaries(*patients(10), DAYS, ward)
    wall, cpu, counts = time.perf_counter(), time.process_time(), np.zeros(5, dtype=np.int64)
    for first in range(0, number, batch):
        drawn = population(model, batch, 1, first=first)
        found = summaries(drawn, schedule(DOSES, drawn.weight, DAYS), DAYS, ward)
        counts += np.bincount(found[:, solve.Summary.severity].astype(int), minlength=5)[:5]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    shares = " ".join(f"{grade}: {count / number:.2%}" for grade, count in enumerate(counts))
    print(
        f"\n{number:,} patients under care to trial summaries: {wall:.0f} s ({cpu:.0f} CPU s) on "
        f"{numba.get_num_threads()} threads, at most {peak:.2f} GB; the ward's view {shares}"
    )


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--patients", type=int, default=2000, help="how many for our own speed")
    parser.add_argument("--peers", type=int, default=60, help="how many for the slower engines")
    parser.add_argument("--judged", type=int, default=300, help="how many are compared with the reference")
    parser.add_argument("--million", action="store_true", help="also 10^6 patients, on all cores")
    asked = parser.parse_args()
    numba.set_num_threads(1)
    drawn, doses = patients(asked.patients)
    reference = courses(some(drawn, asked.judged), doses[: asked.judged], DAYS, rtol=1e-11).states
    few, planned = some(drawn, asked.peers), doses[: asked.peers]
    print(
        f"Python {platform.python_version()}, numba {numba.__version__}, libroadrunner "
        f"{roadrunner.__version__}, scipy {version('scipy')}, "
        f"{os.cpu_count()} cores, {platform.machine()}; load {os.getloadavg()[0]:.1f}"
    )
    print(f"{DAYS:g} d, hourly, {len(segments(doses[0]))} segments; patients a CPU second of one core")
    rows = [ours(drawn, doses, reference, rtol) for rtol in (1e-4, 1e-6, 1e-7, 1e-8)]
    for stiff in (True, False):
        for rtol in (1e-6, 1e-7, 1e-8):
            rows.append(road_runner(few, planned, reference, rtol, stiff=stiff, events=False))
    rows.append(road_runner(few, planned, reference, 1e-8, stiff=True, events=True))
    rows += [lsoda(few, planned, reference, rtol) for rtol in (1e-6, 1e-8)]
    mine = rows[:4]
    print(f"{'':<46}{'patients/s':>11}{'max error':>11}{'99.9 %':>10}{'x slower':>10}")
    for row in rows:
        # The fastest of our rows that is at least as exact: speed is compared at equal error.
        beside = max((each.speed for each in mine if each.error <= row.error), default=mine[-1].speed)
        slower = "" if row in mine else f"{beside / row.speed:>10.1f}"
        print(f"{row.title:<46}{row.speed:>11,.0f}{row.error:>11.1e}{row.usual:>10.1e}{slower}")
    open_loop = mine[1].speed
    closed = under_care(drawn, doses)
    print(f"with hourly care, rtol 1e-6{'':<19}{closed:>11,.0f}  {closed / open_loop:.2f} of the open loop")
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    if asked.million:
        million()


if __name__ == "__main__":
    main()
