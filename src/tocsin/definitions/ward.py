"""Reads the shelf `wards`: how a ward measures, supports and treats a simulated patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, auto
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.readout import SEEN, Readouts, read_number, read_readouts
from tocsin.definitions.schema import COMMON, STATUSES, DefinitionError, near

if TYPE_CHECKING:
    from tocsin.definitions.load import Library


class Policy(IntEnum):
    """The places of a ward's numbers, named `section_key` of its file."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        return count

    observe_routine_hours = auto()
    observe_close_hours = auto()
    observe_close_from = auto()
    observe_missing = auto()
    observe_labs_hours = auto()
    observe_late_minutes = auto()
    observe_temperature_usual = auto()
    observe_temperature_sd = auto()
    observe_mean_bp_sd = auto()
    observe_spo2_sd = auto()
    observe_lab_sd = auto()
    oxygen_start_below = auto()
    oxygen_step_up_below = auto()
    oxygen_wean_above = auto()
    oxygen_wean_hours = auto()
    oxygen_above_usual = auto()
    pressure_bolus_below = auto()
    pressure_boluses = auto()
    pressure_bolus_reset_hours = auto()
    pressure_bolus_ml = auto()
    pressure_bolus_ml_per_kg = auto()
    pressure_bolus_gain = auto()
    pressure_bolus_hours = auto()
    pressure_pressor_below = auto()
    pressure_target = auto()
    pressure_step = auto()
    pressure_most = auto()
    pressure_gain = auto()
    pressure_second_pressor_from = auto()
    pressure_wean_above = auto()
    fever_from = auto()
    fever_treat_from = auto()
    fever_mg = auto()
    fever_mg_per_kg = auto()
    fever_every_hours = auto()
    fever_effect = auto()
    fever_hours = auto()
    fever_onset_hours = auto()
    fever_counts_hours = auto()
    treatment_tocilizumab_from = auto()
    treatment_tocilizumab_delay_hours = auto()
    treatment_tocilizumab_repeat_hours = auto()
    treatment_tocilizumab_doses = auto()
    treatment_tocilizumab_mg_per_kg = auto()
    treatment_tocilizumab_light_mg_per_kg = auto()
    treatment_tocilizumab_light_below_kg = auto()
    treatment_tocilizumab_most_mg = auto()
    treatment_steroid_from = auto()
    treatment_steroid_delay_hours = auto()
    treatment_dexamethasone_mg = auto()
    treatment_dexamethasone_every_hours = auto()
    treatment_dexamethasone_doses = auto()
    treatment_methylprednisolone_from = auto()
    treatment_methylprednisolone_mg = auto()
    treatment_methylprednisolone_every_hours = auto()
    treatment_methylprednisolone_doses = auto()


SECTIONS = ("observe", "oxygen", "pressure", "fever", "treatment")
#: Numbers of `[signal]` that the chart reads and the care of a patient does not; named `signal_key`.
CHARTED = ("labs_late_minutes",)
#: The ward looks on whole hours: these are counted in them.
WHOLE_HOURS = ("observe_routine_hours", "observe_close_hours", "observe_labs_hours", "signal_score_hours")
#: What the ward, or a signal, divides by.
ABOVE_0 = (
    "pressure_gain", "pressure_bolus_hours", "fever_hours", "fever_onset_hours", "signal_acute_half",
    "signal_neuro_lag_hours",
    "signal_neuro_half", "signal_neuro_ifn_half",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung of the oxygen ladder; `view` is how ill the ward takes a patient on it to be, 0 to 4."""

    device: str
    flow: float
    fio2: float
    spo2_gain: float
    view: float


@dataclass(frozen=True, slots=True)
class Ward:
    """One ward: its numbers by name, its ladder, and what else it sees of a patient."""

    id: str
    title: str
    numbers: Mapping[str, float]
    ladder: tuple[Rung, ...]
    readouts: Readouts

    def changed(self, **numbers: float) -> Ward:
        """This ward with some numbers of its own; an unknown name or an impossible number is refused."""
        for name in numbers:
            if name not in self.numbers:
                raise DefinitionError(f"no number `{name}` of a ward{near(name, self.numbers)}")
        _possible(numbers, f"ward `{self.id}`")
        return replace(self, numbers={**self.numbers, **numbers})

    @property
    def array(self) -> NDArray[np.float64]:
        """The numbers in the order of `Policy`."""
        return np.array([self.numbers[name.name] for name in Policy], dtype=np.float64)

    @property
    def rungs(self) -> NDArray[np.float64]:
        """The ladder as rows of flow (L/min), FiO2 (%), gain of saturation (%), view."""
        return np.array([[one.flow, one.fio2, one.spo2_gain, one.view] for one in self.ladder])


def _possible(numbers: Mapping[str, float], where: str) -> None:
    """Refuse numbers that a ward cannot work by, whatever their size means; raises `DefinitionError`."""
    for name, number in numbers.items():
        if not number >= 0:
            wrong, fix = "below 0" if number < 0 else "not a number", "0 or more"
        elif name in WHOLE_HOURS and (number < 1 or number % 1):
            wrong, fix = "not a whole number of hours: the ward looks on whole hours", "1 or 2 or more"
        elif name in ABOVE_0 and number == 0:
            wrong, fix = "what others are divided by", "above 0"
        elif name == "observe_missing" and number > 1:
            wrong, fix = "a share above 1", "from 0 to 1"
        else:
            continue
        key = name.replace("_", ".", 1)
        raise DefinitionError(f"{where}: `{key}` is {number:g}, {wrong}\n  fix: {key}, {fix}")


def read_ward(path: Path) -> Ward:
    """One ward; raises `DefinitionError` naming the key that is wrong."""
    where = str(path)
    table = parse(path)
    reader = Reader(table, where, (*COMMON, *SECTIONS, "ladder", *SEEN))
    reader.choice("status", STATUSES)
    numbers: dict[str, float] = {}
    for section in SECTIONS:
        for key, inner in table.get(section, {}).items():
            numbers[f"{section}_{key}"] = read_number(inner, f"{where}, {section}.{key}")
    signal = dict(table.get("signal", {}))
    for key in CHARTED:
        if key not in signal:
            raise DefinitionError(
                f"{where}: `signal.{key}` is missing{near(key, signal)}\n"
                "  fix: a ward names every number of wards/usual.toml and no other"
            )
        numbers[f"signal_{key}"] = read_number(signal.pop(key), f"{where}, signal.{key}")
    known = [*(name.name for name in Policy), *(f"signal_{key}" for key in CHARTED)]
    for name in sorted({*numbers} ^ {*known}):
        raise DefinitionError(
            f"{where}: `{name.replace('_', '.', 1)}` is "
            + (f"not a number of a ward{near(name, known)}" if name in numbers else "missing")
            + "\n  fix: a ward names every number of wards/usual.toml and no other"
        )
    rungs = []
    for n, row in enumerate(table.get("ladder", []), 1):
        one = Reader(row, f"{where}, rung {n}", ("device", "flow", "fio2", "spo2_gain", "view"))
        parts = {name: one.number(name) for name in ("flow", "fio2", "spo2_gain", "view")}
        for name, part in parts.items():
            if part is None:
                raise one.fail(name, "is missing", f"{name} = 2")
            if part is not None and part < 0:
                raise one.fail(name, f"is {part:g}, below 0", f"{name} of 0 or more")
        rungs.append(Rung(one.text("device"), *(float(part or 0.0) for part in parts.values())))
    if not rungs:
        raise reader.fail("ladder", "is missing", "[[ladder]] with a first rung of room air")
    readouts = read_readouts({**table, "signal": signal}, where)
    _possible({**numbers, **{f"signal_{key}": number for key, number in readouts.numbers.items()}}, where)
    return Ward(path.stem, reader.text("title"), numbers, tuple(rungs), readouts)


@lru_cache(maxsize=16)
def _ward(path: Path) -> Ward:
    return read_ward(path)


def ward_of(name: str, lib: Library) -> Ward:
    """The ward of this id; raises `DefinitionError` naming those there are.

    >>> from tocsin.definitions.load import library
    >>> ward_of("usual", library()).ladder[0].device
    'room-air'
    """
    files = lib.files("wards")
    if name not in files:
        raise DefinitionError(
            f"no ward `{name}`{near(name, files)}\n  fix: one of: {', '.join(sorted(files))}"
        )
    return _ward(files[name])
