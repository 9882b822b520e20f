"""Who asks: accounts, sessions, tokens of ours and signed ones of the site; what ends each of them."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from click.testing import CliRunner

from doors_watch import PASSWORD, csrf_of, house
from tocsin.cli.front import cli
from tocsin.watch import auth
from tocsin.watch.roles import ROLES
from tocsin.watch.schema import accounts, invitations, sessions, tokens
from tocsin.watch.schema import audit as entries
from tocsin.watch.store import Store
from watched import HandClock

DAY = auth.DAY
PAGE = {"accept": "text/html"}


@pytest.fixture
def store(store_url):
    """An empty store, on each kind of database."""
    opened = Store.open(store_url, HandClock())
    yield opened
    opened.close()


@pytest.fixture
def built(tmp_path):
    """A running application."""
    with house(f"sqlite:///{tmp_path}/w.db") as running:
        yield running


# --- accounts --------------------------------------------------------------------------------------------


def test_a_password_is_kept_only_as_argon2(store):
    with store.writing() as con:
        auth.create_account(con, store.clock, "nina", PASSWORD, "nurse")
        assert con.execute(sa.select(accounts.c.password)).scalar().startswith("$argon2id$")
        assert auth.check_password(con, "nina", PASSWORD) == "nurse"
        assert auth.check_password(con, "nina", PASSWORD + "x") is None
        assert auth.check_password(con, "nobody", PASSWORD) is None


@pytest.mark.parametrize(
    ("name", "password", "role"),
    [
        ("nina", "short", "nurse"), ("nina", "x" * 11, "nurse"), ("nina", "x" * 201, "nurse"),
        ("nina", "my name is NINA 1", "nurse"), ("", PASSWORD, "nurse"), ("a\nb", PASSWORD, "nurse"),
        ("x" * 61, PASSWORD, "nurse"), ("nina", PASSWORD, "system"), ("taken", PASSWORD, "nurse"),
    ],
)  # fmt: skip
def test_an_account_that_cannot_be_is_refused(store, name, password, role):
    with store.writing() as con:
        auth.create_account(con, store.clock, "taken", PASSWORD, "nurse")
        with pytest.raises(auth.AccountError):
            auth.create_account(con, store.clock, name, password, role)


def test_a_disabled_account_and_one_without_password_are_nobodys(store):
    with store.writing() as con:
        auth.create_account(con, store.clock, "gone", PASSWORD, "nurse")
        con.execute(accounts.update().values(disabled=1))
        name = auth.demo_account(con, store.clock, "visitor")
        assert auth.check_password(con, "gone", PASSWORD) is None
        assert auth.check_password(con, name, "") is None


def test_a_password_kept_under_older_costs_is_kept_anew(store):
    with store.writing() as con:
        auth.create_account(con, store.clock, "nina", PASSWORD, "nurse")
        old = PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)
        con.execute(accounts.update().values(password=old))
        auth.renew_hash(con, "nina", PASSWORD)
        assert con.execute(sa.select(accounts.c.password)).scalar() != old
        assert auth.check_password(con, "nina", PASSWORD) == "nurse"


def test_an_unknown_name_takes_as_long_as_a_wrong_password(store):
    with store.writing() as con:
        auth.create_account(con, store.clock, "nina", PASSWORD, "nurse")
    with store.reading() as con:

        def quickest(name):
            taken = []
            for _ in range(5):
                began = time.perf_counter()
                auth.check_password(con, name, "wrong password here")
                taken.append(time.perf_counter() - began)
            return min(taken)

        assert 0.4 < quickest("nobody") / quickest("nina") < 2.5


# --- the first account -----------------------------------------------------------------------------------


def test_an_invitation_makes_one_account_once(store):
    with store.writing() as con:
        code = auth.invite(con, store.clock)
        assert code not in str(con.execute(sa.select(invitations)).all())
        assert auth.accept(con, store.clock, f" {code} ", "chief", PASSWORD) == "admin"
        with pytest.raises(auth.AccountError, match="used"):
            auth.accept(con, store.clock, code, "second", PASSWORD)


def test_an_invitation_ends_after_half_an_hour_and_a_guess_opens_nothing(store):
    with store.writing() as con:
        code = auth.invite(con, store.clock)
        with pytest.raises(auth.AccountError):
            auth.accept(con, store.clock, "guess", "chief", PASSWORD)
        store.clock.set(store.clock.now() + auth.INVITED)
        with pytest.raises(auth.AccountError):
            auth.accept(con, store.clock, code, "chief", PASSWORD)


def test_a_password_refused_leaves_the_code_good(built):
    with built.service.store.writing() as con:
        code = auth.invite(con, built.clock)
    browser = built.browser()
    form = {"code": code, "name": "chief", "password": "short"}
    assert browser.post("/first-run", data=form).status_code == 422
    done = browser.post("/first-run", data={**form, "password": PASSWORD})
    assert done.status_code == 303
    assert "admin" in browser.get("/").text
    assert built.browser().post("/first-run", data={**form, "password": PASSWORD}).status_code == 422


# --- sessions --------------------------------------------------------------------------------------------


def test_a_session_ends_when_nobody_does_anything_for_half_an_hour(built):
    browser = built.browser("nurse")
    for _ in range(3):
        built.clock.set(built.clock.now() + auth.IDLE - auth.MINUTE)
        assert browser.get("/").status_code == 200
    built.clock.set(built.clock.now() + auth.IDLE)
    ended = browser.get("/")
    assert ended.status_code == 303
    assert ended.headers["location"] == "/sign-in"


def test_a_session_ends_after_twelve_hours_in_any_case(built):
    browser, began = built.browser("nurse"), built.clock.now()
    while built.clock.now() < began + auth.LONGEST - auth.IDLE:
        built.clock.set(built.clock.now() + auth.IDLE // 2)
        assert browser.get("/rows").status_code == 200
    built.clock.set(began + auth.LONGEST)
    assert browser.get("/rows").status_code == 303


def test_signing_out_ends_the_session_and_not_only_the_cookie(built):
    browser = built.browser("nurse")
    kept = browser.cookies[auth.COOKIE]
    csrf = csrf_of(browser.get("/").text)
    assert browser.post("/sign-out", data={"csrf": csrf}).status_code == 303
    again = built.client(headers={**PAGE, "cookie": f"{auth.COOKIE}={kept}"})
    assert again.get("/").status_code == 303


def test_an_account_disabled_ends_its_sessions(built):
    browser = built.browser("nurse")
    with built.service.store.writing() as con:
        con.execute(accounts.update().values(disabled=1))
    assert browser.get("/").status_code == 303


def test_only_the_hash_of_a_session_is_kept(built):
    browser = built.browser("nurse")
    with built.service.store.reading() as con:
        rows = str(con.execute(sa.select(sessions)).all())
    assert browser.cookies[auth.COOKIE] not in rows
    assert auth.digest(browser.cookies[auth.COOKIE]) in rows


# --- tokens of ours --------------------------------------------------------------------------------------


def test_a_token_is_taken_until_it_expires(built):
    with built.service.store.writing() as con:
        _, secret = auth.create_token(con, built.clock, "nurse", days=1)
        rows = str(con.execute(sa.select(tokens)).all())
    assert secret.startswith("tocsin_")
    assert secret not in rows
    assert built.client(secret).get("/patients").status_code == 200
    built.clock.set(built.clock.now() + DAY)
    assert built.client(secret).get("/patients").status_code == 401


def test_a_revoked_token_is_refused_at_once(built):
    with built.service.store.writing() as con:
        assert auth.revoke_token(con, built.clock, built.ids["nurse"])
        assert not auth.revoke_token(con, built.clock, built.ids["nurse"])
    assert built.as_("nurse").get("/patients").status_code == 401


def test_a_rotated_token_may_what_the_old_one_might_and_the_old_one_ends(built):
    with built.service.store.writing() as con:
        number, old = auth.create_token(con, built.clock, "nurse", patient_id="p1", name="pump", days=2)
        built.clock.set(built.clock.now() + DAY)
        _, new = auth.rotate_token(con, built.clock, number)
        row = con.execute(sa.select(tokens).where(tokens.c.hash == auth.digest(new))).one()
        assert auth.rotate_token(con, built.clock, number) is None
    assert (row.role, row.patient_id, row.name) == ("nurse", "p1", "pump")
    assert row.expires == built.clock.now() + DAY
    assert built.client(old).get("/patients").status_code == 401
    assert [each["patient_id"] for each in built.client(new).get("/patients").json()["patients"]] == ["p1"]


def test_the_command_prints_the_token_alone_on_the_last_line(built):
    """While the service runs; what was printed is taken at once."""
    db = built.service.store.engine.url.render_as_string()
    for role in ROLES:
        told = CliRunner().invoke(cli, ["token", "--db", db, "--role", role, "--expires", "30d"])
        assert told.exit_code == 0
        secret = told.stdout.splitlines()[-1]
        assert built.client(secret).post("/facts", json=[]).status_code in (200, 403)


def test_the_command_lists_rotates_and_revokes(tmp_path):
    db = str(tmp_path / "w.db")

    def run(*words):
        return CliRunner().invoke(cli, ["token", "--db", db, *words])

    secret = run("--role", "device", "--patient", "person-77", "--name", "pump 3").stdout.splitlines()[-1]
    listed = run("--list").stdout
    assert "pump 3" in listed
    assert secret not in listed
    assert "person-77" not in listed
    number = next(line.split()[0] for line in listed.splitlines() if "pump 3" in line)
    assert run("--rotate", number).exit_code == 0
    assert "revoked" in run("--list").stdout
    assert run("--revoke", number).exit_code == 1
    assert run("--role", "device", "--list").exit_code == 2
    assert run("--role", "device", "--expires", "soon").exit_code == 2


def test_a_closed_account_is_out_at_once_and_in_again_when_it_is_opened(built):
    """Its sessions end, its password opens nothing, and the log says who and how many."""
    db = built.service.store.engine.url.render_as_string(hide_password=False)

    def run(*words):
        return CliRunner().invoke(cli, ["account", "--db", db, *words])

    browser, other = built.browser("nurse"), built.browser("physician")
    listed = run("--list")
    assert listed.exit_code == 0
    assert "nu-account" in listed.stdout
    assert PASSWORD not in listed.stdout
    closed = run("--close", "nu-account")
    assert (closed.exit_code, "sessions ended: 1" in closed.stderr) == (0, True)
    assert browser.get("/rows").status_code == 303
    assert other.get("/rows").status_code == 200
    with built.service.store.reading() as con:
        assert auth.check_password(con, "nu-account", PASSWORD) is None
    again = run("--close", "nu-account")
    assert (again.exit_code, "closed already" in again.stderr) == (1, True)
    assert run("--open", "nu-account").exit_code == 0
    assert run("--open", "nu-account").exit_code == 1
    with built.service.store.reading() as con:
        assert auth.check_password(con, "nu-account", PASSWORD) == "nurse"
        said = [row.action for row in con.execute(sa.select(entries)) if row.action.startswith("account:")]
    assert said[-2:] == ["account:close", "account:open"]


@pytest.mark.parametrize("name", ["nu-acount", "a\x00b", ""])
def test_an_account_that_is_not_there_is_not_closed(built, name):
    db = built.service.store.engine.url.render_as_string(hide_password=False)
    told = CliRunner().invoke(cli, ["account", "--db", db, "--close", name])
    assert told.exit_code == 1
    assert "fix: tocsin account --list" in told.stderr
    assert CliRunner().invoke(cli, ["account", "--db", db]).exit_code == 2


def test_a_demonstrations_visitor_is_not_signed_out_by_its_fast_clock(tmp_path):
    """Half an hour is half an hour of the visitor's, not of the simulated ward's."""
    with house(f"sqlite:///{tmp_path}/w.db") as built:
        built.clock.speed, built.clock.origin = 60.0, built.clock.source()
        browser = built.browser("nurse")
        built.clock.start += 20 * 60 * auth.MINUTE
        assert browser.get("/rows").status_code == 200
        built.clock.start += 31 * 60 * auth.MINUTE
        assert browser.get("/rows").status_code == 303


def test_who_failed_to_sign_in_and_who_signed_out_is_noted(built):
    browser = built.browser("nurse")
    browser.post("/sign-out", data={"csrf": csrf_of(browser.get("/").text)})
    for name in ("nu-account", "a password typed here"):
        built.browser().post("/sign-in", data={"name": name, "password": "wrong"})
    with built.service.store.reading() as con:
        rows = [(row.action, row.detail) for row in con.execute(sa.select(entries))]
    assert "session:end" in {action for action, _ in rows}
    told = [detail for action, detail in rows if action == "session:refused"]
    assert told == ['{"account":"nu-account"}', '{"account":null}']


def test_a_name_that_a_database_cannot_be_asked_for_is_nobodys(store):
    with store.reading() as con:
        assert auth.check_password(con, "a\x00b", PASSWORD) is None
