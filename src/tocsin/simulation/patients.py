"""Draws virtual patients: each one's parameters, weight and age, from a model and a seed.

A patient depends on the seed and its own number alone, so patient 7 is the same in a trial of 10 and in one
of 10,000; two models drawn with one seed give twins, which makes comparisons of policies quiet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tocsin.definitions.model import Model
from tocsin.definitions.schema import DefinitionError, TocsinError, near
from tocsin.simulation.compiled import compiled
from tocsin.simulation.draws import normal, uniform
from tocsin.simulation.equations import Parameter, Vector


@dataclass(frozen=True, slots=True)
class Patients:
    """Parameters (n, parameters), weight (kg), age (years) of patients `first`, `first` + 1 ... of `seed`."""

    parameters: Vector
    weight: Vector
    age: Vector
    seed: int
    first: int = 0


#: Purposes of random numbers, so that no two uses share one. Parameters use their own places.
WEIGHT, AGE, CLASS = 900, 901, 910


def typical(model: Model) -> Vector:
    """The parameters of the typical patient, in the order of `Parameter`.

    Raises
    ------
    DefinitionError : the shelf lacks a parameter the equations read, or has one they do not.
    """
    names = [parameter.name for parameter in Parameter]
    for name in sorted({*names} ^ {*model.values}):
        raise DefinitionError(
            f"models/{model.id}: `{name}` is "
            + (
                f"not a parameter of the equations{near(name, names)}"
                if name in model.values
                else f"missing{near(name, model.values)}"
            )
            + "\n  fix: equations.Parameter and the shelf hold the same names"
        )
    return np.array([model.values[name].value for name in names])


def population(model: Model, patients: int, seed: int, *, first: int = 0) -> Patients:
    """`patients` patients of a model, from number `first` on.

    Raises
    ------
    TocsinError : fewer than one patient, or a seed below 0.
    """
    if patients < 1:
        raise TocsinError(f"{patients} patients cannot be simulated\n  fix: 1 or more")
    if seed < 0:
        raise TocsinError(f"the seed is {seed}\n  fix: a whole number of 0 or more")
    middle = typical(model)
    spread = np.array([model.values[parameter.name].sd for parameter in Parameter])
    logs = np.array([model.values[parameter.name].law == "log-normal" for parameter in Parameter])
    effect = np.array([Parameter[model.values[p.name].shared or p.name] for p in Parameter], dtype=np.int64)
    share = np.array([one.share for one in model.classes])
    factor = np.ones((len(model.classes), len(Parameter)))
    for row, one in enumerate(model.classes):
        for name, number in one.factor.items():
            factor[row, Parameter[name]] = number
    out = np.empty((patients, len(Parameter)))
    weight, age = np.empty(patients), np.empty(patients)
    _draw(middle, spread, logs, effect, share, factor, np.array([*model.weight, *model.age]),
          seed, first, out, weight, age)  # fmt: skip
    return Patients(out, weight, age, seed, first)


@compiled
def _draw(middle, spread, logs, effect, share, factor, body, seed, first, out, weight, age):  # type: ignore[no-untyped-def]
    for n in range(out.shape[0]):
        number = first + n
        for i in range(middle.shape[0]):
            z = min(4.0, max(-4.0, normal(seed, number, effect[i], 0))) if spread[i] > 0 else 0.0
            out[n, i] = middle[i] * np.exp(spread[i] * z) if logs[i] else middle[i] + spread[i] * z
        for row in range(share.shape[0]):
            if uniform(seed, number, CLASS + row, 0) < share[row]:
                for i in range(middle.shape[0]):
                    out[n, i] *= factor[row, i]
        weight[n] = body[0] * np.exp(body[1] * normal(seed, number, WEIGHT, 0))
        age[n] = body[2] * np.exp(body[3] * normal(seed, number, AGE, 0))
