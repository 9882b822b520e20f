"""One chart per question. `timeline` is one patient's course; `save` writes any chart to a file."""

from __future__ import annotations

from typing import Any

__all__ = ["save", "timeline"]


def __getattr__(name: str) -> Any:
    # Altair costs most of a second to import, so it is paid only by whoever draws.
    if name == "timeline":
        from tocsin.plots.page import timeline

        return timeline
    if name == "save":
        from tocsin.plots.files import save

        return save
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
