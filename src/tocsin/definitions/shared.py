"""Files of findings that several scales use, and the meaning of one finding in every scale that knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader, read_finding
from tocsin.definitions.schema import COMMON, STATUSES, DefinitionError, Finding, near

if TYPE_CHECKING:
    from tocsin.definitions.load import Library


@dataclass(frozen=True, slots=True)
class SharedFindings:
    """One file of the shelf `findings`, in the order it is written."""

    id: str
    title: str
    status: str
    sources: tuple[str, ...]
    locator: str | None
    reading: str
    findings: tuple[Finding, ...]


def shared_findings(name: str, lib: Library) -> SharedFindings:
    """One file of shared findings; raises `DefinitionError` with the near miss.

    >>> from tocsin.definitions.load import library
    >>> shared_findings("fever", library()).findings[0].bound
    38.0
    """
    files = lib.files("findings")
    if name not in files:
        raise DefinitionError(f"no file of findings `{name}`{near(name, files)}")
    return _read(files[name])


def _read(path: Path) -> SharedFindings:
    table = parse(path)
    reader = Reader(table, str(path), (*COMMON, "finding", "note"))
    return SharedFindings(
        id=path.stem,
        title=reader.text("title"),
        status=reader.choice("status", STATUSES),
        sources=reader.names("source"),
        locator=reader.maybe_text("locator"),
        reading=reader.prose(),
        findings=tuple(
            read_finding(name, body, str(path)) for name, body in table.get("finding", {}).items()
        ),
    )


def resting_on(findings: Mapping[str, Finding], names: list[str]) -> list[Finding]:
    """Findings by name, each before what it is made of."""
    seen: dict[str, Finding] = {}
    names = list(names)
    while names:
        name = names.pop(0)
        if name not in seen:
            seen[name] = findings[name]
            names += findings[name].names
    return [*seen.values()]


def meanings(name: str, lib: Library) -> dict[tuple[Finding, ...], list[str]]:
    """What a finding means, with all it is made of, to the scales in which it means that; empty if unknown.

    >>> from tocsin.definitions.load import library
    >>> sum(meanings("hypotension", library()).values(), [])[0]
    'astct-2019'
    """
    found: dict[tuple[Finding, ...], list[str]] = {}
    for scale in map(lib.scale, lib.scales):
        if name in scale.findings:
            made = tuple(resting_on(scale.findings, [name]))
            found.setdefault(made, []).append(scale.id)
    return found
