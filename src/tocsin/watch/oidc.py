"""Signed tokens of the site's own sign-in (OpenID Connect): checked against its keys, never asked for."""

from __future__ import annotations

import json
import threading
import time
import tomllib
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from tocsin.definitions.schema import TocsinError
from tocsin.watch.roles import ROLES, Actor

#: Signatures by a private key. What a shared secret, or nothing, signs is never taken.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
#: Seconds of difference between two computers' clocks that are forgiven.
LEEWAY = 30
#: Seconds between two fetches of the keys.
FETCH = 60.0
LARGEST = 1_000_000
#: What reading a token, or a key set, made to break its reader may raise.
UNREADABLE = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)
NEEDED = ("issuer", "audience", "keys", "role_claim", "roles")


class ProviderError(TocsinError):
    """A description of the site's sign-in that cannot be used."""


@dataclass(slots=True)
class Provider:
    """Whose tokens are taken: `keys` is a file or an https address of a key set; `roles` maps what the
    token's `role_claim` says to ours."""

    issuer: str
    audience: str
    keys: str
    role_claim: str
    roles: Mapping[str, str]
    name_claim: str = "sub"
    patient_claim: str = ""
    _set: KeySet | None = None
    _fetched: float = -1e9
    _lock: Any = field(default_factory=threading.Lock)

    @classmethod
    def read(cls, path: Path) -> Provider:
        """From a TOML file. Raises `ProviderError` with what is wrong and the fix."""
        try:
            told = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ProviderError(f"{path}: cannot be read: {error}") from None
        if missing := [name for name in NEEDED if not told.get(name)]:
            raise ProviderError(f"{path}: `{missing[0]}` is missing\n  fix: it needs {', '.join(NEEDED)}")
        unknown = set(told) - {*NEEDED, "name_claim", "patient_claim"}
        if unknown:
            raise ProviderError(f"{path}: `{sorted(unknown)[0]}` is not known")
        if wrong := sorted(set(told["roles"].values()) - set(ROLES)):
            raise ProviderError(f"{path}: there is no role `{wrong[0]}`\n  fix: one of {', '.join(ROLES)}")
        if "://" in told["keys"] and not told["keys"].startswith("https://"):
            raise ProviderError(
                f"{path}: keys come from a file or by https\n  why: else anybody could send them"
            )
        return cls(**told)

    def actor(self, token: str) -> Actor | None:
        """Who a token says asks; None for one not signed by the site, not for us, or not valid now."""
        claims = self._claims(token)
        if claims is None:
            return None
        said = claims.get(self.role_claim)
        names = said if isinstance(said, list) else [said]
        role = next(
            (self.roles[name] for name in names if isinstance(name, str) and name in self.roles), None
        )
        name = claims.get(self.name_claim)
        if role is None or not isinstance(name, str) or not name or not name.isprintable():
            return None
        patient = claims.get(self.patient_claim) if self.patient_claim else None
        if self.patient_claim and patient is not None and not isinstance(patient, str):
            return None
        return Actor(f"{name[:60]} (signed)", role, patient, "oidc")

    def _claims(self, token: str) -> dict[str, Any] | None:
        if len(token) > 10_000:
            return None
        for again in (False, True):
            keys = self._keys(again)
            if keys is None:
                return None
            try:
                found = jwt.decode(token, keys, algorithms=ALGORITHMS)
                jwt.JWTClaimsRegistry(
                    leeway=LEEWAY,
                    iss={"essential": True, "value": self.issuer},
                    aud={"essential": True, "value": self.audience},
                    exp={"essential": True},
                ).validate(found.claims)
            except InvalidKeyIdError:
                continue  # perhaps signed by a key that is newer than ours
            except UNREADABLE:
                return None
            return dict(found.claims)
        return None

    def _keys(self, again: bool) -> KeySet | None:
        with self._lock:
            if self._set is not None and not again:
                return self._set
            if time.monotonic() - self._fetched < FETCH:
                return self._set
            self._fetched = time.monotonic()
            # where that fails, the keys known before go on being used
            with suppress(OSError, *UNREADABLE):
                self._set = KeySet.import_key_set(json.loads(self._text()))
            return self._set

    def _text(self) -> bytes:
        if not self.keys.startswith("https://"):
            return Path(self.keys).read_bytes()
        opener = urllib.request.build_opener(Staying)  # only https gets here
        with opener.open(self.keys, timeout=5) as answer:
            return bytes(answer.read(LARGEST))


class Staying(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: an answer may send on to an address that is not https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Never followed; the redirect itself is then the failure."""
        return
