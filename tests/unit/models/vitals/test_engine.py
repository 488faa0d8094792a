"""Models at work: who is in force, what happens to one that is tampered with, absent or faulty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contracts.records import ModelRef
from models.champions import AGAIN_S, Event
from models.ports import ANOMALY, DETERIORATION, FORECAST, Ask, Memory, Windows
from models.registry import Registry
from models.vitals.engine import VitalsModels
from tests.unit.models.vitals.simple_models import NAMES, add, load, registry_of


class Room:
    """Models in force, what was told of them, and a clock to turn."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.told: list[Event] = []
        self.now_s = 0.0
        self.models = VitalsModels(registry, self.told.append, load, lambda: self.now_s)
        self.models.refresh()

    def champion(self, name: str) -> str | None:
        return {ref.name: ref.version for ref in self.models.champions()}.get(name)

    def promote(self, name: str, **parameters: object) -> str:
        return self.registry.promote(name, add(self.registry, name, **parameters), "tests", "another")

    def tamper(self, name: str, version: str) -> None:
        (self.registry.folder(name, version) / "weights.bin").write_bytes(b"weights of somebody else.")

    def ask(self, **models: str) -> Ask:
        return ask(models or {ref.name: ref.version for ref in self.models.champions()})


def ask(models: dict[str, str], beds: int = 3, risks: bool = True) -> Ask:
    minutes = np.full((beds, 60, 6), np.nan, np.float32)
    minutes[:, -1, 0] = [72 + 40 * i for i in range(beds)]
    unknown = np.full(beds, np.nan, np.float32)
    windows = Windows(
        minutes=minutes,
        hours=np.full((beds, 24, 6), np.nan, np.float32),
        at_ms=np.full(beds, 1_767_340_800_000),
        age_years=unknown,
        female=unknown,
        stay_h=unknown,
        limits=np.full((beds, 6, 2), np.nan, np.float32),
        alarming=np.zeros(beds, np.bool_),
    )
    memories = {name: Memory((b"",) * beds) for name in models}
    return Ask("W1", tuple(f"p{i}" for i in range(beds)), windows, memories, models, risks)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(registry_of(tmp_path))


def test_every_champion_serves_and_answers_for_each_bed(room: Room) -> None:
    assert {ref.name for ref in room.models.champions()} == set(NAMES)
    answers = room.models.answer(room.ask())
    assert answers.levels == (0.05, 0.5, 0.95)
    for found in (answers.anomalies, answers.forecasts, answers.risks):
        assert found is not None
        assert len(found) == 3
    assert answers.memories.keys() == {ANOMALY, FORECAST}
    assert {event.what for event in room.told} == {"loaded"}


def test_the_same_ask_is_answered_the_same(room: Room) -> None:
    assert room.models.answer(room.ask()) == room.models.answer(room.ask())


def test_a_model_that_is_nowhere_is_not_in_force_and_the_others_are(tmp_path: Path) -> None:
    room = Room(registry_of(tmp_path, ANOMALY))
    assert [ref.name for ref in room.models.champions()] == [ANOMALY]
    answers = room.models.answer(room.ask())
    assert answers.anomalies is not None
    assert (answers.forecasts, answers.risks, answers.levels) == (None, None, ())
    assert room.models.refused == {}


def test_risks_are_told_only_when_they_are_due(room: Room) -> None:
    models = {ref.name: ref.version for ref in room.models.champions()}
    assert room.models.answer(ask(models, risks=False)).risks is None


def test_a_promoted_version_serves_after_the_next_look_and_the_one_before_can_still_be_asked(room: Room) -> None:
    before = str(room.champion(ANOMALY))
    after = room.promote(ANOMALY, scale=2.0)
    assert room.champion(ANOMALY) == before
    room.models.refresh()
    assert room.champion(ANOMALY) == after
    old, new = (room.models.answer(room.ask(**{ANOMALY: version})).anomalies for version in (before, after))
    assert old is not None
    assert new is not None
    assert old[2] is not None
    assert new[2] is not None
    assert new[2].score == pytest.approx(2 * old[2].score)


def test_a_champion_that_was_tampered_with_is_refused_and_the_one_before_goes_on(room: Room) -> None:
    before = room.champion(FORECAST)
    after = room.promote(FORECAST, scale=2.0)
    room.tamper(FORECAST, after)
    room.models.refresh()
    assert room.champion(FORECAST) == before
    version, why = room.models.refused[FORECAST]
    assert version == after
    assert "weights.bin" in why
    assert room.told[-1][:3] == ("refused", FORECAST, after)
    assert room.models.answer(room.ask()).forecasts is not None


def test_a_refused_champion_is_said_once_a_minute_and_taken_when_it_is_put_right(room: Room) -> None:
    after = room.promote(FORECAST, scale=2.0)
    room.tamper(FORECAST, after)
    for _ in range(30):
        room.models.refresh()
        room.now_s += 1
    assert [event.what for event in room.told].count("refused") == 1
    (room.registry.folder(FORECAST, after) / "weights.bin").write_bytes(b"weights of a simple model")
    room.now_s += AGAIN_S
    room.models.refresh()
    assert room.champion(FORECAST) == after
    assert room.models.refused == {}


def test_a_worker_that_starts_with_a_tampered_champion_takes_the_latest_former_one(room: Room) -> None:
    before = room.champion(ANOMALY)
    after = room.promote(ANOMALY, scale=2.0)
    room.tamper(ANOMALY, after)
    again = Room(room.registry)
    assert again.champion(ANOMALY) == before
    assert again.models.refused[ANOMALY][0] == after


def test_a_version_that_is_named_and_not_to_be_had_says_nothing_and_is_said_once_a_minute(room: Room) -> None:
    for _ in range(5):
        answers = room.models.answer(
            room.ask(**{ANOMALY: "0123456789ab", DETERIORATION: str(room.champion(DETERIORATION))})
        )
        assert answers.anomalies is None
        assert ANOMALY not in answers.memories
        assert answers.risks is not None
    assert [event[:3] for event in room.told if event.what == "absent"] == [("absent", ANOMALY, "0123456789ab")]


def test_a_fault_costs_that_models_answer_and_is_told_each_time(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, FORECAST, DETERIORATION)
    registry.promote(ANOMALY, add(registry, ANOMALY, faulty=True), "tests", "a bad one")
    room = Room(registry)
    for _ in range(3):
        answers = room.models.answer(room.ask())
        assert answers.anomalies is None
        assert answers.forecasts is not None
        assert answers.memories.keys() == {FORECAST}
    assert [event.why for event in room.told if event.what == "fault"] == ["RuntimeError: out of order"] * 3


def test_a_model_that_forgets_a_bed_is_not_believed_about_the_others(tmp_path: Path) -> None:
    room = Room(registry_of(tmp_path, ANOMALY, short=True))
    assert room.models.answer(room.ask()).anomalies is None
    assert "2 answers for 3 beds" in room.told[-1].why


def test_a_version_that_cannot_read_what_the_one_before_remembered_begins_afresh(room: Room) -> None:
    before = room.models.answer(room.ask()).memories[ANOMALY]
    strict = room.promote(ANOMALY, strict=True)
    room.models.refresh()
    asked = room.ask(**{ANOMALY: strict})
    answers = room.models.answer(asked._replace(memories={ANOMALY: before}))
    assert answers.anomalies is not None
    assert answers.memories[ANOMALY].ward == b"strict"
    assert [event.what for event in room.told][-1] == "forgot"


def test_unreadable_aliases_leave_everything_as_it_was(room: Room) -> None:
    before = room.models.champions()
    assert room.registry.own is not None
    (room.registry.own / ANOMALY / "aliases.json").write_text("{")
    room.models.refresh()
    assert room.models.champions() == before
    assert ANOMALY in room.models.refused


def test_what_serves_stays_in_memory_however_many_versions_the_log_names(room: Room) -> None:
    champion = ModelRef(name=ANOMALY, version=str(room.champion(ANOMALY)))
    for n in range(12):
        room.models.answer(room.ask(**{ANOMALY: add(room.registry, ANOMALY, scale=1.0 + n)}))
    room.tamper(ANOMALY, champion.version)
    assert room.models.answer(room.ask()).anomalies is not None, "it was not read again"
