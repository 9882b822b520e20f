"""Who may ask for cards: the trust list, and the signed token of every request.

CDS Hooks 2.0, Security and Safety, "Trusting CDS Clients": each request carries a JWT that the client signed
with a private key. Its issuer, our address as its audience, and where its public keys lie are fixed in the
trust list; the address of keys that a token itself names (`jku`) is never asked.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import tomllib
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet

from tocsin.definitions.schema import TocsinError
from tocsin.watch.cds_fetch import FetchError, address_of, get
from tocsin.watch.oidc import ALGORITHMS, FETCH, LARGEST, LEEWAY, UNREADABLE
from tocsin.watch.roles import ROLES

#: Seconds for which a token may be good, unless the list allows more, and the most it may allow.
LIFE, LONGEST_LIFE = 300, 3600
#: Seconds after which a key set is asked for again, and for which an old one stands where that fails.
RENEW, OLDEST = 3600.0, 86_400.0
LONGEST = 10_000
NEEDED = ("name", "issuer", "audience", "keys")
TEXTS = (*NEEDED, "tenant", "patient_prefix", "launch", "role")
LISTS = ("algorithms", "fhir_servers", "origins")
#: Says whether an identifier (hashed) was not seen before, and remembers it until a moment (seconds).
Fresh = Callable[[str, float], bool]


class TrustError(TocsinError):
    """A trust list that cannot be used."""


class UntrustedError(TocsinError):
    """A request of nobody we trust; says which check failed."""


@dataclass(slots=True)
class Keys:
    """The public keys of somebody on the list: `place` is a file in `folder`, or an https address."""

    place: str
    folder: Path
    _set: KeySet | None = None
    _asked: float = -1e9
    _had: float = -1e9
    _lock: Any = field(default_factory=threading.Lock)

    def known(self, *, again: bool) -> KeySet | None:
        """The keys; `again` asks anew, once a minute at most. None where there are none."""
        with self._lock:
            now = time.monotonic()
            stands = self._set is not None and not again and now - self._had < RENEW
            if not stands and now - self._asked >= FETCH:
                self._asked = now
                try:
                    self._set, self._had = KeySet.import_key_set(json.loads(self._text())), now
                except (OSError, FetchError, *UNREADABLE):
                    pass  # those known before go on being used, for a day
            return self._set if now - self._had < OLDEST else None

    def _text(self) -> bytes:
        if "://" in self.place:
            return get(self.place, deadline=time.monotonic() + 5, largest=LARGEST)
        return (self.folder / self.place).read_bytes()

    def verified(self, token: str, algorithms: Sequence[str]) -> Mapping[str, Any]:
        """What a token says that one of them signed. Raises `UntrustedError` with what does not hold."""
        for again in (False, True):
            keys = self.known(again=again)
            if keys is None:
                raise UntrustedError("the keys of its issuer cannot be had")
            try:
                return dict(jwt.decode(token, keys, algorithms=list(algorithms)).claims)
            except InvalidKeyIdError:
                continue  # perhaps a key newer than those we have
            except UNREADABLE:
                raise UntrustedError("its signature does not hold") from None
        raise UntrustedError("its `kid` is not known")


@dataclass(slots=True)
class Client:
    """One record system on the list.

    `audience` is our address as it calls us; `keys` a file or an https address of a key set; `fhir_servers`
    the only addresses its `fhirServer` may have; `origins` the pages that may ask from a browser;
    `patient_prefix` stands before its Patient.id in the ids under which its facts come; `launch` the address
    of a SMART launch; `role` what its own tokens may do (SMART backend services; none: it gets no token).
    """

    name: str
    issuer: str
    audience: str
    keys: str
    tenant: str = ""
    algorithms: tuple[str, ...] = ("ES384", "RS384")
    fhir_servers: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    patient_prefix: str = ""
    launch: str = ""
    role: str = ""
    life_seconds: int = LIFE
    signers: Keys = field(default_factory=lambda: Keys("", Path()))


@dataclass(frozen=True, slots=True)
class Trust:
    """The list; `docs` is the address that cards name as their source."""

    clients: tuple[Client, ...]
    docs: str = ""

    @classmethod
    def read(cls, path: Path) -> Trust:
        """From a TOML file. Raises `TrustError` with what is wrong and the fix."""
        told = listed(path)
        tables = tables_of(told, "client", path)
        if not tables and not told.get("launch"):
            raise TrustError(f"{path}: it names no client\n  fix: one [[client]] a record system")
        clients = tuple(_client(each, f"{path}, client {place}", path.parent)
                        for place, each in enumerate(tables, 1))  # fmt: skip
        who = [(each.issuer, each.tenant) for each in clients]
        if len(set(who)) < len(who) or len({each.name for each in clients}) < len(clients):
            raise TrustError(f"{path}: two clients have one name, or one issuer and tenant")
        docs = told.get("docs", "")
        if docs:
            checked_address(docs, f"{path}: docs", secure=True)
        return cls(clients, docs)

    def admit(self, token: str, doors: tuple[str, ...], fresh: Fresh) -> Client:
        """Whose request this is; `doors` are the paths that its audience may name.

        Raises `UntrustedError` with the check that failed.
        """
        client = self._named(token)
        claims = client.signers.verified(token, client.algorithms)
        _for_us(claims, {client.audience + door for door in doors})
        expires = in_time(claims, client.life_seconds)
        number = claims.get("jti")
        if not isinstance(number, str) or not 0 < len(number) <= 500:
            raise UntrustedError("it has no `jti`")
        told = json.dumps([client.issuer, client.tenant, number])
        if not fresh(hashlib.sha256(told.encode()).hexdigest(), expires + LEEWAY):
            raise UntrustedError("its `jti` was used before")
        return client

    def _named(self, token: str) -> Client:
        """The client whose issuer and tenant a token says it is of: whether it is, its signature shows."""
        head, claims = part_of(token, 0), part_of(token, 1)
        mine = [each for each in self.clients if each.issuer == claims.get("iss")]
        tenant = claims.get("tenant")
        exact = [each for each in mine if each.tenant and each.tenant == tenant]
        client = next(iter([*exact, *(each for each in mine if not each.tenant)]), None)
        if client is None:
            raise UntrustedError("its `iss` or `tenant` is not on the list")
        if head.get("alg") not in client.algorithms:
            raise UntrustedError("its `alg` is not taken")
        if not isinstance(head.get("kid"), str) or not head["kid"]:
            raise UntrustedError("it has no `kid`")
        if str(head.get("typ", "JWT")).upper() != "JWT":
            raise UntrustedError("its `typ` is not JWT")
        if "jku" in head and "://" in client.keys and head["jku"] != client.keys:
            raise UntrustedError("its `jku` is not the address on the list")
        return client

    def origin(self, told: str) -> bool:
        """Whether a page of this origin may ask from a browser."""
        return any(told in each.origins for each in self.clients)


def listed(path: Path) -> dict[str, Any]:
    """A trust list as it stands: a `[[client]]` asks for cards or tokens, a `[[launch]]` opens our pages."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TrustError(f"{path}: cannot be read: {error}") from None
    if unknown := sorted(set(told) - {"client", "launch", "docs"}):
        raise TrustError(f"{path}: `{unknown[0]}` is not known\n  fix: [[client]], [[launch]] and docs")
    return told


def tables_of(told: Mapping[str, Any], name: str, path: Path) -> list[dict[str, Any]]:
    """The tables of one kind on a list. Raises `TrustError` where something else is called so."""
    tables = told.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise TrustError(f"{path}: `{name}` is no list of tables\n  fix: one [[{name}]] a record system")
    return tables


def claimed(token: str) -> dict[str, Any]:
    """What a token says; true only of one that was admitted."""
    return part_of(token, 1)


def shaped(
    told: Mapping[str, Any], where: str, *, needed: Sequence[str], texts: Sequence[str],
    lists: Sequence[str], others: Sequence[str] = (),
) -> None:  # fmt: skip
    """Raise `TrustError` where a table lacks something, holds something unknown, or is not text where it
    should be."""
    if missing := [name for name in needed if not told.get(name)]:
        raise TrustError(f"{where}: `{missing[0]}` is missing\n  fix: it needs {', '.join(needed)}")
    if unknown := sorted(set(told) - {*texts, *lists, *others}):
        raise TrustError(f"{where}: `{unknown[0]}` is not known")
    for name in texts:
        if not isinstance(told.get(name, ""), str):
            raise TrustError(f"{where}: `{name}` is no text\n  fix: write it in quotes")
    for name in lists:
        value = told.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            raise TrustError(f'{where}: `{name}` is no list of texts\n  fix: {name} = ["..."]')
    if not told["name"].isprintable() or len(told["name"]) > 60:
        raise TrustError(f"{where}: `name` is longer than 60 characters, or not printable")
    if wrong := sorted(set(told.get("algorithms", ())) - set(ALGORITHMS)):
        raise TrustError(f"{where}: `{wrong[0]}` signs nothing here\n  fix: of {', '.join(ALGORITHMS)}")
    if told.get("role") and told["role"] not in ROLES:
        raise TrustError(f"{where}: there is no role `{told['role']}`\n  fix: one of {', '.join(ROLES)}")
    if "://" in told["keys"]:
        checked_address(told["keys"], f"{where}: keys", secure=True)


def _client(told: Mapping[str, Any], where: str, folder: Path) -> Client:
    shaped(told, where, needed=NEEDED, texts=TEXTS, lists=LISTS, others=("life_seconds",))
    life = told.get("life_seconds", LIFE)
    if not isinstance(life, int) or isinstance(life, bool) or not 10 <= life <= LONGEST_LIFE:
        raise TrustError(f"{where}: `life_seconds` is {life!r}\n  fix: 10 to {LONGEST_LIFE}")
    for name in ("audience", "launch"):
        if told.get(name):
            checked_address(told[name], f"{where}: {name}", secure=False)
    for server in told.get("fhir_servers", ()):
        checked_address(server, f"{where}: fhir_servers", secure=False)
    for origin in told.get("origins", ()):
        parts = checked_address(origin, f"{where}: origins", secure=False)
        if parts.path:
            raise TrustError(f"{where}: `{origin}` is no origin\n  fix: scheme and host, no path")
    plain: dict[str, Any] = {name: told[name] for name in TEXTS if name in told}
    plain |= {name: tuple(told[name]) for name in LISTS if name in told}
    plain["audience"] = told["audience"].rstrip("/")
    plain["fhir_servers"] = tuple(each.rstrip("/") for each in told.get("fhir_servers", ()))
    return Client(**plain, life_seconds=life, signers=Keys(told["keys"], folder))


def checked_address(text: Any, where: str, *, secure: bool) -> Any:
    try:
        return address_of(str(text), secure=secure)
    except FetchError as error:
        raise TrustError(f"{where}: {error}") from None


def part_of(token: str, place: int) -> dict[str, Any]:
    """A part of a token, as it says itself: nothing of it is known to be true yet."""
    parts = token.split(".")
    if len(token) > LONGEST or len(parts) != 3 or not token.isascii():
        raise UntrustedError("it is no signed token")
    try:
        found = json.loads(urlsafe_b64decode(parts[place] + "=" * (-len(parts[place]) % 4)))
    except (ValueError, RecursionError):
        raise UntrustedError("it is no signed token") from None
    if not isinstance(found, dict):
        raise UntrustedError("it is no signed token")
    return found


def _for_us(claims: Mapping[str, Any], wanted: set[str]) -> None:
    told = claims.get("aud")
    named = told if isinstance(told, list) else [told]
    if not any(isinstance(each, str) and each in wanted for each in named):
        raise UntrustedError("its `aud` is not the address that was asked")


def in_time(claims: Mapping[str, Any], life: float) -> float:
    """When it ends; raises where it is not good now, or was made to last too long."""
    moments = {name: claims.get(name) for name in ("exp", "iat")}
    moments["nbf"] = claims.get("nbf", moments["iat"])
    for name, each in moments.items():
        # what is no moment at all (1e400) could not even be compared
        if isinstance(each, bool) or not isinstance(each, int | float) or not abs(each) < 1e12:
            raise UntrustedError(f"its `{name}` is missing, or no moment")
    until, since, now = float(claims["exp"]), float(claims["iat"]), time.time()
    if max(since, float(moments["nbf"] or 0)) > now + LEEWAY:
        raise UntrustedError("it is not good yet")
    if not until > now - LEEWAY:
        raise UntrustedError("it has expired")
    if not until - since <= life:
        raise UntrustedError(f"it is good for longer than {life} s")
    return until
