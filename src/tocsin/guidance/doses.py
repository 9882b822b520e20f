"""How much, and whether now: a dose is its rule, the weight, the age, the clock and what was given before.

Pure functions of their arguments. Every limit is looked at and the strictest rules; the answer names the one
that binds. A number that cannot be given is refused with its reason, and whether a dose is due now is still
answered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from tocsin.definitions.dose import Band, DoseRule, Limit, dose_rule, weight_rule
from tocsin.definitions.load import Library
from tocsin.definitions.product import product
from tocsin.grading.opcodes import HOUR
from tocsin.guidance.bedside import NEVER, SILENT, Bedside, written

#: One earlier dose: when (microseconds) and how much, None where the amount was not charted.
Earlier = tuple[int, float | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One limit looked at: whether it allows a dose now, from when, and in words."""

    limit: Limit
    allowed: bool
    not_before: int | None
    says: str


@dataclass(frozen=True, slots=True)
class Dose:
    """A calculated dose.

    `dose` is the unrounded amount, also when `allowed` is false; `high` the upper end where the source gives
    a range; None with a `refused` text where no number can be given. `limit` names what binds, in numbers.
    `allowed` is None where only the limit of one country's label may bind. `due` is when the interval of the
    rule ends after the last dose; it forbids nothing.
    """

    rule: str
    drug: str
    title: str
    dose: float | None
    high: float | None
    dose_rounded: float | None
    unit: str
    route: str
    over_hours: float | None
    every_hours: tuple[float, ...]
    course: tuple[str, ...]
    allowed: bool | None
    limit: str
    not_before: int | None
    due: int | None
    limits: tuple[Verdict, ...]
    refused: str
    needs: tuple[str, ...]
    notes: tuple[str, ...]
    source: tuple[str, ...]
    status: str
    definition: str = field(default="", repr=False)


def dose(
    rule_id: str,
    *,
    weight_kg: float | None,
    age_years: float | None,
    now: int,
    earlier: Sequence[Earlier] = (),
    limits: Iterable[Limit] = (),
    lib: Library,
    problem: str = "",
) -> Dose:
    """The dose of one rule at `now` (microseconds).

    Parameters
    ----------
    rule_id   : a rule of the shelf `doses`.
    weight_kg, age_years : None where not known; without an age the adult band is used, and that is said.
    earlier   : every dose of the drug given so far, whatever for and wherever.
    limits    : limits besides those of the drug's own file (guidelines in force, label, site).
    problem   : why the weight must not be used (contradicting or impossible weights), "" if it may.

    Raises `DefinitionError` for an unknown rule.

    >>> from tocsin.definitions.load import library
    >>> given = dose("tocilizumab", weight_kg=101, age_years=60, now=0, lib=library())
    >>> given.dose, given.dose_rounded, given.limit
    (800.0, 800.0, 'capped at 800 mg (101 kg would be 808 mg)')
    """
    rule, limits = dose_rule(rule_id, lib), tuple(limits)
    kilograms, refused, needs = _usable(rule, weight_kg, age_years, problem, lib)
    notes: list[str] = []
    if age_years is None and any(_by_age(band) for band in rule.bands):
        notes.append("no age charted: an adult is assumed")
    band = _band(rule, kilograms, age_years) if not refused else None
    if band is None and not refused:
        refused = f"no source at hand gives {rule.drug} at this age or weight"
    amount, high, capped = _amount(band, kilograms, rule) if band is not None else (None, None, "")
    every = tuple(dict.fromkeys((*rule.limits, *limits)))
    verdicts = tuple(
        _judged(limit, earlier, now)
        for limit in every
        if limit.min_gap_hours is not None or limit.max_doses is not None
    )
    amount, high, capped, most = _at_most(amount, high, capped, every, rule, band)
    late = [verdict for verdict in verdicts if not verdict.allowed]
    sure = [verdict for verdict in late if not verdict.limit.country]
    binding = max(sure or late, key=lambda verdict: verdict.not_before or 0, default=None)
    notes += _above(earlier, rule, kilograms, age_years)
    last = max((t for t, _ in earlier if t <= now), default=None)
    due = None if last is None or not rule.every_hours else last + round(min(rule.every_hours) * HOUR)
    return Dose(
        rule=rule.id,
        drug=rule.drug,
        title=rule.title,
        dose=amount,
        high=high,
        dose_rounded=_rounded(amount, rule, most),
        unit=rule.unit,
        route=rule.route,
        over_hours=rule.over_hours,
        every_hours=rule.every_hours,
        course=_course(rule),
        allowed=False if sure else None if late else True,
        limit="; ".join(text for text in (binding.says if binding else "", capped) if text),
        not_before=binding.not_before if binding and sure else None,
        due=due if due is not None and due > now else None,
        limits=verdicts,
        refused=refused,
        needs=needs,
        notes=tuple(notes),
        source=rule.source,
        status=rule.status,
        definition=rule.hash,
    )


def dose_at(bed: Bedside, rule_id: str, limits: Iterable[Limit] = ()) -> Dose:
    """The dose of one rule for a patient at a bedside.

    Every charted dose of the drug counts, and so do the limits that the label of the therapy sets.
    """
    rule = dose_rule(rule_id, bed.lib)
    own = product(bed.therapy, bed.lib).limits if bed.therapy else ()
    earlier = [(int(row["time"]), row.get("value")) for row in bed.given([rule.drug])]
    weight = bed.weight
    label = [limit for drug, limit in own if drug == rule.drug]
    if bed.country is not None:
        # the country is known: its own limits bind, those of others do not
        label = [replace(each, country="") for each in label if each.country in ("", bed.country)]
    return dose(
        rule_id,
        weight_kg=None if weight is None else float(weight["value"]),
        age_years=bed.age_years,
        now=bed.now,
        earlier=earlier,
        limits=(*limits, *label),
        lib=bed.lib,
        problem=weight_conflict(bed),
    )


def weight_conflict(bed: Bedside) -> str:
    """Why the weights charted around the one in use contradict it; "" if they do not.

    An impossible weight was refused when it was read; while it is the latest, none is trusted.
    """
    weight = bed.weight
    if weight is None:
        return bed.weight_problem
    rule = weight_rule(bed.lib)
    for row in bed.chart.until("weight", bed.now):
        if row.get("text") in SILENT or row.get("value") is None:
            continue
        near = abs(row["time"] - weight["time"]) <= rule.within_hours * HOUR
        low, high = sorted((float(row["value"]), float(weight["value"])))
        if near and high > low * (1 + rule.percent / 100):
            return (
                f"the weights {low:g} and {high:g} kg, {written(weight['time'])} and {written(row['time'])}, "
                "contradict each other: correct one"
            )
    return bed.weight_problem


def _usable(
    rule: DoseRule, weight_kg: float | None, age_years: float | None, problem: str, lib: Library
) -> tuple[float, str, tuple[str, ...]]:
    """The weight to calculate with, or why there is none, and what is needed."""
    bands = [band for band in rule.bands if _fits_age(band, age_years)]
    if not any(
        band.per_kg is not None or band.weight_from or math.isfinite(band.weight_below) for band in bands
    ):
        return math.nan, "", ()
    measure = lib.measure("weight")
    if problem:
        return math.nan, problem, ("weight",)
    if weight_kg is None:
        return math.nan, "no weight is charted", ("weight",)
    low, high = measure.plausible_low or 0.0, measure.plausible_high or math.inf
    if not (math.isfinite(weight_kg) and weight_kg > 0 and low <= weight_kg <= high):
        return math.nan, f"a weight of {weight_kg:g} kg is impossible ({low:g} to {high:g} kg)", ("weight",)
    return weight_kg, "", ()


def _by_age(band: Band) -> bool:
    return band.age_from > 0 or math.isfinite(band.age_below)


def _fits_age(band: Band, age: float | None) -> bool:
    # an unknown age is read as an adult's: the band without an upper border
    return math.isinf(band.age_below) if age is None else band.age_from <= age < band.age_below


def _band(rule: DoseRule, weight: float, age: float | None) -> Band | None:
    for band in rule.bands:
        known = math.isnan(weight) or band.weight_from <= weight < band.weight_below
        if known and _fits_age(band, age):
            return band
    return None


def _amount(band: Band, weight: float, rule: DoseRule) -> tuple[float, float | None, str]:
    """The amount, its upper end where a range is given, and what was capped."""
    if band.fixed is not None:
        return band.fixed, band.fixed_high, ""
    assert band.per_kg is not None
    raw = band.per_kg * weight
    raw_high = None if band.per_kg_high is None else band.per_kg_high * weight
    cap = math.inf if band.cap is None else band.cap
    top = raw if raw_high is None else raw_high
    said = (
        f"capped at {cap:g} {rule.unit} ({weight:g} kg would be {top:.5g} {rule.unit})" if top > cap else ""
    )
    return min(raw, cap), None if raw_high is None else min(raw_high, cap), said


def _at_most(
    amount: float | None,
    high: float | None,
    said: str,
    limits: Iterable[Limit],
    rule: DoseRule,
    band: Band | None,
) -> tuple[float | None, float | None, str, float]:
    """The amount under every limit that names one, and the most a dose may be."""
    most = math.inf if band is None or band.cap is None else band.cap
    for limit in limits:
        if limit.max_dose is None:
            continue
        most = min(most, limit.max_dose)
        if amount is not None and max(amount, high or amount) > limit.max_dose:
            said = f"capped at {limit.max_dose:g} {rule.unit} ({limit.origin}: {limit.says})"
            amount, high = min(amount, most), None if high is None else min(high, most)
    return amount, high, said, most


def _rounded(amount: float | None, rule: DoseRule, most: float) -> float | None:
    """The amount in whole vials if that is near enough, else to the rule's step; never above the cap.

    Halves go up to a step, and down to fewer vials.
    """
    if amount is None:
        return None
    whole = [total for total in _totals(rule.vials, amount) if total <= most]
    near = min(whole, key=lambda total: (abs(total - amount), total), default=math.inf)
    if abs(near - amount) <= amount * rule.vial_percent / 100:
        return near
    if rule.round_to is None:
        return amount
    rounded = math.floor(amount / rule.round_to + 0.5) * rule.round_to
    return rounded if rounded <= most else math.floor(most / rule.round_to) * rule.round_to


@lru_cache(maxsize=4096)
def _totals(vials: tuple[float, ...], amount: float) -> tuple[float, ...]:
    """What whole vials can add up to, up to one of the largest above the amount."""
    top = amount + max(vials, default=0.0)
    found, fresh = {0.0}, {0.0}
    while fresh:
        fresh = {total + vial for total in fresh for vial in vials if total + vial <= top} - found
        found |= fresh
    return tuple(sorted(found - {0.0}))


def _judged(limit: Limit, earlier: Sequence[Earlier], now: int) -> Verdict:
    """Whether one limit allows a dose now. A gap or window that is over to the microsecond is over."""
    times = sorted({t for t, _ in earlier if t <= now})
    origin = " ".join(text for text in (limit.country, limit.origin) if text)
    if limit.status == "memory":
        origin += ", from memory"
    found: list[tuple[int, str]] = []
    if limit.min_gap_hours is not None and times:
        free = times[-1] + round(limit.min_gap_hours * HOUR)
        found.append((free, f"last dose {written(times[-1])}, next from {written(free)}"))
    if limit.max_doses is not None and limit.within_hours is not None:
        span = round(limit.within_hours * HOUR)
        inside = [t for t in times if t > now - span]
        if len(inside) >= limit.max_doses:
            # with none allowed at all there is no moment from which one would be
            free = inside[len(inside) - limit.max_doses] + span if limit.max_doses > 0 else NEVER
            after = f", next from {written(free)}" if free < NEVER else ""
            found.append((free, f"{len(inside)} given{after}"))
    free, says = max(found, default=(now, ""))
    if free <= now:
        return Verdict(limit, True, None, "")
    return Verdict(limit, False, free if free < NEVER else None, f"{limit.says} ({origin}): {says}")


def _above(
    earlier: Sequence[Earlier], rule: DoseRule, kilograms: float, age_years: float | None
) -> list[str]:
    """Earlier doses charted above the cap of every band this patient may be in."""
    caps = [
        band.cap
        for band in rule.bands
        if _fits_age(band, age_years)
        and (math.isnan(kilograms) or band.weight_from <= kilograms < band.weight_below)
    ]
    if not caps or any(cap is None for cap in caps):
        return []
    cap = max(cap for cap in caps if cap is not None)
    return [
        f"{mg:g} {rule.unit} was charted at {written(t)}, above the cap of {cap:g} {rule.unit}"
        for t, mg in earlier
        if mg is not None and mg > cap
    ]


def _course(rule: DoseRule) -> tuple[str, ...]:
    """The steps of a course in words."""
    return tuple(
        f"{step.dose:g} {rule.unit} every {step.every_hours:g} h "
        + (f"for {step.days:g} d" if step.days else f"until {step.until}")
        for step in rule.course
    )
