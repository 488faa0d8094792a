"""A demo discards the log of the last demo, with the lake that holds it, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.commands.demo import _begin_afresh
from infra.site import made_by_demo
from infra.stack import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path / "state", tmp_path / "cache")


def _log(stack: Stack) -> Path:
    segment = stack.state / "data" / "kafka" / "patient_vitals-0" / "0.log"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(b"frames")
    return segment


def test_the_first_demo_marks_its_log(stack: Stack) -> None:
    _begin_afresh(stack)
    assert made_by_demo(stack.state).exists()


def test_the_log_of_an_earlier_demo_goes(stack: Stack) -> None:
    _begin_afresh(stack)
    segment = _log(stack)
    _begin_afresh(stack)
    assert not segment.exists()
    assert made_by_demo(stack.state).exists()


def test_the_lake_of_an_earlier_demo_goes_with_its_log_and_the_rest_stays(stack: Stack) -> None:
    _begin_afresh(stack)
    _log(stack)
    for name in ("namenode", "datanode", "hive", "influxdb"):
        (stack.state / "data" / name).mkdir()
    _begin_afresh(stack)
    assert [path.name for path in sorted((stack.state / "data").iterdir())] == ["influxdb", "made-by-demo"]


def test_a_log_that_up_began_is_kept(stack: Stack) -> None:
    segment = _log(stack)
    (stack.state / "data" / "namenode").mkdir()
    _begin_afresh(stack)
    assert segment.read_bytes() == b"frames"
    assert (stack.state / "data" / "namenode").exists()
    assert not made_by_demo(stack.state).exists()
