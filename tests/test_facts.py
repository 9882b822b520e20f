"""Facts: what is taken from a chart, what is refused and why, and that only the set of rows matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.definitions.load import library
from tocsin.facts import SCHEMA, FactsError, canonical, merge, messages, resolve, write_facts
from tocsin.facts.weights import NEVER, Charted, weights_for

LIB = library()
NAMES = ("patient_id", "time", "measure", "value", "unit", "text")
AT = "2026-01-05T08:00Z"


def chart(*rows, **more):
    """Canonical facts of rows (measure, value, unit, text) of patient `a` at one time, or of whole rows."""
    whole = [
        row if isinstance(row, dict) else dict(zip(NAMES, ("a", AT, *row), strict=False)) for row in rows
    ]
    names = list(dict.fromkeys([*NAMES, *(name for row in whole for name in row)]))
    table = pa.table({name: pa.array([_text(row.get(name)) for row in whole], pa.string()) for name in names})
    return canonical(table, lib=LIB, source="ward.csv", **more)


def _text(value):
    return None if value is None else str(value)


def one(*row, **more):
    """The single fact of a single row that is taken as written."""
    done = chart(row, **more)
    assert done.rejects.num_rows == 0, list(messages(done.rejects))
    (fact,) = done.table.to_pylist()
    return fact


def refused(*row, **more):
    """What is said of a single row, and the facts that are left of it."""
    done = chart(row, **more)
    (reject,) = done.rejects.to_pylist()
    return reject, done.table.to_pylist()


# --- what is taken


@pytest.mark.parametrize(
    ("row", "value", "unit"),
    [
        (("temperature", "100.4", "F"), 38.0, "Cel"),
        (("temperature", "38.04", "Cel"), 38.04, "Cel"),  # stored unrounded
        (("fio2", "0.4", "1"), 40.0, "%"),
        (("fio2", "40", "%"), 40.0, "%"),
        (("creatinine", "113.12", "umol/L"), 1.2796, "mg/dL"),
        (("ice-score", "7", None), 7.0, "{score}"),
        (("mean-bp", "65", "mmHg"), 65.0, "mm[Hg]"),
        (("vasopressin", "2.4", "units/hour"), 0.04, "[IU]/min"),
        (("norepinephrine", "50", "ng/kg/min"), 0.05, "ug/kg/min"),
        (("crp", "12", "MG/L"), 12.0, "mg/L"),  # capitals are a habit, not a megagram
        (("norepinephrine", "0", None), 0.0, "ug/kg/min"),  # stopped, whatever the unit
        (("norepinephrine", "0", "mL/h"), 0.0, "ug/kg/min"),
    ],
)
def test_numbers_come_in_the_unit_of_their_measure(row, value, unit):
    """One unit a measure, so that thresholds can be compared."""
    fact = one(*row)
    assert (fact["value"], fact["unit"]) == (pytest.approx(value, rel=1e-4), unit)


@pytest.mark.parametrize(
    ("text", "word"), [("NC", "nasal-cannula"), ("Nasal_Cannula", "nasal-cannula"), ("cpap", "cpap")]
)
def test_words_come_as_the_definition_spells_them(text, word):
    """A device is the same device in any spelling the definition knows."""
    assert one("oxygen-device", None, None, text)["text"] == word


@pytest.mark.parametrize(
    ("value", "text", "kept"), [("<5", None, "<"), ("5", "<", "<"), ("≥ 5", None, ">"), ("5", "<=", "<")]
)
def test_a_comparator_is_kept_beside_its_number(value, text, kept):
    """`<5` is not 5: everything below it is possible."""
    fact = one("crp", value, "mg/L", text)
    assert (fact["value"], fact["text"]) == (5.0, kept)


def test_the_laboratorys_own_limits_come_in_the_same_unit():
    """A multiple of the upper limit is taken in one unit."""
    row = dict(
        zip(NAMES, ("a", AT, "creatinine", "200", "umol/L"), strict=False), ref_low="60", ref_high="110"
    )
    fact = chart(row).table.to_pylist()[0]
    assert fact["value"] / fact["ref_high"] == pytest.approx(200 / 110)
    assert fact["value"] / fact["ref_low"] == pytest.approx(200 / 60)


def test_nan_is_nothing_and_a_drug_needs_no_dose():
    """A drug says `given` by being there."""
    assert one("tocilizumab", "NaN", None)["value"] is None
    assert one("tocilizumab", None, None)["text"] is None


def test_a_death_without_a_cause_is_of_unknown_cause():
    """It ends the record and gives no grade."""
    assert one("death", None, None)["text"] == "unknown"


def test_a_row_without_a_source_is_named_after_its_place():
    """A grade can be followed back to the line."""
    assert one("crp", "5", "mg/L")["source"] == "ward.csv:1"


def test_canonical_facts_stay_what_they_are():
    """Reading our own output again changes nothing."""
    first = chart(
        ("weight", "80", "kg"),
        ("norepinephrine", "5", "ug/min"),
        ("norepinephrine", "3", "mL/h"),
        ("crp", "?", "mg/L"),
        ("epinephrine", "100", "ug"),
        ("oxygen-device", None, None, "NC"),
        ("tocilizumab", "8", "mg/kg"),
    ).table
    assert canonical(first, lib=LIB).table.equals(first)
    assert merge([first, first], lib=LIB).equals(first)


# --- infusions and weights


def test_a_rate_in_ml_per_hour_runs_at_an_unknown_dose():
    """It counts wherever dose does not matter; leaving it out would hide a vasopressor."""
    reject, (fact,) = refused("norepinephrine", "3", "mL/h")
    assert (fact["value"], fact["text"]) == (None, "running")
    assert reject["kind"] == "kept-as-running"
    assert reject["what"] == "is a rate that cannot become ug/kg/min"
    assert "running" in reject["why"]


def test_a_rate_without_a_weight_runs_at_an_unknown_dose():
    """5 ug/min is a different dose in a child; the weight is not guessed."""
    reject, (fact,) = refused("norepinephrine", "5", "ug/min")
    assert (fact["value"], fact["text"], fact["weight"]) == (None, "running", None)
    assert reject["kind"] == "kept-as-running"
    assert "no weight was charted by then" in reject["what"]
    assert (reject["value"], reject["unit"], reject["row"]) == ("5", "ug/min", 1)


def test_an_infusion_row_with_nothing_runs():
    """Neither value nor text: running, dose unknown; and that needs no message."""
    assert one("norepinephrine", None, None)["text"] == "running"


@pytest.mark.parametrize(("value", "unit"), [("100", "ug"), ("0.1", "mg"), ("1", "ug/kg")])
def test_a_dose_of_an_infusion_drug_is_a_push(value, unit):
    """Push doses are doses, not rates."""
    assert one("phenylephrine", value, unit)["text"] == "push"


def test_an_unknown_or_missing_unit_of_an_infusion_may_be_anything():
    """A dose or a rate, or no drug at all: unknown, not running."""
    for unit in ("drips", None):
        reject, (fact,) = refused("norepinephrine", "5", unit)
        assert fact["text"] == "unusable"
        assert reject["kind"] == "rejected"


def hours(number):
    return (datetime(2026, 1, 5, tzinfo=UTC) + timedelta(hours=number)).isoformat()


def rates(*weights, at=0):
    """The weight a rate at `at` hours is taken with; weights are (hours, kg) or (hours, kg, method)."""
    rows = [
        {"patient_id": "a", "time": hours(each[0]), "measure": "weight", "value": each[1], "unit": "kg",
         "method": each[2] if len(each) > 2 else None} for each in weights
    ]  # fmt: skip
    rows.append(
        {"patient_id": "a", "time": hours(at), "measure": "norepinephrine", "value": "7", "unit": "ug/min"}
    )
    facts = [fact for fact in chart(*rows).table.to_pylist() if fact["measure"] == "norepinephrine"]
    weight = facts[0]["weight"]
    assert facts[0]["value"] == (None if weight is None else pytest.approx(7 / weight))
    return weight


def test_the_first_weight_of_the_stay_serves():
    """Never the swelling patient's latest."""
    assert rates((-48, 70), (-1, 90)) == 70


def test_the_dosing_weight_goes_first():
    """The weight the pump was set to makes the rate."""
    assert rates((-48, 70), (-24, 75, "dosing"), (-12, 76, "dosing"), (-1, 90)) == 76


def test_a_weight_at_the_same_instant_serves_and_a_later_one_does_not():
    """What is written down afterwards cannot have been the pump's weight."""
    assert rates((0, 70)) == 70
    assert rates((0.01, 70)) is None


def test_a_weight_stands_for_its_hold():
    """After 30 days the next one takes over; without one the rate is unknown."""
    assert rates((-720, 70), (-719, 71)) == 71
    assert rates((-720, 70)) is None
    assert rates((-719.9, 70)) == 70


def test_two_weights_at_one_instant_give_the_higher_rate():
    """Ties go to the worse reading, in whatever order the rows stand."""
    assert rates((-1, 80), (-1, 70)) == rates((-1, 70), (-1, 80)) == 70


def test_a_weight_known_later_is_not_used():
    """`as_of` an earlier moment would otherwise know it."""
    late = {
        "patient_id": "a",
        "time": hours(-1),
        "measure": "weight",
        "value": "70",
        "unit": "kg",
        "recorded": hours(2),
    }
    rate = {"patient_id": "a", "measure": "norepinephrine", "value": "7", "unit": "ug/min"}
    facts = chart(late, {**rate, "time": hours(0)}, {**rate, "time": hours(3)}).table.to_pylist()
    assert [fact["weight"] for fact in facts if fact["measure"] == "norepinephrine"] == [None, 70]


def test_a_corrected_weight_serves_until_its_correction_is_known():
    """7 kg that should have been 70 makes no tenfold rate once it is put right."""
    wrong = {
        "patient_id": "a",
        "time": hours(-1),
        "measure": "weight",
        "value": "7",
        "unit": "kg",
        "source": "w1",
    }
    right = {**wrong, "value": "70", "source": "w2", "replaces": "w1", "recorded": hours(1)}
    rate = {"patient_id": "a", "measure": "norepinephrine", "value": "7", "unit": "ug/min", "source": "n"}
    facts = chart(wrong, right, {**rate, "time": hours(0)}, {**rate, "time": hours(2)}).table.to_pylist()
    assert [fact["weight"] for fact in facts if fact["measure"] == "norepinephrine"] == [7, 70]


WEIGHTS = st.tuples(
    st.integers(0, 2),
    st.integers(0, 40),
    st.integers(0, 6),
    st.sampled_from([NEVER, 10, 25]),
    st.integers(50, 54),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(WEIGHTS, max_size=8),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), max_size=5),
    st.booleans(),
)
def test_weights_against_the_sentence(charted, asking, simple):
    """The searches find what the sentence says, looked up row by row."""
    if simple:
        charted = [(p, t, 0, NEVER, kg, dosing) for p, t, _, _, kg, dosing in charted]
    charted = sorted(charted, key=lambda row: (row[0], row[1], row[4]))
    hold = 10

    def said(patient, time):
        able = [
            row for row in charted
            if row[0] == patient and time - hold < row[1] <= time and row[1] + row[2] <= time < row[3]
        ]  # fmt: skip
        dosing = [row for row in able if row[5]]
        if dosing:
            return min(dosing, key=lambda row: (-row[1], row[4]))[4]
        return min(able, key=lambda row: (row[1], row[4]))[4] if able else None

    p, t, late, gone, kg, dosing = (
        np.array(part) for part in (zip(*charted, strict=True) if charted else [[]] * 6)
    )
    table = Charted(
        p.astype(np.int64), t.astype(np.int64), (t + late).astype(np.int64), gone.astype(np.int64),
        kg.astype(float), dosing.astype(bool),
    )  # fmt: skip
    who, when = (np.array([row[part] for row in asking], np.int64) for part in (0, 1))
    found = weights_for(table, who, when, when, hold)
    assert [None if np.isnan(x) else x for x in found] == [said(*row) for row in asking]


# --- what is refused

UNUSABLE = [
    (("temperature", "101.2", None), "has no unit", "101.2 is possible in [degF] and impossible in Cel"),
    (("temperature", "38", "furlong"), "has a unit that is not known", "no size"),
    (("temperature", "38", "mg/dL"), "cannot be read in Cel", "another kind"),
    (("crp", "12", "mmol/L"), "moles meet grams", "another kind"),
    (("temperature", "99", "Cel"), "is impossible: outside 30 to 43 Cel", "slip"),
    (("norepinephrine", "-1", "ug/kg/min"), "is impossible", "slip"),
    (("temperature", "warm", "Cel"), "has no number where one is due", "no size"),
    (("temperature", "38,4", "Cel"), "has no number where one is due", "no size"),
    (("temperature", None, "Cel", "warm"), "has the text `warm` where a number is due", "no size"),
    (("temperature", None, "Cel"), "has neither value nor text", "unknown, not normal"),
    (("temperature", "inf", "Cel"), "is not a finite number", "no size"),
    (("oxygen-device", None, None, "nasal canula"), "did you mean `nasal-cannula`", "nothing charted"),
    (("oxygen-device", "2", None), "has no text", "word"),
]


@pytest.mark.parametrize(("row", "what", "why"), UNUSABLE)
def test_a_reading_that_cannot_be_read_is_unknown_and_not_absent(row, what, why):
    """It is named with what and why, and leaves a row that says `unusable`."""
    reject, (fact,) = refused(*row)
    assert what in reject["what"]
    assert why in reject["why"]
    assert reject["fix"]
    assert (fact["value"], fact["text"]) == (None, "unusable")


def test_the_message_says_where_what_why_and_fix():
    """The form of every message."""
    done = chart(("temperature", "101.2", None))
    assert list(messages(done.rejects)) == [
        "ward.csv, row 1: temperature 101.2 has no unit\n"
        "  why: 101.2 is possible in [degF] and impossible in Cel; a guess would set the grade\n"
        "  fix: add a `unit` column, or pass --unit temperature=[degF]   (accepted: Cel, [degF])"
    ]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"patient_id": ""}, "has no patient_id"),
        ({"time": None}, "has no time"),
        ({"time": "yesterday"}, "has a `time` that is no time"),
        ({"time": "2026-02-31T08:00Z"}, "has a `time` that is no time"),
        ({"time": "2026-01-05T08:00"}, "has a `time` without a time zone"),
        ({"time": "2026-01-05"}, "has a `time` without a time zone"),
        ({"measure": None}, "has no measure"),
        ({"measure": "temprature"}, "is no measure; did you mean `temperature`?"),
    ],
)
def test_a_row_of_nobody_or_no_time_leaves_nothing(change, what):
    """Without patient, time and measure there is nothing to be unknown about."""
    row = dict(zip(NAMES, ("a", AT, "temperature", "38", "Cel"), strict=False)) | change
    done = chart(row)
    assert done.table.num_rows == 0
    assert done.rejects.to_pylist()[0]["what"] == what


@pytest.mark.parametrize(
    ("name", "value"), [("end", "2026-01-05T07:00Z"), ("end", "later"), ("recorded", "2026-01-05T09:00")]
)
def test_a_wrong_end_or_record_makes_a_reading_unusable(name, value):
    """How long it lasted, or when it was known, is not guessed."""
    row = dict(zip(NAMES, ("a", AT, "heart-rate", "80", "/min"), strict=False)) | {name: value}
    done = chart(row)
    assert done.rejects.num_rows == 1
    assert done.table.to_pylist()[0]["text"] == "unusable"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"unit": "tablets"}, "has a unit that is not known"),
        ({"unit": None}, "has no unit"),
        ({"unit": "mm[Hg]"}, "has a dose that cannot become mg"),
        ({"value": "much"}, "has no number"),
        ({"end": "2026-01-04T08:00Z"}, "ends before it begins"),
        ({"unit": "mg/kg"}, "no weight was charted by then"),
    ],
)
def test_a_drug_that_was_given_stays_given(change, what):
    """A dose that cannot be read does not undo the giving."""
    row = dict(zip(NAMES, ("a", AT, "tocilizumab", "400", "mg"), strict=False)) | change
    done = chart(row)
    (reject,) = done.rejects.to_pylist()
    assert what in reject["what"]
    assert reject["kind"] == "kept-as-given"
    (fact,) = done.table.to_pylist()
    assert (fact["measure"], fact["value"], fact["text"], fact["end"]) == ("tocilizumab", None, None, None)


@pytest.mark.parametrize("unit", ["mg", None, "tablets"])
def test_a_dose_of_zero_was_not_given(unit):
    """A row of a drug says given; this one says the opposite."""
    reject, facts = refused("tocilizumab", "0", unit)
    assert reject["what"] == "has a dose of 0"
    assert facts == []


def test_attribution_must_name_a_category():
    """A finding is taken away only by a word that is understood."""
    assert one("attribution", None, None, "hypotension = sepsis")["text"] == "hypotension=sepsis"
    reject, facts = refused("attribution", None, None, "hypotensoin=sepsis")
    assert "did you mean `hypotension`" in reject["what"]
    assert facts == []


def test_one_bad_row_costs_no_other():
    """Every good row is there, whatever stands beside it."""
    bad = [row for row, _, _ in UNUSABLE]
    good = [("heart-rate", str(60 + place), "/min") for place in range(len(bad))]
    rows = [row for pair in zip(good, bad, strict=True) for row in pair]
    values = chart(*rows).table.filter(pa.compute.field("measure") == "heart-rate")["value"].to_pylist()
    assert values == [60.0 + place for place in range(len(bad))]


def test_a_unit_may_be_told_for_a_whole_measure():
    """`--unit temperature=[degF]` fills what is missing and changes nothing else."""
    done = chart(
        ("temperature", "100.4", None), ("temperature", "39", "Cel"), units={"temperature": "[degF]"}
    )
    assert sorted(done.table["value"].to_pylist()) == [38.0, 39.0]
    with pytest.raises(FactsError, match=r"--unit temperature=mg/dL: cannot be read in Cel"):
        chart(("temperature", "38", None), units={"temperature": "mg/dL"})


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["patient", "time", "measure"], r"no column `patient_id`; did you mean `patient`\?"),
        (["patient_id", "time"], "no column `measure`"),
        (["patient_id", "time", "measure", "value", "Value"], "the column `value` is there twice"),
    ],
)
def test_columns_that_are_missing_or_doubled(names, said):
    """The whole input is refused, and by name."""
    table = pa.table([pa.array(["x"])] * len(names), names=names)
    with pytest.raises(FactsError, match=said):
        canonical(table, lib=LIB, source="ward.csv")


# --- only the set of rows matters

MEASURES = [
    ("temperature", ["38.4", "101", "warm", "99", None], ["Cel", "F", None]),
    ("weight", ["70", "80", "154"], ["kg", "lb"]),
    ("norepinephrine", ["0", "5", "0.1", None], ["ug/min", "ug/kg/min", "mL/h", "ug", None]),
    ("crp", ["<5", "12", "nan"], ["mg/L", "mg/dL"]),
    ("tocilizumab", ["400", "8", None], ["mg", "mg/kg"]),
    ("oxygen-device", [None], [None]),
]


@st.composite
def rows(draw):
    """A charted row on a coarse grid, so that ties and duplicates are common."""
    measure, values, units = draw(st.sampled_from(MEASURES))
    hour = draw(st.integers(0, 5))
    return {
        "patient_id": draw(st.sampled_from(["a", "b"])),
        "time": f"2026-01-05T{hour:02}:00Z",
        "measure": measure,
        "value": draw(st.sampled_from(values)),
        "unit": draw(st.sampled_from(units)),
        "text": draw(st.sampled_from(["NC", "HFNC", "ventilator"])) if measure == "oxygen-device" else None,
        "method": draw(st.sampled_from([None, "dosing"])) if measure == "weight" else None,
        "recorded": draw(st.sampled_from([None, "2026-01-05T04:00Z"])),
    }


def facts_of(whole, **more):
    names = ["patient_id", "time", "measure", "value", "unit", "text", "method", "recorded"]
    table = pa.table({name: pa.array([row[name] for row in whole], pa.string()) for name in names})
    return canonical(table, lib=LIB, **more).table


@settings(max_examples=200, deadline=None)
@given(st.lists(rows(), max_size=12), st.randoms(use_true_random=False))
def test_order_and_duplicates_do_not_matter(whole, random):
    """The same set of rows gives the same table; only where a row stood may differ."""
    twice = [*whole, *random.choices(whole, k=3)] if whole else []
    random.shuffle(twice)
    facts = facts_of(whole)
    assert facts_of(twice).drop_columns("source").equals(facts.drop_columns("source"))
    assert canonical(facts, lib=LIB).table.equals(facts)


@settings(max_examples=60, deadline=None)
@given(st.lists(rows(), max_size=8), st.integers(-14, 14))
def test_the_offset_a_time_is_written_with_does_not_matter(whole, offset):
    """10:00Z and 12:00+02:00 are one instant."""

    def moved(row):
        zone = timezone(timedelta(hours=offset))
        return {**row, "time": datetime.fromisoformat(row["time"]).astimezone(zone).isoformat()}

    assert facts_of([moved(row) for row in whole]).equals(facts_of(whole))


def test_clock_times_take_the_zone_they_are_said_to_have():
    """For formats whose times carry none; an hour that came twice is its first."""
    done = chart(("crp", "5", "mg/L"))
    table = pa.table(
        {
            "patient_id": ["a", "a"],
            "time": ["2026-07-01T08:00", "2026-11-01T01:30"],
            "measure": ["chills"] * 2,
        }
    )
    times = canonical(table, lib=LIB, timezone="America/New_York").table["time"].to_pylist()
    assert [time.isoformat() for time in times] == ["2026-07-01T12:00:00+00:00", "2026-11-01T05:30:00+00:00"]
    assert done.table.schema.equals(SCHEMA)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_data_frames_are_taken(kind):
    """Anything Arrow can read is a table."""
    frames = pytest.importorskip(kind)
    columns = {
        "patient_id": ["a"],
        "time": ["2026-01-05T08:00Z"],
        "measure": ["temperature"],
        "value": [38.4],
        "unit": ["Cel"],
    }
    assert canonical(frames.DataFrame(columns), lib=LIB).table["value"].to_pylist() == [38.4]


# --- corrections


def told(source, value, replaces=None, text=None, recorded=None, patient="a"):
    return {
        "patient_id": patient,
        "time": AT,
        "measure": "temperature",
        "value": value,
        "unit": "Cel" if value else None,
        "text": text,
        "source": source,
        "replaces": replaces,
        "recorded": recorded,
    }


def values(table):
    return table["value"].to_pylist()


def test_a_correction_replaces_its_row_once_it_is_known():
    """What was said before stays what was said."""
    table = chart(told("1", "39"), told("2", "38", replaces="1", recorded="2026-01-05T10:00Z")).table
    assert values(resolve(table)) == [38.0]
    assert values(resolve(table, datetime(2026, 1, 5, 9, tzinfo=UTC))) == [39.0]
    assert values(resolve(table, datetime(2026, 1, 5, 7, tzinfo=UTC))) == []


def test_a_withdrawal_takes_its_row_and_itself():
    """Entered in error is not a reading."""
    table = chart(told("1", "39"), told("2", None, replaces="1", text="retracted")).table
    assert resolve(table).num_rows == 0


def test_a_corrected_correction_still_replaced_its_row():
    """The first version does not come back."""
    table = chart(told("1", "39"), told("2", "38", replaces="1"), told("3", "37", replaces="2")).table
    assert values(resolve(table)) == [37.0]


def test_a_correction_reaches_its_own_patient_only():
    """Two files may use one name for two rows."""
    table = chart(
        told("1", "39"), told("1", "38", patient="b"), told("2", "37", replaces="1", patient="b")
    ).table
    assert values(resolve(table)) == [39.0, 37.0]


def test_a_withdrawal_must_say_of_what():
    """Else the row would silently go on counting."""
    done = chart(told("2", None, text="retracted"))
    assert done.rejects.to_pylist()[0]["what"] == "is retracted but does not say which row"
    assert done.table.num_rows == 0


def test_as_of_needs_a_zone():
    """A clock time is a different moment in every zone."""
    with pytest.raises(FactsError, match="no time zone"):
        resolve(chart(("crp", "5", "mg/L")).table, datetime(2026, 1, 5))


# --- writing


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_what_is_written_is_read_again(tmp_path, suffix):
    """The three forms hold the same facts."""
    from tocsin.sources.read import read

    facts = chart(
        ("temperature", "38.4", "Cel"),
        ("oxygen-device", None, None, "NC"),
        ("norepinephrine", "3", "mL/h"),
        ("crp", "<5", "mg/L"),
    ).table
    out = tmp_path / f"facts{suffix}"
    assert write_facts(facts.to_batches(), out) == 4
    assert read(out).equals(facts)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_file_is_whole_or_not_there(tmp_path):
    """Stopped in the middle, the old file is still the old file."""
    out = tmp_path / "facts.parquet"
    out.write_bytes(b"old")

    def stopped():
        yield from chart(("crp", "5", "mg/L")).table.to_batches()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_facts(stopped(), out)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_only_known_endings_are_written(tmp_path):
    """The ending says the format; another would be a guess."""
    with pytest.raises(FactsError, match=r"written as \.parquet, \.csv, \.jsonl"):
        write_facts([], tmp_path / "facts.xlsx")
