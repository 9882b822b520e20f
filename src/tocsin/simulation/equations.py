"""The model of cytokine release: its states, its parameters, its inputs and its one right-hand side.

One module of macrophages, cytokines and organs, driven by any of three triggers: engineered T cells
(`car` = 1), an antibody that engages T cells (`car` = 0, concentration at its site of action), or a
pathogen. Written once, as plain arithmetic over arrays indexed by name: Python runs it as it stands,
numba compiles it, and `sbml.py` reads its syntax tree. Values, units, meanings and sources of the
parameters are on the shelf `models`; the unit of time is the day.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]


class _Place(IntEnum):
    """A name for a place in an array, counted from 0."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        return count


class State(_Place):
    """What changes with time. T cells are scaled: 1 is the typical peak of tisagenlecleucel."""

    depot = auto()  # engager under the skin, mg
    engager = auto()  # engager in plasma, mg
    engager_peripheral = auto()  # engager in tissue, mg
    transit = auto()  # engager on its way to the site of action, mg/L
    site = auto()  # engager at the site of action, mg/L
    antigen = auto()  # cells that carry the target, 1 = typical
    resting = auto()  # T cells not yet engaged
    effector = auto()  # T cells engaged and expanding
    persisting = auto()  # T cells contracted
    tolerance = auto()  # 1 = none, falls with exposure to an engager
    pathogen = auto()  # pathogen or its products, 1 = a strong stimulus
    macrophage = auto()  # activated share of macrophages, 0 to 1
    slow_macrophage = auto()  # haemophagocytic branch, slow
    ifn_gamma = auto()  # pg/mL, as the four below
    tnf_alpha = auto()
    il_1_beta = auto()
    il_6 = auto()
    il_10 = auto()
    tocilizumab = auto()  # mg in plasma
    tocilizumab_peripheral = auto()
    siltuximab = auto()  # mg in plasma
    siltuximab_peripheral = auto()
    anakinra_depot = auto()  # mg under the skin
    anakinra = auto()  # mg in plasma
    dexamethasone = auto()  # mg in plasma
    methylprednisolone = auto()  # mg in plasma
    steroid = auto()  # effect, mg of dexamethasone still at work
    crp = auto()  # mg/L
    ferritin = auto()  # ug/L
    fever = auto()  # degrees above the usual temperature
    leak = auto()  # vascular leak, 0 to 1
    injury = auto()  # slow endothelial injury, 0 to 1
    lung = auto()  # loss of oxygenation, 0 to 1


class Input(_Place):
    """What is given, mg a day; `pathogen` in its own unit a day."""

    engager_depot = auto()
    engager = auto()
    pathogen = auto()
    tocilizumab = auto()
    siltuximab = auto()
    anakinra_depot = auto()
    anakinra = auto()
    dexamethasone = auto()
    methylprednisolone = auto()


class Parameter(_Place):
    """What is fixed for one patient; the shelf `models` says what each one means."""

    car = auto()
    # the engager
    ka = auto()
    bioavailability = auto()
    v_central = auto()
    k_elim = auto()
    k_12 = auto()
    k_21 = auto()
    k_site = auto()
    ec50 = auto()
    # antigen and T cells
    antigen_start = auto()
    antigen_growth = auto()
    antigen_max = auto()
    antigen_half = auto()
    k_kill = auto()
    effector_half = auto()
    resting_start = auto()
    resting_level = auto()
    k_supply = auto()
    k_act = auto()
    k_exp = auto()
    effector_max = auto()
    d_effector = auto()
    k_contract = auto()
    d_persisting = auto()
    k_return = auto()
    k_tolerance = auto()
    tolerance_half = auto()
    # the pathogen
    k_pathogen = auto()
    pathogen_half = auto()
    w_pathogen = auto()
    p_tnf_pathogen = auto()
    p_il6_pathogen = auto()
    # macrophages
    k_macro = auto()
    d_macro = auto()
    w_contact = auto()
    contact_half = auto()
    w_ifn = auto()
    ifn_half = auto()
    w_il1 = auto()
    il1_half = auto()
    il10_half = auto()
    k_slow = auto()
    slow_ifn_half = auto()
    # cytokines
    b_ifn = auto()
    p_ifn = auto()
    ifn_help = auto()
    k_ifn = auto()
    b_tnf = auto()
    p_tnf = auto()
    p_tnf_macro = auto()
    k_tnf = auto()
    b_il1 = auto()
    p_il1 = auto()
    k_il1 = auto()
    b_il6 = auto()
    p_il6_macro = auto()
    p_il6_fresh = auto()
    il6_il1_help = auto()
    k_il6 = auto()
    il6_receptor_share = auto()
    b_il10 = auto()
    p_il10 = auto()
    k_il10 = auto()
    # treatment
    toci_cl = auto()
    toci_v1 = auto()
    toci_q = auto()
    toci_v2 = auto()
    toci_vmax = auto()
    toci_km = auto()
    toci_kd = auto()
    silt_cl = auto()
    silt_v1 = auto()
    silt_q = auto()
    silt_v2 = auto()
    silt_kd = auto()
    anakinra_ka = auto()
    anakinra_cl = auto()
    anakinra_v = auto()
    anakinra_kd = auto()
    k_dexamethasone = auto()
    k_methylprednisolone = auto()
    methylprednisolone_potency = auto()
    k_steroid = auto()
    steroid_half = auto()
    steroid_macro = auto()
    steroid_t_cell = auto()
    # what is seen
    k_crp = auto()
    crp_start = auto()
    crp_gain = auto()
    crp_half = auto()
    k_ferritin = auto()
    ferritin_start = auto()
    ferritin_macro = auto()
    ferritin_macro_half = auto()
    ferritin_slow = auto()
    k_fever = auto()
    fever_max = auto()
    fever_il6 = auto()
    fever_tnf = auto()
    fever_il1 = auto()
    fever_ifn = auto()
    k_leak = auto()
    leak_il6 = auto()
    leak_ifn = auto()
    leak_tnf = auto()
    susceptibility = auto()
    leak_injury = auto()
    k_injury = auto()
    k_lung = auto()
    map_start = auto()
    map_fall = auto()
    spo2_start = auto()
    spo2_fall = auto()


def rates(y: Vector, p: Vector, u: Vector, dy: Vector) -> None:
    """Write into `dy` the change a day of every state `y`, under parameters `p` and inputs `u`.

    Source: the model of `science/crs-models.md`, section 3, extended by a slow macrophage branch, a slow
    endothelial injury, a second compartment and a transit step of the engager, and the drugs' own kinetics
    (docs/model.md says what each stands for).
    """
    # what the drugs do
    steroid = y[State.steroid] / (y[State.steroid] + p[Parameter.steroid_half])
    macro_open = 1.0 - p[Parameter.steroid_macro] * steroid
    t_cell_open = 1.0 - p[Parameter.steroid_t_cell] * steroid
    toci = y[State.tocilizumab] / p[Parameter.toci_v1]
    occupied = toci / (toci + p[Parameter.toci_kd])
    silt = y[State.siltuximab] / p[Parameter.silt_v1]
    free_il6 = y[State.il_6] * (1.0 - occupied) * p[Parameter.silt_kd] / (silt + p[Parameter.silt_kd])
    anakinra = y[State.anakinra] / p[Parameter.anakinra_v]
    free_il1 = y[State.il_1_beta] * p[Parameter.anakinra_kd] / (anakinra + p[Parameter.anakinra_kd])

    # the engager, from the skin to its site
    absorbed = p[Parameter.ka] * y[State.depot]
    plasma = y[State.engager] / p[Parameter.v_central]
    dy[State.depot] = u[Input.engager_depot] - absorbed
    dy[State.engager] = (
        p[Parameter.bioavailability] * absorbed
        + u[Input.engager]
        - (p[Parameter.k_elim] + p[Parameter.k_12]) * y[State.engager]
        + p[Parameter.k_21] * y[State.engager_peripheral]
    )
    dy[State.engager_peripheral] = (
        p[Parameter.k_12] * y[State.engager] - p[Parameter.k_21] * y[State.engager_peripheral]
    )
    dy[State.transit] = p[Parameter.k_site] * (plasma - y[State.transit])
    dy[State.site] = p[Parameter.k_site] * (y[State.transit] - y[State.site])

    # T cells meet antigen
    bound = y[State.site] / (y[State.site] + p[Parameter.ec50])
    engaged = p[Parameter.car] + (1.0 - p[Parameter.car]) * bound
    seen = y[State.antigen] / (y[State.antigen] + p[Parameter.antigen_half])
    activation = p[Parameter.k_act] * engaged * seen * y[State.resting]
    synapses = y[State.effector] * engaged * seen * y[State.tolerance]
    working = synapses / (1.0 + synapses)
    dy[State.antigen] = p[Parameter.antigen_growth] * y[State.antigen] * (
        1.0 - y[State.antigen] / p[Parameter.antigen_max]
    ) - p[Parameter.k_kill] * engaged * y[State.antigen] * y[State.effector] / (
        y[State.effector] + p[Parameter.effector_half]
    )
    dy[State.resting] = (
        p[Parameter.k_supply] * (p[Parameter.resting_level] - y[State.resting])
        - activation
        + p[Parameter.k_return] * y[State.persisting]
    )
    expansion = p[Parameter.k_exp] * seen * engaged * t_cell_open
    dy[State.effector] = (
        activation
        + expansion * y[State.effector] * (1.0 - y[State.effector] / p[Parameter.effector_max])
        - (p[Parameter.d_effector] + p[Parameter.k_contract]) * y[State.effector]
    )
    dy[State.persisting] = (
        p[Parameter.k_contract] * y[State.effector]
        - (p[Parameter.d_persisting] + p[Parameter.k_return]) * y[State.persisting]
    )
    exposed = (1.0 - p[Parameter.car]) * y[State.site] / (y[State.site] + p[Parameter.tolerance_half])
    dy[State.tolerance] = p[Parameter.k_tolerance] * (1.0 - exposed - y[State.tolerance])

    # macrophages: contact, interferon, interleukin 1, pathogen
    dy[State.pathogen] = u[Input.pathogen] - p[Parameter.k_pathogen] * y[State.pathogen]
    stimulus = y[State.pathogen] / (y[State.pathogen] + p[Parameter.pathogen_half])
    contact = synapses * synapses / (synapses * synapses + p[Parameter.contact_half] ** 2)
    help_ifn = y[State.ifn_gamma] / (y[State.ifn_gamma] + p[Parameter.ifn_half])
    help_il1 = free_il1 * free_il1 / (free_il1 * free_il1 + p[Parameter.il1_half] ** 2)
    drive = (
        p[Parameter.w_contact] * contact
        + p[Parameter.w_ifn] * help_ifn
        + p[Parameter.w_il1] * help_il1
        + p[Parameter.w_pathogen] * stimulus
    )
    m = y[State.macrophage]
    brake = p[Parameter.il10_half] / (p[Parameter.il10_half] + y[State.il_10])
    dy[State.macrophage] = (
        0.25 * p[Parameter.k_macro] * drive * (1.0 - m) * macro_open * brake - p[Parameter.d_macro] * m
    )
    lasting = m * m * y[State.ifn_gamma] / (y[State.ifn_gamma] + p[Parameter.slow_ifn_half])
    dy[State.slow_macrophage] = p[Parameter.k_slow] * (macro_open * lasting - y[State.slow_macrophage])

    # cytokines
    dy[State.ifn_gamma] = (
        p[Parameter.b_ifn]
        + p[Parameter.p_ifn] * t_cell_open * working * (1.0 + p[Parameter.ifn_help] * m * m)
        - p[Parameter.k_ifn] * y[State.ifn_gamma]
    )
    dy[State.tnf_alpha] = (
        p[Parameter.b_tnf]
        + p[Parameter.p_tnf] * t_cell_open * working
        + macro_open * (p[Parameter.p_tnf_macro] * m + p[Parameter.p_tnf_pathogen] * stimulus)
        - p[Parameter.k_tnf] * y[State.tnf_alpha]
    )
    dy[State.il_1_beta] = (
        p[Parameter.b_il1]
        + p[Parameter.p_il1] * macro_open * m * m * m
        - p[Parameter.k_il1] * y[State.il_1_beta]
    )
    boosted = 1.0 + p[Parameter.il6_il1_help] * free_il1 / (free_il1 + p[Parameter.il1_half])
    dy[State.il_6] = (
        p[Parameter.b_il6]
        + macro_open
        * (
            p[Parameter.p_il6_macro] * m * m * boosted
            + p[Parameter.p_il6_fresh] * activation * y[State.tolerance]
            + p[Parameter.p_il6_pathogen] * stimulus
        )
        - p[Parameter.k_il6] * y[State.il_6] * (1.0 - p[Parameter.il6_receptor_share] * occupied)
    )
    dy[State.il_10] = (
        p[Parameter.b_il10]
        + p[Parameter.p_il10] * (m * m + 0.1 * working)
        - p[Parameter.k_il10] * y[State.il_10]
    )

    # the drugs' own kinetics
    toci_back = p[Parameter.toci_q] * y[State.tocilizumab_peripheral] / p[Parameter.toci_v2]
    dy[State.tocilizumab] = (
        u[Input.tocilizumab]
        - (p[Parameter.toci_cl] + p[Parameter.toci_q]) * toci
        - p[Parameter.toci_vmax] * toci / (toci + p[Parameter.toci_km])
        + toci_back
    )
    dy[State.tocilizumab_peripheral] = p[Parameter.toci_q] * toci - toci_back
    silt_back = p[Parameter.silt_q] * y[State.siltuximab_peripheral] / p[Parameter.silt_v2]
    dy[State.siltuximab] = (
        u[Input.siltuximab] - (p[Parameter.silt_cl] + p[Parameter.silt_q]) * silt + silt_back
    )
    dy[State.siltuximab_peripheral] = p[Parameter.silt_q] * silt - silt_back
    anakinra_in = p[Parameter.anakinra_ka] * y[State.anakinra_depot]
    dy[State.anakinra_depot] = u[Input.anakinra_depot] - anakinra_in
    dy[State.anakinra] = u[Input.anakinra] + anakinra_in - p[Parameter.anakinra_cl] * anakinra
    dexamethasone_out = p[Parameter.k_dexamethasone] * y[State.dexamethasone]
    methylprednisolone_out = p[Parameter.k_methylprednisolone] * y[State.methylprednisolone]
    dy[State.dexamethasone] = u[Input.dexamethasone] - dexamethasone_out
    dy[State.methylprednisolone] = u[Input.methylprednisolone] - methylprednisolone_out
    dy[State.steroid] = (
        dexamethasone_out
        + p[Parameter.methylprednisolone_potency] * methylprednisolone_out
        - p[Parameter.k_steroid] * y[State.steroid]
    )

    # what is seen at the bedside
    liver = free_il6 / (free_il6 + p[Parameter.crp_half])
    dy[State.crp] = p[Parameter.k_crp] * (
        p[Parameter.crp_start] * (1.0 + p[Parameter.crp_gain] * liver) - y[State.crp]
    )
    dy[State.ferritin] = p[Parameter.k_ferritin] * (
        p[Parameter.ferritin_start]
        * (
            1.0
            + p[Parameter.ferritin_macro] * m / (m + p[Parameter.ferritin_macro_half])
            + p[Parameter.ferritin_slow] * y[State.slow_macrophage]
        )
        - y[State.ferritin]
    )
    pyrogen = (
        free_il6 / p[Parameter.fever_il6]
        + 0.3 * y[State.tnf_alpha] / p[Parameter.fever_tnf]
        + 0.5 * free_il1 / p[Parameter.fever_il1]
        + y[State.ifn_gamma] / p[Parameter.fever_ifn]
    )
    dy[State.fever] = p[Parameter.k_fever] * (
        p[Parameter.fever_max] * pyrogen * pyrogen / (1.0 + pyrogen * pyrogen) * (1.0 - 0.5 * steroid)
        - y[State.fever]
    )
    opening = (
        p[Parameter.susceptibility]
        * (
            free_il6 / p[Parameter.leak_il6]
            + 0.3 * y[State.ifn_gamma] / p[Parameter.leak_ifn]
            + 0.3 * y[State.tnf_alpha] / p[Parameter.leak_tnf]
        )
        + p[Parameter.leak_injury] * y[State.injury]
    )
    leak = y[State.leak]
    dy[State.leak] = p[Parameter.k_leak] * (opening / (1.0 + opening) - leak)
    dy[State.injury] = p[Parameter.k_injury] * (leak * leak - y[State.injury])
    dy[State.lung] = p[Parameter.k_lung] * (leak * leak - y[State.lung])
