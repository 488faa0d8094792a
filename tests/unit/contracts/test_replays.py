"""What a replay, its decider and the feed tell each other by files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from contracts.errors import Misconfigured, Transient
from contracts.replays import (
    PROGRESS,
    WANTED,
    ReplayProgress,
    Want,
    decisions,
    folder,
    progress,
    put,
    wanted,
    wish,
)

TOLD = ReplayProgress(
    replay="again",
    sources=("patient_vitals",),
    vitals="again",
    from_ms=1000,
    to_ms=9000,
    speed=60.0,
    shift_ms=None,
    state="running",
    paused=False,
    at_ms=2000,
    sent=10,
    of=80,
    late_ms=0.2,
    heeded=0,
    told_ms=50_000,
)


def test_what_is_told_is_read_as_it_was(tmp_path: Path) -> None:
    assert (progress(tmp_path), wanted(tmp_path), decisions(tmp_path)) == (None, None, None)
    put(tmp_path / PROGRESS, TOLD)
    assert progress(tmp_path) == TOLD
    assert [path.name for path in tmp_path.iterdir()] == [PROGRESS]


def test_wishes_are_numbered_also_beside_other_writers(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda n: wish(tmp_path, Want.PAUSE, f"somebody {n}"), range(40)))
    assert sorted(numbers) == list(range(1, 41))
    newest = wanted(tmp_path)
    assert newest is not None
    assert newest.number == 40


def test_a_lost_or_damaged_wish_does_not_bring_back_a_number_that_was_heeded(tmp_path: Path) -> None:
    put(tmp_path / PROGRESS, msgspec.structs.replace(TOLD, heeded=7))
    assert wish(tmp_path, Want.GO_ON, "nurse") == 8
    (tmp_path / WANTED).write_bytes(b"{")
    assert wish(tmp_path, Want.STOP, "nurse") == 8


def test_a_seek_and_nothing_else_names_a_moment(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        wish(tmp_path, Want.SEEK, "nurse")
    with pytest.raises(Misconfigured):
        wish(tmp_path, Want.PAUSE, "nurse", 5)
    wish(tmp_path, Want.SEEK, "nurse", 5000)
    told = wanted(tmp_path)
    assert told is not None
    assert (told.what, told.to_ms, told.by) == (Want.SEEK, 5000, "nurse")


def test_a_replay_that_is_gone_takes_no_wish(tmp_path: Path) -> None:
    with pytest.raises(Transient):
        wish(tmp_path / "gone", Want.STOP, "nurse")
    assert not (tmp_path / "gone").exists()


def test_a_replay_that_fell_silent_does_not_run() -> None:
    assert TOLD.runs(50_400)
    assert not TOLD.runs(60_000)
    assert not msgspec.structs.replace(TOLD, state="stopped").runs(50_400)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../etc", "x" * 201])
def test_no_folder_outside_the_replays_can_be_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        folder(str(tmp_path), name)
    assert folder(str(tmp_path), "again_1-b") == tmp_path / "replays" / "again_1-b"
