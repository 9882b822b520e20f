"""Reads what a therapy's label asks for: the tables `step`, `clock`, `missed`, `dose_limit` of its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tocsin.definitions.dose import STATUS_WORDS, Limit, dose_rule, read_limit
from tocsin.definitions.guideline import KINDS, STRENGTHS, Clock, read_clock
from tocsin.definitions.reader import Reader

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

#: What is done with the therapy itself, from the mildest to the strictest.
PRODUCT_ACTIONS = (
    "continue",
    "slow_infusion",
    "interrupt",
    "withhold_until_resolved",
    "withhold_until_resolved_plus_72h",
    "resume_same_dose_no_escalation",
    "restart_lower_dose",
    "premedicate_next",
    "observe_next_dose",
    "postpone_second_split_dose",
    "cancel_second_split_dose",
    "discontinue_permanently",
)
#: What stands until the next dose, also while the grade falls: it goes by the highest grade reached.
LASTING = ("postpone_second_split_dose", "cancel_second_split_dose", "discontinue_permanently")
STEP_WORDS = (
    "grades",
    "action",
    "text",
    "strength",
    "rule",
    "when",
    "next",
    "recurrent",
    "lasted_at_least_hours",
    "lasted_below_hours",
    "onset_before_hours",
    "onset_from_hours",
    "dose_number",
    "observe_hours",
    "clear_hours",
    "guideline",
    "source",
    "locator",
    "status",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing label or guideline ask for of this therapy at a grade; `next` is about the next dose."""

    grades: tuple[int, ...]
    action: str
    text: str
    strength: str
    rule: str | None
    when: tuple[str, ...]
    next: bool
    recurrent: bool | None
    lasted_at_least_hours: float | None
    lasted_below_hours: float | None
    onset_before_hours: float | None
    onset_from_hours: float | None
    dose_number: int | None
    observe_hours: float | None
    clear_hours: float | None
    guideline: str
    source: tuple[str, ...]
    locator: str
    status: str

    @property
    def lasting(self) -> bool:
        """Whether it goes by the highest grade reached, not by the grade of now."""
        return self.next or self.clear_hours is not None or self.action in LASTING


MISSED_WORDS = ("after_dose", "over_days", "text", "source", "locator", "status", "reading")


@dataclass(frozen=True, slots=True)
class Missed:
    """What follows when the next dose comes more than `over_days` after one of these (none named = any)."""

    after_dose: tuple[int, ...]
    over_days: float
    text: str
    source: tuple[str, ...]
    locator: str
    status: str


@dataclass(frozen=True, slots=True)
class Product:
    """The steps of one therapy; `scale` is the label's own, None where it is not one we derive."""

    therapy: str
    scale: str | None
    note: str
    steps: tuple[Step, ...]
    clocks: tuple[Clock, ...]
    missed: tuple[Missed, ...] = ()
    limits: tuple[tuple[str, Limit], ...] = ()


@lru_cache(maxsize=64)
def product(therapy: str, lib: Library) -> Product:
    """The steps of a therapy's file; none where none were found. Raises `DefinitionError`.

    >>> from tocsin.definitions.load import library
    >>> product("glofitamab", library()).steps[0].clear_hours
    72.0
    """
    measure = lib.measure(therapy)
    table = measure.raw
    where = f"therapies/{therapy}.toml"
    scale = table.get("label_scale")
    if scale is not None and scale not in lib.scales:
        raise Reader({"label_scale": scale}, where, ("label_scale",)).fail(
            "label_scale", f"is `{scale}`", f"one of {', '.join(lib.scales)}"
        )
    head = Reader(
        {"source": list(measure.sources), "locator": "", "status": measure.status},
        where,
        ("source", "locator", "status"),
    )
    return Product(
        therapy,
        scale,
        str(table.get("label_note", "")),
        tuple(_step(item, f"{where}, step {i + 1}", lib) for i, item in enumerate(table.get("step", ()))),
        tuple(
            read_clock(item, f"{where}, clock {i + 1}", head, lib)
            for i, item in enumerate(table.get("clock", ()))
        ),
        tuple(_missed(item, f"{where}, missed {i + 1}") for i, item in enumerate(table.get("missed", ()))),
        tuple(
            _limit(item, f"{where}, dose_limit {i + 1}", lib)
            for i, item in enumerate(table.get("dose_limit", ()))
        ),
    )


def _limit(item: Mapping[str, Any], where: str, lib: Library) -> tuple[str, Limit]:
    drug = Reader({"drug": item.get("drug")}, where, ("drug",)).text("drug")
    lib.measure(drug)
    return drug, read_limit(item, where)


def _missed(item: Mapping[str, Any], where: str) -> Missed:
    reader = Reader(item, where, MISSED_WORDS)
    days, after = reader.hours("over_days"), item.get("after_dose", [])
    if days is None:
        raise reader.fail("over_days", "is missing", "over_days = 7")
    if not isinstance(after, list) or not all(isinstance(each, int) and each > 0 for each in after):
        raise reader.fail("after_dose", f"is {after!r}", "after_dose = [1, 2]")
    return Missed(
        tuple(after),
        days,
        reader.text("text"),
        reader.names("source"),
        reader.text("locator"),
        reader.choice("status", STATUS_WORDS),
    )


def _step(item: Mapping[str, Any], where: str, lib: Library) -> Step:
    reader = Reader(item, where, STEP_WORDS)
    grades = item.get("grades")
    if not isinstance(grades, list) or not grades or not all(grade in (1, 2, 3, 4) for grade in grades):
        raise reader.fail("grades", f"is {grades!r}", "grades = [1, 2]")
    rule, number = reader.maybe_text("rule"), reader.number("dose_number")
    if rule is not None:
        dose_rule(rule, lib)
    return Step(
        tuple(grades),
        reader.choice("action", (*PRODUCT_ACTIONS, *KINDS)),
        reader.text("text"),
        reader.choice("strength", STRENGTHS, "give"),
        rule,
        reader.names("when"),
        reader.flag("next"),
        reader.flag("recurrent") if "recurrent" in item else None,
        reader.hours("lasted_at_least_hours"),
        reader.hours("lasted_below_hours"),
        reader.hours("onset_before_hours"),
        reader.hours("onset_from_hours"),
        None if number is None else int(number),
        reader.hours("observe_hours"),
        reader.hours("clear_hours"),
        reader.text("guideline", "label"),
        reader.names("source"),
        reader.text("locator"),
        reader.choice("status", STATUS_WORDS),
    )
