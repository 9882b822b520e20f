"""Which tests are due at one moment: by interval, at once on something new, and what cannot be read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moments_of_care import LIB, bed, calm, one, z
from tocsin.definitions.load import Library
from tocsin.definitions.schema import DefinitionError
from tocsin.definitions.workup import events, markers, workups
from tocsin.guidance import tests_due as room
from tocsin.guidance.happenings import happenings

INFUSED = "0 h axicabtagene-ciloleucel"
STEP = "0 h teclistamab"


def due(hours: float, *lines: str) -> list[dict[str, Any]]:
    return room.tests_due(bed(hours, *lines))


def crp(hours: float, *lines: str) -> dict[str, Any]:
    found = one(due(hours, *lines), "crp")
    assert found
    return found


# --- by interval ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "overdue"), [(25.9, 0.0), (26, 0.0), (26.5, 0.5), (50, 24.0)])
def test_a_daily_test_is_due_a_day_after_its_last_result(hours, overdue):
    said = crp(hours, INFUSED, "2 h crp 10 mg/L")
    assert (said["last"], said["due"], said["overdue_hours"]) == (z(2), z(26), overdue)
    assert not said["at_once"]


@pytest.mark.parametrize("test", ["cbc", "crp", "ferritin", "kidney", "liver", "electrolytes", "ldh", "urate",
                                  "coagulation", "ice", "vital-signs"])
def test_what_was_never_done_since_the_infusion_is_due_now(test):
    """A result from before the infusion is the baseline, however fresh."""
    said = one(due(3, "-1 h crp 10 mg/L", "-1 h ferritin 200 ng/mL", "-1 h ice-score 10", INFUSED), test)
    assert said
    assert (said["last"], said["due"], said["overdue_hours"]) == (None, z(0), 3.0)
    assert "not done in this course" in said["because"] or "without" in " ".join(said["because"])


def test_weekly_doses_are_one_course_and_a_second_infusion_a_year_later_is_another():
    steps = ("0 h teclistamab", "2 h crp 10 mg/L", "72 h teclistamab")
    assert crp(73, *steps)["last"] == z(2)
    assert crp(365 * 24 + 1, INFUSED, "2 h crp 10 mg/L", "365 d axicabtagene-ciloleucel")["last"] is None


@pytest.mark.parametrize(("day", "hours"), [(6.9, 24), (7.0, 84), (13.9, 84)])
def test_after_the_first_week_two_to_three_times_a_week_are_enough(day, hours):
    last = day * 24 - 1
    assert crp(day * 24, STEP, f"{last:.4f} h crp 5 mg/L")["due"] == z(round(last, 4) + hours)


def test_once_the_products_window_has_closed_nothing_routine_is_asked_for():
    assert one(due(13.9 * 24, STEP, *calm(13.8 * 24)), "crp")
    assert one(due(14.0 * 24, STEP, *calm(13.9 * 24)), "crp") is None


@pytest.mark.parametrize(("lines", "last"), [
    (("1 h fibrinogen 300 mg/dL", "2 h inr 1.0"), None),
    (("1 h fibrinogen 300 mg/dL", "2 h inr 1.0", "3 h aptt 30 s"), 1),
    (("1 h fibrinogen 300 mg/dL", "2 h pt 12 s", "3 h aptt 30 s", "5 h fibrinogen 290 mg/dL"), 2),
])
def test_a_panel_is_done_when_each_part_has_a_result_and_as_old_as_the_oldest(lines, last):
    said = one(due(6, INFUSED, *lines), "coagulation")
    assert said
    assert said["last"] == (None if last is None else z(last))


@pytest.mark.parametrize(("signs", "hours", "says"), [
    (("2 h temperature 36.8 Cel",), 4, "every 4 h in hospital after CAR-T"),
    (("2 h temperature 38.4 Cel",), 4, "every 4 h in hospital after CAR-T"),
    (("1 h temperature 38.4 Cel", "2 h oxygen-device nasal-cannula"), 1, "continuous telemetry"),
])
def test_vital_signs_are_asked_for_more_often_the_higher_the_grade(signs, hours, says):
    vitals = ("2 h heart-rate 90 /min", "2 h systolic-bp 120 mm[Hg]", "2 h spo2 97 %",
              "2 h respiratory-rate 16 /min", "2 h temperature 37.9 Cel")
    vitals = vitals if not signs[0].endswith("36.8 Cel") else (*vitals[:-1], signs[0])
    said = one(due(2.5, INFUSED, *vitals, *(sign for sign in signs if "36.8" not in sign)), "vital-signs")
    assert said
    assert said["due"] == z(2 + hours)
    assert any(says in text for text in said["because"])


@pytest.mark.parametrize(("hours", "asked"), [(47.9, True), (48, False)])
def test_after_an_engager_vital_signs_are_asked_for_every_8_h_for_48_h(hours, asked):
    said = one(due(hours, STEP, *calm(46), "46 h heart-rate 80 /min", "46 h respiratory-rate 16 /min"),
               "vital-signs")
    assert said
    assert (said["due"] == z(54)) is asked
    assert (said["due"] is None) is not asked


def test_an_unknown_interval_stays_unknown():
    """Listed, without a time: no source gives one."""
    said = due(30, INFUSED, "2 h temperature 38.4 Cel")
    for name in ("cytokine-panel", "viral-pcr"):
        found = one(said, name)
        assert found
        assert (found["due"], found["overdue_hours"], found["at_once"]) == (None, None, False)
        assert found["strength"] in ("may", "consider")


def test_labs_before_each_dose_of_tarlatamab_have_no_time_of_their_own():
    said = one(due(30, "0 h tarlatamab"), "tarlatamab-labs")
    assert said
    assert (said["due"], said["at_once"]) == (None, False)
    assert one(due(30, STEP), "tarlatamab-labs") is None


def test_without_a_therapy_what_depends_on_the_day_is_named_and_not_dropped():
    said = crp(30, *calm(1), "2 h crp 10 mg/L")
    assert said["due"] is None
    assert any("the therapy" in text for text in said["if_known"])


def test_a_grade_that_is_not_ruled_out_is_named():
    """Nobody measured: vital signs would be continuous from grade 2, and that is said."""
    said = one(due(30, INFUSED, "2 h crp 10 mg/L"), "vital-signs")
    assert said
    assert any("astct-2019 up to 4" in text for text in said["if_known"])


# --- at once --------------------------------------------------------------------------------------------

DONE = ("2 h crp 10 mg/L", "2 h blood-culture negative")
PICTURES = {
    "new-fever": ("4 h temperature 38.0 Cel",),
    "new-vasopressor": ("4 h norepinephrine 0.05 ug/kg/min",),
    "new-oxygen": ("4 h oxygen-device nasal-cannula",),
    "grade-change": ("4 h temperature 38.0 Cel",),
}


@pytest.mark.parametrize("event", PICTURES)
def test_something_new_makes_the_panel_due_at_once(event):
    lines = (INFUSED, *calm(1), *DONE, "0 h weight 70 kg")
    assert not crp(3.9, *lines, *PICTURES[event])["at_once"]
    said = crp(4, *lines, *PICTURES[event])
    assert said["at_once"]
    assert said["due"] == z(4)
    assert events(LIB)[event].title in said["because"]
    assert {"event": events(LIB)[event].title, "at": z(4)} in said["new"]
    assert not crp(6, *lines, *PICTURES[event], "5 h crp 40 mg/L")["at_once"]


@pytest.mark.parametrize(("charted", "new"), [
    ("37.9 Cel", False), ("38.0 Cel", True), ("100.3 [degF]", False), ("100.4 [degF]", True),
])
def test_a_fever_begins_where_the_grade_has_it(charted, new):
    assert ("new-fever" in happenings(bed(5, INFUSED, f"4 h temperature {charted}"))) is new


@pytest.mark.parametrize(("second", "new"), [(27.9, 4), (28, 28), (40, 40)])
def test_a_fever_is_new_after_a_day_without(second, new):
    found = happenings(bed(41, INFUSED, "4 h temperature 38.5 Cel", f"{second} h temperature 38.5 Cel"))
    assert found["new-fever"] == bed(new, INFUSED).now


def test_each_new_fever_asks_for_cultures_and_antibiotics_do_not_wait():
    lines = (INFUSED, "4 h temperature 38.5 Cel", "5 h blood-culture negative")
    assert one(due(6, *lines), "cultures") is None
    said = one(due(31, *lines, "30 h temperature 38.6 Cel"), "cultures")
    assert said
    assert (said["at_once"], said["last"], said["due"]) == (True, z(5), z(30))
    assert "antibiotics do not wait" in said["note"]


@pytest.mark.parametrize(("lines", "hour"), [
    (("4 h norepinephrine 0.05 ug/kg/min", "8 h norepinephrine 0.1 ug/kg/min"), 4),
    (("4 h norepinephrine 0.05 ug/kg/min", "8 h vasopressin 0.03 [IU]/min"), 8),
    (("4 h norepinephrine 0.05 ug/kg/min until 6 h", "8 h norepinephrine 0.05 ug/kg/min"), 8),
    (("4 h norepinephrine 0.05 ug/kg/min", "6 h norepinephrine 0 ug/kg/min"), 4),
])
def test_a_vasopressor_is_new_when_it_was_not_running(lines, hour):
    found = happenings(bed(9, INFUSED, "0 h weight 70 kg", *lines))
    assert found["new-vasopressor"] == bed(hour, INFUSED).now


@pytest.mark.parametrize(("words", "hour"), [
    (("room-air", "nasal-cannula", "nasal-cannula"), 2),
    (("nasal-cannula", "high-flow-nasal-cannula", "nasal-cannula"), 2),
    (("nasal-cannula", "room-air", "nasal-cannula"), 3),
    (("room-air", "room-air", "room-air"), None),
])
def test_more_oxygen_than_before_is_new_and_less_is_not(words, hour):
    lines = [f"{i + 1} h oxygen-device {word}" for i, word in enumerate(words)]
    found = happenings(bed(5, INFUSED, *lines)).get("new-oxygen")
    assert found == (None if hour is None else bed(hour, INFUSED).now)


def test_oxygen_used_before_the_infusion_is_the_baseline():
    assert "new-oxygen" not in happenings(bed(2, "-2 h oxygen-device nasal-cannula", INFUSED))


def test_a_grade_that_lapses_unmeasured_is_no_change_and_one_that_is_ruled_out_is():
    lines = (INFUSED, "4 h temperature 38.5 Cel", *calm(4)[:3])
    assert happenings(bed(40, *lines))["grade-change"] == bed(4, INFUSED).now
    well = [line for hour in (12, 20, 27, 34) for line in calm(hour)]
    assert happenings(bed(40, *lines, *well))["grade-change"] == bed(28, INFUSED).now


@pytest.mark.parametrize(("hours", "stands"), [(51.9, True), (52, False)])
def test_what_is_new_is_no_longer_new_after_two_days(hours, stands):
    found = happenings(bed(hours, INFUSED, "4 h temperature 38.5 Cel"))
    assert ("new-fever" in found) is stands


# --- heart, and HLH -------------------------------------------------------------------------------------

GRADE_3 = ("0 h weight 70 kg", INFUSED, "4 h temperature 39 Cel", "5 h norepinephrine 0.1 ug/kg/min")


def test_from_grade_3_troponin_bnp_and_echocardiogram_are_due_if_not_done():
    said = due(6, *GRADE_3)
    for name in ("cardiac-markers", "echocardiogram"):
        found = one(said, name)
        assert found
        assert (found["due"], found["strength"]) == (z(5), "give")
    done = due(6, *GRADE_3, "2 h troponin-t 10 ng/L", "2 h bnp 50 pg/mL", "2 h lvef 60 %")
    assert one(done, "cardiac-markers") is None
    assert one(done, "echocardiogram") is None


@pytest.mark.parametrize(("age", "rate", "asked"), [
    ("40 a", 121, True), ("40 a", 120, False), ("8 a", 140, False),
])
def test_tachycardia_that_lasts_asks_for_troponin_and_bnp_in_adults(age, rate, asked):
    beats = [f"{hour} h heart-rate {rate} /min" for hour in (10, 10.5, 11, 11.5)]
    found = one(due(11.6, f"0 h age {age}", INFUSED, *calm(10), *beats), "cardiac-markers")
    assert (found is not None and found["due"] is not None) is asked


PEAK = (
    "0 h weight 70 kg", INFUSED, "24 h temperature 39 Cel", *calm(24)[:3], "25 h ferritin 3000 ng/mL",
    "25 h norepinephrine 0.1 ug/kg/min until 40 h", "40 h systolic-bp 120 mm[Hg]", "41 h spo2 97 %",
    "41 h oxygen-device room-air",
)  # fmt: skip


@pytest.mark.parametrize(("hour", "value", "watch"), [
    (42, 3001, True), (42, 3000, False), (42, 2000, False), (30, 9000, False), (30, 10001, True),
])
def test_ferritin_that_rises_once_the_grade_has_left_its_peak_asks_to_look_for_hlh(hour, value, watch):
    """Before the peak has passed a rise is CRS; above 10,000 it is an alert at any time (memory)."""
    found = one(due(43, *PEAK, f"{hour} h ferritin {value} ng/mL"), "iec-hs-watch")
    assert (found is not None) is watch
    if found:
        assert found["at_once"]
        assert found["status"] == ("memory" if value > 10000 else "draft")


# --- what cannot be read --------------------------------------------------------------------------------


def read(hours: float, *lines: str) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in room.markers(bed(hours, *lines))}


@pytest.mark.parametrize(("days", "flagged"), [(13.9, True), (14, False)])
def test_crp_cannot_be_read_for_up_to_two_weeks_after_tocilizumab(days, flagged):
    found = read(days * 24, "0 h tocilizumab 560 mg", "10 h crp 3 mg/L").get("crp-after-tocilizumab")
    assert (found is not None) is flagged
    if found:
        assert (found["at_least_until"], found["until"], found["status"]) == (z(168), z(336), "memory")
        assert found["since_then"] == [
            {"measure": "crp", "value": 3.0, "unit": "mg/L", "time": z(10)}
        ]
        assert "no sign of getting better" in found["text"]


def test_the_test_itself_says_that_its_result_cannot_be_read():
    assert "cannot be read as usual" in crp(30, INFUSED, "20 h tocilizumab 560 mg")["note"]
    assert "cannot be read" not in crp(30, INFUSED)["note"]


@pytest.mark.parametrize("drug", ["acetaminophen 1000 mg", "dexamethasone 10 mg", "tocilizumab 560 mg"])
@pytest.mark.parametrize(("hours", "masked"), [(47.9, True), (48, False)])
def test_no_fever_is_unsafe_for_two_days_after_what_hides_it(drug, hours, masked):
    found = read(hours, f"0 h {drug}")
    assert ("fever-masked" in found) is masked


def test_platelets_after_a_transfusion_and_il6_after_tocilizumab():
    assert "platelets-after-transfusion" in read(23, "0 h transfusion-platelets 300 mL")
    assert "platelets-after-transfusion" not in read(24, "0 h transfusion-platelets 300 mL")
    assert read(5, "0 h tocilizumab 560 mg")["il6-after-tocilizumab"]["status"] == "memory"


# --- the shelves ----------------------------------------------------------------------------------------


def test_every_test_and_marker_names_its_source_and_our_readings():
    for each in (*workups(LIB), *markers(LIB), *events(LIB).values()):
        assert each.source, each.id
        assert each.status in ("draft", "memory"), each.id
    assert all(each.says and each.source for test in workups(LIB) for each in test.intervals)


@pytest.mark.parametrize(("shelf", "name", "old", "new", "says"), [
    ("workup", "crp", 'measures = [["crp"', 'measures = [["crpp"', "did you mean `crp`"),
    ("workup", "crp", '"new-fever"', '"new-fevr"', "did you mean `new-fever`"),
    ("workup", "crp", "every_hours = 84", "evry_hours = 84", "did you mean `every_hours`"),
    ("workup", "crp", "grades      = [1, 2, 3, 4]", "grades      = [5]", "grades from 0 to 4"),
    ("workup", "crp", "every_hours = 84", "every_hours = 84\nonce = true", "two intervals"),
    ("markers", "fever-masked", "hours    = 24\n", "", "`hours` is missing"),
    ("events", "new-fever", 'finding      = "fever"', 'finding      = "febril"', "`finding` is `febril`"),
    ("events", "new-oxygen", "stands_hours = 48\n", "", "`stands_hours` is missing"),
])
def test_a_file_that_cannot_be_trusted_is_refused_with_the_fix(tmp_path, shelf, name, old, new, says):
    text = LIB.files(shelf)[name].read_text("utf-8")
    assert old in text
    (tmp_path / shelf).mkdir()
    (tmp_path / shelf / f"{name}.toml").write_text(text.replace(old, new), "utf-8")
    with pytest.raises(DefinitionError, match=says):
        [read(Library((tmp_path,))) for read in (workups, events, markers)]


def test_a_site_changes_an_interval_with_a_file_of_its_own(tmp_path):
    text = LIB.files("workup")["crp"].read_text("utf-8").replace("every_hours = 24", "every_hours = 12")
    (tmp_path / "workup").mkdir()
    (tmp_path / "workup" / "crp.toml").write_text(text, "utf-8")
    (found,) = (each for each in workups(Library((tmp_path,))) if each.id == "crp")
    assert found.intervals[0].every_hours == 12


# --- properties -----------------------------------------------------------------------------------------

FACTS = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([
        "temperature 38.6 Cel", "temperature 36.6 Cel", "norepinephrine 0.1 ug/kg/min",
        "norepinephrine 0 ug/kg/min", "oxygen-device nasal-cannula", "oxygen-device room-air",
        "crp 20 mg/L", "ferritin 900 ng/mL", "ferritin 20000 ng/mL", "systolic-bp 120 mm[Hg]", "spo2 97 %",
        "tocilizumab 560 mg", "ice-score 10", "teclistamab",
    ])), max_size=14,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(FACTS, st.integers(0, 60), st.randoms(use_true_random=False))
def test_the_future_and_the_order_of_rows_change_nothing(facts, now, random):
    lines = ["0 h weight 70 kg", *(f"{hour} h {what}" for hour, what in facts)]
    known = [line for line in lines if float(line.split()[0]) <= now]
    random.shuffle(lines)
    assert due(now, *lines) == due(now, *known)
    assert room.markers(bed(now, *lines)) == room.markers(bed(now, *known))


@settings(max_examples=60, deadline=None)
@given(FACTS, st.integers(1, 60))
def test_doing_a_test_now_never_makes_it_more_urgent(facts, now):
    lines = ["0 h weight 70 kg", "0 h teclistamab", *(f"{hour} h {what}" for hour, what in facts)]
    before, after = crp(now, *lines), crp(now, *lines, f"{now} h crp 20 mg/L")
    assert not after["at_once"]
    assert (after["overdue_hours"] or 0) == 0
    assert after["due"] is None or before["due"] is None or after["due"] >= before["due"]
