"""Whole patients: order, duplicates, rates by weight, corrections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library
from tocsin.definitions.schema import Measure
from tocsin.facts import meaning
from tocsin.facts.columns import CODED, INSTANT, METADATA, READ, REJECTS, SCHEMA, Canonical, FactsError
from tocsin.facts.parse import Coded, Flags, Floats, Ints, coded, flat
from tocsin.facts.rejects import Problem, Problems
from tocsin.facts.rows import Lot, read_lot, read_rows
from tocsin.facts.weights import NEVER, Charted, weights_for

HOUR = 3_600_000_000
#: What makes two facts of one patient, time and measure different, in the order that sorts them.
KEPT = {*SCHEMA.names, "file", "row"}
SAID = [name for name in SCHEMA.names if name not in ("patient_id", "time", "measure", "weight")]


def canonical(
    table: Any,
    *,
    lib: Library,
    source: str = "",
    timezone: str | None = None,
    units: Mapping[str, str] | None = None,
) -> Canonical:
    """Facts ready to grade, from charted rows of whole patients.

    The result depends on the set of rows alone: not on their order, not on duplicates. A row that cannot be
    taken is in `rejects` with what, why and fix; where its patient, time and measure are known it leaves a
    row with the text `unusable`, because a reading that cannot be read is unknown and not absent.

    Parameters
    ----------
    table    : anything Arrow can take; columns of `RAW`, of which only `patient_id, time, measure` must be
    there. source   : the file's name, for messages and for rows without a `source` of their own. timezone :
    where times without a zone were written; None refuses such rows. units    : measure to the unit of its
    rows that have none.

    Raises `FactsError` when a column is missing or doubled, or `units` makes no sense.

    >>> from tocsin.definitions.load import library
    >>> rows = {"patient_id": ["a"], "time": ["2024-03-01T10:00Z"], "measure": ["temperature"],
    ...         "value": ["100.4"], "unit": ["F"]}
    >>> canonical(rows, lib=library()).table["value"].to_pylist()
    [38.0]
    """
    check_units(units or {}, lib)
    lot, kept, refused = read_lot(table, lib=lib, source=source, timezone=timezone, units=units)
    done = settle_lot(lot, kept, lib=lib)
    if done.rejects.num_rows:
        refused = pa.concat_tables([refused, done.rejects]).combine_chunks()
    return Canonical(done.table, refused)


def check_units(units: Mapping[str, str], lib: Library) -> None:
    """Refuse a `--unit` that names no measure or a unit it cannot have."""
    for name, unit in units.items():
        measure = lib.measure(name)
        plan = meaning.unit_plan(measure, unit)
        if plan.outcome == meaning.REFUSED or measure.unit is None:
            raise FactsError(
                f"--unit {name}={unit}: {plan.problem.what if plan.problem else 'the measure has no unit'}\n"
                "  why: every row without a unit would be read in it\n"
                f"  fix: one of {', '.join(meaning.accepted(measure))}"
            )


def settle(rows: pa.Table, *, lib: Library) -> Canonical:
    """Finish read rows (`READ`) of whole patients: order them, drop duplicates, find rates by weight."""
    lot: Lot = {
        name: coded(rows.column(name), rows.num_rows) if name in CODED else flat(rows.column(name))
        for name in READ.names
    }
    return settle_lot(lot, None, lib=lib)


def settle_lot(lot: Lot, kept: Flags | None, *, lib: Library) -> Canonical:
    """The same for rows on their way, of which only those `kept` count (None: all)."""
    rows = None if kept is None else np.flatnonzero(kept)
    if not len(lot["time"] if rows is None else rows):
        return Canonical(SCHEMA.with_metadata(METADATA).empty_table(), REJECTS.empty_table())
    for name in ("patient_id", "measure"):
        lot[name] = ranked(lot[name])
    # The columns are rearranged once, at the end: until then the order is a list of places.
    order = place_in_order(lot, rows)
    rejects = by_weight(lot, lib, kept, order)
    # Last, when all values are what they will be: rates charted in two units may be one fact.
    order = without_twins(lot, order)
    if order is not None:
        lot = {name: taken(lot[name], order) for name in lot if name in KEPT}
    lot["source"] = named_sources(lot)
    columns = {
        name: lot[name].array() if isinstance(lot[name], Coded) else lot[name] for name in SCHEMA.names
    }
    return Canonical(pa.table(columns, schema=SCHEMA.with_metadata(METADATA)), rejects)


def ranked(texts: Coded) -> Coded:
    """The same texts with codes in alphabetical (byte) order."""
    words = sorted(texts.words, key=str.encode)
    if words == texts.words:
        return texts
    place = {word: rank for rank, word in enumerate(words)}
    return Coded(np.array([place[word] for word in texts.words])[texts.codes], words)


def taken(column: Any, places: Ints) -> Any:
    """Rows of a column by place."""
    if isinstance(column, Coded):
        return column.take(places)
    if column.null_count == len(column):
        return pa.nulls(len(places), column.type)
    return pc.take(column, pa.array(places), boundscheck=False)


def micros(column: pa.Array) -> Ints:
    """Instants without gaps as microseconds."""
    result: Ints = column.cast(pa.int64()).to_numpy()
    return result


def place_in_order(lot: Lot, rows: Ints | None) -> Ints | None:
    """The order of `rows` (None: all) by patient, time and measure; `rows` where they have it already."""
    patient, measure, time = lot["patient_id"], lot["measure"], micros(lot["time"])
    if rows is not None:
        patient, measure, time = patient.take(rows), measure.take(rows), time[rows]
    since = time - time.min()
    # Charts keep minutes or seconds: in those, patient, time and measure fit one integer, which sorts
    # fastest.
    tick = next(tick for tick in (60_000_000, 1_000_000, 1_000, 1) if not np.any(since % tick))
    span, kinds = int(since.max()) // tick + 1, max(len(measure.words), 1)
    if len(patient.words) * span * kinds < 2**62:
        key = (patient.codes * span + since // tick) * kinds + measure.codes
        if np.all(key[1:] >= key[:-1]):
            return rows
        order = np.argsort(key)
    else:
        order = np.lexsort((measure.codes, time, patient.codes))
    return order if rows is None else rows[order]


def without_twins(lot: Lot, order: Ints | None) -> Ints | None:
    """Places of the rows to keep of those in `order`, in an order that does not depend on where they stood;
    None = all as they are.

    Rows of one patient, time and measure are put in order of all their columns; equal ones are one fact. A
    row that names no source is named after its file and row, which makes it no other fact than its twin.
    """
    keep = np.arange(len(lot["time"])) if order is None else order
    same = np.ones(len(keep) - 1, bool)
    for values in (lot["patient_id"].codes, micros(lot["time"]), lot["measure"].codes):
        ordered = values if order is None else values[order]
        same &= ordered[1:] == ordered[:-1]
    if not np.any(same):
        return order
    crowd = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    places = np.flatnonzero(crowd)
    group = np.concatenate([[0], np.cumsum(~same)])[places]
    part = {"group": pa.array(group)}
    for name in (*SAID, "file", "row"):
        column = taken(lot[name], keep[places])
        column = column.array() if isinstance(column, Coded) else column
        if column.null_count < len(column):
            part[name] = column
    within = pc.sort_indices(pa.table(part), sort_keys=[(name, "ascending") for name in part])
    twin = np.ones(len(places) - 1, bool)
    for name in part:
        if name not in ("file", "row"):
            twin &= equal_to_next(pc.take(part[name], within))
    keep = keep.copy()
    keep[places] = keep[places[within.to_numpy()]]
    lost = np.zeros(len(keep), bool)
    lost[places[1:]] = twin
    return keep[~lost]


def equal_to_next(column: pa.Array) -> Any:
    """For each row but the last, whether the next holds the same (two nulls are the same)."""
    a, b = column[:-1], column[1:]
    both = pc.and_(pc.is_null(a), pc.is_null(b))
    return pc.coalesce(pc.equal(a, b), both).to_numpy(zero_copy_only=False)


def by_weight(lot: Lot, lib: Library, kept: Flags | None, order: Ints | None) -> pa.Table:
    """Fill `weight`, finish what lacks it, keep as running (or given) what has none; returns the rejects.

    Only rows that are `kept` count; the rejects come in `order`.
    """
    measure, patient, power = lot["measure"], lot["patient_id"].codes, lot["pending"].to_numpy()
    infusion = np.array(
        [name in lib.measures and lib.measures[name].kind == "infusion" for name in measure.words]
    )[measure.codes]
    if kept is not None:
        infusion &= kept
        power = np.where(kept, power, 0)
    rows = np.flatnonzero(infusion | (power != 0))
    if not len(rows):
        return REJECTS.empty_table()
    time = micros(lot["time"])
    recorded = coalesced(lot["recorded"], time)
    value = lot["value"].to_numpy(zero_copy_only=False).astype(np.float64)
    weight = np.full(len(time), np.nan)
    if "weight" in measure.words:
        charted = charted_weights(lot, time, recorded, value, kept)
        hold = round((lib.measure("weight").hold_hours or 1e6) * HOUR)
        weight[rows] = weights_for(charted, patient[rows], time[rows], recorded[rows], hold)
    lot["weight"] = pa.array(weight, mask=np.isnan(weight) | ~infusion)
    waiting = np.flatnonzero(power)
    if not len(waiting):
        return REJECTS.empty_table()
    value[waiting] *= weight[waiting] ** power[waiting].astype(np.float64)
    return finish(lot, lib, value, waiting, order)


def finish(lot: Lot, lib: Library, value: Floats, waiting: Ints, order: Ints | None) -> pa.Table:
    """Put the values that a weight finished in, and say which could not be."""
    problems = Problems(np.zeros(len(value), np.int64))
    measure = lot["measure"]
    mine = np.zeros(len(value), bool)
    mine[waiting] = True
    saying, words = lot["text"].codes.copy(), list(lot["text"].words)
    for place in np.unique(measure.codes[waiting]).tolist():
        definition = lib.measures[measure.words[place]]
        rows = mine & (measure.codes == place)
        infusion = definition.kind == "infusion"
        none = rows & np.isnan(value)
        problems.mark(none, no_weight(definition))
        low, high = meaning.limits(definition)
        outside = rows & ((value < low) | (value > high))
        problems.mark(outside, meaning.impossible(definition))
        for where, word in ((none, "running"), (outside, "unusable")):
            if infusion and np.any(where):
                words = words if word in words else [*words, word]
                saying[where] = words.index(word)
        value[none | outside] = np.nan
    empty = np.isnan(value)
    lot["value"] = pa.array(value, mask=empty)
    lot["text"] = Coded(saying, words)
    lot["unit"] = Coded(np.where(empty, -1, lot["unit"].codes), lot["unit"].words)
    named = {name: lot[name] for name in ("file", "row", "patient_id", "time", "measure")}
    if not lot["file"].words:
        named["file"] = lot["source"]
    charted = {"value": lot["charted_value"], "unit": lot["charted_unit"]}
    return problems.table({**named, **charted}, order)


def no_weight(measure: Measure) -> Problem:
    """The problem of a dose per kilogram that cannot be known."""
    infusion = measure.kind == "infusion"
    kept = "running" if infusion else "given"
    return Problem(
        f"cannot become {measure.unit}: no weight was charted by then",
        f"the rate per kilogram is not known; {meaning.STAYS.format(kept)}"
        + (", which widens `up_to` where dose matters" if infusion else ""),
        "add a `weight` row in kg at or before it (method `dosing` for the weight the pump was set to)",
        f"kept-as-{kept}",
    )


def coalesced(column: pa.Array, otherwise: Ints) -> Ints:
    """Instants as microseconds, `otherwise` where there is none."""
    if column.null_count == len(column):
        return otherwise
    if not column.null_count:
        return micros(column)
    absent = column.is_null().to_numpy(zero_copy_only=False)
    return np.where(absent, otherwise, micros(pc.fill_null(column.cast(pa.int64()), 0)))


def charted_weights(lot: Lot, time: Ints, recorded: Ints, value: Floats, kept: Flags | None) -> Charted:
    """The weights that can serve: plain numbers, with the time at which a correction of each was known."""
    measure, patient, method = lot["measure"], lot["patient_id"].codes, lot["method"]
    plain = (measure.codes == measure.words.index("weight")) & (lot["text"].codes < 0) & ~np.isnan(value)
    rows = np.flatnonzero(plain if kept is None else plain & kept)
    rows = rows[np.lexsort((value[rows], time[rows], patient[rows]))]
    dosing = method.words.index("dosing") if "dosing" in method.words else -2
    gone = np.full(len(rows), NEVER)
    if lot["replaces"].null_count < len(lot["replaces"]):
        correcting = ~lot["replaces"].is_null().to_numpy(zero_copy_only=False)
        corrections = np.flatnonzero(correcting if kept is None else correcting & kept)
        names, own = (taken(lot[column], corrections).to_pylist() for column in ("replaces", "source"))
        known: dict[tuple[int, str], int] = {}
        for row, name, itself in zip(corrections.tolist(), names, own, strict=True):
            if name != itself:
                key = (int(patient[row]), name)
                known[key] = min(known.get(key, NEVER), int(recorded[row]))
        sources = taken(lot["source"], rows).to_pylist()
        keys = zip(patient[rows].tolist(), sources, strict=True)
        gone = np.array([known.get(key, NEVER) for key in keys], np.int64)
    return Charted(patient[rows], time[rows], recorded[rows], gone, value[rows], method.codes[rows] == dosing)


def named_sources(lot: Lot) -> pa.Array:
    """`source`, or the file and row a fact stood in."""
    source = lot["source"]
    if not source.null_count:
        return source
    own = pc.binary_join_element_wise(lot["file"].array(), lot["row"].cast(pa.string()), ":")
    return own if source.null_count == len(source) else pc.coalesce(source, own)


def merge(tables: Iterable[pa.Table], *, lib: Library) -> pa.Table:
    """One table of canonical facts from several, for instance one a file; a fact in two of them is one fact.

    A rate that had no weight in its own table stays without one: read the files together with
    `tocsin.sources.read.open_source([...])` where weights stand in a file of their own.
    """
    parts = [read_rows(table, lib=lib, first_row=None)[0] for table in tables]
    return settle(together(parts), lib=lib).table


def together(parts: Sequence[pa.Table]) -> pa.Table:
    """Read rows of several batches as one table."""
    return pa.concat_tables([plain(part) for part in parts]) if parts else READ.empty_table()


def plain(rows: pa.Table) -> pa.Table:
    """Read rows with texts written out, as `READ` says."""
    return rows.cast(READ)


def resolve(table: pa.Table, as_of: datetime | None = None) -> pa.Table:
    """Facts as they were known at `as_of` (None: everything), with corrections done.

    Leaves out what was recorded later (a fact that does not say is known at its time), what another row of
    the same patient replaces, and withdrawals together with what they withdraw. A correction that was itself
    corrected still counts as having replaced its row.
    """
    if as_of is not None:
        if as_of.tzinfo is None:
            raise FactsError(f"as_of {as_of} has no time zone\n  fix: give it one: 2024-03-01T14:30Z")
        known = pc.coalesce(table["recorded"], table["time"])
        table = table.filter(pc.less_equal(known, pa.scalar(as_of, INSTANT)))
    if "replaces" not in table.column_names or table["replaces"].null_count == len(table):
        return table
    who = texts(table["patient_id"])
    corrected = pc.is_in(who, pc.unique(who.filter(pc.is_valid(table["replaces"]))))
    gone = pc.fill_null(pc.equal(texts(table["text"]), "retracted"), False).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(corrected)
    gone[rows] |= _replaced(table.select(["patient_id", "replaces", "source"]).take(rows))
    return table.filter(pa.array(~gone))


def texts(column: Any) -> pa.Array:
    """A text column written out, whatever its layout."""
    return flat(column).cast(pa.string())


def _replaced(table: pa.Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows another row of their patient replaces."""
    patient, names, sources = (texts(column).to_pylist() for column in table.columns)
    rows = list(zip(patient, names, sources, strict=True))
    gone = {(who, name) for who, name, own in rows if name and name != own}
    # A new version under the old name replaces the old one, which does not name itself.
    versions = {(who, name) for who, name, own in rows if name and name == own}
    return np.array(
        [(who, own) in gone or ((who, own) in versions and name != own) for who, name, own in rows], bool
    )
