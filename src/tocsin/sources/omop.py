"""OMOP CDM 5.3 and 5.4: a folder of CSV or Parquet tables, or a DuckDB file.

Concepts are met through the shelves' OMOP ids, the site's code file, and, where the vocabulary came
along, `concept` (their LOINC, SNOMED or RxNorm code) and `concept_ancestor` (a product's ingredient).
Readings need a time of day: a `_date` alone would put them at midnight.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from tocsin.definitions.schema import TocsinError
from tocsin.sources.codes import Codes
from tocsin.sources.concepts import Concepts
from tocsin.sources.folder import Folder, files
from tocsin.sources.ordering import (
    age,
    database,
    died,
    named,
    quoted,
    ranked,
    sign,
    whole_patients,
    written,
)

if TYPE_CHECKING:
    import duckdb

    from tocsin.definitions.load import Library
    from tocsin.sources.tally import Tally

KIND = "omop"
#: Clinical tables: their concept, start and end.
TABLES = {
    "measurement": ("measurement", "measurement", None),
    "observation": ("observation", "observation", None),
    "drug_exposure": ("drug", "drug_exposure_start", "drug_exposure_end"),
    "device_exposure": ("device", "device_exposure_start", "device_exposure_end"),
    "procedure_occurrence": ("procedure", "procedure", "procedure_end"),
    "condition_occurrence": ("condition", "condition_start", "condition_end"),
}
READ = (*TABLES, "person", "death", "concept", "concept_ancestor")
#: Tables that say nothing about a patient's course.
VOCABULARY = (
    "vocabulary", "domain", "concept_class", "concept_relationship", "relationship", "concept_synonym",
    "drug_strength", "cdm_source", "metadata", "location", "care_site", "provider", "source_to_concept_map",
)  # fmt: skip
#: operator_concept_id of a result below or above what could be measured.
BELOW, ABOVE = "('4171756', '4171754')", "('4172704', '4171755')"
#: drug_type_concept_id of what was written, dispensed or reported, but not seen to go in.
NOT_GIVEN = "('38000175', '38000176', '38000177', '38000178', '581452', '44787730')"
SEXES = {"8507": "male", "8532": "female"}


def recognises(path: Path) -> bool:
    """Whether this is a folder with `person` and a clinical table, or a DuckDB file with them."""
    try:
        if path.is_dir():
            stems = {file.name.lower().removesuffix(".gz").rsplit(".", 1)[0] for file in files(path)}
            return "person" in stems and not stems.isdisjoint(TABLES)
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(12)[8:] == b"DUCK"
    except OSError:
        return False


def raw_batches(
    path: Path,
    *,
    lib: Library,
    tally: Tally,
    timezone: str = "UTC",
    codes: Path | None = None,
    work: Path | None = None,
) -> Iterator[pa.RecordBatch]:
    """Raw facts, whole patients at a time. OMOP times carry no zone: they are read as `timezone`.

    A code file names concepts as "OMOP|3020891" and a site's own words as "OMOP measurement|TEMP-F".
    """
    with database(work) as con:
        tables = Folder(con, path, Codes(lib, codes), tally, timezone)
        tables.open()
        if path.is_file():
            attach(con, path, tables)
        if not tables.has("person", "person_id"):
            raise TocsinError(
                f"{path}: no table `person` with `person_id`\n  why: rows could not be told apart by "
                "patient\n"
                "  fix: give the folder (or DuckDB file) of a whole OMOP CDM"
            )
        patients = ranked(
            con, f"select {column(tables, 'person', 'person_id')} as patient_id from {tables.scans['person']}"
        )
        concepts = Concepts(tables)
        parts = [
            part for table in TABLES if table in tables.scans for part in clinical(tables, concepts, table)
        ]
        parts += deaths(tables)
        if parts:
            tally.notes.append(f"OMOP times carry no zone and were read as {timezone}")
        for table in sorted(set(tables.scans) - {*READ, *VOCABULARY}):
            count = tables.run(table, f"select count(*) from {tables.scans[table]}")[0][0]
            tally.skip(table, "(whole table)", int(count))
        yield from whole_patients(con, [*parts, *people(tables, parts)], patients)


def attach(con: duckdb.DuckDBPyConnection, path: Path, tables: Folder) -> None:
    """Take the tables of a DuckDB file, whatever schema they are in."""
    import duckdb

    try:
        con.execute(f"attach {quoted(path)} as cdm (read_only)")
        listed = con.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'cdm' union all "
            "select schema_name, view_name from duckdb_views() where database_name = 'cdm' and not internal"
        ).fetchall()
    except duckdb.Error as error:
        raise TocsinError(
            f"{path}: cannot be opened: {str(error).splitlines()[0]}\n"
            "  why: DuckDB opens only whole files of versions it knows\n  fix: copy it again, or export it "
            "to Parquet"
        ) from error
    for schema, table in sorted(listed):
        if table.lower() in (*READ, *VOCABULARY) or table.lower() not in tables.scans:
            scan = f"(select *, null::bigint as row from cdm.{named(schema)}.{named(table)})"
            tables.take(table.lower(), scan, table.lower())


def column(tables: Folder, table: str, name: str) -> str:
    """SQL for a column as text; ids come as numbers from one export and as text from another."""
    text = tables.text(table, name)
    return f"regexp_replace({text}, '\\.0$', '')" if name.endswith("_id") else text


def clinical(tables: Folder, concepts: Concepts, table: str) -> list[str]:
    """The facts of one clinical table; rows without a meaning or a time are counted."""
    name, start, end = TABLES[table]
    said = (f"{name}_concept_id", f"{name}_source_concept_id", f"{name}_source_value")
    key = " || chr(31) || ".join(f"coalesce({column(tables, table, each)}, '')" for each in said)
    found = concepts.about(table, said)
    join = tables.coded(table, key, lambda code: found(*code.split(chr(31))), shown)
    dated = table == "condition_occurrence"
    time = tables.at(table, f"{start}_datetime", *([f"{start}_date"] if dated else []))
    ended = (
        tables.at(table, f"{end}_datetime", *([f"{end}_date"] if dated else []))
        if end
        else "null::timestamptz"
    )
    kept = f"{time} is not null"
    count_out(tables, table, join, f"not ({kept})", f"no time of day: {start}_datetime is empty")
    if table == "drug_exposure" and tables.has(table, "drug_type_concept_id"):
        unseen = f"coalesce({column(tables, table, 'drug_type_concept_id')}, '') in {NOT_GIVEN}"
        count_out(tables, table, join, f"{kept} and {unseen}", "written, dispensed or reported, not given")
        kept += f" and not {unseen}"
    columns = drug(tables, time, ended) if table == "drug_exposure" else reading(tables, concepts, table)
    if table == "drug_exposure":
        ended = f"case when {ended} > {time} then {ended} end"
    listed = ", ".join(f"{sql} as {named(alias)}" for alias, sql in columns.items())
    patient = column(tables, table, "person_id")
    answers = concepts.answers(table) if table in ("measurement", "observation") else ""
    return [
        f'select p, {time} as time, measure, {ended} as "end", {listed}, {source(tables, table)} '
        f"from {tables.scans[table]} {join} {answers} join person on person.patient_id = {patient} where "
        f"{kept}"
    ]


def shown(key: str) -> str:
    """How an unknown code is counted: its concept, else the site's own word for it."""
    concept, _, word = key.split(chr(31))
    return concept if concept not in ("", "0") else word or "0"


def count_out(tables: Folder, table: str, join: str, where: str, why: str) -> None:
    """Count rows whose meaning is known and that are left all the same."""
    counted = f"select measure::varchar, count(*) from {tables.scans[table]} {join} where {where} group by 1"
    for measure, count in tables.run(table, counted):
        tables.tally.skip(table, f"{measure} ({why})", int(count))


def source(tables: Folder, table: str) -> str:
    """Where a row came from: its own id, which outlives any export."""
    key = tables.text(table, f"{table}_id")
    return f"{quoted(table + '/')} || coalesce({key}, '?') as source"


def reading(tables: Folder, concepts: Concepts, table: str) -> dict[str, str]:
    """Value, text and unit of a measurement or observation; a word for all other tables."""
    if table not in ("measurement", "observation"):
        return {"text": "m.word"}
    charted = f"coalesce({tables.text(table, 'value_as_string')}, {tables.text(table, 'value_source_value')})"
    number = f"coalesce({tables.value(table, 'value_as_number')}, {written(charted)})"
    operator = column(tables, table, "operator_concept_id")
    compared = (
        f"case when {operator} in {BELOW} then '<' when {operator} in {ABOVE} then '>' else "
        f"{sign(charted)} end"
    )
    words = "m.kind in ('category', 'word', 'event')"
    return {
        "value": f"case when not {words} or m.kind = 'event' then {number} end",
        "text": (
            f"case when m.kind = 'event' then null when {words} then coalesce(m.word, a.word, {charted}) "
            f"when {number} is null then {charted} else {compared} end"
        ),
        "unit": f"coalesce({concepts.unit(table)}, m.usual)",
        "ref_low": tables.value(table, "range_low"),
        "ref_high": tables.value(table, "range_high"),
    }


def drug(tables: Folder, time: str, ended: str) -> dict[str, str]:
    """A drug given or running.

    An infusion's rate stands in `sig` ("0.05 mcg/kg/min"), or in `quantity` with a unit per time. With
    neither it runs, dose unknown, to its end; one that ends as it begins was a push.
    """
    table = "drug_exposure"
    sig, unit = tables.text(table, "sig"), tables.text(table, "dose_unit_source_value")
    quantity = tables.value(table, "quantity")
    form = "'^\\s*([0-9]*\\.?[0-9]+)\\s*([A-Za-z\\[\\]µ]+(/[A-Za-z0-9]+)*/(min|h|hr|hour|minute))\\s*$'"
    rate = f"try_cast(regexp_extract({sig}, {form}, 1) as double)"
    per = f"({quantity} is not null and regexp_matches({unit}, '/(min|h|hr|hour|minute)$'))"
    runs, push = "m.kind = 'infusion'", f"(m.kind = 'infusion' and {ended} <= {time})"
    return {
        "value": (
            f"case when {runs} and {rate} is not null then {rate} when {runs} and coalesce({per}, false) "
            f"then {quantity} "
            f"when ({push} or m.kind = 'event') and {unit} is not null then {quantity} end"
        ),
        "text": (
            f"case when not {runs} or {rate} is not null or coalesce({per}, false) then null "
            f"when {push} then 'push' else 'running' end"
        ),
        "unit": (
            f"case when {runs} and {rate} is not null then regexp_extract({sig}, {form}, 2) "
            f"when {quantity} is not null and ({push} or m.kind = 'event' or coalesce({per}, false)) then "
            f"{unit} end"
        ),
    }


def deaths(tables: Folder) -> list[str]:
    """The cause of a death is not read: only a clinician's word makes it one of CRS."""
    if not tables.has("death", "person_id"):
        return []
    count = tables.run("death", f"select count(*) from {tables.scans['death']}")[0][0]
    tables.tally.rows_read += int(count)
    time = died(tables.at("death", "death_datetime", "death_date"), tables.timezone)
    return [
        f"select p, {time} as time, 'death'::measure as measure, 'unknown' as text, "
        f"'death/' || person.patient_id as source from {tables.scans['death']} "
        f"join person on person.patient_id = {column(tables, 'death', 'person_id')} where {time} is not null"
    ]


def people(tables: Folder, parts: list[str]) -> list[str]:
    """Sex at the first fact, and age at the first of each calendar year."""
    if not parts:
        return []
    seen = " union all ".join(f"select p, time from ({part})" for part in parts)
    year, month, day = (tables.value("person", f"{each}_of_birth") for each in ("year", "month", "day"))
    parts_of = f"{year}::int, coalesce({month}, 1)::int, coalesce({day}, 1)::int"
    made = f"try_cast(printf('%04d-%02d-%02d', {parts_of}) as date)"
    birth = tables.text("person", "birth_datetime")
    born = f"coalesce(try_cast({birth} as timestamp)::date, {made})"
    words = " ".join(f"when '{concept}' then '{word}'" for concept, word in SEXES.items())
    sex = f"case {column(tables, 'person', 'gender_concept_id')} {words} end"
    joined = (
        f"{tables.scans['person']} join person on person.patient_id = {column(tables, 'person', 'person_id')}"
    )
    said = "'person/' || person.patient_id as source"
    return [
        f"select p, seen as time, 'age'::measure as measure, {age(born, 'seen')} as value, 'a' as unit, "
        f"{said} "
        f"from {joined} join (select p, min(time) as seen from ({seen}) group by p, year(time)) using (p) "
        f"where {born} is not null and seen >= {born}",
        f"select p, seen as time, 'sex'::measure as measure, {sex} as text, {said} from {joined} "
        f"join (select p, min(time) as seen from ({seen}) group by p) using (p) where {sex} is not null",
    ]
