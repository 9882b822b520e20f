"""The pages of a patient at home: come in, write, one answer, what was written, the leaflet."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from tocsin.advice.about import leaflet
from tocsin.definitions.home import home_languages, home_page
from tocsin.definitions.texts import texts
from tocsin.watch import auth
from tocsin.watch.clock import HOUR, moment_of
from tocsin.watch.home import access, diary, told
from tocsin.watch.home.answer import answer_of, approved
from tocsin.watch.home.visit import (
    ROOT,
    Followed,
    Signed,
    asked_language,
    clock_said,
    cookie,
    patient_of,
    shown,
    texts_of,
    watched,
    zone_of,
)
from tocsin.watch.pages_look import STATIC
from tocsin.watch.pages_reads import noted
from tocsin.watch.roles import SYSTEM

router = APIRouter(prefix=ROOT, include_in_schema=False)
#: How long an answer that asks for something is shown again on the first page.
STANDS = 24 * HOUR
#: What an answer may say was asked and not there.
NONE = ("symptoms", "medicines")


@router.get("/open/{secret}", response_class=HTMLResponse)
def enter_page(request: Request, secret: str) -> HTMLResponse:
    """Where a link leads: the same page for every link, whether there is one or not."""
    return shown(request, None, "home-enter.html", wrong="", asks=True)


@router.post("/open/{secret}")
def enter(request: Request, secret: str, code: Annotated[str, Form()] = "") -> Response:
    """A link and its code: in, or nothing."""
    service, state = request.app.state.service, request.app.state
    words = texts_of(request, None)
    counted = f"home from {request.client.host if request.client else '?'}"
    if state.tries.over(counted):
        return shown(request, None, "home-enter.html", status=429, wrong=words["enter"]["tired"], asks=True)
    with service.store.writing() as con:
        session = access.accept(con, service.clock, secret[:200], re.sub(r"\s", "", code)[:20])
        if session is not None and (before := cookie(request)):
            access.leave(con, service.clock, before)
    if session is None:
        return shown(request, None, "home-enter.html", status=401, wrong=words["enter"]["wrong"], asks=True)
    state.tries.back(counted)  # only wrong codes count: a ward invites many from one address
    return entered(request, session)


def entered(request: Request, session: auth.Session) -> Response:
    """Into the page, with its cookie."""
    answer = RedirectResponse(ROOT, status_code=303)
    kept = round(access.SIGNED_IN / 1_000_000)
    answer.set_cookie(value=session.secret, max_age=kept, **access.cookie_of(request.app.state.secure))
    return answer


@router.get("/demo")
def demo(request: Request, code: str = "") -> Response:
    """Into the page of a simulated patient, by the link that the terminal of a demonstration printed."""
    service, state = request.app.state.service, request.app.state
    if not service.settings.demo or not auth.same(code, state.demo_code):
        raise HTTPException(404)
    patients = sorted(
        service.people.watched(), key=lambda each: (len(each.bed or ""), each.bed or "", each.ref)
    )
    if not patients:
        raise HTTPException(503)
    with service.store.writing() as con:
        made = access.invite(
            con,
            service.clock,
            SYSTEM,
            patients[-1].patient_id,
            who="patient",
            language=asked_language(request),
        )
        session = access.accept(con, service.clock, made.secret, made.code)
    if session is None:
        raise HTTPException(503)
    return entered(request, session)


@router.get("/closed", response_class=HTMLResponse)
def closed(request: Request) -> HTMLResponse:
    """For whoever comes without a session."""
    return shown(request, None, "home-enter.html", wrong="", asks=False)


@router.post("/leave")
def leave(request: Request, who: Signed) -> Response:
    """Sign this phone out."""
    service = request.app.state.service
    with service.store.writing() as con:
        access.leave(con, service.clock, cookie(request) or "")
    answer = RedirectResponse(f"{ROOT}/closed", status_code=303)
    answer.delete_cookie(**access.cookie_of(request.app.state.secure))
    return answer


@router.post("/language")
def language(request: Request, who: Signed, name: Annotated[str, Form(alias="language")] = "") -> Response:
    """Speak another language from now on."""
    service = request.app.state.service
    if name in home_languages(service.lib):
        with service.store.writing() as con:
            access.remember(con, who.access, language=name)
    return RedirectResponse(ROOT, status_code=303)


@router.get("", response_class=HTMLResponse)
def start(request: Request, who: Signed) -> HTMLResponse:
    """The first page: tell us; and the last answer again, while it asks for something."""
    if not watched(request, who):
        return shown(request, who, "home-gone.html")
    service, words, tz = request.app.state.service, texts_of(request, who), zone_of(request, who)
    now, facts = service.clock.now(), record(request, who, "start")
    written = diary.entries(facts)
    last, again = "", None
    if written:
        entry, rows = next(iter(written.items()))
        at = diary.written_at(rows)
        last = clock_said(at, now, tz, words)
        # a calm answer is never given twice: it was about that moment
        if moment_of(now - STANDS) < at:
            found = answer_of(service, facts, entry, words.language)
            verb = texts(words.language, service.lib).urgency[found.urgency]["verb"]
            again = None if found.calm else {"verb": verb, "urgency": found.urgency, "entry": entry}
    return shown(request, who, "home-start.html", last=last, again=again)


@router.get("/worse", response_class=HTMLResponse)
def worse(request: Request, who: Signed) -> HTMLResponse:
    """I feel worse: whom to call for what, before anything else."""
    return shown(request, who, "home-worse.html", signs=dangers(request, who))


def dangers(request: Request, who: access.Visitor | None) -> list[str]:
    """What an ambulance is called for, in the words of the tiles: as it is asked first on every form."""
    words = texts_of(request, who)
    return [words["tile"][name] for name in home_page(request.app.state.service.lib).tiles["danger"]]


@router.get("/entry", response_class=HTMLResponse)
def asking(request: Request, who: Followed) -> HTMLResponse:
    """The questions."""
    return asked(request, who, {}, None)


def asked(
    request: Request, who: access.Visitor, form: Mapping[str, Sequence[str]], wrong: diary.Written | None
) -> HTMLResponse:
    """The questions, with what had been answered and what was wrong with it."""
    service = request.app.state.service
    context = {
        **questions(request, who), "errors": wrong.errors if wrong else {}, "form": dict(form),
        "instead": wrong.instead if wrong else None, "entry": secrets.token_urlsafe(9),
        "at": service.clock.now(), "first": False,
    }  # fmt: skip
    return shown(request, who, "home-entry.html", status=422 if wrong else 200, **context)


def questions(request: Request, who: access.Visitor) -> dict[str, Any]:
    """What is asked, from the definitions."""
    lib = request.app.state.service.lib
    asks = home_page(lib)
    limits = {unit: diary.bounds("temperature", unit, lib) for unit in diary.UNITS}
    ends = {name: diary.bounds(name, None, lib) for each in asks.devices.values() for name in each}
    return {"asks": asks, "units": diary.UNITS, "limits": limits, "ends": ends, "letters": diary.LETTERS}


async def sent(request: Request) -> dict[str, list[str]]:
    """Every value of every field of a form, as text."""
    form = await request.form(max_fields=400)
    told: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            told.setdefault(name, []).append(value.replace("\x00", ""))
    return told


Sent = Annotated[dict[str, list[str]], Depends(sent)]


@router.post("/entry")
async def write(request: Request, who: Followed, form: Sent) -> Response:
    """What was written becomes facts of this patient; then the answer."""
    return await run_in_threadpool(_write, request, who, form)


def _write(request: Request, who: access.Visitor, form: dict[str, list[str]]) -> Response:
    service = request.app.state.service
    words, tz = texts_of(request, who), zone_of(request, who)
    found = diary.read(form, who.patient_id, service.clock.now(), tz, words, service.lib)
    if not found.errors and found.rows:
        receipt = service.ingest(found.rows, who.actor)
        for each in receipt.rejected:
            # bounds were checked before: only what nobody foresaw is refused here
            found.errors["form"] = f"{words['page']['error']} ({each['why']})"
    remember(request, who, found)
    if found.errors:
        return asked(request, who, form, found)
    if found.rows:
        answer = answer_of(service, record(request, who, "answer"), found.entry, words.language)
        told.tell_ward(service, who, found.entry, answer)
    none = "".join(f"&none={name}" for name in found.none)
    return RedirectResponse(f"{ROOT}/answer?entry={found.entry}{none}", status_code=303)


def remember(request: Request, who: access.Visitor, found: diary.Written) -> None:
    """Keep the unit and the devices for the next time."""
    new: dict[str, str | None] = {}
    if found.unit and found.unit != who.unit:
        new["unit"] = found.unit
    if found.devices is not None and found.devices != who.devices:
        new["devices"] = " ".join(sorted(found.devices))
    if new:
        with request.app.state.service.store.writing() as con:
            access.remember(con, who.access, **new)


@router.get("/answer", response_class=HTMLResponse)
def answered(
    request: Request, who: Followed,
    entry: Annotated[str, Query(max_length=32)] = "",
    none: Annotated[list[str] | None, Query(max_length=4)] = None,
) -> HTMLResponse:  # fmt: skip
    """The one answer to what was written."""
    service, words, tz = request.app.state.service, texts_of(request, who), zone_of(request, who)
    now, facts = service.clock.now(), record(request, who, "answer")
    rows = diary.entries(facts).get(entry, [])
    found = answer_of(service, facts, entry, words.language)
    say = texts(words.language, service.lib)
    # what was asked on the form and answered with no is not unknown
    left = [name for name in NONE if name in (none or ()) and name in (found.told or {}).get("missing", ())]
    unknown = [
        each
        for each in (found.told or {}).get("unknown", ())
        if each not in [say.say("unknown", name) for name in left]
    ]
    at = moment_of(now) if not rows else diary.written_at(rows)
    return shown(
        request, who, "home-answer.html", answer=found, say=say, unknown=unknown, signs=dangers(request, who),
        at=clock_said(at, now, tz, words), readings=told.readings(rows, words, who.unit),
        again="" if found.again is None else f"{moment_of(found.again).astimezone(tz):%H:%M}",
    )  # fmt: skip


@router.get("/diary", response_class=HTMLResponse)
def written(request: Request, who: Signed) -> HTMLResponse:
    """What was written from home, the latest first."""
    service, words, tz = request.app.state.service, texts_of(request, who), zone_of(request, who)
    now = service.clock.now()
    days = [
        {
            "at": clock_said(diary.written_at(rows), now, tz, words),
            **told.entry_said(rows, words, who.unit, service.lib),
        }
        for rows in diary.entries(record(request, who, "diary")).values()
    ]
    return shown(request, who, "home-diary.html", days=days[:60])


@router.get("/about", response_class=HTMLResponse)
def about(request: Request, who: Signed) -> HTMLResponse:
    """The leaflet, where it is approved."""
    service, words = request.app.state.service, texts_of(request, who)
    page = None
    if approved(service, words.language):
        rows = record(request, who, "leaflet")
        doses = [row for row in rows if row["measure"] in service.lib.classes["therapy"]]
        therapy = doses[-1]["measure"] if doses else None
        page = leaflet(language=words.language, therapy=therapy, lib=service.lib)
    return shown(request, who, "home-about.html", leaflet=page, say=texts(words.language, service.lib))


@router.get("/offline", response_class=HTMLResponse)
def offline(request: Request, who: Followed) -> HTMLResponse:
    """The questions as a phone keeps them for when there is no network: nothing of the record is in it."""
    service = request.app.state.service
    context = {
        "errors": {},
        "form": {},
        "instead": None,
        "entry": "",
        "at": service.clock.now(),
        "first": True,
    }
    return shown(request, who, "home-entry.html", **questions(request, who), **context)


@router.get("/token")
def token(request: Request, who: Followed) -> Response:
    """For the script that sends what was kept: whose page this is, and the token of its forms."""
    return told.small({"access": who.access, "csrf": who.csrf})


@router.get("/worker.js")
def worker() -> Response:
    """The service worker: it may serve the pages at home and no others."""
    text = (STATIC / "home-worker.js").read_text("utf-8")
    return Response(text, media_type="text/javascript", headers={"service-worker-allowed": ROOT})


def record(request: Request, who: access.Visitor, part: str) -> list[dict[str, Any]]:
    """The canonical record of the patient, in order of time; noted as read."""
    service = request.app.state.service
    known = patient_of(request, who)
    noted(request, who.actor, "home:read", known.ref if known else None, part)
    facts = service.facts_of(service.people.person(who.patient_id))
    rows: list[dict[str, Any]] = facts.sort_by([("time", "ascending")]).to_pylist()
    return rows
