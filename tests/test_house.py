"""The house itself: what the README and help texts show runs, names mean something, nothing is heavy."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

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
    """Patient data stays on the machine: nothing but the live service's own doors listen, and nothing asks
    elsewhere but for the keys of the site's sign-in."""
    doors = ("watch/serve.py", "watch/hl7.py", "watch/oidc.py")
    if path.relative_to(ROOT / "src" / "tocsin").as_posix() in doors:
        return
    banned = {"socket", "http", "urllib", "requests", "httpx", "aiohttp", "ftplib", "smtplib"}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        # what only takes addresses apart opens nothing
        assert not banned & {name.partition(".")[0] for name in names if name != "urllib.parse"}


def test_nothing_speaks_of_one_machine():
    """A path of somebody's machine means nothing to a stranger."""
    paths = re.compile(r"(?<![\w.])/(?:work|home|root|Users|mnt|srv)/\w|/tmp/\w")
    for path in TEXTS:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            assert not paths.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_files_named_in_the_docs_exist():
    """A hazard answered by a test that is not there is not answered."""
    for page in (ROOT / "CONTRIBUTING.md", ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for name in re.findall(r"`((?:tests|src|docs|examples|scripts)/[\w./*-]+)`", page.read_text("utf-8")):
            if "ID" not in name:
                assert list(ROOT.glob(name.rstrip("/"))), f"{page.name} names {name}"


def test_versions_agree():
    """One version, wherever it is written."""
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_shell_words_of_help_examples_are_plain():
    """Examples are for every shell: no variables, no globbing."""
    for case in help_examples():
        assert not set("$*`") & set("".join(shlex.split(case.values[0])))
