"""How the service ends when what it waits for does not answer, and what it says when it cannot begin."""

from __future__ import annotations

import json
import logging
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from tocsin.watch.app import create_app
from tocsin.watch.serve import BeginError, Listen, Server, run, without_messages
from tocsin.watch.service import Service
from tocsin.watch.store import WRITERS, Store, url_of
from watched import LIB, fever

TOCSIN = Path(sys.executable).with_name("tocsin")
#: What an end may take, from the signal to the last sign of the process.
SECONDS = 10.0


@contextmanager
def held(url):
    """The store, kept from writing by somebody else."""
    if "postgresql" in url:
        with psycopg.connect(url_of(url).set(drivername="postgresql").render_as_string(False)) as con:
            con.execute("select pg_advisory_xact_lock(%s)", [WRITERS])
            yield
    else:
        with closing(sqlite3.connect(url_of(url).database, isolation_level=None)) as con:
            con.execute("begin immediate")
            yield


def sent(address, token):
    """What came back for one fact: a status, or None for nothing."""
    body = json.dumps({**fever("p1", 0), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    try:
        request = urllib.request.Request(f"{address}/facts", body.encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_a_store_that_hangs_does_not_keep_the_service_from_ending(store_url):
    """It ends within ten seconds and says so; what waited was not answered for."""
    number, code = (signal.SIGINT, 130) if "postgresql" in store_url else (signal.SIGTERM, 1)
    made = subprocess.run(
        [TOCSIN, "token", "--db", store_url, "--role", "device"], capture_output=True, text=True, check=True
    )
    child = subprocess.Popen(
        [TOCSIN, "watch", "--db", store_url, "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    address = re.search(r"http://\S+", child.stdout.readline())[0]
    answers = []
    with held(store_url):
        sender = threading.Thread(target=lambda: answers.append(sent(address, made.stdout.split()[-1])))
        sender.start()
        time.sleep(1.0)
        began = time.monotonic()
        child.send_signal(number)
        _, told = child.communicate(timeout=60)
        took = time.monotonic() - began
    sender.join()
    assert took < SECONDS
    assert child.returncode == code
    assert "store" in told
    assert "does not answer" in told
    assert "Traceback" not in told
    assert answers[0] != 200


def test_a_service_that_cannot_begin_says_so_and_is_no_success(tmp_path, caplog):
    store = Store.open(str(tmp_path / "w.db"))
    with closing(sqlite3.connect(tmp_path / "w.db")) as con:
        con.execute("drop table facts")
    service = Service(store, lib=LIB)
    with pytest.raises(BeginError, match="could not begin"):
        run(Server(create_app(service), service, Listen(port=0)))
    store.close()
    assert "beginning failed: sqlalchemy.exc.OperationalError" in caplog.text
    assert "Traceback" not in caplog.text


def test_what_the_web_server_logs_quotes_no_patient(caplog):
    try:
        raise ValueError("Zoë Unmistakable, 39.0")
    except ValueError:
        record = logging.LogRecord("uvicorn.error", 40, "x.py", 1, "Exception", (), sys.exc_info())
    assert not without_messages(record)
    assert "ValueError" in caplog.text
    assert "Unmistakable" not in caplog.text
