"""Scores: published formulas on a patient's facts, with what is missing, how old it is, and the evidence."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "score": "answer",
    "scores": "answer",
    "scores_when": "answer",
    "over_time": "answer",
    "table": "answer",
    "Value": "value",
    "Item": "value",
    "Input": "value",
    "positive_predictive_value": "performance",
    "likelihoods": "performance",
    "probability": "performance",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
