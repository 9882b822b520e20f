"""The patient's own page in a real browser, on a phone: what somebody at home does at night."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tocsin.watch.home import access
from tocsin.watch.roles import Actor
from wards import Ward, opened, patiently

DOCS = Path(__file__).parents[1] / "docs" / "img"
SMALL, PHONE = {"width": 360, "height": 740}, {"width": 390, "height": 844}
PICTURES = bool(os.environ.get("TOCSIN_SCREENSHOTS"))
TEAM, EMERGENCY = "555 0140", "112"


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


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """A running service; its patients go home one by one."""
    with opened(tmp_path_factory.mktemp("home")) as running:
        running.service.settings.emergency_number = EMERGENCY
        yield running


class AtHome:
    """Somebody with a phone, and the patient whose page it is; what the console said is kept."""

    def __init__(self, context: Any, page: Any, patient: str, said: list[str]) -> None:
        self.context, self.page, self.patient, self.said = context, page, patient, said

    def press(self, name: str) -> None:
        """Press a button, or the way on."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def ticks(self, name: str) -> None:
        """Touch a tile."""
        self.page.locator("label.tile:visible", has_text=re.compile(f"^{re.escape(name)}")).click()

    def to_temperature(self) -> None:
        """Begin, and say that nothing dangerous happens."""
        self.page.goto("/home")
        self.page.get_by_role("link", name="Tell us").click()
        self.press("None of these")

    def measures(self, value: str, unit: str | None = "°C") -> None:
        """Type a temperature."""
        self.page.locator("#temperature").fill(value)
        if unit:
            self.page.locator(f"label.unit:has-text('{unit}')").click()

    def goes_on(self, *names: str) -> None:
        """Press one button after the other."""
        for name in names:
            self.press(name)

    def verb(self) -> str:
        """What the answer says to do."""
        self.page.wait_for_url("**/home/answer**")
        return str(self.page.locator("h1.verb").inner_text())


@pytest.fixture
def at_home(chromium: Any, ward: Ward) -> Iterator[Any]:
    """Send somebody home: a patient of their own, invited, signed in with the code on a phone."""
    contexts: list[Any] = []

    def send(
        facts: list[dict[str, Any]] | None = None, *, size: dict[str, int] = SMALL, scheme: str = "light",
        who: str = "patient", language: str = "en", phone: str | None = TEAM, **more: Any,
    ) -> AtHome:  # fmt: skip
        service, number = ward.service, f"home-{os.urandom(4).hex()}"
        service.set_patient(
            Actor("nina", "nurse"), number, name="Ines Costa", ward="At home", team_phone=phone
        )
        if facts:
            receipt = service.ingest(
                [{**row, "patient_id": number} for row in facts], Actor("monitor", "device")
            )
            assert not receipt.rejected, receipt.rejected
        with service.store.writing() as con:
            made = access.invite(
                con, service.clock, Actor("nina", "nurse"), number, who=who, language=language
            )
        context = chromium.new_context(
            base_url=ward.url, viewport=size, color_scheme=scheme, has_touch=True, is_mobile=True,
            device_scale_factor=2, locale="en-GB", **more,
        )  # fmt: skip
        context.set_default_timeout(15_000)
        contexts.append(context)
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"/home/open/{made.secret}")
        page.locator("#code").fill(f"{made.code[:3]} {made.code[3:]}")
        if PICTURES and size is SMALL and scheme == "light" and who == "patient" and language == "en":
            picture(page, "home-enter")
        page.locator("form button").click()
        page.wait_for_url("**/home")
        return AtHome(context, page, number, said)

    yield send
    for context in contexts:
        context.close()


def picture(page: Any, name: str) -> None:
    """Keep a picture for the docs where that was asked for."""
    if PICTURES:
        page.evaluate("document.activeElement.blur()")
        page.wait_for_timeout(250)
        DOCS.mkdir(exist_ok=True)
        page.screenshot(path=DOCS / f"{name}.png")


def dosed(ward: Ward, hours: float = 30) -> list[dict[str, Any]]:
    """Teclistamab so many hours ago, and a good pressure before it."""
    now = ward.service.clock.now()

    def at(ago: float) -> str:
        from tocsin.watch.clock import HOUR, moment_of

        return moment_of(round(now - ago * HOUR)).isoformat()

    return [
        {"time": at(hours + 2), "measure": "systolic-bp", "value": 124, "unit": "mm[Hg]"},
        {"time": at(hours), "measure": "teclistamab"},
        {"time": at(hours + 2), "measure": "age", "value": 61, "unit": "a"},
    ]


def told(ward: Ward, home: AtHome) -> list[dict[str, Any]]:
    """The facts that came from this page."""
    rows = ward.service.facts_of(home.patient).to_pylist()
    return [row for row in rows if str(row["source"]).startswith("home:")]


@pytest.mark.parametrize(("size", "scheme"), [(SMALL, "light"), (PHONE, "dark")], ids=["360", "390-dark"])
def test_a_fever_at_night_is_a_call_now(at_home, ward, size, scheme):
    """From the first page to the number of the team, one question at a time; and the ward has an alert."""
    home = at_home(dosed(ward), size=size, scheme=scheme)
    dark = "-dark" if scheme == "dark" else ""
    picture(home.page, f"home-start{dark}")
    home.page.get_by_role("link", name="Tell us").click()
    picture(home.page, f"home-danger{dark}")
    home.press("None of these")
    home.measures("101.1", "°F")
    assert "38.4" in home.page.locator("#also").inner_text()
    picture(home.page, f"home-temperature{dark}")
    home.press("Next")
    for name in ("Shaking or chills", "Faint when standing", "Very tired"):
        home.ticks(name)
    home.ticks("Faint when standing")
    picture(home.page, f"home-new{dark}")
    home.press("Next")
    picture(home.page, f"home-medicine{dark}")
    home.ticks("None")
    home.press("Next")
    home.ticks("I have neither")
    home.press("Next")
    picture(home.page, f"home-words{dark}")
    home.press("See what to do")
    assert home.verb() == "Call your team now."
    call = home.page.locator("a.big.red")
    assert call.get_attribute("href") == "tel:5550140"
    box = call.bounding_box()
    assert box["y"] + box["height"] < size["height"] - 80
    assert "teclistamab yesterday" in home.page.locator("blockquote").inner_text()
    picture(home.page, f"home-call-now{dark}")
    names = {row["measure"] for row in told(ward, home)}
    assert names == {"temperature", "chills", "tiredness"}
    who = ward.service.people.of[home.patient].ref
    patiently(lambda: any(each.ref == who and each.alerts for each in ward.service.board("astct-2019").rows))
    assert home.said == []


def test_help_is_one_touch_away_from_the_first_question(at_home, ward):
    """Whoever ticks a sign that cannot wait is asked nothing more."""
    home = at_home(dosed(ward))
    home.page.get_by_role("link", name="Tell us").click()
    home.ticks("Can't find or say words")
    assert home.page.locator("#go").inner_text() == "Get help now"
    picture(home.page, "home-danger-ticked")
    home.press("Get help now")
    assert home.verb() == "Call an ambulance now."
    assert home.page.locator("a.big.red").get_attribute("href") == f"tel:{EMERGENCY}"
    picture(home.page, "home-ambulance")


def test_a_calm_answer_says_when_to_look_again_and_is_not_given_twice(at_home, ward):
    """Everything measured and good: keep watching until a time; later the first page says nothing calm."""
    home = at_home(dosed(ward))
    home.to_temperature()
    home.measures("36.8")
    home.goes_on("Next", "Nothing new")
    home.ticks("None")
    home.press("Next")
    home.ticks("Blood pressure cuff")
    home.page.get_by_label("Top number").fill("122")
    home.page.get_by_label("Bottom number").fill("78")
    home.page.locator("#cuff-heart-rate").fill("74")
    picture(home.page, "home-devices")
    home.goes_on("Next", "See what to do")
    assert re.fullmatch(r"Keep watching, check again at \d\d:\d\d\.", home.verb())
    assert "do not know enough" in home.page.locator("main").inner_text()
    picture(home.page, "home-note")
    home.page.goto("/home")
    assert home.page.locator(".still").count() == 0
    home.to_temperature()
    home.goes_on("Next", "Nothing new", "Next")
    assert home.page.get_by_label("Top number").is_visible()


def test_a_value_that_cannot_be_is_asked_about_and_mended_with_one_touch(at_home):
    """101 in Celsius: did you mean Fahrenheit? Nothing is sent until that is clear."""
    home = at_home()
    home.to_temperature()
    home.measures("101.3", "°C")
    home.press("Next")
    assert "Did you mean 101.3 °F" in home.page.locator(".fault").inner_text()
    picture(home.page, "home-asked-kindly")
    home.press("Yes, 101.3 °F")
    assert "38.5" in home.page.locator("#also").inner_text()
    home.press("Next")
    assert home.page.get_by_role("heading", name="What is new since yesterday?").is_visible()


def test_the_way_back_of_the_phone_is_the_question_before(at_home):
    """Nothing that was ticked is lost by it."""
    home = at_home()
    home.to_temperature()
    home.measures("37.9")
    home.press("Next")
    home.page.go_back()
    assert home.page.locator("#temperature").is_visible()
    assert home.page.locator("#temperature").input_value() == "37.9"
    home.press("Back")
    assert home.page.get_by_role("heading", name="Is one of these happening now?").is_visible()


def test_what_is_written_without_a_network_is_kept_and_sent_once(at_home, ward):
    """The page opens without a network, keeps the entry, says so plainly, and sends it when there is one."""
    home = at_home(dosed(ward))
    page = home.page
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    patiently(lambda: page.evaluate("caches.match('/home/offline').then((found) => Boolean(found))"))
    home.context.set_offline(True)
    page.goto("/home/entry")
    assert page.locator("[data-offline]").is_visible()
    home.press("None of these")
    home.measures("38.9")
    home.press("Next")
    home.ticks("Headache")
    home.press("Next")
    home.ticks("None")
    home.goes_on("Next", "Next", "See what to do")
    page.locator("#later").wait_for()
    assert "Your team has not seen it" in page.locator("#later").inner_text()
    assert "1 not sent yet" in page.locator("#kept").inner_text()
    assert page.locator("#later a[href='tel:5550140']").is_visible()
    picture(page, "home-offline")
    assert told(ward, home) == []
    # a second page of the same phone tries as well: what is kept is still stored once
    other = home.context.new_page()
    other.goto("/home")
    home.context.set_offline(False)
    page.evaluate("dispatchEvent(new Event('online'))")
    other.evaluate("dispatchEvent(new Event('online'))")
    patiently(lambda: len(told(ward, home)) >= 2)
    patiently(lambda: page.evaluate("JSON.parse(localStorage.getItem('tocsin-kept')).length") == 0)
    page.wait_for_timeout(500)
    assert sorted(row["measure"] for row in told(ward, home)) == ["headache", "temperature"]
    link = next(each for each in (page, other) if each.locator("#kept a").count())
    link.locator("#kept a").click()
    link.wait_for_url("**/home/answer**")
    assert link.locator("h1.verb").inner_text() == "Call your team now."


def test_an_entry_whose_answer_was_lost_is_not_lost(at_home, ward):
    """The network goes in the middle of the questions."""
    home = at_home()
    home.to_temperature()
    home.measures("38.2")
    home.context.set_offline(True)
    home.goes_on("Next", "Nothing new", "Next", "Next", "See what to do")
    home.page.locator("#later").wait_for()
    home.context.set_offline(False)
    home.page.evaluate("dispatchEvent(new Event('online'))")
    patiently(lambda: [row["measure"] for row in told(ward, home)] == ["temperature"])


def test_what_is_kept_for_one_patient_is_never_sent_as_another_s(at_home, ward):
    """A phone that changes hands: the page of the second patient leaves the first one's entry alone."""
    home, other = at_home(), at_home()
    home.to_temperature()
    home.measures("39.1")
    home.context.set_offline(True)
    home.goes_on("Next", "Nothing new", "Next", "Next", "See what to do")
    home.page.locator("#later").wait_for()
    home.context.add_cookies(other.context.cookies())
    home.context.set_offline(False)
    home.page.evaluate("dispatchEvent(new Event('online'))")
    home.page.wait_for_timeout(1000)
    home.page.goto("/home")
    home.page.evaluate("dispatchEvent(new Event('online'))")
    home.page.wait_for_timeout(1500)
    assert told(ward, home) == told(ward, other) == []
    assert not home.page.locator("#kept").is_visible()


def test_the_numbers_and_worse_are_on_every_page(at_home, ward):
    """The team, the emergency number and I feel worse, within reach of a thumb, whatever the page."""
    home = at_home(dosed(ward))
    for path in (
        "/home",
        "/home/entry",
        "/home/diary",
        "/home/about",
        "/home/worse",
        "/home/answer?entry=none",
    ):
        home.page.goto(path)
        bar = home.page.locator("nav.bar")
        assert bar.locator("a[href='tel:5550140']").is_visible()
        assert bar.locator(f"a[href='tel:{EMERGENCY}']").is_visible()
        assert bar.get_by_text("I feel worse").is_visible()
        box = bar.bounding_box()
        assert box["y"] + box["height"] == pytest.approx(SMALL["height"], abs=1)
        for each in bar.locator("a").all():
            assert each.bounding_box()["height"] >= 44
    home.page.locator("nav.bar").get_by_text("I feel worse").click()
    picture(home.page, "home-worse")


def test_a_number_nobody_knows_is_never_made_up(at_home, ward):
    """Without numbers the page says where to find them."""
    home = at_home(phone=None)
    ward.service.settings.emergency_number = None
    try:
        home.page.goto("/home/worse")
        said = home.page.locator("body").inner_text()
        assert home.page.locator("a[href^='tel:']").count() == 0
        assert "wallet card" in said
        assert "local emergency number" in said
        picture(home.page, "home-worse-unknown")
    finally:
        ward.service.settings.emergency_number = EMERGENCY


def test_the_keyboard_is_enough(at_home):
    """From the first page to the answer without a touch."""
    home = at_home()
    page = home.page
    page.goto("/home/entry")

    def to(what: str) -> None:
        for _ in range(60):
            if page.evaluate(f"document.activeElement.matches({what!r})"):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"the keyboard never comes to {what}")

    to("#go")
    page.keyboard.press("Enter")
    to("#temperature")
    page.keyboard.type("38.3")
    to("[name=unit]")
    page.keyboard.press("Space")
    to("#go")
    page.keyboard.press("Enter")
    to("[value=chills]")
    page.keyboard.press("Space")
    for _ in range(4):
        to("#go")
        page.keyboard.press("Enter")
    assert home.verb() == "Call your team now."


def test_without_script_it_is_a_plain_form(at_home, ward):
    """A browser that runs nothing is asked everything on one page, and gets the same answer."""
    home = at_home(dosed(ward), java_script_enabled=False)
    page = home.page
    page.goto("/home/entry")
    page.get_by_label("Temperature", exact=True).fill("38.6")
    page.locator("label.unit").first.click()
    page.locator("label.tile", has_text="Shaking or chills").click()
    page.get_by_role("button", name="See what to do").click()
    assert page.locator("h1.verb").inner_text() == "Call your team now."
    assert len(told(ward, home)) == 2


def test_a_caregiver_writes_in_spanish(at_home, ward):
    """The page asks a caregiver about the patient, in the language they were invited in."""
    home = at_home(dosed(ward), who="caregiver", language="es", size=PHONE)
    page = home.page
    assert page.locator("html").get_attribute("lang") == "es"
    assert page.get_by_role("heading", name="¿Cómo está la persona que cuida?").is_visible()
    page.get_by_role("link", name="Cuéntenos").click()
    home.press("Nada de esto")
    home.measures("37.2")
    home.goes_on("Seguir", "Nada nuevo", "Seguir", "Seguir")
    home.ticks("Me preocupa")
    page.locator("#words").fill("Está muy raro desde la cena")
    home.press("Ver qué hacer")
    assert home.verb() == "Vaya ya a urgencias."
    picture(page, "home-es")
    page.goto("/home/diary")
    assert "Está muy raro desde la cena" in page.locator("main").inner_text()
    picture(page, "home-diary")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [SMALL, PHONE], ids=["360", "390"])
def test_nobody_is_shut_out(at_home, ward, size, scheme):
    """axe-core finds nothing serious on any page or question; nothing is pushed sideways; large text fits."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    home = at_home(dosed(ward), size=size, scheme=scheme, bypass_csp=True)
    page = home.page

    def clean(where: str) -> None:
        found = axe.run(page).response["violations"]
        worst = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], each["nodes"][0]["target"]) for each in worst] == [], where
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where

    for path in ("/home", "/home/worse", "/home/diary", "/home/about", "/home/closed", "/home/nowhere"):
        page.goto(path)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        clean(path)
    home.to_temperature()
    clean("temperature")
    home.measures("101", "°C")
    home.press("Next")
    clean("asked kindly")
    home.press("Yes, 101 °F")
    home.press("Next")
    page.get_by_text("More signs").click()
    clean("new")
    home.press("Nothing new")
    home.ticks("Ibuprofen")
    clean("medicine")
    home.ticks("2 hours ago")
    home.press("Next")
    home.ticks("Finger clip")
    clean("devices")
    home.press("Next")
    home.ticks("Earlier today")
    clean("words")
    home.ticks("Now")
    home.press("See what to do")
    home.verb()
    clean("answer")
    page.evaluate("document.documentElement.style.fontSize = '30px'")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "large text"


SIGNS = """() => [...document.querySelectorAll("label.tile:has(.sign)")]
  .filter(tile => tile.getClientRects().length)
  .map(tile => {
    const sign = tile.querySelector(".sign").getBoundingClientRect(), words = document.createRange();
    words.selectNodeContents(tile.querySelector("span"));
    const meets = (line) => line.right > sign.left + 1 && line.left < sign.right - 1
      && line.bottom - 2 > sign.top && line.top + 2 < sign.bottom;
    const over = [...words.getClientRects()].some(meets);
    return { words: tile.innerText, over, high: tile.getBoundingClientRect().height };
  })"""


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_drawing_stands_beside_the_words_and_never_over_them(at_home, language):
    """On the narrowest phone; and a touch moves nothing, or the next one would hit another tile."""
    phone = at_home(language=language)
    phone.page.goto("/home/entry")
    found = phone.page.evaluate(SIGNS)
    assert len(found) == 8
    assert not [each["words"] for each in found if each["over"]]
    phone.page.locator("label.tile:visible").first.click()
    assert [each["high"] for each in phone.page.evaluate(SIGNS)] == [each["high"] for each in found]
    # read aloud it is the words alone
    assert phone.page.locator(".sign:not([aria-hidden=true])").count() == 0
    assert phone.page.get_by_role("checkbox", name=found[0]["words"], exact=True).is_checked()
    assert phone.said == []
