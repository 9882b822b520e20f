"""Runs published trials: simulate, chart, grade under the trial's scale, compare with what it published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tocsin.definitions.load import Library
from tocsin.definitions.trial import Trial
from tocsin.episodes import episodes
from tocsin.grading.batch import grade
from tocsin.simulation.equations import Vector
from tocsin.simulation.outcomes import compare, outcomes, spread_sets
from tocsin.simulation.plan import START, Plan, plan_of_trial, solved


@dataclass(frozen=True, slots=True)
class Arm:
    """One simulated arm: `columns` as `outcomes` names them, `sets` the calibrated set of each patient.

    `facts` and `intervals` are None unless asked for.
    """

    name: str
    columns: dict[str, Vector]
    sets: NDArray[np.int64]
    facts: pa.Table | None = None
    intervals: pa.Table | None = None


def simulated(
    plan: Plan, patients: int, seed: int, lib: Library, scale: str, *, keep: bool = False,
    done: Callable[[int], None] = lambda count: None,
) -> Arm:  # fmt: skip
    """Simulate a plan and read off what became of each patient, graded under `scale`.

    `keep` keeps facts and grades; `done` is told of patients as they are finished.
    """
    parts: list[dict[str, Vector]] = []
    facts, graded = [], []
    for course, table, first in solved(plan, patients, seed, lib):
        intervals = pa.concat_tables(grade(table, [scale], lib=lib))
        found = episodes(intervals, table, lib=lib)
        ids = [f"sim-{seed}-{first + k}" for k in range(len(course.states))]
        parts.append(outcomes(course, table, intervals, found, plan.ward, ids=ids, zero=START))
        if keep:
            facts.append(table)
            graded.append(intervals)
        done(len(ids))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    sets = np.concatenate(
        [np.full(len(one), k) for k, one in enumerate(np.array_split(np.arange(patients), len(plan.sets)))]
    )
    return Arm(
        plan.name,
        columns,
        sets,
        pa.concat_tables(facts) if keep else None,
        pa.concat_tables(graded) if keep else None,
    )


def run_trial(
    trial: Trial, patients: int, seed: int, lib: Library, *, draws: int = 1000,
    done: Callable[[int], None] = lambda count: None,
) -> tuple[Arm, pa.Table]:  # fmt: skip
    """A published trial, simulated over the ensemble, and its comparison (`outcomes.COMPARED`).

    How many of the calibrated sets are used depends on `patients` (`outcomes.spread_sets`): all of them from
    four times the trial's size a set.
    """
    plan = plan_of_trial(trial, lib)
    used = spread_sets(len(plan.sets), patients, trial.n)
    plan = replace(plan, sets=tuple(plan.sets[k] for k in used))
    arm = simulated(plan, patients, seed, lib, trial.scale, done=done)
    return arm, compare(trial, arm.columns, arm.sets, seed=seed, draws=draws)


class Share(TypedDict):
    """Share of an arm's patients with `grade` or higher, and its interval, in percent."""

    arm: str
    grade: int
    share: float
    low: float
    high: float


def levels(arm: Arm) -> list[Share]:
    """Share of an arm's patients with each grade or higher, in percent, with its 95 % interval.

    The interval is Wilson's, of the number simulated: it says how precise the simulation is, not how sure
    the model.
    """
    grades = arm.columns["grade"]
    wilson = partial(_wilson, n=len(grades))
    rows: list[Share] = []
    for level in (1, 2, 3, 4):
        count = int((grades >= level).sum())
        low, high = wilson(count)
        rows.append(
            {"arm": arm.name, "grade": level, "share": 100.0 * count / len(grades), "low": low, "high": high}
        )
    return rows


def _wilson(count: int, n: int) -> tuple[float, float]:
    z = 1.959964
    share = count / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return 100.0 * float(low if count else 0.0), 100.0 * float(high if count < n else 1.0)
