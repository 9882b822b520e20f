"""The columns of the facts table, of what was refused, and of the rows on their way in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from tocsin.definitions.schema import TocsinError, near

INSTANT = pa.timestamp("us", tz="UTC")
#: A fact as a source may chart it.
RAW = pa.schema(
    [
        ("patient_id", pa.string()),
        ("time", INSTANT),
        ("measure", pa.string()),
        ("value", pa.float64()),
        ("text", pa.string()),
        ("unit", pa.string()),
        ("end", INSTANT),
        ("ref_low", pa.float64()),
        ("ref_high", pa.float64()),
        ("method", pa.string()),
        ("recorded", INSTANT),
        ("source", pa.string()),
        ("replaces", pa.string()),
    ]
)
#: A fact as grading reads it: values in the measure's own unit, `weight` (kg) the one its rate was taken
#: with.
SCHEMA = RAW.append(pa.field("weight", pa.float64()))
METADATA = {b"tocsin": b"facts/1"}
#: A row that is read but whose patient is not yet complete. `pending` is the power of body weight its value
#: still lacks; `charted_value` and `charted_unit` are then what was written, for the message if no weight is
#: found.
READ = pa.schema(
    [
        *RAW,
        ("weight", pa.float64()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("pending", pa.int8()),
        ("charted_value", pa.float64()),
        ("charted_unit", pa.string()),
    ]
)
#: Columns of few distinct texts: between the two steps they travel as codes.
CODED = ("patient_id", "measure", "text", "unit", "method", "file", "charted_unit")
#: What was not taken as written. `kind` is `rejected`, or `kept-as-running`, `kept-as-given`,
#: `kept-without-limits` where the row itself stays; `row` counts data rows from 1, without the header.
REJECTS = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("patient_id", pa.string()),
        ("time", pa.string()),
        ("measure", pa.string()),
        ("value", pa.string()),
        ("text", pa.string()),
        ("unit", pa.string()),
        ("kind", pa.string()),
        ("what", pa.string()),
        ("why", pa.string()),
        ("fix", pa.string()),
    ]
)
REQUIRED = ("patient_id", "time", "measure")


class FactsError(TocsinError):
    """A whole input that cannot be read as facts."""


@dataclass(frozen=True, slots=True)
class Canonical:
    """Facts ready to grade, and every row that was not taken as written."""

    table: pa.Table
    rejects: pa.Table


def named_columns(names: Sequence[str], source: str) -> dict[str, int]:
    """Our columns among those of a table, by place; raises `FactsError` on a missing or doubled one."""
    found: dict[str, int] = {}
    for place, name in enumerate(names):
        key = name.strip().lower()
        if key not in (*RAW.names, "row", "file"):
            continue
        if key in found:
            raise FactsError(
                f"{source}: the column `{key}` is there twice\n  why: either could be the one meant\n"
                "  fix: rename or remove one of the two"
            )
        found[key] = place
    for name in REQUIRED:
        if name not in found:
            raise FactsError(
                f"{source}: has no column `{name}`{near(name, names)}\n"
                f"  why: a fact is a patient, a time and a measure; the columns are {', '.join(names)}\n"
                f"  fix: name the columns {', '.join(REQUIRED)} and value, text, unit as needed"
            )
    return found
