"""A small ward with somebody of every kind, told as facts with hours before now."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn

from tocsin.watch import auth
from tocsin.watch.app import create_app
from tocsin.watch.roles import Actor
from tocsin.watch.service import Service, Settings
from tocsin.watch.store import Store

#: Bed, name, born, therapy and hours since its dose.
PEOPLE = {
    "12": ("Ada Mertens", "1971-02-03", "axicabtagene-ciloleucel", 61),
    "3": ("Rosa Klein", "1958-07-21", "teclistamab", 19),
    "7": ("Karl Olsen", "1964-11-30", "axicabtagene-ciloleucel", 80),
    "15": ("Lea Oduya", "1952-01-09", "glofitamab", 7),
    "8": ("Jan Smit", "1984-05-05", "brexucabtagene-autoleucel", 98),
    "2": ("Bo Nilsen", "1967-03-17", "lisocabtagene-maraleucel", 30),
    "1": ("Tove Berg", "1965-09-12", "ciltacabtagene-autoleucel", 72),
    "4": ("Mia Novak", "1967-12-01", "lisocabtagene-maraleucel", 150),
    "5": ("Pia Vidal", "1990-06-28", "tisagenlecleucel", 48),
    "9": ("Sam Abiola", "1955-10-10", "epcoritamab", 20),
    "10": ("Dan Fischer", "1959-08-08", "axicabtagene-ciloleucel", 216),
    "14": ("Eva Rossi", "1976-04-14", "tarlatamab", 20),
}
UNIT = {
    "temperature": "Cel", "systolic-bp": "mm[Hg]", "diastolic-bp": "mm[Hg]", "heart-rate": "/min",
    "spo2": "%", "oxygen-flow": "L/min", "norepinephrine": "ug/kg/min", "weight": "kg",
    "ice-score": "{score}", "crp": "mg/L", "ferritin": "ng/mL", "tocilizumab": "mg", "acetaminophen": "mg",
    "dexamethasone": "mg",
}  # fmt: skip

Told = tuple[float, str, float | str | None]


def vitals(hours: float, temperature: float, high: float, low: float, rate: float, spo2: float) -> list[Told]:
    """One round of vital signs, `hours` ago."""
    return [
        (hours, "temperature", temperature), (hours, "systolic-bp", high), (hours, "diastolic-bp", low),
        (hours, "heart-rate", rate), (hours, "spo2", spo2), (hours, "oxygen-device", "room-air"),
    ]  # fmt: skip


def well(since: float, every: float = 4.0, last: float = 0.5) -> list[Told]:
    """Rounds of a person who is well, from `since` hours ago to `last`."""
    rounds: list[Told] = []
    hours = since
    while hours > last:
        rounds += vitals(hours, 36.8, 118, 74, 78, 97)
        hours -= every
    return [*rounds, *vitals(last, 36.7, 121, 75, 76, 98)]


BEFORE: dict[str, list[Told]] = {
    "12": [
        *well(63, last=20), (62, "weight", 70), (60, "crp", 14), (60, "ferritin", 400),
        *vitals(16, 38.6, 112, 70, 98, 96), *vitals(12, 39.0, 104, 60, 108, 95),
        (11.5, "acetaminophen", 1000),
        *vitals(8, 39.3, 88, 50, 118, 94), (7.9, "systolic-bp", 86), (7.5, "systolic-bp", 87),
        (7, "tocilizumab", 560), (6, "crp", 178), (6, "ferritin", 2600),
        *vitals(4, 39.1, 86, 49, 120, 93),
        (3.8, "systolic-bp", 85), (2, "systolic-bp", 86), (1.8, "systolic-bp", 85), (1.6, "ice-score", 10),
        (1.5, "oxygen-device", "nasal-cannula"), (1.5, "oxygen-flow", 2.0),
    ],
    "3": [*well(20, last=9.2), (0.45, "temperature", 38.6), (0.45, "heart-rate", 104), (0.45, "spo2", 95)],
    "7": [
        *well(82, last=24), *vitals(22, 39.2, 108, 66, 112, 93), (22, "oxygen-device", "simple-mask"),
        (22, "oxygen-flow", 8), *vitals(18, 38.9, 104, 64, 110, 93), (18, "oxygen-device", "simple-mask"),
        (18, "oxygen-flow", 8), (13.5, "systolic-bp", 104),
    ],
    "15": [(7, "weight", 61)],
    "8": [
        *well(100, last=12), *vitals(8, 38.4, 110, 66, 96, 95), (8, "oxygen-device", "nasal-cannula"),
        (8, "oxygen-flow", 2), *vitals(0.3, 37.9, 112, 68, 96, 94), (0.3, "oxygen-device", "nasal-cannula"),
        (0.3, "oxygen-flow", 2), (10, "acetaminophen", 1000), (0.3, "ice-score", 10),
    ],
    "2": [*well(32, last=14), *vitals(11, 38.4, 122, 71, 92, 97), *vitals(0.5, 38.1, 124, 72, 90, 97)],
    **{bed: well(24) for bed in ("1", "4", "5", "9", "10", "14")},
}  # fmt: skip
#: What came twenty minutes ago: the rise that somebody is needed for.
RISE: dict[str, list[Told]] = {
    "12": [
        (0.36, "norepinephrine", 0.05), (0.1, "temperature", 39.4), (0.1, "systolic-bp", 84),
        (0.1, "diastolic-bp", 46), (0.1, "heart-rate", 128), (0.1, "spo2", 91),
        (0.1, "oxygen-device", "nasal-cannula"), (0.1, "oxygen-flow", 4), (0.1, "weight", 70),
    ]
}  # fmt: skip


def rows(told: dict[str, list[Told]], now: datetime) -> list[dict[str, Any]]:
    """Facts as a sender writes them."""
    return [row for bed, facts in told.items() for row in _rows(bed, facts, now)]


def _rows(bed: str, facts: Iterable[Told], now: datetime) -> Iterable[dict[str, Any]]:
    for hours, measure, value in facts:
        row: dict[str, Any] = {
            "patient_id": f"p{bed}",
            "time": (now - timedelta(hours=hours)).astimezone(UTC).isoformat(timespec="seconds"),
            "measure": measure,
        }
        if isinstance(value, str):
            row["text"] = value
        elif value is not None:
            row.update(value=value, unit=UNIT[measure])
        yield row


def doses(now: datetime) -> list[dict[str, Any]]:
    """The therapy of everybody."""
    return rows({bed: [(hours, therapy, None)] for bed, (_, _, therapy, hours) in PEOPLE.items()}, now)


def details() -> dict[str, dict[str, str]]:
    """Who lies in which bed."""
    return {
        f"p{bed}": {"name": name, "birth_date": born, "ward": "5 West", "bed": bed}
        | ({"allergies": "penicillin (rash)"} if bed == "12" else {})
        for bed, (name, born, _, _) in PEOPLE.items()
    }


#: The alert that is dismissed in the stories.
ALERT = "Bed 3"
#: Who works here, all with one password.
STAFF = {"nina": "nurse", "paul": "physician", "eve": "evaluator", "root": "admin"}
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Ward:
    """A running service and how to reach it."""

    url: str
    service: Service
    password: str = PASSWORD

    def token(self, role: str) -> str:
        """A token of a role."""
        with self.service.store.writing() as con:
            return auth.create_token(con, self.service.clock, role)[1]


@contextmanager
def opened(folder: Path, *, demo: bool = True) -> Iterator[Ward]:
    """The service with this ward, listening on a free port, until the block ends."""
    service = Service(Store.open(f"sqlite:///{folder / 'ward.db'}"), settings=Settings(demo=demo))
    with service.store.writing() as con:
        for name, role in STAFF.items():
            auth.create_account(con, service.clock, name, PASSWORD, role)
    door = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(create_app(service), log_level="error", access_log=False, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=lambda: server.run(sockets=[door]), daemon=True)
    thread.start()
    try:
        patiently(lambda: server.started)
        fill(service)
        yield Ward(f"http://127.0.0.1:{door.getsockname()[1]}", service)
    finally:
        server.should_exit = True
        service.hub.close()
        thread.join(15)
        service.store.close()


def fill(service: Service) -> None:
    """Everybody in bed; then what happened before, then the rise, as two batches from a monitor."""
    now, monitor = service.clock.moment(), Actor("monitor", "device")
    for patient_id, told in details().items():
        service.set_patient(Actor("nina", "nurse"), patient_id, **told)
    for batch in (doses(now) + rows(BEFORE, now), rows(RISE, now)):
        receipt = service.ingest(batch, monitor)
        assert not receipt.rejected, receipt.rejected
    patiently(lambda: any(row.alerts for row in service.board("astct-2019").rows))


def patiently(what: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
