"""SMART launch, attacked: nothing is asked elsewhere, nobody comes in on another's launch, code or word."""

from __future__ import annotations

import hmac
import json
import socket
import threading
import time
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from doors_watch import house
from launches import CLIENT, CURVE, OURS, PAGE, RSA, SECRET, US, Desk, desk, listening, running
from test_smart_launch import people, title
from tocsin.watch import auth, launch, launch_tokens, launch_trust
from tocsin.watch.cds_fetch import FetchError, get, post
from tocsin.watch.cds_trust import Trust, TrustError
from tocsin.watch.protect import TRIES, Counts

OTHER = RSAKey.generate_key(2048, {"kid": "rsa"})


@pytest.fixture(scope="module")
def shared_ward(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ward")
    with desk(f"sqlite:///{folder}/w.db", folder) as found:
        yield found


@pytest.fixture
def ward(shared_ward):
    """A ward whose record system behaves, and whose tries are not counted from test to test."""
    ehr = shared_ward.ehr
    ehr.claims, ehr.head, ehr.answer, ehr.sends, ehr.sign, ehr.wrong = {}, {}, {}, {}, None, None
    ehr.key, ehr.algorithm, ehr.user = RSA, "RS256", "Practitioner/7"
    ehr.paths.clear()
    shared_ward.built.app.state.tries = Counts(TRIES, 900.0)
    return shared_ward


def comes_in(web):
    """Whether a browser was let in."""
    return auth.COOKIE in web.cookies


# --- where is asked, and where is sent -------------------------------------------------------------------


def test_a_launch_of_a_system_that_is_not_listed_leaves_nothing_and_asks_nobody(ward):
    base = ward.ehr.base
    port = base.rpartition(":")[2]
    places = [
        f"{base}/fhir/", f"{base}/FHIR", f"{base}/fhir?x=1", f"{base}/fhir#", f" {base}/fhir",
        f"{base}/fhir ",
        f"{base}/other", f"http://localhost:{port}/fhir", f"http://u:p@127.0.0.1:{port}/fhir",
        f"https://127.0.0.1:{port}/fhir", f"{base}/fhir/.well-known/smart-configuration", base,
        f"http://127.1:{port}/fhir", f"http://[::1]:{port}/fhir", f"http://2130706433:{port}/fhir",
        "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/fhir", "file:///etc/passwd",
        "gopher://127.0.0.1:5432/", "https://evil.example/fhir", "//evil.example", "javascript:alert(1)",
        f"{base}/fhir\r\nx: y", "*", "None",
    ]  # fmt: skip
    for place in places:
        answer = ward.begins(ward.browser(), iss=place)
        assert (answer.status_code, title(answer)) == (400, "This record system is not known here"), place
        assert "location" not in answer.headers
        assert "set-cookie" not in answer.headers
        assert place in ("*", "None") or place.strip() not in answer.text
    assert ward.ehr.paths == []


def test_the_browser_is_sent_to_the_listed_address_alone_whatever_the_link_says(ward):
    more = {
        "redirect_uri": "https://evil.example", "authorize": "https://evil.example", "next": "//evil.example",
        "client_id": "evil", "scope": "openid user/*.cruds", "aud": "https://evil.example", "state": "x" * 43,
        "code_challenge": "x", "nonce": "x",
    }  # fmt: skip
    for handle in ("x&redirect_uri=https://evil.example", "x#y", "//evil.example", "x?y=z", "x y+z%20", "é"):
        begun = ward.browser().get(
            "/launch", params={"iss": f"{ward.ehr.base}/fhir", "launch": handle, **more}
        )
        place, _, query = begun.headers["location"].partition("?")
        assert place == f"{ward.ehr.base}/authorize"
        told = httpx.QueryParams(query)
        assert len(told.multi_items()) == len(told) == 10
        assert (told["launch"], told["redirect_uri"]) == (handle, f"{US}/launch/callback")
        assert (told["client_id"], told["scope"]) == (CLIENT, "launch openid fhirUser")
        assert told["state"] != "x" * 43
    assert ward.ehr.paths == []


@pytest.mark.parametrize(
    "query", ["", "iss={iss}", "launch=x", "iss={iss}&launch=", "iss={iss}&iss={iss}&launch=x",
              "iss={iss}&launch=x&launch=y", "iss={iss}&launch=%0a", "iss={iss}&launch={long}"],
)  # fmt: skip
def test_half_a_launch_or_one_said_twice_is_none(ward, query):
    told = query.format(iss=f"{ward.ehr.base}/fhir", long="x" * 5_000)
    answer = ward.browser().get(f"/launch?{told}")
    assert (answer.status_code, title(answer)) == (400, "Open this from the record system")
    assert "set-cookie" not in answer.headers


def test_coming_back_leads_to_the_patients_page_and_nowhere_else(ward):
    for more in ("&next=https://evil.example", "&to=//evil.example", "&redirect_uri=https://evil.example"):
        web = ward.browser()
        answer = web.get(ward.sent_back(web) + more)
        assert answer.headers["refresh"] == f"0;url=/patient/{ward.built.ref()}"
        assert "evil" not in answer.text


@pytest.mark.parametrize("name", ["/launch", "/launch/callback"])
def test_our_pages_are_shown_in_no_frame(ward, name):
    headers = ward.browser().get(name).headers
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


# --- whose launch it is ----------------------------------------------------------------------------------


def test_a_state_that_was_made_up_is_a_stranger(ward):
    for state in ("", "x", "x" * 43, "x" * 44, "é" * 43, "../" * 14 + "x", "x" * 42 + "\n", "'" * 43):
        answer = ward.browser().get("/launch/callback", params={"code": "x", "state": state})
        assert (answer.status_code, title(answer)) == (400, "This launch did not begin here")
    web = ward.browser()
    back = ward.sent_back(web)
    good = httpx.QueryParams(back.partition("?")[2])
    for state in (good["state"][:8] + "x" * 35, good["state"].swapcase(), good["state"][::-1]):
        told = {"code": good["code"], "state": state}
        assert web.get("/launch/callback", params=told).status_code == 400
    assert not comes_in(web)
    assert f"{back.partition('?')[0]}" == "/launch/callback"
    assert web.get(f"{back}&state=x").status_code == 400
    assert "POST /token" not in ward.ehr.paths
    assert web.get(back).status_code == 200


def test_a_launch_that_another_browser_began_opens_nothing(ward):
    """An attacker's own code and state, given to somebody as a link, sign nobody in as the attacker."""
    attacker, victim = ward.browser(), ward.browser()
    theirs = ward.sent_back(attacker)
    ward.begins(victim)
    answer = victim.get(theirs)
    assert (answer.status_code, comes_in(victim)) == (400, False)
    # nor with the victim's own secret under the name of the attacker's launch
    (name,) = [each for each in attacker.cookies if "launch" in each]
    (mine,) = [each for each in victim.cookies if "launch" in each]
    victim.cookies.set(name, victim.cookies[mine])
    assert victim.get(theirs).status_code == 400
    assert "POST /token" not in ward.ehr.paths


def test_a_stolen_code_is_of_no_use_in_another_launch(ward):
    """The record system knows by PKCE that it was not asked for by this launch."""
    victim, attacker = ward.browser(), ward.browser()
    stolen = httpx.QueryParams(ward.sent_back(victim).partition("?")[2])["code"]
    state = httpx.QueryParams(ward.sent_back(attacker).partition("?")[2])["state"]
    answer = attacker.get("/launch/callback", params={"code": stolen, "state": state})
    assert (answer.status_code, title(answer)) == (403, "The record system did not sign you in")
    assert not comes_in(attacker)


def test_what_came_back_once_is_not_taken_twice(ward):
    web = ward.browser()
    back = ward.sent_back(web)
    kept = dict(web.cookies)
    assert web.get(back).status_code == 200
    assert web.get(back).status_code == 400
    again = ward.browser()
    again.cookies.update(kept)
    asked = len(ward.ehr.asked)
    answer = again.get(back)
    assert (answer.status_code, comes_in(again), len(ward.ehr.asked)) == (400, False, asked)
    assert ward.refusal()["why"] == "the state was used before"


def test_two_that_come_back_at_once_are_one(ward):
    web = ward.browser()
    back = ward.sent_back(web)
    kept = dict(web.cookies)

    def again(_):
        other = ward.browser()
        other.cookies.update(kept)
        return other.get(back).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(again, range(4))) == [200, 400, 400, 400]


def test_a_refusal_of_the_record_system_is_said_plainly_and_repeats_none_of_its_words(ward):
    web = ward.browser()
    state = httpx.QueryParams(ward.sent_back(web).partition("?")[2])["state"]
    told = {"error": "access_denied", "error_description": "<b>call evil.example</b>", "state": state}
    answer = web.get("/launch/callback", params=told)
    assert (answer.status_code, title(answer)) == (403, "The record system did not sign you in")
    assert "evil" not in answer.text
    assert "POST /token" not in ward.ehr.paths


def test_a_code_that_comes_with_a_refusal_is_not_exchanged(ward):
    web = ward.browser()
    back = ward.sent_back(web)
    answer = web.get(f"{back}&error=access_denied")
    assert (answer.status_code, title(answer)) == (403, "The record system did not sign you in")
    assert "POST /token" not in ward.ehr.paths
    assert not comes_in(web)


@pytest.mark.parametrize("code", ["", "x" * 5_000, "a\r\nb"])
def test_what_is_no_code_is_not_sent_on(ward, code):
    web = ward.browser()
    state = httpx.QueryParams(ward.sent_back(web).partition("?")[2])["state"]
    assert web.get("/launch/callback", params={"code": code, "state": state}).status_code == 403
    assert "POST /token" not in ward.ehr.paths


@pytest.mark.parametrize("secure", [False, True])
def test_the_cookie_of_a_launch_is_out_of_reach_and_short(ward, tmp_path, secure):
    launches = ward.built.app.state.launches
    with house(f"sqlite:///{tmp_path}/w.db", secure=secure, launches=launches) as built:
        web = built.client(headers=PAGE, base_url="https://testserver" if secure else "http://testserver")
        answer = web.get("/launch", params={"iss": f"{ward.ehr.base}/fhir", "launch": "x"})
    (cookie,) = answer.headers.get_list("set-cookie")
    state = httpx.QueryParams(answer.headers["location"].partition("?")[2])["state"]
    name = f"tocsin-launch-{state[:8]}"
    assert cookie.startswith(f"__Host-{name}=" if secure else f"{name}=")
    words = {each.strip().lower() for each in cookie.split(";")[1:]}
    wanted = {"httponly", "samesite=lax", "path=/", f"max-age={launch.LIFE}"}
    assert words == wanted | ({"secure"} if secure else set())
    assert answer.headers["cache-control"] == "no-store"


# --- two record systems ----------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path):
    """Two record systems on one list: the second one is not to be trusted with what the first one says."""
    with running(tmp_path / "a") as one, running(tmp_path / "b") as other:
        path = one.folder / "clients.toml"
        table = other.table(name="Other EHR", role="evaluator")
        path.write_text(f"{one.table()}\n{table}\n")
        with house(f"sqlite:///{tmp_path}/w.db", launches=launch_trust.read(path)) as built:
            yield Desk(built, one), Desk(built, other)


def test_each_record_systems_people_have_the_role_of_its_own(two):
    for each in two:
        assert each.launch(each.browser()).status_code == 200
    assert people(two[0]) == [("Other EHR: u-7", "evaluator"), ("Ward EHR: u-7", "nurse")]


def test_an_answer_of_the_other_record_system_is_not_taken(two):
    """Mix-up: what one system gave never reaches the other, where it says who it is (RFC 9207)."""
    one, other = two
    one.ehr.sends = {"iss": one.ehr.issuer}
    other.ehr.sends = {"iss": other.ehr.issuer}
    web = one.browser()
    assert one.launch(web).status_code == 200
    web = one.browser()
    begun = httpx.QueryParams(one.begins(web).headers["location"].partition("?")[2])
    for told in ({"iss": other.ehr.issuer}, {"iss": ""}, {"iss": f"{one.ehr.base}/fhir"}):
        answer = web.get("/launch/callback", params={"code": "c", "state": begun["state"], **told})
        assert (answer.status_code, title(answer)) == (403, "The record system could not be believed")
        web.cookies.clear()
        begun = httpx.QueryParams(one.begins(web).headers["location"].partition("?")[2])
    assert one.ehr.paths.count("POST /token") == 1
    assert "POST /token" not in other.ehr.paths


def test_a_record_system_that_always_names_itself_is_not_believed_without(tmp_path):
    with desk(f"sqlite:///{tmp_path}/w.db", tmp_path, table={"says_issuer": True}) as ward:
        assert ward.launch(ward.browser()).status_code == 403
        assert "POST /token" not in ward.ehr.paths
        ward.ehr.sends = {"iss": ward.ehr.issuer}
        assert ward.launch(ward.browser()).status_code == 200


def test_an_id_token_of_the_other_record_system_is_not_taken(two):
    one, other = two
    one.ehr.claims = {"iss": other.ehr.issuer}
    assert one.launch(one.browser()).status_code == 403
    assert people(one) == []


# --- what is signed --------------------------------------------------------------------------------------

NOW = int(time.time())
CLAIMS = {
    "another audience": {"aud": "another"}, "no audience": {"aud": None}, "an empty list": {"aud": []},
    "others' audiences": {"aud": ["a", "b"]}, "several and no presenter": {"aud": [CLIENT, "b"]},
    "another presenter": {"azp": "another"}, "an audience within ours": {"aud": f"{CLIENT}x"},
    "another issuer": {"iss": "https://evil.example"}, "no issuer": {"iss": None}, "a list": {"iss": ["x"]},
    "expired": {"exp": NOW - 100}, "no end": {"exp": None}, "an end that is none": {"exp": "soon"},
    "an end beyond numbers": {"exp": 10**400}, "no beginning": {"iat": None},
    "from the future": {"iat": NOW + 90_000}, "not yet good": {"nbf": NOW + 90_000},
    "no nonce": {"nonce": None}, "another nonce": {"nonce": "x" * 43}, "a nonce in a list": {"nonce": ["x"]},
    "nobody": {"sub": None}, "an empty name": {"sub": ""}, "spaces": {"sub": "  "}, "a number": {"sub": 7},
    "a name that moves a terminal": {"sub": "a\x1b[2J"}, "too long": {"sub": "x" * 256}, "é": {"sub": "é"},
}  # fmt: skip


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS)
def test_what_does_not_hold_signs_nobody_in(ward, claims):
    before, noted = people(ward), len(ward.noted())
    ward.ehr.claims = claims
    web = ward.browser()
    answer = ward.launch(web)
    assert (answer.status_code, title(answer)) == (403, "The record system could not be believed")
    assert (comes_in(web), people(ward)) == (False, before)
    assert ward.refusal()["seq"] > noted


def test_several_audiences_are_taken_where_it_was_made_for_us(ward):
    ward.ehr.claims = {"aud": [CLIENT, "b"], "azp": CLIENT}
    assert ward.launch(ward.browser()).status_code == 200


def part(told):
    """One part of a token."""
    raw = told if isinstance(told, bytes) else json.dumps(told).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(head, claims, seal=b""):
    """A token put together by hand."""
    return f"{part(head)}.{part(claims)}.{part(seal)}"


def shared_secret(public):
    """The public key taken for a shared secret, as somebody outside would sign."""

    def sign(head, claims):
        said = f"{part({**head, 'alg': 'HS256'})}.{part(claims)}"
        return f"{said}.{part(hmac.digest(public, said.encode(), 'sha256'))}"

    return sign


FORGED = {
    "none": lambda head, claims: by_hand({**head, "alg": "none"}, claims),
    "None": lambda head, claims: by_hand({**head, "alg": "None"}, claims),
    "no seal": lambda head, claims: by_hand(head, claims),
    "no alg": lambda head, claims: by_hand({"kid": "rsa"}, claims, b"x"),
    "alg a list": lambda head, claims: by_hand({**head, "alg": ["RS256"]}, claims, b"x"),
    "another's key": lambda head, claims: jwt.encode(head, claims, OTHER),
    "another's key in it": lambda head, claims: jwt.encode(
        {**head, "jwk": OTHER.as_dict(private=False)}, claims, OTHER
    ),
    "an address of keys in it": lambda head, claims: jwt.encode(
        {**head, "jku": "http://127.0.0.1:1/keys"}, claims, OTHER
    ),
    "a key that is not there": lambda head, claims: jwt.encode({**head, "kid": "never"}, claims, OTHER),
    "pem as a secret": shared_secret(RSA.as_pem(private=False)),
    "jwk as a secret": shared_secret(json.dumps(RSA.as_dict(private=False)).encode()),
    "a secret of theirs": lambda head, claims: jwt.encode(
        {**head, "alg": "HS256"}, claims, OctKey.generate_key(256)
    ),
    "an algorithm not listed": lambda head, claims: jwt.encode(
        {**head, "alg": "PS256"}, claims, RSA, algorithms=["PS256"]
    ),
    "a key of another kind": lambda head, claims: by_hand({**head, "kid": "curve"}, claims, b"x" * 96),
    "nothing": lambda head, claims: "",
    "dots": lambda head, claims: "..",
    "deep": lambda head, claims: f"{part(b'[' * 7000)}.e30.x",
    "long": lambda head, claims: jwt.encode(head, {**claims, "x": "x" * 20_000}, RSA),
    "é": lambda head, claims: "é.é.é",
}


@pytest.mark.parametrize("sign", FORGED.values(), ids=FORGED)
def test_what_the_record_system_did_not_sign_signs_nobody_in(ward, sign):
    ward.ehr.sign = sign
    web = ward.browser()
    answer = ward.launch(web)
    assert (answer.status_code, comes_in(web)) == (403, False)


def test_each_listed_algorithm_is_taken(ward):
    for key, algorithm in ((RSA, "RS256"), (RSA, "RS384"), (CURVE, "ES384")):
        ward.ehr.key, ward.ehr.algorithm = key, algorithm
        assert ward.launch(ward.browser()).status_code == 200


@pytest.mark.parametrize(
    "user", ["Patient/1", "RelatedPerson/1", "Person/1", "Device/1", "practitioner/1", "Practitioner/",
             "Practitioner/1/x", "Patient/1?Practitioner/1", "Practitioner/1 ", ""],
)  # fmt: skip
def test_a_patient_or_a_relative_is_not_let_in(ward, user):
    ward.ehr.user = user
    web = ward.browser()
    answer = ward.launch(web)
    assert (answer.status_code, title(answer)) == (403, "This page is for those who treat")
    assert not comes_in(web)


@pytest.mark.parametrize("user", ["Practitioner/a-1.b", "PractitionerRole/9"])
def test_who_treats_is_let_in_however_the_record_system_writes_it(ward, user):
    for written in (user, f"https://ehr.example/fhir/R4/{user}"):
        ward.ehr.claims = {"fhirUser": written}
        assert ward.launch(ward.browser()).status_code == 200
    for wrong in (None, 7, [user], {"reference": user}):
        ward.ehr.claims = {"fhirUser": wrong}
        assert ward.launch(ward.browser()).status_code == 403


# --- the answer for a code -------------------------------------------------------------------------------

ANSWERS = {
    "no id token": {"id_token": None}, "an id token that is none": {"id_token": {"a": 1}},
    "no type": {"token_type": None}, "another type": {"token_type": "mac"}, "a list": {"patient": ["p1"]},
    "a path": {"patient": "../../p1"}, "a search": {"patient": "p1?x=y"}, "an address": {"patient": "//evil"},
    "an empty patient": {"patient": ""}, "a long one": {"patient": "x" * 65}, "a number": {"patient": 1},
}  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_lacks_something_signs_nobody_in(ward, answer):
    ward.ehr.answer = answer
    web = ward.browser()
    assert (ward.launch(web).status_code, comes_in(web)) == (403, False)


def test_where_no_patient_is_open_there_is_no_page(ward):
    web = ward.browser()
    answer = ward.launch(web, None)
    assert (answer.status_code, title(answer), comes_in(web)) == (400, "No patient was open", False)


def told(status, body, **headers):
    """An answer of the token address."""
    return lambda handler: handler.told(status, body, **headers)


JSON = {"Content_Type": "application/json"}
WRONG = {
    "a server error": (told(500, b"{}", **JSON), 502), "unavailable": (told(503, b"", **JSON), 502),
    "no content": (told(204, b"", **JSON), 502), "half": (told(206, b"{}", **JSON), 502),
    "created": (told(201, b"{}", **JSON), 502), "refused": (told(400, b"{}", **JSON), 403),
    "unauthorized": (told(401, b"{}", **JSON), 403),
    "html": (told(200, b"{}", Content_Type="text/html"), 502), "no type": (told(200, b"{}"), 502),
    "packed": (told(200, b"x", Content_Encoding="gzip", **JSON), 502),
    "no JSON": (told(200, b"<p>", **JSON), 403), "nothing": (told(200, b"", **JSON), 403),
    "a list": (told(200, b"[]", **JSON), 403), "deep": (told(200, b"[" * 90_000, **JSON), 403),
    "huge": (told(200, b" " * 200_000, **JSON), 502),
    "nonsense": (lambda handler: handler.wfile.write(b"x\r\n\r\n"), 502),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "status"), WRONG.values(), ids=WRONG)
def test_an_answer_that_is_not_as_it_should_be_signs_nobody_in(ward, wrong, status):
    noted = len(ward.noted())
    ward.ehr.wrong = wrong
    web = ward.browser()
    assert (ward.launch(web).status_code, comes_in(web)) == (status, False)
    assert ward.refusal()["seq"] > noted


def test_a_redirect_of_the_token_address_is_not_followed(ward, tmp_path):
    with running(tmp_path / "trap") as trap:
        for status in (301, 302, 303, 307, 308):
            ward.ehr.wrong = told(status, b"", Location=f"{trap.base}/token")
            assert ward.launch(ward.browser()).status_code == 502
        assert trap.paths == []


def drips(text, *, begin):
    """Sends `begin`, then a byte now and then, for ever."""

    def drip(handler):
        handler.wfile.write(begin)
        for _ in range(400):
            handler.wfile.write(text)
            handler.wfile.flush()
            time.sleep(0.05)

    return drip


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SLOW = {
    "a silent one": drips(b"", begin=b""), "a header that drips": drips(b"x", begin=HEAD + b"X-Y: "),
    "headers that drip": drips(b"a: b\r\n", begin=HEAD),
    "a body that drips": drips(b" ", begin=HEAD + b"Content-Length: 90000\r\n\r\n"),
    "a body without an end": drips(b" ", begin=HEAD + b"Connection: close\r\n\r\n"),
    "chunks that drip": drips(b"1\r\n \r\n", begin=HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", SLOW.values(), ids=SLOW)
def test_a_token_address_that_hangs_or_drips_ends_in_time_and_is_said(ward, wrong, monkeypatch):
    """Each would go on for twenty seconds; the patience of this test is one."""
    monkeypatch.setattr(launch_tokens, "PATIENCE", 1.0)
    ward.ehr.wrong = wrong
    web = ward.browser()
    back = ward.sent_back(web)
    began = time.monotonic()
    answer = web.get(back)
    assert (answer.status_code, title(answer)) == (502, "The record system does not answer")
    assert time.monotonic() - began < 10


def test_what_was_cut_off_is_never_taken_for_whole():
    """A body without a length ends where the connection does: also where we cut it ourselves."""
    door = socket.create_server(("127.0.0.1", 0))

    def serve():
        line, _ = door.accept()
        line.recv(4096)
        line.sendall(HEAD + b"Connection: close\r\n\r\n{}")
        time.sleep(3)
        line.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{door.getsockname()[1]}/token"
    with pytest.raises(FetchError, match=r"too long|could not be asked"):
        post(url, {}, deadline=time.monotonic() + 0.5, headers={}, largest=1_000)
    thread.join()
    door.close()


def test_a_record_system_that_is_down_is_said_and_costs_nobody_a_try(ward):
    ward.ehr.wrong = told(503, b"")
    for _ in range(TRIES + 3):
        assert ward.launch(ward.browser()).status_code == 502
    ward.ehr.wrong = None
    assert ward.launch(ward.browser()).status_code == 200


def test_guessing_codes_is_stopped(ward):
    def guessed():
        web = ward.browser()
        state = httpx.QueryParams(ward.begins(web).headers["location"].partition("?")[2])["state"]
        return web.get("/launch/callback", params={"code": "guess", "state": state}).status_code

    assert [guessed() for _ in range(TRIES + 2)] == [403] * TRIES + [429] * 2
    assert ward.ehr.paths.count("POST /token") == TRIES


def test_pages_elsewhere_cannot_use_up_the_tries_of_a_ward(ward):
    """A picture on a page, of our address: it brings no secret, so it is no try."""
    for _ in range(TRIES + 3):
        ward.browser().get("/launch/callback", params={"code": "x", "state": "x" * 43})
    assert ward.launch(ward.browser()).status_code == 200


def test_record_systems_that_hang_hold_a_few_threads_and_no_more(ward):
    ward.built.app.state.tries = Counts(1_000, 900.0)
    lock, full = threading.Lock(), threading.Event()
    counts = {"now": 0, "most": 0}

    def hang(handler):
        with lock:
            counts["now"] += 1
            counts["most"] = max(counts["most"], counts["now"])
            if counts["now"] >= launch.AT_ONCE:
                full.set()
        full.wait(10)
        time.sleep(0.2)
        with lock:
            counts["now"] -= 1
        handler.told(503, b"")

    ward.ehr.wrong = hang
    door = socket.create_server(("127.0.0.1", 0))
    with listening(ward.built.app, door) as url, ThreadPoolExecutor(3 * launch.AT_ONCE) as pool:
        webs = [httpx.Client(base_url=url, headers=PAGE, timeout=60) for _ in range(3 * launch.AT_ONCE)]
        backs = [ward.sent_back(web) for web in webs]
        done = [pool.submit(web.get, back) for web, back in zip(webs, backs, strict=True)]
        assert {each.result().status_code for each in done} == {502}
    assert counts["most"] == launch.AT_ONCE


# --- the list --------------------------------------------------------------------------------------------

GOOD = {
    "name": "EHR", "iss": "https://ehr.example/fhir", "client_id": "us", "issuer": "https://ehr.example",
    "authorize": "https://ehr.example/authorize", "token": "https://ehr.example/token", "keys": "keys.json",
    "address": "https://tocsin.example/", "role": "nurse",
}  # fmt: skip


def listed(tmp_path, text="", **more):
    """A list of one record system, with something changed."""
    told = {name: value for name, value in {**GOOD, **more}.items() if value is not None}
    lines = ["[[launch]]", *(f"{name} = {json.dumps(value)}" for name, value in told.items()), text]
    (tmp_path / "c.toml").write_text("\n".join(lines))
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "public.json").write_text(json.dumps(OURS.as_dict(private=False)))
    (tmp_path / "shared.json").write_text(json.dumps(OctKey.generate_key(256).as_dict(private=True)))
    (tmp_path / "ours.json").write_text(json.dumps(OURS.as_dict(private=True)))
    (tmp_path / "secret").write_text(SECRET)
    return launch_trust.read(tmp_path / "c.toml")


WRONG_LISTS = [
    *(({name: None}, f"`{name}` is missing") for name in GOOD),
    *(({"role": role}, "may not see patients") for role in ("device", "admin")),
    ({"role": "system"}, "no role `system`"), ({"role": "patient"}, "no role `patient`"),
    *(({name: "http://ehr.example/x"}, "https") for name in ("iss", "authorize", "token", "address")),
    *(({name: "https://u:p@ehr.example/x"}, "more or less") for name in ("authorize", "token", "keys")),
    ({"authorize": "https://ehr.example/x?y=z"}, "more or less"),
    ({"authorize": "javascript:1"}, "more or less"),
    ({"keys": "http://127.0.0.1/jwks"}, "https"), ({"algorithms": ["HS256"]}, "`HS256`"),
    ({"algorithms": ["none"]}, "`none`"), ({"says_issuer": "yes"}, "neither"), ({"secret": "x"}, "not known"),
    ({"secret_file": "nowhere"}, "cannot be read"), ({"secret_file": "empty"}, "holds no secret"),
    ({"private_key": "nowhere"}, "cannot sign"), ({"private_key": "public.json"}, "cannot sign"),
    ({"private_key": "shared.json"}, "cannot sign"), ({"private_key": "secret"}, "cannot sign"),
    ({"private_key": "ours.json", "secret_file": "secret"}, "a secret and a private key"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "said"), WRONG_LISTS, ids=[str(more) for more, _ in WRONG_LISTS])
def test_a_list_that_cannot_be_used_says_what_is_wrong_and_no_secret(tmp_path, more, said):
    with pytest.raises(TrustError, match=said) as caught:
        listed(tmp_path, **more)
    assert "c.toml, launch 1" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_list_of_launches_alone_is_one(tmp_path):
    (system,) = listed(tmp_path)
    assert (system.redirect, system.role) == ("https://tocsin.example/launch/callback", "nurse")
    assert Trust.read(tmp_path / "c.toml").clients == ()
    for each in ("private_key", "secret_file"):
        (system,) = listed(tmp_path, **{each: {"private_key": "ours.json", "secret_file": "secret"}[each]})
        assert SECRET not in json.dumps(system.proof(0)[1])


def test_two_record_systems_that_cannot_be_told_apart_are_refused(tmp_path):
    again = "\n".join(["[[launch]]", *(f"{name} = {json.dumps(value)}" for name, value in GOOD.items())])
    for text, what in ((again, "name"), (again.replace('"EHR"', '"Two"'), "iss")):
        with pytest.raises(TrustError, match=f"one `{what}`"):
            listed(tmp_path, text)
    for text in ("launch = 1", "launch = [1]", "[launch]\nname = 'x'"):
        (tmp_path / "c.toml").write_text(text)
        with pytest.raises(TrustError, match="no list of tables"):
            launch_trust.read(tmp_path / "c.toml")


@pytest.mark.parametrize(("curve", "algorithm"), launch_trust.SIGNS.items())
def test_a_key_signs_as_its_kind_does(curve, algorithm):
    assert launch_trust.signs_with(ECKey.generate_key(curve)) == algorithm
    assert launch_trust.signs_with(RSAKey.generate_key(2048)) == "RS384"
    assert launch_trust.signs_with(RSAKey.generate_key(2048, {"alg": "PS384"})) == "PS384"


def test_a_service_that_knows_no_record_system_opens_for_none(tmp_path):
    with house(f"sqlite:///{tmp_path}/w.db") as built:
        web = built.client(headers={"accept": "text/html"})
        assert web.get("/launch", params={"iss": "https://ehr.example", "launch": "x"}).status_code == 400
        assert web.get("/launch/callback", params={"code": "x", "state": "x" * 43}).status_code == 400


def test_a_key_set_that_drips_a_header_ends_in_time(ward):
    """The same limit of time over everything that is asked for elsewhere."""
    door = socket.create_server(("127.0.0.1", 0))

    def serve():
        line, _ = door.accept()
        line.recv(4096)
        try:
            line.sendall(HEAD)
            for _ in range(200):
                line.sendall(b"a: b\r\n")
                time.sleep(0.05)
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(FetchError):
        get(f"http://127.0.0.1:{door.getsockname()[1]}/keys", deadline=time.monotonic() + 0.5)
    assert time.monotonic() - began < 5
    door.close()
