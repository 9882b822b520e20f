"""Units: exact, by the library, and never between things that only look alike."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.units import UnitError, convert, work_out

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("number", "charted", "wanted", "result"),
    [
        (100.4, "[degF]", "Cel", 38.0),
        (98.6, "[degF]", "Cel", 37.0),
        (311.15, "K", "Cel", 38.0),
        (0.4, "1", "%", 40.0),
        (6, "mo", "a", 0.5),
        (150, "10*9/L", "10*3/uL", 150.0),
        (1, "mg/L", "mg/dL", 0.1),
        (30, "ug/kg/h", "ug/kg/min", 0.5),
        (2.4, "[IU]/h", "[IU]/min", 0.04),
    ],
)
def test_known_conversions(number, charted, wanted, result):
    """Values a clinician can check in the head."""
    assert convert(charted, wanted).apply(number) == pytest.approx(result, rel=1e-12)


def test_the_fever_boundary_survives_fahrenheit():
    """100.4 [degF] is 38 Cel exactly; a float factor would leave it a hair above or below."""
    assert convert("[degF]", "Cel").apply(100.4) == 38.0


def test_moles_meet_grams_by_the_molar_mass():
    """88.42 umol/L of creatinine (113.12 g/mol) is 1.0 mg/dL."""
    found = convert("umol/L", "mg/dL")
    assert found.molar == 1
    assert found.apply(88.42, molar_mass=113.12) == pytest.approx(1.0, rel=1e-3)


def test_a_rate_without_kilograms_needs_a_weight():
    """5 ug/min in 80 kg is 0.0625 ug/kg/min; per-kilogram vasopressin goes the other way."""
    assert convert("ug/min", "ug/kg/min").apply(5, body_weight=80) == 0.0625
    assert convert("[IU]/kg/h", "[IU]/min").apply(0.6, body_weight=50) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("charted", "wanted"),
    [
        ("/min", "ug/kg/min"),  # mass per mass cancels to pint, not to a patient
        ("mm[Hg]", "ug/kg/min"),
        ("meq/L", "mmol/L"),  # depends on the charge
        ("ng/mL{DDU}", "ng/mL{FEU}"),  # the two D-dimer assays differ by about two
        ("U/L", "[IU]/L"),
        ("%", "{INR}"),
        ("Cel", "mg/dL"),
    ],
)
def test_things_that_only_look_alike_are_not_exchanged(charted, wanted):
    """A number of another kind would be graded as if it were this one."""
    assert convert(charted, wanted).becomes == "nothing"


@pytest.mark.parametrize(
    ("charted", "becomes"),
    [
        ("mL/h", "rate"),
        ("[IU]/min", "rate"),
        ("mg", "dose"),
        ("ug/kg", "dose"),
        ("[IU]", "dose"),
        ("mL", "dose"),
    ],
)
def test_an_amount_per_time_runs_and_an_amount_does_not(charted, becomes):
    """Whether a drug runs can be known where its dose cannot."""
    assert convert(charted, "ug/kg/min").becomes == becomes


@pytest.mark.parametrize("text", ["foo", "MG/DL", "units/h", "mmHg", "drops"])
def test_what_is_no_unit_is_refused(text):
    """Spellings are the definitions' business; here only UCUM passes."""
    with pytest.raises(UnitError, match="no UCUM unit"):
        work_out(text, "mg/dL")


def test_the_table_is_what_pint_says_today():
    """Regenerated and compared: a table by hand would drift."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "unit_table.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_common_pairs_do_not_import_pint():
    """The import costs more than grading a patient."""
    code = (
        "import sys; from tocsin.units import convert; "
        "convert('[degF]', 'Cel'); convert('ug/min', 'ug/kg/min'); convert('umol/L', 'mg/dL'); "
        "assert 'pint' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


PAIRS = [
    ("[degF]", "Cel"),
    ("kPa", "mm[Hg]"),
    ("[lb_av]", "kg"),
    ("d", "a"),
    ("ng/kg/min", "ug/kg/min"),
    ("g/L", "mg/dL"),
    ("[in_i]", "cm"),
    ("ukat/L", "U/L"),
]


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(PAIRS), st.floats(-1e6, 1e6))
def test_there_and_back_again(pair, number):
    """Converting forth and back gives the number, and forth agrees with exact fractions."""
    charted, wanted = pair
    forth, back = work_out(charted, wanted), work_out(wanted, charted)
    assert back.apply(forth.apply(number)) == pytest.approx(number, rel=1e-9, abs=1e-9)
    exact = (Fraction(number) + Fraction(forth.shift)) * Fraction(forth.num) / Fraction(forth.den)
    assert forth.apply(number) == pytest.approx(float(exact), rel=1e-12, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([pair for pair in PAIRS if pair[0] != "[degF]"]), st.floats(1e-3, 1e6))
def test_pint_itself_agrees(pair, number):
    """Our factor against pint's own float conversion."""
    from ucumvert import PintUcumRegistry

    registry = _registry(PintUcumRegistry)
    charted, wanted = (unit.replace("/kg", "") for unit in pair)
    target = registry.from_ucum(wanted).units
    said = (number * registry.from_ucum(charted)).to(target).magnitude
    assert convert(*pair).apply(number) == pytest.approx(said, rel=1e-9)


_KEPT: list[object] = []


def _registry(make):
    if not _KEPT:
        _KEPT.append(make())
    return _KEPT[0]
