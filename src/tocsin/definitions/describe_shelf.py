"""A file of guidance as a page: guidelines, doses, causes, tests, windows, outlook; entries as they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tocsin.definitions.load import Library
from tocsin.definitions.measure import parse

Cite = Callable[[str], str]
#: Shelves whose files are read as they stand.
PLAIN = (
    "guidelines",
    "doses",
    "topics",
    "complications",
    "workup",
    "events",
    "markers",
    "monitoring",
    "causes",
    "outlook",
    "advice",
    "models",
    "trials",
    "wards",
    "alerts",
    "reports",
    "exports",
)
HEAD = ("id", "title", "status", "source", "locator", "reading", "use")


def shelf_of(name: str, lib: Library) -> str | None:
    """The shelf that holds `name`; none if it stands on none of these."""
    return next((shelf for shelf in PLAIN if name in lib.files(shelf)), None)


def listed(shelf: str, lib: Library) -> Iterator[tuple[str, str, str]]:
    """Id, title and status of every file of a shelf."""
    for name, path in sorted(lib.files(shelf).items()):
        table = parse(path)
        yield name, str(table.get("title", name)), str(table.get("status", "draft"))


def shelf_page(shelf: str, name: str, lib: Library, cite: Cite = str) -> Iterator[str]:
    """The lines of one file's page: its head with sources written out, then every entry.

    >>> from tocsin.definitions.load import library
    >>> next(shelf_page("guidelines", "asco-2021", library()))
    '# ASCO guideline 2021 (`asco-2021`)'
    """
    table = parse(lib.files(shelf)[name])
    yield f"# {table.get('title', name)} (`{name}`)"
    yield ""
    status = str(table.get("status", "draft"))
    yield f"Status: {status}." + ("" if status == "checked" else " It rests on memory or on one reader.")
    yield ""
    sources = table.get("source", [])
    for key in [sources] if isinstance(sources, str) else sources:
        yield f"- Source: {_cited(str(key), cite)}"
    if table.get("locator"):
        yield f"- Where: {table['locator']}"
    reading = table.get("reading")
    if reading:
        said = " ".join(str(text) for text in reading.values()) if isinstance(reading, Mapping) else reading
        yield from ("", f"Our reading: {said}")
    for key, value in table.items():
        if key not in HEAD:
            yield from _part(key, value, cite)


def _cited(key: str, cite: Cite) -> str:
    return "memory: no source at hand confirms it" if key == "memory" else cite(key)


def _part(key: str, value: Any, cite: Cite) -> Iterator[str]:
    """One key of the file: a line, or a heading with every entry below it."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        yield from ("", f"## {key.capitalize()}", "")
        for item in value:
            yield f"- {_entry(item, cite)}"
    elif isinstance(value, Mapping):
        yield from ("", f"## {key.capitalize()}", "")
        for name, item in value.items():
            yield f"- `{name}`: {_entry(item, cite) if isinstance(item, Mapping) else _words(item)}"
    else:
        yield f"- {key.replace('_', ' ')}: {_words(value)}"


def _entry(item: Mapping[str, Any], cite: Cite) -> str:
    """One entry as a line: what it says first, then its conditions, its sources last."""
    first = [str(item[key]) for key in ("text", "says", "title", "asks", "then") if key in item][:1]
    rest = [
        f"{key.replace('_', ' ')} {_words(value)}"
        for key, value in item.items()
        if key not in ("text", "says", "title", "asks", "then", "source") and not isinstance(value, Mapping)
    ]
    sources = item.get("source", [])
    keys = [sources] if isinstance(sources, str) else sources
    cited = [f"source {', '.join(str(key) for key in keys)}"] if keys else []
    return "; ".join([*first, *rest, *cited])


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(
            "{" + ", ".join(f"{key} {_words(inner)}" for key, inner in item.items()) + "}"
            if isinstance(item, Mapping)
            else str(item)
            for item in value
        )
    return str(value).lower() if isinstance(value, bool) else str(value)
