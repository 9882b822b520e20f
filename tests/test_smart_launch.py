"""SMART launch: the patient's page opens from the record system, for who looks there, and for nobody else."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from urllib.parse import quote, urlencode

import pytest
import sqlalchemy as sa

from doors_watch import PASSWORD
from launches import SECRET, desk, listening
from tocsin.watch import auth
from tocsin.watch.launch import LIFE, Begun
from tocsin.watch.schema import accounts, launch_accounts, sessions


@pytest.fixture
def ward(tmp_path):
    with desk(f"sqlite:///{tmp_path}/w.db", tmp_path) as found:
        yield found


def title(answer):
    """What the page says on top."""
    return re.search(r"<h1>(.*?)</h1>", answer.text)[1]


def people(ward):
    """Every account that came from a record system: name and role."""
    query = sa.select(accounts.c.name, accounts.c.role).join(
        launch_accounts, launch_accounts.c.account == accounts.c.name
    )
    with ward.built.service.store.reading() as con:
        return [tuple(row) for row in con.execute(query.order_by(accounts.c.name))]


def test_from_the_chart_to_the_patient_s_page(ward):
    web = ward.browser()
    answer = ward.launch(web)
    assert answer.status_code == 200
    assert answer.headers["refresh"] == f"0;url=/patient/{ward.built.ref()}"
    page = web.get(f"/patient/{ward.built.ref()}")
    assert page.status_code == 200
    assert 'title="Ward EHR: u-7, nurse"' in page.text
    assert people(ward) == [("Ward EHR: u-7", "nurse")]


def test_what_was_done_is_in_the_log_and_neither_code_nor_state_nor_the_ehr_s_id_of_anybody_is(ward, caplog):
    web = ward.browser()
    back = ward.sent_back(web)
    web.get(back)
    entries = ward.noted()
    begun = [each for each in entries if each["action"] == "session:begin"]
    assert [(each["actor"], each["role"], each["patient"]) for each in begun] == [
        ("Ward EHR: u-7", "nurse", ward.built.ref())
    ]
    assert json.loads(begun[0]["detail"]) == {"launch": "Ward EHR"}
    assert [each["action"] for each in entries if "account" in each["action"]] == ["account:create"]
    secret = re.findall(r"(?:code|state)=([^&]+)", back)
    told = json.dumps(entries) + caplog.text
    assert len(secret) == 2
    assert not any(each in told for each in secret)
    ward.launch(web, "nobody-here")
    assert "nobody-here" not in json.dumps(ward.noted()) + caplog.text


@pytest.mark.parametrize(
    ("client", "shown"), [("public", "client_id"), ("secret", "authorization"), ("key", "client_assertion")]
)
def test_we_say_who_we_are_as_the_record_system_knows_us(tmp_path, client, shown):
    with desk(f"sqlite:///{tmp_path}/w.db", tmp_path, client=client) as ward:
        assert ward.launch(ward.browser()).status_code == 200
        (asked,) = ward.ehr.asked
        assert shown in {*asked.form, *asked.headers}
        assert ("client_id" in asked.form) == (client == "public")
        assert SECRET not in json.dumps(asked.form)


def test_the_launch_works_on_either_database(store_url, tmp_path):
    with desk(store_url, tmp_path) as ward:
        web = ward.browser()
        back = ward.sent_back(web)
        kept = dict(web.cookies)
        assert web.get(back).status_code == 200
        web.cookies.update(kept)
        assert web.get(back).status_code == 400
        assert ward.launch(ward.browser()).status_code == 200
        assert people(ward) == [("Ward EHR: u-7", "nurse")]


def test_who_comes_again_is_the_same_and_another_is_another(ward):
    for subject in ("u-7", "u-8", "u-7"):
        ward.ehr.subject = subject
        assert ward.launch(ward.browser()).status_code == 200
    assert [name for name, _ in people(ward)] == ["Ward EHR: u-7", "Ward EHR: u-8"]


def test_people_of_one_name_are_two_accounts_and_a_local_account_of_that_name_is_a_third(tmp_path):
    """An account is known by the record system's word for somebody, never by what it is called."""
    with desk(f"sqlite:///{tmp_path}/w.db", tmp_path, table={"name_claim": "name"}) as ward:
        with ward.built.service.store.writing() as con:
            auth.create_account(con, ward.built.clock, "Ward EHR: Nina", PASSWORD, "admin")
        ward.ehr.claims = {"name": "Nina"}
        for subject in ("u-7", "u-8", "u-7"):
            ward.ehr.subject = subject
            assert ward.launch(ward.browser()).status_code == 200
        assert people(ward) == [("Ward EHR: Nina (2)", "nurse"), ("Ward EHR: Nina (3)", "nurse")]
        ward.ehr.claims, ward.ehr.subject = {"name": "a\x1b[2J"}, "u-9"
        ward.launch(ward.browser())
        ward.ehr.claims, ward.ehr.subject = {"name": "x" * 300}, "u-10"
        ward.launch(ward.browser())
        names = [name for name, _ in people(ward)]
        assert "Ward EHR: u-9" in names
        assert max(map(len, names)) == 60


def test_an_account_that_came_by_a_launch_opens_by_no_password(ward):
    ward.launch(ward.browser())
    for password in ("", "None", PASSWORD):
        told = ward.browser().post("/sign-in", data={"name": "Ward EHR: u-7", "password": password})
        assert told.status_code == 401


def test_the_role_is_what_the_trust_list_says_and_never_more(ward):
    ward.ehr.claims = {"role": "admin", "groups": ["admin"], "scope": "admin"}
    ward.ehr.answer = {"scope": "launch openid fhirUser user/*.cruds", "role": "admin"}
    web = ward.browser()
    ward.launch(web)
    assert people(ward) == [("Ward EHR: u-7", "nurse")]
    csrf = re.search(r'name="csrf" value="([^"]+)"', web.get("/").text)[1]
    ref = ward.built.ref()
    told = web.post(f"/patient/{ref}/attribution", data={"csrf": csrf})
    assert told.status_code == 403
    with ward.built.service.store.writing() as con:
        con.execute(accounts.update().where(accounts.c.name == "Ward EHR: u-7").values(role="physician"))
    ward.launch(ward.browser())
    assert people(ward) == [("Ward EHR: u-7", "nurse")]
    assert [each["action"] for each in ward.noted()].count("account:role") == 1


def test_who_was_shut_out_here_stays_out_whatever_the_record_system_says(ward):
    web = ward.browser()
    ward.launch(web)
    with ward.built.service.store.writing() as con:
        con.execute(accounts.update().where(accounts.c.name == "Ward EHR: u-7").values(disabled=1))
    assert web.get(f"/patient/{ward.built.ref()}").status_code == 303
    for patient in ("p1", "nobody-here"):
        other = ward.browser()
        answer = ward.launch(other, patient)
        assert (answer.status_code, title(answer)) == (403, "Your account is closed here")
        assert auth.COOKIE not in other.cookies


def test_a_patient_who_is_not_known_is_said_kindly_and_nobody_is_signed_in(ward):
    web = ward.browser()
    answer = ward.launch(web, "nobody-here")
    assert (answer.status_code, title(answer)) == (404, "This patient is not watched here")
    assert "no reassurance" in answer.text
    assert "Nobody was signed in" in answer.text
    assert "nobody-here" not in answer.text
    assert auth.COOKIE not in web.cookies
    assert people(ward) == []
    last = ward.refusal()
    assert (last["actor"], last["patient"], last["launch"]) == ("system", None, "Ward EHR")
    assert (last["count"], last["why"]) == (1, "the patient is not known here")


def test_patients_of_two_record_systems_are_told_apart_by_what_stands_before_their_ids(tmp_path):
    with desk(f"sqlite:///{tmp_path}/w.db", tmp_path, table={"patient_prefix": "north-"}) as ward:
        assert ward.launch(ward.browser(), "p1").status_code == 404
        ward.built.service.set_patient(auth.SYSTEM, "north-p1", bed="1")
        answer = ward.launch(ward.browser(), "p1")
        assert answer.headers["refresh"].endswith(ward.built.ref("north-p1"))


def test_a_record_that_was_merged_opens_the_page_of_its_person(ward):
    ward.built.service.merge(auth.SYSTEM, "p2", "p1")
    web = ward.browser()
    answer = ward.launch(web, "p2")
    assert web.get(answer.headers["refresh"].removeprefix("0;url=")).status_code == 200


def test_two_patients_can_be_opened_at_once(ward):
    web = ward.browser()
    first, second = ward.sent_back(web, "p1"), ward.sent_back(web, "p2")
    assert web.get(first).headers["refresh"].endswith(ward.built.ref("p1"))
    assert web.get(second).headers["refresh"].endswith(ward.built.ref("p2"))


def test_a_launch_ends_the_session_that_a_browser_shows(ward):
    web = ward.browser()
    ward.launch(web)
    kept = web.cookies[auth.COOKIE]
    ward.launch(web)
    assert web.cookies[auth.COOKIE] != kept
    with ward.built.service.store.reading() as con:
        assert con.execute(sa.select(sa.func.count()).select_from(sessions)).scalar() == 1


def test_after_a_launch_its_cookie_is_gone_whatever_came_of_it(ward):
    for patient in ("p1", "nobody-here"):
        web = ward.browser()
        back = ward.sent_back(web, patient)
        assert [name for name in web.cookies if name.startswith("tocsin-launch-")]
        web.get(back)
        assert not [name for name in web.cookies if name.startswith("tocsin-launch-")]


def test_a_ward_that_shares_one_address_is_not_locked_out(ward):
    """Thirty people come from the record system at the change of shifts, through one proxy."""
    for number in range(30):
        ward.ehr.subject = f"u-{number}"
        assert ward.launch(ward.browser()).status_code == 200


def test_the_session_is_as_that_of_any_other_sign_in(ward):
    web = ward.browser()
    cookie = ward.launch(web).headers.get_list("set-cookie")
    session = next(each for each in cookie if each.startswith(f"{auth.COOKIE}=")).lower()
    assert "httponly" in session
    assert "samesite=strict" in session
    ward.built.clock.set(ward.built.clock.now() + auth.IDLE + 1)
    assert web.get(f"/patient/{ward.built.ref()}").headers["location"] == "/sign-in"
    # whoever has no password learns there how to come back
    assert "opens the patient there again" in web.get("/sign-in").text


def test_a_launch_is_ended_after_ten_minutes(ward):
    (system,) = ward.built.app.state.launches
    for age, status in ((LIFE - 5, 403), (LIFE, 400), (-60, 400)):
        begun = Begun(system, int(time.time()) - age, "s" * 43)
        web = ward.browser()
        web.cookies.set(f"tocsin-launch-{begun.state[:8]}", f"{begun.since}.{begun.secret}")
        answer = web.get("/launch/callback", params={"code": "x", "state": begun.state})
        assert answer.status_code == status


def test_in_a_browser_from_the_chart_to_the_page_although_the_cookie_is_strict(tmp_path):
    """The record system is another site to the browser, so a plain redirect would arrive signed out."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium: apt-get install chromium")
    door = socket.create_server(("127.0.0.1", 0))
    ours = f"http://localhost:{door.getsockname()[1]}"
    with (
        desk(f"sqlite:///{tmp_path}/w.db", tmp_path, table={"address": ours}) as ward,
        listening(ward.built.app, door),
        playwright.sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page, said = browser.new_page(), []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        told = {"iss": f"{ward.ehr.base}/fhir", "launch": ward.ehr.opens("p1")}
        page.goto(f"{ward.ehr.base}/chart?to={quote(f'{ours}/launch?{urlencode(told)}', safe='')}")
        page.get_by_role("link", name="Tocsin").click()
        page.wait_for_url(f"{ours}/patient/{ward.built.ref()}")
        assert "Hand-over sheet" in page.locator("main").inner_text()
        (cookie,) = page.context.cookies()
        assert (cookie["name"], cookie["sameSite"], cookie["httpOnly"]) == (auth.COOKIE, "Strict", True)
        page.reload()
        assert page.url == f"{ours}/patient/{ward.built.ref()}"
        page.go_back()
        assert "code=" not in page.url
        page.goto(ours)
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{ours}/sign-in")
        assert said == []
        browser.close()
