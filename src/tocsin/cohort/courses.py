"""The course of each patient under each scale, from graded spans: how high, how soon, how well observed."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from tocsin.cohort.charts import answered
from tocsin.cohort.records import COURSES, DAYS, DEAD, OVER, SPANS, STAGES, UNMEASURED

#: An end that has not come: beyond any charted time.
OPEN = 2**62
HOUR = 3_600_000_000
#: Days since hour 0 that are followed from one to the next.
FOLLOWED = 28


def open_courses(con: duckdb.DuckDBPyConnection, intervals: pa.Table) -> None:
    """Lay out graded spans as `span`, beside the `person` that `charts.open_chart` made."""
    con.register("intervals", intervals)
    con.execute(f"""
        create temp table span as
        select patient_id, scale, epoch_us("start") s, coalesce(epoch_us("end"), {OPEN}) e, grade, up_to,
            ambiguous, grade = 0 and up_to > 0 and len(waiting_for) > 0 unmeasured, flags, definition
        from intervals
    """)


def courses(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """`records.COURSES`: grades from hour 0 to the end of the record; hours likewise."""
    firsts = ", ".join(
        f"min(case when grade >= {k} then greatest(s, zero) end) first_{k}" for k in range(1, 6)
    )
    return answered(con, f"""
        with inside as (
            select span.*, zero, ended, greatest(s, zero) a, least(e, ended) b
            from span join person using (patient_id) where e > zero and s <= ended
        ), best as (
            select patient_id, scale, max(grade) best from inside group by patient_id, scale
        )
        select patient_id, scale, any_value(best) max_grade, max(up_to) max_up_to,
            bool_or(ambiguous and grade = best) ambiguous, {firsts},
            sum(greatest(b - a, 0)) / {HOUR}.0 "hours",
            sum(case when up_to > grade then greatest(b - a, 0) else 0 end) / {HOUR}.0 hours_open,
            sum(case when unmeasured then greatest(b - a, 0) else 0 end) / {HOUR}.0 hours_unmeasured,
            sum((up_to - grade) * greatest(b - a, 0)) / {HOUR}.0 open_grade_hours,
            list_sort(list_distinct(flatten(list(flags)))) flags, any_value(definition) definition
        from inside join best using (patient_id, scale)
        group by patient_id, scale order by patient_id, scale
    """, COURSES)  # fmt: skip


def spans(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """`records.SPANS`, from hour 0 to the end of the record; neighbours that look alike are one."""
    return answered(con, f"""
        with inside as (
            select patient_id, scale, greatest(s, zero) s, grade, up_to, unmeasured,
                case when e = {OPEN} then null else least(e, ended) end e
            from span join person using (patient_id) where e > zero and s <= ended
        ), started as (
            select *, case when (grade, up_to, unmeasured) is not distinct from
                (lag(grade) over w, lag(up_to) over w, lag(unmeasured) over w) then 0 else 1 end fresh
            from inside window w as (partition by patient_id, scale order by s)
        ), numbered as (
            select *, sum(fresh) over (partition by patient_id, scale order by s) run from started
        )
        select patient_id, scale, min(s) "start",
            case when bool_or(e is null) then null else max(e) end "end", grade, up_to, unmeasured
        from numbered group by patient_id, scale, run, grade, up_to, unmeasured
        order by patient_id, scale, "start"
    """, SPANS)  # fmt: skip


def days(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """`records.DAYS`: from each day's highest grade to the next day's, summed over patients."""
    day = 24 * HOUR
    return answered(con, f"""
        with day_ as (select unnest(range(0, {FOLLOWED + 1}))::int "day"),
        slot as (
            select patient_id, "group", scale, "day", zero + "day" * {day} a, zero + ("day" + 1) * {day} b,
                ended, died
            from person join (select distinct patient_id, scale from span) using (patient_id), day_
        ), stood as (
            select slot.patient_id, slot.scale, "day", max(grade) best, bool_and(unmeasured) blank
            from slot join span on span.patient_id = slot.patient_id and span.scale = slot.scale
                and s < b and e > a and s <= ended
            group by slot.patient_id, slot.scale, "day"
        ), state as (
            select slot.*, case when died is not null and died < a then {DEAD}
                when ended < a then {OVER} when best is null or blank then {UNMEASURED} else best end state
            from slot left join stood using (patient_id, scale, "day")
        ), pair as (
            select "group", scale, "day", state, lead(state) over w follows
            from state window w as (partition by patient_id, scale order by "day")
        )
        select "group", scale, "day", state grade, follows "next", count(*) patients
        from pair where follows is not null group by all order by all
    """, DAYS)  # fmt: skip


def stages(con: duckdb.DuckDBPyConnection, found: pa.Table) -> pa.Table:
    """`records.STAGES`: the highest stage of every complication from hour 0 to the end of the record."""
    con.register("found", found)
    return answered(con, f"""
        with organ as (
            select patient_id, complication, epoch_us("start") s, coalesce(epoch_us("end"), {OPEN}) e, stage,
                up_to, definition
            from found
        )
        select patient_id, complication, max(stage) stage, max(up_to) up_to,
            min(case when stage > 0 then greatest(s, zero) end) "first", any_value(definition) definition
        from organ join person using (patient_id) where e > zero and s <= ended
        group by patient_id, complication having max(up_to) > 0
        order by patient_id, complication
    """, STAGES)  # fmt: skip
