"""Graph to program: nodes, channels and rungs laid out as the flat tables the machine walks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tocsin.definitions.load import Library
from tocsin.definitions.schema import CATEGORIES, DefinitionError, Measure, Row, Scale
from tocsin.grading import opcodes as op
from tocsin.grading.graph import Channel, Graph, Node, category_of, hours
from tocsin.grading.program import CATEGORY, CHANNEL, MEASURE, NODE, ROW, SCALE, WATCH, Program

#: Words of `death`; the higher wins at one instant.
FATAL = {"unknown": 0, "other": 1, "crs": 2, "icans": 3}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program and the names its numbers stand for."""

    program: Program
    scales: tuple[Scale, ...]
    measures: tuple[str, ...]
    kinds: tuple[int, ...]
    methods: tuple[str, ...]
    texts: dict[str, int]
    because: tuple[tuple[str, ...], ...]
    waiting: tuple[str, ...]
    flags: tuple[tuple[str, ...], ...]
    fatal: dict[str, int]
    named: tuple[dict[str, int], ...]
    given: tuple[tuple[str, ...], ...]


class Compiler(Graph):
    """Builds one program from several scales."""

    def build(self) -> Compiled:
        """All scales to one program."""
        rows: list[list[tuple[int, Row, list[tuple[int, str]]]]] = []
        for k, scale in enumerate(self.scales):
            names: dict[str, int] = {}
            self.named.append(names)
            mine = []
            for row in scale.rows:
                node = self.rule(scale, row, names)
                listed = [(names[n], n) for n in (*row.all, *row.any)]
                mine.append((node, row, listed))
            for name in (*scale.flags.values(), *(judgement.when for judgement in scale.judgements)):
                self.finding(scale, name, names)
            rows.append(mine)
            self.mark(k, mine, scale, names)
        flags = [self.flags(k, scale) for k, scale in enumerate(self.scales)]
        return self.flatten(rows, flags)

    def mark(self, k: int, mine: list[Any], scale: Scale, names: dict[str, int]) -> None:
        """Note which nodes scale `k` rests on, and which of them are its named findings."""
        watched = [node for node, *_ in mine] + [names[j.when] for j in scale.judgements]
        watched += [names[name] for name in scale.flags.values()]
        for root in watched:
            for n in self.below(root):
                self.nodes[n].scales |= 1 << k
        for name, n in names.items():
            if scale.findings[name].form != "charted":
                self.nodes[n].named |= 1 << k

    def flags(self, k: int, scale: Scale) -> list[tuple[str, int]]:
        """The flags of scale `k`: the engine's own, then the scale's."""
        mine = [n for n in range(len(self.nodes)) if self.nodes[n].scales & (1 << k)]
        channels = {self.nodes[n].channel for n in mine if self.nodes[n].op == op.READ}
        for n in mine:
            if self.nodes[n].op == op.SUM:
                channels.update(self.nodes[n].all)
        infusions = sorted(
            c for c in channels if self.lib.measure(self.channels[c].measure).kind == "infusion"
        )
        limits = sorted(c for c in channels if self.channels[c].mode in (op.TIMES_ULN, op.TIMES_LLN))
        made = [("no-trigger", self.add(Node(op.NO_TRIGGER))), ("outside-window", self.add(Node(op.OUTSIDE)))]
        for flag, kind, found in (("stale", op.STALE, infusions), ("default-limits", op.DEFAULTED, limits)):
            kids = tuple(self.add(Node(kind, channel=c)) for c in found)
            if kids:
                made.append((flag, self.add(Node(op.RULE, any=kids))))
        if any(self.nodes[n].reference == op.AGE_LIMIT for n in mine):
            made.append(("adult-assumed", self.add(Node(op.ADULT))))
        for _, root in made:
            for n in self.below(root):
                self.nodes[n].scales |= 1 << k
        return made + [(flag, self.named[k][name]) for flag, name in scale.flags.items()]

    def flatten(self, rows: list[Any], flags: list[Any]) -> Compiled:
        """The node and channel lists as flat tables."""
        nodes, channels, index = self.nodes, self.channels, Index()
        for n, node in enumerate(nodes):
            if node.op in (op.READ, op.STALE, op.DEFAULTED):
                channels[node.channel].leaves.append(n)
            elif node.op == op.SUM:
                for c in node.all:
                    channels[c].leaves.append(n)
            elif node.op == op.CONFIRM:
                for c in sorted({nodes[pulse].channel for pulse in node.pulses}):
                    channels[c].confirms.append(n)
        measures = self.measure_order()
        infos = [self.lib.measure(name) for name in measures]
        kinds = tuple(kind_of(info) for info in infos)
        methods = ("", *sorted({ch.method for ch in channels if ch.method}))
        measure = index.records(
            MEASURE,
            [
                {
                    "kind": kind,
                    "window": window_of(info),
                    "channels": [c for c, ch in enumerate(channels) if ch.measure == info.id],
                    "events": [n for n, node in enumerate(nodes) if info.id in node.given],
                }
                for info, kind in zip(infos, kinds, strict=True)
            ],
        )
        channel, limits = self.flatten_channels(index, measures, methods)
        node_table, waiting = self.flatten_nodes(index)
        row, scale, because = self.flatten_scales(index, rows, flags)
        category = index.records(
            CATEGORY,
            [
                {"leaves": [n for n, node in enumerate(nodes) if node.category == a]}
                for a in range(len(CATEGORIES))
            ],
        )
        ages = [c for c, ch in enumerate(channels) if ch.measure == "age" and ch.method is None]
        watch = index.records(
            WATCH,
            [
                {
                    "age_channel": ages[0] if ages else -1,
                    "age_leaves": [
                        n for n, x in enumerate(nodes) if x.op == op.ADULT or x.reference == op.AGE_LIMIT
                    ],
                    "timed": [n for n, x in enumerate(nodes) if timed(x)],
                    "dose_leaves": [n for n, x in enumerate(nodes) if x.op in (op.NO_TRIGGER, op.OUTSIDE)],
                }
            ],
        )
        program = Program(
            measure,
            channel,
            node_table,
            row,
            scale,
            category,
            watch,
            np.array(limits or [0.0], np.float64),
            np.array(index.items or [0], np.int64),
            np.array(index.bits or [0], np.int64),
            np.array(index.weights or [0.0], np.float64),
        )
        names = tuple((*(flag for flag, _ in mine), "draft") for mine in flags)
        return Compiled(
            program,
            self.scales,
            measures,
            kinds,
            methods,
            dict(self.texts),
            because,
            waiting,
            names,
            FATAL,
            tuple(self.named),
            tuple(node.given for node in nodes),
        )

    def flatten_nodes(self, index: Index) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
        """Node tables and the names of their `waiting` bits.

        A sum's kids are channels with their weights, all other kids are nodes.
        """
        wanted = tuple(
            sorted({m for n, node in enumerate(self.nodes) if node.op <= op.SUM for m in self.read_by(n)})
        )
        if len(wanted) > 62:
            raise DefinitionError(
                "these scales together read more than 62 measures\n  fix: grade them in two runs"
            )
        parents: list[list[int]] = [[] for _ in self.nodes]
        for n, node in enumerate(self.nodes):
            if node.op != op.SUM:
                for kid in sorted({*node.all, *node.any, *node.none}):
                    parents[kid].append(n)
        plain = [
            name
            for name in NODE.names or ()
            if not name.endswith(("_from", "_to")) and name not in ("all", "any", "waiting", "quick")
        ]
        return index.records(
            NODE,
            [
                {
                    **{name: getattr(node, name) for name in plain},
                    "quick": quick(node),
                    "waiting": sum(1 << wanted.index(m) for m in set(self.read_by(n)))
                    if node.op <= op.SUM
                    else 0,
                    "all": len(node.all),
                    "any": len(node.any),
                    "parents": parents[n],
                    "pulses": node.pulses,
                    "kids": [
                        (kid, 0, weight)
                        for kid, weight in zip(
                            (*node.all, *node.any, *node.none), node.weights or (0.0,) * 9999, strict=False
                        )
                    ],
                }
                for n, node in enumerate(self.nodes)
            ],
        ), wanted

    def measure_order(self) -> tuple[str, ...]:
        """Every measure the program reads, therapies and the clinician's word included."""
        names = {channel.measure for channel in self.channels}
        names.update(name for node in self.nodes for name in node.given)
        names.update(self.lib.classes.get("therapy", ()))
        names.update(name for name in ("attribution", "death") if name in self.lib.measures)
        return tuple(sorted(names))

    def flatten_channels(
        self, index: Index, measures: tuple[str, ...], methods: tuple[str, ...]
    ) -> tuple[np.ndarray[Any, Any], list[float]]:
        """Channel tables, and the age limits (from, below, limit, per year) their spans point into."""
        records, limits = [], list[float]()
        for channel in self.channels:
            info = self.lib.measure(channel.measure)
            reference = info.ref_high if channel.mode == op.TIMES_ULN else info.ref_low
            first = len(limits) // 4
            for limit in info.limits:
                limits += [limit.age_from, limit.age_below, limit.below, limit.plus_per_year]
            records.append(
                {
                    "measure": measures.index(channel.measure),
                    "method": methods.index(channel.method) if channel.method else -1,
                    "mode": channel.mode,
                    "hold": channel.hold,
                    "infusion": int(info.kind == "infusion"),
                    "worse": 1 if info.worse == "high" or info.kind == "category" else -1,
                    "stale": op.INF if info.stale_hours is None else hours(info.stale_hours),
                    "spike": 0 if info.spike_minutes is None else hours(info.spike_minutes / 60),
                    "base_window": 0 if info.baseline_hours is None else hours(info.baseline_hours),
                    "base_median": int(info.baseline_statistic == "median"),
                    "category": category_of([info]),
                    "scales": self.named_by(channel),
                    "leaves": channel.leaves,
                    "voids": channel.voids,
                    "confirms": channel.confirms,
                    "limits_from": first,
                    "limits_to": len(limits) // 4,
                    "reference": math.nan if reference is None else reference,
                    "round": 0.0 if info.round_to is None else info.round_to,
                    "fall_percent": -1.0 if info.chronic_fall_percent is None else info.chronic_fall_percent,
                    "fall": math.inf if info.chronic_fall is None else info.chronic_fall,
                }
            )
        return index.records(CHANNEL, records), limits

    def named_by(self, channel: Channel) -> int:
        """Bits of the scales with a named reading finding on this channel."""
        scales = 0
        for n in channel.leaves:
            if self.nodes[n].op <= op.SUM:
                scales |= self.nodes[n].named
        return scales

    def flatten_scales(self, index: Index, rows: Any, flags: Any) -> tuple[Any, Any, Any]:
        """Row and scale tables, and the names of the `because` bits."""
        because: list[tuple[str, ...]] = []
        row_records: list[dict[str, Any]] = []
        scale_records: list[dict[str, Any]] = []
        for k, (scale, mine) in enumerate(zip(self.scales, rows, strict=True)):
            names = tuple(dict.fromkeys(name for *_, listed in mine for _, name in listed))
            first = len(row_records)
            for node, row, listed in mine:
                row_records.append(
                    {
                        "node": node,
                        "grade": row.grade,
                        "possible": int(row.possible),
                        "ambiguous": int(row.ambiguous is not None),
                        "kids": [(n, names.index(name), 0.0) for n, name in listed],
                    }
                )
            if len(names) > 61:
                raise DefinitionError(f"{scale.id}: more than 61 findings in rows")
            because.append(names)
            scale_records.append(
                {
                    "fatal": FATAL.get(scale.fatal or "", -2),
                    "rows_from": first,
                    "rows_to": len(row_records),
                    "constant": 1 << len(flags[k]) if scale.status == "draft" else 0,
                    "judgements": [(self.named[k][j.when], j.grade, 0.0) for j in scale.judgements],
                    "flags": [node for _, node in flags[k]],
                }
            )
        return index.records(ROW, row_records), index.records(SCALE, scale_records), tuple(because)


class Index:
    """The shared list every span points into, with a bit or number and a weight beside each item."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.bits: list[int] = []
        self.weights: list[float] = []

    def records(self, kind: np.dtype[Any], rows: Sequence[dict[str, Any]]) -> np.ndarray[Any, Any]:
        """Rows of fields as one record array; a list becomes a span of the index."""
        table = np.zeros(len(rows), kind)
        for i, row in enumerate(rows):
            for name, value in row.items():
                if isinstance(value, list | tuple):
                    table[i][f"{name}_from"] = len(self.items)
                    for item in value:
                        number, bit, weight = item if isinstance(item, tuple) else (item, 0, 0.0)
                        self.items.append(number)
                        self.bits.append(bit)
                        self.weights.append(weight)
                    table[i][f"{name}_to"] = len(self.items)
                else:
                    table[i][name] = value
        return table


def quick(node: Node) -> int:
    """1 where a standing reading decides by one comparison with the bound, 2 by one with the age limit."""
    if node.op != op.READ or node.span != op.NONE or node.new:
        return 0
    return {op.NO_REF: 1, op.AGE_LIMIT: 2}.get(node.reference, 0)


def timed(node: Node) -> bool:
    """Whether a node can change by time alone."""
    return node.op in (op.GIVEN, op.OUTSIDE, op.STALE, op.FOR, op.WITHIN, op.EVER) or (
        node.op == op.READ and node.span != op.NONE
    )


def kind_of(measure: Measure) -> int:
    """The machine's kind of a measure."""
    if measure.id == "attribution":
        return op.ATTRIBUTION
    if measure.id == "death":
        return op.DEATH
    if measure.kind == "infusion":
        return op.INFUSION
    return op.READING if measure.kind in ("number", "category") else op.EVENT


def window_of(measure: Measure) -> int:
    """A therapy's risk window in microseconds; INF when unknown, NONE for anything else."""
    if "therapy" not in measure.classes:
        return op.NONE
    return op.INF if measure.risk_window_days is None else hours(24 * measure.risk_window_days)


@lru_cache(maxsize=32)
def compiled(names: tuple[str, ...], lib: Library) -> Compiled:
    """The program of these scales, built once."""
    return Compiler([lib.scale(name) for name in names], lib).build()
