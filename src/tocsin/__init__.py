"""Tocsin grades cytokine release syndrome over time, from real records, with reasons.

Every name here is loaded when first used: `import tocsin` costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_HOMES = {
    "TocsinError": "tocsin.definitions.schema",
    "advise": "tocsin.guidance.answer",
    "cite": "tocsin.citations",
    "complications": "tocsin.complications",
    "episodes": "tocsin.episodes",
    "explain": "tocsin.definitions.describe:page",
    "grade": "tocsin.grading.batch:grade_table",
    "library": "tocsin.definitions.load",
    "open_source": "tocsin.sources.read",
    "patient": "tocsin.testing",
    "read": "tocsin.sources.read",
    "save": "tocsin.plots.files",
    "score": "tocsin.scores",
    "simulate": "tocsin.simulation.answer",
    "timeline": "tocsin.plots.timeline",
    "triage": "tocsin.advice",
    "why": "tocsin.grading.why",
    "write_facts": "tocsin.facts",
}

__all__ = [*_HOMES]


class _Front(ModuleType):
    """`tocsin.episodes` is the function, also after the module of that name has been imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Front


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, _, own = _HOMES[name].partition(":")
    value = getattr(importlib.import_module(home), own or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
