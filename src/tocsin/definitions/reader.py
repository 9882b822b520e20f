"""Reads tables of TOML into the shapes of schema.py, key by key; what is left over is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from tocsin.definitions.schema import (
    BOUNDS,
    FINDING_WORDS,
    FORMS,
    METHODS,
    OF_EVERY,
    REFERENCES,
    ROW_WORDS,
    WORDS_OF,
    DefinitionError,
    Finding,
    Row,
    Term,
    near,
)


class Reader:
    """Takes the keys of one TOML table, one by one, and refuses what is left over."""

    def __init__(self, table: Mapping[str, Any], where: str, allowed: Iterable[str]) -> None:
        if not isinstance(table, Mapping):
            raise DefinitionError(
                f"{where}: is {table!r}, not a table of keys\n  fix: write it as {{ key = value }}"
            )
        self.table = table
        self.where = where
        self.allowed = tuple(allowed)
        for key in table:
            if key not in self.allowed:
                raise DefinitionError(
                    f"{where}: unknown key `{key}`{near(key, self.allowed)}\n"
                    "  why: a rule that is not understood would silently not be applied\n"
                    f"  fix: use one of: {', '.join(sorted(self.allowed))}"
                )

    def fail(self, key: str, problem: str, fix: str) -> DefinitionError:
        """An error about `key` in this table."""
        return DefinitionError(f"{self.where}: `{key}` {problem}\n  fix: {fix}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self.table.get(key, default)
        if not isinstance(value, str):
            raise self.fail(
                key, "is missing" if value is None else f"is {value!r}, not text", f'{key} = "..."'
            )
        return value

    def maybe_text(self, key: str) -> str | None:
        return self.text(key) if key in self.table else None

    def number(self, key: str) -> float | None:
        value = self.table.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise self.fail(key, f"is {value!r}, not a number", f"{key} = 1.5")
        return float(value)

    def names(self, key: str) -> tuple[str, ...]:
        value = self.table.get(key, [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(key, f"is {value!r}, not a list of names", f'{key} = ["a", "b"]')
        return tuple(value)

    def weight(self) -> float:
        """A term's weight, 1 where none is given."""
        value = self.number("weight")
        if value is not None and value <= 0:
            raise self.fail("weight", f"is {value}", "weight = 0.5")
        return 1.0 if value is None else value

    def hours(self, key: str) -> float | None:
        """A number of hours above 0."""
        value = self.number(key)
        if value is not None and value <= 0:
            raise self.fail(key, f"is {value}", f"{key} = 24")
        return value

    def flag(self, key: str) -> bool:
        value = self.table.get(key, False)
        if not isinstance(value, bool):
            raise self.fail(key, f"is {value!r}, not true or false", f"{key} = true")
        return value

    def choice(self, key: str, options: Iterable[str], default: str | None = None) -> str:
        value = self.text(key, default)
        options = tuple(options)
        if value not in options:
            raise self.fail(key, f"is `{value}`{near(value, options)}", f"one of: {', '.join(options)}")
        return value

    def words(self, key: str, inner: str) -> str:
        """The text under `inner` in the table under `key`."""
        value = self.table[key][inner]
        if not isinstance(value, str):
            raise self.fail(key, f"`{inner}` is {value!r}, not the name of a finding", f'{inner} = "fever"')
        return value

    def prose(self, key: str = "reading") -> str:
        """Free text: a string, or a table of strings joined in order."""
        value = self.table.get(key, "")
        if isinstance(value, Mapping):
            return " ".join(f"{name}: {text}" for name, text in value.items())
        return self.text(key, "")


def read_finding(name: str, table: Mapping[str, Any], where: str) -> Finding:
    """Read one finding; raises `DefinitionError` naming the key that is wrong."""
    reader = Reader(table, f"{where}, finding `{name}`", FINDING_WORDS)
    form = next((key for key in FORMS if key in table), None)
    if form is None:
        raise DefinitionError(f"{where}, finding `{name}`: says nothing\n  fix: one of {', '.join(FORMS)}")
    if form in ("all", "any", "none"):
        form = "rule"
    op, bound, reference = _bound(reader, table)
    terms = tuple(
        Term(term.text("measure"), term.text("unit"), term.weight())
        for term in (
            Reader(item, f"{reader.where}, weighted_sum", ("measure", "unit", "weight"))
            for item in table.get("weighted_sum", ())
        )
    )
    items = () if form in ("rule", "measure", "weighted_sum") else reader.names(form)
    finding = Finding(
        id=name,
        form=form,
        title=reader.text("title", ""),
        measure=reader.maybe_text("measure"),
        items=items,
        op=op,
        bound=bound,
        reference=reference,
        one_of=reader.names("one_of"),
        new_since_baseline=reader.flag("new_since_baseline"),
        unit=reader.maybe_text("unit"),
        method=reader.choice("method", METHODS) if "method" in table else None,
        terms=terms,
        all=reader.names("all"),
        any=reader.names("any"),
        none=reader.names("none"),
        hold_hours=reader.hours("hold_hours"),
        within_hours=reader.hours("within_hours"),
        for_hours=reader.hours("for_hours"),
        bridge_hours=reader.number("bridge_hours") or 0.0,
        until_then=reader.choice("until_then", ("no", "possible"), "no"),
        confirmed_within_hours=reader.hours("confirmed_within_hours"),
        or_with=reader.names("or_with"),
        if_missing=reader.choice("if_missing", ("unknown", "no", "yes"), "unknown"),
        after=reader.maybe_text("after"),
        until_quiet=reader.maybe_text("until_quiet"),
        quiet_hours=reader.hours("quiet_hours"),
        reading=reader.prose(),
    )
    _require(finding, reader)
    return finding


def _bound(reader: Reader, table: Mapping[str, Any]) -> tuple[str | None, float | str | None, str | None]:
    """The one comparison of a finding: (word, number or "age-limit", reference)."""
    if reader.flag("worse_than_baseline"):
        return "above", None, "worse_than_baseline"
    reference = next((key for key in REFERENCES if key in table), None)
    if reference is not None:
        inner = table[reference]
        if not isinstance(inner, Mapping):
            raise reader.fail(reference, f"is {inner!r}, not a bound", f"{reference} = {{ above = 3 }}")
        reader = Reader(inner, f"{reader.where}, {reference}", BOUNDS)
        table = inner
    said = [key for key in BOUNDS if key in table]
    if len(said) > 1:
        raise reader.fail(said[1], "is a second bound", "one bound a finding; join two with `all`")
    if not said:
        return None, None, reference
    if table[said[0]] == "age-limit":
        return said[0], "age-limit", reference
    return said[0], reader.number(said[0]), reference


def _require(finding: Finding, reader: Reader) -> None:
    """Refuse combinations of words that would not mean anything."""
    form = finding.form
    for key in reader.table:
        if key not in WORDS_OF[form] and key not in OF_EVERY:
            said = next(word for word in FORMS if word in reader.table)
            raise reader.fail(
                key, f"means nothing beside `{said}`", f"give it a finding of its own, or drop `{key}`"
            )
    references = [key for key in (*REFERENCES, "worse_than_baseline") if key in reader.table]
    bounds = [key for key in (*BOUNDS, "one_of") if key in reader.table]
    if form == "measure" and len(references) + len(bounds) > 1:
        raise reader.fail(
            (references + bounds)[1], "is a second comparison", "one a finding; join two with `all`"
        )
    for key in ("bridge_hours", "until_then"):
        if key in reader.table and finding.for_hours is None:
            raise reader.fail(key, "needs `for_hours`", "for_hours = 3")
    if form == "given" and finding.op and finding.within_hours is None:
        raise reader.fail("at_least", "needs `within_hours`", "within_hours = 24")
    if form == "measure" and finding.op is None and not finding.one_of:
        raise reader.fail("measure", "has no bound", f"one of {', '.join((*BOUNDS, 'one_of', *REFERENCES))}")
    if form in ("weighted_sum", "count_of") and finding.op is None:
        raise reader.fail(form, "has no bound", "at_least = 2")
    if form == "ever" and not (finding.after and finding.until_quiet and finding.quiet_hours):
        raise reader.fail(
            "ever", "needs `after`, `until_quiet` and `quiet_hours`", "say what sets and clears it"
        )
    if form == "charted" and finding.within_hours is None:
        raise reader.fail("charted", "needs `within_hours`", "within_hours = 8")
    memories = [key for key in ("within_hours", "for_hours", "confirmed_within_hours") if key in reader.table]
    if len(memories) > 1:
        raise reader.fail(
            memories[1], "is a second memory", "one memory a finding; give the inner one a name"
        )
    if finding.or_with and finding.confirmed_within_hours is None:
        raise reader.fail("or_with", "needs `confirmed_within_hours`", "confirmed_within_hours = 0.5")
    if finding.if_missing != "unknown" and not finding.reading:
        raise reader.fail(
            "if_missing", f'= "{finding.if_missing}" needs a `reading`', "say why silence means that"
        )


def read_row(table: Mapping[str, Any], where: str) -> Row:
    """Read one `[[row]]` of a scale."""
    reader = Reader(table, where, ROW_WORDS)
    grade = reader.number("grade")
    if grade is None or grade not in (1, 2, 3, 4):
        raise reader.fail("grade", f"is {grade}", "a whole number from 1 to 4 (death is `fatal`)")
    row = Row(
        int(grade),
        reader.names("all"),
        reader.names("any"),
        reader.names("none"),
        reader.flag("possible"),
        reader.maybe_text("ambiguous"),
        reader.text("title", ""),
        reader.prose(),
    )
    if not row.all and not row.any:
        raise reader.fail("all", "and `any` are both empty", "a row needs findings that raise it")
    return row
