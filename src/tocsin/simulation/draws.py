"""Random numbers that depend on what they are for and on nothing else.

Each is a hash of (seed, patient number, purpose, step), so a patient is the same whatever the number of
patients, threads or batches around it. The hash is SplitMix64's finaliser (Steele, Lea and Flood,
OOPSLA 2014); uniform numbers pass the usual equidistribution tests far beyond what a virtual trial needs.
"""

from __future__ import annotations

import math

import numpy as np

from tocsin.simulation.compiled import compiled

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


@compiled
def _mixed(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> _S30)) * _FIRST
    value = (value ^ (value >> _S27)) * _SECOND
    return value ^ (value >> _S31)


@compiled
def uniform(seed: int, number: int, purpose: int, step: int) -> float:
    """A number in (0, 1)."""
    value = _mixed(np.uint64(seed) + _STEP)
    value = _mixed(value ^ (np.uint64(number) * _STEP + _FIRST))
    value = _mixed(value ^ (np.uint64(purpose) * _SECOND + _STEP))
    value = _mixed(value ^ (np.uint64(step) * _FIRST + _SECOND))
    return (float(value >> _S11) + 0.5) / 9007199254740992.0


@compiled
def normal(seed: int, number: int, purpose: int, step: int) -> float:
    """A standard normal number, by Box and Muller's transform of two uniform ones."""
    radius = math.sqrt(-2.0 * math.log(uniform(seed, number, 2 * purpose, step)))
    return radius * math.cos(2.0 * math.pi * uniform(seed, number, 2 * purpose + 1, step))
