"""What `tocsin simulate` shows: a trial beside its simulation, arms side by side, a summary of patients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tocsin.cli.options import counted, say
from tocsin.cli.output import is_terminal, show, to_pipe, write_file
from tocsin.definitions.load import Library
from tocsin.plots.look import number

CAUTION = "Simulated patients: for learning, planning and testing; they decide on nobody's care."


def show_trial(
    name: str, lib: Library, patients: int, seed: int, *, out: Path | None, plot: Path | None, as_json: bool
) -> None:
    """A published trial: each published number beside 1,000 simulated trials of its size."""
    from tocsin.cli.simulate import progress
    from tocsin.definitions.trial import trial_of
    from tocsin.simulation.trials import run_trial

    trial = trial_of(name, lib)
    with progress(patients) as done:
        _, compared = run_trial(trial, patients, seed, lib, done=done)
    if out:
        write_file([compared], out)
        say(f"wrote {counted(compared.num_rows, 'target')} to {out}")
    elif as_json or not is_terminal():
        to_pipe([compared])
    else:
        note = (
            (f"{trial.reading}\n" if trial.reading else "")
            + "p: how often a simulated trial of the real size lies as far out as the published number\n"
            + CAUTION
        )
        show(
            ("", "published", "simulated", "95 % of simulated trials", "p", "", "role"),
            [trial_row(row) for row in compared.to_pylist()],
            title=f"{trial.title}: {trial.scale}, n = {trial.n}; {patients:,} patients simulated",
            note=note,
        )
    if plot:
        from tocsin.plots.files import save
        from tocsin.plots.forest import forest

        save(forest(compared, title=trial.title), plot)
        say(f"drew {plot}")


def trial_row(row: dict[str, Any]) -> tuple[str, ...]:
    """One target as a person reads it; a memory is marked."""
    unit = "" if row["unit"] == "1" else f" {row['unit']}"
    if row["simulated"] is None:
        told = ("nobody", "", "", "missed")
    else:
        told = (
            f"{number(row['simulated'])}{unit}",
            f"{number(row['low'])} to {number(row['high'])}",
            f"{row['p']:.2g}",
            "hit" if row["hit"] else "missed",
        )
    judged = row["role"] != "guide" and row["status"] != "memory"
    return (
        row["says"],
        f"{number(row['published'])}{unit}",
        *told[:3],
        told[3] if judged else "",
        row["role"] + (" (memory)" if row["status"] == "memory" else ""),
    )


def show_arms(
    plans: Sequence[Any],
    lib: Library,
    patients: int,
    seed: int,
    scale: str,
    *,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Arms side by side: the same patients (one seed) under each plan."""
    from tocsin.cli.simulate import progress
    from tocsin.simulation.trials import levels, simulated

    with progress(patients * len(plans)) as done:
        arms = [simulated(plan, patients, seed, lib, scale, done=done) for plan in plans]
    rows = [row for arm in arms for row in levels(arm)]
    if as_json or not is_terminal():
        to_pipe([pa.Table.from_pylist(rows)])
    else:
        shown = []
        for arm in arms:
            own = [row for row in rows if row["arm"] == arm.name]
            shares = [f"{row['share']:.0f} % ({row['low']:.0f}-{row['high']:.0f})" for row in own]
            given = 100.0 * float((arm.columns["tocilizumab"] > 0).mean())
            shown.append((arm.name, *shares, f"{given:.0f} %"))
        show(
            ("arm", "any", "2 or higher", "3 or higher", "4", "given tocilizumab"),
            shown,
            title=f"{plans[0].model.title}: {patients:,} patients an arm, the same in each; {scale}",
            note="interval: of the number simulated, not of the model\n" + CAUTION,
        )
    if plot:
        from tocsin.plots.arms import arms as drawn
        from tocsin.plots.files import save

        save(drawn(arms, title=plans[0].model.title, scale=scale), plot)
        say(f"drew {plot}")


def show_summary(plan: Any, facts: pa.Table, lib: Library, scale: str) -> None:
    """How many patients reached each grade, for a person at a terminal."""
    from tocsin.grading.batch import grade

    intervals = pa.concat_tables(grade(facts, [scale], lib=lib))
    worst = intervals.group_by("patient_id").aggregate([("grade", "max")])["grade_max"].to_pylist()
    rows = [
        (str(level), str(worst.count(level)), f"{100 * worst.count(level) / len(worst):.0f} %")
        for level in range(6)
    ]
    show(
        ("highest grade", "patients", ""),
        [row for row in rows if row[1] != "0"],
        title=f"{plan.model.title}: {counted(len(worst), 'patient')}, "
        f"{counted(facts.num_rows, 'fact')}, {scale}",
        note="The facts themselves: --out facts.parquet, or a pipe, as in ... | tocsin grade -\n" + CAUTION,
    )


def draw_patients(plan: Any, kept: Sequence[Any], lib: Library, scale: str, path: Path) -> None:
    """One patient as a picture of its own; more as bands by highest grade."""
    from tocsin.grading.batch import grade
    from tocsin.plots.files import save
    from tocsin.plots.population import bands
    from tocsin.plots.shares import hourly_grades
    from tocsin.plots.simulated import virtual_patient
    from tocsin.simulation.plan import START

    courses = [course for course, _, _ in kept]
    facts = pa.concat_tables([facts for _, facts, _ in kept])
    intervals = pa.concat_tables(grade(facts, [scale], lib=lib))
    ids = facts["patient_id"].unique().to_pylist()
    if len(ids) == 1:
        drawn = virtual_patient(courses[0], facts, intervals, lib=lib, scale=scale, title=plan.model.title)
        save(drawn, path)
        return
    ids.sort(key=lambda name: int(name.rsplit("-", 1)[1]))
    grades = hourly_grades(intervals, ids, START, courses[0].states.shape[1] - 1)
    title = f"{plan.model.title}: {counted(len(ids), 'virtual patient')}"
    save(bands(courses, grades, title=title, scale=scale), path)
