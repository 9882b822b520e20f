"""Triage: what is said, answers that cannot be taken, records, and what a shelf may say."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given

from stories import LIB, RULES, WELL, stories
from tocsin.advice import AdviceError, tell, told_in, triage
from tocsin.definitions.advice import RULE_URGENCIES, URGENCIES, triage_rules
from tocsin.definitions.load import Library
from tocsin.definitions.schema import DefinitionError
from tocsin.definitions.texts import languages, texts
from tocsin.testing import START, patient

ROOT = Path(__file__).resolve().parents[1]


# --- what is said -------------------------------------------------------------------------------------------


def everything_said(language: str) -> list[str]:
    words = texts(language, LIB)
    return [
        *(text for table in words.tables.values() for text in table.values()),
        *(text for each in words.urgency.values() for text in each.values()),
    ]


def test_nobody_is_told_to_be_fine_and_no_fever_medicine_is_offered():
    for text in everything_said("en"):
        assert not re.search(
            r"\b(you are|you're|all is) (fine|well|ok|safe)\b|nothing to worry|no need to", text, re.I
        )
        assert not re.search(r"acetaminophen|paracetamol|ibuprofen|aspirin|tylenol", text, re.I)
        if "fever or pain medicine" in text:
            assert text.startswith("Take no ")
    for text in everything_said("es"):
        assert not re.search(
            r"está (bien|a salvo)|no se preocupe|paracetamol|ibuprofeno|aspirina", text, re.I
        )


@given(stories)
def test_every_answer_says_one_thing_to_do_why_and_what_to_tell(story):
    for language in languages(LIB):
        answer = triage(tell(**story), language=language)
        assert answer["because"]
        assert answer["meanwhile"]
        assert answer["do"].count(".") == 1
        said = " ".join(
            [*answer["because"], *answer["meanwhile"], *answer["unknown"], answer["say"], answer["do"]]
        )
        assert not set("{}") & set(said)
        assert len(set(answer["because"])) == len(answer["because"])


def test_what_to_tell_names_the_therapy_and_when():
    assert triage(tell(therapy="teclistamab", days=1))["say"].startswith(
        "I had teclistamab yesterday. I may have CRS"
    )
    assert "today" in triage(tell(therapy="Yescarta", hours=3))["say"]
    assert "9 days ago" in triage(tell(therapy="teclistamab", days=9))["say"]


def test_nothing_that_sounds_good_is_said_where_something_was_not_measured():
    well = triage(tell(therapy="teclistamab", days=2, readings=WELL))
    assert well["urgency"] == "note"
    assert "can change within hours" in well["because"][0]
    without = {key: value for key, value in WELL.items() if key != "spo2"}
    assert "do not know enough" in triage(tell(therapy="teclistamab", days=2, readings=without))["because"][0]


def test_nothing_known_is_said_to_be_unknown():
    answer = triage(tell())
    assert set(answer["missing"]) == {*WELL, "therapy", "days", "usual", "medicines", "symptoms"}
    assert answer["not_ruled_out"] == "emergency"


def test_where_leaflets_differ_both_numbers_are_said():
    answer = triage(tell(therapy="teclistamab", days=2, readings={**WELL, "temperature": 37.6}))
    assert answer["urgency"] == "note"
    assert "37.5 °C (99.5 °F)" in answer["because"][0]


def test_a_hospital_with_the_other_number_puts_one_small_file_on_top():
    lib = Library((ROOT / "examples" / "our-hospital",))
    told = {"therapy": "teclistamab", "days": 2}
    for degrees, expected in ((37.4, "note"), (37.5, "call-now")):
        person = tell(**told, readings={**WELL, "temperature": degrees}, lib=lib)
        assert triage(person, lib)["urgency"] == expected
    answer = triage(tell(**told, readings={**WELL, "temperature": 37.5}, lib=lib), lib)
    assert "From 37.5 °C (99.5 °F) on" in answer["because"][0]
    assert answer["definition"] != triage(tell(**told))["definition"]


def test_drafts_and_sources_are_shown():
    answer = triage(tell(symptoms=["seizure"]))
    assert answer["status"] == "draft"
    assert "memory" in answer["sources"]


# --- answers that cannot be taken ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"symptoms": ["chils"]}, "did you mean `chills`"),
        ({"symptoms": ["seizur"]}, "did you mean `seizure`"),
        ({"symptoms": ["consciousness=awakens-to-voise"]}, "did you mean `awakens-to-voice`"),
        ({"therapy": "teclistmab"}, "did you mean `teclistamab`"),
        ({"readings": {"temperature": 101.2}}, "ends in F"),
        ({"readings": {"spo2": 9}}, "is not possible"),
        ({"days": -1}, "is no time ago"),
        ({"days": float("nan")}, "is no time ago"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_the_fix_never_left_out(told, message):
    with pytest.raises(AdviceError, match=message):
        tell(**told)


@pytest.mark.parametrize(
    ("said", "id"),
    [
        ("Tecvayli", "teclistamab"),
        ("KYMRIAH", "tisagenlecleucel"),
        ("Tepkinly", "epcoritamab"),
        ("Axicabtagene ciloleucel", "axicabtagene-ciloleucel"),
    ],
)
def test_a_therapy_is_known_by_its_brand(said, id):
    assert tell(therapy=said).therapy == id


def test_an_assessment_without_a_word_is_the_worst_of_its_words():
    assert tell(symptoms=["consciousness"]).rows[0]["text"] == "unarousable"


# --- from a record ------------------------------------------------------------------------------------------


def test_a_record_gets_the_answer_that_its_patient_would():
    record = patient(
        "-10 h systolic-bp 130 mm[Hg]",
        "0 h teclistamab",
        "46 h temperature 38.3 Cel",
        "46 h systolic-bp 85 mm[Hg]",
        "47 h chills",
    ).to_pylist()
    now = START + timedelta(hours=48)
    told = tell(
        therapy="teclistamab",
        days=2,
        symptoms=["chills"],
        readings={"temperature": 38.3, "systolic-bp": 85},
        usual={"systolic-bp": 130},
    )
    assert triage(told_in(record, now)) == triage(told)
    assert triage(told)["urgency"] == "emergency"


def test_a_record_knows_nothing_later_and_forgets_what_is_old():
    record = patient("0 h teclistamab", "2 h temperature 36.8 Cel", "30 h confusion").to_pylist()
    early, late = (triage(told_in(record, START + timedelta(hours=hours))) for hours in (3, 29))
    assert "confusion" not in early["rules"]
    assert "temperature" not in early["missing"]
    assert "temperature" in late["missing"]
    assert late["urgency"] == "call-now"


def test_a_new_dose_opens_the_window_again():
    record = patient(
        "0 d teclistamab", "40 d teclistamab", "41 d headache", "41 d temperature 36.8 Cel"
    ).to_pylist()
    assert triage(told_in(record, START + timedelta(days=41)))["urgency"] == "call-now"


# --- the shelf ----------------------------------------------------------------------------------------------


def site(folder: Path, name: str, old: str, new: str) -> Library:
    path = folder / "advice" / f"{name}.toml"
    path.parent.mkdir()
    text = LIB.files("advice")[name].read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    return Library((folder,))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('any     = ["collapse"]', 'any     = ["colapse"]', "did you mean `collapse`"),
        ('any     = ["collapse"]', 'none    = ["collapse"]', "unknown key `none`"),
        ('any     = ["collapse"]', "", "a rule says what it asks for"),
        ('urgency = "ambulance"', 'urgency = "ambulanz"', "did you mean `ambulance`"),
        ('silent_with = ["fever"]', 'silent_with = ["fevr"]', "did you mean `fever`"),
        ('fell    = ["pressure-fell"]', 'fell    = ["pressure"]', "pressure-fell"),
        ('reading = "Ours."', "", "source. is missing"),
        ('id      = "collapse"', 'id      = "seizure"', "there twice"),
    ],
)
def test_a_rule_that_is_not_understood_is_refused(tmp_path, old, new, message):
    with pytest.raises(DefinitionError, match=message):
        triage_rules(site(tmp_path, "triage", old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'collapse                          = "',
            'colapse                           = "',
            "unknown key `colapse`",
        ),
        ('kind      = "', '# "', "`kind` is missing"),
        ("{value:spo2}", "{value:spo}", "did you mean `spo2`|spo2"),
        ("{told}", "{tole}", "did you mean `told`"),
        ("{bound:fever-to-call}", "{bound:fever-to-cal}", "did you mean `fever-to-call`"),
    ],
)
def test_a_text_that_is_missing_or_cannot_be_filled_is_refused(tmp_path, old, new, message):
    with pytest.raises(DefinitionError, match=message):
        texts("en", site(tmp_path, "texts-en", old, new))


def test_a_language_is_one_more_file(tmp_path):
    path = tmp_path / "advice" / "texts-fr.toml"
    path.parent.mkdir()
    said = LIB.files("advice")["texts-en"].read_text("utf-8")
    path.write_text(
        said.replace('"texts-en"', '"texts-fr"').replace('language = "en"', 'language = "fr"'), "utf-8"
    )
    lib = Library((tmp_path,))
    assert languages(lib) == ("en", "es", "fr")
    assert triage(tell(symptoms=["seizure"], lib=lib), lib, "fr")["language"] == "fr"
    with pytest.raises(DefinitionError, match="no texts in `de`"):
        texts("de", LIB)


def test_every_symptom_has_plain_words_in_every_language_and_a_rule():
    named = {name for rule in RULES.rules for name in rule.names}
    for name in RULES.symptoms:
        assert set(LIB.measure(name).raw["plain"]) == set(languages(LIB)), name
        assert name in named, name


def test_another_name_of_a_symptom_is_no_id():
    """Else one word would mean two things."""
    ids = {*LIB.measures}
    for name in RULES.symptoms:
        assert not ids & set(LIB.measure(name).raw.get("also", ()))


def test_a_rule_can_only_raise_an_answer():
    assert set(RULE_URGENCIES) == {*URGENCIES, "call"}
    assert not hasattr(RULES.rules[0], "none")
