"""The store: SQLite by default, PostgreSQL by URL; the same tables, the same statements.

Writing is one transaction at a time, also across processes, so that facts are numbered in the order in which
they were committed and the audit log is one chain. A transaction that has ended is on the disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from tocsin.definitions.schema import TocsinError
from tocsin.watch.clock import Clock
from tocsin.watch.schema import patients

#: Whoever writes to a PostgreSQL store holds this lock; the number is ours, and means nothing.
WRITERS = 7_463_746
#: How long a writer waits for another before it gives up, in milliseconds.
PATIENCE = 15_000
WRITES = "tocsin_writes"


class StoreError(TocsinError):
    """A store that cannot be opened or used."""


class Store:
    """An open store; `Store.open` brings its tables up to date."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self.engine, self.clock = engine, clock
        self.sqlite = engine.dialect.name == "sqlite"
        self._writer = threading.Lock()

    @staticmethod
    def open(url: str, clock: Clock | None = None, *, migrate: bool = True) -> Store:
        """Open a store by URL (`sqlite:///ward.db`, `postgresql://...`) or by the path of a SQLite file.

        Raises `StoreError` where it cannot be opened, or was written by a newer version.
        """
        parsed = url_of(url)
        store = Store(_engine(parsed), clock or Clock())
        try:
            if migrate:
                from tocsin.watch.migrate import upgrade

                upgrade(store.engine)
            else:
                with store.reading() as con:
                    con.execute(sa.select(patients.c.ref).limit(1))
        except (sa.exc.DBAPIError, sa.exc.ArgumentError) as error:
            store.close()
            raise unusable(parsed, error) from error
        return store

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction that writes; alone in this process and beside others. Durable when it ends."""
        with (
            self._writer,
            self.engine.connect().execution_options(**{WRITES: True}) as con,
            con.begin(),
        ):
            if not self.sqlite:
                con.execute(sa.text("select pg_advisory_xact_lock(:lock)"), {"lock": WRITERS})
            yield con

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A view of one moment; what is written meanwhile is not seen."""
        options: dict[str, Any] = {}
        if not self.sqlite:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.engine.connect().execution_options(**options) as con, con.begin():
            yield con

    def ref_of(self, patient_id: str) -> str | None:
        """How addresses and the audit log call a patient; None for a patient not known."""
        return self._one(sa.select(patients.c.ref).where(patients.c.patient_id == patient_id))

    def patient_of(self, ref: str) -> str | None:
        """The patient an address means; None where there is none."""
        return self._one(sa.select(patients.c.patient_id).where(patients.c.ref == ref))

    def _one(self, query: sa.Select[tuple[Any]]) -> str | None:
        with self.reading() as con:
            found = con.execute(query).scalar_one_or_none()
            return None if found is None else str(found)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def url_of(text: str) -> sa.URL:
    """A store's address; a bare path is a SQLite file.

    >>> str(url_of("ward.db")), url_of("postgresql://u@h/d").drivername
    ('sqlite:///ward.db', 'postgresql+psycopg')
    """
    if "://" not in text:
        return sa.URL.create("sqlite", database=text)
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError:
        raise StoreError("the address of the store cannot be read\n  fix: sqlite:///ward.db") from None
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite":
        raise StoreError(
            f"no store is kept in `{url.drivername}`\n"
            "  why: only what is tested on every change is offered\n"
            "  fix: sqlite:///ward.db or postgresql://user@host/database"
        )
    return url


def unusable(url: sa.URL, error: Exception) -> StoreError:
    """What to say of a store that does not answer; never with its password."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    return StoreError(
        f"{url.render_as_string(hide_password=True)}: cannot be used: {said[0] if said else 'no answer'}\n"
        "  why: without a store no fact is safe\n"
        "  fix: check the path or address, that the folder can be written, and that the server runs"
    )


def _engine(url: sa.URL) -> sa.Engine:
    if url.drivername != "sqlite":
        try:
            engine = sa.create_engine(url, pool_size=8, max_overflow=8, pool_pre_ping=True, pool_timeout=10)
            event.listen(engine, "connect", _plan)
            return engine
        except ModuleNotFoundError:
            raise StoreError(
                "PostgreSQL needs a driver that is not installed\n  fix: pip install 'tocsin[postgres]'"
            ) from None
    if url.database in (None, "", ":memory:"):
        raise StoreError(
            "a store in memory would forget everything\n  fix: give it a file: sqlite:///ward.db"
        )
    folder = Path(str(url.database)).resolve().parent
    if not folder.is_dir():
        raise StoreError(f"{url.database}: no such folder `{folder}`\n  fix: mkdir -p {folder}")
    # patients' data is for whoever runs the service alone; what SQLite lays beside it follows
    with suppress(FileExistsError):
        os.close(os.open(str(url.database), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    engine = sa.create_engine(
        url, connect_args={"timeout": PATIENCE / 1000, "isolation_level": None}, pool_size=8
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    """Every SQLite connection: write-ahead, synced to the disk at every commit.

    Ids of resources and of patients scatter: pages of their indexes are written at nearly every commit, so it
    pays to hold some (16 MB) and to carry them over to the file seldom (every 32 MB).
    """
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON",
        "cache_size = -16384", "wal_autocheckpoint = 8192",
    ):  # fmt: skip
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def _plan(connection: Any, _record: Any) -> None:
    """Every PostgreSQL connection: go by the index; a table that has just been filled has no statistics yet,
    and would be read whole at every write. A plan is made with the values asked for: one that is kept without
    them compares every resource of a kind with every id of a list."""
    connection.execute("set random_page_cost = 1")
    connection.execute("set plan_cache_mode = force_custom_plan")
    connection.commit()


def _begin(con: sa.Connection) -> None:
    """Take the write lock at once where one will be needed: a reader that turns writer may be refused."""
    writes = con.get_execution_options().get(WRITES)
    con.exec_driver_sql("begin immediate" if writes else "begin")
