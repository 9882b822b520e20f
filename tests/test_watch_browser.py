"""The service in a real browser, as people use it: who needs me, what do I do, did it work."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wards import ALERT, Ward, opened, patiently

DOCS = Path(__file__).parents[1] / "docs" / "img"
DESKTOP, PHONE = {"width": 1280, "height": 760}, {"width": 390, "height": 844}
PICTURES = bool(os.environ.get("TOCSIN_SCREENSHOTS"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    """A running service with a ward of every kind."""
    with opened(tmp_path) as running:
        yield running


@dataclass
class Nurse:
    """Somebody at a browser; what the console said is kept."""

    page: Any
    said: list[str]

    def goes(self, path: str) -> None:
        """Open an address and wait until it is whole."""
        self.page.goto(path)
        self.page.wait_for_load_state("load")

    def row(self, bed: str) -> Any:
        """The row of a bed."""
        return self.page.locator("[data-search]").filter(has_text=re.compile(rf"\bBed {bed}\b"))


@pytest.fixture
def sit_down(chromium: Any, ward: Ward) -> Iterator[Any]:
    """Open a browser as somebody with a role, signed in through the sign-in page."""
    contexts = []

    def sit(
        name: str = "nina", *, size: dict[str, int] = DESKTOP, scheme: str = "light", **more: Any
    ) -> Nurse:
        context = chromium.new_context(base_url=ward.url, viewport=size, color_scheme=scheme, **more)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        nurse = Nurse(page, said)
        nurse.goes("/")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(ward.password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/")
        return nurse

    yield sit
    for context in contexts:
        context.close()


def kept(nurse: Nurse, name: str) -> None:
    """Keep a picture for the docs where that was asked for."""
    if PICTURES:
        nurse.page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
        nurse.page.wait_for_timeout(300)
        DOCS.mkdir(exist_ok=True)
        nurse.page.screenshot(path=DOCS / f"{name}.png")


def until(what: Any, seconds: float = 15.0) -> None:
    """Wait until something is so on a page."""
    patiently(what, seconds)


def test_at_a_glance_who_needs_somebody(sit_down):
    """The sickest stands on top, on one screen; who was not measured stands above who is well."""
    nurse = sit_down()
    beds = nurse.page.locator("[data-search] .open:not(.button)").all_inner_texts()
    order = [re.search(r"Bed (\w+)", bed)[1] for bed in beds]
    assert order[0] == "12"
    assert order.index("15") < order.index("1")
    first = nurse.row("12").bounding_box()
    assert first["y"] + first["height"] < DESKTOP["height"]
    assert "need" in nurse.page.locator("#counts").inner_text()
    kept(nurse, "watch-ward")
    assert nurse.said == []


def test_a_wrong_password_says_so_and_nothing_more(chromium, ward):
    """Neither which of the two was wrong, nor whether the name exists."""
    context = chromium.new_context(base_url=ward.url)
    page = context.new_page()
    page.goto("/")
    page.get_by_label("Name").fill("nina")
    page.get_by_label("Password").fill("not her password")
    page.get_by_role("button", name="Sign in").click()
    assert page.locator(".fault").inner_text()
    assert page.get_by_label("Password").input_value() == ""
    context.close()


def test_acknowledged_once_acknowledged_everywhere(sit_down):
    """One press, no reload; another screen shows it without being touched."""
    here, there = sit_down(), sit_down("paul")
    button = here.row("12").get_by_role("button", name="Acknowledge")
    assert there.row("12").get_by_role("button", name="Acknowledge").count() == 1
    button.click()
    until(lambda: here.row("12").get_by_role("button", name="Acknowledge").count() == 0)
    until(lambda: there.row("12").get_by_role("button", name="Acknowledge").count() == 0)
    assert here.page.url.rstrip("/").count("/") == 2


def test_a_value_charted_changes_the_grade_on_every_screen(sit_down):
    """From the form to the badge on another screen in seconds, without a reload."""
    doctor, wall = sit_down("paul"), sit_down()
    assert wall.row("1").get_by_role("img", name="grade 0").count() >= 1
    doctor.row("1").locator("a.open").first.click()
    doctor.page.get_by_label("Temperature", exact=True).fill("39.2")
    doctor.page.get_by_role("button", name="Chart vital signs").click()
    assert "Charted" in doctor.page.locator(".notice").inner_text()
    doctor.page.locator(".grades").get_by_role("img", name=re.compile("grade 1")).first.wait_for()
    until(lambda: wall.row("1").get_by_role("img", name=re.compile("grade 1")).count())
    assert wall.said == []


def test_a_mistake_is_said_beside_its_field(sit_down):
    """What was typed stays, the wrong field says what is wrong and how to mend it."""
    nurse = sit_down()
    nurse.row("12").locator("a.open").first.click()
    nurse.page.get_by_label("Temperature", exact=True).fill("394")
    nurse.page.get_by_label("Heart rate /min").fill("96")
    nurse.page.get_by_role("button", name="Chart vital signs").click()
    field = nurse.page.get_by_label("Temperature", exact=True)
    assert field.get_attribute("aria-invalid") == "true"
    assert "impossible" in nurse.page.locator("#fault-temperature").inner_text()
    assert nurse.page.get_by_label("Heart rate /min").input_value() == "96"


def test_the_patient_in_depth(sit_down):
    """Grade, picture, why, what would change it, what is due, doses: all of it follows the page."""
    doctor = sit_down("paul")
    doctor.row("12").locator("a.open").first.click()
    page = doctor.page
    page.locator("#course svg text", has_text="Temperature").first.wait_for()
    page.locator("#why").get_by_text("What would change it").wait_for()
    page.locator("#advice").get_by_text("Guidelines, side by side").wait_for()
    assert "one vasopressor" in page.locator("#why").inner_text()
    assert "penicillin" in page.locator("header").inner_text()
    picture = page.locator(".drawing")
    picture.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    assert "source" in page.locator(".tip").inner_text()
    page.keyboard.press("Escape")
    kept(doctor, "watch-patient")
    assert doctor.said == []


def test_a_sign_with_another_cause_leaves_the_grade(sit_down):
    """The physician's word wins at once; a nurse is not offered it."""
    doctor, nurse = sit_down("paul"), sit_down()
    doctor.row("12").locator("a.open").first.click()
    page = doctor.page
    page.get_by_text("A sign has another cause").click()
    page.locator("#sign").select_option("hypotension")
    page.locator("#cause").fill("sepsis")
    page.get_by_role("button", name="Attribute").click()
    assert "Noted" in page.locator(".notice").inner_text()
    until(lambda: page.locator(".grades").get_by_role("img", name=re.compile("^grade 3")).count() == 0)
    nurse.row("12").locator("a.open").first.click()
    assert nurse.page.get_by_text("A sign has another cause").count() == 0


def test_ice_is_tapped(sit_down):
    """Seven right of ten: an ICANS grade appears."""
    nurse = sit_down()
    nurse.row("8").locator("a.open").first.click()
    page = nurse.page
    page.get_by_text("ICE, ten points").click()
    for number in range(7):
        page.locator(f"label.tap:has(input[name='ice-{number}'])").click()
    page.get_by_role("button", name="Record ICE").click()
    assert "ICE recorded" in page.locator(".notice").inner_text()
    until(lambda: "ICE 7 to 9" in page.locator(".grades").inner_text())


def test_a_drug_given_is_added_in_its_own_units(sit_down):
    """Choosing the drug brings its units; no other can be chosen."""
    nurse = sit_down()
    nurse.row("8").locator("a.open").first.click()
    page = nurse.page
    page.get_by_text("Anything else").click()
    page.locator("#measure").select_option("tocilizumab")
    page.get_by_label("Dose, may be empty").fill("560")
    assert "mg" in page.locator("#unit").inner_text()
    page.get_by_role("button", name="Add").click()
    assert "Added" in page.locator(".notice").inner_text()
    page.locator("#facts").get_by_text("Tocilizumab").first.wait_for()


def test_a_wrong_value_is_withdrawn_and_stays_in_the_record(sit_down):
    """Correct opens the row; withdrawing it takes it out of the grade."""
    nurse = sit_down()
    nurse.row("2").locator("a.open").first.click()
    page = nurse.page
    page.get_by_role("link", name=re.compile("^Correct Body temperature")).first.click()
    page.get_by_role("button", name="Withdraw").click()
    assert "Corrected" in page.locator(".notice").inner_text()


def test_an_alert_is_dismissed_with_its_reason_only(sit_down):
    """No reason, no dismissal; with one it is gone."""
    nurse = sit_down()
    page = nurse.page
    page.get_by_role("link", name="Alerts").click()
    alert = page.locator(".alert").filter(has_text=ALERT).first
    number = alert.get_attribute("id")
    kept(nurse, "watch-alerts")
    alert.get_by_text("Snooze, dismiss").click()
    alert.get_by_role("button", name="Dismiss").click()
    assert "choose a reason" in page.locator(f"#{number} .fault").first.inner_text()
    page.locator(f"#{number}").get_by_label("or in your words").fill("sepsis, blood culture grew")
    page.locator(f"#{number}").get_by_role("button", name="Dismiss").click()
    until(lambda: page.locator(f"#{number}").count() == 0)


def test_a_dropped_stream_is_said_and_comes_back(sit_down):
    """Old numbers never look live."""
    nurse = sit_down()
    nurse.page.context.set_offline(True)
    note = nurse.page.locator("#dead")
    until(note.is_visible, 40)
    assert re.search(r"Not live since \d\d:\d\d", note.inner_text())
    nurse.page.context.set_offline(False)
    until(lambda: not note.is_visible(), 40)


def test_the_keyboard_is_enough(sit_down):
    """j, k, a, /, ?, Enter: no hand on a mouse."""
    nurse = sit_down()
    page = nurse.page
    page.keyboard.press("j")
    assert "Bed 12" in page.evaluate("document.activeElement.innerText")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("a")
    until(lambda: nurse.row("12").get_by_role("button", name="Acknowledge").count() == 0)
    page.keyboard.press("/")
    page.keyboard.type("bed 8")
    assert page.locator("[data-search]:not(.out)").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/patient/**")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nobody_is_shut_out(sit_down, size, scheme):
    """axe-core finds nothing serious on any page, and no page has to be pushed sideways."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    # axe is put into the page, which the page's own policy would rightly refuse
    doctor = sit_down("paul", size=size, scheme=scheme, bypass_csp=True)
    page = doctor.page
    patient = nurse_path(doctor.row("12").locator("a.open").first.get_attribute("href"))
    if size is PHONE and scheme == "light":
        kept(doctor, "watch-phone")
    if size is DESKTOP and scheme == "dark":
        kept(doctor, "watch-ward-dark")
    for path in ("/", "/alerts-page", patient, f"{patient}/sheet", f"{patient}/facts-list", "/nowhere"):
        doctor.goes(path)
        if path == patient:
            page.locator("#advice").get_by_text("Guidelines, side by side").wait_for()
            page.locator("#course svg text").first.wait_for()
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        worst = [
            each for each in axe.run(page).response["violations"] if each["impact"] in ("serious", "critical")
        ]
        assert [(each["id"], each["nodes"][0]["target"]) for each in worst] == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def nurse_path(href: str) -> str:
    """An address without its question."""
    return href.split("?")[0]


def test_without_script_the_ward_still_works(sit_down, chromium, ward):
    """A browser that runs nothing signs in, reads, acknowledges, charts."""
    nurse = sit_down(java_script_enabled=False)
    page = nurse.page
    nurse.row("12").get_by_role("button", name="Acknowledge").click()
    assert nurse.row("12").get_by_role("button", name="Acknowledge").count() == 0
    nurse.row("12").get_by_role("link", name="Open bed 12").click()
    page.get_by_role("link", name="Why this grade").click()
    assert "one vasopressor" in page.locator("main").inner_text()


def test_signed_out_means_out(sit_down):
    """Back on the sign-in page; the ward is not shown again."""
    nurse = sit_down()
    nurse.page.get_by_role("button", name="Sign out").click()
    nurse.goes("/")
    assert nurse.page.get_by_label("Password").is_visible()
