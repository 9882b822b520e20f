"""Age and sex that a person's details say, as facts: whoever reads the chart finds them as if charted.

The birth date stands in the table of patients alone. From it come the age at the first fact of each calendar
year, as the FHIR and OMOP doors have it, and the sex at the first fact of all; where somebody charted an age
or a sex, that stands instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library
from tocsin.facts.meaning import plausible
from tocsin.watch.intake import OWN, table_of

#: The source of such facts, and what they say.
DETAILS = OWN + "details"
SAID = ("age", "sex")


class Detailed(Protocol):
    """Of whom details are known."""

    @property
    def birth_date(self) -> str | None: ...
    @property
    def sex(self) -> str | None: ...


def with_details(rows: pa.Table, of: Mapping[str, Detailed], lib: Library) -> pa.Table:
    """Stored rows of whole persons (`facts.columns.READ`), and the facts that their details say."""
    told = pc.unique(rows["patient_id"].combine_chunks()).to_pylist()
    born = {who: date.fromisoformat(day) for who in told if who in of and (day := of[who].birth_date)}
    sexes = {who: sex for who in told if who in of and (sex := of[who].sex)}
    if not born and not sexes:
        return rows
    charted = {
        measure: set(rows.filter(pc.equal(rows["measure"], measure))["patient_id"].to_pylist())
        for measure in SAID
    }
    said: list[dict[str, Any]] = []
    for who, firsts in first_facts(rows, {*born, *sexes}).items():
        if who in sexes and who not in charted["sex"]:
            said.append(_fact(who, firsts[0], "sex", text=sexes[who]))
        if who in born and who not in charted["age"]:
            said += [
                _fact(who, at, "age", value=years, unit="a")
                for at in firsts
                if (years := age(born[who], day_of(at))) is not None and plausible(lib.measure("age"), years)
            ]
    return pa.concat_tables([rows, table_of(said)]) if said else rows


def first_facts(rows: pa.Table, people: set[str]) -> dict[str, list[int]]:
    """When the first fact of each calendar year was, by person, in order (microseconds)."""
    mine = rows.filter(pc.is_in(rows["patient_id"], pa.array(sorted(people), pa.string())))
    who = pc.dictionary_encode(mine["patient_id"].combine_chunks())
    times = mine["time"].cast(pa.int64()).to_numpy()
    years = times.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64)
    codes = who.indices.to_numpy()
    order = np.lexsort((times, years, codes))
    keys = np.stack([codes[order], years[order]])
    first = np.flatnonzero(np.concatenate([[True], (keys[:, 1:] != keys[:, :-1]).any(axis=0)])[: len(order)])
    names, found = who.dictionary.to_pylist(), dict[str, list[int]]()
    for place in order[first]:
        found.setdefault(names[codes[place]], []).append(int(times[place]))
    return found


def age(born: date, seen: date) -> float | None:
    """Years of age, whole on a birthday; None before birth.

    >>> age(date(2020, 3, 1), date(2026, 3, 1)), age(date(2020, 3, 1), date(2020, 2, 1))
    (6.0, None)
    """
    if seen < born:
        return None
    years = seen.year - born.year - (seen < birthday(born, seen.year))
    return years + (seen - birthday(born, born.year + years)).days / 365.25


def birthday(born: date, year: int) -> date:
    """The birthday in a year: of somebody born on 29 February the 28th, where there is no 29th."""
    try:
        return born.replace(year=year)
    except ValueError:
        return date(year, 2, 28)


def day_of(micros: int) -> date:
    """The day of a moment (UTC)."""
    day: date = np.datetime64(micros, "us").astype("datetime64[D]").item()
    return day


def _fact(who: str, at: int, measure: str, **said: Any) -> dict[str, Any]:
    return {"patient_id": who, "time": at, "measure": measure, "source": DETAILS, "pending": 0, **said}
