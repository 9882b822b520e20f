"""A cohort laid out for questions in SQL: instants as whole microseconds, everyone under the name written."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256

import duckdb
import pyarrow as pa

from tocsin.cohort.records import Cohort
from tocsin.definitions.describe_shelf import listed
from tocsin.definitions.load import Library
from tocsin.definitions.schema import TocsinError
from tocsin.sources.ordering import database

#: A key shorter than this can be guessed, and with it every pseudonym.
KEY_BYTES = 16


def pseudonym(key: bytes, name: str) -> str:
    """The name that stands for a patient: the first half of HMAC-SHA-256 under the key, as hex digits.

    >>> pseudonym(b"a key of the site", "p1") == pseudonym(b"a key of the site", "p1")
    True
    """
    return hmac.new(key, name.encode(), sha256).hexdigest()[:32]


def subjects_of(cohort: Cohort, key: bytes | None) -> pa.Table:
    """Every patient's id beside the name that is written for it. Raises `TocsinError` for a weak key."""
    ids = cohort.people["patient_id"]
    if key is None:
        return pa.table({"patient_id": ids, "subject": ids})
    if len(key) < KEY_BYTES:
        raise TocsinError(
            f"the key for pseudonyms has {len(key)} bytes\n"
            "  why: with a key that can be guessed every pseudonym can be turned back\n"
            f"  fix: a file of {KEY_BYTES} random bytes or more, kept by the site"
        )
    return pa.table({"patient_id": ids, "subject": [pseudonym(key, name) for name in ids.to_pylist()]})


@contextmanager
def laid_out(
    cohort: Cohort, lib: Library, subjects: pa.Table, study: str | None, codes: Mapping[str, str]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with `who`, `ill`, `course`, `dose`, `stage`, `span`, `during`, one row a thing.

    It works in a gigabyte and goes on on disk, so that a million patients need no memory of their own.
    """
    with database(None) as con:
        for name in ("people", "episodes", "courses", "given", "stages", "spans", "charted"):
            con.register(f"raw_{name}", _whole(getattr(cohort, name)))
        con.register("subjects", subjects)
        con.register("title", _titles(lib))
        con.register("scale_", _scales(cohort, lib))
        con.register("code_", pa.table({"event": [*codes], "term-code": [*codes.values()]}, schema=pa.schema(
            [("event", pa.string()), ("term-code", pa.string())])))  # fmt: skip
        con.execute("create temp table option_ as select ?::varchar study", [study])
        con.execute(_WHO)
        con.execute(_ILL)
        con.execute(_REST)
        yield con


def _whole(table: pa.Table) -> pa.Table:
    """Instants as microseconds, so that no time zone of a session can move them; lists of words as text."""
    columns = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_timestamp(kind):
            column = column.cast(pa.int64())
        elif pa.types.is_list(kind) and pa.types.is_timestamp(kind.value_type):
            column = column.cast(pa.list_(pa.int64()))
        columns.append(column)
    return pa.table(columns, names=table.column_names)


def _titles(lib: Library) -> pa.Table:
    """What measures and complications are called."""
    found = {name: lib.measures[name].title for name in lib.measures}
    found |= {name: title for name, title, _ in listed("complications", lib)}
    return pa.table({"id": [*found], "title": [*found.values()]}, schema=pa.schema(
        [("id", pa.string()), ("title", pa.string())]))  # fmt: skip


def _scales(cohort: Cohort, lib: Library) -> pa.Table:
    rows = [
        {"scale": name, "place": place, "scale-title": found.title, "event": found.outcome,
         "fatal": found.fatal, "ctcae": name.startswith("ctcae-")}
        for place, name in enumerate(cohort.scales) for found in [lib.scale(name)]
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=pa.schema([
        ("scale", pa.string()), ("place", pa.int32()), ("scale-title", pa.string()), ("event", pa.string()),
        ("fatal", pa.string()), ("ctcae", pa.bool_()),
    ]))  # fmt: skip


def quoted(words: Sequence[str]) -> str:
    """Words as the inside of a SQL list."""
    return ", ".join("'" + word.replace("'", "''") + "'" for word in words) or "null"


_WHO = """
    create temp table who as
    select patient_id, subject, study, "group", coalesce(title.title, therapy) therapy, zero,
        zero_is "zero-is", case when zero_is = 'first-dose' then zero end "first-dose",
        list_max(doses) "last-dose", len(doses) doses, doses dosed, "first" "record-start",
        "last" "record-end", ended "follow-up-end", death, case when death is not null then 'yes' end died,
        cause_of_death "cause-of-death", age, sex, facts
    from raw_people join subjects using (patient_id) left join title on title.id = therapy, option_
"""
#: An episode stands from onset to before its end; to the instant of a death, and to the end of the record.
_ILL = """
    create temp table ill as
    with told as (
        select e.*, s."scale-title", s.event, s.place, s.ctcae, w.subject, "follow-up-end" ended,
            "first-dose",
            case when outcome = 'death' and cause_of_death = s.fatal then 'fatal' else outcome end how
        from raw_episodes e join scale_ s using (scale) join who w using (patient_id)
    ), said as (
        select *, case when how in ('resolved', 'fatal') then "end" end closed from told
    ), charts as (
        select e.patient_id, e.scale, e.episode, max(c.charted) charted
        from told e join raw_charted c on c.patient_id = e.patient_id and c.scale = e.scale
            and c.time >= e."start" and c.time <= coalesce(e."end", e.ended)
        group by all
    ), ctcae as (
        select e.patient_id, e.scale, e.episode, max(c.peak) peak
        from told e join told c on c.patient_id = e.patient_id and c.event = e.event and c.ctcae
            and c."start" <= coalesce(e."end", e.ended) and coalesce(c."end", c.ended) >= e."start"
        group by all
    )
    select patient_id, scale, episode, place, event, "scale-title", definition, closing,
        "start" onset, coalesce("end", ended) "until", closed "closed-at",
        case when outcome = 'resolved' then "end" end "resolved-at",
        case outcome when 'resolved' then 'yes' when 'not-observed' then null else 'no' end resolved,
        how outcome,
        case when closed is not null then null when outcome = 'not-observed' then 'unknown'
            else 'ongoing' end "still-open",
        case when closed is null then coalesce("end", ended) end "last-known",
        said.peak "episode-peak", peak_up_to "episode-up-to", time_to_peak_hours "to-peak",
        (closed - "start") / 3600000000.0 "length", hours_from_dose "from-dose", dose_number "dose-number",
        coalesce(title.title, trigger) trigger, array_to_string(doses, '; ') "doses-listed",
        array_to_string(treatments, '; ') treatments, array_to_string(flags, '; ') "episode-flags",
        case when ambiguous then 'yes' else 'no' end "episode-ambiguous",
        case when recurrence then 'yes' else 'no' end recurrence,
        charts.charted "charted-peak", ctcae.peak "ctcae-peak", "term-code",
        case when episode = min(episode) over mine then 'yes' end "first-of-patient",
        case when episode = arg_min(episode, (-said.peak, episode)) over mine
            then 'yes' end "highest-of-patient",
        case when "first-dose" is not null and "start" >= "first-dose" then 'yes' end "on-therapy",
        upper(event) || '-' || episode "link", outcome = 'not-observed' or outcome = 'resolved' half_open
    from said left join charts using (patient_id, scale, episode) left join ctcae using
        (patient_id, scale, episode) left join title on title.id = trigger left join code_ using (event)
    window mine as (partition by patient_id, scale)
"""
_REST = """
    create temp table course as
    select patient_id, c.scale, s."scale-title", s.event, definition,
        case when max_grade >= 1 then 'yes'
            when hours > 0 and hours_unmeasured < hours and hours_open <= hours_unmeasured + 1e-9
            then 'no' end "any",
        case when max_grade > 0 or "any" = 'no' then max_grade end peak, max_up_to "up-to",
        case when ambiguous then 'yes' else 'no' end ambiguous,
        first_1 "first-1", first_2 "first-2", first_3 "first-3", first_4 "first-4", first_5 "first-5",
        hours, hours_open "hours-open", hours_unmeasured "hours-unmeasured",
        array_to_string(flags, '; ') flags,
        (select count(*) from ill where ill.patient_id = c.patient_id and ill.scale = c.scale) episodes
    from raw_courses c join scale_ s using (scale);
    create temp table dose as
    select g.patient_id, measure, coalesce(title.title, measure) treatment, kind, "time" t, "end" stop,
        "value", unit, text, "rows" from raw_given g left join title on title.id = measure;
    create temp table known as select count(*) > 0 treated from dose where kind <> 'therapy';
    create temp table during as
    select ill.patient_id, ill.scale, ill.episode, ill.link, ill.place, ill.event, onset,
        dose.measure, dose.text, dose.t, dose.stop
    from ill join dose on dose.patient_id = ill.patient_id and dose.kind <> 'therapy'
        and (case when half_open then dose.t < "until" else dose.t <= "until" end)
        and (dose.t >= onset or dose.stop > onset);
    create temp table span as
    select patient_id, scale, s."scale-title", s.event, c.definition, "start" "span-start", "end" "span-end",
        grade, up_to "grade-up-to", case when unmeasured then 'yes' else 'no' end unmeasured
    from raw_spans join scale_ s using (scale) left join raw_courses c using (patient_id, scale);
    create temp table stage as
    select patient_id, complication, title.title, stage, up_to, "first", definition
    from raw_stages left join title on title.id = complication;
"""
