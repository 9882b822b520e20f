"""Files of rows: recognised by what is in them, read in bounded memory, and never half."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tocsin.definitions.load import library
from tocsin.facts import FactsError, write_facts
from tocsin.sources import read as reading
from tocsin.sources.read import open_source, read

LIB = library()
CSV = (
    "patient_id,time,measure,value,unit,text\n"
    "b,2026-01-05T08:00Z,temperature,38.4,Cel,\n"
    "a,2026-01-05T09:00Z,oxygen-device,,,NC\n"
    "a,2026-01-05T08:00Z,temperature,100.4,F,\n"
)


def put(folder, name, data):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def rows():
    head, *lines = (line.split(",") for line in CSV.strip().split("\n"))
    return [{name: value or None for name, value in zip(head, line, strict=True)} for line in lines]


def arrow():
    return pa.Table.from_pylist(rows())


def ipc(table, make):
    out = io.BytesIO()
    with make(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def parquet(table):
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


FORMS = {
    "csv": CSV.encode(),
    "csv with a mark": b"\xef\xbb\xbf" + CSV.encode(),
    "csv of other lines": CSV.replace("\n", "\r\n").encode(),
    "tsv": CSV.replace(",", "\t").encode(),
    "semicolons": CSV.replace(",", ";").encode(),
    "capitals": CSV.replace("patient_id", " Patient_ID").encode(),
    "json lines": "\n".join(json.dumps(row) for row in rows()).encode(),
    "parquet": parquet(arrow()),
    "arrow file": ipc(arrow(), pa.ipc.new_file),
    "arrow stream": ipc(arrow(), pa.ipc.new_stream),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_told_by_its_content(tmp_path, form, packed):
    """Whatever it is called; every form holds the same facts."""
    data = gzip.compress(FORMS[form]) if packed and form != "parquet" else FORMS[form]
    source = open_source(put(tmp_path, "facts.dat", data), lib=LIB)
    table = source.table()
    assert table["patient_id"].to_pylist() == ["a", "a", "b"]
    assert table["value"].to_pylist() == [38.0, None, 38.4]
    assert table["text"].to_pylist() == [None, "nasal-cannula", None]
    assert table["source"].to_pylist() == ["facts.dat:3", "facts.dat:2", "facts.dat:1"]
    assert (source.rows_read, source.rejects) == (3, [])


@pytest.mark.parametrize("form", ["csv", "json lines", "parquet", "arrow stream"])
def test_standard_input_is_told_by_its_content_too(form):
    """`-` takes what a file may hold."""
    code = "from tocsin.sources.read import read; print(read('-')['source'].to_pylist())"
    done = subprocess.run([sys.executable, "-c", code], input=FORMS[form], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "['standard input:3', 'standard input:2', 'standard input:1']"


LINE = b"a,2026-01-05T08:00Z,heart-rate,80,/min,\n"
HEAD = CSV.encode().split(b"\n")[0] + b"\n"
BROKEN = {
    "empty": (b"", "is empty"),
    "only blank": (b"\n \n", "is empty"),
    "empty gzip": (gzip.compress(b""), "is empty"),
    "truncated gzip": (gzip.compress(HEAD + LINE * 20_000)[:-100], "the gzip ends before its end"),
    "short truncated gzip": (gzip.compress(CSV.encode())[:-12], "the gzip ends before its end"),
    "truncated parquet": (parquet(arrow())[:-20], "cannot be read"),
    "damaged arrow": (FORMS["arrow file"][:-60], "cannot be read"),
    "not utf-8": (
        HEAD + LINE + "a,2026-01-05T08:00Z,heart-rate,80,/min,é\n".encode("latin-1"),
        "is not UTF-8",
    ),
    "header not utf-8": ("patient_id,time,measure,größe\n".encode("latin-1") + LINE, "is not UTF-8"),
    "utf-16": (CSV.encode("utf-16"), "is not UTF-8"),
    "missing column": (
        CSV.replace("patient_id", "patient").encode(),
        "no column `patient_id`; did you mean `patient`",
    ),
    "doubled header": (CSV.replace("text", "value").encode(), "column `value` is there twice"),
    "one JSON list": (json.dumps(rows()).encode(), "is one JSON list"),
    "a long header": (b"x" * (9 << 20), "line longer than 8 MiB"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_read_to_its_end_is_refused(tmp_path, name):
    """Half a file read as a whole would make what is missing look not charted."""
    data, said = BROKEN[name]
    with pytest.raises(FactsError, match=said) as caught:
        open_source(put(tmp_path, "facts.csv", data), lib=LIB).table()
    assert "facts.csv" in str(caught.value)
    assert "why:" in str(caught.value)
    assert "fix:" in str(caught.value)


def test_what_is_not_there_is_said(tmp_path):
    """Not a traceback."""
    with pytest.raises(FactsError, match="no such file or folder"):
        open_source(tmp_path / "nothing.csv", lib=LIB)
    with pytest.raises(FactsError, match="holds nothing that is recognised"):
        open_source(tmp_path, lib=LIB)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("length", [(8 << 20) + 1, (20 << 20) + 7])
@pytest.mark.parametrize("packed", [False, True])
def test_a_line_too_long_to_be_a_row_costs_no_other(tmp_path, form, length, packed):
    """It is refused while it is read; the rows around it are taken and keep their numbers."""
    head, line = HEAD, LINE
    if form == "jsonl":
        fact = {"patient_id": "a", "time": "2026-01-05T08:00Z", "measure": "heart-rate", "value": 80}
        fact["unit"] = "/min"
        head, line = b"", json.dumps(fact).encode() + b"\n"
    later = [line.replace(b"80", b"81"), b"x" * length]
    data = head + line + b"x" * length + b"\n" + b"".join(later)
    name = f"f.{form}.gz" if packed else f"f.{form}"
    source = open_source(put(tmp_path, name, gzip.compress(data, 1) if packed else data), lib=LIB)
    table = source.table()
    assert dict(zip(table["value"].to_pylist(), table["source"].to_pylist(), strict=True)) == {
        80.0: f"{name}:1", 81.0: f"{name}:3"
    }  # fmt: skip
    (rejects,) = source.rejects
    assert rejects["row"].to_pylist() == [2, 4]
    assert set(rejects["what"].to_pylist()) == {"is a line longer than 8 MiB"}
    assert source.rows_read == 4


@pytest.mark.parametrize("length", [0, 1, (1 << 20) - 40, 3 << 20, 7 << 20])
def test_a_line_of_any_length_below_is_taken(tmp_path, length):
    """Wherever the line falls on the blocks it is read in."""
    data = HEAD + LINE * 3 + LINE.replace(b"\n", b"x" * length + b"\n") + LINE.replace(b"80", b"81")
    source = open_source(put(tmp_path, "f.csv", data), lib=LIB)
    assert 81.0 in source.table()["value"].to_pylist()
    assert source.rows_read == 5


def test_a_line_that_cannot_be_split_costs_no_other(tmp_path):
    """Too many or too few columns: one reject each, and the rows around keep their numbers."""
    lines = [
        LINE,
        b"a,2026\n",
        LINE.replace(b"80", b"81"),
        LINE.replace(b"\n", b",,\n"),
        LINE.replace(b"80", b"82"),
    ]
    source = open_source(put(tmp_path, "f.csv", HEAD + b"".join(lines)), lib=LIB)
    table = source.table()
    assert dict(zip(table["value"].to_pylist(), table["source"].to_pylist(), strict=True)) == {
        80.0: "f.csv:1", 81.0: "f.csv:3", 82.0: "f.csv:5"
    }  # fmt: skip
    (rejects,) = source.rejects
    assert rejects["row"].to_pylist() == [2, 4]
    assert "another number of columns" in rejects["what"][0].as_py()
    assert source.rows_read == 5


def test_a_quote_that_is_not_closed_is_told(tmp_path):
    """It swallows lines up to the next quote; silence would lose them."""
    data = (
        HEAD
        + LINE
        + b'a,2026-01-05T08:00Z,heart-rate,81,/min,"oops\n'
        + LINE
        + b'a,2026-01-05T09:00Z,chills,,,"x"\n'
    )
    source = open_source(put(tmp_path, "f.csv", data), lib=LIB)
    assert source.table()["value"].to_pylist()[:1] == [80.0]
    said = [what for part in source.rejects for what in part["what"].to_pylist()]
    assert said
    assert any("quote" in what or "another number of columns" in what for what in said)


def test_a_line_that_is_no_object_costs_no_other(tmp_path):
    """JSON lines: the bad line is one reject."""
    good = json.dumps(rows()[0])
    source = open_source(
        put(tmp_path, "f.jsonl", f"{good}\n{{oops\n[1]\n\n{good.replace('38.4', '39')}\n"), lib=LIB
    )
    assert source.table()["value"].to_pylist() == [38.4, 39.0]
    assert source.rejects[0]["row"].to_pylist() == [2, 3]
    assert source.rejects[0]["what"].to_pylist() == ["is no JSON object"] * 2


def test_json_may_mix_numbers_and_texts(tmp_path):
    """One odd value does not turn the others into rejects."""
    lines = [
        json.dumps({**rows()[0], "value": value, "time": f"2026-01-05T0{place}:00Z"})
        for place, value in enumerate([38.5, "39", "warm"])
    ]
    source = open_source(put(tmp_path, "f.jsonl", "\n".join(lines)), lib=LIB)
    assert source.table()["value"].to_pylist() == [38.5, 39.0, None]
    assert source.rejects[0]["value"].to_pylist() == ["warm"]


def test_columns_that_are_not_used_are_told(tmp_path):
    """A misspelt optional column would otherwise vanish."""
    source = open_source(put(tmp_path, "f.csv", CSV.replace("text", "txt")), lib=LIB)
    source.table()
    assert source.notes == ["f.csv: columns not used: txt"]


def test_clock_times_without_a_zone_are_refused_even_with_a_time_zone_told(tmp_path):
    """`--timezone` is for formats that cannot carry one."""
    path = put(tmp_path, "f.csv", HEAD + LINE.replace(b"Z", b""))
    source = open_source(path, lib=LIB, timezone="Europe/Berlin")
    assert source.table().num_rows == 0
    assert "without a time zone" in source.rejects[0]["what"][0].as_py()


def test_reading_twice_gives_the_same(tmp_path):
    """Counts do not add up over readings."""
    source = open_source(put(tmp_path, "f.csv", CSV + "a,x,crp,1,mg/L,\n"), lib=LIB)
    assert source.table().equals(source.table())
    assert (source.rows_read, len(source.rejects)) == (4, 1)


def test_read_warns_of_what_it_leaves_out(tmp_path):
    """In a notebook nobody looks at `rejects`."""
    path = put(tmp_path, "f.csv", CSV + "a,x,crp,1,mg/L,\n")
    with pytest.warns(UserWarning, match="1 rows were not taken as written"):
        read(path)
    rejects = []
    assert read(path, rejects=rejects).num_rows == 3
    assert rejects[0]["row"].to_pylist() == [4]


# --- several files


def test_files_are_one_table_wherever_they_are_cut(tmp_path):
    """A weight in one file serves a rate in another; a fact in both is one fact."""
    head = "patient_id,time,measure,value,unit,text\n"
    weight, rate = "a,2026-01-05T07:00Z,weight,70,kg,\n", "a,2026-01-05T08:00Z,norepinephrine,7,ug/min,\n"
    whole = read(put(tmp_path, "all.csv", head + weight + rate))
    (tmp_path / "parts").mkdir()
    one, two = put(tmp_path, "parts/1.csv", head + weight), put(tmp_path, "parts/2.csv", head + rate + weight)
    for source in ([one, two], [two, one], tmp_path / "parts"):
        found = open_source(source, lib=LIB).table()
        assert found.drop_columns("source").equals(whole.drop_columns("source"))
        assert found["value"].to_pylist() == [70.0, pytest.approx(0.1)]


def test_our_own_parquet_joins_other_files(tmp_path):
    """Canonical facts are facts like any other."""
    facts = read(put(tmp_path, "f.csv", CSV))
    write_facts(facts.to_batches(), tmp_path / "f.parquet")
    more = put(tmp_path, "g.csv", HEAD + LINE)
    source = open_source([tmp_path / "f.parquet", more], lib=LIB)
    assert source.table().num_rows == 4
    assert source.kind == "facts-parquet+csv"


# --- more than memory


def big(patients=150, hours=30):
    """Many patients, in order of time: every patient's rows lie apart."""
    ids = np.array([f"p{number % 7}{number:03}" for number in range(patients)])
    hour, who = (part.ravel() for part in np.meshgrid(np.arange(hours), np.arange(patients), indexing="ij"))
    stamps = np.array([f"2026-01-{5 + each // 24:02}T{each % 24:02}:00Z" for each in hour])
    names = np.where(hour == 0, "weight", "norepinephrine")
    return pa.table({
        "patient_id": ids[who], "time": stamps, "measure": names,
        "value": np.where(hour == 0, 50.0 + who, 5.0), "unit": np.where(hour == 0, "kg", "ug/min"),
    })  # fmt: skip


@pytest.fixture
def little_memory(monkeypatch):
    """Pretend that memory holds a hundred rows."""
    monkeypatch.setattr(reading, "AT_ONCE", 100)
    monkeypatch.setattr(reading, "BATCH", 60)
    monkeypatch.setattr("tocsin.sources.table.ROWS", 50)


@pytest.mark.parametrize("order", ["time", "patient", "patient downwards", "none"])
@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_what_does_not_fit_gives_the_same_in_whole_patients(
    tmp_path, monkeypatch, little_memory, order, form
):
    """Streamed or sorted on disk: the same facts, each patient in one batch, patients ascending."""
    table = big()
    if order.startswith("patient"):
        table = table.sort_by(
            [("patient_id", "descending" if "down" in order else "ascending"), ("time", "ascending")]
        )
    if order == "none":
        table = table.take(np.random.default_rng(5).permutation(table.num_rows))
    path = tmp_path / f"f.{form}"
    if form == "parquet":
        pq.write_table(table, path)
    elif form == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in table.to_pylist()))
    else:
        pa.csv.write_csv(table, path)
    source = open_source(path, lib=LIB, work=tmp_path)
    batches = list(source.batches())
    assert len(batches) > 1
    assert source.rows_read == table.num_rows
    assert source.rejects == []
    seen = [patient for batch in batches for patient in dict.fromkeys(batch["patient_id"].to_pylist())]
    assert seen == sorted(set(seen))
    monkeypatch.undo()
    assert pa.Table.from_batches(batches).equals(open_source(path, lib=LIB).table())
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name]


def test_our_own_parquet_is_passed_through(tmp_path, monkeypatch):
    """Row group by row group, each of whole patients, without a second look."""
    monkeypatch.setattr("tocsin.facts.files.GROUP", 200)
    facts = read(big())
    parts = [
        facts.filter(pa.compute.field("patient_id") == name)
        for name in sorted(set(facts["patient_id"].to_pylist()))
    ]
    path = tmp_path / "f.parquet"
    write_facts((batch for part in parts for batch in part.combine_chunks().to_batches()), path)
    assert pq.ParquetFile(path).num_row_groups > 5
    monkeypatch.setattr(reading, "read_rows", None)
    source = open_source(path, lib=LIB)
    assert source.kind == "facts-parquet"
    assert source.table().equals(facts)
    narrow = list(source.batches(columns=["patient_id", "measure"], encoded=True))
    assert narrow[0].schema.names == ["patient_id", "measure"]
    assert pa.types.is_dictionary(narrow[0].schema.field("measure").type)


def test_a_patient_in_two_places_of_our_own_parquet_is_refused(tmp_path):
    """Somebody joined two files; the patient would be graded twice on half the facts."""
    facts = read(put(tmp_path, "f.csv", CSV))
    path = tmp_path / "f.parquet"
    write_facts(facts.to_batches(), path)
    whole = pq.read_table(path)
    with pq.ParquetWriter(path, whole.schema) as writer:
        writer.write_table(whole)
        writer.write_table(whole)
    with pytest.raises(FactsError, match="patient a comes after b"):
        open_source(path, lib=LIB).table()
