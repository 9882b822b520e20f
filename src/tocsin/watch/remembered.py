"""Small things a store says once: one row of `settings` each, by name."""

from __future__ import annotations

import sqlalchemy as sa

from tocsin.watch.schema import settings


def told(con: sa.Connection, name: str) -> str | None:
    """What was said under a name; None where nothing was."""
    return con.execute(sa.select(settings.c.value).where(settings.c.name == name)).scalar()


def say(con: sa.Connection, name: str, value: str) -> None:
    """Say it, in place of what was said before; the caller holds the writing transaction."""
    if con.execute(settings.update().where(settings.c.name == name).values(value=value)).rowcount == 0:
        con.execute(settings.insert().values(name=name, value=value))


def count(con: sa.Connection, name: str) -> None:
    """Count one more, for whoever looks whether it changed."""
    say(con, name, str(int(told(con, name) or 0) + 1))
