"""What a record system says for a code: who looks, and whose chart is open there.

SMART App Launch 2, "Obtain access token", and OpenID Connect Core 1.0, 3.1.3.7. The access token that comes
with it is not looked at and not kept: nothing is read from the record system.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tocsin.definitions.schema import TocsinError
from tocsin.watch.auth import same
from tocsin.watch.cds_fetch import post
from tocsin.watch.cds_requests import IDENTIFIER
from tocsin.watch.cds_trust import in_time
from tocsin.watch.launch_trust import RecordSystem

#: Seconds and bytes that the answer for a code may take.
PATIENCE, LARGEST = 10.0, 100_000
LARGEST_TOKEN = 20_000
#: Who looks, as FHIR names them, with or without the address of a server before it.
USER = re.compile(r"(?:[!-~]{1,2000}/)?([A-Za-z]{1,40})/[A-Za-z0-9\-.]{1,64}")
#: Those who treat. A patient or a relative has a page of their own.
STAFF = ("Practitioner", "PractitionerRole")


class AnswerError(TocsinError):
    """An answer for a code that does not hold; says which check failed, never what stood in it."""


class LayError(AnswerError):
    """Somebody looks who does not treat here."""


class NobodyError(AnswerError):
    """No patient is open."""


@dataclass(frozen=True, slots=True)
class Looker:
    """Who looks (`subject` is the issuer's word for them, `name` what to call them), and at whom: the
    record system's id of a Patient."""

    subject: str
    name: str
    patient: str


def redeemed(system: RecordSystem, code: str, verifier: str, nonce: str) -> Looker:
    """Exchange a code.

    Raises
    ------
    FetchError     : the record system did not answer, or not as it should.
    UntrustedError : what it signed does not hold.
    AnswerError    : the answer lacks something.
    """
    headers, fields = system.proof(int(time.time()))
    form = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": system.redirect,
        "code_verifier": verifier, **fields,
    }  # fmt: skip
    deadline = time.monotonic() + PATIENCE
    told = post(system.token, form, deadline=deadline, headers=headers, largest=LARGEST)
    try:
        answer = orjson.loads(told)
    except orjson.JSONDecodeError:
        raise AnswerError("it is no JSON") from None
    if not isinstance(answer, dict) or str(answer.get("token_type", "")).lower() != "bearer":
        raise AnswerError("its `token_type` is not Bearer")
    signed = answer.get("id_token")
    if not isinstance(signed, str):
        raise AnswerError("it holds no `id_token`")
    claims = checked(system, signed, nonce)
    patient = answer.get("patient")
    if patient is None:
        raise NobodyError("it names no `patient`")
    if not isinstance(patient, str) or not IDENTIFIER.fullmatch(patient):
        raise AnswerError("its `patient` is no id")
    said = claims.get(system.name_claim)
    name = said if isinstance(said, str) and said.strip() and said.isprintable() else claims["sub"]
    return Looker(claims["sub"], name.strip(), patient)


def checked(system: RecordSystem, signed: str, nonce: str) -> Mapping[str, Any]:
    """What an id token says, once everything about it holds. Raises `UntrustedError`, `AnswerError`."""
    if len(signed) > LARGEST_TOKEN:
        raise AnswerError("its `id_token` is too long")
    claims = system.signers.verified(signed, system.algorithms)
    if claims.get("iss") != system.issuer:
        raise AnswerError("its `iss` is not the issuer on the list")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if system.client_id not in named:
        raise AnswerError("its `aud` is not us")
    if claims.get("azp", system.client_id if len(named) == 1 else None) != system.client_id:
        raise AnswerError("it was made for another program (`azp`)")
    in_time(claims, math.inf)
    if not isinstance(claims.get("nonce"), str) or not same(claims["nonce"], nonce):
        raise AnswerError("its `nonce` is not that of this launch")
    subject = claims.get("sub")
    # OpenID Connect Core 1.0, 2: at most 255 ASCII characters
    if not isinstance(subject, str) or not re.fullmatch(r"[ -~]{1,255}", subject) or not subject.strip():
        raise AnswerError("its `sub` names nobody")
    user = claims.get("fhirUser")
    found = USER.fullmatch(user) if isinstance(user, str) else None
    if found is None or found[1] not in STAFF:
        raise LayError("its `fhirUser` is nobody who treats")
    return claims
