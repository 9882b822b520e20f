"""The closed words an export may be made from: what a row can be, and what can be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: How a value may be written. `day` is the study day: day 1 is the day of hour 0, the day before is day -1.
#: `duration` and, for instants, `text` are ISO 8601.
TYPES = ("text", "integer", "number", "date", "datetime", "day", "duration")
#: Where a value comes from: a word, a constant, or nowhere (a person fills it in).
SAID = ("from", "value", "empty")
YES_NO = ("yes", "no")
OUTCOMES = ("resolved", "not-observed", "censored", "death", "fatal")
ENDS = ("event", "death", "record-end", "not-observed")


@dataclass(frozen=True, slots=True)
class Word:
    """What one word means, how it may be written, which answers it has where they are few."""

    says: str
    types: tuple[str, ...]
    choices: tuple[str, ...] = ()
    origin: str = "Derived"
    asks: bool = False


def _instant(says: str, origin: str = "Derived") -> Word:
    return Word(says, ("date", "datetime", "text", "day"), origin=origin)


def _text(says: str, origin: str = "Derived") -> Word:
    return Word(says, ("text",), origin=origin)


def _whole(says: str, origin: str = "Derived") -> Word:
    return Word(says, ("integer", "text"), origin=origin)


def _number(says: str, origin: str = "Derived") -> Word:
    return Word(says, ("number",), origin=origin)


def _choice(says: str, choices: tuple[str, ...] = YES_NO, origin: str = "Derived") -> Word:
    return Word(says, ("text",), choices, origin)


HOURS = ("number", "duration")
PERSON: Mapping[str, Word] = {
    "subject": _text("the patient's id, or its pseudonym", "Assigned"),
    "study": _text("the study's name, as the caller gave it", "Assigned"),
    "group": _text("what the cohort is told apart by"),
    "therapy": _text("title of the first therapy charted", "Collected"),
    "zero": _instant("hour 0: the first dose of a therapy, else the first charted fact"),
    "zero-is": _choice("what hour 0 is", ("first-dose", "first-fact")),
    "first-dose": _instant("first dose of a therapy; empty where none is charted", "Collected"),
    "last-dose": _instant("last dose of a therapy; empty where none is charted", "Collected"),
    "doses": _whole("number of doses of therapies charted"),
    "record-start": _instant("first charted fact"),
    "record-end": _instant("last charted fact"),
    "follow-up-end": _instant("death, else the last charted fact"),
    "death": _instant("death, as charted", "Collected"),
    "died": _choice("yes where a death is charted, else empty: silence is no proof of life", ("yes",)),
    "cause-of-death": _text("cause of death, as charted", "Collected"),
    "age": _number("age at hour 0, years, as charted", "Collected"),
    "sex": _choice("sex, as charted", ("female", "male", "other", "unknown"), "Collected"),
    "facts": _whole("charted facts"),
}
SCALED: Mapping[str, Word] = {
    "scale": _text("id of the scale"),
    "scale-title": _text("title of the scale"),
    "event": _choice("what the scale grades", ("crs", "icans")),
    "definition": _text("SHA-256 of the definition that graded"),
}
EPISODE: Mapping[str, Word] = {
    "onset": _instant("first instant at grade 1 or above"),
    "closed-at": _instant("recovery, or death attributed to it; empty while ongoing or unobserved"),
    "resolved-at": _instant("start of the gap that closed the episode, observed to be at grade 0"),
    "resolved": _choice(
        "yes: closed by an observed gap at grade 0; no: death, or still ill at the end of the record; empty: "
        "nobody measured, which is no recovery"
    ),
    "outcome": _choice("how the episode ended; `fatal` is a death attributed to it", OUTCOMES),
    "still-open": _choice("for an episode without an end: ongoing, or unknown", ("ongoing", "unknown")),
    "last-known": _instant("for an episode without an end: up to when it is known"),
    "episode-peak": _whole("highest grade proven in the episode"),
    "episode-up-to": _whole("highest grade not ruled out in the episode"),
    "to-peak": Word("from onset to the highest grade, hours", HOURS),
    "length": Word("from onset to recovery or death attributed to it, hours", HOURS),
    "from-dose": Word("from the latest dose of a therapy to onset, hours", HOURS),
    "dose-number": _whole("number of the latest dose before onset"),
    "trigger": _text("the therapy or condition last charted before onset"),
    "doses-listed": _text("doses that belong to the episode"),
    "treatments": _text("treatments charted in the episode"),
    "episode-flags": _text("flags of the grades in the episode"),
    "episode-ambiguous": _choice("whether the scale can be read in two ways at the highest grade"),
    "closing": _text("SHA-256 of the rule that closes episodes"),
    "charted-peak": _whole("highest grade that people charted in the episode under its scale", "Collected"),
    "ctcae-peak": _whole("highest CTCAE grade of the same outcome while the episode lasted"),
    "given": Word("whether any of these was charted in the episode; none charted is no", ("text",), YES_NO,
                  asks=True),
    "given-else-unknown": Word("yes if any of these was charted in the episode, else unknown", ("text",),
                               ("yes", "unknown"), asks=True),
    "given-first": Word("first charted in the episode", ("date", "datetime", "text", "day"), asks=True),
    "given-number": Word("how many different ones were charted in the episode", ("text",),
                         ("one", "two-or-more"), asks=True),
    "given-doses": Word("charted doses and runs in the episode", ("integer",), asks=True),
}  # fmt: skip
NUMBERED: Mapping[str, Word] = {
    "seq": _whole("number of the row within the patient", "Assigned"),
    "episode": _whole("number of the episode within patient and scale"),
    "recurrence": _choice("whether an earlier episode was closed before it"),
    "first-of-patient": _choice("yes for the first episode of patient and scale", ("yes",)),
    "highest-of-patient": _choice("yes for the first episode at the highest grade", ("yes",)),
    "on-therapy": _choice("yes where onset is not before the first dose of a therapy", ("yes",)),
    "link": _text("ties records of one episode together", "Assigned"),
    "term-code": _whole("code of the preferred term, from the user's own licensed file", "Assigned"),
}
WHOLE: Mapping[str, Word] = {
    "any": _choice(
        "yes: grade 1 or above is proven; no: grade 0 throughout, measured, and left open by nothing but "
        "hours without measurement; empty: not known"
    ),
    "peak": _whole("highest grade proven; 0 only where `any` is no, empty where nothing is known"),
    "up-to": _whole("highest grade not ruled out"),
    "ambiguous": _choice("whether the scale can be read in two ways at the highest grade"),
    **{f"first-{k}": _instant(f"first instant at grade {k} or above") for k in range(1, 6)},
    "hours": _number("hours graded"),
    "hours-open": _number("hours in which a higher grade was not ruled out"),
    "hours-unmeasured": _number("hours at grade 0 only because nobody measured"),
    "flags": _text("flags of the grades"),
    "episodes": _whole("number of episodes"),
}
TREATED: Mapping[str, Word] = {
    "seq": NUMBERED["seq"],
    "treatment": _text("title of what was given", "Collected"),
    "treatment-id": _text("its id in Tocsin", "Assigned"),
    "kind": _text("kind of treatment"),
    "given-at": _instant("start of the dose or run", "Collected"),
    "given-until": _instant("end of the run, the last row standing as long as grading lets it"),
    "amount": _number("dose, or highest rate of a run", "Collected"),
    "amount-unit": _text("unit of the dose or rate (UCUM)", "Collected"),
    "device": _text("oxygen device", "Collected"),
    "charted-rows": _whole("charted rows behind it"),
    "link": _text("ties it to the episode it was given in; whether for it, the record does not say"),
}
HAPPENED: Mapping[str, Word] = {
    "seq": NUMBERED["seq"],
    "term": _text("title of the scale or complication"),
    "category": _choice("an episode, or a complication with a proven stage", ("episode", "complication")),
    "scale": _text("id of the scale or complication"),
    "onset": _instant("first instant at grade or stage 1 or above; empty where none is proven"),
    "closed-at": EPISODE["closed-at"],
    "grade": _whole("highest grade or stage proven"),
    "grade-up-to": _whole("highest grade or stage not ruled out"),
    "definition": SCALED["definition"],
}
SPANNED: Mapping[str, Word] = {
    **SCALED,
    "seq": NUMBERED["seq"],
    "span-start": _instant("start of the span"),
    "span-end": _instant("end of the span; empty after a death attributed to it"),
    "grade": _whole("grade proven in the span"),
    "grade-up-to": _whole("grade not ruled out in the span"),
    "unmeasured": _choice("yes where grade 0 stands only because nobody measured"),
    "dose-number": _whole("number of doses of therapies given up to the start of the span"),
}
TIMED: Mapping[str, Word] = {
    **SCALED,
    "parameter": _text("code of the parameter", "Assigned"),
    "parameter-label": _text("what the parameter is", "Assigned"),
    "origin": _instant("where the time starts"),
    "at": _instant("the event, or where its observation ends"),
    "time": Word("from origin to event or end of observation, hours", HOURS),
    "censored": _whole("0 event; 1 end of observation; 2 death, a competing event"),
    "what-ended": _text("the event in words, or why its observation ended"),
    "ended-by": _choice("what ended the time", ENDS),
}
QUALIFIED: Mapping[str, Word] = {
    "subject": PERSON["subject"],
    "study": PERSON["study"],
    "key": _text("number of the row that is qualified", "Assigned"),
    "qualifier": _text("name of the qualifier", "Assigned"),
    "qualifier-label": _text("label of the qualifier", "Assigned"),
    "qualifier-value": _text("its value"),
}
#: What a row can be, and the words of each.
ROWS: Mapping[str, Mapping[str, Word]] = {
    "patients": {**PERSON, **SCALED, **WHOLE, **EPISODE},
    "episodes": {**PERSON, **SCALED, **EPISODE, **NUMBERED},
    "treatments": {**PERSON, **TREATED},
    "events": {**PERSON, **HAPPENED},
    "spans": {**PERSON, **SPANNED},
    "times": {**PERSON, **TIMED},
    "qualifiers": QUALIFIED,
    "resources": {},
}
ORIGINS = ("zero", "onset")
EVENTS = ("first-1", "first-2", "first-3", "first-4", "first-5", "resolved-at", "given-first")
