"""A scale through Ibis to SQL: the second, independent writing of what a definition means.

Reads a canonical facts table where it lies (DuckDB and PostgreSQL are executed by the tests) and answers
`patient_id, scale, start, end, grade, up_to, ambiguous`. `docs/grading.md` says what each word means.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import ibis
import pyarrow as pa

from tocsin.definitions.load import Library
from tocsin.definitions.scale import measures_of
from tocsin.definitions.schema import Row, Scale
from tocsin.grading.sql_engines import SqlCannotSay
from tocsin.grading.sql_findings import Findings
from tocsin.grading.sql_readings import Channel, Chart
from tocsin.grading.sql_spans import FOREVER, Part, Spans, Table, neighbours, number, ordered, whole

__all__ = ["SCHEMA", "SqlCannotSay", "grade"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("patient_id", pa.string()),
        ("scale", pa.string()),
        ("start", INSTANT),
        ("end", INSTANT),
        ("grade", pa.int64()),
        ("up_to", pa.int64()),
        ("ambiguous", pa.bool_()),
    ]
)


def grade(
    con: Any,
    facts: Table,
    scale: Scale,
    lib: Library,
    *,
    until: datetime | None = None,
    as_of: datetime | None = None,
) -> pa.Table:
    """Grade every patient of a canonical facts table under one scale, inside the engine.

    Parameters
    ----------
    con   : an Ibis backend (DuckDB or PostgreSQL); temporary tables are made in it and dropped.
    facts : the canonical facts there, as `tocsin facts` writes them (every value in its measure's unit).
    scale : from `lib.scale(id)`.
    lib   : the library the scale came from.
    until : cut every row here (aware).
    as_of : use only facts recorded by then, and cut or extend the last state to then (aware).

    Returns
    -------
    A table of `SCHEMA`, by patient and start; `end` null is an open row. Neighbours differ in what is shown.

    Raises
    ------
    SqlCannotSay : the scale uses a word this translation refuses, or the engine is one nobody has tried.
    """
    with graded(con, facts, scale, lib, until=until, as_of=as_of) as rows:
        return _shown(con.to_pyarrow(rows), scale)


@contextmanager
def graded(
    con: Any,
    facts: Table,
    scale: Scale,
    lib: Library,
    *,
    until: datetime | None = None,
    as_of: datetime | None = None,
) -> Iterator[Table]:
    """As `grade`, but the answer stays in the engine, not yet run: patient_id, s, e, grade, up_to, ambiguous.

    Times are microseconds since 1970 and `FOREVER` an open end. Good inside the `with` block only.
    """
    names = reachable(scale)
    bench = Spans(con)
    try:
        known = None if as_of is None else instant(as_of)
        chart = Chart(bench, facts, lib, read_by(scale, lib, names), known)
        findings = Findings(bench, chart, scale)
        states = bench.keep(_graded(bench, findings, scale))
        lapse = bench.keep(_last_change(bench, chart, findings, names))
        cut = FOREVER if until is None else instant(until)
        yield _table(bench, chart, states, lapse, scale, (known, cut))
    finally:
        bench.close()


def instant(time: datetime) -> int:
    """Microseconds since 1970 of an aware time, exactly."""
    return (time - EPOCH) // timedelta(microseconds=1)


def reachable(scale: Scale) -> list[str]:
    """The findings that rows, judgements and flags rest on, in the order they are met."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in found:
            found[name] = None
            for other in scale.findings[name].names:
                visit(other)

    for row in scale.rows:
        for name in (*row.all, *row.any, *row.none):
            visit(name)
    for name in (*[judgement.when for judgement in scale.judgements], *scale.flags.values()):
        visit(name)
    return list(found)


def read_by(scale: Scale, lib: Library, names: list[str]) -> set[str]:
    """Every measure these findings read, and those that decide how a reading stands."""
    used: set[str] = set()
    for name in names:
        finding = scale.findings[name]
        used.update(measures_of(finding, lib))
        if finding.bound == "age-limit":
            used.add("age")
    used.update(held for name in list(used) if (held := lib.measure(name).held_with))
    return used


def _graded(bench: Spans, findings: Findings, scale: Scale) -> Table:
    """(k, s, e, grade, up_to, ambiguous) over each universe."""
    parts: list[Part] = [(findings.rule(row), _adds(row)) for row in scale.rows]
    grades = sorted({row.grade for row in scale.rows}, reverse=True)
    present = {name for _, adds in parts for name in adds}

    def values(run: Table) -> dict[str, Any]:
        def amount(name: str) -> Any:
            return run[name] if name in present else ibis.literal(0)

        grade: Any = ibis.cases(*[(amount(f"yes{at}") > 0, at) for at in grades], else_=0)
        highest: Any = ibis.cases(*[(amount(f"may{at}") > 0, at) for at in grades], else_=0)
        up_to = ibis.greatest(grade, highest)
        proven = [(grade == at, (amount(f"yes{at}") > 0) & (amount(f"firm{at}") == 0)) for at in grades]
        hinted = [(grade < at) & (amount(f"hint{at}") > 0) for at in grades]
        ambiguous = ibis.cases(*proven, else_=False) | ibis.or_(*hinted)
        return {"grade": grade, "up_to": up_to, "ambiguous": number(ambiguous)}

    return bench.tile(parts, values)


def _adds(row: Row) -> dict[str, str | int]:
    """What a row counts towards while it lasts: yes, firm (not ambiguous), may; a possible row also hints."""
    adds: dict[str, str | int] = {f"may{row.grade}": "hi"}
    if row.possible:
        return adds | ({f"hint{row.grade}": "lo"} if row.ambiguous else {})
    adds[f"yes{row.grade}"] = "lo"
    if not row.ambiguous:
        adds[f"firm{row.grade}"] = "lo"
    return adds


def _last_change(bench: Spans, chart: Chart, findings: Findings, names: list[str]) -> Table:
    """(patient_id, last): the last instant after the first fact at which a finding or its reading changes."""
    # That something was charted says nothing for itself: presence alone does not lengthen the record.
    lasting = [name for name in names if findings.scale.findings[name].form != "charted"]
    none = chart.keys.filter(ibis.literal(False))
    moves = [none.select("k", t="u0", f=whole(0), lo=whole(0), hi=whole(0))]
    for place, name in enumerate(lasting):
        steps = findings[name]
        for end, sign in (("s", 1), ("e", -1)):
            moves.append(
                steps.select(
                    "k",
                    t=steps[end],
                    f=whole(place),
                    lo=(steps.lo * sign).cast("int64"),
                    hi=(steps.hi * sign).cast("int64"),
                )
            )
    every = bench.keep(ibis.union(*moves, distinct=False))
    keys = chart.keys.select("k", "patient_id", "first")
    named = every.join(keys, "k")
    named = named.filter((named.t > named["first"]) & (named.t < FOREVER))
    # Both records of a patient meet at the first dose: what ends and begins alike there is no change.
    net = named.group_by("patient_id", "f", "t").aggregate(lo=named.lo.sum(), hi=named.hi.sum())
    changed = net.filter((net.lo != 0) | (net.hi != 0))
    turns = bench.keep(_turns(chart, findings, names))
    last = ibis.union(changed.select("patient_id", "t"), turns, distinct=False)
    return last.group_by("patient_id").aggregate(last=last.t.max())


def _turns(chart: Chart, findings: Findings, names: list[str]) -> Table:
    """(patient_id, t): where the readings looked at lapse or give way, those that stand for ever left out."""
    channels: dict[Channel, None] = {}
    for name in names:
        finding = findings.scale.findings[name]
        if finding.form == "measure":
            channels[findings.verdicts.channel(finding)] = None
        for term in finding.terms:
            channels[Channel(term.measure, None, None, term.unit, finding.hold_hours)] = None
    # The last record of a patient knows every fact.
    keys = chart.keys.filter(chart.keys.u1 == FOREVER).select("k", "patient_id", "first")
    found = [keys.select("patient_id", t="first")]
    for channel in channels:
        rows = chart.lapses(channel)
        ends = rows.filter(rows.halt < FOREVER).select("k", t=ibis.least(rows.halt, rows.nxt, rows.void))
        found.append(ends.group_by("k").aggregate(t=ends.t.max()).join(keys, "k").select("patient_id", "t"))
    every = ibis.union(*found, distinct=False)
    return every.join(keys, "patient_id").filter(ibis._.t > ibis._["first"]).select("patient_id", "t")


def _table(
    bench: Spans,
    chart: Chart,
    graded: Table,
    lapse: Table,
    scale: Scale,
    cuts: tuple[int | None, int],
) -> Table:
    """Join both records of a patient, end at the last change or death, merge equal neighbours."""
    rows = graded.join(chart.keys.select("k", "patient_id"), "k")
    people = chart.keys.select("patient_id", "died").distinct()
    dead = chart.rows.filter((chart.rows.measure == "death") & (chart.rows.text == scale.fatal))
    fatal = dead.group_by("patient_id").aggregate(fell=dead.t.min())
    ends = people.left_join(lapse, "patient_id").drop("patient_id_right")
    ends = ends.left_join(fatal, "patient_id").drop("patient_id_right")
    # A death follows the last state without a gap, and so does the instant asked about.
    known, until = cuts
    stop = ibis.coalesce(ends.died, ends["last"] if known is None else known, FOREVER)
    ends = bench.keep(ends.select("patient_id", "fell", stop=stop))
    joined = rows.join(ends, "patient_id")
    cut = joined.mutate(e=ibis.least(joined.e, joined.stop))
    cut = cut.filter(cut.s < cut.e).select("patient_id", "s", "e", "grade", "up_to", "ambiguous")
    fallen = ends.filter(ends.fell.notnull())
    five = whole(5)
    last = fallen.select(
        "patient_id",
        s=fallen.fell,
        e=ibis.literal(FOREVER if known is None else known).cast("int64"),
        grade=five,
        up_to=five,
        ambiguous=whole(0),
    )
    every = ibis.union(cut, last.select(*cut.columns), distinct=False)
    every = every.mutate(e=ibis.least(every.e, until))
    return _merged(every.filter(every.s < every.e))


def _merged(rows: Table) -> Table:
    """Equal neighbours of one patient as one row, in order."""
    shown = ("grade", "up_to", "ambiguous")
    walk = neighbours("s", by="patient_id")
    before = rows.mutate(**{f"_{name}": rows[name].lag().over(walk) for name in ("e", *shown)})
    same = ibis.and_(before._e == before.s, *[before[f"_{name}"] == before[name] for name in shown])
    fresh = before.mutate(_new=1 - number(same))
    runs = fresh.mutate(_run=fresh._new.sum().over(ordered("s", by="patient_id")).cast("int64"))
    merged = runs.group_by("patient_id", "_run", *shown).aggregate(s=runs.s.min(), e=runs.e.max())
    return merged.drop("_run").order_by("patient_id", "s")


def _shown(found: pa.Table, scale: Scale) -> pa.Table:
    """The rows as `SCHEMA`: microseconds become instants, an open end null."""
    end = found["e"].to_numpy()
    columns = [
        found["patient_id"].cast(pa.string()),
        pa.array([scale.id] * len(found), pa.string()),
        found["s"].cast(pa.int64()).cast(INSTANT),
        pa.array(end, pa.int64(), mask=end == FOREVER).cast(INSTANT),
        found["grade"].cast(pa.int64()),
        found["up_to"].cast(pa.int64()),
        pa.array(found["ambiguous"].to_numpy() == 1, pa.bool_()),
    ]
    table = pa.Table.from_arrays(columns, schema=SCHEMA)
    return table.sort_by([("patient_id", "ascending"), ("start", "ascending")])
