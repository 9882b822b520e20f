"""Pictures of a cohort: their numbers are the table's, every word can be read, colour never stands alone."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from test_plots_simulated import assert_readable, layers, marks, spec, words
from tocsin.plots import save
from tocsin.plots.cohort_bars import hours_measured, maximum_grades, onset_histogram
from tocsin.plots.cohort_confusion import confusion
from tocsin.plots.cohort_curves import cumulative_incidence, duration
from tocsin.plots.cohort_flow import daily_flow, patient_flow, scale_flow
from tocsin.plots.cohort_heat import patient_hours
from tocsin.plots.cohort_lanes import swimlane
from tocsin.plots.cohort_markers import markers_by_grade
from tocsin.plots.cohort_page import beside
from tocsin.plots.course import PlotError
from tocsin.plots.look import SHAPES, THEMES

ZERO = datetime(2026, 1, 1, tzinfo=UTC)
NOTE = "n = 40. Graded under ASTCT 2019. Data cut 2026-01-29. " + "Censored where the record ends. " * 8
GROUPS = ("all", "axi-cel", "a group with quite a long name of many words", "d", "e", "f")


def at(hours):
    return ZERO + timedelta(hours=hours)


def tips(page, *fields):
    """Rows of every mark that carry these fields, once each."""
    return list(
        {
            tuple(row[f] for f in fields)
            for _, rows in layers(page)
            for row in rows
            if all(f in row for f in fields)
        }
    )


# --- tables -----------------------------------------------------------------------------------------------


def proportions(*groups, scales=("astct-2019",), counts=(3, 20, 10, 5, 1, 1)):
    of = sum(counts)
    rows = []
    for group in groups:
        for scale in scales:
            some = [(f"crs-grade-{k}", n) for k, n in enumerate(counts)]
            some += [
                ("crs-any", of - counts[0]),
                ("crs-at-least-3", sum(counts[3:])),
                ("crs-not-ruled-out", 4),
            ]
            some.append(("tocilizumab", 9))
            rows += [
                {"group": group, "scale": scale, "what": what, "says": what, "n": n, "of": of,
                 "share": n / of if of else None, "low": 0.1 if of else None, "high": 0.9 if of else None}
                for what, n in some
            ]  # fmt: skip
    return pa.Table.from_pylist(rows)


def curve(group, name, *steps, scale="astct-2019"):
    """(hours, estimate, at risk, events, censored) of one curve."""
    return [
        {"group": group, "scale": scale, "curve": name, "hours": float(h), "estimate": e,
         "low": max(0.0, e - 0.1),
         "high": min(1.0, e + 0.1), "at_risk": r, "events": d, "censored": c} for h, e, r, d, c in steps
    ]  # fmt: skip


def onsets(*groups):
    rows = []
    for group in groups:
        rows += curve(group, "onset-any", (0, 0.0, 40, 0, 0), (20, 0.25, 40, 10, 2), (60, 0.8, 28, 22, 0))
        rows += curve(group, "onset-at-least-2", (0, 0.0, 40, 0, 0), (30, 0.5, 40, 20, 0))
        rows += curve(group, "onset-at-least-3", (0, 0.0, 40, 0, 0), (600, 0.0, 40, 0, 40))
        rows += curve(group, "death", (0, 0.0, 40, 0, 0), (90, 0.05, 6, 2, 0))
        rows += curve(group, "record-over", (0, 0.0, 40, 0, 0), (600, 0.1, 4, 4, 0))
    return pa.Table.from_pylist(rows)


def resolutions(*groups):
    rows = []
    for group in groups:
        rows += curve(group, "resolution-any", (0, 1.0, 32, 0, 0), (40, 0.5, 32, 16, 1), (90, 0.0, 15, 15, 0))
        rows += curve(group, "resolution-at-least-3", (0, 1.0, 1, 0, 0), (50, 1.0, 1, 0, 1))
    return pa.Table.from_pylist(rows)


def episodes(*groups):
    rows = [(1, 10.0, 1), (1, 11.9, 2), (1, 12.0, 3), (2, 3.0, 1), (7, 80.0, 4), (None, None, 1)]
    names = ("dose_number", "hours_from_dose", "peak")
    return pa.Table.from_pylist(
        [{"group": g, **dict(zip(names, row, strict=True))} for g in groups for row in rows]
    )


def people(count, group="all"):
    return pa.Table.from_pylist([
        {"patient_id": f"p{k:04}", "group": group, "zero": ZERO, "doses": [ZERO], "ended": at(240),
         "death": at(240) if k == 0 else None} for k in range(count)
    ])  # fmt: skip


def spans(count, scale="astct-2019"):
    """Patient k reaches grade k % 5 from hour 24 + k on; the last two days nobody measures."""
    rows = []
    for k in range(count):
        one, grade = {"patient_id": f"p{k:04}", "scale": scale}, k % 5
        for start, end, now, up_to, blank in (
            (0, 24 + k % 20, 0, 0, False), (24 + k % 20, 96, grade, min(grade + 1, 4), False),
            (96, 192, 0, 0, False),
            (192, 240, 0, 4, True),
        ):  # fmt: skip
            rows.append(
                {**one, "start": at(start), "end": at(end), "grade": now, "up_to": up_to, "unmeasured": blank}
            )
    return pa.Table.from_pylist(rows)


def given(count):
    rows = []
    for k in range(count):
        for measure, kind, start, end, text in (
            ("tocilizumab", "anti-cytokine", 50, None, None), ("dexamethasone", "steroid", 60, None, None),
            ("norepinephrine", "vasopressor", 48, 72, None),
            ("oxygen-device", "oxygen", 60, 90, "ventilator"),
            ("oxygen-device", "oxygen", 20, 30, "nasal-cannula"),
        ):  # fmt: skip
            rows.append({"patient_id": f"p{k:04}", "measure": measure, "kind": kind, "time": at(start),
                         "end": None if end is None else at(end), "text": text})  # fmt: skip
    return pa.Table.from_pylist(rows)


def markers(patients=12, days=8):
    return pa.Table.from_pylist([
        {"patient_id": f"p{k}", "group": "all", "max_grade": k % 3, "measure": measure, "day": day,
         "low": 1.0,
         "high": base * (k + 1) * (1 + day), "unit": unit}
        for k in range(patients) for day in range(days)
        for measure, base, unit in (("crp", 2.0, "mg/L"), ("ferritin", 90.0, "ng/mL"), ("il-6", 1.0, "pg/mL"))
    ])  # fmt: skip


def confused(*groups, pairs=(("astct-2019", "lee-2014"),)):
    cells = {(0, 0): 8, (1, 1): 20, (1, 2): 5, (2, 2): 6, (3, 2): 4, (3, 3): 2}
    return pa.Table.from_pylist([
        {"group": g, "rows": a, "columns": b, "row": i, "column": j, "patients": n}
        for g in groups for a, b in pairs for (i, j), n in cells.items()
    ])  # fmt: skip


def daily(days=16):
    rows = []
    for day in range(days):
        for grade, after, n in ((0, 0, 10), (1, 2, 4), (2, 1, 3), (-1, 0, 2), (-2, -2, 2), (-3, -3, 1)):
            rows.append(
                {
                    "group": "all",
                    "scale": "astct-2019",
                    "day": day,
                    "grade": grade,
                    "next": after,
                    "patients": n,
                }
            )
    return pa.Table.from_pylist(rows)


def hours(*groups):
    return pa.Table.from_pylist([
        {"group": g, "measured": 900.0, "open": 2.0, "unmeasured": 98.0} for g in groups
    ])  # fmt: skip


STEPS = [
    ("patients in the source", 372, "no usable row\nidentifier of two persons"),
    ("with a usable row", 368, ""), ("with a therapy charted", 368, "under 18 years"), ("graded", 360, ""),
]  # fmt: skip
FIGURES = {
    "grades": lambda **more: maximum_grades(proportions(*GROUPS), **more),
    "grades-two-scales": lambda **more: maximum_grades(
        proportions("a", "b", scales=("astct-2019", "lee-2014")), **more),
    "grades-nobody": lambda **more: maximum_grades(proportions("all", counts=(0,) * 6), **more),
    "grades-one": lambda **more: maximum_grades(proportions("all", counts=(0, 0, 0, 1, 0, 0)), **more),
    "grades-a-million": lambda **more: maximum_grades(
        proportions("all", counts=(100, 899_887, 1, 99_992, 10, 10)), **more),
    "hours": lambda **more: hours_measured(hours(*GROUPS), **more),
    "onsets": lambda **more: onset_histogram(episodes(*GROUPS[:3]), **more),
    "onsets-one": lambda **more: onset_histogram(episodes("all").slice(0, 1), **more),
    "onsets-undosed": lambda **more: onset_histogram(episodes("all").slice(5, 1), **more),
    "incidence-one": lambda **more: cumulative_incidence(onsets("all"), **more),
    "incidence-six": lambda **more: cumulative_incidence(onsets(*GROUPS), **more),
    "incidence-none": lambda **more: cumulative_incidence(
        pa.Table.from_pylist(curve("all", "onset-any", (0, 0.0, 1, 0, 0), (50, 0.0, 1, 0, 1))), **more),
    "duration": lambda **more: duration(resolutions("a", "b", "c"), **more),
    "lanes": lambda **more: swimlane(people(12), spans(12), given(12), "astct-2019", **more),
    "lanes-two-scales": lambda **more: swimlane(
        people(9), pa.concat_tables([spans(9), spans(9, "icans-astct-2019")]), given(9), "astct-2019",
        second="icans-astct-2019", **more),
    "lanes-one": lambda **more: swimlane(people(1), spans(1), given(1).slice(0, 0), "astct-2019", **more),
    "heat": lambda **more: patient_hours(people(60), spans(60), "astct-2019", **more),
    "heat-one": lambda **more: patient_hours(people(1), spans(1), "astct-2019", **more),
    "markers": lambda **more: markers_by_grade(markers(), **more),
    "markers-one": lambda **more: markers_by_grade(markers(1, 1), **more),
    "flow": lambda **more: scale_flow(confused("all"), **more),
    "flow-three": lambda **more: scale_flow(
        confused("all", pairs=(("a", "b"), ("c", "b"))), scales=("a", "b", "c"), **more),
    "daily": lambda **more: daily_flow(daily(), **more),
    "confusion": lambda **more: confusion(confused("all"), kappa=0.81, **more),
    "confusion-six": lambda **more: confusion(confused(*GROUPS), kappa={"all": 0.8}, **more),
    "patients": lambda **more: patient_flow(STEPS, **more),
}  # fmt: skip


# --- every figure -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", FIGURES)
def test_every_word_can_be_read_and_the_caption_stands_under_the_figure(name, theme):
    page = spec(FIGURES[name](theme=theme, title="A title", note=NOTE))
    assert_readable(page)
    said = " ".join(
        row["text"] for _, rows in layers(page) for row in sorted(rows, key=lambda r: r["y"]) if "text" in row
    )
    assert "A title" in words(page)
    assert "Graded under ASTCT 2019." in said
    assert page["width"] == 1280
    assert all(0 <= row["y"] <= page["height"] for _, rows in layers(page) for row in rows)


@pytest.mark.parametrize("name", FIGURES)
def test_every_grade_s_colour_has_its_shape_and_number_on_the_page(name):
    if name in ("hours", "patients"):
        return
    page = spec(FIGURES[name]())
    used = {row["fill"] for _, rows in layers(page) for row in rows if "fill" in row}
    used |= {mark.get("color") for mark, _ in layers(page)}
    grades = THEMES["light"].grades
    shapes = {row["shape"] for row in marks(page, "point") if "shape" in row}
    for grade in (g for g in range(6) if grades[g] in used):
        assert SHAPES[grade] in shapes
        assert any(text in (str(grade), f"grade {grade}") for text in words(page))


@pytest.mark.parametrize("name", ["grades", "incidence-six", "lanes", "daily", "markers"])
def test_a_picture_is_made_of_it(name, tmp_path):
    path = save(FIGURES[name](note=NOTE), tmp_path / "figure.png")
    assert struct.unpack(">I", path.read_bytes()[16:20])[0] == 1280


def test_words_side_by_side_stay_apart_and_inside():
    assert beside([10, 15, 95], [20, 20, 20], 0, 100) == [10, 38, 90]


# --- numbers ----------------------------------------------------------------------------------------------


def test_a_bar_s_parts_are_the_table_s_numbers():
    page = spec(maximum_grades(proportions("all")))
    assert sorted(tips(page, "grade", "patients", "of")) == [
        (str(k), n, 40) for k, n in enumerate((3, 20, 10, 5, 1, 1))
    ]
    bar = [row for row in marks(page, "rect") if "patients" in row]
    whole = max(row["x2"] for row in bar) - min(row["x"] for row in bar)
    assert [round((row["x2"] - row["x"]) / whole * 40) for row in bar] == [3, 20, 10, 5, 1, 1]
    assert {"92", "18", "(10–90)", "4 (10 %) may have stood higher"} <= {*words(page)}


def test_grades_of_more_than_everybody_are_refused():
    table = proportions("all").to_pylist()
    table[0]["n"] = 4
    with pytest.raises(PlotError, match="41 patients, of 40"):
        maximum_grades(pa.Table.from_pylist(table))


def test_hours_are_the_table_s():
    page = spec(hours_measured(hours("all")))
    assert {h for _, h in tips(page, "what", "hours")} == {900.0, 2.0, 98.0}


@pytest.mark.parametrize(("width", "counts"), [(1, {10: 1, 11: 1, 12: 1}), (12, {0: 2, 12: 1})])
def test_an_onset_on_a_border_belongs_to_the_bar_it_begins(width, counts):
    page = spec(onset_histogram(episodes("all").slice(0, 3), bin_hours=width))
    found = {}
    for said, n in [(row["hours"], row["episodes"]) for row in marks(page, "rect") if "episodes" in row]:
        start = int(said.split()[0])
        found[start] = found.get(start, 0) + n
    assert found == counts


def test_episodes_without_a_dose_are_said_and_not_drawn():
    page = spec(onset_histogram(episodes("all")))
    assert sum(row["episodes"] for row in marks(page, "rect") if "episodes" in row) == 5
    assert any("1 of 6 episodes had no dose" in text for text in words(page))


def test_a_curve_steps_at_its_events_and_ends_at_its_number():
    page = spec(cumulative_incidence(onsets("all")))
    shares = {(h, s) for h, s in tips(page, "hours", "share")}
    assert {("0", "0 %"), ("20", "25 %"), ("60", "80 %"), ("30", "50 %")} <= shares
    assert {"80 %", "50 %", "0 %"} <= {*words(page)}
    line = [
        row
        for mark, rows in layers(page)
        if mark["type"] == "line"
        for row in rows
        if row.get("hours") == "20"
    ]
    assert len({row["y"] for row in line}) == 1


def test_at_risk_is_who_was_left_just_before():
    page = spec(cumulative_incidence(onsets("all"), days=2.5))
    assert {"40", "28"} <= {*words(page)}


def test_censored_patients_are_ticks():
    page = spec(duration(resolutions("all")))
    assert len(marks(page, "rule", strokeWidth=1.3)) == 2


def test_an_estimate_that_is_no_share_is_refused():
    table = onsets("all").to_pylist()
    table[1]["estimate"] = 1.2
    with pytest.raises(PlotError, match=r"estimate is 1\.2"):
        cumulative_incidence(pa.Table.from_pylist(table))


def test_lanes_stand_by_highest_grade_then_onset_and_say_who_is_left_out():
    page = spec(swimlane(people(50), spans(50), given(50), "astct-2019", most=10))
    names = sorted((row["y"], row["text"]) for row in marks(page, "text") if row["text"].startswith("p0"))
    drawn = list(dict.fromkeys(name for _, name in names))
    assert drawn[:2] == ["p0004", "p0049"]  # of grade 4, the first and the sixth onset
    assert [int(name[1:]) % 5 for name in drawn] == [4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    assert any(
        "10 of 50 patients drawn: every 5th by highest grade and onset" in text for text in words(page)
    )


def test_patients_whose_spans_are_not_kept_are_counted_as_left_out():
    page = spec(swimlane(people(90), spans(4), given(4), "astct-2019"))
    assert any("4 of 90 patients drawn: of the 4 whose spans are kept" in text for text in words(page))


def test_a_lane_says_what_the_spans_say():
    page = spec(swimlane(people(4), spans(4), given(4), "astct-2019"))
    found = {row for row in tips(page, "patient", "grade", "hours") if row[0] == "p0003"}
    assert found == {
        ("p0003", "0", "0 to 27"), ("p0003", "3, not ruled out up to 4", "27 to 96"),
        ("p0003", "0", "96 to 192"),
        ("p0003", "nobody measuring", "192 to 240"),
    }  # fmt: skip


def test_a_cell_holds_the_highest_grade_of_its_hours():
    page = spec(patient_hours(people(4), spans(4), "astct-2019"))
    found = {row for row in tips(page, "patient", "grade", "hours") if row[0] == "p0002"}
    assert ("p0002", "2", "26 to 96") in found
    assert ("p0002", "nobody measuring", "192 to 240") in found


def test_medians_of_biomarkers_are_the_values():
    page = spec(markers_by_grade(markers(), measures=["crp"]))
    found = {(g, d): m for g, d, m in tips(page, "grade", "day", "median")}
    assert found["0", "0"] == "11"  # 2, 8, 14 and 20 mg/L: patients 0, 3, 6, 9
    assert any("at least 5 patients" in text for text in words(page))


def test_a_biomarker_that_nobody_has_is_refused():
    with pytest.raises(PlotError, match="no value of d-dimer"):
        markers_by_grade(markers(), measures=["d-dimer"])


def test_ribbons_carry_the_counts_of_the_square():
    page = spec(scale_flow(confused("all")))
    found = {(a, b): n for a, b, n in tips(page, "from", "to", "patients")}
    assert found == {
        ("grade 0", "grade 0"): 8, ("grade 1", "grade 1"): 20, ("grade 1", "grade 2"): 5,
        ("grade 2", "grade 2"): 6, ("grade 3", "grade 2"): 4, ("grade 3", "grade 3"): 2,
    }  # fmt: skip
    assert any("9 of 45 patients (20 %) have another highest grade" in text for text in words(page))


def test_scales_that_were_not_compared_are_refused():
    with pytest.raises(PlotError, match="under a and c"):
        scale_flow(confused("all", pairs=(("a", "b"),)), scales=("a", "c"))


@pytest.mark.parametrize(("last", "columns"), [(1, 2), (14, 15)])
def test_days_are_columns_up_to_the_last(last, columns):
    page = spec(daily_flow(daily(), last=last))
    assert len({column for column, _ in tips(page, "column", "state")}) == columns
    assert ("day 0", "dead", 1) in tips(page, "column", "state", "patients")


def test_a_square_s_cells_and_margins_are_the_table_s():
    page = spec(confusion(confused("all"), kappa=0.81))
    cells = {(i, j): n for i, j, n in tips(page, "row", "column", "patients")}
    assert len(cells) == 36
    assert {pair: n for pair, n in cells.items() if n} == {
        (0, 0): 8, (1, 1): 20, (1, 2): 5, (2, 2): 6, (3, 2): 4, (3, 3): 2,
    }  # fmt: skip
    assert {"45", "80 %", "0.81", "25", "15"} <= {*words(page)}
    assert len(marks(page, "rect", strokeWidth=2.2)) == 6


def test_one_kappa_is_not_written_beside_several_groups():
    with pytest.raises(PlotError, match="one kappa for 2 groups"):
        confusion(confused("a", "b"), kappa=0.8)


def test_everybody_who_left_has_a_reason():
    assert {"372", "4", "8", "360"} <= {*words(spec(patient_flow(STEPS)))}
    with pytest.raises(PlotError, match="4 left after"):
        patient_flow([("a", 8, ""), ("b", 4, "")])
    with pytest.raises(PlotError, match="nobody joins"):
        patient_flow([("a", 4, "why"), ("b", 8, "")])


@pytest.mark.parametrize(
    ("draw", "table"),
    [(maximum_grades, proportions("all")), (hours_measured, hours("all")), (onset_histogram, episodes("all")),
     (cumulative_incidence, onsets("all")), (duration, resolutions("all")), (markers_by_grade, markers()),
     (scale_flow, confused("all")), (daily_flow, daily()), (confusion, confused("all"))],
)  # fmt: skip
def test_a_missing_column_and_an_empty_table_are_named(draw, table):
    with pytest.raises(PlotError, match=r"no column .*\n  why: .*\n  fix: "):
        draw(table.select([]))
    with pytest.raises(PlotError, match=r"(?s)why: .*fix: "):
        draw(table.slice(0, 0))


def test_more_groups_than_can_be_told_apart_are_refused():
    with pytest.raises(PlotError, match="7 groups"):
        maximum_grades(proportions(*"abcdefg"))
