"""``ward shadow`` on a real broker: what it tells of a log while it grows is what a comparison finds afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.topology import TOPICS, VITALS
from infra.bench.broker import Broker
from infra.stack import wait_until
from tests.conftest import MakeTopic
from tests.integration.streams.test_compare import compared, fill, stricter

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(200)]
__all__ = ["stricter"]
SECONDS = 90


@pytest.fixture
def growing(make_topic: MakeTopic) -> str:
    """An empty topic whose records bring their own times."""
    return make_topic("growing", VITALS.partitions, {"message.timestamp.type": "CreateTime", "retention.ms": "-1"})


@pytest.fixture
def begun(kafka: str, growing: str, stricter: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A shadow beside that topic, with the stricter policy; it listens already."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("WARD_")} | {"WARD_KAFKA": kafka}
    words = ["shadow", "--candidate", stricter, "--topic", growing, "--every", "1s", "--to", str(tmp_path / "told")]
    going = subprocess.Popen(
        [sys.executable, "-m", "infra.cli", *words, "--no-models", "--json"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert going.stderr is not None
        assert "Ctrl-C ends it" in going.stderr.readline()
        yield going
    finally:
        if going.poll() is None:
            going.kill()
        going.communicate()


def report(folder: Path) -> dict[str, Any]:
    """The report as it stands; empty before there is one."""
    path = folder / "told" / "report.json"
    return dict(json.loads(path.read_bytes())) if path.exists() else {}


def test_what_a_shadow_tells_is_what_a_comparison_finds_and_nothing_is_written(
    kafka_with_topics: str, growing: str, begun: subprocess.Popen[str], stricter: str, tmp_path: Path
) -> None:
    broker = Broker(kafka_with_topics)
    before = {topic.name: broker.count(topic.name, topic.partitions) for topic in TOPICS}
    fill(kafka_with_topics, growing, SECONDS, ())
    code, wanted = compared(kafka_with_topics, "--topic", growing, "--candidate", stricter, "--no-models")
    assert code == 6
    assert wait_until(lambda: report(tmp_path).get("span", {}).get("readings") == wanted["span"]["readings"], 60)
    begun.send_signal(signal.SIGINT)
    out, said = begun.communicate(timeout=30)
    assert begun.returncode == 130, said
    told = json.loads(out)
    for part in ("fates", "by_condition", "by_bed", "differences"):
        assert told[part] == wanted[part], part
    for side in ("champion", "candidate"):
        assert told[side]["hash"] == wanted[side]["hash"]
    assert told["fates"]["new"] + told["fates"]["earlier"] > 0
    assert "<html" in (tmp_path / "told" / "report.html").read_text(encoding="utf-8")
    assert {topic.name: broker.count(topic.name, topic.partitions) for topic in TOPICS} == before


def test_a_candidate_that_is_none_is_a_misuse(kafka: str, growing: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.cli", "shadow", "--candidate", "nobody@candidate", "--topic", growing],
        env={**os.environ, "WARD_KAFKA": kafka},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "--candidate nobody@candidate" in done.stderr
