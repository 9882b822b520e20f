"""The same machine, compiled: the functions of `PARTS` under numba, and `onward.py`, which runs there alone.

The compiled code knows no definition, so a changed definition needs no new compilation. The cache on
disk lies in a folder named by the hash of these sources, of where they lie, and of the versions of numba
and Python: older code is never found again.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any

from tocsin.grading import intake, leaves, machine, nodes, onward, opcodes, program, rungs

PARTS = (leaves, nodes, rungs, intake, machine)
#: What is called from Python: each is compiled, and kept on disk, with all that it calls.
ENTRIES = ("grade_all", "onward_all")
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

_warm: set[str] = set()


def cache_root() -> Path:
    """Where compiled code is kept: `TOCSIN_CACHE`, else the user's cache folder."""
    root = os.environ.get("TOCSIN_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "tocsin"
    )
    return Path(root)


def fingerprint() -> str:
    """The hash of what the compiled code is made from, wherever the sources lie."""
    digest = hashlib.sha256()
    for part in (*PARTS, onward, opcodes, program):
        digest.update(Path(str(part.__file__)).read_bytes())
    digest.update(f"{_numba_version()} {sys.version}".encode())
    return digest.hexdigest()


def cache_folder() -> Path:
    """The folder of this machine's compiled code, named by everything it depends on."""
    # numba files its code by where the source lies and when it was written
    entry = Path(machine.__file__)
    place = f"{fingerprint()} {entry} {entry.stat().st_mtime_ns}"
    return cache_root() / f"machine-{hashlib.sha256(place.encode()).hexdigest()[:16]}"


def is_cached(entry: str = "grade_all") -> bool:
    """Whether the machine has been compiled on this computer before."""
    return any(cache_folder().rglob(f"*.{entry}-*.nbi"))


def is_warm(entry: str = "grade_all") -> bool:
    """Whether this process was told to have it loaded (`ward.warm`): then it costs nothing to use."""
    return entry in _warm


def now_warm(entry: str) -> None:
    """Say that it is loaded."""
    _warm.add(entry)


def _numba_version() -> str:
    from importlib.metadata import version

    return version("numba")


def grade_all() -> Callable[..., Any]:
    """`machine.grade_all`, compiled (from the cache on disk where it has been compiled before)."""
    return _entries()["grade_all"]


def onward_all() -> Callable[..., Any]:
    """`onward.onward_all`, likewise."""
    return _entries()["onward_all"]


@lru_cache(maxsize=1)
def _entries() -> dict[str, Callable[..., Any]]:
    """Every entry; numba compiles each, or finds it on disk, when it is first called."""
    import numba

    config: Any = numba.config
    njit: Any = numba.njit

    before = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder())
    try:
        compiled: dict[str, Any] = {}
        for part in (*PARTS, onward):
            compiled |= vars(part)
        for part in (*PARTS, onward):
            for name, function in vars(part).items():
                if isinstance(function, FunctionType) and function.__module__ == part.__name__:
                    twin = FunctionType(function.__code__, compiled, name, function.__defaults__)
                    twin.__module__ = function.__module__
                    # Only entries are called from Python: the others need no doors of their own (a third
                    # of the time to compile) and lie inside their files.
                    entry = name in ENTRIES
                    compiled[name] = njit(
                        cache=entry, nogil=True, error_model="numpy", forceinline=name in INLINED, _nrt=False,
                        no_cpython_wrapper=not entry, no_cfunc_wrapper=not entry,
                    )(twin)  # fmt: skip
        return {name: compiled[name] for name in ENTRIES}
    finally:
        config.CACHE_DIR = before
