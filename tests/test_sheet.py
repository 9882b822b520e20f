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
    assert titles[:4] == ["Grade", "Given", "Drugs asked for now", "Also asked for now"]
    assert (
        titles.index("Clocks")
        < titles.index("Tests due")
        < titles.index("Sources")
        < titles.index("Definitions")
    )


def test_a_patient_with_nothing_charted_but_a_weight_gets_a_sheet_that_asks(tmp_path):
    text = written(tmp_path, "0 h weight 70 kg", hours=1)
    assert "no therapy charted" in text
    assert "temperature" in text


def test_missing_keys_are_said_to_be_not_known():
    found = parts({"patient_id": "p", "at": "2026-03-01T12:00:00Z"}, PRINTED)
    assert any("not known" in line for part in found for line in part.lines)


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
