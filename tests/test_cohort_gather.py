"""A cohort is gathered in one pass; every number is what a slow reading of the same chart says."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import tocsin
from tocsin.cohort import records
from tocsin.cohort.gather import gather
from tocsin.cohort.tables import tables
from tocsin.definitions.load import library
from tocsin.definitions.schema import TocsinError
from tocsin.sources.read import open_source
from tocsin.testing import patient

HOUR = timedelta(hours=1)
SCALES = ("astct-2019", "icans-astct-2019")


def joined(*patients: pa.Table) -> pa.Table:
    return pa.concat_tables(patients)


def named(name: str, *lines: str) -> pa.Table:
    table = patient(*lines)
    return table.set_column(
        table.column_names.index("patient_id"),
        table.schema.field("patient_id"),
        pa.array([name] * len(table)),
    )


def one(table: pa.Table, **wanted: Any) -> dict[str, Any]:
    (row,) = [row for row in table.to_pylist() if all(row[key] == value for key, value in wanted.items())]
    return row


ILL = (
    "-2 h age 17.9 a", "-2 h sex female", "0 h teclistamab", "20 h temperature 39.0 Cel",
    "20 h systolic-bp 120 mm[Hg]", "30 h temperature 38.5 Cel", "30 h oxygen-device nasal-cannula",
    "30 h oxygen-flow 2 L/min", "30 h spo2 93 %", "34 h oxygen-device nasal-cannula",
    "38 h oxygen-device room-air", "31 h tocilizumab 480 mg", "31 h norepinephrine 0.05 ug/kg/min",
    "33 h norepinephrine 0.08 ug/kg/min", "36 h norepinephrine 0 ug/kg/min", "72 h teclistamab",
    "80 h temperature 36.8 Cel", "80 h systolic-bp 120 mm[Hg]",
)  # fmt: skip


# --- one patient -----------------------------------------------------------------------------------------
def test_hour_0_is_the_first_dose_and_the_record_ends_with_its_last_fact() -> None:
    who = gather(named("a", *ILL), by="therapy").people.to_pylist()[0]
    assert (who["zero_is"], who["therapy"], who["group"]) == ("first-dose", "teclistamab", "teclistamab")
    assert who["zero"] - who["first"] == 2 * HOUR
    assert who["ended"] == who["last"] == who["zero"] + 80 * HOUR
    assert [(at - who["zero"]) / HOUR for at in who["doses"]] == [0.0, 72.0]
    assert (who["age"], who["sex"], who["death"]) == (17.9, "female", None)


def test_without_a_therapy_hour_0_is_the_first_fact() -> None:
    who = gather(
        named("a", "5 h temperature 37 Cel", "7 h temperature 37 Cel"), by="therapy"
    ).people.to_pylist()[0]
    assert (who["zero_is"], who["zero"], who["group"]) == ("first-fact", who["first"], "none charted")
    assert who["doses"] == []


def test_a_therapy_that_was_not_given_is_no_dose() -> None:
    who = gather(named("a", "0 h teclistamab absent", "7 h temperature 37 Cel")).people.to_pylist()[0]
    assert (who["therapy"], who["zero_is"]) == (None, "first-fact")


@pytest.mark.parametrize(
    ("age", "group"),
    [("17.99 a", "under 18"), ("18 a", "18 to 64"), ("64.99 a", "18 to 64"), ("65 a", "65 and over")],
)
def test_age_groups_end_where_they_say(age: str, group: str) -> None:
    found = gather(named("a", f"0 h age {age}", "1 h temperature 37 Cel"), by="age-group")
    assert found.people["group"].to_pylist() == [group]


def test_a_death_ends_follow_up_and_what_is_charted_after_it_does_not_count() -> None:
    found = gather(
        named("a", "0 h teclistamab", "20 h temperature 39 Cel", "40 h death crs", "50 h tocilizumab 480 mg")
    )
    who = found.people.to_pylist()[0]
    assert (who["death"], who["ended"], who["cause_of_death"]) == (who["zero"] + 40 * HOUR,) * 2 + ("crs",)
    assert found.given["measure"].to_pylist() == ["teclistamab"]
    assert found.courses["max_grade"].to_pylist() == [5]
    assert one(found.days, day=2)["grade"] == records.DEAD


def test_runs_of_infusions_and_devices_are_one_row_each() -> None:
    found = gather(named("a", *ILL))
    zero = found.people["zero"][0].as_py()
    run = one(found.given, measure="norepinephrine")
    assert ((run["time"] - zero) / HOUR, (run["end"] - zero) / HOUR) == (31, 36)
    assert (run["value"], run["unit"], run["rows"], run["kind"]) == (0.08, "ug/kg/min", 2, "vasopressor")
    device = one(found.given, measure="oxygen-device")
    assert ((device["time"] - zero) / HOUR, (device["end"] - zero) / HOUR) == (30, 38)
    assert (device["text"], device["rows"]) == ("nasal-cannula", 2)
    assert one(found.given, measure="tocilizumab")["value"] == 480


def test_an_infusion_that_stops_and_starts_is_two_runs() -> None:
    lines = (
        "0 h norepinephrine 0.1 ug/kg/min",
        "2 h norepinephrine 0 ug/kg/min",
        "3 h norepinephrine 0.2 ug/kg/min",
        "4 h norepinephrine 0 ug/kg/min",
        "9 h temperature 37 Cel",
    )
    found = gather(named("a", *lines)).given
    assert [row["value"] for row in found.to_pylist()] == [0.1, 0.2]


def test_nobody_measuring_is_counted_in_hours_and_not_as_health() -> None:
    lines = ("0 h teclistamab", "1 h temperature 37 Cel", "1 h systolic-bp 120 mm[Hg]", "1 h spo2 97 %",
             "49 h temperature 37 Cel")  # fmt: skip
    course = gather(named("a", *lines)).courses.to_pylist()[0]
    assert course["hours"] == 49
    # one hour before the first reading, and from the end of its 8 h to the next
    assert course["hours_unmeasured"] == 1 + 49 - 9
    assert course["hours_open"] >= course["hours_unmeasured"]
    assert course["open_grade_hours"] == 4 * course["hours_open"]


# --- a charted grade beside ours -------------------------------------------------------------------------
def charted(hour: int, grade: int, method: str | None) -> pa.Table:
    table = named("a", f"{hour} h charted-grade {grade} {{score}}")
    return table.set_column(table.column_names.index("method"), "method", pa.array([method], pa.string()))


def test_a_charted_grade_stands_beside_the_scale_it_names() -> None:
    ill = named("a", *ILL)
    found = gather(
        joined(ill, charted(21, 2, "icans-astct-2019"), charted(22, 1, None), charted(23, 3, "nci")), SCALES
    )
    rows = [(row["charted"], row["scale"], row["ours"], row["grade"]) for row in found.charted.to_pylist()]
    assert rows == [
        (2, "icans-astct-2019", "icans-astct-2019", 0),
        (1, None, "astct-2019", 1),
        (3, "nci", None, None),
    ]


def test_a_charted_grade_changes_no_grade() -> None:
    ill = named("a", *ILL)
    plain = gather(ill, SCALES)
    with_word = gather(joined(ill, charted(21, 4, None)), SCALES)
    assert with_word.courses.drop(["hours"]).equals(plain.courses.drop(["hours"]))


# --- many ------------------------------------------------------------------------------------------------
def test_order_of_rows_and_batches_do_not_matter() -> None:
    people = [named(f"p{k}", *ILL) for k in range(7)]
    whole = joined(*people)
    rows = list(range(len(whole)))
    random.Random(4).shuffle(rows)
    first = gather(whole, SCALES, by="sex")
    for other in (gather(whole.take(rows), SCALES, by="sex"), gather(iter(people), SCALES, by="sex")):
        for name in records.SCHEMAS:
            assert getattr(other, name).equals(getattr(first, name)), name


def test_a_patient_that_comes_back_in_a_later_batch_is_refused() -> None:
    with pytest.raises(TocsinError, match="patient a comes back"):
        gather(iter([named("a", *ILL), named("b", *ILL), named("a", *ILL)]))


def test_no_facts_make_an_empty_cohort_of_the_right_shape() -> None:
    found = gather(named("a", *ILL).slice(0, 0))
    for name, schema in records.SCHEMAS.items():
        assert getattr(found, name).schema == schema
        assert not getattr(found, name).num_rows


def test_an_unknown_way_of_telling_apart_is_refused_with_the_near_miss() -> None:
    with pytest.raises(TocsinError, match=r"`therapies`.*did you mean `therapy`"):
        gather(named("a", *ILL), by="therapies")


def test_groups_of_ones_own_are_taken_by_patient_and_who_has_none_is_unknown() -> None:
    found = gather(joined(named("a", *ILL), named("b", *ILL)), groups={"a": "arm 1"})
    assert found.people["group"].to_pylist() == ["arm 1", "unknown"]


def test_single_spans_are_kept_of_so_many_and_the_same_ones_whatever_the_batches() -> None:
    people = [named(f"p{k:02}", *ILL) for k in range(12)]
    whole, parts = gather(joined(*people), drawn=5), gather(iter(people), drawn=5)
    assert len(set(whole.spans["patient_id"].to_pylist())) == 5
    assert whole.spans.equals(parts.spans)
    assert whole.markers.equals(parts.markers)
    assert whole.people.num_rows == 12


def test_a_data_cut_leaves_out_what_comes_after() -> None:
    ill = named("a", *ILL)
    zero = gather(ill).people["zero"][0].as_py()
    cut = gather(ill, until=zero + 25 * HOUR)
    assert cut.people["ended"].to_pylist() == [zero + 20 * HOUR]
    assert cut.given["measure"].to_pylist() == ["teclistamab"]
    assert cut.made.until == zero + 25 * HOUR


# --- against a slow reading ------------------------------------------------------------------------------
def slowly(intervals: pa.Table, who: dict[str, Any]) -> dict[str, Any]:
    """The course of one patient and scale, row by row."""
    out: dict[str, Any] = {
        "max_grade": 0,
        "max_up_to": 0,
        "hours": 0.0,
        "hours_open": 0.0,
        "hours_unmeasured": 0.0,
    }
    firsts: dict[int, datetime] = {}
    for row in intervals.to_pylist():
        far = datetime.max.replace(tzinfo=UTC)
        start, end = max(row["start"], who["zero"]), row["end"] or far
        if end <= who["zero"] or row["start"] > who["ended"]:
            continue
        out["max_grade"] = max(out["max_grade"], row["grade"])
        out["max_up_to"] = max(out["max_up_to"], row["up_to"])
        for k in range(1, row["grade"] + 1):
            firsts.setdefault(k, start)
        hours = max((min(end, who["ended"]) - start) / HOUR, 0.0)
        out["hours"] += hours
        out["hours_open"] += hours * (row["up_to"] > row["grade"])
        out["hours_unmeasured"] += hours * (
            row["grade"] == 0 and row["up_to"] > 0 and bool(row["waiting_for"])
        )
    return out | {f"first_{k}": firsts.get(k) for k in range(1, 6)}


def check_against(facts: pa.Table, scales: tuple[str, ...]) -> None:
    found = gather(facts, scales, organs=False)
    graded = tocsin.grade(facts, scales)
    who = {row["patient_id"]: row for row in found.people.to_pylist()}
    courses = {(row["patient_id"], row["scale"]): row for row in found.courses.to_pylist()}
    assert found.people["facts"].to_pylist()
    for name, person in who.items():
        for scale in scales:
            rows = graded.filter(
                pc.and_(pc.equal(graded["patient_id"], name), pc.equal(graded["scale"], scale))
            )
            slow = slowly(rows, person)
            quick = courses[name, scale]
            for key, value in slow.items():
                assert quick[key] == (pytest.approx(value) if isinstance(value, float) else value), (
                    name,
                    scale,
                    key,
                )
    # who leaves each day is who arrives the next
    arrived: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
    left: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
    for row in found.days.to_pylist():
        left[row["scale"], row["day"]][row["grade"]] += row["patients"]
        arrived[row["scale"], row["day"] + 1][row["next"]] += row["patients"]
    for (scale, day), counts in left.items():
        assert sum(counts.values()) == len(who)
        assert day == 0 or counts == arrived[scale, day]


def test_real_patients_have_the_courses_that_a_slow_reading_finds(shared: Path) -> None:
    check_against(open_source([shared / "data" / "mimic-iv-demo-meds"]).table(), ("astct-2019", "lee-2014"))


def test_simulated_patients_have_the_courses_that_a_slow_reading_finds() -> None:
    facts = tocsin.simulate("axicabtagene-ciloleucel", patients=12, seed=5)
    check_against(facts, SCALES)


def test_a_grade_charted_when_nothing_stands_any_more_is_counted_and_not_compared() -> None:
    """A note of day 33 on a patient last measured on day 1 has nothing beside it."""
    found = gather(
        joined(
            named("a", "0 h teclistamab", "20 h temperature 39.0 Cel"),
            charted(20, 1, None),
            charted(800, 0, None),
        )
    )
    assert found.charted["grade"].to_pylist() == [1, None]
    made = tables(found, library())
    assert [(row["row"], row["column"], row["patients"]) for row in made["confusion"].to_pylist()] == [
        (1, 1, 1)
    ]
    told = {row["what"]: row["says"] for row in made["not-reported"].to_pylist()}
    assert told["charted-unbeside"].startswith("Charted grades that are not compared: 1;")


def test_scores_are_those_of_hour_0_and_one_that_lacks_an_input_is_a_range() -> None:
    """What is measured after the dose, or never, is no baseline."""
    lines = ("-5 h ldh 600 U/L", "-5 h creatinine 1.2 mg/dL", "-5 h platelets 40 10*3/uL", "0 h teclistamab",
             "2 h platelets 10 10*3/uL")  # fmt: skip
    found = gather(joined(named("a", *lines), named("b", "0 h teclistamab", "0 h temperature 37 Cel")))
    easix = {row["patient_id"]: row for row in found.scores.to_pylist() if row["score"] == "easix"}
    # EASIX is LDH times creatinine over platelets
    assert (easix["a"]["low"], easix["a"]["high"], easix["a"]["missing"]) == (18.0, 18.0, [])
    assert easix["b"]["low"] is None
    (row,) = [row for row in tables(found, library())["scores"].to_pylist() if row["score"] == "easix"]
    assert (row["patients"], row["n"], row["median"], row["incomplete"], row["none"]) == (2, 1, 18.0, 0, 1)
    (range_,) = [row for row in tables(found, library())["scores"].to_pylist() if row["score"] == "sirs"]
    assert range_["incomplete"] == 2
    assert range_["median"] is None
