"""The interval table: what an answer of grading is (design: one row per span of one unchanged answer)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.grading.compile import Compiled
from tocsin.grading.opcodes import INF

UTC = pa.timestamp("us", tz="UTC")
WORDS = pa.list_(pa.string())
#: `end` null means open; `because` finding ids, `waiting_for` measures, `definition` a SHA-256.
SCHEMA = pa.schema(
    [
        ("patient_id", pa.string()),
        ("scale", pa.string()),
        ("start", UTC),
        ("end", UTC),
        ("grade", pa.int8()),
        ("up_to", pa.int8()),
        ("ambiguous", pa.bool_()),
        ("because", WORDS),
        ("waiting_for", WORDS),
        ("judgement", WORDS),
        ("flags", WORDS),
        ("definition", pa.string()),
    ]
)


def table(out: np.ndarray[Any, Any], patients: pa.Array, compiled: Compiled) -> pa.Table:
    """The machine's numbers as a table; patients in order, then scales as asked for, then time."""
    # a patient's rows of one scale leave the machine in order of time
    out = out[np.argsort(out[:, 0] * len(compiled.scales) + out[:, 1], kind="stable")]
    scale = out[:, 1]
    judged = [tuple(judgement.id for judgement in item.judgements) for item in compiled.scales]
    because = [(*names, *[""] * (62 - len(names)), "death") for names in compiled.because]
    open_end = out[:, 3] == INF
    columns = [
        patients.take(pa.array(out[:, 0])),
        pa.array([item.id for item in compiled.scales], pa.string()).take(pa.array(scale)),
        pa.array(out[:, 2], pa.int64()).cast(UTC),
        pa.array(out[:, 3], pa.int64(), mask=open_end).cast(UTC),
        pa.array(out[:, 4], pa.int8()),
        pa.array(out[:, 5], pa.int8()),
        pa.array(out[:, 6].astype(bool)),
        words(scale, out[:, 7], because, ordered=True),
        words(scale, out[:, 8], [compiled.waiting] * len(compiled.scales)),
        words(scale, out[:, 9], judged, ordered=True),
        words(scale, out[:, 10], compiled.flags, ordered=True),
        pa.array([item.hash for item in compiled.scales], pa.string()).take(pa.array(scale)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def words(
    scale: np.ndarray[Any, Any],
    bits: np.ndarray[Any, Any],
    names: Sequence[Sequence[str]],
    ordered: bool = False,
) -> pa.Array:
    """Bit sets as lists of names, each distinct set spelled out once."""
    sets = pc.dictionary_encode(pa.array(bits))
    key = pc.dictionary_encode(pa.array(sets.indices.to_numpy().astype(np.int64) * len(names) + scale))
    masks = sets.dictionary.to_pylist()
    lists = []
    for pair in key.dictionary.to_pylist():
        mask, k = masks[pair // len(names)], pair % len(names)
        found = [name for i, name in enumerate(names[k]) if mask >> i & 1]
        lists.append(found if ordered else sorted(found))
    return pa.array(lists, WORDS).take(key.indices)


def empty() -> pa.Table:
    """No intervals."""
    return SCHEMA.empty_table()
