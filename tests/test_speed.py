"""What keeps answers quick, without timing anything: which engine is chosen, what is cached, what is read."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import orjson
import pyarrow as pa
import pytest

from tocsin.cli.lines import json_lines
from tocsin.definitions.load import library
from tocsin.facts import write_facts
from tocsin.grading import batch, compiled, ward
from tocsin.grading.batch import grade_table
from tocsin.grading.compile import compiled as program_of
from tocsin.grading.live import Coder
from tocsin.grading.rows import READ
from tocsin.sources.read import open_source
from tocsin.testing import patient

ILL = patient("0 h temperature 38.4 Cel", "6 h temperature 37.2 Cel", "6 h systolic-bp 85 mm[Hg]")


@pytest.mark.parametrize(
    ("rows", "cached", "fast"),
    [(299_999, True, False), (300_000, True, True), (300_000, False, False), (2_000_000, False, True)],
)
def test_nobody_waits_for_a_compiler_without_need(rows, cached, fast, monkeypatch):
    """Below 300,000 rows never; up to two million only where the machine has been compiled before."""
    monkeypatch.setattr(compiled, "_warm", set())
    monkeypatch.setattr(batch, "is_cached", lambda: cached)
    assert batch.worth_compiling(rows) is fast


def test_a_service_that_has_it_loaded_uses_it_for_small_tables(monkeypatch):
    """Loading is told, and changes from which row on it pays; nothing is compiled where it never was."""
    monkeypatch.setattr(compiled, "_warm", set())
    monkeypatch.setattr(ward, "is_cached", lambda entry: False)
    ward.warm()
    assert not batch.worth_compiling(299_999)
    monkeypatch.setattr(ward, "is_cached", lambda entry: True)
    grade_table(ILL, engine="numba")
    program = program_of(("icans-astct-2019",), library())
    live = ward.Ward(program, library(), Coder(program, library()))
    live.begin(ILL, 0)
    entries = (compiled.grade_all(), compiled.onward_all())
    known = [len(entry.signatures) for entry in entries]
    ward.warm()
    assert [len(entry.signatures) for entry in entries] == known  # the types of real rows
    assert [batch.worth_compiling(rows) for rows in (199, 200)] == [False, True]


def test_small_files_load_no_compiler():
    """Grading one patient imports neither numba nor DuckDB nor a drawing library."""
    program = (
        "import sys; from tocsin.grading.batch import grade_table; from tocsin.testing import patient; "
        "grade_table(patient('0 h temperature 39 Cel')); "
        "print([name for name in ('numba', 'duckdb', 'altair', 'ibis') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_user_is_told_once_that_something_is_being_compiled(monkeypatch):
    """The message comes before the first long wait and never again."""
    monkeypatch.setattr(batch, "is_cached", lambda: False)
    said: list[str] = []
    list(batch.grade([ILL, ILL.slice(0, 0), ILL], engine="numba", notify=said.append))
    assert len(said) == 1
    assert "once" in said[0]


def test_code_of_an_older_machine_is_never_found_again(tmp_path, monkeypatch):
    """Any change of the machine's sources gives its compiled code another folder."""
    monkeypatch.setenv("TOCSIN_CACHE", str(tmp_path))
    before = compiled.cache_folder()
    assert before.parent == tmp_path
    changed = tmp_path / "machine.py"
    changed.write_text("# another rule\n")
    monkeypatch.setattr(compiled, "PARTS", (*compiled.PARTS, SimpleNamespace(__file__=str(changed))))
    one = compiled.cache_folder()
    changed.write_text("# yet another rule\n")
    assert len({before, one, compiled.cache_folder()}) == 3
    assert not compiled.is_cached()


def test_a_changed_definition_answers_anew_without_compiling(tmp_path):
    """A site's fever of 37.0 changes the answer and not the compiled code."""
    built_in = library()
    folder = tmp_path / "findings"
    folder.mkdir()
    text = (files("tocsin.definitions") / "findings" / "fever.toml").read_text("utf-8")
    (folder / "fever.toml").write_text(text.replace("38.0", "37.0"), "utf-8")
    ours = library((tmp_path,))
    facts = patient("0 h temperature 37.4 Cel", "0 h systolic-bp 120 mm[Hg]")
    before = grade_table(facts, lib=built_in, engine="numba")
    known = list(compiled.grade_all().signatures)
    after = grade_table(facts, lib=ours, engine="numba")
    assert list(compiled.grade_all().signatures) == known
    assert (max(before["grade"].to_pylist()), max(after["grade"].to_pylist())) == (0, 1)
    assert set(before["definition"].to_pylist()).isdisjoint(after["definition"].to_pylist())


def test_read_only_columns_do_not_compile_again():
    """Arrow lends some columns read-only; to numba that is another type."""
    grade_table(ILL, engine="numba")
    known = len(compiled.grade_all().signatures)
    for facts in (ILL.take(pa.array(np.arange(len(ILL))[::-1])), ILL.combine_chunks(), ILL.select(READ)):
        grade_table(facts, engine="numba")
    assert len(compiled.grade_all().signatures) == known == 1


def test_columns_are_left_out_only_where_no_row_replaces_another(tmp_path):
    """The file's own statistics say whether `source` and `replaces` must be read to grade rightly."""
    write_facts(ILL.to_batches(), tmp_path / "plain.parquet")
    corrected = ILL.set_column(
        ILL.column_names.index("replaces"), "replaces", pa.array([None, None, "chart:1"], pa.string())
    )
    write_facts(corrected.to_batches(), tmp_path / "corrected.parquet")
    assert not open_source(tmp_path / "plain.parquet").may_correct
    assert open_source(tmp_path / "corrected.parquet").may_correct
    narrow = pa.Table.from_batches(open_source(tmp_path / "plain.parquet").batches(READ, encoded=True))
    assert grade_table(narrow).equals(grade_table(ILL))


def test_json_lines_are_those_of_a_plain_encoder():
    """Column by column or row by row: the same bytes, whatever stands in the columns."""
    table = pa.table(
        {
            "text": pa.array(['a "quoted" word', None, "µ", ""]),
            "time": pa.array([0, 1_500_000, None, -1], pa.timestamp("us", "UTC")),
            "whole": pa.array([1, None, -3, 4], pa.int8()),
            "number": pa.array([0.5, None, 1e300, 2.0]),
            "flag": pa.array([True, False, None, True]),
            "words": pa.array([["a", "b"], [], None, ['"']], pa.list_(pa.string())),
        }
    )
    option = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
    plain = b"".join(orjson.dumps(row, option=option) for row in table.to_pylist())
    assert b"".join(json_lines(table)) == plain
    assert b"".join(json_lines(table.slice(0, 0))) == b""
