"""What a record system sends, taken apart: a hook's request and feedback, as CDS Hooks 2.0 shapes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from tocsin.definitions.schema import TocsinError

#: FHIR R4, data types: `id`.
IDENTIFIER = re.compile(r"[A-Za-z0-9\-.]{1,64}")
USER = re.compile(r"(Practitioner|PractitionerRole|Patient|RelatedPerson)/[A-Za-z0-9\-.]{1,64}")
#: RFC 6750: what a bearer token may hold.
BEARER = re.compile(r"[A-Za-z0-9\-._~+/]{1,8192}=*")
#: The most characters of a comment; a longer one is refused and not cut.
COMMENT = 10_000
#: The most entries of one feedback.
ENTRIES = 500
OUTCOMES = ("accepted", "overridden")


class RequestError(TocsinError):
    """A body that is not as CDS Hooks shapes it; names the field, never what stood in it."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A request for cards (CDS Hooks 2.0, Calling a CDS Service).

    `prefetch` holds only what was sent; a key with null is there: the client has nothing for it. `server` and
    `bearer` are for fetching the rest, both or neither.
    """

    hook: str
    instance: str
    user: str
    patient: str
    encounter: str | None
    prefetch: Mapping[str, Any] = field(default_factory=dict)
    server: str | None = None
    bearer: str | None = None

    @property
    def lay(self) -> bool:
        """Whether a patient or a relative looks: cards are for those who treat."""
        return self.user.startswith(("Patient/", "RelatedPerson/"))


@dataclass(frozen=True, slots=True)
class Feedback:
    """What became of one card (CDS Hooks 2.0, Feedback); `at` in microseconds."""

    card: str
    outcome: str
    at: int
    accepted: tuple[str, ...] = ()
    code: str | None = None
    system: str | None = None
    display: str | None = None
    comment: str | None = None


def document(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises `RequestError`."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(
            f"the body is no JSON: {error.msg.split(':')[0]}\n  fix: send a JSON object"
        ) from None
    if not isinstance(found, dict):
        raise RequestError("the body is no JSON object\n  fix: send a JSON object")
    return found


def hook_of(told: Mapping[str, Any], hooks: tuple[str, ...]) -> Hook:
    """A request for cards, checked. Raises `RequestError`."""
    hook = _text(told, "hook", 100)
    if hook not in hooks:
        raise RequestError(f"this service is not for that `hook`\n  fix: {' or '.join(hooks)}")
    context = _object(told, "context", needed=True)
    user = _text(context, "userId", 200, "context.")
    if not USER.fullmatch(user):
        raise RequestError("`context.userId` names no user\n  fix: as Practitioner/123")
    patient = _id(_text(context, "patientId", 64, "context."), "context.patientId")
    needed = hook == "encounter-start"
    encounter = context.get("encounterId")
    if encounter is not None or needed:
        encounter = _id(_text(context, "encounterId", 64, "context."), "context.encounterId")
    server, bearer = _server(told)
    return Hook(
        hook, _text(told, "hookInstance", 200), user, patient, encounter, _object(told, "prefetch"),
        server, bearer,
    )  # fmt: skip


def _server(told: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Where to fetch from, and with what: nothing is fetched without a token."""
    granted = _object(told, "fhirAuthorization")
    server = None if told.get("fhirServer") is None else _text(told, "fhirServer", 2000)
    if not granted:
        return None, None
    if server is None:
        raise RequestError("`fhirServer` is missing, and `fhirAuthorization` is there\n  fix: send both")
    bearer = _text(granted, "access_token", 9000, "fhirAuthorization.")
    if not BEARER.fullmatch(bearer) or str(granted.get("token_type", "")).lower() != "bearer":
        raise RequestError("`fhirAuthorization` holds no bearer token\n  fix: token_type Bearer")
    return server, bearer


def feedback_of(told: Mapping[str, Any]) -> tuple[list[Feedback], list[dict[str, Any]]]:
    """Entries that can be kept, and those that cannot, each with its place, why and the fix."""
    entries = told.get("feedback")
    if not isinstance(entries, list) or not entries:
        raise RequestError("`feedback` is no array of entries\n  fix: see CDS Hooks 2.0, Feedback")
    if len(entries) > ENTRIES:
        raise RequestError(f"`feedback` has more than {ENTRIES} entries\n  fix: send it in parts")
    good: list[Feedback] = []
    bad: list[dict[str, Any]] = []
    for place, entry in enumerate(entries, 1):
        try:
            if not isinstance(entry, dict):
                raise RequestError("it is no JSON object\n  fix: see CDS Hooks 2.0, Feedback")
            good.append(_entry(entry))
        except RequestError as error:
            why, _, fix = str(error).partition("\n  fix: ")
            bad.append({"entry": place, "why": why, "fix": fix})
    return good, bad


def _entry(entry: Mapping[str, Any]) -> Feedback:
    outcome = _text(entry, "outcome", 20)
    if outcome not in OUTCOMES:
        raise RequestError(f"`outcome` is none that there is\n  fix: {' or '.join(OUTCOMES)}")
    accepted = entry.get("acceptedSuggestions") or []
    if not isinstance(accepted, list) or not all(isinstance(each, dict) for each in accepted):
        raise RequestError("`acceptedSuggestions` is no array of objects\n  fix: each with its `id`")
    if len(accepted) > 100:
        raise RequestError("`acceptedSuggestions` has more than 100 entries\n  fix: those of one card")
    reason = _object(entry, "overrideReason")
    coding = _object(reason, "reason")
    comment = None
    if reason.get("userComment") is not None:
        comment = _text(reason, "userComment", COMMENT, "overrideReason.", empty=True) or None
    return Feedback(
        _text(entry, "card", 100), outcome, _moment(_text(entry, "outcomeTimestamp", 40)),
        tuple(_text(each, "id", 100, "acceptedSuggestions.") for each in accepted),
        _maybe(coding, "code"), _maybe(coding, "system"), _maybe(coding, "display"), comment,
    )  # fmt: skip


def _moment(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None and 1900 < found.year < 2200:
            return round(found.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        pass
    raise RequestError("`outcomeTimestamp` is no moment\n  fix: as 2026-03-01T14:30:00Z")


def _text(told: Mapping[str, Any], name: str, most: int, where: str = "", *, empty: bool = False) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not (value or empty):
        raise RequestError(f"`{where}{name}` is missing, or no text\n  fix: see CDS Hooks 2.0")
    if len(value) > most or "\x00" in value:
        why = f"`{where}{name}` is longer than {most} characters, or holds a NUL"
        raise RequestError(f"{why}\n  fix: shorten it")
    return value


def _maybe(told: Mapping[str, Any], name: str) -> str | None:
    return None if told.get(name) is None else _text(told, name, 1000, "overrideReason.reason.")


def _id(text: str, where: str) -> str:
    if not IDENTIFIER.fullmatch(text):
        raise RequestError(f"`{where}` is no FHIR id\n  fix: letters, digits, - and ., at most 64")
    return text


def _object(told: Mapping[str, Any], name: str, *, needed: bool = False) -> dict[str, Any]:
    value = told.get(name)
    if value is None and not needed:
        return {}
    if not isinstance(value, dict):
        raise RequestError(f"`{name}` is missing, or no object\n  fix: see CDS Hooks 2.0")
    return value
