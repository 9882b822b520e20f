"""Reads the shelves: one TOML file, one thing, its stem its id; lazily, each file once.

A site adds or overrides with folders of its own, later folders winning; two files with one id inside
one folder are refused.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from tocsin.definitions.schema import (
    CATEGORIES,
    KINDS,
    SHELVES,
    STATUSES,
    Code,
    DefinitionError,
    Finding,
    Judgement,
    Limit,
    Measure,
    Reader,
    Row,
    Scale,
    near,
    read_finding,
    read_row,
)

HERE = Path(__file__).parent
MEASURE_WORDS = (
    "id title source locator status reading kind unit aliases plausible hold_hours worse attribution round_to "
    "spike_minutes held_with molar_mass words word_aliases reference baseline limit class stale_hours code brand "
    "antibody cell target product indication risk_window_days memory example note"
).split()
SCALE_WORDS = (
    "id title source locator status reading outcome version use fatal finding row judgement flag example note"
).split()


class Measures(Mapping[str, Measure]):
    """All ids the `measure` column may hold; each file is parsed when first asked for."""

    def __init__(self, files: dict[str, tuple[str, Path]]) -> None:
        self._files = files
        self._read: dict[str, Measure] = {}

    def __getitem__(self, name: str) -> Measure:
        if name not in self._read:
            if name not in self._files:
                raise KeyError(name)
            self._read[name] = read_measure(*self._files[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._files))

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: object) -> bool:
        return name in self._files


class Library:
    """The built-in shelves plus a site's own folders."""

    def __init__(self, folders: tuple[Path, ...] = ()) -> None:
        self.folders = (HERE, *folders)
        for folder in folders:
            if not folder.is_dir():
                raise DefinitionError(f"{folder}: no such folder\n  fix: --definitions takes a folder of shelves")
        files: dict[str, tuple[str, Path]] = {}
        for folder in self.folders:
            seen: dict[str, Path] = {}
            for shelf in SHELVES:
                for path in sorted((folder / shelf).glob("*.toml")):
                    if path.stem in seen:
                        raise DefinitionError(
                            f"{path}: `{path.stem}` is already defined in {seen[path.stem]}\n"
                            "  why: ids are unique over all shelves; two meanings would mix two rules\n"
                            "  fix: rename or remove one of the two files"
                        )
                    seen[path.stem] = path
                    files[path.stem] = (shelf, path)
        self.measures = Measures(files)

    def measure(self, name: str) -> Measure:
        """The measure of this id; an unknown one is refused with its near miss."""
        try:
            return self.measures[name]
        except KeyError:
            raise DefinitionError(f"no measure `{name}`{near(name, self.measures)}") from None

    def files(self, shelf: str) -> dict[str, Path]:
        """Id to file of one shelf, the site's own winning."""
        return {
            path.stem: path for folder in self.folders for path in sorted((folder / shelf).glob("*.toml"))
        }

    @cached_property
    def scales(self) -> tuple[str, ...]:
        return tuple(sorted(self.files("scales")))

    @cached_property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """Class of drug or therapy to the ids in it."""
        found: dict[str, list[str]] = {}
        for name in self.measures:
            for kind in self.measures[name].classes:
                found.setdefault(kind, []).append(name)
        return {kind: tuple(names) for kind, names in found.items()}

    def codes(self) -> Mapping[tuple[str, str], tuple[str, Code]]:
        """(system, code) to (measure id, code), over all shelves."""
        return self._codes

    @cached_property
    def _codes(self) -> Mapping[tuple[str, str], tuple[str, Code]]:
        found: dict[tuple[str, str], tuple[str, Code]] = {}
        for name in self.measures:
            for code in self.measures[name].codes:
                key = (code.system, code.code)
                if key in found and found[key][0] != name:
                    raise DefinitionError(
                        f"{code.system} {code.code} means both `{found[key][0]}` and `{name}`\n"
                        "  why: a coded row would be read as one of two things by chance\n"
                        "  fix: keep the code in one of the two files"
                    )
                found[key] = (name, code)
        return found

    def scale(self, name: str) -> Scale:
        """One scale, checked whole; raises `DefinitionError`."""
        if name not in self._scales:
            files = self.files("scales")
            if name not in files:
                known = ", ".join(sorted(files))
                raise DefinitionError(f"no scale `{name}`{near(name, files)}\n  fix: one of {known}")
            self._scales[name] = read_scale(files[name], self)
        return self._scales[name]

    @cached_property
    def _scales(self) -> dict[str, Scale]:
        return {}

    def definition_hash(self, name: str) -> str:
        """SHA-256 of every definition file that can change this scale's answers."""
        return self.scale(name).hash


@lru_cache(maxsize=8)
def library(folders: tuple[Path, ...] = ()) -> Library:
    """The shelves, with `folders` of the site's own on top.

    >>> library().scale("astct-2019").outcome
    'crs'
    """
    return Library(folders)


def parse(path: Path) -> dict[str, Any]:
    """Read one TOML file; what is wrong with it is said with file and line."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path}: not TOML: {error}\n  fix: mend the line named") from error
    if table.get("id") != path.stem:
        raise DefinitionError(f"{path}: `id` is {table.get('id')!r}\n  fix: the id is the file's stem, {path.stem!r}")
    return table


def read_measure(shelf: str, path: Path) -> Measure:
    """Read one file of the shelves that may stand in the `measure` column."""
    table = parse(path)
    reader = Reader(table, str(path), MEASURE_WORDS)
    plausible = Reader(table.get("plausible", {}), f"{path}, plausible", ("at_least", "at_most", "reading"))
    reference = Reader(table.get("reference", {}), f"{path}, reference", ("low", "high", "reading", "status", "source"))
    baseline = Reader(
        table.get("baseline", {}),
        f"{path}, baseline",
        ("within_hours", "statistic", "chronic_fall_percent", "chronic_fall", "reading"),
    )
    attribution = reader.maybe_text("attribution")
    if attribution is not None:
        reader.choice("attribution", CATEGORIES)
    return Measure(
        id=path.stem,
        shelf=shelf,
        title=reader.text("title"),
        kind=reader.choice("kind", KINDS),
        unit=reader.maybe_text("unit"),
        aliases=dict(table.get("aliases", {})),
        plausible_low=plausible.number("at_least"),
        plausible_high=plausible.number("at_most"),
        hold_hours=reader.number("hold_hours"),
        worse=reader.choice("worse", ("high", "low"), "high"),
        attribution=attribution,
        round_to=reader.number("round_to"),
        spike_minutes=reader.number("spike_minutes"),
        held_with=reader.maybe_text("held_with"),
        molar_mass=reader.number("molar_mass"),
        words=reader.names("words"),
        word_aliases=dict(table.get("word_aliases", {})),
        ref_low=reference.number("low"),
        ref_high=reference.number("high"),
        baseline_hours=baseline.number("within_hours"),
        baseline_statistic=baseline.choice("statistic", ("last", "median"), "last"),
        chronic_fall_percent=baseline.number("chronic_fall_percent"),
        chronic_fall=baseline.number("chronic_fall"),
        limits=tuple(_limit(item, path) for item in table.get("limit", ())),
        classes=reader.names("class"),
        stale_hours=reader.number("stale_hours"),
        risk_window_days=reader.number("risk_window_days"),
        status=reader.choice("status", STATUSES),
        sources=reader.names("source"),
        locator=reader.maybe_text("locator"),
        codes=tuple(_code(item, path) for item in table.get("code", ())),
        reading=reader.prose(),
        raw=table,
    )


def _limit(item: Mapping[str, Any], path: Path) -> Limit:
    reader = Reader(
        item, f"{path}, limit", ("age_from", "age_below", "below", "plus_per_year", "source", "reading", "locator")
    )
    below = reader.number("below")
    if below is None:
        raise reader.fail("below", "is missing", "below = 90")
    high = reader.number("age_below")
    return Limit(
        reader.number("age_from") or 0.0, float("inf") if high is None else high, below,
        reader.number("plus_per_year") or 0.0,
    )


def _code(item: Mapping[str, Any], path: Path) -> Code:
    reader = Reader(item, f"{path}, code", ("system", "code", "unit", "word", "status", "reading", "note", "title"))
    return Code(
        reader.text("system"), reader.text("code"), reader.maybe_text("unit"), reader.maybe_text("word"),
        reader.maybe_text("status"),
    )


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
            raise reader.fail("use", f"names `{use}`{near(use, shared)}", f"one of {', '.join(sorted(shared))}")
        inner = parse(shared[use])
        digest.update(shared[use].read_bytes())
        Reader(inner, str(shared[use]), ("id", "title", "source", "locator", "status", "reading", "finding", "note"))
        _take(inner.get("finding", {}), str(shared[use]), findings, homes)
    _take(table.get("finding", {}), str(path), findings, homes)
    scale = Scale(
        id=path.stem,
        title=reader.text("title"),
        outcome=reader.choice("outcome", ("crs", "icans")),
        source=reader.names("source"),
        locator=reader.text("locator"),
        status=reader.choice("status", STATUSES),
        findings=findings,
        rows=tuple(read_row(row, f"{path}, row {i + 1}") for i, row in enumerate(table.get("row", ()))),
        judgements=tuple(_judgement(item, path) for item in table.get("judgement", ())),
        flags=dict(table.get("flag", {})),
        fatal=reader.maybe_text("fatal"),
        examples=tuple(table.get("example", ())),
        uses=reader.names("use"),
        reading=reader.prose(),
        version=reader.text("version", ""),
    )
    used = _check(scale, path, library)
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
                f"{where}: finding `{name}` is already defined in {homes[name]}\n  fix: give one of them another name"
            )
        into[name] = read_finding(name, body, where)
        homes[name] = where


def _judgement(item: Mapping[str, Any], path: Path) -> Judgement:
    reader = Reader(item, f"{path}, judgement", ("id", "grade", "asks", "when"))
    return Judgement(reader.text("id"), int(reader.number("grade") or 0), reader.text("asks"), reader.text("when"))


def _check(scale: Scale, path: Path, library: Library) -> set[str]:
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

    for root in roots:
        visit(root, ())
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
    if finding.one_of and finding.measure:
        words = library.measure(finding.measure).words
        for word in finding.one_of:
            if words and word not in words:
                raise DefinitionError(f"{where}: `{word}` is no word of `{finding.measure}`{near(word, words)}")
    return tuple(out)


def row_names(row: Row) -> tuple[str, ...]:
    """Findings a row rests on, in the order the scale lists them."""
    return (*row.all, *row.any)
