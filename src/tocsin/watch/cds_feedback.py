"""Cards that were shown, and what became of them: kept for whoever judges whether they help.

CDS Hooks 2.0, "Feedback". Of a card only its answer is kept, and the patient only where the store knows the
person already: nothing of the record system's chart is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from tocsin.watch import audit
from tocsin.watch.cds_requests import Feedback
from tocsin.watch.clock import DAY
from tocsin.watch.roles import Actor
from tocsin.watch.schema import cds_cards, cds_feedback, cds_seen, patients
from tocsin.watch.store import Store

#: How long a card may be answered.
ANSWERABLE = 90 * DAY


@dataclass(frozen=True, slots=True)
class Shown:
    """A card as it is kept; `patient_id` where the store knows the person."""

    uuid: str
    patient_id: str | None
    indicator: str
    scale: str | None = None
    grade: int | None = None
    up_to: int | None = None
    definition: str | None = None


def fresh(store: Store, number: str, until: float, now: float) -> bool:
    """Whether a token (by the hash of what names it) was not used before, by any worker; remembered until it
    has expired (seconds since 1970)."""
    with store.writing() as con:
        con.execute(cds_seen.delete().where(cds_seen.c.expires < round(now)))
        if con.execute(sa.select(cds_seen.c.hash).where(cds_seen.c.hash == number)).first():
            return False
        con.execute(cds_seen.insert().values(hash=number, expires=round(until) + 1))
        return True


def shown(
    store: Store, actor: Actor, client: str, service: str, hook: str, ref: str | None, cards: Sequence[Shown]
) -> None:
    """Keep what was shown, and note the reading, in one transaction."""
    now = store.clock.now()
    detail: audit.Detail = {"part": f"cds {hook}", "cards": len(cards)}
    with store.writing() as con:
        audit.note(con, store.clock, actor, "patient:read", patient=ref, detail=detail)
        prune(con, now - ANSWERABLE)
        if not cards:
            return
        con.execute(
            cds_cards.insert(),
            [
                {
                    "uuid": each.uuid, "patient_id": each.patient_id, "client": client, "service": service,
                    "hook": hook, "scale": each.scale, "grade": each.grade, "up_to": each.up_to,
                    "indicator": each.indicator, "definition": each.definition, "given": now,
                }
                for each in cards
            ],
        )  # fmt: skip


def take(
    store: Store, actor: Actor, client: str, service: str, entries: Sequence[Feedback]
) -> tuple[int, int, list[str]]:
    """Keep what became of cards: how many entries are new, how many were known, and the cards that this
    client was not given (or too long ago)."""
    now, new, known = store.clock.now(), 0, 0
    strange: list[str] = []
    with store.writing() as con:
        for each in entries:
            mine = sa.and_(
                cds_cards.c.uuid == each.card, cds_cards.c.client == client,
                cds_cards.c.service == service, cds_cards.c.given > now - ANSWERABLE,
            )  # fmt: skip
            row = con.execute(sa.select(cds_cards).where(mine)).first()
            if row is None:
                strange.append(each.card)
                continue
            said: dict[str, Any] = {
                "card": each.card, "outcome": each.outcome, "at": each.at,
                "accepted": orjson.dumps(each.accepted).decode(), "code": each.code, "system": each.system,
                "display": each.display, "comment": each.comment,
            }  # fmt: skip
            number = hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()
            if con.execute(sa.select(cds_feedback.c.id).where(cds_feedback.c.hash == number)).first():
                known += 1
                continue
            con.execute(
                cds_feedback.insert().values(**said, hash=number, patient_id=row.patient_id, received=now)
            )
            new += 1
        detail: audit.Detail = {"service": service, "stored": new, "known": known, "refused": len(strange)}
        audit.note(con, store.clock, actor, "cds:feedback", detail=detail)
    return new, known, strange


def listed(store: Store, after: int, limit: int, patient_id: str | None = None) -> list[dict[str, Any]]:
    """Feedback in the order it came, from number `after` on, each with the card it is about."""
    joined = cds_feedback.join(cds_cards, cds_cards.c.uuid == cds_feedback.c.card).outerjoin(
        patients, patients.c.patient_id == cds_cards.c.patient_id
    )
    told = (
        cds_feedback.c.id, cds_feedback.c.card, cds_feedback.c.outcome, cds_feedback.c.at,
        cds_feedback.c.received, cds_feedback.c.accepted, cds_feedback.c.code, cds_feedback.c.system,
        cds_feedback.c.display, cds_feedback.c.comment, cds_cards.c.client, cds_cards.c.service,
        cds_cards.c.hook, cds_cards.c.scale, cds_cards.c.grade, cds_cards.c.up_to, cds_cards.c.indicator,
        cds_cards.c.definition, cds_cards.c.given, patients.c.ref,
    )  # fmt: skip
    query = sa.select(*told).select_from(joined).where(cds_feedback.c.id > after)
    if patient_id is not None:
        query = query.where(cds_cards.c.patient_id == patient_id)
    with store.reading() as con:
        rows = con.execute(query.order_by(cds_feedback.c.id).limit(limit)).mappings()
        return [dict(row) for row in rows]


def prune(con: sa.Connection, before: int) -> None:
    """Take out cards of before a moment that nobody answered: they can no longer be."""
    answered = sa.select(cds_feedback.c.card)
    con.execute(cds_cards.delete().where(cds_cards.c.given < before, cds_cards.c.uuid.not_in(answered)))


def retain(con: sa.Connection, before: int) -> None:
    """Take out what is about nobody here and came before a moment: erasing a person does not reach it, and
    a comment may hold anything."""
    nobody = (cds_feedback.c.patient_id.is_(None), cds_feedback.c.received < before)
    con.execute(cds_feedback.delete().where(*nobody))
    prune(con, before)
