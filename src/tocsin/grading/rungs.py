"""From findings to a grade: rows, reasons, and the run-length table they are written to."""

from __future__ import annotations

from typing import Any

import numpy as np

from tocsin.grading.opcodes import CUT, INF, NONE, STARTED

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
    row[4] = s.k_grade[k]
    row[5] = s.k_up_to[k]
    row[6] = s.k_ambiguous[k]
    row[7] = s.k_because[k]
    row[8] = s.k_waiting[k]
    row[9] = s.k_judgement[k]
    row[10] = s.k_flags[k]
    return out, emitted + 1


def update_grades(p: Any, s: Any, t: int, patient: int, out: Any, emitted: int) -> tuple[Any, int]:
    """Read the rungs of every scale whose findings changed; write the old answer where a new one begins."""
    for k in range(len(p.s_fatal)):
        if not s.k_dirty[k]:
            continue
        s.k_dirty[k] = 0
        grade, up_to, ambiguous = rungs(p, s, k)
        because, waiting = reasons(p, s, k, grade)
        judgement = 0
        for i in range(p.s_judge_from[k], p.s_judge_from[k + 1]):
            if s.value[p.j_node[i]] >= 1 and p.j_grade[i] > grade:
                judgement |= 1 << (i - p.s_judge_from[k])
        flags = p.s_constant[k]
        for i in range(p.s_flag_from[k], p.s_flag_from[k + 1]):
            if s.value[p.f_node[i]] == 2:
                flags |= 1 << (i - p.s_flag_from[k])
        if (
            grade == s.k_grade[k] and up_to == s.k_up_to[k] and ambiguous == s.k_ambiguous[k]
            and because == s.k_because[k] and waiting == s.k_waiting[k]
            and judgement == s.k_judgement[k] and flags == s.k_flags[k]
        ):
            continue
        if s.k_grade[k] >= 0 and s.k_start[k] < t:
            out, emitted = emit(s, k, patient, s.k_start[k], t, out, emitted)
        s.k_start[k] = t
        s.k_grade[k] = grade
        s.k_up_to[k] = up_to
        s.k_ambiguous[k] = ambiguous
        s.k_because[k] = because
        s.k_waiting[k] = waiting
        s.k_judgement[k] = judgement
        s.k_flags[k] = flags
    return out, emitted


def rungs(p: Any, s: Any, k: int) -> tuple[int, int, int]:
    """The highest proven row, the highest row not ruled out, and whether either is ambiguous."""
    grade = 0
    up_to = 0
    for i in range(p.s_row_from[k], p.s_row_from[k + 1]):
        value = s.value[p.r_node[i]]
        if value == 2:
            grade = max(grade, p.r_grade[i])
        if value >= 1:
            up_to = max(up_to, p.r_grade[i])
    clear_grade = grade == 0
    clear_up_to = up_to == 0
    for i in range(p.s_row_from[k], p.s_row_from[k + 1]):
        value = s.value[p.r_node[i]]
        if not p.r_ambiguous[i]:
            clear_grade = clear_grade or (value == 2 and p.r_grade[i] == grade)
            clear_up_to = clear_up_to or (value >= 1 and p.r_grade[i] == up_to)
    return grade, up_to, 0 if clear_grade and clear_up_to else 1


def reasons(p: Any, s: Any, k: int, grade: int) -> tuple[int, int]:
    """Bits of the findings that prove `grade`, and of the measures that keep higher rows open."""
    because = 0
    waiting = 0
    for i in range(p.s_row_from[k], p.s_row_from[k + 1]):
        value = s.value[p.r_node[i]]
        if value == 2 and p.r_grade[i] == grade:
            for j in range(p.r_kid_from[i], p.r_kid_from[i + 1]):
                if s.value[p.r_kid[j]] == 2:
                    because |= 1 << p.r_kid_bit[j]
        elif value == 1 and p.r_grade[i] > grade:
            for j in range(p.r_leaf_from[i], p.r_leaf_from[i + 1]):
                if s.value[p.r_leaf[j]] == 1:
                    waiting |= p.r_leaf_bits[j]
    return because, waiting


def close(p: Any, s: Any, t: int, patient: int, dead: int, out: Any, emitted: int) -> tuple[Any, int]:
    """End every scale: at death (`dead` >= 0), at `t`, or (t = NONE) where its last finding changed."""
    for k in range(len(p.s_fatal)):
        end = s.k_change[k] if t == NONE else t
        if s.k_grade[k] >= 0 and s.k_start[k] < end:
            out, emitted = emit(s, k, patient, s.k_start[k], end, out, emitted)
        elif dead < 0 and s.k_grade[k] >= 0 and s.k_change[k] == s.g[STARTED] and s.k_start[k] == s.g[STARTED]:
            out, emitted = emit(s, k, patient, s.k_start[k], INF, out, emitted)
        if dead >= 0 and p.s_fatal[k] == dead:
            s.k_grade[k] = 5
            s.k_up_to[k] = 5
            s.k_ambiguous[k] = 0
            s.k_because[k] = 1 << 62
            s.k_waiting[k] = 0
            s.k_judgement[k] = 0
            s.k_flags[k] = p.s_constant[k]
            out, emitted = emit(s, k, patient, t, INF, out, emitted)
    return out, emitted
