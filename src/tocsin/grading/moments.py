"""What findings say at moments: the same machine, without a scale.

Guidelines, tests due and advice ask "has the fever lasted three days", "was a second bolus given". Their
conditions are findings as scales have them, so one meaning (docs/grading.md) serves grades and actions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library
from tocsin.definitions.scale import measures_of
from tocsin.definitions.schema import DefinitionError, Finding, Scale, near
from tocsin.definitions.shared import resting_on, shared_findings
from tocsin.facts.instants import moment
from tocsin.grading.batch import run_with
from tocsin.grading.compile import Compiled, Compiler
from tocsin.grading.live import Coder, Live, Row, micros
from tocsin.grading.program import as_lists, new_state
from tocsin.grading.rows import prepare

#: A program has a bit for each measure it reads; with some room left for classes that grow.
MEASURES_AT_MOST = 56


class Findings:
    """Findings compiled once, asked at any moments of any patient.

    Parameters
    ----------
    findings : id to finding; the findings it is made of must be in there too.
    lib      : the shelves.

    >>> from tocsin.definitions.load import library
    >>> from tocsin.testing import START, patient
    >>> lib = library()
    >>> asked = Findings(findings_of(["fever"], lib), lib)
    >>> ill = patient("1 h temperature 38.4 Cel").to_pylist()
    >>> [state["fever"] for state in asked.states(ill, [micros(START), micros(START) + 7_200_000_000])]
    [1, 2]
    """

    def __init__(self, findings: Mapping[str, Finding], lib: Library) -> None:
        self.lib = lib
        self.findings = dict(findings)
        self.names = tuple(self.findings)
        for finding in self.findings.values():
            for name in finding.names:
                if name not in self.findings:
                    raise DefinitionError(
                        f"finding `{finding.id}` names `{name}`, which is not there{near(name, self.names)}\n"
                        "  fix: name the file of findings that holds it, too"
                    )
        self.programs = [_program(part, self.findings, lib) for part in self._parts()]
        self.coder = [Coder(program, lib) for program in self.programs]

    def _parts(self) -> list[list[str]]:
        """The findings in lots that one program can read."""
        parts: list[tuple[set[str], list[str]]] = []
        for name in self.names:
            reads = set(self.waiting(name))
            if len(reads) > MEASURES_AT_MOST:
                raise DefinitionError(
                    f"finding `{name}` reads {len(reads)} measures\n"
                    f"  fix: split it; one finding may read {MEASURES_AT_MOST}"
                )
            for measures, names in parts:
                if len(measures | reads) <= MEASURES_AT_MOST:
                    measures |= reads
                    names.append(name)
                    break
            else:
                parts.append((reads, [name]))
        return [names for _, names in parts]

    def waiting(self, name: str) -> tuple[str, ...]:
        """The measures a finding reads: where it is unknown, one of them would settle it."""
        found: set[str] = set()
        for each in resting_on(self.findings, [name]):
            if each.form not in ("given", "charted", "ever"):
                found.update(measures_of(each, self.lib))
        return tuple(sorted(found))

    def states(self, facts: Iterable[Mapping[str, Any]], moments: Sequence[int]) -> list[dict[str, int]]:
        """For each moment, ascending, what every finding was then: 2 yes, 1 unknown, 0 no.

        `facts` are the canonical rows of one patient; only those at or before a moment count for it.
        Before the first fact everything that is not known to be absent is unknown.
        """
        rows = sorted(facts, key=lambda row: micros(row["time"]))
        out: list[dict[str, int]] = [{} for _ in moments]
        for program, coder in zip(self.programs, self.coder, strict=True):
            coded = [coder.code(row) for row in rows]
            for state, found in zip(out, _walk(program, self.lib, coder, coded, moments), strict=True):
                state.update(found)
        return out

    def state(self, facts: pa.Table, now: int) -> dict[str, int]:
        """The same at one moment, of a table, by the compiled machine: for records of very many facts."""
        facts = facts.filter(pc.less_equal(facts["time"], moment(now)))
        if not len(facts):
            return self.states((), [now])[0]
        found: dict[str, int] = {}
        for program in self.programs:
            rows, starts, _ = prepare(facts, program, self.lib)
            state = new_state(program.program, plain=False)
            run_with(state, program, rows, starts, now + 1, True, True)
            said = state.node["value"].tolist()
            found |= {name: said[n] for name, n in program.named[0].items()}
        return found


class Bench(Live):
    """One patient's machine for a program that was compiled elsewhere."""

    def __init__(self, program: Compiled, lib: Library, coder: Coder) -> None:
        self.lib = lib
        self.compiled = program
        self.program = _listed(program)
        self.coder = coder
        self.patients = {}


def _walk(
    program: Compiled, lib: Library, coder: Coder, rows: Sequence[Row], moments: Sequence[int]
) -> Iterable[dict[str, int]]:
    bench, names, i = Bench(program, lib, coder), program.named[0], 0
    blank: dict[str, int] | None = None
    for now in moments:
        while i < len(rows) and rows[i].time <= now:
            bench.push("", rows[i])
            i += 1
        if not i:
            blank = blank or _blank(program, lib, coder, names)
            yield blank
            continue
        patient = bench.patients[""]
        bench._settle(patient)
        bench._lapses(patient, now + 1)
        node = patient.state.node
        yield {name: node[n].value for name, n in names.items()}


def _blank(program: Compiled, lib: Library, coder: Coder, names: Mapping[str, int]) -> dict[str, int]:
    """What findings say of a patient of whom nothing is charted."""
    bench = Bench(program, lib, coder)
    bench.push("", coder.code({"time": 0, "measure": ""}))
    patient = bench.patients[""]
    bench._settle(patient)
    return {name: patient.state.node[n].value for name, n in names.items()}


_LISTS: dict[int, tuple[Compiled, Any]] = {}


def _listed(program: Compiled) -> Any:
    """The program's tables as lists, made once."""
    if id(program) not in _LISTS:
        _LISTS[id(program)] = program, as_lists(program.program)
    return _LISTS[id(program)][1]


def _program(names: Sequence[str], findings: Mapping[str, Finding], lib: Library) -> Compiled:
    """One program of these findings: a scale without rungs."""
    scale = Scale(
        id="findings", title="", outcome="crs", source=(), locator="", status="checked", findings=findings,
        rows=(), judgements=(), flags={}, fatal=None, examples=(), uses=(), reading="", version="",
    )
    compiler = Compiler([scale], lib)
    for name in names:
        if not compiler.named:
            compiler.named.append({})
        compiler.finding(scale, name, compiler.named[0])
    return compiler.flatten([[]], [[]])


def findings_of(files: Iterable[str], lib: Library) -> dict[str, Finding]:
    """All findings of the named files of the shelf `findings`; raises `DefinitionError` on two of one id.

    >>> from tocsin.definitions.load import library
    >>> sorted(findings_of(["fever"], library()))[:2]
    ['febrile-now', 'fever']
    """
    found: dict[str, Finding] = {}
    homes: dict[str, str] = {}
    for name in dict.fromkeys(files):
        for finding in shared_findings(name, lib).findings:
            if found.get(finding.id, finding) != finding:
                raise DefinitionError(
                    f"finding `{finding.id}` is defined in findings/{homes[finding.id]}.toml and "
                    f"findings/{name}.toml\n  fix: give one of them another name"
                )
            found[finding.id] = finding
            homes[finding.id] = name
    return found
