"""A patient's own page: who comes in, what becomes of what is written, and the one answer to it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from athome import ENTRY, answer_to, invited, phone, token, verb, writes
from doors_watch import house
from tocsin.definitions.advice import URGENCIES, triage_rules
from tocsin.definitions.home import home_languages, home_page, home_texts
from tocsin.definitions.texts import texts
from tocsin.watch import approvals, audit
from tocsin.watch.home.answer import answer_of
from tocsin.watch.home.diary import read
from tocsin.watch.pages_look import templates
from tocsin.watch.roles import SYSTEM, Actor
from tocsin.watch.schema import audit as entries
from watched import HOUR, LIB, NOON, fact

PAGE = home_page(LIB)
WORDS = texts("en", LIB)
#: Everything measured and good.
WELL = {
    "temperature": "36.8", "unit": "Cel", "device": ["cuff", "oximeter"], "cuff-systolic-bp": "122",
    "cuff-diastolic-bp": "78", "cuff-heart-rate": "74", "oximeter-spo2": "97", "taken": "none",
}  # fmt: skip


@pytest.fixture
def home(tmp_path):
    """A running application; `p3` had teclistamab thirty hours ago and a good pressure before it."""
    with house(f"sqlite:///{tmp_path}/w.db") as built:
        built.service.settings.emergency_number = "112"
        built.as_("nurse").put("/patients", json={"patient_id": "p3", "team_phone": "555 0140"})
        built.as_("device").post("/facts", json=treated("p3"))
        yield built


def treated(patient, hours=30):
    return [
        fact(patient, -hours - 1, "systolic-bp", 124, "mm[Hg]"),
        fact(patient, -hours, "teclistamab"),
    ]


def of(house, patient="p3"):
    """What came from home."""
    rows = house.service.facts_of(patient).to_pylist()
    return [row for row in rows if row["source"].startswith("home:")]


# --- one answer ------------------------------------------------------------------------------------------

STORIES = {
    "ambulance": {"sign": ["seizure-over"]},
    "emergency": {**WELL, "sign": ["confusion"]},
    "call-now": {**WELL, "temperature": "100.4", "unit": "[degF]"},
    "note": WELL,
}


@pytest.mark.parametrize("urgency", STORIES)
def test_every_urgency_is_reached_from_the_page(home, urgency):
    page = answer_to(phone(home, "p3"), **STORIES[urgency])
    expected = (
        "Keep watching, check again at 20:00." if urgency == "note" else f"{WORDS.urgency[urgency]['verb']}."
    )
    assert verb(page) == expected
    button = {"ambulance": 'href="tel:112">Call 112', "note": 'href="/home/entry">Check again'}
    assert button.get(urgency, 'class="big red" href="tel:5550140"') in page


def test_late_after_the_therapy_a_sign_is_a_call_the_same_day(home):
    """The fifth urgency: `call today` is what a listed sign asks for past the therapy's window."""
    home.as_("device").post("/facts", json=treated("p4", 24 * 90))
    page = answer_to(phone(home, "p4"), **WELL, sign=["chills"])
    assert verb(page) == "Call your team today."


def test_a_calm_answer_never_says_that_all_is_well(home):
    page = answer_to(phone(home, "p3"), **{**WELL, "oximeter-spo2": ""})
    assert "do not know enough" in page
    assert "your oxygen level" in page
    assert "Call an ambulance if" in page
    assert not re.search(r"you are (fine|well|ok)", page, re.I)


def test_a_good_reading_of_this_morning_does_not_cover_what_is_not_measured_now(home):
    """The ward charted 36.8 an hour ago; whoever cannot measure now is not reassured by it."""
    home.as_("device").post(
        "/facts", json=[fact("p3", -1, "temperature", 36.8, "Cel"), fact("p3", -1, "spo2", 98, "%")]
    )
    page = answer_to(phone(home, "p3"), cannot="1", taken="none")
    assert verb(page) == "Call your team now."
    assert "We do not know your temperature" in page


def test_a_better_reading_since_does_not_cover_what_was_told(home):
    """A fever told of two hours ago, and a normal value of the ward since: still a call."""
    home.as_("device").post("/facts", json=fact("p3", -0.5, "temperature", 36.9, "Cel"))
    page = answer_to(phone(home, "p3"), **{**WELL, "temperature": "39"}, when="today", clock="10:00")
    assert verb(page) == "Call your team now."


def test_what_somebody_else_charted_counts_where_it_is_worse(home):
    """The ward's own record asks for more than the entry alone."""
    home.as_("nurse").post("/facts", json=fact("p3", -1, "confusion"))
    assert verb(answer_to(phone(home, "p3"), **WELL)) == "Go to the emergency department now."


def test_a_medicine_for_fever_takes_the_calm_out_of_a_normal_temperature(home):
    for name in PAGE.medicines:
        page = answer_to(phone(home, "p3"), **{**WELL, "taken": "12"}, medicine=[name])
        assert verb(page) == "Call your team now.", name


def test_own_words_are_never_answered_calmly(home):
    """No rule reads them: so somebody has to."""
    page = answer_to(phone(home, "p3"), **WELL, words="I see double since noon")
    assert verb(page) == "Call your team now."


def test_the_worry_of_a_caregiver_is_trusted(home):
    assert (
        verb(answer_to(phone(home, "p3", who="caregiver"), **WELL, worried="1"))
        == "Go to the emergency department now."
    )


RED = [
    *sorted(PAGE.tiles["danger"]), "confusion", "faintness", "shortness-of-breath", "sleepiness",
    "cannot-keep-fluids",
]  # fmt: skip
CALM_PARTS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from(["36.1", "36.8", "37.4"]), "cannot": st.just("1"),
        "unit": st.sampled_from(["Cel"]), "taken": st.just("none"),
        "cuff-systolic-bp": st.sampled_from(["118", "140"]), "oximeter-spo2": st.sampled_from(["96", "99"]),
        "when": st.sampled_from(["now", "today", "yesterday"]),
        "clock": st.sampled_from(["00:10", "08:30", "11:59"]), "worried": st.just(""),
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def story_house(tmp_path_factory):
    with house(f"sqlite:///{tmp_path_factory.mktemp('stories')}/w.db") as built:
        yield built


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(RED), st.sets(st.sampled_from(sorted(PAGE.gives)), max_size=6), CALM_PARTS, st.booleans()
)
def test_no_set_of_answers_with_a_red_flag_ends_calmly(story_house, red, others, parts, treated_before):
    """Whatever else is told, at whatever time: a red flag is the emergency department at least."""
    record = story_house.service.facts_of("p1").to_pylist() if treated_before else []
    form = {name: [value] for name, value in parts.items() if value}
    if "temperature" in form and "unit" not in form:
        form["unit"] = ["Cel"]
    if "when" in form and form["when"] != ["now"]:
        form.setdefault("clock", ["08:30"])
    form |= {"sign": [red, *others], "entry": [ENTRY]}
    found = read(form, "p1", NOON, UTC, home_texts("en", LIB), LIB)
    assert not found.errors
    rows = [{**row, "time": datetime.fromisoformat(row["time"]), "recorded": None} for row in found.rows]
    rows = [{"value": None, "text": None, **row} for row in rows]
    answer = answer_of(story_house.service, [*record, *rows], ENTRY, "en")
    assert URGENCIES.index(answer.urgency) >= URGENCIES.index("emergency"), (red, others, parts)


def test_unapproved_rules_say_nothing_but_call_your_team(tmp_path):
    """Nor what to do meanwhile, nor the leaflet; all of it has to be approved, each part."""
    with house(f"sqlite:///{tmp_path}/w.db", demo=False) as built:
        built.service.settings.emergency_number = "112"
        built.as_("nurse").put("/patients", json={"patient_id": "p1", "team_phone": "555 0140"})
        client = phone(built)
        page = answer_to(client, **{**WELL, "sign": ["collapse"]})
        assert verb(page) == "Please call your team."
        assert 'href="tel:5550140"' in page
        assert "call 112" in page
        assert WORDS.say("step", "not-alone") not in page
        assert "Passing out" not in page
        assert "not yet agreed" in client.get("/home/about").text
        names = approvals.of_home("en", LIB)
        for left in names:
            chosen = [each for each in names.items() if each[0] != left]
            with built.service.store.writing() as con:
                approvals.approve(con, built.clock, SYSTEM, chosen, "Dr A")
            built.service.step()
            assert verb(answer_to(client, **WELL)) == "Please call your team.", left
            with built.service.store.writing() as con:
                for name, _ in chosen:
                    approvals.withdraw(con, built.clock, SYSTEM, name)
        with built.service.store.writing() as con:
            approvals.approve(con, built.clock, SYSTEM, list(names.items()), "Dr A")
        built.service.step()
        assert verb(answer_to(client, sign=["collapse"])) == "Call an ambulance now."
        assert "What CRS is" in client.get("/home/about").text


# --- what is written -------------------------------------------------------------------------------------


def test_an_entry_is_facts_of_that_patient_alone_and_raises_the_alert(home):
    before = home.service.facts_of("p1").num_rows
    writes(
        phone(home, "p3"),
        temperature="101.3",
        unit="[degF]",
        sign=["sore", "one-side"],
        patient_id="p1",
        medicine=["ibuprofen"],
        taken="4",
    )
    rows = {row["measure"]: row for row in of(home)}
    assert set(rows) == {"temperature", "muscle-pain", "joint-pain", "motor-weakness", "ibuprofen"}
    assert rows["temperature"]["value"] == pytest.approx(38.5)
    assert rows["motor-weakness"]["text"] == "focal"
    assert rows["ibuprofen"]["time"] == datetime(2026, 3, 10, 8, tzinfo=UTC)
    assert {row["patient_id"] for row in rows.values()} == {"p3"}
    assert home.service.facts_of("p1").num_rows == before
    home.service.step()
    home.service.sweep.once()
    alerts = home.as_("nurse").get(f"/patients/{home.ref('p3')}/alerts").json()["alerts"]
    assert {"new-grade", "told-at-home"} <= {each["kind"] for each in alerts}


@pytest.mark.parametrize(
    ("told", "alert"),
    [
        ({"sign": ["confusion"]}, "emergency department"),
        ({"sign": ["collapse"]}, "ambulance"),
        ({"sign": ["chills"]}, None),
    ],
)
def test_whoever_is_sent_to_hospital_is_on_the_board(home, told, alert):
    """Most red flags change no grade: without this nobody on the ward would know."""
    nurse, ref = home.as_("nurse"), home.ref("p3")

    def here():
        found = nurse.get(f"/patients/{ref}/alerts").json()["alerts"]
        return [each for each in found if each["kind"] == "told-at-home"]

    client = phone(home, "p3")
    writes(client, **{**WELL, **told})
    writes(client, **{**WELL, **told})
    assert [alert in each["text"] for each in here()] == ([True] if alert else [])
    for each in here():
        nurse.post(f"/alerts/{each['id']}/acknowledge")
        home.service.sweep.look("p3")
        assert here() == []


def test_earlier_today_and_yesterday_are_in_the_patient_s_own_zone(home):
    home.as_("nurse").put("/patients", json={"patient_id": "p3", "time_zone": "America/New_York"})
    client = phone(home, "p3")
    writes(client, temperature="38", unit="Cel", when="today", clock="07:30", entry="entry-0002")
    writes(client, temperature="38", unit="Cel", when="yesterday", clock="23:50", entry="entry-0003")
    assert [row["time"].hour for row in of(home)] == [3, 11]
    assert all(row["recorded"].hour == 12 for row in of(home))
    late = writes(client, temperature="38", unit="Cel", when="today", clock="11:00")
    assert late.status_code == 422
    assert "still to come" in late.text


@pytest.mark.parametrize(
    ("told", "field", "says"),
    [
        ({"temperature": "101.3", "unit": "Cel"}, "temperature", "Did you mean 101.3 °F?"),
        ({"temperature": "37", "unit": "[degF]"}, "temperature", "Did you mean 37 °C?"),
        ({"temperature": "12", "unit": "Cel"}, "temperature", "30 to 43"),
        ({"temperature": "38.4"}, "unit", "Is that °C or °F?"),
        ({"temperature": "warm", "unit": "Cel"}, "temperature", "as a number"),
        ({"temperature": "nan", "unit": "Cel"}, "temperature", "as a number"),
        ({"cuff-systolic-bp": "900", "device": "cuff"}, "cuff-systolic-bp", "20 to 300"),
        ({"cuff-systolic-bp": "80", "cuff-diastolic-bp": "120"}, "cuff-diastolic-bp", "larger one"),
        ({"oximeter-spo2": "9"}, "oximeter-spo2", "40 to 100"),
        ({"medicine": ["ibuprofen"]}, "taken", "When did you take it?"),
        ({"when": "today", "clock": "half past"}, "clock", "14:30"),
        ({"words": "x" * 501}, "words", "500 letters"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_asked_about_and_nothing_of_it_stored(home, told, field, says):
    """What was typed and ticked stays, and is stored with the rest once it is mended."""
    answer = writes(phone(home, "p3"), **{"sign": ["chills"], **told})
    assert answer.status_code == 422
    fault = re.search(rf'id="fault-{field}"[^>]*>([^<]*)<', answer.text)
    assert fault
    assert says in unescape(fault[1])
    assert re.search(r'value="chills" checked', answer.text)
    assert of(home) == []


def test_an_entry_sent_twice_is_stored_once(home):
    """A phone that heard no answer sends again: the same id and time, whichever minute it is now."""
    client = phone(home, "p3")
    for minute in (5, 35):
        home.clock.set(NOON + minute * 60_000_000)
        sent = writes(client, temperature="38.1", unit="Cel", sign=["chills"], at=str(NOON + 1))
        assert sent.status_code == 303
    assert len(of(home)) == 2
    assert of(home)[0]["time"].timestamp() * 1e6 == NOON + 1


@pytest.mark.parametrize("at", [str(NOON + 5 * HOUR), str(NOON - 1000 * HOUR), "x", "-1", "9" * 400])
def test_a_phone_with_a_wrong_clock_loses_nothing(home, at):
    """A time ahead, or too long ago to be kept, is now."""
    writes(phone(home, "p3"), temperature="38.1", unit="Cel", at=at)
    assert [row["time"].timestamp() * 1e6 for row in of(home)] == [NOON]


def test_words_that_mean_something_to_the_table_are_only_words(home):
    client = phone(home, "p3")
    for word in ("retracted", "unusable", "<", "crs"):
        writes(client, words=word, entry=f"entry-{ord(word[0])}")
    assert {row["text"] for row in of(home)} == {
        f"“{each}”" for each in ("retracted", "unusable", "<", "crs")
    }


XSS = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    "field",
    ["temperature", "unit", "cannot", "sign", "medicine", "taken", "device", "cuff-systolic-bp",
     "oximeter-spo2", "words", "worried", "when", "clock", "entry", "at", "csrf"],
)  # fmt: skip
def test_nothing_typed_becomes_part_of_a_page(home, field):
    client = phone(home, "p3")
    told = {"words": "hello", "temperature": "99", field: XSS}
    answer = client.post("/home/entry", data={"csrf": token(client), "entry": ENTRY, **told})
    assert answer.status_code in (303, 403, 422)
    pages = [answer.text, client.get("/home/diary").text, client.get("/home").text]
    pages.append(client.get(f"/home/answer?entry={XSS[:30]}&none={XSS[:20]}").text)
    pages.append(home.browser("nurse").get(f"/patient/{home.ref('p3')}/facts-list").text)
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_units_and_devices_are_remembered(home):
    client = phone(home, "p3")
    assert 'data-devices="ask"' in client.get("/home/entry").text
    writes(client, temperature="99.1", unit="[degF]", device=["cuff"], **{"cuff-systolic-bp": "120"})
    page = client.get("/home/entry").text
    assert 'data-devices="known"' in page
    assert re.search(r'value="\[degF\]"[^>]*checked', page)
    writes(client, device=["none"])
    assert 'data-devices="none"' in client.get("/home/entry").text


def test_the_diary_shows_only_what_was_written_here(home):
    client = phone(home, "p3")
    answer_to(
        client,
        temperature="37.2",
        unit="Cel",
        sign=["rash"],
        words="since lunch",
        medicine=["prednisone"],
        taken="2",
    )
    said = unescape(re.sub(r"<[^>]+>", " ", client.get("/home/diary").text))
    for part in ("37.2 °C", "Rash, itch or hives", "since lunch", "Prednisone"):
        assert part in said
    assert "124" not in said


@pytest.mark.parametrize("language", home_languages(LIB))
@pytest.mark.parametrize("who", ["patient", "caregiver"])
def test_every_page_speaks_every_language(home, language, who):
    client = phone(home, "p3", who=who, language=language)
    for path in ("", "/entry", "/worse", "/diary", "/about", "/offline", "/answer?entry=none"):
        page = client.get(f"/home{path}")
        assert page.status_code == 200
        assert f'<html lang="{language}">' in page.text
        assert not re.search(r"\{\w+\}", re.sub(r'data-[\w-]+="[^"]*"', "", page.text))
    changed = client.post("/home/language", data={"csrf": token(client), "language": "en"})
    assert changed.status_code == 303
    assert '<html lang="en">' in client.get("/home").text


def test_a_patient_who_is_not_followed_any_more_is_told_to_call(home):
    client = phone(home, "p3")
    home.as_("nurse").post(f"/patients/{home.ref('p3')}/discharge")
    page = client.get("/home").text
    assert "no longer follows this page" in page
    assert "tel:5550140" in page
    assert client.get("/home/entry").headers["location"] == "/home"
    sent = client.post("/home/entry", data={"csrf": "x", "entry": ENTRY, "sign": "chills"})
    assert sent.status_code in (303, 403)
    assert of(home) == []


def test_every_symptom_has_one_tile_and_every_danger_its_own_rule():
    """What a tile of the first question gives is an ambulance by the rules, each of them."""
    given_by = [measure for gives in PAGE.gives.values() for measure, _ in gives]
    assert len(given_by) - len(set(given_by)) == 1  # a fit, over or not
    assert set(triage_rules(LIB).symptoms) <= {*given_by, PAGE.words, PAGE.worried}


def test_everything_is_in_the_log_and_nobody_is_named_in_it(home):
    client = phone(home, "p3")
    answer_to(client, temperature="38.7", unit="Cel", words="Ada Mertens feels bad")
    with home.service.store.reading() as con:
        rows = con.execute(entries.select()).mappings().all()
        assert audit.verify(con).whole
    mine = [row for row in rows if row["role"] == "patient"]
    assert {"home:begin", "home:read", "facts:add"} <= {row["action"] for row in mine}
    assert {row["patient"] for row in mine} == {home.ref("p3")}
    assert "home:invite" in {row["action"] for row in rows}
    assert not any("Ada" in str(dict(row)) or "38.7" in str(dict(row)) for row in rows)


def test_a_patient_of_the_log_is_not_one_of_the_accounts(home):
    with pytest.raises(KeyError):
        invited(home, "p3")["password"]
    assert Actor("x", "patient").role not in home.tokens


def test_every_sign_that_is_asked_has_a_drawing_and_no_drawing_is_of_nothing():
    drawn = set(templates().env.get_template("home-signs.html").module.drawings)
    assert drawn == set(PAGE.gives)
