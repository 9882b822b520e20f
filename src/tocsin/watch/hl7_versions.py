"""Which row of facts a version of an observation is: the first, a correction, a withdrawal, or old news.

An observation is known by its sender, order, code, sub id and time; that is the `source` of its final row.
Versions of it are called after it: `#P.` preliminary, `#C.` corrected, `#W.` what takes one back, each with
what was said and the message that said it. Sent again, a version gets the name it had, and is the same fact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tocsin.watch import ledger, marks
from tocsin.watch.intake import MARK
from tocsin.watch.schema import facts

#: Statuses (table 0085) that take an observation back.
WITHDRAWS = ("D", "W")
Row = dict[str, Any]
Known = dict[str, str | None]


def stored(con: sa.Connection, names: Sequence[str], times: Iterable[int]) -> Known:
    """Versions of a person's observations at these times: what each is called, and what it replaces; in the
    order they came. One that was refused counts as there: what corrects it has to name it."""
    found: Known = {}
    for part in ledger.chunks(sorted(set(times))):
        query = (
            sa.select(facts.c.source, facts.c.replaces)
            .where(facts.c.patient_id.in_(names), facts.c.time.in_(part))
            .order_by(facts.c.seq)
        )
        for source, replaces in con.execute(query):
            name = marks.origin(source) if source.startswith(MARK) else source
            if name and name.startswith("hl7|"):
                found[name] = replaces
    return found


def micros(row: Row) -> int:
    """When a row was true, as it is stored."""
    return round(datetime.fromisoformat(row["time"]).timestamp() * 1_000_000)


def linked(row: Row, known: Known, repeated: Callable[[Row], bool]) -> list[Row]:
    """The rows that a version of an observation is stored as, named and linked; none where a later version
    was stored before it. `known` learns of them.

    `repeated` says of a row whether it is stored word for word: after a withdrawal, that tells a message that
    came twice from an observation that is stated anew.
    """
    name, said, message = row["_name"], row["_digest"], row["_message"]
    plain = {key: value for key, value in row.items() if not key.startswith("_")}
    if row["_status"] in WITHDRAWS:
        return _withdrawn(plain, name, message, known)
    early, late = (_versions(known, f"{name}#{sort}.") for sort in "PC")
    status, gone = row["_status"], _withdrawals(known, name)
    if status == "F" and name in known and gone:
        again = {**plain, "source": name, "replaces": known[name]}
        if repeated(again):
            return [again]
        status, late = "C", [*gone, *late]
    source = name if status == "F" else f"{name}#{status}.{said}.{message}"
    if source in known:
        return [{**plain, "source": source, "replaces": known[source]}]
    final = [name] if name in known else []
    if (status == "P" and (final or late)) or (status == "F" and late):
        return []
    before = [*early, *final, *late]
    replaces = before[-1] if before else (name if status == "C" else None)
    known[source] = replaces
    return [{**plain, "source": source, "replaces": replaces}]


def _versions(known: Known, start: str) -> list[str]:
    """Versions of one kind, in the order they came."""
    return [each for each in known if each.startswith(start) and "#W." not in each[len(start) :]]


def _withdrawals(known: Known, name: str) -> list[str]:
    """What took the final row of an observation back."""
    return [each for each in known if each.startswith(f"{name}#W.")]


def _withdrawn(row: Row, name: str, message: str, known: Known) -> list[Row]:
    """Rows that take back every version there is, and the final one even if it never came. The same message
    again takes back what it took back, and nothing that was stated since."""
    mark = f"#W.{message}"
    versions = [name, *_versions(known, f"{name}#P."), *_versions(known, f"{name}#C.")]
    if f"{name}{mark}" in known:
        versions = [each for each in versions if f"{each}{mark}" in known]
    blank = {"patient_id": row["patient_id"], "time": row["time"], "measure": row["measure"]}
    found = [{**blank, "text": "retracted", "source": f"{each}{mark}", "replaces": each} for each in versions]
    known.update({each["source"]: each["replaces"] for each in found})
    return found
