"""Facts as SQL sees them: patients and their universes, channels of readings, and how long each stands.

A *key* k is one patient before the first dose, or the same patient from the first dose on: the two are graded
as two records (the second knows the facts of the first, marked `pre`), because what was proven before a dose
proves nothing after it. A reading is an interval of possible values; `HUGE` stands for "without bound".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import ibis

from tocsin.definitions.load import Library
from tocsin.definitions.schema import Measure
from tocsin.grading.sql_engines import SqlCannotSay, micros
from tocsin.grading.sql_spans import (
    FOREVER,
    Column,
    Part,
    Spans,
    Table,
    hours,
    neighbours,
    next_marked,
    number,
    whole,
)
from tocsin.units import Conversion, convert

HUGE = 1e300
#: A comparison forgives this part of the bound, so that binary fractions do not decide.
NEAR = 1e-9


@dataclass(frozen=True, slots=True)
class Channel:
    """What a finding reads: a measure, perhaps by one method, over a reference, in a unit, for a hold."""

    measure: str
    method: str | None = None
    reference: str | None = None
    unit: str | None = None
    hold_hours: float | None = None


def worded(text: Column, words: tuple[str, ...]) -> Column:
    """The place of a word in a list; null for a word that is not in it."""
    return ibis.cases(*[(text == word, float(place)) for place, word in enumerate(words)])


def exchange(unit: str, wanted: str) -> Conversion:
    """How one unit becomes another; body weight may stand in any power (a rate by kg is not one by kg2)."""
    bare = [re.sub(r"/kg\d*", "", each) for each in (unit, wanted)]
    found = [re.search(r"/kg(\d*)", each) for each in (unit, wanted)]
    if bare[0] != bare[1]:
        return convert(unit, wanted)
    powers = [int(each.group(1) or 1) if each else 0 for each in found]
    return Conversion("value", weight=powers[0] - powers[1])


class Chart:
    """The facts of one grading run inside the engine; with `as_of`, those recorded by then.

    `bench.universe` is set here. Raises `SqlCannotSay` for an engine nobody has tried.
    """

    def __init__(
        self, bench: Spans, facts: Table, lib: Library, used: set[str], as_of: int | None = None
    ) -> None:
        self.bench = bench
        self.lib = lib
        self._resolved: dict[Channel, Table] = {}
        self._standing: dict[Channel, Table] = {}
        self._changes: dict[str, Table] = {}
        self._masks: dict[str, Table] = {}
        con = bench.con
        if as_of is not None:
            facts = facts.filter(micros(con, ibis.coalesce(facts.recorded, facts.time)) <= as_of)
        numbers = ("value", "ref_low", "ref_high", "weight")
        facts = facts.mutate(
            **{name: ibis.ifelse(facts[name].isnan(), None, facts[name]) for name in numbers}
        )
        rows = facts.select(
            "patient_id",
            "measure",
            "text",
            "ref_low",
            "ref_high",
            "method",
            "source",
            "replaces",
            "weight",
            "value",
            t=micros(con, facts.time),
            stop=micros(con, facts.end),
        )
        another = rows.source.isnull() | (rows.replaces != rows.source)
        corrected = (
            rows.filter(rows.replaces.notnull() & another).select("patient_id", source="replaces").distinct()
        )
        rows = rows.anti_join(corrected, ["patient_id", "source"])
        rows = rows.filter(rows.text.isnull() | (rows.text != "retracted")).drop("source", "replaces")
        deaths = rows.filter(rows.measure == "death").group_by("patient_id").aggregate(died=ibis._.t.min())
        rows = rows.left_join(deaths, "patient_id").drop("patient_id_right")
        rows = bench.keep(rows.filter(rows.died.isnull() | (rows.t <= rows.died)))
        therapies = lib.classes.get("therapy", ())
        dosed = rows.measure.isin(therapies) if therapies else ibis.literal(False)
        people = rows.group_by("patient_id").aggregate(
            first=rows.t.min(),
            dose=ibis.ifelse(dosed, rows.t, ibis.null("int64")).min(),
            died=rows.died.min(),
        )
        people = people.mutate(
            n=ibis.row_number().over(ibis.window(order_by=people.patient_id)).cast("int64")
        )
        people = bench.keep(people)
        before = people.select(
            "patient_id",
            "first",
            "died",
            k=people.n * 2,
            u0=people.first,
            u1=people.dose.fill_null(FOREVER),
            dosed=whole(0),
        )
        after = people.filter(people.dose.notnull())
        after = after.select(
            "patient_id",
            "first",
            "died",
            k=after.n * 2 + 1,
            u0=after.dose,
            u1=whole(FOREVER),
            dosed=whole(1),
        )
        keys = ibis.union(before, after, distinct=False)
        self.keys = bench.keep(keys.filter(keys.u0 < keys.u1))
        bench.universe = self.keys.select("k", "u0", "u1")
        wanted = rows.filter(rows.measure.isin(sorted(used | {"attribution"}))).drop("died")
        joined = wanted.join(self.keys, "patient_id")
        known = joined.filter((joined.dosed == 1) | (joined.t < joined.u1))
        known = known.mutate(pre=number(known.t < known.u0)).drop("u0", "u1", "first", "died", "dosed")
        infusions = [name for name in used if lib.measure(name).kind == "infusion"]
        # An infusion that ends where it begins is a row of value 0.
        push = known.text.fill_null("") == "push"
        nothing = known.measure.isin(infusions) & (known.stop == known.t) & ~push
        nothing = nothing.fill_null(False) if infusions else ibis.literal(False)
        self.facts = bench.keep(
            known.mutate(
                value=ibis.ifelse(nothing, 0.0, known.value),
                text=ibis.ifelse(nothing, ibis.null("string"), known.text),
                stop=ibis.ifelse(nothing, ibis.null("int64"), known.stop),
            )
        )
        self.rows = rows

    def readings(self, channel: Channel) -> Table:
        """One row per key and instant at which the channel was read, ties resolved; kept.

        Columns k, t, low, low_open, high, high_open, method, pre, stop (the latest end charted,
        or null) and unsaid (1 if one of the worst rows has no end).
        """
        if channel not in self._resolved:
            self._resolved[channel] = self.bench.keep(self._ties(channel))
        return self._resolved[channel]

    def _raw(self, channel: Channel) -> Table:
        """Every reading of the channel as an interval, in the channel's unit and over its reference."""
        measure = self.lib.measure(channel.measure)
        rows = self.facts.filter(self.facts.measure == measure.id)
        rows = rows.filter(rows.text.isnull() | (rows.text != "push"))
        if channel.method is not None:
            rows = rows.filter(rows.method == channel.method)
        if measure.kind == "category":
            place = worded(rows.text, measure.words)
            low, high = place.fill_null(0.0), place.fill_null(float(len(measure.words) - 1))
            low_open = high_open = whole(0)
        else:
            text = rows.text.fill_null("")
            blind = (text == "unusable") | rows.value.isnull()
            if measure.kind == "infusion":
                running = (rows.value.isnull() | (text == "running")) & (text != "unusable")
            else:
                running = ibis.literal(False)
            low = high = rows.value
            low_open, high_open = number(running | (text == ">")), number(text == "<")
            if measure.round_to:
                step = measure.round_to
                low = (low / step + 0.5 + NEAR).floor() * step
                # Just below a value rounds like it, unless it is itself half-way between two steps.
                high = ibis.ifelse(text == "<", (high / step - 0.5 - NEAR).ceil() * step, low)
                low_open = high_open = whole(0)
            least = 0.0 if measure.kind == "infusion" else -HUGE
            low = ibis.cases((running, 0.0), (blind | (text == "<"), least), else_=low)
            high = ibis.ifelse(running | blind | (text == ">"), HUGE, high)
        rows = rows.mutate(low=low, high=high, low_open=low_open, high_open=high_open)
        if channel.unit and measure.unit and channel.unit != measure.unit:
            rows = self._in_unit(rows, measure, channel.unit)
        if channel.reference in ("times_uln", "times_lln"):
            own, usual = (
                (rows.ref_high, measure.ref_high)
                if channel.reference == "times_uln"
                else (rows.ref_low, measure.ref_low)
            )
            limit = own.nullif(0.0) if usual is None else ibis.coalesce(own.nullif(0.0), usual)
            rows = rows.mutate(
                low=(rows.low / limit).fill_null(-HUGE), high=(rows.high / limit).fill_null(HUGE)
            )
        return rows

    def _in_unit(self, rows: Table, measure: Measure, unit: str) -> Table:
        """The interval in another unit; a rate above 0 that needs an unknown weight is above 0, no more."""
        change = exchange(measure.unit or "", unit)
        if change.becomes != "value" or (change.molar and not measure.molar_mass):
            raise SqlCannotSay(
                f"`{measure.id}` is in {measure.unit}, which does not become {unit}\n"
                "  fix: give the finding a unit of the same kind"
            )
        factor = change.num / change.den * (measure.molar_mass or 1.0) ** change.molar
        scale: Column = ibis.literal(factor)
        for _ in range(abs(change.weight)):
            scale = scale * rows.weight if change.weight > 0 else scale / rows.weight
        if not change.weight:
            return rows.mutate(low=(rows.low + change.shift) * scale, high=(rows.high + change.shift) * scale)
        nothing = (rows.low == 0.0) & (rows.high == 0.0)
        unknown = rows.weight.isnull() & ~nothing
        return rows.mutate(
            low=ibis.cases(
                (nothing | (unknown & (rows.low >= 0.0)), 0.0), (unknown, -HUGE), else_=rows.low * scale
            ),
            high=ibis.cases((nothing, 0.0), (unknown, HUGE), else_=rows.high * scale),
            low_open=ibis.ifelse(unknown & (rows.low > 0.0), whole(1), rows.low_open),
            high_open=ibis.ifelse(unknown, whole(0), rows.high_open),
        )

    def _ties(self, channel: Channel) -> Table:
        """Readings at one instant become the worst of them."""
        measure = self.lib.measure(channel.measure)
        rows = self._raw(channel)
        instant = ibis.window(group_by=["k", "t"])
        pick = "min" if measure.worse == "low" and measure.kind == "number" else "max"
        rows = rows.mutate(
            worst_low=getattr(rows.low, pick)().over(instant),
            worst_high=getattr(rows.high, pick)().over(instant),
        )
        if pick == "min":
            order = [rows.high, ibis.desc(rows.high_open), rows.low, rows.low_open]
        else:
            order = [ibis.desc(rows.low), ibis.desc(rows.low_open), ibis.desc(rows.high), rows.high_open]
        rows = rows.mutate(rank=ibis.rank().over(ibis.window(group_by=["k", "t"], order_by=order)))
        at_low, at_high, rules = rows.low == rows.worst_low, rows.high == rows.worst_high, rows["rank"] == 0
        # An open lower end lies above a closed one of the same value; an open upper end below.
        low_open = ibis.ifelse(at_low, rows.low_open, ibis.null("int64"))
        high_open = ibis.ifelse(at_high, rows.high_open, ibis.null("int64"))
        method = ibis.ifelse(rules, rows.method.fill_null(""), ibis.null("string"))
        said = rules & (rows.stop > rows.t).fill_null(False)
        rows = rows.mutate(
            low_open=low_open,
            high_open=high_open,
            method=method,
            stop=ibis.ifelse(said, rows.stop, ibis.null("int64")),
            unsaid=number(rules & ~said),
        )
        low_open, high_open = rows.low_open, rows.high_open
        return rows.group_by("k", "t").aggregate(
            low=rows.worst_low.min(),
            high=rows.worst_high.min(),
            low_open=low_open.min() if pick == "min" else low_open.max(),
            high_open=high_open.max() if pick == "min" else high_open.min(),
            method=rows.method.min().fill_null(""),
            stop=rows.stop.max(),
            unsaid=rows.unsaid.max(),
            pre=rows.pre.max(),
        )

    def changes(self, measure: str) -> Table:
        """The instants (k, t) at which a device reading names another word than the reading before it."""
        if measure not in self._changes:
            words = self.readings(Channel(measure))
            # What is not one certain word is no change.
            words = words.filter(words.low == words.high)
            walk = neighbours("t")
            words = words.mutate(_low=words.low.lag().over(walk))
            other = words._low.notnull() & (words._low != words.low)
            self._changes[measure] = self.bench.keep(words.filter(other).select("k", "t"))
        return self._changes[measure]

    def standing(self, channel: Channel) -> Table:
        """The spans (k, s, e) on which each reading stands, with its interval, `pre` and own instant t; kept.

        Not cut to the universe. Where no row lies the channel is missing (an infusion: not running).
        """
        if channel not in self._standing:
            infusion = self.lib.measure(channel.measure).kind == "infusion"
            make = self._infused if infusion else self._held
            self._standing[channel] = self.bench.keep(make(channel))
        return self._standing[channel]

    def lapses(self, channel: Channel) -> Table:
        """The readings, with the instants at which they stop standing.

        `halt` by themselves (`said` 1: as charted), `nxt` for the next one, `void` for a change of device.
        """
        hold = channel.hold_hours
        hold = self.lib.measure(channel.measure).hold_hours if hold is None else hold
        read = self.readings(channel)
        reach = whole(FOREVER) if hold is None else read.t + hours(hold)
        # Of tied rows the later lapse rules; a row without an end lapses with its hold.
        said = read.stop.notnull() & ((read.unsaid == 0) | (read.stop >= reach))
        rows = read.mutate(
            halt=ibis.ifelse(said, read.stop, reach),
            said=number(said),
            nxt=ibis.coalesce(read.t.lead().over(neighbours("t")), FOREVER),
        ).drop("stop", "unsaid")
        held_with = self.lib.measure(channel.measure).held_with
        return rows.mutate(void=whole(FOREVER)) if held_with is None else self._voided(rows, held_with)

    def _voided(self, rows: Table, device: str) -> Table:
        """Add `void`: the first change of the device after the reading."""
        changes = self.changes(device).mutate(mark=whole(1))
        marks = ibis.union(rows.select("k", "t", mark=whole(0)), changes, distinct=False)
        marks = marks.group_by("k", "t").aggregate(mark=ibis._.mark.max())
        return rows.join(next_marked(marks, marks.mark, "void").select("k", "t", "void"), ["k", "t"])

    def _held(self, channel: Channel) -> Table:
        rows = self.lapses(channel)
        spans = rows.mutate(s=rows.t, e=ibis.least(rows.halt, rows.nxt, rows.void))
        return spans.filter(spans.s < spans.e).drop("halt", "said", "nxt", "void")

    def _infused(self, channel: Channel) -> Table:
        """An infusion stands to its end or its hold; then it is stopped, or nobody knows."""
        rows = self.lapses(channel)
        on = rows.mutate(s=rows.t, e=ibis.least(rows.halt, rows.nxt), lapsed=whole(0))
        known = (rows.said == 1) | ((rows.low == 0.0) & (rows.high == 0.0))
        off = rows.mutate(
            s=rows.halt,
            e=rows.nxt,
            low=ibis.literal(0.0),
            high=ibis.ifelse(known, 0.0, HUGE),
            low_open=whole(0),
            high_open=whole(0),
            lapsed=number(~known),
            # Not running is no reading: as if the drug had never been charted.
            pre=whole(0),
        )
        both = ibis.union(on, off.select(*on.columns), distinct=False)
        return both.filter(both.s < both.e).drop("halt", "said", "nxt", "void")

    def masked(self, measures: Sequence[str]) -> list[Part]:
        """While `m` is above 0, a clinician has given one of these measures another cause."""
        kinds = {self.lib.measure(name).attribution for name in measures}
        for kind in kinds:
            if kind and kind not in self._masks:
                self._masks[kind] = self.bench.keep(self.bench.clip(self._causes(kind)))
        return [(self._masks[kind], {"m": 1}) for kind in sorted(kind for kind in kinds if kind)]

    def _causes(self, category: str) -> Table:
        """The spans on which this category has another cause than the syndrome graded."""
        rows = self.facts.filter(self.facts.measure == "attribution")
        rows = rows.mutate(said=rows.text.fill_null("").replace(" ", ""))
        rows = rows.filter(rows.said.startswith(f"{category}="))
        rows = rows.mutate(ends=number(rows.said == f"{category}=crs"))
        # Another cause charted at the same instant wins: then nothing ends.
        instants = rows.group_by("k", "t").aggregate(mark=rows.ends.min())
        until = next_marked(instants, instants.mark, "until").select("k", "t", "until")
        hold = self.lib.measure("attribution").hold_hours
        causes = rows.filter(rows.ends == 0).join(until, ["k", "t"])
        reach = FOREVER if hold is None else causes.t + hours(hold)
        spans = causes.select("k", s=causes.t, e=ibis.least(ibis.coalesce(causes.stop, reach), causes.until))
        return self.bench.islands(spans.filter(spans.s < spans.e))
