"""A patient's standing as a test tells it, and the alerts that follow, judged as the service does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tocsin.definitions.alert import alert_rules
from tocsin.definitions.load import library
from tocsin.watch import alert_log, ledger
from tocsin.watch.alerts import judge
from tocsin.watch.standing import Span, Standing, proven_in
from tocsin.watch.store import Store

LIB = library()
RULES = alert_rules("ward-alerts", LIB)
SCALE = "astct-2019"
MINUTE = 60_000_000
HOUR = 60 * MINUTE
NOON = 1_800_000_000_000_000
WAITS = ("systolic-bp", "spo2")


def spans_of(runs: Sequence[tuple[float, int, int]]) -> list[Span]:
    """Runs told as (hours after noon, grade, up to)."""
    return [Span(NOON + round(hours * HOUR), grade, up_to) for hours, grade, up_to in runs]


def standing_of(spans: Sequence[Span], now: int, **more: Any) -> Standing:
    """The answer at the end of some runs."""
    last = spans[-1]
    proven, since = proven_in(spans)
    waits = WAITS if last.up_to > last.grade else ()
    each = Standing(
        SCALE, last.start, now, last.grade, last.up_to, False, (), waits, (), (), "hash", proven, since
    )
    return replace(each, **more)


class Told:
    """One store that alerts go to; `look` is one look of the service at one patient."""

    def __init__(self, store: Store, rules: Any = RULES) -> None:
        self.store, self.rules = store, rules
        with store.writing() as con:
            ledger.admit(con, ["p1"], NOON)

    def look(
        self,
        hours: float,
        *runs: tuple[float, int, int],
        answer: Any = None,
        shadow: bool = False,
        **more: Any,
    ) -> list[dict[str, Any]]:
        """What is raised anew, `hours` after noon, when these were the runs up to then."""
        now = NOON + round(hours * HOUR)
        spans = spans_of(runs)
        standing = {SCALE: standing_of(spans, now, **more)} if runs else {}
        with self.store.writing() as con:
            known = alert_log.known_of(con, ["p1"], now, shadow=shadow)["p1"]
            verdict = judge("p1", standing, {SCALE: spans}, answer, known, now, self.rules)
            raised = alert_log.raise_all(con, verdict.new, now, shadow=shadow)
            alert_log.close(con, verdict.gone, now)
        return raised

    def open(self, hours: float, **more: Any) -> list[dict[str, Any]]:
        """What is shown, `hours` after noon."""
        with self.store.reading() as con:
            return alert_log.open_alerts(con, NOON + round(hours * HOUR), **more)
