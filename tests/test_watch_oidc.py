"""Signed tokens of the site's own sign-in: taken when signed by its keys, for us, now; else nobody's."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from doors_watch import house
from tocsin.watch import oidc

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


def test_a_key_that_is_newer_than_ours_is_fetched_once_a_minute(tmp_path):
    """The site changed its keys: tokens signed by the new one are taken without a restart."""
    site = provider(tmp_path)
    assert site.actor(signed())
    new = RSAKey.generate_key(2048, {"kid": "two"})
    (tmp_path / "keys.json").write_text(json.dumps(KeySet([new]).as_dict(private=False)))
    assert site.actor(signed(new, header={"kid": "two"})) is None
    site._fetched -= oidc.FETCH
    assert site.actor(signed(new, header={"kid": "two"})).name == "nina (signed)"


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J"])
def test_a_signed_name_that_would_move_a_terminal_is_nobodys(tmp_path, name):
    assert provider(tmp_path).actor(signed(sub=name)) is None


def test_a_token_made_to_break_its_reader_is_nobodys(tmp_path):
    deep = urlsafe_b64encode(b"[" * 7000).decode()
    assert provider(tmp_path).actor(f"{deep}.e30.x") is None
