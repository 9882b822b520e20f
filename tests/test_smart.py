"""SMART backend services: a signed statement, once, of a program on the trust list gets a short token."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from doors_watch import House, house
from tocsin.watch.cds_trust import Trust, TrustError
from tocsin.watch.clock import DAY
from tocsin.watch.schema import tokens
from tocsin.watch.smart import ASSERTION, LIFE

KEY = ECKey.generate_key("P-384", {"kid": "one"})
OTHER = ECKey.generate_key("P-384", {"kid": "one"})
BASE = "https://tocsin.example"
CLIENTS = """
[[client]]
name = "Loader"
issuer = "loader"
audience = "https://tocsin.example"
keys = "keys.json"
role = "device"

[[client]]
name = "Reader"
issuer = "reader"
audience = "https://tocsin.example"
keys = "keys.json"
role = "evaluator"

[[client]]
name = "Chart"
issuer = "chart"
audience = "https://tocsin.example"
keys = "keys.json"
"""


@pytest.fixture
def ward(tmp_path: Path) -> Any:
    (tmp_path / "keys.json").write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
    (tmp_path / "clients.toml").write_text(CLIENTS)
    with house(f"sqlite:///{tmp_path}/w.db", cds=Trust.read(tmp_path / "clients.toml")) as built:
        yield built


def statement(key: Any = KEY, alg: str = "ES384", **more: Any) -> str:
    now = int(time.time())
    said = {
        "iss": "loader", "sub": "loader", "aud": f"{BASE}/fhir/auth/token", "exp": now + 200, "iat": now,
        "jti": uuid.uuid4().hex, **more,
    }  # fmt: skip
    claims = {name: value for name, value in said.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": "one"}, claims, key, algorithms=[alg])


def ask(ward: House, assertion: str, scope: str = "system/*.cu", **more: str) -> Any:
    form = {
        "grant_type": "client_credentials", "client_assertion_type": ASSERTION, "scope": scope,
        "client_assertion": assertion, **more,
    }  # fmt: skip
    return ward.client().post("/fhir/auth/token", data=form)


def fever(ward: House, secret: str) -> int:
    body = {
        "resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/p9"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
        "effectiveDateTime": "2026-03-10T11:00:00Z",
        "valueQuantity": {"value": 38.6, "code": "Cel", "system": "http://unitsofmeasure.org"},
    }  # fmt: skip
    return ward.client(secret).post("/fhir/Observation", json=body).status_code


def test_a_program_on_the_list_gets_a_token_that_does_what_its_role_may(ward):
    told = ask(ward, statement())
    assert told.status_code == 200, told.text
    said = told.json()
    assert (said["token_type"], said["expires_in"], said["scope"]) == ("bearer", 300, "system/*.cu")
    assert told.headers["cache-control"] == "no-store"
    assert fever(ward, said["access_token"]) == 201
    assert ward.client(said["access_token"]).get("/fhir/Patient").status_code == 403
    reader = ask(ward, statement(iss="reader", sub="reader"), "system/Observation.read").json()
    assert ward.client(reader["access_token"]).get("/fhir/Patient").status_code == 200
    assert fever(ward, reader["access_token"]) == 403


def test_a_token_ends_and_leaves_no_trace_but_the_log(ward):
    secret = ask(ward, statement()).json()["access_token"]
    ward.clock.set(ward.clock.now() + LIFE + 1)
    assert fever(ward, secret) == 401
    ward.clock.set(ward.clock.now() + 2 * DAY)
    ask(ward, statement())
    with ward.service.store.reading() as con:
        named = [row.name for row in con.execute(tokens.select()) if row.name.startswith("SMART")]
    assert named == ["SMART Loader"]


def test_a_statement_is_good_once(ward):
    said = statement()
    assert ask(ward, said).status_code == 200
    assert ask(ward, said).status_code == 401


@pytest.mark.parametrize(
    "said",
    [
        {"key": OTHER},
        {"aud": f"{BASE}/cds-services/crs"},
        {"aud": "https://elsewhere"},
        {"iss": "stranger"},
        {"sub": "reader"},
        {"sub": None},
        {"exp": int(time.time()) - 100},
        {"jti": None},
        {"iss": "chart", "sub": "chart"},
        {"exp": int(time.time()) + 90_000},
        {"alg": "ES256", "key": ECKey.generate_key("P-256", {"kid": "one"})},
    ],
)
def test_a_statement_of_somebody_else_is_refused(ward, said):
    told = ask(ward, statement(**said))
    assert told.status_code == 401
    assert told.json()["error"] == "invalid_client"
    assert "access_token" not in told.json()


@pytest.mark.parametrize("junk", ["", "x", "a.b.c", "e30.e30.", "e30." * 5000, "\x00", "é"])
def test_what_is_no_statement_is_refused(ward, junk):
    assert ask(ward, junk).status_code == 401


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_assertion_type": "x"}, "invalid_client"),
        ({"scope": "user/*.rs"}, "invalid_scope"),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
    ],
)
def test_a_request_of_another_form_is_refused_as_oauth_says_it(ward, form, error):
    told = ask(ward, statement(), **form)
    assert told.json()["error"] == error
    assert ward.client().post("/fhir/auth/token", json={"a": 1}).json()["error"] == "invalid_request"


def test_what_a_program_needs_to_know_is_open(ward, tmp_path):
    told = ward.client().get("/fhir/.well-known/smart-configuration").json()
    assert told["token_endpoint"] == "http://testserver/fhir/auth/token"
    assert "ES384" in told["token_endpoint_auth_signing_alg_values_supported"]
    security = ward.client().get("/fhir/metadata").json()["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    with house(f"sqlite:///{tmp_path}/other.db") as without:
        assert ask(without, statement()).status_code == 401


def test_a_role_that_is_none_is_refused_when_the_list_is_read(tmp_path):
    (tmp_path / "keys.json").write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
    (tmp_path / "clients.toml").write_text(CLIENTS.replace('"device"', '"captain"'))
    with pytest.raises(TrustError, match="captain"):
        Trust.read(tmp_path / "clients.toml")
