"""Hypoxia: device before flow before FiO2, what is estimated for whom, oxygen at home."""

from __future__ import annotations

import pytest

from moments import at, peak

HOT = ("0 h temperature 39.0 Cel", "0 h systolic-bp 120 mm[Hg]")
LABS = ("0 h creatinine 0.8 mg/dL", "0 h alt 20 U/L", "0 h ast 20 U/L", "0 h bilirubin 0.5 mg/dL",
        "0 h inr 1.0",
        "0 h aptt 28 s", "0 h fibrinogen 300 mg/dL")
BY_FIO2 = ("lee-2014", "cartox-2018", "mskcc-2018", "ctcae-5.0")
BY_DEVICE = ("astct-2019", "ctcae-6.0")


@pytest.mark.parametrize(
    ("device", "pair"),
    [
        ("blow-by", (2, 2)), ("nasal-cannula", (2, 3)), ("simple-mask", (3, 3)), ("venturi-mask", (3, 3)),
        ("non-rebreather", (3, 3)), ("high-flow-nasal-cannula", (3, 3)), ("cpap", (4, 4)), ("bipap", (4, 4)),
        ("ventilator", (4, 4)),
    ],
)
def test_every_device_has_its_class(device, pair):
    """A9, A11; a cannula without a flow gives oxygen, how much is open."""
    assert at(0, *HOT, f"0 h oxygen-device {device}").pair == pair


@pytest.mark.parametrize(
    ("word", "grade"),
    [("HFNC", 3), ("NC", 2), ("NRB", 3), ("Face tent", 3), ("Venti mask", 3), ("CPAP mask", 4), ("NIV", 4),
     ("Vent", 4),
     ("RA", 1), ("ETT", 4), ("High Flow NC", 3), ("Intubated", 4)],
)
def test_hospitals_words_for_devices(word, grade):
    assert at(0, *HOT, "0 h spo2 97 %", f"0 h oxygen-device {word}").grade == grade


@pytest.mark.parametrize(
    ("flow", "pair"), [("0", (1, 1)), ("0.1", (2, 2)), ("6", (2, 2)), ("6.1", (3, 3)), ("15", (3, 3)),
                       (">6", (3, 3)),
                       ("<7", (1, 3))],
)
def test_a_cannula_is_low_flow_up_to_6_litres(flow, pair):
    """A10."""
    assert at(0, *HOT, "0 h oxygen-device nasal-cannula", f"0 h oxygen-flow {flow} L/min").pair == pair


@pytest.mark.parametrize("device", ["high-flow-nasal-cannula", "simple-mask", "non-rebreather",
                                    "venturi-mask"])
@pytest.mark.parametrize("flow", ["0.5", "2", "6", "40"])
def test_device_beats_flow(device, flow):
    """A9: high flow in an infant may be charted at 2 L/min."""
    assert at(0, *HOT, f"0 h oxygen-device {device}", f"0 h oxygen-flow {flow} L/min").pair == (3, 3)


@pytest.mark.parametrize("scale", BY_DEVICE)
@pytest.mark.parametrize("flow", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("fio2", [None, 21, 39, 40, 44, 90])
def test_fio2_never_enters_astct_or_ctcae_6(scale, flow, fio2):
    """Charted or estimated, FiO2 changes nothing where the scale goes by device and flow."""
    lines = [*HOT, "0 h oxygen-device nasal-cannula", f"0 h oxygen-flow {flow} L/min"]
    lines += [f"0 h fio2 {fio2} %"] if fio2 else []
    assert at(0, *lines, scale=scale).pair == (2, 2)


@pytest.mark.parametrize("scale", BY_FIO2)
@pytest.mark.parametrize(
    ("flow", "pair"), [("1", (2, 2)), ("3", (2, 2)), ("3.9", (2, 2)), ("4", (2, 3)), ("5", (3, 3)),
                       ("6", (3, 3))],
)
def test_a_cannulas_fio2_is_estimated_where_the_scale_asks(scale, flow, pair):
    """0.24 at 1 L/min, 0.04 more for each: 5 L/min is 0.40; 4 L/min could be either, and says so."""
    answer = at(0, *HOT, *LABS, "0 h oxygen-device nasal-cannula", f"0 h oxygen-flow {flow} L/min",
                scale=scale)
    assert answer.pair == pair
    assert answer.ambiguous == (flow == "4")


@pytest.mark.parametrize("scale", BY_FIO2)
@pytest.mark.parametrize(
    ("charted", "pair"),
    [
        ("oxygen-device nasal-cannula|oxygen-flow 4 L/min|fio2 36 %", (2, 2)),
        ("oxygen-device nasal-cannula|oxygen-flow 5 L/min|fio2 36 %", (2, 2)),
        ("oxygen-device nasal-cannula|oxygen-flow 2 L/min|fio2 0.5 1", (3, 3)),
        ("oxygen-device nasal-cannula", (2, 3)),
        ("oxygen-device blow-by", (2, 2)),
        ("oxygen-device simple-mask|oxygen-flow 5 L/min", (3, 3)),
        ("oxygen-device simple-mask|oxygen-flow 4 L/min", (2, 3)),
        ("oxygen-device simple-mask", (2, 3)),
        ("oxygen-device non-rebreather", (3, 3)),
        ("oxygen-device venturi-mask", (2, 3)),
        ("oxygen-device venturi-mask|fio2 39 %", (2, 2)),
        ("oxygen-device venturi-mask|fio2 0.40 1", (3, 3)),
        ("oxygen-device high-flow-nasal-cannula|oxygen-flow 40 L/min", (2, 3)),
        ("oxygen-device high-flow-nasal-cannula|oxygen-flow 40 L/min|fio2 30 %", (2, 2)),
        ("oxygen-device high-flow-nasal-cannula|oxygen-flow 40 L/min|fio2 40 %", (3, 3)),
        ("oxygen-device ventilator|fio2 21 %", (4, 4)),
        ("oxygen-device room-air|spo2 97 %", (1, 1)),
    ],
)
def test_a_set_fio2_goes_before_an_estimate(scale, charted, pair):
    """Below 40 % is 2, 40 % and above 3; a device whose FiO2 nobody charted leaves 3 open."""
    answer = at(0, *HOT, *LABS, *(f"0 h {fact}" for fact in charted.split("|")), scale=scale)
    assert answer.pair == pair


@pytest.mark.parametrize("scale", BY_FIO2)
def test_fio2_without_a_device_is_oxygen(scale):
    """FiO2 40 % with no device charted is 3 where the scale goes by FiO2; more is not ruled out."""
    assert at(0, *HOT, *LABS, "0 h fio2 40 %", scale=scale).pair == (3, 4)
    assert at(0, *HOT, *LABS, "0 h fio2 30 %", scale=scale).pair == (2, 4)


def test_fio2_without_a_device_leaves_astct_open():
    """Which device is not known: nothing is proven, nothing ruled out."""
    assert at(0, *HOT, "0 h fio2 60 %").pair == (1, 4)


@pytest.mark.parametrize(("flow", "grade"), [(2, 2), (6, 2), (7, 3)])
def test_a_flow_without_a_device_is_taken_for_a_cannula(flow, grade):
    assert at(0, *HOT, f"0 h oxygen-flow {flow} L/min").pair == (grade, 4)


@pytest.mark.parametrize("scale", ["lee-2014", "mskcc-2018", "cartox-2018"])
@pytest.mark.parametrize("device", ["cpap", "bipap"])
def test_where_the_source_does_not_say_what_a_ventilator_is(scale, device):
    """3 or 4, and the answer says that it is open."""
    answer = at(0, *HOT, *LABS, f"0 h oxygen-device {device}", "0 h fio2 30 %", scale=scale)
    assert answer.pair == (3, 4)
    assert answer.ambiguous


def test_penn_puts_every_oxygen_in_3_and_only_the_ventilator_in_4():
    for device in ("nasal-cannula", "blow-by", "simple-mask", "high-flow-nasal-cannula", "cpap", "bipap"):
        assert at(0, *HOT, *LABS, f"0 h oxygen-device {device}", scale="penn-2018").pair == (3, 3)
    assert at(0, *HOT, *LABS, "0 h oxygen-device ventilator", scale="penn-2018").pair == (4, 4)


def test_ctcae_6_gives_no_flow_that_divides():
    """A cannula at 7 L/min is 2, and 3 is left open as ambiguous."""
    answer = at(0, *HOT, "0 h oxygen-device nasal-cannula", "0 h oxygen-flow 7 L/min", scale="ctcae-6.0")
    assert answer.pair == (2, 3)
    assert answer.ambiguous


def test_a_saturation_without_any_device_is_room_air():
    """SpO2 charted and no oxygen for 7 days: nobody would chart a device for air."""
    assert at(0, *HOT, "0 h spo2 97 %").pair == (1, 1)
    assert at(0, *HOT).pair == (1, 4)
    assert at(0, *HOT, "-6 d oxygen-device nasal-cannula", "0 h spo2 97 %").pair == (1, 4)
    assert at(0, *HOT, "-7 d oxygen-device nasal-cannula", "0 h spo2 97 %").pair == (1, 1)


@pytest.mark.parametrize(("hour", "pair"), [(11.9, (3, 3)), (12, (1, 4))])
def test_a_device_nobody_repeats_is_unknown_after_12_hours(hour, pair):
    assert at(hour, *HOT, "8 h systolic-bp 120 mm[Hg]", "0 h oxygen-device simple-mask").pair == pair


def test_a_new_device_voids_the_old_flow():
    """Off the cannula at 8 L/min and back on it without a flow: the old 8 L/min says nothing any more."""
    lines = (*HOT, "0 h spo2 97 %", "0 h oxygen-device nasal-cannula", "0 h oxygen-flow 8 L/min",
             "1 h oxygen-device room-air", "2 h oxygen-device nasal-cannula",
             "3 h oxygen-device nasal-cannula")
    assert at(0, *lines).pair == (3, 3)
    assert at(1, *lines).pair == (1, 1)
    assert at(2, *lines).pair == (2, 3)
    assert at(3, *lines).pair == (2, 3)


def test_the_same_device_charted_again_keeps_the_flow():
    lines = (*HOT, "0 h oxygen-device nasal-cannula", "0 h oxygen-flow 8 L/min",
             "1 h oxygen-device nasal-cannula")
    assert at(1, *lines).pair == (3, 3)


def test_two_devices_at_one_instant_go_to_the_worse():
    lines = (*HOT, "0 h oxygen-device nasal-cannula", "0 h oxygen-device bipap")
    assert at(0, *lines).grade == 4
    assert at(0, *reversed(lines)).grade == 4


@pytest.mark.parametrize("scale", ["astct-2019"])
def test_cpap_for_known_sleep_apnoea_does_not_count(scale):
    """For the apnoea or for hypoxia is not charted: 4 stays open, said to be ambiguous."""
    answer = at(0, *HOT, "0 h spo2 97 %", "-9 d sleep-apnea", "0 h oxygen-device cpap", scale=scale)
    assert answer.pair == (1, 4)
    assert answer.ambiguous
    assert at(0, *HOT, "-9 d sleep-apnea", "0 h oxygen-device bipap", scale=scale).grade == 4


DOSE = ("0 h axicabtagene-ciloleucel",)
USUAL = ("-6 h oxygen-device nasal-cannula", "-6 h oxygen-flow 2 L/min")
LATER = ("24 h temperature 39.0 Cel", "24 h systolic-bp 120 mm[Hg]", "24 h spo2 94 %")


@pytest.mark.parametrize(
    ("now", "pair"),
    [
        (("oxygen-device nasal-cannula", "oxygen-flow 2 L/min"), (1, 1)),
        (("oxygen-device nasal-cannula", "oxygen-flow 1 L/min"), (1, 1)),
        (("oxygen-device nasal-cannula", "oxygen-flow 4 L/min"), (2, 2)),
        (("oxygen-device nasal-cannula", "oxygen-flow 7 L/min"), (3, 3)),
        (("oxygen-device simple-mask",), (3, 3)),
        (("oxygen-device bipap",), (4, 4)),
        (("oxygen-device room-air",), (1, 1)),
    ],
)
def test_only_more_oxygen_than_before_the_dose_counts(now, pair):
    """A19: 2 L/min at home stays 2 L/min."""
    assert at(24, *USUAL, *DOSE, *LATER, *(f"24 h {fact}" for fact in now)).pair == pair


@pytest.mark.parametrize(
    ("spo2", "device", "grade"), [("89 %", "room-air", 2), ("90 %", "room-air", 1),
                                  ("85 %", "nasal-cannula", 2)],
)
def test_a_childs_low_saturation_on_air_is_cartox_2(spo2, device, grade):
    """The paediatric table names SpO2 below 90 % on air."""
    lines = (*HOT, "0 h age 6 a", f"0 h spo2 {spo2}", f"0 h oxygen-device {device}")
    assert peak(*lines, scale="cartox-2018-paediatric") == grade


@pytest.mark.parametrize(("hour", "pair"), [(3.9, (2, 2)), (4, (1, 4)), (5, (1, 4))])
def test_a_device_that_says_its_end_stands_to_its_end(hour, pair):
    """Off at 4 h and nothing charted since: unknown, not the cannula for another 8 h."""
    lines = (*HOT, "2 h oxygen-device nasal-cannula until 4 h", "2 h oxygen-flow 2 L/min until 4 h")
    assert at(hour, *lines).pair == pair


def test_a_ventilator_charted_with_its_end_needs_no_other_row():
    lines = (*HOT, "0 h oxygen-device ventilator until 72 h", "60 h temperature 38.5 Cel")
    assert at(60, *lines).grade == 4
    assert at(71.9, *lines).grade == 4
    assert at(72, *lines).grade == 1


def test_oxygen_at_home_is_flagged_and_without_a_baseline_counts():
    """How much it usually is nobody charted; a baseline before the dose says it, the flag only asks."""
    lines = (*HOT, "-9 d home-oxygen", "0 h oxygen-device nasal-cannula", "0 h oxygen-flow 2 L/min")
    assert at(0, *lines).grade == 2
    assert "home-oxygen" in at(0, *lines).flags
    assert "home-oxygen" not in at(0, *lines[:2], *lines[3:]).flags
