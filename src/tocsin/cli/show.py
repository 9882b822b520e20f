"""`tocsin explain`, `tocsin cite`, `tocsin list`: what the answers rest on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import orjson

from tocsin.citations import cite
from tocsin.cli.output import is_terminal, show
from tocsin.definitions.describe import page
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import SHELVES

definitions_option = click.option(
    "--definitions", "folders", multiple=True, type=click.Path(path_type=Path), metavar="DIR",
    help="A folder of your own definitions on top of the built-in ones (repeatable).",
)


@click.command("explain")
@click.argument("name")
@definitions_option
def explain_command(name: str, folders: Sequence[Path]) -> None:
    """Show a scale, measure, drug, therapy, symptom or condition as a page, with its sources.

    \b
    Example:
        tocsin explain astct-2019
    """
    text = page(name, library(tuple(folders)), lambda key: cite(key).text())
    if not is_terminal():
        click.echo(text, nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


@click.command("cite")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@click.option("--bibtex", is_flag=True, help="As a BibTeX entry.")
def cite_command(keys: Sequence[str], bibtex: bool) -> None:
    """Print the reference behind a key, as text or BibTeX.

    \b
    Example:
        tocsin cite lee2019 --bibtex
    """
    for key in keys:
        reference = cite(key)
        click.echo(reference.bibtex() if bibtex else reference.text())


@click.command("list")
@click.argument("shelf", type=click.Choice(["scales", *SHELVES]))
@definitions_option
@click.option("--json", "as_json", is_flag=True, help="JSON lines, also on a terminal.")
def list_command(shelf: str, folders: Sequence[Path], as_json: bool) -> None:
    """List a shelf of definitions.

    \b
    Example:
        tocsin list scales
    """
    rows = _rows(library(tuple(folders)), shelf)
    if as_json or not is_terminal():
        for name, title, status in rows:
            click.echo(orjson.dumps({"id": name, "title": title, "status": status}).decode())
    else:
        show(("id", "title", "status"), rows)


def _rows(lib: Library, shelf: str) -> list[tuple[str, str, str]]:
    things = (lib.scale(name) for name in lib.scales) if shelf == "scales" else (
        lib.measure(name) for name in sorted(lib.files(shelf))
    )
    return [(thing.id, thing.title, thing.status) for thing in things]
