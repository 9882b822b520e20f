"""Pages as the service serves them: quick, to whom they belong, and silent about everybody in between."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from wards import PASSWORD, PEOPLE, Ward, opened

PAGE = {"accept": "text/html"}


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """A ward in which no definition is approved yet."""
    with opened(Path(tmp_path_factory.mktemp("ward")), demo=False) as running:
        yield running


@pytest.fixture(scope="module")
def come(ward: Ward) -> Iterator[Callable[[str], httpx.Client]]:
    """Somebody who signed in once."""
    clients: dict[str, httpx.Client] = {}

    def signed_in(name: str) -> httpx.Client:
        if name not in clients:
            clients[name] = httpx.Client(base_url=ward.url, headers=PAGE, timeout=30)
            done = clients[name].post("/sign-in", data={"name": name, "password": PASSWORD})
            assert done.status_code == 303
        return clients[name]

    yield signed_in
    for client in clients.values():
        client.close()


def address(ward: Ward, bed: str = "12") -> str:
    """The page of whoever lies in a bed."""
    return f"/patient/{ward.service.store.ref_of(f'p{bed}')}"


def token(page: str) -> str:
    """What a form of a page carries."""
    return re.search(r'name="csrf" value="([^"]+)"', page)[1]


def test_nothing_is_shown_before_signing_in(ward):
    """Every page sends a stranger to the sign-in page, which knows nobody."""
    with httpx.Client(base_url=ward.url, headers=PAGE) as stranger:
        for path in (
            "/",
            "/rows",
            "/alerts-page",
            address(ward),
            f"{address(ward)}/timeline.svg",
            "/report.csv",
        ):
            answer = stranger.get(path)
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/sign-in")
        assert "Mertens" not in stranger.get("/sign-in").text


def test_a_page_that_is_not_there_says_nothing_about_anybody(ward, come):
    """What to do, in words; no name, no address, no reason that tells."""
    nurse = come("nina")
    for path in ("/nowhere", "/patient/" + "x" * 22, "/alert/99999999999999999999/acknowledge"):
        answer = nurse.get(path)
        assert answer.status_code in (404, 405), path
        assert "Nothing here" in answer.text
        assert not any(name in answer.text for name, *_ in PEOPLE.values())


def test_a_patients_page_comes_at_once(ward, come):
    """The page itself within a tenth of a second; the picture follows."""
    nurse = come("nina")
    nurse.get(address(ward))
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert nurse.get(address(ward)).status_code == 200
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1


def test_before_approval_every_page_says_shadow_and_hides_amounts(ward, come):
    """Grades are shown as drafts; what to give, not how much; how to approve."""
    doctor = come("paul")
    assert "SHADOW" in doctor.get("/").text
    advice = doctor.get(f"{address(ward)}/advice", headers={"x-part": "1"}).text
    assert "doses are hidden" in advice
    assert "tocsin approve" in advice
    assert not re.search(r'class="dose"', advice)
    sheet = doctor.get(f"{address(ward)}/sheet").text
    drugs = sheet.split("Drugs asked for now", 1)[1].split("<h2>", 1)[0]
    assert "hidden until approved" in drugs
    assert not re.search(r"\d\s?mg", drugs)
    assert "allergies: penicillin" in sheet


def test_shadow_alerts_are_the_evaluators_alone(ward, come):
    """Computed, and shown to nobody whose work they would disturb."""
    assert 'class="card alert"' in come("eve").get("/alerts-page").text
    nurse = come("nina")
    assert 'class="card alert"' not in nurse.get("/alerts-page").text
    assert "grade 3, from" not in nurse.get("/rows").text


@pytest.mark.parametrize(("name", "acts"), [("eve", False), ("nina", True)])
def test_only_who_may_act_is_offered_to(ward, come, name, acts):
    """The evaluator looks; the nurse asks for vital signs and charts."""
    client = come(name)
    page = client.get(address(ward, "15")).text
    assert ("Chart vital signs" in page) == acts
    assert ("Ask for vitals" in client.get("/rows").text) == acts


def test_an_evaluator_cannot_chart(ward, come):
    """Nor by sending the form from elsewhere."""
    eve = come("eve")
    csrf = token(eve.get("/").text)
    sent = eve.post(f"{address(ward)}/vitals", data={"csrf": csrf, "heart-rate": "90"})
    assert sent.status_code == 403


def test_who_manages_accounts_sees_no_patient(ward, come):
    """The admin's page says what that role is for."""
    root = come("root")
    assert "sees no patients" in root.get("/").text
    assert root.get(address(ward)).status_code == 403
    assert "Mertens" not in root.get("/alerts-page").text


def test_asking_for_vitals_is_said_on_the_board(ward, come):
    """Everybody sees that it was asked, and when."""
    nurse = come("nina")
    csrf = token(nurse.get("/").text)
    assert nurse.post(f"{address(ward, '15')}/ask", data={"csrf": csrf}).status_code == 303
    assert re.search(r"Asked \d\d:\d\d", come("paul").get("/rows").text)


def test_a_part_is_a_whole_page_for_a_browser_without_script(ward, come):
    """The link to a part leads somewhere."""
    nurse = come("nina")
    alone = nurse.get(f"{address(ward)}/why").text
    assert "<html" in alone
    assert "one vasopressor" in alone
    assert "<html" not in nurse.get(f"{address(ward)}/why", headers={"x-part": "1"}).text


def test_a_reading_is_in_the_audit_log_without_what_was_read(ward, come):
    """Who read whose page; never a name or a value."""
    from sqlalchemy import select

    from tocsin.watch.schema import audit

    come("nina").get(address(ward))
    with ward.service.store.reading() as con:
        rows = con.execute(select(audit).where(audit.c.action == "patient:read")).all()
    assert any(row.actor == "nina" and row.patient == ward.service.store.ref_of("p12") for row in rows)
    assert not any("Mertens" in row.detail for row in rows)


def test_the_report_is_a_table_for_a_spreadsheet(ward, come):
    """CSV, and no cell begins a formula."""
    answer = come("eve").get("/report.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert not re.search(r'(?m)(^|,)"?[=+@]', answer.text)
