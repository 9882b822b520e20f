"""The same machine, compiled: the functions of `PARTS` under numba.

The compiled code knows no definition, so a changed definition needs no new compilation. The cache on
disk lies in a folder named by the hash of these sources, of where they lie, and of the versions of numba
and Python: older code is never found again.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any

from tocsin.grading import intake, leaves, machine, nodes, opcodes, program, rungs

PARTS = (leaves, nodes, rungs, intake, machine)
#: Small functions of every row, and the path to them: without their call overhead, three times faster.
INLINED = {
    "touch",
    "soil",
    "wake",
    "until_when",
    "compare",
    "plain",
    "leaf",
    "take",
    "read",
    "take_row",
    "expect",
    "recalled",
    "follow",
    "scaled",
    "settle",
    "remember",
    "give",
    "update_leaves",
}

_warm = threading.Event()


def cache_root() -> Path:
    """Where compiled code is kept: `TOCSIN_CACHE`, else the user's cache folder."""
    root = os.environ.get("TOCSIN_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "tocsin"
    )
    return Path(root)


def fingerprint() -> str:
    """The hash of what the compiled code is made from, wherever the sources lie."""
    digest = hashlib.sha256()
    for part in (*PARTS, opcodes, program):
        digest.update(Path(str(part.__file__)).read_bytes())
    digest.update(f"{_numba_version()} {sys.version}".encode())
    return digest.hexdigest()


def cache_folder() -> Path:
    """The folder of this machine's compiled code, named by everything it depends on."""
    # numba files its code by where the source lies and when it was written
    entry = Path(machine.__file__)
    place = f"{fingerprint()} {entry} {entry.stat().st_mtime_ns}"
    return cache_root() / f"machine-{hashlib.sha256(place.encode()).hexdigest()[:16]}"


def is_cached() -> bool:
    """Whether the machine has been compiled on this computer before."""
    return any(cache_folder().rglob("*.nbi"))


def is_warm() -> bool:
    """Whether this process was told to have it loaded (`batch.warm`): then it costs nothing to use."""
    return _warm.is_set()


def now_warm() -> None:
    """Say that it is loaded."""
    _warm.set()


def _numba_version() -> str:
    from importlib.metadata import version

    return version("numba")


@lru_cache(maxsize=1)
def grade_all() -> Callable[..., Any]:
    """`machine.grade_all`, compiled (from the cache on disk where it has been compiled before)."""
    import numba

    config: Any = numba.config
    njit: Any = numba.njit

    before = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder())
    try:
        names: dict[str, Any] = {}
        for part in PARTS:
            names |= vars(part)
        compiled: dict[str, Any] = dict(names)
        for part in PARTS:
            for name, function in vars(part).items():
                if isinstance(function, FunctionType) and function.__module__ == part.__name__:
                    twin = FunctionType(function.__code__, compiled, name, function.__defaults__)
                    twin.__module__ = function.__module__
                    # Only the entry is called from Python: the others need no doors of their own (a third
                    # of the time to compile) and lie inside its file.
                    entry = name == "grade_all"
                    compiled[name] = njit(
                        cache=entry, nogil=True, error_model="numpy", forceinline=name in INLINED, _nrt=False,
                        no_cpython_wrapper=not entry, no_cfunc_wrapper=not entry,
                    )(twin)  # fmt: skip
        return compiled["grade_all"]  # type: ignore[no-any-return]
    finally:
        config.CACHE_DIR = before
