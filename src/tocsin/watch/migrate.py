"""Bring the tables of a store up to date."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tocsin.watch.store import WRITERS, WRITES, StoreError

FOLDER = Path(__file__).parent / "migrations"


def configured() -> Config:
    """Alembic's configuration, without a file of its own."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return config


def newest() -> str:
    """The version that this program writes."""
    return str(ScriptDirectory.from_config(configured()).get_current_head())


def upgrade(engine: sa.Engine) -> None:
    """Make every table as this program needs it; one transaction, one process at a time.

    Raises `StoreError` where the store was written by a newer program.
    """
    with engine.connect().execution_options(**{WRITES: True}) as con, con.begin():
        if engine.dialect.name != "sqlite":
            con.execute(sa.text("select pg_advisory_xact_lock(:lock)"), {"lock": WRITERS})
        found = MigrationContext.configure(con).get_current_revision()
        if found == newest():
            return
        script = ScriptDirectory.from_config(configured())
        if found is not None and found not in {each.revision for each in script.walk_revisions()}:
            raise StoreError(
                f"this store was written by a newer Tocsin (version `{found}` of its tables)\n"
                "  why: what this program does not know it could damage\n"
                "  fix: use that version, or restore a backup made by this one"
            )
        config = configured()
        config.attributes["connection"] = con
        command.upgrade(config, "head")
