"""Predictions on the wall, in a real browser on a real broker and feed: bands, marks, advisories, old words greyed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import httpx
import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from contracts.records import AlarmEvent, AlarmState, AlertTransition
from infra.stack import Stack
from tests.e2e.wall import THEMES, Ward, chromium, live_page, now_ms, picture, started
from tests.unit.feed.outlook_records import VERSIONS, advisory, outlook

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]

NOT_A_DEVICE: Final = "A prediction, not a measurement. Research software, not a medical device."


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker and a feed; what a worker and its models write is written by the test."""
    with started(tmp_path_factory.mktemp("outlook") / "state", ["feed"], {"WARD_FEED_DEMO": "true"}) as stack:
        yield stack


@pytest.fixture(scope="module")
def ward(stack: Stack) -> Iterator[Ward]:
    """Twelve beds of whom the models speak, all but one lately."""
    ward = Ward(stack.environment()["WARD_KAFKA"])
    ward.start()
    yield ward
    ward.stop()


@pytest.fixture(scope="module")
def url(stack: Stack, ward: Ward) -> str:
    """The feed's address, with a ward that lives."""
    assert ward.is_alive()
    return stack.site().url("feed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Real Chromium."""
    with chromium() as made:
        yield made


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """A wall at 1920x1080, live; what the page complains of fails the test."""
    with live_page(browser, url) as page:
        yield page


def tile(page: Page, bed: str) -> Locator:
    """A bed's tile."""
    return page.locator(f'.tile[data-bed="W7/{bed}"]')


def raised(ward: Ward, number: int, bed: str) -> AlertTransition:
    """An early warning of low saturation, told."""
    step = advisory(f"advisory-{bed}-{number}", ward=ward.ward, bed=bed, at_ms=now_ms())
    ward.tell(step)
    return step


def over(ward: Ward, step: AlertTransition, seq: int = 9) -> None:
    """The end of it, so that the next test finds the ward as this one did."""
    changes = {"seq": seq, "event": AlarmEvent.CLEARED, "state": AlarmState.INACTIVE, "at_ms": now_ms()}
    ward.tell(msgspec.structs.replace(step, **changes))


def test_an_opened_bed_shows_the_forecast_as_a_band_and_says_whose_it_is(page: Page) -> None:
    tile(page, "W7-06").click()
    panel = page.locator("#panel")
    rows = panel.locator(".row")
    expect(rows.nth(0)).to_have_attribute("data-forecast", "lstm", timeout=20_000)
    expect(rows.nth(0)).to_contain_text(re.compile(r"in 6 h \d+–\d+ \(90\s%\) · above\s120:\s9\s%"))
    expect(rows.nth(1)).to_contain_text("below 90: 34 %")
    expect(rows.nth(2)).to_have_attribute("data-forecast", "persistence")
    expect(rows.nth(2)).to_contain_text("persistence: it has just moved, or the network has not been better lately")
    expect(rows.nth(3)).to_contain_text("SBP in 6 h")
    expect(rows.nth(0).locator("canvas")).to_be_visible()
    expect(rows.nth(0).locator(".chart")).to_have_attribute("aria-label", re.compile(r"Forecast: in 6 h \d+–\d+"))
    expect(panel.locator("h3").nth(2)).to_have_text("Vital signs: last 10 minutes, and the hours ahead")
    expect(panel).to_contain_text(NOT_A_DEVICE)
    panel.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(panel.locator(".numbers tbody tr")).to_have_count(27)
    expect(panel.locator('tr[data-risk="hypotension"]')).to_contain_text("83 %")
    expect(panel.locator('section[data-part="anomaly"]')).to_contain_text("Heart rate 134, usually 82")
    expect(panel.locator('section[data-part="anomaly"]')).to_contain_text("Baseline: 1.5 h of this patient learned")
    picture(page, "outlook-bed")


def test_words_older_than_a_minute_are_greyed_with_their_age_and_never_current(page: Page, ward: Ward) -> None:
    mine = tile(page, ward.forgotten)
    expect(mine.locator(".outlook")).to_have_attribute("data-state", "stale", timeout=15_000)
    expect(mine.locator(".sign.old")).to_contain_text("outlook old 1m")
    expect(mine.locator(".sign .n:visible")).to_have_count(0)
    mine.click()
    panel = page.locator("#panel")
    expect(panel.locator('section[data-part="risks"]')).to_have_attribute("data-state", "stale")
    expect(panel.locator(".stale-note").first).to_contain_text("Old: the models last spoke 1 min ago. Not the present.")
    expect(panel.locator(".row").first).to_have_attribute("data-forecast", "stale", timeout=10_000)
    expect(panel.locator(".row").first).to_contain_text("forecast 1 min old, not shown")
    picture(page, "outlook-old")


def test_an_advisory_stands_apart_makes_no_sound_and_is_acknowledged_by_keyboard(page: Page, ward: Ward) -> None:
    bed = "W7-09"
    mine, sign = tile(page, bed), tile(page, bed).locator('.sign[data-level="raised"]')
    page.keyboard.press("s")
    step = raised(ward, 1, bed)
    try:
        expect(sign).to_contain_text("low SpO₂62 %", timeout=10_000)
        expect(page.locator("#say-soon")).to_contain_text("Advisory, a prediction. Bed W7-09.")
        expect(mine).not_to_have_attribute("data-alarm", re.compile("."))
        expect(page.locator(".sound-button")).to_have_attribute("data-sounding", "no")
        expect(page.locator("#banner")).to_contain_text("No open alarms.")
        expect(page.locator("#banner")).to_contain_text("One advisory: a prediction, on the marked tile.")
        expect(mine).to_have_attribute("aria-posinset", "1", timeout=15_000)  # all else is equal on this ward
        mine.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#panel .advice .alarm-row")).to_contain_text("SpO2 <90 likely within 4 h (62 %)")
        picture(page, "advisory-raised")
        with page.expect_request("**/api/actions") as asked:
            page.keyboard.press("a")
        assert f'"alert_id":"{step.alert_id}"' in (asked.value.post_data or "")
        changes = {"seq": 1, "event": AlarmEvent.ACKNOWLEDGED, "state": AlarmState.ACKNOWLEDGED, "actor": "demo-nurse"}
        ward.tell(msgspec.structs.replace(step, **changes))
        expect(mine.locator('.sign[data-level="acked"]')).to_be_visible(timeout=10_000)
    finally:
        over(ward, step)


def test_why_names_the_model_its_grounds_and_the_band_of_that_moment(page: Page, ward: Ward, url: str) -> None:
    bed = "W7-10"
    step = raised(ward, 2, bed)
    try:
        tile(page, bed).focus()
        expect(tile(page, bed).locator('.sign[data-level="raised"]')).to_be_visible(timeout=10_000)
        page.keyboard.press("w")
        panel = page.locator("#panel")
        model = panel.locator('section[data-model="vitals_forecast"]')
        expect(model).to_contain_text(f"vitals_forecast@{VERSIONS['vitals_forecast']}", timeout=20_000)
        expect(model).to_contain_text(re.compile(r"Since recordpatient_vitals / \d+ / 7"))
        expect(model.locator(".calibration")).to_contain_text("How often such warnings came true cannot be told")
        expect(panel).to_contain_text("SpO2 93, falling 1.2/h")
        expect(panel).to_contain_text("in 6 h 89–96 (90 %) · below 90: 34 %")
        expect(panel).to_contain_text(NOT_A_DEVICE)
        expect(panel.locator(".chart canvas")).to_be_visible()
        picture(page, "advisory-why")
        with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
            client.get("/")
            told = client.get(f"/api/alerts/{step.alert_id}/why").json()
        assert told["prediction"]["forecast"]["vitals"][0]["vital"] == "spo2"
        assert told["prediction"]["missing"] is None
    finally:
        over(ward, step)


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_to_complain_of_in_predictions(browser: Browser, url: str, ward: Ward, theme: str) -> None:
    page = browser.new_page(viewport={"width": 1920, "height": 1080}, reduced_motion="reduce")
    page.add_init_script(f"localStorage.setItem('ward.theme', '{theme}')")
    steps = [raised(ward, 10 + THEMES.index(theme), bed) for bed in ("W7-04", "W7-05")]
    ward.outlooks["W7-05"] = outlook("W7-05", score=0.94)

    def judged(view: str) -> None:
        picture(page, f"outlook-{view}-{theme}")
        found = Axe().run(page)
        assert found.violations_count == 0, f"{view}, {theme}:\n{found.generate_report()}"

    try:
        page.goto(url)
        expect(tile(page, "W7-04").locator('.sign[data-level="raised"]')).to_be_visible(timeout=30_000)
        judged("wall")
        tile(page, "W7-04").click()
        expect(page.locator("#panel .row").first).to_have_attribute("data-forecast", "lstm", timeout=20_000)
        page.locator("#panel summary").click()
        judged("bed")
        page.keyboard.press("w")
        expect(page.locator("#panel .calibration")).to_be_visible(timeout=20_000)
        judged("why")
        if theme == THEMES[0]:
            page.set_viewport_size({"width": 390, "height": 844})
            judged("why-phone")
            page.keyboard.press("Escape")
            expect(page.locator("#panel .row").first).to_be_visible()
            judged("bed-phone")
    finally:
        for step in steps:
            over(ward, step)
        page.close()
