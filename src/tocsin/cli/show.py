"""`tocsin explain`, `tocsin cite`, `tocsin list`: what the answers rest on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import click
import orjson

from tocsin.citations import cite
from tocsin.cli.output import is_terminal, show
from tocsin.definitions.closing import closing
from tocsin.definitions.describe import page
from tocsin.definitions.describe_shelf import PLAIN, listed
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import SHELVES
from tocsin.definitions.shared import shared_findings

definitions_option = click.option(
    "--definitions", "folders", multiple=True, type=click.Path(path_type=Path), metavar="DIR",
    help="A folder of your own definitions on top of the built-in ones (repeatable).",
)


@click.command("explain")
@click.argument("name")
@definitions_option
def explain_command(name: str, folders: Sequence[Path]) -> None:
    """Show a definition as a page, with its sources: a scale, a finding, a drug, a guideline, ...

    NAME is an id of `tocsin list SHELF`, or a finding as `because` names it.

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
@click.argument("shelf", type=click.Choice(["scales", "findings", *SHELVES, "episodes", "scores", *PLAIN]))
@definitions_option
@click.option(
    "--not-implemented", is_flag=True, help="Scores that are not calculated, each with the reason."
)
@click.option("--json", "as_json", is_flag=True, help="JSON lines, also on a terminal.")
def list_command(shelf: str, folders: Sequence[Path], not_implemented: bool, as_json: bool) -> None:
    """List a shelf of definitions.

    \b
    Example:
        tocsin list scales
    """
    if not_implemented and shelf != "scores":
        raise click.UsageError("--not-implemented is of scores: tocsin list scores --not-implemented")
    if not_implemented:
        _list_refused(library(tuple(folders)), as_json or not is_terminal())
        return
    lib = library(tuple(folders))
    if shelf in PLAIN:
        rows = list(listed(shelf, lib))
    else:
        rows = [(thing.id, thing.title, thing.status) for thing in _things(lib, shelf)]
    if as_json or not is_terminal():
        for name, title, status in rows:
            click.echo(orjson.dumps({"id": name, "title": title, "status": status}).decode())
    else:
        show(("id", "title", "status"), rows)


def _list_refused(lib: Library, as_json: bool) -> None:
    """Scores people ask for that are not calculated: why, and what is missing."""
    from tocsin.definitions.score import score_definition, score_names

    refused = [score_definition(name, lib) for name in score_names(lib, implemented=False)]
    if not as_json:
        rows = [(each.id, each.title, each.reason, ", ".join(each.source)) for each in refused]
        show(("id", "title", "not calculated because", "source"), rows)
        return
    for each in refused:
        said = {
            "id": each.id, "title": each.title, "status": each.status, "reason": each.reason,
            "missing": list(each.missing), "source": list(each.source), "note": each.reading,
        }  # fmt: skip
        click.echo(orjson.dumps(said).decode())


class _Listed(Protocol):
    """What every definition has."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def status(self) -> str: ...


def _things(lib: Library, shelf: str) -> Iterator[_Listed]:
    if shelf == "scores":
        from tocsin.definitions.score import score_definition, score_names

        yield from (score_definition(name, lib) for name in score_names(lib))
        return
    for name in sorted(lib.files(shelf)):
        if shelf == "scales":
            yield lib.scale(name)
        elif shelf == "findings":
            yield shared_findings(name, lib)
        elif shelf == "episodes":
            yield closing("crs", lib)
        else:
            yield lib.measure(name)
