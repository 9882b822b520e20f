"""A definition as a graph: findings become nodes, readings become channels, each written once.

Equal findings of different scales share one node, so grading under eleven scales costs little more
than under the largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tocsin.definitions.load import Library
from tocsin.definitions.scale import measures_of
from tocsin.definitions.schema import CATEGORIES, DefinitionError, Finding, Measure, Row, Scale
from tocsin.grading import opcodes as op
from tocsin.grading.opcodes import NONE

COMPARISONS = {"at_least": op.AT_LEAST, "above": op.ABOVE, "at_most": op.AT_MOST, "below": op.BELOW}
REFERENCES = {
    "times_baseline": op.TIMES_BASELINE,
    "drop_from_baseline": op.DROP,
    "percent_drop_from_baseline": op.PERCENT_DROP,
    "worse_than_baseline": op.WORSE,
}
MODES = {"times_uln": op.TIMES_ULN, "times_lln": op.TIMES_LLN}
MISSING = {"unknown": 1, "no": 0, "yes": 2}


@dataclass(slots=True)
class Node:
    """One node before it is flattened; equal nodes are one node."""

    op: int
    channel: int = -1
    compare: int = 0
    cut: float = 0.0
    mask: int = 0
    reference: int = 0
    new: int = 0
    span: int = NONE
    bridge: int = 0
    missing: int = 1
    category: int = -1
    count: int = 1
    text: int = 0
    all: tuple[int, ...] = ()
    any: tuple[int, ...] = ()
    none: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    pulses: tuple[int, ...] = ()
    given: tuple[str, ...] = ()
    scales: int = 0
    named: int = 0

    def key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__ if name not in ("scales", "named"))


@dataclass(slots=True)
class Channel:
    """One stream of readings as one kind of finding sees it."""

    measure: str
    method: str | None
    mode: int
    hold: int
    leaves: list[int] = field(default_factory=list)
    confirms: list[int] = field(default_factory=list)
    voids: list[int] = field(default_factory=list)


def hours(value: float) -> int:
    """Hours as microseconds."""
    return round(value * op.HOUR)


class Graph:
    """The nodes and channels of several scales."""

    def __init__(self, scales: Sequence[Scale], lib: Library) -> None:
        self.lib = lib
        self.scales = tuple(scales)
        self.nodes: list[Node] = []
        self.seen: dict[tuple[Any, ...], int] = {}
        self.channels: list[Channel] = []
        self.channel_ids: dict[tuple[str, str | None, int, int], int] = {}
        self.texts = {"absent": op.ABSENT, "push": op.PUSH, "unusable": op.UNUSABLE}
        self.named: list[dict[str, int]] = []

    def add(self, node: Node) -> int:
        """The number of this node, shared with any equal one."""
        key = node.key()
        if key not in self.seen:
            self.seen[key] = len(self.nodes)
            self.nodes.append(node)
        return self.seen[key]

    def text(self, word: str) -> int:
        """The code of a word a `given` finding filters on."""
        if word not in self.texts:
            self.texts[word] = op.FIRST_TEXT + len(self.texts)
            if self.texts[word] > 61:
                raise DefinitionError(f"too many distinct words in `given` findings (at `{word}`)")
        return self.texts[word]

    def channel(self, measure: Measure, method: str | None, mode: int, hold_hours: float | None) -> int:
        """The channel of this measure, method, mode and hold."""
        hold = op.INF if hold_hours is None else hours(hold_hours)
        if measure.kind == "infusion" and hold == op.INF:
            hold = hours(24)
        key = (measure.id, method, mode, hold)
        if key not in self.channel_ids:
            self.channel_ids[key] = len(self.channels)
            self.channels.append(Channel(*key))
            if measure.held_with:
                keeper = self.lib.measure(measure.held_with)
                other = self.channel(keeper, None, op.PLAIN, keeper.hold_hours)
                self.channels[other].voids.append(self.channel_ids[key])
        return self.channel_ids[key]

    def finding(self, scale: Scale, name: str, names: dict[str, int]) -> int:
        """The node of a finding, its parts first."""
        if name in names:
            return names[name]
        finding = scale.findings[name]
        try:
            names[name] = self.remembered(finding, self.inner(scale, finding, names), scale, names)
        except DefinitionError as error:
            raise DefinitionError(f"{scale.id}, finding `{name}`: {error}") from None
        return names[name]

    def inner(self, scale: Scale, finding: Finding, names: dict[str, int]) -> int:
        """The finding before its memory word."""
        if finding.form == "measure":
            return self.reading(finding)
        if finding.form == "weighted_sum":
            return self.sum(finding)
        if finding.form in ("given", "charted"):
            return self.given(finding)
        if finding.form == "ever":
            after = self.finding(scale, str(finding.after), names)
            quiet = self.finding(scale, str(finding.until_quiet), names)
            given = measures_of(finding, self.lib)
            span = hours(finding.quiet_hours or 0)
            return self.add(Node(op.EVER, all=(after, quiet), span=span, given=given))
        if finding.form in ("count_of", "first_known"):
            items = tuple(self.finding(scale, other, names) for other in finding.items)
            if finding.form == "first_known":
                return self.add(Node(op.FIRST, all=items))
            compare = COMPARISONS[str(finding.op)]
            return self.add(Node(op.COUNT, all=items, compare=compare, cut=float(finding.bound or 0)))
        return self.rule(scale, finding, names)

    def rule(self, scale: Scale, part: Finding | Row, names: dict[str, int]) -> int:
        """The `all`, `any` and `none` of a finding or a row."""
        found = [
            tuple(self.finding(scale, n, names) for n in kids) for kids in (part.all, part.any, part.none)
        ]
        if len(found[0]) + len(found[1]) == 1 and not found[2]:
            return (*found[0], *found[1])[0]  # one part alone is what it is
        return self.add(Node(op.RULE, all=found[0], any=found[1], none=found[2]))

    def remembered(self, finding: Finding, inner: int, scale: Scale, names: dict[str, int]) -> int:
        """Wrap a node in the finding's memory word, if it has one."""
        if finding.for_hours is not None:
            possible = 1 if finding.until_then == "possible" else 0
            span, bridge = hours(finding.for_hours), hours(finding.bridge_hours)
            return self.add(Node(op.FOR, all=(inner,), span=span, bridge=bridge, count=possible))
        if finding.confirmed_within_hours is not None:
            others = tuple(self.finding(scale, other, names) for other in finding.or_with)
            pulses = tuple(n for n in self.below(inner) if self.nodes[n].op == op.READ)
            span = hours(finding.confirmed_within_hours)
            return self.add(Node(op.CONFIRM, all=(inner, *others), span=span, pulses=pulses))
        if finding.within_hours is not None and finding.form not in ("measure", "given", "charted"):
            return self.add(Node(op.WITHIN, all=(inner,), span=hours(finding.within_hours)))
        return inner

    def below(self, node: int) -> list[int]:
        """`node` and everything under it."""
        found: dict[int, None] = {}
        stack = [node]
        while stack:
            n = stack.pop()
            if n not in found:
                found[n] = None
                this = self.nodes[n]
                if this.op != op.SUM:
                    stack += [*this.all, *this.any, *this.none]
        return sorted(found)

    def reading(self, finding: Finding) -> int:
        """A bound on one measure."""
        measure = self.lib.measure(str(finding.measure))
        reference = REFERENCES.get(finding.reference or "", op.NO_REF)
        mode = MODES.get(finding.reference or "", op.PLAIN)
        if finding.bound == "age-limit":
            reference = op.AGE_LIMIT
            age = self.lib.measures.get("age")
            if age is not None:
                self.channel(age, None, op.PLAIN, age.hold_hours)
        elif mode == op.PLAIN:
            mode = self.weight_mode(measure, finding.unit)
        hold = finding.hold_hours if finding.hold_hours is not None else measure.hold_hours
        channel = self.channel(measure, finding.method, mode, hold)
        mask = sum(1 << measure.words.index(word) for word in finding.one_of)
        compare = op.ONE_OF if finding.one_of else COMPARISONS[str(finding.op)]
        cut = 0.0 if isinstance(finding.bound, str) or finding.bound is None else finding.bound
        span = op.NONE if finding.within_hours is None else hours(finding.within_hours)
        return self.add(
            Node(
                op.READ,
                channel,
                compare,
                cut,
                mask,
                reference,
                int(finding.new_since_baseline),
                span,
                missing=MISSING[finding.if_missing],
                category=category_of([measure]),
            )
        )

    def weight_mode(self, measure: Measure, unit: str | None) -> int:
        """How the finding's unit relates to the measure's: the same, times kg, or per kg."""
        if unit is None or unit == measure.unit:
            return op.PLAIN
        if measure.unit and unit == measure.unit.replace("/kg", ""):
            return op.TIMES_WEIGHT
        if measure.unit and unit == measure.unit.replace("/kg", "/kg2"):
            return op.PER_WEIGHT
        raise DefinitionError(
            f"unit `{unit}` is not `{measure.unit}`, nor that times or per kg\n"
            f"  fix: state the bound in `{measure.unit}`, the unit `{measure.id}` is kept in"
        )

    def sum(self, finding: Finding) -> int:
        """A weighted sum of rates."""
        channels = []
        measures = [self.lib.measure(term.measure) for term in finding.terms]
        for term, measure in zip(finding.terms, measures, strict=True):
            channels.append(
                self.channel(measure, None, self.weight_mode(measure, term.unit), measure.hold_hours)
            )
        return self.add(
            Node(
                op.SUM,
                compare=COMPARISONS[str(finding.op)],
                cut=float(finding.bound or 0),
                all=tuple(channels),
                weights=tuple(term.weight for term in finding.terms),
                category=category_of(measures),
            )
        )

    def given(self, finding: Finding) -> int:
        """Something given, present or charted; without `within_hours` one node a measure, joined."""
        names = measures_of(finding, self.lib)
        text = sum(1 << self.text(word) for word in finding.one_of)
        charted = int(finding.form == "charted")
        measures = [self.lib.measure(name) for name in names]
        if finding.within_hours is not None:
            count = int(finding.bound or 1)
            if count > op.RING or finding.op not in (None, "at_least"):
                raise DefinitionError(f"`given` can count at_least 1 to {op.RING}")
            return self.add(
                Node(
                    op.GIVEN,
                    span=hours(finding.within_hours),
                    count=count,
                    text=text,
                    new=charted,
                    given=names,
                    category=-1 if charted else category_of(measures),
                )
            )
        single = []
        for measure in measures:
            hold = op.INF if measure.hold_hours is None else hours(measure.hold_hours)
            mask = text | (1 << op.ABSENT) if text else 0
            single.append(
                self.add(
                    Node(
                        op.GIVEN, bridge=hold, text=mask, given=(measure.id,), category=category_of([measure])
                    )
                )
            )
        return single[0] if len(single) == 1 else self.add(Node(op.RULE, any=tuple(single)))

    def read_by(self, n: int) -> tuple[str, ...]:
        """The measures a leaf reads."""
        node = self.nodes[n]
        channels = node.all if node.op == op.SUM else (node.channel,)
        return tuple(self.channels[c].measure for c in channels)


def category_of(measures: Sequence[Measure]) -> int:
    """The attribution category these measures share, -1 if none or several."""
    found = {measure.attribution for measure in measures}
    only = next(iter(found)) if len(found) == 1 else None
    return CATEGORIES.index(only) if only else -1
