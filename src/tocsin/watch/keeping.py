"""What is kept: copies of a store, and persons who are no longer to be in it.

A backup is one file, the same from SQLite and from PostgreSQL: gzip of JSON lines, a first line that says
what follows, every row, and a last line with the counts and a SHA-256 over all of it. It is restored only
whole, only into an empty store, and only if the audit log in it holds.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext

from tocsin.definitions.schema import TocsinError
from tocsin.watch import audit, people, remembered
from tocsin.watch import cds_feedback as cds_feedback_of
from tocsin.watch.migrate import newest
from tocsin.watch.roles import SYSTEM, Actor
from tocsin.watch.schema import (
    alerts,
    cds_cards,
    cds_feedback,
    facts,
    fhir_resources,
    home_access,
    metadata,
    patients,
    settings,
    tokens,
)  # fmt: skip
from tocsin.watch.store import Store, url_of

FORMAT = "tocsin-backup-1"
#: In an order in which a row never names one that comes later.
NAMES = (
    "settings", "patients", "facts", "alerts", "accounts", "launch_accounts", "sessions", "tokens",
    "invitations", "home_access", "home_sessions", "approvals", "audit", "fhir_resources", "cds_cards",
    "cds_feedback", "cds_seen",
)  # fmt: skip
TABLES = {name: metadata.tables[name] for name in NAMES}
#: Not carried: who is signed in, what a new store says of itself, and tokens that will have expired.
LEFT = ("sessions", "invitations", "home_sessions", "cds_seen")
#: What is about one person, under the sender's id of them.
PERSONAL = (facts, alerts, tokens, home_access, fhir_resources, cds_feedback, cds_cards)
LOT = 2_000
Tell = Callable[[str, int], None]


class KeepingError(TocsinError):
    """A backup or an erasure that cannot be done."""


def existing(url: str) -> Store:
    """A store that is there, as it is: never made, never brought up to date. Raises `KeepingError`.

    A mistyped path would else be a new, empty store, and its backup one that holds nobody.
    """
    parsed = url_of(url)
    if parsed.drivername == "sqlite" and parsed.database and not Path(parsed.database).is_file():
        raise KeepingError(f"{parsed.database}: no store is there\n  fix: the --db of `tocsin watch`")
    store = Store.open(url, migrate=False)
    with store.reading() as con:
        found = MigrationContext.configure(con).get_current_revision()
    if found != newest():
        store.close()
        raise KeepingError(
            f"this store was written by another version (tables {found}, here {newest()})\n"
            "  fix: use that version; or start this one on the store once, which brings it up to date"
        )
    return store


def backup(
    store: Store, path: Path, tell: Tell = lambda _name, _rows: None, *, actor: Actor = SYSTEM
) -> dict[str, int]:
    """Write everything a store held at one moment, while it is used; returns the rows of each table."""
    counts: dict[str, int] = {}
    # noted first: no copy of everybody's data leaves without an entry, even one that then fails
    with store.writing() as con:
        audit.note(con, store.clock, actor, "store:backup")
    with whole_file(path) as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6) as out:
        seal = hashlib.sha256()

        def line(told: Mapping[str, Any] | list[Any]) -> None:
            text = orjson.dumps(told) + b"\n"
            seal.update(text)
            out.write(text)

        with store.reading() as con:
            line({"format": FORMAT, "schema": newest(), "at": store.clock.now()})
            for name, table in TABLES.items():
                if name in LEFT:
                    continue
                line({"table": name, "columns": [str(column.name) for column in table.columns]})
                counts[name] = 0
                for row in con.execution_options(yield_per=LOT).execute(ordered(table)):
                    line(list(row))
                    counts[name] += 1
                tell(name, counts[name])
        out.write(orjson.dumps({"counts": counts, "sha256": seal.hexdigest()}) + b"\n")
    return counts


def ordered(table: sa.Table) -> sa.Select[Any]:
    """All rows of a table, in an order that is the same everywhere; whom others were merged into first."""
    query = sa.select(table)
    if table is patients:
        query = query.order_by(patients.c.merged_into.is_not(None))
    return query.order_by(*table.primary_key.columns)


def restore(
    path: Path, store: Store, tell: Tell = lambda _name, _rows: None, *, actor: Actor = SYSTEM
) -> dict[str, int]:
    """Fill an empty store from a backup, or leave it empty. Raises `KeepingError` with what is wrong."""
    counts: dict[str, int] = {}
    with store.writing() as con:
        _be_empty(con)
        for name, rows in _lots(_lines(path)):
            con.execute(metadata.tables[name].insert(), rows)
            counts[name] = counts.get(name, 0) + len(rows)
            tell(name, counts[name])
        verdict = audit.verify(con)
        if not verdict.whole:
            raise KeepingError(
                f"{path}: the audit log in it does not hold at entry {verdict.broken}: {verdict.why}"
            )
        if not store.sqlite:
            for table in TABLES.values():
                _numbers_on(con, table)
        audit.note(con, store.clock, actor, "store:restore", detail={"head": verdict.head[0]})
    return counts


def _be_empty(con: sa.Connection) -> None:
    """Refuse a store that is used; what a new one says of itself goes."""
    for name, table in TABLES.items():
        if name not in ("settings", *LEFT) and con.execute(sa.select(*table.primary_key).limit(1)).first():
            raise KeepingError("this store is not empty\n  fix: give --db a new file or an empty database")
    for name in ("settings", *LEFT):
        con.execute(TABLES[name].delete())


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row with its table; the seal is checked at the end, before anything is kept."""
    seal, name, columns = hashlib.sha256(), "", []
    counts: dict[str, int] = {}
    try:
        with gzip.open(path, "rb") as source:
            first = next(source, b"")
            head = orjson.loads(first)
            if not isinstance(head, dict) or head.get("format") != FORMAT:
                raise KeepingError(f"{path}: no backup of this program")
            if str(head.get("schema")) != newest():
                raise KeepingError(
                    f"{path}: written by another version (tables {head.get('schema')}, here {newest()})\n"
                    "  fix: restore it with that version, then start this one on the store"
                )
            seal.update(first)
            for text in source:
                told = orjson.loads(text)
                if isinstance(told, dict) and "sha256" in told:
                    if told["sha256"] != seal.hexdigest() or told["counts"] != counts:
                        raise KeepingError(f"{path}: it was changed after it was written")
                    return
                seal.update(text)
                if isinstance(told, dict):
                    name, columns = told["table"], told["columns"]
                    if name in LEFT or columns != list(TABLES[name].columns.keys()):
                        raise KeepingError(f"{path}: it holds what no backup of this program holds")
                    counts[name] = 0
                    continue
                counts[name] += 1
                yield name, dict(zip(columns, told, strict=True))
    except KeepingError:
        raise  # it is a ValueError too, and says more than the next line would
    except (OSError, EOFError, ValueError, KeyError, zlib.error) as error:
        raise KeepingError(f"{path}: cannot be read as a backup: {type(error).__name__}") from error
    raise KeepingError(f"{path}: it breaks off: the last line is missing")


def _lots(rows: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    name, lot = "", list[dict[str, Any]]()
    for table, row in rows:
        if lot and (table != name or len(lot) >= LOT):
            yield name, lot
            lot = []
        name = table
        lot.append(row)
    if lot:
        yield name, lot


def _numbers_on(con: sa.Connection, table: sa.Table) -> None:
    """Let PostgreSQL number new rows after those that were restored."""
    column = table.autoincrement_column
    if column is None or table is TABLES["audit"]:
        return
    last = con.execute(sa.select(sa.func.max(column))).scalar()
    if last is not None:
        sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
        con.execute(sa.select(sa.func.setval(sequence, last)))


# --- persons who go --------------------------------------------------------------------------------------


def erase(store: Store, actor: Actor, patient_id: str) -> dict[str, int]:
    """Take a person out of the store: details, facts under every id of theirs, alerts, tokens, access.

    No trigger has to be lifted for it: facts may be deleted, never changed, and the audit log, of which
    nothing may go, knows only the `ref`, which now means nobody. So the log stays whole.
    """
    with store.writing() as con:
        counts = _erase(con, store, actor, patient_id)
        forget(con)
    _clear_journal(store)
    return counts


def retain(store: Store, actor: Actor, discharged_before: int, tell: Tell = lambda _n, _r: None) -> int:
    """Erase everybody discharged before a moment; returns how many persons that were.

    Each in a transaction of their own: a ward that is watched meanwhile never waits for the whole, and
    stopping in between leaves nobody half erased.
    """
    gone = sa.and_(patients.c.discharged < discharged_before, patients.c.merged_into.is_(None))
    with store.reading() as con:
        names = list(con.execute(sa.select(patients.c.patient_id).where(gone)).scalars())
    done = 0
    with store.writing() as con:
        cds_feedback_of.retain(con, discharged_before)
    for name in names:
        with store.writing() as con:
            # whoever was taken up again since the list was made stays
            still = sa.select(patients.c.ref).where(gone, patients.c.patient_id == name)
            if con.execute(still).first() is None:
                continue
            _erase(con, store, actor, name)
            forget(con)
        done += 1
        tell("persons", done)
    _clear_journal(store)
    return done


def held(store: Store, patient_id: str) -> dict[str, int]:
    """What erasing a person would take: rows of each table that has some.

    Raises `KeepingError` where nobody is known.
    """
    with store.reading() as con:
        names, _ = _records(con, patient_id)
        count = sa.func.count()
        return {
            str(table.name): rows
            for table in PERSONAL
            if (rows := con.execute(sa.select(count).where(table.c.patient_id.in_(names))).scalar_one())
        }


def _records(con: sa.Connection, patient_id: str) -> tuple[list[str], list[str]]:
    """Every id and every `ref` of a person; first those merged into the other."""
    row = con.execute(sa.select(patients).where(patients.c.patient_id == patient_id)).first()
    if row is None:
        raise KeepingError("nobody is known under this id\n  fix: the id that facts came under")
    person = row.merged_into or patient_id
    mine = sa.or_(patients.c.patient_id == person, patients.c.merged_into == person)
    query = sa.select(patients.c.patient_id, patients.c.ref).where(mine)
    rows = con.execute(query.order_by(patients.c.merged_into.is_(None))).all()
    return [row.patient_id for row in rows], [row.ref for row in rows]


def _erase(con: sa.Connection, store: Store, actor: Actor, patient_id: str) -> dict[str, int]:
    names, refs = _records(con, patient_id)
    counts = {
        str(table.name): rows
        for table in PERSONAL
        if (rows := con.execute(table.delete().where(table.c.patient_id.in_(names))).rowcount)
    }
    for name in names:
        con.execute(patients.delete().where(patients.c.patient_id == name))
    for ref in refs:
        con.execute(settings.delete().where(settings.c.name == f"asked:{ref}"))
        audit.note(con, store.clock, actor, "patient:erase", patient=ref, detail=counts)
    return counts


def _clear_journal(store: Store) -> None:
    """Empty SQLite's journal, which still holds the pages as they were; deleted rows are overwritten there.

    PostgreSQL overwrites at its next vacuum.
    """
    if store.sqlite:
        raw = store.engine.raw_connection()
        try:
            raw.cursor().execute("pragma wal_checkpoint(truncate)")
        finally:
            raw.close()


def forget(con: sa.Connection) -> None:
    """Tell every running service to drop what it holds of those who are gone."""
    remembered.count(con, people.FORGET)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there whole or not at all, readable by its owner alone; never over another one."""
    if path.exists():
        raise KeepingError(f"{path}: is there already\n  fix: give the backup a new name")
    half = path.with_name(f".{path.name}.{secrets.token_hex(4)}.half")
    try:
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        half.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise KeepingError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            half.unlink()
