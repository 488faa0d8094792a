"""Jobs from the log to results in the log: the most urgent first, each done once, none lost.

A job counts as done once its result is acknowledged; only then is it committed. One that is delivered again has the
same id and is not done again. While HDFS or the broker is away jobs wait; a job that fails for a reason of its own is
tried a few times, then set aside, and its result says so.
"""

from __future__ import annotations

import platform
import threading
import time
from typing import Any, Final

import structlog

from contracts import codec
from contracts.errors import Poison, Transient
from contracts.records import ImageJob, ImageResult
from contracts.settings import Settings
from contracts.topology import DEAD_LETTERS, IMAGE_JOBS, IMAGE_RESULTS
from streams.image_metrics import ImageWorkerMetrics
from streams.image_queue import Queue, Waiting
from streams.image_reading import ImageReader, JobFailed
from streams.wardlog import LogRecord, dead_letter

log = structlog.get_logger(__name__)

BY: Final = "streams.image_worker"
TRIES: Final = 4
"""So often a job may fail for a reason of its own."""
PATIENCE_S: Final = (0.2, 2.0)
POLL_S: Final = 0.1
BATCH: Final = 100
LOOK_BACK: Final = 2_000
"""Results of a partition that are read at its assignment, to know which jobs are done."""
LEAVE_S: Final = 8.0
SESSION_MS: Final = 10_000
ANY: Final = -1
"""The partition that the key gives."""


class ImageWorker:
    """Two threads: this one talks to the broker and keeps its place in the group, the other does the jobs."""

    def __init__(self, settings: Settings, reader: ImageReader, metrics: ImageWorkerMetrics) -> None:
        self._kafka = settings.kafka
        self._reader = reader
        self._metrics = metrics
        self._queue = Queue()
        self._stopping = threading.Event()
        self._paused = False
        self._consumer = _consumer(settings)
        self._producer = _producer(settings.kafka)

    def stop(self, *_: Any) -> None:
        """Leave after the job at hand."""
        self._stopping.set()

    def run(self) -> None:
        """Take and do jobs until told to stop."""
        self._consumer.subscribe([IMAGE_JOBS.name], on_assign=self._assigned, on_revoke=self._revoked)
        doing = threading.Thread(target=self._do_all, name="jobs", daemon=True)
        doing.start()
        try:
            while not self._stopping.is_set():
                self._turn()
            self._queue.close()
            doing.join(LEAVE_S)
            self._commit()
        finally:
            self._consumer.close()

    # -- the broker's side ---------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        from confluent_kafka import KafkaException

        first = self._consumer.poll(POLL_S)
        for message in [first, *self._consumer.consume(BATCH, 0)] if first is not None else ():
            if message.error() is None:
                self._take(message)
        self._metrics.waiting.set(len(self._queue))
        self._hold(self._queue.full)
        try:
            self._commit()
        except KafkaException as failure:
            log.warning("offsets are committed later", failure=str(failure))

    def _take(self, message: Any) -> None:
        record = LogRecord(
            message.topic(),
            message.partition(),
            message.offset(),
            message.timestamp()[1],
            message.key(),
            message.value(),
        )
        try:
            job = codec.decode(record.value, ImageJob)
        except Poison as poison:
            self._set_aside(record, poison)
            self._queue.took(record, None)
            return
        self._queue.took(record, None if self._queue.is_answered(job) else job)

    def _hold(self, full: bool) -> None:
        """Take nothing more while many wait; the log keeps the rest, and polling goes on."""
        if full != self._paused:
            (self._consumer.pause if full else self._consumer.resume)(self._consumer.assignment())
            self._paused = full

    def _commit(self) -> None:
        from confluent_kafka import TopicPartition

        moved = self._queue.to_commit()
        if moved:
            places = [TopicPartition(IMAGE_JOBS.name, partition, offset) for partition, offset in moved.items()]
            self._consumer.commit(offsets=places, asynchronous=False)

    def _assigned(self, consumer: Any, places: list[Any]) -> None:
        partitions = [place.partition for place in places]
        for job_id, attempt in answered(self._kafka, partitions):
            self._queue.remember(job_id, attempt)
        log.info("partitions assigned", partitions=sorted(partitions), answered=len(self._queue.answered))
        self._paused = False
        consumer.assign(places)

    def _revoked(self, _consumer: Any, places: list[Any]) -> None:
        self._queue.forget([place.partition for place in places])

    # -- the jobs' side ------------------------------------------------------------------------------------------------

    def _do_all(self) -> None:
        while not self._stopping.is_set():
            waiting = self._queue.take(POLL_S)
            if waiting is None:
                continue
            try:
                self._do(waiting)
            except Transient as leaving:
                log.info("a job is left to whoever comes next", job=waiting.job.job_id, why=str(leaving))

    def _do(self, waiting: Waiting) -> None:
        """Have the job's result in the log, and its place in the queue done. Raises Transient when told to stop."""
        job, began = waiting.job, time.perf_counter()
        if self._queue.is_answered(job):  # it came twice before it was done once
            self._queue.done(waiting)
            return
        outcome = "read"
        try:
            result = self._patiently(waiting)
        except JobFailed as failed:
            self._set_aside(waiting.record, Poison(failed.reason, failed.detail))
            result, outcome = self._reader.given_up(job, failed), "dead"
        self._tell(waiting.record.partition, result)
        self._queue.done(waiting)
        self._count(result, outcome, time.perf_counter() - began)

    def _patiently(self, waiting: Waiting) -> ImageResult:
        """The result, tried again while a dependency is away, and some times when the job fails by itself."""
        import stamina

        failures = 0

        def again(failure: Exception) -> bool:
            nonlocal failures
            failures += isinstance(failure, JobFailed)
            retry = isinstance(failure, (Transient, JobFailed)) and failures < TRIES and not self._stopping.is_set()
            if retry:
                word = failure.reason if isinstance(failure, JobFailed) else "away"
                self._metrics.retries.labels(word).inc()
                log.warning("a job is tried again", job=waiting.job.job_id, why=str(failure))
            return retry

        pause, longest = PATIENCE_S
        for attempt in stamina.retry_context(
            on=again, attempts=None, timeout=None, wait_initial=pause, wait_max=longest
        ):
            with attempt:
                return self._guarded(waiting.job)
        raise AssertionError("stamina ends by a result or an error")

    def _guarded(self, job: ImageJob) -> ImageResult:
        try:
            return self._reader.read(job)
        except (Transient, JobFailed):
            raise
        except Exception as fault:  # the guard of the worker: what one image does to a library is that job's affair
            log.exception("a job failed", job=job.job_id, model=job.model)
            raise JobFailed("fault", f"{type(fault).__name__} while reading it") from fault

    def _tell(self, partition: int, result: ImageResult) -> None:
        """Into the partition of its job: both topics have as many and the study as key."""
        began = time.perf_counter()
        self._send(IMAGE_RESULTS.name, result.study.encode(), codec.encode(result), partition)
        self._metrics.step_seconds.labels("tell").observe(time.perf_counter() - began)

    def _set_aside(self, record: LogRecord, poison: Poison) -> None:
        letter = dead_letter(record, poison, by=BY)
        log.warning("job set aside", reason=poison.reason, partition=record.partition, offset=record.offset)
        self._metrics.dead_letters.labels(poison.reason).inc()
        self._send(DEAD_LETTERS.name, record.topic.encode(), codec.encode(letter))

    def _send(self, topic: str, key: bytes, value: bytes, partition: int = ANY) -> None:
        """Until it is acknowledged. Raises Transient when told to stop before."""
        while True:
            outcome: list[Any] = []
            self._producer.produce(
                topic, value, key, partition, on_delivery=lambda error, _, told=outcome: told.append(error)
            )
            while not outcome and not self._stopping.is_set():
                self._producer.poll(POLL_S)
            if not outcome:
                self._producer.flush(LEAVE_S / 2)
            if outcome and outcome[0] is None:
                return
            if self._stopping.is_set():
                raise Transient("the broker has not acknowledged it")
            log.warning("a record was not acknowledged and is sent again", topic=topic, failure=str(outcome[0]))

    def _count(self, result: ImageResult, outcome: str, seconds: float) -> None:
        metrics = self._metrics
        if result.refusal is not None:
            outcome = "refused" if outcome == "read" else outcome
            metrics.refusals.labels(result.model, result.refusal).inc()
        metrics.results.labels(result.model, outcome).inc()
        metrics.read_seconds.labels(result.model).observe(seconds)
        if result.arrived_ms is not None:
            metrics.delay_seconds.labels(result.model).observe(max(0.0, time.time() - result.arrived_ms / 1000))
        log.info(
            "job done",
            job=result.job_id,
            model=result.model,
            outcome=result.refusal or outcome,
            seconds=round(seconds, 3),
        )


def answered(bootstrap: str, partitions: list[int]) -> list[tuple[str, int]]:
    """Job and attempt of the latest results of these partitions: jobs have the partition of their results."""
    from confluent_kafka import Consumer, TopicPartition

    found: list[tuple[str, int]] = []
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{BY}-look-back", "enable.auto.commit": False})
    try:
        for partition in partitions:
            place = TopicPartition(IMAGE_RESULTS.name, partition)
            first, end = consumer.get_watermark_offsets(place, timeout=10)
            place.offset = at = max(first, end - LOOK_BACK)
            consumer.assign([place])
            while at < end:
                for message in consumer.consume(min(BATCH, end - at), 5.0) or _silent(partition):
                    at = message.offset() + 1
                    try:
                        result = codec.decode(message.value(), ImageResult)
                    except Poison:
                        continue
                    found.append((result.job_id, result.attempt))
    finally:
        consumer.close()
    return found


def _silent(partition: int) -> list[Any]:
    raise Transient(f"results of partition {partition} cannot be read back")


def _consumer(settings: Settings) -> Any:
    from confluent_kafka import Consumer

    conf: dict[str, Any] = {
        "bootstrap.servers": settings.kafka,
        "group.id": settings.image_worker_group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": SESSION_MS,
        "heartbeat.interval.ms": SESSION_MS // 5,
        "reconnect.backoff.max.ms": 1_000,
        "log_level": 0,
    }
    if settings.image_worker_metrics_port:
        # a name for this place in the group that outlives the process: a restarted worker takes over at once
        place = f"{platform.node()}-{settings.image_worker_metrics_port}"
        conf["group.instance.id"] = f"{settings.image_worker_group}-{place}"
    return Consumer(conf)


def _producer(bootstrap: str) -> Any:
    from confluent_kafka import Producer

    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 1,
            "message.timeout.ms": 30_000,
            "reconnect.backoff.max.ms": 1_000,
            "log_level": 0,
        }
    )
