"""`write`: one export of a cohort into a folder, with its dictionary and the hashes of what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cohort.exports.bundle import write_bundles
from tocsin.cohort.exports.columns import ARROW, written
from tocsin.cohort.exports.dictionary import SCHEMA as DICTIONARY
from tocsin.cohort.exports.dictionary import dictionary
from tocsin.cohort.exports.laid_out import laid_out, subjects_of
from tocsin.cohort.exports.rows import require, rows_of
from tocsin.cohort.folders import appearing, digest, write_both
from tocsin.cohort.records import Cohort
from tocsin.definitions.export import Export, Table, export, variables
from tocsin.definitions.load import Library
from tocsin.definitions.schema import TocsinError

#: Rows that are turned into columns at a time.
BATCH = 100_000
MADE = "definitions.json"


def names(lib: Library) -> tuple[str, ...]:
    """The exports there are, the site's own with them.

    >>> from tocsin.definitions.load import library
    >>> names(library())
    ('adam', 'cibmtr-4100', 'ebmt', 'fhir', 'sdtm')
    """
    return tuple(sorted(lib.files("exports")))


def write(
    name: str, cohort: Cohort, folder: Path, lib: Library, *, subject_key: bytes | None = None,
    study: str | None = None, zone: str = "UTC", term_codes: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write one export into `folder`, which appears whole or not at all; returns its files.

    Parameters
    ----------
    subject_key : replaces every patient's id by a pseudonym (HMAC-SHA-256); 16 bytes or more.
    study       : the study's name where a standard asks for one; left empty without.
    zone        : whose calendar dates are written, as `Europe/Berlin`.
    term_codes  : codes of the preferred terms, `{"crs": ..., "icans": ...}`, from a licensed dictionary.

    Raises `TocsinError` where the cohort lacks a scale that is needed, the folder holds something else, the
    key is short or the zone unknown; `DefinitionError` where there is no such export.
    """
    found = export(name, lib)
    _check_zone(zone)
    subjects = subjects_of(cohort, subject_key)
    scales = {table.name: require(table, found, cohort, lib) for table in found.tables}
    kept = [table for table in found.tables if scales[table.name] or table.optional is False]
    _refuse_other(Path(folder), name)
    with appearing(Path(folder)) as draft:
        rows: dict[str, int] = {}
        with laid_out(cohort, lib, subjects, study, dict(term_codes or {})) as con:
            for table in kept:
                if table.rows == "resources":
                    rows[table.name] = write_bundles(con, draft / f"{table.name}.ndjson", found)
                    continue
                schema = pa.schema([(field.name, ARROW[field.type]) for field in table.fields])
                query = rows_of(table, found, cohort, lib, scales[table.name])
                batches = _batches(con, query, table, found, zone)
                rows[table.name] = write_both(batches, schema, draft, table.name)
        write_both([dictionary(found, kept)], DICTIONARY, draft, "dictionary")
        files = {path.name: digest(path) for path in sorted(draft.iterdir())}
        made = _made(found, cohort, kept, rows, scales, files, subject_key is not None, zone)
        (draft / MADE).write_bytes(orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    return sorted(Path(folder).iterdir())


def _batches(
    con: duckdb.DuckDBPyConnection, query: str, table: Table, found: Export, zone: str
) -> Iterator[pa.Table]:
    reader = con.sql(query).to_arrow_reader(BATCH)
    for batch in reader:
        yield written(pa.Table.from_batches([batch]), table.fields, table.rows, found, zone)


def _refuse_other(folder: Path, export: str) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        before = orjson.loads((folder / MADE).read_bytes())["export"]
    except (OSError, ValueError, KeyError, TypeError):
        before = None
    if before != export:
        what = f"holds the export {before}" if before else "holds something else"
        raise TocsinError(
            f"{folder}: {what}\n"
            "  why: it would be deleted, because an export replaces its folder whole\n"
            "  fix: name a folder that is not there"
        )


def _check_zone(zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError) as error:
        raise TocsinError(
            f"no time zone `{zone}`\n"
            "  why: dates of onset are calendar dates, and a day begins at another instant elsewhere\n"
            "  fix: a name of the time zone database, for example Europe/Berlin"
        ) from error


def _made(
    found: Export, cohort: Cohort, kept: Sequence[Table], rows: Mapping[str, int],
    scales: Mapping[str, Sequence[str]], files: Mapping[str, str], hidden: bool, zone: str,
) -> dict[str, Any]:  # fmt: skip
    """What the files rest on. Nothing here depends on when or where they were written."""
    made, drafts = cohort.made, [field.name for _, field in variables(found) if field.status != "checked"]
    drawn = cohort.spans["patient_id"].unique()
    return {
        "export": found.id, "title": found.title, "revision": found.revision, "definition": found.hash,
        "tocsin": version("tocsin"), "gathered_with": made.version,
        "definitions": dict(cohort.definitions),
        "scales": {name: list(scales[name]) for name in rows},
        "data_cut": {
            "until": made.until, "as_of": made.as_of,
            "last_fact": None if not len(cohort.people) else pc.max(cohort.people["last"]).as_py(),
        },
        "patients": len(cohort.people), "patients_with_spans": len(drawn), "rows": dict(rows),
        "left_out": {
            table.name: f"not graded under {' or '.join(table.scale)}"
            for table in found.tables if table not in kept
        },
        # names of files can hold names of people
        "sources": None if hidden else [Path(name).name for name in made.sources],
        "facts": made.facts, "rejected": made.rejected, "unusable_patients": made.unusable,
        "subjects": "pseudonyms, HMAC-SHA-256" if hidden else "as in the record",
        "dates": zone,
        "csv": "text cells that begin with = + - @, a tab or a line break carry a leading apostrophe",
        "not_checked": sorted(set(drafts)), "files": dict(files),
    }  # fmt: skip
