"""What is sent to the service, as rows: the same reading, checks and messages as for files.

A row that cannot be taken never costs the others. Where its patient, measure and time are known it leaves a
mark (text `unusable`): what was measured and cannot be read is unknown, not absent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library
from tocsin.facts import read_rows
from tocsin.facts.columns import READ, FactsError
from tocsin.sources.table import File, Form
from tocsin.watch.clock import MINUTE, moment_of

#: What makes every time since 1828 positive.
ERA = 1 << 52
#: How far ahead of the service a sender's clock may be.
AHEAD = 10 * 60 * 1_000_000
#: The most characters of one text.
LONGEST = 1000
TEXTS = ("patient_id", "measure", "text", "unit", "method", "source", "replaces")
#: What makes a fact the same fact: sent twice, it is kept once.
SAID = (
    "patient_id", "time", "measure", "value", "text", "unit", "end", "ref_low", "ref_high", "method",
    "recorded", "source", "replaces", "charted_value", "charted_unit",
)  # fmt: skip
SAYING = itemgetter(*SAID)
#: Times that may not lie in the future.
DATED = ("time", "recorded")
#: How marks of refused rows are called, and facts that came without a source.
MARK, OWN = "refused:", "fact:"

Refused = dict[str, Any]


@dataclass(slots=True)
class Intake:
    """Rows to store (`READ` columns, with `hash`) and those refused, each `{row, why, fix}`.

    `marks` are the places of rows that stand for a refused one; `kept` the messages about rows that were
    taken, but not as written.
    """

    rows: list[dict[str, Any]]
    marks: set[int] = field(default_factory=set)
    refused: list[Refused] = field(default_factory=list)
    kept: list[Refused] = field(default_factory=list)

    def refuse(self, wrong: Callable[[Mapping[str, Any]], bool], why: str, fix: str) -> None:
        """Leave out rows that this sender may not send; marks of rows refused before go without a word."""
        left = [place for place, row in enumerate(self.rows) if not wrong(row)]
        for place in sorted(set(range(len(self.rows))) - set(left) - self.marks):
            self.refused.append(_refusal(self.rows[place]["row"], why, fix))
        self.marks = {new for new, place in enumerate(left) if place in self.marks}
        self.rows = [self.rows[place] for place in left]


def read(batches: Sequence[pa.RecordBatch], *, lib: Library, now: int) -> Intake:
    """Charted rows (numbered by a column `row`) as rows to store.

    Raises `FactsError` where a column that must be there is not.
    """
    intake = Intake([])
    for batch in batches:
        batch, refused = _storable(batch)
        intake.refused += refused
        if not batch.num_rows:
            continue
        rows, rejects = read_rows(batch, lib=lib, source="")
        lost: dict[int, Refused] = {}
        for reject in rejects.to_pylist():
            told = {
                "row": reject["row"],
                "why": f"{reject['measure'] or 'row'} {reject['what']}: {reject['why']}",
                "fix": reject["fix"],
            }
            if reject["kind"] == "rejected":
                lost[reject["row"]] = told
                intake.refused.append(told)
            else:
                intake.kept.append({**told, "kind": reject["kind"]})
        late = _late(rows, now)
        for row in plain(rows):
            if late and (refusal := _ahead(row, now)):
                intake.refused.append(refusal)
                continue
            mark = row["row"] in lost
            if mark:
                intake.marks.add(len(intake.rows))
            intake.rows.append(_named(row, mark))
    intake.refused.sort(key=lambda each: each["row"] or 0)
    return intake


def batches_of(objects: Any) -> tuple[list[pa.RecordBatch], list[Refused]]:
    """One JSON object, or an array of them, as a batch; what is no object is refused by its place, from 1."""
    items = [objects] if isinstance(objects, dict) else objects
    if not isinstance(items, list):
        raise FactsError(
            "the body is neither a JSON object nor an array of objects\n"
            '  fix: [{"patient_id": "a", "time": "2026-03-01T14:30Z", "measure": "temperature", ...}]'
        )
    refused = [
        _refusal(place, "it is no JSON object", "send each fact as an object")
        for place, item in enumerate(items, 1)
        if not isinstance(item, dict)
    ]
    facts = [{**item, "row": place} for place, item in enumerate(items, 1) if isinstance(item, dict)]
    if not facts:
        return [], refused
    seen = {str(key) for fact in facts for key in fact}
    return [File(Path(), "the body", Form("jsonl")).columns(facts, seen, None)], refused


def batches_of_text(body: bytes, kind: str) -> tuple[list[pa.RecordBatch], list[Refused]]:
    """A body of CSV or JSON lines as batches: read as a file is, so that a row is numbered as in a file."""
    with tempfile.NamedTemporaryFile(prefix="tocsin-", suffix=f".{kind}") as spool:
        spool.write(body)
        spool.flush()
        file = File(Path(spool.name), "the body", Form(kind))
        batches = list(file.batches())
    refused = [
        _refusal(reject["row"], reject["what"], reject["fix"])
        for table in file.rejects
        for reject in table.to_pylist()
    ]
    return batches, refused


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Stored rows as a table that `settle` takes (times in microseconds)."""
    return table_of_columns({name: [row.get(name) for row in rows] for name in READ.names}, len(rows))


def table_of_columns(columns: Mapping[str, Sequence[Any]], rows: int) -> pa.Table:
    """Columns of stored rows as a table that `settle` takes; those not there are empty."""
    arrays: list[pa.Array] = []
    for column in READ:
        values = columns.get(column.name)
        if values is None:
            arrays.append(pa.nulls(rows, column.type))
        elif pa.types.is_timestamp(column.type):
            arrays.append(pa.array(values, pa.int64()).cast(column.type))
        else:
            arrays.append(pa.array(values, column.type))
    return pa.Table.from_arrays(arrays, schema=READ)


def _refusal(row: int | None, why: str, fix: str) -> Refused:
    return {"row": row, "why": why, "fix": fix}


def _storable(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Refused]]:
    """Leave out rows with texts that no store should hold: too long, or with a NUL."""
    bad = np.zeros(batch.num_rows, bool)
    for name in TEXTS:
        place = batch.schema.get_field_index(name)
        if place < 0 or not pa.types.is_string(batch.schema.field(place).type):
            continue
        column = batch.column(place)
        wrong = pc.or_(pc.greater(pc.utf8_length(column), LONGEST), pc.match_substring(column, "\x00"))
        bad |= pc.fill_null(wrong, False).to_numpy(zero_copy_only=False)
    if not bad.any():
        return batch, []
    numbers = batch.column("row").filter(pa.array(bad)).to_pylist()
    why = f"a text is longer than {LONGEST} characters or holds a NUL"
    return batch.filter(pa.array(~bad)), [_refusal(row, why, "shorten it") for row in numbers]


def plain(rows: pa.Table) -> list[dict[str, Any]]:
    """Rows as dictionaries, times as microseconds."""
    names = rows.column_names
    columns = [_values(column.combine_chunks()) for column in rows.columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(column: pa.Array) -> list[Any]:
    """A column as a list; what Arrow does for every value by itself, for all that can be done at once."""
    if column.null_count == len(column):
        return [None] * len(column)
    if pa.types.is_dictionary(column.type):
        words = [*column.dictionary.to_pylist(), None]
        return [words[code] for code in pc.fill_null(column.indices, -1).to_numpy().tolist()]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    if pa.types.is_primitive(column.type) and not column.null_count:
        values: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return values
    listed: list[Any] = column.to_pylist()
    return listed


def _late(rows: pa.Table, now: int) -> bool:
    """Whether any row lies in the future."""
    found = [pc.max(rows[name]).cast(pa.int64()).as_py() for name in DATED]
    return any(each is not None and each > now + AHEAD for each in found)


def _ahead(row: Mapping[str, Any], now: int) -> Refused | None:
    """The refusal of a row from the future: a wrong zone or clock would hide what comes until then."""
    for name in DATED:
        if row[name] is not None and row[name] > now + AHEAD:
            return _refusal(
                row["row"],
                f"its `{name}` {moment_of(row[name]):%Y-%m-%dT%H:%MZ} lies in the future "
                f"(it is {moment_of(now):%Y-%m-%dT%H:%MZ})",
                "check the sender's clock and the offset written with the time",
            )
    return None


def _named(row: dict[str, Any], mark: bool) -> dict[str, Any]:
    """A row with its hash and, where it has none, a source by which a correction can name it.

    The hash begins with the minute of the fact: facts that come one after the other lie side by side in the
    index of hashes, however large it is.
    """
    said = orjson.dumps(SAYING(row))
    name = blake2b(said, digest_size=16, person=b"mark" if mark else b"fact").hexdigest()
    row["hash"] = f"{max(row['time'] + ERA, 0) // MINUTE:08x}{name[:24]}"
    if mark:
        own = f":{row['source']}" if row["source"] else ""
        row["source"] = f"{MARK}{name}{own}"
    elif row["source"] is None:
        row["source"] = OWN + name
    return row
