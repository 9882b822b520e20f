"""What the service says of itself on standard error: what failed and where in the program, never a value."""

from __future__ import annotations

import logging
import time
import traceback
from collections import OrderedDict
from pathlib import Path

log = logging.getLogger("tocsin.watch")


#: Seconds in which the same failure is said once: a full disk fails every request, and the log lies on it.
QUIET = 10.0
#: Failures of which the last saying is remembered.
REMEMBERED = 100
_said: OrderedDict[str, tuple[float, int]] = OrderedDict()


def failed(what: str, error: BaseException) -> None:
    """Log a failure by its kind and place, the same one every ten seconds at most. Its message may quote a
    fact, so it is left out."""
    where = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(where[-4:]))
    line = f"{what} failed: {type(error).__name__} at {places or '?'}"
    now = time.monotonic()
    said, times = _said.get(line, (now - QUIET, 0))
    if now - said < QUIET:
        _said[line] = said, times + 1
        return
    _said[line] = now, 0
    _said.move_to_end(line)
    while len(_said) > REMEMBERED:
        _said.popitem(last=False)
    log.error("%s%s", line, f" (and {times} times since it was last said)" if times else "")
