"""What is wanted of a replay from outside: each wish once, none of another run, nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.replays import PROGRESS, Want, progress, wish
from producers.replay.desk import Desk
from producers.replay.journal import Entry, State
from producers.replay.pacing import Control
from producers.replay.plan import LogPlan, Plan, Wish
from producers.replay.run import Progress

AT_MS = 1_767_340_800_000


def entry(*sources: str) -> Entry:
    """A replay of a minute of these topics that runs."""
    logs = tuple(
        LogPlan(topic=name, target=f"again_{name}", partition=0, start=5, end=65, records=60, first_ms=AT_MS)
        for name in sources
    )
    plan = Plan(
        wish=Wish(sources=sources, to="again"),
        bootstrap="nowhere:1",
        made_ms=0,
        logs=logs,
        counted="offsets",
        records=60 * len(logs),
        first_ms=AT_MS,
        last_ms=AT_MS + 60_000,
    )
    return Entry(plan=plan, state=State.RUNNING)


@pytest.fixture
def said() -> list[str]:
    """What the person at the replay's terminal reads."""
    return []


@pytest.fixture
def control() -> Control:
    """That of the replay."""
    return Control()


def desk_in(folder: Path, control: Control, said: list[str], at_ms: int = AT_MS + 20_000) -> Desk:
    """One that nobody looks after but the test."""

    def now() -> Progress:
        return Progress(sent=20, of=60, at_ms=at_ms, late_ms=0.123, seconds=1.0, paused=control.paused)

    return Desk(entry("patient_vitals"), folder, control, now, said.append)


def test_a_wish_is_followed_once(tmp_path: Path, control: Control, said: list[str]) -> None:
    desk = desk_in(tmp_path, control, said)
    assert not desk.look()
    wish(tmp_path, Want.PAUSE, "nurse.kim")
    assert (desk.look(), desk.look()) == (True, False)
    assert control.paused
    wish(tmp_path, Want.PAUSE, "nurse.kim")
    assert desk.look()
    assert control.paused, "two who want a pause do not undo each other"
    wish(tmp_path, Want.GO_ON, "nurse.lee")
    assert desk.look()
    assert not control.paused
    wish(tmp_path, Want.STOP, "nurse.lee")
    assert desk.look()
    assert control.stopped
    assert said[0] == "  pause, wanted by nurse.kim"


def test_a_wish_to_an_earlier_run_is_not_followed(tmp_path: Path, control: Control, said: list[str]) -> None:
    wish(tmp_path, Want.STOP, "nurse.kim")
    desk = desk_in(tmp_path, control, said)
    assert not desk.look()
    assert not control.stopped


@pytest.mark.parametrize(
    ("ahead_s", "why"), [(0, "is behind"), (-30, "is behind"), (41, "beyond the end"), (40, None), (1, None)]
)
def test_only_a_moment_ahead_within_the_span_is_gone_to(
    ahead_s: int, why: str | None, tmp_path: Path, control: Control, said: list[str]
) -> None:
    desk, to_ms = desk_in(tmp_path, control, said), AT_MS + 20_000 + ahead_s * 1000
    wish(tmp_path, Want.SEEK, "nurse.kim", to_ms)
    assert desk.look()
    assert control.sought_ms(AT_MS + 20_000) == (to_ms if why is None else None)
    assert why is None or why in said[-1]


def test_it_tells_at_once_and_how_it_ended(tmp_path: Path, control: Control, said: list[str]) -> None:
    with desk_in(tmp_path, control, said) as desk:
        begun = progress(tmp_path)
        assert begun is not None
        assert (begun.state, begun.at_ms, begun.vitals) == ("running", AT_MS + 20_000, "again_patient_vitals")
        wish(tmp_path, Want.STOP, "nurse.kim")
        desk._entry.state = State.STOPPED
    ended = progress(tmp_path)
    assert ended is not None
    assert ended.state == "stopped"


def test_a_full_disk_is_said_once_and_the_replay_goes_on(tmp_path: Path, control: Control, said: list[str]) -> None:
    (tmp_path / PROGRESS).mkdir()
    with desk_in(tmp_path, control, said):
        pass
    assert len(said) == 1
    assert "make room" in said[0]


@pytest.mark.parametrize(
    ("sources", "frames"),
    [
        (("patient_vitals",), "again_patient_vitals"),
        (("alerts", "patient_vitals"), "again_patient_vitals"),
        (("a_day_of_ours",), "again_a_day_of_ours"),
        (("a_day_of_ours", "alerts"), "again_a_day_of_ours"),
        (("alerts",), None),
        (("one", "two"), None),
    ],
)
def test_which_target_holds_frames(sources: tuple[str, ...], frames: str | None) -> None:
    assert entry(*sources).plan.frames == frames
