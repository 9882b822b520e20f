"""CLIF 2.1: a folder of `clif_*` tables, read with SQL from end to end.

The patient is `patient_id`; tables that only know the hospitalization are joined to it. Categories are
CLIF's own closed lists: units are CLIF's where the standard fixes them (vital signs), else the row's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from tocsin.definitions.schema import TocsinError
from tocsin.facts.meaning import matched
from tocsin.sources.clif_stays import (
    READ,
    deaths,
    diagnoses,
    dialysis,
    orphans,
    others,
    own,
    people,
    rows,
)
from tocsin.sources.codes import Codes, Meaning
from tocsin.sources.folder import Folder, files
from tocsin.sources.ordering import database, quoted, ranked, sign, whole_patients, written

if TYPE_CHECKING:
    from tocsin.definitions.load import Library
    from tocsin.sources.tally import Tally

KIND = "clif"
VITALS = {
    "temp_c": Meaning("temperature", "Cel"), "heart_rate": Meaning("heart-rate", "/min"),
    "respiratory_rate": Meaning("respiratory-rate", "/min"), "sbp": Meaning("systolic-bp", "mm[Hg]"),
    "dbp": Meaning("diastolic-bp", "mm[Hg]"), "map": Meaning("mean-bp", "mm[Hg]"),
    "spo2": Meaning("spo2", "%"),
    "weight_kg": Meaning("weight", "kg"), "height_cm": Meaning("height", "cm"),
}  # fmt: skip
LABS = {
    "albumin": "albumin", "alkaline_phosphatase": "alp", "alt": "alt", "ast": "ast",
    "bilirubin_conjugated": "bilirubin-direct", "bilirubin_total": "bilirubin", "bun": "bun",
    "calcium_total": "calcium", "creatinine": "creatinine", "crp": "crp", "ferritin": "ferritin",
    "hemoglobin": "hemoglobin", "lactate": "lactate", "ldh": "ldh", "lymphocytes_absolute": "lymphocytes",
    "magnesium": "magnesium", "neutrophils_absolute": "anc", "pco2_arterial": "paco2",
    "phosphate": "phosphate",
    "platelet_count": "platelets", "po2_arterial": "pao2", "potassium": "potassium",
    "procalcitonin": "procalcitonin", "pt": "pt", "ptt": "aptt", "sodium": "sodium",
    "troponin_i": "troponin-i",
    "troponin_t": "troponin-t", "wbc": "wbc", "inr": "inr", "ph_arterial": "ph",
}  # fmt: skip
#: Results without a dimension, whose unit the table leaves empty.
BARE = {"inr": "{INR}", "ph": "[pH]"}
#: Fluids that are a bolus when the row says so.
FLUIDS = (
    "sodium chloride",
    "sodium_chloride",
    "lactated_ringers_solution",
    "plasma_lyte",
    "albumin_infusion",
)


def recognises(path: Path) -> bool:
    """Whether this is a folder with CLIF's own file names."""
    try:
        return any(file.name.lower().startswith("clif_hospitalization.") for file in files(path))
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
    """Raw facts, whole patients at a time. Times without a zone are wall-clock time in `timezone`.

    A code file may name CLIF's categories as "clif_vitals|temp_c".
    """
    with database(work) as con:
        tables = Folder(con, path, Codes(lib, codes), tally, timezone, prefix="clif_")
        tables.open()
        if not tables.has("hospitalization", "hospitalization_id", "patient_id"):
            raise TocsinError(
                f"{path}: clif_hospitalization has no patient_id and hospitalization_id\n"
                "  why: without it nobody knows which patient a stay belongs to\n  fix: export the whole "
                "table"
            )
        stays = tables.scans["hospitalization"]
        patients = ranked(con, f"select patient_id from {stays}")
        con.execute(
            "create temp table stay as select hospitalization_id, any_value(p) as p from "
            f"{stays} h join person on person.patient_id = h.patient_id::varchar group by 1"
        )
        parts = [
            *vitals(tables),
            *labs(tables),
            *continuous(tables),
            *intermittent(tables),
            *breathing(tables),
        ]
        parts += [*dialysis(tables), *people(tables), *deaths(tables), *diagnoses(tables)]
        for table in ("patient_assessments", "patient_procedures"):
            parts += others(tables, table)
        for table in tables.scans:
            if table not in READ:
                count = tables.run(table, f"select count(*) from {tables.scans[table]}")[0][0]
                tally.skip(f"clif_{table}", "(whole table)", int(count))
        if any(tables.naive(table, *tables.columns[table]) for table in READ[2:8] if table in tables.scans):
            tally.notes.append(f"CLIF times without a zone were read as {timezone}")
        orphans(tables)
        yield from whole_patients(con, parts, patients, {**tables.words, "file": tables.labels.values()})


def vitals(tables: Folder) -> list[str]:
    """Vital signs; the site of a temperature and the way of a pressure become `method`."""
    if not tables.has("vitals", "vital_category", "vital_value"):
        return []
    name, site = tables.text("vitals", "vital_name"), tables.text("vitals", "meas_site_name")
    way = (
        f"case when {site} in ('Blood', 'Bladder', 'Rectal', 'Esophogeal', 'Esophageal') then 'core' "
        f"when {site} is not null then lower({site}) "
        f"when {name} like 'Arterial%' or {name} like 'ART %' then 'arterial' "
        f"when {name} like 'Non Invasive%' or {name} like 'Manual Blood%' then 'cuff' end"
    )
    tables.words["method"] |= {"core", "arterial", "cuff"}
    tables.note("method", "vitals", f"lower({site})")
    join = tables.meanings("vitals", "vital_category", own(tables, "vitals", VITALS))
    return [
        rows(tables, "vitals", join, time=tables.at("vitals", "recorded_dttm"), measure="measure",
             value=tables.value("vitals", "vital_value"), unit="usual", method=f"coalesce(m.way, {way})")
    ]  # fmt: skip


def labs(tables: Folder) -> list[str]:
    """Laboratory results: true when collected, known when resulted; `<` and `>` kept as comparators.

    What is no number stays in `text`, so that it is refused by name and its measure unknown.
    """
    if not tables.has("labs", "lab_category"):
        return []
    known = {name: Meaning(measure, BARE.get(measure)) for name, measure in LABS.items()}
    join = tables.meanings("labs", "lab_category", own(tables, "labs", known))
    charted = tables.text("labs", "lab_value")
    value = tables.value("labs", "lab_value_numeric")
    value = f"coalesce({value}, {written(charted)})"
    text = f"case when {value} is null then {charted} else {sign(charted)} end"
    unit = f"trim({tables.text('labs', 'reference_unit')}, ' \t')"
    tables.note("unit", "labs", unit)
    tables.note("text", "labs", text)
    return [
        rows(tables, "labs", join, time=tables.at("labs", "lab_collect_dttm", "lab_result_dttm"),
             measure="measure", value=value, text=text, unit=f"coalesce({unit}, usual)",
             recorded=tables.at("labs", "lab_result_dttm"))
    ]  # fmt: skip


def continuous(tables: Folder) -> list[str]:
    """Infusions: start, dose change and stop are rows of their own; a stop is a rate of 0.

    A rate stands to the next row of its bag (`med_order_id`), also a day later. Where the next bag is hung
    before the last one is stopped, that stop does not stop the drug. A drug that is given rather than run
    (acetaminophen over 15 min) counts when it starts, its dose unknown.
    """
    table = "medication_admin_continuous"
    if not tables.has(table, "med_category", "admin_dttm"):
        return []
    join = tables.meanings(table, "med_category", own(tables, table, drugs=True))
    action = f"coalesce({tables.text(table, 'mar_action_category')}, 'going')"
    held = f"({action} in ('bolus', 'start', 'dose_change', 'going', 'verify', 'stop'))"
    sql = f"select code, {action}, count(*) from {tables.scans[table]} {join} where not {held} group by all"
    for code, act, count in tables.run(table, sql):
        tables.tally.skip(f"clif_{table}", f"{code} ({act})", int(count))
    time, unit = tables.at(table, "admin_dttm"), tables.text(table, "med_dose_unit")
    tables.note("unit", table, unit)
    value = f"case when {action} = 'stop' then 0 else {tables.value(table, 'med_dose')} end"
    text = f"case when {action} = 'bolus' then 'push' end"
    tables.words["text"].add("push")
    order = tables.text(table, "med_order_id")
    running = (
        f"select p, {time} as time, measure, kind, {value} as value, {text} as text, {unit} as unit, "
        f"{order} as bag, "
        f"{tables.source(table)} from {tables.scans[table]} join stay using (hospitalization_id) {join} "
        f"where {held} and kind = 'infusion'"
    )
    tables.con.execute(
        "create temp table infusion as select *, lead(time) over (partition by p, measure, bag order by "
        "time) as changed, min(time) over (partition by p, measure, bag order by time "
        "range between interval 1 microsecond following and unbounded following) as until "
        f"from ({running})"
    )
    # A rate stands to the next row of its own bag, however long after: a later row shows that it ran on.
    until = "case when bag is not null and value > 0 and text is null then until end"
    return [
        f'select p, time, measure, value, text, unit, {until} as "end", file, row from infusion s '
        f"where value is distinct from 0 or not ({OTHER_BAG})",
        rows(
            tables,
            table,
            join,
            f"kind <> 'infusion' and {action} in ('start', 'bolus')",
            time=time,
            measure="measure",
        ),
    ]


#: Another bag of the same drug was started before this stop, within a day, and goes on after it.
OTHER_BAG = (
    "exists (select 1 from infusion o where o.p = s.p and o.measure = s.measure and o.bag <> s.bag and "
    "o.value > 0 "
    "and o.time < s.time and o.time > s.time - interval 24 hour and coalesce(o.changed > s.time, true))"
)


def intermittent(tables: Folder) -> list[str]:
    """Doses given at once; a crystalloid or albumin is a fluid bolus only where the row says bolus."""
    table = "medication_admin_intermittent"
    if not tables.has(table, "med_category", "admin_dttm"):
        return []
    fluids = {fluid: Meaning("fluid-bolus") for fluid in FLUIDS}
    join = tables.meanings(table, "med_category", own(tables, table, fluids, drugs=True))
    action = f"coalesce({tables.text(table, 'mar_action_category')}, 'given')"
    unit, dose = tables.text(table, "med_dose_unit"), tables.value(table, "med_dose")
    tables.note("unit", table, unit)
    said = " || ' ' || ".join(
        f"coalesce({tables.text(table, name)}, '')"
        for name in ("mar_action_name", "med_name", "med_route_name")
    )
    bolus = f"(measure <> 'fluid-bolus' or ({said}) ilike '%bolus%')"
    kept = f"{action} in ('given', 'bolus') and {bolus}"
    left = tables.run(
        table,
        f"select code, {action}, count(*) from {tables.scans[table]} {join} where not ({kept}) group by all",
    )
    for code, act, count in left:
        tables.tally.skip(f"clif_{table}", f"{code} ({'not a bolus' if act == 'given' else act})", int(count))
    counted = f"lower(coalesce({unit}, '')) in ('dose', 'doses', 'unit dose', '')"
    text = "case when kind = 'infusion' then 'push' end"
    tables.words["text"].add("push")
    return [
        rows(tables, table, join, kept, time=tables.at(table, "admin_dttm"), measure="measure", text=text,
             value=f"case when {counted} then null else {dose} end",
             unit=f"case when {counted} then null else {unit} end")
    ]  # fmt: skip


def breathing(tables: Folder) -> list[str]:
    """Device, flow and FiO2, each a fact of its own: flow and FiO2 stand also where the device is missing."""
    table = "respiratory_support"
    if not tables.has(table, "recorded_dttm"):
        return []
    time = tables.at(table, "recorded_dttm")
    tables.tally.rows_read += int(tables.run(table, f"select count(*) from {tables.scans[table]}")[0][0])
    name, category = tables.text(table, "device_name"), tables.text(table, "device_category")
    # A face mask may be a non-rebreather: the charted name is finer than the category where it is known.
    masks = tables.run(
        table, f"select distinct {name} from {tables.scans[table]} where {category} = 'Face Mask'"
    )
    words = tables.codes.lib.measure("oxygen-device")
    finer = [mask for (mask,) in masks if mask and matched(mask, words.words, words.word_aliases)]
    listed = ", ".join(map(quoted, finer)) or "''"
    device = f"case when {category} = 'Face Mask' and {name} in ({listed}) then {name} else {category} end"
    tables.note("text", table, device)
    parts = [rows(tables, table, "", f"{category} is not null", time=time, measure="'oxygen-device'::measure",
                  text=device)]  # fmt: skip
    for column, measure, unit in (("lpm_set", "oxygen-flow", "L/min"), ("fio2_set", "fio2", "1")):
        value = tables.value(table, column)
        tables.words["unit"].add(unit)
        parts.append(rows(tables, table, "", f"{value} is not null", time=time, value=value,
                          measure=f"'{measure}'::measure", unit=f"'{unit}'"))  # fmt: skip
    unsaid = (
        f"{category} is null and {tables.value(table, 'lpm_set')} is null and "
        f"{tables.value(table, 'fio2_set')} is null"
    )
    count = tables.run(table, f"select count(*) from {tables.scans[table]} where {unsaid}")[0][0]
    if count:
        tables.tally.skip(f"clif_{table}", "(no device, flow or FiO2)", int(count))
    return parts
