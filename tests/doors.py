"""What the tests of the doors share: raw rows of a source, and its tally."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tocsin.definitions.load import library
from tocsin.sources.tally import Tally


def raw(kind: str, path: Path, **options: Any) -> tuple[list[dict[str, Any]], Tally]:
    """All raw rows of a source as dictionaries; checks what every door promises of its batches."""
    tally = Tally()
    rows: list[dict[str, Any]] = []
    last: str | None = None
    door = import_module(f"tocsin.sources.{kind}")
    assert door.recognises(path)
    for batch in door.raw_batches(path, lib=library(), tally=tally, **options):
        found = batch.to_pylist()
        patients = [row["patient_id"] for row in found]
        assert patients == sorted(patients)
        assert last is None or last < patients[0], "a patient is in two batches"
        last = patients[-1]
        rows += found
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
