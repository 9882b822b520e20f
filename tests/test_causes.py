"""What else it can be: how each cause stands, what separates it, and what each changes in what is advised."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moments_of_care import LIB, bed, calm, one, z
from tocsin.definitions.cause import STANDINGS
from tocsin.definitions.cause import causes as known
from tocsin.definitions.load import Library
from tocsin.definitions.schema import DefinitionError
from tocsin.guidance import causes as room
from tocsin.guidance.causes import causes

FEVER = ("0 h weight 70 kg", "0 h age 50 a", "0 h teclistamab", *calm(20)[:3], "20 h temperature 39.0 Cel")
WELL = ("0 h weight 70 kg", "0 h age 50 a", "0 h teclistamab", *calm(20))
SHOCK = (*FEVER, "20.5 h norepinephrine 0.1 ug/kg/min")


def cause(name: str, hours: float, *lines: str) -> dict[str, Any] | None:
    return one(causes(bed(hours, *lines)), name)


def standing(name: str, hours: float, *lines: str) -> str | None:
    found = cause(name, hours, *lines)
    return found["standing"] if found else None


def changes(name: str, hours: float, *lines: str) -> str:
    found = cause(name, hours, *lines)
    return " | ".join(each["text"] for each in found["changes"]) if found else ""


# --- every condition changes what is advised ------------------------------------------------------------


@pytest.mark.parametrize(("charted", "name", "says"), [
    ("bacterial-infection", "bacterial-infection", "antibiotics now, within 1 h"),
    ("viral-infection", "viral-infection", "treat the virus that is found"),
    ("covid-19", "covid-19", "dexamethasone 6 mg a day, up to 10 days"),
    ("influenza", "influenza", "oseltamivir early; no routine steroid"),
    ("autoimmune-disease", "autoimmune-mas", "compare with the patient's own baseline"),
    ("sjia", "autoimmune-mas", "watch for MAS by the criteria of 2016"),
    ("familial-hlh", "hlh", "call its specialists at the first fever"),
    ("immunosuppression", "immunosuppression", "the HScore counts it with 18 points"),
    ("home-oxygen", "home-oxygen", "only what is worse than at home counts"),
    ("sleep-apnea", "home-oxygen", "CPAP used at home for sleep apnoea is no sign of CRS"),
    ("developmental-delay", "developmental-delay", "use CAPD instead of ICE"),
    ("intracranial-hemorrhage", "intracranial-hemorrhage", "excluded from the grading of neurotoxicity"),
    ("haploidentical-transplant", "haploidentical-transplant", "avoid a steroid until cyclophosphamide"),
    ("checkpoint-inhibitor", "checkpoint-inhibitor", "a window of 2 weeks misses it"),
])
@pytest.mark.parametrize("course", [FEVER, WELL], ids=["with fever", "without"])
def test_a_condition_that_is_charted_changes_what_is_advised(charted, name, says, course):
    """Also without fever: a risk factor matters before the first one."""
    assert says not in changes(name, 21, *course)
    found = cause(name, 21, *course, f"2 h {charted}")
    assert found
    assert found["standing"] == "stated"
    assert found["because"] == [f"{charted} charted {z(2)}"]
    assert says in " | ".join(each["text"] for each in found["changes"])


@pytest.mark.parametrize("name", ["bacterial-infection", "covid-19", "influenza", "familial-hlh"])
def test_a_condition_that_was_taken_back_or_is_over_is_no_longer_stated(name):
    file = {"familial-hlh": "hlh"}.get(name, name)
    assert standing(file, 21, *WELL, f"2 h {name}") == "stated"
    assert standing(file, 21, *WELL, f"2 h {name} until 20 h") != "stated"
    assert standing(file, 21, *WELL, f"2 h {name}", f"10 h {name} absent") != "stated"
    assert standing(file, 21, *WELL, f"2 h {name} absent", f"10 h {name}") == "stated"


# --- infection ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lines", "expected"), [
    (FEVER, "possible"), (WELL, "not known"), ((*WELL, "19 h blood-culture negative"), None),
    ((*FEVER, "20 h blood-culture positive"), "likely"),
    ((*FEVER, "20 h blood-culture negative"), "possible"),
    ((*FEVER, "19 h bacterial-infection"), "stated"),
])
def test_a_fever_keeps_infection_open_and_a_negative_culture_does_not_close_it(lines, expected):
    assert standing("bacterial-infection", 21, *lines) == expected


@pytest.mark.parametrize(("hours", "expected"), [(23.9, "possible"), (24, None)])
def test_a_fever_before_the_first_dose_cannot_be_crs_and_keeps_infection_open(hours, expected):
    lines = ("0 h temperature 38.6 Cel", "0 h blood-culture negative", "1 h teclistamab", *calm(20))
    assert standing("bacterial-infection", hours, *lines) == expected
    assert standing("therapy", hours, *lines) is None


@pytest.mark.parametrize("lines", [
    FEVER, (*FEVER, "20 h procalcitonin 0.05 ng/mL", "20 h crp 2 mg/L"), (*FEVER, "19 h bacterial-infection"),
    (*FEVER, "20 h blood-culture positive"),
])
def test_while_infection_is_open_antibiotics_wait_for_no_marker(lines):
    assert "no marker, normal or high, delays or withholds them" in changes("bacterial-infection", 21, *lines)


def test_a_stated_infection_takes_anti_il6_out_of_the_standard_and_a_mere_fever_does_not():
    stated = (*FEVER, "19 h bacterial-infection")
    assert "anti-IL-6 is not standard" in changes("bacterial-infection", 21, *stated)
    assert "anti-IL-6" not in changes("bacterial-infection", 21, *FEVER)


def test_septic_shock_brings_fluids_and_hydrocortisone_with_its_dose():
    found = cause("bacterial-infection", 21, *SHOCK, "19 h bacterial-infection")
    assert found
    dosed = {each["drug"]: each for each in found["changes"] if each["drug"]}
    assert (dosed["hydrocortisone"]["dose"], dosed["hydrocortisone"]["unit"]) == (200, "mg")
    assert "30 mL/kg" in changes("bacterial-infection", 21, *SHOCK, "19 h bacterial-infection")
    assert "hydrocortisone" not in changes("bacterial-infection", 21, *FEVER, "19 h bacterial-infection")


def test_the_separating_tests_come_with_what_is_known_of_them_now():
    found = cause("bacterial-infection", 21, *FEVER, "20 h lactate 3.1 mmol/L", "22 h procalcitonin 9 ng/mL")
    assert found
    tests = {each["test"]: each for each in found["separate_by"]}
    assert tests["lactate"]["known"] == [
        {"measure": "lactate", "value": 3.1, "text": None, "unit": "mmol/L", "time": z(20)}
    ]
    assert tests["procalcitonin"] | {"source": [], "status": ""} == {
        "test": "procalcitonin", "known": [], "not_known": ["procalcitonin"], "source": [], "status": ""
    }


# --- COVID-19 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("crp", "offered"), [(74, False), (75, False), (76, True)])
def test_covid_brings_tocilizumab_once_only_with_oxygen_and_inflammation(crp, offered):
    lines = (*FEVER, "2 h covid-19", "20 h oxygen-device nasal-cannula", "20 h oxygen-flow 2 L/min",
             f"20 h crp {crp} mg/L")
    found = cause("covid-19", 21, *lines)
    assert found
    doses = {each["drug"]: each for each in found["changes"] if each["drug"]}
    assert (doses["dexamethasone"]["dose"], doses["dexamethasone"]["unit"]) == (6, "mg")
    assert ("tocilizumab" in doses, "baricitinib" in doses) == (offered, offered)
    if offered:
        assert (doses["tocilizumab"]["dose"], doses["tocilizumab"]["allowed"]) == (560, True)


def test_an_unknown_crp_leaves_tocilizumab_open_and_names_it():
    found = cause("covid-19", 21, *FEVER, "2 h covid-19", "20 h oxygen-device simple-mask")
    assert found
    (tocilizumab,) = (each for each in found["changes"] if each["drug"] == "tocilizumab")
    assert tocilizumab["if_known"] == ["oxygen-and-inflammation"]


def test_the_limits_of_the_guidelines_rule_doses_named_by_a_cause():
    lines = (*FEVER, "2 h covid-19", "20 h oxygen-device simple-mask", "20 h crp 200 mg/L")
    found = cause("covid-19", 21, *lines, "15 h tocilizumab 560 mg")
    assert found
    (tocilizumab,) = (each for each in found["changes"] if each["drug"] == "tocilizumab")
    assert tocilizumab["allowed"] is False
    assert "8 h" in tocilizumab["limit"]


# --- the therapy itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "expected"), [(13.9, "likely"), (14, "against")])
def test_the_therapy_is_likely_in_its_window_and_against_after(day, expected):
    ill = f"{24 * day - 1:.4f} h temperature 39 Cel"
    assert standing("therapy", 24 * day, "0 h teclistamab", ill) == expected
    assert standing("therapy", 24 * day, "0 h teclistamab", *calm(24 * day - 1)) is None


def test_a_new_dose_opens_the_window_anew():
    assert standing("therapy", 15 * 24, "0 h teclistamab", "14 d teclistamab",
                    "359 h temperature 39 Cel") == "likely"


def test_without_a_therapy_nobody_blames_one():
    assert standing("therapy", 2, "1 h temperature 39 Cel") is None


@pytest.mark.parametrize(("day", "expected"), [(29.9, "stated"), (30, None)])
def test_a_checkpoint_inhibitor_is_a_cause_for_a_month(day, expected):
    assert standing("checkpoint-inhibitor", 24 * day, "0 h checkpoint-inhibitor", *calm(0)) == expected


def test_a_steroid_is_avoided_only_until_cyclophosphamide_was_given_after_the_graft():
    graft = ("-5 d cyclophosphamide 1000 mg", "0 h haploidentical-transplant", *calm(20))
    assert "avoid a steroid" in changes("haploidentical-transplant", 50, *graft)
    after = changes("haploidentical-transplant", 80, *graft, "75 h cyclophosphamide 3500 mg")
    assert after
    assert "avoid a steroid" not in after


# --- the others -----------------------------------------------------------------------------------------

LYSIS = ("urate 9 mg/dL ref 2..7", "phosphate 6 mg/dL ref 2.5..4.5", "potassium 4 mmol/L ref 3.5..5",
         "calcium 9 mg/dL ref 8.5..10.5")  # fmt: skip
NORMAL = ("urate 5 mg/dL ref 2..7", "phosphate 3 mg/dL ref 2.5..4.5", *LYSIS[2:])


@pytest.mark.parametrize(("labs", "hours", "expected"), [
    (LYSIS, 21, "likely"), (NORMAL, 21, "against"), ((), 21, "not known"),
    ((NORMAL[0], *LYSIS[1:]), 21, "possible"), (LYSIS, 7 * 24, None),
])
def test_tumour_lysis_stands_by_its_four_tests_within_a_week(labs, hours, expected):
    lines = [f"{hours - 1} h {lab}" for lab in labs]
    assert standing("tumour-lysis", hours, *WELL, *lines) == expected


@pytest.mark.parametrize(("hours", "expected"), [(3, "likely"), (23.9, "likely"), (24, None)])
def test_rash_with_trouble_breathing_within_a_day_of_a_dose_is_possible_anaphylaxis(hours, expected):
    at = hours - 0.1
    lines = ("0 h teclistamab", *(f"{at:.2f} h {sign}" for sign in ("rash", "shortness-of-breath")))
    vitals = (f"{at:.2f} h temperature 36.8 Cel",)
    assert standing("infusion-reaction", hours, *lines, *vitals) == expected
    if expected:
        assert "epinephrine" in changes("infusion-reaction", hours, *lines, *vitals)


def test_fever_within_a_day_of_a_dose_may_be_an_infusion_reaction():
    assert standing("infusion-reaction", 21, *FEVER) == "possible"
    assert "epinephrine" not in changes("infusion-reaction", 21, *FEVER)
    blina = [line.replace("teclistamab", "blinatumomab") for line in FEVER]
    assert "look just like CRS" in changes("infusion-reaction", 21, *blina)


@pytest.mark.parametrize("name", ["pulmonary-embolism", "fluid-overload"])
@pytest.mark.parametrize(("sign", "expected"), [
    ("oxygen-device nasal-cannula", "possible"), ("shortness-of-breath", "possible"),
    ("spo2 91 %", "possible"), ("spo2 92 %", None),
])
def test_low_oxygen_opens_embolism_and_fluid(name, sign, expected):
    assert standing(name, 21, *WELL, f"20.5 h {sign}") == expected


HLH = ("20 h ferritin 5000 ng/mL ref 10..300", "20 h fibrinogen 120 mg/dL", "20 h alt 30 U/L ref 0..40",
       "20 h ast 30 U/L ref 0..40")  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), [
    (HLH, "likely"), ((HLH[0], "20 h fibrinogen 400 mg/dL", *HLH[2:]), None),
    (("20 h ferritin 10001 ng/mL ref 10..300", "20 h fibrinogen 400 mg/dL", *HLH[2:]), "possible"),
    (("19 h marrow-hemophagocytosis",), "likely"), (("19 h marrow-hemophagocytosis absent",), "not known"),
])
def test_hlh_stands_by_ferritin_fibrinogen_and_liver(lines, expected):
    assert standing("hlh", 21, *WELL, *lines) == expected
    assert ("anakinra" in changes("hlh", 21, *WELL, *lines)) is (expected == "likely")


def test_a_week_of_fever_asks_to_exclude_hlh():
    lines = [f"{hour} h temperature 38.5 Cel" for hour in range(0, 172, 12)]
    assert "exclude HLH and MAS" in changes("hlh", 171, "-1 h teclistamab", *lines)
    assert "exclude HLH and MAS" not in changes("hlh", 160, "-1 h teclistamab", *lines)


@pytest.mark.parametrize(("ferritin", "treated"), [(684, False), (685, True)])
def test_ferritin_above_684_in_still_disease_is_watched_as_mas(ferritin, treated):
    said = changes("autoimmune-mas", 21, *WELL, "2 h sjia", f"20 h ferritin {ferritin} ng/mL")
    assert ("pulsed steroid, anakinra, ciclosporin" in said) is treated
    assert ("emapalumab" in said) is treated


@pytest.mark.parametrize(("day", "expected"), [(4, None), (6, "likely"), (14.9, "likely"), (15.1, None)])
def test_rash_days_after_anti_thymocyte_globulin_suggests_serum_sickness(day, expected):
    lines = ("0 h anti-thymocyte-globulin", *calm(24 * day - 1), f"{24 * day - 1:.3f} h rash")
    assert standing("serum-sickness", 24 * day, *lines) == expected


# --- the answer as a whole ------------------------------------------------------------------------------


def test_nobody_measured_is_not_nothing_to_think_of():
    found = causes(bed(30, "0 h teclistamab"))
    open_ = {each["id"]: each for each in found if each["standing"] == "not known"}
    assert {"bacterial-infection", "therapy", "tumour-lysis"} - {*open_, "therapy"} == set()
    assert all(each["if_known"] and each["because"][0].startswith("not known") for each in open_.values())


def test_what_is_stated_comes_first_and_what_speaks_against_last():
    found = causes(bed(21, *FEVER, "19 h covid-19", *(f"20 h {lab}" for lab in NORMAL)))
    order = [STANDINGS.index(each["standing"]) for each in found]
    assert order == sorted(order)
    assert (found[0]["id"], found[-1]["id"]) == ("covid-19", "tumour-lysis")


def test_no_answer_holds_a_probability():
    for each in causes(bed(21, *SHOCK, "19 h covid-19", "20 h blood-culture positive")):
        assert not {"probability", "score", "rank"} & set(each)
        assert each["standing"] in STANDINGS


def test_memory_is_visible_where_it_is_all_there_is():
    for item in known(LIB):
        for each in (*item.changes, *item.separate_by):
            assert each.source
            assert (each.status == "memory") is (each.source == ("memory",))
    found = cause("influenza", 21, *WELL, "2 h influenza")
    assert found
    assert {found["status"], found["changes"][0]["status"]} == {"memory"}


def test_every_change_can_be_reached():
    """A patient with everything charted sees all but what the standing of another cause would say."""
    texts = {each.text for item in known(LIB) for each in item.changes}
    seen: set[str] = set()
    everything = (
        *SHOCK, "1 h covid-19", "1 h influenza", "1 h sjia", "1 h familial-hlh", "1 h immunosuppression",
        "1 h home-oxygen", "1 h sleep-apnea", "1 h developmental-delay", "1 h intracranial-hemorrhage",
        "1 h viral-infection", "2 h haploidentical-transplant", "2 h checkpoint-inhibitor",
        "2 h blinatumomab", "20 h oxygen-device simple-mask", "20 h crp 200 mg/L", "20 h rash",
        "20 h shortness-of-breath", *HLH, *(f"20 h {lab}" for lab in LYSIS),
    )  # fmt: skip
    week = [f"{hour} h temperature 38.5 Cel" for hour in range(0, 172, 12)]
    for hours, lines in (
        (21, everything), (21, (*everything, "19 h bacterial-infection")), (21, FEVER),
        (21, (*WELL, "20 h urate 9 mg/dL ref 2..7")), (171, ("-1 h teclistamab", *week)),
        (24 * 6, ("0 h anti-thymocyte-globulin", "143 h rash")),
    ):
        for each in causes(bed(hours, *lines)):
            seen |= {change["text"] for change in each["changes"]}
    assert texts - seen == set()


@pytest.mark.parametrize(("old", "new", "says"), [
    ('stated_by = ["covid-19"]', 'stated_by = ["covid19"]', "did you mean `covid-19`"),
    ('rule   = "tocilizumab"', 'rule   = "tocilizumb"', "tocilizumab"),
    ('text   = "dexamethasone', 'txt    = "dexamethasone', "did you mean `text`"),
    ('timing    = "any time"', 'kind = "other"\ntiming = "any time"', "`kind` is `other`"),
])
def test_a_file_that_cannot_be_trusted_is_refused_with_the_fix(tmp_path, old, new, says):
    text = LIB.files("causes")["covid-19"].read_text("utf-8")
    assert old in text
    (tmp_path / "causes").mkdir()
    (tmp_path / "causes" / "covid-19.toml").write_text(text.replace(old, new), "utf-8")
    with pytest.raises(DefinitionError, match=says):
        known(Library((tmp_path,)))


def test_a_cause_that_names_no_finding_is_refused(tmp_path):
    text = LIB.files("causes")["covid-19"].read_text("utf-8")
    text = text.replace("oxygen-and-inflammation", "oxygen-and-inflamation")
    (tmp_path / "causes").mkdir()
    (tmp_path / "causes" / "covid-19.toml").write_text(text, "utf-8")
    with pytest.raises(DefinitionError, match="did you mean `oxygen-and-inflammation`"):
        room.conditions(Library((tmp_path,)))


SIGNS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from([
        "temperature 38.6 Cel", "temperature 36.6 Cel", "teclistamab", "rash", "shortness-of-breath",
        "blood-culture positive", "blood-culture negative", "ferritin 20000 ng/mL", "covid-19", "sjia",
        "bacterial-infection", "bacterial-infection absent", "norepinephrine 0.1 ug/kg/min", "spo2 90 %",
    ])), max_size=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(SIGNS, st.integers(0, 40))
def test_infection_that_is_open_always_carries_the_word_on_antibiotics(signs, now):
    lines = ["0 h weight 70 kg", *(f"{hour} h {what}" for hour, what in signs)]
    found = cause("bacterial-infection", now, *lines)
    fever = any(hour <= now < hour + 24 and "38.6" in what for hour, what in signs)
    assert found or not fever
    if found:
        assert any("no marker" in each["text"] for each in found["changes"])


@settings(max_examples=60, deadline=None)
@given(SIGNS, st.integers(0, 40), st.randoms(use_true_random=False))
def test_the_future_and_the_order_of_rows_change_nothing(signs, now, random):
    lines = ["0 h weight 70 kg", *(f"{hour} h {what}" for hour, what in signs)]
    known_by_now = [line for line in lines if float(line.split()[0]) <= now]
    random.shuffle(lines)
    assert causes(bed(now, *lines)) == causes(bed(now, *known_by_now))
