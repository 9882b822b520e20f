"""What a door did with what it was given: read, not understood, refused, worth saying.

Silence must never look like absence, so every door fills one of these while it reads.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Filled by a door while its batches are taken; complete when the last batch is out.

    `unused` counts rows by (table or code system, code) that no definition or code file names;
    `rejects` are rows that could not be read at all, as columns of the rejects table; `notes` are
    sentences for the summary, such as which time zone was assumed.
    """

    rows_read: int = 0
    unused: Counter[tuple[str, str]] = field(default_factory=Counter)
    rejects: list[dict[str, object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def reject(self, file: str, row: int, what: str, why: str, fix: str, text: str | None = None) -> None:
        """Refuse one row of the source; `row` counts from 1."""
        self.rejects.append(
            {"file": file, "row": row, "text": text, "kind": "rejected", "what": what, "why": why, "fix": fix}
        )

    def skip(self, table: str, code: str | None, rows: int = 1) -> None:
        """Count rows that nothing here understands."""
        self.unused[(table, "(none)" if code is None else code)] += rows
