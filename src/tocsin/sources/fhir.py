"""FHIR R4: Bundles, NDJSON and gzipped NDJSON, one file or a folder, streamed.

Resources are read as plain dictionaries with orjson, turned into rows (`resources.py`), written to
disk in pieces and sorted there, so that memory does not grow with the source.
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from tocsin.definitions.schema import TocsinError
from tocsin.sources.codes import MIMIC, Codes
from tocsin.sources.lines import LONGEST, lines, opened
from tocsin.sources.ordering import age, database, died, instant, quoted, ranked, whole_patients
from tocsin.sources.resources import COLUMNS, Resources

if TYPE_CHECKING:
    from tocsin.definitions.load import Library
    from tocsin.sources.tally import Tally

KIND = "fhir"
ENDINGS = (".json", ".ndjson", ".jsonl", ".json.gz", ".ndjson.gz", ".jsonl.gz")
#: Resources that others refer to, so files of them are read first.
NAMED = ("Medication", "Device")
ROWS = 100_000
#: A Bundle is one JSON document and has to be parsed as one.
BUNDLE = 512 << 20


def recognises(path: Path) -> bool:
    """Whether this is FHIR JSON: a `resourceType` near the start of the file, or of a file in the folder."""
    try:
        return any(b'"resourceType"' in head(file) for file in files(path)[:3])
    except (OSError, EOFError, gzip.BadGzipFile):
        return False


def files(path: Path) -> list[Path]:
    """The file, or the JSON files of the folder."""
    found = [path] if path.is_file() else sorted(path.rglob("*"))
    return [file for file in found if file.is_file() and file.name.lower().endswith(ENDINGS)]


def head(file: Path) -> bytes:
    """The first bytes of a file, unpacked."""
    with opened(file) as opening:
        return opening.read(65_536)


def raw_batches(
    path: Path,
    *,
    lib: Library,
    tally: Tally,
    timezone: str = "UTC",
    codes: Path | None = None,
    work: Path | None = None,
) -> Iterator[pa.RecordBatch]:
    """Raw facts, whole patients at a time. FHIR times carry their zone; a bare one is read as `timezone`."""
    found = files(path)
    if not found:
        raise TocsinError(
            f"{path}: no JSON file\n  fix: give a Bundle, or NDJSON files (.ndjson, .ndjson.gz)"
        )
    reading = Resources(Codes(lib, codes, MIMIC), tally)
    with tempfile.TemporaryDirectory(dir=work, prefix="tocsin-") as scratch:
        folder = Path(scratch)
        for file in sorted(found, key=first_type):
            for number, resource in resources(file, tally):
                tally.rows_read += 1
                reading.take(resource, file.name, number)
                if len(reading.rows) >= ROWS:
                    write(folder, reading.rows)
                    reading.rows = []
        write(folder, reading.rows)
        if reading.dated:
            tally.notes.append(
                f"{reading.dated} deaths have a date and no hour: taken as the end of that day in {timezone}"
            )
        born = write_born(folder, reading.born)
        with database(work) as con:
            scan = f"read_parquet({quoted(folder / 'rows-*.parquet')})"
            patients = ranked(con, f"select patient_id from {scan}")
            yield from whole_patients(con, queries(scan, born, timezone), patients)


def first_type(file: Path) -> tuple[int, str]:
    """Sorts files of resources that others name before all others."""
    named = any(f'"resourceType":"{name}"'.encode() in head(file).replace(b" ", b"") for name in NAMED)
    return (0 if named else 1, file.name)


def resources(file: Path, tally: Tally) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every resource of a file with its line (or place in the Bundle), Bundles opened."""
    if file.name.lower().endswith((".json", ".json.gz")):
        whole = document(file, tally)
        if whole is not None:
            yield from entries(whole, 1)
            return
    for number, line in lines(file, tally):
        try:
            resource = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            tally.reject(
                file.name, number, f"is not JSON: {error}",
                "a resource that cannot be read is missing, not absent",
                "write one resource a line", line[:200].decode("utf-8", "replace"),
            )  # fmt: skip
            continue
        if not isinstance(resource, dict) or "resourceType" not in resource:
            tally.reject(
                file.name, number, "is not a FHIR resource", "it says no `resourceType`", "leave it out"
            )
            continue
        yield from entries(resource, number)


def document(file: Path, tally: Tally) -> dict[str, Any] | None:
    """The one JSON document of a file, or None where the file is lines after all."""
    try:
        with opened(file) as opening:
            text = opening.read(BUNDLE + 1)
    except (EOFError, gzip.BadGzipFile):
        return None
    if len(text) > BUNDLE:
        if b"\n" in text[:LONGEST]:
            return None
        raise TocsinError(
            f"{file}: a Bundle of more than {BUNDLE >> 20} MB\n"
            "  why: a Bundle can only be parsed whole, and this one would fill the memory\n"
            "  fix: export it as NDJSON, one resource a line"
        )
    try:
        whole = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return whole if isinstance(whole, dict) and "resourceType" in whole else None


def entries(resource: dict[str, Any], number: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The resource itself, or those of a Bundle: the ones that others name first."""
    if resource.get("resourceType") != "Bundle":
        yield number, resource
        return
    inner = list(enumerate(resource.get("entry") or (), 1))
    named = {
        entry["fullUrl"]: entry["resource"]
        for _, entry in inner
        if "fullUrl" in entry and "resource" in entry
    }
    for first in (True, False):
        for place, entry in inner:
            held = entry.get("resource")
            if not isinstance(held, dict) or ((kind := held.get("resourceType")) in NAMED) is not first:
                continue
            if kind == "Bundle":
                yield from entries(resolved(held, named), place)
            else:
                yield place, resolved(held, named)


def resolved(resource: dict[str, Any], named: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A Bundle's own names (urn:uuid:...) put as `Type/id`."""
    for key in ("subject", "patient", "medicationReference", "device"):
        reference = resource.get(key)
        target = named.get(reference.get("reference", "")) if isinstance(reference, dict) else None
        if target is not None and target.get("id"):
            resource[key] = {"reference": f"{target['resourceType']}/{target['id']}"}
    return resource


def write(folder: Path, rows: list[tuple[Any, ...]]) -> None:
    """Put rows aside as a piece of Parquet; times stay as written, DuckDB reads them faster."""
    import pyarrow.parquet as pq

    columns = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS)
    arrays = [pa.array(column, type=kind) for column, kind in zip(columns, COLUMNS.types, strict=True)]
    number = sum(1 for _ in folder.glob("rows-*.parquet"))
    pq.write_table(pa.Table.from_arrays(arrays, schema=COLUMNS), folder / f"rows-{number:06d}.parquet")


def write_born(folder: Path, born: Iterable[tuple[str, str, str]]) -> str:
    """Dates of birth, by patient."""
    import pyarrow.parquet as pq

    names = ("patient_id", "born", "source")
    columns = list(zip(*born, strict=True)) or [()] * len(names)
    arrays = [pa.array(column, type=pa.string()) for column in columns]
    pq.write_table(pa.Table.from_arrays(arrays, names=list(names)), folder / "born.parquet")
    return f"read_parquet({quoted(folder / 'born.parquet')})"


def queries(scan: str, born: str, timezone: str) -> list[str]:
    """All facts, and the age at the first fact of each calendar year; sex stands at the first fact."""
    at, ended, known = (instant(column, "VARCHAR", timezone) for column in ("time", '"end"', "recorded"))
    joined = f"{scan} join person using (patient_id)"
    # a death is often a date alone; its instant is then the end of that day
    lasting = f"case when measure = 'death' and length(time) <= 10 then {died(at, timezone)} else {at} end"
    seen = f"(select p, min({lasting}) as seen from {joined} group by p"
    return [
        f'select p, {lasting} as time, measure, value, text, unit, {ended} as "end", ref_low, ref_high, '
        f"method, {known} as recorded, source, replaces from {joined} where measure <> 'sex'",
        f"select p, seen as time, measure, text, source from {joined} join {seen}) using (p) "
        "where measure = 'sex' and seen is not null",
        f"select p, seen as time, 'age' as measure, {age('born::date', 'seen')} as value, 'a' as unit, "
        "source "
        f"from {born} join person using (patient_id) join {seen}, year({lasting})) using (p) "
        "where seen >= try_cast(born as date)",
    ]
