"""Accounts of people after they are made: listed, closed, opened again."""

from __future__ import annotations

import sqlalchemy as sa

from tocsin.definitions.schema import near
from tocsin.watch import audit
from tocsin.watch.auth import AccountError
from tocsin.watch.clock import Clock, moment_of
from tocsin.watch.roles import SYSTEM
from tocsin.watch.schema import accounts, launch_accounts, sessions


def listed(con: sa.Connection) -> list[tuple[str, str, str, str, str]]:
    """Every account: its name, role, how it signs in, when it was made and closed."""
    query = sa.select(accounts, launch_accounts.c.issuer).outerjoin(
        launch_accounts, launch_accounts.c.account == accounts.c.name
    )
    return [
        (row.name, row.role, _way(row), _day(row.created), _day(row.disabled))
        for row in con.execute(query.order_by(accounts.c.name))
    ]


def close(con: sa.Connection, clock: Clock, name: str) -> int:
    """Let an account sign in no more, and end its sessions; how many there were.

    Raises `AccountError` where there is no such account, or it is closed.
    """
    if _found(con, name).disabled is not None:
        raise AccountError(f"the account `{name}` is closed already\n  fix: tocsin account --list")
    con.execute(accounts.update().where(accounts.c.name == name).values(disabled=clock.now()))
    ended = int(con.execute(sessions.delete().where(sessions.c.account == name)).rowcount)
    audit.note(con, clock, SYSTEM, "account:close", detail={"account": name, "sessions": ended})
    return ended


def reopen(con: sa.Connection, clock: Clock, name: str) -> None:
    """Let a closed account sign in again. Raises `AccountError` where there is none."""
    if _found(con, name).disabled is None:
        raise AccountError(f"the account `{name}` is not closed\n  fix: tocsin account --list")
    con.execute(accounts.update().where(accounts.c.name == name).values(disabled=None))
    audit.note(con, clock, SYSTEM, "account:open", detail={"account": name})


def _found(con: sa.Connection, name: str) -> sa.Row[tuple[object, ...]]:
    # no account has a name that cannot be printed, and some stores refuse to be asked for one
    mine = sa.select(accounts).where(accounts.c.name == name)
    row = con.execute(mine).first() if name.isprintable() else None
    if row is None:
        known = con.execute(sa.select(accounts.c.name)).scalars()
        raise AccountError(
            f"there is no account `{name}`{near(name, known)}\n  fix: tocsin account --list shows them"
        )
    return row


def _way(row: sa.Row[tuple[object, ...]]) -> str:
    """How somebody signs in: vouched for by a record system, by password, or as a demonstration's visitor."""
    if row.issuer:
        return f"launch from {row.issuer}"
    return "password" if row.password else "demonstration"


def _day(micros: int | None) -> str:
    return "" if micros is None else f"{moment_of(micros):%Y-%m-%d %H:%MZ}"
