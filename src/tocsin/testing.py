"""Patients in words, for tests, definitions' examples and documentation.

A patient written here goes through the same reading as a file, so an example cannot say what a chart could
not.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import Measure, TocsinError, near
from tocsin.facts import canonical, messages
from tocsin.facts.columns import RAW

START = datetime(2026, 1, 5, tzinfo=UTC)
HOURS = {"min": 1 / 60, "h": 1.0, "d": 24.0}
AMOUNT = re.compile(r"^([<>]=?)?([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)$")
TAIL = re.compile(
    r"\s(?:until (?P<until>\S+ (?:min|h|d))|recorded (?P<recorded>\S+ (?:min|h|d))|method (?P<method>\S+)"
    r"|ref (?P<ref>\S*\.\.\S*)|source (?P<source>\S+)|replaces (?P<replaces>\S+))(?=\s|$)"
)


class PatientError(TocsinError):
    """A patient's line that cannot be read."""


def patient(
    *lines: str, patient: str = "p1", start: datetime = START, lib: Library | None = None, strict: bool = True
) -> pa.Table:
    """Canonical facts of one patient, one line a fact.

    A line is `TIME MEASURE [VALUE [UNIT] | WORD]`, TIME in `min`, `h` or `d` from `start`, then in any order
    `until TIME`, `recorded TIME`, `method WORD`, `ref LOW..HIGH`, `source ID`, `replaces ID`.
    With `strict` a fact that would not be taken as written raises `PatientError`; without, it is what a
    chart makes of it.

    >>> table = patient("0 h temperature 38.4 Cel", "3 h oxygen-device nasal-cannula", "4 h tocilizumab",
    ...                 "8 h norepinephrine 0.05 ug/kg/min until 12 h")
    >>> table.select(["measure", "value", "text"]).to_pylist()[0]
    {'measure': 'temperature', 'value': 38.4, 'text': None}
    """
    lib = lib or library()
    facts = [{**fact(line, start, lib), "patient_id": patient} for line in lines]
    columns = {name: [each.get(name) for each in facts] for name in RAW.names}
    done = canonical(pa.table(columns, schema=RAW), lib=lib, source="line")
    if strict and done.rejects.num_rows:
        raise PatientError("\n".join(messages(done.rejects)))
    return done.table


def fact(line: str, start: datetime, lib: Library) -> dict[str, Any]:
    """One line as a raw fact; raises `PatientError`."""
    said: dict[str, Any] = {}
    rest = line
    for found in TAIL.finditer(line):
        key = str(found.lastgroup)
        if key in said:
            raise PatientError(f"`{line}`: says `{key}` twice")
        said[key] = found[key]
        rest = rest.replace(found[0], "", 1)
    words = rest.split()
    if len(words) < 3 or words[1] not in HOURS:
        raise PatientError(f"`{line}`: is no fact\n  fix: write it like `6 h oxygen-flow 2 L/min`")
    if words[2] not in lib.measures:
        raise PatientError(f"`{line}`: `{words[2]}` is no measure{near(words[2], lib.measures)}")
    low, _, high = said.get("ref", "..").partition("..")
    return {
        "time": moment(" ".join(words[:2]), start, line),
        "measure": words[2],
        "end": moment(said["until"], start, line) if "until" in said else None,
        "recorded": moment(said["recorded"], start, line) if "recorded" in said else None,
        "ref_low": float(low) if low else None,
        "ref_high": float(high) if high else None,
        **{key: said.get(key) for key in ("method", "source", "replaces")},
        **content(words[3:], lib.measures[words[2]], line),
    }


def content(words: list[str], measure: Measure, line: str) -> dict[str, Any]:
    """The value, unit and text of a line."""
    if not words:
        return {}
    number = AMOUNT.match(words[0])
    if measure.kind in ("category", "word") or number is None:
        return {"text": " ".join(words)}
    if len(words) > 2:
        raise PatientError(f"`{line}`: `{' '.join(words[2:])}` is not understood")
    return {"value": float(number[2]), "text": number[1], "unit": words[1] if len(words) == 2 else None}


def moment(text: str, start: datetime, line: str) -> datetime:
    """A time such as `6 h` as an instant."""
    number, unit = text.split()
    try:
        return start + timedelta(hours=float(number) * HOURS[unit])
    except (ValueError, KeyError, OverflowError) as error:
        raise PatientError(
            f"`{line}`: `{text}` is no time\n  fix: write it like `6 h`, `90 min` or `2 d`"
        ) from error
