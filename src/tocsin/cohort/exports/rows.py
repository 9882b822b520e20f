"""What a row of an export can be, as SQL over a cohort that `laid_out` laid out; columns are words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tocsin.cohort.exports.laid_out import quoted
from tocsin.cohort.records import Cohort
from tocsin.definitions.export import Export, Field, Parameter, Table
from tocsin.definitions.export_words import EPISODE
from tocsin.definitions.load import Library
from tocsin.definitions.schema import TocsinError

#: Columns of an episode that stand in the table `ill`.
OF_EPISODE = tuple(name for name, word in EPISODE.items() if not word.asks)


def scales_of(asked: Sequence[str], cohort: Cohort, lib: Library) -> tuple[str, ...]:
    """The graded scales that `asked` means: ids as they are, of `crs` and `icans` the first, or every one."""
    found: list[str] = []
    for name in asked:
        if name == "every":
            found += cohort.scales
        elif name in ("crs", "icans"):
            found += [each for each in cohort.scales if lib.scale(each).outcome == name][:1]
        elif name in cohort.scales:
            found.append(name)
    return tuple(dict.fromkeys(found))


def require(table: Table, export: Export, cohort: Cohort, lib: Library) -> tuple[str, ...]:
    """The scales of a table; raises `TocsinError` where the cohort was graded under none of them."""
    found = scales_of(table.scale, cohort, lib)
    if not found and not table.optional:
        wanted = " or ".join(table.scale)
        raise TocsinError(
            f"{export.id}, table `{table.name}`: the cohort was not graded under {wanted}, only under "
            f"{', '.join(cohort.scales)}\n"
            "  why: a grade of one scale must not be sent as that of another\n"
            f"  fix: --scale {table.scale[0] if table.scale[0] not in ('crs', 'every') else 'astct-2019'}"
        )
    return found


def rows_of(table: Table, export: Export, cohort: Cohort, lib: Library, scales: Sequence[str]) -> str:
    """The query for a table's rows, in the order they are written."""
    if table.rows == "patients":
        body = f"{patients(scales[0], table.fields, lib)} order by subject"
    elif table.rows == "episodes":
        body = f"{numbered_episodes(scales, table.fields, lib)} order by subject, seq"
    elif table.rows == "treatments":
        body = treatments(table)
    elif table.rows == "events":
        body = events(scales)
    elif table.rows == "spans":
        body = spans(scales)
    elif table.rows == "times":
        body = times(table, export, cohort, lib)
    else:
        body = qualifiers(table, export, scales, lib)
    return body


def asked_of(fields: Iterable[Field]) -> dict[str, Field]:
    """The fields that ask what was given, each question once."""
    return {each.key: each for each in fields if each.given or each.devices}


def _given(fields: Iterable[Field], lib: Library) -> str:
    """One row an episode: the answer to every question of what was given in it."""
    columns = [_answer(key, field, lib) for key, field in asked_of(fields).items()]
    answers = "".join(f", {column}" for column in columns)
    return f"""
        select patient_id, scale, episode{answers}
        from (select patient_id, scale, episode, onset from ill) i
            left join (select * exclude (onset) from during) d using (patient_id, scale, episode), known
        group by patient_id, scale, episode, treated
    """


def _answer(key: str, field: Field, lib: Library) -> str:
    measures = [name for each in field.given for name in lib.classes.get(each, (each,))]
    parts = [f"d.measure in ({quoted(measures)})"] if measures else []
    if field.devices:
        parts.append(f"(d.measure = 'oxygen-device' and d.text in ({quoted(field.devices)}))")
    which = f"filter (where {' or '.join(parts)})"
    answer = {
        # a source that holds no treatment of anybody says nothing about treatment
        "given": f"case when count(d.measure) {which} > 0 then 'yes' when treated then 'no' end",
        "given-else-unknown": f"case when count(d.measure) {which} > 0 then 'yes' else 'unknown' end",
        "given-first": f"min(greatest(d.t, i.onset)) {which}",
        "given-number": f"case count(distinct d.measure) {which} when 0 then null when 1 then 'one' "
        "else 'two-or-more' end",
        "given-doses": f"case when treated then count(d.measure) {which} end",
    }[str(field.word)]
    return f'{answer} "{key}"'


def patients(scale: str, fields: Iterable[Field], lib: Library) -> str:
    """One row a patient: the whole course under one scale, and its first episode."""
    words = ", ".join(f'first_."{name}"' for name in OF_EPISODE)
    keys = "".join(f', given_."{key}"' for key in asked_of(fields))
    return f"""
        select who.*, course.* exclude (patient_id), {words}{keys}, {quoted([scale])} asked
        from who left join course on course.patient_id = who.patient_id and course.scale = {quoted([scale])}
            left join (from ill where "first-of-patient" = 'yes') first_
                on first_.patient_id = who.patient_id and first_.scale = {quoted([scale])}
            left join ({_given(fields, lib)}) given_ on given_.patient_id = who.patient_id
                and given_.scale = first_.scale and given_.episode = first_.episode
    """


def numbered_episodes(scales: Sequence[str], fields: Iterable[Field], lib: Library) -> str:
    """One row an episode, numbered within the patient by onset."""
    return f"""
        select who.*, ill.* exclude (patient_id), given_.* exclude (patient_id, scale, episode),
            row_number() over (partition by subject order by onset, place, ill.episode) seq
        from ill join who using (patient_id) join ({_given(fields, lib)}) given_
            using (patient_id, scale, episode)
        where ill.scale in ({quoted(scales)})
    """


def treatments(table: Table) -> str:
    """One row a dose or run, tied to the episode it was given in."""
    return f"""
        select who.*, treatment, dose.measure "treatment-id", kind, dose.t "given-at", stop "given-until",
            "value" amount, unit "amount-unit", dose.text device, "rows" "charted-rows", tie.link,
            row_number() over (partition by subject order by dose.t, dose.measure, dose.text) seq
        from dose join who using (patient_id) left join (
            select patient_id, measure, t, text, arg_min(link, (place, episode)) link
            from during where event = {quoted([table.link or "crs"])} group by all
        ) tie on tie.patient_id = dose.patient_id and tie.measure = dose.measure and tie.t = dose.t
            and tie.text is not distinct from dose.text
        where kind in ({quoted(table.kinds)}) order by subject, seq
    """


def events(scales: Sequence[str]) -> str:
    """One row an episode of every scale, and one a complication that is proven: a suspicion is no event."""
    return f"""
        with thing as (
            select patient_id, "scale-title" term, 'episode' category, scale, onset, "closed-at",
                "episode-peak" grade, "episode-up-to" "grade-up-to", definition, 0 place, episode
            from ill where scale in ({quoted(scales)})
            union all
            select patient_id, coalesce(title, complication), 'complication', complication, "first", null,
                stage, up_to, definition, 1, 1 from stage where stage > 0
        )
        select who.*, thing.* exclude (patient_id, place, episode), row_number() over
            (partition by subject order by onset nulls last, thing.place, scale, episode) seq
        from thing join who using (patient_id) order by subject, seq
    """


def spans(scales: Sequence[str]) -> str:
    """One row a graded span of the patients whose spans were kept."""
    return f"""
        select who.*, span.* exclude (patient_id), row_number() over
            (partition by subject order by scale, "span-start") seq,
            (select count(*) from (select unnest(dosed) given_at) where given_at <= "span-start")
                "dose-number"
        from span join who using (patient_id)
        where scale in ({quoted(scales)}) order by subject, seq
    """


def times(table: Table, export: Export, cohort: Cohort, lib: Library) -> str:
    """One row a patient and parameter: the time to its event, to death, or to the end of observation."""
    parts = []
    for place, each in enumerate(table.parameters):
        scales = scales_of((each.scale,), cohort, lib)
        if scales:
            parts.append(f"select *, {place} place from ({_time(each, scales[0], export, lib)})")
    return f"select * from ({' union all by name '.join(parts)}) order by subject, place"


def _time(each: Parameter, scale: str, export: Export, lib: Library) -> str:
    event, field = f'"{each.event}"', []
    if each.given:
        field = [_question(each)]
        measures = [name for one in each.given for name in lib.classes.get(one, (one,))]
        # the first dose from hour 0 on, inside an episode or not
        event = f"""(select min(t) from dose where dose.patient_id = base.patient_id and t >= zero
            and measure in ({quoted(measures)}))"""
    origin = "zero" if each.starts == "zero" else "onset"
    words = export.codelists["time-ends"]
    says = " ".join(f"when {quoted([key])} then {quoted([said])}" for key, said in words.items())
    # nobody may be followed to the end of a record through a gap that closed the episode unobserved
    limit = '"follow-up-end"'
    if each.event == "resolved-at":
        limit = """case when outcome = 'not-observed' then "last-known" else "follow-up-end" end"""
    who = "" if each.starts == "zero" and each.event != "resolved-at" else "and onset is not null"
    return f"""
        with base as ({patients(scale, field, lib)}), seen as (
            select *, {origin} origin, {event} happened, {limit} "limit" from base
            where scale is not null {who}
        ), ended as (
            select *, case when happened is not null and happened >= origin then 'event'
                when "limit" < "follow-up-end" then 'not-observed'
                when death is not null then 'death' else 'record-end' end "ended-by"
            from seen
        )
        select * exclude (happened, "limit"), {quoted([each.name])} "parameter",
            {quoted([each.label])} "parameter-label",
            case when "ended-by" = 'event' then happened else "limit" end "at",
            case "ended-by" when 'event' then 0 when 'death' then 2 else 1 end censored,
            case "ended-by" when 'event' then {quoted([each.says])} {says} end "what-ended",
            (case when "ended-by" = 'event' then happened else "limit" end - origin) / 3600000000.0 "time"
        from ended
    """


def _question(each: Parameter) -> Field:
    return Field(each.name, each.label, "datetime", "given-first", None, "", "", None, each.given, (), (), "",
                 each.status, "")  # fmt: skip


def qualifiers(table: Table, export: Export, scales: Sequence[str], lib: Library) -> str:
    """One row a qualifier that has a value, of each episode of the table that is qualified."""
    parts = [
        f"""select subject, study, seq::varchar "key", {place} place, {quoted([each.name])} qualifier,
            {quoted([each.label])} "qualifier-label", {_said(each, export.codelists)} "qualifier-value"
            from numbered"""
        for place, each in enumerate(table.qualifiers)
    ]
    return f"""
        with numbered as ({numbered_episodes(scales, table.qualifiers, lib)})
        select * from ({" union all ".join(parts)}) where "qualifier-value" is not null
        order by subject, "key"::int, place
    """


def _said(each: Field, codelists: Mapping[str, Mapping[str, str]]) -> str:
    column = f'"{each.key}"::varchar'
    if each.codelist is None:
        return column
    cases = (f"when {quoted([key])} then {quoted([said])}" for key, said in codelists[each.codelist].items())
    return f"case {column} {' '.join(cases)} end"
