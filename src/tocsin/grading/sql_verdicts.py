"""What a finding says of one interval of possible values, as SQL conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import ibis

from tocsin.definitions.schema import Finding, Measure
from tocsin.grading.sql_readings import HUGE, NEAR, Channel, Chart
from tocsin.grading.sql_spans import FOREVER, Column, Spans, Table, hours, number, whole

#: What an unknown age is read as, in years (docs/grading.md); such an answer is flagged `adult-assumed`.
ADULT = 18.0
ENDS = ("low", "low_open", "high", "high_open")


def compare(op: str, row: Any, bound: Any) -> tuple[Column, Column]:
    """(yes: every value of the row's interval satisfies the bound; no: none does)."""
    slack = NEAR * (abs(bound) if isinstance(bound, int | float) else bound.abs())

    def near(value: Column) -> Column:
        return (value - bound).abs() <= slack

    low_is, high_is = near(row.low), near(row.high)
    low_over, high_under = (row.low > bound) & ~low_is, (row.high < bound) & ~high_is
    if op == "at_least":
        return low_over | low_is, high_under | (high_is & (row.high_open == 1))
    if op == "above":
        return low_over | (low_is & (row.low_open == 1)), high_under | high_is
    if op == "at_most":
        return high_under | high_is, low_over | (low_is & (row.low_open == 1))
    return high_under | (high_is & (row.high_open == 1)), low_over | low_is


def among(words: Sequence[str], measure: Measure, row: Any) -> tuple[Column, Column]:
    """(yes, no) for `one_of`: all, or none, of the words the interval leaves possible are in the list."""
    inside = [float(place) for place, word in enumerate(measure.words) if word in words]
    first, last = ibis.greatest(row.low, 0.0), ibis.least(row.high, float(len(measure.words) - 1))
    found = sum((number((first <= place) & (last >= place)) for place in inside), whole(0))
    return found == (last - first + 1).round().cast("int64"), found == 0


def against(reference: str, row: Table) -> dict[str, Column]:
    """The interval's four ends, seen from the baseline (columns b_low, b_high and their flags)."""
    upwards = {
        "low_open": ibis.greatest(row.low_open, row.b_high_open),
        "high_open": ibis.greatest(row.high_open, row.b_low_open),
    }
    downwards = {"low_open": upwards["high_open"], "high_open": upwards["low_open"]}
    if reference == "drop_from_baseline":
        return {
            "low": ibis.greatest(row.b_low - row.high, -HUGE),
            "high": ibis.least(row.b_high - row.low, HUGE),
            "low_open": ibis.greatest(row.high_open, row.b_low_open),
            "high_open": ibis.greatest(row.low_open, row.b_high_open),
        }
    # Of a baseline that is not above 0 no multiple says anything.
    some = row.b_low > 0.0
    least = row.low / ibis.ifelse(some, ibis.ifelse(row.low >= 0.0, row.b_high, row.b_low), 1.0)
    most = row.high / ibis.ifelse(some, row.b_low, 1.0)
    if reference == "times_baseline":
        return {"low": ibis.ifelse(some, least, -HUGE), "high": ibis.ifelse(some, most, HUGE), **upwards}
    return {
        "low": ibis.ifelse(some & (row.high < HUGE), 100.0 * (1 - most), -HUGE),
        "high": ibis.ifelse(some & (row.low > -HUGE), 100.0 * (1 - least), HUGE),
        **downwards,
    }


class Verdicts:
    """Judges the standing readings of a channel by a finding's bound."""

    def __init__(self, bench: Spans, chart: Chart) -> None:
        self.bench = bench
        self.chart = chart
        self._ages: Table | None = None

    def channel(self, finding: Finding) -> Channel:
        """The channel a finding of form `measure` reads."""
        reference = finding.reference if finding.reference in ("times_uln", "times_lln") else None
        unit = finding.unit if reference is None and finding.bound != "age-limit" else None
        if unit == self.chart.lib.measure(finding.measure or "").unit:
            unit = None
        return Channel(finding.measure or "", finding.method, reference, unit, finding.hold_hours)

    def of(self, finding: Finding) -> Table:
        """Spans (k, s, e) with the reading's instant t, its method and pre, and `yes` and `no` as 0 or 1.

        Where no row lies, the finding is missing. What lies before a dose is judged like the rest.
        """
        channel = self.channel(finding)
        measure = self.chart.lib.measure(channel.measure)
        rows = self.chart.standing(channel)
        if finding.bound == "age-limit":
            rows = self._age_limited(rows, channel, measure)
            yes, no = compare("below", rows, rows.bar)
            usual = _Interval(rows.b_low, rows.b_high, rows.b_low_open, rows.b_high_open)
            chronic = compare("below", usual, rows.bar)[0].fill_null(False)
            softened = ibis.greatest(
                rows.b_low * (1 - (measure.chronic_fall_percent or 0.0) / 100.0),
                rows.b_low - (measure.chronic_fall or 0.0),
            )
            yes_then, no_then = compare("at_most", rows, softened)
            yes, no = ibis.ifelse(chronic, yes_then, yes), ibis.ifelse(chronic, no_then, no)
        elif finding.reference == "worse_than_baseline":
            rows = self._with_baseline(rows, channel)
            worse_low = measure.worse == "low" and measure.kind == "number"
            yes, no = self._worse(rows, worse_low)
        elif finding.reference in ("times_baseline", "drop_from_baseline", "percent_drop_from_baseline"):
            rows = self._with_baseline(rows, channel)
            rows = rows.mutate(**against(finding.reference, rows))
            yes, no = compare(finding.op or "", rows, finding.bound)
        elif finding.one_of:
            yes, no = among(finding.one_of, measure, rows)
        else:
            yes, no = compare(finding.op or "", rows, finding.bound)
        if measure.kind == "infusion" and finding.if_missing != "unknown":
            lapsed = rows.lapsed == 1
            yes = ibis.ifelse(lapsed, finding.if_missing == "yes", yes)
            no = ibis.ifelse(lapsed, finding.if_missing == "no", no)
        rows = rows.mutate(yes=number(yes), no=number(no))
        if finding.new_since_baseline:
            rows = self._not_new(rows, finding, channel, measure)
        return self.bench.keep(rows.select("k", "s", "e", "t", "method", "pre", "yes", "no"))

    def _worse(self, rows: Table, worse_low: bool) -> tuple[Column, Column]:
        """(yes, no): the value lies on the worse side of the baseline, both as intervals."""
        if worse_low:
            yes, _ = compare("below", rows, rows.b_low)
            _, no = compare("below", rows, rows.b_high)
            return yes, no
        yes, _ = compare("above", rows, rows.b_high)
        _, no = compare("above", rows, rows.b_low)
        return yes, no

    def _with_baseline(self, rows: Table, channel: Channel) -> Table:
        """The spans of patients with a baseline, and it in columns b_low, b_high, b_low_open, b_high_open."""
        base = self.baseline(channel)
        return rows.join(base.select("k", **{f"b_{end}": base[end] for end in ENDS}), "k")

    def _not_new(self, rows: Table, finding: Finding, channel: Channel, measure: Measure) -> Table:
        """A yes becomes no where the baseline already satisfied the bound."""
        base = self.baseline(channel)
        if finding.one_of:
            had, _ = among(finding.one_of, measure, base)
        else:
            had, _ = compare(finding.op or "", base, finding.bound)
        base = base.select("k", had=number(had))
        rows = rows.join(base, "k", how="left")
        old = (rows.had.fill_null(0) == 1) & (rows.yes == 1)
        nothing, surely = whole(0), whole(1)
        return rows.mutate(yes=ibis.ifelse(old, nothing, rows.yes), no=ibis.ifelse(old, surely, rows.no))

    def _age_limited(self, rows: Table, channel: Channel, measure: Measure) -> Table:
        """The spans cut where the age changes, each with its limit `bar` and the baseline (or null)."""
        ages = self.ages()
        limit = ibis.cases(
            *[
                (
                    (ages.age >= band.age_from) & (ages.age < min(band.age_below, HUGE)),
                    band.below + band.plus_per_year * ages.age,
                )
                for band in measure.limits
            ]
        )
        spans = ages.select("k", "from_", "to_", bar=limit)
        cut = rows.join(spans, [rows.k == spans.k, rows.s < spans.to_, spans.from_ < rows.e])
        cut = cut.mutate(s=ibis.greatest(cut.s, cut.from_), e=ibis.least(cut.e, cut.to_)).drop("from_", "to_")
        cut = cut.drop("k_right") if "k_right" in cut.columns else cut
        base = self.baseline(channel)
        base = base.select("k", **{f"b_{end}": base[end] for end in ENDS})
        joined = cut.join(base, "k", how="left")
        return joined.drop("k_right") if "k_right" in joined.columns else joined

    def baseline(self, channel: Channel) -> Table:
        """The channel's baseline as an interval: one row (k, low, low_open, high, high_open), or none."""
        measure = self.chart.lib.measure(channel.measure)
        read = self.chart.readings(channel)
        joined = read.filter(read.pre == 1).join(self.bench.universe, "k")
        window = hours(measure.baseline_hours or 0.0)
        near = joined.filter((joined.t >= joined.u0 - window) & (joined.t < joined.u0))
        ends = ("low", "low_open", "high", "high_open")
        if measure.baseline_statistic == "last":
            latest = near.mutate(_last=near.t.max().over(ibis.window(group_by="k")))
            return latest.filter(latest.t == latest._last).select("k", *ends)
        found = self._middle(near, "low").join(self._middle(near, "high"), "k")
        spread = number(found.low != found.high)
        return found.mutate(low_open=spread, high_open=spread).select("k", *ends)

    def _middle(self, rows: Table, end: str) -> Table:
        """The median of one end of the intervals, by key; between two middle values their mean."""
        walk = ibis.window(group_by="k", order_by=[rows[end], rows.t])
        ranked = rows.mutate(
            _n=ibis.row_number().over(walk).cast("int64"),
            _of=rows.k.count().over(ibis.window(group_by="k")).cast("int64"),
        )
        # Ranks count from 0: the middle one, or the middle two.
        middle = ranked.filter((ranked._n * 2 >= ranked._of - 2) & (ranked._n * 2 <= ranked._of))
        # at most two are left; PostgreSQL's own mean squares its values, which `HUGE` does not survive
        mean = (middle[end].min() + middle[end].max()) / 2
        return middle.group_by("k").aggregate(**{end: mean})

    def ages(self) -> Table:
        """The patient's age in years on [from_, to_), over all time; 18 where nobody charted it; kept."""
        if self._ages is None:
            adult = ADULT
            read = self.chart.lapses(Channel("age"))
            age = ibis.ifelse(read.low == read.high, read.low, adult)
            told = read.select("k", from_=read.t, to_=ibis.least(read.halt, read.nxt), age=age)
            lapsed = read.filter(read.halt < read.nxt)
            lapsed = lapsed.select("k", from_=lapsed.halt, to_=lapsed.nxt, age=ibis.literal(adult))
            first = read.group_by("k").aggregate(first=read.t.min())
            joined = self.bench.universe.join(first, "k", how="left")
            until = joined.select(
                joined.k,
                from_=whole(-FOREVER),
                to_=joined.first.fill_null(FOREVER),
                age=ibis.literal(adult),
            )
            self._ages = self.bench.keep(ibis.union(told, lapsed, until, distinct=False))
        return self._ages


class _Interval(NamedTuple):
    """Four columns as one interval."""

    low: Column
    high: Column
    low_open: Column
    high_open: Column
