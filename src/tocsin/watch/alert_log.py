"""Alerts in the store: raised once, acknowledged, dismissed with a reason, made quiet, closed, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median, quantiles
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.definitions.load import Library
from tocsin.definitions.schema import TocsinError
from tocsin.plots.course import scale_name
from tocsin.watch import alerts as kinds
from tocsin.watch import audit, ledger
from tocsin.watch.alerts import ESCALATED, GRADES, LATELY, Proposed, base, late_text, since_of
from tocsin.watch.clock import DAY, MINUTE, Clock
from tocsin.watch.ledger import chunks
from tocsin.watch.pages_words import ago, span
from tocsin.watch.patient_view import asked
from tocsin.watch.roles import Actor
from tocsin.watch.schema import alerts, patients

#: The longest that an alert may be made quiet.
QUIET_AT_MOST = DAY
#: What the patient's own page said, for the ward.
WENT = {"ambulance": "call an ambulance", "emergency": "go to the emergency department"}

Alert = dict[str, Any]


class AlertError(TocsinError):
    """Something that cannot be done to an alert."""


def known_of(con: sa.Connection, people: Sequence[str], now: int, *, shadow: bool) -> dict[str, list[Alert]]:
    """Alerts of some patients: open ones, and those closed lately."""
    found: dict[str, list[Alert]] = {who: [] for who in people}
    for part in chunks(list(people)):
        query = sa.select(alerts).where(
            alerts.c.patient_id.in_(part), alerts.c.shadow == shadow,
            sa.or_(alerts.c.closed.is_(None), alerts.c.closed > now - LATELY),
        )  # fmt: skip
        for row in con.execute(query).mappings():
            found[row["patient_id"]].append(dict(row))
    return found


def raise_all(con: sa.Connection, new: Iterable[Proposed], now: int, *, shadow: bool) -> list[Alert]:
    """Store alerts; one whose key is stored already is not raised again. Returns those that are new."""
    raised = []
    for each in new:
        if _beside(con, each, shadow):
            continue
        row = {
            "key": each.key + (" shadow" if shadow else ""), "patient_id": each.patient_id, "kind": each.kind,
            "scale": each.scale, "grade": each.grade, "up_to": each.up_to, "before": each.before,
            "what": each.what, "definition": each.definition, "role": each.role, "shadow": shadow,
            "raised": now,
        }  # fmt: skip
        number = _insert(con, row)
        if number is None and (closed := _long_closed(con, str(row["key"]), now)) is not None:
            row["key"] = f"{each.key} again-{closed}" + (" shadow" if shadow else "")
            number = _insert(con, row)
        if number is not None:
            raised.append({**row, "id": number})
    return raised


def _beside(con: sa.Connection, each: Proposed, shadow: bool) -> bool:
    """Whether another worker said it meanwhile, under another key because it knew fewer facts."""
    if each.kind not in GRADES or each.what == ESCALATED:
        return False
    query = sa.select(alerts.c.id).where(
        alerts.c.patient_id == each.patient_id, alerts.c.scale == each.scale, alerts.c.kind.in_(GRADES),
        alerts.c.shadow == shadow, alerts.c.closed.is_(None), alerts.c.grade >= each.grade,
    )  # fmt: skip
    return con.execute(query.limit(1)).first() is not None


def _insert(con: sa.Connection, row: Alert) -> int | None:
    """Store a row; none where its key is there."""
    insert = sqlite.insert if con.dialect.name == "sqlite" else postgresql.insert
    number = con.execute(
        insert(alerts).values(row).on_conflict_do_nothing(index_elements=["key"]).returning(alerts.c.id)
    ).scalar()
    return None if number is None else int(number)


def _long_closed(con: sa.Connection, key: str, now: int) -> int | None:
    """When an alert was closed that was forgotten since: it holds again, and its key must not hide that."""
    first, mark = base(key), key.removeprefix(base(key))
    again = sa.and_(
        alerts.c.key.startswith(f"{first} again-", autoescape=True),
        alerts.c.key.endswith(mark, autoescape=True),
    )
    same = sa.or_(alerts.c.key == key, again)
    query = sa.select(sa.func.count(), sa.func.count(alerts.c.closed), sa.func.max(alerts.c.closed))
    stored, over, closed = con.execute(query.where(same)).one()
    return int(closed) if stored == over and closed is not None and closed <= now - LATELY else None


def close(con: sa.Connection, numbers: Sequence[int], now: int) -> None:
    """Close alerts whose reason has gone."""
    for part in chunks(list(numbers)):
        con.execute(
            alerts.update().where(alerts.c.id.in_(part), alerts.c.closed.is_(None)).values(closed=now)
        )


def open_alerts(
    con: sa.Connection,
    now: int,
    *,
    role: str | None = None,
    shadow: bool = False,
    patient_id: str | None = None,
) -> list[Alert]:
    """Alerts that are neither closed, dismissed nor quiet now, of patients who are watched; oldest first.

    Each carries `now`, so that its text can say how late it is."""
    query = (
        sa.select(alerts)
        .join(patients, patients.c.patient_id == alerts.c.patient_id)
        .where(
            alerts.c.closed.is_(None),
            alerts.c.dismissed.is_(None),
            patients.c.discharged.is_(None),
            patients.c.merged_into.is_(None),
            sa.or_(alerts.c.snoozed_until.is_(None), alerts.c.snoozed_until <= now),
        )
        .order_by(alerts.c.raised, alerts.c.id)
    )
    if role:
        query = query.where(alerts.c.role == role)
    if not shadow:
        query = query.where(alerts.c.shadow.is_(False))
    if patient_id is not None:
        query = query.where(alerts.c.patient_id == patient_id)
    return [{**row, "now": now} for row in con.execute(query).mappings()]


def acknowledge(con: sa.Connection, clock: Clock, number: int, actor: Actor) -> None:
    """Somebody has seen it and takes care; the first one counts."""
    row, now = _row(con, number), clock.now()
    if row.acknowledged is not None:
        return
    con.execute(
        alerts.update()
        .where(alerts.c.id == number)
        .values(acknowledged=now, acknowledged_by=actor.name, snoozed_until=None)
    )
    _note(con, clock, actor, "alert:acknowledge", row)


def dismiss(con: sa.Connection, clock: Clock, number: int, actor: Actor, reason: str) -> None:
    """Not needed, and why; the first one counts. The reason stays with the alert and in the report."""
    row, said = _row(con, number), " ".join(reason.split())
    if not said or len(said) > 500:
        raise AlertError("an alert is dismissed with a reason\n  fix: 1 to 500 characters")
    if row.dismissed is not None:
        return
    con.execute(
        alerts.update()
        .where(alerts.c.id == number)
        .values(dismissed=clock.now(), dismissed_by=actor.name, reason=said)
    )
    _note(con, clock, actor, "alert:dismiss", row)


def snooze(con: sa.Connection, clock: Clock, number: int, actor: Actor, until: int) -> None:
    """Quiet until a moment, at most a day ahead; then it is there again."""
    row, now = _row(con, number), clock.now()
    if not now < until <= now + QUIET_AT_MOST:
        raise AlertError("an alert is made quiet until a moment of the next 24 hours")
    con.execute(alerts.update().where(alerts.c.id == number).values(snoozed_until=until))
    _note(con, clock, actor, "alert:snooze", row)


def _row(con: sa.Connection, number: int) -> Any:
    row = con.execute(sa.select(alerts).where(alerts.c.id == number)).first()
    if row is None:
        raise AlertError("there is no such alert")
    return row


def _note(con: sa.Connection, clock: Clock, actor: Actor, action: str, row: Any) -> None:
    ref = ledger.refs_of(con, [row.patient_id]).get(row.patient_id)
    audit.note(con, clock, actor, action, patient=ref, detail={"alert": row.id, "kind": row.kind})


def text_of(alert: Mapping[str, Any], lib: Library) -> str:
    """An alert in one plain sentence; nobody's name is in it."""
    scale = scale_name(lib, alert["scale"]) if alert["scale"] else ""
    now = alert.get("now", alert["raised"])
    again = "nobody acknowledged: " if alert["what"] == ESCALATED else ""
    match alert["kind"]:
        case kinds.RISE:
            return f"{again}{scale} grade {alert['grade']}, from {alert['before']}"
        case kinds.GAP:
            names = list(dict.fromkeys(asked(lib, name) for name in (alert["what"] or "").split()))
            what = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            since = since_of(alert["key"])
            long = "" if since is None else f" for {span(now - since)}"
            return f"{scale} up to grade {alert['up_to']} not ruled out{long}: nobody measured {what}"
        case kinds.CLOCK:
            return f"time is up: {alert['what']}"
        case kinds.TEST:
            return late_text(alert["what"] or "", since_of(alert["key"]), now)
        case kinds.LATE:
            start, end = (int(each) for each in alert["what"].split())
            lasted, past = span(end - start), ago(end, now)
            return f"late: {scale} was grade {alert['grade']} for {lasted}, until {past}"
        case kinds.HOME:
            return f"told at home: the patient's page said to {WENT.get(alert['what'], 'seek care')}"
        case _:
            return f"{again}{scale} grade {alert['grade']}, new"


def report(con: sa.Connection, since: int, until: int, patient_days: float) -> dict[str, Any]:
    """Alerts of a time: how many a patient-day by kind and scale, how soon they were acknowledged, how many
    were dismissed and why; what was raised in shadow stands apart."""
    query = sa.select(alerts).where(alerts.c.raised >= since, alerts.c.raised < until)
    rows = [dict(row) for row in con.execute(query).mappings()]
    shown = [row for row in rows if not row["shadow"]]
    return {
        "patient_days": round(patient_days, 2),
        **_counted(shown, patient_days),
        "acknowledged": _times(shown),
        "dismissed": sum(row["dismissed"] is not None for row in shown),
        "reasons": dict(Counter(row["reason"] for row in shown if row["reason"]).most_common(20)),
        "shadow": _counted([row for row in rows if row["shadow"]], patient_days),
    }


def _counted(rows: Sequence[Alert], patient_days: float) -> dict[str, Any]:
    kinds = Counter(f"{row['kind']} {row['scale'] or ''}".strip() for row in rows)
    rate = len(rows) / patient_days if patient_days > 0 else None
    return {"alerts": len(rows), "per_patient_day": rate, "kinds": dict(sorted(kinds.items()))}


def _times(rows: Sequence[Alert]) -> dict[str, Any]:
    waits = [
        (row["acknowledged"] - row["raised"]) / MINUTE for row in rows if row["acknowledged"] is not None
    ]
    if not waits:
        return {"count": 0, "median_minutes": None, "p90_minutes": None}
    p90 = quantiles(waits, n=10, method="inclusive")[-1] if len(waits) > 1 else waits[0]
    return {"count": len(waits), "median_minutes": median(waits), "p90_minutes": p90}
