"""Whose limit rules: label, guideline, site and therapy together, and what is rounded to what."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.definitions.dose import Limit, dose_rules
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import DefinitionError
from tocsin.grading.live import micros
from tocsin.guidance.bedside import bedside
from tocsin.guidance.doses import Dose, dose, dose_at
from tocsin.testing import START, patient

LIB = library()
HOUR = 3_600_000_000
NOW = 1_000 * 24 * HOUR


def calculated(
    rule: str, *, kg: float | None = 70, age: float | None = 40, ago: tuple[float, ...] = (),
    limits: tuple[Limit, ...] = (), lib: Library = LIB,
) -> Dose:  # fmt: skip
    """A dose at NOW, with earlier doses of an amount nobody charted so many hours ago."""
    earlier = [(NOW - round(hours * HOUR), None) for hours in ago]
    return dose(rule, weight_kg=kg, age_years=age, now=NOW, earlier=earlier, limits=limits, lib=lib)


def at(hours: float, *lines: str) -> Dose:
    """Tocilizumab for a patient so many hours after the start."""
    return dose_at(bedside(patient(*lines), micros(START + timedelta(hours=hours))), "tocilizumab")


def site(folder: Path, text: str, name: str = "tocilizumab") -> Library:
    """The shelves with one file of doses of a site's own on top."""
    (folder / "doses").mkdir()
    (folder / "doses" / f"{name}.toml").write_text(
        f'id = "{name}"\ntitle = "Ours"\nsource = ["kymriah-label-2018"]\nstatus = "draft"\n{text}'
    )
    return Library((folder,))


def test_a_site_tightens_a_limit_with_a_file_that_has_nothing_else(tmp_path: Path) -> None:
    ours = site(tmp_path, '[[limit]]\nsays = "at least 12 h apart here"\nmin_gap_hours = 12\n')
    assert calculated("tocilizumab", ago=(9,)).allowed is True
    refused = calculated("tocilizumab", ago=(9,), lib=ours)
    assert refused.allowed is False
    assert "at least 12 h apart here (site)" in refused.limit
    assert refused.not_before == NOW + 3 * HOUR


def test_a_site_never_loosens_what_the_label_limits(tmp_path: Path) -> None:
    ours = site(tmp_path, '[[limit]]\nsays = "6 h are enough"\nmin_gap_hours = 6\n')
    assert calculated("tocilizumab", ago=(7,), lib=ours).allowed is False


def test_a_site_s_own_rule_above_the_label_is_held_to_the_label_s_most(tmp_path: Path) -> None:
    ours = site(tmp_path, '[[rule]]\nid = "ours"\ntitle = "10 mg/kg"\nband = [{ per_kg = 10 }]\n')
    held = calculated("ours", kg=90, lib=ours)
    assert (held.dose, held.dose_rounded) == (800, 800)
    assert "at most 800 mg a dose" in held.limit
    assert calculated("ours", kg=70, lib=ours).dose == 700


def test_a_site_cannot_put_another_dose_under_the_name_of_ours(tmp_path: Path) -> None:
    ours = site(tmp_path, '[[rule]]\nid = "tocilizumab"\ntitle = "other"\nband = [{ fixed = 1 }]\n')
    with pytest.raises(DefinitionError, match="already defined"):
        dose_rules(ours)


def test_the_definition_hash_changes_with_the_site_s_file(tmp_path: Path) -> None:
    ours = site(tmp_path, '[[limit]]\nsays = "ours"\nmin_gap_hours = 12\n')
    assert calculated("tocilizumab", lib=ours).definition != calculated("tocilizumab").definition


def test_a_gap_and_a_count_in_one_limit_both_hold_and_the_later_is_told() -> None:
    both = Limit("site", "8 h, 2 a week", min_gap_hours=8, max_doses=2, within_hours=168)
    refused = calculated("siltuximab", ago=(30, 2), limits=(both,))
    assert refused.not_before is not None
    assert refused.not_before > NOW + 6 * HOUR


def test_no_dose_at_all_is_a_limit_without_an_end() -> None:
    never = Limit("site", "not stocked", max_doses=0, within_hours=24)
    refused = calculated("anakinra", limits=(never,))
    assert (refused.allowed, refused.not_before) == (False, None)


@pytest.mark.parametrize("most", [555, 595, 600])
def test_what_is_rounded_stays_under_the_strictest_most(most: float) -> None:
    held = calculated("tocilizumab", kg=99, limits=(Limit("site", "stock", max_dose=most),))
    assert held.dose == most
    assert held.dose_rounded is not None
    assert held.dose_rounded <= most


@pytest.mark.parametrize(
    ("kg", "rounded"),
    [(10, 120), (14, 160), (25, 280), (25.5, 320), (45, 360), (52, 400), (64, 520), (72, 560), (77, 600)],
)
def test_whole_vials_of_80_200_and_400_mg_where_they_are_near(kg: float, rounded: float) -> None:
    given_ = calculated("tocilizumab", kg=kg)
    assert given_.dose_rounded == rounded
    assert given_.dose is not None
    assert abs(rounded - given_.dose) <= given_.dose * 0.1


def test_siltuximab_is_given_once_and_not_again_for_42_days() -> None:
    assert calculated("siltuximab").allowed is True
    assert calculated("siltuximab", ago=(41 * 24 + 23,)).allowed is False
    assert calculated("siltuximab", ago=(42 * 24,)).allowed is True


@pytest.mark.parametrize("rule", [name for name, rule in dose_rules(LIB).items() if rule.drug in (
    "dexamethasone", "methylprednisolone")])  # fmt: skip
def test_adults_fixed_steroid_doses_are_not_given_to_children(rule: str) -> None:
    fixed = dose_rules(LIB)[rule].bands[0].fixed is not None
    child = calculated(rule, kg=20, age=17.9)
    assert (child.dose is None) is fixed
    assert ("no source at hand" in child.refused) is fixed
    assert calculated(rule, age=18).dose is not None


def test_the_interval_says_when_the_next_dose_is_due_and_forbids_nothing() -> None:
    given_ = calculated("dexamethasone-10-q6h", ago=(2,))
    assert (given_.allowed, given_.due) == (True, NOW + 4 * HOUR)
    assert calculated("dexamethasone-10-q6h", ago=(6,)).due is None
    assert calculated("dexamethasone-10-q6h").due is None


def test_a_dose_above_the_cap_is_shown_although_no_weight_is_known() -> None:
    given_ = dose(
        "tocilizumab", weight_kg=None, age_years=40, now=NOW, earlier=[(NOW - 20 * HOUR, 900.0)], lib=LIB
    )
    assert any("900 mg" in note and "800 mg" in note for note in given_.notes)


def test_a_dose_charted_without_its_amount_counts() -> None:
    assert calculated("tocilizumab", ago=(7.9,)).allowed is False
    assert at(8.5, "0 h weight 70 kg", "1 h tocilizumab").allowed is False
    assert at(9, "0 h weight 70 kg", "1 h tocilizumab").allowed is True


THREE = ("0 h weight 70 kg", "0 h tocilizumab 560 mg", "10 h tocilizumab 560 mg", "20 h tocilizumab 560 mg")


def test_after_three_doses_under_a_cd20_engager_a_fourth_hangs_on_the_country() -> None:
    """At most 3 in 6 weeks is of the EU labels, from memory; elsewhere 4 hold."""
    elsewhere = at(60, *THREE, "1 h teclistamab")
    assert (elsewhere.allowed, elsewhere.limit) == (True, "")
    engager = at(60, *THREE, "1 h glofitamab")
    assert engager.allowed is None
    assert "at most 3 doses in 6 weeks (EU label, from memory)" in engager.limit
    assert at(60, *THREE[:3], "1 h glofitamab").allowed is True


def test_what_is_sure_rules_over_what_hangs_on_the_country() -> None:
    four = at(60, *THREE, "30 h tocilizumab 560 mg", "1 h glofitamab")
    assert four.allowed is False
    assert "at most 4 doses in total" in four.limit


@pytest.mark.parametrize(
    "text",
    [
        '[[limit]]\nsays = "x"\nmax_doses = 3\n',
        '[[limit]]\nsays = "x"\n',
        '[[limit]]\nsays = "x"\nmin_gap_hour = 3\n',
        '[[rule]]\nid = "x"\ntitle = "x"\n',
        '[[rule]]\nid = "x"\ntitle = "x"\nband = [{ fixed = 1, per_kg = 1 }]\n',
        '[[rule]]\nid = "x"\ntitle = "x"\nvials = [80]\nband = [{ fixed = 1 }]\n',
        "",
    ],
)
def test_a_file_of_doses_that_does_not_make_sense_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DefinitionError, match="fix:"):
        dose_rules(site(tmp_path, text))


@given(st.floats(1, 250), st.floats(100, 800))
def test_what_is_rounded_is_near_and_never_above_the_most(kg: float, most: float) -> None:
    given_ = calculated("tocilizumab", kg=kg, limits=(Limit("site", "stock", max_dose=most),))
    assert given_.dose is not None
    assert given_.dose_rounded is not None
    assert given_.dose <= most
    assert given_.dose_rounded <= most
    assert abs(given_.dose_rounded - given_.dose) <= max(10, given_.dose * 0.1)
