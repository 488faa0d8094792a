"""Spark lands every record of every topic as Parquet on HDFS, once: ``python -m batch.lake``.

While HDFS or Kafka is away or has no room it waits and goes on by itself; what was begun is finished, nothing is half
seen. Exit codes: 0 after SIGTERM or SIGINT, 2 for a wrong setting or another log than the one in the lake, 4 when no
server answers at the start, or when ten tries in a row fail though both answer: then a fresh process is the cure.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import structlog
from prometheus_client import start_http_server

from batch.batches import Batches
from batch.gauges import LakeMetrics
from batch.logs import set_up
from batch.spark import session
from batch.storage import Storage
from batch.tidying import Tidying
from batch.topics import Topics
from contracts.errors import Misconfigured, Poison, Transient
from contracts.lake import LANDED, ROOT
from contracts.settings import Settings

MOST_OFFSETS: Final = 12_000
"""A batch holds no more records than this, so that one after a long outage fits in memory too."""
LOOK_S: Final = 0.5
FINISH_S: Final = 6.0
"""So long a batch in flight may take to its end after SIGTERM; longer ones are given up, and come again."""
START_S: Final = 60.0
PAUSES_S: Final = (1, 2, 4, 8, 15, 30)
TRIES: Final = 10

STREAMING: Final = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.streaming.noDataMicroBatches.enabled": "false",
    "spark.sql.streaming.minBatchesToRetain": "20",
    "spark.sql.inMemoryColumnarStorage.batchSize": "200",
    "spark.kafka.consumer.cache.capacity": "160",
    "spark.hadoop.parquet.block.size": str(32 * 1024 * 1024),
    "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
}

log = structlog.get_logger(__name__)


class Lake:
    """The stream in one Spark session. ``run`` ends when ``stop`` is set."""

    def __init__(self, settings: Settings, spark: Any, metrics: LakeMetrics, stop: threading.Event) -> None:
        self.settings, self.spark, self.metrics, self.stop = settings, spark, metrics, stop
        self.storage = Storage.of(settings)
        self.batches = Batches(settings, self.storage, metrics)

    def query(self, once: bool = False) -> Any:
        """Start the query where the lake ends; ``once``: land what is there now, then end."""
        self.batches.begin()
        records = (
            self.spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", self.settings.kafka)
            .option("kafka.default.api.timeout.ms", "20000")
            .option("kafka.request.timeout.ms", "15000")
            .option("subscribe", ",".join(topic.name for topic in LANDED))
            .option("startingOffsets", self.batches.starting)
            .option("includeHeaders", "true")
            .option("maxOffsetsPerTrigger", str(MOST_OFFSETS))
            .option("failOnDataLoss", "false")  # what is gone is looked at, told and counted by the batch itself
            .load()
        )
        every = (
            {"availableNow": True}
            if once
            else {"processingTime": f"{self.settings.lake_trigger_s * 1000:.0f} milliseconds"}
        )
        return (
            records.writeStream.foreachBatch(self.batches)
            .option("checkpointLocation", self.storage.uri(self.batches.checkpoint))
            .trigger(**every)
            .start()
        )

    def run(self) -> None:
        """Land batch after batch until told to stop. Raises Misconfigured, Poison or Transient as told above."""
        tries, landed = 0, -1
        while not self.stop.is_set():
            failed = self._until_it_fails()
            if failed is None:
                return
            self.metrics.failures.inc()
            if isinstance(failed, Misconfigured | Poison):
                raise failed
            tries = 1 if self.batches.published > landed else tries + 1
            landed = self.batches.published
            log.warning("a batch did not land; it comes again", why=_line(failed), tries=tries)
            if tries >= TRIES:
                raise Transient(f"{tries} tries in a row failed, the last with: {_line(failed)}")
            self.stop.wait(PAUSES_S[min(tries, len(PAUSES_S)) - 1])
            self.await_servers()

    def await_servers(self, within_s: float = float("inf")) -> None:
        """Wait until HDFS takes writes and Kafka answers. Raises Transient when the time is over."""
        deadline, tries = time.monotonic() + within_s, 0
        while not self.stop.is_set():
            try:
                self.storage.makedirs(ROOT)
                with Topics(self.settings.kafka) as topics:
                    topics.bounds(())
            except Transient as away:
                if time.monotonic() > deadline:
                    raise
                log.warning("the lake waits", why=str(away))
                self.stop.wait(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
                tries += 1
            else:
                return

    def _until_it_fails(self) -> BaseException | None:
        """Why the query ended; None when it was told to."""
        try:
            query = self.query()
        except Transient as away:
            return away
        log.info(
            "the lake takes in", topics=len(LANDED), checkpoint=self.batches.checkpoint, after=self.batches.published
        )
        while query.isActive and not self.stop.wait(LOOK_S):
            self._look(query)
        if self.stop.is_set():
            self.batches.idle.wait(FINISH_S)
            query.stop()
            return None
        return self.batches.failure or Transient(str(query.exception()))

    def _look(self, query: Any) -> None:
        """Tell how far it is by Spark's own account of the last trigger."""
        progress = query.lastProgress
        if progress is None:
            return
        told = json.loads(progress.json)
        began = datetime.fromisoformat(told["timestamp"])
        self.metrics.looked.set(began.timestamp())
        for source in told["sources"]:
            latest, end = (_offsets(source[name]) for name in ("latestOffset", "endOffset"))
            self.metrics.behind.set(sum(at - end.get(where, at) for where, at in latest.items()))


def run(settings: Settings, stop: threading.Event, listen: Callable[[], None] = lambda: None) -> None:
    """Start Spark and land records until told to stop; ``listen`` is called when Spark has set its own signals."""
    metrics = LakeMetrics()
    if settings.lake_metrics_port:
        port, host = settings.lake_metrics_port, settings.metrics_host
        try:
            start_http_server(port, addr=host, registry=metrics.registry)
        except OSError as taken:
            raise Misconfigured(f"WARD_LAKE_METRICS_PORT={port} cannot be used: {taken}") from taken
    spark = session("lake", settings, more=STREAMING)
    listen()
    try:
        lake = Lake(settings, spark, metrics, stop)
        lake.await_servers(START_S)
        Tidying(Storage.of(settings), stop, lake.batches.idle.is_set).start()
        lake.run()
    finally:
        spark.stop()
    log.info("the lake ends")


def main() -> int:
    """Run until told to stop; the exit code."""
    stop = threading.Event()

    def listen() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())

    try:
        settings = Settings.from_env(os.environ)
        set_up(settings.log_level, settings.log_format)
        listen()
        run(settings, stop, listen)
    except Misconfigured as wrong:
        print(f"ward lake: {wrong}", file=sys.stderr)
        return 2
    except Transient as away:
        print(f"ward lake: {away}", file=sys.stderr)
        return 4
    except Poison as bad:
        print(f"ward lake: {bad}", file=sys.stderr)
        return 5
    return 0


def _offsets(told: Any) -> dict[tuple[str, str], int]:
    found = json.loads(told) if isinstance(told, str) else told
    return {(topic, part): at for topic, parts in (found or {}).items() for part, at in parts.items()}


def _line(failed: BaseException) -> str:
    return next((line for line in str(failed).splitlines() if line.strip()), type(failed).__name__)[:400]


if __name__ == "__main__":
    sys.exit(main())
