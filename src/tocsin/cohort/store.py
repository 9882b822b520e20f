"""Writes a report: a page, and a folder of tables beside it; whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from tocsin.cohort.dictionary import dictionary
from tocsin.cohort.folders import appearing, write_both, write_csv
from tocsin.definitions.schema import TocsinError
from tocsin.facts.files import replaced, writing

DICTIONARY, DEFINITIONS = "data-dictionary.csv", "definitions.json"


def folder_of(page: Path) -> Path:
    """The folder of the tables of a page.

    >>> folder_of(Path("trial/report.html")).as_posix()
    'trial/report-tables'
    """
    return page.with_name(f"{page.stem}-tables")


def check_folder(folder: Path) -> None:
    """Refuse to replace a folder that no report wrote; raises `TocsinError`."""
    ours = (folder / DICTIONARY, folder / DEFINITIONS)
    if folder.exists() and not all(path.is_file() for path in ours):
        raise TocsinError(
            f"{folder}: is there already, and no report's tables\n"
            "  why: the tables take the place of the whole folder\n"
            "  fix: give the page another name, or move the folder"
        )


def write(page: Path, html: str, tables: Mapping[str, pa.Table], made: Mapping[str, Any]) -> list[Path]:
    """Write `page` and its tables; returns the paths, the page first.

    Everything is written beside its place and renamed at the end, so that Ctrl-C or a full disk leaves the
    old report or none.
    """
    folder = folder_of(page)
    check_folder(folder)
    with appearing(folder) as draft, writing(str(folder)):
        for name, table in tables.items():
            write_both([table], table.schema, draft, name)
        write_csv(dictionary(tables), draft / DICTIONARY)
        (draft / DEFINITIONS).write_bytes(orjson.dumps(dict(made), option=orjson.OPT_INDENT_2))
        with replaced(page) as file:
            file.write(html.encode())
    return [page, *sorted(folder.iterdir())]
