"""What was read and what was changed, by whom: entries are only added, each sealed by the next.

An entry holds no name and no value of a patient, only the `ref`: so a person can be erased and the log stays
whole. Every entry carries the hash of the one before; the last one is also noted elsewhere (`settings`, and
wherever a site keeps what `tocsin audit verify` printed), so that cutting off the end is seen too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
import sqlalchemy as sa

from tocsin.watch import remembered
from tocsin.watch.clock import Clock
from tocsin.watch.roles import Actor
from tocsin.watch.schema import audit, settings

HEAD = "audit-head"
#: What the first entry follows.
NOTHING = "0" * 64
PAGE = 2_000
Detail = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What checking the log found; `broken` is the first entry that is not as it was written."""

    checked: int
    head: tuple[int, str]
    broken: int | None = None
    why: str = ""

    @property
    def whole(self) -> bool:
        """Whether nothing was changed, removed or put in between."""
        return not self.why


@dataclass(frozen=True, slots=True)
class Entry:
    """What somebody did; `patient` is a `ref`."""

    actor: Actor
    action: str
    patient: str | None = None
    detail: Detail | None = None


def note(
    con: sa.Connection,
    clock: Clock,
    actor: Actor,
    action: str,
    *,
    patient: str | None = None,
    detail: Detail | None = None,
) -> None:
    """Add an entry, in the caller's transaction; `patient` is a `ref`."""
    note_all(con, clock, [Entry(actor, action, patient, detail)])


def note_all(con: sa.Connection, clock: Clock, entries: Sequence[Entry]) -> None:
    """Add entries in their order, in the caller's transaction."""
    if not entries:
        return
    seq, previous = following(con)
    rows = []
    for number, each in enumerate(entries, seq):
        row = {
            "seq": number, "time": clock.now(), "actor": each.actor.name, "role": each.actor.role,
            "action": each.action, "patient": each.patient,
            "detail": orjson.dumps(dict(each.detail or {}), option=orjson.OPT_SORT_KEYS).decode(),
            "previous": previous,
        }  # fmt: skip
        previous = seal(row)
        rows.append({**row, "hash": previous})
    con.execute(audit.insert(), rows)
    remembered.say(con, HEAD, f"{rows[-1]['seq']}:{previous}")


def following(con: sa.Connection) -> tuple[int, str]:
    """The number of the next entry, and the hash it follows: the noted head's, so that an end that was cut
    off or added to behind our back stays a break in the chain, and is not healed by the next entry."""
    seq, previous = last(con)
    noted = con.execute(sa.select(settings.c.value).where(settings.c.name == HEAD)).scalar()
    number, _, sealed = str(noted or "").partition(":")
    if number.isdecimal() and len(number) < 19 and len(sealed) == len(NOTHING):
        seq, previous = max(seq, int(number)), sealed
    return seq + 1, previous


def last(con: sa.Connection) -> tuple[int, str]:
    """The number and the hash of the last entry."""
    row = con.execute(sa.select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).first()
    return (0, NOTHING) if row is None else (int(row.seq), str(row.hash))


def seal(entry: Mapping[str, object]) -> str:
    """The hash of an entry and of the one before it."""
    names = ("seq", "time", "actor", "role", "action", "patient", "detail", "previous")
    return hashlib.sha256(orjson.dumps([entry[name] for name in names])).hexdigest()


def verify(con: sa.Connection, expect: tuple[int, str] | None = None) -> Verdict:
    """Check every entry, the head, and (`expect`) a head that was noted elsewhere earlier."""
    first = con.execute(sa.select(sa.func.min(audit.c.seq))).scalar()
    if first is not None and first < 1:
        return Verdict(0, (0, NOTHING), int(first), "an entry stands before the first one")
    seq, previous, seen = 0, NOTHING, expect is None or expect[0] == 0
    while rows := con.execute(
        sa.select(audit).where(audit.c.seq > seq).order_by(audit.c.seq).limit(PAGE)
    ).mappings().all():  # fmt: skip
        for row in rows:
            told = (seq, previous)
            if row["seq"] != seq + 1:
                return Verdict(seq, told, seq + 1, "an entry is missing")
            if row["previous"] != previous:
                return Verdict(seq, told, row["seq"], "it does not follow the entry before it")
            if row["hash"] != seal(dict(row)):
                return Verdict(seq, told, row["seq"], "it is not as it was written")
            seq, previous = row["seq"], row["hash"]
            if expect is not None and seq == expect[0]:
                if previous != expect[1]:
                    return Verdict(seq, told, seq, "it is not the entry that was noted elsewhere")
                seen = True
    head = (seq, previous)
    noted = con.execute(sa.select(settings.c.value).where(settings.c.name == HEAD)).scalar()
    if not seen:
        return Verdict(seq, head, seq + 1, "the log ends before the entry that was noted elsewhere")
    if (noted or f"0:{NOTHING}") != f"{seq}:{previous}":
        return Verdict(seq, head, seq + 1, "the log does not end where its noted head says")
    return Verdict(seq, head)
