"""`tocsin demo`: the example patients and a simulated ward, under every scale, as tables and pictures."""

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
from tocsin.facts import write_facts

#: The simulated ward: therapy, patients, seed.
WARD = (("axicabtagene-ciloleucel", 7, 9), ("teclistamab", 7, 11))
WARD_DAYS = 15.0
DRAWN = ("astct-2019", "lee-2014", "icans-astct-2019")


@click.command("demo")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default="demo-output", show_default=True,
    metavar="DIR", help="Where the pictures go.",
)
def demo_command(out: Path) -> None:
    """Grade the example patients and a small simulated ward under every scale, and draw them.

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
    folder = examples_folder()
    told = stories(folder)
    paths = sorted(folder.glob("*.csv"))
    say(f"Grading cytokine release syndrome (CRS): {len(paths)} example patients, {len(lib.scales)} scales")
    for step, path in enumerate(paths, 1):
        facts = open_source(path, lib=lib).table()
        patient = facts["patient_id"][0].as_py()
        say(f"[{step}/{len(paths)}] {patient:<8} {told.get(path.name, path.name)}")
        intervals = pa.concat_tables(grade(facts, lib.scales, lib=lib))
        graded.append(intervals)
        peaks[patient] = peak_grades(intervals)
        chart = timeline(facts, intervals, lib=lib, scales=DRAWN)
        for suffix in (".png", ".html"):
            save(chart, out / f"{path.stem}{suffix}")
    write_file(graded, out / "grades.csv")
    rows = [[name, *(peak.get(name, "") for peak in peaks.values())] for name in lib.scales]
    show(
        ("scale", *peaks), rows, title="Highest grade (0 none to 5 death) of each patient under each scale",
        note="3: proven; 2-4: 2 proven, 4 not ruled out; ? 0-4: nobody measured\n"
        "*: the paper can be read in two ways; icans: neurotoxicity, all others CRS",
    )
    simulated_ward(out)
    say(f"See the picture: open {out / 'axi-cel-course.html'} (all {len(paths)}, as .html and .png: {out}/)")
    say(f"Every span of time, with its reasons: {out / 'grades.csv'}")
    say("Your own patient: tocsin grade FILE --plot timeline.html (columns: tocsin grade --help)")
    say("For research and decision support by trained staff; not a diagnosis.")


def simulated_ward(out: Path) -> None:
    """Simulate a small ward, grade it under every scale, draw it: the same functions as for real records."""
    from tocsin.grading.batch import grade
    from tocsin.plots.files import save
    from tocsin.plots.ward import ward
    from tocsin.simulation.plan import plan_of, solved

    lib = library()
    patients = sum(count for _, count, _ in WARD)
    say(f"Simulating a ward of {patients} patients (compiling takes half a minute, once)")
    tables: list[pa.Table] = []
    titles: dict[str, str] = {}
    for therapy, count, seed in WARD:
        plan = plan_of(therapy, lib, days=WARD_DAYS)
        for course, table, first in solved(plan, count, seed, lib):
            tables.append(table)
            for k in range(len(course.states)):
                patient = f"sim-{seed}-{first + k}"
                titles[patient] = f"{patient}  {therapy.split('-')[0]}"
    facts = pa.concat_tables(tables)
    intervals = pa.concat_tables(grade(facts, lib.scales, lib=lib))
    write_file([intervals], out / "ward-grades.csv")
    write_facts(iter(facts.to_batches()), out / "ward-facts.csv")
    chart = ward(facts, intervals, lib=lib, title="A simulated ward, graded under ASTCT 2019", titles=titles)
    for suffix in (".png", ".html"):
        save(chart, out / f"ward{suffix}")
    say(f"Simulated patients, graded like real ones: {out / 'ward.html'}, facts in {out / 'ward-facts.csv'}")


def peak_grades(intervals: pa.Table) -> dict[str, str]:
    """The highest grade of each scale, as it is shown: ambiguous if it ever was, and as best measured.

    A highest grade of 0 that never was certain is shown as unknown, not as fine.
    """
    best: dict[str, tuple[int, bool, int]] = {}
    for row in intervals.select(["scale", "grade", "up_to", "ambiguous"]).to_pylist():
        peak = (row["grade"], row["ambiguous"], -row["up_to"])
        best[row["scale"]] = max(best.get(row["scale"], peak), peak)
    return {
        scale: grade_text(grade, -low, ambiguous, unmeasured=True)
        for scale, (grade, ambiguous, low) in best.items()
    }


def stories(folder: Path) -> dict[str, str]:
    """What each example shows, by file name: the first two columns of the table in its README.

    >>> stories(examples_folder())["a19-one-pressor-low-flow.csv"][:30]
    'the worked example in the publ'
    """
    readme = folder / "README.md"
    lines = readme.read_text(encoding="utf-8").splitlines() if readme.is_file() else []
    cells = ([cell.strip() for cell in line.split("|")] for line in lines if line.startswith("| `"))
    return {cell[1].strip("`"): cell[2] for cell in cells}


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
