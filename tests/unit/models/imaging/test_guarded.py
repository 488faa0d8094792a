"""The reading process: a file that kills or stops it is one bad file, and the next one is read."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from contracts.errors import Poison
from contracts.pseudonyms import Pseudonyms
from models.imaging.guarded import Guarded, examined
from tests.unit.models.imaging import made

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def reader() -> Iterator[Guarded]:
    with Guarded(KEY, (8, 16), seconds=5, memory_bytes=1 << 30) as one:
        yield one


def test_the_child_makes_what_this_process_makes(reader: Guarded) -> None:
    found = reader.examine(made.dicom())
    assert found == examined(made.dicom(), Pseudonyms(KEY), (8, 16))
    assert {size: len(raw) for size, raw in found.shards.items()} == {8: 256, 16: 1024}


def test_a_bad_file_has_its_reason_and_the_next_is_read_by_the_same_child(reader: Guarded) -> None:
    reader.examine(made.dicom())
    child = reader._child
    with pytest.raises(Poison, match="truncated"):
        reader.examine(made.dicom()[:-500])
    reader.examine(made.dicom())
    assert reader._child is child


def test_a_child_that_is_gone_is_started_again(reader: Guarded) -> None:
    reader.examine(made.dicom())
    assert reader._child is not None
    os.kill(reader._child.pid, signal.SIGKILL)
    reader._child.wait()
    assert reader.examine(made.dicom()).format == "dicom"


def test_a_file_that_kills_the_child_is_one_bad_file(reader: Guarded) -> None:
    assert reader.examine(made.dicom()).rows == 40
    assert reader._child is not None
    threading.Timer(0.3, os.kill, (reader._child.pid, signal.SIGKILL)).start()
    os.kill(reader._child.pid, signal.SIGSTOP)
    with pytest.raises(Poison, match="crashed"):
        reader.examine(made.dicom())


def test_a_child_that_hangs_is_ended_in_time() -> None:
    with Guarded(KEY, (8,), seconds=0.5) as reader:
        reader._seconds = 0.05
        reader.examine(made.dicom())
        assert reader._child is not None
        stopped = reader._child.pid
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(Poison, match=r"timeout.*0\.5 s"):
            reader.examine(made.dicom())
        reader._seconds = 5
        assert reader.examine(made.dicom()).rows == 40
        assert reader._child.pid != stopped


def test_a_file_that_computes_too_long_is_ended_by_its_own_time() -> None:
    large = made.picture(np.tile(np.arange(256, dtype=np.uint8), (5000, 20)), "png")
    with Guarded(KEY, (8,), seconds=0.1) as reader, pytest.raises(Poison, match=r"timeout.*0\.1 s of CPU"):
        reader.examine(large)


def test_a_file_that_takes_too_much_memory_is_one_bad_file() -> None:
    large = made.picture(np.tile(np.arange(256, dtype=np.uint8), (6000, 24)), "png")
    with Guarded(KEY, (8,), memory_bytes=600 << 20) as reader:
        with pytest.raises(Poison, match=r"too_large|crashed"):
            reader.examine(large)
        assert reader.examine(made.dicom()).rows == 40
