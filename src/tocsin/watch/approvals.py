"""Definitions that a named clinician approved, by their hashes: a changed one has to be approved anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from tocsin.definitions.advice import triage_rules
from tocsin.definitions.dose import dose_rules
from tocsin.definitions.guideline import guideline
from tocsin.definitions.home import home_languages, home_page, home_texts
from tocsin.definitions.leaflet import leaflet_of
from tocsin.definitions.load import Library
from tocsin.definitions.texts import texts
from tocsin.watch import audit
from tocsin.watch.clock import Clock
from tocsin.watch.roles import Actor
from tocsin.watch.schema import approvals


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval that stands; `at` in microseconds."""

    id: int
    definition: str
    hash: str
    by: str
    at: int


def approved_hashes(con: sa.Connection) -> frozenset[str]:
    """The hashes of every definition whose approval stands."""
    return frozenset(
        con.execute(sa.select(approvals.c.hash).where(approvals.c.withdrawn.is_(None))).scalars()
    )


def standing(con: sa.Connection) -> list[Approval]:
    """Every approval that stands, in order."""
    query = sa.select(approvals).where(approvals.c.withdrawn.is_(None)).order_by(approvals.c.id)
    return [Approval(row.id, row.definition, row.hash, row.by, row.at) for row in con.execute(query)]


def approve(
    con: sa.Connection, clock: Clock, actor: Actor, definitions: Sequence[tuple[str, str]], by: str
) -> int:
    """Note that `by` approved definitions (id and hash); returns how many were not approved before."""
    known = approved_hashes(con)
    new = [(name, found) for name, found in definitions if found not in known]
    for name, found in new:
        con.execute(approvals.insert().values(definition=name, hash=found, by=by, at=clock.now()))
        audit.note(
            con, clock, actor, "definition:approve", detail={"definition": name, "hash": found, "by": by}
        )
    return len(new)


def withdraw(con: sa.Connection, clock: Clock, actor: Actor, definition: str) -> int:
    """Take back the approval of a definition; returns how many hashes that were."""
    mine = sa.and_(approvals.c.definition == definition, approvals.c.withdrawn.is_(None))
    count = con.execute(approvals.update().where(mine).values(withdrawn=clock.now())).rowcount
    if count:
        audit.note(con, clock, actor, "definition:withdraw", detail={"definition": definition})
    return int(count)


def approvable(lib: Library) -> dict[str, str]:
    """Every definition whose approval is asked for, as answers name it, and its hash as it stands: scales
    that grade, guidelines that advise, the files of each drug's doses, and what the page at home rests on."""
    found = {name: lib.scale(name).hash for name in lib.scales}
    found.update({f"guidelines/{name}": guideline(name, lib).hash for name in lib.files("guidelines")})
    found.update({f"doses/{rule.drug}": rule.hash for rule in dose_rules(lib).values()})
    for language in home_languages(lib):
        found.update(of_home(language, lib))
    return found


def of_home(language: str, lib: Library) -> dict[str, str]:
    """What an answer of the patient's own page rests on in a language: rules, questions, and texts."""
    return {
        "advice/triage": triage_rules(lib).hash,
        "advice/home": home_page(lib).hash,
        f"advice/texts-{language}": texts(language, lib).hash,
        f"advice/home-{language}": home_texts(language, lib).hash,
        f"advice/leaflet-{language}": leaflet_of(language, lib).hash,
    }
