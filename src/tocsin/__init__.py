"""Tocsin grades cytokine release syndrome over time, from real records, with reasons.

Every name here is loaded when first used: `import tocsin` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "TocsinError": "tocsin.definitions.schema",
    "cite": "tocsin.citations",
    "episodes": "tocsin.episodes",
    "explain": "tocsin.definitions.describe:page",
    "grade": "tocsin.grading.batch",
    "library": "tocsin.definitions.load",
    "open_source": "tocsin.sources.read",
    "patient": "tocsin.testing",
    "read": "tocsin.sources.read",
    "save": "tocsin.plots",
    "timeline": "tocsin.plots",
    "why": "tocsin.grading.why",
    "write_facts": "tocsin.facts",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, _, own = _HOMES[name].partition(":")
    value = getattr(importlib.import_module(home), own or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
