"""Courses of virtual patients, drawn by hand: only what a test is about differs from rest."""

from __future__ import annotations

import numpy as np

from tocsin.definitions.load import library
from tocsin.definitions.model import model_of
from tocsin.definitions.ward import ward_of
from tocsin.simulation.care import Chart
from tocsin.simulation.equations import State
from tocsin.simulation.patients import typical
from tocsin.simulation.solve import Courses

LIB = library()
WARD = ward_of("usual", LIB)
CAR = model_of("tisagenlecleucel", LIB)
ENGAGER = model_of("teclistamab", LIB)


def course(hours=48, patients=1, *, model=CAR, age=40.0, doses=None, states=None, chart=None):
    """`patients` alike: `states` and `chart` name channels and what they hold, a number or one an hour."""
    still = np.zeros((patients, hours + 1, len(State)))
    for name, values in (states or {}).items():
        still[:, :, State[name]] = values
    seen = np.zeros((patients, hours + 1, len(Chart)))
    for channel, usual in ((Chart.temperature, 36.8), (Chart.mean_bp, 90.0), (Chart.spo2, 97.0)):
        seen[:, :, channel] = np.where(np.arange(hours + 1) % 4 == 0, usual, np.nan)
    for name, values in (chart or {}).items():
        seen[:, :, Chart[name]] = values
    given = np.zeros((patients, 0, 4)) if doses is None else np.tile(np.array(doses, float), (patients, 1, 1))
    parameters = np.tile(typical(model), (patients, 1))
    return Courses(still, seen, parameters, np.full(patients, 70.0), np.full(patients, age), given)
