"""A service on a computer where the machine was never compiled has it compiled beside itself, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tocsin.grading.compiled import ENTRIES

FOLLOWED = """
import time
from tocsin.grading.compiled import ENTRIES, is_cached, is_warm
from tocsin.watch.warming import warmed

print([is_cached(entry) for entry in ENTRIES])
with warmed():
    while not all(map(is_warm, ENTRIES)):
        time.sleep(0.1)
print([is_cached(entry) for entry in ENTRIES])
"""
ENDED = """
import threading, time
from tocsin.watch.warming import Warming

warming = Warming()
warming.start()
while warming.child is None:
    time.sleep(0.01)
warming.stop()
print(warming.child.wait(30) != 0, warming.thread.is_alive())
"""


def said(program: str, cache: Path) -> list[str]:
    """What a program prints that runs in a process of its own, with nothing compiled."""
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "TOCSIN_CACHE": str(cache)}, timeout=600,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.slow
def test_what_was_never_compiled_is_compiled_beside_the_service(tmp_path):
    none, all_ = ([found] * len(ENTRIES) for found in (False, True))
    assert said(FOLLOWED, tmp_path) == [str(none), str(all_)]


def test_who_ends_meanwhile_leaves_nobody_compiling(tmp_path):
    assert said(ENDED, tmp_path) == ["True False"]


def test_where_nothing_can_be_kept_nothing_is_compiled(tmp_path):
    """A folder that cannot be made: every start would compile anew."""
    (tmp_path / "file").write_text("")
    waits = "while warming.child is None:\n    time.sleep(0.01)\n"
    program = ENDED.replace(waits, "warming.thread.join(60)\n")
    program = program.replace("warming.child.wait(30) != 0", "warming.child is None")
    assert said(program, tmp_path / "file" / "cache") == ["True False"]
