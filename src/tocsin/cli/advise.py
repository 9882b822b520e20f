"""`tocsin advise`: what to do for one patient at one moment, or for all at many."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from tocsin.cli.options import Reading, counted, moment, reading_options, say
from tocsin.cli.output import is_terminal
from tocsin.definitions.schema import TocsinError

SHEETS = (".html", ".pdf")
SHOWN_PATIENTS = 3


def every(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """Hours of a step such as `6h`, `30min` or `1d`."""
    if value is None:
        return None
    for unit, hours in (("min", 1 / 60), ("h", 1.0), ("d", 24.0)):
        number = value.removesuffix(unit)
        if number != value and number.replace(".", "", 1).isdigit() and float(number) > 0:
            return float(number) * hours
    raise click.BadParameter(f"`{value}` is not a step; write it as 6h, 30min or 1d")


@click.command("advise")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--at", type=moment, metavar="TIME", help="The moment asked about; else each patient's last fact."
)
@click.option(
    "--every", "step", callback=every, metavar="STEP", help="Answer every 6h (30min, 1d) up to then."
)
@click.option(
    "--guideline",
    "guidelines",
    multiple=True,
    metavar="ID",
    help="A guideline from `tocsin list guidelines` (repeatable); else all that fit the patient.",
)
@click.option(
    "--country", metavar="CODE", help="Show monitoring rules of this country's label only (US, EU, UK)."
)
@click.option(
    "--sheet",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="One patient's hand-over sheet: .html or .pdf.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the answers as .jsonl.")
@reading_options
def advise_command(
    files: Sequence[str],
    at: datetime | None,
    step: float | None,
    guidelines: Sequence[str],
    country: str | None,
    sheet: Path | None,
    out: Path | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Say what guidelines, label and record ask for now: actions with doses, clocks, tests due, causes.

    FILE is anything `tocsin grade` reads. Nothing later than the moment, and nothing recorded later, is
    looked at. Guidelines stand side by side and are not settled; what is not known is asked for under
    `missing`; a number that cannot be given is refused by name. For trained staff; not an order.

    \b
    Example:
        tocsin advise examples/axi-cel-course.csv --at 2026-03-05T01:00Z
    """
    _check(out, sheet, step)
    source = Reading(files, out=out, **reading)

    from tocsin.guidance.actions import guidelines as known
    from tocsin.guidance.answer import advise

    _check_guidelines(guidelines, known(source.lib))
    facts = source.table()
    answers = advise(
        facts, at, guidelines=tuple(guidelines), every_hours=step, country=country, lib=source.lib
    )
    if sheet:
        _sheet(facts, list(answers), source, sheet)
    elif out:
        _write(answers, out)
    elif as_json or not is_terminal():
        _pipe(answers)
    else:
        _show(answers)
    source.close()


def _check(out: Path | None, sheet: Path | None, step: float | None) -> None:
    from tocsin.cli.output import check_suffix

    if out:
        check_suffix(out, (".jsonl",))
    if sheet:
        check_suffix(sheet, SHEETS)
    if sheet and step:
        raise click.UsageError("--sheet is of one moment and --every of many: one at a time")


def _check_guidelines(asked: Sequence[str], known: Sequence[str]) -> None:
    from tocsin.definitions.schema import near

    for name in asked:
        if name not in known:
            raise click.UsageError(f"no guideline `{name}`{near(name, known)}\none of: {', '.join(known)}")


def _line(answer: dict[str, Any]) -> bytes:
    import orjson

    return orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def _pipe(answers: Iterator[dict[str, Any]]) -> None:
    from tocsin.facts.files import writing

    with writing("standard output"):
        for answer in answers:
            sys.stdout.buffer.write(_line(answer))
        sys.stdout.flush()


def _write(answers: Iterator[dict[str, Any]], out: Path) -> None:
    from tocsin.facts.files import replaced

    count = 0
    with replaced(out) as sink:
        for answer in answers:
            sink.write(_line(answer))
            count += 1
    say(f"wrote {counted(count, 'answer')} to {out}")


def _sheet(facts: Any, answers: list[dict[str, Any]], source: Reading, path: Path) -> None:
    from tocsin.plots.sheet import sheet

    if len(answers) > 1:
        raise click.UsageError(
            f"--sheet is of one patient and there are {len(answers):,}; "
            f"add --patient {answers[0]['patient_id']}"
        )
    if not answers:
        raise TocsinError("nothing was charted by that time, so there is no sheet to write")
    sheet(facts, answers[0], path, lib=source.lib)
    say(f"wrote {path}")


def _show(answers: Iterator[dict[str, Any]]) -> None:
    from tocsin.cli.advice_view import view

    count = 0
    for answer in answers:
        count += 1
        if count <= SHOWN_PATIENTS:
            view(answer)
    if not count:
        say("nothing was charted by that time")
    if count > SHOWN_PATIENTS:
        more = counted(count - SHOWN_PATIENTS, "more answer")
        say(f"and {more}; --patient ID shows one, --out FILE.jsonl has all")
