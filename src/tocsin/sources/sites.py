"""Patients that several folders know by one id: the same person, or two hospitals that number alone?

Nobody but the reader can tell. They are read as one person each, because the parts of a record often come in
several folders, and it is said how many they are.
"""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc


class Met:
    """The ids met in each folder."""

    def __init__(self) -> None:
        self._ids: dict[str, pa.Array] = {}

    def add(self, site: str | None, rows: pa.Table) -> None:
        """Note who is in these rows of a folder; None where only one folder was given."""
        if site is None:
            return
        ids = pc.unique(rows.column("patient_id").cast(pa.string()))
        known = self._ids.get(site)
        self._ids[site] = ids if known is None else pc.unique(pa.concat_arrays([known, ids]))

    def notes(self) -> list[str]:
        """What the summary should say of ids that several folders share."""
        folders = Counter(name for ids in self._ids.values() for name in ids.to_pylist() if name is not None)
        shared = sorted(name for name, times in folders.items() if times > 1)
        if not shared:
            return []
        which = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
        who = "1 patient id is" if len(shared) == 1 else f"{len(shared):,} patient ids are"
        return [
            f"{who} in more than one of the folders ({which}) and read as one person each; "
            "if each folder numbers its patients alone, grade one folder at a time"
        ]
