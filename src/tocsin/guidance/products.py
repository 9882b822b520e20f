"""What the therapy's own label asks for: now, for the next dose, and by when. The strictest stands first.

What is done now goes by the grade of now. What concerns the next dose, and whether there is one, goes by the
highest grade this episode has reached, and stands after the episode until the next dose is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tocsin.definitions.dose import Limit
from tocsin.definitions.guideline import Guideline
from tocsin.definitions.load import Library
from tocsin.definitions.product import PRODUCT_ACTIONS, Missed, Product, Step, product
from tocsin.definitions.schema import DefinitionError, Finding, near
from tocsin.grading.moments import findings_of
from tocsin.grading.opcodes import HOUR
from tocsin.guidance.actions import NO_DOSE, with_dose
from tocsin.guidance.bedside import NO, UNKNOWN, Bedside, Found, written
from tocsin.guidance.clocks import clocks_of, escalated
from tocsin.guidance.doses import Dose

Said = dict[str, Any]
#: Where the conditions of steps are defined.
FILES = ("fever", "symptoms", "pressure", "vasopressors", "oxygen", "guideline-conditions")
#: From the mildest to the strictest: of two rules for one matter the later stands first.
STRICTNESS = {name: rank for rank, name in enumerate(PRODUCT_ACTIONS)}


@dataclass(frozen=True, slots=True)
class Standing:
    """The grade of now, the highest that counts for the next dose, and since when CRS has gone.

    `ever` is the highest of all episodes under this therapy. `rows` are the intervals of the episode that
    counts, up to now; `sure` is false while the record cannot rule out that CRS goes on.
    """

    grade: int
    peak: int
    ever: int
    rows: Sequence[Found]
    episodes: Sequence[Found]
    gone: int | None
    sure: bool


@lru_cache(maxsize=8)
def scales(lib: Library) -> tuple[str, ...]:
    """The scales in which labels grade."""
    found = (product(name, lib).scale for name in lib.classes.get("therapy", ()))
    return tuple(dict.fromkeys(name for name in found if name))


@lru_cache(maxsize=8)
def conditions(lib: Library) -> Mapping[str, Finding]:
    """The findings that steps name."""
    found = findings_of(FILES, lib)
    for therapy in lib.classes.get("therapy", ()):
        for step in product(therapy, lib).steps:
            for name in step.when:
                if name not in found:
                    raise DefinitionError(f"{therapy} names the finding `{name}`{near(name, found)}")
    return found


def steps(bed: Bedside, limits: Mapping[str, list[Limit]]) -> list[Said]:
    """What label and guideline ask for about this therapy at its own grade: actions with `next` and hours.

    What concerns the therapy itself comes first, the strictest on top and marked `strictest`. Empty where no
    therapy is charted, before any CRS unless a dose is late, and where no step was found (`note` says so).
    """
    if bed.therapy is None:
        return []
    own = product(bed.therapy, bed.lib)
    scale = own.scale or bed.scale
    stands = standing(bed, scale)
    late = escalated(bed, _as_guideline(own, scale))
    doses: dict[str, Dose] = {}
    out: list[Said] = []
    for step in own.steps:
        grade = stands.peak if step.lasting else stands.grade
        if step.action == "discontinue_permanently" and step.recurrent is None:
            grade = stands.ever
        # a clock that ran out asks for the care of the next grade now; it says nothing of the next dose
        own_now = step.guideline == "label" and not step.lasting
        after = late if own_now and grade not in step.grades else None
        if grade not in step.grades and (after is None or after.escalate not in step.grades):
            continue
        open_ = _applies(bed, step, scale, stands)
        if open_ is None:
            continue
        if own.scale is None:
            open_ = [*open_, f"the label's own grade ({own.note.split(',')[0].removeprefix('The ')})"]
        clear = None
        if step.clear_hours is not None and stands.gone is not None:
            clear = stands.gone + round(step.clear_hours * HOUR)
            open_ = open_ if stands.sure else [*open_, "that CRS has gone"]
            if stands.sure and bed.now >= clear and not step.next:
                continue
        said: Said = {
            "guideline": step.guideline,
            "action": step.action,
            "strength": step.strength,
            "text": step.text,
            "scale": scale,
            "grade": after.escalate if after else grade,
            "because": f"{after.id}: {after.then}" if after else "",
            "if_known": open_,
            "evidence": "",
            "source": list(step.source),
            "locator": step.locator,
            "status": step.status,
            "product": step.action in PRODUCT_ACTIONS,
            "next": step.next,
            "observe_hours": step.observe_hours,
            "clear_hours": step.clear_hours,
            "clear_from": written(clear),
        }
        out.append(with_dose(said, bed, step.rule, limits, doses))
    out += [_missed(bed, rule, scale, stands) for rule in own.missed if _is_late(bed, rule)]
    _mark(out)
    return sorted(out, key=lambda each: (not each["product"], each["next"], *(-part for part in _rank(each))))


def standing(bed: Bedside, scale: str) -> Standing:
    """Where the patient stands on a scale, for now and for the next dose.

    An episode counts for the next dose until a dose is given after CRS had gone.
    """
    doses = [int(row["time"]) for row in bed.doses if row["measure"] == bed.therapy]
    rows = bed.history.get(scale, ())
    grade = int(rows[-1]["grade"]) if rows else 0
    seen = [row for row in bed.found.get(scale, ()) if doses[0] <= row["start"] <= bed.now]
    gone = None
    for row in reversed(rows):
        if row["grade"] > 0:
            break
        gone = int(row["start"])
    first = seen[-1]["start"] if seen else doses[0]
    inside = [row for row in rows if row["start"] >= first]
    peak = max((int(row["grade"]) for row in inside), default=grade)
    ever = max((grade, peak, *(int(row["peak"]) for row in seen[:-1])))
    if not seen or (gone is not None and any(t > gone for t in doses)):
        return Standing(grade, grade, ever, inside, seen, None, False)
    sure = gone is not None and all(row["up_to"] == 0 for row in inside if row["start"] >= gone)
    return Standing(grade, peak, ever, inside, seen, gone if peak else None, sure)


def _rank(each: Said) -> tuple[float, float, float]:
    """How strict: the action, then the hours watched, then the hours free of CRS."""
    return (
        STRICTNESS.get(each["action"], 0),
        each["observe_hours"] or 0.0,
        each["clear_hours"] or 0.0,
    )


def _mark(out: list[Said]) -> None:
    """Mark, of what is asked now, the strictest; of the next dose, the strictest of each action."""
    best: dict[object, tuple[float, float, float]] = {}
    for each in out:
        if each["product"] and each["strength"] != "avoid":
            place = each["action"] if each["next"] else None
            best[place] = max(best.get(place, _rank(each)), _rank(each))
    for each in out:
        place = each["action"] if each["next"] else None
        each["strictest"] = bool(each["product"]) and best.get(place) == _rank(each)


def _is_late(bed: Bedside, rule: Missed) -> bool:
    own = [row for row in bed.doses if row["measure"] == bed.therapy]
    late = bed.now - int(own[-1]["time"]) > round(rule.over_days * 24 * HOUR)
    return late and (not rule.after_dose or len(own) in rule.after_dose)


def _missed(bed: Bedside, rule: Missed, scale: str, stands: Standing) -> Said:
    """The next dose is late: what the label says of starting again."""
    last = written(int(bed.doses[-1]["time"]))
    return {
        "guideline": "label",
        "action": "restart_lower_dose",
        "strength": "consider",
        "text": rule.text,
        "scale": scale,
        "grade": stands.grade,
        "because": f"last dose {last}, more than {rule.over_days:g} d ago",
        "if_known": [],
        "evidence": "",
        "source": list(rule.source),
        "locator": rule.locator,
        "status": rule.status,
        "product": True,
        "next": True,
        "observe_hours": None,
        "clear_hours": None,
        "clear_from": None,
        **NO_DOSE,
    }


def note(bed: Bedside) -> str:
    """What is not known of the label's steps; "" where they are there."""
    if bed.therapy is None:
        return ""
    own = product(bed.therapy, bed.lib)
    return own.note or ("" if own.steps else f"no label steps were found for {bed.therapy}")


def clocks(bed: Bedside) -> list[Said]:
    """The clocks of the therapy's label."""
    if bed.therapy is None:
        return []
    own = product(bed.therapy, bed.lib)
    return clocks_of(bed, _as_guideline(own, own.scale or bed.scale))


def _as_guideline(own: Product, scale: str) -> Guideline:
    """The label in the form whose clocks are known how to run."""
    return Guideline(
        id="label",
        title=own.therapy,
        source=(),
        locator="",
        status="draft",
        reading="",
        scale=scale,
        classes=(),
        targets=(),
        age_from=0.0,
        age_below=float("inf"),
        use=(),
        seen=(),
        actions=(),
        clocks=own.clocks,
        limits=(),
        hash="",
    )


def _applies(bed: Bedside, step: Step, scale: str, stands: Standing) -> list[str] | None:
    """The conditions that are not known; None where one is ruled out."""
    open_ = []
    for name in step.when:
        state = bed.states.get(name, UNKNOWN)
        if state == NO:
            return None
        if state == UNKNOWN:
            open_.append(name)
    lowest = min(step.grades)
    lasted = _lasted(bed, lowest, scale, stands) if step.lasting else _since(bed, lowest, scale)
    if step.lasted_at_least_hours is not None and lasted < step.lasted_at_least_hours:
        return None
    if step.lasted_below_hours is not None and lasted >= step.lasted_below_hours:
        return None
    # an earlier episode, before the one that counts, had reached this grade
    again = any(row["peak"] >= lowest for row in stands.episodes[:-1])
    if step.recurrent is not None and step.recurrent != again:
        return None
    own = [row for row in bed.doses if row["measure"] == bed.therapy]
    if step.dose_number is not None and len(own) != step.dose_number:
        return None
    if step.onset_before_hours is not None or step.onset_from_hours is not None:
        onset = stands.episodes[-1]["hours_from_dose"] if stands.episodes else None
        if onset is None:
            open_.append("hours from dose to onset")
        elif onset >= (step.onset_before_hours or float("inf")) or onset < (step.onset_from_hours or 0.0):
            return None
    return open_


def _since(bed: Bedside, grade: int, scale: str) -> float:
    """Hours for which the standing grade has been at least this high."""
    since = bed.graded_since(grade, scale)
    return 0.0 if since is None else (bed.now - since) / HOUR


def _lasted(bed: Bedside, grade: int, scale: str, stands: Standing) -> float:
    """Hours of the longest stretch at or above a grade in the episode that counts."""
    longest, since = 0, None
    for row in stands.rows:
        if row["grade"] < grade:
            since = None
            continue
        since = int(row["start"]) if since is None else since
        end = bed.now if row["end"] is None else min(int(row["end"]), bed.now)
        longest = max(longest, end - since)
    return longest / HOUR
