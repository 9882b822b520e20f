"""Findings that rest on what was given or charted, not on a value: `given`, `charted`, `ever`."""

from __future__ import annotations

from dataclasses import replace

import ibis

from tocsin.definitions.scale import measures_of
from tocsin.definitions.schema import Finding, Scale
from tocsin.grading.sql_engines import cannot
from tocsin.grading.sql_readings import Chart
from tocsin.grading.sql_spans import FOREVER, Column, Part, Spans, Table, hours, next_marked, number, whole


class Events:
    """The event findings of one scale over one chart."""

    def __init__(self, bench: Spans, chart: Chart, scale: Scale) -> None:
        self.bench = bench
        self.chart = chart
        self.scale = scale
        self.lib = chart.lib

    def rows(self, finding: Finding) -> Table:
        """The rows at which something of a `given` or `ever` finding was given."""
        facts = self.chart.facts
        kept = []
        for name in dict.fromkeys(measures_of(finding, self.lib)):
            measure = self.lib.measure(name)
            rows = facts.filter(facts.measure == name)
            text = rows.text.fill_null("")
            if measure.kind == "infusion":
                rows = rows.filter((text == "push") | rows.value.isnull() | (rows.value > 0))
            elif measure.kind == "event":
                rows = rows.filter(text != "absent")
            else:
                continue
            if finding.one_of:
                rows = rows.filter(rows.text.isin(finding.one_of))
            if measure.attribution is not None:
                rows = rows.filter(rows.pre == 0)
            kept.append(rows.select("k", "t", "stop", "measure"))
        if not kept:
            return facts.filter(ibis.literal(False)).select("k", "t", "stop", "measure")
        return ibis.union(*kept, distinct=True) if len(kept) > 1 else kept[0].distinct()

    def given(self, finding: Finding) -> Table:
        if finding.bound is not None and (finding.op != "at_least" or not isinstance(finding.bound, float)):
            raise cannot(self.scale, finding, f"given {finding.op}")
        least = finding.bound if isinstance(finding.bound, float) else 1.0
        names = list(dict.fromkeys(measures_of(finding, self.lib)))
        kinds: dict[str | None, list[str]] = {}
        for name in names:
            kinds.setdefault(self.lib.measure(name).attribution, []).append(name)
        if len(kinds) > 1:
            if least > 1:
                raise cannot(
                    self.scale, finding, "given (at_least 2 of measures attributed in different ways)"
                )
            tables = [self.given(replace(finding, items=tuple(group))) for group in kinds.values()]
            either: list[Part] = [(table, {"a": "lo"}) for table in tables]
            return self.bench.steps(either, lambda run: run.a > 0, lambda run: run.a > 0)
        events = self.rows(finding)
        if finding.within_hours is not None:
            instants = events.select("k", "t").distinct()
            spans = instants.select("k", s=instants.t, e=instants.t + hours(finding.within_hours))
        else:
            spans = self._lasting_events(finding, events)
        parts: list[Part] = [(self.bench.keep(self.bench.clip(spans)), {"g": 1}), *self.chart.masked(names)]
        masked = len(parts) > 1

        def enough(run: Table) -> Column:
            held = run.g >= least
            return held & (run.m == 0) if masked else held

        return self.bench.steps(parts, enough, enough)

    def _lasting_events(self, finding: Finding, events: Table) -> Table:
        """Events as spans to their end, their hold, or the next row that says they are absent."""
        facts = self.chart.facts
        names = list(dict.fromkeys(measures_of(finding, self.lib)))
        absent = facts.filter(facts.measure.isin(names) & (facts.text == "absent"))
        absent = absent.select(ak="k", am="measure", at="t")
        holds = {
            name: hours(hold)
            for name in names
            if (
                hold := finding.hold_hours
                if finding.hold_hours is not None
                else self.lib.measure(name).hold_hours
            )
            is not None
        }
        reach: Column = ibis.literal(FOREVER)
        if holds:
            reach = ibis.cases(
                *[(events.measure == name, events.t + hold) for name, hold in holds.items()], else_=FOREVER
            )
        spans = events.mutate(e=ibis.coalesce(events.stop, reach).cast("int64"))
        ended = spans.left_join(
            absent, [spans.k == absent.ak, spans.measure == absent.am, absent.at > spans.t]
        )
        cut = ended.group_by("k", "t", "measure").aggregate(
            e=ibis.least(ended.e.max(), ended["at"].min().fill_null(FOREVER))
        )
        # Two drugs given at one instant are one instant.
        spans = cut.group_by("k", "t").aggregate(e=cut.e.max()).select("k", s="t", e="e")
        return spans.filter(spans.s < spans.e)

    def charted(self, finding: Finding) -> Table:
        facts = self.chart.facts
        rows = facts.filter(facts.measure.isin(sorted(set(measures_of(finding, self.lib)))))
        rows = rows.filter(rows.text.fill_null("") != "unusable").select("k", "t").distinct()
        spans = self.bench.clip(rows.select("k", s=rows.t, e=rows.t + hours(finding.within_hours or 0.0)))
        return self.bench.steps(
            [(self.bench.keep(spans), {"g": 1})], lambda run: run.g > 0, lambda run: run.g > 0
        )

    def ever(self, finding: Finding, after: Table, loud: Table) -> Table:
        """Set by an event while `after` holds, cleared once `until_quiet` has been quiet for long enough."""
        given = self.rows(finding)
        given = self.bench.keep(given.filter(given.t.notnull()).select("k", "t").distinct())
        quiet_for = hours(finding.quiet_hours or 0.0)
        parts: list[Part] = [(loud, {"q": "lo"})]
        quiet = self.bench.tile(parts, lambda run: {"q": number(run.q > 0)})
        quiet = quiet.filter((quiet.q == 0) & (quiet.s + quiet_for <= quiet.e))
        quiet = self.bench.keep(quiet.select("k", "e", clear=quiet.s + quiet_for))
        lo, hi = (
            self._latched(given, after.filter(after[end] == 1), quiet, quiet_for) for end in ("lo", "hi")
        )
        return self.bench.both(lo, hi)

    def _latched(self, given: Table, after: Table, quiet: Table, quiet_for: int) -> Table:
        """From each setting to its clearing; `quiet` has the instant each silence clears at, and its end."""
        while_ = after.select(wk="k", ws="s", we="e")
        sets = given.join(while_, [given.k == while_.wk, while_.ws <= given.t, given.t < while_.we])
        yes, no = whole(1), whole(0)
        events = (
            ibis.union(
                sets.select("k", "t", on=yes, mark=no),
                quiet.select("k", t="clear", on=no, mark=yes),
                distinct=False,
            )
            .group_by("k", "t")
            .aggregate(on=ibis._.on.max(), mark=ibis._.mark.max())
        )
        until = next_marked(events, events.mark, "until")
        until = until.filter(until.on == 1)
        # Set in a silence that has cleared already: that silence clears again, as long after the setting.
        late = quiet.select(qk="k", qs="clear", qe="e")
        late = until.left_join(late, [until.k == late.qk, late.qs <= until.t, until.t < late.qe])
        again = ibis.ifelse(late.t + quiet_for <= late.qe, late.t + quiet_for, FOREVER).fill_null(FOREVER)
        return late.select("k", s=late.t, e=ibis.least(late.until, again))
