"""What a chart says of each patient, beside the grades: who, given what, with which biomarkers.

Each question is one SQL query over the facts of a batch of whole patients. Times are whole microseconds
since 1970 throughout, so that no time zone of a session can move them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import duckdb
import pyarrow as pa

from tocsin.cohort.records import CHARTED, GIVEN, INSTANT, MARKERS, PEOPLE
from tocsin.definitions.load import Library
from tocsin.definitions.report import report_of
from tocsin.grading.compile import FATAL

#: What a cohort can be told apart by.
GROUPS = ("therapy", "therapy-class", "sex", "age-group")
#: The definition that says where age groups begin.
REPORT = "crs-table"
#: Classes of drugs, the first that fits naming what kind of giving a row is.
KINDS = (
    "therapy", "anti-cytokine", "steroid", "antipyretic", "vasopressor", "vasopressor-not-counted",
    "inotrope", "blood-product", "procedure",
)  # fmt: skip
KIND_WORDS = {"vasopressor-not-counted": "vasopressor"}
THERAPY_CLASSES = ("car-t", "engager", "tcr-t", "antibody", "transplant")
#: Biomarkers kept by day.
WATCHED = (
    "temperature", "crp", "ferritin", "il-6", "ifn-gamma", "il-2-receptor", "fibrinogen", "d-dimer-feu",
    "platelets", "ldh", "creatinine",
)  # fmt: skip
GRADE_CHARTED = "charted-grade"


def open_chart(
    con: duckdb.DuckDBPyConnection,
    facts: pa.Table,
    lib: Library,
    by: str | None,
    groups: Mapping[str, str] | None,
) -> None:
    """Lay out the facts of whole patients as `fact` and each patient as a row of `person`."""
    columns = ["patient_id", "time", "measure", "value", "text", "unit", "end", "method"]
    con.register("charted_facts", facts.select(columns))
    con.execute("""
        create temp table fact as
        select patient_id, epoch_us(time) t, measure, value, text, unit, epoch_us("end") stop, method
        from charted_facts
    """)
    con.register("known_measure", _measures(lib))
    told = pa.table({"patient_id": [*(groups or {})], "called": [*(groups or {}).values()]},
                    schema=pa.schema([("patient_id", pa.string()), ("called", pa.string())]))  # fmt: skip
    con.register("told", told)
    con.register("fatal", pa.table({"word": [*FATAL], "rank": [*FATAL.values()]}))
    group = "coalesce(called, 'unknown')" if groups is not None else _group(by, lib)
    con.execute(f"""
        create temp table person as
        with death as (
            select patient_id, min(t) died from fact where measure = 'death' group by patient_id
        ), cause as (
            select patient_id, arg_max(coalesce(word, 'unknown'), coalesce(rank, 0)) cause
            from fact join death using (patient_id) left join fatal on text = word
            where measure = 'death' and t = died group by patient_id
        ), alive as (
            select fact.* from fact left join death using (patient_id)
            where died is null or t <= died
        ), dose as (
            select distinct patient_id, t, measure, class
            from alive join known_measure using (measure)
            where kind = 'therapy' and coalesce(text, '') not in ('absent', 'unusable')
        ), dosed as (
            select patient_id, list(t order by t, measure) doses, list(measure order by t, measure) names,
                min(t) dosed, arg_min(measure, (t, measure)) therapy, arg_min(class, (t, measure)) class
            from dose group by patient_id
        ), span as (
            select patient_id, min(t) "first", max(t) "last", count(*) facts from alive group by patient_id
        ), zeroed as (
            select span.*, doses, names, therapy, class, coalesce(dosed, "first") zero,
                dosed is not null is_dosed, died, cause
            from span left join dosed using (patient_id) left join death using (patient_id)
            left join cause using (patient_id)
        ), age as (
            -- the age at hour 0: the latest charted by then, else the first after
            select patient_id, coalesce(
                arg_max(value, t) filter (where t <= zero), arg_min(value, t) filter (where t > zero)) age
            from alive join zeroed using (patient_id)
            where measure = 'age' and value is not null group by patient_id
        ), sex as (
            select patient_id, arg_max(text, (t, text)) sex from alive
            where measure = 'sex' and coalesce(text, 'unusable') <> 'unusable' group by patient_id
        ), whole as (
            select zeroed.*, age, sex, called, coalesce(died, "last") ended
            from zeroed left join age using (patient_id) left join sex using (patient_id)
            left join told using (patient_id)
        )
        select *, {group} "group" from whole
    """)


def _group(by: str | None, lib: Library) -> str:
    """The SQL that says of a person which group they are in."""
    if by is None:
        return "'all'"
    if by == "sex":
        return "coalesce(sex, 'unknown')"
    if by != "age-group":
        return f"coalesce({'class' if by == 'therapy-class' else 'therapy'}, 'none charted')"
    ages = report_of(REPORT, lib).ages
    names = [f"under {ages[0]}", *(f"{low} to {high - 1}" for low, high in pairwise(ages))]
    steps = " ".join(f"when age < {age} then '{name}'" for age, name in zip(ages, names, strict=True))
    return f"case when age is null then 'unknown' {steps} else '{ages[-1]} and over' end"


def _measures(lib: Library) -> pa.Table:
    """Of every drug and therapy: what kind of giving it is, its class of therapy, how long a row holds."""
    rows = []
    for name, measure in lib.measures.items():
        if measure.shelf not in ("drugs", "therapies"):
            continue
        kind = next((each for each in KINDS if each in measure.classes), "other")
        rows.append({
            "measure": name, "kind": KIND_WORDS.get(kind, kind), "form": measure.kind,
            "class": next((each for each in THERAPY_CLASSES if each in measure.classes), "other"),
            "hold": None if measure.hold_hours is None else round(measure.hold_hours * 3_600_000_000),
        })  # fmt: skip
    device = lib.measure("oxygen-device")
    rows.append({"measure": device.id, "kind": "oxygen", "form": "device", "class": None,
                 "hold": round((device.hold_hours or 0) * 3_600_000_000)})  # fmt: skip
    return pa.Table.from_pylist(rows, schema=pa.schema([
        ("measure", pa.string()), ("kind", pa.string()), ("form", pa.string()), ("class", pa.string()),
        ("hold", pa.int64()),
    ]))  # fmt: skip


def people(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """`records.PEOPLE`."""
    return answered(con, """
        select patient_id, "group", therapy, zero,
            case when is_dosed then 'first-dose' else 'first-fact' end zero_is,
            coalesce(doses, []::bigint[]) doses, coalesce(names, []::varchar[]) dose_names,
            "first", "last", ended, died death, cause cause_of_death, age, sex, facts
        from person order by patient_id
    """, PEOPLE)  # fmt: skip


def given(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """`records.GIVEN`: a dose is a row; infusions and oxygen are runs of rows that touch."""
    return answered(con, """
        with row_ as (
            select patient_id, measure, kind, form, hold, t, stop, value, unit, text, ended
            from fact join known_measure using (measure) join person using (patient_id)
            where coalesce(text, '') not in ('absent', 'unusable') and t <= ended
        ), dose as (
            select patient_id, measure, kind, t "time", max(stop) "end", max(value) "value",
                any_value(unit) unit, null::varchar "text", count(*) "rows"
            from row_ where form = 'event' or (form = 'infusion' and text = 'push')
            group by patient_id, measure, kind, t
        ), instant as (
            -- several rows of one instant are one: the worst rate, one device
            select patient_id, measure, kind, form, hold, t, max(stop) stop, max(value) "value",
                any_value(unit) unit, max(text) filter (where form = 'device') device, any_value(ended) ended,
                bool_or(case when form = 'device' then text <> 'room-air'
                             else coalesce(value, 1) > 0 or text = '>' end) runs, count(*) n
            from row_ where form = 'device' or (form = 'infusion' and coalesce(text, '') <> 'push')
            group by patient_id, measure, kind, form, hold, t
        ), till as (
            -- a row stands to its end, to the next row of the same thing, or as long as grading lets it
            select *, least(coalesce(stop, t + hold), coalesce(lead(t) over w, t + hold),
                greatest(ended, t)) over_at
            from instant window w as (partition by patient_id, measure order by t)
        ), started as (
            select *, case when lag(over_at) over w >= t and lag(runs) over w
                and lag(device) over w is not distinct from device then 0 else 1 end fresh
            from till window w as (partition by patient_id, measure order by t)
        ), numbered as (
            select *, sum(fresh) over (partition by patient_id, measure order by t) run from started
        ), run as (
            select patient_id, measure, kind, min(t) "time", max(over_at) "end",
                case when any_value(form) = 'device' then null else max(value) end "value",
                case when any_value(form) = 'device' then null else any_value(unit) end unit,
                any_value(device) "text", sum(n) "rows"
            from numbered where runs group by patient_id, measure, kind, run
        )
        from (from dose union all by name from run)
        order by patient_id, "time", measure, "text"
    """, GIVEN)  # fmt: skip


def markers(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """`records.MARKERS`, of every patient of the batch."""
    names = ", ".join(f"'{name}'" for name in WATCHED)
    return answered(con, f"""
        select patient_id, measure, floor((t - zero) / 86400000000.0)::int "day", min(value) low,
            max(value) high, any_value(unit) unit, count(*) "rows"
        from fact join person using (patient_id)
        where measure in ({names}) and value is not null and coalesce(text, '') <> 'unusable'
            and t <= ended
        group by patient_id, measure, "day" order by patient_id, measure, "day"
    """, MARKERS)  # fmt: skip


def charted(con: duckdb.DuckDBPyConnection, scales: Sequence[str], lib: Library) -> pa.Table:
    """`records.CHARTED`: grades that people charted beside ours at that instant.

    A chart that names its scale is held beside that scale, where it was graded; one that names none beside
    the first scale graded, said as `ours`.
    """
    con.register("graded", pa.table({"name": [*scales]}))
    con.execute("create or replace temp table first_scale as select name from graded limit 1")
    return answered(con, f"""
        with told as (
            select distinct patient_id, t, nullif(method, '') named, value::tinyint charted
            from fact where measure = '{GRADE_CHARTED}' and value is not null
                and coalesce(text, '') not in ('unusable', '<', '>')
        ), beside as (
            select told.*, case when named is null then (from first_scale)
                else (select name from graded where name = named) end ours
            from told
        )
        select beside.patient_id, beside.t "time", named as scale, charted, ours, span.grade, span.up_to
        from beside left join span
            on span.patient_id = beside.patient_id and span.scale = ours and s <= beside.t and beside.t < e
        order by beside.patient_id, beside.t, named, charted
    """, CHARTED)  # fmt: skip


def answered(con: duckdb.DuckDBPyConnection, query: str, schema: pa.Schema) -> pa.Table:
    """A query's answer in `schema`, microseconds as instants."""
    found = con.sql(query).to_arrow_table()
    columns = []
    for field in schema:
        column = found[field.name]
        if field.type == INSTANT:
            column = column.cast(pa.int64())
        elif field.type == pa.list_(INSTANT):
            column = column.cast(pa.list_(pa.int64()))
        columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)
