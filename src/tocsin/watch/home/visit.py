"""Who visits a patient's own page, and what every one of its pages knows."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from tocsin.definitions.home import HomeTexts, home_languages, home_texts
from tocsin.watch import auth
from tocsin.watch.clock import HOUR, MINUTE, moment_of
from tocsin.watch.home import access
from tocsin.watch.home.answer import numbers
from tocsin.watch.pages_look import page
from tocsin.watch.pages_words import zone
from tocsin.watch.people import Patient

#: Where the pages lie; nothing of the ward lies below, and none of them elsewhere.
ROOT = "/home"


def below(path: str) -> bool:
    """Whether an address is one of the pages at home.

    >>> below("/home"), below("/home/entry"), below("/homes")
    (True, True, False)
    """
    return path == ROOT or path.startswith(f"{ROOT}/")


def cookie(request: Request) -> str | None:
    """The secret of the session in a request."""
    return request.cookies.get(access.cookie_of(request.app.state.secure)["key"])


async def visitor(request: Request) -> access.Visitor | None:
    """Whose session a request carries; asked once."""
    if not hasattr(request.state, "visitor"):
        request.state.visitor = await run_in_threadpool(_visitor, request)
    found: access.Visitor | None = request.state.visitor
    return found


def _visitor(request: Request) -> access.Visitor | None:
    service, secret = request.app.state.service, cookie(request)
    if not secret:
        return None
    with service.store.reading() as con:
        found = access.visitor(con, service.clock, secret)
    if found is None:
        return None
    if found[1]:
        with service.store.writing() as con:
            access.seen(con, service.clock, secret)
    return found[0]


async def ours(request: Request, sent: str | None) -> bool:
    """Whether a form with a session was sent from one of our own pages; without one there is no need."""
    if request.url.path.startswith(f"{ROOT}/open/"):
        return True  # whoever comes in with a link and its code is somebody else from then on
    known = await visitor(request)
    return known is None or auth.same(sent, known.csrf)


async def signed_in(request: Request) -> access.Visitor:
    """Who asks; a browser that nobody knows is shown how to come in, a script is told 401."""
    found = await visitor(request)
    if found is None:
        if "text/html" in request.headers.get("accept", ""):
            raise HTTPException(303, headers={"Location": f"{ROOT}/closed"})
        raise HTTPException(401, "who asks is not known")
    return found


async def followed(request: Request) -> access.Visitor:
    """Who asks, of a patient who is watched: for anybody else nothing is taken or answered."""
    found = await signed_in(request)
    if not watched(request, found):
        raise HTTPException(303, headers={"Location": ROOT})
    return found


Signed = Annotated[access.Visitor, Depends(signed_in)]
Followed = Annotated[access.Visitor, Depends(followed)]


def watched(request: Request, who: access.Visitor) -> bool:
    """Whether the patient is still followed here."""
    people = request.app.state.service.people
    return bool(people.watches(people.person(who.patient_id)))


def asked_language(request: Request) -> str:
    """The language of whoever is not known yet: the browser's, never an invitation's, which would tell that
    there is one."""
    known = home_languages(request.app.state.service.lib)
    for part in request.headers.get("accept-language", "")[:200].split(","):
        if (name := part.split(";")[0].strip().lower().split("-")[0]) in known:
            return name
    return known[0]


def texts_of(request: Request, who: access.Visitor | None) -> HomeTexts:
    """The texts in the language of the visitor."""
    lib = request.app.state.service.lib
    language = asked_language(request) if who is None else who.language
    return home_texts(language if language in home_languages(lib) else "en", lib)


def patient_of(request: Request, who: access.Visitor) -> Patient | None:
    """The details of the patient: those of the person, where records were joined."""
    people = request.app.state.service.people
    people.admit([who.patient_id])
    found: Patient | None = people.of.get(people.person(who.patient_id))
    return found


def zone_of(request: Request, who: access.Visitor) -> tzinfo:
    """The patient's time zone, else the ward's."""
    known = patient_of(request, who)
    return zone((known and known.time_zone) or request.app.state.service.settings.time_zone)


def shown(
    request: Request, who: access.Visitor | None, name: str, *, status: int = 200, **context: Any
) -> HTMLResponse:
    """One page at home: its texts, the numbers to call, and what the phone remembers."""
    service = request.app.state.service
    known = None if who is None else patient_of(request, who)
    team = numbers(known.team_phone) if known else []
    emergency = numbers(service.settings.emergency_number, 3)
    told = {
        "t": texts_of(request, who), "visitor": who, "team": team, "emergency": emergency[:1],
        "team_said": (known.team_phone or "") if known and not team else "",
        "form_token": who.csrf if who else "", "languages": languages(service.lib),
    }  # fmt: skip
    return page(request, name, status=status, **told, **context)


def failed_page(request: Request, status: int) -> HTMLResponse:
    """A page that says that something failed, and whom to call; nothing about anybody."""
    return shown(request, None, "home-error.html", status=status)


def languages(lib: Any) -> list[tuple[str, str]]:
    """The languages of the page by their own names."""
    return [(name, home_texts(name, lib).name) for name in home_languages(lib)]


def clock_said(moment: datetime, now: int, tz: tzinfo, words: HomeTexts) -> str:
    """A time as people at home read it: the day in words, the clock.

    >>> from tocsin.definitions.load import library
    >>> from datetime import UTC
    >>> clock_said(moment_of(14 * HOUR), 15 * HOUR, UTC, home_texts("en", library()))
    'today 14:00'
    """
    local, present = moment.astimezone(tz), moment_of(now).astimezone(tz)
    days = (present.date() - local.date()).days
    if days in (0, 1):
        day = words["day"]["yesterday" if days else "today"]
    elif 1 < days < 7 or days == -1:
        day = words["day"][str(local.weekday())]
    else:
        day = f"{local:%Y-%m-%d}"
    return f"{day} {local:%H:%M}"


def ago_said(moment: datetime, now: int, words: HomeTexts) -> str:
    """How long ago something was.

    >>> from tocsin.definitions.load import library
    >>> ago_said(moment_of(0), 3 * HOUR, home_texts("en", library()))
    '3 h ago'
    """
    past = now - round(moment.timestamp() * 1_000_000)
    if past < 2 * MINUTE:
        return words["ago"]["now"]
    if past < HOUR:
        return words.say("ago", "min", n=past // MINUTE)
    if past < 48 * HOUR:
        return words.say("ago", "hour", n=past // HOUR)
    return words.say("ago", "day", n=past // (24 * HOUR))
