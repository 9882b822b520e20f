"""Exports of a cohort for registries, submissions and exchange. Names load when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {"names": "tocsin.cohort.exports.folder", "write": "tocsin.cohort.exports.folder"}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
