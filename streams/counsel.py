"""What models say beside the core: asked in a thread of their own, so that the event loop goes on meanwhile.

The ward's next record waits for the answers, for they are part of its state: the same log gives the same bytes only
when nothing overtakes them (docs/why/models-beside-the-core.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

import structlog

from contracts.records import ModelRef, ScoreFrame, VitalsForecast
from models.champions import Event
from models.ports import Answers, Ask
from models.vitals.engine import VitalsModels
from streams.metrics import WorkerMetrics

log = structlog.get_logger(__name__)

T = TypeVar("T")

REFRESH_S: Final = 1.0
SAY_AGAIN_S: Final = 60.0


class Counsel(Protocol):
    """Who is asked, and where the asking is done."""

    def answer(self, ask: Ask) -> Answers:
        """What the models make of it, a function of the ask alone."""
        ...

    async def aside(self, work: Callable[[], T]) -> T:
        """The result of work that takes a while and touches nothing that others change."""
        ...


class Inline:
    """The models asked at once, where nobody waits: for ledgers and tests."""

    def __init__(self, models: VitalsModels) -> None:
        self._models = models

    def answer(self, ask: Ask) -> Answers:
        """As the models answer."""
        return self._models.answer(ask)

    async def aside(self, work: Callable[[], T]) -> T:
        """Done here and now."""
        return work()


class ModelThread:
    """The models of a worker: one thread that answers, another now and then that keeps the champions current."""

    def __init__(self, models: VitalsModels, metrics: WorkerMetrics) -> None:
        self.models = models
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="models")

    def answer(self, ask: Ask) -> Answers:
        """As the models answer, counted. Called within ``aside``."""
        self._metrics.model_asks.inc()
        return self.models.answer(ask)

    async def aside(self, work: Callable[[], T]) -> T:
        """Done in the models' thread, one after another."""
        began = time.perf_counter()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._metrics.model_wait_seconds.observe(time.perf_counter() - began)

    def champions(self) -> tuple[ModelRef, ...]:
        """What new ticks name."""
        return self.models.champions()

    async def keep_current(self) -> None:
        """Follow the registry for ever, off the event loop and beside the thread that answers."""
        while True:
            await asyncio.to_thread(self.refresh)
            await asyncio.sleep(REFRESH_S)

    def refresh(self) -> None:
        """Bring champions and what is told of them up to date."""
        before = self.models.champions()
        self.models.refresh()
        metrics, now = self._metrics, self.models.champions()
        for gone in set(before) - set(now):
            metrics.model_in_force.labels(gone.name, gone.version).set(0)
        for ref in now:
            metrics.model_in_force.labels(ref.name, ref.version).set(1)
        for name in {ref.name for ref in (*before, *now)} | self.models.refused.keys():
            metrics.model_refused.labels(name).set(name in self.models.refused)

    def health(self) -> dict[str, Any]:
        """For ``/healthz``: what serves, and what was refused and why."""
        return {
            "models": {ref.name: ref.version for ref in self.champions()},
            "refused": {name: {"version": version, "why": why} for name, (version, why) in self.models.refused.items()},
        }


def teller(metrics: WorkerMetrics, clock: Callable[[], float] = time.monotonic) -> Callable[[Event], None]:
    """Who hears of events of the models: each is counted, and a fault is said once a minute."""
    said: dict[tuple[str, str], float] = {}

    def tell(event: Event) -> None:
        about = {"model": event.name, "version": event.version}
        if event.what == "loaded":
            log.info("model in force from the next tick on", **about)
        elif event.what == "fault":
            metrics.model_faults.labels(event.name).inc()
            if clock() - said.get((event.name, event.version), -SAY_AGAIN_S) >= SAY_AGAIN_S:
                said[event.name, event.version] = clock()
                log.error("model failed to answer; its outlook is left out", why=event.why, **about)
        elif event.what == "forgot":
            log.warning("model cannot read what was remembered and begins afresh", why=event.why, **about)
        else:
            metrics.model_refusals.labels(event.name, event.what).inc()
            words = "model refused; the one before goes on" if event.what == "refused" else "model is not to be had"
            log.error(words, why=event.why, **about)

    return tell


class Outspoken:
    """Counts what the models said: beds, drift, the forecasts' live skill."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._skill: dict[tuple[str, int], dict[str, float]] = {}
        self._fallen_back: dict[str, dict[str, float]] = {}

    def scores(self, frame: ScoreFrame) -> None:
        """Outlooks of one ward."""
        metrics = self._metrics
        anomalies = [outlook.anomaly for outlook in frame.outlooks if outlook.anomaly is not None]
        metrics.model_beds.labels("anomaly").inc(len(anomalies))
        metrics.model_beds.labels("risk").inc(sum(bool(outlook.risks) for outlook in frame.outlooks))
        for anomaly in anomalies:
            for vital in anomaly.drift:
                metrics.drift_events.labels(vital).inc()

    def forecast(self, forecast: VitalsForecast) -> None:
        """The forecasts of one ward. Skill is the ward's, so any bed tells of it."""
        self._metrics.model_beds.labels("forecast").inc(len(forecast.beds))
        engines: dict[str, list[bool]] = {}
        for vital in (vital for bed in forecast.beds for vital in bed.vitals):
            engines.setdefault(vital.vital, []).append(vital.engine == "persistence")
            for horizon_s, skill in zip(vital.horizons_s, vital.skill, strict=False):
                if skill is not None:
                    self._skill.setdefault((vital.vital, horizon_s), {})[forecast.ward] = skill
        for name, fallen_back in engines.items():
            by_ward = self._fallen_back.setdefault(name, {})
            by_ward[forecast.ward] = sum(fallen_back) / len(fallen_back)
            self._metrics.forecast_fallback.labels(name).set(sum(by_ward.values()) / len(by_ward))
        for (name, horizon_s), wards in self._skill.items():
            self._metrics.forecast_skill.labels(name, str(horizon_s)).set(sum(wards.values()) / len(wards))
