"""`tocsin triage` and `tocsin about`: advice for patients, in plain words."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from tocsin.citations import cite
from tocsin.cli.output import is_terminal
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import TocsinError, near
from tocsin.definitions.texts import languages, texts
from tocsin.units import convert

WIDEST = 80
#: Where a list has something to hang on, however narrow the screen.
NARROWEST = 20
BULLET = "  • "
TEMPERATURE = re.compile(r"([+-]?\d+(?:[.,]\d+)?)\s*°?\s*([CFcf]?)")
MEDICINES = {
    "antipyretic_hours_ago": "acetaminophen",
    "steroid_hours_ago": "dexamethasone",
    "tocilizumab_hours_ago": "tocilizumab",
}
READINGS = {
    "temperature": "temperature",
    "spo2": "spo2",
    "systolic": "systolic-bp",
    "heart_rate": "heart-rate",
    "respiratory_rate": "respiratory-rate",
    "age": "age",
}


def celsius(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """A temperature in Cel; one that ends in F is converted."""
    if value is None:
        return None
    found = TEMPERATURE.fullmatch(value.strip())
    if found is None:
        raise click.BadParameter(f"`{value}` is no temperature; write it as 38.2 or 100.8F")
    number = float(found[1].replace(",", "."))
    return convert("[degF]", "Cel").apply(number) if found[2] in ("F", "f") else number


shelves_option = click.option(
    "--definitions",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of your own definitions on top of the built-in ones (repeatable).",
)
language_option = click.option("--language", default="en", show_default=True, metavar="CODE", help="en, es.")
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.command("triage")
@click.option("--therapy", metavar="ID", help="The therapy or its brand, as teclistamab or Yescarta.")
@click.option("--days", type=float, metavar="N", help="Days since the latest dose.")
@click.option("--hours", type=float, metavar="N", help="Hours since the latest dose.")
@click.option(
    "--temperature", callback=celsius, metavar="X[F]", help="In Cel, or in Fahrenheit with an F: 100.8F."
)
@click.option(
    "--symptom",
    "symptoms",
    multiple=True,
    metavar="NAME",
    help="A symptom of `tocsin list symptoms`, or a sign as seizure (repeatable).",
)
@click.option("--spo2", type=float, metavar="N", help="Oxygen level in %.")
@click.option("--systolic", type=float, metavar="N", help="Blood pressure, the top number.")
@click.option("--baseline-systolic", type=float, metavar="N", help="The top number as it usually is.")
@click.option("--heart-rate", type=float, metavar="N", help="Heart beats a minute, at rest.")
@click.option("--respiratory-rate", type=float, metavar="N", help="Breaths a minute, at rest.")
@click.option("--antipyretic-hours-ago", type=float, metavar="N", help="Hours since a fever medicine.")
@click.option("--steroid-hours-ago", type=float, metavar="N", help="Hours since a steroid.")
@click.option("--tocilizumab-hours-ago", type=float, metavar="N", help="Hours since tocilizumab.")
@click.option("--age", type=float, metavar="YEARS", help="Age; children have limits of their own.")
@language_option
@shelves_option
@json_option
def triage_command(
    therapy: str | None,
    days: float | None,
    hours: float | None,
    symptoms: Sequence[str],
    baseline_systolic: float | None,
    language: str,
    folders: Sequence[Path],
    as_json: bool,
    **told: float | None,
) -> None:
    """Say how urgently to seek care, why, and what to do meanwhile.

    Leave out what you do not know: it never makes the answer milder. In danger, do not ask a computer: call
    an ambulance. Fever counts from 38.0, as the US lists say; --definitions holds a hospital's own number.
    Not a diagnosis.

    \b
    Example:
        tocsin triage --therapy teclistamab --days 1 --temperature 38.2 --symptom confusion
    """
    from tocsin.advice import AdviceError, tell, triage

    lib = library(tuple(folders))
    _check_language(language, lib)
    readings = {measure: told[name] for name, measure in READINGS.items() if told[name] is not None}
    medicines = {drug: told[name] for name, drug in MEDICINES.items() if told[name] is not None}
    usual = {} if baseline_systolic is None else {READINGS["systolic"]: baseline_systolic}
    try:
        person = tell(
            therapy=therapy,
            days=days,
            hours=hours,
            symptoms=symptoms,
            usual=usual,
            lib=lib,
            readings=readings,
            medicines=medicines,
        )
    except AdviceError as error:
        raise click.UsageError(str(error)) from None
    answer = triage(person, lib, language)
    if as_json or not is_terminal():
        click.echo(orjson.dumps(answer).decode())
        return
    for line in advice_lines(answer, texts(language, lib).tables["word"], _width()):
        click.echo(line)


@click.command("about")
@click.argument("topic", required=False)
@click.option("--therapy", metavar="ID", help="Add what studies of this therapy found.")
@language_option
@click.option("--sources", is_flag=True, help="Show the source of each fact.")
@shelves_option
@json_option
def about_command(
    topic: str | None,
    therapy: str | None,
    language: str,
    sources: bool,
    folders: Sequence[Path],
    as_json: bool,
) -> None:
    """Print the leaflet for patients, or one TOPIC of it.

    \b
    Example:
        tocsin about grades
    """
    from tocsin.advice import AdviceError, leaflet

    lib = library(tuple(folders))
    _check_language(language, lib)
    try:
        page = leaflet(topic, language=language, therapy=therapy, lib=lib)
    except AdviceError as error:
        raise click.UsageError(str(error)) from None
    except TocsinError as error:
        if topic is not None and "no topic" in str(error):
            raise click.UsageError(str(error)) from None
        raise
    if as_json:
        click.echo(orjson.dumps(page).decode())
        return
    for line in leaflet_lines(page, texts(language, lib).tables["word"], _width(), sources):
        click.echo(line)


def _check_language(language: str, lib: Library) -> None:
    known = languages(lib)
    if language not in known:
        raise click.UsageError(f"no texts in `{language}`{near(language, known)}; one of {', '.join(known)}")


def _width() -> int:
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def advice_lines(answer: Mapping[str, Any], words: Mapping[str, str], width: int) -> Iterator[str]:
    """The answer as a person reads it: what to do first, then why."""
    yield ""
    yield from headed(answer["do"].upper(), width)
    for key, heading in (("because", "why"), ("meanwhile", "meanwhile")):
        yield from _section(words[heading], answer[key], width)
    yield from _section(words["tell"], [f"“{answer['say']}”"], width, bullet="  ")
    if answer["unknown"]:
        yield from _section(words["unknown"], answer["unknown"], width)
    yield ""
    for text in (words["kind"], words["limits"], words["draft"] if answer["status"] == "draft" else ""):
        yield from textwrap.wrap(text, width)


def leaflet_lines(
    page: Mapping[str, Any], words: Mapping[str, str], width: int, sources: bool
) -> Iterator[str]:
    """The leaflet as a person reads it; what was not checked against a source carries a star."""
    unchecked, keys = False, []
    yield from headed(page["title"], width)
    for topic in page["topics"]:
        yield ""
        yield from headed(topic["title"], width)
        for item in topic["items"]:
            text = item["text"]
            if item["status"] == "memory":
                text, unchecked = f"{text} *", True
            elif sources and item["source"]:
                text = f"{text} [{', '.join(item['source'])}]"
                keys += item["source"]
            lead = BULLET if item["point"] else ""
            yield from wrapped(text, width, lead)
    yield ""
    if unchecked:
        yield from textwrap.wrap(f"* {words['unchecked'][:1].upper()}{words['unchecked'][1:]}.", width)
    yield from textwrap.wrap(words["limits"], width)
    if page["status"] == "draft":
        yield from textwrap.wrap(words["draft"], width)
    known = [key for key in dict.fromkeys(keys) if key != "memory"]
    if known:
        yield from _section(words["sources"], (f"{key}: {cite(key).text()}" for key in known), width)


def _section(heading: str, lines: Iterable[str], width: int, bullet: str = BULLET) -> Iterator[str]:
    yield ""
    yield from headed(heading, width)
    for line in lines:
        yield from wrapped(line, width, bullet)


def headed(text: str, width: int) -> list[str]:
    """The lines of a heading."""
    return [click.style(line, bold=True) for line in textwrap.wrap(text, width)]


def wrapped(text: str, width: int, lead: str = "") -> list[str]:
    """Lines of a text, none of which begins with the unit of a number.

    >>> wrapped("It is 38.2 °C", 11)
    ['It is', '38.2\\xa0°C']
    """
    text = re.sub(r"(?<=[0-9]) (?=[°%])", "\u00a0", text)
    return textwrap.wrap(text, width, initial_indent=lead, subsequent_indent=" " * len(lead))
