"""``ward lake verify`` on a real HDFS: a whole lake is clean, and each fault planted in it is found and named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from batch.evidence import Dates
from batch.manifests import File, Manifest, path_of
from batch.storage import Storage
from batch.topics import Topics
from batch.verify import Report, Wish, summary, verify
from contracts import codec
from contracts.errors import Misconfigured, Poison
from contracts.lake import CHECKPOINT, VITALS_TABLE
from contracts.records import SCHEMA_VERSION, ImageJob
from contracts.settings import Settings
from contracts.topology import IMAGE_JOBS, VITALS
from tests.integration.batch.conftest import empty_roots
from tests.integration.batch.handmade import Lake, Sent, frame, read, sent

pytestmark = [pytest.mark.hdfs]

BAD = b'{"version":1,"ward":"W1"'


@pytest.fixture(scope="module")
def pristine(storage: Storage, superuser: Storage) -> tuple[Lake, dict[str, tuple[int, bytes]]]:
    """Three batches of two wards, with a record that nobody can read among them; and all of its files."""
    empty_roots(superuser)
    one = Lake(storage)
    for batch in range(3):
        seconds = range(4 * batch, 4 * batch + 4)
        values: list[bytes | None] = [frame("W1", second) for second in seconds]
        values[1] = BAD if batch == 1 else values[1]
        one.land(sent(values, "W1", 4 * batch) + sent([frame("W3/a", s, 2) for s in seconds], "W3/a", 4 * batch))
    return one, one.kept()


@pytest.fixture
def made(pristine: tuple[Lake, dict[str, tuple[int, bytes]]]) -> Iterator[Lake]:
    """That lake, to do harm to; it is whole again afterwards."""
    one, kept = pristine
    yield Lake(one.storage, one.batches, list(one.files))
    one.restore(kept)


def offline(one: Lake, **wish: Any) -> Report:
    return verify(one.storage, Wish(None, **wish))


def words(report: Report) -> set[str]:
    assert report.reconciled == (not report.counts)
    return set(report.counts)


def test_a_whole_lake_is_clean_and_its_rows_are_counted(made: Lake) -> None:
    report = offline(made)
    assert report.findings == []
    assert report.reconciled
    assert (report.records, report.rows, report.refused) == (24, {"vitals": 11 * 9 + 12 * 6}, 1)
    assert report.files == len(made.files)


def test_memory_is_bounded_by_reading_in_passes_with_the_same_result(made: Lake) -> None:
    whole = offline(made)
    parts = verify(made.storage, Wish(None), pass_rows=50)
    assert parts.reconciled
    assert (parts.records, parts.rows) == (whole.records, whole.rows)


def a_file(one: Lake, table: str = "vitals", batch: int = 1, ward: str = "") -> File:
    return next(f for f in one.files if f.table == table and f"b{batch:012}" in f.path and ward in f.path)


def removed_file(one: Lake) -> None:
    one.storage.remove(a_file(one).path)


def doubled_file(one: Lake) -> None:
    file = a_file(one)
    one.storage.write(file.path.replace("-0.parquet", "-9.parquet"), one.storage.read(file.path))


def doubled_and_told(one: Lake) -> None:
    file = a_file(one)
    copy = msgspec.structs.replace(file, path=file.path.replace("-0.parquet", "-9.parquet"))
    one.storage.write(copy.path, one.storage.read(file.path))
    one.tell(Manifest(version=1, kind="batch", name="b000000000009", made_ms=9, code="t", files=(copy,)))


def row_removed(one: Lake) -> None:
    one.change(a_file(one), lambda table: table.slice(1))


def row_doubled(one: Lake) -> None:
    one.change(a_file(one), lambda table: pa.concat_tables([table, table.slice(2, 1)]))


def row_of_nowhere(one: Lake) -> None:
    def moved(table: Any) -> Any:
        at = table.schema.get_field_index("row")
        stray = table.slice(0, 1).set_column(at, "row", pa.array([999], pa.int32()))
        return pa.concat_tables([table, stray])

    one.change(a_file(one), moved)


def value_altered(one: Lake) -> None:
    def altered(table: Any) -> Any:
        values = table.column("value").to_pylist()
        values[0] += 1
        return table.set_column(table.schema.get_field_index("value"), "value", pa.array(values, pa.float64()))

    one.change(a_file(one), altered)


def date_altered(one: Lake) -> None:
    file = a_file(one)
    elsewhere = msgspec.structs.replace(file, path=file.path.replace("date=2026", "date=2025"))
    one.storage.write(elsewhere.path, one.storage.read(file.path))
    one.storage.remove(file.path)
    one.retell(file, elsewhere)


def record_removed(one: Lake) -> None:
    one.change(a_file(one, "records"), lambda table: table.slice(1))


def record_doubled(one: Lake) -> None:
    one.change(a_file(one, "records"), lambda table: pa.concat_tables([table, table.slice(0, 1)]))


def record_bytes_altered(one: Lake) -> None:
    def altered(table: Any) -> Any:
        values = table.column("value").to_pylist()
        values[0] = values[0].replace(b"60.0", b"99.0").replace(b"64.0", b"99.0")
        return table.set_column(table.schema.get_field_index("value"), "value", pa.array(values, pa.binary()))

    one.change(a_file(one, "records"), altered)


def bytes_damaged(one: Lake) -> None:
    file = a_file(one)
    content = bytearray(one.storage.read(file.path))
    content[10:40] = bytes(30)
    one.storage.remove(file.path)
    one.storage.write(file.path, bytes(content))


def cut_short(one: Lake) -> None:
    file = a_file(one)
    content = one.storage.read(file.path)[:-5]
    one.storage.remove(file.path)
    one.storage.write(file.path, content)


def batch_forgotten(one: Lake) -> None:
    one.storage.remove(path_of("b000000000001"))


def manifest_damaged(one: Lake) -> None:
    one.storage.remove(path_of("b000000000001"))
    one.storage.write(path_of("b000000000001"), b'{"version": 1, "kind"')


def landed_again(one: Lake) -> None:
    again = one.land(sent([frame("W1", second) for second in range(4)], "W1", 0))
    assert again.batch == 3


def records_lost_before(one: Lake) -> None:
    later = sent([frame("W1", second) for second in (12, 13, 17)], "W1", 12)
    one.land([*later[:2], dataclasses.replace(later[2], offset=17)])


def foreign_file(one: Lake) -> None:
    one.storage.write(f"{VITALS_TABLE.path}/date=2026-01-02/ward=W1/mine.parquet", b"PAR1")


def checkpoint_ahead(one: Lake) -> None:
    one.storage.write(f"{CHECKPOINT}/000000000000/commits/7", b'v1\n{"nextBatchWatermarkMs":0}')
    ends = msgspec.json.encode({VITALS.name: {"0": 5}})
    one.storage.write(f"{CHECKPOINT}/000000000000/offsets/7", b'v1\n{"batchWatermarkMs":0}\n' + ends)


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (removed_file, {"missing_file", "missing_row"}),
        (doubled_file, {"extra_file"}),
        (doubled_and_told, {"doubled_row"}),
        (row_removed, {"missing_row"}),
        (row_doubled, {"doubled_row"}),
        (row_of_nowhere, {"stray_row"}),
        (value_altered, {"altered_row"}),
        (date_altered, {"misplaced_row"}),
        (record_removed, {"missing_record", "stray_row"}),
        (record_doubled, {"doubled_record"}),
        (record_bytes_altered, {"altered_row"}),
        (bytes_damaged, {"unreadable_file", "missing_row"}),
        (cut_short, {"file_differs", "missing_row"}),
        (batch_forgotten, {"gap", "extra_file"}),
        (manifest_damaged, {"bad_manifest", "gap", "extra_file"}),
        (landed_again, {"overlap", "doubled_record", "doubled_row"}),
        (records_lost_before, {"lost"}),
        (foreign_file, {"extra_file"}),
        (checkpoint_ahead, {"lost_batch"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_planted_fault_is_found_and_named(made: Lake, plant: Callable[[Lake], None], found: set[str]) -> None:
    plant(made)
    report = offline(made)
    assert words(report) == found
    assert all(one.where and one.fix for one in report.findings)


def test_a_fault_is_named_by_topic_partition_offset_row_and_file(made: Lake) -> None:
    row_doubled(made)
    [doubled] = [one for one in offline(made).findings if one.word == "doubled_row"]
    file = a_file(made)
    partition, offset = min(made_rows(made, file))
    assert doubled.where.startswith(f"{VITALS.name}/{partition}/{offset} row ")
    assert file.path in doubled.detail


def made_rows(one: Lake, file: File) -> set[tuple[int, int]]:
    table = read(one.storage, file.path)
    return set(zip(table.column("kafka_partition").to_pylist(), table.column("kafka_offset").to_pylist(), strict=True))


def test_a_table_or_dates_alone_can_be_verified(made: Lake) -> None:
    value_altered(made)
    assert offline(made, tables=("records",)).reconciled
    assert words(offline(made, tables=("vitals",))) == {"altered_row"}
    assert offline(made, dates=Dates(first=date(2026, 1, 3))).reconciled
    assert words(offline(made, dates=Dates(last=date(2026, 1, 2)))) == {"altered_row"}
    with pytest.raises(Misconfigured, match="verify knows records, vitals"):
        offline(made, tables=("vitals_raw",))


def a_job(number: int) -> bytes:
    from contracts import codec

    return codec.encode(
        ImageJob(
            version=SCHEMA_VERSION,
            job_id=f"j{number}",
            study="s",
            instance=f"i{number}",
            uri="u",
            sha256="0",
            model="m",
            at_ms=1_767_340_800_000 + number,
        )
    )


@pytest.fixture
def jobs(settings: Settings, lake: Storage) -> tuple[Lake, list[Sent]]:
    """Records of a topic in Kafka, and a lake in which all of the topic is landed."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    producer = Producer({"bootstrap.servers": settings.kafka})
    for number in range(30):
        producer.produce(
            IMAGE_JOBS.name, a_job(number), b"k", 3, headers=[("h", b"1"), ("n", None)] if number % 2 else None
        )
    assert producer.flush(20) == 0
    with Topics(settings.kafka) as topics:
        bounds = topics.bounds([IMAGE_JOBS.name])
    consumer = Consumer({"bootstrap.servers": settings.kafka, "group.id": "none", "auto.offset.reset": "earliest"})
    found = []
    for (name, partition), (begin, end) in bounds.items():
        consumer.assign([TopicPartition(name, partition, begin)])
        while begin < end:
            [message] = consumer.consume(1, 20)
            begin = message.offset() + 1
            key, value, headers = message.key(), message.value(), tuple(message.headers() or ())
            found.append(Sent(partition, message.offset(), key, value, message.timestamp()[1], headers))
    consumer.close()
    return Lake(lake), found


def on_jobs(report: Report) -> list[tuple[str, str]]:
    return [(one.word, one.where) for one in report.findings]


def test_records_are_held_against_kafkas_bytes(settings: Settings, jobs: tuple[Lake, list[Sent]]) -> None:
    one, found = jobs
    one.land(found[:20], IMAGE_JOBS)
    one.land(found[20:], IMAGE_JOBS)
    report = verify(one.storage, Wish(settings.kafka, full=True))
    assert on_jobs(report) == []
    assert report.compared == len(found)

    def altered(table: Any) -> Any:
        keys = [b"other", *table.column("key").to_pylist()[1:]]
        return table.set_column(table.schema.get_field_index("key"), "key", pa.array(keys, pa.binary()))

    one.change(a_file(one, "records", 0), altered)
    first = found[0]
    assert on_jobs(verify(one.storage, Wish(settings.kafka))) == [
        ("altered_record", f"{IMAGE_JOBS.name}/{first.partition}/{first.offset}")
    ]
    assert offline(one).reconciled, "the typed rows do not hold the key"


def test_what_waits_in_kafka_is_pending_and_what_was_passed_over_is_a_finding(
    settings: Settings, jobs: tuple[Lake, list[Sent]]
) -> None:
    one, found = jobs
    here = [record for record in found if record.partition == 3]
    one.land(here[2:-3], IMAGE_JOBS)
    report = verify(one.storage, Wish(settings.kafka))
    assert on_jobs(report) == [("unlanded", f"{IMAGE_JOBS.name}/3/{here[0].offset}..{here[1].offset}")]
    assert report.counts["unlanded"] == 2
    assert report.pending >= 3
    brief = summary(settings)
    assert not brief.reconciled
    assert brief.records == len(here) - 5


def is_a_job(sent: Sent) -> bool:
    """Whether it is one, and not what another test of this session wrote to the topic."""
    try:
        codec.decode(sent.value or b"", ImageJob)
    except Poison:
        return False
    return True


def test_the_summary_is_cheap_and_says_the_same_of_a_whole_lake(
    settings: Settings, jobs: tuple[Lake, list[Sent]]
) -> None:
    one, found = jobs
    one.land(found, IMAGE_JOBS)
    brief = summary(settings)
    assert brief.reconciled
    assert (brief.rows, brief.records) == (sum(map(is_a_job, found)), len(found))
    one.storage.remove(a_file(one, "records", 0).path)
    assert not summary(settings).reconciled


def test_a_topic_that_was_made_anew_is_told(settings: Settings, jobs: tuple[Lake, list[Sent]]) -> None:
    one, found = jobs
    last = found[-1]
    later = Sent(last.partition, last.offset + 1, last.key, a_job(99), last.at_ms)
    one.land([*found, later], IMAGE_JOBS)
    assert on_jobs(verify(one.storage, Wish(settings.kafka))) == [("beyond_end", f"{IMAGE_JOBS.name}/{last.partition}")]
