"""Which record systems may open a patient's page here: the `[[launch]]` tables of the trust list.

Every address that a launch uses stands there. SMART App Launch lets an app read the addresses from the `iss`
that the browser brings; here they never are, so that no address in a link can send this service, or the
browser with what it carries, anywhere else.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from tocsin.watch.cds_trust import Keys, TrustError, checked_address, listed, shaped, tables_of
from tocsin.watch.oidc import ALGORITHMS, UNREADABLE
from tocsin.watch.roles import Actor, may

NEEDED = ("name", "iss", "client_id", "issuer", "authorize", "token", "keys", "address", "role")
TEXTS = (*NEEDED, "patient_prefix", "name_claim", "secret_file", "private_key")
LISTS = ("algorithms",)
#: Where the browser comes back to, below our address.
CALLBACK = "/launch/callback"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: Seconds for which what we sign is good.
SIGNED = 120
#: With what a key signs that does not say so itself.
SIGNS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


@dataclass(frozen=True, slots=True)
class RecordSystem:
    """A record system from which people open our pages.

    `iss` is its FHIR address as it stands in a launch, letter for letter; `issuer` who signs its id tokens;
    `authorize` where browsers are sent; `token` where a code is exchanged; `signers` its public keys;
    `address` ours, as browsers reach it; `role` what its users become here; `patient_prefix` stands before
    its Patient.id in the ids under which facts come; `name_claim` is what of an id token an account is named
    by; `says_issuer` that it always names itself when it sends a browser back (RFC 9207). With `secret` or
    `private` we say who we are; with neither we are a public client.
    """

    name: str
    iss: str
    client_id: str
    issuer: str
    authorize: str
    token: str
    address: str
    role: str
    signers: Keys
    algorithms: tuple[str, ...] = ("RS256", "RS384", "ES256", "ES384")
    patient_prefix: str = ""
    name_claim: str = "sub"
    says_issuer: bool = False
    secret: str = ""
    private: Key | None = None

    @property
    def redirect(self) -> str:
        """Where it sends a browser back to."""
        return self.address + CALLBACK

    def proof(self, now: int) -> tuple[dict[str, str], dict[str, str]]:
        """How we say who we are when a code is exchanged: headers, and fields of the form.

        By a secret as RFC 6749 2.3.1, by a key as SMART App Launch "Client Authentication: Asymmetric".
        """
        if self.secret:
            told = f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}".encode()
            return {"Authorization": f"Basic {b64encode(told).decode()}"}, {}
        if self.private is None:
            return {}, {"client_id": self.client_id}
        algorithm = signs_with(self.private)
        head = {"alg": algorithm, "kid": self.private.kid, "typ": "JWT"}
        claims = {
            "iss": self.client_id, "sub": self.client_id, "aud": self.token, "iat": now, "exp": now + SIGNED,
            "jti": uuid.uuid4().hex,
        }  # fmt: skip
        signed = jwt.encode(head, claims, self.private, algorithms=[algorithm])
        return {}, {"client_assertion_type": ASSERTION, "client_assertion": signed}


def read(path: Path) -> tuple[RecordSystem, ...]:
    """The `[[launch]]` tables of a trust list; none is fine. Raises `TrustError` with what is wrong and the
    fix."""
    tables = tables_of(listed(path), "launch", path)
    systems = tuple(
        _system(each, f"{path}, launch {place}", path.parent) for place, each in enumerate(tables, 1)
    )
    for what in ("name", "iss"):
        if len({getattr(each, what) for each in systems}) < len(systems):
            raise TrustError(f"{path}: two [[launch]] have one `{what}`\n  why: which is meant is not known")
    return systems


def _system(told: Mapping[str, Any], where: str, folder: Path) -> RecordSystem:
    shaped(told, where, needed=NEEDED, texts=TEXTS, lists=LISTS, others=("says_issuer",))
    for name in ("iss", "authorize", "token", "address"):
        checked_address(told[name], f"{where}: {name}", secure=False)
    if not may(Actor("", told["role"]), "patients:read"):
        raise TrustError(
            f"{where}: a {told['role']} may not see patients\n"
            "  why: a launch opens a patient's page\n  fix: nurse, physician or evaluator"
        )
    if not isinstance(told.get("says_issuer", False), bool):
        raise TrustError(f"{where}: `says_issuer` is neither true nor false")
    if told.get("secret_file") and told.get("private_key"):
        raise TrustError(f"{where}: a secret and a private key\n  fix: the one the record system knows us by")
    plain: dict[str, Any] = {
        name: told[name]
        for name in (*TEXTS, "says_issuer")
        if name in told and name not in ("keys", "secret_file", "private_key")
    }
    if "algorithms" in told:
        plain["algorithms"] = tuple(told["algorithms"])
    plain["address"] = told["address"].rstrip("/")
    if told.get("secret_file"):
        plain["secret"] = _secret(folder / told["secret_file"], where)
    if told.get("private_key"):
        plain["private"] = _private(folder / told["private_key"], where)
    return RecordSystem(**plain, signers=Keys(told["keys"], folder))


def _secret(path: Path, where: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TrustError(f"{where}: `secret_file` cannot be read: {type(error).__name__}") from None
    if not text or not text.isprintable():
        raise TrustError(f"{where}: `secret_file` holds no secret\n  fix: one line, the secret alone")
    return text


def _private(path: Path, where: str) -> Key:
    """Our own key, a JWK; what is wrong with it is said without quoting it."""
    try:
        key = import_key(json.loads(path.read_text(encoding="utf-8")))
        key.ensure_kid()
        jwt.encode({"alg": signs_with(key)}, {}, key, algorithms=[signs_with(key)])
    except (OSError, UnicodeDecodeError, *UNREADABLE) as error:
        raise TrustError(
            f"{where}: `private_key` cannot sign: {type(error).__name__}\n"
            f"  fix: a private key as a JWK (RFC 7517) for one of {', '.join(ALGORITHMS)}"
        ) from None
    return key


def signs_with(key: Any) -> str:
    """The algorithm that a key signs with: the one it names, else the one of its kind.

    >>> signs_with(ECKey.generate_key("P-384"))
    'ES384'
    """
    if key.alg in ALGORITHMS:
        return str(key.alg)
    if isinstance(key, RSAKey):
        return "RS384"
    if isinstance(key, ECKey) and key.curve_name in SIGNS:
        return SIGNS[key.curve_name]
    if isinstance(key, OKPKey):
        return "EdDSA"
    raise ValueError("a key that signs nothing here")
