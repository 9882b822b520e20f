"""What a CLIF folder says of the person and the stay: who, how old, dead or alive, billed for what."""

from __future__ import annotations

from tocsin.sources.codes import Meaning
from tocsin.sources.folder import Folder, Say
from tocsin.sources.ordering import died

#: Tables this door reads; of all others the rows are counted.
READ = (
    "patient", "hospitalization", "vitals", "labs", "medication_admin_continuous",
    "medication_admin_intermittent",
    "respiratory_support", "crrt_therapy", "hospital_diagnosis", "patient_assessments", "patient_procedures",
)  # fmt: skip


def own(tables: Folder, table: str, known: dict[str, Meaning] | None = None, drugs: bool = False) -> Say:
    """What a category of this table means: the site's word, CLIF's, or a drug of that name."""

    def say(code: str) -> Meaning | None:
        meaning = tables.codes.find(f"clif_{table}", code) or (known or {}).get(code)
        meaning = meaning or (tables.codes.named(code) if drugs else None)
        return meaning if meaning and meaning.measure in tables.codes.lib.measures else None

    return say


def rows(tables: Folder, table: str, join: str, where: str = "true", **columns: str) -> str:
    """SQL of the facts of one table."""
    listed = ", ".join(f'{sql} as "{name.strip("_")}"' for name, sql in columns.items())
    return (
        f"select p, {listed}, {tables.source(table)} from {tables.scans[table]} "
        f"join stay using (hospitalization_id) {join} where {where}"
    )


def dialysis(tables: Folder) -> list[str]:
    """Every row of the CRRT table says that it is running."""
    table = "crrt_therapy"
    if not tables.has(table, "recorded_dttm"):
        return []
    tables.tally.rows_read += int(tables.run(table, f"select count(*) from {tables.scans[table]}")[0][0])
    return [rows(tables, table, "", time=tables.at(table, "recorded_dttm"), measure="'dialysis'::measure")]


def people(tables: Folder) -> list[str]:
    """Age at each admission, and sex at the first."""
    table = "hospitalization"
    time = tables.at(table, "admission_dttm")
    parts = []
    age = tables.value(table, "age_at_admission")
    tables.words["unit"].add("a")
    parts.append(
        rows(
            tables,
            table,
            "",
            f"{age} is not null",
            time=time,
            measure="'age'::measure",
            value=age,
            unit="'a'",
        )
    )
    if tables.has("patient", "sex_category"):
        sex = tables.text("patient", "sex_category")
        tables.note("text", "patient", sex)
        parts.append(
            f"select p, seen as time, 'sex'::measure as measure, {sex} as text, {tables.source('patient')} "
            f"from {tables.scans['patient']} c join person on person.patient_id = c.patient_id::varchar join "
            f"(select p, min({time}) as seen from {tables.scans[table]} join stay using "
            "(hospitalization_id) group by 1) "
            f"using (p) where {sex} is not null"
        )
    return parts


def deaths(tables: Folder) -> list[str]:
    """The patient's own time of death, else the end of a stay that ends `Expired`; its cause is not charted.

    Records differ in which of the two knows the hour: a stay may end at midnight of the day of death, a
    patient may have died on a date. Where the stay ends on that day, the later of the two counts.
    """
    table, con = "hospitalization", tables.con
    tables.words["text"].add("unknown")
    expired = f"{tables.text(table, 'discharge_category')} = 'Expired'"
    ended = died(tables.at(table, "discharge_dttm"), tables.timezone)
    con.execute(f"create temp table expired as {rows(tables, table, '', expired, time=ended)}")
    death = "select p, time, 'death'::measure as measure, 'unknown' as text, file, row from"
    if not tables.has("patient", "death_dttm"):
        return [f"{death} expired"]
    charted = tables.at("patient", "death_dttm")
    con.execute(
        f"create temp table dead as select p, {charted} as charted, "
        f"{died(charted, tables.timezone)} as time, {tables.source('patient')} "
        f"from {tables.scans['patient']} c "
        f"join person on person.patient_id = c.patient_id::varchar where {charted} is not null"
    )
    same_day = "dead.p = expired.p and expired.time between dead.charted and dead.time"
    return [
        f"{death} dead where not exists (select 1 from expired where {same_day})",
        f"{death} expired where p not in (select p from dead) "
        f"or exists (select 1 from dead where {same_day})",
    ]


def diagnoses(tables: Folder) -> list[str]:
    """Billed diagnoses: true from admission where present then, and known only at discharge."""
    table = "hospital_diagnosis"
    if not tables.has(table, "diagnosis_code"):
        return []
    system = f"upper(coalesce({tables.text(table, 'diagnosis_code_format')}, 'ICD10CM'))"

    def condition(code: str) -> Meaning | None:
        # A symptom billed at discharge has no hour, so it would be felt at the wrong one.
        meaning = tables.codes.find("ICD10CM", code)
        return (
            meaning if meaning and tables.codes.lib.measure(meaning.measure).shelf == "conditions" else None
        )

    join = tables.meanings(table, "diagnosis_code", condition, where=f"{system} like 'ICD10%'")
    others = tables.run(
        table, f"select count(*) from {tables.scans[table]} where {system} not like 'ICD10%'"
    )[0][0]
    if others:
        tables.tally.skip(f"clif_{table}", "(not ICD-10)", int(others))
    stays = (
        f"join (select hospitalization_id, {tables.at('hospitalization', 'admission_dttm')} as began, "
        f"{tables.at('hospitalization', 'discharge_dttm')} as ended from "
        f"{tables.scans['hospitalization']}) d "
        "using (hospitalization_id)"
    )
    poa = f"coalesce({tables.value(table, 'poa_present')}, 0) = 1"
    return [
        rows(tables, table, f"{stays} {join}", f"{system} like 'ICD10%'", measure="measure", text="m.word",
             time=f"case when {poa} then began else coalesce(ended, began) end", recorded="ended")
    ]  # fmt: skip


def others(tables: Folder, table: str) -> list[str]:
    """Assessments and procedures: only what a code file names; the rest is counted.

    Sedation and coma scores are no consciousness of ICANS: under sedation they would make a grade.
    """
    column = "assessment_category" if table == "patient_assessments" else "procedure_code"
    if not tables.has(table, column):
        return []
    join = tables.meanings(table, column, own(tables, table))
    time = tables.at(table, "recorded_dttm", "procedure_billed_dttm")
    said = tables.text(table, "categorical_value")
    tables.note("text", table, said)
    word = f"coalesce(m.word, {said})"
    value = tables.value(table, "numerical_value")
    columns = {"time": time, "measure": "measure", "value": value, "text": word, "unit": "usual"}
    return [rows(tables, table, join, **columns)]


def orphans(tables: Folder) -> None:
    """Count rows of stays that `clif_hospitalization` does not know: they belong to nobody."""
    for table in READ[2:]:
        if tables.has(table, "hospitalization_id"):
            count = tables.run(
                table, f"select count(*) from {tables.scans[table]} anti join stay using (hospitalization_id)"
            )[0][0]
            if count:
                tables.tally.skip(f"clif_{table}", "(hospitalization_id unknown)", int(count))
