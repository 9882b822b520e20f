"""`tocsin audit`: check and list what was read and changed in the live service."""

from __future__ import annotations

import re
from datetime import datetime

import click

from tocsin.cli.keep import opened
from tocsin.cli.options import moment, say
from tocsin.cli.output import show
from tocsin.cli.watch import DB_HELP, STORE
from tocsin.definitions.schema import TocsinError


def head_of(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[int, str] | None:
    """`SEQ:HASH` as a pair."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+):([0-9a-f]{64})", value)
    if found is None:
        raise click.BadParameter("a head is written SEQ:HASH, as `tocsin audit verify` prints it")
    return int(found[1]), found[2]


@click.group("audit")
def audit_command() -> None:
    """Check and list the log of what was read and changed, by whom.

    \b
    Example:
        tocsin token --db ward.db --role device && tocsin audit verify --db ward.db
    """


@audit_command.command("verify")
@click.option("--db", metavar="URL", default=STORE, show_default=True, help=DB_HELP)
@click.option("--expect", metavar="SEQ:HASH", callback=head_of, help="A head noted elsewhere earlier.")
def verify_command(db: str, expect: tuple[int, str] | None) -> None:
    """Check that no entry was changed, removed or put in between. Exits 1 where one was.

    Note the head it prints somewhere else: whoever can write the whole store can write a whole new log, and
    only a head kept elsewhere shows that (`--expect`).

    \b
    Example:
        tocsin token --db ward.db --role device && tocsin audit verify --db ward.db
    """
    from tocsin.watch import audit

    with opened(db) as store, store.reading() as con:
        verdict = audit.verify(con, expect)
    click.echo(f"checked {verdict.checked} entries, head {verdict.head[0]}:{verdict.head[1]}")
    if not verdict.whole:
        raise TocsinError(
            f"the audit log is not whole at entry {verdict.broken}: {verdict.why}\n"
            "  why: what it says of who read and changed what cannot be relied on from there\n"
            "  fix: keep the store as it is, and compare it with a backup"
        )
    say("whole: every entry is as it was written")


@audit_command.command("list")
@click.option("--db", metavar="URL", default=STORE, show_default=True, help=DB_HELP)
@click.option("--patient", "ref", metavar="REF", help="Entries about one patient, by the name in addresses.")
@click.option("--since", metavar="TIME", help="From a moment on, as 2026-03-01T00:00Z.")
def list_command(db: str, ref: str | None, since: str | None) -> None:
    """List entries, oldest first.

    \b
    Example:
        tocsin token --db ward.db --role device && tocsin audit list --db ward.db
    """
    import sqlalchemy as sa

    from tocsin.watch.clock import moment_of
    from tocsin.watch.schema import audit

    query = sa.select(audit).order_by(audit.c.seq)
    if ref:
        query = query.where(audit.c.patient == ref)
    if since:
        query = query.where(audit.c.time >= micros(moment(since)))
    with opened(db) as store, store.reading() as con:
        rows = con.execute(query).all()
    show(
        ("entry", "at", "who", "role", "what", "patient", "more"),
        [
            (
                str(row.seq), f"{moment_of(row.time):%Y-%m-%d %H:%M:%SZ}", row.actor, row.role, row.action,
                row.patient or "", row.detail,
            )
            for row in rows
        ],
    )  # fmt: skip


def micros(when: datetime) -> int:
    """A moment in microseconds."""
    return round(when.timestamp() * 1_000_000)
