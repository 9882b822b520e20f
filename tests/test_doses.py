"""How much, and whether now: every border of every dose."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.definitions.dose import Limit, dose_rules
from tocsin.definitions.load import library
from tocsin.definitions.schema import DefinitionError
from tocsin.grading.live import micros
from tocsin.guidance.bedside import bedside
from tocsin.guidance.doses import dose, dose_at
from tocsin.testing import START, patient

LIB = library()
HOUR = 3_600_000_000
MINUTE = HOUR // 60
NOW = 1_000 * 24 * HOUR


def tocilizumab(kg=70.0, ago=(), limits=(), age=40.0):
    """Tocilizumab at NOW with doses so many hours ago."""
    earlier = [(NOW - round(hours * HOUR), 560.0) for hours in ago]
    return dose("tocilizumab", weight_kg=kg, age_years=age, now=NOW, earlier=earlier, limits=limits, lib=LIB)


@pytest.mark.parametrize(
    ("kg", "mg", "rounded"),
    [
        (10, 120, 120),
        (29.9, 358.8, 360),
        (30.0, 240, 240),
        (30.1, 240.8, 240),
        (70, 560, 560),
        (99.9, 799.2, 800),
        (100.0, 800, 800),
        (100.1, 800, 800),
        (101, 800, 800),
        (150, 800, 800),
    ],
)
def test_tocilizumab_is_12_mg_per_kg_under_30_kg_else_8_and_never_above_800(kg, mg, rounded):
    given_ = tocilizumab(kg)
    assert (given_.dose, given_.dose_rounded) == (pytest.approx(mg), rounded)
    assert ("capped at 800 mg" in given_.limit) == (kg > 100)


@pytest.mark.parametrize(
    ("ago", "allowed"),
    [
        ((), True),
        ((7 + 59 / 60,), False),
        ((8,), True),
        ((8 + 1 / 60,), True),
        ((0,), False),
        ((23.99, 16, 8), False),
        ((24, 16, 8), True),
        ((23, 15), True),
        ((400, 300, 200, 100), False),
        ((400, 300, 200), True),
        ((42 * 24 - 1, 300, 200, 100), False),
        ((42 * 24, 300, 200, 100), True),
    ],
)
def test_tocilizumab_is_8_h_apart_3_in_24_h_and_4_in_42_days(ago, allowed):
    given_ = tocilizumab(ago=ago)
    assert given_.allowed is allowed
    assert given_.dose == 560
    assert bool(given_.limit) is not allowed


def test_the_answer_says_which_limit_binds_and_from_when():
    given_ = tocilizumab(ago=(4,))
    assert given_.not_before == NOW + 4 * HOUR
    assert "at least 8 h apart" in given_.limit
    assert "3 doses in 24 h" in tocilizumab(ago=(20, 12, 8.5)).limit
    assert "4 doses in total" in tocilizumab(ago=(400, 300, 200, 100)).limit


def test_the_limit_that_ends_last_is_named_when_several_bind():
    given_ = tocilizumab(ago=(400, 300, 200, 4))
    assert "4 doses in total" in given_.limit
    assert given_.not_before == NOW - 400 * HOUR + 42 * 24 * HOUR


def test_a_looser_guideline_never_loosens_and_a_stricter_site_tightens():
    loose = Limit("guideline", "repeat after 6 h", min_gap_hours=6)
    strict = Limit("site", "at least 12 h apart here", min_gap_hours=12)
    assert tocilizumab(ago=(7,), limits=[loose]).allowed is False
    refused = tocilizumab(ago=(9,), limits=[strict])
    assert (refused.allowed, "site" in refused.limit) == (False, True)
    assert tocilizumab(limits=[Limit("site", "600 mg is what we stock", max_dose=600)], kg=90).dose == 600


def test_a_dose_given_elsewhere_or_of_unknown_amount_counts():
    facts = patient(
        "0 h weight 70 kg", "0 h tocilizumab source other-hospital", "1 h tocilizumab 400 mg method oral"
    )
    bed = bedside(facts, micros(START + timedelta(hours=8.5)))
    assert dose_at(bed, "tocilizumab").allowed is False
    assert dose_at(bedside(facts, micros(START + timedelta(hours=9))), "tocilizumab").allowed is True


def test_a_prophylactic_dose_before_the_therapy_counts():
    facts = patient("0 h weight 70 kg", "0 h tocilizumab 560 mg", "1 h teclistamab", "5 h temperature 39 Cel")
    assert dose_at(bedside(facts, micros(START + timedelta(hours=6))), "tocilizumab").allowed is False


@pytest.mark.parametrize("kg", [0, -70, float("nan"), float("inf"), 7000])
def test_an_impossible_weight_refuses_the_number_and_not_the_rest(kg):
    given_ = tocilizumab(kg, ago=(4,))
    assert (given_.dose, given_.dose_rounded) == (None, None)
    assert "impossible" in given_.refused
    assert given_.allowed is False
    assert given_.not_before == NOW + 4 * HOUR


def test_without_a_weight_the_number_is_asked_for_and_the_clock_still_answers():
    given_ = tocilizumab(None)
    assert (given_.dose, given_.needs, given_.allowed) == (None, ("weight",), True)
    assert given_.refused == "no weight is charted"


def test_weights_that_contradict_each_other_refuse_the_number():
    near = patient("0 h weight 70 kg", "1 h teclistamab", "2 h weight 84 kg")
    far = patient("0 h weight 70 kg", "1 h teclistamab", "2 h weight 84.1 kg")
    now = micros(START + timedelta(hours=3))
    assert dose_at(bedside(near, now), "tocilizumab").dose == 560
    refused = dose_at(bedside(far, now), "tocilizumab")
    assert refused.dose is None
    assert "70 and 84.1 kg" in refused.refused


def test_an_earlier_dose_above_the_label_is_shown():
    given_ = dose(
        "tocilizumab", weight_kg=120, age_years=40, now=NOW, earlier=[(NOW - 20 * HOUR, 960.0)], lib=LIB
    )
    assert given_.notes == ("960 mg was charted at 2023-09-26T04:00:00Z, above the cap of 800 mg",) or any(
        "960 mg" in note and "800 mg" in note for note in given_.notes
    )


@pytest.mark.parametrize(
    ("age", "kg", "mg"),
    [
        (40, None, 100),
        (18, 30, 100),
        (17.9, 30, 60),
        (17.9, 60, 100),
        (3, 12, 24),
        (None, None, 100),
    ],
)
def test_anakinra_is_100_mg_for_adults_and_2_mg_per_kg_up_to_100_for_children(age, kg, mg):
    given_ = dose("anakinra", weight_kg=kg, age_years=age, now=NOW, lib=LIB)
    assert given_.dose == mg
    assert given_.every_hours == (6,)
    assert bool(given_.notes) == (age is None)


def test_siltuximab_is_11_mg_per_kg():
    assert dose("siltuximab", weight_kg=71.3, age_years=40, now=NOW, lib=LIB).dose == pytest.approx(784.3)
    assert dose("siltuximab", weight_kg=71.3, age_years=40, now=NOW, lib=LIB).dose_rounded == 784


@pytest.mark.parametrize(
    ("rule", "mg", "every"),
    [
        ("dexamethasone-10-once", 10, ()),
        ("dexamethasone-10-q6h", 10, (6,)),
        ("dexamethasone-10-q12-24h", 10, (12, 24)),
        ("dexamethasone-20-q6h", 20, (6,)),
        ("methylprednisolone-500-q12h", 500, (12,)),
        ("methylprednisolone-1000-cartox", 1000, (24,)),
    ],
)
def test_steroids_are_fixed_and_need_no_weight(rule, mg, every):
    given_ = dose(rule, weight_kg=None, age_years=None, now=NOW, lib=LIB)
    assert (given_.dose, given_.every_hours, given_.refused) == (mg, every, "")


def test_the_course_of_asco_grade_4_is_written_out():
    given_ = dose("methylprednisolone-500-q12h", weight_kg=None, age_years=50, now=NOW, lib=LIB)
    assert given_.course == (
        "500 mg every 12 h for 3 d",
        "250 mg every 12 h for 2 d",
        "125 mg every 12 h for 2 d",
        "60 mg every 12 h until grade 1",
    )


def test_acetaminophen_is_a_range_not_before_6_h_and_not_for_children():
    grown = dose(
        "acetaminophen", weight_kg=None, age_years=60, now=NOW, earlier=[(NOW - 5 * HOUR, 650)], lib=LIB
    )
    assert (grown.dose, grown.high, grown.allowed) == (650, 1000, False)
    child = dose("acetaminophen", weight_kg=20, age_years=6, now=NOW, lib=LIB)
    assert child.dose is None
    assert "no source" in child.refused


def test_a_rule_from_memory_says_so():
    assert {name: rule.status for name, rule in dose_rules(LIB).items()}["ruxolitinib"] == "memory"


def test_an_unknown_rule_is_refused_with_its_near_miss():
    with pytest.raises(DefinitionError, match="did you mean `tocilizumab`"):
        dose("tocilizumb", weight_kg=70, age_years=40, now=NOW, lib=LIB)


KG = st.floats(0.6, 300)
AGO = st.lists(st.integers(0, 60 * 24).map(lambda hours: float(hours)), max_size=6)


@given(KG, KG)
def test_within_a_band_more_weight_is_never_less_drug(one, two):
    low, high = sorted((one, two))
    if (low < 30) == (high < 30):
        assert tocilizumab(low).dose <= tocilizumab(high).dose <= 800


@given(AGO, st.integers(0, 60 * 24))
def test_one_more_earlier_dose_never_allows_what_was_refused(ago, more):
    if not tocilizumab(ago=ago).allowed:
        assert not tocilizumab(ago=[*ago, more]).allowed


@given(AGO, st.floats(0.5, 72))
def test_one_more_limit_never_loosens(ago, gap):
    limit = Limit("site", "ours", min_gap_hours=gap)
    if not tocilizumab(ago=ago).allowed:
        assert not tocilizumab(ago=ago, limits=[limit]).allowed


@given(AGO)
def test_not_before_is_the_first_moment_at_which_a_dose_is_allowed(ago):
    given_ = tocilizumab(ago=ago)
    if given_.not_before is not None:
        earlier = [(NOW - round(hours * HOUR), 560.0) for hours in ago]
        again = dose(
            "tocilizumab", weight_kg=70, age_years=40, now=given_.not_before - 1, earlier=earlier, lib=LIB
        )
        assert not again.allowed
