"""Resources in the store, as they were sent: one row for each version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from tocsin.watch.ledger import among, chunks, insert
from tocsin.watch.schema import facts, fhir_resources

Name = tuple[str, str]
KNOWN = ("kind", "id", "version", "digest")
COLUMNS = ("kind", "id", "version", "patient_id", "digest", "body")


def newest(con: sa.Connection, names: Sequence[Name], *more: str) -> dict[Name, Any]:
    """The newest version of each resource that is kept: `kind`, `id`, `version`, `digest`, and `more`."""
    ids: dict[str, list[str]] = {}
    for kind, id in names:
        ids.setdefault(kind, []).append(id)
    found: dict[Name, Any] = {}
    text = f"select {', '.join((*KNOWN, *more))} from fhir_resources where kind = ? and id in"
    for kind, mine in ids.items():
        for part in chunks(mine):
            for row in among(con, text, part, kind):
                if (row.kind, row.id) not in found or found[row.kind, row.id].version < row.version:
                    found[row.kind, row.id] = row
    return found


def bodies(con: sa.Connection, names: Sequence[Name]) -> dict[str, dict[str, Any]]:
    """Resources as they were last sent, by `Kind/id`."""
    return {f"{kind}/{id}": orjson.loads(row.body) for (kind, id), row in newest(con, names, "body").items()}


def version(con: sa.Connection, kind: str, id: str, number: int | None = None) -> Any:
    """One version of a resource (none: the newest); None where there is none."""
    query = sa.select(fhir_resources).where(fhir_resources.c.kind == kind, fhir_resources.c.id == id)
    if number is not None:
        query = query.where(fhir_resources.c.version == number)
    return con.execute(query.order_by(fhir_resources.c.version.desc()).limit(1)).first()


def of_patients(con: sa.Connection, names: Sequence[str], kind: str, received: int) -> list[Any]:
    """The newest version of each resource of a kind, of some patients, that had come in by then."""
    query = (
        sa.select(fhir_resources)
        .where(
            fhir_resources.c.patient_id.in_(names),
            fhir_resources.c.kind == kind,
            fhir_resources.c.received <= received,
        )
        .order_by(fhir_resources.c.id, fhir_resources.c.version)
    )
    return list({row.id: row for row in con.execute(query)}.values())


def facts_of(con: sa.Connection, patient_id: str, kept: Any) -> list[tuple[str, int]]:
    """Measure and time of the facts that a version gave."""
    name = f"{kept.kind}/{kept.id}"
    source = name if kept.version == 1 else f"{name}/_history/{kept.version}"
    query = sa.select(facts.c.measure, facts.c.time).where(
        facts.c.patient_id == patient_id, facts.c.source == source
    )
    return [(row.measure, row.time) for row in con.execute(query)]


def keep(con: sa.Connection, now: int, rows: Iterable[tuple[Any, ...]]) -> None:
    """Store versions; the caller holds the writing transaction."""
    insert(con, fhir_resources, (*COLUMNS, "received"), [(*row, now) for row in rows])
