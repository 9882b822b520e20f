"""Runs every published trial over the calibrated ensemble and writes what came out, hits and misses alike.

    python bench/trials.py [--sets 8] [--most 2400] [--seed 11] [--only eliana ...] [--write]

Each trial is simulated with enough patients for `--sets` calibrated sets, four times its size for each, but
no more than `--most`. `--write` puts the tables into docs/trials.md and the pictures into docs/img. Hold-outs
nowhere else; `bench/calibrate.py` never reads them.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cli.simulate_trial import trial_row
from tocsin.definitions.load import library
from tocsin.definitions.trial import trial_of
from tocsin.grading.batch import grade
from tocsin.plots.arms import arms
from tocsin.plots.files import save
from tocsin.plots.forest import forest
from tocsin.plots.population import bands
from tocsin.plots.shares import hourly_grades
from tocsin.plots.simulated import virtual_patient
from tocsin.simulation.outcomes import POOL
from tocsin.simulation.plan import START, plan_of, sets_of, solved, with_prophylaxis
from tocsin.simulation.trials import run_trial, simulated

DOCS = Path(__file__).parent.parent / "docs"
HEAD = """# Published trials beside the simulation

Written by `bench/trials.py --sets {sets} --most {most} --seed {seed}`, from the {held} calibrated sets: 1,000
simulated trials of the published size each. *Simulated* is their median, then 95 % of them; p is two-sided.
Roles were settled before the first fit ([hold-outs](holdouts.md)); what rests on memory and every guide is
shown and not judged. All grades come from the grading engine, under the trial's own scale.

"""


def judged(table: pa.Table, role: str) -> tuple[int, int]:
    """Targets of a role inside their interval, and all of them; memory does not count."""
    own = table.filter(pc.and_(pc.equal(table["role"], role), pc.not_equal(table["status"], "memory")))
    return sum(own["hit"].to_pylist()), own.num_rows


def page(tables: dict[str, pa.Table], sets: int, most: int, seed: int) -> Iterator[str]:
    lib = library()
    whole = pa.concat_tables(tables.values())
    yield HEAD.format(sets=sets, most=most, held=len(sets_of(lib, True)), seed=seed)
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


def scored(task: tuple[str, int, int, int]) -> tuple[str, float, pa.Table]:
    """One trial's comparison and its CPU seconds."""
    name, sets, most, seed = task
    lib, began = library(), time.process_time()
    trial = trial_of(name, lib)
    patients = min(max(POOL * trial.n * sets, 400), max(most, POOL * trial.n))
    table = run_trial(trial, patients, seed, lib)[1]
    return name, time.process_time() - began, table


def pictures() -> None:
    """What the documentation shows: a patient, a population, arms side by side."""
    lib, image = library(), DOCS / "img"
    plan = plan_of("axicabtagene-ciloleucel", lib, days=21)
    course, facts, _ = next(solved(plan, 60, 7, lib))
    ids = facts["patient_id"].unique().to_pylist()
    ids.sort(key=lambda name: int(name.rsplit("-", 1)[1]))
    intervals = pa.concat_tables(grade(facts, ["astct-2019"], lib=lib))
    hours = hourly_grades(intervals, ids, START, course.states.shape[1] - 1)
    sick = next((k for k in range(len(ids)) if hours[k].max() == 3), int(hours.max(axis=1).argmax()))
    one = pc.equal(facts["patient_id"], ids[sick]), pc.equal(intervals["patient_id"], ids[sick])
    drawn = virtual_patient(
        course,
        facts.filter(one[0]),
        intervals.filter(one[1]),
        lib=lib,
        place_in_courses=sick,
        title=plan.model.title,
    )
    save(drawn, image / "virtual-patient.png")
    save(bands([course], hours, title=f"{plan.model.title}: {len(ids)} virtual patients", scale="astct-2019"),
         image / "virtual-population.png")  # fmt: skip

    plan = plan_of("tisagenlecleucel", lib)
    compared = []
    for words, at in (
        ("tocilizumab at onset", 1.0),
        ("at grade 2", 2.0),
        ("at grade 3", 3.0),
        ("never", 9.0),
    ):
        ward = plan.ward.changed(treatment_tocilizumab_from=at, treatment_steroid_from=9.0)
        compared.append(simulated(replace(plan, name=words, ward=ward), 400, 5, lib, "astct-2019"))
    save(
        arms(compared, title="Tisagenlecleucel: when tocilizumab is given", scale="astct-2019"),
        image / "arms-tocilizumab.png",
    )

    plan = plan_of("teclistamab", lib, days=21)
    whole = [
        replace(plan.doses[0], amount=1.5),
        *(replace(plan.doses[0], amount=1.5, day=day) for day in (7.0, 14.0)),
    ]
    plans = (
        replace(plan, name="step-up"), replace(plan, name="full dose at once", doses=tuple(whole)),
        replace(with_prophylaxis(plan, ["tocilizumab@0"]), name="step-up, tocilizumab before"),
        replace(with_prophylaxis(plan, ["dexamethasone@0:16", "dexamethasone@3:16", "dexamethasone@6:16"]),
                name="step-up, dexamethasone"),
    )  # fmt: skip
    compared = [simulated(one, 400, 5, lib, "astct-2019") for one in plans]
    save(
        arms(compared, title="Teclistamab: schedule and prophylaxis", scale="astct-2019"),
        image / "arms-teclistamab.png",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=8)
    parser.add_argument("--most", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    names = options.only or sorted(library().files("trials"))
    tasks = [(name, options.sets, options.most, options.seed) for name in names]
    tables: dict[str, pa.Table] = {}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for name, seconds, table in pool.map(scored, tasks):
            tables[name] = table
            print(f"{name}  ({seconds:.0f} CPU s)", flush=True)
            for row in table.to_pylist():
                print("   ", "  ".join(f"{cell:<26}" for cell in trial_row(row)), flush=True)
    whole = pa.concat_tables(tables.values())
    for role in ("fit", "hold-out"):
        inside, total = judged(whole, role)
        print(f"{role}: {inside} of {total} inside")
    if options.write:
        for role, words in (("fit", "fitted targets"), ("hold-out", "held-out targets")):
            own = whole.filter(pc.equal(whole["role"], role))
            save(
                forest(own, title=f"Published trials beside the simulation: {words}"),
                DOCS / f"img/trials-{role}.png",
            )
        text = "\n".join(page(tables, options.sets, options.most, options.seed))
        (DOCS / "trials.md").write_text(text + "\n", encoding="utf-8")
        pictures()


if __name__ == "__main__":
    main()
