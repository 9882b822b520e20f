"""What the tests of the doors share: raw rows of a source, and its tally."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tocsin.definitions.load import library
from tocsin.sources.tally import Tally


def raw(
    kind: str, path: Path, only: Iterable[str] = (), **options: Any
) -> tuple[list[dict[str, Any]], Tally]:
    """Raw rows of a source (all, or of these measures) as dictionaries; checks what every door promises."""
    tally = Tally()
    rows: list[dict[str, Any]] = []
    last: str | None = None
    door = import_module(f"tocsin.sources.{kind}")
    assert door.recognises(path)
    for batch in door.raw_batches(path, lib=library(), tally=tally, **options):
        patients = pc.unique(batch.column("patient_id").cast(pa.string())).to_pylist()
        assert patients == sorted(patients)
        assert last is None or last < patients[0], "a patient is in two batches"
        last = patients[-1]
        measures = batch.column("measure").cast(pa.string())
        kept = batch.filter(pc.is_in(measures, pa.array(only, pa.string()))) if only else batch
        rows += kept.to_pylist()
    return rows, tally


def of(rows: Iterable[dict[str, Any]], measure: str) -> list[dict[str, Any]]:
    """The rows of one measure, in order of time."""
    found = [row for row in rows if row["measure"] == measure]
    return sorted(found, key=lambda row: (row["patient_id"], str(row["time"]), str(row["value"])))


def said(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    """A few columns of a row; times as text, so that expectations read as records do."""
    return tuple(str(row[name])[:16] if name in ("time", "end", "recorded") else row[name] for name in names)


def parquet(folder: Path, name: str, **columns: list[Any]) -> None:
    """Write one table."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")
