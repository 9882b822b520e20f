"""The figures of a report: which there are, from which tables, and what stands under each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cohort import lanes as lanes_
from tocsin.cohort.marker_days import values
from tocsin.cohort.persons import EVERYBODY, Persons
from tocsin.cohort.records import Cohort
from tocsin.definitions.load import Library

Tables = Mapping[str, pa.Table]
#: Groups side by side in one figure; of more, the largest, and the caption says so.
MOST_GROUPS = 6
#: Pairs of scales that get a square of their own; of all, the numbers are in the table.
MOST_PAIRS = 6
THEMES = ("light", "dark")


@dataclass(frozen=True, slots=True)
class Figure:
    """One drawing as SVG on light and on dark, and its words. `files` name the tables with its numbers."""

    name: str
    title: str
    note: str
    light: str
    dark: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A figure to draw: `chart(theme=...)` makes it."""

    name: str
    title: str
    note: str
    chart: Callable[..., Any]
    files: tuple[str, ...]


def drawn(
    cohort: Cohort, tables: Tables, lib: Library, *, patients: bool, called: Mapping[str, str] | None,
    done: Callable[[str], None],
) -> dict[str, Figure]:  # fmt: skip
    """Every figure that has something to show, by name."""
    from tocsin.plots.files import drawn as bytes_of

    found = {}
    for one in asked(cohort, tables, lib, patients=patients, called=called):
        light, dark = (bytes_of(one.chart(theme=theme), ".svg", 1.0).decode() for theme in THEMES)
        found[one.name] = Figure(one.name, one.title, one.note, light, dark, one.files)
        done(f"drew {one.title}")
    return found


def asked(
    cohort: Cohort,
    tables: Tables,
    lib: Library,
    *,
    patients: bool = True,
    called: Mapping[str, str] | None = None,
) -> Iterator[Asked]:
    """What is to be drawn, as charts not yet made: tests read the numbers out of these.

    `called` names patients otherwise than by their ids.
    """
    from tocsin.plots import cohort_bars, cohort_flow

    made = Made(cohort, tables, lib, called or {})
    boxes = partial(cohort_flow.patient_flow, made.flow())
    yield Asked("flow", "Flow of patients", made.note(cohort.scales[0]), boxes, ("patient-flow",))
    for scale in cohort.scales:
        yield from _of_scale(made, scale)
    yield from _of_first(made, cohort.scales[0], patients)
    yield from _agreement(made)
    hours = made.chosen(tables["missing"])
    yield Asked(
        "measured", "Hours graded, and what nobody measured", made.note(),
        partial(cohort_bars.hours_measured, hours, names=made.names), ("missing",),
    )  # fmt: skip


class Made:
    """What every figure needs: which groups are drawn, what they are called, what stands underneath."""

    def __init__(self, cohort: Cohort, tables: Tables, lib: Library, called: Mapping[str, str]) -> None:
        self.cohort, self.tables, self.lib, self.called = cohort, tables, lib, called
        self.names = {EVERYBODY: "all patients"}
        rows = tables["groups"].to_pylist()
        sizes = {row["group"]: row["patients"] for row in rows}
        own = [name for name in sizes if name != EVERYBODY or len(sizes) == 1]
        largest = sorted(own, key=lambda name: (-sizes[name], name))[:MOST_GROUPS]
        self.everybody = rows[-1]["group"]
        self.groups = [name for name in own if name in largest]
        left = len(own) - len(self.groups)
        self.left = f" The {MOST_GROUPS} largest of {len(own)} groups." if left else ""
        cut = [
            f"{word} {at:%Y-%m-%d %H:%M} UTC"
            for word, at in (("facts before", cohort.made.until), ("as recorded by", cohort.made.as_of))
            if at
        ]
        self.cut = f"Data cut: {', '.join(cut)}." if cut else "Data cut: none, all of the record."

    def chosen(self, table: pa.Table, scale: str | None = None) -> pa.Table:
        """The rows of the groups that are drawn, in their order; of one scale where asked for."""
        table = table.filter(pc.is_in(table["group"], value_set=pa.array(self.groups, pa.string())))
        return table if scale is None else table.filter(pc.fill_null(pc.equal(table["scale"], scale), False))

    def flow(self) -> list[tuple[str, int, str]]:
        """Who was read, is in the cohort, and is analysed under the first scale; why the others left."""
        rows = {row["label"]: row["n"] for row in self.tables["patient-flow"].to_pylist()}
        scale = self.cohort.scales[0]
        analysed = f"Analysed under {scale}"
        left = rows["In the cohort"] - rows[analysed]
        unusable = rows.get("Not usable", 0)
        return [
            (
                "Patients read",
                rows["Patients read"],
                f"{unusable:,} without any usable row" if unusable else "",
            ),
            ("In the cohort", rows["In the cohort"], f"{left:,} not graded under {scale}" if left else ""),
            (analysed, rows[analysed], ""),
        ]

    def note(self, scale: str | None = None, more: str = "") -> str:
        """n, scale, data cut, and the rule of censoring where one applies."""
        n = f"n = {self.cohort.people.num_rows:,}."
        named = f" Scale: {scale}." if scale else ""
        return f"{n}{named} {self.cut}{' ' + more if more else ''}{self.left}"


def _of_scale(made: Made, scale: str) -> Iterator[Asked]:
    """Highest grades, curves and onsets under one scale."""
    from tocsin.plots import cohort_bars, cohort_curves

    tables, names, outcome = made.tables, made.names, made.lib.scale(scale).outcome
    shares = made.chosen(tables["proportions"], scale)
    drawn = pc.replace_substring_regex(shares["what"], pattern=f"^{outcome}-", replacement="crs-")
    shares = shares.set_column(shares.schema.get_field_index("what"), "what", drawn)
    yield Asked(
        f"grades-{scale}", f"Highest grade, {scale}",
        made.note(scale, "Hatched: a higher grade was not ruled out at some time."),
        partial(cohort_bars.maximum_grades, shares, names=names), ("proportions",),
    )  # fmt: skip
    curves = made.chosen(tables["curves"], scale)
    known = set(curves["curve"].to_pylist())
    if "onset-any" in known:
        yield Asked(
            f"incidence-{scale}",
            f"Cumulative incidence of onset, {scale}",
            made.note(
                scale,
                "Aalen-Johansen: death and the end of the record compete; nobody is censored. Bands: 95 %.",
            ),
            partial(cohort_curves.cumulative_incidence, curves, names=names),
            ("curves",),
        )
    if "resolution-any" in known:
        yield Asked(
            f"duration-{scale}",
            f"From onset to resolution, {scale}",
            made.note(
                scale,
                "First episodes. Kaplan-Meier: censored where the end was not observed, the record ended "
                "or the patient died. Bands: 95 %.",
            ),
            partial(cohort_curves.duration, curves, names=names),
            ("curves",),
        )
    onsets = made.chosen(tables["onsets"], scale)
    if onsets.num_rows:
        yield Asked(
            f"onsets-{scale}", f"Onset after each dose, {scale}", made.note(scale, "Every episode."),
            partial(cohort_bars.onset_histogram, onsets, names=names), ("onsets",),
        )  # fmt: skip


def _of_first(made: Made, scale: str, patients: bool) -> Iterator[Asked]:
    """What is drawn under the first scale alone: patients one by one, days, biomarkers."""
    from tocsin.plots import cohort_flow, cohort_heat, cohort_lanes, cohort_markers

    cohort, tables = made.cohort, made.tables
    if patients and cohort.spans.num_rows:
        people, spans, given = (
            lanes_.renamed(table, made.called, not made.called)
            for table in (cohort.people, cohort.spans, cohort.given)
        )
        second = next(
            (each for each in cohort.scales if made.lib.scale(each).outcome == "icans" and each != scale),
            None,
        )
        files = ("lanes", "lane-spans", "lane-given")
        lanes = partial(cohort_lanes.swimlane, people, spans, given, scale, second=second, names=made.names)
        yield Asked(f"lanes-{scale}", f"A lane a patient, {scale}", made.note(scale), lanes, files)
        heat = partial(cohort_heat.patient_hours, people, spans, scale, names=made.names)
        yield Asked(f"heat-{scale}", f"Every patient's hours, {scale}", made.note(scale), heat, files[:2])
    days = cohort.days.filter(pc.equal(cohort.days["scale"], scale))
    if days.num_rows:
        yield Asked(
            f"daily-{scale}", f"Highest grade from day to day, {scale}", made.note(scale),
            partial(cohort_flow.daily_flow, days, scale=scale, names=made.names), ("days",),
        )  # fmt: skip
    if tables["marker-days"].num_rows:
        raw = values(Persons(cohort, made.lib), scale)
        yield Asked(
            f"markers-{scale}",
            f"Biomarkers by highest grade, {scale}",
            made.note(
                scale, "Each patient's highest of a day, of those measured that day: median and quartiles."
            ),
            partial(cohort_markers.markers_by_grade, raw),
            ("marker-days", "markers"),
        )


def _agreement(made: Made) -> Iterator[Asked]:
    """The flow between scales, and a square of every pair, of everybody."""
    from tocsin.plots import cohort_confusion, cohort_flow

    table = made.tables["confusion"]
    table = table.filter(pc.equal(table["group"], made.everybody))
    kappas = {
        (row["rows"], row["columns"]): row["kappa"]
        for row in made.tables["kappas"].to_pylist() if row["group"] == made.everybody
    }  # fmt: skip
    between = table.filter(pc.not_equal(table["columns"], "charted"))
    if between.num_rows:
        pairs = {*between["rows"].to_pylist(), *between["columns"].to_pylist()}
        outcome = made.lib.scale(between["rows"][0].as_py()).outcome
        scales = [
            one for one in made.cohort.scales if one in pairs and made.lib.scale(one).outcome == outcome
        ]
        yield Asked(
            "scale-flow", "The same patients' highest grades under each scale", made.note(),
            partial(cohort_flow.scale_flow, between, scales=scales, names=made.names), ("confusion",),
        )  # fmt: skip
    for (rows, columns), kappa in [*kappas.items()][:MOST_PAIRS]:
        own = table.filter(pc.and_(pc.equal(table["rows"], rows), pc.equal(table["columns"], columns)))
        told = "" if kappa is None else f"Quadratic kappa {kappa:.2f}."
        yield Asked(
            f"confusion-{rows}-{columns}", f"{rows} and {columns}", made.note(more=told),
            partial(cohort_confusion.confusion, own, kappa=kappa, names=made.names), ("confusion", "kappas"),
        )  # fmt: skip
