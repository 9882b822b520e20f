"""The ward board's rows: who is getting worse, why, what is missing and what is due, the worst first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tocsin.definitions.load import Library
from tocsin.definitions.scale import measures_of
from tocsin.definitions.shared import resting_on
from tocsin.plots.look import unit_text
from tocsin.watch import alert_log
from tocsin.watch.board import AlertLine, Board, Row
from tocsin.watch.clock import DAY, HOUR
from tocsin.watch.held import Held
from tocsin.watch.newest import Newest
from tocsin.watch.pages_words import clock, span, zone
from tocsin.watch.patient_view import age_of, asked, measured, state_of, titled
from tocsin.watch.people import Patient
from tocsin.watch.standing import Span, Standing
from tocsin.watch.sweep import Digest
from tocsin.watch.vitals import stale, vitals_of

if TYPE_CHECKING:
    from tocsin.watch.service import Service

#: Rows shown in full; calm patients beyond are counted.
MOST = 200
#: How long a change of grade is news.
NEWS = 6 * HOUR
HOURS = 24
NOTHING, LOADING = "nothing is charted yet", "the chart is still being read"
RISES = ("rise", "new-grade")


def board_of(service: Service, scale: str, ward: str | None = None, q: str = "") -> Board:
    """Everybody watched, in the order in which people look."""
    now = service.clock.now()
    everybody = service.people.watched()
    here = [each for each in everybody if (not ward or each.ward == ward) and _found(service, each, q)]
    with service.store.reading() as con:
        open_now = alert_log.open_alerts(con, now, shadow=True)
    told: dict[str, list[Mapping[str, Any]]] = {}
    for alert in open_now:
        told.setdefault(alert["patient_id"], []).append(alert)
    rows = [
        _row(service, each, scale, now, told.get(each.patient_id, ()))
        for each in _first(service, here, scale, told)
    ]
    rows.sort(key=lambda row: _order(row, service))
    needing = sum(row.needs for row in rows)
    return Board(
        scale, now, service.received, tuple(rows), len(here), needing,
        sum(row.state in ("unmeasured", "lapsed") for row in rows),
        tuple(sorted({each.ward for each in everybody if each.ward})), len(here) - len(rows),
    )  # fmt: skip


def _found(service: Service, who: Patient, q: str) -> bool:
    """Whether every word asked for is in bed, name as shown, record number or therapy."""
    if not q:
        return True
    held = service.memory.held.get(who.patient_id)
    therapy = latest_dose(held.newest, 0, service.lib)[0] if held else ""
    told = f"bed {who.bed or ''} {initials(who)} {who.record_number or ''} {therapy}".lower()
    return all(word in told for word in q.lower().split())


def _first(
    service: Service, here: Sequence[Patient], scale: str, told: Mapping[str, Any]
) -> Sequence[Patient]:
    """Those shown: all of a ward; of very many, whoever has an alert or the highest grades."""
    if len(here) <= MOST:
        return here

    def key(each: Patient) -> tuple[bool, int, int, str]:
        standing = service.standing(each.patient_id).get(scale)
        if standing is None:
            return each.patient_id not in told, 0, -9, each.bed or ""
        worst = max(standing.grade, standing.proven)
        return each.patient_id not in told, -worst, standing.grade - standing.up_to, each.bed or ""

    return sorted(here, key=key)[:MOST]


def _row(service: Service, who: Patient, scale: str, now: int, told: Sequence[Mapping[str, Any]]) -> Row:
    lib, held = service.lib, service.memory.held.get(who.patient_id) or Held()
    loading = service.health.loading > 0 and who.patient_id not in service.memory.held
    standing = held.standing.get(scale) or unknown(lib, scale, now, loading)
    tz = zone(who.time_zone or service.settings.time_zone)
    state = state_of(standing)
    spans = held.spans.get(scale, [])
    changed_from, changed_at = change(spans, now)
    therapy, hours, number = latest_dose(held.newest, now, lib)
    lines = tuple(
        AlertLine(
            each["id"], each["kind"], alert_log.text_of(each, lib), each["raised"], bool(each["acknowledged"])
        )
        for each in told
    )
    fresh = any(not each["acknowledged"] and not each["shadow"] for each in told)
    digest = service.sweep.digests.get(who.patient_id, Digest(0))
    resting = rests_on(lib, scale, standing.because)
    needs = fresh or state == "lapsed"
    return Row(
        who.patient_id, who.ref, who.bed or "", who.ward or "", initials(who), age_of(who.birth_date, now),
        {"female": "F", "male": "M"}.get(who.sex or "", ""), therapy, hours, number, scale,
        standing.grade, standing.up_to, standing.proven, standing.proven_at, standing.ambiguous,
        tuple(titled(lib.scale(scale), name) for name in standing.because),
        tuple(measured(lib, name) for name in standing.waiting_for),
        changed_from, changed_at, state, line_of(standing, held.newest, state, now, tz, lib),
        vitals_of(held.newest, now, resting, lib), digest.due, digest.clocks, strip(spans, now), lines, needs,
        not needs and not told and state == "graded" and standing.grade == 0,
    )  # fmt: skip


def unknown(lib: Library, scale: str, now: int, loading: bool = False) -> Standing:
    """Where somebody stands of whom nothing is charted, or whose chart is still being read: nothing is ruled
    out."""
    item, waits = lib.scale(scale), LOADING if loading else NOTHING
    return Standing(scale, now, now, 0, item.top, False, (), (waits,), (), (), item.hash, 0, None)


def initials(who: Patient) -> str:
    """A name as others on the ward may read it; the number where no name is known.

    >>> from tocsin.watch.people import Patient
    >>> initials(Patient("p-1", "r", "Ada van der Berg", *[None] * 9, 0, None, None))
    'A. B.'
    """
    words = (who.name or "").split()
    if not words:
        return who.patient_id[:16]
    return " ".join(f"{word[0].upper()}." for word in dict.fromkeys((words[0], words[-1])))


def change(spans: Sequence[Span], now: int) -> tuple[int | None, int | None]:
    """The grade before this one, where that is news, and since when this one stands.

    >>> change([Span(0, 0, 0), Span(5, 2, 2), Span(9, 2, 4)], 10)
    (0, 5)
    """
    if not spans:
        return None, None
    since, before = spans[-1].start, None
    for run in reversed(spans):
        if run.grade != spans[-1].grade:
            before = run.grade
            break
        since = run.start
    return (before if now - since < NEWS else None), since


def strip(spans: Sequence[Span], now: int) -> tuple[tuple[int, int] | None, ...]:
    """The last 24 hours, each the highest grade and `up_to` within it; None before the record."""
    hours: list[tuple[int, int] | None] = []
    for hour in range(HOURS):
        start = now - (HOURS - hour) * HOUR
        within = [
            run
            for i, run in enumerate(spans)
            if run.start < start + HOUR and (i + 1 == len(spans) or spans[i + 1].start > start)
        ]
        if within:
            hours.append((max(run.grade for run in within), max(run.up_to for run in within)))
        else:
            hours.append(None)
    return tuple(hours)


def latest_dose(newest: Newest, now: int, lib: Library) -> tuple[str, float | None, int | None]:
    """The therapy given last, hours since, and which dose it was."""
    if not newest.doses:
        return "", None, None
    name, doses = max(newest.doses.items(), key=lambda item: item[1].last)
    return lib.measure(name).title, (now - doses.last) / HOUR, doses.given


def line_of(standing: Standing, newest: Newest, state: str, now: int, tz: Any, lib: Library) -> str:
    """One sentence: what the grade rests on, and what nobody measured."""
    parts = []
    if standing.because:
        scale = lib.scale(standing.scale)
        parts.append("; ".join(titled(scale, name) for name in standing.because))
        parts[-1] += f" since {clock(standing.start, now, tz)}"
        parts += running(newest, now, lib)
    if state != "graded":
        parts.append(gap(standing.waiting_for, newest, now, lib))
    return "; ".join(part for part in parts if part)


def running(newest: Newest, now: int, lib: Library) -> list[str]:
    """Infusions that run, with their rates."""
    found = []
    for name, reading in sorted(newest.readings.items()):
        measure = lib.measure(name)
        if measure.kind != "infusion" or reading.text == "absent" or reading.value == 0:
            continue
        if (reading.end is not None and reading.end <= now) or stale(name, reading, now, lib):
            continue
        rate = "rate unknown" if reading.value is None else f"{reading.value:.3g} {unit_text(measure.unit)}"
        found.append(f"{measure.title.lower()} {rate}")
    return found


def gap(waiting: Iterable[str], newest: Newest, now: int, lib: Library) -> str:
    """What nobody measured, for how long: the longest first, three at most."""
    ages: dict[str, int | None] = {}
    for name in waiting:
        if name in (NOTHING, LOADING):
            return name
        reading = newest.readings.get(name)
        what = asked(lib, name)
        known = [age for age in (ages.get(what), now - reading.time if reading else None) if age is not None]
        ages[what] = min(known, default=None)
    parts = []
    if old := sorted(((age, what) for what, age in ages.items() if age is not None), reverse=True)[:3]:
        parts.append("nobody measured " + ", ".join(f"{what} for {span(age)}" for age, what in old))
    if never := sorted(what for what, age in ages.items() if age is None):
        more = f" and {len(never) - 3} more" if len(never) > 3 else ""
        parts.append(f"never measured: {', '.join(never[:3])}{more}")
    return "; ".join(parts) or "more is not ruled out"


@lru_cache(maxsize=4096)
def rests_on(lib: Library, scale: str, because: tuple[str, ...]) -> frozenset[str]:
    """The measures that the findings of a grade read."""
    findings = lib.scale(scale).findings
    known = [name for name in because if name in findings]
    return frozenset(measure for each in resting_on(findings, known) for measure in measures_of(each, lib))


@lru_cache(maxsize=512)
def usual_onset(lib: Library, therapy: str) -> float | None:
    """The usual day of onset after a therapy, where trials say; the earliest of its indications."""
    indications = lib.measure(therapy).raw.get("indication", ())
    days = [each.get("onset_median") for each in indications]
    return min((float(day) for day in days if isinstance(day, (int, float))), default=None)


def from_onset(newest: Newest, now: int, lib: Library) -> float:
    """How far from the usual onset of the latest therapy, in days; very far where it is not known."""
    if not newest.doses:
        return math.inf
    name, doses = max(newest.doses.items(), key=lambda item: item[1].last)
    onset = usual_onset(lib, name)
    return math.inf if onset is None else abs((now - doses.last) / DAY - onset)


def _order(row: Row, service: Service) -> tuple[bool, int, bool, int, float, str]:
    """Unacknowledged rises and lapses, the highest grade proven and not ruled out since, the widest gap,
    then whoever is nearest the usual onset of the therapy."""
    risen = any(each.kind in RISES and not each.acknowledged for each in row.alerts)
    pressing = risen or row.state == "lapsed"
    held = service.memory.held.get(row.patient_id)
    near = from_onset(held.newest, service.clock.now(), service.lib) if held else math.inf
    worst = max(row.grade, row.proven)
    proven_now = risen and row.state != "lapsed"
    return not pressing, -worst, not proven_now, row.grade - row.up_to, near, row.bed.zfill(8)
