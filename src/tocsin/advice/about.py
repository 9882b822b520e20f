"""The leaflet: what CRS is, in plain words, topic by topic; every fact with its source.

Symptoms, limits and a therapy's figures are taken from their own shelves, so that the leaflet can never say
another number than the one triage goes by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tocsin.advice.told import therapy_named
from tocsin.advice.words import as_said, filled, limits, plain
from tocsin.definitions.advice import RULE_URGENCIES, Triage, triage_rules
from tocsin.definitions.leaflet import About, Leaflet, leaflet_of
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import DefinitionError, Measure, near
from tocsin.definitions.texts import Texts, said_by_symptoms, texts

#: The order in which the leaflet says when to seek care: the most urgent first.
SAID_FIRST = ("ambulance", "emergency", "call-now", "call", "call-today", "note")
FEW = 1.0


def leaflet(
    topic: str | None = None, *, language: str = "en", therapy: str | None = None, lib: Library | None = None
) -> dict[str, Any]:
    """The leaflet, or one topic of it.

    Parameters
    ----------
    topic    : id of a topic; None for all.
    language : one of `definitions.texts.languages`.
    therapy  : an id or brand; then its own figures are added, those that rest on memory left out.

    Returns
    -------
    dict
        `title`, `language`, `status`, `definition` (hash) and `topics`, each `{id, title, items}`; an item is
        `{text, point, source, status}`, `status` "memory" where no source was seen.

    Raises
    ------
    DefinitionError : an unknown topic or language, with the near miss.
    AdviceError     : an unknown therapy.

    >>> leaflet("grades")["topics"][0]["title"]
    'The four grades, in four plain questions'
    """
    lib = lib or library()
    page = leaflet_of(language, lib)
    treated = None if therapy is None else lib.measure(therapy_named(therapy, lib))
    return {
        "title": page.title,
        "language": language,
        "status": page.status,
        "topics": [_said(each, page, treated, lib) for each in _asked(topic, page)],
        "definition": page.hash,
    }


def _asked(topic: str | None, page: Leaflet) -> tuple[About, ...]:
    if topic is None:
        return page.topics
    ids = [each.id for each in page.topics]
    name = "-".join(topic.lower().replace("_", " ").split())
    if name not in ids:
        raise DefinitionError(f"no topic `{topic}`{near(name, ids)}\n  fix: one of {', '.join(ids)}")
    return tuple(each for each in page.topics if each.id == name)


def _said(topic: About, page: Leaflet, therapy: Measure | None, lib: Library) -> dict[str, Any]:
    rules, words = triage_rules(lib), texts(page.language, lib)
    fill = limits(rules, words, lib)
    items = [_item(filled(item.text, fill), item.source, item.status, item.point) for item in topic.items]
    for name in topic.adds:
        if name == "symptoms":
            items += _symptoms(rules, words, lib)
        elif name == "signs":
            items += _signs(rules, words, fill, lib)
        elif therapy is not None:
            items += _figures(therapy, page, name)
    return {"id": topic.id, "title": topic.title, "items": [_whole(item) for item in items]}


def _whole(item: dict[str, Any]) -> dict[str, Any]:
    """A point is read aloud as a sentence of its own."""
    text = str(item["text"])
    return {**item, "text": text[:1].upper() + text[1:] + ("" if text[-1] in ".:?!" else ".")}


def _item(text: str, source: tuple[str, ...], status: str, point: bool = True) -> dict[str, Any]:
    return {"text": text, "point": point, "source": [*source], "status": status}


def _symptoms(rules: Triage, words: Texts, lib: Library) -> Iterator[dict[str, Any]]:
    """The symptoms that rules name, as the rules order them: the most urgent first."""
    named = dict.fromkeys(name for rule in rules.rules for name in (*rule.any, *rule.also))
    for name in named:
        if name in rules.symptoms and lib.measure(name).sources:
            yield _item(plain(name, words, lib), lib.measure(name).sources, lib.measure(name).status)


def _signs(
    rules: Triage, words: Texts, fill: Mapping[str, Callable[[str], str]], lib: Library
) -> Iterator[dict[str, Any]]:
    """When to seek care, urgency by urgency, from the rules themselves."""
    said: set[str] = set()
    for urgency in sorted(RULE_URGENCIES, key=SAID_FIRST.index):
        lines = []
        for rule in rules.rules:
            if rule.urgency != urgency:
                continue
            if rule.id in words.tables["sign"]:
                told = [words.say("sign", rule.id)]
            elif said_by_symptoms(rule, rules):
                told = [plain(name, words, lib) for name in rule.any if name in rules.symptoms]
            fresh = [text for text in told if text and text not in said]
            lines += [_item(filled(text, fill), rule.source, rule.status) for text in fresh]
            said.update(told)
        if lines:
            yield _item(words.urgency[urgency]["sign"], (), rules.status, point=False)
            yield from lines


def _figures(therapy: Measure, page: Leaflet, asked: str) -> list[dict[str, Any]]:
    """What studies of a therapy found; a figure that rests on memory is left out."""
    out = []
    for row in therapy.raw.get("indication", ()):
        known = {key: value for key, value in row.items() if key not in row.get("memory_fields", ())}
        if "n" not in known or "crs_any_pct" not in known:
            continue
        source = tuple(key for key in row.get("crs_source", ()) if key != "memory")
        says = page.study
        about = {"n": str(known["n"]), "therapy": therapy.title[:1].lower() + therapy.title[1:]}
        told = [_put(says["rate"], {**about, "value": _count(known["crs_any_pct"])})]
        told += [*_severe(known, page), *_span(known, "onset", says["onset"], page)]
        lasted = [*_span(known, "duration", says["lasted"], page)]
        if asked == "lasted":
            told = [told[0], *lasted] if lasted else []
        if told:
            out.append(_item(" ".join(told), source, "draft", point=False))
    if not out and asked == "figures":
        name = therapy.title[:1].lower() + therapy.title[1:]
        out.append(_item(_put(page.study["nothing"], {"therapy": name}), (), page.status, point=False))
    return out


def _severe(known: Mapping[str, Any], page: Leaflet) -> Iterator[str]:
    value = known.get("crs_g3plus_pct")
    if value is not None:
        word = "none-severe" if value == 0 else "few-severe" if value < FEW else "severe"
        yield _put(page.study[word], {"value": _count(value)})


def _span(known: Mapping[str, Any], what: str, text: str, page: Leaflet) -> Iterator[str]:
    """A median with its unit; a unit with words of its own is read by the first of them."""
    value, unit = known.get(f"{what}_median"), str(known.get(f"{what}_unit", "")).partition(" ")[0]
    if value and unit in page.units:
        yield _put(text, {"value": f"{value:g}", "unit": page.units[unit]})


def _count(value: float) -> str:
    return f"{value:.0f}"


def _put(text: str, said: Mapping[str, str]) -> str:
    return filled(text, as_said(said))
