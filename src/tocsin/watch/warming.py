"""What makes a service quick from its first minute on: the compiled machine loaded, few looks for garbage.

A chart of some thousands of resources is some hundred thousand small objects, none of them garbage before the
answer is given. Looking through all of them again and again while they are made costs a third of the answer.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from tocsin.grading.ward import warm
from tocsin.watch.journal import failed

#: New objects after which Python looks for cycles among them, and how many such looks go to a wider one.
SELDOM = (50_000, 20, 100)
#: Seconds for which the end of the service waits for the machine to be loaded.
PATIENCE = 5.0


def _warm() -> None:
    try:
        pa.array([0])  # the first array imports pandas where it is installed: a fifth of a second
        warm()
    except Exception as error:
        failed("loading the compiled machine", error)  # plain Python gives the same answers


@contextmanager
def warmed() -> Iterator[None]:
    """Load the machine in the background, and let the collector of cycles look seldom, while it holds."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()  # what is loaded by now stays
    gc.set_threshold(*SELDOM)
    loading = threading.Thread(target=_warm, name="tocsin-warming", daemon=True)
    loading.start()
    try:
        yield
    finally:
        loading.join(PATIENCE)
        gc.set_threshold(*before)
        gc.unfreeze()
