"""One patient's hand-over sheet: what `tocsin advise` says, with the picture, on paper or on a phone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

import pyarrow as pa

from tocsin.definitions.load import Library, library
from tocsin.facts.files import replaced
from tocsin.grading.batch import grade_table
from tocsin.plots.course import PlotError
from tocsin.plots.files import drawn
from tocsin.plots.sheet_parts import NOTE, Part, head_of, parts
from tocsin.plots.timeline import timeline

Said = Mapping[str, Any]
SUFFIXES = (".html", ".pdf")
STYLE = """
@page { size: A4; margin: 12mm }
* { box-sizing: border-box }
body { font: 13px/1.35 system-ui, sans-serif; color: #111; margin: 16px auto; max-width: 190mm;
  padding: 0 12px }
h1 { font-size: 20px; margin: 0 } h2 { font-size: 14px; margin: 14px 0 4px; border-bottom: 1.5px solid #111 }
p { margin: 2px 0 } .head { color: #333; margin-bottom: 6px } .note { color: #333; font-size: 11px }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 600; font-size: 11px; color: #444; padding: 1px 8px 1px 0 }
td { vertical-align: top; padding: 2px 8px 2px 0; border-top: 1px solid #ccc; overflow-wrap: anywhere }
td:first-child { min-width: 84px; overflow-wrap: break-word }
tr { break-inside: avoid } h2 { break-after: avoid } svg { max-width: 100%; height: auto }
.strong { font-weight: 700 } .small { font-size: 10.5px; color: #333 }
@media (max-width: 600px) {
  th { display: none } td { display: block; border: 0; padding: 0 } tr { display: block; padding: 5px 0;
  border-top: 1px solid #ccc } td:first-child { font-weight: 600 }
}
"""


def sheet(
    facts: pa.Table, answer: Said, path: str | os.PathLike[str], *, lib: Library | None = None,
    printed: datetime | None = None,
) -> Path:  # fmt: skip
    """Write the sheet of one answer of `advise` to `path`, .html (one file, no script) or .pdf.

    Parameters
    ----------
    facts   : the facts the answer was made of; only this patient's, up to its moment, are drawn.
    answer  : one dict of `guidance.answer.advise`; what is missing in it is shown as not known.
    printed : the time of printing; now, if not given.

    Raises `PlotError` for another suffix or a folder that is not there; nothing is written then.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise PlotError(f"{target}: a sheet is one of {', '.join(SUFFIXES)}")
    if not target.parent.is_dir():
        raise PlotError(f"{target}: no such folder `{target.parent}`\n  fix: mkdir -p {target.parent}")
    lib = lib or library()
    when = printed or datetime.now(UTC)
    sections = parts(answer, when)
    picture = _picture(facts, answer, lib, ".svg" if target.suffix.lower() == ".html" else ".png")
    if target.suffix.lower() == ".html":
        data = html(answer, sections, None if picture is None else picture.decode()).encode()
    else:
        from tocsin.plots.sheet_pdf import pdf

        data = pdf(answer, sections, picture)
    with replaced(target) as sink:
        sink.write(data)
    return target


def _picture(facts: pa.Table, answer: Said, lib: Library, suffix: str) -> bytes | None:
    """The timeline up to the answer's moment; none where there is nothing to draw."""
    patient = str(answer.get("patient_id"))
    if not answer.get("at"):
        return None
    now = datetime.fromisoformat(str(answer["at"]))
    own = facts.filter(pa.compute.equal(facts["patient_id"], patient))
    own = own.filter(pa.compute.less_equal(own["time"], pa.scalar(now, own.schema.field("time").type)))
    if not len(own):
        return None
    scales = [name for name in ("astct-2019", "icans-astct-2019") if name in answer.get("grades", {})]
    graded = grade_table(
        own, tuple(scales or ("astct-2019",)), lib=lib, as_of=now + timedelta(microseconds=1)
    )
    try:
        chart = timeline(own, graded, lib=lib, patient=patient, now=now, width=1040, height=560)
    except PlotError:
        return None
    return drawn(chart, suffix, 2.0)


def html(answer: Said, sections: list[Part], picture: str | None) -> str:
    """The sheet as one page; nothing in it is fetched or run."""
    title, head = head_of(answer)
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=head>{escape(head)}</p>",
        f"<p class=note>{escape(NOTE)}</p>",
    ]
    for i, part in enumerate(sections):
        body.append(f"<h2>{escape(part.title)}</h2>")
        if part.headings and part.rows:
            cells = "".join(f"<th>{escape(text)}</th>" for text in part.headings)
            rows = "".join(
                "<tr>" + "".join(f"<td>{_marked(text)}</td>" for text in row) + "</tr>" for row in part.rows
            )
            body.append(f"<table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>")
        body += [f"<p class={'small' if part.small else 'line'}>{_marked(text)}</p>" for text in part.lines]
        if i == 0 and picture:
            body.append(picture)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def _marked(text: str) -> str:
    """Text made safe; what stands between two `**` is strong."""
    pieces = escape(text).split("**")
    return "".join(f"<b>{piece}</b>" if i % 2 else piece for i, piece in enumerate(pieces))
