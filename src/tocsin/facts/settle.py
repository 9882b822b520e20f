"""Whole patients: order, duplicates, rates by weight, corrections."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library
from tocsin.facts import meaning
from tocsin.facts.columns import INSTANT, METADATA, READ, REJECTS, SCHEMA, Canonical, FactsError
from tocsin.facts.parse import Coded, Floats, Ints, coded, flat
from tocsin.facts.rejects import Problem, Problems
from tocsin.facts.rows import read_rows
from tocsin.facts.weights import NEVER, Charted, weights_for

HOUR = 3_600_000_000


def canonical(
    table: Any, *, lib: Library, source: str = "", timezone: str | None = None, units: Mapping[str, str] | None = None,
) -> Canonical:
    """Facts ready to grade, from charted rows of whole patients.

    The result depends on the set of rows alone: not on their order, not on duplicates. A row that cannot be taken
    is in `rejects` with what, why and fix; where its patient, time and measure are known it leaves a row with the
    text `unusable`, because a reading that cannot be read is unknown and not absent.

    Parameters
    ----------
    table    : anything Arrow can take; columns of `RAW`, of which only `patient_id, time, measure` must be there.
    source   : the file's name, for messages and for rows without a `source` of their own.
    timezone : where times without a zone were written; None refuses such rows.
    units    : measure to the unit of its rows that have none.

    Raises `FactsError` when a column is missing or doubled, or `units` makes no sense.

    >>> from tocsin.definitions.load import library
    >>> rows = {"patient_id": ["a"], "time": ["2024-03-01T10:00Z"], "measure": ["temperature"],
    ...         "value": ["100.4"], "unit": ["F"]}
    >>> canonical(rows, lib=library()).table["value"].to_pylist()
    [38.0]
    """
    check_units(units or {}, lib)
    rows, refused = read_rows(table, lib=lib, source=source, timezone=timezone, units=units)
    settled = settle(rows, lib=lib)
    if settled.rejects.num_rows:
        refused = pa.concat_tables([refused, settled.rejects]).combine_chunks()
    return Canonical(settled.table, refused)


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
    """Finish read rows (schema `READ`) of whole patients: order them, drop duplicates, find rates by weight."""
    if not rows.num_rows:
        return Canonical(SCHEMA.with_metadata(METADATA).empty_table(), REJECTS.empty_table())
    columns = {name: flat(rows.column(name)) for name in READ.names}
    patient, patients = ranked(columns["patient_id"])
    measure, measures = ranked(columns["measure"])
    time = flat(columns["time"]).cast(pa.int64()).to_numpy()
    order = place_in_order(patient, time, measure, len(measures))
    if order is not None:
        columns = {name: taken(column, order) for name, column in columns.items()}
        patient, time, measure = patient[order], time[order], measure[order]
    keep = without_twins(columns, patient, time, measure)
    if keep is not None:
        columns = {name: taken(column, keep) for name, column in columns.items()}
        patient, time, measure = patient[keep], time[keep], measure[keep]
    rejects = REJECTS.empty_table()
    infusion = np.array([lib.measures[name].kind == "infusion" for name in measures])[measure]
    pending = columns["pending"].to_numpy()
    if np.any(infusion) or np.any(pending):
        rejects = by_weight(columns, lib, patient, time, measures, measure, infusion | (pending != 0))
    columns["source"] = named_sources(columns)
    return Canonical(pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA.with_metadata(METADATA)), rejects)


def ranked(column: Any) -> tuple[Ints, list[str]]:
    """Texts without gaps as their place in alphabetical (byte) order."""
    texts = coded(column, len(column))
    words = sorted(texts.words, key=str.encode)
    if words == texts.words:
        return texts.codes, words
    place = {word: rank for rank, word in enumerate(words)}
    return np.array([place[word] for word in texts.words])[texts.codes], words


def taken(column: pa.Array, places: Ints) -> pa.Array:
    """Rows of a column by place."""
    if column.null_count == len(column):
        return pa.nulls(len(places), column.type)
    return pc.take(column, pa.array(places), boundscheck=False)


def place_in_order(patient: Ints, time: Ints, measure: Ints, measures: int) -> Ints | None:
    """The order by patient, time and measure; None where the rows have it already."""
    order: Ints | None = None
    step, later = np.diff(patient), np.diff(time)
    if np.any(step < 0) or np.any((step == 0) & (later < 0)):
        order = np.lexsort((time, patient))
        patient, time, measure = patient[order], time[order], measure[order]
        step, later = np.diff(patient), np.diff(time)
    group = np.concatenate([[0], np.cumsum((step != 0) | (later != 0))])
    key = group * measures + measure
    if np.all(key[1:] >= key[:-1]):
        return order
    inner = np.argsort(key, kind="stable")
    return inner if order is None else order[inner]


def without_twins(columns: Mapping[str, pa.Array], patient: Ints, time: Ints, measure: Ints) -> Ints | None:
    """Places of the rows to keep, in an order that does not depend on theirs; None = all as they are.

    Rows of one patient, time and measure are put in order of all their columns; equal ones are one fact. A row that
    names no source is named after its file and row, which makes it no other fact than its twin.
    """
    same = (np.diff(patient) == 0) & (np.diff(time) == 0) & (np.diff(measure) == 0)
    if not np.any(same):
        return None
    crowd = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    places = np.flatnonzero(crowd)
    group = np.concatenate([[0], np.cumsum(~same)])[places]
    said = [name for name in READ.names if name not in ("patient_id", "time", "measure", "weight", "file", "row")]
    said = [name for name in said if columns[name].null_count < len(columns[name])]
    part = pa.table({"group": group, **{name: taken(columns[name], places) for name in (*said, "file", "row")}})
    keys = ["group", *said, "file", "row"]
    order = pc.sort_indices(part, sort_keys=[(name, "ascending") for name in keys])
    part = part.take(order)
    twin = np.ones(len(places) - 1, bool)
    for name in ("group", *said):
        twin &= equal_to_next(flat(part.column(name)))
    keep = np.arange(len(patient))
    keep[places] = places[order.to_numpy()]
    lost = np.zeros(len(patient), bool)
    lost[places[1:]] = twin
    return keep[~lost]


def equal_to_next(column: pa.Array) -> Any:
    """For each row but the last, whether the next holds the same (two nulls are the same)."""
    a, b = column[:-1], column[1:]
    both = pc.and_(pc.is_null(a), pc.is_null(b))
    return pc.coalesce(pc.equal(a, b), both).to_numpy(zero_copy_only=False)


def by_weight(
    columns: dict[str, pa.Array], lib: Library, patient: Ints, time: Ints, measures: list[str], measure: Ints, asks: Any,
) -> pa.Table:
    """Fill `weight`, finish values that lack it, and keep as running (or given) what has none; returns the rejects."""
    recorded = coalesced(columns["recorded"], time)
    value = columns["value"].to_numpy(zero_copy_only=False).astype(np.float64)
    rows = np.flatnonzero(asks)
    weight = np.full(len(time), np.nan)
    if "weight" in measures:
        charted = charted_weights(columns, patient, time, recorded, measure == measures.index("weight"), value)
        hold = round((lib.measure("weight").hold_hours or 1e6) * HOUR)
        weight[rows] = weights_for(charted, patient[rows], time[rows], recorded[rows], hold)
    columns["weight"] = pa.array(weight, mask=np.isnan(weight))
    power = columns["pending"].to_numpy()
    waiting = np.flatnonzero(power)
    if not len(waiting):
        return REJECTS.empty_table()
    value[waiting] *= weight[waiting] ** power[waiting].astype(np.float64)
    return finish(columns, lib, value, waiting, measures, measure)


def finish(
    columns: dict[str, pa.Array], lib: Library, value: Floats, waiting: Ints, measures: list[str], measure: Ints
) -> pa.Table:
    """Put the finished values in, and say which could not be."""
    problems = Problems(np.zeros(len(value), np.int64))
    mine = np.zeros(len(value), bool)
    mine[waiting] = True
    texts = coded(columns["text"], len(value))
    saying, words = texts.codes.copy(), list(texts.words)
    for place in np.unique(measure[waiting]).tolist():
        definition = lib.measures[measures[place]]
        rows = mine & (measure == place)
        infusion = definition.kind == "infusion"
        kept = "running" if infusion else "given"
        none = rows & np.isnan(value)
        problems.mark(none, Problem(
            f"cannot become {definition.unit}: no weight was charted by then",
            f"the rate per kilogram is not known; {meaning.STAYS.format(kept)}"
            + (", which widens `up_to` where dose matters" if infusion else ""),
            "add a `weight` row in kg at or before it (method `dosing` for the weight the pump was set to)",
            f"kept-as-{kept}",
        ))
        low, high = meaning.limits(definition)
        outside = rows & ((value < low) | (value > high))
        problems.mark(outside, meaning.impossible(definition))
        for where, word in ((none, "running"), (outside, "unusable")):
            if infusion and np.any(where):
                words = words if word in words else [*words, word]
                saying[where] = words.index(word)
        value[none | outside] = np.nan
    empty = np.isnan(value)
    columns["value"] = pa.array(value, mask=empty)
    columns["text"] = Coded(saying, words).array()
    columns["unit"] = pc.if_else(pa.array(empty & mine), pa.scalar(None, pa.string()), columns["unit"])
    written = pc.split_pattern(columns["charted"], "\t")
    return problems.table({
        **{name: columns[name] for name in ("file", "row", "patient_id", "time", "measure")},
        "value": pc.list_element(written, 0), "unit": pc.list_element(written, 1),
    }) if np.any(problems.first) else REJECTS.empty_table()


def coalesced(column: pa.Array, otherwise: Ints) -> Ints:
    """Instants as microseconds, `otherwise` where there is none."""
    if column.null_count == len(column):
        return otherwise
    whole = column.cast(pa.int64())
    if not column.null_count:
        result: Ints = whole.to_numpy()
        return result
    absent = column.is_null().to_numpy(zero_copy_only=False)
    return np.where(absent, otherwise, pc.fill_null(whole, 0).to_numpy())


def charted_weights(
    columns: Mapping[str, pa.Array], patient: Ints, time: Ints, recorded: Ints, is_weight: Any, value: Floats
) -> Charted:
    """The weights that can serve: plain numbers, with the time at which a correction of each was known."""
    silent = columns["text"].is_null().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(is_weight & silent & ~np.isnan(value))
    dosing = coded(columns["method"].take(pa.array(rows)), len(rows))
    gone = np.full(len(rows), NEVER)
    if columns["replaces"].null_count < len(columns["replaces"]):
        corrections = np.flatnonzero(~columns["replaces"].is_null().to_numpy(zero_copy_only=False))
        names = columns["replaces"].take(pa.array(corrections)).to_pylist()
        known: dict[tuple[int, str], int] = {}
        for row, name in zip(corrections.tolist(), names, strict=True):
            key = (int(patient[row]), name)
            known[key] = min(known.get(key, NEVER), int(recorded[row]))
        sources = columns["source"].take(pa.array(rows)).to_pylist()
        gone = np.array(
            [known.get((int(patient[row]), name), NEVER) for row, name in zip(rows, sources, strict=True)], np.int64
        )
    code = dosing.words.index("dosing") if "dosing" in dosing.words else -2
    return Charted(patient[rows], time[rows], recorded[rows], gone, value[rows], dosing.codes == code)


def named_sources(columns: Mapping[str, pa.Array]) -> pa.Array:
    """`source`, or the file and row a fact stood in."""
    source = columns["source"]
    if not source.null_count:
        return source
    own = pc.binary_join_element_wise(columns["file"], columns["row"].cast(pa.string()), ":")
    return own if source.null_count == len(source) else pc.coalesce(source, own)


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
    replaces = table["replaces"]
    if replaces.null_count == len(replaces):
        return table
    patient = table["patient_id"].to_pylist()
    names = replaces.to_pylist()
    sources = table["source"].to_pylist()
    gone = {
        (who, name) for who, name, own in zip(patient, names, sources, strict=True) if name and name != own
    }
    # A new version under the old name replaces the old one, which does not name itself.
    versions = {(who, name) for who, name, own in zip(patient, names, sources, strict=True) if name and name == own}
    keep = [
        text != "retracted" and (who, own) not in gone and not ((who, own) in versions and name != own)
        for who, name, own, text in zip(patient, names, sources, table["text"].to_pylist(), strict=True)
    ]
    return table.filter(pa.array(keep, pa.bool_()))
