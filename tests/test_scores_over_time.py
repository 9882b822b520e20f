"""Scores over time: what is missing, too old or masked; when they change; at which time they were derived."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.definitions.load import library
from tocsin.definitions.schema import TocsinError
from tocsin.definitions.score import score_names
from tocsin.definitions.workup import markers
from tocsin.grading.live import micros
from tocsin.scores import over_time, score
from tocsin.testing import START, patient

LIB = library()
HOUR = 3_600_000_000
LABS = {
    "ldh": ("U/L", 50, 2000), "creatinine": ("mg/dL", 0.3, 6), "platelets": ("10*9/L", 5, 400),
    "crp": ("mg/L", 1, 400), "anc": ("10*9/L", 0, 10), "hemoglobin": ("g/dL", 5, 16),
    "ferritin": ("ng/mL", 10, 20000), "fibrinogen": ("g/L", 0.3, 8), "pt": ("s", 9, 40),
    "ast": ("U/L", 5, 500), "wbc": ("10*9/L", 0.1, 30), "triglycerides": ("mmol/L", 0.4, 8),
    "d-dimer-feu": ("ng/mL{FEU}", 100, 9000),
}  # fmt: skip


def told(name, *lines, at=None, window=None):
    moment = None if at is None else START + timedelta(hours=at)
    (value,) = score(patient(*lines), name, moment, window=window)
    return value


def line(name, number, hour=0.0):
    return f"{hour} h {name} {number!r} {LABS[name][0]}"


@st.composite
def bloods(draw):
    """One value of every laboratory measure."""
    return {
        name: round(draw(st.floats(low, high, allow_nan=False)), 2) for name, (_, low, high) in LABS.items()
    }


# --- what is not known ---------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", ["ldh", "creatinine", "platelets"])
def test_a_product_without_one_factor_is_no_number(gone):
    lines = {"ldh": 600, "creatinine": 1.2, "platelets": 40}
    value = told("easix", *(line(name, number) for name, number in lines.items() if name != gone))
    assert (value.low, value.high, value.log2_low, value.band) == (None, None, None, None)
    assert value.missing == (gone,)


def test_nothing_is_divided_by_zero_platelets():
    value = told("easix", line("ldh", 600), line("creatinine", 1.2), "0 h platelets 0 10*9/L")
    assert value.low is None
    assert value.missing == ("platelets",)
    assert any("divided" in note for note in value.notes)


def test_an_unknown_marrow_is_35_points_of_range():
    lines = ("0 h organomegaly none", *(line(name, 1) for name in ("wbc", "hemoglobin", "platelets")),
             line("ferritin", 500), line("triglycerides", 1), line("fibrinogen", 4), line("ast", 20),
             "0 h temperature 37 Cel")  # fmt: skip
    open_, shut = told("hscore", *lines), told("hscore", *lines, "0 h marrow-hemophagocytosis absent")
    assert (open_.low, open_.high, open_.missing) == (34, 69, ("marrow-hemophagocytosis",))
    assert (shut.low, shut.high, shut.missing) == (34, 34, ())


def test_immunosuppression_that_nobody_charted_is_no_and_says_so():
    value = told("hscore", "0 h temperature 37 Cel")
    assert any("Known immunosuppression: not charted is read as no" in note for note in value.notes)
    charted = told("hscore", "0 h temperature 37 Cel", "0 h immunosuppression")
    assert charted.low == value.low + 18
    assert not any("not charted is read as no" in note for note in charted.notes)


@pytest.mark.parametrize(("hours", "known"), [(47.9, True), (48, False), (49, False)])
def test_a_value_older_than_its_limit_is_missing(hours, known):
    value = told("s-easix", line("ldh", 600), line("platelets", 40), at=hours)
    assert (value.low == 15) is known
    assert value.missing == (() if known else ("ldh", "platelets"))
    (given,) = value.items[0].inputs
    assert given.state == ("used" if known else "too-old")
    assert given.hours == pytest.approx(hours)


def test_a_value_that_could_not_be_read_is_not_known():
    """A rejected row is a reading nobody can use, not no reading."""
    facts = patient(line("ldh", 600), line("platelets", 40), "2 h platelets 90000 10*9/L", strict=False)
    (value,) = score(facts, "s-easix")
    assert value.low is None
    assert value.items[1].inputs[0].state == "unreadable"


def test_a_value_below_the_assay_is_a_range():
    """CRP < 3 mg/L is anything from 0 to 3."""
    value = told("m-easix", line("ldh", 600), line("platelets", 40), "0 h crp <3 mg/L")
    assert (value.low, value.high) == (0, pytest.approx(4.5))
    assert "below-the-assay" in value.flags
    assert told("car-hematotox", "0 h crp <20 mg/L").items[3].high == 0
    assert told("car-hematotox", "0 h crp >20 mg/L").items[3].high == 1


def test_every_input_has_value_unit_time_age_and_row():
    value = told("m-easix", "0 h ldh 600 U/L source lab/1", "2 h crp 120 mg/L source lab/2",
                 "3 h platelets 40 10*9/L source lab/3")  # fmt: skip
    crp = value.items[1].inputs[0]
    assert (crp.measure, crp.value, crp.unit, crp.source, crp.hours) == ("crp", 12.0, "mg/dL", "lab/2", 1.0)
    assert crp.time == micros(START) + 2 * HOUR
    said = value.as_dict()["items"][1]["inputs"][0]
    assert (said["time"], said["state"]) == ("2026-01-05T02:00:00Z", "used")


def test_of_two_values_at_one_instant_the_worst_counts():
    lines = (line("ldh", 600), line("platelets", 40), line("platelets", 80))
    assert told("s-easix", *lines).low == told("s-easix", *reversed(lines)).low == 15


def test_a_default_limit_of_the_laboratory_is_flagged():
    assert "default-limit" in told("isth-dic", "0 h pt 20 s").flags
    assert "default-limit" not in told("isth-dic", "0 h pt 20 s ref ..13").flags


# --- what cannot be read -------------------------------------------------------------------------------


CRP = next(each for each in markers(LIB) if each.id == "crp-after-tocilizumab")


@pytest.mark.parametrize(
    ("hours", "flag"),
    [(-1, None), (0, CRP.id), (CRP.hours - 1, CRP.id), (CRP.hours, f"{CRP.id}-perhaps"),
     (CRP.hours_to - 1, f"{CRP.id}-perhaps"), (CRP.hours_to, None)],
)  # fmt: skip
def test_crp_after_tocilizumab_is_flagged(hours, flag):
    """What counts is when the blood was drawn, not when the score is asked for."""
    lines = (f"{400 + hours} h crp 20 mg/L", "400 h tocilizumab 560 mg", f"{400 + hours} h ldh 300 U/L",
             f"{400 + hours} h platelets 100 10*9/L")  # fmt: skip
    value = told("m-easix", *lines)
    assert [each for each in value.flags if each.startswith("crp-after")] == ([flag] if flag else [])
    assert value.low is not None
    assert any("(memory)" in note for note in value.notes) is (flag is not None)


@pytest.mark.parametrize(("hours", "flagged"), [(0, True), (23.9, True), (24, False)])
def test_platelets_after_a_transfusion_are_flagged(hours, flagged):
    lines = ("0 h transfusion-platelets 250 mL", f"{hours} h platelets 40 10*9/L", f"{hours} h ldh 600 U/L")
    assert ("platelets-after-transfusion" in told("s-easix", *lines).flags) is flagged


def test_white_cells_after_lymphodepletion_are_flagged():
    value = told("sirs", "0 h axicabtagene-ciloleucel", "100 h wbc 0.5 10*9/L")
    assert "wbc-after-lymphodepletion" in value.flags
    assert {"wbc-after-lymphodepletion", "crp-after-tocilizumab"} <= {each.id for each in markers(LIB)}


@pytest.mark.parametrize(
    ("line_", "population", "flag"),
    [
        ("0 h axicabtagene-ciloleucel", "matches", None),
        ("0 h teclistamab", "differs", "outside-population"),
        ("0 h weight 70 kg", "unknown", "population-unknown"),
    ],
)
def test_the_population_stands_beside_the_value(line_, population, flag):
    value = told("easix", line_, line("ldh", 600, 1), line("creatinine", 1.2, 1), line("platelets", 40, 1))
    assert value.population == population
    assert flag is None or flag in value.flags


def test_evidence_source_and_status_stand_beside_every_value():
    facts = patient("0 h temperature 38.5 Cel")
    for name in score_names(LIB):
        (value,) = score(facts, name)
        assert value.evidence
        assert value.source
        assert value.status in ("draft", "memory")
        assert value.status in value.flags
        assert len(value.definition) == 64


# --- the two-step rule of Hay --------------------------------------------------------------------------

WARM = tuple(f"{h} h temperature 37.5 Cel" for h in range(0, 37, 6))
HAY = [
    ((*WARM, "9 h temperature 38.9 Cel"), 40, (1, 2), "stage 1 positive - MCP-1 would complete the rule"),
    ((*WARM, "9 h temperature 38.8 Cel"), 40, (0, 0), "negative: no early fever"),
    ((*WARM, "36 h temperature 38.9 Cel"), 40, (1, 2), "stage 1 positive - MCP-1 would complete the rule"),
    ((*WARM, "36.1 h temperature 39.5 Cel"), 40, (0, 0), "negative: no early fever"),
    ((*WARM, "9 h temperature 39 Cel", "10 h mcp-1 1343.5 pg/mL"), 40, (2, 2), "high risk"),
    ((*WARM, "9 h temperature 39 Cel", "10 h mcp-1 1343.4 pg/mL"), 40, (1, 1), "stage 1 positive, MCP-1"),
    ((*WARM, "9 h temperature 39 Cel", "10 h mcp-1 1000 pg/mL"), 20, (1, 2), "stage 1 positive - MCP-1"),
    ((*WARM, "9 h temperature 37 Cel", "10 h mcp-1 5000 pg/mL"), 40, (0, 0), "negative"),
    ((*WARM[:3],), 20, (0, 2), "stage 1 not settled"),
    ((*WARM[:3],), 40, (0, 2), "stage 1 not settled"),
    ((*WARM, "9 h heart-rate 140 /min"), 40, (0, 0), "negative"),
]


@pytest.mark.parametrize(("lines", "at", "ends", "label"), HAY)
def test_the_rule_of_hay_step_by_step(lines, at, ends, label):
    """No fever is proven only by temperatures through all 36 h; tachycardia is no step."""
    value = told("hay-2017", "0 h axicabtagene-ciloleucel", *lines, at=at)
    assert (value.low, value.high) == ends
    assert str(value.band).startswith(label)


def test_the_rule_of_hay_shows_its_predictive_value_and_the_patent():
    value = told("hay-2017", "0 h axicabtagene-ciloleucel", "9 h temperature 39.5 Cel")
    assert any("62 %" in note and "38 %" in note and "17 %" in note for note in value.notes)
    assert any("2019/0361026" in note for note in value.notes)


def test_the_rule_of_hay_needs_a_dose():
    value = told("hay-2017", "9 h temperature 39.5 Cel")
    assert (value.low, value.high) == (0, 2)
    assert set(value.missing) == {"temperature", "mcp-1"}


# --- when scores were derived --------------------------------------------------------------------------

COURSE = (
    "200 h cyclophosphamide 500 mg", "320 h axicabtagene-ciloleucel",
    *(f"{hour} h {name}" for hour, ldh, platelets in
      ((190, 300, 200), (291, 400, 100), (316, 500, 80), (343, 600, 60), (392, 700, 50))
      for name in (f"ldh {ldh} U/L", f"platelets {platelets} 10*9/L", "creatinine 1 mg/dL")),
)  # fmt: skip


@pytest.mark.parametrize(
    ("window", "number"), [("pre-ld", 1.5), ("day-1", 4), ("day-0", 6.25), ("day+1", 10), ("day+3", 14)]
)
def test_a_window_takes_the_last_values_of_its_span(window, number):
    value = told("easix", *COURSE, window=window)
    assert (value.low, value.window) == (number, window)


def test_the_published_cut_off_is_shown_before_lymphodepletion_only():
    """4.67 was found there; the same number at day +1 says nothing."""
    assert told("easix", *COURSE, window="pre-ld").band == "not above 4.67"
    assert told("easix", *COURSE, window="day+1").band is None
    late = told("easix", *COURSE)
    assert (late.band, late.window) == (None, "day+3")
    assert "outside-window" in told("easix", *COURSE, at=420).flags


def test_before_any_therapy_the_time_is_presumed_and_says_so():
    value = told("easix", line("ldh", 600), line("creatinine", 1.2), line("platelets", 40))
    assert value.window == "pre-ld"
    assert "window-presumed" in value.flags


def test_a_window_that_cannot_be_placed_has_no_value():
    value = told("easix", line("ldh", 600), line("creatinine", 1.2), line("platelets", 40), window="day+1")
    assert (value.low, value.missing[0]) == (None, "therapy")
    without = told("easix", "0 h axicabtagene-ciloleucel", line("ldh", 600), window="pre-ld")
    assert (without.low, without.missing[0]) == (None, "lymphodepletion")
    with pytest.raises(TocsinError, match="did you mean `day"):
        told("easix", line("ldh", 600), window="day+2")


def test_a_value_of_another_day_does_not_enter_a_window():
    lines = ("0 h axicabtagene-ciloleucel", "20 h ldh 600 U/L", "20 h platelets 40 10*9/L")
    assert told("s-easix", *lines, "72 h weight 70 kg", window="day+3").missing == ("ldh", "platelets")
    assert told("s-easix", *lines, window="day+3").flags[0] == "window-not-reached"


def test_the_change_of_the_last_day_is_told_in_doublings():
    lines = (line("ldh", 300), line("platelets", 100), line("ldh", 1200, 24))
    value = told("s-easix", *lines, at=24)
    assert (value.low, value.log2_change, value.log2_change_hours) == (12, 2, 24)
    assert told("s-easix", *lines, at=23).log2_change is None


# --- over time -----------------------------------------------------------------------------------------


def random_record(seed):
    """A few days of a patient, all kinds of rows."""
    rng = random.Random(seed)
    lines = ["30 h axicabtagene-ciloleucel"]
    vitals = {
        "temperature": ("Cel", 35, 41), "heart-rate": ("/min", 30, 150), "respiratory-rate": ("/min", 6, 35),
        "systolic-bp": ("mm[Hg]", 70, 180), "spo2": ("%", 80, 100), "mean-bp": ("mm[Hg]", 50, 100),
        "pao2": ("mm[Hg]", 40, 120), "fio2": ("%", 21, 100), "urine-output": ("mL", 5, 300),
        "gcs": ("{score}", 3, 15), "mcp-1": ("pg/mL", 100, 3000), "norepinephrine": ("ug/kg/min", 0, 0.3),
    }  # fmt: skip
    words = ["oxygen-device room-air", "oxygen-device nasal-cannula", "oxygen-device ventilator", "confusion",
             "organomegaly both", "marrow-hemophagocytosis absent", "consciousness voice", "tocilizumab",
             "transfusion-platelets", "consciousness alert"]  # fmt: skip
    for _ in range(60):
        hour = round(rng.uniform(0, 120), 1)
        kind = rng.choice([*LABS, *vitals, "word", "word"])
        if kind == "word":
            lines.append(f"{hour} h {rng.choice(words)}")
        else:
            unit, low, high = (LABS | vitals)[kind]
            lines.append(f"{hour} h {kind} {round(rng.uniform(low, high), 1)} {unit}")
    return patient(*lines)


@pytest.mark.parametrize("name", score_names(LIB))
@pytest.mark.parametrize("seed", range(3))
def test_spans_say_what_a_score_at_any_moment_says(name, seed):
    """Half-open, without gap; the same answer as asking at that moment alone."""
    facts = random_record(seed)
    spans = over_time(facts.to_pylist(), name, LIB)
    first = min(micros(time) for time in facts["time"].to_pylist())
    assert spans[0][0] == first
    assert [end for _, end, _ in spans] == [*(start for start, _, _ in spans[1:]), None]
    rng = random.Random(seed)
    edges = [start for start, _, _ in spans]
    moments = {*edges, *(edge - 1 for edge in edges[1:])}
    moments |= {first + rng.randrange(200 * HOUR) for _ in range(30)}
    for moment in sorted(rng.sample(sorted(moments), min(60, len(moments)))):
        (alone,) = score(facts, name, moment)
        (then,) = [value for start, end, value in spans if start <= moment and (end is None or moment < end)]
        for part in ("low", "high", "band", "missing", "population", "window"):
            assert getattr(alone, part) == getattr(then, part), (part, moment - first)
        assert alone.flags == then.flags


def test_the_order_of_rows_changes_nothing():
    facts = random_record(7)
    rows = facts.to_pylist()
    for name in score_names(LIB):
        straight = over_time(rows, name, LIB)
        mixed = over_time(random.Random(1).sample(rows, len(rows)), name, LIB)
        assert [(a, b, v.low, v.high, v.flags) for a, b, v in straight] == [
            (a, b, v.low, v.high, v.flags) for a, b, v in mixed
        ]


def test_what_is_recorded_later_is_not_known_yet():
    lines = (line("ldh", 600), line("platelets", 40), "5 h platelets 20 10*9/L recorded 20 h")
    assert told("s-easix", *lines, at=10).low == 15
    assert told("s-easix", *lines, at=21).low == 30
    assert told("s-easix", *lines).low == 30


def test_every_patient_has_one_value():
    import pyarrow as pa

    facts = pa.concat_tables(
        [patient(line("ldh", 600), line("platelets", 40), patient=name) for name in ("b", "a")]
    )
    assert [value.patient for value in score(facts, "s-easix")] == ["a", "b"]
    assert score(facts, "s-easix", START - timedelta(hours=1)) == []


# --- properties ----------------------------------------------------------------------------------------

POINTS = ("car-hematotox", "isth-dic", "hscore", "isth-dic-without-platelets")


@settings(max_examples=30, deadline=None)
@given(bloods(), st.sampled_from(["easix", "s-easix", "m-easix"]))
def test_twice_the_ldh_is_one_doubling(values, name):
    values["platelets"] = max(1.0, values["platelets"])
    once = told(name, *(line(each, number) for each, number in values.items()))
    twice = told(name, *(line(each, number) for each, number in {**values, "ldh": 2 * values["ldh"]}.items()))
    assert twice.log2_low - once.log2_low == pytest.approx(1, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(bloods(), st.sampled_from(POINTS), st.sets(st.sampled_from(sorted(LABS))))
def test_removing_an_input_never_narrows_and_the_value_lies_in_every_range(values, name, gone):
    whole = told(name, "0 h weight 70 kg", *(line(each, number) for each, number in values.items()))
    part = told(
        name, "0 h weight 70 kg", *(line(each, number) for each, number in values.items() if each not in gone)
    )
    assert part.low <= whole.low <= whole.high <= part.high


@settings(max_examples=25, deadline=None)
@given(bloods(), st.sampled_from([*POINTS, "easix", "m-easix", "ms-score"]))
def test_other_units_change_nothing(values, name):
    other = {
        "creatinine": ("umol/L", 1e4 / 113.12), "crp": ("mg/dL", 0.1), "platelets": ("10*3/uL", 1.0),
        "anc": ("/uL", 1000.0), "hemoglobin": ("g/L", 10.0), "fibrinogen": ("mg/dL", 100.0),
        "ferritin": ("ug/L", 1.0), "triglycerides": ("mg/dL", 88.54), "d-dimer-feu": ("ug/mL{FEU}", 0.001),
    }  # fmt: skip
    one = told(name, *(line(each, number) for each, number in values.items()))
    lines = [
        f"0 h {each} {number * other[each][1]!r} {other[each][0]}" if each in other else line(each, number)
        for each, number in values.items()
    ]
    two = told(name, *lines)
    assert two.low == pytest.approx(one.low)
    assert two.high == pytest.approx(one.high)
    assert two.missing == one.missing


