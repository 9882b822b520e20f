"""Fills the texts: readings, limits and names put into sentences of one language."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tocsin.advice.told import Told
from tocsin.definitions.advice import Triage
from tocsin.definitions.load import Library
from tocsin.definitions.schema import Finding
from tocsin.definitions.texts import BRACES, Texts
from tocsin.units import convert


def filled(text: str, fill: Mapping[str, Callable[[str], str]]) -> str:
    """A text with what stands in braces said; what nothing here fills stays."""
    return BRACES.sub(lambda found: fill[found[1]](found[2] or "") if found[1] in fill else found[0], text)


def as_said(said: Mapping[str, str]) -> dict[str, Callable[[str], str]]:
    """Texts that stand in braces as they are."""

    def of(text: str) -> Callable[[str], str]:
        return lambda _: text

    return {name: of(text) for name, text in said.items()}


def limits(rules: Triage, words: Texts, lib: Library) -> dict[str, Callable[[str], str]]:
    """How the numbers of the rules are said: the texts hold none of their own."""
    hours = {rule.id: rule.within_hours_of_dose for rule in rules.rules}
    return {
        "bound": lambda name: bound(name, rules, words, lib),
        "fall": lambda name: f"{rules.falls[name].above:g}",
        "within": lambda name: f"{hours[name]:g}",
    }


def bound(name: str, rules: Triage, words: Texts, lib: Library) -> str:
    """The limit of a finding, or of the first of those it is made of, as people read it.

    >>> from tocsin.definitions.advice import triage_rules
    >>> from tocsin.definitions.load import library
    >>> from tocsin.definitions.texts import texts
    >>> lib = library()
    >>> bound("fever-to-call", triage_rules(lib), texts("en", lib), lib)
    '38.0 °C (100.4 °F)'
    """
    finding: Finding = rules.findings[name]
    while finding.measure is None:
        finding = rules.findings[finding.names[0]]
    if not isinstance(finding.bound, float):
        raise ValueError(f"{name} has no number")
    return reading(finding.measure, finding.bound, words, lib)


def reading(measure: str, value: float, words: Texts, lib: Library) -> str:
    """A value with its unit, as people read it."""
    number = f"{value:.1f}" if lib.measure(measure).unit == "Cel" else f"{value:g}"
    text = words.say("measure", measure)
    degrees = convert("Cel", "[degF]").apply(value) if "{fahrenheit}" in text else 0.0
    return filled(text, as_said({"value": number, "fahrenheit": f"{degrees:.1f}"}))


def joined(things: Iterable[str], words: Texts) -> str:
    """One, one and two, or one, two and three: each once.

    >>> from tocsin.definitions.texts import texts
    >>> from tocsin.definitions.load import library
    >>> joined(["chills", "rash", "chills"], texts("en", library()))
    'chills and rash'
    """
    listed = [*dict.fromkeys(things)]
    if len(listed) < 2:
        return "".join(listed)
    last = f" {words.say('word', 'and')} {listed[-1]}"
    if any("," in each for each in listed):
        return f"{'; '.join(listed[:-1])};{last}"
    return f"{', '.join(listed[:-1])}{last}"


def plain(name: str, words: Texts, lib: Library) -> str:
    """A symptom or sign in plain words; a site's symptom without any by its title."""
    if name in words.tables["sign-of"]:
        return words.say("sign-of", name)
    said = lib.measure(name).raw.get("plain", {})
    return str(said.get(words.language, lib.measure(name).title.lower()))


def when(told: Told, words: Texts) -> str:
    """How long ago the latest dose was."""
    if told.hours_since_dose is None:
        return words.say("say", "unknown")
    days = int(told.hours_since_dose // 24)
    if days < 2:
        return words.say("say", ("today", "yesterday")[days])
    return filled(words.say("say", "days"), as_said({"days": str(days)}))
