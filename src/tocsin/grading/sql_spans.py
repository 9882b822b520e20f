"""Step functions over time as tables of half-open spans, and the few operations on them that grading needs.

A *steps* table holds one three-valued function per key: rows (k, s, e, lo, hi), disjoint, merged and inside
the key's universe [u0, u1); `lo` is 1 where the function is yes for certain, `hi` is 1 where it is not no for
certain, and where no row lies it is no. A *spans* table (k, s, e) is a set of instants. Times are integers:
microseconds since 1970 in UTC; `FOREVER` stands for "without end".

Every operation is LAG, LEAD, SUM OVER, MAX OVER, UNION ALL and GROUP BY: the same in any SQL engine.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ibis

HOUR = 3_600_000_000
MINUTE = 60_000_000
FOREVER = 4 * 10**18

#: Ibis expressions carry no useful static types for what is done here.
Table = Any
Column = Any
Part = tuple[Table, Mapping[str, str | int]]


def number(condition: Column) -> Column:
    """1 where the condition holds, else 0 (also where it is null); no engine casts booleans alike."""
    return ibis.ifelse(condition, 1, 0).cast("int64")


def whole(amount: int) -> Column:
    """An integer of the width that every table here uses."""
    return ibis.literal(amount).cast("int64")


def hours(amount: float) -> int:
    """Hours as whole microseconds."""
    return round(amount * HOUR)


def ordered(*keys: Column, by: str = "k") -> Any:
    """The window of all rows of a key up to this one."""
    return ibis.window(group_by=by, order_by=list(keys), preceding=None, following=0)


def neighbours(*keys: Column, by: str = "k") -> Any:
    """The window that LAG and LEAD walk."""
    return ibis.window(group_by=by, order_by=list(keys))


def next_marked(table: Table, mark: Column, name: str) -> Table:
    """Add `name`: the first instant later than the row's at which `mark` is 1 (one row per instant)."""
    marked = table.mutate(_at=ibis.ifelse(mark == 1, table.t, FOREVER))
    backwards = ordered(ibis.desc("t"))
    marked = marked.mutate(_from=marked._at.min().over(backwards))
    later = marked._from.lag().over(neighbours(ibis.desc("t")))
    return marked.mutate(**{name: ibis.coalesce(later, FOREVER)}).drop("_at", "_from")


class Spans:
    """The workbench of one grading run: keeps intermediate tables in the engine and drops them at the end.

    `universe` has one row (k, u0, u1) for each key; it is set before anything else is asked.
    """

    universe: Table

    def __init__(self, con: Any) -> None:
        self.con = con
        self._names: list[str] = []
        self._run = secrets.token_hex(4)
        self._count = itertools.count()

    def keep(self, table: Table) -> Table:
        """Work a table out now, so that no later query repeats it."""
        name = f"tocsin_{self._run}_{next(self._count)}"
        # Fusing selections costs most of the time of writing a query, and the engines do it themselves.
        fused, ibis.options.sql.fuse_selects = ibis.options.sql.fuse_selects, False
        try:
            query = self.con.compile(table)
        finally:
            ibis.options.sql.fuse_selects = fused
        # Not `create_table`: it asks the engine for the schema of each table, which is known here.
        self._execute(f'CREATE TEMPORARY TABLE "{name}" AS {query}')
        self._names.append(name)
        return ibis.table(table.schema(), name=name)

    def close(self) -> None:
        """Drop every table this run kept."""
        for name in self._names:
            self._execute(f'DROP TABLE IF EXISTS "{name}"')
        self._names.clear()

    def _execute(self, statement: str) -> None:
        cursor = self.con.raw_sql(statement)
        if self.con.name != "duckdb":
            cursor.close()

    def clip(self, table: Table) -> Table:
        """Cut rows with `s` and `e` to the universe of their key; what lies outside goes."""
        joined = table.join(self.universe, "k")
        cut = joined.mutate(s=ibis.greatest(joined.s, joined.u0), e=ibis.least(joined.e, joined.u1))
        return cut.filter(cut.s < cut.e).drop("u0", "u1")

    def tile(self, parts: Sequence[Part], values: Callable[[Table], Mapping[str, Column]]) -> Table:
        """Cover each universe with the longest spans on which `values` are constant.

        Each part adds, while one of its rows (k, s, e) lasts, the given column or number to the given sums;
        `values` makes of the sums the columns wanted. Parts must lie inside the universe.
        """
        names = sorted({name for _, adds in parts for name in adds})
        deltas = [
            self.universe.select("k", t=self.universe[end], **dict.fromkeys(names, whole(0)))
            for end in ("u0", "u1")
        ]
        for table, adds in parts:
            for end, sign in (("s", 1), ("e", -1)):
                columns = {name: whole(0) for name in names}
                for name, what in adds.items():
                    amount = table[what] if isinstance(what, str) else ibis.literal(what)
                    columns[name] = (amount * sign).cast("int64")
                deltas.append(table.select("k", t=table[end], **columns))
        points = (
            ibis.union(*deltas, distinct=False)
            .group_by("k", "t")
            .aggregate(**{name: ibis._[name].sum().cast("int64") for name in names})
        )
        sums = {name: points[name].sum().over(ordered("t")).cast("int64") for name in names}
        run = points.select("k", "t", nxt=points.t.lead().over(neighbours("t")), **sums)
        said = dict(values(run))
        # The end of the universe is a change to nothing, so that the last span ends there.
        state = run.select(
            "k",
            "t",
            **{name: ibis.ifelse(run.nxt.isnull(), -1, value).cast("int64") for name, value in said.items()},
        )
        before = state.mutate(**{f"_{name}": state[name].lag().over(neighbours("t")) for name in said})
        changed = ibis.or_(
            *[before[f"_{name}"].isnull() | (before[f"_{name}"] != before[name]) for name in said]
        )
        picked = before.filter(changed).select("k", "t", *said)
        spans = picked.select("k", *said, s=picked.t, e=picked.t.lead().over(neighbours("t")))
        return spans.filter(spans.e.notnull())

    def steps(
        self, parts: Sequence[Part], lo: Callable[[Table], Column], hi: Callable[[Table], Column]
    ) -> Table:
        """The steps table whose `lo` and `hi` are these conditions on the sums of `parts`; kept."""
        tiled = self.tile(parts, lambda run: {"lo": number(lo(run)), "hi": number(hi(run) | lo(run))})
        return self.keep(tiled.filter(tiled.hi == 1))

    def of(self, steps: Table, column: str) -> Table:
        """The spans on which `lo` (or `hi`) of a steps table is 1."""
        return self.islands(steps.filter(steps[column] == 1).select("k", "s", "e"))

    def runs(self, spans: Table, gap: int = 0) -> Table:
        """The spans, each with `start` and `stop` of its run (gaps of at most `gap` are bridged)."""
        reach = spans.mutate(_reach=spans.e.max().over(ordered("s", "e")))
        reach = reach.mutate(_before=reach._reach.lag().over(neighbours("s", "e")))
        fresh = reach.mutate(_new=number(reach._before.isnull() | (reach.s > reach._before + gap)))
        numbered = fresh.mutate(_run=fresh._new.sum().over(ordered("s", "e")).cast("int64"))
        whole = ibis.window(group_by=["k", "_run"])
        return numbered.select(
            "k", "s", "e", start=numbered.s.min().over(whole), stop=numbered.e.max().over(whole)
        )

    def islands(self, spans: Table) -> Table:
        """The same instants as disjoint spans that do not touch."""
        runs = self.runs(spans)
        return runs.select("k", s=runs.start, e=runs.stop).distinct()

    def both(self, lo: Table, hi: Table) -> Table:
        """The steps table that is certain on the spans `lo` and possible on the spans `hi`; kept."""
        parts: list[Part] = [(self.clip(lo), {"a": 1}), (self.clip(hi), {"b": 1})]
        return self.steps(parts, lambda run: run.a > 0, lambda run: run.b > 0)
