"""What a charted unit or word means for one measure: decided once per distinct pair, never per row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tocsin.definitions.schema import CATEGORIES, Measure, near
from tocsin.facts.parse import SIGNS
from tocsin.facts.rejects import Problem
from tocsin.units import Conversion, UnitError, convert

#: What becomes of the number: taken, or the infusion runs at an unknown dose, or it is a dose (a push), or
#: the event happened with an unknown dose, or the row is refused.
VALUE, RUNNING, PUSH, DOSELESS, REFUSED = range(5)
#: What a text makes of its row.
PLAIN, SIGN, WORD, UNUSABLE, RUNS, PUSHED, RETRACTED, WRONG = range(8)
#: Spellings that can mean nothing else, for units no definition lists.
SPELLINGS = ((r"[µμ]", "u"), (r"\bmcg\b", "ug"), (r"\bhr\b|\bhour\b", "h"), (r"\s*/\s*", "/"))
STAYS = "the row stays in the table as {}, without a dose"


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """What to do with numbers of one (measure, unit): (x + shift) * num / den, then by weight**weight."""

    outcome: int
    unit: str | None = None
    num: float = 1.0
    den: float = 1.0
    shift: float = 0.0
    weight: int = 0
    problem: Problem | None = None


def accepted(measure: Measure) -> list[str]:
    """The UCUM units a definition lists, its own first."""
    units = [
        measure.unit or "1",
        *measure.aliases.values(),
        *(code.unit for code in measure.codes if code.unit),
    ]
    return list(dict.fromkeys(units))


def needs_no_unit(measure: Measure) -> bool:
    """A score, a ratio and whatever lists the empty spelling may come without a unit."""
    return measure.unit is None or "" in measure.aliases or not re.sub(r"\{[^}]*\}", "", measure.unit)


def spelled(measure: Measure, charted: str) -> str:
    """The UCUM unit a charted spelling stands for; the spelling itself where nothing is listed.

    An exact spelling goes first; then one that differs only by capitals, because `MG/DL` is a habit of
    laboratories and a megagram is not.
    """
    known = {**{unit: unit for unit in accepted(measure)}, **measure.aliases}
    for text in (charted, _plain(charted)):
        if text in known:
            return known[text]
        folded = {unit for spelling, unit in known.items() if spelling.casefold() == text.casefold()}
        if len(folded) == 1:
            return folded.pop()
    return _plain(charted)


def _plain(text: str) -> str:
    for pattern, unit in SPELLINGS:
        text = re.sub(pattern, unit, text)
    return text


def unit_plan(measure: Measure, charted: str | None) -> UnitPlan:
    """Decide one (measure, unit); `charted` is None where the row has no unit."""
    event = measure.kind == "event"
    if charted is None:
        if needs_no_unit(measure):
            return UnitPlan(VALUE, measure.unit)
        return UnitPlan(DOSELESS if event else REFUSED, problem=_missing(measure))
    if event and measure.unit is None:
        return UnitPlan(VALUE, charted)
    unit = spelled(measure, charted)
    wanted = measure.unit or "1"
    try:
        found = convert(unit, wanted)
    except UnitError:
        close = near(charted, {**measure.aliases, **dict.fromkeys(accepted(measure))})
        problem = Problem(
            f"has a unit that is not known{close}",
            "a number whose unit is not known has no size; a guess would set the grade",
            f"write the unit in UCUM (accepted: {', '.join(accepted(measure))}, or what converts to them)",
            "kept-as-given" if event else "rejected",
        )
        return UnitPlan(DOSELESS if event else REFUSED, problem=problem)
    return _planned(measure, unit, wanted, found)


def _planned(measure: Measure, unit: str, wanted: str, found: Conversion) -> UnitPlan:
    weighed = found.weight and measure.kind not in ("infusion", "event")
    unknown_moles = found.molar and measure.molar_mass is None
    if found.becomes == "value" and not weighed and not unknown_moles:
        num = found.num * (measure.molar_mass or 1.0) ** found.molar
        return UnitPlan(VALUE, measure.unit, num, found.den, found.shift, found.weight)
    if measure.kind == "event":
        return UnitPlan(
            DOSELESS,
            problem=Problem(
                f"has a dose that cannot become {wanted}",
                "only its size is lost: " + STAYS.format("given"),
                f"write the dose in {wanted}, if it matters",
                "kept-as-given",
            ),
        )
    if measure.kind == "infusion" and found.becomes == "rate":
        return UnitPlan(
            RUNNING,
            problem=Problem(
                f"is a rate that cannot become {wanted}",
                f"the concentration is not in the row; {STAYS.format('running')}, "
                "which widens `up_to` where dose matters",
                f"chart the rate as {wanted}, or as an amount per time",
                "kept-as-running",
            ),
        )
    if measure.kind == "infusion" and found.becomes == "dose":
        return UnitPlan(PUSH, unit)
    why = (
        "moles meet grams and the definition has no `molar_mass`"
        if unknown_moles
        else "they measure different things"
    )
    return UnitPlan(
        REFUSED,
        problem=Problem(
            f"cannot be read in {wanted}: {why}",
            "a number of another kind of quantity would be graded as if it were this one",
            f"check the measure and its unit (accepted: {', '.join(accepted(measure))})",
        ),
    )


def _missing(measure: Measure, value: float | None = None) -> Problem:
    units = accepted(measure)
    why = (
        f"the same number means different things in {', '.join(units)}"
        if len(units) > 1
        else "a number needs a unit"
    )
    best = units[0]
    if value is not None and len(units) > 1:
        able = [unit for unit in units if plausible(measure, read_in(measure, unit, value))]
        unable = [unit for unit in units if unit not in able]
        sides = [
            f"possible in {', '.join(able)}" if able else "",
            f"impossible in {', '.join(unable)}" if unable else "",
        ]
        why = f"{value:.12g} is " + " and ".join(side for side in sides if side)
        best = able[0] if able else best
    return Problem(
        "has no unit",
        f"{why}; a guess would set the grade",
        f"add a `unit` column, or pass --unit {measure.id}={best}   (accepted: {', '.join(units)})",
        "kept-as-given" if measure.kind == "event" else "rejected",
    )


def missing_unit(measure: Measure, value: float) -> Problem:
    """The problem of one number without a unit, saying in which units it is possible."""
    return _missing(measure, value)


def read_in(measure: Measure, unit: str, value: float) -> float:
    """`value`, had it been charted in `unit`; NaN where that cannot be said without a weight."""
    plan = unit_plan(measure, unit)
    if plan.outcome != VALUE or plan.weight:
        return float("nan")
    return (value + plan.shift) * plan.num / plan.den


def plausible(measure: Measure, value: float) -> bool:
    """Whether the definition holds the number possible; an unknown one (NaN) is."""
    low, high = limits(measure)
    return not (value < low or value > high)


def limits(measure: Measure) -> tuple[float, float]:
    """The plausible range; a rate cannot be below zero whatever the definition says."""
    floor = 0.0 if measure.kind == "infusion" else float("-inf")
    low = floor if measure.plausible_low is None else measure.plausible_low
    return low, float("inf") if measure.plausible_high is None else measure.plausible_high


def impossible(measure: Measure) -> Problem:
    """The problem of a number outside the plausible range."""
    low, high = limits(measure)
    kept = measure.kind == "event"
    return Problem(
        f"is impossible: outside {low:g} to {high:g} {measure.unit or ''}".rstrip(),
        "a slip of unit, sensor or typing would be graded as illness, or hide it"
        + ("; " + STAYS.format("given") if kept else ""),
        "correct it at the source; if your patients do have such values, widen `plausible` in definitions "
        "of your own",
        "kept-as-given" if kept else "rejected",
    )


@dataclass(frozen=True, slots=True)
class WordPlan:
    """What one text makes of its row, and the text that is kept."""

    outcome: int
    text: str | None = None
    problem: Problem | None = None


def word_plan(measure: Measure, text: str) -> WordPlan:
    """Decide one (measure, text)."""
    if text == "retracted":
        return WordPlan(RETRACTED, text)
    if measure.kind in ("number", "infusion"):
        if text == "unusable":
            return WordPlan(UNUSABLE, text)
        if text in SIGNS:
            return WordPlan(SIGN, SIGNS[text])
        if measure.kind == "infusion" and text in ("running", "push"):
            return WordPlan(RUNS if text == "running" else PUSHED, text)
        return WordPlan(
            WRONG,
            problem=Problem(
                f"has the text `{text}` where a number is due",
                "a text has no size, and may say that the number beside it is not to be used",
                "put the number in `value`; in `text` only a comparator (< or >) may stand",
            ),
        )
    if measure.kind == "category" and text == "unusable":
        return WordPlan(UNUSABLE, text)
    if measure.kind == "event":
        return WordPlan(WORD, matched(text, measure.words, measure.word_aliases) or text)
    if measure.id == "attribution":
        return _attributed(text)
    if not measure.words:
        return WordPlan(WORD, text)
    found = matched(text, measure.words, measure.word_aliases)
    if found is not None:
        return WordPlan(WORD, found)
    close = near(text.lower(), (*measure.words, *measure.word_aliases))
    return WordPlan(
        WRONG,
        problem=Problem(
            f"has the word `{text}`, which is not known{close}",
            "a word that is not understood would be read as nothing charted",
            f"one of {', '.join(measure.words)}; or add it to `word_aliases` in your own definitions",
        ),
    )


def _attributed(text: str) -> WordPlan:
    category, found, cause = (part.strip() for part in text.partition("="))
    category, cause = category.lower(), "crs" if cause.lower() == "crs" else cause
    if found and cause and category in CATEGORIES:
        return WordPlan(WORD, f"{category}={cause}")
    return WordPlan(
        WRONG,
        problem=Problem(
            f"says `{text}`{near(category, CATEGORIES)}",
            "a finding would be taken away, or kept, against the clinician's word",
            f"write CATEGORY=CAUSE, CATEGORY one of {', '.join(CATEGORIES)}; `=crs` gives it back",
        ),
    )


def matched(text: str, words: Iterable[str], aliases: Mapping[str, str]) -> str | None:
    """The definition's word for a text, whatever its capitals, blanks or underscores.

    >>> matched("Nasal_Cannula ", ["nasal-cannula"], {})
    'nasal-cannula'
    """
    if text in aliases:
        return aliases[text]
    known = {_folded(word): word for word in words}
    folded = _folded(text)
    if folded in known:
        return known[folded]
    found = {word for alias, word in aliases.items() if _folded(alias) == folded}
    return found.pop() if len(found) == 1 else None


def _folded(text: str) -> str:
    return re.sub(r"[\s_-]+", "-", text.strip().casefold())
