"""Three conversions of the same hundred patients say the same of every vasopressor and inotrope.

Compared in local wall-clock time, because the conversions disagree about the clock (docs/agreement.md).
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from doors import of, raw

DRUGS = (
    "norepinephrine",
    "phenylephrine",
    "epinephrine",
    "vasopressin",
    "dopamine",
    "dobutamine",
    "milrinone",
)
#: CLIF's conversion took the clock to be five hours behind UTC in summer and winter alike.
CLIF_CLOCK = timezone(timedelta(hours=-5))
HOSPITAL = ZoneInfo("America/New_York")
Step = tuple[datetime, datetime | None, float]
Rows = list[dict[str, Any]]


def steps(rows: Rows, clock: tzinfo) -> dict[str, list[Step]]:
    """Per patient when the drug ran at what rate: a row stands to its end or the drug's next row."""
    charted: dict[str, dict[datetime, tuple[float, datetime | None]]] = defaultdict(dict)
    for row in rows:
        time, end = (
            row[name] and row[name].astimezone(clock).replace(tzinfo=None) for name in ("time", "end")
        )
        before = charted[row["patient_id"]].get(time)
        if before is None or before[0] < row["value"]:
            charted[row["patient_id"]][time] = (row["value"], end)
    found: dict[str, list[Step]] = {}
    for patient, readings in charted.items():
        times = sorted(readings)
        merged: list[Step] = []
        for time, following in zip(times, [*times[1:], None], strict=True):
            rate, end = readings[time]
            stop = min((at for at in (end, following) if at is not None), default=None)
            if rate > 0 and stop != time:
                # Three conversions carry six to eight digits.
                if merged and merged[-1][1] == time and same(merged[-1][2], rate):
                    time, rate = merged.pop()[0], rate
                merged.append((time, stop, rate))
        found[patient] = merged
    return found


def same(one: float, other: float) -> bool:
    return abs(one - other) <= 2e-6 * max(one, other)


def differences(one: dict[str, list[Step]], other: dict[str, list[Step]]) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for patient in sorted({*one, *other}):
        left, right = one.get(patient, []), other.get(patient, [])
        if len(left) != len(right):
            found.append((patient, len(left), len(right)))
            continue
        found += [
            (patient, a, b)
            for a, b in zip(left, right, strict=True)
            if a[:2] != b[:2] or not same(a[2], b[2])
        ]
    return found


@pytest.fixture(scope="module")
def three(shared: Path, clif_demo: Path) -> tuple[Rows, Rows, Rows]:
    """CLIF, MEDS and FHIR, the last under the names of the first two."""
    data = shared / "data"
    with gzip.open(data / "mimic-iv-demo-fhir" / "MimicPatient.ndjson.gz") as file:
        people = [json.loads(line) for line in file]
    names = {person["id"]: person["identifier"][0]["value"] for person in people}
    fhir, _ = raw("fhir", data / "mimic-iv-demo-fhir", only=DRUGS)
    for row in fhir:
        row["patient_id"] = names[row["patient_id"]]
    meds, _ = raw("meds", data / "mimic-iv-demo-meds", only=DRUGS, timezone=HOSPITAL.key)
    return raw("clif", clif_demo, only=DRUGS)[0], meds, fhir


@pytest.mark.parametrize("drug", DRUGS)
def test_every_infusion_is_the_same_in_all_three(three: tuple[Rows, Rows, Rows], drug: str) -> None:
    clif, meds, fhir = (of(rows, drug) for rows in three)
    assert meds
    in_meds = steps(meds, HOSPITAL)
    assert differences(in_meds, steps(fhir, HOSPITAL)) == []
    assert differences(in_meds, steps(clif, CLIF_CLOCK)) == []


def test_the_clocks_differ_as_the_note_says(three: tuple[Rows, Rows, Rows]) -> None:
    """First norepinephrine of 26 patients, MEDS taken as UTC: CLIF +5 h, FHIR +5 h or +4 h (summer)."""
    clif, meds, fhir = (of(rows, "norepinephrine") for rows in three)

    def first(rows: Rows) -> dict[str, datetime]:
        return {row["patient_id"]: row["time"] for row in reversed(rows)}

    local = {patient: time.astimezone(HOSPITAL).replace(tzinfo=None) for patient, time in first(meds).items()}

    def behind(rows: Rows) -> list[float]:
        return sorted(
            (time.replace(tzinfo=None) - local[patient]) / timedelta(hours=1)
            for patient, time in first(rows).items()
        )

    assert behind(clif) == [5.0] * 26
    assert behind(fhir) == [4.0] * 8 + [5.0] * 18
