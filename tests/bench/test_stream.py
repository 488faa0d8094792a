"""The side-by-side in short form: every rival tells of the same alarms. Ratios are printed, never asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.topology import ALERTS, PARTITIONS, SCORES
from infra.bench import stream
from infra.bench.backlog import Identity, answer, identify, make
from infra.bench.broker import Broker, own_stack
from infra.stack import wait_until

pytestmark = [pytest.mark.bench, pytest.mark.kafka]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", stream.LAYOUTS)
def test_every_rival_tells_of_the_same_alarms_in_both_classes(layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = stream.measure(stream.plan(100, 1, True, [layout], stream.CLASSES), print)
    with capsys.disabled():
        print("", *stream.lines(report), sep="\n")
    assert {(r.durability, r.rival): r.void for r in report.results} == {
        (durability, rival): None for durability in stream.CLASSES for rival in stream.RIVALS
    }
    assert report.layouts[0].transitions > 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rival", stream.RIVALS)
def test_what_is_called_durable_survives_a_kill(rival: str, tmp_path: Path) -> None:
    backlog = make(400, 150, 50, stream.SEED)
    expected = answer(backlog)
    with own_stack(print) as stack, (tmp_path / "log").open("wb") as log:
        stack.up(["kafka"])
        broker = Broker(stack.environment()["WARD_KAFKA"])
        broker.renew()
        broker.fill(backlog.records)

        def scored() -> int:
            return broker.count(SCORES.name, PARTITIONS)

        first = stream.start(broker.address, rival, "durable", tmp_path, log)
        try:
            assert wait_until(lambda: scored() > expected.scores // 3 or first.poll() is not None, 90)
            assert first.poll() is None, (tmp_path / "log").read_text()[-2000:]
        finally:
            first.kill()
            first.wait()
        assert broker.count(SCORES.name, PARTITIONS) < expected.scores, "killed too late to prove anything"
        second = stream.start(broker.address, rival, "durable", tmp_path, log)
        try:
            told: set[Identity] = set()

            def complete() -> bool:
                told.clear()
                told.update(identify(broker.read(ALERTS.name, range(PARTITIONS)), backlog)[0])
                return told >= expected.identities or second.poll() is not None

            assert wait_until(complete, 120), f"{len(told)} of {len(expected.identities)} transitions"
        finally:
            stream.end(second)
        identities, digest = identify(broker.read(ALERTS.name, range(PARTITIONS)), backlog)
    assert (identities, digest) == (expected.identities, expected.digest)


def test_the_same_seed_gives_the_same_backlog_and_the_same_answer() -> None:
    one, other = make(400, 40, 50, 7), make(400, 40, 50, 7)
    assert one.sha256 == other.sha256
    assert answer(one) == answer(other)
    assert make(400, 40, 50, 8).sha256 != one.sha256


def test_frames_of_one_and_of_fifty_hold_the_same_readings_and_raise_the_same_alarms() -> None:
    frames, singles = make(400, 40, 50, 7), make(400, 40, 1, 7)
    assert (singles.frames, singles.bed_readings) == (frames.bed_readings, frames.bed_readings)
    told, told_singly = answer(frames).identities, answer(singles).identities
    assert {ident for ident, _ in told} == {ident for ident, _ in told_singly} != set()


def test_about_one_bed_in_a_hundred_alarms() -> None:
    found = answer(make(1000, 45, 50, stream.SEED))
    assert 5 <= len({ident for ident, _ in found.identities}) <= 30
