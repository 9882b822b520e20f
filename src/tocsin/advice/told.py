"""What a person tells, as facts: typed answers and a patient's record become one and the same."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tocsin.definitions.advice import triage_rules
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import Measure, TocsinError, near
from tocsin.grading.live import micros

HOUR = 3_600_000_000
#: An answer carries no date; any instant serves, all else is counted back from it.
NOW = 1_000_000 * HOUR
URGENT = "\n  If you feel ill, do not wait for this: call your team, or an ambulance if it is serious."


class AdviceError(TocsinError):
    """An answer that cannot be taken as it was given; nothing is advised from it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a person at `now` (microseconds): facts, the latest dose, what is usual for them.

    `therapy` is an id of the shelf or None, `hours_since_dose` counts from the latest dose or is None,
    `usual` holds a usual value by measure, in its unit. `medicines` says whether medicines that hide a
    fever were spoken of at all.
    """

    now: int
    rows: tuple[Mapping[str, Any], ...]
    therapy: str | None = None
    hours_since_dose: float | None = None
    usual: Mapping[str, float] | None = None

    def latest(self, measure: str) -> float | None:
        """The latest value of a measure, whatever its age."""
        rows = [row for row in self.rows if row["measure"] == measure and row.get("value") is not None]
        return float(rows[-1]["value"]) if rows else None


def tell(
    *,
    therapy: str | None = None,
    days: float | None = None,
    hours: float | None = None,
    symptoms: Iterable[str] = (),
    readings: Mapping[str, float] | None = None,
    usual: Mapping[str, float] | None = None,
    medicines: Mapping[str, float] | None = None,
    lib: Library | None = None,
) -> Told:
    """What a person answers, now.

    Parameters
    ----------
    therapy   : an id of the shelf `therapies`, or a brand.
    days      : since the latest dose; with `hours`, the more recent of the two is believed.
    symptoms  : ids or plain names of symptoms; assessments as `seizure` or `consciousness=awakens-to-voice`,
                alone meaning the worst of their words.
    readings  : measure to value in its unit: temperature Cel, spo2 %, systolic-bp mm[Hg], age a, ...
    usual     : what is usual for this person, likewise.
    medicines : drug to hours ago.

    Raises
    ------
    AdviceError : an unknown name, with the near miss; a value that cannot be, which is never taken as
                  measured nor dropped.

    >>> tell(therapy="Tecvayli", days=1, symptoms=["diarrhoea"]).therapy
    'teclistamab'
    """
    lib = lib or library()
    rows: list[dict[str, Any]] = [
        {"measure": name, "text": word} for said in symptoms for name, word in named(said, lib)
    ]
    rows += [
        {"measure": name, "value": possible(name, value, lib)} for name, value in (readings or {}).items()
    ]
    at = [(NOW, row) for row in rows]
    for name, ago in (medicines or {}).items():
        at.append((NOW - round(_span(ago, f"hours since {name}") * HOUR), {"measure": lib.measure(name).id}))
    spans = [
        _span(number, "days and hours since the dose") * each
        for number, each in ((days, 24.0), (hours, 1.0))
        if number is not None
    ]
    return Told(
        now=NOW,
        rows=tuple({"time": time, **row} for time, row in sorted(at, key=lambda each: each[0])),
        therapy=None if therapy is None else therapy_named(therapy, lib),
        hours_since_dose=min(spans) if spans else None,
        usual={name: possible(name, value, lib) for name, value in (usual or {}).items()},
    )


def told_in(facts: Iterable[Mapping[str, Any]], now: Any, lib: Library | None = None) -> Told:
    """What the record of one patient tells at `now`: canonical facts, none later or recorded later.

    What is usual is the median of the day before the first dose.

    >>> from datetime import timedelta
    >>> from tocsin.testing import START, patient
    >>> ill = patient("0 h teclistamab", "20 h temperature 38.4 Cel").to_pylist()
    >>> told_in(ill, START + timedelta(hours=26)).hours_since_dose
    26.0
    """
    lib = lib or library()
    now = micros(now)
    rows = [{**row, "time": micros(row["time"])} for row in facts]
    rows = [row for row in rows if max(row["time"], micros(row.get("recorded") or row["time"])) <= now]
    rows.sort(key=lambda row: row["time"])
    therapies = lib.classes["therapy"]
    doses = [row for row in rows if row["measure"] in therapies]
    usual = {
        fall.measure: value
        for fall in triage_rules(lib).falls.values()
        if doses and (value := _before(rows, lib.measure(fall.measure), doses[0]["time"])) is not None
    }
    return Told(
        now=now,
        # A reading from before the dose is still the latest known: the first dose is not a border here.
        rows=tuple(row for row in rows if row["measure"] not in therapies),
        therapy=str(doses[-1]["measure"]) if doses else None,
        hours_since_dose=(now - doses[-1]["time"]) / HOUR if doses else None,
        usual=usual,
    )


def _before(rows: Sequence[Mapping[str, Any]], measure: Measure, dose: int) -> float | None:
    span = (measure.baseline_hours or 0.0) * HOUR
    values = [
        float(row["value"])
        for row in rows
        if row["measure"] == measure.id and row.get("value") is not None and dose - span <= row["time"] < dose
    ]
    return float(median(values)) if values else None


def therapy_named(said: str, lib: Library) -> str:
    """The id of a therapy called by its id, title or brand; raises `AdviceError` with the near miss.

    >>> therapy_named("YESCARTA", library())
    'axicabtagene-ciloleucel'
    """
    names: dict[str, str] = {}
    for name in lib.classes["therapy"]:
        measure = lib.measure(name)
        brands = re.split(r"[/,]| \(\w+\)", str(measure.raw.get("brand", "")))
        for word in (name, measure.title, *brands):
            names.setdefault(_plain(word), name)
    if _plain(said) not in names:
        raise AdviceError(
            f"no therapy `{said}`{near(_plain(said), names)}\n"
            "  fix: leave it out if you do not know it; `tocsin list therapies` shows all" + URGENT
        )
    return names[_plain(said)]


def named(said: str, lib: Library) -> list[tuple[str, str | None]]:
    """The symptoms, or the assessment and its word, that a name means.

    >>> named("Joint and muscle pain", library()), named("seizure", library())
    ([('joint-pain', None), ('muscle-pain', None)], [('seizure', 'repeated')])
    """
    rules = triage_rules(lib)
    name, _, word = said.partition("=")
    name = _plain(name)
    if name in rules.assessments:
        return [(name, _worst(said, word.strip(), lib.measure(name)))]
    meant: dict[str, list[str]] = {}
    for symptom in rules.symptoms:
        also = lib.measure(symptom).raw.get("also", ())
        for each in (symptom, *map(_plain, also)):
            meant.setdefault(each, []).append(symptom)
    # an id means itself alone, also where another symptom's other name is the same
    if name in rules.symptoms:
        return [(name, None)]
    if name not in meant:
        known = (*meant, *rules.assessments)
        raise AdviceError(
            f"no symptom `{said}`{near(name, known)}\n"
            "  why: a sign that is not understood would be left out, and the answer could be too mild\n"
            "  fix: `something-else` stands for any sign not listed, and asks for a call; "
            f"or one of {', '.join((*rules.symptoms, *rules.assessments))}" + URGENT
        )
    return [(symptom, None) for symptom in meant[name]]


def _worst(said: str, word: str, measure: Measure) -> str:
    """The word of an assessment; named without one, the worst: nothing milder was said."""
    if not word:
        return measure.words[-1]
    word = measure.word_aliases.get(word, word)
    if word not in measure.words:
        raise AdviceError(
            f"`{said}`: no word `{word}`{near(word, measure.words)}\n"
            f"  fix: one of {', '.join(measure.words)}" + URGENT
        )
    return word


def possible(name: str, value: float, lib: Library) -> float:
    """A value a person can have; raises `AdviceError` for any other."""
    measure = lib.measure(name)
    low = -math.inf if measure.plausible_low is None else measure.plausible_low
    high = math.inf if measure.plausible_high is None else measure.plausible_high
    if not low <= value <= high:
        raise AdviceError(
            f"{measure.title} {value:g} {measure.unit} is not possible\n"
            f"  why: it can be {low:g} to {high:g}; a wrong number would give wrong advice\n"
            "  fix: measure again, or look at the unit (a temperature in Fahrenheit ends in F: 100.4F)"
            + URGENT
        )
    return float(value)


def _span(number: float, what: str) -> float:
    if not 0 <= number < math.inf:
        raise AdviceError(f"{what}: {number:g} is no time ago\n  fix: 0 or more; leave out what is not known")
    return float(number)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "-", name.strip().lower())
