"""The shelf `models`: a site's triggers and calibrated sets are read whole, or refused with the fix."""

from __future__ import annotations

import shutil

import pytest

from tocsin.definitions.load import Library, library
from tocsin.definitions.model import SHARED, ensemble_of, model_of, read_model
from tocsin.definitions.schema import DefinitionError

LIB = library()
FILES = LIB.files("models")
MODELS = sorted(set(FILES) - {SHARED})


def ours(tmp_path, old="", new="", *, shared=False, name="teclistamab"):
    """A trigger on the shared values, one text replaced in it or in the shared file."""
    paths = [shutil.copy(FILES[which], tmp_path / f"{which}.toml") for which in (name, SHARED)]
    path = paths[1 if shared else 0]
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    return read_model(*paths)


def sets(tmp_path, text):
    """The calibrated sets of a site's folder."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "ensemble.csv").write_text(text, "utf-8")
    return ensemble_of(Library((tmp_path,)))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_shelf_takes_every_calibrated_set(name):
    model = model_of(name, LIB)
    for numbers in ensemble_of(LIB):
        made = model.changed(numbers)
        assert made.values.keys() == model.values.keys()
        assert [one.id for one in made.classes] == [one.id for one in model.classes]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("factor  = { w_il1", "factor  = { w_il11", r"cytokine-release.toml, class `amplifying`, factor: "
         r"`w_il11` is no parameter; did you mean `w_il1`\?\n  fix: "),
        ("w_il1 = 6.43", "w_il1 = -6.43", "factor: `w_il1` is -6.43, below 0"),
        ('factor  = { w_il1', 'factr  = { w_il1', r"unknown key `factr`; did you mean `factor`"),
        ("share   = 0.227", "share   = 1.227", "class `amplifying`: `share` is 1.227\n  fix: from 0 to 1"),
        ('with    = "p_il6_macro"', 'with    = "p_il6_macr"', r"parameter `p_il6_fresh`: `with` is "
         r"`p_il6_macr`, not a parameter; did you mean `p_il6_macro`\?\n  fix: "),
        ("value   = 24.0", "value   = -24.0", "parameter `k_site`: `value` is -24, below 0"),
        ("weight_kg = { value = 75.0", "weight_kg = { value = 0", "body.weight_kg: `value` is 0"),
        ("weight_kg = {", "weight = {", "body.weight_kg: `value` is missing"),
    ],
)  # fmt: skip
def test_a_slip_in_the_shared_file_is_named(tmp_path, old, new, message):
    with pytest.raises(DefinitionError, match=message):
        ours(tmp_path, old, new, shared=True, name="epcoritamab")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[class.amplifying]", "[class.amplifing]", r"teclistamab.toml: no class `amplifing`; did you mean "
         r"`amplifying`\?\n  why: a class is declared in cytokine-release.toml"),
        ("[class.amplifying]", "[class.amplifying]\nfactor = { k_actt = 2 }", r"teclistamab.toml, class "
         r"`amplifying`, factor: `k_actt` is no parameter; did you mean `k_act`"),
        ("[parameter.ec50]", '[parameter.ec50]\nlaw = "normal"', r"parameter `ec50`: `law` is set in "
         "cytokine-release.toml alone, for every trigger\n  fix: leave `law` out"),
        ("[parameter.ec50]", '[parameter.ec50]\nwith = "k_act"', "parameter `ec50`: `with` is set in"),
        ("[parameter.ec50]", "[parameter.ec5]", r"no parameter `ec5`; did you mean `ec50`"),
        ("[parameter.ec50]\nvalue   = ", "[parameter.ec50]\nvalue   = -", "`ec50`: `value` is -.*, below 0"),
        ("amount = ", "amount = -", "dose 1: `amount` is -"),
    ],
)  # fmt: skip
def test_a_slip_in_a_trigger_s_file_is_named(tmp_path, old, new, message):
    """What the equations or the draw would not read must not look as if it counted."""
    with pytest.raises(DefinitionError, match=message):
        ours(tmp_path, old, new)


def test_a_trigger_keeps_the_law_and_the_random_effect_of_a_parameter(tmp_path):
    text = (
        '[parameter.map_start]\nvalue = 80\nunit = "mm[Hg]"\nsd = 5\norigin = "assumed"\nmeaning = "low"\n\n'
    )
    made = ours(tmp_path, "[parameter.ec50]", text + "[parameter.ec50]")
    assert (made.values["map_start"].value, made.values["map_start"].law) == (80, "normal")
    assert made.values["p_il6_fresh"].shared == "p_il6_macro"


# --- calibrated sets --------------------------------------------------------------------------------------


def test_a_site_s_calibrated_sets_take_the_place_of_ours(tmp_path):
    text = (
        "# why\nteclistamab.ec50,cytokine-release.class.quiet.k_act,cytokine-release.p_ifn.sd\n1.5,0.2,0.4\n"
    )
    assert sets(tmp_path, text) == (
        {"teclistamab.ec50": 1.5, "cytokine-release.class.quiet.k_act": 0.2,
         "cytokine-release.p_ifn.sd": 0.4},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("teclistama.ec50", "1", r"ensemble.csv: `teclistama.ec50`: no model `teclistama`; did you mean "
         r"`teclistamab`\?[\s\S]*fix: one of: "),
        ("teclistamab.ec5", "1", r"ensemble.csv: `teclistamab.ec5`: no parameter `ec5`; did you mean "
         r"`ec50`\?[\s\S]*fix: "),
        ("teclistamab.ec5.sd", "1", "no parameter `ec5`; did you mean `ec50`"),
        ("cytokine-release.class.quite", "1", "no class `quite`; did you mean `quiet`"),
        ("cytokine-release.class.quiet.k_actt", "1", "no parameter `k_actt`; did you mean `k_act`"),
        ("cytokine-release.class", "1", "no class ``"),
        ("teclistamab.ec50.spread", "1", "is not the name of a calibrated number\n  fix: file.parameter, "),
        ("teclistamab", "1", "is not the name of a calibrated number"),
        ("teclistamab.ec50", "many", "set 1: `teclistamab.ec50` is `many`, not a number\n  fix: "),
        ("teclistamab.ec50", "nan", "is `nan`, not a number"),
        ("teclistamab.ec50", "-1", "set 1: `teclistamab.ec50` is -1\n  fix: 0 or more"),
        ("teclistamab.ec50", "1,2", "set 1 has 2 numbers for 1 columns"),
        ("teclistamab.ec50,teclistamab.ec50", "1,2", "`teclistamab.ec50` is there twice"),
        ("teclistamab.class.quiet", "1.5", "set 1: `teclistamab.class.quiet` is 1.5\n  fix: from 0 to 1"),
    ],
)  # fmt: skip
def test_a_slip_in_the_calibrated_sets_is_named(tmp_path, column, cell, message):
    with pytest.raises(DefinitionError, match=message):
        sets(tmp_path, f"{column}\n{cell}\n")


def test_a_number_that_would_change_nothing_is_refused():
    with pytest.raises(DefinitionError, match=r"no parameter `k_atc`; did you mean `k_act`"):
        model_of("teclistamab", LIB).changed({"cytokine-release.class.quiet.k_atc": 1.0})


def test_a_trigger_s_own_value_and_share_outlast_the_shared_ones_and_a_shared_spread_wins():
    """A product's own share of ill patients is what was calibrated for it; a spread is one for all."""
    model = model_of("teclistamab", LIB)
    assert {"ec50", "class.amplifying"} <= model.own
    assert "class.quiet" not in model.own
    shared = {"ec50": 9.0, "ec50.sd": 0.9, "class.amplifying": 0.9, "class.quiet": 0.4}
    made = model.changed({f"{SHARED}.{name}": number for name, number in shared.items()})
    share, before = ({one.id: one.share for one in which.classes} for which in (made, model))
    assert made.values["ec50"].value == model.values["ec50"].value
    assert made.values["ec50"].sd == 0.9
    assert share == {"amplifying": before["amplifying"], "quiet": 0.4}
    mine = model.changed({"teclistamab.class.amplifying": 0.1, "teclistamab.ec50": 2.0})
    assert mine.values["ec50"].value == 2.0
    assert mine.classes[0].share == 0.1
