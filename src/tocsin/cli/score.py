"""`tocsin score`: published scores of each patient, with what is missing, how old it is, and the evidence."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.options import Reading, counted, moment, reading_options, say
from tocsin.cli.output import check_suffix, is_terminal, show

if TYPE_CHECKING:
    from tocsin.definitions.load import Library
    from tocsin.scores.value import Input, Value

SHOWN_PATIENTS = 3
#: With no more scores than this, everything that is noted of them is shown.
FEW = 4
AT_ONCE = 5_000


@click.command("score")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--score", "names", multiple=True, default=("all",), show_default=True, metavar="ID",
    help="A score from `tocsin list scores`, or `all` (repeatable).",
)
@click.option(
    "--at", type=moment, metavar="TIME", help="The moment asked about; else each patient's last fact."
)
@click.option(
    "--window", "windows", multiple=True, metavar="NAME",
    help="Instead of a moment: pre-ld, day-5, day-1, day-0, day+1, day+3 (repeatable).",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write .jsonl, .csv or .parquet."
)
@reading_options
def score_command(
    files: Sequence[str], names: Sequence[str], at: datetime | None, windows: Sequence[str], out: Path | None,
    as_json: bool, **reading: Any,
) -> None:
    """Calculate published scores: EASIX, CAR-HEMATOTOX, HScore, ISTH DIC, NEWS2 and more, with evidence.

    FILE is anything `tocsin grade` reads. A value that is not known widens the answer to a range and is
    named; it is never taken as 0. Every input stands with its unit and age. A score is context: none here
    is an alarm for CRS. `tocsin list scores --not-implemented` says which are left out, and why.

    \b
    Example:
        tocsin score examples/axi-cel-course.csv --score hscore --score isth-dic --at 2026-03-04T08:00Z
    """
    if out:
        check_suffix(out)
    source = Reading(files, out=out, **reading)

    from tocsin.scores.answer import scores

    asked = _names(names, source.lib)
    places = _windows(windows, source.lib)
    values = scores(source.table(), asked, at, source.lib, windows=places)
    if out:
        say(f"wrote {counted(_write(values, out), 'value')} to {out}")
    elif as_json or not is_terminal():
        _pipe(values)
    else:
        _show(values)
    source.close()


def _names(asked: Sequence[str], lib: Library) -> tuple[str, ...]:
    """The scores asked for; one that is not there, or not calculated, is bad usage."""
    from tocsin.definitions.schema import near
    from tocsin.definitions.score import score_definition, score_names

    known = score_names(lib)
    if "all" in asked:
        return known
    for name in asked:
        if name in lib.files("scores") and name not in known:
            reason = score_definition(name, lib).reason
            raise click.UsageError(f"`{name}` is not calculated: {reason}")
        if name not in known:
            raise click.UsageError(f"no score `{name}`{near(name, known)}\none of: {', '.join(known)}")
    return tuple(dict.fromkeys(asked))


def _windows(asked: Sequence[str], lib: Library) -> tuple[str | None, ...]:
    from tocsin.definitions.schema import near
    from tocsin.definitions.score_window import timing

    known = timing(lib).windows
    for name in asked:
        if name not in known:
            raise click.UsageError(f"no window `{name}`{near(name, known)}\none of: {', '.join(known)}")
    return tuple(dict.fromkeys(asked)) or (None,)


def _line(value: Value) -> bytes:
    import orjson

    return orjson.dumps(value.as_dict(), option=orjson.OPT_APPEND_NEWLINE)


def _pipe(values: Iterable[Value]) -> None:
    from tocsin.facts.files import writing

    with writing("standard output"):
        for value in values:
            sys.stdout.buffer.write(_line(value))
        sys.stdout.flush()


def _write(values: Iterator[Value], out: Path) -> int:
    from tocsin.cli.output import write_file
    from tocsin.facts.files import replaced
    from tocsin.scores.answer import table

    if out.suffix != ".jsonl":
        return write_file((table(lot) for lot in iter(lambda: list(islice(values, AT_ONCE)), [])), out)
    count = 0
    with replaced(out) as sink:
        for value in values:
            sink.write(_line(value))
            count += 1
    return count


def _show(values: Iterable[Value]) -> None:
    patients = 0
    for patient, own in groupby(values, lambda value: value.patient):
        patients += 1
        if patients <= SHOWN_PATIENTS:
            view(patient, list(own))
    if not patients:
        say("nothing was charted by that time")
    if patients > SHOWN_PATIENTS:
        more = counted(patients - SHOWN_PATIENTS, "more patient")
        say(f"and {more}; --patient ID shows one, --out FILE.jsonl has all")
    say("2 to 5: not settled, for want of what is named; context only, no score here is an alarm for CRS")


def view(patient: str, values: Sequence[Value]) -> None:
    """One patient's scores for a person: value and label, inputs with ages, what is open, the evidence."""
    told = [value for value in values if any(item.inputs for item in value.items)]
    few = len({value.score for value in told}) <= FEW
    rows = [(_name(value), value_text(value), "\n".join(_lines(value, few))) for value in told]
    when = {value.at for value in told}
    at = f" at {_clock(when.pop())} UTC" if len(when) == 1 else ""
    show(("score", "value", "what it says and rests on"), rows, title=f"{patient}{at}")
    blank = dict.fromkeys(_name(value, " ") for value in values if value not in told)
    if blank:
        click.echo(f"nothing charted for: {', '.join(blank)}")


def _name(value: Value, between: str = "\n") -> str:
    return value.score + (f"{between}({value.window})" if value.window else "")


def _lines(value: Value, notes: bool) -> Iterator[str]:
    if value.band:
        yield f"[bold]{value.band}[/]"
    for other in value.beside:
        yield f"{other.score}: {' · '.join(value_text(other).splitlines())} {other.band or ''}".rstrip()
    rows = [_input(each) for each in _inputs(value)]
    yield f"from {'; '.join(rows)}"
    if value.missing:
        yield f"not known: {', '.join(value.missing)}"
    yield f"evidence: {value.evidence} \\[{', '.join(value.source)}]"
    yield f"flags: {', '.join(value.flags)}"
    if notes:
        yield from (f"- {note}" for note in value.notes)


def value_text(value: Value) -> str:
    """A value or its range, with the logarithm where the effect is told per doubling.

    >>> from tocsin.scores import score
    >>> from tocsin.testing import patient
    >>> value_text(score(patient("0 h ldh 600 U/L", "0 h platelets 40 10*3/uL"), "s-easix")[0])
    '[bold]15[/]\\nlog2 3.91'
    >>> value_text(score(patient("0 h platelets 40 10*3/uL"), "isth-dic")[0])
    '[bold]2 to 8[/]'
    """
    if value.low is None or value.high is None:
        return "[dim]none[/]"
    parts = [f"[bold]{value.low:g}[/]" if value.known else f"[bold]{value.low:g} to {value.high:g}[/]"]
    if value.log2_low is not None:
        change = ""
        if value.log2_change is not None:
            change = f" ({value.log2_change:+.2f} in {value.log2_change_hours:g} h)"
        parts.append(f"log2 {value.log2_low:.2f}{change}")
    if value.probability_low is not None and value.probability_high is not None:
        low, high = 100 * value.probability_low, 100 * value.probability_high
        parts.append(f"{low:.0f} %" if low == high else f"{low:.0f} to {high:.0f} %")
    return "\n".join(parts)


def _inputs(value: Value) -> list[Input]:
    found = {(each.measure, each.time): each for item in value.items for each in item.inputs}
    return [*found.values()]


def _input(each: Input) -> str:
    """One input with its age.

    >>> from tocsin.scores.value import Input
    >>> _input(Input("crp", 12.0, None, "mg/dL", 0, 5.25, "a.csv:3", "used"))
    'crp 12 mg/dL · 5.2 h'
    """
    number = "" if each.value is None else f" {each.text or ''}{each.value:g} {each.unit or ''}".rstrip()
    word = f" {each.text}" if each.value is None and each.text else ""
    state = "" if each.state == "used" else f" [dim]({each.state})[/]"
    return f"{each.measure}{number}{word} · {each.hours:.1f} h{state}"


def _clock(t: int) -> str:
    from tocsin.facts.instants import written

    return str(written(t))[:16].replace("T", " ")
