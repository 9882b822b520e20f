"""Episodes: grades over time gathered into illnesses. Names load when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {"SCHEMA": "answer", "episodes": "find", "episodes_of": "find"}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
