"""What a picture carries: the marks of the Vega-Lite spec, not its pixels."""

from __future__ import annotations

import random
import re
import struct
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import plot_patients as patients
from plot_patients import at, course, fact, intervals, table
from tocsin.definitions import load
from tocsin.definitions.load import library
from tocsin.definitions.schema import TocsinError
from tocsin.plots import save, timeline
from tocsin.plots.bands import STRIPE, stripes
from tocsin.plots.canvas import LEFT, RIGHT
from tocsin.plots.labels import Rows, width
from tocsin.plots.look import DARK, LIGHT, THEMES, Look, lightness, number, quantity

LIB = library()
CALM = course("astct-2019", (-10, 0, 0, ""), (60,))
Many = list[dict[str, Any]]


def spec(facts: pa.Table, grades: pa.Table, **more: Any) -> dict[str, Any]:
    more.setdefault("lib", LIB)
    return timeline(facts, grades, **more).to_dict(validate=False)


def layers(page: dict[str, Any], lane: str, kind: str) -> list[tuple[dict[str, Any], Many]]:
    """(mark, rows) of every layer of one kind in one lane."""
    view = next(v for v in page["vconcat"] if v.get("name") == lane)
    found = []
    for layer in view["layer"]:
        data = layer["data"]
        rows = data["values"] if "values" in data else page["datasets"][data["name"]]
        if layer["mark"]["type"] == kind:
            found.append((layer["mark"], rows))
    return found


def rows(page: dict[str, Any], lane: str, kind: str, *fields: str) -> Many:
    """All rows of one kind of mark that carry all `fields`."""
    return [row for _, many in layers(page, lane, kind) for row in many if all(f in row for f in fields)]


def words(page: dict[str, Any], lane: str) -> list[str]:
    return [row["text"] for row in rows(page, lane, "text")]


@pytest.fixture(scope="module")
def axi_cel() -> tuple[pa.Table, pa.Table]:
    return patients.axi_cel()


# --- grade bands


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_run_has_the_colour_of_its_grade(axi_cel: tuple[pa.Table, pa.Table], theme: str) -> None:
    drawn = rows(spec(*axi_cel, scales=["astct-2019"], theme=theme), "grades", "rect", "fill", "x")
    expected = [(run["start"], run["grade"]) for run in patients.ASTCT]
    assert [row["fill"] for row in drawn] == [THEMES[theme].grades[grade] for _, grade in expected]
    assert [at(row["x"]) for row in drawn] == [start for start, _ in expected]


def test_what_is_not_ruled_out_is_hatched_with_its_own_colour_and_only_there(
    axi_cel: tuple[pa.Table, pa.Table],
) -> None:
    hatch = rows(spec(*axi_cel, scales=["astct-2019"]), "grades", "area")
    assert {row["fill"] for row in hatch} == {LIGHT.grades[2]}
    assert min(row["x"] for row in hatch) >= 46 - 1e-6
    assert max(row["x"] for row in hatch) <= 52 + 1e-6
    page = spec(*axi_cel, scales=["astct-2019"])
    assert "1–2" in words(page, "grades")
    dashed = [(mark, many) for mark, many in layers(page, "grades", "rect") if mark.get("strokeDash")]
    assert [(row["x"], row["x2"]) for _, many in dashed for row in many] == [(46, 52)]


def test_a_course_without_gaps_has_no_hatch() -> None:
    page = spec(table([fact(0, "temperature", 36.8), fact(50, "temperature", 36.8)]), intervals(CALM))
    assert not layers(page, "grades", "area")


def test_nobody_measuring_is_white_dashed_and_asks() -> None:
    page = spec(*patients.silent())
    (mark, blank), *rest = [
        (m, many) for m, many in layers(page, "grades", "rect") if m.get("stroke") == LIGHT.unmeasured_edge
    ]
    assert not rest
    assert mark["strokeDash"]
    assert [(row["x"], row["x2"], row["fill"]) for row in blank] == [(16, 46, "#FFFFFF")]
    assert "?  up to 4" in words(page, "grades")


def test_missing_organ_values_above_grade_0_are_not_called_unmeasured() -> None:
    facts = table([fact(h, "temperature", 38.5) for h in range(0, 48, 4)])
    page = spec(facts, intervals(course("lee-2014", (0, 1, 4, "fever", "creatinine"), (48,))))
    assert "1–4" in words(page, "grades")
    assert not any(text.startswith("?") for text in words(page, "grades"))


def test_a_number_is_written_only_where_the_run_is_wider_than_24_px() -> None:
    facts = table([fact(0, "temperature", 36.8), fact(100, "temperature", 36.8)])
    runs = course(
        "astct-2019", (0, 0, 0, ""), (40, 1, 1, "fever"), (42, 2, 2, "hypotension"), (60, 0, 0, ""), (100,)
    )
    written = [row["text"] for row in rows(spec(facts, intervals(runs)), "grades", "text", "colour")]
    assert written == ["0", "2", "0"]  # two hours of grade 1 are 19 px


def test_neighbours_of_one_grade_are_one_run_but_keep_their_own_reasons() -> None:
    facts = table([fact(0, "temperature", 38.5), fact(60, "temperature", 38.5)])
    runs = course("astct-2019", (0, 2, 2, "fever hypotension"), (30, 2, 2, "fever low-flow-oxygen"), (60,))
    page = spec(facts, intervals(runs))
    assert len(rows(page, "grades", "rect", "fill", "x")) == 1
    assert len({row["because"] for row in rows(page, "grades", "rect", "because")}) == 2


def test_stripes_fill_the_box_and_stay_in_it() -> None:
    box = (3.0, 200.0, 10.0, 38.0)
    area = 0.0
    for stripe in stripes(*box):
        for x, y, y2 in stripe:
            assert box[0] <= x <= box[1]
            assert box[2] <= y <= y2 <= box[3]
        area += sum((b[0] - a[0]) * (a[2] - a[1] + b[2] - b[1]) / 2 for a, b in pairwise(stripe))
    assert area / (197 * 28) == pytest.approx(STRIPE / 9, rel=0.03)


def test_eleven_scales_get_bands_of_18_px_that_do_not_touch() -> None:
    facts, grades = patients.eleven()
    page = spec(facts, grades, scales=patients.ALL)
    boxes = rows(page, "grades", "rect", "because")
    tops = sorted({(row["y"], row["y2"]) for row in boxes})
    assert len(tops) == 11
    assert {bottom - top for top, bottom in tops} == {18}
    assert all(below[0] > above[1] for above, below in pairwise(tops))
    names = words(page, "grades")
    assert {"ASTCT 2019", "Penn 2018 weight-based", "CARTOX 2018 paediatric", "CTCAE 4.03"} <= set(names)


# --- names of the changes


def spans(page: dict[str, Any]) -> list[tuple[float, float, float]]:
    found = []
    for mark, many in layers(page, "grades", "text"):
        if mark.get("stroke") == LIGHT.page:  # the halo of a name
            for row in many:
                wide = width(row["text"], 11)
                left = row["px"] if mark["align"] == "left" else row["px"] - wide
                found.append((row["y"], left, left + wide))
    return sorted(found)


@pytest.mark.parametrize("seed", range(12))
def test_names_never_overlap_and_stay_on_the_page(seed: int) -> None:
    dice = random.Random(seed)
    facts = table([fact(h, "temperature", 37.0) for h in range(0, 121, 4)])
    causes = ["fever", "hypotension", "one-vasopressor", "low-flow-oxygen", "two-vasopressors"]
    courses = []
    for scale in ("astct-2019", "lee-2014", "mskcc-2018"):
        times = sorted(dice.sample(range(1, 120), 25))
        runs = [(t, dice.randint(0, 4), 4, dice.choice(causes)) for t in times]
        courses.append(course(scale, (0, 0, 0, ""), *runs, (120,)))
    placed = spans(spec(facts, intervals(*courses)))
    assert placed
    for (y, _, right), (y2, left, _) in pairwise(placed):
        assert y != y2 or left >= right
    assert all(left >= 0 and right <= 1280 - LEFT - RIGHT for _, left, right in placed)


def test_a_rise_is_named_before_a_fall_and_by_what_is_new() -> None:
    facts = table([fact(h, "temperature", 37.0) for h in range(0, 121, 4)])
    runs = course(
        "astct-2019",
        (0, 0, 0, ""),
        (50, 1, 1, "fever"),
        (51, 3, 3, "fever one-vasopressor"),
        (51.5, 1, 1, "fever"),
        (52, 2, 2, "fever low-flow-oxygen"),
        (120,),
    )
    page = spec(facts, intervals(runs))
    text = words(page, "grades")
    assert {"fever", "one vasopressor"} <= set(text)
    assert LIB.scale("astct-2019").findings["one-vasopressor"].title in text


def test_a_change_is_named_by_the_sign_not_by_what_lets_it_count() -> None:
    facts = table([fact(h, "temperature", 38.5) for h in range(0, 121, 4)])
    counts = "fever-counts one-vasopressor"
    runs = course("astct-2019", (0, 1, 1, "fever"), (40, 3, 3, counts), (80, 1, 1, "fever"), (120,))
    names = [
        text for text in words(spec(facts, intervals(runs)), "grades") if "vaso" in text or "fever" in text
    ]
    assert set(names) == {"fever", "one vasopressor", "one vasopressor ended"}


def test_a_run_that_ends_at_the_dose_ends_there() -> None:
    facts = table(
        [fact(0, "axicabtagene-ciloleucel"), *(fact(h, "temperature", 37.0) for h in range(-8, 41, 4))]
    )
    runs = course("astct-2019", (-8, 0, 4, "", "temperature"), (0, 0, 0, ""), (40,))
    boxes = rows(spec(facts, intervals(runs)), "grades", "rect", "because")
    assert [(row["x"], row["x2"]) for row in boxes] == [(-8, 0), (0, 40)]


def test_a_grade_that_lapses_unmeasured_is_not_called_ended() -> None:
    facts = table([fact(h, "temperature", 38.5) for h in range(0, 21, 4)])
    runs = course("astct-2019", (0, 1, 1, "fever"), (28, 0, 4, "", "temperature systolic-bp"), (60,))
    text = words(spec(facts, intervals(runs), hours=(0, 60), now=at(60)), "grades")
    assert "not measured" in text
    assert not any("ended" in word for word in text)
    measured = course("astct-2019", (0, 1, 1, "fever"), (28, 0, 0, ""), (60,))
    assert "fever ended" in words(spec(facts, intervals(measured), hours=(0, 60), now=at(60)), "grades")


# --- temperature and pressure


def test_hours_nobody_measured_are_left_open() -> None:
    times = [0, 4, 8, 17, 20, 40, 44]  # 8 h are held; 9 and 20 are not
    page = spec(table([fact(h, "temperature", 36.8) for h in times]), intervals(CALM))
    joined: dict[str, list[float]] = {}
    for row in rows(page, "temperature", "line"):
        joined.setdefault(row["group"], []).append(row["x"])
    assert sorted(joined.values()) == [[0, 4, 8], [17, 20], [40, 44]]
    assert "not measured for 20 h" in words(page, "temperature")


def test_an_unusable_reading_breaks_the_line() -> None:
    facts = table(
        [fact(0, "temperature", 36.8), fact(2, "temperature", "unusable"), fact(4, "temperature", 36.9)]
    )
    assert not layers(spec(facts, intervals(CALM)), "temperature", "line")


@pytest.mark.parametrize(("degrees", "fever"), [(37.9, False), (37.94, False), (37.95, True), (38.0, True)])
def test_fever_is_red_from_the_limit_of_the_scale_after_rounding(degrees: float, fever: bool) -> None:
    facts = table([fact(0, "temperature", degrees), fact(10, "temperature", 36.5)])
    first = rows(spec(facts, intervals(CALM)), "temperature", "point", "value")[0]
    assert first["colour"] == (LIGHT.alarm if fever else LIGHT.point)


def site(tmp_path: Path, file: str, old: str, new: str) -> Path:
    """A site's folder that overrides one definition."""
    source = Path(load.__file__).parent / file
    (tmp_path / file).parent.mkdir(parents=True)
    text = source.read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    return tmp_path


def test_the_fever_line_is_the_definition(tmp_path: Path, axi_cel: tuple[pa.Table, pa.Table]) -> None:
    bound = LIB.scale("astct-2019").findings["fever"].bound
    assert [row["value"] for row in rows(spec(*axi_cel), "temperature", "rule", "value")] == [bound]
    other = library((site(tmp_path, "findings/fever.toml", f"= {bound}", "= 38.5"),))
    assert [r["value"] for r in rows(spec(*axi_cel, lib=other), "temperature", "rule", "value")] == [38.5]


def test_the_pressure_limit_is_the_definition(tmp_path: Path, axi_cel: tuple[pa.Table, pa.Table]) -> None:
    other = library((site(tmp_path, "measures/systolic-bp.toml", "below    = 90", "below    = 85"),))
    assert [r["value"] for r in rows(spec(*axi_cel, lib=other), "blood-pressure", "rule", "value")] == [85]


@pytest.mark.parametrize(
    ("age", "limit"), [(0.05, 60), (0.5, 70), (1.0, 72), (5.0, 80), (10.0, 90), (61.0, 90)]
)
def test_the_pressure_limit_is_the_patients_own(age: float, limit: float) -> None:
    facts = table([fact(0, "age", age), fact(1, "systolic-bp", 100.0), fact(9, "systolic-bp", 100.0)])
    assert [r["value"] for r in rows(spec(facts, intervals(CALM)), "blood-pressure", "rule", "value")] == [
        limit
    ]


def test_an_age_nobody_charted_is_said() -> None:
    page = spec(table([fact(1, "systolic-bp", 100.0)]), intervals(CALM))
    assert "limit 90 (age not charted)" in words(page, "blood-pressure")


def test_a_usual_pressure_under_the_limit_moves_it_down() -> None:
    before = [fact(h, "systolic-bp", 85.0) for h in (-20, -10, -2)]
    facts = table([fact(-21, "age", 60.0), fact(0, "teclistamab"), *before, fact(5, "systolic-bp", 80.0)])
    page = spec(facts, intervals(CALM))
    assert rows(page, "blood-pressure", "rule", "value")[0]["value"] == pytest.approx(68)  # 20 % under 85
    assert "limit 68 (usual 85)" in words(page, "blood-pressure")
    assert {row["colour"] for row in rows(page, "blood-pressure", "point", "value")} == {LIGHT.point}


def test_a_vasopressor_is_a_bar_as_high_as_its_rate_until_it_stops(
    axi_cel: tuple[pa.Table, pa.Table],
) -> None:
    bars = [row for row in rows(spec(*axi_cel), "blood-pressure", "rect", "value") if row["x"] != 63]
    assert [(row["x"], row["x2"], row["value"]) for row in bars] == [
        (58, 62, 0.04),
        (62, 69, 0.12),
        (69, 74, 0.05),
    ]
    tall = [row["y2"] - row["y"] for row in bars]
    assert tall[0] / tall[1] == pytest.approx(0.04 / 0.12)
    assert "peak 0.12 µg/kg/min" in words(spec(*axi_cel), "blood-pressure")


def test_a_running_dose_nobody_knows_is_an_open_bar_and_a_push_is_none() -> None:
    facts = table(
        [
            fact(0, "norepinephrine", "running"),
            fact(5, "norepinephrine", 0.0),
            fact(20, "phenylephrine", "push"),
            fact(30, "systolic-bp", 100.0),
        ]
    )
    page = spec(facts, intervals(CALM))
    open_bars = [many for mark, many in layers(page, "blood-pressure", "rect") if mark.get("strokeDash")]
    assert [(row["x"], row["x2"]) for many in open_bars for row in many] == [(0, 5)]
    assert {"rate unknown", "phenylephrine"} <= set(words(page, "blood-pressure"))


# --- given, oxygen, laboratory


def points_window(page: dict[str, Any]) -> tuple[float, float]:
    """First and last hour of the x scale."""
    view = next(v for v in page["vconcat"] if v["name"] == "given")
    scales = [layer["encoding"]["x"].get("scale") for layer in view["layer"]]
    start, end = next(scale["domain"] for scale in scales if scale)
    return start, end


def test_doses_close_together_are_named_once(axi_cel: tuple[pa.Table, pa.Table]) -> None:
    page = spec(*axi_cel)
    assert {"dexamethasone 10 mg q6h ×8", "tocilizumab 560 mg ×2", "axicabtagene ciloleucel"} <= set(
        words(page, "given")
    )
    assert len(rows(page, "given", "point")) == 1 + 2 + 8 + 2


def test_names_of_drugs_never_touch_each_other_or_a_symbol() -> None:
    dice = random.Random(3)
    drugs = ["tocilizumab", "dexamethasone", "acetaminophen", "anakinra", "methylprednisolone", "siltuximab"]
    doses = [fact(dice.uniform(0, 100), dice.choice(drugs), 10.0, unit="mg") for _ in range(60)]
    page = spec(table([fact(0, "teclistamab"), *doses, fact(100, "temperature", 37.0)]), intervals(CALM))
    boxes = [
        (round(row["y"]), row["px"], row["px"] + width(row["text"], 11))
        for mark, many in layers(page, "given", "text")
        if mark.get("stroke")
        for row in many
    ]
    points = rows(page, "given", "point")
    assert len(points) == 61  # a symbol is never left out
    across = 1280 - LEFT - RIGHT
    start, end = points_window(page)
    symbols = [(round(p["y"]), (p["x"] - start) / (end - start) * across) for p in points]
    assert not [
        (box, at) for box in boxes for y, at in symbols if abs(y - box[0]) < 8 and box[1] < at < box[2]
    ]
    for (y, _, right), (y2, left, _) in pairwise(sorted(boxes)):
        assert y != y2 or left > right


def test_the_ladder_steps_with_the_device_and_lapses_after_its_hold() -> None:
    facts = table(
        [
            fact(0, "oxygen-device", "room-air"),
            fact(6, "oxygen-device", "nasal-cannula"),
            fact(6, "oxygen-flow", 3.0),
            fact(50, "spo2", 95.0),
        ]
    )
    page = spec(facts, intervals(CALM))
    steps = {row["device"]: (row["x"], row["x2"]) for row in rows(page, "oxygen", "rule", "device")}
    assert steps == {"room-air": (0, 6), "nasal-cannula": (6, 18)}
    assert "3 L" in words(page, "oxygen")


def test_flow_without_a_device_has_a_rung_of_its_own() -> None:
    page = spec(table([fact(6, "oxygen-flow", 2.0), fact(10, "spo2", 94.0)]), intervals(CALM))
    assert "device not charted" in words(page, "oxygen")
    assert [row["device"] for row in rows(page, "oxygen", "rule", "device")] == ["device not charted"]


def test_a_laboratory_value_is_drawn_on_a_log_scale_with_last_value_and_direction() -> None:
    facts = table(
        [fact(0, "crp", 10.0), fact(10, "crp", 100.0), fact(20, "crp", 1000.0), fact(30, "crp", 100.0)]
    )
    page = spec(facts, intervals(CALM), labs=["crp"])
    y = [row["y"] for row in rows(page, "crp", "point", "value")]
    assert y[0] - y[1] == pytest.approx(y[1] - y[2])
    assert y[3] == y[1]
    assert {"100 ↓", "1,000 mg/L"} <= set(words(page, "crp"))


def test_a_laboratory_value_nobody_took_says_so(axi_cel: tuple[pa.Table, pa.Table]) -> None:
    assert "not charted" in words(spec(*axi_cel, labs=["lactate"]), "lactate")


def test_a_value_older_than_it_is_held_goes_grey() -> None:
    page = spec(*patients.silent())
    styles = {row["text"]: mark for mark, many in layers(page, "blood-pressure", "text") for row in many}
    assert styles["120"]["color"] == LIGHT.muted
    assert styles["50 h old"]["fontWeight"] == 600


def test_mental_state_has_a_lane_only_when_charted(axi_cel: tuple[pa.Table, pa.Table]) -> None:
    assert "ice-score" in [v["name"] for v in spec(*axi_cel)["vconcat"]]
    assert "ice-score" not in [v["name"] for v in spec(*patients.silent())["vconcat"]]


# --- time


def test_nothing_known_later_than_now_is_drawn(axi_cel: tuple[pa.Table, pa.Table]) -> None:
    facts, grades = axi_cel
    late = table([*facts.to_pylist(), fact(60, "temperature", 41.9, recorded=70)])
    page = spec(late, grades, now=at(64.5))
    for lane in ("temperature", "blood-pressure", "oxygen", "crp", "given"):
        points = rows(page, lane, "point")
        assert max(row["x"] for row in points) <= 64.5
        assert 41.9 not in [row.get("value") for row in points]
    runs = rows(page, "grades", "rect", "because")
    assert max(row["x2"] for row in runs) == 64.5
    assert "high-dose vasopressor" not in words(page, "grades")
    assert any(row["x"] == 64.5 for row in rows(page, "temperature", "rule", "x"))
    assert "now" in words(page, "footer")


def test_a_corrected_row_is_drawn_once() -> None:
    wrong, right = (
        fact(4, "temperature", 42.0, source="a"),
        fact(4, "temperature", 37.2, source="b", replaces="a"),
    )
    gone = [
        fact(8, "temperature", 41.0, source="c"),
        fact(8, "temperature", "retracted", source="d", replaces="c"),
    ]
    page = spec(table([wrong, right, *gone, fact(9, "temperature", 37.0)]), intervals(CALM))
    assert [row["value"] for row in rows(page, "temperature", "point", "value")] == [37.2, 37.0]


def test_clock_times_are_local_and_hours_count_from_the_dose(axi_cel: tuple[pa.Table, pa.Table]) -> None:
    page = spec(*axi_cel, timezone="America/New_York", now=at(64.5))
    assert "as of Thu 5 Mar 2026 23:00" in words(page, "header")
    assert {"0 h", "day 1"} <= set(words(page, "footer"))
    assert "since dose" in words(page, "footer")
    assert "since first fact" in words(spec(table([fact(0, "temperature", 37.0)]), intervals(CALM)), "footer")


def test_every_fact_drawn_names_itself_its_source_and_when_it_was_recorded(
    axi_cel: tuple[pa.Table, pa.Table],
) -> None:
    page = spec(*axi_cel)
    for lane in ("given", "temperature", "blood-pressure", "oxygen", "ice-score", "crp"):
        hovered = [
            layer
            for view in page["vconcat"]
            if view["name"] == lane
            for layer in view["layer"]
            if "tooltip" in layer["encoding"]
        ]
        assert hovered
        for layer in hovered:
            names = [tip["field"] for tip in layer["encoding"]["tooltip"]]
            assert names == ["fact", "at", "source", "recorded"]
            assert all(
                row["source"].startswith("chart.csv:") for row in page["datasets"][layer["data"]["name"]]
            )


def test_many_readings_are_thinned_without_losing_an_extreme() -> None:
    many = [fact(h / 60, "temperature", 37.0 + (h % 7) / 10) for h in range(60 * 72)]
    many.append(fact(30.001, "temperature", 41.3))
    drawn = rows(spec(table(many), intervals(CALM)), "temperature", "point", "value")
    assert len(drawn) < 2.2 * (1280 - LEFT - RIGHT)
    assert max(row["value"] for row in drawn) == 41.3


# --- files


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])  # type: ignore[return-value]


def test_a_png_is_1280_by_640_unless_the_scales_need_more(
    tmp_path: Path, axi_cel: tuple[pa.Table, pa.Table]
) -> None:
    chart = timeline(*axi_cel, lib=LIB)
    assert png_size(save(chart, tmp_path / "a.png")) == (1280, 640)
    assert png_size(save(chart, tmp_path / "b.png", scale=2)) == (2560, 1280)
    facts, grades = patients.eleven()
    wide, tall = png_size(save(timeline(facts, grades, lib=LIB), tmp_path / "c.png"))
    assert wide == 1280
    assert 640 < tall < 900
    assert png_size(save(timeline(*axi_cel, lib=LIB, width=900), tmp_path / "d.png"))[0] == 900


def test_html_works_without_a_network(tmp_path: Path) -> None:
    page = save(timeline(*patients.silent(), lib=LIB), tmp_path / "a.html").read_text()
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)
    assert "not measured for 38 h" in page


def test_svg_is_text(tmp_path: Path) -> None:
    assert save(timeline(*patients.silent(), lib=LIB), tmp_path / "a.svg").read_text().startswith("<svg")


def test_another_suffix_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    chart = timeline(*patients.silent(), lib=LIB)
    with pytest.raises(TocsinError, match=r"`\.jpeg`.*\n.*\n  fix: .*\.html, \.png, \.svg"):
        save(chart, tmp_path / "a.jpeg")
    with pytest.raises(TocsinError, match="no such folder"):
        save(chart, tmp_path / "nowhere" / "a.png")
    assert list(tmp_path.iterdir()) == []


# --- what cannot be drawn


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"patient": "7"}, "no patient `7`"),
        ({"scales": ["astct-2018"]}, "did you mean `astct-2019`"),
        ({"now": datetime(2026, 3, 4)}, "no time zone"),
        ({"timezone": "Mars/Olympus"}, "no time zone `Mars/Olympus`"),
        ({"theme": "drak"}, "did you mean `dark`"),
        ({"hours": (5, 5)}, "not a window"),
        ({"labs": ["cpr"]}, "no measure `cpr`"),
        ({"now": at(-50)}, "no facts to draw"),
    ],
)
def test_what_is_wrong_is_named(
    axi_cel: tuple[pa.Table, pa.Table], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(TocsinError, match=message):
        timeline(*axi_cel, lib=LIB, **more)


def test_one_picture_is_one_patient() -> None:
    two = table([fact(0, "temperature", 37.0), fact(0, "temperature", 37.0, patient_id="08")])
    with pytest.raises(TocsinError, match="2 patients"):
        timeline(two, intervals(CALM), lib=LIB)
    assert rows(spec(two, intervals(CALM), patient="07"), "temperature", "point", "value")
    with pytest.raises(TocsinError, match="empty"):
        timeline(two.slice(0, 0), intervals(CALM), lib=LIB)


def test_a_patient_with_one_fact_is_drawn() -> None:
    assert timeline(table([fact(0, "chills")]), intervals(CALM), lib=LIB).to_dict()["vconcat"]


# --- the look


@pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
def test_grades_darken_in_order_and_their_numbers_can_be_read(look: Look) -> None:
    shades = [lightness(colour) for colour in look.grades]
    assert shades == sorted(shades, reverse=True)
    for ground, ink in zip(look.grades, look.on_grade, strict=True):
        high, low = sorted((lightness(ground), lightness(ink)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5
    for words_ in (look.ink, look.muted, look.alarm, look.pressor, look.oxygen):
        high, low = sorted((lightness(look.panel), lightness(words_)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.4


def test_numbers_and_units_read_as_at_the_bedside() -> None:
    assert [number(v) for v in (0.0, 0.04, 7.25, 182.4, 6420.0)] == ["0", "0.04", "7.25", "182", "6,420"]
    assert quantity(0.05, "ug/kg/min") == "0.05 µg/kg/min"
    assert quantity(39.0, "Cel") == "39°C"


def test_rows_refuse_what_would_touch() -> None:
    room = Rows(1, 100, gap=5)
    room.take(0, 0, 40)
    assert not room.free(0, 44, 60)
    assert room.free(0, 45, 60)
    assert not room.free(0, 90, 101)


def test_importing_the_room_does_not_load_altair() -> None:
    import subprocess
    import sys

    code = "import sys, tocsin.plots, tocsin.plots.look; sys.exit('altair' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_whole_spec_is_valid_vega_lite(axi_cel: tuple[pa.Table, pa.Table]) -> None:
    assert timeline(*axi_cel, lib=LIB).to_dict(validate=True)["$schema"]
