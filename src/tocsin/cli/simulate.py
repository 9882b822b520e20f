"""`tocsin simulate`: virtual patients as facts, trials beside their simulation, arms side by side."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa

from tocsin.cli.options import counted, say, scales_of
from tocsin.cli.output import check_suffix, is_terminal
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import TocsinError, near

AT = {"onset": 1.0, "1": 1.0, "2": 2.0, "3": 3.0, "4": 4.0, "never": 9.0}
ARM_KEYS = ("schedule", "prophylaxis", "guideline", "tocilizumab-at", "steroid-at")
#: The most patients whose hourly courses are kept for a picture (0.2 MB each).
DRAWN = 2000
PICTURES = (".png", ".svg", ".html", ".json")


@click.command("simulate")
@click.option("--therapy", metavar="ID", help="A therapy, or a cause as covid-19: `tocsin list models`.")
@click.option(
    "--trial", metavar="ID", help="A published trial, beside what it published: `tocsin list trials`."
)
@click.option("--patients", type=int, metavar="N", help="How many: 100; of a trial 1000.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=1,
    show_default=True,
    help="Same seed, same patients.",
)
@click.option(
    "--days", type=float, default=28.0, show_default=True, metavar="D", help="Days from the first dose."
)
@click.option(
    "--schedule",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Doses as CSV: what,day,amount,unit[,days]; else the usual ones.",
)
@click.option(
    "--prophylaxis", multiple=True, metavar="DRUG@DAY", help="tocilizumab@0, dexamethasone@1:20 (mg)."
)
@click.option(
    "--guideline", metavar="ID", help="Treat as this guideline says by grade: `tocsin list guidelines`."
)
@click.option("--tocilizumab-at", type=click.Choice([*AT]), help="Grade from which tocilizumab is given.")
@click.option("--steroid-at", type=click.Choice([*AT]), help="Grade from which a steroid is given.")
@click.option("--ensemble", is_flag=True, help="Draw patients from every calibrated set, not the best one.")
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="'NAME: KEY=VALUE ...'",
    help=f"Compare arms (repeatable): keys {', '.join(ARM_KEYS)}.",
)
@click.option(
    "--scale", default="astct-2019", show_default=True, metavar="ID", help="Scale of what is shown."
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the facts: .parquet, .csv, .jsonl."
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw: .png, .svg or .html.")
@click.option(
    "--sbml",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the typical patient's model as SBML.",
)
@click.option(
    "--definitions",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="A folder of your own definitions on top of the built-in ones (repeatable).",
)
@click.option("--json", "as_json", is_flag=True, help="A trial's or the arms' table as JSON lines.")
def simulate_command(
    therapy: str | None,
    trial: str | None,
    patients: int | None,
    seed: int,
    days: float,
    schedule: Path | None,
    prophylaxis: Sequence[str],
    guideline: str | None,
    tocilizumab_at: str | None,
    steroid_at: str | None,
    ensemble: bool,
    arms: Sequence[str],
    scale: str,
    out: Path | None,
    plot: Path | None,
    sbml: Path | None,
    folders: Sequence[Path],
    as_json: bool,
) -> None:
    """Simulate patients with cytokine release, in a ward that measures, supports and treats them.

    Without --out the facts go to standard output as CSV, ready for `tocsin grade -`; on a terminal a summary
    is shown instead. Simulated patients are for learning, planning and testing, not for deciding on anyone.

    \b
    Example:
        tocsin simulate --therapy teclistamab --patients 5 --seed 7 | tocsin grade -
    """  # fmt: skip
    lib = library(tuple(folders))
    if bool(therapy) == bool(trial):
        raise click.UsageError("say one of --therapy ID and --trial ID")
    if patients is not None and patients < 1:
        raise click.UsageError(f"--patients {patients}: 1 or more")
    if plot and (patients or 0) > DRAWN:
        raise click.UsageError(f"--plot draws at most {DRAWN:,} patients; write the facts with --out instead")
    if out:
        check_suffix(out)
    if plot:
        check_suffix(plot, PICTURES)
    if sbml:
        check_suffix(sbml, (".xml", ".sbml"))
    scales_of(lib, [scale])
    from tocsin.simulation.compiled import is_cached

    if not is_cached():
        say("compiling the model (once on this computer; about half a minute)")
    if trial:
        given = [name for name, value in (
            ("--schedule", schedule), ("--prophylaxis", prophylaxis), ("--guideline", guideline),
            ("--arm", arms), ("--tocilizumab-at", tocilizumab_at), ("--steroid-at", steroid_at),
            ("--sbml", sbml),
        ) if value]  # fmt: skip
        context = click.get_current_context()
        given += [
            f"--{name}"
            for name in ("days", "scale", "ensemble")
            if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        ]
        if given:
            raise click.UsageError(f"{', '.join(given)}: a trial brings its own; use --therapy")
        from tocsin.cli.simulate_trial import show_trial

        show_trial(trial, lib, patients or 1000, seed, out=out, plot=plot, as_json=as_json)
        return
    from tocsin.simulation.plan import plan_of

    assert therapy is not None
    plan = plan_of(therapy, lib, days=days, ensemble=ensemble)
    plan = changed(plan, lib, {
        "schedule": str(schedule) if schedule else "", "prophylaxis": ",".join(prophylaxis),
        "guideline": guideline or "", "tocilizumab-at": tocilizumab_at or "", "steroid-at": steroid_at or "",
    })  # fmt: skip
    if arms and out:
        raise click.UsageError("--out with --arm: write one arm at a time")
    if sbml:
        write_sbml(plan, sbml)
        if not (out or plot or arms or patients):
            return
    if arms:
        from tocsin.cli.simulate_trial import show_arms

        named = [arm_of(arm)[0] for arm in arms]
        if len({*named}) < len(named):
            raise click.UsageError("two arms have one name: they could not be told apart")
        plans = [changed(plan, lib, keys, name) for name, keys in map(arm_of, arms)]
        show_arms(plans, lib, patients or 200, seed, scale, plot=plot, as_json=as_json)
        return
    _one(plan, lib, patients or 100, seed, scale, out, plot)


def arm_of(text: str) -> tuple[str, dict[str, str]]:
    """An arm's name and its keys.

    >>> arm_of("early: tocilizumab-at=1 prophylaxis=tocilizumab@0")
    ('early', {'tocilizumab-at': '1', 'prophylaxis': 'tocilizumab@0'})
    """
    name, _, rest = text.partition(":")
    keys = {}
    for word in shlex.split(rest):
        key, equals, value = word.partition("=")
        if key not in ARM_KEYS or not equals or not value:
            raise click.UsageError(
                f"--arm `{text}`: `{word}` is not KEY=VALUE{near(key, ARM_KEYS)}; keys: {', '.join(ARM_KEYS)}"
            )
        if key.endswith("-at") and value not in AT:
            raise click.UsageError(f"--arm `{text}`: {key} is one of {', '.join(AT)}")
        keys[key] = value
    if not name.strip():
        raise click.UsageError(f"--arm `{text}`: an arm needs a name, like 'early: tocilizumab-at=1'")
    return name.strip(), keys


def changed(plan: Any, lib: Library, keys: dict[str, str], name: str = "") -> Any:
    """The plan with a schedule, prophylaxis, guideline or grades of its own."""
    from dataclasses import replace

    from tocsin.simulation.plan import following, with_prophylaxis, with_schedule

    if keys.get("schedule"):
        path = Path(keys["schedule"])
        if not path.is_file():
            raise TocsinError(f"{path}: no such file\n  fix: a CSV file of what,day,amount,unit[,days]")
        plan = with_schedule(plan, path)
    if keys.get("prophylaxis"):
        plan = with_prophylaxis(plan, keys["prophylaxis"].split(","))
    ward = following(plan.ward, keys["guideline"], lib) if keys.get("guideline") else plan.ward
    for key, number in (("tocilizumab-at", "tocilizumab_from"), ("steroid-at", "steroid_from")):
        if keys.get(key):
            ward = ward.changed(**{f"treatment_{number}": AT[keys[key]]})
    return replace(plan, ward=ward, name=name or plan.name)


def write_sbml(plan: Any, path: Path) -> None:
    """The typical patient of a plan as SBML, with its doses as events."""
    from tocsin.facts.files import replaced
    from tocsin.simulation.equations import Parameter
    from tocsin.simulation.patients import typical
    from tocsin.simulation.sbml import to_sbml
    from tocsin.simulation.schedule import cells, schedule

    model = plan.model.changed(plan.sets[0])
    doses = schedule(plan.doses, np.array([model.weight[0]]), plan.days, plan.ward)[0]
    values = typical(model)
    values[Parameter.resting_start] *= cells(plan.doses)
    with replaced(path) as file:
        file.write(to_sbml(values, doses, shelf=model.values, name=model.title).encode())
    say(f"wrote {path}")


def progress(total: int) -> Any:
    """A bar of patients on a terminal, silent elsewhere; a context manager of a function of patients done."""
    from contextlib import contextmanager

    @contextmanager
    def bar() -> Iterator[Any]:
        if not sys.stderr.isatty():
            yield lambda done: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("simulating"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("patients"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task("", total=total)
            yield lambda done: shown.advance(task, done)

    return bar()


def _one(
    plan: Any, lib: Library, patients: int, seed: int, scale: str, out: Path | None, plot: Path | None
) -> None:
    """One plan: its facts to a file or a pipe, a summary for a person, a picture."""
    from tocsin.facts.columns import RAW
    from tocsin.facts.files import csv_lines, write_facts
    from tocsin.simulation.plan import solved

    kept: list[Any] = []
    drawn = plot is not None

    def batches() -> Iterator[pa.RecordBatch]:
        with progress(patients) as done:
            for course, facts, first in solved(plan, patients, seed, lib):
                if drawn or not (out or not is_terminal()):
                    kept.append((course if drawn else None, facts, first))
                yield from facts.to_batches()
                done(len(course.states))

    if out:
        rows = write_facts(batches(), out)
        say(f"wrote {counted(rows, 'fact')} of {counted(patients, 'patient')} to {out}")
    elif not is_terminal():
        csv_lines(batches(), sys.stdout.buffer, RAW.names)
        sys.stdout.flush()
    else:
        for _ in batches():
            pass
        from tocsin.cli.simulate_trial import show_summary

        show_summary(plan, pa.concat_tables([facts for _, facts, _ in kept]), lib, scale)
    if plot:
        from tocsin.cli.simulate_trial import draw_patients

        draw_patients(plan, kept, lib, scale, plot)
        say(f"drew {plot}")
