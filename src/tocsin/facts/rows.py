"""Rows one by one: what can be said of a charted row without the rest of its patient.

Everything is decided on small tables of distinct (measure, unit) and (measure, text) pairs and then looked
up for the whole column. Rows come out in the order they came in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.definitions.load import Library
from tocsin.definitions.schema import KINDS
from tocsin.facts import meaning
from tocsin.facts.columns import INSTANT, READ, named_columns
from tocsin.facts.parse import Coded, Flags, Floats, Ints, coded, flat, numbers
from tocsin.facts.reading import Reading
from tocsin.facts.rejects import (
    NO_NUMBER,
    NO_VALUE,
    NO_WORD,
    NONE_GIVEN,
    NOT_FINITE,
    Problem,
)

#: The columns of `READ` on their way: texts as codes, the rest as Arrow arrays.
Lot = dict[str, Any]
NUMBER, CATEGORY, INFUSION, EVENT, WORD = (
    KINDS.index(kind) for kind in ("number", "category", "infusion", "event", "word")
)
#: Distinct numbers without a unit that get a message of their own; past that the message is general.
SPELLED_OUT = 200


def read_rows(
    table: Any,
    *,
    lib: Library,
    source: str = "",
    timezone: str | None = None,
    units: Mapping[str, str] | None = None,
    first_row: int | None = 1,
) -> tuple[pa.Table, pa.Table]:
    """Read charted rows, in any order; returns them (schema `READ`) and the rejects.

    `table` may hold texts where `RAW` has numbers and times. `timezone` is for times without a zone; None
    refuses them. `units` is the unit of a measure where its rows have none. `first_row` numbers the first
    row; None where `table` is no file of ours, and rows are known by their `source`. Raises `FactsError`
    when a column that must be there is not.
    """
    lot, kept, rejects = read_lot(
        table, lib=lib, source=source, timezone=timezone, units=units, first_row=first_row
    )
    columns = [lot[name].encoded() if isinstance(lot[name], Coded) else lot[name] for name in READ.names]
    rows = pa.table(columns, names=READ.names)
    return rows if kept is None else rows.filter(pa.array(kept)), rejects


def read_lot(
    table: Any,
    *,
    lib: Library,
    source: str = "",
    timezone: str | None = None,
    units: Mapping[str, str] | None = None,
    first_row: int | None = 1,
) -> tuple[Lot, Flags | None, pa.Table]:
    """The same for who settles them at once: columns as codes, which rows stay (None: all), the rejects."""
    table = pa.table(table) if not isinstance(table, pa.Table | pa.RecordBatch) else table
    columns = named_columns(table.schema.names, source)
    given = {name: flat(table.column(place)) for name, place in columns.items()}
    return _Amounts(given, table.num_rows, lib, source, units or {}, first_row).read(timezone)


class _Amounts(Reading):
    """The amounts of charted rows, and the rows as they leave."""

    def read(self, timezone: str | None) -> tuple[Lot, Flags | None, pa.Table]:
        self.who()
        self.when(timezone)
        self.lost = self.problems.first > 0  # nothing can be said of these rows
        self.period(timezone)
        self.words()
        self.amounts()
        self.convert()
        self.references()
        return self.result()

    def amounts(self) -> None:
        """Settle `value` as written: that there is one where one is due, and its sign."""
        mark, kind = self.problems.mark, self.kind
        read = numbers(self.given.get("value"), self.length)
        self.value: Floats = read.values
        has = ~np.isnan(self.value)
        sized = (kind == NUMBER) | (kind == INFUSION) | (kind == EVENT)
        self.refuse(read.wrong & sized, NO_NUMBER)
        if read.sign is not None:
            for sign in ("<", ">"):
                where = (read.sign == sign) & sized & (self.outcome == meaning.PLAIN)
                self.saying[where] = self.say(sign)
        settled = (self.outcome == meaning.UNUSABLE) | self.retracted
        self.refuse(np.isinf(self.value) & sized, NOT_FINITE)
        mark(~has & (kind == NUMBER) & ~settled, NO_VALUE)
        silent = self.saying < 0
        for place, measure in enumerate(self.known):
            if measure is not None and measure.kind == "word" and "unknown" in measure.words:
                self.saying[silent & (self.measure.codes == place)] = self.say("unknown")
        mark((self.saying < 0) & ((kind == CATEGORY) | (kind == WORD)), NO_WORD)
        self.pushes = (kind == INFUSION) & (self.outcome == meaning.PUSHED)
        self.runs = (kind == INFUSION) & ~has & ~settled & ~self.pushes & (self.problems.first == 0)
        # A word that only says "running" adds nothing to a rate.
        self.saying[(kind == INFUSION) & has & (self.outcome == meaning.RUNS)] = -1
        self.sized = has & sized & ~settled
        self.value = np.where(self.sized, self.value, np.nan)

    def convert(self) -> None:
        """Bring every number into its measure's unit, once per distinct pair."""
        charted = self.text("unit")
        size = len(charted.words) + 1
        pair = np.where(self.kind >= 0, self.measure.codes * size + charted.codes + 1, 0)
        used = np.flatnonzero(np.bincount(pair[self.sized], minlength=size * (len(self.known) + 1)))
        plans = [self.plan(charted, int(key) // size, int(key) % size) for key in used]
        blank = meaning.UnitPlan(meaning.VALUE)
        lookup = np.full(size * (len(self.known) + 1), len(plans))
        lookup[used] = np.arange(len(used))
        at = np.where(self.sized, lookup[pair], len(plans))
        plans.append(blank)
        outcome = np.array([plan.outcome for plan in plans])[at]
        self.pending = np.array([plan.weight for plan in plans], np.int8)[at]
        zero = self.sized & (self.value == 0) & (self.kind == INFUSION)
        stopped = (
            zero
            & (outcome != meaning.PUSH)
            & ~self.pushes
            & ((outcome == meaning.VALUE) | (outcome == meaning.RUNNING) | (charted.codes < 0))
        )
        outcome = np.where(stopped, meaning.VALUE, outcome)
        self.pending[stopped] = 0
        self.units_out = [plan.unit for plan in plans]
        self.unit_at = at
        self.zero_of = stopped
        self.pushes |= self.sized & (outcome == meaning.PUSH)
        self.runs |= self.sized & (outcome == meaning.RUNNING)
        # First of all: a dose of 0 in no unit at all is still no dose.
        self.nothing = (
            self.sized & (self.value == 0) & (self.pushes | ((self.kind == EVENT) & (self.saying < 0)))
        )
        self.problems.mark(self.nothing, NONE_GIVEN)
        self.mark_units(plans, at)
        self.plan_columns = [
            np.array([getattr(plan, name) for plan in plans]) for name in ("shift", "num", "den")
        ]
        self.taken = self.sized & (outcome == meaning.VALUE) & ~self.pushes
        with np.errstate(invalid="ignore"):
            converted = self.scaled(self.value)
        self.doses = self.sized & self.pushes
        self.raw_value = self.value
        self.value = np.where(self.taken, converted, np.where(self.doses, self.value, np.nan))
        self.value[stopped] = 0.0
        self.check_range()

    def scaled(self, values: Floats) -> Floats:
        shift, num, den = self.plan_columns
        result: Floats = (values + shift[self.unit_at]) * num[self.unit_at] / den[self.unit_at]
        return result

    def plan(self, charted: Coded, measure: int, unit: int) -> meaning.UnitPlan:
        definition = self.known[measure]
        assert definition is not None
        word = charted.words[unit - 1] if unit else self.units.get(definition.id)
        return meaning.unit_plan(definition, word)

    def mark_units(self, plans: list[meaning.UnitPlan], at: Ints) -> None:
        for place, plan in enumerate(plans):
            if plan.problem is None:
                continue
            rows = self.sized & (at == place) & ~self.zero_of
            if plan.problem.what == "has no unit":
                self.mark_missing(rows)
            self.problems.mark(rows, plan.problem)

    def mark_missing(self, rows: Flags) -> None:
        values = np.unique(self.value[rows])
        if len(values) > SPELLED_OUT or not np.any(rows):
            return
        measure = self.known[int(self.measure.codes[rows][0])]
        assert measure is not None
        for value in values.tolist():
            self.problems.mark(rows & (self.value == value), meaning.missing_unit(measure, value))

    def check_range(self) -> None:
        bounds = [meaning.limits(measure) if measure else (-np.inf, np.inf) for measure in self.known]
        bounds.append((-np.inf, np.inf))
        low, high = (np.array(side)[self.measure.codes] for side in zip(*bounds, strict=True))
        compared = np.isin(self.saying, [self.said[sign] for sign in ("<", ">") if sign in self.said])
        checked = self.taken & (self.pending == 0) & ~compared & (self.problems.first == 0)
        with np.errstate(invalid="ignore"):
            outside = checked & ((self.value < low) | (self.value > high))
        outside |= self.taken & (self.kind == INFUSION) & (self.value < 0)
        for place in np.unique(self.measure.codes[outside]).tolist():
            measure = self.known[place]
            assert measure is not None
            self.problems.mark(outside & (self.measure.codes == place), meaning.impossible(measure))

    def references(self) -> None:
        """Bring the laboratory's own limits into the same unit."""
        self.ref: dict[str, Floats | None] = {}
        usable = self.taken & (self.pending == 0)
        for name in ("ref_low", "ref_high"):
            column = self.given.get(name)
            if column is None or column.null_count == self.length:
                self.ref[name] = None
                continue
            read = numbers(self.given.get(name), self.length)
            self.problems.mark(
                read.wrong & (self.kind == NUMBER),
                Problem(
                    f"has a `{name}` that is no number",
                    "the row stays in the table; the definition's limits stand in",
                    "write the laboratory's limit as a number in the row's unit",
                    "kept-without-limits",
                ),
            )
            with np.errstate(invalid="ignore"):
                self.ref[name] = np.where(usable & np.isfinite(read.values), self.scaled(read.values), np.nan)

    def result(self) -> tuple[Lot, Flags | None, pa.Table]:
        refused = self.problems.of_kind("rejected")
        read = (self.kind == NUMBER) | (self.kind == CATEGORY) | (self.kind == INFUSION)
        dropped = refused & (self.lost | self.nothing | self.retracted | ~read)
        unusable = refused & ~dropped
        doseless = self.problems.of_kind("kept-as-given") | self.runs | unusable
        value = np.where(doseless, np.nan, self.value)
        for where, word in ((self.runs, "running"), (self.pushes, "push"), (unusable, "unusable")):
            if np.any(where):
                self.saying[where] = self.say(word)
        empty = np.isnan(value)
        pending = np.where(empty, 0, self.pending).astype(np.int8)
        unasked = pending == 0
        units = self.text("unit") if np.any(pending) else Coded(np.full(self.length, -1, np.int64), [])
        lot = {
            "patient_id": self.patient,
            "measure": self.measure,
            "time": instant_array(self.time),
            "value": pa.array(value, mask=empty),
            "text": Coded(self.saying, list(self.said)),
            "unit": self.out_units(empty),
            "end": instant_array(self.end, self.no_end),
            "recorded": instant_array(self.recorded, self.no_record),
            **{name: self.limits(limit, doseless) for name, limit in self.ref.items()},
            "method": self.text("method"),
            **{name: self.plain(name) for name in ("source", "replaces")},
            "weight": pa.nulls(self.length, pa.float64()),
            # Rows known by their source carry no second copy of it through the sort.
            "file": coded(self.file if self.own else None, self.length),
            "row": self.row,
            "pending": pa.array(pending),
            "charted_value": pa.array(self.raw_value, mask=unasked),
            "charted_unit": Coded(np.where(unasked, -1, units.codes), units.words),
        }
        kept = ~dropped if np.any(dropped) else None
        if not len(self.problems.known):
            return lot, kept, self.problems.table({})
        rejects = self.problems.table(
            {
                "file": self.file,
                "row": self.row,
                **{
                    name: self.given[name]
                    for name in ("patient_id", "time", "measure", "value", "text", "unit")
                    if name in self.given
                },
            }
        )
        return lot, kept, rejects

    def limits(self, limit: Floats | None, doseless: Flags) -> pa.Array:
        """The laboratory's own limits as a column."""
        if limit is None:
            return pa.nulls(self.length, pa.float64())
        return pa.array(limit, mask=np.isnan(limit) | doseless)

    def out_units(self, empty: Flags) -> Coded:
        words: dict[str, int] = {}
        codes = [-1 if unit is None else words.setdefault(unit, len(words)) for unit in self.units_out]
        at = np.array(codes, np.int64)[self.unit_at]
        if np.any(self.zero_of):
            # A stopped infusion is 0 in the measure's own unit whatever was charted beside it.
            own = [words.setdefault((m.unit or "1") if m else "1", len(words)) for m in self.known]
            at[self.zero_of] = np.array(own)[self.measure.codes[self.zero_of]]
        return Coded(np.where(empty, -1, at), list(words))

    def plain(self, name: str) -> pa.Array:
        array = self.given.get(name)
        if array is None or pa.types.is_null(array.type):
            return pa.nulls(self.length, pa.string())
        return array if pa.types.is_string(array.type) else coded(array, self.length).array()


def instant_array(values: Ints, absent: Flags | None = None) -> pa.Array:
    """Microseconds since 1970 as an instant column."""
    if absent is not None and np.all(absent):
        return pa.nulls(len(values), INSTANT)
    return pa.array(values, pa.int64(), mask=absent).view(INSTANT)
