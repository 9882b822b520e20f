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
from tocsin.definitions.schema import KINDS, near
from tocsin.facts import meaning
from tocsin.facts.columns import INSTANT, READ, named_columns
from tocsin.facts.parse import ABSENT, BAD, NAIVE, Coded, Flags, Floats, Ints, coded, flat, instants, numbers
from tocsin.facts.rejects import (
    NO_MEASURE,
    NO_NUMBER,
    NO_PATIENT,
    NO_TIME,
    NO_VALUE,
    NO_WORD,
    NONE_GIVEN,
    NOT_FINITE,
    RETRACTS_NOTHING,
    Problem,
    Problems,
)

NUMBER, CATEGORY, INFUSION, EVENT, WORD = (
    KINDS.index(kind) for kind in ("number", "category", "infusion", "event", "word")
)
#: Distinct numbers without a unit that get a message of their own; past that the message is general.
SPELLED_OUT = 200
KEPT = "; the row stays in the table as given"


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
    table = pa.table(table) if not isinstance(table, pa.Table | pa.RecordBatch) else table
    columns = named_columns(table.schema.names, source)
    given = {name: flat(table.column(place)) for name, place in columns.items()}
    return _Reading(given, table.num_rows, lib, source, units or {}, first_row).read(timezone)


class _Reading:
    """One table on its way through; each method settles one column for all rows."""

    def __init__(
        self,
        given: Mapping[str, pa.Array],
        length: int,
        lib: Library,
        source: str,
        units: Mapping[str, str],
        first: int | None,
    ) -> None:
        self.given, self.length, self.lib, self.units = given, length, lib, units
        self.texts: dict[str, Coded] = {}
        self.problems = Problems(np.zeros(length, np.int64))
        row, file = given.get("row"), given.get("file")
        self.own = first is not None
        if not self.own:
            row, file = pa.nulls(length, pa.int64()), given.get("source")
        self.row = (
            pa.array(np.arange(first or 0, (first or 0) + length)) if row is None else row.cast(pa.int64())
        )
        self.file = Coded(np.zeros(length, np.int64), [source]).encoded() if file is None else file

    def text(self, name: str) -> Coded:
        """A text column as codes, worked out once."""
        if name not in self.texts:
            self.texts[name] = coded(self.given.get(name), self.length)
        return self.texts[name]

    def read(self, timezone: str | None) -> tuple[pa.Table, pa.Table]:
        self.who()
        self.when(timezone)
        self.lost = self.problems.first > 0  # nothing can be said of these rows
        self.period(timezone)
        self.words()
        self.amounts()
        self.convert()
        self.references()
        return self.result()

    def who(self) -> None:
        mark = self.problems.mark
        self.patient = self.text("patient_id")
        mark(self.patient.codes < 0, NO_PATIENT)
        self.measure = self.text("measure")
        mark(self.measure.codes < 0, NO_MEASURE)
        self.known = [self.lib.measures.get(word, None) for word in self.measure.words]
        kinds = [-1 if measure is None else KINDS.index(measure.kind) for measure in self.known]
        self.kind = np.array([*kinds, -1])[self.measure.codes]
        for place, word in enumerate(self.measure.words):
            if kinds[place] < 0:
                mark(
                    self.measure.codes == place,
                    Problem(
                        f"is no measure{near(word, self.lib.measures)}",
                        "a fact that is not understood would silently be missing from the grade",
                        "use an id of `tocsin list measures`, or add a definition of your own",
                    ),
                )

    def instant(self, name: str, timezone: str | None) -> tuple[Ints, Ints]:
        values, status = instants(self.given.get(name), self.length, timezone)
        naive = Problem(
            f"has a `{name}` without a time zone",
            "the same clock time is a different instant in every zone",
            "write the zone: 2024-03-01T14:30Z or 2024-03-01T14:30+01:00",
        )
        wrong = Problem(
            f"has a `{name}` that is no time",
            "without a time it cannot be put in order",
            "write ISO 8601 with a zone: 2024-03-01T14:30Z",
        )
        for state, problem in ((NAIVE, naive), (BAD, wrong)):
            self.refuse(status == state, problem, keeps=name != "time")
        return values, status

    def refuse(self, where: Flags, problem: Problem, keeps: bool = True) -> None:
        """Refuse rows; an event among them still happened, and stays without what is wrong."""
        if keeps and np.any(where):
            self.problems.mark(
                where & (self.kind == EVENT),
                Problem(problem.what, problem.why + KEPT, problem.fix, "kept-as-given"),
            )
        self.problems.mark(where, problem)

    def when(self, timezone: str | None) -> None:
        self.time, status = self.instant("time", timezone)
        self.problems.mark(status == ABSENT, NO_TIME)

    def period(self, timezone: str | None) -> None:
        self.end, ends = self.instant("end", timezone)
        self.recorded, records = self.instant("recorded", timezone)
        backward = (ends == 0) & (self.end < self.time)
        self.refuse(
            backward,
            Problem("ends before it begins", "how long it lasted is not known", "correct `time` or `end`"),
        )
        self.no_end = (ends != 0) | backward
        self.no_record = records != 0

    def words(self) -> None:
        """Settle `text`: comparators, words of a category, and the words that say what a row is."""
        texts = self.text("text")
        self.outcome = np.zeros(self.length, np.int64)
        self.said: dict[str, int] = {}
        self.saying = np.full(self.length, -1, np.int64)
        places = np.flatnonzero((texts.codes >= 0) & (self.kind >= 0))
        size = max(len(texts.words), 1)
        pairs, which = np.unique(self.measure.codes[places] * size + texts.codes[places], return_inverse=True)
        plans = []
        for pair in pairs.tolist():
            measure = self.known[pair // size]
            assert measure is not None
            plans.append(meaning.word_plan(measure, texts.words[pair % size]))
        if plans:
            self.outcome[places] = np.array([plan.outcome for plan in plans])[which]
            self.saying[places] = np.array([self.say(plan.text) for plan in plans])[which]
            numbers_ = [self.problems.number(plan.problem) if plan.problem else 0 for plan in plans]
            self.problems.put(places, np.array(numbers_)[which])
        self.retracted = self.outcome == meaning.RETRACTED
        if np.any(self.retracted):
            self.problems.mark(self.retracted & (self.text("replaces").codes < 0), RETRACTS_NOTHING)

    def say(self, text: str | None) -> int:
        return -1 if text is None else self.said.setdefault(text, len(self.said))

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
        self.ref = {}
        usable = self.taken & (self.pending == 0)
        for name in ("ref_low", "ref_high"):
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

    def result(self) -> tuple[pa.Table, pa.Table]:
        kinds = self.problems.kinds()
        refused = kinds == "rejected"
        read = (self.kind == NUMBER) | (self.kind == CATEGORY) | (self.kind == INFUSION)
        dropped = refused & (self.lost | self.nothing | self.retracted | ~read)
        unusable = refused & ~dropped
        doseless = (kinds == "kept-as-given") | self.runs | unusable
        value = np.where(doseless, np.nan, self.value)
        for where, word in ((self.runs, "running"), (self.pushes, "push"), (unusable, "unusable")):
            if np.any(where):
                self.saying[where] = self.say(word)
        empty = np.isnan(value)
        pending = np.where(empty, 0, self.pending).astype(np.int8)
        unasked = pending == 0
        units = self.text("unit") if np.any(pending) else Coded(np.full(self.length, -1, np.int64), [])
        out = {
            "patient_id": self.patient.encoded(),
            "measure": self.measure.encoded(),
            "time": instant_array(self.time),
            "value": pa.array(value, mask=empty),
            "text": Coded(self.saying, list(self.said)).encoded(),
            "unit": self.out_units(empty).encoded(),
            "end": instant_array(self.end, self.no_end),
            "recorded": instant_array(self.recorded, self.no_record),
            **{name: pa.array(limit, mask=np.isnan(limit) | doseless) for name, limit in self.ref.items()},
            "method": self.text("method").encoded(),
            **{name: self.plain(name) for name in ("source", "replaces")},
            "weight": pa.nulls(self.length, pa.float64()),
            # Rows known by their source carry no second copy of it through the sort.
            "file": self.file if self.own else pa.nulls(self.length, pa.string()),
            "row": self.row,
            "pending": pa.array(pending),
            "charted_value": pa.array(self.raw_value, mask=unasked),
            "charted_unit": Coded(np.where(unasked, -1, units.codes), units.words).encoded(),
        }
        rows = pa.table([out[name] for name in READ.names], names=READ.names)
        if np.any(dropped):
            rows = rows.filter(pa.array(~dropped))
        if not len(self.problems.known):
            return rows, self.problems.table({})
        return rows, self.problems.table(
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
    return pa.array(values, pa.int64(), mask=absent).cast(INSTANT)
