"""Calibrates the simulation on the trials' targets of role `fit`: writes the ensemble and the best values.

    python bench/calibrate.py [--minutes 30] [--patients 400] [--seed 1] [--write]

Three steps, each with its own seed and common random numbers inside it:

1. an iterated ensemble smoother (ES-MDA; Emerick and Reynolds, Comput Geosci 2013) from a log-normal prior
   around the shelf's values;
2. CMA-ES (the `cma` package) from the smoother's mean, on the sum of squared standardised residuals;
3. an ensemble by approximate Bayesian computation: a smoother around the best vector, each candidate judged
   anew with fresh seeds, kept where its cost is within `--within` of the best's.

Hold-outs and guides are never read. `--write` puts the kept sets into `models/ensemble.csv`, best first.
In the fit a trial's grade is read from the support given (`Summary`), which is quick; what is reported is
graded by the grading engine (`tocsin simulate --trial`).
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np

from tocsin.definitions.load import HERE, library
from tocsin.definitions.model import model_of
from tocsin.definitions.trial import Target, Trial, trial_of
from tocsin.definitions.ward import ward_of
from tocsin.simulation.equations import Parameter
from tocsin.simulation.patients import population
from tocsin.simulation.schedule import cells, schedule
from tocsin.simulation.solve import summaries
from tocsin.simulation.summary import Summary as Y

TRIALS = (
    "eliana",
    "eliana-ensign",
    "zuma-1",
    "cd22",
    "majestec-1",
    "tec-prophylaxis-emory",
    "bispecific-prophylaxis",
    "blinatumomab-flat",
    "blinatumomab-stepped",
)
CAR_T = (
    "tisagenlecleucel",
    "axicabtagene-ciloleucel",
    "cd22-car-t",
    "lisocabtagene-maraleucel",
    "ciltacabtagene-autoleucel",
)
ENGAGERS = ("teclistamab", "blinatumomab", "epcoritamab", "mosunetuzumab")
S = "cytokine-release"
#: The sum of vasopressors above which a second one runs: the ward's `pressure.second_pressor_from`.
SECOND = 0.25
#: The vasopressor rate (ug/kg/min, for 3 h) from which the scales call it high: by weight in children,
#: 20 ug/min at 75 kg in adults. The scales hold it; here it only stands in for them, and the engine grades
#: what is shown.
HIGH_DOSE = {"penn-2018": 0.2, "lee-2014": 0.267}
#: What is fitted: names that move together, the prior's SD of the logarithm.
FITTED: tuple[tuple[tuple[str, ...], float], ...] = (
    *(((f"{S}.{name}",), sd) for name, sd in {
        "effector_max": 0.3, "k_kill": 0.3, "effector_half": 0.3, "w_contact": 0.4, "contact_half": 0.4,
        "w_ifn": 0.4, "ifn_half": 0.3, "w_il1": 0.4, "il1_half": 0.3, "k_macro": 0.3, "d_macro": 0.25,
        "il10_half": 0.4,
        "p_ifn": 0.3, "p_ifn.sd": 0.3, "ifn_help": 0.4, "p_tnf": 0.3, "p_tnf_macro": 0.3, "p_il1": 0.3,
        "p_il6_macro": 0.3, "p_il6_macro.sd": 0.2, "p_il6_fresh": 0.4, "p_il10": 0.3, "fever_il6": 0.3,
        "fever_tnf": 0.4, "fever_il1": 0.4, "fever_ifn": 0.2, "k_leak": 0.3, "leak_il6": 0.4, "leak_ifn": 0.4,
        "leak_tnf": 0.4, "susceptibility.sd": 0.3, "leak_injury": 0.5, "k_injury": 0.4, "k_lung": 0.4,
        "spo2_fall": 0.3, "map_start.sd": 0.3, "k_supply": 0.4, "k_exp": 0.4, "k_contract": 0.4,
        "k_return": 0.4, "class.amplifying.w_il1": 0.4, "class.amplifying.ifn_help": 0.5,
    }.items()),
    (tuple(f"{name}.k_act" for name in CAR_T), 0.3),
    (tuple(f"{name}.k_kill" for name in ENGAGERS), 0.4),
    (tuple(f"{name}.p_ifn" for name in ENGAGERS), 0.3),
    (("tisagenlecleucel.antigen_start", "teclistamab.antigen_start"), 0.4),
    (("tisagenlecleucel.antigen_start.sd", "cd22-car-t.antigen_start.sd", "teclistamab.antigen_start.sd",
      "blinatumomab.antigen_start.sd"), 0.2),
    (("tisagenlecleucel.resting_start",), 0.6), (("tisagenlecleucel.k_exp",), 0.15),
    (("tisagenlecleucel.class.amplifying",), 0.5), (("tisagenlecleucel.class.quiet",), 0.5),
    (("axicabtagene-ciloleucel.antigen_start",), 0.4), (("axicabtagene-ciloleucel.antigen_start.sd",), 0.2),
    (("axicabtagene-ciloleucel.resting_start",), 0.5), (("axicabtagene-ciloleucel.k_exp",), 0.15),
    (("axicabtagene-ciloleucel.d_effector",), 0.3), (("axicabtagene-ciloleucel.class.amplifying",), 0.5),
    (("axicabtagene-ciloleucel.class.quiet",), 0.5),
    (("cd22-car-t.antigen_start",), 0.4), (("cd22-car-t.resting_start",), 0.6), (("cd22-car-t.k_exp",), 0.15),
    (("cd22-car-t.class.amplifying",), 0.4), (("cd22-car-t.class.quiet",), 0.5),
    (("teclistamab.k_site",), 0.4), (("teclistamab.ec50", "epcoritamab.ec50"), 0.4),
    (("teclistamab.k_act", "epcoritamab.k_act", "mosunetuzumab.k_act"), 0.3),
    (("teclistamab.tolerance_half", f"{S}.tolerance_half"), 0.5),
    (("blinatumomab.ec50",), 0.4), (("blinatumomab.k_act",), 0.3), (("blinatumomab.antigen_start",), 0.4),
    (("blinatumomab.tolerance_half",), 0.5), (("blinatumomab.b_il6",), 0.3),
)  # fmt: skip


def starting() -> np.ndarray:
    """The shelf's own value of every fitted number, as a logarithm."""
    lib = library()
    out = []
    for names, _ in FITTED:
        home, *path = names[0].split(".")
        model = model_of("tisagenlecleucel" if home == S else home, lib)
        classes = {one.id: one for one in model.classes}
        if path[0] == "class":
            value = classes[path[1]].share if len(path) == 2 else classes[path[1]].factor[path[2]]
        else:
            held = model.values[path[0]] if home != S or path[0] not in model.own else None
            held = held or model_of("teclistamab", lib).values[path[0]]
            value = held.sd if len(path) == 2 else held.value
        out.append(math.log(max(value, 1e-12)))
    return np.array(out)


def named(vector: np.ndarray) -> dict[str, float]:
    """A vector of logarithms as the numbers `Model.changed` takes; shares stay below 0.9."""
    numbers = {}
    for (names, _), value in zip(FITTED, np.exp(vector), strict=True):
        for name in names:
            share = ".class." in name and name.count(".") == 2
            numbers[name] = float(min(value, 0.9) if share else value)
    return numbers


def run(trial: Trial, numbers: dict[str, float], patients: int, seed: int) -> np.ndarray:
    """The summaries of one trial's patients under one set of numbers."""
    lib = library()
    model = model_of(trial.model, lib).changed(numbers)
    drawn = population(model, patients, seed)
    doses = trial.doses or model.doses
    drawn.parameters[:, Parameter.resting_start] *= cells(doses)
    days = min(trial.days, 28.0)
    ward = ward_of("usual", lib).changed(**trial.policy)
    planned = schedule([dose for dose in doses if dose.day < days], drawn.weight, days, ward)
    return summaries(drawn, planned, days, ward)


def grade(trial: Trial, s: np.ndarray) -> np.ndarray:
    """The trial's own grade, read from the support given: 0 to 4."""
    view = s[:, Y.severity]
    if trial.scale.startswith("penn"):
        third = (s[:, Y.oxygen] > 0) | (s[:, Y.fluid] >= 2) | (s[:, Y.pressor] > 0)
        fourth = (s[:, Y.pressor_lasting] >= HIGH_DOSE["penn-2018"]) | (s[:, Y.ventilated] > 0)
        return np.where(view < 1, 0, np.where(fourth, 4, np.where(third, 3, 2)))
    if trial.scale.startswith("lee"):
        third = (s[:, Y.pressor] > SECOND) | (s[:, Y.device] >= 2)
        return np.where(view < 2, view, np.where(s[:, Y.ventilated] > 0, 4, np.where(third, 3, 2)))
    return view


def asked(trial: Trial, target: Target, s: np.ndarray) -> tuple[float, float]:
    """(simulated, published) of one target on the scale on which residuals are taken: logit or logarithm."""
    crs = s[:, Y.severity] >= 1
    told = target.quantity
    of = s[crs] if target.of == "crs" else s
    grades = grade(trial, s)
    if target.unit == "%":
        number = int(target.numbers.get("grade", 0))
        shares: dict[str, Callable[[], float]] = {
            "share-at-least": lambda: (grades >= number).mean(),
            "share-grade": lambda: (grades == number).mean(),
            "tocilizumab-share": lambda: (of[:, Y.tocilizumab] > 0).mean(),
            "steroid-share": lambda: (of[:, Y.steroid] > 0).mean(),
            "oxygen-share": lambda: of[:, Y.oxygen].mean(),
            "ventilator-share": lambda: of[:, Y.ventilated].mean(),
            "fluid-or-pressor-share": lambda: ((of[:, Y.fluid] > 0) | (of[:, Y.pressor] > 0)).mean(),
            "high-dose-pressor-share": lambda: (of[:, Y.pressor_lasting] >= HIGH_DOSE[trial.scale]).mean(),
            "tocilizumab-response": lambda: responded(s),
        }
        return float(shares[told]()) * 100.0, target.value
    marker = {"il-6": "il_6", "ifn-gamma": "ifn_gamma", "tnf-alpha": "tnf_alpha", "il-10": "il_10",
              "il-1-beta": "il_1_beta"}.get(target.measure, "il_6")  # fmt: skip
    ceiling = target.numbers.get("ceiling", np.inf)
    value: float
    if told == "peak-median":
        number = int(target.numbers["grade"])
        kept = s[(grades >= number) if target.upward or number >= 3 else (grades == number)]
        value = middle(np.minimum(kept[:, Y[marker]], ceiling))
    elif told == "at-onset-median":
        value = middle(s[crs, Y[f"{marker}_onset"]])
    elif told == "peak-after-onset-days":
        value = middle(s[crs, Y[f"{marker}_hour"]] - s[crs, Y.onset]) / 24.0
    elif told == "sd-log-peak":
        value = float(np.std(np.log(np.minimum(s[crs, Y[marker]], ceiling))))
    elif told == "il-6-highest-median":
        value = middle(
            s[:, {0: Y.il_6_first, 168: Y.il_6_week_2, 336: Y.il_6_week_3}[int(target.numbers["first"])]]
        )
    elif told == "onset-days":
        value = middle(s[crs, Y.onset]) / 24.0
    elif told == "onset-iqr-days":
        value = float(np.subtract(*np.percentile(s[crs, Y.onset], [75, 25]))) / 24.0 if crs.any() else 0.0
    elif told == "duration-days":
        value = middle(s[crs, Y.last] - s[crs, Y.onset]) / 24.0
    elif told == "fever-days":
        value = middle(s[crs, Y.fever_last] - s[crs, Y.onset]) / 24.0
    elif told == "days-onset-to-grade-4":
        fourth = grades >= 4
        value = (
            middle(
                (np.where(np.isnan(s[:, Y.grade_4]), s[:, Y.grade_3], s[:, Y.grade_4]) - s[:, Y.onset])[
                    fourth
                ]
            )
            / 24
        )
    elif told == "t-cell-peak-days":
        value = middle(s[:, Y.t_cell_peak_hour]) / 24.0
    else:
        raise KeyError(told)
    return value, target.value


def middle(values: np.ndarray) -> float:
    """The median, 0 of nothing."""
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else 0.0


def responded(s: np.ndarray) -> float:
    """Of those given tocilizumab at a ward's view of 3 or more: over in 14 d, at most two doses, no worse."""
    given = s[s[:, Y.tocilizumab] > 0]
    if not len(given):
        return 0.5
    quick = given[:, Y.last] - given[:, Y.tocilizumab_first] <= 14 * 24
    return float(
        (quick & (given[:, Y.tocilizumab] <= 2) & (given[:, Y.worse_after_tocilizumab] <= 0)).mean()
    )


def residual(trial: Trial, target: Target, simulated: float, published: float) -> float:
    """How many standard errors the simulation is off at the published size, on a logit or a log scale."""
    n = target.n or trial.n
    if target.unit == "%":
        p = min(max(published / 100.0, 0.5 / n), 1 - 0.5 / n)
        q = min(max(simulated / 100.0, 0.25 / n), 1 - 0.25 / n)
        return (math.log(q / (1 - q)) - math.log(p / (1 - p))) / max(1.0 / math.sqrt(n * p * (1 - p)), 0.12)
    spread = 1.2 if target.unit == "pg/mL" else 0.5
    if target.quantity == "sd-log-peak":
        return (simulated - published) / (published / math.sqrt(2 * n))
    error = max(1.25 * spread / math.sqrt(n), 0.06)
    return max(-8.0, min(8.0, math.log(max(simulated, 1e-3) / published) / error))


LISTED = [
    (name, target.id)
    for name in TRIALS
    for target in trial_of(name, library()).targets
    if target.role == "fit"
]


def judged(vector: np.ndarray, patients: int, seed: int) -> np.ndarray:
    """The standardised residual of every fitted target."""
    lib, numbers, out = library(), named(vector), []
    kept: dict[tuple[object, ...], np.ndarray] = {}
    for k, name in enumerate(TRIALS):
        trial = trial_of(name, lib)
        key = (trial.model, tuple(trial.policy.items()), trial.doses)
        if key not in kept:
            try:
                kept[key] = run(trial, numbers, patients, seed * 100 + k)
            except Exception:  # a vector the solver cannot follow is a bad vector, not the end
                return np.full(len(LISTED), 8.0)
        for target in trial.targets:
            if target.role == "fit":
                out.append(residual(trial, target, *asked(trial, target, kept[key])))
    return np.array(out)


def _judge(task: tuple[np.ndarray, int, int]) -> np.ndarray:
    return judged(*task)


def smoothed(
    pool: Executor, first: np.ndarray, spread: np.ndarray, members: int, rounds: int, patients: int,
    seed: int, say: Callable[[str], None],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """ES-MDA with equal weights: members of (members, numbers) after `rounds`, and their residuals."""
    rng = np.random.default_rng(seed)
    ensemble = first + spread * rng.standard_normal((members, len(first)))
    ensemble[0] = first
    for turn in range(rounds + 1):
        residuals = np.stack(list(pool.map(_judge, [(one, patients, seed) for one in ensemble], chunksize=4)))
        cost = (residuals**2).sum(1)
        say(f"smoother {turn}/{rounds}: cost min {cost.min():.1f} median {np.median(cost):.1f}")
        if turn == rounds:
            return ensemble, residuals
        noise = math.sqrt(rounds) * rng.standard_normal(residuals.shape)
        x, d = ensemble - ensemble.mean(0), residuals - residuals.mean(0)
        u, w, vt = np.linalg.svd(d / math.sqrt(members - 1), full_matrices=False)
        gain = x.T / math.sqrt(members - 1) @ u * (w / (w**2 + rounds)) @ vt
        ensemble = ensemble + (noise - residuals) @ gain.T
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30, help="time for CMA-ES")
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--members", type=int, default=120)
    parser.add_argument("--keep", type=int, default=50)
    parser.add_argument(
        "--spread", type=float, default=1.0, help="of the first smoother, as a share of the prior's"
    )
    parser.add_argument("--within", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--start", type=Path, help="an ensemble.csv to start from: its first row")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{(time.monotonic() - began) / 60:6.1f} min  {text}", flush=True)

    first = starting()
    prior = np.array([sd for _, sd in FITTED])
    centre = first.copy()
    if options.start:
        with options.start.open() as lines:
            row = next(csv.DictReader(line for line in lines if not line.startswith("#")))
        first = np.array([math.log(float(row[names[0]])) for names, _ in FITTED])
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        start = (judged(first, options.patients, 1) ** 2).sum()
        say(f"{len(FITTED)} numbers, {len(LISTED)} targets; cost of the start {start:.1f}")
        ensemble, residuals = smoothed(
            pool, first, options.spread * prior, options.members, 4, options.patients, options.seed, say
        )
        cost = (residuals**2).sum(1)
        best = ensemble[cost.argmin()]

        import cma  # type: ignore[import-untyped]

        strategy = cma.CMAEvolutionStrategy(
            best, 0.25, {"seed": options.seed, "CMA_stds": prior, "popsize": 18, "verbose": -9}
        )
        stop, turn, seed = time.monotonic() + options.minutes * 60, 0, 1000 + options.seed
        while time.monotonic() < stop and not strategy.stop():
            asks = strategy.ask()
            found = np.stack(list(pool.map(_judge, [(one, options.patients, seed) for one in asks])))
            # The weak prior keeps numbers that no target holds near their start.
            penalty = [0.25 * (((one - centre) / prior) ** 2).sum() for one in asks]
            strategy.tell(asks, [*((found**2).sum(1) + penalty)])
            turn += 1
            if turn % 10 == 0:
                say(f"CMA-ES {turn}: cost {(found**2).sum(1).min():.1f} sigma {strategy.sigma:.3f}")
        best = strategy.mean if turn else best
        say(f"best, fresh seed: {(judged(best, 2 * options.patients, 77) ** 2).sum():.1f}")
        ensemble, _ = smoothed(
            pool, best, 0.25 * prior, options.members, 2, options.patients, 7 + options.seed, say
        )
        ensemble[0] = best
        fresh = np.stack(list(pool.map(_judge, [(one, options.patients, 99) for one in ensemble])))
    cost = (fresh**2).sum(1)
    order = [0, *(k for k in np.argsort(cost) if k and cost[k] <= cost[0] + options.within)][: options.keep]
    kept = cost[order]
    say(f"ensemble: {len(order)} of {len(ensemble)} kept, cost {kept.min():.1f} to {kept.max():.1f}")
    for (name, target), row in zip(LISTED, fresh[order].T, strict=True):
        print(f"{name:26} {target:22} best {row[0]:+5.1f}  ensemble {np.median(row):+5.1f}")
    if options.write:
        path = HERE / "models" / "ensemble.csv"
        sets = [named(ensemble[k]) for k in order]
        with path.open("w", newline="", encoding="utf-8") as out:
            asked_for = f"--seed {options.seed} --patients {options.patients}"
            out.write(f"# Calibrated sets, best first: bench/calibrate.py {asked_for}\n")
            writer = csv.DictWriter(out, [*sets[0]])
            writer.writeheader()
            writer.writerows({key: f"{value:.6g}" for key, value in one.items()} for one in sets)
        say(f"wrote {path}")


if __name__ == "__main__":
    main()
