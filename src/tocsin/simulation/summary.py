"""One row a patient: what a trial's calibration and a million patients need of a course, without keeping it.

Made from what the ward charted and from the true cytokines. It serves speed and fitting; what is reported
of a trial is graded from the facts by the grading engine (`outcomes.py`).
"""

from __future__ import annotations

from enum import auto

import numpy as np

from tocsin.simulation.care import Chart
from tocsin.simulation.compiled import compiled
from tocsin.simulation.equations import State, _Place


class Summary(_Place):
    """Hours are counted from the first dose; not-a-number where the event never came."""

    severity = auto()  # highest, 0 to 4
    onset = auto()  # first hour of severity 1 or more
    last = auto()  # last hour of severity 1 or more in the first episode
    fever_last = auto()  # last hour with a measured fever in the first episode
    grade_2 = auto()  # first hour of severity 2 or more
    grade_3 = auto()
    grade_4 = auto()
    second_onset = auto()  # first hour of a second episode, after two days without
    tocilizumab = auto()  # doses
    tocilizumab_first = auto()  # hour
    steroid = auto()  # 1 if the ward gave one
    oxygen = auto()  # 1 if any device was used
    ventilated = auto()  # 1 if the highest rung was used
    device = auto()  # highest rung of the ladder
    fluid = auto()  # boluses
    pressor = auto()  # highest sum of the vasopressors, ug/kg/min
    pressor_lasting = auto()  # highest such sum that lasted three hours
    worse_after_tocilizumab = auto()  # by how much the view rose from 1 d to 14 d after the first dose
    t_cell_peak = auto()
    t_cell_peak_hour = auto()
    il_6 = auto()  # peaks, pg/mL
    ifn_gamma = auto()
    tnf_alpha = auto()
    il_1_beta = auto()
    il_10 = auto()
    crp = auto()
    ferritin = auto()
    il_6_hour = auto()  # hours of the peaks
    ifn_gamma_hour = auto()
    ferritin_hour = auto()
    il_6_onset = auto()  # at onset
    ifn_gamma_onset = auto()
    il_6_first = auto()  # highest in hours 0 to 11
    il_6_week_2 = auto()  # highest on days 7 and 8
    il_6_week_3 = auto()  # highest on days 14 and 15
    temperature = auto()  # highest true temperature rise
    leak = auto()


@compiled
def _peak(states, state, out, value, hour):  # type: ignore[no-untyped-def]
    best, at = -1.0, 0
    for k in range(states.shape[0]):
        if states[k, state] > best:
            best, at = states[k, state], k
    out[value] = best
    if hour >= 0:
        out[hour] = at


@compiled
def _highest(states, state, first, last):  # type: ignore[no-untyped-def]
    best = 0.0
    for k in range(first, min(last + 1, states.shape[0])):
        best = max(best, states[k, state])
    return best


@compiled
def summarise(states, chart, fever_from, top, out):  # type: ignore[no-untyped-def]
    """Fill `out` (places of `Summary`) from one patient's hourly `states` and `chart`."""
    out[:] = np.nan
    for place in (
        Summary.severity, Summary.tocilizumab, Summary.steroid, Summary.oxygen, Summary.ventilated,
        Summary.device, Summary.fluid, Summary.pressor, Summary.pressor_lasting,
        Summary.worse_after_tocilizumab,
    ):  # fmt: skip
        out[place] = 0.0
    quiet = 0
    for k in range(chart.shape[0]):
        severity = chart[k, Chart.severity]
        if severity >= 1:
            if out[Summary.onset] != out[Summary.onset]:
                out[Summary.onset] = k
            elif quiet >= 48 and out[Summary.second_onset] != out[Summary.second_onset]:
                out[Summary.second_onset] = k
            if out[Summary.second_onset] != out[Summary.second_onset]:
                out[Summary.last] = k
                if chart[k, Chart.temperature] >= fever_from:
                    out[Summary.fever_last] = k
            quiet = 0
        else:
            quiet += 1
        out[Summary.severity] = max(out[Summary.severity], severity)
        if severity >= 2 and out[Summary.grade_2] != out[Summary.grade_2]:
            out[Summary.grade_2] = k
        if severity >= 3 and out[Summary.grade_3] != out[Summary.grade_3]:
            out[Summary.grade_3] = k
        if severity >= 4 and out[Summary.grade_4] != out[Summary.grade_4]:
            out[Summary.grade_4] = k
        if chart[k, Chart.tocilizumab] > 0:
            out[Summary.tocilizumab] += 1
            if out[Summary.tocilizumab_first] != out[Summary.tocilizumab_first]:
                out[Summary.tocilizumab_first] = k
        if chart[k, Chart.dexamethasone] + chart[k, Chart.methylprednisolone] > 0:
            out[Summary.steroid] = 1.0
        out[Summary.device] = max(out[Summary.device], chart[k, Chart.device])
        if chart[k, Chart.device] > 0:
            out[Summary.oxygen] = 1.0
        if chart[k, Chart.device] >= top:
            out[Summary.ventilated] = 1.0
        if chart[k, Chart.bolus] > 0:
            out[Summary.fluid] += 1
        running = chart[k, Chart.norepinephrine] + chart[k, Chart.epinephrine]
        out[Summary.pressor] = max(out[Summary.pressor], running)
        if k >= 3:
            for back in range(1, 4):
                running = min(
                    running, chart[k - back, Chart.norepinephrine] + chart[k - back, Chart.epinephrine]
                )
            out[Summary.pressor_lasting] = max(out[Summary.pressor_lasting], running)
    first = out[Summary.tocilizumab_first]
    if first == first:
        # Whether the drug worked: nothing worse than before it, and over within 14 days.
        before = chart[int(first), Chart.severity]
        for k in range(int(first) + 24, min(int(first) + 14 * 24, chart.shape[0])):
            out[Summary.worse_after_tocilizumab] = max(
                out[Summary.worse_after_tocilizumab], chart[k, Chart.severity] - before
            )
    _peak(states, State.il_6, out, Summary.il_6, Summary.il_6_hour)
    _peak(states, State.ifn_gamma, out, Summary.ifn_gamma, Summary.ifn_gamma_hour)
    _peak(states, State.ferritin, out, Summary.ferritin, Summary.ferritin_hour)
    _peak(states, State.tnf_alpha, out, Summary.tnf_alpha, -1)
    _peak(states, State.il_1_beta, out, Summary.il_1_beta, -1)
    _peak(states, State.il_10, out, Summary.il_10, -1)
    _peak(states, State.crp, out, Summary.crp, -1)
    _peak(states, State.fever, out, Summary.temperature, -1)
    _peak(states, State.leak, out, Summary.leak, -1)
    best, at = -1.0, 0
    for k in range(states.shape[0]):
        cells = states[k, State.effector] + states[k, State.persisting] + states[k, State.resting]
        if cells > best:
            best, at = cells, k
    out[Summary.t_cell_peak], out[Summary.t_cell_peak_hour] = best, at
    onset = out[Summary.onset]
    if onset == onset:
        out[Summary.il_6_onset] = states[int(onset), State.il_6]
        out[Summary.ifn_gamma_onset] = states[int(onset), State.ifn_gamma]
    out[Summary.il_6_first] = _highest(states, State.il_6, 0, 11)
    out[Summary.il_6_week_2] = _highest(states, State.il_6, 168, 192)
    out[Summary.il_6_week_3] = _highest(states, State.il_6, 336, 360)
