"""Where the service listens, how it ends: the real program, as it is started."""

from __future__ import annotations

import gc
import re
import ssl
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tocsin.watch import warming
from tocsin.watch.serve import Listen, ListenError
from tocsin.watch.service import Service
from tocsin.watch.store import Store
from watched import LIB

TOCSIN = Path(sys.executable).with_name("tocsin")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "ward.example"])
def test_a_network_without_tls_is_refused(host):
    with pytest.raises(ListenError, match="in the clear"):
        Listen(host).checked()
    assert Listen(host, behind_proxy=True).checked().secure


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_this_machine_alone_needs_none(host):
    assert not Listen(host).checked().secure


def test_a_certificate_goes_with_its_key(tmp_path):
    with pytest.raises(ListenError, match="key"):
        Listen(certificate=tmp_path / "c.pem").checked()
    (tmp_path / "c.pem").write_text("no certificate")
    with pytest.raises(ListenError, match="cannot be used"):
        Listen(certificate=tmp_path / "c.pem", key=tmp_path / "c.pem").checked()


def test_what_makes_it_quick_holds_as_long_as_it_serves(monkeypatch):
    """The compiled machine is loaded and the collector looks seldom; afterwards it looks as it did before. A
    machine that cannot be loaded costs nobody the service."""
    before, asked = gc.get_threshold(), []
    monkeypatch.setattr(warming, "warm", lambda: asked.append(True) or 1 / 0)
    with warming.warmed():
        assert gc.get_threshold() == warming.SELDOM
    assert asked
    assert gc.get_threshold() == before


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that nobody signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "cert.pem", folder / "key.pem"


def started(folder: Path, *words: str) -> tuple[subprocess.Popen[str], str]:
    """The program, and the address it printed."""
    child = subprocess.Popen(
        [TOCSIN, "watch", "--port", "0", *words], stdout=subprocess.PIPE, text=True, cwd=folder
    )
    assert child.stdout
    found = re.search(r"https?://\S+", child.stdout.readline())
    assert found
    return child, found[0]


def test_it_listens_with_tls(tmp_path):
    cert, key = certificate(tmp_path)
    child, address = started(
        tmp_path, "--db", "w.db", "--host", "0.0.0.0", "--tls-cert", str(cert), "--tls-key", str(key)
    )
    try:
        context = ssl.create_default_context(cafile=str(cert))
        port = address.rsplit(":", 1)[1].split("/")[0]
        with urllib.request.urlopen(
            f"https://localhost:{port}/health", context=context, timeout=20
        ) as answer:
            assert answer.status == 200
            assert "max-age" in answer.headers["strict-transport-security"]
    finally:
        child.terminate()
        assert child.wait(20) == 0


def test_a_port_that_is_taken_is_said(tmp_path):
    child, address = started(tmp_path, "--db", "w.db")
    port = address.rsplit(":", 1)[1]
    second = subprocess.run(
        [TOCSIN, "watch", "--db", "v.db", "--port", port],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    child.terminate()
    child.wait(20)
    assert second.returncode == 1
    assert "cannot listen" in second.stderr
    assert "Traceback" not in second.stderr


def test_an_empty_store_prints_a_code_and_one_with_an_account_none(tmp_path):
    done = subprocess.run(
        [TOCSIN, "watch", "--db", "w.db", "--port", "0", "--for", "1s"],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert "/first-run" in done.stderr
    from tocsin.watch import auth

    store = Store.open(str(tmp_path / "w.db"))
    with store.writing() as con:
        auth.create_account(con, store.clock, "ada", "correct horse battery", "admin")
    store.close()
    done = subprocess.run(
        [TOCSIN, "watch", "--db", "w.db", "--port", "0", "--for", "1s"],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert "/first-run" not in done.stderr


@pytest.mark.parametrize("first", ["--demo", ""])
def test_simulated_patients_never_lie_among_real_ones(tmp_path, first):
    """A store that was one kind is refused as the other."""
    from tocsin.watch.roles import SYSTEM
    from watched import fever

    store = Store.open(str(tmp_path / "w.db"))
    service = Service(store, lib=LIB)
    service.start()
    moment = datetime.now(UTC) - timedelta(hours=1)
    service.ingest([{**fever("p1", 0), "time": moment.isoformat()}], SYSTEM)
    service.stop()
    if first:
        from tocsin.watch.schema import settings

        with store.writing() as con:
            con.execute(settings.insert().values(name="demo", value="1"))
    store.close()
    other = [] if first else ["--demo"]
    done = subprocess.run(
        [TOCSIN, "watch", "--db", "w.db", "--port", "0", "--for", "1s", *other],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "taken for real" in done.stderr
