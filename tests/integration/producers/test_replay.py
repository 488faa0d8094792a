"""Replays on a real broker: byte for byte, never into what is live, exact after any end."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.codec import decode_frame
from contracts.errors import Misconfigured, Transient
from contracts.replays import ReplayProgress, Want, progress, wish
from contracts.topology import SCORES, TOPICS, VITALS, partition_for
from infra.bench.broker import Broker
from infra.stack import Stack
from producers.replay import topics
from producers.replay.journal import Journal, State
from producers.replay.merge import Message
from producers.replay.pacing import Control
from producers.replay.plan import Plan, Wish, make
from producers.replay.run import Progress, Replay, begin
from producers.replay.source import Log, spans
from producers.replay.target import Writer
from producers.replay.window import Window
from tests.conftest import MakeTopic
from tests.integration.producers.replay_logs import (
    START,
    START_MS,
    Started,
    Stored,
    starting,
    store,
    stored,
    ward,
    ward_log,
)

pytestmark = pytest.mark.kafka

KEPT = {"retention.ms": "-1"}
"""The times of these logs are long past: a broker with its usual retention would remove them."""


@pytest.fixture(scope="module")
def day(kafka: str, make_topic: MakeTopic) -> str:
    """Five minutes of two wards of ten beds, in the log's own time; the topic's name."""
    name = make_topic("day", VITALS.partitions, KEPT)
    store(kafka, name, ward_log(20, 300, "demo"))
    return name


@pytest.fixture(scope="module", autouse=True)
def live_before(kafka_with_topics: str) -> dict[str, int]:
    """How many records each live topic was ever given before this module began."""
    return live_now(kafka_with_topics)


def live_now(kafka: str) -> dict[str, int]:
    broker = Broker(kafka)
    return {topic.name: broker.count(topic.name, topic.partitions) for topic in TOPICS}


@pytest.fixture
def fresh() -> str:
    """A name that no topic has."""
    return f"again_{os.getpid()}_{time.monotonic_ns()}"


@pytest.fixture
def started(kafka: str, tmp_path: Path) -> Iterator[Started]:
    """Begins ``ward ...``; what still runs after the test is killed."""
    with starting(kafka, tmp_path) as start:
        yield start


def silent(_progress: Progress) -> None:
    """Tell nobody."""


def replayed(plan: Plan, journal: Journal, control: Control | None = None, ahead: int = 1 << 26) -> Replay:
    """A replay run to its end in this process."""
    work = Replay(begin(plan, journal), journal, control or Control(), silent, ahead_bytes=ahead)
    work.go()
    return work


def bare(records: list[Stored]) -> list[tuple[object, ...]]:
    """Records without their offsets, which count from 0 in a fresh topic."""
    return [(one.partition, one.at_ms, one.key, one.value, one.headers) for one in records]


def test_strange_records_arrive_byte_for_byte_with_key_headers_partition_and_time(
    kafka: str, make_topic: MakeTopic, fresh: str, tmp_path: Path
) -> None:
    source = make_topic("odd", 3, KEPT)
    dice = random.Random(5)
    odd = [
        Stored(0, -1, START_MS, None, b"no key", None),
        Stored(0, -1, START_MS + 5, b"", b"", [("empty", b""), ("none", None)]),
        Stored(1, -1, START_MS + 3, b"tombstone", None, [("h", b"1"), ("h", b"2"), ("h", b"\x00\xff")]),
        Stored(1, -1, START_MS - 400_000, b"back in time", b"x", []),
        Stored(1, -1, START_MS + 4, "Ü".encode(), dice.randbytes(900_000), None),
        *(
            Stored(2, -1, START_MS + n // 7, dice.randbytes(3), dice.randbytes(n), [("n", b"%d" % n)])
            for n in range(300)
        ),
    ]
    store(kafka, source, odd)
    plan = make(Wish(sources=(source,), to=fresh, speed=None), kafka, START_MS)
    replayed(plan, Journal(tmp_path))
    assert plan.records == len(odd)
    assert stored(kafka, fresh) == stored(kafka, source)


def test_a_reader_that_must_hold_back_all_the_time_loses_and_doubles_nothing(
    kafka: str, day: str, fresh: str, tmp_path: Path
) -> None:
    # a bound this small pauses a partition after almost every batch
    window = Window(start_ms=START_MS + 60_000, end_ms=START_MS + 180_000)
    plan = make(Wish(sources=(day,), to=fresh, speed=None, window=window), kafka, START_MS)
    replayed(plan, Journal(tmp_path), ahead=200_000)
    wanted = [one for one in stored(kafka, day) if START_MS + 60_000 <= one.at_ms < START_MS + 180_000]
    assert plan.records == len(wanted) > 1000
    assert bare(stored(kafka, fresh)) == bare(wanted)


def test_the_order_of_sending_is_that_of_the_log_across_topics(
    kafka: str, make_topic: MakeTopic, fresh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [make_topic("left", 2, KEPT), make_topic("right", 3, KEPT)]
    dice = random.Random(11)
    for name, partitions in zip(names, (2, 3), strict=True):
        at = sorted(dice.randrange(60_000) for _ in range(500))
        store(kafka, name, [Stored(n % partitions, -1, START_MS + t, b"k", b"%d" % t, None) for n, t in enumerate(at)])
    sent: list[int] = []
    passed_on = Writer.send

    def noting(self: Writer, topic: str, partition: int, message: Message, value: bytes, at_ms: int) -> None:
        sent.append(at_ms)
        passed_on(self, topic, partition, message, value, at_ms)

    monkeypatch.setattr(Writer, "send", noting)
    plan = make(Wish(sources=tuple(names), to=fresh, speed=None), kafka, START_MS)
    replayed(plan, Journal(tmp_path))
    assert len(sent) == 1000
    assert sent == sorted(sent)
    for name in names:
        assert stored(kafka, f"{fresh}_{name}") == stored(kafka, name)


def test_the_core_decides_the_same_over_the_replayed_log(kafka: str, day: str, fresh: str, tmp_path: Path) -> None:
    from models.ward.core import WardCore
    from models.ward.policy import load_policy
    from streams import ledger

    replayed(make(Wish(sources=(day,), to=fresh, speed=None), kafka, START_MS), Journal(tmp_path))
    core = WardCore(load_policy(None))
    live = ledger.decided((one._replace(topic=VITALS.name) for one in ledger.read(kafka, day)), core)
    again = ledger.decided((one._replace(topic=VITALS.name) for one in ledger.read(kafka, fresh)), core)
    assert len(live.transitions) > 5
    assert again.transitions == live.transitions
    assert again.letters == live.letters


def test_moved_to_now_the_core_decides_the_same_at_other_times(
    kafka: str, day: str, fresh: str, tmp_path: Path
) -> None:
    import msgspec

    from contracts.codec import decode
    from contracts.records import AlertTransition
    from models.ward.core import WardCore
    from models.ward.policy import load_policy
    from streams import ledger

    now_ms = START_MS + 86_400_000 * 300 + 31_000
    plan = make(Wish(sources=(day,), to=fresh, speed=None, shift_to_now=True), kafka, now_ms)
    work = replayed(plan, Journal(tmp_path))
    assert plan.shift_ms == 86_400_000 * 300
    assert work.run.unshifted == 0
    core = WardCore(load_policy(None))

    def story(topic: str, back_ms: int) -> list[tuple[object, ...]]:
        found = ledger.decided(ledger.read(kafka, topic), core).transitions.values()
        told = [decode(raw, AlertTransition) for raw in found]
        return sorted(
            (t.at_ms - back_ms, t.onset_ms - back_ms, t.bed, t.condition, t.event, t.seq, t.message, t.source.offset)
            for t in told
        )

    assert story(fresh, plan.shift_ms) == story(day, 0)
    first, moved = stored(kafka, day)[0], stored(kafka, fresh)[0]
    assert moved.at_ms == first.at_ms + plan.shift_ms
    frames = decode_frame(first.value).frame, decode_frame(moved.value).frame
    assert frames[1].at_ms == frames[0].at_ms + plan.shift_ms
    assert msgspec.structs.replace(frames[1], at_ms=0, beds=()) == msgspec.structs.replace(frames[0], at_ms=0, beds=())


def test_a_key_comes_with_the_clock_of_its_partition_and_nothing_else(
    kafka: str, day: str, fresh: str, tmp_path: Path
) -> None:
    plan = make(Wish(sources=(day,), to=fresh, speed=None, keys=("W1",)), kafka, START_MS)
    replayed(plan, Journal(tmp_path))
    home = partition_for("W1", VITALS.partitions)
    wanted = [one for one in stored(kafka, day) if one.partition == home and one.key in (b"W1", b"~clock")]
    assert plan.counted == "read"
    assert plan.records == len(wanted) >= 600
    assert bare(stored(kafka, fresh)) == bare(wanted)


@pytest.mark.parametrize("keys", [(), ("W2",)])
def test_a_replay_killed_again_and_again_ends_as_if_it_had_never_been(
    kafka: str, day: str, fresh: str, tmp_path: Path, keys: tuple[str, ...], started: Started
) -> None:
    arguments = ["replay", day, "--to", fresh, "--speed", "60"]
    arguments += [word for key in keys for word in ("--key", key)]
    process = started(*arguments)
    for _ in range(2):
        await_records(kafka, fresh, growing_from(kafka, fresh) + 40)
        process.kill()
        process.communicate(timeout=20)
        listed = json.loads(ward(["replay", "list", "--json"], kafka, tmp_path).stdout)
        assert listed[0]["state"] == "killed"
        process = started("replay", "--to", fresh, "--resume")
    _, chatter = process.communicate(timeout=60)
    assert process.returncode == 0, chatter
    whole = stored(kafka, day)
    if keys:
        home = partition_for(keys[0], VITALS.partitions)
        whole = [one for one in whole if one.partition == home and one.key in (keys[0].encode(), b"~clock")]
    assert bare(stored(kafka, fresh)) == bare(whole)


def test_ctrl_c_ends_in_order_and_leaves_a_report_and_a_way_on(
    kafka: str, day: str, fresh: str, tmp_path: Path, started: Started
) -> None:
    process = started("replay", day, "--to", fresh, "--speed", "30", "--json")
    await_records(kafka, fresh, 50)
    process.send_signal(signal.SIGINT)
    document, chatter = process.communicate(timeout=30)
    assert process.returncode == 130, chatter
    told = json.loads(document)
    assert told["state"] == "stopped"
    assert told["sent"] == len(stored(kafka, fresh)) < told["records"]
    assert "--resume" in chatter
    page = (tmp_path / "replays" / fresh / "report.html").read_text()
    assert "stopped" in page
    done = ward(["replay", "--to", fresh, "--resume", "--json"], kafka, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["state"], len(json.loads(done.stdout)["runs"])) == ("finished", 2)
    assert stored(kafka, fresh) == stored(kafka, day)


def test_a_skip_leaves_out_that_part_and_a_resume_knows_it(kafka: str, day: str, fresh: str, tmp_path: Path) -> None:
    journal, control = Journal(tmp_path), Control()
    plan = make(Wish(sources=(day,), to=fresh, speed=200.0), kafka, START_MS)

    def skip_then_stop(progress: Progress) -> None:
        told.append(progress)
        if len(told) == 1:
            control.skip(30_000)
        else:
            control.stop()

    told: list[Progress] = []
    entry = begin(plan, journal)
    # told after every second; at 200x the five minutes last a second and a half
    first = Replay(entry, journal, control, skip_then_stop).go()
    while first.state is not State.FINISHED:
        first = Replay(entry, journal, Control(), silent).go()
    (seek,) = journal.load(fresh).seeks
    assert seek.to_ms == seek.from_ms + 30_000
    whole, got = stored(kafka, day), stored(kafka, fresh)
    left_out = [one for one in whole if seek.from_ms < one.at_ms < seek.to_ms]
    assert left_out
    gone = set(bare(whole)) - set(bare(got))
    assert set(bare(left_out)) <= gone
    assert all(seek.from_ms <= at_ms < seek.to_ms for _, at_ms, *_ in gone)  # type: ignore[operator]  # a time
    assert len(got) == len(whole) - len(gone)


def test_at_60x_a_paced_replay_keeps_to_its_moments(kafka: str, day: str, fresh: str, tmp_path: Path) -> None:
    plan = make(Wish(sources=(day,), to=fresh, speed=60.0), kafka, START_MS)
    work = replayed(plan, Journal(tmp_path))
    late = work.run.lateness
    assert late is not None
    assert plan.seconds is not None
    assert plan.seconds == pytest.approx(299.4 / 60, abs=0.2)
    assert late.records == plan.records
    assert work.run.seconds >= plan.seconds
    print(
        f"\n60x, {work.run.rate:.0f} records/s: late p50 {late.p50_ms} ms, p99 {late.p99_ms} ms, max {late.max_ms} ms; "
        f"took {work.run.seconds / plan.seconds - 1:+.1%} of the plan"
    )
    assert work.run.seconds < plan.seconds * 2


def test_unpaced_it_goes_as_fast_as_it_can(kafka: str, day: str, fresh: str, tmp_path: Path) -> None:
    work = replayed(make(Wish(sources=(day,), to=fresh, speed=None), kafka, START_MS), Journal(tmp_path))
    assert work.run.lateness is None
    print(f"\nunpaced: {work.run.rate:,.0f} records/s, {work.run.sent_bytes / work.run.seconds / 1e6:.1f} MB/s")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["{day}", "--to", VITALS.name], 2, "live topic"),
        (["{day}", "--to", SCORES.name, "--dry-run"], 2, "live topic"),
        (["{day}", "--to", "{day}"], 2, "what is read"),
        (["no_such_topic", "--to", "{fresh}"], 3, "no topic no_such_topic"),
        (["{day}", "--to", "{fresh}", "--from", "2020-01-01T00:00Z", "--for", "1h"], 3, "it holds 2026-01-02T08:00:00"),
        (["{day}", "--to", "{fresh}", "--from", "-1h30m", "--for", "1h"], 3, "no record from"),
        (["{day}", "--to", "{fresh}", "--key", "W99"], 3, "with key W99: no record"),
        (["{day}", "--to", "{fresh}", "--from", "2026-01-02T07:00"], 2, "does not say its zone"),
        (["{day}", "--to", "{fresh}", "--from", "2026-01-02T07:00 Europe/Pari"], 2, "did you mean Europe/Paris"),
        (["{day}", "--to", "{fresh}", "--speed", "0"], 2, "above 0"),
        (["{day}", "--to", "{fresh}", "--speed", "nan"], 2, "above 0"),
        (["{day}", "--to", "{fresh}", "--speed", "2", "--unpaced"], 2, "contradict"),
        (["--to", "{fresh}", "--resume"], 3, "no replay"),
        (["{day}", "--to", "{fresh}", "--resume"], 2, "nothing else"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_made(
    arguments: list[str], code: int, says: str, kafka: str, day: str, fresh: str, tmp_path: Path
) -> None:
    done = ward(["replay", *(word.format(day=day, fresh=fresh) for word in arguments)], kafka, tmp_path)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not topics.find(kafka, [fresh])
    assert not list((tmp_path / "replays").glob("*")) if (tmp_path / "replays").exists() else True


def test_a_dry_run_says_everything_and_does_nothing(kafka: str, day: str, fresh: str, tmp_path: Path) -> None:
    arguments = ["replay", day, "--to", fresh, "--from", START, "--for", "1m", "--speed", "60", "--dry-run", "--json"]
    done = ward(arguments, kafka, tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["records"] == 60 * (2 + VITALS.partitions)  # before the nurse acts
    assert told["estimated_s"] == pytest.approx(1.0, abs=0.1)
    assert told["topics"] == [
        {"source": day, "target": fresh, "partitions": VITALS.partitions, "records": told["records"]}
    ]
    assert not topics.find(kafka, [fresh])
    assert not (tmp_path / "replays").exists()


def test_a_taken_name_is_refused_and_what_is_there_stays(
    kafka: str, day: str, make_topic: MakeTopic, tmp_path: Path
) -> None:
    taken = make_topic("taken", 1, KEPT)
    store(kafka, taken, [Stored(0, -1, START_MS, b"k", b"mine", None)])
    before = stored(kafka, taken)
    done = ward(["replay", day, "--to", taken, "--unpaced"], kafka, tmp_path)
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert stored(kafka, taken) == before
    assert not (tmp_path / "replays" / taken).exists()


def test_clean_removes_what_replays_made_and_nothing_else(kafka: str, day: str, fresh: str, tmp_path: Path) -> None:
    assert ward(["replay", day, "--to", fresh, "--unpaced"], kafka, tmp_path).returncode == 0
    assert ward(["replay", day, "--to", f"{fresh}_b", "--unpaced"], kafka, tmp_path).returncode == 0
    asks = ward(["replay", "clean"], kafka, tmp_path)
    assert asks.returncode == 2
    assert "--yes" in asks.stderr
    # another topic of the same name, made later by somebody else
    journal = Journal(tmp_path / "replays")
    entry = journal.load(f"{fresh}_b")
    entry.idents = {f"{fresh}_b": "another"}
    journal.save(entry)
    done = ward(["replay", "clean", "--yes", "--json"], kafka, tmp_path)
    assert json.loads(done.stdout)["topics"] == [fresh]
    assert set(topics.find(kafka, [fresh, f"{fresh}_b", day])) == {f"{fresh}_b", day}
    assert json.loads(ward(["replay", "list", "--json"], kafka, tmp_path).stdout) == []


def test_somebody_elses_records_in_the_target_end_a_resume(kafka: str, day: str, fresh: str, tmp_path: Path) -> None:
    journal, control = Journal(tmp_path), Control()
    control.stop()
    entry = begin(make(Wish(sources=(day,), to=fresh, speed=1.0), kafka, START_MS), journal)
    assert Replay(entry, journal, control, silent).go().state is State.STOPPED
    store(kafka, fresh, [Stored(0, -1, START_MS, b"k", b"foreign", None)])
    with pytest.raises(Misconfigured, match="not this replay's"):
        Replay(entry, journal, Control(), silent).go()
    assert journal.load(fresh).state is State.FAILED


def test_no_live_topic_is_touched_by_all_of_this(kafka_with_topics: str, live_before: dict[str, int]) -> None:
    assert live_now(kafka_with_topics) == live_before


def test_without_a_broker_it_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    done = ward(["replay", "some_log", "--to", "again"], "127.0.0.1:9", tmp_path)
    assert done.returncode == 4
    assert re.search(r"no Kafka broker at 127\.0\.0\.1:9", done.stderr)
    assert not (tmp_path / "replays").exists() or not list((tmp_path / "replays").iterdir())


def test_a_broker_killed_in_the_middle_costs_time_and_nothing_else(
    stack: Callable[..., Stack], fresh: str, tmp_path: Path
) -> None:
    broker = stack("kafka")
    kafka = broker.environment()["WARD_KAFKA"]
    source = a_log_on(kafka, "day")
    plan = make(Wish(sources=(source,), to=fresh, speed=30.0), kafka, START_MS)
    killed: list[int] = []

    def kill_once(progress: Progress) -> None:
        if progress.sent > 300 and not killed:
            killed.append(broker.kill("kafka"))

    work = Replay(begin(plan, Journal(tmp_path)), Journal(tmp_path), Control(), kill_once)
    work.go()
    assert killed
    assert work.run.state is State.FINISHED
    assert stored(kafka, fresh) == stored(kafka, source)


def test_a_broker_that_stays_away_ends_the_replay_which_is_resumed_when_it_is_back(
    stack: Callable[..., Stack], fresh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("source", "target"):
        monkeypatch.setattr(f"producers.replay.{module}.SILENCE_S", 3.0)
    broker = stack("kafka")
    kafka = broker.environment()["WARD_KAFKA"]
    source, journal = a_log_on(kafka, "day"), Journal(tmp_path)
    plan = make(Wish(sources=(source,), to=fresh, speed=30.0), kafka, START_MS)

    def leave_at_once(progress: Progress) -> None:
        if progress.sent > 300:
            broker.down(["kafka"])

    with pytest.raises(Transient, match="is not back"):
        Replay(begin(plan, journal), journal, Control(), leave_at_once).go()
    entry = journal.load(fresh)
    assert entry.state is State.FAILED
    assert entry.runs[0].why
    broker.up(["kafka"])
    assert Replay(entry, journal, Control(), silent).go().state is State.FINISHED
    assert stored(kafka, fresh) == stored(kafka, source)


def a_log_on(kafka: str, name: str) -> str:
    """Five minutes of two wards on a broker of the test's own."""
    topics.make(kafka, {name: topics.Found(name, "", VITALS.partitions, {})})
    store(kafka, name, ward_log(4, 300, "demo"))
    return name


def test_on_a_full_disk_it_stops_with_the_place_and_the_fix(kafka: str, day: str, fresh: str, tmp_path: Path) -> None:
    (tmp_path / "replays").write_text("a file where the folder should be")
    done = ward(["replay", day, "--to", fresh, "--unpaced"], kafka, tmp_path)
    assert done.returncode == 4
    assert "cannot write" in done.stderr
    assert not topics.find(kafka, [fresh])


def test_on_a_disk_that_fills_up_meanwhile_it_says_so_and_a_resume_finishes_exactly(
    kafka: str, day: str, fresh: str, tmp_path: Path, started: Started
) -> None:
    process = started("replay", day, "--to", fresh, "--speed", "100")
    await_records(kafka, fresh, 50)
    # no file of the process may grow from now on: what a full disk is, for one process alone
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    _, chatter = process.communicate(timeout=60)
    assert process.returncode == 4, chatter
    assert re.search(r"cannot write .*; make room and go on by --resume", chatter), chatter
    assert "how it ends cannot be written down" in chatter
    assert "Traceback" not in chatter
    done = ward(["replay", "--to", fresh, "--resume", "--json"], kafka, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "finished"
    assert stored(kafka, fresh) == stored(kafka, day)


def test_it_is_steered_from_elsewhere_and_tells_how_far_it_is(
    kafka: str, day: str, fresh: str, tmp_path: Path, started: Started
) -> None:
    place = tmp_path / "replays" / fresh
    place.mkdir(parents=True)
    assert wish(place, Want.STOP, "an earlier run") == 1  # which is not this one's business
    process = started("replay", day, "--to", fresh, "--speed", "5")
    await_records(kafka, fresh, 30)
    assert ward(["replay", "pause", fresh], kafka, tmp_path).returncode == 0
    rests = how_far(place)
    assert (rests.state, rests.paused, rests.vitals, rests.heeded) == ("running", True, fresh, 2)
    assert START_MS <= rests.at_ms < rests.to_ms
    ahead_ms = rests.at_ms + 120_000
    assert ward(["replay", "seek", fresh, "+2m"], kafka, tmp_path).returncode == 0
    await_that(lambda: how_far(place).at_ms >= ahead_ms, 5)
    still = growing_from(kafka, fresh)
    assert how_far(place).paused

    wish(place, Want.SEEK, "the feed", START_MS)
    await_that(lambda: how_far(place).heeded == 4, 5)
    assert "a replay never goes back" in (how_far(place).refused or "")
    back = ward(["replay", "seek", fresh, START], kafka, tmp_path)
    assert back.returncode == 2
    assert "is behind" in back.stderr
    assert growing_from(kafka, fresh) == still, "paused is paused"

    wish(place, Want.GO_ON, "the feed")
    await_that(lambda: growing_from(kafka, fresh) > still, 10)
    assert ward(["replay", "stop", fresh], kafka, tmp_path).returncode == 0
    _, chatter = process.communicate(timeout=30)
    assert process.returncode == 0, chatter
    assert "seek, wanted by the feed, is refused" in chatter
    assert (how_far(place).state, how_far(place).paused) == ("stopped", False)
    (seek,) = Journal(tmp_path / "replays").load(fresh).seeks
    assert seek.to_ms == ahead_ms
    got = stored(kafka, fresh)
    assert any(one.at_ms >= ahead_ms for one in got)
    assert not any(seek.from_ms < one.at_ms < ahead_ms for one in got)
    assert (late := how_far(place).late_ms) is None or late < 1000, "a pause is no lateness"
    over = ward(["replay", "pause", fresh], kafka, tmp_path)
    assert over.returncode == 2
    assert "does not run, it is stopped" in over.stderr
    assert ward(["replay", "stop", f"{fresh}_other"], kafka, tmp_path).returncode == 3


def how_far(place: Path) -> ReplayProgress:
    """How far the replay of that folder says it is."""
    found = progress(place)
    assert found is not None
    return found


def growing_from(kafka: str, topic: str) -> int:
    """How many records the topic holds now; 0 when it is not there yet."""
    there = topics.find(kafka, [topic])
    logs = [Log(topic, p) for one in there.values() for p in range(one.partitions)]
    return sum(end for _, end in spans(kafka, logs, None, None).values()) if logs else 0


def await_records(kafka: str, topic: str, at_least: int, within_s: float = 30.0) -> None:
    """Wait until the topic holds so many."""
    await_that(lambda: growing_from(kafka, topic) >= at_least, within_s)


def await_that(holds: Callable[[], bool], within_s: float) -> None:
    """Wait until it holds."""
    until_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until_s, "it does not come"
