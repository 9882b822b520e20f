"""What staff do about a patient's own page: invite, see who has access, end it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import segno
from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict

from tocsin.definitions.home import home_languages, home_texts
from tocsin.definitions.schema import near
from tocsin.watch import auth as doors
from tocsin.watch.api import Ref, answered, known_person, refused
from tocsin.watch.clock import moment_of
from tocsin.watch.home import access
from tocsin.watch.home.visit import ROOT, languages
from tocsin.watch.pages_look import page
from tocsin.watch.pages_reads import part_or_page, person
from tocsin.watch.roles import Actor

router = APIRouter()
Inviter = Annotated[Actor, Depends(doors.permitted("home:invite"))]


class Invited(BaseModel):
    """Whom to invite, and in which language the page speaks; none: the patient's, else English."""

    model_config = ConfigDict(extra="forbid")
    who: Literal["patient", "caregiver"] = "patient"
    language: str | None = None


def invited(
    request: Request, patient_id: str, actor: Actor, who: str, language: str | None
) -> access.Invitation:
    """A new invitation; raises `AccessError`."""
    service = request.app.state.service
    known, spoken = service.people.of.get(patient_id), home_languages(service.lib)
    if language is not None and language not in spoken:
        raise access.AccessError(
            f"the page does not speak `{language}`{near(language, spoken)}\n  fix: one of {', '.join(spoken)}"
        )
    own = ((known and known.language) or "").lower().split("-")[0]
    with service.store.writing() as con:
        return access.invite(
            con, service.clock, actor, patient_id, who=who,
            language=language or (own if own in spoken else spoken[0]),
        )  # fmt: skip


def address(request: Request, secret: str) -> str:
    """The link, by the name under which the service was asked."""
    scheme = "https" if request.app.state.secure else request.url.scheme
    return f"{scheme}://{request.headers.get('host', request.url.netloc)}{ROOT}/open/{secret}"


def square(link: str) -> str:
    """The link as a QR code in SVG, black on white in either theme and on paper; shapes alone, no text. Never
    the code that goes with it: one photograph would then be enough to come in."""
    drawn = segno.make(link, error="m", micro=False)
    return Markup(drawn.svg_inline(border=4, dark="#000", light="#fff", omitsize=True, svgclass="square"))


@router.post("/patients/{ref}/home")
def invite(request: Request, ref: Ref, actor: Inviter, told: Invited) -> Response:
    """Invite a patient or caregiver to the patient's own page: a link and a code, both told this once."""
    patient_id = known_person(request, ref, actor, "home")
    try:
        made = invited(request, patient_id, actor, told.who, told.language)
    except access.AccessError as error:
        return refused(error, 409 if isinstance(error, access.NotNowError) else 422)
    return answered(
        {
            "id": made.id, "link": address(request, made.secret), "code": made.code,
            "expires": moment_of(made.expires), "tries": access.TRIES,
        }
    )  # fmt: skip


@router.get("/patients/{ref}/home")
def given(request: Request, ref: Ref, actor: Inviter) -> Response:
    """Who has access to the patient's own page."""
    patient_id = known_person(request, ref, actor, "home")
    times = ("made", "expires", "used", "ended", "seen")
    rows = [
        {**row, **{name: row[name] and moment_of(row[name]) for name in times}}
        for row in _listed(request, patient_id)
    ]
    for row in rows:
        row.pop("patient_id")
    return answered({"access": rows})


@router.post("/patients/{ref}/home/{number}/end")
def end(request: Request, ref: Ref, number: str, actor: Inviter) -> Response:
    """End an access: its link is dead, and its phones are signed out."""
    _end(request, known_person(request, ref, actor, "home"), number, actor)
    return answered({"done": "end"})


def _end(request: Request, patient_id: str, number: str, actor: Actor) -> None:
    service = request.app.state.service
    for name in service.people.names(service.people.person(patient_id)):
        with service.store.writing() as con:
            if access.end(con, service.clock, actor, name, number[:22]):
                return
    raise HTTPException(404)


def _listed(request: Request, patient_id: str) -> list[dict[str, Any]]:
    service = request.app.state.service
    names = service.people.names(service.people.person(patient_id))
    with service.store.reading() as con:
        return [dict(row) for row in access.listed(con, names, service.clock.now())]


# --- on the board ----------------------------------------------------------------------------------------


@router.get("/patient/{ref}/home-access", response_class=HTMLResponse, include_in_schema=False)
def access_part(request: Request, ref: str, actor: Inviter) -> HTMLResponse:
    """Who has access, and the buttons to invite."""
    patient_id = person(request, ref, actor, "home")
    return part_or_page(request, "home-access.html", "Page at home", **_known(request, ref, patient_id))


def _known(request: Request, ref: str, patient_id: str) -> dict[str, Any]:
    service = request.app.state.service
    known = service.people.of.get(service.people.person(patient_id))
    own = ((known and known.language) or "").lower().split("-")[0]
    return {
        "ref": ref, "rows": _listed(request, patient_id), "languages": languages(service.lib), "own": own,
        "team_phone": known.team_phone if known else None,
        "watched": bool(known and known.discharged is None),
    }  # fmt: skip


@router.post("/patient/{ref}/home", response_class=HTMLResponse, include_in_schema=False)
def invite_by_form(
    request: Request, ref: str, actor: Inviter,
    who: Annotated[str, Form()] = "patient", language: Annotated[str, Form()] = "en",
) -> HTMLResponse:  # fmt: skip
    """Invite, and show the link and the code: once."""
    patient_id = person(request, ref, actor, "home")
    try:
        made = invited(request, patient_id, actor, who, language)
    except access.AccessError as error:
        return page(
            request, "home-invited.html", status=409, ref=ref, made=None, wrong=str(error).splitlines(),
            who=who, link="", square="", tries=0, t=None,
        )  # fmt: skip
    link = address(request, made.secret)
    return page(
        request, "home-invited.html", ref=ref, made=made, link=link, square=square(link), wrong=[], who=who,
        tries=access.TRIES, t=home_texts(language, request.app.state.service.lib),
    )  # fmt: skip


@router.post("/patient/{ref}/home/{number}/end", include_in_schema=False)
def end_by_form(request: Request, ref: str, number: str, actor: Inviter) -> Response:
    """End an access, and go back to the patient."""
    _end(request, person(request, ref, actor, "home"), number, actor)
    return RedirectResponse(f"/patient/{ref}#home", status_code=303)
