"""The body weight each rate is taken with.

The dosing weight charted with the infusion (a `weight` row with the method `dosing`), the latest at or
before the row; else the first weight of the stay: the oldest one that has not lapsed, never the swelling
patient's latest. A weight stands for the hold of its definition. Only what was charted, and known, by the
time the row was is used, so an answer given at the bedside is not changed by what is written down
afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tocsin.facts.parse import Flags, Floats, Ints


@dataclass(frozen=True, slots=True)
class Charted:
    """Weights, ordered by patient, time and kilograms; `gone` is when a correction was known."""

    patient: Ints
    time: Ints
    known: Ints
    gone: Ints
    kilograms: Floats
    dosing: Flags


NEVER = np.iinfo(np.int64).max


def weights_for(charted: Charted, patient: Ints, time: Ints, known: Ints, hold: int) -> Floats:
    """Kilograms for each asking row (NaN = none); `hold` in us, `known` when the row was recorded."""
    if not len(charted.patient) or not len(patient):
        return np.full(len(patient), np.nan)
    if np.all(charted.known <= charted.time) and np.all(charted.gone == NEVER) and np.all(known >= time):
        return _simple(charted, patient, time, hold)
    return _careful(charted, patient, time, known, hold)


def _simple(charted: Charted, patient: Ints, time: Ints, hold: int) -> Floats:
    """Every weight was known when it was charted: two binary searches over (patient, time)."""
    lapsed = time - hold
    moments, place = np.unique(np.concatenate([charted.time, time, lapsed]), return_inverse=True)
    split = [len(charted.time), len(charted.time) + len(time)]
    at, asked, old = np.split(place.astype(np.int64), split)
    size = len(moments)
    keys, now, since = charted.patient * size + at, patient * size + asked, patient * size + old
    result = np.full(len(patient), np.nan)
    first = np.searchsorted(keys, since, side="right")
    fits = (first < len(keys)) & (keys[np.minimum(first, len(keys) - 1)] <= now)
    result[fits] = charted.kilograms[first[fits]]
    dosing, kilograms = keys[charted.dosing], charted.kilograms[charted.dosing]
    if len(dosing):
        last = np.searchsorted(dosing, now, side="right") - 1
        fits = (last >= 0) & (dosing[np.maximum(last, 0)] > since)
        # Two at one instant: the lighter, which makes the higher rate.
        result[fits] = kilograms[np.searchsorted(dosing, dosing[last[fits]], side="left")]
    return result


def _careful(charted: Charted, patient: Ints, time: Ints, known: Ints, hold: int) -> Floats:
    """Some were written down late or corrected: each asking row sees only what it could know."""
    result = np.full(len(patient), np.nan)
    starts = np.searchsorted(charted.patient, patient, side="left")
    stops = np.searchsorted(charted.patient, patient, side="right")
    for row in range(len(patient)):
        span = slice(starts[row], stops[row])
        times = charted.time[span]
        seen = (times <= time[row]) & (times > time[row] - hold)
        seen &= (charted.known[span] <= known[row]) & (charted.gone[span] > known[row])
        dosing = np.flatnonzero(seen & charted.dosing[span])
        if len(dosing):
            latest = times[dosing[-1]]
            result[row] = charted.kilograms[span][dosing[times[dosing] == latest][0]]
        elif np.any(seen):
            result[row] = charted.kilograms[span][np.flatnonzero(seen)[0]]
    return result
