"""Reads the shelf `exports`: which columns a registry or a data standard asks for, and what each is made of.

A file names its tables; a table says what one of its rows is, and each field says which of our words it is
made `from` and as which `type` it is written. The words are closed (`export_words.py`): a file can combine
them, not compute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.dose import STATUS_WORDS
from tocsin.definitions.export_words import ENDS, EVENTS, ORIGINS, ROWS, SAID, TYPES, Word
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, DefinitionError, near
from tocsin.definitions.workup import measures_or_classes, status_of

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

FIELD_WORDS = (
    "name", "label", "type", "from", "value", "unit", "codelist", "given", "devices", "source", "locator",
    "status", "reading", "empty",
)  # fmt: skip
TABLE_WORDS = (
    "name", "title", "rows", "scale", "optional", "kinds", "link", "domain", "keyed_by", "field", "qualifier",
    "parameter", "source", "locator", "status", "reading",
)  # fmt: skip
PARAMETER_WORDS = (
    "name", "label", "scale", "starts", "event", "says", "given", "source", "status", "reading",
)  # fmt: skip
#: Which graded scales a table speaks of, besides the ids of scales: the first of its kind that the cohort
#: was graded under, or every one.
ROLES = ("crs", "icans", "every")
KINDS_GIVEN = (
    "therapy", "anti-cytokine", "steroid", "antipyretic", "vasopressor", "inotrope", "blood-product",
    "procedure", "oxygen", "other",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """One variable. `word` is what it is made from; None: `value` in every row, or left empty (`empty`)."""

    name: str
    label: str
    type: str
    word: str | None
    value: str | None
    empty: str
    unit: str
    codelist: str | None
    given: tuple[str, ...]
    devices: tuple[str, ...]
    source: tuple[str, ...]
    locator: str
    status: str
    reading: str

    @property
    def key(self) -> str:
        """What the value is looked up by: the word, with what it is asked of."""
        asked = "|".join((",".join(self.given), ",".join(self.devices)))
        return f"{self.word}:{asked}" if self.given or self.devices else str(self.word)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One time to an event: from `starts` to `event`, in patients graded under `scale`."""

    name: str
    label: str
    scale: str
    starts: str
    event: str
    says: str
    given: tuple[str, ...]
    source: tuple[str, ...]
    status: str
    reading: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table of an export; `rows` says what a row is, `scale` which graded scales it speaks of."""

    name: str
    title: str
    rows: str
    scale: tuple[str, ...]
    optional: bool
    kinds: tuple[str, ...]
    link: str | None
    domain: str
    keyed_by: str
    fields: tuple[Field, ...]
    qualifiers: tuple[Field, ...]
    parameters: tuple[Parameter, ...]
    reading: str


@dataclass(frozen=True, slots=True)
class Export:
    """One file of the shelf; `codelists` turn our words into those of the receiver."""

    id: str
    title: str
    revision: str
    status: str
    source: tuple[str, ...]
    locator: str
    reading: str
    tables: tuple[Table, ...]
    codelists: Mapping[str, Mapping[str, str]]
    hash: str


def export(name: str, lib: Library) -> Export:
    """The export of this id; raises `DefinitionError`, naming the near miss.

    >>> from tocsin.definitions.load import library
    >>> [table.name for table in export("ebmt", library()).tables]
    ['crs', 'icans']
    """
    files = lib.files("exports")
    if name not in files:
        raise DefinitionError(
            f"no export `{name}`{near(name, files)}\n  fix: one of {', '.join(sorted(files))}"
        )
    return _export(files[name], lib)


@lru_cache(maxsize=32)
def _export(path: Path, lib: Library) -> Export:
    table = parse(path)
    reader = Reader(table, str(path), (*COMMON, "revision", "codelist", "table"))
    codelists = {name: _codelist(reader, name, item) for name, item in table.get("codelist", {}).items()}
    tables = tuple(_table(item, reader, codelists, lib) for item in table.get("table", ()))
    if not tables:
        raise reader.fail("table", "is missing", "[[table]] with name, title, rows and field")
    _unique([each.name for each in tables], reader, "table")
    if any(each.parameters for each in tables):
        lacking = [end for end in ENDS[1:] if end not in codelists.get("time-ends", {})]
        if lacking:
            raise reader.fail("codelist.time-ends", f"lacks {', '.join(lacking)}", "say what each is called")
    return Export(
        id=path.stem,
        title=reader.text("title"),
        revision=reader.text("revision", ""),
        status=reader.choice("status", STATUS_WORDS),
        source=reader.names("source"),
        locator=reader.text("locator", ""),
        reading=reader.prose(),
        tables=tables,
        codelists=codelists,
        hash=sha256(path.read_bytes()).hexdigest(),
    )


def _codelist(head: Reader, name: str, item: Any) -> Mapping[str, str]:
    if not isinstance(item, Mapping) or not all(isinstance(value, str) for value in item.values()):
        raise head.fail(f"codelist.{name}", f"is {item!r}", 'our word = "their word", each a text')
    return dict(item)


def _table(
    item: Mapping[str, Any], head: Reader, codelists: Mapping[str, Mapping[str, str]], lib: Library
) -> Table:
    reader = Reader(item, f"{head.where}, table `{item.get('name', '?')}`", TABLE_WORDS)
    rows = reader.choice("rows", ROWS)
    scale = _scales(reader, lib)
    for kind in reader.names("kinds"):
        if kind not in KINDS_GIVEN:
            raise reader.fail("kinds", f"names `{kind}`{near(kind, KINDS_GIVEN)}", ", ".join(KINDS_GIVEN))
    if rows == "treatments" and not reader.names("kinds"):
        raise reader.fail("kinds", "is missing", 'which treatments: kinds = ["steroid"]')
    if rows == "patients" and (len(scale) != 1 or scale == ("every",)):
        raise reader.fail("scale", f"is {', '.join(scale)}", "one scale: a row a patient holds one answer")
    fields = tuple(_field(each, reader, head, rows, codelists, lib) for each in item.get("field", ()))
    qualifiers = tuple(
        _field(each, reader, head, "episodes", codelists, lib) for each in item.get("qualifier", ())
    )
    parameters = tuple(_parameter(each, reader, head, lib) for each in item.get("parameter", ()))
    if not fields:
        raise reader.fail("field", "is missing", "name the variables: field = [{ name = ... }]")
    for key, found, wants in (("qualifier", qualifiers, "qualifiers"), ("parameter", parameters, "times")):
        if bool(found) != (rows == wants):
            raise reader.fail(key, f"and `rows` are at odds: rows is `{rows}`", f'{key} goes with "{wants}"')
    _unique([each.name for each in fields], reader, "field")
    _unique([*(each.name for each in qualifiers), *(each.name for each in parameters)], reader, "qualifier")
    return Table(
        name=reader.text("name"),
        title=reader.text("title"),
        rows=rows,
        scale=scale,
        optional=reader.flag("optional"),
        kinds=reader.names("kinds"),
        link=reader.maybe_text("link"),
        domain=reader.text("domain", ""),
        keyed_by=reader.text("keyed_by", ""),
        fields=fields,
        qualifiers=qualifiers,
        parameters=parameters,
        reading=reader.prose(),
    )


def _scales(reader: Reader, lib: Library) -> tuple[str, ...]:
    scales = reader.names("scale") or ("crs",)
    for name in scales:
        if name not in (*ROLES, *lib.scales):
            known = (*ROLES, *lib.scales)
            raise reader.fail("scale", f"names `{name}`{near(name, known)}", f"of {', '.join(known)}")
    return scales


def _field(
    item: Mapping[str, Any], table: Reader, head: Reader, rows: str,
    codelists: Mapping[str, Mapping[str, str]], lib: Library,
) -> Field:  # fmt: skip
    reader = Reader(item, f"{table.where}, field `{item.get('name', '?')}`", FIELD_WORDS)
    words = ROWS[rows]
    said = [key for key in SAID if key in item]
    if len(said) != (0 if rows == "resources" else 1):
        raise reader.fail("from", "is missing or one of several", f"exactly one of {', '.join(SAID)}")
    word = reader.choice("from", words) if "from" in item else None
    kind = reader.choice("type", TYPES, "text")
    if word is not None and kind not in words[word].types:
        fix = f"one of {', '.join(words[word].types)}"
        raise reader.fail("type", f"is `{kind}`, which `{word}` cannot be written as", fix)
    codelist = reader.maybe_text("codelist")
    if codelist is not None:
        _check_codelist(reader, codelist, codelists, words[word] if word else None)
    given, devices = measures_or_classes(reader, "given", lib), reader.names("devices")
    if bool(given or devices) != (word is not None and words[word].asks):
        raise reader.fail("given", f"and `from = {word!r}` do not go together", "given goes with `given...`")
    for device in devices:
        known = lib.measure("oxygen-device").words
        if device not in known:
            raise reader.fail("devices", f"names `{device}`{near(device, known)}", f"of {', '.join(known)}")
    source = reader.names("source") or table.names("source") or head.names("source")
    default = table.choice("status", STATUS_WORDS, head.choice("status", STATUS_WORDS))
    return Field(
        name=reader.text("name"),
        label=reader.text("label"),
        type=kind,
        word=word,
        value=reader.maybe_text("value"),
        empty=reader.text("empty", ""),
        unit=reader.text("unit", ""),
        codelist=codelist,
        given=given,
        devices=devices,
        source=source,
        locator=reader.text("locator", ""),
        status=status_of(reader, source, default),
        reading=reader.prose(),
    )


def _check_codelist(
    reader: Reader, name: str, codelists: Mapping[str, Mapping[str, str]], word: Word | None
) -> None:
    """Every word that can come must be in the list: one that is missing would be dropped or guessed."""
    if name not in codelists:
        raise reader.fail("codelist", f"names `{name}`{near(name, codelists)}", f"add [codelist.{name}]")
    if word is None or not word.choices:
        raise reader.fail("codelist", "needs a word with a closed list of answers", "drop `codelist`")
    missing = [each for each in word.choices if each not in codelists[name]]
    if missing:
        raise reader.fail("codelist", f"`{name}` lacks {', '.join(missing)}", "say what each becomes")


def _parameter(item: Mapping[str, Any], table: Reader, head: Reader, lib: Library) -> Parameter:
    reader = Reader(item, f"{table.where}, parameter `{item.get('name', '?')}`", PARAMETER_WORDS)
    event, given = reader.choice("event", EVENTS), measures_or_classes(reader, "given", lib)
    if bool(given) != (event == "given-first"):
        raise reader.fail("given", f"and `event = {event!r}` do not go together", "drop one of them")
    scale = _scales(reader, lib)
    if len(scale) != 1 or scale == ("every",):
        raise reader.fail("scale", f"is {', '.join(scale)}", "one scale a parameter")
    source = reader.names("source") or table.names("source") or head.names("source")
    return Parameter(
        name=reader.text("name"),
        label=reader.text("label"),
        scale=scale[0],
        starts=reader.choice("starts", ORIGINS),
        event=event,
        says=reader.text("says"),
        given=given,
        source=source,
        status=status_of(reader, source, head.choice("status", STATUS_WORDS)),
        reading=reader.prose(),
    )


def _unique(names: list[str], reader: Reader, key: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise reader.fail(key, f"says `{name}` twice", "one of a name; they would overwrite each other")


def variables(found: Export) -> Iterator[tuple[Table, Field]]:
    """Every variable of an export with its table."""
    for table in found.tables:
        for each in table.fields:
            yield table, each
