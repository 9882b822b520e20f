"""Python's search for garbage, kept from stopping the service.

The machines of thousands of patients are millions of objects, and one full search through them for cycles
that nobody needs stops everything for seconds. What is in use is therefore set aside every few seconds, so
that a search goes through what is new; once a day everything is searched, because what was set aside may have
become garbage.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

#: Seconds between two times at which what is in use is set aside; then a search takes some 10 ms.
OFTEN = 10.0
#: Seconds between two searches through everything.
SELDOM = 86_400.0


def tidy(wait: Callable[[float], bool], *, often: float = OFTEN, seldom: float = SELDOM) -> None:
    """Tidy until `wait`, which waits so many seconds, says that the service ends."""
    whole = time.monotonic()
    while True:
        if time.monotonic() - whole >= seldom:
            whole = time.monotonic()
            gc.unfreeze()
        gc.collect()
        gc.freeze()
        if wait(often):
            gc.unfreeze()
            return
