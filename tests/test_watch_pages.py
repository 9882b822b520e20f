"""Pages: a grade looks the same everywhere, what is missing is as visible as what is bad, nothing is run."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from boards import CALM, DOUBTED, EVERY_KIND, HOUR, LAPSED, MINUTE, NOW, RISEN, STEADY, UNMEASURED, board
from tocsin.definitions.load import library
from tocsin.definitions.schema import CATEGORIES
from tocsin.watch import pages_forms as forms
from tocsin.watch.pages_advice import bare, concealed, side_by_side
from tocsin.watch.pages_look import STATIC, colours, templates
from tocsin.watch.picture import dressed
from tocsin.watch.sweep import digest

LIB = library()
TEMPLATES = sorted((STATIC.parent / "templates").glob("*.html"))


def drawn(shown, **more):
    """The rows of a ward as its page holds them."""
    context = {
        "board": shown, "mine": frozenset({7}), "asked": {}, "q": "", "tz": UTC, "csrf": "c" * 22,
        "may_act": True, "may_ask": True, "back": "/", "as_of_text": "14:31:58", "clock_text": "14:32:04",
        **more,
    }  # fmt: skip
    return templates().env.get_template("rows.html").render(context)


def row_of(page, row):
    """The part of the page about one patient."""
    found = re.search(rf'<li class="[^"]*" id="p-{row.ref}".*?</li>', page, re.S)
    assert found
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())


def test_the_stylesheet_has_the_colours_of_every_other_picture():
    """One look for a grade, everywhere: the stylesheet begins with what `plots.look` says."""
    assert (STATIC / "board.css").read_text("utf-8").startswith(colours())


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_page_holds_a_style_or_a_script_of_its_own(path):
    """The browser is told to run and paint only what comes from the service's own files."""
    text = path.read_text("utf-8")
    assert not re.search(r"\sstyle\s*=|<style|\son[a-z]+\s*=|javascript:|\|safe", text)
    assert all('src="/static/' in script for script in re.findall(r"<script[^>]*>", text))
    for form in re.findall(r'<form[^>]*method="post".*?</form>', text, re.S):
        assert "csrf" in form, form[:120]


def test_a_rise_is_said_with_its_age_and_can_be_acknowledged():
    """Grade, from what, since when; why; what is late; what may be done from when."""
    told = row_of(drawn(EVERY_KIND), RISEN)
    for words in (
        "Bed 12",
        "from 2 · 22 min ago",
        "One vasopressor since 14:10",
        "ferritin 40 min late",
        "Acknowledge",
    ):
        assert words in told


def test_only_the_alerts_on_the_screen_are_acknowledged():
    """The form names the alerts that were seen; one that came meanwhile is not swept away."""
    page = drawn(EVERY_KIND)
    assert re.findall(r'name="alert" value="(\d+)"', page) == ["7"]
    hidden = drawn(EVERY_KIND, mine=frozenset())
    assert 'name="alert"' not in hidden
    assert "Grade 3, from 2" not in hidden


def test_what_was_not_measured_is_never_shown_as_recovery():
    """A lapse says what it was, and since when nobody measured; no 0 stands there."""
    told = row_of(drawn(EVERY_KIND), LAPSED)
    assert "was 3, not measured 5 h" in told
    assert "Ask for vitals" in told
    assert not re.search(r"\b0\b", told)


def test_nobody_measuring_is_a_question_mark():
    """Not fine, not zero: unknown."""
    told = row_of(drawn(EVERY_KIND), UNMEASURED)
    assert "nobody measuring" in told
    assert "never" in told
    assert "?" in told


def test_a_stale_value_is_struck_and_its_age_stands_out():
    """The nurse sees that the pressure is five hours old before she believes it."""
    page = drawn(EVERY_KIND)
    assert "<s>BP 118/70</s> <b>5 h old</b>" in page
    assert "2 not ruled out" in row_of(page, DOUBTED)


def test_calm_patients_take_one_line_and_come_last():
    """Who needs somebody stands on top."""
    page = drawn(EVERY_KIND)
    assert page.index(f"p-{RISEN.ref}") < page.index(f"p-{STEADY.ref}") < page.index(f"p-{CALM.ref}")
    assert row_of(page, CALM) == "0 Bed 1 T. B., 60 +72 h cilta-cel"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (RISEN, "grade 3"),
        (DOUBTED, "grade 1 proven, up to 2 not ruled out"),
        (LAPSED, "was grade 3, not measured since; up to 4 not ruled out"),
        (UNMEASURED, "nobody measured; up to grade 4 not ruled out"),
    ],
)
def test_a_badge_is_heard_as_well_as_seen(row, said):
    """Colour, shape and number for the eye; a sentence for the ear."""
    assert f'role="img" aria-label="{said}"' in drawn(board(row))


@pytest.mark.parametrize("grade", range(6))
def test_every_grade_has_its_shape(grade):
    """Shapes tell grades apart where colours do not."""
    page = drawn(board(replace(RISEN, grade=grade, up_to=grade, proven=grade)))
    shape = {0: "<circle", 1: "<circle", 2: '<path d="M24 1.5', 3: "<rect"}.get(grade, '<path d="M15.6')
    badge = re.search(r'<svg class="badge.*?</svg>', page, re.S)[0]
    assert shape in badge
    assert f">{grade}</text>" in badge


def test_names_and_texts_are_escaped():
    """What a sender calls a patient is text, not a page."""
    bad = '"><script>alert(1)</script>'
    page = drawn(board(replace(RISEN, name=bad, bed=bad, therapy=bad, line=bad)), q=bad)
    assert "<script" not in page
    assert 'alert(1)"' not in page.replace("&#34;", "'")


def test_the_picture_keeps_what_a_mark_says_and_runs_nothing():
    """Pointing at a mark names fact, source and time recorded."""
    svg = dressed(
        '<svg><path aria-label="x: 1; fact: Temp 39 °C; at: Mon; source: a.csv:3; recorded: now"/></svg>'
    )
    assert 'data-tip="Temp 39 °C&#10;at Mon&#10;source: a.csv:3&#10;recorded: now"' in svg
    hostile = dressed('<svg><path aria-label="fact: &quot;&gt;&lt;script&gt; x; source: a"/></svg>')
    assert "<script" not in hostile


# --- forms ----------------------------------------------------------------------------------------------


def test_vital_signs_become_one_fact_each_at_one_time():
    """One form, one moment; empty fields are not charted."""
    typed = {
        "temperature": "38,4",
        "temperature-unit": "Cel",
        "heart-rate": "110",
        "oxygen-device": "room-air",
    }
    entry = forms.vitals(typed, "p", NOW, UTC, LIB)
    assert not entry.errors
    assert [(row["measure"], row.get("value"), row.get("unit"), row.get("text")) for row in entry.rows] == [
        ("temperature", 38.4, "Cel", None),
        ("heart-rate", 110.0, "/min", None),
        ("oxygen-device", None, None, "room-air"),
    ]
    assert {row["time"] for row in entry.rows} == {datetime.fromtimestamp(NOW / 1e6, UTC).isoformat()}


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({}, "form"),
        ({"temperature": "38.4"}, "temperature"),
        ({"temperature": "38.4", "temperature-unit": "stone"}, "temperature"),
        ({"heart-rate": "fast"}, "heart-rate"),
        ({"heart-rate": "90", "time": "noon"}, "time"),
    ],
)
def test_what_cannot_be_read_is_said_beside_its_field(typed, field):
    """A unit is never guessed; a word is no number; nothing at all is not a chart."""
    assert field in forms.vitals(typed, "p", NOW, UTC, LIB).errors


@pytest.mark.parametrize(
    ("typed", "score"),
    [({f"ice-{i}": "1" for i in range(10)}, 10), ({"ice-0": "1", "ice-9": "1"}, 2), ({"none": "1"}, 0)],
)
def test_ice_counts_what_was_right(typed, score):
    """Ten items, a point each; a zero has to be said."""
    (row,) = forms.ice(typed, "p", NOW, UTC, LIB).rows
    assert (row["measure"], row["value"]) == ("ice-score", score)


@pytest.mark.parametrize("typed", [{}, {"none": "1", "ice-1": "1"}])
def test_an_empty_ice_form_is_no_zero(typed):
    """A form sent by mistake must not grade a patient as mute."""
    entry = forms.ice(typed, "p", NOW, UTC, LIB)
    assert entry.errors
    assert not entry.rows


def test_ice_has_ten_points():
    """Orientation 4, naming 3, a command, writing, attention."""
    assert [len(items) for _, items in forms.ice_items(LIB)] == [4, 3, 1, 1, 1]
    assert [number for _, items in forms.ice_items(LIB) for number, _ in items] == list(range(10))


def test_a_sign_is_attributed_in_the_words_of_the_definitions():
    """Every category can be chosen; giving it back is one word."""
    assert set(forms.SIGNS) == set(CATEGORIES)
    (row,) = forms.attribution({"sign": "hypotension", "cause": " sepsis "}, "p", NOW, UTC).rows
    assert row["text"] == "hypotension=sepsis"
    (row,) = forms.attribution({"sign": "fever", "restore": "1"}, "p", NOW, UTC).rows
    assert row["text"] == "fever=crs"
    assert forms.attribution({"sign": "mood", "cause": "x"}, "p", NOW, UTC).errors
    assert forms.attribution({"sign": "fever", "cause": " "}, "p", NOW, UTC).errors


def test_a_correction_replaces_and_never_overwrites():
    """The new row names the old one; withdrawing is a row as well."""
    fact = {"measure": "temperature", "time": datetime(2026, 3, 1, tzinfo=UTC), "source": "a.csv:3"}
    (row,) = forms.correction({"value": "37.9", "unit": "Cel"}, fact, "p", NOW, UTC, LIB).rows
    assert (row["replaces"], row["value"], row["time"]) == ("a.csv:3", 37.9, "2026-03-01T00:00:00+00:00")
    (row,) = forms.correction({"withdraw": "1"}, fact, "p", NOW, UTC, LIB).rows
    assert (row["replaces"], row["text"]) == ("a.csv:3", "retracted")


@pytest.mark.parametrize(
    "name", ["norepinephrine", "tocilizumab", "consciousness", "chills", "crp", "seizure"]
)
def test_each_measure_asks_only_what_it_can_take(name):
    """Its own units, its own words."""
    shape = forms.shape(LIB.measure(name))
    assert [unit for unit, _ in shape["units"]][:1] == (
        [LIB.measure(name).unit] if LIB.measure(name).unit else []
    )
    assert shape["words"] == LIB.measure(name).words


# --- amounts --------------------------------------------------------------------------------------------


class Said:
    """As much of a service as the advice needs."""

    def __init__(self, *hashes):
        self.lib, self.hashes = LIB, hashes

    def approved(self):
        return frozenset(self.hashes).__contains__


ANSWER = {
    "therapy": {"id": "teclistamab"}, "weight": None, "product": [],
    "actions": [
        {"guideline": "asco-2021", "action": "anti-il6", "strength": "give", "drug": "tocilizumab",
         "dose": 560.0, "dose_rounded": 560.0, "dose_high": None, "unit": "mg", "text": "tocilizumab 8 mg/kg",
         "allowed": True, "limit": "", "status": "draft"},
        {"guideline": "asco-2021", "action": "fluids", "strength": "give", "drug": None, "dose": None,
         "text": "a bolus of 1000 mL", "status": "draft"},
    ],
    "definitions": {"guidelines/asco-2021": "g", "doses/tocilizumab": "d"},
}  # fmt: skip


@pytest.mark.parametrize("approved", [(), ("g",), ("d",)])
def test_amounts_stay_hidden_until_all_behind_them_is_approved(approved):
    """The drug is named, how much is not; on the page and on the hand-over sheet."""
    told = side_by_side(Said(*approved), ANSWER, doses=False, now=NOW, tz=UTC)
    assert told["hidden"] == 1
    assert told["drugs"][0]["drug"] == "tocilizumab"
    for shown in (str(told), str(concealed(ANSWER, frozenset(approved).__contains__)["actions"])):
        assert "560" not in shown
        assert "8 mg" not in shown


def test_approved_amounts_are_shown_to_the_last_digit():
    """A dose is not rounded for looks."""
    told = side_by_side(Said("g", "d"), ANSWER, doses=False, now=NOW, tz=UTC)
    assert told["hidden"] == 0
    assert told["drugs"][0]["dose"] == "560 mg"
    more = {**ANSWER["actions"][0], "dose_rounded": 1234.5, "dose_high": 2000.0}
    ranged = {**ANSWER, "actions": [more]}
    assert (
        side_by_side(Said("g", "d"), ranged, doses=False, now=NOW, tz=UTC)["drugs"][0]["dose"]
        == "1234.5 to 2000 mg"
    )


def test_a_demonstration_shows_amounts():
    """No real person is treated from it, and every page says so."""
    assert side_by_side(Said(), ANSWER, doses=True, now=NOW, tz=UTC)["drugs"][0]["dose"] == "560 mg"


@pytest.mark.parametrize("text", ["10 mg", "10 to 20 mg", "8 mg/kg", "1 L", "0.5 ug/kg/min", "1,000 mL"])
def test_an_amount_inside_a_text_is_found(text):
    """Guidelines write amounts into their sentences."""
    assert text not in bare(f"give {text} now")
    assert not re.search(r"\d", bare(f"give {text} now"))


def test_ages_use_the_unit_that_matters():
    """22 min, 5 h, 3 d: read at a glance."""
    page = drawn(board(replace(RISEN, changed_at=NOW - 75 * HOUR), replace(DOUBTED, changed_at=NOW - MINUTE)))
    assert "from 2 · 3 d ago" in page


def test_a_clock_and_a_label_step_tell_no_amount_before_approval():
    """What follows when a clock runs out may name a dose: on the page, through the door, in an alert, on the
    board."""
    clock = {"guideline": "cd20-engager-2024", "due": "2026-03-05T00:00:00Z", "then": "dexamethasone 10 mg"}
    answer = {
        "clocks": [{**clock, "text": "from 12:00: dexamethasone 10 mg"}],
        "grades": {"astct-2019": {"grade": 1}},
        "product": [{"text": "premedicate with dexamethasone 16 mg"}], "product_note": "",
    }  # fmt: skip
    told = repr(concealed(answer, lambda _: False))
    service = SimpleNamespace(approved=lambda: lambda _: False, lib=LIB)
    shown = repr(side_by_side(service, answer, doses=False, now=NOW, tz=UTC))
    board = repr(digest(answer, NOW))
    assert "10 mg" not in told + shown + board
    assert "16 mg" not in told + shown
    assert "dexamethasone" in shown
    assert "10 mg" in repr(side_by_side(service, answer, doses=True, now=NOW, tz=UTC))


def test_nobody_is_asked_to_measure_where_nothing_is_missing():
    """A second vasopressor that has not yet run for an hour leaves a grade open; no measurement would settle
    it."""
    open_ = replace(RISEN, up_to=4, state="not-ruled-out", waiting_for=())
    assert "Ask for vitals" not in drawn(board(open_))
    assert "Ask for vitals" in drawn(board(DOUBTED))
