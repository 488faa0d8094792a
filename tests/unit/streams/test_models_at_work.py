"""Models beside the core: asked on ticks, named in the log, decided the same again after a death, silent when not to be
had."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contracts.records import Category, ModelRef
from contracts.topology import VITALS, partition_for
from models.champions import Event
from models.ports import ANOMALY, FORECAST
from models.registry import Registry
from models.vitals.engine import VitalsModels
from models.ward.core import WardCore
from streams import ledger
from streams.agents.clock import Clock
from streams.counsel import Inline, ModelThread, teller
from streams.ledger import Ledger
from streams.metrics import WorkerMetrics
from streams.pulse import Pulse
from tests.unit.models.vitals.simple_models import NAMES, add, load, registry_of
from tests.unit.streams.memory import POLICY, START_MS, MemoryBroker, MemoryOutbox, Worker, frame

pytestmark = pytest.mark.asyncio

WARD = "W1"
PARTITION = partition_for(WARD, VITALS.partitions)
SECONDS = 220


class Setting:
    """A registry, its models, and a log in which a fast pulse is no alarm but much for the models to speak of."""

    def __init__(self, folder: Path) -> None:
        self.registry: Registry = registry_of(folder, scale=1.7)
        self.events: list[Event] = []
        self.models = VitalsModels(self.registry, self.events.append, load)
        self.models.refresh()
        self.broker = MemoryBroker()
        self.broker.champions = self.models.champions()

    def play(self, seconds: int, start: int = 0) -> None:
        for n in range(start, start + seconds):
            self.broker.now_ms = START_MS + n * 1000
            self.broker.frame(frame(WARD, n, 108.0 + n % 5))
            self.broker.tick(PARTITION)

    def worker(self) -> Worker:
        return Worker(self.broker, counsel=Inline(self.models)).start(PARTITION)

    async def run(self) -> None:
        await self.worker().run(self.broker.log(PARTITION))

    async def decided(self, models: VitalsModels | None = None) -> Ledger:
        return await ledger.decide(self.broker.log(PARTITION), WardCore(POLICY), models or self.models)

    def written(self) -> Ledger:
        book = Ledger()
        for transition in self.broker.transitions():
            book.add(transition)
        return book


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


async def test_a_ward_is_asked_every_ten_seconds_and_its_forecasts_go_to_their_topic(setting: Setting) -> None:
    setting.play(60)
    await setting.run()
    forecasts, outlooks = setting.broker.forecasts(), setting.broker.outlooks()
    assert 5 <= len(forecasts) <= 7
    assert [f.source for f in forecasts] == [o.source for o in outlooks]
    assert forecasts[0].ward == WARD
    assert forecasts[0].levels == (0.05, 0.5, 0.95)
    assert forecasts[0].models[0].name == FORECAST
    assert 1 <= sum(bool(o.outlooks[0].risks) for o in outlooks) <= 2, "risks change slowly"
    assert all(not o.beds for o in outlooks)


async def test_every_output_names_the_model_and_the_record_since_which_it_is_in_force(setting: Setting) -> None:
    setting.play(40)
    before = setting.models.champions()
    setting.registry.promote(ANOMALY, add(setting.registry, ANOMALY, scale=0.5), "tests", "calmer")
    setting.models.refresh()
    setting.broker.champions = setting.models.champions()
    swap = len(setting.broker.log(PARTITION)) + 1
    setting.play(40, start=40)
    await setting.run()
    by_version: dict[str, set[int]] = {}
    for outlook in setting.broker.outlooks():
        (model,) = (m for m in outlook.models if m.name == ANOMALY)
        assert model.since is not None
        assert model.since.offset <= outlook.source.offset
        by_version.setdefault(model.version, set()).add(model.since.offset)
    old, new = ({r.name: r.version for r in refs}[ANOMALY] for refs in (before, setting.models.champions()))
    assert by_version == {old: {1}, new: {swap}}


async def test_advisories_are_alarms_of_the_ledger_and_name_their_model(setting: Setting) -> None:
    setting.play(SECONDS)
    await setting.run()
    advisories = [t for t in setting.broker.transitions() if t.category is Category.ADVISORY]
    assert advisories
    names = {ref.name: f"{ref.name}@{ref.version}" for ref in setting.models.champions()}
    assert {t.model for t in advisories} <= set(names.values())
    difference = ledger.compare(await setting.decided(), setting.written())
    assert difference.none, difference


async def test_a_ledger_that_lacks_the_models_of_the_log_does_not_agree(setting: Setting, tmp_path: Path) -> None:
    setting.play(SECONDS)
    await setting.run()
    empty = VitalsModels(Registry(tmp_path / "empty", shipped=tmp_path / "none"), load=load)
    assert ledger.compare(await setting.decided(empty), setting.written()).unexplained


@pytest.mark.parametrize("writes", [3, 30, 61, 100, 171, 222, 255, 256, 257, 258, 259, 275])
async def test_a_worker_that_dies_at_any_write_remembers_what_its_models_did(setting: Setting, writes: int) -> None:
    setting.play(SECONDS)
    log = setting.broker.log(PARTITION)

    async def live_until_death(worker: Worker) -> None:
        for record in log:
            await worker.shell._handle(record)
            if record.offset % 50 == 49:
                await worker.shell.cut(PARTITION)

    setting.broker.dies_after = writes
    with pytest.raises(Exception, match="dead"):
        await live_until_death(setting.worker())
    setting.broker.dies_after = None
    again = setting.worker()
    await live_until_death(again)
    await live_until_death(again)
    assert ledger.compare(await setting.decided(), setting.written()).none
    undisturbed = Setting.__new__(Setting)
    undisturbed.__dict__ |= setting.__dict__ | {"broker": MemoryBroker()}
    undisturbed.broker.champions = setting.broker.champions
    undisturbed.play(SECONDS)
    await undisturbed.run()
    ours, theirs = (
        {f.source.offset: f for f in one.broker.forecasts()} | {-o.source.offset: o for o in one.broker.outlooks()}
        for one in (undisturbed, setting)
    )
    assert ours == theirs, "the same bytes as without the death"


async def test_a_version_that_is_gone_costs_its_answers_and_never_the_vitals(setting: Setting) -> None:
    setting.broker.champions = tuple(ModelRef(name=name, version="0123456789ab") for name in NAMES)
    setting.play(40)
    await setting.run()
    assert not setting.broker.forecasts()
    assert not setting.broker.outlooks()
    assert len(setting.broker.scores()) == 40
    assert {event.name for event in setting.events if event.what == "absent"} == set(NAMES)


async def test_without_models_nothing_is_asked_and_nothing_else_changes(setting: Setting) -> None:
    setting.play(40)
    await Worker(setting.broker).start(PARTITION).run(setting.broker.log(PARTITION))
    assert setting.broker.forecasts() == []
    assert len(setting.broker.scores()) == 40


async def test_a_clock_tick_names_the_champions_of_its_moment(setting: Setting) -> None:
    clock = Clock(
        MemoryOutbox(setting.broker), lambda: frozenset({PARTITION}), Pulse(), champions=setting.models.champions
    )
    assert await clock.tick() == 1
    assert b'"models":[{"name":"deterioration","version":"' in (setting.broker.log(PARTITION)[-1].value or b"")


async def test_the_event_loop_turns_while_the_models_think(setting: Setting) -> None:
    metrics = WorkerMetrics()
    thread = ModelThread(setting.models, metrics)
    began, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def think() -> str:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(ended.wait(), loop).result(10)
        return "thought"

    thinking = asyncio.ensure_future(thread.aside(think))
    await asyncio.wait_for(began.wait(), 10)
    assert not thinking.done()
    ended.set()
    assert await thinking == "thought"


async def test_a_refusal_is_counted_and_told_to_who_asks_for_the_health(setting: Setting) -> None:
    metrics = WorkerMetrics()
    models = VitalsModels(setting.registry, teller(metrics), load)
    thread = ModelThread(models, metrics)
    thread.refresh()
    assert thread.health()["refused"] == {}
    bad = setting.registry.promote(FORECAST, add(setting.registry, FORECAST, scale=3.0), "tests", "another")
    (setting.registry.folder(FORECAST, bad) / "weights.bin").write_bytes(b"?")
    thread.refresh()
    sample = metrics.registry.get_sample_value
    assert sample("ward_model_refused", {"model": FORECAST}) == 1
    assert sample("ward_model_refusals_total", {"model": FORECAST, "what": "refused"}) == 1
    assert sample("ward_model_in_force", {"model": FORECAST, "version": thread.health()["models"][FORECAST]}) == 1
    assert thread.health()["refused"][FORECAST]["version"] == bad
    setting.registry.rollback(FORECAST, "tests", "it is not whole")
    thread.refresh()
    assert sample("ward_model_refused", {"model": FORECAST}) == 0
