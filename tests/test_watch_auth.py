"""Who asks: accounts, sessions, tokens of ours and signed ones of the site; what ends each of them."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from click.testing import CliRunner
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from doors_watch import PASSWORD, csrf_of, house
from tocsin.cli.front import cli
from tocsin.watch import auth, oidc
from tocsin.watch.roles import ROLES
from tocsin.watch.schema import accounts, invitations, sessions, tokens
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


# --- signed tokens of the site ---------------------------------------------------------------------------

KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
OTHER = RSAKey.generate_key(2048, {"kid": "one"})
CURVE = ECKey.generate_key("P-256", {"kid": "curve"})
ISSUER, US = "https://sign-in.example", "tocsin"
MAPPED = {"ward-nurses": "nurse", "crs-doctors": "physician"}


def provider(tmp_path, **more):
    """The site's sign-in, its public keys in a file."""
    keys = tmp_path / "keys.json"
    if not keys.exists():
        keys.write_text(json.dumps(KeySet([KEY, CURVE]).as_dict(private=False)))
    told = {"issuer": ISSUER, "audience": US, "keys": str(keys), "role_claim": "groups", "roles": MAPPED}
    return oidc.Provider(**{**told, **more})


def claims(**more):
    """What a good token says."""
    now = int(time.time())
    told = {"iss": ISSUER, "aud": US, "sub": "nina", "groups": ["ward-nurses"], "exp": now + 300, "nbf": now}
    return {name: value for name, value in {**told, **more}.items() if value is not None}


def signed(key=KEY, alg="RS256", header=None, **more):
    """A token signed by the site."""
    return jwt.encode({"alg": alg, "kid": "one", **(header or {})}, claims(**more), key, algorithms=[alg])


def test_a_signed_token_says_who_asks_and_in_which_role(tmp_path):
    site = provider(tmp_path)
    who = site.actor(signed())
    assert (who.name, who.role, who.kind) == ("nina (signed)", "nurse", "oidc")
    assert site.actor(signed(aud=["elsewhere", US], groups="crs-doctors")).role == "physician"
    assert site.actor(signed(CURVE, "ES256", {"kid": "curve"})).role == "nurse"


@pytest.mark.parametrize(
    "more",
    [
        {"aud": "another service"}, {"aud": None}, {"aud": ["a", "b"]}, {"iss": "https://evil.example"},
        {"iss": None}, {"exp": 1}, {"exp": None}, {"exp": "soon"}, {"nbf": 2_000_000_000 * 2},
        {"groups": ["kitchen"]}, {"groups": None}, {"groups": "admin"}, {"groups": [["ward-nurses"]]},
        {"groups": {"ward-nurses": 1}}, {"sub": None}, {"sub": ""}, {"sub": ["nina"]}, {"iss": [ISSUER]},
    ],
    ids=str,
)  # fmt: skip
def test_a_token_for_others_or_for_another_time_is_nobodys(tmp_path, more):
    assert provider(tmp_path).actor(signed(**more)) is None


def unsigned(alg="none"):
    """A token that nobody signed."""
    parts = ({"alg": alg, "kid": "one"}, claims())
    return ".".join(part(each) for each in parts) + "."


def part(told):
    """One part of a token."""
    return urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=").decode()


def test_a_token_signed_by_nobody_or_by_another_is_nobodys(tmp_path):
    site = provider(tmp_path)
    good = signed()
    head, body, seal = good.split(".")
    swapped = part(claims(groups=["crs-doctors"]))
    for bad in (
        unsigned(), unsigned("None"), unsigned("RS256"), f"{head}.{body}.", f"{head}.{swapped}.{seal}",
        signed(OTHER), signed(OTHER, header={"jwk": OTHER.as_dict(private=False)}),
        signed(OTHER, header={"jku": "https://evil.example/keys"}),
    ):  # fmt: skip
        assert site.actor(bad) is None


@pytest.mark.parametrize("bits", ["256", "384", "512"])
def test_the_public_key_is_not_taken_for_a_shared_secret(tmp_path, bits):
    """The library will not even sign so: the token is forged by hand, as somebody outside would."""
    said = f"{part({'alg': f'HS{bits}', 'kid': 'one'})}.{part(claims())}"
    for public in (KEY.as_pem(private=False), json.dumps(KEY.as_dict(private=False)).encode()):
        forged = hmac.new(public, said.encode(), f"sha{bits}").digest()
        token = f"{said}.{urlsafe_b64encode(forged).rstrip(b'=').decode()}"
        assert provider(tmp_path).actor(token) is None


@pytest.mark.parametrize("text", ["", ".", "..", "....", "a.b.c", "e30.e30.e30", "x" * 20_000, "é.é.é"])
def test_what_is_no_token_is_nobodys(tmp_path, text):
    assert provider(tmp_path).actor(text) is None


def test_a_signed_token_may_be_held_to_a_patient(tmp_path):
    site = provider(tmp_path, patient_claim="patient")
    assert site.actor(signed(patient="p1")).patient_id == "p1"
    assert site.actor(signed(patient=["p1"])) is None


def test_without_keys_nobody_comes_in(tmp_path):
    assert provider(tmp_path, keys=str(tmp_path / "not there")).actor(signed()) is None
    (tmp_path / "bad.json").write_text("{")
    assert provider(tmp_path, keys=str(tmp_path / "bad.json")).actor(signed()) is None


WRITTEN = f"""
issuer = "{ISSUER}"
audience = "tocsin"
keys = "https://sign-in.example/keys"
role_claim = "groups"
[roles]
ward-nurses = "nurse"
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("https://sign-in.example/keys", "http://sign-in.example/keys"), ('"nurse"', '"system"'),
        ('audience = "tocsin"', ""), ("[roles]", "surprise = 1\n[roles]"), ("[roles]", "[roles"),
        ("https://sign-in.example/keys", "ftp://sign-in.example/keys"),
    ],
)  # fmt: skip
def test_a_description_of_the_sites_sign_in_that_is_unsafe_is_refused(tmp_path, old, new):
    path = tmp_path / "site.toml"
    path.write_text(WRITTEN)
    assert oidc.Provider.read(path).roles == {"ward-nurses": "nurse"}
    path.write_text(WRITTEN.replace(old, new, 1))
    with pytest.raises(oidc.ProviderError):
        oidc.Provider.read(path)


def test_the_application_takes_a_signed_token_like_its_own(tmp_path):
    with house(f"sqlite:///{tmp_path}/w.db", oidc=provider(tmp_path)) as built:
        assert built.client(signed()).get("/patients").status_code == 200
        assert built.client(signed(groups=["kitchen"])).get("/patients").status_code == 401
        assert built.client(signed(exp=1)).get("/patients").status_code == 401
