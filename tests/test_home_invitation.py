"""The invitation to the page at home, as staff hand it over: on the screen, by the square, on paper."""

from __future__ import annotations

import io
import os
import re
import shutil
from pathlib import Path

import pytest
import vl_convert
from PIL import Image

from doors_watch import csrf_of, house
from tocsin.definitions.home import home_texts
from wards import opened
from watched import LIB

DOCS = Path(__file__).parents[1] / "docs" / "img"
PICTURES = bool(os.environ.get("TOCSIN_SCREENSHOTS"))


def read(picture):
    """What a phone reads in a picture; the reader is not the library that drew it."""
    zxingcpp = pytest.importorskip("zxingcpp", reason="zxing-cpp is not installed")
    return [each.text for each in zxingcpp.read_barcodes(Image.open(io.BytesIO(picture)).convert("L"))]


def handed(page, name):
    """A text that is handed over."""
    return re.search(rf'<code class="handed" id="{name}">(.*?)</code>', page)[1]


@pytest.mark.parametrize("who", ["patient", "caregiver"])
def test_the_square_holds_the_link_and_nothing_else(tmp_path, who):
    with house(f"sqlite:///{tmp_path}/w.db") as built:
        browser = built.browser("nurse")
        told = {"csrf": csrf_of(browser.get("/").text), "who": who}
        page = browser.post(f"/patient/{built.ref()}/home", data=told).text
    square = re.search(r"<svg[^>]*class=\"square\".*?</svg>", page, re.S)[0]
    link, code = handed(page, "link"), handed(page, "code").replace(" ", "")
    alone = square.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg" width="400" height="400"', 1)
    assert read(vl_convert.svg_to_png(alone)) == [link]
    assert "/home/open/" in link
    assert code not in square
    assert link not in square
    # black on white, not in the colours of a theme: a phone has to read it in the dark and on paper
    assert set(re.findall(r'(?:fill|stroke)="([^"]+)"', square)) == {"#fff", "#000"}
    assert "style" not in square
    assert "script" not in square


def test_where_nobody_is_invited_there_is_no_square(tmp_path):
    with house(f"sqlite:///{tmp_path}/w.db") as built:
        browser = built.browser("nurse")
        told = {"csrf": csrf_of(browser.get("/").text), "language": "tlh"}
        page = browser.post(f"/patient/{built.ref()}/home", data=told)
    assert page.status_code == 409
    assert "square" not in page.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_the_square_and_its_end_and_never_the_code(tmp_path, scheme):
    """Link and code go on different ways: whoever finds the paper has one of them."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium: apt-get install chromium")
    with opened(tmp_path) as ward, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        size = {"width": 1000, "height": 640}
        page = browser.new_page(base_url=ward.url, color_scheme=scheme, viewport=size)
        page.goto("/")
        page.get_by_label("Name").fill("nina")
        page.get_by_label("Password").fill(ward.password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/")
        page.goto(f"/patient/{ward.service.store.ref_of('p12')}/home-access")
        page.get_by_label("Language").select_option("es")
        page.get_by_role("button", name="Invite the patient").click()
        link = page.locator("#link").inner_text()
        assert page.locator("#code").is_visible()
        assert read(page.screenshot()) == [link]
        if PICTURES:
            page.screenshot(path=DOCS / f"home-invited{'-dark' if scheme == 'dark' else ''}.png")
        page.emulate_media(media="print")
        assert not page.locator("#code").is_visible()
        code = page.locator("#code").text_content()
        assert code not in page.locator("body").inner_text()
        said = page.locator("main").inner_text()
        # what the patient reads on it is in the language that the page will speak
        texts = home_texts("es", LIB)
        for text in (texts["enter"]["paper"], texts["enter"]["urgent"]):
            assert text in said
        assert re.search(texts.say("enter", "until", time=r"\d{4}-\d\d-\d\d \d\d:\d\d"), said)
        assert page.get_by_role("img", name="The link as a QR code").is_visible()
        assert read(page.screenshot()) == [link]
        if PICTURES and scheme == "light":
            page.screenshot(path=DOCS / "home-invited-paper.png")
        browser.close()
