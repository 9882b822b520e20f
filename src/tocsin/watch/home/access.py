"""Who may open a patient's own page: invitations of the ward, and the sessions they begin.

An invitation is a link and, told apart from it, a code of six digits. The link alone says nothing, not even
whether there is such a link; the code is short, so a few wrong ones end the link. Of both only hashes are
kept, that of the code together with the link's secret: a stolen store tells neither.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tocsin.definitions.schema import TocsinError
from tocsin.watch import audit, ledger
from tocsin.watch.auth import SEEN, Session, digest, lasting, same
from tocsin.watch.clock import DAY, Clock
from tocsin.watch.roles import PATIENT, Actor
from tocsin.watch.schema import home_access, home_sessions, patients

#: For how long link and code wait to be used, and how long a phone stays signed in. Ours.
INVITED, SIGNED_IN = DAY, 30 * DAY
#: Wrong codes after which a link is dead.
TRIES = 5
DIGITS = 6
WHO = ("patient", "caregiver")
COOKIE, SECURE_COOKIE = "tocsin-home", "__Host-tocsin-home"
#: Invitations and accesses that may stand for one patient at once.
MOST = 12


class AccessError(TocsinError):
    """An invitation that cannot be."""


class NotNowError(AccessError):
    """An invitation that cannot be as things stand: nobody watches the patient, or many have access."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """What staff hand over, once: the link's secret, the code, and until when they wait (microseconds)."""

    id: str
    secret: str
    code: str
    expires: int


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever uses the page: for which patient, as whom, and what their phone was told to remember."""

    access: str
    patient_id: str
    who: str
    language: str
    unit: str | None
    devices: frozenset[str] | None
    csrf: str

    @property
    def actor(self) -> Actor:
        """How the store and its log know them: by the access, never by a name."""
        return Actor(f"home {self.access}", PATIENT, self.patient_id)


def invite(
    con: sa.Connection, clock: Clock, actor: Actor, patient_id: str, *, who: str, language: str
) -> Invitation:
    """Invite a patient or a caregiver; the secret and the code are shown once and never kept.

    Raises `AccessError` for somebody who is not watched, another kind of person, or too many at once.
    """
    if who not in WHO:
        raise AccessError(f"`who` is `{who}`\n  fix: one of {', '.join(WHO)}")
    row = con.execute(sa.select(patients).where(patients.c.patient_id == patient_id)).first()
    if row is None or row.discharged is not None:
        raise NotNowError(
            "this patient is no longer watched here\n"
            "  why: nobody would see what is written at home\n  fix: take the patient up again first"
        )
    now = clock.now()
    mine = (home_access.c.patient_id == patient_id, home_access.c.ended.is_(None))
    alive = sa.or_(home_access.c.used.is_not(None), home_access.c.expires > now)
    if con.execute(sa.select(sa.func.count()).where(*mine, alive)).scalar_one() >= MOST:
        raise NotNowError(f"{MOST} have access to this page already\n  fix: end those no longer needed")
    number, secret = secrets.token_urlsafe(9), secrets.token_urlsafe(24)
    code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
    made = Invitation(number, secret, code, now + lasting(clock, INVITED))
    con.execute(
        home_access.insert().values(
            id=number, patient_id=patient_id, link=digest(secret), code=sealed(secret, code), who=who,
            language=language, made=now, made_by=actor.name, expires=made.expires, tries=0,
        )
    )  # fmt: skip
    audit.note(con, clock, actor, "home:invite", patient=row.ref, detail={"access": number, "who": who})
    return made


def sealed(secret: str, code: str) -> str:
    """What is kept of a code: it cannot be guessed back without the link's secret."""
    return digest(f"{secret} {code}")


def accept(con: sa.Connection, clock: Clock, secret: str, code: str) -> Session | None:
    """Sign in by a link and its code; None whatever was wrong with them. A wrong code counts.

    The same is asked and compared for a link that does not exist, so that nothing tells it apart.
    """
    now = clock.now()
    query = sa.select(home_access, patients.c.ref, patients.c.discharged).join(
        patients, patients.c.patient_id == home_access.c.patient_id
    )
    row = con.execute(query.where(home_access.c.link == digest(secret))).first()
    right = same(sealed(secret, code), row.code if row is not None else digest(secret))
    if row is None or row.used is not None or row.ended is not None or row.expires <= now:
        return None
    if row.tries >= TRIES or row.discharged is not None:
        return None
    mine = home_access.c.id == row.id
    if not right:
        con.execute(home_access.update().where(mine).values(tries=row.tries + 1))
        detail = {"access": row.id, "tries": row.tries + 1}
        audit.note(con, clock, _as(row), "home:refused", patient=row.ref, detail=detail)
        return None
    con.execute(home_access.update().where(mine).values(used=now))
    audit.note(con, clock, _as(row), "home:begin", patient=row.ref, detail={"access": row.id})
    return begin(con, clock, row.id)


def begin(con: sa.Connection, clock: Clock, access: str) -> Session:
    """A session of somebody who has access."""
    session, now = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32)), clock.now()
    con.execute(home_sessions.delete().where(home_sessions.c.expires < now))
    con.execute(
        home_sessions.insert().values(
            hash=digest(session.secret), access=access, csrf=session.csrf, created=now, seen=now,
            expires=now + lasting(clock, SIGNED_IN),
        )
    )  # fmt: skip
    return session


def leave(con: sa.Connection, clock: Clock, secret: str) -> None:
    """Sign a phone out; the access ends with it, because its link is used."""
    query = sa.select(home_access).join(home_sessions, home_sessions.c.access == home_access.c.id)
    row = con.execute(query.where(home_sessions.c.hash == digest(secret))).first()
    if row is not None:
        end(con, clock, _as(row), row.patient_id, row.id)


def end(con: sa.Connection, clock: Clock, actor: Actor, patient_id: str, access: str) -> bool:
    """End an access to this patient's page; False where there is none of this id that stands."""
    mine = (home_access.c.id == access, home_access.c.patient_id == patient_id)
    ended = home_access.update().where(*mine, home_access.c.ended.is_(None))
    if con.execute(ended.values(ended=clock.now(), ended_by=actor.name)).rowcount != 1:
        return False
    con.execute(home_sessions.delete().where(home_sessions.c.access == access))
    ref = ledger.refs_of(con, [patient_id]).get(patient_id)
    audit.note(con, clock, actor, "home:end", patient=ref, detail={"access": access})
    return True


def listed(con: sa.Connection, names: tuple[str, ...], now: int) -> list[Mapping[str, Any]]:
    """Everybody who was given access to a person's page, the latest first, each with its `state`:
    `waiting`, `in use`, `ended`, `expired`, `dead` (too many wrong codes), and when it was last `seen`."""
    seen = (
        sa.select(sa.func.max(home_sessions.c.seen))
        .where(home_sessions.c.access == home_access.c.id)
        .scalar_subquery()
    )
    query = sa.select(home_access, seen.label("seen")).where(home_access.c.patient_id.in_(names))
    rows = con.execute(query.order_by(home_access.c.made.desc(), home_access.c.id)).mappings()
    hidden = ("link", "code", "unit", "devices")
    return [
        {**{key: row[key] for key in row if key not in hidden}, "state": _state(dict(row), now)}
        for row in rows
    ]


def _state(row: Mapping[str, Any], now: int) -> str:
    if row["ended"] is not None:
        return "ended"
    if row["used"] is not None:
        return "in use" if row["seen"] is not None else "ended"
    if row["tries"] >= TRIES:
        return "dead"
    return "waiting" if row["expires"] > now else "expired"


def visitor(con: sa.Connection, clock: Clock, secret: str) -> tuple[Visitor, bool] | None:
    """Whose session a cookie is, and whether its last use is to be written down."""
    until = home_sessions.c.expires.label("until")
    query = sa.select(home_sessions.c.csrf, home_sessions.c.seen, until, home_access)
    query = query.join(home_access, home_access.c.id == home_sessions.c.access)
    ours = (home_sessions.c.hash == digest(secret), home_access.c.ended.is_(None))
    row, now = con.execute(query.where(*ours)).mappings().first(), clock.now()
    if row is None or row["until"] <= now:
        return None
    told = row["devices"]
    found = Visitor(
        row["id"], row["patient_id"], row["who"], row["language"], row["unit"],
        None if told is None else frozenset(told.split()), row["csrf"],
    )  # fmt: skip
    return found, now - row["seen"] > lasting(clock, SEEN)


def seen(con: sa.Connection, clock: Clock, secret: str) -> None:
    """Write down that a session was used."""
    mine = home_sessions.c.hash == digest(secret)
    con.execute(home_sessions.update().where(mine).values(seen=clock.now()))


def remember(con: sa.Connection, access: str, **told: str | None) -> None:
    """What a phone is to remember: `unit`, `devices`, `language`."""
    con.execute(home_access.update().where(home_access.c.id == access).values(**told))


def cookie_of(secure: bool) -> Mapping[str, Any]:
    """How the cookie of the page is set: also sent where the page is opened by a link in a message."""
    return {
        "key": SECURE_COOKIE if secure else COOKIE, "httponly": True, "samesite": "lax", "secure": secure,
        "path": "/",
    }  # fmt: skip


def _as(row: Any) -> Actor:
    return Actor(f"home {row.id}", PATIENT, row.patient_id)
