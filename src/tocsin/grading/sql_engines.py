"""What SQL refuses, and what each engine that has been executed is asked in its own words."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ibis
import ibis.expr.datatypes as dt

from tocsin.definitions.schema import Finding, Scale, TocsinError
from tocsin.grading.sql_spans import Column


class SqlCannotSay(TocsinError):  # noqa: N818 - the name is what it tells
    """A scale, or an engine, that this translation refuses by name."""


def cannot(scale: Scale, finding: Finding, word: str) -> SqlCannotSay:
    """The refusal of a word as this finding uses it."""
    return SqlCannotSay(
        f"scale `{scale.id}`, finding `{finding.id}`: SQL cannot say `{word}` as it is used here\n"
        "  why: a grade that skipped the word would be another grade\n"
        "  fix: grade this scale from Parquet without SQL"
    )


@lru_cache(maxsize=1)
def _clocks() -> dict[str, Any]:
    """How each engine that the tests have executed turns an instant into microseconds since 1970."""
    instant = dt.Timestamp(timezone="UTC")
    micros = ibis.udf.scalar.builtin(_epoch_us, name="epoch_us", signature=((instant,), dt.int64))
    part = ibis.udf.scalar.builtin(_date_part, name="date_part", signature=((dt.string, instant), dt.float64))
    return {"duckdb": micros, "postgres": lambda time: (part("epoch", time) * 1e6).round().cast("int64")}


def _epoch_us(time: Any) -> None:
    """DuckDB's own; only its name and arguments are read here."""


def _date_part(part: Any, time: Any) -> None:
    """PostgreSQL's own; only its name and arguments are read here."""


def micros(con: Any, time: Column) -> Column:
    """An instant as microseconds since 1970, whatever the time zone of the session."""
    if con.name not in _clocks():
        raise SqlCannotSay(
            f"the SQL engine `{con.name}` has not been tried\n"
            "  why: an engine counts as supported only once its answers have been compared\n"
            f"  fix: use one of {', '.join(sorted(_clocks()))}, or grade from Parquet without SQL"
        )
    return _clocks()[con.name](time.cast(dt.Timestamp(timezone="UTC")))
