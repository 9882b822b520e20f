"""Writes a report: a page, and a folder of tables beside it; whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tocsin.cohort.dictionary import dictionary
from tocsin.definitions.schema import TocsinError
from tocsin.facts.files import replaced, writing
from tocsin.facts.parse import iso

#: What a spreadsheet would take for a formula at the start of a text.
FORMULA = r"^[=+\-@\t\r]"
DICTIONARY, DEFINITIONS = "data-dictionary.csv", "definitions.json"


def folder_of(page: Path) -> Path:
    """The folder of the tables of a page.

    >>> folder_of(Path("trial/report.html")).as_posix()
    'trial/report-tables'
    """
    return page.with_name(f"{page.stem}-tables")


def check_folder(folder: Path) -> None:
    """Refuse to replace a folder that no report wrote; raises `TocsinError`."""
    if folder.exists() and not ((folder / DICTIONARY).is_file() and (folder / DEFINITIONS).is_file()):
        raise TocsinError(
            f"{folder}: is there already, and no report's tables\n"
            "  why: the tables take the place of the whole folder\n"
            "  fix: give the page another name, or move the folder"
        )


def write(page: Path, html: str, tables: Mapping[str, pa.Table], made: Mapping[str, Any]) -> list[Path]:
    """Write `page` and its tables; returns the paths, the page first.

    Everything is written beside its place and renamed at the end, so that Ctrl-C or a full disk leaves the
    old report or none. A text cell of a CSV that a spreadsheet would run as a formula gets an apostrophe in
    front; numbers and the Parquet files are as they are.
    """
    folder = folder_of(page)
    check_folder(folder)
    draft = Path(tempfile.mkdtemp(dir=page.parent, prefix=f".{folder.name}."))
    try:
        with writing(str(folder)):
            for name, table in tables.items():
                pq.write_table(table, draft / f"{name}.parquet", compression="zstd")
                write_csv(table, draft / f"{name}.csv")
            write_csv(dictionary(tables), draft / DICTIONARY)
            (draft / DEFINITIONS).write_bytes(orjson.dumps(dict(made), option=orjson.OPT_INDENT_2))
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o777 & ~umask)
        with replaced(page) as file:
            file.write(html.encode())
        _take_place(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return [page, *sorted(folder.iterdir())]


def _take_place(draft: Path, folder: Path) -> None:
    """Rename a folder over another; what stood there goes last."""
    if not folder.exists():
        draft.rename(folder)
        return
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
    folder.rename(old / folder.name)
    draft.rename(folder)
    shutil.rmtree(old)


def write_csv(table: pa.Table, path: Path) -> None:
    """A table as CSV: times ISO 8601 with Z, texts that look like formulas with an apostrophe in front."""
    columns = []
    for column, kind in zip(table.columns, table.schema.types, strict=True):
        if pa.types.is_timestamp(kind):
            column = iso(column)
        elif pa.types.is_string(kind):
            column = escaped(column)
        columns.append(column)
    options = pa_csv.WriteOptions(quoting_style="needed")
    pa_csv.write_csv(pa.table(columns, names=table.schema.names), path, options)


def escaped(column: Any) -> Any:
    """Texts with an apostrophe in front of what a spreadsheet would run.

    >>> escaped(pa.array(["=1+1", "-", "fever", None])).to_pylist()
    ["'=1+1", "'-", 'fever', None]
    """
    runs = pc.match_substring_regex(column, FORMULA)
    return pc.if_else(pc.fill_null(runs, False), pc.binary_join_element_wise("'", column, ""), column)
