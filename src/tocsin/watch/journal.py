"""What the service says of itself on standard error: what failed and where in the program, never a value."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

log = logging.getLogger("tocsin.watch")


def failed(what: str, error: BaseException) -> None:
    """Log a failure by its kind and place. Its message may quote a fact, so it is left out."""
    where = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(where[-4:]))
    log.error("%s failed: %s at %s", what, type(error).__name__, places or "?")
