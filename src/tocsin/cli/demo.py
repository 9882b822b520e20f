"""`tocsin demo`: the example patients under every scale, as one table and one picture each."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click
import pyarrow as pa

from tocsin.cli.grade import grade_text
from tocsin.cli.options import say
from tocsin.cli.output import show, write_file
from tocsin.definitions.load import library
from tocsin.definitions.schema import TocsinError

DRAWN = ("astct-2019", "lee-2014", "icans-astct-2019")


@click.command("demo")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default="demo-output", show_default=True,
    metavar="DIR", help="Where the pictures go.",
)
def demo_command(out: Path) -> None:
    """Grade the example patients under every scale and draw their timelines.

    \b
    Example:
        tocsin demo
    """
    from tocsin.grading.batch import grade
    from tocsin.plots.files import save
    from tocsin.plots.timeline import timeline
    from tocsin.sources.read import open_source

    lib = library()
    out.mkdir(parents=True, exist_ok=True)
    peaks: dict[str, dict[str, str]] = {}
    graded: list[pa.Table] = []
    paths = sorted(examples_folder().glob("*.csv"))
    for step, path in enumerate(paths, 1):
        facts = open_source(path, lib=lib).table()
        patient = facts["patient_id"][0].as_py()
        say(f"[{step}/{len(paths)}] {patient:<8} {path.name}")
        intervals = pa.concat_tables(grade(facts, lib.scales, lib=lib))
        graded.append(intervals)
        peaks[patient] = peak_grades(intervals)
        chart = timeline(facts, intervals, lib=lib, scales=DRAWN)
        for suffix in (".png", ".html"):
            save(chart, out / f"{path.stem}{suffix}")
    write_file(graded, out / "grades.csv")
    rows = [[name, *(peak.get(name, "") for peak in peaks.values())] for name in lib.scales]
    show(
        ("scale", *peaks), rows, title="Highest grade proven, by scale and example patient",
        note="2-4: 2 is proven, 4 is not ruled out by what was charted; *: the paper can be read in two ways",
    )
    say(f"Every span of time, with its reasons: {out / 'grades.csv'}")
    say(f"Timelines, one .png and one .html each: {out}/ (start with {out / 'axi-cel-course.html'})")
    say("What each example shows: examples/README.md")
    say("For research and decision support by trained staff; not a diagnosis.")


def peak_grades(intervals: pa.Table) -> dict[str, str]:
    """The highest grade of each scale, as it is shown: ambiguous if it ever was, and as best measured."""
    best: dict[str, tuple[int, bool, int]] = {}
    for row in intervals.select(["scale", "grade", "up_to", "ambiguous"]).to_pylist():
        peak = (row["grade"], row["ambiguous"], -row["up_to"])
        best[row["scale"]] = max(best.get(row["scale"], peak), peak)
    return {scale: grade_text(grade, -low, ambiguous) for scale, (grade, ambiguous, low) in best.items()}


def examples_folder() -> Path:
    """Where the example patients lie: inside the installed package, or beside `src` in a checkout.

    Raises
    ------
    TocsinError : neither is there.
    """
    package = Path(str(files("tocsin")))
    for folder in (package / "examples", package.parents[1] / "examples"):
        if folder.is_dir():
            return folder
    raise TocsinError(f"no example patients beside {package}\n  fix: install tocsin again")
