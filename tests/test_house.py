"""The house itself: what the README and help texts show runs, names mean something, nothing is heavy."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tocsin.cli.front import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TEXTS = [
    path
    for folder in ("src", "tests", "docs", "scripts", "bench", "examples", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix in {".py", ".md", ".toml", ".bib", ".csv", ".cff", ".yml", ""}
] + [path for path in ROOT.iterdir() if path.is_file() and path.suffix in {".md", ".toml", ".cff", ".yml"}]
TOCSIN = Path(sys.executable).with_name("tocsin")


# --- what is shown runs ---------------------------------------------------------------------------------


def blocks(language: str) -> list[pytest.param]:
    """Every fenced block of that language in the README and the hand-written docs."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = []
    for page in pages:
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
            line = page.read_text("utf-8").count("\n", 0, match.start()) + 1
            found.append(pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that looks like a fresh checkout, to run examples in without writing into ours."""
    for name in ("examples", "README.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{TOCSIN.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize("code", blocks("python"))
def test_python_shown_runs(code, checkout):
    """A reader who pastes the block gets what it promises: it runs, in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", blocks("(?:sh|bash|console)"))
def test_commands_shown_run(script, checkout):
    """A reader who pastes a shell block gets no error; `make` and `git` lines built this very checkout."""
    ours = "\n".join(line for line in script.splitlines() if not re.match(r"(make|git|cd)\b", line))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", ours], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def help_examples() -> list[pytest.param]:
    """The example that ends every help text."""
    context = click.Context(cli, info_name="tocsin")
    commands = [("tocsin", cli), *((name, cli.get_command(context, name)) for name in COMMANDS)]
    found = []
    for name, command in commands:
        _, _, example = (command.help or "").rpartition("Example:")
        found += [pytest.param(line.strip(), id=name) for line in example.splitlines() if line.strip()]
    return found


def test_every_help_text_ends_in_an_example():
    """Nobody should have to guess how a command is called."""
    context = click.Context(cli, info_name="tocsin")
    for name in COMMANDS:
        said = cli.get_command(context, name).help
        assert re.search(rf"\n\s*Example:\n\s+.*tocsin {name}\b[^\n]*\s*$", said), name


@pytest.mark.parametrize("example", help_examples())
def test_help_examples_run(example, checkout):
    """The example in a help text is the one thing everybody tries first."""
    done = subprocess.run(["bash", "-c", example], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


# --- the command line keeps its word --------------------------------------------------------------------


def run(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TOCSIN, *words], capture_output=True, text=True, input=stdin, check=False)


FEVER = "patient_id,time,measure,value,text,unit\np1,2026-01-05T08:00Z,temperature,38.4,,Cel\n"


def test_help_costs_little():
    """`tocsin --help` answers within 0.3 s of CPU, because it imports nothing heavy."""
    code = (
        "import sys; from tocsin.cli.front import cli\n"
        "cli(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for heavy in ("'numpy'", "'pyarrow'", "'numba'", "'altair'", "'duckdb'", "'pint'", "'rich'"):
        assert heavy not in done.stdout


def test_one_patient_imports_nothing_heavy(checkout):
    """Grading one small file waits for no compiler and no chart library."""
    code = (
        "import sys; from tocsin.cli.front import cli\n"
        "cli(['grade', 'examples/axi-cel-course.csv'], standalone_mode=False)\n"
        "print([name for name in ('numba', 'altair', 'pint', 'pandas', 'polars', 'ibis') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_grade_reads_standard_input_and_answers_json_lines_on_a_pipe():
    """A pipe in, a pipe out: each line is one span of time that names its scale and its definition."""
    done = run("grade", "-", stdin=FEVER)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["grade"] for line in lines if line["start"] == "2026-01-05T08:00:00Z"] == [1]
    assert {line["scale"] for line in lines} == {"astct-2019"}
    assert all(len(line["definition"]) == 64 for line in lines)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_grade_writes_a_whole_file(suffix, tmp_path, examples):
    """`--out` writes the format its name says, and leaves nothing else beside it."""
    out = tmp_path / f"grades.{suffix}"
    done = run("grade", str(examples / "axi-cel-course.csv"), "--scale", "all", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert os.listdir(tmp_path) == [out.name]


def test_rejected_rows_are_counted_and_written(tmp_path):
    """A row without a unit costs itself alone: exit 0, and a file that says why and how to mend it."""
    facts = tmp_path / "vitals.csv"
    facts.write_text(FEVER + "p1,2026-01-05T09:00Z,temperature,101.2,,\n")
    done = run("grade", str(facts), "--out", str(tmp_path / "grades.csv"))
    assert done.returncode == 0, done.stderr
    assert "1 rows rejected" in done.stderr
    rejects = (tmp_path / "grades.csv.rejects.csv").read_text()
    assert "no unit" in rejects
    assert "vitals.csv" in rejects


def test_strict_refuses_rejects(tmp_path):
    """With `--strict` one rejected row is an error."""
    done = run("grade", "-", "--strict", stdin=FEVER + "p1,2026-01-05T09:00Z,temperature,101.2,,\n")
    assert done.returncode == 1
    assert "--strict" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["grade", "no-such-file.csv"], 1, "no-such-file.csv"),
        (["grade"], 2, "Missing argument"),
        (["grad"], 2, "did you mean `grade`?"),
        (["grade", "-", "--scale", "astct-2018"], 2, "did you mean `astct-2019`?"),
        (["grade", "-", "--out", "grades.xlsx"], 2, ".xlsx"),
        (["grade", "-", "--plot", "picture.gif"], 2, ".gif"),
        (["grade", "-", "--until", "2026-01-05T08:00"], 2, "zone"),
        (["explain", "astct-2018"], 1, "did you mean `astct-2019`?"),
        (["cite", "lee2018"], 1, "did you mean"),
        (["list", "shelves"], 2, "shelves"),
    ],
)
def test_bad_usage_is_told_apart_from_bad_input(words, code, said):
    """2 is a command that cannot be meant, 1 an input that cannot be used; both say what to change."""
    done = run(*words, stdin=FEVER)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_no_usable_row_is_an_error():
    """Answering nothing to rows that were all rejected would look like a patient without CRS."""
    rows = "patient_id,time,measure,value,unit\np1,2026-01-05T08:00Z,temperature,101.2,\n"
    done = run("grade", "-", stdin=rows)
    assert done.returncode == 1
    assert "no row was usable" in done.stderr


def test_ctrl_c_leaves_nothing_half_written(tmp_path, monkeypatch):
    """Stopped in the middle: exit 130 and no file, rather than half a file."""
    import tocsin.sources.read

    out = tmp_path / "grades.csv"
    opened = tocsin.sources.read.open_source

    def stopped(*args, **kwargs):
        source = opened(*args, **kwargs)
        batches = source.batches

        def some():
            yield from batches()
            raise KeyboardInterrupt

        monkeypatch.setattr(source, "batches", some, raising=False)
        return source

    monkeypatch.setattr(tocsin.sources.read, "open_source", stopped)
    done = CliRunner().invoke(cli, ["grade", str(ROOT / "examples/axi-cel-course.csv"), "--out", str(out)])
    assert done.exit_code == 130
    assert os.listdir(tmp_path) == []


def test_why_prints_the_rows_behind_a_grade(examples):
    """From a grade back to the rows of the file that caused it."""
    done = run("grade", str(examples / "a19-one-pressor-low-flow.csv"), "--why", "A19", "2026-01-05T13:00Z")
    assert done.returncode == 0, done.stderr
    assert "norepinephrine" in done.stdout
    assert "a19-one-pressor-low-flow.csv:" in done.stdout


# --- the house rules ------------------------------------------------------------------------------------


def test_the_front_door_is_lazy_and_complete():
    """`import tocsin` imports nothing; every name it offers exists; `episodes` is the function."""
    code = (
        "import sys, tocsin\n"
        "assert 'pyarrow' not in sys.modules\n"
        "from importlib import import_module\n"
        "import_module('tocsin.episodes'); import_module('tocsin.plots.timeline')\n"
        "assert all(callable(getattr(tocsin, name)) for name in tocsin.__all__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_one_idea_with_a_name_that_says_it(path):
    """Past 400 lines a module is two ideas; a module named `utils` is none."""
    assert len(path.read_text("utf-8").splitlines()) <= 400
    assert path.stem not in {
        "util", "utils", "helper", "helpers", "common", "core", "base", "misc", "manager", "managers",
    }
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_opens_a_network_connection(path):
    """Patient data stays on the machine: no module here imports a network client or server."""
    banned = {"socket", "http", "urllib", "requests", "httpx", "aiohttp", "ftplib", "smtplib"}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        assert not banned & {name.partition(".")[0] for name in names}


def test_nothing_speaks_of_one_machine():
    """A path of somebody's machine means nothing to a stranger."""
    paths = re.compile(r"(?<![\w.])/(?:work|home|root|Users|mnt|srv)/\w|/tmp/\w")
    for path in TEXTS:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            assert not paths.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_versions_agree():
    """One version, wherever it is written."""
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_shell_words_of_help_examples_are_plain():
    """Examples are for every shell: no variables, no globbing."""
    for case in help_examples():
        assert not set("$*`") & set("".join(shlex.split(case.values[0])))
