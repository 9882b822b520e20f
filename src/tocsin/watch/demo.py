"""A ward of simulated patients that lives as one watches: facts come as the demonstration's clock goes.

Where everything lies is counted from the moment the demonstration first began, which its store keeps: one
that is opened again sends the same facts at the same places, and the store takes each once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from tocsin.definitions.load import Library
from tocsin.watch import remembered, schema
from tocsin.watch.clock import HOUR, moment_of
from tocsin.watch.intake import plain
from tocsin.watch.journal import failed
from tocsin.watch.people import PatientError
from tocsin.watch.roles import SYSTEM
from tocsin.watch.service import Service
from tocsin.watch.store import Store

WARD = "5 West"
#: A number that is kept for stories: nobody is ever reached by it.
TEAM = "555 0140"
#: Therapy, seed and hours since the first dose when the demonstration begins.
PATIENTS = (
    ("axicabtagene-ciloleucel", 9, (105, 26, 58, 20, 122, 75, 12, 106, 150, 205)),
    ("teclistamab", 11, (66, 41, 8, 102, 30, 95, 140, 22)),
)
#: Days a patient stays, and hours until somebody new lies in the bed.
DAYS, EMPTY = 9.0, 5.0
#: Of so many who might come next the one with the most facts does: who is ill is measured more often.
DRAWN = 8
FIRST = (
    "Ada", "Rosa", "Karl", "Lea", "Jan", "Bo", "Tove", "Mia", "Pia", "Sam", "Dan", "Eva", "Noor", "Ivo",
    "Ines", "Tom", "Yuki", "Ola",
)  # fmt: skip
LAST = (
    "Mertens", "Klein", "Olsen", "Oduya", "Smit", "Nilsen", "Berg", "Novak", "Vidal", "Abiola", "Fischer",
    "Rossi", "Aziz", "Petrov", "Costa", "Byrne", "Mori", "Lind", "Haas",
)  # fmt: skip
#: Every how many beds nobody comes to measure for a while: from which hour on, for how long, how often.
UNSEEN, FROM, LONG, EVERY = 9, -9.0, 10.5, 36.0
MEASURED = ("temperature", "systolic-bp", "diastolic-bp", "mean-bp", "spo2", "heart-rate", "respiratory-rate")
#: Rows sent at once, and seconds between looks at the clock.
LOT, PACE = 500, 0.25
#: The row of `settings` that says when the demonstration first began.
BEGAN = "demo-began"


@dataclass(frozen=True, slots=True)
class Bed:
    """One simulated patient in a bed: who, the course, and hours since the first dose at the beginning.

    `turn` counts who lay there before; `since_dose` is negative for somebody still to come.
    """

    number: int
    patient_id: str
    rows: tuple[dict[str, Any], ...]
    since_dose: float
    therapy: str = ""
    turn: int = 0

    @property
    def first(self) -> int:
        """When the course begins."""
        return int(min(row["time"] for row in self.rows if row["measure"] not in ("age", "sex", "weight")))

    @property
    def hours(self) -> float:
        """How long the course is."""
        return float(max(row["time"] for row in self.rows) - self.first) / HOUR

    def details(self, year: int) -> dict[str, str]:
        """Who the patient is said to be; nobody of that name was meant."""
        place = self.number + self.turn * len(FIRST)
        found = {
            "name": f"{FIRST[self.number % len(FIRST)]} {LAST[place % len(LAST)]}", "ward": WARD,
            "bed": str(self.number + 1), "record_number": f"SIM {place + 1:03}",
            "allergies": "none known (simulated)", "team_phone": TEAM,
        }  # fmt: skip
        for row in self.rows:
            if row["measure"] == "age" and row["value"]:
                found["birth_date"] = f"{year - int(row['value']) - 1}-07-01"
        return found


def simulated(lib: Library) -> Iterator[Bed]:
    """Patients of several therapies, each somewhere else in the course."""
    from tocsin.simulation.answer import simulate

    number = 0
    for therapy, seed, hours in PATIENTS:
        table = simulate(therapy, len(hours), seed, days=DAYS, lib=lib)
        for (name, rows), since in zip(_by_patient(table), hours, strict=True):
            yield Bed(number, f"{name}-{number + 1}", tuple(rows), float(since), therapy)
            number += 1


def next_simulated(bed: Bed, lib: Library) -> Bed:
    """Who comes into a bed after it is empty: the same one whenever it is asked."""
    from tocsin.simulation.answer import simulate

    turn = bed.turn + 1
    seed = 1_000 * turn + bed.number
    drawn = _by_patient(simulate(bed.therapy, DRAWN, seed, days=DAYS, lib=lib))
    name, rows = max(drawn, key=lambda each: len(each[1]))
    since = bed.since_dose - DAYS * 24 - EMPTY
    return Bed(bed.number, f"{name}-{bed.number + 1}", tuple(rows), since, bed.therapy, turn)


def examples(folder: Path, lib: Library) -> Iterator[Bed]:
    """The example patients, where nothing can be simulated; each in the middle of the course."""
    from tocsin.sources.read import open_source

    number = 0
    for path in sorted(folder.glob("*.csv")):
        for name, rows in _by_patient(open_source(path, lib=lib).table()):
            bed = Bed(number, f"{name}-{number + 1}", tuple(rows), 0.0)
            yield replace(bed, since_dose=min(36.0, bed.hours / 2))
            number += 1


def next_example(bed: Bed) -> Bed:
    """The same example again, as somebody else."""
    turn, name = bed.turn + 1, bed.patient_id.removesuffix(f"-{bed.turn}") if bed.turn else bed.patient_id
    return replace(bed, patient_id=f"{name}-{turn}", turn=turn, since_dose=bed.since_dose - bed.hours - EMPTY)


def _by_patient(table: pa.Table) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    of: dict[str, list[dict[str, Any]]] = {}
    for row in plain(table):
        of.setdefault(row["patient_id"], []).append(row)
    yield from of.items()


def facts_of(bed: Bed, began: int) -> list[tuple[int, dict[str, Any]]]:
    """A patient's facts at their places in the demonstration, each with when it becomes known, in order."""
    shift = began - round(bed.since_dose * HOUR) - bed.first
    told = [
        (max(row["time"], row["recorded"] or 0) + shift, _fact(bed, row, shift))
        for row in bed.rows
        if not _unseen(bed, row, (row["time"] + shift - began) / HOUR)
    ]
    return sorted(told, key=lambda each: each[0])


def _unseen(bed: Bed, row: dict[str, Any], hours: float) -> bool:
    """Whether nobody came to measure this."""
    late = FROM + LONG * (bed.number // UNSEEN)
    there = (bed.number + 1) % UNSEEN == 0 and row["measure"] in MEASURED
    return there and (hours - late) % EVERY < LONG


def _fact(bed: Bed, row: dict[str, Any], shift: int) -> dict[str, Any]:
    fact = {
        name: value for name, value in row.items() if value is not None and name not in ("weight", "pending")
    }
    for name in ("time", "end", "recorded"):
        if row[name] is not None:
            fact[name] = moment_of(row[name] + shift).isoformat()
    fact["patient_id"] = bed.patient_id
    return fact


def began_at(store: Store) -> int:
    """When the demonstration in this store first began; now, where it never did."""
    with store.writing() as con:
        known = remembered.told(con, BEGAN)
        if known is not None:
            return int(known)
        now = store.clock.now()
        remembered.say(con, BEGAN, str(now))
        return now


def left_at(store: Store) -> int | None:
    """The latest moment that a store knows of, for a demonstration to go on from; None where it is new."""
    with store.reading() as con:
        return con.execute(sa.select(sa.func.max(schema.audit.c.time))).scalar()


class Feeder:
    """Sends facts as the clock passes them; the past first, so that the board is full at once.

    `after` names who comes into a bed when it is empty; without it the ward slowly empties.
    """

    def __init__(
        self, service: Service, beds: Iterable[Bed], after: Callable[[Bed], Bed] | None = None
    ) -> None:
        self.service, self.beds, self.after = service, beds, after
        self.began = began_at(service.store)
        self.thread = threading.Thread(target=self._run, name="tocsin-demo", daemon=True)
        self.full = threading.Event()
        self.counted = count()
        #: What is still to come: when, a number that keeps equals in order, who, the fact.
        self.ahead: list[tuple[int, int, Bed, dict[str, Any]]] = []
        self.left: dict[str, int] = {}
        self.named: set[str] = set()

    def start(self) -> None:
        """Begin in the background: simulating takes a while the first time."""
        self.thread.start()

    def _run(self) -> None:
        try:
            for bed in self.beds:
                self._admit(bed)
            self.full.set()
            while not self.service.wait(PACE):
                self._follow()
        except Exception as error:
            if not self.service.ending:
                failed("feeding the demonstration", error)

    def _admit(self, bed: Bed) -> None:
        """Send what has happened to a patient by now, and to whoever lay in the bed afterwards."""
        now = self.service.clock.now()
        told = facts_of(bed, self.began)
        past = [row for known, row in told if known <= now]
        for start in range(0, len(past), LOT):
            if self.service.ending:
                return
            self.service.ingest(past[start : start + LOT], SYSTEM)
        if past:
            self._name(bed)
        self.left[bed.patient_id] = len(told) - len(past)
        for known, row in told[len(past) :]:
            heappush(self.ahead, (known, next(self.counted), bed, row))
        if len(past) == len(told):
            self._home(bed)

    def _follow(self) -> None:
        """Send what the clock has passed; who has nothing left goes home, and somebody new comes."""
        now = self.service.clock.now()
        lot: list[tuple[Bed, dict[str, Any]]] = []
        while self.ahead and self.ahead[0][0] <= now and len(lot) < LOT:
            _, _, bed, row = heappop(self.ahead)
            lot.append((bed, row))
        if not lot:
            return
        self.service.ingest([row for _, row in lot], SYSTEM)
        for bed, _ in lot:
            if bed.patient_id not in self.named:
                self._name(bed)
            self.left[bed.patient_id] -= 1
            if not self.left[bed.patient_id]:
                self._home(bed)

    def _name(self, bed: Bed) -> None:
        """Say who lies there; not of somebody who was sent home, here or by a visitor."""
        self.named.add(bed.patient_id)
        known = self.service.people.of.get(bed.patient_id)
        if known is None or (known.name is None and known.discharged is None):
            year = self.service.clock.moment().year
            self.service.set_patient(SYSTEM, bed.patient_id, **bed.details(year))

    def _home(self, bed: Bed) -> None:
        known = self.service.people.of.get(bed.patient_id)
        if known is not None and known.discharged is None:
            with suppress(PatientError):  # erased meanwhile
                self.service.discharge(SYSTEM, bed.patient_id)
        if self.after is not None and not self.service.ending:
            self._admit(self.after(bed))
