"""A record system's FHIR resources as facts in memory, beside those stored: graded, and forgotten.

CDS Hooks 2.0, "Providing FHIR Resources to a CDS Service": what is asked for to be sent along, what of it
was sent, and how the rest is fetched. Nothing of it is stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from types import NoneType
from typing import Any
from urllib.parse import urljoin, urlsplit

import orjson
import pyarrow as pa

from tocsin.definitions.load import Library
from tocsin.definitions.schema import TocsinError
from tocsin.facts import read_rows, together
from tocsin.facts.columns import READ
from tocsin.grading.compile import compiled
from tocsin.sources.codes import Codes
from tocsin.sources.fhir import entries
from tocsin.sources.resources import COLUMNS, Resources, end_of_day
from tocsin.sources.tally import Tally
from tocsin.watch.births import age
from tocsin.watch.cds_fetch import FetchError, get
from tocsin.watch.cds_requests import Hook
from tocsin.watch.intake import AHEAD, LONGEST

#: Without these nothing can be said of somebody not known here: no drug sent would read as no drug given.
NEEDED = ("vital-signs", "medications")
#: Resources of one request.
MOST = 50_000
#: Seconds for everything that is fetched, and pages of one search.
PATIENCE, PAGES = 3.0, 10
TEXTS = [place for place, column in enumerate(COLUMNS) if pa.types.is_string(column.type)]
TIME, MEASURE, RECORDED = (COLUMNS.get_field_index(name) for name in ("time", "measure", "recorded"))
NEVER = float("-inf")
_fetching = ThreadPoolExecutor(16, thread_name_prefix="tocsin-cds")


class LackingError(TocsinError):
    """Data that was neither sent nor could be fetched (CDS Hooks 2.0: 412 Precondition Failed)."""


class TooMuchError(TocsinError):
    """More resources than one request may hold."""


@dataclass(slots=True)
class Chart:
    """What a request's resources say. `rows` are charted rows as `settle` takes them.

    `lacking` are the keys neither sent nor fetched, `unread` the resources and rows that could not be read,
    `others` those about somebody else, `cut` the keys of which there is more than came.
    """

    rows: pa.Table = field(default_factory=READ.empty_table)
    lacking: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    unread: int = 0
    others: int = 0
    born: str | None = None


def templates(lib: Library, scales: Sequence[str]) -> dict[str, str]:
    """The prefetch templates, by key: reads and searches with the tokens that the hooks offer, the newest
    first, and only of what is graded or advised on. What is needed at the bedside and stands in no category
    (oxygen, consciousness) is asked for by its codes."""
    measures = set(compiled(tuple(scales), lib).measures)
    shelf = {name for name in measures if name in lib.measures and lib.measures[name].shelf == "measures"}
    codes = sorted(
        code for (system, code), (measure, _) in lib.codes().items() if system == "LOINC" and measure in shelf
    )
    of = "patient={{context.patientId}}"
    bedside = ",".join(f"http://loinc.org|{code}" for code in codes)
    return {
        "patient": "Patient/{{context.patientId}}",
        "vital-signs": f"Observation?{of}&category=vital-signs&_sort=-date&_count=1000",
        "bedside": f"Observation?{of}&code={bedside}&_sort=-date&_count=1000",
        "laboratory": f"Observation?{of}&category=laboratory&_sort=-date&_count=500",
        "medications": f"MedicationAdministration?{of}&_sort=-effective-time&_count=500",
        "procedures": f"Procedure?{of}&_sort=-date&_count=200",
        "conditions": f"Condition?{of}&_count=200",
        "devices": f"DeviceUseStatement?{of}&_count=100",
    }


def chart(
    hook: Hook, wanted: Mapping[str, str], servers: Sequence[str], lib: Library, now: int, codes: Codes
) -> Chart:
    """Everything that was sent, and (where the server is listed) the rest, fetched.

    Raises `TooMuchError`.
    """
    sent = {key: value for key, value in hook.prefetch.items() if key in wanted}
    pages: dict[str, list[Any]] = {key: [value] for key, value in sent.items()}
    server = (hook.server or "").rstrip("/")
    cut: set[str] = set()
    if server and hook.bearer and server in servers:
        pages |= _fetched(hook, {key: each for key, each in wanted.items() if key not in sent}, pages, server)
    found: list[tuple[str, dict[str, Any]]] = []
    lacking = []
    broken = 0
    for key in wanted:
        parts = pages.get(key)
        if parts is None or any(_failed(part) for part in parts):
            lacking.append(key)
            continue
        if _next(parts[-1]):
            cut.add(key)
        for part in parts:
            try:
                found += [(key, resource) for _, resource in entries(part, 1)] if part is not None else []
            except (AttributeError, TypeError, KeyError, ValueError, RecursionError):
                broken += 1
                lacking.append(key)
                break
        if len(found) > MOST:
            raise TooMuchError(f"more than {MOST} resources were sent\n  fix: keep to `_count`")
    read = _Reading(hook.patient, lib, now, codes)
    rows = read.rows_of(resource for _, resource in found)
    return Chart(
        rows, tuple(dict.fromkeys(lacking)), tuple(sorted(cut)), read.unread + broken, read.others, read.born
    )


def _failed(part: Any) -> bool:
    """Whether the client says that it could not have it, or sent what is no resource."""
    if part is None:
        return False
    if not isinstance(part, dict) or not isinstance(part.get("resourceType"), str):
        return True
    return bool(part["resourceType"] == "OperationOutcome")


def _next(part: Any) -> str | None:
    """The address of the next page of a search, where there is one."""
    links = part.get("link") if isinstance(part, dict) else None
    for each in links if isinstance(links, list) else ():
        if isinstance(each, dict) and each.get("relation") == "next" and isinstance(each.get("url"), str):
            return str(each["url"])
    return None


def _fetched(
    hook: Hook, rest: Mapping[str, str], sent: Mapping[str, list[Any]], server: str
) -> dict[str, list[Any]]:
    """What was not sent, and the further pages of what was, each key by its own; what fails is left out."""
    deadline = time.monotonic() + PATIENCE
    tasks = {}
    for key, template in rest.items():
        filled = template.replace("{{context.patientId}}", hook.patient).replace("|", "%7C")
        tasks[key] = _fetching.submit(_pages, f"{server}/{filled}", [], server, hook.bearer or "", deadline)
    for key, parts in sent.items():
        if (more := _next(parts[-1])) is not None:
            tasks[key] = _fetching.submit(_pages, more, parts, server, hook.bearer or "", deadline)
    wait(tasks.values(), PATIENCE)
    found = {}
    for key, task in tasks.items():
        if task.done() and task.exception() is None and task.result():
            found[key] = task.result()
        task.cancel()
    return found


def _pages(url: str, had: list[Any], server: str, bearer: str, deadline: float) -> list[Any]:
    """One read or search with its further pages, as far as they lie on the same server."""
    parts, place = list(had), url
    headers = {"Authorization": f"Bearer {bearer}", "Accept": "application/fhir+json"}
    for _ in range(PAGES):
        place = urljoin(f"{server}/", place)
        if not _under(place, server):
            break
        try:
            body = get(place, deadline=deadline, headers=headers)
            parts.append(orjson.loads(body))
        except (FetchError, orjson.JSONDecodeError):
            break
        following = _next(parts[-1])
        if following is None:
            break
        place = following
    return parts


def _under(url: str, server: str) -> bool:
    """Whether an address lies on the server that is listed, as it is listed."""
    try:
        one, other = urlsplit(url), urlsplit(server)
        same = (one.scheme, one.hostname, one.port) == (other.scheme, other.hostname, other.port)
        plain = one.username is None and one.password is None and not one.fragment
        inside = one.path == other.path or one.path.startswith(f"{other.path.rstrip('/')}/")
    except ValueError:
        return False
    climbs = ".." in one.path or "%2e" in one.path.lower() or "\\" in url
    return same and plain and inside and not climbs and url.isascii() and url.isprintable() and " " not in url


class _Reading:
    """Resources of one patient as rows."""

    def __init__(self, patient: str, lib: Library, now: int, codes: Codes) -> None:
        self.patient, self.lib, self.now = patient, lib, now
        self.reading = Resources(codes, Tally())
        self.unread = self.others = 0
        self.born: str | None = None
        self.instants: dict[Any, tuple[int, float]] = {None: (0, NEVER)}

    def rows_of(self, resources: Iterable[dict[str, Any]]) -> pa.Table:
        """Charted rows, as `settle` takes them."""
        for resource in resources:
            if resource.get("resourceType") == "OperationOutcome":
                continue
            if _whose(resource) in (None, self.patient):
                self.reading.take(resource, "sent", 0)
            else:
                self.others += 1
        self.unread += len(self.reading.tally.rejects)
        rows = self._standing([row for row in self.reading.rows if row[0] == self.patient])
        if not rows:
            return READ.empty_table()
        arrays = [
            pa.array(column, kind)
            for column, kind in zip(zip(*rows, strict=True), COLUMNS.types, strict=True)
        ]
        batch = pa.RecordBatch.from_arrays(arrays, schema=COLUMNS)
        read, rejects = read_rows(batch, lib=self.lib, first_row=None)
        self.unread += sum(each == "rejected" for each in rejects["kind"].to_pylist())
        return together([read])

    def _standing(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Rows with their times: what holds always stands at the first fact, a death without an hour at the
        end of its day, an age at the first fact of each calendar year; as for files."""
        latest, good, always = self.now + AHEAD, [], []
        firsts: dict[int, tuple[float, str]] = {}
        texts = all_texts(rows)
        for row in rows:
            if row[MEASURE] == "death":
                row = (*row[:TIME], end_of_day(row[TIME], UTC), *row[TIME + 1 :])
            if row[TIME] is None and row[MEASURE] == "sex":
                always.append(row)
                continue
            if not texts and not is_text(row):
                self.unread += 1
                continue
            year, at = self._instant(row[TIME])
            # what happened in the future comes from a wrong clock
            if max(at, self._instant(row[RECORDED])[1]) > latest:
                self.unread += 1
                continue
            good.append(row)
            if year and (year not in firsts or at < firsts[year][0]):
                firsts[year] = (at, row[TIME])
        if firsts:
            first = min(firsts.values())[1]
            good += [(*row[:TIME], first, *row[TIME + 1 :]) for row in always if texts or is_text(row)]
            good += self._ages([each[1] for each in firsts.values()])
        return good

    def _instant(self, text: str | None) -> tuple[int, float]:
        """The same as `_instant`: the readings of a round have one time, which is read once."""
        found = self.instants.get(text)
        if found is None:
            found = self.instants[text] = _instant(text)
        return found

    def _ages(self, moments: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The age at moments, where the day of birth is known."""
        for who, born, source in self.reading.born:
            try:
                birth = date.fromisoformat(born) if who == self.patient and len(born) == 10 else None
            except (TypeError, ValueError):
                self.unread += 1
                continue
            if birth is None:
                continue
            self.born = born
            for text in moments:
                if (years := age(birth, datetime.fromisoformat(text).astimezone(UTC).date())) is not None:
                    told = {"time": text, "measure": "age", "value": years}
                    said = {"patient_id": who, "unit": "a", "source": source, **told}
                    yield tuple(said.get(name) for name in COLUMNS.names)


def all_texts(rows: Sequence[tuple[Any, ...]]) -> bool:
    """Whether every text of all rows is one, and none is too long: column by column, since it nearly always
    is so."""
    columns = list(zip(*rows, strict=True))
    return not rows or all(
        set(map(type, columns[place])) <= {str, NoneType}
        and max(map(len, filter(None, columns[place])), default=0) <= LONGEST
        for place in TEXTS
    )


def is_text(row: tuple[Any, ...]) -> bool:
    """Whether every text of a row is one, and none is too long."""
    texts = (row[place] for place in TEXTS)
    return all(each is None or (isinstance(each, str) and len(each) <= LONGEST) for each in texts)


def _instant(text: Any) -> tuple[int, float]:
    """Year and microseconds of a written time; (0, below all others) where it is none: refused later."""
    try:
        found = datetime.fromisoformat(text)
        if not found.tzinfo:
            return 0, NEVER
        return found.astimezone(UTC).year, found.timestamp() * 1_000_000
    except (TypeError, ValueError, OverflowError):
        return 0, NEVER


def _whose(resource: Mapping[str, Any]) -> str | None:
    """Whom a resource is about; None where it does not say, or is about nobody (a drug)."""
    if resource.get("resourceType") == "Patient":
        return str(resource.get("id"))
    reference = resource.get("subject") or resource.get("patient")
    told = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(told, str):
        return None
    kind, _, name = told.rpartition("/")
    # an id is one only beside its type: Device/7 is not Patient/7
    return name if kind.rpartition("/")[2] in ("", "Patient") else told
