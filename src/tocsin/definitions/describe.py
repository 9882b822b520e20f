"""A definition as a page a person can check against the paper: Markdown, made from the definition alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tocsin.definitions.closing import OUTCOMES, closing
from tocsin.definitions.describe_score import score_page
from tocsin.definitions.describe_shelf import PLAIN, shelf_page
from tocsin.definitions.load import Library
from tocsin.definitions.measure import parse
from tocsin.definitions.schema import DefinitionError, Finding, Measure, Row, Scale, near
from tocsin.definitions.score import score_definition
from tocsin.definitions.shared import SharedFindings, meanings, resting_on, shared_findings

BOUND_WORDS = {"at_least": "at least", "above": "above", "at_most": "at most", "below": "below"}
REFERENCE_WORDS = {
    "times_uln": "times the upper limit of normal",
    "times_lln": "times the lower limit of normal",
    "times_baseline": "times the baseline",
    "drop_from_baseline": "fallen from the baseline",
    "percent_drop_from_baseline": "% fallen from the baseline",
}

Cite = Callable[[str], str]
_OTHERS = ("scores", "findings", "episodes", *PLAIN)


def page(name: str, lib: Library, cite: Cite = str) -> str:
    """The page of any definition, scale or measure.

    Parameters
    ----------
    name : id of a scale, of anything that may stand in the `measure` column, of a file of findings, of a
        finding as `because` names it, or `closing` for when an episode is over.
    cite : turns a key of the bibliography into the text to print.

    Raises
    ------
    DefinitionError : nothing has that id; names the near miss.

    >>> from tocsin.definitions.load import library
    >>> print(page("temperature", library()).splitlines()[0])
    # Body temperature (`temperature`)
    """
    parts: list[Iterable[str]] = []
    if name in lib.scales:
        scale = lib.scale(name)
        parts.append([*rungs(scale, cite), "", "## Findings", "", *findings(used(scale))])
    if name in lib.measures:
        parts.append(_measure(lib.measure(name), cite))
    if name in lib.files("scores"):
        parts.append(score_page(score_definition(name, lib), cite))
    if name in lib.files("episodes"):
        parts.append(_closing(lib, cite))
    if name in lib.files("findings"):
        parts.append(_shared(shared_findings(name, lib), cite))
    elif made := meanings(name, lib):
        parts.append(_meanings(name, made))
    for shelf in PLAIN:
        if name in lib.files(shelf):
            if shelf == "complications" and "score" not in parse(lib.files(shelf)[name]):
                scale = lib.scale(name)
                parts.append([*rungs(scale, cite), "", "## Findings", "", *findings(used(scale))])
            else:
                parts.append(shelf_page(shelf, name, lib, cite))
    if not parts:
        parts += [_shared(file, cite) for file in _holding(name, lib)]
    if not parts:
        known = [*lib.scales, *lib.measures, *(name for shelf in _OTHERS for name in lib.files(shelf))]
        known += [finding for scale in map(lib.scale, lib.scales) for finding in scale.findings]
        raise DefinitionError(
            f"no definition `{name}`{near(name, known)}\n  fix: `tocsin list SHELF` names them all"
        )
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _holding(name: str, lib: Library) -> Iterator[SharedFindings]:
    """The files of findings, used by no scale, that hold one of this name."""
    for each in sorted(lib.files("findings")):
        file = shared_findings(each, lib)
        if any(finding.id == name for finding in file.findings):
            yield file


def _shared(file: SharedFindings, cite: Cite) -> Iterator[str]:
    yield from _head(file, file.sources, cite)
    if file.reading:
        yield from ("", f"Our reading: {file.reading}")
    yield from ("", "## Findings", "", *findings(file.findings))


def _meanings(name: str, made: Mapping[tuple[Finding, ...], Sequence[str]]) -> Iterator[str]:
    yield f"# The finding `{name}`"
    for parts, scales in made.items():
        yield from ("", f"## In {', '.join(scales)}", "", *findings(parts))


def _closing(lib: Library, cite: Cite) -> Iterator[str]:
    rules = [closing(outcome, lib) for outcome in OUTCOMES]
    yield f"# {rules[0].title} (`{rules[0].id}`)"
    yield from ("", _status(rules[0].status), "", *(f"- Source: {cite(key)}" for key in rules[0].sources))
    for rule in rules:
        looked = "; ".join(_names(line, " or ") for line in rule.charted)
        yield from ("", f"## {rule.outcome.upper()}", "")
        yield f"- over after {rule.quiet_hours:g} h at grade 0"
        yield f"- over after {rule.masked_hours:g} h once one of these was given: {_names(rule.masked_by)}"
        yield f"- resolved only if charted in that time: {looked}; else not observed"
        yield f"- treatments it lists: {_names(rule.treated_with)}"
    yield from ("", f"Our reading: {rules[0].reading}")


def sentence(finding: Finding) -> str:
    """What one finding says, in words.

    >>> sentence(Finding("fever", "measure", measure="temperature", op="at_least", bound=38.0, unit="Cel"))
    '`temperature` at least 38 Cel'
    """
    said = _FORMS[finding.form](finding)
    memory = (
        (finding.for_hours, "for {:g} h without a break"),
        (finding.bridge_hours or None, "gaps of at most {:g} h bridged"),
        (finding.within_hours, "within the last {:g} h"),
        (finding.confirmed_within_hours, "confirmed by a second reading within {:g} h"),
        (finding.hold_hours, "a reading stands for {:g} h"),
    )
    said = ", ".join([said, *(text.format(hours) for hours, text in memory if hours is not None)])
    if finding.or_with:
        said += f" or by {_names(finding.or_with, ' or ')}"
    if finding.until_then == "possible":
        said += "; not ruled out until then"
    if finding.if_missing != "unknown":
        said += f"; `{finding.if_missing}` where nothing is charted"
    return said


def _bound(finding: Finding) -> str:
    if finding.reference == "worse_than_baseline":
        return "worse than the baseline"
    if finding.op is None:
        return ""
    if finding.bound == "age-limit":
        return f"{BOUND_WORDS[finding.op]} the limit for the patient's age"
    unit = REFERENCE_WORDS.get(finding.reference or "", finding.unit or "")
    return f"{BOUND_WORDS[finding.op]} {finding.bound:g} {unit}".rstrip()


def _reading(finding: Finding) -> str:
    words = f"is {_names(finding.one_of, ' or ')}" if finding.one_of else _bound(finding)
    method = f" ({finding.method})" if finding.method else ""
    fresh = ", where the baseline was not already so" if finding.new_since_baseline else ""
    return f"`{finding.measure}`{method} {words}{fresh}"


def _given(finding: Finding) -> str:
    times = f" {_bound(finding)} times" if finding.op else ""
    marked = f" marked {_names(finding.one_of, ' or ')}" if finding.one_of else ""
    return f"given{times}: {_names(finding.items)}{marked}"


def _ever(finding: Finding) -> str:
    return (
        f"given: {_names(finding.items)}, while `{finding.after}`; "
        f"until `{finding.until_quiet}` has held for {finding.quiet_hours:g} h"
    )


def _sum(finding: Finding) -> str:
    terms = " + ".join(f"{term.weight:g} × `{term.measure}` [{term.unit}]" for term in finding.terms)
    return f"{terms} {_bound(finding)}"


def _rule(finding: Finding | Row) -> str:
    parts = (("all of", finding.all), ("any of", finding.any), ("none of", finding.none))
    return "; ".join(f"{word} {_names(names)}" for word, names in parts if names)


_FORMS: dict[str, Callable[[Finding], str]] = {
    "measure": _reading,
    "given": _given,
    "ever": _ever,
    "charted": lambda finding: f"charted: {_names(finding.items)}",
    "weighted_sum": _sum,
    "count_of": lambda finding: f"{_bound(finding)} of {_names(finding.items)}",
    "first_known": lambda finding: f"the first that is known of {_names(finding.items)}",
    "rule": _rule,
}


def _names(names: Iterable[str], join: str = ", ") -> str:
    return join.join(f"`{name}`" for name in names)


def _status(status: str) -> str:
    return f"Status: {status}." + (" It rests on memory or on one reader." if status == "draft" else "")


def _head(thing: Scale | Measure | SharedFindings, sources: Iterable[str], cite: Cite) -> Iterator[str]:
    yield f"# {thing.title} (`{thing.id}`)"
    yield ""
    yield _status(thing.status)
    yield ""
    for key in sources:
        yield f"- Source: {cite(key)}"
    if thing.locator:
        yield f"- Where: {thing.locator}"


def rungs(scale: Scale, cite: Cite = str) -> Iterator[str]:
    """Lines of a scale's grades, of what only a person can say, and of its flags."""
    yield from _head(scale, scale.source, cite)
    if scale.reading:
        yield from ("", f"Our reading: {scale.reading}")
    yield from ("", "## Grades", "")
    for row in sorted(scale.rows, key=lambda row: row.grade):
        yield f"- **Grade {row.grade}**: {_rule(row)}" + (f" ({row.title})" if row.title else "")
        if row.possible:
            yield "    - only keeps the grade from being ruled out; it never proves it"
        if row.ambiguous:
            yield f"    - ambiguous: {row.ambiguous}"
        if row.reading:
            yield f"    - our reading: {row.reading}"
    if scale.fatal:
        yield f"- **Grade 5**: `death` with the text `{scale.fatal}`, and nothing else"
    if scale.judgements:
        yield from ("", "## What only a person can say", "")
        for item in scale.judgements:
            yield f"- `{item.id}` (grade {item.grade}, asked while `{item.when}` may hold): {item.asks}"
    if scale.flags:
        yield from ("", "## Flags", "")
        yield from (f"- `{flag}`: while `{finding}`" for flag, finding in scale.flags.items())


def findings(named: Iterable[Finding]) -> Iterator[str]:
    """Lines that say what each finding means."""
    for finding in named:
        title = f" {finding.title}:" if finding.title else ""
        yield f"- `{finding.id}`:{title} {sentence(finding)}"
        if finding.reading:
            yield f"    - our reading: {finding.reading}"


def used(scale: Scale) -> list[Finding]:
    """The findings a scale rests on, each before what it is made of."""
    roots = [name for row in scale.rows for name in (*row.all, *row.any, *row.none)]
    roots += [*scale.flags.values(), *(item.when for item in scale.judgements)]
    return resting_on(scale.findings, roots)


def _measure(measure: Measure, cite: Cite) -> Iterator[str]:
    yield from _head(measure, measure.sources, cite)
    yield from (f"- {name}: {text}" for name, text in _properties(measure) if text)
    if measure.codes:
        yield from ("", "| system | code | unit | word |", "|---|---|---|---|")
        for code in measure.codes:
            yield f"| {code.system} | {code.code} | {code.unit or ''} | {code.word or ''} |"
    if measure.reading:
        yield from ("", f"Our reading: {measure.reading}")
    for item in measure.raw.get("indication", ()):
        yield from ("", f"## {item.get('indication', 'Indication')}", "")
        for key, value in item.items():
            if key not in ("row_id", "indication", "source"):
                said = ", ".join(value) if isinstance(value, list) else f"{value}"
                yield f"- {key.replace('_', ' ')}: {said}"
        yield from (f"- Source: {cite(key)}" for key in item.get("source", ()))
    yield from _asked(measure)


def _asked(measure: Measure) -> Iterator[str]:
    """What a therapy's label and guideline ask for by grade, when a dose is late, and of other drugs."""
    steps = measure.raw.get("step", ())
    if steps:
        yield from ("", "## By grade", "")
    for item in steps:
        grades, who = ", ".join(map(str, item["grades"])), item.get("guideline", "label")
        memory = ", from memory" if item["status"] == "memory" else ""
        yield f"- {grades} ({who}{memory}): {item['text']} (`{item['action']}`)"
    for item in (*measure.raw.get("missed", ()), *measure.raw.get("dose_limit", ())):
        memory = " (from memory)" if item["status"] == "memory" else ""
        drug = f"`{item['drug']}`, " if "drug" in item else ""
        country = f"{item['country']}: " if "country" in item else ""
        yield f"- {country}{drug}{item.get('text', item.get('says'))}{memory}"


def _properties(measure: Measure) -> Iterator[tuple[str, str]]:
    yield "Shelf", f"{measure.shelf}, {measure.kind}"
    yield "Unit", measure.unit or ""
    yield "Also written", ", ".join(f"`{alias}`" for alias in measure.aliases)
    if measure.plausible_low is not None or measure.plausible_high is not None:
        low, high = _or(measure.plausible_low, "any"), _or(measure.plausible_high, "any")
        yield "Possible values", f"{low} to {high}"
    yield "A reading stands for", "" if measure.hold_hours is None else f"{measure.hold_hours:g} h"
    if measure.ref_low is not None or measure.ref_high is not None:
        yield "Reference limits", f"{_or(measure.ref_low, 'none')} to {_or(measure.ref_high, 'none')}"
    yield "Words, mild to worst", ", ".join(f"`{word}`" for word in measure.words)
    yield "Class", ", ".join(measure.classes)
    if measure.risk_window_days is not None:
        yield "Risk window", f"{measure.risk_window_days:g} d after a dose"
    for limit in measure.limits:
        plus = f" + {limit.plus_per_year:g} × age" if limit.plus_per_year else ""
        to = "on" if limit.age_below == float("inf") else f"to {limit.age_below:g}"
        yield f"Low from {limit.age_from:g} {to} (years)", f"below {limit.below:g}{plus}"


def _or(value: float | None, missing: str) -> str:
    return missing if value is None else f"{value:g}"
