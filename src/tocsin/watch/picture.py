"""The timeline of one patient as a picture inside a page: drawn once, kept while nothing new is known."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from datetime import timedelta
from html import escape, unescape
from typing import Any

import pyarrow.compute as pc

from tocsin.watch.clock import moment_of

#: Pictures kept; some 200 KB each.
KEPT = 64
#: A picture stands for five minutes, and as long as nothing new is known: the line "now" moves that slowly.
BUCKET = 5 * 60 * 1_000_000
WIDTH, HEIGHT = 1280, 640

_MARK = re.compile(r' role="graphics-\w+"| aria-roledescription="[^"]*"| aria-label="([^"]*)"')
_LABELS = {
    "fact": "", "scale": "", "grade": "grade ", "up to": "up to ", "at": "at ", "from": "from ", "to": "to ",
    "because": "because: ", "waiting for": "waiting for: ", "source": "source: ", "recorded": "recorded: ",
    "given": "", "judgement": "only a person can say: ", "flags": "flags: ",
}  # fmt: skip
_lock = threading.Lock()
_kept: OrderedDict[tuple[Any, ...], str] = OrderedDict()


def picture(service: Any, patient_id: str, *, theme: str, zone: str, scales: tuple[str, ...]) -> str | None:
    """The patient's course as SVG for a page; None where nothing is charted.

    Each mark carries `data-tip`: the fact, its source and when it was recorded.
    """
    now = service.clock.now()
    facts = service.facts_of(patient_id)
    if not facts.num_rows:
        return None
    latest = pc.max(facts["time"]).as_py()
    key = (id(service), patient_id, facts.num_rows, latest, now // BUCKET, theme, zone, scales)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    drawn = _draw(service, patient_id, facts, now, theme, zone, scales)
    if drawn is not None:
        with _lock:
            _kept[key] = drawn
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
    return drawn


def _draw(
    service: Any, patient_id: str, facts: Any, now: int, theme: str, zone: str, scales: tuple[str, ...]
) -> str | None:
    from tocsin.plots.course import PlotError
    from tocsin.plots.files import drawn
    from tocsin.plots.timeline import timeline

    moment = moment_of(now)
    facts = facts.filter(pc.less_equal(facts["time"], moment))
    person = facts["patient_id"][0].as_py() if facts.num_rows else patient_id
    graded = service.grades_of(patient_id, scales=scales)
    if not facts.num_rows or not graded.num_rows:
        return None
    try:
        chart = timeline(
            facts, graded, lib=service.lib, patient=person, scales=scales,
            now=moment + timedelta(microseconds=1), width=WIDTH, height=HEIGHT, theme=theme, timezone=zone,
        )  # fmt: skip
    except PlotError:
        return None
    return dressed(drawn(chart, ".svg", 1.0).decode())


def dressed(svg: str) -> str:
    """Vega's drawing for a page: marks that say something keep it as `data-tip`, the rest falls silent.

    >>> dressed('<svg><path aria-label="x: 3; fact: CRP 12; source: a.csv:1" d="M0"/></svg>')
    '<svg aria-hidden="true" focusable="false"><path data-tip="CRP 12&#10;source: a.csv:1" d="M0"/></svg>'
    """

    def mark(found: re.Match[str]) -> str:
        text = told(unescape(found[1] or ""))
        return f' data-tip="{escape(text, quote=True)}"'.replace("\n", "&#10;") if text else ""

    return _MARK.sub(mark, svg).replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)


def told(label: str) -> str:
    """The lines of a mark that mean something to a person.

    >>> told("x: 3; y: 4"), told("x: 1; fact: CRP 12; at: Mon 10:00")
    ('', 'CRP 12\\nat Mon 10:00')
    """
    lines: list[str] = []
    for part in label.split("; "):
        name, found, value = part.partition(": ")
        if found and name in _LABELS and value not in ("-", ""):
            lines.append(f"{_LABELS[name]}{value}")
        elif lines and name not in _DRAWING:
            lines[-1] += f"; {part}"
    return "\n".join(lines) if any(name in label for name in ("fact: ", "scale: ")) else ""


_DRAWING = frozenset(
    ("x", "x2", "y", "y2", "px", "px2", "fill", "colour", "shape", "group", "text", "definition", "flags",
     "judgement", "waiting for", "because", "to")
)  # fmt: skip
