"""What it costs to start: CPU seconds (user and system) of fresh processes, the median of seven."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from measure import run

ROOT = Path(__file__).resolve().parents[1]
ONE = str(ROOT / "examples" / "axi-cel-course.csv")
COMMANDS = {
    "tocsin --help": (["--help"], 0.3),
    "tocsin grade one.csv": (["grade", ONE], 1.0),
    "tocsin grade one.csv --scale all": (["grade", ONE, "--scale", "all"], 1.0),
    "tocsin episodes one.csv": (["episodes", ONE], None),
    "tocsin grade one.csv --plot one.svg": (["grade", ONE, "--plot", "one.svg"], None),
}
#: Prints what a command leaves loaded of the heavy packages, as the measured process must end in JSON.
PROGRAM = """
import json, sys
from tocsin.cli.front import cli
cli.main(sys.argv[1:], standalone_mode=False, prog_name="tocsin")
heavy = ("altair", "duckdb", "numba", "pandas", "pint", "polars", "rich")
print(chr(10) + json.dumps({"loaded": [name for name in heavy if name in sys.modules]}))
"""


def main() -> None:
    """Print the table."""
    print(f"load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    print(f"{'command':<38}{'CPU s':>7}{'aim':>6}{'MB':>6}  heavy packages loaded")
    with tempfile.TemporaryDirectory() as scratch:
        for name, (words, aim) in COMMANDS.items():
            runs = [run([sys.executable, "-c", PROGRAM, *words], folder=Path(scratch)) for _ in range(7)]
            failed = next((each.failed for each in runs if each.failed), "")
            cpu = statistics.median(each.cpu for each in runs)
            peak = statistics.median(each.peak for each in runs) * 1000
            loaded = failed or ", ".join(runs[0].said["loaded"]) or "none"
            print(f"{name:<38}{cpu:>7.2f}{aim or '':>6}{peak:>6.0f}  {loaded}", flush=True)


if __name__ == "__main__":
    main()
