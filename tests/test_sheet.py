"""The hand-over sheet: one file, safe, complete, also when something is not known."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from tocsin.guidance.answer import advise
from tocsin.plots.course import PlotError
from tocsin.plots.sheet import sheet
from tocsin.plots.sheet_parts import parts
from tocsin.testing import START, patient

PRINTED = datetime(2026, 3, 1, 12, tzinfo=UTC)
ILL = (
    "0 h age 50 a", "0 h weight 70 kg", "1 h axicabtagene-ciloleucel", "40 h temperature 39 Cel",
    "41 h spo2 95 %",
    "41 h systolic-bp 82 mm[Hg]", "41.25 h systolic-bp 80 mm[Hg]", "42 h tocilizumab 560 mg",
    "43 h norepinephrine 0.1 ug/kg/min until 50 h", "44 h temperature 38.8 Cel",
)  # fmt: skip


def one(*lines: str, hours: float = 45, **how):
    """Facts and the answer at that hour."""
    facts = patient(*lines, **how)
    (answer,) = advise(facts, START + timedelta(hours=hours))
    return facts, answer


def written(tmp_path, *lines: str, **how) -> str:
    facts, answer = one(*lines, **how)
    return sheet(facts, answer, tmp_path / "s.html", printed=PRINTED).read_text("utf-8")


def test_the_sheet_says_who_what_grade_which_dose_and_until_when_not(tmp_path):
    text = written(tmp_path, *ILL)
    for said in (
        "Hand-over: p1", "Axicabtagene ciloleucel, dose 1", "+44 h (day 1)", "<b>560 mg",
        "not before 2026-01-07 02:00",
        "weight for doses: <b>70 kg", "allergies: not in the record", "printed 2026-03-01 12:00 UTC",
        "not a diagnosis", "<svg",
    ):  # fmt: skip
        assert said in text, said


def test_nothing_on_it_is_fetched_or_run(tmp_path):
    text = written(tmp_path, *ILL)
    assert "<script" not in text
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?(?!#)(?:https?:)?//", text)


def test_a_name_that_is_markup_stays_text(tmp_path):
    text = written(tmp_path, *ILL, patient="<script>alert(1)</script>")
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_sections_stand_in_the_order_people_need_them():
    _, answer = one(*ILL)
    titles = [part.title for part in parts(answer, PRINTED)]
    assert titles[:5] == ["Grade", "Given", "Drugs asked for now", "Clocks", "Tests due"]
    assert titles[-2:] == ["Not known", "Sources and definitions"]


def test_what_depends_on_something_not_known_is_there_with_its_condition(tmp_path):
    text = written(tmp_path, *ILL)
    assert "if neutropenia" in text
    assert "if nci-lvef-below-40" in text


def test_a_patient_with_nothing_charted_but_a_weight_gets_a_sheet_that_asks(tmp_path):
    text = written(tmp_path, "0 h weight 70 kg", hours=1)
    assert "no therapy charted" in text
    assert "temperature" in text


def test_missing_keys_are_said_to_be_not_known():
    found = parts({"patient_id": "p"}, PRINTED)
    assert any("not known" in line for part in found for line in part.lines)


def test_rows_that_lack_keys_are_shown_as_far_as_they_are_known(tmp_path):
    facts, _ = one(*ILL)
    answer = {
        "patient_id": "p1", "grades": {"astct-2019": {"grade": 2}}, "therapy": {"title": "Something"},
        "actions": [{"guideline": "g", "action": "place", "text": "here"}], "clocks": [{"then": "more"}],
        "tests_due": [{"test": "CRP", "at_once": True}], "windows": [{"asks": "stay"}],
        "causes": [{"cause": "c", "standing": "likely"}], "disagreements": [{"topic": "t"}],
        "product": [{"text": "hold"}],
    }  # fmt: skip
    text = sheet(facts, answer, tmp_path / "s.HTML").read_text("utf-8")
    assert "not known" in text
    assert "hold" in text


def test_letters_that_paper_cannot_print_are_refused_and_not_made_question_marks(tmp_path):
    facts, answer = one(*ILL, patient="Иванов-7")
    with pytest.raises(PlotError, match="two patients could look the same"):
        sheet(facts, answer, tmp_path / "s.pdf")
    assert "Иванов-7" in sheet(facts, answer, tmp_path / "s.html").read_text("utf-8")


def test_what_rests_on_memory_is_marked(tmp_path):
    assert "label (memory)" in written(tmp_path, *ILL)


def test_paper_is_pdf_with_the_picture_and_its_pages_numbered(tmp_path):
    facts, answer = one(*ILL)
    data = sheet(facts, answer, tmp_path / "s.pdf", printed=PRINTED).read_bytes()
    assert data.startswith(b"%PDF")
    assert b"/Image" in data
    assert 1 < data.count(b"/Type /Page\n") < 8


def test_a_format_it_does_not_have_is_refused_and_nothing_written(tmp_path):
    facts, answer = one(*ILL)
    with pytest.raises(PlotError, match=r"\.html, \.pdf"):
        sheet(facts, answer, tmp_path / "s.docx")
    with pytest.raises(PlotError, match="no such folder"):
        sheet(facts, answer, tmp_path / "nowhere" / "s.pdf")
    assert list(tmp_path.iterdir()) == []
