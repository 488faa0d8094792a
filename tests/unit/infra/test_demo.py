"""A demo discards the last demo's log and lake, nobody else's, and tells what it was in lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts import codec
from contracts import records as r
from contracts.topology import IMAGE_ARRIVALS, IMAGE_REFUSALS, IMAGE_RESULTS, Topic
from infra.archive import Lake
from infra.commands.demo import _begin_afresh, _in_words
from infra.demo import Counts
from infra.site import made_by_demo
from infra.stack import Stack

ARRIVAL = r.ImageArrival(
    version=1, patient="p", study="s", series="e", instance="i", modality="DX", uri="/images/i", sha256="0", at_ms=1
)
RESULT = r.ImageResult(version=1, job_id="j1", study="s", instance="i", model="knee", model_sha256="0", at_ms=2)
REFUSAL = r.ImageRefusal(
    version=1, refusal_id="f", sha256="0", reason="not_an_image", detail="d", source="submit", at_ms=1, size=3
)


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


def test_an_image_is_counted_once_however_often_it_is_told_of() -> None:
    counts = Counts()
    told: list[tuple[Topic[Any], r.Record]] = [
        *((IMAGE_ARRIVALS, ARRIVAL) for _ in range(2)),
        (IMAGE_ARRIVALS, msgspec.structs.replace(ARRIVAL, revision=1)),
        *((IMAGE_RESULTS, msgspec.structs.replace(RESULT, label="x", attempt=n)) for n in (1, 2)),
        (IMAGE_RESULTS, msgspec.structs.replace(RESULT, job_id="j2", refusal="blank")),
        (IMAGE_REFUSALS, REFUSAL),
    ]
    for topic, record in told:
        counts.image(topic.name, codec.encode(record))
    assert counts.images == {"arrived": 2, "classified": 1, "refused": 2}


def test_the_summary_in_words_has_one_line_a_part() -> None:
    lake = Lake(rows=12, records=3, pending=0, reconciled=True, caught_up=True)
    assert _in_words(lake) == "rows 12, records 3, pending 0, reconciled True, caught_up True"
    assert _in_words({"kafka": "healthy", "lake": "healthy"}) == "kafka healthy, lake healthy"
    assert _in_words(None) is None
