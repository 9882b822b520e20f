"""`tocsin approve`: a named clinician takes a definition as the site's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from tocsin.cli.options import say
from tocsin.cli.output import show
from tocsin.cli.watch import DB_HELP, STORE
from tocsin.definitions.load import library
from tocsin.definitions.schema import DefinitionError, near


@click.command("approve")
@click.argument("definitions", nargs=-1, metavar="[DEFINITION]...")
@click.option("--db", metavar="URL", default=STORE, show_default=True, help=DB_HELP)
@click.option("--by", metavar="NAME", help="The clinician who approves, by name.")
@click.option("--all-used", is_flag=True, help="Every definition that the board, doses and advice use.")
@click.option("--list", "listing", is_flag=True, help="List what is approved.")
@click.option("--withdraw", is_flag=True, help="Take the approval of the definitions back.")
@click.option(
    "--definitions", "folders", multiple=True, type=click.Path(path_type=Path), help="The site's shelves."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def approve_command(
    definitions: tuple[str, ...], db: str, by: str | None, all_used: bool, listing: bool, withdraw: bool,
    folders: tuple[Path, ...], yes: bool,
) -> None:  # fmt: skip
    """Note that a named clinician read definitions and takes them as the site's own.

    Until then they grade, but alerts go to the evaluator alone and no dose is shown. An approval is for a
    definition as it stands, by its hash: a changed one has to be approved anew.

    \b
    Example:
        tocsin approve astct-2019 --db ward.db --by "Dr A. Example" --yes
    """
    from tocsin.watch import approvals
    from tocsin.watch.clock import moment_of
    from tocsin.watch.roles import Actor
    from tocsin.watch.store import Store

    lib = library(folders)
    if listing == bool(definitions or all_used):
        raise click.UsageError("give definitions, or --all-used, or --list")
    store = Store.open(db)
    try:
        if listing:
            with store.reading() as con:
                rows = approvals.standing(con)
            show(
                ("definition", "hash", "by", "at"),
                [
                    (row.definition, row.hash[:12], row.by, f"{moment_of(row.at):%Y-%m-%d %H:%MZ}")
                    for row in rows
                ],
            )
            return
        if not by:
            raise click.UsageError("an approval has a name: --by NAME")
        known = approvals.approvable(lib)
        names = list(known) if all_used else [called(name, known) for name in definitions]
        wanted = [(name, known[name]) for name in names]
        verb = "withdraws the approval of" if withdraw else "approves"
        for name, found in wanted:
            say(f"  {name}  {found[:12]}")
        if not yes:
            click.confirm(f"{by} {verb} these {len(wanted)}. Right?", abort=True, err=True)
        actor = Actor(by[:60], "physician", kind="cli")
        with store.writing() as con:
            if withdraw:
                count = sum(approvals.withdraw(con, store.clock, actor, name) for name in names)
            else:
                count = approvals.approve(con, store.clock, actor, wanted, by[:120])
        click.echo(f"{count} {'withdrawn' if withdraw else 'approved'}, {len(wanted) - count} as they were")
    finally:
        store.close()


def called(name: str, known: Mapping[str, str]) -> str:
    """A definition by its name, or by the part after the shelf where only one is called so."""
    found = [each for each in known if name in (each, each.rpartition("/")[2])]
    if len(found) != 1:
        raise DefinitionError(
            f"no definition that asks for approval is called `{name}`{near(name, known)}"
            if not found
            else f"`{name}` may be {' or '.join(found)}\n  fix: write it with its shelf"
        )
    return found[0]
