"""A replay in a real browser: a span decided anew on a real broker, marked and silent, paused and stopped by hand."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from contracts import codec
from contracts.records import Reading, VitalsFrame
from contracts.replays import DECIDED, ReplayProgress, decided, folder, progress
from contracts.topology import CLOCK_KEY, VITALS
from infra.site import is_free
from infra.stack import Stack, wait_until
from producers.replay import topics
from tests.conftest import MakeTopic
from tests.e2e.wall import THEMES, chromium, picture
from tests.integration.producers.replay_logs import START_MS, Stored, store, ward_log, ward_started

pytestmark = [pytest.mark.browser, pytest.mark.kafka, pytest.mark.timeout(180)]

BEDS: Final = 12
SPAN_S: Final = 600
SPEED: Final = "10"
ALARM_FROM_S: Final = 5
SOUNDS: Final = """
window.sounds = 0;
for (const name of ["AudioContext", "OscillatorNode", "Audio"]) {
  const made = window[name];
  window[name] = new Proxy(made, { construct(target, words) { window.sounds += 1; return new target(...words); } });
}
"""


@pytest.fixture(scope="module")
def source(kafka_with_topics: str, make_topic: MakeTopic) -> str:
    """Ten minutes of two simulated wards; in the first bed of each, saturation falls to 82 after five seconds."""
    name = make_topic("shift", VITALS.partitions, {"message.timestamp.type": "CreateTime", "retention.ms": "-1"})
    store(kafka_with_topics, name, [_worse(one) for one in ward_log(BEDS, SPAN_S)])
    return name


def _worse(one: Stored) -> Stored:
    assert one.key is not None
    if one.key == CLOCK_KEY.encode() or one.at_ms < START_MS + 1000 * ALARM_FROM_S:
        return one
    frame = codec.decode(one.value, VitalsFrame)
    if not frame.beds:
        return one
    first = frame.beds[0]
    readings = tuple(_fallen(reading) for reading in first.readings)
    beds = (msgspec.structs.replace(first, readings=readings), *frame.beds[1:])
    return one._replace(value=codec.encode(msgspec.structs.replace(frame, beds=beds)))


def _fallen(reading: Reading) -> Reading:
    return msgspec.structs.replace(reading, value=82.0) if reading.vital == "spo2" else reading


class Shown:
    """A replay that runs, decided as it comes, and the address of the feed that shows it."""

    def __init__(self, replay: subprocess.Popen[str], feed: subprocess.Popen[str], url: str, place: Path) -> None:
        self.replay = replay
        self.feed = feed
        self.url = url
        self.place = place

    def now(self) -> ReplayProgress:
        """How far it is."""
        told = progress(self.place)
        assert told is not None
        return told


@pytest.fixture
def shown(session_stack: Stack, kafka_with_topics: str, source: str, tmp_path: Path) -> Iterator[Shown]:
    """``ward replay ... --decide`` and ``ward replay show`` as a person would type them."""
    name, web = f"again_{os.getpid()}_{time.monotonic_ns()}", session_stack.environment()["WARD_WEB_DIR"]
    wanted = [decided(name, topic) for topic in DECIDED]
    words = ["replay", source, "--to", name, "--speed", SPEED, "--decide"]
    running = [ward_started(words, kafka_with_topics, tmp_path)]
    try:
        assert wait_until(lambda: len(topics.find(kafka_with_topics, wanted)) == len(wanted), 30)
        running.append(ward_started(["replay", "show", name, "--demo"], kafka_with_topics, tmp_path, WARD_WEB_DIR=web))
        assert running[1].stdout is not None
        url = running[1].stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        yield Shown(running[0], running[1], url, folder(str(tmp_path), name))
    finally:
        for one in running[::-1]:
            one.terminate()
            one.communicate(timeout=20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Real Chromium."""
    with chromium() as made:
        yield made


@pytest.fixture
def page(browser: Browser, shown: Shown) -> Iterator[Page]:
    """The replay's page; what it complains of fails the test."""
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    page.add_init_script(SOUNDS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(shown.url)
    expect(page.locator(".tile")).to_have_count(BEDS, timeout=30_000)
    yield page
    page.close()
    assert complaints == []


def test_a_replay_is_watched_paused_moved_on_and_stopped_and_never_taken_for_the_ward(page: Page, shown: Shown) -> None:
    bar, loud = page.locator("#replay"), page.locator('.tile[data-alarm="high"]')
    expect(loud).to_have_count(2, timeout=20_000)
    _is_marked_and_silent(page)

    place = page.locator("#wall").bounding_box()
    page.get_by_role("button", name="Pause").click()
    expect(bar).to_have_attribute("data-state", "paused")
    paused = shown.now()
    assert paused.paused
    for theme in (*THEMES[1:], THEMES[0]):
        page.get_by_role("button", name="Theme").click()
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
        found = Axe().run(page)
        picture(page, f"replay-{theme}")
        assert found.violations_count == 0, f"{theme}:\n{found.generate_report()}"
    assert wait_until(lambda: shown.now().told_ms - paused.told_ms > 6000, 10)  # by the wall's clock all would be old
    assert shown.now().at_ms == paused.at_ms
    expect(page.locator("#cover")).to_be_hidden()
    expect(page.locator('.tile[data-silent="yes"], .num[data-state="inop"]')).to_have_count(0)

    page.get_by_role("button", name="Go on").click()
    expect(bar).to_have_attribute("data-state", "running")
    assert page.locator("#wall").bounding_box() == place
    assert wait_until(lambda: shown.now().at_ms > paused.at_ms, 5)
    ahead_ms = START_MS + 400_000
    assert shown.now().at_ms < ahead_ms
    page.get_by_label("Go to", exact=True).fill(_clock(page, ahead_ms))
    page.get_by_label("Leave out everything up to that time").click()
    assert wait_until(lambda: shown.now().at_ms >= ahead_ms, 10)
    minutes = "|".join(_clock(page, ahead_ms + 60_000 * n)[:5] for n in range(3))
    expect(page.locator(".replay-when time")).to_have_text(re.compile(f"^({minutes}):"), timeout=10_000)

    page.set_viewport_size({"width": 820, "height": 1180})
    picture(page, "replay-820")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Stop it").click()
    expect(bar).to_have_attribute("data-state", "stopped", timeout=10_000)
    assert shown.replay.wait(20) == 0
    assert shown.feed.poll() is None
    expect(page.get_by_role("button", name="Pause")).to_have_attribute("aria-disabled", "true")
    assert page.evaluate("window.sounds") == 0
    shown.feed.send_signal(signal.SIGINT)
    assert shown.feed.wait(20) == 130
    assert is_free(int(shown.url.rpartition(":")[2]))


def _is_marked_and_silent(page: Page) -> None:
    assert page.title().startswith("REPLAY")
    mark = page.locator(".replay-mark").evaluate(
        "node => [getComputedStyle(node).position, getComputedStyle(node).pointerEvents,"
        " getComputedStyle(node, '::before').maskImage, node.getBoundingClientRect().width]"
    )
    assert mark[:2] == ["fixed", "none"]
    assert "replay-mark.svg" in mark[2]
    assert mark[3] == 1920
    expect(page.locator("#replay")).to_contain_text("Not live")
    expect(page.get_by_role("button", name=re.compile("acknowledge|sound", re.I))).to_have_count(0)
    page.locator('.tile[data-alarm="high"]').first.click()
    expect(page.locator("#panel .alarm-row").first).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("acknowledge|pause sound|call for help", re.I))).to_have_count(0)
    picture(page, "replay-bed")
    page.keyboard.press("a")
    expect(page.locator("#toast")).to_contain_text("nothing can be done about its alarms")
    page.keyboard.press("s")
    expect(page.locator("#toast")).to_contain_text("makes no sound")
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    alarm = page.locator(".alarm-block").first
    action = {"action_id": "in-a-replay", "kind": "acknowledge", "ward": "W1", "bed": "W1-01"}
    action |= {"alert_id": alarm.get_attribute("data-alert") or ""}
    refused = page.request.post(f"{page.url}api/actions", data=action, headers={"X-Ward": "1"})
    assert (refused.status, refused.json()["code"]) == (409, "replay")
    assert page.evaluate("window.sounds") == 0
    assert page.locator(".tile").first.evaluate("node => node.getAnimations({subtree: true}).length") == 0


def _clock(page: Page, ms: int) -> str:
    """The moment as the browser's own zone tells it."""
    told: str = page.evaluate("ms => new Date(ms).toTimeString().slice(0, 8)", ms)
    return told
