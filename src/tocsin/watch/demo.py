"""A ward of simulated patients that lives as one watches: facts come as the demonstration's clock goes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tocsin.definitions.load import Library
from tocsin.watch.clock import moment_of
from tocsin.watch.intake import plain
from tocsin.watch.journal import failed
from tocsin.watch.roles import SYSTEM
from tocsin.watch.service import Service

HOUR = 3_600_000_000
WARD = "5 West"
#: Therapy, seed and hours since the first dose when the demonstration begins.
PATIENTS = (
    ("axicabtagene-ciloleucel", 9, (105, 26, 58, 20, 122, 75, 12, 106, 150, 240)),
    ("teclistamab", 11, (66, 41, 8, 102, 30, 95, 140, 22)),
)
DAYS = 15.0
NAMES = (
    "Ada Mertens", "Rosa Klein", "Karl Olsen", "Lea Oduya", "Jan Smit", "Bo Nilsen", "Tove Berg",
    "Mia Novak", "Pia Vidal", "Sam Abiola", "Dan Fischer", "Eva Rossi", "Noor Aziz", "Ivo Petrov",
    "Ines Costa", "Tom Byrne", "Yuki Mori", "Ola Lind",
)  # fmt: skip
#: Every how many beds nobody comes to measure, and between which hours around the beginning.
UNSEEN, FROM, UNTIL = 9, -9.0, 1.5
MEASURED = ("temperature", "systolic-bp", "diastolic-bp", "mean-bp", "spo2", "heart-rate", "respiratory-rate")
#: Rows sent at once, and seconds between looks at the clock.
LOT, PACE = 500, 0.25


@dataclass(frozen=True, slots=True)
class Bed:
    """One simulated patient: who, and the course with hours from the first dose."""

    patient_id: str
    details: dict[str, str]
    rows: tuple[dict[str, Any], ...]
    since_dose: float


def simulated(lib: Library) -> Iterator[Bed]:
    """Patients of several therapies, each somewhere else in the course."""
    from tocsin.simulation.answer import simulate

    bed = 0
    for therapy, seed, hours in PATIENTS:
        table = simulate(therapy, len(hours), seed, days=DAYS, lib=lib)
        for (name, rows), since in zip(_by_patient(table), hours, strict=True):
            yield _bed(bed, name, rows, float(since))
            bed += 1


def examples(folder: Path, lib: Library) -> Iterator[Bed]:
    """The example patients, where nothing can be simulated; each has just begun to be ill."""
    from tocsin.sources.read import open_source

    bed = 0
    for path in sorted(folder.glob("*.csv")):
        for name, rows in _by_patient(open_source(path, lib=lib).table()):
            yield _bed(bed, name, rows, 36.0)
            bed += 1


def _by_patient(table: pa.Table) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    of: dict[str, list[dict[str, Any]]] = {}
    for row in plain(table):
        of.setdefault(row["patient_id"], []).append(row)
    yield from of.items()


def _bed(number: int, patient: str, rows: list[dict[str, Any]], since: float) -> Bed:
    age = next((row["value"] for row in rows if row["measure"] == "age" and row["value"]), None)
    details = {
        "name": NAMES[number % len(NAMES)], "ward": WARD, "bed": str(number + 1),
        "record_number": f"SIM {number + 1:03}", "allergies": "none known (simulated)",
    }  # fmt: skip
    if age is not None:
        details["birth_date"] = f"{2026 - int(age) - 1}-07-01"
    return Bed(f"{patient}-{number + 1}", details, tuple(rows), since)


class Feeder:
    """Sends facts as the clock passes them; the past first, so that the board is full at once."""

    def __init__(self, service: Service, beds: Iterable[Bed]) -> None:
        self.service, self.beds = service, beds
        self.start_at = service.clock.now()
        self.thread = threading.Thread(target=self._run, name="tocsin-demo", daemon=True)
        self.full = threading.Event()

    def start(self) -> None:
        """Begin in the background: simulating takes a while the first time."""
        self.thread.start()

    def _run(self) -> None:
        try:
            ahead: list[tuple[int, dict[str, Any]]] = []
            for bed in self.beds:
                ahead += self._admit(bed)
            self.full.set()
            self._follow(sorted(ahead, key=lambda each: each[0]))
        except Exception as error:
            if not self.service.ending:
                failed("feeding the demonstration", error)

    def _admit(self, bed: Bed) -> list[tuple[int, dict[str, Any]]]:
        """Send what has happened to a patient by now; returns what is still to come."""
        first = min(row["time"] for row in bed.rows if row["measure"] not in ("age", "sex", "weight"))
        shift = self.start_at - round(bed.since_dose * HOUR) - first
        told = [fact for row in bed.rows if (fact := self._fact(bed, row, shift)) is not None]
        told.sort(key=lambda each: each[0])
        now = self.service.clock.now()
        past = [row for known, row in told if known <= now]
        for start in range(0, len(past), LOT):
            if self.service.ending:
                return []
            self.service.ingest(past[start : start + LOT], SYSTEM)
        self.service.set_patient(SYSTEM, bed.patient_id, **bed.details)
        return [each for each in told if each[0] > now]

    def _fact(self, bed: Bed, row: dict[str, Any], shift: int) -> tuple[int, dict[str, Any]] | None:
        """A row at its place in the demonstration, and when it becomes known."""
        hours = (row["time"] + shift - self.start_at) / HOUR
        if int(bed.details["bed"]) % UNSEEN == 0 and row["measure"] in MEASURED and FROM <= hours < UNTIL:
            return None
        fact = {
            name: value
            for name, value in row.items()
            if value is not None and name not in ("weight", "pending")
        }
        for name in ("time", "end", "recorded"):
            if row[name] is not None:
                fact[name] = moment_of(row[name] + shift).isoformat()
        fact["patient_id"] = bed.patient_id
        return max(row["time"], row["recorded"] or 0) + shift, fact

    def _follow(self, ahead: list[tuple[int, dict[str, Any]]]) -> None:
        """Send each fact once the clock has passed it; who has nothing left goes home."""
        left: dict[str, int] = {}
        for _, row in ahead:
            left[row["patient_id"]] = left.get(row["patient_id"], 0) + 1
        place = 0
        while place < len(ahead) and not self.service.wait(PACE):
            now = self.service.clock.now()
            lot: list[dict[str, Any]] = []
            while place < len(ahead) and ahead[place][0] <= now and len(lot) < LOT:
                lot.append(ahead[place][1])
                place += 1
            if lot:
                self.service.ingest(lot, SYSTEM)
            for row in lot:
                left[row["patient_id"]] -= 1
                if not left[row["patient_id"]]:
                    self.service.discharge(SYSTEM, row["patient_id"])
