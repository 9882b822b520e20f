"""`tocsin backup`, `restore`, `erase`, `retain`: copies of a store, and persons who go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli.options import say
from tocsin.cli.token import days_of
from tocsin.cli.watch import DB_HELP, STORE

if TYPE_CHECKING:
    from tocsin.watch.store import Store


@contextmanager
def opened(db: str, *, new: bool = False) -> Iterator[Store]:
    """The store, closed afterwards; one that is not there is made only where a `new` one is wanted."""
    import sqlalchemy as sa

    from tocsin.watch.keeping import existing
    from tocsin.watch.store import Store, unusable, url_of

    store = Store.open(db) if new else existing(db)
    try:
        yield store
    except sa.exc.DBAPIError as error:  # a full disk, a server that went away: nothing was half done
        raise unusable(url_of(db), error) from error
    finally:
        store.close()


@click.command("backup")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--db", metavar="URL", default=STORE, show_default=True, help=DB_HELP)
def backup_command(out: Path, db: str) -> None:
    """Copy a store into one file, while it is used. The file holds patients' data: keep it as safe.

    Who is signed in is not carried; accounts, tokens and the audit log are.

    \b
    Example:
        tocsin token --db ward.db --role device && tocsin backup ward.backup --db ward.db
    """
    from tocsin.watch.keeping import backup

    with opened(db) as store:
        counts = backup(store, out, lambda name, rows: say(f"  {name}: {rows}"))
    click.echo(f"{sum(counts.values())} rows in {out}")


@click.command("restore")
@click.argument("source", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--db", metavar="URL", required=True, help=DB_HELP)
def restore_command(source: Path, db: str) -> None:
    """Fill an empty store from a backup, of SQLite or PostgreSQL alike; all of it, or nothing.

    \b
    Example:
        tocsin token --db a.db --role device && tocsin backup a.gz --db a.db && tocsin restore a.gz --db b.db
    """
    from tocsin.watch.keeping import restore

    with opened(db, new=True) as store:
        counts = restore(source, store)
    click.echo(f"{sum(counts.values())} rows restored; the audit log holds")


@click.command("erase")
@click.option("--db", metavar="URL", default=STORE, show_default=True, help=DB_HELP)
@click.option("--patient", required=True, metavar="ID", help="The id that the person's facts came under.")
@click.option("--by", required=True, metavar="NAME", help="Who decided it, for the audit log.")
@click.option("--dry-run", is_flag=True, help="Say what would go; erase nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase_command(db: str, patient: str, by: str, dry_run: bool, yes: bool) -> None:
    """Take one person out of a store for good. The audit log stays whole: it knew only a random name.

    Works while the service runs. Stop whoever sends facts of this person first: new facts make a new
    record. Backups made before still hold the person.

    \b
    Example:
        tocsin token --db w.db --role device && tocsin erase --db w.db --patient p1 --by "A. Name" --dry-run
    """
    from tocsin.watch import keeping
    from tocsin.watch.roles import Actor

    with opened(db) as store:
        try:
            counts = keeping.held(store, patient)
        except keeping.KeepingError as error:
            if not dry_run:
                raise
            click.echo(f"nothing would go: {str(error).splitlines()[0]}")
            return
        if dry_run:
            click.echo(f"would go: {_said(counts)}")
            return
        if not yes:
            told = f"{_said(counts)} of this person go, and cannot be brought back. Erase?"
            click.confirm(told, abort=True, err=True)
        click.echo(f"erased: {_said(keeping.erase(store, Actor(by[:60], 'admin', kind='cli'), patient))}")


def _said(counts: Mapping[str, int]) -> str:
    told = [f"{count} {name.removeprefix('cds_').replace('_', ' ')}" for name, count in counts.items()]
    return ", ".join(told) or "the record alone"


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
        tocsin token --db a --role device && tocsin retain --db a --discharged-before 365d --by "A Name" --yes
    """
    from tocsin.watch.keeping import retain
    from tocsin.watch.roles import Actor

    if not yes:
        click.confirm(
            f"Everybody discharged over {days:g} days ago goes for good. Erase?", abort=True, err=True
        )
    with opened(db) as store:
        from tocsin.watch.clock import DAY

        count = retain(store, Actor(by[:60], "admin", kind="cli"), store.clock.now() - round(days * DAY))
    click.echo(f"erased {count} persons")
