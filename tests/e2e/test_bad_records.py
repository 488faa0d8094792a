"""Thousands of bad records of every known kind among ten times as many good ones: each set aside, none in the way.

The short form sends 2,000 among 20,000; WARDSTREAM_TEST_FULL=1 sends 10,000 among 100,000.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import pytest
from confluent_kafka import Producer

from contracts import codec
from contracts.records import DeadLetter, ScoreFrame, VitalsFrame
from contracts.topology import CLOCK_KEY, SCORES, VITALS
from infra.stack import Stack, wait_until
from producers.faults import FAULTS, Sent, good_frame, mixed
from streams import ledger
from tests.integration.streams.live import caught_up, log_ends

FULL: Final = os.environ.get("WARDSTREAM_TEST_FULL", "") == "1"
GOOD: Final = 100_000 if FULL else 20_000
WARDS: Final = 20
KINDS: Final = 25

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.timeout(1500 if FULL else 420)]

Place = tuple[int, int]


def good() -> Iterator[VitalsFrame]:
    """Frames of two beds of twenty wards, a tick a second, ending now."""
    ticks = GOOD // WARDS
    start_ms = int(time.time()) * 1000 - ticks * 1000
    for tick in range(ticks):
        frame = good_frame(tick)
        for n in range(WARDS):
            beds = tuple(
                msgspec.structs.replace(bed, bed=f"W{n}-{i}", patient=f"sim-{n}-{i}")
                for i, bed in enumerate(frame.beds)
            )
            yield msgspec.structs.replace(
                frame, ward=f"W{n}", gateway=f"W{n}-gw", at_ms=start_ms + tick * 1000, beds=beds
            )


def send(bootstrap: str) -> dict[Place, Sent]:
    """Send the mixture; what was sent, by where it lies."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": "lz4",
            "linger.ms": 20,
            "message.max.bytes": 8_000_000,
            "enable.idempotence": True,
        }
    )
    placed: dict[Place, Sent] = {}
    for sent in mixed(good(), bad=0.1, seed=20260102, faults=FAULTS):

        def delivered(error: object, message: object, sent: Sent = sent) -> None:
            assert error is None, error
            placed[message.partition(), message.offset()] = sent  # type: ignore[attr-defined]  # a confluent message

        while True:
            try:
                producer.produce(VITALS.name, sent.value, sent.key.encode(), sent.partition, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(60) == 0
    return placed


def ward(topology: Stack, *arguments: str) -> tuple[int, dict[str, object]]:
    """The command line against this topology: exit code and its document."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("WARD_")} | topology.environment()
    done = subprocess.run(
        [sys.executable, "-m", "infra.cli", *arguments, "--json"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def scored(bootstrap: str) -> set[Place]:
    """The records of patient_vitals that led to scores."""
    sources = (codec.decode(r.value, ScoreFrame).source for r in ledger.read(bootstrap, SCORES.name))
    return {(source.partition, source.offset) for source in sources}


def test_every_bad_record_is_set_aside_every_good_one_is_used_and_the_worker_never_falls(
    stack: Callable[..., Stack],
) -> None:
    topology = stack("vitals", WARD_SNAPSHOT_EVERY_S="2")
    bootstrap = topology.environment()["WARD_KAFKA"]
    before = topology.pid("vitals")
    placed = send(bootstrap)
    ends = log_ends(bootstrap)
    assert wait_until(lambda: caught_up(bootstrap, lambda: ends), 240), (ends, ledger.cuts(bootstrap))

    bad = {place: sent.fault for place, sent in placed.items() if sent.fault is not None}
    letters = [codec.decode(raw, DeadLetter) for raw in ledger.written(bootstrap).letters.values()]
    found: dict[Place, set[str]] = {}
    for letter in letters:
        found.setdefault((letter.source.partition, letter.source.offset), set()).add(letter.reason)
    assert len({fault.name for fault in bad.values()}) >= KINDS
    assert found.keys() == bad.keys(), "each bad record, by its offset, and no good one"
    wrong = {fault.name: found[place] for place, fault in bad.items() if found[place] != {fault.reason}}
    assert wrong == {}, "each for its reason"
    whole = {(one.source.partition, one.source.offset) for one in letters if not one.partial}
    assert not any(fault.partial for place, fault in bad.items() if place in whole)
    used = scored(bootstrap) & placed.keys()  # clock ticks score beds that fell silent, besides
    assert used == placed.keys() - whole, "each good frame, and the good beds of the partly bad ones"
    assert topology.pid("vitals") == before, "the same process from first to last"
    print(
        f"\n{len(bad)} bad records of {len({f.name for f in bad.values()})} kinds among {len(placed) - len(bad)} good: "
        f"{dict(Counter(letter.reason for letter in letters))}"
    )
    _redrive(topology, bootstrap, bad_of=Counter(fault.name for fault in bad.values()))


def _redrive(topology: Stack, bootstrap: str, bad_of: Counter[str]) -> None:
    """Mended and misplaced records go back and are used; what cannot be mended is named."""
    before = log_ends(bootstrap)
    code, plan = ward(topology, "dlq", "redrive", "--reason", "wrong_partition", "--dry-run")
    assert (code, plan["sent"], plan["ready"]) == (0, 0, bad_of["wrong_partition"])
    code, done = ward(topology, "dlq", "redrive", "--reason", "wrong_partition")
    assert (code, done["sent"]) == (0, bad_of["wrong_partition"])
    code, done = ward(topology, "dlq", "redrive", "--reason", "unknown_version", "--fix", "version=1")
    assert (code, done["sent"]) == (0, bad_of["version_unknown"])
    code, done = ward(topology, "dlq", "redrive", "--reason", "not_json")
    assert (code, done["sent"]) == (6, 0)
    code, _ = ward(topology, "dlq", "list", "--reason", "not_json")
    assert code == 0
    sent = bad_of["wrong_partition"] + bad_of["version_unknown"]

    def used() -> int:
        records = (r for r in ledger.read(bootstrap, VITALS.name) if r.key != CLOCK_KEY.encode())
        again = {(r.partition, r.offset) for r in records if r.offset >= before.get(r.partition, 0)}
        return len(again & scored(bootstrap))

    assert wait_until(lambda: used() == sent, 60), "what was sent again is used"
