"""`tocsin backup`, `restore`, `erase`, `retain`: copies of a store, and persons who go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli.options import say
from tocsin.cli.token import days_of
from tocsin.cli.watch import DB_HELP, STORE

if TYPE_CHECKING:
    from tocsin.watch.store import Store

DAY = 86_400_000_000


@contextmanager
def opened(db: str) -> Iterator[Store]:
    """The store, closed afterwards."""
    from tocsin.watch.store import Store

    store = Store.open(db)
    try:
        yield store
    finally:
        store.close()


@click.command("backup")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--db", metavar="URL", default=STORE, show_default=True, help=DB_HELP)
def backup_command(out: Path, db: str) -> None:
    """Copy a store into one file, while it is used. The file holds patients' data: keep it as safe.

    \b
    Example:
        tocsin backup ward.backup --db ward.db
    """
    from tocsin.watch.keeping import backup

    with opened(db) as store:
        counts = backup(store, out, lambda name, rows: say(f"  {name}: {rows}"))
    say(f"{sum(counts.values())} rows in {out}")


@click.command("restore")
@click.argument("source", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--db", metavar="URL", required=True, help=DB_HELP)
def restore_command(source: Path, db: str) -> None:
    """Fill an empty store from a backup, of SQLite or PostgreSQL alike; all of it, or nothing.

    \b
    Example:
        tocsin restore ward.backup --db new.db
    """
    from tocsin.watch.keeping import restore

    with opened(db) as store:
        counts = restore(source, store)
    say(f"{sum(counts.values())} rows restored; the audit log holds")


@click.command("erase")
@click.option("--db", metavar="URL", default=STORE, show_default=True, help=DB_HELP)
@click.option("--patient", required=True, metavar="ID", help="The id that the person's facts came under.")
@click.option("--by", required=True, metavar="NAME", help="Who decided it, for the audit log.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase_command(db: str, patient: str, by: str, yes: bool) -> None:
    """Take one person out of a store for good. The audit log stays whole: it knew only a random name.

    Works while the service runs. Backups made before still hold the person.

    \b
    Example:
        tocsin erase --db ward.db --patient p1 --by "Data protection officer" --yes
    """
    from tocsin.watch.keeping import erase
    from tocsin.watch.roles import Actor

    if not yes:
        click.confirm(
            "Every fact of this person goes, and cannot be brought back. Erase?", abort=True, err=True
        )
    with opened(db) as store:
        counts = erase(store, Actor(by[:60], "admin", kind="cli"), patient)
    say(f"erased: {counts['facts']} facts, {counts['alerts']} alerts, {counts['tokens']} tokens")


@click.command("retain")
@click.option("--db", metavar="URL", default=STORE, show_default=True, help=DB_HELP)
@click.option(
    "--discharged-before", "days", required=True, metavar="TIME", callback=days_of,
    help="Erase who was discharged longer ago, as 365d.",
)  # fmt: skip
@click.option("--by", required=True, metavar="NAME", help="Who decided it, for the audit log.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def retain_command(db: str, days: float, by: str, yes: bool) -> None:
    """Erase everybody who was discharged longer ago than a site keeps records.

    \b
    Example:
        tocsin retain --db ward.db --discharged-before 365d --by "Data protection officer" --yes
    """
    from tocsin.watch.keeping import retain
    from tocsin.watch.roles import Actor

    if not yes:
        click.confirm(
            f"Everybody discharged over {days:g} days ago goes for good. Erase?", abort=True, err=True
        )
    with opened(db) as store:
        count = retain(store, Actor(by[:60], "admin", kind="cli"), store.clock.now() - round(days * DAY))
    say(f"erased {count} persons")
