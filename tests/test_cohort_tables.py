"""The tables of a report: who counts, as what, of how many; what is missing is never counted as none."""

from __future__ import annotations

import pyarrow as pa
import pytest

from cohorts import SCALE, cohort, person, ten
from tocsin.cohort.dictionary import ABOUT, dictionary
from tocsin.cohort.tables import definitions, tables
from tocsin.definitions.load import library
from tocsin.definitions.schema import DefinitionError, TocsinError

LIB = library()


def share(found, what, *, group="all", scale=None):
    """The one row of a proportion: n and of."""
    rows = [
        row for row in found["proportions"].to_pylist()
        if (row["what"], row["group"]) == (what, group) and scale in (None, row["scale"])
    ]  # fmt: skip
    assert len(rows) == 1, what
    return rows[0]["n"], rows[0]["of"]


def median(found, what, *, group="all"):
    """The one row of a time."""
    (row,) = (r for r in found["times"].to_pylist() if (r["what"], r["group"]) == (what, group))
    return row


def curve(found, name, *, group="all"):
    """Hours and estimates of one curve."""
    rows = [r for r in found["curves"].to_pylist() if (r["curve"], r["group"]) == (name, group)]
    return {row["hours"]: row["estimate"] for row in rows}


# --- grades ---------------------------------------------------------------------------------------------


def test_every_patient_has_one_highest_grade():
    """Grades 0 to 5 of ten patients add up to ten, and any and 3 or higher are their sums."""
    found = tables(ten(), LIB)
    assert [share(found, f"crs-grade-{k}") for k in range(6)] == [
        (4, 10),
        (3, 10),
        (1, 10),
        (1, 10),
        (1, 10),
        (0, 10),
    ]
    assert share(found, "crs-any") == (6, 10)
    assert share(found, "crs-at-least-2") == (3, 10)
    assert share(found, "crs-at-least-3") == (2, 10)


def test_who_was_never_measured_is_told_apart_from_who_was_well():
    """Both are grade 0; only one of the two is known to be."""
    found = tables(
        cohort(person("well"), person("unknown", unmeasured=336.0, open_hours=336.0, up_to=4)), LIB
    )
    assert share(found, "crs-grade-0") == (2, 2)
    assert share(found, "crs-not-measured") == (1, 2)
    assert share(found, "crs-not-ruled-out") == (1, 2)


@pytest.mark.parametrize(("hours", "n"), [(335.9, 0), (336.0, 1)])
def test_one_measured_hour_is_a_measured_patient(hours, n):
    """Never measured means no hour of all that was graded."""
    found = tables(cohort(person("p", unmeasured=hours, open_hours=336.0, up_to=4)), LIB)
    assert share(found, "crs-not-measured") == (n, 1)


def test_who_could_not_be_graded_is_no_patient_of_grade_0():
    """A scale that graded one of two has one of one, and says whom it left out."""
    found = tables(cohort(person("a", reached={1: 5.0}), person("b", graded=False)), LIB)
    assert share(found, "crs-any") == (1, 1)
    assert share(found, "crs-not-graded") == (1, 2)
    labels = dict(
        zip(found["patient-flow"]["label"].to_pylist(), found["patient-flow"]["n"].to_pylist(), strict=True)
    )
    assert (
        labels["Patients read"],
        labels[f"Not graded under {SCALE}"],
        labels[f"Analysed under {SCALE}"],
    ) == (2, 1, 1)


def test_scales_are_told_apart_in_every_row():
    """One patient, two scales, two answers; ICANS is never called CRS."""
    found = tables(cohort(
        person("p", reached={1: 5.0, 2: 6.0}), person("p", scale="icans-astct-2019", reached={1: 9.0}),
        scales=(SCALE, "icans-astct-2019"),
    ), LIB)  # fmt: skip
    assert share(found, "crs-grade-2", scale=SCALE) == (1, 1)
    assert share(found, "icans-grade-1", scale="icans-astct-2019") == (1, 1)
    assert {row["scale"] for row in found["proportions"].to_pylist() if row["what"].startswith("crs")} == {
        SCALE
    }


# --- what was given -------------------------------------------------------------------------------------


def test_doses_of_tocilizumab_are_counted_by_patient():
    """One had one dose, one had two."""
    found = tables(ten(), LIB)
    assert [share(found, f"tocilizumab{k}")[0] for k in ("", "-1", "-2", "-3")] == [2, 1, 1, 0]


@pytest.mark.parametrize(("doses", "expected"), [(2, (0, 1, 0)), (3, (0, 0, 1)), (4, (0, 0, 1))])
def test_the_last_count_of_doses_is_that_or_more(doses, expected):
    """Three or more is one row."""
    given = [("tocilizumab", "anti-cytokine", 10.0 + k) for k in range(doses)]
    found = tables(cohort(person("p", given=given)), LIB)
    assert tuple(share(found, f"tocilizumab-{k}")[0] for k in (1, 2, 3)) == expected


@pytest.mark.parametrize(("hour", "n"), [(-0.1, 0), (0.0, 1), (0.1, 1)])
def test_what_was_given_before_hour_0_is_no_treatment(hour, n):
    """A steroid an hour before the cells prepares for them."""
    found = tables(cohort(person("p", given=[("dexamethasone", "steroid", hour)])), LIB)
    assert share(found, "steroid") == (n, 1)


def test_a_run_that_reaches_past_hour_0_counts_from_there():
    """Ventilated from the day before: four days of it are after hour 0."""
    found = tables(
        cohort(person("p", given=[("oxygen-device", "oxygen", -24.0, 96.0, None, "ventilator")])), LIB
    )
    assert share(found, "oxygen-ventilator") == (1, 1)
    assert median(found, "days-ventilator")["median"] == 4.0


@pytest.mark.parametrize(
    ("given", "oxygen"),
    [
        (("oxygen-device", "oxygen", 5.0, 9.0, None, "room-air"), 0),
        (("oxygen-flow", "oxygen", 5.0, 9.0, 0.0), 0),
        (("oxygen-flow", "oxygen", 5.0, 9.0, 0.1), 1),
        (("oxygen-device", "oxygen", 5.0, 9.0, None, "simple-mask"), 1),
    ],
)
def test_room_air_is_no_oxygen(given, oxygen):
    """Neither is a flow of 0."""
    assert share(tables(cohort(person("p", given=[given])), LIB), "oxygen") == (oxygen, 1)


def test_two_vasopressors_are_two_drugs_not_two_runs():
    """Two runs of one drug are one drug; a rate of 0 is none."""
    runs = [
        ("norepinephrine", "vasopressor", 5.0, 6.0, 0.1),
        ("norepinephrine", "vasopressor", 9.0, 10.0, 0.1),
    ]
    found = tables(cohort(person("p", given=[*runs, ("epinephrine", "vasopressor", 7.0, 8.0, 0.0)])), LIB)
    assert [share(found, f"vasopressor-different-{k}")[0] for k in (1, 2)] == [1, 0]
    found = tables(cohort(person("p", given=[*runs, ("epinephrine", "vasopressor", 7.0, 8.0, 0.01)])), LIB)
    assert [share(found, f"vasopressor-different-{k}")[0] for k in (1, 2)] == [0, 1]


@pytest.mark.parametrize(("low", "n"), [(99.9, 1), (100.0, 0), (100.1, 0)])
def test_fibrinogen_below_one_gram_a_litre_is_below(low, n):
    """1.0 g/L is 100 mg/dL, the unit it is kept in; of those measured, and who was not stands apart."""
    found = tables(cohort(person("p", markers=[("fibrinogen", 2, low, 300.0, "mg/dL")]), person("q")), LIB)
    assert share(found, "fibrinogen-below-1") == (n, 1)
    assert share(found, "fibrinogen-below-1-not-measured") == (1, 2)


@pytest.mark.parametrize(("high", "n"), [(37.9, 0), (38.0, 1)])
def test_fever_begins_at_38(high, n):
    """The boundary itself counts."""
    found = tables(cohort(person("p", markers=[("temperature", 0, 36.0, high, "Cel")])), LIB)
    assert share(found, "fever") == (n, 1)


def test_what_prevents_is_told_apart_from_what_treats():
    """Tocilizumab an hour after the dose and before any fever is given, and treats nobody."""
    before, after = [("tocilizumab", "anti-cytokine", 1.0)], [("tocilizumab", "anti-cytokine", 20.0)]
    found = tables(
        cohort(
            person("a", given=before),
            person("b", reached={1: 20.0}, given=before),
            person("c", reached={1: 20.0}, given=after),
        ),
        LIB,
    )
    assert share(found, "tocilizumab") == (3, 3)
    assert share(found, "crs-given-tocilizumab") == (1, 2)


# --- when -----------------------------------------------------------------------------------------------


def test_onset_is_of_those_who_had_one_and_resolution_of_all_who_began():
    """Six onsets; of six episodes four were seen to resolve and two only so long followed."""
    found = tables(ten(), LIB)
    onset, duration = median(found, "onset"), median(found, "duration")
    assert (onset["n"], onset["median"], onset["least"], onset["most"], onset["method"]) == (
        6,
        21.5,
        10,
        48,
        "observed",
    )
    assert (duration["n"], duration["events"], duration["method"]) == (6, 4, "kaplan-meier")
    assert duration["median"] == 50.0


def test_death_and_the_end_of_the_record_compete_with_onset():
    """Six of ten had an onset, one died without, three were followed to their end: six tenths, not more."""
    found = tables(ten(), LIB)
    assert curve(found, "onset-any")[336.0] == pytest.approx(0.6)
    assert curve(found, "death")[100.0] == pytest.approx(0.1)
    assert curve(found, "record-over")[336.0] == pytest.approx(0.3)


def test_the_curve_in_which_the_end_of_the_record_censors_stands_beside_it():
    """One of two left at 10 h and one had an onset at 20 h: a half, or all of those still watched."""
    found = tables(
        cohort(
            person("a", ended=10.0), person("b", reached={1: 20.0}, episodes=[(20.0, 30.0, "resolved", 1)])
        ),
        LIB,
    )
    assert curve(found, "onset-any")[20.0] == pytest.approx(0.5)
    assert curve(found, "onset-any-censored")[20.0] == pytest.approx(1.0)


def test_an_onset_at_hour_0_is_an_onset():
    """Who came with a fever had it from the first instant."""
    found = tables(cohort(person("a", reached={1: 0.0}, doses=()), person("b", doses=())), LIB)
    assert curve(found, "onset-any")[0.0] == pytest.approx(0.5)
    assert median(found, "onset")["median"] == 0.0


def test_an_onset_with_death_at_one_instant_is_an_onset():
    found = tables(cohort(person("a", reached={1: 50.0, 5: 50.0}, death=50.0), person("b")), LIB)
    assert curve(found, "onset-any")[50.0] == pytest.approx(0.5)
    assert curve(found, "death")[50.0] == 0.0


def test_what_came_before_hour_0_is_no_episode_of_this_cohort():
    early = person("p", episodes=[(-30.0, -3.0, "resolved", 1), (9.0, 20.0, "resolved", 1)], reached={1: 9.0})
    found = tables(cohort(early), LIB)
    assert median(found, "duration")["n"] == 1
    assert share(found, "crs-recurred") == (0, 1)


@pytest.mark.parametrize(
    ("outcome", "end", "events"),
    [("resolved", 50.0, 1), ("not-observed", 50.0, 0), ("censored", None, 0), ("death", 50.0, 0)],
)
def test_only_what_was_seen_to_resolve_ended(outcome, end, events):
    """A grade that lapsed because nobody measured is not recovery, nor is death."""
    found = tables(cohort(person("p", reached={1: 20.0}, episodes=[(20.0, end, outcome, 1)])), LIB)
    assert median(found, "duration")["events"] == events
    assert share(found, f"crs-first-{outcome}") == (1, 1)


def test_first_episodes_and_every_episode_are_two_rows():
    twice = person("p", reached={1: 10.0}, doses=(0.0, 72.0),
                   episodes=[(10.0, 20.0, "resolved", 1, 1), (80.0, 120.0, "resolved", 1, 2)])  # fmt: skip
    found = tables(cohort(twice, person("q", doses=(0.0,))), LIB)
    assert (median(found, "duration")["n"], median(found, "duration-every-episode")["n"]) == (1, 2)
    assert share(found, "crs-recurred") == (1, 1)
    assert share(found, "crs-after-dose-1") == (1, 2)
    assert share(found, "crs-after-dose-2") == (1, 1)


# --- groups, nobody, one --------------------------------------------------------------------------------


def test_groups_add_up_to_everybody():
    found = tables(
        cohort(
            person("a", group="axi", reached={1: 5.0}),
            person("b", group="tec"),
            person("c", group=None),
            by="therapy",
        ),
        LIB,
    )
    assert found["groups"]["group"].to_pylist() == ["axi", "tec", "unknown", "all"]
    assert [share(found, "crs-any", group=g) for g in ("axi", "tec", "unknown", "all")] == [
        (1, 1),
        (0, 1),
        (0, 1),
        (1, 3),
    ]


def test_a_cohort_of_nobody_is_an_error():
    with pytest.raises(TocsinError, match="nobody in this cohort"):
        tables(cohort(), LIB)


def test_a_row_of_somebody_who_is_not_there_is_an_error():
    """Tables that were not made together would give shares above 1."""
    stranger = cohort(person("q", given=[("dexamethasone", "steroid", 5.0)])).given
    with pytest.raises(TocsinError, match="patient q has rows"):
        tables(cohort(person("p"), given=stranger), LIB)


@pytest.mark.parametrize("reached", [None, {1: 3.0}, {5: 3.0}])
def test_a_cohort_of_one_has_every_table(reached):
    found = tables(cohort(person("p", reached=reached)), LIB)
    assert found["curves"].num_rows
    assert share(found, "crs-any") == (int(bool(reached)), 1)


def test_a_group_without_a_scale_of_its_own_has_no_share():
    """Nobody graded there: no number of nobody."""
    found = tables(cohort(person("a", group="x", graded=False), person("b", group="y"), by="sex"), LIB)
    rows = [r for r in found["proportions"].to_pylist() if (r["what"], r["group"]) == ("crs-any", "x")]
    assert [(r["n"], r["of"], r["share"], r["low"]) for r in rows] == [(0, 0, None, None)]


def test_the_order_of_patients_changes_nothing():
    """The answer is of a set of people."""
    one, other = ten(), ten()
    other = type(other)(
        **{
            name: getattr(other, name).take(
                pa.array(range(getattr(other, name).num_rows - 1, -1, -1), pa.int64())
            )
            if isinstance(getattr(other, name), pa.Table)
            else getattr(other, name)
            for name in other.__dataclass_fields__
        }
    )
    for name, table in tables(one, LIB).items():
        assert table.to_pylist() == tables(other, LIB)[name].to_pylist(), name


# --- what is missing, what is what ----------------------------------------------------------------------


def test_hours_are_certain_open_or_unmeasured_and_add_up():
    found = tables(cohort(person("p", ended=100.0, open_hours=30.0, unmeasured=10.0, up_to=4)), LIB)
    (row,) = found["missing"].to_pylist()
    assert (row["measured"], row["open"], row["unmeasured"], row["hours"]) == (70.0, 20.0, 10.0, 100.0)
    assert (row["share_unmeasured"], row["open_grades"]) == (0.1, 0.6)


def test_what_the_facts_cannot_say_is_listed_not_counted():
    assert tables(ten(), LIB)["not-reported"]["what"].to_pylist() == [
        "icu",
        "discontinuation",
        "premedication",
    ]


def test_a_complication_not_ruled_out_is_no_stage():
    found = tables(
        cohort(person("a", stages=[("aki-kdigo", 2, 3)]), person("b", stages=[("aki-kdigo", 0, 3)])), LIB
    )
    rows = {row["stage"]: (row["n"], row["of"]) for row in found["complications"].to_pylist()}
    assert rows == {None: (1, 2), 2: (1, 2)}


def test_markers_are_each_patients_worst():
    """The highest ferritin of two days; the lowest fibrinogen."""
    days = [("ferritin", 0, 300.0, 500.0, "ug/L"), ("ferritin", 2, 900.0, 4000.0, "ug/L"),
            ("fibrinogen", 1, 120.0, 400.0, "mg/dL"), ("ferritin", -1, 1.0, 99999.0, "ug/L")]  # fmt: skip
    rows = {
        row["measure"]: row for row in tables(cohort(person("p", markers=days)), LIB)["markers"].to_pylist()
    }
    assert (rows["ferritin"]["median"], rows["ferritin"]["worst"]) == (4000.0, "highest")
    assert (rows["fibrinogen"]["median"], rows["fibrinogen"]["worst"]) == (120.0, "lowest")


def test_the_dictionary_says_what_every_column_of_every_table_is():
    found = tables(ten(), LIB)
    told = {(row["table"], row["column"]) for row in dictionary(found).to_pylist()}
    assert told == {(name, column) for name, table in found.items() for column in table.column_names}
    assert set(found) <= set(ABOUT)


def test_the_table_itself_is_a_definition_with_a_hash():
    assert len(definitions(ten(), LIB)["crs-table"]) == 64


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('named  = "tocilizumab"', 'named  = "tocilizumap"', "did you mean"),
        ("below   = 1.0", "", "is the bound"),
        ('kind = "steroid"', 'kind = "steroids"', "did you mean `steroid`"),
        ("high     = 3", "high     = 7", "no grade"),
        ('unit    = "g/L"', 'unit    = "Cel"', "cannot be told"),
        ('id   = "steroid"', 'id   = "oxygen"', "one id twice"),
    ],
)
def test_a_report_that_cannot_be_meant_says_what_to_mend(before, after, said, tmp_path):
    text = LIB.files("reports")["crs-table"].read_text("utf-8")
    assert before in text
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "crs-table.toml").write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(DefinitionError, match=said):
        tables(ten(), library((tmp_path,)))
