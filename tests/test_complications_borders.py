"""Every number of a laboratory complication below, at and above it; and what else had no border yet."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tocsin.complications import complications, names
from tocsin.definitions.complication import complication
from tocsin.definitions.load import library
from tocsin.testing import START, patient

LIB = library()
ULN = {"alt": 40.0, "ast": 40.0, "bilirubin": 1.0, "creatinine": 1.0}
UNIT = {"alt": "U/L", "ast": "U/L", "bilirubin": "mg/dL", "creatinine": "mg/dL"}
LIVER = {"alt": (1, 3, 5, 20), "ast": (1, 3, 5, 20), "bilirubin": (1, 1.5, 3, 10)}
#: Multiples of an abnormal baseline, by version.
TIMES = {
    ("5.0", "alt"): (1.5, 3, 5, 20), ("5.0", "ast"): (1.5, 3, 5, 20), ("5.0", "bilirubin"): (1, 1.5, 3, 10),
    ("6.0", "alt"): (1, 1.5, 2, 4), ("6.0", "ast"): (1, 1.5, 2, 4), ("6.0", "bilirubin"): (1, 1.5, 2.5, 10),
}  # fmt: skip
VERSIONS = ("4.03", "5.0", "6.0")


def peak(name: str, *lines: str) -> int:
    """The highest stage."""
    return max(row["stage"] for row in complications(patient(*lines), [name]).to_pylist())


def after_dose(name: str, *lines: str) -> int:
    """The highest stage from the dose at 1 h on: before it there is no baseline."""
    rows = complications(patient(*lines), [name]).to_pylist()
    return max(row["stage"] for row in rows if row["start"] >= START + timedelta(hours=2))


def limited(lab: str, value: float, hour: float = 2) -> str:
    """A value with the laboratory's limits."""
    return f"{hour} h {lab} {value:.6g} {UNIT[lab]} ref 0..{ULN[lab]:g}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("lab", LIVER)
def test_liver_grades_lie_strictly_above_multiples_of_the_upper_limit(version, lab):
    for grade, times in enumerate(LIVER[lab], 1):
        at = times * ULN[lab]
        before = limited(lab, ULN[lab] / 2, 0)
        for value, stage in ((at * 0.999, grade - 1), (at, grade - 1), (at * 1.001, grade)):
            assert peak(f"{lab}-ctcae-{version}", before, "1 h teclistamab", limited(lab, value)) == stage


@pytest.mark.parametrize(("version", "lab"), TIMES)
def test_with_an_abnormal_baseline_its_multiples_decide(version, lab):
    base = 1.2 * ULN[lab]
    for grade, times in enumerate(TIMES[version, lab], 1):
        first = f"{lab}-ctcae-{version}", limited(lab, base, 0), "1 h teclistamab"
        assert after_dose(*first, limited(lab, base * times * 0.999)) == grade - 1
        assert after_dose(*first, limited(lab, base * times * 1.001)) == grade


@pytest.mark.parametrize("version", VERSIONS)
def test_creatinine_by_the_upper_limit(version):
    for grade, times in ((1, 1), (2, 1.5), (3, 3), (4, 6)):
        name = f"creatinine-ctcae-{version}"
        assert peak(name, limited("creatinine", times)) == grade - 1
        assert peak(name, limited("creatinine", times * 1.001)) == grade


def test_creatinine_6_0_compares_with_a_baseline_only_below_the_lower_limit():
    low = ("0 h creatinine 0.5 mg/dL ref 0.6..1.2", "1 h teclistamab")
    assert peak("creatinine-ctcae-6.0", *low, "2 h creatinine 0.75 mg/dL ref 0.6..1.2") == 0
    assert peak("creatinine-ctcae-6.0", *low, "2 h creatinine 0.76 mg/dL ref 0.6..1.2") == 2
    assert peak("creatinine-ctcae-6.0", *low, "2 h creatinine 1.51 mg/dL ref 0.6..1.2") == 3


@pytest.mark.parametrize(("version", "cuts"), [
    ("4.03", ((2, 1.5), (3, 1.0), (4, 0.5))), ("5.0", ((2, 1.5), (3, 1.0), (4, 0.5))),
    ("6.0", ((1, 1.5), (2, 1.0), (3, 0.5), (4, 0.1))),
])  # fmt: skip
def test_neutrophils_lie_strictly_below_each_number(version, cuts):
    for grade, cut in cuts:
        line = "0 h anc {} 10*3/uL ref 2..8"
        assert peak(f"neutrophils-ctcae-{version}", line.format(cut)) == grade - 1
        assert peak(f"neutrophils-ctcae-{version}", line.format(cut - 0.001)) == grade


@pytest.mark.parametrize(("version", "fourth"), [("4.03", 25), ("5.0", 25), ("6.0", 10)])
def test_platelets_lie_strictly_below_each_number(version, fourth):
    for grade, cut in ((1, 150), (2, 75), (3, 50), (4, fourth)):
        line = "0 h platelets {} 10*3/uL ref 150..400"
        assert peak(f"platelets-ctcae-{version}", line.format(cut)) == grade - 1
        assert peak(f"platelets-ctcae-{version}", line.format(cut - 0.1)) == grade


@pytest.mark.parametrize(("rise", "stage"), [(0.29, 0), (0.3, 1), (1.2, 2), (1.21, 2), (3.25, 3)])
def test_kidney_injury_of_ctcae_4_03(rise, stage):
    lines = ("0 h creatinine 0.8 mg/dL", f"30 h creatinine {0.8 + rise:.6g} mg/dL")
    assert peak("aki-ctcae-4.03", *lines) == (1 if rise in (0.3,) else stage if rise > 0.8 else 0)


@pytest.mark.parametrize("version", ["5.0", "6.0"])
def test_kidney_injury_of_later_versions_has_no_low_grades_and_asks_for_the_hospital(version):
    facts = patient("0 h creatinine 0.8 mg/dL", "30 h creatinine 2 mg/dL", "50 h dialysis")
    rows = complications(facts, [f"aki-ctcae-{version}"]).to_pylist()
    assert {row["stage"] for row in rows} == {0, 4}
    assert any("hospital-for-kidneys" in row["judgement"] for row in rows)


@pytest.mark.parametrize(("pao2", "device", "stage"), [
    (160.1, "simple-mask", 0), (159.9, "simple-mask", 1), (119.9, "simple-mask", 2), (79.9, "simple-mask", 2),
    (79.9, "bipap", 3), (40, "ventilator", 3), (39.9, "ventilator", 4),
])  # fmt: skip
def test_sofa_breathing_counts_3_and_4_only_with_support(pao2, device, stage):
    lines = (f"0 h oxygen-device {device}", "0 h fio2 40 %", f"0 h pao2 {pao2} mm[Hg]")
    assert peak("sofa-respiratory", *lines) == stage


@pytest.mark.parametrize(("line", "stage"), [
    ("40 h bnp 35 pg/mL", 0), ("40 h bnp 35.1 pg/mL", 1), ("40 h nt-probnp 125.1 pg/mL", 1),
])  # fmt: skip
def test_heart_failure_by_the_laboratory_is_stage_1_and_the_rest_a_persons_word(line, stage):
    rows = complications(patient("0 h weight 70 kg", line), ["heart-failure"]).to_pylist()
    assert max(row["stage"] for row in rows) == stage
    assert any("symptoms-at-rest" in row["judgement"] for row in rows) == bool(stage)


FOUR = (
    "0 h temperature 38.5 Cel",
    "0 h ferritin 500 ng/mL",
    "0 h il-2-receptor 2400 U/mL",
    "0 h marrow-hemophagocytosis",
)


@pytest.mark.parametrize(("fifth", "stage"), [
    ("0 h triglycerides 265 mg/dL", 1), ("0 h triglycerides 264.9 mg/dL", 0), ("0 h fibrinogen 150 mg/dL", 1),
    ("0 h fibrinogen 150.1 mg/dL", 0), ("0 h organomegaly one", 1), ("0 h organomegaly none", 0),
])  # fmt: skip
def test_hlh_2004_borders(fifth, stage):
    assert peak("hlh-2004", *FOUR, fifth) == stage


@pytest.mark.parametrize(
    "weaker", ["0 h temperature 38.4 Cel", "0 h ferritin 499 ng/mL", "0 h il-2-receptor 2399 U/mL"]
)
def test_hlh_2004_loses_a_criterion_just_below_its_border(weaker):
    measure = weaker.split()[2]
    lines = [line for line in FOUR if line.split()[2] != measure]
    assert peak("hlh-2004", *lines, weaker, "0 h fibrinogen 150 mg/dL") == 0


@pytest.mark.parametrize(("ferritin", "stage"), [(600, 0), (600.1, 1)])
def test_iec_hs_asks_for_more_than_twice_the_limit(ferritin, stage):
    assert peak("iec-hs", f"0 h ferritin {ferritin} ng/mL ref 20..300") == stage


def test_a_baseline_counts_for_kdigo_only_within_7_days_of_a_dose():
    lines = ("0 h creatinine 0.8 mg/dL", "1 h teclistamab")
    assert peak("aki-kdigo", *lines, "6 d creatinine 1.3 mg/dL") == 1
    assert peak("aki-kdigo", *lines, "20 d creatinine 1.3 mg/dL") == 0


def test_every_complication_that_is_no_score_is_named_by_a_test():
    here = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_complications*.py"))
    made = [f"{lab}-ctcae-{version}" for lab in ULN for version in VERSIONS]
    made += [
        f"{what}-ctcae-{version}" for what in ("neutrophils", "platelets", "aki") for version in VERSIONS
    ]
    plain = [name for name in names(LIB) if complication(name, LIB).score is None and name not in made]
    assert [name for name in plain if f'"{name}"' not in here] == []
