"""From findings to a grade: rows, reasons, and the run-length table they are written to."""

from __future__ import annotations

from typing import Any

import numpy as np

from tocsin.grading.opcodes import CUT, FIRST_OUT, INF, NONE, STARTED

#: Columns of the machine's output, all int64.
COLUMNS = (
    "patient", "scale", "start", "end", "grade", "up_to", "ambiguous", "because", "waiting_for", "judgement", "flags"
)


def emit(
    s: Any, k: int, patient: int, start: int, end: int, out: Any, emitted: int
) -> tuple[Any, int]:
    """Write the standing answer of scale `k` over [start, end); INF is an open end."""
    if start >= s.g[CUT]:
        return out, emitted
    if emitted == out.shape[0]:
        larger = np.empty((2 * emitted + 16, out.shape[1]), np.int64)
        larger[:emitted] = out
        out = larger
    row = out[emitted]
    row[0] = patient
    row[1] = k
    row[2] = start
    row[3] = min(end, s.g[CUT])
    row[4] = s.scale[k].grade
    row[5] = s.scale[k].up_to
    row[6] = s.scale[k].ambiguous
    row[7] = s.scale[k].because
    row[8] = s.scale[k].waiting
    row[9] = s.scale[k].judgement
    row[10] = s.scale[k].flags
    return out, emitted + 1


def update_grades(p: Any, s: Any, t: int, patient: int, out: Any, emitted: int) -> tuple[Any, int]:
    """Read the rungs of every scale whose findings changed; write the old answer where a new one begins."""
    for k in range(len(p.scale)):
        if not s.scale[k].dirty:
            continue
        s.scale[k].dirty = 0
        grade, up_to, ambiguous = rungs(p, s, k)
        because, waiting = reasons(p, s, k, grade)
        judgement = 0
        for i in range(p.scale[k].judgements_from, p.scale[k].judgements_to):
            if s.node[p.index[i]].value >= 1 and p.bits[i] > grade:
                judgement |= 1 << (i - p.scale[k].judgements_from)
        flags = p.scale[k].constant
        for i in range(p.scale[k].flags_from, p.scale[k].flags_to):
            if s.node[p.index[i]].value == 2:
                flags |= 1 << (i - p.scale[k].flags_from)
        if (
            grade == s.scale[k].grade and up_to == s.scale[k].up_to and ambiguous == s.scale[k].ambiguous
            and because == s.scale[k].because and waiting == s.scale[k].waiting
            and judgement == s.scale[k].judgement and flags == s.scale[k].flags
        ):
            continue
        if s.scale[k].grade >= 0 and s.scale[k].start < t:
            out, emitted = emit(s, k, patient, s.scale[k].start, t, out, emitted)
        s.scale[k].start = t
        s.scale[k].grade = grade
        s.scale[k].up_to = up_to
        s.scale[k].ambiguous = ambiguous
        s.scale[k].because = because
        s.scale[k].waiting = waiting
        s.scale[k].judgement = judgement
        s.scale[k].flags = flags
    return out, emitted


def rungs(p: Any, s: Any, k: int) -> tuple[int, int, int]:
    """The highest proven row, the highest row not ruled out, and whether either is ambiguous."""
    grade = 0
    up_to = 0
    for i in range(p.scale[k].rows_from, p.scale[k].rows_to):
        value = s.node[p.row[i].node].value
        if value == 2:
            grade = max(grade, p.row[i].grade)
        if value >= 1:
            up_to = max(up_to, p.row[i].grade)
    clear_grade = grade == 0
    clear_up_to = up_to == 0
    for i in range(p.scale[k].rows_from, p.scale[k].rows_to):
        value = s.node[p.row[i].node].value
        if not p.row[i].ambiguous:
            clear_grade = clear_grade or (value == 2 and p.row[i].grade == grade)
            clear_up_to = clear_up_to or (value >= 1 and p.row[i].grade == up_to)
    return grade, up_to, 0 if clear_grade and clear_up_to else 1


def reasons(p: Any, s: Any, k: int, grade: int) -> tuple[int, int]:
    """Bits of the findings that prove `grade`, and of the measures that keep higher rows open."""
    because = 0
    waiting = 0
    for i in range(p.scale[k].rows_from, p.scale[k].rows_to):
        value = s.node[p.row[i].node].value
        if value == 2 and p.row[i].grade == grade:
            for j in range(p.row[i].kids_from, p.row[i].kids_to):
                if s.node[p.index[j]].value == 2:
                    because |= 1 << p.bits[j]
        elif value == 1 and p.row[i].grade > grade:
            for j in range(p.row[i].leaves_from, p.row[i].leaves_to):
                if s.node[p.index[j]].value == 1:
                    waiting |= p.bits[j]
    return because, waiting


def close(p: Any, s: Any, t: int, patient: int, dead: int, out: Any, emitted: int) -> tuple[Any, int]:
    """End every scale: at death (`dead` >= 0), at `t`, or (t = NONE) where its last finding changed."""
    for k in range(len(p.scale)):
        end = s.scale[k].change if t == NONE else t
        if s.scale[k].grade >= 0 and s.scale[k].start < end:
            out, emitted = emit(s, k, patient, s.scale[k].start, end, out, emitted)
        elif t == NONE and s.scale[k].grade >= 0 and s.scale[k].start == s.g[STARTED]:
            out, emitted = emit(s, k, patient, s.scale[k].start, INF, out, emitted)
        if dead >= 0 and p.scale[k].fatal == dead:
            s.scale[k].grade = 5
            s.scale[k].up_to = 5
            s.scale[k].ambiguous = 0
            s.scale[k].because = 1 << 62
            s.scale[k].waiting = 0
            s.scale[k].judgement = 0
            s.scale[k].flags = p.scale[k].constant
            out, emitted = emit(s, k, patient, t, INF, out, emitted)
    if t == NONE:
        emitted = trim(s, out, emitted)
    return out, emitted


def trim(s: Any, out: Any, emitted: int) -> int:
    """Drop what only a flag changed after the last finding did; returns how many rows are left."""
    kept = s.g[FIRST_OUT]
    for i in range(s.g[FIRST_OUT], emitted):
        change = s.scale[out[i, 1]].change
        if change == s.g[STARTED]:
            if out[i, 2] != change:
                continue
            out[i, 3] = s.g[CUT]
        else:
            if out[i, 2] >= change:
                continue
            out[i, 3] = min(out[i, 3], change)
        out[kept] = out[i]
        kept += 1
    return int(kept)
