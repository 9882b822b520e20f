"""A cohort from facts: one pass, whole patients at a time, memory by patients and not by rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cohort.charts import GROUPS, charted, given, markers, open_chart, people
from tocsin.cohort.courses import courses, days, open_courses, spans, stages
from tocsin.cohort.records import ALERTS, DAYS, DRAWN, INSTANT, SCHEMAS, SCORES, STAGES, Cohort, Made
from tocsin.complications import complications
from tocsin.complications import names as complication_names
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import TocsinError, near
from tocsin.definitions.score import score_names
from tocsin.episodes import episodes
from tocsin.episodes.columns import as_table
from tocsin.facts import resolve
from tocsin.grading.batch import grade
from tocsin.scores import scores_when

#: Tables kept for the patients that are drawn alone.
DRAWN_TABLES = ("spans", "markers")
Alerted = Callable[[pa.Table], pa.Table]


def gather(
    facts: Iterable[Any],
    scales: str | Sequence[str] = "astct-2019",
    *,
    lib: Library | None = None,
    by: str | None = None,
    groups: Mapping[str, str] | None = None,
    until: datetime | None = None,
    as_of: datetime | None = None,
    organs: bool = True,
    alerted: Alerted | None = None,
    drawn: int = DRAWN,
    engine: str | None = None,
    sources: Sequence[str] = (),
    notify: Callable[[str], None] | None = None,
) -> Cohort:
    """Grade a cohort and keep what papers, registries and pictures need of it.

    Parameters
    ----------
    facts   : canonical facts, a table or batches of whole patients (as `open_source(...).batches()`).
    scales  : graded in one pass; the first is the one that a report speaks of first.
    by      : what the cohort is told apart by, one of `charts.GROUPS`; or `groups`, patient to group.
    until   : facts from here on do not count. `as_of`: nor what was recorded later.
    organs  : whether complications are looked for as well, and scores worked out as of hour 0.
    alerted : given the intervals of whole patients, the alerts (`records.ALERTS`) a ward would have had.
    drawn   : of how many patients, at most, single spans and daily markers are kept.

    Raises `TocsinError` for an unknown group, or where a patient comes back after others.

    >>> from tocsin.testing import patient
    >>> ill = patient("0 h teclistamab", "20 h temperature 39.0 Cel", "50 h temperature 36.8 Cel")
    >>> found = gather(ill)
    >>> found.people["therapy"].to_pylist(), found.courses["max_grade"].to_pylist()
    (['teclistamab'], [1])
    """
    lib = lib or library()
    names = (scales,) if isinstance(scales, str) else tuple(scales)
    if by is not None and by not in GROUPS:
        raise TocsinError(
            f"a cohort cannot be told apart by `{by}`{near(by, GROUPS)}\n"
            f"  fix: one of {', '.join(GROUPS)}, or a table of patients and groups"
        )
    asked = complication_names(lib) if organs else ()
    parts: dict[str, list[pa.Table]] = {name: [] for name in SCHEMAS}
    current: list[pa.Table] = []
    rows = 0

    def passing() -> Iterator[pa.Table]:
        for batch in _tables(facts):
            known = resolve(batch, as_of)
            if until is not None:
                known = known.filter(pc.less(known["time"], pa.scalar(until, INSTANT)))
            if len(known):
                current[:] = [known]
                yield known

    graded = grade(passing(), names, lib=lib, until=until, as_of=as_of, engine=engine, notify=notify)
    for intervals in graded:
        known = current[0]
        rows += len(known)
        ill = complications(known, asked, lib=lib, until=until, as_of=as_of) if asked else None
        with duckdb.connect() as con:
            open_chart(con, known, lib, by, groups)
            open_courses(con, intervals)
            found = {
                "people": people(con),
                "courses": courses(con),
                "episodes": episodes(intervals, known, lib=lib, until=until, as_of=as_of),
                "given": given(con),
                "markers": markers(con),
                "stages": STAGES.empty_table() if ill is None else stages(con, ill),
                "spans": spans(con),
                "days": days(con),
                "charted": charted(con, names, lib),
                "alerts": alerted(intervals) if alerted is not None else ALERTS.empty_table(),
            }
        found["scores"] = _scores(known, found["people"], lib) if organs else SCORES.empty_table()
        for name, table in found.items():
            parts[name].append(table.cast(SCHEMAS[name]))
        _keep_drawn(parts, drawn)
    whole = {
        name: pa.concat_tables(tables) if tables else SCHEMAS[name].empty_table()
        for name, tables in parts.items()
    }
    _refuse_twice(whole["people"])
    whole["days"] = _summed(whole["days"])
    hashes = {name: lib.definition_hash(name) for name in names}
    for name, column, told in (
        ("stages", "complication", "definition"),
        ("scores", "score", "definition"),
        ("episodes", "scale", "closing"),
    ):
        pairs = whole[name].group_by([column, told]).aggregate([]).to_pylist()
        prefix = "closing of " if name == "episodes" else ""
        hashes |= {f"{prefix}{row[column]}": row[told] for row in pairs}
    made = Made(version("tocsin"), tuple(sources), until, as_of, facts=rows)
    told_by = by or ("group" if groups is not None else None)
    return Cohort(names, **whole, made=made, by=told_by, definitions=hashes)


def _tables(facts: Any) -> Iterator[pa.Table]:
    if hasattr(facts, "__arrow_c_stream__") or isinstance(facts, pa.RecordBatch):
        yield as_table(facts)
        return
    for batch in facts:
        if batch.num_rows:
            yield as_table(batch)


def _scores(known: pa.Table, people_: pa.Table, lib: Library) -> pa.Table:
    """Every published score that can be calculated, as of each patient's hour 0."""
    zeros = people_["zero"].cast(pa.int64()).to_pylist()
    when = dict(zip(people_["patient_id"].to_pylist(), zeros, strict=True))
    rows = [
        {"patient_id": told.patient, "score": told.score, "low": told.low, "high": told.high,
         "missing": list(told.missing), "definition": told.definition}
        for told in scores_when(known, score_names(lib), when, lib)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, SCORES)


def _keep_drawn(parts: dict[str, list[pa.Table]], most: int) -> None:
    """Leave single spans and daily markers to the patients whose ids have the smallest hashes."""
    everyone = np.concatenate([table["patient_id"].to_numpy() for table in parts["people"]])
    kept = {name: sum(table.num_rows for table in parts[name]) for name in DRAWN_TABLES}
    if len(everyone) <= most or not any(kept.values()):
        return
    drawn = sorted(everyone, key=lambda name: sha256(name.encode()).digest())[:most]
    wanted = pa.array(drawn, pa.string())
    for name in DRAWN_TABLES:
        table = pa.concat_tables(parts[name])
        parts[name] = [table.filter(pc.is_in(table["patient_id"], value_set=wanted))]


def _summed(days_: pa.Table) -> pa.Table:
    """Counts of all batches added up."""
    keys = [name for name in DAYS.names if name != "patients"]
    summed = days_.group_by(keys).aggregate([("patients", "sum")]).rename_columns([*keys, "patients"])
    return summed.sort_by([(name, "ascending") for name in keys]).select(DAYS.names).cast(DAYS)


def _refuse_twice(table: pa.Table) -> None:
    """A patient that two batches hold would be counted twice, each time on half the facts."""
    if len(table) == len(table["patient_id"].unique()):
        return
    counts = table["patient_id"].value_counts()
    twice = next(row["values"] for row in counts.to_pylist() if row["counts"] > 1)
    raise TocsinError(
        f"patient {twice} comes back after other patients\n"
        "  why: half a chart at a time would be graded, and the patient counted twice\n"
        "  fix: read all files together, as in `tocsin cohort folder/`, or write them with `tocsin facts`"
    )
