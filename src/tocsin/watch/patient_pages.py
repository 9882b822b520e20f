"""One patient's page and what can be done on it. The page itself is quick; its heavier parts follow it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import pyarrow.compute as pc
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from tocsin.watch import auth as doors
from tocsin.watch import pages_forms as forms
from tocsin.watch import patient_view as view
from tocsin.watch.board_pages import Writer, asked_of, line, seen_by, titles, weight
from tocsin.watch.clock import moment_of
from tocsin.watch.pages_advice import concealed, side_by_side
from tocsin.watch.pages_look import known, page
from tocsin.watch.pages_reads import part_or_page
from tocsin.watch.pages_reads import person as reader_of
from tocsin.watch.pages_words import zone
from tocsin.watch.picture import picture
from tocsin.watch.roles import Actor, may

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(doors.permitted("patients:read"))]
Judge = Annotated[Actor, Depends(doors.permitted("attribution:write"))]
FACTS = 60
EMPTY = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="40">'
    '<text x="0" y="24" fill="currentColor">Nothing is charted.</text></svg>'
)
UNSAID = "allergies: not in the record, ask"
STYLE = re.compile(r"<style>.*?</style>", re.S)


@router.get("/patient/{ref}", response_class=HTMLResponse)
def patient(request: Request, ref: str, actor: Reader, scale: str = "", done: str = "") -> HTMLResponse:
    """The patient: who, the grade under each scale, the picture, and forms."""
    return whole(request, ref, actor, scale=scale, done=done)


def person(request: Request, ref: str, actor: Actor, part: str = "page") -> str:
    """Whose page an address means; the page of a record that was merged is that of its person."""
    return str(request.app.state.service.people.person(reader_of(request, ref, actor, part)))


def whole(
    request: Request, ref: str, actor: Actor, *, scale: str = "", done: str = "", status: int = 200,
    failed: str = "", errors: Mapping[str, str] | None = None, typed: Mapping[str, str] | None = None,
) -> HTMLResponse:  # fmt: skip
    """The page, with what was wrong in the form `failed` and what had been typed there."""
    patient_id = person(request, ref, actor)
    service = request.app.state.service
    typed = dict(typed or {})
    context = {
        **begun(request, patient_id, actor, scale), "done": DONE.get(done, ""), "failed": failed,
        "errors": dict(errors or {}), "typed": typed, "vital_fields": shapes(service.lib),
        "ice_items": forms.ice_items(service.lib), "signs": forms.SIGNS,
        "choices": forms.choices(service.lib),
        "measure": chosen(service.lib, typed.get("measure", "")),
    }  # fmt: skip
    return page(request, "patient.html", status=status, **context)


#: What the page says after a form was taken.
DONE = {
    "vitals": "Charted. The grade is already the new one.",
    "fact": "Added. The grade is already the new one.",
    "attribution": "Noted. It holds for 24 h, or until the time given.",
    "ice": "ICE recorded.",
    "corrected": "Corrected. The row before it stays in the record, marked as replaced.",
    "acknowledged": "Acknowledged.",
    "same": "This was charted already, with the same time and value. Nothing was added.",
}


def begun(request: Request, patient_id: str, actor: Actor, scale: str) -> dict[str, Any]:
    """What the page and its parts need."""
    service = request.app.state.service
    now = service.clock.now()
    scale = scale if scale in service.scales else service.scales[0]
    with service.store.reading() as con:
        who = view.person_of(con, patient_id, now)
        rows = [row for row in seen_by(con, service, actor) if row["patient_id"] == patient_id]
        asked = asked_of(con, now).get(who.ref)
    standing = service.standing(patient_id)
    return {
        "who": who, "scale": scale, "scales": titles(service), "asked": asked,
        "cards": view.cards(standing, service.lib), "tz": zone_of(request, who), "local": who.time_zone,
        "alerts": [line(row, {}, service) for row in sorted(rows, key=weight)],
        "may_write": may(actor, "facts:write"), "may_act": may(actor, "alerts:act"),
        "may_judge": may(actor, "attribution:write"), "may_invite": may(actor, "home:invite"),
    }  # fmt: skip


def zone_of(request: Request, who: view.Person) -> Any:
    """The patient's time zone, else the ward's."""
    return zone(who.time_zone) if who.time_zone else known(request)["tz"]


def shapes(lib: Any) -> list[dict[str, Any]]:
    """The fields of the form for vital signs."""
    return [{**forms.shape(lib.measure(name)), "label": label} for name, label in forms.VITAL_FIELDS]


def chosen(lib: Any, name: str) -> dict[str, Any] | None:
    """What the form asks for the measure chosen."""
    if name not in lib.measures or lib.measure(name).kind == "word":
        return None
    return forms.shape(lib.measure(name))


@router.get("/patient/{ref}/now", response_class=HTMLResponse)
def standing(request: Request, ref: str, actor: Reader, scale: str = "") -> HTMLResponse:
    """The grades and the alerts alone."""
    patient_id = person(request, ref, actor)
    return part_or_page(request, "patient-now.html", "Now", **begun(request, patient_id, actor, scale))


@router.get("/patient/{ref}/fields", response_class=HTMLResponse)
def fields(request: Request, ref: str, actor: Writer, measure: str = "") -> HTMLResponse:
    """The form for one measure: its own units and words."""
    patient_id = person(request, ref, actor)
    service = request.app.state.service
    context = begun(request, patient_id, actor, "")
    return part_or_page(
        request, "form-fact.html", "Add a fact", **context, errors={}, typed={"measure": measure}, failed="",
        choices=forms.choices(service.lib), measure=chosen(service.lib, measure),
    )  # fmt: skip


@router.get("/patient/{ref}/why", response_class=HTMLResponse)
def why(request: Request, ref: str, actor: Reader, scale: str = "") -> HTMLResponse:
    """Why this grade, and what would change it."""
    patient_id = person(request, ref, actor)
    service = request.app.state.service
    scale = scale if scale in service.scales else service.scales[0]
    if scale not in service.standing(patient_id):
        return part_or_page(request, "nothing-charted.html", "Why this grade")
    told = view.why_of(service, patient_id, scale)
    return part_or_page(request, "why.html", "Why this grade", **told, **zoned(request, patient_id))


@router.get("/patient/{ref}/advice", response_class=HTMLResponse)
def advice(request: Request, ref: str, actor: Reader) -> HTMLResponse:
    """What guidelines and label ask for, side by side."""
    patient_id = person(request, ref, actor)
    service = request.app.state.service
    answer = service.advice_of(patient_id)
    if not answer:
        return part_or_page(request, "nothing-charted.html", "Advice")
    zoned_ = zoned(request, patient_id)
    told = side_by_side(service, answer, doses=shows_doses(service), now=service.clock.now(), tz=zoned_["tz"])
    return part_or_page(request, "advice.html", "Advice", **told, **zoned_)


def shows_doses(service: Any) -> bool:
    """A demonstration shows amounts without approval: no real person is treated."""
    return bool(service.settings.demo)


def zoned(request: Request, patient_id: str) -> dict[str, Any]:
    """The patient and the clock times are told in."""
    service = request.app.state.service
    with service.store.reading() as con:
        who = view.person_of(con, patient_id, service.clock.now())
    return {"who": who, "tz": zone_of(request, who)}


@router.get("/patient/{ref}/timeline.svg")
def timeline(request: Request, ref: str, actor: Reader, theme: str = "light") -> Response:
    """The course as a picture."""
    patient_id = person(request, ref, actor)
    service = request.app.state.service
    who = zoned(request, patient_id)["who"]
    svg = picture(
        service, patient_id, theme="dark" if theme == "dark" else "light", zone=who.time_zone or "UTC",
        scales=tuple(service.scales),
    )  # fmt: skip
    if svg is None:
        svg = EMPTY
    return Response(svg, media_type="image/svg+xml")


@router.get("/patient/{ref}/facts-list", response_class=HTMLResponse)
def facts(request: Request, ref: str, actor: Reader, all: bool = False) -> HTMLResponse:
    """What was charted, newest first."""
    patient_id = person(request, ref, actor)
    service = request.app.state.service
    table = service.facts_of(patient_id)
    rows = table.sort_by([("time", "descending")])
    rows = (rows if all else rows.slice(0, FACTS)).to_pylist()
    told = [{**view.charted(row, service.lib), "unit": row.get("unit") or ""} for row in rows]
    return part_or_page(
        request, "facts.html", "Charted", rows=told, total=table.num_rows,
        may_write=may(actor, "facts:write"), **zoned(request, patient_id),
    )  # fmt: skip


async def filled(request: Request) -> dict[str, str]:
    """The fields of the form sent, as text."""
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


Filled = Annotated[dict[str, str], Depends(filled)]


@router.post("/patient/{ref}/vitals")
def add_vitals(request: Request, ref: str, actor: Writer, form: Filled) -> Response:
    """Chart vital signs."""
    patient_id, now, tz = opened(request, ref, actor)
    entry = forms.vitals(form, patient_id, now, tz, request.app.state.service.lib)
    return taken(request, ref, actor, form, entry, "vitals")


@router.post("/patient/{ref}/facts")
def add_fact(request: Request, ref: str, actor: Writer, form: Filled) -> Response:
    """Chart any one fact."""
    patient_id, now, tz = opened(request, ref, actor)
    entry = forms.single(form, patient_id, now, tz, request.app.state.service.lib)
    return taken(request, ref, actor, form, entry, "fact")


@router.post("/patient/{ref}/attribution")
def attribute(request: Request, ref: str, actor: Judge, form: Filled) -> Response:
    """A clinician's word: this sign has another cause."""
    patient_id, now, tz = opened(request, ref, actor)
    entry = forms.attribution(form, patient_id, now, tz)
    return taken(request, ref, actor, form, entry, "attribution")


@router.post("/patient/{ref}/ice")
def record_ice(request: Request, ref: str, actor: Writer, form: Filled) -> Response:
    """Record ICE."""
    patient_id, now, tz = opened(request, ref, actor)
    entry = forms.ice(form, patient_id, now, tz, request.app.state.service.lib)
    return taken(request, ref, actor, form, entry, "ice")


@router.get("/patient/{ref}/correct", response_class=HTMLResponse)
def correcting(request: Request, ref: str, actor: Writer, source: str = "") -> HTMLResponse:
    """The form to correct or withdraw one row of the chart."""
    patient_id = person(request, ref, actor)
    return corrected_page(request, patient_id, source, {}, {})


@router.post("/patient/{ref}/correct")
def correct(request: Request, ref: str, actor: Writer, form: Filled) -> Response:
    """Correct or withdraw one row of the chart: a new row that replaces it."""
    patient_id, now, tz = opened(request, ref, actor)
    service = request.app.state.service
    fact = sourced(service, patient_id, form.get("source", ""))
    entry = forms.correction(form, fact, fact["patient_id"], now, tz, service.lib)
    told = stored(request, ref, actor, form, entry, "corrected")
    return told or corrected_page(request, patient_id, form.get("source", ""), entry.errors, form)


def corrected_page(
    request: Request, patient_id: str, source: str, errors: Mapping[str, str], typed: Mapping[str, str]
) -> HTMLResponse:
    """The form for one row."""
    service = request.app.state.service
    fact = sourced(service, patient_id, source)
    where = zoned(request, patient_id)
    return page(
        request, "correct.html", status=422 if errors else 200, fact=view.charted(fact, service.lib),
        measure=forms.shape(service.lib.measure(fact["measure"])), source=source, errors=dict(errors),
        typed=dict(typed), local=f"{fact['time'].astimezone(where['tz']):%Y-%m-%dT%H:%M}",
        value="" if fact["value"] is None else f"{fact['value']:g}", unit=fact["unit"] or "",
        word=fact["text"] or "", **where,
    )  # fmt: skip


def sourced(service: Any, patient_id: str, source: str) -> dict[str, Any]:
    """The one fact of this patient that has this source; 404 where there is none."""
    table = service.facts_of(patient_id)
    found = table.filter(pc.equal(table["source"], source)).to_pylist() if source else []
    if not found:
        raise HTTPException(404)
    fact: dict[str, Any] = found[0]
    return fact


def opened(request: Request, ref: str, actor: Actor) -> tuple[str, int, Any]:
    """Whose form this is, the present, and the zone its times are typed in."""
    patient_id = person(request, ref, actor, "form")
    return patient_id, request.app.state.service.clock.now(), zoned(request, patient_id)["tz"]


def taken(
    request: Request, ref: str, actor: Actor, form: Mapping[str, str], entry: forms.Entry, what: str
) -> Response:
    """Store what a form said and go back to the page; or show the form again with what was wrong."""
    if gone := stored(request, ref, actor, form, entry, what):
        return gone
    return whole(request, ref, actor, status=422, failed=what, errors=entry.errors, typed=form)


def stored(
    request: Request, ref: str, actor: Actor, form: Mapping[str, str], entry: forms.Entry, what: str
) -> Response | None:
    """Store what a form said; None where it could not be, with why in `entry.errors`."""
    done = what
    if not entry.errors:
        receipt = request.app.state.service.ingest(entry.rows, actor)
        entry.blame(list(receipt.rejected))
        done = what if receipt.stored else "same"
    if entry.errors:
        return None
    scale = form.get("scale", "")
    kept = f"&scale={scale}" if re.fullmatch(r"[a-z0-9.-]+", scale) else ""
    return RedirectResponse(f"/patient/{ref}?done={done}{kept}", status_code=303)


@router.get("/patient/{ref}/sheet", response_class=HTMLResponse)
def sheet(request: Request, ref: str, actor: Reader) -> HTMLResponse:
    """The hand-over sheet, to print."""
    from tocsin.plots.sheet import html

    answer, sections, svg = handed(request, ref, actor)
    said = html(answer, sections, svg)
    # the page's own styles are refused by the browser here: they come from the service's address instead
    said = said.replace("<body>", "<body><main>", 1).replace("</body>", "</main></body>", 1)
    return HTMLResponse(STYLE.sub('<link rel="stylesheet" href="/sheet.css">', said, count=1))


@router.get("/sheet.css")
def sheet_style() -> Response:
    """How the hand-over sheet looks."""
    from tocsin.plots.sheet import STYLE

    return Response(STYLE, media_type="text/css")


def handed(request: Request, ref: str, actor: Actor) -> tuple[dict[str, Any], list[Any], str | None]:
    """The answer, the sections and the picture of a hand-over sheet; amounts only where approved."""
    from tocsin.plots.sheet_parts import parts

    patient_id = person(request, ref, actor, "sheet")
    service = request.app.state.service
    answer = service.advice_of(patient_id)
    if not answer:
        raise HTTPException(404)
    if not shows_doses(service):
        answer = concealed(answer, service.approved())
    who = zoned(request, patient_id)["who"]
    named = f"{who.name or patient_id}{', bed ' + who.bed if who.bed else ''}"
    said = {**answer, "patient_id": named}
    told = f"allergies: {who.allergies}" if who.allergies else UNSAID
    sections = [
        replace(part, lines=tuple(text.replace(UNSAID, told) for text in part.lines))
        for part in parts(said, moment_of(service.clock.now()))
    ]
    svg = picture(service, patient_id, theme="light", zone="UTC", scales=tuple(service.scales))
    return said, sections, svg
