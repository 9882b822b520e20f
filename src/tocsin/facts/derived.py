"""Facts worked out from facts, so that every rule stays a threshold: ratios, rises, urine an hour and kg.

Causal: a derived row uses only rows at or before its time, is known when the last of them is, and its
`source` names them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from tocsin.definitions.derive import Derivation, derivations
from tocsin.definitions.load import Library
from tocsin.facts.columns import SCHEMA

Fact = Mapping[str, Any]
SILENT = ("unusable", "retracted", "<", ">")


def with_derived(table: pa.Table, lib: Library) -> pa.Table:
    """The facts and every row that follows from them, patient by patient in order of time.

    A derived measure that was charted itself is left as charted: nothing is worked out beside it.

    >>> from tocsin.definitions.load import library
    >>> from tocsin.testing import patient
    >>> ill = patient("0 h pao2 90 mm[Hg]", "0 h fio2 50 %")
    >>> [row["value"] for row in with_derived(ill, library()).to_pylist() if row["measure"] == "pf-ratio"]
    [180.0]
    """
    needed = {name for rule in derivations(lib) for name in rule.of} | {"weight"}
    charted = set(table["measure"].unique().to_pylist())
    rules = [rule for rule in derivations(lib) if rule.measure not in charted]
    if not rules or not needed & charted:
        return table
    wanted = table.filter(pa.compute.is_in(table["measure"], value_set=pa.array(sorted(needed))))
    patients: dict[str, dict[str, list[Fact]]] = {}
    for row in wanted.to_pylist():
        patients.setdefault(row["patient_id"], {}).setdefault(row["measure"], []).append(row)
    made: list[dict[str, Any]] = []
    for rows in patients.values():
        usable = {name: _usable(each) for name, each in rows.items()}
        for rule in rules:
            made += _derive(rule, usable, lib)
    if not made:
        return table
    extra = pa.Table.from_pylist(made, schema=SCHEMA)
    return pa.concat_tables([table.select(SCHEMA.names).cast(SCHEMA), extra]).sort_by(
        [("patient_id", "ascending"), ("time", "ascending")]
    )


def _usable(rows: Iterable[Fact]) -> list[Fact]:
    """Rows with a number of their own, in order of time; of several at one instant none is preferred."""
    kept = [row for row in rows if row["value"] is not None and row.get("text") not in SILENT]
    return sorted(kept, key=lambda row: (row["time"], row["value"]))


def _derive(rule: Derivation, rows: Mapping[str, list[Fact]], lib: Library) -> Iterator[dict[str, Any]]:
    if rule.form == "ratio":
        yield from _ratio(rule, rows, lib)
    elif rule.form == "rate_per_kg":
        yield from _rate(rule, rows)
    else:
        yield from _against_lowest(rule, rows.get(rule.of[0], ()))


def _ratio(rule: Derivation, rows: Mapping[str, list[Fact]], lib: Library) -> Iterator[dict[str, Any]]:
    """The first over the second, at every reading of either while the other stands."""
    first, second = (rows.get(name, []) for name in rule.of)
    holds = [lib.measure(name).hold_hours for name in rule.of]
    times = [[row["time"] for row in each] for each in (first, second)]
    for now in sorted({*times[0], *times[1]}):
        pair = []
        for each, when, hold in zip((first, second), times, holds, strict=True):
            place = bisect_right(when, now)
            row = each[place - 1] if place else None
            if row is None or (hold is not None and now - row["time"] >= timedelta(hours=hold)):
                break
            pair.append(row)
        if len(pair) < 2 or not pair[1]["value"]:
            continue
        if rule.first_at_most is not None and pair[0]["value"] > rule.first_at_most:
            continue
        yield _row(rule.measure, now, rule.factor * pair[0]["value"] / pair[1]["value"], pair)


def _against_lowest(rule: Derivation, rows: Sequence[Fact]) -> Iterator[dict[str, Any]]:
    """Each value against the lowest of the window that ends with it."""
    window = timedelta(hours=rule.hours)
    times = [row["time"] for row in rows]
    for i, row in enumerate(rows):
        before = rows[bisect_left(times, row["time"] - window) : i + 1]
        lowest = min(before, key=lambda each: float(each["value"]))
        if rule.form == "rise_from_lowest":
            value = row["value"] - lowest["value"]
        elif lowest["value"] > 0:
            value = row["value"] / lowest["value"]
        else:
            continue
        yield _row(rule.measure, row["time"], value, [lowest, row])


def _rate(rule: Derivation, rows: Mapping[str, list[Fact]]) -> Iterator[dict[str, Any]]:
    """Volumes of the last hours over hours and weight; only where the window is charted whole."""
    volumes, weights = rows.get(rule.of[0], []), rows.get("weight", [])
    if not volumes or not weights:
        return
    kg = next((row for row in weights if row.get("method") == "dosing"), weights[0])
    window = timedelta(hours=rule.hours)
    times = [row["time"] for row in volumes]
    start: datetime = times[0]
    for row in volumes:
        now = row["time"]
        # a volume is what was passed since the row before, so the first one opens the record
        if now - window < start or kg["time"] > now:
            continue
        inside = volumes[bisect_right(times, now - window) : bisect_right(times, now)]
        total = sum(float(each["value"]) for each in inside)
        yield _row(rule.measure, now, rule.factor * total / float(kg["value"]) / rule.hours, [kg, *inside])


def _row(measure: str, time: datetime, value: float, made_of: Sequence[Fact]) -> dict[str, Any]:
    """A derived row; known when the last row behind it was."""
    known = [row["recorded"] for row in made_of if row.get("recorded") is not None]
    sources = dict.fromkeys(str(row["source"]) for row in made_of if row.get("source"))
    return {
        **dict.fromkeys(SCHEMA.names),
        "patient_id": made_of[-1]["patient_id"],
        "time": time,
        "measure": measure,
        "value": value,
        "recorded": max([time, *known]) if known else None,
        "source": " ".join(["derived:", *list(sources)[:8]]),
    }
