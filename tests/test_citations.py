"""Every source is found by its key, and a broken file says where it is broken."""

from __future__ import annotations

import pytest

from tocsin.citations import BIB, CitationError, cite, parse, references


def test_a_paper_reads_as_one_line():
    text = cite("lee2019").text()
    assert text.startswith("Lee, DW and others. Biol Blood Marrow Transplant 2019;25:625-638. ")
    assert "\n" not in text
    assert "Main text not seen." in text


def test_only_what_is_known_is_printed():
    assert cite("shimabukuro2018").text() == "J Immunother Cancer 2018;6:56. Seen: the list of triggers."


def test_bibtex_round_trips():
    """What we print can be read again and says the same, for every source."""
    for reference in references().values():
        assert parse(reference.bibtex()) == {reference.key: reference}


def test_escapes_are_removed_for_reading_and_put_back_for_bibtex():
    assert "CTCAE_4.03.csv" in cite("ctcae403").text()
    assert r"CTCAE\_4.03.csv" in cite("ctcae403").bibtex()


def test_every_source_says_what_was_seen_of_it():
    assert [key for key, reference in references().items() if not reference.fields.get("note")] == []


def test_an_unknown_key_names_the_near_misses():
    with pytest.raises(CitationError, match=r"no source `lee2018`; did you mean .*`lee2019`"):
        cite("lee2018")
    with pytest.raises(CitationError, match=r"fix: use a key of references\.bib"):
        cite("")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@misc{a, title = {x}}\n\n@misc{a, title = {y}}", "line 3: repeats the key `a`"),
        ("@misc{a,\n  title = {x},\n  title = {y},\n}", "line 3: in `a` repeats `title`"),
        ("@misc{a,\n  title = {x\n", "line 2: in `a` opens a brace that never closes"),
        ("@misc{a,\n  title = 7,\n}", "line 2: in `a` is no field"),
        ("@misc{a,\n  title = {x},", "in `a` is no field"),
        ("lee2019 said so", "line 1: is no entry"),
    ],
)
def test_a_broken_file_says_where(text, message):
    with pytest.raises(CitationError, match=message):
        parse(text)


def test_comments_are_left_out_and_braces_kept():
    assert parse("% a note\n@misc{a, title = {One {Two} 5\\%}}")["a"].fields == {"title": "One {Two} 5%"}


def test_the_file_is_sorted_into_entries_without_leftovers():
    """As many entries as the file has `@`: none is swallowed by another."""
    lines = BIB.read_text(encoding="utf-8").splitlines()
    assert len(references()) == sum(line.startswith("@") for line in lines)
