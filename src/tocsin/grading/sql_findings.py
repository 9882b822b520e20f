"""Each finding of a scale as a steps table, worked out once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ibis

from tocsin.definitions.schema import Finding, Row, Scale
from tocsin.grading.sql_engines import cannot
from tocsin.grading.sql_events import Events
from tocsin.grading.sql_readings import HUGE, Channel, Chart
from tocsin.grading.sql_spans import MINUTE, Column, Part, Spans, Table, hours, neighbours, number, whole
from tocsin.grading.sql_verdicts import Verdicts, compare


class Findings:
    """The findings of one scale over one chart."""

    def __init__(self, bench: Spans, chart: Chart, scale: Scale) -> None:
        self.bench = bench
        self.chart = chart
        self.scale = scale
        self.lib = chart.lib
        self.verdicts = Verdicts(bench, chart)
        self.events = Events(bench, chart, scale)
        self._whole: dict[str, Table] = {}
        self._plain: dict[str, Table] = {}
        self._judged: dict[str, Table] = {}

    def __getitem__(self, name: str) -> Table:
        """The steps of a finding, its memory applied."""
        if name not in self._whole:
            self._whole[name] = self._remember(self.scale.findings[name])
        return self._whole[name]

    def plain(self, name: str) -> Table:
        """The steps of a finding before its memory."""
        if name not in self._plain:
            finding = self.scale.findings[name]
            events = self.events
            forms: Mapping[str, Callable[[Finding], Table]] = {
                "measure": self._measured,
                "weighted_sum": self._summed,
                "rule": self.rule,
                "count_of": self._counted,
                "first_known": self._first_known,
                "given": events.given,
                "charted": events.charted,
                "ever": lambda said: events.ever(said, self[said.after or ""], self[said.until_quiet or ""]),
            }
            if finding.form not in forms:
                raise cannot(self.scale, finding, finding.form)
            self._plain[name] = forms[finding.form](finding)
        return self._plain[name]

    # Combinations

    def rule(self, said: Finding | Row) -> Table:
        """`all`, `any` and `none`: the minimum of the parts that are there."""
        parts: list[Part] = []
        for group, names in (("a", said.all), ("y", said.any), ("n", said.none)):
            parts += [
                (self[name], {f"{group}_lo": "lo", f"{group}_hi": "hi"}) for name in dict.fromkeys(names)
            ]
        every = len(dict.fromkeys(said.all))

        def holds(run: Table, sure: str, ruled_out: str) -> Column:
            conditions = []
            if said.all:
                conditions.append(run[f"a_{sure}"] >= every)
            if said.any:
                conditions.append(run[f"y_{sure}"] > 0)
            if said.none:
                conditions.append(run[f"n_{ruled_out}"] == 0)
            return ibis.and_(*conditions)

        return self.bench.steps(parts, lambda run: holds(run, "lo", "hi"), lambda run: holds(run, "hi", "lo"))

    def _counted(self, finding: Finding) -> Table:
        if finding.op != "at_least" or not isinstance(finding.bound, float):
            raise cannot(self.scale, finding, f"count_of {finding.op}")
        least = finding.bound
        parts: list[Part] = [(self[name], {"a": "lo", "b": "hi"}) for name in dict.fromkeys(finding.items)]
        return self.bench.steps(parts, lambda run: run.a >= least, lambda run: run.b >= least)

    def _first_known(self, finding: Finding) -> Table:
        parts: list[Part] = [
            (self[name], {f"lo{place}": "lo", f"hi{place}": "hi"}) for place, name in enumerate(finding.items)
        ]
        count = len(finding.items)

        def value(run: Table, otherwise: bool) -> Column:
            said: Column = ibis.literal(otherwise)
            for place in reversed(range(count)):
                lo, hi = run[f"lo{place}"] > 0, run[f"hi{place}"] > 0
                said = ibis.cases((lo, True), (~hi, False), else_=said)
            return said

        return self.bench.steps(parts, lambda run: value(run, False), lambda run: value(run, True))

    # Readings

    def judged(self, name: str) -> Table:
        """The verdicts of a `measure` finding on its standing readings."""
        if name not in self._judged:
            self._judged[name] = self.verdicts.of(self.scale.findings[name])
        return self._judged[name]

    def _missing(self, finding: Finding) -> tuple[bool, bool]:
        """(certain yes, not certain no) where the channel holds no reading."""
        if self.lib.measure(finding.measure or "").kind == "infusion" and isinstance(finding.bound, float):
            # A drug never charted is not running: its rate is 0.
            zero = {"at_least": finding.bound <= 0, "above": finding.bound < 0, "at_most": finding.bound >= 0}
            runs = zero.get(finding.op or "", finding.bound > 0)
            return runs, runs
        return finding.if_missing == "yes", finding.if_missing != "no"

    def _spread(self, verdicts: Table, missing: tuple[bool, bool], measures: Sequence[str]) -> Table:
        """Verdicts on spans as steps, silence and another cause filled in."""
        spans = self.bench.keep(self.bench.clip(verdicts))
        if any(self.lib.measure(name).attribution for name in measures) and "pre" in spans.columns:
            # What was read before the dose proves nothing after it.
            spans = spans.mutate(yes=ibis.ifelse(spans.pre == 1, whole(0), spans.yes))
        possible = spans.mutate(may=1 - spans.no)
        parts: list[Part] = [(possible, {"c": 1, "y": "yes", "p": "may"}), *self.chart.masked(measures)]
        masked = len(parts) > 1

        def shown(run: Table, column: str, silent: bool) -> Column:
            value = ibis.ifelse(run.c > 0, run[column] > 0, silent)
            return value & (run.m == 0) if masked else value

        return self.bench.steps(
            parts, lambda run: shown(run, "y", missing[0]), lambda run: shown(run, "p", missing[1])
        )

    def _measured(self, finding: Finding) -> Table:
        plain = self._spread(self.judged(finding.id), self._missing(finding), [finding.measure or ""])
        if finding.within_hours is None:
            return plain
        lasting = self._lasting(finding)
        masks = self.chart.masked([finding.measure or ""])
        parts: list[Part] = [(lasting, {"w": 1}), (plain, {"b": "hi"}), *masks]

        def open_to(run: Table, condition: Column) -> Column:
            return condition & (run.m == 0) if masks else condition

        return self.bench.steps(
            parts, lambda run: open_to(run, run.w > 0), lambda run: open_to(run, (run.w > 0) | (run.b > 0))
        )

    def _lasting(self, finding: Finding) -> Table:
        """The spans for which readings that satisfy a bound with `within_hours` keep it satisfied."""
        measure = self.lib.measure(finding.measure or "")
        judged = self.judged(finding.id)
        read = judged.filter(judged.s == judged.t)
        walk = neighbours("t")
        reach = hours(finding.within_hours or 0.0)
        read = read.mutate(until=read.t + reach)
        if measure.spike_minutes is not None:
            soon = round(measure.spike_minutes * MINUTE)
            read = read.mutate(
                _t=read.t.lead().over(walk),
                _no=read.no.lead().over(walk),
                _method=read.method.lead().over(walk),
                _before=read.t.lag().over(walk),
                _yes=read.yes.lag().over(walk),
            )
            contradicted = (
                (read._no == 1) & (read._t - read.t <= soon) & (read._method == read.method)
            ).fill_null(False)
            supported = ((read._yes == 1) & (read.t - read._before <= soon)).fill_null(False)
            read = read.mutate(
                until=ibis.ifelse(contradicted & ~supported, ibis.least(read.until, read._t), read.until)
            )
        counts = read.filter(read.yes == 1)
        if measure.attribution is not None:
            counts = counts.filter(counts.pre == 0)
        return self.bench.keep(self.bench.clip(counts.select("k", s="t", e="until")))

    def _summed(self, finding: Finding) -> Table:
        """The weighted sum over the rates standing at each instant."""
        universe = self.bench.universe
        standing = []
        for term in finding.terms:
            spans = self.chart.standing(Channel(term.measure, None, None, term.unit, finding.hold_hours))
            standing.append(self.bench.keep(self.bench.clip(spans)))
        points = [universe.select("k", t="u0"), universe.select("k", t="u1")]
        points += [spans.select("k", t=spans[end]) for spans in standing for end in ("s", "e")]
        instants = ibis.union(*points, distinct=True)
        pieces = instants.mutate(s=instants.t, e=instants.t.lead().over(neighbours("t")))
        pieces = self.bench.keep(pieces.filter(pieces.e.notnull()).drop("t"))
        shut = whole(0)
        zero = {"low": ibis.literal(0.0), "high": ibis.literal(0.0), "low_open": shut, "high_open": shut}
        sums = pieces.mutate(**zero)
        for term, spans in zip(finding.terms, standing, strict=True):
            measure = self.lib.measure(term.measure)
            if measure.attribution is not None:
                # A rate charted before the dose proves nothing after it: it may be anything down to 0.
                old = (spans.pre == 1) & (spans.low >= 0.0)
                spans = spans.mutate(
                    low=ibis.ifelse(old, 0.0, spans.low), low_open=ibis.ifelse(old, shut, spans.low_open)
                )
            sums = self._added(sums, spans, term.weight, 0.0 if measure.kind == "infusion" else HUGE)
        sums = self.bench.keep(sums)
        yes, no = compare(finding.op or "", sums, finding.bound)
        judged = sums.select("k", "s", "e", yes=number(yes), no=number(no))
        return self._spread(judged, (False, True), [term.measure for term in finding.terms])

    def _added(self, sums: Table, spans: Table, weight: float, blank: float) -> Table:
        """The sums with one term more; where nothing stands it lies between 0 and `blank`."""
        term = spans.select(
            xk="k", xs="s", xe="e", xlow="low", xhigh="high", xlow_open="low_open", xhigh_open="high_open"
        )
        joined = sums.left_join(term, [sums.k == term.xk, term.xs <= sums.s, sums.s < term.xe])
        low, high = joined.xlow.fill_null(0.0) * weight, joined.xhigh.fill_null(blank) * weight
        return joined.select(
            "k",
            "s",
            "e",
            low=joined.low + low,
            high=joined.high + high,
            low_open=ibis.greatest(joined.low_open, joined.xlow_open.fill_null(0)),
            high_open=ibis.greatest(joined.high_open, joined.xhigh_open.fill_null(0)),
        )

    # Memory

    def _remember(self, finding: Finding) -> Table:
        plain = self.plain(finding.id)
        if finding.for_hours is not None:
            return self._for_hours(finding, plain)
        if finding.confirmed_within_hours is not None:
            return self._confirmed(finding, plain)
        if finding.within_hours is not None and finding.form not in ("measure", "given", "charted"):
            reach = hours(finding.within_hours)
            spans = [self.bench.of(plain, column) for column in ("lo", "hi")]
            return self.bench.both(*[each.mutate(e=each.e + reach) for each in spans])
        return plain

    def _for_hours(self, finding: Finding, plain: Table) -> Table:
        long, gap = hours(finding.for_hours or 0.0), hours(finding.bridge_hours)
        found = []
        for column in ("lo", "hi"):
            spans = self.bench.of(plain, column)
            if column == "hi" and finding.until_then == "possible":
                found.append(spans)
                continue
            runs = self.bench.runs(spans, gap)
            late = runs.mutate(s=ibis.greatest(runs.s, runs.start + long))
            found.append(late.filter(late.s < late.e).select("k", "s", "e"))
        return self.bench.both(*found)

    def _readings_below(self, finding: Finding) -> list[str]:
        """The `measure` findings a combination rests on, itself if it is one."""
        if finding.form == "measure":
            return [finding.id]
        found: list[str] = []
        own = finding.items if finding.form in ("count_of", "first_known") else ()
        for name in (*own, *finding.all, *finding.any, *finding.none):
            found += self._readings_below(self.scale.findings[name])
        return list(dict.fromkeys(found))

    def _confirmed(self, finding: Finding, plain: Table) -> Table:
        inner = self.bench.keep(self.bench.of(plain, "lo"))
        low = []
        for name in self._readings_below(finding):
            steps = plain if name == finding.id else self[name]
            sure = steps.filter(steps.lo == 1).select(wk="k", ws="s", we="e")
            read = self.chart.readings(self.verdicts.channel(self.scale.findings[name]))
            own = read.join(sure, [read.k == sure.wk, sure.ws <= read.t, read.t < sure.we])
            low.append(own.select("k", "t"))
        if not low:
            raise cannot(self.scale, finding, "confirmed_within_hours (without a reading below it)")
        instants = ibis.union(*low, distinct=True) if len(low) > 1 else low[0].distinct()
        spans = inner.select(ik="k", s="s", e="e")
        at = instants.join(spans, [instants.k == spans.ik, spans.s <= instants.t, instants.t < spans.e])
        at = at.mutate(_before=at.t.lag().over(neighbours("t")))
        close = hours(finding.confirmed_within_hours or 0.0)
        starts = [at.filter((at.t - at._before <= close).fill_null(False)).select("k", "s", "e", at="t")]
        for name in finding.or_with:
            other = self[name]
            other = other.filter(other.lo == 1).select(ok="k", os="s", oe="e")
            met = inner.join(other, [inner.k == other.ok, inner.s < other.oe, other.os < inner.e])
            starts.append(met.select("k", "s", "e", at=ibis.greatest(met.s, met.os)))
        all_starts: Any = ibis.union(*starts, distinct=False) if len(starts) > 1 else starts[0]
        first = all_starts.group_by("k", "s", "e").aggregate(at=all_starts["at"].min())
        return self.bench.both(first.select("k", s=first["at"], e=first.e), self.bench.of(plain, "hi"))
