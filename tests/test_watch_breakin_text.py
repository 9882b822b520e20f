"""Hostile text is shown as text, hostile addresses lead nowhere; what every answer says, and none does."""

from __future__ import annotations

import logging
import re
from html import unescape
from html.parser import HTMLParser

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from doors_watch import csrf_of, house
from tocsin.watch import auth, protect
from tocsin.watch.board_pages import cell
from tocsin.watch.schema import alerts, facts, patients, sessions
from watched import NOON, fact, fever

PAGE = {"accept": "text/html"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A running application, for attempts that change nothing."""
    with house(f"sqlite:///{tmp_path_factory.mktemp('house')}/w.db") as running:
        yield running


@pytest.fixture
def fresh(tmp_path):
    """A running application of the test's own."""
    with house(f"sqlite:///{tmp_path}/w.db") as running:
        yield running


@pytest.fixture(scope="module")
def physician(built):
    """A physician's browser, and the token its forms carry."""
    browser = built.browser("physician")
    mine = sessions.c.hash == auth.digest(browser.cookies[auth.COOKIE])
    with built.service.store.reading() as con:
        return browser, con.execute(sa.select(sessions.c.csrf).where(mine)).scalar()


# --- hostile text ----------------------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'-alert(1)-'", "{{ 7*191 }}", "${7*191}",
    "'; drop table facts; --", "javascript:alert(1)", "</title><svg onload=alert(1)>",
)  # fmt: skip
FIELDS = {
    "name": 120, "record_number": 60, "ward": 60, "bed": 20, "language": 35, "team_phone": 40,
    "allergies": 500,
}  # fmt: skip
SEEN = ("", "/now", "/why", "/advice", "/facts-list", "/sheet", "/timeline.svg")


class Markup(HTMLParser):
    """What a browser would run of a page."""

    def __init__(self):
        super().__init__()
        self.run = []

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.run += [f"{tag} {name}" for name in told if name.startswith("on")]
        for name in ("href", "src", "action", "formaction", "xlink:href"):
            if re.match(r"\s*javascript:", told.get(name) or ""):
                self.run.append(f"{tag} {name}")
        if tag == "script" and not (told.get("src") or "").startswith("/static/"):
            self.run.append(tag)
        if tag == "img" and told.get("src") == "x":
            self.run.append(tag)


def harmless(text, page):
    """Whether nothing that was sent is run, or was worked out, in a page."""
    found = Markup()
    found.feed(page)
    assert not found.run, (text, found.run)
    assert "1337" not in page


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_text_wherever_it_is_shown(fresh, text):
    nurse = fresh.as_("nurse")
    said = {name: text[:most] for name, most in FIELDS.items()}
    assert nurse.put("/patients", json={"patient_id": "p1", **said}).status_code == 200
    physician = fresh.as_("physician")
    told = physician.post(
        "/facts",
        json=[
            fact("p1", -0.4, "attribution", f"fever={text}", source=text, method=text),
            fever("p1", -0.3, source=f"{text} 2", method=text),
        ],
    )
    assert told.status_code in (200, 422)
    with fresh.service.store.writing() as con:
        con.execute(
            alerts.insert().values(
                id=77, key="k", patient_id="p1", kind="rise", role="nurse", shadow=False, raised=NOON,
                grade=2, before=1, up_to=2, scale="astct-2019", what=text, definition=text,
            )
        )  # fmt: skip
    browser = fresh.browser("physician")
    ref = fresh.ref()
    for path in (*(f"/patient/{ref}{part}" for part in SEEN), "/", "/rows", "/alerts-page", f"/?q={text}"):
        told = browser.get(path)
        assert told.status_code == 200, path
        harmless(text, told.text)
        assert "script-src 'self'" in told.headers["content-security-policy"]
    assert text in unescape(browser.get(f"/patient/{ref}").text)
    csrf = csrf_of(browser.get("/").text)
    told = browser.post("/alert/77/dismiss", data={"csrf": csrf, "reason": "", "other": text})
    harmless(text, told.text)
    harmless(text, browser.get("/alerts-page").text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_form_shown_again_holds_what_was_typed_as_text(built, physician, text):
    browser, csrf = physician
    for part in ("vitals", "facts", "ice", "attribution"):
        typed = dict.fromkeys(
            ("temperature", "time", "value", "cause", "sign", "unit", "measure", "end"), text
        )
        told = browser.post(f"/patient/{built.ref()}/{part}", data={"csrf": csrf, **typed})
        assert told.status_code < 500
        harmless(text, told.text)


@pytest.mark.parametrize("text", HOSTILE)
def test_an_address_is_never_run(built, physician, text):
    """Neither as SQL, nor as a template, nor as markup."""
    browser, _ = physician
    for told in (
        browser.get("/", params={"ward": text, "scale": text, "role": text, "q": text}),
        browser.get("/alerts-page", params={"role": text}),
        browser.get(f"/patient/{text.replace('/', '%2F')}"),
        browser.get(f"/patients/{text.replace('/', '%2F')}/grades"),
        browser.get("/sign-in", params={"next": text}),
        browser.get(f"/patient/{built.ref()}/correct", params={"source": text}),
        built.as_("nurse").get("/patients", params={"ward": text, "after": text[:22]}),
    ):
        assert told.status_code < 500
        if told.headers["content-type"].startswith("text/html"):
            harmless(text, told.text)
    with built.service.store.reading() as con:
        assert con.execute(sa.select(sa.func.count()).select_from(facts)).scalar() >= 2


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_of_an_export_never_begins_a_formula(first):
    assert cell(f'{first}HYPERLINK("x")').startswith("\"'" + first)


def test_the_report_holds_no_formula(built):
    told = built.as_("nurse").get("/report.csv")
    assert told.headers["content-type"].startswith("text/csv")
    for line in told.text.splitlines():
        assert not re.match(r'"?[=+@\t]', line)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../auth.py", "/static/%2e%2e/auth.py", "/static/..%2f..%2fauth.py", "/static/....//auth.py",
        "/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/..%5cauth.py", "/static/",
        "/static/../templates/ward.html", "/patient/../../etc/passwd", "/.git/config", "/auth.py",
    ],
)  # fmt: skip
def test_no_address_leads_out_of_the_folder(built, path):
    told = built.client().get(path)
    assert told.status_code in (303, 401, 404, 405)
    assert "import" not in told.text
    assert "root:" not in told.text


# --- what every answer says, and what none does ----------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/sign-in", "/nothing", "/health", "/patients", "/openapi.json", "/static/board.css", "/demo"],
)
def test_every_answer_carries_the_headers(built, path):
    for client in (built.client(), built.client(headers=PAGE), built.as_("device")):
        if path == "/" and client.headers.get("authorization"):
            continue  # pages are for browsers
        told = client.get(path).headers
        assert told["content-security-policy"] == protect.POLICY
        assert told["x-content-type-options"] == "nosniff"
        assert told["x-frame-options"] == "DENY"
        assert told["referrer-policy"] == "same-origin"
        assert ("no-store" in told["cache-control"]) == (not path.startswith("/static"))


def test_the_policy_lets_in_nothing_inline():
    assert "default-src 'none'" in protect.POLICY
    assert "unsafe" not in protect.POLICY
    assert "frame-ancestors 'none'" in protect.POLICY
    assert "*" not in protect.POLICY


def test_a_name_that_is_not_ours_is_refused(tmp_path):
    """A page elsewhere that points its own name at this computer is not answered."""
    with house(f"sqlite:///{tmp_path}/w.db", hosts=frozenset({"testserver"})) as built:
        assert built.client().get("/health").status_code == 200
        for name in ("evil.example", "testserver.evil.example", "evil.example:80", ""):
            assert built.client(headers={"host": name}).get("/health").status_code == 421


def test_a_body_too_large_is_refused(built):
    nurse = built.as_("nurse")
    assert nurse.put("/patients", content=b"x" * (protect.LARGEST_FORM + 1)).status_code == 413
    told = nurse.post("/facts", content=b"x", headers={"content-length": str(protect.LARGEST + 1)})
    assert told.status_code == 413


def test_too_many_requests_are_refused_and_others_go_on(fresh, monkeypatch):
    monkeypatch.setattr(fresh.app.state.requests, "most", 3)
    nurse = fresh.as_("nurse")
    assert [nurse.get("/alerts").status_code for _ in range(5)][-1] == 429
    assert fresh.as_("evaluator").get("/alerts").status_code == 200


def test_counting_senders_costs_no_memory(monkeypatch):
    monkeypatch.setattr(protect, "SENDERS", 100)
    counts = protect.Counts(5, 60.0)
    for number in range(1000):
        counts.over(f"sender {number}")
    assert len(counts.seen) <= 100


SECRET_NAME, SECRET_NUMBER = "Zyxw Vutsrq", "MRN-77001"


def test_nobody_is_named_in_logs_addresses_and_error_pages(fresh, caplog, monkeypatch):
    """Also where something fails in the middle of a patient."""
    caplog.set_level(logging.DEBUG)
    nurse = fresh.as_("nurse")
    nurse.put("/patients", json={"patient_id": "id-88", "name": SECRET_NAME, "record_number": SECRET_NUMBER})
    nurse.post("/facts", json=[fever("id-88", -0.2, 41.7)])
    ref = fresh.ref("id-88")
    browser = fresh.browser("physician")

    def broken(*_args, **_more):
        raise RuntimeError(f"failed at {SECRET_NAME} id-88 with 41.7")

    for name in ("standing", "facts_of", "grades_of", "advice_of"):
        monkeypatch.setattr(fresh.service, name, broken)
    for path in (f"/patient/{ref}", f"/patient/{ref}/facts-list", f"/patients/{ref}/grades", "/patients"):
        told = browser.get(path)
        assert told.status_code == 500
        for secret in (SECRET_NAME, SECRET_NUMBER, "id-88", "41.7", "Traceback"):
            assert secret not in told.text
    assert browser.get("/patient/id-88").status_code == 404
    # the test's own client logs the addresses it asks for; the service's words are what counts
    logged = "\n".join(
        record.getMessage() for record in caplog.records if not record.name.startswith("httpx")
    )
    assert "failed" in logged
    for secret in (SECRET_NAME, SECRET_NUMBER, "id-88", "41.7"):
        assert secret not in logged


def test_no_link_of_a_page_holds_a_sender_s_id_or_a_name(fresh):
    fresh.as_("nurse").put("/patients", json={"patient_id": "id-88", "name": SECRET_NAME})
    fresh.as_("nurse").post("/facts", json=[fever("id-88", -0.2)])
    browser = fresh.browser("physician")
    for path in ("/", "/alerts-page", f"/patient/{fresh.ref('id-88')}"):
        for address in re.findall(r'(?:href|action|src)="([^"]*)"', browser.get(path).text):
            assert "id-88" not in address
            assert "Zyxw" not in address


def test_the_audit_log_names_nobody(fresh):
    from tocsin.watch.schema import audit as entries

    fresh.as_("nurse").put("/patients", json={"patient_id": "id-88", "name": SECRET_NAME})
    fresh.as_("nurse").post("/facts", json=[fever("id-88", -0.2, 41.7)])
    browser = fresh.browser("physician")
    browser.get(f"/patient/{fresh.ref('id-88')}")
    with fresh.service.store.reading() as con:
        rows = str(con.execute(sa.select(entries)).all())
        known = con.execute(sa.select(patients.c.ref)).scalars().all()
    assert fresh.ref("id-88") in known
    for secret in (SECRET_NAME, "id-88", "41.7"):
        assert secret not in rows
    for action in ("session:begin", "patient:put", "facts:add", "patient:read"):
        assert action in rows


def test_a_failure_is_answered_with_the_headers_and_not_handed_to_the_server(fresh, monkeypatch):
    """What is raised past the application, the server logs with its message, which may quote a patient."""

    def broken(*_args, **_more):
        raise RuntimeError(SECRET_NAME)

    monkeypatch.setattr(fresh.service, "board", broken)
    browser = fresh.browser("nurse")
    strict = TestClient(fresh.app, headers=PAGE, cookies=dict(browser.cookies))
    told = strict.get("/")
    assert told.status_code == 500
    assert told.headers["content-security-policy"] == protect.POLICY
    assert told.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/patient/%00", "/patients/a%00b/grades", "/patients?ward=%00"])
def test_an_address_with_nothing_in_it_is_refused(built, path):
    assert built.as_("nurse").get(path).status_code == 400


@pytest.mark.parametrize("length", ["9" * 5000, "\xb2", "-1", "x"])
def test_a_length_that_is_none_is_no_failure(built, length):
    told = built.as_("nurse").put(
        "/patients", content=b"{}", headers={"content-length": length.encode("latin-1")}
    )
    assert told.status_code in (413, 422)
