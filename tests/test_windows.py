"""How long a patient is watched after which dose, by product, country and label date."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moments_of_care import LIB, bed, z
from tocsin.definitions.load import Library
from tocsin.definitions.monitoring import COUNTRIES
from tocsin.definitions.monitoring import windows as rules
from tocsin.definitions.schema import DefinitionError
from tocsin.guidance.windows import windows

CAR_T = "0 h tisagenlecleucel"


def asked(hours: float, *lines: str, topic: str = "", **options: Any) -> list[tuple[str | None, str | None]]:
    """Country and end of the windows on one topic."""
    said = windows(bed(hours, *lines), **options)
    return [(each["country"], each["ends"]) for each in said if each["topic"] == topic]


@pytest.mark.parametrize(("country", "label", "near", "driving"), [
    ("US", "2025-07", [14], [14]),
    ("US", "2025-06-26", [14], [14]),
    ("US", "2025-06-25", [28], [56]),
    ("US", "2024-01", [28], [56]),
    ("US", "2025-06", [14, 28], [14, 56]),
    ("US", None, [14, 28], [14, 56]),
    ("UK", None, [28], [56]),
    ("GB", None, [28], [56]),
    ("uk", "2026-01", [28], [56]),
])
def test_us_labels_ask_for_two_weeks_since_june_2025_and_older_ones_for_more(country, label, near, driving):
    """4 and 8 weeks before; the UK leaflet still says 28 days and no driving for 8 weeks."""
    options = {"country": country, "label_date": label}
    assert [end for _, end in asked(1, CAR_T, topic="near", **options)] == [z(24 * day) for day in near]
    assert [end for _, end in asked(1, CAR_T, topic="driving", **options)] == [z(24 * d) for d in driving]


def test_a_date_does_as_well_as_its_text():
    assert windows(bed(1, CAR_T), "US", date(2025, 7, 1)) == windows(bed(1, CAR_T), "US", "2025-07-01")


def test_what_was_in_force_at_the_dose_is_said():
    """The patients of these tests are treated in 2026."""
    said = {each["asks"]: each["in_force"] for each in windows(bed(1, CAR_T), "US")}
    assert said["no driving or hazardous work for at least 2 weeks (was 8)"] is True
    assert said["older labels: no driving for 8 weeks"] is False


def test_without_a_country_all_are_shown_each_with_its_own():
    assert {country for country, _ in asked(1, CAR_T, topic="driving")} == {"US", "UK"}


@pytest.mark.parametrize(("country", "says"), [
    ("FR", "no rule is written for FR"),
    ("EU", "no rule of Tisagenlecleucel was found for EU"),
])
def test_a_country_without_a_rule_shows_those_of_all_and_says_so(country, says):
    said = [each for each in windows(bed(1, CAR_T), country) if each["topic"] != "risk"]
    assert {each["country"] for each in said} == {"US", "UK"}
    assert all(says in each["note"] for each in said)


@pytest.mark.parametrize(("hours", "open_"), [(335.9, True), (336, False)])
def test_a_window_is_over_on_its_hour(hours, open_):
    ends = [end for _, end in asked(hours, CAR_T, topic="near", country="US", label_date="2026-01")]
    assert ends == ([z(336)] if open_ else [])


@pytest.mark.parametrize("hours", [1, 73, 145])
def test_every_step_up_dose_opens_its_window_anew(hours):
    doses = [f"{each} h teclistamab" for each in (0, 72, 144) if each <= hours]
    opened = hours - 1
    assert asked(hours, *doses, topic="hospital", country="US") == [("US", z(opened + 48))]
    assert asked(hours, *doses, topic="near", country="EU") == [("EU", z(opened + 48))]


def test_a_full_dose_after_the_steps_asks_for_no_admission_but_opens_the_risk_window():
    lines = [f"{each} h teclistamab" for each in (0, 72, 144, 312)]
    assert asked(313, *lines, topic="hospital") == []
    assert asked(313, *lines, topic="risk") == [(None, z(312 + 14 * 24))]


@pytest.mark.parametrize(("dose", "hours"), [
    (1, (24, 48)), (2, (24, 48)), (3, (8,)), (5, (8,)), (6, (4,)), (9, (4,)), (10, (2,)), (12, (2,)),
])
def test_tarlatamab_is_watched_less_with_each_cycle(dose, hours):
    lines = [f"{14 * i} d tarlatamab" for i in range(dose)]
    start = 14 * 24 * (dose - 1)
    said = [each for each in windows(bed(start + 1, *lines)) if each["topic"] != "risk"]
    assert [(each["dose_number"], each["ends"]) for each in said] == [(dose, z(start + h)) for h in hours]


@pytest.mark.parametrize(("therapy", "first", "second"), [
    ("elranatamab", 48, 24), ("glofitamab", 24, 24), ("tebentafusp", 16, 16), ("linvoseltamab", 24, 24),
    ("talquetamab", 48, 48), ("odronextamab", 24, 24),
])
def test_products_have_their_own_hours(therapy, first, second):
    for lines, start, hours in (((f"0 h {therapy}",), 0, first),
                                ((f"0 h {therapy}", f"72 h {therapy}"), 72, second)):
        said = [each for each in windows(bed(start + 1, *lines)) if each["topic"] in ("hospital", "near")]
        assert z(start + hours) in {each["ends"] for each in said}


def test_swiss_glofitamab_is_checked_every_day_for_a_week():
    assert asked(1, "0 h glofitamab", topic="checks", country="CH") == [("CH", z(168))]
    assert asked(1, "0 h glofitamab", topic="checks", country="US") == []


def test_obecabtagene_has_its_own_text_and_its_second_infusion_opens_the_weeks_nearby_anew():
    lines = ("0 h obecabtagene-autoleucel", "10 d obecabtagene-autoleucel")
    said = {each["topic"]: each for each in windows(bed(11 * 24, *lines), "US")}
    assert said["checks"]["ends"] == z(14 * 24)
    assert said["near"]["ends"] == z((10 + 28) * 24)
    assert {said["checks"]["status"], said["near"]["status"]} == {"memory"}


def test_afamitresgene_stays_a_week_and_four():
    assert asked(1, "0 h afamitresgene-autoleucel", topic="hospital") == [(None, z(168))]
    assert asked(1, "0 h afamitresgene-autoleucel", topic="near") == [(None, z(672))]


def test_bags_of_blinatumomab_are_no_restarts():
    lines = [f"{day} d blinatumomab" for day in range(9)]
    said = windows(bed(8 * 24 + 1, *lines))
    assert {each["ends"] for each in said if each["topic"] == "hospital"} == {z(216)}
    assert any("restarts after 4 h off" in each["asks"] and each["ends"] is None for each in said)


def test_a_second_car_t_infusion_a_year_later_opens_its_own_windows():
    said = windows(bed(365 * 24 + 1, CAR_T, "365 d tisagenlecleucel"), "US", "2026-01")
    assert {each["opened"] for each in said} == {z(365 * 24)}


def test_two_weeks_would_miss_a_checkpoint_inhibitor():
    said = windows(bed(20 * 24, "0 h checkpoint-inhibitor"))
    assert any("a window of 2 weeks misses it" in each["asks"] for each in said)
    assert asked(20 * 24, "0 h checkpoint-inhibitor", topic="risk") == [(None, z(30 * 24))]


def test_a_therapy_without_a_rule_says_so_beside_its_risk_window():
    (said,) = windows(bed(1, "0 h satricabtagene-autoleucel"))
    assert said["topic"] == "risk"
    assert "no monitoring rule of Satricabtagene autoleucel was found" in said["note"]


def test_two_therapies_are_watched_each_for_itself():
    said = windows(bed(24 * 7 + 1, "0 h obinutuzumab", "7 d glofitamab"))
    assert {each["therapy"] for each in said} == {"obinutuzumab", "glofitamab"}


def test_nobody_treated_is_watched_for_nothing():
    assert windows(bed(1, "0 h temperature 39 Cel")) == []


# --- the shelf ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", rules(LIB), ids=lambda rule: f"{rule.id}: {rule.asks[:40]}")
def test_every_rule_is_reached_by_a_patient_and_names_its_source(rule):
    number = rule.doses[0] if rule.doses else rule.doses_from
    lines = [f"{i} d {rule.therapies[0]}" for i in range(number)]
    said = windows(bed(24 * (number - 1) + 0.1, *lines), rule.country or None, rule.since or None)
    (found,) = (each for each in said if each["asks"] == rule.asks)
    assert found["source"] == list(rule.source)
    assert found["source"]
    assert found["status"] == rule.status


@pytest.mark.parametrize(("old", "new", "says"), [
    ('therapies = ["teclistamab"]', 'therapies = ["teclistamb"]', "did you mean `teclistamab`"),
    ('country = "US"', 'country = "USA"', "`country` is `USA`"),
    ('topic   = "hospital"', 'topic   = "hosptal"', "did you mean `hospital`"),
    ("doses   = [1, 2, 3]", "doses   = [0]", "the first is 1"),
    ("hours   = 48", "houres  = 48", "did you mean `hours`"),
])
def test_a_file_that_cannot_be_trusted_is_refused_with_the_fix(tmp_path, old, new, says):
    text = LIB.files("monitoring")["teclistamab"].read_text("utf-8")
    assert old in text
    (tmp_path / "monitoring").mkdir()
    (tmp_path / "monitoring" / "teclistamab.toml").write_text(text.replace(old, new), "utf-8")
    with pytest.raises(DefinitionError, match=says):
        rules(Library((tmp_path,)))


THERAPIES = sorted({name for rule in rules(LIB) for name in rule.therapies})


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from(THERAPIES)), min_size=1, max_size=6),
    st.integers(0, 70), st.sampled_from([None, *COUNTRIES, "FR"]),
)
def test_a_window_that_is_shown_stands_and_a_dose_never_shortens_it(doses, day, country):
    lines = [f"{at} d {therapy}" for at, therapy in doses]
    now = day * 24.0
    said = windows(bed(now, *lines), country)
    assert all(each["opened"] <= z(now) and (each["ends"] is None or each["ends"] > z(now)) for each in said)
    treated = {therapy for at, therapy in doses if at <= day}
    assert {each["therapy"] for each in said} <= treated
    for therapy in treated:
        risk = [each for each in said if each["therapy"] == therapy and each["topic"] == "risk"]
        again = windows(bed(now, *lines, f"{day} d {therapy}"), country)
        (after,) = (each for each in again if each["therapy"] == therapy and each["topic"] == "risk")
        assert not risk or after["ends"] >= risk[0]["ends"]
