"""What tests in a browser share: a ward whose worker and models are played by the test, and pictures of the page."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from contracts import codec
from contracts.errors import WardError
from contracts.records import AlertTransition, BedOutlook, Engine, Record, ScoreFrame, Vital, VitalForecast
from contracts.topology import ALERTS, FORECASTS, SCORES
from infra.site import CHECKOUT, cache_dir
from infra.stack import Stack
from tests.conftest import IN_CI
from tests.unit.feed.outlook_records import HOURS_S, MINUTES_S, ahead, forecast, outlook, risk, source_of, with_outlooks
from tests.unit.feed.rig import scores

ARTEFACTS: Final = CHECKOUT / "test-artefacts"
THEMES: Final = ("dark", "light", "contrast")
ARGS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ROUND_S: Final = 5
OLD_MS: Final = 57_000
"""How old the only words on the forgotten bed are at the start: stale a few seconds later."""


def now_ms() -> int:
    """Wall clock in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def picture(page: Page, name: str) -> None:
    """Keeps a screenshot as a test artefact."""
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png")


@contextlib.contextmanager
def started(state: Path, names: Sequence[str], environment: Mapping[str, str]) -> Iterator[Stack]:
    """A topology of the module's own with these processes up. Not to be had: fails in CI, skips elsewhere by name."""
    stack = Stack(state, cache_dir(os.environ), say=print)
    try:
        stack.up(names, extra_env=environment)
    except WardError as failure:
        stack.down()
        if IN_CI:
            raise
        pytest.skip(f"no servers here: {failure} (`./ward fetch` gets them)")
    yield stack
    stack.down()


@contextlib.contextmanager
def live_page(browser: Browser, url: str, keep: str | None = None) -> Iterator[Page]:
    """A wall of twelve beds, live; what the page complains of fails the test. ``keep``: the name of a picture of it."""
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    expect(page.locator(".tile")).to_have_count(12, timeout=30_000)
    yield page
    if keep is not None:
        picture(page, keep)
    page.close()
    assert complaints == []


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Real Chromium. Not there: fails in CI, skips elsewhere by name."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        if IN_CI:
            pytest.fail("chromium is missing; .ci/run installs it")
        pytest.skip("chromium is not installed: install it with the system's packages")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=program, args=ARGS)
        yield made
        made.close()


class Ward(threading.Thread):
    """Writes the outputs of a worker and its models for one ward: scores each second, outlooks and forecasts a round.

    ``forgotten`` is a bed that the models have not spoken of for about a minute.
    """

    def __init__(self, bootstrap: str, ward: str = "W7", beds: int = 12) -> None:
        super().__init__(name="models", daemon=True)
        from kafka import KafkaProducer

        self.ward = ward
        self.beds = [f"{ward}-{n:02d}" for n in range(1, beds + 1)]
        self.forgotten = self.beds[1]
        self.outlooks: dict[str, BedOutlook] = {}
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
        self._ending = threading.Event()
        self._offset = 100

    def run(self) -> None:
        """Until ``stop``."""
        before = now_ms() - OLD_MS
        self.send(self.scored(before))
        self.send(self.advised(before, [self.forgotten]))
        self.send(forecast(self.ward, [self.forgotten], *vitals(), at_ms=before, offset=self._offset))
        while not self._ending.is_set():
            self.tick()
            self._ending.wait(1.0)

    def stop(self) -> None:
        """End, and wait for the end."""
        self._ending.set()
        self.join(timeout=10)
        self._producer.close()

    def tick(self) -> None:
        """One second of the ward."""
        at_ms, heard = now_ms(), [bed for bed in self.beds if bed != self.forgotten]
        self._offset += 1
        self.send(self.scored(at_ms))
        if self._offset % ROUND_S == 1:
            self.send(self.advised(at_ms, heard))
            self.send(forecast(self.ward, heard, *vitals(), at_ms=at_ms, offset=self._offset))

    def tell(self, step: AlertTransition) -> None:
        """One step of an alarm or an advisory, decided at the newest record of the ward's log."""
        self.send(msgspec.structs.replace(step, source=source_of(self.ward, self._offset)))

    def send(self, record: Record) -> None:
        """Write the record to its topic and wait until the broker has it."""
        if isinstance(record, AlertTransition):
            topic, key = ALERTS.name, record.alert_id
        else:
            topic, key = (SCORES if isinstance(record, ScoreFrame) else FORECASTS).name, self.ward
        self._producer.send(topic, codec.encode(record), key=key.encode()).get(timeout=20)

    def advised(self, at_ms: int, beds: list[str]) -> ScoreFrame:
        """What the models say of these beds, at the record of the last scores."""
        spoken = [self.spoken(n, bed, at_ms) for n, bed in enumerate(self.beds) if bed in beds]
        return with_outlooks(scores(self.ward, [], at_ms=at_ms, offset=self._offset), *spoken)

    def scored(self, at_ms: int) -> ScoreFrame:
        """Everybody's values, each a little different."""
        wobble = self._offset % 3
        frames = [
            scores(
                self.ward,
                [bed],
                at_ms=at_ms,
                offset=self._offset,
                heart_rate=70.0 + n + wobble,
                spo2=96.0 + n % 3,
                respiration=15.0 + (n + self._offset // 4) % 3,
                systolic=118.0 + n,
                diastolic=72.0 + n % 5,
                mean_pressure=87.0 + n % 5,
                temperature=36.6 + n % 4 / 10,
            )
            for n, bed in enumerate(self.beds)
        ]
        return msgspec.structs.replace(frames[0], beds=tuple(bed for frame in frames for bed in frame.beds))

    def spoken(self, n: int, bed: str, at_ms: int) -> BedOutlook:
        """What the models say of a bed, unless the test says otherwise."""
        if bed in self.outlooks:
            return msgspec.structs.replace(self.outlooks[bed], at_ms=at_ms)
        risks = (
            risk("hypotension", min(0.02 + n / 50, 0.3)),
            risk("desaturation", 0.02),
            risk("tachycardia", 0.01),
            risk("tachypnoea", 0.03),
            risk("death", 0.05, horizon_s=0),
        )
        return outlook(bed, at_ms=at_ms, score=min(0.06 + n / 40, 0.5), risks=risks)


def vitals() -> tuple[VitalForecast, ...]:
    """A network's bands with a near part for saturation, and one vital where persistence has been better."""
    return (
        ahead(Vital.HEART_RATE, drift=2.0, below=0.01, above=0.09),
        ahead(Vital.SPO2, MINUTES_S, drift=-0.5, below=0.08),
        ahead(Vital.SPO2, drift=-0.6, below=0.34),
        ahead(Vital.RESPIRATION, HOURS_S[:1], below=0.01, above=0.02),
        ahead(Vital.RESPIRATION, HOURS_S[1:], engine=Engine.PERSISTENCE, below=0.01, above=0.03),
        ahead(Vital.SYSTOLIC, drift=-3.0, below=0.12, above=0.01),
        ahead(Vital.MEAN_PRESSURE, drift=-2.0, below=0.1, above=0.01),
        ahead(Vital.TEMPERATURE, below=0.01, above=0.02),
    )
