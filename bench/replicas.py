"""The CLIF demo many times over: patients and stays renumbered, everything else as it is.

`python bench/replicas.py clif DEMO OUT TIMES` writes a CLIF folder, `... facts DEMO OUT TIMES` the facts
table that the CLIF door makes of it, written as `tocsin facts` writes it. No copy is made in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

#: Rows of a row group of the CLIF tables.
GROUP = 1_000_000
#: Columns that name a patient or a stay.
NUMBERED = ("patient_id", "hospitalization_id", "hospitalization_joined_id")


def renumbered(column: pa.ChunkedArray, copy: int) -> pa.ChunkedArray:
    """Ids of one copy; the order of ids is the order of copies."""
    return pc.binary_join_element_wise(f"{copy:04d}", column.cast(pa.string()), "")


def clif(demo: Path, out: Path, times: int) -> None:
    """Write every table `times` times over."""
    out.mkdir(parents=True)
    for file in sorted(demo.glob("*.parquet")):
        table = pq.read_table(file)
        at_once = max(1, GROUP // max(table.num_rows, 1))
        with pq.ParquetWriter(out / file.name, table.schema, compression="zstd") as writer:
            for first in range(0, times, at_once):
                copies = range(first, min(first + at_once, times))
                writer.write_table(pa.concat_tables([_copy(table, copy) for copy in copies]), GROUP)


def _copy(table: pa.Table, copy: int) -> pa.Table:
    for name in NUMBERED:
        if name in table.column_names:
            place = table.column_names.index(name)
            table = table.set_column(place, table.schema.field(place), renumbered(table[name], copy))
    return table


def facts(demo: Path, out: Path, times: int) -> None:
    """Write the facts of every copy; `source` names the row it would have in the replicated tables."""
    from tocsin.facts import write_facts
    from tocsin.sources.read import open_source

    table = open_source(demo).table().combine_chunks()
    named = pc.split_pattern(table["source"].combine_chunks(), ":")
    file, row = pc.list_element(named, 0), pc.list_element(named, 1).cast(pa.int64())
    lengths = {path.name: pq.ParquetFile(path).metadata.num_rows for path in demo.glob("*.parquet")}
    length = pa.array([lengths[name] for name in file.to_pylist()], pa.int64())

    def copies() -> Iterator[pa.RecordBatch]:
        for copy in range(times):
            moved = pc.add(row, pc.multiply(length, copy)).cast(pa.string())
            one = table.set_column(
                table.column_names.index("source"), "source", pc.binary_join_element_wise(file, moved, ":")
            )
            yield from _copy(one, copy).combine_chunks().to_batches()

    write_facts(copies(), out)


if __name__ == "__main__":
    what, source, target, number = sys.argv[1:]
    {"clif": clif, "facts": facts}[what](Path(source), Path(target), int(number))
