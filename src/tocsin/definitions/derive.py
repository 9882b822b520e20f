"""Reads how a derived measure is worked out: the table `derive` of its file; plain arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import DefinitionError, near

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

FORMS = ("ratio", "rise_from_lowest", "fold_of_lowest", "rate_per_kg")
WORDS = (*FORMS, "factor", "within_hours", "over_hours", "first_at_most", "room_air", "reading")


@dataclass(frozen=True, slots=True)
class Derivation:
    """How one measure follows from others.

    `ratio`: the first over the second times `factor`, while the second stands; a first above
    `first_at_most` only says more than that; on charted room air the second is `room_air`.
    `rise_from_lowest`, `fold_of_lowest`: a value against the lowest of the last `within_hours`.
    `rate_per_kg`: volumes of the last `over_hours`, an hour and kilogram.
    """

    measure: str
    form: str
    of: tuple[str, ...]
    factor: float
    hours: float
    first_at_most: float | None
    room_air: float | None = None


@lru_cache(maxsize=8)
def derivations(lib: Library) -> tuple[Derivation, ...]:
    """Every derived measure of the shelf.

    >>> from tocsin.definitions.load import library
    >>> [each.of for each in derivations(library()) if each.measure == "pf-ratio"]
    [('pao2', 'fio2')]
    """
    out = []
    for name in lib.files("measures"):
        table = lib.measure(name).raw.get("derive")
        if table is None:
            continue
        reader = Reader(table, f"measures/{name}.toml, derive", WORDS)
        said = [form for form in FORMS if form in table]
        if len(said) != 1:
            raise reader.fail("derive", "needs one form", f"one of {', '.join(FORMS)}")
        of = reader.names(said[0])
        for each in of:
            if each not in lib.measures:
                raise reader.fail(said[0], f"names `{each}`{near(each, lib.measures)}", "a measure")
        hours = reader.hours("within_hours") or reader.hours("over_hours") or 0.0
        if said[0] != "ratio" and not hours:
            raise DefinitionError(f"measures/{name}.toml: `{said[0]}` needs hours\n  fix: within_hours = 48")
        factor = reader.number("factor")
        out.append(
            Derivation(
                name,
                said[0],
                of,
                1.0 if factor is None else factor,
                hours,
                reader.number("first_at_most"),
                reader.number("room_air"),
            )
        )
    return tuple(out)
