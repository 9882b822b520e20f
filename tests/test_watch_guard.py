"""What stands before every door: what nobody should be able to slip past it."""

from __future__ import annotations

import http.client
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from fastapi.testclient import TestClient

from tocsin.cli.front import cli
from tocsin.watch import audit, auth, oidc, protect
from tocsin.watch.app import create_app
from tocsin.watch.roles import SYSTEM
from tocsin.watch.schema import audit as entries
from tocsin.watch.schema import sessions
from tocsin.watch.service import Service
from tocsin.watch.store import Store
from watched import LIB, HandClock

WORD = "correct horse battery staple"


@pytest.fixture
def store(store_url):
    """A store with one nurse, on each kind of database."""
    opened = Store.open(store_url, HandClock())
    with opened.writing() as con:
        auth.create_account(con, opened.clock, "nina", WORD, "nurse")
    yield opened
    opened.close()


@pytest.fixture
def app(store):
    """The application around it, which goes by one name, and has a page that fails."""
    built = create_app(Service(store, lib=LIB), hosts=frozenset({"ward.test"}))
    built.add_api_route("/broken", lambda: 1 / 0)
    return built


@pytest.fixture
def client(app):
    """A browser before it."""
    return TestClient(
        app, base_url="http://ward.test", headers={"accept": "text/html"}, follow_redirects=False,
        raise_server_exceptions=False,
    )  # fmt: skip


def sign_in(client, name="nina", password=WORD):
    return client.post("/sign-in", data={"name": name, "password": password})


@pytest.mark.parametrize("host", ["[", "a]b", "evil.test", ""])
def test_a_name_that_is_not_ours_is_refused_whatever_it_looks_like(client, host):
    assert client.get("/health", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("origin", ["http://[x", "null", "http://evil.test", "http://ward.test.evil.test"])
def test_a_form_from_elsewhere_is_refused_whatever_it_says_of_itself(client, origin):
    answer = client.post("/sign-in", data={"name": "nina", "password": WORD}, headers={"origin": origin})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "path", ["/health", "/sign-in", "/nothing", "/patients", "/broken", "/static/board.css"]
)
def test_every_answer_carries_the_headers_also_a_failure(client, path):
    headers = client.get(path).headers
    assert headers["content-security-policy"] == protect.POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert ("no-store" in headers["cache-control"]) is (not path.startswith("/static"))


@pytest.mark.parametrize("said", [None, "", " "])
def test_a_session_changes_nothing_without_the_forms_token(client, said):
    sign_in(client)
    headers = {} if said is None else {"authorization": said}
    assert client.post("/sign-out", headers=headers).status_code == 403


def test_a_store_that_does_not_answer_lets_nothing_past(client, monkeypatch):
    sign_in(client)

    def gone(*_):
        raise sa.exc.OperationalError("select", {}, Exception("gone"))

    monkeypatch.setattr(auth, "_session", gone)
    assert client.post("/sign-out").status_code == 503


def test_signing_in_anew_ends_the_session_before(store, client):
    sign_in(client)
    sign_in(client)
    with store.reading() as con:
        assert len(con.execute(sa.select(sessions)).all()) == 1


def test_many_may_sign_in_from_one_address(client):
    for _ in range(protect.TRIES + 3):
        client.cookies.clear()
        assert sign_in(client).status_code == 303


def test_guesses_sent_at_once_are_counted_one_by_one(client):
    with ThreadPoolExecutor(20) as pool:
        said = [*pool.map(lambda number: sign_in(client, password=f"guess {number}").status_code, range(30))]
    assert said.count(401) <= protect.TRIES


def test_names_are_not_tried_one_after_the_other_from_one_address(client):
    said = [sign_in(client, f"nina{number}").status_code for number in range(protect.TRIES + 1)]
    assert said == [401] * protect.TRIES + [429]


def test_a_name_that_cannot_be_printed_is_nobodys(client):
    assert sign_in(client, "a\x00b").status_code == 401


def test_a_large_body_of_nobody_is_not_read(store, client):
    body, kind = b"x\n" * protect.LARGEST_FORM, {"content-type": "text/csv"}
    assert client.post("/facts", content=body, headers=kind).status_code == 413
    with store.writing() as con:
        _, secret = auth.create_token(con, store.clock, "device")
    known = client.post("/facts", content=body, headers={**kind, "authorization": f"Bearer {secret}"})
    assert known.status_code == 422


def test_an_expired_token_is_not_rotated(store):
    with store.writing() as con:
        number, _ = auth.create_token(con, store.clock, "nurse", days=1)
        store.clock.set(store.clock.now() + 2 * auth.DAY)
        assert auth.rotate_token(con, store.clock, number) is None


def test_an_end_that_was_cut_off_stays_found_when_the_log_goes_on(store):
    with store.writing() as con:
        for _ in range(3):
            audit.note(con, store.clock, SYSTEM, "nothing")
        on = "" if store.sqlite else " on audit"
        con.execute(sa.text(f"drop trigger audit_delete{on}"))
        con.execute(entries.delete().where(entries.c.seq > 2))
        assert audit.verify(con).broken == 3
        audit.note(con, store.clock, SYSTEM, "nothing")
        assert audit.verify(con).broken == 3


def test_the_sites_keys_are_fetched_from_their_address_alone():
    asked = urllib.request.Request("https://keys.test/set")
    sent = oidc.Staying().redirect_request(
        asked, None, 302, "Found", http.client.HTTPMessage(), "http://x.test"
    )
    assert sent is None


def test_an_invitation_from_the_command_line_makes_an_account(store, client):
    url = store.engine.url.render_as_string(hide_password=False)
    told = CliRunner().invoke(cli, ["token", "--db", url, "--role", "physician", "--invite"])
    form = {"code": told.stdout.splitlines()[-1], "name": "paul", "password": WORD}
    assert client.post("/first-run", data=form).status_code == 303
    with store.reading() as con:
        assert auth.check_password(con, "paul", WORD) == "physician"
    assert CliRunner().invoke(cli, ["token", "--db", url, "--invite"]).exit_code == 2
