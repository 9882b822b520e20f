"""What else is seen of a simulated patient: signs, laboratory values, scores and complaints of a ward's file.

One form says them all. A readout is `(usual + sum of parts) * dip * product of (1 + rise * signal) / product
of (1 + fall * signal)`, its signals lagged by `lag_hours`. A part is a signal or another readout, as it was
measured where it was measured. A `dip` is what the chemotherapy before engineered cells does to blood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.definitions.model import ORIGINS
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import DefinitionError, near

#: What readouts may follow: states of the model by their names, and what is made of them.
SIGNALS = (
    "fever", "leak", "lung", "crp", "ferritin", "ifn_gamma", "tnf_alpha", "il_1_beta", "il_6", "il_10",
    "macrophage", "slow_macrophage",
    "shock",  # leak squared: nothing until it is large
    "acute",  # the acute phase, from CRP, 0 to 1
    "steroid",  # effect of steroids, 0 to 1
    "cells",  # all T cells, 1 is the typical peak of tisagenlecleucel
    "neuro",  # what reaches the brain; 1 halves the ICE score
    "mean_bp",  # mm[Hg], before support
)  # fmt: skip
#: The tables of a ward's file that are read here.
SEEN = ("readout", "complaint", "alertness", "signal")
WHEN = ("vitals", "labs", "scores")
#: Numbers of the section `[signal]`.
SIGNAL_NUMBERS = (
    "acute_half", "neuro_lag_hours", "neuro_leak", "neuro_ifn", "neuro_ifn_half", "neuro_half", "neuro_hill",
    "neuro_engager", "neuro_sd", "child_below_years", "complaint_hill", "score_hours",
)  # fmt: skip
OF_NUMBER = ("value", "unit", "meaning", "origin", "source")
OF_READOUT = (
    "measure", "when", "usual", "unit", "parts", "rise", "fall", "lag_hours", "dip", "child", "spread",
    "noise", "step", "floor", "car_only", "age_from", "age_below", "origin", "source", "meaning",
)  # fmt: skip
OF_DIP = ("from_day", "lowest_day", "depth", "shape")


@dataclass(frozen=True, slots=True)
class Dip:
    """A fall after chemotherapy: from `from_day`, deepest on `lowest_day` (days since the cells)."""

    from_day: float
    lowest_day: float
    depth: float
    shape: float


@dataclass(frozen=True, slots=True)
class Readout:
    """One thing that is measured; `usual` in the measure's own unit.

    Attributes
    ----------
    child : share by which a child's value is higher, for each year below `child_below_years`.
    spread : standard deviation of the logarithm between patients.  noise : the same of the measuring error;
    None takes the ward's own for laboratory values.  step : what a value is rounded to; 0 keeps three digits.
    floor : below it the assay says `<`.  car_only : only after engineered cells.
    """

    measure: str
    when: str
    usual: float
    parts: Mapping[str, float]
    rise: Mapping[str, float]
    fall: Mapping[str, float]
    lag_hours: float
    dip: Dip | None
    child: float
    spread: float
    noise: float | None
    step: float
    floor: float
    car_only: bool
    age_from: float
    age_below: float
    origin: str
    source: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Complaint:
    """A symptom: told with the chance `most * x**h / (x**h + half**h)`, x the signal `of`, h steepness."""

    symptom: str
    of: str
    half: float
    most: float


@dataclass(frozen=True, slots=True)
class Readouts:
    """All of a ward's file: readouts in the order they are worked out, complaints, numbers of signals.

    `alertness` holds (from, word) of the measure `consciousness`: the word holds from this neurological
    signal on, the first from 0.
    """

    readouts: tuple[Readout, ...]
    complaints: tuple[Complaint, ...]
    alertness: tuple[tuple[float, str], ...]
    numbers: Mapping[str, float]


def read_number(table: Mapping[str, Any], where: str) -> float:
    """One `{ value, unit, origin, meaning }`; raises `DefinitionError`, also on a published one unsourced."""
    reader = Reader(table, where, OF_NUMBER)
    value = reader.number("value")
    if value is None:
        raise reader.fail("value", "is missing", "value = 4")
    _sourced(reader)
    return value


def read_readouts(table: Mapping[str, Any], where: str) -> Readouts:
    """What a ward's file says of all that is seen, tables `readout` to `signal`; raises `DefinitionError`."""
    numbers = {
        name: read_number(inner, f"{where}, signal.{name}") for name, inner in table.get("signal", {}).items()
    }
    for name in sorted({*numbers} ^ {*SIGNAL_NUMBERS}):
        raise DefinitionError(
            f"{where}: `signal.{name}` is "
            + (f"not a number of a ward{near(name, SIGNAL_NUMBERS)}" if name in numbers else "missing")
            + f"\n  fix: exactly {', '.join(SIGNAL_NUMBERS)}"
        )
    found: dict[str, Readout] = {}
    for row in table.get("readout", ()):
        one = _readout(row, f"{where}, readout `{row.get('measure', '?')}`", found)
        if 1 + one.child * numbers["child_below_years"] <= 0:
            raise DefinitionError(
                f"{where}, readout `{one.measure}`: `child` is {one.child:g}\n"
                "  why: a newborn's value would be 0 or less\n  fix: a smaller share a year"
            )
        found[one.measure] = one
    complaints = []
    for row in table.get("complaint", ()):
        name = row.get("symptom", "?")
        reader = Reader(row, f"{where}, complaint `{name}`", ("symptom", "of", "half", "most"))
        half, most = reader.hours("half"), reader.number("most")
        if half is None or most is None or not 0 <= most <= 1:
            raise reader.fail("most", "or `half` is missing or out of range", "half = 2.5, most = 0.6")
        complaints.append(Complaint(reader.text("symptom"), reader.choice("of", SIGNALS), half, most))
    alertness: list[tuple[float, str]] = []
    for n, row in enumerate(table.get("alertness", ()), 1):
        reader = Reader(row, f"{where}, alertness {n}", ("word", "from"))
        level = reader.number("from")
        if level is None or (level <= alertness[-1][0] if alertness else level != 0):
            raise reader.fail("from", "is missing or out of order", "0 for the first word, then rising")
        alertness.append((level, reader.text("word")))
    return Readouts(tuple(found.values()), tuple(complaints), tuple(alertness), numbers)


def _sourced(reader: Reader) -> tuple[str, str]:
    origin, source = reader.choice("origin", ORIGINS), reader.text("source", "")
    if origin == "published" and not source:
        raise reader.fail("source", "is missing of a published value", 'source = "a key of references.bib"')
    return origin, source


def _readout(row: Mapping[str, Any], where: str, before: Iterable[str]) -> Readout:
    reader = Reader(row, where, OF_READOUT)
    measure = reader.text("measure")
    if measure in before:
        raise reader.fail("measure", f"`{measure}` is there twice", "one [[readout]] a measure")
    origin, source = _sourced(reader)
    noise = reader.number("noise")
    floats = {name: reader.number(name) or 0.0 for name in ("usual", "lag_hours", "child", "step", "floor")}
    for name in ("lag_hours", "step", "floor"):
        if floats[name] < 0:
            raise reader.fail(name, f"is {floats[name]:g}, below 0", f"{name} of 0 or more")
    below = reader.number("age_below")
    return Readout(
        measure=measure,
        when=reader.choice("when", WHEN, "labs"),
        parts=_weights(reader, "parts", (*SIGNALS, *before)),
        rise=_weights(reader, "rise", SIGNALS),
        fall=_weights(reader, "fall", SIGNALS),
        dip=_dip(row["dip"], f"{where}, dip") if "dip" in row else None,
        spread=reader.number("spread") or 0.0,
        noise=noise,
        car_only=reader.flag("car_only"),
        age_from=reader.number("age_from") or 0.0,
        age_below=float("inf") if below is None else below,
        origin=origin,
        source=source,
        meaning=reader.text("meaning"),
        **floats,
    )


def _weights(reader: Reader, key: str, known: Iterable[str]) -> dict[str, float]:
    inner = Reader(reader.table.get(key, {}), f"{reader.where}, {key}", known)
    found = {name: inner.number(name) or 0.0 for name in inner.table}
    if key != "parts" and any(weight < 0 for weight in found.values()):
        raise reader.fail(key, "holds a number below 0", "what lowers a value stands under `fall`")
    return found


def _dip(table: Mapping[str, Any], where: str) -> Dip:
    reader = Reader(table, where, OF_DIP)
    parts = {name: reader.number(name) for name in OF_DIP}
    for name, part in parts.items():
        if part is None:
            raise reader.fail(
                name, "is missing", "dip = { from_day = -5, lowest_day = 9, depth = 0.9, shape = 6 }"
            )
    dip = Dip(*(float(part or 0.0) for part in parts.values()))
    if not (dip.lowest_day > dip.from_day and 0 <= dip.depth <= 1 and dip.shape > 0):
        raise reader.fail(
            "lowest_day", "or `depth` cannot be", "lowest_day after from_day, depth from 0 to 1"
        )
    return dip
