"""Accounts of people who come from a record system: known by who vouches for them and its word for them.

Such an account has no password, so it opens by a launch alone; its role is what the trust list says, at every
launch anew. Its name is only what others read: two people of one name are two accounts.
"""

from __future__ import annotations

import sqlalchemy as sa

from tocsin.definitions.schema import TocsinError
from tocsin.watch import audit
from tocsin.watch.clock import Clock
from tocsin.watch.launch_trust import RecordSystem
from tocsin.watch.roles import SYSTEM, Actor
from tocsin.watch.schema import accounts, launch_accounts

#: The most characters of an account's name, as everywhere.
LONGEST = 60


class ClosedError(TocsinError):
    """An account that was closed here; the record system cannot open it again."""


def account_of(con: sa.Connection, clock: Clock, system: RecordSystem, subject: str, name: str) -> Actor:
    """The account of somebody, made when they first come. Raises `ClosedError`."""
    query = sa.select(accounts).join(launch_accounts, launch_accounts.c.account == accounts.c.name)
    mine = (launch_accounts.c.issuer == system.issuer, launch_accounts.c.subject == subject)
    row = con.execute(query.where(*mine)).first()
    if row is None:
        return _made(con, clock, system, subject, name)
    if row.disabled is not None:
        raise ClosedError("the account is closed")
    if row.role != system.role:
        con.execute(accounts.update().where(accounts.c.name == row.name).values(role=system.role))
        detail: audit.Detail = {"account": row.name, "role": system.role, "before": row.role}
        audit.note(con, clock, SYSTEM, "account:role", detail=detail)
    return Actor(row.name, system.role)


def _made(con: sa.Connection, clock: Clock, system: RecordSystem, subject: str, name: str) -> Actor:
    free = _free(con, f"{system.name}: {name}")
    con.execute(accounts.insert().values(name=free, password=None, role=system.role, created=clock.now()))
    con.execute(launch_accounts.insert().values(issuer=system.issuer, subject=subject, account=free))
    detail: audit.Detail = {"account": free, "role": system.role, "launch": system.name}
    audit.note(con, clock, SYSTEM, "account:create", detail=detail)
    return Actor(free, system.role)


def _free(con: sa.Connection, wanted: str) -> str:
    """A name that no account has: the one wanted, else with a number."""
    number, name = 1, wanted[:LONGEST].strip()
    while con.execute(sa.select(accounts.c.name).where(accounts.c.name == name)).first():
        number += 1
        ending = f" ({number})"
        name = wanted[: LONGEST - len(ending)].strip() + ending
    return name
