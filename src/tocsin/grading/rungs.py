"""From findings to a grade: rows, reasons, and the run-length table they are written to."""

from __future__ import annotations

from typing import Any

from tocsin.grading.opcodes import CUT, EVER, FIRST_OUT, INF, NONE, STARTED, SUM, WALKS

#: Columns of the machine's output, all int64.
COLUMNS = (
    "patient",
    "scale",
    "start",
    "end",
    "grade",
    "up_to",
    "ambiguous",
    "because",
    "waiting_for",
    "judgement",
    "flags",
)


def emit(s: Any, k: int, patient: int, start: int, end: int, out: Any, emitted: int) -> int:
    """Write the standing answer of scale `k` over [start, end); INF is an open end.

    A full table is counted on but not written, so that the caller can come back with a larger one.
    """
    if start >= s.g[CUT]:
        return emitted
    if emitted >= len(out):
        return emitted + 1
    answer = s.scale[k]
    row = out[emitted]
    row[0] = patient
    row[1] = k
    row[2] = start
    row[3] = min(end, s.g[CUT])
    row[4] = answer.grade
    row[5] = answer.up_to
    row[6] = answer.ambiguous
    row[7] = answer.because
    row[8] = answer.waiting
    row[9] = answer.judgement
    row[10] = answer.flags
    return emitted + 1


def update_grades(p: Any, s: Any, t: int, patient: int, out: Any, emitted: int) -> int:
    """Read the rungs of every scale whose findings changed; write the old answer where a new one begins."""
    for k in range(len(p.scale)):
        if not s.scale[k].dirty:
            continue
        s.scale[k].dirty = 0
        grade, up_to, ambiguous = rungs(p, s, k)
        because = proofs(p, s, k, grade)
        waiting = awaited(p, s, k, grade)
        judgement, flags = remarks(p, s, k, grade)
        emitted = say(
            s, k, t, grade, up_to, ambiguous, because, waiting, judgement, flags, patient, out, emitted
        )
    return emitted


def say(
    s: Any,
    k: int,
    t: int,
    grade: int,
    up_to: int,
    ambiguous: int,
    because: int,
    waiting: int,
    judgement: int,
    flags: int,
    patient: int,
    out: Any,
    emitted: int,
) -> int:
    """The answer of scale `k` from `t` on; the one before, if it was another, is written."""
    answer = s.scale[k]
    if (
        grade == answer.grade
        and up_to == answer.up_to
        and ambiguous == answer.ambiguous
        and because == answer.because
        and waiting == answer.waiting
        and judgement == answer.judgement
        and flags == answer.flags
    ):
        return emitted
    if answer.grade >= 0 and answer.start < t:
        emitted = emit(s, k, patient, answer.start, t, out, emitted)
    answer.start = t
    answer.grade = grade
    answer.up_to = up_to
    answer.ambiguous = ambiguous
    answer.because = because
    answer.waiting = waiting
    answer.judgement = judgement
    answer.flags = flags
    return emitted


def rungs(p: Any, s: Any, k: int) -> tuple[int, int, int]:
    """The highest proven row, the highest row not ruled out, and whether the answer is ambiguous."""
    state, rows = s.node, p.row
    first, stop = p.scale[k].rows_from, p.scale[k].rows_to
    grade = 0
    up_to = 0
    doubt = 0  # the highest certain row that is ambiguous and only `possible`
    for i in range(first, stop):
        row = rows[i]
        value = state[row.node].value
        if value == 0:
            continue
        if row.grade > up_to:
            up_to = row.grade
        if value == 2:
            if not row.possible:
                if row.grade > grade:
                    grade = row.grade
            elif row.ambiguous and row.grade > doubt:
                doubt = row.grade
    if doubt > grade:
        return grade, up_to, 1
    unclear = 0
    if grade > 0:
        for i in range(first, stop):
            row = rows[i]
            if row.grade == grade and not row.possible and state[row.node].value == 2:
                if not row.ambiguous:
                    return grade, up_to, 0
                unclear = 1
    return grade, up_to, unclear


def remarks(p: Any, s: Any, k: int, grade: int) -> tuple[int, int]:
    """Bits of the judgements left to a clinician above `grade`, and of the flags."""
    state, index, scale = s.node, p.index, p.scale[k]
    judgement = 0
    for i in range(scale.judgements_from, scale.judgements_to):
        if state[index[i]].value >= 1 and p.bits[i] > grade:
            judgement |= 1 << (i - scale.judgements_from)
    flags = scale.constant
    for i in range(scale.flags_from, scale.flags_to):
        if state[index[i]].value == 2:
            flags |= 1 << (i - scale.flags_from)
    return judgement, flags


def proofs(p: Any, s: Any, k: int, grade: int) -> int:
    """Bits of the findings that prove `grade`."""
    state, index, rows = s.node, p.index, p.row
    because = 0
    for i in range(p.scale[k].rows_from, p.scale[k].rows_to):
        row = rows[i]
        if row.grade == grade and not row.possible and state[row.node].value == 2:
            for j in range(row.kids_from, row.kids_to):
                if state[index[j]].value == 2:
                    because |= 1 << p.bits[j]
    return because


def awaited(p: Any, s: Any, k: int, grade: int) -> int:
    """Bits of the measures that keep rows above `grade` open."""
    state, rows = s.node, p.row
    waiting = 0
    s.g[WALKS] += 1
    for i in range(p.scale[k].rows_from, p.scale[k].rows_to):
        row = rows[i]
        if row.grade > grade and state[row.node].value == 1:
            waiting |= waits_for(p, s, row.node)
    return waiting


def waits_for(p: Any, s: Any, root: int) -> int:
    """Bits of the measures that an unknown node waits for.

    A measure is waited for when an unknown reading of it is reached through unknown findings only: what is
    known needs nothing. What was reached since the count of walks went up is not reached again.
    """
    nodes, state, index, walk, stamp = p.node, s.node, p.index, s.walk, s.g[WALKS]
    if state[root].mark == stamp:
        return 0
    state[root].mark = stamp
    walk[0] = root
    deep = 1
    waiting = 0
    while deep > 0:
        deep -= 1
        n = walk[deep]
        if nodes[n].op <= SUM:
            waiting |= nodes[n].waiting
            continue
        stop = nodes[n].kids_to - 1 if nodes[n].op == EVER else nodes[n].kids_to
        for j in range(nodes[n].kids_from, stop):
            kid = index[j]
            if state[kid].value == 1 and state[kid].mark != stamp:
                state[kid].mark = stamp
                walk[deep] = kid
                deep += 1
    return waiting


def close(p: Any, s: Any, t: int, patient: int, dead: int, out: Any, emitted: int) -> int:
    """End every scale: at death (`dead`, the bits of its words), at `t`, or where its last finding changed.

    The last is meant by t = NONE.
    """
    channels, charted, scales, answers, g = p.channel, s.channel, p.scale, s.scale, s.g
    for c in range(len(p.channel)):
        for k in range(len(p.scale)):
            if channels[c].scales & (1 << k):
                answers[k].change = max(answers[k].change, charted[c].seen)
    for k in range(len(p.scale)):
        end = answers[k].change if t == NONE else t
        if answers[k].grade >= 0 and answers[k].start < end:
            emitted = emit(s, k, patient, answers[k].start, end, out, emitted)
        elif t == NONE and answers[k].grade >= 0 and end == g[STARTED]:
            emitted = emit(s, k, patient, answers[k].start, INF, out, emitted)
        if scales[k].fatal >= 0 and dead & (1 << scales[k].fatal):
            answers[k].grade = 5
            answers[k].up_to = 5
            answers[k].ambiguous = 0
            answers[k].because = 1 << 62
            answers[k].waiting = 0
            answers[k].judgement = 0
            answers[k].flags = scales[k].constant
            emitted = emit(s, k, patient, t, INF, out, emitted)
    if t == NONE:
        emitted = trim(s, out, emitted)
    return emitted


def trim(s: Any, out: Any, emitted: int) -> int:
    """Drop what only a flag changed after the last finding did; returns how many rows are left.

    A record in which no finding ever changes keeps its cuts by flags, and its last row is open.
    """
    if emitted > len(out):
        return emitted
    kept = s.g[FIRST_OUT]
    for i in range(s.g[FIRST_OUT], emitted):
        change = s.scale[out[i][1]].change
        if change != s.g[STARTED]:
            if out[i][2] >= change:
                continue
            out[i][3] = min(out[i][3], change)
        for j in range(len(COLUMNS)):
            out[kept][j] = out[i][j]
        kept += 1
    return int(kept)
