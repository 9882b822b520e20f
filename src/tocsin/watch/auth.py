"""Who asks: a browser's session, a token of ours, or a signed token of the site's own sign-in.

Secrets are random and only their SHA-256 is kept: they are long enough that guessing is hopeless, so nothing
slower is needed. Passwords are short, and go through argon2.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from tocsin.definitions.schema import TocsinError
from tocsin.watch import audit
from tocsin.watch.clock import DAY, MINUTE, Clock
from tocsin.watch.roles import ROLES, SYSTEM, Actor, may
from tocsin.watch.schema import accounts, invitations, sessions, tokens

#: A session ends after so long without a request, and after so long in any case.
IDLE, LONGEST = 30 * MINUTE, 12 * 60 * MINUTE
#: How often a session's last use is written down.
SEEN = MINUTE
INVITED = 30 * MINUTE
SHORTEST = 12
PREFIX = "tocsin_"
COOKIE, SECURE_COOKIE = "tocsin", "__Host-tocsin"
#: Methods that change nothing.
SAFE = ("GET", "HEAD", "OPTIONS")

_hasher = PasswordHasher()
#: Each check of a password takes 64 MB for a moment: a flood of them waits instead of filling the memory.
_checks = threading.BoundedSemaphore(4)
#: Checked where there is no such account, so that both take as long.
_nobody = _hasher.hash(secrets.token_urlsafe(16))


class AccountError(TocsinError):
    """An account, a password or a token that cannot be."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's session: the secret for its cookie, and the token its forms carry."""

    secret: str
    csrf: str


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


# --- accounts and sessions -------------------------------------------------------------------------------


def create_account(con: sa.Connection, clock: Clock, name: str, password: str, role: str) -> None:
    """Make an account. Raises `AccountError` with what is wrong and the fix."""
    name = name.strip()
    if not 1 <= len(name) <= 60 or not name.isprintable():
        raise AccountError("The name is empty, longer than 60 characters, or not printable.")
    if role not in ROLES:
        raise AccountError(f"There is no role `{role}`: one of {', '.join(ROLES)}.")
    if len(password) < SHORTEST or len(password) > 200:
        raise AccountError(f"The password has to have {SHORTEST} to 200 characters.")
    if name.lower() in password.lower():
        raise AccountError("The password must not hold the name.")
    if con.execute(sa.select(accounts.c.name).where(accounts.c.name == name)).first():
        raise AccountError("There is an account of this name.")
    con.execute(
        accounts.insert().values(name=name, password=_hasher.hash(password), role=role, created=clock.now())
    )
    audit.note(con, clock, SYSTEM, "account:create", detail={"account": name, "role": role})


def check_password(con: sa.Connection, name: str, password: str) -> str | None:
    """The role of the account, where the password is right; as long for a name that is not known."""
    mine = sa.and_(accounts.c.name == name, accounts.c.disabled.is_(None))
    # no account has a name that cannot be printed, and some stores refuse to be asked for one
    row = con.execute(sa.select(accounts).where(mine)).first() if name.isprintable() else None
    kept = row.password if row is not None and row.password else _nobody
    try:
        with _checks:
            _hasher.verify(kept, password[:1000])
    except (VerificationError, InvalidHashError):
        return None
    return str(row.role) if row is not None and row.password else None


def renew_hash(con: sa.Connection, name: str, password: str) -> None:
    """Keep the password under today's costs, where it was kept under older ones."""
    kept = con.execute(sa.select(accounts.c.password).where(accounts.c.name == name)).scalar()
    if kept and _hasher.check_needs_rehash(kept):
        con.execute(accounts.update().where(accounts.c.name == name).values(password=_hasher.hash(password)))


def lasting(clock: Clock, span: int) -> int:
    """A span of a person's time on the service's clock, which runs faster in a demonstration."""
    return round(span * max(1.0, clock.speed))


def begin_session(con: sa.Connection, clock: Clock, account: str) -> Session:
    """A new session; one that was there before is not carried on."""
    session, now = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32)), clock.now()
    con.execute(sessions.delete().where(sessions.c.expires < now))
    con.execute(
        sessions.insert().values(
            hash=digest(session.secret),
            account=account,
            csrf=session.csrf,
            created=now,
            seen=now,
            expires=now + lasting(clock, LONGEST),
        )
    )
    return session


def end_session(con: sa.Connection, clock: Clock, secret: str) -> None:
    """End a session, where there is one."""
    query = sa.select(sessions.c.account, accounts.c.role).join(accounts)
    row = con.execute(query.where(sessions.c.hash == digest(secret))).first()
    if row is not None:
        con.execute(sessions.delete().where(sessions.c.hash == digest(secret)))
        audit.note(con, clock, Actor(row.account, row.role), "session:end")


def refused(con: sa.Connection, clock: Clock, name: str) -> None:
    """Note that somebody failed to sign in. A name that is no account's may be a password: it is not kept."""
    query = sa.select(accounts.c.name).where(accounts.c.name == name)
    found = con.execute(query).scalar() if name.isprintable() else None
    audit.note(con, clock, SYSTEM, "session:refused", detail={"account": found})


# --- tokens and invitations ------------------------------------------------------------------------------


def create_token(
    con: sa.Connection,
    clock: Clock,
    role: str,
    *,
    patient_id: str | None = None,
    name: str = "",
    days: float | None = None,
    actor: Actor = SYSTEM,
) -> tuple[str, str]:
    """A new token: its id, and the secret that is shown once and never kept."""
    if role not in ROLES:
        raise AccountError(f"there is no role `{role}`\n  fix: one of {', '.join(ROLES)}")
    number, secret, now = secrets.token_urlsafe(9), PREFIX + secrets.token_urlsafe(32), clock.now()
    con.execute(
        tokens.insert().values(
            id=number,
            hash=digest(secret),
            name=(name or f"{role} token")[:120],
            role=role,
            patient_id=patient_id,
            created=now,
            expires=None if days is None else now + round(days * DAY),
        )
    )
    bound = patient_id is not None
    audit.note(con, clock, actor, "token:create", detail={"token": number, "role": role, "bound": bound})
    return number, secret


def revoke_token(con: sa.Connection, clock: Clock, number: str, actor: Actor = SYSTEM) -> bool:
    """End a token; False where none of this id stands."""
    mine = sa.and_(tokens.c.id == number, tokens.c.revoked.is_(None))
    done = con.execute(tokens.update().where(mine).values(revoked=clock.now())).rowcount == 1
    if done:
        audit.note(con, clock, actor, "token:revoke", detail={"token": number})
    return done


def rotate_token(
    con: sa.Connection, clock: Clock, number: str, actor: Actor = SYSTEM
) -> tuple[str, str] | None:
    """A new secret in place of a token, with all it was allowed; the old one ends."""
    row = con.execute(sa.select(tokens).where(tokens.c.id == number, tokens.c.revoked.is_(None))).first()
    if row is None:
        return None
    if row.expires is not None and row.expires <= clock.now():
        return None
    left = None if row.expires is None else (row.expires - clock.now()) / DAY
    revoke_token(con, clock, number, actor)
    return create_token(
        con, clock, row.role, patient_id=row.patient_id, name=row.name, days=left, actor=actor
    )


def invite(con: sa.Connection, clock: Clock, role: str = "admin") -> str:
    """A code that makes one account, once, within half an hour."""
    code, now = secrets.token_urlsafe(15), clock.now()
    con.execute(invitations.insert().values(hash=digest(code), role=role, created=now, expires=now + INVITED))
    return code


def accept(con: sa.Connection, clock: Clock, code: str, name: str, password: str) -> str:
    """Make the account an invitation is for; returns its role. Raises `AccountError`."""
    now = clock.now()
    known = sa.and_(invitations.c.hash == digest(code.strip()), invitations.c.used.is_(None))
    row = con.execute(sa.select(invitations).where(known, invitations.c.expires > now)).first()
    if row is None:
        raise AccountError(
            "The code is wrong, used, or older than 30 minutes. Start the service for a new one."
        )
    create_account(con, clock, name, password, row.role)
    con.execute(invitations.update().where(known).values(used=now))
    return str(row.role)


# --- who asks --------------------------------------------------------------------------------------------


async def actor(request: Request) -> Actor:
    """Who asks. 401 where that cannot be known; a browser is sent to sign in."""
    found: Actor | None = getattr(request.state, "actor", None)
    if found is not None and request.url.path != "/events":
        return found
    found = await run_in_threadpool(_who, request)
    if found is None:
        if "text/html" in request.headers.get("accept", "") and "authorization" not in request.headers:
            raise HTTPException(303, headers={"Location": "/sign-in"})
        raise HTTPException(401, "who asks is not known", {"WWW-Authenticate": "Bearer"})
    request.state.actor = found
    return found


def permitted(permission: str) -> Callable[[Request], Any]:
    """What a door asks for: who comes, and that the role includes `permission`; 403 otherwise."""

    async def check(request: Request) -> Actor:
        found = await actor(request)
        if not may(found, permission):
            raise HTTPException(403, f"a {found.role} may not do this")
        return found

    return check


def only_own(who: Actor, patient_id: str) -> None:
    """404 for a patient that a bound token is not for: whether there is one is not said either."""
    if who.patient_id is not None and who.patient_id != patient_id:
        raise HTTPException(404)


def _who(request: Request) -> Actor | None:
    store, clock = request.app.state.service.store, request.app.state.service.clock
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme:
        if scheme.lower() != "bearer" or not secret:
            return None
        secret = secret.strip()
        if secret.startswith(PREFIX):
            with store.reading() as con:
                return _token(con, clock.now(), secret)
        provider = request.app.state.oidc
        return None if provider is None else provider.actor(secret)
    cookie = request.cookies.get(SECURE_COOKIE if request.app.state.secure else COOKIE)
    if not cookie:
        return None
    with store.reading() as con:
        row = _session(con, clock, cookie)
    if row is None:
        return None
    request.state.csrf = row.csrf
    if clock.now() - row.seen > lasting(clock, SEEN) and request.url.path != "/events":
        with store.writing() as con:
            con.execute(sessions.update().where(sessions.c.hash == row.hash).values(seen=clock.now()))
    return Actor(row.account, row.role)


def _token(con: sa.Connection, now: int, secret: str) -> Actor | None:
    row = con.execute(sa.select(tokens).where(tokens.c.hash == digest(secret))).first()
    if row is None or row.revoked is not None or (row.expires is not None and row.expires <= now):
        return None
    return Actor(f"token {row.id}", row.role, row.patient_id, "token")


def _session(con: sa.Connection, clock: Clock, secret: str) -> Any:
    query = (
        sa.select(sessions, accounts.c.role)
        .join(accounts, accounts.c.name == sessions.c.account)
        .where(sessions.c.hash == digest(secret), accounts.c.disabled.is_(None))
    )
    row, now = con.execute(query).first(), clock.now()
    if row is None or row.expires <= now or now - row.seen >= lasting(clock, IDLE):
        return None
    return row


def same(one: str | None, other: str | None) -> bool:
    """Whether two secrets are the same, in a time that does not tell."""
    return bool(one) and bool(other) and hmac.compare_digest(str(one).encode(), str(other).encode())


def cookie_of(secure: bool) -> Mapping[str, Any]:
    """How the session's cookie is set."""
    return {
        "key": SECURE_COOKIE if secure else COOKIE, "httponly": True, "samesite": "strict", "secure": secure,
        "path": "/",
    }  # fmt: skip


def demo_account(con: sa.Connection, clock: Clock, name: str) -> str:
    """The account of a demonstration's visitors: a physician without a password."""
    if not con.execute(sa.select(accounts.c.name).where(accounts.c.name == name)).first():
        con.execute(accounts.insert().values(name=name, role="physician", created=clock.now()))
        audit.note(con, clock, SYSTEM, "account:create", detail={"account": name, "role": "physician"})
    return name
