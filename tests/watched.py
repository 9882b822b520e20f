"""A service for tests: a real store (SQLite, or a PostgreSQL of its own), a clock that a test sets."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from tocsin.definitions.load import library
from tocsin.watch.clock import Clock
from tocsin.watch.roles import Actor
from tocsin.watch.service import Service, Settings
from tocsin.watch.store import Store, url_of

NOON = round(datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp() * 1_000_000)
HOUR = 3_600_000_000
LIB = library()
DEVICE = Actor("monitor", "device")
NURSE = Actor("n", "nurse")


class HandClock(Clock):
    """A clock that stands until a test moves it."""

    def __init__(self, start: int = NOON) -> None:
        super().__init__(start=start, speed=0.0)

    def set(self, micros: int) -> None:
        """Move to a moment."""
        self.start = micros
        self.now()


@contextmanager
def fresh_postgres(url: str) -> Iterator[str]:
    """A database of its own on the server of `url`, gone afterwards."""
    name = f"t_{secrets.token_hex(6)}"
    engine = sa.create_engine(url_of(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as con:
        con.execute(sa.text(f"create database {name}"))
    try:
        yield url_of(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as con:
            con.execute(sa.text(f"drop database {name} with (force)"))
        engine.dispose()


@contextmanager
def running(url: str, clock: Clock | None = None, **options: Any) -> Iterator[Service]:
    """A started service on the store at `url`."""
    settings = options.pop("settings", None) or Settings(demo=True)
    service = Service(Store.open(url, clock or HandClock()), lib=LIB, settings=settings, **options)
    service.start()
    try:
        yield service
    finally:
        service.stop()
        service.store.close()


def fact(
    patient: str, hours: float, measure: str, value: Any = None, unit: str | None = None, **more: Any
) -> dict[str, Any]:
    """A fact as it is sent, `hours` after noon."""
    moment = datetime.fromtimestamp((NOON + hours * HOUR) / 1e6, UTC)
    row: dict[str, Any] = {"patient_id": patient, "time": moment.isoformat(), "measure": measure, **more}
    if isinstance(value, str):
        row["text"] = value
    elif value is not None:
        row["value"] = value
    if unit:
        row["unit"] = unit
    return row


def fever(patient: str, hours: float, value: float = 38.6, **more: Any) -> dict[str, Any]:
    """A temperature as it is sent."""
    return fact(patient, hours, "temperature", value, "Cel", **more)
