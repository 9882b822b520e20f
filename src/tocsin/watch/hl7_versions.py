"""Which row of facts a version of an observation is: the first, a correction, a withdrawal, or old news.

An observation is known by its sender, order, code, sub id and time; that is the `source` of its final row.
Versions of it are called after it: `#P.` preliminary, `#C.` corrected, each with what tells it from others,
and `#W` what takes one back. Sent again, a version gets the name it had, and so is the same fact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tocsin.watch import ledger, marks
from tocsin.watch.intake import MARK
from tocsin.watch.schema import facts

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
    status, name, mark = row["_status"], row["_name"], row["_digest"]
    plain = {key: value for key, value in row.items() if not key.startswith("_")}
    mine = [each for each in known if each == name or each.startswith(f"{name}#")]
    early = [each for each in mine if each.startswith(f"{name}#P.")]
    late = [each for each in mine if each.startswith(f"{name}#C.")]
    final = [name] if name in mine else []
    if status in ("D", "W"):
        return _withdrawn(plain, [*early, *late], name, known)
    source = name if status == "F" else f"{name}#{status}.{mark}"
    if source == name and source in known and f"{name}#W" in known:
        again = {**plain, "source": name, "replaces": known[name]}
        if repeated(again):
            return [again]
        source, late = f"{name}#C.{mark}", [*late, f"{name}#W"]
        if source not in known:
            known[source] = late[-1]
    if source in known:
        return [{**plain, "source": source, "replaces": known[source]}]
    if (status == "P" and (final or late)) or (status == "F" and late):
        return []
    before = [*early, *final, *late]
    replaces = before[-1] if before else (name if status == "C" else None)
    known[source] = replaces
    return [{**plain, "source": source, "replaces": replaces}]


def _withdrawn(row: Row, versions: Sequence[str], name: str, known: Known) -> list[Row]:
    """Rows that take back every version there is, and the final one even if it never came."""
    found = []
    for each in dict.fromkeys([name, *versions]):
        gone = {"patient_id": row["patient_id"], "time": row["time"], "measure": row["measure"]}
        found.append({**gone, "text": "retracted", "source": f"{each}#W", "replaces": each})
        known[f"{each}#W"] = each
    return found
