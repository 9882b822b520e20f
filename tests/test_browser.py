"""The timeline in a real browser: it opens without a network, without an error, and names rows on hover."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TOCSIN = Path(sys.executable).with_name("tocsin")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium without a window, whose console and requests are kept."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (found and driver):
        pytest.skip("no Chromium with chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = found
    for word in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-background-networking",
        "disable-component-update", "no-first-run", "window-size=1320,760",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
        "host-resolver-rules=MAP * ~NOTFOUND",  # no name resolves: what needs a network would fail
    ):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    window.set_page_load_timeout(60)
    yield window
    window.quit()


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The timeline of the example course, opened as a person would: from the disk."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    chart = Path(__file__).parents[1] / "examples" / "axi-cel-course.csv"
    picture = tmp_path_factory.mktemp("timeline") / "x.html"
    subprocess.run([TOCSIN, "grade", chart, "--plot", picture], check=True, capture_output=True)
    browser.get(picture.as_uri())
    WebDriverWait(browser, 60).until(lambda window: window.find_elements(By.CSS_SELECTOR, "svg text"))
    return browser


def test_the_page_asks_nobody_for_anything(page):
    """It carries all it needs: patient data never leaves, and it opens years from now."""
    said = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [message["params"] for message in said if message["method"] == "Network.requestWillBeSent"]
    # Chromium loads tabs of its own; what counts is what this document asked for.
    asked = [each["request"]["url"] for each in sent if each["documentURL"].endswith("x.html")]
    outside = [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    assert any(url.endswith("x.html") for url in asked)
    assert outside == []


def test_the_console_says_nothing(page):
    """Neither an error nor a warning."""
    assert [entry["message"] for entry in page.get_log("browser") if entry["level"] != "INFO"] == []


def test_the_timeline_fits_a_page(page):
    """Readable at a glance: nothing to scroll sideways on a page of 1280 pixels, and the grades are there."""
    from selenium.webdriver.common.by import By

    drawn = page.find_element(By.CSS_SELECTOR, "svg")
    assert 900 < drawn.rect["width"] <= 1320
    words = {each.text for each in page.find_elements(By.CSS_SELECTOR, "svg text")}
    assert {"ASTCT 2019", "Temperature", "Blood pressure", "Oxygen"} <= words


def test_hovering_names_the_fact_and_where_it_came_from(page):
    """From a mark on the picture to the row of the chart."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    seen = set()
    for mark in page.find_elements(By.CSS_SELECTOR, "svg g.mark-symbol path")[:400:9]:
        box = mark.rect
        if not (box["width"] and 170 < box["x"] < 1160):
            continue
        ActionChains(page, duration=0).move_to_element(mark).perform()
        tip = page.find_elements(By.CSS_SELECTOR, "#vg-tooltip-element.visible")
        seen.update(each.text for each in tip)
    facts = [text for text in seen if "axi-cel-course.csv:" in text]
    assert facts, seen
    assert any("Cel" in text or "°C" in text or "mm" in text for text in facts), facts


def test_hovering_over_a_grade_says_why(page):
    """The band itself names scale, grade and findings."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    band = page.find_element(By.CSS_SELECTOR, "path[aria-label*='scale: astct-2019; grade: 3']")
    ActionChains(page, duration=20).move_to_element(band).move_by_offset(1, 1).perform()
    told = page.find_element(By.CSS_SELECTOR, "#vg-tooltip-element.visible").text
    assert "astct-2019" in told
    assert "one vasopressor" in told
