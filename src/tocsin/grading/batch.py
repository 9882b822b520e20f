"""Grade whole files: batches of whole patients in, interval tables out, memory flat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import TocsinError
from tocsin.facts import resolve
from tocsin.grading.compile import Compiled, compiled
from tocsin.grading.compiled import grade_all, is_cached, is_warm
from tocsin.grading.intervals import empty, table
from tocsin.grading.opcodes import INF
from tocsin.grading.plain import MACHINE
from tocsin.grading.program import as_lists, new_state
from tocsin.grading.rows import Measured, Rows, prepare
from tocsin.grading.rungs import COLUMNS

#: From this many rows on the compiled machine is used; below, loading it costs more than it saves.
COMPILE_FROM = 300_000
#: The same where it must first be compiled (about 20 CPU seconds, once for each computer and version):
#: plain Python takes about 10 microseconds a row.
COMPILE_ANEW_FROM = 2_000_000
#: The same in a process that has it loaded already: handing rows over costs as much as plain Python takes for
#: these.
WARM_FROM = 200


def grade(
    facts: Any,
    scales: str | Sequence[str] = "astct-2019",
    *,
    lib: Library | None = None,
    until: datetime | None = None,
    as_of: datetime | None = None,
    engine: str | None = None,
    notify: Callable[[str], None] | None = None,
) -> Iterator[pa.Table]:
    """Grade canonical facts under the scales named, all in one pass.

    `facts` is a table, or an iterable of record batches each holding whole patients. Yields tables of
    `intervals.SCHEMA`, one per batch. `until` cuts the answer; `as_of` answers as it would have been
    given then: facts recorded later are left out and the last state is carried to that instant.
    `engine` forces "python" or "numba"; the answers are the same. `notify` is told what takes long.
    """
    lib = lib or library()
    names = (scales,) if isinstance(scales, str) else tuple(scales)
    if engine not in (None, "python", "numba"):
        raise TocsinError(f"no engine `{engine}`\n  fix: python or numba")
    chosen = Choice(engine, notify)
    yield from graded(_tables(facts), compiled(names, lib), lib, chosen, until=until, as_of=as_of)


class Choice:
    """Which machine takes a batch: the one asked for, else the compiled one once it pays."""

    def __init__(self, engine: str | None, notify: Callable[[str], None] | None = None) -> None:
        self.fast, self.free, self.seen, self.notify = engine == "numba", engine is None, 0, notify

    def __call__(self, batch: pa.Table) -> bool:
        """Whether this batch goes to the compiled machine; once one did, all later ones do."""
        self.seen += len(batch)
        self.fast = self.fast or (self.free and worth_compiling(self.seen))
        if self.fast and self.notify is not None:
            if not is_cached():
                self.notify("compiling the machine, once for this computer (about half a minute)")
            self.notify = None
        return self.fast


def graded(
    tables: Iterable[pa.Table],
    program: Compiled,
    lib: Measured,
    chosen: Callable[[pa.Table], bool],
    *,
    until: datetime | None = None,
    as_of: datetime | None = None,
) -> Iterator[pa.Table]:
    """Tables of whole patients through a program; `chosen` says of each whether compiled code takes it."""
    horizon = min(_micros(until), _micros(as_of))
    for batch in tables:
        if not len(batch):
            continue
        if as_of is not None or _has(batch, "replaces"):
            batch = resolve(batch, as_of)
        if not len(batch):
            continue
        fast = chosen(batch)
        rows, starts, patients = prepare(batch, program, lib)
        out = run(program, rows, starts, horizon, as_of is not None, fast)
        yield table(out, patients, program)


def run(
    program: Compiled, rows: Rows, starts: np.ndarray[Any, Any], horizon: int, extend: bool, fast: bool
) -> np.ndarray[Any, Any]:
    """The machine over prepared rows, compiled or plain; the numbers of `rungs.COLUMNS`."""
    return run_with(new_state(program.program, plain=not fast), program, rows, starts, horizon, extend, fast)


def run_with(
    state: Any, program: Compiled, rows: Rows, starts: np.ndarray[Any, Any], horizon: int, extend: bool,
    fast: bool,
) -> np.ndarray[Any, Any]:  # fmt: skip
    """The same with a state of the caller's, which holds the last patient's memory afterwards."""
    longest = int(np.diff(starts).max(initial=0))
    scales = len(program.scales)
    if fast:
        # Arrow hands some columns on read-only, which to numba is another type: a compilation of its own.
        writeable = Rows(*(np.require(column, requirements=("C", "W")) for column in rows))
        walk, tables, taken, first = grade_all(), program.program, writeable, starts
    else:
        walk, tables = MACHINE.grade_all, as_lists(program.program)
        taken, first = Rows(*(column.tolist() for column in rows)), starts.tolist()
    room = max(64, len(rows.time) * scales // 16, 4 * len(starts) * scales)
    while True:
        out = np.empty((room, len(COLUMNS)), np.int64)
        emitted = walk(tables, state, taken, first, horizon, extend, np.empty(longest + 1), out)
        if emitted <= room:
            return out[:emitted]
        room = emitted


def worth_compiling(rows: int) -> bool:
    """Whether the compiled machine pays for this many rows; until it does, plain Python answers at once."""
    if is_warm():
        return rows >= WARM_FROM
    return rows >= COMPILE_ANEW_FROM or (rows >= COMPILE_FROM and is_cached())


def _tables(facts: Any) -> Iterator[pa.Table]:
    if isinstance(facts, pa.Table):
        yield facts
    elif isinstance(facts, pa.RecordBatch):
        yield pa.Table.from_batches([facts])
    elif hasattr(facts, "__arrow_c_stream__"):
        yield pa.table(facts)
    else:
        items: Iterable[Any] = facts
        for item in items:
            yield item if isinstance(item, pa.Table) else pa.Table.from_batches([item])


def _has(batch: pa.Table, name: str) -> bool:
    return name in batch.column_names and batch[name].null_count < len(batch)


def _micros(moment: datetime | None) -> int:
    if moment is None:
        return INF
    if moment.tzinfo is None:
        raise TocsinError(f"{moment} has no time zone\n  fix: give a time zone, for example {moment}Z")
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)


def grade_table(facts: Any, scales: str | Sequence[str] = "astct-2019", **options: Any) -> pa.Table:
    """`grade`, all batches joined into one table."""
    tables = list(grade(facts, scales, **options))
    return pa.concat_tables(tables) if tables else empty()
