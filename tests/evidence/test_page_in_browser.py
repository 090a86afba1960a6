"""The report in a real browser, where Chromium and selenium (extra `browser`) are installed."""

import json
import os
import shutil

import numpy as np
import pytest

from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.page import write_report

selenium = pytest.importorskip("selenium", reason="selenium is not installed: extra 'browser'")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="no Chromium here (Debian, Ubuntu: apt install chromium chromium-driver)",
    ),
    pytest.mark.skipif("CI" in os.environ, reason="browser tests do not run in CI"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory, write_record):
    folder = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(0)
    for seed in range(3):
        write_record(folder, "better", seed, rng.random(80) < 0.9)
        write_record(folder, "a-model-with-a-name-that-is-long", seed, rng.random(80) < 0.75)
        write_record(folder, "worse", seed, rng.random(80) < 0.6)
    write_record(folder, "floor", None, np.arange(80) % 2 == 1, control=True)
    texts = {
        f"validation/{i}": f"text {i} <b>of</b> " + "many words " * (i % 20) for i in range(80)
    }
    return write_report(Findings.of(load_comparison(folder)), folder, texts)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "hide-scrollbars",
        "disable-background-networking", "disable-component-update", "disable-sync",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, report):
    def open_page(width=1200, scheme="light", media=""):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": media, "features": features}
        )
        browser.get(report.as_uri())
        return browser

    return open_page


def test_nothing_is_asked_for_and_nothing_is_wrong(page, report):
    browser = page()
    browser.get_log("performance")
    browser.get(report.as_uri())
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked == [report.as_uri()]
    assert browser.get_log("browser") == []


def column(browser, number):
    rows = browser.find_elements("css selector", "#accuracy tbody tr")
    return [row.find_elements("css selector", "th, td")[number].text for row in rows]


def test_tables_sort_by_a_click_and_say_so(page):
    browser = page()
    headings = browser.find_elements("css selector", "#accuracy thead th")
    assert [heading.text for heading in headings][:2] == ["model", "accuracy %"]
    best_first = column(browser, 1)
    for expected in ("descending", "ascending"):
        headings[1].find_element("css selector", "button").click()
        assert headings[1].get_attribute("aria-sort") == expected
        numbers = [float(text) for text in column(browser, 1)]
        assert numbers == sorted(numbers, reverse=expected == "descending")
    assert column(browser, 1) == best_first[::-1]
    headings[0].find_element("css selector", "button").click()
    assert headings[1].get_attribute("aria-sort") is None
    names = column(browser, 0)
    assert names == sorted(names, reverse=True)


def test_values_that_are_missing_sort_last_both_ways(page):
    browser = page()
    heading = browser.find_elements("css selector", "#accuracy thead th")[4]
    for _ in range(2):
        heading.find_element("css selector", "button").click()
        assert column(browser, 4)[-1] == ""  # the floor against itself


def test_flips_are_filtered(page):
    from selenium.webdriver.support.ui import Select

    browser = page()
    for summary in browser.find_elements("css selector", "details.flips summary"):
        summary.click()

    def shown():
        return [
            (row.get_dom_attribute("data-kind"), row.get_dom_attribute("data-label"))
            for row in browser.find_elements("css selector", "tr[data-flip]")
            if row.is_displayed()
        ]

    everything = shown()
    Select(browser.find_element("name", "kind")).select_by_value("broken")
    assert shown() == [flip for flip in everything if flip[0] == "broken"] != everything
    Select(browser.find_element("name", "label")).select_by_value("x")
    assert shown() == [flip for flip in everything if flip == ("broken", "x")]
    counted = [e.text for e in browser.find_elements("css selector", "details.flips .shown")]
    assert sum(int(text.split()[0]) for text in counted) == len(shown())
    Select(browser.find_element("name", "kind")).select_by_value("")
    Select(browser.find_element("name", "label")).select_by_value("")
    assert shown() == everything


@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_the_screen(page, width):
    browser = page(width)
    for summary in browser.find_elements("css selector", "details summary"):
        summary.click()
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    sizes = browser.execute_script(
        "return Array.from(document.querySelectorAll('svg text'), t => t.getBoundingClientRect())"
        ".map(r => r.height).filter(height => height > 0)"  # one of two forms is shown
    )
    assert min(sizes) >= 8  # letters of figures stay readable


@pytest.mark.parametrize(("width", "shown"), [(390, "narrow"), (1200, "wide")])
def test_figures_are_as_wide_as_the_page_and_have_a_form_for_phones(page, width, shown):
    browser = page(width)
    for form in ("narrow", "wide"):
        figures = browser.find_elements("css selector", f"figure .{form} svg")
        assert {figure.is_displayed() for figure in figures} == {form == shown}
    main = browser.find_element("css selector", "main").size["width"]
    figures = browser.find_elements("css selector", f"figure .{shown} svg")
    assert all(figure.size["width"] > 0.98 * main for figure in figures)


def test_a_hint_stands_above_each_table_that_scrolls(page):
    browser = page(390)
    found = browser.execute_script(
        "const regions = Array.from(document.querySelectorAll('.scroll'));"
        "return regions.filter(s => s.checkVisibility()).map(s => "
        "[s.scrollWidth > s.clientWidth + 1, !s.previousElementSibling.hidden])"
    )
    assert all(scrolls == hinted for scrolls, hinted in found)
    assert any(scrolls for scrolls, _ in found)


def contrast(browser, selector):
    """Of an element's text on the page's ground, as WCAG 2 defines it."""
    colours = browser.execute_script(
        "const e = document.querySelector(arguments[0]);"
        "return [getComputedStyle(e).color, getComputedStyle(document.body).backgroundColor]",
        selector,
    )

    def luminance(colour):
        parts = np.array([int(p) for p in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(page, scheme):
    browser = page(scheme=scheme)
    for selector in ("p.data", "h1", "svg text", "nav a", "figcaption", ".notes li"):
        assert contrast(browser, selector) >= 4.5, selector
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_it_prints_on_white_without_controls(page):
    browser = page(scheme="dark", media="print")
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert not browser.find_element("css selector", "nav").is_displayed()
    assert not browser.find_element("css selector", ".filters").is_displayed()
    assert contrast(browser, "svg text") >= 4.5
    # what does not fit the rest of a page leaves no more than 15 cm empty
    heights = browser.execute_script(
        "return Array.from(document.querySelectorAll('.wide svg'), "
        "s => s.getBoundingClientRect().height)"
    )
    assert max(heights) <= 15 / 2.54 * 96 + 1
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"]
    assert len(pdf) > 50_000


def test_it_is_complete_without_scripts(page, report):
    browser = page()
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(report.as_uri())
        assert column(browser, 0)[0] == "better"
        assert browser.find_elements("css selector", "thead button") == []
        assert not browser.find_element("css selector", ".filters").is_displayed()
        assert len(browser.find_elements("css selector", "figure svg")) >= 6
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
