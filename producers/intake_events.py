"""Single records that must have reached the log before anybody is answered."""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from contracts.codec import encode
from contracts.errors import Misconfigured, Transient
from contracts.records import Record
from contracts.topology import Topic, partition_for

log = logging.getLogger(__name__)

PATIENCE_S: Final = 15.0


class Announcer:
    """Sends one record and waits until every replica has it. For several threads at once."""

    def __init__(self, bootstrap: str, patience_s: float = PATIENCE_S, client_id: str = "ward-intake") -> None:
        self._bootstrap, self._patience_s = bootstrap, patience_s
        try:
            self._producer = Producer(
                {
                    "bootstrap.servers": bootstrap,
                    "client.id": client_id,
                    "enable.idempotence": True,
                    "acks": "all",
                    "linger.ms": 0,
                    "message.timeout.ms": round(patience_s * 1000),
                    "reconnect.backoff.max.ms": 1000,
                    "retry.backoff.max.ms": 1000,
                    "log_level": 2,
                },
                logger=log,
            )
        except KafkaException as wrong:
            raise Misconfigured(f"WARD_KAFKA={bootstrap!r}: {wrong.args[0].str()}") from wrong
        self._ended = threading.Event()
        self._server = threading.Thread(target=self._serve, name="announcer", daemon=True)
        self._server.start()

    def tell(self, topic: Topic[Any], key: str, record: Record) -> None:
        """Returns when it is acknowledged. Raises Transient when that takes too long; it may have arrived then."""
        came, failed = threading.Event(), list[KafkaError]()

        def delivered(error: KafkaError | None, _message: Any) -> None:
            if error is not None:
                failed.append(error)
            came.set()

        try:
            self._producer.produce(
                topic.name, encode(record), key.encode(), partition_for(key, topic.partitions), on_delivery=delivered
            )
        except (BufferError, KafkaException) as full:
            raise Transient(f"no record gets to Kafka at {self._bootstrap}: {full}") from full
        if not came.wait(self._patience_s + 5) or failed:
            why = failed[0].str() if failed else "no answer"
            raise Transient(f"{topic.name} at {self._bootstrap} did not take a record ({why}): `ward up topics`")

    def reachable(self, within_s: float = 2.0) -> str | None:
        """None when a broker answers, else what is wrong."""
        try:
            self._producer.list_topics(timeout=within_s)
        except KafkaException as failure:
            return f"no Kafka broker at {self._bootstrap} ({failure.args[0].str()})"
        return None

    def close(self) -> None:
        """Nothing is waited for: whoever sent something has waited."""
        self._ended.set()
        self._server.join(2)

    def _serve(self) -> None:
        while not self._ended.is_set():
            self._producer.poll(0.1)
