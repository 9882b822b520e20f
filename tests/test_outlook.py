"""Outlook: what happened to others, never what will happen to this patient."""

from __future__ import annotations

import re
import tomllib

import pytest

from tocsin.definitions.load import library
from tocsin.guidance.outlook import outlook

LIB = library()
THERAPIES = sorted(LIB.classes["therapy"])


@pytest.mark.parametrize("therapy", [None, *THERAPIES])
def test_every_text_speaks_of_a_cohort_and_never_of_you(therapy):
    for entry in outlook(therapy, LIB):
        assert entry["text"].startswith(("in ", "no figure was found"))
        assert not re.search(r"\b(you|your|this patient|risk of|probability)\b", entry["text"], re.IGNORECASE)
        assert entry["source"] or entry["text"].startswith("no figure")


@pytest.mark.parametrize("therapy", THERAPIES)
def test_every_number_of_a_therapys_text_stands_in_its_data(therapy):
    numbers = set()
    for item in LIB.measure(therapy).raw.get("indication", ()):
        numbers |= {f"{value:g}" for value in item.values() if isinstance(value, int | float)}
        words = " ".join(value for value in item.values() if isinstance(value, str))
        numbers |= set(re.findall(r"\d+(?:\.\d+)?", words))
    own = [entry for entry in outlook(therapy, LIB) if entry["population"]]
    for entry in own:
        text = entry["text"].replace(entry["population"], "").replace(entry["cohort"], "")
        text = text.replace(entry["scale"], "")
        said = re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", text)
        assert [number for number in said if number not in numbers] in ([], ["3"]), entry["text"]


def test_a_figure_from_memory_says_so():
    found = {
        entry["topic"]: entry["status"]
        for entry in outlook("teclistamab", LIB)
        if entry["cohort"] == "MajesTEC-1"
    }
    assert found["tocilizumab"] == "memory"
    assert found["CRS"] == "draft"


def test_several_indications_are_each_listed_with_their_scale():
    texts = [entry["text"] for entry in outlook("tisagenlecleucel", LIB)]
    assert any("Penn" in text for text in texts)
    assert any("Lee 2014" in text for text in texts)


def test_every_entry_of_the_shelf_is_told_for_some_therapy():
    told = {entry["text"] for therapy in [None, *THERAPIES] for entry in outlook(therapy, LIB)}
    for path in LIB.files("outlook").values():
        for entry in tomllib.loads(path.read_text("utf-8"))["entry"]:
            assert any(entry["says"] in text and entry["cohort"] in text for text in told), entry["says"]


def test_a_therapy_without_figures_says_that_none_was_found():
    assert outlook("rituximab", LIB)[0]["text"] == "no figure was found for rituximab"
