"""What is held of one person beside the machine, and taking up many stored persons at once.

Facts stay in the store. Many persons are taken up as files are graded: as columns, by the machine that walks
whole files; a machine that takes one fact at a time is made for whoever gets one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library
from tocsin.facts import resolve, settle
from tocsin.grading.batch import run
from tocsin.grading.compile import Compiled
from tocsin.grading.opcodes import INF
from tocsin.grading.rows import prepare
from tocsin.watch.births import DETAILS, day_of
from tocsin.watch.intake import plain
from tocsin.watch.ledger import COLUMNS
from tocsin.watch.newest import Newest, telling
from tocsin.watch.standing import Reader, Span, Standing, Told

Row = Mapping[str, Any]


@dataclass(slots=True)
class Held:
    """What is held of one person, besides the machine. `weights` are rows that rates may be taken with;
    `looks_back` says that new facts may change what older ones mean; `next` is when the answer may change
    with time alone; `ages` is when the first fact of each year was, where the age comes from a birth date."""

    standing: dict[str, Standing] = field(default_factory=dict)
    spans: dict[str, list[Span]] = field(default_factory=dict)
    next: int = INF
    newest: Newest = field(default_factory=Newest)
    weights: list[Row] = field(default_factory=list)
    infusions: bool = False
    looks_back: bool = False
    ages: dict[int, int] = field(default_factory=dict)

    def note(self, row: Row, lib: Library) -> None:
        """Remember what of a stored row decides how later ones are taken."""
        self.infusions = self.infusions or by_weight(row, lib)
        self.looks_back = self.looks_back or bool(row["replaces"])
        if row["measure"] == "weight":
            said = {name: row[name] for name in COLUMNS}
            if said not in self.weights:
                self.weights.append(said)
        if row["measure"] == "age" and row["source"] == DETAILS:
            self.ages[day_of(row["time"]).year] = row["time"]

    def ages_with(self, row: Row) -> bool:
        """Whether a new row is the first of its year, so that it says a new age."""
        return bool(self.ages) and row["time"] < self.ages.get(day_of(row["time"]).year, INF)


def by_weight(row: Row, lib: Library) -> bool:
    """Whether a weight that comes later may change what a stored row means."""
    measure = lib.measures.get(row["measure"])
    return bool(row["pending"]) or (measure is not None and measure.kind == "infusion")


def canonical(rows: pa.Table, lib: Library) -> pa.Table:
    """Stored rows of whole persons as facts that are graded, corrections done."""
    table: pa.Table = resolve(settle(rows, lib=lib).table)
    return table


def notable(rows: pa.Table, lib: Library) -> list[dict[str, Any]]:
    """The few stored rows that `Held.note` remembers anything of."""
    infusions = [name for name, measure in lib.measures.items() if measure.kind == "infusion"]
    named = pc.is_in(rows["measure"], pa.array([*infusions, "weight", "age"]))
    told = pc.or_(named, pc.is_valid(rows["replaces"]))
    return plain(rows.filter(pc.or_(told, pc.fill_null(pc.not_equal(rows["pending"], 0), False))))


def take_up(
    rows: pa.Table, program: Compiled, reader: Reader, lib: Library, now: int, *, fast: bool
) -> dict[str, Held]:
    """Everybody of whom these are the stored rows, as they stand at `now`; `fast` walks the compiled
    machine."""
    table = canonical(rows, lib)
    if not table.num_rows:
        return {}
    prepared, starts, patients = prepare(table, program, lib)
    names = patients.to_pylist()
    answers: dict[int, list[list[int]]] = {}
    for row in run(program, prepared, starts, now + 1, True, fast).tolist():
        answers.setdefault(row[0], []).append(row)
    soonest = np.full(len(names), INF)
    ahead = run(program, prepared, starts, INF, False, fast)
    ahead = ahead[(ahead[:, 3] > now) & (ahead[:, 3] < INF)]
    np.minimum.at(soonest, ahead[:, 0], ahead[:, 3])
    newest = newest_of(table, lib)
    found: dict[str, Held] = {}
    for place, who in enumerate(names):
        standing, spans = reader.read((), answers.get(place, []), now, Told())
        found[who] = Held(standing, spans, int(soonest[place]), newest[who])
    for fact in notable(rows, lib):
        if fact["patient_id"] in found:
            found[fact["patient_id"]].note(fact, lib)
    return found


def newest_of(table: pa.Table, lib: Library) -> dict[str, Newest]:
    """What is newest of each person, from all canonical facts."""
    return {who: Newest.of(facts, lib) for who, facts in grouped(plain(telling(table, lib))).items()}


def grouped(facts: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Facts by person, in the order they come."""
    found: dict[str, list[dict[str, Any]]] = {}
    for fact in facts:
        found.setdefault(fact["patient_id"], []).append(fact)
    return found
