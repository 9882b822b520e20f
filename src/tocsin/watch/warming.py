"""What makes a service quick from its first minute on: the compiled machine loaded, few looks for garbage.

A chart of some thousands of resources is some hundred thousand small objects, none of them garbage before the
answer is given. Looking through all of them again and again while they are made costs a third of the answer.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from tocsin.grading.compiled import ENTRIES, cache_root, is_cached
from tocsin.grading.ward import warm
from tocsin.watch.journal import failed

#: New objects after which Python looks for cycles among them, and how many such looks go to a wider one.
SELDOM = (50_000, 20, 100)
#: Seconds for which the end of the service waits for the machine to be loaded.
PATIENCE = 5.0
#: Compiles the machine, with the lowest priority: whoever is served goes first.
COMPILE = """
import os
if hasattr(os, "nice"):
    os.nice(19)
from tocsin.grading.shipped import one_at_a_time
from tocsin.grading.ward import warm
with one_at_a_time():
    warm(anew=True)
"""


class Warming:
    """The thread that has the machine compiled where it never was, and loads it."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self.ending = False
        self.thread = threading.Thread(target=self._run, name="tocsin-warming", daemon=True)
        self.door = threading.Lock()

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def stop(self) -> None:
        """Leave compiling to the next service; what is being loaded is loaded."""
        with self.door:
            self.ending = True
            if self.child is not None:
                self.child.terminate()
        self.thread.join(PATIENCE)

    def _run(self) -> None:
        try:
            pa.array([0])  # the first array imports pandas where it is installed: a fifth of a second
            if not all(map(is_cached, ENTRIES)) and _can_be_kept():
                self._compile()
            warm()
        except Exception as error:
            failed("loading the compiled machine", error)  # plain Python gives the same answers

    def _compile(self) -> None:
        """In a process of its own: half a minute in this one would hold up whoever is served."""
        with self.door:
            if self.ending:
                return
            quiet = subprocess.DEVNULL
            self.child = subprocess.Popen(
                [sys.executable, "-c", COMPILE], stdin=quiet, stdout=quiet, stderr=quiet
            )
        self.child.wait()


def _can_be_kept() -> bool:
    """Whether what is compiled can be written where the next service looks for it."""
    try:
        cache_root().mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(cache_root(), os.W_OK)


@contextmanager
def warmed() -> Iterator[None]:
    """Load the machine in the background, and let the collector of cycles look seldom, while it holds."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()  # what is loaded by now stays
    gc.set_threshold(*SELDOM)
    warming = Warming()
    warming.start()
    try:
        yield
    finally:
        warming.stop()
        gc.set_threshold(*before)
        gc.unfreeze()
