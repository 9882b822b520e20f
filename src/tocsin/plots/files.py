"""Charts to files: the suffix says the format, nothing half-written is left behind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import altair as alt

from tocsin.plots.course import PlotError

SUFFIXES = (".html", ".png", ".svg")


def save(chart: alt.TopLevelMixin, path: str | os.PathLike[str], *, scale: float = 1.0) -> Path:
    """Write `chart` to `path`: .html (works offline: Vega is inside), .png or .svg.

    Parameters
    ----------
    scale : PNG pixels per chart pixel; 2 for print.

    Raises
    ------
    PlotError : another suffix, or a folder that is not there. Nothing is written then.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise PlotError(
            f"{target}: cannot draw a `{suffix or 'file without suffix'}`\n"
            "  why: the suffix says the format\n"
            f"  fix: end the name in one of: {', '.join(SUFFIXES)}"
        )
    if not target.parent.is_dir():
        raise PlotError(f"{target}: no such folder `{target.parent}`\n  fix: mkdir -p {target.parent}")
    data = drawn(chart, suffix, scale)
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(draft, 0o666 & ~_umask())
        os.replace(draft, target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def drawn(chart: alt.TopLevelMixin, suffix: str, scale: float) -> bytes:
    """A chart as the bytes of a file of this suffix."""
    import vl_convert

    if suffix == ".html":
        return str(chart.to_html(inline=True, embed_options={"renderer": "svg", "actions": False})).encode()
    spec = chart.to_dict(
        validate=False
    )  # built here or by Altair: checking it again takes longer than drawing
    if suffix == ".png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=scale))
    return str(vl_convert.vegalite_to_svg(spec)).encode()
