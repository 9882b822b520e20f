"""Cohorts: what a paper, a registry and a warehouse need of many patients. Names load when first used."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_HOMES = {"Cohort": "tocsin.cohort.records", "gather": "tocsin.cohort.gather"}

__all__ = [*_HOMES]


class _Room(ModuleType):
    """`tocsin.cohort.gather` is the function, also after the module of that name has been imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Room


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
