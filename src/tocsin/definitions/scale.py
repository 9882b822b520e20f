"""Reads one scale whole: its findings, those it uses, its rows; and checks every name in it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader, read_finding, read_row
from tocsin.definitions.schema import (
    FATAL_WORDS,
    STATUSES,
    DefinitionError,
    Finding,
    Judgement,
    Measure,
    Row,
    Scale,
    near,
)

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

SCALE_WORDS = [
    "id",
    "title",
    "source",
    "locator",
    "status",
    "reading",
    "outcome",
    "version",
    "use",
    "fatal",
    "finding",
    "row",
    "judgement",
    "flag",
    "example",
    "note",
    "evidence",
]


def read_scale(path: Path, library: Library) -> Scale:
    """Read a scale, the findings it uses and all they name; then check every name."""
    table = parse(path)
    reader = Reader(table, str(path), SCALE_WORDS)
    digest = hashlib.sha256(path.read_bytes())
    findings: dict[str, Finding] = {}
    homes: dict[str, str] = {}
    shared = library.files("findings")
    for use in reader.names("use"):
        if use not in shared:
            raise reader.fail(
                "use", f"names `{use}`{near(use, shared)}", f"one of {', '.join(sorted(shared))}"
            )
        inner = parse(shared[use])
        digest.update(shared[use].read_bytes())
        Reader(
            inner,
            str(shared[use]),
            ("id", "title", "source", "locator", "status", "reading", "finding", "note"),
        )
        _take(inner.get("finding", {}), str(shared[use]), findings, homes)
    _take(table.get("finding", {}), str(path), findings, homes)
    scale = Scale(
        id=path.stem,
        title=reader.text("title"),
        outcome=reader.choice("outcome", ("crs", "icans", "complication")),
        source=reader.names("source"),
        locator=reader.text("locator"),
        status=reader.choice("status", STATUSES),
        findings=findings,
        rows=tuple(read_row(row, f"{path}, row {i + 1}") for i, row in enumerate(table.get("row", ()))),
        judgements=tuple(_judgement(item, path) for item in table.get("judgement", ())),
        flags={name: reader.words("flag", name) for name in table.get("flag", {})},
        fatal=reader.choice("fatal", FATAL_WORDS) if "fatal" in table else None,
        examples=tuple(
            _example(item, f"{path}, example {i + 1}") for i, item in enumerate(table.get("example", ()))
        ),
        uses=reader.names("use"),
        reading=reader.prose(),
        version=reader.text("version", ""),
    )
    if not scale.source:
        raise reader.fail("source", "is missing", 'name the paper: source = ["lee2019"]')
    used = _check(scale, path, library, table.get("finding", {}))
    for name in sorted(used):
        digest.update(library.measure(name).id.encode() + _file_of(library, name).read_bytes())
    object.__setattr__(scale, "hash", digest.hexdigest())
    return scale


def _file_of(library: Library, name: str) -> Path:
    return library.files(library.measure(name).shelf)[name]


def _take(table: Mapping[str, Any], where: str, into: dict[str, Finding], homes: dict[str, str]) -> None:
    for name, body in table.items():
        if name in into:
            raise DefinitionError(
                f"{where}: finding `{name}` is already defined in {homes[name]}\n"
                "  fix: give one of them another name"
            )
        into[name] = read_finding(name, body, where)
        homes[name] = where


def _judgement(item: Mapping[str, Any], path: Path) -> Judgement:
    reader = Reader(item, f"{path}, judgement", ("id", "grade", "asks", "when"))
    grade = reader.number("grade")
    if grade not in (1, 2, 3, 4):
        raise reader.fail("grade", f"is {grade}", "the grade a yes would give, 1 to 4")
    return Judgement(reader.text("id"), int(grade), reader.text("asks"), reader.text("when"))


def _example(item: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    reader = Reader(item, where, ("name", "given", "grade"))
    reader.text("name")
    if not reader.names("given") or reader.number("grade") is None:
        raise reader.fail("given", "or `grade` is missing", 'given = ["0 h temperature 38.0 Cel"], grade = 1')
    return item


def _check(scale: Scale, path: Path, library: Library, own: Collection[str]) -> set[str]:
    """Every name must mean something and nothing may rest on itself; returns the measures used."""
    if not scale.rows:
        raise DefinitionError(f"{path}: has no [[row]]\n  fix: a scale needs at least one rung")
    roots = [name for row in scale.rows for name in (*row.all, *row.any, *row.none)]
    roots += [judgement.when for judgement in scale.judgements] + list(scale.flags.values())
    done: set[str] = set()
    used: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            raise DefinitionError(
                f"{path}: finding `{name}` rests on itself ({' -> '.join((*trail, name))})\n"
                "  fix: break the circle: a finding may only name simpler findings"
            )
        if name in done:
            return
        finding = scale.findings.get(name)
        if finding is None:
            where = f"finding `{trail[-1]}`" if trail else "a row, flag or judgement"
            raise DefinitionError(
                f"{path}: {where} names `{name}`, which is not defined{near(name, scale.findings)}\n"
                "  fix: define it under [finding], or `use` the file that does"
            )
        for other in finding.names:
            visit(other, (*trail, name))
        used.update(measures_of(finding, library, f"{path}, finding `{name}`"))
        done.add(name)

    for name in scale.findings:
        visit(name, ())
    reached = set(done)
    done.clear()
    used.clear()
    for root in roots:
        visit(root, ())
    missing = sorted(name for name in reached - done if name in own)
    if missing:
        raise DefinitionError(
            f"{path}: finding `{missing[0]}` is used by no row, flag or judgement\n"
            "  why: a rule that is written and never asked looks as if it were applied\n"
            "  fix: name it in a row, or remove it"
        )
    return used


def measures_of(finding: Finding, library: Library, where: str = "") -> tuple[str, ...]:
    """The measures a finding reads itself, classes spelled out."""
    named: list[str] = [finding.measure] if finding.measure else []
    named += [term.measure for term in finding.terms]
    if finding.form in ("given", "ever", "charted"):
        named += list(finding.items)
    out: list[str] = []
    for name in named:
        if name in library.measures:
            out.append(name)
        elif name in library.classes and finding.form in ("given", "ever", "charted"):
            out += library.classes[name]
        else:
            words = (*library.measures, *library.classes)
            raise DefinitionError(f"{where}: `{name}` is no measure and no class of drug{near(name, words)}")
    for name in (finding.measure,) if finding.measure else ():
        _fits(finding, library.measure(name), where)
    return tuple(out)


def _fits(finding: Finding, measure: Measure, where: str) -> None:
    """Refuse a comparison its measure cannot answer."""
    problem = None
    if finding.one_of and measure.kind != "category":
        problem = f"`one_of` asks for words, and `{measure.id}` has none"
    elif finding.one_of:
        wrong = next((word for word in finding.one_of if word not in measure.words), None)
        problem = wrong and f"`{wrong}` is no word of `{measure.id}`{near(wrong, measure.words)}"
    elif measure.kind == "category" and finding.reference != "worse_than_baseline":
        problem = f"`{measure.id}` holds words, not numbers"
    elif measure.kind not in ("number", "infusion", "category"):
        problem = f"`{measure.id}` is {measure.kind}: it is given or not, it has no value to compare"
    elif finding.bound == "age-limit" and not measure.limits:
        problem = f"`{measure.id}` has no [[limit]] by age"
    elif (
        finding.reference is None
        and isinstance(finding.bound, float)
        and finding.bound != 0
        and finding.unit is None
        and measure.unit not in (None, "1", "{score}")
    ):
        problem = f"the bound {finding.bound} has no `unit` (`{measure.id}` is kept in `{measure.unit}`)"
    if problem:
        raise DefinitionError(f"{where}: {problem}\n  fix: mend the finding, or the measure")


def row_names(row: Row) -> tuple[str, ...]:
    """Findings a row rests on, in the order the scale lists them."""
    return (*row.all, *row.any)
