"""Searching: what FHIR's search parameters ask of resources, and answers page by page.

A page's link to the next carries the moment of the first one, so that pages fit together whatever comes in
meanwhile. A parameter that is not understood is refused: leaving it out would answer another question.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from tocsin.watch.fhir_in import FhirError

Json = dict[str, Any]
#: Resources on a page, unless asked for, and at most.
PAGE, MOST = 50, 500
#: Parameters about the answer, and what each kind can be searched by.
ABOUT = ("_count", "_offset", "_asof", "_format", "_pretty", "_summary", "_total", "_sort", "_elements")
PARAMETERS = {
    "Observation": ("_id", "patient", "subject", "code", "category", "status", "date", "_lastUpdated"),
    "DetectedIssue": ("_id", "patient", "subject", "status", "code", "identified"),
    "Flag": ("_id", "patient", "subject", "status"),
    "Patient": ("_id", "identifier", "name", "birthdate", "gender", "active"),
}  # fmt: skip
FOREVER = datetime.max.replace(tzinfo=UTC)
PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb)?(\d{4}.*)")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a search asks for: parameters in their order, the page, and the moment it is about."""

    kind: str
    wanted: tuple[tuple[str, str], ...]
    count: int
    offset: int
    as_of: int | None
    newest_first: bool

    @property
    def done(self) -> tuple[str, ...]:
        """Parameters by which resources were fetched: those of a merged record name it as it was then."""
        return ("patient", "subject") if self.kind == "Observation" else ()

    def get(self, *names: str) -> list[str]:
        """Every value of parameters."""
        return [value for name, value in self.wanted if name in names]

    def patients(self) -> list[str] | None:
        """Ids of the patients asked for; None where it is not asked."""
        told = self.get("patient", "subject")
        return [value.rsplit("/", 1)[-1] for each in told for value in each.split(",")] if told else None


def asked(kind: str, parameters: Iterable[tuple[str, str]]) -> Asked:
    """Read a search. Raises `FhirError` where a parameter is not understood."""
    wanted: list[tuple[str, str]] = []
    about: dict[str, str] = {}
    for name, value in parameters:
        plain = name.removesuffix(":Patient")
        if name in ABOUT:
            about[name] = value
        elif plain in PARAMETERS[kind] and len(value) <= 2000:
            wanted.append((plain, value))
        else:
            known = ", ".join(PARAMETERS[kind])
            raise FhirError(
                f"{kind} cannot be searched by `{name[:60]}`\n  fix: one of {known}", "not-supported"
            )
    sort = about.get("_sort", "-date")
    if sort.lstrip("-") not in ("date", "_lastUpdated"):
        raise FhirError("results can be sorted by date alone", "not-supported")
    numbers = {
        name: _number(about.get(name), least, most)
        for name, least, most in (("_count", 0, 10**6), ("_offset", 0, 10**9), ("_asof", 0, 2**62))
    }
    count = PAGE if numbers["_count"] is None else min(numbers["_count"], MOST)
    count = 0 if about.get("_summary") == "count" else count
    return Asked(kind, tuple(wanted), count, numbers["_offset"] or 0, numbers["_asof"], sort.startswith("-"))


def _number(text: str | None, least: int, most: int) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,19}", text) or not least <= int(text) <= most:
        raise FhirError("a number in the search is none", "value")
    return int(text)


def matching(resources: Iterable[Json], search: Asked) -> list[Json]:
    """Those that a search asks for, in the order it asks for."""
    tests = [_test(name, value) for name, value in search.wanted if name not in search.done]
    found = [each for each in resources if all(test(each) for test in tests)]
    found.sort(key=lambda each: (when(each)[0] or "", each["id"]), reverse=search.newest_first)
    return found


def bundle(
    found: Sequence[Json],
    search: Asked,
    base: str,
    now: int,
    whole: Callable[[Json], Json],
) -> Json:
    """One page of what was found, with the link to the next; `whole` completes what is shown."""
    page = [whole(each) for each in found[search.offset : search.offset + search.count]]
    links = [{"relation": "self", "url": _link(search, base, search.offset, now)}]
    if search.count and search.offset + search.count < len(found):
        links.append({"relation": "next", "url": _link(search, base, search.offset + search.count, now)})
    return {
        "resourceType": "Bundle", "type": "searchset", "total": len(found), "link": links,
        "entry": [
            {"fullUrl": f"{base}/{each['resourceType']}/{each['id']}", "resource": each,
             "search": {"mode": "match"}}
            for each in page
        ],
    }  # fmt: skip


def _link(search: Asked, base: str, offset: int, now: int) -> str:
    more = {
        "_count": search.count, "_offset": offset, "_asof": search.as_of or now,
        "_sort": "-date" if search.newest_first else "date",
    }  # fmt: skip
    return f"{base}/{search.kind}?{urlencode([*search.wanted, *more.items()])}"


def when(resource: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Start and end of what a resource is about, as written."""
    for name in ("effective", "identified"):
        if at := resource.get(f"{name}DateTime"):
            return at, at
        if period := resource.get(f"{name}Period"):
            return period.get("start"), period.get("end")
    period = resource.get("period") or {}
    return period.get("start"), period.get("end")


def _test(name: str, value: str) -> Callable[[Json], bool]:
    if name in ("patient", "subject"):
        ids = {each.rsplit("/", 1)[-1] for each in value.split(",")}
        return lambda each: _subject(each) in ids
    if name in ("date", "identified", "birthdate", "_lastUpdated"):
        return _dated(name, value)
    if name in ("code", "category"):
        return lambda each: any(_token(coding, value) for coding in _codings(each, name))
    if name == "identifier":
        numbers = [part.rpartition("|")[2] for part in value.split(",")]
        return lambda each: any(said.get("value") in numbers for said in each.get("identifier") or ())
    if name == "name":
        words = value.lower()
        return lambda each: any(words in str(said.get("text", "")).lower() for said in each.get("name") or ())
    path = {"_id": "id", "gender": "gender", "status": "status", "active": "active"}[name]
    wanted = value.split(",")
    return lambda each: str(each.get(path)).lower() in wanted or str(each.get(path)) in wanted


def _subject(resource: Mapping[str, Any]) -> str:
    told = resource.get("subject") or resource.get("patient") or {}
    return str(told.get("reference", "")).rsplit("/", 1)[-1]


def _codings(resource: Mapping[str, Any], name: str) -> list[Json]:
    told = resource.get(name) or ()
    concepts = [told] if isinstance(told, dict) else list(told)
    codings = [coding for concept in concepts for coding in concept.get("coding") or ()]
    for part in resource.get("component") or () if name == "code" else ():
        if "valueQuantity" in part:
            codings += (part.get("code") or {}).get("coding") or ()
    return codings


def _token(coding: Mapping[str, Any], value: str) -> bool:
    """Whether a coding is one of `system|code,code`."""
    for each in value.split(","):
        system, bar, code = each.rpartition("|")
        if code in ("", coding.get("code")) and (not bar or system == coding.get("system", "")):
            return True
    return False


def _dated(name: str, value: str) -> Callable[[Json], bool]:
    found = PREFIXED.fullmatch(value.strip())
    if found is None:
        raise FhirError("a date in the search is none\n  fix: as ge2026-03-01", "value")
    prefix, (low, high) = found[1] or "eq", span(found[2])

    def test(each: Json) -> bool:
        if name == "birthdate":
            start, end = each.get("birthDate"), each.get("birthDate")
        elif name == "_lastUpdated":
            start = end = (each.get("meta") or {}).get("lastUpdated")
        else:
            start, end = when(each)
        if start is None:
            return False
        first, last = span(start)[0], FOREVER if end is None else span(end)[1]
        return {
            "eq": low <= first and last <= high, "ne": not (low <= first and last <= high),
            "gt": last > high, "ge": last > high or low <= first, "lt": first < low,
            "le": first < low or last <= high, "sa": first >= high, "eb": last <= low,
        }[prefix]  # fmt: skip

    return test


def span(text: str) -> tuple[datetime, datetime]:
    """First and last moment of a date that may be as short as a year; without an offset it is read as UTC.

    Raises `FhirError` where it is none.
    """
    text = text.strip().replace(" ", "+")
    try:
        if re.fullmatch(r"\d{4}", text):
            start = datetime.fromisoformat(f"{text}-01-01T00:00+00:00")
            return start, start.replace(year=start.year + 1)
        if re.fullmatch(r"\d{4}-\d{2}", text):
            start = datetime.fromisoformat(f"{text}-01T00:00+00:00")
            return start, (start + timedelta(days=32)).replace(day=1)
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            start = datetime.fromisoformat(f"{text}T00:00+00:00")
            return start, start + timedelta(days=1)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise FhirError("a date in the search is none\n  fix: as ge2026-03-01", "value") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment, moment
