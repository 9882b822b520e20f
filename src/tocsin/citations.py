"""Citations: the sources behind the definitions, read from `references.bib`.

An entry's `note` says what was actually seen of the source: a paper cited from a table that others reprinted
says so. The file is read by a small parser of our own: we write it ourselves, in one plain form
(`name = {value},`), and a BibTeX library would be a dependency for forty lines.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

BIB = Path(__file__).with_name("references.bib")
_ENTRY = re.compile(r"@(\w+)\s*\{\s*([^\s,{}]+)\s*,")
_FIELD = re.compile(r"\s*([A-Za-z]+)\s*=\s*\{")
_NEXT = re.compile(r"\S")
_END = re.compile(r"\s*\}")


class CitationError(ValueError):
    """A key without a source, or a `references.bib` that cannot be read; says where, and how to mend it."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One source: `kind` is the BibTeX type, `fields` what is known of it (LaTeX escapes removed)."""

    key: str
    kind: str
    fields: Mapping[str, str]

    def text(self) -> str:
        """One plain line, as a page or a terminal shows it.

        >>> cite("lee2019").text().split(". ")[0]
        'Lee, DW and others'
        """
        say = self.fields.get
        where = say("journal") or say("organization") or ""
        if "year" in self.fields:
            where = f"{where} {say('year')}".strip()
        if "volume" in self.fields:
            where += f";{say('volume')}" + (f"({say('number')})" if "number" in self.fields else "")
        if "pages" in self.fields:
            where += f":{say('pages')}"
        doi = f"doi:{say('doi')}" if "doi" in self.fields else ""
        parts = (say("author"), say("title"), where, say("howpublished"), doi, say("note"))
        return " ".join(f"{part.rstrip('.')}." for part in parts if part)

    def bibtex(self) -> str:
        """The entry as BibTeX, ready to paste.

        >>> print(cite("pals-centiles").bibtex().splitlines()[0])
        @misc{pals-centiles,
        """
        width = max((len(name) for name in self.fields), default=0)
        lines = [f"  {name:<{width}} = {{{_escaped(name, value)}}}," for name, value in self.fields.items()]
        return "\n".join((f"@{self.kind}{{{self.key},", *lines, "}"))


def cite(key: str) -> Reference:
    """The source of this key; raises `CitationError` with the near misses if there is none.

    >>> cite("lee2019").fields["year"]
    '2019'
    """
    known = references()
    if key not in known:
        close = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(f'`{name}`' for name in close)}?" if close else ""
        raise CitationError(
            f"no source `{key}`{hint}\n"
            "  why: a rule that cites nothing cannot be checked\n"
            "  fix: use a key of references.bib, or add the source there"
        )
    return known[key]


@lru_cache(maxsize=1)
def references() -> Mapping[str, Reference]:
    """Every source we cite, by key, in the order of the file."""
    return parse(BIB.read_text(encoding="utf-8"), BIB.name)


def parse(text: str, where: str = "references.bib") -> dict[str, Reference]:
    r"""Read BibTeX in the plain form we write; anything else is refused with its line, never skipped.

    >>> parse("@misc{a,\n  title = {One {Two}},\n}")["a"].fields["title"]
    'One {Two}'
    """
    text = "\n".join("" if line.startswith("%") else line for line in text.splitlines())
    found: dict[str, Reference] = {}
    at = 0
    while (start := _NEXT.search(text, at)) is not None:
        head = _ENTRY.match(text, start.start())
        if head is None:
            raise _bad(text, start.start(), where, "is no entry", "@article{key, title = {...}, }")
        kind, key = head[1].lower(), head[2]
        fields: dict[str, str] = {}
        at = head.end()
        while (end := _END.match(text, at)) is None:
            field = _FIELD.match(text, at)
            if field is None:
                raise _bad(text, at + 1, where, f"in `{key}` is no field", "name = {value},")
            name = field[1].lower()
            value, at = _braced(text, field.end(), where, key)
            if name in fields:
                raise _bad(text, field.end(), where, f"in `{key}` repeats `{name}`", "keep one of the two")
            fields[name] = _plain(value)
            at += text.startswith(",", at)
        at = end.end()
        if key in found:
            raise _bad(text, head.start(), where, f"repeats the key `{key}`", "keep one of the two")
        found[key] = Reference(key, kind, fields)
    return found


def _braced(text: str, start: int, where: str, key: str) -> tuple[str, int]:
    """The text up to the brace that closes the one before `start`, and the place after it."""
    depth = 1
    for mark in re.finditer(r"\\.|[{}]", text[start:]):
        depth += {"{": 1, "}": -1}.get(mark[0], 0)
        if depth == 0:
            return text[start : start + mark.start()], start + mark.end()
    raise _bad(text, start, where, f"in `{key}` opens a brace that never closes", "close it with }")


def _plain(value: str) -> str:
    return re.sub(r"\\([_%&#$])", r"\1", " ".join(value.split()))


def _escaped(name: str, value: str) -> str:
    return value if name in ("doi", "url") else re.sub(r"([_%&#$])", r"\\\1", value)


def _bad(text: str, at: int, where: str, problem: str, fix: str) -> CitationError:
    line = text.count("\n", 0, at) + 1
    return CitationError(f"{where}, line {line}: {problem}\n  fix: {fix}")
