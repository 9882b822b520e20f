"""`tocsin token`: what programs show at the doors of the live service."""

from __future__ import annotations

import re

import click

from tocsin.cli.options import say
from tocsin.cli.output import show
from tocsin.cli.watch import DB_HELP, STORE
from tocsin.definitions.schema import TocsinError

ROLES = ("device", "nurse", "physician", "evaluator", "admin")


def days_of(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """`30d`, `12h` as days."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([hdw])", value)
    if found is None or not 0 < float(found[1]) <= 10_000:
        raise click.BadParameter("a time is written 12h, 30d or 4w")
    return float(found[1]) * {"h": 1 / 24, "d": 1, "w": 7}[found[2]]


@click.command("token")
@click.option("--db", metavar="URL", default=STORE, show_default=True, help=DB_HELP)
@click.option("--role", type=click.Choice(ROLES), help="What it may do.")
@click.option("--patient", metavar="ID", help="Hold it to one patient.")
@click.option("--expires", metavar="TIME", callback=days_of, help="As 30d or 12h. [default: never]")
@click.option("--name", default="", help="What it is for, to know it again.")
@click.option("--invite", is_flag=True, help="With --role: a code that makes one person's account.")
@click.option("--list", "listing", is_flag=True, help="List the tokens; their secrets are not kept.")
@click.option("--revoke", metavar="ID", help="End a token at once.")
@click.option("--rotate", metavar="ID", help="A new secret in place of a token.")
def token_command(
    db: str, role: str | None, patient: str | None, expires: float | None, name: str, invite: bool,
    listing: bool, revoke: str | None, rotate: str | None,
) -> None:  # fmt: skip
    """Make a token for a program. It is printed alone on the last line, and cannot be shown again.

    With --invite, it is a code instead: whoever gives it at /first-run within 30 minutes makes an account.

    Works while the service runs. The service takes it as `Authorization: Bearer TOKEN`.

    \b
    Example:
        tocsin token --db ward.db --role device --expires 30d
    """
    from tocsin.watch import auth
    from tocsin.watch.store import Store

    if [listing, bool(revoke), bool(rotate), bool(role)].count(True) != 1:
        raise click.UsageError("give one of --role, --list, --revoke, --rotate")
    if invite and not role:
        raise click.UsageError("--invite goes with --role: what the account may do")
    store = Store.open(db)
    try:
        if listing:
            _list(store)
            return
        if invite:
            with store.writing() as con:
                code = auth.invite(con, store.clock, str(role))
            say("a code for one account; give it at /first-run within 30 minutes:")
            click.echo(code)
            return
        with store.writing() as con:
            if revoke:
                if not auth.revoke_token(con, store.clock, revoke):
                    raise TocsinError(f"no token `{revoke}` stands\n  fix: tocsin token --list shows them")
                say(f"revoked {revoke}")
                return
            if rotate:
                made = auth.rotate_token(con, store.clock, rotate)
                if made is None:
                    raise TocsinError(f"no token `{rotate}` stands\n  fix: tocsin token --list shows them")
            else:
                made = auth.create_token(
                    con, store.clock, str(role), patient_id=patient, name=name, days=expires
                )
        say(f"token {made[0]}; its secret is shown this once:")
        click.echo(made[1])
    finally:
        store.close()


def _list(store: object) -> None:
    import sqlalchemy as sa

    from tocsin.watch.clock import moment_of
    from tocsin.watch.schema import tokens
    from tocsin.watch.store import Store

    assert isinstance(store, Store)
    with store.reading() as con:
        rows = con.execute(sa.select(tokens).order_by(tokens.c.created)).all()
    now = store.clock.now()

    def day(micros: int | None) -> str:
        return "" if micros is None else f"{moment_of(micros):%Y-%m-%d %H:%MZ}"

    def state(row: object) -> str:
        expires, revoked = getattr(row, "expires", None), getattr(row, "revoked", None)
        return "revoked" if revoked else "expired" if expires is not None and expires <= now else "stands"

    show(
        ("id", "name", "role", "one patient", "made", "expires", "state"),
        [
            (
                row.id, row.name, row.role, "yes" if row.patient_id else "", day(row.created),
                day(row.expires), state(row),
            )
            for row in rows
        ],
    )  # fmt: skip
