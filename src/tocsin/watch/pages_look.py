"""How pages are made: the templates, what every page knows, and the colours of a grade for the stylesheet."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tocsin.plots.look import DARK, LIGHT, Look
from tocsin.watch import pages_words as words

HERE = Path(__file__).parent / "pages"
STATIC = HERE / "static"
NOTE = "For research and decision support by trained staff; not a diagnosis."
#: What each role sees first, and how it is called.
ROLES = {"": "Everyone", "nurse": "Nurse", "physician": "Physician"}


@lru_cache(maxsize=1)
def templates() -> Jinja2Templates:
    """Every page's template. Text is escaped, and a name that is not there is an error, not a gap."""
    env = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    for name in ("clock", "stamp", "span", "ago", "since_dose", "worded", "sourced", "glued"):
        env.filters[name] = getattr(words, name)
    env.globals["grade_said"] = words.grade_said
    env.globals["NOTE"] = NOTE
    return Jinja2Templates(env=env, context_processors=[known])


def page(request: Request, name: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """One page; `context` besides what every page knows."""
    return templates().TemplateResponse(request, name, context, status_code=status)


def known(request: Request) -> dict[str, Any]:
    """What every page knows: the time, who looks, whether it is a demonstration or in shadow."""
    service = getattr(request.app.state, "service", None)
    actor = getattr(request.state, "actor", None)
    settings = getattr(service, "settings", None)
    zone = words.zone(getattr(settings, "time_zone", None))
    clock = getattr(service, "clock", None)
    csrf = getattr(request.state, "csrf", None)
    return {
        "csrf": csrf or "",
        "actor": actor,
        "demo": bool(getattr(settings, "demo", False)),
        "shadow": bool(getattr(settings, "shadow", False)),
        "now": clock.now() if clock else 0,
        "speed": clock.speed if clock else 1.0,
        "tz": zone,
    }


def variables(look: Look) -> str:
    """The colours of one theme as the stylesheet names them.

    >>> variables(LIGHT).splitlines()[0]
    '  --g0: #D9DEE3; --on0: #1D252D;'
    """
    grades = [
        f"  --g{grade}: {fill}; --on{grade}: {ink};"
        for grade, (fill, ink) in enumerate(zip(look.grades, look.on_grade, strict=True))
    ]
    rest = ("page", "panel", "edge", "grid", "ink", "muted", "unmeasured", "unmeasured_edge", "alarm")
    named = [f"  --{name.replace('_', '-')}: {getattr(look, name)};" for name in rest]
    return "\n".join([*grades, *named])


def colours() -> str:
    """The first lines of board.css: one look for a grade, made from `plots.look`."""
    return (
        "/* Colours from tocsin.plots.look; a test holds the two together. */\n"
        f":root {{\n{variables(LIGHT)}\n}}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{\n{variables(DARK)}\n}} }}\n"
    )
