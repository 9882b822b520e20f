"""`tocsin grade` and `tocsin episodes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from tocsin.cli.engines import Place, place_options, spark_answer, sql_answer
from tocsin.cli.options import Reading, counted, moment, reading_options, say, scales_of
from tocsin.cli.output import check_suffix, clock, is_terminal, show, to_pipe, write_file
from tocsin.definitions.load import library
from tocsin.plots.look import LIGHT

PICTURES = (".html", ".png", ".svg")
SHOWN_ROWS = 80
SHAPES = ("○", "●", "◆", "■", "⬢", "✚")  # a grade's shape, as on every picture


def grading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What `grade` and `episodes` share."""
    command = reading_options(command)
    for option in reversed(
        (
            click.argument("files", nargs=-1, metavar="FILE..."),
            click.option(
                "--scale", "scales", multiple=True, default=("astct-2019",), show_default=True, metavar="ID",
                help="A scale from `tocsin list scales`, or `all` (repeatable).",
            ),
            click.option(
                "--out", type=click.Path(path_type=Path), metavar="FILE",
                help="Write .csv, .parquet or .jsonl.",
            ),
            click.option("--until", type=moment, metavar="TIME", help="Cut the answer at this time."),
            click.option(
                "--as-of", type=moment, metavar="TIME", help="Use only what was recorded by this time."
            ),
        )
    ):
        command = option(command)
    return command


@click.command("grade")
@grading_options
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE",
    help="Draw one patient's timeline: .html, .png or .svg.",
)
@click.option("--why", nargs=2, metavar="PATIENT TIME", help="Print the facts behind the grade at that time.")
@place_options
def grade_command(
    files: Sequence[str], scales: Sequence[str], out: Path | None, until: datetime | None,
    as_of: datetime | None, plot: Path | None, why: tuple[str, str] | None, as_json: bool,
    engine: str | None, connection: str | None, facts_table: str, into: str | None, replace: bool,
    **reading: Any,
) -> None:
    """Grade patients over time, with reasons.

    FILE is a CSV, Parquet, Arrow or JSON lines file of facts, a folder of CLIF, MEDS, OMOP or FHIR, or `-`
    for standard input. Every row of the answer is a span of time: `grade` is proven by the facts, `up_to`
    is not ruled out by them, `because` names the findings, `waiting_for` what nobody has measured.

    A file of facts has one charted value a row: patient_id, time (with its zone), measure, value, text, unit;
    `tocsin list measures` (and drugs, therapies, symptoms, conditions) names what may stand under measure.

    \b
    Example:
        tocsin grade examples/axi-cel-course.csv --scale astct-2019 --scale lee-2014
    """
    if out:
        check_suffix(out)
    if plot:
        check_suffix(plot, PICTURES)
    if plot and why:
        raise click.UsageError("--plot draws and --why explains: one at a time")
    place = Place(engine, connection, facts_table, into, replace)
    place.check(files, reading, out, shown=bool(plot or why))
    at = moment(why[1]) if why else None
    if why:
        reading["patients"] = (why[0],)
    if engine == "sql":
        lib = library(tuple(reading["folders"]))
        chosen = scales_of(lib, scales)
        told = sql_answer(place, lib, chosen, "all" in scales, reading["patients"], until, as_of)
        _answer(told, out, as_json, _show_spans)
        return
    source = Reading(files, out=out, **reading)
    asked = scales_of(source.lib, scales)
    if engine == "spark":
        _answer(spark_answer(place, source, asked, until, as_of), out, as_json, _show_intervals)
        return

    from tocsin.grading.batch import grade

    if why and at:
        _explain(_known(source.table(), as_of), asked, why[0], at, source, as_json)
    elif plot:
        facts = _known(source.table(), as_of)
        graded = list(grade(facts, asked, lib=source.lib, until=until, as_of=as_of))
        if graded:
            _draw(facts, pa.concat_tables(graded), source, plot)
        _answer(iter(graded), out, as_json, _show_intervals, quiet=True)
    else:
        facts = source.batches(to_grade=True)
        graded_stream = grade(
            facts, asked, lib=source.lib, until=until, as_of=as_of, engine=engine, notify=say
        )
        _answer(graded_stream, out, as_json, _show_intervals)
    source.close()


@click.command("episodes")
@grading_options
def episodes_command(
    files: Sequence[str], scales: Sequence[str], out: Path | None, until: datetime | None,
    as_of: datetime | None, as_json: bool, **reading: Any,
) -> None:
    """Find episodes: when each began, its peak, its trigger, and how it ended.

    Takes the same inputs and options as `tocsin grade`.

    \b
    Example:
        tocsin episodes examples/axi-cel-course.csv
    """
    if not files:
        raise click.UsageError("Missing argument 'FILE...'.")
    if out:
        check_suffix(out)
    source = Reading(files, out=out, **reading)
    asked = scales_of(source.lib, scales)

    from tocsin.episodes import episodes_of

    facts = source.batches(to_grade=True)
    found = episodes_of(facts, asked, lib=source.lib, until=until, as_of=as_of, notify=say)
    _answer(found, out, as_json, _show_episodes)
    source.close()


def _known(facts: pa.Table, as_of: datetime | None) -> pa.Table:
    """The facts as they stood at `as_of`: a picture shows only what the grades rest on."""
    from tocsin.facts import resolve

    return resolve(facts, as_of)


def _answer(
    tables: Iterator[pa.Table], out: Path | None, as_json: bool, display: Callable[[pa.Table, str], None],
    quiet: bool = False,
) -> None:
    """Hand the answer to whoever asked: a file, a pipe or a person."""
    if out:
        first = next(tables, None)
        if first is not None:
            rows = write_file(chain([first], tables), out)
            say(f"wrote {counted(rows, 'row')} to {out}")
    elif as_json or not is_terminal():
        if not quiet:
            to_pipe(tables)
    else:
        _show_some(tables, display)


def _show_some(tables: Iterator[pa.Table], display: Callable[[pa.Table, str], None]) -> None:
    """Show the first rows to a person and count the rest."""
    kept: list[pa.Table] = []
    rows = shown = 0
    for table in tables:
        rows += table.num_rows
        if shown < SHOWN_ROWS:
            kept.append(table.slice(0, SHOWN_ROWS - shown))
            shown += kept[-1].num_rows
    if kept:
        more = f"and {rows - shown:,} more rows; --out grades.csv has them all" if rows > shown else ""
        display(pa.concat_tables(kept), more)


def grade_text(grade: int, up_to: int, ambiguous: bool = False, unmeasured: bool = False) -> str:
    """A grade as shown everywhere: shape and number, what is not ruled out, `*` for ambiguous.

    >>> grade_text(2, 2), grade_text(0, 4, unmeasured=True)
    ('[#2B1703 on #F19C4B] ◆ 2 [/]', '[dim]? 0-4[/]')
    """
    if grade == 0 and up_to > 0 and unmeasured:
        return f"[dim]? 0-{up_to}[/]"
    style = f"{LIGHT.on_grade[grade]} on {LIGHT.grades[grade]}"
    rest = f"-{up_to}" if up_to > grade else " "
    return f"[{style}] {SHAPES[grade]} {grade}{rest}[/]{'*' if ambiguous else ''}"


def _show_intervals(table: pa.Table, note: str) -> None:
    spans = table.to_pylist()
    everywhere = set(spans[0]["flags"]).intersection(*(span["flags"] for span in spans))
    headings = ("from (UTC)", "for", "grade", "because", "open")
    for (patient, scale), own in groupby(spans, lambda span: (span["patient_id"], span["scale"])):
        rows = (
            (
                clock(span["start"]), _lasting(span),
                grade_text(span["grade"], span["up_to"], span["ambiguous"], bool(span["waiting_for"])),
                _words(span["because"]), _open(span, everywhere),
            )
            for span in own
        )
        show(headings, rows, title=f"{patient} under {scale}")
    say("2-4: 2 is proven, 4 is not ruled out; *: the paper can be read in two ways")
    if everywhere:
        say(f"flags of every row: {', '.join(sorted(everywhere))}")
    if note:
        say(note)


def _show_spans(table: pa.Table, note: str) -> None:
    """What SQL says: the spans without their reasons."""
    rows = (
        (
            span["patient_id"], span["scale"], clock(span["start"]), _lasting(span),
            grade_text(span["grade"], span["up_to"], span["ambiguous"]),
        )
        for span in table.to_pylist()
    )
    show(("patient", "scale", "from (UTC)", "for", "grade"), rows, note=note)


def _lasting(span: dict[str, Any]) -> str:
    """How long a span lasts, in hours."""
    if span["end"] is None:
        return "open"
    return f"{(span['end'] - span['start']).total_seconds() / 3600:.4g} h"


def _open(span: dict[str, Any], everywhere: set[str]) -> str:
    """What keeps the answer open, and the flags that not every row has."""
    parts = (
        ("waiting for", span["waiting_for"]), ("judge", span["judgement"]),
        ("flags", [flag for flag in span["flags"] if flag not in everywhere]),
    )
    return "\n".join(f"{word} {_words(names)}" for word, names in parts if names)


def _show_episodes(table: pa.Table, note: str) -> None:
    rows = (
        (
            each["patient_id"], each["scale"], clock(each["start"]), f"{_lasting(each)}, {each['outcome']}",
            grade_text(each["peak"], each["peak_up_to"], each["ambiguous"]), _since(each),
            _words(each["treatments"]),
        )
        for each in table.to_pylist()
    )
    headings = ("patient", "scale", "onset (UTC)", "lasted", "peak", "trigger", "treated with")
    if table.num_rows:
        show(headings, rows, note=note)
    else:
        say("no episode: no grade of 1 or more")


def _since(episode: dict[str, Any]) -> str:
    """What started an episode, and how long before."""
    hours = episode["hours_from_dose"]
    return episode["trigger"] if hours is None else f"{hours:.4g} h after {episode['trigger']}"


def _words(names: Sequence[str]) -> str:
    """Names in a cell; a long list is cut and counted."""
    first = ", ".join(islice(names, 6))
    return first + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _draw(facts: pa.Table, intervals: pa.Table, source: Reading, path: Path) -> None:
    from tocsin.plots.files import save
    from tocsin.plots.timeline import timeline

    patients = facts["patient_id"].unique().to_pylist()
    if len(patients) > 1:
        raise click.UsageError(
            f"--plot draws one patient and there are {len(patients):,}; add --patient {patients[0]}"
        )
    save(timeline(facts, intervals, lib=source.lib, patient=patients[0]), path)
    say(f"drew {path}")


def _explain(
    facts: pa.Table, scales: Sequence[str], patient: str, at: datetime, source: Reading, as_json: bool
) -> None:
    """Print the facts behind each finding that holds at `at`."""
    import orjson

    from tocsin.grading.why import why

    if not facts.num_rows:
        return
    for scale in scales:
        found = why(facts, scale, patient, at, source.lib)
        if as_json or not is_terminal():
            for finding, fact in found:
                line = {"patient_id": patient, "scale": scale, "at": at, "finding": finding, "fact": fact}
                click.echo(orjson.dumps(line, option=orjson.OPT_UTC_Z).decode())
            continue
        rows = (
            (finding, clock(fact["time"]), fact["measure"], _value(fact), fact["source"] or "")
            for finding, fact in found
        )
        title = f"{patient} at {clock(at)} UTC under {scale}"
        headings = ("finding", "charted (UTC)", "measure", "value", "source")
        show(headings, rows, title, "" if found else "no finding holds: grade 0")


def _value(row: dict[str, Any]) -> str:
    parts = (row["text"], None if row["value"] is None else f"{row['value']:g}", row["unit"])
    return " ".join(part for part in parts if part)
