"""Resources that are sent to the FHIR door: what is asked for, and the answer to each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from tocsin.watch import fhir_out
from tocsin.watch.fhir_in import KINDS, Entry, FhirError, Reading, entry
from tocsin.watch.fhir_says import base_of, told, unsaid
from tocsin.watch.roles import Actor

Json = dict[str, Any]
#: Entries of one Bundle.
ENTRIES = 10_000
WORDS = {
    200: "200 OK", 201: "201 Created", 403: "403 Forbidden", 412: "412 Precondition Failed",
    422: "422 Unprocessable Entity",
}  # fmt: skip


def send(request: Request, actor: Actor, body: Any) -> Response:
    """A Bundle, or one resource whose kind the address does not say."""
    if not isinstance(body, dict) or body.get("resourceType") != "Bundle":
        return one(request, actor, body, "", "")
    kind, items = body.get("type"), body.get("entry") or []
    if kind not in ("transaction", "batch"):
        raise FhirError("a Bundle that is sent is a `transaction` or a `batch`", "value")
    if not isinstance(items, list) or len(items) > ENTRIES:
        raise FhirError(f"a Bundle has at most {ENTRIES} entries\n  fix: send it in parts", "too-costly", 413)
    entries: list[Entry] = []
    broken: dict[int, FhirError] = {}
    for place, item in enumerate(items, 1):
        try:
            entries.append(_entry(place, item))
        except FhirError as error:
            broken[place] = error
    _alone(entries)
    whole = kind == "transaction"
    if not (whole and broken):
        Reading(request.app.state.service, actor).take(entries, whole=whole)
    if whole and (broken or any(each.problems for each in entries)):
        return told(_why_not(entries, broken), _worst(entries, broken))
    answers = {each.place: _answer(request, each) for each in entries}
    answers |= {
        place: {"response": {"status": str(error.status), "outcome": _outcome(error)}}
        for place, error in broken.items()
    }
    said = [answers[place] for place in sorted(answers)]
    return told({"resourceType": "Bundle", "type": f"{kind}-response", "entry": said})


def _entry(place: int, item: Any) -> Entry:
    """An entry of a Bundle: what its request asks for."""
    if not isinstance(item, dict):
        raise FhirError("an entry is no object", "structure")
    asked_for = item.get("request") or {}
    method = str(asked_for.get("method", "POST") if isinstance(asked_for, dict) else "").upper()
    address = str(asked_for.get("url", "") if isinstance(asked_for, dict) else "").split("/")
    if method not in ("POST", "PUT"):
        raise FhirError(
            f"an entry cannot ask for {method[:10]}\n  fix: POST or PUT; what was wrong is sent again as "
            "entered-in-error", "not-supported", 422,
        )  # fmt: skip
    if asked_for.get("ifNoneExist"):
        raise FhirError("`ifNoneExist` is not understood\n  fix: PUT with an id", "not-supported", 422)
    if method == "PUT" and len(address) != 2:
        raise FhirError("a PUT names Type/id", "invalid")
    id = address[1] if method == "PUT" else ""
    found = entry(
        place, item.get("resource"), kind=address[0], id=id, full_url=str(item.get("fullUrl") or "")
    )
    found.if_match = _version(asked_for.get("ifMatch"))
    return found


def _alone(entries: Sequence[Entry]) -> None:
    """Refuse two entries of one Bundle that are the same resource: which one counts would be a guess."""
    seen: set[tuple[str, str]] = set()
    for each in entries:
        if each.id and (each.kind, each.id) in seen:
            raise FhirError("the same resource stands twice in the Bundle", "duplicate")
        seen.add((each.kind, each.id))


def _version(text: Any) -> int | None:
    found = re.fullmatch(r'(?:W/)?"(\d{1,9})"', str(text or ""))
    return int(found[1]) if found else None


def one(request: Request, actor: Actor, body: Any, kind: str, id: str) -> Response:
    """One resource, under the sender's id or (none) one of ours."""
    if kind and kind not in KINDS:
        raise FhirError(
            f"no {kind[:60]} is taken here\n  fix: one of {', '.join(KINDS)}", "not-supported", 404
        )
    each = entry(1, body, kind=kind, id=id)
    each.if_match = _version(request.headers.get("if-match"))
    Reading(request.app.state.service, actor).take([each])
    if each.problems:
        return told(fhir_out.outcome(*each.problems, *_notes(each)), _status(each))
    headers = {"Location": _location(request, each), "ETag": f'W/"{each.version}"'}
    prefer = request.headers.get("prefer", "")
    if not _kept(each) or "OperationOutcome" in prefer:
        return told(fhir_out.outcome(*_notes(each, least=True)), each.status, **headers)
    if "minimal" in prefer:
        return Response(None, each.status, headers)
    return told(each.resource | {"meta": {"versionId": str(each.version)}}, each.status, **headers)


def _answer(request: Request, each: Entry) -> Json:
    """What became of an entry of a Bundle."""
    status = _status(each)
    response: Json = {"status": WORDS.get(status, str(status))}
    if not each.problems:
        response |= {"location": _location(request, each), "etag": f'W/"{each.version}"'}
    if each.problems or each.notes:
        response["outcome"] = fhir_out.outcome(*each.problems, *_notes(each))
    return {"response": response}


def _kept(each: Entry) -> bool:
    """Whether a resource can be read here again."""
    return (
        bool(each.rows) or each.kind in ("Patient", "Encounter", "Medication", "Device") or each.status == 200
    )


def _status(each: Entry) -> int:
    codes = [said["code"] for said in each.problems]
    if not codes:
        return each.status
    return 403 if "forbidden" in codes else 412 if "conflict" in codes else 422


def _notes(each: Entry, *, least: bool = False) -> list[Json]:
    """What of a resource was not used."""
    found = [
        {"why": f"not used here: {note}", "severity": "information", "code": "informational"}
        for note in each.notes
    ]
    if least and not found:
        found = [{"why": "taken", "severity": "information", "code": "informational"}]
    return found


def _location(request: Request, each: Entry) -> str:
    return f"{base_of(request)}/{each.name}/_history/{each.version}"


def _outcome(error: FhirError) -> Json:
    return fhir_out.outcome(unsaid(error))


def _why_not(entries: Iterable[Entry], broken: dict[int, FhirError]) -> Json:
    """Why nothing of a transaction was stored, entry by entry."""
    said = [
        {**problem, "why": f"entry {each.place}: {problem['why']}"}
        for each in entries
        for problem in each.problems
    ]
    for place, error in broken.items():
        told_ = unsaid(error)
        said.append({**told_, "why": f"entry {place}: {told_['why']}"})
    return fhir_out.outcome(*said)


def _worst(entries: Iterable[Entry], broken: dict[int, FhirError]) -> int:
    codes = {_status(each) for each in entries if each.problems} | {error.status for error in broken.values()}
    return 403 if 403 in codes else 412 if codes == {412} else 422
