"""Reads the shelf `trials`: published trials to simulate, and what each one published.

A target's `role` says what it is for. `fit` and `hold-out` were settled before the first calibration and
stay: a hold-out never moves a parameter. `guide` is shown and judges nothing; nor does a number from memory,
whatever its role, and it is never fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.definitions.measure import parse
from tocsin.definitions.model import PlannedDose, model_of, read_dose
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON, STATUSES, DefinitionError, near
from tocsin.definitions.ward import Policy

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

ROLES = ("fit", "hold-out", "guide")
#: What can be asked of a simulated trial, and what else a target of it says.
QUANTITIES: Mapping[str, tuple[str, ...]] = {
    "share-at-least": ("grade",),
    "share-grade": ("grade",),
    "onset-days": (),
    "onset-hours": (),
    "onset-iqr-days": (),
    "onset-after-dose-days": (),
    "onset-share-from-day": ("day",),
    "free-at-hours": ("hours",),
    "duration-days": (),
    "fever-days": (),
    "days-onset-to-grade-4": (),
    "hours-to-grade-3": (),
    "tocilizumab-share": (),
    "steroid-share": (),
    "oxygen-share": (),
    "ventilator-share": (),
    "fluid-or-pressor-share": (),
    "high-dose-pressor-share": (),
    "fever-share": (),
    "tocilizumab-response": ("grade", "within_days", "most_doses"),
    "recurrence-share": ("given",),
    "more-than-one-share": (),
    "t-cell-peak-days": (),
    "peak-median": ("measure", "grade"),
    "at-onset-median": ("measure",),
    "peak-after-onset-days": ("measure",),
    "sd-log-peak": ("measure",),
    "il-6-highest-median": ("first", "last"),
    "temperature-rise-median": (),
    "temperature-peak-hours": (),
    "map-fall-median": (),
    "auroc-below": ("measure",),
}
_KEYS = (
    "id", "quantity", "value", "unit", "role", "says", "grade", "measure", "day", "hours", "given", "first",
    "last", "within_days", "most_doses", "of", "low", "high", "n", "bound", "upward", "ceiling", "source",
    "locator", "status", "reading",
)  # fmt: skip
_NUMBERS = ("grade", "day", "hours", "first", "last", "ceiling", "within_days", "most_doses")


@dataclass(frozen=True, slots=True)
class Target:
    """One published number. `low`, `high`: its published interval. `bound`: it is only a limit.

    `numbers` holds what the quantity needs (`grade`, `day`, `hours`, `first`, `last`, `within_days`,
    `most_doses`, and a `ceiling` above which the assay could not read); `of` is `all` or `crs`; `given` is
    what the first event was treated with; `upward` means this grade or higher.
    """

    id: str
    says: str
    quantity: str
    value: float
    unit: str
    role: str
    numbers: Mapping[str, float]
    measure: str = ""
    of: str = "all"
    given: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = None
    bound: str = ""
    upward: bool = False
    source: str = ""
    status: str = "draft"
    reading: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: whom, what was given (`doses`, else the model's own), how the ward acted, what came out."""

    id: str
    title: str
    model: str
    scale: str
    n: int
    days: float
    source: tuple[str, ...]
    policy: Mapping[str, float]
    doses: tuple[PlannedDose, ...]
    targets: tuple[Target, ...]
    reading: str = ""


def read_trial(path: Path) -> Trial:
    """One trial; raises `DefinitionError` naming the key that is wrong."""
    where = str(path)
    table = parse(path)
    keys = (*COMMON, "model", "scale", "n", "days", "policy", "dose", "target")
    reader = Reader(table, where, keys)
    reader.choice("status", STATUSES)
    policy = Reader(table.get("policy", {}), f"{where}, policy", [name.name for name in Policy])
    size, days = _size(reader), reader.hours("days")
    if size is None:
        raise reader.fail("n", "is missing", "n = 68, the patients treated")
    sources = reader.names("source")
    targets = tuple(
        read_target(row, f"{where}, target {n}", bool(sources))
        for n, row in enumerate(table.get("target", []), 1)
    )
    if not targets:
        raise reader.fail("target", "is missing", "[[target]] for each published number")
    ids = [target.id for target in targets]
    for target in ids:
        if ids.count(target) > 1:
            raise reader.fail("target", f"`{target}` stands twice", "one id for each")
    return Trial(
        path.stem, reader.text("title"), reader.text("model"), reader.text("scale"), size, days or 28.0,
        sources, {key: number for key in policy.table if (number := policy.number(key)) is not None},
        tuple(read_dose(row, f"{where}, dose {n}") for n, row in enumerate(table.get("dose", []), 1)),
        targets, reader.text("reading", ""),
    )  # fmt: skip


def _size(reader: Reader) -> int | None:
    """How many patients a number rests on."""
    size = reader.number("n")
    if size is not None and (size < 1 or size != int(size)):
        raise reader.fail("n", f"is {size:g}", "n = 68, a whole number of patients")
    return None if size is None else int(size)


def read_target(row: Mapping[str, object], where: str, sourced: bool = True) -> Target:
    """One target; `sourced`: its trial names a source. Raises `DefinitionError`."""
    reader = Reader(row, where, _KEYS)
    quantity = reader.choice("quantity", QUANTITIES)
    for key in QUANTITIES[quantity]:
        if key not in row:
            raise reader.fail(key, f"is missing of `{quantity}`", f"{key} = ...")
    value, low, high = (reader.number(key) for key in ("value", "low", "high"))
    unit = reader.text("unit")
    if value is None:
        raise reader.fail("value", "is missing", "value = 79.0")
    if unit == "%" and not 0 <= value <= 100:
        raise reader.fail("value", f"is {value:g} %", "a share of 0 to 100 %")
    if low is not None and high is not None and low > high:
        raise reader.fail("low", f"is {low:g}, above `high` of {high:g}", "the published interval, low first")
    role = reader.choice("role", ROLES)
    status = reader.choice("status", (*STATUSES, "memory"), "draft")
    if status != "memory" and not sourced and not row.get("source"):
        raise reader.fail("source", "is missing, of the trial too", 'source = "a key", or status = "memory"')
    if status == "memory" and role == "fit":
        raise reader.fail("role", "is `fit` of a number from memory", 'role = "guide": it moves nothing')
    return Target(
        reader.text("id"), reader.text("says"), quantity, value, unit, role,
        {key: number for key in _NUMBERS if (number := reader.number(key)) is not None},
        reader.text("measure", ""), reader.choice("of", ("all", "crs"), "all"),
        reader.choice("given", ("", "tocilizumab", "none"), ""), low, high,
        _size(reader), reader.choice("bound", ("", "at-most", "at-least"), ""),
        reader.flag("upward"), reader.text("source", ""), status, reader.text("reading", ""),
    )  # fmt: skip


@lru_cache(maxsize=64)
def _trial(path: Path) -> Trial:
    return read_trial(path)


def trial_of(name: str, lib: Library) -> Trial:
    """The trial of this id, its scale, model and measures known; raises `DefinitionError` naming what is not.

    >>> from tocsin.definitions.load import library
    >>> trial_of("eliana", library()).n
    68
    """
    files = lib.files("trials")
    if name not in files:
        raise DefinitionError(
            f"no trial `{name}`{near(name, files)}\n  fix: one of: {', '.join(sorted(files))}"
        )
    trial = _trial(files[name])
    lib.scale(trial.scale)
    model_of(trial.model, lib)
    for target in trial.targets:
        if target.measure:
            lib.measure(target.measure)
    return trial
