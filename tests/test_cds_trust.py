"""Who may ask for cards: signed by a key of the list, for us, now, once; a wrong list says what is wrong."""

from __future__ import annotations

import hmac
import json
import threading
import time
from base64 import urlsafe_b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from joserfc.jwk import ECKey, KeySet

from cds_client import BASE, CURVE, ISSUER, PATH, RSA, Desk, Ehr, desk, fhir, hook, ill
from doors_watch import house
from tocsin.watch import cds_trust
from tocsin.watch.cds_trust import Trust, TrustError, UntrustedError

OTHER = ECKey.generate_key("P-384", {"kid": "curve"})
SMALL = ECKey.generate_key("P-256", {"kid": "small"})


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ward")
    with desk(f"sqlite:///{folder}/w.db", folder) as found:
        yield found


def once():
    """Remembers identifiers for a test."""
    seen = set()

    def fresh(number, _until):
        known = number in seen
        seen.add(number)
        return not known

    return fresh


def part(told):
    """One part of a token."""
    return urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=").decode()


def claims(**more):
    """What a good token says."""
    now = int(time.time())
    return {"iss": ISSUER, "aud": BASE + PATH, "iat": now, "exp": now + 60, "jti": str(now), **more}


# --- tokens -----------------------------------------------------------------------------------------------


def test_both_recommended_algorithms_are_taken(ward):
    for key, alg in ((CURVE, "ES384"), (RSA, "RS384")):
        assert ward.post(hook(prefetch=ill()), token=Ehr.token(key=key, alg=alg)).status_code == 200
    told = Ehr.token(aud=["https://elsewhere.example", BASE + PATH])
    assert ward.post(hook(prefetch=ill()), token=told).status_code == 200


BAD = {
    "another audience": {"aud": "https://elsewhere.example/cds-services/crs"},
    "the audience of another service": {"aud": f"{BASE}/cds-services/other"},
    "our base alone": {"aud": BASE},
    "no audience": {"aud": None},
    "another issuer": {"iss": "https://evil.example/"},
    "no issuer": {"iss": None},
    "an issuer that is no text": {"iss": [ISSUER]},
    "expired": {"exp": int(time.time()) - 100},
    "no end": {"exp": None},
    "an end that is no moment": {"exp": "soon"},
    "an end beyond all numbers": {"exp": 10**400},
    "an end that is true": {"exp": True},
    "an end for ever": {"exp": int(time.time()) + 10**9},
    "no beginning": {"iat": None},
    "from the future": {"iat": int(time.time()) + 600, "exp": int(time.time()) + 700},
    "not before long": {"nbf": int(time.time()) + 600},
    "no number of its own": {"jti": None},
    "an empty number": {"jti": ""},
    "a number that is no text": {"jti": 7},
}


@pytest.mark.parametrize("more", BAD.values(), ids=BAD)
def test_a_token_for_others_or_for_another_time_is_refused(ward, more):
    answer = ward.post(hook(prefetch=ill()), token=Ehr.token(**more))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    assert "cards" not in answer.json()


HEADS = {
    "no name of its key": {"kid": None},
    "a key that is not there": {"kid": "never"},
    "a name of a key that is no text": {"kid": ["curve"]},
    "another type": {"typ": "dpop+jwt"},
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_token_whose_key_is_not_named_is_refused(ward, head):
    token = f"{part({'alg': 'ES384', 'typ': 'JWT', 'kid': 'curve'} | head)}.{part(claims())}.AAAA"
    if "kid" not in head or head["kid"] == "never":
        token = Ehr.token(header=head)
    assert ward.post(hook(), token=token).status_code == 401


def test_a_token_signed_by_nobody_or_by_another_is_refused(ward):
    good = Ehr.token()
    head, body, seal = good.split(".")
    for bad in (
        "", ".", "..", "a.b.c", "x" * 20_000, f"{head}.{body}", f"{head}.{body}.", f"{good}.{seal}",
        f"{part({'alg': 'none', 'kid': 'curve', 'typ': 'JWT'})}.{body}.",
        f"{part({'alg': 'None', 'kid': 'curve', 'typ': 'JWT'})}.{body}.{seal}",
        f"{head}.{part(claims(jti='changed'))}.{seal}", f"[1].{body}.{seal}", f"{part([1])}.{body}.{seal}",
        f"{part('[' * 2000)}.{body}.{seal}", Ehr.token(key=OTHER), Ehr.token(key=SMALL, alg="ES256"),
        Ehr.token(key=OTHER, header={"jwk": OTHER.as_dict(private=False)}),
    ):  # fmt: skip
        assert ward.post(hook(), token=bad).status_code == 401, bad[:60]


@pytest.mark.parametrize("bits", ["256", "384", "512"])
def test_the_public_key_is_not_taken_for_a_shared_secret(ward, bits):
    said = f"{part({'alg': f'HS{bits}', 'kid': 'curve', 'typ': 'JWT'})}.{part(claims())}"
    for public in (CURVE.as_pem(private=False), json.dumps(CURVE.as_dict(private=False)).encode()):
        seal = urlsafe_b64encode(hmac.new(public, said.encode(), f"sha{bits}").digest()).rstrip(b"=").decode()
        assert ward.post(hook(), token=f"{said}.{seal}").status_code == 401


def test_a_token_counts_once_also_after_a_restart_and_for_another_worker(store_url, tmp_path):
    ehr = Ehr(tmp_path)
    token = ehr.token()
    with house(store_url, cds=ehr.trust()) as built:
        assert Desk(built, ehr).post(hook(prefetch=ill()), token=token).status_code == 200
        again = Desk(built, ehr).post(hook(prefetch=ill()), token=token)
        assert (again.status_code, "used before" in again.json()["why"]) == (401, True)
    with house(store_url, cds=ehr.trust()) as built:
        assert Desk(built, ehr).post(hook(prefetch=ill()), token=token).status_code == 401


def test_the_address_of_keys_in_a_token_is_never_asked(ward):
    """`jku` points at a key set that would hold: a server that is listening hears nothing."""
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for place in (f"http://127.0.0.1:{server.server_port}/keys", "https://evil.example/keys", None):
            token = Ehr.token(key=OTHER, header={"jku": place, "x5u": place} if place else {})
            assert ward.post(hook(), token=token).status_code == 401
    finally:
        server.shutdown()
        server.server_close()
    assert heard == []


def test_a_token_that_names_another_address_than_the_list_is_refused(tmp_path, monkeypatch):
    keys = json.dumps(KeySet([CURVE]).as_dict(private=False)).encode()
    asked = []
    monkeypatch.setattr(cds_trust, "get", lambda url, **_: asked.append(url) or keys)
    trust = Ehr(tmp_path, keys="https://ehr.example/jwks").trust()
    assert (
        trust.admit(Ehr.token(header={"jku": "https://ehr.example/jwks"}), (PATH,), once()).name == "Ward EHR"
    )
    with pytest.raises(UntrustedError, match="jku"):
        trust.admit(Ehr.token(header={"jku": "https://evil.example/jwks"}), (PATH,), once())
    assert asked == ["https://ehr.example/jwks"]


def test_a_new_key_is_looked_for_once_a_minute_and_no_oftener(tmp_path, monkeypatch):
    found = {"keys": [CURVE]}
    asked = []

    def get(url, **_):
        asked.append(url)
        return json.dumps(KeySet(found["keys"]).as_dict(private=False)).encode()

    monkeypatch.setattr(cds_trust, "get", get)
    clock = [1000.0]
    monkeypatch.setattr(cds_trust.time, "monotonic", lambda: clock[0])
    trust = Ehr(tmp_path, keys="https://ehr.example/jwks").trust()
    trust.admit(Ehr.token(), (PATH,), once())
    for _ in range(5):
        with pytest.raises(UntrustedError, match="kid"):
            trust.admit(Ehr.token(key=RSA, alg="RS384"), (PATH,), once())
    assert len(asked) == 1
    found["keys"].append(RSA)
    clock[0] += 61
    trust.admit(Ehr.token(key=RSA, alg="RS384"), (PATH,), once())
    assert len(asked) == 2
    # a key that was taken back ends within the hour
    found["keys"].remove(CURVE)
    clock[0] += 3700
    with pytest.raises(UntrustedError):
        trust.admit(Ehr.token(), (PATH,), once())


def test_one_issuer_for_several_hospitals_is_told_apart_by_tenant(tmp_path):
    (tmp_path / "keys.json").write_text(json.dumps(KeySet([CURVE]).as_dict(private=False)))
    text = "".join(
        f'[[client]]\nname = "{name}"\nissuer = "{ISSUER}"\naudience = "{BASE}"\nkeys = "keys.json"\n'
        f'tenant = "{name}"\n'
        for name in ("north", "south")
    )
    (tmp_path / "c.toml").write_text(text)
    trust = Trust.read(tmp_path / "c.toml")
    assert trust.admit(Ehr.token(tenant="south"), (PATH,), once()).name == "south"
    for tenant in (None, "west", ["south"], ""):
        with pytest.raises(UntrustedError, match="tenant"):
            trust.admit(Ehr.token(tenant=tenant), (PATH,), once())


def test_a_token_for_cards_counts_for_its_feedback_door_and_ours_for_neither(ward):
    for role in ("physician", "admin", "device"):
        assert ward.post(hook(prefetch=ill()), token=ward.built.tokens[role]).status_code == 401
    path = f"{PATH}/feedback"
    body = {"feedback": []}
    assert ward.post(body, path, token=Ehr.token(PATH)).status_code == 400
    assert ward.post(body, path, token=Ehr.token(path)).status_code == 400
    assert ward.post(hook(), PATH, token=Ehr.token(path)).status_code == 401
    # and a record system's token opens no other door
    assert ward.built.client(Ehr.token("/patients")).get("/patients").status_code == 401


def test_without_a_list_every_request_is_refused_and_discovery_stays_open(tmp_path):
    ehr = Ehr(tmp_path)
    with house(f"sqlite:///{tmp_path}/w.db") as built:
        web = Desk(built, ehr)
        assert web.web.get("/cds-services").status_code == 200
        for path in (PATH, f"{PATH}/feedback", "/cds-services/other"):
            assert web.post(hook(prefetch=ill()), path).status_code == 401
            for more in ({}, {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}):
                assert web.web.post(path, json=hook(), headers=more).status_code == 401


def test_a_browser_that_is_signed_in_gets_no_card_by_its_session(ward):
    browser = ward.built.browser("physician")
    assert browser.post(PATH, json=hook(prefetch=ill())).status_code == 401


def test_another_service_is_not_there(ward):
    assert ward.post(hook(), "/cds-services/other").status_code == 404


# --- the list ---------------------------------------------------------------------------------------------

GOOD = {"name": "EHR", "issuer": ISSUER, "audience": BASE, "keys": "keys.json"}


def read(tmp_path, head="", **more):
    """A list of one client, with something changed."""
    told = {name: value for name, value in {**GOOD, **more}.items() if value is not None}
    lines = [head, "[[client]]", *(f"{name} = {json.dumps(value)}" for name, value in told.items())]
    (tmp_path / "c.toml").write_text("\n".join(lines))
    return Trust.read(tmp_path / "c.toml")


WRONG = [
    ({"name": None}, "`name` is missing"), ({"issuer": ""}, "`issuer` is missing"),
    ({"keys": None}, "`keys` is missing"), ({"audience": None}, "`audience` is missing"),
    ({"keys": "http://ehr.example/jwks"}, "https"), ({"keys": "http://127.0.0.1/jwks"}, "https"),
    ({"keys": "https://u:p@ehr.example/jwks"}, "more or less"),
    ({"keys": "file:///etc/passwd"}, "more or less"),
    ({"algorithms": ["none"]}, "`none`"), ({"algorithms": ["HS256"]}, "`HS256`"),
    ({"algorithms": "ES384"}, "list"),
    ({"fhir_servers": ["http://ehr.example/fhir"]}, "https"),
    ({"fhir_servers": ["https://u@ehr.example/fhir"]}, "more or less"),
    ({"fhir_servers": ["https://ehr.example/fhir?x=1"]}, "more or less"),
    ({"fhir_servers": ["https://ehr.example/a/../b"]}, "characters"),
    ({"fhir_servers": ["gopher://ehr.example"]}, "https"), ({"fhir_servers": ["https://[::1"]}, "no address"),
    ({"origins": ["https://ehr.example/page"]}, "origin"), ({"origins": ["*"]}, "more or less"),
    ({"life_seconds": 90_000}, "life_seconds"), ({"life_seconds": True}, "life_seconds"),
    ({"secret": "x"}, "`secret` is not known"), ({"tenant": 5}, "`tenant` is no text"),
    ({"launch": "javascript:alert(1)"}, "more or less"), ({"name": "x" * 61}, "60 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "said"), WRONG, ids=[str(more) for more, _ in WRONG])
def test_a_list_that_cannot_be_used_says_what_is_wrong(tmp_path, more, said):
    with pytest.raises(TrustError, match=said) as caught:
        read(tmp_path, **more)
    assert "c.toml" in str(caught.value)


def test_a_list_of_nobody_or_of_two_that_are_one_is_refused(tmp_path):
    for text in ("", "x = 1", "client = 1", "[[client", 'docs = "javascript:x"\n[[client]]\n'):
        (tmp_path / "c.toml").write_text(text)
        with pytest.raises(TrustError):
            Trust.read(tmp_path / "c.toml")
    one = "\n".join(f"{name} = {json.dumps(value)}" for name, value in GOOD.items())
    (tmp_path / "c.toml").write_text(f"[[client]]\n{one}\n[[client]]\n{one}")
    with pytest.raises(TrustError, match="two clients"):
        Trust.read(tmp_path / "c.toml")
    with pytest.raises(TrustError, match="read"):
        Trust.read(tmp_path / "nowhere.toml")


def test_the_list_is_read_by_the_command(tmp_path):
    import subprocess
    import sys
    from pathlib import Path

    (tmp_path / "c.toml").write_text("[[client]]\nname = 'x'\n")
    words = ["watch", "--db", str(tmp_path / "w.db"), "--port", "0", "--for", "1s", "--clients"]
    done = subprocess.run(
        [Path(sys.executable).with_name("tocsin"), *words, str(tmp_path / "c.toml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "`issuer` is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_keys_are_had_from_the_real_world_by_https_alone(tmp_path):
    """A real server without TLS is not even connected to; nobody is let in by keys that cannot be had."""
    with fhir({}) as server:
        trust = Ehr(tmp_path, keys=f"https://127.0.0.1:{server.http.server_port}/jwks").trust()
        with pytest.raises(UntrustedError, match="cannot be had"):
            trust.admit(Ehr.token(), (PATH,), once())
    assert server.asked == []
