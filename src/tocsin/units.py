"""Units: how a charted UCUM unit becomes a measure's canonical unit, exactly.

Factors are fractions, worked out by pint with the UCUM grammar of ucumvert. Both are slow to import, so the
pairs records commonly use lie ready in `units.csv`, made and checked by `scripts/unit_table.py`; only a
pair that is not there costs the import.
"""

from __future__ import annotations

import csv
import re
import threading
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("units.csv")
#: Units that mean only what their own assay says: never exchanged for one another, nor for a plain number.
ARBITRARY = re.compile(r"\[(?:IU|iU|arb'U|[A-Za-z]+'U|CFU|PFU|FFU|CCID_50|TCID_50)\]|eq(?![A-Za-z])")
#: Two assays of one thing whose numbers differ by about two.
ASSAYS = ("FEU", "DDU")


class UnitError(ValueError):
    """A text that is no UCUM unit."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a number in one unit becomes in another.

    `becomes` is `value` (the same kind of quantity), `rate` or `dose` (an amount per time, or an amount, that
    cannot become the unit asked for) or `nothing`. For a `value` the new number is
    `(x + shift) * num / den * M**molar * W**weight`, with M the molar mass in g/mol and W the body weight
    in kg.
    """

    becomes: str
    num: float = 1.0
    den: float = 1.0
    shift: float = 0.0
    molar: int = 0
    weight: int = 0

    def apply(self, number: float, molar_mass: float = 1.0, body_weight: float = 1.0) -> float:
        """Convert one number.

        >>> convert("[degF]", "Cel").apply(100.4)
        38.0
        """
        scaled = (number + self.shift) * self.num / self.den
        return scaled * molar_mass**self.molar * body_weight**self.weight


SAME = Conversion("value")
_one_at_a_time = threading.Lock()


@lru_cache(maxsize=4096)
def convert(charted: str, wanted: str) -> Conversion:
    """How `charted` becomes `wanted` (both UCUM); raises `UnitError` if `charted` is no unit.

    >>> convert("mg/h", "ug/kg/min").weight
    -1
    >>> convert("mL/h", "ug/kg/min").becomes
    'rate'
    """
    if charted == wanted:
        return SAME
    ready = _ready().get((charted, wanted))
    if ready is not None:
        return ready
    with _one_at_a_time:  # two registries made at once leave one that knows no unit
        return work_out(charted, wanted)


@lru_cache(maxsize=1)
def _ready() -> dict[tuple[str, str], Conversion]:
    if not TABLE.exists():
        return {}
    with TABLE.open(encoding="utf-8", newline="") as lines:
        return {
            (row["from"], row["to"]): Conversion(
                row["becomes"],
                float(row["num"]),
                float(row["den"]),
                float(row["shift"]),
                int(row["molar"]),
                int(row["weight"]),
            )
            for row in csv.DictReader(lines)
        }


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A unit taken apart: what is left per kilogram of patient, and what may not be exchanged."""

    quantity: Any
    bare: str
    per_kg: int
    arbitrary: tuple[str, ...]
    assay: str


def work_out(charted: str, wanted: str) -> Conversion:
    """The same as `convert`, from pint itself, as exact fractions."""
    try:
        target = _parse(wanted)
    except UnitError:
        # A canonical unit pint cannot say (pH) is reached only from itself.
        _parse(charted)
        return Conversion("nothing")
    source = _parse(charted)
    if source.arbitrary != target.arbitrary or (
        source.assay and target.assay and source.assay != target.assay
    ):
        return _amount(source)
    if target.bare == "" and source.bare not in ("", "1"):
        return Conversion("nothing")  # a score or a ratio is no percentage
    weight = source.per_kg - target.per_kg
    for molar in (0, 1, -1):
        if molar and weight:
            break
        try:
            at_zero, at_one = (_number(source, target, molar, x) for x in (0, 1))
        except _mismatch():
            continue
        factor = at_one - at_zero
        num, den = factor.numerator, factor.denominator
        exact = max(num, den) < 2**53
        return Conversion(
            "value",
            float(num) if exact else float(factor),
            float(den) if exact else 1.0,
            float(at_zero / factor),
            molar,
            weight,
        )
    return _amount(source)


def _number(source: _Parsed, target: _Parsed, molar: int, x: int) -> Fraction:
    quantity = _registry().Quantity(Fraction(x) * _fraction(source.quantity.magnitude), source.quantity.units)
    if molar:
        quantity = quantity * _registry().Quantity(Fraction(1), "gram / mole") ** molar
    return _fraction(quantity.to(target.quantity.units).magnitude) / _fraction(target.quantity.magnitude)


def _fraction(number: Any) -> Fraction:
    return number if isinstance(number, Fraction) else Fraction(number)


def _amount(source: _Parsed) -> Conversion:
    """Tell an amount per time (an infusion runs) and an amount (a dose) from anything else."""
    sizes = dict(source.quantity.dimensionality)
    time = sizes.pop("[time]", 0)
    plain = sizes in ({"[mass]": 1}, {"[substance]": 1}, {"[length]": 3}) or (
        not sizes and bool(source.arbitrary)
    )
    if plain and time in (0, -1):
        return Conversion("rate" if time else "dose")
    return Conversion("nothing")


@lru_cache(maxsize=1024)
def _parse(unit: str) -> _Parsed:
    notes = re.findall(r"\{([^}]*)\}", unit)
    assay = next((word for note in notes for word in ASSAYS if word in note.upper()), "")
    bare = re.sub(r"\{[^}]*\}", "", unit).strip()
    # Mass per mass would cancel: ug/kg/min and 1/min are the same to pint and not to a patient.
    light, per_kg = re.subn(r"/kg(?![A-Za-z0-9])|\.kg-1", "", re.sub(r"/\(kg\.", "/(", bare))
    per_kg += bare.count("/(kg.")
    light = light or "1"
    light = "1" + light if light.startswith("/") else light
    arbitrary = tuple(sorted(token.replace("[iU]", "[IU]") for token in ARBITRARY.findall(light)))
    try:
        quantity = _registry().from_ucum(light)
        quantity.dimensionality  # noqa: B018 - an annotation alone parses to a token without one
    except Exception as error:  # lark, pint and ucumvert each raise their own
        raise UnitError(f"`{unit}` is no UCUM unit") from error
    return _Parsed(quantity, bare, per_kg, arbitrary, assay)


@lru_cache(maxsize=1)
def _registry() -> Any:
    from ucumvert import PintUcumRegistry

    return PintUcumRegistry(non_int_type=Fraction)


def _mismatch() -> tuple[type[Exception], ...]:
    from pint import DimensionalityError, OffsetUnitCalculusError

    return DimensionalityError, OffsetUnitCalculusError
