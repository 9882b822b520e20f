"""A ward at a glance: one strip of grades for each patient, the sickest on top, with what was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library, library
from tocsin.plots.course import PlotError
from tocsin.plots.look import FONT, SHAPES, Look, look

GRADES = [0, 1, 2, 3, 4, 5]
STRIP = 26  # px for each patient
#: What is marked above a strip, and how.
MARKED = {"tocilizumab": ("tocilizumab", "diamond"), "siltuximab": ("siltuximab", "diamond"),
          "anakinra": ("anakinra", "diamond"), "dexamethasone": ("steroid", "triangle-up"),
          "methylprednisolone": ("steroid", "triangle-up")}  # fmt: skip


def ward(
    facts: pa.Table, intervals: pa.Table, *, lib: Library | None = None, scale: str = "astct-2019",
    title: str = "", titles: Mapping[str, str] | None = None, theme: str = "light", width: int = 900,
) -> alt.TopLevelMixin:  # fmt: skip
    """Grades of many patients over the days since each one's first therapy (or first fact).

    Parameters
    ----------
    facts : canonical facts of whole patients.
    intervals : `tocsin.grade`'s answer, of which `scale` is drawn.
    titles : what to call a patient beside its strip; else its id.

    The grade is a colour with its number; where a higher one is not ruled out, that one's colour runs along
    the lower edge. Patients are ordered by highest grade, then by how long it lasted.

    Raises
    ------
    PlotError : no interval of `scale`.
    """
    lib, colours = lib or library(), look(theme)
    kept = intervals.filter(pc.equal(intervals["scale"], scale)).to_pylist()
    if not kept:
        raise PlotError(f"no grades under `{scale}` to draw\n  fix: grade under it first")
    zero = _zeros(facts, lib)
    strips = joined([strip(row, zero) for row in kept])
    order = _order(strips)
    names = {patient: (titles or {}).get(patient, patient) for patient in order}
    for one in strips:
        one["patient"] = names[one["id"]]
    marks = _marks(facts, zero, names)
    last = max(one["to"] for one in strips)
    first = min(0.0, min(one["from"] for one in strips))
    days = list(range(int(first), int(last) + 1, 2))
    across = alt.X(
        "from:Q", title="days since the first dose", scale=alt.Scale(domain=[first, last], nice=False),
        axis=alt.Axis(grid=True, gridColor=colours.grid, tickMinStep=1, values=days),
    )  # fmt: skip
    down = alt.Y(
        "patient:N", sort=[names[patient] for patient in order], title=None,
        axis=alt.Axis(labelLimit=260, ticks=False, domain=False, labelFontSize=12),
    )  # fmt: skip
    tips = [
        "patient:N",
        "grade:O",
        "up_to:O",
        "because:N",
        alt.Tooltip("from:Q", format=".1f"),
        alt.Tooltip("to:Q", format=".1f"),
    ]
    fills = alt.Scale(domain=GRADES, range=[*colours.grades])
    inks = alt.Scale(domain=GRADES, range=[*colours.on_grade])
    paint = alt.Color("grade:O", scale=fills, legend=None)
    base = alt.Chart(alt.InlineData(values=strips))
    bars = base.mark_bar(height=STRIP - 8, stroke=colours.page, strokeWidth=0.5).encode(
        x=across, x2="to:Q", y=down, color=paint, tooltip=tips
    )
    doubted = base.transform_filter("datum.up_to > datum.grade")
    doubts = doubted.mark_bar(height=4, yOffset=(STRIP - 8) / 2 - 2).encode(
        x=across, x2="to:Q", y=down, tooltip=tips, color=alt.Color("up_to:O", scale=fills, legend=None)
    )
    wide = base.transform_filter(f"datum.grade > 0 && datum.to - datum.from > {(last - first) * 0.012}")
    centred = wide.transform_calculate(middle="(datum.from + datum.to) / 2")
    numbers = centred.mark_text(fontSize=11, fontWeight="bold").encode(
        x="middle:Q", y=down, text="grade:O", color=alt.Color("grade:O", scale=inks, legend=None)
    )
    kinds = ["anti-cytokine", "steroid"]
    hues = alt.Scale(domain=kinds, range=[colours.given[kind] for kind in kinds])
    shapes = alt.Scale(domain=[*_drugs()], range=[*_drugs().values()])
    given = alt.Chart(alt.InlineData(values=marks)).mark_point(
        filled=True, size=52, yOffset=-(STRIP - 8) / 2 - 1, opacity=1, stroke=colours.page, strokeWidth=0.8
    ).encode(
        x="day:Q", y=down,
        shape=alt.Shape("drug:N", scale=shapes, legend=None),
        color=alt.Color("kind:N", scale=hues, legend=None),
        tooltip=["patient:N", "drug:N", alt.Tooltip("day:Q", format=".2f")],
    )  # fmt: skip
    layers = alt.layer(bars, doubts, numbers, given).resolve_scale(color="independent", shape="independent")
    key = _key(colours, width)
    chart = alt.vconcat(
        layers.properties(width=width, height=STRIP * len(order), title=alt.TitleParams(
            title, anchor="start", fontSize=15, color=colours.ink, offset=10)),
        key, spacing=8,
    )  # fmt: skip
    dressed: alt.TopLevelMixin = (
        chart.resolve_scale(color="independent")
        .configure(background=colours.page, font=FONT, padding=18)
        .configure_view(stroke=None, fill=colours.panel)
        .configure_axis(
            labelColor=colours.ink, titleColor=colours.muted, labelFontSize=12, titleFontSize=12
        )
    )  # fmt: skip
    return dressed


def _drugs() -> dict[str, str]:
    """What is marked, to its shape."""
    return dict(MARKED.values())


MARKED_KIND = {"steroid": "steroid"}
EDGE = "M-1,-0.35L1,-0.35L1,0.35L-1,0.35Z"


def _zeros(facts: pa.Table, lib: Library) -> dict[str, datetime]:
    """Each patient's first therapy, else its first fact."""
    therapies = pa.array([*lib.files("therapies")])
    doses = facts.filter(pc.is_in(facts["measure"], value_set=therapies))
    found: dict[str, datetime] = {}
    for table in (doses, facts):
        first = table.group_by("patient_id").aggregate([("time", "min")])
        for row in first.to_pylist():
            found.setdefault(row["patient_id"], row["time_min"])
    return found


def _days(moment: datetime, zero: datetime) -> float:
    return (moment - zero).total_seconds() / 86400.0


def strip(row: Mapping[str, Any], zero: Mapping[str, datetime]) -> dict[str, Any]:
    """One interval in days since its patient's zero."""
    start = zero[row["patient_id"]]
    end = row["end"] or row["start"]
    return {
        "id": row["patient_id"], "from": _days(row["start"], start), "to": _days(end, start),
        "grade": row["grade"], "up_to": row["up_to"], "because": ", ".join(row["because"]),
    }  # fmt: skip


def joined(strips: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours of one patient, grade and doubt as one strip, whatever the reasons between them."""
    found: list[dict[str, Any]] = []
    for strip in strips:
        before = found[-1] if found else None
        if (
            before
            and all(before[key] == strip[key] for key in ("id", "grade", "up_to"))
            and before["to"] == strip["from"]
        ):
            before["to"] = strip["to"]
        else:
            found.append(strip)
    return found


def _order(strips: Sequence[Mapping[str, Any]]) -> list[str]:
    """Patients by highest grade, then by time spent at it, then by time at any."""
    worst: dict[str, int] = {}
    for strip in strips:
        worst[strip["id"]] = max(worst.get(strip["id"], 0), strip["grade"])
    spent = {
        patient: (
            -peak,
            -sum(s["to"] - s["from"] for s in strips if s["id"] == patient and s["grade"] == peak > 0),
            -sum(s["to"] - s["from"] for s in strips if s["id"] == patient and s["grade"] > 0),
            patient,
        )
        for patient, peak in worst.items()
    }
    return sorted(spent, key=lambda patient: spent[patient])


def _marks(facts: pa.Table, zero: Mapping[str, datetime], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """The first dose of each drug in each day, so that marks do not cover each other."""
    drugs = facts.filter(pc.is_in(facts["measure"], value_set=pa.array([*MARKED]))).select(
        ["patient_id", "time", "measure"]
    )
    seen: set[tuple[str, str, int]] = set()
    found = []
    for row in drugs.to_pylist():
        drug = MARKED[row["measure"]][0]
        day = _days(row["time"], zero[row["patient_id"]])
        key = (row["patient_id"], drug, int(day))
        if key not in seen and row["patient_id"] in names:
            seen.add(key)
            found.append({"patient": names[row["patient_id"]], "day": day, "drug": drug,
                          "kind": MARKED_KIND.get(drug, "anti-cytokine")})  # fmt: skip
    return found


def _key(colours: Look, width: int) -> alt.LayerChart | alt.FacetChart:
    """What colours, edge and marks mean, in one line."""
    x = 4.0
    rows: list[dict[str, Any]] = []
    for grade in range(6):
        word = "grade 0" if grade == 0 else str(grade)
        rows.append(
            {
                "x": x,
                "fill": colours.grades[grade],
                "text": word,
                "shape": SHAPES[min(grade, 2)],
                "kind": "grade",
            }
        )
        x += 78.0 if grade == 0 else 40.0
    drug = "tocilizumab or another anti-cytokine drug"
    entries = ((drug, "diamond", colours.given["anti-cytokine"], 270.0),
               ("steroid", "triangle-up", colours.given["steroid"], 80.0))  # fmt: skip
    for text, shape, colour, room in entries:
        rows.append({"x": x, "fill": colour, "text": text, "shape": shape, "kind": "drug"})
        x += room
    rows.append(
        {
            "x": x,
            "fill": colours.grades[3],
            "text": "lower edge: not ruled out",
            "shape": EDGE,
            "kind": "edge",
        }
    )
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, width])), y=alt.value(9)
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        color=alt.Color("fill:N", scale=None), shape=alt.Shape("shape:N", scale=None)
    )
    words = base.mark_text(align="left", dx=10, fontSize=12, color=colours.ink).encode(text="text:N")
    return alt.layer(points, words).properties(width=width, height=18)
