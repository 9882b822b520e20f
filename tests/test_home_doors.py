"""Who may open a patient's own page, and what it opens: nothing of the ward, nobody else's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from athome import ENTRY, invited, phone, token, writes
from doors_watch import ROLES, csrf_of, house
from test_watch_breakin import DOORS, PAGES
from tocsin.cli.front import cli
from tocsin.watch import protect
from tocsin.watch.home import access
from tocsin.watch.keeping import backup, erase, restore
from tocsin.watch.roles import PERMISSIONS, SYSTEM, Actor, may
from tocsin.watch.roles import ROLES as GIVEN
from tocsin.watch.schema import audit as entries
from tocsin.watch.schema import home_access, home_sessions
from tocsin.watch.store import Store
from watched import NOON, HandClock, fever, running

DAY = 24 * 3_600_000_000
PATHS = ("", "/entry", "/diary", "/about", "/worse", "/answer?entry=x", "/offline", "/token")


@pytest.fixture
def home(tmp_path):
    with house(f"sqlite:///{tmp_path}/w.db") as built:
        yield built


def enters(house, path, code, **headers):
    client = house.client(headers={"accept": "text/html", **headers})
    return client.post(path, data={"code": code})


# --- coming in -------------------------------------------------------------------------------------------


def test_link_and_code_are_told_once_and_kept_nowhere(home):
    made = invited(home)
    secret = made["path"].rsplit("/", 1)[1]
    assert len(made["code"]) == 6
    assert made["code"].isdigit()
    with home.service.store.reading() as con:
        row = con.execute(sa.select(home_access)).mappings().one()
        logged = str([dict(each) for each in con.execute(sa.select(entries)).mappings()])
    for word in (secret, made["code"]):
        assert word not in str(dict(row))
        assert word not in logged
    listed = home.as_("nurse").get(f"/patients/{home.ref()}/home").text
    assert secret not in listed
    assert row["code"] not in listed


def test_right_link_and_code_come_in_once(home):
    made = invited(home)
    first = enters(home, made["path"], made["code"])
    assert first.status_code == 303
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert enters(home, made["path"], made["code"]).status_code == 401


def test_the_link_without_the_code_says_nothing_at_all(home):
    """The page and the refusal are the same for a link that was made, used, ended, expired, or never was."""
    fresh, used, ended, dead = (invited(home) for _ in range(4))
    phone_used = enters(home, used["path"], used["code"])
    assert phone_used.status_code == 303
    assert home.as_("nurse").post(f"/patients/{home.ref()}/home/{ended['id']}/end").status_code == 200
    with home.service.store.writing() as con:
        con.execute(home_access.update().where(home_access.c.id == dead["id"]).values(tries=5))
    client = home.client(headers={"accept": "text/html"})
    paths = [each["path"] for each in (fresh, used, ended, dead)] + ["/home/open/" + "x" * 32]
    shown = {client.get(path).text for path in paths}
    assert len(shown) == 1
    refused = [enters(home, path, "000000" if path != "x" else "") for path in paths]
    assert {each.status_code for each in refused} == {401}
    assert len({each.text for each in refused}) == 1
    assert not any("set-cookie" in each.headers for each in refused)


def test_link_and_code_expire_after_a_day(home):
    late, early = invited(home), invited(home)
    assert early["expires"] == "2026-03-11T12:00:00Z"
    home.clock.set(NOON + DAY - 1)
    assert enters(home, early["path"], early["code"]).status_code == 303
    home.clock.set(NOON + DAY)
    assert enters(home, late["path"], late["code"]).status_code == 401


def test_five_wrong_codes_and_the_link_is_dead(home):
    made = invited(home)
    wrong = "000000" if made["code"] != "000000" else "111111"
    for _ in range(access.TRIES):
        assert enters(home, made["path"], wrong).status_code == 401
    assert enters(home, made["path"], made["code"]).status_code == 401
    rows = home.as_("nurse").get(f"/patients/{home.ref()}/home").json()["access"]
    assert [row["state"] for row in rows] == ["dead"]


def test_guesses_at_once_are_counted_one_by_one(home):
    """A race opens no sixth try."""
    made = invited(home)
    home.app.state.tries.most = 10_000
    guesses = [f"{number:06}" for number in range(40) if f"{number:06}" != made["code"]]
    with ThreadPoolExecutor(16) as pool:
        said = set(pool.map(lambda each: enters(home, made["path"], each).status_code, guesses))
    assert said == {401}
    with home.service.store.reading() as con:
        assert con.execute(sa.select(home_access.c.tries)).scalar() == access.TRIES
    assert enters(home, made["path"], made["code"]).status_code == 401


def test_links_are_not_tried_one_after_the_other_from_one_address(home):
    said = [
        enters(home, f"/home/open/{number:032}", "123456").status_code for number in range(protect.TRIES + 1)
    ]
    assert said == [401] * protect.TRIES + [429]


def test_a_ward_invites_many_from_one_address(home):
    for _ in range(protect.TRIES + 1):
        made = invited(home)
        assert enters(home, made["path"], made["code"]).status_code == 303
        home.as_("nurse").post(f"/patients/{home.ref()}/home/{made['id']}/end")


@pytest.mark.parametrize("code", ["", " ", "x" * 5000, "０１２３４５", "1\n2"])
def test_what_is_no_code_is_refused_like_a_wrong_one(home, code):
    assert enters(home, invited(home)["path"], code).status_code == 401


# --- what it opens ---------------------------------------------------------------------------------------


def test_a_patient_opens_no_door_of_the_ward(home):
    client = phone(home)
    csrf = token(client)
    for door in (*PAGES, *DOORS):
        method, path = door.replace("{ref}", home.ref()).replace("{number}", "1").split()
        answer = client.request(method, path, data={"csrf": csrf} if method != "GET" else None)
        assert answer.status_code in (303, 401, 403), door
        if answer.status_code == 303:
            assert answer.headers["location"] == "/sign-in", door
    sent = client.post("/facts", json=fever("p1", 0), headers={"x-csrf-token": csrf, "accept": "*/*"})
    assert sent.status_code in (401, 403)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("role", [*ROLES, "bound", None])
def test_nobody_of_the_ward_opens_a_page_at_home(home, role, path):
    """Neither a token nor a session of staff is a patient; not even one bound to that patient."""
    client = home.as_(role) if role else home.client()
    assert client.get(f"/home{path}").status_code == 401
    if role in ("nurse", "admin"):
        answer = home.browser(role).get(f"/home{path}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/home/closed")


@pytest.mark.parametrize("role", ["device", "evaluator", "admin"])
def test_only_nurse_and_physician_invite(home, role):
    client, ref = home.as_(role), home.ref()
    assert client.post(f"/patients/{ref}/home", json={}).status_code == 403
    assert client.get(f"/patients/{ref}/home").status_code == 403
    assert client.post(f"/patients/{ref}/home/nobody/end").status_code == 403


def test_a_token_bound_to_a_patient_invites_to_no_other(home):
    bound = home.as_("bound")
    assert bound.post(f"/patients/{home.ref('p2')}/home", json={}).status_code == 404
    assert bound.post(f"/patients/{home.ref('p1')}/home", json={}).status_code == 200


def test_two_patients_never_meet(home):
    """Each reads and writes its own; an entry of the other's is answered as one that is not there."""
    one, two = phone(home, "p1"), phone(home, "p2")
    writes(one, words="only mine", entry="entry-one1")
    assert "only mine" in one.get("/home/diary").text
    assert "only mine" not in two.get("/home/diary").text
    assert "something else" not in two.get("/home/answer?entry=entry-one1").text
    assert one.get("/home/token").json()["access"] != two.get("/home/token").json()["access"]


def test_a_form_needs_the_token_of_its_own_session(home):
    one, two = phone(home, "p1"), phone(home, "p2")
    for path in ("/home/entry", "/home/leave", "/home/language"):
        for said in (None, "", "x", token(two)):
            data = {} if said is None else {"csrf": said}
            assert one.post(path, data={"entry": ENTRY, **data}).status_code == 403
        assert (
            one.post(path, data={"csrf": token(one)}, headers={"origin": "http://evil.test"}).status_code
            == 403
        )


def test_staff_and_patient_in_one_browser_stay_two(home):
    """A nurse who tries the page on her own screen is still herself on the ward."""
    client = home.browser("nurse")
    made = invited(home)
    assert client.post(made["path"], data={"code": made["code"]}).status_code == 303
    assert client.get("/home").status_code == 200
    assert (
        client.post("/home/entry", data={"csrf": token(client), "entry": ENTRY, "sign": "chills"}).status_code
        == 303
    )
    ward = csrf_of(client.get(f"/patient/{home.ref()}").text)
    assert client.post("/home/leave", data={"csrf": ward}).status_code == 403
    assert client.post("/sign-out", data={"csrf": token(client)}).status_code == 403


def test_the_role_is_given_by_an_invitation_alone(home):
    assert "patient" not in GIVEN
    assert PERMISSIONS["patient"] == {"home:use"}
    assert not may(Actor("x", "patient", "p1"), "facts:write")
    told = CliRunner().invoke(cli, ["token", "--role", "patient", "--db", "nowhere.db"])
    assert told.exit_code == 2


# --- ending it -------------------------------------------------------------------------------------------


def test_staff_see_who_has_access_and_end_it(home):
    made, client = invited(home, who="caregiver"), home.client(headers={"accept": "text/html"})
    client.post(made["path"], data={"code": made["code"]})
    nurse, ref = home.as_("nurse"), home.ref()
    (row,) = nurse.get(f"/patients/{ref}/home").json()["access"]
    assert (row["who"], row["state"], row["id"]) == ("caregiver", "in use", made["id"])
    assert nurse.post(f"/patients/{home.ref('p2')}/home/{made['id']}/end").status_code == 404
    assert client.get("/home").status_code == 200
    assert nurse.post(f"/patients/{ref}/home/{made['id']}/end").status_code == 200
    assert client.get("/home").headers["location"] == "/home/closed"
    assert nurse.get(f"/patients/{ref}/home").json()["access"][0]["state"] == "ended"
    assert nurse.post(f"/patients/{ref}/home/{made['id']}/end").status_code == 404


def test_the_buttons_on_the_patient_s_page_do_the_same(home):
    nurse, ref = home.browser("nurse"), home.ref()
    part = nurse.get(f"/patient/{ref}/home-access").text
    csrf = csrf_of(part)
    shown = nurse.post(f"/patient/{ref}/home", data={"csrf": csrf, "who": "patient", "language": "es"}).text
    path = "/home/open/" + shown.split("/home/open/")[1].split("<")[0]
    code = shown.split('id="code">')[1].split("<")[0].replace(" ", "")
    assert "2026-03-11 12:00 UTC" in shown
    assert enters(home, path, code).status_code == 303
    listed = nurse.get(f"/patient/{ref}/home-access").text
    assert "in use" in listed
    assert code not in listed
    end = listed.split(f'action="/patient/{ref}/home/')[1].split('"')[0]
    assert nurse.post(f"/patient/{ref}/home/{end}", data={"csrf": csrf}).status_code == 303
    assert "ended" in nurse.get(f"/patient/{ref}/home-access").text
    assert "home-access" in nurse.get(f"/patient/{ref}").text
    assert "home-access" not in home.browser("evaluator").get(f"/patient/{ref}").text


def test_signing_a_phone_out_ends_its_access(home):
    client = phone(home)
    assert client.post("/home/leave", data={"csrf": token(client)}).status_code == 303
    assert client.get("/home").headers["location"] == "/home/closed"


def test_a_phone_that_comes_in_anew_is_the_new_one_alone(home):
    """A second link on the same phone opens its own page, and the access before it ends."""
    client, made = phone(home, "p1"), invited(home, "p2")
    before = client.get("/home/token").json()["access"]
    assert client.post(made["path"], data={"code": made["code"]}).status_code == 303
    assert client.get("/home/token").json()["access"] == made["id"] != before
    listed = home.as_("nurse").get(f"/patients/{home.ref()}/home").json()["access"]
    assert [row["state"] for row in listed] == ["ended"]


def test_a_session_ends_after_thirty_days(home):
    client = phone(home)
    home.clock.set(NOON + 30 * DAY - 1)
    assert client.get("/home").status_code == 200
    home.clock.set(NOON + 30 * DAY)
    assert client.get("/home").headers["location"] == "/home/closed"


def test_nobody_is_invited_who_is_not_watched_and_not_without_end(home):
    ref, nurse = home.ref(), home.as_("nurse")
    for _ in range(access.MOST):
        invited(home)
    assert nurse.post(f"/patients/{ref}/home", json={}).status_code == 409
    assert nurse.post(f"/patients/{home.ref('p2')}/home", json={"language": "xx"}).status_code == 422
    assert nurse.post(f"/patients/{home.ref('p2')}/home", json={"who": "doctor"}).status_code == 422
    nurse.post(f"/patients/{home.ref('p2')}/discharge")
    assert nurse.post(f"/patients/{home.ref('p2')}/home", json={}).status_code == 409
    assert nurse.post(f"/patients/{'x' * 22}/home", json={}).status_code == 404


def test_a_link_of_somebody_discharged_since_is_dead(home):
    made = invited(home)
    home.as_("nurse").post(f"/patients/{home.ref()}/discharge")
    assert enters(home, made["path"], made["code"]).status_code == 401


def test_a_merged_record_s_page_is_that_of_the_person(home):
    """What is written lands under the record it was given for, and is read with the person's."""
    client = phone(home, "p2")
    home.as_("physician").post(f"/patients/{home.ref('p2')}/merge", json={"into": home.ref("p1")})
    assert writes(client, sign=["chills"]).status_code == 303
    assert "Shaking" in client.get("/home/diary").text
    rows = home.service.facts_of("p1").to_pylist()
    assert any(str(row["source"]).startswith("home:") for row in rows)
    listed = home.as_("nurse").get(f"/patients/{home.ref('p1')}/home").json()["access"]
    assert len(listed) == 1


# --- the store -------------------------------------------------------------------------------------------


def test_erasing_a_person_takes_access_and_sessions(store_url):
    with running(store_url) as service:
        service.ingest([fever("p1", -1)], Actor("d", "device"))
        with service.store.writing() as con:
            made = access.invite(con, service.clock, SYSTEM, "p1", who="patient", language="en")
            assert access.accept(con, service.clock, made.secret, made.code)
        counts = erase(service.store, SYSTEM, "p1")
        assert counts["home_access"] == 1
        with service.store.reading() as con:
            assert con.execute(sa.select(home_access)).all() == []
            assert con.execute(sa.select(home_sessions)).all() == []


def test_a_backup_carries_access_and_no_session(tmp_path, store_url):
    with running(store_url) as service:
        service.ingest([fever("p1", -1)], Actor("d", "device"))
        with service.store.writing() as con:
            made = access.invite(con, service.clock, SYSTEM, "p1", who="patient", language="en")
            access.accept(con, service.clock, made.secret, made.code)
        backup(service.store, tmp_path / "b")
    other = Store.open(f"sqlite:///{tmp_path}/other.db", HandClock())
    restore(tmp_path / "b", other)
    with other.reading() as con:
        assert [row["state"] for row in access.listed(con, ("p1",), NOON)] == ["ended"]
    other.close()


def test_every_page_at_home_carries_the_headers_and_is_never_stored(home):
    client = phone(home)
    for path in ("", "/entry", "/worse", "/worker.js", "/nowhere", "/token"):
        headers = client.get(f"/home{path}").headers
        assert headers["content-security-policy"] == protect.POLICY
        assert headers["cache-control"] == "no-store"
    assert client.get("/home/worker.js").headers["service-worker-allowed"] == "/home"


def test_a_failure_says_whom_to_call_and_nothing_about_anybody(home):
    home.app.add_api_route("/home/broken", lambda: 1 / 0)
    page = phone(home).get("/home/broken")
    assert page.status_code == 500
    assert "call your team" in page.text


def test_the_demonstration_opens_a_simulated_patient_by_its_link_alone(tmp_path):
    with house(f"sqlite:///{tmp_path}/w.db", demo_code="let-me-in") as built:
        client = built.client(headers={"accept": "text/html"})
        assert client.get("/home/demo?code=wrong").status_code == 404
        assert client.get("/home/demo?code=let-me-in").status_code == 303
        assert "DEMO" in client.get("/home").text
    with house(f"sqlite:///{tmp_path}/real.db", demo=False, demo_code="let-me-in") as built:
        assert built.client().get("/home/demo?code=let-me-in").status_code == 404
