"""Pictures of simulated patients: what is drawn, where it stands, and that every word can be read."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tocsin.definitions.load import library
from tocsin.definitions.schema import TocsinError
from tocsin.grading.batch import grade
from tocsin.plots import save
from tocsin.plots.arms import arms
from tocsin.plots.course import PlotError
from tocsin.plots.forest import forest
from tocsin.plots.labels import width
from tocsin.plots.look import THEMES
from tocsin.plots.population import bands
from tocsin.plots.shares import hourly_grades
from tocsin.plots.simulated import virtual_patient
from tocsin.plots.surface import Axis, apart, day_step
from tocsin.simulation.outcomes import COMPARED
from tocsin.simulation.plan import plan_of, solved
from tocsin.simulation.trials import Arm
from virtual import course

LIB = library()
ZERO = datetime(2026, 1, 1, tzinfo=UTC)
#: Words are measured on the widest font of the stack; the narrower ones take about this share of it.
NARROW = 0.86


def spec(chart):
    return chart.to_dict(validate=False)


def layers(page):
    """(mark, rows) of every layer; `lane` layers of stacked views come with their view's name."""
    for view in page.get("vconcat", [page]):
        for layer in view["layer"]:
            data = layer["data"]
            yield layer["mark"], data["values"] if "values" in data else page["datasets"][data["name"]]


def marks(page, kind, **like):
    """Rows of every mark of a kind with these settings."""
    return [
        row
        for mark, rows in layers(page)
        if mark["type"] == kind and all(mark.get(name) == value for name, value in like.items())
        for row in rows
    ]


def words(page):
    return [row["text"] for row in marks(page, "text")]


def boxes(page):
    """(left, right, middle, text, size) of every word on a page of one view; a halo and its word are one."""
    found = set()
    for mark, rows in layers(page):
        if mark["type"] != "text":
            continue
        bold = mark.get("fontWeight") == 600
        for row in rows:
            wide = width(row["text"], mark["fontSize"], bold) * NARROW
            left = row["x"] - {"left": 0.0, "center": wide / 2, "right": wide}[mark["align"]]
            found.add((round(left, 1), round(left + wide, 1), row["y"], row["text"], mark["fontSize"]))
    return sorted(found)


def touching(page):
    """Pairs of words that cover one another."""
    return [
        (a[3], b[3])
        for a, b in combinations(boxes(page), 2)
        if a[0] < b[1] and b[0] < a[1] and abs(a[2] - b[2]) < 0.42 * (a[4] + b[4])
    ]


def assert_readable(page):
    """No word touches another, leaves the page, or is smaller than 11 px."""
    assert touching(page) == []
    assert all(left >= 0 and right <= page["width"] for left, right, *_ in boxes(page))
    assert all(mark["fontSize"] >= 11 for mark, _ in layers(page) if mark["type"] == "text")


# --- places -----------------------------------------------------------------------------------------------


def test_labels_that_want_one_place_are_moved_apart_and_the_others_stay():
    assert apart([50, 50, 120], 14, 0, 200) == [43, 57, 120]


def test_labels_at_an_edge_are_pushed_back_inside():
    found = apart([198, 199, 200], 14, 0, 200)
    assert max(found) <= 200
    assert all(b - a == pytest.approx(14) for a, b in pairwise(sorted(found)))


def test_labels_keep_their_order_also_where_there_is_no_room():
    found = apart([5, 1, 3, 2], 14, 0, 20)
    assert np.argsort(found).tolist() == [1, 3, 2, 0]
    assert min(found) == 0
    assert max(found) == 20


def test_an_axis_keeps_what_lies_outside_at_its_edge():
    axis = Axis(1, 1000, 100, 400, log=True)
    assert [axis(v) for v in (0.01, 10, 1e9)] == pytest.approx([100, 200, 400])


def test_ticks_are_round_and_inside():
    assert Axis(0, 100, 0, 200).ticks(44) == [0, 50, 100]
    assert Axis(0.5, 5000, 0, 400, log=True).ticks(30) == [1, 10, 100, 1000]


@pytest.mark.parametrize("days", [0.5, 3, 21, 90, 365])
def test_ticks_of_days_leave_room_for_their_numbers(days):
    assert 200 / days * day_step(days, 200) >= 34 or day_step(days, 200) == 91


# --- one patient ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one():
    """The illest of some simulated patients, with facts and grades."""
    ((found, facts, _),) = solved(plan_of("axicabtagene-ciloleucel", LIB, days=12), 30, 7, LIB)
    intervals = pa.concat_tables(grade(facts, ["astct-2019"], lib=LIB))
    worst = intervals.sort_by([("grade", "descending")])["patient_id"][0].as_py()
    mine = pc.field("patient_id") == worst
    return found, facts.filter(mine), intervals.filter(mine), int(worst.rpartition("-")[2])


def drawn(one, **more):
    courses, facts, intervals, number = one
    return virtual_patient(courses, facts, intervals, lib=LIB, place_in_courses=number, **more)


@pytest.mark.parametrize("theme", THEMES)
def test_a_patient_s_cytokines_are_named_at_the_line_s_end_and_at_the_peak(one, theme):
    page = spec(drawn(one, theme=theme))
    for name in ("IL-6", "IFN-γ", "IL-10", "TNF", "IL-1β"):
        assert sum(text.startswith(f"{name} ") for text in words(page)) == 1
        assert any(text.startswith(f"peak {name} ") for text in words(page))


def test_cytokines_are_told_apart_without_colour(one):
    page = spec(drawn(one))
    view = next(v for v in page["vconcat"] if v["name"] == "cytokines")
    lines = [
        layer["mark"]
        for layer in view["layer"]
        if layer["mark"]["type"] == "line" and "strokeDash" in layer["mark"]
    ]
    assert len({(tuple(mark["strokeDash"]), mark["strokeWidth"]) for mark in lines}) == 5


def test_names_at_the_end_of_lines_never_touch(one):
    view = next(v for v in spec(drawn(one))["vconcat"] if v["name"] == "cytokines")
    page = spec(drawn(one))
    at = [
        row["y"]
        for layer in view["layer"]
        if layer["mark"]["type"] == "text"
        for row in page["datasets"][layer["data"]["name"]]
        if row.get("px", 0) > 980
    ]
    assert len(at) == 5
    assert all(b - a >= 14.9 for a, b in pairwise(sorted(at)))


def test_the_peak_written_is_the_model_s(one):
    courses, *_, number = one
    from tocsin.plots.look import number as said
    from tocsin.simulation.equations import State

    assert f"peak IL-6 {said(courses.states[number, :, State.il_6].max())}" in words(spec(drawn(one)))


def test_a_drug_never_given_has_no_level(one):
    told = words(spec(drawn(one)))
    assert "CAR T cells" in told
    assert "Siltuximab" not in told
    assert "Engager in plasma" not in told


def test_an_engager_s_level_is_shown_in_a_unit_that_can_be_read():
    found, facts, _ = next(solved(plan_of("blinatumomab", LIB, days=4), 1, 3, LIB))
    intervals = pa.concat_tables(grade(facts, ["astct-2019"], lib=LIB))
    told = words(spec(virtual_patient(found, facts, intervals, lib=LIB)))
    assert "Engager in plasma" in told
    assert any(text.startswith("peak ") and text.endswith(("ng/L", "µg/L")) for text in told)


def test_no_word_on_a_patient_s_picture_is_small(one):
    assert min(m["fontSize"] for m, _ in layers(spec(drawn(one))) if m["type"] == "text") >= 11


def test_a_patient_who_is_not_there_is_refused(one):
    courses, facts, intervals, _ = one
    with pytest.raises(PlotError, match="the courses hold 30 patients"):
        virtual_patient(courses, facts, intervals, lib=LIB, place_in_courses=30)
    with pytest.raises(TocsinError, match="not graded under"):
        virtual_patient(courses, facts, intervals, lib=LIB, scale="lee-2014")


def test_a_patient_s_picture_is_as_wide_as_asked(one, tmp_path):
    path = save(drawn(one, title="Axicabtagene ciloleucel"), tmp_path / "one.png")
    assert struct.unpack(">I", path.read_bytes()[16:20])[0] == 1280


# --- many patients ----------------------------------------------------------------------------------------


def grades_of(*worst, hours=48):
    """Patients who stand at their highest grade from hour 12 to hour 24."""
    found = np.zeros((len(worst), hours + 1), dtype=np.int64)
    found[:, 12:24] = np.array(worst)[:, None]
    return found


def intervals_of(*rows):
    """Grade intervals from (patient, first hour, last hour or None, grade)."""
    return pa.table(
        {
            "patient_id": [row[0] for row in rows],
            "scale": ["astct-2019"] * len(rows),
            "start": pa.array([ZERO + timedelta(hours=row[1]) for row in rows], pa.timestamp("us", "UTC")),
            "end": pa.array(
                [None if row[2] is None else ZERO + timedelta(hours=row[2]) for row in rows],
                pa.timestamp("us", "UTC"),
            ),
            "grade": [row[3] for row in rows],
        }
    )


def test_a_grade_holds_from_its_start_to_just_before_its_end():
    found = hourly_grades(
        intervals_of(("a", 2, 5, 3), ("b", -4, 1, 1), ("b", 1, None, 2)), ["b", "a"], ZERO, 6
    )
    assert found.tolist() == [[1, 2, 2, 2, 2, 2, 2], [0, 0, 3, 3, 3, 0, 0]]


def test_grades_of_two_scales_are_not_mixed():
    mixed = intervals_of(("a", 2, 5, 3), ("a", 2, 5, 1)).set_column(
        1, "scale", pa.array(["astct-2019", "lee-2014"])
    )
    with pytest.raises(PlotError, match="grades of 2 scales"):
        hourly_grades(mixed, ["a"], ZERO, 6)


@pytest.mark.parametrize("theme", THEMES)
def test_columns_stand_for_the_highest_grade_with_how_many_reached_it(theme):
    courses = [course(patients=12), course(patients=8)]
    page = spec(
        bands(
            courses, grades_of(*[0] * 9, *[2] * 9, 4, 4), title="Teclistamab", scale="ASTCT 2019", theme=theme
        )
    )
    assert {"9 (45 %)", "2 (10 %), each drawn"} <= set(words(page))
    assert "Teclistamab" in words(page)
    assert_readable(page)


def test_shares_of_patients_fill_the_whole_at_every_hour():
    page = spec(bands([course(patients=20)], grades_of(*[0] * 5, *[1] * 9, *[3] * 6)))
    heights = {}
    for row in [
        row for mark, rows in layers(page) if mark["type"] == "area" and mark["opacity"] == 1 for row in rows
    ]:
        heights[row["x"]] = heights.get(row["x"], 0.0) + row["y2"] - row["y"]
    assert len(heights) == 49
    assert np.allclose([*heights.values()], 94.0)


def test_arms_are_columns_in_the_order_named():
    page = spec(bands([course(patients=20)], grades_of(*[1] * 20), arms=["step-up"] * 12 + ["flat"] * 8))
    told = words(page)
    assert told.index("step-up") < told.index("flat")
    assert "8 patients" in told
    assert_readable(page)


def test_without_grades_everybody_stands_in_one_column_and_no_grade_is_claimed():
    page = spec(bands([course(patients=9)]))
    assert {"All patients", "9 virtual patients"} <= set(words(page))
    assert not any("grade" in text for text in words(page))


def test_fewer_than_eight_patients_are_drawn_one_by_one():
    page = spec(bands([course(patients=5)]))
    groups = {row["group"] for row in marks(page, "line", strokeWidth=1)}
    assert groups == {"0", "1", "2", "3", "4"}
    assert not marks(page, "area", opacity=0.17)


def test_a_band_holds_what_was_measured_and_skips_who_was_not():
    """Temperature from 36 to 38 among those measured; the unmeasured must not pull the band to nothing."""
    seen = course(patients=11)
    seen.chart[:, :, 0] = np.linspace(36.0, 38.0, 11)[:, None]
    seen.chart[3, :, 0] = np.nan
    page = spec(bands([seen]))
    assert "37.1" in words(page)


@pytest.mark.parametrize(
    ("courses", "more", "why"),
    [
        ([], {}, "no courses"),
        ([course(hours=24), course(hours=48)], {}, "courses of 25, 49 hours"),
        ([course(patients=2)], {"grades": grades_of(1)}, "one grade for each patient"),
        ([course(patients=2)], {"arms": ["a"]}, "1 arms for 2 patients"),
    ],
)
def test_what_does_not_belong_together_is_refused(courses, more, why):
    with pytest.raises(PlotError, match=why):
        bands(courses, **more)


# --- trials -----------------------------------------------------------------------------------------------


def target(
    says="any CRS",
    unit="%",
    published=80.0,
    simulated=78.0,
    low=70.0,
    high=88.0,
    *,
    trial="eliana",
    role="fit",
    hit=True,
    status="checked",
    interval=(None, None),
):
    return {
        "trial": trial,
        "target": says,
        "says": says,
        "unit": unit,
        "role": role,
        "n": 68,
        "published": published,
        "published_low": interval[0],
        "published_high": interval[1],
        "simulated": simulated,
        "low": low,
        "high": high,
        "p": None if simulated is None else 0.4 if hit else 0.004,
        "hit": hit,
        "status": status,
    }


def compared(*rows):
    return pa.Table.from_pylist([*rows], schema=COMPARED)


MANY = compared(
    target(),
    target("onset, median", "d", 3.0, 2.8, 2.0, 4.1, interval=(2.0, 5.0)),
    target("duration, median", "d", 8.0, 4.0, 3.1, 5.0, hit=False),
    target("peak of il-6", "pg/mL", 301.0, 280.0, 40.0, 900.0),
    target("hour of fever", "h", 3.0, 3.4, 2.0, 6.0, trial="tgn1412", role="hold-out"),
    target("grade 3 or higher", "%", 13.0, 2.0, 0.0, 8.0, trial="zuma-1", role="hold-out", hit=False),
    target("any CRS", trial="juliet", role="guide", status="memory"),
)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("table", [MANY, MANY.slice(0, 4), MANY.slice(4, 1), MANY.slice(6, 1)])
def test_a_comparison_can_be_read(table, theme):
    assert_readable(spec(forest(table, title="Published beside simulated", theme=theme)))


def test_a_miss_differs_from_a_hit_in_shape_and_not_in_colour_alone():
    hit, miss = (spec(forest(compared(target(hit=kind)))) for kind in (True, False))

    def signs(page):
        edge = page["width"] - 74
        return {
            m["shape"]
            for m, rows in layers(page)
            if m["type"] == "point" and any(r["x"] > edge for r in rows)
        }

    assert signs(hit) == {"circle"}
    assert signs(miss) != signs(hit)
    look = THEMES["light"]
    assert len(marks(miss, "rect", color=look.panel)) > len(marks(hit, "rect", color=look.panel))


def test_held_out_targets_stand_apart_and_each_part_counts_its_own():
    told = words(spec(forest(MANY)))
    assert "Fitted" in told
    assert "Held out: no parameter was moved for these" in told
    assert "3 of 4 inside the 95 % of simulated trials" in told
    assert "1 of 2 inside the 95 % of simulated trials" in told


def test_what_rests_on_memory_is_shown_and_not_judged():
    told = words(spec(forest(compared(target(role="hold-out", status="memory", hit=False)))))
    assert "memory" in told
    assert not any("inside the 95 %" in text and text[0].isdigit() for text in told)


def test_percent_days_and_levels_each_have_an_axis():
    told = words(spec(forest(MANY.slice(0, 4))))
    assert {"patients, %", "days", "levels, × published"} <= set(told)


def test_hours_alone_are_drawn_in_hours():
    told = words(spec(forest(MANY.slice(4, 1))))
    assert "hours" in told
    assert "days" not in told


def test_the_published_diamond_lies_on_its_value():
    page = spec(forest(compared(target(published=50.0, low=0.0, high=100.0, simulated=50.0))))
    ((left, right),) = {(r["x"], r["x2"]) for r in marks(page, "rect", cornerRadius=3) if "target" in r}
    (at,) = {
        r["x"]
        for m, rows in layers(page)
        if m["type"] == "point" and m.get("shape") == "diamond"
        for r in rows
        if "target" in r
    }
    assert at == pytest.approx((left + right) / 2)


def test_a_level_far_off_is_drawn_at_the_edge_with_an_arrow():
    page = spec(forest(compared(target("peak of il-6", "pg/mL", 10.0, 900.0, 300.0, 2000.0, hit=False))))
    assert marks(page, "point", shape="triangle-right")


def test_a_target_nobody_was_eligible_for_says_so():
    page = spec(forest(compared(target(simulated=None, low=None, high=None, hit=False))))
    assert "nobody" in words(page)


def test_a_published_nothing_is_written_without_a_ratio():
    page = spec(forest(compared(target("AUROC gained", "1", 0.0, 0.25, -0.3, 0.8, role="hold-out"))))
    assert "0.25 (−0.3 to 0.8)" in words(page)
    assert "levels, × published" not in words(page)


def test_a_trial_is_called_by_its_title_where_there_are_several():
    told = words(spec(forest(MANY, titles={"zuma-1": "ZUMA-1, label"})))
    assert "ZUMA-1, label" in told
    assert "tgn1412" in told


def test_a_table_that_is_no_comparison_is_refused():
    with pytest.raises(PlotError, match="no column published_low"):
        forest(MANY.drop_columns(["published_low"]))
    with pytest.raises(PlotError, match="no target"):
        forest(MANY.slice(0, 0))


# --- arms -------------------------------------------------------------------------------------------------


def arm(name, *worst, il_6=100.0, given=1.0):
    n = len(worst)
    columns = {
        "grade": np.array(worst, dtype=float),
        "tocilizumab": np.full(n, given),
        "peak il-6": np.full(n, il_6),
        "peak ifn-gamma": np.full(n, 400.0),
    }
    return Arm(name, columns, np.zeros(n, dtype=np.int64))


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_arms_side_by_side_can_be_read(count, theme):
    some = [
        arm(f"tocilizumab at grade {k}", *[0] * 10, *[1] * 20, *[2] * (5 + k), *[3] * 3, *[4] * k)
        for k in range(count)
    ]
    page = spec(arms(some, title="When tocilizumab is given", scale="ASTCT 2019", theme=theme))
    assert_readable(page)
    told = " ".join(row["text"] for row in marks(page, "text", fontSize=13) if row["x"] == 16)
    assert all(one.name in told for one in some)


def test_an_arm_s_share_lies_inside_its_interval():
    page = spec(arms([arm("usual", *[0] * 30, *[1] * 50, *[2] * 20)]))
    assert "70" in words(page)
    assert "(60–78)" in words(page)  # Wilson, 70 of 100


def test_other_arms_are_compared_with_the_first():
    one, two = (spec(arms([arm("a", 0, 1, 2, 3), arm("b", 1, 1)][:k])) for k in (1, 2))
    assert not marks(one, "rule", strokeDash=[2, 3])
    assert len(marks(two, "rule", strokeDash=[2, 3])) == 4


def test_an_arm_in_which_no_blood_was_drawn_says_so():
    page = spec(arms([arm("a", 0, 1), arm("b", 0, 1, il_6=np.nan)]))
    assert "no blood drawn" in words(page)


def test_an_arm_without_patients_is_refused():
    with pytest.raises(PlotError, match="no patients to compare"):
        arms([])
    with pytest.raises(PlotError, match="no patients to compare"):
        arms([arm("empty")])


@pytest.mark.parametrize("name", ["bands", "forest", "arms"])
def test_a_picture_is_as_wide_as_asked(name, tmp_path):
    chart = {
        "bands": lambda: bands([course(patients=9)], width=1000), "forest": lambda: forest(MANY, width=1000),
        "arms": lambda: arms([arm("a", 0, 1)], width=1000),
    }[name]()  # fmt: skip
    path = save(chart, tmp_path / f"{name}.png")
    assert struct.unpack(">I", path.read_bytes()[16:20])[0] == 1000
