"""Episodes from grades and facts: which spans of illness belong together, and how each ended.

The exact meaning is in docs/episodes.md; the hours that close an episode are in
`definitions/episodes/closing.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.definitions.closing import Closing, closing
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import TocsinError
from tocsin.episodes.answer import CENSORED, DEATH, NOT_OBSERVED, RESOLVED, SCHEMA, Found, answer
from tocsin.episodes.chart import Chart, Doses
from tocsin.episodes.columns import Ints, as_table, empty
from tocsin.episodes.spans import Graded, Spans, graded_rows, spans_of
from tocsin.facts import resolve
from tocsin.grading.batch import grade
from tocsin.grading.opcodes import HOUR, INF, NONE


def episodes(
    intervals: Any, facts: Any, *, lib: Library | None = None, until: datetime | None = None,
    as_of: datetime | None = None,
) -> pa.Table:
    """The episodes in graded patients.

    Parameters
    ----------
    intervals : what `grade` answered, all rows of its patients (also those of grade 0).
    facts     : the facts it was asked about, all rows of those patients.
    until, as_of : what `grade` was told, if anything. Facts from `until` on, and what was recorded after
        `as_of`, close no episode; at `as_of` the record counts as complete up to then.

    Returns a table of `SCHEMA`, by patient, scale (in the order of `intervals`) and time.

    >>> from tocsin.grading.batch import grade_table
    >>> from tocsin.testing import patient
    >>> ill = patient("0 h teclistamab", "20 h temperature 39.0 Cel", "50 h temperature 36.8 Cel",
    ...               "50 h systolic-bp 120 mm[Hg]", "80 h temperature 36.7 Cel")
    >>> (found,) = episodes(grade_table(ill), ill).to_pylist()
    >>> found["outcome"], found["peak"], found["trigger"], found["hours_from_dose"], found["doses"]
    ('resolved', 1, 'teclistamab', 20.0, ['teclistamab #1'])
    """
    lib = lib or library()
    graded = graded_rows(intervals)
    spans = spans_of(graded)
    if not len(spans.first):
        return SCHEMA.empty_table()
    table = as_table(facts)
    if as_of is not None or not empty(table, "replaces"):
        table = resolve(table, as_of)
    horizon = min(_micros(until), _micros(as_of))
    chart = Chart(table, graded.patients, np.unique(spans.patient), horizon, lib)
    complete = chart.last if as_of is None else chart.stop
    scales = [lib.scale(name) for name in graded.scales]
    rules = [closing(scale.outcome, lib) for scale in scales]
    doses = Doses(chart)
    found = joined(graded, spans, rules, chart, doses, complete, [scale.fatal for scale in scales])
    return answer(found, graded, spans, rules, chart, doses)


def episodes_of(
    facts: Iterable[Any], scales: str | Sequence[str] = "astct-2019", *, lib: Library | None = None,
    until: datetime | None = None, as_of: datetime | None = None, engine: str | None = None,
    notify: Callable[[str], None] | None = None,
) -> Iterator[pa.Table]:
    """Grade batches of whole patients and find their episodes, one table a batch, memory flat."""
    lib = lib or library()
    current: list[Any] = []

    def passing() -> Iterator[Any]:
        for batch in facts:
            current[:] = [batch]
            yield batch

    graded = grade(passing(), scales, lib=lib, until=until, as_of=as_of, engine=engine, notify=notify)
    for intervals in graded:
        yield episodes(intervals, current[0], lib=lib, until=until, as_of=as_of)


def joined(
    graded: Graded, spans: Spans, rules: Sequence[Closing], chart: Chart, doses: Doses, complete: Ints,
    fatal: Sequence[str | None],
) -> Found:
    """Join spans that no closing gap parts. All lookups are done at once; only the joining is a loop."""
    quiet, masked, charted, drug = (np.full(len(spans.first), fill) for fill in (INF, INF, NONE, NONE))
    for rule in dict.fromkeys(rules):
        mine = np.array([each is rule for each in rules])[spans.scale]
        who, gap = spans.patient[mine], spans.stop[mine]
        quiet[mine] = gap + round(rule.quiet_hours * HOUR)
        masked[mine] = gap + round(rule.masked_hours * HOUR)
        lines = [chart.charted(line).next(who, gap) for line in rule.charted]
        charted[mine] = np.maximum.reduce(lines)
        drug[mine] = chart.given(rule.masked_by).latest(who, quiet[mine])
    dose = doses.marks.next(spans.patient, spans.stop)
    columns = (
        spans.start, spans.stop, spans.rise, quiet, masked, charted, drug, dose, complete[spans.patient]
    )
    out: list[tuple[int, int, int, int]] = []
    causes: list[str | None] = []
    first, onset = -1, 0
    for i, (start, gap, rise, soon, late, seen, hidden, again, known) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        if first < 0:
            first, onset = i, start
        close = late if hidden >= onset else soon
        cause = None
        if again < min(rise, close):
            outcome, end = RESOLVED if seen < again else NOT_OBSERVED, gap
        elif close <= rise and close <= known:
            outcome, end = RESOLVED if seen < close else NOT_OBSERVED, gap
        elif rise < INF:
            continue
        else:
            row, who = int(spans.last[i]), int(spans.patient[i])
            outcome, end = CENSORED, INF
            if graded.grade[row] == 5:
                outcome, end, cause = DEATH, int(graded.start[row]), fatal[int(spans.scale[i])]
            elif who in chart.death:
                outcome, (end, cause) = DEATH, chart.death[who]
        out.append((first, i, outcome, end))
        causes.append(cause)
        first = -1
    begin, stop, how, when = np.array(out, np.int64).T
    return Found(begin, stop, how, when, causes)


def _micros(moment: datetime | None) -> int:
    if moment is None:
        return INF
    if moment.tzinfo is None:
        raise TocsinError(f"{moment} has no time zone\n  fix: give a time zone, for example {moment}Z")
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
