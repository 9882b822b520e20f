"""Writes the model as SBML Level 3 Version 2, so that COPASI, libRoadRunner, PEtab and the rest can run it.

The mathematics is read from the syntax tree of `equations.rates` and of the solver's start: there is no
second copy of the equations to keep in step. A state becomes a parameter with a rate rule, what stands for
a part of an equation becomes an assignment rule, an input becomes a parameter that events switch at the
hours of the doses. The MathML is written here, so nothing has to be installed to export.

Source: the SBML Level 3 Version 2 Core specification, release 2 (Hucka et al. 2019,
doi:10.1515/jib-2019-0021).
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from tocsin.definitions.model import Value
from tocsin.definitions.schema import TocsinError
from tocsin.simulation import equations, solve
from tocsin.simulation.care import Chart
from tocsin.simulation.equations import Input, Parameter, State, Vector

SBML = "http://www.sbml.org/sbml/level3/version2/core"
MATHML = "http://www.w3.org/1998/Math/MathML"
XHTML = "http://www.w3.org/1999/xhtml"
TIME = "http://www.sbml.org/sbml/symbols/time"
HOURS_A_DAY = 24.0

#: MathML's names of the arithmetic the equations may use.
OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "plus", ast.Sub: "minus", ast.Mult: "times", ast.Div: "divide", ast.Pow: "power",
}  # fmt: skip
#: The unit of each state that has one; the others count from 0 to 1, or in multiples of the typical.
STATE_UNITS = {
    **dict.fromkeys(
        (
            State.depot, State.engager, State.engager_peripheral, State.tocilizumab,
            State.tocilizumab_peripheral, State.siltuximab, State.siltuximab_peripheral,
            State.anakinra_depot, State.anakinra, State.dexamethasone, State.methylprednisolone,
            State.steroid,
        ),
        "mg",
    ),
    **dict.fromkeys((State.transit, State.site, State.crp), "mg/L"),
    **dict.fromkeys((State.ifn_gamma, State.tnf_alpha, State.il_1_beta, State.il_6, State.il_10), "pg/mL"),
    State.ferritin: "ug/L",
    State.fever: "Cel",
}  # fmt: skip
#: The unit of each named part of an equation that has one; the rest are pure numbers. A test has libSBML
#: check the units of every equation, so a wrong or a missing line here does not stay.
TERM_UNITS = {
    **dict.fromkeys(("toci", "silt", "anakinra_term", "plasma"), "mg/L"),
    **dict.fromkeys(("free_il6", "free_il1"), "pg/mL"),
    **dict.fromkeys(("activation", "expansion"), "1/d"),
    **dict.fromkeys(
        (
            "absorbed", "toci_back", "silt_back", "anakinra_in", "dexamethasone_out",
            "methylprednisolone_out",
        ),
        "mg/d",
    ),
}  # fmt: skip
#: What a unit is made of: SBML kind, power of ten, multiplier. A difference of 1 Cel is one of 1 kelvin.
ATOMS = {
    "mg": ("gram", -3, 1.0),
    "ug": ("gram", -6, 1.0),
    "ng": ("gram", -9, 1.0),
    "pg": ("gram", -12, 1.0),
    "L": ("litre", 0, 1.0),
    "mL": ("litre", -3, 1.0),
    "d": ("second", 0, 86400.0),
    "h": ("second", 0, 3600.0),
    "Cel": ("kelvin", 0, 1.0),
    "mm[Hg]": ("pascal", 0, 133.322),
    "%": ("dimensionless", -2, 1.0),
}


def as_given(doses: Vector, chart: Vector) -> Vector:
    """One patient's schedule with what the ward gave added to it: the doses that led to this course.

    Parameters
    ----------
    doses : (rows, 4), first hour, last hour, input, mg a day: one patient's row of `Courses.doses`.
    chart : (hours + 1, channels of `Chart`): one patient's row of `Courses.chart`.

    A course under care, and one without care under these doses, are the same.
    """
    rows = [
        (float(hour), hour + 1.0, float(drug), HOURS_A_DAY * chart[hour, Chart[drug.name]])
        for drug in (Input.tocilizumab, Input.dexamethasone, Input.methylprednisolone)
        for hour in np.flatnonzero(chart[:, Chart[drug.name]] > 0)
    ]
    return np.concatenate([np.asarray(doses, dtype=np.float64).reshape(-1, 4), np.array(rows).reshape(-1, 4)])


def to_sbml(
    values: Vector,
    doses: Vector | None = None,
    *,
    shelf: Mapping[str, Value] | None = None,
    name: str = "Cytokine release",
) -> str:
    """The model of one patient as an SBML document; time in days from the first dose.

    Parameters
    ----------
    values : the patient's parameters in the order of `Parameter`: a row of `Patients.parameters`.
    doses : (rows, 4), first hour, last hour, input, amount a day: one of `schedule`'s, or from `as_given`.
    shelf : `Model.values`: gives each parameter its unit, its meaning and its origin as a note.
    name : what the document calls the model.

    Raises
    ------
    TocsinError : values of the wrong length or not finite, or an equation that SBML cannot be made of.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (len(Parameter),) or not np.isfinite(numbers).all():
        raise TocsinError(
            f"{numbers.shape} parameters cannot be written as SBML\n"
            f"  why: the model has {len(Parameter)} of one patient, each a finite number\n"
            "  fix: one row of `population(...).parameters`"
        )
    rules, terms = _read(equations.rates)
    begins, _ = _read(solve.at_rest.py_func)
    changes = _changes(np.zeros((0, 4)) if doses is None else np.asarray(doses, dtype=np.float64))
    root = Element("sbml", {"xmlns": SBML, "level": "3", "version": "2"})
    model = SubElement(root, "model", {"id": "cytokine_release", "name": name, "timeUnits": "day"})
    _note(model, "Time in days from the first dose; inputs in mg a day (pathogen: its own unit a day).")
    units = {} if shelf is None else _units(shelf, terms)
    _define_units(model, {"d", *units.values()})
    _declare(model, numbers, terms, changes.pop(0.0, {}), shelf or {}, units)
    _begin(model, begins, units)
    listed = SubElement(model, "listOfRules")
    for term, math in terms.items():
        SubElement(listed, "assignmentRule", {"variable": term}).append(_math(math))
    for state, math in rules.items():
        SubElement(listed, "rateRule", {"variable": state}).append(_math(math))
    if changes:
        _events(model, changes, units)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


# --- from the syntax tree to MathML ---------------------------------------------------------------------


def _read(function: Callable[..., None]) -> tuple[dict[str, Element], dict[str, Element]]:
    """What a function writes into its states, and the terms it names on the way, as MathML by id."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    names: dict[str, ast.expr | str] = {}
    written: dict[str, Element] = {}
    terms: dict[str, Element] = {}
    taken = {place.name for place in (*State, *Parameter)} | {_given(place.name) for place in Input}
    for line in tree.body:
        if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
            continue  # the docstring
        if not isinstance(line, ast.Assign) or len(line.targets) != 1:
            raise _unreadable(line)
        target = line.targets[0]
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice):
            for state in State:  # `y[:] = 0.0`, the start of what is not named
                written[state.name] = _formula(line.value, names)
        elif isinstance(target, ast.Subscript):
            written[_place(target)] = _formula(line.value, names)
        elif isinstance(target, ast.Name) and target.id not in names:
            if isinstance(line.value, ast.Subscript):
                names[target.id] = line.value  # a short name of a state: the state itself is written
                continue
            term = f"{target.id}_term" if target.id in taken else target.id
            terms[term] = _formula(line.value, names)
            names[target.id] = term
        else:
            raise _unreadable(line)
    return written, terms


def _formula(node: ast.expr, names: Mapping[str, ast.expr | str]) -> Element:
    """One expression as content MathML."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return _apply(OPERATORS[type(node.op)], _formula(node.left, names), _formula(node.right, names))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _apply("minus", _formula(node.operand, names))
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return _number(float(node.value), "dimensionless")
    if isinstance(node, ast.Subscript):
        return _name(_place(node))
    if isinstance(node, ast.Name) and node.id in names:
        known = names[node.id]
        return _name(known) if isinstance(known, str) else _formula(known, {})
    raise _unreadable(node)


def _place(node: ast.Subscript) -> str:
    """The id of `y[State.il_6]`, `p[Parameter.ka]`, `u[Input.engager]`."""
    if not (isinstance(node.slice, ast.Attribute) and isinstance(node.slice.value, ast.Name)):
        raise _unreadable(node)
    name = node.slice.attr
    return _given(name) if node.slice.value.id == "Input" else name


def _given(name: str) -> str:
    """The id of an input, which may be called as the state it flows into."""
    return f"given_{name}"


def _unreadable(node: ast.AST) -> TocsinError:
    return TocsinError(
        f"an equation cannot be written as SBML: {ast.unparse(node)}\n"
        "  why: SBML is made of sums, products, quotients and powers of named places\n"
        "  fix: write it so in equations.rates, or teach sbml.py the word"
    )


def _apply(operator: str, *arguments: Element) -> Element:
    apply = Element("apply")
    SubElement(apply, operator)
    apply.extend(arguments)
    return apply


def _name(name: str) -> Element:
    node = Element("ci")
    node.text = name
    return node


def _number(value: float, unit: str = "") -> Element:
    """A number; MathML writes an exponent apart."""
    mantissa, _, exponent = repr(value).partition("e")
    node = Element("cn", {"sbml:units": unit} if unit else {})
    node.text = mantissa
    if exponent:
        node.set("type", "e-notation")
        SubElement(node, "sep").tail = str(int(exponent))
    return node


def _math(formula: Element) -> Element:
    math = Element("math", {"xmlns": MATHML, "xmlns:sbml": SBML})
    math.append(formula)
    return math


# --- the document ---------------------------------------------------------------------------------------


def _units(shelf: Mapping[str, Value], terms: Iterable[str]) -> dict[str, str]:
    """The unit of every state, parameter, input and term, those that SBML can say."""
    units = {state.name: STATE_UNITS.get(state, "1") for state in State}
    units |= {term: TERM_UNITS.get(term, "1") for term in terms}
    units |= {name: value.unit for name, value in shelf.items()}
    units |= {_given(each.name): "1/d" if each is Input.pathogen else "mg/d" for each in Input}
    return {name: unit for name, unit in units.items() if all(part in ATOMS for part in _parts(unit))}


def _parts(unit: str) -> list[str]:
    return [part for part in unit.split("/") if part != "1"]


def _unit_id(unit: str) -> str:
    """An id for a unit: `pg/mL/d` is `pg_per_mL_per_d`."""
    if unit == "d":
        return "day"
    if unit == "1":
        return "dimensionless"
    plain = unit.replace("%", "percent").replace("mm[Hg]", "mmHg")
    return plain.removeprefix("1").replace("/", "_per_").lstrip("_")


def _define_units(model: Element, units: set[str]) -> None:
    listed = SubElement(model, "listOfUnitDefinitions")
    for unit in sorted(units - {"1"}):
        parts = SubElement(SubElement(listed, "unitDefinition", {"id": _unit_id(unit)}), "listOfUnits")
        for place, part in enumerate(unit.split("/")):
            if part != "1":
                kind, scale, multiplier = ATOMS[part]
                said = {
                    "exponent": "-1" if place else "1",
                    "scale": str(scale),
                    "multiplier": repr(multiplier),
                }
                SubElement(parts, "unit", {"kind": kind, **said})


def _declare(
    model: Element,
    numbers: Vector,
    terms: Mapping[str, Element],
    at_start: Mapping[str, float],
    shelf: Mapping[str, Value],
    units: Mapping[str, str],
) -> None:
    listed = SubElement(model, "listOfParameters")

    def declare(name: str, value: float | None, constant: bool) -> Element:
        said = {"id": name, "constant": str(constant).lower()}
        if value is not None:
            said["value"] = repr(float(value))
        if name in units:
            said["units"] = _unit_id(units[name])
        return SubElement(listed, "parameter", said)

    for state in State:
        declare(state.name, None, constant=False)
    for given in Input:
        declare(_given(given.name), at_start.get(_given(given.name), 0.0), constant=False)
    for place in Parameter:
        node = declare(place.name, numbers[place], constant=True)
        if place.name in shelf:
            told = shelf[place.name]
            source = f", {told.source}" if told.source else ""
            _note(node, f"{told.meaning} [{told.unit}; {told.origin}{source}]")
    for term in terms:
        declare(term, None, constant=False)


def _begin(model: Element, begins: Mapping[str, Element], units: Mapping[str, str]) -> None:
    listed = SubElement(model, "listOfInitialAssignments")
    for state, math in begins.items():
        if math.tag == "cn" and state in units:
            math.set("sbml:units", _unit_id(units[state]))  # a bare number has the unit of its state
        SubElement(listed, "initialAssignment", {"symbol": state}).append(_math(math))


def _note(node: Element, text: str) -> None:
    paragraph = SubElement(SubElement(node, "notes"), "p", {"xmlns": XHTML})
    paragraph.text = text


def _changes(doses: Vector) -> dict[float, dict[str, float]]:
    """By hour, in order: every input that changes then, and what it changes to; overlapping doses add up."""
    found: dict[float, dict[str, float]] = {}
    for given in Input:
        rows = doses[doses[:, 2] == given]
        before = 0.0
        for hour in sorted({*rows[:, 0].tolist(), *rows[:, 1].tolist()}):
            running = rows[(rows[:, 0] <= hour) & (hour < rows[:, 1])]
            now = float(running[:, 3].sum())
            if now != before:
                found.setdefault(hour, {})[_given(given.name)] = now
            before = now
    return dict(sorted(found.items()))


def _events(model: Element, changes: Mapping[float, Mapping[str, float]], units: Mapping[str, str]) -> None:
    listed = SubElement(model, "listOfEvents")
    for hour, inputs in changes.items():
        event = SubElement(
            listed, "event", {"id": f"hour_{hour:g}".replace(".", "_"), "useValuesFromTriggerTime": "true"}
        )
        trigger = SubElement(event, "trigger", {"initialValue": "false", "persistent": "true"})
        now = Element("csymbol", {"encoding": "text", "definitionURL": TIME})
        now.text = "time"
        trigger.append(_math(_apply("geq", now, _number(hour / HOURS_A_DAY, "day"))))
        assigned = SubElement(event, "listOfEventAssignments")
        for name, amount in inputs.items():
            unit = _unit_id(units[name]) if name in units else ""
            SubElement(assigned, "eventAssignment", {"variable": name}).append(_math(_number(amount, unit)))
