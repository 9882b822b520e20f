"""The exported SBML is valid to the last unit, and another engine finds the same courses in it."""

from __future__ import annotations

from collections import Counter

import libsbml
import numpy as np
import pytest
import roadrunner

from reference_courses import DAYS, TRIGGERS, apart, treated
from tocsin.definitions.load import library
from tocsin.definitions.schema import TocsinError
from tocsin.definitions.ward import ward_of
from tocsin.simulation import sbml
from tocsin.simulation.equations import Input, Parameter, State
from tocsin.simulation.sbml import as_given, to_sbml
from tocsin.simulation.solve import courses


def complaints(text: str) -> Counter[str]:
    """What libSBML has to say about a document, by severity and rule, units and practice included."""
    document = libsbml.readSBMLFromString(text)
    document.checkConsistency()
    found = [document.getError(n) for n in range(document.getNumErrors())]
    return Counter(f"{each.getSeverityAsString()} {each.getErrorId()}: {each.getMessage()}" for each in found)


def run(text: str, days: float = DAYS) -> np.ndarray:
    """libRoadRunner's hourly states of a document."""
    engine = roadrunner.RoadRunner(text)
    engine.integrator.setValue("relative_tolerance", 1e-10)
    engine.integrator.setValue("absolute_tolerance", 1e-13)
    engine.integrator.setValue("maximum_num_steps", 200_000)
    engine.timeCourseSelections = ["time", *(state.name for state in State)]
    return np.array(engine.simulate(0, days, round(days * 24) + 1))[:, 1:]


@pytest.mark.parametrize("name", TRIGGERS)
def test_an_exported_model_is_valid_to_the_last_unit(name):
    """No error and no warning: the units of every equation agree with those on the shelf."""
    model, drawn, doses = treated(name, 1)
    text = to_sbml(drawn.parameters[0], doses[0], shelf=model.values, name=model.title)
    assert complaints(text) == {}


def test_a_model_without_its_shelf_is_valid_too():
    """Bare numbers have no units: that is worth a warning to libSBML, never an error."""
    _, drawn, doses = treated("teclistamab", 1)
    found = complaints(to_sbml(drawn.parameters[0], doses[0]))
    assert {line.partition(" ")[0] for line in found} == {"Warning"}


def test_a_wrong_unit_does_not_stay(monkeypatch):
    """The check above can fail: interleukin 6 in mg/L is seen."""
    model, drawn, doses = treated("teclistamab", 1)
    monkeypatch.setitem(sbml.STATE_UNITS, State.il_6, "mg/L")
    assert complaints(to_sbml(drawn.parameters[0], doses[0], shelf=model.values))


@pytest.mark.parametrize("name", TRIGGERS)
def test_another_engine_finds_the_same_course(name):
    """Every state, every hour, three weeks, with a dose or more of every drug."""
    _, drawn, doses = treated(name, 3)
    ours = courses(drawn, doses, DAYS, rtol=1e-10).states
    for n in range(3):
        assert apart(run(to_sbml(drawn.parameters[n], doses[n])), ours[n]) < 1e-5


def test_what_the_ward_gave_can_be_exported_with_the_model():
    """A course under care is reproduced from the model and the doses that were charted."""
    _, drawn, doses = treated("tisagenlecleucel", 30, extra=False)
    found = courses(drawn, doses, DAYS, ward_of("usual", library()), rtol=1e-10)
    given = [as_given(doses[n], found.chart[n]) for n in range(30)]
    n = max(range(30), key=lambda n: len(given[n]))
    assert len(given[n]) > len(doses[n]) + 1
    assert apart(run(to_sbml(drawn.parameters[n], given[n])), found.states[n]) < 1e-5


def test_doses_that_overlap_add_up_and_doses_that_touch_do_not():
    """Two infusions at once run at the sum of their rates; one that follows another replaces it."""
    _, drawn, _ = treated("endotoxin", 1)
    rows = [(0, 4, 10.0), (2, 6, 5.0), (6, 8, 5.0), (10, 12, 1e-7)]
    doses = np.array([(first, last, Input.dexamethasone, rate) for first, last, rate in rows])
    text = to_sbml(drawn.parameters[0], doses)
    engine = roadrunner.RoadRunner(text)
    assert engine.getValue("given_dexamethasone") == 10.0
    document = libsbml.readSBMLFromString(text).getModel()
    switched = {
        event.getId(): event.getEventAssignment(0).getMath().getValue()
        for event in document.getListOfEvents()
    }
    assert switched == {"hour_2": 15.0, "hour_4": 5.0, "hour_8": 0.0, "hour_10": 1e-7, "hour_12": 0.0}
    assert apart(run(text, 2.0), courses(drawn, doses[None], 2.0, rtol=1e-10).states[0]) < 1e-5


def test_names_are_those_of_the_equations_and_never_clash():
    """Whoever reads the document finds each state and parameter under its own name, with its meaning."""
    assert not {state.name for state in State} & {parameter.name for parameter in Parameter}
    model, drawn, doses = treated("blinatumomab", 1)
    document = libsbml.readSBMLFromString(to_sbml(drawn.parameters[0], doses[0], shelf=model.values))
    exported = document.getModel()
    for place in (*State, *Parameter):
        assert exported.getParameter(place.name) is not None, place.name
    for parameter in Parameter:
        found = exported.getParameter(parameter.name)
        assert found.getValue() == drawn.parameters[0, parameter]
        assert model.values[parameter.name].origin in found.getNotesString()
    assert document.getLevel() == 3
    assert document.getVersion() == 2


def test_a_document_is_the_same_every_time():
    """No date, no random order: two exports are the same bytes."""
    model, drawn, doses = treated("covid-19", 1)
    first, second = (to_sbml(drawn.parameters[0], doses[0], shelf=model.values) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("values", [np.zeros(3), np.full(len(Parameter), np.nan)])
def test_values_that_are_no_patient_are_refused(values):
    """Too few, or not a number: the error says what is needed."""
    with pytest.raises(TocsinError, match="one row of `population"):
        to_sbml(values)


def test_an_equation_that_sbml_cannot_say_is_named(monkeypatch):
    """Whoever adds a word to the equations learns here that the export does not know it."""

    def rates(y, p, u, dy):
        dy[State.il_6] = max(y[State.il_6], 0.0)

    _, drawn, _ = treated("covid-19", 1)
    monkeypatch.setattr(sbml.equations, "rates", rates)
    with pytest.raises(TocsinError, match=r"cannot be written as SBML: max\(y\[State.il_6\], 0.0\)"):
        to_sbml(drawn.parameters[0])
