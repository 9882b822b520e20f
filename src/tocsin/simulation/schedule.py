"""Turns planned doses into what the solver reads: hours, inputs and rates, for each patient by weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tocsin.definitions.model import PlannedDose
from tocsin.definitions.schema import TocsinError
from tocsin.definitions.ward import Ward
from tocsin.simulation.equations import Input, Vector

#: An amount is given within this many hours.
WITHIN = 1.0


def schedule(doses: Sequence[PlannedDose], weight: Vector, days: float, ward: Ward | None = None) -> Vector:
    """Doses as (n, rows, 4): first hour, last hour, input, amount a day. Infused cells are not among them.

    Tocilizumab by weight follows the ward's own dose rule, where there is a ward: more for the light, and
    never more than its most.

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
        if dose.unit != "mg/kg":
            given = np.full_like(weight, dose.amount)
        elif dose.input == "tocilizumab" and ward is not None:
            given = _tocilizumab(dose.amount, weight, ward)
        else:
            given = dose.amount * weight
        # A rate that runs for part of an hour is spread over the whole hour: what is given stays the same.
        amount = given * (dose.days * 24.0 / (last - first) if rate else 24.0 / WITHIN)
        rows.append(np.stack([np.full_like(weight, first), np.full_like(weight, last),
                              np.full_like(weight, Input[dose.input]), amount], axis=1))  # fmt: skip
    if not rows:
        return np.zeros((len(weight), 0, 4))
    return np.ascontiguousarray(np.stack(rows, axis=1))


def _tocilizumab(per_kg: float, weight: Vector, ward: Ward) -> Vector:
    """Milligrams for each weight, by the ward's rule."""
    numbers = ward.numbers
    usual = per_kg == numbers["treatment_tocilizumab_mg_per_kg"]
    light = weight < numbers["treatment_tocilizumab_light_below_kg"]
    each = np.where(usual & light, numbers["treatment_tocilizumab_light_mg_per_kg"], per_kg)
    return np.minimum(each * weight, numbers["treatment_tocilizumab_most_mg"])


def cells(doses: Sequence[PlannedDose]) -> float:
    """Infused cells as a multiple of the usual dose, 1 where none is planned."""
    planned = [dose.amount for dose in doses if dose.input == "cells"]
    return sum(planned) if planned else 1.0
