"""Lines of a file of any size, plain or gzipped, in bounded memory: no line is held past `LONGEST`."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tocsin.sources.tally import Tally

BLOCK = 1 << 20
LONGEST = 32 << 20


def opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    """The file's bytes, unpacked where it begins as gzip does."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else path.open("rb")


def lines(path: Path, tally: Tally, longest: int = LONGEST) -> Iterator[tuple[int, bytes]]:
    """Line numbers from 1 with their bytes. A line too long is one reject; a truncated gzip ends with a note.

    Blank lines are passed over. What was read before a truncation stands, but for the line cut in two.
    """
    number, rest, skipping = 0, b"", False
    with opened(path) as file:
        while True:
            try:
                block = file.read(BLOCK)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                _cut_off(path, tally, error)
                return
            if not block:
                break
            *parts, rest = (rest + block).split(b"\n") if rest else block.split(b"\n")
            for part in parts:
                number += 1
                if skipping:
                    skipping = False
                elif len(part) > longest:
                    _too_long(path, number, tally, longest)
                elif part.strip():
                    yield number, part
            if len(rest) > longest and not skipping:
                _too_long(path, number + 1, tally, longest)
                skipping = True
            rest = b"" if skipping else rest
    if rest.strip():
        yield number + 1, rest


class ShortLines(io.RawIOBase):
    """A stream of bytes in which every line longer than `longest` is the short line `instead`.

    For readers that take a whole stream and hold a line at a time. Costs one search for a line end a block.
    """

    def __init__(self, file: IO[bytes] | gzip.GzipFile, longest: int, instead: bytes) -> None:
        self._blocks = self._shortened(file, longest, instead + b"\n")
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill what fits; 0 at the end."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    @staticmethod
    def _shortened(file: IO[bytes] | gzip.GzipFile, longest: int, instead: bytes) -> Iterator[bytes]:
        held, skipping = b"", False
        while block := file.read(BLOCK):
            end = block.rfind(b"\n") + 1
            if not end:  # inside one line
                held = b"" if skipping else held + block
            else:
                first = block.find(b"\n") + 1
                if skipping or len(held) + first > longest:
                    held, block, end, skipping = instead, block[first:], end - first, False
                yield held + block[:end]
                held = block[end:]
            if len(held) > longest:
                held, skipping = b"", True
        yield instead if skipping else held


def _too_long(path: Path, number: int, tally: Tally, longest: int) -> None:
    tally.reject(
        path.name, number, f"is longer than {longest >> 20} MB",
        "holding it would take the memory of all other patients", "write one resource or row a line",
    )  # fmt: skip


def _cut_off(path: Path, tally: Tally, error: Exception) -> None:
    tally.notes.append(
        f"{path.name} is cut off ({error}): what came before is kept, what came after is missing; copy the "
        "file again"
    )
    tally.reject(
        path.name, 0, "is cut off: the gzip stream does not end",
        "its last rows are missing, and missing is not the same as normal", "copy the file again",
    )  # fmt: skip
