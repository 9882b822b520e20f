"""Each finding of a scale as a steps table, worked out once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ibis

from tocsin.definitions.load import measures_of
from tocsin.definitions.schema import Finding, Row, Scale
from tocsin.grading.sql_readings import HUGE, Channel, Chart, SqlCannotSay
from tocsin.grading.sql_spans import (
    FOREVER,
    MINUTE,
    Column,
    Part,
    Spans,
    Table,
    hours,
    neighbours,
    next_marked,
    number,
)
from tocsin.grading.sql_verdicts import Verdicts, compare


class Findings:
    """The findings of one scale over one chart."""

    def __init__(self, bench: Spans, chart: Chart, scale: Scale) -> None:
        self.bench = bench
        self.chart = chart
        self.scale = scale
        self.lib = chart.lib
        self.verdicts = Verdicts(bench, chart)
        self._whole: dict[str, Table] = {}
        self._plain: dict[str, Table] = {}
        self._judged: dict[str, Table] = {}
        self._masks: dict[str, Table] = {}

    def __getitem__(self, name: str) -> Table:
        """The steps of a finding, its memory applied."""
        if name not in self._whole:
            self._whole[name] = self._remember(self.scale.findings[name])
        return self._whole[name]

    def plain(self, name: str) -> Table:
        """The steps of a finding before its memory."""
        if name not in self._plain:
            finding = self.scale.findings[name]
            forms: Mapping[str, Callable[[Finding], Table]] = {
                "measure": self._measured, "given": self._given, "charted": self._charted, "ever": self._ever,
                "weighted_sum": self._summed, "count_of": self._counted, "first_known": self._first_known,
                "rule": self.rule,
            }
            if finding.form not in forms:
                raise self._cannot(finding, finding.form)
            self._plain[name] = forms[finding.form](finding)
        return self._plain[name]

    def _cannot(self, finding: Finding, word: str) -> SqlCannotSay:
        return SqlCannotSay(
            f"scale `{self.scale.id}`, finding `{finding.id}`: SQL cannot say `{word}` as it is used here\n"
            "  why: a grade that skipped the word would be another grade\n"
            "  fix: grade this scale from Parquet without SQL"
        )

    # Combinations

    def rule(self, said: Finding | Row) -> Table:
        """`all`, `any` and `none`: the minimum of the parts that are there."""
        parts: list[Part] = []
        for group, names in (("a", said.all), ("y", said.any), ("n", said.none)):
            parts += [(self[name], {f"{group}_lo": "lo", f"{group}_hi": "hi"}) for name in dict.fromkeys(names)]
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
            raise self._cannot(finding, f"count_of {finding.op}")
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

    def _masked(self, measures: Sequence[str]) -> list[Part]:
        """While `m` is above 0, another cause is charted for one of these measures."""
        kinds = {self.lib.measure(name).attribution for name in measures}
        return [(self._mask(kind), {"m": 1}) for kind in sorted(kind for kind in kinds if kind)]

    def _mask(self, category: str) -> Table:
        if category not in self._masks:
            self._masks[category] = self.bench.keep(self.bench.clip(self.chart.masks(category)))
        return self._masks[category]

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
            spans = spans.mutate(yes=ibis.ifelse(spans.pre == 1, number(ibis.literal(False)), spans.yes))
        possible = spans.mutate(may=1 - spans.no)
        parts: list[Part] = [(possible, {"c": 1, "y": "yes", "p": "may"}), *self._masked(measures)]
        masked = len(parts) > 1

        def shown(run: Table, column: str, silent: bool) -> Column:
            value = ibis.ifelse(run.c > 0, run[column] > 0, silent)
            return value & (run.m == 0) if masked else value

        return self.bench.steps(parts, lambda run: shown(run, "y", missing[0]), lambda run: shown(run, "p", missing[1]))

    def _measured(self, finding: Finding) -> Table:
        plain = self._spread(self.judged(finding.id), self._missing(finding), [finding.measure or ""])
        if finding.within_hours is None:
            return plain
        lasting = self._lasting(finding)
        masks = self._masked([finding.measure or ""])
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
                _t=read.t.lead().over(walk), _no=read.no.lead().over(walk), _method=read.method.lead().over(walk),
                _before=read.t.lag().over(walk), _yes=read.yes.lag().over(walk),
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
        shut = number(ibis.literal(False))
        zero = {"low": ibis.literal(0.0), "high": ibis.literal(0.0), "low_open": shut, "high_open": shut}
        sums = pieces.mutate(**zero)
        for term, spans in zip(finding.terms, standing, strict=True):
            measure = self.lib.measure(term.measure)
            if measure.attribution is not None:
                # A rate charted before the dose proves nothing after it: it may be anything down to 0.
                old = (spans.pre == 1) & (spans.low >= 0.0)
                spans = spans.mutate(low=ibis.ifelse(old, 0.0, spans.low), low_open=ibis.ifelse(old, shut, spans.low_open))
            sums = self._added(sums, spans, term.weight, 0.0 if measure.kind == "infusion" else HUGE)
        sums = self.bench.keep(sums)
        yes, no = compare(finding.op or "", sums, finding.bound)
        judged = sums.select("k", "s", "e", yes=number(yes), no=number(no))
        return self._spread(judged, (False, True), [term.measure for term in finding.terms])

    def _added(self, sums: Table, spans: Table, weight: float, blank: float) -> Table:
        """The sums with one term more; where nothing stands it lies between 0 and `blank`."""
        term = spans.select(xk="k", xs="s", xe="e", xlow="low", xhigh="high", xlow_open="low_open",
                            xhigh_open="high_open")
        joined = sums.left_join(term, [sums.k == term.xk, term.xs <= sums.s, sums.s < term.xe])
        low, high = joined.xlow.fill_null(0.0) * weight, joined.xhigh.fill_null(blank) * weight
        return joined.select(
            "k", "s", "e", low=joined.low + low, high=joined.high + high,
            low_open=ibis.greatest(joined.low_open, joined.xlow_open.fill_null(0)),
            high_open=ibis.greatest(joined.high_open, joined.xhigh_open.fill_null(0)),
        )

    # Events

    def _events(self, finding: Finding) -> Table:
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

    def _given(self, finding: Finding) -> Table:
        if finding.bound is not None and (finding.op != "at_least" or not isinstance(finding.bound, float)):
            raise self._cannot(finding, f"given {finding.op}")
        least = finding.bound if isinstance(finding.bound, float) else 1.0
        names = list(dict.fromkeys(measures_of(finding, self.lib)))
        kinds: dict[str | None, list[str]] = {}
        for name in names:
            kinds.setdefault(self.lib.measure(name).attribution, []).append(name)
        if len(kinds) > 1:
            if least > 1:
                raise self._cannot(finding, "given (at_least 2 of measures attributed in different ways)")
            tables = [self._given(replace(finding, items=tuple(group))) for group in kinds.values()]
            either: list[Part] = [(table, {"a": "lo"}) for table in tables]
            return self.bench.steps(either, lambda run: run.a > 0, lambda run: run.a > 0)
        events = self._events(finding)
        if finding.within_hours is not None:
            instants = events.select("k", "t").distinct()
            spans = instants.select("k", s=instants.t, e=instants.t + hours(finding.within_hours))
        else:
            spans = self._lasting_events(finding, events)
        parts: list[Part] = [(self.bench.keep(self.bench.clip(spans)), {"g": 1}), *self._masked(names)]
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
            if (hold := finding.hold_hours if finding.hold_hours is not None else self.lib.measure(name).hold_hours)
            is not None
        }
        reach: Column = ibis.literal(FOREVER)
        if holds:
            reach = ibis.cases(
                *[(events.measure == name, events.t + hold) for name, hold in holds.items()], else_=FOREVER
            )
        spans = events.mutate(e=ibis.coalesce(events.stop, reach).cast("int64"))
        ended = spans.left_join(absent, [spans.k == absent.ak, spans.measure == absent.am, absent.at > spans.t])
        cut = ended.group_by("k", "t", "measure").aggregate(
            e=ibis.least(ended.e.max(), ended["at"].min().fill_null(FOREVER))
        )
        # Two drugs given at one instant are one instant.
        spans = cut.group_by("k", "t").aggregate(e=cut.e.max()).select("k", s="t", e="e")
        return spans.filter(spans.s < spans.e)

    def _charted(self, finding: Finding) -> Table:
        facts = self.chart.facts
        rows = facts.filter(facts.measure.isin(sorted(set(measures_of(finding, self.lib)))))
        rows = rows.filter(rows.text.fill_null("") != "unusable").select("k", "t").distinct()
        spans = self.bench.clip(rows.select("k", s=rows.t, e=rows.t + hours(finding.within_hours or 0.0)))
        return self.bench.steps([(self.bench.keep(spans), {"g": 1})], lambda run: run.g > 0, lambda run: run.g > 0)

    def _ever(self, finding: Finding) -> Table:
        """Set by an event while `after` holds, cleared once `until_quiet` has been quiet for long enough."""
        given = self._events(finding)
        given = self.bench.keep(given.filter(given.t.notnull()).select("k", "t").distinct())
        quiet_for = hours(finding.quiet_hours or 0.0)
        loud: list[Part] = [(self[finding.until_quiet or ""], {"q": "lo"})]
        quiet = self.bench.tile(loud, lambda run: {"q": number(run.q > 0)})
        quiet = quiet.filter((quiet.q == 0) & (quiet.s + quiet_for <= quiet.e))
        quiet = self.bench.keep(quiet.select("k", "e", clear=quiet.s + quiet_for))
        after = self[finding.after or ""]
        lo, hi = (self._latched(given, after.filter(after[end] == 1), quiet, quiet_for) for end in ("lo", "hi"))
        return self.bench.both(lo, hi)

    def _latched(self, given: Table, after: Table, quiet: Table, quiet_for: int) -> Table:
        """From each setting to its clearing; `quiet` has the instant each silence clears at, and its end."""
        while_ = after.select(wk="k", ws="s", we="e")
        sets = given.join(while_, [given.k == while_.wk, while_.ws <= given.t, given.t < while_.we])
        yes, no = number(ibis.literal(True)), number(ibis.literal(False))
        sets = self.bench.keep(sets.select("k", "t"))
        events = ibis.union(
            sets.select("k", "t", on=yes, mark=no), quiet.select("k", t="clear", on=no, mark=yes), distinct=False
        ).group_by("k", "t").aggregate(on=ibis._.on.max(), mark=ibis._.mark.max())
        until = next_marked(events, events.mark, "until")
        until = until.filter(until.on == 1)
        late = quiet.select(qk="k", qs="clear", qe="e")
        late = until.left_join(late, [until.k == late.qk, late.qs <= until.t, until.t < late.qe])
        late = self.bench.keep(late.select("k", "t", "until", "qs", "qe"))
        found = [late.filter(late.qs.isnull()).select("k", s="t", e="until")]
        # Set in a silence that has cleared already: that silence clears again, as long after the setting; what is
        # given meanwhile sets nothing new. Each turn of the loop is one more setting in the same silence.
        due = late.filter(late.qs.notnull()).mutate(due=late.qs)
        while True:
            ready = due.filter(due.t >= due.due)
            first = ready.group_by("k", "qs").aggregate(t=ready.t.min(), until=ready.until.min(), qe=ready.qe.min())
            first = self.bench.keep(first)
            if not self.bench.any(first):
                break
            again = ibis.ifelse(first.t + quiet_for <= first.qe, first.t + quiet_for, FOREVER)
            found.append(first.select("k", s=first.t, e=ibis.least(first.until, again)))
            following = first.select("k", "qs", due=first.t + quiet_for)
            due = late.inner_join(following, ["k", "qs"])
        return ibis.union(*found, distinct=False) if len(found) > 1 else found[0]

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
            raise self._cannot(finding, "confirmed_within_hours (without a reading below it)")
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
