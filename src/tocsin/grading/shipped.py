"""The compiled machine on its way to other computers: packed here, taken up there, nobody compiles twice.

numba files compiled code by the path and the time of its source, which differ between computers; so what
is shipped is filed anew where it arrives. Code for another kind of processor is not found by numba, and a
computer that cannot use what it was sent compiles for itself, once, whoever asks at the same time.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tocsin.grading.compiled import cache_folder, cache_root, fingerprint, grade_all, is_cached


def packed() -> bytes | None:
    """This computer's compiled machine, None where it has not been compiled."""
    if not is_cached():
        return None
    files = {path.name: path.read_bytes() for path in cache_folder().rglob("*.grade_all-*.nb[ic]")}
    return zlib.compress(pickle.dumps((fingerprint(), files)), 1)


def take_up(parcel: bytes | None) -> bool:
    """File a parcel of `packed` where this computer looks for it; whether the machine is there afterwards.

    A parcel of other sources, of another numba or another Python is left alone. The parcel is trusted as
    the program that carries it is.
    """
    if is_cached() or parcel is None:
        return is_cached()
    made_from, files = pickle.loads(zlib.decompress(parcel))
    cache = getattr(grade_all(), "_cache", None)
    place = getattr(cache, "cache_path", None)
    stamp = getattr(getattr(cache, "_cache_file", None), "_source_stamp", None)
    if made_from != fingerprint() or place is None or stamp is None:
        return False
    folder = Path(place)
    folder.mkdir(parents=True, exist_ok=True)
    # the index last: what it names is then there
    for name in sorted(files, key=lambda name: name.endswith(".nbi")):
        _put(folder / name, _stamped(files[name], stamp) if name.endswith(".nbi") else files[name])
    return is_cached()


def _stamped(index: bytes, stamp: Any) -> bytes:
    """An index of numba's for a source of another time: a pickled version, then (stamp, what is where)."""
    version = pickle.loads(index)
    head = pickle.dumps(version, protocol=-1)
    _, overloads = pickle.loads(index[len(head) :])
    return head + pickle.dumps((stamp, overloads), protocol=-1)


def _put(path: Path, data: bytes) -> None:
    """Write a file whole: another process may be reading."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(name, path)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let the processes of this computer in one after another: the first compiles, the others find it."""
    with suppress(OSError):
        cache_root().mkdir(parents=True, exist_ok=True)
    try:
        import fcntl

        lock = (cache_root() / "compiling").open("w")
    except (ImportError, OSError):
        # no such locks here, or nowhere to write: then each compiles for itself
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
