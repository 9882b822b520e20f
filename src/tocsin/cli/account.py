"""`tocsin account`: who may sign in to the live service."""

from __future__ import annotations

import click

from tocsin.cli.options import say
from tocsin.cli.output import show
from tocsin.cli.watch import DB_HELP, STORE


@click.command("account")
@click.option("--db", metavar="URL", default=STORE, show_default=True, help=DB_HELP)
@click.option("--list", "listing", is_flag=True, help="List the accounts.")
@click.option("--close", metavar="NAME", help="Let this account sign in no more; its sessions end at once.")
@click.option("--open", "reopen", metavar="NAME", help="Let a closed account sign in again.")
def account_command(db: str, listing: bool, close: str | None, reopen: str | None) -> None:
    """List, close and open the accounts of people.

    A closed account stays: what it did is in the log under its name. Accounts of people who come from a
    record system are closed in the same way, and that system cannot open them. `tocsin token --invite` makes
    new ones. Works while the service runs.

    \b
    Example:
        tocsin account --db ward.db --list
    """
    from tocsin.watch import account
    from tocsin.watch.store import Store

    if [listing, close is not None, reopen is not None].count(True) != 1:
        raise click.UsageError("give one of --list, --close, --open")
    store = Store.open(db)
    try:
        if close is not None:
            with store.writing() as con:
                ended = account.close(con, store.clock, close)
            say(f"closed {close}; sessions ended: {ended}")
        elif reopen is not None:
            with store.writing() as con:
                account.reopen(con, store.clock, reopen)
            say(f"opened {reopen}")
        else:
            with store.reading() as con:
                rows = account.listed(con)
            show(("name", "role", "signs in by", "made", "closed"), rows)
    finally:
        store.close()
