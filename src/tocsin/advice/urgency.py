"""How urgently a person at home should seek care, why, and what to do meanwhile, in plain words.

The rules are data (`definitions/advice/triage.toml`); here they are only asked. What is not known never
lowers an answer, and every answer says what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tocsin.advice.told import Told
from tocsin.advice.words import as_said, filled, joined, limits, plain, reading, when
from tocsin.definitions.advice import URGENCIES, Fall, Rule, Step, Triage, triage_rules
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import Finding
from tocsin.definitions.texts import Texts, texts
from tocsin.grading.moments import Findings

NO, UNKNOWN, YES = 0, 1, 2


def triage(told: Told, lib: Library | None = None, language: str = "en") -> dict[str, Any]:
    """How urgently to seek care.

    Parameters
    ----------
    told     : from `tell` (answers) or `told_in` (a record).
    language : one of `definitions.texts.languages`.

    Returns
    -------
    dict
        `urgency` one of `note call-today call-now emergency ambulance`; `because` and `meanwhile`
        sentences, the most urgent reason first; `unknown` what was not told. Beside them `do` (the one
        thing to do), `say` (what to tell who answers), `not_ruled_out` (the urgency that what is not known
        could still ask for), `rules` (ids of the rules that hold), `missing` (ids of what is not known),
        `sources`, `status`, `language`, `definition` (hash of the rules).

    Raises
    ------
    DefinitionError : no texts in that language.

    >>> from tocsin.advice.told import tell
    >>> ill = tell(therapy="teclistamab", days=1, symptoms=["confusion"], readings={"temperature": 38.2})
    >>> triage(ill)["urgency"]
    'emergency'
    """
    lib = lib or library()
    rules, words = triage_rules(lib), texts(language, lib)
    case = _Case(told, rules, words, lib)
    holding = [rule for rule in rules.rules if case.holds(rule)]
    holding.sort(key=lambda rule: -URGENCIES.index(case.urgency(rule)))
    open_ = [case.urgency(rule) for rule in rules.rules if case.may_hold(rule)]
    urgency = case.urgency(holding[0]) if holding else URGENCIES[0]
    missing = case.missing()
    steps = [step for step in rules.steps if case.applies(step, urgency)]
    cited = [rule.source for rule in holding] + [step.source for step in steps]
    return {
        "urgency": urgency,
        "because": case.because(holding, missing),
        "meanwhile": [filled(words.say("step", step.id), case.fill) for step in steps],
        "unknown": [words.say("unknown", name) for name in missing],
        "do": f"{words.urgency[urgency]['verb']}.",
        "say": case.say(),
        "not_ruled_out": max([urgency, *open_], key=URGENCIES.index),
        "rules": [rule.id for rule in holding],
        "missing": missing,
        "sources": sorted({key for keys in cited for key in keys}),
        "status": "draft" if "draft" in (rules.status, words.status) else rules.status,
        "language": language,
        "definition": rules.hash,
    }


class _Case:
    """The rules asked of one person."""

    def __init__(self, told: Told, rules: Triage, words: Texts, lib: Library) -> None:
        self.told, self.rules, self.words, self.lib = told, rules, words, lib
        self.states: Mapping[str, int] = _asked(lib).states(told.rows, [told.now])[0]
        window = None if told.therapy is None else lib.measure(told.therapy).risk_window_days
        since = told.hours_since_dose
        self.within = since is None or window is None or since <= 24 * window
        self.fill = {
            **limits(rules, words, lib),
            "value": lambda name: reading(name, told.latest(name) or 0.0, words, lib),
        }

    def urgency(self, rule: Rule) -> str:
        if rule.urgency == "call":
            return "call-now" if self.within else "call-today"
        return rule.urgency

    def holds(self, rule: Rule, least: int = YES) -> bool:
        """Whether a rule holds; with `least` unknown, whether it is not ruled out."""
        state = self.states
        return (
            all(any(state[name] >= least for name in group) for group in (rule.any, rule.also) if group)
            and all(state[name] >= least for name in rule.all)
            and all(state[name] >= UNKNOWN for name in rule.possible)
            and all(state[name] == UNKNOWN for name in rule.unknown)
            and all(self.may_have_fallen(self.rules.falls[name]) for name in rule.fell)
            and self.recent(rule.within_hours_of_dose)
        )

    def may_hold(self, rule: Rule) -> bool:
        return self.holds(rule, UNKNOWN)

    def may_have_fallen(self, fall: Fall) -> bool:
        usual, now = (self.told.usual or {}).get(fall.measure), self.told.latest(fall.measure)
        return usual is None or now is None or usual - now > fall.above

    def recent(self, hours: float | None) -> bool:
        since = self.told.hours_since_dose
        return hours is None or since is None or since <= hours

    def applies(self, step: Step, urgency: str) -> bool:
        return (
            urgency in step.urgencies
            and (not step.any or any(self.states[name] == YES for name in step.any))
            and all(self.states[name] == UNKNOWN for name in step.unknown)
        )

    def because(self, holding: list[Rule], missing: list[str]) -> list[str]:
        """Why, the most urgent first; what a rule told of is not told again by a milder one."""
        words, said = self.words, set[str]()
        out = []
        ids = {rule.id for rule in holding}
        for rule in holding:
            if ids & set(rule.silent_with):
                continue
            there = [name for name in (*rule.any, *rule.also) if self.states[name] == YES]
            fresh = [name for name in there if name not in said] if rule.also == () else there
            if there and not fresh:
                continue
            said.update(there)
            told = joined((plain(name, words, self.lib) for name in fresh if self.can_say(name)), words)
            out.append(filled(words.say("rule", rule.id), {**self.fill, **as_said({"told": told})}))
        # nothing that sounds good is said where something was not measured
        enough = not set(missing) & set(self.rules.asks)
        return out or [words.say("word", "nothing" if enough else "not-enough")]

    def can_say(self, name: str) -> bool:
        return name in self.rules.symptoms or name in self.words.tables["sign-of"]

    def missing(self) -> list[str]:
        """What was not told, in the order it is asked for."""
        told, rules = self.told, self.rules
        out = [name for name in rules.asks if not _fresh(told, name, self.lib)]
        if told.therapy is None:
            out.append("therapy")
        if told.hours_since_dose is None:
            out.append("days")
        if any(fall.measure not in (told.usual or {}) for fall in rules.falls.values()):
            out.append("usual")
        if not self.states[rules.hides_fever]:
            out.append("medicines")
        if not any(row["measure"] in (*rules.symptoms, *rules.assessments) for row in told.rows):
            out.append("symptoms")
        return out

    def say(self) -> str:
        """What to tell who answers the call."""
        words, told = self.words, self.told
        name = "" if told.therapy is None else self.lib.measure(told.therapy).title
        first = filled(
            words.say("say", "no-therapy" if told.therapy is None else "therapy"),
            as_said({"therapy": name[:1].lower() + name[1:], "when": when(told, words)}),
        )
        out = [first]
        signs = [name for name in self.states if self.states[name] == YES and self.can_say(name)]
        if signs:
            listed = joined((plain(name, words, self.lib) for name in signs), words)
            out.append(filled(words.say("say", "symptoms"), as_said({"told": listed})))
        for measure in self.rules.asks:
            if _fresh(told, measure, self.lib):
                value = reading(measure, told.latest(measure) or 0.0, words, self.lib)
                out.append(filled(words.say("say", measure), as_said({"value": value})))
        return " ".join(out)


def _fresh(told: Told, measure: str, lib: Library) -> bool:
    """Whether the latest reading of a measure still stands."""
    hold = lib.measure(measure).hold_hours
    times = [row["time"] for row in told.rows if row["measure"] == measure and row.get("value") is not None]
    return bool(times) and (hold is None or told.now - times[-1] < hold * 3_600_000_000)


@lru_cache(maxsize=8)
def _asked(lib: Library) -> Findings:
    """Every finding of the rules and every symptom, compiled once."""
    rules = triage_rules(lib)
    symptoms = {name: Finding(id=name, form="given", items=(name,)) for name in rules.symptoms}
    return Findings({**rules.findings, **symptoms}, lib)
