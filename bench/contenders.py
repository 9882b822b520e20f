"""What is compared, each run in a process of its own: `python bench/contenders.py NAME PATH SCRATCH`.

Prints one JSON object: what was read, what came out, the most memory held. The clifpy contenders run in
clifpy's own virtual environment and import nothing of ours.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

#: The columns grading reads, for the second floor.
NEEDED = ["patient_id", "time", "measure", "value", "text", "method", "end", "ref_low", "ref_high", "weight"]
#: CLIF tables that SOFA reads: only their rows count for contenders that start from CLIF.
SOFA_TABLES = (
    "vitals", "labs", "medication_admin_continuous", "patient_assessments", "respiratory_support"
)  # fmt: skip
Said = dict[str, Any]


def floor(path: Path, columns: list[str] | None = None) -> Said:
    """Only read the facts."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return {"out": sum(len(file.read_row_group(g, columns)) for g in range(file.num_row_groups))}


def graded(batches: Iterable[Any], scales: list[str] | None = None) -> Said:
    """Grade everything and count the intervals."""
    from tocsin.definitions.load import library
    from tocsin.grading.batch import grade

    lib = library()
    return {"out": sum(len(answer) for answer in grade(batches, scales or list(lib.scales), lib=lib))}


def compiled() -> Said:
    """Load the compiled machine, compiling it where this computer has not done so before."""
    from tocsin.grading.batch import grade_table
    from tocsin.grading.compiled import is_cached
    from tocsin.testing import patient

    before = is_cached()
    grade_table(patient("0 h temperature 39.0 Cel"), engine="numba")
    return {"out": 1, "cached": before}


def from_facts(path: Path, scales: list[str] | None = None) -> Said:
    """Grade a facts file as the command line does."""
    from tocsin.sources.read import open_source

    return graded(open_source(path).batches(columns=NEEDED, encoded=True), scales)


def door(path: Path) -> Said:
    """Read a CLIF folder into canonical facts."""
    from tocsin.sources.read import open_source

    return {"out": sum(len(batch) for batch in open_source(path).batches())}


def door_and_grade(path: Path) -> Said:
    """Read a CLIF folder and grade it, in one pass."""
    from tocsin.sources.read import open_source

    return graded(open_source(path).batches(), ["astct-2019"])


def command(path: Path, scratch: Path) -> Said:
    """The whole command: facts in, grades written as Parquet."""
    from tocsin.cli.front import cli

    cli.main(["grade", str(path), "--out", str(scratch / "grades.parquet")], standalone_mode=False)
    import pyarrow.parquet as pq

    return {"out": pq.ParquetFile(scratch / "grades.parquet").metadata.num_rows}


def stays(path: Path) -> Any:
    """Every stay with its whole span, as clifpy asks for it."""
    import polars as pl

    read = pl.read_parquet(path / "clif_hospitalization.parquet")
    return read.select(
        pl.col("hospitalization_id"),
        pl.col("admission_dttm").alias("start_dttm"),
        pl.col("discharge_dttm").alias("end_dttm"),
    )


def sofa(path: Path, _scratch: Path) -> Said:
    """clifpy's SOFA in Polars: the worst of each stay."""
    from clifpy.utils.sofa_polars import compute_sofa_polars

    return {"out": compute_sofa_polars(str(path), stays(path), timezone="UTC").height}


def sofa2(path: Path, scratch: Path, limit: str | None = None) -> Said:
    """clifpy's SOFA-2 in DuckDB: the worst of each stay; with `limit`, under its own memory limit."""
    from clifpy.utils._duckdb_config import DuckDBResourceConfig
    from clifpy.utils.sofa2 import calculate_sofa2

    config = scratch / "clif.json"
    config.write_text(
        json.dumps(
            {
                "data_directory": str(path), "filetype": "parquet", "timezone": "UTC",
                "output_directory": str(scratch),
            }
        )
    )  # fmt: skip
    limits = DuckDBResourceConfig(memory_limit=limit, temp_directory=str(scratch)) if limit else None
    return {"out": len(calculate_sofa2(stays(path).to_pandas(), str(config), duckdb_config=limits))}


CONTENDERS: dict[str, Callable[[Path, Path], Said]] = {
    "compiled": lambda *_: compiled(),
    "floor-all": lambda path, _: floor(path),
    "floor-needed": lambda path, _: floor(path, NEEDED),
    "astct": lambda path, _: from_facts(path, ["astct-2019"]),
    "all-scales": lambda path, _: from_facts(path),
    "command": command,
    "door": lambda path, _: door(path),
    "door-astct": lambda path, _: door_and_grade(path),
    "sofa": sofa,
    "sofa2": sofa2,
    "sofa2-2gb": lambda path, scratch: sofa2(path, scratch, "2GB"),
}

if __name__ == "__main__":
    name, target, folder = sys.argv[1:]
    said = CONTENDERS[name](Path(target), Path(folder))
    try:
        status = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e9
    except OSError:
        peak = 0.0
    print("\n" + json.dumps({**said, "peak": peak}))
