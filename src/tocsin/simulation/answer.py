"""The front door of the room: virtual patients as a table of facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from tocsin.definitions.load import Library, library
from tocsin.simulation.plan import following, plan_of, solved, with_prophylaxis, with_schedule


def simulate(
    therapy: str,
    patients: int = 100,
    seed: int = 1,
    *,
    days: float = 28.0,
    schedule: Path | str | None = None,
    prophylaxis: Sequence[str] = (),
    guideline: str | None = None,
    ensemble: bool = False,
    lib: Library | None = None,
) -> pa.Table:
    """Facts of virtual patients, ready for `tocsin.grade`; the same seed gives the same table.

    Parameters
    ----------
    therapy : a therapy or cause on the shelf `models`.  days : from the first dose.
    schedule : a CSV file of `what,day,amount,unit[,days]`; else the usual doses.
    prophylaxis : each `DRUG@DAY` or `DRUG@DAY:MG`.  guideline : treats by it; else the ward's own policy.
    ensemble : draw patients from every calibrated set, not from the best one.

    Raises
    ------
    TocsinError : anything that cannot be simulated, with why and fix.

    >>> facts = simulate("teclistamab", 2, seed=7, days=2)
    >>> sorted(set(facts["patient_id"].to_pylist()))
    ['sim-7-0', 'sim-7-1']
    """
    lib = lib or library()
    plan = plan_of(therapy, lib, days=days, ensemble=ensemble)
    if schedule is not None:
        plan = with_schedule(plan, Path(schedule))
    plan = with_prophylaxis(plan, prophylaxis)
    if guideline is not None:
        plan = replace(plan, ward=following(plan.ward, guideline, lib))
    return pa.concat_tables([facts for _, facts, _ in solved(plan, patients, seed, lib)])
