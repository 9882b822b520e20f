"""Cohorts: what a paper, a registry and a warehouse need of many patients. Names load when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {"Cohort": "records", "gather": "gather"}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
