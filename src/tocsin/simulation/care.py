"""The ward: what it measures, what it sees, what it gives, hour by hour.

The ward knows only what it measured. It raises and lowers oxygen by a ladder, answers a low pressure with
fluid, then with a vasopressor, then with a second one, treats fever, and gives tocilizumab and steroids by
its policy. Every threshold is on the shelf `wards`. A simulated patient is graded from the support given,
as a real one is: nothing here is a grade that anybody reports.
"""

from __future__ import annotations

from enum import auto

import numpy as np

from tocsin.definitions.ward import Policy
from tocsin.simulation.compiled import compiled
from tocsin.simulation.draws import normal, uniform
from tocsin.simulation.equations import Input, Parameter, State, _Place


class Chart(_Place):
    """What is charted in one hour; not-a-number where nothing was measured, 0 where nothing was given."""

    temperature = auto()  # Cel, as measured
    mean_bp = auto()  # mm[Hg], as measured
    spo2 = auto()  # %, as measured
    device = auto()  # place on the ladder
    flow = auto()  # L/min
    fio2 = auto()  # %
    norepinephrine = auto()  # ug/kg/min, running
    epinephrine = auto()  # ug/kg/min, running
    bolus = auto()  # mL
    acetaminophen = auto()  # mg, as all below
    tocilizumab = auto()
    dexamethasone = auto()
    methylprednisolone = auto()
    severity = auto()  # 0 to 4, the ward's own view, by which it treats


class Memory(_Place):
    """What the ward remembers of one patient; hours are counted from 1, 0 is never."""

    fever_first = auto()
    fever_last = auto()
    device = auto()
    device_since = auto()
    norepinephrine = auto()
    epinephrine = auto()
    boluses = auto()
    bolus_last = auto()
    acetaminophen_last = auto()
    tocilizumab_due = auto()
    tocilizumab_doses = auto()
    tocilizumab_last = auto()
    dexamethasone_left = auto()
    dexamethasone_due = auto()
    methylprednisolone_left = auto()
    methylprednisolone_due = auto()
    severity = auto()


MEMORY = len(Memory)
NOISE, MISSED = 800, 850
NEVER = 9.0
#: Places in a row of the ladder.
FLOW, FIO2, GAIN, RUNG = 0, 1, 2, 3


@compiled
def _support(hour, ward, ladder, memory):  # type: ignore[no-untyped-def]
    """What support adds now: to temperature (below 0), to mean pressure, to oxygen saturation."""
    cooled = 0.0
    if memory[Memory.acetaminophen_last] > 0:
        ago = hour + 1 - memory[Memory.acetaminophen_last]
        # Sets in, then wears off evenly.
        if ago < ward[Policy.fever_hours]:
            cooled = (
                ward[Policy.fever_effect]
                * min(ago / ward[Policy.fever_onset_hours], 1.0)
                * (1.0 - ago / ward[Policy.fever_hours])
            )
    raised = ward[Policy.pressure_gain] * (memory[Memory.norepinephrine] + memory[Memory.epinephrine])
    if memory[Memory.bolus_last] > 0:
        ago = hour + 1 - memory[Memory.bolus_last]
        raised += ward[Policy.pressure_bolus_gain] * max(0.0, 1.0 - ago / ward[Policy.pressure_bolus_hours])
    return cooled, raised, ladder[int(memory[Memory.device]), GAIN]


@compiled
def _breathing(hour, spo2, ward, ladder, memory):  # type: ignore[no-untyped-def]
    """One rung up when saturation is low, one down when it has been high for long."""
    device = int(memory[Memory.device])
    rested = hour + 1 - memory[Memory.device_since] >= ward[Policy.oxygen_wean_hours]
    up = ward[Policy.oxygen_start_below] if device == 0 else ward[Policy.oxygen_step_up_below]
    if spo2 < up and device < ladder.shape[0] - 1:
        device += 1
    elif device > 0 and spo2 >= ward[Policy.oxygen_wean_above] and rested:
        device -= 1
    if device != int(memory[Memory.device]):
        memory[Memory.device] = device
        memory[Memory.device_since] = hour + 1


@compiled
def _pressure(hour, mean, ward, memory, row, weight):  # type: ignore[no-untyped-def]
    """Fluid first, then a vasopressor set to the pressure it lacks, then a second; down step by step."""
    running = memory[Memory.norepinephrine] + memory[Memory.epinephrine]
    if (
        memory[Memory.bolus_last] > 0
        and hour + 1 - memory[Memory.bolus_last] >= ward[Policy.pressure_bolus_reset_hours]
    ):
        memory[Memory.boluses] = 0.0
    if (
        running == 0.0
        and mean < ward[Policy.pressure_bolus_below]
        and memory[Memory.boluses] < ward[Policy.pressure_boluses]
    ):
        row[Chart.bolus] = min(ward[Policy.pressure_bolus_ml], ward[Policy.pressure_bolus_ml_per_kg] * weight)
        memory[Memory.boluses] += 1.0
        memory[Memory.bolus_last] = hour + 1
    elif mean < ward[Policy.pressure_pressor_below]:
        lacking = max(
            ward[Policy.pressure_step], (ward[Policy.pressure_target] - mean) / ward[Policy.pressure_gain]
        )
        running = min(ward[Policy.pressure_most], running + lacking)
    elif running > 0.0 and mean > ward[Policy.pressure_wean_above]:
        running = max(0.0, running - ward[Policy.pressure_step])
        if running < 1e-9:
            running = 0.0
    second = ward[Policy.pressure_second_pressor_from]
    memory[Memory.norepinephrine] = min(running, second)
    memory[Memory.epinephrine] = max(0.0, running - second)


@compiled
def _severity(hour, ward, ladder, memory):  # type: ignore[no-untyped-def]
    """The ward's view of how ill the patient is, from the support given: 0 to 4."""
    if memory[Memory.fever_first] == 0:
        return 0.0
    worst = 0.0
    if hour + 1 - memory[Memory.fever_last] <= ward[Policy.fever_counts_hours]:
        worst = 1.0
    if (
        memory[Memory.bolus_last] > 0
        and hour + 1 - memory[Memory.bolus_last] < ward[Policy.pressure_bolus_hours]
    ):
        worst = 2.0
    if memory[Memory.epinephrine] > 0:
        worst = 4.0
    elif memory[Memory.norepinephrine] > 0:
        worst = 3.0
    return max(worst, ladder[int(memory[Memory.device]), RUNG])


@compiled
def _treat(hour, severity, doses, ward, memory, row, weight):  # type: ignore[no-untyped-def]
    """Tocilizumab a delay after its grade, again while it lasts; a steroid when that was not enough.

    Doses given by schedule count towards the gap and the most doses, as treatment doses do.
    """
    now = hour + 1.0
    for k in range(doses.shape[0]):
        if doses[k, 0] == hour and int(doses[k, 2]) == Input.tocilizumab:
            memory[Memory.tocilizumab_doses] += 1.0
            memory[Memory.tocilizumab_last] = now
    if severity < ward[Policy.treatment_tocilizumab_from]:
        memory[Memory.tocilizumab_due] = 0.0
    elif memory[Memory.tocilizumab_doses] < ward[Policy.treatment_tocilizumab_doses]:
        if memory[Memory.tocilizumab_due] == 0.0:
            memory[Memory.tocilizumab_due] = now + ward[Policy.treatment_tocilizumab_delay_hours]
        again = memory[Memory.tocilizumab_last] + ward[Policy.treatment_tocilizumab_repeat_hours]
        first = memory[Memory.tocilizumab_doses] == 0
        if now >= memory[Memory.tocilizumab_due] and (first or now >= again):
            light = weight < ward[Policy.treatment_tocilizumab_light_below_kg]
            each = ward[
                Policy.treatment_tocilizumab_light_mg_per_kg
                if light
                else Policy.treatment_tocilizumab_mg_per_kg
            ]
            row[Chart.tocilizumab] = min(each * weight, ward[Policy.treatment_tocilizumab_most_mg])
            memory[Memory.tocilizumab_doses] += 1.0
            memory[Memory.tocilizumab_last] = now
    tried = (
        memory[Memory.tocilizumab_doses] > 0
        and now >= memory[Memory.tocilizumab_last] + ward[Policy.treatment_steroid_delay_hours]
    ) or severity < ward[Policy.treatment_tocilizumab_from]
    high = severity >= ward[Policy.treatment_methylprednisolone_from]
    if high:  # takes the place of dexamethasone
        memory[Memory.dexamethasone_left] = 0.0
    if (
        severity >= ward[Policy.treatment_steroid_from]
        and tried
        and not high
        and memory[Memory.dexamethasone_left] == 0
    ):
        memory[Memory.dexamethasone_left] = ward[Policy.treatment_dexamethasone_doses]
        memory[Memory.dexamethasone_due] = max(now, memory[Memory.dexamethasone_due])
    if memory[Memory.dexamethasone_left] > 0 and now >= memory[Memory.dexamethasone_due]:
        row[Chart.dexamethasone] = ward[Policy.treatment_dexamethasone_mg]
        memory[Memory.dexamethasone_left] -= 1.0
        memory[Memory.dexamethasone_due] = now + ward[Policy.treatment_dexamethasone_every_hours]
    if high and tried and memory[Memory.methylprednisolone_left] == 0:
        memory[Memory.methylprednisolone_left] = ward[Policy.treatment_methylprednisolone_doses]
        memory[Memory.methylprednisolone_due] = max(now, memory[Memory.methylprednisolone_due])
    if memory[Memory.methylprednisolone_left] > 0 and now >= memory[Memory.methylprednisolone_due]:
        row[Chart.methylprednisolone] = ward[Policy.treatment_methylprednisolone_mg]
        memory[Memory.methylprednisolone_left] -= 1.0
        memory[Memory.methylprednisolone_due] = now + ward[Policy.treatment_methylprednisolone_every_hours]


@compiled
def attend(hour, y, p, doses, ward, ladder, memory, row, extra, seed, number, weight):  # type: ignore[no-untyped-def]
    """One hour of care: read the patient's state `y`, write the chart's `row` and the inputs `extra`."""
    row[:] = 0.0
    row[Chart.temperature] = row[Chart.mean_bp] = row[Chart.spo2] = float("nan")
    close = memory[Memory.severity] >= ward[Policy.observe_close_from]
    every = ward[Policy.observe_close_hours] if close else ward[Policy.observe_routine_hours]
    missed = not close and uniform(seed, number, MISSED, hour) < ward[Policy.observe_missing]
    if hour % every == 0 and not missed:
        cooled, raised, oxygenated = _support(hour, ward, ladder, memory)
        temperature = (
            ward[Policy.observe_temperature_usual]
            + y[State.fever]
            - min(cooled, max(0.0, y[State.fever]))
            + ward[Policy.observe_temperature_sd] * normal(seed, number, NOISE, hour)
        )
        mean = (
            p[Parameter.map_start] - p[Parameter.map_fall] * y[State.leak]
            + raised + ward[Policy.observe_mean_bp_sd] * normal(seed, number, NOISE + 1, hour)
        )  # fmt: skip
        spo2 = min(
            100.0,
            min(
                p[Parameter.spo2_start] + ward[Policy.oxygen_above_usual],
                p[Parameter.spo2_start] - p[Parameter.spo2_fall] * y[State.lung] + oxygenated,
            )
            + ward[Policy.observe_spo2_sd] * normal(seed, number, NOISE + 2, hour),
        )
        # What is read off: a thermometer shows tenths, a monitor whole numbers.
        temperature = np.floor(temperature * 10.0 + 0.5) / 10.0
        mean, spo2 = np.floor(mean + 0.5), np.floor(spo2 + 0.5)
        row[Chart.temperature], row[Chart.mean_bp], row[Chart.spo2] = temperature, mean, spo2
        if temperature >= ward[Policy.fever_from]:
            memory[Memory.fever_last] = hour + 1
            if memory[Memory.fever_first] == 0:
                memory[Memory.fever_first] = hour + 1
        _breathing(hour, spo2, ward, ladder, memory)
        _pressure(hour, mean, ward, memory, row, weight)
        rested = hour + 1 - memory[Memory.acetaminophen_last] >= ward[Policy.fever_every_hours]
        if temperature >= ward[Policy.fever_treat_from] and (
            memory[Memory.acetaminophen_last] == 0 or rested
        ):
            row[Chart.acetaminophen] = min(ward[Policy.fever_mg], ward[Policy.fever_mg_per_kg] * weight)
            memory[Memory.acetaminophen_last] = hour + 1
    severity = _severity(hour, ward, ladder, memory)
    memory[Memory.severity] = severity
    _treat(hour, severity, doses, ward, memory, row, weight)
    device = int(memory[Memory.device])
    row[Chart.device] = device
    row[Chart.flow], row[Chart.fio2] = ladder[device, FLOW], ladder[device, FIO2]
    row[Chart.norepinephrine], row[Chart.epinephrine] = (
        memory[Memory.norepinephrine],
        memory[Memory.epinephrine],
    )
    row[Chart.severity] = severity
    # Given over the hour that follows; the model counts a day.
    extra[:] = 0.0
    extra[Input.tocilizumab] = 24.0 * row[Chart.tocilizumab]
    extra[Input.dexamethasone] = 24.0 * row[Chart.dexamethasone]
    extra[Input.methylprednisolone] = 24.0 * row[Chart.methylprednisolone]
