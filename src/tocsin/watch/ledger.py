"""Facts in the store: appended, numbered, never changed; and the persons they belong to."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from tocsin.facts.columns import READ
from tocsin.watch.intake import table_of_columns
from tocsin.watch.schema import facts, patients

#: Values of one statement; databases refuse more than some tens of thousands.
CHUNK = 500
STORED = [column.name for column in facts.columns if column.name != "seq"]
COLUMNS = [name for name in READ.names if name in facts.c]
FACT = [facts.c[name] for name in COLUMNS]
KNOWN = (facts.c.seq, facts.c.received)

Row = Mapping[str, Any]
Values = tuple[Any, ...]


def chunks(items: Sequence[Any], size: int = CHUNK) -> Iterator[Sequence[Any]]:
    """A sequence in pieces of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def new_ref() -> str:
    """A name for a patient in addresses and in the audit log: random, so that it says nothing."""
    return secrets.token_urlsafe(16)


def known_hashes(con: sa.Connection, hashes: Sequence[str]) -> set[str]:
    """Those of `hashes` under which a fact is stored."""
    found: set[str] = set()
    for part in chunks(hashes):
        found.update(row[0] for row in among(con, "select hash from facts where hash in", part))
    return found


def among(con: sa.Connection, text: str, values: Sequence[Any], *before: Any) -> sa.CursorResult[Any]:
    """Rows of a statement of ours whose last column is one of `values`, by the driver alone; `before` are the
    values of the `?` in it."""
    mark = "?" if con.dialect.positional else "%s"
    text = f"{text.replace('?', mark)} ({', '.join([mark] * len(values))})"
    return con.exec_driver_sql(text, (*before, *values))


@dataclass(frozen=True, slots=True)
class Appended:
    """Facts that one transaction stored: all there are between two numbers, and when they came in."""

    before: int
    last: int
    received: int
    rows: Sequence[Row]


def append(con: sa.Connection, rows: Sequence[Row]) -> None:
    """Store rows not stored before, each with all that is `STORED`; the caller holds the transaction."""
    insert(con, facts, STORED, list(map(itemgetter(*STORED), rows)))


def insert(con: sa.Connection, table: sa.Table, names: Sequence[str], rows: Sequence[Values]) -> None:
    """Store rows of plain values (texts, numbers, nulls), each in the order of `names`, by the driver alone:
    what a statement does for each row costs more than the row."""
    text, places = _statement(con.dialect, table, tuple(names))
    found: Sequence[Any] = rows
    if not con.dialect.positional:
        found = [dict(zip(names, row, strict=True)) for row in rows]
    elif places != tuple(range(len(names))):
        found = list(map(itemgetter(*places), rows))
    for part in chunks(found):
        con.exec_driver_sql(text, list(part))


@lru_cache(maxsize=64)
def _statement(dialect: sa.Dialect, table: sa.Table, names: tuple[str, ...]) -> tuple[str, tuple[int, ...]]:
    """The text of an INSERT, and where its positions lie among `names`."""
    made = table.insert().compile(dialect=dialect, column_keys=list(names))
    order = getattr(made, "positiontup", None) or names
    return str(made), tuple(names.index(name) for name in order)


def admit(con: sa.Connection, names: Iterable[str], now: int) -> dict[str, str]:
    """Make sure that each patient named has a row; returns the `ref` of each."""
    wanted = sorted(set(names))
    refs = refs_of(con, wanted)
    if new := {name: new_ref() for name in wanted if name not in refs}:
        con.execute(
            patients.insert(),
            [{"patient_id": name, "ref": ref, "created": now} for name, ref in new.items()],
        )
    return refs | new


def refs_of(con: sa.Connection, names: Sequence[str]) -> dict[str, str]:
    """How addresses call these patients; without those who are not there (any more)."""
    found: dict[str, str] = {}
    for part in chunks(names):
        query = sa.select(patients.c.patient_id, patients.c.ref).where(patients.c.patient_id.in_(part))
        found.update({str(who): str(ref) for who, ref in con.execute(query)})
    return found


def newest(con: sa.Connection) -> int:
    """The number of the last fact stored; 0 where there is none."""
    return int(con.exec_driver_sql("select coalesce(max(seq), 0) from facts").scalar_one())


def after(con: sa.Connection, seq: int, most: int) -> list[dict[str, Any]]:
    """The next facts stored after number `seq`, in order."""
    return _rows(con, sa.select(*FACT, *KNOWN).where(facts.c.seq > seq).order_by(facts.c.seq).limit(most))


def of_patients(con: sa.Connection, names: Sequence[str], upto: int, received: int | None = None) -> pa.Table:
    """Every stored row of these patients up to number `upto`, as `settle` takes them (`facts.columns.READ`);
    with `received`, those that had come in by then."""
    parts = []
    for part in chunks(names):
        query = sa.select(*FACT).where(facts.c.patient_id.in_(part), facts.c.seq <= upto)
        rows = con.execute(query if received is None else query.where(facts.c.received <= received)).all()
        parts.append(table_of_columns(dict(zip(COLUMNS, zip(*rows, strict=True), strict=False)), len(rows)))
    return pa.concat_tables(parts) if parts else READ.empty_table()


def mark_of(con: sa.Connection, names: Sequence[str]) -> tuple[int, int]:
    """How many rows of these patients are stored, and the number of the newest: the same while nothing is
    added and nothing erased, for a stored row is never changed."""
    number, newest_of = 0, 0
    for part in chunks(names):
        query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(facts.c.seq), 0))
        row = con.execute(query.where(facts.c.patient_id.in_(part))).one()
        number, newest_of = number + int(row[0]), max(newest_of, int(row[1]))
    return number, newest_of


def counts(con: sa.Connection) -> dict[str, int]:
    """How many facts are stored of each patient."""
    query = sa.select(facts.c.patient_id, sa.func.count()).group_by(facts.c.patient_id)
    return {str(who): int(number) for who, number in con.execute(query)}


def last_received(con: sa.Connection) -> int | None:
    """When the newest fact came in; None where there is none."""
    query = sa.select(facts.c.received).order_by(facts.c.seq.desc()).limit(1)
    return con.execute(query).scalar_one_or_none()


def _rows(con: sa.Connection, query: sa.Select[Any]) -> list[dict[str, Any]]:
    result = con.execute(query)
    names = list(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result]
