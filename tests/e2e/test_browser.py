"""The wall in a real browser on real servers: an alarm from the gateway's frame to the nurse's key, and back."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from contracts.records import SCHEMA_VERSION, BedReadings, Reading, Source, Vital, VitalsFrame
from infra.stack import Stack
from producers.publish import Publisher
from streams.feed.access import Role, Users
from tests.e2e.wall import THEMES, chromium, live_page, picture, started

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]

WARD: Final = "W1"
REALARM_S: Final = 12
FAST_POLICY: Final = (
    ("realarm_after_s = 120.0", f"realarm_after_s = {REALARM_S}.0"),
    ("delay_s = 15.0\nextreme_delay_s = 8.0", "delay_s = 2.0\nextreme_delay_s = 2.0"),  # of SpO2
)


class Gateway(threading.Thread):
    """Writes one frame a second for the beds of one ward; a test sets what a bed's saturation is to be."""

    def __init__(self, bootstrap: str, ward: str = WARD, beds: int = 12) -> None:
        super().__init__(name="gateway", daemon=True)
        self.ward = ward
        self.beds = [f"{ward}-{n:02d}" for n in range(1, beds + 1)]
        self.saturation: dict[str, float] = {}
        self.silent: set[str] = set()
        self._publisher = Publisher(bootstrap)
        self._ending = threading.Event()
        self._seq = 0

    def run(self) -> None:
        """Until ``stop``, at 1 Hz."""
        self._publisher.connect()
        while not self._ending.is_set():
            self._publisher.publish(self._frame())
            self._ending.wait(1.0)

    def stop(self) -> None:
        """End, and wait for the end."""
        self._ending.set()
        self.join(timeout=10)

    def _frame(self) -> VitalsFrame:
        self._seq += 1
        now_ms = _now_ms()
        beds = tuple(self._bed(n, bed) for n, bed in enumerate(self.beds) if bed not in self.silent)
        ward, seq = self.ward, self._seq
        return VitalsFrame(version=SCHEMA_VERSION, ward=ward, gateway=f"gw-{ward}", seq=seq, at_ms=now_ms, beds=beds)

    def _bed(self, n: int, bed: str) -> BedReadings:
        wobble = (self._seq + n) % 3
        systolic, diastolic = 118.0 + n % 12 + wobble, 71.0 + n % 5 + wobble
        numbers = {
            Vital.HEART_RATE: 68.0 + n % 12 + wobble,
            Vital.RESPIRATION: 14.0 + (n + self._seq // 4) % 3,
            Vital.SPO2: self.saturation.get(bed, 96.0 + n % 3),
            Vital.SYSTOLIC: systolic,
            Vital.DIASTOLIC: diastolic,
            Vital.MEAN_PRESSURE: round(diastolic + (systolic - diastolic) / 3),
            Vital.TEMPERATURE: 36.6 + n % 4 / 10,
            Vital.SUPPLEMENTAL_OXYGEN: 0.0,
        }
        readings = [Reading(vital=vital, value=value) for vital, value in numbers.items()]
        readings.append(Reading(vital=Vital.CONSCIOUSNESS, value="A", source=Source.NURSE))
        return BedReadings(bed=bed, patient=f"p-{self.ward}-{n:04d}", readings=tuple(readings))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def wall_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Broker, worker and feed of this module's own, under a policy that sounds again soon."""
    folder = tmp_path_factory.mktemp("wall")
    policy = resources.files("models.ward").joinpath("policies", "adult.toml").read_text("utf-8")
    for before, after in FAST_POLICY:
        assert before in policy
        policy = policy.replace(before, after)
    (folder / "policy.toml").write_text(policy, "utf-8")
    environment = {"WARD_POLICY": str(folder / "policy.toml"), "WARD_FEED_DEMO": "true"}
    with started(folder / "state", ["vitals", "feed"], environment) as stack:
        yield stack


@pytest.fixture(scope="module")
def gateway(wall_stack: Stack) -> Iterator[Gateway]:
    """Twelve well patients."""
    gateway = Gateway(wall_stack.environment()["WARD_KAFKA"])
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def url(wall_stack: Stack, gateway: Gateway) -> str:
    """The feed's address, with a ward that lives."""
    assert gateway.is_alive()
    return wall_stack.site().url("feed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Real Chromium."""
    with chromium() as made:
        yield made


@pytest.fixture
def page(browser: Browser, url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A wall at 1920x1080, live. What the page complains of fails the test, and a picture of it stays."""
    with live_page(browser, url, keep=re.sub(r"\W+", "-", request.node.name)) as page:
        yield page


@pytest.fixture(autouse=True)
def calm(gateway: Gateway, url: str) -> Iterator[None]:
    """Leaves the ward as it was found: all well, nothing open."""
    yield
    gateway.saturation.clear()
    gateway.silent.clear()
    with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        client.get("/")
        waiting = threading.Event()
        for attempt in range(60):
            wall = client.get("/api/wall").json()
            alarms = [alarm for alarm in wall["alarms"] if alarm["category"] != "advisory"]
            if not alarms:
                return
            for alarm in alarms:
                action = {"action_id": f"calm-{alarm['alert_id']}-{attempt}", "kind": "acknowledge", "ward": WARD}
                action |= {"bed": alarm["bed"], "alert_id": alarm["alert_id"]}
                if alarm["state"] != "acknowledged":
                    client.post("/api/actions", json=action, headers={"X-Ward": "1"}).raise_for_status()
            waiting.wait(0.5)
        pytest.fail("alarms stay open although everybody is well")


def tile(page: Page, bed: str) -> str:
    """The selector of a bed's tile."""
    return f'.tile[data-bed="{WARD}/{bed}"]'


def desaturate(page: Page, gateway: Gateway, bed: str) -> None:
    """A saturation of 82 %, and the alarm that follows from it on the page."""
    gateway.saturation[bed] = 82.0
    expect(page.locator(tile(page, bed))).to_have_attribute("data-alarm", "high", timeout=30_000)


def choose(page: Page, bed: str) -> None:
    """Moves to the bed by keyboard alone."""
    for _ in range(12):
        if page.locator(tile(page, bed)).get_attribute("aria-selected") == "true":
            return
        page.keyboard.press("j")
    pytest.fail(f"{bed} cannot be reached by j")


def test_an_alarm_appears_is_acknowledged_by_keyboard_and_sounds_again(page: Page, gateway: Gateway) -> None:
    bed = "W1-05"
    mine = page.locator(tile(page, bed))
    sound = page.locator(".sound-button")
    expect(sound).to_contain_text("Sound off")
    page.keyboard.press("s")
    expect(sound).to_have_attribute("data-sound", "armed")

    desaturate(page, gateway, bed)
    expect(mine).to_have_attribute("data-quiet", "no")
    expect(mine.locator(".tile-alarm")).to_contain_text(re.compile(r"\*\*\*\s*SpO2 82<85"))
    expect(mine).to_have_attribute("aria-posinset", "1")
    expect(page.locator(".alarm-block").first).to_contain_text("W1-05")
    expect(page.locator("#say-now")).to_contain_text("High priority. Bed W1-05")
    expect(sound).to_have_attribute("data-sounding", "high")
    picture(page, "alarm-raised")

    choose(page, bed)
    page.keyboard.press("a")
    expect(mine).to_have_attribute("data-quiet", "yes", timeout=10_000)
    expect(mine.locator(".tile-alarm")).to_contain_text("acked")
    expect(sound).to_have_attribute("data-sounding", "no")
    picture(page, "alarm-acknowledged")

    expect(mine).to_have_attribute("data-quiet", "no", timeout=(REALARM_S + 15) * 1000)
    expect(sound).to_have_attribute("data-sounding", "high")
    page.keyboard.press("w")
    expect(page.locator("#panel")).to_contain_text("below 85 %")
    expect(page.locator("#panel")).to_contain_text(re.compile(r"patient_vitals / \d+ / \d+"))
    steps = page.locator(".timeline li")
    expect(steps.nth(0)).to_contain_text("Raised")
    expect(steps.nth(1)).to_contain_text("by demo-nurse")
    expect(steps.nth(2)).to_contain_text("Sounds again")
    picture(page, "alarm-why")


def test_the_sound_is_paused_with_a_countdown_and_a_cleared_alarm_waits_for_a_person(
    page: Page, gateway: Gateway
) -> None:
    bed = "W1-03"
    mine = page.locator(tile(page, bed))
    page.keyboard.press("s")
    desaturate(page, gateway, bed)
    expect(page.locator(".sound-button")).to_have_attribute("data-sounding", "high")
    choose(page, bed)
    page.keyboard.press("p")
    expect(mine.locator(".paused")).to_have_text(re.compile(r"^[12]:\d\d$"), timeout=10_000)
    expect(mine).to_have_attribute("data-quiet", "no")
    expect(page.locator(".sound-button")).to_have_attribute("data-sounding", "no")
    gateway.saturation.clear()
    expect(mine.locator(".over")).to_be_visible(timeout=15_000)
    page.keyboard.press("a")
    expect(mine).not_to_have_attribute("data-alarm", re.compile("."), timeout=10_000)


def test_a_silent_bed_shows_no_old_numbers(page: Page, gateway: Gateway) -> None:
    bed = "W1-09"
    mine = page.locator(tile(page, bed))
    gateway.silent.add(bed)
    expect(mine).to_have_attribute("data-silent", "yes", timeout=20_000)
    expect(mine).to_contain_text("No data")
    expect(mine.locator(".big")).to_be_hidden()
    expect(mine).to_have_attribute("data-alarm", "technical", timeout=15_000)
    gateway.silent.clear()
    expect(mine).to_have_attribute("data-silent", "no", timeout=10_000)


def test_a_single_key_does_nothing_once_shortcuts_are_off(page: Page, gateway: Gateway) -> None:
    bed = "W1-02"
    page.keyboard.press("?")
    page.get_by_label("Single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    desaturate(page, gateway, bed)
    page.locator(".tile").first.focus()
    page.keyboard.press("a")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tile").nth(1)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator("#panel h2")).to_contain_text(bed)
    expect(page.locator("#panel")).to_contain_text("not acknowledged")
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()


def test_a_finger_finds_every_control(page: Page, gateway: Gateway) -> None:
    desaturate(page, gateway, "W1-07")
    page.locator(tile(page, "W1-07")).click()
    expect(page.locator("#panel .alarm-row")).to_be_visible()
    for control in page.locator("button:visible, select:visible").all():
        box = control.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44, control.inner_text()


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_to_complain_of(browser: Browser, url: str, gateway: Gateway, theme: str) -> None:
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    page.add_init_script(f"localStorage.setItem('ward.theme', '{theme}')")

    def judged(view: str) -> None:
        picture(page, f"{view}-{theme}")
        found = Axe().run(page)
        assert found.violations_count == 0, f"{view}, {theme}:\n{found.generate_report()}"

    page.goto(f"{url}/static/index.html")  # served without a session: the sign-in page
    page.get_by_label("Access token").fill("not a token")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".sign-in [role=alert]")).to_contain_text("That token is not known.")
    expect(page.locator("#foot")).to_contain_text("not a medical device")
    judged("sign-in")

    page.goto(url)
    expect(page.locator(".tile")).to_have_count(12, timeout=30_000)
    desaturate(page, gateway, "W1-06")
    judged("wall")
    choose(page, "W1-06")
    page.keyboard.press("Enter")
    expect(page.locator("#panel .chart canvas").first).to_be_visible(timeout=10_000)
    judged("bed")
    page.keyboard.press("w")
    expect(page.locator(".timeline li").first).to_be_visible(timeout=10_000)
    judged("why")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    judged("help")
    for width, height in ((1280, 800), (820, 1180)):
        page.keyboard.press("Escape")
        page.set_viewport_size({"width": width, "height": height})
        picture(page, f"wall-{theme}-{width}")
    page.close()


def test_a_stopped_log_covers_the_wall_and_uncovers_it_by_itself(page: Page, wall_stack: Stack) -> None:
    stopped = wall_stack.kill("vitals", signal.SIGSTOP)
    try:
        expect(page.locator("#cover h2")).to_have_text("Values have stopped", timeout=20_000)
        picture(page, "cover-log")
    finally:
        os.kill(stopped, signal.SIGCONT)
    expect(page.locator("#cover")).to_be_hidden(timeout=90_000)
    expect(page.locator(".tile")).to_have_count(12)


def test_a_hung_and_killed_feed_covers_the_wall_and_no_alarm_is_lost(
    page: Page, wall_stack: Stack, gateway: Gateway
) -> None:
    hung = wall_stack.kill("feed", signal.SIGSTOP)  # its connections stay open: only the heartbeat tells
    gateway.saturation["W1-11"] = 82.0  # while nobody can tell
    expect(page.locator("#cover h2")).to_have_text("Link lost", timeout=20_000)
    expect(page.locator("#cover")).to_contain_text("Values are hidden")
    expect(page.locator("#main")).to_have_attribute("inert", "")
    picture(page, "cover-link")
    os.kill(hung, signal.SIGKILL)
    wall_stack.await_return("feed", hung)
    expect(page.locator("#cover")).to_be_hidden(timeout=60_000)
    expect(page.locator(tile(page, "W1-11"))).to_have_attribute("data-alarm", "high", timeout=30_000)
    expect(page.locator(tile(page, "W1-11"))).to_have_attribute("aria-posinset", "1")


def test_a_viewer_signs_in_and_may_look_but_not_act(
    browser: Browser, url: str, wall_stack: Stack, gateway: Gateway
) -> None:
    users = Users(Path(wall_stack.environment()["WARD_FEED_USERS"]))
    token = users.add("visitor", Role.VIEWER)
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{url}/static/index.html")
    page.get_by_label("Access token").fill(token)
    page.keyboard.press("Enter")
    expect(page.locator(".tile")).to_have_count(12, timeout=30_000)
    expect(page.locator(".badge")).to_have_count(0)
    desaturate(page, gateway, "W1-08")
    choose(page, "W1-08")
    page.keyboard.press("a")
    expect(page.locator("#toast")).to_contain_text("Your role (viewer) may look but not act.")
    users.revoke("visitor")
    expect(page.get_by_label("Access token")).to_be_visible(timeout=30_000)
    page.close()


def test_hundreds_of_beds_are_drawn_only_where_they_are_seen(page: Page, wall_stack: Stack) -> None:
    crowd = Gateway(wall_stack.environment()["WARD_KAFKA"], ward="W2", beds=400)
    crowd.start()
    try:
        page.get_by_label("Ward", exact=True).select_option("W2", timeout=30_000)
        first = page.locator(tile(page, "W2-01").replace(f"{WARD}/", "W2/"))
        expect(first).to_have_attribute("aria-setsize", "400", timeout=30_000)
        assert page.locator(".tile").count() < 100
        first.focus()
        for _ in range(30):
            page.keyboard.press("ArrowDown")
        chosen = page.locator('.tile[aria-selected="true"]')
        expect(chosen).to_be_in_viewport()
        expect(chosen).to_be_focused()
        assert int(chosen.get_attribute("aria-posinset") or "0") > 100
    finally:
        crowd.stop()
