"""Turns planned doses into what the solver reads: hours, inputs and rates, for each patient by weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tocsin.definitions.model import PlannedDose
from tocsin.definitions.schema import TocsinError
from tocsin.simulation.equations import Input, Vector

#: An amount is given within this many hours.
WITHIN = 1.0


def schedule(doses: Sequence[PlannedDose], weight: Vector, days: float) -> Vector:
    """Doses as (n, rows, 4): first hour, last hour, input, amount a day. Infused cells are not among them.

    Raises
    ------
    TocsinError : a dose starts after the simulated time; it would silently not be given.
    """
    rows = []
    for dose in doses:
        if dose.input == "cells":
            continue
        if dose.day >= days:
            raise TocsinError(
                f"a dose of {dose.input.replace('_depot', '')} is planned on day {dose.day:g}, after the "
                f"{days:g} simulated days\n  fix: simulate longer (--days), or leave the dose out"
            )
        first = round(dose.day * 24.0)
        rate = dose.unit.endswith("/d")
        last = first + max(1.0, round(dose.days * 24.0)) if rate else first + WITHIN
        each = weight if dose.unit == "mg/kg" else np.ones_like(weight)
        amount = dose.amount * each * (1.0 if rate else 24.0 / WITHIN)
        rows.append(np.stack([np.full_like(weight, first), np.full_like(weight, last),
                              np.full_like(weight, Input[dose.input]), amount], axis=1))  # fmt: skip
    if not rows:
        return np.zeros((len(weight), 0, 4))
    return np.ascontiguousarray(np.stack(rows, axis=1))


def cells(doses: Sequence[PlannedDose]) -> float:
    """Infused cells as a multiple of the usual dose, 1 where none is planned."""
    planned = [dose.amount for dose in doses if dose.input == "cells"]
    return sum(planned) if planned else 1.0
