"""Advice for patients: how urgently to seek care, and the leaflet. Names load when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "AdviceError": "told",
    "Told": "told",
    "tell": "told",
    "told_in": "told",
    "triage": "urgency",
    "leaflet": "about",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
