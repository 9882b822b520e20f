"""The report: one page that needs nothing else, and the tables beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tocsin.cohort import figures, lanes, sections, store
from tocsin.cohort.records import Cohort
from tocsin.cohort.sections import Key, Section
from tocsin.cohort.tables import definitions, tables
from tocsin.cohort.words import Shown
from tocsin.definitions.load import Library
from tocsin.definitions.measure import parse

HERE = Path(__file__).parent / "page"
AIM = "For research and decision support by trained staff; not a diagnosis."
#: An id inside a drawing, and what points at one: all are in one page, so each drawing gets ids of its own.
IDS = re.compile(r'(\bid="|url\(#|href="#|aria-labelledby=")([\w-]+)')


@dataclass(frozen=True, slots=True)
class Report:
    """A report before it is written. `tables` are the files, `shown` the tables of the page in order."""

    title: str
    tables: Mapping[str, pa.Table]
    sections: tuple[Section, ...]
    keys: tuple[Key, ...]
    figures: Mapping[str, figures.Figure]
    made: Mapping[str, Any]
    statuses: Mapping[str, str]

    @property
    def shown(self) -> tuple[Shown, ...]:
        """Every table of the page."""
        return tuple(table for section in self.sections for table in section.tables)


def report(
    cohort: Cohort,
    lib: Library,
    *,
    title: str = "",
    patients: bool = True,
    patient_ids: bool = False,
    draw: bool = True,
    done: Callable[[str], None] = lambda name: None,
) -> Report:
    """Everything a report says of a gathered cohort.

    Parameters
    ----------
    patients    : with pictures and tables of patients one by one; without, for sharing.
    patient_ids : call them by their ids and not by numbers. Numbers go by highest grade, then onset.
    draw        : with figures; a terminal needs none.
    done        : told of each step as it is finished, for progress.

    Raises
    ------
    TocsinError : nobody is in the cohort.
    """
    found = tables(cohort, lib)
    done("tables")
    numbers = lanes.numbers(cohort)
    found["disagreements"] = lanes.renamed(found["disagreements"], numbers, patient_ids)
    if patients:
        found |= lanes.tables(cohort, numbers, patient_ids)
    else:
        del found["disagreements"]
    called = None if patient_ids else numbers
    drawn = figures.drawn(cohort, found, lib, patients=patients, called=called, done=done) if draw else {}
    hashes = definitions(cohort, lib)
    made = {
        "title": title or _title(cohort), "tocsin": cohort.made.version, "scales": [*cohort.scales],
        "by": cohort.by, "sources": [*cohort.made.sources],
        "until": cohort.made.until and cohort.made.until.isoformat(),
        "as_of": cohort.made.as_of and cohort.made.as_of.isoformat(),
        "patients": cohort.people.num_rows, "unusable_patients": cohort.made.unusable,
        "facts": cohort.made.facts, "rejected_rows": cohort.made.rejected, "definitions": dict(hashes),
    }  # fmt: skip
    return Report(
        made["title"], found, tuple(sections.sections(cohort, found, lib, patients=patients)),
        sections.keys(cohort, found, lib), drawn, made, {name: _status(name, lib) for name in hashes},
    )  # fmt: skip


def save(made: Report, page: Path) -> list[Path]:
    """Write a report's page and tables; returns what was written. Nothing half-written is left behind."""
    return store.write(page, rendered(made), made.tables, made.made)


def rendered(made: Report) -> str:
    """The page. It asks for nothing from anywhere and runs no script."""
    facts = made.made
    cut = [
        f"{word} {facts[key]}"
        for key, word in (("until", "cut at"), ("as_of", "as recorded by"))
        if facts[key]
    ]
    said = [
        f"{facts['patients']:,} patients",
        f"{facts['facts']:,} facts",
        "graded under " + ", ".join(facts["scales"]),
        *([f"told apart by {facts['by']}"] if facts["by"] else []),
        *(cut or ["no data cut: all of the record"]),
    ]
    how = [
        ("Tocsin", facts["tocsin"]),
        ("Sources", ", ".join(facts["sources"]) or "not said"),
        ("Data cut", "; ".join(cut) or "none: all of the record"),
        ("Facts", f"{facts['facts']:,}"),
        ("Rows rejected", f"{facts['rejected_rows']:,}"),
        ("Patients not usable", f"{facts['unusable_patients']:,}"),
        ("Tables", "beside this page, as CSV and Parquet, with data-dictionary.csv and definitions.json"),
    ]
    html: str = _template().render(
        title=made.title,
        style=Markup((HERE / "report.css").read_text("utf-8")),
        facts=" · ".join(said),
        keys=made.keys,
        aim=AIM,
        sections=made.sections,
        made=how,
        figures={
            name: {
                "title": one.title,
                "note": one.note,
                "files": one.files,
                "light": Markup(own_ids(one.light, name)),
                "dark": Markup(own_ids(one.dark, f"{name}-dark")) if one.dark else "",
            }
            for name, one in made.figures.items()
        },
        definitions=[(name, made.statuses[name], sha) for name, sha in facts["definitions"].items()],
    )
    return html


def own_ids(svg: str, name: str) -> str:
    """A drawing whose ids are its own.

    >>> own_ids('<clipPath id="a"/><g clip-path="url(#a)"/>', "flow")
    '<clipPath id="flow-a"/><g clip-path="url(#flow-a)"/>'
    """
    return IDS.sub(lambda found: f"{found[1]}{re.sub(r'[^A-Za-z0-9_-]', '-', name)}-{found[2]}", svg)


@lru_cache(maxsize=1)
def _template() -> Any:
    """Text is escaped, and a name that is not there is an error, not a gap."""
    env = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return env.get_template("report.html")


def _title(cohort: Cohort) -> str:
    return f"Cytokine release in {cohort.people.num_rows:,} patients"


def _status(name: str, lib: Library) -> str:
    """Whether a definition was checked by two readers, or is a draft; empty where it is no single file."""
    for folder in reversed(lib.folders):
        for path in sorted(folder.glob(f"*/{name}.toml")):
            return str(parse(path).get("status", "draft"))
    return ""
