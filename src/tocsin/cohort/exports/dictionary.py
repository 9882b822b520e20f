"""The data dictionary of an export: every variable of every table, what it is made of, how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tocsin.definitions.export import Export, Field, Table
from tocsin.definitions.export_words import ROWS

COLUMNS = (
    "table", "variable", "label", "type", "unit", "codelist", "origin", "derivation", "word", "source",
    "locator", "status",
)  # fmt: skip
SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS])
STATUS = {
    "checked": "checked",
    "draft": "draft: read by one reader, compare with the current form",
    "memory": "draft, from memory: no source at hand confirms it, get the current form",
}


def dictionary(found: Export, tables: Sequence[Table]) -> pa.Table:
    """One row a variable; qualifiers and parameters follow the table that holds them as values."""
    rows = [_row(table, field, found) for table in tables for field in table.fields]
    for table in tables:
        for field in table.qualifiers:
            rows.append(_row(table, field, found, f"{table.name}, QNAM"))
        for each in table.parameters:
            given = f" ({', '.join(each.given)})" if each.given else ""
            rows.append({
                "table": f"{table.name}, PARAMCD", "variable": each.name, "label": each.label,
                "type": "number", "unit": "", "codelist": "", "origin": "Derived",
                "derivation": " ".join(filter(None, (
                    f"from {each.starts} to {each.event}{given} under {each.scale}.", each.reading))),
                "word": f"{each.starts} to {each.event}", "source": ", ".join(each.source), "locator": "",
                "status": STATUS[each.status],
            })  # fmt: skip
    return pa.Table.from_pylist([{key: value or None for key, value in row.items()} for row in rows], SCHEMA)


def _row(table: Table, field: Field, found: Export, name: str = "") -> dict[str, str]:
    words = ROWS["episodes" if name else table.rows]
    codes = found.codelists[field.codelist] if field.codelist else {}
    if field.word is not None:
        word = words[field.word]
        asked = [*field.given, *field.devices]
        says = word.says + (f": {', '.join(asked)}" if asked else "")
        origin = word.origin
        codes = {key: codes[key] for key in word.choices if key in codes}
    elif table.rows == "resources":
        says, origin = "", "Derived"
    else:
        says = f"always {field.value}" if field.value else f"left empty: {field.empty}"
        origin = "Assigned" if field.value else "Not available"
    return {
        "table": name or table.name, "variable": field.name, "label": field.label, "type": field.type,
        "unit": field.unit,
        "codelist": "; ".join(f"{key} = {said or '(empty)'}" for key, said in codes.items()),
        "origin": origin, "derivation": ". ".join(filter(None, (says, field.reading))),
        "word": field.word or "", "source": ", ".join(field.source), "locator": field.locator,
        "status": STATUS[field.status],
    }  # fmt: skip
