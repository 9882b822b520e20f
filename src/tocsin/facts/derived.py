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
#: What a reading may be besides a number: it is then not known.
VAGUE = ("unusable", "<", ">")
DEVICE, ROOM_AIR = "oxygen-device", "room-air"


def with_derived(table: pa.Table, lib: Library) -> pa.Table:
    """The facts and every row that follows from them, patient by patient in order of time.

    A derived measure that a patient's chart holds itself is left as charted: nothing is worked out beside it.

    >>> from tocsin.definitions.load import library
    >>> from tocsin.testing import patient
    >>> ill = patient("0 h pao2 90 mm[Hg]", "0 h fio2 50 %")
    >>> [row["value"] for row in with_derived(ill, library()).to_pylist() if row["measure"] == "pf-ratio"]
    [180.0]
    """
    rules = derivations(lib)
    needed = {name for rule in rules for name in (rule.measure, *rule.of)} | {"weight", DEVICE}
    wanted = table.filter(pa.compute.is_in(table["measure"], value_set=pa.array(sorted(needed))))
    patients: dict[str, dict[str, list[Fact]]] = {}
    for row in wanted.to_pylist():
        patients.setdefault(row["patient_id"], {}).setdefault(row["measure"], []).append(row)
    made: list[dict[str, Any]] = []
    for rows in patients.values():
        told = {name: _worst(each, lib.measure(name).worse) for name, each in rows.items()}
        for rule in rules:
            if rule.measure not in rows:
                made += _derive(rule, told, lib)
    if not made:
        return table
    extra = pa.Table.from_pylist(made, schema=SCHEMA)
    return pa.concat_tables([table.select(SCHEMA.names).cast(SCHEMA), extra]).sort_by(
        [("patient_id", "ascending"), ("time", "ascending")]
    )


def _worst(rows: Iterable[Fact], worse: str) -> list[Fact]:
    """One row an instant, in order of time: one that is not known, else the worst."""
    sign = 1 if worse == "high" else -1
    found: dict[datetime, Fact] = {}
    for row in sorted(rows, key=lambda row: (_number(row) is None, sign * (_number(row) or 0.0))):
        if row.get("text") != "retracted":
            found[row["time"]] = row
    return [found[time] for time in sorted(found)]


def _number(row: Fact) -> float | None:
    """The number a row says for certain."""
    return None if row["value"] is None or row.get("text") in VAGUE else float(row["value"])


def _derive(rule: Derivation, rows: Mapping[str, list[Fact]], lib: Library) -> Iterator[dict[str, Any]]:
    if rule.form == "ratio":
        yield from _ratio(rule, rows, lib)
    elif rule.form == "rate_per_kg":
        yield from _rate(rule, rows, lib)
    else:
        yield from _against_lowest(rule, rows.get(rule.of[0], ()))


def _ratio(rule: Derivation, rows: Mapping[str, list[Fact]], lib: Library) -> Iterator[dict[str, Any]]:
    """The first over the second, at every reading of the first: an older one says nothing of a new second.

    The second must stand: within its hold, and not void by a change of the device. On charted room air it is
    `room_air`. Where it was charted before and is not known now, neither is the ratio.
    """
    second, devices = rows.get(rule.of[1], []), rows.get(DEVICE, [])
    times, changes = [row["time"] for row in second], [row["time"] for row in devices]
    hold = lib.measure(rule.of[1]).hold_hours
    for row in rows.get(rule.of[0], []):
        now = row["time"]
        place, on = bisect_right(times, now), bisect_right(changes, now)
        device = devices[on - 1] if on else None
        under: Fact | None = second[place - 1] if place else None
        if under is not None:
            old = hold is not None and now - under["time"] >= timedelta(hours=hold)
            since = bisect_right(changes, under["time"])
            before = devices[since - 1].get("text") if since else None
            moved = any(each.get("text") != before for each in devices[since:on]) if since else on > since
            if old or moved:
                under = None
        value = None if under is None else _number(under)
        if value is None and device is not None and device.get("text") == ROOM_AIR and rule.room_air:
            under, value = device, rule.room_air
        if not place and value is None:
            continue
        first = _number(row)
        made_of = [row] if under is None else [row, under]
        if first is None or not value:
            yield _row(rule.measure, now, None, made_of, "unusable")
        elif rule.first_at_most is not None and first > rule.first_at_most:
            # above it the ratio is only known to be more than at it
            yield _row(rule.measure, now, rule.factor * rule.first_at_most / value, made_of, ">")
        else:
            yield _row(rule.measure, now, rule.factor * first / value, made_of)


def _against_lowest(rule: Derivation, rows: Sequence[Fact]) -> Iterator[dict[str, Any]]:
    """Each value against the lowest before it in the window; without one before, nothing is known of it."""
    window = timedelta(hours=rule.hours)
    times = [row["time"] for row in rows]
    for i, row in enumerate(rows):
        before = [
            each for each in rows[bisect_left(times, row["time"] - window) : i] if _number(each) is not None
        ]
        value = _number(row)
        if value is None:
            yield _row(rule.measure, row["time"], None, [row], "unusable")
            continue
        if not before:
            continue
        lowest = min([*before, row], key=lambda each: float(each["value"]))
        if rule.form == "rise_from_lowest":
            yield _row(rule.measure, row["time"], value - float(lowest["value"]), [lowest, row])
        elif lowest["value"] > 0:
            yield _row(rule.measure, row["time"], value / float(lowest["value"]), [lowest, row])


def _rate(rule: Derivation, rows: Mapping[str, list[Fact]], lib: Library) -> Iterator[dict[str, Any]]:
    """Volumes of the last hours over hours and weight; only where the window is charted whole.

    A volume is what was passed since the row before: the first opens the record, and so does one that comes
    later than a volume stands. The weight is the latest dosing weight, else the first that still stands.
    """
    volumes, window = rows.get(rule.of[0], []), timedelta(hours=rule.hours)
    gap, lasts = lib.measure(rule.of[0]).hold_hours, lib.measure("weight").hold_hours
    times = [row["time"] for row in volumes]
    start: datetime | None = None
    for i, row in enumerate(volumes):
        now = row["time"]
        if start is None or (gap is not None and now - times[i - 1] > timedelta(hours=gap)):
            start = now
        if now - window < start:
            continue
        weights = [
            each
            for each in rows.get("weight", ())
            if each["time"] <= now
            and _number(each) is not None
            and (lasts is None or now - each["time"] < timedelta(hours=lasts))
        ]
        if not weights:
            continue
        kg = next((each for each in reversed(weights) if each.get("method") == "dosing"), weights[0])
        inside = volumes[bisect_right(times, now - window) : i + 1]
        numbers = [_number(each) for each in inside]
        if None in numbers:
            yield _row(rule.measure, now, None, [kg, *inside], "unusable")
            continue
        total = sum(number for number in numbers if number is not None)
        yield _row(rule.measure, now, rule.factor * total / float(kg["value"]) / rule.hours, [kg, *inside])


def _row(
    measure: str, time: datetime, value: float | None, made_of: Sequence[Fact], text: str | None = None
) -> dict[str, Any]:
    """A derived row; known when the last row behind it was."""
    known = [row["recorded"] for row in made_of if row.get("recorded") is not None]
    sources = dict.fromkeys(str(row["source"]) for row in made_of if row.get("source"))
    return {
        **dict.fromkeys(SCHEMA.names),
        "patient_id": made_of[-1]["patient_id"],
        "time": time,
        "measure": measure,
        "value": value,
        "text": text,
        "recorded": max([time, *known]) if known else None,
        "source": " ".join(["derived:", *list(sources)[:8]]),
    }
