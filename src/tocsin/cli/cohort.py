"""`tocsin cohort`: what a paper, a registry and a hospital's own validation need of many patients."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import orjson

from tocsin.cli.options import Reading, counted, moment, reading_options, say, scales_of
from tocsin.cli.output import check_suffix, is_terminal, show
from tocsin.definitions.schema import near
from tocsin.facts.files import writing

#: What a table of a pipe says, in this order.
PIPED = (
    "patient-flow",
    "groups",
    "proportions",
    "times",
    "complications",
    "scores",
    "markers",
    "kappas",
    "alerts",
    "missing",
)


@click.command("cohort")
@click.argument("files", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the report: a page, report.html, and its tables in report-tables/.",
)
@click.option(
    "--scale",
    "scales",
    multiple=True,
    default=("astct-2019",),
    show_default=True,
    metavar="ID",
    help="A scale from `tocsin list scales`, or `all` (repeatable); the first is the one spoken of first.",
)
@click.option("--by", metavar="WHAT", help="Tell patients apart: therapy, sex, age-group, ...")
@click.option(
    "--groups",
    "groups_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Tell patients apart by a CSV file of yours: patient_id,group (arm, centre, ...).",
)
@click.option(
    "--export",
    "exports",
    multiple=True,
    metavar="NAME",
    help="Write an export beside the page too (repeatable): cibmtr-4100, ebmt, sdtm, adam, fhir.",
)
@click.option("--study", metavar="NAME", help="The study's name, for exports that ask for one.")
@click.option(
    "--subject-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A file of 16 bytes or more: exports call patients by pseudonyms made with it (HMAC-SHA-256).",
)
@click.option("--title", default="", metavar="TEXT", help="The report's title.")
@click.option(
    "--until", type=moment, metavar="TIME", help="Facts from this time on do not count: the data cut."
)
@click.option("--as-of", type=moment, metavar="TIME", help="Use only what was recorded by this time.")
@click.option(
    "--no-complications",
    is_flag=True,
    help="Look for no complications and no scores: they take most of the time.",
)
@click.option(
    "--no-patients", is_flag=True, help="Leave out pictures and tables of patients one by one, for sharing."
)
@click.option("--patient-ids", is_flag=True, help="Call patients by their ids, not by numbers.")
@reading_options
def cohort_command(
    files: Sequence[str],
    out: Path | None,
    scales: Sequence[str],
    by: str | None,
    groups_file: Path | None,
    exports: Sequence[str],
    study: str | None,
    subject_key: Path | None,
    title: str,
    until: datetime | None,
    as_of: datetime | None,
    no_complications: bool,
    no_patients: bool,
    patient_ids: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """Report on a cohort: shares, times, curves, treatments, agreement, missing data.

    SOURCE is anything `tocsin grade` reads. With --out one page that needs nothing else (A4 in print, light
    and dark), and every number in it as CSV and Parquet beside it, with a data dictionary and the SHA-256 of
    every definition. Without, tables on a terminal and JSON lines in a pipe.

    \b
    Example:
        tocsin cohort examples/axi-cel-course.csv --scale astct-2019 --scale lee-2014
    """  # fmt: skip
    if out:
        check_suffix(out, (".html",))
    if no_patients and patient_ids:
        raise click.UsageError("--no-patients leaves out what --patient-ids would name: one of the two")
    if by and groups_file:
        raise click.UsageError("--by and --groups both tell patients apart: one of the two")
    if (study or subject_key) and not exports:
        raise click.UsageError("--study and --subject-key are for exports: add --export NAME")
    if exports and not out:
        raise click.UsageError("--export writes beside a page: add --out report.html")
    source = Reading(files, out=out, **reading)
    asked = scales_of(source.lib, scales)

    from tocsin.cli.cohort_alerts import alerted
    from tocsin.cohort.charts import GROUPS
    from tocsin.cohort.exports.folder import write
    from tocsin.cohort.gather import gather
    from tocsin.cohort.groups import groups_of
    from tocsin.cohort.report import report, save
    from tocsin.cohort.store import check_folder, folder_of

    if by is not None and by not in GROUPS:
        raise click.UsageError(
            f"--by {by}: cannot be told apart{near(by, GROUPS)}\none of: {', '.join(GROUPS)}"
        )
    _check_exports(exports, source)
    if out:
        check_folder(folder_of(out))
    groups = groups_of(groups_file) if groups_file else None
    cohort = gather(
        source.batches(),
        asked,
        lib=source.lib,
        by=by,
        groups=groups,
        until=until,
        as_of=as_of,
        notify=say,
        organs=not no_complications,
        alerted=lambda intervals: alerted(intervals, source.lib),
        sources=[_named(name) for name in files],
    )
    if groups is not None:
        missed = len(groups.keys() - set(cohort.people["patient_id"].to_pylist()))
        if missed:
            say(f"{groups_file}: {counted(missed, 'patient')} of it not in the cohort")
    rejected = sum(table.num_rows for table in source.source.rejects)
    cohort = replace(cohort, made=replace(cohort.made, rejected=rejected))
    done = say if out and sys.stderr.isatty() else lambda text: None
    made = report(
        cohort,
        source.lib,
        title=title,
        patients=not no_patients,
        patient_ids=patient_ids,
        draw=out is not None,
        done=done,
    )
    if out:
        written = save(made, out)
        say(f"wrote {out} and {counted(len(written) - 1, 'file')} in {folder_of(out)}")
        key = subject_key.read_bytes().strip() if subject_key else None
        for name in exports:
            folder = out.with_name(f"{out.stem}-{name}")
            zone = reading["timezone"]
            kept = write(name, cohort, folder, source.lib, subject_key=key, study=study, zone=zone)
            say(f"wrote {counted(len(kept), 'file')} in {folder}")
    elif as_json or not is_terminal():
        _piped(made.tables)
    else:
        for table in made.shown:
            _shown(table)
    source.close()


def _shown(table: Any) -> None:
    """A table on the terminal; a group or a drug may be called anything, and none of it is markup."""
    from rich.markup import escape

    rows = [
        ("  " * level + escape(row[0]), *map(escape, row[1:]))
        for row, level in zip(table.rows, table.levels, strict=True)
    ]
    show([*map(escape, table.headings)], rows, title=escape(table.title), note=escape(table.note))


def _named(name: str) -> str:
    """A source as a page calls it: its own name; folders of a machine mean nothing to a reader."""
    return "standard input" if name == "-" else Path(name).name


def _check_exports(asked: Sequence[str], source: Reading) -> None:
    """An export that is not there is bad usage, before any work."""
    from tocsin.cohort.exports.folder import names

    known = names(source.lib)
    for name in asked:
        if name not in known:
            raise click.UsageError(f"no export `{name}`{near(name, known)}\none of: {', '.join(known)}")


def _piped(tables: Any) -> None:
    """Every row of the tables as one line that names its table."""
    with writing("standard output"):
        for line in _lines(tables):
            sys.stdout.buffer.write(line)
        sys.stdout.flush()


def _lines(tables: Any) -> Iterator[bytes]:
    for name in PIPED:
        for row in tables[name].to_pylist():
            yield orjson.dumps({"table": name, **row}, option=orjson.OPT_APPEND_NEWLINE)
