"""What happens to one batch of the stream: its records become files of tables, published once, and are counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any, Final

import structlog

from batch import landing, manifests, offsets
from batch.gauges import LakeMetrics
from batch.landing import Tally
from batch.manifests import BATCH, FOLD, Manifest, Span
from batch.offsets import Ends
from batch.publish import publish, resume
from batch.rows import FROM_TOPICS
from batch.storage import Storage
from batch.topics import Topics
from batch.version import code_version
from contracts.errors import Misconfigured, Transient
from contracts.lake import CHECKPOINT, LANDED, RECORDS
from contracts.settings import Settings

FOLD_EVERY: Final = 100

log = structlog.get_logger(__name__)


class Batches:
    """Spark calls it with every batch; ``begin`` reads where to go on.

    ``failure`` is why the last batch did not land; ``idle`` is set while none is being landed.
    """

    def __init__(self, settings: Settings, storage: Storage, metrics: LakeMetrics) -> None:
        self.settings, self.storage, self.metrics = settings, storage, metrics
        self.published = -1
        self.first = 0
        self.starting = "earliest"
        self.idle = threading.Event()
        self.idle.set()
        self.failure: BaseException | None = None
        self._folded = 0

    @property
    def checkpoint(self) -> str:
        """Spark's checkpoint: its batch 0 is our batch ``first``. A lost one is followed by one of another name."""
        return f"{CHECKPOINT}/{self.first:012d}"

    def begin(self) -> None:
        """Read how far the lake is, and hold it against the log.

        Raises Misconfigured when the log is another one than the one in the lake, Transient when a server is away.
        """
        told = manifests.load(self.storage)
        kept = [int(name) for name in self.storage.names(CHECKPOINT) if name.isdigit()]
        if not kept:
            following = f"b{_last(told) + 1:012d}"
            if resume(self.storage, following):
                told = manifests.load(self.storage)
        self.published, ends = _last(told), offsets.reached(told)
        self.first = max(kept, default=self.published + 1)
        if self.first > self.published + 1:
            raise Misconfigured(f"manifests of batches below {self.first} are gone: restore them, or empty the lake")
        with Topics(self.settings.kafka) as topics:
            there = topics.bounds(topic.name for topic in LANDED)
        for (topic, partition), until in sorted(ends.items()):
            if until > there.get((topic, partition), (0, 0))[1]:
                raise Misconfigured(
                    f"the lake holds {topic}/{partition} up to offset {until}, which this log does not reach: it is"
                    " another log than the one in the lake; give it a state folder of its own, or empty the lake"
                )
            if not kept and until < (low := there[topic, partition][0]):
                self._lost(topic, partition, until, low)
        self.starting = offsets.starting(ends, there)

    def __call__(self, frame: Any, batch: int) -> None:
        """Land one batch of Spark's. Raises what publishing raises; then the batch comes again."""
        self.idle.clear()
        self.failure = None
        try:
            self._land(frame, batch)
        except BaseException as failed:
            self.failure = failed
            raise
        finally:
            self.idle.set()

    def _land(self, frame: Any, batch: int) -> None:
        number, began = self.first + batch, time.monotonic()
        if number <= self.published:
            log.info("a batch was in the lake before", batch=number)
            return
        if number > self.published + 1:
            raise Misconfigured(f"Spark goes on with batch {number} and the lake with {self.published + 1}")
        end = offsets.planned(self.storage, self.checkpoint, batch)
        start = (
            offsets.planned(self.storage, self.checkpoint, batch - 1)
            if batch
            else offsets.began(self.storage, self.checkpoint)
        )
        counted = Tally()

        def fill(folder: str) -> Iterable[Span]:
            nonlocal counted
            counted, spans = self._fill(frame, folder, start, end)
            return spans

        manifest = publish(self.storage, f"b{number:012d}", fill, kind=BATCH, batch=number)
        if strays := [span for span in manifest.spans if end.get((span.topic, span.partition)) != span.until]:
            raise Misconfigured(
                f"batch {number} was published with other offsets than Spark's checkpoint has: {strays}"
            )
        self.published = number
        self._tell(manifest, counted, time.monotonic() - began)
        self._fold()

    def _fill(self, frame: Any, folder: str, start: Ends, end: Ends) -> tuple[Tally, tuple[Span, ...]]:
        from pyspark import StorageLevel

        moved = {topic for (topic, partition), until in end.items() if until != start.get((topic, partition))}
        topics = [topic for topic in LANDED if topic.name in moved]
        if not topics:
            return Tally(), ()
        landed = landing.landed(frame.coalesce(landing.READERS), topics).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            counted = landing.tally(landed, topics)
            spans = offsets.spans(start, end, counted.records, counted.first)
            for span in spans:
                if span.records < span.until - span.first:
                    self._explain(span, landed)
            home = self.storage.uri(folder)
            tables = [(RECORDS, landing.records_of(landed))] if counted.records else []
            tables += [(one.table, landing.rows_of(landed, one)) for one in FROM_TOPICS if counted.rows[one.table.name]]
            for table, rows in tables:
                partitions = [column.name for column in table.partitions]
                landing.write(rows, f"{home}/{table.name}", partitions, counted.rows[table.name])
        finally:
            landed.unpersist()
        return counted, spans

    def _explain(self, span: Span, landed: Any) -> None:
        """Tell of offsets without a record. Raises Transient when the log has one there: Spark passed it over."""
        here = landed.where(f"topic = '{span.topic}' and kafka_partition = {span.partition}").select("kafka_offset")
        gone = offsets.holes(span, [row[0] for row in here.collect()])
        with Topics(self.settings.kafka) as topics:
            low, _ = topics.bounds((span.topic,))[span.topic, span.partition]
            for first, until in gone[: offsets.MOST_HOLES]:
                if any(topics.records(span.topic, span.partition, max(first, low), until)):
                    raise Transient(f"{span.topic}/{span.partition} has records from {first} on that were not read")
        for first, until in gone:
            self._lost(span.topic, span.partition, first, until)

    def _lost(self, topic: str, partition: int, first: int, until: int) -> None:
        self.metrics.lost.inc(until - first)
        log.warning(
            "records were gone before they were read", topic=topic, partition=partition, first=first, until=until
        )

    def _tell(self, manifest: Manifest, counted: Tally, seconds: float) -> None:
        for table, rows in counted.rows.items():
            self.metrics.rows.labels(table).inc(rows)
        self.metrics.unreadable.inc(counted.unreadable.total())
        self.metrics.batch_seconds.observe(seconds)
        self.metrics.published.set(manifest.made_ms / 1000)
        delays = [round((manifest.made_ms - ms) / 1000, 1) for ms in counted.ingested_ms or ()]
        for delay in delays:
            self.metrics.delay.observe(delay)
        log.info(
            "a batch is in the lake",
            batch=manifest.batch,
            records=sum(span.records for span in manifest.spans),
            rows=sum(file.rows for file in manifest.files),
            files=len(manifest.files),
            seconds=round(seconds, 2),
            delay_s=max(delays, default=None),
        )
        if counted.unreadable:
            log.warning("records that no schema fits are kept as they came", **counted.unreadable)

    def _fold(self) -> None:
        self._folded += 1
        if self._folded < FOLD_EVERY:
            return
        try:
            manifests.fold(self.storage, code_version())
            self._folded = 0
        except Transient as away:
            log.warning("the manifests were not folded; the next batch tries again", why=str(away))


def _last(told: Iterable[Manifest]) -> int:
    return max((one.batch for one in told if one.kind in (BATCH, FOLD) and one.batch is not None), default=-1)
