"""Replays out of the lake: the same bytes, keys, order and times as from the broker, which may have forgotten them."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from batch.compact import compact
from batch.storage import Storage
from contracts.settings import Settings
from contracts.topology import VITALS
from producers.replay import topics
from producers.replay.plan import Wish, make
from producers.replay.run import origin_of
from producers.replay.source import Log, spans
from tests.integration.batch.handmade import Lake, Sent
from tests.integration.producers.replay_logs import START_MS, Stored, stored, ward, ward_log, ward_started

pytestmark = [pytest.mark.kafka, pytest.mark.hdfs]

FIRST = 5_000
"""The offset with which each partition begins: what was before, the lake has never seen."""
AT_ONCE = 900


@pytest.fixture
def fresh() -> str:
    """A name that no topic has."""
    return f"from_lake_{os.getpid()}_{time.monotonic_ns()}"


@pytest.fixture
def day(lake: Storage) -> list[Stored]:
    """Two minutes of two wards in a lake that landed them in batches; as the broker had them."""
    ends: dict[int, int] = {}
    log = []
    for one in ward_log(12, 120, "demo"):
        offset = ends.get(one.partition, FIRST)
        ends[one.partition] = offset + 1
        log.append(one._replace(offset=offset, headers=[("n", str(offset).encode())] if offset % 7 == 0 else None))
    made, order = Lake(lake), random.Random(7)
    for at in range(0, len(log), AT_ONCE):
        batch = log[at : at + AT_ONCE]
        order.shuffle(batch)  # rows of a file stand in no order
        made.land(
            [Sent(one.partition, one.offset, one.key, one.value, one.at_ms, tuple(one.headers or ())) for one in batch]
        )
    return sorted(log, key=lambda one: one[:2])


def plain(found: list[Stored]) -> list[tuple[Any, ...]]:
    """Without offsets, which are each topic's own."""
    return [(one.partition, one.at_ms, one.key, one.value, one.headers) for one in found]


def replay(settings: Settings, state: Path, *words: str, role: str = "engineer") -> tuple[int, dict[str, Any], str]:
    """``ward replay`` to its end: exit code, document, chatter."""
    done = ward(["replay", *words, "--json"], settings.kafka, state, **reach(settings, role))
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def reach(settings: Settings, role: str = "engineer") -> dict[str, str]:
    """Variables that lead to the session's HDFS."""
    assert settings.hdfs_url
    assert settings.hdfs_rpc
    return {"WARD_HDFS_URL": settings.hdfs_url, "WARD_HDFS_RPC": settings.hdfs_rpc, "WARD_ROLE": role}


def test_the_lake_gives_what_the_broker_gave(settings: Settings, day: list[Stored], fresh: str, tmp_path: Path) -> None:
    code, told, said = replay(settings, tmp_path, VITALS.name, "--from-lake", "--to", fresh, "--unpaced")
    assert (code, told.get("state"), told.get("sent")) == (0, "finished", len(day)), said
    assert plain(stored(settings.kafka, fresh)) == plain(day)


def test_a_merged_lake_gives_the_same_and_a_window_only_its_part(
    settings: Settings, lake: Storage, day: list[Stored], fresh: str, tmp_path: Path
) -> None:
    before = len(list(lake.entries("/lake/tables/records")))
    compact(lake, grace_s=0)
    assert len(list(lake.entries("/lake/tables/records"))) < before
    words = (VITALS.name, "--from-lake", "--from", "2026-01-02T08:00:30Z", "--for", "40s", "--to", fresh, "--unpaced")
    code, told, said = replay(settings, tmp_path, *words)
    assert code == 0, said
    found = stored(settings.kafka, fresh)
    assert plain(found) == plain([one for one in day if START_MS + 30_000 <= one.at_ms < START_MS + 70_000])
    assert told["records"] == len(found)


def test_one_killed_half_way_goes_on_exactly(settings: Settings, day: list[Stored], fresh: str, tmp_path: Path) -> None:
    words = ["replay", VITALS.name, "--from-lake", "--to", fresh, "--speed", "60"]
    going = ward_started([*words], settings.kafka, tmp_path, **reach(settings))
    try:
        until_s = time.monotonic() + 60
        while not _begun(settings.kafka, fresh):
            assert time.monotonic() < until_s
            assert going.poll() is None
    finally:
        going.kill()
        going.communicate()
    code, told, said = replay(settings, tmp_path, "--to", fresh, "--resume")
    assert (code, told.get("state")) == (0, "finished"), said
    assert plain(stored(settings.kafka, fresh)) == plain(day)


def test_keys_bring_the_ticks_of_their_partitions(settings: Settings, day: list[Stored], monkeypatch: Any) -> None:
    for name, value in {**reach(settings), "WARD_KAFKA": settings.kafka}.items():
        monkeypatch.setenv(name, value)
    key = next(one.key for one in day if one.key is not None and not one.key.startswith(b"~"))
    wish = Wish(sources=(VITALS.name,), to="never-made", keys=(key.decode(),), from_lake=True)
    made = make(wish, settings.kafka, START_MS, None, origin_of(wish, settings.kafka))
    partition = next(one.partition for one in day if one.key == key)
    mine = [one for one in day if one.partition == partition and one.key in (key, b"~clock")]
    assert (made.records, made.counted) == (len(mine), "lake")
    assert {log.partition for log in made.logs if log.records} == {partition}


def test_a_span_that_the_lake_does_not_have_is_named(
    settings: Settings, day: list[Stored], fresh: str, tmp_path: Path
) -> None:
    code, _, said = replay(settings, tmp_path, VITALS.name, "--from-lake", "--from", "2031-01-01T00:00Z", "--to", fresh)
    assert code == 3
    assert "it holds 2026-01-02T08:00:00" in said


def test_a_role_that_may_not_read_raw_records_is_refused(
    settings: Settings, day: list[Stored], fresh: str, tmp_path: Path
) -> None:
    code, _, said = replay(settings, tmp_path, VITALS.name, "--from-lake", "--to", fresh, role="researcher")
    assert code == 2
    assert "a researcher may not read" in said


def test_a_topic_that_is_none_and_an_hdfs_that_is_away_are_told(settings: Settings, fresh: str, tmp_path: Path) -> None:
    assert replay(settings, tmp_path, "no_topic", "--from-lake", "--to", fresh)[0] == 3
    away = reach(settings) | {"WARD_HDFS_URL": "http://127.0.0.1:9", "WARD_HDFS_RPC": "hdfs://127.0.0.1:9"}
    done = ward(["replay", VITALS.name, "--from-lake", "--to", fresh], settings.kafka, tmp_path, **away)
    assert done.returncode == 4, done.stderr


def _begun(bootstrap: str, topic: str) -> bool:
    if topic not in topics.find(bootstrap, [topic]):
        return False
    there = spans(bootstrap, [Log(topic, partition) for partition in range(VITALS.partitions)], None, None)
    return sum(end for _, end in there.values()) > 100
