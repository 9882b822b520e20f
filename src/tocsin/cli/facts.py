"""`tocsin facts`: the facts table of any source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from tocsin.cli.options import Reading, counted, reading_options, say
from tocsin.cli.output import check_suffix, clock, is_terminal, show, to_pipe

SHOWN_ROWS = 80


@click.command("facts")
@click.argument("source", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write .parquet, .csv or .jsonl."
)
@reading_options
def facts_command(source: Sequence[str], out: Path | None, as_json: bool, **reading: Any) -> None:
    """Write the facts table of any source: units made one, impossible rows set aside with the reason.

    Parquet written here is read again fastest: it is sorted, checked and needs no second look.

    \b
    Example:
        tocsin facts examples/axi-cel-course.csv --json
    """
    from tocsin.facts import write_facts

    if out:
        check_suffix(out)
    opened = Reading(source, out=out, **reading)
    if out:
        write_facts(opened.batches(), out)
        say(f"wrote {counted(opened.facts, 'fact')} to {out}")
    elif as_json or not is_terminal():
        to_pipe(pa.Table.from_batches([batch]) for batch in opened.batches())
    else:
        _show_facts(opened.table())
    opened.close()


def _show_facts(table: pa.Table) -> None:
    rows = (
        (
            row["patient_id"], clock(row["time"]), row["measure"],
            "" if row["value"] is None else f"{row['value']:g}", row["text"] or "", row["unit"] or "",
            clock(row["end"]), row["source"] or "",
        )
        for row in table.slice(0, SHOWN_ROWS).to_pylist()
    )
    more = table.num_rows - SHOWN_ROWS
    note = f"and {more:,} more; --out facts.parquet has them all" if more > 0 else ""
    show(("patient", "time (UTC)", "measure", "value", "text", "unit", "end", "source"), rows, note=note)
