"""Runs every published trial over the calibrated ensemble and writes what came out, hits and misses alike.

    python bench/trials.py [--patients 1000] [--seed 11] [--only eliana ...] [--write]

`--write` puts the tables into docs/trials.md and the pictures into docs/img. Hold-outs are scored here and
nowhere else; `bench/calibrate.py` never reads them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cli.simulate_trial import trial_row
from tocsin.definitions.load import library
from tocsin.definitions.trial import trial_of
from tocsin.plots.files import save
from tocsin.plots.trials import forest
from tocsin.simulation.plan import sets_of
from tocsin.simulation.trials import run_trial

DOCS = Path(__file__).parent.parent / "docs"
HEAD = """# Published trials beside the simulation

Written by `bench/trials.py`: {patients:,} patients a trial, drawn from {sets} calibrated sets; 1,000 simulated
trials of the published size each; seed {seed}. *Simulated* is their median, then 95 % of them; p is two-sided.
Roles were settled before the first fit ([hold-outs](holdouts.md)); what rests on memory and every guide is
shown and not judged. All grades come from the grading engine, under the trial's own scale.

"""


def judged(table: pa.Table, role: str) -> tuple[int, int]:
    """Targets of a role inside their interval, and all of them; memory does not count."""
    own = table.filter(pc.and_(pc.equal(table["role"], role), pc.not_equal(table["status"], "memory")))
    return sum(own["hit"].to_pylist()), own.num_rows


def page(tables: dict[str, pa.Table], patients: int, seed: int) -> Iterator[str]:
    lib = library()
    whole = pa.concat_tables(tables.values())
    yield HEAD.format(patients=patients, sets=len(sets_of(lib, True)), seed=seed)
    for role, words in (("fit", "fitted"), ("hold-out", "held-out")):
        inside, total = judged(whole, role)
        yield f"**{inside} of {total} {words} targets inside ({100 * inside / total:.0f} %).**\n"
        yield f"![{words} targets](img/trials-{role}.png)\n"
    for name, table in tables.items():
        trial = trial_of(name, lib)
        yield f"## {trial.title}\n"
        yield f"`{name}`: {trial.scale}, n = {trial.n}, {trial.days:g} days. {trial.reading}\n"
        yield "| | published | simulated | 95 % of trials | p | | role |\n|---|---|---|---|---|---|---|"
        for row in table.to_pylist():
            yield "| " + " | ".join(trial_row(row)) + " |"
        yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lib = library()
    tables: dict[str, pa.Table] = {}
    for name in options.only or sorted(lib.files("trials")):
        began = time.process_time()
        _, tables[name] = run_trial(trial_of(name, lib), options.patients, options.seed, lib)
        print(f"{name}  ({time.process_time() - began:.0f} CPU s)", flush=True)
        for row in tables[name].to_pylist():
            print("   ", "  ".join(f"{cell:<26}" for cell in trial_row(row)))
    whole = pa.concat_tables(tables.values())
    for role in ("fit", "hold-out"):
        inside, total = judged(whole, role)
        print(f"{role}: {inside} of {total} inside")
    print(datetime.now(UTC).isoformat(timespec="minutes"))
    if options.write:
        for role in ("fit", "hold-out"):
            save(forest(whole.filter(pc.equal(whole["role"], role)), title=f"Trials: {role}"), DOCS / f"img/trials-{role}.png")
        (DOCS / "trials.md").write_text("\n".join(page(tables, options.patients, options.seed)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
