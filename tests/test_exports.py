"""Exports of a cohort: what registries and submissions get is what the chart says, unknown stays unknown."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import tomllib
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.cohort import exports
from tocsin.cohort.exports.bundle import paths
from tocsin.cohort.exports.columns import iso_duration
from tocsin.cohort.exports.laid_out import laid_out, pseudonym, subjects_of
from tocsin.cohort.exports.rows import asked_of, rows_of, scales_of
from tocsin.cohort.folders import FORMULA, appearing, escaped
from tocsin.cohort.gather import gather
from tocsin.definitions.export import export
from tocsin.definitions.export_words import ROWS
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import DefinitionError, TocsinError
from tocsin.testing import START, patient

LIB = library()
SCALES = ("astct-2019", "icans-astct-2019", "lee-2014", "ctcae-5.0")
KEY = b"a key of 16 bytes or more"
FOREIGN = Path(__file__).parent / "foreign"
FEVER = ("0 h teclistamab", "20 h temperature 39.0 Cel", "20 h systolic-bp 120 mm[Hg]")
WELL = (
    "44 h temperature 36.8 Cel",
    "44 h systolic-bp 120 mm[Hg]",
    "60 h temperature 36.8 Cel",
    "60 h systolic-bp 120 mm[Hg]",
    "72 h temperature 36.7 Cel",
    "72 h systolic-bp 120 mm[Hg]",
    "100 h temperature 36.7 Cel",
)
CALM = (
    "0 h teclistamab",
    *(
        f"{hour} h {what}"
        for hour in range(0, 48, 6)
        for what in ("temperature 36.8 Cel", "systolic-bp 120 mm[Hg]", "spo2 98 %", "oxygen-device room-air")
    ),
)
PEOPLE: dict[str, tuple[str, ...]] = {
    "resolved": ("-1 h age 61 a", "-1 h sex female", *FEVER, "24 h tocilizumab 480 mg", *WELL),
    "ongoing": FEVER,
    "fatal": (*FEVER, "30 h death crs"),
    "other-death": (*FEVER, "30 h death other"),
    "calm": CALM,
    "unseen": ("0 h teclistamab", "40 h weight 70 kg"),
    "twice": (
        *FEVER,
        *WELL,
        "200 h teclistamab",
        "220 h temperature 38.6 Cel",
        "222 h norepinephrine 0.1 ug/kg/min",
        "222 h systolic-bp 80 mm[Hg]",
        "226 h norepinephrine 0 ug/kg/min",
        "228 h temperature 38.2 Cel",
    ),
    "=HYPERLINK(1)": (*FEVER, "22 h dexamethasone 10 mg"),
}


def joined(people: dict[str, tuple[str, ...]], start: datetime = START) -> pa.Table:
    return pa.concat_tables(patient(*lines, patient=name, start=start) for name, lines in people.items())


@pytest.fixture(scope="module")
def cohort() -> Any:
    return gather(joined(PEOPLE), SCALES, sources=("ward/anna.csv",))


@pytest.fixture(scope="module")
def out(cohort: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    for name in exports.names(LIB):
        exports.write(name, cohort, folder / name, LIB, study="T1")
    return folder


def rows(folder: Path, table: str, key: str = "USUBJID") -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in pq.read_table(folder / f"{table}.parquet").to_pylist():
        found.setdefault(row[key], []).append(row)
    return found


# --- registries ------------------------------------------------------------------------------------------
def test_ebmt_gets_onset_resolution_and_highest_grade(out: Path) -> None:
    found = {name: each[0] for name, each in rows(out / "ebmt", "crs", "SUBJECT").items()}
    said = {name: (each["OCCURRED"], each["ONSET_DATE"], each["MAX_GRADE"]) for name, each in found.items()}
    assert said["resolved"] == ("Yes", date(2026, 1, 5), 1)
    assert said["twice"] == ("Yes", date(2026, 1, 5), 3)
    assert found["fatal"]["MAX_GRADE"] == 5
    assert found["twice"]["EPISODES"] == 2


def test_no_crs_is_said_and_nobody_looking_is_not_no(out: Path) -> None:
    """`calm` was measured and had none; of `unseen` nobody knows."""
    found = {name: each[0] for name, each in rows(out / "ebmt", "crs", "SUBJECT").items()}
    assert (found["calm"]["OCCURRED"], found["calm"]["MAX_GRADE"]) == ("No", 0)
    assert (found["unseen"]["OCCURRED"], found["unseen"]["MAX_GRADE"]) == (None, None)
    assert found["unseen"]["MAX_GRADE_NOT_RULED_OUT"] == 4


def test_only_an_observed_recovery_has_a_date(cohort: Any, out: Path) -> None:
    found = {name: each[0] for name, each in rows(out / "cibmtr-4100", "crs", "SUBJECT").items()}
    ends = {
        row["patient_id"]: row["end"].date()
        for row in cohort.episodes.to_pylist()
        if row["scale"] == "astct-2019" and row["outcome"] == "resolved" and row["episode"] == 1
    }
    assert {"resolved", "twice"} <= set(ends)
    assert {
        name: each["CRS_RESOLVED_DATE"] for name, each in found.items() if each["CRS_RESOLVED_DATE"]
    } == ends
    resolved = {name: each["CRS_RESOLVED"] for name, each in found.items()}
    assert [resolved[name] for name in ("resolved", "ongoing", "fatal", "other-death", "calm")] == [
        "Yes",
        "No",
        "No",
        "No",
        None,
    ]


def test_cibmtr_therapy_is_what_was_charted_in_the_episode(out: Path) -> None:
    found = {name: each[0] for name, each in rows(out / "cibmtr-4100", "crs", "SUBJECT").items()}
    told = {
        name: (each["CRS_THERAPY"], each["CRS_TOCILIZUMAB"], each["CRS_STEROID"], each["CRS_VASOPRESSORS"])
        for name, each in found.items()
    }
    assert told["resolved"] == ("Yes", "Yes", "No", "No")
    assert told["=HYPERLINK(1)"] == ("Yes", "No", "Yes", "No")
    assert told["calm"] == (None, None, None, None)
    second = rows(out / "cibmtr-4100", "crs-episodes", "SUBJECT")["twice"][1]
    assert (second["CRS_VASOPRESSORS"], second["CRS_VASOPRESSOR_N"], second["CRS_HYPOTENSION"]) == (
        "Yes",
        "1",
        "Yes",
    )


@pytest.mark.parametrize(
    ("at", "therapy"), [("19.9 h", "No"), ("20 h", "Yes"), ("25 h", "Yes"), ("25.1 h", "No")]
)
def test_a_dose_counts_from_onset_to_the_end(at: str, therapy: str, tmp_path: Path) -> None:
    """Onset at 20 h itself counts; so does the instant of death; nothing after it is charted as given."""
    facts = joined(
        {"a": (*FEVER, "25 h death crs", f"{at} tocilizumab 480 mg"), "b": (*FEVER, "21 h anakinra")}
    )
    exports.write("cibmtr-4100", gather(facts), tmp_path / "x", LIB)
    assert rows(tmp_path / "x", "crs", "SUBJECT")["a"][0]["CRS_TOCILIZUMAB"] == therapy


def test_where_a_source_holds_no_treatment_of_anybody_none_is_claimed(tmp_path: Path) -> None:
    exports.write("cibmtr-4100", gather(joined({"a": FEVER})), tmp_path / "x", LIB)
    assert rows(tmp_path / "x", "crs", "SUBJECT")["a"][0]["CRS_THERAPY"] is None


# --- CDISC -----------------------------------------------------------------------------------------------
def test_an_adverse_event_has_iso_times_days_and_durations(out: Path) -> None:
    (event,) = rows(out / "sdtm", "ae")["fatal"]
    assert (event["AESTDTC"], event["AEENDTC"]) == ("2026-01-05T20:00:00Z", "2026-01-06T06:00:00Z")
    assert (event["AESTDY"], event["AEENDY"], event["AEDUR"]) == (1, 2, "PT10H")
    assert (event["AEOUT"], event["AESDTH"], event["AESER"]) == ("FATAL", "Y", None)
    (open_,) = rows(out / "sdtm", "ae")["ongoing"]
    assert (open_["AEENDTC"], open_["AEENRTPT"], open_["AEENTPT"]) == (
        None,
        "ONGOING",
        "2026-01-05T20:00:00Z",
    )
    (died,) = rows(out / "sdtm", "ae")["other-death"]
    assert (died["AEOUT"], died["AEENDTC"], died["AESDTH"]) == ("NOT RECOVERED/NOT RESOLVED", None, None)
    assert event["STUDYID"] == "T1"
    assert event["AEPTCD"] is None


@pytest.mark.parametrize(
    ("start", "onset", "day"),
    [(0, "23.99 h", 1), (0, "24 h", 2), (1, "22.99 h", 1), (1, "23 h", 2)],
)
def test_study_days_turn_at_midnight(start: int, onset: str, day: int, tmp_path: Path) -> None:
    people = {"a": ("0 h teclistamab", f"{onset} temperature 39 Cel")}
    found = gather(joined(people, START + timedelta(hours=start)))
    exports.write("sdtm", found, tmp_path / "x", LIB)
    assert rows(tmp_path / "x", "ae")["a"][0]["AESTDY"] == day


def test_the_day_before_the_first_dose_is_day_minus_1(tmp_path: Path) -> None:
    facts = joined({"a": ("-1 h dexamethasone 10 mg", *FEVER, "21 h dexamethasone 10 mg")})
    exports.write("sdtm", gather(facts), tmp_path / "x", LIB)
    before, after = rows(tmp_path / "x", "cm")["a"]
    assert (before["CMSTDY"], after["CMSTDY"]) == (-1, 1)
    assert (before["CMLNKID"], after["CMLNKID"], after["CMINDC"]) == (None, "CRS-1", None)


def test_a_calendar_date_is_that_of_the_site(tmp_path: Path) -> None:
    """20:00 in London is the next morning in Tokyo."""
    found = gather(joined({"a": FEVER}))
    for zone, day, text in (("UTC", 5, "T20:00:00Z"), ("Asia/Tokyo", 6, "T05:00:00+09:00")):
        exports.write("ebmt", found, tmp_path / zone.replace("/", ""), LIB, zone=zone)
        exports.write("sdtm", found, tmp_path / f"s{zone.replace('/', '')}", LIB, zone=zone)
        assert rows(tmp_path / zone.replace("/", ""), "crs", "SUBJECT")["a"][0]["ONSET_DATE"] == date(
            2026, 1, day
        )
        event = rows(tmp_path / f"s{zone.replace('/', '')}", "ae")["a"][0]
        assert event["AESTDTC"] == f"2026-01-0{day}{text}"


def test_qualifiers_hold_the_grade_its_scale_and_what_people_charted(tmp_path: Path) -> None:
    facts = (
        joined({"a": (*FEVER, "21 h charted-grade 2")})
        if "charted-grade" in LIB.measures
        else joined({"a": FEVER})
    )
    exports.write("sdtm", gather(facts), tmp_path / "x", LIB)
    found = {row["QNAM"]: row["QVAL"] for row in rows(tmp_path / "x", "suppae")["a"]}
    assert (found["CRSGRADE"], found["CRSSCALE"], found["TRIGGER"]) == ("1", "astct-2019", "Teclistamab")
    assert {row["IDVARVAL"] for row in rows(tmp_path / "x", "suppae")["a"]} == {"1"}


def test_one_illness_is_one_adverse_event_and_every_scale_a_clinical_event(out: Path) -> None:
    assert len(rows(out / "sdtm", "ae")["resolved"]) == 1
    assert len(rows(out / "sdtm", "ae")["twice"]) == 2
    graded = {
        row["CESCAT"] for row in rows(out / "sdtm", "ce")["resolved"] if row["CECAT"] == "GRADED EPISODE"
    }
    assert graded == {"astct-2019", "lee-2014", "ctcae-5.0"}
    for name in ("dm", "ae", "ce", "cm", "pr", "ex"):
        for each in rows(out / "sdtm", name).values():
            if f"{name.upper()}SEQ" in each[0]:
                assert [row[f"{name.upper()}SEQ"] for row in each] == list(range(1, len(each) + 1))


def test_a_complication_that_is_not_proven_is_no_event(cohort: Any, out: Path) -> None:
    """Nobody measured creatinine: kidney injury is not ruled out, which is nothing to report."""
    suspected = [row for row in cohort.stages.to_pylist() if not row["stage"]]
    proven = sum(row["stage"] > 0 for row in cohort.stages.to_pylist())
    told = [
        row for each in rows(out / "sdtm", "ce").values() for row in each if row["CECAT"] == "COMPLICATION"
    ]
    assert suspected
    assert len(told) == proven
    assert all(row["CETOXGR"] > "0" and row["CESTDTC"] for row in told)


def test_times_to_events_censor_and_compete(out: Path) -> None:
    found = {
        (row["USUBJID"], row["PARAMCD"]): row for each in rows(out / "adam", "adtte").values() for row in each
    }
    told = {key: (row["AVAL"], row["CNSR"]) for key, row in found.items()}
    assert told["resolved", "TTCRS"] == (20.0, 0)
    assert told["resolved", "TTTOCI"] == (24.0, 0)
    assert told["resolved", "TTCRSG2"] == (100.0, 1)
    assert told["fatal", "TTTOCI"] == (30.0, 2)
    assert told["fatal", "CRSDUR"] == (10.0, 2)
    assert told["ongoing", "CRSDUR"] == (0.0, 1)
    assert told["twice", "TTCRSG3"][1] == 0
    assert ("calm", "CRSDUR") not in told
    assert told["calm", "TTCRS"] == (42.0, 1)
    assert found["fatal", "TTTOCI"]["EVNTDESC"] == "Death before the event"
    assert found["resolved", "TTCRS"]["CNSDTDSC"] is None


def test_flags_name_the_first_and_the_highest_episode(out: Path) -> None:
    two = [row for row in rows(out / "adam", "adae")["twice"] if row["CRSSCALE"] == "astct-2019"]
    assert [(row["AOCCFL"], row["AOCCIFL"], row["ATOXGRN"]) for row in two] == [
        ("Y", None, 1),
        (None, "Y", 3),
    ]


def test_a_missing_age_stays_empty(out: Path) -> None:
    found = rows(out / "adam", "adsl")
    assert (found["resolved"][0]["AGE"], found["resolved"][0]["SEX"]) == (61.0, "F")
    assert (found["ongoing"][0]["AGE"], found["ongoing"][0]["SEX"]) == (None, None)


@given(st.integers(0, 10**7))
def test_durations_read_back(seconds: int) -> None:
    """Another reading of ISO 8601: add the parts up."""
    text = iso_duration(seconds / 3600)
    assert text is not None
    found = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", text)
    assert found is not None
    assert not text.endswith(("P", "T"))
    days, hours, minutes, rest = (int(part or 0) for part in found.groups())
    assert days * 86_400 + hours * 3600 + minutes * 60 + rest == seconds


# --- files -----------------------------------------------------------------------------------------------
def test_the_dictionary_covers_every_column_exactly(out: Path) -> None:
    for name in exports.names(LIB):
        told = pq.read_table(out / name / "dictionary.parquet").to_pylist()
        for path in (out / name).glob("*.parquet"):
            if path.stem != "dictionary":
                named = [row["variable"] for row in told if row["table"] == path.stem]
                assert named == pq.read_schema(path).names
        assert all(row["label"] and row["source"] and row["status"] for row in told)
        # nothing is written that the dictionary does not derive
        assert [row["variable"] for row in told if not row["derivation"] and name != "fhir"] == []


def test_what_rests_on_memory_says_so(out: Path) -> None:
    told = {row["variable"]: row for row in pq.read_table(out / "cibmtr-4100/dictionary.parquet").to_pylist()}
    assert told["CRS_GRADE"]["status"].startswith("draft, from memory")
    assert told["CRS"]["status"].startswith("draft: read by one reader")


def test_csv_says_what_parquet_says_but_for_the_escape(out: Path) -> None:
    for path in out.glob("*/*.parquet"):
        table = pq.read_table(path)
        kinds = {field.name: field.type for field in table.schema}
        options = pa_csv.ConvertOptions(column_types=kinds, strings_can_be_null=True)
        back = pa_csv.read_csv(
            path.with_suffix(".csv"),
            convert_options=options,
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        )
        for name in table.column_names:
            column = table[name]
            if pa.types.is_string(column.type):
                column = pa.chunked_array(
                    [[None if x is None else "'" + x if x[0] in FORMULA else x for x in column.to_pylist()]],
                    pa.string(),
                )
            assert back[name].to_pylist() == column.to_pylist(), (path, name)


def test_a_formula_in_a_patients_id_does_not_run(out: Path) -> None:
    for path in out.glob("*/*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            cells = [cell for line in csv.reader(file) for cell in line]
        numbers = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
        assert [cell for cell in cells if cell[:1] in tuple(FORMULA) and not numbers.fullmatch(cell)] == []
    assert "'=HYPERLINK(1)" in (out / "ebmt/crs.csv").read_text()
    assert "=HYPERLINK(1)" in rows(out / "ebmt", "crs", "SUBJECT")


@given(st.text(min_size=1))
def test_escapes_touch_only_the_first_sign(text: str) -> None:
    (told,) = escaped(pa.array([text])).to_pylist()
    assert told == ("'" + text if text[0] in FORMULA else text)


def test_pandas_and_polars_read_it(out: Path) -> None:
    import pandas as pd
    import polars as pl

    for path in out.glob("*/*.parquet"):
        names = pq.read_schema(path).names
        assert list(pd.read_csv(path.with_suffix(".csv")).columns) == names
        assert pl.read_parquet(path).columns == names
        assert (
            len(pl.read_csv(path.with_suffix(".csv"), infer_schema=False)) == pq.read_metadata(path).num_rows
        )


def test_definitions_name_what_the_files_rest_on(cohort: Any, out: Path) -> None:
    from hashlib import sha256

    told = json.loads((out / "ebmt/definitions.json").read_text())
    assert told["definitions"]["astct-2019"] == LIB.definition_hash("astct-2019")
    assert told["rows"] == {"crs": len(PEOPLE), "icans": len(PEOPLE)}
    assert told["sources"] == ["anna.csv"]
    for name, digest in told["files"].items():
        assert sha256((out / "ebmt" / name).read_bytes()).hexdigest() == digest


def test_the_same_cohort_gives_the_same_bytes(cohort: Any, out: Path, tmp_path: Path) -> None:
    for name in exports.names(LIB):
        for path in exports.write(name, cohort, tmp_path / name, LIB, study="T1"):
            assert path.read_bytes() == (out / name / path.name).read_bytes()


# --- whose ---------------------------------------------------------------------------------------------
def test_a_pseudonym_replaces_the_id_in_every_file(cohort: Any, tmp_path: Path) -> None:
    for name in exports.names(LIB):
        for path in exports.write(name, cohort, tmp_path / name, LIB, subject_key=KEY):
            text = (
                path.read_bytes()
                if path.suffix != ".parquet"
                else str(pq.read_table(path).to_pylist()).encode()
            )
            for who in ("HYPERLINK", "other-death", "unseen", "anna"):
                assert who.encode() not in text, path
    subjects = [row["SUBJECT"] for row in pq.read_table(tmp_path / "ebmt/crs.parquet").to_pylist()]
    assert sorted(subjects) == subjects == sorted(pseudonym(KEY, name) for name in PEOPLE)


@pytest.mark.parametrize("size", [0, 15, 16])
def test_a_short_key_is_refused(size: int, cohort: Any) -> None:
    if size >= 16:
        assert len(subjects_of(cohort, b"k" * size)) == len(PEOPLE)
    else:
        with pytest.raises(TocsinError, match="16 random bytes"):
            subjects_of(cohort, b"k" * size)


# --- nothing half-written ----------------------------------------------------------------------------------
def test_a_folder_with_something_else_is_left_alone(cohort: Any, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/thesis.txt").write_text("years")
    with pytest.raises(TocsinError, match="holds something else"):
        exports.write("ebmt", cohort, tmp_path / "x", LIB)
    assert [path.name for path in tmp_path.rglob("*")] == ["x", "thesis.txt"]


def test_an_interrupt_leaves_the_earlier_export(cohort: Any, tmp_path: Path) -> None:
    exports.write("ebmt", cohort, tmp_path / "x", LIB)
    before = sorted((path.name, path.read_bytes()) for path in (tmp_path / "x").iterdir())

    def interrupted() -> None:
        with appearing(tmp_path / "x") as draft:
            (draft / "crs.csv").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted((path.name, path.read_bytes()) for path in (tmp_path / "x").iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_scale_that_was_not_graded_is_refused_and_an_optional_one_named(tmp_path: Path) -> None:
    facts = joined({"a": FEVER})
    with pytest.raises(TocsinError, match=r"not graded under astct-2019.*\n.*\n.*--scale astct-2019"):
        exports.write("ebmt", gather(facts, "lee-2014"), tmp_path / "x", LIB)
    assert list(tmp_path.iterdir()) == []
    exports.write("ebmt", gather(facts), tmp_path / "x", LIB)
    told = json.loads((tmp_path / "x/definitions.json").read_text())
    assert told["left_out"] == {"icans": "not graded under icans-astct-2019"}


@pytest.mark.parametrize("name", ["adam", "cibmtr-4100", "ebmt", "fhir", "sdtm"])
def test_a_cohort_of_nobody_is_headings(name: str, tmp_path: Path) -> None:
    for path in exports.write(name, gather(joined(PEOPLE).slice(0, 0), SCALES), tmp_path / "x", LIB):
        if path.suffix == ".parquet" and path.stem != "dictionary":
            assert pq.read_metadata(path).num_rows == 0
            assert path.with_suffix(".csv").read_text().count("\n") == 1


def test_unknown_exports_and_zones_name_the_fix(cohort: Any, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="did you mean `ebmt`"):
        exports.write("embt", cohort, tmp_path / "x", LIB)
    with pytest.raises(TocsinError, match="no time zone `Mars/Base`"):
        exports.write("ebmt", cohort, tmp_path / "x", LIB, zone="Mars/Base")


# --- every number traces back ----------------------------------------------------------------------------
HOURS = st.lists(
    st.sampled_from(
        [
            "temperature 36.8 Cel",
            "temperature 38.9 Cel",
            "systolic-bp 120 mm[Hg]",
            "systolic-bp 80 mm[Hg]",
            "norepinephrine 0.1 ug/kg/min",
            "norepinephrine 0 ug/kg/min",
            "tocilizumab 480 mg",
            "oxygen-device nasal-cannula",
            "oxygen-device room-air",
            "teclistamab",
        ]
    ),
    min_size=1,
    max_size=24,
)


@settings(max_examples=15, deadline=None)
@given(st.lists(HOURS, min_size=1, max_size=3))
def test_every_row_is_a_row_of_the_cohort(tmp_path_factory: pytest.TempPathFactory, people: Any) -> None:
    """No episode, dose or patient appears or is lost, and grades and instants are those gathered."""
    facts = joined(
        {
            f"p{i}": ("0 h teclistamab", *(f"{6 * (n + 1)} h {line}" for n, line in enumerate(lines)))
            for i, lines in enumerate(people)
        }
    )
    found = gather(facts, SCALES)
    folder = tmp_path_factory.mktemp("x")
    exports.write("adam", found, folder / "adam", LIB)
    exports.write("sdtm", found, folder / "sdtm", LIB)
    ours = sorted(
        (row["patient_id"], row["scale"], row["episode"], row["start"], row["peak"])
        for row in found.episodes.to_pylist()
    )
    told = sorted(
        (row["USUBJID"], row["CRSSCALE"], row["CRSEPIS"], row["ASTDTM"], row["ATOXGRN"])
        for row in pq.read_table(folder / "adam/adae.parquet").to_pylist()
    )
    assert told == ours
    given_ = sum(pq.read_metadata(folder / f"sdtm/{name}.parquet").num_rows for name in ("cm", "pr", "ex"))
    assert given_ == len(found.given)
    assert pq.read_metadata(folder / "adam/adcrs.parquet").num_rows == len(found.spans)
    first = {
        (row["patient_id"], f"TTCRSG{k}" if k > 1 else "TTCRS"): row[f"first_{k}"]
        for row in found.courses.to_pylist()
        if row["scale"] == "astct-2019"
        for k in (1, 2, 3)
    }
    for row in pq.read_table(folder / "adam/adtte.parquet").to_pylist():
        if (row["USUBJID"], row["PARAMCD"]) in first:
            event = first[row["USUBJID"], row["PARAMCD"]]
            assert (row["CNSR"] == 0) == (event is not None)
            assert row["AVAL"] == (row["ADTM"] - row["STARTDTM"]) / timedelta(hours=1) >= 0
            assert event in (None, row["ADTM"])


# --- the shelf ---------------------------------------------------------------------------------------------
def test_every_word_can_be_asked(cohort: Any) -> None:
    """What a file may say, the rows hold: the words and the SQL cannot drift apart."""
    with laid_out(cohort, LIB, subjects_of(cohort, None), None, {}) as con:
        for name in exports.names(LIB):
            found = export(name, LIB)
            for table in found.tables:
                if table.rows != "resources":
                    scales = scales_of(table.scale, cohort, LIB)
                    columns = con.sql(rows_of(table, found, cohort, LIB, scales)).columns
                    plain = {key for key, word in ROWS[table.rows].items() if not word.asks}
                    assert plain - set(columns) == set(), (name, table.name)
                    assert set(asked_of(table.fields)) <= set(columns)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('from = "onset"', 'from = "onsett"', "did you mean `onset`"),
        ('type = "date", from = "onset"', 'type = "number", from = "onset"', "cannot be written as"),
        ('codelist = "yes-no"', 'codelist = "yes-now"', "did you mean `yes-no`"),
        ('no  = "No"', "", "lacks no"),
        ('name = "ONSET_DATE"', 'name = "SUBJECT"', "says `SUBJECT` twice"),
        ('scale    = "astct-2019"', 'scale    = "astct-2091"', "did you mean `astct-2019`"),
        ('rows     = "patients"', 'rows     = "patient"', "did you mean `patients`"),
        ('label = "Date of onset"', 'lable = "Date of onset"', "did you mean `label`"),
        ('from = "scale"', 'from = "scale", value = "x"', "exactly one of"),
        ('from = "scale"', 'from = "given"', "do not go together"),
    ],
)
def test_a_wrong_file_is_refused_with_the_fix(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = LIB.files("exports")["ebmt"].read_text("utf-8")
    assert old in text
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports/ebmt.toml").write_text(text.replace(old, new), "utf-8")
    with pytest.raises(DefinitionError, match=re.escape(message)):
        export("ebmt", Library((tmp_path,)))


@pytest.mark.parametrize("name", ["adam", "sdtm"])
def test_names_and_labels_fit_the_standard(name: str) -> None:
    """At most 8 signs a name and 40 a label, as the transport format of submissions holds."""
    for table in export(name, LIB).tables:
        for each in (*table.fields, *table.qualifiers):
            assert re.fullmatch(r"[A-Z][A-Z0-9]{0,7}", each.name), each.name
            assert len(each.label) <= 40, each.label
        assert all(len(each.name) <= 8 for each in table.parameters)


# --- FHIR ------------------------------------------------------------------------------------------------
def bundles(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "fhir/bundle.ndjson").read_text().splitlines()]


def test_fhir_speaks_of_every_patient_and_episode_once(cohort: Any, out: Path) -> None:
    found = bundles(out)
    kinds = [each["resource"]["resourceType"] for one in found for each in one["entry"]]
    events = sum(row["scale"] == "astct-2019" for row in cohort.episodes.to_pylist())
    assert len(found) == kinds.count("Patient") == len(PEOPLE)
    assert kinds.count("Observation") == len(cohort.episodes)
    assert kinds.count("AdverseEvent") == events
    for one in found:
        there = {each["fullUrl"] for each in one["entry"]}
        wanted = set(re.findall(r'"reference": "([^"]+)"', json.dumps(one)))
        assert wanted <= there


def test_fhir_paths_stand_in_the_dictionary(out: Path) -> None:
    told = [row["variable"] for row in pq.read_table(out / "fhir/dictionary.parquet").to_pylist()]
    for one in bundles(out):
        for each in one["entry"]:
            resource = dict(each["resource"])
            kind = resource.pop("resourceType")
            resource.pop("id")
            for path in paths(resource, kind):
                covered = path.replace("identifier.system", "identifier.value")
                assert any(f"{covered}.".startswith(f"{name}.") for name in told), path


def test_fhir_resources_accepts_them(out: Path) -> None:
    from fhir.resources.R4B.bundle import Bundle

    for one in bundles(out):
        assert Bundle.model_validate(one).type == "collection"


def test_two_foreign_validators_accept_them(out: Path) -> None:
    node = shutil.which("node")
    if node is None or not (FOREIGN / "node_modules" / "fhir").is_dir():
        pytest.skip("Node.js or the packages of tests/foreign are not there: make foreign")
    found = bundles(out)
    resources = [*found, *(each["resource"] for one in found for each in one["entry"])]
    done = subprocess.run(
        [node, "validate.mjs"], cwd=FOREIGN, input=json.dumps(resources), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[:3000] + done.stderr[:2000]
    kinds = {each["resourceType"] for each in resources}
    assert kinds == {"Bundle", "Patient", "Device", "Observation", "AdverseEvent"}


def test_the_sources_of_the_shelf_exist() -> None:
    from tocsin.citations import references

    for path in LIB.files("exports").values():
        text = path.read_text("utf-8")
        assert tomllib.loads(text)["revision"]
        keys = set(re.findall(r'source = "([^"]+)"', text)) - {"memory"}
        assert keys <= set(references())
