"""`tocsin complications`: kidney, liver, lungs, heart, clotting, HLH and counts over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from tocsin.cli.grade import grade_text
from tocsin.cli.options import Reading, counted, moment, reading_options, say
from tocsin.cli.output import check_suffix, clock, is_terminal, show, to_pipe, write_file

SHOWN_PATIENTS = 5


@click.command("complications")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--complication", "asked", multiple=True, metavar="ID",
    help="A complication from `tocsin list complications` (repeatable); else all.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write .csv, .parquet or .jsonl.",
)
@click.option("--until", type=moment, metavar="TIME", help="Cut the answer at this time.")
@click.option("--as-of", type=moment, metavar="TIME", help="Use only what was recorded by this time.")
@reading_options
def complications_command(
    files: Sequence[str], asked: Sequence[str], out: Path | None, until: datetime | None,
    as_of: datetime | None, as_json: bool, **reading: Any,
) -> None:
    """Find complications over time, each with its stage, reasons, and what is not ruled out.

    FILE is anything `tocsin grade` reads. `stage` is proven by the facts, `up_to` is not ruled out by them.
    HLH criteria, qSOFA, SIRS and NEWS2 are aids to a differential diagnosis, not diagnoses.

    \b
    Example:
        tocsin complications examples/axi-cel-course.csv --complication aki-kdigo --complication dic-isth
    """  # fmt: skip
    if out:
        check_suffix(out)
    source = Reading(files, out=out, **reading)

    from tocsin.complications import complications, names
    from tocsin.definitions.schema import near

    known = names(source.lib)
    for name in asked:
        if name not in known:
            raise click.UsageError(f"no complication `{name}`{near(name, known)}\none of: {', '.join(known)}")
    found = complications(source.table(), asked or None, lib=source.lib, until=until, as_of=as_of)
    if out:
        rows = write_file(iter([found]), out)
        say(f"wrote {counted(rows, 'row')} to {out}")
    elif as_json or not is_terminal():
        to_pipe(iter([found]))
    else:
        _show(found, source)
    source.close()


def _show(found: pa.Table, source: Reading) -> None:
    """The highest stage of each complication of the first patients, and since when."""
    from tocsin.definitions.complication import complication

    shown = 0
    for patient, own in groupby(found.to_pylist(), lambda row: row["patient_id"]):
        shown += 1
        if shown > SHOWN_PATIENTS:
            continue
        rows = []
        for name, spans in groupby(own, lambda row: row["complication"]):
            listed = list(spans)
            peak = max(listed, key=lambda row: (row["stage"], row["up_to"]))
            if peak["stage"] or peak["up_to"]:
                value = "" if peak["value_low"] is None else f"{peak['value_low']:g}"
                if peak["value_high"] is not None and peak["value_high"] != peak["value_low"]:
                    value += f" to {peak['value_high']:g}"
                rows.append((
                    name,
                    grade_text(peak["stage"], peak["up_to"], peak["ambiguous"], bool(peak["waiting_for"])),
                    value, clock(peak["start"]), ", ".join(peak["because"][:6]),
                    ", ".join(peak["waiting_for"][:6]), complication(name, source.lib).evidence,
                ))  # fmt: skip
        headings = ("complication", "highest", "points", "since (UTC)", "because", "not known", "read it as")
        show(headings, rows, title=patient)
    if shown > SHOWN_PATIENTS:
        say(f"and {counted(shown - SHOWN_PATIENTS, 'more patient')}; --patient ID shows one, --out has all")
