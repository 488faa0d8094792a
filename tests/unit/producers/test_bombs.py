"""Bombs, traversals and damage against the gateway's child: refused in time with a reason; the next file is read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from contracts.errors import Poison
from models.imaging.child import Child
from producers.intake_child import PSEUDONYM, Cleaned, Order, Task
from producers.intake_reasons import REASONS
from tests.unit.models.imaging import made
from tests.unit.producers import bombs

SECONDS = 2.0
"""Of CPU for a file: what it takes by the clock is the neighbours' doing too."""


@pytest.fixture(scope="module")
def child() -> Iterator[Child[Task, Cleaned]]:
    one = Child[Task, Cleaned](
        "producers.intake_child", Order(bytes(range(32)), False), Cleaned, seconds=SECONDS, memory_bytes=3 << 30
    )
    one.start()
    yield one
    one.close()


def outcome(child: Child[Task, Cleaned], content: bytes) -> tuple[str, Cleaned | None]:
    try:
        return "stored", child.ask(Task(content))
    except Poison as why:
        return why.reason, None


def test_the_corpus_is_large_enough() -> None:
    assert len(bombs.DOS) + len(bombs.TRAVERSAL) + len(bombs.HARMLESS) >= 60


@pytest.mark.parametrize("name", [*bombs.DOS, *bombs.TRAVERSAL])
def test_what_wants_to_break_or_leave_the_house_is_refused_in_time(child: Child[Task, Cleaned], name: str) -> None:
    content = {**bombs.DOS, **bombs.TRAVERSAL}[name]()
    child.start()
    assert child._child is not None
    before = psutil.Process(child._child.pid)
    cpu_s = sum(before.cpu_times()[:2])
    reason, _ = outcome(child, content)
    assert reason in REASONS
    assert reason not in ("crashed", "timeout"), "a check before it, not the guard around it, should have refused it"
    assert sum(before.cpu_times()[:2]) - cpu_s <= SECONDS


@pytest.mark.parametrize("name", bombs.HARMLESS)
def test_an_image_that_is_something_else_besides_is_only_an_image_afterwards(
    child: Child[Task, Cleaned], name: str
) -> None:
    content = bombs.HARMLESS[name]()
    assert bombs.evil(content) or content[:4] == b"II*\0"
    reason, cleaned = outcome(child, content)
    assert reason == "stored"
    assert cleaned is not None
    assert not bombs.evil(cleaned.content)
    assert cleaned.content[:128] == bytes(128)
    assert all(
        PSEUDONYM.fullmatch(uid or "") for uid in (cleaned.told.study, cleaned.told.series, cleaned.told.instance)
    )


def test_a_file_with_changed_bytes_is_stored_or_refused_and_the_child_goes_on(child: Child[Task, Cleaned]) -> None:
    for name, content in bombs.fuzzed(60):
        began = time.process_time()
        reason, cleaned = outcome(child, content)
        assert reason in {"stored", *REASONS}, name
        assert reason not in ("crashed", "timeout"), name
        assert time.process_time() - began < SECONDS
        if cleaned is not None:
            assert not bombs.evil(cleaned.content)
    assert outcome(child, made.dicom())[0] == "stored"


def test_the_child_can_write_no_file_and_its_files_are_closed_to_the_next(
    child: Child[Task, Cleaned], tmp_path: Path
) -> None:
    assert outcome(child, made.dicom())[0] == "stored"
    assert child._child is not None
    limits = Path(f"/proc/{child._child.pid}/limits").read_text()
    assert [line.split()[3] for line in limits.splitlines() if line.startswith("Max file size")] == ["0"]
    held = [os.readlink(one) for one in Path(f"/proc/{child._child.pid}/fd").iterdir()]
    assert not [target for target in held if target.startswith("/") and not target.startswith("/dev/")]
