"""Attempts to break in: each door by each role, other patients, forged forms, stolen sessions."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from doors_watch import PASSWORD, csrf_of, house
from tocsin.watch import alert_log, auth
from tocsin.watch.roles import SYSTEM
from tocsin.watch.schema import alerts, facts, sessions
from watched import NOON, fever

PAGE = {"accept": "text/html"}
INITIAL = {"D": "device", "N": "nurse", "P": "physician", "E": "evaluator", "A": "admin"}
ALL = "DNPEA"
#: Who may do what, written down a second time: a door that is missing here fails, as does one opened wider.
PAGES = {
    "GET /": ALL, "GET /rows": "NPE", "GET /alerts-page": "NPEA", "GET /alerts-list": "NPE",
    "GET /report.csv": "NPEA", "POST /alert/{number}/acknowledge": "NP", "POST /alert/{number}/dismiss": "NP",
    "POST /alert/{number}/snooze": "NP", "POST /patient/{ref}/ask": "NP",
    "POST /patient/{ref}/acknowledge": "NP", "GET /patient/{ref}": "NPE", "GET /patient/{ref}/now": "NPE",
    "GET /patient/{ref}/fields": "NP", "GET /patient/{ref}/why": "NPE", "GET /patient/{ref}/advice": "NPE",
    "GET /patient/{ref}/timeline.svg": "NPE", "GET /patient/{ref}/facts-list": "NPE",
    "POST /patient/{ref}/vitals": "NP", "POST /patient/{ref}/facts": "NP", "POST /patient/{ref}/ice": "NP",
    "POST /patient/{ref}/attribution": "P", "GET /patient/{ref}/correct": "NP",
    "POST /patient/{ref}/correct": "NP", "GET /patient/{ref}/sheet": "NPE",
    "GET /patient/{ref}/home-access": "NP", "POST /patient/{ref}/home": "NP",
    "POST /patient/{ref}/home/{number}/end": "NP",
}  # fmt: skip
DOORS = {
    "POST /facts": "DNP", "GET /patients": "NPE", "PUT /patients": "NPA", "GET /patients/{ref}": "NPE",
    "GET /patients/{ref}/grades": "NPE", "GET /patients/{ref}/facts": "NPE",
    "GET /patients/{ref}/episodes": "NPE", "GET /patients/{ref}/advice": "NPE",
    "GET /patients/{ref}/alerts": "NPE", "GET /alerts": "NPE", "GET /events": "NPE",
    "POST /alerts/{number}/acknowledge": "NP", "POST /alerts/{number}/dismiss": "NP",
    "POST /alerts/{number}/snooze": "NP", "POST /patients/{ref}/merge": "PA",
    "POST /patients/{ref}/unmerge": "PA", "POST /patients/{ref}/discharge": "NPA",
    "POST /patients/{ref}/home": "NP", "GET /patients/{ref}/home": "NP",
    "POST /patients/{ref}/home/{number}/end": "NP", "GET /cds-feedback": "E",
    "POST /fhir": "DNP", "POST /fhir/": "DNP", "POST /fhir/{kind}": "DNP", "PUT /fhir/{kind}/{id}": "DNP",
    "POST /fhir/{kind}/_search": "NPE", "GET /fhir/{kind}": "NPE", "GET /fhir/{kind}/{id}": "NPE",
    "GET /fhir/{kind}/{id}/_history/{number}": "NPE",
}  # fmt: skip
OPEN = {
    "GET /health", "GET /openapi.json", "GET /sign-in", "POST /sign-in", "POST /sign-out", "GET /first-run",
    "POST /first-run", "GET /demo", "GET /sheet.css", "GET /cds-services", "OPTIONS /cds-services",
    "OPTIONS /cds-services/{name}", "OPTIONS /cds-services/{name}/feedback", "GET /fhir/metadata",
    "GET /fhir/.well-known/smart-configuration", "POST /fhir/auth/token", "GET /launch",
    "GET /launch/callback",
}  # fmt: skip
#: The page at home, which has sessions of its own; `tests/test_home_doors.py` tries every one.
HOME = {
    "GET /home", "GET /home/open/{secret}", "POST /home/open/{secret}", "GET /home/demo", "GET /home/closed",
    "POST /home/leave", "POST /home/language", "GET /home/worse", "GET /home/entry", "POST /home/entry",
    "GET /home/answer", "GET /home/diary", "GET /home/about", "GET /home/offline", "GET /home/token",
    "GET /home/worker.js",
}  # fmt: skip
#: Doors of record systems alone, which sign every request (test_cds_trust): nothing of ours opens them.
SIGNED = {"POST /cds-services/{name}", "POST /cds-services/{name}/feedback"}
BODIES = {
    "POST /alerts/{number}/dismiss": {"reason": "x"}, "PUT /patients": {"patient_id": "p1"},
    "POST /alerts/{number}/snooze": {"until": "2026-03-10T14:00Z"},
    "POST /patients/{ref}/merge": {"into": "x"}, "POST /patients/{ref}/home": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A running application, for attempts that change nothing."""
    with house(f"sqlite:///{tmp_path_factory.mktemp('house')}/w.db") as running:
        yield running


@pytest.fixture
def fresh(tmp_path):
    """A running application of the test's own."""
    with house(f"sqlite:///{tmp_path}/w.db") as running:
        for role in ("nurse", "physician"):
            running.account(role)
        yield running


@pytest.fixture(scope="module")
def signed_in(built):
    """A browser of each role, and the token its forms carry."""
    found = {}
    for role in INITIAL.values():
        browser = built.browser(role)
        hashed = auth.digest(browser.cookies[auth.COOKIE])
        with built.service.store.reading() as con:
            found[role] = (
                browser,
                con.execute(sa.select(sessions.c.csrf).where(sessions.c.hash == hashed)).scalar(),
            )
    return found


def routes(app):
    """Every method and path that the application answers, however it was put together."""
    found, waiting = set(), list(app.routes)
    while waiting:
        route = waiting.pop()
        inner = getattr(route, "original_router", None)
        if inner is not None:
            waiting += inner.routes
        elif getattr(route, "methods", None):
            found |= {f"{method} {route.path}" for method in route.methods - {"HEAD"}}
        else:
            assert route.path == "/static"
    return found


def asked(client, door, ref, **more):
    """One request at a door; the stream of events is not waited for."""
    method, path = door.split(" ")
    return client.request(method, path.replace("{ref}", ref).replace("{number}", "1"), **more)


# --- roles -----------------------------------------------------------------------------------------------


def test_every_door_is_in_the_table(built):
    assert routes(built.app) == PAGES.keys() | DOORS.keys() | OPEN | HOME | SIGNED


@pytest.mark.parametrize("door", sorted(SIGNED))
def test_no_role_of_ours_opens_a_door_of_record_systems(built, signed_in, door):
    for role in INITIAL.values():
        assert asked(built.as_(role), door, "", json={}).status_code == 401
        assert asked(signed_in[role][0], door, "", json={}).status_code == 401


@pytest.mark.parametrize("door", sorted(PAGES))
def test_a_page_opens_for_its_roles_and_for_no_other(built, signed_in, door):
    for initial, role in INITIAL.items():
        browser, csrf = signed_in[role]
        told = asked(browser, door, built.ref(), headers={"x-csrf-token": csrf})
        assert (told.status_code == 403) == (initial not in PAGES[door]), (role, told.status_code)
        assert told.status_code < 500
        if told.status_code == 403:
            assert built.ref() not in told.text


@pytest.mark.parametrize("door", sorted(DOORS))
def test_a_door_opens_for_its_roles_and_for_no_other(built, door):
    for initial, role in INITIAL.items():
        if door == "GET /events" and initial in DOORS[door]:
            continue  # it would not end; that it opens is shown where it is listened to
        # somebody unknown is asked for where the door would change something
        ref = "x" * 22 if door.startswith("POST /patients") else built.ref()
        told = asked(built.as_(role), door, ref, json=BODIES.get(door))
        assert (told.status_code == 403) == (initial not in DOORS[door]), (role, told.status_code)
        assert told.status_code < 500


@pytest.mark.parametrize("door", sorted(PAGES.keys() | DOORS.keys()))
def test_nobody_comes_in_without_saying_who(built, door):
    assert asked(built.client(), door, built.ref()).status_code == 401
    sent_on = asked(built.client(headers=PAGE), door, built.ref())
    assert sent_on.status_code == 303
    assert sent_on.headers["location"] == "/sign-in"


@pytest.mark.parametrize(
    "told",
    [
        "Bearer", "Bearer ", "Bearer tocsin_", "Bearer tocsin_wrong", "Basic bmluYTp4", "tocsin_x",
        "Bearer a.b.c",        "Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ.", "Bearer ' or 1=1 --",
    ],
)  # fmt: skip
def test_what_is_no_token_opens_nothing_even_beside_a_session(built, signed_in, told):
    assert built.client(headers={"authorization": told}).get("/patients").status_code == 401
    browser, _ = signed_in["nurse"]
    assert browser.get("/patients", headers={"authorization": told}).status_code == 401


def test_a_role_cannot_be_asked_for(built):
    device = built.as_("device")
    for more in ({"params": {"role": "admin"}}, {"headers": {"x-role": "admin", "x-forwarded-user": "root"}}):
        assert device.get("/patients", **more).status_code == 403


# --- other patients --------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", sorted(door for door in PAGES.keys() | DOORS.keys() if "{ref}" in door))
def test_a_token_for_one_patient_opens_no_other(built, door):
    """Neither is it said whether there is one: it reads as an address that does not exist."""
    with built.service.store.writing() as con:
        _, bound = auth.create_token(con, built.clock, "physician", patient_id="p1")
        _, strange = auth.create_token(con, built.clock, "physician", patient_id="p-unknown")
    for secret, ref in ((bound, built.ref("p2")), (strange, built.ref("p1"))):
        client = built.client(secret)
        refused = asked(client, door, ref, json=BODIES.get(door))
        absent = asked(client, door, "x" * 22, json=BODIES.get(door))
        assert refused.status_code == absent.status_code == 404


def test_a_token_for_one_patient_lists_and_sends_and_changes_that_one(fresh):
    bound = fresh.client(fresh.tokens["bound"])
    assert [each["patient_id"] for each in bound.get("/patients").json()["patients"]] == ["p1"]
    assert bound.put("/patients", json={"patient_id": "p2", "bed": "9"}).status_code == 404
    sent = bound.post("/facts", json=[fever("p2", -0.5)])
    assert sent.status_code == 422
    assert sent.json()["stored"] == 0


def test_a_token_for_one_patient_acts_on_no_alert_of_another(fresh):
    with fresh.service.store.writing() as con:
        con.execute(
            alerts.insert().values(
                id=901, key="k", patient_id="p2", kind="rise", role="nurse", shadow=False, raised=NOON
            )
        )
    bound = fresh.client(fresh.tokens["bound"])
    for path in ("/alerts/901/acknowledge", "/alert/901/acknowledge"):
        assert bound.post(path).status_code == 404
    with fresh.service.store.reading() as con:
        assert con.execute(sa.select(alerts.c.acknowledged).where(alerts.c.id == 901)).scalar() is None
        assert not alert_log.open_alerts(con, NOON, patient_id="p1") or all(
            row["patient_id"] == "p1" for row in alert_log.open_alerts(con, NOON, patient_id="p1")
        )


# --- forged forms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "carries"),
    [
        ({}, None), ({}, "wrong"), ({}, ""), ({"x-csrf-token": "wrong"}, None),
        ({"origin": "https://evil.example"}, "right"), ({"origin": "null"}, "right"),
        ({"sec-fetch-site": "cross-site"}, "right"), ({"sec-fetch-site": "same-site"}, "right"),
        ({"origin": "http://testserver.evil.example"}, "right"),
        ({"origin": "http://testserver:81"}, "right"),
        ({"content-type": "text/plain"}, "right"),
    ],
)  # fmt: skip
def test_a_form_from_elsewhere_changes_nothing(fresh, headers, carries):
    browser = fresh.browser("nurse")
    csrf = csrf_of(browser.get("/").text)
    data = {"temperature": "39.9", "temperature-unit": "Cel"}
    if carries is not None:
        data["csrf"] = csrf if carries == "right" else carries
    path = f"/patient/{fresh.ref()}/vitals"
    assert browser.post(path, data=data, headers=headers).status_code == 403
    with fresh.service.store.reading() as con:
        assert con.execute(sa.select(sa.func.count()).select_from(facts)).scalar() == 2
    good = browser.post(path, data={**data, "csrf": csrf}, headers={"origin": "http://testserver"})
    assert good.status_code == 303


def test_a_form_of_one_session_is_no_form_of_another(fresh):
    one, other = fresh.browser("nurse"), fresh.browser("physician")
    csrf = csrf_of(other.get("/").text)
    told = one.post(f"/patient/{fresh.ref()}/ice", data={"csrf": csrf, "none": "1"})
    assert told.status_code == 403


def test_a_session_at_the_doors_for_programs_needs_the_token_too(fresh):
    browser = fresh.browser("nurse")
    csrf = csrf_of(browser.get("/").text)
    body = {"patient_id": "p1", "bed": "3"}
    assert browser.put("/patients", json=body).status_code == 403
    assert browser.put("/patients", json=body, headers={"x-csrf-token": csrf}).status_code == 200


def test_a_page_elsewhere_cannot_sign_a_browser_in(fresh):
    data = {"name": "nu-account", "password": PASSWORD}
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert fresh.browser().post("/sign-in", data=data, headers=headers).status_code == 403


# --- sessions, cookies, sign-in --------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True])
def test_the_cookie_is_out_of_reach_of_scripts_other_sites_and_plain_http(tmp_path, secure):
    with house(f"sqlite:///{tmp_path}/w.db", secure=secure) as built:
        scheme = "https" if secure else "http"
        built.account("nurse")
        client = built.client(headers=PAGE, base_url=f"{scheme}://testserver")
        told = client.post("/sign-in", data={"name": "nu-account", "password": PASSWORD})
        cookie = told.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert "domain" not in cookie
    assert ("secure" in cookie, cookie.startswith("__host-tocsin=")) == (secure, secure)
    assert ("strict-transport-security" in told.headers) == secure


def test_a_session_planted_beforehand_is_not_carried_on(fresh):
    planted = "p" * 43
    browser = fresh.client(headers=PAGE, cookies={auth.COOKIE: planted})
    assert browser.post("/sign-in", data={"name": "nu-account", "password": PASSWORD}).status_code == 303
    attacker = fresh.client(headers=PAGE, cookies={auth.COOKIE: planted})
    assert attacker.get("/").status_code == 303


def test_guessing_a_password_is_stopped_and_an_unknown_name_reads_the_same(fresh):
    texts = set()
    for name in ("nu-account", "nobody"):
        told = fresh.browser().post("/sign-in", data={"name": name, "password": "guess" * 3})
        assert told.status_code == 401
        texts.add(told.text)
    assert len(texts) == 1
    statuses = [
        fresh.browser().post("/sign-in", data={"name": "ph-account", "password": f"guess {n}"}).status_code
        for n in range(13)
    ]
    assert statuses[-1] == 429
    right = fresh.browser().post("/sign-in", data={"name": "ph-account", "password": PASSWORD})
    assert right.status_code == 429


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "evil"]
)
def test_signing_in_leads_nowhere_else(fresh, to):
    data = {"name": "nu-account", "password": PASSWORD, "next": to}
    assert fresh.browser().post("/sign-in", data=data).headers["location"] == "/"


def test_a_demonstrations_link_opens_only_a_demonstration(tmp_path):
    with house(f"sqlite:///{tmp_path}/a.db", demo=False, demo_code="code") as real:
        assert real.browser().get("/demo?code=code").status_code == 404
    with house(f"sqlite:///{tmp_path}/b.db", demo_code="code") as shown:
        for code in ("", "wrong", "cod"):
            assert shown.browser().get("/demo", params={"code": code}).status_code == 404
        assert shown.browser().get("/demo?code=code").status_code == 303


def test_a_ward_that_shares_one_address_is_not_locked_out(fresh):
    """Thirty people sign in at the change of shifts, through one proxy."""
    for _ in range(30):
        fresh.browser("nurse")


def test_an_empty_word_of_authority_is_no_way_round_a_forms_token(fresh):
    """A session that names an empty authority is neither a session nor a program."""
    browser = fresh.browser("nurse")
    told = browser.put("/patients", json={"patient_id": "p1", "bed": "3"}, headers={"authorization": ""})
    assert told.status_code == 403


def test_a_page_of_the_same_name_without_tls_is_elsewhere(tmp_path):
    with house(f"sqlite:///{tmp_path}/w.db", secure=True) as built:
        built.account("nurse")
        browser = built.client(headers=PAGE, base_url="https://testserver")
        data = {"name": "nu-account", "password": PASSWORD}
        assert browser.post("/sign-in", data=data, headers={"origin": "http://testserver"}).status_code == 403
        assert (
            browser.post("/sign-in", data=data, headers={"origin": "https://testserver"}).status_code == 303
        )


def test_signing_in_again_ends_the_session_before(fresh):
    browser = fresh.browser("nurse")
    kept = browser.cookies[auth.COOKIE]
    browser.post("/sign-in", data={"name": "ph-account", "password": PASSWORD})
    assert fresh.client(headers={**PAGE, "cookie": f"{auth.COOKIE}={kept}"}).get("/").status_code == 303


def test_a_patient_of_others_reads_as_nobody(fresh):
    """Word for word: a token for one patient cannot ask which others there are."""
    bound = fresh.client(fresh.tokens["bound"])
    for part in ("", "/grades"):
        assert bound.get(f"/patients/{fresh.ref('p2')}{part}").text == bound.get(f"/patients/x{part}").text


@pytest.mark.parametrize("role", ["nurse", "evaluator"])
def test_who_is_held_to_one_patient_sees_no_other_on_the_board(fresh, role):
    """Neither a row, nor a count, nor the name of a ward."""
    service = fresh.service
    for patient, bed in (("p1", "bed-one"), ("p2", "bed-two")):
        service.set_patient(SYSTEM, patient, bed=bed, ward=f"ward of {bed}")
    with service.store.writing() as con:
        _, secret = auth.create_token(con, fresh.clock, role, patient_id="p1")
    for address in ("/", "/rows", "/rows?q=bed-two", "/alerts-page", "/patients", "/alerts"):
        told = fresh.client(secret, headers=PAGE).get(address)
        assert told.status_code == 200, address
        assert "ward of bed-two" not in told.text, address
        assert fresh.ref("p2") not in told.text, address


def test_an_alert_in_shadow_cannot_be_answered_by_its_number(fresh):
    """Who is not shown an alert cannot acknowledge it either."""
    with fresh.service.store.writing() as con:
        alert = {
            "key": "k shadow",
            "patient_id": "p1",
            "kind": "rise",
            "role": "nurse",
            "shadow": True,
            "raised": NOON,
        }
        number = con.execute(alerts.insert().values(alert)).inserted_primary_key[0]
    assert fresh.as_("nurse").post(f"/alerts/{number}/acknowledge").status_code == 404
    with fresh.service.store.reading() as con:
        assert con.execute(sa.select(alerts.c.acknowledged).where(alerts.c.id == number)).scalar() is None
