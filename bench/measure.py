"""One process, measured from outside: CPU seconds (user and system, start-up included), time, memory."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Measured:
    """What a process cost; `failed` says why it gave no answer."""

    cpu: float
    wall: float
    peak: float
    said: dict[str, Any] = field(default_factory=dict)
    failed: str = ""


def run(
    command: Sequence[str], limit: float = 900, memory: float = 16, folder: Path | None = None
) -> Measured:
    """Run a command that prints one JSON object last; stop it past `limit` seconds or `memory` GB."""
    began = time.monotonic()
    log = Path(folder or ".") / "said"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            list(command), stdout=sink, stderr=subprocess.STDOUT, cwd=folder
        )
        failed, peak = "", 0.0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, resident(process.pid))
            if not failed and time.monotonic() - began > limit:
                failed = f"out of time ({limit:.0f} s)"
            if not failed and peak > memory:
                failed = f"out of memory ({memory:.0f} GB)"
            if failed:
                process.kill()
            time.sleep(0.05)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    lines = log.read_text(errors="replace").strip().splitlines()
    log.unlink()
    said: dict[str, Any] = {}
    if process.returncode == 0 and lines:
        said = json.loads(lines[-1])
    elif not failed:
        failed = f"failed ({process.returncode}): {lines[-1][:160] if lines else 'said nothing'}"
    return Measured(usage.ru_utime + usage.ru_stime, wall, max(peak, said.get("peak", 0.0)), said, failed)


def resident(pid: int) -> float:
    """Most memory a running process has had, in GB (Linux; elsewhere it must tell itself)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(found[0]) * 1024 / 1e9 if found else 0.0
