"""The shelves hold what the facts table may speak of, each thing once, each with a source that exists."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

import tocsin.definitions
from tocsin.citations import BIB, references
from tocsin.definitions.load import library
from tocsin.definitions.schema import SHELVES
from tocsin.units import convert

HERE = Path(tocsin.definitions.__file__).parent
FILES = sorted(path for shelf in SHELVES for path in (HERE / shelf).glob("*.toml"))
LIB = library()

IDS = {
    "measures": """
        temperature heart-rate respiratory-rate systolic-bp diastolic-bp mean-bp spo2 oxygen-device
        oxygen-flow fio2 weight height age sex fluid-bolus urine-output ice-score capd-score consciousness
        seizure motor-weakness cerebral-edema lvef gls crp ferritin il-6 il-2 il-10 il-1-beta tnf-alpha
        ifn-gamma il-2-receptor mcp-1 wbc anc hemoglobin hematocrit platelets creatinine egfr bun urea
        bilirubin bilirubin-direct alt ast alp ldh albumin fibrinogen d-dimer-feu d-dimer-ddu inr pt aptt
        lactate procalcitonin triglycerides troponin-t troponin-i bnp nt-probnp sodium potassium phosphate
        urate calcium magnesium ck pao2 paco2 car-t-copies blood-culture lymphocytes haptoglobin igg ph
        crp-high-sensitivity
    """,
    "drugs": """
        norepinephrine epinephrine phenylephrine dopamine angiotensin-2 vasopressin terlipressin dobutamine
        milrinone tocilizumab siltuximab anakinra sarilumab emapalumab ruxolitinib baricitinib etoposide
        infliximab etanercept dexamethasone methylprednisolone hydrocortisone prednisone prednisolone
        acetaminophen ibuprofen metamizole filgrastim levetiracetam diphenhydramine dasatinib
        cyclophosphamide rasburicase transfusion-platelets transfusion-red-cells transfusion-plasma
        cryoprecipitate fibrinogen-concentrate dialysis ecmo intubation-for-airway parenteral-nutrition
        infusion-interrupted
    """,
    "therapies": """
        tisagenlecleucel axicabtagene-ciloleucel brexucabtagene-autoleucel lisocabtagene-maraleucel
        idecabtagene-vicleucel ciltacabtagene-autoleucel obecabtagene-autoleucel satricabtagene-autoleucel
        afamitresgene-autoleucel blinatumomab teclistamab elranatamab talquetamab linvoseltamab
        mosunetuzumab glofitamab epcoritamab tebentafusp tarlatamab odronextamab teplizumab dinutuximab-beta
        dinutuximab catumaxomab alemtuzumab rituximab obinutuzumab checkpoint-inhibitor
        haploidentical-transplant anti-thymocyte-globulin
    """,
    "symptoms": """
        chills fever-felt confusion dizziness faintness diarrhea difficulty-swallowing headache joint-pain
        muscle-pain nausea vomiting rash swelling tiredness sleepiness shortness-of-breath palpitations
        cough tremor trouble-speaking trouble-writing loss-of-appetite less-urine anxiety
    """,
    "conditions": """
        bacterial-infection viral-infection covid-19 influenza autoimmune-disease sjia familial-hlh
        immunosuppression intracranial-hemorrhage developmental-delay organomegaly marrow-hemophagocytosis
        sleep-apnea home-oxygen attribution hospitalized-for-crs death
    """,
}
ROWS = """
    tisa_ball tisa_dlbcl tisa_fl axi_lbcl3 axi_lbcl2 axi_fl brexu_mcl brexu_all liso_lbcl liso_cll
    liso_fl liso_mcl liso_mzl ide_5l ide_3l cilta_4l cilta_1l obe_all afami_ss blina_rr blina_mrd tec_mm
    elra_mm talq_mm linvo_mm mosun_iv mosun_sc glofit_dlbcl epco_lbcl epco_fl epco_fl_r2 tebe_um
    tarla_sclc odro_fl teplizumab dinutuximab_beta atg alemtuzumab ici haplo catumaxomab tec_dara
    satri_gc tec_autoimmune
"""
#: For what is still to come (complications, scores, guidance); each leaves this list when it is cited.
LATER = {
    "lee2014-chinese", "nccn-cart6", "norepinephrine-form", "organ-ctcae403", "pennisi2020", "sitc2020",
}


def keys_in(value: object, name: str = "") -> list[str]:
    """Every source key anywhere in a definition; `memory` in `crs_source` says that there is none."""
    if isinstance(value, dict):
        return [key for inner, item in value.items() for key in keys_in(item, inner)]
    if isinstance(value, list):
        return [key for item in value for key in keys_in(item, name)]
    return [str(value)] if name in ("source", "crs_source") and value != "memory" else []


def everything() -> list[tuple[Path, dict[str, object]]]:
    return [(path, tomllib.loads(path.read_text(encoding="utf-8"))) for path in sorted(HERE.rglob("*.toml"))]


@pytest.mark.parametrize("shelf", IDS)
def test_every_id_stands_on_its_shelf(shelf):
    """More may be added, one file each; none of these may go."""
    assert set(IDS[shelf].split()) - set(LIB.files(shelf)) == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_named_after_its_id_and_can_be_read(path):
    assert tomllib.loads(path.read_text(encoding="utf-8"))["id"] == path.stem
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", path.stem)
    assert LIB.measure(path.stem).shelf == path.parent.name


def test_nothing_stands_without_a_source_or_our_reading():
    things = [LIB.measure(name) for name in LIB.measures]
    assert [thing.id for thing in things if not thing.sources and not thing.reading] == []


def test_every_source_cited_exists():
    cited = {(path.stem, key) for path, table in everything() for key in keys_in(table)}
    assert [(stem, key) for stem, key in sorted(cited) if key not in references()] == []


def test_every_source_is_cited():
    """By a definition, or in the words of one; the rest is named in LATER."""
    text = "\n".join(path.read_text(encoding="utf-8") for path, _ in everything())
    cited = {key for key in references() if re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text)}
    assert set(references()) - cited <= LATER


def test_keys_of_sources_are_unique():
    heads = re.findall(r"^@\w+\{([^,]+),", BIB.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [key for key, times in Counter(heads).items() if times > 1] == []


def test_a_code_means_one_thing():
    codes = [(code.system, code.code) for name in LIB.measures for code in LIB.measure(name).codes]
    assert [code for code, times in Counter(codes).items() if times > 1] == []
    assert len(LIB.codes()) == len(codes)


def test_codes_come_from_known_systems():
    systems = {code.system for name in LIB.measures for code in LIB.measure(name).codes}
    assert systems == {"LOINC", "OMOP", "RxNorm", "SNOMED", "ICD-10-CM", "MedDRA", "PRO-CTCAE"}


def test_a_code_from_memory_is_a_draft():
    codes = [code for name in LIB.measures for code in LIB.measure(name).codes]
    assert {code.code for code in codes if code.status == "draft"} == {"3150-6", "3628", "52769", "3498"}


@pytest.mark.parametrize("name", [name for name in LIB.measures if LIB.measure(name).unit])
def test_every_charted_spelling_becomes_the_unit(name):
    """Aliases and the units of codes convert as values; moles only where a molar mass is given."""
    measure = LIB.measure(name)
    assert measure.unit is not None
    for unit in chain(measure.aliases.values(), (code.unit for code in measure.codes if code.unit)):
        conversion = convert(unit, measure.unit)
        assert conversion.becomes == "value", unit
        assert not conversion.molar or measure.molar_mass, unit


@pytest.mark.parametrize("name", [name for name in LIB.measures if LIB.measure(name).words])
def test_every_charted_word_is_a_word_of_its_measure(name):
    measure = LIB.measure(name)
    said = {*measure.word_aliases.values(), *(code.word for code in measure.codes if code.word)}
    assert said <= set(measure.words)


@pytest.mark.parametrize("name", sorted(LIB.files("measures")))
def test_a_number_has_a_unit_and_a_range_and_a_default_limit_is_a_draft(name):
    measure = LIB.measure(name)
    if measure.kind == "number":
        assert measure.unit
        assert measure.plausible_low is not None
        assert measure.plausible_high is not None
        assert measure.plausible_low < measure.plausible_high
    if "reference" in measure.raw:
        assert measure.raw["reference"]["status"] == "draft"
        assert measure.raw["reference"]["reading"]


@pytest.mark.parametrize(
    ("hours", "names"),
    [
        (8, "temperature systolic-bp diastolic-bp mean-bp spo2"),
        (12, "oxygen-device oxygen-flow fio2 ice-score capd-score consciousness"),
        (48, "creatinine alt inr fibrinogen"),
        (720, "weight lvef"),
        (None, "age sex height sleep-apnea home-oxygen death"),
        (24, "norepinephrine tocilizumab chills fluid-bolus attribution"),
    ],
)
def test_how_long_a_reading_stands(hours, names):
    assert [name for name in names.split() if LIB.measure(name).hold_hours != hours] == []


@pytest.mark.parametrize(
    ("age", "limit"),
    [
        (0.0, 60), (28 / 365.25, 60), (30 / 365.25, 70), (0.99, 70), (1.0, 72), (5.0, 80), (9.99, 89.98),
        (10.0, 90), (15.0, 90), (18.0, 90), (70.0, 90),
    ],
)
def test_the_systolic_limit_follows_age(age, limit):
    """60 to 28 days, 70 to 12 months, 70 + 2 x age to 10 years, 90 after; no age falls between two bands."""
    bands = [band for band in LIB.measure("systolic-bp").limits if band.age_from <= age < band.age_below]
    assert len(bands) == 1
    assert bands[0].below + bands[0].plus_per_year * age == pytest.approx(limit)


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("vasopressor", "norepinephrine epinephrine phenylephrine dopamine angiotensin-2"),
        ("vasopressor-not-counted", "vasopressin terlipressin"),
        ("inotrope", "dobutamine milrinone"),
    ],
)
def test_which_drugs_count_as_vasopressors(kind, members):
    """Exactly these: one more in the wrong class would turn a grade 3 into a 4."""
    assert sorted(LIB.classes[kind]) == sorted(members.split())


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("antipyretic", "acetaminophen ibuprofen metamizole"),
        ("steroid", "dexamethasone methylprednisolone hydrocortisone prednisone prednisolone"),
        ("anti-cytokine", "tocilizumab siltuximab sarilumab anakinra emapalumab ruxolitinib baricitinib"),
        ("anti-cytokine", "infliximab etanercept"),
        ("therapy", IDS["therapies"]),
    ],
)
def test_classes_hold_their_members(kind, members):
    assert set(members.split()) <= set(LIB.classes[kind])


def test_every_therapy_row_is_an_indication_of_one_therapy():
    therapies = [LIB.measure(name).raw for name in LIB.classes["therapy"]]
    rows = [row["row_id"] for therapy in therapies for row in therapy.get("indication", ())]
    assert sorted(rows) == sorted(ROWS.split())


@pytest.mark.parametrize("name", LIB.classes["therapy"])
def test_the_risk_window_is_two_weeks_or_the_latest_onset(name):
    """CRS is less common beyond 14 days, but no onset that was seen may fall outside."""
    therapy = LIB.measure(name)
    assert therapy.risk_window_days is not None
    assert therapy.risk_window_days >= 14
    assert "window" in therapy.reading
    for row in therapy.raw.get("indication", ()):
        days = {"h": 1 / 24, "weeks": 7}.get(row.get("onset_unit"), 1)
        assert therapy.risk_window_days >= row.get("onset_max", row.get("onset_median", 0)) * days


def test_what_rests_on_memory_names_a_field_that_is_there():
    for name in LIB.classes["therapy"]:
        for row in LIB.measure(name).raw.get("indication", ()):
            for field in row.get("memory_fields", ()):
                assert field in row or field in LIB.measure(name).raw, (row["row_id"], field)


def test_unknown_is_absent_never_zero_or_empty():
    for path in FILES:
        for row in tomllib.loads(path.read_text(encoding="utf-8")).get("indication", ()):
            assert [key for key, value in row.items() if value in ("", [], "unknown")] == []
    assert "crs_any_pct" not in LIB.measure("satricabtagene-autoleucel").raw["indication"][0]
    assert LIB.measure("epcoritamab").raw["indication"][1]["crs_g3plus_pct"] == 0
