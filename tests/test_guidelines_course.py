"""Guidelines over time: what is not known, what runs, what ran out, for whom, and where they differ."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graded import BCMA, CAR_T, CD20, LIB, NAMES, asked, bed, ill, one
from tocsin.definitions.guideline import guideline
from tocsin.guidance import actions
from tocsin.guidance.bedside import written
from tocsin.guidance.clocks import again, clocks
from tocsin.guidance.disagreements import disagreements
from tocsin.guidance.whom import fits
from tocsin.testing import START


def clock(lines: tuple[str, ...], at: float, name: str, which: str) -> dict | None:
    """One clock of one guideline; None where it does not run."""
    for said in clocks(bed(lines, at), [name]):
        if said["clock"] == which:
            return said
    return None


def hour(h: float) -> str:
    """An hour of the record as it is written."""
    return (START + timedelta(hours=h)).strftime("%Y-%m-%dT%H:%M:%SZ")


def topic(lines: tuple[str, ...], at: float, which: str, names=NAMES) -> dict[str, dict]:
    """The positions on one topic now; empty where the guidelines say the same."""
    here = bed(lines, at)
    for found in disagreements(here, actions.actions(here, names), names):
        if found["id"] == which:
            return {position["guideline"]: position for position in found["positions"]}
    return {}


# conditions: yes, unknown, no


@pytest.mark.parametrize(
    ("more", "told"),
    [(("40 h anc 0.4 10*3/uL",), []), ((), ["neutropenia"]), (("40 h anc 0.5 10*3/uL",), None)],
)
def test_growth_factor_is_told_when_neutropenic_and_if_that_is_not_known(more, told):
    """At 0.5 itself nobody is neutropenic; a count that was never taken rules nothing out."""
    found = [said for said in asked(ill(1, *more), 41, "asco-2021") if said["text"].startswith("G-CSF")]
    assert [said["if_known"] for said in found] == ([] if told is None else [told])


def test_a_steroid_after_boluses_waits_for_the_second_bolus():
    lines = ("40.3 h fluid-bolus 500 mL", "40.5 h tocilizumab 560 mg")
    text = "dexamethasone, one or two doses"
    assert not [said for said in asked(ill(2, *lines), 41, "asco-2021") if said["text"].startswith(text)]
    assert one(ill(2, *lines, "40.4 h fluid-bolus 500 mL"), 41, "asco-2021", text)["drug"] == "dexamethasone"


@pytest.mark.parametrize(("onset", "told"), [(71.9, True), (72, False), (90, False)])
def test_nccn_considers_dexamethasone_at_grade_1_before_72_h_only(onset, told):
    found = asked(ill(1, onset=onset, until=onset + 1), onset + 0.5, "nccn-2026")
    assert any(said["action"] == "steroid" for said in found) == told


@pytest.mark.parametrize(("until", "told"), [(110, False), (113, True)])
def test_three_days_of_fever_bring_tocilizumab_at_grade_1(until, told):
    found = asked(ill(1, until=until), until - 1, "cartox-2018")
    assert any(said["drug"] == "tocilizumab" and not said["if_known"] for said in found) == told


@pytest.mark.parametrize(("back", "told"), [(43.4, False), (43.6, True), (49.4, True), (49.6, False)])
def test_fever_back_within_8_h_of_acetaminophen_brings_dexamethasone(back, told):
    """The dose was at 41.5 h; within 2 h of it nothing can be said yet."""
    lines = ill(1, "41.5 h acetaminophen 650 mg", f"{back} h temperature 38.6 Cel", therapy=CD20)
    found = asked(lines, back, "cd20-engager-2024")
    assert any(said["text"].startswith("dexamethasone once") for said in found) == told


@settings(max_examples=25, deadline=None)
@given(
    st.sets(
        st.sampled_from(
            [
                "40 h anc 0.4 10*3/uL",
                "40 h ice-score 8",
                "40 h heart-rate 140 /min",
            ]
        )
    )
)
def test_charting_what_holds_never_takes_an_action_away(more):
    """What was shown as `if known` is shown without it once it is known to hold."""
    before = {(said["guideline"], said["text"]) for said in actions.actions(bed(ill(2)), NAMES)}
    after = {(said["guideline"], said["text"]) for said in actions.actions(bed(ill(2, *sorted(more))), NAMES)}
    assert before <= after


# clocks


def test_24_hours_after_tocilizumab_grade_2_is_managed_as_grade_3():
    lines = ill(2, "40.5 h tocilizumab 560 mg", until=67)
    early, late = (clock(lines, at, "asco-2021", "no-better-24-h") for at in (64.4, 64.5))
    assert early is not None
    assert late is not None
    assert (early["started"], early["due"], early["state"]) == (hour(40.5), hour(64.5), "running")
    assert early["text"] == f"no improvement by {hour(64.5)}: manage as grade 3"
    assert (late["state"], late["status"]) == ("passed", "memory")
    assert not [said for said in asked(lines, 64.4, "asco-2021") if said["grade"] == 3]
    said = one(lines, 64.5, "asco-2021", "dexamethasone with tocilizumab")
    assert (said["grade"], said["because"]) == (3, "no-better-24-h: manage as grade 3")


def test_without_tocilizumab_its_clock_does_not_run():
    assert clock(ill(2, until=67), 66, "asco-2021", "no-better-24-h") is None


def test_a_clock_ends_when_the_patient_is_better():
    better = ("50 h systolic-bp 120 mm[Hg]", "50.25 h systolic-bp 120 mm[Hg]")
    lines = (*ill(2, "40.5 h tocilizumab 560 mg", until=49), *better, "60 h temperature 38.5 Cel")
    assert bed(lines, 61).grades["astct-2019"]["grade"] == 1
    assert clock(lines, 61, "asco-2021", "no-better-24-h") is None
    assert not [said for said in asked(lines, 66, "asco-2021") if said["grade"] > 1]


def test_a_clock_counts_from_the_first_dose_at_this_grade():
    """A second dose does not put the next step off."""
    lines = ill(2, "40.5 h tocilizumab 560 mg", "49 h tocilizumab 560 mg", until=52)
    found = clock(lines, 51, "nccn-derived", "no-better-24-h")
    assert found is not None
    assert found["started"] == hour(40.5)


@pytest.mark.parametrize(("at", "state"), [(111.9, "running"), (112, "passed")])
def test_fever_for_three_days_runs_from_the_onset(at, state):
    found = clock(ill(1, until=113), at, "asco-2021", "fever-3-d")
    assert found is not None
    assert (found["due"], found["state"]) == (hour(112), state)
    escalated = [said for said in asked(ill(1, until=113), at, "asco-2021") if said["grade"] == 2]
    assert bool(escalated) == (state == "passed")


@pytest.mark.parametrize(
    ("name", "which", "more", "therapy", "due"),
    [
        ("cartox-2018", "repeat-6-h", "40.5 h tocilizumab 560 mg", CAR_T, 46.5),
        ("cd20-engager-2024", "fever-back-6-h", "40.5 h acetaminophen 650 mg", CD20, 46.5),
        ("cd20-engager-2024", "hlh-after-a-week", "40 h crp 50 mg/L", CD20, 208),
        ("nccn-derived", "fever-3-d", "40 h crp 50 mg/L", CAR_T, 112),
        ("cartox-2018", "fever-3-d", "40 h crp 50 mg/L", CAR_T, 112),
        ("ebmt-eha-2022", "fever-3-d", "40 h crp 50 mg/L", CAR_T, 112),
    ],
)
def test_each_clock_says_when_it_is_due(name, which, more, therapy, due):
    found = clock(ill(1, more, therapy=therapy), 41, name, which)
    assert found is not None
    assert (found["due"], found["state"]) == (hour(due), "running")
    assert found["source"]


def test_nccn_counts_24_h_from_either_anti_il6_drug():
    found = clock(ill(2, "40.5 h siltuximab 770 mg"), 41, "nccn-2026", "no-better-24-h")
    assert found is not None
    assert found["due"] == hour(64.5)


# limits


@pytest.mark.parametrize(("at", "allowed"), [(46.5, False), (48.4, False), (48.5, True)])
def test_six_hours_of_cartox_never_loosen_the_eight_of_label_and_nccn(at, allowed):
    lines = ill(2, "40.5 h tocilizumab 560 mg", until=49)
    for name in ("cartox-2018", "asco-2021"):
        said = next(each for each in asked(lines, at, name) if each["drug"] == "tocilizumab")
        assert said["allowed"] is allowed
        assert ("8 h" in said["limit"]) == (not allowed)
        assert said["dose"] == 560


def test_a_drug_that_must_wait_has_a_clock_of_its_own():
    here = bed(ill(2, "40.5 h tocilizumab 560 mg"), 41)
    (found,) = again(actions.actions(here, NAMES))
    assert (found["clock"], found["due"]) == ("tocilizumab-again", hour(48.5))


def test_three_doses_in_24_h_and_four_in_all_bind_every_guideline():
    """Also a dose given for another reason, weeks ago."""
    three = [f"{h} h tocilizumab 560 mg" for h in (40, 48, 56)]
    said = next(s for s in asked(ill(2, *three, until=65), 64, "asco-2021") if s["drug"] == "tocilizumab")
    assert (said["allowed"], said["not_before"]) == (True, None)
    close = [f"{h} h tocilizumab 560 mg" for h in (41, 49, 57)]
    said = next(s for s in asked(ill(2, *close, until=66), 64.9, "asco-2021") if s["drug"] == "tocilizumab")
    assert (said["allowed"], written(said["not_before"])) == (False, hour(65))
    four = [*three, "-240 h tocilizumab 560 mg"]
    said = next(s for s in asked(ill(2, *four, until=66), 65, "asco-2021") if s["drug"] == "tocilizumab")
    assert said["allowed"] is False
    assert "4 " in said["limit"]


def test_without_a_weight_the_rest_of_the_answer_stands():
    lines = tuple(line for line in ill(3) if "weight" not in line)
    told = asked(lines, 41, "asco-2021")
    toci = next(said for said in told if said["drug"] == "tocilizumab")
    assert (toci["dose"], toci["refused"], toci["allowed"]) == (None, "no weight is charted", True)
    assert next(said for said in told if said["drug"] == "dexamethasone")["dose"] == 10


# for whom


@pytest.mark.parametrize(
    ("therapy", "age", "fitting", "not_fitting"),
    [
        (CAR_T, 50, "asco-2021", "cd20-engager-2024"),
        (CAR_T, 50, "chinese-b-nhl", "emn-2023"),
        (CAR_T, 8, "cartox-2018-paediatric", "cd20-engager-2024"),
        (CAR_T, 17.9, "cartox-2018-paediatric", "emn-2023"),
        (CAR_T, 18, "cartox-2018", "cartox-2018-paediatric"),
        (CD20, 50, "cd20-engager-2024", "asco-2021"),
        (BCMA, 50, "emn-2023", "cd20-engager-2024"),
        ("ciltacabtagene-autoleucel", 50, "asco-2021", "chinese-b-nhl"),
        ("tarlatamab", 50, "sitc-2020", "emn-2023"),
        ("haploidentical-transplant", 50, "level-of-care", "asco-2021"),
    ],
)
def test_a_guideline_is_for_a_therapy_a_target_and_an_age(therapy, age, fitting, not_fitting):
    here = bed(ill(1, therapy=therapy, age=age))
    assert fits(here, guideline(fitting, LIB)) == (2, "")
    fit, why = fits(here, guideline(not_fitting, LIB))
    assert fit == 0
    assert why
    assert asked(ill(1, therapy=therapy, age=age), 41, not_fitting) == []


def test_without_a_therapy_every_guideline_is_shown_and_says_that_none_is_charted():
    lines = tuple(line for line in ill(1) if not line.endswith(CAR_T))
    told = actions.actions(bed(lines), ["asco-2021", "level-of-care"])
    for said in told:
        assert ("no therapy is charted" in said["if_known"]) == (said["guideline"] == "asco-2021")


# where they differ


def test_the_interval_of_dexamethasone_at_grade_2_is_told_side_by_side():
    found = topic(ill(2), 41, "first-steroid")
    assert "every 12 to 24 h" in found["nccn-2026"]["says"]
    assert "every 6 h" in found["cartox-2018"]["says"]
    assert "if hypotension-after" not in found["nccn-2026"]["says"]
    assert found["samsung"]["says"] == "nothing was found for this grade"
    assert (found["axicabtagene label"]["status"], found["axicabtagene label"]["now"]) == ("memory", False)


def test_methylprednisolone_at_grade_4_is_500_twice_or_1000_once_a_day():
    found = topic(ill(4), 41, "steroid-grade-4")
    assert "500 mg every 12 h" in found["asco-2021"]["says"]
    assert "1000 mg every 24 h" in found["nccn-derived"]["says"]
    assert found["nccn-derived"]["status"] == "memory"
    assert found["nccn-2026"]["says"] == "its text for this grade was not seen"


@pytest.mark.parametrize(
    ("which", "grade", "names"),
    [
        ("tocilizumab-at-grade-1", 1, {"asco-2021", "nccn-2026", "samsung", "chinese-b-nhl"}),
        ("early-onset", 1, {"nccn-2026"}),
        ("first-steroid", 1, {"nccn-2026", "EBMT text", "engager practice"}),
        ("first-steroid", 3, {"asco-2021", "samsung"}),
        ("growth-factors", 1, {"asco-2021", "ebmt-eha-2022"}),
        ("escalation-clock", 2, {"tebentafusp label", "CARTOX", "labels", "ASCO"}),
    ],
)
def test_each_known_disagreement_is_shown_at_its_grade_with_sources(which, grade, names):
    found = topic(ill(grade), 41, which)
    assert names <= set(found)
    said = [position for position in found.values() if position["says"] != "nothing was found for this grade"]
    assert all(position["source"] for position in said)


def test_prophylactic_tocilizumab_is_a_matter_for_engagers_only():
    assert topic(ill(1, therapy=BCMA), 41, "prophylactic-tocilizumab")
    assert not topic(ill(1), 41, "prophylactic-tocilizumab")


def test_one_guideline_alone_disagrees_with_nobody():
    assert "asco-2021" not in topic(ill(4), 41, "steroid-grade-4", names=("asco-2021",))


def test_nobody_disagrees_about_a_well_patient():
    here = bed(ill(1), 39)
    assert disagreements(here, actions.actions(here, NAMES), NAMES) == []


def test_a_guideline_that_says_nothing_of_growth_factors_takes_no_position_on_them():
    found = topic(ill(1), 41, "growth-factors")
    assert set(found) == {"asco-2021", "nccn-2026", "ebmt-eha-2022", "nccn-derived"}
    assert found["ebmt-eha-2022"]["says"] == "avoid GM-CSF"


def test_what_is_from_memory_does_not_name_a_page():
    said = one(ill(4), 41, "asco-2021", "mechanical ventilation")
    assert (said["source"], said["locator"], said["status"]) == (["memory"], "from memory", "memory")


@pytest.mark.parametrize("grade", [2, 3, 4])
def test_a_grade_whose_page_was_not_seen_says_so(grade):
    said = one(ill(grade, age=8, kg=25), 41, "cartox-2018-paediatric", "its steps for grades 2 to 4")
    assert said["action"] == "review"


def test_every_condition_of_the_guidelines_file_is_used():
    """By a guideline, a label's step, or another finding."""
    from tocsin.definitions.product import product
    from tocsin.definitions.shared import shared_findings

    own = shared_findings("guideline-conditions", LIB).findings
    used = {name for finding in own for name in finding.names}
    used |= {name for each in NAMES for name in guideline(each, LIB).named}
    used |= {
        name
        for therapy in LIB.classes["therapy"]
        for step in product(therapy, LIB).steps
        for name in step.when
    }
    assert {finding.id for finding in own} - used == set()
