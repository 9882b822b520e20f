"""The leaflet reads easily, says only what has a source, and never another number than triage goes by."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import textstat
from click.testing import CliRunner

from tocsin.advice import leaflet, tell, triage
from tocsin.advice.about import SAID_FIRST
from tocsin.citations import references
from tocsin.cli.front import cli
from tocsin.definitions.advice import RULE_URGENCIES, triage_rules
from tocsin.definitions.leaflet import leaflet_of
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import DefinitionError
from tocsin.definitions.texts import languages, texts

LIB = library()
ROOT = Path(__file__).resolve().parents[1]
TOPICS = [topic.id for topic in leaflet_of("en", LIB).topics]
#: What the leaflet has to speak of.
ASKED = """what-crs-is symptoms causes risk-factors complications diagnosis tests grades treatment recovery
    when-to-seek-care outlook a-kind-word"""


def read(topic: dict) -> str:
    return " ".join([f"{topic['title']}.", *(item["text"] for item in topic["items"])])


def whole(**asked) -> str:
    return "\n".join(read(topic) for topic in leaflet(**asked)["topics"])


def grade(text: str) -> float:
    """US school grade (Flesch-Kincaid)."""
    textstat.set_lang("en_US")
    return textstat.flesch_kincaid_grade(text)


def ease(text: str) -> float:
    """Reading ease of Spanish (Fernández-Huerta)."""
    textstat.set_lang("es")
    return textstat.fernandez_huerta(text)


# --- how it reads -------------------------------------------------------------------------------------------


def test_english_is_at_grade_8_or_lower():
    assert grade(whole()) <= 8


@pytest.mark.parametrize("topic", TOPICS)
def test_no_english_topic_is_above_grade_9(topic):
    assert grade(read(leaflet(topic)["topics"][0])) <= 9


@pytest.mark.parametrize("therapy", LIB.classes["therapy"])
def test_a_therapys_figures_read_no_harder(therapy):
    for topic in ("recovery", "outlook"):
        assert grade(read(leaflet(topic, therapy=therapy)["topics"][0])) <= 9


def test_what_the_terminal_prints_is_at_grade_8_or_lower():
    assert grade(CliRunner().invoke(cli, ["about"]).output) <= 8


def test_spanish_reads_easily():
    assert ease(whole(language="es")) >= 70
    for topic in leaflet(language="es")["topics"]:
        assert ease(read(topic)) >= 70, topic["id"]


def test_what_triage_says_reads_as_easily():
    readings = {"temperature": 38.6, "spo2": 91, "systolic-bp": 85, "heart-rate": 130}
    told = tell(therapy="teclistamab", days=1, symptoms=["confusion", "chills", "rash"], readings=readings)
    for language, easy in (("en", lambda text: grade(text) <= 8), ("es", lambda text: ease(text) >= 70)):
        answer = triage(told, language=language)
        assert easy(" ".join([*answer["because"], *answer["meanwhile"]]))
        words = texts(language, LIB)
        assert easy(" ".join(words.tables["rule"].values()))
        assert easy(" ".join(words.tables["step"].values()))


# --- what it says -------------------------------------------------------------------------------------------


def test_it_speaks_of_everything_a_patient_asks():
    assert set(ASKED.split()) - set(TOPICS) == set()
    assert TOPICS[-1] == "a-kind-word"


def test_all_languages_speak_of_the_same_with_the_same_sources():
    def skeleton(language: str) -> list:
        return [
            (topic.id, topic.adds, [(item.point, item.source, item.status) for item in topic.items])
            for topic in leaflet_of(language, LIB).topics
        ]

    for language in languages(LIB):
        assert skeleton(language) == skeleton("en")


def test_all_languages_have_the_same_numbers():
    def numbers(language: str) -> list[list[str]]:
        return [sorted(re.findall(r"\d+", read(topic))) for topic in leaflet(language=language)["topics"]]

    assert numbers("es") == numbers("en")


def test_every_number_has_a_source():
    """Or it is a limit of a rule whose `reading` says that it is ours."""
    ours = {
        "An oxygen level of 92 % or less.",
        "A heartbeat above 120 a minute at rest.",
        "More than 24 breaths a minute at rest.",
    }
    for topic in leaflet()["topics"]:
        if topic["id"] == "grades":
            continue  # grades 1 to 4 are names
        for item in topic["items"]:
            if re.search(r"\d", item["text"]):
                assert item["source"] or item["text"] in ours, item["text"]


def test_every_source_is_known_and_memory_is_marked():
    for topic in leaflet()["topics"]:
        for item in topic["items"]:
            assert set(item["source"]) - {"memory"} <= set(references())
            assert (item["status"] == "memory") == (item["source"] == ["memory"])


def test_risk_factors_name_autoimmune_disease_and_hlh():
    said = read(leaflet("risk-factors")["topics"][0])
    assert "autoimmune" in said
    assert "genetic" in said
    assert "HLH" in said


def test_the_grades_are_four_questions():
    items = leaflet("grades")["topics"][0]["items"]
    assert [item["text"][-1] for item in items if item["point"]] == ["?"] * 4
    for number in "1234":
        assert f"rade {number}" in read(leaflet("grades")["topics"][0])


def test_no_figure_is_the_readers_own_probability():
    for therapy in (None, *LIB.classes["therapy"]):
        for item in leaflet("outlook", therapy=therapy)["topics"][0]["items"]:
            if re.search(r"\d+ of 100", item["text"]):
                assert re.search(r"(study of|followed) \d+", item["text"]), item["text"]
                assert not re.search(r"\byou\b|\byour\b", item["text"]), item["text"]


def test_a_therapys_figures_are_those_of_the_shelf_without_what_rests_on_memory():
    said = read(leaflet("outlook", therapy="teclistamab")["topics"][0])
    assert "In a study of 165 people who had teclistamab, about 72 of 100 had CRS." in said
    assert "Fewer than 1 of 100 had severe CRS." in said
    assert "within 2 days" not in said  # its onset rests on memory
    assert "began within 2 days" in read(leaflet("outlook", therapy="Yescarta")["topics"][0])
    assert "found no checked numbers" in read(leaflet("outlook", therapy="linvoseltamab")["topics"][0])


def test_when_to_seek_care_is_made_from_the_rules():
    assert set(SAID_FIRST) == set(RULE_URGENCIES)
    topic = leaflet("when-to-seek-care")["topics"][0]
    said = read(topic)
    heads = [texts("en", LIB).urgency[urgency]["sign"] for urgency in SAID_FIRST]
    places = [said.index(head) for head in heads if head in said]
    assert places == sorted(places)
    assert len(places) == 5
    for name in triage_rules(LIB).symptoms:
        plain = LIB.measure(name).raw["plain"]["en"].lower()
        alone = any(plain in item["text"].lower() for item in topic["items"])
        assert alone or name in {"dizziness", "weakness", "trouble-speaking"}, name


def test_a_site_that_calls_from_another_number_gets_a_leaflet_that_says_so():
    ours = Library((ROOT / "examples" / "our-hospital",))
    said = read(leaflet("when-to-seek-care", lib=ours)["topics"][0])
    assert "A temperature of 37.5 °C (99.5 °F) or more." in said
    assert "38.0" not in said
    assert "A temperature of 38.0 °C (100.4 °F) or more." in read(leaflet("when-to-seek-care")["topics"][0])


def test_it_never_offers_a_fever_medicine():
    assert not re.search(r"acetaminophen|paracetamol|ibuprofen|tylenol", whole(), re.IGNORECASE)
    assert not re.search(r"you are fine|nothing to worry", whole(), re.IGNORECASE)


# --- the shelf ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id    = "causes"', 'id    = "tests"', "there twice"),
        ('adds  = ["signs"]', 'adds  = ["sign"]', "did you mean `signs`"),
        ("{bound:fever-to-call}", "{bound:fever}", "fever"),
        ("{ point =", "{ pont =", "did you mean `point`"),
        ('rate        = "', 'rat         = "', "unknown key `rat`"),
    ],
)
def test_a_leaflet_that_is_not_understood_is_refused(tmp_path, old, new, message):
    path = tmp_path / "advice" / "leaflet-en.toml"
    path.parent.mkdir()
    text = LIB.files("advice")["leaflet-en"].read_text("utf-8")
    text = re.sub(r"(?m)^rate +=", "rate        =", text)
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(DefinitionError, match=message):
        leaflet_of("en", Library((tmp_path,)))


# --- the commands -------------------------------------------------------------------------------------------


def run(*words: str):
    return CliRunner().invoke(cli, [*words])


EXAMPLE = """triage --therapy teclistamab --days 1 --temperature 38.2 --symptom confusion --spo2 93
    --systolic 105 --json"""


def test_the_example_of_triage_is_an_emergency_with_its_keys():
    answer = json.loads(run(*EXAMPLE.split()).output)
    assert answer["urgency"] == "emergency"
    for key in ("because", "meanwhile", "unknown"):
        assert all(isinstance(text, str) for text in answer[key])
        assert answer[key]


@pytest.mark.parametrize("written", ["100.8F", "100.8 f", "38.2", "38,2", "38.2C", "100.8°F"])
def test_a_temperature_is_read_in_either_unit(written):
    answer = json.loads(run("triage", "--temperature", written, "--json").output)
    assert "38.2 °C (100.8 °F)" in answer["because"][0]


@pytest.mark.parametrize(("written", "urgency"), [("100.3F", "note"), ("100.4F", "call-now")])
def test_fever_begins_at_100_4_fahrenheit(written, urgency):
    answer = json.loads(
        run("triage", "--therapy", "teclistamab", "--days", "2", "--temperature", written).output
    )
    assert answer["urgency"] == urgency


def test_every_option_is_heard():
    said = """--hours 30 --heart-rate 130 --respiratory-rate 30 --antipyretic-hours-ago 5
        --steroid-hours-ago 9
        --tocilizumab-hours-ago 20 --age 6 --baseline-systolic 110 --systolic 81 --temperature 38.5
        --spo2 90"""
    rules = set(json.loads(run("triage", *said.split(), "--json").output)["rules"])
    assert rules >= {
        "fast-heart",
        "fast-breathing",
        "fever-after-medicine",
        "low-pressure",
        "fever-may-be-hidden",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("triage", "--symptom", "chillls"), "did you mean `chills`"),
        (("triage", "--temperature", "hot"), "is no temperature"),
        (("triage", "--temperature", "101"), "ends in F"),
        (("triage", "--language", "ess"), "did you mean `es`"),
        (("triage", "--therapy", "teclistamb"), "did you mean `teclistamab`"),
        (("about", "gradse"), "did you mean `grades`"),
        (("about", "outlook", "--therapy", "yescarda"), "did you mean `yescarta`"),
    ],
)
def test_bad_usage_is_named_with_the_near_miss(words, message):
    done = run(*words)
    assert done.exit_code == 2
    assert message in done.output


def test_a_person_in_doubt_is_never_left_with_an_error_alone():
    assert "do not wait" in run("triage", "--symptom", "chest-pain").output
    assert "something-else" in run("triage", "--symptom", "chest-pain").output


def test_about_prints_text_also_on_a_pipe_and_json_when_asked():
    assert run("about", "grades").output.startswith("About CRS\n\nThe four grades")
    page = json.loads(run("about", "grades", "--json").output)
    assert page["topics"][0]["items"][0]["source"] == ["lee2019"]
    assert page["status"] == "draft"


def test_sources_and_what_is_not_checked_are_shown():
    said = run("about", "risk-factors", "--sources").output
    assert "[healthtree-risk]" in said
    assert "healthtree-risk: CRS risk factors" in said
    assert "own body. *" in said
    assert "* Not yet checked against a source." in said


def test_a_hospitals_own_file_is_used():
    folder = str(ROOT / "examples" / "our-hospital")
    told = (
        "triage",
        "--therapy",
        "teclistamab",
        "--days",
        "2",
        "--temperature",
        "37.5",
        "--definitions",
        folder,
    )
    assert json.loads(run(*told).output)["urgency"] == "call-now"


@pytest.mark.parametrize("width", [20, 40, 80])
def test_lines_fit_the_screen(width):
    from tocsin.cli.triage import advice_lines, leaflet_lines

    for language in languages(LIB):
        words = texts(language, LIB).tables["word"]
        answer = triage(
            tell(therapy="axicabtagene-ciloleucel", days=3, symptoms=["confusion", "chills"]),
            language=language,
        )
        lines = [
            *advice_lines(answer, words, width),
            *leaflet_lines(leaflet(language=language), words, width, False),
        ]
        assert [line for line in lines if len(re.sub(r"\x1b\[\d*m", "", line)) > width] == []
