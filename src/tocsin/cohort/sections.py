"""What a report says, in order: sections of text, tables and the names of their figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cohort.charts import REPORT
from tocsin.cohort.persons import EVERYBODY
from tocsin.cohort.records import Cohort
from tocsin.cohort.words import (
    Row,
    Shown,
    ends,
    hundredths,
    in_one_unit,
    percent,
    plain,
    share_text,
    side_by_side,
    text,
    time_text,
)
from tocsin.definitions.load import Library
from tocsin.definitions.report import report_of
from tocsin.plots.look import number, unit_text

Tables = Mapping[str, pa.Table]
#: Said wherever rates of two scales stand near each other.
NOT_COMPARED = (
    "Rates under different scales are not compared here, and should not be: one illness can be grade 3 under "
    "one scale and grade 1 or 2 under another. What follows compares the scales on the same patients."
)
COMPETE = (
    "Aalen-Johansen. Death and the end of the record both compete with onset: nobody is assumed to have been "
    "watched for longer than they were. The file has curves beside these in which the end of the record only "
    "censors, which assumes that those no longer watched fare as the others do."
)


@dataclass(frozen=True, slots=True)
class Section:
    """One section; `figures` are the names `figures.drawn` makes, shown above the tables."""

    id: str
    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Shown, ...] = ()
    figures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """A number for the head of the page: of everybody, under the first scale."""

    name: str
    value: str
    note: str = field(default="")


def keys(cohort: Cohort, tables: Tables, lib: Library) -> tuple[Key, ...]:
    """The numbers a reader looks for first."""
    scale = cohort.scales[0]
    outcome, high = lib.scale(scale).outcome, report_of(REPORT, lib).high
    last = everybody(tables)
    shares = {row["what"]: row for row in _of(tables["proportions"], last, scale)}
    given = {row["what"]: row for row in _of(tables["proportions"], last, None)}
    times = {row["what"]: row for row in _of(tables["times"], last, scale)}
    found = [Key("patients", f"{cohort.people.num_rows:,}", f"{cohort.made.facts:,} facts")]
    for row, name in (
        (shares[f"{outcome}-any"], f"{outcome.upper()}, any grade"),
        (shares[f"{outcome}-at-least-{high}"], f"grade {high} or higher"),
        *((row, f"given {row['says'].lower()}") for what, row in given.items() if what == "tocilizumab"),
    ):
        found.append(Key(name, percent(row["share"]) or "–", f"{row['n']:,} of {row['of']:,}; {ends(row)} %"))
    for what, name in (("onset", "median time to onset"), ("duration", "median time to resolution")):
        middle, _, rest = time_text(times[what]).partition(" (")
        found.append(Key(name, middle, f"95 % interval {rest.partition(')')[0]}" if rest else ""))
    return tuple(found)


def _of(table: pa.Table, group: str, scale: str | None) -> list[Row]:
    return [row for row in table.to_pylist() if row["group"] == group and row["scale"] == scale]


def sections(cohort: Cohort, tables: Tables, lib: Library, *, patients: bool = True) -> list[Section]:
    """Every section of a report. `patients`: with the pictures of patients one by one."""
    titles = {scale: lib.scale(scale).title for scale in cohort.scales}
    found = [_people(tables), *(_scale(scale, titles[scale], tables, lib) for scale in cohort.scales)]
    found += [_treatments(tables), _complications(tables), _markers(cohort, tables)]
    if patients:
        found.append(Section(
            "patients", "Patients one by one",
            ("Lanes are numbered; a number says nothing of a patient. Sorted by highest grade, then onset.",),
            figures=tuple(f"{name}-{scale}" for scale in cohort.scales[:1] for name in ("lanes", "heat")),
        ))  # fmt: skip
    found += [_daily(cohort), _agreement(cohort, tables), _alerts(tables), _missing(tables), _unsaid(tables)]
    return [each for each in found if each.tables or each.figures]


def _people(tables: Tables) -> Section:
    flow = plain(
        tables["patient-flow"], {"label": "", "n": "patients", "why_left": "why"},
        title="Flow of patients", file="patient-flow",
    )  # fmt: skip
    who = plain(
        tables["groups"],
        {
            "group": "group", "patients": "patients", "with_dose": "with a charted dose",
            "age_median": "median age", "age_unknown": "age unknown", "female": "women", "male": "men",
            "sex_unknown": "sex unknown", "deaths": "died",
            "followed_days_median": "median follow-up, d",
        },
        title="Who they are", file="groups",
    )  # fmt: skip
    return Section("people", "Patients", (), (*flow, *who), ("flow",))


def _scale(scale: str, title: str, tables: Tables, lib: Library) -> Section:
    outcome = lib.scale(scale).outcome
    own = pc.equal(tables["proportions"]["scale"], scale)
    shares = tables["proportions"].filter(pc.fill_null(own, False))
    times = tables["times"].filter(pc.fill_null(pc.equal(tables["times"]["scale"], scale), False))
    later = (f"{outcome}-first-", f"{outcome}-recurred", f"{outcome}-after-dose")
    treated = f"{outcome}-given-"
    grades = side_by_side(
        shares, "what", share_text, title=f"Highest grade, {scale}", file="proportions",
        keep=lambda row: not row["what"].startswith((*later, treated)),
        level=lambda row: int(row["what"].endswith(("-measured", "-out"))),
        note="Of those graded under this scale; Clopper-Pearson 95 % intervals. Grade 0 counts those of whom "
        "nobody measured anything too: they are told apart below it.",
    )  # fmt: skip
    when = side_by_side(
        times,
        "what",
        in_one_unit(times.to_pylist()),
        title=f"Times, {scale}",
        file="times",
        note="Median (95 % interval); quartiles; range. To onset: of those with one, from hour 0 (the "
        "first dose "
        "of a therapy; where none is charted, the first fact); the interval by order statistics. To "
        "resolution: "
        "first episodes, Kaplan-Meier; censored where the end was not observed, the record ended or the "
        "patient died. An episode that reached a grade counts from its onset, not from that grade.",
    )
    ends = side_by_side(
        shares,
        "what",
        share_text,
        title=f"Episodes, {scale}",
        file="proportions",
        keep=lambda row: row["what"].startswith(later),
        note="How first episodes ended; more than one, of those with any; after each dose, of those given "
        "it.",
    )
    answers = side_by_side(
        shares,
        "what",
        share_text,
        title=f"Treated, {scale}",
        file="proportions",
        keep=lambda row: row["what"].startswith(treated),
        note="Of those with an onset, given at or after it; what was given to prevent it does not count, "
        "and is under Treatments.",
    )
    return Section(
        f"scale-{scale}", title,
        (f"Everything here is graded under {scale}. {COMPETE}",), (*grades, *when, *ends, *answers),
        tuple(f"{name}-{scale}" for name in ("grades", "incidence", "duration", "onsets")),
    )  # fmt: skip


def _treatments(tables: Tables) -> Section:
    bare = tables["proportions"].filter(pc.is_null(tables["proportions"]["scale"]))
    given = side_by_side(
        bare,
        "what",
        share_text,
        title="Given, and laboratory bounds",
        file="proportions",
        level=lambda row: int(
            "-" in row["what"] and row["what"] not in ("anti-cytokine", "fibrinogen-below-1")
        ),
        note="Of everybody in the group, from hour 0 on, whatever it was given for, to prevent as well as "
        "to treat. "
        "None means that no row "
        "says so: a chart without a drug's rows cannot tell not given from not charted.",
    )
    days = tables["times"].filter(pc.is_null(tables["times"]["scale"]))
    long = side_by_side(
        days, "what", time_text, title="How long", file="times", note="Of those who had it, in days."
    )
    return Section("treatments", "Treatments", (), (*given, *long))


def _complications(tables: Tables) -> Section:
    """A row a complication, a column a stage; of everybody: the file has the groups and the intervals."""
    last = everybody(tables)
    rows = [row for row in tables["complications"].to_pylist() if row["group"] == last]
    stages = sorted({row["stage"] for row in rows if row["stage"] is not None})
    cells = {(row["complication"], row["stage"]): row for row in rows}

    def told(name: str, stage: int | None) -> str:
        row = cells.get((name, stage))
        return f"{row['n']:,} ({percent(row['share'])})" if row and row["n"] else "0"

    says = {row["complication"]: row["says"] for row in rows}
    lines = tuple(
        (title, *(told(name, stage) for stage in stages), told(name, None)) for name, title in says.items()
    )
    if not lines:
        return Section("complications", "Complications")
    shown = Shown(
        "Highest stage of each complication",
        ("", *(f"stage {stage}" for stage in stages), "none proven, one not ruled out"),
        lines,
        (0,) * len(lines),
        "complications",
        f"Of {rows[0]['of']:,} patients; whoever is in no column had no stage. Aids to a differential "
        "diagnosis, not diagnoses. The file has every group and the exact intervals.",
    )
    return Section("complications", "Complications", (), (shown, *_scores(tables)))


def _scores(tables: Tables) -> list[Shown]:
    """Scores as of hour 0, a column a group."""

    def told(row: Row) -> str:
        middle = (
            "none"
            if row["median"] is None
            else (f"{number(row['median'])} ({number(row['q1'])}–{number(row['q3'])})")
        )
        lacking = f"; {row['incomplete']:,} incomplete" if row["incomplete"] else ""
        return f"{middle}; n {row['n']:,}{lacking}"

    note = (
        "Median (quartiles) of those with every input known by hour 0; a score that lacks one is a range and "
        "is counted, not averaged. How little most tell of CRS stands in the answers of tocsin score."
    )
    return side_by_side(
        tables["scores"], "score", told, title="Scores at hour 0", file="scores", note=note,
        keep=lambda row: bool(row["n"] or row["incomplete"]),
    )  # fmt: skip


def _markers(cohort: Cohort, tables: Tables) -> Section:
    """A row a biomarker, a column a highest grade."""
    last, scale = everybody(tables), cohort.scales[0]
    rows = [row for row in tables["markers"].to_pylist() if (row["group"], row["scale"]) == (last, scale)]
    if not rows:
        return Section("markers", "Biomarkers")
    grades = sorted({row["max_grade"] for row in rows})
    cells = {(row["measure"], row["max_grade"]): row for row in rows}
    says = {row["measure"]: f"{row['says']}, {row['worst']}, {unit_text(row['unit'])}" for row in rows}

    def told(measure: str, grade: int) -> str:
        row = cells.get((measure, grade))
        return f"{text(row['median'])} ({text(row['q1'])}–{text(row['q3'])}); {row['n']:,}" if row else ""

    shown = Shown(
        f"Worst values by highest grade, {scale}",
        ("", *(f"grade {grade}" for grade in grades)),
        tuple((title, *(told(name, grade) for grade in grades)) for name, title in says.items()),
        (0,) * len(says),
        "markers",
        "Median (quartiles) of each patient's worst value; of how many. Of those measured: whoever is ill is "
        "measured more often, and a part of any difference is that.",
    )
    return Section("markers", "Biomarkers", (), (shown,), (f"markers-{scale}",))


def _daily(cohort: Cohort) -> Section:
    figures = tuple(f"daily-{scale}" for scale in cohort.scales[:1]) if cohort.days.num_rows else ()
    says = "The highest grade of each day, and where those patients stood on the day after."
    return Section("days", "From day to day", (says,), (), figures)


def _agreement(cohort: Cohort, tables: Tables) -> Section:
    kappas = tables["kappas"]
    shown = plain(
        kappas,
        {
            "group": "group", "rows": "one", "columns": "the other", "n": "n", "patients": "patients",
            "kappa": "kappa", "low": "low", "high": "high", "exactly": "alike",
            "within_one": "within one", "not_contradicted": "not contradicted",
        },
        told={
            "kappa": hundredths, "low": hundredths, "high": hundredths, "exactly": percent,
            "within_one": percent, "not_contradicted": percent,
        },
        title="Agreement",
        file="kappas",
        note="Kappa with quadratic weights; interval by bootstrap of patients (2,000 draws, fixed seed). "
        "Between scales: each patient's highest grade. Charted: our grade at the instant; not "
        "contradicted is from "
        "proven to not ruled out. A charted grade is one rater, not the truth.",
    )
    missed = (
        []
        if "disagreements" not in tables
        else plain(
            tables["disagreements"],
            {
                "group": "group", "patient_id": "patient", "hours": "hour",
                "scale": "scale of the chart", "charted": "charted", "ours": "under", "grade": "grade",
                "up_to": "up to",
            },
            title="Charted grades that the facts contradict",
            file="disagreements",
            most=50,
        )
    )
    pairs = [
        tuple(pair)
        for pair in dict.fromkeys(
            zip(*(kappas[name].to_pylist() for name in ("rows", "columns")), strict=True)
        )
    ]
    figures = [f"confusion-{rows}-{columns}" for rows, columns in pairs[:6]]
    if any(columns != "charted" for _, columns in pairs):
        figures.insert(0, "scale-flow")
    return Section("agreement", "Agreement", (NOT_COMPARED,), (*shown, *missed), tuple(figures))


def _alerts(tables: Tables) -> Section:
    if not pc.sum(tables["alerts"]["alerts"]).as_py():
        return Section("alerts", "Alerts")
    shown = plain(
        tables["alerts"],
        {
            "group": "group", "scale": "scale", "kind": "kind", "alerts": "alerts",
            "patients": "patients", "patient_days": "patient-days", "rate": "a patient-day",
            "low": "low", "high": "high",
        },
        title="Alerts a ward would have had",
        file="alerts",
        note="The ward's rules (definition ward-alerts) replayed at every change of an answer, as if "
        "every fact "
        "had been known at its time and nobody had answered an alert; those of clocks and tests are not "
        "replayed. Exact Poisson intervals, which take alerts as independent: they come in runs, so the real "
        "ones are wider.",
    )
    return Section("alerts", "Alerts a patient-day", (), tuple(shown))


def _missing(tables: Tables) -> Section:
    shown = plain(
        tables["missing"],
        {
            "group": "group", "scale": "scale", "patients": "patients", "hours": "hours graded",
            "unmeasured": "nobody measuring, h", "share_unmeasured": "share",
            "open": "higher not ruled out, h", "share_open": "share", "open_grades": "mean grades open",
        },
        told={"share_unmeasured": percent, "share_open": percent},
        title="What nobody measured",
        file="missing",
    )
    return Section("missing", "Missing data", (), tuple(shown), ("measured",))


def _unsaid(tables: Tables) -> Section:
    shown = plain(
        tables["not-reported"],
        {"says": ""},
        title="Not reported: the facts cannot say it",
        file="not-reported",
    )
    return Section("unsaid", "Not reported", ("Not reported is not none.",), tuple(shown))


def everybody(tables: Tables) -> str:
    """The name of the row of all patients: the one group there is, or `all`."""
    names = tables["groups"]["group"].to_pylist()
    return EVERYBODY if EVERYBODY in names else str(names[-1])
