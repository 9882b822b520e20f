"""MEDS: one event a row, in Parquet. Both the 0.4 names and the older `code, value` form.

A code is `//`-separated: a vocabulary and a code (`LOINC//8310-5`), or the converter's own
(`LAB//220045//bpm`, the unit last). Infusions and procedures come as a start and an end that nothing
ties together: per patient and code the first start is given the first end, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from tocsin.definitions.schema import TocsinError
from tocsin.sources.codes import MIMIC, Codes, Meaning
from tocsin.sources.ordering import (
    age,
    database,
    died,
    instant,
    named,
    number,
    quoted,
    ranked,
    sign,
    whole_patients,
    written,
)

if TYPE_CHECKING:
    import duckdb

    from tocsin.definitions.load import Library
    from tocsin.sources.tally import Tally

KIND = "meds"
#: Words of the administration record that say the drug went in.
GIVEN = (
    "Administered", "Partial Administered", "Delayed Administered", "Administered in Other Location",
    "Administered Bolus from IV Drip",
)  # fmt: skip
NOTHING = ("UNK", "")


@dataclass(frozen=True, slots=True)
class Event:
    """What rows of one code are: `role` is value, start, end, birth, death or sex."""

    role: str
    meaning: Meaning
    group: str = ""


def recognises(path: Path) -> bool:
    """Whether this is a Parquet file, or a folder of them, with MEDS's columns."""
    try:
        found = shards(path)
        if not found:
            return False
        import pyarrow.parquet as pq

        return {"subject_id", "time", "code"} <= set(pq.read_schema(found[0]).names)
    except (OSError, pa.ArrowException):
        return False


def shards(path: Path) -> list[Path]:
    """The Parquet files that hold events."""
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    inner = path / "data"
    return sorted(inner.rglob("*.parquet")) if inner.is_dir() else sorted(path.glob("*.parquet"))


def raw_batches(
    path: Path,
    *,
    lib: Library,
    tally: Tally,
    timezone: str = "UTC",
    codes: Path | None = None,
    work: Path | None = None,
) -> Iterator[pa.RecordBatch]:
    """Raw facts, whole patients at a time. MEDS times carry no zone: they are read as `timezone`.

    A code file may name a whole code ("MEDS|LAB//1//kg") or its parts ("MEDS LAB|1").
    """
    with database(work) as con:
        describe(con, path)
        patients = ranked(con, "select subject_id as patient_id from event")
        known = Events(Codes(lib, codes, MIMIC), tally)
        kinds = known.read(con)
        clock = zoned(con)
        if kinds and clock != "TIMESTAMP WITH TIME ZONE":
            tally.notes.append(f"MEDS times carry no zone and were read as {timezone}")
        put(con, kinds, lib)
        yield from whole_patients(con, list(facts(timezone, clock)), patients)


def describe(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the view `event(subject_id, time, code, value, said, unit, file, row)`."""
    import duckdb

    listed = ", ".join(quoted(file) for file in shards(path))
    scan = f"read_parquet([{listed}], union_by_name = true, filename = true, file_row_number = true)"
    try:
        kinds = {row[0]: row[1] for row in con.execute(f"describe select * from {scan}").fetchall()}
    except duckdb.Error as error:
        raise TocsinError(
            f"{path}: cannot be read: {str(error).splitlines()[0]}\n"
            "  why: a part of the events would be taken for all of them\n  fix: copy the files again"
        ) from error
    amount = next((name for name in ("numeric_value", "value") if name in kinds), None)
    text = next((name for name in ("text_value", "value") if kinds.get(name) == "VARCHAR"), None)
    said = f"nullif({named(text)}, '')" if text else "null::varchar"
    con.execute(
        "create view event as select subject_id::varchar as subject_id, time, code::varchar as code, "
        f"{number(named(amount), kinds[amount]) if amount else 'null::double'} as value, "
        f"{said} as said, "
        f"{'unit::varchar' if 'unit' in kinds else 'null::varchar'} as unit, "
        f"parse_filename(filename) as file, file_row_number + 1 as row from {scan}"
    )


def zoned(con: duckdb.DuckDBPyConnection) -> str:
    """The type of `time`."""
    return {row[0]: str(row[1]) for row in con.execute("describe event").fetchall()}["time"]


class Events:
    """Says what each distinct code means, and counts the rows of those that mean nothing here."""

    def __init__(self, codes: Codes, tally: Tally) -> None:
        self.codes = codes
        self.tally = tally

    def read(self, con: duckdb.DuckDBPyConnection) -> dict[str, Event]:
        """Every known code of the source."""
        found: dict[str, Event] = {}
        for code, rows in con.execute("select code, count(*) from event group by 1").fetchall():
            self.tally.rows_read += int(rows)
            event = self.event(code) if code is not None else None
            if event is None:
                self.tally.skip("MEDS", code, int(rows))
            else:
                found[code] = event
        return found

    def event(self, code: str) -> Event | None:
        """What rows of one code are, or None."""
        said = self.codes.find("MEDS", code)
        if said is not None:
            return Event("value", said)
        head, _, rest = code.partition("//")
        parts = rest.split("//") if rest else []
        if head == "MEDS_BIRTH":
            return Event("birth", Meaning("age"))
        if head == "MEDS_DEATH":
            return Event("death", Meaning("death"))
        if head in ("GENDER", "SEX") and parts:
            return Event("sex", Meaning("sex", word=parts[0]))
        if head == "SUBJECT_WEIGHT_AT_INFUSION":
            return Event("value", Meaning("weight", parts[0] if parts else None, method="dosing"))
        if head in ("INFUSION_START", "INFUSION_END") and parts:
            return self.paired("INFUSION", head.removeprefix("INFUSION_"), parts[0])
        if head == "PROCEDURE" and len(parts) == 2 and parts[0] in ("START", "END"):
            return self.paired("PROCEDURE", *parts)
        if head == "MEDICATION" and len(parts) == 2:
            found = self.codes.find("MEDS MEDICATION", parts[0]) if parts[1] in GIVEN else None
            return None if found is None else Event("value", found)
        return self.plain(code, head, parts)

    def paired(self, kind: str, role: str, item: str) -> Event | None:
        """A start or an end."""
        found = self.codes.find(f"MEDS {kind}", item)
        if found is None or found.only is not None:
            return None
        return Event(role.lower(), found, f"{kind}//{item}")

    def plain(self, code: str, head: str, parts: list[str]) -> Event | None:
        """A vocabulary's code, or the converter's own with its unit last."""
        if not parts:
            head, _, item = code.partition("/")
            found = self.codes.find(head, item) if item else None
            return None if found is None else Event("value", found)
        found = self.codes.find(f"MEDS {head}", parts[0]) or self.codes.find(head, parts[0])
        if found is None or found.only is not None:
            return None
        unit = parts[-1] if len(parts) > 1 and parts[-1] not in NOTHING else found.unit
        return Event("value", Meaning(found.measure, unit, word=found.word, method=found.method))


def put(con: duckdb.DuckDBPyConnection, kinds: dict[str, Event], lib: Library) -> None:
    """Make the table `meaning` of known codes."""
    con.execute(f"create type measure as enum ({', '.join(quoted(name) for name in lib.measures)})")
    con.execute(
        "create temp table meaning (code varchar, role varchar, grp varchar, measure measure, kind varchar, "
        "usual varchar, amount_unit varchar, word varchar, way varchar)"
    )
    rows = [
        (code, event.role, event.group, event.meaning.measure, lib.measure(event.meaning.measure).kind,
         event.meaning.unit, event.meaning.amount_unit, event.meaning.word, event.meaning.method)
        for code, event in kinds.items()
    ]  # fmt: skip
    if rows:
        con.executemany("insert into meaning values (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def facts(timezone: str, kind: str) -> Iterator[str]:
    """The queries of all facts, over `event`, `person` and `meaning`."""
    at = instant("time", kind, timezone)
    joined = "event join meaning using (code) join person on person.patient_id = event.subject_id"
    value = f"case when kind in ('number', 'event', 'infusion') then coalesce(value, {written('said')}) end"
    text = (
        f"case when kind in ('category', 'word') then coalesce(word, said) when {value} is null then said "
        f"else {sign('said')} end"
    )
    yield (
        f"select p, {at} as time, measure, {value} as value, {text} as text, coalesce(event.unit, usual) "
        "as unit, "
        f"way as method, file, row from {joined} where role = 'value'"
    )
    ends = died(at, timezone)
    dead = f"{joined} where role = 'death'"
    yield f"select p, {ends} as time, measure, 'unknown' as text, file, row from {dead}"
    yield from lasting(joined, at)
    first = f"(select p, min({at}) as seen from {joined} where role not in ('birth', 'sex') group by p)"
    yield (
        f"select p, seen as time, measure, word as text, file, row from {joined} join {first} using (p) "
        "where role = 'sex'"
    )
    years = (
        f"(select p, min({at}) as seen from {joined} where role not in ('birth', 'sex') group by p, "
        f"year({at}))"
    )
    yield (
        f"select p, seen as time, measure, {age('time', 'seen')} as value, 'a' as unit, file, row "
        f"from {joined} join {years} using (p) where role = 'birth' and seen >= {at}"
    )


def lasting(joined: str, at: str) -> Iterator[str]:
    """Infusions and procedures: the n-th start of a patient and code with the n-th end.

    A start with a number is a rate. One without is a dose given at once, whose amount stands at its end.
    """

    def numbered(role: str) -> str:
        return (
            f"(select p, grp, {at} as time, measure, kind, value, usual, amount_unit, word, way, file, row, "
            "row_number() over (partition by p, grp order by time, file, row) as n "
            f"from {joined} where role = '{role}')"
        )

    yield (
        "select s.p, s.time, s.measure, "
        "case when s.kind in ('category', 'word') then null when s.value is null then e.value "
        "when s.kind = 'infusion' then s.value end as value, "
        "case when s.kind = 'infusion' and s.value is null then 'push' when s.kind in ('category', 'word') "
        "then s.word end as text, "
        "case when s.value is null then s.amount_unit when s.kind = 'infusion' then s.usual end as unit, "
        "case when e.time > s.time and not (s.kind = 'infusion' and s.value is null) then e.time end as "
        '"end", '
        "s.way as method, s.file, s.row "
        f"from {numbered('start')} s left join {numbered('end')} e on s.p = e.p and s.grp = e.grp and s.n "
        "= e.n"
    )
