"""The shelf `wards`: what a simulated ward does is read whole, or refused with what to mend."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.citations import references
from tocsin.definitions.load import library
from tocsin.definitions.readout import SIGNALS
from tocsin.definitions.schema import DefinitionError
from tocsin.definitions.ward import Policy, read_ward, ward_of

LIB = library()
USUAL = LIB.files("wards")["usual"]
WARD = ward_of("usual", LIB)


def changed(tmp_path, old, new):
    """The usual ward's file with one text replaced."""
    text = USUAL.read_text("utf-8")
    assert old in text
    path = tmp_path / "usual.toml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return path


def test_the_numbers_stand_in_the_order_the_solver_reads():
    assert WARD.array[Policy.oxygen_start_below] == WARD.numbers["oxygen_start_below"] == 92
    assert len(WARD.array) == len(Policy)


def test_the_ladder_starts_on_air_and_climbs():
    """A rung that gives less than the one below it would make stepping up a step down."""
    assert WARD.ladder[0].device == "room-air"
    gains = [rung.spo2_gain for rung in WARD.ladder]
    assert gains == sorted(gains)
    assert WARD.rungs.shape == (len(WARD.ladder), 4)


def test_words_of_the_ladder_and_of_alertness_are_words_a_chart_knows():
    assert {rung.device for rung in WARD.ladder} <= set(LIB.measure("oxygen-device").words)
    assert [word for _, word in WARD.readouts.alertness] == list(LIB.measure("consciousness").words)


def test_every_readout_and_complaint_is_a_measure():
    for readout in WARD.readouts.readouts:
        assert LIB.measure(readout.measure).kind == "number"
    for complaint in WARD.readouts.complaints:
        assert LIB.measure(complaint.symptom).shelf == "symptoms"
        assert complaint.of in SIGNALS


def test_every_published_number_names_a_source_we_list():
    named = {readout.source for readout in WARD.readouts.readouts if readout.source}
    assert named <= set(references())


def test_a_site_changes_one_number_and_the_rest_stays():
    mine = WARD.changed(treatment_tocilizumab_from=1)
    assert mine.array[Policy.treatment_tocilizumab_from] == 1
    assert np.sum(mine.array != WARD.array) == 1
    with pytest.raises(DefinitionError, match="did you mean `oxygen_wean_hours`"):
        WARD.changed(oxygen_wean_hour=1)
    with pytest.raises(
        DefinitionError, match=r"ward `usual`: `observe.routine_hours` is 0, not a whole number"
    ):
        WARD.changed(observe_routine_hours=0)


def test_an_unknown_ward_names_those_there_are():
    with pytest.raises(
        DefinitionError, match=r"no ward `usal`; did you mean `usual`[\s\S]*fix: one of: usual"
    ):
        ward_of("usal", LIB)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("wean_hours = {", "wean_hour = {", r"`oxygen.wean_hour` is not a number of a ward; did you mean"),
        ("routine_hours = { value = 4,", "routine_hours = {", "observe.routine_hours: `value` is missing"),
        ("neuro_hill = {", "neuro_hil = {", r"`signal.neuro_hil` is not a number of a ward; did you mean"),
        ("rise = { fever = 0.1,", "rise = { fevr = 0.1,", "unknown key `fevr`; did you mean `fever`"),
        ("rise = { fever = 0.1,", "rise = { fever = -0.1,", "what lowers a value stands under `fall`"),
        ('measure = "diastolic-bp"', 'measure = "systolic-bp"', "`systolic-bp` is there twice"),
        ("parts = { anc = 1.1", "parts = { platelets = 1.1", "unknown key `platelets`"),
        ("lowest_day = 9, depth = 0.97", "lowest_day = -9, depth = 0.97", "lowest_day after from_day"),
        ("lowest_day = 9, depth = 0.97", "depth = 0.97", "dip: `lowest_day` is missing"),
        ("child = -0.045", "child = -0.06", "a newborn's value would be 0 or less"),
        ("lag_hours = 24", "lag_hours = -24", "`lag_hours` is -24, below 0"),
        ('source = "stein2019"', 'locator = "x"', "unknown key `locator`"),
        ('origin = "published"\nsource = "stein2019"\n', 'origin = "published"\n', "missing of a published"),
        ("most    = 0.9", "most    = 1.9", "`most` or `half` is missing or out of range"),
        ("from = 5\n", "from = 1\n", "`from` is missing or out of order"),
        ('of      = "fever"', 'of      = "fevr"', r"`of` is `fevr`; did you mean `fever`"),
        ("routine_hours = { value = 4,", "routine_hours = { value = 0,", r"`observe.routine_hours` is 0, not "
         r"a whole number of hours: the ward looks on whole hours\n  fix: "),
        ("close_hours = { value = 1,", "close_hours = { value = 1.5,", "`observe.close_hours` is 1.5, not a"),
        ("labs_hours = { value = 24,", "labs_hours = { value = 0.5,", "`observe.labs_hours` is 0.5, not a"),
        ("score_hours = { value = 12,", "score_hours = { value = 0,", "`signal.score_hours` is 0, not a"),
        ("missing = { value = 0.05,", "missing = { value = 1.05,", "`observe.missing` is 1.05, a share"),
        ("\ngain = { value = 60,", "\ngain = { value = 0,", "`pressure.gain` is 0, what"),
        ("\ngain = { value = 60,", "\ngain = { value = -60,", "`pressure.gain` is -60, below 0"),
        ("dexamethasone_mg = { value = 10,", "dexamethasone_mg = { value = -10,",
         r"`treatment.dexamethasone_mg` is -10, below 0\n  fix: "),
        ("neuro_half = { value = 0.55,", "neuro_half = { value = 0,", "`signal.neuro_half` is 0"),
        ("flow      = 2\n", "flow      = -2\n", "rung 2: `flow` is -2, below 0"),
        ("labs_late_minutes = {", "labs_late_minute = {", "labs_late_minutes` is missing; did you mean"),
        ("labs_late_minutes = { value = 60,", "labs_late_minutes = { value = -1,", "_minutes` is -1"),
        ("[observe]", "[observe", "not TOML"),
        ('"usual"', '"other"', "the id is the file's stem"),
        ("onset_hours = { value = 2,", "onset_hours = { value = 0,", "`fever.onset_hours` is 0, what"),
        ("counts_hours = { value = 24,", "counts_hours = { value = -1,", "`fever.counts_hours` is -1, below"),
    ],
)  # fmt: skip
def test_a_slip_in_a_ward_is_named(tmp_path, old, new, message):
    """A number that is not understood would silently not be used."""
    with pytest.raises(DefinitionError, match=message):
        read_ward(changed(tmp_path, old, new))


def test_a_readout_reads_only_what_stands_before_it(tmp_path):
    """White cells are made of counts already measured, so the order in the file is the order of work."""
    names = [readout.measure for readout in WARD.readouts.readouts]
    for readout in WARD.readouts.readouts:
        earlier = names[: names.index(readout.measure)]
        assert set(readout.parts) <= {*SIGNALS, *earlier}
