"""One request for cards, answered: whose it is, what is known of them, what is sent, and what follows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.card import card_rules
from tocsin.definitions.load import Library
from tocsin.facts import resolve, settle
from tocsin.guidance.answer import advise
from tocsin.watch import cds_cards, cds_facts, cds_feedback
from tocsin.watch.cds_facts import NEEDED, Chart, LackingError
from tocsin.watch.cds_requests import Hook
from tocsin.watch.cds_trust import Client
from tocsin.watch.clock import moment_of
from tocsin.watch.pages_advice import concealed
from tocsin.watch.people import Patient
from tocsin.watch.roles import Actor


@lru_cache(maxsize=8)
def templates_of(lib: Library, scales: tuple[str, ...]) -> Mapping[str, str]:
    """The prefetch templates of the scales watched."""
    return cds_facts.templates(lib, scales)


def answer(service: Any, client: Client, docs: str, hook: Hook, name: str) -> list[dict[str, Any]]:
    """The cards of one request, kept for feedback, the reading noted.

    Raises `LackingError` where nothing can be said without what was neither sent nor fetched, and
    `TooMuchError`.
    """
    if service.settings.shadow or hook.lay:
        return []
    lib, now = service.lib, service.clock.now()
    chart = cds_facts.chart(
        hook, templates_of(lib, service.scales), client.fhir_servers, lib, now, service.codes
    )
    who = _known(service, client.patient_prefix + hook.patient)
    if who is None and (lacking := [key for key in NEEDED if key in chart.lacking]):
        raise LackingError(
            f"this patient is not known here, and not sent nor to be had: {', '.join(lacking)}\n"
            "  fix: send the prefetch, or a listed fhirServer with fhirAuthorization"
        )
    given = _cards(service, client, docs, hook, who, chart, now)
    actor = Actor(f"{client.name}: {hook.user}"[:200], "cds", None, "cds")
    cds_feedback.shown(
        service.store, actor, client.name, name, hook.hook, None if who is None else who.ref,
        [_kept(card, row, who) for card, row in given],
    )  # fmt: skip
    return [card for card, _ in given]


def _known(service: Any, patient_id: str) -> Patient | None:
    """The person of this id, where there is one."""
    service.people.admit([patient_id])
    found = service.people.of.get(patient_id)
    return None if found is None else service.people.of.get(found.person)


def _cards(
    service: Any, client: Client, docs: str, hook: Hook, who: Patient | None, chart: Chart, now: int
) -> list[tuple[dict[str, Any], Mapping[str, Any]]]:
    """Cards, each with the answer's row it shows."""
    lib = service.lib
    if who is not None and who.birth_date and chart.born and who.birth_date != chart.born:
        return [(cds_cards.differing(docs), {})]
    said, stored = _said(service, hook, who, chart, now)
    if said and not service.settings.demo:
        said = concealed(said, service.approved())
    known = who is not None and who.discharged is None
    page = f"{client.audience}/patient/{who.ref}" if who is not None else ""
    ground = cds_cards.Ground(chart, stored, who is not None, page, client.launch, docs)
    rows = said.get("grades", {})
    made = cds_cards.cards(said, service.scales, ground, card_rules(lib), lib, watched=known)
    return [(card, {"scale": scale, **rows[scale]}) for scale, card in made]


def _said(
    service: Any, hook: Hook, who: Patient | None, chart: Chart, now: int
) -> tuple[Mapping[str, Any], int]:
    """What `advise` says of the stored facts and the chart's together, and how many were stored."""
    person = hook.patient if who is None else who.patient_id
    rows, stored = chart.rows, 0
    if who is not None and not rows.num_rows:
        return service.advice_of(person), service.sweep.stored(person).num_rows
    if who is not None:
        mine = service.sweep.stored(person)
        stored = mine.num_rows
        rows = _under(person, mine, rows)
    if not rows.num_rows:
        return {}, stored
    moment = moment_of(now)
    facts = resolve(settle(rows, lib=service.lib).table)
    facts = facts.filter(pc.less_equal(facts["time"], moment))
    if not facts.num_rows:
        return {}, stored
    return next(iter(advise(facts, moment, lib=service.lib)), {}), stored


def _under(person: str, *parts: pa.Table) -> pa.Table:
    """Rows of several records as one person's."""
    table = pa.concat_tables(parts)
    place = table.schema.get_field_index("patient_id")
    return table.set_column(place, "patient_id", pa.array([person] * table.num_rows, pa.string()))


def _kept(card: Mapping[str, Any], row: Mapping[str, Any], who: Patient | None) -> cds_feedback.Shown:
    return cds_feedback.Shown(
        card["uuid"], None if who is None else who.patient_id, card["indicator"], row.get("scale"),
        row.get("grade"), row.get("up_to"), row.get("definition"),
    )  # fmt: skip
