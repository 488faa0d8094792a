"""One patient's vitals straight from the topic: where the patient is, the readings since, the newest forecast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Self

import msgspec
import numpy as np

from batch import trends
from batch.report_rows import Made
from contracts import codec
from contracts.errors import Misconfigured, Poison, Transient
from contracts.records import Reading, Vital, VitalsForecast, VitalsFrame
from contracts.topology import CLOCK_KEY, FORECASTS, VITALS, partition_for
from models.ward.tagging import USABLE, tag_of

LOOK_MS: Final = 60_000
"""Whoever is there was heard within so long."""
FORECAST_MS: Final = 600_000
"""The newest forecast is looked for in so long a stretch of the log."""
ANSWERS_MS: Final = 5_000
POLL_MS: Final = 250


@dataclass(frozen=True)
class Place:
    """Where a patient is."""

    patient: str
    bed: str
    ward: str


class Log:
    """Topics of a broker, read beside every consumer group. Every method raises Transient when it does not answer."""

    def __init__(self, bootstrap: str) -> None:
        from kafka import KafkaConsumer
        from kafka.errors import KafkaError

        self.bootstrap, self._error = bootstrap, KafkaError
        try:
            self._consumer: Any = KafkaConsumer(
                bootstrap_servers=bootstrap, group_id=None, bootstrap_timeout_ms=ANSWERS_MS
            )
        except KafkaError as failure:
            raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic. Raises Misconfigured when there is no such topic."""
        found = self._answered(lambda: self._consumer.partitions_for_topic(topic))
        if not found:
            raise Misconfigured(f"no topic {topic} at {self.bootstrap}: `ward up topics` makes it")
        return sorted(found)

    def since(self, topic: str, partitions: list[int], from_ms: int) -> Iterator[Any]:
        """The records of these partitions that the log took at or after that moment, up to its end as it stands."""
        ends = self.seek(topic, partitions, from_ms)
        while any(self._position(tp) < end for tp, end in ends.items()):
            yield from self.more()

    def seek(self, topic: str, partitions: list[int], from_ms: int) -> dict[Any, int]:
        """Go there; the ends as they stand."""
        from kafka import TopicPartition

        assigned = [TopicPartition(topic, p) for p in partitions]

        def go() -> dict[Any, int]:
            self._consumer.assign(assigned)
            ends: dict[Any, int] = self._consumer.end_offsets(assigned)
            starts = self._consumer.offsets_for_times(dict.fromkeys(assigned, max(from_ms, 0)))
            for tp in assigned:
                self._consumer.seek(tp, ends[tp] if starts.get(tp) is None else starts[tp].offset)
            return ends

        ends: dict[Any, int] = self._answered(go)
        return ends

    def follow(self, wanted: list[Any]) -> None:
        """From now on, ``more`` gives what comes into these partitions, and what came since they were read."""

        def go() -> None:
            at = {tp: self._consumer.position(tp) for tp in self._consumer.assignment() & set(wanted)}
            self._consumer.assign(wanted)
            for tp, end in self._consumer.end_offsets(wanted).items():
                self._consumer.seek(tp, at.get(tp, end))

        self._answered(go)

    def more(self, wait_ms: int = POLL_MS) -> list[Any]:
        """What has come since."""
        batches = self._answered(lambda: self._consumer.poll(timeout_ms=wait_ms))
        return [record for records in batches.values() for record in records]

    def _position(self, tp: Any) -> int:
        return int(self._answered(lambda: self._consumer.position(tp)))

    def _answered(self, ask: Any) -> Any:
        try:
            return ask()
        except self._error as failure:
            raise Transient(f"{self.bootstrap}: {failure}") from failure


def find(log: Log, who: str, now_ms: int, last_ms: int) -> tuple[Place | None, dict[str, Place]]:
    """Where the patient (or the patient of that bed) is, and everybody who was heard in the last minute.

    Who has fallen silent is looked for through the whole of the time that is to be drawn, and so is everybody where
    nobody was heard of late.
    """
    partitions = log.partitions(VITALS.name)
    there: dict[str, Place] = {}
    for record in log.since(VITALS.name, partitions, now_ms - LOOK_MS):
        for frame in _frames(record):
            there |= {bed.patient: Place(bed.patient, bed.bed, frame.ward) for bed in frame.beds}
    by_bed = {place.bed: place for place in there.values()}
    found = there.get(who) or by_bed.get(who)
    if found is None and last_ms > LOOK_MS:
        needle, everybody, earlier = msgspec.json.encode(who), not there, dict[str, Place]()
        for record in log.since(VITALS.name, partitions, now_ms - last_ms):
            if record.value is not None and (everybody or needle in record.value):
                for frame in _frames(record):
                    earlier |= {bed.patient: Place(bed.patient, bed.bed, frame.ward) for bed in frame.beds}
        found = earlier.get(who) or {place.bed: place for place in earlier.values()}.get(who)
        there = there or earlier
    return found, there


def _frames(record: Any) -> Iterator[VitalsFrame]:
    """The frame of a record; nothing of one that cannot be read, or that is a tick of the clock."""
    if record.key == CLOCK_KEY.encode():
        return
    try:
        yield codec.decode_frame(record.value).frame
    except Poison:
        return


@dataclass
class Watch:
    """What is known of one patient: readings by vital, and the newest forecast of each."""

    place: Place
    times: defaultdict[Vital, list[int]] = field(default_factory=lambda: defaultdict(list))
    values: defaultdict[Vital, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: defaultdict[Vital, int] = field(default_factory=lambda: defaultdict(int))
    forecasts: dict[Vital, Made] = field(default_factory=dict)
    latest_ms: int | None = None

    def hear(self, record: Any) -> bool:
        """Takes in one record of the ward's partition; whether it spoke of the patient."""
        if record.value is None or msgspec.json.encode(self.place.patient) not in record.value:
            return False
        if record.topic == FORECASTS.name:
            return self._foresee(record)
        spoke = False
        for frame in _frames(record):
            for bed in frame.beds:
                if bed.patient == self.place.patient:
                    spoke = True
                    for reading in bed.readings:
                        self._read(reading, frame.at_ms)
        return spoke

    def _read(self, reading: Reading, frame_ms: int) -> None:
        at_ms = frame_ms if reading.at_ms is None else reading.at_ms
        if not isinstance(reading.value, float | int) or isinstance(reading.value, bool):
            return
        if tag_of(reading) not in USABLE:
            self.refused[reading.vital] += 1
            return
        self.times[reading.vital].append(at_ms)
        self.values[reading.vital].append(float(reading.value))
        self.latest_ms = max(at_ms, self.latest_ms or at_ms)

    def _foresee(self, record: Any) -> bool:
        try:
            made = codec.decode(record.value, VitalsForecast)
        except Poison:
            return False
        for bed in made.beds:
            if bed.patient == self.place.patient:
                by_vital: defaultdict[Vital, dict[int, tuple[float, ...]]] = defaultdict(dict)
                engines: defaultdict[Vital, set[str]] = defaultdict(set)
                for one in bed.vitals:
                    by_vital[one.vital] |= dict(zip(one.horizons_s, one.quantiles, strict=True))
                    engines[one.vital].add(str(one.engine))
                models = [f"{model.name}@{model.version}" for model in made.models]
                for vital, ahead in by_vital.items():
                    told = "+".join(sorted(engines[vital]))
                    self.forecasts[vital] = Made(vital, bed.at_ms, told, made.levels, sorted(ahead.items()), models)
                return True
        return False

    def forget(self, before_ms: int) -> None:
        """Readings of before then are not drawn any more."""
        for vital, times in self.times.items():
            kept = [n for n, at in enumerate(times) if at >= before_ms]
            if len(kept) < len(times):
                self.values[vital] = [self.values[vital][n] for n in kept]
                self.times[vital] = [times[n] for n in kept]

    def arrays(self, vital: Vital) -> tuple[trends.Times, trends.Values]:
        """The readings of one vital."""
        return np.array(self.times[vital], np.int64), np.array(self.values[vital], np.float64)


def read(log: Log, place: Place, now_ms: int, last_ms: int) -> Watch:
    """What the log has of the patient: only the ward's own partition is read, of either topic."""
    watch = Watch(place)
    for topic, since_ms in ((FORECASTS, now_ms - min(last_ms, FORECAST_MS)), (VITALS, now_ms - last_ms)):
        partition = partition_for(place.ward, len(log.partitions(topic.name)))
        for record in log.since(topic.name, [partition], since_ms):
            watch.hear(record)
    return watch


def follow(log: Log, watch: Watch) -> Iterator[bool]:
    """For ever: what comes of the patient, in both topics; yields whether something did, several times a second."""
    from kafka import TopicPartition

    wanted = [
        TopicPartition(topic.name, partition_for(watch.place.ward, len(log.partitions(topic.name))))
        for topic in (VITALS, FORECASTS)
    ]
    log.follow(wanted)
    while True:
        yield sum(watch.hear(record) for record in log.more()) > 0
