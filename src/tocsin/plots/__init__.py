"""One chart per question. `timeline` is one patient's course; `save` writes any chart to a file."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

# Altair costs most of a second to import, so it is paid only by whoever draws.
_HOMES = {"save": "tocsin.plots.files", "timeline": "tocsin.plots.timeline", "ward": "tocsin.plots.ward"}

__all__ = [*_HOMES]


class _Room(ModuleType):
    """`tocsin.plots.timeline` is the function, also after the module of that name has been imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Room


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
