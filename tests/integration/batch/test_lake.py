"""The stream on a real Kafka, HDFS and Spark: every record lands once, wherever a run is cut off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import requests
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from batch import manifests, offsets, typed
from batch.batches import Batches
from batch.gauges import LakeMetrics
from batch.lake import Lake
from batch.manifests import FOLD, File, Manifest, Span
from batch.publish import publish
from batch.storage import Storage
from batch.topics import Topics
from batch.version import code_version
from contracts import lake as contract
from contracts import records as r
from contracts.codec import decode, encode
from contracts.errors import Misconfigured, Transient
from contracts.lake import LANDED, RECORDS, ROOT, VITALS_TABLE
from contracts.settings import Settings
from contracts.topology import IMAGE_JOBS, VITALS
from infra.stack import wait_until
from tests.contract.real_examples import EXAMPLES
from tests.integration.batch import oracle
from tests.integration.batch.handmade import Failing

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.hdfs]

Place = tuple[str, int, int]


class Cut(Transient):
    """The run ends here."""


class Shore:
    """A lake that begins at the end of the log as it is now, whatever other tests wrote there; land by land."""

    def __init__(self, settings: Settings, spark: Any, storage: Storage) -> None:
        self.settings, self.spark, self.storage = settings, spark, storage
        self.metrics = LakeMetrics()
        self.producer = KafkaProducer(bootstrap_servers=settings.kafka, linger_ms=0)
        with Topics(settings.kafka) as topics:
            self.begin = {
                where: end for where, (_, end) in topics.bounds(topic.name for topic in LANDED).items() if end
            }
        spans = tuple(
            Span(topic=topic, partition=partition, first=0, until=until, records=until)
            for (topic, partition), until in self.begin.items()
        )
        earlier = Manifest(version=1, kind=FOLD, name="f0", made_ms=0, code="-", batch=0, spans=spans)
        storage.write(manifests.path_of(earlier.name), earlier.encoded())

    def send(self, topic: str, value: bytes | None, key: bytes = b"k", headers: Any = ()) -> Place:
        told = self.producer.send(topic, value, key=key, headers=list(headers), partition=0).get(20)
        return topic, told.partition, told.offset

    def land(self, change: Callable[[Lake], None] = lambda lake: None) -> BaseException | None:
        """Land what is there; what went wrong, else None."""
        lake = Lake(self.settings, self.spark, self.metrics, threading.Event())
        change(lake)
        query = lake.query(once=True)
        assert wait_until(lambda: not query.isActive, 240)
        failed = query.exception()
        return (lake.batches.failure or Transient(str(failed))) if failed else None

    def rows(self, table: contract.Table) -> list[dict[str, Any]]:
        """What a plain reader of the published folder reads."""
        import pyarrow.dataset as ds

        if not self.storage.exists(table.path):
            return []
        found = ds.dataset(
            table.path,
            filesystem=self.storage.arrow(),
            format="parquet",
            schema=typed.schema(table),
            partitioning=typed.partitioning(table),
        )
        rows: list[dict[str, Any]] = found.to_table().to_pylist()
        return rows

    def places(self) -> list[Place]:
        """Which records are in the lake, sorted."""
        return sorted((row["topic"], row["kafka_partition"], row["kafka_offset"]) for row in self.rows(RECORDS))


@pytest.fixture
def shore(settings: Settings, spark: Any, lake: Storage) -> Any:
    """An empty lake at the end of the log."""
    one = Shore(settings, spark, lake)
    yield one
    one.producer.close()


def frame(seq: int, at_ms: int | None = None, ward: str = "W1") -> bytes:
    """A frame of two readings."""
    at = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    readings = (r.Reading(vital=r.Vital.SPO2, value=97.0), r.Reading(vital=r.Vital.CONSCIOUSNESS, value="A"))
    beds = (r.BedReadings(bed="B1", patient="p-1", readings=readings),)
    return encode(r.VitalsFrame(version=1, ward=ward, gateway="g", seq=seq, at_ms=at, beds=beds))


def test_every_record_of_every_topic_lands_once_in_its_date_and_ward(shore: Shore) -> None:
    kinds = {topic.name: topic.record for topic in LANDED}
    sent: dict[Place, bytes] = {}
    for path in sorted(EXAMPLES.glob("*.json")):
        topic = path.name.partition(".")[0]
        if topic in kinds:
            value = path.read_bytes()
            sent[shore.send(topic, value, headers=[("trace", b"\x00\xff")])] = value
    late = frame(1, at_ms=time.time_ns() // 1_000_000 - 9 * 86_400_000, ward="W3/a")
    sent[shore.send(VITALS.name, late)] = late
    lost = [shore.send(VITALS.name, value) for value in (None, b"\xff")]
    assert shore.land() is None

    records = {(row["topic"], row["kafka_partition"], row["kafka_offset"]): row for row in shore.rows(RECORDS)}
    assert records.keys() == sent.keys() | set(lost)
    assert {place: row["value"] for place, row in records.items()} == sent | dict(
        zip(lost, (None, b"\xff"), strict=True)
    )
    assert {row["key"] for row in records.values()} == {b"k"}
    assert [records[place]["unreadable"] for place in lost] == [
        "tombstone: no value",
        "not_utf8: bytes that are no text",
    ]
    wanted: dict[str, int] = {}
    for (topic, _, offset), value in sent.items():
        for table, row in oracle.rows(decode(value, kinds[topic]), records[topic, 0, offset]["ingest_ms"]):
            wanted[table] = wanted.get(table, 0) + 1
            assert row["date"]
    assert {table.name: len(shore.rows(table)) for table in contract.FROM_TOPICS} == wanted
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 9 * 86_400))
    assert shore.storage.exists(f"{VITALS_TABLE.path}/date={day}/ward=W3%2Fa/b000000000001-0.parquet")

    told = manifests.load(shore.storage)
    assert sum(span.records for span in told[-1].spans) == len(records)
    assert sorted(manifests.current(told)) == sorted(
        entry.path for table in (RECORDS, *contract.FROM_TOPICS) for entry in shore.storage.entries(table.path)
    )
    assert shore.land() is None
    assert len(shore.places()) == len(records), "nothing lands again"


def test_a_run_that_is_cut_off_at_any_step_leaves_exact_rows_after_the_next_one(shore: Shore) -> None:
    sent: list[Place] = []

    def unwritten(lake: Lake, steps: int) -> None:
        lake.batches.storage = Failing(lake.storage, steps, lambda: Cut("no more"))

    def uncommitted(lake: Lake) -> None:
        class Late(Batches):
            def __call__(self, frame: Any, batch: int) -> None:
                super().__call__(frame, batch)
                self.failure = Cut("before Spark's own commit")
                raise self.failure

        lake.batches = Late(shore.settings, shore.storage, shore.metrics)

    # 0: the intent; 1: the first of two renames, of drafts too; then between them; then the manifest
    cuts: Sequence[Callable[[Lake], None]] = (
        *((lambda lake, steps=steps: unwritten(lake, steps)) for steps in (0, 3, 5)),
        uncommitted,
    )
    for seq, cut in enumerate(cuts):
        sent += [shore.send(VITALS.name, frame(seq)) for _ in range(3)]
        assert isinstance(shore.land(cut), Cut)
        assert len(set(shore.places())) == len(shore.places()), "no row twice, whatever stands half done"
        assert shore.land() is None
        assert shore.places() == sorted(sent)
        identities = [(row["kafka_offset"], row["row"]) for row in shore.rows(VITALS_TABLE)]
        assert sorted(identities) == sorted((offset, row) for _, _, offset in sent for row in (0, 1))


def test_a_lost_checkpoint_is_followed_by_a_new_one_where_the_lake_ends(shore: Shore) -> None:
    sent = [shore.send(VITALS.name, frame(1))]
    assert shore.land() is None
    shore.storage.remove(contract.CHECKPOINT)
    sent.append(shore.send(VITALS.name, frame(2)))
    assert shore.land() is None
    assert shore.places() == sent
    assert [one.batch for one in manifests.load(shore.storage)] == [0, 1, 2]


def test_no_room_publishes_nothing_and_it_goes_on_when_there_is_room(shore: Shore, superuser: Storage) -> None:
    def quota(size: int) -> None:
        query = f"op=SETQUOTA&namespacequota=9223372036854775807&storagespacequota={size}&user.name={superuser.user}"
        requests.put(f"{superuser.url}/webhdfs/v1{contract.STAGING}?{query}", timeout=20).raise_for_status()

    place = shore.send(VITALS.name, frame(1))
    quota(1)
    try:
        failed = shore.land()
        assert failed is not None
        assert "quota" in str(failed).lower()
        assert shore.places() == []
    finally:
        quota(-1)
    assert shore.land() is None
    assert shore.places() == [place]


def test_what_was_gone_before_it_was_read_is_told_and_counted(shore: Shore) -> None:
    from kafka import TopicPartition

    shore.send(IMAGE_JOBS.name, b"{}")
    assert shore.land() is None
    places = [shore.send(IMAGE_JOBS.name, b"{}") for _ in range(5)]
    admin = KafkaAdminClient(bootstrap_servers=shore.settings.kafka)
    admin.delete_records({TopicPartition(IMAGE_JOBS.name, 0): places[2][2]})
    admin.close()
    assert shore.land() is None
    span = manifests.load(shore.storage)[-1].spans[0]
    assert (span.first, span.until, span.records) == (places[0][2], places[4][2] + 1, 3)
    assert shore.metrics.registry.get_sample_value("ward_lake_lost_records_total") == 2


def test_another_log_than_the_one_in_the_lake_is_refused(shore: Shore) -> None:
    held = Span(topic=VITALS.name, partition=0, first=0, until=10**9, records=10**9)
    other = Manifest(version=1, kind=FOLD, name="f1", made_ms=1, code="-", batch=1, spans=(held,))
    shore.storage.write(manifests.path_of(other.name), other.encoded())
    with pytest.raises(Misconfigured, match="another log"):
        shore.land()


def test_a_column_that_is_new_is_null_in_older_files_for_every_reader(shore: Shore, spark: Any) -> None:
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq
    from hdfs_native.fsspec import HdfsFileSystem

    from batch.schemas import whole_ddl

    newest = VITALS_TABLE.columns[-1].name

    def older(folder: str) -> tuple[Span, ...]:
        schema = typed.schema(VITALS_TABLE, partitions=False)
        schema = schema.remove(schema.get_field_index(newest))
        row = pa.Table.from_pylist([{"kafka_partition": 0, "kafka_offset": -1, "row": 0, "bed": "old"}], schema=schema)
        path = f"{folder}/{VITALS_TABLE.name}/date=2026-01-02/ward=W1/x.parquet"
        shore.storage.makedirs(path.rpartition("/")[0])
        with shore.storage.arrow().open_output_stream(path) as out:
            pq.write_table(row, out)
        return ()

    publish(shore.storage, "older", older)
    shore.send(VITALS.name, frame(7))
    assert shore.land() is None
    wanted = [("B1", 7), ("B1", 7), ("old", None)]
    assert sorted((row["bed"], row[newest]) for row in shore.rows(VITALS_TABLE)) == wanted
    by_spark = spark.read.schema(whole_ddl(VITALS_TABLE)).parquet(shore.storage.uri(VITALS_TABLE.path))
    assert sorted((row["bed"], row[newest]) for row in by_spark.select("bed", newest).collect()) == wanted
    host, _, port = shore.settings.hdfs_rpc.removeprefix("hdfs://").partition(":")  # type: ignore[union-attr]
    with duckdb.connect() as asked:
        asked.register_filesystem(HdfsFileSystem(host=host, port=int(port), skip_instance_cache=True))
        asked.execute("set enable_progress_bar = false")
        files = f"hdfs://{VITALS_TABLE.path}/*/*/*.parquet"
        found = (
            asked.read_parquet(files, union_by_name=True, hive_partitioning=True).select(f"bed, {newest}").fetchall()
        )
    assert sorted(found) == wanted


def test_folded_manifests_tell_the_same_and_a_cut_off_fold_harms_nothing(lake: Storage) -> None:
    def batch(number: int) -> Manifest:
        span = Span(topic="t", partition=0, first=number * 10, until=number * 10 + 10, records=10)
        file = File(table=RECORDS.name, path=f"{RECORDS.path}/b{number}", rows=10, size=1)
        return Manifest(
            version=1,
            kind="batch",
            name=f"b{number:012d}",
            made_ms=5,
            code="-",
            batch=number,
            spans=(span,),
            files=(file,),
        )

    def put(one: Manifest) -> None:
        lake.write(manifests.path_of(one.name), one.encoded())

    for number in range(3):
        put(batch(number))
    joined = File(table=RECORDS.name, path=f"{RECORDS.path}/b0", rows=20, size=2)
    put(
        Manifest(
            version=1,
            kind="compaction",
            name="c1",
            made_ms=1,
            code="-",
            files=(joined,),
            replaces=(f"{RECORDS.path}/b1",),
        )
    )
    put(Manifest(version=1, kind="derived", name="set-1", made_ms=3, code="-"))
    before = manifests.load(lake)
    kept = {manifests.path_of(one.name): one for one in before}
    folded = manifests.fold(lake, code_version())
    assert folded is not None
    assert folded.spans == (Span(topic="t", partition=0, first=0, until=30, records=30),)
    for path, one in kept.items():  # as if the fold had been cut off before it removed anything
        if not lake.exists(path):
            lake.write(path, one.encoded())
    after = manifests.load(lake)
    assert manifests.current(after) == manifests.current(before)
    assert offsets.reached(after) == offsets.reached(before) == {("t", 0): 30}
    assert [one.name for one in after] == [folded.name, "set-1"]
    put(batch(3))
    again = manifests.fold(lake, code_version())
    assert again is not None
    assert sorted(lake.names(contract.MANIFESTS)) == [f"{again.name}.json", "set-1.json"]
    assert manifests.current(manifests.load(lake)).keys() == {f"{RECORDS.path}/b{number}" for number in (0, 2, 3)}
    assert lake.exists(ROOT)
