"""What became of simulated patients, and how it compares with what a trial published.

Grades, onsets and ends come from the grading engine and its episodes, on the facts, under the trial's own
scale; support and drugs from the ward's chart; cytokines from the samples a laboratory drew, or, where a
publication asks for an hour that no sample has, from the model itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tocsin.definitions.schema import TocsinError
from tocsin.definitions.trial import Target, Trial
from tocsin.definitions.ward import Ward
from tocsin.simulation.care import Chart
from tocsin.simulation.equations import Parameter, State, Vector
from tocsin.simulation.solve import Courses

Columns = Mapping[str, Vector]
#: Cytokines whose peaks trials publish, and the states behind them.
MARKERS = {
    "il-6": State.il_6, "ifn-gamma": State.ifn_gamma, "tnf-alpha": State.tnf_alpha, "il-10": State.il_10,
    "il-1-beta": State.il_1_beta, "crp": State.crp, "ferritin": State.ferritin,
}  # fmt: skip
#: Windows (hours) in which the highest interleukin 6 is kept.
WINDOWS = ((0, 11), (168, 192), (336, 360))
EARLY_HOUR = 72
#: Trials' worth of patients that a calibrated set needs before it is one of several.
POOL = 4
COMPARED = pa.schema([
    ("trial", pa.string()), ("target", pa.string()), ("says", pa.string()), ("unit", pa.string()),
    ("role", pa.string()), ("n", pa.int64()), ("published", pa.float64()), ("published_low", pa.float64()),
    ("published_high", pa.float64()), ("simulated", pa.float64()), ("low", pa.float64()),
    ("high", pa.float64()), ("p", pa.float64()), ("hit", pa.bool_()), ("status", pa.string()),
])  # fmt: skip


def outcomes(
    courses: Courses, facts: pa.Table, intervals: pa.Table, episodes: pa.Table, ward: Ward, *,
    ids: Sequence[str], zero: datetime,
) -> dict[str, Vector]:  # fmt: skip
    """One number a patient for each thing that trials publish; not-a-number where it never came.

    Parameters
    ----------
    facts, intervals, episodes : of these patients, canonical, and as `grade` and `episodes` answer them under
    one scale.  ids : the patients' ids in the order of `courses`.  zero : the time of the first dose.
    Hours are counted from it.
    """
    place = {name: k for k, name in enumerate(ids)}
    n, chart = len(ids), courses.chart

    def hours(column: pa.ChunkedArray) -> Vector:
        micros = np.asarray(column.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        return (micros - zero.timestamp() * 1e6) / 3.6e9

    def who(table: pa.Table) -> NDArray[np.int64]:
        return np.array([place[name] for name in table["patient_id"].to_pylist()], dtype=np.int64)

    found: dict[str, Vector] = {"grade": np.zeros(n)}
    np.maximum.at(found["grade"], who(intervals), intervals["grade"].to_numpy().astype(np.float64))
    high = np.zeros(n)
    told = [any("high-dose" in name for name in row) for row in intervals["because"].to_pylist()]
    high[who(intervals)[np.array(told, dtype=bool)]] = 1.0
    found["high_dose"] = high

    number, started, ended = who(episodes), hours(episodes["start"]), hours(episodes["end"])
    which = episodes["episode"].to_numpy()
    for name in ("onset", "ended", "after_dose", "grade_3", "grade_4"):
        found[name] = np.full(n, np.nan)
    first = which == 1
    found["onset"][number[first]] = started[first]
    found["ended"][number[first]] = ended[first]
    found["after_dose"][number[first]] = _floats(episodes["hours_from_dose"])[first]
    for level in (3, 4):
        # An episode says when each grade was first reached; one may leap over a grade.
        for above in range(level, 5):
            np.fmin.at(found[f"grade_{level}"], number, hours(episodes[f"first_{above}"]))
    found["events"] = np.bincount(number, minlength=n).astype(np.float64)
    # An illness of which the record does not see the end lasted at least as long as the record.
    last_hour = np.where(np.isnan(found["ended"]), float(chart.shape[1] - 1), found["ended"])
    found["duration"] = last_hour - found["onset"]

    warm = facts.filter(pc.and_(pc.equal(facts["measure"], "temperature"),
                                pc.greater_equal(facts["value"], ward.numbers["fever_from"])))  # fmt: skip
    at, day = who(warm), hours(warm["time"])
    found["fever"] = np.zeros(n)
    found["fever"][at] = 1.0
    last = np.full(n, np.nan)
    inside = (day >= found["onset"][at]) & ~(day > found["ended"][at])
    np.fmax.at(last, at[inside], day[inside])
    found["fever_lasted"] = last - found["onset"]

    given = chart[:, :, Chart.tocilizumab] > 0
    found["tocilizumab"] = given.sum(1).astype(np.float64)
    found["tocilizumab_first"] = np.where(given.any(1), given.argmax(1), np.nan)
    steroid = (chart[:, :, Chart.dexamethasone] > 0) | (chart[:, :, Chart.methylprednisolone] > 0)
    fluid = chart[:, :, Chart.bolus] > 0
    pressor = chart[:, :, Chart.norepinephrine] + chart[:, :, Chart.epinephrine] > 0
    for name, hourly in (
        ("steroid", steroid), ("oxygen", chart[:, :, Chart.device] > 0), ("supported", fluid | pressor),
        ("ventilator", chart[:, :, Chart.device] >= len(ward.ladder) - 1),
    ):  # fmt: skip
        found[name] = np.asarray(hourly.any(axis=1), dtype=np.float64)
    found["tocilizumab_in_first"] = (found["tocilizumab_first"] <= last_hour).astype(np.float64)
    found["response_hours"] = found["ended"] - found["tocilizumab_first"]
    _markers(found, courses, facts, who)
    return found


def _floats(column: pa.ChunkedArray) -> Vector:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _markers(
    found: dict[str, Vector], courses: Courses, facts: pa.Table, who: Callable[[pa.Table], NDArray[np.int64]]
) -> None:
    """Peaks as sampled; the hours and moments that samples miss, from the model."""
    states = courses.states
    n, everyone = len(states), np.arange(len(states))
    onset = np.where(np.isfinite(found["onset"]), found["onset"], 0).astype(np.int64)
    onset = np.clip(onset, 0, states.shape[1] - 1)
    for name, state in MARKERS.items():
        rows = facts.filter(pc.equal(facts["measure"], name))
        peak = np.full(n, np.nan)
        if rows.num_rows:
            np.fmax.at(peak, who(rows), _floats(rows["value"]))
        found[f"peak {name}"] = peak
        found[f"peak hour {name}"] = states[:, :, state].argmax(1).astype(np.float64)
        found[f"onset {name}"] = np.where(np.isfinite(found["onset"]), states[everyone, onset, state], np.nan)
        found[f"early {name}"] = states[:, min(EARLY_HOUR, states.shape[1] - 1), state]
    for first, last in WINDOWS:
        window = states[:, first : last + 1, State.il_6]
        found[f"il-6 {first}-{last}"] = window.max(1) if window.shape[1] else np.full(n, np.nan)
    cells = states[:, :, State.resting] + states[:, :, State.effector] + states[:, :, State.persisting]
    found["t-cell hour"] = cells.argmax(1).astype(np.float64)
    found["temperature rise"] = states[:, :, State.fever].max(1)
    found["temperature hour"] = states[:, :, State.fever].argmax(1).astype(np.float64)
    found["map fall"] = courses.parameters[:, Parameter.map_fall] * states[:, :, State.leak].max(1)


@dataclass(frozen=True, slots=True)
class Asked:
    """How a target is read off: the patients it is about, and what is taken of each sample of them."""

    eligible: NDArray[np.bool_]
    value: Vector
    take: str  # mean %, median, iqr, sd


def asked(target: Target, c: Columns) -> Asked:
    """The patients and the numbers behind a target; raises `TocsinError` for a quantity not known here."""
    crs = c["grade"] >= 1
    anyone = np.ones(len(crs), dtype=bool)
    of = crs if target.of == "crs" else anyone
    number = target.numbers.get("grade", 0.0)
    day = 24.0

    def share(value: NDArray[np.bool_] | Vector, eligible: NDArray[np.bool_] = of) -> Asked:
        return Asked(eligible, np.asarray(value, dtype=np.float64) * 100.0, "mean")

    def median(value: Vector, eligible: NDArray[np.bool_] = crs) -> Asked:
        return Asked(eligible & np.isfinite(value), value, "median")

    ceiling = target.numbers.get("ceiling", np.inf)
    marker = target.measure
    plain: dict[str, Callable[[], Asked]] = {
        "share-at-least": lambda: share(c["grade"] >= number),
        "share-grade": lambda: share(c["grade"] == number),
        "onset-days": lambda: median(c["onset"] / day),
        "onset-hours": lambda: median(c["onset"]),
        "onset-iqr-days": lambda: Asked(crs & np.isfinite(c["onset"]), c["onset"] / day, "iqr"),
        "onset-after-dose-days": lambda: median(c["after_dose"] / day),
        "onset-share-from-day": lambda: share(c["onset"] >= target.numbers["day"] * day, crs),
        "free-at-hours": lambda: share(~(c["onset"] < target.numbers["hours"])),
        "duration-days": lambda: median(c["duration"] / day),
        "fever-days": lambda: median(c["fever_lasted"] / day),
        "days-onset-to-grade-4": lambda: median((c["grade_4"] - c["onset"]) / day),
        "hours-to-grade-3": lambda: median(c["grade_3"]),
        "tocilizumab-share": lambda: share(c["tocilizumab"] > 0),
        "steroid-share": lambda: share(c["steroid"]),
        "oxygen-share": lambda: share(c["oxygen"]),
        "ventilator-share": lambda: share(c["ventilator"]),
        "fluid-or-pressor-share": lambda: share(c["supported"]),
        "high-dose-pressor-share": lambda: share(c["high_dose"]),
        "fever-share": lambda: share(c["fever"]),
        "tocilizumab-response": lambda: share(
            (c["response_hours"] >= 0)
            & (c["response_hours"] <= target.numbers["within_days"] * day)
            & (c["tocilizumab"] <= target.numbers["most_doses"]),
            (c["tocilizumab"] > 0) & (c["grade"] >= number),
        ),
        "recurrence-share": lambda: share(
            c["events"] >= 2, crs & ((c["tocilizumab_in_first"] > 0) == (target.given == "tocilizumab"))
        ),
        "more-than-one-share": lambda: share(c["events"] >= 2),
        "t-cell-peak-days": lambda: median(c["t-cell hour"] / day, anyone),
        "peak-median": lambda: median(
            np.minimum(c[f"peak {marker}"], ceiling),
            c["grade"] >= number if target.upward else c["grade"] == number,
        ),
        "at-onset-median": lambda: median(c[f"onset {marker}"]),
        "peak-after-onset-days": lambda: median((c[f"peak hour {marker}"] - c["onset"]) / day),
        "sd-log-peak": lambda: Asked(crs, np.log(np.minimum(c[f"peak {marker}"], ceiling)), "sd"),
        "il-6-highest-median": lambda: median(
            c[f"il-6 {int(target.numbers['first'])}-{int(target.numbers['last'])}"], anyone
        ),
        "temperature-rise-median": lambda: median(c["temperature rise"], anyone),
        "temperature-peak-hours": lambda: median(c["temperature hour"], anyone),
        "map-fall-median": lambda: median(c["map fall"], anyone),
        "auroc-below": lambda: Asked(anyone, np.arange(len(crs), dtype=np.float64), "auroc"),
    }
    if target.quantity not in plain:
        raise TocsinError(f"target {target.id}: `{target.quantity}` cannot be read off a simulation")
    return plain[target.quantity]()


def compare(
    trial: Trial, columns: Columns, sets: NDArray[np.int64], *, seed: int, draws: int = 1000
) -> pa.Table:
    """Each target beside `draws` simulated trials of the published size, in the columns of `COMPARED`.

    A simulated trial takes one calibrated set (`sets` numbers each patient's) and draws its patients from
    those of that set; `spread_sets` says how many sets so many patients allow. `low` and `high` hold 95 % of
    them, `p` is two-sided: how often one lies as far out as the published number. Shares count as equal
    within half a patient, days within half of the last digit printed, because publications round them. A
    target that is only a bound is hit where the simulation may keep it. Where nobody simulated is eligible,
    `simulated` is null and the target is missed.
    """
    rows = []
    for k, target in enumerate(trial.targets):
        rng = np.random.default_rng([seed, k])
        n = target.n or trial.n
        read = asked(target, columns)
        found = _trials(read, target, columns, sets, n, draws, rng)
        found = found[np.isfinite(found)]
        low, middle, high = np.percentile(found, [2.5, 50, 97.5]) if len(found) else (np.nan,) * 3
        near = _near(target, n)
        most, least = target.value + near, target.value - near
        below = (1 + (found <= most).sum()) / (1 + len(found))
        above = (1 + (found >= least).sum()) / (1 + len(found))
        p = {"at-most": below, "at-least": above}.get(target.bound, min(1.0, 2.0 * min(below, above)))
        hit = bool(len(found)) and {"at-most": low <= most, "at-least": high >= least}.get(
            target.bound, low <= most and high >= least
        )
        low, middle, high = (None if np.isnan(x) else float(x) for x in (low, middle, high))
        rows.append({
            "trial": trial.id, "target": target.id, "says": target.says, "unit": target.unit,
            "role": target.role, "n": n, "published": target.value, "published_low": target.low,
            "published_high": target.high, "simulated": middle, "low": low, "high": high,
            "p": float(p) if len(found) else None, "hit": bool(hit), "status": target.status,
        })  # fmt: skip
    return pa.Table.from_pylist(rows, schema=COMPARED)


def _near(target: Target, n: int) -> float:
    """How far a number may be off and still be the one that was printed."""
    if target.unit == "%":
        return 50.0 / n
    if target.unit == "d":
        return float(0.5 * 10.0 ** -len(f"{target.value:g}".partition(".")[2]))
    return 1e-9 * max(1.0, abs(target.value))


def _trials(
    read: Asked,
    target: Target,
    c: Columns,
    sets: NDArray[np.int64],
    n: int,
    draws: int,
    rng: np.random.Generator,
) -> Vector:
    """What each of `draws` simulated trials finds.

    Where the published number rests on a subgroup of its own size (`target.n`), that many of the subgroup
    are drawn; else the whole trial is drawn and the subgroup is what it happens to hold.

    Of one set, patients are drawn with replacement. Of several, without: a set's own patients are a sample
    already, and drawing from them again would count the chance of sampling twice and widen every interval.
    """
    own = target.n is not None
    names = np.unique(sets)
    chosen = rng.integers(0, len(names), draws)
    out = np.full(draws, np.nan)
    for row, name in enumerate(names):
        pool = np.flatnonzero((sets == name) & read.eligible) if own else np.flatnonzero(sets == name)
        times = np.flatnonzero(chosen == row)
        if not len(pool) or not len(times):
            continue
        picked = pool[_drawn(len(pool), n, len(times), len(names) > 1, rng)]
        if read.take == "auroc":
            out[times] = [_auroc_gap(one, target.measure, c) for one in picked]
            continue
        values = np.where(read.eligible[picked], read.value[picked], np.nan)
        counted = np.isfinite(values).sum(1) > (1 if read.take in ("iqr", "sd") else 0)
        if not counted.any():
            continue
        some = values[counted]
        if read.take == "mean":
            got = np.nanmean(some, axis=1)
        elif read.take == "median":
            got = np.nanmedian(some, axis=1)
        elif read.take == "sd":
            got = np.nanstd(some, axis=1, ddof=1)
        else:
            got = np.subtract(*np.nanpercentile(some, [75, 25], axis=1))
        out[times[counted]] = got
    return out


def spread_sets(count: int, patients: int, n: int) -> NDArray[np.int64]:
    """Which of `count` calibrated sets to simulate, so that each has several trials' worth of patients.

    With fewer, the chance of who happened to be simulated would pass for a difference between sets.

    >>> spread_sets(50, 1000, 68).tolist()
    [0, 24, 49]
    """
    most = max(1, min(count, patients // (POOL * n)))
    return np.linspace(0, count - 1, most).astype(np.int64)


def _drawn(pool: int, n: int, times: int, once: bool, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of the patients of `times` trials in a pool; `once`: nobody twice, where it is large enough."""
    if not once or pool < n or pool > 20 * n:  # of a large pool hardly anybody is drawn twice
        return rng.integers(0, pool, (times, n))
    return np.argsort(rng.random((times, pool)), axis=1)[:, :n]


def _auroc_gap(picked: NDArray[np.int64], measure: str, c: Columns) -> float:
    """How much better interferon gamma foretells grade 4 than `measure` does, both at 72 h."""
    sick = c["grade"][picked] >= 4
    if sick.all() or not sick.any():
        return float("nan")
    return _auroc(c["early ifn-gamma"][picked], sick) - _auroc(c[f"early {measure}"][picked], sick)


def _auroc(value: Vector, sick: NDArray[np.bool_]) -> float:
    """Share of pairs in which the sick patient's value is higher, ties half."""
    order = np.argsort(value, kind="stable")
    ranks = np.empty(len(value))
    ranks[order] = np.arange(1, len(value) + 1)
    _, inverse = np.unique(value, return_inverse=True)
    ranks = (np.bincount(inverse, ranks) / np.bincount(inverse))[inverse]
    cases = int(sick.sum())
    return float((ranks[sick].sum() - cases * (cases + 1) / 2) / (cases * (len(value) - cases)))
