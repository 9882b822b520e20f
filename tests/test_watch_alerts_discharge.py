"""Discharge ends alerts: who is back is alerted to anew."""

from __future__ import annotations

import time

import pytest

from tocsin.watch import alert_log
from watched import DEVICE, HOUR, NOON, NURSE, HandClock, fact, fever, running


def pressor(hours):
    return [
        fact("p1", hours - 0.2, "weight", 70, "kg"), fever("p1", hours - 0.1),
        fact("p1", hours, "norepinephrine", 0.05, "ug/kg/min"),
    ]  # fmt: skip


def high(service, wanted):
    """Open alerts of grade 3, once the sweep has come to what is wanted."""
    for _ in range(100):
        with service.store.reading() as con:
            rows = alert_log.open_alerts(con, service.clock.now())
        rows = [row for row in rows if row["grade"] == 3]
        if wanted(rows):
            break
        time.sleep(0.1)
    return rows


@pytest.mark.parametrize(("what", "more"), [("acknowledge", ()), ("dismiss", ("known",))])
def test_a_person_who_is_back_after_a_discharge_is_alerted_to_again(store_url, what, more):
    """An alert answered and left open would silence the same grade a week later."""
    clock = HandClock()
    with running(store_url, clock) as service:
        service.ingest(pressor(-0.5), DEVICE)
        (row,) = high(service, bool)
        with service.store.writing() as con:
            getattr(alert_log, what)(con, clock, row["id"], NURSE, *more)
        service.discharge(NURSE, "p1")
        clock.set(NOON + 168 * HOUR)
        service.set_patient(NURSE, "p1", bed="2")
        service.ingest(pressor(167.5), DEVICE)
        rows = high(service, lambda rows: any(row["raised"] == clock.now() for row in rows))
        assert [(row["raised"], row["acknowledged"]) for row in rows] == [(clock.now(), None)]
