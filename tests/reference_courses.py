"""Courses solved a second time, by scipy on the same equations, restarted wherever an input changes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.integrate import solve_ivp

from tocsin.definitions.load import library
from tocsin.definitions.model import model_of
from tocsin.simulation.equations import Input, State
from tocsin.simulation.patients import population
from tocsin.simulation.schedule import schedule
from tocsin.simulation.solve import ATOL, rates

#: One of each trigger: engineered T cells, an engager under the skin, one into a vein, a pathogen.
TRIGGERS = ("tisagenlecleucel", "teclistamab", "blinatumomab", "covid-19")
DAYS = 21.0
#: Below this an amount or a concentration does not matter: 100 absolute tolerances, of a quick drug 0.1 mg.
FLOOR = 100 * ATOL
for _quick in (State.anakinra_depot, State.anakinra, State.dexamethasone, State.methylprednisolone):
    FLOOR[_quick] = 0.1


def drugs(weight: float) -> np.ndarray:
    """One dose or more of every drug that the model knows, beside whatever the therapy needs."""
    rows = [
        (30, 31, Input.dexamethasone, 10 * 24), (36, 37, Input.dexamethasone, 10 * 24),
        (96, 97, Input.tocilizumab, 8 * weight * 24), (104, 105, Input.tocilizumab, 8 * weight * 24),
        (144, 145, Input.siltuximab, 11 * weight * 24), (150, 151, Input.anakinra_depot, 100 * 24),
        (156, 157, Input.anakinra, 100 * 24), (168, 192, Input.methylprednisolone, 125),
    ]  # fmt: skip
    return np.array(rows, dtype=float)


def treated(name: str, patients: int, *, seed: int = 7, extra: bool = True):
    """Patients of a model and their schedule; with `extra`, every drug on top."""
    model = model_of(name, library())
    drawn = population(model, patients, seed)
    planned = schedule([dose for dose in model.doses if dose.day < DAYS], drawn.weight, DAYS)
    if extra:
        planned = np.stack(
            [np.concatenate([one, drugs(weight)]) for one, weight in zip(planned, drawn.weight, strict=True)]
        )
    return model, drawn, np.ascontiguousarray(planned)


def solved(p, doses, start, days, method="DOP853", rtol=1e-11, atol=None, written=rates):
    """Hourly states by scipy: (hours + 1, states)."""
    hours = round(days * 24)
    edges = sorted({0.0, float(hours), *(float(x) for x in doses[:, :2].ravel() if 0 < x < hours)})
    out = np.empty((hours + 1, len(start)))
    out[0] = y = np.array(start, dtype=float)
    for first, last in pairwise(edges):
        u = np.zeros(len(Input))
        for row in doses:
            if row[0] <= first < row[1]:
                u[int(row[2])] += row[3]

        def slope(_, state, u=u):
            dy = np.empty_like(state)
            written(state, p, u, dy)
            return dy

        at = np.arange(first, last + 1)
        found = solve_ivp(
            slope, (first / 24, last / 24), y, method, at / 24, rtol=rtol,
            atol=ATOL * (rtol / 1e-6) if atol is None else atol,
        )  # fmt: skip
        assert found.success, found.message
        out[int(first) : int(last) + 1] = found.y.T
        y = found.y[:, -1]
    return out


def apart(found, reference):
    """The largest difference, relative to the state plus the floor of what matters."""
    return float(np.max(np.abs(found - reference) / (np.abs(reference) + FLOOR)))
