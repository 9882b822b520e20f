"""Compiles the functions of this room; keeps what was compiled where a changed source finds nothing stale.

Numba files compiled code by the file of each function alone; a function it calls in another file, or a place
in `Policy` or `State`, may change without its noticing. So the folder is named by the content of every
source that compiled code reads.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numba

from tocsin.definitions import ward
from tocsin.grading.compiled import cache_root

F = TypeVar("F", bound=Callable[..., Any])


@lru_cache(maxsize=1)
def cache_folder() -> Path:
    """The folder of this room's compiled code, below the grading machine's root."""
    digest = hashlib.sha256(f"{version('numba')} {sys.version} {__file__}".encode())
    for source in (*sorted(Path(__file__).parent.glob("*.py")), Path(ward.__file__)):
        digest.update(source.read_bytes() + str(source.stat().st_mtime_ns).encode())
    return cache_root() / f"simulation-{digest.hexdigest()[:16]}"


def is_cached() -> bool:
    """Whether this room has been compiled on this computer before."""
    return any(cache_folder().rglob("*.nbi"))


def compiled(function: F | None = None, *, parallel: bool = False) -> Any:
    """A decorator: compile with IEEE division, without the interpreter's lock, kept in `cache_folder`."""
    if function is None:
        return lambda one: compiled(one, parallel=parallel)
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder())
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy", parallel=parallel)(function)
    finally:
        config.CACHE_DIR = before
