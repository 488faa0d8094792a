"""What a trace reads: rows of the lake's tables, raw records from the lake or else Kafka, images, models, policies.

Everything comes from HDFS; Kafka is asked only for a record that the lake does not have, and may be away.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from batch.manifests import Manifest, load
from batch.storage import Storage
from batch.typed import dataset
from contracts.errors import Misconfigured, Transient
from contracts.lake import RECORDS, Table, partition_value
from contracts.settings import Settings
from contracts.topology import TOPICS
from models.registry import Registry, own_folder
from models.ward.policy import load_policy

KAFKA_MS: Final = 4_000
TRIES: Final = 3


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One step back. ``status`` is verified, missing or mismatch, ``why`` in words what is missing or other.

    ``told`` is what stands there, ``links`` what it came from.
    """

    what: str
    id: str
    status: str
    why: str | None = None
    told: dict[str, Any] = {}
    links: tuple[Link, ...] = ()

    def every(self) -> Iterator[Link]:
        """This link and all below it."""
        yield self
        for link in self.links:
            yield from link.every()


class Place(NamedTuple):
    """Where a record stands in Kafka's log."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """As it is written in a command."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class Raw(NamedTuple):
    """A record's bytes, where they were found, how many rows the lake made of it (None: it is not there)."""

    value: bytes | None
    found: str
    rows: int | None
    ingest_ms: int | None


def verified(what: str, ident: str, told: dict[str, Any] | None = None, links: Iterable[Link] = ()) -> Link:
    """A link that holds."""
    return Link(what=what, id=ident, status="verified", told=told or {}, links=tuple(links))


def missing(what: str, ident: str, why: str, told: dict[str, Any] | None = None, links: Iterable[Link] = ()) -> Link:
    """A link that leads to nothing."""
    return Link(what=what, id=ident, status="missing", why=why, told=told or {}, links=tuple(links))


def compared(
    what: str, ident: str, wrong: str | None, told: dict[str, Any] | None = None, links: Iterable[Link] = ()
) -> Link:
    """A link that holds unless something is ``wrong``."""
    status = "mismatch" if wrong else "verified"
    return Link(what=what, id=ident, status=status, why=wrong, told=told or {}, links=tuple(links))


class Trail:
    """Reads for a trace. ``kafka`` None: from the lake alone."""

    def __init__(self, storage: Storage, settings: Settings, kafka: str | None) -> None:
        self.storage = storage
        self.kafka = kafka
        self.registry = Registry(own_folder(settings))
        self._policy = settings.policy
        self._manifests: tuple[Manifest, ...] | None = None
        self._datasets: dict[tuple[str, str], Any] = {}

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """What was published, read once."""
        if self._manifests is None:
            self._manifests = load(self.storage)
        return self._manifests

    def rows(self, table: Table, within: str = "", **equal: Any) -> list[dict[str, Any]]:
        """The rows of a table in which every named column has that value; ``within`` is a folder below the table's.

        Raises Transient when HDFS does not give them.
        """
        import pyarrow as pa
        import pyarrow.dataset as ds

        asked = None
        for name, value in equal.items():
            one = ds.field(name).isin(list(value)) if isinstance(value, set) else ds.field(name) == value
            asked = one if asked is None else asked & one
        failure: Exception | None = None
        for _ in range(TRIES):
            if (source := self._dataset(table, within)) is None:
                return []
            try:
                found: list[dict[str, Any]] = source.to_table(filter=asked).to_pylist()
            except (OSError, pa.ArrowException) as gone:  # files merged between the listing and the reading
                failure = gone
                self._datasets.clear()
            else:
                return found
        raise Transient(f"HDFS does not give the files of {table.name}: {failure}")

    def _dataset(self, table: Table, within: str) -> Any:
        """The files below a folder of a table, listed once; None when there are none."""
        at = (table.name, within)
        if at not in self._datasets:
            paths = [entry.path for entry in self.storage.entries(posixpath.join(table.path, within))]
            self._datasets[at] = dataset(self.storage, table, paths) if paths else None
        return self._datasets[at]

    def known(self, table: Table, column: str) -> set[str]:
        """Every value of a column."""
        import pyarrow.compute as pc

        if (source := self._dataset(table, "")) is None:
            return set()
        values = source.to_table(columns=[column])[column]
        return {value for value in pc.unique(values).to_pylist() if value}

    def raw(self, place: Place) -> Raw | None:
        """The record's bytes, from the lake, else from Kafka; None when neither has it."""
        folder = f"topic={partition_value(place.topic)}"
        rows = self.rows(RECORDS, folder, kafka_partition=place.partition, kafka_offset=place.offset)
        if rows:
            return Raw(rows[0]["value"], "lake", rows[0]["rows"], rows[0]["ingest_ms"])
        return None if self.kafka is None else self._from_kafka(self.kafka, place)

    def _from_kafka(self, bootstrap: str, place: Place) -> Raw | None:
        from kafka import KafkaConsumer, TopicPartition
        from kafka.errors import KafkaError

        at = TopicPartition(place.topic, place.partition)
        try:
            consumer = KafkaConsumer(
                bootstrap_servers=bootstrap, bootstrap_timeout_ms=KAFKA_MS, consumer_timeout_ms=KAFKA_MS
            )
        except KafkaError:
            return None
        try:
            consumer.assign([at])
            first, end = consumer.beginning_offsets([at])[at], consumer.end_offsets([at])[at]
            if not first <= place.offset < end:
                return None
            consumer.seek(at, place.offset)
            for record in consumer:
                same = record.offset == place.offset
                return Raw(record.value, "kafka", None, record.timestamp) if same else None
        except KafkaError:
            return None
        finally:
            consumer.close()
        return None

    def landed(self, place: Place) -> Link:
        """The batch of the lake that holds this record, and the code that landed it."""
        for manifest in self.manifests:
            for span in manifest.spans:
                mine = (span.topic, span.partition) == (place.topic, place.partition)
                if mine and span.first <= place.offset < span.until:
                    return verified("lake batch", manifest.name, {"code": manifest.code})
        return missing("lake batch", str(place), "no manifest tells of this offset: the lake has not landed it")

    def image(self, uri: str, said: Sequence[tuple[str, str | None]]) -> Link:
        """The image's bytes on HDFS, their sha256 reckoned anew and held against what each of ``said`` tells of it."""
        path = urlsplit(uri).path if "://" in uri else uri
        try:
            content = self.storage.read(path)
        except FileNotFoundError:
            return missing("image", uri, "no such file on HDFS")
        except Transient as away:
            return missing("image", uri, str(away))
        found = hashlib.sha256(content).hexdigest()
        wrong = [f"the {who} says {sha256[:12]}…" for who, sha256 in said if sha256 not in (None, found) and sha256]
        why = f"its bytes have sha256 {found[:12]}…, {', '.join(wrong)}" if wrong else None
        return compared("image", uri, why, {"sha256": found, "bytes": len(content)})

    def model(self, name: str, version: str, sha256: str | None = None) -> Link:
        """A version of the registry, every byte of it held against its manifest: data, code, seed."""
        from contracts.errors import Poison

        ident = f"{name}@{version}"
        try:
            bundle = self.registry.load(name, version)
        except Misconfigured as gone:
            return missing("model", ident, str(gone))
        except Poison as tampered:
            return compared("model", ident, f"{tampered.field}: {tampered.detail}")
        manifest = bundle.manifest
        told = {"manifest_sha256": bundle.sha256, "made": manifest.made, "code": manifest.code, "seed": manifest.seed}
        data = [
            verified("data", one.name, {"sha256": one.sha256, "rows": one.rows, "licence": one.licence})
            for one in manifest.data
        ]
        wrong = (
            f"its manifest has sha256 {bundle.sha256}, not {sha256}" if sha256 not in (None, bundle.sha256) else None
        )
        return compared("model", ident, wrong, told, data)

    def policy(self, digest: str) -> Link:
        """The alarm policy of that hash, where it is the one at hand."""
        for path in dict.fromkeys((self._policy, None)):
            policy = load_policy(path)
            if policy.hash == digest:
                return verified("policy", digest, {"name": policy.name, "file": path or "built in"})
        return missing("policy", digest, "no policy at hand has this hash: set WARD_POLICY to the file of then")


def place_named(ident: str) -> tuple[Place, int | None] | None:
    """The place in ``topic/partition/offset[/row]``; None for anything else."""
    parts = ident.split("/")
    if len(parts) not in (3, 4) or parts[0] not in {topic.name for topic in TOPICS}:
        return None
    if not all(part.isdecimal() for part in parts[1:]):
        return None
    return Place(parts[0], int(parts[1]), int(parts[2])), int(parts[3]) if len(parts) == 4 else None
