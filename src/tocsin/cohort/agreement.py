"""How far answers agree: scale with scale, derived with charted; and how often a ward would be alerted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cohort.persons import Bools, Ints, Persons
from tocsin.cohort.statistics import LEVEL, exact_rate

#: How many patients (or, of charted grades, notes) stand at grade `row` of one and `column` of the other.
CONFUSION = pa.schema([
    ("group", pa.string()), ("rows", pa.string()), ("columns", pa.string()), ("row", pa.int8()),
    ("column", pa.int8()), ("patients", pa.int64()),
])  # fmt: skip
#: `kappa` has quadratic weights; `exactly`, `within_one` are shares; `not_contradicted` are charted grades
#: from `grade` to `up_to` (null between scales).
KAPPAS = pa.schema([
    ("group", pa.string()), ("rows", pa.string()), ("columns", pa.string()), ("n", pa.int64()),
    ("patients", pa.int64()), ("kappa", pa.float64()), ("low", pa.float64()), ("high", pa.float64()),
    ("exactly", pa.float64()), ("within_one", pa.float64()), ("not_contradicted", pa.float64()),
])  # fmt: skip
#: Charted grades that lie below what was proven or above what was not ruled out.
DISAGREEMENTS = pa.schema([
    ("group", pa.string()), ("patient_id", pa.string()), ("hours", pa.float64()), ("scale", pa.string()),
    ("charted", pa.int8()), ("ours", pa.string()), ("grade", pa.int8()), ("up_to", pa.int8()),
])  # fmt: skip
#: Alerts of a ward replayed: `rate` a patient-day, with its exact Poisson interval.
ALERT_RATES = pa.schema([
    ("group", pa.string()), ("scale", pa.string()), ("kind", pa.string()), ("alerts", pa.int64()),
    ("patients", pa.int64()), ("patient_days", pa.float64()), ("rate", pa.float64()), ("low", pa.float64()),
    ("high", pa.float64()),
])  # fmt: skip
CHARTED = "charted"
LEVELS = 6
DRAWS = 2_000
SEED = 20_260_101


def counted(first: Ints, second: Ints) -> Ints:
    """The square table of two gradings, 0 to 5: rows the first, columns the second."""
    table = np.zeros((LEVELS, LEVELS), np.int64)
    np.add.at(table, (first, second), 1)
    return table


def quadratic_kappa(table: Any) -> float:
    """Cohen's kappa with quadratic weights of a square table; NaN where both always say one grade.

    Source: Cohen 1968, with disagreement weights (i - j) squared.

    >>> quadratic_kappa(np.array([[3, 1], [1, 3]]))
    0.5
    """
    table = np.asarray(table, np.float64)
    n, size = table.sum(), len(table)
    weight = (np.arange(size)[:, None] - np.arange(size)[None, :]) ** 2
    expected = table.sum(1)[:, None] * table.sum(0)[None, :]
    apart = float((weight * expected).sum())
    return 1.0 - float(n) * float((weight * table).sum()) / apart if n and apart else float("nan")


def kappa_interval(tables: Ints, *, draws: int = DRAWS, level: float = LEVEL) -> tuple[float, float]:
    """Percentile bootstrap of the kappa, patients drawn with replacement; the seed is fixed.

    Parameters
    ----------
    tables : one table a patient (n x 6 x 6) where patients have several notes, or one table of counts of
        patients (6 x 6), of whom each stands in one place.

    Draws in which both say one grade throughout have no kappa and are left out; NaN where fewer than half
    have one.
    """
    tables = np.asarray(tables)
    rng = np.random.default_rng(SEED)
    if tables.ndim == 2:
        n = int(tables.sum())
        if n < 2:
            return float("nan"), float("nan")
        drawn = rng.multinomial(n, (tables / n).ravel(), size=draws).reshape(draws, LEVELS, LEVELS)
    else:
        n = len(tables)
        if n < 2:
            return float("nan"), float("nan")
        # patients of the same notes are drawn together
        patterns, times = np.unique(tables.reshape(n, -1), axis=0, return_counts=True)
        drawn = np.array([rng.multinomial(n, times / n) @ patterns for _ in range(draws)])
        drawn = drawn.reshape(draws, LEVELS, LEVELS)
    found = np.array([quadratic_kappa(one) for one in drawn])
    found = found[np.isfinite(found)]
    if len(found) < draws / 2:
        return float("nan"), float("nan")
    low, high = np.percentile(found, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def between_scales(persons: Persons) -> tuple[pa.Table, pa.Table]:
    """`CONFUSION` and `KAPPAS` of the highest grades under every two scales of one outcome."""
    confusion: list[dict[str, Any]] = []
    kappas: list[dict[str, Any]] = []
    courses = {scale: persons.course(scale) for scale in persons.cohort.scales}
    for rows, columns in combinations(persons.cohort.scales, 2):
        if persons.outcome(rows) != persons.outcome(columns):
            continue
        one, other = courses[rows], courses[columns]
        both = one.graded & other.graded
        for group, who in persons.groups:
            mine = who & both
            if not mine.any():
                continue
            table = counted(one.grade[mine], other.grade[mine])
            confusion += _cells(group, rows, columns, table)
            kappas.append(_kappa(group, rows, columns, table, kappa_interval(table), int(mine.sum()), None))
    return pa.Table.from_pylist(confusion, CONFUSION), pa.Table.from_pylist(kappas, KAPPAS)


def with_charted(persons: Persons) -> tuple[pa.Table, pa.Table, pa.Table]:
    """`CONFUSION`, `KAPPAS` and `DISAGREEMENTS` of grades people charted, beside ours at that instant.

    A chart that names its scale is compared under that scale alone; one that names none, under each scale of
    `ours`. Notes of one patient are not independent: the interval draws patients. A note at an instant for
    which nothing stands any more, or not yet, has nothing beside it: `unbeside` counts those.
    """
    table = persons.cohort.charted
    table = table.filter(pc.is_valid(table["grade"]))
    fits = pc.or_(pc.is_null(table["scale"]), pc.fill_null(pc.equal(table["scale"], table["ours"]), False))
    table = table.filter(fits)
    person, hours = persons.place(table), persons.hours(table, "time")
    charted, grade, up_to = (
        np.asarray(table[name].to_numpy(zero_copy_only=False), np.int64)
        for name in ("charted", "grade", "up_to")
    )
    ours = np.array(table["ours"].to_pylist(), dtype=object)
    fine = (charted >= grade) & (charted <= up_to)
    confusion: list[dict[str, Any]] = []
    kappas: list[dict[str, Any]] = []
    for scale in persons.cohort.scales:
        for group, who in persons.groups:
            mine = (ours == scale) & who[person] if len(table) else np.zeros(0, bool)
            if not mine.any():
                continue
            whole = counted(grade[mine], charted[mine])
            confusion += _cells(group, scale, CHARTED, whole)
            people, each = np.unique(person[mine], return_inverse=True)
            tables = np.zeros((len(people), LEVELS, LEVELS), np.int64)
            np.add.at(tables, (each, grade[mine], charted[mine]), 1)
            ends = kappa_interval(tables)
            share = float(fine[mine].mean())
            kappas.append(_kappa(group, scale, CHARTED, whole, ends, len(people), share))
    wrong = np.flatnonzero(~fine)
    apart = table.take(pa.array(wrong))
    names = group_names(persons)
    disagreements = pa.Table.from_arrays(
        [
            pa.array(names[person[wrong]], pa.string()), apart["patient_id"], pa.array(hours[wrong]),
            apart["scale"], apart["charted"], apart["ours"], apart["grade"], apart["up_to"],
        ],
        schema=DISAGREEMENTS,
    )  # fmt: skip
    order = [("patient_id", "ascending"), ("hours", "ascending"), ("ours", "ascending")]
    return (
        pa.Table.from_pylist(confusion, CONFUSION), pa.Table.from_pylist(kappas, KAPPAS),
        disagreements.sort_by(order),
    )  # fmt: skip


def unbeside(charted: pa.Table) -> int:
    """How many charted grades have no derived grade at their instant, or name a scale that was not graded."""
    return int(charted["grade"].null_count)


def alert_rates(persons: Persons) -> pa.Table:
    """How often a ward would have been alerted, by kind and in all; days from hour 0 to the record's end."""
    table = persons.cohort.alerts
    person, hours = persons.place(table), persons.hours(table, "time")
    kind = np.array(table["kind"].to_pylist(), dtype=object)
    scale = np.array(table["scale"].to_pylist(), dtype=object)
    watched = np.maximum(np.nan_to_num(persons.ended), 0.0) / 24.0
    after = hours >= 0
    found: list[dict[str, Any]] = []
    for one in persons.cohort.scales:
        kinds = [None, *sorted({*kind[(scale == one) & after]})]
        for group, who in persons.groups:
            days = float(watched[who].sum())
            for name in kinds:
                mine = (scale == one) & after & who[person] & ((kind == name) if name else True)
                found.append(_rate(group, one, name or "any", mine, person, days))
    return pa.Table.from_pylist(found, ALERT_RATES)


def _rate(group: str, scale: str, kind: str, mine: Bools, person: Ints, days: float) -> dict[str, Any]:
    n = int(np.sum(mine))
    low, high = exact_rate(n, days)
    known = days > 0
    return {
        "group": group,
        "scale": scale,
        "kind": kind,
        "alerts": n,
        "patients": len(np.unique(person[mine])),
        "patient_days": days,
        "rate": n / days if known else None,
        "low": low if known else None,
        "high": high if known else None,
    }


def _cells(group: str, rows: str, columns: str, table: Ints) -> Iterator[dict[str, Any]]:
    for i, j in np.argwhere(table).tolist():
        yield {
            "group": group, "rows": rows, "columns": columns, "row": i, "column": j,
            "patients": int(table[i, j]),
        }  # fmt: skip


def _kappa(
    group: str, rows: str, columns: str, table: Ints, ends: tuple[float, float], patients: int,
    fine: float | None,
) -> dict[str, Any]:  # fmt: skip
    n = int(table.sum())
    near = sum(int(np.trace(table, k)) for k in (-1, 0, 1))
    kappa: list[float | None] = [
        each if np.isfinite(each) else None for each in (quadratic_kappa(table), *ends)
    ]
    return {
        "group": group, "rows": rows, "columns": columns, "n": n, "patients": patients,
        "kappa": kappa[0], "low": kappa[1], "high": kappa[2], "exactly": int(np.trace(table)) / n,
        "within_one": near / n, "not_contradicted": fine,
    }  # fmt: skip


def group_names(persons: Persons) -> Any:
    """The group of each patient by name."""
    names = np.full(len(persons), persons.groups[-1][0], dtype=object)
    for name, who in persons.groups[: -1 if len(persons.groups) > 1 else None]:
        names[who] = name
    return names
