"""Facts: the one table everything reads. Names load when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "SCHEMA": "columns",
    "REJECTS": "columns",
    "METADATA": "columns",
    "FactsError": "columns",
    "Canonical": "columns",
    "canonical": "patients",
    "settle": "patients",
    "settle_lot": "patients",
    "resolve": "patients",
    "merge": "patients",
    "together": "patients",
    "check_units": "patients",
    "write_facts": "files",
    "read_rows": "rows",
    "read_lot": "rows",
    "message": "rejects",
    "messages": "rejects",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
