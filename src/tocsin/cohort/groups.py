"""Groups of one's own: a CSV file that says to which arm, centre or product each patient belongs."""

from __future__ import annotations

import csv
from pathlib import Path

from tocsin.definitions.schema import TocsinError, near

COLUMNS = ("patient_id", "group")


def groups_of(path: Path) -> dict[str, str]:
    """Patient to group, from a CSV file with the columns `patient_id` and `group`.

    Raises `TocsinError`, with the line, for a missing column, an empty cell, or a patient in two groups.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TocsinError(f"{path}: not UTF-8: {error}\n  fix: save it as CSV in UTF-8") from error
    rows = csv.DictReader(text.splitlines())
    for name in COLUMNS:
        if name not in (rows.fieldnames or ()):
            raise TocsinError(
                f"{path}: no column `{name}`{near(name, rows.fieldnames or ())}\n"
                "  fix: the first line is patient_id,group"
            )
    found: dict[str, str] = {}
    for row in rows:
        patient, group = ((row[name] or "").strip() for name in COLUMNS)
        if not patient or not group:
            raise TocsinError(
                f"{path}, line {rows.line_num}: a patient or a group is empty\n"
                "  why: who it is about would be guessed\n  fix: leave the line out, or fill it"
            )
        if found.setdefault(patient, group) != group:
            raise TocsinError(
                f"{path}, line {rows.line_num}: {patient} is in `{found[patient]}` and in `{group}`\n"
                "  why: a patient counted in two groups makes their comparison wrong\n  fix: keep one"
            )
    return found
